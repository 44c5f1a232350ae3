/**
 * A node of the store tier: everything that keeps content alive, as `client/node.ts` puts it together (store on a disk in memory, apex, sessions,
 * healer, hand-over, book of keeps, keeper), without links, relay and faces. Its loops are `DirectLoops`; its view is a look at one directory that
 * all nodes share, renewed every few minutes.
 */
import { join } from 'node:path'
import type { Identity } from '../../client/identity.ts'
import { type ShareSession, ShareSessions } from '../../client/shares.ts'
import { Apex } from '../../relay/index.ts'
import { openStore, type ShareStore, storeService } from '../../relay/store/index.ts'
import type { NodeId, UnixMs } from '../../src/bytes/index.ts'
import { shareAddress } from '../../src/content/share.ts'
import { slotLocation } from '../../src/content/slot.ts'
import { DESCRIPTOR_LIFE_MS, type Descriptor, type Directory, type DirectoryView } from '../../src/directory/index.ts'
import { silentLog } from '../../src/log/index.ts'
import { type Clock, deadlineOn, type Rng, sleepOn } from '../../src/runtime/index.ts'
import { type Care, startCare } from './care.ts'
import { DirectLoops, type Reachable } from './loops.ts'

/** A node's view is up to so old, drawn between these each time. */
const VIEW_MS = [60_000, 300_000] as const
/** So long after its start a node has heard from its neighbours. */
const GREETED_MS = 5_000
/** How much longer the store's own clock lets its timers run: see `slowTimers`. */
const SLOWER = 60
const STORE_QUOTA_BYTES = 1024 * 1024 * 1024

/** What of a node's work the world wants to know. */
export interface NodeEvents {
  /** `key` is the address of a share or the location of a slot that is at the node until `keepUntilMs` at least. `isNew`: it was not before. */
  onStored(node: StoreNode, key: Uint8Array, keepUntilMs: UnixMs, isNew: boolean): void
}

export interface StoreNodeParts {
  readonly identity: Identity
  /** Below a disk in memory. */
  readonly dataDir: string
  readonly directory: SharedDirectory
  find(id: NodeId): Reachable | undefined
  readonly events: NodeEvents
  /** See `HandOverParts`. */
  readonly ranks: number
  readonly clock: Clock
  readonly rng: Rng
}

/** Everything of one run, from start to stop. */
interface Run extends Care {
  readonly store: ShareStore
  readonly apex: Apex
  readonly loops: DirectLoops
  readonly sessions: ShareSessions
  readonly view: SharedView
}

/** Sums over all runs of a node. */
export interface NodeCounts {
  healed: number
  handedOver: number
  droppers: number
  loopsPeak: number
}

export class StoreNode implements Reachable {
  readonly id: NodeId
  readonly counts: NodeCounts = { healed: 0, handedOver: 0, droppers: 0, loopsPeak: 0 }
  readonly #parts: StoreNodeParts
  #run: Run | null = null
  #saved = NOTHING_SEEN
  #up = false
  #sinceMs = 0
  #changing: Promise<void> = Promise.resolve()

  constructor(parts: StoreNodeParts) {
    this.#parts = parts
    this.id = parts.identity.id
  }

  get identity(): Identity {
    return this.#parts.identity
  }

  get up(): boolean {
    return this.#up
  }

  get sinceMs(): number {
    return this.#sinceMs
  }

  get run(): Run {
    if (this.#run === null) throw new Error('the node does not run')
    return this.#run
  }

  get apex(): Apex {
    return this.run.apex
  }

  /** A network for one piece of work. */
  fresh(): ShareSession {
    return this.run.sessions.fresh()
  }

  /** Comes up, with what its disk has; with a whole view if it was up before the beginning. */
  start(wasUp = false): Promise<void> {
    return this.#change(async () => {
      if (wasUp) this.#saved = this.#parts.directory.look()
      this.#run = await this.#compose()
      this.#up = true
      this.#sinceMs = this.#parts.clock.monotonicMs()
    })
  }

  /** Goes: from now on nobody reaches it; then what it began is ended. */
  stop(): Promise<void> {
    this.#up = false
    this.#sinceMs = this.#parts.clock.monotonicMs()
    return this.#change(async () => {
      this.#up = false
      const run = this.#run
      if (run === null) return
      await run.keeper.close()
      await run.handOver.close()
      await run.healer.close()
      run.sessions.close()
      this.#saved = run.view.seen
      await run.store.close()
      this.counts.healed += run.healer.stats.healed
      this.counts.handedOver += run.handOver.stats.given
      this.counts.droppers += run.handOver.stats.droppers
      this.counts.loopsPeak = Math.max(this.counts.loopsPeak, run.loops.peak)
      this.#run = null
    })
  }

  #change(change: () => Promise<void>): Promise<void> {
    this.#changing = this.#changing.then(change)
    return this.#changing
  }

  async #compose(): Promise<Run> {
    const { dataDir, directory, find, events, ranks, clock, rng } = this.#parts
    const view = new SharedView(directory, this.#saved, clock, rng)
    const disk = await openStore({
      dir: join(dataDir, 'store'),
      quotaBytes: STORE_QUOTA_BYTES,
      clock: slowTimers(clock, SLOWER),
      log: silentLog,
    })
    const store = noting(disk, (...what) => events.onStored(this, ...what))
    const service = storeService(store, { clock })
    const apex = new Apex({ services: { store: service }, clock })
    const loops = new DirectLoops({ find, clock, rng })
    const localRecords = async () => ({ status: 'refused' as const, body: new Uint8Array(0) })
    const sessions = new ShareSessions({ self: this.id, view, pool: loops, local: service, localRecords, clock })
    const fresh = () => sessions.fresh()
    const care = await startCare({ self: this.id, dataDir, store, view, fresh, ranks, clock, rng })
    return { store, apex, loops, sessions, ...care, view }
  }
}

