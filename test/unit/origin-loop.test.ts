/**
 * The origin's end of a loop (SPEC §4.4, §5) over real members on memory links and a fake clock: what it sends while it waits, how it ends,
 * what becomes of requests.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ANSWER_TIMEOUT_MS } from '../../relay/apex.ts'
import { Command } from '../../src/cell/index.ts'
import { STREAMS_MAX } from '../../src/stream/index.ts'
import { encodeHopRequest, parseHopReply } from '../../src/wire/index.ts'
import { type FakeMesh, startFakeMesh } from '../support/fake-mesh.ts'
import { seededRng } from '../support/seeded-rng.ts'

const never = new AbortController()

/** Times at which node 0's loop sends its cells. */
function watchSent(sim: FakeMesh): number[] {
  const times: number[] = []
  sim.taps.end(0, 1).tap.outgoing = (_id, command) => {
    if (command === Command.CIRCUIT) times.push(sim.clock.monotonicMs())
  }
  return times
}

const storeCall = (request: Uint8Array) => encodeHopRequest({ kind: 'store', request })

/** A mesh whose store takes `ms` for each request and gives it back. */
function slowStore(seed: string, ms: (request: Uint8Array) => number, delayMs = 1): Promise<FakeMesh> {
  const holder: { sim: FakeMesh | null } = { sim: null }
  const made = startFakeMesh(seed, {
    shape: () => ({ delayMs }),
    store: async (request) => {
      await holder.sim!.clock.sleep(ms(request), never)
      return { status: 'ok', body: request }
    },
  })
  return made.then((sim) => {
    holder.sim = sim
    return sim
  })
}

test('while an answer is awaited that takes long, few cells go round, and fewer the longer it takes', async () => {
  const sim = await slowStore('slow service', () => 4_000)
  const loop = await sim.build()
  const sent = watchSent(sim)
  const start = sim.clock.monotonicMs()
  assert.deepEqual(await sim.echo(loop, Uint8Array.of(1)), Uint8Array.of(1))
  const took = sim.clock.monotonicMs() - start
  assert.ok(took >= 4_000 && took < 4_060, `${took} ms`)
  assert.ok(sent.length < 330, `${sent.length} cells for one answer`)
  // Late in the wait: one at a time, a fiftieth of a second apart.
  const late = sent.filter((at) => at - start > 1_000 && at - start < 3_900)
  assert.equal(new Set(late).size, late.length, 'no bursts')
  for (const [at, time] of late.entries()) if (at > 0) assert.ok(time - late[at - 1]! >= 19)
  await sim.close()
})

test('an idle loop shows every 20 seconds that it lives, with one cell, and nothing else', async () => {
  const sim = await startFakeMesh('idle')
  await sim.build()
  const sent = watchSent(sim)
  await sim.clock.advance(10 * 60_000)
  assert.ok(sent.length >= 28 && sent.length <= 30, `${sent.length} cells in ten minutes`)
  await sim.close()
})

test('a member that stalls ends the loop within 3 seconds when it is in use, and after the next probe when it is not', async () => {
  for (const member of [1, 3, 5]) {
    const sim = await startFakeMesh(`stall ${member}`)
    const used = await sim.build()
    const idle = await sim.build()
    const others = await sim.build(
      0,
      [1, 2, 3, 4, 5].filter((other) => other !== member),
    )
    await sim.ping(used, 10, 10)
    sim.mesh.wires.stall(sim.mesh.nodes[member]!.id, true)
    const start = sim.clock.monotonicMs()
    await assert.rejects(sim.ping(used, 10, 10))
    assert.ok(sim.clock.monotonicMs() - start <= 3_000)
    assert.equal(sim.ended.get(used), 'stalled')
    assert.equal((await sim.ping(others, 10, 10)).status, 'ok')
    await sim.clock.advance(24_000)
    assert.equal(sim.ended.get(idle), 'stalled')
    assert.equal(sim.ended.get(others), undefined)
    sim.mesh.wires.stall(sim.mesh.nodes[member]!.id, false)
    await sim.close()
  }
})

