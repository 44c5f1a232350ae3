/**
 * How the links of a host share its time (`src/link/turns.ts`), whatever a peer's cells cost: links that are always full have equal parts of it, one
 * that wants less than its part has all that it wants, and what cells set off later is paid by the link that brought them. Time is made up: a
 * turn takes as long as the test says, and nothing else does.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type MonotonicMs, nodeIdOf } from '../../src/bytes/index.ts'
import { CELL_BYTES } from '../../src/cell/index.ts'
import { CellLink } from '../../src/link/cell-link.ts'
import { type CellPools, cellPools } from '../../src/link/cell-pool.ts'
import { type Link, TURN_CELLS } from '../../src/link/index.ts'
import type { Clock } from '../../src/runtime/index.ts'
import { FakeClock } from '../support/fake-clock.ts'

const TURN = new Uint8Array(TURN_CELLS * CELL_BYTES)
/** Longer turns than this are not paid in whole: they are taken for a pause of the process. */
const TURN_MS_MAX = 10
const WIRE = { write: () => {}, pause: () => {}, resume: () => {}, end: () => {}, destroy: () => {} }

/** One peer: what its next turn costs, now and later, and whether its link is full all the time. */
interface Peer {
  readonly turnMs: () => number
  readonly laterMs?: () => number
  /** Milliseconds between two turns' worth of cells. Default: always more than it is served. */
  readonly everyMs?: number
}

interface Served {
  readonly spentMs: number
  readonly turns: number
  readonly queuedCells: number
}

/** Lets `peers` at one host for `totalMs` of its time. */
function share(peers: readonly Peer[], totalMs: number): Served[] {
  const fake = new FakeClock()
  let spentMs = 0
  const clock: Clock = { ...clockOf(fake), monotonicMs: () => spentMs as MonotonicMs }
  const pools: CellPools = cellPools()
  const served = peers.map(() => ({ spentMs: 0, turns: 0 }))
  const links = peers.map(({ turnMs, laterMs }, at) => {
    const facts = { self: nodeIdOf(new Uint8Array(32)), peer: nodeIdOf(new Uint8Array(32).fill(at + 1)) }
    const onFault = (error: unknown) => assert.fail(String(error))
    const link = new CellLink({ ...facts, dialled: false, transport: 'memory' }, WIRE, pools, clock, {
      onEnded: () => {},
      onFault,
    })
    const spend = (ms: number) => {
      spentMs += ms
      served[at]!.spentMs += ms
    }
    link.start({
      onCells: (from: Link, _cells, count) => {
        assert.equal(count, TURN_CELLS)
        served[at]!.turns++
        spend(turnMs())
        const later = laterMs?.() ?? 0
        if (later === 0) return
        from.bill(later)
        clock.nextTurn(() => spend(later))
      },
      onTurnEnd: () => {},
      onClose: () => {},
    })
    return link
  })
  const due = peers.map(() => 0)
  while (spentMs < totalMs) {
    const before = spentMs
    for (const [at, link] of links.entries()) {
      const { everyMs } = peers[at]!
      if (everyMs === undefined) while (link.queuedCells < 2 * TURN_CELLS) link.onBytes(TURN)
      else for (; due[at]! <= spentMs; due[at]! += everyMs) link.onBytes(TURN)
    }
    fake.runTurns()
    if (spentMs === before && peers.every(({ everyMs }) => everyMs !== undefined)) spentMs += 0.01 // idle
  }
  return served.map((one, at) => ({ ...one, queuedCells: links[at]!.queuedCells }))
}

function clockOf(fake: FakeClock): Clock {
  return {
    unixMs: () => fake.unixMs(),
    monotonicMs: () => fake.monotonicMs(),
    setTimer: (ms, fire) => fake.setTimer(ms, fire),
    nextTurn: (fire) => fake.nextTurn(fire),
    deadline: (ms, signal) => fake.deadline(ms, signal),
    sleep: (ms, waiting) => fake.sleep(ms, waiting),
  }
}

/** Costs of turns, one after the other, again and again. Shorter ones count as long as this. */
const costs = fc.array(fc.double({ min: 0.05, max: TURN_MS_MAX, noNaN: true }), { minLength: 1, maxLength: 8 })

function inTurn(list: readonly number[]): () => number {
  let at = 0
  return () => list[at++ % list.length]!
}

test('links that are always full have equal parts of the time, whatever their cells cost, at once or later', () => {
  const peer = fc.record({ now: costs, later: fc.oneof(fc.constant([0]), costs) })
  fc.assert(
    fc.property(fc.array(peer, { minLength: 2, maxLength: 4 }), (list) => {
      const totalMs = 500
      const served = share(
        list.map(({ now, later }) => ({ turnMs: inTurn(now), laterMs: inTurn(later) })),
        totalMs,
      )
      for (const { spentMs } of served) {
        // Less by one turn of the others and what it sets off, with which they may be ahead.
        assert.ok(spentMs >= totalMs / list.length - 2 * TURN_MS_MAX - 1, `${spentMs} of ${totalMs} ms, ${list.length} links`)
      }
    }),
    { numRuns: 60 },
  )
})

test('a flood leaves a full link half of its turns, and two floods a third', () => {
  const honest = { turnMs: () => 0.1 }
  const [alone] = share([honest], 1_000)
  for (const floodMs of [0.01, 0.1, 0.5, 2, 9.9]) {
    for (const laterMs of [0, 0.05, 0.5, 5]) {
      const flood = { turnMs: () => floodMs, laterMs: () => laterMs }
      for (const floods of [1, 2, 3]) {
        const [beside] = share([honest, ...Array.from({ length: floods }, () => flood)], 1_000)
        const part = beside!.turns / alone!.turns
        const least = 1 / (floods + 1)
        assert.ok(part >= least - 0.03, `${floods} floods of ${floodMs} and ${laterMs} ms a turn leave ${part}`)
      }
    }
  }
})

test('who wants less than its part loses nothing beside a flood', () => {
  for (const floodMs of [0.01, 0.1, 1, 9.9]) {
    // A turn of 0.1 ms every 0.25 ms: four tenths of the node's time.
    const [honest] = share(
      [
        { turnMs: () => 0.1, everyMs: 0.25 },
        { turnMs: () => floodMs, laterMs: () => floodMs / 2 },
      ],
      2_000,
    )
    assert.ok(honest!.turns >= 2_000 / 0.25 - 200, `${honest!.turns} turns beside ${floodMs} ms`)
    assert.ok(honest!.queuedCells <= 100 * TURN_CELLS)
  }
})

test('turns that take next to nothing are no more than those of others', () => {
  const [honest, cheap] = share([{ turnMs: () => 0.1 }, { turnMs: () => 0.001 }], 500)
  assert.ok(honest!.spentMs > 490 && cheap!.turns <= 2 * honest!.turns + 10, `${honest!.turns} and ${cheap!.turns}`)
})

test('a link that nobody waits beside pays nothing', () => {
  const [dear] = share([{ turnMs: () => 5 }], 600)
  assert.equal(dear!.turns, 120)
})

test('a pause of the process costs the link that had its turn no more than 10 ms', () => {
  let paused = false
  const pausing = () => {
    if (paused) return 0.1
    paused = true
    return 5_000
  }
  const [hit, other] = share([{ turnMs: pausing }, { turnMs: () => 0.1 }], 5_100)
  assert.ok(hit!.turns >= 400 && other!.turns <= 600, `${hit!.turns} and ${other!.turns}`)
})
