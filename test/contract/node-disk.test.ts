/**
 * A whole node when its disk fills up, turns read-only or fails, at its start and while it runs: it says what to do, on the API, in its log and with its
 * exit code; it goes on serving what it can; it never ends by itself while it runs; and when the disk is well again it goes on as if nothing had been.
 */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { pathToFileURL } from 'node:url'
import type { NameEntry, NodeStatus } from '../../client/library.ts'
import { isOverlayError } from '../../src/errors/index.ts'
import { addressOf } from '../support/backup-files.ts'
import { LoneNode } from '../support/lone-node.ts'
import { eventually, gyre } from '../support/processes.ts'

const { signal } = new AbortController()
const PRELOAD = pathToFileURL(join(import.meta.dirname, '../support/faulty-preload.ts')).href

interface Place {
  readonly root: string
  readonly dataDir: string
  readonly codeDir: string
}

function place(t: TestContext): Place {
  const root = mkdtempSync(join(tmpdir(), 'gyre-node-disk-'))
  t.after(() => rmSync(root, { recursive: true, force: true, maxRetries: 5 }))
  const [dataDir, codeDir] = [join(root, 'data'), join(root, 'code')] as [string, string]
  for (const dir of [dataDir, codeDir]) mkdirSync(dir, { mode: 0o700 })
  return { root, dataDir, codeDir }
}

const namesOf = async (node: LoneNode) =>
  (await node.get<{ names: NameEntry[] }>('/v1/names', signal)).names.map(({ name }) => name)
const put = (node: LoneNode, name: string) => node.send('PUT', `/v1/names/${name}`, { address: addressOf(1) }, signal)

/** Starts `gyre start` and returns how it ended by itself. */
async function failedStart(dataDir: string, env: NodeJS.ProcessEnv = {}) {
  const faces = ['--listen', '/ip4/127.0.0.1/tcp/0', '--api', '127.0.0.1:0', '--proxy', '127.0.0.1:0', '--socks', '127.0.0.1:0']
  return gyre(['start', '--data-dir', dataDir, '--network', 'lone', ...faces], env)
}

for (const [code, words] of [
  ['ENOSPC', /the disk is full \(ENOSPC\)/],
  ['EROFS', /the disk is read-only \(EROFS\)/],
  ['EIO', /the disk fails \(EIO\)/],
] as const) {
  test(`the disk turns bad while a node runs (${code})`, { timeout: 120_000 }, async (t) => {
    const { root, dataDir, codeDir } = place(t)
    const control = join(root, 'control')
    const env = { NODE_OPTIONS: `--import ${PRELOAD}`, FAULTY_ROOT: dataDir, FAULTY_CONTROL: control }
    let node = await LoneNode.start({ dataDir, codeDir, env })
    t.after(() => node.child.kill())
    await put(node, 'before')
    const { id } = await node.get<NodeStatus>('/v1/status', signal)

    writeFileSync(control, code)
    const changes: readonly (readonly [string, () => Promise<unknown>])[] = [
      ['name', () => put(node, 'during')],
      ['removal', () => node.send('DELETE', '/v1/names/before', undefined, signal)],
      ['token', () => node.send('POST', '/v1/tokens', { name: 'during', scope: 'read' }, signal)],
      ['service', () => node.send('POST', '/v1/services', { name: 'during', target: '127.0.0.1:9' }, signal)],
    ]
    for (const [what, change] of changes) {
      await assert.rejects(change, (error) => {
        assert.ok(isOverlayError(error, 'DATA_DIR_UNUSABLE'), `${what}: ${error}`)
        assert.match(error.message, words, what)
        return true
      })
    }
    // It goes on saying what it knows, and nothing that was not written shows.
    assert.deepEqual(await namesOf(node), ['before'])
    assert.deepEqual((await node.get<{ services: unknown[] }>('/v1/services', signal)).services, [])
    assert.equal((await node.get<NodeStatus>('/v1/status', signal)).id, id)
    assert.equal(node.death, null)

    // Stopped on the bad disk: in order, and without a hang.
    await node.child.stop()
    // Started on it: one message, one exit code.
    const { code: exit, stderr } = await failedStart(dataDir, env)
    assert.equal(exit, 2, stderr)
    assert.match(stderr, words)
    assert.match(stderr, /Check its path, owner and free space/)

    writeFileSync(control, '')
    node = await LoneNode.start({ dataDir, codeDir, env })
    assert.equal((await node.get<NodeStatus>('/v1/status', signal)).id, id)
    assert.deepEqual(await namesOf(node), ['before'])
    await put(node, 'after')
    writeFileSync(control, code)
    await assert.rejects(put(node, 'again'))
    writeFileSync(control, '')
    await put(node, 'again')
    assert.deepEqual(await namesOf(node), ['after', 'again', 'before'])
    await node.child.stop()
  })
}

