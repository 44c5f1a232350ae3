/**
 * A client's way to a service: from its record over an introduction point to the rendezvous point, up to an exchange that a session can use.
 *
 *   record → points in random order, the next one when one fails or is slow → message 1 → answer 1 → rendezvous point drawn, loop to it
 *          → message 2 → answer 2 → both join → the session has its exchange
 *
 * Each point is asked through a loop of its own. A point that does not answer costs a little time, not the attempt; one that lies is told by
 * the handshake. A service whose record is out of date (it was started anew) says so, and the record is looked up afresh, once.
 * Spec: SPEC.md §11.2 to §11.4.
 */
import { type NodeId, nodeIdBytes } from '../../src/bytes/index.ts'
import { isOverlayError, OverlayError } from '../../src/errors/index.ts'
import type { Clock, Rng } from '../../src/runtime/index.ts'
import { shuffled } from '../../src/runtime/index.ts'
import {
  ClientHandshake,
  type Drawn,
  type Established,
  findIntroductionWork,
  type ServiceIdentity,
  type SessionTicket,
} from '../../src/service/index.ts'
import { encodeIntroductionRequest, parseIntroductionReply } from '../../src/wire/index.ts'
import { firstOf, Hedges } from '../first-of.ts'
import type { FoundRecord, RecordFinder, ServicePart, ServicePoint } from '../records/index.ts'
import type { Trace } from '../trace/index.ts'
import { EFFORT_MAX_BITS } from './effort.ts'
import { type IntroductionAnswer, introductionCall, readIntroductionAnswer, type ServiceView } from './loops.ts'
import { type Approach, approach, type MeetingDeps, MeetingPlaces } from './meeting.ts'
import { WorkLane } from './work-lane.ts'

// Implementation constants.
/** An introduction point that has not answered after this time gets company from the next one; sooner, if answers usually take less than a third of it. */
const POINT_HEDGE_MS = 1_500
const POINT_HEDGE_MIN_MS = 500
const USUAL_PART = 3
/** Attempts beside others, of all services together: when a node dies many sessions look for another way at once. */
const HEDGES_MAX = 8
/** What an introduction point is given in all; it answers itself after 15 s. */
const POINT_MS = 5_000
/** For the second message of a session that goes on, or three times as long as answers usually take: it has nothing else meanwhile. */
const AGAIN_MS = 1_500
/** Hashes of a proof of work in a millisecond on a slow machine: the times above are longer by what the work takes. */
const HASHES_PER_MS = 1_000
/** How often each point is asked where loops are there at once, for a new session and for one that goes on, and how long that takes at most. */
const ROUNDS = 2
const ROUNDS_AGAIN = 4
const GREETING_MS = 15_000
/** The same for the way to a rendezvous point, which is a loop and nothing else. */
const APPROACH_HEDGE_MS = 500
/** The same where loops go by time: this part of the time that one takes to be there. */
const APPROACH_HEDGE_PART = 1 / 2
const APPROACH_MS = 4_000
const JOIN_MS = 3_000
/** Tries more at one introduction point while cells get lost. */
const LOST_AGAIN = 4
/** A record found so short ago does for the first try. */
const RECORD_AGE_MS = 30_000

/** Where a set-up is, in words that follow "the last stage was". */
export const STAGE = {
  record: 'looking up its record',
  introduction: 'asking its introduction points',
  rendezvous: 'reaching the rendezvous point',
  handshake: 'agreeing on keys',
  join: 'joining at the rendezvous point',
  connect: 'asking it for a connection',
} as const

export type Stage = (typeof STAGE)[keyof typeof STAGE]

/** Asks this node's own introduction point, as a hop would be, where there are no loops for that. */
export type AskLocally = (
  request: Uint8Array,
  waiting: { readonly signal: AbortSignal },
) => Promise<{ readonly status: IntroductionAnswer['status']; readonly body: Uint8Array | readonly Uint8Array[] }>

export interface IntroducerDeps extends MeetingDeps {
  readonly network: Uint8Array
  readonly view: ServiceView
  readonly records: RecordFinder
  readonly introduceLocally: AskLocally
  /** How many times as long as with swift loops all takes. Default 1. */
  readonly slower?: number
  /** Where loops go by time: how long it takes, if all goes well, until one is there that somebody waits for. Absent: it is there at once. */
  readonly loopMs?: () => number
  readonly clock: Clock
  readonly rng: Rng
}

