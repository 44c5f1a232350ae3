/**
 * One stream of a session: a byte flow in two directions that knows what it has to send, what it may send, and what came. Frames are written
 * and read by the session; this file decides about one stream alone. No I/O, no clock.
 *
 * Threats: a peer that sends past its credit, past its own end, or two different ends (a fault, the session ends); a peer that does not
 * read (what this end holds is bounded by what `write` takes). Spec: SPEC.md §11.6.
 */
import { STREAM_HEADER_BYTES, writeStreamHeader } from './frames.ts'
import { ReceiveBuffer } from './receive-buffer.ts'
import { SendBuffer } from './send-buffer.ts'
import { Sent, type SentPayload } from './sent.ts'
import { type SessionStream, type SessionStreamEvents, StreamReset } from './types.ts'

// Specification constants.
/** Credit that each new stream has, in both directions. */
export const STREAM_CREDIT_BYTES = 256 * 1024
/** What a stream's credit may grow to. */
export const STREAM_CREDIT_MAX_BYTES = 1024 * 1024

/** What a stream asks of its session. */
export interface StreamOwner {
  /** Bytes that all streams together may still send for the first time. */
  readonly sendRoom: number
  /** Bytes that one stream may hold before `write` says no. */
  readonly heldMaxBytes: number
  /** The stream may have bytes or an end to send. */
  onReady(stream: Stream): void
  /** The stream has a frame other than STREAM to send. */
  onControl(stream: Stream): void
  /** Bytes sent for the first time. */
  onSentFresh(bytes: number): void
  /** The highest offset that came grew by `bytes`. `false`: more than the session gave credit for. */
  onReceived(bytes: number): boolean
  /** Bytes are no longer held here. */
  onConsumed(bytes: number): void
  /** Nothing more is to be said or heard about the stream. */
  onSettled(stream: Stream): void
}

export class Stream implements SessionStream {
  readonly id: number
  port: number
  events: SessionStreamEvents | null
  readonly #owner: StreamOwner
  /** Whether this end opened it. */
  readonly #opener: boolean
  readonly #send = new SendBuffer()
  readonly #ahead = new ReceiveBuffer()
  /** Where the session keeps it: see `Session`. */
  queue: 'none' | 'ready' | 'starved' = 'none'
  inControl = false

  // Frames that are due.
  openDue = false
  openedDue = false
  creditDue = false
  resetDue = false

  #accepted = false
  #openedGiven = false
  #sendLimit = STREAM_CREDIT_BYTES
  #finQueued = false
  #finOut = false
  #finAcked = false
  #blocked = false

  /** One behind the last byte that came, with gaps and without. */
  #highest = 0
  #delivered = 0
  /** Where the peer's direction ends; −1: not known yet. */
  #final = -1
  #finGiven = false
  #consumed = 0
  #advertised = STREAM_CREDIT_BYTES
  #window = STREAM_CREDIT_BYTES
  #creditAt = 0

  /** −1: not reset by this end. */
  #resetCode = -1
  #resetAcked = false
  /** Nothing of the peer's direction is wanted any more. */
  #deaf = false
  #closed = false
  #settled = false

  /** `events` `null`: nobody listens yet, since the OPEN is still on its way. */
  constructor(owner: StreamOwner, id: number, port: number, events: SessionStreamEvents | null) {
    this.#owner = owner
    this.id = id
    this.port = port
    this.events = events
    this.#opener = events !== null
  }

  get heldBytes(): number {
    return this.#send.held
  }

  /** Bytes held ahead of a gap. */
  get aheadBytes(): number {
    return this.#ahead.held
  }

  /** Memory for what came and was not consumed yet. */
  get keptBytes(): number {
    return this.#ahead.memoryBytes + (this.#deaf ? 0 : this.#delivered - this.#consumed)
  }

  /** Whether the OPEN came, or the stream is beyond caring. */
  get known(): boolean {
    return this.port !== 0 || this.#deaf
  }

  get resetCode(): number {
    return this.#resetCode
  }

  get sentBytes(): number {
    return this.#send.sent
  }

  get advertised(): number {
    return this.#advertised
  }

  // The owner's side ----------------------------------------------------------------------------------------------------------------

