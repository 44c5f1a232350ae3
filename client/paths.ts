/**
 * Draws the members of a loop: a cycle through this node in the graph of links that both ends list, out and home over links that this
 * node chose itself. Pure: everything it knows is passed in. Spec: SPEC.md §6.5.
 *
 * Two internally disjoint random paths to the apex, each with at least two members between where the loop is long enough, no node
 * twice, no two of one /16 (v6: /32) or family where the graph allows it. Every step is drawn at random among those from which the rest
 * can still be reached in exactly the length wanted, so that neither the shortest nor any other path is preferred. What it resists: a
 * relay that guesses the origin from the path (DESIGN §1), one operator on several places of one loop. What it cannot: nodes that say
 * false things about their links only make loops that fail.
 *
 * What is given up first when the graph has no such loop: diversity, then the exact length, then the links of one's own choice (any
 * neighbour, and the result says so). Each search is complete up to its budget: `STEPS_MAX` and one walk over the graph around the apex.
 */
import type { NodeId } from '../src/bytes/index.ts'
import type { Descriptor, DirectoryView } from '../src/directory/index.ts'
import { type Rng, shuffled } from '../src/runtime/index.ts'
import { groupOf } from './neighbours/groups.ts'

// Specification constants.
/** Records in a set-up packet less the origin's own: no loop has more other members. */
export const LOOP_MEMBERS_MAX = 11
/** Fewest nodes, this one included, with which a loop can be built. */
export const NETWORK_NODES_MIN = 4
/** From here on loops have their full length. */
export const NETWORK_NODES_FULL = 6
const MEMBERS_USUAL = 5

// Implementation constants.
/** Nodes looked at in one pass. Enough to search a network of 8 whole. */
const STEPS_MAX = 6_000
/** Pairs of first and last links that share those steps. */
const PAIRS_MAX = 24
/** Apexes tried when none is asked for. */
const APEXES_MAX = 8

export interface LoopPlan {
  /** How many other members a loop has. */
  readonly members: number
  /** Shorter than it should be: too few nodes. */
  readonly short: boolean
}

/** The length of loops in a network of `nodes` (this one included), or `null` if it is too small for any (`NETWORK_TOO_SMALL`). */
export function loopPlan(nodes: number): LoopPlan | null {
  if (nodes < NETWORK_NODES_MIN) return null
  if (nodes < NETWORK_NODES_FULL) return { members: nodes - 1, short: true }
  return { members: loopMembers(nodes), short: false }
}

/** Other members of a loop: 5 in small networks, 8 at 1,000 nodes, 10 at 5,000, never over 11; fewer under 6 nodes, 0 under 4. */
export function loopMembers(nodes: number): number {
  if (nodes < NETWORK_NODES_MIN) return 0
  if (nodes < NETWORK_NODES_FULL) return nodes - 1
  return Math.min(LOOP_MEMBERS_MAX, MEMBERS_USUAL + Math.max(0, Math.round(3 * Math.log10(nodes / 100))))
}

export interface LoopQuestion {
  readonly view: DirectoryView
  readonly self: NodeId
  /** All nodes linked with this one now. */
  readonly neighbours: readonly NodeId[]
  /** Those of them that this node chose. */
  readonly chosen: readonly NodeId[]
  /** How many other members; the draw takes one more, one less or two more if there is no other way, and in a small network down to 3. */
  readonly members: number
  /** The node to reach; without it any. */
  readonly apex?: NodeId
  /** Nodes not to use, also not as apex. */
  readonly avoid?: ReadonlySet<NodeId>
  /** For the loops of a pseudonym, which others can recognise as one: always the same links, and members beside them that change slowly. */
  readonly preference?: LoopPreference
  readonly rng: Rng
}

/** Which nodes the loops of one pseudonym should use at the places that see its origin or the origin's neighbours. Lower goes first. */
export interface LoopPreference {
  /** Of a neighbour, as first or last member. The loops use one pair as long as it is up and leads to the apex. */
  link(id: NodeId): number
  /** Of a member next to the first or last one. */
  second(id: NodeId): number
}

export interface DrawnLoop {
  /** In order from the origin; all different, none of them the origin. */
  readonly hops: readonly NodeId[]
  readonly apexIndex: number
  /** Whether first and last link are this node's own choice. `false` only when no such loop exists. */
  readonly ownLinks: boolean
  /** Whether no two members (the origin counts) share a network prefix or family. */
  readonly diverse: boolean
}

