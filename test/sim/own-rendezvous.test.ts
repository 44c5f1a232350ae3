/**
 * A node that was drawn as the rendezvous point of its own session: what the other end can see of it by the clock. Both ends draw the point, and
 * whoever is at the other end may draw again and again, until it is a node whose answers come sooner than all others' (SPEC §11.3).
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { OriginLoop } from '../../client/loops/origin-loop.ts'
import { Command } from '../../src/cell/index.ts'
import { introductionPointName } from '../../src/service/index.ts'
import { encodeHopRequest, encodeIntroductionRequest, parseHopReply, parseIntroductionReply } from '../../src/wire/index.ts'
import { type FakeMesh, startFakeMesh } from '../support/fake-mesh.ts'
import { Talker } from '../support/talker.ts'

const never = new AbortController()
const cookie = new Uint8Array(32).fill(7)
const POINT = 6

/** Answers everything that it hears. */
class Echo extends Talker {
  override onPayload(bytes: Uint8Array, at: number): void {
    const before = this.heard.length
    super.onPayload(bytes, at)
    if (this.heard.length > before) this.say(this.heard.length - before)
  }
}

/** A loop of the point's own, whose requests are answered by the point itself. */
async function turnedHome(sim: FakeMesh): Promise<OriginLoop> {
  const loop = await sim.build(POINT, [5, 4, 3, 2, 1])
  loop.turnHome((stream, port) => sim.mesh.nodes[POINT]!.apex.accept(stream, port))
  return loop
}

interface Met {
  readonly sim: FakeMesh
  readonly client: Talker
  readonly clientLoop: OriginLoop
  readonly echo: Echo
  readonly echoLoop: OriginLoop
}

/** A client meets somebody at the point: another node, or the point's own. */
async function meet(seed: string, who: 'other' | 'own', delayMs = 3): Promise<Met> {
  const sim = await startFakeMesh(seed, { count: 8, shape: () => ({ delayMs }) })
  const clientLoop = await sim.build(0, [1, 2, POINT, 3, 4])
  const client = new Talker()
  client.port = await sim.clock.runFor(clientLoop.join(cookie, client, never))
  const echoLoop = who === 'other' ? await sim.build(7, [5, 4, POINT, 2, 1]) : await turnedHome(sim)
  const echo = new Echo()
  echo.port = await sim.clock.runFor(echoLoop.join(cookie, echo, never))
  await sim.clock.runUntil(() => client.came > 0, 2_000)
  return { sim, client, clientLoop, echo, echoLoop }
}

/** Times from saying something to hearing the answer, at moments that the other end cannot know. */
async function roundTrips({ sim, client }: Met, count: number): Promise<number[]> {
  const times: number[] = []
  for (let asked = 0; asked < count; asked++) {
    await sim.clock.advance(20 + sim.rng.below(400))
    const began = sim.clock.monotonicMs()
    const before = client.heard.length
    client.say(1)
    await sim.clock.runUntil(() => client.heard.length > before, 2_000)
    assert.equal(client.heard.length, before + 1)
    times.push(sim.clock.monotonicMs() - began)
  }
  return times.sort((a, b) => a - b)
}

const quantiles = (times: readonly number[]) => [0.1, 0.5, 0.9].map((share) => times[Math.floor(share * times.length)]!)

test('who meets a node at itself hears it no sooner than one that meets it elsewhere', async () => {
  const seen: number[][] = []
  for (const who of ['other', 'own'] as const) {
    const times: number[] = []
    for (const seed of ['a', 'b', 'c']) {
      const met = await meet(`times ${seed}`, who)
      times.push(...(await roundTrips(met, 60)))
      await met.sim.close()
    }
    seen.push(quantiles(times.sort((a, b) => a - b)))
  }
  for (const [at, other] of seen[0]!.entries()) {
    const own = seen[1]![at]!
    assert.ok(own > 0.85 * other && own < 1.15 * other, `quantile ${at}: ${own} ms at itself, ${other} elsewhere`)
  }
})

