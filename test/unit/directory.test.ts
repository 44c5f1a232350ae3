/** The directory: newest wins, both ends count, bounds, expiry, digests that follow, and its file. Spec: SPEC.md §6.2. */
import assert from 'node:assert/strict'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import type { UnixMs } from '../../src/bytes/index.ts'
import { Directory, loadDirectory, saveDirectory, updateEveryMs } from '../../src/directory/index.ts'
import { TEST_RULES, testDescriptor, testNode } from '../support/directory.ts'
import { FakeClock } from '../support/fake-clock.ts'

const START = FakeClock.START_UNIX_MS
const at = (ms: number) => ({ publishedMs: (START + ms) as UnixMs })
const nodes = Array.from({ length: 12 }, (_, seed) => testNode(seed + 1))
const [alice, bob, carol] = [nodes[0]!, nodes[1]!, nodes[2]!]

function fresh(nodesMax?: number) {
  const clock = new FakeClock()
  const directory = new Directory({ rules: TEST_RULES, clock, self: alice.id, ...(nodesMax === undefined ? {} : { nodesMax }) })
  return { clock, directory }
}

test('the newest descriptor of a node wins, whatever the order', () => {
  const { directory } = fresh()
  assert.equal(directory.add(testDescriptor(bob, at(1))), 'added')
  assert.equal(directory.add(testDescriptor(bob, at(1))), 'known')
  assert.equal(directory.add(testDescriptor(bob, at(0))), 'older')
  assert.equal(directory.add(testDescriptor(bob, at(2))), 'added')
  assert.equal(directory.get(bob.id)?.publishedMs, START + 2)
  assert.equal(directory.size, 1)
})

test('two descriptors of the same time: every directory settles on the same one', () => {
  const pair = [testDescriptor(bob, { capacityClass: 1 }), testDescriptor(bob, { capacityClass: 2 })] as const
  const one = fresh().directory
  const other = fresh().directory
  for (const signed of [pair[0], pair[1], pair[0]]) one.add(signed)
  for (const signed of [pair[1], pair[0], pair[1]]) other.add(signed)
  assert.equal(one.hashHexOf(bob.id), other.hashHexOf(bob.id))
})

test('a link counts when both ends list it', () => {
  const { directory } = fresh()
  directory.add(testDescriptor(alice, { neighbours: [bob.id, carol.id] }))
  directory.add(testDescriptor(bob, { neighbours: [alice.id] }))
  directory.add(testDescriptor(carol, { neighbours: [bob.id] }))
  assert.deepEqual(directory.linked(alice.id), [bob.id])
  assert.deepEqual(directory.linked(bob.id), [alice.id])
  assert.deepEqual(directory.linked(carol.id), [])
  directory.add(testDescriptor(carol, { neighbours: [alice.id], ...at(1) }))
  assert.deepEqual(directory.linked(alice.id), [bob.id, carol.id])
})

test('a full directory refuses newcomers, never its own node or updates', () => {
  const { directory } = fresh(2)
  assert.equal(directory.add(testDescriptor(bob)), 'added')
  assert.equal(directory.add(testDescriptor(carol)), 'added')
  assert.equal(directory.add(testDescriptor(nodes[3]!)), 'full')
  assert.equal(directory.add(testDescriptor(alice)), 'added')
  assert.equal(directory.add(testDescriptor(bob, at(1))), 'added')
})

test('one node cannot keep a directory busy, a large one less than a small one', async () => {
  for (const [others, everyMs] of [
    [0, 2_000],
    [20, 4_200],
    [60, 10_000],
  ] as const) {
    const { clock, directory } = fresh()
    for (let other = 0; other < others; other++) directory.add(testDescriptor(testNode(1_000 + other)))
    const verdicts = Array.from({ length: 50 }, (_, step) => directory.add(testDescriptor(bob, at(step))))
    assert.equal(verdicts.filter((verdict) => verdict === 'added').length, 32)
    assert.equal(verdicts.at(-1), 'hasty')
    assert.equal(updateEveryMs(directory.size), everyMs)
    await clock.advance(everyMs - 1)
    assert.equal(directory.add(testDescriptor(bob, at(100))), 'hasty')
    await clock.advance(1)
    assert.equal(directory.add(testDescriptor(bob, at(100))), 'added')
    assert.equal(directory.add(testDescriptor(bob, at(101))), 'hasty')
  }
})

test('what is over its age goes, and the digest with it', async () => {
  const { clock, directory } = fresh()
  directory.add(testDescriptor(bob))
  directory.add(testDescriptor(carol, at(3_600_000 / 60)))
  await clock.advance(24 * 3_600_000)
  assert.equal(directory.expire(), 1)
  assert.equal(directory.get(bob.id), undefined)
  await clock.advance(3_600_000)
  assert.equal(directory.expire(), 1)
  assert.equal(directory.size, 0)
  assert.ok(directory.digest().every((byte) => byte === 0))
})

test('equal content gives equal digests, in whatever order it came; version and listeners follow each change', () => {
  const step = fc.record({ node: fc.nat(11), ms: fc.nat(5) })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      const one = fresh().directory
      const other = fresh().directory
      let changes = 0
      one.onChange(() => changes++)
      for (const { node, ms } of steps) one.add(testDescriptor(nodes[node]!, at(ms)))
      for (const { node, ms } of [...steps].reverse()) other.add(testDescriptor(nodes[node]!, at(ms)))
      assert.deepEqual(one.digest(), other.digest())
      assert.equal(changes, one.version)
      assert.equal(one.all().length, one.size)
    }),
    { seed: 3, numRuns: 25 },
  )
})

test('the file: what was saved is loaded; damaged lines cost themselves only', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'gyre-test-'))
  try {
    const path = join(folder, 'directory')
    const { clock, directory } = fresh()
    assert.deepEqual(await loadDirectory(directory, path, systemTurns), { added: 0, skipped: 0 })
    for (const node of nodes) directory.add(testDescriptor(node))
    await saveDirectory(directory, path)
    await saveDirectory(directory, path)
    assert.deepEqual(await readdir(folder), ['directory'])
    const again = new Directory({ rules: TEST_RULES, clock, self: alice.id })
    assert.deepEqual(await loadDirectory(again, path, systemTurns), { added: 12, skipped: 0 })
    assert.deepEqual(again.digest(), directory.digest())

    const lines = (await readFile(path, 'latin1')).split('\n')
    lines[2] = `${lines[2]!.slice(0, 100)}!!${lines[2]!.slice(110)}`
    lines[4] = 'x'.repeat(100_000)
    lines[7] = lines[7]!.slice(0, 50)
    await writeFile(path, lines.join('\n').slice(0, -40), 'latin1')
    const damaged = new Directory({ rules: TEST_RULES, clock, self: alice.id })
    assert.deepEqual(await loadDirectory(damaged, path, systemTurns), { added: 8, skipped: 4 })

    await writeFile(path, 'something else\n')
    const foreign = new Directory({ rules: TEST_RULES, clock, self: alice.id })
    assert.deepEqual(await loadDirectory(foreign, path, systemTurns), { added: 0, skipped: 0 })
  } finally {
    await rm(folder, { recursive: true })
  }
})

const systemTurns = { nextTurn: (fire: () => void) => queueMicrotask(fire) }
