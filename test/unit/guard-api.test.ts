/** The share guard at the API: what it objects to is 409 with the listing and a confirmation, and goes out only with that. */
import assert from 'node:assert/strict'
import { after, before, beforeEach, test } from 'node:test'
import { pack } from 'tar-stream'
import { type FaceServer, startApi } from '../../client/api/index.ts'
import type { Listing } from '../../client/guard/index.ts'
import { silentLog } from '../../src/log/index.ts'
import { systemClock } from '../../src/runtime/index.ts'
import { FakeFace } from '../support/fake-face.ts'
import { type Answer, ask, problem } from '../support/http.ts'
import { exifSegment, jpeg, pdf } from '../support/pictures.ts'

const token = 'f'.repeat(64)
const SECRET = `-----BEGIN ${'PRIVATE'} KEY-----\n${'MC4CAQAwBQYDK2VwBCIEIJ'.repeat(4)}\n`
let face = new FakeFace()
let api: FaceServer

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

const post = (path: string, body: Uint8Array | string, headers: Record<string, string> = {}): Promise<Answer> =>
  ask(api.at, { method: 'POST', path, body, headers: { Authorization: `Bearer ${token}`, ...headers } })

/** The confirmation and listing of a 409. */
function asked(answer: Answer): { readonly confirm: string; readonly listing: Listing } {
  assert.equal(answer.status, 409, answer.body.toString())
  assert.equal(answer.headers['content-type'], 'application/problem+json')
  assert.equal(problem(answer).code, 'API_CONFIRM')
  assert.doesNotMatch(answer.body.toString(), /MC4CAQ/)
  return JSON.parse(answer.body.toString())
}

type TarFile = readonly [name: string, content: string, type?: 'symlink']

async function tarOf(files: readonly TarFile[]): Promise<Uint8Array> {
  const tar = pack()
  for (const [name, content, type] of files) {
    if (type === undefined) tar.entry({ name }, content)
    else tar.entry({ name, type, linkname: content })
  }
  tar.finalize()
  const chunks: Buffer[] = []
  for await (const chunk of tar) chunks.push(chunk)
  return Buffer.concat(chunks)
}

test('a body with a secret, a private name, a position or an author: 409, then 201 with the confirmation', async () => {
  const cases: readonly (readonly [string, Uint8Array | string, string])[] = [
    ['/v1/publish', `x\n${SECRET}`, 'private-key'],
    ['/v1/publish?name=.env', 'A=1', 'environment'],
    ['/v1/publish?name=p.jpg', jpeg([exifSegment({ gps: [{ tag: 1, value: 'N' }] })]), 'position'],
    ['/v1/publish?name=d.pdf', pdf('/Author (Jane)'), 'author'],
  ]
  for (const [path, body, rule] of cases) {
    const { confirm, listing } = asked(await post(path, body))
    assert.equal(listing.files[0]?.findings[0]?.rule, rule)
    const again = `${path}${path.includes('?') ? '&' : '?'}confirm=`
    assert.equal((await post(`${again}${confirm}`, body)).status, 201)
    assert.equal((await post(`${again}${confirm}`, body)).status, 201, 'a broken connection may be tried again')
    asked(await post(`${again}${confirm}`, Buffer.concat([Buffer.from(body), Buffer.from('x')])))
    asked(await post(`${again}${'A'.repeat(24)}`, body))
  }
})

test('a clean body goes out at once, also with a confirmation that nobody asked for', async () => {
  assert.equal((await post('/v1/publish?name=a.txt', 'hello')).status, 201)
  assert.equal((await post(`/v1/publish?name=a.txt&confirm=${'A'.repeat(24)}`, 'hello')).status, 201)
})

test('a tar: clean at once; private files and links are listed, and go out, or stay behind, with the confirmation', async () => {
  const clean: readonly TarFile[] = [
    ['index.html', '<p>hello'],
    ['a/b.txt', 'b'],
  ]
  assert.equal((await post('/v1/sites?key=clean', await tarOf(clean))).status, 201)
  const tar = await tarOf([clean[0]!, ['.env', 'A=1'], clean[1]!, ['link', '/etc/passwd', 'symlink'], ['k.txt', SECRET]])
  const { confirm, listing } = asked(await post('/v1/sites?key=site', tar))
  assert.deepEqual(
    listing.files.map(({ path, verdict }) => [path, verdict]),
    [
      ['index.html', 'ok'],
      ['.env', 'refused'],
      ['a/b.txt', 'ok'],
      ['link', 'refused'],
      ['k.txt', 'refused'],
    ],
  )
  assert.deepEqual([listing.objections, listing.total.files], [3, 5])
  assert.deepEqual(
    face.sites.list(),
    face.sites.list().filter(({ key }) => key === 'clean'),
  )
  asked(await post(`/v1/sites?key=other&confirm=${confirm}`, tar))
  const answer = await post(`/v1/sites?key=site&confirm=${confirm}`, tar)
  assert.equal(answer.status, 201, answer.body.toString())
  assert.equal(JSON.parse(answer.body.toString()).files, 4)
})
