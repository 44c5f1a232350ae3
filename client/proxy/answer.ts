/**
 * One request to the proxy, from its head to its answer, whichever way it came: in absolute form, in origin form on a connection that was
 * opened to one host, or as the opening of a WebSocket.
 * Stages: headers and target → isolation, trace → destination → content, or the live service, or its snapshot → else a page that says why.
 */
import { type IncomingMessage, ServerResponse } from 'node:http'
import { isIPv6, type Socket } from 'node:net'
import { isOverlayError, OverlayError } from '../../src/errors/index.ts'
import type { Logger } from '../../src/log/index.ts'
import type { Clock } from '../../src/runtime/index.ts'
import { ClientGone, clockOf, type Failure, HttpFailure, isPageRequest, isReload } from '../http/index.ts'
import type { NodeFace } from '../library.ts'
import type { Trace, TraceReport } from '../trace/index.ts'
import { serveContent } from './content.ts'
import type { Destinations, Route, RouteAsking } from './destination.ts'
import { bodyOf, forward } from './forward.ts'
import { checkRequestHeaders } from './headers.ts'
import { isolationFrom } from './isolation.ts'
import { failurePage, openStage, PAGE_HEADERS, proxyFailure, proxyStatus } from './page.ts'
import { type HostTarget, originTargetOf, type Target, targetOf } from './target.ts'
import { upgrade } from './upgrade.ts'
import type { LiveAgent } from './upstream.ts'

// Implementation constants.
/** Requests of one connection that are worked on at a time: a client may send the next before it has its answer, within reason. */
const PIPELINE_MAX = 8
/** How long a client may take to read why its body was not taken. */
const REFUSED_BODY_MS = 2_000

/** After these the connection is closed: what else comes on it may mean something else than it seems. */
const DISTRUSTED: ReadonlySet<number> = new Set([400, 403, 408, 417, 431])

/** A connection that was opened to one host: there the proxy is that host's web server. */
export interface Opened extends HostTarget {
  readonly isolation: string
}

export interface AnswerParts {
  readonly face: NodeFace
  readonly clock: Clock
  readonly log: Logger
  readonly closing: AbortSignal
  readonly destinations: Destinations
  readonly agent: LiveAgent
  readonly opened: WeakMap<Socket, Opened>
  /** Requests at work, by connection. */
  readonly atWork: WeakMap<Socket, number>
}

/** What came besides the request: its client waits for "100 Continue", or asks for another protocol. */
export interface Extra {
  readonly expects?: boolean
  readonly upgraded?: { readonly socket: Socket; readonly head: Buffer }
}

/** Answers one request. Never rejects but for a fault of the program. */
export async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  parts: AnswerParts,
  extra: Extra = {},
): Promise<void> {
  const { atWork } = parts
  const socket = request.socket
  const count = (atWork.get(socket) ?? 0) + 1
  if (count > PIPELINE_MAX) {
    socket.destroy()
    return
  }
  atWork.set(socket, count)
  const ended = new AbortController()
  const onClose = () => ended.abort(new ClientGone('The client closed the connection.'))
  socket.once('close', onClose)
  response.once('close', () => {
    if (!response.writableFinished) onClose()
  })
  const signal = AbortSignal.any([ended.signal, parts.closing])
  const trace = parts.face.trace()
  try {
    await attempt(request, response, parts, extra, { signal, trace })
    trace.end(null)
    cutLateBody(request, response, parts.clock)
  } catch (error) {
    trace.end(isOverlayError(error) ? error.code : error instanceof HttpFailure ? error.error.code : 'INTERNAL')
    if (error instanceof ClientGone || response.headersSent || response.destroyed) {
      response.destroy()
      socket.destroy()
      return
    }
    if (!(error instanceof HttpFailure) && (!isOverlayError(error) || error.kind === 'bug'))
      parts.log.error('a proxy request failed because of a fault', { error })
    sendPage(request, response, proxyFailure(error), parts.face.traceReport(trace.id))
    cutLateBody(request, response, parts.clock)
  } finally {
    socket.off('close', onClose)
    atWork.set(socket, (atWork.get(socket) ?? 1) - 1)
  }
}

