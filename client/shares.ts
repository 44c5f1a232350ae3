/**
 * `ShareNetwork` and `RecordNetwork` over loops: puts and gets shares and records at other nodes, each through a loop of which that node
 * is the apex, and at this node's own store directly. One session belongs to one piece of work (one publication, or the reads of one address) and shares its
 * loops with no other, so that no store can tell from a loop that two pieces of work have one origin.
 *
 * In networks of `SMALL_NETWORK` nodes and more a loop asks its store for one share of the work and is then closed (PROTOCOL §6): the store
 * cannot see from a loop that two shares belong together. In smaller ones, where nothing is claimed against insiders and every store holds
 * a good part of everything anyway, a session keeps its loop to a store. Spec: SPEC.md §7.5.
 */
import { concat, type NodeId, type Pieces, piecesOf } from '../src/bytes/index.ts'
import type { PutWork, ShareCheck, ShareNetwork, ShareWork, SlotCheck, SlotValue, WorkTrace } from '../src/content/network.ts'
import type { RecordNetwork } from '../src/content/record-network.ts'
import type { DirectoryView } from '../src/directory/index.ts'
import { isOverlayError, OverlayError } from '../src/errors/index.ts'
import type { Clock, Timer } from '../src/runtime/index.ts'
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
import type { OriginLoop } from './loops/origin-loop.ts'
import type { LoopPool } from './loops/pool.ts'

/** From this many nodes on, one share per loop. */
export const SMALL_NETWORK = 20

// Implementation constants.
/** A store answers within this time or the work moves on. */
const ASK_TIMEOUT_MS = 15_000
/** Requests that one loop carries at once: bounds what is buffered at both ends. */
const ASKS_PER_LOOP = 24
/** How long a session of reads keeps its loops after its last use. */
const SESSION_IDLE_MS = 60_000
const SESSIONS_MAX = 32
/** How long stored things are asked to be kept. */
export const KEEP_HOURS = 30 * 24

/** This node's own store, asked without a loop. */
export type LocalStore = (request: Uint8Array) => Promise<{ readonly status: HopStatus; readonly body: Pieces }>

export interface ShareDeps {
  readonly self: NodeId
  readonly view: DirectoryView
  readonly pool: LoopPool
  readonly local: LocalStore
  /** The same for records. */
  readonly localRecords: LocalStore
  readonly clock: Clock
}

/** Sessions of reads by name (an address), kept warm for a while. */
export class ShareSessions {
  readonly #deps: ShareDeps
  readonly #sessions = new Map<string, ShareSession>()

  constructor(deps: ShareDeps) {
    this.#deps = deps
  }

