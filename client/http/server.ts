/**
 * Starting, limiting and stopping an HTTP server, the same for API and proxy: tight time-outs against slow headers, few connections,
 * an answer to malformed requests, and a stop that is graceful for a bounded time and then final.
 */
import { type Server, STATUS_CODES } from 'node:http'
import type { AddressInfo, Server as NetServer, Socket } from 'node:net'
import type { HostPort } from '../../src/config/index.ts'
import { formatHostPort } from '../../src/config/index.ts'
import { OverlayError } from '../../src/errors/index.ts'
import type { Clock } from '../../src/runtime/index.ts'

// Implementation constants.
/** A request's head must be there after so long (slow-loris). */
export const HEADERS_TIMEOUT_MS = 10_000
/** An idle connection is closed after so long. */
export const KEEP_ALIVE_MS = 15_000
/** How often Node looks for requests that are too slow. */
export const CHECK_INTERVAL_MS = 2_000
/** Request line and headers together; more gets 431. */
export const HEADER_BYTES_MAX = 16 * 1024
/** Headers that are read; more are ignored, and a request of ours needs few. */
export const HEADERS_MAX = 64
/** Connections at a time; one more is closed at once. */
export const CONNECTIONS_MAX = 256
/** How long a stop lets running answers go on. */
export const CLOSE_GRACE_MS = 2_000

/** Options of `http.createServer` that both faces share. */
export const SERVER_OPTIONS = {
  headersTimeout: HEADERS_TIMEOUT_MS,
  keepAliveTimeout: KEEP_ALIVE_MS,
  connectionsCheckingInterval: CHECK_INTERVAL_MS,
  maxHeaderSize: HEADER_BYTES_MAX,
  insecureHTTPParser: false,
  noDelay: true,
} as const

/** Applies the limits that are properties of a server. */
export function limit(server: Server): void {
  server.maxConnections = CONNECTIONS_MAX
  server.maxHeadersCount = HEADERS_MAX
}

/** Listens at `at`; the address that it became (port 0 is replaced). Errors: `PORT_TAKEN`, `CONFIG_BAD`. */
export async function listenAt(server: NetServer, at: HostPort, flag: string): Promise<HostPort> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  server.once('error', reject)
  // `localhost` is not looked up: no DNS query, and one socket.
  server.listen({ host: at.host === 'localhost' ? '127.0.0.1' : at.host, port: at.port, exclusive: true }, resolve)
  try {
    await promise
  } catch (error) {
    throw listenError(error, at, flag)
  } finally {
    server.off('error', reject)
  }
  return Object.freeze({ host: at.host, port: (server.address() as AddressInfo).port })
}

function listenError(error: unknown, at: HostPort, flag: string): OverlayError {
  const code = (error as NodeJS.ErrnoException).code
  const where = formatHostPort(at)
  if (code === 'EADDRINUSE')
    return new OverlayError('config', 'PORT_TAKEN', `Something listens on ${where} (--${flag}) already.`, error)
  return new OverlayError('config', 'CONFIG_BAD', `Cannot listen on ${where} (--${flag}): ${code ?? 'unknown cause'}.`, error)
}

/** Stops accepting, lets running answers end for `CLOSE_GRACE_MS`, then calls `abort` and closes every connection. Idempotent. */
export async function closeServer(server: Server, clock: Clock, abort: () => void): Promise<void> {
  if (!server.listening) {
    abort()
    server.closeAllConnections()
    return
  }
  const { promise, resolve } = Promise.withResolvers<void>()
  server.close(() => resolve())
  server.closeIdleConnections()
  const timer = clock.setTimer(CLOSE_GRACE_MS, () => {
    abort()
    server.closeAllConnections()
  })
  await promise
  timer.cancel()
  abort()
}

/** The status for a request that Node's parser refused. */
export function statusOfParseError(error: NodeJS.ErrnoException): number {
  if (error.code === 'HPE_HEADER_OVERFLOW') return 431
  if (error.code === 'ERR_HTTP_REQUEST_TIMEOUT') return 408
  return 400
}

/** Answers a request that never became one, and closes its connection. `headers`: whole lines. */
export function answerRaw(socket: Socket, status: number, contentType: string, body: string, headers = ''): void {
  if (!socket.writable || socket.bytesWritten > 0) {
    socket.destroy()
    return
  }
  const head = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\nContent-Type: ${contentType}\r\nContent-Length: ${Buffer.byteLength(body)}\r\n`
  socket.end(`${head}Connection: close\r\nX-Content-Type-Options: nosniff\r\n${headers}\r\n${body}`, () => socket.destroy())
}
