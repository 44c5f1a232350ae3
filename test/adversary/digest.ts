/**
 * What is kept of one run when its raw records are gone: samples for each question, what things cost, how well the taps agreed, and a few traces for
 * the report. The raw records of a run are some tens of megabytes; digests of many runs fit in memory.
 */
import type { SeededRng } from '../support/seeded-rng.ts'
import type { Sample } from './evaluate.ts'
import { binned, featuresOf, linksOf } from './features.ts'
import { type InsiderSamples, insiderSamples } from './insider.ts'
import { labelRun, type Role } from './labels.ts'
import { colludingPairs, outsidePairs, type Pairs } from './linking.ts'
import { circuitCells, trueLoops } from './loops.ts'
import { insideTrace, type Observation } from './observe.ts'
import { oneWay } from './oneway.ts'
import { type SceneKind, WINDOW_MS } from './scenes.ts'
import { TapKind } from './tap-file.ts'
import { type Agreement, compareTaps, rowAt, type WireTrace } from './wire-trace.ts'

export interface RoleSample extends Sample {
  readonly role: Role
  readonly size: string | null
  readonly host: boolean
  readonly scene: SceneKind
  /** Circuits that passed the node before the window. */
  readonly place: number
  /** In the order of time, within its run. */
  readonly window: number
}

/** Records per 100 ms, all links of one node. */
export interface ShownTrace {
  readonly role: Role
  readonly size: string | null
  readonly in: readonly number[]
  readonly out: readonly number[]
}

/** What one run cost. */
export interface Costs {
  readonly idleWindows: number
  /** Sent by a node per minute while nobody has work, bytes: means over nodes that host a service, and over others. */
  readonly idleHostBytesPerMinute: number
  readonly idleBytesPerMinute: number
  /** All bytes on all links in windows with work, less what idle windows have, and payload that moved in them, by kind of scene. */
  readonly extraBytes: Readonly<Record<string, number>>
  readonly payloadBytes: Readonly<Record<string, number>>
  /** First-byte and whole times of each kind and size of work, milliseconds. */
  readonly times: Readonly<Record<string, readonly { readonly firstByteMs: number; readonly ms: number }[]>>
  readonly failed: readonly string[]
}

export interface Digest {
  readonly run: number
  readonly names: readonly string[]
  readonly roles: readonly RoleSample[]
  /** The same windows without the cells that carry no content: the positive control. Those of serving, receiving and relaying nodes only. */
  readonly oneWayRoles: readonly RoleSample[]
  readonly unlabelled: number
  readonly insider: InsiderSamples
  readonly outsidePairs: Pairs
  readonly colludingPairs: Pairs
  readonly loops: number
  readonly recordSizes: ReadonlyMap<number, number>
  readonly tap: 'capture' | 'sockets'
  readonly blind: string | null
  readonly missed: number
  /** The capture against the sockets' writes; the sockets' reads against their writes. */
  readonly agreement: Agreement | null
  readonly ownAgreement: Agreement
  readonly costs: Costs
  readonly shown: readonly ShownTrace[]
  readonly readyMs: number
}

const CONTROLLED: ReadonlySet<Role> = new Set<Role>(['serve-live', 'serve-store', 'receive', 'relay'])
const SHOWN_BIN_MS = 100
/** Circuits that carried cells in so long before a window are those that pass the node. */
const BEFORE_MS = 4_000

