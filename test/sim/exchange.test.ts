/**
 * Two loops joined at one apex, on memory links and a fake clock (SPEC §11.1, §11.3): what reaches whom, what members and the rendezvous
 * point can see of who talks, what an idle exchange costs, how it ends, and what hostile origins get.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { OriginLoop } from '../../client/loops/origin-loop.ts'
import { QUEUE_PAYLOADS } from '../../relay/rendezvous/index.ts'
import { Command } from '../../src/cell/index.ts'
import { introductionPointName } from '../../src/service/index.ts'
import { PAYLOAD_BYTES, sendMessage } from '../../src/stream/index.ts'
import {
  encodeHopRequest,
  encodeIntroductionRequest,
  type IntroductionRequest,
  parseHopReply,
  parseIntroductionReply,
} from '../../src/wire/index.ts'
import { type FakeMesh, startFakeMesh } from '../support/fake-mesh.ts'
import { Talker } from '../support/talker.ts'

const never = new AbortController()
const cookie = new Uint8Array(32).fill(7)
const APEX = 3
/** Paths of the two origins, nodes 0 and 6, with node 3 in the middle. */
const PATHS = [
  [1, 2, 3, 4, 5],
  [7, 5, 3, 1, 2],
] as const

interface Joined {
  readonly loop: OriginLoop
  readonly talker: Talker
}

async function join(sim: FakeMesh, index: 0 | 1): Promise<Joined> {
  const loop = await sim.build(index === 0 ? 0 : 6, PATHS[index])
  const talker = new Talker()
  talker.port = await sim.clock.runFor(loop.join(cookie, talker, never))
  return { loop, talker }
}

async function startJoined(seed: string, delayMs = 1): Promise<{ sim: FakeMesh; ends: readonly [Joined, Joined] }> {
  const sim = await startFakeMesh(seed, { count: 8, shape: () => ({ delayMs }) })
  const ends = [await join(sim, 0), await join(sim, 1)] as const
  await sim.clock.advance(100)
  return { sim, ends }
}

/** Says `count` numbers, never more than `window` of them unheard: what a session does. */
async function talk(sim: FakeMesh, from: Talker, to: Talker, count: number, window = 128): Promise<void> {
  const before = to.heard.length
  for (let asked = 0; asked < count; await sim.clock.advance(2)) {
    const room = Math.max(0, Math.min(count - asked, window - (asked - (to.heard.length - before))))
    from.say(room)
    asked += room
  }
  await sim.clock.runUntil(() => to.heard.length === before + count, 10_000)
  assert.equal(to.heard.length, before + count)
}

const range = (count: number) => Array.from({ length: count }, (_, at) => at + 1)

test('two origins joined at one apex exchange payloads, in order, both directions at once', async () => {
  const { sim, ends } = await startJoined('both')
  const [a, b] = ends
  await Promise.all([talk(sim, a.talker, b.talker, 600), talk(sim, b.talker, a.talker, 500)])
  assert.deepEqual(b.talker.heard, range(600))
  assert.deepEqual(a.talker.heard, range(500))
  assert.equal(a.talker.port!.loop, a.loop.number)
  assert.ok(a.loop.open && b.loop.open)
  await sim.close()
})

test('P3: at every member one cell goes out for each that comes in, of both loops, and the apex does as the others do', async () => {
  const { sim, ends } = await startJoined('conservation')
  const traces = sim.mesh.nodes.map(() => '')
  for (const { self, end } of sim.taps.all()) {
    end.tap.incoming = (cell) => {
      if (cell.command === Command.CIRCUIT) traces[self] += 'i'
      return [cell]
    }
    end.tap.outgoing = (_id, command) => {
      if (command === Command.CIRCUIT) traces[self] += 'o'
    }
  }
  await talk(sim, ends[0].talker, ends[1].talker, 400)
  ends[0].loop.close()
  ends[1].loop.close()
  await sim.clock.advance(100)
  for (const [index, trace] of traces.entries()) {
    if (index === 0 || index === 6) continue
    const ins = trace.replaceAll('o', '').length
    assert.equal(trace.length, 2 * ins, `node ${index}`)
    assert.ok(ins > 400)
    let owed = 0
    for (const event of trace) {
      owed += event === 'i' ? 1 : -1
      assert.ok(owed >= 0, `node ${index}: a cell before its cause`)
    }
  }
  await sim.close()
})

