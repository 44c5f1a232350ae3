/** The holder of records: which one is kept, what is refused, what a full or damaged disk does, floods, restarts. Spec: SPEC.md §10.5. */
import assert from 'node:assert/strict'
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { openRecordHolder, RECORD_PLACE_BYTES, type RecordHolder, recordService } from '../../relay/record/index.ts'
import { RECORD_KEEP_MS_MAX, signRecord } from '../../src/content/record.ts'
import { type BlindedKey, blindSigningKey } from '../../src/crypto/index.ts'
import { isOverlayError } from '../../src/errors/index.ts'
import { encodeRecordRequest, parseRecordReply, RECORD_VALUE_BYTES, type SignedRecord } from '../../src/wire/index.ts'
import { FakeClock } from '../support/fake-clock.ts'

const DAY = 24 * 3_600_000
const nothing = new Uint8Array(0)

/** A key, as a holder sees one: it cannot know what it was blinded from. */
function keyNumber(number: number): Promise<BlindedKey> {
  return blindSigningKey(new Uint8Array(32).fill(number % 251), new Uint8Array(32).fill(number / 251))
}

function recordOf(key: BlindedKey, sequence: number, fill = 0, expiresMs = FakeClock.START_UNIX_MS + 10 * DAY): SignedRecord {
  return signRecord(key, { sequence, expiresMs, value: new Uint8Array(RECORD_VALUE_BYTES).fill(fill) })
}

interface Fixture {
  readonly dir: string
  readonly clock: FakeClock
  readonly warnings: string[]
  holder: RecordHolder
  reopen(): Promise<void>
}

async function fixture(t: TestContext, recordsMax?: number): Promise<Fixture> {
  const dir = mkdtempSync(join(tmpdir(), 'gyre-records-'))
  const clock = new FakeClock()
  const warnings: string[] = []
  const open = () =>
    openRecordHolder({ dir, clock, log: { warn: (text) => void warnings.push(text) }, ...(recordsMax ? { recordsMax } : {}) })
  const made: Fixture = {
    ...{ dir, clock, warnings, holder: await open() },
    async reopen() {
      await made.holder.close()
      made.holder = await open()
    },
  }
  t.after(async () => {
    await made.holder.close()
    chmodSync(dir, 0o700)
    rmSync(dir, { recursive: true, force: true })
  })
  return made
}

const key = await keyNumber(1)

test('the highest sequence is kept, the first of equal ones, and nothing is rolled back', async (t) => {
  const { holder } = await fixture(t)
  assert.equal(await holder.get(key.publicKey), null)
  assert.equal(await holder.put(recordOf(key, 5)), 'stored')
  assert.equal(await holder.put(recordOf(key, 5)), 'already')
  assert.equal(await holder.put(recordOf(key, 5, 1)), 'older', 'another of the same sequence')
  assert.equal(await holder.put(recordOf(key, 4, 2)), 'older')
  assert.deepEqual(await holder.get(key.publicKey), recordOf(key, 5))
  assert.equal(await holder.put(recordOf(key, 6, 3)), 'stored')
  assert.equal(await holder.put(recordOf(key, 5)), 'older', 'a replay')
  assert.equal(await holder.put(recordOf(key, 2 ** 53 - 1, 4)), 'stored')
  assert.deepEqual(await holder.get(key.publicKey), recordOf(key, 2 ** 53 - 1, 4))
  assert.equal(holder.stats().records, 1)
})

test('what is not signed, expired, or would be kept too long is refused', async (t) => {
  const { holder, clock } = await fixture(t)
  const right = recordOf(key, 5)
  const other = await keyNumber(2)
  for (const changed of [
    { sequence: 6 },
    { expiresMs: right.expiresMs + 1 },
    { value: new Uint8Array(RECORD_VALUE_BYTES).fill(9) },
    { value: new Uint8Array(RECORD_VALUE_BYTES - 1) },
    { publicKey: other.publicKey },
    { publicKey: new Uint8Array(32) },
    { signature: new Uint8Array(64) },
    { signature: nothing },
  ]) {
    assert.equal(await holder.put({ ...right, ...changed }), 'bad')
  }
  const now = clock.unixMs()
  assert.equal(await holder.put(recordOf(key, 1, 0, now)), 'bad')
  assert.equal(await holder.put(recordOf(key, 1, 0, now + RECORD_KEEP_MS_MAX + 1)), 'bad')
  assert.equal(await holder.put(recordOf(key, 1, 0, now + 1)), 'stored')
  assert.equal(await holder.get(nothing), null)
})

