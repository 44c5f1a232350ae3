/**
 * Traces through the real work of a fetch: whatever made it slow or fail is named, and the loops of two isolation users differ. What the
 * stages are: `client/trace/index.ts`.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openFile } from '../../client/fetch.ts'
import type { OriginLoop } from '../../client/loops/origin-loop.ts'
import type { LoopPool } from '../../client/loops/pool.ts'
import { workName } from '../../client/open-files.ts'
import { publishFile } from '../../client/publish.ts'
import { ShareSessions } from '../../client/shares.ts'
import { type TraceReport, Traces } from '../../client/trace/index.ts'
import type { NodeId } from '../../src/bytes/index.ts'
import type { DirectoryView } from '../../src/directory/index.ts'
import { isOverlayError, OverlayError } from '../../src/errors/index.ts'
import type { Clock } from '../../src/runtime/index.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { collect, FakeShareNetwork, never, stillClock, streamOf } from '../support/fake-share-network.ts'
import { seededRng } from '../support/seeded-rng.ts'

async function published(nodes: number, size: number, clock: Clock) {
  const network = new FakeShareNetwork(nodes, 5, { clock })
  const rng = seededRng(5)
  const { address } = await publishFile(network, streamOf(rng.bytes(size)), { signal: never }, { rng, clock: stillClock })
  return { network, address }
}

/** Fetches all of it with a trace; `how` it went and the trace's report. */
async function traced(network: FakeShareNetwork, address: string, clock: Clock): Promise<{ how: string; report: TraceReport }> {
  const traces = new Traces({ clock, rng: seededRng(9) })
  const trace = traces.begin()
  const asking = { signal: never, trace }
  const work = async () => {
    const file = await openFile(network, address, { rng: seededRng(7), clock }, asking)
    await collect(file.read({ start: 0, end: file.bytes }, asking))
  }
  const how = await work().then(
    () => 'done',
    (error: unknown) => (isOverlayError(error) ? error.code : String(error)),
  )
  trace.end(how === 'done' ? null : how)
  return { how, report: traces.report(trace.id)! }
}

const names = ({ stages }: TraceReport) => new Set(stages.map(({ stage }) => stage))

test('a fetch that goes well names its stages, and nothing that failed', async () => {
  const { network, address } = await published(8, 16_000_000, stillClock)
  const { how, report } = await traced(network, address, stillClock)
  assert.equal(how, 'done')
  for (const stage of ['directory', 'root', 'share', 'index']) assert.ok(names(report).has(stage), stage)
  assert.deepEqual([report.state, report.failures.length, report.dropped], ['done', 0, 0])
  assert.match(report.stages[0]?.note ?? '', /8 nodes are known/)
})

test('slow holders of the root: the slowest stage is the root, and late holders are noted', async () => {
  const clock = new FakeClock()
  const { network, address } = await published(8, 1_000, clock)
  for (const node of network.nodes) node.delayMs = 4_000
  const traces = new Traces({ clock, rng: seededRng(1) })
  const trace = traces.begin()
  const opening = openFile(network, address, { rng: seededRng(7), clock }, { signal: never, trace })
  await clock.advance(60_000)
  await opening
  const report = traces.report(trace.id)!
  assert.equal(report.slowest, 'root')
  assert.ok(names(report).has('late'))
})

test('a slow holder of a share: the slowest stage is the share', async () => {
  const clock = new FakeClock()
  const { network, address } = await published(8, 1_000, clock)
  const trace = new Traces({ clock, rng: seededRng(1) })
  const begun = trace.begin()
  const opening = openFile(network, address, { rng: seededRng(7), clock }, { signal: never, trace: begun })
  await clock.settle()
  const file = await opening
  for (const node of network.nodes) node.delayMs = 900
  const reading = collect(file.read({ start: 0, end: file.bytes }, { signal: never, trace: begun }))
  await clock.advance(20_000)
  await reading
  begun.end(null)
  assert.equal(trace.report(begun.id)?.slowest, 'share')
})

