/**
 * `ShareNetwork` and `RecordNetwork` over loops: puts and gets shares and records at other nodes, each through a loop of which that node
 * is the apex, and at this node's own store directly. One session belongs to one piece of work (one publication, or the reads of one address) and shares its
 * loops with no other, so that no store can tell from a loop that two pieces of work have one origin.
 *
 * In networks of `SMALL_NETWORK` nodes and more a loop asks its store for one share of the work and is then closed (PROTOCOL §6): the store
 * cannot see from a loop that two shares belong together. In smaller ones, where nothing is claimed against insiders and every store holds
 * a good part of everything anyway, a session keeps its loop to a store. Long because all that one session asks shares its loops. Spec: SPEC.md §7.5.
 */
import { concat, type NodeId, type Pieces, piecesOf } from '../src/bytes/index.ts'
import { ROOT_BYTES, SHARE_BYTES } from '../src/content/constants.ts'
import type { Patience } from '../src/content/holder-health.ts'
import type { PutWork, ShareCheck, ShareNetwork, ShareWork, SlotCheck, SlotValue, WorkTrace } from '../src/content/network.ts'
import { Pace } from '../src/content/pace.ts'
import { findPutWork } from '../src/content/put-work.ts'
import type { RecordNetwork } from '../src/content/record-network.ts'
import { shareAddress } from '../src/content/share.ts'
import { slotLocation } from '../src/content/slot.ts'
import type { DirectoryView } from '../src/directory/index.ts'
import { isOverlayError, OverlayError } from '../src/errors/index.ts'
import { type Clock, type Timer, unlessAborted } from '../src/runtime/index.ts'
import {
  encodeHopRequest,
  encodeRecordRequest,
  encodeStoreRequest,
  type HopReply,
  type HopStatus,
  parseHopReply,
  parseRecordReply,
  parseStoreReply,
  type RecordRequest,
  type SignedRecord,
  type StoreReply,
  type StoreRequest,
  storeCallPieces,
  storeRequestPieces,
} from '../src/wire/index.ts'
import { askAgain } from './loops/asking.ts'
import type { LoopSource, Work } from './loops/lease.ts'
import { PutPrices } from './put-prices.ts'

/** From this many nodes on, one share per loop. */
export const SMALL_NETWORK = 20

// Implementation constants.
/** A store answers within this time or the work moves on. */
const ASK_TIMEOUT_MS = 15_000
/** How often one ask goes over another loop when its own ended under it. */
const LOOPS_AGAIN = 2
/** The same where asks wait for room on loops that go by time, and how long answers may take there. */
const PACED_ASK_TIMEOUT_MS = 30_000
export const PACED_PATIENCE: Patience = Object.freeze({ firstMs: 12_000, minMs: 6_000, maxMs: 20_000 })
/** Asks of one piece of work under way there: what a loop of the highest rate has on its way in a round of 0.6 s. 10 MiB. */
export const PACED_ASKS_AT_ONCE = 160
/** A record and what goes with it; a request or answer of a few fields. */
const RECORD_BYTES = 4096
const FEW_BYTES = 256
/** Places kept for one node. */
const PLACES_MAX = 64
/** A place is kept for so long: who got one asks at once. */
const PLACE_MS = 1_000
/** It does for asks of up to so many times what it was kept for. */
const PLACE_FITS = 2
/** Requests that one loop carries at once: bounds what is buffered at both ends. */
const ASKS_PER_LOOP = 24
/** How long a session of reads keeps its loops after its last use. */
const SESSION_IDLE_MS = 60_000
const SESSIONS_MAX = 32
/** How long stored things are asked to be kept. */
export const KEEP_HOURS = 30 * 24

const NO_WORK = new Uint8Array(0)

/** This node's own store, asked without a loop. */
export type LocalStore = (request: Uint8Array) => Promise<{ readonly status: HopStatus; readonly body: Pieces }>

export interface ShareDeps {
  readonly self: NodeId
  readonly view: DirectoryView
  readonly pool: LoopSource
  readonly local: LocalStore
  /** The same for records. */
  readonly localRecords: LocalStore
  readonly clock: Clock
}

interface SessionDeps extends ShareDeps {
  readonly prices: PutPrices
  /** Asks over paced loops begin one in a turn of the event loop, so that no link's tick waits for several: it would show that this node asks. */
  readonly lane: Pace
}

