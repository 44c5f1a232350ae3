/**
 * Links over real networks: a libp2p node with our TLS transport, WebSocket with Noise, and our cell muxer on both; no other protocol,
 * no identify, ping, monitor, discovery or reconnection, so that nothing but cells follows a handshake.
 *
 * It owns: who is linked with whom (one link per peer: `duel.ts`), dialling with its time-outs and errors, the sweep that ends stalled
 * links, and a close that leaves nothing behind. It leaves cells to what it makes of a connection (`CellLink`), and whom to dial to its caller. Spec: SPEC.md §3.1, §3.3.
 */

import type { Socket } from 'node:net'
import type { Connection, Ed25519PrivateKey, Libp2pEvents, MultiaddrConnection, TypedEventTarget } from '@libp2p/interface'
import { noise } from '@libp2p/noise'
import { webSockets } from '@libp2p/websockets'
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import type { MonotonicMs, NodeId } from '../../bytes/index.ts'
import { isOverlayError, OverlayError } from '../../errors/index.ts'
import { type Clock, ClockJumps, laterTurn, type Timer } from '../../runtime/index.ts'
import { ADMISSION_DEFAULTS, Admission, type AdmissionLimits } from '../admission.ts'
import { CellLink, type LinkFacts } from '../cell-link.ts'
import { cellPools } from '../cell-pool.ts'
import { duel, duplicateLink } from '../duel.ts'
import type { LinkCloseReason, LinkHost } from '../index.ts'
import type { CellWire, WireUser } from '../lanes.ts'
import { dialError } from './dial-error.ts'
import { endpointOf, identityFromSeed, nodeIdOfPeer, parseAddress, withPeer } from './identity.ts'
import { CellMuxers } from './muxer.ts'
import { quietLogger } from './quiet-log.ts'
import { TlsConnection } from './tls-connection.ts'
import { nodeIdOfKey, tlsContext } from './tls-identity.ts'
import { TlsTransport } from './tls-transport.ts'
import { WsSockets } from './ws-sockets.ts'
import { watchWebSocket } from './ws-watch.ts'
import { WsWire } from './ws-wire.ts'

/** What the host says to its operator. No addresses of peers, no identities. */
export interface HostLog {
  debug(details: object, message: string): void
  error(details: object, message: string): void
}

export interface LinkLimits extends AdmissionLimits {
  /** From the first packet to the link, for each address dialled and each connection accepted. */
  readonly handshakeTimeoutMs: number
  /** Links open at once. */
  readonly links: number
}

// Implementation constants.
export const LINK_LIMITS: LinkLimits = { ...ADMISSION_DEFAULTS, handshakeTimeoutMs: 10_000, links: 128 }
/** Addresses of one peer that are tried. */
const DIAL_ADDRESSES_MAX = 8
/** A link whose peer takes nothing for three of these is closed with reason `timeout`. */
const SWEEP_MS = 20_000
const SWEEPS_STALLED_MAX = 3
/** Bytes that a WebSocket may have buffered before it counts as full, and how often it is asked whether it has drained. */
const WS_BUFFERED_MAX_BYTES = 1024 * 1024
const WS_POLL_MS = 5

export interface Libp2pHostOptions {
  /** 32 bytes: the node's Ed25519 private key (RFC 8032). Borrowed until the promise settles. */
  readonly signingSeed: Uint8Array
  /** `/ip4/…/tcp/N`, `/ip6/…/tcp/N`, each also with `/ws`; port 0 picks a free one. None: this node only dials. */
  readonly listen: readonly string[]
  /** What `addresses` says instead of what is listened on, for a node behind a port forwarding. */
  readonly announce?: readonly string[]
  readonly clock: Clock
  readonly log: HostLog
  readonly limits?: Partial<LinkLimits>
  /** See `readDirectly`; tests set `false`. */
  readonly directRead?: boolean
}

/** What of libp2p's insides a service is given, and we use. */
interface Libp2pParts {
  readonly transportManager: {
    dial(address: Multiaddr, options: { signal: AbortSignal }): Promise<Connection>
    getAddrs(): Multiaddr[]
  }
  readonly events: TypedEventTarget<Libp2pEvents>
}

/** What a host asks of what it makes of an authenticated connection: a link, or what stands for one in this thread. */
export interface HostedLink extends WireUser {
  readonly peer: NodeId
  readonly dialled: boolean
  readonly open: boolean
  /** See `CellLink`. */
  readonly writing: { readonly finishedWrites: number; readonly unfinishedBytes: number }
  /** Idempotent. */
  close(reason: LinkCloseReason): void
}

/** Makes a link of a wire; calls `onEnded` once, when it has ended. */
export type MakeLink<L extends HostedLink> = (facts: LinkFacts, wire: CellWire, onEnded: (link: L) => void) => L

