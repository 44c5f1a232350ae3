/**
 * The introduction points of this node, as a hop's service: a live service waits here through a loop, clients leave messages for it through
 * theirs, and neither learns more of the other than that. This node reads none of it: messages are sealed for the service's key.
 *
 *   service: Await (its token) … → up to 8 introductions → Answer (token, handle)      client: Introduce (the token's hash) … → the answer
 *
 * It owns who waits for what, and for how long; `point.ts` owns the order. Bounded: points and messages under way (those of circuits that come in
 * by one link never more than are left for all others, `../fair-share.ts`), waits and messages per point; each thing that waits has a stream, which the apex bounds (`../apex.ts`), and ends with it. A handle answers nothing without the
 * token that the introduction was given to. Never rejects; nothing is logged or counted per point. Spec: SPEC.md §11.2.
 */
import { readU32, toHex } from '../../src/bytes/index.ts'
import type { Clock, Rng, Timer } from '../../src/runtime/index.ts'
import { introductionPointName, introductionWork } from '../../src/service/index.ts'
import {
  type AnswerIntroduction,
  encodeIntroductionReply,
  type HopStatus,
  type Introduce,
  type Introduction,
  parseIntroductionRequest,
} from '../../src/wire/index.ts'
import type { ApexAnswer, ApexCall } from '../apex.ts'
import { type Claimant, FairShare } from '../fair-share.ts'
import { type Pending, Point, type Wait } from './point.ts'

// Specification constants.
/** An Await without an introduction is answered with none after this time, and asked anew. */
export const AWAIT_MS = 300_000
/** An Introduce without an answer is answered BUSY after this time. */
export const INTRODUCE_MS = 15_000

// Implementation constants. At a limit the newest is answered `busy`.
/** How long a point stays while its service does not wait: between two Awaits, or until a new loop is there. */
export const POINT_GRACE_MS = 30_000
export interface IntroductionLimits {
  readonly points: number
  /** Messages under way, over all points: about 8 MiB. */
  readonly messages: number
}
export const INTRODUCTION_LIMITS: IntroductionLimits = Object.freeze({ points: 4096, messages: 4096 })

const NOTHING = new Uint8Array(0)
const NEVER = new AbortController().signal

export class Introductions {
  readonly #clock: Clock
  readonly #rng: Rng
  readonly #points = new Map<string, Point>()
  /** Points whose service does not wait, and until when they stay. */
  readonly #leaving = new Map<Point, Timer>()
  /** Introductions that the service has and did not answer, by handle. */
  readonly #handed = new Map<number, Pending>()
  readonly #claimed: { readonly points: FairShare; readonly messages: FairShare }
  /** For whom each point was made. */
  readonly #owners = new Map<Point, Claimant>()
  #closed = false

  constructor(deps: { readonly clock: Clock; readonly rng: Rng; readonly limits?: IntroductionLimits }) {
    this.#clock = deps.clock
    this.#rng = deps.rng
    const { points, messages } = deps.limits ?? INTRODUCTION_LIMITS
    this.#claimed = { points: new FairShare({ total: points }), messages: new FairShare({ total: messages }) }
  }

