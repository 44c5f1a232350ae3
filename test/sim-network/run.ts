/**
 * `npm run sim`: whole networks in one process, on fake time, with churn; deterministic by its seeds. What the tiers are, what each leaves out and
 * what was measured: `README.md` beside this file.
 *
 *   --tier stores      stores (default), whole or directory
 *   --nodes 200        alive at any time      --days 30     simulated       --seeds 1   runs     --seed 1   of the first run
 *   --objects 1        of each kind           --leavers anyone|visitors     --for-good 0.25      part of departures for good
 *   --session-hours 8  median                 --away-hours 8  median        --ranks 1            first ranks that newcomers get copies for
 *   --json FILE        results; seeds that are in it already are not run again, so that long work can be done in pieces
 *
 * Ends with 1 if anything that must always hold did not: a wrong byte, a bound, a fault of the program.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import { DEFAULT_CHURN, HOUR_MS, type Leavers } from './churn.ts'
import { runDirectory } from './directory-scale.ts'
import { MemoryDisk } from './memory-disk.ts'
import { type SeedResult, seedResult, storeTable } from './store-report.ts'
import { runWorld } from './store-world.ts'
import { runWhole, wholeText } from './whole-world.ts'

const { values } = parseArgs({
  options: {
    tier: { type: 'string', default: 'stores' },
    nodes: { type: 'string' },
    days: { type: 'string' },
    hours: { type: 'string', default: '3' },
    seeds: { type: 'string', default: '1' },
    seed: { type: 'string', default: '1' },
    objects: { type: 'string', default: '1' },
    leavers: { type: 'string', default: DEFAULT_CHURN.leavers },
    'for-good': { type: 'string', default: String(DEFAULT_CHURN.forGood) },
    'session-hours': { type: 'string', default: '8' },
    'away-hours': { type: 'string', default: '8' },
    ranks: { type: 'string', default: '1' },
    json: { type: 'string' },
  },
})

function positive(text: string): number {
  const value = Number(text)
  if (!(value > 0)) throw new Error(`not a number above 0: ${text}`)
  return value
}

function leaversOf(text: string): Leavers {
  if (text === 'anyone' || text === 'visitors') return text
  throw new Error(`--leavers is anyone or visitors, not ${text}`)
}

const seeds = Array.from({ length: positive(values.seeds) }, (_, at) => String(Number(values.seed) + at))
const disk = new MemoryDisk('/gyre-sim')
disk.install()

async function stores(): Promise<number> {
  const nodes = positive(values.nodes ?? '200')
  const days = positive(values.days ?? '30')
  const churn = {
    nodes,
    medianSessionMs: positive(values['session-hours']) * HOUR_MS,
    medianAwayMs: positive(values['away-hours']) * HOUR_MS,
    forGood: Number(values['for-good']),
    leavers: leaversOf(values.leavers),
  }
  const each = positive(values.objects)
  const ranks = positive(values.ranks)
  const options = { days, each, ranks, churn }
  const results: SeedResult[] = []
  if (values.json !== undefined && existsSync(values.json)) {
    const before = JSON.parse(readFileSync(values.json, 'utf8')) as { options: unknown; seeds: SeedResult[] }
    if (JSON.stringify(before.options) !== JSON.stringify(options)) throw new Error(`${values.json} is of other options`)
    results.push(...before.seeds)
  }
  for (const seed of seeds) {
    if (results.some((result) => result.seed === seed)) continue
    const root = `/gyre-sim/${seed}`
    await mkdir(root)
    const before = process.cpuUsage()
    const result = seedResult(await runWorld({ seed, ...options, disk, root }), process.cpuUsage(before).user / 1e6)
    disk.forget(root)
    results.push(result)
    console.log(result.line)
    for (const breach of result.breaches) console.log(`  ${breach}`)
    if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify({ options, seeds: results })}\n`)
  }
  console.log(storeTable(results))
  return results.some(({ breaches }) => breaches.length > 0) ? 1 : 0
}

async function whole(): Promise<number> {
  let breaches = 0
  for (const seed of seeds) {
    const root = `/gyre-sim/whole-${seed}`
    await mkdir(root)
    const result = await runWhole({ seed, nodes: positive(values.nodes ?? '200'), hours: positive(values.hours), disk, root })
    disk.forget(root)
    console.log(wholeText(result))
    breaches += result.breaches.length
    if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(result)}\n`)
  }
  return breaches > 0 ? 1 : 0
}

async function directory(): Promise<number> {
  const result = await runDirectory({ nodes: positive(values.nodes ?? '10000'), seed: values.seed, log: console.log })
  if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(result)}\n`)
  return 0
}

const tiers: Readonly<Record<string, () => Promise<number>>> = { stores, whole, directory }
const tier = tiers[values.tier]
if (tier === undefined) throw new Error(`--tier is ${Object.keys(tiers).join(', ')}, not ${values.tier}`)
process.exitCode = await tier()
