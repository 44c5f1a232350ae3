/** Addresses: round trip, one spelling, and everything else refused. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  ADDRESS_CHARS,
  addressHost,
  canonicalAddress,
  formatFileAddress,
  parseAddress,
  parseAddressHost,
  requireAddress,
} from '../../src/content/address.ts'
import { isOverlayError } from '../../src/errors/index.ts'

const keys = fc.uint8Array({ minLength: 32, maxLength: 32 })
const ALPHABET = 'abcdefghijklmnopqrstuvwxyz234567'

test('every key has one address, in any case, as text and as host name', () => {
  fc.assert(
    fc.property(keys, (key) => {
      const text = formatFileAddress(key)
      assert.match(text, /^[a-z2-7]{56}$/)
      for (const spelling of [text, text.toUpperCase()]) {
        const parsed = parseAddress(spelling)
        assert.ok(parsed !== null)
        assert.deepEqual(parsed.key, key)
        assert.equal(canonicalAddress(parsed), text)
        assert.deepEqual(parseAddressHost(addressHost(spelling)), parsed)
      }
      assert.deepEqual(parseAddressHost(`${text.toUpperCase()}.GyRe.`), parseAddress(text))
    }),
    { seed: 1 },
  )
})

test('any one changed character, and any two exchanged neighbours, are noticed', () => {
  const text = formatFileAddress(Uint8Array.from({ length: 32 }, (_, at) => 7 * at))
  let accepted = 0
  for (let at = 0; at < ADDRESS_CHARS; at++) {
    for (const other of ALPHABET) {
      if (other === text[at]) continue
      if (parseAddress(text.slice(0, at) + other + text.slice(at + 1)) !== null) accepted++
    }
    const swapped =
      text.slice(0, at) +
      text
        .slice(at, at + 2)
        .split('')
        .reverse()
        .join('') +
      text.slice(at + 2)
    if (swapped !== text) assert.equal(parseAddress(swapped), null)
  }
  // A checksum of 16 bits, and this fixed address: none of 1,736 slips passes.
  assert.equal(accepted, 0)
})

test('other lengths, alphabets, types and hosts are no addresses', () => {
  const text = formatFileAddress(new Uint8Array(32))
  const bad = [
    '',
    text.slice(1),
    `${text}a`,
    ` ${text}`,
    `${text}\n`,
    text.replace(/./, '1'),
    text.replace(/.$/, '='),
    `${text.slice(1)}ſ`,
  ]
  for (const wrong of bad) assert.equal(parseAddress(wrong), null, wrong)
  for (const wrong of [
    text,
    `${text}.gyre..`,
    `www.${text}.gyre`,
    `${text}.gyre:80`,
    `${text}.onion`,
    '.gyre',
    '',
    `${text}xgyre`,
  ]) {
    assert.equal(parseAddressHost(wrong), null, wrong)
  }
  assert.throws(
    () => requireAddress('nonsense'),
    (error) => isOverlayError(error, 'ADDRESS_BAD'),
  )
})

test('parsing is total', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.string({ unit: 'binary', minLength: 56, maxLength: 56 })), (text) => {
      const parsed = parseAddress(text)
      if (parsed !== null) assert.equal(canonicalAddress(parsed), text.toLowerCase())
      parseAddressHost(text)
      parseAddressHost(`${text}.gyre`)
    }),
    { seed: 2 },
  )
})
