/**
 * How fast a node serves others while a neighbour floods it: one real relay on real links that are always full, one with an honest circuit's cells and
 * one with each flood. Honest cells passed on in a while with the flood, as a part of those in the same while without, in many pairs of slices that
 * follow each other, with a 95 % interval over pairs (bootstrap). What flooder and user themselves do is in no figure. `node test/bench/flood.ts
 * [--pairs N] [--only WORDS]`, or by `run.ts`, whose part it is. That half is left whatever a flood costs is proved in `test/sim/flood-speed.test.ts`; this says what it costs.
 */
import { parseArgs } from 'node:util'
import type { Link, LinkReceiver } from '../../src/link/index.ts'
import { systemClock, systemRng } from '../../src/runtime/index.ts'
import { FLOODS, type Flood, FloodedRelay, LOOPS, manyLoops, type NamedFlood } from '../support/floods.ts'
import { seededRng } from '../support/seeded-rng.ts'

const SLICE_MS = 50
const PAIRS = 60
const WARM_UP = 6
const RESAMPLES = 2_000

export interface FloodFigures {
  readonly name: string
  /** Speed beside the flood, to that without. */
  readonly part: number
  /** 95 % interval. */
  readonly low: number
  readonly high: number
  /** Of the time beside the flood: its turns, and what is in nobody's turn. */
  readonly floodPart: number
  readonly otherPart: number
  /** The longest turn of the flood, ms. */
  readonly longestMs: number
}

/** Time in turns of the honest link, of others, and the longest of these. */
class Watch {
  honest: Link | null = null
  honestMs = 0
  floodMs = 0
  longestMs = 0
  #link: Link | null = null
  #tookMs = 0

  reset(): void {
    this.honestMs = 0
    this.floodMs = 0
  }

  over(relay: LinkReceiver): LinkReceiver {
    return {
      onCells: (link, cells, count) => {
        this.#link = link
        const began = systemClock.monotonicMs()
        relay.onCells(link, cells, count)
        this.#tookMs = systemClock.monotonicMs() - began
      },
      onTurnEnd: () => {
        const began = systemClock.monotonicMs()
        relay.onTurnEnd()
        const took = this.#tookMs + systemClock.monotonicMs() - began
        if (this.#link === this.honest) this.honestMs += took
        else {
          this.floodMs += took
          this.longestMs = Math.max(this.longestMs, took)
        }
      },
      onClose: (link, reason) => relay.onClose(link, reason),
    }
  }
}

interface Slice {
  readonly perMs: number
  readonly floodPart: number
  readonly otherPart: number
}

async function slice(world: FloodedRelay, watch: Watch, flood: Flood | null): Promise<Slice> {
  watch.reset()
  const { passed } = world
  const from = systemClock.monotonicMs()
  let outsideMs = 0
  for (;;) {
    const began = systemClock.monotonicMs()
    const ms = began - from - outsideMs
    if (ms >= SLICE_MS) {
      const floodPart = watch.floodMs / ms
      return { perMs: (world.passed - passed) / ms, floodPart, otherPart: 1 - floodPart - watch.honestMs / ms }
    }
    world.feedHonest()
    if (flood !== null) world.feedFlood(flood)
    outsideMs += systemClock.monotonicMs() - began
    await new Promise<void>((resolve) => systemClock.nextTurn(resolve))
  }
}

const mean = (list: readonly number[]) => list.reduce((sum, value) => sum + value, 0) / list.length

/** Mean of ratios by sums, and its interval over resampled pairs. */
function interval(pairs: readonly (readonly [beside: number, alone: number])[]): Pick<FloodFigures, 'part' | 'low' | 'high'> {
  const rng = seededRng('flood bench')
  const of = (list: typeof pairs) => mean(list.map(([beside]) => beside)) / mean(list.map(([, alone]) => alone))
  const drawn = Array.from({ length: RESAMPLES }, () => of(pairs.map(() => pairs[rng.below(pairs.length)]!))).sort(
    (a, b) => a - b,
  )
  return { part: of(pairs), low: drawn[Math.floor(0.025 * RESAMPLES)]!, high: drawn[Math.floor(0.975 * RESAMPLES)]! }
}

const ALL: readonly NamedFlood[] = [...FLOODS, { name: `cells of ${LOOPS} loops`, make: manyLoops }]

/** Measures floods whose names hold `only`. */
export async function measureFloods({ pairs = PAIRS, only = '' } = {}): Promise<FloodFigures[]> {
  const found: FloodFigures[] = []
  for (const { name, make } of ALL.filter((flood) => flood.name.includes(only))) {
    const watch = new Watch()
    // Long enough for what the flood left in queues, and for what is answered in later turns.
    const settle = () => new Promise<void>((resolve) => setTimeout(resolve, 5))
    const world = await FloodedRelay.start({ clock: systemClock, rng: systemRng, watch: (relay) => watch.over(relay), settle })
    watch.honest = world.honest.link
    try {
      const flood = await make(world)
      for (let warm = 0; warm < WARM_UP; warm++) await slice(world, watch, warm % 2 === 0 ? null : flood)
      watch.longestMs = 0
      const slices: { readonly beside: Slice; readonly alone: Slice }[] = []
      for (let pair = 0; pair < pairs; pair++) {
        await settle()
        const alone = await slice(world, watch, null)
        slices.push({ alone, beside: await slice(world, watch, flood) })
      }
      found.push({
        name,
        ...interval(slices.map(({ beside, alone }) => [beside.perMs, alone.perMs])),
        floodPart: mean(slices.map(({ beside }) => beside.floodPart)),
        otherPart: mean(slices.map(({ beside }) => beside.otherPart)),
        longestMs: watch.longestMs,
      })
    } finally {
      await world.close()
    }
  }
  return found
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { pairs: { type: 'string' }, only: { type: 'string', default: '' } } })
  for (const one of await measureFloods({ pairs: Number(values.pairs ?? PAIRS), only: values.only })) {
    const times = `flood ${one.floodPart.toFixed(2)}, neither ${one.otherPart.toFixed(2)} of the time; longest turn ${one.longestMs.toFixed(1)} ms`
    console.log(`${one.name.padEnd(50)} ${one.part.toFixed(3)} (${one.low.toFixed(3)} to ${one.high.toFixed(3)}); ${times}`)
  }
  process.exit(0)
}
