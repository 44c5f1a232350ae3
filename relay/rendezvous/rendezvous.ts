/**
 * Where two circuits meet: who shows a cookie is joined with who shows the same, and each hands payloads to the other. Symmetric: no roles,
 * no names, no state that says who came first once both are there. Bounded: pairs, those that wait for their second, payloads (`meeting.ts`,
 * `payload-queue.ts`). Nothing is logged or counted per pair. A third that shows a cookie in use is refused, and so learns only what it
 * knew. Spec: SPEC.md §11.3.
 */
import { toHex } from '../../src/bytes/index.ts'
import { OverlayError } from '../../src/errors/index.ts'
import type { Clock, Timer } from '../../src/runtime/index.ts'
import type { ExchangeEnd, ExchangePort, PayloadFlow } from '../../src/stream/index.ts'
import type { HopStatus } from '../../src/wire/index.ts'
import { LocalPort } from './local.ts'
import { Meeting, QUEUE_PAYLOADS, type Side } from './meeting.ts'
import { type ApexMemory, PAYLOADS_MAX, PayloadPool } from './payload-queue.ts'

// Specification constant.
/** The second comes within this time of the first, or they do not meet. */
export const MEETING_WAIT_MS = 30_000

// Implementation constants. At a limit the one goes that has waited longest for its second; if none waits the newest join is answered `busy`.
export interface RendezvousLimits {
  /** Pairs, those that wait included. */
  readonly pairs: number
  /** Those that wait for their second. */
  readonly alone: number
  /** Payloads that wait, over all pairs. */
  readonly payloads: number
  /** Payloads that wait for one side. */
  readonly queue: number
}
export const RENDEZVOUS_LIMITS: RendezvousLimits = Object.freeze({
  pairs: 4096,
  alone: 1024,
  payloads: PAYLOADS_MAX,
  queue: QUEUE_PAYLOADS,
})
/** What a meeting is charged with besides its payloads: two rings and their tables. */
export const MEETING_BYTES = 8192

/** What a circuit offers to who joins it. */
interface Attachable {
  /** Exchanges at once; see `HopPort`. */
  readonly exchanges?: number
  attach(flow: PayloadFlow, number?: number): boolean
}

export class Rendezvous {
  readonly #clock: Clock
  readonly #memory: ApexMemory
  readonly #limits: RendezvousLimits
  readonly #pool: PayloadPool
  /** Meetings by cookie, until one side left. */
  readonly #meetings = new Map<string, Meeting>()
  /** Those of them that wait for their second. */
  readonly #alone = new Map<Meeting, Timer>()
  readonly #local = new Set<LocalPort>()
  /** Cookies that a circuit with several exchanges showed last, by their numbers: its origin may ask again when the answer was lost. */
  readonly #shown = new WeakMap<Attachable, (string | undefined)[]>()

  constructor(deps: { readonly clock: Clock; readonly memory: ApexMemory; readonly limits?: RendezvousLimits }) {
    this.#clock = deps.clock
    this.#memory = deps.memory
    this.#limits = deps.limits ?? RENDEZVOUS_LIMITS
    this.#pool = new PayloadPool(deps.memory, this.#limits.payloads)
  }

  /** Meetings now, and payloads that wait. For tests. */
  get figures(): { readonly meetings: number; readonly alone: number; readonly payloads: number } {
    return { meetings: this.#meetings.size, alone: this.#alone.size, payloads: this.#pool.used }
  }

  /**
   * Joins exchange `exchange` of the circuit of `port` with the one that shows the same cookie (32 bytes). A circuit that may have several ends
   * an older exchange of the same number with it: its origin has left that.
   */
  join(cookie: Uint8Array, port: Attachable, exchange = 0): HopStatus {
    const most = port.exchanges ?? 1
    if (exchange >= most) return 'refused'
    if (most === 1) return this.#enter(cookie, (side) => port.attach(side))
    const key = toHex(cookie)
    const shown = this.#shown.get(port) ?? []
    if (shown.includes(key)) return shown[exchange] === key ? 'ok' : 'refused'
    return this.#enter(cookie, (side) => {
      if (!port.attach(side, exchange)) return false
      shown[exchange] = key
      this.#shown.set(port, shown)
      return true
    })
  }

  /** This node's own end, where it is the rendezvous point itself. Errors: `RENDEZVOUS_REFUSED`. */
  joinLocally(cookie: Uint8Array, end: ExchangeEnd): ExchangePort {
    const made: LocalPort[] = []
    const status = this.#enter(cookie, (side, meeting) => {
      made.push(new LocalPort({ meeting, side, end, clock: this.#clock, onLeft: (port) => this.#local.delete(port) }))
      return true
    })
    const port = made[0]
    if (port === undefined) {
      throw new OverlayError(
        'overload',
        'RENDEZVOUS_REFUSED',
        `This node, which was drawn as the rendezvous point, says: ${status}.`,
      )
    }
    this.#local.add(port)
    return port
  }

  /** Ends every meeting. Idempotent. */
  close(): void {
    for (const port of [...this.#local]) port.end()
    for (const meeting of [...this.#meetings.values()]) meeting.end()
  }

  #enter(cookie: Uint8Array, attach: (side: Side, meeting: Meeting) => boolean): HopStatus {
    const key = toHex(cookie)
    const waiting = this.#meetings.get(key)
    if (waiting !== undefined) {
      if (waiting.both || !attach(waiting.second, waiting)) return 'refused'
      waiting.pair()
      this.#alone.get(waiting)?.cancel()
      this.#alone.delete(waiting)
      return 'ok'
    }
    // Who means to meet does so within a second or two; who only takes places waits for long, and is the first to go.
    if (this.#meetings.size >= this.#limits.pairs || this.#alone.size >= this.#limits.alone) this.#endOldestAlone()
    if (this.#meetings.size >= this.#limits.pairs) return 'busy'
    if (!this.#memory.hold(MEETING_BYTES)) return 'busy'
    const meeting = new Meeting(this.#pool, this.#limits.queue, (over) => this.#forget(key, over))
    this.#meetings.set(key, meeting)
    this.#alone.set(
      meeting,
      this.#clock.setTimer(MEETING_WAIT_MS, () => meeting.end()),
    )
    if (attach(meeting.first, meeting)) return 'ok'
    meeting.end()
    return 'refused'
  }

  #endOldestAlone(): void {
    this.#alone.keys().next().value?.end()
  }

  #forget(key: string, meeting: Meeting): void {
    this.#meetings.delete(key)
    this.#alone.get(meeting)?.cancel()
    this.#alone.delete(meeting)
    this.#memory.release(MEETING_BYTES)
  }
}
