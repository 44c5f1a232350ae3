/**
 * The only doors to time and randomness. Everything else takes a `Clock` and an `Rng`, so that tests can drive both.
 * `real.ts` is the machine's own, `fake.ts` (in `test/support/`) the test's.
 */
import type { MonotonicMs, UnixMs } from '../bytes/index.ts'

export { ClockJumps, JUMP_MS_MIN } from './clock-jumps.ts'
export { type ClockMoment, clockMoment, clockOf, systemClock, systemRng } from './real.ts'
export { TokenBucket } from './token-bucket.ts'
export { deadlineOn, laterTurn, sleepOn, unlessAborted } from './waiting.ts'

/** A pending call that can be taken back. */
export interface Timer {
  cancel(): void
}

/** A signal that aborts when its time is up or when the signal it was made from aborts. `clear()` frees its timer. */
export interface Deadline {
  readonly signal: AbortSignal
  clear(): void
}

export interface Clock {
  unixMs(): UnixMs
  monotonicMs(): MonotonicMs
  /** Calls `fire` once, `ms` from now. Does not keep the process alive. */
  setTimer(ms: number, fire: () => void): Timer
  /** Calls `fire` in a later turn of the event loop, as soon as pending input was read. */
  nextTurn(fire: () => void): void
  /** Aborts after `ms` with an `OverlayError` of kind `timeout`, or with `signal`'s reason. */
  deadline(ms: number, signal: AbortSignal): Deadline
  /** Resolves after `ms`; rejects with the signal's reason if it aborts first. */
  sleep(ms: number, waiting: { signal: AbortSignal }): Promise<void>
}

/** Randomness. The real one is the operating system's; a seeded one is for tests only. */
export interface Rng {
  /** `length` fresh bytes, owned by the caller. */
  bytes(length: number): Uint8Array
  /** `length` fresh bytes, 65,536 at most, that go out as they are: borrowed until the next call, never for keys. Much cheaper than `bytes`. */
  scratch(length: number): Uint8Array
  /** Uniform integer, 0 ≤ n < `bound`; `bound` from 1 to 2^32. */
  below(bound: number): number
  /** Uniform number, 0 ≤ x < 1. For jitter and choices, never for keys. */
  unit(): number
}

/** What a function that may wait takes. */
export interface Waiting {
  readonly clock: Clock
  readonly signal: AbortSignal
}

/** A random order of `items`, as a new array (Fisher and Yates). */
export function shuffled<T>(items: readonly T[], rng: Rng): T[] {
  const order = [...items]
  for (let at = order.length - 1; at > 0; at--) {
    const other = rng.below(at + 1)
    const held = order[at] as T
    order[at] = order[other] as T
    order[other] = held
  }
  return order
}
