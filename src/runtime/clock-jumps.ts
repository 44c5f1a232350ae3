/**
 * Notices when the wall clock leaves the monotonic one: somebody or something set it, or the machine slept. What depends on the date then knows that
 * the date of a moment ago and that of now are not of one kind. Slow corrections are none.
 */
import type { Clock } from './index.ts'

/** Implementation constant: what is less is a correction. */
export const JUMP_MS_MIN = 60_000

export class ClockJumps {
  readonly #clock: Pick<Clock, 'unixMs' | 'monotonicMs'>
  #offset: number

  constructor(clock: Pick<Clock, 'unixMs' | 'monotonicMs'>) {
    this.#clock = clock
    this.#offset = clock.unixMs() - clock.monotonicMs()
  }

  /** Milliseconds by which the wall clock has jumped since the last look, forwards or (negative) back; 0: it has not. */
  look(): number {
    const offset = this.#clock.unixMs() - this.#clock.monotonicMs()
    const jump = offset - this.#offset
    this.#offset = offset
    return Math.abs(jump) < JUMP_MS_MIN ? 0 : jump
  }
}
