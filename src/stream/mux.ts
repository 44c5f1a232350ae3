/**
 * One end of the streams between an origin and one hop of its loop. A state machine: frames in, frames out, no I/O, no clock.
 *
 * Cells are carried reliably and in order in `swift`, so a gap is a fault of the peer and ends the circuit; duplicates are dropped by
 * offset. Credit per stream and for all streams together bounds what either end must hold. Only the origin opens streams (odd ids).
 * Once the circuit is joined with another, payloads of the exchange ride in the same cells, before everything but BACKLOG.
 * Threat met: a peer that sends without end, opens without end, or resets without end. Spec: SPEC.md §5.
 */
import type { PayloadFlow } from './exchange.ts'
import {
  BACKLOG_BYTES,
  CREDIT_BYTES,
  type FrameSink,
  FrameType,
  OFFSET_END,
  PAYLOAD_FRAME_BYTES,
  RESET_BYTES,
  readFrames,
  STREAM_HEADER_BYTES,
  writeBacklog,
  writeCredit,
  writeReset,
  writeStreamHeader,
} from './frames.ts'

// Specification constants.
/** Credit that each new stream has, in both directions. */
export const STREAM_CREDIT_BYTES = 128 * 1024
/** Credit for all streams together that a hop gives an origin. */
export const HOP_CREDIT_BYTES = 1024 * 1024
/** Credit for all streams together that an origin gives a hop. */
export const ORIGIN_CREDIT_BYTES = 4 * 1024 * 1024
/** Streams open at once between an origin and one hop. */
export const STREAMS_MAX = 128

/** Why a stream was reset. On the wire; it says nothing about the host. */
export const ResetCode = { CANCELLED: 0, BUSY: 1, REFUSED: 2, TOO_LARGE: 3 } as const

/** Most resets that wait to be sent; a peer that causes more is misbehaving. */
const RESETS_MAX = 256

/** What the owner of a stream hears. */
export interface StreamEvents {
  /** `length` bytes from `bytes[at]`, in order. Borrowed until return. The owner calls `consumed` when it is done with them. */
  onData(bytes: Uint8Array, at: number, length: number): void
  /** The peer's direction ended. */
  onFin(): void
  /** The stream is gone: reset (its code), or both directions ended and everything was sent (`null`). Once; nothing follows. */
  onClose(code: number | null): void
}

/** A byte flow in two directions. */
export interface MuxStream {
  readonly id: number
  /** Bytes written and not yet put into cells. */
  readonly queuedBytes: number
  /** Queues `chunk`; it must not change until sent. */
  write(chunk: Uint8Array): void
  /** Ends this direction after what was written. */
  end(): void
  /** Ends both directions at once; `onClose` is not called. */
  reset(code: number): void
  /** Gives the peer credit for `bytes` more. */
  consumed(bytes: number): void
}

class StreamState implements MuxStream {
  readonly id: number
  readonly mux: StreamMux
  events: StreamEvents | null = null
  chunks: Uint8Array[] = []
  /** Bytes of `chunks[0]` already sent. */
  headSent = 0
  queuedBytes = 0
  sent = 0
  sendLimit = STREAM_CREDIT_BYTES
  finQueued = false
  finSent = false
  received = 0
  finReceived = false
  consumedBytes = 0
  advertised = STREAM_CREDIT_BYTES
  ready = false
  creditDue = false

  constructor(mux: StreamMux, id: number) {
    this.mux = mux
    this.id = id
  }

  write(chunk: Uint8Array): void {
    if (this.finQueued || chunk.length === 0) return
    this.chunks.push(chunk)
    this.queuedBytes += chunk.length
    this.mux.onQueued(this, chunk.length)
  }

  end(): void {
    if (this.finQueued) return
    this.finQueued = true
    this.mux.onQueued(this, 0)
  }

  reset(code: number): void {
    this.mux.resetStream(this, code)
  }

  consumed(bytes: number): void {
    this.mux.onConsumed(this, bytes)
  }

  /** Whether a frame of it could go now, loop credit aside. */
  get sendable(): boolean {
    if (this.finSent) return false
    return this.queuedBytes > 0 ? this.sent < this.sendLimit : this.finQueued
  }
}

export interface MuxOptions {
  readonly role: 'origin' | 'hop'
  /** A stream that the peer opened (hop only): who hears it, or a reset code to refuse it. */
  onOpen?(stream: MuxStream): StreamEvents | number
  /** There is something to send that was not there before. Must not call back into the mux. */
  wake(): void
}

