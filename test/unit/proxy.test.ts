/** The HTTP proxy around a fake node: files, sites and names come; the rest gets a page that says why. Live services: `proxy-live.test.ts`. */
import assert from 'node:assert/strict'
import { after, before, beforeEach, test } from 'node:test'
import type { FaceServer } from '../../client/api/index.ts'
import type { OpenedSite } from '../../client/library.ts'
import { proxyPac, startProxy } from '../../client/proxy/index.ts'
import { formatKeyAddress } from '../../src/content/address.ts'
import { OverlayError } from '../../src/errors/index.ts'
import { silentLog } from '../../src/log/index.ts'
import { systemClock } from '../../src/runtime/index.ts'
import { FakeFace } from '../support/fake-face.ts'
import { fakeSite } from '../support/fake-live.ts'
import { type Answer, ask, askRaw } from '../support/http.ts'
import { eventually } from '../support/processes.ts'

let face = new FakeFace()
let proxy: FaceServer
const behind = new Proxy({} as FakeFace, {
  get: (_target, name) => {
    const value: unknown = Reflect.get(face, name)
    return typeof value === 'function' ? value.bind(face) : value
  },
})
before(async () => {
  proxy = await startProxy({ face: behind, clock: systemClock, log: silentLog, at: { host: '127.0.0.1', port: 0 } })
})
beforeEach(() => {
  face = new FakeFace()
})
after(() => proxy.close())

function via(url: string, headers: Record<string, string> = {}, method = 'GET'): Promise<Answer> {
  return ask(proxy.at, {
    method,
    path: url,
    bareHost: true,
    headers: { Host: /^http:\/\/([^/]*)/.exec(url)?.[1] ?? '', ...headers },
  })
}

async function publish(body: Uint8Array, contentType = 'text/html; charset=utf-8'): Promise<string> {
  const chunks = (async function* () {
    yield body
  })()
  return (await face.publish(chunks, { contentType, signal: new AbortController().signal })).address
}

const page = Buffer.from('<!doctype html><p>hello')

test('a publication comes with its type, validator, ranges and HEAD', async () => {
  const url = `http://${await publish(page)}.gyre/`
  const whole = await via(url)
  assert.equal(whole.status, 200)
  assert.equal(whole.body.toString(), page.toString())
  assert.equal(whole.headers['content-type'], 'text/html; charset=utf-8')
  assert.equal(whole.headers['content-length'], String(page.length))
  assert.equal((await via(url, { 'If-None-Match': String(whole.headers.etag) })).status, 304)
  const part = await via(url, { Range: 'bytes=2-8' })
  assert.equal(part.status, 206)
  assert.equal(part.body.toString(), page.subarray(2, 9).toString())
  const head = await via(url, {}, 'HEAD')
  assert.equal(head.status, 200)
  assert.equal(head.headers['content-length'], String(page.length))
  assert.equal(head.body.length, 0)
  for (const same of [url.slice(0, -1), `${url}?query=1`, url.replace('.gyre', '.gyre:80')])
    assert.equal((await via(same)).status, 200, same)
})

test('a page may load from its own origin only, and says nothing of the node', async () => {
  const { headers } = await via(`http://${await publish(page)}.gyre/`)
  assert.match(String(headers['content-security-policy']), /default-src 'self'/)
  assert.doesNotMatch(String(headers['content-security-policy']), /https?:|\*/)
  assert.equal(headers['x-dns-prefetch-control'], 'off')
  assert.equal(headers['referrer-policy'], 'no-referrer')
  for (const name of ['server', 'via', 'x-powered-by', 'gyre-transfer', 'set-cookie', 'access-control-allow-origin'])
    assert.equal(headers[name], undefined)
})

test('only the path / is served', async () => {
  const url = `http://${await publish(page)}.gyre`
  for (const path of ['/index.html', '//', '/.', '/%2e', '/favicon.ico']) assert.equal((await via(url + path)).status, 404, path)
})

test('addresses are spelled exactly; other spellings are told so', async () => {
  const address = await publish(page)
  for (const host of [
    `${address.toUpperCase()}.gyre`,
    `${address}.GYRE`,
    `${address}.gyre.`,
    `www.${address}.gyre`,
    `${address}.gyre:`,
    `user@${address}.gyre`,
    `user:pw@${address}.gyre`,
    `${address}a.gyre`,
    `${address.slice(0, -1)}1.gyre`,
    `${address}.gyre:0`,
    `${address}.gyre:080`,
    `${address}.gyre:65536`,
    `${address}%2egyre`.replace('%2e', '.').replace('.gyre', '%2e.gyre'),
    'xn--gyre-9ka.gyre',
    '-a.gyre',
    'a-.gyre',
    'A.gyre',
    'a_b.gyre',
    `${'a'.repeat(57)}.gyre`,
    'gyre',
    '.gyre',
  ]) {
    const answer = await via(`http://${host}/`)
    assert.equal(answer.status, 400, host)
    assert.match(answer.body.toString(), /56 lower-case/)
  }
  // One character less is a name that nobody has: the page says what an address has.
  const short = await via(`http://${address.slice(1)}.gyre/`)
  assert.equal(short.status, 404)
  assert.match(short.body.toString(), /56 characters/)
  const wrongSum = `${address.slice(0, -1)}${address.endsWith('a') ? 'b' : 'a'}`
  assert.equal((await via(`http://${wrongSum}.gyre/`)).status, 400)
})

