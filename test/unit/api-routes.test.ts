/**
 * What the API grew with sites, services, names, traces and metrics, around a fake node: its contract, the share guard on what is published,
 * and that a failure says at which stage it happened.
 */
import assert from 'node:assert/strict'
import { after, before, beforeEach, test } from 'node:test'
import { pack } from 'tar-stream'
import { type FaceServer, startApi } from '../../client/api/index.ts'
import { roundedUp } from '../../client/api/metrics.ts'
import type { OpenedSite, SiteLookup } from '../../client/library.ts'
import type { TraceReport } from '../../client/trace/index.ts'
import { formatKeyAddress } from '../../src/content/address.ts'
import { OverlayError } from '../../src/errors/index.ts'
import { silentLog } from '../../src/log/index.ts'
import { systemClock } from '../../src/runtime/index.ts'
import { FakeFace } from '../support/fake-face.ts'
import { type Answer, type Ask, ask, problem } from '../support/http.ts'

const token = 'f'.repeat(43)
const bearer = { Authorization: `Bearer ${token}` }
const address = formatKeyAddress(new Uint8Array(32).fill(7))
let face = new FakeFace()
let api: FaceServer
let pac: string | null = null

const behind = new Proxy({} as FakeFace, {
  get: (_target, name) => {
    const value: unknown = Reflect.get(face, name)
    return typeof value === 'function' ? value.bind(face) : value
  },
})
before(async () => {
  const at = { host: '127.0.0.1', port: 0 }
  api = await startApi({ face: behind, clock: systemClock, log: silentLog, at, token, pac: () => pac })
})
beforeEach(() => {
  face = new FakeFace()
})
after(() => api.close())

const call = (what: Ask): Promise<Answer> => ask(api.at, { ...what, headers: { ...bearer, ...what.headers } })
const body = <T>(answer: Answer): T => JSON.parse(answer.body.toString()) as T
const json = (method: string, path: string, value: unknown) =>
  call({ method, path, body: JSON.stringify(value), headers: { 'Content-Type': 'application/json' } })

async function tarOf(files: Readonly<Record<string, string>>): Promise<Buffer> {
  const tar = pack()
  for (const [name, content] of Object.entries(files)) tar.entry({ name }, content)
  tar.finalize()
  const chunks: Buffer[] = []
  for await (const chunk of tar as AsyncIterable<Buffer>) chunks.push(chunk)
  return Buffer.concat(chunks)
}

test('a tar becomes a version of a site, and the next one the next', async () => {
  const tar = await tarOf({ 'index.html': '<h1>hello</h1>', 'a/b.txt': 'x' })
  const first = await call({ method: 'POST', path: '/v1/sites?key=blog', body: tar })
  assert.equal(first.status, 201, first.body.toString())
  const made = body<Record<string, unknown>>(first)
  assert.deepEqual(Object.keys(made).sort(), ['address', 'bytes', 'files', 'receipt', 'snapshot', 'uploaded', 'version'])
  assert.deepEqual([made.version, made.files, made.bytes], [1, 2, 15])
  assert.equal(first.headers.location, `/v1/fetch/${String(made.address)}/`)
  assert.equal(body<{ version: number }>(await call({ method: 'POST', path: '/v1/sites?key=blog', body: tar })).version, 2)
  const { sites } = body<{ sites: readonly { key: string }[] }>(await call({ path: '/v1/sites' }))
  assert.deepEqual(
    sites.map(({ key }) => key),
    ['blog'],
  )
})

test('what is no tar, or for no key, is refused', async () => {
  const tar = await tarOf({ 'index.html': 'x' })
  for (const [path, content, code] of [
    ['/v1/sites', tar, 'API_BAD_REQUEST'],
    ['/v1/sites?key=', tar, 'API_BAD_REQUEST'],
    ['/v1/sites?key=A', tar, 'API_BAD_REQUEST'],
    ['/v1/sites?key=a&key=b', tar, 'API_BAD_REQUEST'],
    ['/v1/sites?key=a', 'this is no tar '.repeat(100), 'SITE_BAD'],
    ['/v1/sites?key=a', await tarOf({ '../x': 'x' }), 'SITE_BAD'],
  ] as const) {
    const answer = await call({ method: 'POST', path, body: content })
    assert.equal(answer.status, 400, path)
    assert.equal(problem(answer).code, code, path)
  }
  assert.deepEqual(face.sites.list(), [])
})

