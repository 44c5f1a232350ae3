/**
 * One run of the store tier: nodes come and go for weeks, objects are published, kept, read, handed over and healed by the real code, and what is
 * promised of them is checked all the time. Deterministic by its seed.
 */
import { mkdir } from 'node:fs/promises'
import { openFile } from '../../client/fetch.ts'
import { HEAL_QUEUE_BYTES } from '../../client/heal/index.ts'
import { identityOf } from '../../client/identity.ts'
import { publishFile } from '../../client/publish.ts'
import { type NodeId, toHex, type UnixMs } from '../../src/bytes/index.ts'
import type { ShareNetwork } from '../../src/content/network.ts'
import { shareAddress } from '../../src/content/share.ts'
import { slotLocation } from '../../src/content/slot.ts'
import { sha256, verifyWork } from '../../src/crypto/index.ts'
import { DESCRIPTOR_LIFE_MS, DESCRIPTOR_WORK_LABEL, Directory, makeDescriptor, workBinding } from '../../src/directory/index.ts'
import { isOverlayError } from '../../src/errors/index.ts'
import type { Rng } from '../../src/runtime/index.ts'
import { TEST_RULES } from '../support/directory.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { SeededRng } from '../support/seeded-rng.ts'
import { type ChurnOptions, DAY_MS, HOUR_MS, type Life, livesOf } from './churn.ts'
import type { MemoryDisk } from './memory-disk.ts'
import { contentOf, hashOf, kinds, type Outcome, type SimObject } from './objects.ts'
import { SharedDirectory, StoreNode } from './store-node.ts'

/** A node that is up publishes its descriptor so often (really 45 to 60 min: what counts is how old it is when the node goes, see `#live`). */
const REPUBLISH_MS = 20 * HOUR_MS
/** The last one is so old at most when its node goes. */
const LAST_MS = HOUR_MS
/** After its start a node is used when it has been up for so long. */
const LISTENED_MS = 60_000
const EXPIRE_MS = 5 * 60_000
/** How often the truth is looked at. */
const LOOK_MS = 3 * HOUR_MS
/** Objects are published within this time from the beginning. */
const PUBLISHED_WITHIN_MS = 2 * HOUR_MS
const PUBLISH_AGAIN_MS = 30 * 60_000
/** A read or a publication that takes longer is given up. */
const WORK_MS = HOUR_MS
/** At the end each object is read; where that fails, again so often, an hour later each time. */
const LAST_READS = 8
/** Others begin to keep an object within this time of its publication. */
const KEPT_WITHIN_MS = 6 * HOUR_MS

export interface WorldOptions {
  readonly seed: string
  readonly days: number
  /** Objects of each kind. */
  readonly each: number
  /** First ranks for which newcomers get copies. */
  readonly ranks: number
  readonly churn: ChurnOptions
  /** Installed; `root` is a folder on it. */
  readonly disk: MemoryDisk
  readonly root: string
  readonly onDay?: (day: number) => void
}

export interface WorldResult {
  readonly seed: string
  readonly objects: readonly SimObject[]
  /** Breaches of what must always hold, in words. */
  readonly breaches: readonly string[]
  readonly figures: Readonly<Record<string, number>>
}

interface Place {
  readonly node: StoreNode
  readonly life: Life
  gone: boolean
}

export async function runWorld(options: WorldOptions): Promise<WorldResult> {
  return new World(options).run()
}

class World {
  readonly #options: WorldOptions
  readonly #clock = new FakeClock()
  readonly #rng: SeededRng
  readonly #directory: Directory
  readonly #shared: SharedDirectory
  readonly #nodes = new Map<NodeId, Place>()
  readonly #objects: SimObject[] = []
  /** Who has what until when, by hex of share addresses and slot locations. */
  readonly #where = new Map<string, Map<StoreNode, UnixMs>>()
  readonly #breaches: string[] = []
  readonly #figures: Record<string, number> = {}
  readonly #work = new Set<Promise<void>>()
  readonly #endMs: number

