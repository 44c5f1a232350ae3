/**
 * The SOCKS5 proxy: any program that can name a host to a SOCKS server reaches live services with any protocol, and sites and files with HTTP.
 * Like the HTTP proxy it has no code that resolves a name or opens a socket (DESIGN P11). User and password isolate, and open nothing.
 *
 * Stages: handshake (10 s) → command → CONNECT: the gate; RESOLVE: an address that only this proxy knows. BIND, UDP and RESOLVE_PTR are
 * refused: there is nothing to listen on, no datagrams, and no names of addresses.
 */
import { createServer, type Socket } from 'node:net'
import type { HostPort } from '../../src/config/index.ts'
import type { ErrorCode } from '../../src/errors/index.ts'
import type { Logger } from '../../src/log/index.ts'
import type { Clock } from '../../src/runtime/index.ts'
import type { FaceServer } from '../api/index.ts'
import { failureOf, listenAt } from '../http/index.ts'
import type { Gate } from './gate.ts'
import { isolationOf } from './isolation.ts'
import { encodeReply, SocksCommand, SocksHandshake, SocksReply, type SocksStep } from './socks-codec.ts'
import { type GyreHost, hostOf, looksLikeGyre } from './target.ts'
import { isVirtual, VirtualAddresses, virtualBytes } from './virtual-addresses.ts'

// Implementation constants.
/** A client that has not said what it wants by then is let go. */
export const HANDSHAKE_TIMEOUT_MS = 10_000
/** Connections at a time; one more is closed at once. */
export const SOCKS_CONNECTIONS_MAX = 512
/** How long a client may take to read a refusal. */
const REFUSED_MS = 2_000

export interface SocksOptions {
  readonly at: HostPort
  /** The way through, of the HTTP proxy. */
  readonly gate: Gate
  readonly clock: Clock
  readonly log: Logger
}

interface Parts {
  readonly gate: Gate
  readonly clock: Clock
  readonly addresses: VirtualAddresses
}

/** Starts the proxy. Errors: `PORT_TAKEN`, `CONFIG_BAD`. */
export async function startSocks({ at, gate, clock, log }: SocksOptions): Promise<FaceServer> {
  const parts: Parts = { gate, clock, addresses: new VirtualAddresses() }
  const sockets = new Set<Socket>()
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    sockets.add(socket)
    socket.on('error', () => socket.destroy())
    socket.once('close', () => sockets.delete(socket))
    serve(socket, parts).catch((error: unknown) => {
      log.error('a SOCKS request failed because of a fault', { error })
      socket.destroy()
    })
  })
  server.maxConnections = SOCKS_CONNECTIONS_MAX
  const bound = await listenAt(server, at, 'socks')
  const { promise: ended, resolve } = Promise.withResolvers<void>()
  let closing = false
  return {
    at: bound,
    close: () => {
      // Tunnels have no end of their own to wait for.
      if (!closing) server.close(() => resolve())
      closing = true
      for (const socket of sockets) socket.destroy()
      return ended
    },
  }
}

type Wish = Extract<SocksStep, { kind: 'request' }>

async function serve(socket: Socket, parts: Parts): Promise<void> {
  const wish = await handshake(socket, parts.clock)
  if (wish === null) return
  const { request, credentials, rest } = wish
  const isolation = credentials === null ? '' : isolationOf(credentials.user, credentials.password)
  const { gate, addresses, clock } = parts
  try {
    if (request.command === SocksCommand.resolve) {
      const host = hostAt(request, isolation, addresses)
      gate.destinations.addressOf(host)
      socket.end(encodeReply(SocksReply.succeeded, addresses.assign(isolation, host.name)))
      letGo(socket, clock)
      return
    }
    if (request.command !== SocksCommand.connect) throw new SocksRefusal(SocksReply.commandUnsupported)
    const host = hostAt(request, isolation, addresses)
    if (request.port === 0) throw new SocksRefusal(SocksReply.refused)
    await gate.pass(socket, { host, port: request.port }, isolation, rest, () => socket.write(encodeReply(SocksReply.succeeded)))
  } catch (error) {
    if (socket.destroyed) return
    const reply = replyOf(error)
    socket.end(encodeReply(reply))
    letGo(socket, clock)
    if (!(error instanceof SocksRefusal) && failureOf(error).kind === 'bug') throw error
  }
}