/** Whose work it is, and where its stages are noted. */
export interface SetUpAsking {
  readonly signal: AbortSignal
  readonly isolation: string
  readonly trace: Trace | undefined
  /** A record that was good for the session that is to go on: it does for the first try, however old. */
  readonly known?: FoundRecord | null
  /** Told where it is now, for the sentence of a time-out. */
  readonly onStage: (stage: Stage) => void
}

/** Handshake done, and the rendezvous point in reach. */
export interface Introduced {
  readonly established: Established
  readonly way: Approach
  readonly found: FoundRecord
  /** How long the service took to answer where to meet. */
  readonly answeredMs: number
  /** When the way is known to end, on this side or the service's, in monotonic milliseconds; `Infinity`: it is not. */
  readonly endsAt: number
}

/** An introduction point that let message 1 through and brought the service's answer. */
interface Greeting {
  /** The record by which it was found. */
  readonly found: FoundRecord
  /** What the work for one message may take. */
  readonly workMs: number
  readonly handshake: ClientHandshake
  readonly drawn: Drawn
  readonly say: (message: Uint8Array, signal: AbortSignal) => Promise<Uint8Array>
  readonly release: () => void
}

export class Introducer {
  readonly #deps: IntroducerDeps
  readonly #places: MeetingPlaces
  readonly #work: WorkLane
  readonly #slower: number
  /** Smoothed time from a first message to its answer. */
  #usualMs = POINT_HEDGE_MIN_MS / USUAL_PART
  /** Where loops are there at once. */
  readonly #hedges = new Hedges(HEDGES_MAX)

  constructor(deps: IntroducerDeps) {
    this.#deps = deps
    this.#slower = deps.slower ?? 1
    this.#work = new WorkLane(deps.clock)
    this.#places = new MeetingPlaces(deps.view)
  }

  /**
   * Introduces this node to the service of the address `key`, for a new session or for `resume`.
   * Errors: those of `RecordFinder.find`; `SERVICE_UNREACHABLE`, `SERVICE_BUSY`; the signal's reason.
   */
  async introduce(key: Uint8Array, resume: SessionTicket | null, asking: SetUpAsking): Promise<Introduced> {
    const { known = null } = asking
    if (known !== null) return this.#meet(await this.#greetAnew(key, known, resume, asking), asking)
    const first = await this.#record(key, RECORD_AGE_MS, asking)
    let greeted = false
    const noting: SetUpAsking = {
      ...asking,
      onStage(stage) {
        greeted ||= stage === STAGE.rendezvous
        asking.onStage(stage)
      },
    }
    try {
      return await this.#through(key, first, resume, noting)
    } catch (error) {
      // A service that answered has the keys of its record: what failed behind that may work at once with another rendezvous point.
      if (greeted || asking.signal.aborted || !isOverlayError(error, 'SERVICE_UNREACHABLE')) throw error
      const fresh = await this.#record(key, 0, asking)
      if (fresh.record.sequence === first.record.sequence) throw error
      return this.#through(key, fresh, resume, asking)
    }
  }

  /** By the record that a session was met with before; as soon as there is a newer one, by that as well. */
  #greetAnew(key: Uint8Array, known: FoundRecord, resume: SessionTicket | null, asking: SetUpAsking): Promise<Greeting> {
    return firstOf([known, null], {
      clock: this.#deps.clock,
      signal: asking.signal,
      hedgeMs: 0,
      most: this.#slower * GREETING_MS,
      attempt: async (record, signal) => {
        const how = { ...asking, signal }
        const found = record ?? (await this.#record(key, 0, how))
        if (record === null && found.record.sequence === known.record.sequence) throw unreachable('Its record is the same still.')
        return this.#greet(key, found, resume, how)
      },
      discard: endGreeting,
      failed: (errors) => errors.find((error) => !isOverlayError(error, 'SERVICE_UNREACHABLE')) ?? errors[0],
    })
  }

