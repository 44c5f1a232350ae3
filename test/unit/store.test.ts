/** The store: verdicts, quota, expiry, renewal, damage on disk, restart, a disk that refuses. Spec: SPEC.md §7.1. */
import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, rmSync, statSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { open, readFile, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { KEEP_MS_MAX, openStore, type ShareStore } from '../../relay/store/index.ts'
import { equalPublic, type UnixMs, writeU32 } from '../../src/bytes/index.ts'
import { shareAddress } from '../../src/content/share.ts'
import { SLOT_BYTES_MAX, signSlot, slotLocation } from '../../src/content/slot.ts'
import { signingKey } from '../../src/crypto/index.ts'
import { isOverlayError } from '../../src/errors/index.ts'
import { FakeClock } from '../support/fake-clock.ts'

const SHARE_BYTES = 65_536
const SLOT_CHARGE = 20_480
const HOUR = 3_600_000
const MANY = 64 * SHARE_BYTES

function share(number: number): Uint8Array {
  const bytes = new Uint8Array(SHARE_BYTES).fill(number)
  writeU32(bytes, SHARE_BYTES - 4, number)
  return bytes
}

/** Whether the store serves exactly this share. A boolean: a failed comparison of whole shares would print for minutes. */
async function has(store: ShareStore, wanted: Uint8Array): Promise<boolean> {
  const got = await store.getShare(shareAddress(wanted))
  assert.ok(got === null || equalPublic(got, wanted), 'a wrong share was served')
  return got !== null
}

function temporary(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), 'gyre-store-'))
  t.after(() => rmSync(dir, { recursive: true, force: true }))
  return dir
}

interface Opened {
  readonly store: ShareStore
  readonly clock: FakeClock
  readonly dir: string
  readonly warnings: string[]
  in(hours: number): UnixMs
  again(quotaBytes?: number): Promise<Opened>
}

async function opened(
  t: TestContext,
  {
    quotaBytes = MANY,
    dir = temporary(t),
    clock = new FakeClock(),
  }: { quotaBytes?: number; dir?: string; clock?: FakeClock } = {},
): Promise<Opened> {
  const warnings: string[] = []
  const store = await openStore({ dir, quotaBytes, clock, log: { warn: (text) => void warnings.push(text) } })
  t.after(() => store.close())
  return {
    store,
    clock,
    dir,
    warnings,
    in: (hours) => (clock.unixMs() + hours * HOUR) as UnixMs,
    again: async (quota = quotaBytes) => {
      await store.close()
      return opened(t, { quotaBytes: quota, dir, clock })
    },
  }
}

/** Changes one byte of a file in place. */
async function flip(path: string, at: number): Promise<void> {
  const file = await open(path, 'r+')
  const byte = new Uint8Array(1)
  await file.read(byte, 0, 1, at)
  byte[0]! ^= 0x40
  await file.write(byte, 0, 1, at)
  await file.close()
}

const key = signingKey(new Uint8Array(32).fill(7))
const slotValue = (text: string, slot = 0) => signSlot(key, slot, new TextEncoder().encode(text))

test('a share is stored once, found by its hash, and there again after a restart', async (t) => {
  const first = await opened(t)
  assert.equal(await first.store.putShare(share(1), first.in(1)), 'stored')
  assert.equal(await first.store.putShare(share(1), first.in(1)), 'already')
  assert.ok(await has(first.store, share(1)))
  assert.ok(!(await has(first.store, share(2))))
  assert.deepEqual(first.store.stats(), { shares: 1, slots: 0, bytes: SHARE_BYTES, damaged: 0 })
  const second = await first.again()
  assert.ok(await has(second.store, share(1)))
  assert.equal(await second.store.putShare(share(1), second.in(1)), 'already')
})

test('what is returned belongs to the caller', async (t) => {
  const { store, in: after } = await opened(t)
  await store.putShare(share(1), after(1))
  const got = await store.getShare(shareAddress(share(1)))
  got!.fill(0)
  assert.ok(await has(store, share(1)))
})

test('wrong lengths and times are bad', async (t) => {
  const { store, in: after } = await opened(t)
  assert.equal(await store.putShare(new Uint8Array(SHARE_BYTES - 1), after(1)), 'bad')
  assert.equal(await store.putShare(new Uint8Array(SHARE_BYTES + 1), after(1)), 'bad')
  assert.equal(await store.putShare(share(1), after(0)), 'bad')
  assert.equal(await store.putShare(share(1), Number.NaN as UnixMs), 'bad')
  assert.equal(await store.getShare(new Uint8Array(31)), null)
  assert.deepEqual(await store.getSlots(new Uint8Array(33)), [])
  assert.equal(store.stats().bytes, 0)
})

