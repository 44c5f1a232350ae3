/**
 * The codec of frames, the content of a cell: several byte flows within one loop, to one hop. Reads and writes in place, no state,
 * nothing allocated per frame. Every input is a list of frames or malformed. Spec: SPEC.md §5.1.
 */
import { readU16, readU32, readU48, writeU16, writeU32, writeU48 } from '../bytes/index.ts'
import { PAYLOAD_BYTES } from './exchange.ts'

export const FrameType = {
  /** The rest of the cell is zero. */
  END: 0,
  STREAM: 1,
  CREDIT: 2,
  RESET: 3,
  /** Origin to hop: counters that came home as noise, and what it had sent in them. Paced clocks only; malformed in `swift`. */
  ACK: 4,
  /** Hop to origin: cells' worth of bytes that wait for cells to ride in. */
  BACKLOG: 5,
  /** One payload of an exchange, of the one size that there is (SPEC.md §11.1). */
  PAYLOAD: 6,
  /** Which exchange the PAYLOAD behind it in the cell is of; without it number 0. Paced clocks only; a fault in `swift`. */
  EXCHANGE: 7,
} as const

/** Exchanges that one hop carries at once on one paced circuit; on a `swift` one it is one. */
export const EXCHANGES_MAX = 16

/** Type (1), stream id (4), offset (6), length and fin bit (2). */
export const STREAM_HEADER_BYTES = 13
export const CREDIT_BYTES = 11
export const RESET_BYTES = 6
export const BACKLOG_BYTES = 3
export const EXCHANGE_BYTES = 2
/** Type (1), count (1); then per cell its counter (4) and bytes of streams (2). */
export const ACK_HEADER_BYTES = 2
export const ACK_ENTRY_BYTES = 6
export const PAYLOAD_FRAME_BYTES = 1 + PAYLOAD_BYTES
/** Stream offsets end here: a stream carries less than 2^47 bytes. */
export const OFFSET_END = 2 ** 47

const FIN_BIT = 0x8000
const LENGTH_MASK = 0x7fff

/** What `readFrames` found, in order. Byte ranges are borrowed until return. */
export interface FrameSink {
  /** `length` bytes from `bytes[at]` that belong at `offset` of the stream. */
  onStream(id: number, offset: number, bytes: Uint8Array, at: number, length: number, fin: boolean): void
  /** Bytes from the stream's start that the peer may send; stream 0: of all streams together. */
  onCredit(id: number, limit: number): void
  onReset(id: number, code: number): void
  onBacklog(cells: number): void
  /** The cell with `counter` came home as noise; `bytes` of streams had been sent in it. */
  onAck(counter: number, bytes: number): void
  /** `PAYLOAD_BYTES` from `bytes[at]`. */
  onPayload(bytes: Uint8Array, at: number): void
  /** The next payload is of the exchange with this number, below `EXCHANGES_MAX`. */
  onExchange(number: number): void
}

/** Reads the frames in `bytes[at … end)`. `false`: malformed; the frames before the fault were handed over, and the circuit ends. */
export function readFrames(bytes: Uint8Array, at: number, end: number, sink: FrameSink): boolean {
  while (at < end) {
    switch (bytes[at]) {
      case FrameType.END:
        return true
      case FrameType.STREAM: {
        if (at + STREAM_HEADER_BYTES > end) return false
        const id = readU32(bytes, at + 1)
        const offset = readU48(bytes, at + 5)
        const word = readU16(bytes, at + 11)
        const length = word & LENGTH_MASK
        at += STREAM_HEADER_BYTES
        if (id === 0 || at + length > end || offset + length >= OFFSET_END) return false
        sink.onStream(id, offset, bytes, at, length, (word & FIN_BIT) !== 0)
        at += length
        break
      }
      case FrameType.CREDIT: {
        if (at + CREDIT_BYTES > end) return false
        sink.onCredit(readU32(bytes, at + 1), readU48(bytes, at + 5))
        at += CREDIT_BYTES
        break
      }
      case FrameType.RESET: {
        if (at + RESET_BYTES > end) return false
        const id = readU32(bytes, at + 1)
        if (id === 0) return false
        sink.onReset(id, bytes[at + 5]!)
        at += RESET_BYTES
        break
      }
      case FrameType.BACKLOG: {
        if (at + BACKLOG_BYTES > end) return false
        sink.onBacklog(readU16(bytes, at + 1))
        at += BACKLOG_BYTES
        break
      }
      case FrameType.ACK: {
        const count = at + ACK_HEADER_BYTES > end ? 0 : bytes[at + 1]!
        const next = at + ACK_HEADER_BYTES + count * ACK_ENTRY_BYTES
        if (count === 0 || next > end) return false
        for (at += ACK_HEADER_BYTES; at < next; at += ACK_ENTRY_BYTES) sink.onAck(readU32(bytes, at), readU16(bytes, at + 4))
        break
      }
      case FrameType.PAYLOAD: {
        if (at + PAYLOAD_FRAME_BYTES > end) return false
        sink.onPayload(bytes, at + 1)
        at += PAYLOAD_FRAME_BYTES
        break
      }
      case FrameType.EXCHANGE: {
        if (at + EXCHANGE_BYTES > end || bytes[at + 1]! >= EXCHANGES_MAX) return false
        sink.onExchange(bytes[at + 1]!)
        at += EXCHANGE_BYTES
        break
      }
      default:
        return false
    }
  }
  return true
}

/** Writes a STREAM frame's header; the caller has put, or puts, `length` bytes behind it. Returns where they go. */
export function writeStreamHeader(
  into: Uint8Array,
  at: number,
  id: number,
  offset: number,
  length: number,
  fin: boolean,
): number {
  into[at] = FrameType.STREAM
  writeU32(into, at + 1, id)
  writeU48(into, at + 5, offset)
  writeU16(into, at + 11, fin ? length | FIN_BIT : length)
  return at + STREAM_HEADER_BYTES
}

export function writeCredit(into: Uint8Array, at: number, id: number, limit: number): number {
  into[at] = FrameType.CREDIT
  writeU32(into, at + 1, id)
  writeU48(into, at + 5, limit)
  return at + CREDIT_BYTES
}

export function writeReset(into: Uint8Array, at: number, id: number, code: number): number {
  into[at] = FrameType.RESET
  writeU32(into, at + 1, id)
  into[at + 5] = code
  return at + RESET_BYTES
}

export function writeBacklog(into: Uint8Array, at: number, cells: number): number {
  into[at] = FrameType.BACKLOG
  writeU16(into, at + 1, Math.min(cells, 0xffff))
  return at + BACKLOG_BYTES
}

export function writeExchange(into: Uint8Array, at: number, number: number): number {
  into[at] = FrameType.EXCHANGE
  into[at + 1] = number
  return at + EXCHANGE_BYTES
}

/** Writes the start of an ACK frame of `count` entries (1 … 255); `writeAckEntry` follows for each. */
export function writeAckHeader(into: Uint8Array, at: number, count: number): number {
  into[at] = FrameType.ACK
  into[at + 1] = count
  return at + ACK_HEADER_BYTES
}

export function writeAckEntry(into: Uint8Array, at: number, counter: number, bytes: number): number {
  writeU32(into, at, counter)
  writeU16(into, at + 4, bytes)
  return at + ACK_ENTRY_BYTES
}
