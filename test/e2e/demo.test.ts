/** `gyre demo`: ends with 0, compares what it fetched, tells its figures, leaves nothing behind. */
import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, rmdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { E2E_CLOCK, patience } from '../support/e2e-clock.ts'
import { gyre } from '../support/processes.ts'

test('the demo runs to its end in under a minute (minutes under a paced clock)', { timeout: patience(120_000) }, async () => {
  const own = mkdtempSync(join(tmpdir(), 'gyre-demo-'))
  const ended = await gyre(['demo', '--json', '--clock', E2E_CLOCK], { TMPDIR: own })
  assert.equal(ended.code, 0, ended.stderr)
  const { totalMs, loopMembers, steps } = JSON.parse(ended.stdout.toString()) as {
    totalMs: number
    loopMembers: number
    steps: readonly { what: string; totalMs: number }[]
  }
  console.log(ended.stdout.toString())
  assert.equal(steps.length, 6)
  assert.ok(loopMembers >= 5)
  assert.ok(totalMs < patience(60_000), `${totalMs} ms`)
  assert.deepEqual(readdirSync(own), [])
  rmdirSync(own)
})
