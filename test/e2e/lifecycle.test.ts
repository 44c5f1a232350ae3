/**
 * `npm run testnet` as scripts use it: one line of JSON and nothing else; SIGTERM and SIGINT leave neither process nor folder; when the
 * parent is killed outright, its nodes end by themselves.
 */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import type { TestnetNode } from '../../client/testnet/index.ts'
import { E2E_CLOCK, patience } from '../support/e2e-clock.ts'
import { ask } from '../support/http.ts'
import { eventually, gyre, lives, MAIN } from '../support/processes.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
/** Networks of this test make their folders here, so that others' are not taken for them. */
const TMPDIR = mkdtempSync(join(tmpdir(), 'gyre-lifecycle-'))
const env = { ...process.env, TMPDIR }
const running = new Set<number>()

after(() => {
  // Whatever a failed test left.
  for (const pid of running) if (lives(pid)) process.kill(pid, 'SIGKILL')
  rmSync(TMPDIR, { recursive: true, force: true, maxRetries: 5 })
})

interface Started {
  readonly child: ChildProcess
  readonly network: string
  readonly nodes: readonly TestnetNode[]
  readonly ended: Promise<{ readonly code: number | null; readonly stdout: string; readonly stderr: string }>
  /** What it wrote to standard error so far. */
  errors(): string
}

/** Starts a test network in a process of its own and waits for its line. */
async function start(command: string, args: readonly string[]): Promise<Started> {
  const child = spawn(command, args, { cwd: ROOT, env, stdio: ['ignore', 'pipe', 'pipe'] })
  running.add(child.pid!)
  let stdout = ''
  let stderr = ''
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString()
  })
  const line = Promise.withResolvers<string>()
  child.stdout.on('data', (chunk: Buffer) => {
    stdout += chunk.toString()
    if (stdout.includes('\n')) line.resolve(stdout)
  })
  const ended = new Promise<{ code: number | null; stdout: string; stderr: string }>((resolve) => {
    child.on('close', (code) => {
      line.reject(new Error(`ended before it was ready: ${stderr}`))
      resolve({ code, stdout, stderr })
    })
  })
  const { network, nodes } = JSON.parse(await line.promise) as { network: string; nodes: TestnetNode[] }
  for (const { pid } of nodes) running.add(pid)
  return { child, network, nodes, ended, errors: () => stderr }
}

const direct = (nodes: number): Promise<Started> =>
  start(process.execPath, [MAIN, 'testnet', '--nodes', String(nodes), '--clock', E2E_CLOCK])
const byNpm = (nodes: number): Promise<Started> =>
  start('npm', ['run', '--silent', 'testnet', '--', '--nodes', String(nodes), '--clock', E2E_CLOCK])

async function nothingLeft({ nodes }: Started): Promise<void> {
  await eventually('every node has ended', () => !nodes.some(({ pid }) => lives(pid)), 12_000)
}

