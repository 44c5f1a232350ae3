/** Lines, control slots and the pacer: what leaves is a function of time alone, whatever comes, however late, and whatever it carries. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { BURST_CELLS, ControlLine, PACKETS_MAX, QUEUE_CELLS_MAX } from '../../relay/control-line.ts'
import { type LinePlan, lineBytes, PacedLine, STALL_MS, UNFED_MS } from '../../relay/paced-line.ts'
import { Pacer, TICK_MS } from '../../relay/pacer.ts'
import { LINES_BYTES_MAX, LINK_LINES_BYTES_MAX, Pacing } from '../../relay/pacing.ts'
import type { MonotonicMs, UnixMs } from '../../src/bytes/index.ts'
import { BODY_BYTES, type CircuitId, Command } from '../../src/cell/index.ts'
import { pacedPlan, tickMsFor } from '../../src/circuit/setup/index.ts'
import type { Lane } from '../../src/link/index.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { faultyClock } from '../support/faulty-clock.ts'
import { notedLink, type Sent } from '../support/noted-link.ts'
import { SeededRng } from '../support/seeded-rng.ts'

const PLAN = { rate: 128, holdMs: 40, openAt: 100 as MonotonicMs, liveAt: 100 as MonotonicMs, closeAt: 3_100 as MonotonicMs }

function cell(tag: number): Uint8Array {
  return new Uint8Array(BODY_BYTES).fill(tag)
}

/** Runs a line whose cells come at the given times; gives what left. */
function runLine(arrivals: readonly number[], plan: LinePlan = PLAN, untilMs = 3_500, seed = 5) {
  const clock = new FakeClock()
  const { sent, flushes, link } = notedLink(clock)
  const over: string[] = []
  const pacer = new Pacer({ clock })
  const line = new PacedLine({
    lane: link.lane(2 as CircuitId),
    plan,
    rng: new SeededRng(seed),
    now: () => clock.monotonicMs(),
    onOver: (why) => {
      over.push(`${why} ${clock.monotonicMs()}`)
      pacer.remove(link, line)
    },
  })
  pacer.add(link, line)
  for (const [at, ms] of arrivals.entries()) clock.setTimer(ms, () => line.push(Command.CIRCUIT, cell(1 + (at % 250))))
  clock.advanceNow(untilMs)
  return { sent, flushes, over, line, clock }
}

const regular = (count: number, from = 150, gap = 1000 / 128) => Array.from({ length: count }, (_, at) => from + at * gap)

test('every slot from open to close carries one cell: PAD, then the cells in order, each a hold or little more after it came', () => {
  const { sent, over } = runLine(regular(360))
  assert.equal(over.length, 1)
  assert.match(over[0]!, /^expired 31\d\d$/)
  assert.equal(sent.length, 3 * 128)
  const cells = sent.filter(({ command }) => command === Command.CIRCUIT)
  const pads = sent.slice(0, sent.length - cells.length)
  assert.ok(pads.every(({ command }) => command === Command.PAD))
  for (const [at, { tag, at: left }] of cells.slice(0, 350).entries()) {
    assert.equal(tag, 1 + (at % 250))
    const waited = left - (150 + (at * 1000) / 128)
    assert.ok(waited >= 40 && waited <= 40 + 1000 / 128 + TICK_MS + 1, `waited ${waited}`)
  }
})

test('P5a: cells that come early, late, in bursts, or not at all leave at the same times, but for the drift that is allowed', () => {
  const times = ({ sent }: { sent: readonly Sent[] }) => sent.map(({ at }) => at)
  const wanted = times(runLine(regular(360)))
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 400 }), { maxLength: 80 }),
      fc.integer({ min: 1, max: 400 }),
      (jitter, count) => {
        const arrivals = regular(count).map((ms, at) => ms + (jitter[at % Math.max(1, jitter.length)] ?? 0))
        const found = times(runLine([...arrivals].sort((a, b) => a - b)))
        // A slot that moves by its 200 ppm may fall into the next tick.
        for (const [at, ms] of wanted.entries()) assert.ok(Math.abs(found[at]! - ms) <= TICK_MS, `${at}: ${found[at]}, ${ms}`)
        assert.deepEqual(found.slice(0, 128), wanted.slice(0, 128))
      },
    ),
    { numRuns: 40 },
  )
})

