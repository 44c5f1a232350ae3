/**
 * A member that does more than look: in half-second slots, in a pattern of each circuit's own, it holds the circuit's cells back or garbles them, so
 * that whoever colludes with it may know the circuit again elsewhere. By hands on `RelayHop`, in nodes that the lab names; no other node knows.
 * Laid after `tapCircuits`: what that writes down of such a node is what it let go, when it did. Dropped cells are not tried: in `swift` they end the
 * loop at once, and a paced member sends random bytes in their place, which is what garbling does.
 */
import { randomFillSync } from 'node:crypto'
import { RelayHop } from '../../relay/hop.ts'
import { CELL_BYTES, CELL_HEADER_BYTES } from '../../src/cell/index.ts'
import { TURN_CELLS } from '../../src/link/index.ts'
import { SeededRng } from '../support/seeded-rng.ts'

export const HANDS = ['delay', 'garble'] as const
export type Hands = (typeof HANDS)[number]

const SLOT_MS = 500
/** Share of slots in which hands are laid on. */
const SHARES: Readonly<Record<Hands, number>> = { delay: 0.5, garble: 0.02 }
/** Cells of one circuit that are held; more let all of them go. */
const HELD_CELLS_MAX = 512

/** What is kept for one circuit. */
interface Held {
  readonly pattern: SeededRng
  slot: number
  acting: boolean
  readonly cells: Uint8Array[]
  timer: NodeJS.Timeout | null
}

/** Lays hands on every circuit that this process relays from now on, until the returned function is called. */
export function layHands(hands: Hands, now: () => number, share: number = SHARES[hands]): () => void {
  const circuits = new Map<RelayHop, Held>()
  let count = 0
  const { run, close } = RelayHop.prototype

  const release = (hop: RelayHop, held: Held) => {
    held.timer = null
    const cells = held.cells.splice(0)
    for (let from = 0; from < cells.length; from += TURN_CELLS) {
      const batch = cells.slice(from, from + TURN_CELLS)
      const block = new Uint8Array(batch.length * CELL_BYTES)
      for (const [at, cell] of batch.entries()) {
        block.set(cell, at * CELL_BYTES)
        hop.turn[at] = at * CELL_BYTES
      }
      hop.turnCells = batch.length
      Reflect.apply(run, hop, [block])
    }
    hop.to.flush()
  }

  RelayHop.prototype.run = function (this: RelayHop, ...args) {
    let held = circuits.get(this)
    if (held === undefined) {
      const pattern = new SeededRng(`hands ${process.pid} ${++count}`)
      held = { pattern, slot: -1, acting: false, cells: [], timer: null }
      circuits.set(this, held)
    }
    const at = now()
    const slot = Math.floor(at / SLOT_MS)
    if (slot !== held.slot) {
      held.slot = slot
      held.acting = held.pattern.unit() < share
    }
    const [block] = args
    if (hands === 'garble') {
      for (let cell = 0; held.acting && cell < this.turnCells; cell++)
        randomFillSync(block, this.turn[cell]! + CELL_HEADER_BYTES, CELL_BYTES - CELL_HEADER_BYTES)
      return Reflect.apply(run, this, args)
    }
    if (!held.acting && held.cells.length === 0) return Reflect.apply(run, this, args)
    for (let cell = 0; cell < this.turnCells; cell++) {
      const from = this.turn[cell]!
      held.cells.push(block.slice(from, from + CELL_BYTES))
    }
    this.turnCells = 0
    if (held.cells.length > HELD_CELLS_MAX && held.timer !== null) {
      clearTimeout(held.timer)
      held.timer = null
    }
    // Not within the turn: what it flushes would be cut in two.
    held.timer ??= setTimeout(release, held.cells.length > HELD_CELLS_MAX ? 0 : SLOT_MS - (at % SLOT_MS), this, held)
    return 'open'
  }

  RelayHop.prototype.close = function (this: RelayHop) {
    const held = circuits.get(this)
    if (held?.timer) clearTimeout(held.timer)
    circuits.delete(this)
    return Reflect.apply(close, this, [])
  }

  return () => {
    for (const held of circuits.values()) if (held.timer !== null) clearTimeout(held.timer)
    Object.assign(RelayHop.prototype, { run, close })
  }
}
