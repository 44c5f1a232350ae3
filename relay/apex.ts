/**
 * What a hop does when an origin addresses it: one request per stream, one answer, always in a later turn. Knows which services there
 * are; each service knows its own messages. Memory that all origins together may hold here is bounded, and the newest request is the one
 * refused. Nothing is logged or counted per request. Spec: SPEC.md §5.3.
 */
import type { Clock } from '../src/runtime/index.ts'
import {
  MESSAGE_BYTES_MAX,
  MessageReader,
  type MuxStream,
  ResetCode,
  type StreamEvents,
  sendMessage,
} from '../src/stream/index.ts'
import { encodeHopReply, HOP_REQUEST_BYTES_MAX, type HopReply, type HopStatus, parseHopRequest } from '../src/wire/index.ts'

/** Answers one request of its kind. Never rejects; bounds its own work. */
export type ApexService = (request: Uint8Array) => Promise<{ readonly status: HopStatus; readonly body: Uint8Array }>

export interface ApexServices {
  readonly store: ApexService
}

/** Bytes of requests and answers that all circuits together may hold. */
export const APEX_BYTES_MAX = 256 * 1024 * 1024
/** What one stream is charged with: its request, then its answer. */
const STREAM_CHARGE_BYTES = MESSAGE_BYTES_MAX

export class Apex {
  readonly #services: ApexServices
  readonly #clock: Clock
  #held = 0

  constructor(deps: { readonly services: ApexServices; readonly clock: Clock }) {
    this.#services = deps.services
    this.#clock = deps.clock
  }

  /** A new stream of an origin's: who hears it, or the reset code that refuses it. */
  accept(stream: MuxStream): StreamEvents | number {
    if (this.#held + STREAM_CHARGE_BYTES > APEX_BYTES_MAX) return ResetCode.BUSY
    return new ApexStream(this, stream)
  }

  hold(): void {
    this.#held += STREAM_CHARGE_BYTES
  }

  release(): void {
    this.#held -= STREAM_CHARGE_BYTES
  }

  /** The answer to `message`; begins in a later turn than the one that brought it. */
  async answer(message: Uint8Array): Promise<HopReply> {
    await new Promise<void>((resolve) => this.#clock.nextTurn(resolve))
    const request = parseHopRequest(message)
    if (request === null) return { status: 'bad-request', body: new Uint8Array(0) }
    if (request.kind === 'ping') return { status: 'ok', body: new Uint8Array(request.answerBytes) }
    return this.#services.store(request.request)
  }
}

/** One stream at the apex, from its first byte until its answer was taken or it was reset. */
class ApexStream implements StreamEvents {
  readonly #apex: Apex
  readonly #stream: MuxStream
  readonly #reader: MessageReader
  #gone = false

  constructor(apex: Apex, stream: MuxStream) {
    this.#apex = apex
    this.#stream = stream
    apex.hold()
    this.#reader = new MessageReader({
      onLength: (bytes) => bytes <= HOP_REQUEST_BYTES_MAX,
      onMessage: (message) => void this.#answer(message),
      onFail: () => this.#fail(),
    })
    this.#reader.stream = stream
  }

  async #answer(message: Uint8Array): Promise<void> {
    const reply = await this.#apex.answer(message)
    if (!this.#gone) sendMessage(this.#stream, encodeHopReply(reply))
  }

  #fail(): void {
    if (this.#gone) return
    this.#stream.reset(ResetCode.REFUSED)
    this.#end()
  }

  #end(): void {
    if (this.#gone) return
    this.#gone = true
    this.#apex.release()
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
