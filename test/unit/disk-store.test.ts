/**
 * The share store and the holder of records on a disk that fails at each call in turn (`test/support/every-call.ts`): a put that was acknowledged is
 * there after a death, and after a power cut once the store was closed; whatever is served is right; the store opens again.
 */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { openRecordHolder, type RecordHolder } from '../../relay/record/index.ts'
import { openStore, type ShareStore } from '../../relay/store/index.ts'
import { equalPublic, type UnixMs, writeU32 } from '../../src/bytes/index.ts'
import { signRecord } from '../../src/content/record.ts'
import { shareAddress } from '../../src/content/share.ts'
import { signSlot, slotLocation } from '../../src/content/slot.ts'
import { blindSigningKey, signingKey } from '../../src/crypto/index.ts'
import { RECORD_VALUE_BYTES, SHARE_BYTES } from '../../src/wire/index.ts'
import { atEveryCall, type Scenario, type Told } from '../support/every-call.ts'
import { FakeClock } from '../support/fake-clock.ts'

const quiet = { warn: () => {} }
const HOUR = 3_600_000
const LATER = (FakeClock.START_UNIX_MS + 10 * HOUR) as UnixMs
const key = signingKey(new Uint8Array(32).fill(7))

function share(number: number): Uint8Array {
  const bytes = new Uint8Array(SHARE_BYTES).fill(number)
  for (let at = 0; at < SHARE_BYTES; at += 64) writeU32(bytes, at, number + at)
  return bytes
}

const slot = (number: number) => signSlot(key, number, share(number).subarray(0, 5_000))

function storeIn(dir: string, clock = new FakeClock()): Promise<ShareStore> {
  return openStore({ dir: join(dir, 'store'), quotaBytes: 64 * SHARE_BYTES, clock, log: quiet })
}

/** The store, or `null` when the disk does not let it open: which must be told in our words. */
async function opened<S>(told: Told<string>, open: () => Promise<S>): Promise<S | null> {
  try {
    return await open()
  } catch (error) {
    told.judge(error)
    return null
  }
}

async function checkStore(dir: string, told: readonly string[], kept: boolean, before: readonly string[] = []): Promise<void> {
  const store = await storeIn(dir)
  for (let number = 0; number < 10; number++) {
    const got = await store.getShare(shareAddress(share(number)))
    const isThere = got !== null
    if (isThere) assert.ok(equalPublic(got, share(number)), 'a wrong share')
    if (kept && (told.includes(`share ${number}`) || before.includes(`share ${number}`)))
      assert.ok(isThere, `share ${number} is lost`)
    const slots = await store.getSlots(slotLocation(key.publicKey, number))
    assert.ok(
      slots.every(({ value }) => equalPublic(value, slot(number).value)),
      'a wrong slot',
    )
    if (kept && (told.includes(`slot ${number}`) || before.includes(`slot ${number}`)))
      assert.equal(slots.length, 1, `slot ${number} is lost`)
  }
  // It goes on taking what it is given.
  assert.equal(await store.putShare(share(99), LATER), 'stored')
  await store.close()
}

const prepareStore: NonNullable<Scenario<string>['prepare']> = async (dir) => {
  const store = await storeIn(dir)
  for (const number of [0, 1]) await store.putShare(share(number), LATER)
  await store.putShare(share(8), (FakeClock.START_UNIX_MS + HOUR) as UnixMs)
  await store.putSlot(slot(0), LATER)
  await store.close()
}

test('share store: what was acknowledged survives a death, and nothing wrong is served', async (t) => {
  await atEveryCall<string>(t, {
    survivesPowerCut: false,
    prepare: prepareStore,
    async run(dir, told) {
      const clock = new FakeClock()
      const store = await opened(told, () => storeIn(dir, clock))
      if (store === null) return
      const put = async (name: string, verdict: Promise<string>) => {
        if (['stored', 'already'].includes(await verdict)) told.note(name)
      }
      await put('share 2', store.putShare(share(2), LATER))
      await put('share 0', store.putShare(share(0), (LATER + HOUR) as UnixMs))
      // Side by side, as requests come.
      await Promise.all([
        put('share 3', store.putShare(share(3), LATER)),
        put('slot 1', store.putSlot(slot(1), LATER)),
        put('share 1', store.putShare(share(1), LATER)),
      ])
      clock.jumpWallClock(2 * HOUR)
      await store.sweep() // share 8
      await put('share 4', store.putShare(share(4), LATER)) // in its place
      const got = await store.getShare(shareAddress(share(0)))
      assert.ok(got === null || equalPublic(got, share(0)))
      await store.close()
    },
    check: (dir, told, kept) => checkStore(dir, kept ? told : [], true, ['share 0', 'share 1', 'slot 0']),
  })
})

test('share store: what was there when it was closed survives a power cut', async (t) => {
  await atEveryCall<string>(t, {
    survivesPowerCut: true,
    async run(dir, told) {
      const store = await opened(told, () => storeIn(dir))
      if (store === null) return
      const done: string[] = []
      if ((await store.putShare(share(1), LATER)) === 'stored') done.push('share 1')
      if ((await store.putSlot(slot(2), LATER)) === 'stored') done.push('slot 2')
      await store.close()
      for (const name of done) told.note(name)
      const again = await opened(told, () => storeIn(dir))
      await again?.putShare(share(3), LATER)
      await again?.close()
    },
    check: checkStore,
  })
})

const keys = await Promise.all(
  [1, 2].map((number) => blindSigningKey(new Uint8Array(32).fill(number), new Uint8Array(32).fill(1))),
)
const record = (number: number, sequence: number) =>
  signRecord(keys[number]!, { sequence, expiresMs: LATER, value: new Uint8Array(RECORD_VALUE_BYTES).fill(sequence) })

function holderIn(dir: string): Promise<RecordHolder> {
  return openRecordHolder({ dir: join(dir, 'records'), clock: new FakeClock(), log: quiet })
}

test('record holder: never an older record than was acknowledged, never a mixture', async (t) => {
  await atEveryCall<string>(t, {
    survivesPowerCut: false,
    async prepare(dir) {
      const holder = await holderIn(dir)
      assert.equal(await holder.put(record(0, 1)), 'stored')
      await holder.close()
    },
    async run(dir, told) {
      const holder = await opened(told, () => holderIn(dir))
      if (holder === null) return
      for (const [number, sequence] of [
        [0, 2],
        [1, 1],
        [0, 3],
        [0, 4],
      ] as const) {
        if ((await holder.put(record(number, sequence))) === 'stored') told.note(`${number} ${sequence}`)
        const held = await holder.get(keys[number]!.publicKey)
        if (held !== null) assert.ok(held.value.every((byte) => byte === held.sequence))
      }
      await holder.close()
    },
    async check(dir, told, kept) {
      const holder = await holderIn(dir)
      for (const number of [0, 1]) {
        const held = await holder.get(keys[number]!.publicKey)
        if (held !== null)
          assert.ok(
            held.value.every((byte) => byte === held.sequence),
            'a mixture',
          )
        const last = Math.max(
          ...told.map((text) => text.split(' ').map(Number)).flatMap(([of, sequence]) => (of === number ? [sequence!] : [])),
        )
        if (kept && last > 0) assert.ok((held?.sequence ?? 0) >= last, `${held?.sequence} after ${last} of key ${number}`)
      }
      assert.equal(await holder.put(record(1, 9)), 'stored')
      await holder.close()
    },
  })
})
