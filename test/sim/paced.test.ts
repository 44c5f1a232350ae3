/**
 * Paced loops (SPEC §4.5) over real members on memory links and a fake clock: that they carry what they should, what late, lost, garbling and
 * wrong members do to them, and that every circuit's cells are as many as its time says, whatever happens.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { askAgain } from '../../client/loops/asking.ts'
import { SINGLES_MAX } from '../../client/loops/noise.ts'
import type { PacedLoop } from '../../client/loops/paced-loop.ts'
import { UNFED_MS } from '../../relay/paced-line.ts'
import { BODY_BYTES, Command } from '../../src/cell/index.ts'
import { RATE_LADDER } from '../../src/circuit/setup/index.ts'
import { encodeHopRequest, parseHopReply } from '../../src/wire/index.ts'
import { flipped } from '../support/adversary-link.ts'
import { type FakeMesh, startFakeMesh } from '../support/fake-mesh.ts'
import { faultyClock } from '../support/faulty-clock.ts'
import { seededRng } from '../support/seeded-rng.ts'
import { Talker } from '../support/talker.ts'

const never = new AbortController()
const storeCall = (request: Uint8Array) => encodeHopRequest({ kind: 'store', request })
const PACING = { control: { everyMs: 200 } } as const
/** The loop of node 0 goes over nodes 1 to 5. */
const ROUND = [0, 1, 2, 3, 4, 5, 0] as const

async function untilLive(sim: FakeMesh, loop: PacedLoop): Promise<void> {
  await sim.clock.runUntil(() => loop.running, 15_000)
  assert.ok(loop.running)
}

/** Asks the store of `hop` (from 0) for what it was given, and checks it; asks again while cells get lost. `false`: it never came. */
async function echoes(sim: FakeMesh, loop: PacedLoop, hop: number, bytes: Uint8Array, withinMs = 20_000): Promise<boolean> {
  const deadline = sim.clock.deadline(withinMs, never.signal)
  try {
    const reply = parseHopReply(await askAgain(() => loop.askAt(loop.hops[hop]!, storeCall(bytes), deadline), 8))
    assert.equal(reply?.status, 'ok')
    assert.deepEqual(reply.body, bytes)
    return true
  } catch (error) {
    if (error instanceof assert.AssertionError) throw error
    return false
  } finally {
    deadline.clear()
  }
}

/** Cells of node 0's loop, by link of the round, as they were sent. */
function countCells(sim: FakeMesh) {
  const counts = ROUND.slice(1).map(() => ({ cells: 0, pads: 0, destroys: 0, firstAt: 0, lastAt: 0 }))
  for (const [at, count] of counts.entries()) {
    sim.taps.end(ROUND[at]!, ROUND[at + 1]!).tap.outgoing = (id, command) => {
      if (command === Command.DESTROY) count.destroys++
      if (command === Command.PAD && id !== 0) count.pads++
      if (command !== Command.CIRCUIT) return
      if (count.cells++ === 0) count.firstAt = sim.clock.monotonicMs()
      count.lastAt = sim.clock.monotonicMs()
    }
  }
  return counts
}

/** P3, paced: from its first cell to `close` every line sent as many cells as its rate says. */
function assertConserved(sim: FakeMesh, counts: ReturnType<typeof countCells>, loop: PacedLoop): void {
  assert.ok(sim.clock.monotonicMs() > loop.closeAt)
  for (const [at, { cells, firstAt, lastAt, destroys }] of counts.entries()) {
    assert.equal(destroys, 0)
    const slots = ((lastAt - firstAt) * loop.rate) / 1000
    assert.ok(Math.abs(cells - 1 - slots) <= 0.011 * loop.rate + 1.5, `link ${at}: ${cells} cells in ${lastAt - firstAt} ms`)
    assert.ok(loop.closeAt - lastAt <= 1000 / loop.rate + 10 && lastAt <= loop.closeAt + 10, `link ${at} ends in time`)
  }
}

