/**
 * What a classifier gains at telling classes apart: classes brought to equal numbers (within hosts and within others alike), the learner chosen on
 * inner folds, prediction on unseen runs and nodes, advantage with bounds, area under the curve, the features that carry it. Deterministic by seed.
 */
import type { SeededRng } from '../support/seeded-rng.ts'
import { best, LEARNERS, type Learner } from './classify/index.ts'
import { innerFolds, outerFolds, type Placed } from './folds.ts'
import { type Advantage, advantage, areaUnder, clusterBootstrap, type RocPoint, roc } from './statistics.ts'

/** One window, or one circuit in a window, as numbers. */
export interface Sample extends Placed {
  readonly values: Float64Array
  /** Samples are balanced within each stratum. */
  readonly stratum: string
  /** What the sample's node had before the window, and may decide of what class it came to be: samples of the rarest class are matched by it. */
  readonly place?: number
}

export interface TaskResult {
  readonly task: string
  readonly classes: readonly string[]
  /** Windows after balancing. */
  readonly windows: number
  /** For two classes 2 · accuracy − 1, for more (accuracy − chance) / (1 − chance). */
  readonly advantage: Advantage
  /** 5th and 95th percentile of the advantage when nodes of runs are drawn anew. */
  readonly clustered: { readonly lower: number; readonly upper: number }
  /** Two classes only. */
  readonly auc: number | null
  readonly roc: readonly RocPoint[]
  /** Rows: truth. */
  readonly confusion: readonly (readonly number[])[]
  /** How often each learner was chosen. */
  readonly chosen: Readonly<Record<string, number>>
  /** The features that tell most, each by itself, by their area under the curve. */
  readonly features: readonly { readonly name: string; readonly auc: number }[]
  /** Score of each tested window for the second class, and its truth; for what needs more than the figures. */
  readonly scores: readonly { readonly score: number; readonly positive: boolean }[]
}

export interface TaskOptions {
  readonly task: string
  readonly classes: readonly string[]
  /** By class. */
  readonly samples: readonly (readonly Sample[])[]
  readonly names: readonly string[]
  readonly rng: SeededRng
  /** Negative control: labels are drawn from a hat, within runs. */
  readonly shuffled?: boolean
  readonly learners?: readonly Learner[]
  /** Leave the numbers of the classes as they are: for posteriors. */
  readonly unbalanced?: boolean
}

/** More rows are not trained on: the gain is small and the time is not. */
const CHOICE_ROWS_MAX = 600
const TRAIN_ROWS_MAX = 2500
const FEATURES_SHOWN = 6
/** Labels of the negative control are drawn so often. One draw alone gains 0.17 on 190 windows once in a hundred times. */
const HATS = 8

/** Fewer windows of a class say nothing. */
export const WINDOWS_MIN = 8

/** `null`: too few windows of one of the classes, or of one run only. */
export function evaluate(options: TaskOptions): TaskResult | null {
  const { task, classes, samples, names, rng, shuffled = false, learners = LEARNERS, unbalanced = false } = options
  const kept = unbalanced ? samples.map((list) => [...list]) : balanced(samples, rng.fork('balance'))
  if (kept.some((list) => list.length < WINDOWS_MIN)) return null
  const rows = kept.flat()
  if (new Set(rows.map(({ run }) => run)).size < 2) return null
  let truth = kept.flatMap((list, each) => list.map(() => each))
  if (shuffled) truth = shuffledWithin(rows, truth, rng.fork('shuffle'))
  const predicted = new Int32Array(rows.length).fill(-1)
  const scores = new Float64Array(rows.length)
  const chosen: Record<string, number> = {}
  for (const [at, { train, test }] of outerFolds(rows).entries()) {
    const present = new Set(train.map((row) => truth[row]))
    if (present.size < classes.length) continue
    const foldRng = rng.fork(`fold ${at}`)
    const learner = choose(rows, truth, train, classes.length, learners, foldRng)
    chosen[learner.name] = (chosen[learner.name] ?? 0) + 1
    const model = learner.train(training(rows, truth, thinned(train, TRAIN_ROWS_MAX, foldRng), classes.length), foldRng)
    for (const row of test) {
      const shares = model(rows[row]!.values)
      predicted[row] = best(shares)
      scores[row] = shares[1]!
    }
  }
  const tested = [...rows.keys()].filter((row) => predicted[row]! >= 0)
  const right = tested.filter((row) => predicted[row] === truth[row])
  const confusion = classes.map((_, each) =>
    classes.map((__, other) => tested.filter((row) => truth[row] === each && predicted[row] === other).length),
  )
  const gain = scaledAdvantage(right.length, tested.length, classes.length)
  const marked = tested.map((row) => ({
    cluster: `${rows[row]!.run}/${rows[row]!.node}`,
    right: predicted[row] === truth[row],
  }))
  const clustered = clusterBootstrap(marked, rng.fork('bootstrap'))
  const scale = (share: number) => (classes.length * share - 1) / (classes.length - 1)
  const two = classes.length === 2
  const positive = tested.map((row) => truth[row] === 1)
  const tellings = tested.map((row) => scores[row]!)
  return {
    task,
    classes,
    windows: tested.length,
    advantage: gain,
    clustered: { lower: scale(clustered.lower), upper: scale(clustered.upper) },
    auc: two ? areaUnder(tellings, positive) : null,
    roc: two ? roc(tellings, positive) : [],
    confusion,
    chosen,
    features: two ? tellingFeatures(rows, truth, names) : [],
    scores: two ? tested.map((row) => ({ score: scores[row]!, positive: truth[row] === 1 })) : [],
  }
}

