/**
 * Gyre as people use it: their own programs, unchanged, through the local proxies of one node, against sites and live services of others.
 * Eight real processes; curl, wget, Chromium, git, ssh, rsync, torsocks, proxychains, aria2 and ffmpeg as the machine has them
 * (`test/support/clients.ts` says what happens where one is missing). Each of these is a recipe in the README.
 */
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { call, getJson, parseJson, readText } from '../../client/cli/api-client.ts'
import type { ServiceStatus, SitePublication } from '../../client/library.ts'
import { apiOf, startTestnet, type Testnet, type TestnetNode } from '../../client/testnet/index.ts'
import type { TraceReport } from '../../client/trace/index.ts'
import { chromiumThrough } from '../support/browser.ts'
import { client, needs } from '../support/clients.ts'
import { E2E_CLOCK, patience } from '../support/e2e-clock.ts'
import { type Ended, eventually, gyre, lives, run } from '../support/processes.ts'
import { writeSiteTree } from '../support/site-tree.ts'
import { gitTarget, httpTarget, rsyncTarget, sshTarget, type Target } from '../support/targets.ts'

const MiB = 2 ** 20
const dir = mkdtempSync(join(tmpdir(), 'gyre-clients-'))
const { signal } = new AbortController()
const targets: Target[] = []
const lines: string[] = []
let testnet: Testnet
/** Publishes and hosts. */
let host: TestnetNode
/** Whose proxies the clients use. */
let reader: TestnetNode
let proxy: { readonly host: string; readonly port: string }
let socks: { readonly host: string; readonly port: string }

before(async () => {
  const onLine = (index: number, line: string) => lines.push(`node ${index}: ${line}`)
  const onDeath = (index: number, how: string) => lines.push(`node ${index} died: ${how}`)
  testnet = await startTestnet({ nodes: 8, clock: E2E_CLOCK, signal, onLine, onDeath })
  host = testnet.node(0)
  reader = testnet.node(7)
  const { hostname, port } = new URL(reader.proxy)
  proxy = { host: hostname, port }
  const [socksHost = '', socksPort = ''] = reader.socks.split(':')
  socks = { host: socksHost, port: socksPort }
})

after(async () => {
  const pids = testnet?.nodes.map(({ pid }) => pid) ?? []
  for (const target of targets) await target.close()
  await testnet?.close()
  rmSync(dir, { recursive: true, force: true })
  assert.ok(!pids.some(lives), 'a process is left')
  if (lines.length > 0) console.log(lines.slice(-40).join('\n'))
})

