/** The small machines that bound and order the work of publishing and reading. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { NodeId } from '../../src/bytes/index.ts'
import { HolderHealth } from '../../src/content/holder-health.ts'
import { Pace } from '../../src/content/pace.ts'
import { Permits } from '../../src/content/permits.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { seededRng } from '../support/seeded-rng.ts'

const never = new AbortController().signal

test('permits: never more than there are, each waiter served once, aborts leave the line', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 5 }),
      fc.array(fc.constantFrom('take', 'give', 'abort'), { maxLength: 60 }),
      async (count, steps) => {
        const rng = seededRng(count)
        const permits = new Permits(count, (waiting) => rng.below(waiting))
        const waiting: AbortController[] = []
        let held = 0
        let expected = 0
        for (const step of steps) {
          if (step === 'take') {
            const controller = new AbortController()
            waiting.push(controller)
            permits.take(controller.signal).then(
              () => {
                held++
                waiting.splice(waiting.indexOf(controller), 1)
              },
              () => {},
            )
          } else if (step === 'give' && held > 0) {
            held--
            permits.give()
          } else if (step === 'abort') waiting.pop()?.abort(new Error('enough'))
          await new Promise((resolve) => setImmediate(resolve))
          assert.ok(held <= count)
          expected = Math.max(0, waiting.length)
          assert.ok(held === count || expected === 0, 'nobody waits while a permit is free')
        }
      },
    ),
    { seed: 1, numRuns: 60 },
  )
  const reason = new Error('enough')
  await assert.rejects(new Permits(1).take(AbortSignal.abort(reason)), (error) => error === reason)
  const one = new Permits(1)
  await one.take(never)
  const order: number[] = []
  for (const at of [1, 2, 3]) one.take(never).then(() => order.push(at))
  for (let round = 0; round < 3; round++) {
    one.give()
    await Promise.resolve()
  }
  assert.deepEqual(order, [1, 2, 3], 'without a choice, first come is first served')
})

test('pace: so many in one turn, the rest in later ones, in order', async () => {
  const clock = new FakeClock()
  const pace = new Pace(clock, 3)
  const done: number[] = []
  for (let at = 0; at < 8; at++) pace.next().then(() => done.push(at))
  const seen: number[] = []
  do {
    await new Promise((resolve) => setImmediate(resolve))
    seen.push(done.length)
  } while (clock.runTurns())
  assert.deepEqual(seen, [3, 6, 8, 8])
  assert.deepEqual(done, [0, 1, 2, 3, 4, 5, 6, 7])
  assert.equal(clock.pendingTurns, 0)
  await pace.next()
})

test('health: who failed is suspect until it answers or time passes; patience follows the answers within bounds', async () => {
  const clock = new FakeClock()
  const health = new HolderHealth(clock)
  const [a, b] = ['a', 'b'] as NodeId[]
  assert.equal(health.patienceMs, 700)
  health.failed(a!)
  health.failed(b!)
  assert.ok(health.isSuspect(a!) && health.isSuspect(b!))
  health.answered(a!, 200)
  assert.ok(!health.isSuspect(a!))
  assert.equal(health.patienceMs, 600)
  await clock.advance(30_000)
  assert.ok(!health.isSuspect(b!))
  for (let at = 0; at < 100; at++) health.answered(a!, 1)
  assert.equal(health.patienceMs, 60)
  for (let at = 0; at < 100; at++) health.answered(a!, 60_000)
  assert.equal(health.patienceMs, 4000)
  for (let at = 0; at < 5000; at++) health.failed(`node ${at}` as NodeId)
  assert.ok(!health.isSuspect('node 0' as NodeId) && health.isSuspect('node 4999' as NodeId), 'what is remembered is bounded')
})
