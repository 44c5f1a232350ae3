/**
 * What a hop does when an origin addresses it: one request per stream, one answer, always in a later turn. Knows which services there
 * are; each service knows its own messages. Memory that all origins together may hold here is bounded, and the newest request is the one
 * refused. Nothing is logged or counted per request. Spec: SPEC.md §5.3.
 */
import { lengthOf, type Pieces } from '../src/bytes/index.ts'
import type { Clock, Timer } from '../src/runtime/index.ts'
import { MessageReader, type MuxStream, ResetCode, type StreamEvents, sendMessage } from '../src/stream/index.ts'
import { HOP_REQUEST_BYTES_MAX, type HopStatus, hopReplyPieces, PING_BYTES_MAX, parseHopRequest } from '../src/wire/index.ts'

/** Answers one request of its kind, borrowed until the promise settles. Never rejects; bounds its own work. */
export type ApexService = (request: Uint8Array) => Promise<ApexAnswer>

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
  readonly #clock: Clock
  readonly #buffers: Uint8Array[] = []
  #held = 0

  constructor(deps: { readonly services: ApexServices; readonly clock: Clock }) {
    this.#services = deps.services
    this.#clock = deps.clock
  }

  get clock(): Clock {
    return this.#clock
  }

  /** A new stream of an origin's: who hears it, or why it is refused. */
  accept(stream: MuxStream): StreamEvents | number {
    return this.hold(STREAM_BYTES) ? new ApexStream(this, stream) : ResetCode.BUSY
  }

  /** Charges `bytes` to the memory of all; `false`: there is not as much left. */
  hold(bytes: number): boolean {
    if (this.#held + bytes > APEX_BYTES_MAX) return false
    this.#held += bytes
    return true
  }

  release(bytes: number): void {
    this.#held -= bytes
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
  async answer(message: Uint8Array): Promise<ApexAnswer> {
    await new Promise<void>((resolve) => this.#clock.nextTurn(resolve))
    const request = parseHopRequest(message)
    if (request === null) return { status: 'bad-request', body: new Uint8Array(0) }
    if (request.kind === 'ping') return { status: 'ok', body: PING_ANSWER.subarray(0, request.answerBytes) }
    const service = request.kind === 'join' ? undefined : this.#services[request.kind]
    if (service === undefined || request.kind === 'join') return { status: 'refused', body: new Uint8Array(0) }
    try {
      return await service(request.request)
    } catch {
      return { status: 'refused', body: new Uint8Array(0) } // a service never rejects; if one does, it costs this request only
    }
  }
}

/** One stream at the apex, from its first byte until its answer was taken or it was reset. Charged with itself and its request, then its answer. */
class ApexStream implements StreamEvents {
  readonly #apex: Apex
  readonly #stream: MuxStream
  readonly #reader: MessageReader
  #late: Timer
  /** For its message of now, besides `STREAM_BYTES`. */
  #heldBytes = 0
  #gone = false

  constructor(apex: Apex, stream: MuxStream) {
    this.#apex = apex
    this.#stream = stream
    this.#reader = new MessageReader({
      onLength: (bytes) => bytes <= HOP_REQUEST_BYTES_MAX && this.#hold(bytes),
      allocate: (bytes) => apex.takeBuffer(bytes),
      onMessage: (message) => void this.#answer(message),
      onFail: () => this.#refuse(ResetCode.REFUSED),
    })
    this.#reader.stream = stream
    this.#late = apex.clock.setTimer(REQUEST_TIMEOUT_MS, () => this.#refuse(ResetCode.REFUSED))
  }

  async #answer(message: Uint8Array): Promise<void> {
    this.#late.cancel()
    const { status, body } = await this.#apex.answer(message)
    this.#apex.giveBuffer(message)
    if (this.#gone) return
    this.#apex.release(this.#heldBytes)
    this.#heldBytes = 0
    if (!this.#hold(lengthOf(body))) return this.#refuse(ResetCode.BUSY)
    this.#late = this.#apex.clock.setTimer(ANSWER_TIMEOUT_MS, () => this.#refuse(ResetCode.CANCELLED))
    sendMessage(this.#stream, hopReplyPieces(status, body))
  }

  #hold(bytes: number): boolean {
    if (!this.#apex.hold(bytes)) return false
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
    this.#apex.release(STREAM_BYTES + this.#heldBytes)
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