test('holders that lie, are dead, or have nothing: each failure says so', async () => {
  for (const [state, code, stage, note] of [
    ['dead', 'CONTENT_NOT_FOUND', 'root', /no answer \(STORE_UNREACHABLE\)|No holder/],
    ['lie', 'CONTENT_DAMAGED', 'retry', /wrong bytes/],
  ] as const) {
    const clock = new FakeClock()
    const { network, address } = await published(6, 200_000, clock)
    for (const node of network.nodes) {
      if (state === 'dead') node.state = 'dead'
      else node.lie = (_, right) => (right === null ? null : right.map((byte) => byte ^ 1))
    }
    const { how, report } = await clock.runFor(traced(network, address, clock), 60_000)
    assert.equal(how, code)
    assert.equal(report.state, 'failed')
    const failed = report.failures.at(-1)
    assert.equal(failed?.stage, stage)
    assert.match(failed?.note ?? '', note)
  }
})

test('an empty directory fails at its stage', async () => {
  const { network, address } = await published(6, 1, stillClock)
  for (const node of network.nodes) node.state = 'gone'
  const { how, report } = await traced(network, address, stillClock)
  assert.equal(how, 'NETWORK_TOO_SMALL')
  assert.equal(report.failures.at(-1)?.stage, 'directory')
})

/** Sessions over a pool whose loops have numbers and never answer rightly. */
function sessionsOver(take: () => Promise<OriginLoop>) {
  const view = { size: 30, version: 1, get: () => undefined, all: () => [], linked: () => [] } as DirectoryView
  const pool = { take, release: () => {} } as unknown as LoopPool
  const local = async () => ({ status: 'ok', body: new Uint8Array(0) }) as const
  return new ShareSessions({ self: '00'.repeat(32) as NodeId, view, pool, local, localRecords: local, clock: new FakeClock() })
}

test('work under two isolation names takes two sessions, and its traces name different loops', async () => {
  let number = 0
  const loop = () => ({ number: ++number, ask: async () => new Uint8Array(0) }) as unknown as OriginLoop
  const sessions = sessionsOver(async () => loop())
  assert.notEqual(sessions.named(workName('a', 'one')), sessions.named(workName('a', 'two')))
  assert.equal(sessions.named(workName('a', 'one')), sessions.named(workName('a', 'one')))
  assert.notEqual(workName('a', 'b c'), workName('a b', 'c'))
  const traces = new Traces({ clock: stillClock, rng: seededRng(3) })
  const used: (number | null)[] = []
  for (const user of ['one', 'two']) {
    const trace = traces.begin()
    const session = sessions.named(workName('a', user))
    const asked = session.getShare('11'.repeat(32) as NodeId, new Uint8Array(32), { signal: never, trace })
    await asked.catch(() => {}) // the loop's answer is malformed
    used.push(
      ...traces
        .report(trace.id)!
        .stages.filter(({ stage }) => stage === 'loop')
        .map(({ loop }) => loop),
    )
  }
  assert.deepEqual(used, [1, 2])
})

test('a loop that cannot be built is a failed stage with its cause', async () => {
  const sessions = sessionsOver(async () => {
    throw new OverlayError('unreachable', 'LOOP_NO_PATH', 'The links form no loop.')
  })
  const traces = new Traces({ clock: stillClock, rng: seededRng(3) })
  const trace = traces.begin()
  const asked = sessions.fresh().getShare('11'.repeat(32) as NodeId, new Uint8Array(32), { signal: never, trace })
  await assert.rejects(asked, (error) => isOverlayError(error, 'STORE_UNREACHABLE'))
  const failed = traces.report(trace.id)!.failures.at(-1)
  assert.deepEqual([failed?.stage, failed?.note], ['loop', 'The links form no loop.'])
})
