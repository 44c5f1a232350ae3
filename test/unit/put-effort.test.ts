/** The work that a loaded store asks for with puts (SPEC §8): how much by load, told before it is asked for, bound to store, thing and hour. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PutPrices } from '../../client/put-prices.ts'
import { ShareSessions } from '../../client/shares.ts'
import type { RecordHolder } from '../../relay/record/holder.ts'
import { recordService } from '../../relay/record/index.ts'
import { HEARD_MS, PutEffort, type ShareStore, storeService } from '../../relay/store/index.ts'
import { concat, nodeIdOf, piecesOf, type UnixMs } from '../../src/bytes/index.ts'
import { findPutWork, hasPutWork } from '../../src/content/put-work.ts'
import { shareAddress } from '../../src/content/share.ts'
import type { DirectoryView } from '../../src/directory/index.ts'
import { isOverlayError } from '../../src/errors/index.ts'
import { systemClock } from '../../src/runtime/index.ts'
import {
  encodeHopReply,
  encodeRecordRequest,
  encodeStoreRequest,
  parseHopRequest,
  parseStoreRequest,
  RECORD_VALUE_BYTES,
} from '../../src/wire/index.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { seededRng } from '../support/seeded-rng.ts'

const GiB = 2 ** 30
const SHARE = 65_536
const HOUR = 3_600_000
const RECORDS = 65_536

function started(quotaBytes = 8 * GiB) {
  const clock = new FakeClock()
  const state = { stored: 0, records: 0, changes: 0 }
  const bytes = { taken: () => state.stored, most: quotaBytes }
  const records = { taken: () => state.records, most: RECORDS }
  const effort = new PutEffort({ clock, bytes, records, onChange: () => void state.changes++ })
  effort.start()
  return { clock, effort, state }
}

test('nothing is asked for while there is room and little comes; the fuller the more, and nothing again when it is over', async () => {
  const { clock, effort, state } = started()
  state.stored = 3.9 * GiB
  await clock.advance(HOUR)
  assert.deepEqual([effort.published, effort.asked, state.changes], [0, 0, 0])
  const asked: number[] = []
  for (const part of [0.55, 0.8, 1]) {
    state.stored = part * 8 * GiB
    await clock.advance(HOUR)
    asked.push(effort.asked)
  }
  assert.deepEqual(asked, [9, 11, 13])
  state.stored = GiB
  await clock.advance(HOUR)
  assert.equal(effort.asked, 0)
  assert.equal(state.changes, 4)
  effort.close()
  assert.equal(clock.pendingTimers, 0)
})

test('a flood raises it within minutes, at most to what a descriptor may say, and it falls within hours', async () => {
  const { clock, effort, state } = started()
  for (let minute = 0; minute < 30; minute++) {
    for (let put = 0; put < 1_000; put++) effort.stored(SHARE)
    await clock.advance(60_000)
  }
  assert.ok(effort.published >= 15 && effort.published <= 20, `${effort.published}`)
  assert.ok(state.changes <= 4, 'not with every look')
  await clock.advance(6 * HOUR)
  assert.equal(effort.published, 0)
  effort.close()
})

test('records that fill their places, or come in a flood, raise it as bytes do', async () => {
  const { clock, effort, state } = started()
  state.records = RECORDS
  await clock.advance(HOUR)
  assert.equal(effort.asked, 13)
  state.records = 0
  await clock.advance(HOUR)
  assert.equal(effort.asked, 0)
  for (let minute = 0; minute < 30; minute++) {
    for (let put = 0; put < 300; put++) effort.recorded()
    await clock.advance(60_000)
  }
  assert.ok(effort.published >= 10 && effort.published <= 13, `${effort.published}`)
  effort.close()
})

test('what was raised is published some minutes before it is asked for; what was lowered holds at once', async () => {
  const { clock, effort, state } = started()
  state.stored = 8 * GiB
  await clock.advance(60_000)
  assert.deepEqual([effort.published, effort.asked], [13, 0])
  await clock.advance(HEARD_MS - 1)
  assert.equal(effort.asked, 0)
  await clock.advance(1)
  assert.equal(effort.asked, 13)
  state.stored = 0
  await clock.advance(600_000)
  assert.deepEqual([effort.published, effort.asked], [0, 0])
  effort.close()
})

const rng = seededRng('put effort')
const self = nodeIdOf(rng.bytes(32))
const never = new AbortController().signal

test('work is for one store, one thing and about one hour', async () => {
  const key = rng.bytes(32)
  const now = (1_000 * HOUR + 10) as UnixMs
  const work = await findPutWork({ node: self, key }, 8, now, { clock: systemClock, signal: never })
  const at = (change: Partial<{ node: typeof self; key: Uint8Array }>, ms = 0, bits = 8) =>
    hasPutWork({ node: self, key, ...change }, work, bits, (now + ms) as UnixMs)
  assert.ok(at({}) && at({}, HOUR) && at({}, -HOUR))
  const others = [
    at({ node: nodeIdOf(rng.bytes(32)) }, 0, 12),
    at({ key: rng.bytes(32) }, 0, 12),
    at({}, 2 * HOUR, 12),
    at({}, -2 * HOUR, 12),
    at({}, 0, 30),
    hasPutWork({ node: self, key }, new Uint8Array(0), 8, now),
    hasPutWork({ node: self, key }, work.subarray(1), 8, now),
  ]
  assert.deepEqual(
    others,
    others.map(() => false),
  )
})

/** A store and a holder of records that take everything, behind their services. */
function services(bits: number) {
  const clock = new FakeClock()
  const effort = { asked: bits, stored: () => {}, recorded: () => void puts.recorded++ }
  const puts = { shares: 0, records: 0, recorded: 0 }
  const store = {
    putShare: async () => {
      puts.shares++
      return 'stored'
    },
  } as unknown as ShareStore
  const holder = {
    put: async () => {
      puts.records++
      return 'stored'
    },
  } as unknown as RecordHolder
  const storing = storeService(store, { clock, work: { self, effort } })
  return { clock, puts, storing, recording: recordService(holder, undefined, { self, effort, clock }) }
}