test('what expired is not served from that millisecond on, and leaves the disk', async (t) => {
  const { holder, clock } = await fixture(t)
  const until = clock.unixMs() + DAY
  await holder.put(recordOf(key, 5, 0, until))
  clock.jumpWallClock(DAY - 1)
  assert.notEqual(await holder.get(key.publicKey), null)
  clock.jumpWallClock(1)
  assert.equal(await holder.get(key.publicKey), null)
  await holder.put(recordOf(await keyNumber(2), 1, 0, clock.unixMs() + 5))
  clock.jumpWallClock(10)
  assert.equal(await holder.sweep(), 1)
  assert.equal(holder.stats().records, 0)
  // A lower sequence is welcome again then: the period is over for who signed the higher one.
  assert.equal(await holder.put(recordOf(key, 3, 0, clock.unixMs() + DAY)), 'stored')
})

test('records survive a restart, the newest of each key', async (t) => {
  const made = await fixture(t)
  const keys = await Promise.all([1, 2, 3, 4, 5].map(keyNumber))
  for (const each of keys) for (const sequence of [1, 2, 3]) await made.holder.put(recordOf(each, sequence, sequence))
  await made.reopen()
  for (const each of keys) assert.deepEqual(await made.holder.get(each.publicKey), recordOf(each, 3, 3))
  assert.equal(made.holder.stats().records, 5)
  assert.equal(await made.holder.put(recordOf(keys[0]!, 2, 2)), 'older')
})

test('a newer record that was cut anywhere while it was written leaves the older one, or is whole', async (t) => {
  const made = await fixture(t)
  await made.holder.put(recordOf(key, 1, 1))
  await made.holder.close()
  const before = ['records.places', 'records.index'].map((name) => readFileSync(join(made.dir, name)))
  await made.reopen()
  await made.holder.put(recordOf(key, 2, 2))
  await made.holder.close()
  const [places, index] = ['records.places', 'records.index'].map((name) => readFileSync(join(made.dir, name)))
  // The new record lies in the second place; its entry is the second one.
  for (let cut = 0; cut <= 3300; cut += 97) {
    const torn = Buffer.concat([before[0]!.subarray(0, RECORD_PLACE_BYTES), Buffer.alloc(RECORD_PLACE_BYTES - before[0]!.length)])
    const part = places!.subarray(RECORD_PLACE_BYTES, RECORD_PLACE_BYTES + cut)
    // Killed before the entry, and (a power loss) with the entry but without all bytes.
    for (const entries of [before[1]!, Buffer.concat([before[1]!, index!.subarray(128, 192)])]) {
      writeFileSync(join(made.dir, 'records.places'), Buffer.concat([torn, part]))
      writeFileSync(join(made.dir, 'records.index'), entries)
      await made.reopen()
      const got = await made.holder.get(key.publicKey)
      const whole = got !== null && got.sequence === 2
      assert.deepEqual(got, whole ? recordOf(key, 2, 2) : recordOf(key, 1, 1), `cut ${cut}`)
      assert.equal(whole, entries.length > before[1]!.length && cut >= 3215, `cut ${cut}`)
      await made.holder.close()
    }
  }
})

test('both records there after a kill between naming the newer and giving up the older: the newer counts', async (t) => {
  const made = await fixture(t)
  await made.holder.put(recordOf(key, 1, 1))
  await made.holder.close()
  const older = readFileSync(join(made.dir, 'records.index'))
  await made.reopen()
  await made.holder.put(recordOf(key, 2, 2))
  await made.holder.close()
  const newer = readFileSync(join(made.dir, 'records.index'))
  writeFileSync(join(made.dir, 'records.index'), Buffer.concat([older, newer.subarray(128)]))
  await made.reopen()
  assert.equal(made.holder.stats().records, 2)
  assert.equal(await made.holder.put(recordOf(key, 1, 1)), 'older')
  assert.deepEqual(await made.holder.get(key.publicKey), recordOf(key, 2, 2))
  assert.equal(made.holder.stats().records, 1)
})

