/**
 * Publishing records and keeping them up: enough holders or an error, every period in time, the same sequence after a restart, nothing that
 * ties two periods of a key together. Spec: SPEC.md §10.5.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { HolderRecordFinder, HolderRecordPublisher, SeenRecords } from '../../client/records/index.ts'
import { toHex } from '../../src/bytes/index.ts'
import { openKeyRecord } from '../../src/content/key-record.ts'
import { blindAddress, periodAt, periodStartMs, RECORD_PERIOD_SECONDS } from '../../src/content/record.ts'
import { blindSigningKey } from '../../src/crypto/index.ts'
import { networkIdOf } from '../../src/directory/index.ts'
import { isOverlayError } from '../../src/errors/index.ts'
import type { ServicePart, SitePart } from '../../src/wire/index.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { FakeRecordNetwork } from '../support/fake-record-network.ts'
import { FakeKeyBook } from '../support/fake-records.ts'
import { never } from '../support/fake-share-network.ts'
import { seededRng } from '../support/seeded-rng.ts'

const networkId = networkIdOf('unit')
const hour = 3_600_000
const week = RECORD_PERIOD_SECONDS * 1000
// Loads libsodium's larger build before time stands still.
await blindSigningKey(new Uint8Array(32), new Uint8Array(32))

const site = (version: number): SitePart => ({ snapshot: new Uint8Array(32).fill(version), version, bytes: 10, files: 1 })
const service = (fill: number): ServicePart => ({
  x25519: new Uint8Array(32).fill(fill),
  mlkem768: new Uint8Array(1184).fill(fill),
  points: [{ node: 'ab'.repeat(32) as never, point: new Uint8Array(32).fill(fill) }],
  ports: [80],
  effort: 0,
})
const waiting = { signal: never }
const isCode = (code: Parameters<typeof isOverlayError>[1]) => (error: unknown) => isOverlayError(error, code)

async function fixture(t: TestContext, { nodes = 8, intoPeriodMs = 84 * hour } = {}) {
  // The disk in memory: real files take their time while the clock stands still.
  const book = new FakeKeyBook()
  const rng = seededRng(`publisher ${nodes}`)
  const { publicKey: key } = await book.make('blog')
  const start = periodStartMs(key, periodAt(key, FakeClock.START_UNIX_MS))
  const clock = new FakeClock(start + intoPeriodMs)
  const network = new FakeRecordNetwork(nodes, clock)
  const warnings: string[] = []
  const log = { warn: (text: string) => void warnings.push(text) }
  const open = () => HolderRecordPublisher.open({ book, session: () => network.session(), networkId, clock, rng, log })
  let publisher = await open()
  t.after(() => publisher.close())
  /** What the holders of a period say, all of them the same. */
  const saidIn = async (period: number, sequenceOnly = false) => {
    const publicKey = (await blindAddress(key, networkId, period))!
    const held = network.holding(publicKey).map((node) => node.records.get(toHex(publicKey))!)
    const opened = held.map((record) => openKeyRecord({ key, network: networkId, period }, publicKey, record, clock.unixMs()))
    for (const each of opened.slice(1)) assert.deepEqual(each, opened[0])
    if (sequenceOnly) return { sequence: opened[0]?.sequence ?? 0, holders: held.length }
    return { ...opened[0], holders: held.length }
  }
  return {
    ...{ network, clock, book, key, warnings, saidIn },
    current: () => periodAt(key, clock.unixMs()),
    publisher: () => publisher,
    set: (parts: object) => clock.runFor(publisher.set('blog', parts, waiting), 600_000),
    async restart() {
      await publisher.close()
      publisher = await open()
    },
    /** Periods, relative to now, that holders have something of. */
    async covered() {
      const now = periodAt(key, clock.unixMs())
      const found: number[] = []
      for (let at = now - 2; at <= now + 7; at++) if ((await saidIn(at)).holders > 0) found.push(at - now)
      return found
    },
  }
}

