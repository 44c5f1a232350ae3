/** `gyre fetch --trace`: where the time went, stage by stage, for people. The node keeps the trace; nobody else has it. */
import { explain, type TraceReport } from '../trace/index.ts'
import { getJson, type NodeAt } from './api-client.ts'
import { table } from './output.ts'

/** The trace `id` of a node, or `null` if the node does not have it (any more). */
export async function traceOf(node: NodeAt, id: unknown, signal: AbortSignal): Promise<TraceReport | null> {
  if (typeof id !== 'string' || !/^[0-9a-f]{1,64}$/.test(id)) return null
  return getJson<TraceReport>(node, `/v1/traces/${id}`, signal).catch(() => null)
}

/** A trace as a table, with a sentence that says what there is to see. */
export function traceTable(report: TraceReport): string {
  const rows: string[][] = []
  let alike = 0
  for (const [at, { stage, atMs, tookMs, loop, note, failed }] of report.stages.entries()) {
    const before = report.stages[at - 1]
    // Moments of one kind in a row are one line.
    if (before?.stage === stage && before.note === note && before.failed === failed && tookMs === null && loop === null) {
      rows.at(-1)![4] = `${note ?? ''} (${++alike + 1} times)`
      continue
    }
    alike = 0
    rows.push([
      atMs.toFixed(1),
      tookMs === null ? '' : tookMs.toFixed(1),
      failed ? `${stage} !` : stage,
      loop === null ? '' : `loop ${loop}`,
      note ?? '',
    ])
  }
  const dropped = report.dropped === 0 ? '' : `and ${report.dropped} more stages\n`
  const sentence = explain(report)
  return `${table([['at ms', 'took ms', 'stage', '', ''], ...rows])}${dropped}${sentence === null ? '' : `${sentence}\n`}`
}
