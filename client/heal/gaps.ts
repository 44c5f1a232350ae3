/**
 * What one read had to go round: notes which holders did not have their shares, computes these from what the read has anyway, and hands them
 * to the healer when the read is over, never before. Spec: SPEC.md §7.7. It never delays the read: shares are computed in later turns of the
 * event loop, one segment at a time, and what is too much is let go.
 *
 * Only what hashes to its address is put back: parity that a publisher made inconsistent cannot be healed, and harms nobody but its readers.
 */
import type { NodeId } from '../../src/bytes/index.ts'
import { SHARE_ADDRESS_BYTES } from '../../src/content/constants.ts'
import { type IndexedShare, rebuildShares } from '../../src/content/erasure.ts'
import type { Ranking } from '../../src/content/placement.ts'
import type { RootKeys } from '../../src/content/root.ts'
import { isShareOf } from '../../src/content/share.ts'
import { signSlot } from '../../src/content/slot.ts'
import type { Clock } from '../../src/runtime/index.ts'
import { type GapKind, type Loss, lostShare, lostSlot } from './losses.ts'

// Implementation constants.
/** Segments whose missing shares wait to be computed: at most 2.5 MiB. */
const SEGMENTS_WAITING_MAX = 4
/** Missing shares kept of one read: 2 MiB. Further ones are left to other reads, and to keepers. */
const LOSSES_MAX = 32

/** A segment that a read is done with. */
export interface SeenSegment {
  readonly k: number
  /** n × 32. */
  readonly addresses: Uint8Array
  /** Who should have each share. */
  readonly placed: readonly NodeId[]
  /** Verified; not changed any more. */
  readonly shares: readonly IndexedShare[]
  /** Shares that the node that should have them did not give. */
  readonly gaps: ReadonlyMap<number, GapKind>
}

/** A root that was found. */
export interface SeenRoot {
  readonly keys: RootKeys
  readonly sealed: Uint8Array
  /** Who should have each slot, as many as the publication has. */
  readonly placed: readonly NodeId[]
  readonly gaps: ReadonlyMap<number, GapKind>
}

export interface GapParts {
  readonly ranking: Ranking
  readonly clock: Clock
  /** Takes what is missing, once the read is over. */
  readonly heal: (loss: Loss) => void
}

export class ReadGaps {
  readonly #parts: GapParts
  readonly #waiting: SeenSegment[] = []
  readonly #losses: Loss[] = []
  #found = 0
  #ended = false

  constructor(parts: GapParts) {
    this.#parts = parts
  }

  /** Takes note of a segment with gaps. */
  segment(seen: SeenSegment): void {
    if (this.#waiting.length >= SEGMENTS_WAITING_MAX || this.#found >= LOSSES_MAX) return
    if (this.#waiting.push(seen) === 1) this.#parts.clock.nextTurn(() => this.#computeNext())
  }

  root({ keys, sealed, placed, gaps }: SeenRoot): void {
    const { ranking } = this.#parts
    for (const [slot, kind] of gaps) {
      const proper = placed[slot]
      if (proper === undefined) continue
      this.#add(lostSlot(signSlot(keys.signing, slot, sealed), { ranking, placed, proper, kind }))
    }
  }

  /** The read is over, however it ended. */
  end(): void {
    this.#ended = true
    for (const loss of this.#losses.splice(0)) this.#parts.heal(loss)
  }

  #computeNext(): void {
    const seen = this.#waiting.shift()
    if (seen === undefined) return
    if (this.#waiting.length > 0) this.#parts.clock.nextTurn(() => this.#computeNext())
    const { ranking } = this.#parts
    const have = new Map(seen.shares.map((share) => [share.index, share.bytes]))
    const gone = [...seen.gaps.keys()].filter((index) => !have.has(index))
    const rebuilt = seen.shares.length >= seen.k ? rebuildShares(seen.k, seen.shares, gone) : []
    for (const [at, index] of gone.entries()) if (rebuilt[at] !== undefined) have.set(index, rebuilt[at])
    for (const [index, kind] of seen.gaps) {
      const share = have.get(index)
      const proper = seen.placed[index]
      const address = seen.addresses.slice(index * SHARE_ADDRESS_BYTES, (index + 1) * SHARE_ADDRESS_BYTES)
      if (share === undefined || proper === undefined || !isShareOf(share, address)) continue
      this.#add(lostShare(share, address, { ranking, placed: seen.placed, proper, kind }))
    }
  }

  #add(loss: Loss): void {
    if (this.#found >= LOSSES_MAX) return
    this.#found++
    if (this.#ended) this.#parts.heal(loss)
    else this.#losses.push(loss)
  }
}
