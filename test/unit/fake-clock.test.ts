/** The test clock and the seeded generator are themselves under test: simulations rest on them. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isOverlayError } from '../../src/errors/index.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { seededRng } from '../support/seeded-rng.ts'

test('timers fire by due time, then in the order in which they were set, and turns run in between', () => {
  const clock = new FakeClock()
  const seen: string[] = []
  clock.setTimer(20, () => seen.push('c'))
  clock.setTimer(10, () => {
    seen.push('a')
    clock.nextTurn(() => seen.push('turn'))
    clock.setTimer(0, () => seen.push('zero'))
  })
  clock.setTimer(10, () => seen.push('b'))
  clock.setTimer(15, () => seen.push('never')).cancel()
  clock.advanceNow(19)
  assert.deepEqual(seen, ['a', 'turn', 'b', 'zero'])
  assert.equal(clock.monotonicMs(), 19)
  clock.advanceNow(1)
  assert.deepEqual(seen, ['a', 'turn', 'b', 'zero', 'c'])
  assert.equal(clock.pendingTimers, 0)
})

test('a turn asked for in a turn runs in the next round', () => {
  const clock = new FakeClock()
  const seen: number[] = []
  clock.nextTurn(() => {
    seen.push(1)
    clock.nextTurn(() => seen.push(3))
  })
  clock.nextTurn(() => seen.push(2))
  assert.equal(clock.runTurns(), true)
  assert.deepEqual(seen, [1, 2])
  clock.settleNow()
  assert.deepEqual(seen, [1, 2, 3])
})

test('sleep and deadline follow the clock', async () => {
  const clock = new FakeClock()
  const { signal } = new AbortController()
  await clock.runFor(clock.sleep(5_000, { signal }))
  assert.equal(clock.monotonicMs(), 5_000)
  const deadline = clock.deadline(100, signal)
  await clock.advance(99)
  assert.equal(deadline.signal.aborted, false)
  await clock.advance(1)
  assert.ok(isOverlayError(deadline.signal.reason, 'TIMEOUT'))
  await assert.rejects(clock.runFor(new Promise(() => {}), 10), /still pending/)
})

test('a seed decides every draw, and draws are spread', () => {
  const one = seededRng(7)
  const two = seededRng(7)
  assert.deepEqual(one.bytes(33), two.bytes(33))
  assert.notDeepEqual(seededRng(8).bytes(16), seededRng(9).bytes(16))
  assert.notDeepEqual(one.fork('a').bytes(16), two.fork('b').bytes(16))
  const counts = new Array<number>(10).fill(0)
  for (let draw = 0; draw < 10_000; draw++) counts[one.below(10)]!++
  for (const count of counts) assert.ok(count > 850 && count < 1150, `${count}`)
})
