/**
 * Exchanges over paced loops (SPEC §11.1, §11.3): several over one loop, at one hop and at several, numbers that are used again, cells that get lost,
 * and a node that is drawn as its own rendezvous point.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { PacedLoop } from '../../client/loops/paced-loop.ts'
import { Command } from '../../src/cell/index.ts'
import { type FakeMesh, startFakeMesh } from '../support/fake-mesh.ts'
import { Talker } from '../support/talker.ts'

const never = new AbortController()
const PACING = { control: { everyMs: 200 } } as const
const POINT = 6
const cookie = (byte: number) => new Uint8Array(32).fill(byte)
const numbers = (count: number) => Array.from({ length: count }, (_, at) => at + 1)

/** Answers everything that it hears. */
class Echo extends Talker {
  override onPayload(bytes: Uint8Array, at: number): void {
    const before = this.heard.length
    super.onPayload(bytes, at)
    if (this.heard.length > before) this.say(this.heard.length - before)
  }
}

async function loops(seed: string, rate = 2, lifeMs = 24 * 5_000) {
  const sim = await startFakeMesh(seed, { count: 8, pacing: PACING, shape: () => ({ delayMs: 3 }) })
  const service = await sim.buildPaced(0, { hops: [1, 2, POINT, 3, 4], rate, lifeMs })
  const client = await sim.buildPaced(7, { hops: [5, 4, POINT, 2, 1], rate, lifeMs })
  await sim.clock.runUntil(() => service.running && client.running, 30_000)
  return { sim, service, client }
}

async function meet<A extends Talker, B extends Talker>(
  sim: FakeMesh,
  [here, there]: readonly [PacedLoop, PacedLoop],
  point: number,
  byte: number,
  [a, b]: readonly [A, B],
): Promise<void> {
  const node = sim.mesh.nodes[point]!.id
  a.port = await sim.clock.runFor(here.joinAt(node, cookie(byte), a, never))
  b.port = await sim.clock.runFor(there.joinAt(node, cookie(byte), b, never))
}

test('sixteen exchanges at one hop and others at other hops of one loop: content whole and in order, one more is refused', async () => {
  const { sim, service, client } = await loops('several')
  const pairs: (readonly [Talker, Talker])[] = []
  for (let at = 0; at < 18; at++) {
    const pair = [new Talker(), new Talker()] as const
    pairs.push(pair)
    await meet(sim, [service, client], at < 16 ? POINT : at === 16 ? 1 : 4, at + 1, pair)
  }
  assert.equal(service.exchangesAt(sim.mesh.nodes[POINT]!.id), 16)
  await assert.rejects(service.joinAt(sim.mesh.nodes[POINT]!.id, cookie(99), new Talker(), never), {
    code: 'RENDEZVOUS_REFUSED',
  })
  for (const [a, b] of pairs) {
    a.say(12)
    b.say(5)
  }
  await sim.clock.runUntil(() => pairs.every(([a, b]) => a.heard.length === 5 && b.heard.length === 12), 30_000)
  for (const [a, b] of pairs) {
    assert.deepEqual(a.heard, numbers(5))
    assert.deepEqual(b.heard, numbers(12))
  }
  await sim.close()
})

test('who left an exchange may join another in its place, as often as it likes; nothing of the old comes to the new', async () => {
  const { sim, service, client } = await loops('again')
  let before: readonly [Talker, Talker] | null = null
  for (let round = 0; round < 20; round++) {
    const pair = [new Talker(), new Talker()] as const
    await meet(sim, [service, client], POINT, round + 1, pair)
    before?.[0].say(3)
    pair[0].say(4)
    pair[1].say(4)
    await sim.clock.runUntil(() => pair[0].heard.length === 4 && pair[1].heard.length === 4, 5_000)
    assert.deepEqual([pair[0].heard, pair[1].heard], [numbers(4), numbers(4)])
    for (const end of pair) end.port!.close()
    before = pair
  }
  assert.equal(service.exchangesAt(sim.mesh.nodes[POINT]!.id), 0)
  assert.ok(sim.mesh.nodes[POINT]!.rendezvous.figures.meetings <= 1)
  await sim.close()
})

test('a join whose answer is lost is asked again, and joins once', async () => {
  const { sim, service, client } = await loops('lost')
  const [a, b] = [new Talker(), new Talker()]
  let lost = 0
  // The cells behind the hop are garbled for a while: what it answers comes home as noise.
  sim.taps.end(POINT, 3).tap.incoming = (cell) => {
    if (cell.command === Command.CIRCUIT && lost < 2) {
      lost++
      return []
    }
    return [cell]
  }
  await meet(sim, [service, client], POINT, 1, [a, b])
  a.say(30)
  b.say(30)
  await sim.clock.runUntil(() => a.heard.length >= 28 && b.heard.length >= 28, 10_000)
  await sim.close()
})

test('at itself: heard no sooner than elsewhere, and its members carry as many cells as ever', async () => {
  const seen: number[] = []
  for (const who of ['other', 'own'] as const) {
    const sim = await startFakeMesh(`times ${who}`, { count: 8, pacing: PACING, shape: () => ({ delayMs: 3 }) })
    const point = sim.mesh.nodes[POINT]!
    const client = await sim.buildPaced(0, { hops: [1, 2, POINT, 3, 4], lifeMs: 120_000 })
    const service = await sim.buildPaced(who === 'own' ? POINT : 7, {
      hops: who === 'own' ? [5, 4, 3, 2, 1] : [5, 4, POINT, 2, 1],
      lifeMs: 120_000,
    })
    service.openHome((stream, port) => point.apex.accept(stream, port))
    await sim.clock.runUntil(() => service.running && client.running, 30_000)
    let cells = 0
    sim.taps.end(5, 4).tap.outgoing = (_id, command) => {
      if (command === Command.CIRCUIT) cells++
    }
    const [talker, echo] = [new Talker(), new Echo()]
    talker.port = await sim.clock.runFor(client.joinAt(point.id, cookie(1), talker, never))
    echo.port = await sim.clock.runFor(service.joinAt(who === 'own' ? null : point.id, cookie(1), echo, never))
    await sim.clock.runUntil(() => talker.came > 0, 5_000)
    const before = cells
    const began = sim.clock.monotonicMs()
    const times: number[] = []
    for (let asked = 0; asked < 60; asked++) {
      await sim.clock.advance(20 + sim.rng.below(400))
      const at = sim.clock.monotonicMs()
      talker.say(1)
      await sim.clock.runUntil(() => talker.heard.length > asked, 5_000)
      times.push(sim.clock.monotonicMs() - at)
    }
    const seconds = (sim.clock.monotonicMs() - began) / 1000
    assert.ok(Math.abs(cells - before - 128 * seconds) < 3, 'a cell in each slot')
    seen.push(times.sort((a, b) => a - b)[30]!)
    await sim.close()
  }
  assert.ok(seen[1]! > 0.85 * seen[0]! && seen[1]! < 1.15 * seen[0]!, `${seen[1]} ms at itself, ${seen[0]} elsewhere`)
})
