/**
 * The API around a fake node: its contract (issue: "Fixed outside contract"), who is refused, and what a client sees when things break.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { request as httpRequest } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, beforeEach, test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { type FaceServer, readToken, startApi, TRANSFERS_MAX, type TransferReport } from '../../client/api/index.ts'
import { isOverlayError, OverlayError } from '../../src/errors/index.ts'
import { silentLog } from '../../src/log/index.ts'
import { systemClock } from '../../src/runtime/index.ts'
import { FakeFace } from '../support/fake-face.ts'
import { type Answer, type Ask, ask, askRaw, problem } from '../support/http.ts'

const token = 'f'.repeat(64)
const unknown = 'a'.repeat(56)
let face = new FakeFace()
let api: FaceServer

// One server for all tests: the face behind it is new for each.
const behind = new Proxy({} as FakeFace, {
  get: (_target, name) => {
    const value: unknown = Reflect.get(face, name)
    return typeof value === 'function' ? value.bind(face) : value
  },
})
before(async () => {
  api = await startApi({ face: behind, clock: systemClock, log: silentLog, at: { host: '127.0.0.1', port: 0 }, token })
})
beforeEach(() => {
  face = new FakeFace()
})
after(() => api.close())

const bearer = { Authorization: `Bearer ${token}` }
const call = (what: Ask): Promise<Answer> => ask(api.at, { ...what, headers: { ...bearer, ...what.headers } })

async function publish(body: Uint8Array | string, headers: Record<string, string> = {}, query = ''): Promise<string> {
  const answer = await call({ method: 'POST', path: `/v1/publish${query}`, body, headers })
  assert.equal(answer.status, 201, answer.body.toString())
  return (JSON.parse(answer.body.toString()) as { address: string }).address
}

function pattern(length: number): Buffer {
  return Buffer.from(Uint8Array.from({ length }, (_, at) => (at * 31 + (at >> 8)) & 255))
}

test('publish: 201 with address, bytes, shares, holders, and whether it is kept; type and name are kept', async () => {
  const type = 'text/plain; charset=utf-8'
  const answer = await call({
    method: 'POST',
    path: '/v1/publish?name=h%C3%A9llo.txt',
    body: 'hello',
    headers: { 'Content-Type': type },
  })
  assert.equal(answer.status, 201)
  const publication = JSON.parse(answer.body.toString()) as Record<string, unknown>
  assert.deepEqual(Object.keys(publication), ['address', 'bytes', 'shares', 'holders', 'receipt', 'kept'])
  assert.equal(publication.kept, true)
  assert.equal(publication.bytes, 5)
  assert.equal(answer.headers.location, `/v1/fetch/${String(publication.address)}`)
  assert.deepEqual(face.lastPublish, { name: 'héllo.txt', contentType: type, keep: true })
  const fetched = await call({ path: `/v1/fetch/${String(publication.address)}` })
  assert.equal(fetched.headers['content-type'], type)
  assert.equal(fetched.body.toString(), 'hello')
})

test('publish takes every body: none, chunked, any type, without type', async () => {
  for (const body of ['', 'x', pattern(300_000)]) {
    for (const headers of [{}, { 'Content-Type': 'application/json' }, { 'Content-Type': 'multipart/form-data; boundary=x' }]) {
      const chunked: Record<string, string> = body.length > 1 ? { 'Transfer-Encoding': 'chunked' } : {}
      const address = await publish(body, { ...headers, ...chunked } as Record<string, string>)
      assert.equal(Buffer.compare((await call({ path: `/v1/fetch/${address}` })).body, Buffer.from(body)), 0)
    }
  }
})

test('publish reads the socket only as fast as the node takes: back-pressure', async () => {
  const release = Promise.withResolvers<void>()
  face.beforeTake = () => release.promise
  let accepted = 0
  const { port } = api.at
  const request = httpRequest({ host: '127.0.0.1', port, method: 'POST', path: '/v1/publish', headers: bearer, agent: false })
  const answered = new Promise<number>((resolve) =>
    request.on('response', (response) => resolve(response.resume().statusCode ?? 0)),
  )
  const chunk = Buffer.alloc(1 << 20)
  // Writes until the socket has taken nothing for a while; loopback buffers hold a few MiB.
  for (let idle = 0; idle < 20 && accepted < 64; ) {
    if (request.writableLength < chunk.length) {
      request.write(chunk)
      accepted++
      idle = 0
    } else {
      await new Promise((resolve) => setTimeout(resolve, 5))
      idle++
    }
  }
  assert.ok(accepted < 64, 'the node took 64 MiB that nobody had asked for')
  assert.equal(face.chunksTaken, 0)
  release.resolve()
  request.end()
  assert.equal(await answered, 201)
})

test('publish refuses bad names, queries, codings', async () => {
  for (const [path, headers] of [
    [`/v1/publish?name=${'x'.repeat(256)}`, {}],
    ['/v1/publish?name=a%00b', {}],
    ['/v1/publish?name=a&name=b', {}],
    ['/v1/publish?nmae=a', {}],
    ['/v1/publish', { 'Content-Type': `text/${'x'.repeat(300)}` }],
    ['/v1/publish', { 'Content-Encoding': 'gzip' }],
  ] as const) {
    const answer = await call({ method: 'POST', path, headers, body: 'x' })
    assert.ok(answer.status === 400 || answer.status === 415, `${path} gave ${answer.status}`)
    assert.equal(problem(answer).code, 'API_BAD_REQUEST')
  }
})

test('publish that fails early still gets its answer, with the body half sent', async () => {
  face.failPublish = new OverlayError('unreachable', 'NETWORK_TOO_SMALL', 'Only 2 nodes are known.')
  const answer = await call({ method: 'POST', path: '/v1/publish', body: pattern(3_000_000) })
  assert.equal(answer.status, 503)
  assert.equal(answer.headers['retry-after'], '5')
  assert.equal(problem(answer).code, 'NETWORK_TOO_SMALL')
})

test('publish by a client that breaks off publishes nothing', async () => {
  const head = `POST /v1/publish HTTP/1.1\r\nHost: 127.0.0.1:${api.at.port}\r\nAuthorization: Bearer ${token}\r\nContent-Length: 100000\r\n\r\nabc`
  await askRaw(api.at, head, 200)
  for (let at = 0; at < 50; at++) await turn()
  const address = await publish('abc')
  face = new FakeFace()
  assert.equal((await call({ path: `/v1/fetch/${address}` })).status, 404)
})

test('fetch: headers, HEAD, conditions', async () => {
  const body = pattern(200_000)
  const path = `/v1/fetch/${await publish(body, { 'Content-Type': 'image/png' })}`
  const whole = await call({ path })
  assert.equal(whole.status, 200)
  assert.equal(whole.headers['content-length'], '200000')
  assert.equal(whole.headers['accept-ranges'], 'bytes')
  assert.equal(whole.headers['x-content-type-options'], 'nosniff')
  assert.match(String(whole.headers['content-security-policy']), /sandbox/)
  assert.equal(whole.headers['access-control-allow-origin'], undefined)
  assert.equal(Buffer.compare(whole.body, body), 0)
  const etag = String(whole.headers.etag)
  assert.match(etag, /^"[^"]+"$/)
  const head = await call({ method: 'HEAD', path })
  const own = new Set(['date', 'gyre-transfer', 'gyre-trace'])
  const lasting = (headers: object) => Object.entries(headers).filter(([name]) => !own.has(name))
  assert.deepEqual(lasting(head.headers), lasting(whole.headers))
  assert.equal(head.body.length, 0)
  assert.equal((await call({ path, headers: { 'If-None-Match': `"x", W/${etag}` } })).status, 304)
  assert.equal((await call({ path, headers: { 'If-None-Match': '"x"' } })).status, 200)
  assert.equal((await call({ path, headers: { 'If-Match': '"x"' } })).status, 412)
  assert.equal((await call({ path, headers: { 'If-Match': etag } })).status, 200)
})

test('fetch: ranges', async () => {
  const body = pattern(200_000)
  const path = `/v1/fetch/${await publish(body)}`
  const etag = String((await call({ method: 'HEAD', path })).headers.etag)
  for (const [range, start, end] of [
    ['bytes=0-0', 0, 1],
    ['bytes=70000-149999', 70_000, 150_000],
    ['bytes=199999-', 199_999, 200_000],
    ['bytes=-5', 199_995, 200_000],
    ['bytes=100-99999999999999999999', 100, 200_000],
    ['bytes=-999999999', 0, 200_000],
  ] as const) {
    const answer = await call({ path, headers: { Range: range } })
    assert.equal(answer.status, 206, range)
    assert.equal(answer.headers['content-range'], `bytes ${start}-${end - 1}/200000`)
    assert.equal(Buffer.compare(answer.body, body.subarray(start, end)), 0)
  }
  for (const range of ['bytes=5-4', 'bytes=', 'bytes=-', 'bits=0-1', 'bytes=0-1,5-6', 'bytes=a-b', 'bytes 0-1']) {
    assert.equal((await call({ path, headers: { Range: range } })).status, 200, range)
  }
  for (const range of ['bytes=200000-', 'bytes=-0', 'bytes=300000-400000, 500000-']) {
    const answer = await call({ path, headers: { Range: range } })
    assert.equal(answer.status, 416, range)
    assert.equal(answer.headers['content-range'], 'bytes */200000')
    assert.equal(problem(answer).code, 'RANGE_UNSATISFIABLE')
  }
  assert.equal((await call({ path, headers: { Range: 'bytes=0-1', 'If-Range': etag } })).status, 206)
  assert.equal((await call({ path, headers: { Range: 'bytes=0-1', 'If-Range': '"x"' } })).status, 200)
  assert.equal((await call({ path, headers: { Range: 'bytes=0-1', 'If-Range': 'Wed, 21 Oct 2026 07:28:00 GMT' } })).status, 200)
  assert.equal((await call({ method: 'HEAD', path, headers: { Range: 'bytes=0-1' } })).status, 200)
})

