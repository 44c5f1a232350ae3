/** When the wall clock counts as having jumped. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ClockJumps, JUMP_MS_MIN } from '../../src/runtime/index.ts'
import { FakeClock } from '../support/fake-clock.ts'

test('a jump is told once, with its size and direction; slow corrections never', async () => {
  const clock = new FakeClock()
  const jumps = new ClockJumps(clock)
  assert.equal(jumps.look(), 0)
  await clock.advance(10 * 24 * 3_600_000)
  assert.equal(jumps.look(), 0)
  for (const ms of [86_400_000, -86_400_000, JUMP_MS_MIN, -JUMP_MS_MIN]) {
    clock.jumpWallClock(ms)
    assert.equal(jumps.look(), ms)
    assert.equal(jumps.look(), 0)
  }
  for (let step = 0; step < 100; step++) {
    clock.jumpWallClock(JUMP_MS_MIN - 1)
    assert.equal(jumps.look(), 0)
  }
})
