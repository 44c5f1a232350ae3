/** Keeping: what a user asked for, what was published here, sites of other keys; when, how much, and what survives a restart or a damaged list. */
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  KEEP_BYTES_PER_HOUR,
  KEEPS_MAX,
  Keeper,
  keepsText,
  openKeepBook,
  PASS_SEGMENTS_MIN,
  parseKeeps,
  receiptOf,
  sampleOf,
  windowOf,
} from '../../client/keeps/index.ts'
import type { KeepStatus, NodeEvent } from '../../client/library.ts'
import { publishFile } from '../../client/publish.ts'
import { RECEIPT_SEGMENTS } from '../../client/repair/index.ts'
import { equalPublic, fromHex, toHex } from '../../src/bytes/index.ts'
import { formatFileAddress, formatKeyAddress, requireFileAddress } from '../../src/content/address.ts'
import { OverlayError } from '../../src/errors/index.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { type FakeNode, type FakeShareNetwork, never, stillClock, streamOf } from '../support/fake-share-network.ts'
import { seededRng } from '../support/seeded-rng.ts'
import { contentAt, SiteWorld } from '../support/site-world.ts'

const HOUR = 3_600_000
const quiet = { warn: () => {} }

function sessionOf(network: FakeShareNetwork) {
  return {
    self: network.self,
    holders: () => network.holders(),
    putShare: network.putShare.bind(network),
    getShare: network.getShare.bind(network),
    putSlot: network.putSlot.bind(network),
    getSlots: network.getSlots.bind(network),
    checkShare: network.checkShare.bind(network),
    checkSlot: network.checkSlot.bind(network),
    close: () => {},
  }
}

/** A world of sites with a keeper beside it, whose own keys are none unless `own`. */
async function world(t: TestContext, seed: number, { own = false, dir = mkdtempSync(join(tmpdir(), 'gyre-keeps-')) } = {}) {
  const sites = new SiteWorld(seed, stillClock)
  const clock = new FakeClock()
  const rng = seededRng(`keeper ${seed}`)
  const care = { fresh: () => sessionOf(sites.network), clock, rng }
  const events: NodeEvent[] = []
  const recordCare: string[] = []
  const make = async () =>
    new Keeper({
      book: await openKeepBook({ dataDir: dir, log: quiet }),
      care,
      finder: sites.records,
      ownSites: () =>
        own
          ? sites.keys.list().flatMap(({ name, address }) => {
              const { site } = sites.records.parts(name)
              return site === null ? [] : [{ address, snapshot: site.snapshot }]
            })
          : [],
      careForRecords: async (key) => {
        recordCare.push(toHex(key))
        return 0
      },
      clock,
      rng,
      log: quiet,
      emit: (event) => void events.push(event),
    })
  const keeper = await make()
  t.after(async () => {
    await keeper.close()
    sites.close()
    rmSync(dir, { recursive: true, force: true })
  })
  const publish = async (bytes: number) => {
    const parts = { rng: seededRng(`${seed} ${bytes}`), clock: stillClock }
    return (await publishFile(sites.network, streamOf(seededRng(bytes).bytes(bytes)), { signal: never }, parts)).address
  }
  /** Lets promises, turns, the disk, and by small steps time get on until `done`. */
  const rest = async (what: string, done: () => boolean, stepMs = 5_000) => {
    for (let round = 0; round < 3000; round++) {
      await clock.advance(stepMs)
      if (done()) return
      await sleep(1)
    }
    assert.fail(`not so: ${what}`)
  }
  const checked = async (address: string): Promise<KeepStatus> => {
    await rest(`${address} is checked`, () => !['checking', 'waiting'].includes(keeper.get(address)?.state ?? 'waiting'))
    return keeper.get(address)!
  }
  return { ...{ sites, network: sites.network, clock, dir, keeper, make, publish, rest, checked, events, recordCare }, rng, care }
}

function wipe(...nodes: FakeNode[]): void {
  for (const node of nodes) {
    node.shares.clear()
    node.slots.clear()
  }
}

test('what is kept is checked at once, put back, and renewed', async (t) => {
  const { keeper, network, publish, checked, events } = await world(t, 1)
  const address = await publish(200_000)
  wipe(network.nodes[1]!, network.nodes[2]!)
  network.kept.clear()
  const first = await keeper.keep(address.toUpperCase())
  assert.deepEqual([first.address, first.state, first.kind, first.source], [address, 'checking', 'file', 'user'])
  const status = await checked(address)
  assert.equal(status.state, 'whole')
  assert.ok(status.missing > 0)
  assert.ok(status.mended >= status.missing)
  assert.ok(status.survives! >= 3 && status.of === 6 && status.code === null && status.checkedMs! > 0)
  assert.ok([...network.kept.values()].every((hours) => hours === 720))
  assert.deepEqual(events, [{ type: 'keep', data: { address, state: 'whole' } }])
})

