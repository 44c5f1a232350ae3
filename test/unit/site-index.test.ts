/** The index of a site: round trip, one spelling, bounds, what must fail. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  encodeSiteIndex,
  isSitePath,
  parseSiteIndex,
  SITE_EXTENTS_MAX,
  SITE_FILES_MAX,
  SITE_PATHS_BYTES_MAX,
  type SiteIndex,
  type SiteIndexEntry,
} from '../../src/content/site-index.ts'
import { BytesReader, BytesWriter } from '../../src/content/varint.ts'

const etag = (byte: number) => new Uint8Array(16).fill(byte)
const pack = (byte: number, bytes: number) => ({ key: new Uint8Array(32).fill(byte), bytes })

function entryOf(path: string, extra: Partial<SiteIndexEntry> = {}): SiteIndexEntry {
  const extents = [{ pack: 0, offset: 0, length: 10 }]
  return { path, contentType: 'text/plain', encoding: 'identity', plainBytes: 10, etag: etag(1), extents, ...extra }
}

const plain: SiteIndex = { version: 1, packs: [pack(7, 100)], entries: [entryOf('a.txt'), entryOf('b/c.txt')] }

/** An entry with its extents as an array, to compare. */
function shown(bytes: Uint8Array) {
  const index = parseSiteIndex(bytes)
  if (index === null) return null
  const entries = [...index.paths()].map((path) => {
    const entry = index.entry(path)!
    return { ...entry, extents: [...entry.extents] }
  })
  return { version: index.version, packs: index.packs, entries }
}

const part = fc
  .string({ minLength: 1, maxLength: 12, unit: 'grapheme' })
  .filter((text) => isSitePath(text) && !text.includes('/'))
const path = fc.array(part, { minLength: 1, maxLength: 4 }).map((parts) => parts.join('/'))
const anyIndex: fc.Arbitrary<SiteIndex> = fc
  .record({ version: fc.integer({ min: 1, max: 2 ** 48 }), packs: fc.integer({ min: 1, max: 16 }) })
  .chain(({ version, packs }) =>
    fc.record({
      version: fc.constant(version),
      packs: fc.constant(Array.from({ length: packs }, (_, number) => pack(number, 2 ** 40))),
      entries: fc.uniqueArray(
        fc.record({
          path,
          contentType: fc.constantFrom('text/html; charset=utf-8', 'image/png', 'application/octet-stream'),
          encoding: fc.constantFrom('identity', 'gzip'),
          etag: fc.uint8Array({ minLength: 16, maxLength: 16 }),
          extents: fc.array(
            fc.record({ pack: fc.nat(packs - 1), offset: fc.nat(2 ** 30), length: fc.integer({ min: 1, max: 2 ** 30 }) }),
            { minLength: 1, maxLength: 5 },
          ),
        }),
        { maxLength: 20, selector: (entry) => entry.path },
      ),
    }),
  )
  .map(({ version, packs, entries }) => ({
    version,
    packs,
    entries: entries.map((entry) => ({
      ...entry,
      encoding: entry.encoding as 'identity' | 'gzip',
      plainBytes: entry.extents.reduce((sum, { length }) => sum + length, 0),
    })),
  }))

test('an index comes back as it was, in the order of its paths, and has one spelling', () => {
  fc.assert(
    fc.property(anyIndex, (index) => {
      const bytes = encodeSiteIndex(index)
      const back = shown(bytes)
      assert.ok(back !== null)
      assert.equal(back.version, index.version)
      const byPath = new Map(index.entries.map((entry) => [entry.path, entry]))
      assert.equal(back.entries.length, byPath.size)
      for (const entry of back.entries) {
        const before = byPath.get(entry.path)!
        assert.deepEqual(
          [entry.contentType, entry.encoding, entry.plainBytes, Buffer.from(entry.etag)],
          [before.contentType, before.encoding, before.plainBytes, Buffer.from(before.etag)],
        )
        assert.deepEqual(bytesOf(entry.extents, back.packs), bytesOf([...before.extents], index.packs))
      }
      const paths = back.entries.map((entry) => Buffer.from(entry.path))
      assert.deepEqual(paths, paths.toSorted(Buffer.compare))
      assert.deepEqual(Buffer.from(encodeSiteIndex(back)), Buffer.from(bytes))
      const shuffled = { ...index, entries: index.entries.toReversed() }
      assert.deepEqual(Buffer.from(encodeSiteIndex(shuffled)), Buffer.from(bytes))
    }),
    { seed: 31, numRuns: 300 },
  )
})

