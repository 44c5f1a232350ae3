/**
 * Looking up records among holders that are gone, silent, forge, or give old ones. A reader never takes a wrong record, and takes an old one
 * only where it can be told by nobody: too few answered, and this node never saw a newer one. Spec: SPEC.md §10.6.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { HolderRecordFinder, RECORD_CACHE_MS, SeenRecords } from '../../client/records/index.ts'
import { SEEN_MAX } from '../../client/records/seen.ts'
import { Traces } from '../../client/trace/index.ts'
import { toHex } from '../../src/bytes/index.ts'
import { sealKeyRecord } from '../../src/content/key-record.ts'
import { Ranking } from '../../src/content/placement.ts'
import { blindFactor, periodAt, periodStartMs, RECORD_GRACE_MS, recordCopies, recordPlace } from '../../src/content/record.ts'
import { blindSigningKey, sha256 } from '../../src/crypto/index.ts'
import { networkIdOf } from '../../src/directory/index.ts'
import { isOverlayError } from '../../src/errors/index.ts'
import type { SignedRecord } from '../../src/wire/index.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { FakeRecordNetwork } from '../support/fake-record-network.ts'
import { never } from '../support/fake-share-network.ts'
import { keyOfByte, naiveRecord } from '../support/naive-record.ts'
import { seededRng } from '../support/seeded-rng.ts'

const networkId = networkIdOf('unit')
const { seed, key } = keyOfByte(11)
const hour = 3_600_000
// Loads libsodium's larger build before time stands still.
await blindSigningKey(seed, new Uint8Array(32))

const statement = (sequence: number) => ({
  sequence,
  site: { snapshot: new Uint8Array(32).fill(sequence), version: sequence, bytes: 1, files: 1 },
  service: null,
})

async function recordOf(sequence: number, period: number): Promise<SignedRecord> {
  return sealKeyRecord(
    { key, network: networkId, period },
    await blindSigningKey(seed, blindFactor(key, networkId, period)),
    statement(sequence),
  )
}

/** A clock that begins in the middle of a period of `key`. */
function middle(): FakeClock {
  const at = FakeClock.START_UNIX_MS
  return new FakeClock(periodStartMs(key, periodAt(key, at)) + 84 * hour)
}

async function fixture(t: TestContext, { nodes = 8, clock = middle() } = {}) {
  const dataDir = mkdtempSync(join(tmpdir(), 'gyre-finder-'))
  const network = new FakeRecordNetwork(nodes, clock)
  const warnings: string[] = []
  const log = { warn: (text: string) => void warnings.push(text) }
  const openSeen = () => SeenRecords.open({ dataDir, secret: new Uint8Array(32).fill(1), clock, log })
  let seen = await openSeen()
  const names: string[] = []
  const make = () =>
    new HolderRecordFinder({
      network: (_, isolation) => {
        names.push(isolation)
        return network
      },
      ...{ networkId, seen, clock, rng: seededRng(nodes) },
    })
  let finder = make()
  t.after(async () => {
    finder.close()
    await seen.close()
    rmSync(dataDir, { recursive: true, force: true })
  })
  return {
    ...{ network, clock, dataDir, warnings, names },
    period: periodAt(key, clock.unixMs()),
    seen: () => seen,
    /** Puts the record where a publisher would, or at the first `count` of these nodes. */
    async publish(sequence: number, count = 99, period = periodAt(key, clock.unixMs())) {
      const record = await recordOf(sequence, period)
      const ids = network.holders()
      const places = Array.from({ length: Math.min(ids.length, recordCopies(ids.length)) }, (_, copy) =>
        recordPlace(record.publicKey, copy),
      )
      const placed = new Ranking(ids).place(places).slice(0, count)
      for (const id of placed) await network.putRecord(id, record, { signal: never })
      return placed.map((id) => network.nodes.find((node) => node.id === id)!)
    },
    find: (options: object = {}) => clock.runFor(finder.find(key, { signal: never, ...options }), 600_000),
    start: (options: object = {}) => finder.find(key, { signal: never, ...options }),
    async restart() {
      finder.close()
      await seen.close()
      seen = await openSeen()
      finder = make()
    },
  }
}

const isCode = (code: Parameters<typeof isOverlayError>[1]) => (error: unknown) => isOverlayError(error, code)

test('a published record is found, by three asks when all is well', async (t) => {
  const { publish, find, network, period } = await fixture(t)
  await publish(5)
  const before = network.gets
  const found = await find()
  assert.deepEqual(found.record, statement(5))
  assert.equal(found.period, period)
  assert.equal(network.gets - before, 3)
})

test('the highest of several records is taken; one holder that rolls back is not believed', async (t) => {
  const { publish, find, network } = await fixture(t)
  const old = await publish(5)
  const older = new Map(old.map((node) => [node.id, [...node.records.values()][0]!]))
  await publish(6)
  for (const liar of old) {
    liar.lie = () => older.get(liar.id)!
    assert.equal((await find()).record.sequence, 6)
    liar.lie = null
  }
  assert.equal(network.nodes.length, 8)
})

