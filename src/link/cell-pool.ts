/**
 * The memory that links queue cells in, shared by all links of a host, bounded, and given back when idle. Two pools:
 *
 * - `BlockPool`: cell-aligned blocks of `TURN_CELLS` cells, in which bytes are read and written. What is out is bounded by its users
 *   (`INBOX_HIGH_CELLS`, `LINK_WRITE_AHEAD_BYTES`, both per link); the pool bounds what it keeps for reuse.
 * - `SlotPool`: single cells that wait in lanes while a socket is full. One bound for the whole host.
 *
 * Threat: a neighbour that stops reading makes us queue. One link gets `LINK_CELLS_MAX`, and never more than remain free for all others,
 * so that links which stall together cannot take the last slots from those that flow (dynamic thresholds: Choudhury and Hahne 1998).
 * Spec: SPEC.md §3.3.
 */
import { CELL_BYTES } from '../cell/index.ts'
import { TURN_CELLS } from './index.ts'
import { HostTurns } from './turns.ts'

// Implementation constants.
/** Cells in one block: what one turn handles and one write carries. */
export const BLOCK_CELLS = TURN_CELLS
/** Spare blocks that a pool keeps (64 KiB each). */
const SPARE_BLOCKS_MAX = 64
/** Cells that all links of a host together may have waiting in lanes: 64 MiB. */
export const HOST_CELLS_MAX = 32_768
/** Cells in one slab, the step in which a slot pool grows. */
const SLAB_CELLS = 64
/** Slots that an idle pool keeps: 2 MiB. A multiple of `SLAB_CELLS`. */
const SPARE_CELLS_MAX = 16 * SLAB_CELLS
/** No slot: the pool is exhausted, or the end of a list of slots. */
export const NO_SLOT = -1

/** Blocks of `blockCells` cells for reading and writing. */
export class BlockPool {
  readonly blockCells: number
  readonly #spare: Uint8Array[] = []

  /** A simulation of hundreds of nodes passes fewer cells than `BLOCK_CELLS`, to be small. */
  constructor(blockCells: number = BLOCK_CELLS) {
    this.blockCells = blockCells
  }

  /** A block with arbitrary content, the caller's until `give`. */
  take(): Uint8Array {
    return this.#spare.pop() ?? new Uint8Array(new ArrayBuffer(this.blockCells * CELL_BYTES))
  }

  give(block: Uint8Array): void {
    if (this.#spare.length < SPARE_BLOCKS_MAX) this.#spare.push(block)
  }
}

/** Numbered single-cell slots in lists: the storage of all lanes of a host. */
export class SlotPool {
  readonly maxCells: number
  /** Each slot's own cell-long view of its slab, made once so that using it allocates nothing. */
  #cells: Uint8Array[] = []
  /** For each slot in use its successor in the list it is in; for each free one the next free one. */
  #next: Int32Array
  /** When each slot was taken, in numbers of its user's. */
  #stamps: Uint32Array
  #free = NO_SLOT
  #used = 0

  constructor(maxCells: number = HOST_CELLS_MAX) {
    this.maxCells = maxCells
    this.#next = new Int32Array(SLAB_CELLS)
    this.#stamps = new Uint32Array(SLAB_CELLS)
  }

  /** Cells now waiting, over all links. */
  get usedCells(): number {
    return this.#used
  }

  /** Whether a link that holds `held` slots may take one more. */
  mayTake(held: number): boolean {
    return held < this.maxCells - this.#used
  }

  /** A slot, its successor being `NO_SLOT`; or `NO_SLOT`. `stamp` (u32) is kept with it. */
  take(stamp = 0): number {
    if (this.#used >= this.maxCells) return NO_SLOT
    if (this.#free === NO_SLOT) this.#grow()
    const slot = this.#free
    this.#free = this.#next[slot]!
    this.#next[slot] = NO_SLOT
    this.#stamps[slot] = stamp
    this.#used++
    return slot
  }

  give(slot: number): void {
    this.#next[slot] = this.#free
    this.#free = slot
    this.#used--
    if (this.#used === 0 && this.#cells.length > SPARE_CELLS_MAX) this.#shrink()
  }

  next(slot: number): number {
    return this.#next[slot]!
  }

  stamp(slot: number): number {
    return this.#stamps[slot]!
  }

  setNext(slot: number, next: number): void {
    this.#next[slot] = next
  }

  /** The `CELL_BYTES` of `slot`. */
  cell(slot: number): Uint8Array {
    return this.#cells[slot]!
  }

  #grow(): void {
    const first = this.#cells.length
    const slab = new ArrayBuffer(SLAB_CELLS * CELL_BYTES)
    for (let at = 0; at < slab.byteLength; at += CELL_BYTES) this.#cells.push(new Uint8Array(slab, at, CELL_BYTES))
    if (first + SLAB_CELLS > this.#next.length) {
      const longer = new Int32Array(this.#next.length * 2)
      longer.set(this.#next)
      this.#next = longer
      const stamps = new Uint32Array(longer.length)
      stamps.set(this.#stamps)
      this.#stamps = stamps
    }
    for (let slot = first + SLAB_CELLS - 1; slot >= first; slot--) {
      this.#next[slot] = this.#free
      this.#free = slot
    }
  }

  /** Called when no slot is in use: lets go of the memory that a jam has made it take. */
  #shrink(): void {
    this.#cells = this.#cells.slice(0, SPARE_CELLS_MAX)
    this.#free = NO_SLOT
    for (let slot = SPARE_CELLS_MAX - 1; slot >= 0; slot--) {
      this.#next[slot] = this.#free
      this.#free = slot
    }
  }
}

/** What the links of one host share. */
export interface CellPools {
  readonly blocks: BlockPool
  readonly slots: SlotPool
  readonly turns: HostTurns
}

export function cellPools({ blockCells, maxCells }: { blockCells?: number; maxCells?: number } = {}): CellPools {
  return { blocks: new BlockPool(blockCells), slots: new SlotPool(maxCells), turns: new HostTurns() }
}
