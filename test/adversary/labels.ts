/**
 * The truth about each node in each window: its own work is as the scene says; what it did for others is read from the insider's records. Windows of
 * which neither can be said are left out, and counted. Pure.
 */
import type { Observation, Played } from './observe.ts'
import type { Size } from './scenes.ts'
import { ANSWERS, TapKind } from './tap-file.ts'
import { rowAt } from './wire-trace.ts'

/** What a node does in a window. `serve`: from its live service, or as a holder of shares; `hold`: takes shares; `meet`: rendezvous point. */
export const ROLES = ['serve-live', 'serve-store', 'receive', 'publish', 'hold', 'meet', 'relay', 'idle'] as const
export type Role = (typeof ROLES)[number]

export interface Labelled {
  readonly run: number
  readonly node: number
  /** Index of the scene in its run. */
  readonly window: number
  readonly role: Role
  readonly size: Size | null
  readonly host: boolean
  readonly from: number
  readonly to: number
}

/** Fewer answers in a window are neither serving nor none. */
const ANSWERS_MIN = 2
/** A relay is one that others' cells pass: fewer in a window are hardly anything. */
const RELAYED_CELLS_MIN = 100

/** What a node did for others in a window. */
export interface Services {
  readonly answers: Readonly<Record<(typeof ANSWERS)[number], number>>
  readonly relayedCells: number
}

export function servicesOf(observation: Observation, node: number, from: number, to: number): Services {
  const { records } = observation.taps[node]!
  const answers = Object.fromEntries(ANSWERS.map((kind) => [kind, 0])) as Record<(typeof ANSWERS)[number], number>
  let relayedCells = 0
  for (let row = rowAt(records.at, from); row < records.count && records.at[row]! < to; row++) {
    if (records.kind[row] === TapKind.HOP) relayedCells += records.size[row]!
    else if (records.kind[row] === TapKind.ANSWER) answers[ANSWERS[records.number[row]!] ?? 'other']++
  }
  return { answers, relayedCells }
}

/** Role of `node` in a scene; `null`: it cannot be said. */
export function roleOf({ scene }: Pick<Played, 'scene'>, node: number, { answers, relayedCells }: Services): Role | null {
  for (const actor of scene.actors) {
    if (actor.kind === 'live' && actor.server === node) return 'serve-live'
    if (actor.kind === 'live' && actor.client === node) return 'receive'
    if (actor.kind === 'fetch' && actor.node === node) return 'receive'
    if (actor.kind === 'publish' && actor.node === node) return 'publish'
  }
  if (scene.kind === 'idle') return 'idle'
  const { get, put, join } = answers
  if (get + put + join === 0) return relayedCells >= RELAYED_CELLS_MIN ? 'relay' : null
  if (get + put + join < ANSWERS_MIN) return null
  if (join > 0) return get + put === 0 ? 'meet' : null
  if (put === 0) return 'serve-store'
  return get === 0 ? 'hold' : null
}

export function sizeOf({ scene }: Pick<Played, 'scene'>, node: number): Size | null {
  for (const actor of scene.actors) {
    if (actor.kind === 'live' ? actor.server === node || actor.client === node : actor.node === node) return actor.size
  }
  return null
}

/** Every window of a run that has a role. */
export function labelRun(observation: Observation): { readonly labelled: Labelled[]; readonly unlabelled: number } {
  const labelled: Labelled[] = []
  let unlabelled = 0
  for (const [window, played] of observation.played.entries()) {
    const { from, to } = played
    for (let node = 0; node < observation.nodes; node++) {
      const role = roleOf(played, node, servicesOf(observation, node, from, to))
      if (role === null) unlabelled++
      else {
        const size = sizeOf(played, node)
        labelled.push({ run: observation.run, node, window, role, size, host: observation.hosts.has(node), from, to })
      }
    }
  }
  return { labelled, unlabelled }
}