test('P5: a loop of five others carries requests of all sizes to all its hops, at each rate from 8 to 2048 cells a second', async () => {
  for (const [rate, cellsPerSecond] of RATE_LADDER.slice(0, 5).entries()) {
    const sim = await startFakeMesh(`rate ${rate}`, { pacing: PACING })
    const counts = countCells(sim)
    const loop = await sim.buildPaced(0, { rate, lifeMs: cellsPerSecond < 100 ? 60_000 : 10_000 })
    assert.equal(loop.rate, cellsPerSecond)
    const rng = seededRng(rate)
    // Asked before it is live: it waits.
    const early = echoes(sim, loop, 2, rng.bytes(300))
    await untilLive(sim, loop)
    assert.equal(await sim.clock.runFor(early), true)
    const sizes = cellsPerSecond < 100 ? [1, 3_000] : [1, 200, 2_000, 20_000, 60_000]
    const asked = sizes.flatMap((size) => loop.hops.map((_, hop) => echoes(sim, loop, hop, rng.bytes(size), 60_000)))
    assert.ok((await sim.clock.runFor(Promise.all(asked))).every((well) => well))
    assert.equal(loop.noiseCells, 0)
    const before = sim.clock.monotonicMs()
    assert.ok(await sim.clock.runFor(echoes(sim, loop, 2, rng.bytes(10))))
    // Six links: a hold, a tick and a slot at each member, and as much at the origin.
    const most = 2 * 7 * (40 + 10 + 1000 / cellsPerSecond)
    assert.ok(sim.clock.monotonicMs() - before < most, `${cellsPerSecond}: ${sim.clock.monotonicMs() - before} ms for one answer`)
    await sim.clock.advance(loop.closeAt + 1_000 - sim.clock.monotonicMs())
    assert.equal(loop.open, false)
    assert.equal(sim.ended.get(loop), 'expired')
    assertConserved(sim, counts, loop)
    await sim.clock.advance(150_000)
    assert.ok(sim.mesh.nodes.every(({ relay }) => relay.relayed === 0 && relay.tableEntries === 0))
    await sim.close()
  }
})

test('P5: PAD before the first cell, then a cell in each slot until close; the origin among them looks like every other member', async () => {
  const sim = await startFakeMesh('states', { pacing: PACING })
  const counts = countCells(sim)
  const loop = await sim.buildPaced(0, { rate: 2, lifeMs: 10_000 })
  await sim.clock.advance(loop.liveAt - 1 - sim.clock.monotonicMs())
  assert.ok(counts.every(({ cells, pads }) => cells === 0 && pads === 0))
  await sim.clock.advance(loop.closeAt + 500 - sim.clock.monotonicMs())
  for (const { cells, pads } of counts) assert.equal(cells + pads, 10 * 128)
  for (const [at, { firstAt }] of counts.slice(1).entries()) {
    const lag = firstAt - counts[at]!.firstAt
    assert.ok(lag >= 40 && lag <= 40 + 8 + 20, `member ${at + 1} begins ${lag} ms after its predecessor`)
  }
  await sim.close()
})

test('keys move on after 65,536 cells in the middle of requests, at the origin and at all its hops, without a lost cell', async () => {
  const sim = await startFakeMesh('ratchet', { pacing: PACING })
  const loop = await sim.buildPaced(0, { rate: 4, lifeMs: 40_000 })
  await untilLive(sim, loop)
  const rng = seededRng(7)
  await sim.clock.advance(31_000)
  assert.ok(loop.figures.cells < 65_536)
  while (loop.figures.cells < 68_000) {
    const asked = loop.hops.map((_, hop) => echoes(sim, loop, hop, rng.bytes(20_000)))
    assert.ok((await sim.clock.runFor(Promise.all(asked))).every((well) => well))
  }
  assert.equal(loop.noiseCells, 0)
  await sim.close()
})

