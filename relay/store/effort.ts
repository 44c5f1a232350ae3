/**
 * How much work this node asks for with each put, by load: nothing as long as there is much room and little comes, then the more the fuller the store
 * is and the faster it fills. It is published in the descriptor, changes in steps, and what was raised is asked for only when others have had
 * time to hear of it. Threat: who fills stores with junk. It slows floods by those who have little, no others (SPEC.md §8).
 */
import type { MonotonicMs } from '../../src/bytes/index.ts'
import { SHARE_BYTES } from '../../src/content/constants.ts'
import type { Clock, Timer } from '../../src/runtime/index.ts'
import { PUT_EFFORT_MAX } from '../../src/wire/index.ts'

// Implementation constants.
/** Load is the part of the quota that is taken, and what came in the last hour as part of an eighth of the quota. Below this nothing is asked for. */
const FREE_LOAD = 0.5
const HOURLY_PART = 1 / 8
/** Bits at that load, and for each 1 more. */
const LEAST_BITS = 8
const BITS_PER_LOAD = 10
/** What came is forgotten with this time constant. */
const RECENT_MS = 3_600_000
/** How often load is looked at; how far it must have moved; how soon the next change may follow. */
const LOOK_MS = 60_000
const STEP_BITS = 2
const HOLD_MS = 600_000
/** After this long everybody knows what was published. */
export const HEARD_MS = 300_000

export interface PutEffortParts {
  readonly clock: Clock
  /** Bytes kept now, and most that may be. */
  readonly stored: () => number
  readonly quotaBytes: number
  /** What is published has changed. */
  readonly onChange: () => void
}

export class PutEffort {
  readonly #parts: PutEffortParts
  #recentBytes = 0
  #recentAt: MonotonicMs
  #published = 0
  #before = 0
  #changedAt = Number.NEGATIVE_INFINITY
  #timer: Timer | null = null

  constructor(parts: PutEffortParts) {
    this.#parts = parts
    this.#recentAt = parts.clock.monotonicMs()
  }

  /** What the descriptor says. */
  get published(): number {
    return this.#published
  }

  /** What a put must have now: no more than was published some minutes ago, or is now. */
  get asked(): number {
    const heard = this.#parts.clock.monotonicMs() - this.#changedAt >= HEARD_MS
    return heard ? this.#published : Math.min(this.#before, this.#published)
  }

  start(): void {
    this.#timer = this.#parts.clock.setTimer(LOOK_MS, () => {
      this.start()
      this.#look()
    })
  }

  /** Idempotent. */
  close(): void {
    this.#timer?.cancel()
    this.#timer = null
  }

  /** Something new was stored. */
  stored(bytes: number = SHARE_BYTES): void {
    this.#recentBytes = this.#recent() + bytes
    this.#recentAt = this.#parts.clock.monotonicMs()
  }

  #recent(): number {
    const passed = this.#parts.clock.monotonicMs() - this.#recentAt
    return this.#recentBytes * Math.exp(-passed / RECENT_MS)
  }

  #wanted(): number {
    const { stored, quotaBytes } = this.#parts
    if (quotaBytes === 0) return 0
    const load = stored() / quotaBytes + this.#recent() / (quotaBytes * HOURLY_PART)
    if (load < FREE_LOAD) return 0
    return Math.min(PUT_EFFORT_MAX, LEAST_BITS + Math.round((load - FREE_LOAD) * BITS_PER_LOAD))
  }

  #look(): void {
    const now = this.#parts.clock.monotonicMs()
    const wanted = this.#wanted()
    const moved = Math.abs(wanted - this.#published)
    if (now - this.#changedAt < HOLD_MS || (moved < STEP_BITS && (wanted !== 0 || moved === 0))) return
    this.#before = this.#published
    this.#published = wanted
    this.#changedAt = now
    this.#parts.onChange()
  }
}
