/**
 * P5a: who taps every cable sees the same, whatever the loops carry. A case is a set of loops (members, rates, times, drawn from a seed) and a
 * workload; it is run on a fake clock with nothing to carry and with the workload, and the times and sizes of all writes on all links, from the
 * first second to after the end, must be EQUAL: not alike, not equal on average. 200 sets of loops times five workloads.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { askAgain } from '../../client/loops/asking.ts'
import type { PacedLoop } from '../../client/loops/paced-loop.ts'
import { EPOCH_MS, pacedPlan } from '../../src/circuit/setup/index.ts'
import { encodeHopRequest } from '../../src/wire/index.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { type Mesh, startMesh } from '../support/mesh.ts'
import { type SeededRng, seededRng } from '../support/seeded-rng.ts'
import { Talker } from '../support/talker.ts'

const SETS = Number(process.env.P5A_SETS ?? 200)
/** Whole epochs. */
const LIVE_MS = 6_000
const LIFE_MS = 6_000
/** Loops are live this long after the start of a case: 2.9 s, the least that set-ups need here. */
const BEFORE_LIVE_MS = 2_900
/** Rates of the loops of a case, by index in the ladder: mostly low ones, which cost less time to simulate. */
const RATES = [0, 0, 0, 1, 1, 1, 2] as const

const PROMISES_MS = 5

interface LoopWish {
  readonly origin: number
  readonly hops: readonly number[]
  readonly rate: number
}

interface CaseOf {
  readonly seed: number
  readonly count: number
  readonly loops: readonly LoopWish[]
  /** A node on the first two loops. */
  readonly meeting: number
}

function drawCase(seed: number, rates: readonly number[] = RATES): CaseOf {
  const rng = seededRng(`p5a ${seed}`)
  const count = 6 + rng.below(2)
  const order = shuffle(
    Array.from({ length: count }, (_, at) => at),
    rng,
  )
  const [first, second, meeting] = order as [number, number, number]
  const loops = [first, second, order[3]!].slice(0, 2 + rng.below(2)).map((origin, at): LoopWish => {
    const others = shuffle(
      order.filter((node) => node !== origin && node !== meeting),
      rng,
    ).slice(0, 2 + rng.below(count - 4))
    const hops = [...others]
    hops.splice(at < 2 ? 1 + rng.below(hops.length - 1) : 0, 0, meeting)
    return { origin, hops, rate: rates[rng.below(rates.length)]! }
  })
  return { seed, count, loops, meeting }
}

function shuffle(list: readonly number[], rng: SeededRng): number[] {
  return list
    .map((value) => ({ value, key: rng.u32() }))
    .sort((a, b) => a.key - b.key)
    .map(({ value }) => value)
}

interface Running {
  readonly mesh: Mesh
  readonly clock: FakeClock
  readonly loops: readonly PacedLoop[]
  readonly meeting: number
  readonly rng: SeededRng
  readonly signal: AbortSignal
  /** Answers that came, and were right. */
  answered: number
}

const ping = (up: number, down: number) => encodeHopRequest({ kind: 'ping', filler: new Uint8Array(up), answerBytes: down })

/** Asks, and counts the answer; what the end of the loop cuts off is no matter here. */
async function asks(run: Running, loop: PacedLoop, hop: number, request: Uint8Array, answerBytes: number): Promise<void> {
  try {
    const reply = await askAgain(() => loop.askAt(loop.hops[hop % loop.hops.length]!, request, run))
    assert.ok(reply.length >= answerBytes)
    run.answered++
  } catch (error) {
    if (!run.signal.aborted && loop.open) throw error
  }
}

/** What a case's loops carry. Begins when the loops are live, or before. */
const WORKLOADS: Readonly<Record<string, (run: Running) => void>> = {
  'one request': (run) => void asks(run, run.loops[0]!, run.rng.below(9), ping(100, 100), 100),
  'requests to many hops of all loops': (run) => {
    for (const loop of run.loops) {
      for (let at = 0; at < 6; at++) void asks(run, loop, run.rng.below(9), ping(run.rng.below(4_000), 500), 500)
    }
  },
  'a store that answers': (run) => {
    for (const loop of run.loops) for (let at = 0; at < 4; at++) void asks(run, loop, 1, ping(0, 65_000), 65_000)
  },
  'a publication': (run) => {
    for (const loop of run.loops) {
      for (let at = 0; at < 4; at++)
        void asks(run, loop, 1, encodeHopRequest({ kind: 'store', request: new Uint8Array(60_000) }), 60_000)
    }
  },
  'a joined exchange': (run) => {
    const cookie = run.rng.bytes(32)
    for (const loop of run.loops.slice(0, 2)) {
      const talker = new Talker()
      const at = run.mesh.nodes[run.meeting]!.id
      loop.joinAt(at, cookie, talker, run).then(
        (port) => {
          talker.port = port
          talker.say(40)
          run.answered++
        },
        () => {},
      )
    }
  },
}

