/**
 * One end of the streams between an origin and one hop of its loop. A state machine: frames in, frames out, no I/O, no clock.
 *
 * Cells are carried reliably and in order in `swift`, so a gap is a fault of the peer and ends the circuit; duplicates are dropped by
 * offset. In the paced clocks cells may be lost (`lossy`): a gap ends its stream and no other, the origin tells the hop which cells came home
 * as noise, and what rode in them is given anew (credit, resets) or its stream reset. Credit per stream and for all streams together bounds what
 * either end must hold. Only the origin opens streams (odd ids). The file is long because all this is one machine: loss changes credit.
 * Once the circuit is joined with others, payloads of the exchanges ride in the same cells, before everything but BACKLOG: on a paced circuit up
 * to `EXCHANGES_MAX`, told apart by their numbers, in turn.
 * Threat met: a peer that sends without end, opens without end, or resets without end. Spec: SPEC.md §5.
 */
import type { PayloadFlow } from './exchange.ts'
import {
  ACK_ENTRY_BYTES,
  ACK_HEADER_BYTES,
  BACKLOG_BYTES,
  CREDIT_BYTES,
  EXCHANGE_BYTES,
  EXCHANGES_MAX,
  type FrameSink,
  FrameType,
  OFFSET_END,
  PAYLOAD_FRAME_BYTES,
  RESET_BYTES,
  readFrames,
  STREAM_HEADER_BYTES,
  writeAckEntry,
  writeAckHeader,
  writeBacklog,
  writeCredit,
  writeExchange,
  writeReset,
  writeStreamHeader,
} from './frames.ts'
import { Ridden, RiddenLog } from './ridden.ts'
import { type MuxStream, STREAM_CREDIT_BYTES, type StreamEvents, type StreamHost, StreamState } from './stream-state.ts'

// Specification constants.
/** Credit for all streams together that a hop gives an origin. */
export const HOP_CREDIT_BYTES = 1024 * 1024
/** Credit for all streams together that an origin gives a hop. */
export const ORIGIN_CREDIT_BYTES = 4 * 1024 * 1024
/** On paced circuits both are at least so much for each cell a second: the way round takes a good part of a second. */
export const PACED_CREDIT_PER_CELL_BYTES = 2048
/** Streams open at once between an origin and one hop. */
export const STREAMS_MAX = 128
/** On paced circuits at least one for so many cells a second: a share takes 33 cells and is under way for most of a second. */
export const PACED_CELLS_PER_STREAM = 32

/** Why a stream was reset. On the wire; it says nothing about the host. */
export const ResetCode = { CANCELLED: 0, BUSY: 1, REFUSED: 2, TOO_LARGE: 3, LOST: 4 } as const

/** Most resets that wait to be sent; a peer that causes more is misbehaving. Where cells are lost, the oldest goes instead. */
const RESETS_MAX = 256
/** Cells whose content is remembered until they are known to have arrived: those of two seconds. */
const RIDDEN_SECONDS = 2
const RIDDEN_CELLS_MIN = 256
const RIDDEN_CELLS_MAX = 8192
/** Reports of noise that wait to be sent, and cells that are remembered as reported. The oldest goes. */
const ACKS_MAX = 8192
const ACKED_MAX = 1024
const ACKS_PER_FRAME = 255

/** What a stream has left to send that goes before longer ones, where cells may be lost: four cells' worth. */
const SHORT_BYTES = 8 * 1024

export interface MuxOptions {
  readonly role: 'origin' | 'hop'
  /** A stream that the peer opened (hop only): who hears it, or a reset code to refuse it. */
  onOpen?(stream: MuxStream): StreamEvents | number
  /** There is something to send that was not there before. Must not call back into the mux. */
  wake(): void
  /** The circuit is paced: cells may be lost. `rate`: its cells a second. */
  readonly lossy?: { readonly rate: number }
}

export class StreamMux implements FrameSink, StreamHost {
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
  readonly #streamsMax: number
  #creditDue = false
  #peerBacklogCells = 0
  /** What gives and takes payloads, by the number of the exchange. */
  readonly #flows: (PayloadFlow | null)[] = [null]
  /** Whose turn it was. */
  #flowTurn = 0
  /** Of the cell that is being read: which exchange its payload is of. */
  #flowRead = 0
  /** Whether an owner has left an exchange: what still comes of it is nothing. */
  #left = false
  /** What rode in which cell, where cells may be lost. */
  readonly #ridden: RiddenLog | null
  /** Origin: cells that came home as noise, and what had been sent in them; not told yet. */
  #acks: { readonly counter: number; readonly bytes: number }[] = []
  /** Hop: cells of the origin's that never came, as far as it has said so. */
  readonly #acked = new Set<number>()
  /** Counter of the cell that is being read. */
  #counter = 0
  #faulty = false
  #closed = false

