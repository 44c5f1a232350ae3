/** `gyre names` and `gyre service` against a real process around a fake node. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { startTestnet, type Testnet } from '../../client/testnet/index.ts'
import { formatFileAddress, formatKeyAddress } from '../../src/content/address.ts'
import { FAKE_MAIN, gyre } from '../support/processes.ts'

const dir = mkdtempSync(join(tmpdir(), 'gyre-cli-names-'))
const { signal } = new AbortController()
const A = formatKeyAddress(new Uint8Array(32).fill(1))
const B = formatFileAddress(new Uint8Array(32).fill(2))
let testnet: Testnet
let here: readonly string[] = []

before(async () => {
  testnet = await startTestnet({ nodes: 1, signal, entry: FAKE_MAIN })
  here = ['--data-dir', testnet.node(0).dataDir]
})
after(async () => {
  await testnet.close()
  rmSync(dir, { recursive: true })
})

async function command(...args: readonly string[]) {
  const { code, stdout, stderr } = await gyre([...args, ...here])
  return { code, out: stdout.toString(), err: stderr }
}

const listed = async () =>
  (
    JSON.parse((await command('names', 'list', '--json')).out) as { names: { name: string; address: string; source: string }[] }
  ).names.map(({ name, address, source }) => [name, address, source])

test('names: add, list, remove; nothing is overwritten without --replace', async () => {
  assert.equal((await command('names', 'list')).out, 'no names yet\n')
  assert.deepEqual(await command('names', 'add', 'wiki', A), { code: 0, out: 'http://wiki.gyre/\n', err: '' })
  assert.equal((await command('names', 'add', 'wiki', `http://${A}.gyre/`)).code, 0)
  const collision = await command('names', 'add', 'wiki', B)
  assert.deepEqual([collision.code, collision.out], [2, ''])
  assert.match(collision.err, new RegExp(`stands for ${A} \\(from user\\)[\\s\\S]*--replace`))
  assert.equal((await command('names', 'add', 'wiki', B, '--replace')).code, 0)
  assert.deepEqual(await listed(), [['wiki', B, 'user']])
  assert.match((await command('names', 'list')).out, /name .*address .*from/)
  const alike = await command('names', 'add', 'w1k1', A)
  assert.match(alike.err, /w1k1 looks like wiki/)
  assert.equal((await command('names', 'remove', 'w1k1')).code, 0)
  assert.equal((await command('names', 'remove', 'w1k1')).code, 3)
  for (const [name, address] of [
    ['Wiki', A],
    ['wiki', 'nonsense'],
    [A, B],
    ['x', `${A.slice(0, 55)}a`],
  ] as const) {
    assert.equal((await command('names', 'add', name, address)).code, 2, name)
  }
  assert.equal((await command('names', 'remove', 'wiki')).code, 0)
})

test('names import: provenance and collisions are shown; a bad file changes nothing', async () => {
  const file = join(dir, 'friends.txt')
  assert.equal((await command('names', 'add', 'mine', A)).code, 0)
  writeFileSync(file, `mine ${B}\nnew ${B} # a friend's\nrnine ${B}\n`)
  const first = await command('names', 'import', file)
  assert.equal(first.code, 0, first.err)
  assert.match(first.out, new RegExp(`kept +mine .*here it stands for ${A} \\(from user\\)`))
  assert.match(first.out, /added +new /)
  assert.match(first.out, /added +rnine .*looks like mine/)
  assert.match(first.err, /1 names stand for other addresses/)
  assert.deepEqual(await listed(), [
    ['mine', A, 'user'],
    ['new', B, 'friends.txt'],
    ['rnine', B, 'friends.txt'],
  ])
  const replaced = await command('names', 'import', file, '--replace', '--source', 'friends', '--json')
  const { names } = JSON.parse(replaced.out) as { names: { name: string; outcome: string }[] }
  assert.deepEqual(
    names.map(({ name, outcome }) => [name, outcome]),
    [
      ['mine', 'replaced'],
      ['new', 'unchanged'],
      ['rnine', 'unchanged'],
    ],
  )
  assert.deepEqual((await listed())[0], ['mine', B, 'friends'])
  writeFileSync(file, `later ${A}\nBad ${A}\n`)
  const bad = await command('names', 'import', file)
  assert.equal(bad.code, 2)
  assert.match(bad.err, /Line 2/)
  assert.equal((await listed()).length, 3)
  assert.equal((await command('names', 'import', join(dir, 'absent'))).code, 2)
})

test('services: add, list, remove', async () => {
  assert.equal((await command('service', 'list')).out, 'no services yet\n')
  const added = await command('service', 'add', '--name', 'app', '--target', '127.0.0.1:8080', '--port', '81')
  assert.equal(added.code, 0, added.err)
  assert.match(added.out, /^[a-z2-7]{56}\n$/)
  assert.match((await command('service', 'list')).out, /app .*81 → 127\.0\.0\.1:8080 +up/)
  assert.equal((JSON.parse((await command('service', 'list', '--json')).out) as { services: unknown[] }).services.length, 1)
  for (const args of [
    ['--name', 'No', '--target', '127.0.0.1:80'],
    ['--name', 'a', '--target', 'nowhere'],
    ['--name', 'a', '--target', '127.0.0.1:80', '--port', '0'],
    ['--name', 'a'],
    ['--target', '127.0.0.1:80'],
    ['a', '--name', 'b', '--target', '127.0.0.1:80'],
  ]) {
    assert.equal((await command('service', 'add', ...args)).code, 2, args.join(' '))
  }
  const again = await command('service', 'add', 'app', '--target', '127.0.0.1:8080', '--port', '82')
  assert.deepEqual([again.code, again.out], [0, added.out], 'the name as the argument')
  assert.equal((await command('service', 'remove', 'app')).code, 0)
  assert.equal((await command('service', 'remove', 'app')).code, 3)
})