test('fetch: an empty publication', async () => {
  const path = `/v1/fetch/${await publish('')}`
  const answer = await call({ path })
  assert.equal(answer.status, 200)
  assert.equal(answer.headers['content-length'], '0')
  assert.equal((await call({ path, headers: { Range: 'bytes=0-' } })).status, 416)
  assert.equal((await call({ path, headers: { Range: 'bytes=-1' } })).status, 200)
})

test("a publisher's content type cannot add headers", async () => {
  face = new FakeFace()
  const { address } = await face.publish(
    (async function* () {
      yield Uint8Array.of(1)
    })(),
    { contentType: 'text/html\r\nSet-Cookie: a=b', signal: new AbortController().signal },
  )
  const answer = await call({ path: `/v1/fetch/${address}` })
  assert.equal(answer.headers['content-type'], 'application/octet-stream')
  assert.equal(answer.headers['set-cookie'], undefined)
})

test('fetch: each kind of error has its status, and says what and what to do', async () => {
  const path = `/v1/fetch/${await publish('x')}`
  for (const [kind, code, status] of [
    ['not-found', 'CONTENT_NOT_FOUND', 404],
    ['timeout', 'TIMEOUT', 504],
    ['unreachable', 'NETWORK_TOO_SMALL', 503],
    ['overload', 'CIRCUIT_ENDED', 503],
    ['integrity', 'CONTENT_DAMAGED', 502],
    ['protocol', 'ADDRESS_BAD', 400],
    ['bug', 'INTERNAL', 500],
  ] as const) {
    face.failOpen = new OverlayError(kind, code, 'what happened')
    const answer = await call({ path })
    assert.equal(answer.status, status, kind)
    assert.equal(answer.headers['content-type'], 'application/problem+json')
    assert.equal(problem(answer).code, code)
    assert.ok(problem(answer).remedy.length > 20)
  }
  face.failOpen = new TypeError('/home/someone/secret')
  const answer = await call({ path })
  assert.equal(answer.status, 500)
  assert.doesNotMatch(answer.body.toString(), /secret/)
})

