/**
 * The delay-based window against a simulated bottleneck: one queue served at a steady rate behind a fixed delay, event by event on a time
 * of its own. P3 (never above `WINDOW_CELLS_MAX`), throughput, standing queue, slow relays, two loops on one bottleneck.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { MonotonicMs } from '../../src/bytes/index.ts'
import { DelayWindow, TARGET_QUEUE_MS, WINDOW_CELLS_MAX, WINDOW_CELLS_MIN } from '../../src/circuit/window.ts'

interface Flow {
  readonly window: DelayWindow
  readonly startMs: number
  /** Whether it has cells to send at a time. */
  readonly wants: (nowMs: number) => boolean
  home: number
}

interface Bottleneck {
  /** Cells a second. */
  readonly rate: number
  /** Round trip without a queue. */
  readonly baseMs: number
}

interface Sample {
  readonly atMs: number
  readonly queuedCells: number
}

/** Runs `flows` through one first-in-first-out queue. Every flow sends whenever its window lets it. Returns the queue over time. */
function simulate({ rate, baseMs }: Bottleneck, flows: readonly Flow[], forMs: number, startMs = 1_000): Sample[] {
  const serviceMs = 1000 / rate
  /** Cells in the order in which they are served, with the time at which they come home. */
  const flying: { readonly flow: Flow; readonly homeMs: number; readonly servedMs: number }[] = []
  let freeMs = startMs
  let head = 0
  const samples: Sample[] = []
  let now = startMs
  const pump = () => {
    for (const flow of flows) {
      if (now < startMs + flow.startMs) continue
      while (flow.window.room > 0 && flow.wants(now)) {
        assert.ok(flow.window.inFlight < flow.window.cells)
        flow.window.onSend(now as MonotonicMs)
        assert.ok(flow.window.inFlight <= WINDOW_CELLS_MAX)
        freeMs = Math.max(freeMs, now) + serviceMs
        flying.push({ flow, servedMs: freeMs, homeMs: freeMs + baseMs })
      }
    }
  }
  pump()
  let sampledMs = now
  while (now < startMs + forMs) {
    const next = flying[head]
    const step = Math.min(next?.homeMs ?? Number.POSITIVE_INFINITY, now + 10)
    now = step
    if (next !== undefined && next.homeMs <= now) {
      head++
      next.flow.window.onHome(now as MonotonicMs, next.flow.wants(now))
      next.flow.home++
    }
    pump()
    if (now - sampledMs >= 5) {
      sampledMs = now
      samples.push({ atMs: now - startMs, queuedCells: Math.max(0, (freeMs - now) / serviceMs) })
    }
  }
  return samples
}

const always = () => true
const flow = (startMs = 0, wants: Flow['wants'] = always): Flow => ({ window: new DelayWindow(), startMs, wants, home: 0 })

const meanQueueMs = (samples: readonly Sample[], rate: number, fromMs: number, toMs = Number.POSITIVE_INFINITY) => {
  const part = samples.filter(({ atMs }) => atMs >= fromMs && atMs < toMs)
  return (part.reduce((sum, { queuedCells }) => sum + queuedCells, 0) / part.length / rate) * 1000
}

test('a bottleneck within the largest window is filled to nine tenths and more, with a short queue, for a minute', () => {
  for (const [rate, baseMs] of [
    [20_000, 3],
    [8_000, 10],
    [2_000, 40],
    [3_000, 5],
    [1_000, 20],
  ] as const) {
    const one = flow()
    const samples = simulate({ rate, baseMs }, [one], 60_000)
    const where = `${rate} cells/s, ${baseMs} ms`
    assert.ok(one.home > 0.9 * rate * 60, `${where}: ${one.home} of ${rate * 60}`)
    // Late as well as early: the shortest round trip is forgotten after a while, and a queue of one's own must not pass for it.
    for (const from of [5_000, 25_000, 45_000]) {
      const queueMs = meanQueueMs(samples, rate, from, from + 15_000)
      assert.ok(
        queueMs < 2 * TARGET_QUEUE_MS + (WINDOW_CELLS_MIN * 1000) / rate,
        `${where}: queue of ${queueMs} ms at ${from} ms`,
      )
    }
  }
})