class SocksRefusal extends Error {
  override readonly name = 'SocksRefusal'
  readonly reply: SocksReply
  constructor(reply: SocksReply) {
    super(`SOCKS reply ${reply}`)
    this.reply = reply
  }
}

/** The host of a request. Throws `SocksRefusal`: whatever is not of this network is not looked at further. */
function hostAt({ command, destination }: Wish['request'], isolation: string, addresses: VirtualAddresses): GyreHost {
  if (destination.type === 'ipv6') throw new SocksRefusal(SocksReply.addressUnsupported)
  // torsocks writes the address that it was given as a name.
  const bytes = destination.type === 'name' ? virtualBytes(destination.name) : destination.bytes
  if (destination.type === 'name' && bytes === null) {
    const host = hostOf(destination.name)
    if (host !== null) return host
    throw new SocksRefusal(looksLikeGyre(destination.name) ? SocksReply.hostUnreachable : SocksReply.notAllowed)
  }
  if (bytes === null || command !== SocksCommand.connect || !isVirtual(bytes)) throw new SocksRefusal(SocksReply.notAllowed)
  const host = hostOf(addresses.find(isolation, bytes) ?? '')
  if (host === null) throw new SocksRefusal(SocksReply.hostUnreachable)
  return host
}

const REPLY_OF_CODE: Readonly<Partial<Record<ErrorCode, SocksReply>>> = {
  ADDRESS_BAD: SocksReply.hostUnreachable,
  CONTENT_NOT_FOUND: SocksReply.hostUnreachable,
  NAME_UNKNOWN: SocksReply.hostUnreachable,
  NETWORK_TOO_SMALL: SocksReply.networkUnreachable,
  PROXY_REFUSED: SocksReply.refused,
  RECORD_NOT_FOUND: SocksReply.hostUnreachable,
  SERVICE_REFUSED: SocksReply.refused,
  SERVICE_UNREACHABLE: SocksReply.hostUnreachable,
  TIMEOUT: SocksReply.expired,
}

function replyOf(error: unknown): SocksReply {
  if (error instanceof SocksRefusal) return error.reply
  return REPLY_OF_CODE[failureOf(error).code] ?? SocksReply.failed
}

/** The client's wish, or `null` when it has none that can be served: then it was told and let go. */
async function handshake(socket: Socket, clock: Clock): Promise<Wish | null> {
  const { promise, resolve } = Promise.withResolvers<Wish | null>()
  const machine = new SocksHandshake()
  const timer = clock.setTimer(HANDSHAKE_TIMEOUT_MS, () => socket.destroy())
  const onData = (chunk: Buffer) => {
    const step = machine.feed(chunk)
    if (step.kind === 'refused') {
      socket.end(step.send)
      resolve(null)
      letGo(socket, clock)
      return
    }
    if (step.send.length > 0) socket.write(step.send)
    if (step.kind === 'more') return
    // Nothing is read until somebody takes it: what the client sends now is for the other end.
    socket.pause()
    resolve(step)
  }
  const onEnd = () => socket.destroy() // it ended in the middle of its wish
  const onClose = () => resolve(null)
  socket.on('data', onData).once('end', onEnd).once('close', onClose)
  try {
    return await promise
  } finally {
    timer.cancel()
    socket.off('data', onData).off('end', onEnd).off('close', onClose)
  }
}

/** Closes for good, when the client does or after a while. */
function letGo(socket: Socket, clock: Clock): void {
  const timer = clock.setTimer(REFUSED_MS, () => socket.destroy())
  socket.once('close', () => timer.cancel())
  socket.once('end', () => socket.destroySoon())
  socket.resume()
}