  constructor(options: MuxOptions) {
    this.#role = options.role
    this.#onOpen = options.onOpen
    this.#wake = options.wake
    const cells = Math.ceil((options.lossy?.rate ?? 0) * RIDDEN_SECONDS)
    this.#ridden =
      options.lossy === undefined ? null : new RiddenLog(Math.min(RIDDEN_CELLS_MAX, Math.max(RIDDEN_CELLS_MIN, cells)))
    this.#streamsMax = Math.max(STREAMS_MAX, (options.lossy?.rate ?? 0) / PACED_CELLS_PER_STREAM)
    const paced = (options.lossy?.rate ?? 0) * PACED_CREDIT_PER_CELL_BYTES
    const fromOrigin = Math.max(HOP_CREDIT_BYTES, paced)
    const fromHop = Math.max(ORIGIN_CREDIT_BYTES, paced)
    this.#window = options.role === 'origin' ? fromHop : fromOrigin
    this.#advertised = this.#window
    this.#sendLimit = options.role === 'origin' ? fromOrigin : fromHop
  }

  /** Streams open now. */
  get openStreams(): number {
    return this.#streams.size
  }

  /** Streams whose peer has not ended its direction, or an exchange: an origin that has any must send cells for the answers to ride in. */
  get awaiting(): boolean {
    return this.exchanging || this.awaitingAnswers
  }