test('fetch of what is no address or not there', async () => {
  for (const address of ['x', 'A'.repeat(56), `${'a'.repeat(55)}1`, '%00', 'a'.repeat(57)]) {
    const answer = await call({ path: `/v1/fetch/${address}` })
    assert.equal(answer.status, 400, address)
    assert.equal(problem(answer).code, 'ADDRESS_BAD')
  }
  assert.equal((await call({ path: `/v1/fetch/${unknown}` })).status, 400)
  const address = await publish('gone')
  face = new FakeFace()
  const answer = await call({ path: `/v1/fetch/${address}` })
  assert.equal(answer.status, 404)
  assert.equal(problem(answer).code, 'CONTENT_NOT_FOUND')
  assert.equal((await call({ method: 'HEAD', path: `/v1/fetch/${address}` })).status, 404)
})

test('a fetch that fails before its first byte is a 502, after it a reset, never a short answer', async () => {
  const path = `/v1/fetch/${await publish(pattern(400_000))}`
  face.failRead = new OverlayError('integrity', 'CONTENT_DAMAGED', 'bad shares')
  assert.equal((await call({ path })).status, 502)
  face.failReadAfter = 100_000
  const broken = await call({ path }).catch((error: NodeJS.ErrnoException) => error)
  if (!(broken instanceof Error)) assert.equal(broken.whole, false)
  assert.equal(face.reading, 0)
})

