/** `gyre publish`, `sites` and `fetch` of names, paths and traces against a real process around a fake node. */
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, before, test } from 'node:test'
import { extract } from 'tar-stream'
import type { Listing } from '../../client/guard/index.ts'
import { startTestnet, type Testnet, type TestnetNode } from '../../client/testnet/index.ts'
import { exifSegment, JFIF, jpeg, pdf } from '../support/pictures.ts'
import { FAKE_MAIN, gyre } from '../support/processes.ts'

const dir = mkdtempSync(join(tmpdir(), 'gyre-publish-'))
const SECRET = `-----BEGIN ${'PRIVATE'} KEY-----\n${'MC4CAQAwBQYDK2VwBCIEIJ'.repeat(4)}\n`
const PICTURE = jpeg([JFIF, exifSegment({ gps: [{ tag: 1, value: 'N' }] })])
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
const json = (text: Buffer | string) => JSON.parse(text.toString())

function folder(name: string, files: Readonly<Record<string, string | Uint8Array>>): string {
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(dir, name, path)), { recursive: true })
    writeFileSync(join(dir, name, path), content)
  }
  return join(dir, name)
}

test('a folder becomes a site at a key: the address alone; the next time the same address, another version', async () => {
  const path = folder('My Site', { 'index.html': '<p>one', 'a/b.txt': 'b' })
  const first = await gyre(['publish', path, ...here()])
  assert.deepEqual([first.code, first.stderr], [0, ''])
  assert.match(first.stdout.toString(), /^[a-z2-7]{56}\n$/)
  folder('My Site', { 'index.html': '<p>two' })
  const second = await gyre(['publish', path, '--key', 'my-site', '--json', ...here()])
  assert.equal(second.code, 0, second.stderr)
  const { address, version, files, bytes, key } = json(second.stdout)
  assert.deepEqual([address, version, files, bytes, key], [first.stdout.toString().trim(), 2, 2, 7, 'my-site'])
  const sites = await gyre(['sites', ...here()])
  assert.match(sites.stdout.toString(), new RegExp(`my-site +${address} +2 +2 +7 B`))
  assert.equal(json((await gyre(['sites', '--json', ...here()])).stdout).sites[0].key, 'my-site')
  const single = await gyre(['publish', join(path, 'index.html'), '--key', 'page', '--json', ...here()])
  assert.deepEqual([json(single.stdout).files, json(single.stdout).version], [1, 1])
})

test('what is private stops it: exit code 2, the list on standard error, nothing published', async () => {
  const path = folder('private', { 'index.html': 'x', '.env': 'A=1', 'k.txt': SECRET, '.git/config': 'x' })
  const refused = await gyre(['publish', path, '--key', 'private', ...here()])
  assert.deepEqual([refused.code, refused.stdout.length], [2, 0])
  for (const line of [
    /refused .*\.env .*environment/,
    /refused .*\.git\/ /,
    /refused .*k\.txt .*private key/,
    /total: 4 files/,
    /--allow PATH/,
  ])
    assert.match(refused.stderr, line)
  assert.doesNotMatch(refused.stderr, /index\.html/)
  const asJson = await gyre(['publish', path, '--key', 'private', '--json', ...here()])
  const { error } = json(asJson.stderr)
  assert.deepEqual([error.code, error.exitCode, (error.listing as Listing).objections], ['GUARD_REFUSED', 2, 3])
  assert.equal((await gyre(['sites', '--json', ...here()])).stdout.includes('"private"'), false)
})

test('named one by one, it goes out: the node asks, and gets the confirmation', async () => {
  const path = folder('private', { 'index.html': 'x', '.env': 'A=1', 'k.txt': SECRET, '.git/config': 'x' })
  const some = await gyre(['publish', path, '--key', 'private', '--allow', '.env', '--allow', '.git', ...here()])
  assert.equal(some.code, 2)
  assert.match(some.stderr, /k\.txt/)
  assert.doesNotMatch(some.stderr, /\.env/)
  const every = await gyre([
    'publish',
    path,
    '--key',
    'private',
    '--allow',
    '.env',
    '--allow',
    '.git',
    '--allow',
    join(path, 'k.txt'),
    '--json',
    ...here(),
  ])
  assert.equal(every.code, 0, every.stderr)
  assert.deepEqual([json(every.stdout).files, json(every.stdout).version], [4, 1])
})

