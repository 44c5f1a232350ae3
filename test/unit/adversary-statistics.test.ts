/** The lab's statistics against known values, slow twins and their own definitions; its folds, which must leak neither a run nor a node. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { innerFolds, outerFolds } from '../adversary/folds.ts'
import {
  advantage,
  areaUnder,
  clusterBootstrap,
  entropy,
  incompleteBeta,
  logGamma,
  lowerBound,
  quantile,
  roc,
  truePositivesAt,
  upperBound,
} from '../adversary/statistics.ts'
import { together } from '../adversary/together.ts'
import { seededRng } from '../support/seeded-rng.ts'

const near = (found: number, wanted: number, within = 1e-6) =>
  assert.ok(Math.abs(found - wanted) <= within, `${found} is not ${wanted}`)

test('the gamma function at whole and half numbers', () => {
  near(Math.exp(logGamma(5)), 24, 1e-9)
  near(Math.exp(logGamma(0.5)), Math.sqrt(Math.PI), 1e-9)
  near(logGamma(171), 706.5730622457874, 1e-8)
})

test('the incomplete beta function is the tail of the binomial distribution', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 40 }), fc.nat(40), fc.double({ min: 0.01, max: 0.99, noNaN: true }), (n, k, p) => {
      fc.pre(k >= 1 && k <= n)
      let tail = 0
      for (let i = k; i <= n; i++)
        tail += Math.exp(logGamma(n + 1) - logGamma(i + 1) - logGamma(n - i + 1)) * p ** i * (1 - p) ** (n - i)
      near(incompleteBeta(p, k, n - k + 1), tail, 1e-9)
    }),
  )
})

test('Clopper–Pearson bounds: values of R (binom.test)', () => {
  // Two-sided 95 %: binom.test(7, 20), binom.test(50, 100).
  near(lowerBound(7, 20, 0.975), 0.1539092)
  near(upperBound(7, 20, 0.975), 0.5921885)
  near(lowerBound(50, 100, 0.975), 0.3983211)
  near(upperBound(50, 100, 0.975), 0.6016789)
  // None of n: 1 − (1 − confidence)^(1/n); the rule of three.
  near(upperBound(0, 10), 1 - 0.05 ** 0.1)
  near(upperBound(0, 300), 0.00994, 1e-4)
  assert.equal(lowerBound(0, 10), 0)
  assert.equal(upperBound(10, 10), 1)
})

test('Clopper–Pearson bounds cover what they say', () => {
  const rng = seededRng('cover')
  for (const share of [0.5, 0.53, 0.9]) {
    let above = 0
    for (let round = 0; round < 400; round++) {
      let hits = 0
      for (let trial = 0; trial < 60; trial++) if (rng.unit() < share) hits++
      if (upperBound(hits, 60) < share) above++
    }
    assert.ok(above <= 0.05 * 400 + 15, `${above} of 400 bounds lie below ${share}`)
  }
})

test('an advantage is 0 at chance, 1 at certainty, and its bound falls with the number of windows', () => {
  near(advantage(50, 100).value, 0)
  near(advantage(100, 100).value, 1)
  assert.ok(advantage(60, 120).upper > 0.15)
  assert.ok(advantage(3200, 6400).upper < 0.06)
  assert.ok(advantage(0, 0).upper === 1)
})

test('the area under the curve is the share of pairs in order', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.integer({ min: 0, max: 9 }), fc.boolean()), { minLength: 2, maxLength: 60 }), (rows) => {
      const scores = rows.map(([score]) => score)
      const positive = rows.map(([, yes]) => yes)
      const pairs = rows.flatMap(([high, yes]) =>
        yes ? rows.filter(([, other]) => !other).map(([low]) => [high, low] as const) : [],
      )
      if (pairs.length === 0) return assert.ok(Number.isNaN(areaUnder(scores, positive)))
      const ordered = pairs.reduce((sum, [high, low]) => sum + (high > low ? 1 : high === low ? 0.5 : 0), 0)
      near(areaUnder(scores, positive), ordered / pairs.length, 1e-9)
    }),
  )
})

test('the ROC curve rises from 0, 0 to 1, 1; true positives at few false ones', () => {
  const scores = [0.9, 0.8, 0.7, 0.6, 0.5]
  const positive = [true, true, false, true, false]
  const points = roc(scores, positive)
  assert.deepEqual(points[0], { falsePositives: 0, truePositives: 0 })
  assert.deepEqual(points.at(-1), { falsePositives: 1, truePositives: 1 })
  near(truePositivesAt(1e-3, scores, positive), 2 / 3)
  near(truePositivesAt(0.5, scores, positive), 1)
})

test('entropy of even and of certain draws; quantiles between values', () => {
  near(entropy([1, 1, 1, 1]), 2)
  near(entropy([5, 0, 0]), 0)
  near(entropy([]), 0)
  near(quantile([4, 1, 3, 2], 0.5), 2.5)
  near(quantile([], 0.5), 0)
})

test('the bootstrap over clusters is wider where clusters are of one mind', () => {
  const rows = (alike: boolean) =>
    Array.from({ length: 200 }, (_, at) => ({ cluster: String(at % 10), right: alike ? at % 10 < 5 : at % 20 < 10 }))
  const width = (alike: boolean) => {
    const { lower, upper } = clusterBootstrap(rows(alike), seededRng(1), 400)
    return upper - lower
  }
  assert.ok(width(true) > 0.3)
  assert.ok(width(false) < 0.3)
})

const placed = fc.array(fc.record({ run: fc.nat(6), node: fc.nat(15) }), { minLength: 20, maxLength: 200 })

test('outer folds test every row once, and train on no run and no node that they test', () => {
  fc.assert(
    fc.property(placed, (rows) => {
      fc.pre(new Set(rows.map(({ run }) => run)).size >= 2)
      const folds = outerFolds(rows)
      const tested = folds.flatMap(({ test: list }) => list)
      assert.deepEqual(
        [...tested].sort((a, b) => a - b),
        [...rows.keys()],
      )
      for (const { train, test: list } of folds) {
        const runs = new Set(list.map((at) => rows[at]!.run))
        const nodes = new Set(list.map((at) => rows[at]!.node))
        for (const at of train) assert.ok(!runs.has(rows[at]!.run) && !nodes.has(rows[at]!.node))
      }
    }),
  )
  assert.throws(() => outerFolds([{ run: 1, node: 1 }]), /two runs/)
})

test('inner folds keep to the rows they are given and part nodes of runs', () => {
  fc.assert(
    fc.property(placed, (rows) => {
      const among = [...rows.keys()].filter((at) => at % 2 === 0)
      for (const { train, test: list } of innerFolds(rows, among, seededRng(3))) {
        const keys = new Set(list.map((at) => `${rows[at]!.run}/${rows[at]!.node}`))
        for (const at of train) assert.ok(at % 2 === 0 && !keys.has(`${rows[at]!.run}/${rows[at]!.node}`))
        assert.equal(train.length + list.length, among.length)
      }
    }),
  )
})

test('runs judged one by one: counts of the same task are added, and bounds are those of the sum', () => {
  const task = (name: string, right: number, windows: number) => ({ task: name, advantage: advantage(right, windows) }) as never
  const none = { pairs: [], further: [], placebo: [], colluding: { task: null } as never, direction: null }
  const found = together([
    { ...none, pairs: [task('a / b', 30, 50)], direction: task('which way', 5, 10) },
    { ...none, pairs: [task('a / b', 20, 40)], placebo: [task('placebo: a / b', 1, 2)] },
  ])
  assert.deepEqual([...found.keys()], ['a / b', 'which way', 'placebo: a / b'])
  assert.deepEqual(found.get('a / b'), advantage(50, 90))
})
