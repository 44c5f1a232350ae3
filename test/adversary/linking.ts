/**
 * Pairs to be told apart: "is this the same loop?", asked by an observer outside who sees a loop's first and last link, and by two colluding members
 * who see their own circuits, the first of them with hands of its own if it has any (`tap-hands.ts`). Under a paced clock only loops are compared that have
 * one rate and carry cells from the first second of the window to the last: rates and rounds are public, what is asked is whether anything else tells. Positives are two ends of one loop, negatives one end each of two loops that work in the same window.
 */
import { RATE_LADDER } from '../../src/circuit/setup/index.ts'
import type { SeededRng } from '../support/seeded-rng.ts'
import type { Sample } from './evaluate.ts'
import type { CircuitCells, TrueLoop } from './loops.ts'
import type { Observation } from './observe.ts'
import { likeness, seriesOf } from './series.ts'
import type { WireTrace } from './wire-trace.ts'

const BIN_MS = 50
const LAGS = 12
const EDGE_MS = 1_000
const RATE_SLACK = 0.2
/** Loops that carry fewer cells in a window have nothing to link by. */
const CELLS_MIN = 60
/** Positives, and as many negatives, per window. */
const PAIRS_MAX = 60

export interface Pairs {
  /** Two ends of one loop. */
  readonly same: Sample[]
  readonly other: Sample[]
}

interface Ends {
  readonly origin: number
  /** Loops of other classes are no strangers to be taken for this one. */
  readonly kind: number
  readonly first: Float64Array
  readonly second: Float64Array
}

/** First link out and last link home, on the wire. */
export function outsidePairs(
  observation: Observation,
  trace: WireTrace,
  loops: readonly TrueLoop[],
  cells: readonly ReadonlyMap<number, CircuitCells>[],
  rng: SeededRng,
): Pairs {
  const flowBetween = (from: number, to: number, start: number, bins: number) => {
    const sums = new Float64Array(bins)
    for (const flow of trace.flows) {
      if (flow.from !== from || flow.to !== to) continue
      const series = seriesOf(flow.at, flow.bytes, start, BIN_MS, bins)
      for (let bin = 0; bin < bins; bin++) sums[bin]! += series[bin]!
    }
    return sums
  }
  return pairsOf(observation, loops, cells, rng, (loop, from, bins) => ({
    first: flowBetween(loop.origin, loop.members[0]!.node, from, bins),
    second: flowBetween(loop.members.at(-1)!.node, loop.origin, from, bins),
  }))
}

/** Two members that are no neighbours in the loop, by their own counts. Adjacent ones share a link and know. */
export function colludingPairs(
  observation: Observation,
  loops: readonly TrueLoop[],
  cells: readonly ReadonlyMap<number, CircuitCells>[],
  rng: SeededRng,
): Pairs {
  const { handed } = observation
  /** Places from which there is a member two further on: where hands are laid on, those of nodes that do. */
  const placesOf = ({ members }: TrueLoop) =>
    [...members.keys()].filter((at) => at + 2 < members.length && (handed.size === 0 || handed.has(members[at]!.node)))
  const fit = loops.filter((loop) => placesOf(loop).length > 0)
  return pairsOf(observation, fit, cells, rng, (loop, from, bins) => {
    const places = placesOf(loop)
    const one = places[rng.below(places.length)]!
    const two = one + 2 + rng.below(loop.members.length - one - 2)
    const series = ({ node, circuit }: TrueLoop['members'][number]) => {
      const { at, cells: counts } = cells[node]!.get(circuit)!
      return seriesOf(at, counts, from, BIN_MS, bins)
    }
    return { first: series(loop.members[one]!), second: series(loop.members[two]!) }
  })
}

function pairsOf(
  { run, clock, played }: Observation,
  loops: readonly TrueLoop[],
  cells: readonly ReadonlyMap<number, CircuitCells>[],
  rng: SeededRng,
  endsOf: (loop: TrueLoop, from: number, bins: number) => Pick<Ends, 'first' | 'second'>,
): Pairs {
  const same: Sample[] = []
  const other: Sample[] = []
  for (const { scene, from, to } of played) {
    if (scene.kind === 'idle') continue
    const bins = Math.floor((to - from) / BIN_MS)
    const working = loops.filter(
      ({ members: [first] }) => cellsWithin(cells[first!.node]!.get(first!.circuit), from, to) >= CELLS_MIN,
    )
    while (working.length > PAIRS_MAX) working.splice(rng.below(working.length), 1)
    const kindOf = ({ members: [first] }: TrueLoop) =>
      clock === 'swift' ? 0 : rateThrough(cells[first!.node]!.get(first!.circuit), from, to)
    const ends: Ends[] = working.flatMap((loop) => {
      const kind = kindOf(loop)
      return kind === null ? [] : [{ origin: loop.origin, kind, ...endsOf(loop, from, bins) }]
    })
    for (const [at, { origin, kind, first, second }] of ends.entries()) {
      const strangers = ends.filter((end, index) => index !== at && end.origin !== origin && end.kind === kind)
      if (strangers.length === 0) continue
      const stranger = strangers[rng.below(strangers.length)]!
      const stratum = `${scene.kind}`
      same.push({ run, node: origin, stratum, values: likeness(first, second, LAGS) })
      other.push({ run, node: origin, stratum, values: likeness(first, stranger.second, LAGS) })
    }
  }
  return { same, other }
}

/** The rate of the ladder at which a circuit carried cells throughout; `null`: it began or ended within the time. */
function rateThrough(circuit: CircuitCells | undefined, from: number, to: number): number | null {
  if (cellsWithin(circuit, from, from + EDGE_MS) === 0 || cellsWithin(circuit, to - EDGE_MS, to) === 0) return null
  const rate = (1000 * cellsWithin(circuit, from, to)) / (to - from)
  return RATE_LADDER.find((each) => Math.abs(rate / each - 1) < RATE_SLACK) ?? null
}

export function cellsWithin(circuit: CircuitCells | undefined, from: number, to: number): number {
  if (circuit === undefined) return 0
  let sum = 0
  for (let row = 0; row < circuit.at.length; row++)
    if (circuit.at[row]! >= from && circuit.at[row]! < to) sum += circuit.cells[row]!
  return sum
}
