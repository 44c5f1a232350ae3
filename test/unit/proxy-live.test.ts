/** The HTTP proxy before live services: every method, streams both ways, what is stripped, reuse, upgrades, tunnels, time-outs, snapshots. */
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { createServer, request as httpRequest, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { type AddressInfo, connect, createServer as createTcpServer, type Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { after, before, beforeEach, test } from 'node:test'
import { WebSocketServer } from 'ws'
import { CONNECT_TIMEOUT_MS, RESOLVE_TIMEOUT_MS } from '../../client/proxy/destination.ts'
import { ANSWER_TIMEOUT_MS } from '../../client/proxy/forward.ts'
import { type ProxyServer, startProxy } from '../../client/proxy/index.ts'
import { formatKeyAddress } from '../../src/content/address.ts'
import { OverlayError } from '../../src/errors/index.ts'
import { silentLog } from '../../src/log/index.ts'
import { systemClock } from '../../src/runtime/index.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { FakeFace } from '../support/fake-face.ts'
import { FakeLive, fakeSite } from '../support/fake-live.ts'
import { type Answer, ask, askRaw } from '../support/http.ts'
import { eventually } from '../support/processes.ts'

const KEY = formatKeyAddress(new Uint8Array(32).fill(7))
const HOST = `${KEY}.gyre`
const MiB = 2 ** 20

let face: FakeFace
let live: FakeLive
let proxy: ProxyServer
let web: Server
let webPort = 0
let onRequest: (request: IncomingMessage, response: ServerResponse) => void = (_request, response) => response.end('ok')
/** Connections that the web server has seen. */
let connections = 0

before(async () => {
  web = createServer((request, response) => onRequest(request, response))
  web.on('connection', () => connections++)
  const sockets = new WebSocketServer({ server: web })
  sockets.on('connection', (socket) => socket.on('message', (data) => socket.send(`echo ${String(data)}`)))
  await new Promise<void>((resolve) => web.listen(0, '127.0.0.1', resolve))
  webPort = (web.address() as AddressInfo).port
  face = new FakeFace()
  proxy = await startProxy({ face, clock: systemClock, log: silentLog, at: { host: '127.0.0.1', port: 0 } })
})
after(async () => {
  await proxy.close()
  web.closeAllConnections()
  web.close()
})
beforeEach(() => {
  live = new FakeLive({ 80: webPort, 8080: webPort })
  face.keys.set(KEY, { kind: 'key', live, site: null })
  onRequest = (_request, response) => response.end('ok')
})

function via(
  path: string,
  options: { method?: string; headers?: Record<string, string | string[]>; body?: Uint8Array | string; host?: string } = {},
): Promise<Answer> {
  const { method = 'GET', headers = {}, body, host = HOST } = options
  return ask(proxy.at, {
    method,
    path: `http://${host}${path}`,
    bareHost: true,
    headers: { Host: host, ...headers },
    ...(body === undefined ? {} : { body }),
  })
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

test('every method arrives with its path, query and body, and its answer comes back', async () => {
  onRequest = async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk)
    response.setHeader('X-Seen', `${request.method} ${request.url} ${Buffer.concat(chunks).length}`)
    response.statusCode = request.method === 'DELETE' ? 204 : 200
    response.end(request.method === 'HEAD' ? undefined : Buffer.concat(chunks))
  }
  for (const method of ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'PROPFIND', 'REPORT', 'TRACE']) {
    const body = /POST|PUT|PATCH|PROPFIND/.test(method) ? 'a body' : ''
    const answer = await via('/a%20b/c?d=e&f', { method, ...(body === '' ? {} : { body }) })
    assert.equal(answer.headers['x-seen'], `${method} /a%20b/c?d=e&f ${body.length}`)
    assert.equal(answer.body.toString(), method === 'HEAD' ? '' : body)
  }
  assert.equal((await via('', { method: 'OPTIONS' })).headers['x-seen'], 'OPTIONS * 0')
  assert.equal((await via('', {})).headers['x-seen'], 'GET / 0')
  assert.equal((await via('?q', {})).headers['x-seen'], 'GET /?q 0')
  assert.equal((await via('/', { method: 'POST' })).headers['x-seen'], 'POST / 0')
  const other = await via('/', { host: `${HOST}:8080` })
  assert.equal(other.status, 200)
  assert.deepEqual(live.asked.at(-1)?.port, 8080)
})