test('two paced loops joined at a hop exchange payloads; one may be of another rate, and a swift one may be the other', async () => {
  for (const other of [2, 3, 'swift'] as const) {
    const sim = await startFakeMesh(`joined ${other}`, { count: 8, pacing: PACING, shape: () => ({ delayMs: 2 }) })
    const cookie = new Uint8Array(32).fill(9)
    const first = await sim.buildPaced(0, { hops: [1, 2, 3, 4], rate: 2 })
    const wish = { hops: [7, 5, 3, 2] }
    const second = other === 'swift' ? await sim.build(6, [7, 5, 3, 2]) : await sim.buildPaced(6, { ...wish, rate: other })
    await untilLive(sim, first)
    assert.equal(second.apex, sim.mesh.nodes[3]!.id)
    const talkers = [new Talker(), new Talker()] as const
    talkers[0].port = await sim.clock.runFor(first.joinAt(sim.mesh.nodes[3]!.id, cookie, talkers[0], never))
    talkers[1].port = await sim.clock.runFor(second.join(cookie, talkers[1], never))
    talkers[0].say(300)
    talkers[1].say(200)
    await sim.clock.runUntil(() => talkers[1].heard.length >= 300 && talkers[0].heard.length >= 200, 20_000)
    assert.deepEqual(
      talkers[1].heard,
      Array.from({ length: 300 }, (_, at) => at + 1),
    )
    assert.deepEqual(
      talkers[0].heard,
      Array.from({ length: 200 }, (_, at) => at + 1),
    )
    talkers[0].port.close()
    assert.equal(first.open, true) // what else it carries goes on
    const heard = talkers[1].heard.length
    talkers[0].say(10)
    assert.ok(await sim.clock.runFor(echoes(sim, first, 0, Uint8Array.of(7))))
    assert.equal(talkers[1].heard.length, heard)
    // And it carries another exchange, elsewhere.
    const next = await sim.clock.runFor(first.joinAt(sim.mesh.nodes[1]!.id, new Uint8Array(32).fill(8), talkers[0], never))
    next.close()
    await sim.close()
  }
})

test('P7: members that are late lose cells and nothing else: requests are asked again, every answer is right, places are kept', async () => {
  let noise = 0
  let came = 0
  for (const [seed, node] of [0, 2, 5].entries()) {
    const late = seededRng(`late ${seed}`)
    const sim = await startFakeMesh(`late ${seed}`, {
      pacing: PACING,
      // One node's timers are late now and then, by up to 90 ms: more than the hold of its successor. The first time it is the origin's.
      clockOf: (index) =>
        faultyClock(sim0.clock!, { late: () => (index === node && late.below(300) === 0 ? late.below(90) : 0) }),
      onClock: (clock) => {
        sim0.clock = clock
      },
    })
    const counts = countCells(sim)
    const loop = await sim.buildPaced(0, { rate: 3, lifeMs: 30_000 })
    await untilLive(sim, loop)
    const rng = seededRng(seed)
    for (let at = 0; at < 12 && loop.open; at++) {
      const asked = loop.hops.map((_, hop) => echoes(sim, loop, hop, rng.bytes(rng.below(20_000))))
      came += (await sim.clock.runFor(Promise.all(asked))).filter((well) => well).length
    }
    noise += loop.noiseCells
    await sim.clock.advance(loop.closeAt + 1_000 - sim.clock.monotonicMs())
    assertConserved(sim, counts, loop)
    await sim.close()
  }
  assert.ok(noise > 10, `${noise} cells were lost`)
  assert.ok(came > 30, `${came} answers came`)
})

/** The clock of the mesh that is being made. */
const sim0: { clock: FakeMesh['clock'] | null } = { clock: null }

test('P7: members whose wall clocks differ by seconds carry the loop all the same', async () => {
  for (const ahead of [
    [0, 2_000, -2_000, 0, 3_000, -1_000],
    [-1_500, 0, 3_000, -3_000, 1_000, 2_500],
  ]) {
    const sim = await startFakeMesh(`skew ${ahead[1]}`, {
      pacing: PACING,
      clockOf: (index) => faultyClock(sim0.clock!, { aheadMs: ahead[index]! }),
      onClock: (clock) => {
        sim0.clock = clock
      },
    })
    const loop = await sim.buildPaced(0, { rate: 2, leadMs: 7_500, lifeMs: 30_000 })
    await untilLive(sim, loop)
    const rng = seededRng(1)
    for (const hop of loop.hops.keys()) assert.ok(await sim.clock.runFor(echoes(sim, loop, hop, rng.bytes(10_000))))
    assert.equal(loop.noiseCells, 0)
    await sim.close()
  }
})

