/**
 * The control slots of one link: a burst of cells at fixed times, for everything that is not a paced circuit's cell (gossip, set-ups of paced
 * loops, DESTROY), and PAD where nothing waits. A burst is as long as a set-up packet, so that one passes a member in one wait. Without these
 * slots an observer would see when a node emits a set-up that it never received, or says something because something happened.
 * Limit: `QUEUE_CELLS_MAX` cells wait; what exceeds them is refused, and its sender repairs (gossip) or gives up (a set-up). Spec: SPEC.md §4.5.
 */
import type { MonotonicMs } from '../src/bytes/index.ts'
import { BODY_BYTES, type CircuitId, Command } from '../src/cell/index.ts'
import type { Lane, Link } from '../src/link/index.ts'
import type { Paced } from './pacer.ts'

// Specification constant.
/** Cells of a burst: a set-up packet's. */
export const BURST_CELLS = 8

// Implementation constants.
export const QUEUE_CELLS_MAX = 1024
/** A process that stood still sends at most so many bursts at once. */
const LATE_BURSTS_MAX = 2

const PAD_BODY = new Uint8Array(BODY_BYTES)

interface Waiting {
  readonly lane: ControlLane
  readonly command: Command
  readonly body: Uint8Array
}

export interface ControlLineParts {
  readonly link: Link
  readonly everyMs: number
  /** When the first burst goes: a random time within `everyMs`. */
  readonly firstAt: MonotonicMs
}

export class ControlLine implements Paced {
  readonly #link: Link
  readonly #everyMs: number
  readonly #pad: Lane
  #nextAt: number
  #queue: Waiting[] = []

  constructor({ link, everyMs, firstAt }: ControlLineParts) {
    this.#link = link
    this.#everyMs = everyMs
    this.#nextAt = firstAt
    this.#pad = link.lane(0 as CircuitId)
  }

  /** Cells that wait for a slot. */
  get waitingCells(): number {
    return this.#queue.length
  }

  /** A lane whose cells go in control slots. */
  lane(id: CircuitId): Lane {
    return new ControlLane(this, this.#link.lane(id))
  }

  emit(now: MonotonicMs): void {
    if (now < this.#nextAt) return
    const bursts = Math.floor((now - this.#nextAt) / this.#everyMs) + 1
    this.#nextAt += bursts * this.#everyMs
    for (let cell = Math.min(bursts, LATE_BURSTS_MAX) * BURST_CELLS; cell > 0; cell--) this.#sendOne()
  }

  #sendOne(): void {
    const next = this.#queue.shift()
    if (next === undefined) this.#pad.push(Command.PAD, PAD_BODY)
    else next.lane.send(next.command, next.body)
  }

  /** Called by its lanes. */
  wait(lane: ControlLane, command: Command, body: Uint8Array): boolean {
    if (this.#queue.length >= QUEUE_CELLS_MAX) return false
    this.#queue.push({ lane, command, body: body.slice() })
    return true
  }

  /** Drops what waits of `lane`. */
  forget(lane: ControlLane): void {
    this.#queue = this.#queue.filter((waiting) => waiting.lane !== lane)
  }

  /** Cells of `lane` that wait. */
  waitingOf(lane: ControlLane): number {
    let cells = 0
    for (const waiting of this.#queue) if (waiting.lane === lane) cells++
    return cells
  }
}

/** See `ControlLine.lane`. */
class ControlLane implements Lane {
  readonly id: CircuitId
  readonly #line: ControlLine
  readonly #lane: Lane
  #open = true

  constructor(line: ControlLine, lane: Lane) {
    this.id = lane.id
    this.#line = line
    this.#lane = lane
  }

  get queuedCells(): number {
    return this.#line.waitingOf(this) + this.#lane.queuedCells
  }

  push(command: Command, body: Uint8Array): boolean {
    return this.#open && body.length === BODY_BYTES && this.#line.wait(this, command, body)
  }

  send(command: Command, body: Uint8Array): void {
    this.#lane.push(command, body)
  }

  close(): void {
    if (!this.#open) return
    this.#open = false
    this.#line.forget(this)
    this.#lane.close()
  }
}
