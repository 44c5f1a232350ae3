/**
 * Publishing a file and fetching. Both take over the raw request and answer, so that bytes flow with back-pressure and nothing is buffered
 * between. What is published passes the share guard; what is fetched is traced, and the answer names its trace.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { utf8 } from '../../src/bytes/index.ts'
import { OverlayError } from '../../src/errors/index.ts'
import { guarded } from '../guard/index.ts'
import {
  ClientGone,
  clockOf,
  failureOf,
  HttpFailure,
  type Served,
  type ServeOptions,
  serveFile,
  serveSite,
  signalOf,
} from '../http/index.ts'
import type { Asking } from '../library.ts'
import { API_HEADERS, isBug, noSuch, refuse, sendJson, told } from './answers.ts'
import { bodyOf } from './body.ts'
import { described, json, nothing } from './openapi.ts'
import type { RouteParts } from './routes.ts'
import { ADDRESS_OR_NAME, CONFIRM, object, PUBLICATION, type Schema } from './schemas.ts'
import { BadField } from './validation.ts'

// Implementation constants.
const NAME_BYTES_MAX = 255
const TYPE_BYTES_MAX = 255

const PUBLISH_QUERY: Schema = {
  type: 'object',
  properties: {
    name: {
      type: 'string',
      maxLength: NAME_BYTES_MAX,
      pattern: '^[^\\u0000-\\u001f\\u007f]*$',
      format: 'utf8-255',
      description: 'A display name kept inside the publication: at most 255 bytes of UTF-8 without control characters.',
      'x-gyre-takes': 'at most 255 bytes of UTF-8 without control characters',
    },
    keep: {
      type: 'string',
      enum: ['true', 'false'],
      description: 'Whether this node keeps it: checks, renews and mends it as long as it runs. Default true.',
    },
    confirm: CONFIRM,
  },
  additionalProperties: false,
}

/** A publication has no use for a query; a page's own scripts may send one. */
const ANY_QUERY: Schema = { type: 'object', properties: {}, additionalProperties: true }
const SITE_PATH: Schema = {
  type: 'string',
  maxLength: 4096,
  format: 'site-path',
  description: 'A path of a site; may hold slashes.',
}

const BYTES_OF_CONTENT = {
  description: 'The bytes, with ETag and Accept-Ranges, sandboxed by Content-Security-Policy.',
  content: { '*/*': { schema: { type: 'string', format: 'binary' } } },
  headers: {
    'Gyre-Transfer': { type: 'string', description: 'Number of the transfer: GET /v1/transfers/ID.' },
    'Gyre-Trace': { type: 'string', description: 'Id of the trace: GET /v1/traces/ID.' },
  },
} as const

export function addContentRoutes(app: FastifyInstance, parts: RouteParts): void {
  app.post<{ Querystring: { name?: string; keep?: 'true' | 'false'; confirm?: string } }>(
    '/v1/publish',
    described('publish', {
      operationId: 'publish',
      summary: 'Publish a file: the raw body, of any length and type',
      description:
        'What is usually private is answered with 409, a listing and a confirmation; nothing of it can be fetched then.',
      querystring: PUBLISH_QUERY,
      consumes: ['*/*'],
      answers: { 201: json('The publication.', PUBLICATION) },
    }),
    (request, reply) => publish(request, reply, parts),
  )
  const answers = {
    200: BYTES_OF_CONTENT,
    206: BYTES_OF_CONTENT,
    301: nothing('A folder of a site: where it is with its slash.'),
    304: nothing('If-None-Match names it.'),
  }
  app.route<{ Params: { address: string } }>({
    method: ['GET', 'HEAD'],
    url: '/v1/fetch/:address',
    ...described('read', {
      operationId: 'fetch',
      summary: 'Read a publication, or the first page of a site',
      params: object({ address: ADDRESS_OR_NAME }),
      querystring: ANY_QUERY,
      answers,
    }),
    handler: (request, reply) => fetchContent(request, reply, request.params.address, parts),
  })
  app.route<{ Params: { address: string } }>({
    method: ['GET', 'HEAD'],
    url: '/v1/fetch/:address/*',
    ...described('read', {
      operationId: 'fetchPath',
      summary: 'Read a path of a site',
      params: object({ address: ADDRESS_OR_NAME, '*': SITE_PATH }),
      querystring: ANY_QUERY,
      answers,
    }),
    handler: (request, reply) => fetchContent(request, reply, request.params.address, parts),
  })
}

type PublishRequest = FastifyRequest<{ Querystring: { name?: string; keep?: 'true' | 'false'; confirm?: string } }>

