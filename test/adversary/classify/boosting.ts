/** Gradient boosting (Friedman 2001) of shallow regression trees on softmax's gradient, by steps of features, with half of the rows in each round. */
import type { SeededRng } from '../../support/seeded-rng.ts'
import { BINS, Bins } from './bins.ts'
import type { Learner, Model, Training } from './index.ts'
import { softmax } from './logistic.ts'

const RATE = 0.15
const ROWS_SHARE = 0.6
const FEATURES_SHARE = 0.4
const LEAF_ROWS_MIN = 4
/** Added to the curvature of each leaf: small leaves say little. */
const SHRINK = 1

type Tree = { readonly value: number } | Split
interface Split {
  readonly feature: number
  readonly step: number
  readonly left: Tree
  readonly right: Tree
}

export function boosting({ rounds, depth }: { readonly rounds: number; readonly depth: number }): Learner {
  return {
    name: `boosting, ${rounds} rounds`,
    kind: 'boosting',
    train: (training, rng) => train(training, rounds, depth, rng),
  }
}

function train({ rows, classes, classCount }: Training, rounds: number, depth: number, rng: SeededRng): Model {
  const bins = new Bins(rows)
  const stepped = rows.map((row) => bins.apply(row))
  const counts = new Float64Array(classCount)
  for (const each of classes) counts[each]!++
  const weights = classes.map((each) => rows.length / (classCount * counts[each]!))
  const margins = rows.map(() => new Float64Array(classCount))
  const trees: Tree[][] = []
  const gradient = new Float64Array(rows.length)
  const curvature = new Float64Array(rows.length)
  for (let round = 0; round < rounds; round++) {
    const shares = margins.map((row) => softmax(row.slice()))
    const sample = Int32Array.from(rows.keys()).filter(() => rng.unit() < ROWS_SHARE)
    const features = Int32Array.from({ length: bins.width }, (_, at) => at).filter(() => rng.unit() < FEATURES_SHARE)
    trees.push(
      Array.from({ length: classCount }, (_, each) => {
        for (let row = 0; row < rows.length; row++) {
          const share = shares[row]![each]!
          gradient[row] = weights[row]! * ((classes[row] === each ? 1 : 0) - share)
          curvature[row] = weights[row]! * Math.max(1e-6, share * (1 - share))
        }
        const tree = grow({ rows: stepped, gradient, curvature, features }, sample, depth)
        for (let row = 0; row < rows.length; row++) margins[row]![each]! += RATE * sumOf(tree, stepped[row]!)
        return tree
      }),
    )
  }
  return (row) => {
    const steps = bins.apply(row)
    const margin = new Float64Array(classCount)
    for (const round of trees) for (const [each, tree] of round.entries()) margin[each]! += RATE * sumOf(tree, steps)
    return softmax(margin)
  }
}

function sumOf(tree: Tree, steps: Uint8Array): number {
  let at = tree
  while ('feature' in at) at = steps[at.feature]! <= at.step ? at.left : at.right
  return at.value
}

interface Growing {
  readonly rows: readonly Uint8Array[]
  readonly gradient: Float64Array
  readonly curvature: Float64Array
  readonly features: Int32Array
}

const gradients = new Float64Array(BINS)
const curvatures = new Float64Array(BINS)
const counts = new Int32Array(BINS)

function grow(growing: Growing, sample: Int32Array, depth: number): Tree {
  const { rows, gradient, curvature, features } = growing
  let sum = 0
  let curve = 0
  for (const row of sample) {
    sum += gradient[row]!
    curve += curvature[row]!
  }
  const leaf = { value: sum / (curve + SHRINK) }
  if (depth === 0 || sample.length < 2 * LEAF_ROWS_MIN) return leaf
  let most = sum ** 2 / (curve + SHRINK) + 1e-9
  let found: { readonly feature: number; readonly step: number } | null = null
  for (const feature of features) {
    gradients.fill(0)
    curvatures.fill(0)
    counts.fill(0)
    for (const row of sample) {
      const step = rows[row]![feature]!
      gradients[step]! += gradient[row]!
      curvatures[step]! += curvature[row]!
      counts[step]!++
    }
    let left = 0
    let leftCurve = 0
    let leftRows = 0
    for (let step = 0; step < BINS - 1; step++) {
      left += gradients[step]!
      leftCurve += curvatures[step]!
      leftRows += counts[step]!
      if (leftRows < LEAF_ROWS_MIN) continue
      if (sample.length - leftRows < LEAF_ROWS_MIN) break
      const gain = left ** 2 / (leftCurve + SHRINK) + (sum - left) ** 2 / (curve - leftCurve + SHRINK)
      if (gain <= most) continue
      most = gain
      found = { feature, step }
    }
  }
  if (found === null) return leaf
  const { feature, step } = found
  return {
    feature,
    step,
    left: grow(
      growing,
      sample.filter((row) => rows[row]![feature]! <= step),
      depth - 1,
    ),
    right: grow(
      growing,
      sample.filter((row) => rows[row]![feature]! > step),
      depth - 1,
    ),
  }
}
