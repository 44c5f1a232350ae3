/**
 * How much of a paced loop comes home as noise, and whether that is more than accidents explain. A member that was late loses some cells in a
 * row; one that garbles cells loses single ones, and could learn something from what the loop does about it. Pure. Spec: SPEC.md §4.5.
 */
import type { MonotonicMs } from '../../src/bytes/index.ts'

// Specification constants.
/** Runs of noise (two cells and more) that a loop survives in a minute. */
export const RUNS_PER_MINUTE = 2
/** Single noise cells that it survives among so many. */
export const SINGLES_MAX = 2
export const SINGLES_AMONG_CELLS = 1024

// Implementation constants.
/** A run that lasts longer is no accident: a member is gone. */
export const RUN_MAX_MS = 2_000
const MINUTE_MS = 60_000

export class NoiseAccount {
  /** Noise cells in a row, up to now, and since when. */
  #run = 0
  #runSince = 0
  /** When runs ended, and counters of single ones; those that still count. */
  #runs: number[] = []
  #singles: number[] = []
  #cells = 0
  #gone = false

  /** Whether so much was noise in one piece that a member is gone. */
  get gone(): boolean {
    return this.#gone
  }

  /** Noise cells so far. */
  get cells(): number {
    return this.#cells
  }

  /** A cell was lost that this node itself sent too late: it says nothing of the members. */
  ours(): void {
    this.#cells++
  }

  /** The cell with `counter` came home. `false`: it is too much, the loop is to be replaced. */
  onCell(noise: boolean, counter: number, now: MonotonicMs): boolean {
    if (noise) {
      this.#cells++
      if (this.#run++ === 0) this.#runSince = now
      this.#gone ||= this.#run >= 2 && now - this.#runSince > RUN_MAX_MS
      return !this.#gone
    }
    if (this.#run === 0) return true
    if (this.#run === 1) this.#singles.push(counter)
    else this.#runs.push(now)
    this.#run = 0
    this.#runs = this.#runs.filter((at) => now - at < MINUTE_MS)
    this.#singles = this.#singles.filter((at) => counter - at < SINGLES_AMONG_CELLS)
    return this.#runs.length <= RUNS_PER_MINUTE && this.#singles.length <= SINGLES_MAX
  }
}
