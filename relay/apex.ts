/**
 * What a hop does when an origin addresses it: one request per stream, one answer, always in a later turn. Knows which services there
 * are; each service knows its own messages. Memory that all origins together may hold here is bounded, and shared among the links that their
 * circuits come in by. At a limit what has waited longest goes, of the link that is at its limit, or else of the one that has most: it waits for
 * bytes that do not come or for somebody who does not take them. Nothing is logged or counted per request. Spec: SPEC.md §5.3.
 */
import { lengthOf, type Pieces } from '../src/bytes/index.ts'
import { type Clock, type Timer, TokenBucket } from '../src/runtime/index.ts'
import {
  MessageReader,
  type MuxStream,
  type PayloadFlow,
  ResetCode,
  type StreamEvents,
  sendMessage,
} from '../src/stream/index.ts'
import {
  HOP_REQUEST_BYTES_MAX,
  type HopStatus,
  hopReplyPieces,
  PING_BYTES_MAX,
  parseHopRequest,
  type Twin,
} from '../src/wire/index.ts'
import { type Claimant, FairShare } from './fair-share.ts'

/** Answers one request of its kind, borrowed until the promise settles or `call.parked()`. Never rejects; bounds its own work. */
export type ApexService = (request: Uint8Array, call: ApexCall) => Promise<ApexAnswer>

/** What a service that lets its asker wait must know of the request. */
export interface ApexCall {
  /** Called once if nobody waits for the answer any more: the stream was reset, or its circuit ended. Set by the service. */
  onEnd: (() => void) | null
  /** The service has read the request and does not touch its bytes again, though the answer may take long. */
  parked(): void
  /** Whom what the request takes counts for. Absent: this node itself. */
  readonly claimant?: Claimant
}

/** The circuit that a request came on, for who moves payloads through it. */
export interface HopPort {
  /** Exchanges that it may have at once. Default 1, which is never given to another. */
  readonly exchanges?: number
  /**
   * Payloads of the exchange with this number come from and go to `flow` from now on. `false`: the circuit has ended, or there is such an
   * exchange already and it is the only one.
   */
  attach(flow: PayloadFlow, number?: number): boolean
  /** The link that the circuit comes in by. Absent: it is this node's own. */
  readonly claimant?: object
  /** Makes that link pay for work that is done later than in its turn. Absent: this node's own. */
  bill?(ms: number): void
  /** Becomes a member of a twin of the circuit (SPEC.md §4.7). `false`: it does not. Absent: the circuit can have none. */
  readonly twin?: ((wish: Twin) => boolean) | undefined
}

/** Joins circuits in pairs. Bounds its own work. */
export interface JoinService {
  /** `cookie`: 32 bytes; `exchange`: its number on the circuit. Answers at once; whether another comes shows only in its payloads. */
  join(cookie: Uint8Array, port: HopPort, exchange: number): HopStatus
}

export interface ApexAnswer {
  readonly status: HopStatus
  /** Must not change any more. */
  readonly body: Pieces
}

export interface ApexServices {
  readonly store: ApexService
  readonly record?: ApexService
  readonly introduction?: ApexService
}

/** Bytes of requests and answers that all circuits together may hold. */
export const APEX_BYTES_MAX = 256 * 1024 * 1024
/** What circuits of one link may hold of it. */
export const APEX_LINK_BYTES_MAX = APEX_BYTES_MAX / 4
/** Requests that circuits of one link may bring in a second, and at once: each costs as much as the passing on of many cells. */
export const REQUESTS_PER_SECOND = 2_000
export const REQUESTS_BURST = 4_000
/** What a request is billed to its link for: the answer comes in a later turn, and its work with it. */
export const REQUEST_MS = 0.1
/** Streams given up at most to make room for one request. */
const EVICTIONS_MAX = 64
/** What a stream is charged with besides its messages: its state here, and in the mux. */
export const STREAM_BYTES = 2048
/** A request that is not whole by then is refused: half ones must not fill the memory of all. */
export const REQUEST_TIMEOUT_MS = 30_000
/** An answer that was not taken by then is dropped: no origin waits as long, and what nobody fetches must not fill the memory of all. */
export const ANSWER_TIMEOUT_MS = 30_000
/** Requests from this length on use memory again; so many pieces of it are kept. */
const POOLED_FROM_BYTES = 32 * 1024
const BUFFERS_MAX = 64

