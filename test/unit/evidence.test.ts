/** What loops tell about the nodes on them: who is suspected, who is cleared, and who is suspected most. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Evidence } from '../../client/loops/evidence.ts'
import { type MonotonicMs, type NodeId, nodeIdOf } from '../../src/bytes/index.ts'
import { shuffled } from '../../src/runtime/index.ts'
import { seededRng } from '../support/seeded-rng.ts'

const rng = seededRng('evidence')
const nodes = Array.from({ length: 12 }, () => nodeIdOf(rng.bytes(32)))
const at = (ms: number) => ms as MonotonicMs
const named = (...indexes: number[]): NodeId[] => indexes.map((index) => nodes[index]!)

test('members of a late loop are suspects until something that was sent later comes home through them', () => {
  const evidence = new Evidence()
  evidence.missed(named(1, 2, 3), at(100), at(600))
  assert.deepEqual(new Set(evidence.suspects(at(600))), new Set(named(1, 2, 3)))
  evidence.came(named(1, 4), at(90))
  assert.ok(evidence.isSuspect(nodes[1]!, at(600)), 'it was sent before')
  evidence.came(named(1, 4, 2), at(101))
  assert.deepEqual(evidence.suspects(at(600)), named(3))
  assert.ok(!evidence.isSuspect(nodes[4]!, at(600)))
})

test('who is known to have lived since is not blamed for a loop that is late', () => {
  const evidence = new Evidence()
  evidence.came(named(1, 2), at(200))
  evidence.missed(named(1, 2, 3), at(100), at(600))
  assert.deepEqual(evidence.suspects(at(600)), named(3))
})

test('a suspect that no loop goes through is tried again after a minute', () => {
  const evidence = new Evidence()
  evidence.missed(named(1), at(0), at(500))
  assert.ok(evidence.isSuspect(nodes[1]!, at(60_499)))
  assert.ok(!evidence.isSuspect(nodes[1]!, at(60_500)))
  assert.equal(evidence.count(at(60_499)), 1)
  assert.equal(evidence.count(at(60_500)), 0)
  assert.deepEqual(evidence.suspects(at(60_500)), [])
})

test('whoever stands still is found: with loops over any five of twelve, it is never behind another suspect', () => {
  fc.assert(
    fc.property(fc.nat(), fc.integer({ min: 0, max: 11 }), fc.integer({ min: 1, max: 40 }), (seed, dead, count) => {
      const draws = seededRng(`loops ${seed}`)
      const evidence = new Evidence()
      let late = 0
      for (let loop = 0; loop < count; loop++) {
        const hops = shuffled(nodes, draws).slice(0, 5)
        const sent = at(1_000 + loop)
        if (!hops.includes(nodes[dead]!)) evidence.came(hops, sent)
        else {
          evidence.missed(hops, sent, at(2_000 + loop))
          late++
        }
      }
      const suspects = evidence.suspects(at(3_000))
      if (late === 0) return assert.equal(suspects.length, 0)
      assert.ok(suspects.includes(nodes[dead]!))
      // Those that lived are cleared by the first loop that works; the dead one is on all late ones.
      evidence.came(
        nodes.filter((_, index) => index !== dead),
        at(4_000),
      )
      assert.deepEqual(evidence.suspects(at(4_500)), named(dead))
    }),
  )
})

test('it stays small, whoever is on loops', () => {
  const evidence = new Evidence()
  for (let node = 0; node < 6_000; node++) {
    const id = nodeIdOf(rng.bytes(32))
    evidence.missed([id], at(node), at(node))
    evidence.came([id], at(node))
  }
  assert.ok(evidence.suspects(at(6_000)).length <= 4_097)
})
