/** The token bucket against its definition: over any time, no more than burst + rate × time; nothing lost that was due. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { MonotonicMs } from '../../src/bytes/index.ts'
import { TokenBucket } from '../../src/runtime/index.ts'

test('never more than the burst and what has come since; never refused what is there', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 2000 }),
      fc.integer({ min: 1, max: 100 }),
      fc.array(fc.tuple(fc.nat(300), fc.integer({ min: 1, max: 5 })), { maxLength: 200 }),
      (rate, burst, steps) => {
        const bucket = new TokenBucket(rate, burst, 50 as MonotonicMs)
        let now = 50
        let level = burst
        for (const [wait, count] of steps) {
          now += wait
          level = Math.min(burst, level + (wait * rate) / 1000)
          // Where rounding decides, either answer will do, but the model follows it.
          const there = bucket.has(now as MonotonicMs, count)
          const taken = bucket.take(now as MonotonicMs, count)
          if (Math.abs(level - count) > 1e-6) assert.equal(taken, level > count)
          assert.equal(there, taken, 'to look takes nothing')
          if (taken) level -= count
        }
      },
    ),
    { numRuns: 200, seed: 4 },
  )
})

test('a clock that stands or goes back gives nothing', () => {
  const bucket = new TokenBucket(1000, 2, 100 as MonotonicMs)
  assert.ok(bucket.take(100 as MonotonicMs) && bucket.take(100 as MonotonicMs))
  assert.equal(bucket.take(100 as MonotonicMs), false)
  assert.equal(bucket.take(90 as MonotonicMs), false)
  assert.equal(bucket.take(100 as MonotonicMs), false, 'going back and forth earns nothing')
  assert.equal(bucket.take(101 as MonotonicMs), true)
})

test('a new rate counts from when it was set', () => {
  const bucket = new TokenBucket(1, 2, 0 as MonotonicMs)
  assert.ok(bucket.take(0 as MonotonicMs, 2))
  bucket.setRate(10, 900 as MonotonicMs)
  assert.equal(bucket.has(909 as MonotonicMs), false)
  assert.equal(bucket.has(910 as MonotonicMs), true)
  bucket.setRate(0.001, 910 as MonotonicMs)
  assert.equal(bucket.take(910 as MonotonicMs), true, 'what came is kept')
})