test('any changed byte on disk is found; what is damaged is not served, and can be put again', async (t) => {
  const made = await fixture(t)
  await made.holder.put(recordOf(key, 7, 7))
  await made.holder.close()
  const files = ['records.places', 'records.index'].map((name) => [name, readFileSync(join(made.dir, name))] as const)
  for (const [name, bytes] of files) {
    for (let at = name.endsWith('index') ? 64 : 0; at < bytes.length; at += name.endsWith('index') ? 3 : 61) {
      for (const [each, whole] of files) writeFileSync(join(made.dir, each), whole)
      const changed = Buffer.from(bytes)
      changed[at]! ^= 0x40
      writeFileSync(join(made.dir, name), changed)
      await made.reopen()
      const got = await made.holder.get(key.publicKey)
      assert.ok(got === null || JSON.stringify(got) === JSON.stringify(recordOf(key, 7, 7)), `${name} ${at}`)
      if (got === null) assert.equal(await made.holder.put(recordOf(key, 7, 7)), 'stored', `${name} ${at}`)
      assert.deepEqual(await made.holder.get(key.publicKey), recordOf(key, 7, 7))
      await made.holder.close()
    }
  }
})

test('at the quota new keys are refused, known ones are updated, and room comes back with time', async (t) => {
  const { holder, clock, dir } = await fixture(t, 4)
  const keys = await Promise.all(Array.from({ length: 20 }, (_, at) => keyNumber(at)))
  const verdicts = await Promise.all(keys.map((each) => holder.put(recordOf(each, 1, 0, clock.unixMs() + DAY))))
  assert.equal(verdicts.filter((verdict) => verdict === 'stored').length, 4, 'many at once do not pass the quota')
  assert.equal(verdicts.filter((verdict) => verdict === 'full').length, 16)
  const held = keys.filter((_, at) => verdicts[at] === 'stored')
  const refused = keys.filter((_, at) => verdicts[at] === 'full')
  for (const each of held) assert.equal(await holder.put(recordOf(each, 2, 1)), 'stored')
  // A flood of strangers throws nobody out.
  for (let round = 0; round < 20; round++)
    for (const each of refused) assert.equal(await holder.put(recordOf(each, round)), 'full')
  for (const each of held) assert.deepEqual(await holder.get(each.publicKey), recordOf(each, 2, 1))
  assert.ok(statSync(join(dir, 'records.places')).size <= 5 * RECORD_PLACE_BYTES)
  clock.jumpWallClock(11 * DAY)
  await clock.advance(1_000)
  assert.equal(await holder.put(recordOf(refused[0]!, 1, 0, clock.unixMs() + DAY)), 'stored')
})

test('a closed holder takes and gives nothing; an index that is none is the typed error', async (t) => {
  const made = await fixture(t)
  await made.holder.put(recordOf(key, 1))
  await made.holder.close()
  assert.equal(await made.holder.put(recordOf(key, 2)), 'full', 'after closing')
  assert.equal(await made.holder.get(key.publicKey), null, 'after closing')
  writeFileSync(join(made.dir, 'records.index'), 'not an index')
  await assert.rejects(openRecordHolder({ dir: made.dir, clock: made.clock, log: { warn: () => {} } }), (error) =>
    isOverlayError(error, 'STORE_UNUSABLE'),
  )
  rmSync(join(made.dir, 'records.index'))
  await made.reopen()
})

test('the service: statuses of the specification, and the newest request is refused at a limit', async (t) => {
  const { holder } = await fixture(t)
  const answer = recordService(holder, { puts: 1, gets: 1 })
  const put = (record: SignedRecord) => encodeRecordRequest({ kind: 'put', record, work: nothing })
  const get = encodeRecordRequest({ kind: 'get', publicKey: key.publicKey })
  assert.equal((await answer(get)).status, 'not-found')
  assert.equal((await answer(put(recordOf(key, 1)))).status, 'ok')
  assert.equal((await answer(put(recordOf(key, 0)))).status, 'refused')
  assert.equal((await answer(put({ ...recordOf(key, 2), sequence: 3 }))).status, 'bad-request')
  assert.equal((await answer(nothing)).status, 'bad-request')
  assert.equal((await answer(new Uint8Array(5000))).status, 'bad-request')
  const found = await answer(get)
  assert.equal(found.status, 'ok')
  assert.deepEqual(parseRecordReply(found.body), recordOf(key, 1))
  const both = await Promise.all([answer(get), answer(get), answer(put(recordOf(key, 5))), answer(put(recordOf(key, 6)))])
  assert.deepEqual(
    both.map(({ status }) => status),
    ['ok', 'busy', 'ok', 'busy'],
  )
})