test('what is not there is a 404 page; each failure has its status', async () => {
  const url = `http://${await publish(page)}.gyre/`
  for (const [kind, code, status] of [
    ['not-found', 'CONTENT_NOT_FOUND', 404],
    ['timeout', 'TIMEOUT', 504],
    ['unreachable', 'NETWORK_TOO_SMALL', 503],
    ['integrity', 'CONTENT_DAMAGED', 502],
  ] as const) {
    face.failOpen = new OverlayError(kind, code, 'what <happened>')
    const answer = await via(url)
    assert.equal(answer.status, status)
    assert.match(String(answer.headers['content-type']), /^text\/html/)
    assert.match(String(answer.headers['proxy-status']), new RegExp(`^gyre; error=\\w+; details="${code}"$`))
    assert.match(answer.body.toString(), /what &lt;happened&gt;/)
  }
  face.failOpen = new TypeError('/home/secret')
  assert.doesNotMatch((await via(url)).body.toString(), /secret/)
})

test('Host and target must agree; Origin must be of this network; Gyre-Clock is checked', async () => {
  const address = await publish(page)
  const url = `http://${address}.gyre/`
  assert.equal((await via(url, { Host: 'example.org' })).status, 400)
  assert.equal((await via(url, { Host: `${'b'.repeat(56)}.gyre` })).status, 400)
  assert.equal((await via(url, { Host: '' })).status, 400)
  assert.equal((await via(url, { Host: `${address}.gyre:80` })).status, 200)
  assert.equal((await via(url, { Origin: 'http://example.org' })).status, 403)
  assert.equal((await via(url, { Origin: 'https://example.org' })).status, 403)
  assert.equal((await via(url, { Origin: `http://${address}.gyre.example.org` })).status, 403)
  assert.equal((await via(url, { Origin: `http://${'b'.repeat(56)}.gyre` })).status, 200)
  assert.equal((await via(url, { Origin: `http://${address}.gyre` })).status, 200)
  assert.equal((await via(url, { 'Gyre-Clock': 'swift' })).status, 200)
  for (const clock of ['steady', 'fixed', 'slow']) assert.equal((await via(url, { 'Gyre-Clock': clock })).status, 400, clock)
})

test('hop-by-hop headers of a client change nothing', async () => {
  const url = `http://${await publish(page)}.gyre/`
  const headers = {
    'Proxy-Connection': 'keep-alive',
    Connection: 'X-Foo, close',
    'X-Foo': '1',
    TE: 'trailers',
    'Proxy-Authorization': 'Basic eDp5',
    Upgrade: 'h2c',
  }
  const answer = await via(url, headers)
  assert.equal(answer.status, 200)
  assert.equal(answer.headers['x-foo'], undefined)
  assert.equal((await via(url, { Expect: '100-continue' })).status, 200)
})

test('refusals carry Proxy-Status, a page that loads nothing, and nothing of the request', async () => {
  const answer = await via('http://marker-7f3a.example/<script>')
  assert.equal(answer.status, 403)
  assert.equal(answer.headers['proxy-status'], 'gyre; error=http_request_denied; details="PROXY_REFUSED"')
  assert.match(String(answer.headers['content-security-policy']), /default-src 'none'/)
  assert.doesNotMatch(answer.body.toString(), /marker|<script/)
  const connect = await askRaw(proxy.at, 'CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n')
  assert.match(connect, /^HTTP\/1\.1 403 Forbidden\r\n(?:.*\r\n)*Proxy-Status: gyre; error=http_request_denied/)
})

test('a read that breaks in the middle resets the connection', async () => {
  const url = `http://${await publish(Buffer.alloc(400_000, 7))}.gyre/`
  face.failRead = new OverlayError('integrity', 'CONTENT_DAMAGED', 'bad shares')
  assert.equal((await via(url)).status, 502)
  face.failReadAfter = 100_000
  const broken = await via(url).catch((error: Error) => error)
  if (!(broken instanceof Error)) assert.equal(broken.whole, false)
})

const KEY = formatKeyAddress(new Uint8Array(32).fill(9))

