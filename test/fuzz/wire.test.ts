/**
 * Every parser of bytes that another node sends, led by what the input reaches (`guided.ts`): messages of neighbours, requests and replies of hops, stores,
 * records and introductions, descriptors, frames in cells and in payloads, bodies of set-ups. Whatever comes: a value within bounds that
 * says the same once encoded again, or nothing.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readIntroductionAnswer } from '../../client/service/loops.ts'
import { concat, le32, type NodeId, type UnixMs } from '../../src/bytes/index.ts'
import { BODY_BYTES } from '../../src/cell/index.ts'
import { decodeBody, encodeBody } from '../../src/circuit/setup/record.ts'
import { shapeOf } from '../../src/content/layout.ts'
import { encodeRoot, parseRoot } from '../../src/content/root.ts'
import { encodeSiteIndex, parseSiteIndex } from '../../src/content/site-index.ts'
import { verifySlot } from '../../src/content/slot.ts'
import { ControlReassembler, toControlBodies, verifyDescriptor } from '../../src/directory/index.ts'
import { isOverlayError } from '../../src/errors/index.ts'
import { parseAddress, withPeer } from '../../src/link/libp2p/index.ts'
import * as sessionFrames from '../../src/service/frames.ts'
import { readSessionFrames } from '../../src/service/frames.ts'
import * as frames from '../../src/stream/frames.ts'
import { readFrames } from '../../src/stream/frames.ts'
import { MessageReader } from '../../src/stream/message.ts'
import * as wire from '../../src/wire/index.ts'
import { TEST_RULES, testDescriptor, testNode } from '../support/directory.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { fuzzTarget, type Target } from '../support/guided.ts'
import { mutateBytes } from '../support/mutate.ts'
import { seededRng } from '../support/seeded-rng.ts'

const rng = seededRng('wire seeds')
const node = testNode(1)
const signed = testDescriptor(node, { neighbours: [testNode(2).id] })
const b32 = rng.bytes(32)
const none = new Uint8Array(0)
const slot = { publicKey: b32, slot: 3, value: rng.bytes(100), signature: rng.bytes(64) }
const record = {
  publicKey: b32,
  sequence: 9,
  expiresMs: 2 ** 41,
  value: rng.bytes(wire.RECORD_VALUE_BYTES),
  signature: rng.bytes(64),
}
const service = {
  x25519: b32,
  mlkem768: rng.bytes(1184),
  points: [{ node: node.id, point: b32 }],
  ports: [80, 443],
  effort: 3,
}
const introduction = { handle: 2 ** 40, message: rng.bytes(90), work: rng.bytes(8) }
const bytes = mutateBytes()

/** A parser whose values are encoded again. */
function codec<T>(
  name: string,
  parse: (bytes: Uint8Array) => T | null,
  encode: (value: T) => Uint8Array,
  values: readonly T[],
  check: (value: T) => void = () => {},
): Target {
  return {
    name,
    seeds: values.map(encode),
    mutate: bytes,
    run: (input) => {
      const before = input.slice()
      const value = parse(input)
      assert.equal(Buffer.compare(input, before), 0, 'the input was changed')
      if (value === null) return
      check(value)
      assert.deepEqual(parse(encode(value)), value)
    },
  }
}

const ignore = () => {}
const inside = (all: Uint8Array, at: number, length: number) => assert.ok(at >= 0 && length >= 0 && at + length <= all.length)

/** Some frames of each kind, written by `write`. */
function written(write: (into: Uint8Array) => number): Uint8Array {
  const into = new Uint8Array(4_000)
  return into.slice(0, write(into))
}

/** A message of a stream with its length before it. */
function message(length: number): Uint8Array {
  return concat(le32(length), rng.bytes(length))
}

