/**
 * Fetching from holders that vanish, stall and lie. P9: any half of 8 nodes gone, the publisher among them, and content comes whole. P10: nothing
 * wrong is ever delivered, whoever lies in whatever way.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openFile, PERSIST_MS } from '../../client/fetch.ts'
import { publishFile } from '../../client/publish.ts'
import { concat, type NodeId, toHex } from '../../src/bytes/index.ts'
import { formatFileAddress, parseAddress } from '../../src/content/address.ts'
import { SHARE_BYTES } from '../../src/content/constants.ts'
import { shapeOf } from '../../src/content/layout.ts'
import { Ranking } from '../../src/content/placement.ts'
import { encodeRoot, levelKey, rootHash, rootKeys, sealRoot } from '../../src/content/root.ts'
import { shareAddress } from '../../src/content/share.ts'
import { signSlot, slotLocation } from '../../src/content/slot.ts'
import { chacha20Xor } from '../../src/crypto/index.ts'
import { isOverlayError } from '../../src/errors/index.ts'
import type { Clock } from '../../src/runtime/index.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { collect, type FakeNode, FakeShareNetwork, never, stillClock, streamOf } from '../support/fake-share-network.ts'
import { seededRng } from '../support/seeded-rng.ts'

const waiting = { signal: never }

async function published(size: number, nodes: number, seed: number, clock: Clock = stillClock) {
  const network = new FakeShareNetwork(nodes, seed, { clock })
  const body = seededRng(`body ${seed}`).bytes(size)
  const { address } = await publishFile(network, streamOf(body), { signal: never }, { rng: seededRng(seed), clock: stillClock })
  return { network, body, address }
}

async function fetched(network: FakeShareNetwork, address: string, seed = 1, clock: Clock = stillClock) {
  const file = await openFile(network, address, { rng: seededRng(seed), clock }, waiting)
  const read = file.read({ start: 0, end: file.bytes }, waiting)
  return { bytes: await collect(read), counters: read.counters }
}

/** Every way to choose `count` of 0 … `of` - 1. */
function choices(of: number, count: number): number[][] {
  return Array.from({ length: 1 << of }, (_, mask) =>
    Array.from({ length: of }, (_, at) => at).filter((at) => (mask >> at) & 1),
  ).filter((chosen) => chosen.length === count)
}

test('P9: every choice of 4 of 8 nodes gone leaves k shares of every segment and a root slot (k = 1 to 10)', async () => {
  for (let k = 1; k <= 10; k++) {
    for (let seed = 1; seed <= 3; seed++) {
      const { network } = await published(k * SHARE_BYTES, 8, 100 * k + seed)
      for (const gone of choices(8, 4)) {
        const left = network.nodes.filter((_, at) => !gone.includes(at))
        const shares = left.reduce((sum, node) => sum + node.shares.size, 0)
        const slots = left.reduce((sum, node) => sum + node.slots.size, 0)
        assert.ok(shares >= k && slots >= 1, `k ${k}, seed ${seed}, gone ${gone}`)
      }
    }
  }
})

test('P9: content is fetched whole in each of these cases, the nodes unreachable or out of the directory, the publisher too', async () => {
  for (const [k, state] of [
    [1, 'dead'],
    [1, 'gone'],
    [3, 'dead'],
    [4, 'gone'],
    [10, 'dead'],
    [10, 'gone'],
  ] as const) {
    const { network, body, address } = await published(k * SHARE_BYTES - 7, 8, k)
    for (const gone of choices(8, 4)) {
      for (const [at, node] of network.nodes.entries()) node.state = gone.includes(at) ? state : 'up'
      const { bytes, counters } = await fetched(network, address)
      assert.equal(Buffer.compare(bytes, body), 0, `k ${k}, ${state} ${gone}`)
      assert.equal(counters.bad, 0)
    }
  }
})

