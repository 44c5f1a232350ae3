/** The root's codec: round trip, one spelling, every byte counts. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { ROOT_BYTES } from '../../src/content/constants.ts'
import { shapeOf } from '../../src/content/layout.ts'
import {
  encodeRoot,
  isContentType,
  isName,
  openRoot,
  parseRoot,
  type Root,
  rootHash,
  rootKeys,
  sealRoot,
} from '../../src/content/root.ts'
import { SLOT_BYTES_MAX, signSlot, verifySlot } from '../../src/content/slot.ts'
import { seededRng } from '../support/seeded-rng.ts'

function rootOf(length: number, spread: number, name = 'a.txt', contentType = 'text/plain'): Root {
  const rng = seededRng(length + spread)
  return {
    sigma: rng.bytes(32),
    length,
    spread,
    name,
    contentType,
    addresses: rng.bytes(shapeOf(length, spread).at(-1)!.addressBytes),
  }
}

test('a root comes back as it was', () => {
  const names = fc.string({ unit: 'grapheme', maxLength: 40 }).filter(isName)
  fc.assert(
    fc.property(fc.nat(2 ** 36), fc.integer({ min: 1, max: 255 }), names, (length, spread, name) => {
      const root = rootOf(length, spread, name)
      const bytes = encodeRoot(root)
      assert.equal(bytes.length, ROOT_BYTES)
      assert.deepEqual(parseRoot(bytes), root)
    }),
    { seed: 1 },
  )
})

test('a root is sealed for its own address only, fits a slot, and no changed bit opens', () => {
  const bytes = encodeRoot(rootOf(5000, 8))
  const s = rootHash(bytes)
  const keys = rootKeys(s)
  const sealed = sealRoot(keys, bytes)
  assert.ok(sealed.length <= SLOT_BYTES_MAX)
  assert.ok(verifySlot(signSlot(keys.signing, 3, sealed)))
  assert.deepEqual(openRoot(s, keys, sealed), rootOf(5000, 8))
  for (let at = 0; at < sealed.length; at += 97) {
    sealed[at]! ^= 1
    assert.equal(openRoot(s, keys, sealed), null)
    sealed[at]! ^= 1
  }
  for (const cut of [0, 15, 16, sealed.length - 1]) assert.equal(openRoot(s, keys, sealed.subarray(0, cut)), null)
  // Somebody who knows the address seals another root with the right keys: it is not the one the address is the hash of.
  assert.equal(openRoot(s, keys, sealRoot(keys, encodeRoot(rootOf(5001, 8)))), null)
})

test('what the encoder does not write, the parser does not take', () => {
  const good = encodeRoot(rootOf(1_000_000, 8))
  const end = good.length - 1
  const changes: readonly [what: string, at: number, to: number][] = [
    ['version', 0, 2],
    ['length above 2^44', 38, 0xff],
    ['length above 48 bits', 39, 1],
    ['length of another shape', 36, 9],
    ['spread zero', 41, 0],
    ['levels', 42, 1],
    ['padding', end, 1],
    ['name is not UTF-8', 44, 0xff],
    ['name with a control character', 44, 10],
    ['type with a line break', 52, 13],
    ['type with a leading space', 50, 32],
  ]
  assert.ok(parseRoot(good) !== null)
  for (const [what, at, to] of changes) {
    const bytes = good.slice()
    bytes[at] = to
    assert.equal(parseRoot(bytes), null, what)
  }
  assert.equal(parseRoot(good.subarray(1)), null)
  assert.equal(parseRoot(new Uint8Array(0)), null)
  assert.throws(() => encodeRoot({ ...rootOf(1, 8), contentType: '' }), RangeError)
  assert.throws(() => encodeRoot({ ...rootOf(1, 8), addresses: new Uint8Array(32) }), RangeError)
  assert.throws(() => encodeRoot({ ...rootOf(1, 8), sigma: new Uint8Array(31) }), RangeError)
})

test('names and types: what may be shown and what may become a header', () => {
  for (const good of ['', 'a', 'π.txt', 'ü'.repeat(127)]) assert.ok(isName(good))
  for (const bad of ['a\n', '\u0000', '\u0085', '\ud800', 'ü'.repeat(128)]) assert.ok(!isName(bad))
  for (const good of ['text/plain', 'text/html; charset=utf-8', 'x']) assert.ok(isContentType(good))
  for (const bad of ['', ' ', 'a\r\nX: y', 'tëxt/plain', 'a '.repeat(128), 'x'.repeat(256)]) assert.ok(!isContentType(bad))
})
