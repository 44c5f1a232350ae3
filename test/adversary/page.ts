/** The lab's findings as one self-contained page: tables, traces of one node in each role side by side, confusion matrices, ROC curves, costs. Pure. */
import type { Digest, ShownTrace } from './digest.ts'
import type { TaskResult } from './evaluate.ts'
import type { Verdicts } from './judge.ts'
import { ROLES } from './labels.ts'
import { type Check, costRows, type Row } from './rows.ts'
import { quantile, type RocPoint } from './statistics.ts'

export interface Findings {
  readonly facts: Readonly<Record<string, unknown>>
  readonly rows: readonly Row[]
  readonly checked: readonly Check[]
  readonly verdicts: Verdicts
  readonly digests: readonly Digest[]
}

const STYLE =
  'body{font:15px/1.5 system-ui,sans-serif;max-width:84rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}' +
  'table{border-collapse:collapse;margin:1rem 0;font-size:13px}td,th{border:1px solid #8886;padding:.2rem .5rem;text-align:left}' +
  'svg{max-width:100%}.side{display:flex;flex-wrap:wrap;gap:1rem}.bad{color:#d40;font-weight:600}.good{color:#0a7}figure{margin:0}figcaption{font-size:12px}'
const IN = '#07c'
const OUT = '#d40'
const PALETTE = ['#0a7', '#07c', '#a3c', '#d40', '#a80', '#555']

const escaped = (text: string) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')

function htmlTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const cells = (tag: string, row: readonly string[]) => `<tr>${row.map((cell) => `<${tag}>${cell}</${tag}>`).join('')}</tr>`
  return `<table>${cells('th', head.map(escaped))}${rows.map((row) => cells('td', row)).join('\n')}</table>`
}

function verdict(reached: boolean | null, yes: string, no: string): string {
  return reached === null ? '–' : `<span class="${reached ? 'good' : 'bad'}">${reached ? yes : no}</span>`
}

/** Records per 100 ms: in upwards, out downwards. */
function tracePlot({ role, size, in: inward, out }: ShownTrace): string {
  const width = 400
  const height = 130
  const middle = height / 2
  const most = Math.max(1, quantile([...inward, ...out], 0.995))
  const step = width / inward.length
  const bars = (counts: readonly number[], sign: number, colour: string) =>
    `<path stroke="${colour}" stroke-width="${(step * 0.9).toFixed(2)}" d="${counts
      .map((count, at) => {
        const length = Math.min(1, count / most) * (middle - 8)
        return length < 0.3 ? '' : `M${(at * step + step / 2).toFixed(1)} ${middle}v${(-sign * length).toFixed(1)}`
      })
      .join('')}"/>`
  const title = `${role}${size === null ? '' : `, ${size}`}`
  return (
    `<figure><svg width="${width}" height="${height}" role="img" aria-label="${title}">${bars(inward, 1, IN)}${bars(out, -1, OUT)}` +
    `<path d="M0 ${middle}H${width}" stroke="#888"/></svg><figcaption><b>${title}</b>: up to ${most.toFixed(0)} records in 100 ms</figcaption></figure>`
  )
}

function rocPlot(curves: readonly { readonly name: string; readonly roc: readonly RocPoint[]; readonly auc: number }[]): string {
  const size = 300
  const at = ({ falsePositives, truePositives }: RocPoint) =>
    `${(30 + falsePositives * (size - 40)).toFixed(1)},${(size - 30 - truePositives * (size - 40)).toFixed(1)}`
  const lines = curves.map(
    ({ roc }, index) =>
      `<polyline fill="none" stroke="${PALETTE[index % PALETTE.length]}" stroke-width="2" points="${roc.map(at).join(' ')}"/>`,
  )
  const legend = curves
    .map(
      ({ name, auc }, index) =>
        `<span style="color:${PALETTE[index % PALETTE.length]}">■ ${escaped(name)} (${auc.toFixed(3)})</span>`,
    )
    .join('<br>')
  const axes = `<path d="M30 10V${size - 30}H${size - 10}" fill="none" stroke="#888"/><path d="M30 ${size - 30}L${size - 10} 10" stroke="#8886"/>`
  return `<figure><svg width="${size}" height="${size}" role="img" aria-label="ROC curves">${axes}${lines.join('')}</svg><figcaption>${legend}</figcaption></figure>`
}

function confusionTable({ task, classes, confusion }: TaskResult): string {
  const head = ['truth \\ said', ...classes]
  const rows = confusion.map((row, each) => {
    const all = row.reduce((sum, count) => sum + count, 0)
    return [
      escaped(classes[each]!),
      ...row.map((count) => `${count}${all === 0 ? '' : ` (${((100 * count) / all).toFixed(0)} %)`}`),
    ]
  })
  return `<figure>${htmlTable(head, rows)}<figcaption>${escaped(task)}</figcaption></figure>`
}

