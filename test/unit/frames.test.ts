/** The frame codec (SPEC §5.1): round trip, canonical form, every truncation, every changed byte, against a naive reader. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { concat } from '../../src/bytes/index.ts'
import {
  type FrameSink,
  OFFSET_END,
  readFrames,
  STREAM_HEADER_BYTES,
  writeAckEntry,
  writeAckHeader,
  writeBacklog,
  writeCredit,
  writeExchange,
  writeReset,
  writeStreamHeader,
} from '../../src/stream/frames.ts'
import { PAYLOAD_BYTES } from '../../src/stream/index.ts'

type Frame =
  | { readonly type: 'stream'; readonly id: number; readonly offset: number; readonly bytes: number[]; readonly fin: boolean }
  | { readonly type: 'credit'; readonly id: number; readonly limit: number }
  | { readonly type: 'reset'; readonly id: number; readonly code: number }
  | { readonly type: 'backlog'; readonly cells: number }
  | { readonly type: 'ack'; readonly cells: readonly { readonly counter: number; readonly bytes: number }[] }
  | { readonly type: 'payload'; readonly first: number; readonly last: number }
  | { readonly type: 'exchange'; readonly number: number }

/** Writes frames down as the reader hands them over. */
function recorder(): FrameSink & { readonly frames: Frame[] } {
  const frames: Frame[] = []
  return {
    frames,
    // Entries of one frame come one by one: each is written down as a frame of its own.
    onAck: (counter, bytes) => frames.push({ type: 'ack', cells: [{ counter, bytes }] }),
    onStream(id, offset, bytes, at, length, fin) {
      assert.ok(at >= 0 && length >= 0 && at + length <= bytes.length)
      frames.push({ type: 'stream', id, offset, bytes: [...bytes.subarray(at, at + length)], fin })
    },
    onCredit: (id, limit) => frames.push({ type: 'credit', id, limit }),
    onReset: (id, code) => frames.push({ type: 'reset', id, code }),
    onBacklog: (cells) => frames.push({ type: 'backlog', cells }),
    onExchange: (number) => frames.push({ type: 'exchange', number }),
    onPayload: (bytes, at) => frames.push({ type: 'payload', first: bytes[at]!, last: bytes[at + PAYLOAD_BYTES - 1]! }),
  }
}

function encodeOne(frame: Frame): Uint8Array {
  const into = new Uint8Array(64 + (frame.type === 'stream' ? frame.bytes.length : 0))
  if (frame.type === 'payload') {
    const payload = new Uint8Array(1 + PAYLOAD_BYTES).fill(0xaa)
    payload[0] = 6
    payload[1] = frame.first
    payload[PAYLOAD_BYTES] = frame.last
    return payload
  }
  if (frame.type === 'credit') return into.subarray(0, writeCredit(into, 0, frame.id, frame.limit))
  if (frame.type === 'reset') return into.subarray(0, writeReset(into, 0, frame.id, frame.code))
  if (frame.type === 'ack') {
    const bytes = new Uint8Array(2 + 6 * frame.cells.length)
    let at = writeAckHeader(bytes, 0, frame.cells.length)
    for (const { counter, bytes: sent } of frame.cells) at = writeAckEntry(bytes, at, counter, sent)
    return bytes
  }
  if (frame.type === 'exchange') return into.subarray(0, writeExchange(into, 0, frame.number))
  if (frame.type === 'backlog') return into.subarray(0, writeBacklog(into, 0, frame.cells))
  const at = writeStreamHeader(into, 0, frame.id, frame.offset, frame.bytes.length, frame.fin)
  into.set(frame.bytes, at)
  return into.subarray(0, at + frame.bytes.length)
}

const encode = (frames: readonly Frame[]) => concat(...frames.map(encodeOne))

/** A reader with no regard for speed, from the table in the spec: all frames, or `null`. */
function naiveRead(bytes: Uint8Array): Frame[] | null {
  const frames: Frame[] = []
  let left = [...bytes]
  const number = (length: number) => {
    if (left.length < length) throw new RangeError('short')
    const value = left.slice(0, length).reduce((sum, byte, at) => sum + byte * 256 ** at, 0)
    left = left.slice(length)
    return value
  }
  try {
    while (left.length > 0) {
      const type = number(1)
      if (type === 0) return frames
      if (type === 1) {
        const id = number(4)
        const offset = number(6)
        const word = number(2)
        const length = word % 32_768
        if (id === 0 || left.length < length || offset + length >= 2 ** 47) return null
        frames.push({ type: 'stream', id, offset, bytes: left.slice(0, length), fin: word >= 32_768 })
        left = left.slice(length)
      } else if (type === 2) frames.push({ type: 'credit', id: number(4), limit: number(6) })
      else if (type === 3) {
        const id = number(4)
        const code = number(1)
        if (id === 0) return null
        frames.push({ type: 'reset', id, code })
      } else if (type === 4) {
        const count = number(1)
        if (count === 0) return null
        for (let entry = 0; entry < count; entry++)
          frames.push({ type: 'ack', cells: [{ counter: number(4), bytes: number(2) }] })
      } else if (type === 5) frames.push({ type: 'backlog', cells: number(2) })
      else if (type === 6) {
        if (left.length < 1984) return null
        frames.push({ type: 'payload', first: left[0]!, last: left[1983]! })
        left = left.slice(1984)
      } else if (type === 7) {
        const exchange = number(1)
        if (exchange >= 16) return null
        frames.push({ type: 'exchange', number: exchange })
      } else return null
    }
  } catch {
    return null
  }
  return frames
}