/** Runs a case; gives all writes as text, one line each. */
async function runCase(drawn: CaseOf, workload: ((run: Running) => void) | null): Promise<{ trace: string[]; answered: number }> {
  const clock = new FakeClock(FakeClock.START_UNIX_MS + LIVE_MS - BEFORE_LIVE_MS)
  const rng = seededRng(`mesh ${drawn.seed}`)
  const trace: string[] = []
  const indexes = new Map<string, number>()
  const mesh = await clock.runFor(
    startMesh({
      count: drawn.count,
      clock,
      rng,
      rngOf: (index) => seededRng(`node ${index} ${drawn.seed}`),
      pacing: { control: { everyMs: 50 } },
      onIds: (ids) => {
        for (const [index, id] of ids.entries()) indexes.set(id, index)
      },
      onWrite: (from, to, bytes) => trace.push(`${clock.monotonicMs()} ${indexes.get(from)}>${indexes.get(to)} ${bytes}`),
    }),
  )
  const stop = new AbortController()
  const building = drawn.loops.map(({ origin, hops, rate }) => {
    const node = mesh.nodes[origin]!
    const liveEpoch = (FakeClock.START_UNIX_MS + LIVE_MS) / EPOCH_MS
    const plan = pacedPlan(clock.unixMs(), { clock: 'steady', rate, liveEpoch, closeEpoch: liveEpoch + LIFE_MS / EPOCH_MS })
    node.path = { hops: hops.map((hop) => mesh.nodes[hop]!.id), apexIndex: hops.indexOf(drawn.meeting) }
    return node.builder.buildPaced(undefined, () => {}, { signal: stop.signal, plan })
  })
  const run = {
    mesh,
    clock,
    loops: await clock.runFor(Promise.all(building)),
    meeting: drawn.meeting,
    rng: seededRng(`work ${drawn.seed}`),
    signal: stop.signal,
    answered: 0,
  }
  const until = BEFORE_LIVE_MS + LIFE_MS + 500
  if (workload === null) {
    clock.advanceNow(until - clock.monotonicMs())
  } else {
    // Requests may come before the loop is live, and while it runs.
    clock.advanceNow(run.rng.below(BEFORE_LIVE_MS + 2_500 - Math.ceil(clock.monotonicMs())))
    workload(run)
    // Promises get their turn every few milliseconds, not after every timer: seven nodes tick a hundred times a second.
    while (clock.monotonicMs() < until) {
      clock.advanceNow(PROMISES_MS)
      await clock.settle()
    }
  }
  const answered = run.answered
  stop.abort(new Error('the case is over'))
  const writes = trace.length
  await clock.runFor(mesh.close())
  await clock.settle()
  return { trace: trace.slice(0, writes), answered }
}

/** Runs a set of loops with nothing, then with each workload, and compares all writes. Gives the number of writes of one run. */
async function compare(drawn: CaseOf, answered: Map<string, number>): Promise<number> {
  const idle = await runCase(drawn, null)
  assert.ok(idle.trace.length > 500)
  for (const [name, workload] of Object.entries(WORKLOADS)) {
    const busy = await runCase(drawn, workload)
    const at = busy.trace.findIndex((line, index) => line !== idle.trace[index])
    assert.ok(
      at < 0 && busy.trace.length === idle.trace.length,
      `seed ${drawn.seed}, ${name}: write ${at} is "${busy.trace[at]}", with nothing to carry "${idle.trace[at]}"`,
    )
    answered.set(name, (answered.get(name) ?? 0) + busy.answered)
  }
  return idle.trace.length
}

test(`P5a: ${SETS * Object.keys(WORKLOADS).length} seeded cases: every write on every link is at the same time and of the same size, whatever is carried`, async () => {
  const answered = new Map<string, number>()
  let writes = 0
  for (let seed = 1; seed <= SETS; seed++) writes += await compare(drawCase(seed), answered)
  // The workloads did carry something.
  for (const [name, count] of answered) assert.ok(count > SETS / 4, `${name}: ${count} answers`)
  assert.ok(writes > SETS * 500)
})

test('P5a: the same at 512 and 2048 cells a second', async () => {
  const answered = new Map<string, number>()
  for (const seed of [1, 2, 3]) await compare(drawCase(1_000_000 + seed, [3, 3, 4]), answered)
  for (const [name, count] of answered) assert.ok(count > 2, `${name}: ${count} answers`)
})

test('the control: a swift loop beside them is seen at once', async () => {
  const drawn = drawCase(1)
  const idle = await runCase(drawn, null)
  const busy = await runCase(drawn, (run) => {
    const node = run.mesh.nodes[drawn.loops[0]!.origin]!
    void node.builder
      .build(undefined, () => {}, run)
      .then(
        (loop) => loop.ask(ping(10, 10), run),
        () => {},
      )
  })
  assert.notDeepEqual(busy.trace, idle.trace)
})
