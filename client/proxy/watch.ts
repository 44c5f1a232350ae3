/**
 * Notices that nothing moves: calls back once when nobody has said for a while that something did. It arms a timer once a period, not once
 * an event, so that it costs a subtraction per event.
 */
import type { Clock, Timer } from '../../src/runtime/index.ts'

export class Watch {
  readonly #clock: Clock
  readonly #ms: number
  readonly #onStill: () => void
  #last: number
  #timer: Timer | null

  /** Calls `onStill` when `touch` was not called for `ms`, within `ms` and a moment; at most once. */
  constructor(clock: Clock, ms: number, onStill: () => void) {
    this.#clock = clock
    this.#ms = ms
    this.#onStill = onStill
    this.#last = clock.monotonicMs()
    this.#timer = clock.setTimer(ms, () => this.#look())
  }

  touch(): void {
    this.#last = this.#clock.monotonicMs()
  }

  stop(): void {
    this.#timer?.cancel()
    this.#timer = null
  }

  #look(): void {
    if (this.#timer === null) return
    const left = this.#last + this.#ms - this.#clock.monotonicMs()
    if (left > 0) {
      this.#timer = this.#clock.setTimer(left, () => this.#look())
      return
    }
    this.#timer = null
    this.#onStill()
  }
}
