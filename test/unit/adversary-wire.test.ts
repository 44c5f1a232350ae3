/** The lab's taps: the pcap reader and the TLS records in what it reads, the files of the tap inside, and the check that both agree. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { PcapReader, type Segment, TlsFlow } from '../adversary/pcap.ts'
import { parseRecords, readTap, TapKind, TapWriter } from '../adversary/tap-file.ts'
import { CELL_RECORD_BYTES, compareTaps, type Flow, FlowColumns, rowAt, type WireTrace } from '../adversary/wire-trace.ts'

interface Made {
  readonly at: number
  readonly from: number
  readonly to: number
  readonly sequence: number
  readonly payload: Buffer
}

interface Shape {
  readonly big?: boolean
  readonly nano?: boolean
  readonly six?: boolean
  /** Ethernet, or Linux cooked. */
  readonly link?: 1 | 113
}

/** A capture with these segments. */
function capture(segments: readonly Made[], { big = false, nano = false, six = false, link = 1 }: Shape = {}): Buffer {
  const u32 = (bytes: Buffer, value: number, at: number) =>
    big ? bytes.writeUInt32BE(value, at) : bytes.writeUInt32LE(value, at)
  const head = Buffer.alloc(24)
  u32(head, nano ? 0xa1b23c4d : 0xa1b2c3d4, 0)
  u32(head, link, 20)
  return Buffer.concat([
    head,
    ...segments.flatMap(({ at, from, to, sequence, payload }) => {
      const below = Buffer.alloc(link === 1 ? 14 : 16)
      const ip = Buffer.alloc(six ? 40 : 20)
      const tcp = Buffer.alloc(32)
      tcp.writeUInt16BE(from, 0)
      tcp.writeUInt16BE(to, 2)
      tcp.writeUInt32BE(sequence >>> 0, 4)
      tcp[12] = 8 << 4
      if (six) {
        ip[0] = 0x60
        ip.writeUInt16BE(tcp.length + payload.length, 4)
        ip[6] = 6
      } else {
        ip[0] = 0x45
        ip.writeUInt16BE(ip.length + tcp.length + payload.length, 2)
        ip[9] = 6
      }
      const packet = Buffer.concat([below, ip, tcp, payload])
      const header = Buffer.alloc(16)
      u32(header, Math.floor(at / 1000), 0)
      u32(header, Math.round((at % 1000) * (nano ? 1e6 : 1e3)), 4)
      u32(header, packet.length, 8)
      u32(header, packet.length, 12)
      return [header, packet]
    }),
  ])
}

const shapes = fc.record({
  big: fc.boolean(),
  nano: fc.boolean(),
  six: fc.boolean(),
  link: fc.constantFrom(1 as const, 113 as const),
})
const segmentsMade = fc.array(
  fc.record({
    at: fc.integer({ min: 0, max: 1e9 }),
    from: fc.nat(65_535),
    to: fc.nat(65_535),
    sequence: fc.nat(0xffff_ffff),
    payload: fc.uint8Array({ minLength: 1, maxLength: 80 }).map((bytes) => Buffer.from(bytes)),
  }),
  { maxLength: 8 },
)

test('what was captured is read, in every shape of capture and however it is cut', () => {
  fc.assert(
    fc.property(segmentsMade, shapes, fc.infiniteStream(fc.integer({ min: 1, max: 60 })), (made, shape, cuts) => {
      const found: Made[] = []
      const reader = new PcapReader(({ at, from, to, sequence, payload }) =>
        found.push({ at: Math.round(at), from, to, sequence, payload: Buffer.from(payload) }),
      )
      const bytes = capture(made, shape)
      for (let from = 0; from < bytes.length; ) {
        const length = cuts.next().value
        reader.push(bytes.subarray(from, from + length))
        from += length
      }
      assert.deepEqual(
        found,
        made.map((each) => ({ ...each })),
      )
      assert.equal(reader.packets, made.length)
    }),
  )
})

