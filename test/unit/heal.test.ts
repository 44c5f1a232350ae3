/** Healing on read: what a read found missing is put back later, at its proper holders, within a budget; liars and floods gain nothing. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openFile } from '../../client/fetch.ts'
import { HEAL_BYTES_PER_HOUR, HEAL_QUEUE_BYTES, Healer, type Loss, lostShare, ReadGaps } from '../../client/heal/index.ts'
import { publishFile } from '../../client/publish.ts'
import { equalPublic, type NodeId, toHex } from '../../src/bytes/index.ts'
import { encodeParity, rebuildShares } from '../../src/content/erasure.ts'
import { Ranking } from '../../src/content/placement.ts'
import { isShareOf, shareAddress } from '../../src/content/share.ts'
import { OverlayError } from '../../src/errors/index.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { collect, type FakeNode, FakeShareNetwork, never, stillClock, streamOf } from '../support/fake-share-network.ts'
import { seededRng } from '../support/seeded-rng.ts'

const MINUTE = 60_000
const HOUR = 60 * MINUTE

/** A network with one publication, its healer, and a way to read it through that. */
async function world(seed: number, bytes = 640_000, nodes = 8) {
  const network = new FakeShareNetwork(nodes, seed)
  const body = seededRng(seed).bytes(bytes)
  const options = { signal: never, name: 'x' }
  const { address } = await publishFile(network, streamOf(body), options, { rng: seededRng(seed + 1), clock: stillClock })
  const clock = new FakeClock()
  let closed = 0
  const shared: ConstructorParameters<typeof Healer>[0] = {
    fresh: () => sessionOf(network, () => closed++),
    clock,
    rng: seededRng(3),
  }
  const healer = new Healer(shared)
  const heal = (loss: Loss) => healer.add(loss)
  const read = async () => {
    const file = await openFile(network, address, { rng: seededRng(9), clock: stillClock, heal }, { signal: never })
    const got = await collect(file.read({ start: 0, end: file.bytes }, { signal: never }))
    // What was missing is computed in turns of the event loop of its own.
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve))
    assert.ok(equalPublic(got, body))
  }
  return { network, body, address, clock, healer, heal, read, closed: () => closed }
}

function sessionOf(network: FakeShareNetwork, onClose: () => void) {
  return {
    self: network.self,
    holders: () => network.holders(),
    putShare: network.putShare.bind(network),
    getShare: network.getShare.bind(network),
    putSlot: network.putSlot.bind(network),
    getSlots: network.getSlots.bind(network),
    checkShare: network.checkShare.bind(network),
    checkSlot: network.checkSlot.bind(network),
    close: onClose,
  }
}

/** The node that has the most shares, besides the reader's own. */
function fullest(network: FakeShareNetwork): FakeNode {
  return network.nodes.slice(1).toSorted((a, b) => b.shares.size - a.shares.size)[0]!
}

test('rebuilding gives any share from any k others', () => {
  const rng = seededRng(1)
  for (const [k, n] of [
    [1, 4],
    [3, 9],
    [10, 30],
  ] as const) {
    const data = Array.from({ length: k }, () => rng.bytes(64))
    const parity = Array.from({ length: n - k }, () => new Uint8Array(64))
    encodeParity(data, k, parity)
    const all = [...data, ...parity]
    for (let round = 0; round < 20; round++) {
      const order = [...all.keys()].sort(() => rng.unit() - 0.5)
      const shares = order.slice(0, k).map((index) => ({ index, bytes: all[index]! }))
      const wanted = order.slice(k)
      for (const [at, share] of rebuildShares(k, shares, wanted).entries()) assert.deepEqual(share, all[wanted[at]!])
    }
  }
})

