/** Publishing and reading versions of a site: what is uploaded, what readers see, what a publication that breaks off leaves. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { SitePublisher } from '../../client/sites/index.ts'
import type { UnixMs } from '../../src/bytes/index.ts'
import { SITE_CONTENT_TYPE } from '../../src/content/site-index.ts'
import { OverlayError } from '../../src/errors/index.ts'
import { systemClock } from '../../src/runtime/index.ts'
import { collect, never } from '../support/fake-share-network.ts'
import { seededRng } from '../support/seeded-rng.ts'
import { contentAt, fileOf, filesOf, SiteWorld, type Tree } from '../support/site-world.ts'

const noise = (bytes: number, seed: number | string = 1) => seededRng(seed).bytes(bytes)
const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes)

async function assertReads(world: SiteWorld, address: string, tree: Tree): Promise<void> {
  const site = await world.open(address)
  assert.equal(site.files, Object.keys(tree).length)
  for (const [path, content] of Object.entries(tree)) {
    const expected = typeof content === 'string' ? Buffer.from(content) : Buffer.from(content)
    assert.deepEqual(Buffer.from(await contentAt(site, `/${path}`)), expected, path)
  }
}

test('a site of 200 files of mixed sizes is one pack and one index, and reads back', async () => {
  const world = new SiteWorld()
  const rng = seededRng('mixed')
  const tree: Record<string, Uint8Array | string> = { 'index.html': '<h1>hello</h1>', 'empty.txt': '' }
  for (let file = 0; file < 198; file++) {
    const bytes = file % 20 === 0 ? rng.below(400_000) : rng.below(9000)
    tree[`part${file % 7}/file${file}.${file % 3 === 0 ? 'txt' : 'bin'}`] =
      file % 3 === 0 ? `line ${file}\n`.repeat(bytes / 8) : rng.bytes(bytes)
  }
  const made = await world.publish(tree)
  assert.equal(world.uploads.length, 2)
  assert.equal(made.version, 1)
  assert.equal(made.files, 200)
  assert.equal(made.uploaded, world.uploads[0])
  assert.ok(made.uploaded < made.bytes, 'text is compressed')
  await assertReads(world, made.address, tree)
  assert.deepEqual(
    world.publisher.list().map(({ key, version, files, bytes }) => [key, version, files, bytes]),
    [['home', 1, 200, made.bytes]],
  )
  world.close()
})

test('what did not change is not uploaded, also when files move, are copied or come back', async () => {
  const world = new SiteWorld()
  const big = noise(1_000_000)
  const first: Tree = { 'a.bin': big, 'b.txt': 'b'.repeat(500), 'c/d.html': '<p>d</p>'.repeat(1000) }
  await world.publish(first)
  const same = await world.publish(first)
  assert.equal(same.uploaded, 0)
  assert.equal(same.version, 2)
  assert.equal(world.uploads.length, 3, 'only an index')

  const moved = await world.publish({ 'x/a.bin': big, 'copy.bin': big, 'b.txt': 'b'.repeat(500) })
  assert.equal(moved.uploaded, 0)

  const changed = big.slice()
  changed[500_000]! ^= 1
  const edited = await world.publish({ 'a.bin': changed, 'b.txt': 'B'.repeat(500) })
  assert.equal(edited.uploaded, 65_536 + 500)
  await assertReads(world, edited.address, { 'a.bin': changed, 'b.txt': 'B'.repeat(500) })

  const back = await world.publish(first)
  assert.equal(back.uploaded, 0, 'blocks of kept packs that no version used are still there')
  await assertReads(world, back.address, first)
  world.close()
})

test('a change within a long text costs the slice that it is in, compressed, and 8 bytes', async () => {
  const world = new SiteWorld()
  const words = Array.from({ length: 60_000 }, (_, at) => `word${(at * 7919) % 4001}`).join(' ')
  const first = await world.publish({ 'long.txt': words })
  const changed = `${words.slice(0, 200_000)}*${words.slice(200_001)}`
  const second = await world.publish({ 'long.txt': changed })
  assert.ok(first.uploaded > 60_000, `${first.uploaded}`)
  assert.ok(second.uploaded < first.uploaded / 3, `${second.uploaded} of ${first.uploaded}`)
  await assertReads(world, second.address, { 'long.txt': changed })
  world.close()
})

test('old versions stay readable at the address of their snapshot, which is a file of the site type', async () => {
  const world = new SiteWorld()
  const first = await world.publish({ 'index.html': 'one' })
  const second = await world.publish({ 'index.html': 'two' })
  assert.equal(first.address, second.address)
  assert.notEqual(first.snapshot, second.snapshot)
  assert.equal(text(await contentAt(await world.open(first.snapshot), '/')), 'one')
  assert.equal(text(await contentAt(await world.open(second.address), '/')), 'two')
  const old = await world.open(first.snapshot)
  assert.equal(old.version, 1)
  assert.equal(old.address, first.snapshot)
  assert.equal(SITE_CONTENT_TYPE, 'application/vnd.gyre.site')
  world.close()
})

test('a publication that breaks off, at whatever point, leaves the version before', async () => {
  const world = new SiteWorld()
  const { address } = await world.publish({ 'index.html': 'old', 'data.bin': noise(200_000) })
  const next: Tree = { 'index.html': 'new', 'data.bin': noise(200_000, 2) }
  const failure = new OverlayError('unreachable', 'PUBLISH_FAILED', 'broken')

  world.failPublish = failure
  await assert.rejects(world.publish(next), failure)
  const broken = (async function* () {
    yield fileOf('a.txt', 'a')
    throw failure
  })()
  await assert.rejects(world.publisher.publish(broken, { key: 'home', signal: never }), failure)
  world.records.failSet = failure
  await assert.rejects(world.publish(next), failure)
  world.records.failSet = null
  assert.equal(text(await contentAt(await world.open(address), '/')), 'old')

  // Everything but the record was there: the next try uploads nothing but its index.
  const made = await world.publish(next)
  assert.equal(made.uploaded, 0)
  assert.equal(made.version, 3, 'a number that was tried is not used again')
  world.close()
})

test('aborting ends a publication with the reason and closes the file being read', async () => {
  const world = new SiteWorld()
  const stop = new AbortController()
  let closed = false
  const endless = (async function* () {
    yield {
      path: 'a.bin',
      bytes: 1e9,
      async *open() {
        try {
          for (let chunk = 0; ; chunk++) {
            if (chunk === 30) stop.abort(new Error('enough'))
            yield noise(10_000, chunk)
          }
        } finally {
          closed = true
        }
      },
    }
  })()
  await assert.rejects(world.publisher.publish(endless, { key: 'home', signal: stop.signal }), /enough/)
  await new Promise((resolve) => setImmediate(resolve))
  assert.ok(closed)
  assert.deepEqual(world.publisher.list(), [])
  world.close()
})

test('a file that is longer or shorter than announced, a bad path, a path twice, no file: SITE_BAD', async () => {
  const world = new SiteWorld()
  const cases: readonly (readonly [string, readonly ReturnType<typeof fileOf>[]])[] = [
    ['longer', [{ ...fileOf('a', 'hello'), bytes: 4 }]],
    ['shorter', [{ ...fileOf('a', 'hello'), bytes: 6 }]],
    ['not a length', [{ ...fileOf('a', 'hello'), bytes: -1 }]],
    ['upwards', [fileOf('../a', 'x')]],
    ['absolute', [fileOf('/a', 'x')]],
    ['twice', [fileOf('a', 'x'), fileOf('a', 'y')]],
    ['file and folder', [fileOf('a/b', 'x'), fileOf('a', 'y')]],
    ['nothing', []],
  ]
  for (const [what, files] of cases) {
    const stream = (async function* () {
      yield* files
    })()
    await assert.rejects(
      world.publisher.publish(stream, { key: 'home', signal: never }),
      (error: unknown) => error instanceof OverlayError && error.code === 'SITE_BAD',
      what,
    )
  }
  assert.equal(world.records.sets, 0)
  world.close()
})

test('two publications of one site at once: the second is refused, and the first is whole', async () => {
  const world = new SiteWorld()
  const first = world.publish({ 'index.html': 'first' })
  await assert.rejects(world.publish({ 'index.html': 'second' }), (error: unknown) => {
    return error instanceof OverlayError && error.code === 'SITE_BUSY'
  })
  const made = await first
  await assertReads(world, made.address, { 'index.html': 'first' })
  world.close()
})

test('packs grow old: after 15 days their blocks are uploaded again', async () => {
  let unixMs = 1_767_225_600_000
  const world = new SiteWorld(1, { ...systemClock, unixMs: () => unixMs as UnixMs })
  const tree: Tree = { 'a.bin': noise(300_000) }
  await world.publish(tree)
  unixMs += 15 * 24 * 3600 * 1000
  assert.equal((await world.publish(tree)).uploaded, 0)
  unixMs += 1
  assert.equal((await world.publish(tree)).uploaded, 300_000)
  world.close()
})

test('packs stay few however often a site changes, and most updates upload only what changed', async () => {
  const world = new SiteWorld()
  const tree: Record<string, Uint8Array> = { 'big.bin': noise(600_000, 'big') }
  let last = await world.publish(tree)
  let more = 0
  for (let round = 0; round < 40; round++) {
    tree[`post${round}.bin`] = noise(1000, `post ${round}`)
    last = await world.publish(tree)
    if (last.uploaded > 1000) more++
    assert.ok(last.uploaded < 60_000, `${round}: ${last.uploaded}`)
  }
  assert.ok(more <= 6, `${more} of 40 updates rewrote packs`)
  const site = await world.open(last.address)
  world.opened.length = 0
  for (const [path, content] of Object.entries(tree))
    assert.deepEqual(Buffer.from(await contentAt(site, `/${path}`)), Buffer.from(content))
  assert.ok(new Set(world.opened).size <= 16)
  world.close()
})

test('a lost or damaged state costs a whole upload, and the versions go on', async () => {
  const world = new SiteWorld()
  const tree: Tree = { 'a.bin': noise(100_000) }
  await world.publish(tree)
  world.keys.kept.delete('home.site')
  const second = await world.publish(tree)
  assert.deepEqual([second.version, second.uploaded], [2, 100_000])
  const state = world.keys.kept.get('home.site')!
  world.keys.kept.set('home.site', state.subarray(0, state.length - 1))
  const third = await world.publish(tree)
  assert.deepEqual([third.version, third.uploaded], [3, 100_000])
  await assertReads(world, third.address, tree)
  world.close()
})

test('after a restart sites are listed, and an update uploads only what changed', async () => {
  const world = new SiteWorld()
  const tree: Tree = { 'a.bin': noise(100_000) }
  await world.publish(tree)
  const { keys, records, clock } = world
  const again = new SitePublisher({
    ...{
      keys,
      records,
      finder: records,
      clock,
      rng: seededRng(5),
      log: { error() {}, warn() {}, info() {}, debug() {} } as never,
    },
    publish: async () => assert.fail('not asked'),
  })
  await again.start()
  assert.deepEqual(again.list(), world.publisher.list())
  assert.equal((await world.publish({ ...tree, b: 'b' })).uploaded, 1)
  world.close()
})

test('random trees and random edits of them read back equal, version after version', async () => {
  const block = 65_536
  const size = fc.oneof(fc.nat(3000), fc.constantFrom(0, 1, block - 1, block, block + 1, 3 * block), fc.nat(200_000))
  const content = fc.record({ bytes: size, seed: fc.nat(9), kind: fc.constantFrom('bin', 'txt') })
  const edit = fc.record({ file: fc.nat(30), at: fc.nat(200_000), content: fc.option(content), remove: fc.boolean() })
  await fc.assert(
    fc.asyncProperty(
      fc.array(content, { minLength: 1, maxLength: 8 }),
      fc.array(edit, { maxLength: 6 }),
      async (files, edits) => {
        const world = new SiteWorld()
        const tree: Record<string, Uint8Array> = {}
        const make = ({ bytes, seed, kind }: { bytes: number; seed: number; kind: string }) =>
          kind === 'bin' ? noise(bytes, seed) : new TextEncoder().encode(`text ${seed} `.repeat(bytes / 7 + 1).slice(0, bytes))
        for (const [number, file] of files.entries()) tree[`d${number % 3}/f${number}.${file.kind}`] = make(file)
        let made = await world.publish(tree)
        await assertReads(world, made.address, tree)
        for (const [round, { file, at, content: fresh, remove }] of edits.entries()) {
          const paths = Object.keys(tree)
          const path = paths[file % paths.length]!
          if (fresh !== null) tree[`new${round}.${fresh.kind}`] = make(fresh)
          else if (remove && paths.length > 1) delete tree[path]
          else if (tree[path]!.length > 0) {
            const edited = tree[path]!.slice()
            edited[at % edited.length]! ^= 0x55
            tree[path] = edited
          }
          made = await world.publish(tree)
          assert.equal(made.version, round + 2)
          const site = await world.open(made.snapshot)
          assert.equal(
            site.bytes,
            Object.values(tree).reduce((sum, { length }) => sum + length, 0),
          )
          for (const [name, bytes] of Object.entries(tree)) {
            assert.deepEqual(Buffer.from(await contentAt(site, `/${name}`)), Buffer.from(bytes), name)
          }
        }
        world.close()
      },
    ),
    { seed: 77, numRuns: 25 },
  )
})

test('any range of a stored file is that part of it, across pieces of several packs', async () => {
  const world = new SiteWorld()
  const bytes = noise(900_000)
  await world.publish({ 'a.bin': bytes })
  for (const at of [100_000, 400_000, 700_000]) {
    bytes[at]! ^= 1
    await world.publish({ 'a.bin': bytes })
  }
  const site = await world.open((await world.publish({ 'a.bin': bytes })).snapshot)
  const found = site.lookUp('/a.bin')
  assert.ok(found.kind === 'entry')
  await fc.assert(
    fc.asyncProperty(fc.nat(bytes.length), fc.nat(bytes.length), async (one, other) => {
      const [start, end] = one < other ? [one, other] : [other, one]
      const read = await collect(found.entry.read({ start, end }, { signal: never }))
      assert.equal(Buffer.compare(read, bytes.subarray(start, end)), 0)
    }),
    { seed: 5, numRuns: 60 },
  )
  assert.throws(() => found.entry.read({ start: 0, end: bytes.length + 1 }, { signal: never }), RangeError)
  world.close()
})

test('small files that lie together cost one fetch, and reads at once share it', async () => {
  const world = new SiteWorld()
  const tree = Object.fromEntries(Array.from({ length: 30 }, (_, number) => [`f${number}.bin`, noise(1500, number)]))
  const { address } = await world.publish(tree)
  const site = await world.open(address)
  const before = world.network.gets
  await Promise.all(Object.keys(tree).map((path) => contentAt(site, `/${path}`)))
  assert.ok(world.network.gets - before <= 8, `${world.network.gets - before} asks for 30 files`)
  world.close()
})

test('a reader that gives up does not take the fetch from one that goes on', async () => {
  const world = new SiteWorld()
  const { address } = await world.publish({ 'a.bin': noise(1000) })
  const found = (await world.open(address)).lookUp('/a.bin')
  assert.ok(found.kind === 'entry')
  const stop = new AbortController()
  const range = { start: 0, end: 1000 }
  const first = collect(found.entry.read(range, { signal: stop.signal }))
  const second = collect(found.entry.read(range, { signal: never }))
  stop.abort(new Error('gone'))
  await assert.rejects(first, /gone/)
  assert.equal((await second).length, 1000)
  world.close()
})

test('the first slice decides: text is compressed, noise that is called text is not, and what is not UTF-8 has no charset', async () => {
  const world = new SiteWorld()
  const made = await world.publish({
    'a.txt': 'hello '.repeat(1000),
    'b.txt': 'short',
    'noise.txt': noise(50_000),
    'latin.html': Uint8Array.from([0xe4, 0xf6, 0xfc]),
    'p.png': noise(5000),
    noextension: 'x',
    'm.mjs': 'export {}',
  })
  const site = await world.open(made.address)
  const shown = Object.fromEntries(
    ['a.txt', 'b.txt', 'noise.txt', 'latin.html', 'p.png', 'noextension', 'm.mjs'].map((path) => {
      const found = site.lookUp(`/${path}`)
      assert.ok(found.kind === 'entry')
      return [path, `${found.entry.contentType} ${found.entry.encoding}`]
    }),
  )
  assert.deepEqual(shown, {
    'a.txt': 'text/plain; charset=utf-8 gzip',
    'b.txt': 'text/plain; charset=utf-8 identity',
    'noise.txt': 'text/plain identity',
    'latin.html': 'text/html identity',
    'p.png': 'image/png identity',
    noextension: 'application/octet-stream identity',
    'm.mjs': 'text/javascript; charset=utf-8 identity',
  })
  world.close()
})

test('entity tags follow the content: equal where it is, other where it is not', async () => {
  const world = new SiteWorld()
  const tags = async (tree: Tree) => {
    const site = await world.open((await world.publish(tree)).snapshot)
    return Object.keys(tree).map((path) => {
      const found = site.lookUp(`/${path}`)
      return found.kind === 'entry' ? found.entry.etag : ''
    })
  }
  const [a1, b1] = await tags({ 'a.bin': noise(100_000), 'b.bin': noise(10) })
  const [a2, b2, c2] = await tags({ 'a.bin': noise(100_000), 'b.bin': noise(10, 2), 'c.bin': noise(100_000) })
  assert.equal(a1, a2)
  assert.equal(c2, a1)
  assert.notEqual(b1, b2)
  assert.match(a1!, /^"[0-9a-f]{32}"$/)
  world.close()
})

test('paths: index.html, redirects to folders, the 404 page, nothing', async () => {
  const world = new SiteWorld()
  const made = await world.publish({
    'index.html': 'root',
    'docs/index.html': 'docs',
    'docs/a b.txt': 'x',
    '404.html': 'no',
    'e/f.txt': 'f',
  })
  const site = await world.open(made.address)
  const kind = (path: string) => {
    const found = site.lookUp(path)
    if (found.kind === 'entry') return found.entry.path
    return found.kind === 'redirect' ? `-> ${found.location}` : `missing ${found.page?.path}`
  }
  assert.deepEqual(
    [
      '/',
      '/docs',
      '/docs/',
      '/docs/a b.txt',
      '/docs/index.html',
      '/e',
      '/e/',
      '/nothing',
      '//',
      '//docs',
      '/docs//',
      '/../index.html',
    ].map(kind),
    [
      ...['index.html', '-> /docs/', 'docs/index.html', 'docs/a b.txt', 'docs/index.html'],
      ...Array.from({ length: 7 }, () => 'missing 404.html'),
    ],
  )
  world.close()
})

test('files: an index that is none, and packs that are not what the index says, are damaged; nothing wrong is read', async () => {
  const world = new SiteWorld()
  const { clock } = world
  const { publishFile } = await import('../../client/publish.ts')
  const lie = (async function* () {
    yield noise(500)
  })()
  const options = { contentType: SITE_CONTENT_TYPE, signal: never }
  const { address } = await publishFile(world.network, lie, options, { rng: seededRng(9), clock })
  await assert.rejects(world.open(address), (error: unknown) => error instanceof OverlayError && error.code === 'CONTENT_DAMAGED')
  void filesOf
  world.close()
})
