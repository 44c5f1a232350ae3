/** Replays `site.json`: indexes of sites, and what is none (SPEC §12.2). */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { fromHex, toHex } from '../../src/bytes/index.ts'
import { encodeSiteIndex, parseSiteIndex, type SiteEncoding } from '../../src/content/site-index.ts'

interface Vectors {
  readonly valid: readonly {
    readonly name: string
    readonly hex: string
    readonly version: number
    readonly packs: readonly { readonly key: string; readonly bytes: number }[]
    readonly entries: readonly {
      readonly path: string
      readonly contentType: string
      readonly encoding: SiteEncoding
      readonly plainBytes: number
      readonly etag: string
      readonly extents: readonly { readonly pack: number; readonly offset: number; readonly length: number }[]
    }[]
  }[]
  readonly mustFail: readonly { readonly why: string; readonly hex: string }[]
}

const vectors = JSON.parse(readFileSync(new URL('./site.json', import.meta.url), 'utf8')) as Vectors

for (const { name, hex, version, packs, entries } of vectors.valid) {
  test(`index: ${name}`, () => {
    const index = parseSiteIndex(fromHex(hex)!)
    assert.ok(index !== null)
    assert.equal(index.version, version)
    assert.deepEqual(
      index.packs.map(({ key, bytes }) => ({ key: toHex(key), bytes })),
      packs,
    )
    const found = [...index.paths()].map((path) => {
      const entry = index.entry(path)!
      return { ...entry, etag: toHex(entry.etag), extents: [...entry.extents] }
    })
    assert.deepEqual(found, entries)
    assert.equal(
      index.bytes,
      entries.reduce((sum, { plainBytes }) => sum + plainBytes, 0),
    )
    const written = encodeSiteIndex({
      version,
      packs: packs.map(({ key, bytes }) => ({ key: fromHex(key)!, bytes })),
      entries: entries.toReversed().map((entry) => ({ ...entry, etag: fromHex(entry.etag)! })),
    })
    // Reversed entries number packs and types anew by first use in the order of paths: the spelling is the same.
    assert.equal(toHex(written), hex)
  })
}

for (const { why, hex } of vectors.mustFail) {
  test(`no index: ${why}`, () => assert.equal(parseSiteIndex(fromHex(hex)!), null))
}
