/**
 * A control build in which cells are not padded: each goes over the wire as a record that is as long as what it carries. On `bareCells`, else nothing
 * shows where a content ends. Cells that are none of a circuit's go as they are.
 *
 *   CIRCUIT: cell without the zeros at its end, its length (LE16) in the second and third byte of its body, which are 0 in every bare cell
 */
import { readU16, writeU16 } from '../../../src/bytes/index.ts'
import { CELL_BYTES, CELL_HEADER_BYTES, Command, commandAt } from '../../../src/cell/index.ts'
import { filled } from './bare-cells.ts'
import type { Coding, CodingParts } from './coded-sockets.ts'

const LENGTH_AT = CELL_HEADER_BYTES + 1
const SHORTEST_BYTES = LENGTH_AT + 2

export function unpadded({ write, deliver }: Pick<CodingParts, 'write' | 'deliver'>): Coding {
  let held = Buffer.alloc(0)
  return {
    send(cells) {
      for (let at = 0; at < cells.length; at += CELL_BYTES) {
        const cell = cells.slice(at, at + CELL_BYTES)
        if (commandAt(cell, 0) !== Command.CIRCUIT) {
          write(cell)
          continue
        }
        const length = Math.max(SHORTEST_BYTES, filled(cell))
        writeU16(cell, LENGTH_AT, length)
        write(cell.subarray(0, length))
      }
    },
    receive(bytes) {
      held = Buffer.concat([held, bytes])
      for (;;) {
        if (held.length < SHORTEST_BYTES) return
        const length = commandAt(held, 0) === Command.CIRCUIT ? readU16(held, LENGTH_AT) : CELL_BYTES
        if (held.length < length) return
        const cell = new Uint8Array(CELL_BYTES)
        cell.set(held.subarray(0, length))
        if (commandAt(cell, 0) === Command.CIRCUIT) writeU16(cell, LENGTH_AT, 0)
        held = held.subarray(length)
        deliver(cell)
      }
    },
  }
}
