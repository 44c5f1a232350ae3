/**
 * Twins (SPEC §4.7) over real members on memory links and a fake clock: a second circuit through the members of a loop, set up in that loop's own
 * cells. That it carries what it should from its epoch on, that no link says anything before, and what becomes of it where members will not.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { PacedLoop } from '../../client/loops/paced-loop.ts'
import { twinTime } from '../../client/loops/set-up-time.ts'
import { UNFED_MS } from '../../relay/paced-line.ts'
import { Command } from '../../src/cell/index.ts'
import { EPOCH_MS, epochAfter, HOLD_MS, pacedPlan, RATE_LADDER } from '../../src/circuit/setup/index.ts'
import { encodeHopRequest, parseHopReply, type Twin } from '../../src/wire/index.ts'
import { type FakeMesh, startFakeMesh } from '../support/fake-mesh.ts'
import { seededRng } from '../support/seeded-rng.ts'

const never = new AbortController().signal
const PACING = { control: { everyMs: 200 } } as const
const FAST = 3
/** The loop of node 0 goes over nodes 1 to 5. */
const ROUND = [0, 1, 2, 3, 4, 5, 0] as const

async function root(seed: string, rate = 0): Promise<{ sim: FakeMesh; loop: PacedLoop }> {
  const sim = await startFakeMesh(seed, { pacing: PACING })
  const loop = await sim.buildPaced(0, { rate, lifeMs: 90_000 })
  await sim.clock.runUntil(() => loop.running, 30_000)
  return { sim, loop }
}

function planFor({ clock }: FakeMesh, rate = FAST, leadMs = twinTime(5, HOLD_MS, 8).leadEpochs * EPOCH_MS) {
  const liveEpoch = epochAfter(clock.unixMs(), leadMs)
  return pacedPlan(clock.unixMs(), { clock: 'steady', rate, liveEpoch, closeEpoch: liveEpoch + 40_000 / EPOCH_MS })
}

const twinOf = (sim: FakeMesh, loop: PacedLoop, place = 1, plan = planFor(sim)) =>
  sim.mesh.nodes[0]!.builder.buildTwin(loop, place, () => {}, { signal: never, plan })

async function echo(sim: FakeMesh, loop: PacedLoop, hop: number, bytes: Uint8Array): Promise<void> {
  const request = encodeHopRequest({ kind: 'store', request: bytes })
  const reply = parseHopReply(await sim.clock.runFor(loop.askAt(loop.hops[hop]!, request, { signal: never }), 30_000))
  assert.deepEqual(reply?.body, bytes)
}

/** Cells of node 0's loop and its twins by link, since `reset`. */
function countCells(sim: FakeMesh) {
  const counts = ROUND.slice(1).map(() => ({ setUps: 0, cells: 0, pads: 0, firstAt: 0 }))
  for (const [at, count] of counts.entries()) {
    sim.taps.end(ROUND[at]!, ROUND[at + 1]!).tap.outgoing = (id, command) => {
      if (command === Command.SETUP) count.setUps++
      if (id === 0 || (command !== Command.PAD && command !== Command.CIRCUIT)) return
      count[command === Command.PAD ? 'pads' : 'cells']++
      if (command === Command.PAD && count.firstAt === 0) count.firstAt = sim.clock.unixMs()
    }
  }
  return counts
}

test('a twin is set up in cells of its loop: nothing else shows before its epoch, then all members begin; it reaches each hop, faster', async () => {
  const { sim, loop } = await root('twin')
  const counts = countCells(sim)
  const plan = planFor(sim)
  const began = sim.clock.monotonicMs()
  const twin = await sim.clock.runFor(twinOf(sim, loop, 1, plan), 20_000)
  assert.ok(sim.clock.unixMs() < plan.liveEpoch * EPOCH_MS)
  const seconds = (sim.clock.monotonicMs() - began) / 1000
  for (const { cells, pads, setUps } of counts) {
    assert.ok(pads === 0 && setUps === 0)
    assert.ok(Math.abs(cells - 8 * seconds) <= 2, `${cells} cells in ${seconds} s`)
  }
  await sim.clock.runUntil(() => twin.running, 20_000)
  for (const { firstAt } of counts) {
    const late = firstAt - plan.liveEpoch * EPOCH_MS
    assert.ok(late >= 0 && late <= 1000 / RATE_LADDER[FAST]! + 20, `${late} ms after the epoch`)
  }
  assert.deepEqual([twin.hops, twin.rate], [loop.hops, RATE_LADDER[FAST]])
  const rng = seededRng('bytes')
  for (let hop = 0; hop < 5; hop++) await echo(sim, twin, hop, rng.bytes(20_000))
  for (let hop = 0; hop < 5; hop++) await echo(sim, loop, hop, rng.bytes(100))
  assert.equal(twin.noiseCells + loop.noiseCells, 0)
  await sim.clock.advance(100_000)
  assert.ok(!twin.open && !loop.open)
  await sim.clock.advance(150_000)
  assert.ok(sim.mesh.nodes.every(({ relay }) => relay.tableEntries === 0 && relay.relayed === 0))
  await sim.close()
})

