/**
 * The loops of one live service under a paced clock: a set that configuration alone decides, born and ended in public rounds. All that the service
 * does rides on them: waiting for introductions, and its sessions. What somebody asks of it brings no loop, no step and no other rate (P5b); what
 * does not fit is refused. Spec: SPEC.md §4.6, §11.7.
 *
 * In a network of `SMALL_NETWORK` nodes and more a loop is used for one node alone, the one it was drawn for (its *face*), in its middle. The
 * members beside it must hear of no session: they are the few that all loops of the service have (client/service/preference.ts), and who learnt
 * of them would soon have the service's node between them. The face is an introduction point of the service, or drawn at random among all
 * nodes, this one included; if it is this one, a loop with another node in its middle is used for this node itself (`PacedLoop.openHome`).
 * In smaller networks, where nothing is claimed against members, each hop is used, and this node too: together the loops reach all they can.
 */
import type { NodeId } from '../../src/bytes/index.ts'
import { EPOCH_MS, epochAt, pacedPlan, RATE_LADDER } from '../../src/circuit/setup/index.ts'
import type { DirectoryView } from '../../src/directory/index.ts'
import { OverlayError } from '../../src/errors/index.ts'
import { type Clock, type Rng, shuffled } from '../../src/runtime/index.ts'
import { EXCHANGES_MAX } from '../../src/stream/index.ts'
import type { LoopBuilder } from './builder.ts'
import { Epochs } from './epochs.ts'
import { Lease } from './lease.ts'
import { LoopSet, type LoopSetOptions, NO_DEMAND, PHASES, type Wish } from './loop-set.ts'
import type { OwnApex } from './own-hop.ts'
import type { PacedLoop } from './paced-loop.ts'
import { canBeReached } from './reach.ts'

// Implementation constants.
/** From this many nodes on a loop is used for its face alone. */
const SMALL_NETWORK = 20
/** Exchanges that a loop carries: one for so many cells a second, and some in any case. */
const CELLS_PER_EXCHANGE = 8
const EXCHANGES_MIN = 5
const EXCHANGES_OF_LOOP_MAX = 64
/** A loop that ends so soon takes no exchange more, unless there is no other. */
const EXCHANGE_LIFE_MS = 60_000
/** Between the last exchange that a loop takes and its end. */
const CLOSE_MARGIN_MS = 5_000
/** Work that waits for a loop: the introduction points. */
const WAITING_MAX = 64
/** How often a loop whose first cell is under way is looked at. */
const RUNNING_LOOK_MS = 50

export interface StandingDeps {
  readonly clockName: 'steady' | 'fixed'
  /** How long each member keeps a cell, in loops that are set up now. */
  holdMs(): number
  /** Index into `RATE_LADDER`. */
  readonly rate: number
  /** How many. */
  readonly loops: number
  /** See `LoopSetOptions`. */
  readonly leads: Pick<LoopSetOptions, 'leadEpochs' | 'leastLeadEpochs'>
  /** The longest that a set-up waits after its decision (`set-up-time.ts`). */
  setUpWaitMs(): number
  /** With the service's preference. */
  readonly builder: Pick<LoopBuilder, 'buildPaced'>
  readonly view: DirectoryView
  readonly self: NodeId
  readonly ownApex: OwnApex
  /** How many other members loops should have now; 0: none can be built. */
  members(): number
  /** Whether the directory has settled since the node's start (`epochs.ts`). */
  settled(): boolean
  readonly clock: Clock
  readonly rng: Rng
}

interface Held {
  readonly wish: Wish
  readonly set: LoopSet
  face: NodeId
  /** Members of the last draw. */
  drawn: readonly NodeId[]
  loop: PacedLoop | null
  /** Places that were given, for exchanges and for asks. */
  exchanges: number
  asks: number
}

interface Waiting {
  readonly node: NodeId
  give(lease: Lease): void
}

export interface StandingFigures {
  /** As configured. */
  readonly loops: number
  /** Of each, in cells a second. */
  readonly rate: number
  /** Those that carry something now. */
  readonly running: number
  /** Sessions that they carry at most, and now. */
  readonly sessionsMax: number
  readonly sessions: number
}

export class StandingLoops {
  readonly #deps: StandingDeps
  readonly #sets: readonly LoopSet[]
  readonly #held = new Set<Held>()
  readonly #leases = new Map<Lease, { readonly held: Held; readonly exchange: boolean }>()
  readonly #waiting = new Set<Waiting>()
  readonly #stop = new AbortController()
  readonly #epochs: Epochs
  #points: () => readonly NodeId[] = () => []

