/**
 * How many shares a segment gets, and what the publication promises for it. Pure arithmetic. Spec: SPEC.md §7.3.
 *
 * Up to 30 holders: with the shares placed evenly, any floor(N/2) holders may vanish at once and k shares remain (P9). Above 30: when a
 * random third of the holders vanishes, a segment is lost with probability at most 10⁻⁶. The counts for that are a table, because the
 * format must not depend on how a machine rounds; `test/unit/content-spread.test.ts` derives the table again.
 */
import { EXPANSION, HALF_HOLDERS_MAX, SEGMENT_BLOCKS, SEGMENT_SHARES_MIN } from './constants.ts'

/** n(k) for more than 30 holders; index k. The smallest n with P[Binomial(n, 2/3) < k] ≤ 10⁻⁶, at least 3k. */
const MANY_HOLDERS_SHARES = [0, 13, 16, 19, 22, 24, 26, 29, 31, 33, 35] as const

/** Most that a segment whose shares did not all find their first holder may be likelier lost than promised: see `keepsPromise`. */
const LOSS_PROBABILITY_ACCEPTED = 1e-5

/** The root stores the number of holders as one byte: above 255 nothing changes any more. */
export const SPREAD_MAX = 255

/** Shares per holder when `n` are placed evenly on `holders`, the fullest first. */
export function evenCounts(n: number, holders: number): number[] {
  return Array.from({ length: holders }, (_, at) => Math.floor(n / holders) + (at < n % holders ? 1 : 0))
}

/** Shares that are left when the fullest half (rounded down) of `holders` is gone. `counts`: shares of each holder that has any. */
export function worstHalfLeft(counts: readonly number[], holders: number): number {
  const fullestFirst = [...counts].sort((a, b) => b - a)
  return fullestFirst.slice(Math.floor(holders / 2)).reduce((sum, count) => sum + count, 0)
}

/**
 * How many holders, whichever they are, may vanish at once so that `k` shares are left: exact, by taking the fullest ones first. -1: there are
 * fewer than `k` now. `counts`: shares of each holder that has any.
 */
export function survivedLosses(counts: readonly number[], k: number): number {
  let left = counts.reduce((sum, count) => sum + count, 0)
  let losses = -1
  for (const count of [...[...counts].sort((a, b) => b - a), 0]) {
    if (left < k) return losses
    losses++
    left -= count
  }
  return losses
}

/** n(k, N): shares of a segment of `k` data blocks (1 to 10), published on `holders` (1 or more) nodes. */
export function sharesOf(k: number, holders: number): number {
  if (!Number.isInteger(k) || k < 1 || k > SEGMENT_BLOCKS || holders < 1) throw new RangeError(`no segment of ${k} blocks`)
  if (holders > HALF_HOLDERS_MAX) return MANY_HOLDERS_SHARES[k]!
  let n = Math.max(SEGMENT_SHARES_MIN, EXPANSION * k)
  while (worstHalfLeft(evenCounts(n, holders), holders) < k) n++
  return n
}

/**
 * The probability that fewer than `k` shares are left when floor(N/3) of N = `holders` nodes, drawn at random, vanish. Exact up to
 * rounding: how many of the nodes that hold something are hit is hypergeometric, and each choice of that many is equally likely.
 */
export function thirdLossProbability(counts: readonly number[], holders: number, k: number): number {
  const total = counts.reduce((sum, count) => sum + count, 0)
  // subsets[j][lost]: how many choices of j holding nodes lose `lost` shares.
  const subsets = Array.from({ length: counts.length + 1 }, () => new Float64Array(total + 1))
  subsets[0]![0] = 1
  for (const [seen, count] of counts.entries()) {
    for (let j = seen; j >= 0; j--) {
      for (let lost = total - count; lost >= 0; lost--) subsets[j + 1]![lost + count]! += subsets[j]![lost]!
    }
  }
  const gone = Math.floor(holders / 3)
  let probability = 0
  for (let j = 0; j <= Math.min(gone, counts.length); j++) {
    if (gone - j > holders - counts.length) continue
    const fatal = subsets[j]!.subarray(Math.max(0, total - k + 1)).reduce((sum, ways) => sum + ways, 0)
    // P = fatal · C(N - m, gone - j) / C(N, gone), the quotient as a product of factors near one.
    if (fatal > 0) probability += fatal * Math.exp(logChoose(holders - counts.length, gone - j) - logChoose(holders, gone))
  }
  return probability
}

function logChoose(n: number, k: number): number {
  let sum = 0
  for (let at = 1; at <= k; at++) sum += Math.log((n - k + at) / at)
  return sum
}

/**
 * Whether shares that ended up as `counts` say (one entry for each holder that has any) keep what was promised for `holders` nodes. Beyond 30
 * holders a segment is still taken at a probability of 10⁻⁵: there a few holders always fail, and their shares double up elsewhere.
 */
export function keepsPromise(counts: readonly number[], holders: number, k: number): boolean {
  if (holders <= HALF_HOLDERS_MAX) return worstHalfLeft(counts, holders) >= k
  return thirdLossProbability(counts, holders, k) <= LOSS_PROBABILITY_ACCEPTED
}
