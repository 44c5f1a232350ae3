/** Fuzzes the root parser and the opener: total, and whatever is taken is written back byte for byte. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { ROOT_BYTES } from '../../src/content/constants.ts'
import { shapeOf } from '../../src/content/layout.ts'
import { encodeRoot, openRoot, parseRoot, rootKeys, sealRoot } from '../../src/content/root.ts'
import { fuzzAssert } from '../support/fuzzing.ts'
import { seededRng } from '../support/seeded-rng.ts'

const SEED = 20_260_102
const bases = (
  [
    [0, 8],
    [70_000, 4],
    [9_000_000, 8],
    [2 ** 40, 255],
  ] as const
).map(([length, spread]) => {
  const rng = seededRng(length)
  const addresses = rng.bytes(shapeOf(length, spread).at(-1)!.addressBytes)
  return encodeRoot({ sigma: rng.bytes(32), length, spread, name: 'ü.txt', contentType: 'text/plain', addresses })
})

/** Changes that reach the header more often than the rest. */
const change = fc.record({ at: fc.oneof(fc.nat(70), fc.nat(ROOT_BYTES - 1)), to: fc.nat(255) })

function assertCanonical(bytes: Uint8Array): void {
  const root = parseRoot(bytes)
  if (root !== null) assert.equal(Buffer.compare(encodeRoot(root), bytes), 0)
}

test('root parser: changed roots are refused or come back byte for byte', () => {
  fuzzAssert(
    fc.property(fc.nat(bases.length - 1), fc.array(change, { maxLength: 4 }), (base, changes) => {
      const bytes = bases[base]!.slice()
      for (const { at, to } of changes) bytes[at] = to
      assertCanonical(bytes)
    }),
    { seed: SEED, numRuns: 5000 },
  )
})

test('root parser: arbitrary bytes of arbitrary length', () => {
  fuzzAssert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.boolean(), (head, whole) => {
      const bytes = new Uint8Array(whole ? ROOT_BYTES : head.length)
      bytes.set(head)
      assertCanonical(bytes)
      if (whole) {
        bytes[0] = 1
        assertCanonical(bytes)
      }
    }),
    { seed: SEED, numRuns: 5000 },
  )
})

test('opener: any value is no root of this address', () => {
  const s = new Uint8Array(32).fill(7)
  const keys = rootKeys(s)
  fuzzAssert(
    fc.property(
      fc.oneof(
        fc.uint8Array({ maxLength: 100 }),
        fc.nat(3).map((base) => sealRoot(keys, bases[base]!)),
      ),
      (value) => {
        assert.equal(openRoot(s, keys, value), null)
      },
    ),
    { seed: SEED, numRuns: 500 },
  )
})