test('the share guard: 409 with a listing, and out with its confirmation only, for exactly that', async () => {
  const secret = `-----BEGIN OPENSSH PRIVATE KEY-----\n${'b3BlbnNzaC1rZXktdjEAAAAA'.repeat(8)}\n-----END OPENSSH PRIVATE KEY-----\n`
  const sites = '/v1/sites?key=blog'
  const tar = await tarOf({ 'index.html': 'x', '.env': 'PASSWORD=1', id_rsa: secret })
  for (const [path, content, other] of [
    ['/v1/publish?name=notes.txt', secret, `${secret} `],
    [sites, tar, await tarOf({ '.env': 'PASSWORD=2' })],
  ] as const) {
    const objected = await call({ method: 'POST', path, body: content })
    assert.equal(objected.status, 409, objected.body.toString())
    assert.equal(objected.headers['content-type'], 'application/problem+json')
    const asked = body<{ code: string; confirm: string; listing: { objections: number; files: readonly { path: string }[] } }>(
      objected,
    )
    assert.equal(asked.code, 'API_CONFIRM')
    assert.ok(asked.listing.objections >= 1 && asked.listing.files.length >= 1)
    assert.doesNotMatch(objected.body.toString(), /b3BlbnNzaC1rZXktdjEAAAAA|PASSWORD=/)
    const confirmed = `${path}&confirm=${asked.confirm}`
    assert.equal((await call({ method: 'POST', path: confirmed, body: other })).status, 409)
    assert.equal((await call({ method: 'POST', path: `${path}&confirm=${'x'.repeat(24)}`, body: content })).status, 409)
    assert.equal((await call({ method: 'POST', path: confirmed, body: content })).status, 201)
  }
  const { confirm } = body<{ confirm: string }>(await call({ method: 'POST', path: sites, body: tar }))
  assert.equal((await call({ method: 'POST', path: `/v1/sites?key=other&confirm=${confirm}`, body: tar })).status, 409)
})

test('services: added, listed, shown, removed; a bad wish names its field', async () => {
  const wish = { name: 'app', target: '127.0.0.1:8080', port: 80 }
  const added = await json('POST', '/v1/services', wish)
  assert.equal(added.status, 201)
  const made = body<{ address: string }>(added)
  assert.match(made.address, /^[a-z2-7]{56}$/)
  const shown = body<{ address: string; ports: unknown }>(await call({ path: '/v1/services/app' }))
  assert.deepEqual([shown.address, shown.ports], [made.address, [{ port: 80, target: '127.0.0.1:8080' }]])
  assert.equal(body<{ services: unknown[] }>(await call({ path: '/v1/services' })).services.length, 1)
  for (const [bad, field] of [
    [{ ...wish, target: '127.0.0.1:0' }, 'body.target'],
    [{ ...wish, target: '127.0.0.1:70000' }, 'body.target'],
    [{ ...wish, target: 'example.org:80' }, 'body.target'],
    [{ ...wish, port: '80' }, 'body.port'],
    [{ ...wish, name: 'A' }, 'body.name'],
    [{ ...wish, more: 1 }, 'body.more'],
    [{ target: wish.target }, 'body.name'],
  ] as const) {
    const answer = await json('POST', '/v1/services', bad)
    assert.equal(answer.status, 400)
    const said = body<{ field: string; detail: string }>(answer)
    assert.equal(said.field, field)
    assert.match(said.detail, new RegExp(field.replace('.', '\\.')))
  }
  assert.equal((await call({ method: 'DELETE', path: '/v1/services/app' })).status, 204)
  assert.equal((await call({ method: 'DELETE', path: '/v1/services/app' })).status, 404)
  assert.equal((await call({ path: '/v1/services/app' })).status, 404)
})

test('names: put, listed, used by a fetch, removed; an address wins over a name', async () => {
  const published = body<{ address: string }>(await call({ method: 'POST', path: '/v1/publish', body: 'hello' })).address
  // As `curl -d` sends it.
  const form = { 'Content-Type': 'application/x-www-form-urlencoded' }
  const put = await call({ method: 'PUT', path: '/v1/names/hi', body: JSON.stringify({ address: published }), headers: form })
  assert.equal(put.status, 200, put.body.toString())
  assert.equal(body<{ names: unknown[] }>(await call({ path: '/v1/names' })).names.length, 1)
  assert.equal((await call({ path: '/v1/fetch/hi' })).body.toString(), 'hello')
  const bad = await json('PUT', '/v1/names/hi', { address: 'a'.repeat(56) })
  assert.deepEqual([bad.status, problem(bad).code], [400, 'ADDRESS_BAD'])
  assert.equal((await json('PUT', `/v1/names/${published}`, { address: published })).status, 400)
  assert.equal((await call({ method: 'DELETE', path: '/v1/names/hi' })).status, 204)
  const gone = await call({ method: 'DELETE', path: '/v1/names/hi' })
  assert.deepEqual([gone.status, problem(gone).code], [404, 'NAME_UNKNOWN'])
  const unknown = await call({ path: '/v1/fetch/hi' })
  assert.deepEqual([unknown.status, problem(unknown).code], [400, 'ADDRESS_BAD'])
})

test('a fetch names its trace, and a failure its stage', async () => {
  const path = `/v1/fetch/${body<{ address: string }>(await call({ method: 'POST', path: '/v1/publish', body: 'hello' })).address}`
  const id = String((await call({ path })).headers['gyre-trace'])
  const report = body<TraceReport>(await call({ path: `/v1/traces/${id}` }))
  assert.deepEqual([report.id, report.state, report.failures], [id, 'done', []])
  assert.deepEqual(
    report.stages.map(({ stage }) => stage),
    ['root', 'first-byte', 'body'],
  )
  face.failOpen = new OverlayError('timeout', 'TIMEOUT', 'No answer came in time.')
  const failed = await call({ path })
  assert.equal(failed.status, 504)
  const { stages } = body<{ stages: readonly { stage: string; failed: boolean }[] }>(failed)
  assert.deepEqual([stages.at(-1)?.stage, stages.at(-1)?.failed], ['root', true])
  const traced = body<TraceReport>(await call({ path: `/v1/traces/${String(failed.headers['gyre-trace'])}` }))
  assert.deepEqual([traced.state, traced.code], ['failed', 'TIMEOUT'])
  for (const unknown of ['x', '0'.repeat(16), '%00', 'a'.repeat(128)])
    assert.equal((await call({ path: `/v1/traces/${unknown}` })).status, 404)
})