/** Makes a host. Errors: `CONFIG_BAD` for a listen address that is not one; `start()` adds `LINK_LISTEN`. */
export function createLibp2pHost(options: Libp2pHostOptions): Promise<LinkHost> {
  const { clock, log } = options
  const pools = cellPools()
  const onFault = (error: unknown) => log.error({ err: error }, 'a fault while handling cells; the link is closed')
  return createHostOf(options, (facts, wire, onEnded: (link: CellLink) => void) => {
    return new CellLink(facts, wire, pools, clock, { onEnded, onFault })
  })
}

/** The same for links of another make. */
export async function createHostOf<L extends HostedLink>(options: Libp2pHostOptions, make: MakeLink<L>): Promise<LinkHost<L>> {
  for (const address of [...options.listen, ...(options.announce ?? [])]) {
    if (parseAddress(address) === null) {
      throw new OverlayError('config', 'CONFIG_BAD', `${address} is not /ip4|ip6/HOST/tcp/PORT, with or without /ws.`)
    }
  }
  const identity = await identityFromSeed(options.signingSeed)
  return new Libp2pHost(options, identity, make)
}

interface Known<L> {
  readonly link: L
  readonly sinceMs: MonotonicMs
  /** Writes finished at the last sweep, and sweeps since that changed while some were unfinished. */
  finishedWrites: number
  stalledSweeps: number
}

class Libp2pHost<L extends HostedLink> implements LinkHost<L> {
  readonly id: NodeId
  onInbound: (link: L) => void = (link) => link.close('local')
  readonly #options: Libp2pHostOptions
  readonly #identity: Ed25519PrivateKey
  readonly #limits: LinkLimits
  readonly #clock: Clock
  readonly #make: MakeLink<L>
  readonly #muxers: CellMuxers
  readonly #admission: Admission
  readonly #sockets: WsSockets
  readonly #closing = new AbortController()
  /** The one link with each peer. */
  readonly #links = new Map<NodeId, Known<L>>()
  /** Peers being dialled; aborting one ends its dial. */
  readonly #dials = new Map<NodeId, AbortController>()
  /** Inbound links that wait for the end of our own dial to the same peer; at most one for each of `#dials`. */
  readonly #held = new Map<NodeId, L>()
  /** Links that a dial has opened, until it takes them. */
  readonly #dialled = new WeakMap<Connection, { readonly link: L; readonly replaced: boolean }>()
  #node: { start(): void | Promise<void>; stop(): void | Promise<void> } | null = null
  #parts: Libp2pParts | null = null
  #sweeper: Timer | null = null
  readonly #jumps: ClockJumps
  /** Once started: makes the certificate anew, for later connections. */
  #renewCertificate: () => void = () => {}
  #closed: Promise<void> | null = null

  constructor(options: Libp2pHostOptions, identity: Ed25519PrivateKey, make: MakeLink<L>) {
    this.#make = make
    this.#options = options
    this.#identity = identity
    this.#limits = { ...LINK_LIMITS, ...options.limits }
    this.#clock = options.clock
    this.#jumps = new ClockJumps(options.clock)
    this.id = nodeIdOfKey(identity)
    this.#admission = new Admission(this.#limits)
    const { clock } = options
    this.#muxers = new CellMuxers((carrier) => (carrier instanceof TlsConnection ? carrier.wire : new WsWire(carrier, clock)))
    const { handshakeTimeoutMs } = this.#limits
    this.#sockets = new WsSockets({ clock, admission: this.#admission, handshakeTimeoutMs })
  }

