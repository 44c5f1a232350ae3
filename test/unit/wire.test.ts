/** The wire parsers: round trips, every bound from both sides, and that no field aliases the peer's bytes. Spec: SPEC.md §3.4, §5, §6, §7. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import fc from 'fast-check'
import { concat, type Pieces, piecesOf } from '../../src/bytes/index.ts'
import { gyre } from '../../src/wire/generated/messages.js'
import {
  CONTROL_BYTES_MAX,
  type ControlMessage,
  type DescriptorFields,
  encodeControl,
  encodeDescriptor,
  encodeHopReply,
  encodeHopRequest,
  encodeSignedDescriptor,
  encodeStoreReply,
  encodeStoreRequest,
  type HopReply,
  type HopRequest,
  hopReplyPieces,
  LISTED_HASHES_MAX,
  parseControl,
  parseDescriptor,
  parseHopReply,
  parseHopRequest,
  parseSignedDescriptor,
  parseStoreReply,
  parseStoreRequest,
  SHARE_BYTES,
  type StoreReply,
  type StoreRequest,
  storeCallPieces,
  storeReplyPieces,
  storeRequestPieces,
} from '../../src/wire/index.ts'

const seed = 2024
const plain = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> => fc.record(model, { noNullPrototype: true })
const exactly = (length: number) => fc.uint8Array({ minLength: length, maxLength: length })
const upTo = (max: number, min = 0) => fc.uint8Array({ minLength: min, maxLength: max })
const packed = (max: number, min: number) => fc.nat(max - min).chain((count) => exactly(32 * (count + min)))

const control: fc.Arbitrary<ControlMessage> = fc.oneof(
  plain({
    kind: fc.constant('hello' as const),
    version: fc.nat(0xffff_ffff),
    network: exactly(32),
    purpose: fc.constantFrom('neighbour' as const, 'guest' as const),
    descriptor: upTo(4096, 1),
  }),
  plain({ kind: fc.constant('welcome' as const), accepted: fc.boolean() }),
  plain({ kind: fc.constant('digest' as const), buckets: exactly(2048) }),
  plain({
    kind: fc.constant('listing' as const),
    buckets: fc
      .uniqueArray(fc.nat(255), { minLength: 1, maxLength: 256 })
      .map((list) => Uint8Array.from(list.sort((a, b) => a - b))),
    hashes: packed(40, 0),
  }),
  plain({ kind: fc.constant('want' as const), hashes: packed(40, 1) }),
  plain({ kind: fc.constant('descriptors' as const), descriptors: fc.array(upTo(300, 1), { minLength: 1, maxLength: 32 }) }),
)
const descriptor: fc.Arbitrary<DescriptorFields> = plain({
  version: fc.constant(1),
  network: exactly(32),
  node: exactly(32),
  addresses: fc.array(fc.stringMatching(/^[!-~]{1,128}$/), { maxLength: 8 }),
  onion: plain({ kid: fc.nat(255), x25519: exactly(32), mlkem768: exactly(1184) }),
  capacityClass: fc.nat(7),
  storeQuotaBytes: fc.maxSafeNat(),
  publishedMs: fc.maxSafeNat(),
  neighbours: fc.array(exactly(32), { maxLength: 16 }),
  family: fc.array(exactly(32), { maxLength: 16 }),
  work: exactly(8),
  firstSeenDay: fc.nat(0xffff_ffff),
})
const slot = { publicKey: exactly(32), slot: fc.nat(65_535), value: upTo(2000, 1), signature: exactly(64) }
const terms = { keepHours: fc.nat(366 * 24), work: fc.oneof(exactly(0), exactly(8)) }
const share = fc.nat(255).map((byte) => new Uint8Array(SHARE_BYTES).fill(byte))
const storeRequest: fc.Arbitrary<StoreRequest> = fc.oneof(
  plain({ kind: fc.constant('put-share' as const), share, ...terms }),
  plain({ kind: fc.constant('get-share' as const), address: exactly(32) }),
  plain({ kind: fc.constant('put-slot' as const), ...slot, ...terms }),
  plain({ kind: fc.constant('get-slot' as const), location: exactly(32) }),
  plain({ kind: fc.constant('check-share' as const), address: exactly(32), nonce: exactly(16), ...terms }),
  plain({
    kind: fc.constant('check-slot' as const),
    location: exactly(32),
    valueHash: exactly(32),
    nonce: exactly(16),
    ...terms,
  }),
)
const storeReply: fc.Arbitrary<StoreReply> = fc.oneof(
  plain({ share: fc.option(share), slots: fc.array(plain(slot), { maxLength: 4 }) }),
  plain({ share: fc.constant(null), slots: fc.constant([]), proof: exactly(32) }),
)
const hopRequest: fc.Arbitrary<HopRequest> = fc.oneof(
  plain({ kind: fc.constant('store' as const), request: upTo(500, 1) }),
  plain({ kind: fc.constant('ping' as const), filler: upTo(500), answerBytes: fc.nat(64 * 1024) }),
)
const hopReply: fc.Arbitrary<HopReply> = plain({
  status: fc.constantFrom('ok' as const, 'not-found' as const, 'refused' as const, 'busy' as const, 'bad-request' as const),
  body: upTo(500),
})

/** Round trip, and that neither a Buffer given in nor (unless its long fields are `views`) a later change of it shows in the value. */
function comesBack<T>(
  values: fc.Arbitrary<T>,
  encode: (value: T) => Uint8Array,
  parse: (bytes: Uint8Array) => T | null,
  { views = false }: { readonly views?: boolean } = {},
): void {
  fc.assert(
    fc.property(values, (value) => {
      const bytes = encode(value)
      assert.equal(bytes.constructor, Uint8Array)
      assert.equal(bytes.buffer.byteLength, bytes.length)
      const given = Buffer.concat([Buffer.from([9]), bytes]).subarray(1)
      const parsed = parse(given)
      if (!views) given.fill(0xee)
      assert.deepEqual(parsed, value)
    }),
    { seed, numRuns: 60 },
  )
}