export function reportPage({ facts, rows, checked, verdicts, digests }: Findings): string {
  const { pairs, fourWay, further, sizes, hosting, groups, outside, colluding, posterior, direction } = verdicts
  const tasks = [...pairs, ...(fourWay === null ? [] : [fourWay]), ...further, ...sizes, ...(hosting === null ? [] : [hosting])]
  const shown = ROLES.flatMap((role) => digests[0]?.shown.find((trace) => trace.role === role) ?? [])
  const section = (title: string, ...parts: string[]) => `<section><h2>${escaped(title)}</h2>\n${parts.join('\n')}</section>`
  const linkings = [outside, colluding]
  return [
    `<!doctype html><html lang="en"><meta charset="utf-8"><title>Gyre: adversary lab</title><style>${STYLE}</style>`,
    `<h1>Adversary lab, clock ${escaped(String(facts.clock))}</h1>`,
    `<p>${escaped(
      Object.entries(facts)
        .map(([name, value]) => `${name} ${Array.isArray(value) ? value.join(' ') : String(value)}`)
        .join(' · '),
    )}</p>`,
    section(
      'To reach',
      htmlTable(
        ['what', 'found', 'upper 95 % bound', 'windows', 'to reach', ''],
        rows.map((row) => [
          escaped(row.what),
          escaped(row.found),
          escaped(row.bound),
          String(row.windows),
          escaped(row.goal),
          verdict(row.reached, 'reached', 'NOT REACHED'),
        ]),
      ),
    ),
    section(
      'One node in each role',
      `<p>Records per 100 ms over all links of one node in one window of 20 s: <span style="color:${IN}">in</span> upwards, <span style="color:${OUT}">out</span> downwards.</p>`,
      `<div class="side">${shown.map(tracePlot).join('')}</div>`,
    ),
    section(
      'Each task, on unseen runs and nodes',
      htmlTable(
        [
          'task',
          'advantage',
          '95 % bounds',
          'by nodes',
          'windows',
          'area',
          'learners chosen',
          'features that tell most by themselves',
        ],
        tasks.map((task) => [
          escaped(task.task),
          task.advantage.value.toFixed(3),
          `${task.advantage.lower.toFixed(3)} to ${task.advantage.upper.toFixed(3)}`,
          `${task.clustered.lower.toFixed(3)} to ${task.clustered.upper.toFixed(3)}`,
          String(task.windows),
          task.auc === null ? '–' : task.auc.toFixed(3),
          Object.entries(task.chosen)
            .map(([name, times]) => `${escaped(name)} × ${times}`)
            .join('<br>'),
          task.features.map(({ name, auc }) => `${escaped(name)} (${auc.toFixed(2)})`).join('<br>'),
        ]),
      ),
    ),
    section(
      'Where it is: each group of features alone',
      htmlTable(
        ['task', 'group', 'advantage', '95 % bounds'],
        groups.map(({ task, group, result }) => [
          escaped(task),
          escaped(group),
          result.advantage.value.toFixed(3),
          `${result.advantage.lower.toFixed(3)} to ${result.advantage.upper.toFixed(3)}`,
        ]),
      ),
    ),
    section(
      'ROC curves',
      `<div class="side">${rocPlot(pairs.flatMap(({ task, roc, auc }) => (auc === null ? [] : [{ name: task, roc, auc }])))}${rocPlot(
        [
          ...linkings.map(({ what, task }) => ({ name: what, task })),
          { name: 'predecessor is the origin', task: posterior.task },
          { name: 'which way content moves', task: direction },
        ].flatMap(({ name, task }) => (task?.auc ? [{ name, roc: task.roc, auc: task.auc }] : [])),
      )}</div>`,
    ),
    section(
      'Confusion',
      `<div class="side">${[...(fourWay === null ? [] : [fourWay]), ...pairs].map(confusionTable).join('')}</div>`,
    ),
    section(
      'Linking, and the insider',
      htmlTable(
        ['same loop?', 'pairs', 'area, by likeness alone', 'true positives at 10⁻³', 'advantage of a classifier', '95 % bounds'],
        linkings.map(({ what, pairs: count, auc, truePositives, task }) => [
          escaped(what),
          String(count),
          auc.toFixed(3),
          truePositives.toFixed(3),
          task === null ? '–' : task.advantage.value.toFixed(3),
          task === null ? '–' : `${task.advantage.lower.toFixed(3)} to ${task.advantage.upper.toFixed(3)}`,
        ]),
      ),
      `<p>Predecessor is the origin: ${(100 * posterior.base).toFixed(1)} % of ${posterior.circuits} circuits in windows; of the ${posterior.top} likeliest ${(100 * posterior.value).toFixed(1)} % (${(100 * posterior.lower).toFixed(1)} to ${(100 * posterior.upper).toFixed(1)} %).` +
        ` Which way content moves: ${direction === null ? '–' : `${direction.advantage.value.toFixed(3)} (${direction.advantage.lower.toFixed(3)} to ${direction.advantage.upper.toFixed(3)})`}.</p>`,
    ),
    section(
      'What it costs',
      htmlTable(
        ['what', 'found'],
        costRows(digests).map(({ what, found }) => [escaped(what), escaped(found)]),
      ),
    ),
    section(
      'The lab itself',
      htmlTable(
        ['check', 'found', ''],
        checked.map(({ what, found, passed }) => [escaped(what), escaped(found), verdict(passed, 'passed', 'FAILED')]),
      ),
    ),
    '</html>\n',
  ].join('\n')
}
