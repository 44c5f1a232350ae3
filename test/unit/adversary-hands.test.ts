/** The lab's members that delay or garble, on loops in one process: a delayed loop still answers, later; a garbled one ends and delivers nothing wrong. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { systemClock } from '../../src/runtime/index.ts'
import { encodeHopRequest, parseHopReply } from '../../src/wire/index.ts'
import { monotonicClock } from '../adversary/tap-file.ts'
import { type Hands, layHands } from '../adversary/tap-hands.ts'
import { startMesh } from '../support/mesh.ts'
import { seededRng } from '../support/seeded-rng.ts'

/** Asks the apex of one loop `times` times; how long each took, and whether the loop is still open. */
async function asked(hands: Hands | null, times: number): Promise<{ readonly ms: number[]; readonly failed: number }> {
  const mesh = await startMesh({ count: 7, clock: systemClock, rng: seededRng('hands') })
  const { signal } = new AbortController()
  const loop = await mesh.nodes[0]!.builder.build(undefined, () => {}, { signal })
  const takeOff = hands === null ? () => {} : layHands(hands, monotonicClock(), 0.9)
  const ms: number[] = []
  let failed = 0
  try {
    for (let at = 0; at < times; at++) {
      const began = performance.now()
      try {
        const answer = await loop.ask(encodeHopRequest({ kind: 'ping', filler: new Uint8Array(0), answerBytes: 300 + at }), {
          signal: AbortSignal.timeout(10_000),
        })
        assert.equal(parseHopReply(answer)?.body.byteLength, 300 + at)
        ms.push(performance.now() - began)
      } catch (error) {
        if (error instanceof assert.AssertionError) throw error
        failed++
      }
    }
  } finally {
    takeOff()
    loop.close()
    await mesh.close()
  }
  return { ms, failed }
}

test('who is delayed at every member waits for slots to end, and is answered all the same', { timeout: 60_000 }, async () => {
  const plain = await asked(null, 3)
  assert.equal(plain.failed, 0)
  const delayed = await asked('delay', 1)
  assert.equal(delayed.failed, 0)
  assert.ok(Math.max(...delayed.ms) > 100, `${delayed.ms}`)
})

test('garbled cells end the loop; no wrong answer is ever given', { timeout: 60_000 }, async () => {
  const { failed } = await asked('garble', 5)
  assert.ok(failed > 0)
})