const CALL = { claimant: {} }
const share = rng.bytes(SHARE)

test('a put without the work is refused before anything else is done for it; gets need none, and neither does this node itself', async () => {
  const { clock, puts, storing } = services(10)
  const put = (work: Uint8Array) => encodeStoreRequest({ kind: 'put-share', share, keepHours: 0, work })
  assert.equal((await storing(put(new Uint8Array(0)), CALL)).status, 'refused')
  assert.equal((await storing(put(rng.bytes(8)), CALL)).status, 'refused')
  assert.equal(puts.shares, 0)
  const target = { node: self, key: shareAddress(share) }
  const work = await findPutWork(target, 10, clock.unixMs(), { clock: systemClock, signal: never })
  assert.equal((await storing(put(work), CALL)).status, 'ok')
  assert.equal((await storing(put(new Uint8Array(0)))).status, 'ok')
  assert.equal(puts.shares, 2)
})

test('the same for records, under their blinded keys', async () => {
  const { clock, puts, recording } = services(10)
  const value = new Uint8Array(RECORD_VALUE_BYTES)
  // The holder behind the service looks at no signature here.
  const record = { publicKey: rng.bytes(32), signature: rng.bytes(64), sequence: 1, expiresMs: clock.unixMs() + HOUR, value }
  const put = (work: Uint8Array) => encodeRecordRequest({ kind: 'put', record, work })
  assert.equal((await recording(put(new Uint8Array(0)), CALL)).status, 'refused')
  const target = { node: self, key: record.publicKey }
  const work = await findPutWork(target, 10, clock.unixMs(), { clock: systemClock, signal: never })
  assert.equal((await recording(put(work), CALL)).status, 'ok')
  assert.equal((await recording(put(new Uint8Array(0)))).status, 'ok')
  assert.deepEqual([puts.records, puts.recorded], [2, 2])
})

