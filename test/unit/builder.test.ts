/** How swift loops are built (SPEC §4.4): paths beside late ones, never more of them than a few, and round those who are suspected. A port that brings nothing home. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { firstOf, Hedges } from '../../client/first-of.ts'
import { BUILD_TIMEOUT_MS, LoopBuilder } from '../../client/loops/builder.ts'
import type { OriginLoop } from '../../client/loops/origin-loop.ts'
import { LoopPool } from '../../client/loops/pool.ts'
import { type NodeId, nodeIdOf } from '../../src/bytes/index.ts'
import type { LaunchedLoop } from '../../src/circuit/index.ts'
import { OnionKeyRing } from '../../src/circuit/onion-keys.ts'
import { openCellCipher, sha256 } from '../../src/crypto/index.ts'
import type { Descriptor, DirectoryView } from '../../src/directory/index.ts'
import { isOverlayError } from '../../src/errors/index.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { seededRng } from '../support/seeded-rng.ts'

const never = new AbortController().signal

/** A builder in a network of twelve, whose set-ups are lost. */
async function lossy(seed: string) {
  const clock = new FakeClock()
  const rng = seededRng(seed)
  const onionKeys = new OnionKeyRing({ clock, rng })
  const ids = Array.from({ length: 12 }, () => nodeIdOf(rng.bytes(32)))
  const described = { onion: onionKeys.published } as Descriptor
  const view = { size: ids.length, get: () => described } as unknown as DirectoryView
  const seen = { launched: 0, pending: 0, most: 0, avoided: [] as ReadonlySet<NodeId>[] }
  const builder = new LoopBuilder({
    ...{ network: sha256(Uint8Array.of(1)), self: ids[0]!, onionKeys, clock, rng, cipher: await openCellCipher() },
    view,
    draw(_apex, avoid) {
      seen.avoided.push(avoid)
      const free = ids.slice(1).filter((id) => !avoid.has(id))
      return free.length < 5 ? null : { hops: free.slice(0, 5), apexIndex: 2 }
    },
    port: {
      launch() {
        seen.launched++
        seen.most = Math.max(seen.most, ++seen.pending)
        return { close: () => void seen.pending-- } as LaunchedLoop
      },
    },
  })
  return { builder, clock, ids, seen, close: () => onionKeys.close() }
}

const isLost = (error: unknown) => isOverlayError(error, 'LOOP_FAILED')

test('a set-up that is late gets company, and of all builds of a node two at most', async () => {
  const { builder, clock, seen, close } = await lossy('late')
  const builds = Array.from({ length: 10 }, () => builder.build(undefined, () => {}, { signal: never }))
  for (const build of builds) build.catch(() => {})
  await clock.advance(900)
  assert.equal(seen.launched, 10, 'none is late yet')
  await clock.advance(200)
  assert.equal(seen.launched, 12)
  await clock.advance(4 * BUILD_TIMEOUT_MS)
  assert.equal(seen.most, 12)
  for (const build of builds) await assert.rejects(build, isLost)
  assert.equal(seen.pending, 0)
  assert.equal(clock.pendingTimers, 0)
  close()
})

test('nobody waits: one path after the other', async () => {
  const { builder, clock, seen, close } = await lossy('patient')
  const build = builder.build(undefined, () => {}, { signal: never, patient: true })
  build.catch(() => {})
  await clock.advance(4 * BUILD_TIMEOUT_MS + 100)
  await assert.rejects(build, isLost)
  assert.deepEqual([seen.launched, seen.most], [4, 1])
  close()
})

test('a path is drawn round those who are suspected, then round the likeliest half of them, last round nobody', async () => {
  const { builder, clock, ids, seen, close } = await lossy('suspects')
  const build = builder.build(undefined, () => {}, { signal: never, patient: true })
  build.catch(() => {})
  await clock.advance(2 * BUILD_TIMEOUT_MS + 100)
  const sizes = seen.avoided.map((avoid) => avoid.size)
  // The first and the second path have ten members; one of eleven nodes is left, so the third goes round five, and two.
  assert.deepEqual(sizes.slice(0, 4), [0, 5, 10, 5])
  assert.ok(!seen.avoided.some((avoid) => avoid.has(ids[0]!)))
  await clock.advance(3 * BUILD_TIMEOUT_MS)
  await assert.rejects(build, isLost)
  close()
})

test('where most are suspected nobody is, and nothing goes beside what is late', async () => {
  const { builder, clock, ids, seen, close } = await lossy('vague')
  const [first, last] = [ids[1]!, ids[11]!]
  builder.evidence.missed([first], clock.monotonicMs(), clock.monotonicMs())
  assert.deepEqual([builder.isVague, builder.isSuspect(first), builder.isSuspect(last)], [false, true, false])
  builder.evidence.missed(ids.slice(1, 8), clock.monotonicMs(), clock.monotonicMs())
  assert.deepEqual([builder.isVague, builder.isSuspect(first)], [true, false])
  const build = builder.build(undefined, () => {}, { signal: never })
  build.catch(() => {})
  await clock.advance(BUILD_TIMEOUT_MS - 100)
  assert.equal(seen.launched, 1)
  await clock.advance(4 * BUILD_TIMEOUT_MS)
  await assert.rejects(build, isLost)
  close()
})

test('a ready loop with a suspect among its members is not given, unless that is the apex; another one is made', async () => {
  const clock = new FakeClock()
  const rng = seededRng('pool')
  const [self, a, b, c] = Array.from({ length: 4 }, () => nodeIdOf(rng.bytes(32))) as [NodeId, NodeId, NodeId, NodeId]
  const suspects = new Set<NodeId>()
  const made: NodeId[] = []
  const view = { size: 4, get: () => undefined, all: () => [{ id: a }], linked: () => [a, b, c] } as unknown as DirectoryView
  const build = async (apex: NodeId | undefined) => {
    made.push(apex!)
    return { number: made.length, apex, hops: [b, a, c], open: true, close() {} } as unknown as OriginLoop
  }
  const isSuspect = (node: NodeId) => suspects.has(node)
  const ownApex = () => assert.fail('not asked')
  const pool = new LoopPool({ builder: { build }, isSuspect, view, self, ownApex, members: () => 3, clock, rng })
  pool.start()
  await clock.advance(200)
  assert.deepEqual([made.length, pool.ready], [1, 1])
  suspects.add(a)
  assert.equal((await clock.runFor(pool.take(a, { signal: never }))).number, 1, 'it is who was asked for')
  assert.equal(pool.reaches(a), false)
  await clock.advance(2_000)
  suspects.add(b)
  assert.equal((await clock.runFor(pool.take(a, { signal: never }))).number, 3)
  pool.close()
})

test('attempts beside others share their places, and wait for one', async () => {
  const clock = new FakeClock()
  const hedges = new Hedges(1)
  const began: string[] = []
  const race = (name: string) =>
    firstOf([1, 2], {
      ...{ clock, hedges, signal: never, hedgeMs: 100, most: 450 },
      attempt: async (item, signal) => {
        began.push(`${name}${item} ${clock.monotonicMs()}`)
        await clock.sleep(item === 1 ? 10_000 : 250, { signal })
        return item
      },
      discard: () => {},
      failed: (errors) => errors[0],
    })
  const both = Promise.all([race('a'), race('b')])
  assert.deepEqual(await clock.runFor(both), [2, 2])
  assert.deepEqual(began, ['a1 0', 'b1 0', 'a2 100', 'b2 400'])
  assert.equal(hedges.pending, 0)
})