test('a cell that comes after its slot went out as random bytes is dropped; those after it keep their places', () => {
  const arrivals = regular(200)
  for (let at = 100; at < 110; at++) arrivals[at] = arrivals[at]! + 300 // in order, as on a link: those behind wait for it
  for (let at = 110; at < 160; at++) arrivals[at] = Math.max(arrivals[at]!, arrivals[109]!)
  const { sent, line } = runLine(arrivals)
  const cells = sent.filter(({ command }) => command === Command.CIRCUIT)
  for (const at of [0, 50, 99, 170, 199]) assert.equal(cells[at]!.tag, 1 + (at % 250), `cell ${at}`)
  assert.ok(line.lateCells >= 10 && line.lateCells < 60, `${line.lateCells} late`)
})

test('a predecessor that runs faster is bounded by the ring: the newest is dropped, places are kept', () => {
  const { sent, line } = runLine(regular(300, 150, 1000 / 512))
  const cells = sent.filter(({ command }) => command === Command.CIRCUIT)
  for (const at of [0, 10, 18]) assert.equal(cells[at]!.tag, 1 + at)
  assert.ok(line.lateCells > 0)
})

test('drift: a predecessor 100 ppm faster or slower is followed over ten minutes without a lost cell', () => {
  const plan = { ...PLAN, rate: 512, closeAt: 600_000 as MonotonicMs }
  for (const factor of [1.0001, 0.9999]) {
    const clock = new FakeClock()
    const { sent, link } = notedLink(clock)
    const line = new PacedLine({
      lane: link.lane(2 as CircuitId),
      plan,
      rng: new SeededRng(1),
      now: () => clock.monotonicMs(),
      onOver: () => {},
    })
    let pushed = 0
    for (let now = 100; now < 590_000; now += TICK_MS) {
      clock.advanceNow(TICK_MS)
      const due = Math.floor((now - 150) * 0.512 * factor)
      while (pushed < due) line.push(Command.CIRCUIT, cell(pushed++ % 251))
      line.emit(clock.monotonicMs())
      sent.length = 0
    }
    assert.equal(line.lateCells, 0, `${factor}`)
    assert.ok(line.queuedCells > 0.2 * 20.48 && line.queuedCells < 2 * 20.48, `${line.queuedCells} kept`)
  }
})

test('not fed after live: over, with nothing but PAD sent', () => {
  const { sent, over } = runLine([], { ...PLAN, closeAt: 60_000 as MonotonicMs }, 20_000)
  assert.deepEqual(over.length, 1)
  const [why, at] = over[0]!.split(' ')
  assert.equal(why, 'idle')
  assert.ok(Number(at) >= 100 + UNFED_MS && Number(at) <= 100 + UNFED_MS + 2 * TICK_MS)
  assert.ok(sent.every(({ command }) => command === Command.PAD))
})

test('a predecessor that goes away: random bytes for 20 to 30 s, then over', () => {
  const { sent, over } = runLine(regular(500), { ...PLAN, closeAt: 120_000 as MonotonicMs }, 60_000)
  const [why, at] = over[0]!.split(' ')
  const silentSince = 150 + (499 * 1000) / 128
  assert.equal(why, 'idle')
  assert.ok(Number(at) - silentSince >= 19_900 && Number(at) - silentSince <= 30_200, `${Number(at) - silentSince}`)
  const last = sent.at(-1)!
  assert.equal(last.command, Command.CIRCUIT)
})

test('a process that stood still: up to the limit all slots are made up for, beyond it the circuit is over', () => {
  for (const [stillMs, lives] of [
    [300, true],
    [STALL_MS + 200, false],
  ] as const) {
    const clock = new FakeClock()
    const { sent, link } = notedLink(clock)
    const over: string[] = []
    const plan = { ...PLAN, closeAt: 60_000 as MonotonicMs }
    const line = new PacedLine({
      lane: link.lane(2 as CircuitId),
      plan,
      rng: new SeededRng(1),
      now: () => clock.monotonicMs(),
      onOver: (why) => over.push(why),
    })
    clock.advanceNow(500)
    line.emit(clock.monotonicMs())
    const before = sent.length
    clock.advanceNow(stillMs)
    line.emit(clock.monotonicMs())
    assert.equal(over.length, lives ? 0 : 1)
    if (lives) assert.ok(Math.abs(sent.length - before - stillMs * 0.128) <= 1)
  }
})

