/** Sites over HTTP: paths, redirects, the 404 page, conditions, ranges, codings. Against a real server and real clients' bytes. */
import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, before, test } from 'node:test'
import { gunzipSync } from 'node:zlib'
import fc from 'fast-check'
import { acceptsGzip, decodedForm } from '../../client/http/coding.ts'
import { failureOf, isPageRequest, serveSite } from '../../client/http/index.ts'
import { decodePath } from '../../client/http/serve-site.ts'
import type { OpenedSite, SiteEntry } from '../../client/library.ts'
import { OverlayError } from '../../src/errors/index.ts'
import { systemClock } from '../../src/runtime/index.ts'
import { collect, never } from '../support/fake-share-network.ts'
import { type Answer, type Ask, ask } from '../support/http.ts'
import { seededRng } from '../support/seeded-rng.ts'
import { SiteWorld } from '../support/site-world.ts'

const TEXT = 'a line of text\n'.repeat(9000)
const BYTES = seededRng('http').bytes(200_000)
const world = new SiteWorld('http')
const server = createServer((request, response) => {
  const path = (request.url ?? '').replace(/\?.*$/s, '')
  const options = { clock: systemClock, signal: never, headers: { 'X-Face': 'test', Vary: 'Origin' } }
  serveSite(site, path, request, response, options).catch((error: unknown) => {
    const { status, headers, code } = failureOf(error)
    if (!response.headersSent) response.writeHead(status, { ...headers, 'X-Code': code }).end()
  })
})
let site: OpenedSite
let asked: (ask: Ask) => Promise<Answer>

before(async () => {
  const tree = { 'index.html': '<h1>', 'docs/index.html': 'docs', 'ü b/index.html': 'umlaut', 'long.txt': TEXT, 'a.bin': BYTES }
  const { snapshot } = await world.publish({ ...tree, 'empty.css': '', '404.html': `<p>${'not here '.repeat(500)}` })
  site = await world.open(snapshot)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const at = { host: '127.0.0.1', port: (server.address() as AddressInfo).port }
  asked = (one) => ask(at, one)
})

after(() => {
  server.close()
  world.close()
})

test('a file, with type, length, validator and the headers of the face; HEAD is the same without content', async () => {
  const got = await asked({ path: '/a.bin?x=1' })
  assert.equal(got.status, 200)
  assert.equal(Buffer.compare(got.body, BYTES), 0)
  assert.deepEqual(
    [
      got.headers['content-type'],
      got.headers['content-length'],
      got.headers['accept-ranges'],
      got.headers.vary,
      got.headers['x-face'],
    ],
    ['application/octet-stream', '200000', 'bytes', 'Origin', 'test'],
  )
  assert.match(got.headers.etag!, /^"[0-9a-f]{32}"$/)
  const head = await asked({ method: 'HEAD', path: '/a.bin' })
  const fixed = ({ date: _, ...headers }: Answer['headers']) => headers
  assert.deepEqual([head.status, head.body.length, fixed(head.headers)], [200, 0, fixed(got.headers)])
  const empty = await asked({ path: '/empty.css' })
  assert.deepEqual([empty.status, empty.headers['content-type'], empty.body.length], [200, 'text/css; charset=utf-8', 0])
})

test('index.html of folders, redirects with query and encoded path, the 404 page with its status', async () => {
  assert.equal(`${(await asked({ path: '/' })).body}`, '<h1>')
  assert.equal(`${(await asked({ path: '/docs/' })).body}`, 'docs')
  const moved = await asked({ path: '/docs?a=1&b=%20' })
  assert.deepEqual([moved.status, moved.headers.location, moved.body.length], [301, '/docs/?a=1&b=%20', 0])
  const encoded = await asked({ path: '/%C3%BC%20b' })
  assert.deepEqual([encoded.status, encoded.headers.location], [301, '/%C3%BC%20b/'])
  assert.equal(`${(await asked({ path: encoded.headers.location! })).body}`, 'umlaut')
  for (const path of ['/nothing', '/docs%2Findex.html', '//evil.example', '//docs', '/%2e%2e/index.html', '/a%00b', '/a.bin/']) {
    const missing = await asked({ path, headers: { Range: 'bytes=0-3', 'If-None-Match': '*' } })
    assert.equal(missing.status, 404, path)
    assert.match(`${missing.body}`, /^<p>not here/)
    assert.equal(missing.headers.etag, undefined)
    assert.equal(missing.headers.location, undefined)
  }
  assert.equal((await asked({ path: '/%ff' })).status, 400)
  assert.equal((await asked({ path: '/%zz' })).status, 400)
  assert.equal((await asked({ path: `/${'a'.repeat(4000)}` })).status, 400)
})

