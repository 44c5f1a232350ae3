/**
 * One introduction point: a service that waits, and clients' messages for it. Messages go to the service highest work first, then oldest;
 * at the limit the one with the least work goes, of those the youngest. Waits are answered newest first: the newest is on the loop that the
 * service uses now. Pure but for the promises' resolvers that its entries carry. Spec: SPEC.md §11.2.
 */
import { INTRODUCTIONS_MAX } from '../../src/wire/index.ts'

// Implementation constants.
/** Messages that wait for the service. At the limit: see above. */
export const QUEUED_PER_POINT_MAX = 64
/** Waits of the service. At the limit the oldest is answered with nothing. */
export const WAITS_PER_POINT_MAX = 4

/** A client's message, from its coming until it is answered. */
export interface Pending {
  readonly point: Point
  readonly message: Uint8Array
  readonly work: Uint8Array
  readonly workBits: number
  /** Under which the service may answer, once it was given to it. */
  handle: number | null
  /** The service's answer, or `null`: none will come. */
  settle(answer: Uint8Array | null): void
}

/** The service's question, from its coming until it is answered. */
export interface Wait {
  /** What there is for the service; may be nothing. */
  settle(pending: readonly Pending[]): void
}

export class Point {
  /** Hex of its name. */
  readonly name: string
  /** The first is the next. */
  readonly #queue: Pending[] = []
  /** The last is the newest. */
  readonly #waits: Wait[] = []

  constructor(name: string) {
    this.name = name
  }

  get waits(): number {
    return this.#waits.length
  }

  get queued(): number {
    return this.#queue.length
  }

  /** A client's message. Returns what had to go for it, which may be itself; `null`: nothing. */
  offer(pending: Pending): Pending | null {
    // Behind all that brought as much: they are older.
    let at = this.#queue.length
    while (at > 0 && this.#queue[at - 1]!.workBits < pending.workBits) at--
    this.#queue.splice(at, 0, pending)
    this.#waits.pop()?.settle(this.#queue.splice(0, INTRODUCTIONS_MAX))
    return this.#queue.length > QUEUED_PER_POINT_MAX ? this.#queue.pop()! : null
  }

  /** The service waits. */
  await(wait: Wait): void {
    if (this.#queue.length > 0) return wait.settle(this.#queue.splice(0, INTRODUCTIONS_MAX))
    this.#waits.push(wait)
    if (this.#waits.length > WAITS_PER_POINT_MAX) this.#waits.shift()!.settle([])
  }

  /** A wait that nobody asks for any more; nothing if it was settled. */
  forgetWait(wait: Wait): void {
    const at = this.#waits.indexOf(wait)
    if (at >= 0) this.#waits.splice(at, 1)
  }

  /** A message that nobody asks for any more. */
  forget(pending: Pending): void {
    const at = this.#queue.indexOf(pending)
    if (at >= 0) this.#queue.splice(at, 1)
  }

  /** Settles all with nothing. */
  end(): void {
    for (const wait of this.#waits.splice(0)) wait.settle([])
    for (const pending of this.#queue.splice(0)) pending.settle(null)
  }
}
