/**
 * How much work this node asks for with each put, by load: nothing as long as there is much room and little comes, then the more the fuller the store,
 * or the table of records, is and the faster it fills. It is published in the descriptor, changes in steps, and what was raised is asked for only when others have had
 * time to hear of it. Threat: who fills stores, or places of records, with junk. It slows floods by those who have little, no others (SPEC.md §8).
 */
import type { MonotonicMs } from '../../src/bytes/index.ts'
import { SHARE_BYTES } from '../../src/content/constants.ts'
import type { Clock, Timer } from '../../src/runtime/index.ts'
import { PUT_EFFORT_MAX } from '../../src/wire/index.ts'

// Implementation constants.
/** Load is the part of the room that is taken, and what came in the last hour as part of an eighth of the room: of bytes or of records, whichever is more. Below this nothing is asked for. */
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

/** What puts fill. */
export interface Room {
  /** Taken now. */
  readonly taken: () => number
  readonly most: number
}

export interface PutEffortParts {
  readonly clock: Clock
  /** Bytes of the store. */
  readonly bytes: Room
  readonly records: Room
  /** What is published has changed. */
  readonly onChange: () => void
}

export class PutEffort {
  readonly #parts: PutEffortParts
  readonly #bytes: Filling
  readonly #records: Filling
  #published = 0
  #before = 0
  #changedAt = Number.NEGATIVE_INFINITY
  #timer: Timer | null = null

  constructor(parts: PutEffortParts) {
    this.#parts = parts
    this.#bytes = new Filling(parts.bytes, parts.clock)
    this.#records = new Filling(parts.records, parts.clock)
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
    this.#bytes.came(bytes)
  }

  /** A record was taken. */
  recorded(): void {
    this.#records.came(1)
  }

  #wanted(): number {
    const load = Math.max(this.#bytes.load, this.#records.load)
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

/** How full a room is, and how fast it fills. */
class Filling {
  readonly #room: Room
  readonly #clock: Clock
  #recent = 0
  #recentAt: MonotonicMs

  constructor(room: Room, clock: Clock) {
    this.#room = room
    this.#clock = clock
    this.#recentAt = clock.monotonicMs()
  }

  came(amount: number): void {
    this.#recent = this.#lately() + amount
    this.#recentAt = this.#clock.monotonicMs()
  }

  get load(): number {
    const { taken, most } = this.#room
    return most === 0 ? 0 : taken() / most + this.#lately() / (most * HOURLY_PART)
  }

  #lately(): number {
    return this.#recent * Math.exp(-(this.#clock.monotonicMs() - this.#recentAt) / RECENT_MS)
  }
}