test('a single file: refused, allowed, stripped; what cannot be stripped stays an objection', async () => {
  const path = folder('single', { 'k.txt': SECRET, 'p.jpg': PICTURE, 'd.pdf': pdf('/Author (Jane)') })
  for (const [file, word] of [
    ['k.txt', /private key/],
    ['p.jpg', /position/],
    ['d.pdf', /author/],
  ] as const) {
    const refused = await gyre(['publish', join(path, file), ...here()])
    assert.deepEqual([refused.code, refused.stdout.length], [2, 0], file)
    assert.match(refused.stderr, word)
    const allowed = await gyre(['publish', join(path, file), '--allow', join(path, file), ...here()])
    assert.equal(allowed.code, 0, allowed.stderr)
    assert.deepEqual(
      new Uint8Array((await gyre(['fetch', allowed.stdout.toString().trim(), ...here()])).stdout),
      new Uint8Array(readFileSync(join(path, file))),
    )
  }
  const stripped = await gyre(['publish', join(path, 'p.jpg'), '--strip', ...here()])
  assert.equal(stripped.code, 0, stripped.stderr)
  assert.deepEqual(new Uint8Array((await gyre(['fetch', stripped.stdout.toString().trim(), ...here()])).stdout), jpeg([JFIF]))
  assert.equal((await gyre(['publish', join(path, 'd.pdf'), '--strip', ...here()])).code, 2)
})

test('standard input is looked at by the node: refused with its list, published if it is clean', async () => {
  const refused = await gyre(['publish', '-', ...here()], {}, Buffer.from(`x\n${SECRET}`))
  assert.deepEqual([refused.code, refused.stdout.length], [2, 0])
  assert.match(refused.stderr, /refused .* - .*private key/)
  assert.equal((await gyre(['publish', '-', '--name', '.env', ...here()], {}, Buffer.from('x'))).code, 2)
  assert.equal((await gyre(['publish', '-', ...here()], {}, Buffer.from('clean'))).code, 0)
  assert.equal((await gyre(['publish', '-', '--strip', ...here()], {}, Buffer.from('x'))).code, 2)
})

test('a dry run needs no node, shows everything and sends nothing', async () => {
  const path = folder('dry', { 'index.html': 'x', 'a.jpg': PICTURE })
  const nowhere = ['--data-dir', join(dir, 'nowhere')]
  const objected = await gyre(['publish', path, '--dry-run', ...nowhere])
  assert.equal(objected.code, 2)
  assert.match(objected.stdout.toString(), /flagged .*a\.jpg .*position[\s\S]*ok .*index\.html[\s\S]*total: 2 files/)
  assert.match(objected.stderr, /Nothing was sent/)
  const clean = await gyre(['publish', path, '--dry-run', '--strip', '--json', ...nowhere])
  assert.equal(clean.code, 0, clean.stderr)
  const { listing } = json(clean.stdout) as { listing: Listing }
  assert.deepEqual([listing.objections, listing.total.files, listing.files[0]?.findings[0]?.rule], [0, 2, 'stripped'])
  truncateSync(join(folder('dry', { 'large.bin': '' }), 'large.bin'), 2_000_000)
  assert.equal((await gyre(['publish', path, '--dry-run', '--strip', '--max-file', '1MB', ...nowhere])).code, 2)
  assert.equal((await gyre(['publish', path, '--dry-run', '--strip', '--max-file', '3MB', ...nowhere])).code, 0)
  // A file over the usual length that the user's own limit lets pass is no objection of the node's either, which has the usual one.
  assert.equal((await gyre(['publish', path, '--dry-run', '--max-file', 'lots', ...nowhere])).code, 2)
})

test('links, empty folders, and names that make no key', async () => {
  const path = folder('links', { 'index.html': 'x' })
  symlinkSync('/etc/hostname', join(path, 'out'))
  const refused = await gyre(['publish', path, ...here()])
  assert.equal(refused.code, 2)
  assert.match(refused.stderr, /out .*a link to something outside/)
  mkdirSync(join(dir, 'empty'))
  for (const flags of [here(), ['--dry-run', ...here()]]) {
    const nothing = await gyre(['publish', join(dir, 'empty'), ...flags])
    assert.deepEqual([nothing.code, nothing.stdout.length], [2, 0])
    assert.match(nothing.stderr, /no file in the folder/)
  }
  const bare = await gyre(['publish', folder('bare', { 'a.txt': 'a' }), ...here()])
  assert.equal(bare.code, 0)
  assert.match(bare.stderr, /no index\.html/)
  const odd = folder('___', { 'a.txt': 'a' })
  assert.match((await gyre(['publish', odd, ...here()])).stderr, /--key NAME/)
  assert.equal((await gyre(['publish', odd, '--key', 'odd', ...here()])).code, 0)
  for (const more of [
    ['--key', 'No'],
    ['--key', 'a', '--name', 'b'],
    ['--name', 'b'],
  ])
    assert.equal((await gyre(['publish', odd, ...more, ...here()])).code, 2)
})

