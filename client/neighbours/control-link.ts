/**
 * Control messages over one link: cuts them into CONTROL cells, waits when the lane is full, puts together what comes. Bounded: at most
 * `PENDING_CELLS_MAX` cells wait here; beyond that whole messages are dropped and counted (gossip repairs what was lost; a greeting is
 * the first message and always fits). After the greeting a neighbour link may have constant slots for all of them (`pace`): when they go
 * says nothing then. Spec: SPEC.md §3.4, §4.5.
 */
import { Command, NO_CIRCUIT } from '../../src/cell/index.ts'
import { ControlReassembler, toControlBodies } from '../../src/directory/index.ts'
import type { Lane, Link } from '../../src/link/index.ts'
import { type ControlMessage, encodeControl, parseControl } from '../../src/wire/index.ts'

// Implementation constant.
const PENDING_CELLS_MAX = 512

export class ControlLink {
  readonly link: Link
  readonly #reassembler = new ControlReassembler()
  /** Cell bodies that the lane did not take yet, in order. */
  #pending: Uint8Array[] = []
  #lane: Lane | null = null
  #greetingLane: Lane | null = null
  #paced = false
  /** Messages dropped because too much was waiting. */
  dropped = 0

  constructor(link: Link) {
    this.link = link
  }

  /** From now on everything goes in the slots of `lane`. */
  pace(lane: Lane): void {
    this.#greetingLane = this.#lane // the greeting's last cells may wait there
    this.#lane = lane
    this.#paced = true
  }

  send(message: ControlMessage): void {
    if (!this.link.open) return
    const bodies = toControlBodies(encodeControl(message))
    if (this.#pending.length + bodies.length > PENDING_CELLS_MAX) {
      this.dropped++
      return
    }
    this.#pending.push(...bodies)
    this.pump()
  }

  /** Hands waiting cells to the lane. Called after `send` and now and then. */
  pump(): void {
    if (this.#pending.length === 0 || !this.link.open) return
    this.#lane ??= this.link.lane(NO_CIRCUIT)
    let taken = 0
    while (taken < this.#pending.length && this.#lane.push(Command.CONTROL, this.#pending[taken]!)) taken++
    this.#pending.splice(0, taken)
    if (taken > 0 && !this.#paced) this.link.flush()
  }

  /** The message that this cell completes; `null`: none yet; `'malformed'`: the link is to be closed. */
  take(body: Uint8Array): ControlMessage | 'malformed' | null {
    const bytes = this.#reassembler.take(body)
    if (bytes === 'partial') return null
    return (bytes === 'malformed' ? null : parseControl(bytes)) ?? 'malformed'
  }

  /** After the link closed, or before it is closed. */
  drop(): void {
    this.#pending = []
    this.#lane?.close()
    this.#greetingLane?.close()
    this.#lane = null
  }
}
