/**
 * The outgoing side of a link: lanes in, whole blocks of cells out. It owns fairness between circuits and the limits on what waits; the
 * wire below it (`CellWire`) only takes blocks and says when it has finished one. Stages of a cell:
 *
 * 1. `Lane.push` with room on the wire: header and body are copied once, straight into the block being filled.
 * 2. `flush()`: that block goes to the wire in one write. A block that fills up before goes at once.
 * 3. With `LINK_WRITE_AHEAD_BYTES` unfinished on the wire: `push` puts the cell into a slot of its lane. Each block that the wire finishes
 *    makes room for as many cells, taken one from each lane in turn.
 *
 * No allocation, closure, promise or event per cell. Threat: one circuit that floods must not delay the others (turns between lanes), nor
 * make memory grow (`LANE_CELLS_MAX`, `LINK_CELLS_MAX`, `SlotPool`). Policy at a lane's limit: refuse, and the caller ends the circuit. At the
 * link's, the lane goes whose first cell has waited longest (as Tor does: Jansen and others 2014): one that is full is not served faster than one
 * with a single cell, so it is those that queue most. It takes nothing more, and its circuit ends with its next cell.
 * Spec: SPEC.md §3.2, §3.3.
 */
import {
  BODY_BYTES,
  CELL_BYTES,
  CELL_HEADER_BYTES,
  type CircuitId,
  type Command,
  NO_CIRCUIT,
  writeHeader,
} from '../cell/index.ts'
import { type CellPools, NO_SLOT } from './cell-pool.ts'
import { LANE_CELLS_MAX, type Lane, LINK_CELLS_MAX, LINK_WRITE_AHEAD_BYTES, type LinkCloseReason } from './index.ts'

// Implementation constant.
/** Most writes unfinished on one wire: each holds a whole block, however few cells it carries, so bytes alone would not bound memory. */
const WRITES_AHEAD_MAX = 8

/** Lanes looked at for the one whose first cell has waited longest, from the next to be served on. */
const LOOKED_AT_MAX = 1024

/** What lies under a link: takes blocks in order. */
export interface CellWire {
  /** Writes `bytes` (whole cells; not to be changed until `onWritten` was called for it). `onWritten` calls come in order, never within `write`. */
  write(bytes: Uint8Array): void
  /** Stop and go on delivering what comes in. What is on its way may still come after `pause`. */
  pause(): void
  resume(): void
  /** Ends both directions once what was written is on its way. */
  end(): void
  /** Ends both directions at once. */
  destroy(): void
}

/** What a wire tells whoever stands on it. */
export interface WireUser {
  /** Bytes that came, cut anywhere. Borrowed until return. */
  onBytes(chunk: Uint8Array): void
  /** The wire has finished its oldest write. */
  onWritten(): void
  /** The wire has ended. */
  onEnd(reason: LinkCloseReason): void
}

/** The outgoing side of one link. */
export class Outbox {
  readonly #wire: CellWire
  readonly #pools: CellPools
  readonly #blockBytes: number
  #open = true
  /** The block being filled, and how far. */
  #block: Uint8Array | null = null
  #blockFill = 0
  /** Writes handed to the wire and not finished, oldest first. At most `WRITES_AHEAD_MAX`, and one. */
  readonly #written: { readonly block: Uint8Array; readonly bytes: number }[] = []
  #unfinishedBytes = 0
  #finishedWrites = 0
  /** The lane served last, in a ring of all lanes in which cells wait. */
  #served: CellLane | null = null
  #waitingCells = 0
  /** Numbers cells that begin to wait, u32. */
  #stamp = 0

  constructor(wire: CellWire, pools: CellPools) {
    this.#wire = wire
    this.#pools = pools
    this.#blockBytes = pools.blocks.blockCells * CELL_BYTES
  }

  /** Cells waiting in lanes. */
  get waitingCells(): number {
    return this.#waitingCells
  }

  /** Bytes that the wire has taken and not finished. */
  get unfinishedBytes(): number {
    return this.#unfinishedBytes
  }

  /** Writes that the wire has finished since the start: stands still while the peer takes nothing. */
  get finishedWrites(): number {
    return this.#finishedWrites
  }

  lane(id: CircuitId): Lane {
    return new CellLane(this, id)
  }

