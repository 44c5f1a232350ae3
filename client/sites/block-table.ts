/**
 * The blocks that a publication of a site can refer to instead of uploading them: by hash, where they lie. Typed arrays and open addressing:
 * 37 bytes a block, 40 MiB for the largest site, and nothing for the garbage collector to walk.
 *
 * Hashes are keyed with a secret of the site (see `packer.ts`), so nobody who contributes a file can make two blocks meet in their 16 bytes,
 * nor make the table slow.
 */
import { readU32 } from '../../src/bytes/index.ts'

/** Bytes of a block's hash. */
export const BLOCK_HASH_BYTES = 16
/** Blocks remembered of one site: 64 GiB of full ones. Further ones are uploaded anew each time. */
export const SITE_BLOCKS_MAX = 1_048_576

const FIRST_CAPACITY = 1024

/** A block's place. */
export interface BlockPlace {
  readonly pack: number
  readonly offset: number
  readonly length: number
}

export class BlockTable {
  #count = 0
  #hashes = new Uint8Array(FIRST_CAPACITY * BLOCK_HASH_BYTES)
  #packs = new Uint8Array(FIRST_CAPACITY)
  #offsets = new Float64Array(FIRST_CAPACITY)
  #lengths = new Uint32Array(FIRST_CAPACITY)
  /** 1: the version being made uses it. */
  #used = new Uint8Array(FIRST_CAPACITY)
  /** Number of a block plus one; 0: free. Twice as many as blocks, a power of two. */
  #slots = new Int32Array(2 * FIRST_CAPACITY)

  /** Blocks in it. */
  get size(): number {
    return this.#count
  }

  /** Adds a block, in use or not. One that is in it already stays the one that is found. `false`: the table is full. */
  add(hash: Uint8Array, { pack, offset, length }: BlockPlace, used: boolean): boolean {
    if (this.#count >= SITE_BLOCKS_MAX) return false
    if (this.#count === this.#packs.length) this.#grow()
    const block = this.#count++
    this.#hashes.set(hash.subarray(0, BLOCK_HASH_BYTES), block * BLOCK_HASH_BYTES)
    this.#packs[block] = pack
    this.#offsets[block] = offset
    this.#lengths[block] = length
    this.#used[block] = used ? 1 : 0
    this.#insert(block)
    return true
  }

  /** The place of the block with this hash, which is from now on in use; or `null`. */
  use(hash: Uint8Array): BlockPlace | null {
    const mask = this.#slots.length - 1
    for (let slot = readU32(hash, 0) & mask; ; slot = (slot + 1) & mask) {
      const block = this.#slots[slot]! - 1
      if (block < 0) return null
      if (!this.#isAt(block, hash)) continue
      this.#used[block] = 1
      return { pack: this.#packs[block]!, offset: this.#offsets[block]!, length: this.#lengths[block]! }
    }
  }

  /** Bytes in use of each of the first `packs` packs. */
  liveBytes(packs: number): number[] {
    const live = new Array<number>(packs).fill(0)
    for (let block = 0; block < this.#count; block++) {
      if (this.#used[block] === 1) live[this.#packs[block]!]! += this.#lengths[block]!
    }
    return live
  }

  /** Hash and length of every block of `pack`, in order of their being added. `hash` is a view. */
  *blocksOf(pack: number): Generator<{ readonly hash: Uint8Array; readonly length: number }> {
    for (let block = 0; block < this.#count; block++) {
      if (this.#packs[block] !== pack) continue
      const at = block * BLOCK_HASH_BYTES
      yield { hash: this.#hashes.subarray(at, at + BLOCK_HASH_BYTES), length: this.#lengths[block]! }
    }
  }

  #isAt(block: number, hash: Uint8Array): boolean {
    const at = block * BLOCK_HASH_BYTES
    for (let index = 0; index < BLOCK_HASH_BYTES; index++) if (this.#hashes[at + index] !== hash[index]) return false
    return true
  }

  #insert(block: number): void {
    const mask = this.#slots.length - 1
    let slot = readU32(this.#hashes, block * BLOCK_HASH_BYTES) & mask
    while (this.#slots[slot] !== 0) slot = (slot + 1) & mask
    this.#slots[slot] = block + 1
  }

  #grow(): void {
    const capacity = 2 * this.#packs.length
    const grown = <T extends { set(from: T): void }>(larger: T, from: T): T => {
      larger.set(from)
      return larger
    }
    this.#hashes = grown(new Uint8Array(capacity * BLOCK_HASH_BYTES), this.#hashes)
    this.#packs = grown(new Uint8Array(capacity), this.#packs)
    this.#offsets = grown(new Float64Array(capacity), this.#offsets)
    this.#lengths = grown(new Uint32Array(capacity), this.#lengths)
    this.#used = grown(new Uint8Array(capacity), this.#used)
    this.#slots = new Int32Array(2 * capacity)
    for (let block = 0; block < this.#count; block++) this.#insert(block)
  }
}
