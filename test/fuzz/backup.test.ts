/** The reader of backups on hostile files: mutated frames, and mutated contents under the right key. It ends, bounded, with what was packed or BACKUP_DAMAGED. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { isSound, kindOf } from '../../client/backup/contents.ts'
import { type BackupEntry, ENTRY_BYTES_MAX, EntryReader, packEntries } from '../../client/backup/entries.ts'
import { BACKUP_CHUNK_BYTES, BACKUP_COST, BackupChunks, encodeHeader, parseHeader } from '../../client/backup/format.ts'
import { concat, utf8 } from '../../src/bytes/index.ts'
import { isOverlayError } from '../../src/errors/index.ts'
import { fuzzAssert } from '../support/fuzzing.ts'
import { seededRng } from '../support/seeded-rng.ts'

const SEED = 20_260_402
const rng = seededRng(SEED)
const key = rng.bytes(32)
const header = encodeHeader({ cost: BACKUP_COST, salt: rng.bytes(16) }, key)

/** What `run` gives, or `null` for BACKUP_DAMAGED or a wrong passphrase; anything else fails. */
function attempt<T>(run: () => T): T | null {
  try {
    return run()
  } catch (error) {
    assert.ok(isOverlayError(error, 'BACKUP_DAMAGED') || isOverlayError(error, 'BACKUP_PASSPHRASE'), String(error))
    return null
  }
}

const changes = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 5 })

test('headers: any 64 bytes are refused, or say what is within bounds', () => {
  const byte = fc.oneof(fc.constantFrom(0, 1, 2, 3, 4, 16, 255), fc.nat(255))
  const nearly = changes.map((list) => {
    const bytes = header.slice()
    // Mostly where version, passes and memory stand.
    for (const [at, to] of list) bytes[at % 3 === 0 ? at % 64 : 12 + (at % 12)] = to
    return bytes
  })
  fuzzAssert(
    fc.property(fc.oneof(nearly, fc.array(byte, { maxLength: 70 }).map(Uint8Array.from.bind(Uint8Array))), (bytes) => {
      const said = attempt(() => parseHeader(bytes))
      if (said === null) return
      const { passes, memoryKib } = said.cost
      assert.ok(passes >= 3 && passes <= 16 && memoryKib >= 262_144 && passes * memoryKib <= 4 * 1_048_576)
      const isSame = Buffer.compare(bytes, header) === 0
      assert.equal(attempt(() => BackupChunks.opening(bytes, key.slice())) !== null, isSame)
    }),
    { seed: SEED, numRuns: 20_000 },
  )
})

test('sealed chunks: changed, cut or swapped ones open as nothing', () => {
  const sealing = BackupChunks.sealing(header, key.slice())
  const sealed = [0, 1].map((fill) => sealing.seal(new Uint8Array(BACKUP_CHUNK_BYTES).fill(fill), fill === 1))
  fuzzAssert(
    fc.property(fc.nat(1), changes, fc.nat(3), (which, list, cut) => {
      const bytes = sealed[which]!.slice(0, cut === 0 ? undefined : -cut)
      for (const [at, to] of list) bytes[at % bytes.length]! ^= to
      const isSame = which === 0 && cut === 0 && Buffer.compare(bytes, sealed[0]!) === 0
      assert.equal(attempt(() => BackupChunks.opening(header, key.slice()).open(bytes, which === 1)) !== null, isSame)
    }),
    { seed: SEED, numRuns: 1_500 },
  )
})

const chunks: Uint8Array[] = []
const packed: BackupEntry[] = [
  { name: 'identity', bytes: utf8('gyre identity 1\n') },
  { name: 'keys/a', bytes: rng.bytes(40) },
  { name: 'keys/a.site', bytes: rng.bytes(70_000) },
  { name: 'names.json', bytes: utf8('{"version":1,"names":[]}\n') },
]
for await (const { chunk } of packEntries(packed)) chunks.push(chunk)

test('contents: whatever is inside, entries are whole, in order, bounded, or it is damaged', () => {
  const starts = [0, 1, 9, 13, 29, 36, 40, 80, 91, 95]
  fuzzAssert(
    fc.property(changes, fc.boolean(), fc.nat(3), (list, near, extra) => {
      const bytes = concat(...chunks, new Uint8Array(extra === 0 ? BACKUP_CHUNK_BYTES : 0))
      for (const [at, to] of list) bytes[near ? starts[at % starts.length]! + (at % 5) : at % bytes.length] = to
      const reader = new EntryReader()
      const found = attempt(() =>
        Array.from({ length: bytes.length / BACKUP_CHUNK_BYTES }, (_, at) =>
          reader.push(
            bytes.slice(at * BACKUP_CHUNK_BYTES, (at + 1) * BACKUP_CHUNK_BYTES),
            (at + 1) * BACKUP_CHUNK_BYTES === bytes.length,
          ),
        ).flat(),
      )
      for (const [at, entry] of (found ?? []).entries()) {
        assert.ok(at === 0 || entry.name > found![at - 1]!.name)
        assert.ok(entry.bytes.length <= ENTRY_BYTES_MAX)
        assert.equal(typeof isSound(entry), 'boolean')
        if (isSound(entry)) assert.notEqual(kindOf(entry.name), null)
      }
    }),
    { seed: SEED, numRuns: 3_000 },
  )
})