test('npm run --silent testnet: one line of JSON, then SIGTERM: exit code 0, nothing left', {
  timeout: patience(120_000),
}, async () => {
  const started = await byNpm(8)
  assert.equal(started.nodes.length, 8)
  for (const [at, node] of started.nodes.entries()) {
    assert.equal(node.index, at)
    assert.match(node.id, /^[0-9a-f]{64}$/)
    assert.match(node.api, /^http:\/\/127\.0\.0\.1:\d+$/)
    assert.match(node.proxy, /^http:\/\/127\.0\.0\.1:\d+$/)
    assert.match(node.socks, /^127\.0\.0\.1:\d+$/)
    assert.ok(node.token.length >= 32 && node.listen.length > 0 && existsSync(node.dataDir) && lives(node.pid))
    assert.match(node.listen[0]!, /\/p2p\//)
  }
  const ids = (pick: (node: TestnetNode) => unknown) => new Set(started.nodes.map(pick)).size
  assert.deepEqual([ids((one) => one.id), ids((one) => one.pid), ids((one) => one.api), ids((one) => one.token)], [8, 8, 8, 8])
  started.child.kill('SIGTERM')
  const { code, stdout } = await started.ended
  assert.equal(code, 0)
  assert.equal(stdout.trim().split('\n').length, 1)
  await nothingLeft(started)
  assert.ok(!existsSync(dirname(started.nodes[0]!.dataDir)))
})

test('SIGINT does the same; so does SIGTERM during the start', { timeout: patience(60_000) }, async () => {
  const started = await direct(4)
  started.child.kill('SIGINT')
  assert.equal((await started.ended).code, 0)
  await nothingLeft(started)
  assert.ok(!existsSync(dirname(started.nodes[0]!.dataDir)))

  const child = spawn(process.execPath, [MAIN, 'testnet', '--nodes', '4', '--clock', E2E_CLOCK], {
    cwd: ROOT,
    env,
    stdio: 'ignore',
  })
  await eventually('its folder is there', () => networks().length > 0)
  child.kill('SIGTERM')
  const code = await new Promise((resolve) => child.on('exit', resolve))
  assert.equal(code, 0)
  assert.deepEqual(networks(), [])
})

function networks(): string[] {
  return readdirSync(TMPDIR).filter((name) => name.startsWith('gyre-testnet-'))
}

test('kill -9 of the parent leaves no node', { timeout: patience(60_000) }, async () => {
  const started = await direct(4)
  started.child.kill('SIGKILL')
  await nothingLeft(started)
  rmSync(dirname(started.nodes[0]!.dataDir), { recursive: true })
})

test('kill -9 of npm ends the network in order', { timeout: patience(60_000) }, async () => {
  const started = await byNpm(4)
  started.child.kill('SIGKILL')
  await nothingLeft(started)
  await eventually('its folder is gone', () => !existsSync(dirname(started.nodes[0]!.dataDir)))
})

test('a node that dies is reported on standard error, and the others go on; tokens and names are checked', {
  timeout: patience(60_000),
}, async () => {
  const started = await direct(4)
  const [first, second] = started.nodes as readonly [TestnetNode, TestnetNode]
  const { hostname: host, port } = new URL(first.api)
  const at = { host, port: Number(port) }
  const status = async (headers: Record<string, string>) => (await ask(at, { path: '/v1/status', headers })).status
  assert.equal(await status({}), 401)
  assert.equal(await status({ Authorization: `Bearer ${second.token}` }), 401)
  const Authorization = `Bearer ${first.token}`
  assert.equal(await status({ Authorization }), 200)
  assert.equal(await status({ Authorization, Origin: 'http://evil.example' }), 403)
  assert.equal(
    (await ask(at, { path: '/v1/status', bareHost: true, headers: { Authorization, Host: 'evil.example' } })).status,
    403,
  )
  process.kill(second.pid, 'SIGKILL')
  await eventually('its death is reported', () => /node 1 ended by itself \(SIGKILL\)/.test(started.errors()))
  assert.equal(await status({ Authorization }), 200)
  started.child.kill('SIGTERM')
  assert.equal((await started.ended).code, 0)
})

test('a start that fails says why in one message, ends in order, and gives the folder free', {
  timeout: patience(60_000),
}, async () => {
  const taken = createServer()
  await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve))
  const busy = (taken.address() as AddressInfo).port
  const dataDir = join(TMPDIR, 'failing')
  const free = ['--data-dir', dataDir, '--log-level', 'warn', '--proxy', '127.0.0.1:0', '--socks', '127.0.0.1:0']
  try {
    for (const [flags, message] of [
      [['--api', `127.0.0.1:${busy}`, '--listen', '/ip4/127.0.0.1/tcp/0'], /^gyre: Something listens on .*--api.*\n {6}.+\n$/],
      [['--api', '127.0.0.1:0', '--listen', `/ip4/127.0.0.1/tcp/${busy}`], /^gyre: Cannot listen .*\n {6}.+\n$/],
    ] as const) {
      const ended = await gyre(['start', ...free, ...flags])
      assert.equal(ended.code, 2, ended.stderr)
      assert.match(ended.stderr, message)
      assert.ok(!existsSync(join(dataDir, 'lock')))
    }
  } finally {
    taken.close()
  }
})