export class StreamMux implements FrameSink {
  readonly #role: 'origin' | 'hop'
  readonly #onOpen: MuxOptions['onOpen']
  readonly #wake: () => void
  readonly #streams = new Map<number, StreamState>()
  #nextId = 1
  #lastPeerId = 0
  /** Streams that may have a frame to send, in turn. */
  readonly #ready: StreamState[] = []
  readonly #resets: { readonly id: number; readonly code: number }[] = []
  readonly #credits: StreamState[] = []
  #queuedBytes = 0
  #sentBytes = 0
  #sendLimit: number
  #receivedBytes = 0
  #consumedBytes = 0
  #advertised: number
  readonly #window: number
  #creditDue = false
  #peerBacklogCells = 0
  /** What gives and takes payloads, once there is an exchange. */
  #flow: PayloadFlow | null = null
  #faulty = false
  #closed = false

  constructor(options: MuxOptions) {
    this.#role = options.role
    this.#onOpen = options.onOpen
    this.#wake = options.wake
    this.#window = options.role === 'origin' ? ORIGIN_CREDIT_BYTES : HOP_CREDIT_BYTES
    this.#advertised = this.#window
    this.#sendLimit = options.role === 'origin' ? HOP_CREDIT_BYTES : ORIGIN_CREDIT_BYTES
  }

  /** Streams open now. */
  get openStreams(): number {
    return this.#streams.size
  }

