/**
 * What the nodes of a run do, window by window: scenes of 20 s in which some nodes have work of their own and all others have none. Pure: drawn
 * from the run's generator. In each scene other nodes play each part, so that no classifier can learn a node instead of a role.
 *
 * Most nodes host a live service all the time, used or not, and download from others' services: else "hosts a service" and
 * "serves now" would be one thing, and the lab would measure the first. Tasks compare windows of hosts with hosts (`evaluate.ts`). What nodes do in a scene without being told to (answer from their store, relay, be a rendezvous point) is not planned here
 * but read from the insider's records afterwards (`labels.ts`).
 */
import type { SeededRng } from '../support/seeded-rng.ts'

export const WINDOW_MS = 20_000

export const SIZES = ['message', 'page', 'bulk'] as const
export type Size = (typeof SIZES)[number]

/** Who does what in one scene. `live`: `client` downloads from the target behind `server`'s service. */
export type Actor =
  | { readonly kind: 'live'; readonly server: number; readonly client: number; readonly size: Size }
  | { readonly kind: 'fetch'; readonly node: number; readonly size: Size }
  | { readonly kind: 'publish'; readonly node: number; readonly size: Size }

export interface Scene {
  readonly kind: 'idle' | 'live' | 'store' | 'publish'
  readonly actors: readonly Actor[]
}

/** How large things are, and how long an actor rests between two of them (mean of an exponential draw). */
export interface Workload {
  readonly bytes: Readonly<Record<Size, number>>
  readonly restMs: Readonly<Record<Size, number>>
  /** Pause after services are up and content is published, before the first scene; and after each scene. */
  readonly settleMs: number
  readonly pauseMs: number
  /** The standing loops of each service; `null`: this clock has none. Few and slow ones: most of sixteen nodes on one machine have them. */
  readonly carriage: ServiceCarriage | null
  /** What nodes are started with besides: sixteen of them are to run on two cores, far from what these can do. */
  readonly flags: readonly string[]
  /** The same in short runs, which play two networks at once, where it differs: with twice the lines these take all that two cores have (FINDINGS.md). */
  readonly shortFlags?: readonly string[]
}

/** What carries a service under a paced clock. */
export interface ServiceCarriage {
  readonly loops: number
  /** Cells a second of each. */
  readonly rate: number
}

const KiB = 1024

/** Sizes are the same for all clocks where the clock can carry them within a window. */
export const WORKLOADS: Readonly<Record<string, Workload>> = {
  swift: {
    bytes: { message: 2 * KiB, page: 300 * KiB, bulk: 2048 * KiB },
    restMs: { message: 900, page: 2_500, bulk: 4_000 },
    settleMs: 3_000,
    pauseMs: 1_500,
    carriage: null,
    flags: [],
  },
  steady: {
    bytes: { message: 2 * KiB, page: 300 * KiB, bulk: 1024 * KiB },
    restMs: { message: 900, page: 2_500, bulk: 4_000 },
    settleMs: 3_000,
    pauseMs: 500,
    carriage: { loops: 1, rate: 32 },
    flags: ['--hold', '150', '--bandwidth', '48Mbit'],
    shortFlags: ['--hold', '150', '--bandwidth', '24Mbit'],
  },
  fixed: {
    bytes: { message: 2 * KiB, page: 32 * KiB, bulk: 64 * KiB },
    restMs: { message: 900, page: 2_500, bulk: 4_000 },
    settleMs: 5_000,
    pauseMs: 500,
    carriage: { loops: 1, rate: 32 },
    flags: ['--hold', '150', '--bandwidth', '60Mbit', '--fixed-loops', '5', '--fixed-rate', '32'],
  },
}

export type SceneKind = Scene['kind']

/** Order of the scenes of a run. Quiet ones are spread over it: what changes from its beginning to its end must not stand for quiet. */
export const FULL_RUN: readonly SceneKind[] = [
  ...['idle', 'live', 'store', 'live', 'publish', 'idle', 'live', 'store', 'live', 'live'],
] as SceneKind[]
export const SHORT_RUN: readonly SceneKind[] = ['idle', 'live', 'store', 'live']

/** Of 16 nodes; fewer for fewer nodes. */
const LIVE_PAIRS = 4
const FETCHERS = 5
const PUBLISHERS = 4
/** Of the nodes. The others are there to ask whether hosting itself shows. */
const HOSTS_SHARE = 0.6

/** The scenes of one run. Roles move through a random order of the nodes from scene to scene. */
export function planScenes(
  kinds: readonly SceneKind[],
  hosts: ReadonlySet<number>,
  nodes: number,
  rng: SeededRng,
  sizes: readonly Size[] = SIZES,
): Scene[] {
  const order = shuffledIndexes(nodes, rng)
  const hosting = order.filter((node) => hosts.has(node))
  let at = 0
  const next = () => order[at++ % nodes]!
  let served = 0
  const scaled = (count: number) => Math.max(1, Math.floor((count * nodes) / 16))
  const size = () => sizes[rng.below(sizes.length)]!
  /** Servers in turn among the hosts; clients in turn, hosts as long as there are such: they are compared with hosts that serve. */
  const livePairs = () => {
    const count = Math.min(scaled(LIVE_PAIRS), hosting.length)
    const servers = Array.from({ length: count }, () => hosting[served++ % hosting.length]!)
    const busy = new Set(servers)
    return servers.map((server) => {
      const hostsLeft = hosting.some((host) => !busy.has(host))
      let client = next()
      while (busy.has(client) || (hostsLeft && !hosts.has(client))) client = next()
      busy.add(client)
      return { kind: 'live' as const, server, client, size: size() }
    })
  }
  const alone = <K extends 'fetch' | 'publish'>(kind: K, count: number) =>
    Array.from({ length: scaled(count) }, () => ({ kind, node: next(), size: size() }))
  const actors: Readonly<Record<SceneKind, () => Actor[]>> = {
    idle: () => [],
    live: livePairs,
    store: () => alone('fetch', FETCHERS),
    publish: () => alone('publish', PUBLISHERS),
  }
  return kinds.map((kind) => ({ kind, actors: actors[kind]() }))
}

/** The nodes of a run that host services, others in each run. */
export function planHosts(nodes: number, rng: SeededRng): ReadonlySet<number> {
  return new Set(shuffledIndexes(nodes, rng).slice(0, Math.ceil(nodes * HOSTS_SHARE)))
}

/** The nodes of a run that delay or garble: one in four, so that most loops have one. */
export function planHands(nodes: number, rng: SeededRng): ReadonlySet<number> {
  return new Set(shuffledIndexes(nodes, rng).slice(0, Math.ceil(nodes / 4)))
}

function shuffledIndexes(count: number, rng: SeededRng): number[] {
  const order = Array.from({ length: count }, (_, at) => at)
  for (let at = count - 1; at > 0; at--) {
    const other = rng.below(at + 1)
    const held = order[at]!
    order[at] = order[other]!
    order[other] = held
  }
  return order
}
