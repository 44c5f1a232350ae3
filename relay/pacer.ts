/**
 * The one timer by which paced cells leave this node. At each tick of an absolute grid, for each link in turn: the slots of its circuits, then
 * its control slots, then one write. How many cells go is decided by the time alone, before any queue is looked at ("timer first, queue
 * second"), so what leaves does not depend on what is carried, on what came or on the work that was done meanwhile (P5a).
 *
 * A process that stood still finds what came meanwhile still in its sockets: it reads first and sends then, some turns later, as many cells as
 * are due. To send first would put random bytes in the place of all that it could not read yet.
 *
 * The grid is absolute: a late tick does not move the ones after it; slots that were missed go with it (`paced-line.ts` says why). Nothing here
 * knows a circuit's purpose; an origin's lines and those of its relayed circuits stand in one list. Spec: SPEC.md §4.5.
 */
import type { MonotonicMs } from '../src/bytes/index.ts'
import { tickMsFor } from '../src/circuit/setup/index.ts'
import type { LaneSource } from '../src/link/index.ts'
import type { Clock, Timer } from '../src/runtime/index.ts'

// Implementation constants.
/** Between two ticks, unless cells are kept for long (`tickMsFor`). A cell waits half of it on average at each member, beside its hold. */
export const TICK_MS = tickMsFor(0)

/** A tick that is later than so many is that of a process that stood still. */
const LATE_TICKS = 1
/**
 * Turns of the event loop in which such a one reads before it sends: sockets are read between turns, and each link hands out one batch in a
 * turn. Always as many, whatever came.
 */
const READ_TURNS = 8

/** Something that sends by time. */
export interface Paced {
  /** Sends what is due at `now`, without a write. */
  emit(now: MonotonicMs): void
}

export interface PacerParts {
  readonly clock: Clock
  readonly tickMs?: number
  /**
   * Where others read the sockets' cells and handle them: so long after a late tick is what is due sent, which gives them time to. Default: this
   * thread reads first, for `READ_TURNS`.
   */
  readonly readMs?: number
  /** Before each tick, and after it, when everything is written. `next`: the time of the next one, if there is to be one. */
  beforeTick?(): void
  onTick?(next: MonotonicMs | null): void
}

export class Pacer {
  readonly #clock: Clock
  readonly #tickMs: number
  readonly #readMs: number | null
  readonly #beforeTick: () => void
  readonly #onTick: (next: MonotonicMs | null) => void
  /** What goes over each link, in the order in which it was added. */
  readonly #links = new Map<LaneSource, Set<Paced>>()
  #next: MonotonicMs
  #timer: Timer | null = null
  /** Between a late tick and what it sends. */
  #reading = false
  #closed = false

  constructor({ clock, tickMs = TICK_MS, readMs, beforeTick = () => {}, onTick = () => {} }: PacerParts) {
    this.#clock = clock
    this.#tickMs = tickMs
    this.#readMs = readMs ?? null
    this.#beforeTick = beforeTick
    this.#onTick = onTick
    this.#next = clock.monotonicMs()
  }

  /** Whether anything is paced. */
  get idle(): boolean {
    return this.#links.size === 0
  }

  add(link: LaneSource, paced: Paced): void {
    if (this.#closed) return
    const all = this.#links.get(link) ?? new Set()
    this.#links.set(link, all)
    all.add(paced)
    if (this.#timer === null && !this.#reading) this.#schedule()
  }

  remove(link: LaneSource, paced: Paced): void {
    const all = this.#links.get(link)
    if (all?.delete(paced) && all.size === 0) this.#links.delete(link)
  }

  removeLink(link: LaneSource): void {
    this.#links.delete(link)
  }

  /** Idempotent. */
  close(): void {
    this.#closed = true
    this.#timer?.cancel()
    this.#timer = null
    this.#links.clear()
  }

  #schedule(): void {
    const now = this.#clock.monotonicMs()
    const passed = Math.floor((now - this.#next) / this.#tickMs)
    this.#next = (this.#next + (passed + 1) * this.#tickMs) as MonotonicMs
    this.#timer = this.#clock.setTimer(this.#next - now, () => this.#tick())
  }

  #tick(): void {
    this.#timer = null
    if (this.#clock.monotonicMs() - this.#next <= LATE_TICKS * this.#tickMs) return this.#emit()
    if (this.#readMs === null) return this.#read(READ_TURNS)
    this.#timer = this.#clock.setTimer(this.#readMs, () => {
      this.#timer = null
      this.#emit()
    })
  }

  /** This process stood still: what came meanwhile lies in sockets, and is read before what is due is sent. */
  #read(turns: number): void {
    this.#reading = true
    this.#clock.nextTurn(() => {
      this.#reading = false
      if (this.#closed) return
      if (turns > 0) this.#read(turns - 1)
      else this.#emit()
    })
  }

  #emit(): void {
    this.#beforeTick()
    const now = this.#clock.monotonicMs()
    for (const [link, all] of this.#links) {
      for (const paced of all) paced.emit(now)
      link.flush()
    }
    // What began in this tick may have set the timer already.
    if (!this.#closed && this.#timer === null && this.#links.size > 0) this.#schedule()
    this.#onTick(this.#timer === null ? null : this.#next)
  }
}
