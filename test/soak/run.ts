/**
 * `npm run soak -- --minutes N [--nodes 8] [--seed S] [--clock swift]`: a network of real processes under mixed load and churn, watched for growth, leaks, faults and
 * slowness; a table at the end, and 0 only if everything that is promised holds (`judge.ts`). `--json FILE` keeps all samples.
 *
 * The first half of the nodes lives throughout: what one process keeps over time is seen there. The others are killed or stopped now and then, one at a
 * time, and started again. A quarter of the time is warm-up. `--snapshots DIR` takes a heap snapshot of each node after it and at the end.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { loadavg } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { stayAlive } from '../../client/cli/alive.ts'
import { getJson } from '../../client/cli/api-client.ts'
import { table } from '../../client/cli/output.ts'
import type { NodeStatus } from '../../client/library.ts'
import { apiOf, startTestnet, type Testnet, type TestnetNode } from '../../client/testnet/index.ts'
import { CLOCKS, type ClockName } from '../../src/config/index.ts'
import { systemClock } from '../../src/runtime/index.ts'
import { type SeededRng, seededRng } from '../support/seeded-rng.ts'
import { Floor } from './floor.ts'
import { FLOOR, judge, type Outcome, quantile, type Sample, SMALL_FETCH, type Spans, windowed } from './judge.ts'
import { Load } from './load.ts'
import { Watch } from './watch.ts'

const MINUTE_MS = 60_000
const WARM_SHARE = 0.25
const WINDOWS = 9
const MINUTES_MIN = 5
/** Each node is looked at so often. */
const LOOK_MS = 20_000
/** From the return of one node to the end of the next. */
const CHURN_MS = { least: 30_000, more: 60_000 }
const AWAY_MS = { least: 3_000, more: 12_000 }
const RETURN_MS = 60_000
/** Mean time between two measurements of the floor. */
const FLOOR_MS = 1_000

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '10' },
    nodes: { type: 'string', default: '8' },
    seed: { type: 'string', default: '1' },
    // The clock under which most is asked in the time.
    clock: { type: 'string', default: 'swift' },
    snapshots: { type: 'string' },
    'no-churn': { type: 'boolean', default: false },
    json: { type: 'string' },
  },
})
const minutes = Number(values.minutes)
const nodes = Number(values.nodes)
const clock = CLOCKS.find((one) => one === values.clock)
if (!(minutes >= MINUTES_MIN) || !(nodes >= 8) || clock === undefined) {
  console.error(
    `--minutes takes a number from ${MINUTES_MIN} on (each process is looked at several times in each window), --nodes one from 8 on, --clock ${CLOCKS.join(', ')}.`,
  )
  process.exit(2)
}

const release = stayAlive()
const ending = new AbortController()
for (const name of ['SIGINT', 'SIGTERM'] as const) process.on(name, () => ending.abort(new Error(name)))
process.exitCode = await soak(clock).finally(release)

