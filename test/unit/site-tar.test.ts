/** A tar as the files of a site: what comes out, what is refused, and that it is bounded. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { tarFiles } from '../../client/sites/index.ts'
import { OverlayError } from '../../src/errors/index.ts'
import { collect, never, streamOf } from '../support/fake-share-network.ts'
import { Held } from '../support/held.ts'
import { seededRng } from '../support/seeded-rng.ts'
import { rawHeader, tarOf } from '../support/tar-maker.ts'

async function unpacked(body: AsyncIterable<Uint8Array>): Promise<Record<string, Buffer>> {
  const files: Record<string, Buffer> = {}
  for await (const file of tarFiles(body, { signal: never })) {
    if ('odd' in file) {
      files[`${file.path} ${file.odd}`] = Buffer.alloc(0)
      continue
    }
    const content = Buffer.from(await collect(file.open()))
    assert.equal(content.length, file.bytes)
    files[file.path] = content
  }
  return files
}

const isBad = (error: unknown) => error instanceof OverlayError && error.code === 'SITE_BAD'

test('files come in order with their content; folders and a leading ./ are nothing of their own', async () => {
  const content = seededRng(1).bytes(300_000)
  const tar = await tarOf([
    { name: './', type: 'directory' },
    { name: './index.html', content: '<h1>' },
    { name: 'a/', type: 'directory' },
    { name: 'a/b.bin', content },
    { name: 'empty', content: '' },
    { name: 'ü/ß.txt', content: 'x' },
  ])
  for (const size of [1000, 512, 100_000, tar.length]) {
    const files = await unpacked(streamOf(tar, size))
    assert.deepEqual(Object.keys(files), ['index.html', 'a/b.bin', 'empty', 'ü/ß.txt'])
    assert.equal(Buffer.compare(files['a/b.bin']!, content), 0)
  }
})

test('a long file is passed on and not kept', async () => {
  const tar = await tarOf([{ name: 'long', content: seededRng(3).bytes(2_000_000) }])
  const held = new Held()
  for await (const file of tarFiles(streamOf(tar, 20_000), { signal: never })) {
    assert.ok(!('odd' in file))
    for await (const chunk of file.open()) held.watch(chunk)
    const alive = await held.count()
    assert.ok(alive < 20, `${alive} chunks are still held`)
  }
})

test('PAX names of up to 1024 bytes; one byte more is refused', async () => {
  const part = 'p'.repeat(200)
  const long = `${[part, part, part, part, part].join('/')}/${'q'.repeat(1024 - 5 * 201)}`
  assert.equal(long.length, 1024)
  assert.deepEqual(Object.keys(await unpacked(streamOf(await tarOf([{ name: long, content: 'x' }])))), [long])
  await assert.rejects(unpacked(streamOf(await tarOf([{ name: `${long}q`, content: 'x' }]))), isBad)
})

test('a file that is not opened, or left in the middle, is passed over', async () => {
  const tar = await tarOf([
    { name: 'a', content: seededRng(1).bytes(200_000) },
    { name: 'b', content: seededRng(2).bytes(200_000) },
    { name: 'c', content: 'last' },
  ])
  const seen: string[] = []
  for await (const file of tarFiles(streamOf(tar, 10_000), { signal: never })) {
    assert.ok(!('odd' in file))
    if (file.path === 'b') {
      for await (const _ of file.open()) break
    }
    seen.push(file.path === 'c' ? Buffer.from(await collect(file.open())).toString() : file.path)
  }
  assert.deepEqual(seen, ['a', 'b', 'last'])
})

test('links, devices and pipes come without content, for the guard to refuse', async () => {
  const tar = await tarOf([
    { name: 's', type: 'symlink', linkname: '/etc/passwd' },
    { name: 'h', type: 'link', linkname: 'a' },
    { name: 'c', type: 'character-device' },
    { name: 'b', type: 'block-device' },
    { name: 'f', type: 'fifo' },
    { name: 'a', content: 'x' },
  ])
  assert.deepEqual(Object.keys(await unpacked(streamOf(tar))), [
    ...['s symbolic link', 'h hard link', 'c device', 'b device', 'f pipe', 'a'],
  ])
})

test('absolute paths, .., empty parts, control characters, a path twice: refused', async () => {
  const bad = [
    [{ name: '/etc/x', content: 'x' }],
    [{ name: '../x', content: 'x' }],
    [{ name: 'a/../x', content: 'x' }],
    [{ name: 'a/./x', content: 'x' }],
    [{ name: 'a//x', content: 'x' }],
    [{ name: 'a\nb', content: 'x' }],
    [{ name: '../d/', type: 'directory' as const }],
    [
      { name: 'a', content: 'x' },
      { name: './a', content: 'y' },
    ],
  ]
  for (const entries of bad) await assert.rejects(unpacked(streamOf(await tarOf(entries))), isBad, JSON.stringify(entries))
})

test('a NUL in a PAX path, unknown types, sparse files, names that are no UTF-8, lengths that are none: refused', async () => {
  const end = new Uint8Array(1024)
  const block = (text: string | Buffer) => {
    const bytes = Buffer.alloc(512)
    Buffer.from(text).copy(bytes)
    return bytes
  }
  const pax = (record: string) => {
    const length = `${record.length + 4} ${record}\n`
    return [rawHeader('pax', length.length.toString(8), 'x'), block(length)]
  }
  const cases: Record<string, Uint8Array[]> = {
    nul: [...pax('path=a\0b'), rawHeader('a', '1', '0'), block('x')],
    sparse: [...pax('GNU.sparse.major=1'), rawHeader('a', '1', '0'), block('x')],
    volume: [rawHeader('a', '0', 'V')],
    gnuSparse: [rawHeader('a', '0', 'S')],
    latin: [rawHeader('a', '1', '0', (header) => header.set([0xe4], 0)), block('x')],
    negative: [rawHeader('a', '1', '0', (header) => header.fill(0xff, 124, 135)), block('x')],
    huge: [
      rawHeader('a', '1', '0', (header) => header.set([0x80, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], 124)),
      block('x'),
    ],
    letters: [rawHeader('a', 'zz', '0'), block('x')],
    paxSize: [...pax('size=-5'), rawHeader('a', '1', '0'), block('x')],
  }
  for (const [what, blocks] of Object.entries(cases)) {
    await assert.rejects(unpacked(streamOf(new Uint8Array(Buffer.concat([...blocks, end])))), isBad, what)
  }
})

test('an end in the middle, a wrong checksum, no tar at all: an error, never a short site', async () => {
  const tar = await tarOf([
    { name: 'a', content: 'x'.repeat(5000) },
    { name: 'b', content: 'y'.repeat(100) },
  ])
  for (const length of [100, 512, 1000, 3000, 5632, 6000, 6200, 6700]) {
    await assert.rejects(unpacked(streamOf(tar.slice(0, length), 700)), isBad, `${length}`)
  }
  const wrong = tar.slice()
  wrong[0]! ^= 1
  await assert.rejects(unpacked(streamOf(wrong)), isBad)
  await assert.rejects(unpacked(streamOf(seededRng(3).bytes(4000))), isBad)
})

test('a header that says it is endless, and zeros without end, are cut off after a mebibyte', async () => {
  let sent = 0
  const endless = async function* (head: Uint8Array, fill: number) {
    yield head
    for (;;) {
      sent += 65_536
      yield new Uint8Array(65_536).fill(fill)
    }
  }
  await assert.rejects(unpacked(endless(rawHeader('pax', '77777777777', 'x'), 65)), isBad)
  assert.ok(sent < 2_000_000, `${sent}`)
  sent = 0
  await assert.rejects(unpacked(endless(rawHeader('long', '77777777777', 'L'), 65)), isBad)
  assert.ok(sent < 2_000_000, `${sent}`)
  sent = 0
  await assert.rejects(unpacked(endless(new Uint8Array(512), 0)), isBad)
  assert.ok(sent < 2_000_000, `${sent}`)
})

test('back-pressure: the body is read no faster than the files', async () => {
  let taken = 0
  const tar = await tarOf([{ name: 'a', content: new Uint8Array(3_000_000) }])
  const body = (async function* () {
    for (let at = 0; at < tar.length; at += 50_000) {
      taken += 50_000
      yield tar.slice(at, at + 50_000)
    }
  })()
  for await (const file of tarFiles(body, { signal: never })) {
    assert.ok(!('odd' in file))
    const chunks = file.open()[Symbol.asyncIterator]()
    await chunks.next()
    await new Promise((resolve) => setTimeout(resolve, 20))
    assert.ok(taken < 600_000, `${taken}`)
    await chunks.return?.()
  }
})

test('errors of the body come through as they are, and an abort ends a body that does not move', async () => {
  const failure = new Error('gone')
  const tar = await tarOf([{ name: 'a', content: 'x'.repeat(5000) }])
  const broken = (async function* () {
    yield tar.slice(0, 2000)
    throw failure
  })()
  await assert.rejects(unpacked(broken), failure)
  for (const head of [0, 100, 2000]) {
    const stop = new AbortController()
    const stuck = (async function* () {
      yield tar.slice(0, head)
      await new Promise(() => {})
    })()
    const reading = (async () => {
      for await (const file of tarFiles(stuck, { signal: stop.signal })) if (!('odd' in file)) await collect(file.open())
    })()
    setTimeout(() => stop.abort(failure), 5)
    await assert.rejects(reading, failure, `${head}`)
  }
})

test('random trees come back, whatever the pieces', async () => {
  const name = fc.stringMatching(/^[a-zäö0-9._-]{1,60}$/).filter((text) => text !== '.' && text !== '..')
  const path = fc.array(name, { minLength: 1, maxLength: 5 }).map((parts) => parts.join('/'))
  const files = fc.uniqueArray(fc.record({ name: path, content: fc.uint8Array({ maxLength: 3000 }) }), {
    selector: (file) => file.name,
    maxLength: 12,
  })
  await fc.assert(
    fc.asyncProperty(files, fc.integer({ min: 1, max: 5000 }), async (entries, size) => {
      const back = await unpacked(streamOf(await tarOf(entries), size))
      assert.deepEqual(
        Object.entries(back)
          .map(([key, value]) => `${key} ${value.toString('hex')}`)
          .sort(),
        entries.map((entry) => `${entry.name} ${Buffer.from(entry.content).toString('hex')}`).sort(),
      )
    }),
    { seed: 6, numRuns: 60 },
  )
})

test('a consumer that stops ends the body', async () => {
  let ended = false
  const tar = await tarOf([{ name: 'a', content: new Uint8Array(500_000) }])
  const body = (async function* () {
    try {
      yield* streamOf(tar, 1000)
    } finally {
      ended = true
    }
  })()
  for await (const file of tarFiles(body, { signal: never })) {
    void file
    break
  }
  await new Promise((resolve) => setTimeout(resolve, 10))
  assert.ok(ended)
})