  async #record(key: Uint8Array, maxAgeMs: number, asking: SetUpAsking): Promise<FoundRecord> {
    const { signal, isolation, trace } = asking
    asking.onStage(STAGE.record)
    return this.#deps.records.find(key, { signal, isolation, maxAgeMs, ...(trace === undefined ? {} : { trace }) })
  }

  async #through(key: Uint8Array, found: FoundRecord, resume: SessionTicket | null, asking: SetUpAsking): Promise<Introduced> {
    return this.#meet(await this.#greet(key, found, resume, asking), asking)
  }

  // Introduction -------------------------------------------------------------------------------------------------------------------

  async #greet(key: Uint8Array, found: FoundRecord, resume: SessionTicket | null, asking: SetUpAsking): Promise<Greeting> {
    const { service } = found.record
    if (service === null) throw unreachable('Its owner publishes no live service at this address now.')
    if (service.effort > EFFORT_MAX_BITS) {
      throw new OverlayError('overload', 'SERVICE_BUSY', 'The service asks for more proof of work than this node does.')
    }
    const identity = { network: this.#deps.network, address: key, blinded: found.blinded, ...staticKeys(service) }
    asking.onStage(STAGE.introduction)
    const how = { isolation: asking.isolation }
    const once = this.#sooner(shuffled(service.points, this.#deps.rng), ({ node }) => node, how)
    // An introduction is lost with the loop of the service's that it was on, and a service's loops have members in common: each point is asked more than once.
    const points = this.#loopMs > 0 ? once : Array.from({ length: resume === null ? ROUNDS : ROUNDS_AGAIN }, () => once).flat()
    const workMs = 2 ** service.effort / HASHES_PER_MS
    return firstOf(points, {
      clock: this.#deps.clock,
      signal: asking.signal,
      hedgeMs: this.#pointHedgeMs + 2 * workMs,
      ...this.#hedging,
      // Luck is uneven: one search in fifty takes four times as long as expected.
      most: this.#slower * POINT_MS + this.#loopMs + 4 * workMs,
      attempt: async (point, signal) => {
        return { ...(await this.#greetAgain(identity, point, service.effort, resume, asking, signal)), found }
      },
      discard: endGreeting,
      failed: (errors) => {
        const busy = errors.find((error) => isOverlayError(error, 'SERVICE_BUSY'))
        return busy ?? unreachable(`None of its ${once.length} introduction points brought an answer from it.`, errors.at(-1))
      },
    })
  }

  get #pointHedgeMs(): number {
    if (this.#loopMs > 0) return this.#slower * POINT_HEDGE_MS
    return Math.min(POINT_HEDGE_MS, Math.max(POINT_HEDGE_MIN_MS, USUAL_PART * this.#usualMs))
  }

  /** Loops that go by time are there whatever is asked of them. */
  get #hedging(): { readonly hedges?: Hedges } {
    return this.#loopMs > 0 ? {} : { hedges: this.#hedges }
  }

  /** As `#greetAt`; where cells get lost, and loops end by the clock, a few times: that says nothing of the point. */
  async #greetAgain(
    identity: ServiceIdentity,
    point: ServicePoint,
    effort: number,
    resume: SessionTicket | null,
    asking: SetUpAsking,
    signal: AbortSignal,
  ): Promise<Omit<Greeting, 'found'>> {
    for (let left = this.#loopMs > 0 ? LOST_AGAIN : 0; ; left--) {
      try {
        return await this.#greetAt(identity, point, effort, resume, asking, signal)
      } catch (error) {
        if (left === 0 || !wasLost(error)) throw error
      }
    }
  }

  async #greetAt(
    identity: ServiceIdentity,
    point: ServicePoint,
    effort: number,
    resume: SessionTicket | null,
    { trace, isolation }: SetUpAsking,
    signal: AbortSignal,
  ): Promise<Omit<Greeting, 'found'>> {
    const { rng } = this.#deps
    const ended = trace?.stage('introduction')
    const beganMs = this.#deps.clock.monotonicMs()
    const handshake = ClientHandshake.start(identity, resume === null ? { rng } : { rng, resume })
    if (handshake === null) throw unreachable('The keys in its record cannot be used.')
    let line = await this.#lineTo(point.node, isolation, signal).catch((error: unknown) => {
      handshake.wipe()
      ended?.({ note: 'no loop to the point', failed: true })
      throw error
    })
    const say = async (message: Uint8Array, until: AbortSignal) => {
      const worked = effort === 0 ? undefined : trace?.stage('work')
      const work = await findIntroductionWork(point.point, message, effort, { clock: this.#work, signal: until })
      worked?.({ note: `${effort} bits` })
      return answerOf(await line.introduce(point.point, message, work, until))
    }
    // Message 2 may come much later than message 1, and twice: the service answers it again.
    const sayAgain = async (message: Uint8Array, until: AbortSignal) => {
      try {
        return await say(message, until)
      } catch (error) {
        if (!wasLost(error)) throw error
        line.release()
        line = await this.#lineTo(point.node, isolation, until)
        return say(message, until)
      }
    }
    try {
      const drawn = handshake.onAnswer(await say(handshake.message, signal))
      if (drawn === null) throw unreachable('An introduction point answered what the service cannot have said.')
      ended?.({ loop: line.loop })
      this.#usualMs += (this.#deps.clock.monotonicMs() - beganMs - this.#usualMs) / 4
      return { workMs: (4 * 2 ** effort) / HASHES_PER_MS, handshake, drawn, say: sayAgain, release: () => line.release() }
    } catch (error) {
      handshake.wipe()
      line.release()
      ended?.({ note: isOverlayError(error) ? error.message : 'given up', loop: line.loop, failed: true })
      throw error
    }
  }

  /** A loop to the introduction point's node. If that is this node, a loop as well: a service chooses its points, and sees how soon clients go on. */
  async #lineTo(node: NodeId, isolation: string, signal: AbortSignal): Promise<Line> {
    const { self, loops, introduceLocally } = this.#deps
    if (node === self && loops.takeHome === undefined) {
      const introduce: Line['introduce'] = async (point, message, work, until) => {
        const request = encodeIntroductionRequest({ kind: 'introduce', point, message, work })
        const { status, body } = await introduceLocally(request, { signal: until })
        const reply = body instanceof Uint8Array ? parseIntroductionReply(body) : null
        return { status, introductions: [], message: reply?.message ?? new Uint8Array(0) }
      }
      return { loop: 0, introduce, release: () => {} }
    }
    const loop = node === self ? await loops.takeHome!({ signal, isolation }) : await loops.take(node, { signal, isolation })
    return {
      loop: loop.number,
      introduce: async (point, message, work, until) =>
        readIntroductionAnswer(await loop.ask(introductionCall({ kind: 'introduce', point, message, work }), { signal: until })),
      release: () => loops.release(loop),
    }
  }

  // Rendezvous ---------------------------------------------------------------------------------------------------------------------

  async #meet(greeting: Greeting, asking: SetUpAsking): Promise<Introduced> {
    try {
      return await this.#meetBy(greeting, asking)
    } finally {
      endGreeting(greeting)
    }
  }

  async #meetBy({ workMs, handshake, drawn, say, found }: Greeting, asking: SetUpAsking): Promise<Introduced> {
    asking.onStage(STAGE.rendezvous)
    const way = await this.#approach(drawn, asking)
    const beganMs = this.#deps.clock.monotonicMs()
    const mostMs =
      (asking.known ?? null) === null ? this.#slower * POINT_MS + this.#loopMs : Math.max(AGAIN_MS, USUAL_PART * this.#usualMs)
    const deadline = this.#deps.clock.deadline(mostMs + workMs, asking.signal)
    try {
      asking.onStage(STAGE.handshake)
      const ended = asking.trace?.stage('handshake')
      const message = handshake.meetAt(nodeIdBytes(way.node))
      const established = message === null ? null : handshake.onMet(await say(message, deadline.signal))
      ended?.(established === null ? { failed: true, note: 'the service refused' } : {})
      if (established === null) throw unreachable('It did not confirm where to meet.')
      const { seconds } = established
      const theirs = seconds === 0 ? Number.POSITIVE_INFINITY : this.#deps.clock.monotonicMs() + 1000 * seconds
      const answeredMs = this.#deps.clock.monotonicMs() - beganMs
      return { established, way, found, answeredMs, endsAt: Math.min(theirs, way.closeAt ?? Number.POSITIVE_INFINITY) }
    } catch (error) {
      way.release()
      if (asking.signal.aborted || isOverlayError(error, 'SERVICE_BUSY')) throw error
      throw unreachable('It did not confirm where to meet.', error)
    } finally {
      deadline.clear()
    }
  }

  /** The nodes at which both can meet, the best first: of those that the service offers, if it does, and that this node knows. */
  #drawn({ location, offered }: Drawn): readonly NodeId[] {
    if (offered.length === 0) return this.#places.drawn(location)
    const { view } = this.#deps
    return MeetingPlaces.drawnOf(offered, location, view).filter((node) => view.get(node) !== undefined)
  }

  /**
   * `items`, those first whose nodes a loop is there for, then those that a loop reaches which can have a faster one: any of them will do, and a loop
   * through other nodes takes half a minute.
   */
  #sooner<T>(
    items: readonly T[],
    nodeOf: (item: T) => NodeId,
    wish: { readonly isolation: string; readonly exchange?: boolean },
  ): T[] {
    const { loops } = this.#deps
    const ready = items.filter((item) => loops.reaches?.(nodeOf(item), wish) !== false)
    const soon = items.filter((item) => !ready.includes(item) && loops.near?.(nodeOf(item), wish.isolation) !== false)
    return [...ready, ...soon, ...items.filter((item) => !ready.includes(item) && !soon.includes(item))]
  }

  get #loopMs(): number {
    return this.#deps.loopMs?.() ?? 0
  }

  #approach(drawn: Drawn, { signal, isolation, trace }: SetUpAsking): Promise<Approach> {
    return firstOf(
      this.#sooner(this.#drawn(drawn), (node) => node, { isolation, exchange: true }),
      {
        clock: this.#deps.clock,
        signal,
        hedgeMs: this.#loopMs > 0 ? APPROACH_HEDGE_PART * this.#loopMs : APPROACH_HEDGE_MS,
        ...this.#hedging,
        most: this.#slower * APPROACH_MS + this.#loopMs,
        attempt: async (node, nodeSignal) => {
          const ended = trace?.stage('rendezvous')
          try {
            const way = await approach(node, this.#deps, { signal: nodeSignal, isolation })
            ended?.({ loop: way.loop })
            return way
          } catch (error) {
            ended?.({ note: 'no loop to the point', failed: true })
            throw error
          }
        },
        discard: (way) => way.release(),
        failed: (errors) => unreachable('No loop to a rendezvous point could be had.', errors.at(-1)),
      },
    )
  }

  /** Joins; on failure says so as every other stage does. */
  async join({ established, way }: Introduced, end: Parameters<Approach['join']>[1], asking: SetUpAsking): Promise<void> {
    asking.onStage(STAGE.join)
    const deadline = this.#deps.clock.deadline(this.#slower * JOIN_MS, asking.signal)
    try {
      await way.join(established.meetingCookie, end, deadline)
    } catch (error) {
      if (asking.signal.aborted) throw asking.signal.reason
      throw unreachable('The rendezvous point could not be joined.', error)
    } finally {
      deadline.clear()
    }
  }
}

