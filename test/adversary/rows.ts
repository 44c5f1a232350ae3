/** The table of what is to be reached, with what was found: rows that this lab measures. Bounds are those of issue and README. Pure. */
import type { Digest } from './digest.ts'
import type { TaskResult } from './evaluate.ts'
import type { Verdicts } from './judge.ts'
import { advantage, quantile } from './statistics.ts'

export interface Row {
  readonly what: string
  readonly found: string
  /** Upper 95 % bound, or what stands for it. */
  readonly bound: string
  readonly windows: number
  readonly goal: string
  /** `null`: nothing is claimed, or too few windows to say. */
  readonly reached: boolean | null
  /** Whether even so few windows show that a claim does not hold: its lower 95 % bound is above the goal. */
  readonly refuted: boolean
}

/** A gain with bounds that chance passes once in ten thousand times: for what ends a run with an error. */
const surely = (right: number, windows: number) => advantage(right, windows, 0.9999)
const three = (value: number) => value.toFixed(3)

/** The task whose upper bound is highest. */
function worstOf(tasks: readonly TaskResult[]): TaskResult | null {
  return [...tasks].sort((a, b) => b.advantage.upper - a.advantage.upper)[0] ?? null
}

function advantageRow(what: string, tasks: readonly TaskResult[], limit: number, claimed: boolean): Row {
  const worst = worstOf(tasks)
  const goal = `≤ ${limit}`
  if (worst === null) return { what, found: 'too few windows', bound: '–', windows: 0, goal, reached: null, refuted: false }
  const { advantage, clustered, task, windows } = worst
  return {
    what: `${what}: worst is ${task}`,
    found: three(advantage.value),
    bound: `${three(advantage.upper)} (by nodes ${three(clustered.upper)})`,
    windows,
    goal,
    reached: claimed ? advantage.upper <= limit : null,
    refuted:
      claimed &&
      tasks.some(
        ({ advantage: { right, windows }, clustered }) => clustered.lower > limit && surely(right, windows).lower > limit,
      ),
  }
}

/** What is asked of places. */
const PLACES: Readonly<Record<string, string>> = {
  placebo: 'the same nodes, while the network is idle',
  'place alone': 'by circuits that passed before the window',
  'equal places': 'nodes that as many circuits passed before',
}

