/**
 * The pool of own paced loops (SPEC §4.6) over real members on memory links and a fake clock: that work gets through, that loops come at public
 * epochs and go, that names are kept apart, and that nothing is left behind.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { leadsOf, pacedPlanOf } from '../../client/clocks.ts'
import { LoopBuilder } from '../../client/loops/builder.ts'
import { LoopSet, ROUND_EPOCHS } from '../../client/loops/loop-set.ts'
import { PacedPool } from '../../client/loops/paced-pool.ts'
import { ShareSession, ShareSessions } from '../../client/shares.ts'
import type { NodeId } from '../../src/bytes/index.ts'
import { EPOCH_MS } from '../../src/circuit/setup/index.ts'
import { type Config, defaultConfig } from '../../src/config/index.ts'
import type { Descriptor, DirectoryView } from '../../src/directory/index.ts'
import { isOverlayError } from '../../src/errors/index.ts'
import { shuffled } from '../../src/runtime/index.ts'
import { encodeHopRequest, parseHopReply } from '../../src/wire/index.ts'
import { startFakeMesh } from '../support/fake-mesh.ts'
import { seededRng } from '../support/seeded-rng.ts'

const never = new AbortController().signal
const storeCall = (request: Uint8Array) => encodeHopRequest({ kind: 'store', request })

/** A mesh whose node 0 has a pool, as `client/node.ts` makes it, by default with two standing loops. `named`: how many nodes its directory seems to have. */
async function poolOn(
  seed: string,
  { count = 8, size = count, ...config }: Partial<Config> & { count?: number; size?: number } = {},
) {
  const plan = pacedPlanOf(defaultConfig({ dataDir: '/', clock: 'steady', cover: 'high', ...config }))!
  const sim = await startFakeMesh(seed, { count, pacing: { control: { everyMs: plan.controlMs } } })
  const { mesh, clock } = sim
  const rng = seededRng(`${seed} pool`)
  const self = mesh.nodes[0]!
  const others = mesh.nodes.slice(1).map(({ id }) => id)
  const descriptors = new Map<NodeId, Descriptor>()
  /** Nodes that have lost their links, but for those among each other. */
  const gone = new Set<NodeId>()
  for (const { id, onionKeys } of mesh.nodes) {
    const rest = { addresses: [], capacityClass: 0, storeQuotaBytes: 0, publishedMs: clock.unixMs(), neighbours: [], family: [] }
    descriptors.set(id, { id, onion: onionKeys.published, ...rest })
  }
  const view: DirectoryView = {
    size,
    version: 1,
    get: (id) => descriptors.get(id),
    all: () => [...descriptors.values()],
    linked: (id) =>
      (gone.has(id) ? [...gone] : mesh.nodes.map((node) => node.id)).filter(
        (other) => other !== id && gone.has(other) === gone.has(id),
      ),
  }
  const draw = (apex: NodeId | undefined) => {
    const middle = apex ?? others[rng.below(others.length)]!
    const around = shuffled(
      others.filter((id) => id !== middle),
      rng,
    ).slice(0, 4)
    return { hops: [...around.slice(0, 2), middle, ...around.slice(2)], apexIndex: 2 }
  }
  const { network, cipher } = mesh
  const parts = { network, self: self.id, onionKeys: self.onionKeys, view, draw, port: self.relay, cipher, clock, rng }
  const builder = new LoopBuilder(parts)
  /** When each loop was asked for. */
  const asked: number[] = []
  const { waitMs } = plan.setUpTime(5)
  const set = new LoopSet({ ...plan.loops, ...leadsOf(plan, () => 5), rng: { standing: rng, extra: rng } })
  const pool = new PacedPool({
    clockName: plan.clock,
    holdMs: () => plan.holdMs(5),
    set,
    builder: {
      buildPaced(...how) {
        asked.push(clock.unixMs())
        return builder.buildPaced(...how)
      },
      buildTwin(...how) {
        asked.push(clock.unixMs())
        return builder.buildTwin(...how)
      },
    },
    view,
    self: self.id,
    exchangeRate: plan.exchangeRate,
    ownApex: (stream, port) => self.apex.accept(stream, port),
    rng,
    members: () => 5,
    setUpWaitMs: () => waitMs,
    clock,
  })
  pool.start()
  const echo = async (node: NodeId, bytes: number, isolation = '') => {
    const lease = await pool.take(node, { signal: never, isolation, bytes })
    try {
      const request = rng.bytes(bytes)
      const reply = parseHopReply(await lease.ask(storeCall(request), { signal: never }))
      assert.deepEqual(reply?.body, request)
      return lease.number
    } finally {
      pool.release(lease)
    }
  }
  return { sim, mesh, clock, pool, others, view, gone, self: self.id, echo, asked }
}

