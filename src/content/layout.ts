/**
 * The shape of a publication, which follows from its length and spread alone: how it is padded, how many blocks and segments each level
 * has, and where an address lies in the level above. Pure arithmetic, shared by publishing, opening and reading. Spec: SPEC.md §7.3, §7.4.
 *
 * Level 0 is the content. The share addresses of a level, segment after segment and back to back, are the bytes of the level above it, until
 * they fit the root.
 */
import {
  CONTENT_BYTES_MAX,
  LEVELS_MAX,
  ROOT_ADDRESSES_BYTES,
  SEGMENT_BLOCKS,
  SHARE_ADDRESS_BYTES,
  SHARE_BYTES,
} from './constants.ts'
import { SPREAD_MAX, sharesOf } from './spread.ts'

/**
 * The length to which content of `length` bytes is padded: Padmé (Nikitin, Barman, Lueks, Underwood, Hubaux and Ford, "Reducing Metadata
 * Leakage from Encrypted Files and Communication with PURBs", 2019, §4). At most 12 % more, and few different lengths.
 */
export function paddedLength(length: number): number {
  if (length < 2) return length
  const exponent = floorLog2(length)
  const kept = floorLog2(exponent) + 1
  const unit = 2 ** (exponent - kept)
  return Math.ceil(length / unit) * unit
}

/** floor(log2(value)) of an integer from 1 to 2^53, exact: `Math.log2` alone may round up next to a power of two. */
function floorLog2(value: number): number {
  let exponent = Math.floor(Math.log2(value))
  if (2 ** exponent > value) exponent--
  if (2 ** (exponent + 1) <= value) exponent++
  return exponent
}

/** One segment: `k` data blocks among `n` shares. */
export interface SegmentShape {
  readonly k: number
  readonly n: number
  /** Where its addresses begin in the level above, in bytes. */
  readonly addressesAt: number
}

/** One level of a publication. */
export class LevelShape {
  /** 0 is the content. */
  readonly level: number
  readonly blocks: number
  readonly segments: number
  /** Bytes of all its share addresses: the length of the level above, or of the root's list. */
  readonly addressBytes: number
  readonly #spread: number
  readonly #fullShares: number

  constructor(level: number, blocks: number, spread: number) {
    this.level = level
    this.blocks = blocks
    this.segments = Math.ceil(blocks / SEGMENT_BLOCKS)
    this.#spread = spread
    this.#fullShares = sharesOf(SEGMENT_BLOCKS, spread)
    const last = this.segment(this.segments - 1)
    this.addressBytes = last.addressesAt + last.n * SHARE_ADDRESS_BYTES
  }

  /** The shape of segment `index`, which is below `segments`. */
  segment(index: number): SegmentShape {
    const k = Math.min(SEGMENT_BLOCKS, this.blocks - index * SEGMENT_BLOCKS)
    return { k, n: sharesOf(k, this.#spread), addressesAt: index * this.#fullShares * SHARE_ADDRESS_BYTES }
  }
}

/** Blocks of a level of `bytes` bytes. Even nothing is one block: an empty publication looks like a small one. */
function blocksOf(bytes: number): number {
  return Math.max(1, Math.ceil(bytes / SHARE_BYTES))
}

/** Whether `length` and `spread` are ones that a root may state. */
export function isShape(length: number, spread: number): boolean {
  return Number.isInteger(length) && length >= 0 && length <= CONTENT_BYTES_MAX && spread >= 1 && spread <= SPREAD_MAX
}

/** Every level of a publication, the content first; the addresses of the last one are in the root. */
export function shapeOf(length: number, spread: number): readonly LevelShape[] {
  if (!isShape(length, spread)) throw new RangeError(`no publication of ${length} bytes on ${spread} holders`)
  const levels = [new LevelShape(0, blocksOf(paddedLength(length)), spread)]
  for (;;) {
    const top = levels.at(-1)!
    if (top.addressBytes <= ROOT_ADDRESSES_BYTES) return levels
    if (levels.length > LEVELS_MAX) throw new RangeError('too many levels')
    levels.push(new LevelShape(levels.length, blocksOf(top.addressBytes), spread))
  }
}
