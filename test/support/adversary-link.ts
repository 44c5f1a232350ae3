/**
 * Hands on links, by trade: recorders that only look, and neighbours that change, drop, double, swap, replay and forge cells. Each
 * adversary is a handler for `TappedLink`'s `tap.incoming`, acts on the circuit's cells from the `nth` (from 0) on, once, and is told apart
 * from an honest neighbour by nothing else. `MeshTaps` puts a tap on every link end of a mesh.
 */
import { BODY_BYTES, type CircuitId, Command } from '../../src/cell/index.ts'
import type { Link } from '../../src/link/index.ts'
import type { Rng } from '../../src/runtime/index.ts'
import { type TappedCell, TappedLink } from './tap-link.ts'

/** What a neighbour does to the cells that pass it. */
export type Meddling = (cell: TappedCell) => readonly TappedCell[]

/** All link ends of a mesh: give `wrap` to `startMesh`. */
export class MeshTaps {
  readonly #ends = new Map<string, TappedLink>()

  readonly wrap = (link: Link, self: number, peer: number): Link => {
    const tapped = new TappedLink(link, {})
    this.#ends.set(`${self} ${peer}`, tapped)
    return tapped
  }

  /** The end at node `self` of its link with node `peer`: what comes in there is what `peer` sent. */
  end(self: number, peer: number): TappedLink {
    const end = this.#ends.get(`${self} ${peer}`)
    if (end === undefined) throw new Error(`there is no link between ${self} and ${peer}`)
    return end
  }

  all(): readonly { readonly self: number; readonly peer: number; readonly end: TappedLink }[] {
    return [...this.#ends].map(([key, end]) => {
      const [self, peer] = key.split(' ').map(Number)
      return { self: self!, peer: peer!, end }
    })
  }

  /** Takes every hand off. */
  release(): void {
    for (const end of this.#ends.values()) {
      delete end.tap.incoming
      delete end.tap.outgoing
    }
  }
}

/** Counts the cells of one circuit, and does `act` to the `nth` of them. `id` absent: the first circuit that sends a cell. */
function onNth(nth: number, act: (cell: TappedCell) => readonly TappedCell[], id?: CircuitId): Meddling {
  let seen = 0
  let target = id
  return (cell) => {
    if (cell.command !== Command.CIRCUIT) return [cell]
    target ??= cell.id
    if (cell.id !== target || seen++ !== nth) return [cell]
    return act(cell)
  }
}

/** The cell with one bit of its body changed. */
export function flipped(cell: TappedCell, bit: number): TappedCell {
  const body = cell.body.slice()
  body[bit >> 3]! ^= 1 << (bit & 7)
  return { ...cell, body }
}

export const changeBit = (nth: number, bit: number): Meddling => onNth(nth, (cell) => [flipped(cell, bit)])
export const dropCell = (nth: number): Meddling => onNth(nth, () => [])
export const doubleCell = (nth: number): Meddling => onNth(nth, (cell) => [cell, cell])
export const forgeCell = (nth: number, rng: Rng): Meddling =>
  onNth(nth, (cell) => [{ ...cell, body: rng.bytes(BODY_BYTES) }, cell])
export const replaceCell = (nth: number, rng: Rng): Meddling => onNth(nth, (cell) => [{ ...cell, body: rng.bytes(BODY_BYTES) }])
export const zeroCell = (nth: number): Meddling => onNth(nth, (cell) => [{ ...cell, body: new Uint8Array(BODY_BYTES) }])

/** The `nth` cell is held back and sent behind the next. */
export function swapCells(nth: number): Meddling {
  let held: TappedCell | null = null
  let seen = 0
  let target: CircuitId | undefined
  return (cell) => {
    if (cell.command !== Command.CIRCUIT) return [cell]
    target ??= cell.id
    if (cell.id !== target) return [cell]
    if (held !== null) {
      const pair = [cell, held]
      held = null
      return pair
    }
    if (seen++ !== nth) return [cell]
    held = cell
    return []
  }
}

/** The first cell is sent once more in place of the `nth`. */
export function replayCell(nth: number): Meddling {
  let first: TappedCell | null = null
  let seen = 0
  return (cell) => {
    if (cell.command !== Command.CIRCUIT) return [cell]
    first ??= cell
    if (cell.id !== first.id || seen++ !== nth || nth === 0) return [cell]
    return [first]
  }
}