test('set resolves when the current period has it, on so many holders that any half may vanish', async (t) => {
  const { set, saidIn, current, publisher, network } = await fixture(t)
  assert.equal(publisher().isPublished('blog'), false)
  await set({ site: site(1) })
  const said = await saidIn(current())
  assert.deepEqual({ site: said.site, service: said.service }, { site: site(1), service: null })
  assert.ok(said.holders >= 5)
  assert.equal(publisher().isPublished('blog'), true)
  assert.deepEqual(publisher().parts('blog'), { site: site(1), service: null })
  assert.equal(network.opened, network.closed, 'each session is closed')
})

test('the parts of a key are merged; each change grows the sequence, the same said again does not', async (t) => {
  const { set, saidIn, current } = await fixture(t)
  await set({ site: site(1) })
  const first = (await saidIn(current())).sequence!
  await set({ service: service(1) })
  const both = await saidIn(current())
  assert.deepEqual([both.site, both.service], [site(1), service(1)])
  assert.ok(both.sequence! > first)
  await set({ service: service(1) })
  assert.equal((await saidIn(current())).sequence, both.sequence)
  await set({ site: site(2) })
  const third = await saidIn(current())
  assert.deepEqual([third.site, third.service], [site(2), service(1)])
  await set({ service: null })
  const last = await saidIn(current())
  assert.deepEqual([last.site, last.service], [site(2), null])
  assert.ok(last.sequence! > third.sequence!)
})

test('a site is published for four periods ahead, a service for one, each over a session of its own at a time of its own', async (t) => {
  const one = await fixture(t)
  await one.set({ service: service(1) })
  assert.deepEqual(await one.covered(), [0])
  await one.clock.advance(45 * 60_000)
  assert.deepEqual(await one.covered(), [0, 1])
  const { set, covered, clock, network } = await fixture(t)
  await set({ site: site(1) })
  const times: number[] = []
  let opened = network.opened
  for (let second = 0; second < 300; second++) {
    await clock.advance(1_000)
    if (network.opened > opened) times.push(second)
    opened = network.opened
  }
  assert.deepEqual(await covered(), [0, 1, 2, 3, 4])
  assert.equal(network.opened, 5)
  assert.ok(
    times.every((time, at) => at === 0 || time - times[at - 1]! >= 4),
    `apart: ${times}`,
  )
})

test('at the start and end of a period the one beside is served too', async (t) => {
  const early = await fixture(t, { intoPeriodMs: hour })
  await early.set({ service: service(1) })
  await early.clock.advance(150_000)
  assert.deepEqual(await early.covered(), [-1, 0])
  await early.clock.advance(hour)
  assert.deepEqual(await early.covered(), [-1, 0, 1])
  const late = await fixture(t, { intoPeriodMs: week - hour / 2 })
  await late.set({ service: service(1) })
  await late.clock.settle()
  await late.clock.advance(100)
  assert.deepEqual(await late.covered(), [0, 1], 'the next one at once: it begins soon')
})

test('weeks go by: every period has the record in time, refreshed with the same bytes', async (t) => {
  const { set, saidIn, clock, current, network, key, covered } = await fixture(t)
  await set({ site: site(1), service: service(1) })
  const { sequence } = await saidIn(current())
  for (let day = 0; day < 17; day++) {
    await clock.advance(24 * hour)
    const said = await saidIn(current())
    assert.equal(said.sequence, sequence, `day ${day}`)
    assert.ok(said.holders >= 5)
    assert.ok((await covered()).includes(4))
  }
  // A refresh shows holders the very bytes that they have.
  for (const node of network.nodes) {
    const byKey = Map.groupBy(node.history, ({ publicKey }) => toHex(publicKey))
    for (const records of byKey.values()) for (const record of records) assert.deepEqual(record, records[0])
  }
  assert.ok(
    network.nodes.some(({ history }) => history.length > 20),
    'it was refreshed',
  )
  assert.equal(periodAt(key, clock.unixMs()), current())
})

