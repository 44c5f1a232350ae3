/**
 * The true loops of a run, put together from what each node wrote down: a loop's origin knows its first link, each member the two links of a circuit;
 * the ids on links join them. And each member's cells, as an insider there counts them. Pure.
 */
import { twinId } from '../../relay/circuits.ts'
import type { CircuitId } from '../../src/cell/index.ts'
import type { Observation } from './observe.ts'
import { type TapFact, TapKind, type TapRecords } from './tap-file.ts'

export interface Member {
  readonly node: number
  /** The circuit's number in that node's records. */
  readonly circuit: number
}

/** A loop that came home and carried cells. */
export interface TrueLoop {
  readonly origin: number
  /** In order, without the origin. */
  readonly members: readonly Member[]
  readonly launchedAt: number
}

/** Cells of one circuit at one node, by turns. */
export interface CircuitCells {
  readonly at: Float64Array
  readonly cells: Float64Array
}

/** Places for twins of a loop (SPEC §4.7). */
const TWINS_MAX = 15

type HopFact = Extract<TapFact, { type: 'hop' }>

export function trueLoops({ taps, ids }: Pick<Observation, 'taps' | 'ids'>): TrueLoop[] {
  const indexOf = new Map(ids.map((id, index) => [id, index]))
  const hops = new Map<string, HopFact>()
  for (const [node, { facts }] of taps.entries()) {
    for (const fact of facts) if (fact.type === 'hop') hops.set(`${node} ${fact.from} ${fact.fromId}`, fact)
  }
  /** The loop that leaves `origin` as circuit `id` of its link to `first`; `null`: none came home. */
  const follow = (origin: number, first: string, firstId: number): TrueLoop | null => {
    const members: Member[] = []
    let launchedAt = Number.NaN
    let node = indexOf.get(first)
    let from = ids[origin]!
    let id = firstId
    while (node !== undefined && node !== origin && members.length < ids.length) {
      const hop = hops.get(`${node} ${from} ${id}`)
      if (hop === undefined) return null
      if (members.length === 0) launchedAt = hop.at
      members.push({ node, circuit: hop.number })
      from = ids[node]!
      id = hop.toId
      node = indexOf.get(hop.to)
    }
    return node === origin && members.length > 0 ? { origin, members, launchedAt } : null
  }
  const loops: TrueLoop[] = []
  for (const [origin, { facts }] of taps.entries()) {
    for (const fact of facts) {
      if (fact.type !== 'launch') continue
      const loop = follow(origin, fact.first, fact.id)
      if (loop !== null) loops.push({ ...loop, launchedAt: fact.at })
      // Its twins go the same way, and are launched nowhere: their ids follow from its own.
      for (let place = 1; place <= TWINS_MAX; place++) {
        const twin = follow(origin, fact.first, twinId(fact.id as CircuitId, place))
        if (twin !== null) loops.push(twin)
      }
    }
  }
  return loops
}

/** Cells of every circuit of a node. */
export function circuitCells({ count, at, kind, size, number }: TapRecords): Map<number, CircuitCells> {
  const rows = new Map<number, number[]>()
  for (let row = 0; row < count; row++) {
    if (kind[row] !== TapKind.HOP) continue
    const list = rows.get(number[row]!)
    if (list === undefined) rows.set(number[row]!, [row])
    else list.push(row)
  }
  return new Map(
    [...rows].map(([circuit, list]) => [
      circuit,
      { at: Float64Array.from(list, (row) => at[row]!), cells: Float64Array.from(list, (row) => size[row]!) },
    ]),
  )
}
