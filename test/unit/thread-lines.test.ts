/**
 * Lines and control slots in the thread of the links do what they do beside what handles cells: the same trace, tick for tick, from the same orders; and
 * what the node holds of them (how far, what waits, what is over) follows. Both ends in one thread here, on a fake clock, over real rings.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { BURST_CELLS, PACKETS_MAX, QUEUE_CELLS_MAX } from '../../relay/control-line.ts'
import { microsOf, timeOf } from '../../relay/line-kinds.ts'
import { LineThread } from '../../relay/line-thread.ts'
import { type Line, type Lines, LocalLines } from '../../relay/lines.ts'
import { type LinkThread, ThreadLines } from '../../relay/thread-lines.ts'
import type { MonotonicMs } from '../../src/bytes/index.ts'
import { BODY_BYTES, type CircuitId, Command } from '../../src/cell/index.ts'
import type { Link } from '../../src/link/index.ts'
import type { OnRecord } from '../../src/link/thread/index.ts'
import { RecordReader, RecordWriter, ringMemory } from '../../src/link/thread/record-ring.ts'
import type { Clock } from '../../src/runtime/index.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { faultyClock } from '../support/faulty-clock.ts'
import { notedLink, type Sent } from '../support/noted-link.ts'
import { SeededRng } from '../support/seeded-rng.ts'

const TICK_MS = 10
const SEED = 7

interface World {
  readonly clock: FakeClock
  readonly sent: Sent[]
  readonly link: Link
  readonly lines: Lines
  readonly ticks: () => number
  /** Ends the link in the thread, as its peer does. */
  readonly lose: () => void
}

function local(): World {
  const clock = new FakeClock()
  const { sent, link } = notedLink(clock)
  let ticks = 0
  const lines = new LocalLines({ clock, rng: new SeededRng(SEED), tickMs: TICK_MS, onTick: () => void ticks++ })
  return { clock, sent, link, lines, ticks: () => ticks, lose: () => {} }
}

/** `behindMs`: how far the thread's clock is behind the node's. */
function threaded(behindMs = 0): World {
  const clock = new FakeClock()
  const threadClock: Clock = {
    ...faultyClock(clock, {}),
    monotonicMs: () => (clock.monotonicMs() - behindMs) as MonotonicMs,
  }
  const { sent, link } = notedLink(clock)
  const [there, back] = [ringMemory(), ringMemory()]
  const toThread = new RecordReader(there)
  const toNode = new RecordReader(back)
  const orders = new RecordWriter(there, clock, () => clock.nextTurn(() => toThread.drain(thread.onRecord)))
  const events = new RecordWriter(back, clock, () =>
    clock.nextTurn(() => toNode.drain((kind, id, a, b, bytes) => host.onOther(kind, id, a, b, bytes))),
  )
  const host: { -readonly [Part in keyof LinkThread]: LinkThread[Part] } = {
    orders,
    onOther: (() => {}) as OnRecord,
    numberOf: (known) => (known === link ? 1 : undefined),
  }
  const links = new Map([[1, link]])
  const thread = new LineThread(
    {
      clock: threadClock,
      events,
      options: { tickMs: TICK_MS },
      link: (number) => links.get(number),
      drain: () => toThread.drain(thread.onRecord),
      rest: () => {},
    },
    new SeededRng(SEED),
  )
  let ticks = 0
  const lines = new ThreadLines(host, { clock, rng: new SeededRng(1), tickMs: TICK_MS, onTick: () => void ticks++ })
  const lose = () => {
    links.clear()
    thread.onLinkEnded(link)
  }
  return { clock, sent, link, lines, ticks: () => ticks, lose }
}

const PLAN = { rate: 128, holdMs: 40, openAt: 100 as MonotonicMs, liveAt: 100 as MonotonicMs, closeAt: 2_100 as MonotonicMs }

function cell(tag: number): Uint8Array {
  return new Uint8Array(BODY_BYTES).fill(tag)
}