async function attempt(
  request: IncomingMessage,
  response: ServerResponse,
  parts: AnswerParts,
  { expects = false, upgraded }: Extra,
  { signal, trace }: { readonly signal: AbortSignal; readonly trace: Trace },
): Promise<void> {
  checkRequestHeaders(request.rawHeaders)
  const { method, url, headers, socket } = request
  const opened = parts.opened.get(socket)
  const target = opened === undefined ? targetOf(method, url, headers) : originTargetOf(opened, url, headers)
  const isolation = opened?.isolation ?? isolationFrom(headers['proxy-authorization'])
  const pinned = !isPageRequest(target.path.replace(/\?.*$/s, ''), headers)
  const fresh = !pinned && isReload(headers)
  const asking: RouteAsking = { signal, isolation, trace, pinned, fresh, loopClock: clockOf(headers, 'PROXY_BAD_REQUEST') }
  const replaceable = (method === 'GET' || method === 'HEAD') && upgraded === undefined
  const route = await parts.destinations.route(target, asking, replaceable)
  const shared = { ...parts, asking, headers: isLocal(socket) ? { 'Gyre-Trace': trace.id } : {} }
  if (route.kind !== 'live') {
    await serve(route, target, request, response, shared, upgraded !== undefined)
    return
  }
  const find = (name: string) => parts.face.names.find(name)
  const exchange = { ...shared, find, route, target, request }
  try {
    if (upgraded === undefined) await forward(exchange, response, expects)
    else await upgrade(exchange, response, upgraded)
  } catch (error) {
    if (!isOverlayError(error, 'SERVICE_UNREACHABLE') || signal.aborted) throw error
    parts.destinations.markAway(route.address, isolation)
    if (route.snapshot === null || !replaceable || response.headersSent) throw error
    trace.mark('retry', 'the snapshot in place of the live service')
    const site = { kind: 'site', address: route.address, site: await route.snapshot(), snapshot: true } as const
    await serve(site, target, request, response, shared, false)
  }
}

async function serve(
  route: Exclude<Route, { kind: 'live' }>,
  target: Target,
  request: IncomingMessage,
  response: ServerResponse,
  parts: Parameters<typeof serveContent>[4],
  isUpgrade: boolean,
): Promise<void> {
  if (isUpgrade)
    throw new HttpFailure(400, new OverlayError('protocol', 'PROXY_BAD_REQUEST', 'There is no WebSocket at this address.'))
  if (bodyOf(request) !== null) response.shouldKeepAlive = false
  await serveContent(route, target, request, response, parts)
}

function sendPage(request: IncomingMessage, response: ServerResponse, failure: Failure, trace: TraceReport | undefined): void {
  const stage = failure.kind === 'timeout' ? openStage(trace) : null
  const detail = stage === null ? failure.detail : `${failure.detail} It stopped at the stage "${stage}".`
  const local = isLocal(request.socket)
  const page = failurePage({ ...failure, detail }, local ? trace : undefined)
  // What was refused may have a body on its way, or another request in it: the connection is not used again.
  const close: Record<string, string> = request.complete && !DISTRUSTED.has(failure.status) ? {} : { Connection: 'close' }
  const traced: Record<string, string> = local && trace !== undefined ? { 'Gyre-Trace': trace.id } : {}
  const headers = { ...PAGE_HEADERS, ...failure.headers, ...close, ...traced, 'Proxy-Status': proxyStatus(failure) }
  response.writeHead(failure.status, { ...headers, 'Content-Length': Buffer.byteLength(page) })
  response.end(request.method === 'HEAD' ? undefined : page)
}

/** Lets a client whose body is still coming read its answer, then cuts the connection. */
function cutLateBody(request: IncomingMessage, response: ServerResponse, clock: Clock): void {
  const { socket } = request
  if (request.complete || socket.destroyed) return
  const cut = () => {
    const timer = clock.setTimer(REFUSED_BODY_MS, () => socket.destroy())
    request.once('end', () => timer.cancel())
    socket.once('close', () => timer.cancel())
    request.resume()
  }
  if (response.writableFinished) cut()
  else response.once('finish', cut)
}

/** A response on a connection that Node's server gave away, for a request that asked for another protocol. */
export function responseOn(request: IncomingMessage, socket: Socket): ServerResponse {
  const response = new ServerResponse(request)
  response.shouldKeepAlive = false
  response.assignSocket(socket)
  response.once('finish', () => socket.end())
  return response
}

/** Whether the client is on this machine: nobody else is told of traces. */
function isLocal({ remoteAddress = '' }: Socket): boolean {
  const address = isIPv6(remoteAddress) ? remoteAddress.replace(/^::ffff:/i, '') : remoteAddress
  return address === '::1' || address.startsWith('127.')
}