/** What pings are answered with; never written. */
const PING_ANSWER = new Uint8Array(PING_BYTES_MAX)

export class Apex {
  readonly #services: ApexServices
  readonly #rendezvous: JoinService | null
  readonly #clock: Clock
  readonly #buffers: Uint8Array[] = []
  readonly #memory = new FairShare({ total: APEX_BYTES_MAX, each: APEX_LINK_BYTES_MAX })
  /** Streams of each link that wait for their origin, for bytes or to be taken: who has waited longest comes first. */
  readonly #waiting = new Map<object, Set<ApexStream>>()
  /** By link; gone with it. */
  readonly #rates = new WeakMap<object, TokenBucket>()

  constructor(deps: { readonly services: ApexServices; readonly rendezvous?: JoinService; readonly clock: Clock }) {
    this.#services = deps.services
    this.#rendezvous = deps.rendezvous ?? null
    this.#clock = deps.clock
  }

  get clock(): Clock {
    return this.#clock
  }

  /** What all circuits hold now. */
  get heldBytes(): number {
    return this.#memory.taken
  }

  /** A new stream of an origin's on the circuit `port`: who hears it, or why it is refused. */
  accept(stream: MuxStream, port: HopPort): StreamEvents | number {
    if (!this.#inRate(port.claimant ?? null)) return ResetCode.BUSY
    if (!this.hold(STREAM_BYTES, port.claimant)) return ResetCode.BUSY
    port.bill?.(REQUEST_MS)
    return new ApexStream(this, stream, port)
  }

  #inRate(claimant: Claimant): boolean {
    if (claimant === null) return true
    const now = this.#clock.monotonicMs()
    let rate = this.#rates.get(claimant)
    if (rate === undefined) {
      rate = new TokenBucket(REQUESTS_PER_SECOND, REQUESTS_BURST, now)
      this.#rates.set(claimant, rate)
    }
    return rate.take(now)
  }