test('all holders roll back: refused once a newer record was seen, also after a restart', async (t) => {
  const { publish, find, network, restart, clock } = await fixture(t)
  const old = await publish(5)
  const older = [...old[0]!.records.values()][0]!
  await publish(6)
  await find()
  await clock.advance(2_000)
  for (const node of network.nodes) node.lie = () => older
  await assert.rejects(find(), isCode('RECORD_STALE'))
  await restart()
  await assert.rejects(find(), isCode('RECORD_STALE'))
  // Another isolation has not seen it, and shall not be told by a refusal that it has.
  assert.equal((await find({ isolation: 'other' })).record.sequence, 5)
  for (const node of network.nodes) node.lie = null
  assert.equal((await find()).record.sequence, 6)
})

test('a few holders that roll back are asked past', async (t) => {
  const { publish, find, network } = await fixture(t, { nodes: 20 })
  const holders = await publish(5)
  const older = [...holders[0]!.records.values()][0]!
  await publish(6)
  await find()
  // All but one of those where the copies are placed.
  for (const liar of holders.slice(1)) liar.lie = () => older
  assert.equal((await find()).record.sequence, 6)
  assert.ok(network.gets > 3)
})

test('forged, foreign, expired and torn records are passed over; only they: RECORD_DAMAGED', async (t) => {
  const { publish, find, network, period, clock } = await fixture(t)
  const [first] = await publish(5)
  const right = [...first!.records.values()][0]!
  const where = { key, network: networkId, period }
  const lies: (SignedRecord | null)[] = [
    { ...right, sequence: right.sequence + 1 },
    { ...right, value: right.value.map((byte) => byte ^ 1) },
    { ...right, signature: new Uint8Array(64) },
    await recordOf(9, period + 1),
    (await naiveRecord(keyOfByte(12).seed, { ...where, key: keyOfByte(12).key }, statement(9))).made,
    (await naiveRecord(seed, { ...where, network: networkIdOf('other') }, statement(9))).made,
    (await naiveRecord(seed, where, statement(9), { expiresMs: clock.unixMs() })).made,
    (await naiveRecord(seed, where, statement(9), { lastByte: 1 })).made,
    (await naiveRecord(seed, where, statement(9), { sequence: right.sequence })).made,
  ]
  for (const lie of lies) {
    for (const node of network.nodes) node.lie = () => lie
    await assert.rejects(find(), isCode('RECORD_DAMAGED'))
    // One honest holder among liars is enough.
    first!.lie = null
    assert.equal((await find()).record.sequence, 5)
  }
})

test('holders that are dead, silent or slow: any half of eight', async (t) => {
  for (const state of ['dead', 'silent', 'gone'] as const) {
    const { publish, find, network } = await fixture(t)
    await publish(5)
    for (let mask = 0; mask < 256; mask++) {
      const bad = network.nodes.filter((_, at) => (mask >> at) & 1)
      if (bad.length !== 4) continue
      for (const node of network.nodes) node.state = bad.includes(node) ? state : 'up'
      assert.equal((await find()).record.sequence, 5, `${state} ${mask}`)
    }
  }
})

test('nobody has it, or nobody answers: RECORD_NOT_FOUND; too few nodes: NETWORK_TOO_SMALL; no key: ADDRESS_BAD', async (t) => {
  const { find, network, clock } = await fixture(t)
  await assert.rejects(find(), isCode('RECORD_NOT_FOUND'))
  for (const node of network.nodes) node.state = 'dead'
  await assert.rejects(find(), isCode('RECORD_NOT_FOUND'))
  for (const node of network.nodes) node.state = 'up'
  for (const node of network.nodes.slice(3)) node.state = 'gone'
  await assert.rejects(find(), isCode('NETWORK_TOO_SMALL'))
  for (const node of network.nodes) node.state = 'up'
  const seen = await SeenRecords.open({ dataDir: '/nowhere/at/all', secret: key, clock, log: { warn: () => {} } })
  const finder = new HolderRecordFinder({ network: () => network, networkId, seen, clock, rng: seededRng(1) })
  const small = new Uint8Array(32).fill(0)
  await assert.rejects(finder.find(small, { signal: never }), isCode('ADDRESS_BAD'))
  finder.close()
  await assert.rejects(clock.runFor(finder.find(key, { signal: never })), isCode('NODE_NOT_READY'))
})