  /** Streams whose peer has not ended its direction, or an exchange: an origin that has any must send cells for the answers to ride in. */
  get awaiting(): boolean {
    if (this.#flow !== null) return true
    for (const stream of this.#streams.values()) if (!stream.finReceived) return true
    return false
  }

  /** Cells' worth of answers that the hop last said were waiting there. */
  get peerBacklogCells(): number {
    return this.#peerBacklogCells
  }

  /** Whether the next cell would carry something. */
  get hasOutput(): boolean {
    if (this.#resets.length > 0 || this.#credits.length > 0 || this.#creditDue) return true
    return this.#ready.length > 0 && (this.#sentBytes < this.#sendLimit || this.#onlyFins())
  }

  /** Bytes written to streams and not yet in cells. */
  get queuedBytes(): number {
    return this.#queuedBytes
  }

  #onlyFins(): boolean {
    return this.#ready.some((stream) => stream.queuedBytes === 0 && stream.finQueued)
  }

  /**
   * Opens a stream (origin only), or `null` if too many are open or the mux is closed. Streams are to be written to first in the order in
   * which they were opened: a hop takes a lower id than one it has seen for a stream that is gone.
   */
  open(events: StreamEvents): MuxStream | null {
    if (this.#role !== 'origin' || this.#closed || this.#streams.size >= STREAMS_MAX) return null
    const stream = new StreamState(this, this.#nextId)
    this.#nextId += 2
    stream.events = events
    this.#streams.set(stream.id, stream)
    return stream
  }

  /** Payloads come from and go to `flow` until the mux closes. `false`: it has closed, or there is an exchange already. */
  attach(flow: PayloadFlow): boolean {
    if (this.#closed || this.#flow !== null) return false
    this.#flow = flow
    this.#wake()
    return true
  }

  /** Reads one cell's frames. `false`: the peer broke the protocol, and the circuit ends. */
  receive(bytes: Uint8Array, at: number, end: number): boolean {
    if (this.#closed) return true
    return readFrames(bytes, at, end, this) && !this.#faulty
  }

  /** Fills `into[at … end)` with what there is to send and zeros. */
  fill(into: Uint8Array, at: number, end: number): void {
    if (this.#role === 'hop') {
      const backlogAt = at
      at = this.#fillPayload(into, at + BACKLOG_BYTES, end)
      at = this.#fillControl(into, at, end)
      at = this.#fillStreams(into, at, end)
      writeBacklog(into, backlogAt, this.#backlogCells(end - backlogAt))
    } else {
      at = this.#fillPayload(into, at, end)
      at = this.#fillControl(into, at, end)
      at = this.#fillStreams(into, at, end)
    }
    into.fill(0, at, end)
  }

  /** Ends every stream, each with `onClose(code)`. Idempotent. */
  close(code: number): void {
    if (this.#closed) return
    this.#closed = true
    const streams = [...this.#streams.values()]
    this.#streams.clear()
    this.#ready.length = 0
    this.#queuedBytes = 0
    for (const stream of streams) stream.events?.onClose(code)
    const flow = this.#flow
    this.#flow = null
    flow?.onGone()
  }

  #backlogCells(cellBytes: number): number {
    const sendable = Math.min(this.#queuedBytes, Math.max(0, this.#sendLimit - this.#sentBytes))
    const cells = Math.ceil(sendable / (cellBytes - STREAM_HEADER_BYTES - BACKLOG_BYTES))
    const payloads = this.#flow?.waiting ?? 0
    return cells === 0 && payloads === 0 && this.hasOutput ? 1 : cells + payloads
  }

  #fillPayload(into: Uint8Array, at: number, end: number): number {
    if (this.#flow === null || !this.#flow.due || at + PAYLOAD_FRAME_BYTES > end) return at
    into[at] = FrameType.PAYLOAD
    this.#flow.take(into, at + 1)
    return at + PAYLOAD_FRAME_BYTES
  }

  #fillControl(into: Uint8Array, at: number, end: number): number {
    while (this.#resets.length > 0 && at + RESET_BYTES <= end) {
      const { id, code } = this.#resets.shift()!
      at = writeReset(into, at, id, code)
    }
    if (this.#creditDue && at + CREDIT_BYTES <= end) {
      this.#creditDue = false
      this.#advertised = this.#consumedBytes + this.#window
      at = writeCredit(into, at, 0, this.#advertised)
    }
    while (this.#credits.length > 0 && at + CREDIT_BYTES <= end) {
      const stream = this.#credits.shift()!
      stream.creditDue = false
      if (!this.#streams.has(stream.id) || stream.finReceived) continue
      stream.advertised = stream.consumedBytes + STREAM_CREDIT_BYTES
      at = writeCredit(into, at, stream.id, stream.advertised)
    }
    return at
  }

  #fillStreams(into: Uint8Array, at: number, end: number): number {
    let visits = this.#ready.length
    while (visits-- > 0 && at + STREAM_HEADER_BYTES < end) {
      const stream = this.#ready.shift()!
      stream.ready = false
      if (!stream.sendable) continue
      const room = Math.min(
        end - at - STREAM_HEADER_BYTES,
        stream.queuedBytes,
        stream.sendLimit - stream.sent,
        this.#sendLimit - this.#sentBytes,
      )
      const length = Math.max(0, room)
      const fin = stream.finQueued && length === stream.queuedBytes
      if (length > 0 || fin) at = this.#writeStream(stream, into, at, length, fin)
      if (stream.sendable) this.#markReady(stream)
    }
    return at
  }

  #writeStream(stream: StreamState, into: Uint8Array, at: number, length: number, fin: boolean): number {
    at = writeStreamHeader(into, at, stream.id, stream.sent, length, fin)
    stream.sent += length
    stream.queuedBytes -= length
    this.#queuedBytes -= length
    this.#sentBytes += length
    let left = length
    while (left > 0) {
      const head = stream.chunks[0]!
      const take = Math.min(left, head.length - stream.headSent)
      into.set(head.subarray(stream.headSent, stream.headSent + take), at)
      at += take
      left -= take
      stream.headSent += take
      if (stream.headSent === head.length) {
        stream.chunks.shift()
        stream.headSent = 0
      }
    }
    if (fin) {
      stream.finSent = true
      this.#dropIfDone(stream)
    }
    return at
  }

  #markReady(stream: StreamState): void {
    if (stream.ready) return
    stream.ready = true
    this.#ready.push(stream)
  }

  #dropIfDone(stream: StreamState): void {
    if (stream.finSent && stream.finReceived && this.#streams.delete(stream.id)) stream.events?.onClose(null)
  }

  /** A stream's owner queued something. Called by the stream. */
  onQueued(stream: StreamState, bytes: number): void {
    if (this.#closed || this.#streams.get(stream.id) !== stream) return
    this.#queuedBytes += bytes
    if (!stream.sendable) return
    this.#markReady(stream)
    this.#wake()
  }

  /** A stream's owner is done with bytes. Called by the stream. */
  onConsumed(stream: StreamState, bytes: number): void {
    // Never more than was received: else an owner that is late or wrong would widen what the peer may send to all.
    bytes = Math.min(bytes, stream.received - stream.consumedBytes)
    stream.consumedBytes += bytes
    this.#consumeAll(bytes)
    if (this.#closed || stream.creditDue || stream.finReceived || !this.#streams.has(stream.id)) return
    if (stream.advertised - stream.consumedBytes > STREAM_CREDIT_BYTES / 2) return
    stream.creditDue = true
    this.#credits.push(stream)
    this.#wake()
  }

  #consumeAll(bytes: number): void {
    this.#consumedBytes += bytes
    if (this.#creditDue || this.#advertised - this.#consumedBytes > this.#window / 2) return
    this.#creditDue = true
    this.#wake()
  }

  /** A stream's owner gave up. Called by the stream. */
  resetStream(stream: StreamState, code: number): void {
    if (this.#closed || !this.#streams.delete(stream.id)) return
    // The peer knows nothing of a stream of which nothing was sent. To reset it would make older ones, not yet begun there, look gone.
    const known = this.#role === 'hop' || stream.sent > 0 || stream.finSent
    this.#forget(stream)
    if (known) this.#queueReset(stream.id, code)
  }

  #forget(stream: StreamState): void {
    this.#queuedBytes -= stream.queuedBytes
    stream.queuedBytes = 0
    stream.chunks = []
    stream.finSent = true
    if (stream.ready) this.#ready.splice(this.#ready.indexOf(stream), 1)
    stream.ready = false
    // What it received and never consumed must not be lost to the credit of all.
    const held = stream.received - stream.consumedBytes
    if (held > 0) this.#consumeAll(held)
    stream.consumedBytes = stream.received
  }

  #queueReset(id: number, code: number): void {
    if (this.#resets.length >= RESETS_MAX) {
      this.#faulty = true
      return
    }
    this.#resets.push({ id, code })
    this.#wake()
  }

  onStream(id: number, offset: number, bytes: Uint8Array, at: number, length: number, fin: boolean): void {
    let stream = this.#streams.get(id)
    if (stream === undefined) {
      stream = this.#accept(id, offset)
      if (stream === undefined) {
        // Late bytes of a stream that is gone, or of one refused: counted, dropped, and given back.
        this.#receivedBytes += length
        if (this.#receivedBytes > this.#advertised) this.#faulty = true
        this.#consumeAll(length)
        return
      }
    }
    const known = stream.received - offset
    if (known < 0 || stream.finReceived) {
      this.#faulty = true
      return
    }
    const fresh = length - known
    if (fresh < 0) return
    this.#receivedBytes += fresh
    stream.received += fresh
    if (stream.received > stream.advertised || this.#receivedBytes > this.#advertised) {
      this.#faulty = true
      return
    }
    if (fresh > 0) stream.events?.onData(bytes, at + known, fresh)
    if (fin && this.#streams.get(id) === stream) {
      stream.finReceived = true
      stream.events?.onFin()
      this.#dropIfDone(stream)
    }
  }

  /** A stream that the peer opens now, or `undefined` if `id` is an old one, was refused, or cannot be. */
  #accept(id: number, offset: number): StreamState | undefined {
    if (this.#role !== 'hop' || id % 2 === 0) {
      if (this.#role === 'hop' || id % 2 === 0 || id >= this.#nextId) this.#faulty = true
      return undefined
    }
    if (id <= this.#lastPeerId) return undefined
    if (offset !== 0) {
      this.#faulty = true
      return undefined
    }
    this.#lastPeerId = id
    if (this.#streams.size >= STREAMS_MAX || this.#onOpen === undefined) {
      this.#queueReset(id, ResetCode.BUSY)
      return undefined
    }
    const stream = new StreamState(this, id)
    const events = this.#onOpen(stream)
    if (typeof events === 'number') {
      this.#queueReset(id, events)
      return undefined
    }
    stream.events = events
    this.#streams.set(id, stream)
    return stream
  }

  onCredit(id: number, limit: number): void {
    if (limit >= OFFSET_END) {
      this.#faulty = true
    } else if (id === 0) {
      this.#sendLimit = Math.max(this.#sendLimit, limit)
      if (this.#ready.length > 0) this.#wake()
    } else {
      const stream = this.#streams.get(id)
      if (stream === undefined) return
      stream.sendLimit = Math.max(stream.sendLimit, limit)
      if (!stream.sendable) return
      this.#markReady(stream)
      this.#wake()
    }
  }

  onReset(id: number, code: number): void {
    const stream = this.#streams.get(id)
    if (stream === undefined) {
      // A stream of the peer's that was reset before its first byte came: never to be opened later.
      if (this.#role === 'hop' && id % 2 === 1 && id > this.#lastPeerId) this.#lastPeerId = id
      return
    }
    this.#streams.delete(id)
    this.#forget(stream)
    stream.events?.onClose(code)
  }

  onBacklog(cells: number): void {
    if (this.#role === 'hop') this.#faulty = true
    this.#peerBacklogCells = cells
  }

  onPayload(bytes: Uint8Array, at: number): void {
    if (this.#flow === null) this.#faulty = true
    else this.#flow.onPayload(bytes, at)
  }
}
