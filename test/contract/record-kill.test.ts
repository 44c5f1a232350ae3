/**
 * The record holder's promise to writers, with real processes: a child puts ever newer records of a few keys as fast as it can, notes each
 * acknowledgement, and is killed with SIGKILL at a random time, several times over one folder. Afterwards each key's record is whole and at
 * least as new as the last one acknowledged. Spec: SPEC.md §10.5.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, openSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { openRecordHolder } from '../../relay/record/index.ts'
import { signRecord } from '../../src/content/record.ts'
import { blindSigningKey } from '../../src/crypto/index.ts'
import { systemClock } from '../../src/runtime/index.ts'
import { RECORD_VALUE_BYTES } from '../../src/wire/index.ts'
import { notedUntilKilled } from '../support/processes.ts'
import { seededRng } from '../support/seeded-rng.ts'

const ROUNDS = 8
const KEYS = 6
const SEED = 43
const NOTES = 'acknowledged'
const EXPIRES_MS = systemClock.unixMs() + 3_600_000

const keyNumber = (number: number) => blindSigningKey(new Uint8Array(32).fill(number), new Uint8Array(32).fill(1))
const openHere = (dir: string) => openRecordHolder({ dir, clock: systemClock, log: { warn: () => {} } })

/** The child: puts sequences from `first` on until it is killed; a line for each acknowledged one. */
async function writeUntilKilled(dir: string, first: number): Promise<void> {
  const holder = await openHere(dir)
  const notes = openSync(join(dir, NOTES), 'a')
  writeSync(1, 'open\n')
  const worker = async (number: number) => {
    const key = await keyNumber(number)
    for (let sequence = first; ; sequence++) {
      const value = new Uint8Array(RECORD_VALUE_BYTES).fill(sequence)
      if ((await holder.put(signRecord(key, { sequence, expiresMs: EXPIRES_MS, value }))) === 'stored') {
        writeSync(notes, `${number} ${sequence}\n`)
      }
    }
  }
  await Promise.all(Array.from({ length: KEYS }, (_, number) => worker(number)))
}

/** What a child acknowledged until it was killed, `afterMs` after it began to write. */
async function killed(dir: string, first: number, afterMs: number): Promise<(readonly [number, number])[]> {
  const lines = await notedUntilKilled(import.meta.filename, ['child', dir, String(first)], join(dir, NOTES), afterMs)
  return lines.map((line) => line.split(' ').map(Number) as [number, number])
}

async function main(): Promise<void> {
  const [role, dir, first] = process.argv.slice(2)
  if (role === 'child') return writeUntilKilled(dir!, Number(first))

  test('after kill -9 each record is whole and no older than the last acknowledged one', async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'gyre-record-kill-'))
    t.after(() => rmSync(folder, { recursive: true, force: true }))
    const rng = seededRng(SEED)
    const newest = new Map<number, number>()
    let count = 0
    for (let round = 0; round < ROUNDS; round++) {
      const lines = await killed(folder, (round + 1) * 1_000_000, 20 + rng.below(120))
      count += lines.length
      for (const [number, sequence] of lines) newest.set(number, Math.max(sequence, newest.get(number) ?? 0))
      const holder = await openHere(folder)
      for (const [number, sequence] of newest) {
        const record = await holder.get((await keyNumber(number)).publicKey)
        assert.ok(record !== null, `key ${number} is lost`)
        assert.ok(record.sequence >= sequence, `key ${number}: ${record.sequence} after ${sequence} was acknowledged`)
        assert.ok(record.value.every((byte) => byte === (record.sequence & 255)))
      }
      assert.equal(holder.stats().damaged, 0)
      await holder.close()
    }
    assert.ok(count > 20, `only ${count} puts were acknowledged`)
  })
}

await main()