  constructor(options: WorldOptions) {
    this.#options = options
    this.#rng = new SeededRng(options.seed)
    this.#endMs = options.days * DAY_MS
    this.#directory = new Directory({ rules: TEST_RULES, clock: this.#clock, self: '' as NodeId })
    this.#shared = new SharedDirectory(this.#directory)
  }

  async run(): Promise<WorldResult> {
    const { churn, each, onDay } = this.#options
    const clock = this.#clock
    for (const life of livesOf(churn, this.#endMs, this.#rng.fork('churn'))) this.#live(life)
    const expire = () => {
      this.#directory.expire()
      clock.setTimer(EXPIRE_MS, expire)
    }
    expire()
    await clock.advance(2)
    for (let copy = 0; copy < each; copy++) {
      for (const [at, kind] of kinds().entries()) {
        const rng = this.#rng.fork(`object ${copy} ${at}`)
        const { object, content } = contentOf('', kind, rng)
        this.#at(2 * LISTENED_MS + rng.unit() * PUBLISHED_WITHIN_MS, () => this.#publish(object, content, rng))
      }
    }
    const look = () => {
      this.#look()
      clock.setTimer(LOOK_MS, look)
    }
    clock.setTimer(LOOK_MS, look)
    for (let day = 1; day <= this.#options.days; day++) {
      // The last reads come before the term of what was published first ends.
      await clock.advance(day * DAY_MS - clock.monotonicMs() - (day === this.#options.days ? (LAST_READS + 2) * HOUR_MS : 0))
      onDay?.(day)
    }
    await this.#lastReads()
    await this.#end()
    return { seed: this.#options.seed, objects: this.#objects, breaches: this.#breaches, figures: this.#figures }
  }

  #count(name: string, by = 1): void {
    this.#figures[name] = (this.#figures[name] ?? 0) + by
  }

  #most(name: string, value: number): void {
    this.#figures[name] = Math.max(this.#figures[name] ?? 0, value)
  }

  #breach(text: string): void {
    this.#count('breaches')
    if (this.#breaches.length < 100) this.#breaches.push(`${(this.#clock.monotonicMs() / DAY_MS).toFixed(3)} d: ${text}`)
  }

  /** Does `run` at `ms`, and waits for it at the end. A fault of it is a fault of the run. */
  #at(ms: number, run: () => Promise<void> | void): void {
    if (ms >= this.#endMs) return
    this.#clock.setTimer(ms - this.#clock.monotonicMs(), () => {
      const work = Promise.resolve(run()).catch((error: unknown) => {
        this.#breach(`a fault: ${error instanceof Error ? error.stack : String(error)}`)
      })
      this.#work.add(work)
      void work.finally(() => this.#work.delete(work))
    })
  }

  /** Lets a node live its life. */
  #live(life: Life): void {
    const { disk, root, ranks } = this.#options
    const rng = this.#rng.fork('node')
    const identity = identityOf(sha256(rng.bytes(32)))
    const node = new StoreNode({
      identity,
      dataDir: `${root}/${identity.id.slice(0, 16)}`,
      directory: this.#shared,
      find: (id) => this.#nodes.get(id)?.node,
      events: { onStored: (at, key, keepUntilMs, isNew) => this.#stored(at, key, keepUntilMs, isNew) },
      ranks,
      clock: this.#clock,
      rng,
    })
    const place: Place = { node, life, gone: false }
    this.#nodes.set(node.id, place)
    this.#count('identities')
    const work = workFor(identity.key.publicKey)
    const publish = (atMs: number) => this.#describe(node, work, atMs)
    for (const [number, { fromMs, untilMs }] of life.sessions.entries()) {
      const lastMs = untilMs - rng.unit() * LAST_MS
      if (untilMs <= 0) {
        // Others still know it if that was within the life of a descriptor.
        if (lastMs > -DESCRIPTOR_LIFE_MS) publish(lastMs)
        continue
      }
      // Who is up at the beginning starts when all of these are listed.
      this.#at(Math.max(1, fromMs), async () => {
        await this.#makeFolder(node)
        await node.start(fromMs < 0)
        this.#count('sessions')
      })
      for (let atMs = Math.max(0, fromMs); atMs < untilMs; atMs += REPUBLISH_MS) this.#at(atMs, () => publish(atMs))
      if (lastMs > fromMs) this.#at(Math.max(0, lastMs), () => publish(this.#clock.monotonicMs()))
      this.#at(untilMs, async () => {
        await node.stop()
        if (!life.goneForGood || number < life.sessions.length - 1) return
        place.gone = true
        this.#count('gone for good')
        for (const holders of this.#where.values()) holders.delete(node)
        disk.forget(`${root}/${identity.id.slice(0, 16)}`)
        this.#orphans()
      })
    }
  }

  async #makeFolder(node: StoreNode): Promise<void> {
    await mkdir(`${this.#options.root}/${node.id.slice(0, 16)}`).catch(() => {}) // there already
  }

  #describe({ identity }: StoreNode, work: Uint8Array, atMs: number): void {
    const publishedMs = Math.floor(FakeClock.START_UNIX_MS + atMs) as UnixMs
    const signed = makeDescriptor(
      {
        addresses: [],
        onion: { kid: 1, x25519: new Uint8Array(32), mlkem768: new Uint8Array(1184) },
        ...{ capacityClass: 0, storeQuotaBytes: 0, publishedMs, neighbours: [], family: [], work, firstSeenDay: 20_000 },
      },
      TEST_RULES.network,
      identity.key,
    )
    const verdict = this.#directory.add(signed)
    if (verdict !== 'added' && verdict !== 'known' && verdict !== 'older') this.#breach(`a descriptor is ${verdict}`)
  }

  #stored(node: StoreNode, key: Uint8Array, keepUntilMs: UnixMs, isNew: boolean): void {
    const hex = toHex(key)
    const holders = this.#where.get(hex) ?? new Map()
    this.#where.set(hex, holders)
    holders.set(node, Math.max(keepUntilMs, holders.get(node) ?? 0) as UnixMs)
    if (isNew) this.#count('parts stored')
  }

  /** A node that is up and has heard of the others, at random. */
  #someone(rng: Rng, except: ReadonlySet<StoreNode> = new Set()): StoreNode {
    const since = this.#clock.monotonicMs() - LISTENED_MS
    const up = [...this.#nodes.values()]
      .map(({ node }) => node)
      .filter((node) => node.up && node.sinceMs <= since && !except.has(node))
    return up[rng.below(up.length)]!
  }

  async #publish(object: SimObject, content: Uint8Array, rng: Rng): Promise<void> {
    const node = this.#someone(rng)
    const session = node.fresh()
    object.shares.clear()
    object.slots.clear()
    const deadline = this.#clock.deadline(WORK_MS, NEVER)
    try {
      const { address } = await publishFile(
        recording(session, object),
        oneChunk(content),
        { signal: deadline.signal },
        {
          rng,
          clock: this.#clock,
          fresh: () => node.fresh(),
        },
      )
      object.address = address
    } catch (error) {
      if (!isOverlayError(error) || error.kind === 'bug') throw error
      this.#count(`publications failed: ${error.code}`)
      this.#at(this.#clock.monotonicMs() + PUBLISH_AGAIN_MS, () => this.#publish(object, content, rng))
      return
    } finally {
      deadline.clear()
      session.close()
    }
    object.ackedMs = this.#clock.monotonicMs()
    this.#objects.push(object)
    this.#count('published')
    const { keeping, readsPerDay } = object.kind
    if (keeping !== 'nobody' && node.up) {
      await node.run.keeper.own(object.address)
      object.keepers.add(node)
    }
    if (keeping === 'three') {
      for (let other = 0; other < 2; other++) {
        this.#at(this.#clock.monotonicMs() + rng.unit() * KEPT_WITHIN_MS, () =>
          this.#keep(object, this.#someone(rng, object.keepers)),
        )
      }
    }
    if (readsPerDay > 0) this.#readOn(object, rng)
  }

  async #keep(object: SimObject, node: StoreNode): Promise<void> {
    object.keepers.add(node)
    object.orphanedMs = null
    await node.run.keeper.keep(object.address)
  }

  #readOn(object: SimObject, rng: Rng): void {
    const inMs = (-Math.log(1 - rng.unit()) * DAY_MS) / object.kind.readsPerDay
    const atMs = this.#clock.monotonicMs() + inMs
    if (atMs > this.#endMs - (LAST_READS + 2) * HOUR_MS) return
    this.#at(atMs, async () => {
      const node = this.#someone(rng)
      const enough = this.#isUp(object)
      const outcome = await this.#read(object, node)
      object.reads++
      this.#count('reads')
      if (outcome !== 'read') {
        object.failed++
        this.#count('reads failed')
        if (enough && this.#isUp(object)) {
          object.unfound++
          this.#count('reads failed although enough was up')
        }
      } else if (object.kind.keeping === 'readers' && node.up) await this.#keep(object, node)
      this.#readOn(object, rng)
    })
  }

  async #read(object: SimObject, node: StoreNode): Promise<Outcome> {
    const session = node.fresh()
    const { healer } = node.run
    const deadline = this.#clock.deadline(WORK_MS, NEVER)
    const { signal } = deadline
    try {
      const parts = { rng: this.#rng, clock: this.#clock, heal: (loss: Parameters<typeof healer.add>[0]) => healer.add(loss) }
      const file = await openFile(session, object.address, parts, { signal })
      const content = new Uint8Array(file.bytes)
      let at = 0
      for await (const piece of file.read({ start: 0, end: file.bytes }, { signal })) {
        content.set(piece, at)
        at += piece.length
      }
      if (at === object.bytes && hashOf(content) === object.hash) return 'read'
      this.#breach(`wrong bytes of ${object.address}`)
      return 'wrong'
    } catch (error) {
      if (!isOverlayError(error) || error.kind === 'bug') throw error
      return 'not-found'
    } finally {
      deadline.clear()
      session.close()
    }
  }

  /** Parts that are on nodes for which `isThere` holds. */
  #spare(object: SimObject, isThere: (node: StoreNode) => boolean): { readonly shares: number; readonly slots: number } {
    const now = this.#clock.unixMs()
    const isHeld = (key: string) => {
      for (const [node, keepUntilMs] of this.#where.get(key) ?? []) if (keepUntilMs > now && isThere(node)) return true
      return false
    }
    const there = (keys: ReadonlySet<string>) => [...keys].filter(isHeld).length
    return { shares: there(object.shares) - object.kind.blocks, slots: there(object.slots) - 1 }
  }

  #isUp(object: SimObject): boolean {
    const { shares, slots } = this.#spare(object, (node) => node.up)
    return shares >= 0 && slots >= 0
  }

  /** The truth about every object, and what must hold of every node. */
  #look(): void {
    for (const object of this.#objects) {
      if (object.lostMs !== null) continue
      const up = this.#spare(object, (node) => node.up)
      const alive = this.#spare(object, () => true)
      object.looks++
      object.spareUp = Math.min(object.spareUp, up.shares, up.slots)
      object.spareAlive = Math.min(object.spareAlive, alive.shares, alive.slots)
      if (up.shares < 0 || up.slots < 0) object.away++
      if (alive.shares < 0 || alive.slots < 0) object.lostMs = this.#clock.monotonicMs()
    }
    let up = 0
    let sum = 0
    for (const { node } of this.#nodes.values()) {
      if (!node.up) continue
      up++
      const { healer, store, loops, sessions } = node.run
      const { waitingBytes } = healer.stats
      const { bytes, damaged } = store.stats()
      this.#most('bytes waiting to be healed, most', waitingBytes)
      this.#most('store bytes of a node, most', bytes)
      this.#most('loops in use at a node, most', loops.peak)
      sum += bytes
      if (waitingBytes > HEAL_QUEUE_BYTES) this.#breach(`${waitingBytes} bytes wait to be healed`)
      if (bytes > store.quotaBytes) this.#breach(`a store holds ${bytes} bytes`)
      if (damaged > 0) this.#breach('a store found something damaged')
      if (loops.taken > loops.peak || sessions.size > 32) this.#breach('sessions have no bound')
    }
    this.#count('looks')
    this.#count('nodes up, sum', up)
    this.#count('nodes listed, sum', this.#directory.size)
    this.#count('store bytes, sum', sum)
    this.#most('timers, most', this.#clock.pendingTimers)
  }

  #orphans(): void {
    for (const object of this.#objects) {
      if (object.kind.keeping === 'nobody' || object.orphanedMs !== null) continue
      if ([...object.keepers].every((keeper) => this.#nodes.get(keeper.id)!.gone)) object.orphanedMs = this.#clock.monotonicMs()
    }
  }

  async #lastReads(): Promise<void> {
    const rng = this.#rng.fork('last')
    for (let round = 0; round < LAST_READS; round++) {
      this.#look()
      const jobs = this.#objects
        .filter(({ final }) => final !== 'read')
        .map(async (object) => {
          const isUp = this.#isUp(object)
          const outcome = await this.#read(object, this.#someone(rng))
          if (outcome === 'not-found' && isUp && this.#isUp(object)) this.#count('last reads failed although enough was up')
          object.final = outcome === 'not-found' ? (object.lostMs === null ? 'away' : 'lost') : outcome
        })
      await this.#clock.runFor(Promise.all(jobs), 2 * WORK_MS)
      await this.#clock.advance(Math.max(0, HOUR_MS - (this.#clock.monotonicMs() % HOUR_MS)))
    }
  }

  /** Stops everything: nothing may be left over. */
  async #end(): Promise<void> {
    for (const { node } of this.#nodes.values()) {
      if (node.up) await this.#clock.runFor(node.stop(), WORK_MS)
      this.#count('healed', node.counts.healed)
      this.#count('handed over', node.counts.handedOver)
      this.#count('taken for droppers', node.counts.droppers)
    }
    if (this.#clock.monotonicMs() > this.#endMs + WORK_MS) this.#breach('the nodes take long to stop')
  }
}