test('bodies stream both ways, chunked or with a length, whole and with back-pressure', async () => {
  const bytes = randomBytes(4 * MiB)
  onRequest = (request, response) => {
    if (request.headers['content-length'] !== undefined) response.setHeader('Content-Length', request.headers['content-length'])
    request.pipe(response)
  }
  const sized = await via('/', { method: 'POST', body: bytes, headers: { 'Content-Length': String(bytes.length) } })
  assert.equal(sha256(sized.body), sha256(bytes))
  assert.equal(sized.headers['content-length'], String(bytes.length))
  const chunked = await via('/', { method: 'PUT', body: bytes, headers: { 'Transfer-Encoding': 'chunked' } })
  assert.equal(sha256(chunked.body), sha256(bytes))
  assert.equal(chunked.headers['content-length'], undefined)

  // A client that does not read stops the service, within what buffers hold.
  let written = 0
  onRequest = (_request, response) => {
    const more = () => {
      do written += 65_536
      while (response.write(Buffer.alloc(65_536)))
      response.once('drain', more)
    }
    more()
  }
  const socket = connect(proxy.at.port, '127.0.0.1')
  socket.on('error', () => {})
  socket.write(`GET http://${HOST}/ HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`)
  socket.pause()
  let before = -1
  await eventually('it stands still', async () => {
    const still = written > 0 && written === before
    before = written
    await systemClock.sleep(100, { signal: new AbortController().signal })
    return still
  })
  assert.ok(written < 32 * MiB, `${written} bytes are on their way`)
  socket.destroy()
})

test('what is for one hop, or says who asks, is stripped both ways; nothing is added', async () => {
  let seen: readonly string[] = []
  onRequest = (request, response) => {
    seen = request.rawHeaders
    response.writeHead(200, {
      Connection: 'keep-alive, X-Hop',
      'X-Hop': '1',
      'Keep-Alive': 'timeout=99',
      Via: '1.1 squid',
      Forwarded: 'for=192.0.2.1',
      'X-Forwarded-For': '192.0.2.1',
      'X-Real-IP': '192.0.2.1',
      'Proxy-Authenticate': 'Basic',
      'Proxy-Status': 'evil',
      'Alt-Svc': 'h3="evil.example:443"',
      'Report-To': '{}',
      NEL: '{}',
      'Content-Security-Policy': "default-src 'none'; report-uri http://evil.example/",
      'Content-Security-Policy-Report-Only': 'default-src *; report-uri http://evil.example/',
      Link: '<http://evil.example/>; rel=preconnect',
      'Referrer-Policy': 'unsafe-url',
      'X-DNS-Prefetch-Control': 'on',
      'Set-Cookie': ['a=1; Path=/', 'b=2; Domain=gyre', `c=3; Domain=.${HOST}; HttpOnly`, 'd=4; domain=other.gyre'],
      'X-Kept': 'yes',
    })
    response.end()
  }
  const { headers } = await via('/', {
    headers: {
      Connection: 'keep-alive, X-Secret, Host, Content-Length',
      'X-Secret': '1',
      'Keep-Alive': '5',
      TE: 'trailers',
      'Proxy-Connection': 'keep-alive',
      'Proxy-Authorization': `Basic ${Buffer.from('anna:x').toString('base64')}`,
      Via: '1.1 me',
      Forwarded: 'for=10.0.0.1',
      'X-Forwarded-For': '10.0.0.1',
      'X-Forwarded-Host': 'me',
      'X-Real-IP': '10.0.0.1',
      'X-Client-IP': '10.0.0.1',
      'True-Client-IP': '10.0.0.1',
      'Max-Forwards': '3',
      'Gyre-Clock': 'swift',
      Referer: 'http://before.example/secret',
      Cookie: 'k=v',
      'X-Kept': 'yes',
    },
  })
  const names = seen.filter((_, at) => at % 2 === 0).map((name) => name.toLowerCase())
  assert.deepEqual(names.sort(), ['connection', 'cookie', 'host', 'x-kept'])
  assert.doesNotMatch(seen.join('\n'), /10\.0\.0\.1|anna|YW5uYTp4|before/)
  for (const name of [
    'x-hop',
    'via',
    'forwarded',
    'x-forwarded-for',
    'x-real-ip',
    'proxy-authenticate',
    'proxy-status',
    'alt-svc',
    'report-to',
    'nel',
    'link',
    'server',
    'content-security-policy-report-only',
  ])
    assert.equal(headers[name], undefined, name)
  assert.doesNotMatch(String(headers['keep-alive']), /99/)
  assert.equal(headers['x-kept'], 'yes')
  assert.deepEqual(headers['set-cookie'], ['a=1; Path=/', 'c=3; HttpOnly'])
  const policies = String(headers['content-security-policy'])
  assert.match(policies, /^default-src 'none', default-src 'self' http:\/\/\*\.gyre:\*/)
  assert.doesNotMatch(policies, /report|evil/)
  assert.equal(headers['referrer-policy'], 'same-origin')
  assert.equal(headers['x-dns-prefetch-control'], 'off')
})

