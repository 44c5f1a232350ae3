/**
 * The directory and placement alone, for 10,000 nodes: the real `Directory`, `Gossip` and `Ranking`, messages passed by calls and counted in cells.
 *
 *   flood       every node with directory and gossip, on a web of chosen links: how long a change takes to be everywhere, and what it costs a node
 *   link        two nodes with whole directories: what reconciling costs where nothing changes, and how a newcomer gets everything
 *   memory      one directory of all nodes
 *   ranking     what a publication and a look-up compute
 *   movement    whose shares are somebody else's when nodes join or leave
 *
 * Left out: links (their delay is a constant), greetings, the choice of neighbours; in `flood` directories hold only what changes meanwhile.
 */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { type MonotonicMs, type NodeId, nodeIdOf } from '../../src/bytes/index.ts'
import { SEGMENT_BLOCKS } from '../../src/content/constants.ts'
import { Ranking } from '../../src/content/placement.ts'
import { sharesOf } from '../../src/content/spread.ts'
import { toControlBodies } from '../../src/directory/control.ts'
import { Directory, Gossip, type GossipEffect } from '../../src/directory/index.ts'
import { type ControlMessage, encodeControl } from '../../src/wire/index.ts'
import { TEST_RULES, testDescriptor, testNode } from '../support/directory.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { SeededRng } from '../support/seeded-rng.ts'

/** One way of a link. */
const DELAY_MS = 50
const TICK_MS = 500
const CHOSEN = 4
const ACCEPTED_MAX = 8
const HOUR_MS = 3_600_000
const UPDATES = 8

export interface ScaleOptions {
  readonly nodes: number
  readonly seed: string
  readonly log: (text: string) => void
}

/** Nodes that gossip, by number. Links are named by the number of the other end. */
class GossipWeb {
  readonly clock = new FakeClock()
  readonly directories: Directory[] = []
  /** Cells sent so far, by all; those of descriptors. */
  cells = 0
  descriptorCells = 0
  /** Links that gossip wanted closed. */
  closed = 0
  readonly #gossips: Gossip<number>[] = []

