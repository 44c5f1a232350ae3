/** The proxy around a fake node: publications come, everything else gets 403 or 400, and nothing leaves (DESIGN P11). */
import assert from 'node:assert/strict'
import dns from 'node:dns'
import net from 'node:net'
import { after, before, beforeEach, test } from 'node:test'
import type { FaceServer } from '../../client/api/index.ts'
import { startProxy } from '../../client/proxy/index.ts'
import { OverlayError } from '../../src/errors/index.ts'
import { silentLog } from '../../src/log/index.ts'
import { systemClock } from '../../src/runtime/index.ts'
import { FakeFace } from '../support/fake-face.ts'
import { type Answer, ask, askRaw } from '../support/http.ts'

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
    `${address}.gyre:8080`,
    `${address}.gyre:`,
    `user@${address}.gyre`,
    `user:pw@${address}.gyre`,
    `${address.slice(1)}.gyre`,
    `${address}a.gyre`,
    `${address.slice(0, -1)}1.gyre`,
    'gyre',
    '.gyre',
    'example.gyre',
  ]) {
    const answer = await via(`http://${host}/`)
    assert.equal(answer.status, 400, host)
    assert.match(answer.body.toString(), /56 lower-case/)
  }
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

test('Host and target must agree; Origin must be the page itself; Gyre-Clock is checked', async () => {
  const address = await publish(page)
  const url = `http://${address}.gyre/`
  assert.equal((await via(url, { Host: 'example.org' })).status, 400)
  assert.equal((await via(url, { Host: `${'b'.repeat(56)}.gyre` })).status, 400)
  assert.equal((await via(url, { Host: '' })).status, 400)
  assert.equal((await via(url, { Host: `${address}.gyre:80` })).status, 200)
  assert.equal((await via(url, { Origin: 'http://example.org' })).status, 403)
  assert.equal((await via(url, { Origin: `http://${'b'.repeat(56)}.gyre` })).status, 403)
  assert.equal((await via(url, { Origin: `http://${address}.gyre` })).status, 200)
  assert.equal((await via(url, { 'Gyre-Clock': 'swift' })).status, 200)
  assert.equal((await via(url, { 'Gyre-Clock': 'steady' })).status, 400)
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

/** The greeting of another protocol; it has no line end, so no answer is due. */
const SOCKS = '\x05\x01\x00'

/** Requests that try to get out, each as bytes. */
function hostile(address: string): readonly string[] {
  const get = (target: string, host = 'example.org', more = '') =>
    `GET ${target} HTTP/1.1\r\nHost: ${host}\r\n${more}Connection: close\r\n\r\n`
  const gyre = `${address}.gyre`
  return [
    get('http://example.org/'),
    get('http://example.org:80/', 'example.org:80'),
    get('http://93.184.216.34/', '93.184.216.34'),
    get('http://[2606:2800:220:1:248:1893:25c8:1946]/', '[2606:2800:220:1:248:1893:25c8:1946]'),
    get('http://0x5db8d822/', '0x5db8d822'),
    get('http://127.0.0.1:9770/v1/status', '127.0.0.1:9770'),
    get('http://localhost/', 'localhost'),
    get('http://169.254.169.254/latest/meta-data/', '169.254.169.254'),
    get('http://example.onion/', 'example.onion'),
    get(`http://${gyre}.example.org/`, `${gyre}.example.org`),
    get(`http://example.org/${gyre}`, gyre),
    get(`http://example.org#@${gyre}/`, gyre),
    get(`http://${gyre}@example.org/`, 'example.org'),
    get(`http://example.org\\@${gyre}/`, gyre),
    get(`http://example.org%2f@${gyre}/`, gyre),
    get(`http://example.org?${gyre}/`, gyre),
    get('https://example.org/'),
    get(`https://${gyre}/`, gyre),
    get('ftp://example.org/'),
    get('file:///etc/passwd', ''),
    get('//example.org/'),
    get('/', 'example.org'),
    get('/', gyre),
    get('http:///example.org/'),
    get('http:example.org'),
    get(`HTTP://EXAMPLE.ORG/`, 'EXAMPLE.ORG'),
    `CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n`,
    `CONNECT ${gyre}:443 HTTP/1.1\r\nHost: ${gyre}:443\r\n\r\n\x16\x03\x01`,
    `CONNECT 93.184.216.34:25 HTTP/1.1\r\nHost: 93.184.216.34:25\r\n\r\n`,
    `POST http://example.org/ HTTP/1.1\r\nHost: example.org\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc`,
    `POST http://${gyre}/ HTTP/1.1\r\nHost: ${gyre}\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc`,
    `TRACE http://${gyre}/ HTTP/1.1\r\nHost: ${gyre}\r\nConnection: close\r\n\r\n`,
    `OPTIONS * HTTP/1.1\r\nHost: example.org\r\nConnection: close\r\n\r\n`,
    get('http://example.org/', 'example.org', 'Connection: Upgrade\r\nUpgrade: websocket\r\n'),
    get(`http://${gyre}/ HTTP/1.1\r\nHost: ${gyre}\r\n\r\nGET http://example.org/`),
    `GET http://example.org/ HTTP/1.0\r\n\r\n`,
    `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n`,
    `\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03`,
    SOCKS,
    get(`http://${'a'.repeat(20_000)}.org/`),
  ]
}

test('hostile requests get 400 or 403, and cause neither a DNS query nor an outward socket', async (context) => {
  const address = await publish(page)
  const calls: string[] = []
  const spy = (name: string) => () => {
    calls.push(name)
    throw new Error('a request tried to leave')
  }
  // The test's own connections are to this port of loopback; every other use is a leak.
  const { port } = proxy.at
  const connect = net.Socket.prototype.connect
  context.mock.method(net.Socket.prototype, 'connect', function (this: net.Socket, ...args: unknown[]) {
    const options = (Array.isArray(args[0]) ? args[0][0] : args[0]) as { port?: number; host?: string }
    if (options.port === port && options.host === '127.0.0.1') return Reflect.apply(connect, this, args)
    return spy(`connect ${JSON.stringify(options)}`)()
  })
  for (const name of ['lookup', 'resolve', 'resolve4', 'resolve6', 'resolveAny'] as const)
    context.mock.method(dns, name, spy(name))
  context.mock.method(dns.promises, 'lookup', spy('promises.lookup'))
  context.mock.method(dns.Resolver.prototype, 'resolve', spy('Resolver.resolve'))

  for (const request of hostile(address)) {
    const answer = await askRaw(proxy.at, Buffer.from(request, 'latin1'), 1_000)
    const statuses = [...answer.matchAll(/^HTTP\/1\.[01] (\d{3})/gm)].map(([, status]) => Number(status))
    const shown = JSON.stringify(request.slice(0, 80))
    // A smuggled second request stands alone: the first may be served, the second never leaves.
    const served = request.startsWith(`GET http://${address}.gyre/ HTTP/1.1\r\n`) ? [200, 400, 403] : [400, 403, 431]
    for (const status of statuses) assert.ok(served.includes(status), `${shown} got ${status}`)
    if (!request.startsWith(SOCKS)) assert.ok(statuses.length > 0, `${shown} got no answer`)
    assert.deepEqual(calls, [], shown)
  }
  assert.equal((await via(`http://${address}.gyre/`)).status, 200)
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