test('a petname stays at home: the service hears its address, the client its name', async () => {
  await face.names.put('wiki', KEY)
  let seen: IncomingMessage['headers'] = {}
  onRequest = (request, response) => {
    seen = request.headers
    response.writeHead(302, {
      Location: `http://${HOST}/next?a`,
      'Access-Control-Allow-Origin': request.headers.origin ?? '',
      'Set-Cookie': `s=1; Domain=${HOST}`,
    })
    response.end()
  }
  const headers = { Origin: 'http://wiki.gyre', Referer: 'http://wiki.gyre/page?x' }
  const answer = await via('/', { host: 'wiki.gyre', headers })
  assert.deepEqual([seen.host, seen.origin, seen.referer], [HOST, `http://${HOST}`, `http://${HOST}/page?x`])
  assert.equal(answer.headers.location, 'http://wiki.gyre/next?a')
  assert.equal(answer.headers['access-control-allow-origin'], 'http://wiki.gyre')
  assert.deepEqual(answer.headers['set-cookie'], ['s=1'])
  await via('/', { headers: { Origin: 'http://unknown-name.gyre', Referer: 'http://wiki.gyre/' } })
  assert.deepEqual([seen.origin, seen.referer], ['null', undefined])
  assert.equal((await via('/', { headers: { Origin: 'http://example.org' } })).status, 403)
})

test('Expect: 100-continue is the service to answer; a final answer saves the body', async () => {
  let body = 0
  onRequest = (request, response) => {
    request.on('data', (chunk: Buffer) => {
      body += chunk.length
    })
    request.on('end', () => response.end('taken'))
  }
  const upload = (): Promise<{ status: number; continued: boolean }> => {
    const { promise, resolve, reject } = Promise.withResolvers<{ status: number; continued: boolean }>()
    let continued = false
    const headers = { Host: HOST, Expect: '100-continue', 'Content-Length': '5' }
    const request = httpRequest({
      host: '127.0.0.1',
      port: proxy.at.port,
      method: 'PUT',
      path: `http://${HOST}/`,
      headers,
      agent: false,
    })
    request.on('continue', () => {
      continued = true
      request.end('12345')
    })
    request.on('response', (response) => {
      response.resume()
      request.destroy()
      resolve({ status: response.statusCode ?? 0, continued })
    })
    request.on('error', reject)
    request.flushHeaders()
    return promise
  }
  assert.deepEqual(await upload(), { status: 200, continued: true })
  assert.equal(body, 5)
  web.once('checkContinue', (_request, response: ServerResponse) => {
    response.statusCode = 417
    response.end()
  })
  assert.deepEqual(await upload(), { status: 417, continued: false })
})

