/**
 * What one piece of work (a publication, an opened file) has learnt about holders: who failed just now, and how long an answer takes.
 * It only changes whom the work asks first, never whom it may ask, so a wrong guess costs time and not content. Spec: SPEC.md §7.6.
 */
import type { MonotonicMs, NodeId } from '../bytes/index.ts'
import type { Clock } from '../runtime/index.ts'

/** How long a holder that failed is asked last. */
const SUSPECT_MS = 30_000
/** Most holders remembered; the oldest entry goes first. */
const REMEMBERED_MAX = 4096
/** Time allowed for an answer before any was seen, and the bounds of what is learnt. */
const PATIENCE_FIRST_MS = 700
const PATIENCE_MIN_MS = 60
const PATIENCE_MAX_MS = 4000

export class HolderHealth {
  readonly #clock: Clock
  readonly #suspectMs: number
  /** When each failed, and not answered since. */
  readonly #failedAt = new Map<NodeId, MonotonicMs>()
  /** Smoothed time of an answer and its mean deviation (as in RFC 6298); NaN before the first. */
  #smoothedMs = Number.NaN
  #deviationMs = 0

  /** `suspectMs`: work that can wait leaves holders that failed alone for longer. */
  constructor(clock: Clock, suspectMs: number = SUSPECT_MS) {
    this.#clock = clock
    this.#suspectMs = suspectMs
  }

  /** `node` gave an answer of any kind after `tookMs`. */
  answered(node: NodeId, tookMs: number): void {
    this.#failedAt.delete(node)
    if (Number.isNaN(this.#smoothedMs)) {
      this.#smoothedMs = tookMs
      this.#deviationMs = tookMs / 2
      return
    }
    this.#deviationMs += (Math.abs(tookMs - this.#smoothedMs) - this.#deviationMs) / 4
    this.#smoothedMs += (tookMs - this.#smoothedMs) / 8
  }

  /** `node` did not answer, was slow, lied or refused. */
  failed(node: NodeId): void {
    this.#failedAt.delete(node)
    this.#failedAt.set(node, this.#clock.monotonicMs())
    if (this.#failedAt.size <= REMEMBERED_MAX) return
    const [oldest] = this.#failedAt.keys()
    if (oldest !== undefined) this.#failedAt.delete(oldest)
  }

  /** Whether others should be asked before `node`. */
  isSuspect(node: NodeId): boolean {
    const failedAt = this.#failedAt.get(node)
    return failedAt !== undefined && this.#clock.monotonicMs() - failedAt < this.#suspectMs
  }

  /** How long to wait for an answer before asking elsewhere as well. */
  get patienceMs(): number {
    if (Number.isNaN(this.#smoothedMs)) return PATIENCE_FIRST_MS
    return Math.min(PATIENCE_MAX_MS, Math.max(PATIENCE_MIN_MS, this.#smoothedMs + 4 * this.#deviationMs))
  }
}