/** A loop, or `null` if the graph has none within the budget. */
export function drawLoop(question: LoopQuestion): DrawnLoop | null {
  return drawOf(question, lengthsFor(question.members)) ?? drawOf(question, shorterThan(question.members))
}

function drawOf(question: LoopQuestion, lengths: readonly number[]): DrawnLoop | null {
  for (const ends of endSets(question)) {
    for (const length of lengths) {
      const apexIndexes = apexIndexesFor(length, question.rng)
      for (const diverse of [true, false]) {
        for (const apexIndex of apexIndexes) {
          const hops = new Search(question, new Set(ends), diverse).draw(length, apexIndex)
          if (hops === null) continue
          const ownLinks = question.chosen.includes(hops[0]!) && question.chosen.includes(hops.at(-1)!)
          return { hops, apexIndex, ownLinks, diverse }
        }
      }
    }
  }
  return null
}

/** Where the loop may leave and return, the best first: with a preference the first pair, then more and more of the links it names. */
function* endSets({ chosen, neighbours, preference, apex }: LoopQuestion): Generator<readonly NodeId[]> {
  if (preference !== undefined) {
    const ordered = chosen
      .filter((id) => id !== apex)
      .map((id) => ({ id, rank: preference.link(id) }))
      .sort((a, b) => a.rank - b.rank)
      .map(({ id }) => id)
    for (let count = 2; count < ordered.length; count++) yield ordered.slice(0, count)
  }
  yield chosen
  yield neighbours
}

/** The length asked for, then those near it, longer before shorter; never under 3 others. */
function lengthsFor(members: number): readonly number[] {
  return [members, members + 1, members - 1, members + 2].filter((length) => length >= 3 && length <= LOOP_MEMBERS_MAX)
}

/**
 * What is left when a small network has lost so many nodes that no loop of those lengths is there: the directory goes on listing the dead for a
 * day, and nothing could be read in that time. In a larger one it would be for who can make the web look sparse.
 */
function shorterThan(members: number): readonly number[] {
  return members > MEMBERS_USUAL ? [] : Array.from({ length: Math.max(0, members - 4) }, (_, at) => members - 2 - at)
}

/** Places for the apex: the middle, either side of it at random when there is no middle; two members or more on each side from 5 on. */
function apexIndexesFor(length: number, rng: Rng): readonly number[] {
  if (length % 2 === 1) return [(length - 1) / 2]
  return shuffled([length / 2 - 1, length / 2], rng)
}

/** One search with fixed rules. */
class Search {
  readonly #view: DirectoryView
  readonly #self: NodeId
  readonly #rng: Rng
  readonly #apex: NodeId | undefined
  readonly #avoid: ReadonlySet<NodeId>
  /** Where the loop may leave and return. */
  readonly #ends: ReadonlySet<NodeId>
  readonly #diverse: boolean
  readonly #preference: LoopPreference | undefined
  /** Steps to the apex for every node that is near enough. */
  #distance: ReadonlyMap<NodeId, number> = new Map()
  #steps = 0
  /** Members so far, the apex among them, and what they rule out. */
  readonly #used = new Set<NodeId>()
  readonly #groups = new Set<string>()

  constructor(question: LoopQuestion, ends: ReadonlySet<NodeId>, diverse: boolean) {
    this.#view = question.view
    this.#self = question.self
    this.#rng = question.rng
    this.#apex = question.apex
    this.#avoid = question.avoid ?? new Set()
    this.#ends = ends
    this.#diverse = diverse
    this.#preference = question.preference
  }

