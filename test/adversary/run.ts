/**
 * `npm run adversary -- --runs N`: the adversary lab. Plays workloads on fresh networks of real processes, watches them from outside and inside, and
 * tries to tell who serves, who receives and who only relays. Prints what was to be reached and what was found, with bounds; exits with 1 if the lab
 * itself does not work (a control failed) or, with `--gate`, if a claim does not hold. What it measures and how: README.md here.
 *
 *   --runs 4           fresh networks; two to judge           --clock steady    or swift, fixed
 *   --nodes 16         processes in each                      --short           two runs of 8 nodes at once, four windows each: five minutes
 *   --seed 1           decides workloads, folds and learners  --report FILE     one self-contained page
 *   --json FILE        everything that was found, seeds too   --gate            claims that do not hold (--short: that are shown to be false) end with 1
 *   --hands delay      a quarter of the nodes delay (or garble) what they relay: only the row of colluding members says more then
 *   --keep DIR         what was observed is kept there        --again DIR       judges what was kept, without playing
 *   --together         all runs at the same time (as --short does); two of 8 nodes are as many processes as one of 16
 *   --first N          number of the first run: to keep more runs of one seed in one folder, one after the other
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { deserialize, serialize } from 'node:v8'
import { CLOCKS, DEFAULT_CLOCK } from '../../src/config/index.ts'
import { SeededRng } from '../support/seeded-rng.ts'
import { type Digest, digest } from './digest.ts'
import { judge } from './judge.ts'
import { type Observation, observe } from './observe.ts'
import { reportPage } from './page.ts'
import { checks, costRows, tableRows } from './rows.ts'
import { FULL_RUN, SHORT_RUN } from './scenes.ts'
import { HANDS } from './tap-hands.ts'
import { table } from './text.ts'

const { values } = parseArgs({
  options: {
    runs: { type: 'string' },
    nodes: { type: 'string' },
    clock: { type: 'string', default: DEFAULT_CLOCK },
    seed: { type: 'string', default: '1' },
    short: { type: 'boolean', default: false },
    together: { type: 'boolean', default: false },
    report: { type: 'string' },
    json: { type: 'string' },
    hands: { type: 'string' },
    first: { type: 'string', default: '0' },
    keep: { type: 'string' },
    again: { type: 'string' },
    gate: { type: 'boolean', default: false },
  },
})

/** Windows from which on the bound of the long run is asked for. */
const LONG_RUN_WINDOWS = 6_400
const LONG_RUN_LIMIT = 0.06
const SHORT_RUN_LIMIT = 0.15

function whole(text: string, name: string, least: number, most: number): number {
  const value = Number(text)
  if (Number.isInteger(value) && value >= least && value <= most) return value
  console.error(`--${name} takes a whole number from ${least} to ${most}.`)
  return process.exit(2)
}

const runs = whole(values.runs ?? (values.short ? '2' : '4'), 'runs', 1, 1000)
const first = whole(values.first, 'first', 0, 1000)
const nodes = whole(values.nodes ?? (values.short ? '8' : '16'), 'nodes', 8, 64)
const { clock, seed } = values
if (!CLOCKS.some((known) => known === clock)) {
  console.error(`There is no clock ${clock} yet. Clocks: ${CLOCKS.join(', ')}.`)
  process.exit(2)
}
const hands = HANDS.find((known) => known === values.hands) ?? null
if (values.hands !== undefined && hands === null) {
  console.error(`--hands takes ${HANDS.join(' or ')}.`)
  process.exit(2)
}
const stop = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
  process.once(signal, () => stop.abort(new Error(`stopped by ${signal}`)))

/** Each part has draws of its own, so that what is judged again is judged alike. */
const rngOf = (part: string) => new SeededRng(`adversary ${seed} ${part}`)
const say = (text: string) => console.error(text)
const began = performance.now()
const digests: Digest[] = []
const loads: number[] = []
const spares: number[] = []
if (values.again === undefined) {
  await playAll().catch((error: unknown) => {
    if (!stop.signal.aborted) throw error
    console.error(String(stop.signal.reason))
    process.exit(130)
  })
} else {
  const files = readdirSync(values.again).filter((name) => name.endsWith('.v8'))
  for (const name of files.sort()) take(deserialize(readFileSync(join(values.again, name))) as Observation)
}

async function playAll(): Promise<void> {
  const numbers = Array.from({ length: runs }, (_, at) => first + at)
  if (values.short || values.together) await playTogether(numbers)
  else await playInTurn(numbers)
}

/** As many processes at once as in a run of the long kind. */
async function playTogether(numbers: readonly number[]): Promise<void> {
  const { promise: allPlayed, resolve: onAllPlayed } = Promise.withResolvers<void>()
  let playing = numbers.length
  const played = () => {
    if (--playing === 0) onAllPlayed()
    return allPlayed
  }
  for (const observation of await Promise.all(numbers.map((run) => observe({ ...observing(run), played })))) keep(observation)
}

