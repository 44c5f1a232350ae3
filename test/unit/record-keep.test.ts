/** Keeping the records of somebody else's key: what he signed is put back where it is missing or older; nothing else can be. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { careForRecords } from '../../client/keeps/index.ts'
import { toHex } from '../../src/bytes/index.ts'
import { sealKeyRecord } from '../../src/content/key-record.ts'
import { Ranking } from '../../src/content/placement.ts'
import { blindAddress, blindFactor, periodAt, recordCopies, recordPlace } from '../../src/content/record.ts'
import { blindSigningKey, signingKey } from '../../src/crypto/index.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { FakeRecordNetwork } from '../support/fake-record-network.ts'
import { never } from '../support/fake-share-network.ts'
import { seededRng } from '../support/seeded-rng.ts'

const seed = new Uint8Array(32).fill(7)
const key = signingKey(seed).publicKey
const networkId = new Uint8Array(32).fill(1)
const snapshot = new Uint8Array(32).fill(3)

async function world(holders = 8) {
  const clock = new FakeClock()
  const network = new FakeRecordNetwork(holders, clock)
  const first = periodAt(key, clock.unixMs())
  const blindedOf = async (period: number) => (await blindAddress(key, networkId, period))!
  const placedOf = async (period: number) => {
    const blinded = await blindedOf(period)
    const places = Array.from({ length: recordCopies(holders) }, (_, copy) => recordPlace(blinded, copy))
    return new Ranking(network.holders()).place(places)
  }
  const sign = async (period: number, sequence: number) => {
    const signing = await blindSigningKey(seed, blindFactor(key, networkId, period))
    const site = { snapshot, version: sequence, bytes: 1, files: 1 }
    return sealKeyRecord({ key, network: networkId, period }, signing, { sequence, site, service: null })
  }
  const put = async (period: number, sequence: number) => {
    const record = await sign(period, sequence)
    for (const node of await placedOf(period)) await network.putRecord(node, record, { signal: never })
  }
  const heldAt = async (period: number) => {
    const name = toHex(await blindedOf(period))
    const placed = new Set(await placedOf(period))
    return network.nodes.filter(({ id, records }) => placed.has(id) && records.has(name)).map(({ records }) => records.get(name)!)
  }
  const parts = { fresh: () => network.session(), networkId, clock, rng: seededRng(1) }
  let pauses = 0
  const pause = async () => void pauses++
  const care = (signal = never) => careForRecords(key, parts, { signal, pause })
  return { clock, network, first, put, sign, placedOf, heldAt, care, blindedOf, pauses: () => pauses }
}

test('records of all periods that were signed are back at their holders, each period over loops of its own', async () => {
  const { network, first, put, placedOf, heldAt, care, pauses } = await world()
  for (let ahead = 0; ahead < 4; ahead++) await put(first + ahead, 5)
  const copies = (await heldAt(first)).length
  assert.equal(copies, 5)
  // All but one of each period lose theirs.
  for (let ahead = 0; ahead < 4; ahead++) {
    for (const node of (await placedOf(first + ahead)).slice(1)) {
      if (node !== (await placedOf(first))[0]) network.nodes.find(({ id }) => id === node)!.records.clear()
    }
  }
  const left = (await Promise.all([0, 1, 2, 3].map((ahead) => heldAt(first + ahead)))).map(({ length }) => length)
  const restored = left.filter((count) => count > 0).reduce((sum, count) => sum + copies - count, 0)
  assert.ok(restored > 0)
  assert.equal(await care(), restored)
  for (const [ahead, count] of left.entries()) assert.equal((await heldAt(first + ahead)).length, count === 0 ? 0 : copies)
  assert.equal(pauses(), 4)
  assert.deepEqual([network.opened, network.closed], [5, 5])
  assert.equal(await care(), 0)
})

test('older ones give way to the newest right one; forged ones count for nothing', async () => {
  const { network, first, put, sign, placedOf, heldAt, care } = await world()
  await put(first, 5)
  const placed = await placedOf(first)
  const newer = await sign(first, 6)
  await network.putRecord(placed[1]!, newer, { signal: never })
  const forger = network.nodes.find(({ id }) => id === placed[2])!
  forger.lie = (_, right) => right && { ...right, value: right.value.map((byte) => byte ^ 1), sequence: right.sequence + 100 }
  assert.equal(await care(), 4)
  for (const record of await heldAt(first)) assert.equal(record.sequence, newer.sequence)
})

test('holders that are gone are made up for, silent ones are passed over, and an abort ends it', async () => {
  const { network, first, put, placedOf, care, clock, blindedOf } = await world()
  await put(first, 5)
  const placed = await placedOf(first)
  const dead = network.nodes.find(({ id }) => id === placed[0])!
  const silent = network.nodes.find(({ id }) => id === placed[1])!
  dead.state = 'dead'
  silent.state = 'silent'
  const done = await clock.runFor(care(), 1_000_000)
  assert.equal(done, 2)
  const alive = network.nodes.filter(({ state }) => state === 'up')
  const name = toHex(await blindedOf(first))
  assert.ok(alive.filter(({ records }) => records.has(name)).length >= 5)

  const controller = new AbortController()
  for (const node of network.nodes) node.state = 'silent'
  const aborted = care(controller.signal)
  aborted.catch(() => {})
  await clock.settle()
  controller.abort(new Error('enough'))
  await assert.rejects(aborted, /enough/)
})

test('nothing signed, or too small a network: nothing is done', async () => {
  const { care, network } = await world()
  assert.equal(await care(), 0)
  assert.equal(network.puts, 0)
  assert.equal(await (await world(3)).care(), 0)
})