test('P7: an origin that stands still for most of a second finds more cells home than it has sent; it loses some cells, not the loop', async () => {
  let late = 0
  const sim = await startFakeMesh('origin stands', {
    pacing: PACING,
    clockOf: (index) => faultyClock(sim0.clock!, { late: () => (index === 0 ? late : 0) }),
    onClock: (clock) => {
      sim0.clock = clock
    },
  })
  const counts = countCells(sim)
  const loop = await sim.buildPaced(0, { rate: 3, lifeMs: 60_000 })
  await untilLive(sim, loop)
  const rng = seededRng(5)
  for (const lateMs of [900, 1_500]) {
    const asked = loop.hops.map((_, hop) => echoes(sim, loop, hop, rng.bytes(20_000)))
    await sim.clock.advance(100)
    late = lateMs
    await sim.clock.advance(20)
    late = 0
    await sim.clock.advance(lateMs + 400)
    assert.equal(sim.ended.get(loop), undefined)
    assert.ok((await sim.clock.runFor(Promise.all(asked))).every((well) => well))
    assert.equal(loop.figures.inFlight < 512, true)
    await sim.clock.advance(30_000 - (sim.clock.monotonicMs() % 1_000))
  }
  await sim.clock.advance(loop.closeAt + 1_000 - sim.clock.monotonicMs())
  assertConserved(sim, counts, loop)
  await sim.close()
})

test('P7: a stall is one run of noise: the loop goes on; a third within a minute ends its use, and it goes on as filler', async () => {
  const sim = await startFakeMesh('stalls', { pacing: PACING })
  const counts = countCells(sim)
  const loop = await sim.buildPaced(0, { rate: 2, lifeMs: 60_000 })
  await untilLive(sim, loop)
  const rng = seededRng(2)
  for (let stall = 1; stall <= 3; stall++) {
    const asked = echoes(sim, loop, 3, rng.bytes(15_000))
    await sim.clock.advance(100)
    sim.mesh.wires.stall(sim.mesh.nodes[2]!.id, true)
    await sim.clock.advance(250)
    sim.mesh.wires.stall(sim.mesh.nodes[2]!.id, false)
    await sim.clock.advance(1_500)
    assert.equal(loop.open, stall < 3, `after ${stall} stalls`)
    assert.equal(await sim.clock.runFor(asked), stall < 3)
    await sim.clock.advance(5_000)
  }
  assert.equal(sim.ended.get(loop), 'noise')
  await assert.rejects(loop.ask(storeCall(rng.bytes(5)), never), { code: 'CIRCUIT_ENDED' })
  await sim.clock.advance(loop.closeAt + 1_000 - sim.clock.monotonicMs())
  assertConserved(sim, counts, loop)
  await sim.close()
})

test(`P6, P7: ${SINGLES_MAX} garbled cells among 1024 cost the requests they hit; one more ends the loop's use`, async () => {
  for (const garbled of [SINGLES_MAX, SINGLES_MAX + 1]) {
    const sim = await startFakeMesh(`garbled ${garbled}`, { pacing: PACING })
    const loop = await sim.buildPaced(0, { rate: 2, lifeMs: 20_000 })
    await untilLive(sim, loop)
    let cells = 0
    sim.taps.end(3, 2).tap.incoming = (cell) => {
      if (cell.command !== Command.CIRCUIT) return [cell]
      return ++cells % 100 === 0 && cells <= garbled * 100 ? [flipped(cell, 8 * BODY_BYTES - 1)] : [cell]
    }
    const rng = seededRng(3)
    let came = 0
    for (let at = 0; at < 8 && loop.open; at++) {
      const asked = loop.hops.map((_, hop) => echoes(sim, loop, hop, rng.bytes(4_000)))
      came += (await sim.clock.runFor(Promise.all(asked))).filter((well) => well).length
    }
    assert.ok(came > 0)
    assert.equal(loop.open, garbled <= SINGLES_MAX)
    assert.equal(loop.noiseCells, garbled)
    await sim.close()
  }
})