  get addresses(): readonly string[] {
    const { announce } = this.#options
    if (announce !== undefined) return announce.map((address) => withPeer(address, this.id))
    return (this.#parts?.transportManager.getAddrs() ?? []).map((address) => withPeer(address.toString(), this.id))
  }

  async start(): Promise<void> {
    this.#closing.signal.throwIfAborted()
    if (this.#node !== null) return
    const { handshakeTimeoutMs } = this.#limits
    let context = await tlsContext(this.#identity)
    this.#renewCertificate = () => {
      tlsContext(this.#identity).then(
        (renewed) => {
          context = renewed
        },
        () => {}, // the old one serves as well as before
      )
    }
    const tls = new TlsTransport({
      clock: this.#clock,
      context: () => context,
      muxers: this.#muxers,
      admission: this.#admission,
      handshakeTimeoutMs,
      directRead: this.#options.directRead ?? true,
    })
    const node = await createLibp2p({
      start: false,
      privateKey: this.#identity,
      logger: quietLogger,
      addresses: { listen: [...this.#options.listen] },
      transports: [() => tls, webSockets({ maxBufferedAmount: WS_BUFFERED_MAX_BYTES, bufferedAmountPollInterval: WS_POLL_MS })],
      connectionEncrypters: [noise()],
      streamMuxers: [() => this.#muxers],
      connectionMonitor: { enabled: false },
      connectionGater: {
        denyInboundConnection: (connection) => !this.#watched(connection, false),
        denyOutboundConnection: (_peer, connection) => !this.#watched(connection, true),
      },
      // Our own admission and table decide; libp2p's caps would bite first (5 connections a second from one address) or prune links.
      connectionManager: {
        maxConnections: this.#limits.total + this.#limits.links,
        inboundConnectionThreshold: Number.MAX_SAFE_INTEGER,
        maxIncomingPendingConnections: this.#limits.total,
        inboundUpgradeTimeout: handshakeTimeoutMs,
        reconnectRetries: 0,
      },
      services: {
        links: (parts: Libp2pParts) => {
          this.#parts = parts
          return {}
        },
      },
    })
    this.#node = node
    this.#parts?.events.addEventListener('connection:open', ({ detail }) => this.#opened(detail))
    this.#sockets.start()
    for (const address of this.#options.listen) this.#guard(multiaddr(address))
    try {
      await node.start()
    } catch (error) {
      await this.close()
      throw new OverlayError('config', 'LINK_LISTEN', `Cannot listen at ${this.#options.listen.join(', ')}.`, error)
    }
    for (const address of this.#parts?.transportManager.getAddrs() ?? []) this.#guard(address)
    this.#sweep()
  }

  #guard(address: Multiaddr): void {
    const endpoint = endpointOf(address)
    if (endpoint?.transport === 'ws') this.#sockets.guard(endpoint.port)
  }

  close(): Promise<void> {
    this.#closed ??= this.#shut()
    return this.#closed
  }

  async #shut(): Promise<void> {
    this.#closing.abort(new OverlayError('unreachable', 'LINK_UNREACHABLE', 'This node is closing.'))
    this.#sweeper?.cancel()
    for (const { link } of [...this.#links.values()]) link.close('local')
    for (const link of [...this.#held.values()]) link.close('local')
    this.#sockets.refuse()
    await this.#node?.stop()
    this.#sockets.close()
  }

  async dial(peer: NodeId, addresses: readonly string[], { signal }: { signal: AbortSignal }): Promise<L> {
    signal.throwIfAborted()
    this.#closing.signal.throwIfAborted()
    if (this.#parts === null) throw new OverlayError('bug', 'INTERNAL', 'Dialled before the start.')
    if (this.#links.has(peer) || this.#dials.has(peer)) throw duplicateLink()
    if (this.#links.size >= this.#limits.links) throw new OverlayError('overload', 'LINK_LIMIT', 'No further link may be opened.')
    const cancel = new AbortController()
    this.#dials.set(peer, cancel)
    try {
      const any = AbortSignal.any([signal, cancel.signal, this.#closing.signal])
      const link = await this.#dialEach(peer, addresses, any)
      this.#settleHeld(peer, link)
      return link
    } catch (error) {
      this.#settleHeld(peer, null)
      throw error
    } finally {
      this.#dials.delete(peer)
    }
  }

  /** Tries the addresses in order. */
  async #dialEach(peer: NodeId, addresses: readonly string[], signal: AbortSignal): Promise<L> {
    let failure = new OverlayError('unreachable', 'LINK_UNREACHABLE', 'None of its addresses can be dialled.')
    for (const text of addresses.slice(0, DIAL_ADDRESSES_MAX)) {
      const endpoint = parseAddress(text)
      if (endpoint === null) continue
      if (endpoint.peer !== undefined && endpoint.peer !== peer) {
        failure = new OverlayError('unreachable', 'LINK_WRONG_PEER', 'The address names another node.')
        continue
      }
      const deadline = this.#clock.deadline(this.#limits.handshakeTimeoutMs, signal)
      try {
        return await this.#dialOne(multiaddr(withPeer(text, peer)), deadline.signal)
      } catch (error) {
        signal.throwIfAborted()
        const seen = isOverlayError(error, 'LINK_DUPLICATE')
          ? error
          : dialError(deadline.signal.aborted ? deadline.signal.reason : error)
        if (seen.code === 'LINK_DUPLICATE') throw seen
        // What says most is kept: another node answered, then nobody did in time, then nobody did.
        if (failure.code !== 'LINK_WRONG_PEER') failure = seen
      } finally {
        deadline.clear()
      }
    }
    throw failure
  }

  async #dialOne(address: Multiaddr, signal: AbortSignal): Promise<L> {
    const endpoint = endpointOf(address)!
    const expected = endpoint.transport === 'ws' ? this.#sockets.expect(endpoint.host, endpoint.port) : null
    let linked = false
    try {
      const connection = await this.#parts!.transportManager.dial(address, { signal })
      const opened = this.#dialled.get(connection)
      if (opened === undefined) throw duplicateLink()
      linked = true
      // The link that this one replaces says `onClose` in the next turn: its owner hears of that first.
      if (opened.replaced) await laterTurn(this.#clock)
      return opened.link
    } finally {
      expected?.done(linked)
    }
  }

  /** libp2p has a connection, authenticated and with its last check passed: makes it a link, or closes it. */
  #opened(connection: Connection): void {
    const muxer = this.#muxers.find(connection.streams)
    const peer = nodeIdOfPeer(connection.remotePeer)
    if (muxer === undefined || peer === null || this.#closing.signal.aborted) return connection.abort(new Error('refused'))
    const { wire } = muxer
    const dialled = connection.direction === 'outbound'
    if (wire instanceof WsWire) {
      wire.stand(this.#socketBelow(connection, dialled))
      const endpoint = endpointOf(connection.remoteAddr)
      if (!dialled && endpoint !== null) this.#sockets.authenticated(endpoint.host, endpoint.port)
    }
    const existing = this.#links.get(peer)
    if (existing === undefined && this.#links.size + this.#held.size >= this.#limits.links) return wire.destroy()
    const lower = this.id < peer
    if (existing !== undefined) {
      const ageMs = this.#clock.monotonicMs() - existing.sinceMs
      const known = { dialled: existing.link.dialled, ageMs }
      const windowMs = this.#limits.handshakeTimeoutMs
      if (duel({ lower, existing: known, fresh: { dialled }, windowMs }) === 'existing') return wire.destroy()
    }
    const facts = { self: this.id, peer, dialled, transport: wire instanceof WsWire ? 'ws' : 'tls' } as const
    const link = this.#make(facts, wire, (ended) => this.#forget(ended))
    wire.attach(link)
    if (dialled) {
      this.#dialled.set(connection, { link, replaced: this.#enter(link) })
    } else if (lower && this.#dials.has(peer)) {
      this.#held.get(peer)?.close('local')
      this.#held.set(peer, link)
    } else {
      this.#dials.get(peer)?.abort(duplicateLink())
      this.#handOver(link)
    }
  }

  /** The TCP socket under a WebSocket connection, if it is known. */
  #socketBelow({ remoteAddr }: { remoteAddr: Multiaddr }, dialled: boolean): Socket | null {
    const endpoint = endpointOf(remoteAddr)
    if (endpoint === null) return null
    const { host, port } = endpoint
    return dialled ? this.#sockets.dialledTo(host, port) : this.#sockets.acceptedFrom(host, port)
  }

  /** Whether a connection may go on to its handshake: TLS has done it, a WebSocket must be one that can be watched. */
  #watched(connection: MultiaddrConnection, dialled: boolean): boolean {
    if (connection instanceof TlsConnection) return true
    const below = this.#socketBelow(connection, dialled)
    return below !== null && watchWebSocket(connection, below)
  }

  /** Our dial to `peer` is over: the inbound link that waited for it is closed, or used. */
  #settleHeld(peer: NodeId, won: L | null): void {
    const held = this.#held.get(peer)
    this.#held.delete(peer)
    if (held === undefined) return
    if (won !== null || !held.open) held.close('local')
    else this.#handOver(held)
  }

  /** Enters an inbound link and gives it to the owner; if it replaces another, after that one's `onClose`. */
  #handOver(link: L): void {
    if (this.#enter(link)) this.#clock.nextTurn(() => this.onInbound(link))
    else this.onInbound(link)
  }

  /** Makes `link` the one link with its peer; `true` if it replaced another. */
  #enter(link: L): boolean {
    const before = this.#links.get(link.peer)
    this.#links.set(link.peer, { link, sinceMs: this.#clock.monotonicMs(), finishedWrites: 0, stalledSweeps: 0 })
    before?.link.close('local')
    return before !== undefined
  }

  #forget(link: L): void {
    if (this.#links.get(link.peer)?.link === link) this.#links.delete(link.peer)
    if (this.#held.get(link.peer) === link) this.#held.delete(link.peer)
  }

  /** Ends links whose peer has taken nothing for a long time, and comes again. */
  #sweep(): void {
    for (const known of [...this.#links.values()]) {
      const { finishedWrites, unfinishedBytes } = known.link.writing
      const stalled = unfinishedBytes > 0 && finishedWrites === known.finishedWrites
      known.finishedWrites = finishedWrites
      known.stalledSweeps = stalled ? known.stalledSweeps + 1 : 0
      if (known.stalledSweeps >= SWEEPS_STALLED_MAX) known.link.close('timeout')
    }
    // A certificate begins an hour before it was made: one of a clock that was ahead would be refused by everybody until the next start.
    if (this.#jumps.look() !== 0) this.#renewCertificate()
    this.#sweeper = this.#clock.setTimer(SWEEP_MS, () => this.#sweep())
  }
}