  /** Stage 1 or 3 for one cell of `lane`. */
  push(lane: CellLane, command: Command, body: Uint8Array): boolean {
    if (!this.#open || body.length !== BODY_BYTES) return false
    // Cells that wait go first: a lane's cells stay in order, and lanes that wait are not overtaken.
    if (this.#waitingCells === 0 && this.#hasRoom()) {
      const block = this.#block ?? this.#takeBlock()
      const at = this.#blockFill
      writeHeader(block, at, lane.id, command)
      block.set(body, at + CELL_HEADER_BYTES)
      this.#blockFill = at + CELL_BYTES
      if (this.#blockFill === this.#blockBytes) this.flush()
      return true
    }
    return this.#wait(lane, command, body)
  }

  /** Stage 2. */
  flush(): void {
    const block = this.#block
    if (block === null || !this.#open) return
    const fill = this.#blockFill
    this.#block = null
    this.#blockFill = 0
    this.#written.push({ block, bytes: fill })
    this.#unfinishedBytes += fill
    this.#wire.write(fill === block.length ? block : block.subarray(0, fill))
  }

  /** The wire has finished the oldest write. */
  onWritten(): void {
    const write = this.#written.shift()
    if (write === undefined) return
    this.#unfinishedBytes -= write.bytes
    this.#finishedWrites++
    // A wire that is being torn down may still look at its blocks: they go to the collector, not to the next link.
    if (!this.#open) return
    this.#pools.blocks.give(write.block)
    if (this.#waitingCells > 0) this.#refill()
  }

  /** Drops what waits and refuses from now on. Blocks on the wire stay its own until it says that they are finished. */
  close(): void {
    this.#open = false
    if (this.#block !== null) this.#pools.blocks.give(this.#block)
    this.#block = null
    while (this.#served !== null) this.forget(this.#served)
  }

  /** Drops what waits in `lane`. */
  forget(lane: CellLane): void {
    const { slots } = this.#pools
    if (lane.count === 0) return
    for (let slot = lane.head; slot !== NO_SLOT; ) {
      const next = slots.next(slot)
      slots.give(slot)
      slot = next
    }
    this.#waitingCells -= lane.count
    lane.count = 0
    lane.head = NO_SLOT
    lane.tail = NO_SLOT
    this.#leaveRing(lane)
  }

  #hasRoom(): boolean {
    return this.#unfinishedBytes + this.#blockFill < LINK_WRITE_AHEAD_BYTES && this.#written.length < WRITES_AHEAD_MAX
  }

  #takeBlock(): Uint8Array {
    this.#blockFill = 0
    this.#block = this.#pools.blocks.take()
    return this.#block
  }

  /** Stage 3: queues the cell in its lane, or refuses it. */
  #wait(lane: CellLane, command: Command, body: Uint8Array): boolean {
    const { slots } = this.#pools
    if (lane.count >= LANE_CELLS_MAX) return false
    if ((this.#waitingCells >= LINK_CELLS_MAX || !slots.mayTake(this.#waitingCells)) && !this.#makeRoom(lane)) return false
    const slot = slots.take(this.#stamp)
    if (slot === NO_SLOT) return false
    this.#stamp = (this.#stamp + 1) >>> 0
    const cell = slots.cell(slot)
    writeHeader(cell, 0, lane.id, command)
    cell.set(body, CELL_HEADER_BYTES)
    if (lane.count === 0) {
      lane.head = slot
      this.#joinRing(lane)
    } else {
      slots.setNext(lane.tail, slot)
    }
    lane.tail = slot
    lane.count++
    this.#waitingCells++
    return true
  }

  /** Gives up the lane whose first cell has waited longest. `false`: it is `lane` itself, or there is none. Control's own is never given up. */
  #makeRoom(lane: CellLane): boolean {
    const { slots } = this.#pools
    let longest: CellLane | null = null
    let waited = -1
    let one = this.#served
    for (let looked = 0; one !== null && looked < LOOKED_AT_MAX; looked++) {
      one = one.next
      const since = (this.#stamp - slots.stamp(one.head)) >>> 0
      if (one.id !== NO_CIRCUIT && since > waited) {
        waited = since
        longest = one
      }
      if (one === this.#served) break
    }
    if (longest === null || longest === lane) return false
    longest.close() // what comes later would miss what came before: it takes nothing more
    return slots.mayTake(this.#waitingCells)
  }

  /** Takes waiting cells, one from each lane in turn, until the wire is full again or nothing waits, and writes them. */
  #refill(): void {
    const { slots } = this.#pools
    while (this.#waitingCells > 0 && this.#hasRoom()) {
      const lane = this.#served!.next
      this.#served = lane
      const slot = lane.head
      const block = this.#block ?? this.#takeBlock()
      block.set(slots.cell(slot), this.#blockFill)
      this.#blockFill += CELL_BYTES
      lane.head = slots.next(slot)
      lane.count--
      this.#waitingCells--
      slots.give(slot)
      if (lane.count === 0) {
        lane.tail = NO_SLOT
        this.#leaveRing(lane)
      }
      if (this.#blockFill === this.#blockBytes) this.flush()
    }
    this.flush()
  }

  /** Puts `lane` where its turn comes last. */
  #joinRing(lane: CellLane): void {
    const served = this.#served
    if (served === null) {
      lane.next = lane
      lane.previous = lane
    } else {
      lane.next = served.next
      lane.previous = served
      served.next.previous = lane
      served.next = lane
    }
    this.#served = lane
  }

  #leaveRing(lane: CellLane): void {
    if (lane.next === lane) {
      this.#served = null
    } else {
      lane.previous.next = lane.next
      lane.next.previous = lane.previous
      if (this.#served === lane) this.#served = lane.previous
    }
    lane.next = lane
    lane.previous = lane
  }
}

/** See `Lane`. The fields below `id` belong to the outbox, which threads its lists through them. */
export class CellLane implements Lane {
  readonly id: CircuitId
  readonly #outbox: Outbox
  #open = true
  /** Slots of the first and last cell that wait here, and how many do. */
  head = NO_SLOT
  tail = NO_SLOT
  count = 0
  /** Neighbours in the ring of lanes in which cells wait. */
  next: CellLane = this
  previous: CellLane = this

  constructor(outbox: Outbox, id: CircuitId) {
    this.#outbox = outbox
    this.id = id
  }

  get queuedCells(): number {
    return this.count
  }

  push(command: Command, body: Uint8Array): boolean {
    return this.#open && this.#outbox.push(this, command, body)
  }

  close(): void {
    if (!this.#open) return
    this.#open = false
    this.#outbox.forget(this)
  }
}
