/**
 * The positive control: the wire as it would be if cells that carry no content were not sent. In a loop content moves on one half only: from the
 * origin to the apex, or from the apex home. The other half's cells are there so that every member puts out what it takes in. Here they are taken out
 * of the trace, loop by loop, by the members' own records; the lab must then tell roles apart almost always, or it could not have told them before.
 * An emulation on recorded traces, not a build of its own: nodes that sent answers back the way requests came would need another wire format.
 */

import { directionOf } from './insider.ts'
import type { CircuitCells, TrueLoop } from './loops.ts'
import type { Observation } from './observe.ts'
import { CELL_RECORD_BYTES, type Flow, rowAt, type WireTrace } from './wire-trace.ts'

/** A cell is on the wire at most so long before its receiver's turn, or after its sender's. */
const SLACK_MS = 250

/** `trace` without the half of each working loop that carries no content. */
export function oneWay(
  observation: Observation,
  trace: WireTrace,
  loops: readonly TrueLoop[],
  cells: readonly ReadonlyMap<number, CircuitCells>[],
): WireTrace {
  const flows = trace.flows.map((flow) => ({ ...flow, bytes: flow.bytes.slice() }))
  const between = new Map<string, Flow[]>()
  for (const flow of flows) {
    const key = `${flow.from}-${flow.to}`
    const list = between.get(key)
    if (list === undefined) between.set(key, [flow])
    else list.push(flow)
  }
  for (const [window, { from, to }] of observation.played.entries()) {
    for (const { origin, members } of loops) {
      const direction = directionOf(observation, window, origin)
      if (direction === null) continue
      const apex = Math.floor(members.length / 2)
      // Link `at` leads to member `at`; the last one leads home.
      const [first, end] = direction === 'to' ? [0, apex + 1] : [apex + 1, members.length + 1]
      for (let at = first; at < end; at++) {
        const home = at === members.length
        const { node, circuit } = members[home ? at - 1 : at]!
        const sender = home ? node : at === 0 ? origin : members[at - 1]!.node
        const receiver = home ? origin : node
        const counted = cells[node]!.get(circuit)
        if (counted === undefined) continue
        for (const flow of between.get(`${sender}-${receiver}`) ?? []) takeOut(flow, counted, from, to, home)
      }
    }
  }
  return { ...trace, flows: flows.map(withoutEmpty) }
}

/** Takes `counted` cells out of the flow: those before each turn, or (`after`) those that follow it. */
function takeOut({ at, bytes }: Flow, counted: CircuitCells, from: number, to: number, after: boolean): void {
  for (let turn = rowAt(counted.at, from); turn < counted.at.length && counted.at[turn]! < to; turn++) {
    const time = counted.at[turn]!
    let left = counted.cells[turn]! * CELL_RECORD_BYTES
    let row = after ? rowAt(at, time) : rowAt(at, time) - 1
    while (left > 0 && row >= 0 && row < at.length && Math.abs(at[row]! - time) <= SLACK_MS) {
      const taken = Math.min(left, bytes[row]!)
      bytes[row]! -= taken
      left -= taken
      row += after ? 1 : -1
    }
  }
}

function withoutEmpty(flow: Flow): Flow {
  const kept = Array.from(flow.at.keys()).filter((row) => flow.bytes[row]! > 0)
  return {
    ...flow,
    at: Float64Array.from(kept, (row) => flow.at[row]!),
    bytes: Float64Array.from(kept, (row) => flow.bytes[row]!),
  }
}
