/** What an import puts where, what it refuses, and that it happens whole or not at all. Spec: SPEC.md §13.3, §13.4. */
import assert from 'node:assert/strict'
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { ApiTokens } from '../../client/api/tokens.ts'
import { kindOf } from '../../client/backup/contents.ts'
import { exportBackup, finishRestore, importBackup, writeBackup } from '../../client/backup/index.ts'
import { openApiToken, openIdentity } from '../../client/identity.ts'
import { openKeepBook } from '../../client/keeps/index.ts'
import { KEYS_MAX, openKeyBook } from '../../client/keys/index.ts'
import { openNameBook } from '../../client/names/index.ts'
import { utf8 } from '../../src/bytes/index.ts'
import { isOverlayError } from '../../src/errors/index.ts'
import { addressOf, filesIn, furnish, secretsOf, temporaryFolder } from '../support/backup-files.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { seededRng } from '../support/seeded-rng.ts'

const secrets = secretsOf('twelve characters')
const rng = seededRng(1)
const strict = { leaveOutDamaged: false, rng }

interface Fixture {
  readonly from: string
  readonly file: string
  /** A folder that is empty, or furnished with another seed. */
  into(seed?: number): Promise<string>
}

async function fixture(t: TestContext): Promise<Fixture> {
  const root = temporaryFolder(t)
  const from = join(root, 'from')
  mkdirSync(from)
  await furnish(from, 1)
  const file = join(root, 'backup')
  await exportBackup(from, file, secrets, strict)
  let count = 0
  const into = async (seed?: number) => {
    const dir = join(root, `into-${count++}`)
    mkdirSync(dir)
    if (seed !== undefined) await furnish(dir, seed)
    return dir
  }
  return { from, file, into }
}

const exists = (error: unknown) => isOverlayError(error, 'BACKUP_EXISTS')
const isDamaged = (error: unknown) => isOverlayError(error, 'BACKUP_DAMAGED')

test('what is exported is imported into an empty folder, byte for byte, and a node finds all of it', async (t) => {
  const { from, file, into } = await fixture(t)
  const dir = await into()
  const restored = await importBackup(dir, file, secrets, false)
  assert.deepEqual(restored, {
    identity: 'new',
    keys: [
      { name: 'blog', outcome: 'new' },
      { name: 'shop-2', outcome: 'new' },
    ],
    names: { added: 2, replaced: 0, kept: 0 },
    keeps: 2,
  })
  assert.deepEqual(filesIn(dir), filesIn(from))
  const [was, is] = [await openIdentity(from, rng), await openIdentity(dir, rng)]
  assert.equal(is.id, was.id)
  const book = await openKeyBook(dir, rng)
  assert.deepEqual(book.list(), (await openKeyBook(from, rng)).list())
  assert.equal((await book.readPart('blog', 'site'))?.length, 150_000)
  const names = await openNameBook({ dataDir: dir, clock: new FakeClock(), log: { warn: () => assert.fail() } })
  assert.equal(names.find('friend'), addressOf(1))
})

test('tokens, the lock, other people’s bytes and what the node learnt stay out', async (t) => {
  const { from, into } = await fixture(t)
  await openApiToken(from, rng)
  const tokens = await ApiTokens.open({ own: 'x', dataDir: from, clock: new FakeClock(), rng })
  await tokens.add('script', 'admin')
  mkdirSync(join(from, 'store'))
  for (const name of [
    'lock',
    'neighbours',
    'directory',
    'run.json',
    'gyre.toml',
    'store/shares.places',
    'keys/blog.new',
    'keys/.x',
  ])
    writeFileSync(join(from, name), 'x')
  const file = join(from, '..', 'second')
  const { keys, names, damaged } = await exportBackup(from, file, secrets, strict)
  assert.deepEqual([keys, names, damaged], [['blog', 'shop-2'], 2, []])
  const dir = await into()
  await importBackup(dir, file, secrets, false)
  assert.deepEqual(
    [...filesIn(dir).keys()],
    [
      'identity',
      'keeps.json',
      'keys/blog',
      'keys/blog.record',
      'keys/blog.site',
      'keys/shop-2',
      'keys/shop-2.service',
      'names.json',
    ],
  )
})

test('another identity or key is refused and nothing is changed; with leave it is replaced, with all that went with it', async (t) => {
  const { from, file, into } = await fixture(t)
  const dir = await into(2)
  const other = await openKeyBook(dir, rng)
  await other.make('mine')
  await other.writePart('shop-2', 'record', utf8('of the other one'))
  writeFileSync(join(dir, 'published'), 'of the other one')
  writeFileSync(join(dir, 'neighbours'), 'stay')
  const before = filesIn(dir)
  await assert.rejects(importBackup(dir, file, secrets, false), (error) => {
    assert.ok(exists(error))
    assert.match((error as Error).message, /another identity, another key named blog, another key named shop-2/)
    return true
  })
  assert.deepEqual(filesIn(dir), before)
  const restored = await importBackup(dir, file, secrets, true)
  assert.equal(restored.identity, 'replaced')
  assert.deepEqual(
    restored.keys.map(({ outcome }) => outcome),
    ['replaced', 'replaced'],
  )
  assert.deepEqual(restored.names, { added: 1, replaced: 1, kept: 0 })
  const after = filesIn(dir)
  for (const [name, content] of filesIn(from)) if (!name.endsWith('.json')) assert.equal(after.get(name), content, name)
  assert.ok(!after.has('published') && !after.has('keys/shop-2.record'))
  assert.equal(after.get('neighbours'), 'stay')
  assert.ok(after.has('keys/mine'))
})