  /** Streams whose peer has not ended its direction. */
  get awaitingAnswers(): boolean {
    for (const stream of this.#streams.values()) if (!stream.finReceived) return true
    return false
  }

  /** Whether there is an exchange. */
  get exchanging(): boolean {
    for (const flow of this.#flows) if (flow !== null) return true
    return false
  }

  /** Cells' worth of answers that the hop last said were waiting there. */
  get peerBacklogCells(): number {
    return this.#peerBacklogCells
  }

  /** Whether the next cell would carry something. */
  get hasOutput(): boolean {
    if (this.#resets.length > 0 || this.#credits.length > 0 || this.#creditDue || this.#acks.length > 0) return true
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
    if (this.#role !== 'origin' || this.#closed || this.#streams.size >= this.#streamsMax) return null
    const stream = new StreamState(this, this.#nextId)
    this.#nextId += 2
    stream.events = events
    this.#streams.set(stream.id, stream)
    return stream
  }

  /**
   * Payloads of the exchange with this number come from and go to `flow` until the mux closes. `false`: it has closed, or there is such an
   * exchange already. At a hop of a paced circuit the newer takes the place of the older: its origin has left that.
   */
  attach(flow: PayloadFlow, number = 0): boolean {
    const before = this.#flows[number] ?? null
    if (this.#closed || number >= (this.#ridden === null ? 1 : EXCHANGES_MAX)) return false
    if (before !== null && (this.#ridden === null || this.#role === 'origin')) return false
    while (this.#flows.length <= number) this.#flows.push(null)
    this.#flows[number] = flow
    before?.onGone()
    this.#wake()
    return true
  }

  /** Origin: leaves the exchange, of which nothing goes from now on; what still comes of it is nothing. */
  detach(number: number): void {
    if (number >= this.#flows.length) return
    this.#left = true
    this.#flows[number] = null
  }

  /** Reads the frames of the cell with `counter` (which matters where cells may be lost). `false`: the peer broke the protocol, and the circuit ends. */
  receive(bytes: Uint8Array, at: number, end: number, counter = 0): boolean {
    if (this.#closed) return true
    this.#counter = counter
    this.#flowRead = 0
    return readFrames(bytes, at, end, this) && !this.#faulty
  }

  /** Fills `into[at … end)`, the cell with `counter`, with what there is to send and zeros. */
  fill(into: Uint8Array, at: number, end: number, counter = 0): void {
    this.#ridden?.begin(counter)
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
    this.#endFlows()
  }

  #endFlows(): void {
    for (const [number, flow] of this.#flows.entries()) {
      this.#flows[number] = null
      flow?.onGone()
    }
  }

  #backlogCells(cellBytes: number): number {
    const sendable = Math.min(this.#queuedBytes, Math.max(0, this.#sendLimit - this.#sentBytes))
    const cells = Math.ceil(sendable / (cellBytes - STREAM_HEADER_BYTES - BACKLOG_BYTES))
    let payloads = 0
    for (const flow of this.#flows) if (flow !== null) payloads += flow.waiting
    return cells === 0 && payloads === 0 && this.hasOutput ? 1 : cells + payloads
  }

  #fillPayload(into: Uint8Array, at: number, end: number): number {
    const count = this.#flows.length
    if (at + EXCHANGE_BYTES + PAYLOAD_FRAME_BYTES > end) return at
    for (let step = 1; step <= count; step++) {
      const number = (this.#flowTurn + step) % count
      const flow = this.#flows[number]!
      if (flow === null || !flow.due) continue
      this.#flowTurn = number
      if (number > 0) at = writeExchange(into, at, number)
      into[at] = FrameType.PAYLOAD
      flow.take(into, at + 1)
      return at + PAYLOAD_FRAME_BYTES
    }
    return at
  }

  #fillControl(into: Uint8Array, at: number, end: number): number {
    if (this.#acks.length > 0) at = this.#fillAcks(into, at, end)
    while (this.#resets.length > 0 && at + RESET_BYTES <= end) {
      const { id, code } = this.#resets.shift()!
      this.#ridden?.enter(Ridden.RESET, id, code)
      at = writeReset(into, at, id, code)
    }
    if (this.#creditDue && at + CREDIT_BYTES <= end) {
      this.#creditDue = false
      this.#ridden?.enter(Ridden.CREDIT, 0, 0)
      this.#advertised = this.#consumedBytes + this.#window
      at = writeCredit(into, at, 0, this.#advertised)
    }
    while (this.#credits.length > 0 && at + CREDIT_BYTES <= end) {
      const stream = this.#credits.shift()!
      stream.creditDue = false
      if (!this.#streams.has(stream.id) || stream.finReceived) continue
      stream.advertised = stream.consumedBytes + STREAM_CREDIT_BYTES
      this.#ridden?.enter(Ridden.CREDIT, stream.id, 0)
      at = writeCredit(into, at, stream.id, stream.advertised)
    }
    return at
  }

  #fillAcks(into: Uint8Array, at: number, end: number): number {
    const room = Math.floor((end - at - ACK_HEADER_BYTES) / ACK_ENTRY_BYTES)
    const count = Math.min(room, this.#acks.length, ACKS_PER_FRAME)
    if (count <= 0) return at
    at = writeAckHeader(into, at, count)
    for (const { counter, bytes } of this.#acks.splice(0, count)) {
      this.#ridden?.enter(Ridden.ACK, counter, bytes)
      at = writeAckEntry(into, at, counter, bytes)
    }
    return at
  }

  #fillStreams(into: Uint8Array, at: number, end: number): number {
    let visits = this.#ready.length
    while (visits-- > 0 && at + STREAM_HEADER_BYTES < end) {
      const stream = this.#takeReady()
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

  /**
   * The stream whose turn it is. Where cells may be lost one goes to its end before the next begins, short ones first: so a lost run of cells
   * hits few of them, and those that began together do not end together, with nothing under way while their answers come. An origin begins
   * each new one first, in the order in which they were opened.
   */
  #takeReady(): StreamState {
    if (this.#ridden === null) return this.#ready.shift()!
    let best = 0
    for (let at = 1; at < this.#ready.length; at++) if (this.#isBefore(this.#ready[at]!, this.#ready[best]!)) best = at
    return this.#ready.splice(best, 1)[0]!
  }

  #isBefore(one: StreamState, other: StreamState): boolean {
    const by = this.#rankOf(one) - this.#rankOf(other)
    return by < 0 || (by === 0 && one.id < other.id)
  }

  #rankOf({ sent, queuedBytes }: StreamState): number {
    if (this.#role === 'origin' && sent === 0) return 0
    return queuedBytes <= SHORT_BYTES ? 1 : 2
  }

  #writeStream(stream: StreamState, into: Uint8Array, at: number, length: number, fin: boolean): number {
    this.#ridden?.enter(Ridden.STREAM, stream.id, length)
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

  /** Ends every stream, each with `onClose(code)`, and the exchanges; the peer is told of the streams. The mux stays, for that. */
  resetAll(code: number): void {
    this.#left = true
    this.#endFlows()
    for (const stream of [...this.#streams.values()]) {
      this.resetStream(stream, code)
      stream.events?.onClose(code)
    }
  }

  #queueReset(id: number, code: number): void {
    if (this.#ridden !== null) {
      if (this.#resets.some((reset) => reset.id === id)) return
      if (this.#resets.length >= RESETS_MAX) this.#resets.shift()
    } else if (this.#resets.length >= RESETS_MAX) {
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
        return this.#drop(length)
      }
    }
    const known = stream.received - offset
    if (known < 0 && this.#ridden !== null && !stream.finReceived) {
      this.#drop(length)
      return this.#lose(id)
    }
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

  /** Bytes that the peer has sent and nobody is to hear. */
  #drop(bytes: number): void {
    this.#receivedBytes += bytes
    if (this.#receivedBytes > this.#advertised) this.#faulty = true
    this.#consumeAll(bytes)
  }

  /** A stream that the peer opens now, or `undefined` if `id` is an old one, was refused, or cannot be. */
  #accept(id: number, offset: number): StreamState | undefined {
    if (this.#role !== 'hop' || id % 2 === 0) {
      if (this.#role === 'hop' || id % 2 === 0 || id >= this.#nextId) this.#faulty = true
      return undefined
    }
    if (id <= this.#lastPeerId) return undefined
    if (offset !== 0 && this.#ridden === null) {
      this.#faulty = true
      return undefined
    }
    this.#lastPeerId = id
    if (offset !== 0) {
      this.#queueReset(id, ResetCode.LOST)
      return undefined
    }
    if (this.#streams.size >= this.#streamsMax || this.#onOpen === undefined) {
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
    const flow = this.#flows[this.#flowRead] ?? null
    if (flow === null) this.#faulty ||= !this.#left
    else flow.onPayload(bytes, at)
  }

  onExchange(number: number): void {
    this.#flowRead = number
    if (this.#ridden === null) this.#faulty = true
  }

  // Loss: paced clocks only ---------------------------------------------------------------------------------------------------------

  /** Origin: the cell with `counter`, sent to this hop, came home with an answer, and so did those before it that were not reported lost. */
  arrived(counter: number): void {
    this.#ridden?.arrived(counter)
  }

  /** Origin: the cell with `counter`, sent to this hop, came home as noise. Whether the hop had it is not known. */
  lost(counter: number): void {
    if (this.#ridden === null || this.#closed) return
    let bytes = 0
    this.#ridden.take(counter, (kind, id, extra) => {
      if (kind === Ridden.STREAM) bytes += extra
      if (kind === Ridden.ACK) this.#queueAck(id, extra)
      else this.#again(kind, id, extra)
    })
    this.#queueAck(counter, bytes)
    this.#wake()
  }

  #queueAck(counter: number, bytes: number): void {
    if (this.#acks.length >= ACKS_MAX) this.#acks.shift()
    this.#acks.push({ counter, bytes })
  }

  /** What rode in a cell that was lost is given anew, or its stream reset. */
  #again(kind: number, id: number, extra: number): void {
    if (kind === Ridden.RESET) return this.#queueReset(id, extra)
    if (kind === Ridden.STREAM) return this.#lose(id)
    if (id === 0) {
      this.#creditDue = true
      return
    }
    const stream = this.#streams.get(id)
    if (stream === undefined || stream.creditDue || stream.finReceived) return
    stream.creditDue = true
    this.#credits.push(stream)
  }

  /** Bytes of the stream were lost: it is over. Where the hop has done with it already, the origin has not, and hears it. */
  #lose(id: number): void {
    const stream = this.#streams.get(id)
    if (stream !== undefined) {
      this.#streams.delete(id)
      this.#forget(stream)
    }
    if (stream !== undefined || this.#role === 'hop') this.#queueReset(id, ResetCode.LOST)
    stream?.events?.onClose(ResetCode.LOST)
  }

  /**
   * Hop: a cell came home to the origin as noise. If it had come here, its answer is what was lost; if not, so were the origin's bytes in it,
   * which it counts as sent.
   */
  onAck(counter: number, bytes: number): void {
    if (this.#ridden === null || this.#role === 'origin' || counter >= this.#counter) {
      this.#faulty = true
      return
    }
    const answered = this.#ridden.take(counter, (kind, id, extra) => {
      if (kind === Ridden.STREAM) this.#sentBytes -= extra
      this.#again(kind, id, extra)
    })
    if (answered || counter < this.#ridden.forgottenBelow || this.#acked.has(counter)) return
    if (this.#acked.size >= ACKED_MAX) for (const oldest of this.#acked) if (this.#acked.delete(oldest)) break
    this.#acked.add(counter)
    this.#drop(bytes)
  }
}