test('unlinkable: what holders got of two periods has no value in common', async (t) => {
  const { set, clock, network } = await fixture(t)
  await set({ site: site(1) })
  await clock.advance(300_000)
  await set({ site: site(2) })
  await clock.advance(300_000)
  const seen = new Map<string, string>()
  for (const { history } of network.nodes) {
    for (const { publicKey, sequence, value, signature } of history) {
      const period = toHex(publicKey)
      const visible = [String(sequence), toHex(signature)]
      for (let at = 0; at + 16 <= value.length; at += 16) visible.push(toHex(value.subarray(at, at + 16)))
      for (const each of visible) {
        assert.ok((seen.get(each) ?? period) === period, 'the same in two periods')
        seen.set(each, period)
      }
    }
  }
  assert.equal(new Set(seen.values()).size, 5)
})

test('a restart publishes the site at once, with the same sequence; the service when it is up again', async (t) => {
  const { set, saidIn, current, restart, clock, publisher, network } = await fixture(t)
  await set({ site: site(1), service: service(1) })
  const before = await saidIn(current())
  await restart()
  assert.deepEqual(publisher().parts('blog'), { site: site(1), service: null })
  assert.equal(publisher().isPublished('blog'), false)
  // The service comes back as it was: nothing new is said.
  for (const node of network.nodes) node.records.clear()
  await set({ service: service(1) })
  assert.equal((await saidIn(current())).sequence, before.sequence)
  // It does not come back: after a while the site is said alone, and above what was said before.
  await restart()
  await clock.advance(70_000)
  const alone = await saidIn(current())
  assert.deepEqual([alone.site, alone.service], [site(1), null])
  assert.ok(alone.sequence! > before.sequence!)
  await restart()
  for (const node of network.nodes) node.records.clear()
  await clock.advance(6_000)
  assert.equal((await saidIn(current())).sequence, alone.sequence)
})

test('a start shows nothing at the holders of what they have: who knows when a node started must not find its sites by that', async (t) => {
  const { set, restart, clock, network, saidIn, current, covered } = await fixture(t)
  await set({ site: site(1) })
  await clock.advance(hour / 6)
  const before = await saidIn(current())
  const periods = await covered()
  for (let start = 0; start < 5; start++) {
    await restart()
    for (const node of network.nodes) node.records.clear()
    const puts = network.puts
    await clock.advance(hour / 6 - 1_000)
    assert.equal(network.puts, puts, `start ${start}`)
    // Each period at a time of its own, so that these do not tie them together either.
    const times: number[] = []
    for (let minute = 0; minute < 6 * 60; minute++) {
      const was = network.puts
      await clock.advance(60_000)
      if (network.puts > was) times.push(minute)
    }
    assert.deepEqual(await covered(), periods)
    assert.equal((await saidIn(current())).sequence, before.sequence)
    assert.ok(times.length >= periods.length - 1 && times.at(-1)! - times[0]! > 60, `${times}`)
  }
})

test('what a service alone has to say reaches the next period some time later: holders of both must not know them by the minute', async (t) => {
  const { set, clock, saidIn, current } = await fixture(t)
  const delays: number[] = []
  for (let change = 1; change <= 12; change++) {
    await set({ service: service(change) })
    assert.deepEqual((await saidIn(current())).service, service(change))
    let minutes = 0
    while ((await saidIn(current() + 1)).service?.x25519[0] !== change) {
      await clock.advance(60_000)
      assert.ok(++minutes <= 46)
    }
    delays.push(minutes)
    await clock.advance(hour)
  }
  // A refresh may come in between.
  const mean = delays.reduce((sum, delay) => sum + delay, 0) / delays.length
  assert.ok(mean > 10 && Math.max(...delays) - Math.min(...delays) > 10, `${delays}`)
})