/** `limit`: the bound for this number of windows: 0.06 in the long run, 0.15 in short ones. */
export function tableRows(digests: readonly Digest[], verdicts: Verdicts, clock: string, limit: number): Row[] {
  const claimed = clock !== 'swift'
  const named = (tasks: readonly TaskResult[], ...names: string[]) =>
    tasks.filter(({ task }) => names.some((name) => task === name))
  const { pairs, further, posterior, direction, outside, colluding } = verdicts
  const all = [...pairs, ...further]
  const sizes = new Set(digests.flatMap(({ recordSizes }) => [...recordSizes.keys()]))
  const idle = digests.map(({ costs }) => (costs.idleBytesPerMinute * 8) / 60 / 1e6)
  const idleHost = digests.map(({ costs }) => (costs.idleHostBytesPerMinute * 8) / 60 / 1e6)
  const rows: Row[] = [
    advantageRow(
      'serve against receive, all links of a node',
      named(all, 'serve / receive', 'serve-live / receive', 'serve-store / receive'),
      limit,
      claimed,
    ),
    advantageRow(
      'relay against origin or apex, all links of a node',
      all.filter(({ classes }) => classes.includes('relay') && !classes.includes('idle')),
      limit,
      claimed,
    ),
    advantageRow(
      'active against idle, all links of a node',
      pairs.filter(({ classes }) => classes.includes('idle') && !classes.includes('relay')),
      limit,
      clock === 'fixed',
    ),
  ]
  for (const { task, advantage, clustered, windows } of verdicts.placebo) {
    rows.push({
      what: `${task}: ${PLACES[task.split(':')[0]!]}`,
      found: three(advantage.value),
      bound: `${three(advantage.upper)} (by nodes ${three(clustered.upper)})`,
      windows,
      goal: '0',
      reached: null,
      refuted: false,
    })
  }
  const goal = 2.5 / Math.max(1, posterior.loopLength)
  rows.push({
    what: `posterior that the predecessor is the origin, one insider, the ${posterior.top} likeliest of its circuits (all: ${three(posterior.base)})`,
    found: three(posterior.value),
    bound: three(posterior.upper),
    windows: posterior.circuits,
    goal: `≤ ${three(goal)} (2.5 / ${posterior.loopLength.toFixed(1)})`,
    reached: claimed && posterior.circuits > 0 ? posterior.upper <= goal : null,
    refuted: false,
  })
  rows.push(advantageRow('which way content moves, one insider', direction === null ? [] : [direction], limit, claimed))
  rows.push(advantageRow('same loop? two members that collude', colluding.task === null ? [] : [colluding.task], 0.1, claimed))
  rows.push({
    what: 'first and last link of a loop against others, outside, passive: area under the curve',
    found: three(outside.auc),
    bound: `true positives at 10⁻³ false ones ${three(outside.truePositives)}`,
    windows: outside.pairs,
    goal: '0.5',
    reached: null,
    refuted: false,
  })
  rows.push({
    what: 'distinct record sizes after the handshake',
    found: sizes.size === 0 ? 'not seen: no capture' : `${sizes.size} (${[...sizes].join(', ')} bytes)`,
    bound: '–',
    windows: digests.length,
    goal: '1',
    reached: sizes.size === 0 ? null : sizes.size === 1,
    refuted: sizes.size > 1,
  })
  const pages = digests.flatMap(({ costs }) => costs.times['fetch, page'] ?? []).map(({ ms }) => ms / 1000)
  rows.push({
    what: 'page of 300 KiB fetched, seconds, median and 90 % (sixteen nodes share this machine)',
    found: pages.length === 0 ? 'none' : `${quantile(pages, 0.5).toFixed(2)}; ${quantile(pages, 0.9).toFixed(2)}`,
    bound: '–',
    windows: pages.length,
    goal: '≤ 8',
    reached: pages.length === 0 ? null : quantile(pages, 0.5) <= 8,
    refuted: false,
  })
  rows.push({
    what: 'idle cost here per node each way, Mbit/s; of one that hosts a service (loops left of work, and others’ services; alone: npm run bench -- steady)',
    found: `${quantile(idle, 0.5).toFixed(2)}; ${quantile(idleHost, 0.5).toFixed(2)}`,
    bound: `${Math.max(0, ...idle).toFixed(2)}; ${Math.max(0, ...idleHost).toFixed(2)}`,
    windows: digests.reduce((sum, { costs }) => sum + costs.idleWindows, 0),
    goal: '≤ 1.2 (alone)',
    reached: null,
    refuted: false,
  })
  return rows
}

/** Whether the lab itself works: what must succeed, what must fail, and what must agree. */
export interface Check {
  readonly what: string
  readonly found: string
  readonly passed: boolean
}