test('transfers tell what a fetch cost, and why it broke; only the newest are kept', async () => {
  const path = `/v1/fetch/${await publish(pattern(400_000))}`
  const report = async (id: unknown) =>
    JSON.parse((await call({ path: `/v1/transfers/${String(id)}` })).body.toString()) as TransferReport
  const part = await call({ path, headers: { Range: 'bytes=131072-196607' } })
  const { sharesReceived, state, bytes, firstByteMs } = await report(part.headers['gyre-transfer'])
  assert.deepEqual({ sharesReceived, state, bytes }, { sharesReceived: 1, state: 'done', bytes: 65536 })
  assert.equal(typeof firstByteMs, 'number')
  face.failRead = new OverlayError('integrity', 'CONTENT_DAMAGED', 'bad shares')
  const failed = await report(Number(part.headers['gyre-transfer']) + (await call({ path }).then(() => 1)))
  assert.deepEqual([failed.state, failed.code], ['failed', 'CONTENT_DAMAGED'])
  for (let at = 0; at < TRANSFERS_MAX; at++) await call({ method: 'HEAD', path })
  for (const id of [part.headers['gyre-transfer'], '0', '1e3', '-1', 'x', '9999999999999999999']) {
    assert.equal((await call({ path: `/v1/transfers/${String(id)}` })).status, 404)
  }
})

test('a client that goes away ends the read', async () => {
  const address = await publish(pattern(2_000_000))
  const paused = Promise.withResolvers<void>()
  face.beforeChunk = () => paused.promise
  const head = `GET /v1/fetch/${address} HTTP/1.1\r\nHost: 127.0.0.1:${api.at.port}\r\nAuthorization: Bearer ${token}\r\n\r\n`
  await askRaw(api.at, head, 50)
  await new Promise((resolve) => setTimeout(resolve, 50))
  paused.resolve()
  for (let at = 0; at < 100 && face.reading > 0; at++) await turn()
  assert.equal(face.reading, 0)
})

test('status, peers, loops, health', async () => {
  const status = JSON.parse((await call({ path: '/v1/status' })).body.toString()) as Record<string, unknown>
  for (const key of ['id', 'version', 'network', 'nodesKnown', 'loopsReady', 'clock', 'sharesHeld', 'cipher'])
    assert.ok(key in status, key)
  assert.equal((JSON.parse((await call({ path: '/v1/peers' })).body.toString()) as { peers: unknown[] }).peers.length, 1)
  assert.equal((JSON.parse((await call({ path: '/v1/loops' })).body.toString()) as { loops: unknown[] }).loops.length, 1)
  assert.equal((await ask(api.at, { path: '/v1/health' })).status, 200)
  face.isReady = false
  const answer = await ask(api.at, { path: '/v1/health' })
  assert.equal(answer.status, 503)
  assert.equal(problem(answer).code, 'NODE_NOT_READY')
})

test('no token, a wrong one, another scheme: 401 everywhere but health, unknown paths included', async () => {
  for (const path of [
    '/v1/status',
    '/v1/peers',
    '/v1/loops',
    `/v1/fetch/${unknown}`,
    '/v1/transfers/1',
    '/',
    '/v1/health/',
    '/v1/HEALTH',
  ]) {
    for (const Authorization of [undefined, 'Bearer', `Bearer ${'e'.repeat(64)}`, `Bearer ${token}x`, `Basic ${token}`, token]) {
      const answer = await ask(api.at, { path, headers: Authorization === undefined ? {} : { Authorization } })
      assert.equal(answer.status, 401, `${path} ${Authorization}`)
      assert.match(String(answer.headers['www-authenticate']), /Bearer/)
    }
  }
  assert.equal((await ask(api.at, { method: 'POST', path: '/v1/publish', body: 'x' })).status, 401)
  assert.equal(face.lastPublish, null)
  assert.equal((await call({ path: '/nothing' })).status, 404)
  assert.equal((await call({ method: 'DELETE', path: '/v1/status' })).status, 404)
  assert.equal((await call({ method: 'OPTIONS', path: '/v1/publish' })).status, 404)
})

