/** When an end of an exchange gives a payload (SPEC §11.1): content at once, one for each that came, a beat, and nothing besides. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { PAYLOAD_BEAT_MS, PAYLOAD_BYTES, Pairing } from '../../src/stream/index.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { Talker } from '../support/talker.ts'

const cell = new Uint8Array(PAYLOAD_BYTES)

test('the first cell carries a payload, then one beat in each quarter second', () => {
  const clock = new FakeClock()
  const end = new Talker()
  const pairing = new Pairing(end, clock)
  let given = 0
  for (let at = 0; at < 2_000; at += 10) {
    if (pairing.due) {
      pairing.take(cell, 0)
      given++
    }
    assert.equal(pairing.urgent, false)
    clock.advanceNow(10)
  }
  assert.equal(given, 2_000 / PAYLOAD_BEAT_MS)
})

test('two ends give the same number whichever of them talks, and come to rest', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.boolean(), fc.nat(40), fc.nat(40)), { maxLength: 30 }), (steps) => {
      const clock = new FakeClock()
      const talkers = [new Talker(), new Talker()] as const
      const ends = talkers.map((end) => ({ end, pairing: new Pairing(end, clock), queue: [] as Uint8Array[] }))
      const give = (from: number): boolean => {
        const { pairing } = ends[from]!
        if (!pairing.urgent) return false
        const payload = new Uint8Array(PAYLOAD_BYTES)
        pairing.take(payload, 0)
        ends[1 - from]!.queue.push(payload)
        return true
      }
      const take = (to: number): boolean => {
        const payload = ends[to]!.queue.shift()
        if (payload !== undefined) ends[to]!.pairing.onPayload(payload, 0)
        return payload !== undefined
      }
      for (const [second, words, moves] of steps) {
        const who = second ? 1 : 0
        talkers[who].say(words)
        for (let move = 0; move < moves; move++) {
          give(move % 2)
          take((move >> 1) % 2)
        }
      }
      let rounds = 0
      // One after the other, so that nothing moves only when nothing is left.
      while ([give(0), give(1), take(0), take(1)].some(Boolean)) assert.ok(rounds++ < 5_000, 'they never rest')
      const [first, second] = talkers
      assert.equal(first.given, second.given)
      assert.equal(first.came, second.came)
      assert.equal(first.given, first.came)
      assert.ok(first.given >= Math.max(first.said, second.said))
      assert.deepEqual(
        second.heard,
        Array.from({ length: first.said }, (_, at) => at + 1),
      )
    }),
    { numRuns: 150, seed: 4 },
  )
})

test('payloads that were lost are not waited for without end, nor do they make others', () => {
  const clock = new FakeClock()
  const end = new Talker()
  const pairing = new Pairing(end, clock)
  end.say(5_000)
  while (pairing.urgent) pairing.take(cell, 0)
  // None of them is ever answered. Of what comes later a bounded number is taken for their answers.
  let free = 0
  while (!pairing.urgent && free <= 5_000) {
    pairing.onPayload(cell.fill(0x55), 0)
    free++
  }
  assert.ok(free <= 513, `${free} payloads`)
  assert.equal(pairing.received, free)
})

test('after the end nothing is heard, and it is said once', () => {
  const end = new Talker()
  const pairing = new Pairing(end, new FakeClock())
  pairing.onGone()
  pairing.onGone()
  pairing.onPayload(cell, 0)
  assert.deepEqual([end.gone, end.came], [1, 0])
  const left = new Talker()
  const other = new Pairing(left, new FakeClock())
  other.leave()
  other.onGone()
  other.onPayload(cell, 0)
  assert.deepEqual([left.gone, left.came], [0, 0])
})
