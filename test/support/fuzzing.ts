/**
 * How a fuzzer runs: a fixed number of inputs from a fixed seed, as in the test suite, or for a time from a seed of its own, as `npm run fuzz -- --minutes N`
 * wants it (`FUZZ_MS` for each check, `FUZZ_SEED`). It counts inputs, sees to it that none takes a second of the processor and that memory does not grow,
 * and writes down what it found, so that it is tried again from then on (`test/vectors/found/`).
 */
import { appendFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import fc from 'fast-check'

/** No input may take so much of the processor's time. */
export const INPUT_CPU_MS_MAX = 1_000
/** Where what was found is kept. */
const FOUND = process.env.FUZZ_FOUND ?? join(import.meta.dirname, '../vectors/found')
/** Time of each check of a long run; `null`: as in the test suite. */
export const LONG_MS = process.env.FUZZ_MS === undefined ? null : Number(process.env.FUZZ_MS)
export const fuzzSeed = process.env.FUZZ_SEED ?? '1'
const SAMPLE_MS = 5_000

/** The file that is run: `address` for `test/fuzz/address.test.ts`. */
export const fuzzerName = basename(process.argv[1] ?? 'none').replace(/\.test\.ts$/, '')

/** A counterexample, as it is kept. */
export interface Found {
  /** Number of the check in its file, from 0, or its name where `bytes` are the input; `null`: the whole file, by `FUZZ_SEED`. */
  readonly check: number | string | null
  readonly seed: number | string
  /** Where in the run of that seed (fast-check's path). */
  readonly path?: string
  readonly numRuns?: number
  readonly ms?: number
  /** The input itself, in hex. */
  readonly bytes?: string
  /** For people. */
  readonly counterexample?: string
  readonly message: string
}

/** What one process of a fuzzer did: a line of `FUZZ_REPORT`. */
export interface FuzzReport {
  readonly fuzzer: string
  readonly inputs: number
  readonly ms: number
  /** By how much heap and buffers grew from the first full collection to the last; `null`: not measured. */
  readonly heapGrowthBytes: number | null
}

const tally = { inputs: 0, beganMs: performance.now(), checks: 0, firstHeap: null as number | null, lastHeap: 0, sampledMs: 0 }

process.on('exit', () => {
  if (process.env.FUZZ_REPORT === undefined) return
  sample(true)
  const heapGrowthBytes = tally.firstHeap === null ? null : tally.lastHeap - tally.firstHeap
  const report: FuzzReport = { fuzzer: fuzzerName, inputs: tally.inputs, ms: performance.now() - tally.beganMs, heapGrowthBytes }
  appendFileSync(process.env.FUZZ_REPORT, `${JSON.stringify(report)}\n`)
})

/** Notes `inputs` that a fuzzer with a loop of its own has tried. */
export function counted(inputs: number): void {
  tally.inputs += inputs
}

/** As `sample`, for a fuzzer with a loop of its own. */
export function sampleMemory(): void {
  sample()
}

/** Memory after a full collection, now and then; only where the process was started with `--expose-gc`. */
function sample(now = false): void {
  if (globalThis.gc === undefined || (!now && performance.now() - tally.sampledMs < SAMPLE_MS)) return
  globalThis.gc()
  // Not all that is external: what native code holds for an object is given back in a later turn, which a fuzzer without waits never has.
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  tally.lastHeap = heapUsed + arrayBuffers
  tally.firstHeap ??= tally.lastHeap
  tally.sampledMs = performance.now()
}

interface CheckOptions {
  readonly seed: number
  readonly numRuns: number
}

/** In the place of `fc.assert`: what was found before first, then as often, or as long, as is wanted. */
export function fuzzAssert(
  property: fc.IProperty<unknown[]> | fc.IAsyncProperty<unknown[]>,
  options: CheckOptions,
): Promise<void> | void {
  const check = tally.checks++
  watchTime(property)
  const runs = runsOf(check, options)
  if (property.isAsync()) return asyncRuns(property as fc.IAsyncProperty<unknown[]>, check, runs)
  for (const parameters of runs) judge(check, parameters, fc.check(property as fc.IProperty<unknown[]>, parameters))
}

async function asyncRuns(
  property: fc.IAsyncProperty<unknown[]>,
  check: number,
  runs: Iterable<fc.Parameters<unknown[]>>,
): Promise<void> {
  for (const parameters of runs) judge(check, parameters, await fc.check(property, parameters))
}

/** The runs to make, drawn while they are made. */
function* runsOf(check: number, { seed, numRuns }: CheckOptions): Generator<fc.Parameters<unknown[]>> {
  for (const found of foundBefore(fuzzerName)) {
    if (found.check !== check || typeof found.seed !== 'number' || found.path === undefined) continue
    yield { seed: found.seed, path: found.path, numRuns: found.numRuns ?? numRuns, endOnFailure: true }
  }
  if (LONG_MS === null) {
    yield { seed, numRuns }
    return
  }
  const end = performance.now() + LONG_MS
  let batch = 0
  do {
    yield { seed: seedOf(`${fuzzSeed} ${fuzzerName} ${check} ${batch++}`), numRuns }
    sample()
  } while (performance.now() < end)
}

function judge(check: number, parameters: fc.Parameters<unknown[]>, details: fc.RunDetails<unknown[]>): void {
  tally.inputs += details.numRuns
  if (!details.failed) return
  const { errorInstance: cause } = details
  const message = `${cause instanceof Error ? cause.message : 'failed'}\n${fc.defaultReportMessage(details) ?? ''}`
  if (LONG_MS !== null && parameters.path === undefined) {
    const found: Found = {
      ...{ check, seed: details.seed, numRuns: parameters.numRuns ?? 0, message: message.slice(0, 4_000) },
      ...(details.counterexamplePath === null ? {} : { path: details.counterexamplePath }),
      counterexample: fc.stringify(details.counterexample).slice(0, 20_000),
    }
    keepFound(fuzzerName, found)
  }
  throw new Error(message, { cause })
}

/** Makes an input that takes too long a failing one. By the processor's time, not the wall's: others may be at work on the machine. */
function watchTime(property: fc.IProperty<unknown[]> | fc.IAsyncProperty<unknown[]>): void {
  const run = property.run.bind(property) as (value: unknown[]) => unknown
  const watched = (value: unknown[]) => {
    const began = cpuMs()
    const judged = (outcome: unknown) => {
      const ms = cpuMs() - began
      if (outcome !== null || ms <= INPUT_CPU_MS_MAX) return outcome
      return { error: new Error(`an input took ${Math.round(ms)} ms of the processor`) }
    }
    const outcome = run(value)
    return outcome instanceof Promise ? outcome.then(judged) : judged(outcome)
  }
  Object.defineProperty(property, 'run', { value: watched })
}

function cpuMs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}