test('connections are reused for one isolation, address and port, and for what may be sent twice only', async () => {
  const basic = (user: string) => ({ 'Proxy-Authorization': `Basic ${Buffer.from(`${user}:`).toString('base64')}` })
  // Connections that earlier tests left are those of other isolations.
  const plain = { headers: basic('of this test') }
  connections = 0
  for (let at = 0; at < 3; at++) assert.equal((await via('/', plain)).status, 200)
  assert.equal(connections, 1)
  for (let at = 0; at < 2; at++) assert.equal((await via('/', { headers: basic('anna') })).status, 200)
  assert.equal(connections, 2)
  await via('/', { ...plain, host: `${HOST}:8080` })
  assert.equal(connections, 3)
  for (let at = 0; at < 2; at++) await via('/', { ...plain, method: 'POST', body: 'x' })
  assert.equal(connections, 5)
  const [first, anna, ...rest] = live.asked.map(({ isolation }) => isolation)
  assert.notEqual(first, anna)
  assert.deepEqual(rest, [first, first, first])
})

test('a kept connection that the service closed meanwhile is no failure', async () => {
  connections = 0
  await via('/')
  web.closeIdleConnections()
  for (let at = 0; at < 3; at++) assert.equal((await via('/')).status, 200)
  // The answer of nobody's question: the connection is not used again.
  const chatter = createTcpServer((socket) => {
    socket.on('error', () => {})
    socket.on('data', () =>
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison'),
    )
  })
  await new Promise<void>((resolve) => chatter.listen(0, '127.0.0.1', resolve))
  face.keys.set(KEY, { kind: 'key', live: new FakeLive({ 80: (chatter.address() as AddressInfo).port }), site: null })
  const bodies: string[] = []
  for (let at = 0; at < 3; at++)
    bodies.push((await via('/x', { headers: { 'Proxy-Authorization': 'Basic eA==' } })).body.toString())
  assert.ok(!bodies.includes('poison'), bodies.join())
  chatter.close()
})

test('each failure of a service has its status, page and Proxy-Status', async () => {
  for (const [kind, code, status, type] of [
    ['unreachable', 'SERVICE_UNREACHABLE', 503, 'destination_unavailable'],
    ['unreachable', 'SERVICE_REFUSED', 502, 'connection_refused'],
    ['overload', 'SERVICE_BUSY', 503, 'destination_unavailable'],
  ] as const) {
    live.fail = new OverlayError(kind, code, 'why')
    const answer = await via('/f', { headers: { 'Proxy-Authorization': `Basic ${Buffer.from(code).toString('base64')}` } })
    assert.deepEqual([answer.status, answer.headers['proxy-status']], [status, `gyre; error=${type}; details="${code}"`])
    assert.match(answer.body.toString(), /introduction: began at/)
  }
  live.fail = null
  for (const bytes of [
    'SSH-2.0-OpenSSH_9.9\r\n',
    'HTTP/1.1 000 X\r\nContent-Length: 0\r\n\r\n',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n',
    'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n',
    '',
    `HTTP/1.1 200 OK\r\nX: ${'a'.repeat(40_000)}\r\n\r\n`,
    'HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n',
  ]) {
    face.keys.set(KEY, { kind: 'key', live: new FakeLive({ 80: () => saying(bytes) }), site: null })
    const answer = await via('/', { method: 'POST', body: 'x' })
    assert.deepEqual(
      [answer.status, answer.headers['proxy-status']],
      [502, 'gyre; error=http_response_incomplete; details="SERVICE_BAD_ANSWER"'],
      bytes.slice(0, 40),
    )
  }
  face.keys.set(KEY, {
    kind: 'key',
    live: new FakeLive({ 80: () => saying('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc') }),
    site: null,
  })
  const broken = await via('/', { method: 'POST' }).catch((error: Error) => error)
  assert.ok(broken instanceof Error || !broken.whole)
})

test('an answer that has no body never announces one: the next on the connection would be taken for it', async () => {
  const answers = [
    'HTTP/1.1 204 No Content\r\nContent-Length: 19\r\n\r\n',
    'HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n',
    'HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n',
  ]
  for (const bytes of answers) {
    face.keys.set(KEY, { kind: 'key', live: new FakeLive({ 80: () => saying(bytes) }), site: null })
    const answer = await via('/', { method: 'POST' })
    assert.ok(['0', undefined].includes(answer.headers['content-length']), `${bytes} ${answer.headers['content-length']}`)
    assert.equal(answer.headers['transfer-encoding'], undefined)
  }
})

