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
const PATIENCE: Patience = Object.freeze({ firstMs: 700, minMs: 60, maxMs: 4000 })

/** How long an answer may take before another holder is asked as well: before any was seen, and the bounds of what is learnt. */
export interface Patience {
  readonly firstMs: number
  readonly minMs: number
  readonly maxMs: number
}

export class HolderHealth {
  readonly #clock: Clock
  readonly #suspectMs: number
  readonly #patience: Patience
  /** When each failed, and not answered since. */
  readonly #failedAt = new Map<NodeId, MonotonicMs>()
  /** Smoothed time of an answer and its mean deviation (as in RFC 6298); NaN before the first. */
  #smoothedMs = Number.NaN
  #deviationMs = 0

  /** `suspectMs`: work that can wait leaves holders that failed alone for longer. `patience`: the network's, if it has its own. */
  constructor(clock: Clock, suspectMs: number = SUSPECT_MS, patience: Patience = PATIENCE) {
    this.#clock = clock
    this.#patience = patience
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

  /** What made `node` fail may be over. */
  forgive(node: NodeId): void {
    this.#failedAt.delete(node)
  }

  /** Whether others should be asked before `node`. */
  isSuspect(node: NodeId): boolean {
    const failedAt = this.#failedAt.get(node)
    return failedAt !== undefined && this.#clock.monotonicMs() - failedAt < this.#suspectMs
  }

  /** How long to wait for an answer before asking elsewhere as well. */
  get patienceMs(): number {
    const { firstMs, minMs, maxMs } = this.#patience
    if (Number.isNaN(this.#smoothedMs)) return firstMs
    return Math.min(maxMs, Math.max(minMs, this.#smoothedMs + 4 * this.#deviationMs))
  }
}

/** Index in `items` of whom to ask next: the first who is not suspect and is near, else who is not suspect, else the first. */
export function soonest<T>(
  items: readonly T[],
  nodeOf: (item: T) => NodeId,
  health: Pick<HolderHealth, 'isSuspect'>,
  near: (node: NodeId) => boolean,
): number {
  const healthy = (item: T) => !health.isSuspect(nodeOf(item))
  // Items are many, their nodes few.
  const far = new Set<NodeId>()
  const isNear = (node: NodeId) => {
    if (far.has(node)) return false
    if (near(node)) return true
    far.add(node)
    return false
  }
  const best = items.findIndex((item) => healthy(item) && isNear(nodeOf(item)))
  return best >= 0 ? best : Math.max(0, items.findIndex(healthy))
}