test('P9 in other networks: half of 4, 5, 11, 16, 23 and 30 nodes; a random third of 60', async () => {
  for (const [nodes, away] of [
    [4, 2],
    [5, 2],
    [11, 5],
    [16, 8],
    [23, 11],
    [30, 15],
    [60, 20],
  ] as const) {
    for (const state of ['dead', 'gone'] as const) {
      const { network, body, address } = await published(1_000_000, nodes, nodes)
      const rng = seededRng(nodes)
      while (network.nodes.filter((node) => node.state !== 'up').length < away) network.nodes[rng.below(nodes)]!.state = state
      assert.equal(Buffer.compare((await fetched(network, address)).bytes, body), 0, `${away} of ${nodes} ${state}`)
    }
  }
})

test('nodes that joined since are asked in vain, and content comes whole', async () => {
  const { network, body, address } = await published(1_500_000, 8, 5)
  const grown = new FakeShareNetwork(12, 'others')
  for (const [at, node] of network.nodes.entries()) Object.assign(grown.nodes[at]!, node)
  assert.equal(Buffer.compare((await fetched(grown, address)).bytes, body), 0)
})

test('more than half gone for longer than a read waits is an error, never a short or wrong answer', async () => {
  const clock = new FakeClock()
  const { network, address } = await published(640_000, 8, 3, clock)
  const fails = async () => {
    const reading = assert.rejects(fetched(network, address, 1, clock), (error) => isOverlayError(error, 'CONTENT_NOT_FOUND'))
    await clock.runFor(reading, 2 * PERSIST_MS + 1_000)
    assert.equal(network.underWay, 0)
    assert.equal(clock.pendingTimers, 0)
  }
  for (const node of network.nodes.slice(2)) node.state = 'dead'
  await fails()
  for (const node of network.nodes) node.state = 'dead'
  await fails()
})

test('more than half gone for some seconds, or silent: a read waits, asks them again, and is whole', async () => {
  for (const state of ['dead', 'silent'] as const) {
    const clock = new FakeClock()
    const { network, body, address } = await published(6_000_000, 8, 3, clock)
    for (const node of network.nodes) node.delayMs = 20
    const away = (are: boolean) => {
      for (const node of network.nodes.slice(1)) node.state = are ? state : 'up'
    }
    away(true)
    const opening = openFile(network, address, { rng: seededRng(2), clock }, waiting)
    await clock.advance(5_000)
    away(false)
    const file = await clock.runFor(opening, state === 'dead' ? 3_000 : 30_000)
    const reading = collect(file.read({ start: 0, end: file.bytes }, waiting))
    await clock.advance(150)
    away(true)
    const before = network.gets
    await clock.advance(12_000)
    assert.ok(network.gets - before < 3_000, `${network.gets - before} asks in 12 s`)
    away(false)
    assert.equal(Buffer.compare(await clock.runFor(reading, 30_000), body), 0)
    assert.equal(clock.pendingTimers, 0)
  }
})

test('nobody has it, and half of the nodes or more say so: that is an answer, at once', async () => {
  const clock = new FakeClock()
  const { network } = await published(1_000, 8, 3, clock)
  for (const node of network.nodes) node.delayMs = 10
  for (const node of network.nodes.slice(4)) node.state = 'dead'
  const unknown = formatFileAddress(new Uint8Array(32))
  const began = clock.monotonicMs()
  await clock.runFor(
    assert.rejects(fetched(network, unknown, 1, clock), (error) => isOverlayError(error, 'CONTENT_NOT_FOUND')),
    10_000,
  )
  assert.ok(clock.monotonicMs() - began < 1_000)
  // A share that all its holders say they do not have is gone, whoever else is silent.
  const small = await published(1_000, 8, 4, clock)
  for (const node of small.network.nodes) node.shares.clear()
  await clock.runFor(
    assert.rejects(fetched(small.network, small.address, 1, clock), (error) => isOverlayError(error, 'CONTENT_NOT_FOUND')),
    1_000,
  )
})

type Lie = (address: Uint8Array, right: Uint8Array | null, node: FakeNode) => Uint8Array | null