test('it is checked again each day, at other times', async (t) => {
  const { keeper, network, publish, checked, rest } = await world(t, 2)
  const address = await publish(100_000)
  await keeper.keep(address)
  let before = (await checked(address)).checkedMs!
  const gaps = new Set<number>()
  for (let day = 0; day < 4; day++) {
    wipe(network.nodes[day]!)
    await rest('it is checked again', () => keeper.get(address)!.checkedMs! > before, HOUR / 30)
    const status = await checked(address)
    assert.ok(status.missing > 0)
    assert.equal(status.state, 'whole')
    assert.ok(status.mended >= status.missing)
    const gap = status.checkedMs! - before
    assert.ok(gap >= 11.9 * HOUR && gap <= 25 * HOUR, `after ${gap / HOUR} h`)
    gaps.add(Math.round(gap / HOUR))
    before = status.checkedMs!
  }
  assert.ok(gaps.size > 1)
})

test('what is lost, not there or no address is told', async (t) => {
  const { keeper, network, clock, publish, checked } = await world(t, 3)
  const address = await publish(100_000)
  const gone = formatFileAddress(new Uint8Array(32).fill(3))
  await keeper.keep(gone)
  assert.deepEqual([(await checked(gone)).state, keeper.get(gone)!.code], ['lost', 'CONTENT_NOT_FOUND'])
  assert.equal(keeper.get(gone)!.checkedMs, null)
  for (const node of network.nodes) node.shares.clear()
  await keeper.keep(address)
  const status = await checked(address)
  assert.deepEqual([status.state, status.survives], ['lost', -1])
  await assert.rejects(keeper.keep('x'), (error) => error instanceof OverlayError && error.code === 'ADDRESS_BAD')
  const nobody = formatKeyAddress(new Uint8Array(32).fill(5))
  await keeper.keep(nobody)
  assert.deepEqual([(await checked(nobody)).state, keeper.get(nobody)!.code], ['failed', 'RECORD_NOT_FOUND'])
  // It is tried again, later.
  const { length } = keeper.list()
  await clock.advance(3 * HOUR)
  assert.equal(length, 3)
})

test('unkeep ends it, also in the middle; what was not kept is told', async (t) => {
  const { keeper, network, clock, publish, checked, dir } = await world(t, 4)
  const address = await publish(100_000)
  for (const node of network.nodes) node.state = 'silent'
  await keeper.keep(address)
  await clock.settle()
  assert.equal(await keeper.unkeep(address), true)
  assert.equal(await keeper.unkeep(address), false)
  assert.equal(keeper.get(address), null)
  await clock.settle()
  assert.equal(network.underWay, 0)
  assert.deepEqual(parseKeeps(readFileSync(join(dir, 'keeps.json'), 'utf8')), [])
  for (const node of network.nodes) node.state = 'up'
  await keeper.keep(address)
  assert.equal((await checked(address)).state, 'whole')
})

test('what was published here is kept by itself, and first checked hours later; asking for it makes it checked now', async (t) => {
  const { keeper, network, clock, publish, checked } = await world(t, 5)
  const address = await publish(50_000)
  assert.equal(await keeper.own(address), true)
  assert.deepEqual([keeper.get(address)!.state, keeper.get(address)!.source], ['waiting', 'own'])
  const { checks } = network
  await clock.advance(11 * HOUR)
  assert.equal(network.checks, checks)
  await clock.advance(14 * HOUR)
  assert.equal((await checked(address)).state, 'whole')
  await keeper.keep(address)
  assert.equal((await checked(address)).source, 'user')
})

test('a pass by itself goes slowly; when the user asks for the same, it begins anew at once', async (t) => {
  const { keeper, publish, checked, rest } = await world(t, 6)
  const address = await publish(4_000_000)
  await keeper.own(address)
  await rest('it has begun', () => keeper.get(address)!.state === 'checking', HOUR / 60)
  await keeper.keep(address)
  assert.equal((await checked(address)).state, 'whole')
})

test('a restart goes on with the list; who was away for more than eight days goes through everything', async (t) => {
  const { keeper, clock, publish, checked, make, dir, network } = await world(t, 7)
  const address = await publish(300_000)
  await keeper.keep(address)
  await checked(address)
  await keeper.close()
  assert.equal(statSync(join(dir, 'keeps.json')).mode & 0o777, 0o600)
  clock.jumpWallClock(10 * 24 * HOUR)
  const again = await make()
  await again.start()
  assert.deepEqual(
    again.list().map((one) => [one.address, one.state]),
    [[address, 'waiting']],
  )
  const { checks } = network
  await clock.advance(119_000)
  assert.equal(network.checks, checks, 'not all at once at a start')
  await clock.advance(1.1 * HOUR)
  assert.ok(network.checks > checks)
  await again.close()
  assert.equal(clock.pendingTimers, 0)
})