  /** Charges `bytes` to the memory of all, and to `claimant`'s part. `false`: there is not as much left, and nothing that may go for it. */
  hold(bytes: number, claimant: Claimant = null): boolean {
    for (let evictions = 0; !this.#memory.take(claimant, bytes); evictions++) {
      const from = this.#memory.fits(bytes) ? claimant : this.#memory.fullest
      const [longest] = (from !== null && this.#waiting.get(from)) || []
      if (longest === undefined || evictions >= EVICTIONS_MAX) return false
      longest.evict()
    }
    return true
  }

  release(bytes: number, claimant: Claimant = null): void {
    this.#memory.give(claimant, bytes)
  }

  /** `stream` waits for its origin from now on, behind all that do already. Called by its streams. */
  waits(stream: ApexStream, claimant: Claimant): void {
    if (claimant === null) return
    let streams = this.#waiting.get(claimant)
    if (streams === undefined) {
      streams = new Set()
      this.#waiting.set(claimant, streams)
    }
    streams.delete(stream)
    streams.add(stream)
  }

  /** It waits no more. */
  waitsNoMore(stream: ApexStream, claimant: Claimant): void {
    const streams = claimant === null ? undefined : this.#waiting.get(claimant)
    if (streams?.delete(stream) && streams.size === 0) this.#waiting.delete(claimant!)
  }

  /** Memory for a request: shares come by the hundred, and fresh memory for each keeps the collector busy. */
  takeBuffer(bytes: number): Uint8Array {
    if (bytes < POOLED_FROM_BYTES) return new Uint8Array(bytes)
    return (this.#buffers.pop() ?? new Uint8Array(HOP_REQUEST_BYTES_MAX)).subarray(0, bytes)
  }

  /** Takes back what `takeBuffer` gave, when nobody reads it any more. */
  giveBuffer(message: Uint8Array): void {
    if (message.byteLength < POOLED_FROM_BYTES || this.#buffers.length >= BUFFERS_MAX) return
    this.#buffers.push(new Uint8Array(message.buffer))
  }

  /** The answer to `message`; begins in a later turn than the one that brought it. */
  async answer(message: Uint8Array, call: ApexCall, port: HopPort): Promise<ApexAnswer> {
    await new Promise<void>((resolve) => this.#clock.nextTurn(resolve))
    const request = parseHopRequest(message)
    if (request === null) return { status: 'bad-request', body: new Uint8Array(0) }
    if (request.kind === 'ping') return { status: 'ok', body: PING_ANSWER.subarray(0, request.answerBytes) }
    if (request.kind === 'join') {
      return { status: this.#rendezvous?.join(request.cookie, port, request.exchange) ?? 'refused', body: new Uint8Array(0) }
    }
    if (request.kind === 'twin') {
      return { status: port.twin?.(request) === true ? 'ok' : 'refused', body: new Uint8Array(0) }
    }
    const service = this.#services[request.kind]
    if (service === undefined) return { status: 'refused', body: new Uint8Array(0) }
    try {
      return await service(request.request, call)
    } catch {
      return { status: 'refused', body: new Uint8Array(0) } // a service never rejects; if one does, it costs this request only
    }
  }
}

/** One stream at the apex, from its first byte until its answer was taken or it was reset. Charged with itself and its request, then its answer. */
class ApexStream implements StreamEvents, ApexCall {
  onEnd: (() => void) | null = null
  readonly #apex: Apex
  readonly #stream: MuxStream
  readonly #port: HopPort
  readonly claimant: Claimant
  /** The request, as long as its memory is in use. */
  #request: Uint8Array | null = null
  readonly #reader: MessageReader
  #late: Timer
  /** For its message of now, besides `STREAM_BYTES`. */
  #heldBytes = 0
  #gone = false

  constructor(apex: Apex, stream: MuxStream, port: HopPort) {
    this.#apex = apex
    this.#stream = stream
    this.#port = port
    this.claimant = port.claimant ?? null
    this.#reader = new MessageReader({
      onLength: (bytes) => {
        if (bytes > HOP_REQUEST_BYTES_MAX) return false
        this.#apex.waits(this, this.claimant) // it has begun just now
        return this.#hold(bytes)
      },
      allocate: (bytes) => apex.takeBuffer(bytes),
      onMessage: (message) => void this.#answer(message),
      onFail: () => this.#refuse(ResetCode.REFUSED),
    })
    this.#reader.stream = stream
    this.#late = apex.clock.setTimer(REQUEST_TIMEOUT_MS, () => this.#refuse(ResetCode.REFUSED))
    apex.waits(this, this.claimant)
  }

  /** Gives its memory to others. */
  evict(): void {
    this.#refuse(ResetCode.BUSY)
  }

  async #answer(message: Uint8Array): Promise<void> {
    this.#late.cancel()
    this.#apex.waitsNoMore(this, this.claimant)
    this.#request = message
    const { status, body } = await this.#apex.answer(message, this, this.#port)
    this.onEnd = null
    this.parked()
    if (this.#gone) return
    if (!this.#hold(lengthOf(body))) return this.#refuse(ResetCode.BUSY)
    this.#late = this.#apex.clock.setTimer(ANSWER_TIMEOUT_MS, () => this.#refuse(ResetCode.CANCELLED))
    this.#apex.waits(this, this.claimant)
    sendMessage(this.#stream, hopReplyPieces(status, body))
  }

  parked(): void {
    if (this.#request === null) return
    this.#apex.giveBuffer(this.#request)
    this.#request = null
    if (this.#gone) return // given back with the stream
    this.#apex.release(this.#heldBytes, this.claimant)
    this.#heldBytes = 0
  }

  #hold(bytes: number): boolean {
    if (!this.#apex.hold(bytes, this.claimant)) return false
    if (this.#gone) {
      // Nothing else was left to go.
      this.#apex.release(bytes, this.claimant)
      return false
    }
    this.#heldBytes = bytes
    return true
  }

  #refuse(code: number): void {
    if (this.#gone) return
    this.#stream.reset(code)
    this.#end()
  }

  #end(): void {
    if (this.#gone) return
    this.#gone = true
    this.#late.cancel()
    this.#apex.waitsNoMore(this, this.claimant)
    this.#apex.release(STREAM_BYTES + this.#heldBytes, this.claimant)
    const { onEnd } = this
    this.onEnd = null
    onEnd?.()
  }

  onData(bytes: Uint8Array, at: number, length: number): void {
    this.#reader.onData(bytes, at, length)
  }

  onFin(): void {
    this.#reader.onFin()
  }

  onClose(): void {
    this.#end()
  }
}
