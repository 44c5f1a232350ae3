/** Receipts at publication: what they say, what they cost, and that stores which confirm and do not keep, or do not serve, are found out. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { openFile } from '../../client/fetch.ts'
import { Expectations } from '../../client/publish/expectations.ts'
import { publishFile } from '../../client/publish.ts'
import { equalPublic, type NodeId } from '../../src/bytes/index.ts'
import { shareProof } from '../../src/content/proof.ts'
import { shareAddress } from '../../src/content/share.ts'
import { survivedLosses } from '../../src/content/spread.ts'
import { isOverlayError } from '../../src/errors/index.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { collect, type FakeNode, FakeShareNetwork, never, stillClock, streamOf } from '../support/fake-share-network.ts'
import { seededRng } from '../support/seeded-rng.ts'

const partsOf = (seed: number) => ({ rng: seededRng(seed), clock: stillClock })

async function published(network: FakeShareNetwork, bytes: number, seed = 1) {
  const body = seededRng(bytes).bytes(bytes)
  const done = await publishFile(network, streamOf(body), { signal: never }, partsOf(seed))
  const isWhole = async () => {
    const clock = new FakeClock() // who says nothing is asked again for a while
    const reading = async () => {
      const file = await openFile(network, done.address, { ...partsOf(9), clock }, { signal: never })
      return equalPublic(await collect(file.read({ start: 0, end: file.bytes }, { signal: never })), body)
    }
    return clock.runFor(reading(), 600_000)
  }
  return { done, isWhole }
}

/** The number of nodes that may vanish, counted from what the nodes really hold: each subset of them is tried. */
async function reallySurvives(network: FakeShareNetwork, isWhole: () => Promise<boolean>, losses: number): Promise<boolean> {
  const subsets = (from: number, count: number): number[][] =>
    count === 0
      ? [[]]
      : network.nodes.slice(from).flatMap((_, at) => subsets(from + at + 1, count - 1).map((rest) => [from + at, ...rest]))
  for (const gone of subsets(0, losses)) {
    for (const at of gone) network.nodes[at]!.state = 'dead'
    const whole = await isWhole().catch(() => false)
    for (const at of gone) network.nodes[at]!.state = 'up'
    if (!whole) return false
  }
  return true
}

test('the receipt is exact: any so many nodes may vanish, and not one more', async () => {
  for (const [nodes, bytes] of [
    [4, 100_000],
    [5, 700_000],
    [6, 10],
    [8, 250_000],
  ] as const) {
    const network = new FakeShareNetwork(nodes, `${nodes} ${bytes}`)
    const { done, isWhole } = await published(network, bytes)
    const { survives, of, checked, parts, missing, at } = done.receipt
    assert.deepEqual([checked, missing], [parts, 0])
    assert.equal(parts, done.shares)
    assert.equal(of, done.holders)
    assert.ok(survives >= Math.floor(nodes / 2) && at > 0)
    assert.ok(await reallySurvives(network, isWhole, survives))
    assert.equal(await reallySurvives(network, isWhole, survives + 1), false)
  }
})

test('it costs one check for each share, eight shares read back, and no second put', async () => {
  const network = new FakeShareNetwork(8)
  const { done } = await published(network, 2_000_000)
  assert.equal(network.puts, done.shares)
  assert.equal(network.checks, done.shares)
  assert.equal(network.gets, 8)
})

test('the holders are asked over loops of their own, which are closed afterwards', async () => {
  const network = new FakeShareNetwork(8)
  let opened = 0
  let closed = 0
  const fresh = () => {
    opened++
    return Object.assign(new FakeShareNetwork(8), {
      checkShare: network.checkShare.bind(network),
      checkSlot: network.checkSlot.bind(network),
      getShare: network.getShare.bind(network),
      putShare: () => assert.fail('nothing is put over these'),
      close: () => void closed++,
    })
  }
  await publishFile(network, streamOf(new Uint8Array(70_000)), { signal: never }, { ...partsOf(1), fresh })
  assert.deepEqual([opened, closed], [1, 1])
  const failing = publishFile(
    network,
    streamOf(new Uint8Array(5)),
    { signal: AbortSignal.abort(new Error('x')) },
    { ...partsOf(1), fresh },
  )
  await assert.rejects(failing)
  assert.equal(opened, closed)
})