const LIES: Readonly<Record<string, Lie>> = {
  flipped: (_, right) => right?.map((byte, at) => (at === 40_000 ? byte ^ 1 : byte)) ?? null,
  'another share': (_, right, node) => [...node.shares.values()].find((share) => share !== right) ?? null,
  truncated: (_, right) => right?.slice(0, -1) ?? null,
  longer: (_, right) => (right === null ? null : new Uint8Array([...right, 0])),
  empty: () => new Uint8Array(0),
  zeros: () => new Uint8Array(SHARE_BYTES),
}

test('P10: liars of every kind, 3 of 8: right bytes come all the same, and each bad share is counted', async () => {
  const { network, body, address } = await published(1_300_000, 8, 11)
  for (const [name, lie] of Object.entries(LIES)) {
    for (const [at, node] of network.nodes.entries()) node.lie = at < 3 ? (place, right) => lie(place, right, node) : null
    const { bytes, counters } = await fetched(network, address)
    assert.equal(Buffer.compare(bytes, body), 0, name)
    assert.ok(counters.bad > 0 && counters.bad <= counters.asked - counters.received, name)
  }
})

test('P10: holders that were honest turn to wrong bytes in the middle of a read: it goes on, whole and right', async () => {
  for (const [name, lie] of Object.entries(LIES)) {
    const { network, body, address } = await published(6_000_000, 8, 11)
    const file = await openFile(network, address, { rng: seededRng(1), clock: stillClock }, waiting)
    const read = file.read({ start: 0, end: file.bytes }, waiting)
    const pieces: Uint8Array[] = []
    for await (const piece of read) {
      pieces.push(piece)
      if (pieces.length === 20) for (const node of network.nodes.slice(0, 3)) node.lie = (place, right) => lie(place, right, node)
    }
    assert.equal(Buffer.compare(concat(...pieces), body), 0, name)
    assert.ok(read.counters.bad > 0, name)
  }
})

test('P10: when every holder lies nothing is delivered and the error says so', async () => {
  const { network, address } = await published(1_300_000, 8, 12)
  for (const [name, lie] of Object.entries(LIES)) {
    for (const node of network.nodes) node.lie = (place, right) => lie(place, right, node)
    const file = await openFile(network, address, { rng: seededRng(1), clock: stillClock }, waiting)
    let delivered = 0
    const reading = async () => {
      for await (const piece of file.read({ start: 0, end: file.bytes }, waiting)) delivered += piece.length
    }
    await assert.rejects(reading(), (error) => isOverlayError(error, 'CONTENT_DAMAGED'), name)
    assert.equal(delivered, 0)
  }
})

test('one bad share costs one more ask', async () => {
  const { network, body, address } = await published(650_000, 8, 13)
  let lies = 1
  for (const node of network.nodes) node.lie = (_, right) => (right !== null && lies-- > 0 ? new Uint8Array(SHARE_BYTES) : right)
  const { bytes, counters } = await fetched(network, address)
  assert.equal(Buffer.compare(bytes, body), 0)
  assert.deepEqual({ ...counters }, { asked: 11, received: 10, bad: 1 })
})

