/** Passes over publications: what is missing is put back, what is there is renewed, and who claims what he does not have counts for nothing. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { BlockSource, FileMap } from '../../client/fetch/block-source.ts'
import { findSealedRoot } from '../../client/fetch/root-finder.ts'
import { openFile } from '../../client/fetch.ts'
import { publishFile } from '../../client/publish.ts'
import { allSegments, type PassOptions, runPass } from '../../client/repair/index.ts'
import { equalPublic, type NodeId } from '../../src/bytes/index.ts'
import { requireFileAddress } from '../../src/content/address.ts'
import { HolderHealth } from '../../src/content/holder-health.ts'
import { Ranking } from '../../src/content/placement.ts'
import { rootKeys } from '../../src/content/root.ts'
import { evenCounts, survivedLosses, worstHalfLeft } from '../../src/content/spread.ts'
import { isOverlayError } from '../../src/errors/index.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { collect, type FakeNode, FakeShareNetwork, never, stillClock, streamOf } from '../support/fake-share-network.ts'
import { seededRng } from '../support/seeded-rng.ts'

async function world(seed: number, bytes = 900_000, nodes = 8) {
  const network = new FakeShareNetwork(nodes, seed)
  const body = seededRng(seed).bytes(bytes)
  const parts = { rng: seededRng(seed + 1), clock: stillClock }
  const { address } = await publishFile(network, streamOf(body), { signal: never }, parts)
  const liars = new Set<NodeId>()
  const pass = async (options: Partial<PassOptions> = {}) => {
    const s = requireFileAddress(address).key
    const ranking = new Ranking(network.holders())
    const search = { network, ranking, health: new HolderHealth(stillClock), ...parts, signal: never }
    const { root, sealed } = await findSealedRoot(s, search)
    const what = { network, map: new FileMap(root), keys: rootKeys(s), sealed, ...parts, signal: never }
    return runPass({ ...what, keepHours: 720, mend: true, liars, ...options })
  }
  const isWhole = async () => {
    const file = await openFile(network, address, parts, { signal: never })
    return equalPublic(await collect(file.read({ start: 0, end: file.bytes }, { signal: never })), body)
  }
  return { network, address, body, liars, pass, isWhole, parts }
}

function wipe(node: FakeNode): void {
  node.shares.clear()
  node.slots.clear()
}

test('the losses that are survived are those of the fullest holders: as counted out, for every placement', () => {
  const slow = (counts: readonly number[], k: number) => {
    const left = counts.toSorted((a, b) => b - a)
    let losses = -1
    for (; ; left.shift()) {
      if (left.reduce((sum, count) => sum + count, 0) < k) return losses
      losses++
      if (left.length === 0) return losses
    }
  }
  fc.assert(
    fc.property(fc.array(fc.nat(5), { maxLength: 12 }), fc.integer({ min: 1, max: 10 }), (counts, k) => {
      assert.equal(survivedLosses(counts, k), slow(counts, k))
    }),
    { seed: 1 },
  )
  // What is placed as promised survives any half.
  for (let holders = 4; holders <= 30; holders++) {
    const counts = evenCounts(30, holders)
    if (worstHalfLeft(counts, holders) >= 10) assert.ok(survivedLosses(counts, 10) >= Math.floor(holders / 2))
  }
})

test('a pass over what is whole moves nothing but the audit, and renews everything', async () => {
  const { network, pass } = await world(1)
  const { puts } = network
  const report = await pass()
  // 900,000 bytes: 14 blocks in segments of 10 and 4 (30 and 12 shares), and 5 root slots.
  const { holders, ...counts } = report
  assert.deepEqual(counts, { checked: 47, missing: 0, mended: 0, lost: 0, survives: 4 })
  assert.equal(holders.size, 8)
  assert.equal(network.puts, puts)
  assert.equal(network.kept.size, 47)
  assert.ok([...network.kept.values()].every((hours) => hours === 720))
  await pass({ keepHours: 0 })
  assert.ok([...network.kept.values()].every((hours) => hours === 0))
})

test('what wiped holders had is put back where it was; looking alone puts nothing', async () => {
  const { network, pass, isWhole } = await world(2)
  const before = network.nodes.map((node) => [...node.shares.keys(), ...node.slots.keys()].sort())
  for (const node of network.nodes.slice(1, 5)) wipe(node)
  const looked = await pass({ mend: false })
  const gone = before.slice(1, 5).flat().length
  assert.deepEqual([looked.missing, looked.mended, looked.lost], [gone, 0, 0])
  assert.ok(looked.survives < 4)
  const report = await pass()
  assert.deepEqual([report.missing, report.mended, report.survives, report.holders.size], [gone, gone, 4, 8])
  assert.deepEqual(
    network.nodes.map((node) => [...node.shares.keys(), ...node.slots.keys()].sort()),
    before,
  )
  for (const node of network.nodes.slice(4, 8)) wipe(node)
  assert.ok(await isWhole())
})

test('any 4 of 8 gone and still listed, repaired among the others, then 2 more: whole', async () => {
  for (let seed = 10; seed < 20; seed++) {
    const { network, pass, isWhole } = await world(seed, 1 + 130_000 * (seed - 10))
    const order = network.nodes.toSorted(() => seededRng(seed).unit() - 0.5)
    for (const node of order.slice(0, 4)) node.state = 'dead'
    assert.ok(await isWhole())
    const report = await pass()
    assert.equal(report.lost, 0)
    assert.equal(report.holders.size, 4)
    assert.ok(report.survives >= 2, `survives ${report.survives}`)
    for (const node of order.slice(4, 6)) node.state = 'dead'
    assert.ok(await isWhole(), `seed ${seed}`)
  }
})

test('copies that were put elsewhere are found, and not made again', async () => {
  const { network, pass } = await world(3)
  for (const node of network.nodes.slice(1, 3)) node.state = 'dead'
  const first = await pass()
  assert.ok(first.mended > 0)
  const { puts } = network
  const second = await pass()
  assert.deepEqual([second.missing, second.mended], [0, 0])
  assert.equal(network.puts, puts)
})

test('what is astray is brought to its own holder when that is there again', async () => {
  const { network, pass } = await world(4)
  const away = network.nodes[1]!
  const had = away.shares.size
  away.state = 'dead'
  await pass()
  wipe(away)
  away.state = 'up'
  const report = await pass()
  assert.equal(report.missing, 0)
  assert.ok(report.mended >= had)
  assert.equal(away.shares.size, had)
})

test('who confirms and keeps nothing is found out by its proofs, gets nothing more, and what it should have goes to others', async () => {
  const { network, pass, liars, isWhole } = await world(5)
  const liar = network.nodes[2]!
  wipe(liar)
  liar.forgets = true
  liar.proofLie = () => seededRng(1).bytes(32)
  const report = await pass()
  assert.deepEqual([...liars], [liar.id])
  assert.equal(report.holders.size, 7)
  assert.ok(report.mended > 0)
  assert.ok(report.survives >= 3)
  assert.equal(liar.shares.size, 0)
  for (const node of network.nodes.slice(3, 6)) node.state = 'dead'
  assert.ok(await isWhole())
})

test('three liars of eight together do not make lost content seem whole, nor whole content seem lost', async () => {
  const { network, pass, liars } = await world(6)
  for (const node of network.nodes.slice(1, 4)) {
    wipe(node)
    node.forgets = true
    node.proofLie = (right) => right ?? new Uint8Array(32)
    node.lie = () => new Uint8Array(65_536)
  }
  const report = await pass({ mend: false })
  assert.equal(liars.size, 3)
  assert.equal(report.holders.size, 5)
  assert.equal(report.lost, 0)
  const mended = await pass()
  assert.ok(mended.survives >= 2)
})

test('old proofs are of no use: the nonce is another each time', async () => {
  const { network, pass, liars } = await world(7, 60_000)
  const liar = network.nodes.find(({ shares }) => shares.size > 0)!
  let seen: Uint8Array | null = null
  liar.proofLie = (right) => {
    seen ??= right
    return seen
  }
  await pass()
  liars.clear()
  wipe(liar)
  await pass()
  assert.ok(liars.has(liar.id))
})

test('too little left is told as lost, and what can be mended still is', async () => {
  const { network, pass } = await world(8)
  // All shares of the second segment, and no others.
  const { map } = await mapOf(network, (await world(8)).address)
  const source = new BlockSource(map, undefined as never, never)
  const addresses = await source.addresses(0, 1)
  for (const node of network.nodes) {
    for (let at = 0; at < addresses.length; at += 32)
      node.shares.delete(Buffer.from(addresses.subarray(at, at + 32)).toString('hex'))
  }
  wipe(network.nodes[1]!)
  const report = await pass()
  assert.equal(report.lost, 1)
  assert.equal(report.survives, -1)
  assert.ok(report.mended > 0)
})

async function mapOf(network: FakeShareNetwork, address: string) {
  const ranking = new Ranking(network.holders())
  const parts = { network, ranking, health: new HolderHealth(stillClock), rng: seededRng(1), clock: stillClock, signal: never }
  const { root } = await findSealedRoot(requireFileAddress(address).key, parts)
  return { map: new FileMap(root) }
}

test('content with an index: every level is looked after, the upper one first; a part of it alone when asked', async () => {
  const { network, pass, isWhole } = await world(9, 11_000_000)
  const { map } = await mapOf(network, (await world(9, 11_000_000)).address)
  const all = allSegments(map)
  assert.deepEqual([all[0]!.level, all.at(-1)!.level, all.length], [1, 0, 18])
  for (const node of network.nodes.slice(4)) wipe(node)
  const paced: number[] = []
  const report = await pass({ segments: all.slice(0, 3), pace: async (bytes) => void paced.push(bytes) })
  assert.equal(paced.filter((bytes) => bytes === 0).length, 3)
  assert.ok(paced.some((bytes) => bytes > 65_536))
  assert.equal(report.lost, 0)
  assert.equal((await pass()).survives, 4)
  for (const node of network.nodes.slice(0, 4)) wipe(node)
  assert.ok(await isWhole())
})

test('a new node gets what it ranks first for', async () => {
  const { network, pass } = await world(20)
  const more = new FakeShareNetwork(9, 20)
  for (const [at, node] of network.nodes.entries()) {
    for (const [address, share] of node.shares) more.nodes[at]!.shares.set(address, share)
    for (const [location, slots] of node.slots) more.nodes[at]!.slots.set(location, slots)
  }
  const report = await pass({ network: more })
  assert.equal(report.missing, 0)
  assert.ok(more.nodes[8]!.shares.size >= 4)
  assert.equal(report.holders.size, 9)
})

test('an abort ends a pass with its reason, and leaves nothing under way', async () => {
  const { network, pass } = await world(21)
  const controller = new AbortController()
  const reason = new Error('enough')
  for (const node of network.nodes.slice(2)) node.state = 'silent'
  const passing = pass({ signal: controller.signal })
  passing.catch(() => {})
  await new Promise((resolve) => setImmediate(resolve))
  controller.abort(reason)
  await assert.rejects(passing, (error) => error === reason)
  assert.equal(network.underWay, 0)
})

test('too few nodes are an error', async () => {
  const { network, pass } = await world(22, 10)
  const options: Partial<PassOptions> = { network: Object.create(network, { holders: { value: () => [] } }) as FakeShareNetwork }
  await assert.rejects(pass(options), (error) => isOverlayError(error, 'NETWORK_TOO_SMALL'))
})

test('a holder that is slow to serve is not taken for one that has lost its part', async () => {
  const clock = new FakeClock()
  const network = new FakeShareNetwork(8, 30, { clock })
  const parts = { rng: seededRng(1), clock }
  const body = seededRng(2).bytes(3_000_000)
  const { address } = await clock.runFor(publishFile(network, streamOf(body), { signal: never }, parts))
  const slow = network.nodes[3]!
  slow.delayMs = 4_500
  for (const node of network.nodes) if (node !== slow) node.delayMs = 5
  const s = requireFileAddress(address).key
  const search = { network, ranking: new Ranking(network.holders()), health: new HolderHealth(clock), ...parts, signal: never }
  const { root, sealed } = await clock.runFor(findSealedRoot(s, search))
  const what = {
    network,
    map: new FileMap(root),
    keys: rootKeys(s),
    sealed,
    ...parts,
    signal: never,
    keepHours: 0,
    liars: new Set<NodeId>(),
  }
  const report = await clock.runFor(runPass({ ...what, mend: true }), 3_600_000)
  assert.deepEqual([report.missing, report.mended, report.holders.size], [0, 0, 8])
})