function folder(name: string): string {
  const path = join(dir, name)
  mkdirSync(path, { recursive: true })
  return path
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

async function ok(ran: Promise<Ended>): Promise<Ended> {
  const ended = await ran
  assert.equal(ended.code, 0, `${ended.stderr}\n${ended.stdout.subarray(0, 2000)}`)
  return ended
}

/** Publishes `path` as the site of `key` by command. */
async function publishSite(key: string, path: string): Promise<SitePublication> {
  const ended = await ok(gyre(['publish', path, '--key', key, '--json', '--data-dir', host.dataDir]))
  return parseJson(ended.stdout.toString()) as SitePublication
}

/** Hosts `port` of this machine as service `name` at node 0 and waits until it is up. Returns its address. */
async function hostService(name: string, target: Target, virtualPort = 80): Promise<string> {
  targets.push(target)
  const to = `127.0.0.1:${target.port}`
  const flags = ['--name', name, '--target', to, '--port', String(virtualPort), '--json', '--data-dir', host.dataDir]
  const ended = await ok(gyre(['service', 'add', ...flags]))
  const { address } = parseJson(ended.stdout.toString()) as { address: string }
  await eventually(
    `service ${name} is up`,
    async () => (await getJson<ServiceStatus>(apiOf(host), `/v1/services/${name}`, signal)).state === 'up',
    patience(30_000),
  )
  return address
}

test('curl: a page of a site, its 404, a redirect, a range, not modified', needs('curl'), async () => {
  const root = folder('plain')
  writeFileSync(join(root, 'index.html'), '<h1>Hello</h1>\n')
  mkdirSync(join(root, 'sub'))
  writeFileSync(join(root, 'sub', 'index.html'), '<h1>Below</h1>\n')
  writeFileSync(join(root, '404.html'), '<h1>Not here</h1>\n')
  const { address } = await publishSite('plain', root)
  const curl = (...args: readonly string[]) => ok(run('curl', ['-sS', '-x', reader.proxy, ...args]))
  assert.equal((await curl(`http://${address}.gyre/`)).stdout.toString(), '<h1>Hello</h1>\n')
  const missing = await curl('-w', '%{http_code}', `http://${address}.gyre/nowhere`)
  assert.equal(missing.stdout.toString(), '<h1>Not here</h1>\n404')
  assert.equal((await curl('-L', `http://${address}.gyre/sub`)).stdout.toString(), '<h1>Below</h1>\n')
  assert.equal((await curl('-r', '4-8', `http://${address}.gyre/`)).stdout.toString(), 'Hello')
  const etag = /etag: (\S+)/i.exec((await curl('-I', `http://${address}.gyre/`)).stdout.toString())?.[1] ?? ''
  const again = await curl('-w', '%{http_code}', '-H', `If-None-Match: ${etag}`, `http://${address}.gyre/`)
  assert.equal(again.stdout.toString(), '304')
  await ok(gyre(['names', 'add', 'plain', address, '--data-dir', reader.dataDir]))
  assert.equal((await curl('http://plain.gyre/')).stdout.toString(), '<h1>Hello</h1>\n')
})

test('wget: a recursive mirror of 200 files is equal to the source, before and after an update', needs('wget'), async () => {
  const root = folder('tree')
  assert.equal(writeSiteTree(root, 200).length, 200)
  const first = await publishSite('tree', root)
  await mirror(first.address, root, 'mirror-1')
  writeFileSync(join(root, 'style.css'), 'body { color: teal }\n')
  const second = await publishSite('tree', root)
  assert.equal(second.address, first.address)
  assert.equal(second.version, first.version + 1)
  assert.ok(second.uploaded < 2 * 65_536, `${second.uploaded} bytes went out for one changed file`)
  await mirror(second.address, root, 'mirror-2')
  // The first version is still there, as a file address of its own.
  const old = await ok(run('curl', ['-sS', '-x', reader.proxy, `http://${first.snapshot}.gyre/style.css`]))
  assert.match(old.stdout.toString(), /serif/)
})

async function mirror(address: string, root: string, name: string): Promise<void> {
  const into = folder(name)
  const settings = ['-e', 'use_proxy=yes', '-e', `http_proxy=${reader.proxy}`, '-e', 'robots=off']
  await ok(run('wget', ['-q', '--no-cache', '-r', '-l', 'inf', '-np', '-nH', '-P', into, ...settings, `http://${address}.gyre/`]))
  await ok(run('diff', ['-r', root, into]))
}

test(
  'git: clone, commit, push, clone again, over HTTP through the proxy to a live service',
  needs('git', 'git-http-backend'),
  async () => {
    const root = folder('git')
    const config = [
      '-c',
      'user.name=t',
      '-c',
      'user.email=t@invalid',
      '-c',
      'init.defaultBranch=main',
      '-c',
      `http.proxy=${reader.proxy}`,
    ]
    const env = { GIT_CONFIG_NOSYSTEM: '1', HOME: root, GIT_TERMINAL_PROMPT: '0' }
    const git = (...args: readonly string[]) => ok(run('git', [...config, ...args], env))
    await git('init', '-q', '--bare', join(root, 'project.git'))
    const address = await hostService('git', await gitTarget(root))
    const url = `http://${address}.gyre/project.git`
    await git('clone', '-q', url, join(root, 'one'))
    const bytes = randomBytes(3 * MiB)
    writeFileSync(join(root, 'one', 'big.bin'), bytes)
    await git('-C', join(root, 'one'), 'checkout', '-q', '-B', 'main')
    await git('-C', join(root, 'one'), 'add', '.')
    await git('-C', join(root, 'one'), 'commit', '-q', '-m', 'add a file')
    await git('-C', join(root, 'one'), 'push', '-q', 'origin', 'main')
    await git('clone', '-q', '-b', 'main', url, join(root, 'two'))
    assert.equal(sha256(readFileSync(join(root, 'two', 'big.bin'))), sha256(bytes))
  },
)

test('ssh: a command, and rsync over it, through CONNECT', needs('ssh', 'sshd', 'nc', 'rsync', 'ssh-keygen'), async () => {
  const root = folder('ssh')
  const target = await sshTarget(root)
  const address = await hostService('shell', target, 22)
  const via = `ProxyCommand=${client('nc')} -X connect -x ${proxy.host}:${proxy.port} %h %p`
  const options = ['-F', 'none', '-i', target.identity, '-o', via, '-o', `UserKnownHostsFile=${target.knownHosts}`]
  const ssh = [...options, '-o', 'StrictHostKeyChecking=accept-new', '-o', 'BatchMode=yes', '-o', 'IdentitiesOnly=yes']
  const user = process.env.USER ?? (process.getuid?.() === 0 ? 'root' : 'nobody')
  const said = await ok(run('ssh', [...ssh, `${user}@${address}.gyre`, 'echo', 'over', 'loops']))
  assert.equal(said.stdout.toString(), 'over loops\n')
  const tree = folder('ssh-tree')
  writeSiteTree(tree, 30, 3)
  const quoted = ssh.map((word) => `'${word}'`).join(' ')
  await ok(run('rsync', ['-a', '-e', `ssh ${quoted}`, `${tree}/`, `${user}@${address}.gyre:${join(root, 'copy')}/`]))
  await ok(run('diff', ['-r', tree, join(root, 'copy')]))
})

test('rsync: its own protocol, through CONNECT (RSYNC_PROXY)', needs('rsync'), async () => {
  const tree = folder('rsync-tree')
  writeSiteTree(tree, 60, 4)
  const address = await hostService('files', await rsyncTarget(folder('rsync'), tree), 873)
  const into = folder('rsync-copy')
  const env = { RSYNC_PROXY: `${proxy.host}:${proxy.port}` }
  await ok(run('rsync', ['-a', `rsync://${address}.gyre/files/`, `${into}/`], env))
  await ok(run('diff', ['-r', tree, into]))
})

test('torsocks curl: a site by its name, resolved by the node', needs('torsocks', 'curl'), async () => {
  const root = folder('torsocks')
  writeFileSync(join(root, 'index.html'), 'through torsocks\n')
  const { address } = await publishSite('torsocks', root)
  const ended = await ok(run('torsocks', ['-a', socks.host, '-P', socks.port, 'curl', '-sS', `http://${address}.gyre/`]))
  assert.equal(ended.stdout.toString(), 'through torsocks\n')
  const outside = await run('torsocks', ['-a', socks.host, '-P', socks.port, 'curl', '-sS', '-m', '10', 'http://example.com/'])
  assert.notEqual(outside.code, 0)
})

test('proxychains curl: the same, with addresses of its own', needs('proxychains4', 'curl'), async () => {
  const root = folder('proxychains')
  writeFileSync(join(root, 'index.html'), 'through proxychains\n')
  const { address } = await publishSite('proxychains', root)
  const config = join(dir, 'proxychains.conf')
  writeFileSync(config, `strict_chain\nproxy_dns\n[ProxyList]\nsocks5 ${socks.host} ${socks.port}\n`)
  const curl = (...args: readonly string[]) => run('proxychains4', ['-q', '-f', config, 'curl', '-sS', ...args])
  assert.equal((await ok(curl(`http://${address}.gyre/`))).stdout.toString(), 'through proxychains\n')
  assert.notEqual((await curl('-m', '10', 'http://example.com/')).code, 0)
})

test('SOCKS: two isolation users use different loops', needs('curl'), async () => {
  const root = folder('isolation')
  writeFileSync(join(root, 'index.html'), randomBytes(300_000).toString('base64'))
  const { address } = await publishSite('isolation', root)
  const loopsOf = async (user: string): Promise<number[]> => {
    const head = join(dir, `head-${user}`)
    const via = ['--socks5-hostname', reader.socks, '--proxy-user', `${user}:x`]
    await ok(run('curl', ['-sS', ...via, '-D', head, '-o', join(dir, `body-${user}`), `http://${address}.gyre/`]))
    const trace = /gyre-trace: (\S+)/i.exec(readFileSync(head, 'latin1'))?.[1]
    assert.ok(trace, 'the answer names its trace')
    const { stages } = await getJson<TraceReport>(apiOf(reader), `/v1/traces/${trace}`, signal)
    return stages.flatMap(({ loop }) => (loop === null || loop === 0 ? [] : [loop]))
  }
  const [anna, bert] = [await loopsOf('anna'), await loopsOf('bert')]
  assert.ok(anna.length > 0 && bert.length > 0)
  assert.deepEqual(
    anna.filter((loop) => bert.includes(loop)),
    [],
  )
})

test('aria2: eight connections, broken off and resumed', needs('aria2c'), async () => {
  const bytes = randomBytes(24 * MiB)
  const response = await call(apiOf(host), {
    method: 'POST',
    path: '/v1/publish?name=big.bin',
    headers: { 'Content-Length': bytes.length },
    signal,
    send: (request) => request.end(bytes),
  })
  const { address } = parseJson(await readText(response, signal)) as { address: string }
  const into = folder('aria2')
  const shared = ['--quiet', '-d', into, '-o', 'big.bin', `--http-proxy=${reader.proxy}`, '--no-netrc', '-c', '--no-conf']
  const many = ['-x', '8', '-s', '8', '-k', '1M', '--piece-length=1M', '--file-allocation=none']
  const slow = ['--max-overall-download-limit=2M', '--stop=3']
  await run('aria2c', [...shared, ...many, ...slow, `http://${address}.gyre/`])
  assert.ok(existsSync(join(into, 'big.bin.aria2')), 'it was broken off')
  await ok(run('aria2c', [...shared, ...many, `http://${address}.gyre/`]))
  assert.equal(sha256(readFileSync(join(into, 'big.bin'))), sha256(bytes))
})

test('ffmpeg: a video of a site, sought by Range', needs('ffmpeg'), async () => {
  const root = folder('video')
  const video = join(root, 'v.mp4')
  const source = [
    '-f',
    'lavfi',
    '-i',
    'testsrc=size=640x360:rate=25:duration=40',
    '-pix_fmt',
    'yuv420p',
    '-b:v',
    '3M',
    '-g',
    '25',
  ]
  await ok(run('ffmpeg', ['-v', 'error', '-y', ...source, video]))
  const { address } = await publishSite('video', root)
  const frame = (input: readonly string[], out: string) =>
    ok(run('ffmpeg', ['-v', 'trace', '-y', '-ss', '30', ...input, '-frames:v', '1', out]))
  const remote = await frame(['-http_proxy', reader.proxy, '-i', `http://${address}.gyre/v.mp4`], join(dir, 'remote.png'))
  const asked = [...remote.stderr.matchAll(/Range: bytes=(\d+)-/g)].map(([, from]) => Number(from))
  assert.ok(
    asked.some((from) => from > statSync(video).size / 2),
    `it asked from ${asked}`,
  )
  await frame(['-i', video], join(dir, 'local.png'))
  assert.equal(sha256(readFileSync(join(dir, 'remote.png'))), sha256(readFileSync(join(dir, 'local.png'))))
  assert.ok(statSync(video).size > MiB)
})

test(
  'Chromium: pages of two sites with scripts, images and fetch; separate origins and cookies; a WebSocket to a live service',
  needs('chromium'),
  async () => {
    const one = folder('site-one')
    const two = folder('site-two')
    const pixel = Buffer.from(
      'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==',
      'base64',
    )
    writeFileSync(
      join(two, 'index.html'),
      '<!doctype html><title>two</title><script>document.cookie="two=2;path=/";localStorage.setItem("two","2")</script><p>two',
    )
    writeFileSync(join(two, 'pixel.png'), pixel)
    writeFileSync(join(two, 'data.json'), '{"from":"two"}')
    writeFileSync(join(two, 'shared.js'), 'window.fromTwo = "script of two"\n')
    const second = (await publishSite('two', two)).address
    writeFileSync(join(one, 'pixel.png'), pixel)
    writeFileSync(join(one, 'data.json'), '{"from":"one"}')
    writeFileSync(join(one, 'app.js'), appScript(second))
    writeFileSync(join(one, 'index.html'), onePage(second))
    const first = (await publishSite('one', one)).address
    const live = await hostService('live', await httpTarget(livePage, true))

    const browser = await chromiumThrough(reader)
    try {
      const context = await browser.newContext()
      context.setDefaultTimeout(patience(30_000)) // a service that is new to a node takes longer under a paced clock
      const page = await context.newPage()
      await page.goto(`http://${second}.gyre/`)
      assert.equal(await page.evaluate("document.cookie + ' ' + localStorage.getItem('two')"), 'two=2 2')
      await page.goto(`http://${first}.gyre/`)
      await page.waitForFunction("document.body.dataset.done === 'yes'", undefined, { timeout: patience(20_000) })
      const seen = JSON.parse((await page.getAttribute('body', 'data-seen')) ?? '{}') as Record<string, unknown>
      assert.deepEqual(seen, {
        own: 'one',
        other: 'two',
        image: 1,
        otherImage: 1,
        script: 'script of two',
        cookie: 'one=1',
        storage: null,
      })
      const cookies = await context.cookies()
      assert.deepEqual(
        cookies.map(({ name, domain }) => `${name} ${domain}`).sort(),
        [`one ${first}.gyre`, `two ${second}.gyre`].sort(),
      )
      await page.goto(`http://${live}.gyre/hello`)
      const answers = (await page.evaluate(ECHO_SCRIPT)) as {
        readonly told: string[]
        readonly cookie: string
        readonly seen: string
      }
      assert.deepEqual(answers.told, ['first', 'second'])
      assert.equal(answers.cookie, 'live=3')
      assert.equal(answers.seen, 'live=3')
      const outside = await page.goto('http://example.com/')
      assert.equal(outside?.status(), 403)
    } finally {
      await browser.close()
    }
  },
)

function onePage(other: string): string {
  return `<!doctype html><html lang="en"><meta charset="utf-8"><title>one</title><body>
<img id="image" src="pixel.png" alt=""><img id="other-image" src="http://${other}.gyre/pixel.png" alt="">
<script src="http://${other}.gyre/shared.js"></script><script src="app.js"></script></body></html>`
}

function appScript(other: string): string {
  return `document.cookie = 'one=1;path=/'
addEventListener('load', async () => {
  const seen = {}
  seen.own = (await (await fetch('data.json')).json()).from
  seen.other = (await (await fetch('http://${other}.gyre/data.json')).json()).from
  seen.image = document.getElementById('image').naturalWidth
  seen.otherImage = document.getElementById('other-image').naturalWidth
  seen.script = window.fromTwo
  seen.cookie = document.cookie
  seen.storage = localStorage.getItem('two')
  document.body.dataset.seen = JSON.stringify(seen)
  document.body.dataset.done = 'yes'
})
`
}

/** Runs in the page: two messages there and back over a WebSocket, then what cookies page and server see. */
const ECHO_SCRIPT = `(async () => {
  const socket = new WebSocket('ws://' + location.host + '/echo')
  const told = []
  await new Promise((resolve, reject) => {
    socket.onopen = () => socket.send('first')
    socket.onerror = () => reject(new Error('the socket failed'))
    socket.onmessage = ({ data }) => {
      told.push(String(data))
      if (told.length === 2) resolve()
      else socket.send('second')
    }
  })
  socket.close()
  return { told, cookie: document.cookie, seen: await (await fetch('/cookies')).text() }
})()`

function livePage(request: IncomingMessage, response: ServerResponse): void {
  if (request.url === '/cookies') response.end(request.headers.cookie ?? '')
  else {
    response.setHeader('Content-Type', 'text/html')
    response.setHeader('Set-Cookie', 'live=3; Path=/')
    response.end('<!doctype html><title>live</title><p>live')
  }
}

test('a key with a site and a live service: live while it is up, the snapshot when it is not', needs('curl'), async () => {
  const root = folder('both')
  writeFileSync(join(root, 'index.html'), 'snapshot\n')
  const { address } = await publishSite('both', root)
  const target = await httpTarget((_request, response) => response.end('live\n'))
  assert.equal(await hostService('both', target), address)
  const get = async () => (await ok(run('curl', ['-sS', '-x', reader.proxy, `http://${address}.gyre/`]))).stdout.toString()
  await eventually('the live service answers', async () => (await get()) === 'live\n', patience(30_000))
  await testnet.stop(0)
  await eventually('the snapshot takes its place', async () => (await get()) === 'snapshot\n', patience(60_000))
})
