/**
 * Runs the named parts of the test suite: `node test/support/run.ts unit vectors`. `all` runs every part. Each part is a folder of
 * `test/` whose `*.test.ts` files go through `node --test`. Prints the total that a person (or CI) looks for last.
 */
import { spawnSync } from 'node:child_process'
import { globSync } from 'node:fs'

const PARTS = ['unit', 'vectors', 'contract', 'sim', 'fuzz', 'e2e'] as const
/** e2e starts many processes of its own: one file at a time. */
const SERIAL: ReadonlySet<string> = new Set(['e2e'])

const args = process.argv.slice(2)
// `--clock NAME`: which clock the networks of e2e have (`e2e-clock.ts`).
const clockAt = args.indexOf('--clock')
const clock = clockAt < 0 ? undefined : args[clockAt + 1]
const asked = clockAt < 0 ? args : args.toSpliced(clockAt, 2)
const parts = asked.includes('all') || asked.length === 0 ? [...PARTS] : PARTS.filter((part) => asked.includes(part))
const unknown = asked.filter((part) => part !== 'all' && !PARTS.some((known) => known === part))
if (unknown.length > 0) {
  console.error(`Unknown part: ${unknown.join(', ')}. Parts: all, ${PARTS.join(', ')}`)
  process.exit(2)
}

let failed = false
for (const part of parts) {
  const files = globSync(`test/${part}/**/*.test.ts`).sort()
  if (files.length === 0) continue
  console.log(`\n== ${part}: ${files.length} files`)
  const concurrency = SERIAL.has(part) ? ['--test-concurrency=1'] : ['--test-concurrency=2']
  const options = ['--test', '--test-reporter=spec', `--test-timeout=${clock === undefined ? 600_000 : 4_800_000}`]
  const run = spawnSync(process.execPath, [...options, ...concurrency, ...files], {
    stdio: ['ignore', 'inherit', 'inherit'],
    env: clock === undefined ? process.env : { ...process.env, GYRE_TEST_CLOCK: clock },
  })
  if (run.status !== 0) failed = true
}
process.exit(failed ? 1 : 0)
