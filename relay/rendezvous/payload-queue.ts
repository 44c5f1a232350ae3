/**
 * Payloads that wait at a rendezvous point for a cell to ride in: a ring per direction over memory that all directions share. Never
 * back-pressure: where there is no room the oldest payload goes, and the two ends repeat it (SPEC.md §11.1). Nothing is allocated for a
 * payload but its copy's memory, which is used again. Beyond a few that it always may, no direction has more waiting than is left for all
 * others together, so that many that nobody takes from cannot stop those that flow (dynamic thresholds: Choudhury and Hahne 1998).
 */
import { PAYLOAD_BYTES } from '../../src/stream/index.ts'

// Implementation constants.
/** Payloads that all exchanges of a node may have waiting: 64 MiB. At the limit a direction's own oldest goes, or else the new one. */
export const PAYLOADS_MAX = 32_768
/** Payloads that a direction may have waiting whatever others have: with all pairs there are, 64 MiB more. */
export const RESERVED_PAYLOADS = 4
/** Payloads' worth of memory kept for later: 4 MiB. */
const SPARE_MAX = 2_048

/** What memory for requests, answers and payloads is charged to. */
export interface ApexMemory {
  /** `false`: there is not as much left. */
  hold(bytes: number): boolean
  release(bytes: number): void
}

/** Memory for payloads of all exchanges of a node. */
export class PayloadPool {
  readonly #memory: ApexMemory
  readonly #max: number
  readonly #spare: Uint8Array[] = []
  #used = 0

  constructor(memory: ApexMemory, max = PAYLOADS_MAX) {
    this.#memory = memory
    this.#max = max
  }

  /** Payloads that wait now, over all exchanges. */
  get used(): number {
    return this.#used
  }

  /** Memory for one payload more of a direction that has `held`, with arbitrary content, or `null`. */
  take(held: number): Uint8Array | null {
    if (held >= RESERVED_PAYLOADS && held >= this.#max - this.#used) return null
    if (!this.#memory.hold(PAYLOAD_BYTES)) return null
    this.#used++
    return this.#spare.pop() ?? new Uint8Array(PAYLOAD_BYTES)
  }

  give(payload: Uint8Array): void {
    this.#used--
    this.#memory.release(PAYLOAD_BYTES)
    if (this.#spare.length < SPARE_MAX) this.#spare.push(payload)
  }
}

/** One direction's waiting payloads, oldest first. */
export class PayloadQueue {
  readonly #pool: PayloadPool
  readonly #ring: (Uint8Array | null)[]
  #head = 0
  #length = 0

  constructor(pool: PayloadPool, most: number) {
    this.#pool = pool
    this.#ring = new Array<Uint8Array | null>(most).fill(null)
  }

  get length(): number {
    return this.#length
  }

  /** Copies the payload at `bytes[at …]` to the end; of more than `most` the oldest goes. */
  push(bytes: Uint8Array, at: number, most: number): void {
    let payload = this.#length < most ? this.#pool.take(this.#length) : null
    if (payload === null) {
      if (this.#length === 0) return
      payload = this.#shift()
    }
    payload.set(bytes.subarray(at, at + PAYLOAD_BYTES))
    this.#ring[(this.#head + this.#length++) % this.#ring.length] = payload
  }

  /** Writes the oldest at `into[at …]` and forgets it. Not for an empty queue. */
  take(into: Uint8Array, at: number): void {
    const payload = this.#shift()
    into.set(payload, at)
    this.#pool.give(payload)
  }

  clear(): void {
    while (this.#length > 0) this.#pool.give(this.#shift())
  }

  #shift(): Uint8Array {
    const payload = this.#ring[this.#head]
    if (payload === null || payload === undefined) throw new Error('an empty queue was asked for a payload')
    this.#ring[this.#head] = null
    this.#head = (this.#head + 1) % this.#ring.length
    this.#length--
    return payload
  }
}
