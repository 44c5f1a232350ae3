/** Tables as text, and one self-contained page with tables and plots (inline SVG), for the path simulator. */
import type { Exposure } from './exposure.ts'
import type { Rule } from './walks.ts'

/** A Markdown table. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n')
}

const escaped = (text: string) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')

export const page = {
  table(head: readonly string[], rows: readonly (readonly string[])[]): string {
    const cells = (tag: string, row: readonly string[]) =>
      `<tr>${row.map((cell) => `<${tag}>${escaped(cell)}</${tag}>`).join('')}</tr>`
    return `<table>${cells('th', head)}${rows.map((row) => cells('td', row)).join('\n')}</table>`
  },
  section(title: string, parts: readonly string[]): string {
    return `<section><h2>${escaped(title)}</h2>\n${parts.join('\n')}</section>`
  },
  whole(title: string, sections: readonly string[]): string {
    const style =
      'body{font:15px/1.5 system-ui,sans-serif;max-width:80rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}' +
      'table{border-collapse:collapse;margin:1rem 0;font-size:13px}td,th{border:1px solid #8886;padding:.2rem .5rem;text-align:left}svg{max-width:100%}'
    return `<!doctype html><html lang="en"><meta charset="utf-8"><title>${escaped(title)}</title><style>${style}</style><h1>${escaped(title)}</h1>\n${sections.join('\n')}</html>\n`
  },
}

const COLOURS: Readonly<Record<Rule, string>> = { chosen: '#0a7', any: '#07c', pair: '#a3c', guards: '#d40' }
const WIDTH = 360
const HEIGHT = 200

/** Share of origins held at both ends over days, a plot for each adversary, a line for each rule. */
export function exposurePlot(exposed: ReadonlyMap<Rule, readonly Exposure[]>): string {
  const count = [...exposed.values()][0]?.length ?? 0
  const plots = Array.from({ length: count }, (_, at) => plot(exposed, at))
  const legend = [...exposed.keys()].map((rule) => `<span style="color:${COLOURS[rule]}">■ ${rule}</span>`).join(' ')
  return `<p>Origins held at both ends, by day. ${legend}</p><div style="display:flex;flex-wrap:wrap;gap:1rem">${plots.join('')}</div>`
}

function plot(exposed: ReadonlyMap<Rule, readonly Exposure[]>, at: number): string {
  const lines = [...exposed].map(([rule, all]) => {
    const days = all[at]!.byDay
    const points = days.map(
      (share, day) => `${30 + (day * (WIDTH - 40)) / Math.max(1, days.length - 1)},${HEIGHT - 20 - share * (HEIGHT - 40)}`,
    )
    return `<polyline fill="none" stroke="${COLOURS[rule]}" stroke-width="2" points="${points.join(' ')}"/>`
  })
  const { adversary } = [...exposed.values()][0]![at]!
  const title = `${100 * adversary.share} % by ${adversary.by}`
  const axes = `<path d="M30 20V${HEIGHT - 20}H${WIDTH - 10}" fill="none" stroke="#888"/><text x="2" y="25" font-size="10" fill="#888">100 %</text>`
  return `<svg width="${WIDTH}" height="${HEIGHT}" role="img" aria-label="${title}">${axes}${lines.join('')}<text x="40" y="14" font-size="12" fill="#888">${title}</text></svg>`
}
