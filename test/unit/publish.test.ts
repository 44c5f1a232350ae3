/** Publishing: every length, flaky and missing holders, bounded memory, clean failure. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { publishFile } from '../../client/publish.ts'
import { parseAddress } from '../../src/content/address.ts'
import { SHARE_BYTES } from '../../src/content/constants.ts'
import { keepsPromise } from '../../src/content/spread.ts'
import { isOverlayError, OverlayError } from '../../src/errors/index.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { FakeShareNetwork, never, stillClock, streamOf } from '../support/fake-share-network.ts'
import { Held } from '../support/held.ts'
import { seededRng } from '../support/seeded-rng.ts'

const partsOf = (seed: number) => ({ rng: seededRng(seed), clock: stillClock })

test('a publication says what it is: address, bytes, shares, holders; equal contents are different publications', async () => {
  const network = new FakeShareNetwork(8)
  const body = seededRng(1).bytes(100_000)
  const seen: number[] = []
  const first = await publishFile(network, streamOf(body), { signal: never, onProgress: (bytes) => seen.push(bytes) }, partsOf(1))
  const second = await publishFile(network, streamOf(body), { signal: never }, partsOf(2))
  assert.ok(parseAddress(first.address) !== null)
  assert.notEqual(first.address, second.address)
  // 2 blocks in 6 shares, and 5 root slots.
  assert.deepEqual([first.bytes, first.shares, first.holders], [100_000, 11, 7])
  assert.equal(seen.at(-1), 100_000)
  assert.ok(seen.every((bytes, at) => bytes <= 100_000 && bytes >= (seen[at - 1] ?? 0)))
  for (const node of network.nodes) for (const share of node.shares.values()) assert.equal(share.length, SHARE_BYTES)
})

test('shares and slots are spread evenly, the publisher among the holders', async () => {
  const network = new FakeShareNetwork(8)
  await publishFile(network, streamOf(seededRng(2).bytes(640_000)), { signal: never }, partsOf(3))
  const counts = network.nodes.map((node) => node.shares.size)
  assert.deepEqual([...counts].sort(), [3, 3, 4, 4, 4, 4, 4, 4])
  assert.ok(network.node(network.self).shares.size >= 3)
  assert.deepEqual(network.nodes.map((node) => node.slots.size).sort(), [0, 0, 0, 1, 1, 1, 1, 1])
})

test('a long body is passed on and not kept', async () => {
  const held = new Held()
  let alive = 0
  const body = async function* () {
    for (let at = 0; at < 100; at++) yield held.watch(new Uint8Array(20_000))
    alive = await held.count()
  }
  await publishFile(new FakeShareNetwork(8), body(), { signal: never }, partsOf(4))
  assert.ok(alive < 20, `${alive} of 100 chunks are still held`)
})

test('no two publications of one content share a byte of store, and no share shows its plaintext', async () => {
  const network = new FakeShareNetwork(8)
  const body = new Uint8Array(200_000)
  for (const seed of [1, 2]) await publishFile(network, streamOf(body), { signal: never }, partsOf(seed))
  const shares = network.nodes.flatMap((node) => [...node.shares.values()])
  // 4 blocks of zeros (padded) in 12 shares, twice: all different.
  assert.equal(new Set(shares.map((share) => Buffer.from(share).toString('base64'))).size, 24)
})

test('flaky holders cost tries, not the publication', async () => {
  let fails = 0
  const network = new FakeShareNetwork(8, 1, {
    onPut: (_, count) => {
      if (count % 4 !== 0) return
      fails++
      throw new OverlayError('unreachable', 'STORE_UNREACHABLE', 'flaky')
    },
  })
  const done = await publishFile(network, streamOf(seededRng(3).bytes(3_000_000)), { signal: never }, partsOf(4))
  assert.ok(fails > 20)
  assert.equal(done.shares, network.puts - fails)
})

test('one or two holders that are dead or full are replaced; too many fail the publication, and no address comes out', async () => {
  for (const state of ['dead', 'full'] as const) {
    for (const away of [1, 2]) {
      const network = new FakeShareNetwork(8, away)
      for (const node of network.nodes.slice(1, 1 + away)) node.state = state
      const done = await publishFile(network, streamOf(seededRng(5).bytes(1_500_000)), { signal: never }, partsOf(5))
      assert.equal(done.holders, 8 - away)
      // Known to be gone after the first failures: it is not asked for every share again.
      assert.ok(network.nodes[1]!.asked <= 24)
    }
    const network = new FakeShareNetwork(8, 9)
    for (const node of network.nodes.slice(0, 5)) node.state = state
    await assert.rejects(publishFile(network, streamOf(new Uint8Array(9)), { signal: never }, partsOf(6)), (error) =>
      isOverlayError(error, 'PUBLISH_FAILED'),
    )
    assert.equal(network.nodes.flatMap((node) => [...node.slots.values()]).length, 0)
    assert.equal(network.underWay, 0)
  }
})

test('holders that are down for a while are used again, and shares that moved keep the promise', async () => {
  const network = new FakeShareNetwork(8, 3, {
    onPut: (node, count) => {
      if (node.id === network.nodes[1]!.id && count < 20) throw new OverlayError('timeout', 'TIMEOUT', 'slow')
    },
  })
  await publishFile(network, streamOf(seededRng(5).bytes(600_000)), { signal: never }, partsOf(5))
  const counts = network.nodes.map((node) => node.shares.size)
  assert.equal(
    counts.reduce((sum, count) => sum + count),
    30,
  )
  assert.ok(keepsPromise(counts, 8, 10))
})

test('holders that are back when all is sent are given what would have been theirs: an uneven spread is mended, not failed', async () => {
  const clock = new FakeClock()
  const began = clock.monotonicMs()
  const network = new FakeShareNetwork(8, 3, {
    clock,
    onPut: ({ id }) => {
      const isAway = network.nodes.slice(1, 4).some((node) => node.id === id) && clock.monotonicMs() - began < 30_000
      if (isAway) throw new OverlayError('unreachable', 'STORE_UNREACHABLE', 'away')
    },
  })
  for (const [at, node] of network.nodes.entries()) node.delayMs = at >= 1 && at < 4 ? 1_000 : 40_000
  clock.setTimer(41_000, () => {
    for (const node of network.nodes) node.delayMs = 1_000
  })
  const publishing = publishFile(network, streamOf(seededRng(5).bytes(600_000)), { signal: never }, { rng: seededRng(5), clock })
  await clock.runFor(publishing, 600_000)
  assert.ok(
    keepsPromise(
      network.nodes.map((node) => node.shares.size),
      8,
      10,
    ),
  )
})

test('too few can be reached at first, as where a small network has only begun: they are tried again after a while', async () => {
  for (const awayMs of [3_000, 60_000]) {
    const clock = new FakeClock()
    const began = clock.monotonicMs()
    const network = new FakeShareNetwork(4, 1, {
      clock,
      onPut: ({ id }) => {
        const isAway = network.nodes.slice(1, 3).some((node) => node.id === id) && clock.monotonicMs() - began < awayMs
        if (isAway) throw new OverlayError('unreachable', 'LOOP_NO_PATH', 'away')
      },
    })
    const publishing = publishFile(network, streamOf(new Uint8Array(5)), { signal: never }, { rng: seededRng(5), clock })
    const outcome = await clock.runFor(
      publishing.catch((error: unknown) => error),
      60_000,
    )
    if (awayMs < 10_000) {
      assert.ok(network.nodes.every((node) => node.shares.size >= 1))
    } else assert.ok(isOverlayError(outcome, 'PUBLISH_FAILED'))
  }
})

/**
 * A publication where holders but for this node and `near` fail after a time, and the near ones as well when they took `takes` things: how it ended,
 * how long it took (ms), and how often such a holder was asked.
 */
