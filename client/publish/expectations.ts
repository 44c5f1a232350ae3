/**
 * What the holders of a publication must be able to prove: drawn while its shares are still here, so that nothing has to be fetched to judge the
 * proofs. Segments are a random sample of bounded size; how well each one was stored, by its holders' word, is kept of all. Spec: SPEC.md §7.10.
 *
 * Memory: `SAMPLE_SEGMENTS` + `INDEX_SEGMENTS` segments of at most 255 shares, about 100 bytes a share.
 */
import type { NodeId } from '../../src/bytes/index.ts'
import { NONCE_BYTES, shareProof } from '../../src/content/proof.ts'
import { survivedLosses } from '../../src/content/spread.ts'
import { type Clock, laterTurn, type Rng } from '../../src/runtime/index.ts'
import type { Segment } from './tree-writer.ts'

// Implementation constants.
/** Segments of index levels that are kept besides the sample: much hangs on each. */
const INDEX_SEGMENTS = 32
/** Shares hashed in one turn of the event loop. */
const HASHES_PER_TURN = 8

/** A share, who said that he took it, and what he must answer. */
export interface Expected {
  readonly node: NodeId
  /** 32 bytes. */
  readonly address: Uint8Array
  readonly nonce: Uint8Array
  readonly proof: Uint8Array
}

/** The shares of one segment; any `k` are enough. */
export interface ExpectedSegment {
  readonly k: number
  readonly shares: readonly Expected[]
}

export class Expectations {
  readonly #clock: Clock
  readonly #rng: Rng
  readonly #size: number
  readonly #sample: (ExpectedSegment | null)[] = []
  readonly #index: ExpectedSegment[] = []
  #seen = 0
  #parts = 0
  #weakest = Number.POSITIVE_INFINITY

  /** `size`: segments of the sample. */
  constructor(size: number, { clock, rng }: { readonly clock: Clock; readonly rng: Rng }) {
    this.#clock = clock
    this.#rng = rng
    this.#size = size
  }

  /** Shares of all segments. */
  get parts(): number {
    return this.#parts
  }

  /** Losses that the weakest segment survives, by the word of those who took its shares. */
  get weakest(): number {
    return this.#weakest
  }

  segments(): readonly ExpectedSegment[] {
    return [...this.#index, ...this.#sample.filter((segment) => segment !== null)]
  }

  /** Takes note of a segment that was stored as `held` says. Its shares are borrowed until the promise settles. */
  async note(segment: Segment, held: readonly (NodeId | null)[]): Promise<void> {
    const { k, level, shares } = segment
    this.#parts += shares.length
    const counts = new Map<NodeId, number>()
    for (const node of held) if (node !== null) counts.set(node, (counts.get(node) ?? 0) + 1)
    this.#weakest = Math.min(this.#weakest, survivedLosses([...counts.values()], k))
    if (this.#size === 0) return
    if (level > 0 && this.#index.length < INDEX_SEGMENTS) {
      this.#index.push({ k, shares: await this.#expect(segment, held) })
      return
    }
    const at = this.#draw()
    if (at === null) return
    // Drawn again meanwhile: the later one stays.
    this.#sample[at] = { k, shares: await this.#expect(segment, held) }
  }

  /** The place in the sample that the next segment gets, or `null`: each has the same chance to stay, however many there are (Vitter's R). */
  #draw(): number | null {
    this.#seen++
    if (this.#sample.length < this.#size) return this.#sample.push(null) - 1
    const at = this.#rng.below(this.#seen)
    return at < this.#size ? at : null
  }

  async #expect({ shares, addresses }: Segment, held: readonly (NodeId | null)[]): Promise<readonly Expected[]> {
    const expected: Expected[] = []
    for (const [at, share] of shares.entries()) {
      if (at % HASHES_PER_TURN === 0) await laterTurn(this.#clock)
      const node = held[at] ?? null
      if (node === null) continue
      const nonce = this.#rng.bytes(NONCE_BYTES)
      expected.push({ node, address: addresses[at]!.slice(), nonce, proof: shareProof(nonce, share) })
    }
    return expected
  }
}
