/**
 * The libp2p transport for `/ip4|ip6|dns…/tcp/N`: TCP with TLS 1.3 on Node's own sockets, upgraded without further encryption.
 *
 * Stages of a connection: admitted (or closed without a word) → TCP → TLS handshake → certificate verified → upgraded with our muxer. Each
 * has to be over within the handshake time-out. Threat: half-open connections, floods, impostors. Spec: SPEC.md §3.1, §3.3.
 */
import { lookup } from 'node:dns/promises'
import { createServer, type Server, type Socket } from 'node:net'
import { networkInterfaces } from 'node:os'
import { connect, type SecureContext, TLSSocket } from 'node:tls'
import {
  type Connection,
  type CreateListenerOptions,
  type DialTransportOptions,
  type Listener,
  type ListenerEvents,
  type Transport,
  TypedEventEmitter,
  transportSymbol,
} from '@libp2p/interface'
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr'
import type { NodeId } from '../../bytes/index.ts'
import type { Clock } from '../../runtime/index.ts'
import type { Admission } from '../admission.ts'
import { endpointOf, peerIdOfNode } from './identity.ts'
import type { CellMuxers } from './muxer.ts'
import { TlsConnection } from './tls-connection.ts'
import { handshakeOptions, prepareForCells, verifiedPeer } from './tls-identity.ts'

/** What the transport works with. */
export interface TlsTransportParts {
  readonly clock: Clock
  /** Read for each connection: certificates are renewed. */
  readonly context: () => SecureContext
  readonly muxers: CellMuxers
  readonly admission: Admission
  readonly handshakeTimeoutMs: number
  /** See `readDirectly`. */
  readonly directRead: boolean
}

// Implementation constants.
/** Kernel keep-alive: finds out within minutes that a peer's machine is gone. Probes carry no data. */
const KEEP_ALIVE_MS = 60_000
/** Connections that the kernel may hold before they are accepted. */
const BACKLOG = 64

export class TlsTransport implements Transport {
  readonly [transportSymbol] = true
  readonly [Symbol.toStringTag] = 'gyre-tls'
  readonly #parts: TlsTransportParts

  constructor(parts: TlsTransportParts) {
    this.#parts = parts
  }

  async dial(address: Multiaddr, { upgrader, signal }: DialTransportOptions): Promise<Connection> {
    const { clock, context, muxers, directRead } = this.#parts
    const endpoint = endpointOf(address)
    if (endpoint === null) throw new Error('not an address of this transport')
    const host = endpoint.family === 'dns' ? (await lookup(endpoint.host)).address : endpoint.host
    signal.throwIfAborted()
    const socket = connect({ host, port: endpoint.port, ...handshakeOptions(context()) })
    const peer = await authenticate(socket, signal, endpoint.peer)
    const connection = new TlsConnection(socket, address, 'outbound', clock, directRead)
    const upgrade = {
      skipEncryption: true,
      skipProtection: true,
      muxerFactory: muxers,
      remotePeer: peerIdOfNode(peer),
      signal,
    } as const
    return upgrader.upgradeOutbound(connection, upgrade).catch((error: unknown) => {
      socket.destroy()
      throw error
    })
  }

  createListener({ upgrader }: CreateListenerOptions): Listener {
    return new TlsListener(this.#parts, upgrader)
  }

  listenFilter(addresses: Multiaddr[]): Multiaddr[] {
    return this.dialFilter(addresses).filter((address) => endpointOf(address)?.family !== 'dns')
  }

  dialFilter(addresses: Multiaddr[]): Multiaddr[] {
    return addresses.filter((address) => endpointOf(address)?.transport === 'tls')
  }
}

/** Waits for the end of the handshake, then verifies the peer. On any failure, or when `signal` aborts, the socket is destroyed. */
async function authenticate(socket: TLSSocket, signal: AbortSignal, expected: NodeId | undefined): Promise<NodeId> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const onAbort = () => reject(signal.reason)
  const onClose = () => reject(new Error('closed during the handshake'))
  signal.addEventListener('abort', onAbort, { once: true })
  socket.once('secure', resolve)
  socket.on('error', reject)
  socket.once('close', onClose)
  try {
    if (signal.aborted) onAbort()
    await promise
    prepareForCells(socket)
    socket.setKeepAlive(true, KEEP_ALIVE_MS)
    const peer = await verifiedPeer(socket, expected)
    signal.throwIfAborted()
    return peer
  } catch (error) {
    socket.destroy()
    throw error
  } finally {
    signal.removeEventListener('abort', onAbort)
    socket.off('secure', resolve)
    socket.off('close', onClose)
    // The listener for `error` stays: a socket without one would end the process.
  }
}

