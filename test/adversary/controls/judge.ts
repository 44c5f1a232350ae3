/** Whether the lab sees what a control build shows: live servers against receivers, as in the lab's own question. Pure. */
import type { SeededRng } from '../../support/seeded-rng.ts'
import type { RoleSample } from '../digest.ts'
import { evaluate, type TaskResult } from '../evaluate.ts'
import { featuresOf, linksOf } from '../features.ts'
import { BALANCE, matched, only, PAIR_LEARNERS } from '../judge.ts'
import { labelRun } from '../labels.ts'
import { insideTrace, type Observation } from '../observe.ts'
import type { Check } from '../rows.ts'
import { WINDOW_MS } from '../scenes.ts'
import { TapKind } from '../tap-file.ts'
import { CELL_RECORD_BYTES, compareTaps, type Flow, type WireTrace } from '../wire-trace.ts'
import type { Control } from './index.ts'

const TOLD_SHARE = 0.95
/** Yamux's own frames as records: a header and what TLS adds. */
const FRAME_RECORD_BYTES = 12 + CELL_RECORD_BYTES - 2048

/** What is kept of one run. */
export interface ControlDigest {
  readonly run: number
  readonly names: readonly string[]
  readonly samples: readonly RoleSample[]
  /** The same windows by yamux's own frames alone. */
  readonly frames: readonly RoleSample[]
  readonly recordSizes: ReadonlyMap<number, number>
  /** Windows of nodes, and those of them in which a node wrote records of more than one size. */
  readonly windows: number
  readonly windowsOfSizes: number
  readonly checks: readonly Check[]
  readonly done: number
  readonly failed: readonly string[]
  readonly load: number
  readonly spare: number
}

export function controlDigest(observation: Observation, control: Control): ControlDigest {
  const { run, inside, outside, played, hosts, nodes } = observation
  const { labelled } = labelRun(observation)
  let names: readonly string[] = []
  const samplesOf = (trace: WireTrace) =>
    labelled.map((label): RoleSample => {
      const { node, role, size, host, window, from, to } = label
      const features = featuresOf(linksOf(trace, node, from, to), WINDOW_MS)
      names = features.names
      const scene = played[window]!.scene.kind
      return { run, node, role, size, host, window, scene, place: 0, stratum: '', values: features.values }
    })
  const samples = samplesOf(outside ?? inside)
  const frames = control === 'yamux' ? samplesOf(framesOnly(inside)) : []
  let windowsOfSizes = 0
  for (const { from, to } of played) {
    for (let node = 0; node < nodes; node++)
      if (linksOf(inside, node, from, to).some(({ out }) => ofSizes(out.bytes))) windowsOfSizes++
  }
  const from = played[0]?.from ?? 0
  const to = played.at(-1)?.to ?? 0
  const own = compareTaps(inside, insideTrace(observation.taps, TapKind.READ), from, to)
  const agreement = outside === null ? null : compareTaps(inside, outside, from, to)
  const checks: Check[] = [
    {
      what: `${control}, run ${run}: sockets' reads equal their writes`,
      found: `totals differ by ${(100 * own.worstTotal).toFixed(2)} % at most, ${own.flows} flows, ${hosts.size} hosts`,
      passed: own.worstTotal <= 0.02 && own.onlyOne === 0,
    },
  ]
  if (agreement !== null)
    checks.push({
      what: `${control}, run ${run}: capture and sockets agree`,
      found: `totals differ by ${(100 * agreement.worstTotal).toFixed(2)} % at most, ${agreement.flows} flows`,
      passed: agreement.worstTotal <= 0.02 && agreement.onlyOne === 0,
    })
  return {
    run,
    names,
    samples,
    frames,
    recordSizes: outside?.recordSizes ?? new Map(),
    windows: played.length * nodes,
    windowsOfSizes,
    checks,
    done: played.reduce((sum, { deeds }) => sum + deeds.done.length, 0),
    failed: played.flatMap(({ deeds }) => deeds.failed),
    load: observation.load,
    spare: observation.spare,
  }
}

export interface ControlVerdict {
  readonly checks: readonly Check[]
  readonly tasks: readonly TaskResult[]
}

export function judgeControl(control: Control, digests: readonly ControlDigest[], rng: SeededRng): ControlVerdict {
  const names = digests[0]?.names ?? []
  const listsOf = (samples: readonly RoleSample[]) =>
    matched((['serve-live', 'receive'] as const).map((role) => samples.filter((sample) => sample.role === role)))
  const ask = (by: string, options: Pick<Parameters<typeof evaluate>[0], 'samples' | 'names' | 'learners'>) => {
    const task = `${control}: serve-live / receive, ${by}`
    return evaluate({ task, classes: ['serve-live', 'receive'], ...options, rng: rng.fork(task) })
  }
  // By balance: what gives serving away elsewhere. So few windows teach nobody to find one feature among all.
  const byBalance = (lists: ReturnType<typeof listsOf>) => ({
    ...only(lists, names, (name) => BALANCE.has(name)),
    learners: PAIR_LEARNERS,
  })
  const lists = listsOf(digests.flatMap(({ samples }) => samples))
  const frames = listsOf(digests.flatMap((digest) => digest.frames))
  const balance = ask('balance of bytes', byBalance(lists))
  const all = ask('all features', { samples: lists, names })
  const own = ask('balance of yamux’s own frames', byBalance(frames))
  const share = balance === null ? 0 : balance.advantage.right / balance.windows
  const windows = digests.reduce((sum, digest) => sum + digest.windows, 0)
  const ofMore = digests.reduce((sum, { windowsOfSizes }) => sum + windowsOfSizes, 0)
  const sized = control === 'unpadded' || control === 'yamux'
  const open = control !== 'closed'
  return {
    tasks: [balance, all, own].flatMap((task) => task ?? []),
    checks: [
      {
        what: open
          ? `positive control ${control}: a live server and a receiver are told apart by the balance of bytes in 95 % of windows`
          : `${control}: by the balance of bytes they are not told apart in 95 % of windows, in all likelihood (upper 95 % bound)`,
        found: balance === null ? 'too few windows' : `${(100 * share).toFixed(1)} % of ${balance.windows}`,
        passed: open ? share >= TOLD_SHARE : balance !== null && (1 + balance.advantage.upper) / 2 < TOLD_SHARE,
      },
      {
        what: sized
          ? `positive control ${control}: records of more than one size in 95 % of windows`
          : `${control}: records of more than one size in no window`,
        found: `${ofMore} of ${windows}; ${new Set(digests.flatMap(({ recordSizes }) => [...recordSizes.keys()])).size} sizes in the capture`,
        passed: sized ? ofMore >= TOLD_SHARE * windows : ofMore === 0,
      },
      ...digests.flatMap(({ checks }) => checks),
    ],
  }
}

/** Whether there are writes that are no whole number of cells. */
function ofSizes(bytes: Float64Array): boolean {
  return bytes.some((size) => size % CELL_RECORD_BYTES !== 0)
}

function framesOnly(trace: WireTrace): WireTrace {
  const flows = trace.flows.map((flow): Flow => {
    const kept = [...flow.at.keys()].filter((row) => flow.bytes[row]! <= FRAME_RECORD_BYTES)
    return {
      ...flow,
      at: Float64Array.from(kept, (row) => flow.at[row]!),
      bytes: Float64Array.from(kept, (row) => flow.bytes[row]!),
    }
  })
  return { ...trace, flows }
}
