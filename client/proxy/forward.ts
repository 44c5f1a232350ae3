/**
 * One HTTP request to a live service and its answer back, each streamed with back-pressure.
 * Stages: connect (a kept connection, or a new stream) → head and body out → head of the answer (`first-byte`) → body back.
 *
 * Everything that happens before the client has been sent a byte is thrown, so that it becomes a page, a snapshot, or one more try; what
 * breaks later resets the client's connection, which nobody takes for an end. Every wait on either side has its end.
 */
import { type ClientRequest, request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import { isOverlayError, OverlayError } from '../../src/errors/index.ts'
import type { Clock } from '../../src/runtime/index.ts'
import { ClientGone, HttpFailure, reset } from '../http/index.ts'
import { CONNECT_TIMEOUT_MS, CONNECT_WITH_SNAPSHOT_MS, type LiveRoute, type RouteAsking } from './destination.ts'
import { requestHeaders, responseHeaders, type Spelling } from './headers.ts'
import type { Target } from './target.ts'
import { type LiveAgent, liveRequest } from './upstream.ts'
import { Watch } from './watch.ts'

// Implementation constants.
/** A request body that stands still for so long is cut. */
export const BODY_STALL_MS = 120_000
/** A service that has the whole request and says nothing for so long is given up. */
export const ANSWER_TIMEOUT_MS = 180_000
/** An answer in which nothing moves for so long is cut; event streams and long polls say something more often. */
export const ANSWER_STALL_MS = 600_000

export interface ForwardParts {
  readonly clock: Clock
  readonly agent: LiveAgent
  readonly asking: RouteAsking
  readonly find: (name: string) => string | null
  /** Further headers for this client. */
  readonly headers: Readonly<Record<string, string>>
}

export interface Exchange extends ForwardParts {
  readonly route: LiveRoute
  readonly target: Target
  readonly request: IncomingMessage
}

/** A stream to the service, waited for no longer than it may take. Errors: those of `LiveService.connect`; a time-out is `SERVICE_UNREACHABLE`. */
export async function connectLive(
  { service, snapshot }: LiveRoute,
  port: number,
  { clock, asking }: { readonly clock: Clock; readonly asking: RouteAsking },
): Promise<Duplex> {
  const ms = snapshot === null ? CONNECT_TIMEOUT_MS : CONNECT_WITH_SNAPSHOT_MS
  const deadline = clock.deadline(ms, asking.signal)
  const over = asking.trace?.stage('connect')
  try {
    const stream = await service.connect(port, { ...asking, signal: deadline.signal })
    over?.()
    return stream
  } catch (error) {
    const timedOut = isOverlayError(error, 'TIMEOUT')
    over?.({ note: timedOut ? 'time is up' : isOverlayError(error) ? error.code : 'failed' })
    if (timedOut)
      throw new OverlayError('timeout', 'SERVICE_UNREACHABLE', 'No connection to the service came about in time.', error)
    throw error
  } finally {
    deadline.clear()
  }
}

/** Sends the request on and the answer back. Errors: those of connecting, `SERVICE_BAD_ANSWER`, `TIMEOUT`, `ClientGone`, `HttpFailure`. */
export async function forward(exchange: Exchange, response: ServerResponse, expects: boolean): Promise<void> {
  const { request } = exchange
  const replayable = bodyOf(request) === null && /^(?:GET|HEAD|OPTIONS|TRACE)$/.test(request.method ?? '')
  for (let first = true; ; first = false) {
    const { outgoing, answered } = send(exchange, response, replayable, expects)
    try {
      await answered
      return
    } catch (error) {
      outgoing.destroy()
      // The service closed a kept connection just then: that is no failure of anything.
      const again = first && replayable && outgoing.reusedSocket && !response.headersSent && !exchange.asking.signal.aborted
      if (!again) throw exchange.asking.signal.aborted ? exchange.asking.signal.reason : serviceError(error)
      exchange.agent.dropIdle(keyOf(exchange))
    }
  }
}

interface Sent {
  readonly outgoing: ClientRequest
  /** Resolves when the answer was sent back whole. */
  readonly answered: Promise<void>
}

function send(exchange: Exchange, response: ServerResponse, reusable: boolean, expects: boolean): Sent {
  const { request, clock, asking } = exchange
  const { promise: answered, resolve, reject } = Promise.withResolvers<void>()
  const body = bodyOf(request)
  const head = ['Connection', reusable ? 'keep-alive' : 'close', ...(body ?? emptyBody(request.method))]
  const outgoing = openRequest(exchange, reusable, expects ? [...head, 'Expect', '100-continue'] : head)
  const fail = (error: unknown) => {
    reject(error)
    outgoing.destroy()
  }
  const late = new Watch(clock, ANSWER_TIMEOUT_MS + CONNECT_TIMEOUT_MS, () => fail(tooLate('the answer of the service')))
  const onAbort = () => fail(asking.signal.reason)
  asking.signal.addEventListener('abort', onAbort, { once: true })
  if (asking.signal.aborted) onAbort()
  outgoing.on('error', reject)
  outgoing.once('response', (incoming) => {
    late.stop()
    // At once: what comes right behind the head, an end too soon above all, comes before any promise goes on.
    sendBack(incoming, exchange, response).then(resolve, reject)
  })
  outgoing.once('upgrade', (_response, stream) => {
    stream.destroy()
    reject(badAnswer('The service changed the protocol without having been asked to.'))
  })
  if (expects) outgoing.once('continue', () => response.writeContinue())
  if (body === null) outgoing.end()
  else pour(request, outgoing, clock, late, fail)
  const settled = () => {
    late.stop()
    asking.signal.removeEventListener('abort', onAbort)
  }
  answered.then(settled, settled)
  return { outgoing, answered }
}

/** Body of the client to the service. */
function pour(
  request: IncomingMessage,
  outgoing: ClientRequest,
  clock: Clock,
  late: Watch,
  fail: (error: unknown) => void,
): void {
  const stalled = () => {
    if (outgoing.writableNeedDrain) fail(tooLate('the service to take the request'))
    else fail(new HttpFailure(408, new OverlayError('timeout', 'TIMEOUT', 'The body of the request stood still for too long.')))
  }
  const watch = new Watch(clock, BODY_STALL_MS, stalled)
  request.on('data', () => {
    watch.touch()
    late.touch()
  })
  request.once('end', () => watch.stop())
  request.once('close', () => {
    watch.stop()
    if (!request.complete) fail(new ClientGone('The client broke off its request.'))
  })
  // What is left of a body when the connection ends is nobody's any more.
  outgoing.once('close', () => {
    watch.stop()
    request.unpipe(outgoing)
  })
  outgoing.flushHeaders()
  request.pipe(outgoing)
}

/** The answer of the service to the client. Listens to it before it returns; resolves when it was sent whole. */
export async function sendBack(incoming: IncomingMessage, exchange: Exchange, response: ServerResponse): Promise<void> {
  const { clock, request, asking, headers: further } = exchange
  asking.trace?.mark('first-byte')
  const { statusCode = 502, statusMessage = '', rawHeaders } = incoming
  if (response.destroyed) throw new ClientGone('The client closed the connection.')
  if (statusCode < 200 || statusCode > 999) throw badAnswer("The status of the service's answer is none.")
  // 204 has no body (RFC 9110 §15.3.5): a client that believed a length would take the next answer, perhaps of another site, for it.
  const length = statusCode === 204 ? undefined : incoming.headers['content-length']
  const framing = length === undefined ? [] : ['Content-Length', length]
  const shown = responseHeaders(rawHeaders, spellingOf(exchange), request.headers.origin)
  response.sendDate = false
  const headers = [...shown, ...framing, ...Object.entries(further).flat()]
  response.writeHead(statusCode, statusMessage.replaceAll(/[^\t\x20-\x7e\x80-\xff]/g, ''), headers)
  response.flushHeaders()
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const cut = (error: Error) => {
    incoming.destroy()
    reset(response)
    reject(error)
  }
  const watch = new Watch(clock, ANSWER_STALL_MS, () => cut(tooLate('the answer to go on')))
  const onAbort = () => cut(asking.signal.reason)
  asking.signal.addEventListener('abort', onAbort, { once: true })
  incoming.on('data', () => watch.touch())
  incoming.on('error', cut)
  incoming.once('close', () => {
    if (!incoming.complete) cut(badAnswer('The service broke off its answer.'))
  })
  response.once('finish', resolve).once('close', () => {
    if (!response.writableFinished) cut(new ClientGone('The client closed the connection.'))
  })
  incoming.pipe(response)
  if (asking.signal.aborted) onAbort()
  try {
    await promise
  } finally {
    watch.stop()
    asking.signal.removeEventListener('abort', onAbort)
  }
}

/** Begins a request to the service, with `framing` beside the client's own headers. */
export function openRequest(exchange: Exchange, reusable: boolean, framing: readonly string[]): ClientRequest {
  const { route, target, request, agent } = exchange
  const live = { key: keyOf(exchange), reusable, connect: () => connectLive(route, target.port, exchange) }
  const headers = [...requestHeaders(request.rawHeaders, spellingOf(exchange)), ...framing]
  try {
    return httpRequest({ ...liveRequest(agent, live), method: request.method, path: target.path, headers })
  } catch (error) {
    throw new HttpFailure(400, new OverlayError('protocol', 'PROXY_BAD_REQUEST', 'The request cannot be sent on.', error))
  }
}

export function spellingOf({ route, target, find }: Exchange): Spelling {
  return { host: target.host, port: target.port, address: route.address, find }
}

function keyOf({ route, target, asking }: Exchange): string {
  return `${asking.isolation}/${route.address}:${target.port}`
}

/** Framing headers of the body that comes with a request, or `null` when there is none. Node's parser refused what is ambiguous. */
export function bodyOf({ headers }: IncomingMessage): string[] | null {
  if (headers['transfer-encoding'] !== undefined) return ['Transfer-Encoding', 'chunked']
  const length = headers['content-length']
  return length === undefined || length === '0' ? null : ['Content-Length', length]
}

function emptyBody(method: string | undefined): string[] {
  return method === 'POST' || method === 'PUT' || method === 'PATCH' ? ['Content-Length', '0'] : []
}

export function tooLate(what: string): OverlayError {
  return new OverlayError('timeout', 'TIMEOUT', `The time was up while waiting for ${what}.`)
}

function badAnswer(message: string, cause?: unknown): HttpFailure {
  return new HttpFailure(502, new OverlayError('unreachable', 'SERVICE_BAD_ANSWER', message, cause))
}

/** An error of Node's client, or of a service's stream, as one of ours. Faults of the program stay what they are. */
export function serviceError(error: unknown): unknown {
  if (isOverlayError(error) || error instanceof HttpFailure || error instanceof ClientGone) return error
  if (error instanceof TypeError || error instanceof ReferenceError || error instanceof SyntaxError) return error
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  if (code.startsWith('HPE_')) return badAnswer('What the service sent is not HTTP, or its head is too large.', error)
  return badAnswer('The service closed the connection before its answer was there.', error)
}