test('P10: other variants of the root, also ones signed by somebody who knows the address, are passed over', async () => {
  const { network, body, address } = await published(50_000, 8, 14)
  const { key } = parseAddress(address)!
  const keys = rootKeys(key)
  const other = encodeRoot({
    ...{ sigma: new Uint8Array(32), length: 9, spread: 8, name: 'evil', contentType: 'text/html' },
    addresses: new Uint8Array(shapeOf(9, 8)[0]!.addressBytes),
  })
  const forged = (slot: number) => signSlot(keys.signing, slot, sealRoot(keys, other))
  const foreign = (slot: number) => signSlot(rootKeys(new Uint8Array(32)).signing, slot, sealRoot(keys, other))
  const broken = (slot: number) => ({ ...forged(slot), signature: new Uint8Array(64) })
  const variants = [0, 1, 2, 3, 4].flatMap((slot) => [forged(slot), foreign(slot), broken(slot)])
  // Beside the right value: it is still found.
  for (const node of network.nodes)
    node.slotLie = (right) => (right.length === 0 ? [] : [forged(right[0]!.slot), foreign(1), ...right])
  assert.equal(Buffer.compare((await fetched(network, address)).bytes, body), 0)
  // Some holders lie, one has it.
  for (const [at, node] of network.nodes.entries()) node.slotLie = at < 3 ? () => variants : null
  assert.equal(Buffer.compare((await fetched(network, address)).bytes, body), 0)
  // All lie: an error, and not the other root.
  for (const node of network.nodes) node.slotLie = () => variants
  await assert.rejects(fetched(network, address), (error) => isOverlayError(error, 'CONTENT_DAMAGED'))
})

test('silent holders cost patience once, not their time-outs', async () => {
  const clock = new FakeClock()
  const { network, body, address } = await published(6_000_000, 8, 15, clock)
  for (const node of network.nodes) node.delayMs = 30
  for (const at of [1, 4, 6]) network.nodes[at]!.state = 'silent'
  const started = clock.monotonicMs()
  const { bytes } = await clock.runFor(fetched(network, address, 1, clock), 60_000)
  assert.equal(Buffer.compare(bytes, body), 0)
  const tookMs = clock.monotonicMs() - started
  assert.ok(tookMs < 4000, `${tookMs} ms`)
  assert.equal(clock.pendingTimers, 0)
})

test('a slow holder is not waited for, and the first bytes do not wait for the segment', async () => {
  const clock = new FakeClock()
  const { network, body, address } = await published(2_600_000, 8, 16, clock)
  for (const node of network.nodes) node.delayMs = 20
  network.nodes[2]!.delayMs = 8000
  const file = await clock.runFor(openFile(network, address, { rng: seededRng(3), clock }, waiting))
  const started = clock.monotonicMs()
  const read = file.read({ start: 0, end: file.bytes }, waiting)
  const { bytes, firstMs } = await clock.runFor(
    (async () => {
      const pieces: Uint8Array[] = []
      let firstMs = -1
      for await (const piece of read) {
        if (firstMs < 0) firstMs = clock.monotonicMs() - started
        pieces.push(piece)
      }
      return { bytes: Buffer.concat(pieces), firstMs }
    })(),
  )
  assert.equal(Buffer.compare(bytes, body), 0)
  assert.ok(firstMs <= 800, `first bytes after ${firstMs} ms`)
  assert.ok(clock.monotonicMs() - started < 3000)
  assert.equal(clock.pendingTimers, 0)
  assert.equal(network.underWay, 0)
})

test('one block whose holder is dead is computed from others, within the segment', async () => {
  const { network, body, address } = await published(650_000, 8, 17)
  for (const [at, node] of network.nodes.entries()) {
    // Opened anew: a holder that failed is asked last for a while.
    for (const other of network.nodes) other.state = 'up'
    const file = await openFile(network, address, { rng: seededRng(1), clock: stillClock }, waiting)
    node.state = 'dead'
    for (let block = 0; block < 9; block++) {
      const range = { start: block * SHARE_BYTES + 5, end: block * SHARE_BYTES + 9 }
      const read = file.read(range, waiting)
      assert.equal(Buffer.compare(await collect(read), body.subarray(range.start, range.end)), 0, `node ${at}`)
      // Itself, or with it the holder that ranks next and 10 others.
      assert.ok(read.counters.asked === 1 || read.counters.asked <= 16, `${read.counters.asked}`)
    }
  }
})