test('what had not reached all holders before a restart goes out right after it', async (t) => {
  const { set, restart, clock, network, saidIn, current, covered } = await fixture(t)
  await set({ site: site(1) })
  await clock.advance(hour)
  await set({ site: site(2) })
  await restart()
  const puts = network.puts
  await clock.advance(hour / 6)
  assert.ok(network.puts > puts)
  for (const ahead of await covered()) assert.deepEqual((await saidIn(current() + ahead)).site, site(2))
})

test('a key without a site says nothing at a start', async (t) => {
  const { set, restart, clock, network } = await fixture(t)
  await set({ service: service(1) })
  await restart()
  const before = network.puts
  await clock.advance(10 * hour)
  assert.equal(network.puts, before)
})

test('state that was lost goes on above what was said: the sequence is at least the time', async (t) => {
  const { set, saidIn, current, restart, book, clock } = await fixture(t)
  for (let version = 1; version <= 20; version++) await set({ site: site(version) })
  const before = (await saidIn(current())).sequence!
  await book.removePart('blog', 'record')
  await clock.advance(20 * 64_000)
  await restart()
  await set({ site: site(21) })
  assert.ok((await saidIn(current())).sequence! > before)
})

test('forgotten: said once more without it in every period that had it, and then left alone', async (t) => {
  const { set, publisher, clock, saidIn, current, network, covered, restart } = await fixture(t)
  await set({ site: site(1) })
  await clock.advance(300_000)
  assert.deepEqual(await covered(), [0, 1, 2, 3, 4])
  await clock.runFor(publisher().forget('blog', 'site', waiting))
  assert.equal((await saidIn(current())).site, null)
  await clock.advance(300_000)
  for (let ahead = 0; ahead <= 4; ahead++) assert.equal((await saidIn(current() + ahead)).site, null, `period ${ahead}`)
  const before = network.puts
  await clock.advance(100 * hour)
  assert.equal(network.puts, before)
  await restart()
  await clock.advance(300_000)
  assert.equal((await saidIn(current())).site, null)
})

test('taking a part out of a key that never said anything says nothing', async (t) => {
  const { publisher, network, clock } = await fixture(t)
  await clock.runFor(publisher().forget('blog', 'service', waiting))
  await clock.advance(hour)
  assert.equal(network.puts, 0)
  assert.deepEqual(publisher().parts('blog'), { site: null, service: null })
})

test('too few holders take it: PUBLISH_FAILED; it stays on disk and is tried again until it is there', async (t) => {
  const { set, network, publisher, clock, saidIn, current } = await fixture(t)
  for (const node of network.nodes.slice(1)) node.state = 'full'
  await assert.rejects(set({ site: site(1) }), isCode('PUBLISH_FAILED'))
  assert.equal(publisher().isPublished('blog'), false)
  assert.deepEqual(publisher().parts('blog').site, site(1))
  await clock.advance(hour)
  assert.equal(publisher().isPublished('blog'), false)
  for (const node of network.nodes) node.state = 'up'
  await clock.advance(hour)
  assert.equal(publisher().isPublished('blog'), true)
  assert.ok((await saidIn(current())).holders >= 5)
})

test('too few nodes: NETWORK_TOO_SMALL, and there soon after they come', async (t) => {
  const { set, network, publisher, clock } = await fixture(t)
  for (const node of network.nodes.slice(3)) node.state = 'gone'
  await assert.rejects(set({ site: site(1) }), isCode('NETWORK_TOO_SMALL'))
  await clock.advance(hour / 2)
  for (const node of network.nodes) node.state = 'up'
  await clock.advance(11_000)
  assert.equal(publisher().isPublished('blog'), true)
})