test('control messages come back as they were', () => comesBack(control, encodeControl, parseControl))
test('descriptors come back as they were, to the largest exact integer', () =>
  comesBack(descriptor, encodeDescriptor, parseDescriptor))
test('signed descriptors come back as they were', () =>
  comesBack(plain({ descriptor: upTo(3000, 1), signature: exactly(64) }), encodeSignedDescriptor, parseSignedDescriptor))
test('store requests come back as they were', () =>
  comesBack(storeRequest, encodeStoreRequest, parseStoreRequest, { views: true }))
test('store replies come back as they were', () => comesBack(storeReply, encodeStoreReply, parseStoreReply, { views: true }))
test('hop requests come back as they were', () => comesBack(hopRequest, encodeHopRequest, parseHopRequest, { views: true }))
test('hop replies come back as they were', () => comesBack(hopReply, encodeHopReply, parseHopReply, { views: true }))

const joined = (pieces: Pieces) => concat(...piecesOf(pieces))
test('what is sent in pieces is read as what is sent whole', () => {
  comesBack(storeRequest, (value) => joined(storeRequestPieces(value)), parseStoreRequest, { views: true })
  const shareOnly = storeReply.map((reply) => (reply.share === null ? reply : { ...reply, slots: [] }))
  comesBack(shareOnly, (value) => joined(storeReplyPieces(value)), parseStoreReply, { views: true })
  comesBack(hopReply, ({ status, body }) => joined(hopReplyPieces(status, body)), parseHopReply, { views: true })
  const calls = plain({ kind: fc.constant('store' as const), request: upTo(500, 1) })
  comesBack(
    calls,
    ({ request }) => joined(storeCallPieces(request)),
    (bytes) => parseHopRequest(bytes) as never,
    { views: true },
  )
})

