/**
 * Two sides that showed one cookie: what one gives the other takes. A side is a circuit's end at this hop, or this node's own (`local.ts`);
 * the meeting does not know which came first once both are there, nor what the payloads say. Spec: SPEC.md §11.3.
 */
import type { PayloadFlow } from '../../src/stream/index.ts'
import { type PayloadPool, PayloadQueue } from './payload-queue.ts'

// Implementation constants; measured in test/bench/README.md.
/** Payloads that may wait for one side. */
export const QUEUE_PAYLOADS = 256
/** As long as the other side has not come. */
export const QUEUE_ALONE_PAYLOADS = 32

/** One side of a meeting. What it takes are the other's payloads. */
export class Side implements PayloadFlow {
  readonly queue: PayloadQueue
  /** Something came for this side, or the other took something: for a side without cells of its own. */
  onMoved: (() => void) | null = null
  readonly #meeting: Meeting
  /** Whether a payload came from this side: its end is there and expects some. */
  #opened = false

  constructor(meeting: Meeting, pool: PayloadPool, queuePayloads: number) {
    this.#meeting = meeting
    this.queue = new PayloadQueue(pool, queuePayloads)
  }

  get due(): boolean {
    return this.#opened && this.queue.length > 0
  }

  get waiting(): number {
    return this.#opened ? this.queue.length : 0
  }

  take(into: Uint8Array, at: number): void {
    this.queue.take(into, at)
    this.#meeting.otherOf(this).onMoved?.()
  }

  onPayload(bytes: Uint8Array, at: number): void {
    this.#opened = true
    this.#meeting.give(this, bytes, at)
  }

  onGone(): void {
    this.#meeting.leave(this)
  }
}

export class Meeting {
  readonly first: Side
  readonly second: Side
  readonly #queuePayloads: number
  readonly #onOver: (meeting: Meeting) => void
  #both = false
  #over = false

  /** `onOver`: a side left, or none came in time. Once. */
  constructor(pool: PayloadPool, queuePayloads: number, onOver: (meeting: Meeting) => void) {
    this.#queuePayloads = queuePayloads
    this.first = new Side(this, pool, queuePayloads)
    this.second = new Side(this, pool, queuePayloads)
    this.#onOver = onOver
  }

  /** Whether both sides are there. */
  get both(): boolean {
    return this.#both
  }

  /** Whether nothing passes any more. */
  get over(): boolean {
    return this.#over
  }

  /** Payloads that may wait for one side. */
  get queueMax(): number {
    return this.#both ? this.#queuePayloads : Math.min(this.#queuePayloads, QUEUE_ALONE_PAYLOADS)
  }

  /** The second side is there. */
  pair(): void {
    this.#both = true
  }

  otherOf(side: Side): Side {
    return side === this.first ? this.second : this.first
  }

  /** A payload from `side` to the other. After the end it goes nowhere: the side that is left hears nothing more, and is told nothing. */
  give(side: Side, bytes: Uint8Array, at: number): void {
    if (this.#over) return
    const other = this.otherOf(side)
    other.queue.push(bytes, at, this.queueMax)
    other.onMoved?.()
  }

  /** `side` is gone. What waits for the other may still be taken. */
  leave(side: Side): void {
    side.queue.clear()
    if (!this.#both) this.otherOf(side).queue.clear()
    this.end()
  }

  /** Nothing passes any more. Idempotent. */
  end(): void {
    if (this.#over) return
    this.#over = true
    if (!this.#both) this.second.queue.clear()
    this.#onOver(this)
  }
}