/** A task whose labels were drawn from `HATS` hats, one after the other: counts are added, so a window counts once for each. */
export type Shuffled = Pick<TaskResult, 'task' | 'windows' | 'advantage'>

/** The negative control of a task with two classes; `null` as for `evaluate`. */
export function fromHats({ rng, ...options }: Omit<TaskOptions, 'shuffled'>): Shuffled | null {
  const hats = Array.from(
    { length: HATS },
    (_, hat) => evaluate({ ...options, shuffled: true, rng: rng.fork(`hat ${hat}`) }) ?? [],
  ).flat()
  if (hats.length === 0) return null
  const total = (count: (hat: TaskResult) => number) => hats.reduce((sum, hat) => sum + count(hat), 0)
  const windows = total((hat) => hat.windows)
  return {
    task: options.task,
    windows,
    advantage: advantage(
      total((hat) => hat.advantage.right),
      windows,
    ),
  }
}

/** For more than two classes the bounds are those of the accuracy, brought to 0 at chance and 1 at certainty. */
function scaledAdvantage(right: number, windows: number, classes: number): Advantage {
  const plain = advantage(right, windows)
  const scale = (value: number) => (classes * ((value + 1) / 2) - 1) / (classes - 1)
  return { ...plain, value: scale(plain.value), lower: scale(plain.lower), upper: scale(plain.upper) }
}

/** As many of each class as the rarest has, within each stratum: those whose places are nearest to that class's, else drawn. */
export function balanced(samples: readonly (readonly Sample[])[], rng: SeededRng): Sample[][] {
  const strata = new Set(samples.flat().map(({ stratum }) => stratum))
  const kept: Sample[][] = samples.map(() => [])
  for (const stratum of [...strata].sort()) {
    const lists = samples.map((list) => list.filter((sample) => sample.stratum === stratum))
    const count = Math.min(...lists.map((list) => list.length))
    const rarest = drawn(lists.find((list) => list.length === count)!, count, rng)
    for (const [each, list] of lists.entries()) kept[each]!.push(...(list.length === count ? list : likest(rarest, list, rng)))
  }
  return kept
}

/** For each of `wanted` the one of `list` whose place is nearest to its own, each once; of equal ones any. */
function likest(wanted: readonly Sample[], list: readonly Sample[], rng: SeededRng): Sample[] {
  const rest = drawn(list, list.length, rng)
  return wanted.map(({ place = 0 }) => {
    const far = rest.map((sample) => Math.abs((sample.place ?? 0) - place))
    return rest.splice(far.indexOf(Math.min(...far)), 1)[0]!
  })
}

function drawn<T>(list: readonly T[], count: number, rng: SeededRng): T[] {
  const rest = [...list]
  const taken: T[] = []
  while (taken.length < count) taken.push(rest.splice(rng.below(rest.length), 1)[0]!)
  return taken
}

function thinned(rows: readonly number[], most: number, rng: SeededRng): readonly number[] {
  return rows.length <= most ? rows : drawn(rows, most, rng)
}

function training(rows: readonly Sample[], truth: readonly number[], among: readonly number[], classCount: number) {
  return { rows: among.map((row) => rows[row]!.values), classes: among.map((row) => truth[row]!), classCount }
}

/** The learner that does best on inner folds of the training rows. */
function choose(
  rows: readonly Sample[],
  truth: readonly number[],
  train: readonly number[],
  classCount: number,
  learners: readonly Learner[],
  rng: SeededRng,
): Learner {
  if (learners.length === 1) return learners[0]!
  const among = thinned(train, CHOICE_ROWS_MAX, rng)
  const folds = innerFolds(rows, among, rng).filter(
    (fold) => fold.test.length > 0 && new Set(fold.train.map((row) => truth[row])).size === classCount,
  )
  let most = -1
  let found = learners[0]!
  for (const learner of learners) {
    let right = 0
    for (const fold of folds) {
      const model = learner.train(training(rows, truth, fold.train, classCount), rng.fork(learner.name))
      for (const row of fold.test) if (best(model(rows[row]!.values)) === truth[row]) right++
    }
    if (right <= most) continue
    most = right
    found = learner
  }
  return found
}

function shuffledWithin(rows: readonly Placed[], truth: readonly number[], rng: SeededRng): number[] {
  const fresh = [...truth]
  for (const run of new Set(rows.map((row) => row.run))) {
    const places = [...rows.keys()].filter((at) => rows[at]!.run === run)
    const values = drawn(
      places.map((at) => truth[at]!),
      places.length,
      rng,
    )
    for (const [at, place] of places.entries()) fresh[place] = values[at]!
  }
  return fresh
}

/** The features that tell most by themselves. Of all rows: this explains, it predicts nothing. */
function tellingFeatures(rows: readonly Sample[], truth: readonly number[], names: readonly string[]) {
  const positive = truth.map((each) => each === 1)
  return names
    .map((name, at) => {
      const values = rows.map((row) => row.values[at]!)
      return { name, auc: areaUnder(values, positive) }
    })
    .filter(({ auc }) => Number.isFinite(auc))
    .sort((a, b) => Math.abs(b.auc - 0.5) - Math.abs(a.auc - 0.5))
    .slice(0, FEATURES_SHOWN)
}