/** One after the other: the set-up of the next network beside one that plays is more than two cores do (FINDINGS.md). */
async function playInTurn(numbers: readonly number[]): Promise<void> {
  for (const run of numbers) keep(await observe(observing(run)))
}

function observing(run: number): Parameters<typeof observe>[0] {
  const scenes = values.short ? SHORT_RUN : FULL_RUN
  return { run, nodes, clock, scenes, short: values.short, hands, rng: rngOf(`run ${run}`), signal: stop.signal, say }
}

function keep(observation: Observation): void {
  if (values.keep !== undefined) {
    mkdirSync(values.keep, { recursive: true })
    writeFileSync(join(values.keep, `run-${String(observation.run).padStart(3, '0')}.v8`), serialize(observation))
  }
  take(observation)
}

function take(observation: Observation): void {
  loads.push(observation.load)
  // What was kept before this was looked at does not say.
  spares.push(observation.spare ?? Number.NaN)
  digests.push(digest(observation, rngOf(`digest ${observation.run}`)))
}

const observedMs = performance.now() - began
const verdicts = judge(digests, rngOf('judge'), say)
const windows = digests.reduce((sum, { roles }) => sum + roles.length, 0)
const limit = windows >= LONG_RUN_WINDOWS ? LONG_RUN_LIMIT : SHORT_RUN_LIMIT
const rows = tableRows(digests, verdicts, clock, limit)
const checked = checks(digests, verdicts, clock, values.short)
const facts = {
  clock,
  runs: digests.length,
  nodes,
  hands,
  seed,
  windows,
  windowsWithoutRole: digests.reduce((sum, { unlabelled }) => sum + unlabelled, 0),
  loops: digests.reduce((sum, { loops }) => sum + loops, 0),
  minutes: Number(((performance.now() - began) / 60_000).toFixed(1)),
  minutesObserving: Number((observedMs / 60_000).toFixed(1)),
  load: loads.map((load) => Number(load.toFixed(1))),
  processorsIdle: spares.map((spare) => (Number.isNaN(spare) ? null : Number(spare.toFixed(2)))),
  node: process.version,
}

console.log(
  `\n## Adversary lab: clock ${clock}, ${digests.length} runs of ${nodes} nodes, ${windows} windows of 20 s, ${facts.loops} loops, seed ${seed},${hands === null ? '' : ` some nodes ${hands},`} ${facts.minutes} min (load ${facts.load.join(', ')}; processors idle ${facts.processorsIdle.map((part) => (part === null ? '?' : `${Math.round(part * 100)} %`)).join(', ')})\n`,
)
console.log(
  table(
    ['what', 'found', 'upper 95 % bound', 'windows', 'to reach', ''],
    rows.map((row) => [
      row.what,
      row.found,
      row.bound,
      String(row.windows),
      row.goal,
      row.reached === null ? '–' : row.reached ? 'reached' : 'NOT REACHED',
    ]),
  ),
)
const tasks = [
  ...verdicts.pairs,
  ...(verdicts.fourWay === null ? [] : [verdicts.fourWay]),
  ...verdicts.further,
  ...verdicts.sizes,
  ...(verdicts.hosting === null ? [] : [verdicts.hosting]),
]
console.log('\nEach task, on unseen runs and nodes:\n')
console.log(
  table(
    ['task', 'advantage', '95 % bounds', 'windows', 'area', 'learner', 'what tells most by itself'],
    tasks.map((task) => [
      task.task,
      task.advantage.value.toFixed(3),
      `${task.advantage.lower.toFixed(3)} to ${task.advantage.upper.toFixed(3)}`,
      String(task.windows),
      task.auc === null ? '–' : task.auc.toFixed(3),
      Object.entries(task.chosen).sort((a, b) => b[1] - a[1])[0]?.[0] ?? '–',
      task.features
        .slice(0, 2)
        .map(({ name, auc }) => `${name} (${auc.toFixed(2)})`)
        .join(', '),
    ]),
  ),
)
console.log('\nWhat it costs:\n')
console.log(
  table(
    ['what', 'found'],
    costRows(digests).map(({ what, found }) => [what, found]),
  ),
)
console.log('\nThe lab itself:\n')
console.log(
  table(
    ['check', 'found', ''],
    checked.map(({ what, found, passed }) => [what, found, passed ? 'passed' : 'FAILED']),
  ),
)
if (values.report !== undefined) writeFileSync(values.report, reportPage({ facts, rows, checked, verdicts, digests }))
if (values.json !== undefined) {
  const bare = (key: string, value: unknown) =>
    key === 'scores' || key === 'roc' ? undefined : value instanceof Map ? Object.fromEntries(value) : value
  writeFileSync(
    values.json,
    `${JSON.stringify({ facts, rows, checks: checked, verdicts, costs: digests.map(({ costs }) => costs) }, bare, 1)}\n`,
  )
}
const broken = checked.some(({ passed }) => !passed)
// What a short run affords is to show that a claim is false, not that it holds.
const unmet = rows.some(({ reached, refuted }) => (values.short ? refuted : reached === false))
process.exit(broken || (values.gate && unmet) ? 1 : 0)
