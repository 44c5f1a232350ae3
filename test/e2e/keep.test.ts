/**
 * What is published endures: eight real processes, fifty publications, any four nodes killed at once, and after repair two more (`test/support/half-gone.ts`).
 * Victims are drawn; the seed is in the test's name (KEEP_SEED repeats one). Ten choices in a row, over all sizes: `npm run endure:half`.
 */
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { E2E_CLOCK, patience } from '../support/e2e-clock.ts'
import { halfGone } from '../support/half-gone.ts'
import { lives } from '../support/processes.ts'
import { seededRng } from '../support/seeded-rng.ts'

const KiB = 2 ** 10
const MiB = 2 ** 20
const OBJECTS = 50
/** The longest ones and the shortest; the others are drawn from 1 KiB to 600 KiB. */
const NAMED = [20 * MiB, 6 * MiB, 2 * MiB, 2 * MiB, MiB, MiB, KiB]

const seed = Number(process.env.KEEP_SEED ?? 1)
const pids = new Set<number>()
after(() => assert.ok(![...pids].some(lives), 'a process is left'))

test(`fifty publications survive four of eight nodes, and after repair two more (KEEP_SEED=${seed})`, {
  timeout: patience(600_000),
}, async () => {
  const rng = seededRng(`keep lengths ${seed}`)
  const lengths = Array.from({ length: OBJECTS }, (_, at) => NAMED[at] ?? KiB + rng.below(600 * KiB))
  await halfGone({ seed, lengths, clock: E2E_CLOCK, recoveryMs: patience(60_000), say: console.log, pids })
})
