/**
 * The link that every transport shares: `Outbox` and `Inbox` over a `CellWire`, turns, back-pressure, and the way a link ends. A transport
 * makes a wire, passes what arrives to `onBytes`, `onWritten` and `onEnd`, and does nothing else.
 *
 * Life: cells that arrive before `start` wait. Open until either side closes: a local `close` drops what is queued here, a remote one lets
 * the cells that had come before it be handled first; then `onClose`, once, in a later turn.
 * Turns are shared by time, not by cells (`turns.ts`).
 * Threat: see `lanes.ts` and `inbox.ts`; a peer that makes this node work more than others do; a stream that ends within a cell closes this link with reason `protocol`, and nothing else.
 * Spec: SPEC.md §3.2, §3.3.
 */
import type { NodeId } from '../bytes/index.ts'
import { CELL_BYTES, type CircuitId } from '../cell/index.ts'
import type { Clock } from '../runtime/index.ts'
import type { CellPools } from './cell-pool.ts'
import { INBOX_CELLS_MAX, INBOX_HIGH_CELLS, INBOX_LOW_CELLS, Inbox } from './inbox.ts'
import { type Lane, type Link, type LinkCloseReason, type LinkReceiver, TURN_CELLS } from './index.ts'
import { type CellWire, Outbox, type WireUser } from './lanes.ts'
import { TurnAccount } from './turns.ts'

/** Who a link is between, and how. */
export interface LinkFacts {
  readonly self: NodeId
  readonly peer: NodeId
  readonly dialled: boolean
  readonly transport: Link['transport']
}

/** What a link tells its host. */
export interface LinkHooks {
  /** The link has ended; the receiver hears of it later. Once. */
  onEnded(link: CellLink): void
  /** The receiver threw, which only a bug does; the link is closed with reason `error`. */
  onFault(error: unknown): void
}

export class CellLink implements Link, WireUser {
  readonly peer: NodeId
  readonly dialled: boolean
  readonly transport: Link['transport']
  readonly even: boolean
  readonly #clock: Clock
  readonly #turns: TurnAccount
  readonly #wire: CellWire
  readonly #inbox: Inbox
  readonly #outbox: Outbox
  readonly #hooks: LinkHooks
  #receiver: LinkReceiver | null = null
  #ended: LinkCloseReason | null = null
  /** Whether the cells that came before the end are still to be handled. */
  #draining = false
  #closeTold = false
  #turnAsked = false
  #paused = false
  /** Made once: asking for a turn allocates nothing. */
  readonly #turn = () => this.#takeTurn()

  constructor(facts: LinkFacts, wire: CellWire, pools: CellPools, clock: Clock, hooks: LinkHooks) {
    this.peer = facts.peer
    this.dialled = facts.dialled
    this.transport = facts.transport
    this.even = facts.self < facts.peer
    this.#clock = clock
    this.#turns = new TurnAccount(pools.turns)
    this.#wire = wire
    this.#inbox = new Inbox(pools.blocks)
    this.#outbox = new Outbox(wire, pools)
    this.#hooks = hooks
  }

  get open(): boolean {
    return this.#ended === null
  }

  /** Cells waiting in the lanes of this link. */
  get waitingCells(): number {
    return this.#outbox.waitingCells
  }

  /** How the wire takes what is written: a host ends links on which nothing moves. */
  get writing(): { readonly finishedWrites: number; readonly unfinishedBytes: number } {
    return { finishedWrites: this.#outbox.finishedWrites, unfinishedBytes: this.#outbox.unfinishedBytes }
  }

  /** Whole cells that have come and were not handled yet. */
  get queuedCells(): number {
    return this.#inbox.cells
  }

  /** Whether cells may still be handed out. */
  get #live(): boolean {
    return this.#ended === null || this.#draining
  }

  start(receiver: LinkReceiver): void {
    this.#receiver = receiver
    this.#askTurn()
  }

  lane(id: CircuitId): Lane {
    return this.#outbox.lane(id)
  }

  flush(): void {
    this.#outbox.flush()
  }

  bill(ms: number): void {
    this.#turns.bill(ms)
  }

  close(reason: LinkCloseReason): void {
    if (!this.#live) return
    const first = this.#ended === null
    if (first && reason === 'local') this.#outbox.flush()
    this.#draining = false
    this.#ended ??= reason
    this.#inbox.clear()
    if (first) {
      this.#outbox.close()
      if (reason === 'local') this.#wire.end()
      else this.#wire.destroy()
      this.#hooks.onEnded(this)
    }
    this.#askTurn()
  }

  // ---- What the transport calls.

  /** Bytes that came, cut anywhere. Borrowed until return. */
  onBytes(chunk: Uint8Array): void {
    if (this.#ended !== null) return
    this.#inbox.append(chunk)
    if (this.#inbox.cells > INBOX_CELLS_MAX) return this.close('overload')
    if (this.#inbox.cells > 0) this.#askTurn()
    if (!this.#paused && this.#inbox.cells >= INBOX_HIGH_CELLS) {
      this.#paused = true
      this.#wire.pause()
    }
  }

  /** The wire has finished its oldest write. */
  onWritten(): void {
    this.#outbox.onWritten()
  }

  /** The wire has ended, or this side's transport gives it up. A stream that ends within a cell is a breach of protocol. */
  onEnd(reason: LinkCloseReason): void {
    if (this.#ended !== null) return
    this.#ended = reason === 'remote' && this.#inbox.partial ? 'protocol' : reason
    this.#draining = true
    this.#outbox.close()
    this.#wire.destroy()
    this.#hooks.onEnded(this)
    this.#askTurn()
  }

  // ---- Turns.

  #askTurn(again = false): void {
    if (this.#turnAsked || this.#receiver === null) return
    this.#turnAsked = true
    this.#turns.wait(again)
    this.#clock.nextTurn(this.#turn)
  }

  #takeTurn(): void {
    this.#turnAsked = false
    this.#turns.come()
    const receiver = this.#receiver
    if (receiver === null || this.#closeTold) return
    if (this.#live && !this.#turns.mayTake()) return this.#askTurn(true)
    const cells = this.#live ? this.#inbox.next(TURN_CELLS) : null
    if (cells === null) {
      if (this.#ended !== null) this.#tellClose(receiver, this.#ended)
      return
    }
    const began = this.#clock.monotonicMs()
    try {
      receiver.onCells(this, cells, cells.length / CELL_BYTES)
      receiver.onTurnEnd()
    } catch (error) {
      // A fault of ours that a peer's cells set off must cost this link, not the node. The host reports it.
      this.#hooks.onFault(error)
      this.close('error')
    }
    this.#turns.spent(this.#clock.monotonicMs() - began)
    // The receiver may have closed this link: then the inbox is empty, and the block no longer ours.
    if (this.#live) this.#inbox.release(cells.length)
    if (this.#paused && this.#ended === null && this.#inbox.cells < INBOX_LOW_CELLS) {
      this.#paused = false
      this.#wire.resume()
    }
    if (this.#inbox.cells > 0 || this.#ended !== null) this.#askTurn(true)
  }

  #tellClose(receiver: LinkReceiver, reason: LinkCloseReason): void {
    this.#closeTold = true
    this.#inbox.clear()
    try {
      receiver.onClose(this, reason)
    } catch (error) {
      this.#hooks.onFault(error) // the link is gone already: nothing more to end
    }
  }
}
