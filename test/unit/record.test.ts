/**
 * Records as holders and readers see them: what a stranger can change, what two periods have in common (nothing), and the messages' bounds.
 * Spec: SPEC.md §10.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type NodeId, nodeIdOf, toHex } from '../../src/bytes/index.ts'
import { openKeyRecord, type RecordPeriod, sealKeyRecord } from '../../src/content/key-record.ts'
import {
  blindAddress,
  blindFactor,
  outerSequence,
  periodAt,
  periodStartMs,
  RECORD_GRACE_MS,
  RECORD_KEEP_MS_MAX,
  RECORD_PERIOD_SECONDS,
  recordCopies,
  recordExpiryMs,
  recordPlace,
  verifyRecord,
} from '../../src/content/record.ts'
import { blindSigningKey, verifySignature } from '../../src/crypto/index.ts'
import { networkIdOf } from '../../src/directory/index.ts'
import {
  encodeKeyRecord,
  encodeRecordReply,
  encodeRecordRequest,
  encodeSignedRecord,
  KEY_SEQUENCE_MAX,
  type KeyRecord,
  parseKeyRecord,
  parseRecordReply,
  parseRecordRequest,
  parseSignedRecord,
  RECORD_REQUEST_BYTES_MAX,
  RECORD_VALUE_BYTES,
  type SignedRecord,
} from '../../src/wire/index.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { keyOfByte, naiveRecord } from '../support/naive-record.ts'

const NOW = FakeClock.START_UNIX_MS
const network = networkIdOf('unit')
const { seed, key } = keyOfByte(5)
const period = periodAt(key, NOW)
const where: RecordPeriod = { key, network, period }
const blinded = await blindSigningKey(seed, blindFactor(key, network, period))
const site = { snapshot: new Uint8Array(32).fill(3), version: 2, bytes: 10_000, files: 12 }
const statement: KeyRecord = { sequence: 41, site, service: null }
const record = sealKeyRecord(where, blinded, statement)
const open = (changed: object = {}, at = NOW) => openKeyRecord(where, blinded.publicKey, { ...record, ...changed }, at)

test('what was sealed is opened again, until it expires', () => {
  assert.deepEqual(open(), statement)
  assert.deepEqual(open({}, record.expiresMs - 1), statement)
  assert.equal(open({}, record.expiresMs), null)
})

test('a holder can change nothing: every flipped byte of a record is noticed, by holders and readers alike', () => {
  const bytes = encodeSignedRecord(record)
  for (let at = 0; at < bytes.length; at++) {
    const flipped = bytes.slice()
    flipped[at]! ^= 1 << (at % 8)
    const parsed = parseSignedRecord(flipped)
    if (parsed === null) continue
    assert.equal(verifyRecord(parsed), false, `byte ${at}`)
    assert.equal(openKeyRecord(where, blinded.publicKey, parsed, NOW), null, `byte ${at}`)
  }
  for (const changed of [
    { sequence: record.sequence + 1 },
    { sequence: record.sequence - 1 },
    { expiresMs: record.expiresMs + 1 },
    { publicKey: key },
    { value: record.value.slice(1) },
    { value: new Uint8Array(RECORD_VALUE_BYTES) },
    { signature: record.signature.slice(1) },
    { sequence: Number.NaN },
    { sequence: -1 },
    { expiresMs: 2 ** 53 },
  ]) {
    assert.equal(verifyRecord({ ...record, ...changed }), false, JSON.stringify(Object.keys(changed)))
    assert.equal(open(changed), null)
  }
})

test('a record of another period, network or address opens nowhere else', async () => {
  const elsewhere: RecordPeriod[] = [
    { ...where, period: period + 1 },
    { ...where, period: period - 1 },
    { ...where, network: networkIdOf('other') },
    { ...where, key: keyOfByte(6).key },
  ]
  for (const other of elsewhere) {
    const publicKey = (await blindAddress(other.key, other.network, other.period))!
    assert.notEqual(toHex(publicKey), toHex(blinded.publicKey))
    assert.equal(openKeyRecord(other, publicKey, record, NOW), null)
    // Also if a holder calls it by the other name: the signature covers the key.
    assert.equal(openKeyRecord(other, publicKey, { ...record, publicKey }, NOW), null)
    assert.equal(openKeyRecord(other, blinded.publicKey, record, NOW), null, 'sealed for another place')
  }
})

test('the same said twice is the same bytes; anything else said shares none of the sealed ones', async () => {
  assert.deepEqual(sealKeyRecord(where, blinded, statement), record)
  const next = sealKeyRecord(where, blinded, { ...statement, sequence: 42 })
  assert.notEqual(toHex(next.value.subarray(0, 16)), toHex(record.value.subarray(0, 16)))
  assert.ok(sharedBytes(next.value, record.value) < 40)
})

/** Places where two values have equal bytes; by chance one in 256. */
function sharedBytes(a: Uint8Array, b: Uint8Array): number {
  return a.reduce((count, byte, at) => count + (byte === b[at] ? 1 : 0), 0)
}

