/**
 * The sessions of one service's clients: made when a client has met us, carried by one exchange after the other, ended when nobody used them
 * for a while. Bounded over all services of the node; at the limit the session goes that was idle for longest, and if all are in use the
 * newcomer is refused. Spec: SPEC.md §11.6.
 */
import { type MonotonicMs, nodeIdOf, toHex } from '../../src/bytes/index.ts'
import { wipe } from '../../src/crypto/index.ts'
import { type Clock, TokenBucket } from '../../src/runtime/index.ts'
import {
  type Met,
  type ServiceSession,
  type SessionEvents,
  type SessionStream,
  type SessionStreamEvents,
  type SessionTicket,
  StreamReset,
} from '../../src/service/index.ts'
import { approach, type MeetingDeps } from './meeting.ts'

// Implementation constants.
/** Sessions of all services of a node. */
export const SESSIONS_MAX = 256
/** Memory for what their clients do not take and what targets do not read, over all of them. */
export const KEPT_BYTES_MAX = 256 * 1024 * 1024
/** How often that is looked at. */
const LOOK_MS = 1_000
/** Streams that one client may open: opening and resetting costs it a few bytes, and the target a connection. At the limit: busy. */
export const OPENED_PER_SEC = 100
export const OPENED_AT_ONCE = 512
/** A session without streams is kept this long: longer than clients keep it, so that it is they who end it. */
export const SESSION_IDLE_MS = 90_000
/** A session without streams for less than this is not ended for another one: a page's requests have such pauses. */
const IDLE_MIN_MS = 5_000
/** The loop to the rendezvous point is there and joined by then, or the client tries another. */
const JOIN_MS = 10_000

/** Makes the state machine of a session. `slow`: the other end's loop goes by time. */
export type MakeSession = (ticket: SessionTicket, events: SessionEvents, slow?: boolean) => ServiceSession

/** The sessions of all services of a node. */
export class SessionRoom {
  readonly #sessions = new Set<ServiceSession>()
  #lookedMs = Number.NEGATIVE_INFINITY

  get taken(): number {
    return this.#sessions.size
  }

  all(): readonly ServiceSession[] {
    return [...this.#sessions]
  }

  add(session: ServiceSession): void {
    this.#sessions.add(session)
  }

  remove(session: ServiceSession): void {
    this.#sessions.delete(session)
  }

  /** Ends those that hold most as long as all hold too much. */
  relieve(now: MonotonicMs): void {
    if (now - this.#lookedMs < LOOK_MS) return
    this.#lookedMs = now
    const held = this.all().map((session) => ({ session, bytes: session.figures.heldBytes + session.figures.keptBytes }))
    let total = held.reduce((sum, { bytes }) => sum + bytes, 0)
    if (total <= KEPT_BYTES_MAX) return
    held.sort((a, b) => b.bytes - a.bytes)
    for (const { session, bytes } of held) {
      if (total <= KEPT_BYTES_MAX) return
      session.close()
      total -= bytes
    }
  }
}

export interface HostSessionsDeps extends MeetingDeps {
  readonly makeSession: MakeSession
  readonly room: SessionRoom
  /** Takes a stream that a client opened. */
  readonly onOpen: (stream: SessionStream) => SessionStreamEvents | StreamReset
  readonly clock: Clock
}

interface Hosted {
  readonly session: ServiceSession
  idleSince: MonotonicMs
}

export class HostSessions {
  readonly #deps: HostSessionsDeps
  /** By ticket id in hex. */
  readonly #sessions = new Map<string, Hosted>()
  readonly #stop = new AbortController()

  constructor(deps: HostSessionsDeps) {
    this.#deps = deps
  }

  get size(): number {
    return this.#sessions.size
  }

  /** The ticket of a session that goes on, for the handshake. */
  find(id: Uint8Array): SessionTicket | null {
    return this.#sessions.get(toHex(id))?.session.ticket ?? null
  }

  /** Whether one more could be taken. */
  get hasRoom(): boolean {
    return this.#deps.room.taken < SESSIONS_MAX || this.#longestIdle() !== null
  }

  /** Ends the session that was not used for longest, if one was not for a moment: for another's. */
  endIdle(): boolean {
    const longest = this.#longestIdle()
    if (longest === null || this.#deps.clock.monotonicMs() - longest.idleSince < IDLE_MIN_MS) return false
    longest.session.close()
    return true
  }

  /** Goes to meet a client: its session, or a new one, gets the exchange. Never rejects. */
  async meet({ node, established }: Met): Promise<void> {
    if (established === null) return
    const { clock } = this.#deps
    const { ticket, keys, meetingCookie, resumed } = established
    const hosted = this.#sessions.get(toHex(ticket.id)) ?? (resumed ? null : this.#add(ticket))
    if (hosted === null) return wipe(keys.toClient, keys.toService)
    const end = hosted.session.prepare(keys)
    const deadline = clock.deadline(JOIN_MS, this.#stop.signal)
    try {
      const way = await approach(nodeIdOf(node), this.#deps, deadline)
      await way.join(meetingCookie, end, deadline)
    } catch {
      // The client hears nothing, and tries again with another rendezvous point.
      end.discard()
    } finally {
      deadline.clear()
    }
  }

  #add(ticket: SessionTicket): Hosted | null {
    const { room, makeSession, onOpen, clock } = this.#deps
    if (room.taken >= SESSIONS_MAX) this.#longestIdle()?.session.close()
    if (room.taken >= SESSIONS_MAX || this.#stop.signal.aborted) return null
    const name = toHex(ticket.id)
    const rate = new TokenBucket(OPENED_PER_SEC, OPENED_AT_ONCE, clock.monotonicMs())
    const session = makeSession(ticket, {
      onOpen: (stream) => (rate.take(clock.monotonicMs()) ? onOpen(stream) : StreamReset.BUSY),
      onDetached: () => {},
      onEnd: () => {
        this.#sessions.delete(name)
        room.remove(session)
      },
    })
    const hosted = { session, idleSince: clock.monotonicMs() }
    this.#sessions.set(name, hosted)
    room.add(session)
    return hosted
  }

  #longestIdle(): Hosted | null {
    let longest: Hosted | null = null
    for (const hosted of this.#sessions.values()) {
      if (hosted.session.openStreams > 0) continue
      if (longest === null || hosted.idleSince < longest.idleSince) longest = hosted
    }
    return longest
  }

  /** Call it every second or so: ends what is idle, or holds too much. */
  tick(): void {
    const now = this.#deps.clock.monotonicMs()
    this.#deps.room.relieve(now)
    for (const hosted of [...this.#sessions.values()]) {
      if (hosted.session.openStreams > 0) hosted.idleSince = now
      else if (now - hosted.idleSince >= SESSION_IDLE_MS) hosted.session.close()
    }
  }

  /** Ends all. Idempotent. */
  close(): void {
    this.#stop.abort(new Error('the service is no longer hosted here'))
    for (const { session } of [...this.#sessions.values()]) session.close()
  }
}