function siteAt(site: OpenedSite): string {
  face.keys.set(KEY, { kind: 'key', live: null, site: async () => site })
  return `http://${KEY}.gyre`
}

test('a site is served by path, with redirects, its own 404 page, ranges and conditions', async () => {
  const at = siteAt(
    fakeSite({ 'index.html': '<p>home', 'sub/index.html': '<p>sub', '404.html': '<p>nothing', 'a b.txt': 'text' }),
  )
  assert.equal((await via(`${at}/`)).body.toString(), '<p>home')
  const redirect = await via(`${at}/sub?x=1`)
  assert.deepEqual([redirect.status, redirect.headers.location], [301, '/sub/?x=1'])
  assert.equal((await via(`${at}/sub/`)).body.toString(), '<p>sub')
  const missing = await via(`${at}/none`)
  assert.deepEqual([missing.status, missing.body.toString()], [404, '<p>nothing'])
  const text = await via(`${at}/a%20b.txt`, { Range: 'bytes=1-2' })
  assert.deepEqual([text.status, text.body.toString()], [206, 'ex'])
  assert.equal((await via(`${at}/`, { 'If-None-Match': '*' })).status, 304)
  assert.equal((await via(`${at}:8080/`)).status, 403)
  const post = await via(`${at}/`, {}, 'POST')
  assert.deepEqual([post.status, post.headers.allow], [405, 'GET, HEAD, OPTIONS'])
  const file = `http://${await publish(page)}.gyre`
  assert.equal((await via(`${file}:8080/`)).status, 403)
  assert.equal((await via(`${file}/`, {}, 'DELETE')).status, 405)
})

test('pages of two sites share public content and nothing else; the open internet gets nothing', async () => {
  const at = siteAt(fakeSite({ 'index.html': '<p>home' }))
  const other = `http://${'b'.repeat(56)}.gyre`
  const own = await via(`${at}/`)
  const policy = String(own.headers['content-security-policy'])
  for (const source of policy.matchAll(/\b(?:https?|wss?):\S*/g)) assert.match(source[0], /^(?:https?|wss?):\/\/\*\.gyre:\*;?$/)
  assert.match(policy, /form-action 'self' http:\/\/\*\.gyre/)
  assert.equal(own.headers['referrer-policy'], 'same-origin')
  assert.equal(own.headers['access-control-allow-origin'], undefined)
  const shared = await via(`${at}/`, { Origin: other })
  assert.equal(shared.headers['access-control-allow-origin'], '*')
  assert.equal(shared.headers['access-control-allow-credentials'], undefined)
  assert.match(String(shared.headers.vary), /Origin/)
  const asked = await via(`${at}/`, { Origin: other, 'Access-Control-Request-Method': 'GET' }, 'OPTIONS')
  assert.deepEqual([asked.status, asked.headers['access-control-allow-methods']], [204, 'GET, HEAD'])
  assert.equal((await via(`${at}/`, { Origin: 'null' })).headers['access-control-allow-origin'], undefined)
  for (const origin of ['http://example.org', 'https://gyre.example', 'http://localhost:8080', 'http://a.b.gyre']) {
    const refused = await via(`${at}/`, { Origin: origin })
    assert.deepEqual([refused.status, refused.headers['access-control-allow-origin']], [403, undefined], origin)
  }
})

test('names of the own book lead to addresses; unknown ones to a page; an address wins over a name', async () => {
  siteAt(fakeSite({ 'index.html': '<p>home' }))
  await face.names.put('my-notes', KEY)
  const named = await via('http://my-notes.gyre/')
  assert.deepEqual([named.status, named.body.toString()], [200, '<p>home'])
  const unknown = await via('http://example.gyre/')
  assert.deepEqual(
    [unknown.status, unknown.headers['proxy-status']],
    [404, 'gyre; error=destination_not_found; details="NAME_UNKNOWN"'],
  )
  await face.names.put(KEY, 'b'.repeat(56)).catch(() => {})
  assert.equal((await via(`http://${KEY}.gyre/`)).body.toString(), '<p>home')
  const bare = formatKeyAddress(new Uint8Array(32).fill(8))
  face.keys.set(bare, { kind: 'key', live: null, site: null })
  assert.equal((await via(`http://${bare}.gyre/`)).status, 404)
})

