/** The long runner of fuzzers: it counts, finds, keeps what it found, and what was kept is tried from then on. With small fuzzers of its own. */
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { type Found, foundBefore, seedOf } from '../support/fuzzing.ts'
import { run } from '../support/processes.ts'

const RUNNER = join(import.meta.dirname, '../support/fuzz.ts')
const HELPER = pathToFileURL(join(import.meta.dirname, '../support/fuzzing.ts')).href
const FAST_CHECK = import.meta.resolve('fast-check')

interface Place {
  readonly folder: string
  readonly found: string
  long(...args: readonly string[]): ReturnType<typeof run>
  /** As the test suite runs it. */
  usual(name: string): ReturnType<typeof run>
}

/** A folder with these fuzzers: name to the body of its only test. */
function place(t: TestContext, fuzzers: Readonly<Record<string, string>>): Place {
  const root = mkdtempSync(join(tmpdir(), 'gyre-fuzz-test-'))
  t.after(() => rmSync(root, { recursive: true, force: true }))
  const [folder, found] = [join(root, 'fuzz'), join(root, 'found')] as [string, string]
  mkdirSync(folder)
  for (const [name, body] of Object.entries(fuzzers)) {
    const imports = `import { test } from 'node:test'\nimport fc from '${FAST_CHECK}'\nimport { counted, fuzzAssert } from '${HELPER}'\n`
    writeFileSync(join(folder, `${name}.test.ts`), `${imports}test('${name}', async () => {\n${body}\n})\n`)
  }
  const flags = ['--folder', folder, '--found', found, '--slice-ms', '300']
  return {
    folder,
    found,
    long: (...args) => run(process.execPath, [RUNNER, '--minutes', '0.0001', ...flags, ...args]),
    usual: (name) => run(process.execPath, [join(folder, `${name}.test.ts`)], { FUZZ_FOUND: found }),
  }
}

/** Fails for one number in a thousand: ten tries of seed 1 do not meet one. */
const RARE =
  'fuzzAssert(fc.property(fc.integer({ min: 0, max: 100_000 }), (number) => number % 1000 !== 7), { seed: 1, numRuns: 10 })'

test('a long run counts all inputs of all fuzzers, and ends well when nothing is found', async (t) => {
  const { long, found } = place(t, {
    loop: 'counted(1234)',
    right: 'fuzzAssert(fc.property(fc.nat(), (number) => number >= 0), { seed: 1, numRuns: 50 })',
    waits: 'await fuzzAssert(fc.asyncProperty(fc.nat(), async (number) => number >= 0), { seed: 1, numRuns: 50 })',
  })
  const { code, stdout } = await long('--seed', 'a')
  const text = stdout.toString()
  assert.equal(code, 0, text)
  assert.match(text, /loop +1234 /)
  const counts = ['right', 'waits'].map((name) => Number(new RegExp(`${name} +(\\d+)`).exec(text)?.[1]))
  assert.ok(
    counts.every((count) => count >= 50 && count % 50 === 0),
    text,
  )
  assert.equal(Number(/total +(\d+)/.exec(text)?.[1]), 1234 + counts[0]! + counts[1]!)
  assert.deepEqual(foundBefore('right', found), [])
})

test('what is found is kept with its counterexample, and tried first from then on', async (t) => {
  const { long, usual, found } = place(t, { rare: RARE, well: 'counted(1)' })
  assert.equal((await usual('rare')).code, 0)
  const { code, stdout } = await long('--only', 'rare')
  assert.equal(code, 1)
  assert.match(stdout.toString(), /rare FOUND something/)
  assert.match(stdout.toString(), /FAILED 1/)
  const [kept] = foundBefore('rare', found) as readonly [Found]
  assert.equal(kept.check, 0)
  assert.match(kept.counterexample ?? '', /^\[\d*7\]$/)
  const again = await usual('rare')
  assert.equal(again.code, 1)
  assert.match(again.stdout.toString(), /Property failed/)
  // Only what failed was kept, once.
  assert.deepEqual(readdirSync(found), ['rare.json'])
  await usual('rare')
  assert.equal(foundBefore('rare', found).length, 1)
})

test('a fuzzer with a loop of its own is repeated by its seed; one that takes the processor for long is caught', async (t) => {
  const { long, found } = place(t, {
    loop: "if (process.env.FUZZ_SEED === 'a 0') throw new Error('met')",
    slow: 'const cpu = () => { const { user, system } = process.cpuUsage(); return (user + system) / 1000 }; fuzzAssert(fc.property(fc.nat(), () => { for (const end = cpu() + 1_200; cpu() < end; ); }), { seed: 1, numRuns: 1 })',
  })
  const { code } = await long('--seed', 'a')
  assert.equal(code, 1)
  const [kept] = foundBefore('loop', found) as readonly [Found]
  assert.deepEqual([kept.check, kept.seed], [null, 'a 0'])
  assert.match(kept.message, /met/)
  assert.match(foundBefore('slow', found)[0]?.message ?? '', /ms of the processor/)
})

test('arguments that make no sense are refused', async () => {
  for (const args of [['--minutes', '0'], ['--minutes', 'x'], ['--minutes', '1', '--only', 'nothing-of-that-name'], ['--what']]) {
    assert.notEqual((await run(process.execPath, [RUNNER, ...args])).code, 0, args.join(' '))
  }
  assert.notEqual(seedOf('a'), seedOf('b'))
})