const u32 = fc.nat(0xffff_ffff)
const id = fc.integer({ min: 1, max: 0xffff_ffff })
const frame: fc.Arbitrary<Frame> = fc.oneof(
  fc
    .tuple(id, fc.oneof(fc.nat(1000), fc.nat(OFFSET_END - 400)), fc.array(fc.nat(255), { maxLength: 300 }), fc.boolean())
    .map(([id, offset, bytes, fin]) => ({ type: 'stream' as const, id, offset, bytes, fin })),
  fc.tuple(u32, fc.nat(2 ** 48 - 1)).map(([id, limit]) => ({ type: 'credit' as const, id, limit })),
  fc.tuple(id, fc.nat(255)).map(([id, code]) => ({ type: 'reset' as const, id, code })),
  fc.nat(0xffff).map((cells) => ({ type: 'backlog' as const, cells })),
  fc.nat(15).map((number) => ({ type: 'exchange' as const, number })),
  fc.tuple(fc.nat(255), fc.nat(255)).map(([first, last]) => ({ type: 'payload' as const, first, last })),
)
const acks: fc.Arbitrary<Frame> = fc
  .array(
    fc.tuple(u32, fc.nat(0xffff)).map(([counter, bytes]) => ({ counter, bytes })),
    { minLength: 1, maxLength: 255 },
  )
  .map((cells) => ({ type: 'ack' as const, cells }))
const frames = fc.array(fc.oneof({ weight: 5, arbitrary: frame }, { weight: 1, arbitrary: acks }), { maxLength: 8 })
/** As the reader hands them over: entries of an ACK by themselves. */
const oneByOne = (sent: readonly Frame[]) =>
  sent.flatMap((one): Frame[] => (one.type === 'ack' ? one.cells.map((cell) => ({ type: 'ack', cells: [cell] })) : [one]))

test('what is written is read again, with and without zeros behind it, wherever it starts', () => {
  fc.assert(
    fc.property(frames, fc.nat(20), fc.nat(20), (sent, before, after) => {
      const encoded = encode(sent)
      const bytes = concat(new Uint8Array(before).fill(0xee), encoded, new Uint8Array(after))
      const sink = recorder()
      assert.equal(readFrames(bytes, before, bytes.length, sink), true)
      assert.deepEqual(sink.frames, oneByOne(sent))
      if (sent.every(({ type }) => type !== 'ack')) assert.deepEqual(encode(sink.frames), encoded)
    }),
    { numRuns: 200, seed: 1 },
  )
})

test('every truncation and every changed byte gives what the naive reader says, and never throws or reads beyond the end', () => {
  fc.assert(
    fc.property(frames, fc.integer({ min: 1, max: 255 }), (sent, flip) => {
      const encoded = encode(sent)
      const check = (bytes: Uint8Array) => {
        const sink = recorder()
        const naive = naiveRead(bytes)
        // Behind the end lies a frame that would count if it were read.
        const padded = concat(bytes, encode([{ type: 'reset', id: 77, code: 1 }]))
        assert.equal(readFrames(padded, 0, bytes.length, sink), naive !== null)
        if (naive !== null) assert.deepEqual(sink.frames, naive)
      }
      const step = Math.max(1, Math.floor(encoded.length / 60))
      for (let at = 0; at < encoded.length; at += step) {
        check(encoded.subarray(0, at))
        const changed = encoded.slice()
        changed[at]! ^= flip
        check(changed)
      }
    }),
    { numRuns: 60, seed: 2 },
  )
})

test('one frame of each type: every truncation is malformed', () => {
  for (const one of [
    { type: 'stream', id: 1, offset: 5, bytes: [1, 2, 3], fin: true },
    { type: 'credit', id: 0, limit: 99 },
    { type: 'reset', id: 3, code: 2 },
    { type: 'backlog', cells: 12 },
    {
      type: 'ack',
      cells: [
        { counter: 7, bytes: 8 },
        { counter: 9, bytes: 2000 },
      ],
    },
    { type: 'payload', first: 1, last: 2 },
  ] as const satisfies readonly Frame[]) {
    const encoded = encode([one])
    for (let at = 1; at < encoded.length; at++) assert.equal(readFrames(encoded, 0, at, recorder()), false)
  }
})

test('random bytes: the reader and the naive reader agree', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(6), (bytes, first) => {
      if (bytes.length > 0) bytes[0] = first
      const sink = recorder()
      const naive = naiveRead(bytes)
      assert.equal(readFrames(bytes, 0, bytes.length, sink), naive !== null)
      if (naive !== null) assert.deepEqual(sink.frames, naive)
    }),
    { numRuns: 500, seed: 3 },
  )
})

test('must fail: ACK of nothing, unknown types, a payload cut short, stream 0, offsets past the end', () => {
  const into = new Uint8Array(40)
  const reads = () => readFrames(into, 0, into.length, recorder())
  for (const type of [4, 6, 8, 128, 255]) {
    into.fill(0)
    into[0] = type
    assert.equal(reads(), false, `type ${type}`)
  }
  into.fill(0)
  writeStreamHeader(into, 0, 0, 0, 1, false)
  assert.equal(reads(), false)
  into.fill(0)
  writeExchange(into, 0, 16)
  assert.equal(reads(), false)
  into.fill(0)
  writeReset(into, 0, 0, 0)
  assert.equal(reads(), false)
  into.fill(0)
  writeStreamHeader(into, 0, 1, OFFSET_END - 5, 4, false)
  assert.equal(reads(), true)
  writeStreamHeader(into, 0, 1, OFFSET_END - 5, 5, false)
  assert.equal(reads(), false)
  into.fill(0)
  writeStreamHeader(into, 0, 1, 0, into.length - STREAM_HEADER_BYTES + 1, false)
  assert.equal(reads(), false)
})
