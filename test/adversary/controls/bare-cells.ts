/**
 * For the lab's control builds only: circuits without layers and exchanges without seals, so that what a cell carries can be seen on each link and a
 * build can leave out what carries nothing. In the place of the first of the 16 zero bytes stands how many hops a cell has yet to pass; whoever takes
 * the last one off recognises it, as with the layers. By hands on the classes of `src/`, which know nothing of it; before the first node is made.
 */
import { readU32 } from '../../../src/bytes/index.ts'
import { CELL_HEADER_BYTES } from '../../../src/cell/index.ts'
import { HopLayer, OriginLayers } from '../../../src/circuit/index.ts'
import { NUMBER_BYTES, PAYLOAD_PLAIN_BYTES } from '../../../src/service/constants.ts'
import { PayloadOpener, PayloadSealer, ReplayWindow } from '../../../src/service/payload.ts'
import { PAYLOAD_BYTES } from '../../../src/stream/index.ts'

/** An answer; no loop is so long that this becomes 0. */
const ANSWERED = 0x80

export function bareCells(): void {
  const mark = (cells: Uint8Array, offsets: Int32Array, count: number, step: (before: number) => number) => {
    for (let cell = 0; cell < count; cell++) {
      const at = offsets[cell]! + CELL_HEADER_BYTES
      cells[at] = step(cells[at]!)
    }
  }
  OriginLayers.prototype.wrap = (addressee, cells, offsets, _counters, count) => mark(cells, offsets, count, () => addressee)
  OriginLayers.prototype.open = (_addressee, cells, offsets, _counters, count) => mark(cells, offsets, count, () => 0)
  HopLayer.prototype.peel = (cells, offsets, _counters, count) => mark(cells, offsets, count, (before) => before - 1)
  HopLayer.prototype.seal = (cells, offsets, _counters, count) => mark(cells, offsets, count, () => ANSWERED)

  const { seal } = PayloadSealer.prototype
  PayloadSealer.prototype.seal = function (this: PayloadSealer, into, at) {
    Reflect.apply(seal, this, [into, at])
    into.set(this.plain, at + NUMBER_BYTES)
    into.fill(0, at + NUMBER_BYTES + PAYLOAD_PLAIN_BYTES, at + PAYLOAD_BYTES)
  }
  const windows = new WeakMap<PayloadOpener, ReplayWindow>()
  PayloadOpener.prototype.open = function (this: PayloadOpener, bytes, at) {
    const window = windows.get(this) ?? new ReplayWindow()
    windows.set(this, window)
    const number = readU32(bytes, at) + readU32(bytes, at + 4) * 0x1_0000_0000
    if (!window.isNew(number)) return -1
    window.note(number)
    this.plain.set(bytes.subarray(at + NUMBER_BYTES, at + NUMBER_BYTES + PAYLOAD_PLAIN_BYTES))
    return number
  }
}

/** Length of `bytes` without the zeros at its end. */
export function filled(bytes: Uint8Array): number {
  let length = bytes.length
  while (length > 0 && bytes[length - 1] === 0) length--
  return length
}