test('foreign Host and Origin are refused, even with the token, even for health', async () => {
  const { port } = api.at
  const hosts = [
    'evil.example',
    `evil.example:${port}`,
    `127.0.0.1:${port + 1}`,
    '127.0.0.1',
    `localhost.:${port}`,
    `127.0.0.1:${port}.evil.example`,
  ]
  for (const path of ['/v1/status', '/v1/health', '/']) {
    for (const Host of hosts) assert.equal((await call({ path, bareHost: true, headers: { Host } })).status, 403, Host)
    for (const Origin of [
      'http://evil.example',
      'null',
      `https://127.0.0.1:${port}`,
      `http://127.0.0.1:${port + 1}`,
      'http://localhost',
    ]) {
      const answer = await call({ path, headers: { Origin } })
      assert.equal(answer.status, 403, Origin)
      assert.equal(problem(answer).code, 'API_FORBIDDEN')
    }
    assert.equal((await call({ path, headers: { 'Sec-Fetch-Site': 'cross-site' } })).status, 403)
  }
  for (const target of ['http://evil.example/v1/status', `HTTP://127.0.0.1:${port}@evil.example/v1/status`]) {
    const answer = await call({ path: target })
    assert.equal(answer.status, 403, target)
    assert.equal(problem(answer).code, 'API_FORBIDDEN')
  }
  assert.equal((await call({ path: `http://localhost:${port}/v1/status` })).status, 200)
  for (const Host of [`127.0.0.1:${port}`, `localhost:${port}`, `LOCALHOST:${port}`, `[::1]:${port}`]) {
    assert.equal(
      (await call({ path: '/v1/status', bareHost: true, headers: { Host, Origin: `http://${Host}` } })).status,
      200,
      Host,
    )
  }
})

test('requests that are no HTTP, or too large, get a problem and the end of the connection', async () => {
  const cases: readonly (readonly [string, string])[] = [
    ['garbage\r\n\r\n', '400'],
    ['GET /v1/status HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n', '400'],
    [`GET /v1/status HTTP/1.1\r\nHost: x\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`, '431'],
    ['GET /v1/status HTTP/1.1\r\n\r\n', '400'],
    [`GET /v1/%zz HTTP/1.1\r\nHost: 127.0.0.1:${api.at.port}\r\nConnection: close\r\n\r\n`, '4'],
  ]
  for (const [request, status] of cases)
    assert.match(await askRaw(api.at, request), new RegExp(`^HTTP/1.1 ${status}`), request.slice(0, 40))
})

test('closing refuses new requests, cuts running ones in bounded time, and leaves no connection', async () => {
  const own = new FakeFace()
  const server = await startApi({ face: own, clock: systemClock, log: silentLog, at: { host: '127.0.0.1', port: 0 }, token })
  own.beforeTake = () => new Promise(() => {})
  const hanging = ask(server.at, { method: 'POST', path: '/v1/publish', body: 'x', headers: bearer }).then(
    () => 'answered',
    () => 'cut',
  )
  await new Promise((resolve) => setTimeout(resolve, 50))
  await Promise.all([server.close(), server.close()])
  assert.equal(await hanging, 'cut')
  await assert.rejects(ask(server.at, { path: '/v1/health' }))
})

test('two APIs cannot share a port', async () => {
  await assert.rejects(
    startApi({ face, clock: systemClock, log: silentLog, at: api.at, token }),
    (error) => isOverlayError(error, 'PORT_TAKEN') && error.message.includes('--api'),
  )
})

test('a token file that holds none is an error, an absent one is not', () => {
  const dir = mkdtempSync(join(tmpdir(), 'gyre-token-'))
  const path = join(dir, 'api.token')
  try {
    assert.equal(readToken(dir), null)
    writeFileSync(path, `${'A'.repeat(43)}\n`)
    assert.equal(readToken(dir), 'A'.repeat(43))
    for (const text of ['', 'short', 'A'.repeat(44)]) {
      writeFileSync(path, text)
      assert.throws(
        () => readToken(dir),
        (error) => isOverlayError(error, 'API_TOKEN_BAD'),
      )
    }
  } finally {
    rmSync(dir, { recursive: true })
  }
})
