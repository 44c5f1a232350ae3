/**
 * Answers a GET or HEAD for an opened publication: conditions, range, headers, then the bytes with back-pressure.
 * Stages: conditions (RFC 9110 §13.2.2) → range (§14) → wait for the first verified bytes → headers → bytes → end.
 *
 * What must hold (DESIGN P10): a reader is never given fewer bytes than announced without noticing. Before the first byte every failure
 * is thrown, so that the face can answer with a status; after it the connection is reset, which no client takes for an end.
 */
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http'
import { isOverlayError, OverlayError } from '../../src/errors/index.ts'
import type { Clock, Waiting } from '../../src/runtime/index.ts'
import type { Asking, ByteRange, FetchCounters } from '../library.ts'
import type { Trace } from '../trace/index.ts'
import { ClientGone, HttpFailure } from './failure.ts'
import { matchesEtag, parseRange, quotedEtag, rangeStands, safeContentType } from './range.ts'

// Implementation constants.
/** A client that takes nothing for so long is let go; it can come back with a Range. */
export const WRITE_STALL_MS = 300_000

/** What can be served: an opened file, or a file of a site in one of its codings. */
export interface Representation {
  /** Bytes that `read` gives in all. */
  readonly bytes: number
  readonly contentType: string
  /** Strong validator. */
  readonly etag: string
  read(range: ByteRange, asking: Asking): AsyncIterable<Uint8Array> & { readonly counters: FetchCounters }
}

export interface ServeOptions extends Waiting {
  /** Headers of the face, sent with every answer. */
  readonly headers: Readonly<Record<string, string>>
  /** Called when reading begins, with counters that grow. */
  readonly onRead?: (counters: FetchCounters) => void
  /** Called when the first verified bytes are there. */
  readonly onFirstByte?: () => void
  /** Where the time until the first byte and that of the body are noted. */
  readonly trace?: Trace
  readonly isolation?: string
  /** `false`: a Range is not honoured, which RFC 9110 §14.2 allows: this representation cannot be read from the middle. */
  readonly ranges?: boolean
  /** It stands in the place of what was asked for, and is sent with this status: neither condition nor range is about it. */
  readonly status?: 404
}

/** What was sent. */
export interface Served {
  readonly status: number
  /** Bytes of content sent, without headers. */
  readonly bytes: number
}

/**
 * Serves `file`. Errors: those of `read` (before the first byte with nothing sent; after it with the connection reset already),
 * `RANGE_UNSATISFIABLE`, `PRECONDITION_FAILED`, `TIMEOUT` (a client that stopped reading), `ClientGone`.
 */
export async function serveFile(
  file: Representation,
  request: { readonly method?: string | undefined; readonly headers: IncomingHttpHeaders },
  response: ServerResponse,
  options: ServeOptions,
): Promise<Served> {
  if (options.status !== undefined) return serveWhole(file, request.method, response, options.status, options)
  const etag = quotedEtag(file.etag)
  const { 'if-match': ifMatch, 'if-none-match': ifNoneMatch } = request.headers
  if (ifMatch !== undefined && !matchesEtag(ifMatch, etag, false)) {
    throw new HttpFailure(412, new OverlayError('protocol', 'PRECONDITION_FAILED', 'The publication has another entity tag.'))
  }
  const ranges = options.ranges !== false
  const shared = { ...options.headers, ETag: etag, ...(ranges ? { 'Accept-Ranges': 'bytes' } : {}) }
  if (ifNoneMatch !== undefined && matchesEtag(ifNoneMatch, etag, true)) {
    response.writeHead(304, shared)
    await finished(response, options.signal)
    return { status: 304, bytes: 0 }
  }

  const range = ranges ? pickRange(request, etag, file.bytes) : null
  const part = range ?? { start: 0, end: file.bytes }
  const length = part.end - part.start
  const status = range === null ? 200 : 206
  const headers: Record<string, string> = {
    ...shared,
    'Content-Type': safeContentType(file.contentType),
    'Content-Length': String(length),
    ...(range === null ? {} : { 'Content-Range': `bytes ${part.start}-${part.end - 1}/${file.bytes}` }),
  }
  if (request.method === 'HEAD' || length === 0) {
    response.writeHead(status, headers)
    await finished(response, options.signal)
    return { status, bytes: 0 }
  }
  await sendBytes(file, part, response, status, headers, options)
  return { status, bytes: length }
}