test('P10: parity that does not belong to the data delivers nothing; the data itself still comes', async () => {
  const network = new FakeShareNetwork(8, 18)
  const rng = seededRng(18)
  const sigma = rng.bytes(32)
  const body = rng.bytes(2 * SHARE_BYTES)
  const data = [0, 1].map((block) =>
    chacha20Xor(levelKey(sigma, 0), block, body.subarray(block * SHARE_BYTES, (block + 1) * SHARE_BYTES)),
  )
  const shares = [...data, ...Array.from({ length: 4 }, () => rng.bytes(SHARE_BYTES))]
  const addresses = shares.map(shareAddress)
  const root = encodeRoot({
    ...{ sigma, length: body.length, spread: 8, name: '', contentType: 'a/b', addresses: concat(...addresses) },
  })
  const s = rootHash(root)
  const ranking = new Ranking(network.holders())
  for (const [at, node] of ranking.place(addresses).entries()) await network.putShare(node, shares[at]!, waiting)
  const keys = rootKeys(s)
  for (let slot = 0; slot < 5; slot++) {
    const value = signSlot(keys.signing, slot, sealRoot(keys, root))
    await network.putSlot(ranking.order(slotLocation(value.publicKey, slot))[0]!, value, waiting)
  }
  const address = formatFileAddress(s)
  assert.equal(Buffer.compare((await fetched(network, address)).bytes, body), 0)

  // The first data share is on no holder: 5 others are, any 2 of which should do, and do not.
  for (const node of network.nodes) node.shares.delete(toHex(addresses[0]!))
  const file = await openFile(network, address, { rng: seededRng(1), clock: stillClock }, waiting)
  let delivered = 0
  const reading = async () => {
    for await (const piece of file.read({ start: 0, end: file.bytes }, waiting)) delivered += piece.length
  }
  await assert.rejects(reading(), (error) => isOverlayError(error, 'CONTENT_DAMAGED'))
  assert.equal(delivered, 0)
  const second = { start: SHARE_BYTES, end: body.length }
  assert.equal(Buffer.compare(await collect(file.read(second, waiting)), body.subarray(SHARE_BYTES)), 0)
})

test('P10: an index block that is damaged everywhere is an error, and no byte of what it covers comes', async () => {
  const { network, address } = await published(12_000_000, 8, 19)
  const file = await openFile(network, address, { rng: seededRng(1), clock: stillClock }, waiting)
  const flip = (_: Uint8Array, right: Uint8Array | null) => right?.map((byte, at) => (at === 9 ? byte ^ 4 : byte)) ?? null
  for (const node of network.nodes) node.lie = flip
  const reading = collect(file.read({ start: 11_000_000, end: 11_000_001 }, waiting))
  await assert.rejects(reading, (error) => isOverlayError(error, 'CONTENT_DAMAGED'))
})

test('a holder that no loop leads to any more is not waited for where others can be asked; nobody else is asked where none can', async () => {
  const clock = new FakeClock()
  const { network, body, address } = await published(2 * 10 * SHARE_BYTES, 8, 21, clock)
  /** Nodes that a loop leads to, and how many asks wait for one. */
  let reached = new Set(network.nodes.map(({ id }) => id))
  let waits = 0
  Object.assign(network, {
    near: (node: NodeId) => reached.has(node),
    ready: async (node: NodeId, _: number, { signal }: { signal: AbortSignal }) => {
      await clock.sleep(1, { signal })
      if (reached.has(node)) return
      waits++
      await new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason), { once: true }))
    },
  })
  const file = await clock.runFor(openFile(network, address, { rng: seededRng(1), clock }, waiting), 1_000)
  const all = { start: 0, end: file.bytes }
  const reading = collect(file.read(all, waiting))
  await clock.advance(0) // asks wait for their turn
  reached = new Set(network.nodes.slice(0, 5).map(({ id }) => id))
  assert.equal(Buffer.compare(await clock.runFor(reading, 5_000), body), 0)
  assert.ok(waits > 0)

  reached = new Set()
  const ending = new AbortController()
  const lost = collect(file.read(all, { signal: ending.signal })).catch(() => {})
  await clock.advance(100)
  const before = waits
  await clock.advance(60_000)
  assert.equal(waits, before)
  ending.abort()
  await lost
})
