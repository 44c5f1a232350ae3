/**
 * Nothing off schedule (P5): 24 simulated hours of whole nodes with gossip, descriptors that change, set-ups, loops that come, go and fail,
 * their twins, requests, and a link that breaks and comes back. Every write on every link is explained by what is public or constant: the grid of ticks, the
 * rhythm of control slots, and the rate and the times of the loops that were set up. What is not explained fails the test.
 *
 * To be feasible in CI: five nodes, each linked with each; ticks of 200 ms instead of 10 and bursts each 8 s instead of 1 (the same code with
 * other numbers), loops of 8 cells a second that hold 250 ms.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { LoopBuilder } from '../../client/loops/builder.ts'
import type { PacedLoop } from '../../client/loops/paced-loop.ts'
import { UNFED_MS } from '../../relay/paced-line.ts'
import type { NodeId } from '../../src/bytes/index.ts'
import { CELL_BYTES, Command } from '../../src/cell/index.ts'
import { EPOCH_MS, epochAfter, pacedPlan } from '../../src/circuit/setup/index.ts'
import { encodeHopRequest } from '../../src/wire/index.ts'
import { PacedNet } from '../support/paced-net.ts'
import { seededRng } from '../support/seeded-rng.ts'

const HOURS = Number(process.env.OFF_SCHEDULE_HOURS ?? 24)
const HOUR_MS = 3_600_000
const TICK_MS = 200
const EVERY_MS = 8_000
const YOUNG = { everyMs: 2_000, forMs: 60_000 }
const BURST_CELLS = 8
const RATE = 8
/** A link's greeting, and what it had begun when it was agreed. */
const GREETING_MS = 1_000

/** One direction of one link, from its first cell to its last. */
interface Way {
  readonly name: string
  readonly since: number
  /** Cells of control slots by tick, and of circuits by id and tick. */
  readonly control: Map<number, number>
  readonly circuits: Map<number, Map<number, number>>
  cells: number
  commands: Set<number>
}

interface Loop {
  readonly liveAt: number
  readonly closeAt: number
}

