/**
 * The introduction points of one service: a few nodes drawn at random, each with a standing loop to it over which the service waits for
 * introductions with two long polls, so that one always stands while the other one's answer is on its way.
 *
 * Under a paced clock the loops stand by themselves (`StandingPlaces`): points are drawn among the nodes that they reach, as many as there are
 * loops at most, and the loops of the next rounds are drawn for them.
 *
 *   draw (or as kept on disk) → loop → both polls, and a ping behind them → the ping is home: it stands → … → the loop ends → again
 *
 * Points are kept: by their secret tokens their names stay the same over restarts, and a record read before still leads here. One is
 * replaced when its long, random life is over, when its node left the directory, or when loops to it fail again and again while others do
 * not. Whoever kills loops to move a service to points of his own gains little: a point sees neither end, only that somebody asked.
 *
 * While one does not stand, a stand-in does, at another node that is drawn once and then kept as the points are (in memory alone), so that a
 * service whose points are away is reached all the same, and whoever takes them away moves it no further than to the stand-ins.
 *
 * This node is drawn like any other, and stands at itself through a loop (`ServiceLoops.takeHome`). Points are in the record, and whoever makes
 * them fail has others drawn: a node that never is one would soon be the only one left.
 */
import type { MonotonicMs, NodeId } from '../../src/bytes/index.ts'
import { OverlayError } from '../../src/errors/index.ts'
import type { Clock, Rng, Timer } from '../../src/runtime/index.ts'
import { encodeHopRequest, INTRODUCTION_TOKEN_BYTES, type Introduction, parseHopReply } from '../../src/wire/index.ts'
import { askAgain } from '../loops/asking.ts'
import {
  introductionCall,
  reachableNodes,
  readIntroductionAnswer,
  type ServiceLoop,
  type ServiceLoops,
  type ServiceView,
} from './loops.ts'
import { SMALL_NETWORK } from './meeting.ts'
import type { ChosenPoint } from './state.ts'

// Implementation constants.
export const POINTS_WANTED = 3
/** Under a paced clock in a small network, where a client's loops reach some nodes and each hop of a service's can be one: one for so many nodes. */
const NODES_PER_POINT = 3
/** Long polls outstanding at each point. */
const POLLS = 2
/** A point is kept for a time drawn between these. */
const LIFE_MIN_MS = 3 * 86_400_000
const LIFE_MAX_MS = 10 * 86_400_000
/** A loop to a point is built, and its first polls are there, within this time. */
const STAND_MS = 10_000
/** The same where loops come with public rounds. */
const STAND_PACED_MS = 120_000
/** After a failure the next try waits as long as this, doubled by each further one. */
const RETRY_MIN_MS = 250
const RETRY_MAX_MS = 8_000
/** Standing for less than this is a failure too: loops live longer even where a member of theirs dies every few seconds. */
const STEADY_MS = 3_000
/** A point that is back for so long needs no stand-in any more. */
const SETTLED_MS = 10_000
/** So many failures in a row, and others' loops work: another node. */
const FAILURES_MAX = 5
/** The same for a stand-in. */
const STAND_IN_FAILURES_MAX = 2
/** A point that does not stand for so long gets one. */
const STAND_IN_AFTER_MS = 1_500
const LOOK_MS = 500
/** A node that was given up is not drawn again for this long. */
const SHUN_MS = 10 * 60_000
const SHUNNED_MAX = 64
const ANSWER_MS = 5_000
/** A point that answers polls with nothing is asked again after this. */
const EMPTY_PAUSE_MS = 250

export interface PointsDeps {
  readonly self: NodeId
  readonly view: ServiceView
  readonly loops: ServiceLoops
  /** Whether loops of this node work at all: else it is not the point that fails. */
  readonly healthy: () => boolean
  /** An introduction came, not verified. `answer` sends what the service says to it; it never rejects. */
  readonly onIntroduction: (point: ChosenPoint, introduction: Introduction, answer: (message: Uint8Array) => void) => void
  /** Which points stand has changed. */
  readonly onStanding: () => void
  /** Which points are chosen has changed: keep them. */
  readonly onChosen: (points: readonly ChosenPoint[]) => void
  readonly clock: Clock
  readonly rng: Rng
}

export class IntroductionPoints {
  readonly #deps: PointsDeps
  readonly #points: Point[] = []
  /** One for each point, as far as it was ever needed. */
  readonly #standIns: StandIn[] = []
  readonly #shunned = new Map<NodeId, number>()
  #look: Timer | null = null
  readonly #stop = new AbortController()
  readonly #runs: Promise<void>[] = []
  /** As many points as are chosen, if there are so many nodes for them, and as must stand if the service is to be up. */
  readonly wanted: number
  readonly enough: number

