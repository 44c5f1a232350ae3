/** The codec of index entries: round trip, every changed bit, every misplacement. Spec: SPEC.md §7.1.4. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { decodeEntry, ENTRY_BYTES, encodeEntry, type PlaceEntry } from '../../relay/store/place-entry.ts'
import type { UnixMs } from '../../src/bytes/index.ts'

const SEED = 12
const entry: fc.Arbitrary<PlaceEntry> = fc.record(
  {
    key: fc.uint8Array({ minLength: 32, maxLength: 32 }),
    variant: fc.nat(3),
    keepUntilMs: fc.nat({ max: 2 ** 48 - 1 }) as fc.Arbitrary<UnixMs>,
    length: fc.nat(65_536),
  },
  { noNullPrototype: true },
)
const place = fc.nat(2 ** 24)

test('an entry comes back from its place', () => {
  fc.assert(
    fc.property(place, entry, (at, value) => {
      const bytes = encodeEntry(at, value)
      assert.equal(bytes.length, ENTRY_BYTES)
      assert.deepEqual(decodeEntry(at, bytes), value)
    }),
    { seed: SEED },
  )
})

test('an entry with any changed bit, or in another place, is damaged', () => {
  fc.assert(
    fc.property(place, place, entry, (at, other, value) => {
      const bytes = encodeEntry(at, value)
      if (other !== at) assert.equal(decodeEntry(other, bytes), 'damaged')
      for (let bit = 0; bit < 8 * ENTRY_BYTES; bit++) {
        const changed = new Uint8Array(bytes)
        changed[bit >> 3]! ^= 1 << (bit & 7)
        assert.equal(decodeEntry(at, changed), 'damaged')
      }
    }),
    { seed: SEED, numRuns: 20 },
  )
})

test('zeros are free; any other bytes give a verdict', () => {
  assert.equal(decodeEntry(0, new Uint8Array(ENTRY_BYTES)), 'free')
  fc.assert(
    fc.property(place, fc.uint8Array({ minLength: ENTRY_BYTES, maxLength: ENTRY_BYTES }), (at, bytes) => {
      const verdict = decodeEntry(at, bytes)
      if (bytes.some((byte) => byte !== 0)) assert.equal(verdict, 'damaged')
    }),
    { seed: SEED },
  )
})