test('a link that takes nothing for a while makes the line late: positions are kept; one that takes nothing for long ends it', () => {
  for (const [fullMs, lives] of [
    [600, true],
    [STALL_MS + 300, false],
  ] as const) {
    const clock = new FakeClock()
    const { sent, link } = notedLink(clock)
    let full = false
    const free = link.lane(2 as CircuitId)
    const lane: Lane = { ...free, push: (command, body) => !full && free.push(command, body) }
    const over: string[] = []
    const plan = { ...PLAN, closeAt: 60_000 as MonotonicMs }
    const line = new PacedLine({
      lane,
      plan,
      rng: new SeededRng(1),
      now: () => clock.monotonicMs(),
      onOver: (why) => over.push(why),
    })
    const pacer = new Pacer({ clock })
    pacer.add(link, line)
    for (const [at, ms] of regular(700).entries()) clock.setTimer(ms, () => line.push(Command.CIRCUIT, cell(1 + (at % 250))))
    clock.advanceNow(2_000)
    full = true
    clock.advanceNow(fullMs)
    full = false
    clock.advanceNow(2_500)
    pacer.close()
    assert.deepEqual(over, lives ? [] : ['overload'])
    if (!lives) continue
    const cells = sent.filter(({ command }) => command === Command.CIRCUIT)
    for (const at of [0, 100, 200, 400, 500]) assert.equal(cells[at]!.tag, 1 + (at % 250), `cell ${at}`)
  }
})

test('one write per link and tick; a link without anything paced is not written; nothing is left after close', () => {
  const { flushes, clock } = runLine(regular(300))
  assert.equal(new Set(flushes).size, flushes.length)
  assert.equal(clock.pendingTimers, 0)
})

test('a process that stood still reads what came meanwhile before it sends what is due: nothing of it goes as random bytes', () => {
  // In one thread, and where another one handles what the sockets have: that takes it some milliseconds.
  const threads = [
    { parts: {}, handledMs: 0 },
    { parts: { readMs: TICK_MS }, handledMs: TICK_MS / 2 },
  ]
  for (const [stoodMs, { parts, handledMs }] of [25, 60, 80].flatMap((ms) => threads.map((each) => [ms, each] as const))) {
    const clock = new FakeClock()
    const { sent, link } = notedLink(clock)
    let late = 0
    const pacer = new Pacer({ clock: faultyClock(clock, { late: () => late }), ...parts })
    const line = new PacedLine({
      lane: link.lane(2 as CircuitId),
      plan: { ...PLAN, rate: 512, closeAt: 5_000 as MonotonicMs },
      rng: new SeededRng(1),
      now: () => clock.monotonicMs(),
      onOver: () => {},
    })
    pacer.add(link, line)
    const arrivals = regular(600, 150, 1000 / 512)
    const handledAt = 400 + stoodMs + handledMs
    const stands = (ms: number) => ms > 400 && ms < handledAt
    for (const [at, ms] of arrivals.entries()) {
      // What comes while the process stands still lies in the socket, and is handed out in a turn after the late timer's.
      clock.setTimer(stands(ms) ? handledAt : ms, () => {
        if (stands(ms)) clock.nextTurn(() => clock.nextTurn(() => line.push(Command.CIRCUIT, cell(1 + (at % 250)))))
        else line.push(Command.CIRCUIT, cell(1 + (at % 250)))
      })
    }
    clock.advanceNow(395)
    late = stoodMs
    clock.advanceNow(10)
    late = 0
    clock.advanceNow(800)
    const cells = sent.filter(({ command }) => command === Command.CIRCUIT)
    assert.ok(cells.length > 450)
    for (const [at, { tag }] of cells.entries()) assert.equal(tag, 1 + (at % 250), `${stoodMs} ms: cell ${at}`)
    assert.equal(line.lateCells, 0)
    pacer.close()
  }
})

test('something paced that begins within a tick does not make the pacer tick twice', () => {
  const clock = new FakeClock()
  const { flushes, link } = notedLink(clock)
  const other = notedLink(clock).link
  const pacer = new Pacer({ clock })
  const second = { emit: () => {} }
  pacer.add(link, { emit: () => pacer.add(other, second) })
  clock.advanceNow(100)
  assert.equal(clock.pendingTimers, 1)
  assert.equal(new Set(flushes).size, flushes.length)
  pacer.close()
})

