/**
 * The fixed codec of the one unit that a link carries. A cell is `CELL_BYTES` long: circuit id (u32, little-endian),
 * command (u8), body. It knows nothing of what a circuit is for. Spec: SPEC.md §2.
 */
import { readU32, writeU32 } from '../bytes/index.ts'

// Specification constants. Changing one changes the wire format.
/** Bytes of a cell on the wire. Chosen by measurement: test/bench/README.md. */
export const CELL_BYTES = 2048
/** Circuit id (4) and command (1). */
export const CELL_HEADER_BYTES = 5
/** What the layered cipher covers. */
export const BODY_BYTES = CELL_BYTES - CELL_HEADER_BYTES
/** Leading zero bytes by which a hop recognises a cell as its own. */
export const RECOGNISED_BYTES = 16
/** Bytes of frames in one cell. */
export const FRAMES_BYTES = BODY_BYTES - RECOGNISED_BYTES

export const Command = { PAD: 0, SETUP: 1, CIRCUIT: 2, DESTROY: 3, CONTROL: 4 } as const
export type Command = (typeof Command)[keyof typeof Command]

/** Names a circuit on one link. Zero is not an id: it belongs to PAD and CONTROL. */
export type CircuitId = number & { readonly __brand: 'CircuitId' }

export const NO_CIRCUIT = 0 as CircuitId

/** Circuit id of the cell that starts at `at`. */
export function circuitIdAt(cells: Uint8Array, at: number): CircuitId {
  return readU32(cells, at) as CircuitId
}

/** Command byte of the cell that starts at `at`; any value from 0 to 255. */
export function commandAt(cells: Uint8Array, at: number): number {
  return cells[at + 4]!
}

/** Writes a cell's header at `at`. */
export function writeHeader(cells: Uint8Array, at: number, id: CircuitId, command: Command): void {
  writeU32(cells, at, id)
  cells[at + 4] = command
}