async function publish(request: PublishRequest, reply: FastifyReply, parts: RouteParts): Promise<void> {
  const { face, clock, log, closing, events, confirmations } = parts
  const { name, keep, confirm } = request.query
  if (name !== undefined && utf8(name).length > NAME_BYTES_MAX)
    throw new BadField('query.name', `"query.name" takes at most ${NAME_BYTES_MAX} bytes of UTF-8.`)
  const contentType = bodyTypeOf(request)
  const loopClock = clockOf(request.headers, 'API_BAD_REQUEST')
  reply.hijack()
  const signal = signalOf(request.raw, reply.raw, closing)
  const id = events.nextWork()
  const rules = { purpose: 'publish', confirmed: confirm === undefined ? null : confirmations.find(confirm) }
  try {
    const body = guarded(bodyOf(request.raw, { clock, signal }), name ?? '', rules)
    const { address, bytes, shares, holders, receipt, kept } = await face.publish(body, {
      signal,
      keep: keep !== 'false',
      ...(loopClock === undefined ? {} : { loopClock }),
      ...(name === undefined ? {} : { name }),
      ...(contentType === undefined ? {} : { contentType }),
      onProgress: (done) => events.tell('publish', { id, state: 'running', bytes: done }),
    })
    events.tell('publish', { id, state: 'done', bytes, address })
    sendJson(reply.raw, 201, { address, bytes, shares, holders, receipt, kept }, { Location: `/v1/fetch/${address}` })
  } catch (error) {
    if (isBug(error)) log.error('a publication failed because of a fault', { error })
    const answer = told(error, undefined, ({ digest }) => confirmations.issue(digest))
    events.tell('publish', { id, state: 'failed', code: answer.failure.code })
    refuse(reply, error, answer, clock)
  }
}

/** The type of a raw body, checked. */
export function bodyTypeOf(request: FastifyRequest): string | undefined {
  const type = request.headers['content-type']
  if (type !== undefined && utf8(type).length > TYPE_BYTES_MAX)
    throw new BadField('headers.content-type', `Content-Type takes at most ${TYPE_BYTES_MAX} bytes.`)
  const coding = request.headers['content-encoding']
  if (coding !== undefined && coding !== 'identity') {
    const message = 'Content-Encoding is not kept: send the bytes as they are to be read.'
    throw new HttpFailure(415, new OverlayError('protocol', 'API_BAD_REQUEST', message))
  }
  return type
}

async function fetchContent(request: FastifyRequest, reply: FastifyReply, wanted: string, parts: RouteParts): Promise<void> {
  const { face, clock, log, closing, transfers, events } = parts
  const address = addressOf(wanted, parts)
  const loopClock = clockOf(request.headers, 'API_BAD_REQUEST')
  reply.hijack()
  const signal = signalOf(request.raw, reply.raw, closing)
  const transfer = transfers.begin()
  const trace = face.trace()
  const named = { 'Gyre-Transfer': String(transfer.id), 'Gyre-Trace': trace.id }
  events.tell('transfer', { id: transfer.id, trace: trace.id, state: 'running' })
  try {
    const served = await serve(request, reply, `/v1/fetch/${wanted}`, address, parts, {
      loopClock,
      clock,
      signal,
      trace,
      headers: { ...API_HEADERS, ...named },
      onRead: (counters) => transfer.counters(counters),
      onFirstByte: () => transfer.firstByte(),
    })
    trace.end(null)
    transfer.done(served.bytes)
    events.tell('transfer', { id: transfer.id, trace: trace.id, state: 'done', bytes: served.bytes })
  } catch (error) {
    const { code } = failureOf(error)
    const why = error instanceof ClientGone ? 'TIMEOUT' : code
    trace.end(why)
    transfer.failed(why)
    events.tell('transfer', { id: transfer.id, trace: trace.id, state: 'failed', code: why })
    if (isBug(error)) log.error('a fetch failed because of a fault', { error })
    refuse(reply, error, told(error, face.traceReport(trace.id)), clock, named)
  }
}

/** Answers with what `address` leads to. `base`: what stands before a path of it here. */
async function serve(
  request: FastifyRequest,
  reply: FastifyReply,
  base: string,
  address: string,
  { face }: RouteParts,
  { loopClock, ...options }: ServeOptions & Pick<Asking, 'loopClock'>,
): Promise<Served> {
  const { signal, trace } = options
  const path = pathAfter(base, request.raw.url ?? '')
  // Programs ask for single files: each is of the newest version, however long ago its site was looked up for another.
  const found = await face.resolve(address, { signal, loopClock, ...(trace === undefined ? {} : { trace }) })
  if (found.kind === 'file') {
    if (path === '') return serveFile(found.file, request.raw, reply.raw, options)
    const error = new OverlayError('not-found', 'PATH_NOT_FOUND', 'The address is one file, which has no paths.')
    throw new HttpFailure(404, error)
  }
  if (found.site === null) throw noSuch('This key has no site: its live service is reached through the proxy.')
  return serveSite(await found.site(), path === '' ? '/' : path, request.raw, reply.raw, { ...options, base })
}

/** What stands behind `base` in a request's target, as it was sent: '' or a path with its slash. */
function pathAfter(base: string, target: string): string {
  const path = target.split('?')[0] ?? ''
  // The address may have been sent encoded: then what counts is where its part of the path ends.
  const from = path.startsWith(base) ? base.length : path.indexOf('/', '/v1/fetch/'.length)
  return from < 0 ? '' : path.slice(from)
}

/** The address that `wanted` is or names. An address always wins over a name. */
function addressOf(wanted: string, { face }: RouteParts): string {
  if (/^[a-z2-7]{56}$/.test(wanted)) return wanted
  const address = face.names.find(wanted)
  if (address !== null) return address
  const error = new OverlayError('protocol', 'ADDRESS_BAD', 'This is not a Gyre address, nor a name in the book of names.')
  throw new HttpFailure(400, error)
}
