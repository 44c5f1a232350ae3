/**
 * One run of the whole tier: nodes with everything but faces (`whole-node.ts`) come and go, publish, read and keep, through real loops of real cells.
 * Checked all the time: no wrong byte, nothing acknowledged lost, bounded queues, directories that agree, and conservation of cells (P3).
 */
import { mkdir } from 'node:fs/promises'
import { openFile } from '../../client/fetch.ts'
import { HEAL_QUEUE_BYTES, type Loss } from '../../client/heal/index.ts'
import { type Identity, identityOf } from '../../client/identity.ts'
import { publishFile } from '../../client/publish.ts'
import { CELL_BYTES } from '../../src/cell/index.ts'
import { type CellCipher, openCellCipher, sha256 } from '../../src/crypto/index.ts'
import { isOverlayError } from '../../src/errors/index.ts'
import { LANE_CELLS_MAX } from '../../src/link/index.ts'
import { memoryNetwork } from '../../src/link/memory.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { SeededRng } from '../support/seeded-rng.ts'
import { HOUR_MS, livesOf } from './churn.ts'
import type { MemoryDisk } from './memory-disk.ts'
import { hashOf } from './objects.ts'
import { startWhole, type WholeNode } from './whole-node.ts'

/** Sessions are short, so that hours have the churn of days. */
const MEDIAN_SESSION_MS = 2 * HOUR_MS
const MEDIAN_AWAY_MS = HOUR_MS
/** Nodes start within this time, so that each has somebody to ask. */
const START_WITHIN_MS = 60_000
/** Churn begins, and ends so long before the end: then everything has to agree. */
const CALM_MS = 10 * 60_000
const LOOK_MS = 60_000
/** How old a descriptor may be before everybody must have it, where nobody comes and goes. */
const SPREAD_MS = 10_000
const DELAY_MS = [10, 60] as const
const WORK_MS = 20 * 60_000
/** Bootstrap nodes: they never go. */
const STEADY = 3

export interface WholeOptions {
  readonly seed: string
  /** Alive at any time. */
  readonly nodes: number
  readonly hours: number
  /** Publications an hour, and reads of each object an hour. */
  readonly publications?: number
  readonly readsPerHour?: number
  readonly disk: MemoryDisk
  readonly root: string
}

export interface WholeResult {
  readonly seed: string
  readonly breaches: readonly string[]
  readonly figures: Readonly<Record<string, number>>
  /** Of everything that happened, in order: two runs of one seed are the same run. */
  readonly digest: string
}

interface Place {
  readonly index: number
  readonly identity: Identity
  readonly rng: SeededRng
  node: WholeNode | null
  sinceMs: number
}

interface Published {
  readonly address: string
  readonly hash: string
}

export async function runWhole(options: WholeOptions): Promise<WholeResult> {
  return new WholeWorld(options, await openCellCipher()).run()
}

class WholeWorld {
  readonly #options: WholeOptions
  readonly #cipher: CellCipher
  readonly #clock = new FakeClock()
  readonly #rng: SeededRng
  readonly #wires
  readonly #places: Place[] = []
  readonly #objects: Published[] = []
  readonly #breaches: string[] = []
  readonly #figures: Record<string, number> = {}
  readonly #work = new Set<Promise<void>>()
  readonly #log: string[] = []
  readonly #endMs: number
  #wireBytes = 0