test('a site of another key: its index, its packs and its records are kept, and each new version in its turn', async (t) => {
  const { keeper, sites, network, clock, checked, recordCare } = await world(t, 8)
  const { address } = await sites.publish({ 'index.html': 'one', 'big.bin': seededRng(1).bytes(300_000) })
  await keeper.keep(address)
  const first = await checked(address)
  assert.deepEqual([first.state, first.kind], ['whole', 'key'])
  assert.equal(recordCare.length, 1)
  const second = await sites.publish({ 'index.html': 'two', 'more.bin': seededRng(2).bytes(300_000) })
  wipe(...network.nodes.slice(0, 2))
  await clock.advance(25 * HOUR)
  const status = await checked(address)
  assert.ok(status.mended >= status.missing)
  assert.ok(status.checked > 0)
  // The version of now is whole, without the two that never lost anything.
  wipe(...network.nodes.slice(3, 6))
  const opened = await sites.open(address)
  assert.equal(opened.version, second.version)
  assert.ok(equalPublic(await contentAt(opened, '/more.bin'), seededRng(2).bytes(300_000)))
})

test('when the record of a site cannot be had, the version seen last is kept on', async (t) => {
  const { keeper, sites, network, clock, checked } = await world(t, 9)
  const { address } = await sites.publish({ 'index.html': 'one' })
  await keeper.keep(address)
  await checked(address)
  sites.records.failFind = new OverlayError('not-found', 'RECORD_NOT_FOUND', 'its owner is gone')
  wipe(network.nodes[0]!)
  await clock.advance(26 * HOUR)
  const status = await checked(address)
  assert.deepEqual([status.state, status.code], ['whole', null])
  assert.ok(status.mended > 0)
})

test('a key that only has a service has nothing to keep', async (t) => {
  const { keeper, sites, checked } = await world(t, 10)
  const { address } = await sites.publish({ 'index.html': 'one' })
  await sites.records.forget('home', 'site', { signal: never })
  await keeper.keep(address)
  assert.equal((await checked(address)).state, 'empty')
})

test('sites of own keys are kept by themselves, cannot be let go, and are forgotten with the key', async (t) => {
  const { keeper, sites, make, checked, clock, recordCare } = await world(t, 11, { own: true })
  const { address } = await sites.publish({ 'index.html': 'one' })
  await keeper.start()
  assert.deepEqual(
    keeper.list().map((one) => [one.address, one.source, one.state]),
    [[address, 'own', 'waiting']],
  )
  assert.equal(await keeper.unkeep(address), false)
  sites.records.failFind = new Error('its own record is not looked up')
  await keeper.keep(address)
  assert.equal((await checked(address)).state, 'whole')
  assert.equal(recordCare.length, 0, 'its publisher sees to its records')
  await sites.records.forget('home', 'site', { signal: never })
  await keeper.close()
  const again = await make()
  await again.start()
  // Asked for by the user meanwhile, so it stays, as of any other key.
  assert.equal(again.list().length, 1)
  await again.unkeep(address)
  await again.close()
  assert.equal(clock.pendingTimers, 0)
})

test('a version of a site that is kept by its own address is kept with its packs', async (t) => {
  const { keeper, sites, network, checked } = await world(t, 12)
  const { snapshot } = await sites.publish({ 'a.bin': seededRng(3).bytes(200_000) })
  wipe(network.nodes[0]!)
  await keeper.keep(snapshot)
  const status = await checked(snapshot)
  assert.ok(status.checked > 12, 'index and pack')
  assert.ok(status.mended >= status.missing)
})

test('a damaged list is set aside, an older one is not overwritten, and nothing of it is believed', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'gyre-keeps-'))
  writeFileSync(join(dir, 'keeps.json'), '{"version":1,"keeps":[{"address":"no"}]}')
  const { keeper } = await world(t, 13, { dir })
  assert.equal(keeper.list().length, 0)
  assert.match(readFileSync(join(dir, 'keeps.json.damaged'), 'utf8'), /"no"/)
})

