/** What a paced loop of the highest rate carries: nine tenths and more of what its slots have room for, each way (SPEC §4.5, §5.2). */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PACED_ASKS_AT_ONCE } from '../../client/shares.ts'
import { measurePaced } from '../bench/paced.ts'

for (const way of ['up', 'down'] as const) {
  test(`a loop of 8192 cells a second carries over 90 % of its rate ${way}, with as many shares under way as one piece of work has`, async () => {
    const { part, noiseCells } = await measurePaced(way, { rate: 8_192, asks: PACED_ASKS_AT_ONCE, seconds: 2 })
    assert.ok(part >= 0.95, `${(100 * part).toFixed(1)} %`)
    assert.equal(noiseCells, 0)
  })
}