/** A stream that says `bytes` when it is spoken to, and ends. */
function saying(bytes: string): Duplex {
  let said = false
  const stream: Duplex = new Duplex({
    read() {},
    write(_chunk, _encoding, done) {
      if (!said) {
        stream.push(bytes)
        stream.push(null)
      }
      said = true
      done()
    },
  })
  return stream
}

test('live first, the snapshot when nobody answers, live again when it is back', async () => {
  const clock = new FakeClock()
  const other = await startProxy({ face, clock, log: silentLog, at: { host: '127.0.0.1', port: 0 } })
  const get = (method = 'GET', path = '/') =>
    ask(other.at, { method, path: `http://${HOST}${path}`, bareHost: true, headers: { Host: HOST } })
  try {
    const site = async () => fakeSite({ 'index.html': 'the snapshot' })
    face.keys.set(KEY, { kind: 'key', live, site })
    const up = await get()
    assert.deepEqual([up.body.toString(), up.headers['gyre-served']], ['ok', undefined])
    live.fail = new OverlayError('unreachable', 'SERVICE_UNREACHABLE', 'nobody')
    web.closeAllConnections()
    await eventually('the kept connection is gone', async () => (await get()).headers['gyre-served'] === 'snapshot')
    const down = await get()
    assert.deepEqual([down.status, down.body.toString(), down.headers['gyre-served']], [200, 'the snapshot', 'snapshot'])
    const asked = live.asked.length
    await get('HEAD')
    assert.equal(live.asked.length, asked, 'a service that was away just now is not waited for')
    assert.equal((await get('POST')).status, 503)
    live.fail = null
    assert.equal((await get('POST')).status, 200)
    await clock.advance(10_001)
    assert.equal((await get()).body.toString(), 'ok')

    // A key with something else at another port, and a site: the site is not in anybody's place.
    face.keys.set(KEY, { kind: 'key', live: new FakeLive({ 22: webPort }), site })
    const beside = await get()
    assert.deepEqual([beside.body.toString(), beside.headers['gyre-served']], ['the snapshot', undefined])
  } finally {
    await stop(other, clock)
  }
})

/** Stops a proxy that runs on a clock of the test's. */
async function stop(other: ProxyServer, clock: FakeClock): Promise<void> {
  const done = other.close()
  await clock.advance(5_000)
  await done
}