  constructor(deps: PointsDeps, kept: readonly ChosenPoint[]) {
    this.#deps = deps
    const { standing } = deps.loops
    this.enough = standing === undefined ? POINTS_WANTED : Math.min(POINTS_WANTED, standing.figures.loops)
    const isSmall = standing !== undefined && deps.view.size < SMALL_NETWORK
    this.wanted = isSmall ? Math.max(POINTS_WANTED, Math.ceil(deps.view.size / NODES_PER_POINT)) : this.enough
    for (const chosen of kept.slice(0, this.wanted)) this.#points.push(new Point(deps, chosen))
    standing?.prefer(() => this.#lasting())
  }

  /** Nodes of points whose time is not over. */
  #lasting(): readonly NodeId[] {
    const now = this.#deps.clock.unixMs()
    return this.#points.flatMap(({ chosen }) => (chosen !== null && chosen.untilMs > now ? [chosen.node] : []))
  }

  start(): void {
    while (this.#points.length < this.wanted) this.#points.push(new Point(this.#deps, null))
    for (const point of this.#points) this.#runs.push(this.#run(point, this.#stop.signal, FAILURES_MAX))
    // Those of loops that go by time are where those loops lead, and nowhere else.
    if (this.#deps.loops.standing !== undefined) return
    const look = () => {
      this.#standIn()
      this.#look = this.#deps.clock.setTimer(LOOK_MS, look)
    }
    // At first all points are away: they have their time to come.
    this.#look = this.#deps.clock.setTimer(STAND_MS, look)
  }

  /** Those at which the service waits now, stand-ins last. */
  standing(): readonly ChosenPoint[] {
    return this.#all().flatMap((point) => (point.stands && point.chosen !== null ? [point.chosen] : []))
  }

  #all(): readonly Point[] {
    return [...this.#points, ...this.#standIns.map(({ point }) => point)]
  }

  /** Begins and ends stand-ins: as many as points that have been away for a while, fewer only when those have been back for a while. */
  #standIn(): void {
    const now = this.#deps.clock.monotonicMs()
    const away = this.#points.filter((point) => !point.stands && now - point.changedAt >= STAND_IN_AFTER_MS).length
    const unsettled = this.#points.filter((point) => !point.stands || now - point.changedAt < SETTLED_MS).length
    while (this.#standIns.length < away) this.#standIns.push({ point: new Point(this.#deps, null), ending: null })
    for (const [at, standIn] of this.#standIns.entries()) {
      if (at < away && standIn.ending === null) {
        const ending = new AbortController()
        standIn.ending = ending
        const run = this.#run(standIn.point, AbortSignal.any([this.#stop.signal, ending.signal]), STAND_IN_FAILURES_MAX)
        this.#runs.push(run)
        void run.then(() => this.#runs.splice(this.#runs.indexOf(run), 1))
      } else if (at >= unsettled && standIn.ending !== null) {
        standIn.ending.abort(new OverlayError('unreachable', 'CIRCUIT_ENDED', 'The introduction point is back.'))
        standIn.ending = null
      }
    }
  }

  /** Ends all loops to points. Idempotent. */
  async close(): Promise<void> {
    this.#look?.cancel()
    this.#stop.abort(new OverlayError('unreachable', 'CIRCUIT_ENDED', 'The service is no longer hosted here.'))
    await Promise.all(this.#runs)
  }

  async #run(point: Point, signal: AbortSignal, failuresMax: number): Promise<void> {
    const { clock, healthy } = this.#deps
    let failures = 0
    while (!signal.aborted) {
      if (point.chosen === null || clock.unixMs() >= point.chosen.untilMs) this.#choose(point)
      const stood = await point.stand(signal)
      if (signal.aborted) return
      failures = stood >= STEADY_MS ? 0 : failures + (healthy() ? 1 : 0)
      if (failures >= failuresMax) {
        failures = 0
        this.#giveUp(point)
        continue
      }
      const pause = stood > 0 ? RETRY_MIN_MS : Math.min(RETRY_MAX_MS, RETRY_MIN_MS * 2 ** failures)
      await clock.sleep(pause * (0.75 + 0.5 * this.#deps.rng.unit()), { signal }).catch(() => {})
    }
  }

  #giveUp(point: Point): void {
    if (point.chosen !== null) {
      this.#shunned.delete(point.chosen.node)
      this.#shunned.set(point.chosen.node, this.#deps.clock.monotonicMs() + SHUN_MS)
      if (this.#shunned.size > SHUNNED_MAX) this.#shunned.delete(this.#shunned.keys().next().value!)
    }
    point.chosen = null
  }

  /** Draws a node for `point`; leaves it as it is while there is none to be had. */
  #choose(point: Point): void {
    const { clock, loops, rng, self, view, onChosen } = this.#deps
    const now = clock.monotonicMs()
    const taken = new Set(this.#all().flatMap((other) => (other.chosen === null ? [] : [other.chosen.node])))
    const reached = loops.standing?.points() ?? reachableNodes(view)
    const free = reached.filter((id) => (id !== self || loops.takeHome !== undefined) && !taken.has(id))
    const rested = free.filter((id) => (this.#shunned.get(id) ?? 0) <= now)
    const candidates = rested.length > 0 ? rested : free
    if (candidates.length === 0) return
    const node = candidates[rng.below(candidates.length)]!
    const untilMs = Math.round(clock.unixMs() + LIFE_MIN_MS + rng.unit() * (LIFE_MAX_MS - LIFE_MIN_MS))
    point.chosen = { node, token: rng.bytes(INTRODUCTION_TOKEN_BYTES), untilMs }
    if (this.#points.includes(point)) onChosen(this.#points.flatMap(({ chosen }) => (chosen === null ? [] : [chosen])))
  }
}

interface StandIn {
  readonly point: Point
  /** Ends it; `null` while it is not needed. */
  ending: AbortController | null
}

/** One introduction point, whichever node it is at now. */
class Point {
  readonly #deps: PointsDeps
  chosen: ChosenPoint | null
  #loop: ServiceLoop | null = null
  #stands = false
  /** When `stands` changed last. */
  changedAt: MonotonicMs

  constructor(deps: PointsDeps, chosen: ChosenPoint | null) {
    this.#deps = deps
    this.chosen = chosen
    this.changedAt = deps.clock.monotonicMs()
  }

  get stands(): boolean {
    return this.#stands
  }

  /** Stands at the chosen node until the loop to it ends; for how many milliseconds. Never rejects. */
  async stand(signal: AbortSignal): Promise<number> {
    const { chosen } = this
    const { self, view, loops, clock } = this.#deps
    if (chosen === null || view.get(chosen.node) === undefined) return 0
    const over = new AbortController()
    const both = AbortSignal.any([signal, over.signal])
    const begun = clock.deadline(loops.standing === undefined ? STAND_MS : STAND_PACED_MS, both)
    let loop: ServiceLoop | null = null
    let since: number | null = null
    try {
      const taken =
        chosen.node === self && loops.takeHome !== undefined ? await loops.takeHome(begun) : await loops.take(chosen.node, begun)
      loop = taken
      this.#loop = taken
      const polls = Promise.race(Array.from({ length: POLLS }, () => this.#poll(taken, chosen, both)))
      polls.catch(() => {}) // seen below, or not wanted any more
      await Promise.race([polls, pinged(taken, begun.signal)])
      begun.clear()
      since = clock.monotonicMs()
      this.#mark(true)
      await polls
    } catch {
      // The loop ended, or the node refuses: whoever called tries again.
    } finally {
      begun.clear()
      over.abort(new OverlayError('unreachable', 'CIRCUIT_ENDED', 'The introduction point is no longer waited at.'))
      this.#loop = null
      this.#mark(false)
      if (loop !== null) loops.release(loop)
    }
    return since === null ? 0 : clock.monotonicMs() - since
  }

  #mark(stands: boolean): void {
    if (this.#stands === stands) return
    this.#stands = stands
    this.changedAt = this.#deps.clock.monotonicMs()
    this.#deps.onStanding()
  }

  /** Polls until the loop ends; always rejects. */
  async #poll(loop: ServiceLoop, chosen: ChosenPoint, signal: AbortSignal): Promise<never> {
    const { token } = chosen
    const request = introductionCall({ kind: 'await', token })
    for (;;) {
      const answer = await askAgain(() => loop.ask(request, { signal, patient: true }), Number.POSITIVE_INFINITY)
      const { status, introductions } = readIntroductionAnswer(answer)
      if (status !== 'ok') throw new OverlayError('overload', 'SERVICE_UNREACHABLE', `An introduction point says: ${status}.`)
      for (const introduction of introductions) {
        this.#deps.onIntroduction(chosen, introduction, (message) => void this.#answer(token, introduction.handle, message))
      }
      if (introductions.length === 0) await this.#deps.clock.sleep(EMPTY_PAUSE_MS, { signal })
    }
  }

  async #answer(token: Uint8Array, handle: number, message: Uint8Array): Promise<void> {
    const loop = this.#loop
    if (loop === null) return
    const deadline = this.#deps.clock.deadline(ANSWER_MS, new AbortController().signal)
    try {
      const request = introductionCall({ kind: 'answer', token, handle, message })
      await askAgain(() => loop.ask(request, deadline))
    } catch {
      // The client asks again, elsewhere.
    } finally {
      deadline.clear()
    }
  }
}

/** Home when the hop has all that was asked before. */
async function pinged(loop: ServiceLoop, signal: AbortSignal): Promise<void> {
  const reply = parseHopReply(
    await loop.ask(encodeHopRequest({ kind: 'ping', filler: new Uint8Array(0), answerBytes: 0 }), { signal }),
  )
  if (reply?.status !== 'ok') throw new OverlayError('protocol', 'SERVICE_UNREACHABLE', 'An introduction point answered no ping.')
}
