/**
 * Identities that are ground until they rank first (`test/adversary/liars/sybils.ts`): what they cost, and what they get. Cost: as many tries as there
 * are nodes for each place (§7.5), and the work of a descriptor for each that is shown. They get in the way of reads and of nothing that is kept:
 * holders never give up their copies for a newcomer, and readers go on to who ranks next. Of a record, which lies at places that are known in
 * advance, enough of them can keep a first look from finding it; never put another in its place.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openFile } from '../../client/fetch.ts'
import { publishFile } from '../../client/publish.ts'
import { fromHex, type NodeId, nodeIdOf, toHex } from '../../src/bytes/index.ts'
import { Ranking } from '../../src/content/placement.ts'
import { findWork, signingKey } from '../../src/crypto/index.ts'
import { DESCRIPTOR_WORK_BITS, DESCRIPTOR_WORK_LABEL, networkIdOf, workBinding } from '../../src/directory/index.ts'
import { systemClock } from '../../src/runtime/index.ts'
import { grind } from '../adversary/liars/sybils.ts'
import { collect, type FakeNode, FakeShareNetwork, never, stillClock, streamOf } from '../support/fake-share-network.ts'
import { seededRng } from '../support/seeded-rng.ts'

function workedMs(): number {
  const { user, system } = process.threadCpuUsage()
  return (user + system) / 1000
}

test('to rank first for one place takes about as many identities as there are nodes, in the median', async (t) => {
  const rng = seededRng('grind')
  const nodes = Array.from({ length: 1_000 }, () => nodeIdOf(rng.bytes(32)))
  const places = Array.from({ length: 15 }, () => rng.bytes(32))
  const tries = places.map((place) => grind(nodes, place, rng, 'ids', 4_000)?.tries ?? 4_000).sort((a, b) => a - b)
  // Of m tries the best is before all N nodes with probability m / (m + N): half of all places take more than N.
  const median = tries[7]!
  assert.ok(median > 250 && median < 4_000, `${median}`)
  const began = workedMs()
  for (let at = 0; at < 200; at++) signingKey(rng.bytes(32))
  const perTry = (workedMs() - began) / 200
  const workFrom = workedMs()
  const binding = workBinding(networkIdOf('test'), rng.bytes(32))
  await findWork(DESCRIPTOR_WORK_LABEL, binding, DESCRIPTOR_WORK_BITS, { clock: systemClock, signal: never })
  const workMs = workedMs() - workFrom
  t.diagnostic(
    `${median} tries at ${perTry.toFixed(3)} ms with 1,000 nodes, then work for ${workMs.toFixed(0)} ms: ${Math.round(median * perTry + workMs)} ms a place`,
  )
})

/** Nodes that somebody made to rank first for each of `places`, among the nodes of `network`. */
function besiege(network: FakeShareNetwork, places: readonly Uint8Array[], of: Partial<FakeNode>): NodeId[] {
  const rng = seededRng('sybils')
  const before = network.holders()
  return places.map((place) => {
    const { id } = grind(before, place, rng)!
    const sybil: FakeNode = {
      ...network.nodes[0]!,
      ...{ id, shares: new Map(), slots: new Map(), asked: 0 },
      ...of,
    }
    ;(network.nodes as FakeNode[]).push(sybil)
    return id
  })
}

for (const [name, of] of [
  ['have nothing', {}],
  ['serve wrong bytes', { lie: () => new Uint8Array(65_536), slotLie: () => [] }],
  ['are silent at once', { state: 'dead' as const }],
] as const) {
  test(`content whose every share and slot has a Sybil in front of its holder, who all ${name}: it comes whole all the same`, async () => {
    const network = new FakeShareNetwork(60, 'besieged')
    const body = seededRng('body').bytes(300_000)
    const { address } = await publishFile(network, streamOf(body), { signal: never }, { rng: seededRng(1), clock: stillClock })
    const places = network.nodes.flatMap(({ shares, slots }) => [...shares.keys(), ...slots.keys()]).map((key) => fromHex(key)!)
    const sybils = new Set(besiege(network, places, of))
    const ranking = new Ranking(network.holders())
    const besieged = places.filter((place) => sybils.has(ranking.firsts(place, 1)[0]!)).length
    assert.equal(besieged, places.length)
    const file = await openFile(network, address, { rng: seededRng(2), clock: stillClock }, { signal: never })
    const read = file.read({ start: 0, end: file.bytes }, { signal: never })
    assert.equal(toHex(await collect(read)), toHex(body))
  })
}