test('shares and slots that a read found missing are back after minutes, and not a byte before', async () => {
  const { network, clock, healer, read, closed } = await world(1)
  const lost = fullest(network)
  const had = new Map(lost.shares)
  const slots = new Map(lost.slots)
  lost.shares.clear()
  lost.slots.clear()
  const { puts } = network
  await read()
  const { waiting } = healer.stats
  assert.ok(waiting > 0)
  await clock.advance(MINUTE - 1)
  assert.equal(network.puts, puts)
  await clock.advance(10 * MINUTE)
  assert.equal(network.puts, puts + waiting)
  assert.equal(healer.stats.healed, waiting)
  assert.equal(healer.stats.waitingBytes, 0)
  assert.equal(closed(), waiting, 'each over loops of its own')
  assert.equal(lost.shares.size + lost.slots.size, waiting)
  for (const [address, share] of lost.shares) assert.deepEqual(share, had.get(address))
  for (const [location, values] of lost.slots) {
    assert.deepEqual(
      values.map(({ value }) => toHex(value)),
      slots.get(location)!.map(({ value }) => toHex(value)),
    )
  }
  // Healed: the next read finds nothing more.
  await read()
  assert.equal(healer.stats.waiting, 0)
  await healer.close()
  assert.equal(clock.pendingTimers, 0)
})

test('every holder wiped in turn: reads and their heals keep the content alive', async () => {
  const { network, clock, healer, read } = await world(2, 200_000)
  for (const node of network.nodes) {
    node.shares.clear()
    node.slots.clear()
    for (let times = 0; times < 3; times++) {
      await read()
      await clock.advance(7 * HOUR)
    }
  }
  assert.ok(healer.stats.healed > 8)
  await healer.close()
})

test('a holder that cannot be reached is healed elsewhere; one that is back with what it had is left alone', async () => {
  for (const back of [false, true]) {
    const { network, clock, healer, read } = await world(3)
    const away = fullest(network)
    away.state = 'dead'
    const { puts } = network
    await read()
    const { waiting } = healer.stats
    assert.ok(waiting > 0)
    if (back) away.state = 'up'
    await clock.advance(20 * MINUTE)
    const { healed, there } = healer.stats
    assert.deepEqual([healed, there], back ? [0, waiting] : [waiting, 0])
    assert.equal(network.puts, puts + healed)
    await healer.close()
  }
})

test('who lies gets nothing back: its shares go to others', async () => {
  const { network, clock, healer, read } = await world(4)
  const liar = fullest(network)
  liar.lie = (_, right) => right?.map((byte) => byte ^ 1) ?? null
  liar.slotLie = (right) => right.map((slot) => ({ ...slot, value: slot.value.map((byte) => byte ^ 1) }))
  const mine = liar.asked
  await read()
  const { waiting } = healer.stats
  assert.ok(waiting > 0)
  const asked = liar.asked
  assert.ok(asked > mine)
  await clock.advance(20 * MINUTE)
  assert.equal(liar.asked, asked)
  assert.equal(healer.stats.healed, waiting)
  await healer.close()
})

test('who confirms and keeps nothing costs one put in six hours for each share, whatever it proves', async () => {
  const { network, clock, healer, read } = await world(5)
  const liar = fullest(network)
  liar.shares.clear()
  liar.slots.clear()
  liar.forgets = true
  liar.proofLie = () => seededRng(1).bytes(32)
  const { puts } = network
  for (let times = 0; times < 5; times++) {
    await read()
    await clock.advance(HOUR)
  }
  const once = network.puts - puts
  assert.ok(once > 0)
  await clock.advance(2 * HOUR)
  await read()
  await clock.advance(HOUR)
  assert.equal(network.puts - puts, 2 * once)
  await healer.close()
})

const nobody = 'aa'.repeat(32) as NodeId
function lossOf(name: string, bytes: number, puts: string[]): Loss {
  return { name, bytes, holders: [nobody], isAt: async () => false, put: async () => void puts.push(name) }
}

