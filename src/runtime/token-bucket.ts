/** A token bucket: so many events a second on average, so many at once. Bounds what one neighbour or node can cause. Pure. */
import type { MonotonicMs } from '../bytes/index.ts'

export class TokenBucket {
  #perSecond: number
  readonly #burst: number
  #tokens: number
  #at: MonotonicMs

  constructor(perSecond: number, burst: number, now: MonotonicMs) {
    this.#perSecond = perSecond
    this.#burst = burst
    this.#tokens = burst
    this.#at = now
  }

  /** As many a second from `now` on. */
  setRate(perSecond: number, now: MonotonicMs): void {
    if (perSecond === this.#perSecond) return
    this.has(now)
    this.#perSecond = perSecond
  }

  /** Whether there are `count` tokens now. */
  has(now: MonotonicMs, count = 1): boolean {
    this.#tokens = Math.min(this.#burst, this.#tokens + (Math.max(0, now - this.#at) * this.#perSecond) / 1000)
    this.#at = Math.max(this.#at, now) as MonotonicMs
    return this.#tokens >= count
  }

  /** Takes `count` tokens if there are as many. */
  take(now: MonotonicMs, count = 1): boolean {
    if (!this.has(now, count)) return false
    this.#tokens -= count
    return true
  }
}
