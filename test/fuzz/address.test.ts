/** Fuzzes the address parser: any text gives an address in its one spelling or `null`, and never another outcome. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { addressHost, canonicalAddress, formatFileAddress, parseAddress, parseAddressHost } from '../../src/content/address.ts'
import { fuzzAssert } from '../support/fuzzing.ts'

const SEED = 20_260_101
const alphabet = fc.constantFrom(...'abcdefghijklmnopqrstuvwxyz234567ABCXYZ018=. \n\u0131\u212a')

test('address parser: arbitrary, nearly right and spoiled texts', () => {
  const nearly = fc.array(alphabet, { minLength: 54, maxLength: 58 }).map((chars) => chars.join(''))
  const spoiled = fc.tuple(fc.uint8Array({ minLength: 32, maxLength: 32 }), fc.nat(55), alphabet).map(([key, at, char]) => {
    const text = formatFileAddress(key)
    return text.slice(0, at) + char + text.slice(at + 1)
  })
  fuzzAssert(
    fc.property(fc.oneof(fc.string({ unit: 'binary' }), nearly, spoiled), (text) => {
      const parsed = parseAddress(text)
      if (parsed !== null) assert.equal(canonicalAddress(parsed), text.toLowerCase())
      for (const host of [text, `${text}.gyre`, addressHost(text), `${text}.GYRE.`]) {
        const named = parseAddressHost(host)
        if (named !== null) assert.equal(canonicalAddress(named), host.slice(0, 56).toLowerCase())
      }
    }),
    { seed: SEED, numRuns: 30_000 },
  )
})
