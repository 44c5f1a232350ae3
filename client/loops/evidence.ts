/**
 * What this node's own loops tell about the nodes on them. A cell that came home shows that every member of its loop lived after it was sent; one
 * that does not come home shows that one of them does not forward, and not which. So members of a late loop are suspects, until another loop
 * brings something home through them that was sent later; who is on most late loops and on none that works is the likeliest.
 *
 * It changes only which paths are drawn first, never which may be drawn. Nothing of it leaves the node. Pure, bounded. Spec: SPEC.md §4.4.
 * Threat: a node that stands still, or drops what it should forward, and is up by all other signs.
 */
import type { MonotonicMs, NodeId } from '../../src/bytes/index.ts'

// Implementation constants.
/** A suspect that no loop goes through any more is tried again after this. */
const SUSPECT_MS = 60_000
/** Nodes remembered in each of both lists; the oldest entry goes. */
const REMEMBERED_MAX = 4096

interface Missed {
  /** Nothing that was sent through it since then is known to have come home. */
  readonly sinceMs: number
  /** When a loop was late last. */
  atMs: number
  /** Late loops so far. */
  loops: number
}

export class Evidence {
  readonly #missed = new Map<NodeId, Missed>()
  /** When the latest of the cells was sent that came home through a node. */
  readonly #came = new Map<NodeId, number>()

  /** A cell that went at `sentMs` through all of `hops` came home. */
  came(hops: readonly NodeId[], sentMs: MonotonicMs): void {
    for (const hop of hops) {
      if ((this.#came.get(hop) ?? Number.NEGATIVE_INFINITY) >= sentMs) continue
      this.#came.delete(hop)
      this.#came.set(hop, sentMs)
      trim(this.#came)
      const missed = this.#missed.get(hop)
      if (missed !== undefined && missed.sinceMs <= sentMs) this.#missed.delete(hop)
    }
  }

  /** What went at `sentMs` through `hops` should be home by `now`, and is not. */
  missed(hops: readonly NodeId[], sentMs: MonotonicMs, now: MonotonicMs): void {
    for (const hop of hops) {
      if ((this.#came.get(hop) ?? Number.NEGATIVE_INFINITY) > sentMs) continue
      const missed = this.#missed.get(hop)
      if (missed === undefined) {
        this.#missed.set(hop, { sinceMs: sentMs, atMs: now, loops: 1 })
        trim(this.#missed)
      } else {
        missed.atMs = now
        missed.loops++
      }
    }
  }

  /** Whether something that went through `node` is missing. */
  isSuspect(node: NodeId, now: MonotonicMs): boolean {
    const missed = this.#missed.get(node)
    return missed !== undefined && now - missed.atMs < SUSPECT_MS
  }

  /** How many suspects there are. */
  count(now: MonotonicMs): number {
    for (const [node, { atMs }] of this.#missed) if (now - atMs >= SUSPECT_MS) this.#missed.delete(node)
    return this.#missed.size
  }

  /** All suspects, the likeliest first. */
  suspects(now: MonotonicMs): readonly NodeId[] {
    if (this.count(now) === 0) return []
    return [...this.#missed].sort(([, a], [, b]) => b.loops - a.loops).map(([node]) => node)
  }
}

function trim(map: Map<NodeId, unknown>): void {
  if (map.size <= REMEMBERED_MAX) return
  const [oldest] = map.keys()
  if (oldest !== undefined) map.delete(oldest)
}