/** FNV-1a of a text, as a seed. */
export function seedOf(text: string): number {
  let hash = 0x811c9dc5
  for (const byte of Buffer.from(text)) hash = Math.imul(hash ^ byte, 0x01000193)
  return hash | 0
}

/** What was found in that fuzzer before. */
export function foundBefore(fuzzer: string, folder: string = FOUND): readonly Found[] {
  const path = join(folder, `${fuzzer}.json`)
  return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as Found[]) : []
}

/** Inputs of the check named `check` that failed once. */
export function bytesFoundBefore(check: string): readonly Uint8Array[] {
  return foundBefore(fuzzerName).flatMap(({ check: of, bytes }) =>
    of === check && bytes !== undefined ? [new Uint8Array(Buffer.from(bytes, 'hex'))] : [],
  )
}

/** Writes down an input of the check named `check` that failed in a long run. */
export function keepBytes(check: string, bytes: Uint8Array, message: string): void {
  const hex = Buffer.from(bytes).toString('hex')
  if (LONG_MS === null || foundBefore(fuzzerName).some(({ bytes: known }) => known === hex)) return
  keepFound(fuzzerName, { check, seed: fuzzSeed, bytes: hex, message: message.slice(0, 4_000) })
}

/** Adds to what was found. */
export function keepFound(fuzzer: string, found: Found, folder: string = FOUND): void {
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, `${fuzzer}.json`), `${JSON.stringify([...foundBefore(fuzzer, folder), found], null, 1)}\n`)
}