  draw(length: number, apexIndex: number): readonly NodeId[] | null {
    if (this.#ends.size < 2) return null
    for (const apex of this.#apexes()) {
      const hops = this.#drawWith(apex, length, apexIndex)
      if (hops !== null) return hops
    }
    return null
  }

  #apexes(): readonly NodeId[] {
    if (this.#apex !== undefined) return this.#usable(this.#apex) ? [this.#apex] : []
    const all = this.#view.all()
    const drawn = new Set<NodeId>()
    for (let tries = 0; tries < 8 * APEXES_MAX && drawn.size < Math.min(APEXES_MAX, all.length); tries++) {
      const { id } = all[this.#rng.below(all.length)]!
      if (this.#usable(id)) drawn.add(id)
    }
    return [...drawn]
  }

  #usable(id: NodeId): boolean {
    return id !== this.#self && !this.#avoid.has(id) && this.#view.get(id) !== undefined
  }

  #drawWith(apex: NodeId, length: number, apexIndex: number): readonly NodeId[] | null {
    const before = apexIndex
    const after = length - 1 - apexIndex
    this.#distance = this.#walkFrom(apex, Math.max(before, after))
    const ends = [...this.#ends].filter((id) => id !== apex && this.#usable(id))
    const firsts = ends.filter((id) => this.#near(id, before))
    const lasts = ends.filter((id) => this.#near(id, after))
    const pairs = firsts.flatMap((first) => lasts.filter((last) => last !== first).map((last) => [first, last] as const))
    const few = shuffled(pairs, this.#rng).slice(0, PAIRS_MAX)
    for (const [first, last] of few) {
      this.#used.clear()
      this.#groups.clear()
      this.#steps = Math.floor(STEPS_MAX / few.length)
      const origin = this.#view.get(this.#self)
      if (this.#diverse && origin) this.#occupy(origin)
      if (!this.#take(apex) || !this.#take(first) || !this.#take(last)) continue
      const way = this.#path(first, before - 1, () => this.#path(last, after - 1, () => [], true), true)
      if (way === null) continue
      // Both halves are in the order from their end to the apex.
      const [left, right] = [way.slice(0, before - 1), way.slice(before - 1)]
      return [first, ...left, apex, ...right.reverse(), last]
    }
    return null
  }

  /** Steps to `apex` in the graph without this node, for all nodes at most `depth` away. */
  #walkFrom(apex: NodeId, depth: number): ReadonlyMap<NodeId, number> {
    const distance = new Map([[apex, 0]])
    let edge = [apex]
    for (let steps = 1; steps <= depth; steps++) {
      const next: NodeId[] = []
      for (const id of edge) {
        for (const other of this.#view.linked(id)) {
          if (distance.has(other) || !this.#usable(other)) continue
          distance.set(other, steps)
          next.push(other)
        }
      }
      edge = next
    }
    return distance
  }

  #near(id: NodeId, steps: number): boolean {
    return (this.#distance.get(id) ?? Number.POSITIVE_INFINITY) <= steps
  }

  /**
   * Random members from `from` (not included) towards the apex, exactly `inner` of them, then what `rest` finds with those taken;
   * `null` if there is no way or the steps are used up. `fromEnd`: the next member is a second one.
   */
  #path(from: NodeId, inner: number, rest: () => NodeId[] | null, fromEnd = false): NodeId[] | null {
    if (inner === 0) return this.#near(from, 1) ? rest() : null
    for (const next of fromEnd ? this.#seconds(from) : shuffled(this.#view.linked(from), this.#rng)) {
      if (this.#steps-- <= 0) return null
      if (!this.#near(next, inner) || !this.#usable(next) || !this.#take(next)) continue
      const found = this.#path(next, inner - 1, rest)
      if (found !== null) return [next, ...found]
      this.#release(next)
    }
    return null
  }

  /** Whom to try after the first or last member. */
  #seconds(end: NodeId): readonly NodeId[] {
    const preference = this.#preference
    const linked = this.#view.linked(end)
    if (preference === undefined) return shuffled(linked, this.#rng)
    const ranks = new Map(linked.map((id) => [id, preference.second(id)]))
    return [...linked].sort((a, b) => ranks.get(a)! - ranks.get(b)!)
  }

  /** Takes a node into the loop if nothing speaks against it. */
  #take(id: NodeId): boolean {
    if (this.#used.has(id)) return false
    const descriptor = this.#view.get(id)
    if (descriptor === undefined) return false
    if (this.#diverse && (this.#related(descriptor) || prefixesOf(descriptor).some((group) => this.#groups.has(group))))
      return false
    this.#used.add(id)
    if (this.#diverse) this.#occupy(descriptor)
    return true
  }

  #release(id: NodeId): void {
    this.#used.delete(id)
    for (const group of prefixesOf(this.#view.get(id))) this.#groups.delete(group)
  }

  #occupy(descriptor: Descriptor): void {
    for (const group of prefixesOf(descriptor)) this.#groups.add(group)
  }

  /** Whether a member or the origin and this node name each other as family. */
  #related(descriptor: Descriptor): boolean {
    return descriptor.family.some(
      (other) =>
        (this.#used.has(other) || other === this.#self) && this.#view.get(other)?.family.includes(descriptor.id) === true,
    )
  }
}

function prefixesOf(descriptor: Descriptor | undefined): readonly string[] {
  return descriptor ? [...new Set(descriptor.addresses.map(groupOf))].filter((group): group is string => group !== null) : []
}