test('content goes both ways, whole and in order, and no faster than a loop carries it', async () => {
  const met = await meet('content', 'own')
  const { sim, client, echo } = met
  for (let said = 0; said < 600; said += 50) {
    client.say(50)
    await sim.clock.runUntil(() => client.heard.length >= said, 5_000)
  }
  await sim.clock.runUntil(() => client.heard.length === 600, 10_000)
  const numbers = Array.from({ length: 600 }, (_, at) => at + 1)
  assert.deepEqual(echo.heard, numbers)
  assert.deepEqual(client.heard, numbers)
  await sim.close()
})

test('the members of its loop are addressed by nobody, and see what they see of every loop', async () => {
  const counts = new Map<string, number>()
  const met = await meet('members', 'own')
  for (const { self, end } of met.sim.taps.all()) {
    end.tap.incoming = (cell) => {
      if (cell.command === Command.CIRCUIT) counts.set(`${self} in`, (counts.get(`${self} in`) ?? 0) + 1)
      return [cell]
    }
    end.tap.outgoing = (_id, command) => {
      if (command === Command.CIRCUIT) counts.set(`${self} out`, (counts.get(`${self} out`) ?? 0) + 1)
    }
  }
  await roundTrips(met, 20)
  await met.sim.clock.advance(100)
  for (const index of [1, 2, 3, 4, 5]) assert.equal(counts.get(`${index} in`), counts.get(`${index} out`))
  assert.ok(counts.get('5 in')! > 20, 'cells of its own went round')
  await met.sim.close()
})

test('a client whose introduction point is its own node is heard no sooner than others', async () => {
  const took: number[] = []
  const token = new Uint8Array(32).fill(9)
  for (const who of ['other', 'own'] as const) {
    const sim = await startFakeMesh('introduction', { count: 8, shape: () => ({ delayMs: 3 }) })
    const point = sim.mesh.nodes[POINT]!
    const answer = async () => {
      const request = encodeIntroductionRequest({ kind: 'await', token })
      const { body } = await point.introductions.askLocally(request)
      const { introductions } = parseIntroductionReply(body as Uint8Array)!
      for (const { handle } of introductions) {
        const message = new Uint8Array(8)
        await point.introductions.askLocally(encodeIntroductionRequest({ kind: 'answer', token, handle, message }))
      }
    }
    const loop = who === 'other' ? await sim.build(0, [1, 2, POINT, 3, 4]) : await turnedHome(sim)
    const introduce = () => {
      const message = new Uint8Array(100)
      const request = encodeIntroductionRequest({
        kind: 'introduce',
        point: introductionPointName(token),
        message,
        work: new Uint8Array(0),
      })
      return loop.ask(encodeHopRequest({ kind: 'introduction', request }), never)
    }
    const began = sim.clock.monotonicMs()
    for (let round = 0; round < 10; round++) {
      const answered = answer()
      const reply = parseHopReply(await sim.clock.runFor(introduce()))
      await answered
      assert.equal(reply?.status, 'ok')
    }
    took.push(sim.clock.monotonicMs() - began)
    await sim.close()
  }
  assert.ok(took[1]! > 0.85 * took[0]! && took[1]! < 1.15 * took[0]!, `${took}`)
})

test('when its loop ends, or the other leaves, it hears of it as every other end does', async () => {
  const first = await meet('its loop', 'own')
  first.echoLoop.close()
  await first.sim.clock.advance(50)
  assert.equal(first.echo.gone, 1)
  assert.equal(first.client.gone, 0)
  await first.sim.close()
  const second = await meet('the other', 'own')
  second.clientLoop.close()
  const before = second.echo.given
  await second.sim.clock.advance(3_000)
  assert.equal(second.echo.gone, 0)
  assert.ok(second.echo.given - before >= 10, 'it goes on giving')
  await second.sim.close()
})
