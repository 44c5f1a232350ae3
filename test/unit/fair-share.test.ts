/** What predecessors share (`relay/fair-share.ts`): never more than there is, nobody takes it all, and all of it comes back. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { FairShare } from '../../relay/fair-share.ts'

test('who takes all that he can leaves as much to the next', () => {
  const share = new FairShare({ total: 1200 })
  const names = Array.from({ length: 5 }, () => ({}))
  const got = names.map((name) => {
    while (share.take(name));
    return share.heldBy(name)
  })
  assert.deepEqual(got, [600, 300, 150, 75, 38])
  assert.equal(share.fullest, names[0])
  assert.ok(share.take(null, 37), 'this node itself has what is left')
  assert.equal(share.take(null), false)
})

test('nobody has more than his part', () => {
  const share = new FairShare({ total: 1000, each: 250 })
  const [a, b] = [{}, {}]
  assert.ok(share.take(a, 250))
  assert.equal(share.take(a), false)
  assert.equal(share.take(b, 251), false)
  assert.ok(share.take(b, 250))
})

test('model: any order of taking and giving keeps the bounds, and everything given leaves nothing', () => {
  const step = fc.record({ who: fc.integer({ min: 0, max: 4 }), amount: fc.integer({ min: 1, max: 60 }), give: fc.boolean() })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), fc.integer({ min: 1, max: 200 }), (steps, each) => {
      const share = new FairShare({ total: 200, each })
      const claimants = [null, {}, {}, {}, {}]
      const held = claimants.map((): number[] => [])
      const sum = (list: readonly number[]) => list.reduce((a, b) => a + b, 0)
      for (const { who, amount, give } of steps) {
        const claimant = claimants[who]!
        if (give) {
          const given = held[who]!.pop()
          if (given !== undefined) share.give(claimant, given)
        } else {
          const before = sum(held.map(sum))
          const free = 200 - before
          const may = claimant === null ? amount <= free : sum(held[who]!) + amount <= Math.min(free, each)
          assert.equal(share.take(claimant, amount), may)
          if (may) held[who]!.push(amount)
        }
        assert.equal(share.taken, sum(held.map(sum)))
      }
      for (const [who, list] of held.entries()) for (const amount of list) share.give(claimants[who]!, amount)
      assert.equal(share.taken, 0)
      assert.equal(share.fullest, null)
      assert.ok(claimants.every((claimant) => share.heldBy(claimant) === 0))
    }),
  )
})