test('what is no capture, or one of links that are not known, is refused', () => {
  const reader = () => new PcapReader(() => {})
  assert.throws(() => reader().push(Buffer.alloc(24)), /Not a pcap/)
  const other = capture([])
  other.writeUInt32LE(147, 20)
  assert.throws(() => reader().push(other), /link type 147/)
  const long = Buffer.concat([capture([]), Buffer.alloc(16, 0xff)])
  assert.throws(() => reader().push(long), /no capture/)
})

test('packets that are not TCP over IP, or have no payload, are passed over', () => {
  const one = { at: 1, from: 1, to: 2, sequence: 3, payload: Buffer.from('x') }
  const bytes = capture([one])
  const found: Segment[] = []
  const read = (changed: Buffer) => new PcapReader((segment) => found.push(segment)).push(changed)
  for (const [place, value] of [
    [24 + 16 + 14 + 9, 17],
    [24 + 16 + 14, 0x25],
  ] as const) {
    const changed = Buffer.from(bytes)
    changed[place] = value
    read(changed)
  }
  read(capture([{ ...one, payload: Buffer.alloc(0) }]))
  assert.equal(found.length, 0)
})

/** A TLS record of `size` bytes with its header. */
function record(size: number): Buffer {
  const bytes = Buffer.alloc(size, 0x99)
  bytes.writeUInt8(23, 0)
  bytes.writeUInt16BE(0x0303, 1)
  bytes.writeUInt16BE(size - 5, 3)
  return bytes
}

function segment(sequence: number, payload: Buffer): Segment {
  return { at: 0, from: 1, to: 2, sequence: sequence >>> 0, payload, payloadBytes: payload.length }
}

test('records are counted by size, however segments cut them, also where sequence numbers wrap', () => {
  fc.assert(
    fc.property(
      fc.array(fc.constantFrom(5, 6, 24, 2070), { minLength: 1, maxLength: 20 }),
      fc.array(fc.integer({ min: 1, max: 3000 }), { minLength: 1, maxLength: 30 }),
      fc.nat(0xffff_ffff),
      (sizes, cuts, start) => {
        const stream = Buffer.concat([record(CELL_RECORD_BYTES), ...sizes.map(record)])
        const flow = new TlsFlow(CELL_RECORD_BYTES)
        let at = 0
        let counted = 0
        // The first segment must hold the first header: a flow is joined at one.
        for (let cut = 0; at < stream.length; cut++) {
          const length = Math.max(at === 0 ? 5 : 1, cuts[cut % cuts.length]!)
          counted += flow.push(segment(start + at, stream.subarray(at, at + length)))
          at += length
        }
        assert.equal(counted, 1 + sizes.length)
        const all = [CELL_RECORD_BYTES, ...sizes]
        for (const size of new Set(all)) assert.equal(flow.sizes.get(size), all.filter((other) => other === size).length)
        assert.equal(flow.gaps, 0)
      },
    ),
  )
})

test('a flow joined in the middle is followed from the first header; sent again is not counted again; what is lost is a gap', () => {
  const flow = new TlsFlow(CELL_RECORD_BYTES)
  assert.equal(flow.push(segment(100, Buffer.alloc(50, 1))), 0)
  assert.equal(flow.push(segment(150, record(20))), 1)
  assert.equal(flow.push(segment(150, record(20))), 0)
  assert.equal(flow.push(segment(160, Buffer.concat([record(20).subarray(10), record(30)]))), 1)
  assert.equal(flow.push(segment(300, record(20))), 1)
  assert.equal(flow.gaps, 1)
  assert.deepEqual(
    [...flow.early],
    [
      [20, 2],
      [30, 1],
    ],
  )
})