test('a slow relay gets no queue worth the name: a few cells, at 100 a second', () => {
  const one = flow()
  const samples = simulate({ rate: 100, baseMs: 5 }, [one], 120_000)
  assert.ok(one.home > 0.9 * 100 * 120, `${one.home} cells came home`)
  for (const from of [20_000, 60_000, 100_000]) {
    const part = samples.filter(({ atMs }) => atMs >= from && atMs < from + 20_000)
    const mean = part.reduce((sum, { queuedCells }) => sum + queuedCells, 0) / part.length
    assert.ok(mean < 5 * WINDOW_CELLS_MIN, `${mean} cells queued at ${from} ms`)
  }
})

test('two loops on one bottleneck share it within a factor of two, whoever came first, and build no more queue than two', () => {
  for (const [rate, baseMs, laterMs] of [
    [10_000, 8, 0],
    [10_000, 8, 3_000],
    [10_000, 8, 9_000],
    [3_000, 20, 1_000],
    [3_000, 5, 3_000],
  ] as const) {
    const where = `${rate} cells/s, ${baseMs} ms, ${laterMs} ms later`
    const homeAfter = (ms: number) => {
      const flows = [flow(), flow(laterMs)] as const
      const samples = simulate({ rate, baseMs }, flows, ms)
      return { home: flows.map(({ home }) => home), queueMs: meanQueueMs(samples, rate, ms - 10_000) }
    }
    // Shares are counted once both have run for a while.
    const early = homeAfter(20_000)
    const late = homeAfter(60_000)
    const shares = late.home.map((home, at) => home - early.home[at]!)
    assert.ok(Math.max(...shares) < 2 * Math.min(...shares), `${where}: ${shares.join(' and ')}`)
    assert.ok(shares[0]! + shares[1]! > 0.9 * rate * 40, where)
    assert.ok(late.queueMs < 3 * TARGET_QUEUE_MS, `${where}: queue of ${late.queueMs} ms`)
  }
})

test('no network is fast enough to take the window over its bound', () => {
  const one = flow()
  simulate({ rate: 200_000, baseMs: 20 }, [one], 2_000)
  assert.equal(one.window.cells, WINDOW_CELLS_MAX)
  assert.ok(one.home > 0.9 * (WINDOW_CELLS_MAX / 20) * 1000 * 1.9)
})

test('a longer way after a change of the network is believed in time', () => {
  const one = flow()
  const window = one.window
  let now = 0
  const round = (tripMs: number) => {
    const cells = window.room
    for (let cell = 0; cell < cells; cell++) window.onSend(now as MonotonicMs)
    now += tripMs
    for (let cell = 0; cell < cells; cell++) window.onHome(now as MonotonicMs, true)
  }
  for (let i = 0; i < 200; i++) round(5)
  assert.equal(window.cells, WINDOW_CELLS_MAX)
  for (let i = 0; i < 40; i++) round(40)
  assert.ok(window.cells < 40)
  for (let i = 0; i < 800; i++) round(40)
  assert.ok(window.cells > 100, `${window.cells} cells`)
})

test('an origin that wants nothing more does not grow its window', () => {
  const idle = flow(0, (now) => Math.floor(now / 10) % 2 === 0)
  const window = new DelayWindow()
  for (let i = 0; i < 500; i++) {
    window.onSend(i as MonotonicMs)
    window.onHome((i + 3) as MonotonicMs, false)
  }
  assert.equal(window.cells, 24)
  simulate({ rate: 1_000, baseMs: 4 }, [idle], 5_000)
  assert.ok(idle.window.cells <= WINDOW_CELLS_MAX)
})

test('P3: whatever comes when, the window stays in its range and counts right', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.boolean(), fc.double({ min: 0, max: 500, noNaN: true }), fc.boolean()), { maxLength: 600 }),
      (steps) => {
        const window = new DelayWindow()
        let now = 0
        let flying = 0
        for (const [sends, waitMs, wanted] of steps) {
          now += waitMs
          if (sends && window.room > 0) {
            window.onSend(now as MonotonicMs)
            flying++
          } else if (!sends && flying > 0) {
            window.onHome(now as MonotonicMs, wanted)
            flying--
          }
          assert.equal(window.inFlight, flying)
          assert.ok(window.cells >= WINDOW_CELLS_MIN && window.cells <= WINDOW_CELLS_MAX)
          assert.ok(flying <= WINDOW_CELLS_MAX)
          assert.equal(window.room, Math.max(0, window.cells - flying))
          assert.ok(window.roundTripMs >= 0)
          assert.equal(window.oldestSentAt === null, flying === 0)
        }
      },
    ),
    { numRuns: 60, seed: 3 },
  )
})
