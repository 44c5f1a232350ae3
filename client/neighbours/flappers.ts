/**
 * Peers whose links to this node ended soon after they began. Each link that comes and goes makes the node publish twice, and everybody
 * hear of it, so a peer has few of them at once; one that restarts now and then is not hurt. Pure, bounded.
 */
import type { MonotonicMs, NodeId } from '../../src/bytes/index.ts'
import { TokenBucket } from '../../src/runtime/index.ts'

// Implementation constants: such links at once, the time for one more, and peers remembered (the oldest is forgotten).
const AT_ONCE = 6
const EVERY_MS = 30_000
const REMEMBERED_MAX = 256

export class Flappers {
  readonly #buckets = new Map<NodeId, TokenBucket>()

  /** Whether `peer` may have another link. */
  mayCome(peer: NodeId, now: MonotonicMs): boolean {
    return this.#buckets.get(peer)?.has(now) ?? true
  }

  flapped(peer: NodeId, now: MonotonicMs): void {
    const bucket = this.#buckets.get(peer) ?? new TokenBucket(1000 / EVERY_MS, AT_ONCE, now)
    bucket.take(now)
    this.#buckets.delete(peer)
    this.#buckets.set(peer, bucket)
    if (this.#buckets.size <= REMEMBERED_MAX) return
    for (const oldest of this.#buckets.keys()) {
      this.#buckets.delete(oldest)
      return
    }
  }
}
