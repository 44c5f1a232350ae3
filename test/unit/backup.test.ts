/** Backups as files: whole or not at all, one spelling, nothing opens that was changed. Spec: SPEC.md §13. */
import assert from 'node:assert/strict'
import { existsSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { type BackupEntry, EntryReader, packEntries } from '../../client/backup/entries.ts'
import { passphraseBytes, readBackup, writeBackup } from '../../client/backup/file.ts'
import {
  BACKUP_CHUNK_BYTES,
  BACKUP_COST,
  BACKUP_HEADER_BYTES,
  parseHeader,
  SEALED_CHUNK_BYTES,
} from '../../client/backup/format.ts'
import { concat, equalPublic, utf8 } from '../../src/bytes/index.ts'
import { isOverlayError } from '../../src/errors/index.ts'
import { type quick, secretsOf, temporaryFolder } from '../support/backup-files.ts'
import { seededRng } from '../support/seeded-rng.ts'

const rng = seededRng(5)
const secrets = secretsOf('twelve characters')
const entries: BackupEntry[] = [
  { name: 'identity', bytes: rng.bytes(90) },
  { name: 'keys/blog', bytes: rng.bytes(200_000) },
  { name: 'names.json', bytes: new Uint8Array(0) },
]

async function readAll(path: string, given = secrets): Promise<BackupEntry[]> {
  const found: BackupEntry[] = []
  for await (const entry of readBackup(path, given)) found.push(entry)
  return found
}

const isDamaged = (error: unknown) => isOverlayError(error, 'BACKUP_DAMAGED')

test('a backup is written whole, for its owner alone, and never in the place of another file', async (t) => {
  const path = join(temporaryFolder(t), 'backup')
  const bytes = await writeBackup(path, entries, secrets, rng)
  assert.equal(statSync(path).size, bytes)
  assert.equal(statSync(path).mode & 0o777, 0o600)
  assert.equal((bytes - BACKUP_HEADER_BYTES) % SEALED_CHUNK_BYTES, 0)
  assert.deepEqual(await readAll(path), entries)
  assert.ok(!existsSync(`${path}.new`))
  const before = readFileSync(path)
  await assert.rejects(writeBackup(path, entries, secrets, rng), (error) => isOverlayError(error, 'FILE_FAILED'))
  assert.deepEqual(readFileSync(path), before)
  // Nothing of the content is in it in clear, and no two are alike.
  assert.ok(!before.includes('identity') && !before.includes('blog'))
  await writeBackup(`${path}2`, entries, secrets, rng)
  assert.ok(!readFileSync(`${path}2`).subarray(24, 200).equals(before.subarray(24, 200)))
})

test('entries that fail in the middle leave no file', async (t) => {
  const path = join(temporaryFolder(t), 'backup')
  async function* failing() {
    yield entries[0]!
    throw new RangeError('broken off')
  }
  await assert.rejects(writeBackup(path, failing(), secrets, rng), /broken off/)
  assert.ok(!existsSync(path) && !existsSync(`${path}.new`))
  await assert.rejects(writeBackup(join(path, 'no', 'folder'), entries, secrets, rng), (error) =>
    isOverlayError(error, 'FILE_FAILED'),
  )
  await assert.rejects(readAll(path), (error) => isOverlayError(error, 'FILE_FAILED'))
})

test('a wrong passphrase opens nothing', async (t) => {
  const path = join(temporaryFolder(t), 'backup')
  await writeBackup(path, entries, secrets, rng)
  for (const wrong of ['', 'twelve character', 'Twelve characters', 'twelve characters '])
    await assert.rejects(readAll(path, secretsOf(wrong)), (error) => isOverlayError(error, 'BACKUP_PASSPHRASE'), wrong)
})

test('one passphrase has one spelling', () => {
  assert.deepEqual(passphraseBytes('Schlu\u0308ssel'), passphraseBytes('Schl\u00fcssel'))
  assert.notDeepEqual(passphraseBytes('a b'), passphraseBytes('a  b'))
})

test('a file cut anywhere or with anything behind it is damaged', async (t) => {
  const path = join(temporaryFolder(t), 'backup')
  const length = await writeBackup(path, entries, secrets, rng)
  const whole = readFileSync(path)
  const chunk = (number: number) => BACKUP_HEADER_BYTES + number * SEALED_CHUNK_BYTES
  for (const cut of [0, 1, 63, 64, 65, chunk(1) - 1, chunk(1), chunk(1) + 1, chunk(2), length - 1]) {
    writeFileSync(path, whole)
    truncateSync(path, cut)
    await assert.rejects(readAll(path), isDamaged, `cut to ${cut}`)
  }
  for (const [why, bytes] of [
    ['one byte', concat(whole, Uint8Array.of(0))],
    ['a chunk again', concat(whole, whole.subarray(chunk(0), chunk(1)))],
    ['the last chunk again', concat(whole, whole.subarray(length - SEALED_CHUNK_BYTES))],
    [
      'chunks in another order',
      concat(
        whole.subarray(0, 64),
        whole.subarray(chunk(1), chunk(2)),
        whole.subarray(chunk(0), chunk(1)),
        whole.subarray(chunk(2)),
      ),
    ],
    ['a chunk left out', concat(whole.subarray(0, chunk(1)), whole.subarray(chunk(2)))],
  ] as const) {
    writeFileSync(path, bytes)
    await assert.rejects(readAll(path), isDamaged, why)
  }
})

test('a changed byte anywhere is noticed', async (t) => {
  const path = join(temporaryFolder(t), 'backup')
  await writeBackup(path, entries.slice(0, 1), secrets, rng)
  const whole = readFileSync(path)
  const places = [
    ...Array.from({ length: 80 }, (_, at) => at),
    ...Array.from({ length: 60 }, (_, at) => whole.length - 1 - at * 1091),
  ]
  for (const at of places) {
    const bytes = Buffer.from(whole)
    bytes[at]! ^= 1 << (at % 8)
    writeFileSync(path, bytes)
    await assert.rejects(readAll(path), (error) => isDamaged(error) || isOverlayError(error, 'BACKUP_PASSPHRASE'), `byte ${at}`)
  }
})

test('what a header asks for is bounded before anything is computed', async (t) => {
  const path = join(temporaryFolder(t), 'backup')
  await writeBackup(path, entries, secrets, rng)
  const whole = readFileSync(path)
  let asked = 0
  const derive: typeof quick = async () => {
    asked++
    return new Uint8Array(32)
  }
  for (const [passes, memoryKib] of [
    [0, 262_144],
    [2, 262_144],
    [0xffff_ffff, 262_144],
    [3, 0],
    [3, 1024],
    [3, 0xffff_ffff],
    [16, 1_048_576],
  ] as const) {
    const bytes = Buffer.from(whole)
    bytes.writeUInt32LE(passes, 16)
    bytes.writeUInt32LE(memoryKib, 20)
    writeFileSync(path, bytes)
    await assert.rejects(readAll(path, { ...secrets, derive }), isDamaged, `${passes} over ${memoryKib}`)
  }
  assert.equal(asked, 0)
  assert.deepEqual(parseHeader(new Uint8Array(whole.subarray(0, 64))).cost, BACKUP_COST)
})

const someEntries = fc
  .uniqueArray(fc.tuple(fc.constantFrom(...'abcdefgh'), fc.nat(3), fc.nat(BACKUP_CHUNK_BYTES + 40)), {
    selector: ([name]) => name,
    maxLength: 6,
  })
  .map((list) =>
    list
      .map(([name, fill, length]) => ({ name, bytes: new Uint8Array(length).fill(fill) }))
      .sort((a, b) => (a.name < b.name ? -1 : 1)),
  )

test('whatever is packed is read back, in chunks of one length, the end in the last one', async () => {
  await fc.assert(
    fc.asyncProperty(someEntries, async (list) => {
      const reader = new EntryReader()
      const read: BackupEntry[] = []
      let ended = false
      for await (const { chunk, isLast } of packEntries(list)) {
        assert.ok(!ended && chunk.length === BACKUP_CHUNK_BYTES)
        ended = isLast
        read.push(...reader.push(chunk, isLast))
      }
      assert.ok(ended)
      assert.deepEqual(
        read.map(({ name }) => name),
        list.map(({ name }) => name),
      )
      assert.ok(read.every(({ bytes }, at) => equalPublic(bytes, list[at]!.bytes)))
    }),
    { seed: 20_260_401, numRuns: 150 },
  )
})

test('entries that are none, or out of order, are a fault of who packs them', async () => {
  const one = (name: string) => ({ name, bytes: utf8('x') })
  for (const list of [[one('')], [one('a'.repeat(65))], [one('a b')], [one('b'), one('a')], [one('a'), one('a')]]) {
    await assert.rejects(async () => {
      for await (const _ of packEntries(list));
    }, RangeError)
  }
})