  write(chunk: Uint8Array): boolean {
    if (this.#finQueued || this.#resetCode >= 0 || this.#closed || chunk.length === 0) return true
    this.#send.append(chunk)
    this.#owner.onReady(this)
    if (this.#send.held < this.#owner.heldMaxBytes) return true
    this.#blocked = true
    return false
  }

  end(): void {
    if (this.#finQueued || this.#resetCode >= 0 || this.#closed) return
    this.#finQueued = true
    this.#owner.onReady(this)
  }

  reset(code: StreamReset): void {
    this.#closed = true
    this.#hush()
    if (this.#settled || this.#resetCode >= 0) return
    this.#sendReset(code)
    this.#settle()
  }

  accept(): void {
    if (this.#accepted || this.#resetCode >= 0 || this.#settled) return
    this.#accepted = true
    this.openedDue = true
    this.#owner.onControl(this)
  }

  consumed(bytes: number): void {
    // What is deaf was given back at once.
    if (this.#deaf) return
    const taken = Math.min(bytes, this.#delivered - this.#consumed)
    this.#consumed += taken
    this.#owner.onConsumed(taken)
    if (this.#final >= 0 || this.#settled) return
    if (!this.creditDue && this.#advertised - this.#consumed <= this.#window / 2) {
      this.creditDue = true
      this.#owner.onControl(this)
    }
  }

  // Sending -------------------------------------------------------------------------------------------------------------------------

  /** Whether a STREAM frame could go now; `'starved'`: only if the session had credit. */
  get sendable(): boolean | 'starved' {
    if (this.#resetCode >= 0 || this.#settled) return false
    if (this.#send.hasLost) return true
    if (this.#send.sent < this.#send.end) {
      if (this.#send.sent >= this.#sendLimit) return false
      return this.#owner.sendRoom > 0 || 'starved'
    }
    return this.#finQueued && !this.#finOut
  }

  /** Writes STREAM frames into `into[at … end)` and notes them. Returns where they end. */
  fill(into: Uint8Array, at: number, end: number, sent: SentPayload): number {
    while (end - at > STREAM_HEADER_BYTES && this.sendable === true) {
      const fresh = !this.#send.hasLost
      const offset = this.#send.nextOffset
      const may = Math.min(this.#sendLimit - this.#send.sent, this.#owner.sendRoom)
      const length = this.#send.next(end - at - STREAM_HEADER_BYTES, may)
      if (fresh) this.#owner.onSentFresh(length)
      const fin = this.#finQueued && !this.#finOut && offset + length === this.#send.end
      at = writeStreamHeader(into, at, this.id, offset, length, fin)
      if (length > 0) {
        this.#send.copy(offset, length, into, at)
        at += length
        sent.note(Sent.BYTES, this, offset, offset + length)
      }
      if (fin) {
        this.#finOut = true
        sent.note(Sent.FIN, this)
      }
    }
    return at
  }

  onBytesAcked(from: number, to: number): void {
    if (this.#resetCode >= 0) return
    this.#send.onAcked(from, to)
    if (this.#blocked && this.#send.held <= this.#owner.heldMaxBytes / 2) {
      this.#blocked = false
      if (!this.#closed) this.events?.onDrain()
    }
    this.#settle()
  }

  onBytesLost(from: number, to: number): void {
    if (this.#resetCode >= 0) return
    this.#send.onLost(from, to)
    this.#owner.onReady(this)
  }

  onFinAcked(): void {
    this.#finAcked = true
    this.#settle()
  }

  onFinLost(): void {
    this.#finOut = false
    this.#owner.onReady(this)
  }

  onResetAcked(): void {
    this.#resetAcked = true
    this.#settle()
  }

  /** Sends a frame again that was lost. */
  again(kind: Sent): void {
    if (this.#settled) return
    if (kind === Sent.OPEN) this.openDue = true
    else if (kind === Sent.OPENED) this.openedDue = true
    else if (kind === Sent.RESET) this.resetDue = true
    else if (kind === Sent.STREAM_CREDIT && this.#final < 0 && !this.#deaf) this.creditDue = true
    this.#owner.onControl(this)
  }

  onCredit(limit: number): void {
    if (limit <= this.#sendLimit) return
    this.#sendLimit = limit
    this.#owner.onReady(this)
  }

  /** The limit to tell the peer now. Grows the window if the peer uses it up within two round trips. */
  newCredit(now: number, roundTripMs: number): number {
    this.creditDue = false
    if (now - this.#creditAt < 2 * roundTripMs) this.#window = Math.min(STREAM_CREDIT_MAX_BYTES, 2 * this.#window)
    this.#creditAt = now
    this.#advertised = Math.max(this.#advertised, this.#consumed + this.#window)
    return this.#advertised
  }

  // Receiving -----------------------------------------------------------------------------------------------------------------------

  /** The service has taken the stream: it says so, or sends something. */
  onOpened(): void {
    if (!this.#opener || this.#openedGiven || this.#closed) return
    this.#openedGiven = true
    this.events?.onOpened?.()
  }

  /** A STREAM frame. `false`: a fault of the peer. */
  onBytes(offset: number, bytes: Uint8Array, at: number, length: number, fin: boolean): boolean {
    const end = offset + length
    if (this.#final >= 0 ? end > this.#final || (fin && end !== this.#final) : fin && end < this.#highest) return false
    if (!this.#raise(end)) return false
    if (fin) this.#final = end
    if (!this.#openedGiven) this.onOpened()
    if (!this.#deaf && end > this.#delivered) {
      if (offset > this.#delivered || this.events === null) {
        const from = Math.max(offset, this.#delivered)
        if (!this.#ahead.put(from, bytes, at + from - offset, end - from)) return false
      } else {
        const skip = this.#delivered - offset
        this.#delivered = end
        this.events.onData(bytes, at + skip, length - skip)
        this.#deliver()
      }
    }
    if (!this.#deaf) this.#giveFin()
    this.#settle()
    return true
  }

  /** The peer's RESET. `false`: a fault. */
  onReset(code: number, finalOffset: number): boolean {
    if (this.#final >= 0 ? finalOffset !== this.#final : finalOffset < this.#highest) return false
    if (!this.#raise(finalOffset)) return false
    this.#final = finalOffset
    this.#hush()
    if (this.#resetCode < 0 && !this.#sendDone) this.#sendReset(StreamReset.CANCELLED)
    this.#close(code)
    this.#settle()
    return true
  }

  /** The OPEN came after other frames of the stream, or it is new: `events` hear what is there. */
  listen(events: SessionStreamEvents): void {
    this.events = events
    this.#deliver()
    if (!this.#deaf) this.#giveFin()
    this.#settle()
  }

  /** The session is over. */
  abandon(): void {
    this.#settled = true
    this.#deaf = true
    this.#send.drop()
    this.#ahead.clear()
    this.#close(StreamReset.SESSION_ENDED)
  }

  /** Accounts for bytes up to `end`. */
  #raise(end: number): boolean {
    if (end <= this.#highest) return true
    const more = end - this.#highest
    if (end > this.#advertised || !this.#owner.onReceived(more)) return false
    this.#highest = end
    if (this.#deaf) this.#owner.onConsumed(more)
    return true
  }

  #deliver(): void {
    if (this.events === null || this.#ahead.empty) return
    this.#delivered = this.#ahead.take(this.#delivered, this.#give)
  }

  readonly #give = (bytes: Uint8Array, at: number, length: number): void => {
    this.#delivered += length
    this.events?.onData(bytes, at, length)
  }

  #giveFin(): void {
    if (this.#finGiven || this.events === null || this.#final < 0 || this.#delivered < this.#final) return
    this.#finGiven = true
    if (!this.#closed) this.events.onFin()
  }

  /** From now on what comes is accounted for and dropped. */
  #hush(): void {
    if (this.#deaf) return
    this.#deaf = true
    this.#ahead.clear()
    this.#owner.onConsumed(this.#highest - this.#consumed)
    this.#consumed = this.#highest
  }

  #sendReset(code: number): void {
    this.#resetCode = code
    this.#send.drop()
    this.resetDue = true
    this.creditDue = false
    this.#owner.onControl(this)
  }

  get #sendDone(): boolean {
    return this.#resetAcked || (this.#finAcked && this.#send.allAcked && this.#resetCode < 0)
  }

  get #receiveDone(): boolean {
    return this.#final >= 0 && (this.#deaf || this.#finGiven)
  }

  #settle(): void {
    if (this.#settled || !this.#sendDone || !this.#receiveDone) return
    this.#settled = true
    this.#owner.onSettled(this)
    this.#close(null)
  }

  #close(code: number | null): void {
    if (this.#closed) return
    this.#closed = true
    this.#blocked = false
    this.events?.onClose(code)
  }
}