/** Cells of one circuit that come at these times, beside control cells and a set-up. */
function play({ clock, sent, link, lines }: World, arrivals: readonly number[], own = false) {
  const over: string[] = []
  lines.addLink(link, { everyMs: 500, firstAt: 300 as MonotonicMs })
  const control = lines.controlLane(link, 0 as CircuitId)!
  const line = lines.line(link, 2 as CircuitId, { plan: PLAN, own, onOver: (why) => over.push(why) })
  for (let at = 0; at < BURST_CELLS; at++) line.push(Command.SETUP, cell(at))
  for (const [at, ms] of arrivals.entries()) clock.setTimer(ms, () => line.push(Command.CIRCUIT, cell(1 + (at % 250))))
  clock.setTimer(700, () => {
    for (let at = 0; at < 3; at++) control.push(Command.CONTROL, cell(50 + at))
    lines.destroy(link, 9 as CircuitId)
  })
  clock.advanceNow(2_500)
  return { sent, over, line, control }
}

test('the same orders give the same trace, tick for tick, in the thread of the links as beside what handles cells', () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 60 }), { minLength: 1, maxLength: 40 }),
      fc.integer({ min: 1, max: 300 }),
      (jitter, count) => {
        // Between two ticks: which of a tick and a cell at the same time is first is nobody's.
        const arrivals = Array.from(
          { length: count },
          (_, at) => Math.floor(150 + (at * 1000) / 128 + jitter[at % jitter.length]!) + 0.5,
        )
        arrivals.sort((a, b) => a - b)
        const here = play(local(), arrivals)
        const there = play(threaded(), arrivals)
        assert.deepEqual(there.sent, here.sent)
        assert.deepEqual(there.over, here.over)
      },
    ),
    { numRuns: 30 },
  )
})

test('an own line says how far it is after each tick, and stops being supplied when it is over', () => {
  const found = [local(), threaded()].map((world) => {
    const { clock, lines, link } = world
    const seen: string[] = []
    const over: string[] = []
    const line: Line = lines.line(link, 4 as CircuitId, { plan: PLAN, own: true, onOver: (why) => over.push(why) })
    let made = 0
    const supply = () => {
      if (!line.over && clock.monotonicMs() > 150)
        while (made < line.sentCells + line.wantedCells) line.push(Command.CIRCUIT, cell(1 + (made++ % 250)))
    }
    for (let ms = 0; ms < 2_400; ms += 5) {
      clock.advanceNow(5)
      line.heard()
      supply()
      if (ms % 100 === 50) seen.push(`${ms}: ${line.wantedCells} ${Math.abs(line.dueCells - line.sentCells) <= 2} ${line.over}`)
    }
    const cells = world.sent.filter(({ command }) => command === Command.CIRCUIT)
    for (const [at, { tag }] of cells.entries()) assert.equal(tag, 1 + (at % 250))
    assert.ok(cells.length > 230, `${cells.length}`)
    assert.ok(world.ticks() > 150)
    return { seen, over, cells: cells.length }
  })
  assert.deepEqual(found[1], found[0])
})

test('what waits in control slots is bounded as in the line itself, and room comes back as cells go', () => {
  for (const { clock, lines, link, sent } of [local(), threaded()]) {
    lines.addLink(link, { everyMs: 1_000, firstAt: 500 as MonotonicMs })
    const lane = lines.controlLane(link, 0 as CircuitId)!
    let taken = 0
    while (lane.push(Command.CONTROL, cell(1))) taken++
    assert.equal(taken, QUEUE_CELLS_MAX)
    let packets = 0
    for (let full = false; !full; ) {
      const own = lines.controlLane(link, (10 + packets) as CircuitId)!
      for (let at = 0; at < BURST_CELLS && !full; at++) full = !own.push(Command.SETUP, cell(2))
      if (!full) packets++
    }
    assert.equal(packets, PACKETS_MAX)
    clock.advanceNow(2_800)
    assert.equal(sent.length, 3 * BURST_CELLS)
    const gone = sent.filter(({ command }) => command === Command.CONTROL).length
    assert.ok(gone > 0)
    for (let at = 0; at < gone; at++) assert.ok(lane.push(Command.CONTROL, cell(1)))
    assert.equal(lane.push(Command.CONTROL, cell(1)), false)
    assert.ok(lines.controlLane(link, 99 as CircuitId)!.push(Command.SETUP, cell(2)))
    lane.close()
    const other = lines.controlLane(link, 0 as CircuitId)!
    assert.ok(other.push(Command.CONTROL, cell(3)))
    assert.equal(lane.push(Command.CONTROL, cell(1)), false)
  }
})