const LIES: Readonly<Record<string, (node: FakeNode) => void>> = {
  'confirms and keeps nothing': (node) => {
    node.forgets = true
  },
  'confirms, keeps nothing and invents proofs': (node) => {
    node.forgets = true
    node.proofLie = () => seededRng(3).bytes(32)
  },
  'proves and does not serve': (node) => {
    node.lie = () => null
  },
  'proves and serves other bytes': (node) => {
    node.lie = (_, right) => right?.map((byte) => byte ^ 1) ?? null
  },
}
for (const [lie, make] of Object.entries(LIES)) {
  test(`a store that ${lie} counts for nothing, and its shares go to others`, async () => {
    let found = 0
    for (let seed = 1; seed <= 6; seed++) {
      const network = new FakeShareNetwork(8, seed)
      const liar = network.nodes[seed]!
      make(liar)
      const { done, isWhole } = await published(network, 640_000, seed)
      // Who keeps nothing is always found. Who keeps and does not serve, if one of the shares read back was his.
      if (done.receipt.of === 7) found++
      if (liar.forgets) assert.equal(done.receipt.of, 7)
      assert.ok(done.receipt.survives >= 3)
      if (done.receipt.of < 7) continue
      for (const node of network.nodes.filter(({ id }) => id !== liar.id).slice(0, done.receipt.of === 7 ? 3 : 2))
        node.state = 'dead'
      assert.ok(await isWhole())
    }
    assert.ok(found >= 3, `found ${found} of 6`)
  })
}

test('three of eight stores that keep nothing: published all the same, and it survives two of the others', async () => {
  const network = new FakeShareNetwork(8, 5)
  for (const node of network.nodes.slice(1, 4)) node.forgets = true
  const { done, isWhole } = await published(network, 1_300_000)
  assert.equal(done.receipt.of, 5)
  assert.ok(done.receipt.survives >= 2)
  for (const node of network.nodes.slice(4, 6)) node.state = 'dead'
  assert.ok(await isWhole())
})

test('when nearly nobody keeps anything the publication fails, and no address comes out', async () => {
  const network = new FakeShareNetwork(8, 6)
  for (const node of network.nodes.slice(1)) node.forgets = true
  await assert.rejects(published(network, 640_000), (error) => isOverlayError(error, 'PUBLISH_FAILED'))
  assert.equal(network.nodes.flatMap((node) => [...node.slots.values()]).length, 0)
})

test('a holder that dies between put and check is made up for', async () => {
  const network = new FakeShareNetwork(8, 7)
  const dying = network.nodes[3]!
  const check = network.checkShare.bind(network)
  network.checkShare = (...args) => {
    dying.state = 'dead'
    return check(...args)
  }
  const { done, isWhole } = await published(network, 640_000)
  assert.equal(done.receipt.of, 7)
  assert.ok(done.receipt.survives >= 3)
  for (const node of network.nodes.slice(4, 7)) node.state = 'dead'
  assert.ok(await isWhole())
})

test('of large content a sample is asked for, every index segment with it', async () => {
  const network = new FakeShareNetwork(8, 8)
  const { done } = await published(network, 60_000_000)
  const { checked, parts } = done.receipt
  // 92 segments of level 0, one of level 1 with 30 shares at most.
  assert.ok(parts > 2700 && checked < parts)
  assert.ok(checked >= 64 * 27 && checked <= 65 * 30 + 5)
})