test('no truncation of a message is taken for the message', () => {
  fc.assert(
    fc.property(descriptor, fc.double({ min: 0, max: 0.999, noNaN: true }), (value, part) => {
      const bytes = encodeDescriptor({ ...value, work: new Uint8Array(8).fill(1), firstSeenDay: 0 }) // so that the required `work` comes last
      assert.equal(parseDescriptor(bytes.subarray(0, Math.floor(bytes.length * part))), null)
    }),
    { seed, numRuns: 100 },
  )
})

const { Control } = gyre.link
const raw = (message: gyre.link.Control.$Properties) => Control.encode(message).finish()

test('a control message out of bounds is null', () => {
  const hash = new Uint8Array(32)
  const hello = { version: 1, network: hash, purpose: 0, descriptor: hash }
  assert.ok(parseControl(raw({ hello })))
  const refused: gyre.link.Control.$Properties[] = [
    {},
    { hello: { ...hello, network: hash.subarray(1) } },
    { hello: { ...hello, descriptor: new Uint8Array(0) } },
    { hello: { ...hello, descriptor: new Uint8Array(4097) } },
    { hello: { ...hello, purpose: 2 } },
    { hello: { ...hello, purpose: -1 } },
    { digest: { buckets: new Uint8Array(2047) } },
    { digest: {} },
    { listing: { hashes: hash } },
    { listing: { buckets: Uint8Array.of(3, 3), hashes: hash } },
    { listing: { buckets: Uint8Array.of(4, 3), hashes: hash } },
    { listing: { buckets: Uint8Array.of(3), hashes: new Uint8Array(33) } },
    { listing: { buckets: Uint8Array.of(3), hashes: new Uint8Array(32 * (LISTED_HASHES_MAX + 1)) } },
    { want: {} },
    { want: { hashes: new Uint8Array(31) } },
    { want: { hashes: new Uint8Array(32 * (LISTED_HASHES_MAX + 1)) } },
    { descriptors: {} },
    { descriptors: { descriptors: Array.from({ length: 33 }, () => hash) } },
    { descriptors: { descriptors: [new Uint8Array(0)] } },
    { descriptors: { descriptors: [new Uint8Array(4097)] } },
  ]
  for (const message of refused) assert.equal(parseControl(raw(message)), null, JSON.stringify(message).slice(0, 80))
  assert.equal(parseControl(new Uint8Array(CONTROL_BYTES_MAX + 1)), null)
})

test('a store message out of bounds is null', () => {
  const { StoreRequest: Request, StoreReply: Reply } = gyre.store
  const of = (message: gyre.store.StoreRequest.$Properties) => parseStoreRequest(Request.encode(message).finish())
  const good = new Uint8Array(SHARE_BYTES)
  assert.ok(of({ putShare: { share: good } }))
  assert.equal(of({}), null)
  assert.equal(of({ putShare: { share: good.subarray(1) } }), null)
  assert.equal(of({ putShare: { share: good, work: new Uint8Array(7) } }), null)
  assert.equal(of({ putShare: { share: good, keepHours: 366 * 24 + 1 } }), null)
  assert.equal(of({ getShare: { address: new Uint8Array(31) } }), null)
  assert.equal(of({ getSlot: {} }), null)
  const whole = { publicKey: new Uint8Array(32), slot: 1, value: new Uint8Array(9), signature: new Uint8Array(64) }
  assert.ok(of({ putSlot: whole }))
  assert.equal(of({ putSlot: { ...whole, slot: 65_536 } }), null)
  assert.equal(of({ putSlot: { ...whole, value: new Uint8Array(0) } }), null)
  assert.equal(of({ putSlot: { ...whole, value: new Uint8Array(32 * 1024 + 1) } }), null)
  assert.equal(of({ putSlot: { ...whole, signature: new Uint8Array(63) } }), null)
  const check = { address: new Uint8Array(32), nonce: new Uint8Array(16) }
  assert.ok(of({ checkShare: check }))
  assert.equal(of({ checkShare: { ...check, nonce: new Uint8Array(15) } }), null)
  assert.equal(of({ checkShare: { ...check, address: new Uint8Array(33) } }), null)
  assert.equal(of({ checkShare: { ...check, keepHours: 366 * 24 + 1 } }), null)
  assert.equal(of({ checkShare: { ...check, work: new Uint8Array(9) } }), null)
  const slotCheck = { location: new Uint8Array(32), valueHash: new Uint8Array(32), nonce: new Uint8Array(16) }
  assert.ok(of({ checkSlot: slotCheck }))
  for (const field of ['location', 'valueHash', 'nonce']) {
    assert.equal(of({ checkSlot: { ...slotCheck, [field]: new Uint8Array(17) } }), null, field)
  }
  const reply = (message: gyre.store.StoreReply.$Properties) => parseStoreReply(Reply.encode(message).finish())
  assert.deepEqual(reply({}), { share: null, slots: [] })
  assert.equal(reply({ share: new Uint8Array(1) }), null)
  for (const length of [1, 31, 33]) assert.equal(reply({ proof: new Uint8Array(length) }), null)
  assert.ok(reply({ slots: [whole, whole, whole, whole] }))
  assert.equal(reply({ slots: [whole, whole, whole, whole, whole] }), null)
  assert.equal(reply({ slots: [{ ...whole, publicKey: new Uint8Array(31) }] }), null)
})