const cellFrames = written((into) => {
  let at = frames.writeStreamHeader(into, 0, 1, 2 ** 40, 20, true) + 20
  at = frames.writeCredit(into, at, 0, 2 ** 30)
  at = frames.writeReset(into, at, 3, 2)
  at = frames.writeBacklog(into, at, 77)
  at = frames.writeExchange(into, at, 9)
  at = frames.writeAckHeader(into, at, 2)
  at = frames.writeAckEntry(into, at, 5, 1900)
  return frames.writeAckEntry(into, at, 6, 0)
})
const payloadFrames = written((into) => {
  let at = sessionFrames.writeOpen(into, 0, 1, 80)
  at = sessionFrames.writeOpened(into, at, 1)
  at = sessionFrames.writeStreamHeader(into, at, 1, 2 ** 40, 9, false) + 9
  at = sessionFrames.writeCredit(into, at, 1, 2 ** 20)
  at = sessionFrames.writeStreams(into, at, 64)
  return sessionFrames.writeReset(into, at, 1, 1, 900)
})

const targets: readonly Target[] = [
  codec('control', wire.parseControl, wire.encodeControl, [
    { kind: 'hello', version: 1, network: TEST_RULES.network, purpose: 'guest', descriptor: signed },
    { kind: 'welcome', accepted: true },
    { kind: 'digest', buckets: rng.bytes(2048) },
    { kind: 'listing', buckets: Uint8Array.of(1, 2, 200), hashes: rng.bytes(96) },
    { kind: 'want', hashes: rng.bytes(64) },
    { kind: 'descriptors', descriptors: [signed, signed] },
  ]),
  codec('signed descriptor', wire.parseSignedDescriptor, wire.encodeSignedDescriptor, [wire.parseSignedDescriptor(signed)!]),
  codec('descriptor', wire.parseDescriptor, wire.encodeDescriptor, [
    wire.parseDescriptor(wire.parseSignedDescriptor(signed)!.descriptor)!,
    { ...wire.parseDescriptor(wire.parseSignedDescriptor(signed)!.descriptor)!, putEffort: 7 },
  ]),
  codec('hop request', wire.parseHopRequest, wire.encodeHopRequest, [
    { kind: 'ping', filler: b32, answerBytes: 5 },
    { kind: 'store', request: wire.encodeStoreRequest({ kind: 'get-share', address: b32 }) },
    { kind: 'record', request: wire.encodeRecordRequest({ kind: 'get', publicKey: b32 }) },
    { kind: 'introduction', request: wire.encodeIntroductionRequest({ kind: 'await', token: b32 }) },
    { kind: 'join', cookie: b32, exchange: 0 },
    { kind: 'join', cookie: b32, exchange: 15 },
    { kind: 'twin', place: 3, cellKey: b32, answerKey: b32, rate: 2, liveEpoch: 2 ** 31, closeEpoch: 2 ** 31 + 12, holdMs: 40 },
  ]),
  codec('hop reply', wire.parseHopReply, wire.encodeHopReply, [{ status: 'busy', body: b32 }]),
  codec('store request', wire.parseStoreRequest, wire.encodeStoreRequest, [
    { kind: 'put-share', share: rng.bytes(65_536), keepHours: 5, work: none },
    { kind: 'get-share', address: b32 },
    { kind: 'put-slot', ...slot, keepHours: 5, work: rng.bytes(8) },
    { kind: 'get-slot', location: b32 },
    { kind: 'check-share', address: b32, nonce: rng.bytes(16), keepHours: 5, work: rng.bytes(8) },
    { kind: 'check-slot', location: b32, valueHash: b32, nonce: rng.bytes(16), keepHours: 5, work: none },
  ]),
  codec(
    'store reply',
    wire.parseStoreReply,
    wire.encodeStoreReply,
    [
      { share: null, slots: [slot, slot] },
      { share: rng.bytes(65_536), slots: [] },
      { share: null, slots: [], proof: b32 },
    ],
    ({ slots }) => {
      for (const each of slots) assert.equal(typeof verifySlot(each), 'boolean')
    },
  ),
  codec('introduction request', wire.parseIntroductionRequest, wire.encodeIntroductionRequest, [
    { kind: 'await', token: b32 },
    { kind: 'answer', token: b32, handle: 2 ** 50, message: rng.bytes(200) },
    { kind: 'introduce', point: b32, message: rng.bytes(1_200), work: rng.bytes(8) },
  ]),
  codec('introduction reply', wire.parseIntroductionReply, wire.encodeIntroductionReply, [
    { introductions: [introduction, introduction], message: rng.bytes(3) },
  ]),
  codec('record request', wire.parseRecordRequest, wire.encodeRecordRequest, [
    { kind: 'put', record, work: none },
    { kind: 'get', publicKey: b32 },
  ]),
  codec('record reply', wire.parseRecordReply, wire.encodeRecordReply, [record]),
  codec('signed record', wire.parseSignedRecord, wire.encodeSignedRecord, [record]),
  codec('record of a key', wire.parseKeyRecord, wire.encodeKeyRecord, [
    { sequence: 9, site: { snapshot: b32, version: 1, bytes: 5, files: 6 }, service },
    { sequence: 1, site: null, service },
  ]),
  {
    name: 'answer of an introduction point',
    seeds: [
      wire.encodeHopReply({
        status: 'ok',
        body: wire.encodeIntroductionReply({ introductions: [introduction], message: none }),
      }),
    ],
    mutate: bytes,
    run: (input) => {
      try {
        assert.ok(readIntroductionAnswer(input).introductions.length <= 8)
      } catch (error) {
        assert.ok(isOverlayError(error, 'SERVICE_UNREACHABLE'), String(error))
      }
    },
  },
  {
    name: 'descriptor that is judged',
    seeds: [signed],
    mutate: bytes,
    run: (input) => {
      const verified = verifyDescriptor(input, TEST_RULES, FakeClock.START_UNIX_MS as UnixMs)
      if (typeof verified !== 'object') return
      assert.deepEqual(wire.parseSignedDescriptor(verified.signed)!.descriptor, wire.parseSignedDescriptor(signed)!.descriptor)
    },
  },
  {
    name: 'address of a node',
    seeds: [
      '/ip4/127.0.0.1/tcp/9740',
      '/ip6/::1/tcp/1/ws',
      '/dns4/example.org/tcp/65535',
      withPeer('/dns/x/tcp/1', node.id as NodeId),
    ].map((text) => new Uint8Array(Buffer.from(text))),
    mutate: mutateBytes(
      ['/ip4/', '/ip6/', '/tcp/', '/ws', '/wss', '/p2p/', '/dns6/', '/quic-v1', '/unix/', '%', '12D3KooW', '::'].map(
        (word) => new Uint8Array(Buffer.from(word)),
      ),
    ),
    run: (input) => {
      const text = Buffer.from(input).toString('utf8')
      const found = parseAddress(text)
      if (found === null) return
      assert.ok(found.host.length > 0 && found.host.length <= 256)
      assert.ok(Number.isInteger(found.port) && found.port >= 0 && found.port <= 65_535, text)
    },
  },
  {
    name: 'frames of a cell',
    seeds: [cellFrames, concat(Uint8Array.of(frames.FrameType.PAYLOAD), new Uint8Array(frames.PAYLOAD_FRAME_BYTES - 1))],
    mutate: bytes,
    run: (input) => {
      readFrames(input, 0, input.length, {
        onStream: (id, offset, all, at, length) => {
          inside(all, at, length)
          assert.ok(id > 0 && offset + length < frames.OFFSET_END)
        },
        onCredit: (_id, limit) => assert.ok(limit >= 0),
        onReset: (id) => assert.ok(id > 0),
        onBacklog: (cells) => assert.ok(cells <= 0xffff),
        onAck: (counter, count) => assert.ok(counter >= 0 && count <= 0xffff),
        onPayload: (all, at) => inside(all, at, frames.PAYLOAD_FRAME_BYTES - 1),
        onExchange: (number) => assert.ok(number < frames.EXCHANGES_MAX),
      })
    },
  },
  {
    name: 'frames of a payload',
    seeds: [
      payloadFrames,
      // An ACK: highest (6), delay (2), ranges (1), then length and gap in turn.
      Uint8Array.of(7, 200, 0, 0, 0, 0, 0, 9, 0, 2, 5, 0, 3, 0, 2, 0),
      Uint8Array.of(8, 9),
    ],
    mutate: bytes,
    run: (input) => {
      readSessionFrames(input, 0, input.length, {
        onOpen: (id, port) => assert.ok(id > 0 && port > 0),
        onOpened: (id) => assert.ok(id > 0),
        onStream: (id, offset, all, at, length) => {
          inside(all, at, length)
          assert.ok(id > 0 && offset + length < sessionFrames.OFFSET_END)
        },
        onCredit: ignore,
        onStreams: ignore,
        onReset: (id) => assert.ok(id > 0),
        onAck: (ranges, count) => {
          assert.ok(count <= sessionFrames.ACK_RANGES_MAX)
          for (let range = 0; range < count; range++)
            assert.ok(ranges[2 * range]! >= 0 && ranges[2 * range]! <= ranges[2 * range + 1]!)
        },
        onPing: ignore,
        onClose: ignore,
      })
    },
  },
  {
    name: 'one message of a stream',
    seeds: [message(20), message(511)],
    mutate: bytes,
    run: (input) => {
      let ends = 0
      const reader = new MessageReader({
        onLength: (length) => length < 100_000,
        onMessage: (message) => {
          ends++
          assert.equal(message.length, input.length - 4)
        },
        onFail: () => void ends++,
      })
      // In pieces whose lengths the input decides.
      for (let at = 0, piece = 1; at < input.length; at += piece, piece = 1 + (input[at % input.length]! % 700)) {
        reader.onData(input, at, Math.min(piece, input.length - at))
      }
      reader.onFin()
      reader.onClose(1)
      assert.equal(ends, 1)
    },
  },
  {
    name: 'control cells',
    seeds: [rng.bytes(10), rng.bytes(5_000)].map((each) =>
      concat(...toControlBodies(each).map((body) => body.subarray(0, 1_300))),
    ),
    mutate: bytes,
    run: (input) => {
      const reassembler = new ControlReassembler()
      let broken = false
      for (let at = 0; at < input.length; at += 1_300) {
        const body = new Uint8Array(BODY_BYTES)
        body.set(input.subarray(at, at + 1_300))
        const result = reassembler.take(body)
        if (broken) assert.equal(result, 'malformed')
        broken = result === 'malformed'
        if (typeof result === 'object') assert.ok(result.length >= 1 && result.length <= wire.CONTROL_BYTES_MAX)
      }
    },
  },
  {
    name: 'body of a set-up, its plan in it',
    seeds: [0, 1, 2].map((clock) =>
      concat(b32, Uint8Array.of(0, clock, 3, 5, 1, 2, 3, 0, 9, 9, 0, 0, 8, 9, 0, 0, 7, 10, 0, 0, 40, 0, 0, 0), rng.bytes(32)),
    ),
    mutate: bytes,
    run: (input) => {
      const body = decodeBody(input)
      if (body !== null) assert.deepEqual(encodeBody(body, input.subarray(72)), input)
    },
  },
  codec('root', parseRoot, encodeRoot, [
    {
      sigma: b32,
      length: 0,
      spread: 8,
      name: 'ü.txt',
      contentType: 'text/plain',
      addresses: rng.bytes(shapeOf(0, 8).at(-1)!.addressBytes),
    },
    { sigma: b32, length: 5, spread: 4, name: '', contentType: 'a/b', addresses: rng.bytes(shapeOf(5, 4).at(-1)!.addressBytes) },
  ]),
  {
    name: 'index of a site',
    seeds: [
      encodeSiteIndex({
        version: 3,
        packs: [{ key: b32, bytes: 100_000 }],
        entries: [
          {
            ...{ path: 'a/ü.html', contentType: 'text/html; charset=utf-8', encoding: 'gzip', plainBytes: 2_000 },
            ...{ etag: rng.bytes(16), extents: [{ pack: 0, offset: 0, length: 77 }] },
          },
          { path: 'b', contentType: 'image/png', encoding: 'identity', plainBytes: 0, etag: rng.bytes(16), extents: [] },
        ],
      }),
    ],
    mutate: bytes,
    run: (input) => {
      const index = parseSiteIndex(input)
      if (index === null) return
      const entries = [...index.paths()].map((path) => index.entry(path)!)
      const again = encodeSiteIndex({ version: index.version, packs: index.packs, entries })
      assert.equal(Buffer.compare(again, input), 0)
    },
  },
]

for (const target of targets) test(target.name, { timeout: 600_000 }, (t) => fuzzTarget(t, target))
