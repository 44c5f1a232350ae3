/** When a node may be dialled again: waits that double, with jitter, so that nobody is hammered and nodes do not fall into step. Pure, bounded. */
import type { MonotonicMs, NodeId } from '../../src/bytes/index.ts'
import type { Rng } from '../../src/runtime/index.ts'

// Implementation constants: first wait and longest, per outcome.
const WAITS = {
  /** No answer, or the link broke. */
  failed: [500, 300_000],
  /** It is full. */
  refused: [5_000, 600_000],
  /** There is a link already, or one is in the making: it will be gone, or ours, in a moment. */
  busy: [250, 5_000],
} as const
/** Nodes remembered; beyond it the one remembered longest is forgotten, which costs an early dial. */
const REMEMBERED_MAX = 1024

export type TryOutcome = keyof typeof WAITS

export class Tries {
  readonly #rng: Rng
  readonly #waits = new Map<NodeId, { readonly count: number; readonly until: number }>()

  constructor(rng: Rng) {
    this.#rng = rng
  }

  /** Whether `id` may be dialled now. */
  ready(id: NodeId, now: MonotonicMs): boolean {
    return (this.#waits.get(id)?.until ?? 0) <= now
  }

  unsuccessful(id: NodeId, outcome: TryOutcome, now: MonotonicMs): void {
    const count = (this.#waits.get(id)?.count ?? 0) + 1
    const [first, longest] = WAITS[outcome]
    const wait = Math.min(longest, first * 2 ** Math.min(count - 1, 20)) * (0.5 + this.#rng.unit())
    this.#waits.delete(id)
    this.#waits.set(id, { count, until: now + wait })
    if (this.#waits.size <= REMEMBERED_MAX) return
    for (const oldest of this.#waits.keys()) {
      this.#waits.delete(oldest)
      return
    }
  }

  successful(id: NodeId): void {
    this.#waits.delete(id)
  }
}
