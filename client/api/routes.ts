/**
 * The routes of API version 1. Each answers with JSON or with a publication's bytes; every error is a problem (RFC 9457). Publish and
 * fetch take over the raw request and answer so that bytes flow with back-pressure and nothing is buffered between.
 */
import { parse as parseQuery } from 'node:querystring'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { utf8 } from '../../src/bytes/index.ts'
import { isOverlayError, OverlayError } from '../../src/errors/index.ts'
import type { Clock } from '../../src/runtime/index.ts'
import { ClientGone, type FaceParts, failureOf, HttpFailure, problemJson, serveFile, signalOf } from '../http/index.ts'
import { bodyOf } from './body.ts'
import { Transfers } from './transfers.ts'

/** Sent with every answer. Content comes from strangers and shares this origin: it may run nothing, load nothing, and is not sniffed. */
export const API_HEADERS = {
  'Cache-Control': 'private, no-cache',
  'Content-Security-Policy': "sandbox; default-src 'none'; frame-ancestors 'none'",
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
} as const

// Implementation constants.
const NAME_BYTES_MAX = 255
const TYPE_BYTES_MAX = 255
/** A client whose request was refused may go on sending its body for so long before its connection is cut. */
const REFUSED_BODY_MS = 5_000

interface RouteParts extends FaceParts {
  readonly closing: AbortSignal
}

/** Adds the routes to `app`. */
export function addRoutes(app: FastifyInstance, parts: RouteParts): void {
  const { face, clock } = parts
  const transfers = new Transfers(clock)
  app.get('/v1/health', () => {
    if (!face.ready()) throw notReady()
    return { ready: true }
  })
  app.get('/v1/status', () => face.status())
  app.get('/v1/peers', () => ({ peers: face.peers() }))
  app.get('/v1/loops', () => ({ loops: face.loops() }))
  app.get<{ Params: { id: string } }>('/v1/transfers/:id', (request) => {
    const report = /^\d{1,15}$/.test(request.params.id) ? transfers.report(Number(request.params.id)) : undefined
    if (report === undefined)
      throw new HttpFailure(404, new OverlayError('not-found', 'API_NO_ROUTE', 'There is no such transfer (any more).'))
    return report
  })
  app.post('/v1/publish', (request, reply) => publish(request, reply, parts))
  app.route<{ Params: { address: string } }>({
    method: ['GET', 'HEAD'],
    url: '/v1/fetch/:address',
    handler: (request, reply) => fetchContent(request, reply, request.params.address, transfers, parts),
  })
}

function notReady(): OverlayError {
  return new OverlayError('unreachable', 'NODE_NOT_READY', 'The node has no neighbours or no loop yet.')
}

async function publish(request: FastifyRequest, reply: FastifyReply, { face, clock, log, closing }: RouteParts): Promise<void> {
  const { name, contentType } = publishOptions(request)
  reply.hijack()
  const signal = signalOf(request.raw, reply.raw, closing)
  try {
    const body = bodyOf(request.raw, { clock, signal })
    const { address, bytes, shares, holders } = await face.publish(body, { signal, ...name, ...contentType })
    sendJson(reply, 201, { address, bytes, shares, holders }, { Location: `/v1/fetch/${address}` })
  } catch (error) {
    if (isBug(error)) log.error('a publication failed because of a fault', { error })
    refuse(reply, error, clock)
  }
}

