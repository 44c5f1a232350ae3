/**
 * `npm run sim:paths`: what the web of links and the ways to draw circuits on it give away, for the sizes and adversaries named below, as
 * tables, and with `--report FILE` as one self-contained page with plots. After TorPS (Johnson et al. 2013). Deterministic by `--seed`.
 *
 *   --nodes 100,1000   sizes of the web          --walks 4000   circuits for each posterior
 *   --days 60          days of exposure          --origins 40   origins watched        --per-day 12   circuits a day each
 */
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { SeededRng } from '../support/seeded-rng.ts'
import { type Exposure, exposure } from './exposure.ts'
import { lengths, openness, posteriorOfOne, posteriorOfTwo, sampleWalks } from './measure.ts'
import { exposurePlot, page, table } from './report.ts'
import { RULES, type Rule } from './walks.ts'
import { adversaries, makeWeb } from './web.ts'

const { values } = parseArgs({
  options: {
    nodes: { type: 'string', default: '100,1000' },
    walks: { type: 'string', default: '4000' },
    days: { type: 'string', default: '60' },
    origins: { type: 'string', default: '40' },
    'per-day': { type: 'string', default: '12' },
    seed: { type: 'string', default: '1' },
    report: { type: 'string' },
  },
})

const number = (text: string) => {
  const value = Number(text)
  if (!Number.isInteger(value) || value < 1) throw new Error(`not a whole number above 0: ${text}`)
  return value
}
const walksWanted = number(values.walks)
const schedule = { days: number(values.days), origins: number(values.origins), perDay: number(values['per-day']) }
const sections: string[] = []
const three = (value: number) => value.toFixed(3)
const percent = (value: number) => `${(100 * value).toFixed(1)} %`

for (const nodes of values.nodes.split(',').map(number)) {
  const rng = new SeededRng(`${values.seed}/${nodes}`)
  const web = makeWeb(nodes, rng)
  const hostile = adversaries(web, rng)
  const structure: string[][] = []
  const exposed = new Map<Rule, Exposure[]>()
  for (const rule of RULES) {
    const walks = sampleWalks(web, rule, walksWanted, rng)
    const one = posteriorOfOne(web, walks)
    const two = posteriorOfTwo(web, walks, rng)
    const open = openness(web, rule, 10, 200, rng)
    const spread = [...lengths(walks)].map(([length, count]) => `${length}: ${percent(count / walks.length)}`).join(', ')
    structure.push([
      rule,
      three(one.mean),
      `${three(one.worst)} (${one.worstKind})`,
      one.times.toFixed(2),
      `${three(two.worst)} (${two.worstKind})`,
      ...[open.first, open.second, open.middle].map((bits) => bits.toFixed(1)),
      percent(open.distinct),
      spread,
    ])
    exposed.set(rule, exposure(web, rule, hostile, { ...schedule, rng }))
  }
  const head = [
    ...['rule', 'one: mean', 'one: worst link', 'worst × members', 'two: worst'],
    ...['bits: first', 'second', 'before apex', 'distinct paths', 'other members'],
  ]
  const title = `${nodes} nodes, seed ${values.seed}, ${walksWanted} circuits`
  const days = [1, 7, 30, schedule.days].filter((day, at, all) => day <= schedule.days && all.indexOf(day) === at)
  const rows = hostile.flatMap(({ by, share }, at) =>
    RULES.map((rule) => {
      const { byDay, circuits, besideOrigin } = exposed.get(rule)![at]!
      return [
        `${percent(share)} by ${by}`,
        rule,
        ...days.map((day) => percent(byDay[day - 1]!)),
        percent(circuits),
        percent(besideOrigin),
      ]
    }),
  )
  const exposureHead = [
    'adversary',
    'rule',
    ...days.map((day) => `origins held by day ${day}`),
    'circuits held',
    'beside the origin',
  ]
  console.log(`\n## ${title}\n\nPosterior that a neighbour in a circuit is its origin; uncertainty of paths.\n`)
  console.log(table(head, structure))
  console.log(
    `\nHeld at both ends: beside the origin and beside the apex of one circuit (${schedule.origins} origins, ${schedule.perDay} circuits a day).\n`,
  )
  console.log(table(exposureHead, rows))
  sections.push(page.section(title, [page.table(head, structure), exposurePlot(exposed), page.table(exposureHead, rows)]))
}

if (values.report !== undefined) writeFileSync(values.report, page.whole('What the web gives away', sections))
