/**
 * Links inside one process, for tests and for simulating whole networks: the same turns, limits, back-pressure and endings as over a
 * socket (`CellLink`), with a wire that is a queue. Deterministic: all order comes from the clock's turns and timers.
 *
 * A write is delivered in a later turn, or after the delay and at the rate that `shape` gives; it is finished for the sender when the
 * receiver has taken it, so that a receiver that stalls is felt by the sender as through a socket with no buffers in between.
 * Addresses look like `/ip4/10.7.0.1/tcp/4001/p2p/<node id>` (each host in its own /16). Spec: SPEC.md §3.1 (faults: DESIGN §9).
 */
import type { NodeId } from '../bytes/index.ts'
import { OverlayError } from '../errors/index.ts'
import type { Clock } from '../runtime/index.ts'
import { CellLink } from './cell-link.ts'
import { type CellPools, cellPools } from './cell-pool.ts'
import { duplicateLink } from './duel.ts'
import type { Link, LinkCloseReason, LinkHost } from './index.ts'
import type { CellWire } from './lanes.ts'

/** How a wire from one node to another behaves. */
export interface WireShape {
  readonly delayMs: number
  /** Absent: as fast as the receiver takes it. */
  readonly bytesPerSec?: number
}

export interface MemoryNetworkOptions {
  readonly clock: Clock
  /** Delay and rate of each direction, asked once per link. Absent: delivered in the next turn. */
  readonly shape?: (from: NodeId, to: NodeId) => WireShape
  /** Sees every write on every wire, as who taps the cables does. */
  readonly onWrite?: (from: NodeId, to: NodeId, bytes: number) => void
  /** Cells per block and delivery; a simulation of hundreds of nodes passes 8 or so, to be small. */
  readonly blockCells?: number
}

export interface MemoryHostOptions {
  /** Listen address without /p2p. Absent: one of its own. */
  readonly address?: string
  /** Whether others can dial it; default true. */
  readonly reachable?: boolean
}

/** A process full of hosts that can dial one another. */
export interface MemoryNetwork {
  /** Makes the host of node `id`; it takes part between its `start()` and `close()`. */
  host(id: NodeId, options?: MemoryHostOptions): LinkHost
  /** Ends every link between the two nodes, as if a cable were cut: both sides see reason `error`. */
  sever(a: NodeId, b: NodeId): void
  /** While true, nothing comes to or from `id`, and nothing tells the others so. */
  stall(id: NodeId, stalled: boolean): void
  /** Decides who can be dialled by whom from now on; links that exist stay. */
  reachableBy(rule: (from: NodeId, to: NodeId) => boolean): void
  /** Both ends of every open link counted. */
  readonly openLinkEnds: number
}

export function memoryNetwork(options: MemoryNetworkOptions): MemoryNetwork {
  return new Network(options)
}

class Network implements MemoryNetwork {
  readonly clock: Clock
  readonly pools: CellPools
  readonly shape: ((from: NodeId, to: NodeId) => WireShape) | undefined
  readonly listening = new Map<string, MemoryHost>()
  readonly stalled = new Set<NodeId>()
  readonly onWrite: MemoryNetworkOptions['onWrite']
  readonly #hosts: MemoryHost[] = []
  mayDial: (from: NodeId, to: NodeId) => boolean = () => true

  constructor({ clock, shape, blockCells, onWrite }: MemoryNetworkOptions) {
    this.clock = clock
    this.onWrite = onWrite
    this.shape = shape
    this.pools = cellPools(blockCells === undefined ? {} : { blockCells })
  }

  host(id: NodeId, { address, reachable = true }: MemoryHostOptions = {}): LinkHost {
    const index = this.#hosts.length
    const own = address ?? `/ip4/${10 + (index >> 8)}.${index & 255}.0.1/tcp/4001`
    const host = new MemoryHost(this, id, reachable ? own : null)
    this.#hosts.push(host)
    return host
  }