  /** A session for one piece of work; the caller closes it. */
  fresh(): ShareSession {
    return new ShareSession(this.#deps, null, () => {})
  }

  /** The session of `name`, which closes itself when unused. The oldest idle one goes when there are too many. */
  named(name: string): ShareSession {
    let session = this.#sessions.get(name)
    if (session === undefined) {
      this.#makeRoom()
      // A session that closes itself is forgotten with its name, which says what this node's user read.
      const made = new ShareSession(this.#deps, SESSION_IDLE_MS, () => {
        if (this.#sessions.get(name) === made) this.#sessions.delete(name)
      })
      session = made
      this.#sessions.set(name, session)
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
  readonly loop: Promise<OriginLoop>
  asks: number
  /** The trace that has noted this loop last. */
  noted: WorkTrace | undefined
}

export class ShareSession implements ShareNetwork, RecordNetwork {
  readonly self: NodeId
  readonly #deps: ShareDeps
  readonly #idleMs: number | null
  readonly #onClosed: () => void
  readonly #loops = new Map<NodeId, HeldLoop>()
  readonly #waiting = new Map<NodeId, (() => void)[]>()
  readonly #stop = new AbortController()
  #idle: Timer | null = null
  #asks = 0
  #loopsUsed = 0

  constructor(deps: ShareDeps, idleMs: number | null, onClosed: () => void) {
    this.#deps = deps
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
    this.#onClosed()
  }

  holders(): readonly NodeId[] {
    return this.#deps.view.all().map(({ id }) => id)
  }

  async putShare(node: NodeId, share: Uint8Array, work: PutWork): Promise<void> {
    const { keepHours = KEEP_HOURS } = work
    await this.#store(node, { kind: 'put-share', share, keepHours, work: new Uint8Array(0) }, work)
  }

  async getShare(node: NodeId, address: Uint8Array, work: ShareWork): Promise<Uint8Array | null> {
    const reply = await this.#store(node, { kind: 'get-share', address }, work)
    return reply?.share ?? null
  }

  async putSlot(node: NodeId, slot: SlotValue, work: PutWork): Promise<void> {
    const { keepHours = KEEP_HOURS } = work
    await this.#store(node, { kind: 'put-slot', ...slot, keepHours, work: new Uint8Array(0) }, work)
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
    const body = bodyOf(
      node === this.self
        ? await this.#askSelf(this.#deps.local, encodeStoreRequest(request))
        : await this.#ask(node, storeCallPieces(storeRequestPieces(request)), work),
    )
    return body === null ? null : (parseStoreReply(body) ?? malformed())
  }

  async putRecord(node: NodeId, record: SignedRecord, work: ShareWork): Promise<void> {
    await this.#record(node, { kind: 'put', record, work: new Uint8Array(0) }, work)
  }

  async getRecord(node: NodeId, publicKey: Uint8Array, work: ShareWork): Promise<SignedRecord | null> {
    const body = await this.#record(node, { kind: 'get', publicKey }, work)
    return body === null ? null : (parseRecordReply(body) ?? malformed())
  }

  /** The reply's bytes; `null`: the holder does not have it. */
  async #record(node: NodeId, request: RecordRequest, work: ShareWork): Promise<Uint8Array | null> {
    const bytes = encodeRecordRequest(request)
    return bodyOf(
      node === this.self
        ? await this.#askSelf(this.#deps.localRecords, bytes)
        : await this.#ask(node, encodeHopRequest({ kind: 'record', request: bytes }), work),
    )
  }

  async #askSelf(service: LocalStore, request: Uint8Array): Promise<HopReply> {
    const { status, body } = await service(request)
    return { status, body: concat(...piecesOf(body)) }
  }

  async #ask(node: NodeId, request: Pieces, { signal, trace }: ShareWork): Promise<HopReply> {
    const deadline = this.#deps.clock.deadline(ASK_TIMEOUT_MS, AbortSignal.any([signal, this.#stop.signal]))
    let holding: HeldLoop | null = null
    this.#asks++
    try {
      const held = await this.#loopTo(node, deadline.signal, trace)
      holding = held
      try {
        const loop = await held.loop
        if (trace !== undefined && held.noted !== trace) {
          held.noted = trace
          trace.mark('loop', 'one that was there', { loop: loop.number })
        }
        const reply = parseHopReply(await loop.ask(request, deadline))
        return reply ?? malformed()
      } finally {
        this.#leave(node, held)
      }
    } catch (error) {
      if (signal.aborted) throw signal.reason
      if (isOverlayError(error, 'CIRCUIT_ENDED') || isOverlayError(error, 'TIMEOUT')) this.#drop(node, holding)
      if (isOverlayError(error, 'STORE_UNREACHABLE')) throw error
      throw new OverlayError('unreachable', 'STORE_UNREACHABLE', 'The store could not be asked through a loop.', error)
    } finally {
      this.#asks--
      deadline.clear()
    }
  }

  /** A place on the session's loop to `node`, waiting for one if the loop is full. */
  async #loopTo(node: NodeId, signal: AbortSignal, trace: WorkTrace | undefined): Promise<HeldLoop> {
    const shared = this.#deps.view.size < SMALL_NETWORK
    for (;;) {
      signal.throwIfAborted()
      let held = shared ? this.#loops.get(node) : undefined
      if (held === undefined) {
        const taken: HeldLoop = { loop: this.#take(node, trace), asks: 0, noted: trace }
        taken.loop.catch(() => this.#drop(node, taken))
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
  #take(node: NodeId, trace: WorkTrace | undefined): Promise<OriginLoop> {
    const taking = this.#deps.pool.take(node, this.#stop)
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
