/**
 * The incoming side of a link: bytes in, whole cells out. Bytes are copied once, into cell-aligned blocks, wherever the wire has cut them;
 * a turn takes at most one block's worth, back to back. It knows no clock and no receiver: `CellLink` drives it.
 *
 * Threat: a peer that sends faster than this node works. Above `INBOX_HIGH_CELLS` the link stops reading, so what is queued is bounded by
 * that and the last read; the peer's own queues and limits take the rest. Spec: SPEC.md §3.2, §3.3.
 */
import { CELL_BYTES } from '../cell/index.ts'
import type { BlockPool } from './cell-pool.ts'

// Implementation constants.
/** Whole cells queued on one link above which it stops reading. */
export const INBOX_HIGH_CELLS = 512
/** Whole cells queued below which it reads again. */
export const INBOX_LOW_CELLS = INBOX_HIGH_CELLS / 2
/** Whole cells queued above which the link is closed: a wire that goes on although it was told to pause. */
export const INBOX_CELLS_MAX = 8 * INBOX_HIGH_CELLS

export class Inbox {
  readonly #pool: BlockPool
  readonly #blockBytes: number
  /** Filled from the front of the first to `#fill` in the last. */
  readonly #blocks: Uint8Array[] = []
  /** Bytes of the first block already handed out. */
  #read = 0
  /** Bytes in the last block. */
  #fill = 0
  /** Bytes queued, a cell that is not whole yet included. */
  #bytes = 0

  constructor(pool: BlockPool) {
    this.#pool = pool
    this.#blockBytes = pool.blockCells * CELL_BYTES
  }

  /** Whole cells queued. */
  get cells(): number {
    return Math.floor(this.#bytes / CELL_BYTES)
  }

  /** Whether the bytes so far end within a cell. */
  get partial(): boolean {
    return this.#bytes % CELL_BYTES !== 0
  }

  /** Queues `chunk`, of any length and cut anywhere. Borrowed until return. */
  append(chunk: Uint8Array): void {
    const length = chunk.length
    this.#bytes += length
    for (let at = 0; at < length; ) {
      let block = this.#blocks[this.#blocks.length - 1]
      if (block === undefined || this.#fill === this.#blockBytes) {
        block = this.#pool.take()
        this.#blocks.push(block)
        this.#fill = 0
      }
      const room = this.#blockBytes - this.#fill
      const taken = Math.min(room, length - at)
      block.set(taken === length ? chunk : chunk.subarray(at, at + taken), this.#fill)
      this.#fill += taken
      at += taken
    }
  }

  /** The next whole cells, at most `most` and one block's, back to back; `null` if there are none. The caller's until `release`. */
  next(most: number): Uint8Array | null {
    const block = this.#blocks[0]
    if (block === undefined) return null
    const end = this.#blocks.length === 1 ? this.#fill : this.#blockBytes
    const count = Math.min(most, Math.floor((end - this.#read) / CELL_BYTES))
    return count === 0 ? null : block.subarray(this.#read, this.#read + count * CELL_BYTES)
  }

  /** Gives back what `next` returned, `bytes` long. */
  release(bytes: number): void {
    this.#read += bytes
    this.#bytes -= bytes
    const only = this.#blocks.length === 1
    if (this.#read < (only ? this.#fill : this.#blockBytes)) return
    this.#pool.give(this.#blocks.shift()!)
    this.#read = 0
    if (only) this.#fill = 0
  }

  /** Drops everything. The blocks go to the collector: a receiver that closes its link still has the first one in its hands. */
  clear(): void {
    this.#blocks.length = 0
    this.#read = 0
    this.#fill = 0
    this.#bytes = 0
  }
}
