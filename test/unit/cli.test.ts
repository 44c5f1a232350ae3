/** The command against a real process around a fake node: output, exit codes, messages, the life of a node process. */
import assert from 'node:assert/strict'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { startTestnet, type Testnet, type TestnetNode } from '../../client/testnet/index.ts'
import { eventually, FAKE_MAIN, gyre, lives, run } from '../support/processes.ts'

const dir = mkdtempSync(join(tmpdir(), 'gyre-cli-'))
const { signal } = new AbortController()
let testnet: Testnet
let node: TestnetNode

before(async () => {
  testnet = await startTestnet({ nodes: 1, signal, entry: FAKE_MAIN })
  node = testnet.node(0)
})
after(async () => {
  await testnet.close()
  rmSync(dir, { recursive: true })
})

const here = (): string[] => ['--data-dir', node.dataDir]

function file(name: string, content: string | Uint8Array): string {
  const path = join(dir, name)
  writeFileSync(path, content)
  return path
}

async function published(content: string | Uint8Array, name = 'a.txt'): Promise<string> {
  const { code, stdout, stderr } = await gyre(['publish', file(name, content), ...here()])
  assert.deepEqual([code, stderr], [0, ''])
  assert.match(stdout.toString(), /^[a-z2-7]{56}\n$/)
  return stdout.toString().trim()
}

test('publish prints the address alone; fetch gives the bytes, to a file or standard output', async () => {
  const content = Buffer.from(Uint8Array.from({ length: 300_000 }, (_, at) => (at * 7 + (at >> 9)) & 255))
  const address = await published(content, 'picture.PNG')
  const toOutput = await gyre(['fetch', address, ...here()])
  assert.equal(toOutput.code, 0)
  assert.equal(Buffer.compare(toOutput.stdout, content), 0)
  const out = join(dir, 'out.png')
  const toFile = await gyre(['fetch', `http://${address}.gyre/`, '-o', out, '--json', ...here()])
  const { ms, ...rest } = JSON.parse(toFile.stdout.toString()) as Record<string, unknown>
  assert.equal(typeof ms, 'number')
  assert.deepEqual(rest, { address, bytes: content.length, contentType: 'image/png', file: out })
  assert.equal(Buffer.compare(readFileSync(out), content), 0)
})

test('publish takes standard input, an empty file, a name and a type', async () => {
  const piped = await gyre(['publish', '-', '--json', ...here()], {}, Buffer.from('from a pipe'))
  assert.equal(piped.code, 0, piped.stderr)
  const { address, bytes } = JSON.parse(piped.stdout.toString()) as { address: string; bytes: number }
  assert.equal(bytes, 11)
  assert.equal((await gyre(['fetch', address, ...here()])).stdout.toString(), 'from a pipe')
  const empty = await published('')
  assert.equal((await gyre(['fetch', empty, ...here()])).stdout.length, 0)
  const typed = await gyre(['publish', file('x', 'x'), '--type', 'text/x-own', '--name', 'né', '--json', ...here()])
  assert.equal(typed.code, 0, typed.stderr)
})

test('status, peers, loops, keys: for people and as JSON', async () => {
  for (const [command, word] of [
    ['status', 'loops ready'],
    ['peers', 'neighbour'],
    ['loops', 'other members'],
    ['keys', 'node id'],
  ] as const) {
    const plain = await gyre([command, ...here()])
    assert.equal(plain.code, 0, plain.stderr)
    assert.match(plain.stdout.toString(), new RegExp(word))
    JSON.parse((await gyre([command, '--json', ...here()])).stdout.toString())
  }
  const byUrl = await gyre(['status', '--api', `${node.api}/`, ...here()])
  assert.equal(byUrl.code, 0, byUrl.stderr)
})

test('exit codes: 2 usage, 3 not found, 4 network', async () => {
  const unknown = (await published('there')).replace(/^./, (first) => (first === 'a' ? 'b' : 'a'))
  const cases: readonly (readonly [readonly string[], number, RegExp])[] = [
    [['fetch', 'nonsense', ...here()], 2, /not a Gyre address/],
    [['fetch', unknown, ...here()], 2, /not a Gyre address/i],
    [['fetch'], 2, /missing required argument/],
    [['nothing'], 2, /unknown command/],
    [['status', '--bogus'], 2, /unknown option/],
    [[], 2, /Usage/],
    [['testnet', '--nodes', '0'], 2, /--nodes takes/],
    [['publish', join(dir, 'absent'), ...here()], 2, /absent.*ENOENT/],
    [['publish', '/dev/null', ...here()], 2, /neither a file nor a folder/],
    [['fetch', 'a'.repeat(56), '--json', ...here()], 2, /-o FILE/],
    [['start', '--clock', 'slow'], 2, /"clock".*"swift"/],
    [['start', '--config', join(dir, 'absent.toml')], 2, /ENOENT/],
    [['status', '--data-dir', join(dir, 'empty')], 4, /holds no token/],
    [['status', '--api', '127.0.0.1:1', ...here()], 4, /No node answers at 127\.0\.0\.1:1/],
  ]
  for (const [args, code, message] of cases) {
    const ended = await gyre(args)
    assert.equal(ended.code, code, `${args.join(' ')}: ${ended.stderr}`)
    assert.match(ended.stderr, message)
    assert.doesNotMatch(ended.stderr, /\n +at /)
    assert.equal(ended.stdout.length, 0)
  }
  const json = await gyre(['status', '--json', '--data-dir', join(dir, 'empty')])
  assert.equal((JSON.parse(json.stderr) as { error: { code: string } }).error.code, 'NODE_UNREACHABLE')
  assert.equal((await gyre(['--help'])).code, 0)
  assert.equal((await gyre(['--version'])).code, 0)
})