test('fetch takes names and paths; an address wins over a name; --trace tells the stages', async () => {
  const { stdout } = await gyre(['publish', join(folder('one', { 'a.txt': 'hello' }), 'a.txt'), ...here()])
  const address = stdout.toString().trim()
  assert.equal((await gyre(['names', 'add', 'greeting', address, ...here()])).code, 0)
  for (const wanted of ['greeting', 'http://greeting.gyre/', 'GREETING', address]) {
    const fetched = await gyre(['fetch', wanted, ...here()])
    assert.deepEqual([fetched.code, fetched.stdout.toString()], [0, 'hello'], fetched.stderr)
  }
  const traced = await gyre(['fetch', 'greeting', '--trace', ...here()])
  assert.equal(traced.stdout.toString(), 'hello')
  assert.match(traced.stderr, /stage/)
  const out = join(dir, 'traced.txt')
  const asJson = await gyre(['fetch', address, '-o', out, '--trace', '--json', ...here()])
  assert.equal(json(asJson.stdout).trace.state, 'done')
  const unknown = await gyre(['fetch', 'nobody', ...here()])
  assert.equal(unknown.code, 2)
  assert.match(unknown.stderr, /not a Gyre address, nor a name/)
  assert.equal((await gyre(['fetch', `${address}/a/path`, ...here()])).code, 3)
})

/** A node that answers as `answer` says. */
async function withNode(
  answer: Parameters<typeof createServer>[1],
  use: (api: readonly string[]) => Promise<void>,
): Promise<void> {
  const server = createServer(answer as never)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  try {
    await use(['--api', `127.0.0.1:${(server.address() as AddressInfo).port}`, ...here()])
  } finally {
    server.close()
  }
}

test('a folder is asked for where its page is; a way that leads off the node is not taken', async () => {
  const seen: string[] = []
  await withNode(
    (request, response) => {
      seen.push(request.url ?? '')
      if (request.url?.endsWith('/folder')) response.writeHead(301, { Location: `${request.url}/` }).end()
      else if (request.url?.endsWith('/away')) response.writeHead(301, { Location: 'http://203.0.113.1/' }).end()
      else if (request.url?.endsWith('/round')) response.writeHead(301, { Location: request.url }).end()
      else response.end('page')
    },
    async (api) => {
      const address = 'a'.repeat(56)
      assert.equal((await gyre(['fetch', `${address}/folder`, ...api])).stdout.toString(), 'page')
      assert.deepEqual(seen, [`/v1/fetch/${address}/folder`, `/v1/fetch/${address}/folder/`])
      assert.equal((await gyre(['fetch', `http://${address}.gyre/é%2f b`, ...api])).code, 0)
      assert.equal(seen.at(-1), `/v1/fetch/${address}/%C3%A9%2f%20b`)
      for (const path of ['away', 'round']) assert.equal((await gyre(['fetch', `${address}/${path}`, ...api])).code, 4)
    },
  )
})

test('the tar tells nothing of this machine; what the node asks about goes first; other objections of the node are refusals', async () => {
  const path = folder('tar', { 'a.txt': 'a', 'b.txt': 'b', 'z.env': 'x', '.env': 'A=1' })
  const confirm = 'c'.repeat(24)
  const asked: string[] = []
  let objection = '.env'
  const headers: unknown[] = []
  await withNode(
    async (request, response) => {
      asked.push(request.url ?? '')
      const reading = request.pipe(extract())
      for await (const entry of reading) {
        headers.push(entry.header)
        entry.resume()
      }
      if (request.url?.includes('confirm=')) {
        response.writeHead(201).end(JSON.stringify({ address: 'a'.repeat(56), version: 1, bytes: 9, files: 4 }))
        return
      }
      const file = {
        path: objection,
        bytes: 3,
        verdict: 'refused',
        allowed: false,
        findings: [{ rule: 'x', severity: 'refused', reason: 'because', where: objection }],
      }
      const listing = { files: [file], unlisted: 0, total: { files: 4, bytes: 9 }, objections: 1 }
      response.writeHead(409, { 'Content-Type': 'application/problem+json' })
      response.end(JSON.stringify({ code: 'API_CONFIRM', kind: 'config', detail: 'look', status: 409, confirm, listing }))
    },
    async (api) => {
      const allowed = await gyre(['publish', path, '--key', 'k', '--allow', '.env', ...api])
      assert.equal(allowed.code, 0, allowed.stderr)
      assert.deepEqual(asked, ['/v1/sites?key=k', `/v1/sites?key=k&confirm=${confirm}`])
      const seen = headers as readonly { name: string; uid: number; mtime: Date; mode: number }[]
      assert.deepEqual(
        seen.slice(0, 4).map(({ name }) => name),
        ['.env', 'a.txt', 'b.txt', 'z.env'],
      )
      for (const { uid, mtime, mode } of seen) assert.deepEqual([uid, mtime.getTime(), mode], [0, 0, 0o644])
      objection = 'a.txt'
      const refused = await gyre(['publish', path, '--key', 'k', '--allow', '.env', ...api])
      assert.equal(refused.code, 2)
      assert.match(refused.stderr, /refused .*a\.txt .*because/)
    },
  )
})
