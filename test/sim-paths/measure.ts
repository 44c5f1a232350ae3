/**
 * What insiders learn from structure alone: the posterior that a neighbour in a circuit is its origin, for one member and for two that know
 * that they share a circuit; how much a path leaves open (entropy); how long loops are. Sampled; every figure says of how many.
 */
import type { NodeId } from '../../src/bytes/index.ts'
import type { Rng } from '../../src/runtime/index.ts'
import { exitsOf, type Rule, type Walk, walk } from './walks.ts'
import type { Web } from './web.ts'

/** Circuits of random origins. */
export function sampleWalks(web: Web, rule: Rule, count: number, rng: Rng): Walk[] {
  const walks: Walk[] = []
  for (let tries = 0; walks.length < count && tries < 2 * count; tries++) {
    const origin = web.ids[rng.below(web.ids.length)]!
    const found = walk(web, origin, rule, exitsOf(web, origin, rule), rng)
    if (found !== null) walks.push(found)
  }
  return walks
}

export interface Posterior {
  /** Over all links. */
  readonly mean: number
  /** On the kind of link that tells most: chosen by the neighbour, by the member, by both, or dialled on demand. */
  readonly worst: number
  readonly worstKind: string
  /** `worst` times the mean number of members, the origin included: 2 is what structure gives on self-chosen links. */
  readonly times: number
}

/** What a member can see of the link to a neighbour of its circuit. */
function kindOf(web: Web, member: NodeId, neighbour: NodeId): string {
  const theirs = web.chosen.get(neighbour)?.includes(member) === true
  const ours = web.chosen.get(member)?.includes(neighbour) === true
  if (theirs && ours) return 'both chose'
  if (theirs) return 'neighbour chose'
  return ours ? 'member chose' : 'on demand'
}

class Tally {
  readonly #seen = new Map<string, { all: number; origin: number }>()
  add(kind: string, isOrigin: boolean): void {
    const held = this.#seen.get(kind) ?? { all: 0, origin: 0 }
    held.all++
    if (isOrigin) held.origin++
    this.#seen.set(kind, held)
  }
  posterior(members: number, leastSeen: number): Posterior {
    let all = 0
    let origin = 0
    let worst = 0
    let worstKind = ''
    for (const [kind, seen] of this.#seen) {
      all += seen.all
      origin += seen.origin
      const share = seen.origin / seen.all
      if (seen.all >= leastSeen && share > worst) {
        worst = share
        worstKind = kind
      }
    }
    return { mean: all === 0 ? 0 : origin / all, worst, worstKind, times: worst * members }
  }
}

/** Everybody on a circuit in order, the origin first; a line's apex has no successor. */
function ring({ origin, hops }: Walk): readonly NodeId[] {
  return [origin, ...hops]
}

function meanLength(walks: readonly Walk[]): number {
  return walks.reduce((sum, { hops }) => sum + hops.length + 1, 0) / Math.max(1, walks.length)
}

/** For one member: is this neighbour, before me or behind me, the origin? */
export function posteriorOfOne(web: Web, walks: readonly Walk[]): Posterior {
  const tally = new Tally()
  for (const found of walks) {
    const all = ring(found)
    for (let at = 1; at < all.length; at++) {
      const before = all[at - 1]!
      const after = at + 1 < all.length ? all[at + 1]! : found.loop ? all[0]! : null
      tally.add(`before, ${kindOf(web, all[at]!, before)}`, before === found.origin)
      if (after !== null) tally.add(`behind, ${kindOf(web, all[at]!, after)}`, after === found.origin)
    }
  }
  return tally.posterior(meanLength(walks), 50)
}

/** For two members who know that they share a circuit, and how many members lie between them one way round. */
export function posteriorOfTwo(web: Web, walks: readonly Walk[], rng: Rng): Posterior {
  const tally = new Tally()
  for (const found of walks) {
    const all = ring(found)
    const first = 1 + rng.below(all.length - 1)
    const second = 1 + rng.below(all.length - 1)
    if (first === second) continue
    const [one, two] = first < second ? [first, second] : [second, first]
    const inner = two - one - 1
    const outer = all.length - two + one - 1
    for (const at of [one, two]) {
      const before = at - 1
      const after = at + 1 < all.length ? at + 1 : found.loop ? 0 : -1
      for (const [neighbour, side] of [[before, 'before'] as const, [after, 'behind'] as const]) {
        if (neighbour < 0 || neighbour === one || neighbour === two) continue
        const inside = neighbour > one && neighbour < two
        // Who counts the members between them (by time) knows how many are on this side.
        const onThisSide = found.loop ? Math.min(4, inside ? inner : outer) : 0
        tally.add(`${side}, ${kindOf(web, all[at]!, all[neighbour]!)}, ${onThisSide} there`, all[neighbour] === found.origin)
      }
    }
  }
  return tally.posterior(meanLength(walks), 50)
}

/** Bits of uncertainty about members of one origin's circuits, mean over origins (Miller–Madow), and about whole paths. */
export interface Openness {
  readonly first: number
  readonly second: number
  readonly middle: number
  /** Share of drawn paths that differ from all others drawn. */
  readonly distinct: number
}

export function openness(web: Web, rule: Rule, origins: number, draws: number, rng: Rng): Openness {
  const sums = { first: 0, second: 0, middle: 0, distinct: 0 }
  for (let at = 0; at < origins; at++) {
    const origin = web.ids[rng.below(web.ids.length)]!
    const exits = exitsOf(web, origin, rule)
    const walks: Walk[] = []
    for (let draw = 0; draw < draws; draw++) {
      const found = walk(web, origin, rule, exits, rng)
      if (found !== null) walks.push(found)
    }
    sums.first += entropy(walks.map(({ hops }) => hops[0]!))
    sums.second += entropy(walks.map(({ hops }) => hops[1]!))
    sums.middle += entropy(walks.map(({ hops, apex }) => hops[apex - 1]!))
    sums.distinct += new Set(walks.map(({ hops }) => hops.join())).size / Math.max(1, walks.length)
  }
  const mean = (sum: number) => sum / origins
  return { first: mean(sums.first), second: mean(sums.second), middle: mean(sums.middle), distinct: mean(sums.distinct) }
}

/** Shannon entropy in bits with the Miller–Madow correction. */
export function entropy(values: readonly string[]): number {
  const counts = new Map<string, number>()
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1)
  let bits = 0
  for (const count of counts.values()) bits -= (count / values.length) * Math.log2(count / values.length)
  return values.length === 0 ? 0 : bits + (counts.size - 1) / (2 * values.length * Math.LN2)
}

/** How many circuits have how many members besides the origin. */
export function lengths(walks: readonly Walk[]): ReadonlyMap<number, number> {
  const counts = new Map<number, number>()
  for (const { hops } of walks) counts.set(hops.length, (counts.get(hops.length) ?? 0) + 1)
  return new Map([...counts].sort(([a], [b]) => a - b))
}
