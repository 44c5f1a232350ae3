/** Placement: even, deterministic, uniform, and little moved by a change of the view. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type NodeId, nodeIdOf } from '../../src/bytes/index.ts'
import { Ranking } from '../../src/content/placement.ts'
import { evenCounts } from '../../src/content/spread.ts'
import { shuffled } from '../../src/runtime/index.ts'
import { seededRng } from '../support/seeded-rng.ts'

const rng = seededRng(9)
const nodesOf = (count: number): NodeId[] => Array.from({ length: count }, () => nodeIdOf(rng.bytes(32)))
const placesOf = (count: number): Uint8Array[] => Array.from({ length: count }, () => rng.bytes(32))

function countsOf(placed: readonly NodeId[]): number[] {
  const counts = new Map<NodeId, number>()
  for (const node of placed) counts.set(node, (counts.get(node) ?? 0) + 1)
  return [...counts.values()].sort((a, b) => b - a)
}

test('a segment is placed as evenly as can be, the same from every order of the view', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 60 }), fc.integer({ min: 1, max: 60 }), (count, shares) => {
      const nodes = nodesOf(count)
      const places = placesOf(shares)
      const placed = new Ranking(nodes).place(places)
      assert.deepEqual(
        countsOf(placed),
        evenCounts(shares, count).filter((held) => held > 0),
      )
      assert.deepEqual(new Ranking([...shuffled(nodes, rng), nodes[0]!]).place(places), placed)
      assert.equal(placed[0], new Ranking(nodes).order(places[0]!)[0])
    }),
    { seed: 1 },
  )
})

test('the order has every node once; no nodes, no places', () => {
  const nodes = nodesOf(20)
  assert.deepEqual([...new Ranking(nodes).order(rng.bytes(32))].sort(), [...nodes].sort())
  assert.deepEqual(new Ranking([]).place(placesOf(3)), [])
  assert.deepEqual(new Ranking([]).order(rng.bytes(32)), [])
})

test('nodes come first about equally often, and another period gives another order', () => {
  const nodes = nodesOf(16)
  const ranking = new Ranking(nodes)
  const firsts = new Map<NodeId, number>()
  for (const place of placesOf(8000)) {
    const first = ranking.order(place)[0]!
    firsts.set(first, (firsts.get(first) ?? 0) + 1)
  }
  for (const node of nodes) assert.ok(Math.abs(firsts.get(node)! - 500) < 120)
  const place = rng.bytes(32)
  assert.notDeepEqual(new Ranking(nodes, 1).order(place), ranking.order(place))
})

test('a node that leaves moves only the order behind it; fewer slots than nodes are placed alike whatever their number', () => {
  const nodes = nodesOf(12)
  const place = rng.bytes(32)
  const order = new Ranking(nodes).order(place)
  const without = new Ranking(nodes.filter((node) => node !== order[4])).order(place)
  assert.deepEqual(
    without,
    order.filter((node) => node !== order[4]),
  )
  const places = placesOf(12)
  const whole = new Ranking(nodes).place(places)
  for (let count = 1; count <= 12; count++)
    assert.deepEqual(new Ranking(nodes).place(places.slice(0, count)), whole.slice(0, count))
})