  sever(a: NodeId, b: NodeId): void {
    for (const host of this.#hosts) {
      if (host.id === a) host.links.get(b)?.onEnd('error')
      if (host.id === b) host.links.get(a)?.onEnd('error')
    }
  }

  stall(id: NodeId, stalled: boolean): void {
    if (stalled) this.stalled.add(id)
    else this.stalled.delete(id)
    if (stalled) return
    for (const host of this.#hosts) for (const wire of host.wires) wire.wake()
  }

  reachableBy(rule: (from: NodeId, to: NodeId) => boolean): void {
    this.mayDial = rule
  }

  get openLinkEnds(): number {
    return this.#hosts.reduce((sum, host) => sum + host.links.size, 0)
  }
}

class MemoryHost implements LinkHost {
  readonly id: NodeId
  readonly links = new Map<NodeId, CellLink>()
  readonly wires = new Set<MemoryWire>()
  onInbound: (link: Link) => void = (link) => link.close('local')
  readonly #network: Network
  readonly #address: string | null
  readonly #dialling = new Set<NodeId>()
  readonly #ending = new AbortController()
  #running = false

  constructor(network: Network, id: NodeId, address: string | null) {
    this.#network = network
    this.id = id
    this.#address = address
  }

  get addresses(): readonly string[] {
    return this.#running && this.#address !== null ? [`${this.#address}/p2p/${this.id}`] : []
  }

  async start(): Promise<void> {
    this.#ending.signal.throwIfAborted()
    if (this.#running) return
    if (this.#address !== null) {
      if (this.#network.listening.has(this.#address)) {
        throw new OverlayError('config', 'LINK_LISTEN', `${this.#address} is in use.`)
      }
      this.#network.listening.set(this.#address, this)
    }
    this.#running = true
  }

  async close(): Promise<void> {
    if (this.#running && this.#address !== null) this.#network.listening.delete(this.#address)
    this.#running = false
    this.#ending.abort(new OverlayError('unreachable', 'LINK_UNREACHABLE', 'This node is closing.'))
    for (const link of [...this.links.values()]) link.close('local')
  }

  async dial(peer: NodeId, addresses: readonly string[], { signal }: { signal: AbortSignal }): Promise<Link> {
    signal.throwIfAborted()
    this.#ending.signal.throwIfAborted()
    if (this.#dialling.has(peer)) throw duplicateLink()
    this.#dialling.add(peer)
    try {
      await this.#turn(AbortSignal.any([signal, this.#ending.signal]))
      return this.#connect(peer, addresses)
    } finally {
      this.#dialling.delete(peer)
    }
  }

  #connect(peer: NodeId, addresses: readonly string[]): Link {
    if (this.links.has(peer)) throw duplicateLink()
    let wrong = false
    for (const address of addresses) {
      const there = this.#network.listening.get(address.replace(/\/p2p\/[^/]*$/, ''))
      if (there === undefined || there === this || !this.#network.mayDial(this.id, there.id)) continue
      if (there.id !== peer) wrong = true
      else if (!there.links.has(this.id)) return this.#join(there)
    }
    if (wrong) throw new OverlayError('unreachable', 'LINK_WRONG_PEER', `Another node than ${peer} answered.`)
    throw new OverlayError('unreachable', 'LINK_UNREACHABLE', `No address of ${peer} answered.`)
  }

  #join(there: MemoryHost): Link {
    const here = new MemoryWire(this.#network, this, there)
    const far = new MemoryWire(this.#network, there, this)
    const link = here.linkTo(far, true)
    there.onInbound(far.linkTo(here, false))
    return link
  }

  /** Waits for the next turn. */
  #turn(signal: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const onAbort = () => reject(signal.reason)
    signal.addEventListener('abort', onAbort, { once: true })
    this.#network.clock.nextTurn(() => {
      signal.removeEventListener('abort', onAbort)
      resolve()
    })
    return promise
  }
}

/** One end of a memory link, and the direction that leads from it. */
class MemoryWire implements CellWire {
  readonly #network: Network
  readonly #from: MemoryHost
  readonly #to: MemoryHost
  readonly #shape: WireShape | undefined
  #far: MemoryWire | null = null
  #link: CellLink | null = null
  /** Written and not yet taken by the far end, with the time at which each gets there. Bounded by the sender's outbox. */
  readonly #flying: { readonly bytes: Uint8Array; readonly due: number }[] = []
  /** When the wire has carried all that was written: at a given rate, later writes queue behind. */
  #busyUntil = 0
  #paused = false
  #asked = false
  /** Whether this end has ended, and how its far end will see it once it has taken what flies. */
  #ended: LinkCloseReason | null = null
  readonly #deliver = () => this.#takeDelivery()