test('P2: the rendezvous point sees as many payloads one way as the other, whoever talks', async () => {
  const seen: number[][] = []
  for (const who of ['first', 'second', 'both'] as const) {
    const { sim, ends } = await startJoined('who talks')
    const [a, b] = [ends[0].talker, ends[1].talker]
    const base = [a.given, b.given]
    if (who !== 'second') await talk(sim, a, b, 300)
    if (who !== 'first') await talk(sim, b, a, 300)
    // At rest: all that was given was taken.
    await sim.clock.advance(200)
    await sim.clock.runUntil(() => a.given === b.came && b.given === a.came, 1_000)
    assert.deepEqual([a.given, b.given], [b.came, a.came])
    const given = [a.given - base[0]!, b.given - base[1]!]
    assert.ok(Math.abs(given[0]! - given[1]!) <= 2, `${who}: ${given}`)
    seen.push(given)
    await sim.close()
  }
  // The first talks alone, or the second: the same counts at the rendezvous point but for a beat or two.
  for (const side of [0, 1]) assert.ok(Math.abs(seen[0]![side]! - seen[1]![side]!) <= 12, `${seen}`)
})

test('P2: cells sent by one timetable make one trace at every member, with content, dummies or no payload in them, either way', async () => {
  const traces: string[][] = []
  for (const content of ['none', 'dummies', 'first', 'second'] as const) {
    const sim = await startFakeMesh('one timetable', { count: 8 })
    sim.mesh.nodes[0]!.path = { hops: PATHS[0].map((hop) => sim.mesh.nodes[hop]!.id), apexIndex: 2 }
    sim.mesh.nodes[6]!.path = { hops: PATHS[1].map((hop) => sim.mesh.nodes[hop]!.id), apexIndex: 2 }
    const origins = [await sim.buildRaw(0), await sim.buildRaw(6)] as const
    for (const origin of origins) {
      const stream = origin.mux.open({
        onData: (_bytes, _at, length) => stream.consumed(length),
        onFin: () => {},
        onClose: () => {},
      })!
      sendMessage(stream, encodeHopRequest({ kind: 'join', cookie, exchange: 0 }))
      origin.send(3)
      await sim.clock.advance(5)
      origin.send(3)
      await sim.clock.advance(5)
    }
    const started = sim.clock.monotonicMs()
    const trace = sim.mesh.nodes.map(() => [] as string[])
    for (const { self, end } of sim.taps.all()) {
      const note = (way: string, command: number, bytes: number) =>
        trace[self]!.push(`${sim.clock.monotonicMs() - started} ${way} ${command} ${bytes}`)
      end.tap.incoming = (cell) => {
        note('in', cell.command, cell.body.length)
        return [cell]
      }
      end.tap.outgoing = (_id, command, body) => note('out', command, body.length)
    }
    const home = origins.map((origin) => origin.home.length)
    for (let burst = 0; burst < 12; burst++) {
      for (const [index, origin] of origins.entries()) {
        const frames = new Uint8Array(2027)
        const talks = content === (index === 0 ? 'first' : 'second')
        if (content !== 'none') frames.fill(talks ? burst + 1 : 0xdd, 0, 1 + PAYLOAD_BYTES).fill(6, 0, 1)
        for (let cell = 0; cell < 5; cell++) origin.send(3, frames)
      }
      await sim.clock.advance(2)
    }
    const came = origins.map((origin, at) => origin.home.slice(home[at]).filter(({ frames }) => frames?.[3] === 6).length)
    if (content === 'none') assert.deepEqual(came, [0, 0])
    else
      assert.ok(
        came.every((count) => count >= 50),
        `${content}: ${came}`,
      )
    assert.ok(origins.every(({ gone }) => gone === null))
    traces.push(trace.map((events) => events.join('\n')))
    await sim.close()
  }
  for (const trace of traces.slice(1)) assert.deepEqual(trace, traces[0])
})

