/** The lab's classifiers on data of which the answer is known, and the whole way from samples to an advantage, with its negative control. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { boosting } from '../adversary/classify/boosting.ts'
import { forest } from '../adversary/classify/forest.ts'
import { best, type Learner, type Training } from '../adversary/classify/index.ts'
import { logistic } from '../adversary/classify/logistic.ts'
import { nearest } from '../adversary/classify/nearest.ts'
import { balanced, evaluate, fromHats, type Sample } from '../adversary/evaluate.ts'
import { type SeededRng, seededRng } from '../support/seeded-rng.ts'

const LEARNERS: readonly Learner[] = [
  logistic({ decay: 0.1 }),
  nearest({ neighbours: 7 }),
  forest({ trees: 40 }),
  boosting({ rounds: 40, depth: 3 }),
]

function normal(rng: SeededRng): number {
  return Math.sqrt(-2 * Math.log(1 - rng.unit())) * Math.cos(2 * Math.PI * rng.unit())
}

type Rule = (row: Float64Array, rng: SeededRng) => number

function made(count: number, width: number, classCount: number, rule: Rule, seed: string): Training {
  const rng = seededRng(seed)
  const rows = Array.from({ length: count }, () => Float64Array.from({ length: width }, () => normal(rng)))
  return { rows, classes: rows.map((row) => rule(row, rng)), classCount }
}

function accuracy(learner: Learner, rule: Rule, { width = 6, classCount = 2, count = 300 } = {}): number {
  const model = learner.train(made(count, width, classCount, rule, 'train'), seededRng('learner'))
  const held = made(count, width, classCount, rule, 'test')
  for (const row of held.rows.slice(0, 20)) {
    const shares = model(row)
    assert.equal(shares.length, classCount)
    assert.ok(Math.abs(shares.reduce((sum, share) => sum + share, 0) - 1) < 1e-9)
  }
  return held.rows.filter((row, at) => best(model(row)) === held.classes[at]).length / count
}

/** A line between two classes. */
const straight: Rule = (row) => (row[0]! + row[1]! > 0 ? 1 : 0)
/** Opposite quarters: no line parts them. */
const quarters: Rule = (row) => (row[0]! * row[1]! > 0 ? 1 : 0)
const thirds: Rule = (row) => (row[0]! < -0.43 ? 0 : row[0]! < 0.43 ? 1 : 2)
const nothing: Rule = (_, rng) => rng.below(2)

for (const learner of LEARNERS) {
  test(`${learner.name}: parts what a line parts`, () => {
    const found = accuracy(learner, straight)
    assert.ok(found > 0.85, `${found}`)
  })

  test(`${learner.name}: ${learner.kind === 'logistic' ? 'does not part' : 'parts'} opposite quarters`, () => {
    const found = accuracy(learner, quarters, { width: 3, count: 500 })
    assert.ok(learner.kind === 'logistic' ? found < 0.65 : found > 0.8, `${found}`)
  })

  test(`${learner.name}: three classes`, () => {
    const found = accuracy(learner, thirds, { classCount: 3 })
    assert.ok(found > 0.65, `${found}`)
  })

  test(`${learner.name}: nothing where there is nothing`, () => {
    const found = accuracy(learner, nothing)
    assert.ok(found > 0.38 && found < 0.62, `${found}`)
  })

  test(`${learner.name}: the same seed, the same shares; features that never vary do no harm`, () => {
    const training = made(80, 4, 2, straight, 'same')
    for (const row of training.rows) row[3] = 7
    const one = learner.train(training, seededRng(5))
    const two = learner.train(training, seededRng(5))
    const row = Float64Array.of(0.3, -0.1, 2, 1e9)
    assert.deepEqual(one(row), two(row))
    assert.ok(one(row).every((share) => share >= 0 && share <= 1))
  })
}

function samples(count: number, shift: number, seed: string, stratum = ''): Sample[] {
  const rng = seededRng(seed)
  return Array.from({ length: count }, (_, at) => ({
    run: at % 4,
    node: (at >> 2) % 16,
    stratum,
    values: Float64Array.from({ length: 5 }, (__, feature) => normal(rng) + (feature === 2 ? shift : 0)),
  }))
}

const names = ['a', 'b', 'c', 'd', 'e']
const asked = (lists: readonly (readonly Sample[])[], shuffled = false) =>
  evaluate({
    task: 'x / y',
    classes: ['x', 'y'],
    samples: lists,
    names,
    rng: seededRng('task'),
    shuffled,
    learners: LEARNERS.slice(0, 2),
  })

test('a shift of three deviations is found, and named', () => {
  const result = asked([samples(120, 0, 'x'), samples(160, 3, 'y')])
  assert.ok(result !== null)
  assert.equal(result.windows, 240)
  assert.ok(result.advantage.value > 0.75 && result.advantage.lower > 0.65)
  assert.equal(result.features[0]?.name, 'c')
  assert.ok((result.auc ?? 0) > 0.95)
  assert.equal(
    result.confusion.flat().reduce((sum, count) => sum + count, 0),
    240,
  )
})

test('negative control: with shuffled labels nothing is found in the same samples', () => {
  const result = asked([samples(120, 0, 'x'), samples(120, 3, 'y')], true)
  assert.ok(result !== null)
  assert.ok(result.advantage.lower < 0 && result.advantage.upper > 0, `${result.advantage.value}`)
})

test('negative control: several draws find nothing, each window counted once for each', () => {
  const task = { task: 'x / y', classes: ['x', 'y'], names, rng: seededRng('hats'), learners: LEARNERS.slice(0, 2) }
  const nothing = fromHats({ ...task, samples: [samples(96, 0, 'x'), samples(96, 3, 'y')] })
  assert.ok(nothing !== null && nothing.windows === 8 * 192)
  assert.ok(
    nothing.advantage.lower <= 0.05 && nothing.advantage.upper >= 0 && nothing.advantage.value < 0.1,
    String(nothing.advantage.value),
  )
})

test('the same seed, the same result', () => {
  const lists = [samples(60, 0, 'x'), samples(60, 1, 'y')]
  assert.deepEqual(asked(lists), asked(lists))
})

test('too few windows, or windows of one run, give no result', () => {
  assert.equal(asked([samples(4, 0, 'x'), samples(120, 0, 'y')]), null)
  const oneRun = samples(60, 0, 'x').map((sample) => ({ ...sample, run: 1 }))
  assert.equal(asked([oneRun, oneRun]), null)
})

test('classes are balanced within strata: a stratum that only one of them has is left out', () => {
  const one = [...samples(30, 0, 'x', 'host'), ...samples(10, 0, 'y', 'other')]
  const two = samples(20, 0, 'z', 'host')
  const [first, second] = balanced([one, two], seededRng(1))
  assert.equal(first?.length, 20)
  assert.equal(second?.length, 20)
  assert.ok(first?.every(({ stratum }) => stratum === 'host'))
})

test('classes are matched by place: who has it by chance is no class', () => {
  const placed = (list: readonly Sample[], from: number) => list.map((sample, at) => ({ ...sample, place: from + at }))
  const few = placed(samples(10, 0, 'x'), 0)
  const many = placed(samples(200, 0, 'y'), -50)
  const [first, second] = balanced([few, many], seededRng(1))
  assert.deepEqual(
    second?.map(({ place }) => place).sort((a, b) => a! - b!),
    first?.map(({ place }) => place).sort((a, b) => a! - b!),
  )
})