test('P7: a lost link between members: nobody is told; those behind it go on for 20 to 30 s, those before it to the end; the origin sees it', async () => {
  const sim = await startFakeMesh('lost link', { pacing: PACING })
  const counts = countCells(sim)
  const other = await sim.buildPaced(0, { hops: [5, 4, 1, 2], rate: 2, lifeMs: 60_000 })
  const loop = await sim.buildPaced(0, { hops: [1, 2, 3, 4, 5], rate: 2, leadMs: 7_500, lifeMs: 60_000 })
  await untilLive(sim, loop)
  const asked = echoes(sim, loop, 2, new Uint8Array(30_000))
  const cutAt = sim.clock.monotonicMs()
  sim.mesh.wires.sever(sim.mesh.nodes[2]!.id, sim.mesh.nodes[3]!.id)
  await sim.clock.advance(3_500)
  assert.equal(loop.open, false)
  assert.equal(sim.ended.get(loop), 'noise')
  assert.equal(await sim.clock.runFor(asked), false)
  assert.ok(other.open)
  assert.ok(await sim.clock.runFor(echoes(sim, other, 1, Uint8Array.of(1))))
  await sim.clock.advance(loop.closeAt + 1_000 - sim.clock.monotonicMs())
  const links = counts.map(({ lastAt }) => lastAt)
  // 0 → 1 and 1 → 2 to the end, 2 → 3 until it was cut, 3 → 4, 4 → 5, 5 → 0 for a while: each has a predecessor until that gives up.
  assert.ok(links[0]! > loop.closeAt - 20 && links[1]! > loop.closeAt - 20)
  assert.ok(links[2]! - cutAt < 50)
  for (const [at, behind] of [3, 4, 5].entries()) {
    const after = links[behind]! - cutAt
    assert.ok(after >= 20_000 && after <= (at + 1) * 30_500, `link ${behind} went on for ${after} ms`)
  }
  assert.ok(counts.every(({ destroys }) => destroys === 0))
  await sim.clock.advance(150_000)
  for (const { relay } of sim.mesh.nodes) assert.equal(relay.relayed, 0)
  assert.ok(sim.mesh.nodes.every(({ relay }) => relay.tableEntries === 0))
  await sim.close()
})

test('P7: an origin that loses its first or its last link stops as a member in its place would', async () => {
  for (const [cut, name] of [
    [1, 'first'],
    [5, 'last'],
  ] as const) {
    const sim = await startFakeMesh(`origin ${name}`, { pacing: PACING })
    const counts = countCells(sim)
    const loop = await sim.buildPaced(0, { rate: 1, lifeMs: 60_000 })
    await untilLive(sim, loop)
    const cutAt = sim.clock.monotonicMs()
    sim.mesh.wires.sever(sim.mesh.nodes[0]!.id, sim.mesh.nodes[cut]!.id)
    await sim.clock.advance(1_000)
    assert.equal(sim.ended.get(loop), 'link-lost')
    await sim.clock.advance(loop.closeAt - sim.clock.monotonicMs())
    const after = counts[0]!.lastAt - cutAt
    if (cut === 1) assert.ok(after < 100)
    else assert.ok(after >= 19_900 && after <= 30_500, `${after} ms`)
    await sim.clock.advance(150_000)
    assert.ok(sim.mesh.nodes.every(({ relay }) => relay.tableEntries === 0))
    await sim.close()
  }
})

