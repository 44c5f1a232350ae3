/**
 * A fuzzer that is led by what its input reaches. Inputs are changed valid ones; at the beginning of a long run V8 says which blocks of `src/`, `relay/` and
 * `client/` ran, and what runs one that none before did is kept and changed further. Asking is slow, so it ends when nothing new comes, and the
 * kept inputs go on alone. `FUZZ_CORPUS` names a folder in which they are recorded; those in `test/vectors/corpus/` are what the test suite, which
 * asks V8 nothing, changes besides the valid ones. What fails is written down as bytes and tried again from then on (`fuzzing.ts`).
 */
import assert from 'node:assert/strict'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { type Profiler, Session } from 'node:inspector'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { bytesFoundBefore, counted, fuzzerName, fuzzSeed, INPUT_CPU_MS_MAX, keepBytes, LONG_MS, sampleMemory } from './fuzzing.ts'
import type { Mutate } from './mutate.ts'
import { type SeededRng, seededRng } from './seeded-rng.ts'

/** Inputs from one look at the clock, and at what ran, to the next, where a target does not say less. */
const BATCH = 512
/** Kept inputs; at the limit a new one takes the place of another, never of a seed. */
const KEPT_MAX = 400
/** Batches of each parser where no time is given: in the test suite. */
const SHORT_BATCHES = 4
/** So many looks that show nothing new end the looking; and so many in all, for what is new may be only newly compiled. */
const BARREN_MAX = 12
const LOOKS_MAX = 60
/** What is recorded of a target: small ones only. */
const RECORDED_MAX = 24
const RECORDED_BYTES_MAX = 2_048

const CORPUS = join(import.meta.dirname, '../vectors/corpus')

export interface Target {
  readonly name: string
  /** Valid input. */
  readonly seeds: readonly Uint8Array[]
  readonly mutate: Mutate
  /** Parses, and fails if the outcome is none that there should be. */
  readonly run: (bytes: Uint8Array) => void | Promise<void>
  /** Fewer inputs at a time, for a target that takes long. */
  readonly batch?: number
}

/** Which blocks ran. */
class Coverage {
  readonly #session = new Session()
  readonly #seen = new Set<string>()

  constructor() {
    this.#session.connect()
    this.#session.post('Profiler.enable')
    this.#session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true })
  }

  /** What ran since the last call and never before. It stays new until it is `noted`. */
  fresh(): readonly string[] {
    const found: string[] = []
    for (const { url, functions } of this.#take()) {
      if (!/\/(?:src|relay|client)\//.test(url)) continue
      for (const { ranges } of functions) {
        for (const { startOffset, endOffset, count } of ranges) {
          const block = `${url} ${startOffset} ${endOffset}`
          if (count > 0 && !this.#seen.has(block)) found.push(block)
        }
      }
    }
    return found
  }

  note(blocks: readonly string[]): void {
    for (const block of blocks) this.#seen.add(block)
  }

  close(): void {
    this.#session.post('Profiler.stopPreciseCoverage')
    this.#session.disconnect()
  }

  #take(): readonly Profiler.ScriptCoverage[] {
    let taken: readonly Profiler.ScriptCoverage[] = []
    // Within one thread the answer comes before `post` returns.
    this.#session.post('Profiler.takePreciseCoverage', (error, { result }) => {
      if (error === null) taken = result
    })
    return taken
  }
}

/** Fuzzes one parser: what was found before first, then for `FUZZ_MS`, or a fixed number of inputs. */
export async function fuzzTarget(t: TestContext, { name, seeds, mutate, run, batch: size = BATCH }: Target): Promise<void> {
  const began = [...seeds, ...recorded(name)]
  for (const bytes of [...bytesFoundBefore(name), ...began]) await tried(name, bytes, run)
  const rng = seededRng(`${fuzzSeed} ${fuzzerName} ${name}`)
  const kept = [...began]
  let inputs = 0
  const batchOf = async () => {
    const batch = Array.from({ length: size }, () => mutate(kept, rng))
    const from = cpuMs()
    for (const bytes of batch) {
      const outcome = attempt(run, bytes)
      const failure = outcome instanceof Promise ? await outcome : outcome
      if (failure !== null) fail(name, bytes, failure)
    }
    // Only a slow batch is looked at input by input.
    if (cpuMs() - from > INPUT_CPU_MS_MAX) for (const bytes of batch) await tried(name, bytes, run)
    inputs += size
    counted(size)
    sampleMemory()
    return batch
  }
  const end = performance.now() + (LONG_MS ?? 0)
  if (LONG_MS !== null) await explore(began, kept, run, batchOf, rng, end)
  while (LONG_MS === null ? inputs < SHORT_BATCHES * size : performance.now() < end) await batchOf()
  if (process.env.FUZZ_CORPUS !== undefined) record(process.env.FUZZ_CORPUS, name, kept.slice(seeds.length))
  t.diagnostic(`${inputs} inputs, ${kept.length - began.length} of them kept`)
}