test('control slots: bursts of a set-up packet at fixed times, PAD where nothing waits, the same times whatever waits', () => {
  const run = (queue: number) => {
    const clock = new FakeClock()
    const { sent, link } = notedLink(clock)
    const control = new ControlLine({ link, everyMs: 1_000, firstAt: 300 as MonotonicMs })
    const pacer = new Pacer({ clock })
    pacer.add(link, control)
    const lane = control.lane(0 as CircuitId)
    let taken = 0
    for (let at = 0; at < queue; at++) if (lane.push(Command.CONTROL, cell(1 + (at % 200)))) taken++
    clock.advanceNow(5_000)
    pacer.close()
    return { sent, taken, left: control.waitingCells }
  }
  const [none, some, many] = [run(0), run(13), run(2 * QUEUE_CELLS_MAX)]
  assert.deepEqual(
    some.sent.map(({ at }) => at),
    none.sent.map(({ at }) => at),
  )
  assert.deepEqual(
    many.sent.map(({ at }) => at),
    none.sent.map(({ at }) => at),
  )
  assert.equal(none.sent.length, 5 * BURST_CELLS)
  assert.equal(some.sent.filter(({ command }) => command === Command.CONTROL).length, 13)
  assert.deepEqual(
    some.sent.slice(0, 13).map(({ tag }) => tag),
    Array.from({ length: 13 }, (_, at) => at + 1),
  )
  assert.equal(many.taken, QUEUE_CELLS_MAX)
  assert.equal(many.left, QUEUE_CELLS_MAX - 5 * BURST_CELLS)
})

test('control slots of a young link: more bursts until it is older, at times that nothing else decides; after a standstill two at once', () => {
  const run = (queue: number, steps: readonly number[]) => {
    const clock = new FakeClock()
    const { sent, link } = notedLink(clock)
    const young = { everyMs: 250, firstAt: 100 as MonotonicMs }
    const control = new ControlLine({ link, everyMs: 1_000, firstAt: 2_300 as MonotonicMs, young })
    const lane = control.lane(0 as CircuitId)
    for (let at = 0; at < queue; at++) lane.push(Command.CONTROL, cell(1))
    for (const ms of steps) {
      clock.advanceNow(ms)
      control.emit(clock.monotonicMs())
    }
    return sent.map(({ at }) => at)
  }
  const tens = new Array<number>(500).fill(10)
  const times = [...new Set(run(0, tens))]
  assert.deepEqual(times, [100, 350, 600, 850, 1100, 1350, 1600, 1850, 2300, 3300, 4300])
  assert.equal(run(0, tens).length, times.length * BURST_CELLS)
  assert.deepEqual(run(999, tens), run(0, tens))
  // From 0.2 to 3.4 s nothing: of the bursts that were due two go, and those after them go at their times.
  const late = run(0, [100, 100, 3_200, ...tens.slice(0, 100)])
  assert.deepEqual([...new Set(late)], [100, 3400, 4300])
  assert.equal(late.filter((at) => at === 3400).length, 2 * BURST_CELLS)
})

test('drift at eight cells a second: a predecessor 100 ppm off is followed over twenty minutes without a lost cell', () => {
  for (const factor of [1.0001, 0.9999]) {
    for (let seed = 1; seed <= 8; seed++) {
      const clock = new FakeClock()
      const { link } = notedLink(clock)
      const line = new PacedLine({
        lane: link.lane(2 as CircuitId),
        plan: { ...PLAN, rate: 8, closeAt: 1_200_000 as MonotonicMs },
        rng: new SeededRng(seed),
        now: () => clock.monotonicMs(),
        onOver: () => {},
      })
      let pushed = 0
      for (let now = 100; now < 1_190_000; now += TICK_MS) {
        clock.advanceNow(TICK_MS)
        const due = Math.floor((now - 150) * 0.008 * factor)
        while (pushed < due) line.push(Command.CIRCUIT, cell(pushed++ % 251))
        line.emit(clock.monotonicMs())
      }
      assert.equal(line.lateCells, 0, `${factor}`)
      assert.ok(line.queuedCells <= 2, `${line.queuedCells} kept`)
    }
  }
})

test('a first cell that comes before this node thinks that the loop is open: its slots move to it, and everything keeps its place', () => {
  const { sent, line } = runLine(regular(300, 150), { ...PLAN, openAt: 2_000 as MonotonicMs, liveAt: 2_000 as MonotonicMs })
  const cells = sent.filter(({ command }) => command === Command.CIRCUIT)
  assert.ok(cells[0]!.at >= 190 && cells[0]!.at <= 190 + 2 * 8 + TICK_MS, `${cells[0]!.at}`)
  for (const at of [0, 1, 50, 299]) assert.equal(cells[at]!.tag, 1 + (at % 250))
  assert.equal(line.lateCells, 0)
  assert.equal(sent.length, cells.length)
})