/** Extents by the keys of their packs, joined. */
function bytesOf(extents: readonly { pack: number; offset: number; length: number }[], packs: SiteIndex['packs']) {
  const joined: { key: string; offset: number; length: number }[] = []
  for (const { pack: number, offset, length } of extents) {
    const key = Buffer.from(packs[number]!.key).toString('hex')
    const last = joined.at(-1)
    if (last !== undefined && last.key === key && last.offset + last.length === offset) last.length += length
    else joined.push({ key, offset, length })
  }
  return joined
}

test('every truncation and every byte more is refused', () => {
  const bytes = encodeSiteIndex(plain)
  for (let length = 0; length < bytes.length; length++) assert.equal(parseSiteIndex(bytes.slice(0, length)), null, `${length}`)
  assert.equal(parseSiteIndex(new Uint8Array([...bytes, 0])), null)
})

test('every changed byte is refused or is another index with one spelling', () => {
  const bytes = encodeSiteIndex(plain)
  for (let at = 0; at < bytes.length; at++) {
    for (const to of [0, 1, 0x2f, 0x7f, 0x80, 0xff]) {
      const changed = bytes.slice()
      changed[at] = to
      const back = shown(changed)
      if (back !== null) assert.deepEqual(Buffer.from(encodeSiteIndex(back)), Buffer.from(changed))
    }
  }
})

test('what no index may state is not written', () => {
  const refused: readonly (readonly [string, SiteIndex])[] = [
    ['version 0', { ...plain, version: 0 }],
    ['a path twice', { ...plain, entries: [entryOf('a'), entryOf('a')] }],
    ['a path upwards', { ...plain, entries: [entryOf('a/../b')] }],
    ['an absolute path', { ...plain, entries: [entryOf('/a')] }],
    ['an empty part', { ...plain, entries: [entryOf('a//b')] }],
    ['a long path', { ...plain, entries: [entryOf('ä'.repeat(513))] }],
    ['a control character', { ...plain, entries: [entryOf('a\nb')] }],
    ['a lone surrogate', { ...plain, entries: [entryOf('a\ud800')] }],
    ['a type that is a header line', { ...plain, entries: [entryOf('a', { contentType: 'text/plain\r\nX: y' })] }],
    ['a pack that is not there', { ...plain, entries: [entryOf('a', { extents: [{ pack: 1, offset: 0, length: 1 }] })] }],
    ['bytes past the end of a pack', { ...plain, entries: [entryOf('a', { extents: [{ pack: 0, offset: 95, length: 6 }] })] }],
    ['an empty extent', { ...plain, entries: [entryOf('a', { extents: [{ pack: 0, offset: 5, length: 0 }] })] }],
    ['an etag of another length', { ...plain, entries: [entryOf('a', { etag: new Uint8Array(15) })] }],
    ['nothing, compressed', { ...plain, entries: [entryOf('a', { encoding: 'gzip', extents: [] })] }],
    ['a bomb', { ...plain, entries: [entryOf('a', { encoding: 'gzip', plainBytes: 10 * 1032 + 1 })] }],
    ['17 packs', seventeenPacks()],
  ]
  for (const [what, index] of refused) assert.throws(() => encodeSiteIndex(index), RangeError, what)
})

function seventeenPacks(): SiteIndex {
  const packs = Array.from({ length: 17 }, (_, number) => pack(number, 100))
  return {
    version: 1,
    packs,
    entries: packs.map((_, number) => entryOf(`f${number}`, { extents: [{ pack: number, offset: 0, length: 1 }] })),
  }
}

