/** What gossip remembers of one link: its budgets, its round, what was asked and what the other side is known to have. Bounded. */
import type { MonotonicMs } from '../bytes/index.ts'
import { TokenBucket } from '../runtime/index.ts'

// Implementation constants: refill per second and burst of what one neighbour may cause.
const MESSAGES = [128, 1024] as const
/** Digests that are answered. */
const DIGESTS = [0.5, 4] as const
/** Wants that are answered, each with up to 64 descriptors. */
const WANTS = [4, 256] as const
/** Descriptors judged that were not asked for. */
const PUSHES = [64, 1024] as const
/** Hashes remembered as seen on the link (oldest forgotten: costs a needless push), and wanted from it (more are ignored until later). */
const SEEN_MAX = 4096
const WANTED_MAX = 8192

/** A reconciliation under way: our digest is out. */
export interface Round {
  readonly endsAt: number
  /** 1 for each bucket that was not listed yet. */
  readonly unlisted: Uint8Array
  answered: boolean
  /** Whether it brought something new. */
  news: boolean
  /** Descriptors that may still be pushed. */
  pushes: number
}

export class GossipPeer {
  readonly messages: TokenBucket
  readonly digests: TokenBucket
  readonly wants: TokenBucket
  readonly pushes: TokenBucket
  /** At most one. */
  round: Round | null = null
  nextRoundAt = 0
  /** Rounds in a row that nobody answered. */
  unanswered = 0
  answeredOnce = false
  /** When the last message came. */
  heardAt: number
  /** Hashes to ask for. */
  readonly wanted = new Set<string>()
  /** Hashes asked for, with the time until which they are waited for. */
  readonly asked = new Map<string, number>()
  readonly #seen = new Set<string>()

  constructor(now: MonotonicMs) {
    this.messages = new TokenBucket(...MESSAGES, now)
    this.digests = new TokenBucket(...DIGESTS, now)
    this.wants = new TokenBucket(...WANTS, now)
    this.pushes = new TokenBucket(...PUSHES, now)
    this.heardAt = now
  }

  /** Remembers that the other side has this descriptor. */
  saw(hash: string): void {
    if (this.#seen.has(hash)) return
    if (this.#seen.size >= SEEN_MAX)
      for (const oldest of this.#seen) {
        this.#seen.delete(oldest)
        break
      }
    this.#seen.add(hash)
  }

  hasSeen(hash: string): boolean {
    return this.#seen.has(hash)
  }

  want(hash: string): void {
    if (this.wanted.size < WANTED_MAX && !this.asked.has(hash)) this.wanted.add(hash)
  }
}