test('at the quota new shares are refused, known ones renewed, and nothing is thrown out', async (t) => {
  const { store, in: after } = await opened(t, { quotaBytes: 2 * SHARE_BYTES })
  assert.equal(await store.putShare(share(1), after(1)), 'stored')
  assert.equal(await store.putShare(share(2), after(1)), 'stored')
  assert.equal(await store.putShare(share(3), after(1)), 'full')
  assert.equal(await store.putSlot(slotValue('root'), after(1)), 'full')
  assert.equal(await store.putShare(share(1), after(2)), 'already')
  assert.ok(await has(store, share(1)))
  assert.ok(await has(store, share(2)))
})

test('puts that run at once never pass the quota together', async (t) => {
  const { store, in: after } = await opened(t, { quotaBytes: 3 * SHARE_BYTES })
  const verdicts = await Promise.all(Array.from({ length: 10 }, (_, at) => store.putShare(share(at), after(1))))
  assert.equal(verdicts.filter((verdict) => verdict === 'stored').length, 3)
  assert.equal(verdicts.filter((verdict) => verdict === 'full').length, 7)
})

test('the same share put several times at once is stored once', async (t) => {
  const { store, in: after } = await opened(t)
  const verdicts = await Promise.all(Array.from({ length: 5 }, () => store.putShare(share(9), after(1))))
  assert.deepEqual(verdicts, ['stored', 'already', 'already', 'already', 'already'])
  assert.equal(store.stats().shares, 1)
})

test('an expired share is not served at once, and leaves by itself', async (t) => {
  const { store, clock, in: after } = await opened(t)
  await store.putShare(share(1), after(1))
  await store.putShare(share(2), after(5))
  await clock.advance(HOUR - 1)
  assert.ok(await has(store, share(1)))
  await clock.advance(1)
  assert.ok(!(await has(store, share(1))))
  await store.sweep()
  assert.equal(store.stats().shares, 1)
  assert.ok(await has(store, share(2)))
})

test('sweeping needs no call', async (t) => {
  const { store, clock, in: after } = await opened(t)
  for (let at = 0; at < 40; at++) await store.putShare(share(at), after(1))
  assert.equal(store.stats().shares, 40)
  for (let minute = 0; minute < 62; minute++) {
    await clock.advance(60_000)
    await store.sweep() // waits for the one that the clock began
  }
  assert.equal(store.stats().shares, 0)
})

test('what has expired by a date that was just set is not swept, and served again when the date is right', async (t) => {
  const { store, clock, in: after } = await opened(t)
  await store.putShare(share(1), after(20))
  clock.jumpWallClock(24 * HOUR)
  for (let minute = 0; minute < 30; minute++) await clock.advance(60_000)
  assert.ok(!(await has(store, share(1))))
  clock.jumpWallClock(-24 * HOUR)
  assert.ok(await has(store, share(1)))
})

test('room of expired shares is used when the quota is reached', async (t) => {
  const { store, dir, clock, in: after } = await opened(t, { quotaBytes: 2 * SHARE_BYTES })
  await store.putShare(share(1), after(1))
  await store.putShare(share(2), after(1))
  clock.jumpWallClock(2 * HOUR)
  assert.equal(await store.putShare(share(3), after(1)), 'stored')
  assert.equal(statSync(join(dir, 'shares.places')).size, 2 * SHARE_BYTES)
})

test('the longer keeping time holds, and none is longer than 90 days', async (t) => {
  const { store, clock, in: after } = await opened(t)
  await store.putShare(share(1), after(10))
  await store.putShare(share(1), after(2))
  await store.putShare(share(2), after(1))
  await store.putShare(share(2), after(10))
  await store.putShare(share(3), after(24 * 365))
  clock.jumpWallClock(9 * HOUR)
  assert.ok(await has(store, share(1)))
  assert.ok(await has(store, share(2)))
  clock.jumpWallClock(KEEP_MS_MAX - 9 * HOUR - 1)
  assert.ok(await has(store, share(3)))
  clock.jumpWallClock(1)
  assert.ok(!(await has(store, share(3))))
})

test('a renewal survives a restart', async (t) => {
  const first = await opened(t)
  await first.store.putShare(share(1), first.in(1))
  await first.store.putShare(share(1), first.in(10))
  const second = await first.again()
  second.clock.jumpWallClock(5 * HOUR)
  assert.ok(await has(second.store, share(1)))
})

test('any changed byte of a stored share is noticed; the entry is gone and can be put again', async (t) => {
  for (const at of [0, 1, 4096, 40_000, SHARE_BYTES - 1]) {
    const { store, dir, warnings, in: after } = await opened(t)
    await store.putShare(share(1), after(1))
    await flip(join(dir, 'shares.places'), at)
    assert.ok(!(await has(store, share(1))))
    assert.equal(store.stats().damaged, 1)
    assert.equal(warnings.length, 1)
    assert.equal(await store.putShare(share(1), after(1)), 'stored')
    assert.ok(await has(store, share(1)))
  }
})