test('every wait on a client or service ends, with a page that says at which stage', async () => {
  const clock = new FakeClock()
  const other = await startProxy({ face, clock, log: silentLog, at: { host: '127.0.0.1', port: 0 } })
  const head = (method: string, more = '') => `${method} http://${HOST}/ HTTP/1.1\r\nHost: ${HOST}\r\n${more}\r\n`
  /** Sends `bytes`, waits until the service has been asked, lets `ms` pass; the whole answer. */
  const after = async (bytes: string, ms: number, begun: () => boolean): Promise<string> => {
    const answer = askRaw(other.at, bytes, 5_000)
    await eventually('the request is on its way', begun)
    await clock.advance(ms)
    return answer
  }
  const never = () => new Promise<void>(() => {})
  try {
    live.before = never
    const connecting = await after(head('GET', 'Connection: close\r\n'), CONNECT_TIMEOUT_MS, () => live.asked.length === 1)
    assert.match(connecting, /^HTTP\/1\.1 504 [\s\S]*SERVICE_UNREACHABLE[\s\S]*It stopped at the stage &quot;introduction&quot;/)

    await clock.advance(10_000) // it is not taken for away any more
    face.keys.set(KEY, { kind: 'key', live, site: async () => fakeSite({ 'index.html': 'the snapshot' }) })
    const instead = await after(head('GET', 'Connection: close\r\n'), 12_000, () => live.asked.length === 2)
    assert.match(instead, /^HTTP\/1\.1 200 [\s\S]*Gyre-Served: snapshot[\s\S]*the snapshot$/)

    live.before = async () => {}
    face.keys.set(KEY, { kind: 'key', live, site: null })
    let asked = 0
    onRequest = (request) => {
      asked++
      request.resume()
    }
    const silent = await after(head('GET', 'Connection: close\r\n'), ANSWER_TIMEOUT_MS + CONNECT_TIMEOUT_MS, () => asked === 1)
    assert.match(silent, /^HTTP\/1\.1 504 [\s\S]*waiting for the answer of the service/)
    const stalled = await after(`${head('POST', 'Content-Length: 10\r\n')}abc`, 120_000, () => asked === 2)
    assert.match(stalled, /^HTTP\/1\.1 408 [\s\S]*stood still/)
    onRequest = (_request, response) => {
      asked++
      response.write('half')
    }
    const halved = await after(head('GET', 'Connection: close\r\n'), 600_000, () => asked === 3)
    assert.doesNotMatch(halved, /0\r\n\r\n$/, 'an answer that stands still is cut, not ended')

    face.resolve = (_address, { signal, trace }) => {
      trace?.stage('record')
      asked++
      return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
    }
    const looking = await after(head('GET', 'Connection: close\r\n'), RESOLVE_TIMEOUT_MS, () => asked === 4)
    assert.match(looking, /^HTTP\/1\.1 504 [\s\S]*It stopped at the stage &quot;record&quot;/)
  } finally {
    Reflect.deleteProperty(face, 'resolve')
    await stop(other, clock)
  }
})

test('a client that goes away ends the work for it', async () => {
  let closed = 0
  let begun = 0
  onRequest = (request) => {
    begun++
    request.socket.once('close', () => closed++)
  }
  const socket = connect(proxy.at.port, '127.0.0.1')
  socket.write(`POST http://${HOST}/ HTTP/1.1\r\nHost: ${HOST}\r\nContent-Length: 9\r\n\r\nabc`)
  await eventually('the request is there', () => begun === 1)
  socket.destroy()
  await eventually('its connection is closed', () => closed === 1)
})

test('a WebSocket through the proxy in absolute form, and another answer to one', async () => {
  const key = randomBytes(16).toString('base64')
  const opening = (path: string, more = '') =>
    `GET http://${HOST}${path} HTTP/1.1\r\nHost: ${HOST}\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n` +
    `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\nX-Real-IP: 10.0.0.1\r\n${more}\r\n`
  // A masked text frame, "hello", sent at once behind the head; then a close frame.
  const frame = Buffer.from([0x81, 0x85, 0, 0, 0, 0, ...Buffer.from('hello'), 0x88, 0x80, 0, 0, 0, 0])
  const answer = await askRaw(proxy.at, Buffer.concat([Buffer.from(opening('/socket')), frame]))
  assert.match(answer, /^HTTP\/1\.1 101 Switching Protocols\r\n/)
  const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
  assert.ok(answer.includes(`Sec-WebSocket-Accept: ${accept}`))
  assert.ok(answer.includes('\x81\x0aecho hello'), JSON.stringify(answer))
  face.keys.set(KEY, {
    kind: 'key',
    live: new FakeLive({ 80: () => saying('HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone') }),
    site: null,
  })
  assert.match(await askRaw(proxy.at, opening('/other')), /^HTTP\/1\.1 404 Not Found\r\n[\s\S]*none$/)
  face.keys.set(KEY, { kind: 'key', live: null, site: async () => fakeSite({ 'index.html': '' }) })
  assert.match(await askRaw(proxy.at, opening('/')), /^HTTP\/1\.1 400 [\s\S]*no WebSocket/)
  assert.match(await askRaw(proxy.at, opening('/').replaceAll(HOST, 'example.org')), /^HTTP\/1\.1 403 /)
})

