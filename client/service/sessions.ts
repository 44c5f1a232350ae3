/**
 * The sessions of one service's clients: made when a client has met us, carried by one exchange after the other, ended when nobody used them
 * for a while. Bounded over all services of the node; at the limit the session goes that was idle for longest, and if all are in use the
 * newcomer is refused. Spec: SPEC.md §11.6.
 */
import { type MonotonicMs, nodeIdOf, toHex } from '../../src/bytes/index.ts'
import { wipe } from '../../src/crypto/index.ts'
import type { Clock } from '../../src/runtime/index.ts'
import type {
  Met,
  ServiceSession,
  SessionEvents,
  SessionStream,
  SessionStreamEvents,
  SessionTicket,
  StreamReset,
} from '../../src/service/index.ts'
import { approach, type MeetingDeps } from './meeting.ts'

// Implementation constants.
/** Sessions of all services of a node. */
export const SESSIONS_MAX = 256
/** A session without streams is kept this long: longer than clients keep it, so that it is they who end it. */
export const SESSION_IDLE_MS = 90_000
/** The loop to the rendezvous point is there and joined by then, or the client tries another. */
const JOIN_MS = 10_000

/** Makes the state machine of a session. */
export type MakeSession = (ticket: SessionTicket, events: SessionEvents) => ServiceSession

/** How many sessions there are on this node, over all services. */
export interface SessionRoom {
  taken: number
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
    const session = makeSession(ticket, {
      onOpen,
      onDetached: () => {},
      onEnd: () => {
        if (this.#sessions.delete(name)) room.taken--
      },
    })
    const hosted = { session, idleSince: clock.monotonicMs() }
    this.#sessions.set(name, hosted)
    room.taken++
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

  /** Call it every few seconds: ends what is idle. */
  tick(): void {
    const now = this.#deps.clock.monotonicMs()
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