test('already is said only of a copy that is right', async (t) => {
  const { store, dir, in: after } = await opened(t)
  await store.putShare(share(1), after(1))
  await flip(join(dir, 'shares.places'), 777)
  assert.equal(await store.putShare(share(1), after(1)), 'stored')
  assert.ok(await has(store, share(1)))
})

test('any changed byte of an index entry loses that entry only', async (t) => {
  for (let at = 64; at < 128; at++) {
    const first = await opened(t)
    await first.store.putShare(share(1), first.in(1))
    await first.store.putShare(share(2), first.in(1))
    await first.store.close()
    await flip(join(first.dir, 'shares.index'), at)
    const second = await opened(t, { dir: first.dir, clock: first.clock })
    assert.ok(!(await has(second.store, share(1))))
    assert.ok(await has(second.store, share(2)))
    assert.equal(second.store.stats().damaged, 1)
  }
})

test('entries whose bytes were lost (a power loss) are dropped when read', async (t) => {
  const first = await opened(t)
  for (let at = 0; at < 4; at++) await first.store.putShare(share(at), first.in(1))
  await first.store.close()
  truncateSync(join(first.dir, 'shares.places'), 2.5 * SHARE_BYTES)
  const { store } = await opened(t, { dir: first.dir, clock: first.clock })
  const kept = await Promise.all([0, 1, 2, 3].map(async (at) => (await store.getShare(shareAddress(share(at)))) !== null))
  assert.deepEqual(kept, [true, true, false, false])
  assert.equal(store.stats().shares, 2)
})

test('a torn end of the index loses the torn entry only', async (t) => {
  const first = await opened(t)
  for (let at = 0; at < 3; at++) await first.store.putShare(share(at), first.in(1))
  await first.store.close()
  truncateSync(join(first.dir, 'shares.index'), 64 * 4 - 10)
  const second = await opened(t, { dir: first.dir, clock: first.clock })
  assert.equal(second.store.stats().shares, 2)
  assert.equal(await second.store.putShare(share(5), second.in(1)), 'stored')
  const third = await second.again()
  assert.equal(third.store.stats().shares, 3)
  assert.ok(await has(third.store, share(5)))
})

test('freed places are used again, and free ones at the end are given back at opening', async (t) => {
  const first = await opened(t)
  for (let at = 0; at < 8; at++) await first.store.putShare(share(at), first.in(at < 4 ? 10 : 1))
  first.clock.jumpWallClock(2 * HOUR)
  await first.store.sweep()
  for (let at = 10; at < 14; at++) await first.store.putShare(share(at), first.in(1))
  assert.equal(statSync(join(first.dir, 'shares.places')).size, 8 * SHARE_BYTES)
  first.clock.jumpWallClock(2 * HOUR)
  await first.store.sweep()
  const second = await first.again()
  assert.equal(statSync(join(first.dir, 'shares.places')).size, 4 * SHARE_BYTES)
  for (let at = 0; at < 4; at++) assert.ok(await has(second.store, share(at)))
})

test('a slot takes a value with its key signature only', async (t) => {
  const { store, in: after } = await opened(t)
  const good = slotValue('root')
  const other = signingKey(new Uint8Array(32).fill(8))
  assert.equal(await store.putSlot({ ...good, slot: 1 }, after(1)), 'bad')
  assert.equal(await store.putSlot({ ...good, value: new TextEncoder().encode('Root') }, after(1)), 'bad')
  assert.equal(await store.putSlot({ ...good, publicKey: other.publicKey }, after(1)), 'bad')
  assert.equal(await store.putSlot({ ...good, signature: good.signature.slice(1) }, after(1)), 'bad')
  assert.equal(await store.putSlot({ ...good, slot: -1 }, after(1)), 'bad')
  assert.equal(await store.putSlot({ ...good, slot: 0.5 }, after(1)), 'bad')
  for (let at = 0; at < 64; at++) {
    const signature = new Uint8Array(good.signature)
    signature[at]! ^= 1
    assert.equal(await store.putSlot({ ...good, signature }, after(1)), 'bad')
  }
  assert.equal(await store.putSlot(signSlot(key, 0, new Uint8Array(0)), after(1)), 'bad')
  assert.equal(await store.putSlot(signSlot(key, 0, new Uint8Array(SLOT_BYTES_MAX + 1)), after(1)), 'bad')
  assert.equal(await store.putSlot(signSlot(key, 0, new Uint8Array(SLOT_BYTES_MAX)), after(1)), 'stored')
  assert.equal(await store.putSlot(good, after(1)), 'stored')
  assert.deepEqual(store.stats(), { shares: 0, slots: 2, bytes: 2 * SLOT_CHARGE, damaged: 0 })
})

