/** A token bucket on the monotonic clock: `burst` at once, refilled evenly. Bounds what one neighbour or node can cause. Pure. */
import type { MonotonicMs } from '../bytes/index.ts'

export class TokenBucket {
  readonly #burst: number
  readonly #perSecond: number
  #tokens: number
  #filledAt: MonotonicMs

  constructor(burst: number, perSecond: number, now: MonotonicMs) {
    this.#burst = burst
    this.#perSecond = perSecond
    this.#tokens = burst
    this.#filledAt = now
  }

  /** Whether `count` could be taken now. */
  has(count: number, now: MonotonicMs): boolean {
    const passed = Math.max(0, now - this.#filledAt)
    this.#tokens = Math.min(this.#burst, this.#tokens + (passed * this.#perSecond) / 1000)
    this.#filledAt = now
    return this.#tokens >= count
  }

  /** Takes `count` if they are there, else nothing. */
  take(count: number, now: MonotonicMs): boolean {
    if (!this.has(count, now)) return false
    this.#tokens -= count
    return true
  }
}
