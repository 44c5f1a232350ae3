/**
 * The store against a map: random puts, gets, slots, time, sweeps, restarts and damage give what a plain map with expiry times would.
 * Spec: SPEC.md §7.1.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { open, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import fc from 'fast-check'
import { KEEP_MS_MAX, openStore, type ShareStore } from '../../relay/store/index.ts'
import { equalPublic, toHex, type UnixMs, writeU32 } from '../../src/bytes/index.ts'
import { shareAddress } from '../../src/content/share.ts'
import { signSlot, slotLocation } from '../../src/content/slot.ts'
import { signingKey } from '../../src/crypto/index.ts'
import { FakeClock } from '../support/fake-clock.ts'

const SHARE_BYTES = 65_536
const SLOT_CHARGE = 20_480
const HOUR = 3_600_000
const PLACES = 5
const SHARES = 8
const SEED = 77

const shares = Array.from({ length: SHARES }, (_, number) => {
  const bytes = new Uint8Array(SHARE_BYTES).fill(number + 1)
  writeU32(bytes, 100, number)
  return bytes
})
const key = signingKey(new Uint8Array(32).fill(5))
const slots = [0, 1].map((slot) => Array.from({ length: 6 }, (_, value) => signSlot(key, slot, new Uint8Array(50).fill(value))))

type Step =
  | { readonly do: 'put'; readonly share: number; readonly hours: number }
  | { readonly do: 'get'; readonly share: number }
  | { readonly do: 'put-slot'; readonly slot: number; readonly value: number; readonly hours: number }
  | { readonly do: 'get-slots'; readonly slot: number }
  | { readonly do: 'wait'; readonly hours: number }
  | { readonly do: 'sweep' }
  | { readonly do: 'restart' }
  | { readonly do: 'damage'; readonly place: number; readonly at: number }

const number = fc.nat(SHARES - 1)
const hours = fc.constantFrom(1, 2, 5, 24 * 89, 24 * 91)
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant('put' as const), share: number, hours }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('get' as const), share: number }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('put-slot' as const), slot: fc.nat(1), value: fc.nat(5), hours }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('get-slots' as const), slot: fc.nat(1) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('wait' as const), hours: fc.constantFrom(1, 2, 4, 24 * 90) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('sweep' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('restart' as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('damage' as const), place: fc.nat(PLACES - 1), at: fc.nat(SHARE_BYTES - 1) }),
  },
)

/** What should be there: expiry by share number, and by value for each slot. */
class Model {
  readonly shares = new Map<number, number>()
  readonly slots = [new Map<number, number>(), new Map<number, number>()]

  expire(now: number): void {
    for (const [share, until] of this.shares) if (until <= now) this.shares.delete(share)
    for (const slot of this.slots) for (const [value, until] of slot) if (until <= now) slot.delete(value)
  }

  get bytes(): number {
    return this.shares.size * SHARE_BYTES + this.slots.reduce((sum, slot) => sum + slot.size, 0) * SLOT_CHARGE
  }
}

