/** How many shares a segment gets: the table derived again, and the promise checked exactly. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SEGMENT_BLOCKS } from '../../src/content/constants.ts'
import { evenCounts, keepsPromise, sharesOf, thirdLossProbability, worstHalfLeft } from '../../src/content/spread.ts'

const ks = Array.from({ length: SEGMENT_BLOCKS }, (_, at) => at + 1)

/** P[Binomial(n, 2/3) < k]. */
function binomialLoss(n: number, k: number): number {
  let probability = 0
  let ways = 1
  for (let left = 0; left < k; left++) {
    probability += ways * (2 / 3) ** left * (1 / 3) ** (n - left)
    ways = (ways * (n - left)) / (left + 1)
  }
  return probability
}

test('up to 30 holders any half may vanish, and not one share more than needed is made', () => {
  for (let holders = 1; holders <= 30; holders++) {
    for (const k of ks) {
      const n = sharesOf(k, holders)
      assert.ok(n >= 3 * k && n >= 4 && n <= 255)
      assert.ok(worstHalfLeft(evenCounts(n, holders), holders) >= k, `k ${k}, ${holders} holders`)
      const fewer = n - 1
      const isLeast = fewer < 3 * k || fewer < 4 || worstHalfLeft(evenCounts(fewer, holders), holders) < k
      assert.ok(isLeast, `k ${k}, ${holders} holders: ${fewer} would do`)
    }
  }
  assert.equal(sharesOf(10, 8), 30)
  assert.equal(sharesOf(1, 8), 5)
  assert.equal(sharesOf(1, 4), 4)
})

test('beyond 30 holders the table is the least that keeps a random third below 1e-6', () => {
  for (const k of ks) {
    const n = sharesOf(k, 31)
    assert.ok(n >= 3 * k && binomialLoss(n, k) <= 1e-6)
    assert.ok(n - 1 < 3 * k || binomialLoss(n - 1, k) > 1e-6)
    for (let holders = 31; holders <= 255; holders++) {
      assert.equal(sharesOf(k, holders), n)
      const loss = thirdLossProbability(
        evenCounts(n, holders).filter((count) => count > 0),
        holders,
        k,
      )
      assert.ok(loss <= 1e-6, `k ${k}, ${holders} holders: ${loss}`)
    }
    const many = thirdLossProbability(new Array<number>(n).fill(1), 100_000, k)
    assert.ok(many <= 1e-6 && Math.abs(many / binomialLoss(n, k) - 1) < 0.05, 'the exact figure tends to the binomial one')
  }
})

test('the exact probability is the enumerated one', () => {
  const counts = [2, 1, 1, 3]
  const holders = 9
  const gone = 3
  let fatal = 0
  let all = 0
  for (let mask = 0; mask < 1 << holders; mask++) {
    const nodes = Array.from({ length: holders }, (_, at) => at).filter((at) => (mask >> at) & 1)
    if (nodes.length !== gone) continue
    all++
    const left = 7 - nodes.reduce((sum, at) => sum + (counts[at] ?? 0), 0)
    if (left < 3) fatal++
  }
  assert.ok(Math.abs(thirdLossProbability(counts, holders, 3) - fatal / all) < 1e-12)
})

test('a promise is judged by what was stored where', () => {
  assert.equal(keepsPromise([4, 4, 4, 4, 4, 4, 3, 3], 8, 10), true)
  assert.equal(keepsPromise([5, 5, 4, 4, 4, 4, 4], 8, 10), true, 'one holder failed and others took its part')
  assert.equal(keepsPromise([8, 8, 7, 7], 8, 10), false, 'half the network failed')
  assert.equal(keepsPromise([1, 1, 1, 1, 1], 8, 1), true)
  assert.equal(keepsPromise([2, 1, 1, 1], 8, 1), false)
  assert.equal(keepsPromise([], 8, 1), false)
  assert.equal(keepsPromise(new Array<number>(35).fill(1), 100, 10), true)
  assert.equal(keepsPromise(new Array<number>(25).fill(1), 100, 10), false)
  assert.throws(() => sharesOf(0, 8), RangeError)
  assert.throws(() => sharesOf(11, 8), RangeError)
  assert.throws(() => sharesOf(1, 0), RangeError)
})