test('a descriptor out of form is null', () => {
  const { Descriptor } = gyre.directory
  const good: gyre.directory.Descriptor.$Properties = {
    version: 1,
    network: new Uint8Array(32),
    node: new Uint8Array(32),
    addresses: ['/ip4/127.0.0.1/tcp/1'],
    onion: { kid: 1, x25519: new Uint8Array(32), mlkem768: new Uint8Array(1184) },
    work: new Uint8Array(8),
  }
  const of = (change: gyre.directory.Descriptor.$Properties) =>
    parseDescriptor(Descriptor.encode({ ...good, ...change }).finish())
  assert.ok(of({}))
  const refused: gyre.directory.Descriptor.$Properties[] = [
    { version: 2 },
    { version: 0 },
    { network: new Uint8Array(31) },
    { node: new Uint8Array(33) },
    { addresses: Array.from({ length: 9 }, () => '/x') },
    { addresses: ['x'.repeat(129)] },
    { addresses: [''] },
    { addresses: ['/ip4/ 1'] },
    { addresses: ['/dns/\u0000'] },
    { addresses: ['/dns/é'] },
    { onion: null },
    { onion: { kid: 256, x25519: new Uint8Array(32), mlkem768: new Uint8Array(1184) } },
    { onion: { kid: 1, x25519: new Uint8Array(31), mlkem768: new Uint8Array(1184) } },
    { onion: { kid: 1, x25519: new Uint8Array(32), mlkem768: new Uint8Array(1183) } },
    { capacityClass: 8 },
    { publishedMs: 2 ** 53 },
    { storeQuotaBytes: 2 ** 60 },
    { neighbours: Array.from({ length: 17 }, () => new Uint8Array(32)) },
    { neighbours: [new Uint8Array(31)] },
    { family: [new Uint8Array(0)] },
    { work: new Uint8Array(9) },
  ]
  for (const change of refused) assert.equal(of(change), null, JSON.stringify(change).slice(0, 80))
})

test('hop replies: an unknown status is null, no bytes are an empty ok', () => {
  const { HopReply: Reply } = gyre.circuit
  assert.deepEqual(parseHopReply(new Uint8Array(0)), { status: 'ok', body: new Uint8Array(0) })
  for (const status of [5, -1, 1000]) assert.equal(parseHopReply(Reply.encode({ status }).finish()), null)
  assert.equal(parseHopRequest(new Uint8Array(0)), null)
})

test('the committed generated code is what the .proto files give', () => {
  const run = spawnSync(process.execPath, ['src/wire/generate.ts', '--check'], { encoding: 'utf8' })
  assert.equal(run.status, 0, run.stderr)
})