/** `tap`: which view the features are made from; the capture's where there is one. */
export function digest(observation: Observation, rng: SeededRng): Digest {
  const { run, inside, outside, played } = observation
  const trace = outside ?? inside
  const { labelled, unlabelled } = labelRun(observation)
  const loops = trueLoops(observation)
  const cells = observation.taps.map(({ records }) => circuitCells(records))
  const passing = (node: number, before: number) => {
    const circuits = [...cells[node]!.values()]
    return circuits.filter(({ at }) => rowAt(at, before) > rowAt(at, before - BEFORE_MS)).length
  }
  let names: readonly string[] = []
  const shown = new Map<Role, ShownTrace>()
  const roles = labelled.map((label): RoleSample => {
    const links = linksOf(trace, label.node, label.from, label.to)
    const features = featuresOf(links, WINDOW_MS)
    names = features.names
    if (!shown.has(label.role) || label.size === 'page') {
      const bins = WINDOW_MS / SHOWN_BIN_MS
      const sum = (way: 'in' | 'out') => {
        const counts = new Float64Array(bins)
        for (const link of links)
          for (const [bin, count] of binned(link[way], SHOWN_BIN_MS, bins).entries()) counts[bin]! += count
        return [...counts]
      }
      shown.set(label.role, { role: label.role, size: label.size, in: sum('in'), out: sum('out') })
    }
    const { node, role, size, host, window } = label
    const scene = played[window]!.scene.kind
    const place = passing(node, label.from)
    return { run, node, role, size, host, window, scene, place, stratum: '', values: features.values }
  })
  const halved = oneWay(observation, trace, loops, cells)
  const oneWayRoles = labelled.flatMap(({ node, role, size, host, window, from: start, to: end }): RoleSample[] => {
    if (!CONTROLLED.has(role)) return []
    const { values } = featuresOf(linksOf(halved, node, start, end), WINDOW_MS)
    return [
      {
        run,
        node,
        role,
        size,
        host,
        window,
        scene: played[window]!.scene.kind,
        place: passing(node, start),
        stratum: '',
        values,
      },
    ]
  })
  const from = played[0]?.from ?? 0
  const to = played.at(-1)?.to ?? 0
  return {
    run,
    names,
    roles,
    oneWayRoles,
    unlabelled,
    insider: insiderSamples(observation, loops, cells),
    outsidePairs: outsidePairs(observation, trace, loops, cells, rng.fork('outside')),
    colludingPairs: colludingPairs(observation, loops, cells, rng.fork('colluding')),
    loops: loops.length,
    recordSizes: trace.recordSizes,
    tap: outside === null ? 'sockets' : 'capture',
    blind: observation.blind,
    missed: trace.missed,
    agreement: outside === null ? null : compareTaps(inside, outside, from, to),
    ownAgreement: compareTaps(inside, insideTrace(observation.taps, TapKind.READ), from, to),
    costs: costsOf(observation, trace),
    shown: [...shown.values()],
    readyMs: observation.readyMs,
  }
}

/** Bytes that `node`, or everybody, sent from `from` to `to`. */
function sentBytes(trace: WireTrace, from: number, to: number, node: number | null): number {
  let sum = 0
  for (const flow of trace.flows) {
    if (node !== null && flow.from !== node) continue
    const end = rowAt(flow.at, to)
    for (let row = rowAt(flow.at, from); row < end; row++) sum += flow.bytes[row]!
  }
  return sum
}

function costsOf({ played, nodes, hosts }: Observation, trace: WireTrace): Costs {
  const quiet = played.filter(({ scene }) => scene.kind === 'idle')
  const perMinute = (wanted: boolean) => {
    const those = Array.from({ length: nodes }, (_, node) => node).filter((node) => hosts.has(node) === wanted)
    const bytes = quiet.reduce(
      (sum, { from, to }) => sum + those.reduce((all, node) => all + sentBytes(trace, from, to, node), 0),
      0,
    )
    return quiet.length === 0 || those.length === 0 ? 0 : (bytes / quiet.length / those.length) * (60_000 / WINDOW_MS)
  }
  const idleWindow =
    quiet.length === 0 ? 0 : quiet.reduce((sum, { from, to }) => sum + sentBytes(trace, from, to, null), 0) / quiet.length
  const extraBytes: Record<string, number> = {}
  const payloadBytes: Record<string, number> = {}
  const times: Record<string, { firstByteMs: number; ms: number }[]> = {}
  const failed: string[] = []
  for (const { scene, from, to, deeds } of played) {
    failed.push(...deeds.failed)
    for (const { kind, size, firstByteMs, ms } of deeds.done) {
      times[`${kind}, ${size}`] ??= []
      times[`${kind}, ${size}`]!.push({ firstByteMs, ms })
    }
    if (scene.kind === 'idle') continue
    extraBytes[scene.kind] = (extraBytes[scene.kind] ?? 0) + sentBytes(trace, from, to, null) - idleWindow
    payloadBytes[scene.kind] = (payloadBytes[scene.kind] ?? 0) + deeds.bytes
  }
  return {
    idleWindows: quiet.length,
    idleHostBytesPerMinute: perMinute(true),
    idleBytesPerMinute: perMinute(false),
    extraBytes,
    payloadBytes,
    times,
    failed,
  }
}
