/**
 * The HTTP proxy: `http://ADDRESS.gyre/` and `http://NAME.gyre/` from the network, tunnels to live services, and 403 with a page for
 * everything else. There is no code here that resolves a name or opens a socket: no request, however formed, can leave this machine but
 * through loops (DESIGN P11, `proxy-leak.test.ts`). Answers carry nothing that tells one node from another.
 *
 * What is here: the server, its limits and its end. What a request is for: `target.ts`; how it is answered: `answer.ts`.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { HostPort } from '../../src/config/index.ts'
import { OverlayError } from '../../src/errors/index.ts'
import type { FaceServer } from '../api/index.ts'
import {
  answerRaw,
  closeServer,
  type FaceParts,
  type Failure,
  failureOf,
  HttpFailure,
  limit,
  listenAt,
  SERVER_OPTIONS,
  statusOfParseError,
} from '../http/index.ts'
import { type AnswerParts, answer, type Extra, type Opened, responseOn } from './answer.ts'
import { Destinations } from './destination.ts'
import { Gate } from './gate.ts'
import { checkRequestHeaders } from './headers.ts'
import { isolationFrom } from './isolation.ts'
import { failurePage, proxyFailure, proxyStatus } from './page.ts'
import { authorityOf } from './target.ts'
import { isWebSocket } from './upgrade.ts'
import { LiveAgent } from './upstream.ts'

export interface ProxyOptions extends FaceParts {
  readonly at: HostPort
}

/** A running HTTP proxy, and the way for the SOCKS proxy beside it. */
export interface ProxyServer extends FaceServer {
  readonly gate: Gate
}

/** Starts the proxy. Errors: `PORT_TAKEN`, `CONFIG_BAD`. */
export async function startProxy({ face, clock, log, at }: ProxyOptions): Promise<ProxyServer> {
  const closing = new AbortController()
  const destinations = new Destinations(face, clock)
  const agent = new LiveAgent(clock)
  const opened = new WeakMap<Socket, Opened>()
  const parts: AnswerParts = { face, clock, log, closing: closing.signal, destinations, agent, opened, atWork: new WeakMap() }
  const server = createServer({
    ...SERVER_OPTIONS,
    // Bodies are streamed and may take long: `forward.ts` watches them, and who takes none closes the connection.
    requestTimeout: 0,
    requireHostHeader: false,
    shouldUpgradeCallback: isWebSocket,
  })
  limit(server)
  // Node would leave out what is beyond its count, framing and all; ours refuses (`checkRequestHeaders`).
  server.maxHeadersCount = 0
  const take = (request: IncomingMessage, response: ServerResponse, extra: Extra = {}) => {
    answer(request, response, parts, extra).catch((error: unknown) => {
      log.error('a proxy request failed because of a fault', { error })
      request.socket.destroy()
    })
  }
  server.on('request', take)
  server.on('checkContinue', (request, response) => take(request, response, { expects: true }))
  server.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) => {
    socket.on('error', () => socket.destroy())
    take(request, responseOn(request, socket), { upgraded: { socket, head } })
  })
  const leaving = new AbortController()
  const gate = new Gate({
    face,
    clock,
    // Tunnels have no end of their own to wait for.
    closing: leaving.signal,
    destinations,
    adopt: (socket, to) => {
      opened.set(socket, to)
      server.emit('connection', socket)
      socket.resume()
    },
  })
  server.on('connect', (request: IncomingMessage, socket: Socket, head: Buffer) => {
    socket.on('error', () => socket.destroy())
    connect(request, socket, head, gate).catch((error: unknown) => {
      if (socket.destroyed) return
      const failure = proxyFailure(error)
      if (failure.kind === 'bug') log.error('a tunnel failed because of a fault', { error })
      refuseRaw(socket, failure)
    })
  })
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Socket) => {
    const bad = new OverlayError('protocol', 'PROXY_BAD_REQUEST', 'The request is not valid HTTP, or too large.')
    refuseRaw(socket, failureOf(new HttpFailure(statusOfParseError(error), bad)))
  })

  const bound = await listenAt(server, at, 'proxy')
  const stopping = new OverlayError('unreachable', 'NODE_UNREACHABLE', 'The node is stopping.')
  const abort = () => {
    closing.abort(stopping)
    agent.destroy()
  }
  let closed: Promise<void> | null = null
  return {
    at: bound,
    gate,
    close: () => {
      leaving.abort(stopping)
      closed ??= closeServer(server, clock, abort)
      return closed
    },
  }
}

/** `CONNECT host:port` (RFC 9110 §9.3.6). Errors: `HttpFailure`, those of `Gate.pass`; the client was told nothing then. */
async function connect(request: IncomingMessage, socket: Socket, head: Buffer, gate: Gate): Promise<void> {
  checkRequestHeaders(request.rawHeaders)
  const target = authorityOf(request.url ?? '', null)
  const { host } = request.headers
  // Programs put other things than the target there, or nothing; another host of the network is a lie worth refusing.
  if (host !== undefined && host !== '' && host !== request.url && host !== target.host.name)
    throw new HttpFailure(
      400,
      new OverlayError('protocol', 'PROXY_BAD_REQUEST', 'The Host header disagrees with the request target.'),
    )
  const isolation = isolationFrom(request.headers['proxy-authorization'])
  await gate.pass(socket, target, isolation, head, () => socket.write('HTTP/1.1 200 Connection established\r\n\r\n'))
}

function refuseRaw(socket: Socket, failure: Failure): void {
  const headers = `Proxy-Status: ${proxyStatus(failure)}\r\n`
  answerRaw(socket, failure.status, 'text/html; charset=utf-8', failurePage(failure), headers)
}
