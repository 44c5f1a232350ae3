/**
 * A link in the thread of the links: what comes goes over to the node's thread as it is, what the node writes goes to the wire, and what is paced
 * here (`lane`, `flush`) goes between, whole cells both. The node's side of it is a `CellLink`.
 *
 * Threat: a peer that sends faster than the node works. The node's side says when to stop reading (`inbox.ts`); while records wait for room, all
 * links stop. Spec: SPEC.md §3.2, §3.3.
 */
import type { NodeId } from '../../bytes/index.ts'
import type { CircuitId } from '../../cell/index.ts'
import type { LinkFacts } from '../cell-link.ts'
import type { CellPools } from '../cell-pool.ts'
import type { Lane, LaneSource, LinkCloseReason } from '../index.ts'
import { type CellWire, Outbox, type WireUser } from '../lanes.ts'
import { encodeText, FromLinks, LINK_ENDS } from './kinds.ts'
import { RECORD_BYTES_MAX, type RecordWriter } from './record-ring.ts'

export interface CarriedLinkHooks {
  onEnded(link: CarriedLink): void
}

export class CarriedLink implements LaneSource, WireUser {
  readonly peer: NodeId
  readonly dialled: boolean
  readonly number: number
  readonly #wire: CellWire
  readonly #pools: CellPools
  readonly #outbox: Outbox
  readonly #events: RecordWriter
  readonly #hooks: CarriedLinkHooks
  /** Writes that are not finished: with the block that the node's cells are in, or without one for the outbox's. */
  readonly #written: { readonly block: Uint8Array | null; readonly bytes: number }[] = []
  #finishedWrites = 0
  #unfinishedBytes = 0
  #open = true
  /** The node does not want more now; records wait for room. */
  #paused = false
  #held = false

  constructor(number: number, facts: LinkFacts, wire: CellWire, pools: CellPools, events: RecordWriter, hooks: CarriedLinkHooks) {
    this.number = number
    this.peer = facts.peer
    this.dialled = facts.dialled
    this.#wire = wire
    this.#pools = pools
    this.#events = events
    this.#hooks = hooks
    const paced: CellWire = { ...NO_WIRE, write: (bytes) => this.#writeOut(bytes, null) }
    this.#outbox = new Outbox(paced, pools)
    events.write(FromLinks.OPENED, number, { bytes: encodeText(facts) })
  }

  get open(): boolean {
    return this.#open
  }

  get writing(): { readonly finishedWrites: number; readonly unfinishedBytes: number } {
    const { finishedWrites, unfinishedBytes } = this.#outbox
    return { finishedWrites: this.#finishedWrites + finishedWrites, unfinishedBytes: this.#unfinishedBytes + unfinishedBytes }
  }

  /** Whether reading was stopped for want of room, so that `release` is to be called. */
  get held(): boolean {
    return this.#held
  }

  lane(id: CircuitId): Lane {
    return this.#outbox.lane(id)
  }

  flush(): void {
    this.#outbox.flush()
  }

  #writeOut(cells: Uint8Array, block: Uint8Array | null): void {
    this.#written.push({ block, bytes: cells.length })
    this.#wire.write(cells)
  }

  // ---- What the wire and the host say.

  onBytes(chunk: Uint8Array): void {
    if (!this.#open) return
    for (let at = 0; at < chunk.length; at += RECORD_BYTES_MAX)
      this.#events.write(FromLinks.BYTES, this.number, { bytes: chunk.subarray(at, at + RECORD_BYTES_MAX) })
    if (!this.#events.full || this.#held) return
    this.#held = true
    this.#wire.pause()
  }

  /** There is room again. */
  release(): void {
    if (!this.#held) return
    this.#held = false
    if (this.#open && !this.#paused) this.#wire.resume()
  }

  onWritten(): void {
    const write = this.#written.shift()
    if (write === undefined) return
    if (write.block === null) return this.#outbox.onWritten()
    this.#finishedWrites++
    this.#unfinishedBytes -= write.bytes
    if (!this.#open) return
    this.#pools.blocks.give(write.block)
    this.#events.write(FromLinks.WRITTEN, this.number)
  }

  onEnd(reason: LinkCloseReason): void {
    if (!this.#open) return
    this.#wire.destroy()
    this.#end()
    this.#events.write(FromLinks.ENDED, this.number, { a: LINK_ENDS.indexOf(reason) })
  }

  close(reason: LinkCloseReason): void {
    if (!this.#open) return
    this.#finish(reason === 'local')
    this.#events.write(FromLinks.CLOSED, this.number, { a: LINK_ENDS.indexOf(reason) })
  }

  #end(): void {
    this.#open = false
    this.#outbox.close()
    this.#hooks.onEnded(this)
  }

  #finish(gently: boolean): void {
    if (gently) {
      this.#outbox.flush()
      this.#wire.end()
    } else this.#wire.destroy()
    this.#end()
  }

  // ---- What the node says.

  /** Whole cells, one block's at most. Borrowed until return. */
  write(cells: Uint8Array): void {
    if (!this.#open) return
    const block = this.#pools.blocks.take()
    block.set(cells)
    this.#unfinishedBytes += cells.length
    this.#outbox.flush() // what is queued here came first
    this.#writeOut(block.subarray(0, cells.length), block)
  }

  pause(): void {
    this.#paused = true
    this.#wire.pause()
  }

  resume(): void {
    this.#paused = false
    if (!this.#held) this.#wire.resume()
  }

  /** Ends once all is written. */
  finish(): void {
    if (this.#open) this.#finish(true)
  }

  destroy(): void {
    if (this.#open) this.#finish(false)
  }
}

/** What an outbox never asks of its wire. */
const NO_WIRE: Omit<CellWire, 'write'> = { pause() {}, resume() {}, end() {}, destroy() {} }
