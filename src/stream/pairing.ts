/**
 * When an end of an exchange gives a payload. In `swift` cells go when there is something to say or to hear, so a payload in each cell would
 * make payloads without end: each dummy that waits for the other side would pull a cell out of it that brings another. Here each payload
 * that comes is answered with one, content or dummy, and what is given beyond that is content: both directions carry the same number,
 * whoever talks, and nothing is left over at rest. A beat in each quarter second shows both ends that the other lives.
 * Pure but for the clock. Spec: SPEC.md §11.1.
 */
import type { MonotonicMs } from '../bytes/index.ts'
import type { Clock } from '../runtime/index.ts'
import type { ExchangeEnd, PayloadFlow } from './exchange.ts'

// Specification constant.
/** An end that gave nothing for so long gives one with its next cell. */
export const PAYLOAD_BEAT_MS = 250

// Implementation constant.
/** More payloads than are ever on their way: what is given beyond and never answered was lost, and must not be waited for. */
const AHEAD_MAX = 512

export class Pairing implements PayloadFlow {
  readonly waiting = 0
  readonly #end: ExchangeEnd
  readonly #clock: Clock
  #lastGivenAt: MonotonicMs
  /** Payloads that came and were not answered with one yet. */
  #owed = 0
  /** Payloads that were given and not answered yet. */
  #ahead = 0
  #received = 0
  #gone = false

  constructor(end: ExchangeEnd, clock: Clock) {
    this.#end = end
    this.#clock = clock
    // The first cell carries one: the rendezvous point hands out none before.
    this.#lastGivenAt = Number.NEGATIVE_INFINITY as MonotonicMs
  }

  /** Payloads that came so far. */
  get received(): number {
    return this.#received
  }

  /** Whether the end has something to say. */
  get wants(): boolean {
    return this.#end.wants
  }

  /** Whether a payload is worth a cell of its own. */
  get urgent(): boolean {
    return !this.#gone && (this.#owed > 0 || this.#end.wants)
  }

  get due(): boolean {
    return this.urgent || (!this.#gone && this.#clock.monotonicMs() - this.#lastGivenAt >= PAYLOAD_BEAT_MS)
  }

  take(into: Uint8Array, at: number): void {
    this.#end.fill(into, at)
    this.#lastGivenAt = this.#clock.monotonicMs()
    if (this.#owed > 0) this.#owed--
    else if (this.#ahead < AHEAD_MAX) this.#ahead++
  }

  onPayload(bytes: Uint8Array, at: number): void {
    if (this.#gone) return
    this.#received++
    if (this.#ahead > 0) this.#ahead--
    else this.#owed++
    this.#end.onPayload(bytes, at)
  }

  /** The end has left by itself: it hears nothing more. */
  leave(): void {
    this.#gone = true
  }

  onGone(): void {
    if (this.#gone) return
    this.#gone = true
    this.#end.onGone()
  }
}
