/**
 * What a paced loop gives: how long it takes to its middle, and what one of the highest rate carries: nine tenths and more of what its slots have
 * room for, each way (SPEC §4.5, §4.6, §5.2).
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { holdFor } from '../../client/clocks.ts'
import { PACED_ASKS_AT_ONCE } from '../../client/shares.ts'
import { measurePaced } from '../bench/paced.ts'
import { startFakeMesh } from '../support/fake-mesh.ts'

test('half a loop takes at most 250 ms beside its wires, with the hold of networks of each size', async () => {
  for (const members of [5, 8, 11]) {
    const holdMs = holdFor(members)
    const sim = await startFakeMesh(`half a loop ${members}`, { count: members + 1, pacing: { control: { everyMs: 200 } } })
    const hops = Array.from({ length: members }, (_, at) => at + 1)
    const loop = await sim.buildPaced(0, { hops, rate: 3, lifeMs: 20_000, leadMs: 7_500, holdMs })
    await sim.clock.runUntil(() => loop.running, 30_000)
    for (let at = 0; at < 5; at++) {
      await sim.clock.advance(500 + 37 * at)
      const before = sim.clock.monotonicMs()
      await sim.echo(loop, new Uint8Array(10))
      const tookMs = sim.clock.monotonicMs() - before
      assert.ok(tookMs <= 2 * 250, `${members} others, hold ${holdMs} ms: ${tookMs} ms there and back`)
      assert.ok(tookMs >= 2 * 180, `${members} others: a longer hold would do`)
    }
    await sim.close()
  }
})

for (const way of ['up', 'down'] as const) {
  test(`a loop of 8192 cells a second carries over 90 % of its rate ${way}, with as many shares under way as one piece of work has`, async () => {
    const { part, noiseCells } = await measurePaced(way, { rate: 8_192, asks: PACED_ASKS_AT_ONCE, seconds: 2 })
    assert.ok(part >= 0.95, `${(100 * part).toFixed(1)} %`)
    assert.equal(noiseCells, 0)
  })
}
