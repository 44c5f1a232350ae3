/**
 * The outgoing side of one paced circuit at one member (clocks `steady` and `fixed`): when its cells leave, whatever it carries.
 *
 *   open ── PAD in every slot ── first cell came, and was held ── one CIRCUIT cell in every slot ── close
 *
 * Slots are a function of time alone: slot k is at open + phase + k / rate. The first CIRCUIT cell takes the first slot at least `holdMs` after
 * it came; from then on each slot sends the next counter: the cell that was kept for it, or random bytes if that has not come, and what comes
 * late is dropped. So a successor sees the rate and nothing else: not work done here, not what the cell is, not whether the predecessor was
 * late. It implements `Lane`: what handles cells does not know that they wait.
 *
 * Positions are counters: the c-th CIRCUIT cell of a circuit has counter c on both sides of a link. A slot that was missed because this process
 * was late is therefore sent as soon as may be, together with the others that are due; to leave it out would make all later cells late at every
 * later member, for good (D-057). Who stands still longer than `STALL_MS` has lost the circuit.
 *
 * Drift: this node's clock may run faster or slower than its predecessor's. The slots move by at most 200 ppm towards a supply of `holdMs`.
 * Memory: a ring of twice the hold, and some (`lineBytes`), from the first cell on. What does not fit is dropped, the newest first.
 *
 * An origin's own line is one like any other. It is not fed by a predecessor but supplied by the loop; what comes home is its sign of life, so
 * that it stops for the same reasons and after the same time as that of a member in its place. Spec: SPEC.md §4.5.
 */
import type { MonotonicMs } from '../src/bytes/index.ts'
import { BODY_BYTES, type CircuitId, Command } from '../src/cell/index.ts'
import type { PacedSupply } from '../src/circuit/index.ts'
import { type Lane, TURN_CELLS } from '../src/link/index.ts'
import type { Rng } from '../src/runtime/index.ts'
import { type Paced, TICK_MS } from './pacer.ts'

/** When a paced circuit's cells go, on this node's own monotonic clock. */
export interface LinePlan {
  /** Cells a second. */
  readonly rate: number
  /** From here on every slot carries a cell: PAD at first. */
  readonly openAt: MonotonicMs
  /** A predecessor that has sent nothing by `liveAt` and `UNFED_MS` never will. */
  readonly liveAt: MonotonicMs
  /** From here on nothing is sent. */
  readonly closeAt: MonotonicMs
  readonly holdMs: number
}

// Specification constants.
/** The origin's first cell goes at `live` and at most so much later. */
export const START_SPREAD_MAX_MS = 8_000
/**
 * A member that has no cell so long after `live` gives up: one packet must not start a flood that nobody feeds. The origin's spread, the
 * holds of eleven members at the lowest rate (2 s), and clocks that differ by some seconds.
 */
export const UNFED_MS = START_SPREAD_MAX_MS + 8_000
/** A predecessor that has been silent so long is gone; random bytes go on for a random time. */
export const SILENT_MS = 2_000
const FILLER_MIN_MS = 18_000
const FILLER_SPREAD_MS = 10_000

// Implementation constants.
/** A process or a link that stood still for longer has lost its paced circuits. */
export const STALL_MS = 2_000
/** Cells beyond twice the hold that a ring has room for: what comes in one turn of a link, or in this time. */
const BURST_MS = 60
const BURST_CELLS_MAX = 2 * TURN_CELLS
const BURST_CELLS_MIN = 4
/** Most that a line's slots move, in parts of the time that passed. */
const DRIFT = 200e-6
const DRIFT_EVERY_MS = 1_000
/** From so many cells in a hold on, drift is seen by their number. */
const COUNTED_FROM_CELLS = 2
/** An own loop's first cell is home by then, or the loop is as if its predecessor were gone. */
const HOME_MS = UNFED_MS - START_SPREAD_MAX_MS
const NOTHING = 0xffff_ffff