function siteOf(files: Readonly<Record<string, string>>): OpenedSite {
  const entry = (path: string) => {
    const bytes = new TextEncoder().encode(files[path])
    const read = (range: { start: number; end: number }) => ({
      counters: { asked: 1, received: 1, bad: 0 },
      async *[Symbol.asyncIterator]() {
        yield bytes.subarray(range.start, range.end)
      },
    })
    return {
      path,
      bytes: bytes.length,
      plainBytes: bytes.length,
      contentType: 'text/html',
      encoding: 'identity' as const,
      etag: `"${path}"`,
      read,
    }
  }
  return {
    ...{ address, version: 1, bytes: 1, files: 1 },
    lookUp: (path): SiteLookup => {
      if (path === '/folder') return { kind: 'redirect', location: '/folder/' }
      const name = path.endsWith('/') ? `${path.slice(1)}index.html` : path.slice(1)
      return files[name] === undefined ? { kind: 'missing', page: null } : { kind: 'entry', entry: entry(name) }
    },
  }
}

test('paths of a site are read under its address, sandboxed; a live service has none', async () => {
  const site = siteOf({ 'index.html': 'first', 'folder/index.html': 'second', 'ä b.html': 'third' })
  face.keys.set(address, { kind: 'key', live: null, site: async () => site })
  await face.names.put('home', address)
  for (const [path, text] of [
    ['', 'first'],
    ['/', 'first'],
    ['/index.html?x=1', 'first'],
    ['/folder/', 'second'],
    ['/%C3%A4%20b.html', 'third'],
  ]) {
    const answer = await call({ path: `/v1/fetch/${address}${path}` })
    assert.deepEqual([answer.status, answer.body.toString()], [200, text], path)
    assert.match(String(answer.headers['content-security-policy']), /sandbox/)
    assert.match(String(answer.headers['gyre-trace']), /^[0-9a-f]+$/)
  }
  const moved = await call({ path: '/v1/fetch/home/folder?q=1' })
  assert.deepEqual([moved.status, moved.headers.location], [301, '/v1/fetch/home/folder/?q=1'])
  assert.equal((await call({ path: `/v1/fetch/${address}/nothing` })).status, 404)
  assert.equal((await call({ method: 'HEAD', path: `/v1/fetch/${address}/folder/` })).headers['content-length'], '6')
  assert.equal((await call({ path: `/v1/fetch/${address}/${'x'.repeat(5000)}` })).status < 500, true)
  face.keys.set(address, { kind: 'key', live: { ports: [80], connect: () => assert.fail() }, site: null })
  assert.equal((await call({ path: `/v1/fetch/${address}` })).status, 404)
})

test('the PAC file: without a token, under our own names only', async () => {
  pac = null
  assert.equal((await ask(api.at, { path: '/proxy.pac' })).status, 503)
  pac = 'function FindProxyForURL() {}'
  const answer = await ask(api.at, { path: '/proxy.pac' })
  assert.deepEqual([answer.status, answer.body.toString()], [200, pac])
  assert.match(String(answer.headers['content-type']), /^application\/x-ns-proxy-autoconfig/)
  assert.equal((await ask(api.at, { path: '/proxy.pac', bareHost: true, headers: { Host: 'evil.example' } })).status, 403)
})

test('metrics are coarse, have no labels, and hide what the user does from who has no token', async () => {
  assert.equal((await ask(api.at, { path: '/metrics' })).status, 401)
  await json('POST', '/v1/services', { name: 'app', target: '127.0.0.1:1' })
  const text = (await call({ path: '/metrics' })).body.toString()
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  assert.ok(lines.length >= 10)
  for (const line of lines) assert.match(line, /^gyre_[a-z_]+ [0-9.e+]+$/, line)
  assert.match(text, /^gyre_services 1$/m)
  assert.match(text, /^gyre_loops_ready 4$/m)
  const at = { host: '127.0.0.1', port: 0 }
  const open = await startApi({ face: behind, clock: systemClock, log: silentLog, at, token, openMetrics: true })
  try {
    const told = (await ask(open.at, { path: '/metrics' })).body.toString()
    assert.match(told, /^gyre_uptime_seconds \d+$/m)
    assert.doesNotMatch(told, /gyre_(services|sites|loops_ready|memory|event_loop)/)
  } finally {
    await open.close()
  }
  assert.deepEqual([roundedUp(0, 4), roundedUp(1, 4), roundedUp(4, 4), roundedUp(5, 4)], [0, 4, 4, 8])
})