test('every segment has the same chance to be in the sample, and what is kept of it is bounded', async () => {
  const counts = new Array<number>(20).fill(0)
  const node = 'aa'.repeat(32) as NodeId
  for (let seed = 0; seed < 400; seed++) {
    const expectations = new Expectations(5, { clock: stillClock, rng: seededRng(seed) })
    for (let at = 0; at < 20; at++) {
      const share = new Uint8Array(1).fill(at)
      await expectations.note({ level: 0, k: 1, shares: [share], addresses: [new Uint8Array(32).fill(at)] }, [node])
    }
    const drawn = expectations.segments()
    assert.equal(drawn.length, 5)
    for (const { shares } of drawn) counts[shares[0]!.address[0]!]!++
  }
  for (const count of counts) assert.ok(count > 60 && count < 140, String(counts))
})

test('what is expected is what an honest store proves, each share with a nonce of its own', async () => {
  const rng = seededRng(1)
  const shares = Array.from({ length: 20 }, () => rng.bytes(65_536))
  const addresses = shares.map(shareAddress)
  const nodes = shares.map((_, at) => (at === 3 ? null : (`${at % 8}${'0'.repeat(63)}` as NodeId)))
  const expectations = new Expectations(4, { clock: stillClock, rng })
  await expectations.note({ level: 0, k: 7, shares, addresses }, nodes)
  const [segment] = expectations.segments()
  assert.equal(segment!.shares.length, 19)
  assert.equal(new Set(segment!.shares.map(({ nonce }) => String(nonce))).size, 19)
  for (const { address, nonce, proof } of segment!.shares) {
    const share = shares[addresses.findIndex((one) => equalPublic(one, address))]!
    assert.deepEqual(proof, shareProof(nonce, share))
  }
  assert.equal(expectations.weakest, survivedLosses([3, 3, 3, 2, 2, 2, 2, 2], 7))
  assert.equal(expectations.parts, 20)
})

test('the weakest segment decides', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(fc.nat(7), { minLength: 4, maxLength: 12 }), { minLength: 1, maxLength: 6 }),
      async (segments) => {
        const expectations = new Expectations(0, { clock: stillClock, rng: seededRng(1) })
        const each: number[] = []
        for (const places of segments) {
          const held = places.map((place) => `${place}${'0'.repeat(63)}` as NodeId)
          const share = new Uint8Array(1)
          await expectations.note({ level: 0, k: 3, shares: held.map(() => share), addresses: [] }, held)
          const counts = Array.from({ length: 8 }, (_, place) => places.filter((one) => one === place).length)
          each.push(survivedLosses(counts, 3))
        }
        assert.equal(expectations.weakest, Math.min(...each))
      },
    ),
    { seed: 2 },
  )
})

test('stores that fall silent at the end cost time, not the publication', async () => {
  const clock = new FakeClock()
  const network = new FakeShareNetwork(8, 10, { clock })
  const check = network.checkShare.bind(network)
  network.checkShare = (...args) => {
    network.nodes[5]!.state = 'silent'
    return check(...args)
  }
  const parts = { rng: seededRng(1), clock }
  const done = await clock.runFor(publishFile(network, streamOf(new Uint8Array(300_000)), { signal: never }, parts), 300_000)
  assert.equal(done.receipt.of, 7)
  assert.equal(network.underWay, 0)
})

test('who falls silent at the end is waited for once, whatever is asked of it', async () => {
  const clock = new FakeClock()
  const network = new FakeShareNetwork(8, 11, { clock })
  const check = network.checkShare.bind(network)
  network.checkShare = (...args) => {
    for (const at of [2, 5]) network.nodes[at]!.state = 'silent'
    return check(...args)
  }
  const parts = { rng: seededRng(2), clock }
  const done = await clock.runFor(publishFile(network, streamOf(new Uint8Array(2_000_000)), { signal: never }, parts), 300_000)
  assert.equal(done.receipt.of, 6)
  assert.equal(network.underWay, 0)
  // Three tries of 6 s with their pauses, and what reading the rest back takes.
  const tookMs = clock.monotonicMs()
  assert.ok(tookMs < 35_000, `took ${tookMs} ms`)
})