const PAD_BODY = new Uint8Array(BODY_BYTES)
const NO_BYTES = new Uint8Array(0)
const NO_COUNTERS = new Uint32Array(0)
/** Stands for *since the last tick*. */
const NO_TIME = -1 as MonotonicMs

/** What a line is at: `waiting` for open, `padding` until its cells go, `running`, or `over`. */
export type LineState = 'waiting' | 'padding' | 'running' | 'over'

export type LineOver = 'expired' | 'idle' | 'overload'

/** When CIRCUIT cells go: that of counter c in slot `firstSlot` + c, slot k at `baseMs` + k / rate. */
export interface LineSlots {
  readonly baseMs: number
  readonly firstSlot: number
}

/** Cells of one hold and of one tick, so that none is missing when its slot comes: what an origin keeps in a line. */
export function wantedCellsOf({ rate, holdMs }: LinePlan, tickMs: number): number {
  return Math.min(ringCells(rate, holdMs), Math.ceil(((holdMs + tickMs) * rate) / 1000) + 1)
}

/** Slots of a line up to `now`. */
export function slotsBy(now: number, baseMs: number, { rate, closeAt }: LinePlan): number {
  return Math.floor((Math.min(now, closeAt) - baseMs) / (1000 / rate)) + 1
}

/** Cells that a line of this rate and hold can keep. */
function ringCells(rate: number, holdMs: number): number {
  const burst = Math.min(BURST_CELLS_MAX, Math.max(BURST_CELLS_MIN, Math.ceil((rate * BURST_MS) / 1000)))
  return Math.ceil((2 * holdMs * rate) / 1000) + burst
}

/** Memory that a line may take: admission counts it. */
export function lineBytes(rate: number, holdMs: number): number {
  return ringCells(rate, holdMs) * BODY_BYTES
}

export interface LineParts {
  readonly lane: Lane
  /** Where everything but CIRCUIT and PAD goes. Default: `lane`. */
  readonly control?: Lane
  /** Whether an origin of this node supplies it. */
  readonly own?: boolean
  readonly tickMs?: number
  readonly plan: LinePlan
  readonly rng: Rng
  /** The time now; asked once a turn or less. */
  readonly now: () => MonotonicMs
  /** The line is over: its time is up, it was never fed, its predecessor is gone, or the link takes nothing more. Once. */
  readonly onOver: (why: LineOver) => void
}

export class PacedLine implements Lane, Paced, PacedSupply {
  readonly id: CircuitId
  /** Cells that an origin keeps here: those of one hold and of one tick, so that none is missing when its slot comes. */
  readonly wantedCells: number
  readonly #lane: Lane
  readonly #control: Lane
  readonly #own: boolean
  readonly #plan: LinePlan
  readonly #rng: Rng
  readonly #now: () => MonotonicMs
  readonly #onOver: LineParts['onOver']
  readonly #slotMs: number
  /** Time of slot 0; moves with drift. */
  #base: number
  /** Slots passed, PAD and CIRCUIT. */
  #slots = 0
  /** First slot that sends a CIRCUIT cell; unknown before the first cell. */
  #firstSlot = Number.POSITIVE_INFINITY
  /** Counter of the next cell to come, and of the next to go. */
  #arrived = 0
  #sent = 0
  /** Made with the first cell. */
  #ring = NO_BYTES
  readonly #ringCells: number
  /** Which counter lies in each place of the ring. */
  #held = NO_COUNTERS
  /** When each came: for lines of few cells, where their number says nothing about drift. */
  #cameAt: Float64Array | null = null
  /** Cells of one hold. */
  readonly #holdCells: number
  #lastArrivalAt: MonotonicMs
  /** When filler for a predecessor that is gone ends. */
  #fillerUntil = Number.POSITIVE_INFINITY
  #driftAt: number
  /** Least supply since the last look at drift: in cells, or for lines of few cells in milliseconds. */
  #leastSupply = Number.POSITIVE_INFINITY
  #late = 0
  #over = false

