/**
 * Webs of neighbours for the path simulator: nodes with capacities and networks, each with links that it chose and links that chose it, made
 * by the rules of SPEC.md §6.4 (weights capped at class 3, /16 kept apart, 4 chosen, 8 accepted), and nested sets of adversaries in it.
 */
import type { NodeId, UnixMs } from '../../src/bytes/index.ts'
import type { Descriptor, DirectoryView } from '../../src/directory/index.ts'
import { type Rng, shuffled } from '../../src/runtime/index.ts'

export const CHOSEN = 4
export const ACCEPTED_MAX = 8
/** How many nodes have capacity class 0, 1, 2, 3. */
const CLASS_SHARES = [0.5, 0.25, 0.15, 0.1] as const

export interface Web {
  readonly ids: readonly NodeId[]
  readonly view: DirectoryView
  /** Links both ways, by node. */
  readonly links: ReadonlyMap<NodeId, ReadonlySet<NodeId>>
  readonly chosen: ReadonlyMap<NodeId, readonly NodeId[]>
  readonly weight: ReadonlyMap<NodeId, number>
  /** A node drawn by weight. */
  draw(rng: Rng): NodeId
}

const idOf = (index: number) => index.toString(16).padStart(64, '0') as NodeId

/** A node drawn by cumulated weights. */
function drawer(ids: readonly NodeId[], weights: readonly number[]): (rng: Rng) => NodeId {
  const sums = new Float64Array(ids.length)
  let sum = 0
  for (let at = 0; at < ids.length; at++) {
    sum += weights[at]!
    sums[at] = sum
  }
  return (rng) => {
    const wanted = rng.unit() * sum
    let low = 0
    let high = ids.length - 1
    while (low < high) {
      const middle = (low + high) >> 1
      if (sums[middle]! > wanted) high = middle
      else low = middle + 1
    }
    return ids[low]!
  }
}

/** A web of `nodes` nodes in which every choice had room. */
export function makeWeb(nodes: number, rng: Rng): Web {
  const ids = Array.from({ length: nodes }, (_, index) => idOf(index))
  const classes = ids.map(() => classOf(rng.unit()))
  const groups = new Map(ids.map((id) => [id, rng.below(4000)]))
  const weights = classes.map((capacity) => 1 + capacity)
  const draw = drawer(ids, weights)
  const links = new Map(ids.map((id) => [id, new Set<NodeId>()]))
  const chosen = new Map(ids.map((id) => [id, [] as NodeId[]]))
  const accepted = new Map(ids.map((id) => [id, 0]))
  for (const id of shuffled(ids, rng)) {
    const own = chosen.get(id)!
    for (let tries = 0; own.length < CHOSEN && tries < 1000; tries++) {
      const other = draw(rng)
      const apart = tries > 200 || own.every((held) => groups.get(held) !== groups.get(other))
      if (other === id || own.includes(other) || !apart) continue
      const linked = links.get(id)!.has(other)
      if (!linked && accepted.get(other)! >= ACCEPTED_MAX) continue
      if (!linked) accepted.set(other, accepted.get(other)! + 1)
      own.push(other)
      links.get(id)!.add(other)
      links.get(other)!.add(id)
    }
  }
  const descriptors = new Map(
    ids.map((id, index) => [id, descriptorOf(id, classes[index]!, groups.get(id)!, [...links.get(id)!])] as const),
  )
  const all = [...descriptors.values()]
  const linked = new Map(ids.map((id) => [id, [...links.get(id)!]]))
  const view: DirectoryView = {
    size: nodes,
    version: 1,
    get: (id) => descriptors.get(id),
    all: () => all,
    linked: (id) => linked.get(id) ?? [],
  }
  return { ids, view, links, chosen, weight: new Map(ids.map((id, index) => [id, weights[index]!])), draw }
}

function classOf(at: number): number {
  let left = at
  for (const [capacity, share] of CLASS_SHARES.entries()) {
    left -= share
    if (left < 0) return capacity
  }
  return 0
}

function descriptorOf(id: NodeId, capacityClass: number, group: number, neighbours: readonly NodeId[]): Descriptor {
  return {
    id,
    addresses: [`/ip4/${1 + (group >> 8)}.${group & 255}.0.1/tcp/1`],
    onion: { kid: 0, x25519: new Uint8Array(32), mlkem768: new Uint8Array(1184) },
    capacityClass,
    storeQuotaBytes: 0,
    publishedMs: 0 as UnixMs,
    neighbours,
    family: [],
  }
}

/** Who is an adversary: a share of the nodes at random (`count`), or the largest nodes up to a share of all weight (`weight`). */
export interface Adversary {
  readonly by: 'count' | 'weight'
  readonly share: number
  readonly nodes: ReadonlySet<NodeId>
}

export const SHARES = [0.01, 0.05, 0.1, 0.2] as const

export function adversaries(web: Web, rng: Rng): Adversary[] {
  const order = shuffled(web.ids, rng)
  const heavy = [...order].sort((a, b) => web.weight.get(b)! - web.weight.get(a)!)
  const total = web.ids.reduce((sum, id) => sum + web.weight.get(id)!, 0)
  const byCount = SHARES.map(
    (share): Adversary => ({
      by: 'count',
      share,
      nodes: new Set(order.slice(0, Math.round(share * order.length))),
    }),
  )
  const byWeight = SHARES.map((share): Adversary => {
    const nodes = new Set<NodeId>()
    let held = 0
    for (const id of heavy) {
      if (held >= share * total) break
      nodes.add(id)
      held += web.weight.get(id)!
    }
    return { by: 'weight', share, nodes }
  })
  return [...byCount, ...byWeight]
}