test('around a boundary the period beside is looked in as well; farther away it is not', async (t) => {
  const at = FakeClock.START_UNIX_MS
  const start = periodStartMs(key, periodAt(key, at))
  const length = periodStartMs(key, periodAt(key, at) + 1) - start
  for (const [offset, beside, there] of [
    [1_000, -1, true],
    [RECORD_GRACE_MS - 1, -1, true],
    [RECORD_GRACE_MS, -1, false],
    [length - RECORD_GRACE_MS, 1, false],
    [length - RECORD_GRACE_MS + 1, 1, true],
    [length - 1, 1, true],
    [length - 1, -1, false],
  ] as const) {
    const { publish, find, period } = await fixture(t, { clock: new FakeClock(start + offset) })
    await publish(5, 99, period + beside)
    if (there) assert.equal((await find()).period, period + beside, `${offset}`)
    else await assert.rejects(find(), isCode('RECORD_NOT_FOUND'), `${offset}`)
    await publish(6)
    assert.equal((await find()).period, period)
  }
})

test('looks for one key under one isolation are joined; under another they are not', async (t) => {
  const { publish, start, network, clock, names } = await fixture(t)
  await publish(5)
  for (const node of network.nodes) node.delayMs = 100
  const before = network.gets
  const all = Promise.all([start(), start(), start(), start({ isolation: 'a' })])
  const found = await clock.runFor(all)
  assert.ok(found.every(({ record }) => record.sequence === 5))
  assert.deepEqual(names, ['', 'a'])
  assert.equal(network.gets - before, 6)
})

test('who gives up leaves the others their look; the last one ends it', async (t) => {
  const { publish, start, network, clock } = await fixture(t)
  await publish(5)
  for (const node of network.nodes) node.delayMs = 100
  const leaving = new AbortController()
  const left = start({ signal: leaving.signal })
  const stays = start()
  leaving.abort(new Error('enough'))
  await assert.rejects(left, /enough/)
  assert.equal((await clock.runFor(stays)).record.sequence, 5)
  const alone = new AbortController()
  const ended = start({ signal: alone.signal })
  await clock.settle()
  alone.abort(new Error('enough'))
  await assert.rejects(ended, /enough/)
  await clock.runUntilIdle(hour)
  const before = network.gets
  await clock.advance(hour)
  assert.equal(network.gets, before)
  await assert.rejects(start({ signal: alone.signal }), /enough/)
})

test('a found record is remembered for those who take it, for half a minute, and then forgotten', async (t) => {
  const { publish, find, network, clock } = await fixture(t)
  await publish(5)
  await find()
  await publish(6)
  const before = network.gets
  assert.equal((await find({ maxAgeMs: hour })).record.sequence, 5)
  assert.equal(network.gets, before)
  await assert.doesNotReject(find({ maxAgeMs: hour, isolation: 'other' }))
  assert.ok(network.gets > before, 'another isolation looks itself')
  assert.equal((await find()).record.sequence, 6)
  await clock.advance(RECORD_CACHE_MS)
  const later = network.gets
  await find({ maxAgeMs: hour })
  assert.ok(network.gets > later)
})

test('a trace names the stage, and why it failed', async (t) => {
  const { publish, find, network, clock } = await fixture(t)
  const trace = new Traces({ clock, rng: seededRng(1) })
  const first = trace.begin()
  await publish(5)
  await find({ trace: first })
  assert.ok(trace.report(first.id)!.stages.some(({ stage, tookMs }) => stage === 'record' && tookMs !== null))
  for (const node of network.nodes) node.records.clear()
  const second = trace.begin()
  await assert.rejects(find({ trace: second }))
  assert.match(trace.report(second.id)!.stages.find(({ stage }) => stage === 'record')!.note!, /No holder has/)
})

test('what was seen: the highest only, a bounded number, no address in the file, a damaged file is begun anew', async (t) => {
  const { seen, restart, clock, dataDir, warnings } = await fixture(t)
  seen().note(key, '', 7)
  seen().note(key, '', 5)
  assert.equal(seen().highest(key, ''), 7)
  assert.equal(seen().highest(key, 'a'), 0)
  for (let at = 0; at < SEEN_MAX + 10; at++) seen().note(sha256(Uint8Array.of(at, at >> 8)), '', 2 ** 52 - 1)
  assert.equal(seen().size, SEEN_MAX)
  assert.equal(seen().highest(key, ''), 0, 'the one noted longest ago went')
  seen().note(key, 'a', 2 ** 52 - 1)
  await clock.advance(1_000)
  await restart()
  assert.equal(seen().size, SEEN_MAX)
  assert.equal(seen().highest(key, 'a'), 2 ** 52 - 1)
  const path = join(dataDir, 'seen')
  const bytes = readFileSync(path)
  assert.ok(!bytes.includes(Buffer.from(key)) && !bytes.toString('hex').includes(toHex(key.slice(0, 8))))
  assert.deepEqual(warnings, [])
  for (const damaged of [
    bytes.subarray(0, -1),
    bytes.subarray(0, 5),
    Buffer.alloc(0),
    Buffer.concat([bytes, Buffer.alloc(24)]),
  ]) {
    writeFileSync(path, damaged)
    await restart()
    assert.equal(seen().size, 0)
    assert.match(warnings.pop()!, /begun anew/)
  }
})