test('a set-up that never comes home: the origin and the members that have it pad from live until nobody has fed them, and are silent', async () => {
  const sim = await startFakeMesh('lost set-up', { pacing: PACING })
  const counts = countCells(sim)
  sim.taps.end(4, 3).tap.incoming = (cell) => (cell.command === Command.SETUP ? [] : [cell])
  await assert.rejects(sim.buildPaced(0, { rate: 1 }), { code: 'LOOP_FAILED' })
  await sim.clock.advance(30_000)
  const pads = counts.map(({ pads: count }) => count)
  for (const count of pads.slice(0, 4)) assert.ok(Math.abs(count - (UNFED_MS / 1000) * 32) <= 2, `${count} pads`)
  assert.deepEqual(pads.slice(4), [0, 0])
  assert.ok(counts.every(({ cells, destroys }) => cells === 0 && destroys === 0))
  await sim.clock.advance(150_000)
  assert.ok(sim.mesh.nodes.every(({ relay }) => relay.tableEntries === 0))
  await sim.close()
})

test('a loop that is closed goes on to its end as filler; its requests fail, its hops are told', async () => {
  const sim = await startFakeMesh('closed', { pacing: PACING })
  const counts = countCells(sim)
  const loop = await sim.buildPaced(0, { rate: 2, lifeMs: 20_000 })
  await untilLive(sim, loop)
  const asked = assert.rejects(loop.ask(storeCall(new Uint8Array(60_000)), never), { code: 'CIRCUIT_ENDED' })
  await sim.clock.advance(200)
  assert.ok(sim.mesh.nodes[3]!.apex.heldBytes > 0)
  loop.close()
  loop.close()
  await sim.clock.runFor(asked)
  await sim.clock.advance(1_000)
  assert.equal(sim.mesh.nodes[3]!.apex.heldBytes, 0)
  assert.equal(sim.ended.get(loop), undefined, 'who closes it need not be told')
  await sim.clock.advance(loop.closeAt + 1_000 - sim.clock.monotonicMs())
  assertConserved(sim, counts, loop)
  await sim.close()
})

test('must fail: DESTROY does nothing to a paced circuit, from either side, at a member or at the origin', async () => {
  const sim = await startFakeMesh('destroy', { pacing: PACING })
  const ids = new Map<string, number>()
  for (const [self, peer] of [
    [2, 1],
    [0, 5],
  ] as const) {
    sim.taps.end(self, peer).tap.incoming = (cell) => {
      if (cell.command === Command.CIRCUIT) ids.set(`${self} ${peer}`, cell.id)
      return [cell]
    }
  }
  const loop = await sim.buildPaced(0, { rate: 2 })
  await untilLive(sim, loop)
  sim.taps.end(1, 2).inject([{ id: ids.get('2 1')!, command: Command.DESTROY }])
  sim.taps.end(2, 1).inject([{ id: ids.get('2 1')!, command: Command.DESTROY }])
  sim.taps.end(5, 0).inject([{ id: ids.get('0 5')!, command: Command.DESTROY }])
  assert.ok(await sim.clock.runFor(echoes(sim, loop, 4, new Uint8Array(3_000))))
  await sim.close()
})

test('an unknown circuit is answered in a control slot, once for all its cells that came meanwhile', async () => {
  const sim = await startFakeMesh('unknown', { pacing: { control: { everyMs: 1_000 } } })
  const sent: number[] = []
  const link = sim.taps.end(2, 1)
  link.tap.outgoing = (_id, command) => void (command === Command.DESTROY && sent.push(sim.clock.monotonicMs()))
  const id = 2_000 + (link.even ? 1 : 0)
  link.inject(Array.from({ length: 20 }, () => ({ id, command: Command.CIRCUIT })))
  assert.deepEqual(sent, [])
  await sim.clock.advance(3_000)
  assert.equal(sent.length, 1)
  await sim.close()
})

test('a member has room for so much: of more loops than a link carries, those beyond are silent', async () => {
  const sim = await startFakeMesh('room', { pacing: { ...PACING, linkCellsPerSecond: 1_000 } })
  const built: PacedLoop[] = []
  for (let at = 0; at < 8; at++) {
    try {
      built.push(await sim.buildPaced(0, { rate: 2, leadMs: 12_500 }))
    } catch {
      break
    }
  }
  // 800 cells a second may be paced: six loops of 128.
  assert.equal(built.length, 6)
  await sim.clock.advance(100_000)
  assert.ok((await sim.buildPaced(0, { rate: 2 })).open, 'there is room again')
  await sim.close()
})