test('a fetch that fails leaves no file, and tells damage (5) from a lost network (4) and from nothing there (3)', async () => {
  // Stands for a node whose transfer broke in the middle.
  let code = 'CONTENT_DAMAGED'
  const server = createServer((request, response) => {
    if (request.url?.startsWith('/v1/transfers/')) return response.end(JSON.stringify({ code }))
    if (code === 'CONTENT_NOT_FOUND') {
      response.writeHead(404)
      return response.end(JSON.stringify({ code, kind: 'not-found', detail: 'gone' }))
    }
    response.writeHead(200, { 'Content-Length': '100000', 'Gyre-Transfer': '1' })
    response.write(Buffer.alloc(50_000), () => response.socket?.resetAndDestroy())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const api = `127.0.0.1:${(server.address() as AddressInfo).port}`
  mkdirSync(join(dir, 'outs'))
  const out = join(dir, 'outs', 'file')
  try {
    for (const [why, exitCode] of [
      ['CONTENT_DAMAGED', 5],
      ['CIRCUIT_ENDED', 4],
      ['CONTENT_NOT_FOUND', 3],
    ] as const) {
      code = why
      const ended = await gyre(['fetch', 'a'.repeat(56), '-o', out, '--api', api, ...here()])
      assert.equal(ended.code, exitCode, ended.stderr)
      assert.deepEqual(readdirSync(join(dir, 'outs')), [])
    }
  } finally {
    server.close()
  }
})

test('a data folder holds the token, the addresses and where the node runs, for its owner', () => {
  assert.equal(statSync(node.dataDir).mode & 0o777, 0o700)
  assert.equal(statSync(join(node.dataDir, 'api.token')).mode & 0o777, 0o600)
  assert.deepEqual(readFileSync(join(node.dataDir, 'listen.addrs'), 'utf8').trim().split('\n'), node.listen)
  assert.equal((JSON.parse(readFileSync(join(node.dataDir, 'run.json'), 'utf8')) as { api: string }).api, node.api)
})

test('one node per data folder; a lock left by a killed node is taken over', async () => {
  const second = await run(process.execPath, [
    FAKE_MAIN,
    'start',
    '--data-dir',
    node.dataDir,
    '--api',
    '127.0.0.1:0',
    '--proxy',
    '127.0.0.1:0',
    '--socks',
    '127.0.0.1:0',
  ])
  assert.notEqual(second.code, 0)
  assert.match(second.stderr, new RegExp(`in use by another node \\(process ${node.pid}\\)`))
  const own = await startTestnet({ nodes: 1, signal, entry: FAKE_MAIN })
  try {
    const { pid, id, dataDir } = own.node(0)
    await own.stop(0, true)
    assert.ok(!lives(pid) && existsSync(join(dataDir, 'lock')))
    assert.equal((await own.start(0, [])).id, id)
  } finally {
    await own.close()
  }
})

test('SIGTERM stops a node in order: exit code 0, lock and run file gone', async () => {
  const own = await startTestnet({ nodes: 1, signal, entry: FAKE_MAIN })
  try {
    const { pid, dataDir } = own.node(0)
    await own.stop(0)
    assert.ok(!lives(pid))
    assert.deepEqual(readdirSync(dataDir).sort(), ['api.token', 'listen.addrs'])
  } finally {
    await own.close()
    assert.ok(!existsSync(own.root))
  }
})

test('a node that cannot start says why, and its network leaves nothing', async () => {
  await assert.rejects(startTestnet({ nodes: 2, signal, entry: FAKE_MAIN, flags: ['--neighbours', '99'] }), /"neighbours"/)
})

test('a node without a parent or a terminal lives until it is told to stop', async () => {
  const dataDir = join(dir, 'alone')
  const args = [
    FAKE_MAIN,
    'start',
    '--data-dir',
    dataDir,
    '--api',
    '127.0.0.1:0',
    '--proxy',
    '127.0.0.1:0',
    '--socks',
    '127.0.0.1:0',
    '--address-file',
    join(dir, 'addrs'),
  ]
  const ended = run(process.execPath, args)
  await eventually('it listens', () => existsSync(join(dataDir, 'run.json')))
  assert.match(readFileSync(join(dir, 'addrs'), 'utf8'), /\/p2p\//)
  const { pid } = JSON.parse(readFileSync(join(dataDir, 'run.json'), 'utf8')) as { pid: number }
  assert.equal((await gyre(['health', '--data-dir', dataDir])).code, 0)
  process.kill(pid, 'SIGTERM')
  assert.equal((await ended).code, 0)
  assert.equal((await gyre(['health', '--data-dir', dataDir])).code, 4)
})

test('a node that dies by itself is reported', async () => {
  const died: number[] = []
  const own = await startTestnet({ nodes: 2, signal, entry: FAKE_MAIN, onDeath: (index) => died.push(index) })
  try {
    process.kill(own.node(1).pid, 'SIGKILL')
    await eventually('the death is seen', () => died.length > 0)
    assert.deepEqual(died, [1])
  } finally {
    await own.close()
  }
})

test('the launcher finds a Node that can, and passes exit codes on', async () => {
  const launcher = fileURLToPath(new URL('../../client/cli/gyre.mjs', import.meta.url))
  for (const command of [process.execPath, 'node']) {
    assert.equal((await run(command, [launcher, '--version'])).code, 0)
    assert.equal((await run(command, [launcher, 'nothing'])).code, 2)
  }
})
