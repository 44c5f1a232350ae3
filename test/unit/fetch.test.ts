/** Fetching from holders that do their part: every length and range, what a range costs, read-ahead, abort. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { openFile } from '../../client/fetch.ts'
import { publishFile } from '../../client/publish.ts'
import { formatFileAddress } from '../../src/content/address.ts'
import { paddedLength } from '../../src/content/layout.ts'
import { isOverlayError } from '../../src/errors/index.ts'
import { collect, FakeShareNetwork, never, stillClock, streamOf } from '../support/fake-share-network.ts'
import { seededRng } from '../support/seeded-rng.ts'

const partsOf = (seed: number) => ({ rng: seededRng(seed), clock: stillClock })
const waiting = { signal: never }

async function published(size: number, nodes = 8, seed = 1) {
  const network = new FakeShareNetwork(nodes, seed)
  const body = seededRng(`body ${seed}`).bytes(size)
  const options = { signal: never, name: 'ü.bin', contentType: 'image/png' }
  const { address } = await publishFile(network, streamOf(body), options, partsOf(seed))
  const file = await openFile(network, address, partsOf(seed + 1), waiting)
  return { network, body, address, file }
}

test('every length comes back whole: nothing, one byte, the edges of blocks, segments and index levels', async () => {
  const block = 65_536
  const sizes = [
    0,
    1,
    block - 1,
    block,
    block + 1,
    10 * block - 1,
    10 * block,
    10 * block + 1,
    3_000_000,
    160 * block,
    161 * block,
    12_345_678,
  ]
  for (const size of sizes) {
    const { file, body, address } = await published(size)
    assert.deepEqual([file.bytes, file.name, file.contentType, file.address], [size, 'ü.bin', 'image/png', address])
    assert.equal(file.etag, `"${address}"`)
    const read = file.read({ start: 0, end: size }, waiting)
    assert.equal(Buffer.compare(await collect(read), body), 0, `${size}`)
    const blocks = Math.ceil(size / block)
    assert.equal(read.counters.bad, 0)
    // The content's blocks (padding is not read), and above 480 addresses the blocks of the index.
    const index = paddedLength(size) > 160 * block ? 1 : 0
    assert.deepEqual([read.counters.asked, read.counters.received], [blocks + index, blocks + index])
  }
})

test('any address case opens; a wrong one says what is wrong', async () => {
  const { network, address } = await published(10)
  assert.equal((await openFile(network, address.toUpperCase(), partsOf(1), waiting)).address, address)
  await assert.rejects(openFile(network, `${address.slice(1)}x`, partsOf(1), waiting), (error) =>
    isOverlayError(error, 'ADDRESS_BAD'),
  )
  const unknown = formatFileAddress(new Uint8Array(32))
  await assert.rejects(openFile(network, unknown, partsOf(1), waiting), (error) => isOverlayError(error, 'CONTENT_NOT_FOUND'))
  for (const node of network.nodes) node.state = 'gone'
  await assert.rejects(openFile(network, address, partsOf(1), waiting), (error) => isOverlayError(error, 'NETWORK_TOO_SMALL'))
})

test('a root is found with few asks', async () => {
  const { network, address } = await published(10)
  network.gets = 0
  await openFile(network, address, partsOf(4), waiting)
  assert.equal(network.gets, 3)
})

test('a range costs the blocks that it touches, and index blocks on its way', async () => {
  const small = await published(3_000_000)
  const large = await published(14_000_000, 8, 2)
  await fc.assert(
    fc.asyncProperty(fc.boolean(), fc.nat(14_000_000), fc.nat(400_000), async (isLarge, from, length) => {
      const { file, body } = isLarge ? large : small
      const start = Math.min(from, file.bytes)
      const end = Math.min(file.bytes, start + length)
      const read = file.read({ start, end }, waiting)
      assert.equal(Buffer.compare(await collect(read), body.subarray(start, end)), 0)
      const touched = start === end ? 0 : Math.floor((end - 1) / 65_536) - Math.floor(start / 65_536) + 1
      assert.ok(read.counters.asked >= touched && read.counters.asked <= touched + (isLarge ? 1 : 0))
    }),
    { seed: 3, numRuns: 60 },
  )
  for (const [start, end] of [
    [-1, 5],
    [5, 4],
    [0, 3_000_001],
    [0.5, 2],
  ] as const) {
    assert.throws(() => small.file.read({ start, end }, waiting), RangeError)
  }
})

test('one opened file serves several reads at once', async () => {
  const { file, body } = await published(11_000_000)
  const reads = Array.from({ length: 6 }, (_, at) => ({ start: at * 1_500_000, end: at * 1_500_000 + 3_000_000 }))
  await Promise.all(
    reads.map(async (range) => {
      assert.equal(Buffer.compare(await collect(file.read(range, waiting)), body.subarray(range.start, range.end)), 0)
    }),
  )
})

test('a reader that stops taking stops the asking: at most four segments ahead', async () => {
  const { network, file } = await published(10_000_000)
  network.gets = 0
  const stream = file.read({ start: 0, end: file.bytes }, waiting)[Symbol.asyncIterator]()
  for (let taken = 0; taken < 10; taken++) {
    await stream.next()
    for (let turns = 0; turns < 20; turns++) await new Promise((resolve) => setImmediate(resolve))
    assert.ok(network.gets <= 40, `${network.gets}`)
  }
  assert.equal(network.underWay, 0)
  await stream.return?.()
})

test('leaving a read early, or aborting it, ends everything that it started', async () => {
  const { network, file } = await published(5_000_000)
  for (const node of network.nodes) node.state = 'silent'
  const controller = new AbortController()
  const reason = new Error('enough')
  const stream = file.read({ start: 0, end: file.bytes }, { signal: controller.signal })[Symbol.asyncIterator]()
  const first = stream.next()
  for (let turn = 0; network.underWay === 0 && turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve))
  assert.ok(network.underWay > 0)
  controller.abort(reason)
  await assert.rejects(first, (error) => error === reason)
  await new Promise((resolve) => setImmediate(resolve))
  assert.equal(network.underWay, 0)

  for (const node of network.nodes) node.state = 'up'
  for await (const piece of file.read({ start: 0, end: file.bytes }, waiting)) {
    assert.ok(piece.length > 0)
    for (const node of network.nodes) node.state = 'silent'
    break
  }
  await new Promise((resolve) => setImmediate(resolve))
  assert.equal(network.underWay, 0)

  const opening = openFile(network, file.address, partsOf(1), { signal: AbortSignal.abort(reason) })
  await assert.rejects(opening, (error) => error === reason)
  const later = new AbortController()
  const hanging = openFile(network, file.address, partsOf(1), { signal: later.signal })
  setImmediate(() => later.abort(reason))
  await assert.rejects(hanging, (error) => error === reason)
  await new Promise((resolve) => setImmediate(resolve))
  assert.equal(network.underWay, 0)
})
