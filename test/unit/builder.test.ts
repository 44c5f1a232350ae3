/** How swift loops are built (SPEC §4.4): paths beside late ones, never more of them than a few, and round those who are suspected. A port that brings nothing home. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { firstOf, Hedges } from '../../client/first-of.ts'
import { BUILD_TIMEOUT_MS, LoopBuilder } from '../../client/loops/builder.ts'
import { type NodeId, nodeIdOf } from '../../src/bytes/index.ts'
import type { LaunchedLoop } from '../../src/circuit/index.ts'
import { OnionKeyRing } from '../../src/circuit/onion-keys.ts'
import { openCellCipher, sha256 } from '../../src/crypto/index.ts'
import type { Descriptor } from '../../src/directory/index.ts'
import { Directory } from '../../src/directory/index.ts'
import { isOverlayError } from '../../src/errors/index.ts'
import { TEST_RULES } from '../support/directory.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { seededRng } from '../support/seeded-rng.ts'

const never = new AbortController().signal

/** A builder in a network of twelve, whose set-ups are lost. */
async function lossy(seed: string) {
  const clock = new FakeClock()
  const rng = seededRng(seed)
  const onionKeys = new OnionKeyRing({ clock, rng })
  const ids = Array.from({ length: 12 }, () => nodeIdOf(rng.bytes(32)))
  const view = new Directory({ rules: TEST_RULES, clock, self: ids[0]! })
  const described = { onion: onionKeys.published } as Descriptor
  const known: Pick<Directory, 'get'> = { get: () => described }
  const seen = { launched: 0, pending: 0, most: 0, avoided: [] as ReadonlySet<NodeId>[] }
  const builder = new LoopBuilder({
    ...{ network: sha256(Uint8Array.of(1)), self: ids[0]!, onionKeys, clock, rng, cipher: await openCellCipher() },
    view: Object.assign(Object.create(view), known),
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
