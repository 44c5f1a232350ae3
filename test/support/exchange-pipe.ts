/**
 * Two ends of an exchange with a rendezvous point between them, on a fake clock: as many payloads one way as the other (`Pairing`), a
 * bounded queue per direction that drops its oldest, a way of some length, and faults as asked: lost, doubled, late, changed payloads.
 */
import type { MonotonicMs } from '../../src/bytes/index.ts'
import type { Clock, Timer } from '../../src/runtime/index.ts'
import type { PreparedExchange } from '../../src/service/index.ts'
import { type ExchangePort, PAYLOAD_BYTES, Pairing } from '../../src/stream/index.ts'
import type { SeededRng } from './seeded-rng.ts'

export interface PipeFaults {
  /** Chance of each, 0 to 1. */
  readonly loss?: number
  readonly doubled?: number
  readonly late?: number
  readonly changed?: number
}

export interface PipeOptions {
  readonly clock: Clock
  readonly rng: SeededRng
  /** From an end to the rendezvous point, and back. Default 5. */
  readonly wayMs?: number
  /** Payloads that an end gives and takes in a millisecond; one for both, or the client's and the service's. Default 8. */
  readonly perMs?: number | readonly [number, number]
  /** Default 256. */
  readonly queuePayloads?: number
  readonly faults?: PipeFaults
  /** Sees each payload as the rendezvous point does. */
  readonly watch?: (from: 0 | 1, payload: Uint8Array) => void
}

interface Late {
  readonly due: number
  readonly payload: Uint8Array
}

class PipeEnd implements ExchangePort {
  readonly loop = 1
  readonly pairing: Pairing
  readonly queue: Uint8Array[] = []
  readonly arriving: Late[] = []
  onClosed: () => void = () => {}
  closed = false
  constructor(end: PreparedExchange, clock: Clock) {
    this.pairing = new Pairing(end, clock)
  }

  get waiting(): number {
    return this.queue.length
  }

  /** The pump looks each millisecond. */
  wake(): void {}

  close(): void {
    if (this.closed) return
    this.closed = true
    this.pairing.leave()
    this.onClosed()
  }
}

/** A rendezvous point for one pair. */
export class ExchangePipe {
  readonly #options: PipeOptions
  readonly #ends: readonly [PipeEnd, PipeEnd]
  readonly #toPoint: readonly [Late[], Late[]] = [[], []]
  #timer: Timer | null = null
  #cut = false
  /** Payloads dropped from a full queue. */
  overrun = 0
  /** Highest length of either queue. */
  highest = 0
  /** Payloads that went either way. */
  moved = 0
  /** Nothing passes, and nobody is told. */
  mute = false

  constructor(options: PipeOptions, client: PreparedExchange, service: PreparedExchange) {
    this.#options = options
    this.#ends = [new PipeEnd(client, options.clock), new PipeEnd(service, options.clock)]
    this.#ends[0].onClosed = () => this.#onLeft(1)
    this.#ends[1].onClosed = () => this.#onLeft(0)
    client.attach(this.#ends[0])
    service.attach(this.#ends[1])
    this.#tick()
  }

  /** The exchange ends for both. */
  cut(): void {
    if (this.#cut) return
    this.#cut = true
    this.#timer?.cancel()
    for (const end of this.#ends) if (!end.closed) end.pairing.onGone()
  }

  get over(): boolean {
    return this.#cut
  }

  #onLeft(other: 0 | 1): void {
    if (this.#cut) return
    this.#cut = true
    this.#timer?.cancel()
    // As a loop that is told, but later: nothing of a close is seen at once.
    this.#options.clock.setTimer(this.#options.wayMs ?? 5, () => {
      if (!this.#ends[other].closed) this.#ends[other].pairing.onGone()
    })
  }

  #tick(): void {
    for (const from of [0, 1] as const) this.#give(from)
    for (const from of [0, 1] as const) this.#meet(from)
    for (const to of [0, 1] as const) this.#take(to)
    if (!this.#cut) this.#timer = this.#options.clock.setTimer(1, () => this.#tick())
  }

  #perMs(end: 0 | 1): number {
    const { perMs = 8 } = this.#options
    return typeof perMs === 'number' ? perMs : perMs[end]
  }

  #give(from: 0 | 1): void {
    const { clock, wayMs = 5, watch } = this.#options
    const end = this.#ends[from]
    const most = this.#perMs(from)
    for (let given = 0; given < most && !this.#cut && end.pairing.due; given++) {
      const payload = new Uint8Array(PAYLOAD_BYTES + 6)
      end.pairing.take(payload, 3)
      const own = payload.slice(3, 3 + PAYLOAD_BYTES)
      watch?.(from, own)
      this.#toPoint[from].push({ due: clock.monotonicMs() + wayMs, payload: own })
    }
  }

  #meet(from: 0 | 1): void {
    const { clock, queuePayloads = 256, rng, faults = {} } = this.#options
    const waiting = this.#toPoint[from]
    const { queue } = this.#ends[from === 0 ? 1 : 0]
    while (waiting.length > 0 && waiting[0]!.due <= clock.monotonicMs()) {
      const { payload } = waiting.shift()!
      if (this.mute || rng.unit() < (faults.loss ?? 0)) continue
      if (rng.unit() < (faults.changed ?? 0)) payload[rng.below(payload.length)]! ^= 1 + rng.below(255)
      const copies = rng.unit() < (faults.doubled ?? 0) ? 2 : 1
      for (let copy = 0; copy < copies; copy++) {
        if (queue.length >= queuePayloads) {
          queue.shift()
          this.overrun++
        }
        if (rng.unit() < (faults.late ?? 0)) queue.splice(Math.max(0, queue.length - 1 - rng.below(6)), 0, payload)
        else queue.push(payload)
      }
      this.highest = Math.max(this.highest, queue.length)
    }
  }

  #take(to: 0 | 1): void {
    const { clock, wayMs = 5 } = this.#options
    const end = this.#ends[to]
    const most = this.#perMs(to)
    for (let taken = 0; taken < most && end.queue.length > 0; taken++) {
      end.arriving.push({ due: clock.monotonicMs() + wayMs, payload: end.queue.shift()! })
    }
    while (!this.#cut && end.arriving.length > 0 && end.arriving[0]!.due <= (clock.monotonicMs() as MonotonicMs)) {
      this.moved++
      end.pairing.onPayload(end.arriving.shift()!.payload, 0)
    }
  }
}