  constructor(network: Network, from: MemoryHost, to: MemoryHost) {
    this.#network = network
    this.#from = from
    this.#to = to
    this.#shape = network.shape?.(from.id, to.id)
  }

  /** Makes this end's link and enters it into its host's books. */
  linkTo(far: MemoryWire, dialled: boolean): CellLink {
    this.#far = far
    const facts = { self: this.#from.id, peer: this.#to.id, dialled, transport: 'memory' } as const
    const link = new CellLink(facts, this, this.#network.pools, this.#network.clock, {
      onEnded: () => {
        if (this.#from.links.get(facts.peer) === link) this.#from.links.delete(facts.peer)
      },
      onFault: (error) => {
        // In a test a fault of the program must be heard.
        throw error
      },
    })
    this.#link = link
    this.#from.links.set(facts.peer, link)
    this.#from.wires.add(this)
    return link
  }

  write(bytes: Uint8Array): void {
    if (this.#ended !== null) return
    this.#network.onWrite?.(this.#from.id, this.#to.id, bytes.length)
    const now = this.#network.clock.monotonicMs()
    const { delayMs = 0, bytesPerSec } = this.#shape ?? {}
    this.#busyUntil = Math.max(this.#busyUntil, now) + (bytesPerSec === undefined ? 0 : (bytes.length * 1000) / bytesPerSec)
    this.#flying.push({ bytes, due: this.#busyUntil + delayMs })
    this.wake()
  }

  pause(): void {
    this.#paused = true
  }

  resume(): void {
    this.#paused = false
    this.#far?.wake()
  }

  end(): void {
    if (this.#ended !== null) return
    this.#ended = 'remote'
    this.wake()
  }

  destroy(): void {
    if (this.#ended !== null) return
    this.#ended = 'remote'
    this.#flying.length = 0
    this.wake()
  }

  /** Asks for a delivery when the next one is due. */
  wake(): void {
    if (this.#asked || (this.#flying.length === 0 && this.#ended === null)) return
    this.#asked = true
    const { clock } = this.#network
    const waitMs = (this.#flying[0]?.due ?? 0) - clock.monotonicMs()
    if (waitMs > 0) clock.setTimer(waitMs, this.#deliver)
    else clock.nextTurn(this.#deliver)
  }

  #takeDelivery(): void {
    this.#asked = false
    const { stalled, clock } = this.#network
    if (stalled.has(this.#from.id) || stalled.has(this.#to.id)) return
    const far = this.#far
    const now = clock.monotonicMs()
    // Only what flies now: what a finished write makes room for is another turn's.
    for (let left = this.#flying.length; left > 0 && far !== null && !far.#paused; left--) {
      const write = this.#flying[0]!
      if (write.due > now) break
      this.#flying.shift()
      far.#take(write.bytes)
      this.#link?.onWritten()
    }
    if (this.#flying.length > 0) {
      if (far !== null && !far.#paused) this.wake()
      return
    }
    if (this.#ended === null) return
    this.#from.wires.delete(this)
    if (far !== null) far.#finish(this.#ended)
  }

  #take(bytes: Uint8Array): void {
    this.#link?.onBytes(bytes)
  }

  #finish(reason: LinkCloseReason): void {
    this.#link?.onEnd(reason)
  }
}
