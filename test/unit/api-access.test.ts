/** Who may do what on the API, how often, and how tokens are kept. */
import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import fc from 'fast-check'
import { Access, RATES, type Rates } from '../../client/api/access.ts'
import { startApi } from '../../client/api/index.ts'
import { ApiTokens, covers, SCOPES, TOKENS_FILE, TOKENS_MAX } from '../../client/api/tokens.ts'
import { HttpFailure } from '../../client/http/index.ts'
import { isOverlayError } from '../../src/errors/index.ts'
import { silentLog } from '../../src/log/index.ts'
import { systemClock } from '../../src/runtime/index.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { FakeFace } from '../support/fake-face.ts'
import { ask, problem } from '../support/http.ts'
import { seededRng } from '../support/seeded-rng.ts'

const own = 'o'.repeat(43)

async function folder(t: TestContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'gyre-test-'))
  t.after(() => rm(path, { recursive: true, force: true }))
  return path
}

const openTokens = (dataDir: string | null) => ApiTokens.open({ own, dataDir, clock: new FakeClock(), rng: seededRng(4) })
const as = (token: string) => `Bearer ${token}`

test('scopes include those before them', () => {
  const covered = SCOPES.map((scope) => SCOPES.filter((needed) => covers(scope, needed)))
  assert.deepEqual(covered, [['read'], ['read', 'publish'], ['read', 'publish', 'admin']])
})

test('tokens are made, known again after a restart, and taken back at once; the file holds no token and is private', async (t) => {
  const dir = await folder(t)
  const tokens = await openTokens(dir)
  const made = await tokens.add('grafana', 'read')
  assert.match(made, /^[A-Za-z0-9_-]{43}$/)
  const text = await readFile(join(dir, TOKENS_FILE), 'utf8')
  assert.ok(!text.includes(made))
  assert.equal((await stat(join(dir, TOKENS_FILE))).mode & 0o777, 0o600)
  const again = await openTokens(dir)
  assert.deepEqual([again.callerOf(as(made))?.name, again.callerOf(as(made))?.scope], ['grafana', 'read'])
  assert.equal(again.callerOf(as(own))?.scope, 'admin')
  for (const wrong of [undefined, '', made, `Basic ${made}`, as(`${made}x`), as(made.slice(1)), as('')]) {
    assert.equal(again.callerOf(wrong), null, wrong)
  }
  assert.equal(await again.remove('grafana'), true)
  assert.equal(again.callerOf(as(made)), null)
  assert.equal(await again.remove('grafana'), false)
  assert.deepEqual((await openTokens(dir)).list(), [])
})

test('names are taken once, and tokens are bounded', async () => {
  const tokens = await openTokens(null)
  for (let at = 0; at < TOKENS_MAX; at++) await tokens.add(`t${at}`, 'read')
  const is409 = (error: unknown) => error instanceof HttpFailure && error.status === 409
  await assert.rejects(tokens.add('t1', 'read'), is409)
  await assert.rejects(tokens.add('more', 'read'), is409)
  assert.equal(tokens.list().length, TOKENS_MAX)
})

test('changes at once all arrive', async (t) => {
  const dir = await folder(t)
  const tokens = await openTokens(dir)
  await Promise.all(Array.from({ length: 20 }, (_, at) => tokens.add(`t${at}`, 'publish')))
  await Promise.all([...Array(10).keys()].map((at) => tokens.remove(`t${at}`)))
  assert.equal((await openTokens(dir)).list().length, 10)
})

test('a damaged file is refused, not replaced', async (t) => {
  const dir = await folder(t)
  const good = { name: 'a', scope: 'read', addedMs: 1, hash: '00'.repeat(32) }
  const file = (tokens: unknown) => JSON.stringify({ version: 1, tokens })
  const bad = [
    ...['', '{', 'null', '[]', '{"version":2,"tokens":[]}', '{"version":1}', file({}), file([null]), file([good, good])],
    ...[
      file([{ ...good, scope: 'all' }]),
      file([{ ...good, hash: '00' }]),
      file([{ ...good, name: '../x' }]),
      file(Array(65).fill(good)),
    ],
  ]
  for (const text of bad) {
    await writeFile(join(dir, TOKENS_FILE), text)
    await assert.rejects(openTokens(dir), (error) => isOverlayError(error, 'API_TOKEN_BAD'), text)
  }
  await writeFile(join(dir, TOKENS_FILE), file([good]))
  assert.equal((await openTokens(dir)).list().length, 1)
})

test('any text of that file gives tokens or an error of ours', async (t) => {
  const dir = await folder(t)
  await fc.assert(
    fc.asyncProperty(
      fc.oneof(
        fc.string(),
        fc.json(),
        fc.jsonValue().map((tokens) => JSON.stringify({ version: 1, tokens })),
      ),
      async (text) => {
        await writeFile(join(dir, TOKENS_FILE), text)
        await openTokens(dir).catch((error: unknown) => assert.ok(isOverlayError(error, 'API_TOKEN_BAD')))
      },
    ),
    { numRuns: 60 },
  )
})

/** What `access` says to a request. */
function answer(access: Access, authorization: string | undefined, need: 'open' | 'read' | 'publish' | 'admin'): number {
  try {
    access.check(authorization, need)
    return 200
  } catch (error) {
    assert.ok(error instanceof HttpFailure)
    if (error.status === 429) assert.match(error.headers['Retry-After'] ?? '', /^[1-9]\d*$/)
    return error.status
  }
}

test('each token has its own rate; wrong tokens are slowed and slow nobody else', async () => {
  const clock = new FakeClock()
  const tokens = await openTokens(null)
  const one = as(await tokens.add('one', 'read'))
  const two = as(await tokens.add('two', 'publish'))
  const access = new Access({ tokens, clock, rates: RATES })
  for (let at = 0; at < RATES.token.burst; at++) assert.equal(answer(access, one, 'read'), 200)
  assert.deepEqual([answer(access, one, 'read'), answer(access, two, 'read'), answer(access, as(own), 'admin')], [429, 200, 200])
  for (let at = 0; at < RATES.failed.burst; at++) assert.equal(answer(access, as('x'), 'read'), 401)
  assert.deepEqual(
    [answer(access, undefined, 'read'), answer(access, two, 'publish'), answer(access, undefined, 'open')],
    [429, 200, 200],
  )
  for (let at = 1; at < RATES.open.burst; at++) answer(access, undefined, 'open')
  assert.deepEqual([answer(access, undefined, 'open'), answer(access, two, 'admin')], [429, 403])
  clock.advanceNow(1_000)
  assert.deepEqual(
    [answer(access, one, 'read'), answer(access, as('x'), 'read'), answer(access, undefined, 'open')],
    [200, 401, 200],
  )
})

test('over HTTP: 429 is a problem with Retry-After', async (t) => {
  const few = { perSecond: 0.1, burst: 2 }
  const rates: Rates = { own: few, token: few, open: few, failed: few }
  const at = { host: '127.0.0.1', port: 0 }
  const api = await startApi({ face: new FakeFace(), clock: systemClock, log: silentLog, at, token: own, rates })
  t.after(() => api.close())
  const statuses: number[] = []
  for (let round = 0; round < 3; round++) {
    const answered = await ask(api.at, { path: '/v1/status', headers: { Authorization: as(own) } })
    statuses.push(answered.status)
    if (answered.status !== 429) continue
    assert.equal(answered.headers['retry-after'], '10')
    assert.equal(problem(answered).code, 'API_RATE')
  }
  assert.deepEqual(statuses, [200, 200, 429])
  assert.equal((await ask(api.at, { path: '/v1/status' })).status, 401)
})
