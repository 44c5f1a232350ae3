/**
 * Fuzzes what reads files that come from anywhere: the strippers of JPEG and PNG, the reader of Exif, the scanner with its looks into PDF
 * and archives, the rules of names. Whatever the bytes: no throw, bounded work, the same outcome for every way of cutting, and nothing that
 * was not in the file.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { judgePath } from '../../client/guard/path-rules.ts'
import { ContentScanner } from '../../client/guard/scanner.ts'
import { stripped } from '../../client/guard/strip.ts'
import { exifFacts } from '../../client/guard/tiff.ts'
import { concat, equalPublic, utf8 } from '../../src/bytes/index.ts'
import { fuzzAssert } from '../support/fuzzing.ts'
import { exifSegment, ICC, iptcSegment, JFIF, jpeg, pdf, png, pngChunk, tiff, xmpSegment, zip } from '../support/pictures.ts'

const SEED = 20_260_103
const scanner = new ContentScanner()

const parts = {
  main: [
    { tag: 0x0112, value: 6 },
    { tag: 0x013b, value: 'Jane Doe' },
  ],
  exif: [{ tag: 0xa431, value: '0012345' }],
  gps: [{ tag: 1, value: 'N' }],
}
const pictures = [
  jpeg([JFIF, exifSegment(parts), ICC, iptcSegment([[80, 'Jane']])], utf8('behind')),
  jpeg([xmpSegment('<exif:GPSLatitude>1</exif:GPSLatitude>')]),
  png([pngChunk('tEXt', utf8('Author\0Jane')), pngChunk('eXIf', tiff(parts)), pngChunk('gAMA', new Uint8Array(4))]),
]
const others = [
  pdf('/Author (Jane) /Producer (P)'),
  pdf('/Author (Jane)', true),
  zip('docProps/core.xml', '<dc:creator>Jane</dc:creator>'),
  concat(utf8('RIFF\0\0\0\0WEBPEXIF\0\x01\0\0'), tiff(parts)),
]

/** A file with some bytes changed, some left out, or some put in. */
const mutated = (files: readonly Uint8Array[]) =>
  fc
    .tuple(
      fc.constantFrom(...files),
      fc.array(fc.tuple(fc.nat(4000), fc.nat(255)), { maxLength: 6 }),
      fc.option(fc.tuple(fc.nat(4000), fc.nat(300), fc.uint8Array({ maxLength: 40 }))),
    )
    .map(([file, changes, splice]) => {
      let bytes: Uint8Array = file.slice()
      for (const [at, value] of changes) bytes[at % bytes.length] = value
      if (splice !== null) {
        const at = splice[0] % bytes.length
        bytes = concat(bytes.subarray(0, at), splice[2], bytes.subarray(at + splice[1]))
      }
      return bytes
    })

async function strip(bytes: Uint8Array, cut: number): Promise<Uint8Array> {
  const source = (async function* () {
    for (let at = 0; at < bytes.length; at += cut) yield bytes.subarray(at, at + cut)
  })()
  const out: Uint8Array[] = []
  for await (const part of stripped(source)) out.push(part.slice())
  return concat(...out)
}

function rulesOf(bytes: Uint8Array, cut = bytes.length): readonly string[] {
  scanner.reset()
  for (let at = 0; at < bytes.length; at += cut) scanner.push(bytes.subarray(at, at + cut))
  return scanner.end().map(({ rule }) => rule)
}

test('strippers: any bytes, however cut, give one outcome, which stripping again leaves as it is', async () => {
  await fuzzAssert(
    fc.asyncProperty(
      fc.oneof(mutated(pictures), fc.uint8Array({ maxLength: 600 })),
      fc.integer({ min: 1, max: 700 }),
      async (bytes, cut) => {
        const whole = await strip(bytes, Math.max(1, bytes.length))
        assert.ok(equalPublic(await strip(bytes, cut), whole))
        // An orientation is written anew and may be longer than a broken block that it stands for.
        assert.ok(whole.length <= bytes.length + 64)
        assert.ok(equalPublic(await strip(whole, cut), whole))
      },
    ),
    { seed: SEED, numRuns: 6_000 },
  )
})

test('scanner: any bytes, however cut, give one outcome', () => {
  fuzzAssert(
    fc.property(
      fc.oneof(mutated([...pictures, ...others]), fc.uint8Array({ maxLength: 600 })),
      fc.integer({ min: 1, max: 700 }),
      (bytes, cut) => {
        assert.deepEqual(rulesOf(bytes, cut), rulesOf(bytes))
      },
    ),
    { seed: SEED, numRuns: 6_000 },
  )
})

test('Exif: any bytes give facts or none, also cut anywhere', () => {
  const whole = tiff(parts)
  for (let length = 0; length <= whole.length; length++) exifFacts(whole.subarray(0, length))
  fuzzAssert(
    fc.property(fc.oneof(mutated([whole, tiff({ ...parts, bigEndian: true })]), fc.uint8Array({ maxLength: 200 })), (bytes) => {
      const facts = exifFacts(bytes)
      if (facts !== null) assert.ok(facts.orientation >= 1 && facts.orientation <= 8)
    }),
    { seed: SEED, numRuns: 20_000 },
  )
})

test('a directory of Exif that names itself, or many others, ends', () => {
  const loop = Uint8Array.of(0x49, 0x49, 42, 0, 8, 0, 0, 0, 1, 0, 0x69, 0x87, 4, 0, 1, 0, 0, 0, 8, 0, 0, 0, 8, 0, 0, 0)
  assert.notEqual(exifFacts(loop), null)
  const wide = new Uint8Array(65_536).fill(0xff)
  wide.set([0x49, 0x49, 42, 0, 8, 0, 0, 0])
  assert.notEqual(exifFacts(wide), null)
})

test('of a packed part that grows without end only the beginning is unpacked', () => {
  const bomb = (text: string) => zip('docProps/core.xml', `${text}${'a'.repeat(50_000_000)}<dc:creator>Jane</dc:creator>`)
  assert.deepEqual(rulesOf(bomb('')), [])
  assert.deepEqual(rulesOf(bomb('<dc:creator>Jane</dc:creator>')), ['author'])
})

test('names: any path is judged, each part at most once', () => {
  const part = fc.oneof(fc.string(), fc.constantFrom('.git', '.env', 'a', '..', 'core', 'Cookies', '#x#', '~'))
  fuzzAssert(
    fc.property(fc.array(part, { maxLength: 8 }), (names) => {
      const path = names.join('/')
      assert.ok(judgePath(path).length <= path.split('/').length)
    }),
    { seed: SEED, numRuns: 20_000 },
  )
})
