/**
 * What went over the links of a network, as either tap saw it: for each direction of each link, when how many bytes went, in columns. The rest
 * of the lab does not know which tap it was. Also the check that the two taps agree.
 */

/** A cell, its TLS 1.3 header, content type and tag. */
export const CELL_RECORD_BYTES = 2048 + 22

/** One direction of one link. `from` and `to` are nodes. */
export interface Flow {
  readonly from: number
  readonly to: number
  /** Ports of sender and receiver. */
  readonly ports: string
  /** Milliseconds of CLOCK_MONOTONIC, rising. */
  readonly at: Float64Array
  /** Bytes on the wire: TLS records with their headers. */
  readonly bytes: Float64Array
}

export interface WireTrace {
  readonly flows: readonly Flow[]
  /** TLS records by size on the wire, after handshakes and within them; empty where the tap cannot tell. */
  readonly recordSizes: ReadonlyMap<number, number>
  readonly handshakeSizes: ReadonlyMap<number, number>
  /** Segments lost, and so on: what the tap missed. */
  readonly missed: number
}

/** Gathers one flow's events without an object for each. */
export class FlowColumns {
  #at = new Float64Array(256)
  #bytes = new Float64Array(256)
  count = 0

  push(at: number, bytes: number): void {
    if (this.count === this.#at.length) {
      this.#at = grown(this.#at)
      this.#bytes = grown(this.#bytes)
    }
    this.#at[this.count] = at
    this.#bytes[this.count++] = bytes
  }

  /** The columns, times moved by `shiftMs`. */
  done(shiftMs = 0): { readonly at: Float64Array; readonly bytes: Float64Array } {
    const at = this.#at.slice(0, this.count)
    if (shiftMs !== 0) for (let row = 0; row < at.length; row++) at[row]! += shiftMs
    return { at, bytes: this.#bytes.slice(0, this.count) }
  }
}

function grown(old: Float64Array): Float64Array<ArrayBuffer> {
  const fresh = new Float64Array(old.length * 2)
  fresh.set(old)
  return fresh
}

/** First row of rising `at` that is not before `time`. */
export function rowAt(at: Float64Array, time: number): number {
  let low = 0
  let high = at.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (at[middle]! < time) low = middle + 1
    else high = middle
  }
  return low
}

export interface Agreement {
  /** Directions of links seen by both, and by one only. */
  readonly flows: number
  readonly onlyOne: number
  /** Bytes that differ within seconds, over all bytes. What crosses a second's end late counts in both: seconds are compared with neighbours. */
  readonly differing: number
  /** Totals over the whole time, largest relative difference of any flow with at least 1 MB. */
  readonly worstTotal: number
  readonly seconds: number
}

/** Compares bytes per link and second between two taps over the whole seconds from `from` to `to`. */
export function compareTaps(one: WireTrace, other: WireTrace, from: number, to: number): Agreement {
  const seconds = Math.floor((to - from) / 1000)
  const others = new Map(other.flows.map((flow) => [flow.ports, flow]))
  let differing = 0
  let total = 0
  let worstTotal = 0
  let both = 0
  for (const flow of one.flows) {
    const twin = others.get(flow.ports)
    if (twin === undefined || rowAt(flow.at, to) === rowAt(flow.at, from)) continue
    both++
    const left = perSecond(flow, from, seconds)
    const right = perSecond(twin, from, seconds)
    let carried = 0
    let sumLeft = 0
    let sumRight = 0
    for (let second = 0; second < seconds; second++) {
      sumLeft += left[second]!
      sumRight += right[second]!
      // The lead of one over the other may rise in one second and fall in the next: what crossed the boundary.
      const lead = sumLeft - sumRight
      differing += Math.max(0, Math.abs(lead) - Math.abs(carried))
      carried = lead
    }
    total += sumLeft
    if (sumLeft >= 1e6) worstTotal = Math.max(worstTotal, Math.abs(sumLeft - sumRight) / sumLeft)
  }
  const busy = (trace: WireTrace) => trace.flows.filter(({ at }) => rowAt(at, to) > rowAt(at, from)).map(({ ports }) => ports)
  const onlyOne = busy(one).length + busy(other).length - 2 * both
  return { flows: both, onlyOne, differing: total === 0 ? 0 : differing / total, worstTotal, seconds }
}

function perSecond({ at, bytes }: Flow, from: number, seconds: number): Float64Array {
  const sums = new Float64Array(seconds)
  for (let row = rowAt(at, from); row < at.length; row++) {
    const second = Math.floor((at[row]! - from) / 1000)
    if (second >= seconds) break
    sums[second]! += bytes[row]!
  }
  return sums
}
