/** Replays backup.json: whole backups from their parts, and what is none. Spec: SPEC.md §13. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { type BackupEntry, EntryReader, packEntries } from '../../client/backup/entries.ts'
import { passphraseBytes } from '../../client/backup/file.ts'
import {
  BACKUP_CHUNK_BYTES,
  BACKUP_COST,
  BackupChunks,
  encodeHeader,
  parseHeader,
  SEALED_CHUNK_BYTES,
} from '../../client/backup/format.ts'
import { concat, fromHex, toHex, utf8 } from '../../src/bytes/index.ts'
import { sha256, taggedHash } from '../../src/crypto/index.ts'
import { passphraseKey } from '../../src/crypto/passphrase.ts'
import { isOverlayError } from '../../src/errors/index.ts'

const vectors = JSON.parse(readFileSync(new URL('backup.json', import.meta.url), 'utf8'))
const bytes = (hex: string) => fromHex(hex)!
const isDamaged = (error: unknown) => isOverlayError(error, 'BACKUP_DAMAGED')

/** Contents of the long parts, as the program that wrote the vectors made them. */
function entriesOf(one: { entries: { name: string; hex?: string; sha256?: string }[]; zeros?: number }): BackupEntry[] {
  return one.entries.map(({ name, hex, sha256: hash }) => {
    if (hex !== undefined) return { name, bytes: bytes(hex) }
    const content = Uint8Array.from({ length: one.zeros ?? 150_000 }, (_, at) =>
      one.zeros === undefined ? at * 7 + Math.floor(at / 251) : 0,
    )
    const check = taggedHash('gyre/1 key part', utf8('blog'), utf8('site'), content).subarray(0, 16)
    const whole = concat(utf8('gyre key part 1\n'), check, content)
    assert.equal(toHex(sha256(whole)), hash)
    return { name, bytes: whole }
  })
}

for (const one of vectors.cases) {
  test(`a backup: ${one.title}`, async () => {
    const key = bytes(one.key)
    const header = encodeHeader({ cost: BACKUP_COST, salt: bytes(one.salt) }, key)
    assert.equal(toHex(header), one.header)
    assert.deepEqual(parseHeader(header), { cost: BACKUP_COST, salt: bytes(one.salt) })
    const entries = entriesOf(one)
    const sealing = BackupChunks.sealing(header, key.slice())
    const plain: Uint8Array[] = []
    const sealed: Uint8Array[] = [header]
    for await (const { chunk, isLast } of packEntries(entries)) {
      plain.push(chunk)
      sealed.push(sealing.seal(chunk, isLast))
    }
    assert.equal(plain.length, one.chunks)
    assert.equal(toHex(sha256(...plain)), one.plainSha256)
    const file = concat(...sealed)
    assert.deepEqual([file.length, toHex(sha256(file))], [one.fileBytes, one.fileSha256])
    const opening = BackupChunks.opening(header, key)
    const reader = new EntryReader()
    const read = sealed.slice(1).flatMap((chunk, at) => {
      const isLast = at === one.chunks - 1
      return reader.push(opening.open(chunk, isLast), isLast)
    })
    assert.equal(read.length, entries.length)
    for (const [at, { name, bytes: content }] of read.entries()) {
      assert.equal(name, entries[at]!.name)
      assert.equal(Buffer.compare(content, entries[at]!.bytes), 0)
    }
  })
}

test("the passphrase's key is Argon2id's, whichever form the passphrase was typed in", { timeout: 120_000 }, async () => {
  const one = vectors.cases[1]
  assert.notEqual(one.passphrase, one.passphrase.normalize('NFC'))
  const key = await passphraseKey(passphraseBytes(one.passphrase), bytes(one.salt), BACKUP_COST)
  assert.equal(toHex(key), one.key)
})

test('headers that must be refused, before anything is computed', () => {
  for (const { why, header } of vectors.mustFail.headers) assert.throws(() => parseHeader(bytes(header)), isDamaged, why)
})

test('a wrong key is told as such', () => {
  const header = bytes(vectors.cases[0].header)
  for (const { why, key } of vectors.mustFail.wrongKey) {
    assert.throws(
      () => BackupChunks.opening(header, bytes(key)),
      (error) => isOverlayError(error, 'BACKUP_PASSPHRASE'),
      why,
    )
  }
})

test('contents that must be refused', () => {
  for (const { why, start } of vectors.mustFail.contents) {
    const chunk = new Uint8Array(BACKUP_CHUNK_BYTES)
    chunk.set(bytes(start))
    assert.throws(() => new EntryReader().push(chunk, true), isDamaged, why)
  }
})

test('a chunk opens in its own place only', () => {
  const [{ key, header }] = vectors.cases
  const chunk = new Uint8Array(BACKUP_CHUNK_BYTES).fill(7)
  const sealing = BackupChunks.sealing(bytes(header), bytes(key))
  const [first, second, last] = [sealing.seal(chunk, false), sealing.seal(chunk, false), sealing.seal(chunk, true)]
  const opening = () => BackupChunks.opening(bytes(header), bytes(key))
  assert.deepEqual(opening().open(first, false), chunk)
  for (const [sealed, isLast] of [
    [first, true],
    [second, false],
    [last, true],
    [first.subarray(1), false],
    [concat(first, Uint8Array.of(0)), false],
    [new Uint8Array(SEALED_CHUNK_BYTES), false],
  ] as const) {
    assert.throws(() => opening().open(sealed, isLast), isDamaged)
  }
  // Under a header that differs in its salt alone, with the check of that header.
  const other = encodeHeader({ cost: BACKUP_COST, salt: new Uint8Array(16).fill(1) }, bytes(key))
  assert.throws(() => BackupChunks.opening(other, bytes(key)).open(first, false), isDamaged)
})