test('steady: standing loops of both phases reach all of a small network; they come and go on public times alone', async () => {
  const { sim, clock, pool, others, echo, asked } = await poolOn('standing', { count: 7 })
  assert.equal(pool.ready, 0)
  await clock.runUntil(() => pool.ready === 2, 60_000)
  assert.deepEqual(new Set(pool.open().flatMap(({ loop }) => loop.hops)), new Set(others))
  for (const node of others) await clock.runFor(echo(node, 100))
  const ends = new Set<number>()
  for (let minute = 0; minute < 11; minute++) {
    await clock.advance(60_000)
    for (const { loop, kind } of pool.open()) {
      assert.equal(kind, 'standing')
      ends.add(loop.plan.closeEpoch)
    }
    assert.ok(pool.ready >= 1, 'one phase runs while the other changes')
    assert.equal(pool.rate, 16)
  }
  assert.ok(new Set(asked.map((at) => Math.floor((4 * (at % EPOCH_MS)) / EPOCH_MS))).size > 1, 'set-ups leave at any time')
  assert.ok([...ends].every((epoch) => epoch % (ROUND_EPOCHS / 2) === 0) && ends.size >= 3)
  assert.equal(pool.noiseCells, 0)
  pool.close()
  await clock.advance(25 * 60_000)
  assert.ok(sim.mesh.nodes.every(({ relay }) => relay.relayed === 0 && relay.tableEntries === 0))
  await sim.close()
})

test('steady: what waits brings faster loops, one step an epoch; they serve it, for a few minutes', async () => {
  const { sim, clock, pool, others, echo, asked } = await poolOn('demand')
  await clock.runUntil(() => pool.ready === 2, 60_000)
  const before = asked.length
  const began = clock.monotonicMs()
  const work = Array.from({ length: 16 }, (_, at) => echo(others[at % others.length]!, 65_536))
  const used = await clock.runFor(Promise.all(work), 300_000)
  const took = clock.monotonicMs() - began
  assert.ok(took < 30_000, `${took} ms for 1 MiB`)
  assert.ok(new Set(used).size > 2)
  const steps = asked.slice(before)
  assert.ok(steps.length >= 1)
  assert.equal(pool.backlog.asks, 0)
  for (const { loop, kind } of pool.open()) {
    const lives = loop.plan.closeEpoch - loop.plan.liveEpoch
    assert.ok(kind === 'standing' || (lives * EPOCH_MS >= 60_000 && lives * EPOCH_MS <= 180_000))
  }
  pool.close()
  await sim.close()
})

test('fixed: always as many loops of one rate; what does not fit waits, and how long is said', async () => {
  const { sim, clock, pool, others, echo, asked } = await poolOn('fixed', { clock: 'fixed', fixedLoops: 3, fixedRate: 32 })
  await clock.runUntil(() => pool.ready === 3, 60_000)
  const began = asked.length
  const work = Array.from({ length: 30 }, (_, at) => echo(others[at % others.length]!, 65_536))
  await clock.advance(1_000)
  assert.ok(pool.backlog.asks > 20)
  assert.ok(pool.backlog.seconds > 5 && pool.backlog.seconds < 20, `${pool.backlog.seconds} s`)
  const startedAt = clock.monotonicMs()
  await clock.runFor(Promise.all(work), 300_000)
  assert.ok(clock.monotonicMs() - startedAt < 40_000)
  for (const { loop, kind } of pool.open()) assert.deepEqual([kind, loop.rate], ['standing', 32])
  assert.ok(asked.length - began <= 3)
  pool.close()
  await sim.close()
})