async function failing(
  near: number,
  cause: 'LOOP_FAILED' | 'TIMEOUT',
  afterMs: (index: number) => number,
  { takes = Number.POSITIVE_INFINITY, seed = 6 } = {},
) {
  const clock = new FakeClock()
  const network = new FakeShareNetwork(7, 1)
  const took = new Map<number, number>()
  let asks = 0
  network.putShare = async (node) => {
    const index = network.nodes.findIndex(({ id }) => id === node)
    const before = took.get(index) ?? 0
    took.set(index, before + 1)
    if (index === 0 || (index <= near && before < takes)) return
    asks++
    await clock.sleep(afterMs(index), { signal: never })
    throw new OverlayError('unreachable', 'STORE_UNREACHABLE', 'away', new OverlayError('unreachable', cause, 'away'))
  }
  const beganMs = clock.monotonicMs()
  const publishing = publishFile(network, streamOf(new Uint8Array(9)), { signal: never }, { rng: seededRng(seed), clock })
  const outcome = await clock.runFor(
    publishing.catch((error: unknown) => error),
    300_000,
  )
  return { outcome, asks, tookMs: clock.monotonicMs() - beganMs }
}

test('where nobody can be reached a publication fails after every holder was tried once, however long each takes to fail', async () => {
  // The first is given up so early that it would not be suspect any more when the last is.
  const { outcome, asks, tookMs } = await failing(0, 'TIMEOUT', (index) => 10_000 + 6_000 * index)
  assert.ok(isOverlayError(outcome, 'PUBLISH_FAILED'), String(outcome))
  // Two shares may be at the same holder at once.
  assert.ok(asks <= 9, `${asks} asks`)
  assert.ok(tookMs < 200_000, `${tookMs} ms`)
})