test('a member that loses its successor says so within a second, though the loop waits for one cell: a filler for each member, and no more', async () => {
  for (const member of [1, 3, 4]) {
    const sim = await slowStore(`lost ${member}`, () => 60_000)
    const loop = await sim.build()
    const asking = loop.ask(storeCall(Uint8Array.of(1)), { signal: never.signal, patient: true })
    asking.catch(() => {})
    await sim.clock.advance(5_000)
    assert.equal(sim.ended.size, 0)
    const sent = watchSent(sim)
    const [from, to] = [sim.mesh.nodes[member]!.id, sim.mesh.nodes[member + 1]!.id]
    sim.mesh.wires.sever(from, to)
    const start = sim.clock.monotonicMs()
    await sim.clock.runUntil(() => sim.ended.size > 0, 5_000)
    assert.ok(sim.clock.monotonicMs() - start <= 800, `${sim.clock.monotonicMs() - start} ms`)
    assert.equal(sim.ended.get(loop), 'destroyed')
    assert.ok(sent.length <= 2 + 5, `${sent.length} cells`)
    await sim.close()
  }
})

test('a loop that is late gets a filler for each member, once, and is the same again when it goes on', async () => {
  const sim = await slowStore('late', () => 20_000)
  const loop = await sim.build()
  const asking = sim.clock.runFor(loop.ask(storeCall(Uint8Array.of(1)), { signal: never.signal, patient: true }), 30_000)
  await sim.clock.advance(5_000)
  const sent = watchSent(sim)
  sim.mesh.wires.stall(sim.mesh.nodes[3]!.id, true)
  await sim.clock.advance(2_000)
  const late = sent.length
  assert.ok(late >= 5 && late <= 2 + 5, `${late} cells`)
  sim.mesh.wires.stall(sim.mesh.nodes[3]!.id, false)
  assert.equal(parseHopReply(await asking)!.status, 'ok')
  assert.equal(sim.ended.size, 0)
  await sim.close()
})

test('a slow way is not a dead one: cells a second late end nothing', async () => {
  const sim = await startFakeMesh('slow way', { shape: () => ({ delayMs: 150 }) })
  const loop = await sim.build()
  assert.equal((await sim.ping(loop, 20_000, 60_000)).body.length, 60_000)
  assert.equal(sim.ended.size, 0)
  await sim.close()
})

test('many requests at once, of all sizes, answered in any order: each gets its own answer, whole', async () => {
  const rng = seededRng('many')
  const sim = await slowStore('many', (request) => (request[0]! % 5) * 37)
  const loop = await sim.build()
  const requests = Array.from({ length: 60 }, (_, at) => rng.bytes([1, 2, 100, 2022, 2023, 4096, 30_000, 65_536][at % 8]!))
  const answers = await sim.clock.runFor(Promise.all(requests.map((request) => loop.ask(storeCall(request), never))))
  for (const [at, answer] of answers.entries()) assert.deepEqual(parseHopReply(answer)!.body, requests[at])
  assert.equal(loop.asking, 0)
  await sim.close()
})

test('a cancelled request fails with the reason given, and costs the others nothing', async () => {
  const sim = await slowStore('cancel', (request) => (request[0] === 9 ? 60_000 : 5))
  const loop = await sim.build()
  const controller = new AbortController()
  const reason = new Error('no longer wanted')
  const stuck = loop.ask(storeCall(Uint8Array.of(9)), controller)
  const failed = assert.rejects(stuck, (error) => error === reason)
  const big = sim.rng.bytes(60_000)
  big[0] = 1
  const other = loop.ask(storeCall(big), never)
  await sim.clock.advance(20)
  controller.abort(reason)
  await sim.clock.runFor(failed)
  assert.deepEqual(parseHopReply(await sim.clock.runFor(other))!.body, big)
  assert.equal(loop.asking, 0)
  // Cancelled before a byte went, many times, with one in front that must not suffer.
  const first = loop.ask(storeCall(Uint8Array.of(1)), never)
  for (let at = 0; at < 1_000; at++) {
    const soon = new AbortController()
    const asked = loop.ask(storeCall(Uint8Array.of(2)), soon)
    const gone = assert.rejects(asked)
    soon.abort(reason)
    await gone
  }
  assert.deepEqual(parseHopReply(await sim.clock.runFor(first))!.body, Uint8Array.of(1))
  assert.deepEqual(await sim.echo(loop, Uint8Array.of(3)), Uint8Array.of(3))
  assert.equal(sim.ended.size, 0)
  const already = new AbortController()
  already.abort(reason)
  await assert.rejects(loop.ask(storeCall(Uint8Array.of(1)), already), (error) => error === reason)
  await sim.close()
})

