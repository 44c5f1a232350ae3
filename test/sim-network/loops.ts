/**
 * Loops that are not there: what is asked goes to the other node's apex by a call, after the time that a loop would take. For whole networks over
 * weeks, where each cell would be too many. It keeps what a loop does to who uses it: it takes time to build, has a round trip, is lost now and then
 * with what was under way, ends in a stall when the node at its apex stops, and cannot be built to who is not there.
 *
 * What it leaves out: cells, paths, members of loops that fail on the way (a chance of loss stands for them), limits of links, paced clocks.
 */
import type { LoopSource, Taking, Work } from '../../client/loops/lease.ts'
import type { AskOptions } from '../../client/loops/loop.ts'
import type { Apex } from '../../relay/index.ts'
import { concat, lengthOf, type NodeId, type Pieces, piecesOf } from '../../src/bytes/index.ts'
import { OverlayError } from '../../src/errors/index.ts'
import type { Clock, Rng } from '../../src/runtime/index.ts'
import { hopReplyPieces } from '../../src/wire/index.ts'

/** Building takes a round trip; a round trip of 8 links takes between these. */
const ROUND_TRIP_MS = [200, 1_200] as const
/** What a loop carries. */
const BYTES_PER_MS = 250
/** Of all asks, so many lose their loop on the way. */
const LOST = 0.01
/** After that an origin gives a silent loop up. */
const STALLED_MS = 5_000
/** A set-up that nobody answers; later the neighbours of who went have said so, and no path is found. */
const UNANSWERED_MS = 12_000
const UNLISTED_MS = 60_000

/** A node as others reach it. */
export interface Reachable {
  readonly up: boolean
  /** Since when it is up or not. */
  readonly sinceMs: number
  readonly apex: Apex
}

export interface DirectParts {
  find(id: NodeId): Reachable | undefined
  readonly clock: Clock
  readonly rng: Rng
}

export class DirectLoops implements LoopSource {
  readonly takesPerAsk = false
  readonly #parts: DirectParts
  #taken = 0
  #peak = 0
  #number = 0

  constructor(parts: DirectParts) {
    this.#parts = parts
  }

  /** Loops that are in use, and the most that ever were. */
  get taken(): number {
    return this.#taken
  }

  get peak(): number {
    return this.#peak
  }

  async take(id: NodeId, { signal }: Taking): Promise<Work> {
    signal.throwIfAborted()
    const { find, clock, rng } = this.#parts
    const there = find(id)
    if (there?.up !== true) {
      if (there !== undefined && clock.monotonicMs() - there.sinceMs < UNLISTED_MS) await clock.sleep(UNANSWERED_MS, { signal })
      throw new OverlayError('unreachable', 'LOOP_NO_PATH', 'No path goes there.')
    }
    await clock.sleep(roundTrip(rng), { signal })
    this.#peak = Math.max(this.#peak, ++this.#taken)
    return new DirectLoop(this.#parts, there, ++this.#number)
  }

  release(): void {
    this.#taken--
  }
}

class DirectLoop implements Work {
  readonly number: number
  readonly #parts: DirectParts
  readonly #there: Reachable
  readonly #sinceMs: number

  constructor(parts: DirectParts, there: Reachable, number: number) {
    this.#parts = parts
    this.#there = there
    this.#sinceMs = there.sinceMs
    this.number = number
  }

  /** The same run of the node as when the loop was built. */
  get open(): boolean {
    return this.#there.up && this.#there.sinceMs === this.#sinceMs
  }

  async ask(request: Pieces, { signal }: AskOptions): Promise<Uint8Array> {
    signal.throwIfAborted()
    const { clock, rng } = this.#parts
    if (rng.unit() < LOST) return this.#stall(signal)
    await clock.sleep(roundTrip(rng) + lengthOf(request) / BYTES_PER_MS, { signal })
    if (!this.open) return this.#stall(signal)
    const { status, body } = await this.#there.apex.answer(concat(...piecesOf(request)), CALL, PORT)
    if (!this.open) return this.#stall(signal)
    return concat(...piecesOf(hopReplyPieces(status, body)))
  }

  async #stall(signal: AbortSignal): Promise<never> {
    await this.#parts.clock.sleep(STALLED_MS, { signal })
    throw new OverlayError('unreachable', 'CIRCUIT_ENDED', 'The loop is no longer open.')
  }

  join(): never {
    throw new Error('nothing is joined here')
  }
}

function roundTrip(rng: Rng): number {
  const [from, to] = ROUND_TRIP_MS
  return Math.round(from + rng.unit() * (to - from))
}

const CALL = { onEnd: null, parked: () => {} }
const PORT = { attach: () => false }