test('too few can be reached, and nothing from the others comes home in time: they are tried twice, not three times', async () => {
  // Asks that fail are made once more over another loop; rounds get longer than a failed holder is suspect.
  for (const cause of ['LOOP_FAILED', 'TIMEOUT'] as const) {
    const { outcome, tookMs } = await failing(1, cause, () => 12_000)
    assert.ok(isOverlayError(outcome, 'PUBLISH_FAILED'), String(outcome))
    assert.ok(tookMs > 20_000 && tookMs < 90_000, `${cause}: ${tookMs} ms`)
  }
})

test('those that took something at first, over loops that were there, fail like the others: it ends soon after', async () => {
  // As under a wrong date: no new loop comes home. Each holder used to be waited for again for every part, three minutes in all.
  for (const near of [1, 2, 3, 4, 5]) {
    for (const seed of [1, 2, 3, 4, 5]) {
      const { outcome, tookMs } = await failing(near, 'LOOP_FAILED', () => 12_000, { takes: 1, seed })
      assert.ok(isOverlayError(outcome, 'PUBLISH_FAILED'), String(outcome))
      assert.ok(tookMs < 80_000, `${near} near, seed ${seed}: ${tookMs} ms`)
    }
  }
})

test('small networks: 4 nodes do, 3 do not', async () => {
  const four = new FakeShareNetwork(4)
  assert.equal((await publishFile(four, streamOf(new Uint8Array(5)), { signal: never }, partsOf(7))).shares, 8)
  const three = new FakeShareNetwork(3)
  await assert.rejects(publishFile(three, streamOf(new Uint8Array(5)), { signal: never }, partsOf(7)), (error) =>
    isOverlayError(error, 'NETWORK_TOO_SMALL'),
  )
})

test('names and types that cannot be kept are refused before anything is read', async () => {
  const network = new FakeShareNetwork(8)
  for (const options of [{ name: 'a\nb' }, { name: 'x'.repeat(256) }, { contentType: 'text/plain\r\n' }, { contentType: '' }]) {
    const published = publishFile(network, streamOf(new Uint8Array(5)), { ...options, signal: never }, partsOf(8))
    await assert.rejects(published, (error) => isOverlayError(error, 'CONFIG_BAD'))
  }
  assert.equal(network.puts, 0)
})

test("the body's own error, a bug in the network and an abort come through as they are, and leave nothing under way", async () => {
  const network = new FakeShareNetwork(8)
  const wrong = new Error('disk')
  async function* broken(): AsyncGenerator<Uint8Array> {
    yield seededRng(1).bytes(2_000_000)
    throw wrong
  }
  await assert.rejects(publishFile(network, broken(), { signal: never }, partsOf(9)), (error) => error === wrong)
  assert.equal(network.underWay, 0)

  const bug = new TypeError('bug')
  const buggy = new FakeShareNetwork(8, 1, {
    onPut: () => {
      throw bug
    },
  })
  await assert.rejects(publishFile(buggy, streamOf(new Uint8Array(9)), { signal: never }, partsOf(9)), (error) => error === bug)

  const controller = new AbortController()
  const reason = new Error('enough')
  const stuck = new FakeShareNetwork(8, 1, { onPut: (_, count) => void (count > 50 && controller.abort(reason)) })
  const aborted = publishFile(stuck, streamOf(seededRng(1).bytes(5_000_000)), { signal: controller.signal }, partsOf(9))
  await assert.rejects(aborted, (error) => error === reason)
  assert.equal(stuck.underWay, 0)
  await assert.rejects(
    publishFile(stuck, streamOf(new Uint8Array(9)), { signal: controller.signal }, partsOf(9)),
    (error) => error === reason,
  )
})

test('an abort ends a publication whose body hangs', async () => {
  const controller = new AbortController()
  const reason = new Error('enough')
  let returned = false
  const body: AsyncIterable<Uint8Array> = {
    [Symbol.asyncIterator]: () => ({
      next: () => new Promise(() => {}),
      return: () => {
        returned = true
        return new Promise(() => {})
      },
    }),
  }
  const published = publishFile(new FakeShareNetwork(8), body, { signal: controller.signal }, partsOf(1))
  setImmediate(() => controller.abort(reason))
  await assert.rejects(published, (error) => error === reason)
  assert.ok(returned)
})

test('memory stays bounded: 200 MiB through at most 24 puts and about 6 segments of buffers', async () => {
  let peak = 0
  const network = new FakeShareNetwork(8, 1, {
    forget: true,
    onPut: (_, count) => {
      if (count % 64 === 0) peak = Math.max(peak, process.memoryUsage().arrayBuffers)
    },
  })
  const chunk = seededRng(1).bytes(1 << 20)
  async function* long(): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < 200; at++) yield chunk
  }
  const before = process.memoryUsage().arrayBuffers
  const done = await publishFile(network, long(), { signal: never }, { ...partsOf(1), sample: 0 })
  assert.equal(done.bytes, 200 << 20)
  assert.ok(network.underWayPeak <= 24)
  // Buffers: 3 segments under way, one being written at each of 2 levels, and what the collector has not taken yet.
  assert.ok(peak - before < 96 << 20, `${(peak - before) >> 20} MiB`)
})