test('fixed: a name leaves loops to names that come later; who finds none left is told when the next ones come', async () => {
  const { sim, clock, pool, others, echo } = await poolOn('fixed names', {
    count: 7,
    clock: 'fixed',
    fixedLoops: 4,
    fixedRate: 32,
  })
  await clock.runUntil(() => pool.ready === 4, 60_000)
  const loopsOf = async (isolation: string) => {
    const work = Array.from({ length: 12 }, (_, at) => echo(others[at % others.length]!, 8_192, isolation))
    const settled = await clock.runFor(Promise.allSettled(work), 300_000)
    return new Set(settled.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : [])))
  }
  const first = await loopsOf('a')
  assert.equal(first.size, 3)
  const node = pool.open().find(({ loop }) => !first.has(loop.number))!.loop.hops[0]!
  assert.ok(!first.has(await clock.runFor(echo(node, 8_192, 'b'), 60_000)))
  await assert.rejects(
    echo(node, 100, 'c'),
    (error) => isOverlayError(error, 'LOOP_LIMIT') && / in [1-9]\d* s/.test(error.message),
  )
  await clock.runFor(echo(node, 100, 'b'), 60_000)
  pool.close()
  await sim.close()
})

test('names are kept apart: a loop is one’s who used it first, and another’s work waits for a loop of its own', async () => {
  const { sim, clock, pool, others, echo } = await poolOn('names')
  await clock.runUntil(() => pool.ready === 2, 60_000)
  const mine: number[] = []
  for (const node of others) mine.push(await clock.runFor(echo(node, 100, 'a')))
  const theirs: number[] = []
  for (const node of others.slice(0, 3)) theirs.push(await clock.runFor(echo(node, 100, 'b'), 120_000))
  assert.ok(theirs.every((loop) => !mine.includes(loop)))
  pool.close()
  await sim.close()
})

test('in a larger network each hop of a loop is asked once', async () => {
  const { sim, clock, pool, others, echo } = await poolOn('once', { size: 40 })
  await clock.runUntil(() => pool.ready === 2, 60_000)
  const asked = new Set<string>()
  for (let round = 0; round < 3; round++) {
    for (const node of others.slice(0, 3)) {
      const pair = `${await clock.runFor(echo(node, 100), 240_000)} ${node}`
      assert.ok(!asked.has(pair))
      asked.add(pair)
    }
  }
  // A place that nothing was asked by has told the hop nothing: it is given again.
  const unused = await clock.runFor(pool.take(others[3]!, { signal: never }), 240_000)
  pool.release(unused)
  const again = await pool.take(others[3]!, { signal: never })
  assert.equal(again.number, unused.number)
  pool.release(again)
  pool.close()
  await sim.close()
})

test('a loop that loses cells is replaced, and what it carried comes over another; leases of gone loops are given back', async () => {
  const { sim, mesh, clock, pool, others, echo } = await poolOn('noise')
  await clock.runUntil(() => pool.ready === 2, 60_000)
  const { loop } = pool.open()[0]!
  const member = loop.hops[1]!
  for (let stall = 0; stall < 4; stall++) {
    mesh.wires.stall(member, true)
    await clock.advance(800)
    mesh.wires.stall(member, false)
    await clock.advance(2_000)
  }
  assert.ok(loop.worn || !loop.open)
  await clock.runUntil(() => pool.ready >= 2 && !loop.open, 60_000)
  for (const node of others) await clock.runFor(echo(node, 500), 60_000)
  pool.close()
  await sim.close()
})

test('nobody waits for a node that has lost its links, and no loop is sought for it; another one may be asked in its place', async () => {
  const { sim, clock, pool, others, view, self, gone, asked, echo } = await poolOn('gone')
  const nothing = async () => ({ status: 'ok', body: new Uint8Array(0) }) as const
  const session = new ShareSessions({ self, view, pool, local: nothing, localRecords: nothing, clock }).fresh('three')
  const [node, other] = [others[0]!, others[1]!]
  const isGone = (error: unknown) => isOverlayError(error, 'LOOP_NO_PATH')
  await clock.runUntil(() => pool.ready === 2, 60_000)
  for (const each of others) await clock.runFor(echo(each, 100, 'one'), 60_000)
  // Both standing loops are the first name's: this waits for one of its own, and hears of it when its node goes.
  const waiting = pool.take(node, { signal: never, isolation: 'two' })
  waiting.catch(() => {})
  await clock.advance(100)
  assert.equal(pool.backlog.asks, 1)
  const before = asked.length
  for (const each of [node, ...others.slice(4)]) gone.add(each)
  await assert.rejects(clock.runFor(waiting, EPOCH_MS + 1_000), isGone)
  await assert.rejects(pool.take(node, { signal: never, isolation: 'two' }), isGone)
  await clock.runFor(session.ready(node, 100, { signal: never }), 200)
  const put = session.getShare(node, new Uint8Array(32), { signal: never })
  await assert.rejects(clock.runFor(put, 200), (error) => isOverlayError(error, 'STORE_UNREACHABLE'))
  await clock.advance(20_000)
  assert.equal(asked.length, before)
  await clock.runFor(echo(other, 100, 'two'), 120_000)
  session.close()
  pool.close()
  await sim.close()
})