test('a real disk that is full, and one that is read-only', { timeout: 120_000 }, async (t) => {
  // Before the folder goes.
  let dir = ''
  t.after(() => void spawnSync('umount', ['-l', dir]))
  const { root, dataDir, codeDir } = place(t)
  dir = dataDir
  if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=4m,mode=700', 'tmpfs', dataDir]).status !== 0) {
    // Needs the right to mount; the same faults, made up, are tried above.
    t.diagnostic('this process may not mount: not tried on a real file system')
    return
  }
  let node = await LoneNode.start({ dataDir, codeDir })
  t.after(() => node.child.kill())
  await put(node, 'before')
  const filler = join(dataDir, 'filler')
  spawnSync('dd', ['if=/dev/zero', `of=${filler}`, 'bs=4k'])
  await assert.rejects(put(node, 'during'), (error) => isOverlayError(error, 'DATA_DIR_UNUSABLE') && /full/.test(error.message))
  assert.deepEqual(await namesOf(node), ['before'])
  await node.child.kill()
  const full = await failedStart(dataDir)
  assert.equal(full.code, 2, full.stderr)
  assert.match(full.stderr, /the disk is full/)
  rmSync(filler)
  node = await LoneNode.start({ dataDir, codeDir })
  assert.deepEqual(await namesOf(node), ['before'])
  await put(node, 'after')
  await node.child.stop()

  assert.equal(spawnSync('mount', ['-o', 'remount,ro', dataDir]).status, 0)
  const readOnly = await failedStart(dataDir)
  assert.equal(readOnly.code, 2, readOnly.stderr)
  assert.match(readOnly.stderr, /the disk is read-only/)
  // What can still be done with it: a backup.
  const passphrase = join(root, 'passphrase')
  writeFileSync(passphrase, 'correct horse battery staple')
  const backup = join(root, 'backup')
  const exported = await gyre(['keys', 'export', backup, '--data-dir', dataDir, '--passphrase-file', passphrase])
  assert.equal(exported.code, 0, exported.stderr)
  const into = join(root, 'into')
  const imported = await gyre(['keys', 'import', backup, '--data-dir', into, '--passphrase-file', passphrase])
  assert.equal(imported.code, 0, imported.stderr)
  const again = await LoneNode.start({ dataDir: into, codeDir })
  assert.deepEqual(await namesOf(again), ['after', 'before'])
  await again.child.stop()
})

test('a node whose process is held for a while goes on: SIGSTOP, SIGCONT', { timeout: 60_000 }, async (t) => {
  const { dataDir, codeDir } = place(t)
  const node = await LoneNode.start({ dataDir, codeDir })
  t.after(() => node.child.kill())
  await put(node, 'before')
  process.kill(node.child.pid, 'SIGSTOP')
  const waiting = put(node, 'during')
  await new Promise((resolve) => setTimeout(resolve, 3_000))
  process.kill(node.child.pid, 'SIGCONT')
  await waiting
  assert.deepEqual(await namesOf(node), ['before', 'during'])
  await eventually('it is well', () => node.death === null && node.lines.every((line) => !/"level":"error"/.test(line)))
  await node.child.stop()
})
