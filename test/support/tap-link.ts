/**
 * A link with somebody's hands on it: sees every cell that comes in and every cell pushed out, and may put others in their place. What
 * recording observers and adversarial neighbours in tests are made of. It wraps one end of a real link; the node behind it cannot tell.
 */
import { CELL_BYTES, type CircuitId, type Command, circuitIdAt, commandAt, writeHeader } from '../../src/cell/index.ts'
import { type Lane, type Link, type LinkReceiver, TURN_CELLS } from '../../src/link/index.ts'
import { WrappedLink, watchedLane } from './wrapped-link.ts'

/** One cell as a tap sees it. `body` is a copy. */
export interface TappedCell {
  readonly id: CircuitId
  readonly command: number
  readonly body: Uint8Array
}

/** What the hands do. */
export interface LinkTap {
  /** A cell came from the peer. Returns what the node is to see instead: the same array, none, or others. Absent: as it is. */
  incoming?: (cell: TappedCell) => readonly TappedCell[]
  /** The node pushed a cell; `taken`: the lane took it. `body` is borrowed until return. */
  outgoing?: (id: CircuitId, command: Command, body: Uint8Array, taken: boolean) => void
}

/** A cell as bytes. */
export function encodeCell(cell: { readonly id: number; readonly command: number; readonly body?: Uint8Array }): Uint8Array {
  const bytes = new Uint8Array(CELL_BYTES)
  writeHeader(bytes, 0, cell.id as CircuitId, cell.command as Command)
  if (cell.body !== undefined) bytes.set(cell.body, 5)
  return bytes
}

/** See the file's head. */
export class TappedLink extends WrappedLink {
  readonly tap: LinkTap
  #receiver: LinkReceiver | null = null

  constructor(link: Link, tap: LinkTap) {
    super(link)
    this.tap = tap
  }

  override start(receiver: LinkReceiver): void {
    this.#receiver = receiver
    super.start({
      onCells: (_link, cells, count) => {
        if (this.tap.incoming === undefined) return receiver.onCells(this, cells, count)
        const handed: TappedCell[] = []
        for (let cell = 0; cell < count; cell++) {
          const at = cell * CELL_BYTES
          const body = cells.slice(at + 5, at + CELL_BYTES)
          handed.push(...this.tap.incoming({ id: circuitIdAt(cells, at), command: commandAt(cells, at), body }))
        }
        this.#hand(handed)
      },
      onTurnEnd: () => receiver.onTurnEnd(),
      onClose: (_link, reason) => receiver.onClose(this, reason),
    })
  }

  /** Hands the node cells in a turn of their own, as if the peer had sent them. The tap does not see them. */
  inject(cells: readonly { readonly id: number; readonly command: number; readonly body?: Uint8Array }[]): void {
    this.#hand(cells)
    this.#receiver?.onTurnEnd()
  }

  #hand(cells: readonly { readonly id: number; readonly command: number; readonly body?: Uint8Array }[]): void {
    for (let from = 0; from < cells.length && this.open; from += TURN_CELLS) {
      const turn = cells.slice(from, from + TURN_CELLS)
      const bytes = new Uint8Array(turn.length * CELL_BYTES)
      for (const [at, cell] of turn.entries()) bytes.set(encodeCell(cell), at * CELL_BYTES)
      this.#receiver?.onCells(this, bytes, turn.length)
    }
  }

  override lane(id: CircuitId): Lane {
    const { tap } = this
    return watchedLane(super.lane(id), (command, body, taken) => tap.outgoing?.(id, command, body, taken))
  }
}
