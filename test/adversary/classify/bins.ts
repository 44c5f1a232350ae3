/** Features cut into at most 32 steps by the quantiles of the training rows: trees look at 32 places for a split instead of one per row. */

export const BINS = 32
const SAMPLE = 2048

export class Bins {
  /** Upper ends of each feature's steps, rising. */
  readonly #ends: readonly Float64Array[]

  constructor(rows: readonly Float64Array[]) {
    const width = rows[0]?.length ?? 0
    const stride = Math.max(1, Math.floor(rows.length / SAMPLE))
    this.#ends = Array.from({ length: width }, (_, feature) => {
      const values: number[] = []
      for (let at = 0; at < rows.length; at += stride) values.push(rows[at]![feature]!)
      const sorted = Float64Array.from(values).sort()
      const ends = new Set<number>()
      for (let step = 1; step < BINS; step++) {
        const at = Math.floor((step * sorted.length) / BINS)
        // Halfway to the next other value, so that what lies between in later rows goes either way.
        const value = sorted[Math.max(0, at - 1)]!
        const next = sorted[Math.min(at, sorted.length - 1)]!
        ends.add((value + next) / 2)
      }
      return Float64Array.from(ends).sort()
    })
  }

  get width(): number {
    return this.#ends.length
  }

  /** The steps of a row. */
  apply(row: Float64Array): Uint8Array {
    const steps = new Uint8Array(row.length)
    for (let feature = 0; feature < row.length; feature++) {
      const ends = this.#ends[feature]!
      const value = row[feature]!
      let low = 0
      let high = ends.length
      while (low < high) {
        const middle = (low + high) >>> 1
        if (value > ends[middle]!) low = middle + 1
        else high = middle
      }
      steps[feature] = low
    }
    return steps
  }
}