function endGreeting({ handshake, release }: Greeting): void {
  handshake.wipe()
  release()
}

interface Line {
  readonly loop: number
  introduce(point: Uint8Array, message: Uint8Array, work: Uint8Array, until: AbortSignal): Promise<IntroductionAnswer>
  release(): void
}

/** Whether it was the loop that failed, and not who is at its middle. */
function wasLost(error: unknown): boolean {
  return isOverlayError(error, 'CIRCUIT_ENDED') || isOverlayError(error, 'CELL_LOST')
}

function staticKeys({ x25519, mlkem768 }: ServicePart) {
  return { x25519, mlkem768 }
}

/** What the service said, if it was heard. */
function answerOf({ status, message }: IntroductionAnswer): Uint8Array {
  if (status === 'busy' || (status === 'ok' && message.length === 1)) {
    throw new OverlayError('overload', 'SERVICE_BUSY', 'The service, or an introduction point, has too much to do.')
  }
  if (status === 'not-found') throw unreachable('The service does not wait at this introduction point.')
  if (status !== 'ok') throw unreachable(`An introduction point says: ${status}.`)
  if (message.length === 0) throw unreachable('The service has other keys than its record says.')
  return message
}

function unreachable(message: string, cause?: unknown): OverlayError {
  return new OverlayError('unreachable', 'SERVICE_UNREACHABLE', message, cause)
}
