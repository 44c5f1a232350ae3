/**
 * One live service that this node hosts, from its introduction points to its streams. It decides when the record is published and what
 * becomes of each introduction; the parts have files of their own.
 *
 *   points → introduction → work → queue → handshake → answer
 *                                              message 2 → session ← exchange ← loop ← rendezvous point
 *                                                             streams → forwarder → target
 *
 * What a stranger may cause here: a check of his work for each introduction, a key exchange and, with message 2, one loop as often as
 * `effort.ts` lets; all else is bounded by those. Spec: SPEC.md §11; threats: PROTOCOL §5.
 */
import { type NodeId, nodeIdBytes, nodeIdOf } from '../../src/bytes/index.ts'
import { OverlayError } from '../../src/errors/index.ts'
import type { Logger } from '../../src/log/index.ts'
import type { Clock, Rng, Timer } from '../../src/runtime/index.ts'
import {
  HELLO_BYTES,
  introductionPointName,
  introductionWork,
  type MayMeetAt,
  MEETING_BYTES,
  OFFERED_MAX,
} from '../../src/service/index.ts'
import type { Introduction } from '../../src/wire/index.ts'
import type { KeyEntry } from '../keys/index.ts'
import type { ServiceStatus } from '../library.ts'
import type { RecordPublisher, ServicePart } from '../records/index.ts'
import { IntroductionQueue } from './effort.ts'
import type { Forwarder } from './forward.ts'
import type { ServiceLoops, ServiceView, StandingPlaces } from './loops.ts'
import { type MeetingDeps, MeetingPlaces } from './meeting.ts'
import { IntroductionPoints } from './points.ts'
import { type BlindedKeys, RecordKeys } from './record-keys.ts'
import { HostSessions, type MakeSession, type SessionRoom } from './sessions.ts'
import { bytesPerHourOf, type ChosenPoint, type PortTarget, type ServiceState } from './state.ts'

// Implementation constants.
/** Answers by which a service says no more than that: message 1 was not for the keys that it has now, or it takes no more sessions. */
export const ANSWER_REFUSED = new Uint8Array(0)
export const ANSWER_BUSY = Uint8Array.of(1)
const TICK_MS = 1_000
/** Introductions that must wait for the rate are looked at this often. */
const PUMP_MS = 25
/** A point more is published after this, so that several become one record. */
const GAINED_MS = 250
/** A point less only after this: its loop is mostly there again sooner. */
const LOST_MS = 5_000
/** The same where loops end and begin in public rounds. */
const LOST_PACED_MS = 20_000

export interface HostDeps extends Omit<MeetingDeps, 'loops'> {
  readonly network: Uint8Array
  readonly view: ServiceView
  /** This service's own, with its preference. */
  readonly loops: ServiceLoops
  readonly healthy: () => boolean
  readonly records: Pick<RecordPublisher, 'prepare' | 'set' | 'forget' | 'isPublished'>
  /** The periods of an address (32 bytes) at a time. */
  readonly periods: (key: Uint8Array, unixMs: number) => Promise<BlindedKeys>
  readonly makeSession: MakeSession
  readonly room: SessionRoom
  readonly forwarder: Pick<Forwarder, 'forward'>
  /** Keeps the state on disk. Never rejects. */
  readonly save: (state: ServiceState) => void
  /** The status may have changed. */
  readonly onChange: () => void
  readonly clock: Clock
  readonly rng: Rng
  readonly log: Logger
}

/** What is waiting to be answered. */
interface Knock {
  /** The introduction point that it came through. */
  readonly point: NodeId
  readonly message: Uint8Array
  readonly answer: (message: Uint8Array) => void
}

export class HostedService {
  readonly entry: KeyEntry
  readonly #deps: HostDeps
  readonly #places: MeetingPlaces
  readonly #points: IntroductionPoints
  readonly #sessions: HostSessions
  readonly #keys: RecordKeys
  readonly #queue: IntroductionQueue<Knock>
  readonly #stop = new AbortController()
  #state: ServiceState
  #tickTimer: Timer | null = null
  #pumpTimer: Timer | null = null
  /** One was answered in this turn; the next turn goes on. */
  #pumpDue = false
  #publishTimer: Timer | null = null
  /** What the record says, as text to compare with; '': nothing was published in this run. */
  #published = ''
  /** Points in the newest record that holders have. */
  #told: ReadonlySet<NodeId> = new Set()
  /** The same of one that the publisher goes on with by itself. */
  #owed: ReadonlySet<NodeId> | null = null
  #publishing: Promise<void> = Promise.resolve()