  constructor(count: number, rng: SeededRng) {
    for (let at = 0; at < count; at++) {
      const directory = new Directory({ rules: TEST_RULES, clock: this.clock, self: '' as NodeId })
      this.directories.push(directory)
      this.#gossips.push(new Gossip<number>(directory, rng.fork(`${at}`)))
      const tick = () => {
        this.does(at, this.#gossips[at]!.tick(this.now))
        this.clock.setTimer(TICK_MS, tick)
      }
      this.clock.setTimer(rng.unit() * TICK_MS, tick)
    }
  }

  get now(): MonotonicMs {
    return this.clock.monotonicMs()
  }

  link(a: number, b: number): void {
    this.does(b, this.#gossips[b]!.linkUp(a, false, this.now))
    this.does(a, this.#gossips[a]!.linkUp(b, true, this.now))
  }

  announce(at: number, signed: Uint8Array): void {
    this.directories[at]!.add(signed)
    this.does(at, this.#gossips[at]!.announce(signed))
  }

  does(from: number, effects: readonly GossipEffect<number>[]): void {
    for (const effect of effects) {
      if ('close' in effect) this.closed++
      else this.#send(from, effect.to, effect.send)
    }
  }

  #send(from: number, to: number, message: ControlMessage): void {
    const cells = toControlBodies(encodeControl(message)).length
    this.cells += cells
    if (message.kind === 'descriptors') this.descriptorCells += cells
    this.clock.setTimer(DELAY_MS, () => this.does(to, this.#gossips[to]!.onMessage(from, message, this.now)))
  }
}

/** Links of a web: each node chooses four at random, of those that accept. */
export function chosenLinks(count: number, rng: SeededRng): [number, number][] {
  const accepted = new Uint8Array(count)
  const linked = Array.from({ length: count }, () => new Set<number>())
  const links: [number, number][] = []
  for (let at = 0; at < count; at++) {
    const wanted = Math.min(CHOSEN, count - 1)
    for (let chosen = 0, tries = 0; chosen < wanted && tries < 200; tries++) {
      const other = rng.below(count)
      if (other === at || accepted[other]! >= ACCEPTED_MAX || linked[at]!.has(other)) continue
      accepted[other]!++
      linked[at]!.add(other)
      linked[other]!.add(at)
      links.push([at, other])
      chosen++
    }
  }
  return links
}

export interface FloodResult {
  readonly links: number
  /** Time until half, 99 % and all of the nodes had a change: the longest of all changes. */
  readonly halfMs: number
  readonly mostMs: number
  readonly allMs: number
  /** Sent by a node for one change, mean. */
  readonly cellsPerChange: number
  readonly descriptorBytes: number
}

export function flood(count: number, seed: string): FloodResult {
  const rng = new SeededRng(seed)
  const web = new GossipWeb(count, rng)
  const links = chosenLinks(count, rng)
  for (const [a, b] of links) web.link(a, b)
  // The first round of each link.
  web.clock.advanceNow(8_000)
  const before = web.descriptorCells
  const longest = { half: 0, most: 0, all: 0 }
  let descriptorBytes = 0
  for (let number = 0; number < UPDATES; number++) {
    const node = testNode(number)
    const signed = testDescriptor(node)
    descriptorBytes = signed.length
    web.announce(rng.below(count), signed)
    const took = { half: 0, most: 0, all: 0 }
    for (let ms = DELAY_MS; took.all === 0; ms += DELAY_MS) {
      if (ms > 600_000) throw new Error('the directories do not converge')
      web.clock.advanceNow(DELAY_MS)
      const have = web.directories.reduce((sum, directory) => sum + (directory.get(node.id) === undefined ? 0 : 1), 0)
      if (took.half === 0 && have >= count / 2) took.half = ms
      if (took.most === 0 && have >= 0.99 * count) took.most = ms
      if (have === count) took.all = ms
    }
    for (const what of ['half', 'most', 'all'] as const) longest[what] = Math.max(longest[what], took[what])
  }
  if (web.closed > 0) throw new Error(`${web.closed} links were closed`)
  return {
    links: links.length,
    halfMs: longest.half,
    mostMs: longest.most,
    allMs: longest.all,
    cellsPerChange: (web.descriptorCells - before) / count / UPDATES,
    descriptorBytes,
  }
}

export interface LinkResult {
  /** A newcomer with one link has everything after so long, for so many cells both ways. */
  readonly joinMs: number
  readonly joinCells: number
  /** Afterwards, with nothing new: cells on one link in an hour, both ways. */
  readonly idleCellsPerHour: number
  readonly bytesPerDirectory: number
}

/** Signed descriptors of `count` nodes. */
export function town(count: number): Uint8Array[] {
  return Array.from({ length: count }, (_, at) => testDescriptor(testNode(at)))
}

export function oneLink(descriptors: readonly Uint8Array[], seed: string): LinkResult {
  const web = new GossipWeb(2, new SeededRng(seed))
  const collect = collector()
  const before = collect()
  for (const signed of descriptors) web.directories[0]!.add(signed)
  const bytesPerDirectory = collect() - before
  const newcomer = web.directories[1]!
  web.link(1, 0)
  let joinMs = 0
  while (newcomer.size < descriptors.length) {
    if (joinMs > HOUR_MS) throw new Error('the newcomer never has everything')
    web.clock.advanceNow(100)
    joinMs += 100
  }
  web.clock.advanceNow(60_000)
  const joinCells = web.cells
  web.clock.advanceNow(HOUR_MS)
  if (web.closed > 0) throw new Error('the link was closed')
  return { joinMs, joinCells, idleCellsPerHour: web.cells - joinCells, bytesPerDirectory }
}

/** Collects garbage and says what is in use. */
function collector(): () => number {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  return () => {
    for (let time = 0; time < 3; time++) collect()
    const { heapUsed, external } = process.memoryUsage()
    return heapUsed + external
  }
}

export interface RankingResult {
  /** Of a view that was never seen, and of one with the same nodes. */
  readonly firstViewMs: number
  readonly viewMs: number
  /** Holders of the shares of a full segment. */
  readonly placeSegmentMs: number
  /** All nodes in order, for one share. */
  readonly orderMs: number
  /** What a look-up computes at most before it asks anybody: a view, 16 slots placed and ordered, and the shares of one segment. */
  readonly lookUpMs: number
}

function msOf(times: number, run: () => void): number {
  const from = process.hrtime.bigint()
  for (let time = 0; time < times; time++) run()
  return Number(process.hrtime.bigint() - from) / 1e6 / times
}

export function rankings(count: number, seed: string): RankingResult {
  const rng = new SeededRng(seed)
  const nodes = Array.from({ length: count }, () => nodeIdOf(rng.bytes(32)))
  const firstViewMs = msOf(1, () => new Ranking(nodes))
  const viewMs = msOf(20, () => new Ranking(nodes))
  const ranking = new Ranking(nodes)
  const segment = Array.from({ length: sharesOf(SEGMENT_BLOCKS, count) }, () => rng.bytes(32))
  const slots = Array.from({ length: 16 }, () => rng.bytes(32))
  const placeSegmentMs = msOf(20, () => ranking.place(segment))
  const orderMs = msOf(20, () => ranking.order(slots[0]!))
  const lookUpMs = msOf(5, () => {
    const view = new Ranking(nodes)
    view.place(slots)
    for (const slot of slots) view.order(slot)
    view.place(segment)
  })
  return { firstViewMs, viewMs, placeSegmentMs, orderMs, lookUpMs }
}

export interface MovementResult {
  /** Shares whose holder is another one after `changed` nodes joined, and after they left, for each of these nodes, of all shares. */
  readonly perJoin: number
  readonly perLeave: number
  /** Shares that a newcomer ranks first for: what hand-over brings to it. */
  readonly firstPerJoin: number
  /** One share in so many: the fair part of a node. */
  readonly fair: number
}

export function movement(count: number, seed: string, segments = 300): MovementResult {
  const rng = new SeededRng(seed)
  const nodes = Array.from({ length: count }, () => nodeIdOf(rng.bytes(32)))
  const changed = Math.max(1, Math.round(count / 20))
  const newcomers = Array.from({ length: changed }, () => nodeIdOf(rng.bytes(32)))
  const views = [new Ranking(nodes), new Ranking([...nodes, ...newcomers])] as const
  const isNew = new Set(newcomers)
  const n = sharesOf(SEGMENT_BLOCKS, count)
  let moved = 0
  let firsts = 0
  for (let segment = 0; segment < segments; segment++) {
    const places = Array.from({ length: n }, () => rng.bytes(32))
    const [without, within] = views.map((view) => view.place(places)) as [NodeId[], NodeId[]]
    for (const [at, place] of places.entries()) {
      if (without[at] !== within[at]) moved++
      if (isNew.has(views[1].firsts(place, 1)[0]!)) firsts++
    }
  }
  const each = segments * n * changed
  // The same two views, seen from the other side: who leaves takes with it what had come.
  return { perJoin: moved / each, perLeave: moved / each, firstPerJoin: firsts / each, fair: count }
}

export interface ScaleResult {
  readonly flood: FloodResult
  readonly link: LinkResult
  readonly rankings: RankingResult
  readonly movement: MovementResult
}

export async function runDirectory({ nodes, seed, log }: ScaleOptions): Promise<ScaleResult> {
  const result = {
    rankings: rankings(nodes, seed),
    movement: movement(nodes, seed),
    link: oneLink(town(nodes), seed),
    flood: flood(nodes, seed),
  }
  log(JSON.stringify(result, null, 1))
  return result
}
