/**
 * The own loops of a node whose clock is paced: asks `loop-set.ts` at each public epoch which loops there should be, sets them up, and gives
 * work places on those that run. What finds no place waits here, in order; what waits is what the set may grow for, at the next epoch.
 *
 * A place is for one ask of one hop. Loops carry no more at a time than they bring home in a moment (`ROOM_SECONDS`), so that what comes
 * later may go over a loop that is faster, and what waits is not taken for a holder that is slow. A loop belongs to the isolation name that
 * used it first. In networks of `SMALL_NETWORK` nodes and more each hop of a loop is asked once: no node can tell from a loop that two pieces
 * of work have one origin. Limits: `WAITING_MAX` asks wait, more are refused. Spec: SPEC.md §4.6.
 */
import type { MonotonicMs, NodeId } from '../../src/bytes/index.ts'
import { CELL_BYTES } from '../../src/cell/index.ts'
import { EPOCH_MS, epochAt, pacedPlan, RATE_LADDER } from '../../src/circuit/setup/index.ts'
import type { DirectoryView } from '../../src/directory/index.ts'
import { OverlayError } from '../../src/errors/index.ts'
import type { Clock, Rng, Timer } from '../../src/runtime/index.ts'
import { EXCHANGES_MAX } from '../../src/stream/index.ts'
import type { LoopBuilder } from './builder.ts'
import { Epochs, Settling } from './epochs.ts'
import { Lease, type LoopSource, type Taking } from './lease.ts'
import { type Demand, EXCHANGE_EPOCHS, type LoopSet, type Wish } from './loop-set.ts'
import type { OwnApex } from './own-hop.ts'
import type { PacedLoop } from './paced-loop.ts'
import { canBeReached } from './reach.ts'
import { startSpreadMs, twinWaitMs } from './set-up-time.ts'

// Implementation constants.
/** From this many nodes on a hop is asked once per loop. */
const SMALL_NETWORK = 20
/** Bytes of a message that a cell brings, about. */
const BYTES_PER_CELL = CELL_BYTES - 80
/** What a loop is given at once: as much as it carries in so long, and one ask in any case. */
const ROOM_SECONDS = 1.5
/** Asks of few cells have places of their own beside a long one, so many for each cell a second, and at least some. */
const SMALL_CELLS = 4
const SMALL_ASKS_MIN = 4
/** A loop that loses cells is taken only if others would need so many times as long. */
const WORN_FACTOR = 4
/** Between the end of what a loop is given and its own end. */
const CLOSE_MARGIN_MS = 1_000
/** What takes longer on a loop that runs waits for a twin that is on its way, if that would be done sooner; no twin is waited for that is so late. */
const WORTH_WAITING_MS = 1_500
const LATE_MS = 2_000
/** What was looked at for the first time is expected to bring more for so long. */
const EXPECT_MS = 4_000
const EXPECTED_MAX = 256
const WAITING_MAX = 4096
/** Where no loops come for what waits (`fixed`), a name that has one leaves this part of all to names that come later. */
const LEFT_PART = 1 / 4
/** An exchange begins on a loop that is there for at least so long. */
const EXCHANGE_LIFE_MS = EXCHANGE_EPOCHS * EPOCH_MS
const LOOK_MS = 50

export interface PacedPoolDeps {
  readonly clockName: 'steady' | 'fixed'
  /** How long each member keeps a cell, on loops that are set up now. */
  holdMs(): number
  readonly set: LoopSet
  readonly builder: Pick<LoopBuilder, 'buildPaced' | 'buildTwin'>
  readonly view: DirectoryView
  readonly self: NodeId
  /** Exchanges go over loops of so many cells a second, or more. */
  readonly exchangeRate: number
  readonly ownApex: OwnApex
  readonly rng: Rng
  /** How many other members loops should have now; 0: none can be built. */
  members(): number
  /** The longest that a set-up waits after its decision (`set-up-time.ts`), with so many other members. */
  setUpWaitMs(members: number): number
  readonly clock: Clock
}

interface Held {
  readonly wish: Wish
  /** Members of the last draw: what the loop will reach, once it is there. */
  drawn: readonly NodeId[]
  loop: PacedLoop | null
  owner: string | null
  /** Cells, and asks, that places were given for. */
  cells: number
  asks: number
  used: boolean
  /** Hops that were asked, where each is asked once. Shared by a loop and its twins. */
  readonly spent: Set<NodeId>
}