/** Name and type of a publish request, checked. */
function publishOptions(request: FastifyRequest): {
  readonly name: { name?: string }
  readonly contentType: { contentType?: string }
} {
  const query = parseQuery(request.raw.url?.split('?')[1] ?? '', '&', '=', { maxKeys: 16 })
  for (const key of Object.keys(query)) if (key !== 'name') throw badRequest(`Unknown query parameter. Known: name.`)
  const { name } = query
  if (Array.isArray(name)) throw badRequest('The query parameter "name" stands there twice.')
  if (name !== undefined && (utf8(name).length > NAME_BYTES_MAX || hasControls(name))) {
    throw badRequest(`The query parameter "name" takes at most ${NAME_BYTES_MAX} bytes of UTF-8 without control characters.`)
  }
  const type = request.headers['content-type']
  if (type !== undefined && utf8(type).length > TYPE_BYTES_MAX)
    throw badRequest(`Content-Type takes at most ${TYPE_BYTES_MAX} bytes.`)
  const coding = request.headers['content-encoding']
  if (coding !== undefined && coding !== 'identity') {
    throw new HttpFailure(
      415,
      new OverlayError('protocol', 'API_BAD_REQUEST', 'Content-Encoding is not kept: send the bytes as they are to be read.'),
    )
  }
  return { name: name === undefined ? {} : { name }, contentType: type === undefined ? {} : { contentType: type } }
}

function hasControls(text: string): boolean {
  for (const char of text) if ((char.codePointAt(0) ?? 0) < 0x20 || char === '\x7f') return true
  return false
}

async function fetchContent(
  request: FastifyRequest,
  reply: FastifyReply,
  address: string,
  transfers: Transfers,
  { face, clock, log, closing }: RouteParts,
): Promise<void> {
  if (!/^[a-z2-7]{56}$/.test(address)) throw new OverlayError('protocol', 'ADDRESS_BAD', 'This is not a Gyre address.')
  reply.hijack()
  const signal = signalOf(request.raw, reply.raw, closing)
  const transfer = transfers.begin()
  try {
    const file = await face.open(address, { signal })
    const served = await serveFile(file, request.raw, reply.raw, {
      clock,
      signal,
      headers: { ...API_HEADERS, 'Gyre-Transfer': String(transfer.id) },
      onRead: (counters) => transfer.counters(counters),
      onFirstByte: () => transfer.firstByte(),
    })
    transfer.done(served.bytes)
  } catch (error) {
    transfer.failed(error instanceof ClientGone ? 'TIMEOUT' : failureOf(error).code)
    if (isBug(error)) log.error('a fetch failed because of a fault', { error })
    refuse(reply, error, clock)
  }
}

/** Whether an error is a fault of ours, worth a line in the log. */
function isBug(error: unknown): boolean {
  return !(error instanceof ClientGone || error instanceof HttpFailure) && (!isOverlayError(error) || error.kind === 'bug')
}

/** Answers a hijacked request with `error`, unless its answer has begun (then `serveFile` has cut it) or nobody is there. */
function refuse(reply: FastifyReply, error: unknown, clock: Clock): void {
  const response = reply.raw
  if (response.headersSent || response.destroyed || error instanceof ClientGone) {
    response.destroy()
    return
  }
  const failure = failureOf(error)
  const body = problemJson(failure)
  const headers = {
    ...API_HEADERS,
    ...failure.headers,
    'Content-Type': 'application/problem+json',
    'Content-Length': Buffer.byteLength(body),
  }
  response.writeHead(failure.status, headers)
  response.end(reply.request.method === 'HEAD' ? undefined : body)
  cutLateBody(reply, clock)
}

/** Lets a client whose body is still coming read its answer, then cuts the connection. */
export function cutLateBody(reply: FastifyReply, clock: Clock): void {
  const incoming = reply.request.raw
  if (incoming.complete) return
  incoming.resume()
  const { socket } = incoming
  const timer = clock.setTimer(REFUSED_BODY_MS, () => socket.destroy())
  incoming.once('end', () => timer.cancel())
  socket.once('close', () => timer.cancel())
}

function sendJson(reply: FastifyReply, status: number, value: object, headers: Readonly<Record<string, string>>): void {
  const body = `${JSON.stringify(value)}\n`
  const type = { 'Content-Type': 'application/json; charset=utf-8', 'Content-Length': Buffer.byteLength(body) }
  reply.raw.writeHead(status, { ...API_HEADERS, ...headers, ...type })
  reply.raw.end(body)
}

function badRequest(message: string): OverlayError {
  return new OverlayError('protocol', 'API_BAD_REQUEST', message)
}
