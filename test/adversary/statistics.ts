/**
 * Figures and their bounds: Clopper–Pearson intervals, ROC curves and the area below, entropy, quantiles, a bootstrap over clusters. Pure; each is
 * tested against known values (test/unit/adversary-statistics.test.ts).
 */
import type { SeededRng } from '../support/seeded-rng.ts'

/** Logarithm of the gamma function (Lanczos, g = 7, 9 terms), for x > 0. */
export function logGamma(x: number): number {
  const terms = [
    676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059, 12.507343278686905, -0.13857109526572012,
    9.9843695780195716e-6, 1.5056327351493116e-7,
  ]
  if (x < 0.5) return Math.log(Math.PI / Math.sin(Math.PI * x)) - logGamma(1 - x)
  let sum = 0.99999999999980993
  for (const [at, term] of terms.entries()) sum += term / (x + at)
  const t = x + terms.length - 1.5
  return 0.5 * Math.log(2 * Math.PI) + (x - 0.5) * Math.log(t) - t + Math.log(sum)
}

/** Regularised incomplete beta function I_x(a, b), by its continued fraction (Lentz). */
export function incompleteBeta(x: number, a: number, b: number): number {
  if (x <= 0) return 0
  if (x >= 1) return 1
  if (x > (a + 1) / (a + b + 2)) return 1 - incompleteBeta(1 - x, b, a)
  const front = Math.exp(logGamma(a + b) - logGamma(a) - logGamma(b) + a * Math.log(x) + b * Math.log(1 - x)) / a
  const tiny = 1e-300
  let c = 1
  let d = 1 / (1 - ((a + b) * x) / (a + 1) || tiny)
  let fraction = d
  for (let m = 1; m <= 500; m++) {
    const even = (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m))
    d = 1 / (1 + even * d || tiny)
    c = 1 + even / c || tiny
    fraction *= c * d
    const odd = (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1))
    d = 1 / (1 + odd * d || tiny)
    c = 1 + odd / c || tiny
    const step = c * d
    fraction *= step
    if (Math.abs(step - 1) < 1e-13) break
  }
  return front * fraction
}

/** The x with I_x(a, b) = p. */
function inverseBeta(p: number, a: number, b: number): number {
  let low = 0
  let high = 1
  for (let step = 0; step < 100; step++) {
    const middle = (low + high) / 2
    if (incompleteBeta(middle, a, b) < p) low = middle
    else high = middle
  }
  return (low + high) / 2
}

/** Upper Clopper–Pearson bound of a share, `successes` of `trials`: the true one is above it in at most 1 − `confidence` of all cases. */
export function upperBound(successes: number, trials: number, confidence = 0.95): number {
  return successes >= trials ? 1 : inverseBeta(confidence, successes + 1, trials - successes)
}

/** Lower bound, alike. */
export function lowerBound(successes: number, trials: number, confidence = 0.95): number {
  return successes <= 0 ? 0 : inverseBeta(1 - confidence, successes, trials - successes + 1)
}

/** What a guess between two equally likely things gains: 2 · accuracy − 1, with one-sided 95 % bounds. */
export interface Advantage {
  readonly right: number
  readonly windows: number
  readonly value: number
  readonly lower: number
  readonly upper: number
}

export function advantage(right: number, windows: number, confidence = 0.95): Advantage {
  const scaled = (share: number) => 2 * share - 1
  return {
    right,
    windows,
    value: windows === 0 ? 0 : scaled(right / windows),
    lower: scaled(lowerBound(right, windows, confidence)),
    upper: scaled(upperBound(right, windows, confidence)),
  }
}

export interface RocPoint {
  readonly falsePositives: number
  readonly truePositives: number
}

/** All points of the ROC curve of `scores`, highest first; equal scores make one point. */
export function roc(scores: ArrayLike<number>, positive: ArrayLike<boolean>): RocPoint[] {
  const order = Array.from({ length: scores.length }, (_, at) => at).sort((a, b) => scores[b]! - scores[a]!)
  const positives = order.filter((at) => positive[at]).length
  const negatives = order.length - positives
  const points: RocPoint[] = [{ falsePositives: 0, truePositives: 0 }]
  let hits = 0
  let misses = 0
  for (let at = 0; at < order.length; at++) {
    if (positive[order[at]!]) hits++
    else misses++
    if (at + 1 < order.length && scores[order[at + 1]!] === scores[order[at]!]) continue
    points.push({
      falsePositives: negatives === 0 ? 0 : misses / negatives,
      truePositives: positives === 0 ? 0 : hits / positives,
    })
  }
  return points
}

/** Area under the curve: the chance that a positive scores above a negative, ties half. NaN without both. */
export function areaUnder(scores: ArrayLike<number>, positive: ArrayLike<boolean>): number {
  const points = roc(scores, positive)
  const last = points[points.length - 1]!
  if (last.falsePositives < 1 || last.truePositives < 1) return Number.NaN
  let area = 0
  for (let at = 1; at < points.length; at++) {
    const before = points[at - 1]!
    const now = points[at]!
    area += ((now.falsePositives - before.falsePositives) * (now.truePositives + before.truePositives)) / 2
  }
  return area
}

/** Most true positives at `rate` false positives or fewer. */
export function truePositivesAt(rate: number, scores: ArrayLike<number>, positive: ArrayLike<boolean>): number {
  let best = 0
  for (const point of roc(scores, positive)) if (point.falsePositives <= rate) best = Math.max(best, point.truePositives)
  return best
}

/** Shannon entropy of counts or weights, in bits. */
export function entropy(weights: Iterable<number>): number {
  const all = [...weights].filter((weight) => weight > 0)
  const total = all.reduce((sum, weight) => sum + weight, 0)
  return all.reduce((bits, weight) => bits - (weight / total) * Math.log2(weight / total), 0)
}

/** Quantile of `values` by linear interpolation; 0 for none. */
export function quantile(values: ArrayLike<number>, share: number): number {
  if (values.length === 0) return 0
  const sorted = Float64Array.from(values).sort()
  const at = share * (sorted.length - 1)
  const low = Math.floor(at)
  const high = Math.min(low + 1, sorted.length - 1)
  return sorted[low]! + (at - low) * (sorted[high]! - sorted[low]!)
}

export function mean(values: ArrayLike<number>): number {
  let sum = 0
  for (let at = 0; at < values.length; at++) sum += values[at]!
  return values.length === 0 ? 0 : sum / values.length
}

/**
 * The share of right guesses when whole clusters (a node in a run) are drawn with replacement: 5th and 95th percentiles. Windows of one node in
 * one run are not independent, which Clopper–Pearson takes them to be; where this is much wider, the bound above is too good.
 */
export function clusterBootstrap(
  rows: readonly { readonly cluster: string; readonly right: boolean }[],
  rng: SeededRng,
  draws = 1000,
): { readonly lower: number; readonly upper: number } {
  const clusters = new Map<string, { right: number; all: number }>()
  for (const { cluster, right } of rows) {
    const sums = clusters.get(cluster) ?? { right: 0, all: 0 }
    sums.all++
    if (right) sums.right++
    clusters.set(cluster, sums)
  }
  const all = [...clusters.values()]
  if (all.length === 0) return { lower: 0, upper: 1 }
  const shares = Float64Array.from({ length: draws }, () => {
    let right = 0
    let count = 0
    for (let draw = 0; draw < all.length; draw++) {
      const drawn = all[rng.below(all.length)]!
      right += drawn.right
      count += drawn.all
    }
    return right / count
  })
  return { lower: quantile(shares, 0.05), upper: quantile(shares, 0.95) }
}