test('other methods: 405 that says which there are', async () => {
  const answer = await asked({ method: 'POST', path: '/', body: 'x' })
  assert.deepEqual([answer.status, answer.headers.allow], [405, 'GET, HEAD'])
})

test('without a 404 page: a failure for the face', async () => {
  const bare = new SiteWorld('bare')
  const opened = await bare.open((await bare.publish({ 'a.txt': 'a' })).snapshot)
  const found = opened.lookUp('/b')
  assert.ok(found.kind === 'missing' && found.page === null)
  const refused = async (path: string, detail: RegExp) => {
    const options = { clock: systemClock, signal: never, headers: {} }
    await assert.rejects(
      serveSite(opened, path, { method: 'GET', headers: {} }, {} as never, options),
      (error: unknown) => failureOf(error).status === 404 && detail.test(failureOf(error).detail),
    )
  }
  await refused('/b', /nothing at this path/)
  // Whether there is such a folder is not said, and no file of it.
  for (const path of ['/', '/none/']) await refused(path, /no page for this folder \(index\.html\)\. Folders are not listed/)
  bare.close()
})

test('If-None-Match: 304 with validator and without content; If-Modified-Since is not looked at', async () => {
  const { headers } = await asked({ path: '/a.bin' })
  const unchanged = await asked({ path: '/a.bin', headers: { 'If-None-Match': `"x", ${headers.etag}`, Range: 'bytes=0-1' } })
  assert.deepEqual([unchanged.status, unchanged.body.length, unchanged.headers.etag], [304, 0, headers.etag])
  assert.equal((await asked({ path: '/a.bin', headers: { 'If-None-Match': '"x"' } })).status, 200)
  const later = new Date(systemClock.unixMs() + 1e9).toUTCString()
  assert.equal((await asked({ path: '/a.bin', headers: { 'If-Modified-Since': later } })).status, 200)
  assert.equal((await asked({ path: '/a.bin', headers: { 'If-Match': '"x"' } })).status, 412)
})

test('ranges: of the stored form, under If-Range, and what lies outside', async () => {
  const part = await asked({ path: '/a.bin', headers: { Range: 'bytes=65530-65545' } })
  assert.deepEqual([part.status, part.headers['content-range']], [206, 'bytes 65530-65545/200000'])
  assert.equal(Buffer.compare(part.body, BYTES.subarray(65_530, 65_546)), 0)
  const { etag } = part.headers
  assert.equal((await asked({ path: '/a.bin', headers: { Range: 'bytes=0-1', 'If-Range': etag! } })).status, 206)
  assert.equal((await asked({ path: '/a.bin', headers: { Range: 'bytes=0-1', 'If-Range': '"other"' } })).status, 200)
  const outside = await asked({ path: '/a.bin', headers: { Range: 'bytes=200000-' } })
  assert.deepEqual([outside.status, outside.headers['content-range']], [416, 'bytes */200000'])
})

test('text is sent as stored to who takes gzip, decoded to who does not: two representations', async () => {
  const gzip = await asked({ path: '/long.txt', headers: { 'Accept-Encoding': 'br, gzip;q=0.5' } })
  assert.deepEqual([gzip.status, gzip.headers['content-encoding'], gzip.headers.vary], [200, 'gzip', 'Origin, Accept-Encoding'])
  assert.ok(gzip.body.length < TEXT.length / 10)
  assert.equal(gunzipSync(gzip.body).toString(), TEXT)
  const plain = await asked({ path: '/long.txt', headers: { Range: 'bytes=5-9' } })
  assert.deepEqual(
    [plain.status, plain.headers['content-encoding'], plain.headers.vary],
    [200, undefined, 'Origin, Accept-Encoding'],
  )
  assert.equal(plain.headers['content-length'], String(TEXT.length))
  assert.equal(plain.headers['accept-ranges'], undefined)
  assert.equal(`${plain.body}`, TEXT)
  assert.notEqual(plain.headers.etag, gzip.headers.etag)
  const head = await asked({ method: 'HEAD', path: '/long.txt' })
  assert.deepEqual([head.headers['content-length'], head.headers.etag], [String(TEXT.length), plain.headers.etag])

  const part = await asked({ path: '/long.txt', headers: { 'Accept-Encoding': 'gzip', Range: 'bytes=2-5' } })
  assert.deepEqual([part.status, part.headers['content-encoding']], [206, 'gzip'])
  assert.equal(Buffer.compare(part.body, gzip.body.subarray(2, 6)), 0)
  const mixed = { 'Accept-Encoding': 'identity', 'If-None-Match': gzip.headers.etag! }
  assert.equal((await asked({ path: '/long.txt', headers: mixed })).status, 200, 'one form does not stand for the other')
  assert.equal((await asked({ path: '/long.txt', headers: { 'If-None-Match': plain.headers.etag! } })).status, 304)
})