class TlsListener extends TypedEventEmitter<ListenerEvents> implements Listener {
  readonly #parts: TlsTransportParts
  readonly #upgrader: CreateListenerOptions['upgrader']
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  readonly #closing = new AbortController()
  #address: Multiaddr | null = null

  constructor(parts: TlsTransportParts, upgrader: CreateListenerOptions['upgrader']) {
    super()
    this.#parts = parts
    this.#upgrader = upgrader
    this.#server = createServer({ noDelay: true }, (socket) => this.#accept(socket))
  }

  async listen(address: Multiaddr): Promise<void> {
    const endpoint = endpointOf(address)
    if (endpoint === null) throw new Error('not an address of this transport')
    this.#address = address
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    this.#server.once('error', reject)
    this.#server.listen(
      { host: endpoint.host, port: endpoint.port, backlog: BACKLOG, ipv6Only: endpoint.family === 'ip6' },
      resolve,
    )
    await promise
    this.#server.off('error', reject)
    // An error after that (no file descriptors left) concerns one connection that was not accepted.
    this.#server.on('error', () => {})
    this.safeDispatchEvent('listening')
  }

  getAddrs(): Multiaddr[] {
    const bound = this.#server.address()
    const endpoint = this.#address === null ? null : endpointOf(this.#address)
    if (bound === null || typeof bound === 'string' || endpoint === null) return []
    return hostsOf(endpoint.host).map((host) => multiaddr(`/${endpoint.family}/${host}/tcp/${bound.port}`))
  }

  updateAnnounceAddrs(): void {}

  async close(): Promise<void> {
    this.#closing.abort(new Error('the listener is closing'))
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#server.close(() => resolve())
    for (const socket of this.#sockets) socket.destroy()
    await promise
    this.safeDispatchEvent('close')
  }

  #accept(raw: Socket): void {
    const { admission, clock } = this.#parts
    const ticket = admission.enter(raw.remoteAddress ?? '', clock.monotonicMs(), () => raw.destroy())
    if (ticket === null) return void raw.destroy()
    this.#sockets.add(raw)
    raw.on('error', () => raw.destroy())
    raw.on('close', () => {
      this.#sockets.delete(raw)
      ticket.leave()
    })
    this.#secure(raw, ticket.authenticate).catch(() => {
      // Whatever went wrong, the peer is told the same: nothing.
      raw.destroy()
    })
  }

  async #secure(raw: Socket, onAuthenticated: () => void): Promise<void> {
    const { clock, context, muxers, handshakeTimeoutMs, directRead } = this.#parts
    const deadline = clock.deadline(handshakeTimeoutMs, this.#closing.signal)
    try {
      const socket = new TLSSocket(raw, { isServer: true, ...handshakeOptions(context()) })
      const peer = await authenticate(socket, deadline.signal, undefined)
      const remote = multiaddr(
        `/${raw.remoteFamily === 'IPv6' ? 'ip6' : 'ip4'}/${raw.remoteAddress ?? '0.0.0.0'}/tcp/${raw.remotePort ?? 0}`,
      )
      const connection = new TlsConnection(socket, remote, 'inbound', clock, directRead)
      onAuthenticated()
      const upgrade = {
        skipEncryption: true,
        skipProtection: true,
        muxerFactory: muxers,
        remotePeer: peerIdOfNode(peer),
      } as const
      await this.#upgrader.upgradeInbound(connection, { ...upgrade, signal: deadline.signal })
    } finally {
      deadline.clear()
    }
  }
}

/** The addresses at which a listener on `host` can be dialled: for "any", those of the interfaces, loopback if there is nothing else. */
function hostsOf(host: string): string[] {
  if (host !== '0.0.0.0' && host !== '::') return [host]
  const family = host === '::' ? 'IPv6' : 'IPv4'
  const all = Object.values(networkInterfaces())
    .flatMap((list) => list ?? [])
    .filter((entry) => entry.family === family && !entry.address.startsWith('fe80:'))
  const outside = all.filter((entry) => !entry.internal)
  return (outside.length > 0 ? outside : all).map((entry) => entry.address)
}