test('what a list may say: one spelling, bounds, no address twice', () => {
  const keep = {
    address: formatFileAddress(new Uint8Array(32)),
    source: 'user',
    addedMs: 1,
    checkedMs: 2,
    passes: 3,
    snapshot: '',
  } as const
  assert.deepEqual(parseKeeps(keepsText([keep])), [keep])
  for (const wrong of [
    [{ ...keep, address: 'x' }],
    [{ ...keep, source: 'other' }],
    [{ ...keep, passes: -1 }],
    [{ ...keep, addedMs: 1.5 }],
    [{ ...keep, checkedMs: '2' }],
    [{ ...keep, snapshot: 'y' }],
    [keep, keep],
    Array.from({ length: KEEPS_MAX + 1 }, (_, at) => ({
      ...keep,
      address: formatFileAddress(fromHex(at.toString(16).padStart(64, '0'))!),
    })),
    [null],
  ]) {
    assert.equal(parseKeeps(JSON.stringify({ version: 1, keeps: wrong })), null)
  }
  for (const text of ['', '[]', '{}', '{"version":2,"keeps":[]}', '{"version":1,"keeps":{}}'])
    assert.equal(parseKeeps(text), null)
})

test('a full list refuses more, and what is published goes unkept', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'gyre-keeps-'))
  const keeps = Array.from({ length: KEEPS_MAX }, (_, at) => ({
    ...{ address: formatFileAddress(fromHex(at.toString(16).padStart(64, '0'))!), source: 'user' as const },
    ...{ addedMs: 1, checkedMs: 2, passes: 3, snapshot: '' },
  }))
  writeFileSync(join(dir, 'keeps.json'), keepsText(keeps))
  const { keeper } = await world(t, 14, { dir })
  const one = formatFileAddress(new Uint8Array(32).fill(9))
  await assert.rejects(keeper.keep(one), (error) => error instanceof OverlayError && error.code === 'KEEP_LIMIT')
  assert.equal(await keeper.own(one), false)
})

test('a liar among the holders is remembered for a day, and gets nothing in that time', async (t) => {
  const { keeper, network, clock, publish, checked } = await world(t, 15)
  const address = await publish(100_000)
  const liar = network.nodes.find(({ shares }) => shares.size > 0)!
  wipe(liar)
  liar.forgets = true
  liar.proofLie = () => new Uint8Array(32)
  await keeper.keep(address)
  const status = await checked(address)
  assert.equal(status.of, 5)
  assert.deepEqual([...keeper.liars], [liar.id])
  await clock.advance(24 * HOUR + 1000)
  assert.equal(keeper.liars.size, 0)
})

test('a pass by itself moves no more than its budget', async (t) => {
  const { keeper, network, clock, publish, rest } = await world(t, 16)
  const address = await publish(60_000_000)
  await keeper.own(address)
  wipe(...network.nodes.slice(0, 3))
  const { puts } = network
  await rest('it has begun', () => network.puts > puts, HOUR / 60)
  const began = clock.monotonicMs()
  await clock.advance(HOUR / 4)
  const moved = (network.puts - puts) * 65_536
  const hours = (clock.monotonicMs() - began) / HOUR
  assert.ok(moved <= KEEP_BYTES_PER_HOUR * hours + 16 * 2 ** 20, `${moved} bytes in ${hours} h`)
})

test('large content is gone through in eighths, every part once in eight passes; a receipt takes a sample', () => {
  const segments = Array.from({ length: 1000 }, (_, index) => ({ level: 0, index }))
  const seen = new Set<number>()
  for (let pass = 0; pass < 8; pass++) {
    const window = windowOf(segments, pass)
    assert.ok(window.length <= 125)
    for (const { index } of window) seen.add(index)
  }
  assert.equal(seen.size, 1000)
  assert.equal(windowOf(segments.slice(0, PASS_SEGMENTS_MIN), 5).length, PASS_SEGMENTS_MIN)
  assert.equal(windowOf(segments.slice(0, 65), 1).length, 1)
  const sample = sampleOf(segments, 8, seededRng(1))
  assert.equal(new Set(sample).size, RECEIPT_SEGMENTS)
  assert.ok(sample.every(({ index }, at) => at === 0 || index > sample[at - 1]!.index))
  assert.equal(sampleOf(segments, 100, seededRng(1)).length, 8)
  assert.deepEqual(sampleOf(segments.slice(0, 5), 100, seededRng(1)), segments.slice(0, 5))
})

test('a receipt tells what is survived, and puts nothing back', async (t) => {
  const { network, care, clock, publish } = await world(t, 17)
  const address = await publish(200_000)
  const s = requireFileAddress(address).key
  const { puts } = network
  const whole = await clock.runFor(receiptOf(s, care, never))
  assert.deepEqual([whole.missing, whole.checked, whole.of], [0, whole.parts, 6])
  assert.ok(whole.survives >= 3)
  wipe(network.nodes[1]!)
  const less = await clock.runFor(receiptOf(s, care, never))
  assert.ok(less.missing > 0 && less.survives < whole.survives)
  assert.equal(network.puts, puts)
})