test('unknown circuits of a stranger wait once each, within the same bound, and room comes back when they are said', () => {
  const found = [local(), threaded()].map(({ clock, lines, link, sent }) => {
    lines.addLink(link, { everyMs: 1_000, firstAt: 500 as MonotonicMs })
    const lane = lines.controlLane(link, 0 as CircuitId)!
    for (let round = 0; round < 2; round++)
      for (let id = 1; id <= QUEUE_CELLS_MAX + 50; id++) lines.destroy(link, id as CircuitId)
    assert.equal(lane.push(Command.CONTROL, cell(1)), false)
    clock.advanceNow(2_800)
    assert.equal(sent.filter(({ command }) => command === Command.DESTROY).length, 3 * BURST_CELLS)
    for (let at = 0; at < 3 * BURST_CELLS; at++) assert.ok(lane.push(Command.CONTROL, cell(1)), `${at}`)
    assert.equal(lane.push(Command.CONTROL, cell(1)), false)
    clock.advanceNow(Math.ceil(QUEUE_CELLS_MAX / BURST_CELLS) * 1_000)
    // Everything that was let in has gone, and nothing of it twice.
    assert.equal(sent.filter(({ command }) => command === Command.CONTROL).length, 3 * BURST_CELLS)
    return sent
  })
  assert.deepEqual(found[1], found[0])
})

test('a line that is stopped sends nothing more; one on a link that has ended is over; nothing is left', () => {
  const world = threaded()
  const { clock, lines, link, sent } = world
  const over: string[] = []
  const line = lines.line(link, 6 as CircuitId, { plan: PLAN, own: false, onOver: (why) => over.push(why) })
  clock.advanceNow(400)
  const before = sent.length
  assert.ok(before > 20)
  lines.stop(link, line)
  clock.advanceNow(20)
  const after = sent.length
  clock.advanceNow(300)
  assert.equal(sent.length, after)
  assert.deepEqual([over, line.over, line.push(Command.CIRCUIT, cell(1))], [[], true, false])
  world.lose()
  lines.line(link, 8 as CircuitId, { plan: PLAN, own: false, onOver: (why) => over.push(why) })
  clock.advanceNow(20)
  assert.deepEqual(over, ['overload'])
})

test('times cross the border to a microsecond, over the wrap', () => {
  for (const ms of [0, 1.5, 4_294_967.2955, 9e9 + 0.123]) {
    for (const later of [0, 3.25, 900_000]) assert.ok(Math.abs(timeOf(microsOf(ms), ms + later) - ms) < 0.002, `${ms} ${later}`)
  }
})

test('a time that the other thread’s clock has a little ahead is now, not an hour ago', () => {
  for (const ms of [5_000, 4_294_967.2955, 9e9 + 0.123]) {
    for (const ahead of [0.001, 0.4, 12]) assert.ok(Math.abs(timeOf(microsOf(ms + ahead), ms) - ms) < 0.002, `${ms} ${ahead}`)
  }
})

test('a circuit whose first cell is taken up as soon as it came has its hold, though the thread’s clock is a little behind', () => {
  // Ticks are at whole tens: the first cell comes just before one.
  const arrivals = Array.from({ length: 200 }, (_, at) => 209.8 + (at * 1000) / 128)
  const { sent } = play(threaded(0.4), arrivals)
  const cells = sent.filter(({ command }) => command === Command.CIRCUIT)
  assert.ok(cells.length > arrivals.length)
  assert.ok(cells[0]!.at - arrivals[0]! >= PLAN.holdMs - TICK_MS, `${cells[0]!.at}`)
  for (const at of arrivals.keys()) assert.equal(cells[at]!.tag, 1 + (at % 250), `cell ${at}`)
})