/** Batches while they reach what none before did; those inputs that do are added to `kept`. */
async function explore(
  began: readonly Uint8Array[],
  kept: Uint8Array[],
  run: Target['run'],
  batchOf: () => Promise<readonly Uint8Array[]>,
  rng: SeededRng,
  end: number,
): Promise<void> {
  const coverage = new Coverage()
  try {
    for (const bytes of began) await attempt(run, bytes)
    coverage.note(coverage.fresh())
    for (let looks = 0, barren = 0; looks < LOOKS_MAX && barren < BARREN_MAX && performance.now() < end; looks++) {
      const batch = await batchOf()
      const blocks = coverage.fresh()
      barren = blocks.length === 0 ? barren + 1 : 0
      if (blocks.length === 0) continue
      for (const bytes of await leading(batch, run, coverage)) {
        // Its own bytes: those of a part would hold the whole that they were cut from.
        if (kept.length < began.length + KEPT_MAX) kept.push(bytes.slice())
        else kept[began.length + rng.below(KEPT_MAX)] = bytes.slice()
      }
      coverage.note(blocks)
    }
  } finally {
    coverage.close()
  }
}

/** Those of `batch` that reach something new, found by halves. */
async function leading(batch: readonly Uint8Array[], run: Target['run'], coverage: Coverage): Promise<readonly Uint8Array[]> {
  for (const bytes of batch) await attempt(run, bytes)
  const blocks = coverage.fresh()
  if (blocks.length === 0) return []
  if (batch.length === 1) {
    coverage.note(blocks)
    return batch
  }
  const half = batch.length >> 1
  return [...(await leading(batch.slice(0, half), run, coverage)), ...(await leading(batch.slice(half), run, coverage))]
}

/** `null`, or why it failed; a promise of that only where `run` gives one. */
function attempt(run: Target['run'], bytes: Uint8Array): unknown | null {
  try {
    const outcome = run(bytes)
    if (!(outcome instanceof Promise)) return null
    return outcome.then(
      () => null,
      (error: unknown) => error ?? new Error('nothing was thrown'),
    )
  } catch (error) {
    return error ?? new Error('nothing was thrown')
  }
}

async function tried(name: string, bytes: Uint8Array, run: Target['run']): Promise<void> {
  const began = cpuMs()
  const failure = await attempt(run, bytes)
  const ms = cpuMs() - began
  if (failure !== null) fail(name, bytes, failure)
  if (ms > INPUT_CPU_MS_MAX) fail(name, bytes, new Error(`an input took ${Math.round(ms)} ms of the processor`))
}

function fail(name: string, bytes: Uint8Array, failure: unknown): never {
  const message = failure instanceof Error ? (failure.stack ?? failure.message) : String(failure)
  keepBytes(name, bytes, message)
  assert.fail(`${name}: ${message}\ninput (${bytes.length} bytes): ${Buffer.from(bytes.subarray(0, 400)).toString('hex')}`)
}

type Corpus = Readonly<Record<string, readonly string[]>>

/** What earlier runs kept for the target, from `test/vectors/corpus/`. */
function recorded(name: string): readonly Uint8Array[] {
  return (corpusIn(CORPUS)[name] ?? []).map((hex) => new Uint8Array(Buffer.from(hex, 'hex')))
}

/** The smallest of what was kept, in place of what was recorded before. */
function record(folder: string, name: string, kept: readonly Uint8Array[]): void {
  const small = kept.filter(({ length }) => length <= RECORDED_BYTES_MAX).sort((a, b) => a.length - b.length)
  const texts = [...new Set(small.map((bytes) => Buffer.from(bytes).toString('hex')))].slice(0, RECORDED_MAX)
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, `${fuzzerName}.json`), `${JSON.stringify({ ...corpusIn(folder), [name]: texts }, null, 1)}\n`)
}

function corpusIn(folder: string): Corpus {
  const path = join(folder, `${fuzzerName}.json`)
  return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as Corpus) : {}
}

function cpuMs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}
