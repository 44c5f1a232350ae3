/**
 * The codec of frames inside a payload: what the two ends of a session say to each other. Reads and writes in place, no state, nothing
 * allocated per frame. Every input is a list of frames or malformed. Spec: SPEC.md §11.6.
 *
 * Not the frames of §5.1: those ride in cells that come whole and in order, these in payloads that may be lost.
 */
import { readU16, readU32, readU48, writeU16, writeU32, writeU48 } from '../bytes/index.ts'

export const SessionFrame = {
  /** The rest of the payload is zero. */
  END: 0,
  /** Client: a stream, and the virtual port that it is for. */
  OPEN: 1,
  /** Service: the stream is taken. */
  OPENED: 2,
  STREAM: 3,
  /** Bytes from the start of a stream (0: of all streams together) that the other end may send. */
  CREDIT: 4,
  /** Service: highest stream id that the client may open. */
  STREAMS: 5,
  /** Both directions end; where the sender's direction ended, for the accounts. */
  RESET: 6,
  /** Payloads that came. */
  ACK: 7,
  /** Asks for an ACK. */
  PING: 8,
  /** The session is over. */
  CLOSE: 9,
} as const

export const OPEN_BYTES = 7
export const OPENED_BYTES = 5
/** Type (1), stream id (4), offset (6), length and fin bit (2). */
export const STREAM_HEADER_BYTES = 13
export const CREDIT_BYTES = 11
export const STREAMS_BYTES = 5
export const RESET_BYTES = 12
export const PING_BYTES = 1
export const CLOSE_BYTES = 1
/** Type (1), largest (6), delay (2), count (1), length of the first range (2). */
export const ACK_HEADER_BYTES = 12
/** Gap (2), length (2). */
export const ACK_RANGE_BYTES = 4
/** Ranges in one ACK. */
export const ACK_RANGES_MAX = 32
/** Longest range and gap that one entry tells; of a longer range the newest part is told. */
export const ACK_LENGTH_MAX = 0xffff
/** Unit of the delay field. */
export const ACK_DELAY_UNIT_MS = 0.1
/** Stream offsets and payload numbers end here. */
export const OFFSET_END = 2 ** 47

const FIN_BIT = 0x8000
const LENGTH_MASK = 0x7fff

/** What `readSessionFrames` found, in order. Byte ranges are borrowed until return. */
export interface SessionFrameSink {
  onOpen(id: number, port: number): void
  onOpened(id: number): void
  onStream(id: number, offset: number, bytes: Uint8Array, at: number, length: number, fin: boolean): void
  onCredit(id: number, limit: number): void
  onStreams(limit: number): void
  onReset(id: number, code: number, finalOffset: number): void
  /** `ranges`: pairs of first and last number, the newest first, `count` of them; borrowed until return. */
  onAck(ranges: Float64Array, count: number, delayMs: number): void
  onPing(): void
  onClose(): void
}

/** Ranges of the ACK being read: one thread, no nesting. */
const ackRanges = new Float64Array(2 * ACK_RANGES_MAX)

