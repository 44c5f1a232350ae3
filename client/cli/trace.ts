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
  const rows = report.stages.map(({ stage, atMs, tookMs, loop, note, failed }) => [
    atMs.toFixed(1),
    tookMs === null ? '' : tookMs.toFixed(1),
    failed ? `${stage} !` : stage,
    loop === null ? '' : `loop ${loop}`,
    note ?? '',
  ])
  const dropped = report.dropped === 0 ? '' : `and ${report.dropped} more stages\n`
  const sentence = explain(report)
  return `${table([['at ms', 'took ms', 'stage', '', ''], ...rows])}${dropped}${sentence === null ? '' : `${sentence}\n`}`
}