test('an exchange with nothing to say costs some 25 cells and a few payloads a second, and is awake within a poll', async () => {
  const { sim, ends } = await startJoined('idle', 2)
  const [a, b] = ends
  await sim.clock.advance(2_000)
  const before = [a.loop.figures.cells, b.loop.figures.cells, a.talker.given, b.talker.given]
  await sim.clock.advance(10_000)
  const after = [a.loop.figures.cells, b.loop.figures.cells, a.talker.given, b.talker.given]
  const [cellsA, cellsB, givenA, givenB] = after.map((count, at) => count - before[at]!) as [number, number, number, number]
  for (const cells of [cellsA, cellsB]) assert.ok(cells > 200 && cells < 320, `${cells} cells in 10 s`)
  // A beat each quarter second, and one for each beat of the other's that was not met by an own.
  for (const given of [givenA, givenB]) assert.ok(given >= 30 && given <= 90, `${given} payloads in 10 s`)
  const asked = sim.clock.monotonicMs()
  a.talker.say(1)
  await sim.clock.runUntil(() => b.talker.heard.length === 1, 1_000)
  assert.ok(sim.clock.monotonicMs() - asked <= 12 + 40 + 12, `${sim.clock.monotonicMs() - asked} ms`)
  await sim.close()
})

test('a side that does not take loses the oldest, and nobody else a thing: the loops go on', async () => {
  const { sim, ends } = await startJoined('slow side')
  const [a, b] = ends
  const bystander = await sim.build(2, [4, 5, 3, 7, 1])
  a.talker.say(3_000)
  await sim.clock.advance(3_000)
  assert.ok(a.talker.said === 3_000 && a.loop.open && b.loop.open)
  const heard = b.talker.heard
  assert.ok(heard.length > QUEUE_PAYLOADS && heard.at(-1) === 3_000)
  for (let at = 1; at < heard.length; at++) assert.ok(heard[at]! > heard[at - 1]!)
  assert.equal((await sim.ping(bystander, 10, 1_000)).body.length, 1_000)
  await sim.close()
})

test('when one side closes, the other hears no more payloads and is told nothing; its loop lives until it closes too', async () => {
  const { sim, ends } = await startJoined('one leaves')
  const [a, b] = ends
  const { rendezvous, apex } = sim.mesh.nodes[APEX]!
  a.talker.say(5)
  await sim.clock.advance(50)
  a.talker.port!.close()
  assert.equal(a.talker.gone, 0)
  assert.equal(a.loop.open, false)
  assert.equal(sim.ended.get(a.loop), 'closed')
  // The members keep the circuit for a while, and nobody at the apex can know.
  await sim.clock.advance(100)
  const came = b.talker.came
  await sim.clock.advance(80_000)
  assert.ok(b.talker.came - came <= 2)
  assert.deepEqual([b.talker.gone, b.loop.open], [0, true])
  assert.equal(rendezvous.figures.meetings, 0)
  sim.mesh.nodes[6]!.links.get(sim.mesh.nodes[7]!.id)?.close('local')
  await sim.clock.advance(10)
  assert.equal(b.talker.gone, 1, 'the end hears that its own loop is gone')
  b.talker.port!.close()
  await sim.clock.advance(150_000)
  assert.equal(rendezvous.figures.payloads, 0)
  assert.equal(apex.heldBytes, 0)
  await sim.close()
})

test('a third that shows the cookie is refused, and the two go on', async () => {
  const { sim, ends } = await startJoined('third')
  const third = await sim.build(2, [4, 5, 3, 7, 1])
  await assert.rejects(sim.clock.runFor(third.join(cookie, new Talker(), never)), { code: 'RENDEZVOUS_REFUSED' })
  assert.equal((await sim.ping(third, 10, 1_000)).body.length, 1_000, 'the loop is as good as before')
  // One of the two may not join another pair with the same circuit.
  await assert.rejects(sim.clock.runFor(ends[0].loop.join(new Uint8Array(32), new Talker(), never)), {
    code: 'RENDEZVOUS_REFUSED',
  })
  await talk(sim, ends[0].talker, ends[1].talker, 50)
  await sim.close()
})

test('one that joins a node and one that is that node exchange like any two', async () => {
  const sim = await startFakeMesh('local', { count: 8, shape: () => ({ delayMs: 1 }) })
  const a = await join(sim, 0)
  const { rendezvous } = sim.mesh.nodes[APEX]!
  const local = new Talker()
  local.port = rendezvous.joinLocally(cookie, local)
  await talk(sim, local, a.talker, 300)
  await talk(sim, a.talker, local, 300)
  assert.deepEqual(a.talker.heard, range(300))
  assert.deepEqual(local.heard, range(300))
  local.port.close()
  a.talker.port!.close()
  await sim.close()
})