async function soak(clock: ClockName): Promise<number> {
  process.env.NODE_OPTIONS = `--expose-gc --import=${join(import.meta.dirname, 'probe.ts')}`
  if (values.snapshots !== undefined) {
    mkdirSync(values.snapshots, { recursive: true })
    process.env.SOAK_SNAPSHOTS = values.snapshots
  }
  const beganMs = systemClock.monotonicMs()
  const watch = new Watch(beganMs)
  const deaths: string[] = []
  const faults: string[] = []
  const net = await startTestnet({
    nodes,
    clock,
    signal: ending.signal,
    onLine: (index, line) => {
      if (watch.onLine(line)) return
      console.log(`node ${index}: ${line}`)
      if (/"level":"(?:error|fatal)"|[Uu]nhandled|Warning:/.test(line)) faults.push(`node ${index}: ${line.slice(0, 300)}`)
    },
    onDeath: (index, how) => deaths.push(`node ${index}: ${how}`),
  })
  const floor = await Floor.start()
  const totalMs = minutes * MINUTE_MS
  const spans: Spans = { warmMs: totalMs * WARM_SHARE, endMs: totalMs, windows: WINDOWS }
  const working = new AbortController()
  const timer = systemClock.setTimer(totalMs, () => working.abort(new Error('over')))
  ending.signal.addEventListener('abort', () => working.abort(ending.signal.reason))
  try {
    const { signal } = working
    const rng = seededRng(`soak ${values.seed}`)
    const away = new Set<number>()
    const ready = () => net.nodes.filter(({ index }) => !away.has(index))
    const lasting = Array.from({ length: nodes / 2 }, (_, at) => at)
    const load = new Load({ net, rng: rng.fork('load'), signal, beganMs, lasting, ready })
    console.log(`${nodes} nodes for ${minutes} min, seed ${values.seed}; warm-up until ${clockOf(spans.warmMs)}`)
    const [ends] = await Promise.all([
      values['no-churn'] ? 0 : churn(net, rng.fork('churn'), away, faults, signal),
      load.run(),
      look(net, watch, ready, signal),
      measureFloor(floor, load.outcomes, rng.fork('floor'), beganMs, signal),
      tell(watch, load, spans, beganMs, signal),
    ])
    const verdicts = judge(watch.samples, load.outcomes, spans, { deaths, faults, wrong: load.wrong })
    report(watch, load.outcomes, spans, ends)
    console.log(
      `\n${table([['promise', '', 'figures'], ...verdicts.map(({ what, holds, figures }) => [what, holds ? 'holds' : 'BROKEN', figures])])}`,
    )
    if (values.json !== undefined)
      writeFileSync(values.json, JSON.stringify({ spans, samples: watch.samples, outcomes: load.outcomes, verdicts }))
    if (ending.signal.aborted) return 130
    return verdicts.every(({ holds }) => holds) ? 0 : 1
  } finally {
    timer.cancel()
    working.abort(new Error('over'))
    floor.close()
    await net.close()
  }
}

/** Kills or stops one of the nodes that may end, and starts it again. What fails at that is told in `faults`. */
async function churn(net: Testnet, rng: SeededRng, away: Set<number>, faults: string[], signal: AbortSignal): Promise<number> {
  for (let ends = 0; ; ends++) {
    if (!(await slept(CHURN_MS.least + rng.below(CHURN_MS.more), signal))) return ends
    const index = nodes / 2 + rng.below(nodes / 2)
    away.add(index)
    try {
      await net.stop(index, rng.below(3) > 0)
      if (!(await slept(AWAY_MS.least + rng.below(AWAY_MS.more), signal))) return ends + 1
      const node = await net.start(index, net.node(0).listen)
      if (await returned(node, signal)) away.delete(index)
      else if (!signal.aborted) faults.push(`node ${index} did not come back within ${RETURN_MS / 1000} s`)
    } catch (error) {
      if (!signal.aborted) faults.push(`node ${index}: ${String(error)}`)
    }
  }
}

async function returned(node: TestnetNode, signal: AbortSignal): Promise<boolean> {
  for (const end = systemClock.monotonicMs() + RETURN_MS; systemClock.monotonicMs() < end; ) {
    if (!(await slept(200, signal))) return false
    const { loopsReady } = await getJson<NodeStatus>(apiOf(node), '/v1/status', signal).catch(() => ({ loopsReady: 0 }))
    if (loopsReady > 0) return true
  }
  return false
}

/** `false`: it is over. */
function slept(ms: number, signal: AbortSignal): Promise<boolean> {
  return systemClock.sleep(ms, { signal }).then(
    () => true,
    () => false,
  )
}

async function look(net: Testnet, watch: Watch, ready: () => readonly TestnetNode[], signal: AbortSignal): Promise<void> {
  // One after the other: collecting all garbage takes a processor for a while.
  for (let at = 0; await slept(LOOK_MS / nodes, signal); at = (at + 1) % nodes) {
    const node = net.nodes[at]
    if (node !== undefined && ready().includes(node)) await watch.look(node, signal)
  }
}

async function measureFloor(
  floor: Floor,
  outcomes: Outcome[],
  rng: SeededRng,
  beganMs: number,
  signal: AbortSignal,
): Promise<void> {
  while (await slept(2 * FLOOR_MS * rng.unit(), signal)) {
    const atMs = systemClock.monotonicMs() - beganMs
    outcomes.push({ kind: FLOOR, atMs, ms: await floor.measure(), failure: '' })
  }
}