test('bytes that are no records end in a gap, not in a count', () => {
  const flow = new TlsFlow(CELL_RECORD_BYTES)
  flow.push(segment(0, record(20)))
  flow.push(segment(20, Buffer.from('GET / HTTP/1.1\r\n\r\n')))
  assert.equal(flow.gaps, 1)
  assert.equal(flow.early.size, 1)
})

test('a handshake ends with the first cell: what follows is counted apart, whatever its size', () => {
  const flow = new TlsFlow(CELL_RECORD_BYTES)
  const sizes = [413, 6, 100, CELL_RECORD_BYTES, CELL_RECORD_BYTES, 24]
  flow.push(segment(0, Buffer.concat(sizes.map(record))))
  assert.deepEqual([...flow.early.keys()], [413, 6, 100])
  assert.deepEqual(
    [...flow.sizes],
    [
      [CELL_RECORD_BYTES, 2],
      [24, 1],
    ],
  )
})

test('what a tapped process writes down is read again; what it was writing when it died is left out', () => {
  const folder = mkdtempSync(join(tmpdir(), 'gyre-tap-'))
  try {
    const path = join(folder, '1')
    const writer = new TapWriter(path)
    const count = 5000
    for (let at = 0; at < count; at++)
      writer.record(at % 2 === 0 ? TapKind.WRITE : TapKind.HOP, at / 3, at, 65_535 - at, at * 7, at)
    writer.fact({ type: 'launch', first: 'aa', last: 'bb', id: 7, at: 1.5 })
    writer.close()
    const { records, facts } = readTap(path)
    assert.equal(records.count, count)
    assert.equal(records.at[4999], 4999 / 3)
    assert.equal(records.kind[4999], TapKind.HOP)
    assert.equal(records.remote[10], 65_525)
    assert.equal(records.size[10], 70)
    assert.equal(records.number[10], 10)
    assert.deepEqual(facts, [{ type: 'launch', first: 'aa', last: 'bb', id: 7, at: 1.5 }])
    assert.equal(readTap(join(folder, 'none')).records.count, 0)
  } finally {
    rmSync(folder, { recursive: true })
  }
  assert.equal(parseRecords(Buffer.alloc(24 * 3 + 5)).count, 3)
})

function flow(ports: string, events: readonly (readonly [number, number])[]): Flow {
  const columns = new FlowColumns()
  for (const [at, bytes] of events) columns.push(at, bytes)
  return { from: 0, to: 1, ports, ...columns.done() }
}
const trace = (...flows: Flow[]): WireTrace => ({ flows, recordSizes: new Map(), handshakeSizes: new Map(), missed: 0 })

test('taps agree when bytes are the same, a little later; not when one of them saw less', () => {
  const events = Array.from({ length: 600 }, (_, at) => [at * 17, 2070] as const)
  const one = trace(flow('1-2', events))
  const later = trace(
    flow(
      '1-2',
      events.map(([at, bytes]) => [at + 3, bytes] as const),
    ),
  )
  const less = trace(
    flow(
      '1-2',
      events.filter((_, at) => at % 5 > 0),
    ),
  )
  const agreed = compareTaps(one, later, 0, 9_000)
  assert.ok(agreed.differing < 0.01 && agreed.worstTotal < 0.01, JSON.stringify(agreed))
  assert.equal(agreed.flows, 1)
  assert.ok(compareTaps(one, less, 0, 9_000).worstTotal > 0.15)
  assert.equal(compareTaps(one, trace(flow('3-4', events)), 0, 9_000).onlyOne, 2)
})

test('columns keep everything in order and grow; the row of a time is the first not before it', () => {
  const columns = new FlowColumns()
  for (let at = 0; at < 1000; at++) columns.push(at, 1)
  const { at, bytes } = columns.done(5)
  assert.equal(at.length, 1000)
  assert.equal(bytes.length, 1000)
  assert.equal(at[0], 5)
  assert.equal(rowAt(at, 5), 0)
  assert.equal(rowAt(at, 5.5), 1)
  assert.equal(rowAt(at, 1e6), 1000)
})
