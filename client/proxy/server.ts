/**
 * The HTTP proxy: `http://ADDRESS.gyre/` from the network, 403 and a page for everything else. There is no code here that resolves a
 * name or opens a socket: no request, however formed, can leave this machine but through loops (DESIGN P11, `proxy-leak.test.ts`).
 * A publication's page runs as its own web origin and may load from that origin only, so that it cannot make a browser that uses
 * the proxy for .gyre alone fetch something from the open internet. Answers carry nothing that tells one node from another.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { HostPort } from '../../src/config/index.ts'
import { isOverlayError, OverlayError } from '../../src/errors/index.ts'
import type { FaceServer } from '../api/index.ts'
import {
  answerRaw,
  ClientGone,
  closeServer,
  type FaceParts,
  type Failure,
  failureOf,
  HttpFailure,
  limit,
  listenAt,
  SERVER_OPTIONS,
  serveFile,
  signalOf,
  statusOfParseError,
} from '../http/index.ts'
import { failurePage } from './page.ts'
import { targetOf } from './target.ts'

// Implementation constants.
/** A whole request must be there after so long; none that is served has a body. */
const REQUEST_TIMEOUT_MS = 15_000

/** Sent with content. A page may use its own origin and what it carries itself; DNS prefetching of its links would be a leak. */
const CONTENT_HEADERS = {
  'Cache-Control': 'private, no-cache',
  'Content-Security-Policy': [
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:",
    "base-uri 'self'",
    "form-action 'self'",
    "frame-ancestors 'self'",
    "object-src 'none'",
    "webrtc 'block'",
  ].join('; '),
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
  'X-DNS-Prefetch-Control': 'off',
} as const

const PAGE_HEADERS = {
  'Cache-Control': 'no-store',
  'Content-Security-Policy': "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
  'Content-Type': 'text/html; charset=utf-8',
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
} as const

export interface ProxyOptions extends FaceParts {
  readonly at: HostPort
}

/** Starts the proxy. Errors: `PORT_TAKEN`, `CONFIG_BAD`. */
export async function startProxy({ face, clock, log, at }: ProxyOptions): Promise<FaceServer> {
  const closing = new AbortController()
  const parts = { face, clock, log, closing: closing.signal }
  const server = createServer(
    { ...SERVER_OPTIONS, requestTimeout: REQUEST_TIMEOUT_MS, requireHostHeader: false },
    (request, response) => {
      answer(request, response, parts).catch((error: unknown) => {
        log.error('a proxy request failed because of a fault', { error })
        response.destroy()
      })
    },
  )
  limit(server)
  // Any expectation, 100-continue included, is answered like the request itself: nothing that is served has a body.
  for (const event of ['checkContinue', 'checkExpectation'] as const) {
    server.on(event, (request: IncomingMessage, response: ServerResponse) => server.emit('request', request, response))
  }
  server.on('connect', (_request: IncomingMessage, socket: Socket) => {
    socket.on('error', () => socket.destroy())
    refuseRaw(
      socket,
      403,
      new OverlayError('protocol', 'PROXY_REFUSED', 'CONNECT (https and other tunnels) is not served; use http://ADDRESS.gyre/.'),
    )
  })
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Socket) => {
    refuseRaw(
      socket,
      statusOfParseError(error),
      new OverlayError('protocol', 'PROXY_BAD_REQUEST', 'The request is not valid HTTP, or too large.'),
    )
  })

  const bound = await listenAt(server, at, 'proxy')
  const abort = () => closing.abort(new OverlayError('unreachable', 'NODE_UNREACHABLE', 'The node is stopping.'))
  let closed: Promise<void> | null = null
  return {
    at: bound,
    close: () => {
      closed ??= closeServer(server, clock, abort)
      return closed
    },
  }
}

interface AnswerParts extends FaceParts {
  readonly closing: AbortSignal
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  { face, clock, log, closing }: AnswerParts,
): Promise<void> {
  const signal = signalOf(request, response, closing)
  try {
    const target = targetOf(request.method, request.url, request.headers)
    if (target.path !== '/') {
      const error = new OverlayError('not-found', 'CONTENT_NOT_FOUND', 'The address is one file: it is at the path / alone.')
      throw new HttpFailure(404, error)
    }
    const file = await face.open(target.address, { signal })
    await serveFile(file, request, response, { clock, signal, headers: CONTENT_HEADERS })
  } catch (error) {
    if (error instanceof ClientGone || response.headersSent || response.destroyed) {
      response.destroy()
      return
    }
    if (!(error instanceof HttpFailure) && (!isOverlayError(error) || error.kind === 'bug')) {
      log.error('a proxy request failed because of a fault', { error })
    }
    sendPage(request, response, failureOf(error))
  }
}

function sendPage(request: IncomingMessage, response: ServerResponse, failure: Failure): void {
  const page = failurePage(failure)
  // What was refused may have a body on its way: the connection is not used again.
  const close: Record<string, string> = request.complete && failure.status !== 403 ? {} : { Connection: 'close' }
  const headers = { ...PAGE_HEADERS, ...failure.headers, ...close, 'Proxy-Status': proxyStatus(failure) }
  response.writeHead(failure.status, { ...headers, 'Content-Length': Buffer.byteLength(page) })
  response.end(request.method === 'HEAD' ? undefined : page)
}

function refuseRaw(socket: Socket, status: number, error: OverlayError): void {
  const failure = failureOf(new HttpFailure(status, error))
  answerRaw(socket, status, 'text/html; charset=utf-8', failurePage(failure), `Proxy-Status: ${proxyStatus(failure)}\r\n`)
}

/** RFC 9209: who answered and why, without a name that tells nodes apart. */
function proxyStatus({ status, code }: Failure): string {
  return `gyre; error=${ERROR_TYPES[status] ?? 'proxy_internal_error'}; details="${code}"`
}

const ERROR_TYPES: Readonly<Record<number, string>> = {
  400: 'http_request_error',
  403: 'http_request_denied',
  404: 'destination_not_found',
  408: 'http_request_error',
  412: 'http_request_error',
  416: 'http_request_error',
  431: 'http_request_error',
  502: 'destination_unavailable',
  503: 'destination_unavailable',
  504: 'connection_timeout',
}
