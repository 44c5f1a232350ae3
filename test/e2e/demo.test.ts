/** `gyre demo`: ends with 0, compares what it fetched, tells its figures, leaves nothing behind. */
import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { test } from 'node:test'
import { gyre } from '../support/processes.ts'

const folders = (): string[] => readdirSync(tmpdir()).filter((name) => name.startsWith('gyre-testnet-'))

test('the demo runs to its end in under a minute', { timeout: 120_000 }, async () => {
  const before = folders()
  const ended = await gyre(['demo', '--json'])
  assert.equal(ended.code, 0, ended.stderr)
  const { totalMs, loopMembers, steps } = JSON.parse(ended.stdout.toString()) as {
    totalMs: number
    loopMembers: number
    steps: readonly { what: string; totalMs: number }[]
  }
  console.log(ended.stdout.toString())
  assert.equal(steps.length, 6)
  assert.ok(loopMembers >= 5)
  assert.ok(totalMs < 60_000, `${totalMs} ms`)
  assert.deepEqual(folders(), before)
})