test('sessions bring the work that the descriptor of a store asks for', async () => {
  for (const [said, asked, taken] of [
    [10, 10, true],
    [undefined, 0, true],
    [undefined, 10, false],
  ] as const) {
    const { clock, storing, puts } = services(asked)
    const view = { size: 8, get: () => ({ ...(said === undefined ? {} : { putEffort: said }) }) } as unknown as DirectoryView
    const loop = {
      number: 1,
      open: true,
      async ask(request: Parameters<typeof piecesOf>[0]) {
        const hop = parseHopRequest(concat(...piecesOf(request)))
        assert.ok(hop?.kind === 'store' && parseStoreRequest(hop.request) !== null)
        const { status, body } = await storing(hop.request, CALL)
        return encodeHopReply({ status, body: concat(...piecesOf(body)) })
      },
    }
    const pool = { takesPerAsk: false, take: async () => loop, release: () => {} } as never
    const local = async () => ({ status: 'refused' as const, body: new Uint8Array(0) })
    const me = nodeIdOf(rng.bytes(32))
    const sessions = new ShareSessions({ self: me, view, pool, local, localRecords: local, clock })
    const session = sessions.fresh()
    const putting = clock.runFor(session.putShare(self, share, { signal: never }))
    if (taken) await putting
    else await assert.rejects(putting, (error) => isOverlayError(error, 'STORE_REFUSED'))
    assert.equal(puts.shares, taken ? 1 : 0)
    session.close()
  }
})

/** What nodes ask for, the first being the one that is looked at. */
function prices(asked: readonly number[]) {
  const nodes = asked.map((putEffort, at) => ({ id: nodeIdOf(new Uint8Array(32).fill(at)), putEffort }))
  const view = { get: (id: string) => nodes.find((node) => node.id === id), all: () => nodes } as unknown as DirectoryView
  const clock = new FakeClock()
  return { nodes, clock, of: new PutPrices({ view, clock }) }
}

test('who asks for much more than most is not worked for: what a full store asks for is done, and what all ask for', () => {
  const at = (asked: readonly number[]) => {
    const { of, nodes } = prices(asked)
    return of.at(nodes[0]!.id)
  }
  assert.equal(at([0, 0, 0]), 0)
  assert.equal(at([13, 0, 0]), 13)
  assert.equal(at([20, 0, 0]), null)
  assert.equal(at([20, 20, 0, 0, 0]), null, 'two of five say nothing of load')
  assert.equal(at([20, 17, 16]), 20)
  assert.equal(at([20, 15, 15]), null)
})

test('what most ask for is looked at again after a minute', async () => {
  const { of, nodes, clock } = prices([20, 0, 0])
  assert.equal(of.at(nodes[0]!.id), null)
  for (const node of nodes) node.putEffort = 20
  assert.equal(of.at(nodes[0]!.id), null)
  await clock.advance(60_000)
  assert.equal(of.at(nodes[0]!.id), 20)
})

test('a session refuses such a store itself, at once and without asking it', async () => {
  const { nodes, clock } = prices([20, 0, 0])
  const view = { size: 3, get: () => nodes[0], all: () => nodes } as unknown as DirectoryView
  const take = async () => assert.fail('it was asked')
  const pool = { takesPerAsk: false, take, release: () => {} } as never
  const local = async () => ({ status: 'refused' as const, body: new Uint8Array(0) })
  const sessions = new ShareSessions({ self, view, pool, local, localRecords: local, clock })
  const session = sessions.fresh()
  const refused = (error: unknown) => isOverlayError(error, 'STORE_REFUSED')
  await assert.rejects(session.putShare(nodes[0]!.id, share, { signal: never }), refused)
  session.close()
})
