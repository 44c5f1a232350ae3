/**
 * Asks who has the parts of a lot: first the holder of each one in our own view, then others by rank, as those who brought them tried them.
 * What comes back are claims with their proofs; whoever has the bytes can judge them. Spec: SPEC.md §7.8. Threat: holders that are away, that
 * lost what they had, or that claim what they do not have.
 *
 * Limit: at most `ASKS_MAX` checks under way.
 */
import type { NodeId } from '../../src/bytes/index.ts'
import { HALF_HOLDERS_MAX } from '../../src/content/constants.ts'
import type { HolderHealth, Patience } from '../../src/content/holder-health.ts'
import { Permits } from '../../src/content/permits.ts'
import type { Ranking } from '../../src/content/placement.ts'
import { NONCE_BYTES } from '../../src/content/proof.ts'
import { type Clock, type Rng, shuffled } from '../../src/runtime/index.ts'
import type { Lot } from './lots.ts'
import { askPatiently } from './patience.ts'

// Implementation constants.
const ASKS_MAX = 16
/** Other holders that are asked for a part which its own one does not have. In a network of up to 30 nodes: all. */
const OTHERS_MAX = 6

export interface RollParts {
  readonly ranking: Ranking
  readonly health: HolderHealth
  /** Nodes whose word counts for nothing. */
  readonly avoid: ReadonlySet<NodeId>
  readonly patience?: Patience | undefined
  readonly clock: Clock
  readonly rng: Rng
  readonly signal: AbortSignal
}

/** A holder's word that it has a part. */
export interface Claim {
  readonly node: NodeId
  readonly nonce: Uint8Array
  readonly proof: Uint8Array
}

export interface Roll {
  /** Who should have each part. */
  readonly placed: readonly NodeId[]
  readonly claims: readonly (Claim | null)[]
  /** Parts that their own holder, which can be reached, does not have, though another one does. */
  readonly astray: ReadonlySet<number>
}

/** `absent`: it says so. `away`: it did not answer, or is not to be asked. */
type Answer = Claim | 'absent' | 'away'

export class RollCall {
  readonly #parts: RollParts
  readonly #asks = new Permits(ASKS_MAX)

  constructor(parts: RollParts) {
    this.#parts = parts
  }

  /** Who has what. `keepHours`: those that have a part are to keep it on for so long; 0: as long as it was. */
  async call(lot: Lot, keepHours: number): Promise<Roll> {
    const { ranking, rng } = this.#parts
    const placed = ranking.place(lot.places)
    const claims: (Claim | null)[] = lot.places.map(() => null)
    const astray = new Set<number>()
    const others = Math.min(ranking.nodes.length - 1, ranking.nodes.length > HALF_HOLDERS_MAX ? OTHERS_MAX : HALF_HOLDERS_MAX)
    const find = async (at: number): Promise<void> => {
      const own = placed[at]!
      const answer = await this.#ask(lot, at, own, keepHours)
      if (typeof answer === 'object') {
        claims[at] = answer
        return
      }
      const order = ranking.order(lot.places[at]!).filter((node) => node !== own)
      for (const node of order.slice(0, others)) {
        const found = await this.#ask(lot, at, node, keepHours)
        if (typeof found !== 'object') continue
        claims[at] = found
        if (answer === 'absent') astray.add(at)
        return
      }
    }
    const jobs = shuffled([...lot.places.keys()], rng).map(find)
    const outcomes = await Promise.allSettled(jobs)
    const broken = outcomes.find((outcome) => outcome.status === 'rejected')
    if (broken !== undefined) throw broken.reason
    return { placed, claims, astray }
  }

  async #ask(lot: Lot, at: number, node: NodeId, keepHours: number): Promise<Answer> {
    const { health, avoid, rng, signal } = this.#parts
    if (avoid.has(node)) return 'away'
    await this.#asks.take(signal)
    try {
      const nonce = rng.bytes(NONCE_BYTES)
      const asked = await askPatiently(this.#parts, (waiting) => lot.check(at, node, { nonce, keepHours }, { signal: waiting }), {
        wait: () => lot.ready(node, signal),
        giveUp: () => health.isSuspect(node),
      })
      if (asked.kind === 'answer') {
        health.answered(node, asked.tookMs)
        return asked.value === null ? 'absent' : { node, nonce, proof: asked.value }
      }
      // One that has it and does not keep it on is as good as not having it.
      if (asked.kind === 'away') health.failed(node)
      return 'away'
    } finally {
      this.#asks.give()
    }
  }
}