test('CONNECT carries any protocol to a live service, with half-close, both ways, whole', async () => {
  const seen: Buffer[] = []
  const bytes = randomBytes(3 * MiB)
  const echo = createTcpServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {})
    socket.on('data', (chunk) => seen.push(chunk))
    // Speaks only when it has heard all: that needs the client's end to arrive as an end.
    socket.on('end', () => socket.end(Buffer.concat(seen)))
  })
  await new Promise<void>((resolve) => echo.listen(0, '127.0.0.1', resolve))
  face.keys.set(KEY, { kind: 'key', live: new FakeLive({ 22: (echo.address() as AddressInfo).port }), site: null })
  const { promise, resolve } = Promise.withResolvers<Buffer>()
  const got: Buffer[] = []
  const socket = connect({ port: proxy.at.port, host: '127.0.0.1', allowHalfOpen: true })
  socket.on('data', (chunk) => got.push(chunk)).on('end', () => resolve(Buffer.concat(got)))
  // As `nc -X connect` asks: HTTP/1.0, no Host; and the first bytes do not wait for the answer.
  socket.write(`CONNECT ${HOST}:22 HTTP/1.0\r\n\r\n`)
  socket.end(bytes)
  const answer = await promise
  const head = 'HTTP/1.1 200 Connection established\r\n\r\n'
  assert.equal(answer.subarray(0, head.length).toString(), head)
  assert.equal(sha256(answer.subarray(head.length)), sha256(bytes))
  echo.close()
})

test('CONNECT: a break is a break, refusals are pages, no port is taken for granted', async () => {
  let inside: Socket | null = null
  const target = createTcpServer((socket) => {
    inside = socket
    socket.on('error', () => {})
    socket.write('hello')
  })
  await new Promise<void>((resolve) => target.listen(0, '127.0.0.1', resolve))
  face.keys.set(KEY, { kind: 'key', live: new FakeLive({ 22: (target.address() as AddressInfo).port }), site: null })
  const socket = connect(proxy.at.port, '127.0.0.1')
  let error = ''
  let text = ''
  socket.on('error', (fault: NodeJS.ErrnoException) => (error = fault.code ?? ''))
  socket.on('data', (chunk) => (text += chunk))
  socket.write(`CONNECT ${HOST}:22 HTTP/1.1\r\nHost: ${HOST}:22\r\n\r\n`)
  await eventually('the greeting came', () => text.endsWith('hello'))
  ;(inside as Socket | null)?.resetAndDestroy()
  await eventually('the client sees the break', () => error === 'ECONNRESET')
  for (const [request, status] of [
    [`CONNECT ${HOST}:23 HTTP/1.1\r\nHost: ${HOST}:23\r\n\r\n`, 502],
    [`CONNECT ${HOST} HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`, 400],
    [`CONNECT ${HOST}:0 HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`, 400],
    [`CONNECT ${HOST}:22 HTTP/1.1\r\nHost: example.org:22\r\n\r\n`, 400],
    [`CONNECT nobody.gyre:22 HTTP/1.1\r\nHost: nobody.gyre:22\r\n\r\n`, 404],
    [`CONNECT example.org:22 HTTP/1.1\r\nHost: example.org:22\r\n\r\n`, 403],
  ] as const) {
    const answer = await askRaw(proxy.at, request)
    assert.match(answer, new RegExp(`^HTTP/1\\.1 ${status} [\\s\\S]*Proxy-Status: gyre; error=`), request)
  }
  target.close()
})

test('100 connections at a time', async () => {
  onRequest = async (_request, response) => {
    await systemClock.sleep(50, { signal: new AbortController().signal })
    response.end(randomBytes(10_000))
  }
  const answers = await Promise.all(Array.from({ length: 100 }, (_, at) => via(`/${at}`)))
  assert.ok(answers.every(({ status, body }) => status === 200 && body.length === 10_000))
})

test('a client that sends request after request without reading is cut off', async () => {
  live.before = () => new Promise(() => {})
  const get = `GET http://${HOST}/ HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`
  const before = live.asked.length
  const began = systemClock.monotonicMs()
  assert.equal(await askRaw(proxy.at, get.repeat(50), 5_000), '')
  assert.ok(systemClock.monotonicMs() - began < 4_000, 'it was cut off, not waited for')
  assert.ok(live.asked.length - before <= 8)
})
