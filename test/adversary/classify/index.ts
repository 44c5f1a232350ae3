/**
 * Four kinds of classifiers, small and of the lab's own: logistic regression, nearest neighbours, random forest, gradient boosting. Each is
 * trained on rows of features with classes 0, 1, … and gives a share for each class. Deterministic by the generator that is passed in.
 */
import type { SeededRng } from '../../support/seeded-rng.ts'
import { boosting } from './boosting.ts'
import { forest } from './forest.ts'
import { logistic } from './logistic.ts'
import { nearest } from './nearest.ts'

/** Rows of features, all of one length, and the class of each. */
export interface Training {
  readonly rows: readonly Float64Array[]
  readonly classes: readonly number[]
  readonly classCount: number
}

/** Shares of the classes for one row; they add up to 1. */
export type Model = (row: Float64Array) => Float64Array

export interface Learner {
  readonly name: string
  /** Learners of one kind differ in their setting only. */
  readonly kind: 'logistic' | 'nearest' | 'forest' | 'boosting'
  train(training: Training, rng: SeededRng): Model
}

/** What the inner folds choose from. */
export const LEARNERS: readonly Learner[] = [
  logistic({ decay: 0.1 }),
  logistic({ decay: 3 }),
  nearest({ neighbours: 5 }),
  nearest({ neighbours: 25 }),
  forest({ trees: 60 }),
  boosting({ rounds: 40, depth: 3 }),
]

/** The class with the largest share; the lowest of equals. */
export function best(shares: Float64Array): number {
  let at = 0
  for (let other = 1; other < shares.length; other++) if (shares[other]! > shares[at]!) at = other
  return at
}