test('who gives up waits no longer; nothing is left after close', async () => {
  const { sim, pool, others } = await poolOn('give up')
  const controller = new AbortController()
  const given = pool.take(others[0]!, { signal: controller.signal })
  const closed = pool.take(others[1]!, { signal: never })
  controller.abort(new Error('enough'))
  await assert.rejects(given, /enough/)
  assert.equal(pool.backlog.asks, 1)
  pool.close()
  await assert.rejects(closed, (error) => isOverlayError(error, 'CIRCUIT_ENDED'))
  await assert.rejects(pool.take(others[0]!, { signal: never }), (error) => isOverlayError(error, 'CIRCUIT_ENDED'))
  assert.equal(pool.backlog.asks, 0)
  await sim.close()
})

test('sessions: `ready` waits and keeps its place; an ask whose loop ends takes another; what was not used is given back', async () => {
  const { sim, clock, pool, others, view, self } = await poolOn('sessions')
  const nothing = async () => ({ status: 'ok', body: new Uint8Array(0) }) as const
  const sessions = new ShareSessions({ self, view, pool, local: nothing, localRecords: nothing, clock })
  const session = sessions.fresh()
  assert.ok(session instanceof ShareSession && session.patience !== undefined)
  const ready = session.ready(others[0]!, 65_536, { signal: never })
  await clock.runFor(ready, 60_000)
  assert.equal(pool.open().filter(({ taken }) => taken).length, 1)
  // The echo is no answer of a store: that it is malformed says that it came.
  const asked = session.getShare(others[0]!, new Uint8Array(32), { signal: never })
  await assert.rejects(clock.runFor(asked, 60_000), (error) => isOverlayError(error, 'STORE_UNREACHABLE'))
  await clock.runFor(session.ready(others[1]!, 100, { signal: never }), 60_000)
  session.close()
  assert.equal(pool.open().filter(({ taken }) => taken).length, 0)
  pool.close()
  await sim.close()
})

test('this node itself is asked over a loop, which takes as long as with others', async () => {
  const { sim, clock, pool, others, echo } = await poolOn('home')
  await clock.runUntil(() => pool.ready === 2, 60_000)
  const began = clock.monotonicMs()
  for (const node of others.slice(0, 5)) await clock.runFor(echo(node, 100))
  const elsewhere = (clock.monotonicMs() - began) / 5
  const times: number[] = []
  for (let at = 0; at < 5; at++) {
    const lease = await clock.runFor(pool.takeHome({ signal: never }), 60_000)
    const asked = clock.monotonicMs()
    const reply = parseHopReply(await clock.runFor(lease.ask(storeCall(Uint8Array.of(at + 1)), { signal: never })))
    assert.deepEqual(reply?.body, Uint8Array.of(at + 1))
    times.push(clock.monotonicMs() - asked)
    pool.release(lease)
  }
  const home = times.reduce((sum, ms) => sum + ms, 0) / 5
  assert.ok(home > 0.6 * elsewhere && home < 1.6 * elsewhere, `${home} ms at home, ${elsewhere} elsewhere`)
  pool.close()
  await sim.close()
})

test('steady: an exchange gets a loop that is fast and there for a while; its place is given back', async () => {
  const { sim, clock, pool, others } = await poolOn('exchange')
  await clock.runUntil(() => pool.ready === 2, 60_000)
  assert.equal(pool.reaches(others[0]!, { exchange: true }), false)
  assert.equal(pool.reaches(others[0]!, {}), true)
  const lease = await clock.runFor(pool.take(others[0]!, { signal: never, exchange: true }), 60_000)
  assert.ok(lease.loop.rate >= 512 && lease.closeAt - clock.monotonicMs() >= 45_000)
  assert.equal(pool.reaches(others[0]!, { exchange: true }), true)
  const again = await clock.runFor(pool.take(others[0]!, { signal: never, exchange: true }))
  assert.equal(again.loop, lease.loop, 'several over one loop')
  pool.release(again)
  pool.release(lease)
  assert.ok(!pool.open().some(({ taken }) => taken))
  pool.close()
  await sim.close()
})