test('under the same key what is here stays, and what is missing comes back', async (t) => {
  const { from, file } = await fixture(t)
  const book = await openKeyBook(from, rng)
  await book.writePart('blog', 'record', utf8('newer'))
  await book.removePart('blog', 'site')
  const { identity, keys } = await importBackup(from, file, secrets, false)
  assert.deepEqual([identity, keys.map(({ outcome }) => outcome)], ['same', ['same', 'same']])
  const again = await openKeyBook(from, rng)
  assert.deepEqual(await again.readPart('blog', 'record'), utf8('newer'))
  assert.equal((await again.readPart('blog', 'site'))?.length, 150_000)
  // A second time there is nothing to do.
  const files = filesIn(from)
  await importBackup(from, file, secrets, false)
  assert.deepEqual(filesIn(from), files)
})

test('names are put together; where two differ, the one that is here stays unless it may be replaced', async (t) => {
  const { file, from, into } = await fixture(t)
  for (const mayReplace of [false, true]) {
    const dir = await into()
    for (const name of ['identity', 'keys']) cpSync(join(from, name), join(dir, name), { recursive: true })
    const names = await openNameBook({ dataDir: dir, clock: new FakeClock(), log: { warn: () => {} } })
    await names.put('friend', addressOf(77))
    await names.put('own', addressOf(78))
    const restored = await importBackup(dir, file, secrets, mayReplace)
    assert.deepEqual(restored.names, mayReplace ? { added: 1, replaced: 1, kept: 0 } : { added: 1, replaced: 0, kept: 1 })
    const after = await openNameBook({ dataDir: dir, clock: new FakeClock(), log: { warn: () => assert.fail() } })
    assert.equal(after.find('friend'), addressOf(mayReplace ? 1 : 77))
    assert.equal(after.find('own'), addressOf(78))
    assert.equal(after.find('only-1'), addressOf(9))
  }
})

test('what is kept is put together; the wish of a user counts for more than having published it', async (t) => {
  const { file, from, into } = await fixture(t)
  const dir = await into()
  for (const name of ['identity', 'keys']) cpSync(join(from, name), join(dir, name), { recursive: true })
  const log = { warn: (text: string) => assert.fail(text) }
  const keep = { addedMs: 9, checkedMs: 8, passes: 7, snapshot: '' }
  const keeps = await openKeepBook({ dataDir: dir, log })
  await keeps.add({ ...keep, address: addressOf(40), source: 'user' })
  await keeps.add({ ...keep, address: addressOf(41), source: 'own' })
  await keeps.add({ ...keep, address: addressOf(99), source: 'own' })
  assert.equal((await importBackup(dir, file, secrets, false)).keeps, 0)
  const after = await openKeepBook({ dataDir: dir, log })
  assert.equal(after.list().length, 3)
  for (const byte of [40, 41]) assert.deepEqual(after.get(addressOf(byte)), { ...keep, address: addressOf(byte), source: 'user' })
  writeFileSync(join(dir, 'keeps.json'), '{')
  await assert.rejects(importBackup(dir, file, secrets, false), exists)
  assert.equal((await importBackup(dir, file, secrets, true)).keeps, 2)
})

test('what is damaged in the folder is not exported in silence, and is replaced only if asked', async (t) => {
  const { from, file } = await fixture(t)
  const path = join(from, 'keys', 'blog')
  writeFileSync(path, 'gyre key 1\nhalf')
  const second = join(from, '..', 'second')
  await assert.rejects(exportBackup(from, second, secrets, strict), (error) => isOverlayError(error, 'KEY_BAD'))
  assert.ok(!existsSync(second))
  const { keys, damaged } = await exportBackup(from, second, secrets, { leaveOutDamaged: true, rng })
  assert.deepEqual([keys, damaged], [['shop-2'], ['keys/blog']])
  await assert.rejects(importBackup(from, file, secrets, false), exists)
  await importBackup(from, file, secrets, true)
  assert.deepEqual((await openKeyBook(from, rng)).damaged(), [])
  writeFileSync(join(from, 'identity'), '')
  await assert.rejects(exportBackup(from, `${second}3`, secrets, { leaveOutDamaged: true, rng }), (error) =>
    isOverlayError(error, 'IDENTITY_DAMAGED'),
  )
  rmSync(join(from, 'identity'))
  await assert.rejects(exportBackup(from, `${second}3`, secrets, strict), (error) => isOverlayError(error, 'IDENTITY_DAMAGED'))
})

