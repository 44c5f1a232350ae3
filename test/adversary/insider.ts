/**
 * One member's own view of a circuit in a window: counts and times of its cells, which of its two neighbours chose the link, nothing else (bytes are
 * noise to it). Asked: is the predecessor the origin? Which way does content move? The truth comes from the records of all nodes.
 */
import type { Sample } from './evaluate.ts'
import { binned } from './features.ts'
import type { CircuitCells, TrueLoop } from './loops.ts'
import type { Observation } from './observe.ts'
import { mean, quantile } from './statistics.ts'
import { CELL_RECORD_BYTES, rowAt } from './wire-trace.ts'

const CELLS_MIN = 60
const BIN_MS = 100
const GAPS_MS = [0.3, 1, 3, 10, 30, 100, 300]

export interface InsiderSamples {
  readonly names: readonly string[]
  /** Circuits whose predecessor is the origin, and the others. */
  readonly afterOrigin: Sample[]
  readonly elsewhere: Sample[]
  /** Content goes to the origin; content comes from it. */
  readonly toOrigin: Sample[]
  readonly fromOrigin: Sample[]
  /** Members of loops, origin included: mean over circuits. */
  readonly loopLength: number
}

/** Which node dialled which, by `DIALLER-DIALLED`. */
function dialled({ inside, ports }: Observation): ReadonlySet<string> {
  const found = new Set<string>()
  for (const { from, to, ports: pair } of inside.flows) {
    const [, receiver] = pair.split('-')
    if (Number(receiver) === ports[to]) found.add(`${from}-${to}`)
  }
  return found
}

/** What the origin's user does in a scene, as far as content moves one way. */
export function directionOf(observation: Pick<Observation, 'played'>, window: number, origin: number): 'to' | 'from' | null {
  for (const actor of observation.played[window]!.scene.actors) {
    if (actor.kind === 'live') {
      if (actor.client === origin) return 'to'
      if (actor.server === origin) return 'from'
    } else if (actor.node === origin) return actor.kind === 'fetch' ? 'to' : 'from'
  }
  return null
}

export function insiderSamples(
  observation: Observation,
  loops: readonly TrueLoop[],
  cells: readonly ReadonlyMap<number, CircuitCells>[],
): InsiderSamples {
  const dialler = dialled(observation)
  const samples: InsiderSamples = {
    names: [],
    afterOrigin: [],
    elsewhere: [],
    toOrigin: [],
    fromOrigin: [],
    loopLength: mean(loops.map(({ members }) => members.length + 1)),
  }
  let names: readonly string[] = []
  for (const [window, { scene, from, to }] of observation.played.entries()) {
    if (scene.kind === 'idle') continue
    for (const loop of loops) {
      for (const [index, { node, circuit }] of loop.members.entries()) {
        const columns = within(cells[node]!.get(circuit), from, to)
        if (columns === null) continue
        const before = index === 0 ? loop.origin : loop.members[index - 1]!.node
        const after = loop.members[index + 1]?.node ?? loop.origin
        const features = circuitFeatures(columns, to - from, {
          'link from: chosen by it': dialler.has(`${before}-${node}`) ? 1 : 0,
          'link to: chosen by it': dialler.has(`${after}-${node}`) ? 1 : 0,
        })
        names = features.names
        const sample: Sample = { run: observation.run, node, stratum: '', values: features.values }
        if (index === 0) samples.afterOrigin.push(sample)
        else samples.elsewhere.push(sample)
        const direction = directionOf(observation, window, loop.origin)
        // Hosts have loops that wait for introductions, whichever way content moves: hosts are compared with hosts.
        const told = { ...sample, stratum: observation.hosts.has(loop.origin) ? 'host' : 'other' }
        if (direction === 'to') samples.toOrigin.push(told)
        else if (direction === 'from') samples.fromOrigin.push(told)
      }
    }
  }
  return { ...samples, names }
}

function within(circuit: CircuitCells | undefined, from: number, to: number) {
  if (circuit === undefined) return null
  const first = rowAt(circuit.at, from)
  const end = rowAt(circuit.at, to)
  const cells = circuit.cells.slice(first, end)
  if (cells.reduce((sum, count) => sum + count, 0) < CELLS_MIN) return null
  return { at: circuit.at.slice(first, end).map((at) => at - from), bytes: cells.map((count) => count * CELL_RECORD_BYTES) }
}

/** Numbers from the times and counts of one circuit's cells at one member. */
export function circuitFeatures(
  columns: { readonly at: Float64Array; readonly bytes: Float64Array },
  windowMs: number,
  facts: Readonly<Record<string, number>>,
): { readonly names: readonly string[]; readonly values: Float64Array } {
  const { at, bytes } = columns
  const names: string[] = []
  const values: number[] = []
  const add = (name: string, value: number) => {
    names.push(name)
    values.push(Number.isFinite(value) ? value : 0)
  }
  for (const [name, value] of Object.entries(facts)) add(name, value)
  const cells = bytes.map((size) => size / CELL_RECORD_BYTES)
  add('cells: log number', Math.log1p(cells.reduce((sum, count) => sum + count, 0)))
  add('turns: mean cells', mean(cells))
  for (const share of [0.5, 0.9, 1]) add(`turns: cells, quantile ${share}`, Math.log1p(quantile(cells, share)))
  for (const limit of [1, 2, 4, 8]) add(`turns: up to ${limit} cells`, mean(cells.map((count) => (count <= limit ? 1 : 0))))
  const gaps = at.slice(1).map((time, row) => time - at[row]!)
  let before = 0
  for (const limit of GAPS_MS) {
    const share = mean(gaps.map((gap) => (gap <= limit ? 1 : 0)))
    add(`gaps: up to ${limit} ms`, share - before)
    before = share
  }
  for (const share of [0.1, 0.5, 0.9, 1]) add(`gaps: quantile ${share}`, Math.log1p(quantile(gaps, share)))
  const counts = binned(columns, BIN_MS, Math.floor(windowMs / BIN_MS))
  const average = mean(counts)
  const variance = mean(counts.map((count) => (count - average) ** 2))
  add('bins: variation', average === 0 ? 0 : Math.sqrt(variance) / average)
  add('bins: empty', mean(counts.map((count) => (count === 0 ? 1 : 0))))
  add('bins: log most', Math.log1p(Math.max(...counts)))
  for (const lag of [1, 2, 5, 10]) {
    let product = 0
    for (let bin = lag; bin < counts.length; bin++) product += (counts[bin]! - average) * (counts[bin - lag]! - average)
    add(`bins: likeness after ${lag}`, variance === 0 ? 0 : product / (variance * counts.length))
  }
  add('first cell', (at[0] ?? windowMs) / windowMs)
  add('last cell', (at.at(-1) ?? 0) / windowMs)
  return { names, values: Float64Array.from(values) }
}
