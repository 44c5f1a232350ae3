/**
 * One user's session with one service, as long as it is of use: set up when the first connection asks for it, carried by a new exchange when
 * the old one is lost, closed a while after its last stream. Connections that come while it is being set up wait for the same set-up. When
 * the service does not know the session any more (it was started anew) a new one takes its place; the old one's streams end.
 */
import type { Duplex } from 'node:stream'
import type { MonotonicMs } from '../../src/bytes/index.ts'
import { isOverlayError, OverlayError } from '../../src/errors/index.ts'
import type { Clock, Rng, Timer } from '../../src/runtime/index.ts'
import { type ServiceSession, StreamReset } from '../../src/service/index.ts'
import type { Asking } from '../library.ts'
import type { FoundRecord } from '../records/index.ts'
import type { Trace } from '../trace/index.ts'
import { StreamDuplex, streamError } from './duplex.ts'
import { type Introducer, type SetUpAsking, STAGE, type Stage } from './introducer.ts'
import type { MakeSession } from './sessions.ts'

// Implementation constants.
/** A connection is there within this time, whatever goes wrong on the way; within twice that and so many loops' time where loops go by time. */
export const CONNECT_MS = 30_000
const CONNECT_LOOPS = 4
/** A session without streams is kept ready for so long. */
export const WARM_MS = 60_000
/** Set-ups for one connection: what fails behind the introduction point may well work with another rendezvous point. */
const SET_UPS_MAX = 4
/** After a lost exchange: how long before the second, third, … try to bring a new one. */
const REVIVE_MIN_MS = 250
const REVIVE_MAX_MS = 1_000
/**
 * Nothing of the service's has come through a new exchange by then, or after three times as long as its answer took: it did not get to the
 * rendezvous point, and another one is tried. Where loops go by time, that or twice the time that the way to it took.
 */
const HEARD_MS = 1_200
const HEARD_ANSWERS = 3
const HEARD_PACED_MS = 12_000
const HEARD_WAYS = 2
/** An exchange that is quiet gets a successor at most this often. */
const SUCCEED_MS = 2_000
/** So long before the way of an exchange is known to end, and at most half as much again, a new one is brought. */
const MOVE_MS = 25_000
/** After a try that failed the next one. */
const MOVE_AGAIN_MS = 4_000
/** A service that was not there is not asked again for so long: a page's other requests need not wait as the first did. */
const ABSENT_MS = 1_000

export interface ClientSessionDeps {
  readonly introducer: Pick<Introducer, 'introduce' | 'join'>
  readonly makeSession: MakeSession
  /** As `IntroducerDeps.loopMs`. */
  readonly loopMs?: (() => number) | undefined
  /** The session has ended, and nobody waits for it. */
  readonly onOver: () => void
  readonly clock: Clock
  readonly rng: Rng
}

export class ClientSession {
  readonly #key: Uint8Array
  readonly #isolation: string
  readonly #deps: ClientSessionDeps
  readonly #stop = new AbortController()
  #session: ServiceSession | null = null
  /** Number of the loop that carries it. */
  #loop = 0
  #settingUp: Promise<void> | null = null
  #stage: Stage = STAGE.record
  #reviving = false
  /** When a successor for a quiet exchange was sought last. */
  #succeededAt = Number.NEGATIVE_INFINITY
  /** The service's record as the session was met with it last: another way to it need not wait for a look-up. */
  #found: FoundRecord | null = null
  /** Connections under way. */
  #connects = 0
  #idle: Timer | null = null
  /** For the first payload of an exchange. */
  #waiting: Timer | null = null
  /** For the next exchange, before this one's way ends. */
  #moving: Timer | null = null
  #absent: { readonly error: OverlayError; readonly until: MonotonicMs } | null = null

  constructor(key: Uint8Array, isolation: string, deps: ClientSessionDeps) {
    this.#key = key
    this.#isolation = isolation
    this.#deps = deps
  }