/** A line for each window, and heap snapshots where they are wanted. */
async function tell(watch: Watch, load: Load, spans: Spans, beganMs: number, signal: AbortSignal): Promise<void> {
  const widthMs = (spans.endMs - spans.warmMs) / spans.windows
  const warmUps = Math.round(spans.warmMs / widthMs)
  let cpu = 0
  for (let window = 1 - warmUps; window <= spans.windows; window++) {
    // The last one a little early, before everything ends.
    const endMs = beganMs + spans.warmMs + window * widthMs - (window === spans.windows ? LOOK_MS * 1.5 : 0)
    if (!(await slept(Math.max(0, endMs - systemClock.monotonicMs()), signal))) return
    const nowMs = systemClock.monotonicMs() - beganMs
    const some = <T extends { readonly atMs: number }>(items: readonly T[]) => items.filter(({ atMs }) => atMs >= nowMs - widthMs)
    const requests = some(load.outcomes).filter(({ kind }) => kind !== FLOOR)
    const fetches = requests.filter(({ kind }) => kind === SMALL_FETCH)
    const live = some(watch.samples)
    const used = watch.cpuSeconds - cpu
    cpu = watch.cpuSeconds
    console.log(
      [
        `${clockOf(nowMs)}${window <= 0 ? ' warm-up' : ''}: ${requests.length} requests, ${requests.filter(({ failure }) => failure !== '').length} failed`,
        `small fetches ${fetches.length}, p50 ${ms(fetches, 0.5)}, p99 ${ms(fetches, 0.99)} ms`,
        `live ${mebi(live, (sample) => sample.liveBytes)}, resident ${mebi(live, (sample) => sample.rssBytes)} MiB a node`,
        `${((100_000 * used) / widthMs).toFixed(0)} % of a core, load of the machine ${loadavg()[0]?.toFixed(1)}`,
      ].join('; '),
    )
    if (values.snapshots !== undefined && (window === 1 || window === spans.windows))
      writeFileSync(join(values.snapshots, 'now'), window === 1 ? 'first' : 'last')
  }
}

function report(watch: Watch, outcomes: readonly Outcome[], spans: Spans, ends: number): void {
  const kinds = [...new Set(outcomes.map(({ kind }) => kind))].sort()
  const rows = kinds.map((kind) => {
    const all = outcomes.filter((outcome) => outcome.kind === kind)
    const failures = Map.groupBy(
      all.filter(({ failure }) => failure !== ''),
      ({ failure }) => failure,
    )
    const told = [...failures].map(([failure, some]) => `${some.length} × ${failure}`).join(', ')
    return [kind, String(all.length), ms(all, 0.5), ms(all, 0.99), ms(all, 1), told]
  })
  console.log(`\n${table([['request', 'number', 'p50 ms', 'p99 ms', 'max ms', 'failed'], ...rows])}`)
  const header = [
    'window from',
    'live MiB',
    'resident MiB',
    'handles',
    'sockets',
    'timers',
    'lag p99 ms',
    'lag max ms',
    'fetch p99 ms',
  ]
  const fetches = windowed(
    outcomes.filter(({ kind }) => kind === SMALL_FETCH),
    spans,
  )
  const lines = windowed(watch.samples, spans).map((window, at) => [
    clockOf(spans.warmMs + (at * (spans.endMs - spans.warmMs)) / spans.windows),
    mebi(window, (sample) => sample.liveBytes),
    mebi(window, (sample) => sample.rssBytes),
    mean(window, ({ handles }) => handles),
    mean(window, ({ sockets }) => sockets),
    mean(window, ({ timers }) => timers),
    mean(window, ({ lagP99Ms }) => lagP99Ms),
    String(Math.max(...window.map(({ lagMaxMs }) => lagMaxMs))),
    ms(fetches[at]!, 0.99),
  ])
  console.log(`\nNodes that live throughout and others, a node on average:\n${table([header, ...lines])}`)
  console.log(`\n${ends} ends and starts of nodes; ${watch.cpuSeconds.toFixed(0)} s of the processor`)
}

function ms(outcomes: readonly Outcome[], q: number): string {
  const times = outcomes.map((outcome) => outcome.ms)
  return times.length === 0 ? '-' : String(Math.round(q === 1 ? Math.max(...times) : quantile(times, q)))
}

function mean(samples: readonly Sample[], of: (sample: Sample) => number): string {
  return samples.length === 0 ? '-' : (samples.reduce((sum, sample) => sum + of(sample), 0) / samples.length).toFixed(1)
}

function mebi(samples: readonly Sample[], of: (sample: Sample) => number): string {
  return mean(samples, (sample) => of(sample) / 2 ** 20)
}

function clockOf(elapsedMs: number): string {
  const seconds = Math.round(elapsedMs / 1000)
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`
}
