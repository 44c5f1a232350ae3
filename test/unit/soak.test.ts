/** What judges a soak tells growth, leaks, slowness and faults, and nothing else. Samples are made up. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { courses, FLOOR, judge, type Outcome, quantile, type Sample, SMALL_FETCH, type Spans, trend } from '../soak/judge.ts'
import { seededRng } from '../support/seeded-rng.ts'

const spans: Spans = { warmMs: 900_000, endMs: 3_600_000, windows: 9 }
const rng = seededRng('soak')
const quiet = { deaths: [], faults: [], wrong: 0 }

/** One hour of one process; `at` from 0 to 1. */
function samples(change: (at: number) => Partial<Sample> = () => ({}), node = 0, fromMs = 0, toMs = spans.endMs): Sample[] {
  const all: Sample[] = []
  for (let atMs = fromMs; atMs < toMs; atMs += 20_000) {
    all.push({
      ...{ atMs, node, pid: 100 + node, heapBytes: 4e7, liveBytes: 6e7 + rng.below(1e6), rssBytes: 16e7 + rng.below(4e6) },
      ...{ handles: 38 + rng.below(6), sockets: 13, timers: 50 + rng.below(9), lagP99Ms: 5, lagMaxMs: 80 },
      ...change(atMs / spans.endMs),
    })
  }
  return all
}

function fetches(
  msOf: (at: number) => number,
  failure: (number: number) => string = () => '',
  floorOf: (at: number) => number = () => 6,
): Outcome[] {
  // The same noise each time: of no trend at all one series in fifty is called one.
  const rng = seededRng('fetches')
  return Array.from({ length: 3_600 }, (_, number) => {
    const atMs = number * 1_000
    const ms = msOf(number / 3_600) * (0.5 + rng.unit()) * (rng.below(20) === 0 ? 5 : 1)
    const floor = floorOf(number / 3_600) * (0.5 + rng.unit())
    return [
      { atMs, kind: SMALL_FETCH, ms, failure: failure(number) },
      { atMs, kind: FLOOR, ms: floor, failure: '' },
    ]
  }).flat()
}

const broken = (...parts: Parameters<typeof judge>) =>
  judge(...parts)
    .filter(({ holds }) => !holds)
    .map(({ what }) => what)
const steady = () => fetches(() => 30)

test('a quiet hour holds everything', () => {
  assert.deepEqual(broken([...samples(), ...samples(undefined, 1)], steady(), spans, quiet), [])
})

test('growth of 8 % after the warm-up is told; of a warm-up it is not', () => {
  const growing = samples((at) => ({ liveBytes: 6e7 * (1 + 0.1 * at) }))
  assert.deepEqual(broken(growing, steady(), spans, quiet), ['live memory does not grow'])
  const resident = samples((at) => ({ rssBytes: 16e7 * (1 + 0.1 * at) }))
  assert.deepEqual(broken(resident, steady(), spans, quiet), ['resident memory does not grow'])
  const warming = samples((at) => ({ liveBytes: at < 0.25 ? 3e7 : 6e7 }))
  assert.deepEqual(broken(warming, steady(), spans, quiet), [])
})

test('handles and timers that stay are told; those that come and go are not', () => {
  const leaking = samples((at) => ({ handles: 38 + Math.floor(10 * at) }))
  assert.deepEqual(broken(leaking, steady(), spans, quiet), ['no handle leaks'])
  const ticking = samples((at) => ({ timers: 50 + Math.floor(60 * at) }))
  assert.deepEqual(broken(ticking, steady(), spans, quiet), ['no timer leaks'])
  // As many as the work of the moment wants: no trend, no leak.
  const working = samples((at) => ({ timers: 40 + 20 * (Math.floor(9 * ((at - 0.25) / 0.75)) % 3) + rng.below(5) }))
  assert.deepEqual(broken(working, steady(), spans, quiet), [])
  const busy = samples((at) => ({ handles: 38 + (at > 0.9 ? rng.below(2) * 30 : 0) }))
  assert.deepEqual(broken(busy, steady(), spans, quiet), [])
})

test('processes that were started again are no course; without any there is nothing to hold', () => {
  const young = samples((at) => ({ liveBytes: 9e7 * (1 + at) }), 5, 2_000_000)
  assert.equal(courses(young, spans, (some) => some.length).length, 0)
  assert.deepEqual(broken([...samples(), ...young], steady(), spans, quiet), [])
  assert.ok(broken(young, steady(), spans, quiet).includes('live memory does not grow'))
})

test('latency that rises is told; noise and a fall are not', () => {
  assert.deepEqual(
    broken(
      samples(),
      fetches((at) => 30 * (1 + 2 * at)),
      spans,
      quiet,
    ),
    ['p99 of small fetches does not rise'],
  )
  assert.deepEqual(
    broken(
      samples(),
      fetches((at) => 60 * (1 - at / 2)),
      spans,
      quiet,
    ),
    [],
  )
  assert.deepEqual(
    broken(
      samples(),
      fetches((at) => (at > 0.4 && at < 0.5 ? 200 : 30)),
      spans,
      quiet,
    ),
    [],
  )
  // What others do to the machine is no rise of ours; what rises more than that is.
  const always = () => ''
  assert.deepEqual(
    broken(
      samples(),
      fetches(
        (at) => 30 * (1 + 2 * at),
        always,
        (at) => 6 * (1 + 2 * at),
      ),
      spans,
      quiet,
    ),
    [],
  )
  const worse = fetches(
    (at) => 30 * (1 + 6 * at),
    always,
    (at) => 6 * (1 + at),
  )
  assert.deepEqual(broken(samples(), worse, spans, quiet), ['p99 of small fetches does not rise'])
  assert.ok(trend([1, 2, 3, 4, 5, 6, 7, 8, 9]).chance < 0.001)
  assert.ok(Math.abs(trend([3, 1, 4, 1, 5, 2, 3, 4, 2]).chance - 0.5) < 0.3)
  assert.ok(Math.abs(trend([100, 101, 102, 103, 104]).rise - 4 / 102) < 1e-9)
})

test('deaths, faults, wrong bytes and fetches that fail are told', () => {
  const told = (seen: Parameters<typeof judge>[3]) => broken(samples(), steady(), spans, seen)
  assert.deepEqual(told({ ...quiet, deaths: ['node 1: SIGSEGV'] }), [
    'no process ends by itself, no fault, no unhandled rejection',
  ])
  assert.deepEqual(told({ ...quiet, faults: ['node 1: …'] }), ['no process ends by itself, no fault, no unhandled rejection'])
  assert.deepEqual(told({ ...quiet, wrong: 1 }), ['no wrong byte'])
  const failing = fetches(
    () => 30,
    (number) => (number % 50 === 0 ? '502' : ''),
  )
  assert.deepEqual(broken(samples(), failing, spans, quiet), ['small fetches come, whoever is killed'])
  assert.ok(broken(samples(), [], spans, quiet).includes('p99 of small fetches does not rise'))
})

test('a quantile of few', () => {
  assert.equal(quantile([3, 1, 2], 0.99), 3)
  assert.equal(quantile([5], 0.5), 5)
  assert.ok(Number.isNaN(quantile([], 0.5)))
})
