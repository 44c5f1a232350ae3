/**
 * How much work introductions must bring, and which of them are answered first when there are more than a service can answer. Pure: time is
 * passed in. What it meets: a flood of introductions, each of which costs the service a key exchange and, if the client goes on, a loop. Who
 * brings more work is served before who brings less; under a flood the record asks for so much that what comes is what can be answered.
 * What it does not: a rich attacker (`src/crypto/pow.ts` says why). Spec: SPEC.md §11.
 *
 *   offer(work, item) → queue (highest work first, then oldest) → take(now), as fast as the rate lets → once a minute: effort of the record
 */
import type { MonotonicMs } from '../../src/bytes/index.ts'
import { TokenBucket } from '../../src/runtime/index.ts'

// Implementation constants.
/** Introductions that wait at once; at the limit the one with the least work goes, of those the youngest. */
export const WAITING_MAX = 256
/** Introductions answered a second on average, and at once. Each costs about a millisecond with both messages. */
export const ANSWERED_PER_SEC = 40
export const ANSWERED_AT_ONCE = 80
/** Load is looked at over this time. */
export const LOAD_WINDOW_MS = 5_000
/** The effort changes at most this often: each change is a new record. */
export const EFFORT_HOLD_MS = 60_000
/** The first step up: 2^12 hashes, some milliseconds of a client. */
export const EFFORT_FIRST_BITS = 12
/** Never asked for more, nor done: 2^22 hashes are some 4 s of a client, for each of its two messages. The specification allows 32. */
export const EFFORT_MAX_BITS = 22

interface Waiting<T> {
  readonly work: number
  readonly item: T
}

export class IntroductionQueue<T> {
  /** The first is the next. */
  readonly #waiting: Waiting<T>[] = []
  readonly #rate: TokenBucket
  readonly #effort: Effort
  /** Introductions that were dropped for want of room. */
  dropped = 0

  constructor(now: MonotonicMs) {
    this.#rate = new TokenBucket(ANSWERED_PER_SEC, ANSWERED_AT_ONCE, now)
    this.#effort = new Effort(now)
  }

  get length(): number {
    return this.#waiting.length
  }

  /** Bits that introductions must bring: goes into the record. */
  get effortBits(): number {
    return this.#effort.bits
  }

  /** `work`: bits that it brought, verified. Returns what had to go for it, which may be itself; `null`: nothing. */
  offer(work: number, item: T): T | null {
    this.#effort.onOffer(work)
    // Behind all that brought as much: they are older.
    let at = this.#waiting.length
    while (at > 0 && this.#waiting[at - 1]!.work < work) at--
    this.#waiting.splice(at, 0, { work, item })
    if (this.#waiting.length <= WAITING_MAX) return null
    this.dropped++
    return this.#waiting.pop()!.item
  }

  /** The next one to be answered; `null`: none, or not yet. */
  take(now: MonotonicMs): T | null {
    if (this.#waiting.length === 0 || !this.#rate.take(now)) return null
    return this.#waiting.shift()!.item
  }

  /** Call it every second or so. Whether the effort changed, which asks for a new record. */
  tick(now: MonotonicMs): boolean {
    return this.#effort.tick(now)
  }

  /** Forgets all that wait. */
  clear(): T[] {
    return this.#waiting.splice(0).map(({ item }) => item)
  }
}

/**
 * The effort alone. Up: more came in `LOAD_WINDOW_MS` than can be answered, by as many bits as there was too much. Down: less than half of
 * that came for `EFFORT_HOLD_MS`, by one bit, from the first step to 0.
 */
export class Effort {
  #bits = 0
  #offers = 0
  #windowAt: MonotonicMs
  #changedAt = Number.NEGATIVE_INFINITY
  /** Since when the load has been low. */
  #calmSince: MonotonicMs

  constructor(now: MonotonicMs) {
    this.#windowAt = now
    this.#calmSince = now
  }

  get bits(): number {
    return this.#bits
  }

  /** `work`: what it brought. Less than what the record asks for is no reason to ask for more: else who brings nothing could raise it for all. */
  onOffer(work: number): void {
    if (work >= this.#bits) this.#offers++
  }

  tick(now: MonotonicMs): boolean {
    const spanMs = now - this.#windowAt
    if (spanMs < LOAD_WINDOW_MS) return false
    const load = this.#offers / ((spanMs / 1000) * ANSWERED_PER_SEC)
    this.#offers = 0
    this.#windowAt = now
    if (load >= 0.5) this.#calmSince = now
    if (now - this.#changedAt < EFFORT_HOLD_MS) return false
    const before = this.#bits
    if (load > 1) {
      const step = Math.max(1, Math.ceil(Math.log2(load)))
      this.#bits = before === 0 ? EFFORT_FIRST_BITS : Math.min(EFFORT_MAX_BITS, before + step)
    } else if (before > 0 && now - this.#calmSince >= EFFORT_HOLD_MS) {
      this.#bits = before <= EFFORT_FIRST_BITS ? 0 : before - 1
    }
    if (this.#bits === before) return false
    this.#changedAt = now
    return true
  }
}
