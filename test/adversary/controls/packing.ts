/**
 * What cells carry, packed: contents without the zeros behind them, as many as fit into one cell. A build that sends answers by themselves has
 * no use for cells that only give others room to answer in. Pure.
 *
 *   first byte (`mark`) · LE16 length of the first content · zeros up to 16 · first content · LE16 length, content · …
 */
import { readU16, writeU16 } from '../../../src/bytes/index.ts'
import { BODY_BYTES, RECOGNISED_BYTES } from '../../../src/cell/index.ts'
import { filled } from './bare-cells.ts'

const COUNT_AT = 3

/** Bodies of cells in as few as hold what they carry, in order. `mark`: first byte of each. */
export function pack(bodies: readonly Uint8Array[], mark: number): Uint8Array[] {
  const packed: Uint8Array[] = []
  let at = BODY_BYTES
  let count = 0
  for (const body of bodies) {
    const content = body.subarray(RECOGNISED_BYTES, Math.max(RECOGNISED_BYTES, filled(body)))
    if (at + 2 + content.length > BODY_BYTES) {
      const fresh = new Uint8Array(BODY_BYTES)
      fresh[0] = mark
      writeU16(fresh, 1, content.length)
      fresh.set(content, RECOGNISED_BYTES)
      at = RECOGNISED_BYTES + content.length
      count = 1
      packed.push(fresh)
    } else {
      const last = packed.at(-1)!
      writeU16(last, at, content.length)
      last.set(content, at + 2)
      at += 2 + content.length
      count++
    }
    writeU16(packed.at(-1)!, COUNT_AT, count)
  }
  return packed
}

/** The bodies that were packed into `body`, each with `mark` as its first byte. */
export function unpack(body: Uint8Array, mark: number): Uint8Array[] {
  const bodies: Uint8Array[] = []
  let length = readU16(body, 1)
  let at = RECOGNISED_BYTES
  for (let left = readU16(body, COUNT_AT); left > 0; left--) {
    const fresh = new Uint8Array(BODY_BYTES)
    fresh[0] = mark
    fresh.set(body.subarray(at, at + length), RECOGNISED_BYTES)
    bodies.push(fresh)
    at += length + 2
    length = left > 1 ? readU16(body, at - 2) : 0
  }
  return bodies
}
