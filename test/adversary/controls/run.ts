/**
 * `npm run adversary:controls`: the positive controls of the lab that need builds of their own (`index.ts`). Each: two networks of eight nodes at once,
 * clock `swift`, six live scenes, pages and bulk. Exits with 1 if one is not seen, or the taps disagree.
 *
 *   --only NAME   one of them        --seed 1   decides workloads, folds and learners        --json FILE   everything that was found
 */
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { SeededRng } from '../../support/seeded-rng.ts'
import { observe } from '../observe.ts'
import type { SceneKind, Size } from '../scenes.ts'
import { table } from '../text.ts'
import { CONTROLS } from './index.ts'
import { controlDigest, judgeControl } from './judge.ts'

const NODES = 8
const RUNS = 2
const SCENES: readonly SceneKind[] = ['live', 'live', 'live', 'live', 'live', 'live']
/** A message is two cells for one: nothing goes one way in whole cells. */
const SIZES: readonly Size[] = ['page', 'bulk']

const { values } = parseArgs({
  options: { only: { type: 'string' }, seed: { type: 'string', default: '1' }, json: { type: 'string' } },
})
const { only, seed } = values
const wanted = CONTROLS.filter((control) => only === undefined || control === only)
if (wanted.length === 0) {
  console.error(`--only takes ${CONTROLS.join(', ')}.`)
  process.exit(2)
}
const stop = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
  process.once(signal, () => stop.abort(new Error(`stopped by ${signal}`)))
const began = performance.now()
const verdicts = []
for (const control of wanted) {
  const { promise: allPlayed, resolve: onAllPlayed } = Promise.withResolvers<void>()
  let playing = RUNS
  const played = () => {
    if (--playing === 0) onAllPlayed()
    return allPlayed
  }
  const rng = new SeededRng(`controls ${seed} ${control}`)
  const options = {
    nodes: NODES,
    clock: 'swift',
    scenes: SCENES,
    sizes: SIZES,
    short: true,
    hands: null,
    control,
    signal: stop.signal,
    played,
  }
  const say = (text: string) => console.error(`${control}, ${text}`)
  const runs = Array.from({ length: RUNS }, (_, run) => observe({ ...options, run, rng: rng.fork(`run ${run}`), say }))
  const digests = (await Promise.all(runs)).map((observation) => controlDigest(observation, control))
  const verdict = judgeControl(control, digests, rng.fork('judge'))
  const facts = digests.map(({ done, failed, load, spare, recordSizes }) => ({
    done,
    failed,
    load,
    spare,
    recordSizes: Object.fromEntries(recordSizes),
  }))
  verdicts.push({ control, ...verdict, runs: facts })
}
const minutes = ((performance.now() - began) / 60_000).toFixed(1)
const tasks = verdicts.flatMap((verdict) => verdict.tasks)
const checks = verdicts.flatMap((verdict) => verdict.checks)
console.log(`\n## Control builds: clock swift, ${RUNS} runs of ${NODES} nodes each, seed ${seed}, ${minutes} min\n`)
console.log(
  table(
    ['task', 'told apart', 'advantage, 95 % bounds', 'windows'],
    tasks.map(({ task, windows, advantage }) => [
      task,
      `${((100 * advantage.right) / windows).toFixed(1)} %`,
      `${advantage.value.toFixed(3)} (${advantage.lower.toFixed(3)} to ${advantage.upper.toFixed(3)})`,
      String(windows),
    ]),
  ),
)
console.log('')
console.log(
  table(
    ['check', 'found', ''],
    checks.map(({ what, found, passed }) => [what, found, passed ? 'passed' : 'FAILED']),
  ),
)
if (values.json !== undefined) {
  const bare = (key: string, value: unknown) => (key === 'scores' || key === 'roc' ? undefined : value)
  writeFileSync(values.json, `${JSON.stringify({ seed, nodes: NODES, runs: RUNS, minutes, checks, verdicts }, bare, 1)}\n`)
}
process.exit(checks.some(({ passed }) => !passed) ? 1 : 0)