test('credentials of the proxy isolate, are never asked for, and must be well formed', async () => {
  const at = siteAt(fakeSite({ 'index.html': '<p>home' }))
  const seen: string[] = []
  const resolve = face.resolve.bind(face)
  face.resolve = (address, asking) => {
    seen.push(asking.isolation ?? '')
    return resolve(address, asking)
  }
  const basic = (text: string) => ({ 'Proxy-Authorization': `Basic ${Buffer.from(text).toString('base64')}` })
  for (const headers of [{}, basic('anna:x'), basic('anna:x'), basic('anna:y'), basic('bert:x'), basic('anna')])
    assert.equal((await via(`${at}/`, headers)).status, 200)
  const [none, anna, again, ...others] = seen
  assert.deepEqual([none, anna], ['', again])
  assert.equal(new Set([none, anna, ...others]).size, 5)
  assert.doesNotMatch(seen.join(), /anna|bert/)
  for (const bad of ['Bearer abc', 'Basic', 'Basic *', `Basic ${'a'.repeat(2000)}`])
    assert.equal((await via(`${at}/`, { 'Proxy-Authorization': bad })).status, 400, bad)
})

test('a local client is told the trace; a failure page shows the stages, without the numbers of loops', async () => {
  const at = siteAt(fakeSite({ 'index.html': '<p>home' }))
  const good = await via(`${at}/`)
  // The client has its last byte before the server has ended the trace.
  const reportOf = (answer: Answer) => face.traceReport(String(answer.headers['gyre-trace']))
  await eventually('the trace ends', () => reportOf(good)?.state !== 'running')
  assert.deepEqual([reportOf(good)?.state, reportOf(good)?.code], ['done', null])
  face.resolve = async (_address, { trace }) => {
    trace?.stage('record')({ loop: 7_777_777_777, note: 'found' })
    trace?.stage('index')
    throw new OverlayError('timeout', 'TIMEOUT', 'No answer within 60000 ms.')
  }
  const bad = await via(`${at}/`)
  assert.equal(bad.status, 504)
  assert.match(bad.body.toString(), /It stopped at the stage &quot;index&quot;/)
  assert.match(bad.body.toString(), /record: began at \d+ ms, took \d+ ms \(found\)/)
  assert.doesNotMatch(bad.body.toString(), /7777777777/)
  await eventually('the trace ends', () => reportOf(bad)?.state !== 'running')
  assert.equal(reportOf(bad)?.code, 'TIMEOUT')
})

test('a body that nobody takes is not waited for', async () => {
  const at = siteAt(fakeSite({ 'index.html': '<p>home' }))
  const head = `Host: ${KEY}.gyre\r\nContent-Length: 1000000\r\n\r\nabc`
  for (const [method, status] of [
    ['GET', 200],
    ['POST', 405],
  ] as const) {
    const answer = await askRaw(proxy.at, `${method} ${at}/ HTTP/1.1\r\n${head}`, 5_000)
    assert.match(answer, new RegExp(`^HTTP/1\\.1 ${status} `))
    assert.match(answer, /\r\nConnection: close\r\n/)
  }
  const expecting = await askRaw(proxy.at, `PUT ${at}/ HTTP/1.1\r\nExpect: 100-continue\r\n${head}`, 5_000)
  assert.match(expecting, /^HTTP\/1\.1 405 /)
})

test('a CONNECT to port 80 of a site speaks to the site; another host of it is refused', async () => {
  siteAt(fakeSite({ 'index.html': '<p>home' }))
  const connect = `CONNECT ${KEY}.gyre:80 HTTP/1.1\r\nHost: ${KEY}.gyre:80\r\n\r\n`
  const get = (host: string, target = '/') => `GET ${target} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`
  const answer = await askRaw(proxy.at, connect + get(`${KEY}.gyre`))
  assert.match(answer, /^HTTP\/1\.1 200 Connection established\r\n\r\nHTTP\/1\.1 200 OK\r\n[\s\S]*<p>home$/)
  for (const request of [get('example.org'), get(`${'b'.repeat(56)}.gyre`), get(`${KEY}.gyre`, 'http://example.org/'), get('')])
    assert.match(await askRaw(proxy.at, connect + request), /\r\n\r\nHTTP\/1\.1 400 Bad Request\r\n/)
  assert.match(
    await askRaw(proxy.at, connect.replaceAll(':80', ':443')),
    /^HTTP\/1\.1 403 [\s\S]*it is at http:\/\/ and port 80 alone/,
  )
})

test('the PAC file sends .gyre to the proxy, however it is spelled, and nothing else', () => {
  const find = new Function(`${proxyPac({ host: '0.0.0.0', port: 9780 })}; return FindProxyForURL`)() as (
    url: string,
    host: string,
  ) => string
  for (const host of [`${KEY}.gyre`, 'notes.gyre', 'NOTES.GYRE', 'notes.gyre.', 'a.b.gyre', 'gyre'])
    assert.equal(find(`http://${host}/`, host), 'PROXY 127.0.0.1:9780')
  for (const host of ['example.org', 'gyre.example.org', 'notgyre', 'x.gyre.org', '127.0.0.1'])
    assert.equal(find(`http://${host}/`, host), 'DIRECT')
  assert.match(proxyPac({ host: '::1', port: 1 }), /PROXY \[::1\]:1/)
})
