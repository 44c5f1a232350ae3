/** Fuzzes what reads other people's bytes of sites: the parser of indexes, the publisher's own state, and the reader of tars. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { BlockTable } from '../../client/sites/block-table.ts'
import { tarFiles } from '../../client/sites/index.ts'
import { encodeState, parseState } from '../../client/sites/state.ts'
import { encodeSiteIndex, isSitePath, parseSiteIndex } from '../../src/content/site-index.ts'
import { OverlayError } from '../../src/errors/index.ts'
import { never, streamOf } from '../support/fake-share-network.ts'
import { fuzzAssert } from '../support/fuzzing.ts'
import { seededRng } from '../support/seeded-rng.ts'
import { tarOf } from '../support/tar-maker.ts'

const SEED = 20_260_312
const rng = seededRng(SEED)

const bases = [0, 1, 3, 40].map((files) =>
  encodeSiteIndex({
    version: files + 1,
    packs: [
      { key: rng.bytes(32), bytes: 100_000 },
      { key: rng.bytes(32), bytes: 2 ** 33 },
    ],
    entries: Array.from({ length: files }, (_, file) => ({
      path: `d${file % 3}/ü${file}.html`,
      contentType: file % 2 === 0 ? 'text/html; charset=utf-8' : 'image/png',
      encoding: file % 4 === 0 ? ('gzip' as const) : ('identity' as const),
      plainBytes: 2000,
      etag: rng.bytes(16),
      extents: Array.from({ length: file % 4 === 0 ? 2 : file % 3 }, (_, at) => ({
        pack: (file + at) % 2,
        offset: 1000 * at,
        length: 77,
      })),
    })),
  }),
)

const changes = fc.array(
  fc.record({
    at: fc.nat(),
    to: fc.oneof(fc.constantFrom(0, 1, 2, 0x2f, 0x7f, 0x80, 0xff), fc.nat(255)),
    how: fc.constantFrom('set', 'insert', 'cut'),
  }),
  { minLength: 1, maxLength: 5 },
)

function changed(base: Uint8Array, list: readonly { at: number; to: number; how: string }[]): Uint8Array {
  const bytes = [...base]
  for (const { at, to, how } of list) {
    const place = at % (bytes.length + 1)
    if (how === 'insert') bytes.splice(place, 0, to)
    else if (how === 'cut') bytes.splice(place, 1 + (to % 8))
    else bytes[place] = to
  }
  return Uint8Array.from(bytes, (byte) => byte ?? 0)
}

/** Total, bounded, and what is taken is written back byte for byte. */
function assertCanonical(bytes: Uint8Array): void {
  const index = parseSiteIndex(bytes)
  if (index === null) return
  const entries = [...index.paths()].map((path) => {
    assert.ok(isSitePath(path))
    const entry = index.entry(path)!
    for (const { pack, offset, length } of entry.extents) {
      assert.ok(length > 0 && offset + length <= index.packs[pack]!.bytes)
    }
    return entry
  })
  assert.equal(entries.length, index.files)
  assert.equal(Buffer.compare(encodeSiteIndex({ version: index.version, packs: index.packs, entries }), bytes), 0)
}

test('index parser: changed indexes are refused or come back byte for byte', () => {
  fuzzAssert(
    fc.property(fc.nat(bases.length - 1), changes, (base, list) => assertCanonical(changed(bases[base]!, list))),
    { seed: SEED, numRuns: 20_000 },
  )
})

test('index parser: arbitrary bytes', () => {
  fuzzAssert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      assertCanonical(bytes)
      assertCanonical(Uint8Array.from([1, 1, 0, ...bytes]))
    }),
    { seed: SEED, numRuns: 20_000 },
  )
})

test('state of a site: changed states are refused or come back byte for byte', () => {
  const table = new BlockTable()
  for (let block = 0; block < 12; block++) {
    table.add(rng.bytes(16), { pack: block % 2, offset: 0, length: 100 + block }, false)
  }
  const pack = { key: rng.bytes(32), bytes: 700, publishedMs: 1_700_000_000_000, liveBytes: 650 }
  const base = encodeState({
    secret: rng.bytes(32),
    version: 4,
    publishedMs: 5,
    packs: [pack, { ...pack, key: rng.bytes(32) }],
    table,
  })
  assert.notEqual(parseState(base), null)
  fuzzAssert(
    fc.property(changes, (list) => {
      const bytes = changed(base, list)
      const state = parseState(bytes)
      if (state !== null) assert.equal(Buffer.compare(encodeState(state), bytes), 0)
    }),
    { seed: SEED, numRuns: 5000 },
  )
})

test('tar reader: whatever it is given, it ends with files that a site takes or with SITE_BAD', async () => {
  const tars = [
    await tarOf([
      { name: 'a', content: 'x'.repeat(700) },
      { name: `${'long/'.repeat(60)}name`, content: 'y' },
      { name: 'd/', type: 'directory' },
      { name: 'd/e', content: '' },
      { name: 'l', type: 'symlink', linkname: 'a' },
    ]),
    await tarOf([{ name: 'big', content: new Uint8Array(5000).fill(7) }]),
  ]
  await fuzzAssert(
    fc.asyncProperty(
      fc.nat(tars.length - 1),
      changes,
      fc.boolean(),
      fc.integer({ min: 1, max: 3000 }),
      async (base, list, header, size) => {
        // Half of the changes go to the first headers.
        const bytes = changed(tars[base]!, header ? list.map((one) => ({ ...one, at: one.at % 1600 })) : list)
        try {
          for await (const file of tarFiles(streamOf(bytes, size), { signal: never })) {
            assert.ok(isSitePath(file.path))
            if ('odd' in file) continue
            let seen = 0
            for await (const chunk of file.open()) seen += chunk.length
            assert.equal(seen, file.bytes)
          }
        } catch (error) {
          assert.ok(error instanceof OverlayError && error.code === 'SITE_BAD', `${error}`)
        }
      },
    ),
    { seed: SEED, numRuns: 2500 },
  )
})
