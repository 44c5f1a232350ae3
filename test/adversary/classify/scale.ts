/** Features brought to one scale, by what the training rows show alone: mean 0, deviation 1, cut at ±5 (a single outlier must not decide). */

const CUT = 5

export class Scale {
  readonly #mean: Float64Array
  readonly #deviation: Float64Array

  constructor(rows: readonly Float64Array[]) {
    const width = rows[0]?.length ?? 0
    this.#mean = new Float64Array(width)
    this.#deviation = new Float64Array(width)
    for (const row of rows) for (let at = 0; at < width; at++) this.#mean[at]! += row[at]! / rows.length
    for (const row of rows)
      for (let at = 0; at < width; at++) this.#deviation[at]! += (row[at]! - this.#mean[at]!) ** 2 / rows.length
    for (let at = 0; at < width; at++) this.#deviation[at] = Math.sqrt(this.#deviation[at]!)
  }

  apply(row: Float64Array): Float64Array {
    return row.map((value, at) => {
      const deviation = this.#deviation[at]!
      // A feature that never varied says nothing, however it comes out later.
      if (deviation < 1e-12) return 0
      return Math.max(-CUT, Math.min(CUT, (value - this.#mean[at]!) / deviation))
    })
  }
}
