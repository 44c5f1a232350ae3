/** The erasure code: every loss pattern for small parameters, random ones for large, both kernels against each other. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { SHARE_BYTES } from '../../src/content/constants.ts'
import { bestKernel, encodeParity, type IndexedShare, parityRow, recoverData } from '../../src/content/erasure.ts'
import { simdKernel } from '../../src/content/gf-simd.ts'
import { gfInv, gfInverse, gfMul, plainKernel, type RowKernel } from '../../src/content/gf256.ts'
import { shuffled } from '../../src/runtime/index.ts'
import { seededRng } from '../support/seeded-rng.ts'

const BLOCK = 32

function encoded(k: number, n: number, seed: number, kernel: RowKernel, length = BLOCK): IndexedShare[] {
  const rng = seededRng(seed)
  const data = Array.from({ length: k }, () => rng.bytes(length))
  const parity = Array.from({ length: n - k }, () => new Uint8Array(length))
  encodeParity(data, k, parity, kernel)
  return [...data, ...parity].map((bytes, index) => ({ index, bytes }))
}

/** Recovers every missing data block from `kept` and compares. */
function assertRecovers(shares: readonly IndexedShare[], kept: readonly IndexedShare[], k: number, kernel: RowKernel): void {
  const missing = Array.from({ length: k }, (_, index) => index).filter((index) => !kept.some((share) => share.index === index))
  const recovered = recoverData(k, kept, missing, kernel)
  for (const [at, index] of missing.entries()) assert.deepEqual(recovered[at], shares[index]!.bytes)
}

test('the field: every element times its inverse is one, and multiplication is the polynomial one', () => {
  for (let a = 1; a < 256; a++) {
    assert.equal(gfMul(a, gfInv(a)), 1)
    for (let b = 0; b < 256; b++) {
      let product = 0
      for (let bit = 7; bit >= 0; bit--) {
        product <<= 1
        if (product & 0x100) product ^= 0x11d
        if ((b >> bit) & 1) product ^= a
      }
      assert.equal(gfMul(a, b), product)
    }
  }
  assert.throws(() => gfInv(0), RangeError)
  assert.throws(() => gfInverse([Uint8Array.of(1, 1), Uint8Array.of(1, 1)]), RangeError)
})

test('any k of n shares give the data back: every pattern up to n = 9, both kernels', () => {
  for (const kernel of [bestKernel, plainKernel]) {
    for (let n = 1; n <= 9; n++) {
      for (let k = 1; k <= n; k++) {
        const shares = encoded(k, n, 100 * n + k, kernel)
        for (let mask = 0; mask < 1 << n; mask++) {
          const kept = shares.filter((share) => (mask >> share.index) & 1)
          if (kept.length === k) assertRecovers(shares, kept, k, kernel)
        }
      }
    }
  }
})

test('random patterns of large codes, up to 255 shares', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 60 }), fc.integer({ min: 0, max: 195 }), fc.nat(0xffff), (k, extra, seed) => {
      const shares = encoded(k, k + extra, seed, bestKernel)
      const kept = shuffled(shares, seededRng(seed))
      assertRecovers(shares, kept.slice(0, k), k, bestKernel)
    }),
    { numRuns: 60, seed: 1 },
  )
})

test('the fast kernel computes what the plain one does, for every coefficient, length and count of outputs', () => {
  const fast = simdKernel()
  assert.ok(fast !== null, 'this engine has WebAssembly SIMD')
  const rng = seededRng(5)
  for (let coefficient = 0; coefficient < 256; coefficient++) {
    const input = Uint8Array.from({ length: 256 }, (_, at) => at)
    const [a, b] = [new Uint8Array(256).fill(1), new Uint8Array(256).fill(2)]
    fast.combine([input], [Uint8Array.of(coefficient)], [a])
    plainKernel.combine([input], [Uint8Array.of(coefficient)], [b])
    assert.deepEqual(a, b)
  }
  for (const [k, outputs, length] of [
    [1, 1, 32],
    [3, 5, 64],
    [10, 20, 4096],
    [10, 7, SHARE_BYTES],
    [200, 9, 96],
  ] as const) {
    const inputs = Array.from({ length: k }, () => rng.bytes(length))
    const rows = Array.from({ length: outputs }, () => rng.bytes(k))
    const [a, b] = [0, 0].map(() => Array.from({ length: outputs }, () => rng.bytes(length)))
    fast.combine(inputs, rows, a!)
    plainKernel.combine(inputs, rows, b!)
    assert.deepEqual(a, b)
  }
})

test('what is no code, no block or no pattern is refused', () => {
  const shares = encoded(3, 6, 1, bestKernel)
  const same = [shares[0]!, shares[0]!, shares[1]!]
  assert.throws(() => recoverData(3, same, [2]), RangeError)
  assert.throws(() => recoverData(3, shares.slice(0, 2), [2]), RangeError)
  assert.throws(() => recoverData(3, shares.slice(3), [5]), RangeError)
  assert.throws(() => recoverData(0, [], []), RangeError)
  assert.throws(() => encodeParity([new Uint8Array(32)], 0, [new Uint8Array(32)]), RangeError)
  assert.throws(() => encodeParity([new Uint8Array(32)], 255, [new Uint8Array(32)]), RangeError)
  assert.throws(() => encodeParity([new Uint8Array(31)], 1, [new Uint8Array(31)]), RangeError)
  assert.throws(() => encodeParity([new Uint8Array(64)], 1, [new Uint8Array(32)]), RangeError)
  assert.deepEqual(parityRow(2, 2), Uint8Array.of(gfInv(2), gfInv(3)))
})
