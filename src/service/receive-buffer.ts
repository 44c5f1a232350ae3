/**
 * Bytes of a stream that came ahead of a gap, until the gap is filled. Pure. Held in blocks that are addressed by offset, so that pieces that
 * touch become one without being moved, and a peer that sends single bytes with gaps between them costs no object for each: what it can make
 * this end hold is the credit that it was given, one block more, and a bounded list of ranges. Spec: SPEC.md §11.6.
 */
import { Ranges } from './ranges.ts'

// Implementation constants.
/** About a payload: a peer that sends single bytes far apart makes this end hold a block for each stream, and has 65,536 streams. */
export const BLOCK_BYTES = 2 * 1024
/** Pieces with gaps between them. An honest sender leaves one gap for each lost payload at most, and has no more than 192 in flight. */
export const PIECES_MAX = 1024

export class ReceiveBuffer {
  readonly #blocks = new Map<number, Uint8Array>()
  readonly #pieces = new Ranges()

  /** Bytes held. */
  get held(): number {
    return this.#pieces.size
  }

  /** Bytes of memory for them. */
  get memoryBytes(): number {
    return this.#blocks.size * BLOCK_BYTES
  }

  get empty(): boolean {
    return this.#pieces.count === 0
  }

  /** Keeps `length` bytes of `bytes[at]` that belong at `offset`. `false`: more pieces than an honest sender makes. */
  put(offset: number, bytes: Uint8Array, at: number, length: number): boolean {
    if (length === 0) return true
    this.#pieces.add(offset, offset + length)
    if (this.#pieces.count > PIECES_MAX) return false
    const end = at + length
    while (at < end) {
      const index = Math.floor(offset / BLOCK_BYTES)
      let block = this.#blocks.get(index)
      if (block === undefined) {
        block = new Uint8Array(BLOCK_BYTES)
        this.#blocks.set(index, block)
      }
      const within = offset - index * BLOCK_BYTES
      const taken = Math.min(end - at, BLOCK_BYTES - within)
      block.set(bytes.subarray(at, at + taken), within)
      at += taken
      offset += taken
    }
    return true
  }

  /**
   * Hands over what is held from `offset` on without a gap, block by block, and returns where it ends. All before `offset` was given by other
   * ways and is let go. `give` may `clear`.
   */
  take(offset: number, give: (bytes: Uint8Array, at: number, length: number) => void): number {
    const { starts, ends } = this.#pieces
    while (starts.length > 0 && starts[0]! <= offset) {
      const end = ends[0]!
      if (end <= offset) {
        this.#pieces.dropFirst()
        continue
      }
      const index = Math.floor(offset / BLOCK_BYTES)
      const until = Math.min(end, (index + 1) * BLOCK_BYTES)
      if (until === end) this.#pieces.dropFirst()
      else starts[0] = until
      const from = offset
      offset = until
      give(this.#blocks.get(index)!, from - index * BLOCK_BYTES, until - from)
    }
    if (starts.length === 0) this.#blocks.clear()
    else for (const index of this.#blocks.keys()) if ((index + 1) * BLOCK_BYTES <= offset) this.#blocks.delete(index)
    return offset
  }

  clear(): void {
    this.#blocks.clear()
    this.#pieces.clear()
  }
}
