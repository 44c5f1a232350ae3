/** What came out of runs of the store tier, as a table with 95 % intervals (Clopper and Pearson). */
import { lowerBound, upperBound } from '../adversary/statistics.ts'
import { DAY_MS } from './churn.ts'
import type { ObjectKind, SimObject } from './objects.ts'
import type { WorldResult } from './store-world.ts'

export interface ObjectResult extends ObjectKind {
  readonly lostDay: number | null
  readonly orphanedDay: number | null
  /** Part of the time in which too little of it was up; while it was not lost. */
  readonly away: number
  readonly spareUp: number
  readonly spareAlive: number
  readonly reads: number
  readonly failed: number
  readonly unfound: number
  readonly final: SimObject['final']
}

export interface SeedResult {
  readonly seed: string
  readonly objects: readonly ObjectResult[]
  readonly breaches: readonly string[]
  readonly figures: Readonly<Record<string, number>>
  readonly cpuSeconds: number
  readonly line: string
}

const dayOf = (ms: number | null) => (ms === null ? null : Number((ms / DAY_MS).toFixed(2)))

export function seedResult({ seed, objects, breaches, figures }: WorldResult, cpuSeconds: number): SeedResult {
  const rows = objects.map((object): ObjectResult => {
    const { kind, lostMs, orphanedMs, looks, away, spareUp, spareAlive, reads, failed, unfound, final } = object
    const part = Number((away / Math.max(1, looks)).toFixed(4))
    return {
      ...kind,
      lostDay: dayOf(lostMs),
      orphanedDay: dayOf(orphanedMs),
      away: part,
      spareUp,
      spareAlive,
      reads,
      failed,
      unfound,
      final,
    }
  })
  const lost = rows.filter(({ lostDay }) => lostDay !== null).length
  const line = `seed ${seed}: ${rows.length} objects, ${lost} lost, ${figures['reads failed'] ?? 0} of ${figures.reads ?? 0} reads failed, ${breaches.length} breaches, ${cpuSeconds.toFixed(0)} s of CPU`
  return { seed, objects: rows, breaches, figures, cpuSeconds: Math.round(cpuSeconds), line }
}

/** `part` of `all` in percent, with its interval. */
export function rateText(part: number, all: number): string {
  if (all === 0) return '-'
  const percent = (value: number) => (100 * value).toFixed(1)
  return `${part} of ${all}: ${percent(part / all)} % (${percent(lowerBound(part, all, 0.975))} to ${percent(upperBound(part, all, 0.975))})`
}

export function storeTable(seeds: readonly SeedResult[]): string {
  const rows = new Map<string, ObjectResult[]>()
  for (const object of seeds.flatMap(({ objects }) => objects)) {
    for (const name of [`${object.keeping} | ${object.readsPerDay === 0 ? 'none' : object.readsPerDay} | ${object.blocks}`]) {
      rows.set(name, [...(rows.get(name) ?? []), object])
    }
  }
  const lines = [
    '| kept by | reads a day | blocks | lost within the term | cannot be read at the end | too little up, of the time | reads that failed, though enough was up |',
    '| --- | --- | --- | --- | --- | --- | --- |',
  ]
  for (const [name, objects] of [...rows].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const lost = objects.filter(({ lostDay }) => lostDay !== null).length
    const away = objects.filter(({ final }) => final === 'away').length
    const time = objects.reduce((sum, object) => sum + object.away, 0) / objects.length
    const sum = (of: (object: ObjectResult) => number) => objects.reduce((total, object) => total + of(object), 0)
    const reads = `${sum(({ failed }) => failed)} of ${sum((object) => object.reads)}, ${sum(({ unfound }) => unfound)}`
    lines.push(`| ${name} | ${rateText(lost, objects.length)} | ${away} | ${(100 * time).toFixed(2)} % | ${reads} |`)
  }
  const total = (name: string) => seeds.reduce((sum, { figures }) => sum + (figures[name] ?? 0), 0)
  const most = (name: string) => Math.max(...seeds.map(({ figures }) => figures[name] ?? 0))
  const looks = total('looks')
  lines.push(
    '',
    `${seeds.length} seeds, ${seeds.reduce((sum, { breaches }) => sum + breaches.length, 0)} breaches; nodes up ${(total('nodes up, sum') / looks).toFixed(0)}, listed ${(total('nodes listed, sum') / looks).toFixed(0)} on average; ` +
      `${total('identities')} identities, ${total('sessions')} sessions, ${total('gone for good')} gone for good; parts handed over ${total('handed over')}, healed ${total('healed')}, stored in all ${total('parts stored')}; ` +
      `most loops in use at a node ${most('loops in use at a node, most')}, most bytes waiting to be healed ${most('bytes waiting to be healed, most')}; taken for droppers ${total('taken for droppers')}.`,
  )
  return lines.join('\n')
}