/** `short`: so few windows fail a control only if chance would hardly ever do so. */
export function checks(digests: readonly Digest[], verdicts: Verdicts, clock: string, short = false): Check[] {
  const list: Check[] = []
  for (const { task, advantage, windows } of verdicts.shuffled) {
    const { lower } = short ? surely(advantage.right, windows) : advantage
    list.push({
      what: `negative control, ${task}: gains nothing (lower bound at most 0.05)`,
      found: `${three(advantage.value)} (${three(lower)} to ${three(advantage.upper)}) on ${windows} windows`,
      // One-sided 95 % bounds: one control in twenty would be above 0 by chance. What breaks the lab is a gain beyond chance and habit.
      passed: lower <= 0.05,
    })
  }
  for (const { task, advantage, windows } of verdicts.oneWay) {
    const accuracy = (1 + (short ? surely(advantage.right, windows).upper : advantage.value)) / 2
    const told = task.endsWith('serve-live / receive')
    list.push({
      what: `positive control, ${task}: without the cells that carry no content${told ? ', told apart in 95 % of windows' : ''}`,
      found: `${(50 + 50 * advantage.value).toFixed(1)} % of ${windows}`,
      passed: !told || accuracy >= 0.95,
    })
  }
  if (clock === 'swift') {
    const best = [...verdicts.pairs].sort((a, b) => b.advantage.value - a.advantage.value)[0]
    const accuracy = best === undefined ? 0 : (1 + best.advantage.value) / 2
    list.push({
      what: 'positive control, clock swift: the best pair is told apart in 95 % of windows',
      found: best === undefined ? 'no pair' : `${best.task}: ${(100 * accuracy).toFixed(1)} % of ${best.windows}`,
      passed: accuracy >= 0.95,
    })
    const { colluding } = verdicts
    list.push({
      what: 'positive control, clock swift: two members link their circuits, area under the curve ≥ 0.95',
      found: three(colluding.auc),
      passed: colluding.auc >= 0.95,
    })
  }
  for (const { run, agreement, ownAgreement, missed, blind } of digests) {
    list.push({
      what: `run ${run}: sockets' reads equal their writes (bytes per link and second)`,
      found: `${(100 * ownAgreement.differing).toFixed(2)} % cross a second, totals differ by ${(100 * ownAgreement.worstTotal).toFixed(2)} % at most, ${ownAgreement.flows} flows`,
      passed: ownAgreement.differing <= 0.05 && ownAgreement.worstTotal <= 0.02 && ownAgreement.onlyOne === 0,
    })
    if (agreement === null) {
      list.push({ what: `run ${run}: no capture outside`, found: blind ?? '', passed: true })
      continue
    }
    list.push({
      what: `run ${run}: capture and sockets agree (bytes per link and second)`,
      found: `${(100 * agreement.differing).toFixed(2)} % cross a second, totals differ by ${(100 * agreement.worstTotal).toFixed(2)} % at most, ${agreement.flows} flows, ${agreement.onlyOne} seen by one only, ${missed} missed`,
      passed: agreement.differing <= 0.05 && agreement.worstTotal <= 0.02 && agreement.onlyOne === 0 && (short || missed === 0),
    })
  }
  return list
}

export interface Cost {
  readonly what: string
  readonly found: string
}

/** What the clock costs: bytes for each byte of payload, idle bytes, times of work. */
export function costRows(digests: readonly Digest[]): Cost[] {
  const kinds = [...new Set(digests.flatMap(({ costs }) => Object.keys(costs.payloadBytes)))]
  const perByte = kinds.map((kind) => {
    const extra = digests.reduce((sum, { costs }) => sum + (costs.extraBytes[kind] ?? 0), 0)
    const payload = digests.reduce((sum, { costs }) => sum + (costs.payloadBytes[kind] ?? 0), 0)
    const rate = payload === 0 ? '–' : (extra / payload).toFixed(1)
    return {
      what: `bytes on all links per payload byte, ${kind} scenes, beyond idle`,
      found: `${rate} (${(payload / 1e6).toFixed(0)} MB of payload)`,
    }
  })
  const works = [...new Set(digests.flatMap(({ costs }) => Object.keys(costs.times)))].sort()
  const times = works.map((work) => {
    const all = digests.flatMap(({ costs }) => costs.times[work] ?? [])
    const at = (values: readonly number[], share: number) => quantile(values, share).toFixed(0)
    const first = all.map(({ firstByteMs }) => firstByteMs)
    const whole = all.map(({ ms }) => ms)
    return {
      what: `${work}: first byte, whole; median and 90 %, ms`,
      found: `${at(first, 0.5)} and ${at(first, 0.9)}; ${at(whole, 0.5)} and ${at(whole, 0.9)} (${all.length} times)`,
    }
  })
  const minutes = (of: (digest: Digest) => number) => (quantile(digests.map(of), 0.5) / 1e6).toFixed(2)
  const failed = digests.reduce((sum, { costs }) => sum + costs.failed.length, 0)
  return [
    { what: 'sent by an idle node without a service, MB a minute', found: minutes(({ costs }) => costs.idleBytesPerMinute) },
    { what: 'sent by an idle node with a service, MB a minute', found: minutes(({ costs }) => costs.idleHostBytesPerMinute) },
    ...perByte,
    ...times,
    { what: 'pieces of work that failed', found: String(failed) },
  ]
}