/** Reads the frames in `bytes[at … end)`. `false`: malformed; the frames before the fault were handed over, and the session ends. */
export function readSessionFrames(bytes: Uint8Array, at: number, end: number, sink: SessionFrameSink): boolean {
  while (at < end) {
    switch (bytes[at]) {
      case SessionFrame.END:
        return true
      case SessionFrame.OPEN: {
        if (at + OPEN_BYTES > end) return false
        const id = readU32(bytes, at + 1)
        const port = readU16(bytes, at + 5)
        if (id === 0 || port === 0) return false
        sink.onOpen(id, port)
        at += OPEN_BYTES
        break
      }
      case SessionFrame.OPENED: {
        if (at + OPENED_BYTES > end) return false
        const id = readU32(bytes, at + 1)
        if (id === 0) return false
        sink.onOpened(id)
        at += OPENED_BYTES
        break
      }
      case SessionFrame.STREAM: {
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
      case SessionFrame.CREDIT: {
        if (at + CREDIT_BYTES > end) return false
        sink.onCredit(readU32(bytes, at + 1), readU48(bytes, at + 5))
        at += CREDIT_BYTES
        break
      }
      case SessionFrame.STREAMS: {
        if (at + STREAMS_BYTES > end) return false
        sink.onStreams(readU32(bytes, at + 1))
        at += STREAMS_BYTES
        break
      }
      case SessionFrame.RESET: {
        if (at + RESET_BYTES > end) return false
        const id = readU32(bytes, at + 1)
        const finalOffset = readU48(bytes, at + 6)
        if (id === 0 || finalOffset >= OFFSET_END) return false
        sink.onReset(id, bytes[at + 5]!, finalOffset)
        at += RESET_BYTES
        break
      }
      case SessionFrame.ACK: {
        const next = readAck(bytes, at, end, sink)
        if (next < 0) return false
        at = next
        break
      }
      case SessionFrame.PING:
        sink.onPing()
        at += PING_BYTES
        break
      case SessionFrame.CLOSE:
        sink.onClose()
        at += CLOSE_BYTES
        break
      default:
        return false
    }
  }
  return true
}

/** Where the frame ends, or −1: malformed. */
function readAck(bytes: Uint8Array, at: number, end: number, sink: SessionFrameSink): number {
  if (at + ACK_HEADER_BYTES > end) return -1
  const count = bytes[at + 9]!
  if (count === 0 || count > ACK_RANGES_MAX) return -1
  const after = at + ACK_HEADER_BYTES + (count - 1) * ACK_RANGE_BYTES
  if (after > end) return -1
  let last = readU48(bytes, at + 1)
  let length = readU16(bytes, at + 10)
  let entry = at + ACK_HEADER_BYTES
  for (let range = 0; range < count; range++) {
    if (range > 0) {
      const gap = readU16(bytes, entry)
      if (gap === 0) return -1
      last -= length + gap
      length = readU16(bytes, entry + 2)
      entry += ACK_RANGE_BYTES
    }
    if (length === 0 || last - length + 1 < 0) return -1
    ackRanges[2 * range] = last - length + 1
    ackRanges[2 * range + 1] = last
  }
  sink.onAck(ackRanges, count, readU16(bytes, at + 7) * ACK_DELAY_UNIT_MS)
  return after
}

export function writeOpen(into: Uint8Array, at: number, id: number, port: number): number {
  into[at] = SessionFrame.OPEN
  writeU32(into, at + 1, id)
  writeU16(into, at + 5, port)
  return at + OPEN_BYTES
}

export function writeOpened(into: Uint8Array, at: number, id: number): number {
  into[at] = SessionFrame.OPENED
  writeU32(into, at + 1, id)
  return at + OPENED_BYTES
}

/** Writes a STREAM frame's header; the caller puts `length` bytes behind it. Returns where they go. */
export function writeStreamHeader(
  into: Uint8Array,
  at: number,
  id: number,
  offset: number,
  length: number,
  fin: boolean,
): number {
  into[at] = SessionFrame.STREAM
  writeU32(into, at + 1, id)
  writeU48(into, at + 5, offset)
  writeU16(into, at + 11, fin ? length | FIN_BIT : length)
  return at + STREAM_HEADER_BYTES
}

export function writeCredit(into: Uint8Array, at: number, id: number, limit: number): number {
  into[at] = SessionFrame.CREDIT
  writeU32(into, at + 1, id)
  writeU48(into, at + 5, limit)
  return at + CREDIT_BYTES
}

export function writeStreams(into: Uint8Array, at: number, limit: number): number {
  into[at] = SessionFrame.STREAMS
  writeU32(into, at + 1, limit)
  return at + STREAMS_BYTES
}

export function writeReset(into: Uint8Array, at: number, id: number, code: number, finalOffset: number): number {
  into[at] = SessionFrame.RESET
  writeU32(into, at + 1, id)
  into[at + 5] = code
  writeU48(into, at + 6, finalOffset)
  return at + RESET_BYTES
}

/** Writes the newest of the ranges `starts[i]` … `ends[i]` (ascending, ends exclusive, at least one) that fit and may be told. */
export function writeAck(
  into: Uint8Array,
  at: number,
  starts: readonly number[],
  ends: readonly number[],
  delayMs: number,
): number {
  let range = starts.length - 1
  let end = ends[range]!
  let start = Math.max(starts[range]!, end - ACK_LENGTH_MAX)
  into[at] = SessionFrame.ACK
  writeU48(into, at + 1, end - 1)
  writeU16(into, at + 7, Math.min(0xffff, Math.max(0, Math.round(delayMs / ACK_DELAY_UNIT_MS))))
  writeU16(into, at + 10, end - start)
  let count = 1
  let entry = at + ACK_HEADER_BYTES
  for (range--; range >= 0 && count < ACK_RANGES_MAX; range--) {
    end = ends[range]!
    if (start - end > ACK_LENGTH_MAX) break
    writeU16(into, entry, start - end)
    start = Math.max(starts[range]!, end - ACK_LENGTH_MAX)
    writeU16(into, entry + 2, end - start)
    entry += ACK_RANGE_BYTES
    count++
  }
  into[at + 9] = count
  return entry
}
