/**
 * One message each way on one stream: length (u32), message, end of direction. What all protocols between an origin and a hop are
 * made of. Lengths are bounded before anything is allocated. Spec: SPEC.md §5.3.
 */
import { le32, lengthOf, type Pieces, piecesOf, readU32 } from '../bytes/index.ts'
import type { MuxStream, StreamEvents } from './stream-state.ts'

/** Longest message: an answer with all variants of a root slot. Whoever expects less refuses more in `onLength`. A test holds it to the wire's limits. */
export const MESSAGE_BYTES_MAX = 136 * 1024

const LENGTH_BYTES = 4

/** Writes `message` and ends the direction. Its bytes must not change until they were sent. */
export function sendMessage(stream: MuxStream, message: Pieces): void {
  stream.write(le32(lengthOf(message)))
  for (const piece of piecesOf(message)) stream.write(piece)
  stream.end()
}

export interface MessageEvents {
  /** Asked once, when the length is known, before memory is taken. `false` refuses it, and `onFail` follows. */
  onLength?(bytes: number): boolean
  /** Memory for a message of that length, if not fresh; whoever hears `onMessage` or `onFail` gives it back. */
  allocate?(bytes: number): Uint8Array
  /** The whole message; owned by the callee. */
  onMessage(message: Uint8Array): void
  /** It will not come: too long, cut short, refused or reset. Nothing follows. */
  onFail(code: number | null): void
}

/** Collects one message from a stream. */
export class MessageReader implements StreamEvents {
  readonly #events: MessageEvents
  readonly #head = new Uint8Array(LENGTH_BYTES)
  #message: Uint8Array | null = null
  #got = 0
  #over = false
  /** Set right after the stream is known; used to give credit back. */
  stream: MuxStream | null = null

  constructor(events: MessageEvents) {
    this.#events = events
  }

  onData(bytes: Uint8Array, at: number, length: number): void {
    this.stream?.consumed(length)
    if (this.#over) return
    const end = at + length
    while (at < end && this.#message === null) {
      this.#head[this.#got++] = bytes[at++]!
      if (this.#got === LENGTH_BYTES && !this.#begin(readU32(this.#head, 0))) return
    }
    if (this.#message === null) return
    if (this.#got + (end - at) > this.#message.length) return this.#fail(null)
    this.#message.set(bytes.subarray(at, end), this.#got)
    this.#got += end - at
  }

  #begin(length: number): boolean {
    if (length > MESSAGE_BYTES_MAX || this.#events.onLength?.(length) === false) {
      this.#fail(null)
      return false
    }
    this.#message = this.#events.allocate?.(length) ?? new Uint8Array(length)
    this.#got = 0
    return true
  }

  #fail(code: number | null): void {
    if (this.#over) return
    this.#over = true
    this.#message = null
    this.#events.onFail(code)
  }

  onFin(): void {
    if (this.#over) return
    if (this.#message === null || this.#got !== this.#message.length) return this.#fail(null)
    this.#over = true
    this.#events.onMessage(this.#message)
    this.#message = null
  }

  onClose(code: number | null): void {
    this.#fail(code)
  }
}