test('unlinkable: two periods of one address show a holder nothing in common', async () => {
  const byPeriod = []
  for (let at = period; at < period + 6; at++) {
    const signing = await blindSigningKey(seed, blindFactor(key, network, at))
    byPeriod.push({ at, made: sealKeyRecord({ key, network, period: at }, signing, statement) })
  }
  for (const [index, { at, made }] of byPeriod.entries()) {
    for (const { at: otherAt, made: other } of byPeriod.slice(index + 1)) {
      assert.ok(sharedBytes(made.publicKey, other.publicKey) < 6)
      assert.ok(sharedBytes(made.value, other.value) < 40)
      assert.ok(sharedBytes(made.signature, other.signature) < 10)
      // The counter cannot be followed: what it was moved by is far apart.
      assert.ok(Math.abs(made.sequence - other.sequence) > 2 ** 30, `${at} and ${otherAt}`)
      assert.equal(verifySignature(other.publicKey, new Uint8Array(32), made.signature), false)
      const places = [made, other].map(({ publicKey }) => toHex(recordPlace(publicKey, 0)))
      assert.notEqual(places[0], places[1])
    }
  }
  // The time of expiry says only the week, which all addresses have in common.
  const others = [5, 6, 7, 8, 9].map((byte) => keyOfByte(byte).key)
  for (const other of others) {
    const expiresMs = recordExpiryMs(other, periodAt(other, NOW))
    assert.equal(expiresMs % (RECORD_PERIOD_SECONDS * 1000), 0)
  }
})

test('unlinkable: what is between two changes is not the same in two periods, and still grows', async () => {
  const changes = [27_500_000, 27_500_001, 27_500_003, 27_501_400, 27_530_000]
  const gaps = new Map<string, number>()
  for (let at = period; at < period + 20; at++) {
    const signing = await blindSigningKey(seed, blindFactor(key, network, at))
    const seen = changes.map(
      (sequence) => sealKeyRecord({ key, network, period: at }, signing, { ...statement, sequence }).sequence,
    )
    for (let one = 1; one < seen.length; one++) {
      assert.ok(seen[one]! > seen[one - 1]!)
      const name = `${one} ${seen[one]! - seen[one - 1]!}`
      gaps.set(name, (gaps.get(name) ?? 0) + 1)
    }
  }
  // 20 periods, some hundred possible gaps: a few meet by chance, never most.
  assert.ok(Math.max(...gaps.values()) <= 5, `${[...gaps.values()].sort((a, b) => b - a).slice(0, 4)}`)
})

test('periods: a week each, boundaries of their own for each address, expiry within what holders take', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), fc.integer({ min: 0, max: 4e12 }), (address, at) => {
      const number = periodAt(address, at)
      assert.ok(periodStartMs(address, number) <= at && at < periodStartMs(address, number + 1))
      assert.equal(periodStartMs(address, number + 1) - periodStartMs(address, number), RECORD_PERIOD_SECONDS * 1000)
      const over = recordExpiryMs(address, number) - periodStartMs(address, number + 1)
      assert.ok(over >= RECORD_GRACE_MS && over < RECORD_GRACE_MS + RECORD_PERIOD_SECONDS * 1000)
      assert.ok(recordExpiryMs(address, number + 4) + RECORD_GRACE_MS <= at + RECORD_KEEP_MS_MAX)
      const [least, most] = [
        outerSequence(address, network, number, 1),
        outerSequence(address, network, number, KEY_SEQUENCE_MAX),
      ]
      assert.ok(Number.isSafeInteger(most) && least > 0 && least < 2 ** 52 + 128 && most > least)
    }),
  )
  const offsets = new Set(Array.from({ length: 20 }, (_, byte) => periodStartMs(keyOfByte(byte).key, 2900) % 604_800_000))
  assert.equal(offsets.size, 20)
})

test('copies: any half of up to 30 holders may vanish, and never more than 16', () => {
  assert.deepEqual([4, 8, 20, 30, 31, 1000].map(recordCopies), [4, 5, 11, 16, 13, 13])
})

