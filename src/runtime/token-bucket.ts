/** A token bucket: so many events a second on average, so many at once. */
import type { MonotonicMs } from '../bytes/index.ts'

export class TokenBucket {
  readonly #perMs: number
  readonly #burst: number
  #tokens: number
  #at: MonotonicMs

  constructor(perSecond: number, burst: number, now: MonotonicMs) {
    this.#perMs = perSecond / 1000
    this.#burst = burst
    this.#tokens = burst
    this.#at = now
  }

  /** Takes `count` tokens if there are as many. */
  take(now: MonotonicMs, count = 1): boolean {
    this.#tokens = Math.min(this.#burst, this.#tokens + Math.max(0, now - this.#at) * this.#perMs)
    this.#at = Math.max(this.#at, now) as MonotonicMs
    if (this.#tokens < count) return false
    this.#tokens -= count
    return true
  }
}