test('a few dead or full holders are made up for by others', async (t) => {
  for (const state of ['dead', 'full', 'silent'] as const) {
    const { set, network, saidIn, current } = await fixture(t, { nodes: 12 })
    for (const node of network.nodes.slice(0, 3)) node.state = state
    await set({ site: site(1) })
    assert.ok((await saidIn(current())).holders >= 5, state)
  }
})

test('no such key, a damaged record, an aborted call', async (t) => {
  const { publisher, restart, set, book, warnings, clock, network } = await fixture(t)
  await assert.rejects(publisher().set('none', { site: site(1) }, waiting), isCode('KEY_BAD'))
  await assert.rejects(publisher().set('NO NAME', { site: site(1) }, waiting), isCode('KEY_BAD'))
  await set({ site: site(1) })
  const whole = (await book.readPart('blog', 'record'))!
  await book.writePart('blog', 'record', whole.subarray(1))
  await restart()
  assert.equal(warnings.length, 1)
  await assert.rejects(publisher().set('blog', { site: site(2) }, waiting), isCode('KEY_BAD'))
  const before = network.puts
  await clock.advance(100 * hour)
  assert.equal(network.puts, before)
  await book.writePart('blog', 'record', whole)
  for (const node of network.nodes) node.delayMs = 100
  const stop = new AbortController()
  const stopped = publisher().set('blog', { site: site(2) }, { signal: stop.signal })
  await clock.advance(50)
  stop.abort(new Error('enough'))
  await assert.rejects(stopped, /enough/)
  await clock.advance(10_000)
  assert.equal(publisher().isPublished('blog'), true, 'it is published all the same')
})

test('many changes at once end with the last one said everywhere; closing leaves no timer', async (t) => {
  const { publisher, clock, saidIn, current } = await fixture(t)
  const all = Array.from({ length: 12 }, (_, at) =>
    publisher().set('blog', at % 2 === 0 ? { site: site(at + 1) } : { service: service(at) }, waiting),
  )
  await clock.runFor(Promise.all(all))
  await clock.advance(400_000)
  for (let ahead = 0; ahead <= 4; ahead++) {
    const said = await saidIn(current() + ahead)
    assert.deepEqual([said.site, said.service], [site(11), service(11)], `period ${ahead}`)
  }
  await publisher().close()
  await publisher().close()
  await assert.rejects(publisher().set('blog', { site: null }, waiting), isCode('NODE_NOT_READY'))
})

test('what is published is found', async (t) => {
  const { set, network, clock, key } = await fixture(t, { nodes: 20 })
  const dataDir = mkdtempSync(join(tmpdir(), 'gyre-publisher-'))
  t.after(() => rmSync(dataDir, { recursive: true, force: true }))
  await set({ site: site(1), service: service(2) })
  const seen = await SeenRecords.open({ dataDir, secret: key, clock, log: { warn: () => {} } })
  const finder = new HolderRecordFinder({ network: () => network, networkId, seen, clock, rng: seededRng(3) })
  const { record } = await clock.runFor(finder.find(key, waiting))
  assert.deepEqual([record.site, record.service], [site(1), service(2)])
  finder.close()
  await seen.close()
})

test('to prepare is to be ready for the holders of the period, for a while, and to tell nobody', async (t) => {
  const { clock, network, publisher, set } = await fixture(t)
  await clock.runFor(publisher().prepare('blog', waiting), 1_000)
  const readied = new Set(network.readied)
  assert.ok(readied.size >= 5)
  assert.deepEqual([network.puts, network.gets], [0, 0])
  network.readied.length = 0
  await set({ service: service(1) })
  assert.deepEqual(new Set(network.readied), readied)
  network.neverReady = [...readied][0]!
  const before = clock.monotonicMs()
  await clock.runFor(publisher().prepare('blog', waiting), 600_000)
  assert.equal(clock.monotonicMs() - before, 120_000)
  await publisher().prepare('nobody', waiting)
  assert.equal(network.opened, network.closed, 'each session is closed')
})