  /** What there is now. For tests. */
  get figures(): { readonly points: number; readonly messages: number; readonly handed: number } {
    return { points: this.#points.size, messages: this.#claimed.messages.taken, handed: this.#handed.size }
  }

  /** Answers one `IntroductionRequest`; `request` is copied before this returns. An `ApexService`. */
  readonly service = async (request: Uint8Array, call: ApexCall): Promise<ApexAnswer> => {
    const asked = parseIntroductionRequest(request)
    call.parked()
    if (asked === null) return answer('bad-request')
    if (this.#closed) return answer('refused')
    switch (asked.kind) {
      case 'await':
        return this.#await(asked.token, call)
      case 'introduce':
        return this.#introduce(asked, call)
      case 'answer':
        return this.#answer(asked)
    }
  }

  /** As `service`, for a node that is itself the introduction point it asks. Rejects with the signal's reason. */
  async askLocally(request: Uint8Array, { signal }: { signal: AbortSignal } = { signal: NEVER }): Promise<ApexAnswer> {
    signal.throwIfAborted()
    const call: ApexCall = { onEnd: null, parked: () => {} }
    const { promise, reject } = Promise.withResolvers<never>()
    const onAbort = () => {
      call.onEnd?.()
      reject(signal.reason)
    }
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      return await Promise.race([this.service(request, call), promise])
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  /** Answers all that wait. Idempotent; afterwards no timer is set. */
  close(): void {
    this.#closed = true
    for (const point of [...this.#points.values()]) this.#drop(point)
    for (const pending of [...this.#handed.values()]) pending.settle(null)
  }

  // The service's side ------------------------------------------------------------------------------------------------------------

  #await(token: Uint8Array, call: ApexCall): ApexAnswer | Promise<ApexAnswer> {
    const point = this.#pointOf(toHex(introductionPointName(token)), call.claimant ?? null)
    if (point === null) return answer('busy')
    const { promise, resolve } = Promise.withResolvers<ApexAnswer>()
    const wait: Wait = {
      settle: (pending) => {
        timer.cancel()
        call.onEnd = null
        resolve(answer('ok', { introductions: pending.map((each) => this.#hand(each)), message: NOTHING }))
        this.#stayOrLeave(point)
      },
    }
    const timer = this.#clock.setTimer(AWAIT_MS, () => {
      point.forgetWait(wait)
      wait.settle([])
    })
    call.onEnd = () => {
      timer.cancel()
      point.forgetWait(wait)
      this.#stayOrLeave(point)
      resolve(answer('refused')) // nobody hears it
    }
    point.await(wait)
    this.#stayOrLeave(point)
    return promise
  }

  #pointOf(name: string, claimant: Claimant): Point | null {
    const known = this.#points.get(name)
    if (known !== undefined) return known
    if (!this.#claimed.points.take(claimant)) return null
    const point = new Point(name)
    this.#points.set(name, point)
    this.#owners.set(point, claimant)
    return point
  }

  /** A point stays as long as its service waits there, and a while longer. */
  #stayOrLeave(point: Point): void {
    if (point.waits > 0) {
      this.#leaving.get(point)?.cancel()
      this.#leaving.delete(point)
    } else if (!this.#leaving.has(point) && this.#points.get(point.name) === point) {
      this.#leaving.set(
        point,
        this.#clock.setTimer(POINT_GRACE_MS, () => this.#drop(point)),
      )
    }
  }

  #drop(point: Point): void {
    this.#points.delete(point.name)
    const owner = this.#owners.get(point)
    if (this.#owners.delete(point)) this.#claimed.points.give(owner ?? null)
    this.#leaving.get(point)?.cancel()
    this.#leaving.delete(point)
    point.end()
  }

  /** `pending` with the handle under which the service answers it. */
  #hand(pending: Pending): Introduction {
    let handle: number
    do {
      const drawn = this.#rng.bytes(8)
      handle = readU32(drawn, 0) + (readU32(drawn, 4) & 0x1f_ffff) * 0x1_0000_0000
    } while (this.#handed.has(handle))
    pending.handle = handle
    this.#handed.set(handle, pending)
    return { handle, message: pending.message, work: pending.work }
  }

  #answer({ token, handle, message }: AnswerIntroduction): ApexAnswer {
    const pending = this.#handed.get(handle)
    if (pending === undefined || pending.point.name !== toHex(introductionPointName(token))) return answer('not-found')
    pending.settle(message)
    return answer('ok')
  }

  // The client's side -------------------------------------------------------------------------------------------------------------

  #introduce({ point: name, message, work }: Introduce, call: ApexCall): ApexAnswer | Promise<ApexAnswer> {
    const point = this.#points.get(toHex(name))
    if (point === undefined) return answer('not-found')
    const claimant = call.claimant ?? null
    if (!this.#claimed.messages.take(claimant)) return answer('busy')
    const { promise, resolve } = Promise.withResolvers<ApexAnswer>()
    const pending: Pending = {
      point,
      message,
      work,
      handle: null,
      workBits: introductionWork(name, message, work),
      settle: (said) => {
        end()
        resolve(said === null ? answer('busy') : answer('ok', { introductions: [], message: said }))
      },
    }
    const end = () => {
      timer.cancel()
      call.onEnd = null
      this.#claimed.messages.give(claimant)
      if (pending.handle !== null) this.#handed.delete(pending.handle)
    }
    const giveUp = () => {
      point.forget(pending)
      pending.settle(null)
    }
    const timer = this.#clock.setTimer(INTRODUCE_MS, giveUp)
    call.onEnd = giveUp
    point.offer(pending)?.settle(null)
    return promise
  }
}

function answer(status: HopStatus, reply?: Parameters<typeof encodeIntroductionReply>[0]): ApexAnswer {
  return { status, body: reply === undefined ? NOTHING : encodeIntroductionReply(reply) }
}