test('P3: payloads of who has joined nothing end the streams of that circuit as any other breach does, and no more', async () => {
  for (const joins of [false, true]) {
    const sim = await startFakeMesh(`breach ${joins}`)
    const origin = await sim.buildRaw()
    const ping = () => {
      const stream = origin.mux.open({
        onData: (_bytes, _at, length) => stream.consumed(length),
        onFin: () => {},
        onClose: () => {},
      })!
      sendMessage(stream, encodeHopRequest({ kind: 'ping', filler: new Uint8Array(0), answerBytes: 2_000 }))
      origin.send(3)
    }
    if (joins) {
      sendMessage(
        origin.mux.open({ onData: () => {}, onFin: () => {}, onClose: () => {} })!,
        encodeHopRequest({ kind: 'join', cookie, exchange: 0 }),
      )
      origin.send(3)
      await sim.clock.advance(10)
    }
    const payload = new Uint8Array(2027).fill(6, 0, 1)
    origin.send(3, payload)
    for (let at = 0; at < 10; at++) {
      ping()
      await sim.clock.settle()
    }
    assert.equal(origin.gone, null)
    assert.equal(sim.mesh.nodes[3]!.relay.relayed, 1)
    const answers = origin.home.slice(joins ? 2 : 1).map(({ frames }) => frames!.subarray(3).some((byte) => byte !== 0))
    assert.equal(answers.some(Boolean), joins, 'nothing more comes out of the hop once it was broken')
    await sim.close()
  }
})

test('a service waits at a node as long as it likes and is reached within a poll; dead circuits leave nothing', async () => {
  const sim = await startFakeMesh('introduction', { count: 8, shape: () => ({ delayMs: 1 }) })
  const ask = (loop: OriginLoop, request: IntroductionRequest, patient = false) =>
    loop
      .ask(encodeHopRequest({ kind: 'introduction', request: encodeIntroductionRequest(request) }), {
        ...never,
        signal: never.signal,
        patient,
      })
      .then((bytes) => {
        const reply = parseHopReply(bytes)!
        return { status: reply.status, ...parseIntroductionReply(reply.body)! }
      })
  const service = await sim.build(0, PATHS[0])
  const client = await sim.build(6, PATHS[1])
  const token = new Uint8Array(32).fill(5)
  const apex = sim.mesh.nodes[APEX]!.apex
  let waits = 0
  const serve = async (): Promise<void> => {
    while (service.open) {
      waits++
      const { introductions } = await ask(service, { kind: 'await', token }, true)
      for (const { handle, message } of introductions) {
        void ask(service, { kind: 'answer', token, handle, message: message.map((byte) => byte + 1) })
      }
    }
  }
  void serve().catch(() => {})
  void serve().catch(() => {})
  await sim.clock.advance(1_000)
  const held = apex.heldBytes
  assert.ok(held > 0 && held <= 2 * 2_048, `${held} bytes for two waits`)
  const cells = service.figures.cells
  await sim.clock.advance(10_000)
  assert.ok(service.figures.cells - cells <= 260, `${service.figures.cells - cells} cells in 10 s`)
  const started = sim.clock.monotonicMs()
  const point = introductionPointName(token)
  const reply = await sim.clock.runFor(
    ask(client, { kind: 'introduce', point, message: Uint8Array.of(1), work: new Uint8Array(0) }),
  )
  assert.deepEqual([reply.status, reply.message], ['ok', Uint8Array.of(2)])
  assert.ok(sim.clock.monotonicMs() - started < 120, `${sim.clock.monotonicMs() - started} ms`)
  await sim.clock.advance(20 * 60_000)
  assert.ok(waits > 2 * (1_200 / 310), 'each wait ends and is asked anew')
  assert.ok(apex.heldBytes <= 2 * 2_048)
  service.close()
  await sim.clock.advance(120_000)
  assert.equal(apex.heldBytes, 0)
  assert.deepEqual(sim.mesh.nodes[APEX]!.introductions.figures, { points: 0, messages: 0, handed: 0 })
  await sim.close()
})
