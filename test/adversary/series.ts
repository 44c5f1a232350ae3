/** Time series of traffic and how alike two of them are: what links two ends of a flow. Pure. */
import { rowAt } from './wire-trace.ts'

/** Sums of `amount` in bins of `binMs` from `from` on. */
export function seriesOf(at: Float64Array, amount: Float64Array, from: number, binMs: number, bins: number): Float64Array {
  const sums = new Float64Array(bins)
  for (let row = rowAt(at, from); row < at.length; row++) {
    const bin = Math.floor((at[row]! - from) / binMs)
    if (bin >= bins) break
    sums[bin]! += amount[row]!
  }
  return sums
}

export const LIKENESS_NAMES = ['likeness', 'lag', 'likeness of changes', 'log volume ratio', 'difference of starts'] as const

/** How alike `second` is to `first`, up to `lags` bins later: features for linking them. The first is the one to rank by. */
export function likeness(first: Float64Array, second: Float64Array, lags: number): Float64Array {
  let most = -1
  let lagOfMost = 0
  for (let lag = 0; lag <= lags; lag++) {
    const value = correlation(first.subarray(0, first.length - lag), second.subarray(lag))
    if (value <= most) continue
    most = value
    lagOfMost = lag
  }
  const volume = (values: Float64Array) => values.reduce((sum, value) => sum + value, 0)
  const changes = (values: Float64Array) => values.slice(1).map((value, at) => value - values[at]!)
  const shifted = second.subarray(lagOfMost)
  return Float64Array.from([
    most,
    lagOfMost,
    correlation(changes(first.subarray(0, shifted.length)), changes(shifted)),
    Math.abs(Math.log((volume(first) + 1) / (volume(second) + 1))),
    startOf(second) - startOf(first),
  ])
}

/** Pearson's; 0 where one of them does not vary. */
export function correlation(first: Float64Array, second: Float64Array): number {
  const count = Math.min(first.length, second.length)
  let sumA = 0
  let sumB = 0
  for (let at = 0; at < count; at++) {
    sumA += first[at]!
    sumB += second[at]!
  }
  let ab = 0
  let aa = 0
  let bb = 0
  for (let at = 0; at < count; at++) {
    const a = first[at]! - sumA / count
    const b = second[at]! - sumB / count
    ab += a * b
    aa += a * a
    bb += b * b
  }
  return aa < 1e-12 || bb < 1e-12 ? 0 : ab / Math.sqrt(aa * bb)
}

function startOf(values: Float64Array): number {
  const at = values.findIndex((value) => value > 0)
  return at < 0 ? values.length : at
}
