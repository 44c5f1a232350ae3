/** Which nodes a loop can reach, by the links that both ends list (`client/loops/reach.ts`). */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { canBeReached } from '../../client/loops/reach.ts'
import { type NodeId, nodeIdOf } from '../../src/bytes/index.ts'
import { seededRng } from '../support/seeded-rng.ts'

const rng = seededRng('reach')
const nodes = Array.from({ length: 200 }, () => nodeIdOf(rng.bytes(32)))
const self = nodes[0]!

/** A view in which the nodes of each group are all linked with each other. */
function groups(...all: (readonly NodeId[])[]) {
  return { linked: (id: NodeId) => (all.find((group) => group.includes(id)) ?? []).filter((other) => other !== id) }
}

test('a node of one web with this one is reached, and this one itself; one with fewer than two links is not', () => {
  const view = groups(nodes.slice(0, 5), nodes.slice(5, 7))
  for (const node of nodes.slice(0, 5)) assert.ok(canBeReached(view, self, node))
  for (const node of nodes.slice(5, 9)) assert.ok(!canBeReached(view, self, node))
})

test('nodes that died together list each other still, and are not reached', () => {
  const view = groups(nodes.slice(0, 4), nodes.slice(4, 8))
  for (const node of nodes.slice(4, 8)) assert.ok(!canBeReached(view, self, node))
})

test('in a chain links lead on; so many nodes that are linked are not taken for dead ones', () => {
  const chain = { linked: (id: NodeId) => [nodes.indexOf(id) - 1, nodes.indexOf(id) + 1].flatMap((at) => nodes[at] ?? []) }
  assert.ok(canBeReached(chain, self, nodes[30]!))
  assert.ok(canBeReached(groups(nodes.slice(0, 50), nodes.slice(50)), self, nodes[60]!))
})

test('who has no links himself cannot tell', () => {
  assert.ok(canBeReached(groups([self], nodes.slice(4, 8)), self, nodes[5]!))
})