test('more requests than a loop has streams: the newest fails at once, the others are answered', async () => {
  const sim = await slowStore('too many', () => 50)
  const loop = await sim.build()
  const asked = Array.from({ length: STREAMS_MAX }, (_, at) => loop.ask(storeCall(Uint8Array.of(at)), never))
  await assert.rejects(loop.ask(storeCall(Uint8Array.of(1)), never), { code: 'CIRCUIT_ENDED' })
  assert.equal(loop.asking, STREAMS_MAX)
  assert.equal((await sim.clock.runFor(Promise.all(asked))).length, STREAMS_MAX)
  await sim.close()
})

test('closing fails what is under way, tells nobody twice, and leaves no timer', async () => {
  const sim = await slowStore('closing', () => 1_000)
  const timers = sim.clock.pendingTimers
  const loop = await sim.build()
  const asked = [1, 2, 3].map((byte) => loop.ask(storeCall(Uint8Array.of(byte)), never))
  const failed = Promise.all(asked.map((one) => assert.rejects(one, { code: 'CIRCUIT_ENDED' })))
  await sim.clock.advance(100)
  assert.equal(loop.open, true)
  loop.close()
  loop.close()
  await failed
  assert.equal(loop.open, false)
  assert.equal(sim.ended.size, 0, 'its owner closed it: nobody needs telling')
  await assert.rejects(loop.ask(storeCall(Uint8Array.of(1)), never), { code: 'CIRCUIT_ENDED' })
  await sim.clock.advance(ANSWER_TIMEOUT_MS + 5_000) // by then the apex has dropped the answers that nobody fetched
  assert.equal(sim.clock.pendingTimers, timers)
  await sim.close()
})

test('a loop that loses its first or last link ends once, at once, and its requests with it', async () => {
  for (const neighbour of [1, 5]) {
    const sim = await slowStore(`lost ${neighbour}`, () => 1_000)
    const loop = await sim.build()
    const asked = assert.rejects(loop.ask(storeCall(Uint8Array.of(1)), never), { code: 'CIRCUIT_ENDED' })
    await sim.clock.advance(100)
    const start = sim.clock.monotonicMs()
    sim.mesh.wires.sever(sim.mesh.nodes[0]!.id, sim.mesh.nodes[neighbour]!.id)
    await sim.clock.runFor(asked)
    assert.equal(sim.clock.monotonicMs(), start)
    assert.equal(sim.ended.get(loop), 'link-lost')
    await sim.close()
  }
})

test('same seed, same trace: what goes when is decided by clock and seed alone', async () => {
  const run = async () => {
    const sim = await slowStore('trace', (request) => request[0]! % 50)
    const trace: string[] = []
    for (const { self, peer, end } of sim.taps.all()) {
      end.tap.outgoing = (_id, command) => trace.push(`${sim.clock.monotonicMs()} ${self} ${peer} ${command}`)
    }
    const loop = await sim.build()
    const requests = Array.from({ length: 12 }, (_, at) => sim.rng.bytes(700 * at + 1))
    await sim.clock.runFor(Promise.all(requests.map((request) => loop.ask(storeCall(request), never))))
    await sim.close()
    return trace
  }
  assert.deepEqual(await run(), await run())
})