  constructor(deps: StandingDeps) {
    this.#deps = deps
    const { rate, rng } = deps
    this.#epochs = new Epochs(deps.clock, (epoch) => this.#onEpoch(epoch))
    const options = { extra: null, ...deps.leads, rng: { standing: rng, extra: rng } }
    // A set for each, so that what becomes of one is its own.
    this.#sets = Array.from(
      { length: deps.loops },
      (_, at) => new LoopSet({ ...options, standing: { rate, phases: [at % PHASES] } }),
    )
  }

  /** `points`: nodes that loops should be drawn for, one each, as far as there are loops; the others draw at random. */
  prefer(points: () => readonly NodeId[]): void {
    this.#points = points
  }

  /** What a service asks of loops that stand (`ServiceLoops.standing`). */
  get standing(): this {
    return this
  }

  start(): void {
    this.#epochs.start()
  }

  /** Closes every loop; what waits is refused. The loops go on as filler to their ends. Idempotent. */
  close(): void {
    this.#stop.abort(new OverlayError('unreachable', 'CIRCUIT_ENDED', 'The service is no longer hosted here.'))
    this.#epochs.close()
    for (const { loop } of this.#held) loop?.close()
    this.#held.clear()
    this.#leases.clear()
  }

  /** Loops of any state, for this node's own user. */
  open(): { readonly loop: PacedLoop; readonly taken: boolean }[] {
    return [...this.#held].flatMap((held) => (held.loop?.open === true ? [{ loop: held.loop, taken: held.exchanges > 0 }] : []))
  }

  /** Cells a second of all of them now. */
  get cellsPerSecond(): number {
    const epoch = epochAt(this.#deps.clock.unixMs())
    return this.#sets.reduce((sum, set) => sum + set.rateAt(epoch), 0)
  }

  get figures(): StandingFigures {
    const { loops } = this.#deps
    const rate = RATE_LADDER[this.#deps.rate]!
    const running = [...this.#held].filter(({ loop }) => loop?.running === true)
    const sessions = running.reduce((sum, held) => sum + held.exchanges, 0)
    return { loops, rate, running: running.length, sessionsMax: loops * this.#exchangesMax, sessions }
  }

  /** Exchanges of one loop. */
  get #exchangesMax(): number {
    const carried = Math.floor(RATE_LADDER[this.#deps.rate]! / CELLS_PER_EXCHANGE)
    return Math.min(this.#small ? EXCHANGES_OF_LOOP_MAX : EXCHANGES_MAX, Math.max(EXCHANGES_MIN, carried))
  }

  get #small(): boolean {
    return this.#deps.view.size < SMALL_NETWORK
  }

  // Places ------------------------------------------------------------------------------------------------------------------------

  /**
   * A place on a running loop, for asks of `node` or, with `exchange`, for one exchange there. Waits for a loop; not for an exchange.
   * Errors: `LOOP_LIMIT` (no room, or too many wait), `LOOP_NO_PATH` (no loop can reach the node).
   */
  async take(
    node: NodeId,
    { signal, exchange = false }: { readonly signal: AbortSignal; readonly exchange?: boolean },
  ): Promise<Lease> {
    signal.throwIfAborted()
    this.#stop.signal.throwIfAborted()
    const held = this.#best(node, exchange)
    if (held !== null) return this.#lease(held, node, exchange)
    const { view, self } = this.#deps
    if (exchange || this.#waiting.size >= WAITING_MAX) {
      throw new OverlayError('overload', 'LOOP_LIMIT', 'The loops of this service carry as much as they may.')
    }
    if (!canBeReached(view, self, node)) throw new OverlayError('unreachable', 'LOOP_NO_PATH', 'That node cannot be reached now.')
    const { promise, resolve, reject } = Promise.withResolvers<Lease>()
    const waiting: Waiting = { node, give: resolve }
    const both = AbortSignal.any([signal, this.#stop.signal])
    const onAbort = () => reject(both.reason)
    both.addEventListener('abort', onAbort, { once: true })
    this.#waiting.add(waiting)
    try {
      return await promise
    } finally {
      this.#waiting.delete(waiting)
      both.removeEventListener('abort', onAbort)
    }
  }

  takeHome(waiting: { readonly signal: AbortSignal; readonly exchange?: boolean }): Promise<Lease> {
    return this.take(this.#deps.self, waiting)
  }

  release(lease: Lease): void {
    const given = this.#leases.get(lease)
    if (given === undefined) return
    this.#leases.delete(lease)
    if (given.exchange) given.held.exchanges--
    else given.held.asks--
  }

  #lease(held: Held, node: NodeId, exchange: boolean): Lease {
    const { self, ownApex } = this.#deps
    const lease = new Lease(held.loop!, node, 0)
    if (node === self) lease.turnHome(ownApex)
    if (exchange) held.exchanges++
    else held.asks++
    this.#leases.set(lease, { held, exchange })
    return lease
  }

  #reaches({ face, loop }: Held, node: NodeId): boolean {
    if (!this.#small) return face === node
    return node === this.#deps.self || loop?.hops.includes(node) === true
  }

  #hasRoom(held: Held, node: NodeId): boolean {
    const { self } = this.#deps
    if (held.exchanges >= this.#exchangesMax) return false
    if (node === self) held.loop!.openHome(this.#deps.ownApex)
    return held.loop!.exchangesAt(node === self ? null : node) < EXCHANGES_MAX
  }

  #life({ loop }: Held): number {
    return (loop?.closeAt ?? 0) - this.#deps.clock.monotonicMs()
  }

  /**
   * The loop for `node` with the fewest asks, so that not all points are without a loop when one ends; for an exchange that with the fewest of
   * them, of those that are there for a while. Of equal ones that which is there for longest.
   */
  #best(node: NodeId, exchange: boolean): Held | null {
    let best: Held | null = null
    let most = Number.NEGATIVE_INFINITY
    for (const held of this.#held) {
      if (held.loop?.running !== true || !this.#reaches(held, node)) continue
      if (exchange && (!this.#hasRoom(held, node) || this.#life(held) < CLOSE_MARGIN_MS)) continue
      const life = this.#life(held)
      const spared = held.loop.worn || (exchange && life < EXCHANGE_LIFE_MS) ? 1e6 : 0
      const worth = -1e9 * (spared + (exchange ? held.exchanges : held.asks)) + life
      if (worth <= most) continue
      best = held
      most = worth
    }
    return best
  }

  // Where the service can be found ---------------------------------------------------------------------------------------------------

  /** Nodes that can be introduction points: what the loops that run were drawn for, in small networks all that they reach. */
  points(): readonly NodeId[] {
    return [...this.#nodesOf([...this.#held].filter(({ loop }) => loop?.running === true))]
  }

  /**
   * Nodes at which a client can be met now, at most `most`, drawn at random; `full`: also those whose places are all taken. If it can be, not those
   * of the loop over which he introduced himself through `point`: that node should not see the session as well.
   */
  offered(point: NodeId, most: number, full = false): readonly NodeId[] {
    const running = [...this.#held].filter(
      (held) =>
        held.loop?.running === true && (full || held.exchanges < this.#exchangesMax) && this.#life(held) > CLOSE_MARGIN_MS,
    )
    const lasting = running.filter((held) => this.#life(held) >= EXCHANGE_LIFE_MS && held.loop?.worn === false)
    const apart = this.#small ? lasting : lasting.filter(({ face }) => face !== point)
    const loops = [apart, lasting, running].find(({ length }) => length > 0) ?? []
    const nodes = shuffled([...this.#nodesOf(loops)], this.#deps.rng)
    return (full ? nodes : nodes.filter((node) => this.#best(node, true) !== null)).slice(0, most)
  }

  /** For how many seconds an exchange at `node` would be carried; `null`: there is no room for one. */
  secondsAt(node: NodeId): number | null {
    const held = this.#best(node, true)
    return held === null ? null : Math.floor(this.#life(held) / 1000)
  }

  #nodesOf(loops: readonly Held[]): ReadonlySet<NodeId> {
    if (!this.#small) return new Set(loops.map(({ face }) => face))
    return new Set(loops.length === 0 ? [] : [this.#deps.self, ...loops.flatMap(({ loop }) => loop?.hops ?? [])])
  }

  // Epochs ------------------------------------------------------------------------------------------------------------------------

  #onEpoch(epoch: number): void {
    for (const held of this.#held) {
      if (held.loop === null ? held.wish.closeEpoch <= epoch : !held.loop.open) this.#held.delete(held)
    }
    if (this.#deps.members() === 0 || !this.#deps.settled()) return
    for (const set of this.#sets) for (const wish of set.onEpoch(epoch, NO_DEMAND)) void this.#build(set, wish)
  }

  async #build(set: LoopSet, wish: Wish): Promise<void> {
    const { builder, clock, clockName, self, rng } = this.#deps
    const face = this.#drawFace(set)
    if (face === null) return set.onLost(wish.id, true)
    const held: Held = { wish, set, face, drawn: [], loop: null, exchanges: 0, asks: 0 }
    this.#held.add(held)
    const { rate, liveEpoch, closeEpoch } = wish
    try {
      await clock.sleep(wish.wait * (wish.atOnce ? EPOCH_MS : this.#deps.setUpWaitMs()), { signal: this.#stop.signal })
      const plan = pacedPlan(clock.unixMs(), { clock: clockName, rate, liveEpoch, closeEpoch, holdMs: this.#deps.holdMs() })
      const others = this.#reachable().filter((id) => id !== self)
      const middle = face === self ? others[rng.below(others.length)] : face
      const cover = () => this.#cover(held)
      const onDrawn = (hops: readonly NodeId[]) => {
        held.drawn = hops
      }
      const how = { signal: this.#stop.signal, plan, cover, onDrawn, onWorn: () => set.onWorn(wish.id) }
      const onEnd = (_loop: PacedLoop, reason: string) => {
        this.#drop(held)
        if (reason !== 'expired') set.onLost(wish.id)
      }
      held.loop = await builder.buildPaced(middle, onEnd, how)
      set.onBuilt(wish.id, held.loop.hops)
      this.#whenRunning(held.loop)
    } catch {
      this.#held.delete(held)
      set.onLost(wish.id, held.drawn.length === 0)
    }
  }

  /** Its places are no more: what held them hears of that from the loop. */
  #drop(held: Held): void {
    for (const [lease, given] of this.#leases) if (given.held === held) this.#leases.delete(lease)
    held.exchanges = 0
    held.asks = 0
  }

  /** Gives places to those that wait, when the loop's first cell is home. */
  #whenRunning(loop: PacedLoop): void {
    if (this.#stop.signal.aborted || !loop.open) return
    if (!loop.running) {
      const { clock } = this.#deps
      clock.setTimer(Math.max(RUNNING_LOOK_MS, loop.liveAt - clock.monotonicMs()), () => this.#whenRunning(loop))
      return
    }
    for (const waiting of this.#waiting) {
      const held = this.#best(waiting.node, false)
      if (held === null) continue
      this.#waiting.delete(waiting)
      waiting.give(this.#lease(held, waiting.node, false))
    }
  }

  #reachable(): readonly NodeId[] {
    const { view, self } = this.#deps
    const linked = view
      .all()
      .map(({ id }) => id)
      .filter((id) => view.linked(id).length >= 2)
    // Of many nodes hardly one has no links but to such as died with it, and looking at each takes long.
    return this.#small ? linked.filter((id) => canBeReached(view, self, id)) : linked
  }

  /** What the next loop of `set` is for: a point that no other set's loop is for, or any node. */
  #drawFace(set: LoopSet): NodeId | null {
    const { self, rng } = this.#deps
    const others = [...this.#held].filter((held) => held.set !== set).map(({ face }) => face)
    const reachable = [...new Set([self, ...this.#reachable()])]
    if (reachable.length < 2) return null
    const point = this.#points().find((node) => !others.includes(node) && reachable.includes(node))
    if (point !== undefined) return point
    const free = reachable.filter((node) => !others.includes(node))
    const drawn = free.length > 0 ? free : reachable
    return drawn[rng.below(drawn.length)]!
  }

  /** In a small network: nodes that no other loop of the service reaches, the service's points first. */
  #cover(held: Held): ReadonlySet<NodeId> {
    const { view, self } = this.#deps
    if (!this.#small) return new Set()
    const missing = new Set(view.all().map(({ id }) => id))
    missing.delete(self)
    for (const other of this.#held) {
      const reaches = other.loop === null ? other.drawn : other.loop.open ? other.loop.hops : []
      if (other !== held) for (const hop of reaches) missing.delete(hop)
    }
    const points = this.#points().filter((node) => missing.has(node))
    return points.length > 0 ? new Set(points) : missing
  }
}