  constructor(deps: HostDeps, entry: KeyEntry, state: ServiceState) {
    this.entry = entry
    this.#deps = deps
    this.#state = state
    const { clock, rng, network } = deps
    this.#places = new MeetingPlaces(deps.view)
    this.#queue = new IntroductionQueue(clock.monotonicMs())
    this.#sessions = new HostSessions({
      ...deps,
      onOpen: (stream) => deps.forwarder.forward(stream, this.#targetOf(stream.port)),
    })
    this.#keys = new RecordKeys({
      network,
      address: entry.publicKey,
      rng,
      clock,
      findSession: (id) => this.#sessions.find(id),
      periods: (unixMs) => deps.periods(entry.publicKey, unixMs),
    })
    this.#points = new IntroductionPoints(
      {
        ...deps,
        onIntroduction: (point, introduction, answer) => this.#onIntroduction(point, introduction, answer),
        onStanding: () => this.#onStanding(),
        onChosen: (points) => this.#save({ ...this.#state, points }),
      },
      state.points,
    )
  }

  start(): void {
    this.#tick()
    this.#points.start()
    // Meanwhile: under a paced clock loops to holders take as long as those to points.
    void this.#deps.records.prepare(this.entry.name, { signal: this.#stop.signal })
  }

  get state(): ServiceState {
    return this.#state
  }

  /** New ports, for connections that come from now on; loops as they are. */
  setPorts(ports: readonly PortTarget[], carriage = this.#state.carriage): void {
    this.#save({ ...this.#state, ports, carriage })
    this.#publishIn(0)
  }

  status(): ServiceStatus {
    const { name, address } = this.entry
    const standing = this.#points.standing()
    const carriers = this.#deps.loops.standing
    if (this.#owed !== null && this.#deps.records.isPublished(name)) {
      this.#told = this.#owed
      this.#owed = null
    }
    // A newer record may be on its way: by the one before, the service is reached as well.
    const known = standing.filter(({ node }) => this.#told.has(node)).length
    return {
      name,
      address,
      ports: this.#state.ports.map(({ port, host, targetPort }) => ({ port, target: targetText(host, targetPort) })),
      state: known === 0 ? 'starting' : known >= this.#points.enough ? 'up' : 'degraded',
      introductionPoints: standing.length,
      effort: this.#queue.effortBits,
      sessions: this.#sessions.size,
      ...(carriers === undefined ? {} : { carried: carriedBy(carriers) }),
    }
  }

  /** Ends sessions, loops and timers. The record is the caller's to take back. Idempotent. */
  async close(): Promise<void> {
    this.#stop.abort(new OverlayError('unreachable', 'SERVICE_UNREACHABLE', 'The service is no longer hosted here.'))
    for (const timer of [this.#tickTimer, this.#pumpTimer, this.#publishTimer]) timer?.cancel()
    this.#queue.clear()
    this.#sessions.close()
    await this.#points.close()
    await this.#publishing
    this.#keys.close()
  }

  #targetOf(port: number): PortTarget | undefined {
    return this.#state.ports.find((offered) => offered.port === port)
  }

  #save(state: ServiceState): void {
    this.#state = state
    this.#deps.save(state)
  }

  #tick(): void {
    const { clock } = this.#deps
    this.#sessions.tick()
    if (this.#queue.tick(clock.monotonicMs())) this.#publishIn(0)
    this.#keys.tick().then(
      (changed) => {
        if (changed) this.#publishIn(0)
      },
      (error: unknown) => this.#deps.log.warn('the keys of a service could not be renewed', { error }),
    )
    this.#tickTimer = clock.setTimer(TICK_MS, () => this.#tick())
  }

  // Introductions ------------------------------------------------------------------------------------------------------------------

  #onIntroduction(
    { node: point, token }: ChosenPoint,
    { message, work }: Introduction,
    answer: (message: Uint8Array) => void,
  ): void {
    if (message.length !== HELLO_BYTES && message.length !== MEETING_BYTES) return
    this.#queue.offer(introductionWork(introductionPointName(token), message, work), { point, message, answer })
    this.#pump()
  }

  /**
   * One in each turn: each costs a key exchange, and many at once would hold up the cells of all circuits for as long. Who sends them could look
   * for the node at which that shows.
   */
  #pump(): void {
    if (this.#pumpDue || this.#pumpTimer !== null || this.#stop.signal.aborted) return
    const { clock } = this.#deps
    const knock = this.#queue.take(clock.monotonicMs())
    if (knock !== null) {
      this.#pumpDue = true
      this.#answer(knock)
      clock.nextTurn(() => {
        this.#pumpDue = false
        this.#pump()
      })
    } else if (this.#queue.length > 0) {
      this.#pumpTimer = clock.setTimer(PUMP_MS, () => {
        this.#pumpTimer = null
        this.#pump()
      })
    }
  }

  #answer({ point, message, answer }: Knock): void {
    if (message.length === HELLO_BYTES) {
      const offered = this.#sessions.hasRoom ? this.#offered(point) : null
      if (offered === null) return answer(ANSWER_BUSY)
      return answer(this.#keys.hello(message, offered.map(nodeIdBytes))?.answer ?? ANSWER_REFUSED)
    }
    const met = this.#keys.meet(message, this.#mayMeetAt)
    if (met === null) return answer(ANSWER_REFUSED)
    answer(met.answer)
    void this.#sessions.meet(met)
  }

  /** Where a client that came through `point` can be met; empty: anywhere. `null`: no loop has room for a session more. */
  #offered(point: NodeId): readonly NodeId[] | null {
    const { standing } = this.#deps.loops
    if (standing === undefined) return []
    const free = standing.offered(point, OFFERED_MAX)
    if (free.length > 0) return free
    // There will be room by the time he says where to meet.
    const soon = this.#sessions.endIdle() ? standing.offered(point, OFFERED_MAX, true) : []
    return soon.length > 0 ? soon : null
  }

  readonly #mayMeetAt: MayMeetAt = (location, node, offered) => {
    const { standing } = this.#deps.loops
    if (standing === undefined) return this.#places.allows(location, node) ? 0 : null
    const id = nodeIdOf(node)
    return MeetingPlaces.drawnOf(offered, location, this.#deps.view).includes(id) ? standing.secondsAt(id) : null
  }

  // Record -------------------------------------------------------------------------------------------------------------------------

  #onStanding(): void {
    this.#deps.onChange()
    const names = new Set(this.#published.split(' '))
    const gained = this.#points.standing().some(({ node }) => !names.has(node))
    this.#publishIn(gained ? GAINED_MS : this.#deps.loops.standing === undefined ? LOST_MS : LOST_PACED_MS)
  }

  /** Publishes what is true in `ms`, unless it is to be published sooner. */
  #publishIn(ms: number): void {
    if (this.#stop.signal.aborted) return
    if (ms < LOST_MS) {
      this.#publishTimer?.cancel()
      this.#publishTimer = null
    }
    this.#publishTimer ??= this.#deps.clock.setTimer(ms, () => {
      this.#publishTimer = null
      this.#publishing = this.#publishing.then(() => this.#publish())
    })
  }

  async #publish(): Promise<void> {
    const part = this.#part()
    if (part === null || this.#stop.signal.aborted) return
    const text = textOf(part)
    if (text === this.#published) return
    this.#published = text
    const nodes = new Set(part.points.map(({ node }) => node))
    try {
      await this.#deps.records.set(this.entry.name, { service: part }, { signal: this.#stop.signal })
      this.#told = nodes
      this.#owed = null
    } catch (error) {
      // The publisher tries again by itself.
      this.#owed = nodes
      if (!this.#stop.signal.aborted) this.#deps.log.debug('the record of a service could not be published yet', { error })
    }
    this.#deps.onChange()
  }

  /** What the record should say; `null`: nothing that is of use. */
  #part(): ServicePart | null {
    const points = this.#points.standing().map(({ node, token }) => ({ node, point: introductionPointName(token) }))
    const ports = this.#state.ports.map(({ port }) => port)
    if (points.length === 0 || ports.length === 0) return null
    return { ...this.#keys.public, points, ports, effort: this.#queue.effortBits }
  }
}

function targetText(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

/** A part as text that differs when the part does: its points' nodes are words of it. */
function textOf({ x25519, points, ports, effort }: ServicePart): string {
  const names = points.map(({ node, point }) => `${node} ${point.join()}`).sort()
  return [x25519.join(), ports.join(), effort, ...names].join(' ')
}

function carriedBy({ figures, cellsPerSecond }: StandingPlaces): NonNullable<ServiceStatus['carried']> {
  const { loops, rate, running, sessionsMax } = figures
  return { loops, rate, running, sessionsMax, cellsPerSecond, bytesPerHour: bytesPerHourOf({ loops, rate }) }
}
