/** A set of integers as ascending, disjoint, non-adjacent ranges with an exclusive end: bytes of a stream, or numbers of payloads. Pure. */
export class Ranges {
  /** First of each range, ascending. Read only for others. */
  readonly starts: number[] = []
  /** One behind the last of each. */
  readonly ends: number[] = []

  get count(): number {
    return this.starts.length
  }

  /** How many integers are in it. */
  get size(): number {
    let size = 0
    for (let at = 0; at < this.starts.length; at++) size += this.ends[at]! - this.starts[at]!
    return size
  }

  /** Adds `from` … `to` (exclusive), joining what touches. */
  add(from: number, to: number): void {
    if (from >= to) return
    const { starts, ends } = this
    const last = starts.length - 1
    // What comes in order.
    if (last < 0 || from > ends[last]!) {
      starts.push(from)
      ends.push(to)
      return
    }
    if (from >= starts[last]!) {
      if (to > ends[last]!) ends[last] = to
      return
    }
    const first = this.#firstEndingFrom(from)
    let beyond = first
    while (beyond < starts.length && starts[beyond]! <= to) beyond++
    if (beyond === first) {
      starts.splice(first, 0, from)
      ends.splice(first, 0, to)
      return
    }
    starts[first] = Math.min(starts[first]!, from)
    ends[first] = Math.max(ends[beyond - 1]!, to)
    starts.splice(first + 1, beyond - first - 1)
    ends.splice(first + 1, beyond - first - 1)
  }

  /** Takes the first up to `most` integers of the first range; its start is `starts[0]`. Returns how many. */
  takeFirst(most: number): number {
    const taken = Math.min(most, this.ends[0]! - this.starts[0]!)
    this.starts[0]! += taken
    if (this.starts[0] === this.ends[0]) this.dropFirst()
    return taken
  }

  /** Removes the first range. */
  dropFirst(): void {
    this.starts.shift()
    this.ends.shift()
  }

  clear(): void {
    this.starts.length = 0
    this.ends.length = 0
  }

  /** Index of the first range that ends at `from` or behind it. */
  #firstEndingFrom(from: number): number {
    let low = 0
    let high = this.ends.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.ends[middle]! < from) low = middle + 1
      else high = middle
    }
    return low
  }
}