  constructor({ lane, control = lane, own = false, tickMs = TICK_MS, plan, rng, now, onOver }: LineParts) {
    this.id = lane.id
    this.#lane = lane
    this.#control = control
    this.#own = own
    this.#plan = plan
    this.#rng = rng
    this.#now = now
    this.#onOver = onOver
    this.#slotMs = 1000 / plan.rate
    this.#base = plan.openAt + rng.unit() * this.#slotMs
    this.#ringCells = ringCells(plan.rate, plan.holdMs)
    this.#holdCells = plan.holdMs / this.#slotMs
    this.wantedCells = wantedCellsOf(plan, tickMs)
    this.#lastArrivalAt = plan.openAt
    this.#driftAt = plan.openAt
  }

  /** Cells that are kept for slots to come. */
  get queuedCells(): number {
    return Math.max(0, this.#arrived - this.#sent)
  }

  /** Counter of the next cell to go. For an origin, which keeps the supply. */
  get sentCells(): number {
    return this.#sent
  }

  /** CIRCUIT slots that have passed, whether their cells were sent in them or are still to be, in a tick that is late. */
  get dueCells(): number {
    if (this.#firstSlot === Number.POSITIVE_INFINITY) return 0
    return Math.max(this.#sent, this.#slotsBy(this.#now()) - this.#firstSlot)
  }

  /** Cells that came too late, or did not fit: each went out as random bytes. Never reported for a circuit of somebody else's. */
  get lateCells(): number {
    return this.#late
  }

  /** Once the first cell has its slot. Of an own line: for good. */
  get slots(): LineSlots | null {
    if (this.#firstSlot === Number.POSITIVE_INFINITY) return null
    return { baseMs: this.#base, firstSlot: this.#firstSlot }
  }

  get over(): boolean {
    return this.#over
  }

  get state(): LineState {
    if (this.#over) return 'over'
    if (this.#slots === 0) return 'waiting'
    return this.#slots > this.#firstSlot ? 'running' : 'padding'
  }

  /** Keeps one CIRCUIT cell for its slot. `false`: the line is over. */
  push(command: Command, body: Uint8Array): boolean {
    if (this.#over) return false
    if (command !== Command.CIRCUIT) return this.#control.push(command, body)
    const counter = this.#arrived++
    if (counter === 0) this.#start()
    if (!this.#own) this.#lastArrivalAt = NO_TIME
    if (counter < this.#sent || counter - this.#sent >= this.#ringCells) {
      this.#late++
      return true
    }
    const place = counter % this.#ringCells
    this.#ring.set(body, place * BODY_BYTES)
    this.#held[place] = counter
    if (this.#cameAt !== null) this.#cameAt[place] = this.#now()
    return true
  }

  /**
   * The first cell is here: it goes in the first slot that is at least the hold away. If it comes before the line is open, the predecessor's
   * clock is ahead of this node's: the slots move, or all that comes later would lie here for as long as the clocks differ.
   */
  #start(): void {
    const { holdMs, openAt } = this.#plan
    const now = this.#now()
    const earliest = now + holdMs
    if (this.#slots === 0 && this.#base > earliest)
      this.#base -= Math.floor((this.#base - earliest) / this.#slotMs) * this.#slotMs
    this.#firstSlot = Math.max(this.#slots, Math.ceil((earliest - this.#base) / this.#slotMs))
    this.#ring = new Uint8Array(this.#ringCells * BODY_BYTES)
    this.#held = new Uint32Array(this.#ringCells).fill(NOTHING)
    if (!this.#own && this.#holdCells < COUNTED_FROM_CELLS) this.#cameAt = new Float64Array(this.#ringCells)
    this.#driftAt = Math.max(now, openAt)
    if (this.#own) this.#lastArrivalAt = (now + HOME_MS) as MonotonicMs
  }

  /** Something of this circuit came home (own lines): it lives. */
  heard(): void {
    if (this.#over || this.#firstSlot === Number.POSITIVE_INFINITY) return
    this.#lastArrivalAt = this.#now()
  }

  /** Sends what is due at `now`. The number of cells is decided before anything that is kept is looked at. */
  emit(now: MonotonicMs): void {
    if (this.#over) return
    const due = this.#slotsBy(now) - this.#slots
    if (due * this.#slotMs > STALL_MS + this.#slotMs) return this.#end('overload')
    // A link that takes nothing more makes this line late, as a process that stands still does.
    for (let slot = 0; slot < due && this.#sendOne(); slot++) {}
    if (now >= this.#plan.closeAt) return this.#end('expired')
    this.#judge(now)
  }

  /** Sends the next slot's cell. `false`: the link does not take it now. */
  #sendOne(): boolean {
    if (this.#slots < this.#firstSlot) {
      if (!this.#lane.push(Command.PAD, PAD_BODY)) return false
      this.#slots++
      return true
    }
    const counter = this.#sent
    const place = counter % this.#ringCells
    const there = this.#held[place] === counter
    const body = there ? this.#ring.subarray(place * BODY_BYTES, (place + 1) * BODY_BYTES) : this.#rng.scratch(BODY_BYTES)
    if (!this.#lane.push(Command.CIRCUIT, body)) return false
    if (this.#cameAt === null) this.#leastSupply = Math.min(this.#leastSupply, this.#arrived - counter)
    else if (there) this.#leastSupply = Math.min(this.#leastSupply, this.#slotAt(this.#slots) - this.#cameAt[place]!)
    if (there) this.#held[place] = NOTHING
    this.#slots++
    this.#sent++
    return true
  }

  #slotsBy(now: number): number {
    return slotsBy(now, this.#base, this.#plan)
  }

  #slotAt(slot: number): number {
    return this.#base + slot * this.#slotMs
  }

  /** Whether the line is still fed; and its drift, once a second. */
  #judge(now: MonotonicMs): void {
    // Cells that came since the last tick have no time of their own: they came by now.
    if (this.#lastArrivalAt === NO_TIME) this.#lastArrivalAt = now
    if (this.#firstSlot === Number.POSITIVE_INFINITY) {
      if (now > this.#plan.liveAt + UNFED_MS) this.#end('idle')
      return
    }
    if (now - this.#lastArrivalAt > Math.max(SILENT_MS, 4 * this.#slotMs)) {
      if (this.#fillerUntil === Number.POSITIVE_INFINITY)
        this.#fillerUntil = now + FILLER_MIN_MS + this.#rng.unit() * FILLER_SPREAD_MS
      if (now >= this.#fillerUntil) return this.#end('idle')
    } else {
      this.#fillerUntil = Number.POSITIVE_INFINITY
    }
    if (now - this.#driftAt >= DRIFT_EVERY_MS) this.#drift(now)
  }

  /** Moves the slots towards a supply of one hold. Those of few cells a second keep the wait of up to a slot that their first cell had. */
  #drift(now: MonotonicMs): void {
    const least = this.#leastSupply
    const step = DRIFT * (now - this.#driftAt)
    this.#driftAt = now
    this.#leastSupply = Number.POSITIVE_INFINITY
    if (this.#own || least === Number.POSITIVE_INFINITY) return
    const { holdMs } = this.#plan
    const wanted = this.#cameAt === null ? this.#holdCells : holdMs
    const most = this.#cameAt === null ? 1.5 * wanted : 1.5 * wanted + this.#slotMs
    if (least < wanted / 2) this.#base += step
    else if (least > most) this.#base -= step
  }

  #end(why: LineOver): void {
    if (this.#over) return
    this.close()
    this.#onOver(why)
  }

  /** Ends the line without a word. Idempotent. */
  close(): void {
    if (this.#over) return
    this.#over = true
    this.#ring.fill(0)
    this.#lane.close()
    this.#control.close()
  }
}