test('a slot keeps its first values, four at most, over a restart', async (t) => {
  const first = await opened(t)
  const location = slotLocation(key.publicKey, 0)
  assert.deepEqual(await first.store.getSlots(location), [])
  for (const text of ['a', 'b', 'c', 'd']) assert.equal(await first.store.putSlot(slotValue(text), first.in(1)), 'stored')
  assert.equal(await first.store.putSlot(slotValue('e'), first.in(1)), 'full')
  assert.equal(await first.store.putSlot(slotValue('c'), first.in(1)), 'already')
  assert.equal(await first.store.putSlot(slotValue('e', 1), first.in(1)), 'stored')
  const second = await first.again()
  const texts = (await second.store.getSlots(location)).map(({ value }) => new TextDecoder().decode(value))
  assert.deepEqual(texts.sort(), ['a', 'b', 'c', 'd'])
  const [slot] = await second.store.getSlots(slotLocation(key.publicKey, 1))
  assert.deepEqual({ ...slot }, { ...slotValue('e', 1) })
})

test('values put into one slot at once take a place each', async (t) => {
  const { store, in: after } = await opened(t)
  const verdicts = await Promise.all(['a', 'b', 'a', 'c', 'd', 'e'].map((text) => store.putSlot(slotValue(text), after(1))))
  assert.deepEqual(verdicts, ['stored', 'stored', 'already', 'stored', 'stored', 'full'])
})

test('any changed byte of a stored slot value is noticed', async (t) => {
  const { store, dir, in: after } = await opened(t)
  const location = slotLocation(key.publicKey, 0)
  for (let at = 0; at < 32 + 4 + 64 + 4; at++) {
    assert.equal(await store.putSlot(slotValue('root'), after(1)), 'stored')
    await flip(join(dir, 'slots.places'), at)
    assert.deepEqual(await store.getSlots(location), [])
    assert.equal(store.stats().slots, 0)
  }
})

test('a full disk refuses, warns once, and loses nothing that was there', { skip: !existsSync('/dev/full') }, async (t) => {
  const dir = temporary(t)
  symlinkSync('/dev/full', join(dir, 'shares.places'))
  const { store, warnings, in: after } = await opened(t, { dir })
  assert.equal(await store.putSlot(slotValue('root'), after(1)), 'stored')
  assert.equal(await store.putShare(share(1), after(1)), 'full')
  assert.equal(await store.putShare(share(2), after(1)), 'full')
  assert.equal(warnings.length, 1)
  assert.ok(!(await has(store, share(1))))
  assert.equal((await store.getSlots(slotLocation(key.publicKey, 0))).length, 1)
  assert.equal(store.stats().bytes, SLOT_CHARGE)
})

test('a folder that cannot be used is a typed error', async (t) => {
  const dir = temporary(t)
  const unusable = (error: unknown) => isOverlayError(error, 'STORE_UNUSABLE')
  const open = (at: string) => openStore({ dir: at, quotaBytes: MANY, clock: new FakeClock(), log: { warn: () => {} } })
  writeFileSync(join(dir, 'file'), 'no folder')
  await assert.rejects(open(join(dir, 'file')), unusable)
  const first = await opened(t)
  await first.store.putShare(share(1), first.in(1))
  await first.store.close()
  const index = await readFile(join(first.dir, 'shares.index'))
  for (let at = 0; at < 64; at++) {
    const changed = new Uint8Array(index)
    changed[at]! ^= 1
    await writeFile(join(first.dir, 'shares.index'), changed)
    await assert.rejects(open(first.dir), unusable)
  }
  await writeFile(join(first.dir, 'shares.index'), index.subarray(0, 40))
  await assert.rejects(open(first.dir), unusable)
})

test('closing waits for puts, can be repeated, leaves no timer, and afterwards nothing is taken or found', async (t) => {
  const first = await opened(t)
  const put = first.store.putShare(share(1), first.in(1))
  await Promise.all([first.store.close(), first.store.close()])
  assert.equal(await put, 'stored')
  assert.equal(first.clock.pendingTimers, 0)
  assert.equal(await first.store.putShare(share(2), first.in(1)), 'full')
  assert.equal(await first.store.putSlot(slotValue('root'), first.in(1)), 'full')
  assert.ok(!(await has(first.store, share(1))))
  assert.deepEqual(await first.store.getSlots(slotLocation(key.publicKey, 0)), [])
  const second = await first.again()
  assert.ok(await has(second.store, share(1)))
})

test('files and folder are for their owner only', async (t) => {
  const dir = join(temporary(t), 'store')
  await opened(t, { dir })
  assert.equal(statSync(dir).mode & 0o777, 0o700)
  for (const name of ['shares.places', 'shares.index', 'slots.places', 'slots.index']) {
    assert.equal(statSync(join(dir, name)).mode & 0o777, 0o600)
  }
})