test(`P5: ${HOURS} simulated hours: every write on every link is on the grid, and is control slots and lines of loops, nothing else`, async () => {
  const rng = seededRng('off schedule')
  const ways: Way[] = []
  const current = new Map<string, Way>()
  const loops: Loop[] = []
  /** Bytes written by direction and time, and how many writes those were. */
  const written = new Map<string, { bytes: number; writes: number }>()
  const holder: { net: PacedNet | null } = { net: null }
  const now = () => holder.net?.clock.monotonicMs() ?? 0
  let afterGreeting = 0
  const options = {
    count: 5,
    seed: 'off schedule',
    pacing: { control: { everyMs: EVERY_MS, young: YOUNG }, tickMs: TICK_MS },
    onWrite: (from: NodeId, to: NodeId, bytes: number) => {
      const way = current.get(`${from} ${to}`)
      if (way === undefined || now() - way.since < GREETING_MS) return
      const key = `${way.name} ${now()}`
      const at = written.get(key) ?? { bytes: 0, writes: 0 }
      written.set(key, { bytes: at.bytes + bytes, writes: at.writes + 1 })
    },
    tap: (self: NodeId, peer: NodeId) => {
      const name = `${self.slice(0, 4)}>${peer.slice(0, 4)} #${ways.length}`
      const way: Way = {
        name,
        since: now(),
        control: new Map(),
        circuits: new Map(),
        cells: 0,
        commands: new Set(),
      }
      ways.push(way)
      current.set(`${self} ${peer}`, way)
      return {
        outgoing: (id: number, command: number) => {
          const at = now()
          way.commands.add(command)
          way.cells++
          const isCircuits = command === Command.CIRCUIT || (command === Command.PAD && id !== 0)
          let cells = way.control
          if (isCircuits) {
            cells = way.circuits.get(id) ?? new Map()
            way.circuits.set(id, cells)
          }
          cells.set(at, (cells.get(at) ?? 0) + 1)
        },
      }
    },
  }
  const net = new PacedNet(options)
  holder.net = net
  await net.start()
  const { clock, nodes } = net
  await net.pass(60_000, TICK_MS)
  assert.ok(nodes.every(({ neighbours, directory }) => neighbours.all().length === 4 && directory.size === 5))

  // A day -------------------------------------------------------------------------------------------------------------------------
  let built = 0
  let failed = 0
  let answered = 0
  let twins = 0
  const stop = new AbortController()
  const planned = (liveEpoch: number, lifeMs: number) => {
    const closeEpoch = liveEpoch + Math.ceil(lifeMs / EPOCH_MS)
    const offset = clock.monotonicMs() - clock.unixMs()
    loops.push({ liveAt: liveEpoch * EPOCH_MS + offset, closeAt: closeEpoch * EPOCH_MS + offset })
    return pacedPlan(clock.unixMs(), { clock: 'steady', rate: 0, liveEpoch, closeEpoch, holdMs: 250 })
  }
  /** Once the loop runs, as long as it does or not. */
  const twin = async (builder: LoopBuilder, loop: PacedLoop) => {
    try {
      await clock.sleep(loop.liveAt + 12_000 - clock.monotonicMs(), { signal: stop.signal })
      const plan = planned(epochAfter(clock.unixMs(), 12_000), 15_000)
      await builder.buildTwin(loop, 1 + rng.below(15), () => {}, { signal: stop.signal, plan })
      twins++
    } catch {
      failed++
    }
  }
  const build = async (index: number) => {
    const { builder } = nodes[index]!
    // Five links, each with a wait of up to a burst.
    const liveEpoch = epochAfter(clock.unixMs(), 3_000 + 6 * EVERY_MS)
    const plan = planned(liveEpoch, 20_000 + 5_000 * rng.below(8))
    try {
      const loop = await builder.buildPaced(undefined, () => {}, { signal: stop.signal, plan })
      built++
      if (rng.below(3) === 0) return loop.close()
      if (rng.below(2) === 0) void twin(builder, loop)
      const request = encodeHopRequest({ kind: 'ping', filler: new Uint8Array(rng.below(9_000)), answerBytes: rng.below(9_000) })
      await loop.askAt(loop.hops[rng.below(loop.hops.length)]!, request, { signal: stop.signal })
      answered++
    } catch {
      failed++
    }
  }
  for (let hour = 0; hour < HOURS; hour++) {
    for (let part = 0; part < 12; part++) {
      await net.pass(HOUR_MS / 12, TICK_MS)
      net.tickKeys()
      void build(rng.below(nodes.length))
    }
    // Descriptors change; and now and then a link breaks and comes back.
    for (const { neighbours } of nodes) neighbours.republish()
    if (hour % 6 === 3) net.wires.sever(nodes[1]!.id, nodes[2]!.id)
  }
  stop.abort(new Error('the day is over'))
  await net.pass(1_000, TICK_MS)
  const end = now()

  // Explained ---------------------------------------------------------------------------------------------------------------------
  const grid = TICK_MS
  let circuits = 0
  for (const way of ways) {
    const lines = [way.control, ...way.circuits.values()]
    const byTick = new Map<number, number>()
    for (const line of lines) for (const [at, cells] of line) byTick.set(at, (byTick.get(at) ?? 0) + cells)
    // One write a tick, of exactly these cells; none between.
    for (const [at, cells] of byTick) {
      if (at - way.since < GREETING_MS) continue
      const write = written.get(`${way.name} ${at}`)
      assert.deepEqual(write, { bytes: cells * CELL_BYTES, writes: 1 }, `${way.name} at ${at}`)
      written.delete(`${way.name} ${at}`)
    }
    // Hello and Welcome go at once; they are shorter than a burst.
    for (const [at, cells] of way.control) if (at - way.since < GREETING_MS && cells !== BURST_CELLS) way.control.delete(at)
    assertRhythm(way)
    for (const [id, line] of way.circuits) {
      circuits++
      assertLine(way, id, line)
    }
    afterGreeting += way.cells
  }
  assert.deepEqual([...written.keys()].slice(0, 3), [], 'writes of which no cell is known')
  assert.ok(twins > HOURS, `${twins} twins`)
  assert.ok(built > 9 * HOURS && answered > 4 * HOURS, `${built} loops, ${answered} answers, ${failed} failed`)
  assert.ok(circuits > 4 * built, `${circuits} lines`)
  assert.ok(afterGreeting > HOURS * 20 * (HOUR_MS / EVERY_MS) * BURST_CELLS * 0.9)
  assert.ok(
    ways.some(({ commands }) => commands.has(Command.SETUP)) && ways.some(({ commands }) => commands.has(Command.CONTROL)),
  )
  await net.close()

  /** Control slots: eight cells each two seconds in a link's first minute, then each eight seconds, from the time at which it was agreed until it went. */
  function assertRhythm(way: Way): void {
    const times = [...way.control.keys()]
    if (times.length === 0) return
    for (const [at, cells] of way.control) {
      assert.equal(cells, BURST_CELLS, `${way.name}: ${cells} cells at ${at}`)
      assert.equal((at - times[0]!) % grid, 0)
    }
    const young = times.findIndex((at, burst) => Math.abs(at - times[0]! - burst * YOUNG.everyMs) > grid)
    if (young < 0) return assert.ok(times.at(-1)! - times[0]! <= YOUNG.forMs + 2 * EVERY_MS, `${way.name} stays young`)
    const from = times[young]!
    // The first burst of a link that is older is anywhere in the time between two; it may be due in the young rhythm as well.
    const age = from - times[0]!
    assert.ok(
      age >= YOUNG.forMs - YOUNG.everyMs - grid && age <= YOUNG.forMs + 2 * EVERY_MS,
      `${way.name} is older after ${age} ms`,
    )
    for (const [burst, at] of times.slice(young).entries()) {
      const due = from + burst * EVERY_MS
      assert.ok(Math.abs(at - due) <= grid, `${way.name}: burst ${burst} at ${at}, not ${due}`)
    }
  }

  /** A line: 8 cells a second without a gap, from `live` to `close` of some loop, or until nobody fed it. */
  function assertLine(way: Way, id: number, line: ReadonlyMap<number, number>): void {
    const times = [...line.keys()]
    const first = times[0]!
    const last = times.at(-1)!
    const loop = loops.find(({ liveAt }) => first >= liveAt && first <= liveAt + 1000 / RATE + grid)
    assert.ok(loop, `${way.name}: circuit ${id} begins at ${first}, where no loop is live`)
    let cells = 0
    for (const [at, count] of line) {
      cells += count
      const slots = ((at - first) * RATE) / 1000
      assert.ok(Math.abs(cells - slots) <= (grid * RATE) / 1000 + 1.5, `${way.name}: circuit ${id} has ${cells} cells at ${at}`)
    }
    const ends = [loop.closeAt, loop.liveAt + UNFED_MS, loop.liveAt + 31_000, end]
    const cut = !current.has(way.name) && ways.some((other) => other.since > last && other.since - last < 30_000)
    assert.ok(
      cut || ends.some((at) => Math.abs(last - at) <= 1000 / RATE + 2 * grid),
      `${way.name}: circuit ${id} ends at ${last}; live ${loop.liveAt}, close ${loop.closeAt}`,
    )
  }
})