test('the 404 page is decoded for who needs it', async () => {
  const plain = await asked({ path: '/no' })
  assert.match(`${plain.body}`, /^<p>not here/)
  const gzip = await asked({ path: '/no', headers: { 'Accept-Encoding': 'gzip' } })
  assert.equal(gzip.headers['content-encoding'], 'gzip')
  assert.match(`${gunzipSync(gzip.body)}`, /^<p>not here/)
})

test('Accept-Encoding: which headers let gzip pass', () => {
  const yes = ['gzip', 'GZIP', 'x-gzip', 'deflate, gzip;q=1.0', '*', 'br;q=1, *;q=0.1', 'gzip ; q=0.001', 'identity, gzip']
  const no = [undefined, '', 'identity', 'gzip;q=0', 'gzip;q=0.000', '*;q=0', 'gzip;q=0, *', 'br', 'gzippy', 'gzip;q=x', 'g zip']
  for (const header of yes) assert.ok(acceptsGzip(header), header)
  for (const header of no) assert.ok(!acceptsGzip(header), `${header}`)
  fc.assert(
    fc.property(fc.string({ maxLength: 300 }), (header) => typeof acceptsGzip(header) === 'boolean'),
    { seed: 3 },
  )
})

test('what is compressed otherwise than the index says is an error, and never more than it says comes out', async () => {
  const found = site.lookUp('/long.txt')
  assert.ok(found.kind === 'entry')
  const stored = await collect(found.entry.read({ start: 0, end: found.entry.bytes }, { signal: never }))
  const entryOf = (bytes: Uint8Array, plainBytes: number): SiteEntry => ({
    ...found.entry,
    bytes: bytes.length,
    plainBytes,
    read: () =>
      Object.assign(
        (async function* () {
          yield bytes
        })(),
        { counters: { asked: 0, received: 0, bad: 0 } },
      ),
  })
  const whole = (plainBytes: number, bytes = stored) =>
    collect(decodedForm(entryOf(bytes, plainBytes)).read({ start: 0, end: plainBytes }, { signal: never }))
  assert.equal((await whole(TEXT.length)).length, TEXT.length)
  const isDamage = (error: unknown) => error instanceof OverlayError && error.code === 'CONTENT_DAMAGED'
  await assert.rejects(whole(TEXT.length - 1), isDamage)
  await assert.rejects(whole(TEXT.length + 1), isDamage)
  await assert.rejects(whole(TEXT.length, stored.slice(0, -9)), isDamage)
  await assert.rejects(whole(TEXT.length, new Uint8Array(100)), isDamage)
  const changed = stored.slice()
  changed[changed.length - 6]! ^= 1
  await assert.rejects(whole(TEXT.length, changed), isDamage)
})

test('an error of reading comes through the decoder as it is', async () => {
  const found = site.lookUp('/long.txt')
  assert.ok(found.kind === 'entry')
  const lost = new OverlayError('not-found', 'CONTENT_NOT_FOUND', 'lost')
  const entry: SiteEntry = {
    ...found.entry,
    read: () =>
      Object.assign(
        { [Symbol.asyncIterator]: () => ({ next: () => Promise.reject(lost) }) },
        { counters: { asked: 0, received: 0, bad: 0 } },
      ),
  }
  await assert.rejects(collect(decodedForm(entry).read({ start: 0, end: entry.plainBytes }, { signal: never })), lost)
})

test('paths are decoded once, and an encoded slash names nothing', () => {
  assert.equal(decodePath('/a%20b'), '/a b')
  assert.equal(decodePath('/%252e'), '/%2e')
  assert.equal(decodePath('/a%2Fb'), '/a\0b')
  assert.equal(decodePath('a'), null)
  assert.equal(decodePath('/%c3'), null)
})

test('which requests open a page', () => {
  for (const path of ['/', '/docs/', '/a.html', '/a.HTM', '/about']) assert.ok(isPageRequest(path, {}), path)
  for (const path of ['/a.css', '/d/i.png', '/app.js']) assert.ok(!isPageRequest(path, { accept: '*/*' }), path)
  assert.ok(isPageRequest('/a.xyz', { accept: 'text/html,application/xhtml+xml' }))
  assert.ok(isPageRequest('/a.html', { accept: 'text/html', referer: 'http://x.gyre/' }), 'a link in a browser')
  assert.ok(!isPageRequest('/a.html', { accept: '*/*', referer: 'http://x.gyre/' }), 'a mirror, or fetch()')
  assert.ok(!isPageRequest('/', { 'sec-fetch-dest': 'empty' }))
  assert.ok(isPageRequest('/x.png', { 'sec-fetch-dest': 'document' }))
})
