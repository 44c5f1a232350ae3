/**
 * What a long run of the fuzzers found, tried again: `test/vectors/found/NAME.json`. Counterexamples of single checks are tried by the fuzzer itself, each
 * time that it runs; here whole fuzzers run from the seeds with which they failed once.
 */
import assert from 'node:assert/strict'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { foundBefore } from '../support/fuzzing.ts'
import { run } from '../support/processes.ts'

const folder = join(import.meta.dirname, '../vectors/found')
const names = existsSync(folder) ? readdirSync(folder).map((file) => file.replace(/\.json$/, '')) : []
const seeds = names.flatMap((name) =>
  foundBefore(name, folder).flatMap(({ check, seed, ms }) =>
    check === null ? [{ name, seed: String(seed), ms: ms ?? 1_000 }] : [],
  ),
)

test(`${seeds.length} seeds that failed once`, { timeout: 600_000 }, async () => {
  for (const { name, seed, ms } of seeds) {
    const env = { FUZZ_SEED: seed, FUZZ_MS: String(Math.min(ms, 5_000)) }
    const { code, stdout } = await run(process.execPath, [join(import.meta.dirname, `${name}.test.ts`)], env)
    assert.equal(code, 0, `${name}, seed ${seed}: ${stdout.toString().slice(-2_000)}`)
  }
})
