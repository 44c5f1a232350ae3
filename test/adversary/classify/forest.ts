/** Random forest (Breiman 2001): trees on bootstrap samples, the best of √features at each split by Gini's measure, leaves of two rows or more. */
import type { SeededRng } from '../../support/seeded-rng.ts'
import { BINS, Bins } from './bins.ts'
import type { Learner, Model, Training } from './index.ts'

const DEPTH_MAX = 14
const SPLIT_ROWS_MIN = 4

type Tree = Leaf | Split
interface Leaf {
  readonly shares: Float64Array
}
interface Split {
  readonly feature: number
  /** Steps up to this one go left. */
  readonly step: number
  readonly left: Tree
  readonly right: Tree
}

export function forest({ trees }: { readonly trees: number }): Learner {
  return { name: `forest of ${trees}`, kind: 'forest', train: (training, rng) => train(training, trees, rng) }
}

function train({ rows, classes, classCount }: Training, trees: number, rng: SeededRng): Model {
  const bins = new Bins(rows)
  const stepped = rows.map((row) => bins.apply(row))
  const counts = new Float64Array(classCount)
  for (const each of classes) counts[each]!++
  const weights = counts.map((count) => (count === 0 ? 0 : rows.length / count))
  const grower = new Grower(stepped, classes, weights, bins.width, rng)
  const grown = Array.from({ length: trees }, () => {
    const sample = Int32Array.from({ length: rows.length }, () => rng.below(rows.length))
    return grower.grow(sample, 0)
  })
  return (row) => {
    const steps = bins.apply(row)
    const shares = new Float64Array(classCount)
    for (const tree of grown) {
      let at = tree
      while ('feature' in at) at = steps[at.feature]! <= at.step ? at.left : at.right
      for (let each = 0; each < classCount; each++) shares[each]! += at.shares[each]! / trees
    }
    return shares
  }
}

class Grower {
  readonly #rows: readonly Uint8Array[]
  readonly #classes: readonly number[]
  readonly #weights: Float64Array
  readonly #width: number
  readonly #tries: number
  readonly #rng: SeededRng
  readonly #histogram: Float64Array

  constructor(rows: readonly Uint8Array[], classes: readonly number[], weights: Float64Array, width: number, rng: SeededRng) {
    this.#rows = rows
    this.#classes = classes
    this.#weights = weights
    this.#width = width
    this.#tries = Math.max(1, Math.round(Math.sqrt(width)))
    this.#rng = rng
    this.#histogram = new Float64Array(BINS * weights.length)
  }

  grow(sample: Int32Array, depth: number): Tree {
    const totals = new Float64Array(this.#weights.length)
    for (const row of sample) totals[this.#classes[row]!]! += this.#weights[this.#classes[row]!]!
    const all = totals.reduce((sum, total) => sum + total, 0)
    const leaf: Leaf = { shares: totals.map((total) => (all === 0 ? 1 / totals.length : total / all)) }
    const pure = totals.filter((total) => total > 0).length <= 1
    if (pure || depth >= DEPTH_MAX || sample.length < SPLIT_ROWS_MIN) return leaf
    let found: { readonly feature: number; readonly step: number } | null = null
    let least = impurity(totals, all) - 1e-9
    for (let attempt = 0; attempt < this.#tries; attempt++) {
      const feature = this.#rng.below(this.#width)
      const split = this.#bestStep(sample, feature, totals, all)
      if (split === null || split.impurity >= least) continue
      least = split.impurity
      found = { feature, step: split.step }
    }
    if (found === null) return leaf
    const { feature, step } = found
    const left = sample.filter((row) => this.#rows[row]![feature]! <= step)
    const right = sample.filter((row) => this.#rows[row]![feature]! > step)
    return { feature, step, left: this.grow(left, depth + 1), right: this.grow(right, depth + 1) }
  }

  /** Where a split on `feature` leaves least mixed. */
  #bestStep(sample: Int32Array, feature: number, totals: Float64Array, all: number): { step: number; impurity: number } | null {
    const classCount = totals.length
    const histogram = this.#histogram
    histogram.fill(0)
    for (const row of sample) {
      const label = this.#classes[row]!
      histogram[this.#rows[row]![feature]! * classCount + label]! += this.#weights[label]!
    }
    const left = new Float64Array(classCount)
    let leftAll = 0
    let best: { step: number; impurity: number } | null = null
    for (let step = 0; step < BINS - 1; step++) {
      for (let each = 0; each < classCount; each++) {
        const weight = histogram[step * classCount + each]!
        left[each]! += weight
        leftAll += weight
      }
      const rightAll = all - leftAll
      if (leftAll < 1e-9) continue
      if (rightAll < 1e-9) break
      let squares = 0
      for (let each = 0; each < classCount; each++)
        squares += left[each]! ** 2 / leftAll + (totals[each]! - left[each]!) ** 2 / rightAll
      const mixed = all - squares
      if (best === null || mixed < best.impurity) best = { step, impurity: mixed }
    }
    return best
  }
}

function impurity(totals: Float64Array, all: number): number {
  return all - totals.reduce((sum, total) => sum + total ** 2 / all, 0)
}
