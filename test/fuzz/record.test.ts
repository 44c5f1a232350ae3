/** The parsers of records on hostile bytes: random ones, and valid ones with bytes changed, cut or added. They never throw, and what passes is within bounds. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { parseSavedRecord } from '../../client/records/upkeep.ts'
import { openRecordHolder, recordService } from '../../relay/record/index.ts'
import { type NodeId, toHex } from '../../src/bytes/index.ts'
import { openKeyRecord, sealKeyRecord } from '../../src/content/key-record.ts'
import { blindFactor, periodAt, verifyRecord } from '../../src/content/record.ts'
import { blindSigningKey } from '../../src/crypto/index.ts'
import {
  encodeKeyRecord,
  encodeRecordReply,
  encodeRecordRequest,
  encodeSignedRecord,
  parseKeyRecord,
  parseRecordReply,
  parseRecordRequest,
  parseSignedRecord,
  RECORD_VALUE_BYTES,
  type SignedRecord,
} from '../../src/wire/index.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { counted } from '../support/fuzzing.ts'
import { roughen } from '../support/mutate.ts'
import { keyOfByte, naiveRecord } from '../support/naive-record.ts'
import { seededRng } from '../support/seeded-rng.ts'

const SEED = process.env.FUZZ_SEED ?? 1
const FOR_MS = Number(process.env.FUZZ_MS ?? 3_000)
const ROUNDS_MAX = 200_000
const STATUSES = new Set(['ok', 'not-found', 'refused', 'busy', 'bad-request'])

const rng = seededRng(SEED)
const clock = new FakeClock()
const { seed, key } = keyOfByte(3)
const network = new Uint8Array(32)
const where = { key, network, period: periodAt(key, clock.unixMs()) }
const blinded = await blindSigningKey(seed, blindFactor(key, network, where.period))
const service = {
  x25519: rng.bytes(32),
  mlkem768: rng.bytes(1184),
  points: Array.from({ length: 8 }, () => ({ node: toHex(rng.bytes(32)) as NodeId, point: rng.bytes(32) })),
  ports: Array.from({ length: 16 }, (_, at) => 1000 + at),
  effort: 9,
}
const statement = { sequence: 9, site: { snapshot: rng.bytes(32), version: 1, bytes: 5, files: 6 }, service }
const record = sealKeyRecord(where, blinded, statement)
const valid = [
  encodeRecordRequest({ kind: 'put', record, work: new Uint8Array(0) }),
  encodeRecordRequest({ kind: 'get', publicKey: record.publicKey }),
  encodeRecordReply(record),
  encodeSignedRecord(record),
  encodeKeyRecord(statement),
]

function checkRecord(parsed: SignedRecord | null): void {
  if (parsed === null) return
  assert.equal(parsed.publicKey.length, 32)
  assert.equal(parsed.value.length, RECORD_VALUE_BYTES)
  assert.equal(parsed.signature.length, 64)
  assert.ok(Number.isSafeInteger(parsed.sequence) && Number.isSafeInteger(parsed.expiresMs))
}

function checkStatement(bytes: Uint8Array): void {
  const parsed = parseKeyRecord(bytes)
  parseSavedRecord(bytes)
  if (parsed === null) return
  assert.deepEqual(parseKeyRecord(encodeKeyRecord(parsed)), parsed)
  assert.ok(parsed.sequence >= 1 && parsed.sequence < 2 ** 46)
  if (parsed.service === null) return
  const { points, ports, effort, mlkem768 } = parsed.service
  assert.ok(points.length >= 1 && points.length <= 8 && ports.length >= 1 && ports.length <= 16)
  assert.ok(ports.every((port) => port >= 1 && port <= 65_535) && effort <= 32 && mlkem768.length === 1184)
}

test(`the parsers take ${FOR_MS} ms of hostile bytes (seed ${SEED})`, () => {
  const end = performance.now() + FOR_MS
  let rounds = 0
  while (performance.now() < end && rounds++ < ROUNDS_MAX) {
    counted(1)
    const bytes = roughen(valid, rng)
    const request = parseRecordRequest(bytes)
    if (request?.kind === 'put') checkRecord(request.record)
    if (request?.kind === 'get') assert.equal(request.publicKey.length, 32)
    checkRecord(parseRecordReply(bytes))
    const signed = parseSignedRecord(bytes)
    checkRecord(signed)
    checkStatement(bytes)
    if (signed?.publicKey.every((byte, at) => byte === record.publicKey[at])) {
      const opened = openKeyRecord(where, record.publicKey, signed, clock.unixMs())
      if (opened !== null) assert.deepEqual(opened, statement)
    }
  }
})

test('whatever an owner seals is opened within bounds, or refused', async () => {
  for (let round = 0; round < 300; round++) {
    const { made } = await naiveRecord(seed, where, statement, { encoded: roughen(valid, rng).subarray(0, 3000) })
    assert.ok(verifyRecord(made))
    const opened = openKeyRecord(where, record.publicKey, made, clock.unixMs())
    if (opened !== null) checkStatement(encodeKeyRecord(opened))
    const plain = rng.bytes(3072)
    const odd = await naiveRecord(seed, where, statement, { plain })
    assert.equal(openKeyRecord(where, record.publicKey, odd.made, clock.unixMs()), null)
  }
})

test(`the service answers ${FOR_MS} ms of hostile requests, and keeps what it has (seed ${SEED})`, async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'gyre-fuzz-'))
  const holder = await openRecordHolder({ dir, clock, log: { warn: () => {} }, recordsMax: 16 })
  t.after(async () => {
    await holder.close()
    rmSync(dir, { recursive: true, force: true })
  })
  const answer = recordService(holder)
  assert.equal((await answer(valid[0]!)).status, 'ok')
  const end = performance.now() + FOR_MS
  let rounds = 0
  while (performance.now() < end && rounds++ < ROUNDS_MAX) {
    counted(1)
    const request = roughen(valid, rng)
    const { status, body } = await answer(request)
    assert.ok(STATUSES.has(status), `seed ${SEED}: status ${status}`)
    if (body.length > 0) assert.ok(verifyRecord(parseRecordReply(body)!))
  }
  assert.equal(holder.stats().records, 1)
  assert.deepEqual(parseRecordReply((await answer(valid[1]!)).body), record)
})
