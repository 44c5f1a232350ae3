/**
 * What the switch needs for paced circuits, in one place: who runs their lines and the control slots of neighbour links (`lines.ts`), and the books by which a paced
 * circuit is let in. The sum of rates over a link, and over all links, stays below four fifths of what they are configured to carry, in each
 * direction, and the memory of lines is bounded, per link that brings them and for all. What does not fit is refused at set-up, in silence; what was let in is
 * never slowed down. Threats met: set-ups that reserve a link, or the node's memory, for ever; a link whose queue shows what else passes it.
 * Spec: SPEC.md §4.5.
 */
import type { MonotonicMs } from '../src/bytes/index.ts'
import { type CircuitId, NO_CIRCUIT } from '../src/cell/index.ts'
import { EPOCH_MS, rateOf, type SetUpPlan } from '../src/circuit/setup/index.ts'
import type { Lane, Link } from '../src/link/index.ts'
import type { Clock, Rng } from '../src/runtime/index.ts'
import { type Line, type Lines, type LineUse, LocalLines, type MakeLines } from './lines.ts'
import { type LinePlan, lineBytes } from './paced-line.ts'
import { TICK_MS } from './pacer.ts'

// Implementation constants.
/** Cells a second that a link is taken to carry each way, if nothing else is configured: 64 MiB/s. */
export const LINK_CELLS_PER_SECOND = 32_768
const LINKS_CARRIED = 16
/** The part of it that paced circuits may take. */
const PACED_PART = 0.8
/** No circuit takes more of the room that a node has left: fast loops never shut out slow ones, without which a node has no loop at all. */
const ROOM_PART = 0.85
/** Memory of the lines of all circuits, and of those that one link brings. */
export const LINES_BYTES_MAX = 256 * 1024 * 1024
export const LINK_LINES_BYTES_MAX = 64 * 1024 * 1024

/** When the bursts go. */
export interface ControlSlots {
  readonly everyMs: number
  /** More often than that for a while after the link was there. */
  readonly young?: { readonly everyMs: number; readonly forMs: number }
}

/** How a node's links are paced. */
export interface PacingOptions {
  /** Bursts of control slots on each neighbour link; `null`: control cells go at once. */
  readonly control?: ControlSlots | null
  readonly linkCellsPerSecond?: number
  /** What all links of this node carry together, each way. Default: as much as `LINKS_CARRIED` links. */
  readonly nodeCellsPerSecond?: number
  readonly tickMs?: number
  /** Who runs the lines. Default: this thread. */
  readonly lines?: MakeLines
}

export interface PacingDeps extends PacingOptions {
  readonly clock: Clock
  readonly rng: Rng
  /** After each tick. */
  onTick(): void
}

/** What a paced circuit was let in with; given back when it ends. */
export interface Reservation {
  readonly from: Link
  readonly to: Link
  readonly rate: number
  readonly bytes: number
}

interface Load {
  /** Cells a second that paced circuits bring and take over this link. */
  in: number
  out: number
  /** Memory of the lines of circuits that come in here. */
  bytes: number
}

export class Pacing {
  readonly #clock: Clock
  readonly #rng: Rng
  readonly #lines: Lines
  readonly #control: PacingOptions['control']
  readonly #linkRate: number
  readonly #nodeRate: number
  readonly #slotted = new Set<Link>()
  readonly #loads = new Map<Link, Load>()
  #bytes = 0
  /** Cells a second of all paced circuits, each way. */
  #rate = 0

  constructor({
    clock,
    rng,
    control = null,
    linkCellsPerSecond = LINK_CELLS_PER_SECOND,
    nodeCellsPerSecond = LINKS_CARRIED * linkCellsPerSecond,
    tickMs = TICK_MS,
    lines = (parts) => new LocalLines(parts),
    onTick,
  }: PacingDeps) {
    this.#clock = clock
    this.#rng = rng
    this.#control = control
    this.#linkRate = PACED_PART * linkCellsPerSecond
    this.#nodeRate = PACED_PART * nodeCellsPerSecond
    this.#lines = lines({ clock, rng, tickMs, onTick })
  }

  /** Memory that lines may take now. */
  get heldBytes(): number {
    return this.#bytes
  }

