/**
 * Who is trained on and who is tested. The test rows of a fold are those of some nodes in some runs; what is trained on has neither a run nor a node
 * (by its place in the network) in common with them. Every row is tested once. Pure; tested to leak nothing.
 */
import type { SeededRng } from '../support/seeded-rng.ts'

export interface Placed {
  readonly run: number
  readonly node: number
}

/** Indexes of rows. */
export interface Fold {
  readonly train: readonly number[]
  readonly test: readonly number[]
}

/** At most so many blocks of runs, and groups of nodes. */
const BLOCKS = 3
const INNER_FOLDS = 2

/** Folds over unseen runs and nodes. Errors: `Error` if all rows are of one run. */
export function outerFolds(rows: readonly Placed[]): Fold[] {
  const runs = [...new Set(rows.map(({ run }) => run))].sort((a, b) => a - b)
  if (runs.length < 2) throw new Error('Prediction on unseen runs needs two runs at least.')
  const blocks = Math.min(BLOCKS, runs.length)
  const blockOf = new Map(runs.map((run, at) => [run, at % blocks]))
  const groupOf = (node: number) => node % BLOCKS
  const folds: Fold[] = []
  for (let block = 0; block < blocks; block++) {
    for (let group = 0; group < BLOCKS; group++) {
      const train: number[] = []
      const test: number[] = []
      for (const [at, { run, node }] of rows.entries()) {
        const sameRun = blockOf.get(run) === block
        const sameNode = groupOf(node) === group
        if (sameRun && sameNode) test.push(at)
        else if (!sameRun && !sameNode) train.push(at)
      }
      if (test.length > 0) folds.push({ train, test })
    }
  }
  return folds
}

/** Folds within the rows of a training set, for choosing: no node of a run is on both sides. */
export function innerFolds(rows: readonly Placed[], among: readonly number[], rng: SeededRng): Fold[] {
  const foldOf = new Map<string, number>()
  let next = rng.below(INNER_FOLDS)
  for (const at of among) {
    const key = `${rows[at]!.run}/${rows[at]!.node}`
    if (!foldOf.has(key)) foldOf.set(key, next++ % INNER_FOLDS)
  }
  return Array.from({ length: INNER_FOLDS }, (_, fold) => ({
    train: among.filter((at) => foldOf.get(`${rows[at]!.run}/${rows[at]!.node}`) !== fold),
    test: among.filter((at) => foldOf.get(`${rows[at]!.run}/${rows[at]!.node}`) === fold),
  }))
}
