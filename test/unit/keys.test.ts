/** The key book on disk: what survives, what is refused, who may read it. */
import assert from 'node:assert/strict'
import { chmodSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { isKeyName, KEY_PART_BYTES_MAX, KEYS_MAX, openKeyBook } from '../../client/keys/index.ts'
import { parseAddress } from '../../src/content/address.ts'
import { blindAddress } from '../../src/content/record.ts'
import { networkIdOf } from '../../src/directory/index.ts'
import { isOverlayError } from '../../src/errors/index.ts'
import { seededRng } from '../support/seeded-rng.ts'

const network = networkIdOf('unit')
const isBad = (error: unknown) => isOverlayError(error, 'KEY_BAD')

function folder(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), 'gyre-keys-'))
  t.after(() => rmSync(dir, { recursive: true, force: true }))
  return dir
}

test('names are lower case letters, digits and hyphens, 1 to 32, no hyphen at an end', () => {
  for (const name of ['a', '0', 'blog', 'my-site-2', 'a'.repeat(32)]) assert.ok(isKeyName(name), name)
  for (const name of ['', '-', '-a', 'a-', 'A', 'a.b', 'a/b', '..', 'a b', 'ä', 'a\n', 'a'.repeat(33), 'a.site', 'a\0']) {
    assert.equal(isKeyName(name), false, JSON.stringify(name))
  }
})

test('a key is made once, survives, and its files are for its owner alone', async (t) => {
  const dir = folder(t)
  const book = await openKeyBook(dir, seededRng(1))
  assert.equal(book.get('blog'), null)
  const made = await book.make('blog')
  assert.deepEqual(await book.make('blog'), made)
  assert.deepEqual(parseAddress(made.address)?.key, made.publicKey)
  await book.writePart('blog', 'site', new Uint8Array([1, 2, 3]))
  for (const name of readdirSync(join(dir, 'keys'))) {
    assert.equal(statSync(join(dir, 'keys', name)).mode & 0o777, 0o600, name)
  }
  assert.equal(statSync(join(dir, 'keys')).mode & 0o777, 0o700)
  chmodSync(join(dir, 'keys', 'blog'), 0o644)
  const again = await openKeyBook(dir, seededRng(2))
  assert.deepEqual(again.list(), [made])
  assert.equal(statSync(join(dir, 'keys', 'blog')).mode & 0o777, 0o600)
  assert.deepEqual(await again.readPart('blog', 'site'), new Uint8Array([1, 2, 3]))
  const blinded = await again.blind('blog', network, 2900)
  assert.deepEqual(blinded.publicKey, await blindAddress(made.publicKey, network, 2900))
})

test('many that make one key at once get one key', async (t) => {
  const book = await openKeyBook(folder(t), seededRng(1))
  const made = await Promise.all(Array.from({ length: 10 }, () => book.make('one')))
  assert.equal(new Set(made.map(({ address }) => address)).size, 1)
})

test('what is no name, unknown or damaged is KEY_BAD; a damaged key is never replaced', async (t) => {
  const dir = folder(t)
  const book = await openKeyBook(dir, seededRng(1))
  const { address } = await book.make('blog')
  for (const name of ['..', 'Blog', '', 'a/../b', 'blog.site']) {
    assert.throws(() => book.get(name), isBad, name)
    await assert.rejects(book.make(name), isBad, name)
    await assert.rejects(book.readPart(name, 'site'), isBad, name)
  }
  for (const call of [
    () => book.readPart('none', 'site'),
    () => book.writePart('none', 'site', new Uint8Array(1)),
    () => book.removePart('none', 'site'),
    () => book.blind('none', network, 1),
  ]) {
    await assert.rejects(async () => call(), isBad)
  }
  const path = join(dir, 'keys', 'blog')
  const whole = readFileSync(path, 'latin1')
  for (const text of [
    '',
    whole.slice(0, -1),
    whole.replace('gyre key 1', 'gyre key 2'),
    `${whole}\n`,
    whole.replace(/[0-9a-f]/g, '0'),
  ]) {
    writeFileSync(path, text)
    const damaged = await openKeyBook(dir, seededRng(3))
    assert.deepEqual(damaged.damaged(), ['blog'])
    assert.deepEqual(damaged.list(), [])
    assert.throws(() => damaged.get('blog'), isBad)
    await assert.rejects(damaged.make('blog'), isBad)
    assert.equal(readFileSync(path, 'latin1'), text)
  }
  writeFileSync(path, whole)
  assert.equal((await openKeyBook(dir, seededRng(3))).get('blog')?.address, address)
})

test('parts: replaced whole, removed, refused with any byte changed or under another name', async (t) => {
  const dir = folder(t)
  const book = await openKeyBook(dir, seededRng(1))
  await book.make('a')
  await book.make('b')
  assert.equal(await book.readPart('a', 'record'), null)
  const bytes = seededRng(5).bytes(300)
  await Promise.all([book.writePart('a', 'record', new Uint8Array(9)), book.writePart('a', 'record', bytes)])
  assert.deepEqual(await book.readPart('a', 'record'), bytes)
  const path = join(dir, 'keys', 'a.record')
  const whole = readFileSync(path)
  for (let at = 0; at < whole.length; at++) {
    const changed = Buffer.from(whole)
    changed[at]! ^= 1
    writeFileSync(path, changed)
    await assert.rejects(book.readPart('a', 'record'), isBad, `byte ${at}`)
  }
  for (const cut of [0, 1, 16, 31, 32, whole.length - 1]) {
    writeFileSync(path, whole.subarray(0, cut))
    await assert.rejects(book.readPart('a', 'record'), isBad, `cut at ${cut}`)
  }
  writeFileSync(path, whole)
  renameSync(path, join(dir, 'keys', 'b.record'))
  await assert.rejects(book.readPart('b', 'record'), isBad)
  await book.removePart('b', 'record')
  assert.equal(await book.readPart('b', 'record'), null)
  await assert.rejects(book.writePart('a', 'site', new Uint8Array(KEY_PART_BYTES_MAX + 1)), RangeError)
  await book.writePart('a', 'site', new Uint8Array(0))
  assert.deepEqual(await book.readPart('a', 'site'), new Uint8Array(0))
})

test('a full book makes no more keys', async (t) => {
  const dir = folder(t)
  const first = await openKeyBook(dir, seededRng(1))
  await first.make('k0')
  const file = readFileSync(join(dir, 'keys', 'k0'))
  for (let at = 1; at < KEYS_MAX; at++) writeFileSync(join(dir, 'keys', `k${at}`), file)
  const book = await openKeyBook(dir, seededRng(2))
  assert.equal(book.list().length, KEYS_MAX)
  await assert.rejects(book.make('one-more'), isBad)
  assert.notEqual(await book.make('k7'), null)
})