test('twins stand side by side, each in its place; a place that is taken is refused, and the others go on', async () => {
  const { sim, loop } = await root('places', 2)
  const twins = []
  for (const place of [1, 2, 15]) twins.push(await sim.clock.runFor(twinOf(sim, loop, place), 20_000))
  await assert.rejects(sim.clock.runFor(twinOf(sim, loop, 2), 20_000), { code: 'LOOP_FAILED' })
  for (const twin of twins) {
    await sim.clock.runUntil(() => twin.running, 20_000)
    await echo(sim, twin, 2, seededRng('b').bytes(5_000))
  }
  await sim.close()
})

test('members refuse what is too near, too long, of no rate, a twin’s twin; a swift circuit has none', async () => {
  const { sim, loop } = await root('refused', 2)
  const plan = planFor(sim)
  const keys = { cellKey: new Uint8Array(32), answerKey: new Uint8Array(32) }
  const told = async (over: Partial<Twin>, on: PacedLoop) => {
    const wish: Twin = {
      kind: 'twin',
      place: 3,
      ...keys,
      rate: FAST,
      liveEpoch: plan.liveEpoch,
      closeEpoch: plan.closeEpoch,
      holdMs: 40,
      ...over,
    }
    return parseHopReply(await sim.clock.runFor(on.askAt(on.hops[1]!, encodeHopRequest(wish), { signal: never }), 20_000))?.status
  }
  assert.equal(await told({ liveEpoch: Math.floor(sim.clock.unixMs() / EPOCH_MS) }, loop), 'refused')
  assert.equal(await told({ closeEpoch: plan.liveEpoch }, loop), 'refused')
  assert.equal(await told({ rate: 6 }, loop), 'refused')
  assert.equal(await told({ holdMs: 1_001 }, loop), 'refused')
  assert.equal(await told({ place: 0 }, loop), 'bad-request')
  assert.equal(await told({ place: 16 }, loop), 'bad-request')
  const twin = await sim.clock.runFor(twinOf(sim, loop), 20_000)
  await sim.clock.runUntil(() => twin.running, 20_000)
  const later = planFor(sim)
  assert.equal(await told({ liveEpoch: later.liveEpoch, closeEpoch: later.closeEpoch }, twin), 'refused')
  const swift = await sim.build(0, [5, 4, 3, 2, 1])
  const wish = {
    kind: 'twin',
    place: 3,
    ...keys,
    rate: FAST,
    liveEpoch: later.liveEpoch,
    closeEpoch: later.closeEpoch,
    holdMs: 40,
  } as const
  const reply = parseHopReply(await sim.clock.runFor(swift.ask(encodeHopRequest(wish), { signal: never })))
  assert.equal(reply?.status, 'refused')
  await sim.close()
})

test('a twin that one member will not have is never used: origin and members pad until nobody has fed them, as after a lost set-up', async () => {
  const { sim, loop } = await root('unwilling', 2)
  const counts = countCells(sim)
  // Node 3 is told by somebody else's hand that the place is taken: it has an odd twin of its own there already.
  const plan = planFor(sim)
  const keys = { cellKey: new Uint8Array(32), answerKey: new Uint8Array(32) }
  const taken = encodeHopRequest({
    kind: 'twin',
    place: 1,
    ...keys,
    rate: 0,
    liveEpoch: plan.liveEpoch,
    closeEpoch: plan.closeEpoch,
    holdMs: 40,
  })
  assert.equal(parseHopReply(await sim.clock.runFor(loop.askAt(loop.hops[2]!, taken, { signal: never }), 20_000))?.status, 'ok')
  await assert.rejects(sim.clock.runFor(twinOf(sim, loop, 1, planFor(sim)), 30_000), { code: 'LOOP_FAILED' })
  await sim.clock.advance(UNFED_MS + 15_000)
  const wanted = (UNFED_MS / 1000) * RATE_LADDER[FAST]!
  for (const at of [0, 1, 2, 4]) assert.ok(Math.abs(counts[at]!.pads - wanted) <= 8, `${counts[at]!.pads} pads of ${wanted}`)
  assert.ok(loop.running)
  await echo(sim, loop, 4, seededRng('c').bytes(500))
  await sim.clock.advance(250_000)
  assert.ok(sim.mesh.nodes.every(({ relay }) => relay.tableEntries === 0))
  await sim.close()
})
