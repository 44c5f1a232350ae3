/**
 * How many cells an origin keeps in flight round one loop (clock `swift`): a delay-based window in the manner of LEDBAT (RFC 6817)
 * and Vegas. It aims at `TARGET_QUEUE_MS` of queueing above the shortest round trip seen lately, so that a slow relay builds no queue,
 * and it never exceeds `WINDOW_CELLS_MAX` (P3: no queue in the network is longer than the origins' windows).
 *
 * A loop that is busy for long sees its own standing queue in every round trip and would take it for the way's length. So each time the
 * older half of what it remembers goes, a busy loop drains: it sends through the smallest window until that many cells came home.
 * Pure: cells and times in, a window out. Spec: SPEC.md §4.4.
 */
import type { MonotonicMs } from '../bytes/index.ts'

// Implementation constants; measured in test/bench/README.md.
export const WINDOW_CELLS_MIN = 4
export const WINDOW_CELLS_START = 24
export const WINDOW_CELLS_MAX = 192
/** Queueing that the window aims at. */
export const TARGET_QUEUE_MS = 6
/** The shortest round trip is remembered for this long, in two halves. */
const BASE_MEMORY_MS = 10_000

export class DelayWindow {
  #cells = WINDOW_CELLS_START
  #starting = true
  #sent = 0
  #home = 0
  /** When each cell in flight was sent, by counter modulo the largest window. */
  readonly #sentAt = new Float64Array(WINDOW_CELLS_MAX)
  #base = Number.POSITIVE_INFINITY
  #basePrevious = Number.POSITIVE_INFINITY
  #baseSince: number = 0
  #smoothed = 0
  #last = 0
  #lastSentAt = 0
  /** Shortest round trip of the current round: one burst of processing must not look like a queue. */
  #roundShortest = Number.POSITIVE_INFINITY
  #roundEnd = 0
  /** While draining: the window to go back to, and the count of cells home at which. */
  #resumeCells = 0
  #drainEnd = 0

  /** Cells that may be sent now. */
  get room(): number {
    return Math.max(0, Math.floor(this.#cells) - (this.#sent - this.#home))
  }

  /** Cells sent and not yet home. */
  get inFlight(): number {
    return this.#sent - this.#home
  }

  /** The window, in cells. */
  get cells(): number {
    return Math.floor(this.#cells)
  }

  /** Smoothed round trip, in milliseconds; 0 before the first cell came home. */
  get roundTripMs(): number {
    return this.#smoothed
  }

  /** Round trip of the cell that came home last, in milliseconds. */
  get lastRoundTripMs(): number {
    return this.#last
  }

  /** Notes one cell sent. The caller checked `room`. */
  onSend(now: MonotonicMs): void {
    this.#sentAt[this.#sent % WINDOW_CELLS_MAX] = now
    this.#sent++
  }

  /** Notes the oldest cell in flight as home. `wanted`: whether the origin had more to send than the window let it. */
  onHome(now: MonotonicMs, wanted: boolean): void {
    this.#lastSentAt = this.#sentAt[this.#home % WINDOW_CELLS_MAX]!
    const roundTrip = now - this.#lastSentAt
    this.#home++
    this.#last = roundTrip
    this.#smoothed = this.#smoothed === 0 ? roundTrip : this.#smoothed + (roundTrip - this.#smoothed) / 16
    if (now - this.#baseSince > BASE_MEMORY_MS / 2) {
      this.#basePrevious = this.#base
      this.#base = Number.POSITIVE_INFINITY
      this.#baseSince = now
      if (wanted && this.#resumeCells === 0) this.#drain()
    }
    if (roundTrip < this.#base) this.#base = roundTrip
    if (this.#resumeCells > 0) return this.#onDrained()
    if (roundTrip < this.#roundShortest) this.#roundShortest = roundTrip
    if (this.#home < this.#roundEnd) return
    this.#onRound(wanted)
  }

  #drain(): void {
    this.#resumeCells = this.#cells
    this.#cells = WINDOW_CELLS_MIN
    this.#drainEnd = this.#sent + WINDOW_CELLS_MIN
  }

  /** A cell came home while draining. */
  #onDrained(): void {
    if (this.#home < this.#drainEnd) return
    this.#cells = this.#resumeCells
    this.#resumeCells = 0
    this.#roundShortest = Number.POSITIVE_INFINITY
    this.#roundEnd = this.#sent
  }

  /** Once per window of cells. */
  #onRound(wanted: boolean): void {
    const queueMs = this.#roundShortest - Math.min(this.#base, this.#basePrevious)
    this.#roundShortest = Number.POSITIVE_INFINITY
    this.#roundEnd = this.#sent
    if (queueMs > TARGET_QUEUE_MS) {
      this.#starting = false
      this.#cells = Math.max(WINDOW_CELLS_MIN, this.#cells * Math.max(0.7, TARGET_QUEUE_MS / queueMs))
    } else if (wanted) {
      const grown = this.#starting ? this.#cells * 2 : this.#cells + 8 * (1 - queueMs / TARGET_QUEUE_MS)
      this.#cells = Math.min(WINDOW_CELLS_MAX, grown)
    }
  }

  /** When the cell was sent that came home last, or `null` before the first. */
  get lastHomeSentAt(): MonotonicMs | null {
    return this.#home === 0 ? null : (this.#lastSentAt as MonotonicMs)
  }

  /** When the oldest cell in flight was sent, or `null` if none is. For stall detection. */
  get oldestSentAt(): MonotonicMs | null {
    return this.inFlight === 0 ? null : (this.#sentAt[this.#home % WINDOW_CELLS_MAX] as MonotonicMs)
  }
}
