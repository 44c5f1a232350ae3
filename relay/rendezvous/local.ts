/**
 * This node's own end of a meeting at itself, without a loop: for loops that cannot carry cells to their own node, and for tests. Whoever is
 * at the other end can tell by how soon it answers that it is here; `client/loops/own-hop.ts` is what does not show. There are no cells to
 * pace it, so payloads move in later turns, a bounded number in each, and content goes only as far ahead of the other side as a loop's
 * window would let it. Spec: SPEC.md §11.3.
 */
import type { Clock, Timer } from '../../src/runtime/index.ts'
import { type ExchangeEnd, type ExchangePort, PAYLOAD_BEAT_MS, PAYLOAD_BYTES, Pairing } from '../../src/stream/index.ts'
import type { Meeting, Side } from './meeting.ts'

// Implementation constants.
/** Payloads moved each way in one turn. */
const TURN_PAYLOADS = 32
/** Payloads that may wait for the other side before this end gives more. */
const AHEAD_PAYLOADS = 128

/** Scratch of one payload, shared by all: one thread, no nesting. */
const scratch = new Uint8Array(PAYLOAD_BYTES)

export class LocalPort implements ExchangePort {
  readonly loop = 0
  readonly #meeting: Meeting
  readonly #side: Side
  readonly #other: Side
  readonly #pairing: Pairing
  readonly #clock: Clock
  readonly #onLeft: (port: LocalPort) => void
  #beat: Timer | null = null
  #turnDue = false
  #over = false

  constructor(parts: {
    readonly meeting: Meeting
    readonly side: Side
    readonly end: ExchangeEnd
    readonly clock: Clock
    /** It has left the meeting. */
    readonly onLeft: (port: LocalPort) => void
  }) {
    const { meeting, side, end, clock } = parts
    this.#meeting = meeting
    this.#side = side
    this.#other = meeting.otherOf(side)
    this.#pairing = new Pairing(end, clock)
    this.#clock = clock
    this.#onLeft = parts.onLeft
    side.onMoved = () => this.wake()
    this.#onBeat()
  }

  get waiting(): number {
    return this.#side.queue.length
  }

  wake(): void {
    if (this.#turnDue || this.#over) return
    this.#turnDue = true
    this.#clock.nextTurn(() => {
      this.#turnDue = false
      if (!this.#over) this.#move()
    })
  }

  close(): void {
    if (this.#over) return
    this.#leave()
  }

  /** The rendezvous point itself ends. */
  end(): void {
    if (this.#over) return
    this.#leave()
    this.#pairing.onGone()
  }

  #leave(): void {
    this.#over = true
    this.#beat?.cancel()
    this.#side.onMoved = null
    this.#meeting.leave(this.#side)
    this.#onLeft(this)
  }

  #onBeat(): void {
    if (this.#meeting.over) {
      // As with a loop, cells would go on: this end finds out by the silence, and no sooner, or the other side could see by how soon it
      // comes back that it was here.
      this.#pairing.take(scratch, 0)
    }
    this.wake()
    this.#beat = this.#clock.setTimer(PAYLOAD_BEAT_MS, () => this.#onBeat())
  }

  #move(): void {
    for (let moved = 0; moved < TURN_PAYLOADS && this.#side.queue.length > 0 && !this.#over; moved++) {
      this.#side.take(scratch, 0)
      this.#pairing.onPayload(scratch, 0)
    }
    let moved = 0
    const ahead = Math.min(AHEAD_PAYLOADS, this.#meeting.queueMax)
    // Once the other side has left nothing is given: no queue would ever say enough.
    while (!this.#over && !this.#meeting.over && this.#pairing.due && this.#other.queue.length < ahead) {
      if (moved++ >= TURN_PAYLOADS) break
      this.#pairing.take(scratch, 0)
      this.#side.onPayload(scratch, 0)
    }
    if (this.#over) return
    // What the other side takes wakes this end again (`onMoved`); only what a turn was too short for asks for the next one.
    if (this.#side.queue.length > 0 || moved > TURN_PAYLOADS) this.wake()
  }
}
