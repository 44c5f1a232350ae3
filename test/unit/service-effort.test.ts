/** Which introductions are answered first, how many, and what the record asks of them under a flood. Spec: SPEC.md §11. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  ANSWERED_AT_ONCE,
  ANSWERED_PER_SEC,
  EFFORT_FIRST_BITS,
  EFFORT_HOLD_MS,
  EFFORT_MAX_BITS,
  Effort,
  IntroductionQueue,
  LOAD_WINDOW_MS,
  WAITING_MAX,
} from '../../client/service/effort.ts'
import { WorkLane } from '../../client/service/work-lane.ts'
import type { MonotonicMs } from '../../src/bytes/index.ts'
import { findIntroductionWork } from '../../src/service/index.ts'
import { FakeClock } from '../support/fake-clock.ts'

const at = (ms: number) => ms as MonotonicMs

test('more work goes first, then who came first; the queue is never longer than its limit, and the least work goes', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 32 }), { minLength: 1, maxLength: 2 * WAITING_MAX }), (works) => {
      const queue = new IntroductionQueue<{ work: number; order: number }>(at(0))
      const kept = new Set<{ work: number; order: number }>()
      for (const [order, work] of works.entries()) {
        const item = { work, order }
        kept.add(item)
        const gone = queue.offer(work, item)
        if (gone !== null) {
          kept.delete(gone)
          for (const other of kept) assert.ok(other.work > gone.work || (other.work === gone.work && other.order < gone.order))
        }
        assert.ok(queue.length <= WAITING_MAX)
      }
      const wanted = [...kept].sort((a, b) => b.work - a.work || a.order - b.order)
      const got = []
      for (let now = 0; got.length < wanted.length; now += 1000) {
        for (let item = queue.take(at(now)); item !== null; item = queue.take(at(now))) got.push(item)
      }
      assert.deepEqual(got, wanted)
    }),
  )
})

test('a flood is answered at the rate, not faster', () => {
  const queue = new IntroductionQueue<number>(at(0))
  let answered = 0
  for (let now = 0; now <= 10_000; now += 10) {
    queue.offer(0, now)
    while (queue.take(at(now)) !== null) answered++
  }
  assert.ok(answered <= ANSWERED_AT_ONCE + 10 * ANSWERED_PER_SEC + 1, `${answered}`)
  assert.ok(answered >= 10 * ANSWERED_PER_SEC)
})

/** Offers `perSecond` introductions with `work` for `seconds`, ticking each second; returns the changes. */
function load(effort: Effort, from: number, seconds: number, perSecond: number, work: (bits: number) => number): number[] {
  const changes: number[] = []
  for (let second = 1; second <= seconds; second++) {
    for (let one = 0; one < perSecond; one++) effort.onOffer(work(effort.bits))
    if (effort.tick(at(from + second * 1000))) changes.push(from + second * 1000)
  }
  return changes
}

test('the effort rises after five seconds of too much, at most once a minute, and falls to nothing when it is over', () => {
  const effort = new Effort(at(0))
  assert.deepEqual(
    load(effort, 0, 60, ANSWERED_PER_SEC, () => 0),
    [],
  )
  assert.equal(effort.bits, 0)
  const up = load(effort, 60_000, 600, 8 * ANSWERED_PER_SEC, (bits) => bits)
  assert.equal(up[0], 60_000 + LOAD_WINDOW_MS)
  for (const [index, time] of up.entries()) if (index > 0) assert.ok(time - up[index - 1]! >= EFFORT_HOLD_MS)
  assert.equal(effort.bits, EFFORT_MAX_BITS)
  const down = load(effort, 660_000, 3600, 1, (bits) => bits)
  for (const [index, time] of down.entries()) if (index > 0) assert.ok(time - down[index - 1]! >= EFFORT_HOLD_MS)
  assert.equal(effort.bits, 0)
})

test('who brings less than the record asks for does not raise it', () => {
  const effort = new Effort(at(0))
  for (let minute = 0; minute < 30; minute++) {
    load(effort, minute * 60_000, 60, 100 * ANSWERED_PER_SEC, () => 0)
    assert.ok(effort.bits <= EFFORT_FIRST_BITS)
  }
})

test('however many services ask for work, a turn of the node has one slice of it, and each search gets its share', async () => {
  const clock = new FakeClock()
  const lane = new WorkLane(clock)
  const stop = new AbortController()
  let inTurn = 0
  let total = 0
  const slices = new Array<number>(20).fill(0)
  const searches = slices.map((_, each) => {
    const counted = {
      nextTurn: (fire: () => void) =>
        lane.nextTurn(() => {
          slices[each]!++
          if (++total === 200) stop.abort(new Error('enough'))
          assert.equal(++inTurn, 1, 'a second slice in one turn')
          clock.nextTurn(() => {
            inTurn = 0
          })
          fire()
        }),
    }
    const point = new Uint8Array(32).fill(each)
    return findIntroductionWork(point, new Uint8Array(40), 32, { clock: counted, signal: stop.signal }).catch(() => {})
  })
  await clock.advance(0)
  await Promise.all(searches)
  assert.ok(Math.min(...slices) >= Math.max(...slices) - 2 && slices[0]! > 8, `${slices}`)
})
