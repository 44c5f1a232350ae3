/** The store as a hop's service: statuses, limits, keeping times. Spec: SPEC.md §7.1. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { openStore, type ShareStore, storeService } from '../../relay/store/index.ts'
import { concat, equalPublic, piecesOf } from '../../src/bytes/index.ts'
import { shareProof, slotProof, slotValueHash } from '../../src/content/proof.ts'
import { shareAddress } from '../../src/content/share.ts'
import { SLOT_BYTES_MAX, signSlot, slotLocation } from '../../src/content/slot.ts'
import { signingKey } from '../../src/crypto/index.ts'
import { encodeStoreRequest, parseStoreReply, type StoreRequest } from '../../src/wire/index.ts'
import { FakeClock } from '../support/fake-clock.ts'

const SHARE_BYTES = 65_536
const HOUR = 3_600_000
const work = new Uint8Array(0)
const share = new Uint8Array(SHARE_BYTES).fill(9)
const slot = signSlot(signingKey(new Uint8Array(32).fill(2)), 3, new Uint8Array(100).fill(1))
const putShare = (keepHours = 0): StoreRequest => ({ kind: 'put-share', share, keepHours, work })
const putSlot = (changes: object = {}): StoreRequest => ({ kind: 'put-slot', ...slot, keepHours: 0, work, ...changes })
const getShare: StoreRequest = { kind: 'get-share', address: shareAddress(share) }
const getSlot: StoreRequest = { kind: 'get-slot', location: slotLocation(slot.publicKey, 3) }

async function service(t: TestContext, quotaBytes = 4 * SHARE_BYTES, limits?: { puts: number; gets: number; checks: number }) {
  const dir = mkdtempSync(join(tmpdir(), 'gyre-service-'))
  const clock = new FakeClock()
  const store = await openStore({ dir, quotaBytes, clock, log: { warn: () => {} } })
  t.after(async () => {
    await store.close()
    rmSync(dir, { recursive: true, force: true })
  })
  const answer = storeService(store, limits === undefined ? { clock } : { clock, limits })
  return { clock, store, ask: (request: StoreRequest) => answer(encodeStoreRequest(request)), answer }
}

test('puts and gets have the statuses of the specification', async (t) => {
  const { ask, answer } = await service(t)
  assert.equal((await ask(getShare)).status, 'not-found')
  assert.equal((await ask(getSlot)).status, 'not-found')
  assert.deepEqual(await ask(putShare()), { status: 'ok', body: new Uint8Array(0) })
  assert.equal((await ask(putShare())).status, 'ok')
  const got = await ask(getShare)
  assert.equal(got.status, 'ok')
  assert.ok(equalPublic(parseStoreReply(concat(...piecesOf(got.body)))!.share!, share))
  assert.equal((await ask(putSlot())).status, 'ok')
  const slots = parseStoreReply(concat(...piecesOf((await ask(getSlot)).body)))!.slots
  assert.deepEqual({ ...slots[0] }, { ...slot })
  assert.equal((await ask(putSlot({ slot: 4 }))).status, 'bad-request')
  assert.equal((await ask(putSlot({ value: new Uint8Array(SLOT_BYTES_MAX + 1) }))).status, 'bad-request')
  assert.equal((await answer(new Uint8Array(0))).status, 'bad-request')
  assert.equal((await answer(new Uint8Array(10).fill(255))).status, 'bad-request')
})

const nonce = new Uint8Array(16).fill(5)
const checkShare = (keepHours = 0): StoreRequest => ({
  kind: 'check-share',
  address: shareAddress(share),
  nonce,
  keepHours,
  work,
})
const slotCheck = {
  kind: 'check-slot',
  location: slotLocation(slot.publicKey, 3),
  valueHash: slotValueHash(slot.value),
  nonce,
} as const
const checkSlot = (changes: object = {}): StoreRequest => ({ ...slotCheck, keepHours: 0, work, ...changes })
const proofOf = (body: Parameters<typeof piecesOf>[0]) => parseStoreReply(concat(...piecesOf(body)))?.proof

test('a check proves what is there, for that nonce, and nothing else', async (t) => {
  const { ask } = await service(t)
  for (const request of [checkShare(), checkShare(9), checkSlot()]) {
    assert.deepEqual(await ask(request), { status: 'not-found', body: new Uint8Array(0) })
  }
  assert.equal((await ask(getShare)).status, 'not-found', 'a check puts nothing')
  await ask(putShare())
  await ask(putSlot())
  const shareAnswer = await ask(checkShare())
  assert.equal(shareAnswer.status, 'ok')
  assert.deepEqual(proofOf(shareAnswer.body), shareProof(nonce, share))
  const slotAnswer = await ask(checkSlot())
  assert.deepEqual(proofOf(slotAnswer.body), slotProof(nonce, slot.value))
  const other = await ask({ ...checkShare(), nonce: new Uint8Array(16).fill(6) } as StoreRequest)
  assert.notDeepEqual(proofOf(other.body), shareProof(nonce, share))
  for (const changes of [{ valueHash: new Uint8Array(32) }, { location: new Uint8Array(32) }])
    assert.equal((await ask(checkSlot(changes))).status, 'not-found')
})

test('a check keeps on, never longer than 90 days and never shorter than before', async (t) => {
  const { ask, clock } = await service(t)
  await ask(putShare(2))
  await ask(putSlot({ keepHours: 2 }))
  // Without hours it changes nothing, with fewer neither.
  for (const hours of [0, 1]) {
    assert.equal((await ask(checkShare(hours))).status, 'ok')
    assert.equal((await ask(checkSlot({ keepHours: hours }))).status, 'ok')
  }
  clock.jumpWallClock(2 * HOUR - 1)
  assert.equal((await ask(checkShare(8784))).status, 'ok')
  assert.equal((await ask(checkSlot({ keepHours: 10 }))).status, 'ok')
  clock.jumpWallClock(10 * HOUR)
  assert.equal((await ask(checkSlot())).status, 'not-found')
  clock.jumpWallClock(2150 * HOUR - 1)
  assert.equal((await ask(checkShare())).status, 'ok')
  clock.jumpWallClock(1)
  assert.equal((await ask(checkShare(5))).status, 'not-found')
})

test('a store whose disk refuses to keep something on gives no proof', async (t) => {
  const { store, clock } = await service(t)
  await store.putShare(share, (clock.unixMs() + HOUR) as never)
  const stuck: ShareStore = {
    refusesWrites: false,
    quotaBytes: 0,
    putShare: async () => 'full',
    getShare: (address) => store.getShare(address),
    putSlot: async () => 'full',
    getSlots: async () => [slot],
    slice: (...args) => store.slice(...args),
    sweep: () => store.sweep(),
    stats: () => store.stats(),
    close: () => store.close(),
  }
  const answer = storeService(stuck, { clock })
  for (const [request, status] of [
    [checkShare(), 'ok'],
    [checkShare(5), 'refused'],
    [checkSlot(), 'ok'],
    [checkSlot({ keepHours: 5 }), 'refused'],
  ] as const) {
    assert.equal((await answer(encodeStoreRequest(request))).status, status)
  }
})

test('everything that is kept can be gone over in steps', async (t) => {
  const { store, clock, ask } = await service(t, 10 * SHARE_BYTES)
  const until = (clock.unixMs() + HOUR) as never
  const shares = Array.from({ length: 5 }, (_, at) => new Uint8Array(SHARE_BYTES).fill(at + 1))
  for (const one of shares) await store.putShare(one, until)
  await ask(putSlot())
  const seen: string[] = []
  for (let from: number | null = 0; from !== null; ) {
    const { held, next } = store.slice('shares', from, 2)
    for (const { key, keepUntilMs } of held) {
      assert.equal(keepUntilMs, until)
      seen.push(String(key))
    }
    from = next
  }
  assert.deepEqual(seen.sort(), shares.map((one) => String(shareAddress(one))).sort())
  assert.deepEqual(store.slice('shares', 99, 5), { held: [], next: null })
  const [slotHeld] = store.slice('slots', 0, 10).held
  assert.deepEqual(slotHeld!.key, slotLocation(slot.publicKey, 3))
  await store.close()
  assert.deepEqual(store.slice('shares', 0, 10), { held: [], next: null })
})

test('a full store refuses', async (t) => {
  const { ask } = await service(t, 0)
  assert.equal((await ask(putShare())).status, 'refused')
  assert.equal((await ask(putSlot())).status, 'refused')
})

for (const [asked, kept] of [
  [0, 720],
  [1, 1],
  [2160, 2160],
  [8784, 2160],
] as const) {
  test(`asked for ${asked} hours it keeps ${kept}`, async (t) => {
    const { ask, clock } = await service(t)
    await ask(putShare(asked))
    clock.jumpWallClock(kept * HOUR - 1)
    assert.equal((await ask(getShare)).status, 'ok')
    clock.jumpWallClock(1)
    assert.equal((await ask(getShare)).status, 'not-found')
  })
}

test('above its limits it is busy, at once, and not for longer than that', async (t) => {
  const { answer: _, ...real } = await service(t)
  const gates: (() => void)[] = []
  const gate = () => new Promise<void>((resolve) => void gates.push(resolve))
  const slow: ShareStore = {
    ...real.store,
    putShare: async () => {
      await gate()
      return 'stored'
    },
    getShare: async () => {
      await gate()
      return null
    },
  }
  const answer = storeService(slow, { clock: real.clock, limits: { puts: 2, gets: 1, checks: 1 } })
  const ask = (request: StoreRequest) => answer(encodeStoreRequest(request))
  const puts = [ask(putShare()), ask(putShare())]
  assert.equal((await ask(putShare())).status, 'busy')
  const get = ask(getShare)
  assert.equal((await ask(getShare)).status, 'busy')
  const check = ask(checkShare())
  assert.equal((await ask(checkSlot())).status, 'busy')
  assert.equal((await answer(new Uint8Array(3))).status, 'busy')
  for (const open of gates) open()
  assert.deepEqual(
    (await Promise.all([...puts, get, check])).map(({ status }) => status),
    ['ok', 'ok', 'not-found', 'not-found'],
  )
  const again = ask(putShare())
  gates.at(-1)!()
  assert.equal((await again).status, 'ok')
})

test('requests that come in by one link leave room for those of others', async (t) => {
  const { answer: _, ...real } = await service(t)
  const gates: (() => void)[] = []
  const slow: ShareStore = {
    ...real.store,
    getShare: async () => {
      await new Promise<void>((resolve) => void gates.push(resolve))
      return null
    },
  }
  const answer = storeService(slow, { clock: real.clock, limits: { puts: 1, gets: 8, checks: 1 } })
  const [flood, other] = [{}, {}]
  const get = (claimant: object) => answer(encodeStoreRequest(getShare), { claimant })
  const flooding = Array.from({ length: 20 }, () => get(flood))
  const served = [get(other), get(other)]
  for (const open of gates) open()
  const statuses = async (answers: readonly ReturnType<typeof get>[]) => (await Promise.all(answers)).map(({ status }) => status)
  assert.deepEqual(await statuses(served), ['not-found', 'not-found'])
  assert.equal((await statuses(flooding)).filter((status) => status === 'busy').length, 16)
})

test('a closed store refuses and finds nothing', async (t) => {
  const { ask, store } = await service(t)
  await ask(putShare())
  await store.close()
  assert.equal((await ask(putShare())).status, 'refused')
  assert.equal((await ask(getShare)).status, 'not-found')
})