  /** A neighbour link is there. */
  addLink(link: Link): void {
    if (this.#control === null || this.#control === undefined || this.#slotted.has(link)) return
    const { everyMs, young } = this.#control
    const now = this.#clock.monotonicMs()
    // Both times are drawn: what links that opened together do later must not go together.
    const within = (ms: number, afterMs: number) => (now + afterMs + this.#rng.unit() * ms) as MonotonicMs
    this.#slotted.add(link)
    this.#lines.addLink(link, {
      everyMs,
      firstAt: within(everyMs, young?.forMs ?? 0),
      ...(young === undefined ? {} : { young: { everyMs: young.everyMs, firstAt: within(young.everyMs, 0) } }),
    })
  }

  /** The link is no neighbour's any more. Its circuits are ended by their owner. */
  removeLink(link: Link): void {
    this.#slotted.delete(link)
    this.#lines.removeLink(link)
  }

  close(): void {
    this.#lines.close()
    this.#slotted.clear()
  }

  /** A lane in the link's control slots, or `null` if it has none. */
  controlLane(link: Link, id: CircuitId = NO_CIRCUIT): Lane | null {
    return this.#lines.controlLane(link, id)
  }

  /** Says in a control slot that circuit `id` is not known here. `false`: the link has none. */
  destroy(link: Link, id: CircuitId): boolean {
    return this.#lines.destroy(link, id)
  }

  /** Room for a circuit from one link to another, or `null`. */
  reserve(from: Link, to: Link, plan: SetUpPlan): Reservation | null {
    const rate = rateOf(plan)
    const bytes = lineBytes(rate, plan.holdMs)
    const incoming = this.#loadOf(from)
    const outgoing = this.#loadOf(to)
    if (incoming.in + rate > this.#linkRate || outgoing.out + rate > this.#linkRate) return null
    if (rate > ROOM_PART * (this.#nodeRate - this.#rate)) return null
    if (incoming.bytes + bytes > LINK_LINES_BYTES_MAX || this.#bytes + bytes > LINES_BYTES_MAX) return null
    this.#count({ from, to, rate, bytes }, 1)
    return { from, to, rate, bytes }
  }

  release(reservation: Reservation): void {
    this.#count(reservation, -1)
  }

  #loadOf(link: Link): Load {
    return this.#loads.get(link) ?? { in: 0, out: 0, bytes: 0 }
  }

  #count({ from, to, rate, bytes }: Reservation, sign: 1 | -1): void {
    this.#add(from, { in: sign * rate, out: 0, bytes: sign * bytes })
    this.#add(to, { in: 0, out: sign * rate, bytes: 0 })
    this.#bytes += sign * bytes
    this.#rate += sign * rate
  }

  #add(link: Link, change: Load): void {
    const load = this.#loadOf(link)
    const now = { in: load.in + change.in, out: load.out + change.out, bytes: load.bytes + change.bytes }
    if (now.in === 0 && now.out === 0 && now.bytes === 0) this.#loads.delete(link)
    else this.#loads.set(link, now)
  }

  /** The line of a circuit that goes out as `id` over `link`. It runs until it is over or `stop`ped. */
  line(link: Link, id: CircuitId, plan: SetUpPlan, use: Omit<LineUse, 'plan'>): Line {
    return this.#lines.line(link, id, { ...use, plan: this.#linePlan(plan) })
  }

  /** Ends a line before its time. */
  stop(link: Link, line: Line): void {
    this.#lines.stop(link, line)
  }

  /** Public epochs on this node's monotonic clock. */
  #linePlan(plan: SetUpPlan): LinePlan {
    const offset = this.#clock.monotonicMs() - this.#clock.unixMs()
    const at = (epoch: number) => (epoch * EPOCH_MS + offset) as MonotonicMs
    return {
      rate: rateOf(plan),
      openAt: at(plan.openEpoch),
      liveAt: at(plan.liveEpoch),
      closeAt: at(plan.closeEpoch),
      holdMs: plan.holdMs,
    }
  }

  /** Until when cells of a circuit of this plan may come, though it ended here. */
  quietUntil(plan: SetUpPlan): MonotonicMs {
    return this.#linePlan(plan).closeAt
  }
}