test('a backup whose owner is a liar gets no file outside of its list, and none that its reader would refuse', async (t) => {
  const { from, into } = await fixture(t)
  const sound = [...filesIn(from).keys()].map((name) => ({ name, bytes: new Uint8Array(readFileSync(join(from, name))) }))
  const lies: readonly (readonly [string, string])[] = [
    ...[
      '../x',
      '/etc/passwd',
      'keys/../x',
      'keys/a/b',
      'api.token',
      'api-tokens.json',
      'gyre.toml',
      'lock',
      'restore/plan',
      'store/x',
      'keys/',
    ].map((name) => [name, 'x'] as const),
    ['keys/blog.other', 'x'],
    ['keys/blog.site.new', 'x'],
    ['keys/-a', 'x'],
    ['keys/zz', 'gyre key 1\n'],
    ['keys/zz.site', 'without a key'],
    ['names.json', '{"version":1,"names":[{}]}'],
    ['keeps.json', '{"version":1,"keeps":[{}]}'],
    ['identity', 'gyre identity 1\n'],
  ]
  for (const [name, text] of lies) {
    const entries = [...sound.filter((one) => one.name !== name), { name, bytes: utf8(text) }]
    const file = join(from, '..', `lie-${lies.findIndex(([other]) => other === name)}`)
    await writeBackup(
      file,
      entries.sort((a, b) => (a.name < b.name ? -1 : 1)),
      secrets,
      rng,
    )
    const dir = await into()
    await assert.rejects(importBackup(dir, file, secrets, true), isDamaged, name)
    assert.deepEqual(filesIn(dir), new Map(), name)
  }
  // A part that belongs to another key, as its own check says.
  const moved = sound.map((one) => (one.name === 'keys/shop-2.service' ? { ...one, name: 'keys/shop-2.record' } : one))
  const file = join(from, '..', 'moved')
  await writeBackup(file, moved, secrets, rng)
  await assert.rejects(importBackup(await into(), file, secrets, true), isDamaged)
  // And one without an identity.
  await writeBackup(
    `${file}2`,
    sound.filter(({ name }) => name !== 'identity'),
    secrets,
    rng,
  )
  await assert.rejects(importBackup(await into(), `${file}2`, secrets, true), isDamaged)
})

test('a backup that is damaged at its very end changes nothing, and leaves nothing', async (t) => {
  const { file, into } = await fixture(t)
  const bytes = readFileSync(file)
  bytes[bytes.length - 20]! ^= 1
  writeFileSync(file, bytes)
  for (const seed of [undefined, 2]) {
    const dir = await into(seed)
    const before = filesIn(dir)
    await assert.rejects(importBackup(dir, file, secrets, true), isDamaged)
    assert.deepEqual(filesIn(dir), before)
  }
})

test('more keys than a book holds are refused', async (t) => {
  const { file, into } = await fixture(t)
  const dir = await into()
  const book = await openKeyBook(dir, rng)
  for (let number = 0; number < KEYS_MAX - 1; number++) await book.make(`k${number}`)
  await assert.rejects(importBackup(dir, file, secrets, false), (error) => isOverlayError(error, 'KEY_BAD'))
  assert.equal((await openKeyBook(dir, rng)).list().length, KEYS_MAX - 1)
})

test('a restore that counted is ended by whoever comes next, one that did not is thrown away', async (t) => {
  const { from, into } = await fixture(t)
  const key = readFileSync(join(from, 'keys', 'blog'))
  for (const name of ['restore', 'restore.new']) {
    const dir = await into(2)
    const before = filesIn(dir)
    mkdirSync(join(dir, name))
    writeFileSync(join(dir, name, '0'), key)
    writeFileSync(join(dir, name, 'plan'), JSON.stringify({ put: ['keys/blog', 'keys/new'], remove: ['keys/blog.site'] }))
    await finishRestore(dir)
    const after = filesIn(dir)
    assert.equal(after.get('keys/blog'), name === 'restore' ? key.toString('latin1') : before.get('keys/blog'))
    assert.equal(after.has('keys/blog.site'), name !== 'restore')
    assert.ok(![...after.keys()].some((path) => path.startsWith('restore')))
    await finishRestore(dir)
    assert.deepEqual(filesIn(dir), after)
  }
  const dir = await into()
  mkdirSync(join(dir, 'restore'))
  for (const plan of ['', 'null', '{}', '{"put":["../x"],"remove":[]}', '{"put":[],"remove":["lock"]}']) {
    writeFileSync(join(dir, 'restore', 'plan'), plan)
    await assert.rejects(finishRestore(dir), (error) => isOverlayError(error, 'DATA_DIR_UNUSABLE'), plan)
  }
})

test('names of entries: a closed list', () => {
  for (const name of [
    'identity',
    'names.json',
    'published',
    'seen',
    'keys/a',
    'keys/a.site',
    'keys/a-1.service',
    'keys/0.record',
  ])
    assert.notEqual(kindOf(name), null, name)
  for (const name of [
    '',
    'Identity',
    'keys',
    'keys/',
    'keys/A',
    'keys/a.',
    'keys/a.new',
    'keys/a.site.new',
    'keys/a/b',
    'identity.new',
  ])
    assert.equal(kindOf(name), null, name)
})
