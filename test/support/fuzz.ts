/**
 * `npm run fuzz`: all fuzzers once, as the test suite runs them. `npm run fuzz -- --minutes N`: all of them in turn, again and again with fresh seeds, for so
 * long. It prints what each has tried, saves what it finds in `test/vectors/found/`, and ends with 1 if it found
 * anything, growth of memory among it. `--seed TEXT` repeats a run,
 * `--only NAME` takes one fuzzer, `--slice-ms N` is the time of each check in a turn, `--folder DIR` and `--found DIR` are for its own test.
 */
import { type SpawnSyncReturns, spawn, spawnSync } from 'node:child_process'
import { globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { parseArgs } from 'node:util'
import { type FuzzReport, foundBefore, keepFound } from './fuzzing.ts'

/** A process of a fuzzer that takes longer than this beyond its time hangs. */
const HANG_MS = 10 * 60_000
/** More growth of heap and buffers over one process is a finding. */
const GROWTH_BYTES = 32 * 1024 * 1024

const { values } = parseArgs({
  options: {
    minutes: { type: 'string' },
    seed: { type: 'string' },
    only: { type: 'string' },
    'slice-ms': { type: 'string', default: '5000' },
    folder: { type: 'string', default: join(import.meta.dirname, '../fuzz') },
    found: { type: 'string', default: join(import.meta.dirname, '../vectors/found') },
  },
})

interface Total {
  inputs: number
  ms: number
  turns: number
  growthBytes: number
  failures: number
}

if (values.minutes === undefined) {
  const once: SpawnSyncReturns<Buffer> = spawnSync(process.execPath, [join(import.meta.dirname, 'run.ts'), 'fuzz'], {
    stdio: 'inherit',
  })
  process.exit(once.status ?? 1)
}
const minutes = Number(values.minutes)
const sliceMs = Number(values['slice-ms'])
if (!(minutes > 0) || !(sliceMs > 0)) {
  console.error('--minutes and --slice-ms take numbers above 0.')
  process.exit(2)
}
const seed = values.seed ?? String(Date.now())
const files = globSync(`${values.folder}/*.test.ts`)
  .sort()
  .filter((path) => nameOf(path) !== 'found' && (values.only === undefined || nameOf(path) === values.only))
if (files.length === 0) {
  console.error('There is no such fuzzer.')
  process.exit(2)
}
process.exit(await runAll())

function nameOf(path: string): string {
  return basename(path).replace(/\.test\.ts$/, '')
}

async function runAll(): Promise<number> {
  console.log(`${files.length} fuzzers for ${minutes} min, seed ${seed}`)
  const totals = new Map<string, Total>(
    files.map((path) => [nameOf(path), { inputs: 0, ms: 0, turns: 0, growthBytes: 0, failures: 0 }]),
  )
  const end = performance.now() + minutes * 60_000
  for (let turn = 0; performance.now() < end; turn++) {
    for (const path of files) {
      if (performance.now() >= end && turn > 0) break
      await runOne(path, `${seed} ${turn}`, totals.get(nameOf(path))!)
    }
  }
  print(totals)
  return [...totals.values()].some(({ failures, growthBytes }) => failures > 0 || growthBytes > GROWTH_BYTES) ? 1 : 0
}

/** One turn of one fuzzer. */
async function runOne(path: string, turnSeed: string, total: Total): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'gyre-fuzz-run-'))
  const report = join(folder, 'report')
  const name = nameOf(path)
  const before = foundBefore(name, values.found).length
  const env = { ...process.env, FUZZ_MS: String(sliceMs), FUZZ_SEED: turnSeed, FUZZ_REPORT: report, FUZZ_FOUND: values.found }
  const { code, output } = await child(path, env)
  total.turns++
  for (const { inputs, ms, heapGrowthBytes } of reportsIn(report)) {
    total.inputs += inputs
    total.ms += ms
    total.growthBytes = Math.max(total.growthBytes, heapGrowthBytes ?? 0)
  }
  rmSync(folder, { recursive: true, force: true })
  if (code === 0) return
  total.failures++
  // A check of fast-check has written down its counterexample; of any other fuzzer the seed is what repeats it.
  if (foundBefore(name, values.found).length === before) {
    keepFound(name, { check: null, seed: turnSeed, ms: sliceMs, message: output.slice(-4_000) }, values.found)
  }
  console.log(
    `\n${name} FOUND something (seed "${turnSeed}"), see ${join(values.found, `${name}.json`)}\n${output.slice(-2_000)}`,
  )
}

function child(path: string, env: NodeJS.ProcessEnv): Promise<{ readonly code: number; readonly output: string }> {
  const { promise, resolve } = Promise.withResolvers<{ code: number; output: string }>()
  const started = spawn(process.execPath, ['--expose-gc', path], { env, stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  const hear = (chunk: Buffer) => {
    output = (output + chunk.toString()).slice(-20_000)
  }
  started.stdout.on('data', hear)
  started.stderr.on('data', hear)
  const timer = setTimeout(
    () => {
      output += '\nit hangs'
      started.kill('SIGKILL')
    },
    40 * sliceMs + HANG_MS,
  )
  started.on('close', (code) => {
    clearTimeout(timer)
    resolve({ code: code ?? 1, output })
  })
  return promise
}

function reportsIn(path: string): FuzzReport[] {
  try {
    return readFileSync(path, 'utf8')
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as FuzzReport)
  } catch {
    return [] // it died before it could say anything
  }
}

function print(totals: ReadonlyMap<string, Total>): void {
  const rows = [...totals].map(([name, { inputs, ms, turns, growthBytes, failures }]) => [
    ...[name, String(inputs), ms > 0 ? String(Math.round((1000 * inputs) / ms)) : '-', String(turns)],
    ...[
      growthBytes > GROWTH_BYTES ? `GREW ${Math.round(growthBytes / 2 ** 20)} MiB` : '',
      failures > 0 ? `FAILED ${failures}` : '',
    ],
  ])
  const sum = [...totals.values()].reduce((all, { inputs }) => all + inputs, 0)
  const table = [['fuzzer', 'inputs', 'a second', 'turns', '', ''], ...rows, ['total', String(sum), '', '', '', '']]
  const widths = table[0]!.map((_, column) => Math.max(...table.map((row) => row[column]!.length)))
  for (const row of table) {
    console.log(
      row
        .map((cell, column) => (column === 0 || column > 3 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)))
        .join('  ')
        .trimEnd(),
    )
  }
}