test('as many files and pieces as there may be, and not one more', () => {
  const files = (count: number) =>
    Array.from({ length: count }, (_, number) => entryOf(`${number}`, { extents: [], plainBytes: 0 }))
  assert.equal(parseSiteIndex(encodeSiteIndex({ ...plain, entries: files(SITE_FILES_MAX) }))!.files, SITE_FILES_MAX)
  assert.throws(() => encodeSiteIndex({ ...plain, entries: files(SITE_FILES_MAX + 1) }), RangeError)
  const pieces = (count: number) => {
    const extents = Array.from({ length: count }, (_, number) => ({ pack: 0, offset: 5 * (number % 2), length: 1 }))
    return { version: 1, packs: [pack(1, 1000)], entries: [entryOf('a', { extents })] }
  }
  assert.ok(parseSiteIndex(encodeSiteIndex(pieces(SITE_EXTENTS_MAX))) !== null)
  assert.throws(() => encodeSiteIndex(pieces(SITE_EXTENTS_MAX + 1)), RangeError)
})

test('an index of few bytes whose paths, spelled out, take much memory is none', () => {
  const entry = { contentType: 'text/plain', encoding: 'identity', plainBytes: 0, etag: new Uint8Array(16), extents: [] } as const
  const long = 'a'.repeat(1_000)
  const files = (count: number) =>
    Array.from({ length: count }, (_, at) => ({ ...entry, path: `${long}${String(at).padStart(6, '0')}` }))
  const most = Math.floor(SITE_PATHS_BYTES_MAX / 1_006)
  const bytes = encodeSiteIndex({ version: 1, packs: [], entries: files(most) })
  assert.ok(bytes.length < SITE_PATHS_BYTES_MAX / 20)
  assert.ok(parseSiteIndex(bytes)!.memoryBytes > SITE_PATHS_BYTES_MAX)
  assert.throws(() => encodeSiteIndex({ version: 1, packs: [], entries: files(most + 1) }), RangeError)
})

test('extents that continue each other are one; packs that nothing uses are left out', () => {
  const extents = [
    { pack: 1, offset: 10, length: 5 },
    { pack: 1, offset: 15, length: 5 },
    { pack: 0, offset: 0, length: 1 },
  ]
  const index = {
    version: 3,
    packs: [pack(1, 50), pack(2, 50), pack(3, 50)],
    entries: [entryOf('a', { extents, plainBytes: 11 })],
  }
  const back = shown(encodeSiteIndex(index))!
  assert.deepEqual(back.packs, [pack(2, 50), pack(1, 50)])
  assert.deepEqual(back.entries[0]!.extents, [
    { pack: 0, offset: 10, length: 10 },
    { pack: 1, offset: 0, length: 1 },
  ])
})

test('varints: what is written comes back; longer spellings, values out of range and ends are refused', () => {
  fc.assert(
    fc.property(fc.maxSafeNat(), (value) => {
      const writer = new BytesWriter()
      writer.varint(value)
      const bytes = writer.finish()
      const reader = new BytesReader(bytes)
      assert.equal(reader.varint(Number.MAX_SAFE_INTEGER), value)
      assert.ok(reader.ended)
      if (value > 0) assert.equal(new BytesReader(bytes).varint(value - 1), null)
      assert.equal(new BytesReader(bytes.slice(0, -1)).varint(Number.MAX_SAFE_INTEGER), null)
    }),
    { seed: 32 },
  )
  for (const bytes of [[0x80, 0], [0xff, 0x80, 0x00], new Array<number>(9).fill(0x80)]) {
    assert.equal(new BytesReader(Uint8Array.from(bytes)).varint(Number.MAX_SAFE_INTEGER), null)
  }
  for (const value of [-1, 0.5, 2 ** 53, Number.NaN]) assert.throws(() => new BytesWriter().varint(value), RangeError)
})
