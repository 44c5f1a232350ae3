/**
 * How much work for a put is worth it. A store says in its descriptor how many bits each must bring, and nobody can see its load; what can be seen is what
 * others ask. Who asks for much more than most gets nothing, and others are asked in its place, as if it had refused. Threat: a store
 * that lets publishers work for nothing; work is seconds of a core for each share at most. Spec: SPEC.md §8.
 */
import type { MonotonicMs, NodeId } from '../src/bytes/index.ts'
import type { DirectoryView } from '../src/directory/index.ts'
import type { Clock } from '../src/runtime/index.ts'

// Implementation constants.
/** Done in any case: what a full store asks for, and some milliseconds. */
const CHEAP_BITS = 14
/** Above what half of all nodes ask for at most: sixteen times their work. */
const ABOVE_MOST_BITS = 4
/** How long what most ask for is taken to be the same. */
const LOOK_MS = 60_000

export interface PutPricesParts {
  readonly view: Pick<DirectoryView, 'get' | 'all'>
  readonly clock: Pick<Clock, 'monotonicMs'>
}

export class PutPrices {
  readonly #parts: PutPricesParts
  #most = 0
  #lookedAt: MonotonicMs | null = null

  constructor(parts: PutPricesParts) {
    this.#parts = parts
  }

  /** Bits that a put at `node` must bring; `null`: more than is done for it. */
  at(node: NodeId): number | null {
    const bits = this.#parts.view.get(node)?.putEffort ?? 0
    return bits <= CHEAP_BITS || bits <= this.#asked() + ABOVE_MOST_BITS ? bits : null
  }

  /** The median of what nodes ask for. */
  #asked(): number {
    const { view, clock } = this.#parts
    const now = clock.monotonicMs()
    if (this.#lookedAt === null || now - this.#lookedAt >= LOOK_MS) {
      const bits = view.all().map(({ putEffort = 0 }) => putEffort)
      bits.sort((a, b) => a - b)
      this.#most = bits[bits.length >> 1] ?? 0
      this.#lookedAt = now
    }
    return this.#most
  }
}
