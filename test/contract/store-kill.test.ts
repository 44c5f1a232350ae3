/**
 * The store's promise to writers, with real processes: a child puts shares and slot values as fast as it can, notes each acknowledgement
 * in a file of its own, and is killed with SIGKILL at a random time, several times over one folder. Afterwards every acknowledged share is
 * there and right, and nothing half-written is served. Spec: SPEC.md §7.1.5.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, openSync, rmSync, writeSync } from 'node:fs'
import { open, readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { openStore, type ShareStore } from '../../relay/store/index.ts'
import { equalPublic, type UnixMs, writeU32 } from '../../src/bytes/index.ts'
import { shareAddress } from '../../src/content/share.ts'
import { signSlot, slotLocation } from '../../src/content/slot.ts'
import { signingKey } from '../../src/crypto/index.ts'
import { systemClock } from '../../src/runtime/index.ts'
import { notedUntilKilled } from '../support/processes.ts'
import { seededRng } from '../support/seeded-rng.ts'

const SHARE_BYTES = 65_536
const ROUNDS = 8
const IN_FLIGHT = 8
const SEED = 41
const NOTES = 'acknowledged'
const NONE = new Uint8Array(0)

const key = signingKey(new Uint8Array(32).fill(3))

/** Share `number` has other bytes in each part, so that a torn one is no other share. */
function share(number: number): Uint8Array {
  const bytes = new Uint8Array(SHARE_BYTES).fill(0xa5)
  for (let at = 0; at < SHARE_BYTES; at += 64) writeU32(bytes, at, number + at)
  return bytes
}

function slot(number: number) {
  return signSlot(key, number, share(number).subarray(0, 16_384))
}

function openHere(dir: string): Promise<ShareStore> {
  return openStore({ dir, quotaBytes: 1024 * 1024 * 1024, clock: systemClock, log: { warn: () => {} } })
}

/** The child: puts numbers from `first` on until it is killed; a line for each acknowledged one, noted before the next put. */
async function writeUntilKilled(dir: string, first: number): Promise<void> {
  const store = await openHere(dir)
  const notes = openSync(join(dir, NOTES), 'a') // a pipe could be full, and a put is not to wait for its reader
  const until = (systemClock.unixMs() + 3_600_000) as UnixMs
  let next = first
  const worker = async () => {
    for (;;) {
      const number = next++
      if ((await store.putShare(share(number), until)) === 'stored') writeSync(notes, `share ${number}\n`)
      if (number % 16 === 0 && (await store.putSlot(slot(number), until)) === 'stored') writeSync(notes, `slot ${number}\n`)
    }
  }
  writeSync(1, 'open\n')
  await Promise.all(Array.from({ length: IN_FLIGHT }, worker))
}

/** What a child acknowledged until it was killed, `afterMs` after it began to write. */
function killed(dir: string, first: number, afterMs: number): Promise<string[]> {
  return notedUntilKilled(import.meta.filename, ['child', dir, String(first)], join(dir, NOTES), afterMs)
}

async function main(): Promise<void> {
  const [role, dir, first] = process.argv.slice(2)
  if (role === 'child') return writeUntilKilled(dir!, Number(first))

  test('every acknowledged share and slot survives kill -9, and nothing half-written is served', async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'gyre-kill-'))
    t.after(() => rmSync(folder, { recursive: true, force: true }))
    const rng = seededRng(SEED)
    const acknowledged: string[] = []
    let first = 0
    for (let round = 0; round < ROUNDS; round++) {
      const lines = await killed(folder, first, 20 + rng.below(120))
      acknowledged.push(...lines)
      // Far enough that no number is put twice, whatever was in flight.
      first += lines.length + 64
    }
    assert.ok(acknowledged.length > 20, `only ${acknowledged.length} puts were acknowledged`)

    // What the files hold, whoever acknowledged it: each entry is served right or not at all.
    const index = await readFile(join(folder, 'shares.index'))
    const store = await openHere(folder)
    let served = 0
    for (let at = 64; at + 64 <= index.length; at += 64) {
      const address = new Uint8Array(index.subarray(at, at + 32))
      const got = await store.getShare(address)
      if (got === null) continue
      served++
      assert.ok(equalPublic(shareAddress(got), address))
    }
    for (const line of acknowledged) {
      const [kind, text] = line.split(' ')
      const number = Number(text)
      if (kind === 'share')
        assert.ok(
          equalPublic((await store.getShare(shareAddress(share(number)))) ?? NONE, share(number)),
          `seed ${SEED}: ${line}`,
        )
      else assert.equal((await store.getSlots(slotLocation(key.publicKey, number))).length, 1, `seed ${SEED}: ${line}`)
    }
    assert.ok(served >= acknowledged.filter((line) => line.startsWith('share')).length)
    assert.equal(store.stats().damaged, 0)
    await store.close()
  })

  test('a share whose bytes stop anywhere is never served', async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'gyre-torn-'))
    t.after(() => rmSync(folder, { recursive: true, force: true }))
    const until = (systemClock.unixMs() + 3_600_000) as UnixMs
    for (const kept of [0, 1, 4096, 32_768, SHARE_BYTES - 1]) {
      const store = await openHere(folder)
      assert.equal(await store.putShare(share(kept), until), 'stored')
      await store.close()
      const file = await open(join(folder, 'shares.places'), 'r+')
      await file.write(new Uint8Array(SHARE_BYTES - kept), 0, SHARE_BYTES - kept, kept)
      await file.close()
      const again = await openHere(folder)
      assert.ok((await again.getShare(shareAddress(share(kept)))) === null, `served with ${kept} bytes right`)
      assert.equal(again.stats().shares, 0)
      await again.close()
    }
  })
}

await main()