async function run(steps: readonly Step[]): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'gyre-model-'))
  const clock = new FakeClock()
  const quotaBytes = PLACES * SHARE_BYTES
  const start = () => openStore({ dir, quotaBytes, clock, log: { warn: () => {} } })
  let store: ShareStore = await start()
  const model = new Model()

  /** A put of something that the model does not have: room decides. */
  const added = (verdict: string, charge: number) => {
    if (verdict === 'stored') return true
    assert.equal(verdict, 'full')
    assert.ok(store.stats().bytes + charge > quotaBytes, 'refused with room left')
    return false
  }
  const take = async (each: Step) => {
    const now = clock.unixMs()
    model.expire(now)
    switch (each.do) {
      case 'put': {
        const until = now + Math.min(each.hours * HOUR, KEEP_MS_MAX)
        const verdict = await store.putShare(shares[each.share]!, (now + each.hours * HOUR) as UnixMs)
        const had = model.shares.get(each.share)
        if (had !== undefined) assert.equal(verdict, 'already')
        if (had !== undefined || added(verdict, SHARE_BYTES)) model.shares.set(each.share, Math.max(had ?? 0, until))
        return
      }
      case 'get': {
        const got = await store.getShare(shareAddress(shares[each.share]!))
        assert.equal(got !== null, model.shares.has(each.share))
        assert.ok(got === null || equalPublic(got, shares[each.share]!))
        return
      }
      case 'put-slot': {
        const until = now + Math.min(each.hours * HOUR, KEEP_MS_MAX)
        const values = model.slots[each.slot]!
        const had = values.get(each.value)
        const verdict = await store.putSlot(slots[each.slot]![each.value]!, (now + each.hours * HOUR) as UnixMs)
        if (had !== undefined) assert.equal(verdict, 'already')
        else if (values.size === 4) assert.equal(verdict, 'full')
        if (had !== undefined || (values.size < 4 && added(verdict, SLOT_CHARGE))) {
          values.set(each.value, Math.max(had ?? 0, until))
        }
        return
      }
      case 'get-slots': {
        const got = await store.getSlots(slotLocation(key.publicKey, each.slot))
        const expected = [...model.slots[each.slot]!.keys()].map((value) => toHex(slots[each.slot]![value]!.signature))
        assert.deepEqual(got.map(({ signature }) => toHex(signature)).sort(), expected.sort())
        return
      }
      case 'wait':
        clock.jumpWallClock(each.hours * HOUR)
        await clock.advance(2_000)
        return
      case 'sweep':
        await store.sweep()
        assert.equal(store.stats().bytes, model.bytes)
        return
      case 'restart':
        await store.close()
        store = await start()
        return
      case 'damage':
        await damage(each)
        return
    }
  }
  /** Changes a byte on disk. Whichever share lay there is lost: reading all of them tells the model which. */
  const damage = async ({ place, at }: { readonly place: number; readonly at: number }) => {
    const path = join(dir, 'shares.places')
    if ((await stat(path)).size < (place + 1) * SHARE_BYTES) return
    const file = await open(path, 'r+')
    const byte = new Uint8Array(1)
    await file.read(byte, 0, 1, place * SHARE_BYTES + at)
    byte[0]! ^= 0xff
    await file.write(byte, 0, 1, place * SHARE_BYTES + at)
    await file.close()
    let lost = 0
    for (const held of [...model.shares.keys()]) {
      const got = await store.getShare(shareAddress(shares[held]!))
      if (got !== null) assert.ok(equalPublic(got, shares[held]!), 'a damaged share was served')
      else {
        model.shares.delete(held)
        lost++
      }
    }
    assert.ok(lost <= 1)
  }

  try {
    for (const each of steps) await take(each)
    model.expire(clock.unixMs())
    assert.ok(store.stats().bytes <= quotaBytes)
  } finally {
    await store.close()
    rmSync(dir, { recursive: true, force: true })
  }
}

test('a store does what a map with expiry times does', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 60 }), (steps) => run(steps)),
    { seed: SEED, numRuns: 60 },
  )
})

test('whatever runs at once, the quota holds, only right bytes are served, and a restart finds the same', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 20, maxLength: 80 }), async (steps) => {
      const dir = mkdtempSync(join(tmpdir(), 'gyre-model-'))
      const clock = new FakeClock()
      const quotaBytes = PLACES * SHARE_BYTES
      const start = () => openStore({ dir, quotaBytes, clock, log: { warn: () => {} } })
      const store = await start()
      const jobs: Promise<unknown>[] = []
      const right = async (of: ShareStore, share: number) => {
        const got = await of.getShare(shareAddress(shares[share]!))
        assert.ok(got === null || equalPublic(got, shares[share]!), 'a wrong share was served')
        return got !== null
      }
      for (const each of steps) {
        const until = (hours: number) => (clock.unixMs() + hours * HOUR) as UnixMs
        if (each.do === 'put') jobs.push(store.putShare(shares[each.share]!, until(each.hours)))
        else if (each.do === 'get') jobs.push(right(store, each.share))
        else if (each.do === 'put-slot') jobs.push(store.putSlot(slots[each.slot]![each.value]!, until(each.hours)))
        else if (each.do === 'get-slots') jobs.push(store.getSlots(slotLocation(key.publicKey, each.slot)))
        else if (each.do === 'wait') clock.jumpWallClock(each.hours * HOUR)
        else if (each.do === 'sweep') jobs.push(store.sweep())
        else await nextTurn()
        assert.ok(store.stats().bytes <= quotaBytes)
      }
      await Promise.all(jobs)
      const served = await Promise.all(shares.map((_, share) => right(store, share)))
      assert.equal(store.stats().damaged, 0)
      await store.close()
      assert.equal(clock.pendingTimers, 0)
      const again = await start()
      const after: boolean[] = []
      for (let share = 0; share < SHARES; share++) after.push(await right(again, share))
      assert.deepEqual(after, served)
      await again.close()
      rmSync(dir, { recursive: true, force: true })
    }),
    { seed: SEED, numRuns: 60 },
  )
})
