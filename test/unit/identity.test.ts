/** The data folder's lock, the identity and the token: kept, private, and never replaced in silence. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { holdDataDir, openApiToken, openIdentity } from '../../client/identity.ts'
import { isOverlayError } from '../../src/errors/index.ts'
import { systemClock, systemRng } from '../../src/runtime/index.ts'
import { FaultyDisk } from '../support/faulty-disk.ts'
import { SeededRng } from '../support/seeded-rng.ts'

const tools = { clock: systemClock, rng: systemRng, signal: new AbortController().signal }

async function folder(t: TestContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'gyre-test-'))
  t.after(() => rm(path, { recursive: true, force: true }))
  return path
}

test('the identity is made once, private, and kept', async (t) => {
  const dir = await folder(t)
  const made = await openIdentity(dir, new SeededRng(1))
  assert.equal((await stat(join(dir, 'identity'))).mode & 0o777, 0o600)
  assert.deepEqual(await readdir(dir), ['identity'])
  const again = await openIdentity(dir, new SeededRng(2))
  assert.equal(again.id, made.id)
  assert.deepEqual(again.seed, made.seed)
})

test('a damaged identity is refused and left as it is, whatever was changed', async (t) => {
  const dir = await folder(t)
  const path = join(dir, 'identity')
  await openIdentity(dir, new SeededRng(1))
  const good = await readFile(path, 'utf8')
  const damaged = ['', good.slice(0, -1), good.slice(0, 40), `${good}x`, `${good}\n`, good.replace('identity 1', 'identity 2')]
  for (let at = 16; at < good.length; at += 7)
    damaged.push(`${good.slice(0, at)}${good[at] === 'a' ? 'b' : 'a'}${good.slice(at + 1)}`)
  for (const text of damaged) {
    await writeFile(path, text)
    await assert.rejects(
      openIdentity(dir, new SeededRng(2)),
      (error) => isOverlayError(error, 'IDENTITY_DAMAGED'),
      JSON.stringify(text),
    )
    assert.equal(await readFile(path, 'utf8'), text)
  }
})

test('files that others could read are closed again', async (t) => {
  const dir = await folder(t)
  await openIdentity(dir, new SeededRng(1))
  const token = await openApiToken(dir, new SeededRng(1))
  for (const name of ['identity', 'api.token']) await chmod(join(dir, name), 0o644)
  await openIdentity(dir, new SeededRng(1))
  assert.equal(await openApiToken(dir, new SeededRng(2)), token)
  for (const name of ['identity', 'api.token']) assert.equal((await stat(join(dir, name))).mode & 0o777, 0o600)
})

test('an empty or cut token is replaced', async (t) => {
  const dir = await folder(t)
  const first = await openApiToken(dir, new SeededRng(1))
  assert.match(first, /^[A-Za-z0-9_-]{43}$/)
  await writeFile(join(dir, 'api.token'), first.slice(0, 20))
  assert.notEqual(await openApiToken(dir, new SeededRng(2)), first)
})

test('one holder at a time; free again after release', async (t) => {
  const dir = join(await folder(t), 'new', 'data')
  const held = await holdDataDir(dir, tools)
  assert.equal((await stat(dir)).mode & 0o777, 0o700)
  await assert.rejects(holdDataDir(dir, tools), (error) => isOverlayError(error, 'DATA_DIR_LOCKED'))
  await held.release()
  await held.release()
  const again = await holdDataDir(dir, tools)
  await again.release()
  assert.deepEqual(await readdir(dir), [])
})

test('of many that start at once over a dead lock, exactly one holds the folder', async (t) => {
  const dir = await folder(t)
  for (let round = 0; round < 5; round++) {
    await writeFile(join(dir, 'lock'), JSON.stringify({ pid: 2 ** 22 + 1, started: '1', boot: 'other', nonce: 'x' }))
    const results = await Promise.allSettled(Array.from({ length: 8 }, () => holdDataDir(dir, tools)))
    const held = results.filter((result) => result.status === 'fulfilled')
    assert.equal(held.length, 1)
    for (const result of held) await result.value.release()
  }
})

test('locks of the dead are taken over: killed, pid reused, machine restarted, torn', async (t) => {
  const dir = await folder(t)
  const lock = join(dir, 'lock')
  const script = `
    import { holdDataDir } from '${new URL('../../client/identity.ts', import.meta.url).href}'
    import { systemClock, systemRng } from '${new URL('../../src/runtime/index.ts', import.meta.url).href}'
    await holdDataDir(process.argv[1], { clock: { sleep: () => Promise.resolve() }, rng: systemRng, signal: new AbortController().signal })
    console.log('held'); setInterval(() => {}, 1000)`
  const child = spawn(process.execPath, ['--input-type=module', '-e', script, dir], { stdio: ['ignore', 'pipe', 'inherit'] })
  t.after(() => child.kill('SIGKILL'))
  await once(child.stdout, 'data')
  await assert.rejects(holdDataDir(dir, tools), (error) => isOverlayError(error, 'DATA_DIR_LOCKED'))
  child.kill('SIGKILL')
  await once(child, 'exit')
  await (await holdDataDir(dir, tools)).release()

  const held = await holdDataDir(dir, tools)
  const mine = JSON.parse(await readFile(lock, 'utf8'))
  await held.release()
  for (const dead of [{ ...mine, started: '1' }, { ...mine, boot: 'before' }, { ...mine, pid: -1 }, 'torn', null]) {
    await writeFile(lock, typeof dead === 'string' ? dead : JSON.stringify(dead))
    await (await holdDataDir(dir, tools)).release()
  }
})

test('a folder is made with all above it that is missing; where that never works it is an error and no endless wait', async (t) => {
  const dir = await folder(t)
  const held = await Promise.allSettled([1, 2].map(() => holdDataDir(join(dir, 'a', 'b', 'data'), tools)))
  assert.deepEqual(held.map(({ status }) => status).sort(), ['fulfilled', 'rejected'])
  assert.equal((await stat(join(dir, 'a'))).mode & 0o777, 0o700)
  for (const one of held) if (one.status === 'fulfilled') await one.value.release()
  if (process.platform !== 'linux') return
  await assert.rejects(holdDataDir('/proc/data', tools), (error) => isOverlayError(error, 'DATA_DIR_UNUSABLE'))
})

test('a folder that cannot be made says so', async (t) => {
  const dir = await folder(t)
  await writeFile(join(dir, 'file'), '')
  await assert.rejects(holdDataDir(join(dir, 'file', 'data'), tools), (error) => isOverlayError(error, 'DATA_DIR_UNUSABLE'))
})

test('what starters that were killed left beside the lock is swept, but not what another starter has just put there', async (t) => {
  const dir = await folder(t)
  const [old, older, young, other] = ['lock.0123456789abcdef', 'lock.fedcba9876543210.old', 'lock.00000000000000aa', 'lock.txt']
  for (const name of [old, older, young, other]) await writeFile(join(dir, name!), 'x')
  const before = new Date(systemClock.unixMs() - 3_600_000)
  for (const name of [old, older, other]) await utimes(join(dir, name!), before, before)
  const held = await holdDataDir(dir, tools)
  assert.deepEqual((await readdir(dir)).sort(), ['lock', young, other].sort())
  await held.release()
})

test('a folder that cannot be written is held for reading, if no node lives in it; for a node it is unusable', async (t) => {
  const dir = await folder(t)
  const disk = new FaultyDisk(dir)
  disk.plan = ({ changes }) => (changes ? { fail: 'EROFS' } : 'pass')
  const reading = { ...tools, purpose: 'read' } as const
  disk.install()
  try {
    const held = await holdDataDir(dir, reading)
    assert.equal(held.writable, false)
    await held.release()
    await assert.rejects(
      holdDataDir(dir, tools),
      (error) => isOverlayError(error, 'DATA_DIR_UNUSABLE') && /read-only/.test(error.message),
    )
    disk.plan = () => 'pass'
    const node = await holdDataDir(dir, tools)
    disk.plan = ({ changes }) => (changes ? { fail: 'EROFS' } : 'pass')
    await assert.rejects(holdDataDir(dir, reading), (error) => isOverlayError(error, 'DATA_DIR_LOCKED'))
    disk.plan = () => 'pass'
    await node.release()
  } finally {
    await disk.uninstall()
  }
})