test("an origin's own line: what comes home is its sign of life, without it it ends as a member's would", () => {
  for (const homeUntil of [0, 12_000]) {
    const clock = new FakeClock()
    const { sent, link } = notedLink(clock)
    const over: number[] = []
    const line = new PacedLine({
      lane: link.lane(2 as CircuitId),
      plan: { ...PLAN, closeAt: 120_000 as MonotonicMs },
      rng: new SeededRng(3),
      now: () => clock.monotonicMs(),
      onOver: () => over.push(clock.monotonicMs()),
      own: true,
    })
    for (let now = 0; now < 60_000; now += TICK_MS) {
      clock.advanceNow(TICK_MS)
      while (now > 500 && line.queuedCells < 7 && line.push(Command.CIRCUIT, cell(1))) {}
      if (now > 800 && now < homeUntil) line.heard()
      line.emit(clock.monotonicMs())
    }
    assert.equal(over.length, 1)
    const silentSince = homeUntil === 0 ? 500 + UNFED_MS - 2_000 : homeUntil
    assert.ok(over[0]! - silentSince > 19_900 && over[0]! - silentSince < 30_200, `${over[0]! - silentSince}`)
    const cells = sent.filter(({ command }) => command === Command.CIRCUIT)
    assert.ok(
      cells.every(({ tag }) => tag === 1),
      'no random bytes while it is supplied',
    )
  }
})

test('a ring is as large as twice the hold, and some: admission counts the same', () => {
  assert.ok(lineBytes(8, 40) <= 6 * BODY_BYTES)
  assert.ok(lineBytes(8192, 40) <= 720 * BODY_BYTES)
  assert.ok(lineBytes(8192, 1000) <= 16_448 * BODY_BYTES)
})

test('a set-up packet goes whole in one burst, in turn with all else; so many wait, and one DESTROY for each circuit', () => {
  const clock = new FakeClock()
  const { sent, link } = notedLink(clock)
  const control = new ControlLine({ link, everyMs: 1_000, firstAt: 500 as MonotonicMs })
  const pacer = new Pacer({ clock })
  pacer.add(link, control)
  const gossip = control.lane(0 as CircuitId)
  for (let at = 0; at < 20; at++) assert.ok(gossip.push(Command.CONTROL, cell(200)))
  const lanes = Array.from({ length: PACKETS_MAX + 1 }, (_, at) => control.lane((2 + 2 * at) as CircuitId))
  const taken = lanes.map((lane, at) => Array.from({ length: 8 }, (_, part) => lane.push(Command.SETUP, cell(10 * at + part))))
  assert.deepEqual(
    taken.map((parts) => parts.every(Boolean)),
    [...new Array(PACKETS_MAX).fill(true), false],
  )
  for (let at = 0; at < 5; at++) control.destroy(77 as CircuitId)
  assert.equal(control.waitingCells, 21)
  lanes[1]!.close() // its circuit is over: its packet does not go
  assert.equal(control.waitingPackets, PACKETS_MAX - 1)
  clock.advanceNow(12_000)
  const bursts = Map.groupBy(sent, ({ at }) => at)
  assert.ok([...bursts.values()].every((burst) => burst.length === BURST_CELLS))
  const kinds = [...bursts.values()].map((burst) => new Set(burst.map(({ command }) => command)))
  for (const [at, kind] of kinds.entries()) assert.equal(kind.has(Command.SETUP) && kind.size > 1, false, `burst ${at} is mixed`)
  // Packet, gossip, packet, gossip, packet, the rest of gossip and one DESTROY; then packets alone, then PAD.
  assert.deepEqual(
    kinds.map((kind) => [...kind].sort().join(' ')),
    ['2', '3', '2', '3', '2', '0 3 4', '2', '2', '2', '2', '0', '0'].map((text) =>
      text.split(' ').map(commandOf).sort().join(' '),
    ),
  )
  const packets = sent.filter(({ command }) => command === Command.SETUP).map(({ tag }) => tag)
  assert.deepEqual(
    packets,
    [0, 2, 3, 4, 5, 6, 7].flatMap((at) => Array.from({ length: 8 }, (_, part) => 10 * at + part)),
  )
})