async function serveWhole(
  file: Representation,
  method: string | undefined,
  response: ServerResponse,
  status: number,
  options: ServeOptions,
): Promise<Served> {
  const described = { 'Content-Type': safeContentType(file.contentType), 'Content-Length': String(file.bytes) }
  const headers = { ...options.headers, ...described }
  if (method === 'HEAD' || file.bytes === 0) {
    response.writeHead(status, headers)
    await finished(response, options.signal)
    return { status, bytes: 0 }
  }
  await sendBytes(file, { start: 0, end: file.bytes }, response, status, headers, options)
  return { status, bytes: file.bytes }
}

/** The one part asked for, or `null` for the whole. Range belongs to GET only (RFC 9110 §14.2). */
function pickRange(
  request: { method?: string | undefined; headers: IncomingHttpHeaders },
  etag: string,
  bytes: number,
): ByteRange | null {
  const { range, 'if-range': ifRange } = request.headers
  if (request.method !== 'GET' || !rangeStands(typeof ifRange === 'string' ? ifRange : undefined, etag)) return null
  const wanted = parseRange(range, bytes)
  if (wanted.kind === 'whole') return null
  if (wanted.kind === 'part') return wanted.range
  const error = new OverlayError(
    'protocol',
    'RANGE_UNSATISFIABLE',
    `The publication has ${bytes} bytes; the Range lies outside of it.`,
  )
  throw new HttpFailure(416, error, { 'Content-Range': `bytes */${bytes}` })
}

async function sendBytes(
  file: Representation,
  range: ByteRange,
  response: ServerResponse,
  status: number,
  headers: Record<string, string>,
  { clock, signal, onRead, onFirstByte, trace, isolation = '' }: ServeOptions,
): Promise<void> {
  const length = range.end - range.start
  const source = file.read(range, trace === undefined ? { signal, isolation } : { signal, isolation, trace })
  onRead?.(source.counters)
  let sent = 0
  let stage = trace?.stage('first-byte')
  try {
    for await (const chunk of source) {
      signal.throwIfAborted()
      if (chunk.length === 0) continue
      if (sent + chunk.length > length) throw new OverlayError('bug', 'INTERNAL', 'More bytes came than the publication has.')
      if (sent === 0) {
        onFirstByte?.()
        stage?.()
        stage = trace?.stage('body')
        response.writeHead(status, headers)
      }
      sent += chunk.length
      if (!response.write(chunk)) await drained(response, clock, signal)
    }
    if (sent !== length) throw new OverlayError('bug', 'INTERNAL', 'Fewer bytes came than the publication has.')
    await finished(response, signal)
    stage?.()
  } catch (error) {
    const why = signal.aborted ? signal.reason : error
    stage?.({
      note: isOverlayError(why) ? why.message : why instanceof ClientGone ? 'the reader went away' : 'cut short',
      failed: true,
    })
    if (response.headersSent) reset(response)
    throw why
  }
}

/** Cuts the connection so that the client sees an error, never an end. */
export function reset(response: ServerResponse): void {
  if (response.socket !== null) response.socket.resetAndDestroy()
  else response.destroy()
}

/** Waits until `response` takes more. Errors: `TIMEOUT`, the signal's reason, `ClientGone`. */
async function drained(response: ServerResponse, clock: Clock, signal: AbortSignal): Promise<void> {
  const deadline = clock.deadline(WRITE_STALL_MS, signal)
  try {
    await settled(response, 'drain', deadline.signal)
  } finally {
    deadline.clear()
  }
}

/** Ends `response` and waits until the system has its last byte. */
export async function finished(response: ServerResponse, signal: AbortSignal): Promise<void> {
  const done = settled(response, 'finish', signal)
  response.end()
  await done
}

function settled(response: ServerResponse, event: 'drain' | 'finish', signal: AbortSignal): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const onClose = () => reject(new ClientGone('The client closed the connection.'))
  const onAbort = () => reject(signal.reason)
  response.once(event, resolve)
  response.once('close', onClose)
  if (signal.aborted || response.destroyed) reject(signal.reason ?? new ClientGone('The client closed the connection.'))
  else signal.addEventListener('abort', onAbort, { once: true })
  return promise.finally(() => {
    response.off(event, resolve)
    response.off('close', onClose)
    signal.removeEventListener('abort', onAbort)
  })
}

/** Aborts when the client goes away before its answer is complete, or when `closing` does. */
export function signalOf(request: IncomingMessage, response: ServerResponse, closing: AbortSignal): AbortSignal {
  const gone = new AbortController()
  const onClose = () => {
    if (!response.writableFinished) gone.abort(new ClientGone('The client closed the connection.'))
  }
  response.once('close', onClose)
  request.once('error', () => gone.abort(new ClientGone('The client broke the connection.')))
  return AbortSignal.any([gone.signal, closing])
}