/** A directory as it was at one time. */
export interface Snapshot {
  readonly version: number
  readonly all: readonly Descriptor[]
  readonly byId: ReadonlyMap<NodeId, Descriptor>
}

const NOTHING_SEEN: Snapshot = { version: -1, all: [], byId: new Map() }

/** One directory for all: it gives the same snapshot to everybody who looks while nothing changes. */
export class SharedDirectory {
  readonly directory: Directory
  #last = NOTHING_SEEN

  constructor(directory: Directory) {
    this.directory = directory
  }

  look(): Snapshot {
    const { directory } = this
    if (this.#last.version !== directory.version) this.#last = snapshotOf(directory.version, directory.all())
    return this.#last
  }
}

function snapshotOf(version: number, all: readonly Descriptor[]): Snapshot {
  return { version, all, byId: new Map(all.map((descriptor) => [descriptor.id, descriptor])) }
}

/** What is left of `saved` at a start: as the saved directory of a real node, which is judged anew when it is read. */
function leftOf(saved: Snapshot, clock: Clock): Snapshot {
  const now = clock.unixMs()
  return snapshotOf(
    -1,
    saved.all.filter(({ publishedMs }) => publishedMs + DESCRIPTOR_LIFE_MS > now),
  )
}

/**
 * The shared directory as one node saw it last; at first what it had when it stopped. It looks when it is asked and its last look is old enough: a
 * timer for each node would be most of what a quiet network does.
 */
class SharedView implements DirectoryView {
  readonly #directory: SharedDirectory
  readonly #clock: Clock
  readonly #rng: Rng
  #seen: Snapshot
  /** When the next look is due. */
  #dueMs: number

  constructor(directory: SharedDirectory, saved: Snapshot, clock: Clock, rng: Rng) {
    this.#directory = directory
    this.#clock = clock
    this.#rng = rng
    this.#seen = leftOf(saved, clock)
    this.#dueMs = clock.monotonicMs() + GREETED_MS
  }

  /** The last look, also to begin with at the next start. */
  get seen(): Snapshot {
    const now = this.#clock.monotonicMs()
    if (now >= this.#dueMs) {
      const [from, to] = VIEW_MS
      this.#seen = this.#directory.look()
      this.#dueMs = now + from + this.#rng.unit() * (to - from)
    }
    return this.#seen
  }

  get size(): number {
    return this.seen.all.length
  }

  get version(): number {
    return this.seen.version
  }

  get(id: NodeId): Descriptor | undefined {
    return this.seen.byId.get(id)
  }

  all(): readonly Descriptor[] {
    return this.seen.all
  }

  linked(): readonly NodeId[] {
    return []
  }
}

/** `store`, telling what it has acknowledged. */
function noting(store: ShareStore, note: (key: Uint8Array, keepUntilMs: UnixMs, isNew: boolean) => void): ShareStore {
  return {
    quotaBytes: store.quotaBytes,
    get refusesWrites() {
      return store.refusesWrites
    },
    async putShare(share, keepUntilMs) {
      const verdict = await store.putShare(share, keepUntilMs)
      if (isKept(verdict)) note(shareAddress(share), keepUntilMs, verdict === 'stored')
      return verdict
    },
    getShare: (address) => store.getShare(address),
    async putSlot(slot, keepUntilMs) {
      const verdict = await store.putSlot(slot, keepUntilMs)
      if (isKept(verdict)) note(slotLocation(slot.publicKey, slot.slot), keepUntilMs, verdict === 'stored')
      return verdict
    },
    getSlots: (location) => store.getSlots(location),
    slice: (kind, from, scan) => store.slice(kind, from, scan),
    sweep: () => store.sweep(),
    stats: () => store.stats(),
    close: () => store.close(),
  }
}

const isKept = (verdict: string): boolean => verdict === 'stored' || verdict === 'already'

/**
 * A clock with the same time, whose timers take longer. A store looks for what has expired every minute, and says itself that nothing depends on
 * it (what has expired is not served): in weeks of many nodes these looks would be most of the work.
 */
function slowTimers(clock: Clock, slower: number): Clock {
  const slow: Clock = {
    unixMs: () => clock.unixMs(),
    monotonicMs: () => clock.monotonicMs(),
    setTimer: (ms, fire) => clock.setTimer(ms * slower, fire),
    nextTurn: (fire) => clock.nextTurn(fire),
    deadline: (ms, signal) => deadlineOn(slow, ms, signal),
    sleep: (ms, { signal }) => sleepOn(slow, ms, signal),
  }
  return slow
}