test('what waits is bounded in bytes, and what is put back in bytes an hour', async () => {
  const { clock, healer } = await world(6, 10)
  const puts: string[] = []
  const each = 65_536
  const most = HEAL_QUEUE_BYTES / each
  for (let at = 0; at < most + 10; at++) healer.add(lossOf(`first ${at}`, each, puts))
  assert.equal(healer.stats.waitingBytes, HEAL_QUEUE_BYTES)
  assert.equal(healer.stats.dropped, 10)
  for (let minute = 0; minute < 60; minute++) {
    await clock.advance(MINUTE)
    for (let at = 0; at < most; at++) healer.add(lossOf(`${minute} ${at}`, each, puts))
    assert.ok(healer.stats.waitingBytes <= HEAL_QUEUE_BYTES)
  }
  const bytes = puts.length * each
  assert.ok(bytes <= HEAL_BYTES_PER_HOUR * 1.04, `${bytes} bytes in an hour`)
  assert.ok(bytes > HEAL_BYTES_PER_HOUR * 0.5, `${bytes} bytes in an hour`)
  await healer.close()
  assert.equal(clock.pendingTimers, 0)
  healer.add(lossOf('late', each, puts))
  assert.equal(healer.stats.waiting, 0)
})

test('closing ends a heal that hangs; nothing is put afterwards', async () => {
  const { network, clock, healer, read } = await world(7)
  const lost = fullest(network)
  lost.shares.clear()
  await read()
  for (const node of network.nodes) node.state = 'silent'
  const { puts } = network
  await clock.advance(10 * MINUTE)
  await healer.close()
  assert.equal(network.puts, puts)
  assert.equal(network.underWay, 0)
  assert.equal(clock.pendingTimers, 0)
})

test('a holder that never answers is given up after its time, and the next one gets the share', async () => {
  const { network, clock, healer, heal } = await world(8, 10)
  const share = seededRng(1).bytes(65_536)
  const address = shareAddress(share)
  const ranking = new Ranking(network.holders())
  const [proper, ...others] = ranking.order(address)
  network.node(proper!).state = 'silent'
  heal(lostShare(share, address, { ranking, placed: [proper!], proper: proper!, kind: 'absent' }))
  await clock.advance(12 * MINUTE)
  assert.ok(network.node(others[0]!).shares.has(toHex(address)))
  await healer.close()
})

test('what does not hash to its address is not put back, nor more than 32 shares of one read', async () => {
  const rng = seededRng(11)
  const ranking = new Ranking(new FakeShareNetwork(8).holders())
  const data = Array.from({ length: 2 }, () => rng.bytes(65_536))
  const parity = Array.from({ length: 38 }, () => new Uint8Array(65_536))
  encodeParity(data, 2, parity)
  const all = [...data, ...parity]
  const addressOf = (share: Uint8Array, at: number) => (at === 5 ? rng.bytes(32) : shareAddress(share))
  const addresses = new Uint8Array(Buffer.concat(all.map(addressOf)))
  const placed = ranking.place(all.map((_, at) => addresses.subarray(32 * at, 32 * at + 32)))
  const got: Loss[] = []
  const gaps = new ReadGaps({ ranking, clock: stillClock, heal: (loss) => void got.push(loss) })
  const missing = new Map(all.map((_, at) => [at, 'absent' as const]))
  gaps.segment({ k: 2, addresses, placed, shares: data.map((bytes, index) => ({ index, bytes })), gaps: missing })
  await new Promise((resolve) => setImmediate(resolve))
  await new Promise((resolve) => setImmediate(resolve))
  assert.equal(got.length, 0, 'nothing before the end of the read')
  gaps.end()
  assert.equal(got.length, 32)
  assert.ok(!got.some(({ name }) => name === toHex(addresses.subarray(160, 192))))
  assert.ok(isShareOf(all[6]!, addresses.subarray(192, 224)))
})

test('a holder that refuses is passed over', async () => {
  const puts: NodeId[] = []
  const { clock, healer, heal } = await world(12, 10)
  const other = 'bb'.repeat(32) as NodeId
  heal({
    ...{ name: 'x', bytes: 5, holders: [nobody, other], isAt: async () => false },
    put: async (_, node) => {
      if (node === nobody) throw new OverlayError('overload', 'STORE_REFUSED', 'full')
      puts.push(node)
    },
  })
  await clock.advance(11 * MINUTE)
  assert.deepEqual(puts, [other])
  await healer.close()
})