/** Sessions of reads by name (an address), kept warm for a while. */
export class ShareSessions {
  readonly #deps: SessionDeps
  readonly #sessions = new Map<string, ShareSession>()

  constructor(deps: ShareDeps) {
    this.#deps = { ...deps, prices: new PutPrices(deps), lane: new Pace(deps.clock, 1) }
  }

  /** A session for one piece of work, of the user with this isolation name; the caller closes it. */
  fresh(isolation = ''): ShareSession {
    return new ShareSession(this.#deps, isolation, null, () => {})
  }

  /** The session of `name`, which closes itself when unused. The oldest idle one goes when there are too many. */
  named(name: string, isolation = ''): ShareSession {
    let session = this.#sessions.get(name)
    if (session === undefined) {
      this.#makeRoom()
      // A session that closes itself is forgotten with its name, which says what this node's user read.
      const made = new ShareSession(this.#deps, isolation, SESSION_IDLE_MS, () => {
        if (this.#sessions.get(name) === made) this.#sessions.delete(name)
      })
      session = made
      this.#sessions.set(name, session)
      this.#deps.pool.expect?.(isolation)
    }
    session.touch()
    return session
  }

  /** Sessions that are open. */
  get size(): number {
    return this.#sessions.size
  }

  /** At the limit, closes the oldest idle one. */
  #makeRoom(): void {
    if (this.#sessions.size < SESSIONS_MAX) return
    for (const held of this.#sessions.values()) if (!held.busy) return held.close()
  }

  close(): void {
    for (const session of [...this.#sessions.values()]) session.close()
  }
}

interface HeldLoop {
  readonly loop: Promise<Work>
  /** Once it is there. */
  work: Work | null
  asks: number
  /** The trace that has noted this loop last. */
  noted: WorkTrace | undefined
}

/** The loop ended under an ask. */
class LoopOver extends OverlayError {
  constructor(cause: unknown) {
    super('unreachable', 'CIRCUIT_ENDED', 'The loop ended under the request.', cause)
  }
}

/** A place that `ready` has got, and for how many bytes. */
interface Place {
  readonly place: Work
  readonly bytes: number
}

export class ShareSession implements ShareNetwork, RecordNetwork {
  readonly self: NodeId
  readonly patience: Patience | undefined
  readonly asksAtOnce: number | undefined
  readonly #deps: SessionDeps
  readonly #isolation: string
  readonly #idleMs: number | null
  readonly #onClosed: () => void
  readonly #loops = new Map<NodeId, HeldLoop>()
  readonly #waiting = new Map<NodeId, (() => void)[]>()
  readonly #stop = new AbortController()
  #idle: Timer | null = null
  /** Places that `ready` has got, for asks to come. */
  readonly #places = new Map<NodeId, Place[]>()
  #asks = 0
  #loopsUsed = 0

  constructor(deps: SessionDeps, isolation: string, idleMs: number | null, onClosed: () => void) {
    this.#deps = deps
    this.#isolation = isolation
    this.patience = deps.pool.takesPerAsk ? PACED_PATIENCE : undefined
    this.asksAtOnce = deps.pool.takesPerAsk ? PACED_ASKS_AT_ONCE : undefined
    this.#idleMs = idleMs
    this.#onClosed = onClosed
    this.self = deps.self
  }

  /** Whether nothing can be asked through it any more. */
  get closed(): boolean {
    return this.#stop.signal.aborted
  }

  /** Whether requests are under way. */
  get busy(): boolean {
    return this.#asks > 0
  }

  /** Loops that this session has used so far. */
  get loopsUsed(): number {
    return this.#loopsUsed
  }

  /** Starts the time until an unused session closes itself anew. */
  touch(): void {
    if (this.#idleMs === null || this.closed) return
    this.#idle?.cancel()
    this.#idle = this.#deps.clock.setTimer(this.#idleMs, () => (this.busy ? this.touch() : this.close()))
  }

  /** Closes its loops; requests under way fail. Idempotent. */
  close(): void {
    if (this.closed) return
    this.#stop.abort(new OverlayError('unreachable', 'CIRCUIT_ENDED', 'The work that this loop belonged to is over.'))
    this.#idle?.cancel()
    for (const { loop } of this.#loops.values())
      loop.then(
        (built) => this.#deps.pool.release(built),
        () => {},
      )
    this.#loops.clear()
    for (const places of this.#places.values()) for (const { place } of places) this.#deps.pool.release(place)
    this.#places.clear()
    this.#onClosed()
  }

  /** See `AskTiming`. */
  async ready(node: NodeId, bytes: number, { signal }: { readonly signal: AbortSignal }): Promise<void> {
    const { lane, pool, view } = this.#deps
    if (!pool.takesPerAsk || node === this.self || this.closed) return
    // Who is not there any more is not waited for: the ask fails, and others are asked.
    if (view.get(node) === undefined || (this.#places.get(node)?.length ?? 0) >= PLACES_MAX) return
    const both = AbortSignal.any([signal, this.#stop.signal])
    this.#asks++
    try {
      await lane.next()
      const place = await pool.take(node, { signal: both, isolation: this.#isolation, bytes })
      if (both.aborted) {
        pool.release(place)
        throw both.reason
      }
      const places = this.#places.get(node) ?? []
      this.#places.set(node, places)
      places.push({ place, bytes })
      this.#deps.clock.setTimer(PLACE_MS, () => this.#leavePlace(node, place))
    } catch (error) {
      if (!isOverlayError(error, 'LOOP_NO_PATH')) throw error // the ask says so, and others are asked
    } finally {
      this.#asks--
    }
  }

  /** Gives back a place that no ask has taken: its asker was content before, and others wait. */
  #leavePlace(node: NodeId, place: Work): void {
    const places = this.#places.get(node)
    const at = places?.findIndex((kept) => kept.place === place) ?? -1
    if (at < 0) return
    places!.splice(at, 1)
    if (places!.length === 0) this.#places.delete(node)
    this.#deps.pool.release(place)
  }

  /** A place that was kept for about as much: the loop of one that was kept for little may be slow. */
  #placeFor(node: NodeId, bytes: number): Work | null {
    const places = this.#places.get(node) ?? []
    const at = places.findIndex((kept) => kept.bytes * PLACE_FITS >= bytes)
    return at < 0 ? null : places.splice(at, 1)[0]!.place
  }

  /** See `AskTiming`. */
  near(node: NodeId): boolean {
    return node === this.self || (this.#deps.pool.near?.(node, this.#isolation) ?? true)
  }

  holders(): readonly NodeId[] {
    return this.#deps.view.all().map(({ id }) => id)
  }

  async putShare(node: NodeId, share: Uint8Array, work: PutWork): Promise<void> {
    const { keepHours = KEEP_HOURS } = work
    const paid = await this.#payFor(node, () => shareAddress(share), work)
    await this.#store(node, { kind: 'put-share', share, keepHours, work: paid }, work)
  }

  async getShare(node: NodeId, address: Uint8Array, work: ShareWork): Promise<Uint8Array | null> {
    const reply = await this.#store(node, { kind: 'get-share', address }, work)
    return reply?.share ?? null
  }

  async putSlot(node: NodeId, slot: SlotValue, work: PutWork): Promise<void> {
    const { keepHours = KEEP_HOURS } = work
    const paid = await this.#payFor(node, () => slotLocation(slot.publicKey, slot.slot), work)
    await this.#store(node, { kind: 'put-slot', ...slot, keepHours, work: paid }, work)
  }

  async getSlots(node: NodeId, location: Uint8Array, work: ShareWork): Promise<readonly SlotValue[]> {
    const reply = await this.#store(node, { kind: 'get-slot', location }, work)
    return reply?.slots ?? []
  }

  async checkShare(node: NodeId, check: ShareCheck, work: ShareWork): Promise<Uint8Array | null> {
    const reply = await this.#store(node, { kind: 'check-share', ...check, work: new Uint8Array(0) }, work)
    return reply === null ? null : (reply.proof ?? malformed())
  }

  async checkSlot(node: NodeId, check: SlotCheck, work: ShareWork): Promise<Uint8Array | null> {
    const reply = await this.#store(node, { kind: 'check-slot', ...check, work: new Uint8Array(0) }, work)
    return reply === null ? null : (reply.proof ?? malformed())
  }

  /** `null`: the store does not have it. */
  async #store(node: NodeId, request: StoreRequest, work: ShareWork): Promise<StoreReply | null> {
    if (this.#deps.pool.takesPerAsk) await this.#deps.lane.next()
    const body = bodyOf(
      node === this.self
        ? await this.#askSelf(this.#deps.local, encodeStoreRequest(request))
        : await this.#ask(node, storeCallPieces(storeRequestPieces(request)), bytesOf(request), work),
    )
    return body === null ? null : (parseStoreReply(body) ?? malformed())
  }

  async putRecord(node: NodeId, record: SignedRecord, work: ShareWork): Promise<void> {
    const paid = await this.#payFor(node, () => record.publicKey, work)
    await this.#record(node, { kind: 'put', record, work: paid }, work)
  }

  async getRecord(node: NodeId, publicKey: Uint8Array, work: ShareWork): Promise<SignedRecord | null> {
    const body = await this.#record(node, { kind: 'get', publicKey }, work)
    return body === null ? null : (parseRecordReply(body) ?? malformed())
  }

  /** The work that `node` asks for with a put of what has this key. Errors: `STORE_REFUSED` where that is too much. */
  async #payFor(node: NodeId, key: () => Uint8Array, { signal }: ShareWork): Promise<Uint8Array> {
    const { prices, clock } = this.#deps
    const bits = node === this.self ? 0 : prices.at(node)
    if (bits === null) throw new OverlayError('unreachable', 'STORE_REFUSED', 'A holder asks for more work than others do.')
    if (bits === 0) return NO_WORK
    const both = AbortSignal.any([signal, this.#stop.signal])
    return findPutWork({ node, key: key() }, bits, clock.unixMs(), { clock, signal: both })
  }

  /** The reply's bytes; `null`: the holder does not have it. */
  async #record(node: NodeId, request: RecordRequest, work: ShareWork): Promise<Uint8Array | null> {
    if (this.#deps.pool.takesPerAsk) await this.#deps.lane.next()
    const bytes = encodeRecordRequest(request)
    return bodyOf(
      node === this.self
        ? await this.#askSelf(this.#deps.localRecords, bytes)
        : await this.#ask(node, encodeHopRequest({ kind: 'record', request: bytes }), RECORD_BYTES, work),
    )
  }

  async #askSelf(service: LocalStore, request: Uint8Array): Promise<HopReply> {
    const { status, body } = await service(request)
    return { status, body: concat(...piecesOf(body)) }
  }

  async #ask(node: NodeId, request: Pieces, bytes: number, work: ShareWork): Promise<HopReply> {
    const { signal } = work
    const { clock, pool } = this.#deps
    const timeoutMs = pool.takesPerAsk ? PACED_ASK_TIMEOUT_MS : ASK_TIMEOUT_MS
    const deadline = clock.deadline(timeoutMs, AbortSignal.any([signal, this.#stop.signal]))
    this.#asks++
    try {
      for (let left = LOOPS_AGAIN; ; left--) {
        try {
          return await this.#askOnce(node, request, bytes, deadline, work)
        } catch (error) {
          // A loop that is over says nothing about the node: there are others. A hop that gives no answer over one that lives would give none over another.
          const isOver = error instanceof LoopOver || (pool.takesPerAsk && isOverlayError(error, 'CIRCUIT_ENDED'))
          if (left === 0 || !isOver || deadline.signal.aborted) throw error
        }
      }
    } catch (error) {
      if (signal.aborted) throw signal.reason
      if (isOverlayError(error, 'STORE_UNREACHABLE')) throw error
      throw new OverlayError('unreachable', 'STORE_UNREACHABLE', 'The store could not be asked through a loop.', error)
    } finally {
      this.#asks--
      deadline.clear()
    }
  }

  async #askOnce(
    node: NodeId,
    request: Pieces,
    bytes: number,
    deadline: { readonly signal: AbortSignal },
    { trace }: ShareWork,
  ): Promise<HopReply> {
    let holding: HeldLoop | null = null
    try {
      const held = await this.#loopTo(node, bytes, deadline.signal, trace)
      try {
        // Others may wait for the same loop: it goes on being built when one of them gives up.
        const loop = await unlessAborted(held.loop, deadline.signal)
        holding = held
        if (trace !== undefined && held.noted !== trace) {
          held.noted = trace
          trace.mark('loop', 'one that was there', { loop: loop.number })
        }
        const reply = parseHopReply(await askAgain(() => loop.ask(request, deadline)))
        return reply ?? malformed()
      } finally {
        this.#leave(node, held)
      }
    } catch (error) {
      if (isOverlayError(error, 'CIRCUIT_ENDED') || isOverlayError(error, 'TIMEOUT')) this.#drop(node, holding)
      throw holding?.work?.open === false ? new LoopOver(error) : error
    }
  }

  /** A place on the session's loop to `node`, waiting for one if the loop is full. */
  async #loopTo(node: NodeId, bytes: number, signal: AbortSignal, trace: WorkTrace | undefined): Promise<HeldLoop> {
    const { pool, view } = this.#deps
    const shared = view.size < SMALL_NETWORK && !pool.takesPerAsk
    for (;;) {
      signal.throwIfAborted()
      let held = shared ? this.#loops.get(node) : undefined
      if (held === undefined) {
        const until = pool.takesPerAsk ? signal : this.#stop.signal
        const taken: HeldLoop = { loop: this.#take(node, bytes, until, trace), work: null, asks: 0, noted: trace }
        taken.loop.then(
          (work) => {
            taken.work = work
          },
          () => this.#drop(node, taken),
        )
        this.#loopsUsed++
        if (shared) this.#loops.set(node, taken)
        held = taken
      }
      if (held.asks < ASKS_PER_LOOP) {
        held.asks++
        return held
      }
      await this.#turn(node, signal)
      // Woken and given up at once: the place is the next one's.
      if (signal.aborted) this.#waiting.get(node)?.shift()?.()
    }
  }

  /** A loop from the pool, with what it took as a stage of `trace`. */
  #take(node: NodeId, bytes: number, signal: AbortSignal, trace: WorkTrace | undefined): Promise<Work> {
    const place = this.#placeFor(node, bytes)
    const taking =
      place === null ? this.#deps.pool.take(node, { signal, isolation: this.#isolation, bytes }) : Promise.resolve(place)
    if (trace === undefined) return taking
    const end = trace.stage('loop')
    taking.then(
      (loop) => end({ loop: loop.number }),
      (error: unknown) => end({ note: isOverlayError(error) ? error.message : 'it could not be built', failed: true }),
    )
    return taking
  }

  #turn(node: NodeId, signal: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const waiting = this.#waiting.get(node) ?? []
    this.#waiting.set(node, waiting)
    const onAbort = () => {
      const at = waiting.indexOf(go)
      if (at >= 0) waiting.splice(at, 1)
      reject(signal.reason)
    }
    const go = () => {
      signal.removeEventListener('abort', onAbort)
      resolve()
    }
    waiting.push(go)
    signal.addEventListener('abort', onAbort, { once: true })
    return promise
  }

  #leave(node: NodeId, held: HeldLoop): void {
    held.asks--
    this.#waiting.get(node)?.shift()?.()
    if (this.#loops.get(node) !== held && held.asks === 0) {
      held.loop.then(
        (loop) => this.#deps.pool.release(loop),
        () => {},
      )
    }
  }

  /** Takes no more work to this loop; those under way on it end with it. */
  #drop(node: NodeId, held: HeldLoop | null): void {
    if (held === null || this.#loops.get(node) !== held) return
    this.#loops.delete(node)
    for (const go of this.#waiting.get(node)?.splice(0) ?? []) go()
    if (held.asks === 0)
      held.loop.then(
        (loop) => this.#deps.pool.release(loop),
        () => {},
      )
  }
}

/** What goes one way or the other, at most, as far as is known. */
function bytesOf({ kind }: StoreRequest): number {
  switch (kind) {
    case 'put-share':
    case 'get-share':
      return SHARE_BYTES
    case 'put-slot':
    case 'get-slot':
      return ROOT_BYTES
    default:
      return FEW_BYTES
  }
}

/** The body of an answer; `null`: the holder does not have it. */
function bodyOf(reply: HopReply): Uint8Array | null {
  switch (reply.status) {
    case 'ok':
      return reply.body
    case 'not-found':
      return null
    case 'busy':
      throw new OverlayError('overload', 'STORE_UNREACHABLE', 'The store is busy.')
    default:
      throw new OverlayError('overload', 'STORE_REFUSED', `The store refused: ${reply.status}.`)
  }
}

function malformed(): never {
  throw new OverlayError('protocol', 'STORE_UNREACHABLE', 'The store answered with something malformed.')
}