const NEVER = new AbortController().signal

/** `network`, noting what is put as parts of `object`. */
function recording(network: ShareNetwork, object: SimObject): ShareNetwork {
  return {
    self: network.self,
    holders: () => network.holders(),
    putShare: (node, share, work) => {
      object.shares.add(toHex(shareAddress(share)))
      return network.putShare(node, share, work)
    },
    putSlot: (node, slot, work) => {
      object.slots.add(toHex(slotLocation(slot.publicKey, slot.slot)))
      return network.putSlot(node, slot, work)
    },
    getShare: (node, address, work) => network.getShare(node, address, work),
    getSlots: (node, location, work) => network.getSlots(node, location, work),
    checkShare: (node, check, work) => network.checkShare(node, check, work),
    checkSlot: (node, check, work) => network.checkSlot(node, check, work),
  }
}

async function* oneChunk(content: Uint8Array): AsyncGenerator<Uint8Array> {
  yield content
}

function workFor(node: Uint8Array): Uint8Array {
  const nonce = new Uint8Array(8)
  for (let tried = 0; ; tried++) {
    nonce[0] = tried
    nonce[1] = tried >>> 8
    if (verifyWork(DESCRIPTOR_WORK_LABEL, workBinding(TEST_RULES.network, node), nonce, TEST_RULES.workBits)) return nonce
  }
}
