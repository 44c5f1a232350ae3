/** `gyre tokens` and `gyre fetch --trace` against a real process around a fake node. */
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { traceTable } from '../../client/cli/trace.ts'
import { startTestnet, type Testnet, type TestnetNode } from '../../client/testnet/index.ts'
import { FAKE_MAIN, gyre } from '../support/processes.ts'

const dir = mkdtempSync(join(tmpdir(), 'gyre-cli-'))
let testnet: Testnet
let node: TestnetNode

before(async () => {
  testnet = await startTestnet({ nodes: 1, signal: new AbortController().signal, entry: FAKE_MAIN })
  node = testnet.node(0)
})
after(async () => {
  await testnet.close()
  rmSync(dir, { recursive: true })
})

const run = async (...args: string[]) => {
  const { code, stdout, stderr } = await gyre([...args, '--data-dir', node.dataDir])
  return { code, out: stdout.toString(), err: stderr }
}
const statusWith = async (token: string, path: string) =>
  (await fetch(`${node.api}${path}`, { headers: { Authorization: `Bearer ${token}` } })).status

test('a token is printed once, works within its scope, is listed, and is gone when it was taken back', async () => {
  const made = await run('tokens', 'add', 'grafana', '--scope', 'read')
  assert.deepEqual([made.code, made.err], [0, ''])
  const token = made.out.trim()
  assert.match(token, /^[A-Za-z0-9_-]{43}$/)
  assert.ok(!readFileSync(join(node.dataDir, 'api-tokens.json'), 'utf8').includes(token))
  assert.deepEqual([await statusWith(token, '/metrics'), await statusWith(token, '/v1/tokens')], [200, 403])
  const listed = await run('tokens', 'list')
  assert.match(listed.out, /^grafana +read +\d{4}-\d\d-\d\d$/m)
  assert.ok(!listed.out.includes(token))
  const again = await run('tokens', 'add', 'grafana')
  assert.equal(again.code, 2)
  assert.match(again.err, /There is a token of that name/)
  assert.equal((await run('tokens', 'add', 'x', '--scope', 'all')).code, 2)
  assert.equal((await run('tokens', 'add')).code, 2)
  assert.equal((await run('tokens', 'add', '--name', 'y')).code, 0)
  assert.equal((await run('tokens', 'remove', 'y')).code, 0)
  assert.equal((await run('tokens', 'remove', 'grafana')).code, 0)
  assert.equal(await statusWith(token, '/metrics'), 401)
  assert.equal((await run('tokens', 'remove', 'grafana')).code, 3)
  assert.match((await run('tokens', 'list')).out, /no tokens/)
})

test('fetch --trace shows the stages on standard error, and nothing else changes', async () => {
  writeFileSync(join(dir, 'a.txt'), 'hello')
  const address = (await run('publish', join(dir, 'a.txt'))).out.trim()
  const fetched = await run('fetch', address, '--trace')
  assert.deepEqual([fetched.code, fetched.out], [0, 'hello'])
  assert.match(fetched.err, /took ms +stage[\s\S]*root[\s\S]*first-byte[\s\S]*body/)
})

test('moments of one kind in a row are one line of the table', () => {
  const moment = { stage: 'retry', atMs: 1, tookMs: null, note: 'nothing there', loop: null, failed: false }
  const stages = [moment, moment, moment, { ...moment, stage: 'root', tookMs: 3 }]
  const table = traceTable({ id: '1', state: 'done', totalMs: 5, code: null, stages, dropped: 2, slowest: 'root', failures: [] })
  assert.match(table, /^1\.0 +retry +nothing there \(3 times\)$/m)
  assert.equal(table.split('\n').length, 6)
  assert.match(table, /and 2 more stages\nMost of the time went to the stage "root": 3 of 5 ms\./)
})
