/** The API at a socket file: private, found by the command, gone afterwards, and never in the place of something else. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, lstatSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { startApi } from '../../client/api/index.ts'
import { findNode, getJson } from '../../client/cli/api-client.ts'
import { formatApiAt, loadConfig, parseApiAt } from '../../src/config/index.ts'
import { isOverlayError } from '../../src/errors/index.ts'
import { silentLog } from '../../src/log/index.ts'
import { systemClock } from '../../src/runtime/index.ts'
import { FakeFace } from '../support/fake-face.ts'

const token = 'A'.repeat(43)

async function folder(t: TestContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'gyre-test-'))
  t.after(() => rm(path, { recursive: true, force: true }))
  return path
}

const start = (path: string) => startApi({ face: new FakeFace(), clock: systemClock, log: silentLog, at: { path }, token })

function statusOf(socketPath: string, headers: Record<string, string>): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>()
  const asking = request({
    socketPath,
    path: '/v1/status',
    agent: false,
    headers: { Authorization: `Bearer ${token}`, ...headers },
  })
  asking.on('response', (response) => resolve(response.resume().statusCode ?? 0)).on('error', reject)
  asking.end()
  return promise
}

test('it listens with mode 0600, checks Host and token, and leaves nothing behind', async (t) => {
  const path = join(await folder(t), 'api.sock')
  const api = await start(path)
  assert.deepEqual(api.at, { path })
  assert.ok(lstatSync(path).isSocket())
  assert.equal(lstatSync(path).mode & 0o777, 0o600)
  assert.equal(await statusOf(path, { Host: 'localhost' }), 200)
  assert.equal(await statusOf(path, { Host: 'evil.example' }), 403)
  assert.equal(await statusOf(path, { Host: 'localhost', Authorization: 'Bearer x' }), 401)
  await assert.rejects(start(path), (error) => isOverlayError(error, 'PORT_TAKEN'))
  await Promise.all([api.close(), api.close()])
  assert.equal(existsSync(path), false)
})

test('what a killed process left is taken over; any other file is refused and stays', async (t) => {
  const dir = await folder(t)
  const dead = join(dir, 'dead.sock')
  const code = `require('node:net').createServer().listen(${JSON.stringify(dead)}, () => process.kill(process.pid, 'SIGKILL'))`
  spawnSync(process.execPath, ['-e', code])
  assert.ok(lstatSync(dead).isSocket())
  const api = await start(dead)
  assert.equal(await statusOf(dead, { Host: 'localhost' }), 200)
  await api.close()

  const file = join(dir, 'file')
  writeFileSync(file, 'precious')
  const link = join(dir, 'link')
  symlinkSync(file, link)
  for (const path of [file, link, dir, join(dir, 'no', 'such'), join(dir, 'x'.repeat(120))]) {
    await assert.rejects(start(path), (error) => isOverlayError(error, 'CONFIG_BAD'), path)
  }
  assert.equal(readFileSync(file, 'utf8'), 'precious')
  assert.ok(lstatSync(link).isSymbolicLink())
})

test('the command reaches it by configuration, by --api and by what the node wrote', async (t) => {
  const dir = await folder(t)
  const path = join(dir, 'api.sock')
  const api = await start(path)
  t.after(() => api.close())
  writeFileSync(join(dir, 'api.token'), `${token}\n`)
  const { signal } = new AbortController()
  const byFlag = findNode({ dataDir: dir, api: `unix:${path}` }, {})
  const byVariable = findNode({ dataDir: dir }, { GYRE_API: `unix:${path}` })
  writeFileSync(join(dir, 'gyre.toml'), 'api = "unix:api.sock"\n')
  const byFile = findNode({ dataDir: dir }, {})
  writeFileSync(join(dir, 'run.json'), JSON.stringify({ api: `unix:${path}` }))
  for (const node of [byFlag, byVariable, byFile, findNode({ dataDir: dir }, {})]) {
    assert.deepEqual(node.at, { path })
    assert.equal((await getJson<{ network: string }>(node, '/v1/status', signal)).network, 'test')
  }
})

test('the configuration takes unix:PATH, relative to where it stands', () => {
  assert.deepEqual(parseApiAt('unix:/run/gyre.sock'), { path: '/run/gyre.sock' })
  assert.equal(formatApiAt({ path: '/run/gyre.sock' }), 'unix:/run/gyre.sock')
  assert.equal(formatApiAt({ host: '::1', port: 1 }), '[::1]:1')
  const config = loadConfig({ flags: { api: 'unix:x/y' }, env: {}, home: '/nowhere', cwd: '/base' })
  assert.deepEqual(config.api, { path: '/base/x/y' })
  for (const bad of ['unix:', 'unix:\0', 'tcp:/x']) assert.throws(() => parseApiAt(bad), /HOST:PORT|path/)
})