test('messages are read back as they were written, and refused when anything about them is not', () => {
  const put = encodeRecordRequest({ kind: 'put', record, work: new Uint8Array(8) })
  assert.deepEqual(parseRecordRequest(put), { kind: 'put', record, work: new Uint8Array(8) })
  const get = encodeRecordRequest({ kind: 'get', publicKey: key })
  assert.deepEqual(parseRecordRequest(get), { kind: 'get', publicKey: key })
  assert.deepEqual(parseRecordReply(encodeRecordReply(record)), record)
  for (const bytes of [put, get]) {
    assert.ok(bytes.length <= RECORD_REQUEST_BYTES_MAX)
    for (let cut = 0; cut < bytes.length; cut++) {
      const parsed = parseRecordRequest(bytes.subarray(0, cut))
      assert.ok(parsed === null || (parsed.kind === 'put' && parsed.work.length === 0), `cut at ${cut}`)
    }
  }
  const wrong: Partial<SignedRecord>[] = [
    { publicKey: new Uint8Array(31) },
    { publicKey: new Uint8Array(33) },
    { value: new Uint8Array(RECORD_VALUE_BYTES - 1) },
    { value: new Uint8Array(RECORD_VALUE_BYTES + 1) },
    { value: new Uint8Array(0) },
    { signature: new Uint8Array(63) },
    { sequence: 2 ** 53 },
  ]
  for (const changed of wrong) {
    const bad = { ...record, ...changed }
    assert.equal(parseRecordRequest(encodeRecordRequest({ kind: 'put', record: bad, work: new Uint8Array(0) })), null)
    assert.equal(parseRecordReply(encodeRecordReply(bad)), null)
  }
  assert.equal(parseRecordRequest(encodeRecordRequest({ kind: 'put', record, work: new Uint8Array(7) })), null)
  assert.equal(parseRecordRequest(encodeRecordRequest({ kind: 'get', publicKey: new Uint8Array(31) })), null)
  assert.equal(parseRecordRequest(new Uint8Array(RECORD_REQUEST_BYTES_MAX + 1)), null)
  assert.equal(parseRecordReply(new Uint8Array(0)), null)
})

const bytesOf = (length: number) => fc.uint8Array({ minLength: length, maxLength: length })
const plain = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }) => fc.record<T>(model, { noNullPrototype: true })
const keyRecords: fc.Arbitrary<KeyRecord> = plain({
  sequence: fc.integer({ min: 1, max: KEY_SEQUENCE_MAX }),
  site: fc.option(
    plain({
      snapshot: bytesOf(32),
      version: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
      bytes: fc.nat({ max: Number.MAX_SAFE_INTEGER }),
      files: fc.nat({ max: 0xffff_ffff }),
    }),
  ),
  service: fc.option(
    plain({
      x25519: bytesOf(32),
      mlkem768: bytesOf(1184),
      points: fc.array(plain({ node: bytesOf(32).map((bytes): NodeId => nodeIdOf(bytes)), point: bytesOf(32) }), {
        minLength: 1,
        maxLength: 8,
      }),
      ports: fc.uniqueArray(fc.integer({ min: 1, max: 65_535 }), { minLength: 1, maxLength: 16 }),
      effort: fc.nat({ max: 32 }),
    }),
  ),
})

test('every statement within the limits fits, is sealed and opened as it was; the naive twin makes the same bytes', async () => {
  await fc.assert(
    fc.asyncProperty(keyRecords, async (each) => {
      assert.deepEqual(parseKeyRecord(encodeKeyRecord(each)), each)
      const made = sealKeyRecord(where, blinded, each)
      assert.deepEqual(openKeyRecord(where, blinded.publicKey, made, NOW), each)
      assert.deepEqual((await naiveRecord(seed, where, each)).made, made)
    }),
    { numRuns: 40, endOnFailure: true },
  )
})

test('a statement over the limits is not sealed', () => {
  const service = { x25519: new Uint8Array(32), mlkem768: new Uint8Array(1184), points: [], ports: [80], effort: 0 }
  assert.throws(() => sealKeyRecord(where, blinded, { ...statement, service }), RangeError)
  assert.throws(() => sealKeyRecord(where, blinded, { ...statement, sequence: 0 }), RangeError)
})

test('a signing key that was wiped signs for nobody', async () => {
  const gone = await blindSigningKey(seed, blindFactor(key, network, period))
  gone.wipe()
  assert.equal(verifySignature(gone.publicKey, key, gone.sign(key)), false)
})