  constructor(options: WholeOptions, cipher: CellCipher) {
    this.#options = options
    this.#cipher = cipher
    this.#rng = new SeededRng(`whole ${options.seed}`)
    this.#endMs = options.hours * HOUR_MS
    const delays = this.#rng.fork('delays')
    this.#wires = memoryNetwork({
      clock: this.#clock,
      blockCells: 8,
      shape: () => ({ delayMs: DELAY_MS[0] + delays.below(DELAY_MS[1] - DELAY_MS[0]) }),
      onWrite: (_from, _to, bytes) => {
        this.#wireBytes += bytes
      },
    })
  }

  async run(): Promise<WholeResult> {
    const { nodes, publications = 6 } = this.#options
    const clock = this.#clock
    this.#people(nodes)
    const look = () => {
      this.#look()
      clock.setTimer(LOOK_MS, look)
    }
    clock.setTimer(CALM_MS / 2, look)
    const rng = this.#rng.fork('work')
    const count = Math.round(publications * this.#options.hours)
    for (let number = 0; number < count; number++) {
      this.#at(CALM_MS + rng.unit() * (this.#endMs - 3 * CALM_MS), () => this.#publish(rng))
    }
    await clock.advance(this.#endMs - CALM_MS)
    // Nobody comes or goes any more.
    await clock.advance(CALM_MS)
    this.#agree()
    await this.#lastReads(rng)
    this.#balance(true)
    await this.#end()
    const { seed } = this.#options
    this.#figures['bytes on wires'] = this.#wireBytes
    return { seed, breaches: this.#breaches, figures: this.#figures, digest: hashOf(Buffer.from(this.#log.join('\n'))) }
  }

  /** Everybody's comings and goings. */
  #people(nodes: number): void {
    const churn = {
      nodes: nodes - STEADY,
      medianSessionMs: MEDIAN_SESSION_MS,
      medianAwayMs: MEDIAN_AWAY_MS,
      forGood: 0.25,
      leavers: 'anyone' as const,
    }
    for (let steady = 0; steady < STEADY; steady++) {
      const place = this.#place()
      this.#at(steady * 1_000, () => this.#start(place))
    }
    const calmMs = this.#endMs - CALM_MS
    for (const { sessions } of livesOf(churn, this.#endMs, this.#rng.fork('churn'))) {
      const place = this.#place()
      for (const { fromMs, untilMs } of sessions) {
        // Who was there before is started in the first minute; what would begin at the end does not.
        const startMs = fromMs <= 0 ? 3_000 + this.#rng.unit() * START_WITHIN_MS : Math.max(fromMs, 2 * START_WITHIN_MS)
        if (untilMs <= startMs || startMs > calmMs) continue
        this.#at(startMs, () => this.#start(place))
        if (untilMs < calmMs) this.#at(untilMs, () => this.#stop(place))
      }
    }
  }

  #place(): Place {
    const rng = this.#rng.fork(`node ${this.#places.length}`)
    const place = { index: this.#places.length, identity: identityOf(sha256(rng.bytes(32))), rng, node: null, sinceMs: 0 }
    this.#places.push(place)
    return place
  }

  #addressOf({ index }: Place): string {
    return `/ip4/${10 + (index >> 8)}.${index & 255}.0.1/tcp/4001`
  }

  get #up(): Place[] {
    return this.#places.filter(({ node }) => node !== null)
  }

  async #start(place: Place): Promise<void> {
    const { identity, rng } = place
    const dataDir = `${this.#options.root}/${place.index}`
    await mkdir(dataDir).catch(() => {}) // it was here before
    const bootstrap = this.#places.slice(0, STEADY).map((one) => `${this.#addressOf(one)}/p2p/${one.identity.id}`)
    const host = this.#wires.host(identity.id, { address: this.#addressOf(place) })
    const node = await startWhole({ identity, dataDir, host, bootstrap, cipher: this.#cipher, clock: this.#clock, rng })
    // What one node that is always there hears of all others.
    if (place.index === 0)
      node.directory.onChange(() => {
        this.#figures['changes of descriptors'] = (this.#figures['changes of descriptors'] ?? 0) + 1
      })
    place.node = node
    place.sinceMs = this.#clock.monotonicMs()
    this.#note('starts')
  }

  async #stop(place: Place): Promise<void> {
    const { node } = place
    if (node === null) return
    place.node = null
    this.#balanceOf(place, node)
    this.#sum(node)
    await node.close()
    this.#note('stops')
  }

  #note(what: string, by = 1): void {
    this.#figures[what] = (this.#figures[what] ?? 0) + by
    this.#log.push(`${this.#clock.monotonicMs()} ${what} ${by}`)
  }

  #most(name: string, value: number): void {
    this.#figures[name] = Math.max(this.#figures[name] ?? 0, value)
  }

  #breach(text: string): void {
    if (this.#breaches.length < 100) this.#breaches.push(`${Math.round(this.#clock.monotonicMs() / 1000)} s: ${text}`)
  }

  #at(ms: number, run: () => Promise<void>): void {
    this.#clock.setTimer(ms - this.#clock.monotonicMs(), () => {
      const work = run().catch((error: unknown) => {
        this.#breach(`a fault: ${error instanceof Error ? error.stack : String(error)}`)
      })
      this.#work.add(work)
      void work.finally(() => this.#work.delete(work))
    })
  }

  #someone(rng: SeededRng): WholeNode {
    // A node that just came has neither view nor loops.
    const settled = this.#up.filter(({ sinceMs, node }) => this.#clock.monotonicMs() - sinceMs > 60_000 && node!.pool.ready > 0)
    const from = settled.length > 0 ? settled : this.#up
    return from[rng.below(from.length)]!.node!
  }

  async #publish(rng: SeededRng): Promise<void> {
    const node = this.#someone(rng)
    const content = rng.bytes(1_000 + rng.below(150_000))
    const session = node.sessions.fresh()
    const deadline = this.#clock.deadline(WORK_MS, NEVER)
    try {
      const body = (async function* () {
        yield content
      })()
      const parts = { rng, clock: this.#clock, fresh: () => node.sessions.fresh() }
      const { address } = await publishFile(session, body, { signal: deadline.signal }, parts)
      const object = { address, hash: hashOf(content) }
      this.#objects.push(object)
      this.#note('published')
      await node.keeper.own(address)
      this.#readOn(object, rng)
    } catch (error) {
      if (!isOverlayError(error) || error.kind === 'bug') throw error
      this.#note('publications that failed')
    } finally {
      deadline.clear()
      session.close()
    }
  }

  #readOn(object: Published, rng: SeededRng): void {
    const { readsPerHour = 2 } = this.#options
    const atMs = this.#clock.monotonicMs() + (-Math.log(1 - rng.unit()) * HOUR_MS) / readsPerHour
    if (atMs > this.#endMs - CALM_MS) return
    this.#at(atMs, async () => {
      if (!(await this.#read(object, this.#someone(rng), rng))) this.#note('reads that failed under churn')
      this.#readOn(object, rng)
    })
  }

  async #read({ address, hash }: Published, node: WholeNode, rng: SeededRng): Promise<boolean> {
    const session = node.sessions.fresh()
    const deadline = this.#clock.deadline(WORK_MS, NEVER)
    const { signal } = deadline
    const startMs = this.#clock.monotonicMs()
    try {
      const file = await openFile(
        session,
        address,
        { rng, clock: this.#clock, heal: (loss: Loss) => node.healer.add(loss) },
        { signal },
      )
      const content = new Uint8Array(file.bytes)
      let at = 0
      for await (const piece of file.read({ start: 0, end: file.bytes }, { signal })) {
        content.set(piece, at)
        at += piece.length
      }
      if (at !== content.length || hashOf(content) !== hash) this.#breach(`wrong bytes of ${address}`)
      this.#note('reads')
      this.#most('longest read, ms', this.#clock.monotonicMs() - startMs)
      return true
    } catch (error) {
      if (!isOverlayError(error) || error.kind === 'bug') throw error
      return false
    } finally {
      deadline.clear()
      session.close()
    }
  }

  /** What must hold all the time. */
  #look(): void {
    for (const { node } of this.#up) {
      const { cells, healer, pool, sessions, store, relay } = node!
      if (cells.longestLane > LANE_CELLS_MAX) this.#breach(`${cells.longestLane} cells waited in one lane`)
      if (healer.stats.waitingBytes > HEAL_QUEUE_BYTES) this.#breach('too much waits to be healed')
      if (sessions.size > 32) this.#breach('too many sessions')
      if (store.stats().damaged > 0) this.#breach('a store found something damaged')
      this.#most('longest lane, cells', cells.longestLane)
      this.#most('own loops of a node, most', pool.open().length)
      this.#most('circuits through a relay, most', relay.relayed)
      this.#most('neighbours of a node, most', node!.neighbours.all().length)
      if (node!.neighbours.all().length > 16) this.#breach('too many neighbours')
    }
    this.#balance(false)
    this.#figures.looks = (this.#figures.looks ?? 0) + 1
    this.#figures['nodes up, sum'] = (this.#figures['nodes up, sum'] ?? 0) + this.#up.length
    this.#known()
    const [first] = this.#up
    if (first !== undefined) this.#log.push(Buffer.from(first.node!.directory.digest()).toString('hex').slice(0, 32))
  }

  /** Of all pairs of nodes that are up: how many know the newest descriptor of the other, if that is older than some seconds. */
  #known(): void {
    const now = this.#clock.unixMs()
    let pairs = 0
    let fresh = 0
    for (const { identity } of this.#up) {
      const own = this.#places.find((place) => place.identity === identity)!.node!.directory.get(identity.id)
      if (own === undefined || now - own.publishedMs < SPREAD_MS) continue
      for (const { node, sinceMs } of this.#up) {
        if (this.#clock.monotonicMs() - sinceMs < SPREAD_MS) continue
        pairs++
        if (node!.directory.get(identity.id)?.publishedMs === own.publishedMs) fresh++
      }
    }
    this.#figures.pairs = (this.#figures.pairs ?? 0) + pairs
    this.#figures['pairs with the newest descriptor'] = (this.#figures['pairs with the newest descriptor'] ?? 0) + fresh
    if (pairs > 0)
      this.#figures['worst look, part with the newest'] = Math.min(
        this.#figures['worst look, part with the newest'] ?? 1,
        fresh / pairs,
      )
  }

  /** After a calm time all directories are the same. */
  #agree(): void {
    const digests = new Set(this.#up.map(({ node }) => Buffer.from(node!.directory.digest()).toString('hex')))
    this.#figures['different directories at the end'] = digests.size
    if (digests.size !== 1) this.#breach(`${digests.size} different directories after a calm time`)
    this.#most('directory size', this.#up[0]!.node!.directory.size)
  }

  async #lastReads(rng: SeededRng): Promise<void> {
    for (const object of this.#objects) {
      let read = false
      for (let time = 0; time < 5 && !read; time++) {
        read = await this.#clock.runFor(this.#read(object, this.#someone(rng), rng), 2 * WORK_MS)
        if (!read) await this.#clock.advance(60_000)
      }
      if (!read) this.#breach(`${object.address} was acknowledged and cannot be read`)
    }
  }

  #balance(atRest: boolean): void {
    for (const place of this.#up) this.#balanceOf(place, place.node!)
    if (!atRest) return
    const taken = this.#figures['cells taken as a member'] ?? 0
    this.#figures['cells taken and not given on, part'] =
      taken === 0 ? 0 : 1 - (this.#figures['cells given on as a member'] ?? 0) / taken
  }

  /** P3: a member gives at most one cell for each that it takes. */
  #balanceOf(place: Place, node: WholeNode): void {
    const own = node.own()
    const taken = node.cells.circuitIn - own.home
    const given = node.cells.circuitOut - own.sent
    if (given > taken) this.#breach(`node ${place.index} gave ${given} cells for ${taken}`)
  }

  /** Adds a node's counts to those of all. */
  #sum(node: WholeNode): void {
    const own = node.own()
    const add = (name: string, by: number) => {
      this.#figures[name] = (this.#figures[name] ?? 0) + by
    }
    add('cells taken as a member', node.cells.circuitIn - own.home)
    add('cells given on as a member', node.cells.circuitOut - own.sent)
    add('cells of own loops', own.sent)
    add('loops built', own.loops)
    add('control bytes', node.cells.controlOut * CELL_BYTES)
    add('set-up bytes', node.cells.setUpOut * CELL_BYTES)
    add('cells refused', node.cells.refused)
    add('healed', node.healer.stats.healed)
    add('handed over', node.handOver.stats.given)
  }

  async #end(): Promise<void> {
    for (const { node } of this.#up) this.#sum(node!)
    this.#balance(true)
    for (const place of this.#up) {
      const { node } = place
      place.node = null
      await this.#clock.runFor(node!.close(), WORK_MS)
    }
    await this.#clock.advance(1)
    if (this.#wires.openLinkEnds > 0) this.#breach(`${this.#wires.openLinkEnds} ends of links are left`)
    this.#log.push(JSON.stringify(this.#figures))
  }
}

const NEVER = new AbortController().signal

export function wholeText({ seed, breaches, figures, digest }: WholeResult): string {
  const rows = Object.entries(figures).map(([name, value]) => `  ${name}: ${Number.isInteger(value) ? value : value.toFixed(5)}`)
  return [
    `seed ${seed}: ${breaches.length} breaches, digest ${digest.slice(0, 16)}`,
    ...breaches.map((breach) => `  ! ${breach}`),
    ...rows,
  ].join('\n')
}