  get #connectMs(): number {
    const { loopMs } = this.#deps
    return loopMs === undefined ? CONNECT_MS : 2 * CONNECT_MS + CONNECT_LOOPS * loopMs()
  }

  /** Loops go by time: there is none at once, and a look-up has its price. */
  get #isSlow(): boolean {
    return this.#deps.loopMs !== undefined
  }

  /** Whether a stream is open or wanted. */
  get busy(): boolean {
    return this.#connects > 0 || (this.#session?.openStreams ?? 0) > 0
  }

  /** A stream to `port`, taken by the service. Errors: as `LiveService.connect`, those of `RecordFinder.find`. */
  async connect(port: number, { signal, trace }: Asking): Promise<Duplex> {
    const { clock } = this.#deps
    const deadline = clock.deadline(this.#connectMs, AbortSignal.any([signal, this.#stop.signal]))
    this.#connects++
    try {
      for (;;) {
        const session = await this.#ready(trace, deadline.signal)
        this.#stage = STAGE.connect
        const duplex = await this.#open(session, port, trace, deadline.signal)
        if (duplex !== null) return duplex
      }
    } catch (error) {
      if (signal.aborted) throw signal.reason
      if (!deadline.signal.aborted || this.#stop.signal.aborted) throw error
      const seconds = Math.round(this.#connectMs / 1000)
      throw new OverlayError(
        'timeout',
        'TIMEOUT',
        `The service was not reached within ${seconds} s; the last stage was ${this.#stage}.`,
      )
    } finally {
      deadline.clear()
      this.#connects--
      this.#touch()
    }
  }

  /** Ends the session and all that waits for it. Idempotent. */
  close(): void {
    if (this.#stop.signal.aborted) return
    this.#stop.abort(new OverlayError('unreachable', 'SERVICE_UNREACHABLE', 'This node closed the session with the service.'))
    this.#idle?.cancel()
    this.#waiting?.cancel()
    this.#moving?.cancel()
    this.#session?.close()
    this.#deps.onOver()
  }

  // Set-up -------------------------------------------------------------------------------------------------------------------------

  /** The session with an exchange; waits for one. */
  async #ready(trace: Trace | undefined, signal: AbortSignal): Promise<ServiceSession> {
    for (let tried = 1; ; tried++) {
      signal.throwIfAborted()
      if (this.#session?.attached && !this.#session.over) return this.#session
      const now = this.#deps.clock.monotonicMs()
      if (this.#absent !== null && now < this.#absent.until) throw this.#absent.error
      const joined = this.#settingUp !== null
      const ended = joined ? trace?.stage('rendezvous') : undefined
      const settingUp = this.#settingUp ?? this.#begin(trace)
      try {
        await untilAborted(settingUp, signal)
        ended?.({ note: 'another connection set it up', loop: this.#loop })
      } catch (error) {
        ended?.({ note: 'as another connection, which set it up', failed: true })
        const absent = this.#absent as { readonly error: unknown } | null
        if (signal.aborted || absent?.error === error || tried >= SET_UPS_MAX || !isOverlayError(error, 'SERVICE_UNREACHABLE'))
          throw error
      }
    }
  }

  #begin(trace: Trace | undefined): Promise<void> {
    const settingUp = this.#setUp(trace).finally(() => {
      this.#settingUp = null
    })
    settingUp.catch(() => {}) // who waits sees it
    this.#settingUp = settingUp
    return settingUp
  }

  async #setUp(trace: Trace | undefined): Promise<void> {
    const { introducer, clock } = this.#deps
    const deadline = clock.deadline(this.#connectMs, this.#stop.signal)
    const beganMs = clock.monotonicMs()
    const asking: SetUpAsking = {
      signal: deadline.signal,
      isolation: this.#isolation,
      trace,
      onStage: (stage) => {
        this.#stage = stage
      },
    }
    try {
      const resume = this.#session !== null && !this.#session.over ? this.#session.ticket : null
      const known = resume === null || this.#isSlow ? null : this.#found
      const introduced = await introducer.introduce(this.#key, resume, { ...asking, known })
      const { established, way } = introduced
      this.#found = introduced.found
      const session = established.resumed ? this.#session : this.#replace(established.ticket, established.seconds > 0)
      if (session === null || session.over) {
        way.release()
        throw new OverlayError('unreachable', 'SERVICE_UNREACHABLE', 'The session ended while it got a new exchange.')
      }
      const { received } = session.figures
      await introducer.join(introduced, session.prepare(established.keys), asking)
      this.#waiting?.cancel()
      const patienceMs = this.#isSlow
        ? Math.max(HEARD_PACED_MS, HEARD_WAYS * (clock.monotonicMs() - beganMs))
        : Math.max(HEARD_MS, HEARD_ANSWERS * introduced.answeredMs)
      this.#waiting = clock.setTimer(patienceMs, () => {
        if (!session.over && session.figures.received === received) way.abandon()
      })
      this.#loop = way.loop
      this.#moveBefore(introduced.endsAt)
      this.#touch()
    } catch (error) {
      const unmet = this.#stage === STAGE.record || this.#stage === STAGE.introduction
      if (unmet && isOverlayError(error, 'SERVICE_UNREACHABLE')) {
        this.#absent = { error, until: (clock.monotonicMs() + ABSENT_MS) as MonotonicMs }
      }
      throw error
    } finally {
      deadline.clear()
    }
  }

  /** Loops that go by time end by the clock: a new exchange is there before the old one's way ends, if somebody uses the session then. */
  #moveBefore(endsAt: number): void {
    const { clock, rng } = this.#deps
    this.#moving?.cancel()
    this.#moving = null
    if (!Number.isFinite(endsAt)) return
    const moveMs = Math.max(MOVE_MS, this.#deps.loopMs?.() ?? 0)
    const inMs = Math.max(MOVE_AGAIN_MS, endsAt - clock.monotonicMs() - moveMs * (1 + rng.unit() / 2))
    this.#moving = clock.setTimer(inMs, () => {
      this.#moving = null
      if (!this.busy || this.#session?.attached !== true) return
      const again = () => {
        if (this.#session?.attached === true && this.#moving === null) this.#moveBefore(endsAt)
      }
      // Whoever brings one at this moment has the same in mind.
      if (this.#settingUp === null) this.#begin(undefined).catch(again)
    })
  }

  /** A new session in place of the old one, which the service does not have any more. */
  #replace(ticket: ServiceSession['ticket'], slow: boolean): ServiceSession {
    const old = this.#session
    const events = {
      onQuiet: () => {
        if (this.#session === session) this.#succeed()
      },
      onDetached: () => {
        if (this.#session === session) void this.#revive()
      },
      onEnd: () => {
        if (this.#session !== session) return
        this.#session = null
        if (!this.busy && this.#settingUp === null) this.close()
      },
    }
    const session = this.#deps.makeSession(ticket, events, slow)
    this.#session = session
    old?.close()
    return session
  }

  /** Brings a new exchange before the one that is quiet is given up. What fails is tried again when it is. */
  #succeed(): void {
    const now = this.#deps.clock.monotonicMs()
    if (this.#isSlow || !this.busy || this.#settingUp !== null || now - this.#succeededAt < SUCCEED_MS) return
    this.#succeededAt = now
    void this.#begin(undefined)
  }

  /** Brings new exchanges until one carries the session, as long as somebody uses it. Never rejects. */
  async #revive(): Promise<void> {
    const { clock } = this.#deps
    if (this.#reviving) return
    this.#reviving = true
    try {
      for (let tried = 0; this.#session !== null && !this.#session.over && !this.#session.attached; tried++) {
        if (!this.busy) return this.close()
        const pause = tried === 0 ? 0 : Math.min(REVIVE_MAX_MS, REVIVE_MIN_MS * 2 ** (tried - 1))
        if (pause > 0) await clock.sleep(pause, this.#stop)
        await (this.#settingUp ?? this.#begin(undefined)).catch(() => {})
      }
    } catch {
      // Closed meanwhile.
    } finally {
      this.#reviving = false
    }
  }

  // Streams ------------------------------------------------------------------------------------------------------------------------

  /** A stream that the service has taken; `null`: the session ended before, and another one may take it. */
  async #open(session: ServiceSession, port: number, trace: Trace | undefined, signal: AbortSignal): Promise<Duplex | null> {
    const ended = trace?.stage('connect')
    const { promise, resolve } = Promise.withResolvers<number | null>()
    const duplex = new StreamDuplex({ onOpened: () => resolve(null), onGone: (code) => resolve(code ?? StreamReset.CANCELLED) })
    const stream = session.open(port, duplex)
    if (stream === null) {
      ended?.({ note: 'too many streams', failed: true })
      if (session.over) return null
      throw new OverlayError('overload', 'SERVICE_BUSY', 'As many connections to this service are open as one session carries.')
    }
    duplex.bind(stream)
    // For good: an error between two turns of whoever gets it must not end the node.
    duplex.on('error', ignore)
    try {
      const code = await untilAborted(promise, signal)
      if (code === StreamReset.SESSION_ENDED) {
        ended?.({ note: 'the session ended', failed: true })
        return null
      }
      if (code !== null) throw streamError(code)
      ended?.({ loop: this.#loop })
      duplex.once('close', () => this.#touch())
      return duplex
    } catch (error) {
      ended?.({ note: isOverlayError(error) ? error.message : 'given up', loop: this.#loop, failed: true })
      duplex.destroy()
      throw error
    }
  }

  /** Closes when nothing was open for `WARM_MS` from now. */
  #touch(): void {
    this.#idle?.cancel()
    if (this.#stop.signal.aborted) return
    this.#idle = this.#deps.clock.setTimer(this.#session === null ? ABSENT_MS : WARM_MS, () => {
      if (this.busy || this.#settingUp !== null) this.#touch()
      else this.close()
    })
  }
}

function ignore(): void {}

/** `promise`, or the signal's reason if that is sooner. */
async function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted()
  const { promise: aborted, reject } = Promise.withResolvers<never>()
  const onAbort = () => reject(signal.reason)
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    return await Promise.race([promise, aborted])
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}
