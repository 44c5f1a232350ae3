/**
 * When to visit bootstrap nodes as a guest, to learn the directory: at the start up to three of them, so that one that lies by leaving
 * nodes out is outvoted by the union; again and again while nobody answers; at once when all links are lost; and every half hour or so,
 * which heals a network that fell apart. Pure. Spec: SPEC.md §6.4.
 */
import type { MonotonicMs, NodeId } from '../../src/bytes/index.ts'
import { type Rng, shuffled } from '../../src/runtime/index.ts'
import type { BootstrapNode } from './bootstrap.ts'

// Implementation constants.
const COMPARED = 3
const RETRY_FIRST_MS = 200
const RETRY_LONGEST_MS = 5_000
const AGAIN_MIN_MS = 15 * 60_000
const AGAIN_SPREAD_MS = 30 * 60_000
/** After this long a newcomer chooses among those it knows, although a visit is still under way. */
const PATIENCE_MS = 5_000

interface Plan {
  readonly node: BootstrapNode
  nextAt: number
  failures: number
  underWay: boolean
}

export class Visits {
  readonly #rng: Rng
  readonly #startedAt: MonotonicMs
  readonly #plans: readonly Plan[]
  #succeeded = 0

  constructor(nodes: readonly BootstrapNode[], rng: Rng, now: MonotonicMs) {
    this.#rng = rng
    this.#startedAt = now
    const first = (at: number) => (at < COMPARED ? now : this.#later(now))
    this.#plans = shuffled(nodes, rng).map((node, at) => ({ node, nextAt: first(at), failures: 0, underWay: false }))
  }

  /** Whether enough was heard to choose neighbours: a visit went well and none is under way, or waiting makes nothing better. */
  heardEnough(now: MonotonicMs, nodesKnown: number): boolean {
    if (this.#plans.length === 0) return true
    const waited = now - this.#startedAt >= PATIENCE_MS
    return nodesKnown > 1 && (waited || (this.#succeeded > 0 && !this.#plans.some(({ underWay }) => underWay)))
  }

  /** The nodes to visit now. Each is to be reported with `ended`. `alone`: no link is up. */
  due(now: MonotonicMs, alone: boolean, isLinked: (id: NodeId) => boolean): readonly BootstrapNode[] {
    const due: BootstrapNode[] = []
    for (const plan of this.#plans) {
      if (plan.underWay) continue
      if (alone && this.#succeeded > 0 && plan.nextAt - now > RETRY_LONGEST_MS)
        plan.nextAt = now + this.#rng.unit() * RETRY_LONGEST_MS
      if (plan.nextAt > now) continue
      if (isLinked(plan.node.id)) {
        plan.nextAt = this.#later(now)
        continue
      }
      plan.underWay = true
      due.push(plan.node)
    }
    return due
  }

  ended(id: NodeId, went: 'well' | 'badly', now: MonotonicMs): void {
    const plan = this.#plans.find(({ node }) => node.id === id)
    if (plan === undefined) return
    plan.underWay = false
    if (went === 'well') {
      this.#succeeded++
      plan.failures = 0
      plan.nextAt = this.#later(now)
      return
    }
    const wait = Math.min(RETRY_LONGEST_MS, RETRY_FIRST_MS * 1.5 ** Math.min(plan.failures++, 20))
    plan.nextAt = now + wait * (0.5 + this.#rng.unit())
    if (this.#succeeded > 0) return
    // Nobody answered yet: ask one that was kept for later.
    const other = this.#plans.find(({ underWay, nextAt }) => !underWay && nextAt - now > RETRY_LONGEST_MS)
    if (other) other.nextAt = now
  }

  #later(now: MonotonicMs): number {
    return now + AGAIN_MIN_MS + this.#rng.unit() * AGAIN_SPREAD_MS
  }
}