interface Waiting {
  readonly node: NodeId
  readonly isolation: string
  readonly cells: number
  readonly exchange: boolean
  give(lease: Lease): void
  refuse(error: OverlayError): void
}

export class PacedPool implements LoopSource<Lease> {
  readonly takesPerAsk = true
  readonly #deps: PacedPoolDeps
  readonly #held = new Map<number, Held>()
  readonly #leases = new Map<Lease, Held>()
  readonly #waiting = new Set<Waiting>()
  /** Isolation names whose user looks at something new, and until when that counts. */
  readonly #expected = new Map<string, number>()
  readonly #stop = new AbortController()
  readonly #epochs: Epochs
  readonly #settling = new Settling()
  #lookTimer: Timer | null = null
  #noise = 0

  constructor(deps: PacedPoolDeps) {
    this.#deps = deps
    this.#epochs = new Epochs(deps.clock, (epoch) => this.#onEpoch(epoch))
  }

  /** Whether the directory has been the same for a while: loops that are set up now do not come out short. */
  get settled(): boolean {
    return this.#settling.settled
  }

  /** Loops that carry what is asked now. */
  get ready(): number {
    let running = 0
    for (const { loop } of this.#held.values()) if (loop?.running === true) running++
    return running
  }

  /** Own loops of any state, for this node's own user. */
  open(): { readonly loop: PacedLoop; readonly taken: boolean; readonly kind: Wish['kind'] }[] {
    return [...this.#held.values()].flatMap(({ loop, asks, wish }) =>
      loop === null || !loop.open ? [] : [{ loop, taken: asks > 0, kind: wish.kind }],
    )
  }

  /** Cells a second of all own loops now. */
  get rate(): number {
    return this.#deps.set.rateAt(epochAt(this.#deps.clock.unixMs()))
  }

  /** Cells that came home as noise on own loops so far. */
  get noiseCells(): number {
    let cells = this.#noise
    for (const { loop } of this.#held.values()) cells += loop?.noiseCells ?? 0
    return cells
  }

  /** What waits for a place: how many asks, and how many seconds it would take the loops that there are. */
  get backlog(): { readonly asks: number; readonly seconds: number } {
    let cells = 0
    for (const waiting of this.#waiting) cells += waiting.cells
    const { rate } = this
    return { asks: this.#waiting.size, seconds: cells === 0 ? 0 : rate === 0 ? Number.POSITIVE_INFINITY : cells / rate }
  }

  start(): void {
    this.#epochs.start()
  }

  /** Closes every loop; what waits is refused. Idempotent. */
  close(): void {
    this.#stop.abort(new OverlayError('unreachable', 'CIRCUIT_ENDED', 'The node is stopping.'))
    this.#epochs.close()
    this.#lookTimer?.cancel()
    for (const { loop } of this.#held.values()) loop?.close()
    this.#held.clear()
    this.#leases.clear()
  }

  /**
   * See `LoopSource.take`. Waits as long as it takes, or until the signal aborts. Errors: `LOOP_LIMIT` (too many wait; or there are always as many
   * loops, and all are others': it says when the next ones come), `LOOP_NO_PATH` (no loop can reach the node, or none any more).
   */
  async take(node: NodeId, { signal, isolation = '', bytes = 0, exchange = false }: Taking): Promise<Lease> {
    signal.throwIfAborted()
    this.#stop.signal.throwIfAborted()
    if (this.#waiting.size >= WAITING_MAX) {
      throw new OverlayError('overload', 'LOOP_LIMIT', 'Too many requests wait for room on this node’s loops.')
    }
    if (!this.#mayHope(isolation)) {
      const seconds = Math.ceil(this.#nextMs / 1000)
      throw new OverlayError(
        'overload',
        'LOOP_LIMIT',
        `All loops of this node are in use by others. The next ones come in ${seconds} s.`,
      )
    }
    const cells = 1 + Math.ceil(bytes / BYTES_PER_CELL)
    const { promise, resolve, reject } = Promise.withResolvers<Lease>()
    const waiting: Waiting = { node, isolation, cells, exchange, give: resolve, refuse: reject }
    const both = AbortSignal.any([signal, this.#stop.signal])
    const onAbort = () => {
      this.#waiting.delete(waiting)
      reject(both.reason)
    }
    both.addEventListener('abort', onAbort, { once: true })
    this.#waiting.add(waiting)
    this.#place()
    if (this.#waiting.has(waiting) && this.#isGone(node)) this.#refuse(waiting)
    try {
      return await promise
    } finally {
      both.removeEventListener('abort', onAbort)
    }
  }

  reaches(node: NodeId, { isolation = '', bytes = 0, exchange = false }: Omit<Taking, 'signal'>): boolean {
    const cells = 1 + Math.ceil(bytes / BYTES_PER_CELL)
    return this.#best({ node, isolation, cells, exchange }) !== null
  }

  /**
   * As `take`, for this node itself: a place on a loop with another node drawn at random, which is asked nothing, so that what this node does
   * with itself takes as long, and looks, as with others. In a small network, where most others are near, it is one that is. Errors: as `take`,
   * `LOOP_NO_PATH` (there is no other node).
   */
  async takeHome(taking: Taking): Promise<Lease> {
    const { view, self, rng, ownApex } = this.#deps
    const others = view.all().filter(({ id }) => id !== self && view.linked(id).length >= 2)
    if (others.length === 0) throw new OverlayError('unreachable', 'LOOP_NO_PATH', 'There is no other node to draw a loop with.')
    const near = view.size < SMALL_NETWORK ? others.filter(({ id }) => this.near(id, taking.isolation ?? '')) : []
    const drawn = near.length > 0 ? near : others
    const lease = await this.take(drawn[rng.below(drawn.length)]!.id, taking)
    lease.turnHome(ownApex)
    return lease
  }

  /** See `LoopSource.expect`. */
  expect(isolation: string): void {
    if (this.#expected.size < EXPECTED_MAX) this.#expected.set(isolation, this.#deps.clock.monotonicMs() + EXPECT_MS)
  }

  /** See `LoopSource.near`. */
  near(node: NodeId, isolation: string): boolean {
    const { self, view } = this.#deps
    const atHome = node === self && view.size < SMALL_NETWORK
    for (const { loop, owner, spent } of this.#held.values()) {
      const usable = loop?.running === true && (owner === null || owner === isolation)
      if (usable && (atHome || (loop.hops.includes(node) && !spent.has(node)))) return true
    }
    return false
  }

  release(lease: Lease): void {
    const held = this.#leases.get(lease)
    if (held === undefined) return
    this.#leases.delete(lease)
    held.cells -= lease.cells
    held.asks--
    if (!lease.asked && held.spent.delete(lease.node)) this.#deps.set.onSpared(held.wish.id, lease.node)
    held.used = true
    this.#place()
  }

  // Places ------------------------------------------------------------------------------------------------------------------------

  /** Gives places to those that wait, the longest first, and looks again soon if some are left. */
  #place(): void {
    const full = new Set<string>()
    for (const waiting of this.#waiting) {
      const key = `${waiting.node} ${waiting.exchange} ${waiting.cells > SMALL_CELLS} ${waiting.isolation}`
      if (full.has(key)) continue
      const held = this.#best(waiting)
      if (held === null) {
        full.add(key)
        continue
      }
      this.#waiting.delete(waiting)
      waiting.give(this.#lease(held, waiting))
    }
    if (this.#waiting.size === 0) return
    this.#lookTimer ??= this.#deps.clock.setTimer(LOOK_MS, () => {
      this.#lookTimer = null
      this.#place()
    })
  }

  #refuse(waiting: Waiting): void {
    this.#waiting.delete(waiting)
    waiting.refuse(new OverlayError('unreachable', 'LOOP_NO_PATH', 'That node cannot be reached now.'))
  }

  /** Before the directory has settled nobody can tell. */
  #isGone(node: NodeId): boolean {
    const { view, self } = this.#deps
    return this.settled && !canBeReached(view, self, node)
  }

  #lease(held: Held, { node, isolation, cells: asked, exchange }: Waiting): Lease {
    // What an exchange will carry is not known: it leaves the room to what is.
    const cells = exchange ? 0 : asked
    const lease = new Lease(held.loop!, node, cells)
    if (held.owner === null) {
      held.owner = isolation
      this.#deps.set.onOwned(held.wish.id, isolation)
    }
    held.cells += cells
    held.asks++
    held.used = true
    if (this.#deps.view.size >= SMALL_NETWORK) {
      held.spent.add(node)
      this.#deps.set.onSpent(held.wish.id, node)
    }
    this.#leases.set(lease, held)
    return lease
  }

  /** Whether this name has a loop, or there is one for it, or it may wait for one. */
  #mayHope(isolation: string): boolean {
    if (this.#deps.clockName !== 'fixed' || this.#held.size === 0) return true
    for (const { owner } of this.#held.values()) if (owner === null || owner === isolation) return true
    return false
  }

  /** Until the first of the loops ends, and another comes in its place. */
  get #nextMs(): number {
    const ends = [...this.#held.values()].map(({ wish }) => wish.closeEpoch * EPOCH_MS)
    return Math.max(0, Math.min(...ends) - this.#deps.clock.unixMs())
  }

  /** Whether a loop that is nobody's may become this name's. */
  #mayOwn(isolation: string): boolean {
    if (this.#deps.clockName !== 'fixed') return true
    let [own, free] = [0, 0]
    for (const { owner } of this.#held.values()) {
      if (owner === null) free++
      else if (owner === isolation) own++
    }
    return own === 0 || free - 1 >= Math.floor(this.#held.size * LEFT_PART)
  }

  /** The loop that would be done with it first, if that has room for it now. */
  #best({ node, isolation, cells, exchange }: Omit<Waiting, 'give' | 'refuse'>): Held | null {
    const { exchangeRate } = this.#deps
    const now = this.#deps.clock.monotonicMs()
    const mayOwn = this.#mayOwn(isolation)
    let best: Held | null = null
    let bestMs = Number.POSITIVE_INFINITY
    for (const held of this.#held.values()) {
      const { loop, owner } = held
      if (loop === null || !loop.running || (owner === null ? !mayOwn : owner !== isolation)) continue
      if (!loop.hops.includes(node) || held.spent.has(node)) continue
      if (exchange && (loop.rate < exchangeRate || loop.exchangesAt(node) >= EXCHANGES_MAX)) continue
      const tookMs = (((held.cells + cells) * 1000) / loop.rate + loop.figures.roundTripMs) * (loop.worn ? WORN_FACTOR : 1)
      const least = exchange ? EXCHANGE_LIFE_MS : tookMs + CLOSE_MARGIN_MS
      if (tookMs >= bestMs || now + least > loop.closeAt) continue
      best = held
      bestMs = tookMs
    }
    if (best === null || exchange) return best
    if (!hasRoom(best, cells)) return null
    return bestMs > WORTH_WAITING_MS && this.#soonMs(node, isolation, cells, now) < bestMs ? null : best
  }

  /** When an ask would be done that waits for a twin that is on its way; infinity: there is none for it. */
  #soonMs(node: NodeId, isolation: string, cells: number, now: MonotonicMs): number {
    const { clock, holdMs } = this.#deps
    const offsetMs = clock.monotonicMs() - clock.unixMs()
    let soonMs = Number.POSITIVE_INFINITY
    for (const { wish, loop, owner, drawn, spent } of this.#held.values()) {
      if (wish.twin === null || loop?.running === true || loop?.open === false) continue
      if ((owner !== null && owner !== isolation) || !drawn.includes(node) || spent.has(node)) continue
      const rate = RATE_LADDER[wish.rate]!
      const runsAt = wish.liveEpoch * EPOCH_MS + offsetMs + startSpreadMs(drawn.length, holdMs(), rate)
      if (now > runsAt + LATE_MS) continue
      soonMs = Math.min(soonMs, Math.max(0, runsAt - now) + (cells * 1000) / rate)
    }
    return soonMs
  }

  #demand(): Demand {
    const waiting = new Map<string, Map<NodeId, number>>()
    const exchanges = new Map<string, Set<NodeId>>()
    for (const { node, isolation, cells, exchange } of this.#waiting) {
      if (exchange) {
        exchanges.set(isolation, (exchanges.get(isolation) ?? new Set()).add(node))
        continue
      }
      const byNode = waiting.get(isolation) ?? new Map<NodeId, number>()
      waiting.set(isolation, byNode)
      byNode.set(node, (byNode.get(node) ?? 0) + cells)
    }
    const used = new Set<number>()
    for (const [id, held] of this.#held) {
      if (held.used || held.asks > 0) used.add(id)
      held.used = false
    }
    const now = this.#deps.clock.monotonicMs()
    for (const [name, until] of this.#expected) if (until < now) this.#expected.delete(name)
    return { waiting, used, exchanges, expected: new Set(this.#expected.keys()) }
  }

  // Epochs ------------------------------------------------------------------------------------------------------------------------

  #onEpoch(epoch: number): void {
    const { set, members, view } = this.#deps
    this.#settling.onEpoch(view)
    for (const [id, { wish, loop }] of this.#held) {
      if (loop === null ? wish.closeEpoch > epoch : loop.open) continue
      this.#noise += loop?.noiseCells ?? 0
      this.#held.delete(id)
    }
    if (members() === 0 || !this.settled) return
    for (const waiting of this.#waiting) if (this.#isGone(waiting.node)) this.#refuse(waiting)
    for (const wish of set.onEpoch(epoch, this.#demand())) void this.#build(wish)
  }

  async #build(wish: Wish): Promise<void> {
    const { builder, clock, clockName, holdMs, members, set, setUpWaitMs } = this.#deps
    const twinned = wish.twin === null ? undefined : this.#held.get(wish.twin.root)
    // To a member its twins are one loop: what it was asked over one of them it is not asked over another.
    const spent = twinned?.spent ?? new Set()
    const held: Held = { wish, drawn: [], loop: null, owner: wish.owner, cells: 0, asks: 0, used: false, spent }
    this.#held.set(wish.id, held)
    if (twinned?.loop) held.drawn = twinned.loop.hops
    if (twinned !== undefined) twinned.owner ??= wish.owner // whoever knows both knows that they are one node's
    const { rate, liveEpoch, closeEpoch } = wish
    const { signal } = this.#stop
    try {
      const waitMs = wish.twin === null ? setUpWaitMs(members()) : twinWaitMs(members())
      await clock.sleep(wish.wait * (wish.atOnce ? EPOCH_MS : waitMs), { signal })
      const plan = pacedPlan(clock.unixMs(), { clock: clockName, rate, liveEpoch, closeEpoch, holdMs: holdMs() })
      const cover = () => this.#cover(held)
      const onDrawn = (hops: readonly NodeId[]) => {
        held.drawn = hops
        set.onDrawn(wish.id, hops)
      }
      const how = { signal, plan, cover, onDrawn, onWorn: () => set.onWorn(wish.id) }
      const onEnd = (_loop: PacedLoop, reason: string) => {
        // What holds a place hears of it from the loop, and may have nothing more to give back.
        for (const [lease, whose] of this.#leases) if (whose === held) this.#leases.delete(lease)
        held.asks = 0
        if (reason !== 'expired') set.onLost(wish.id)
        this.#place()
      }
      held.loop =
        wish.twin === null
          ? await builder.buildPaced(this.#wantedOf(held)[0], onEnd, how)
          : await builder.buildTwin(this.#rootOf(wish.twin), wish.twin.place, onEnd, how)
      set.onBuilt(
        wish.id,
        held.loop.hops.filter((hop) => !spent.has(hop)),
      )
    } catch {
      this.#held.delete(wish.id)
      set.onLost(wish.id, held.drawn.length === 0) // the cause is the network's state, which status shows; the next draw may find another way
    }
  }

  /** The loop that is to have a twin. */
  #rootOf({ root }: NonNullable<Wish['twin']>): PacedLoop {
    const loop = this.#held.get(root)?.loop
    if (loop?.running !== true) throw new OverlayError('unreachable', 'LOOP_FAILED', 'The loop that was to have a twin is gone.')
    return loop
  }

  /** What a loop is wished for, but for what others that are being set up will reach: those that were wished for together share it among them. */
  #wantedOf(held: Held): readonly NodeId[] {
    const { cover, owner } = held.wish
    const reached = new Set<NodeId>()
    for (const other of this.#held.values()) {
      const isSibling = other !== held && other.loop === null && other.wish.kind === 'extra' && other.wish.owner === owner
      if (isSibling) for (const hop of other.drawn) reached.add(hop)
    }
    const left = cover.filter((node) => !reached.has(node))
    return left.length > 0 ? left : cover
  }

  /** What a loop should reach: in a small network, where the standing loops can reach all nodes, those that no other reaches. */
  #cover(held: Held): ReadonlySet<NodeId> {
    const { view, self } = this.#deps
    if (held.wish.kind === 'extra' || view.size >= SMALL_NETWORK) return new Set(this.#wantedOf(held))
    const missing = new Set(view.all().map(({ id }) => id))
    missing.delete(self)
    for (const other of this.#held.values()) {
      const reaches = other.loop === null ? other.drawn : other.loop.open ? other.loop.hops : []
      if (other !== held && other.wish.kind === 'standing') for (const hop of reaches) missing.delete(hop)
    }
    return missing
  }
}

function hasRoom({ loop, wish, cells: given, asks }: Held, cells: number): boolean {
  if (loop === null || asks === 0) return true
  const rate = RATE_LADDER[wish.rate]!
  if (given + cells <= rate * ROOM_SECONDS) return true
  return cells <= SMALL_CELLS && asks < Math.max(SMALL_ASKS_MIN, rate / 2)
}