/** Short names of commands in the test above. */
function commandOf(text: string): number {
  return [Command.PAD, Command.CIRCUIT, Command.SETUP, Command.CONTROL, Command.DESTROY][Number(text)]!
}

/** A link that is nothing but itself. */
const bareLink = (clock: FakeClock) => notedLink(clock).link
const planOf = (rate: number, holdMs = 40) =>
  pacedPlan(FakeClock.START_UNIX_MS as UnixMs, { clock: 'steady', rate, liveEpoch: 1, closeEpoch: 2, holdMs })

test('room: the sum of rates over a link stays under four fifths of what it carries, in each direction by itself', () => {
  const clock = new FakeClock()
  const pacing = new Pacing({ clock, rng: new SeededRng(1), linkCellsPerSecond: 10_000, onTick: () => {} })
  const [a, b, c] = [bareLink(clock), bareLink(clock), bareLink(clock)]
  const taken = []
  for (let at = 0; at < 3; at++) taken.push(pacing.reserve(a, b, planOf(4))!)
  assert.ok(taken.every((one) => one !== null))
  assert.equal(pacing.reserve(a, c, planOf(4)), null, 'the first link brings 6144 cells a second')
  assert.equal(pacing.reserve(c, b, planOf(4)), null, 'the second takes as many')
  assert.ok(pacing.reserve(b, a, planOf(4)), 'the other direction is free')
  assert.ok(pacing.reserve(a, b, planOf(3)), 'a smaller one fits')
  pacing.release(taken[0]!)
  assert.ok(pacing.reserve(c, b, planOf(4)))
  pacing.close()
})

test('room: the rates of all links together stay under four fifths of what the node’s line carries', () => {
  const clock = new FakeClock()
  const pacing = new Pacing({ clock, rng: new SeededRng(1), nodeCellsPerSecond: 10_000, onTick: () => {} })
  const links = Array.from({ length: 8 }, () => bareLink(clock))
  const taken = [0, 1, 2].map((at) => pacing.reserve(links[2 * at]!, links[2 * at + 1]!, planOf(4)))
  assert.ok(taken.every((one) => one !== null))
  assert.equal(pacing.reserve(links[6]!, links[7]!, planOf(4)), null, 'three of 2048 are there already')
  const smaller = [3, 3, 3].map((rate) => pacing.reserve(links[6]!, links[7]!, planOf(rate)))
  assert.deepEqual(
    smaller.map((one) => one !== null),
    [true, true, true],
    'smaller ones fit',
  )
  for (let at = 0; at < 10; at++) pacing.reserve(links[6]!, links[7]!, planOf(2))
  assert.equal(pacing.reserve(links[6]!, links[7]!, planOf(2)), null, 'what is left is for smaller ones still')
  assert.ok(pacing.reserve(links[6]!, links[7]!, planOf(0)), 'and a standing loop has room')
  pacing.release(taken[1]!)
  assert.ok(pacing.reserve(links[6]!, links[7]!, planOf(3)))
  pacing.close()
})

test('room: memory of lines is bounded per link and for all, and given back to the last byte', () => {
  const clock = new FakeClock()
  const pacing = new Pacing({ clock, rng: new SeededRng(1), linkCellsPerSecond: 1e9, onTick: () => {} })
  const out = bareLink(clock)
  const taken: NonNullable<ReturnType<Pacing['reserve']>>[] = []
  for (let link = 0; link < 8; link++) {
    const from = bareLink(clock)
    for (;;) {
      const one = pacing.reserve(from, out, planOf(4, 1_000))
      if (one === null) break
      taken.push(one)
    }
    const held = taken.filter((one) => one.from === from).reduce((sum, { bytes }) => sum + bytes, 0)
    assert.ok(held <= LINK_LINES_BYTES_MAX)
  }
  assert.ok(pacing.heldBytes <= LINES_BYTES_MAX && pacing.heldBytes > 0.9 * LINES_BYTES_MAX)
  for (const one of taken) pacing.release(one)
  assert.equal(pacing.heldBytes, 0)
  pacing.close()
})

test('ticks are a seventh of the hold apart, within bounds', () => {
  assert.deepEqual([5, 28, 70, 75, 100, 140, 150, 1000].map(tickMsFor), [10, 10, 10, 10, 14, 20, 20, 20])
})
