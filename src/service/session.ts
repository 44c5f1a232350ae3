/**
 * A session between a client and a service: many byte streams, whole and in order, over an exchange that loses payloads, and over the next
 * exchange when one is lost. A state machine: payloads in, payloads out, events to the owner; time and timers through `Clock`, no I/O.
 *
 *   out: stream.write → ready streams, frames that are due → payloads as the loop sends cells → acknowledged (forgotten) or lost (sent again)
 *   in:  payload → frames → streams, in order → consumed by their owner → credit
 *
 * Only the client opens streams. Memory at both ends is bounded by credit per stream and for all together, by a limit of streams that the
 * service gives out, and by what `write` takes. Threats: a peer that overruns credit, lies about offsets, acknowledges what was never sent,
 * opens or resets without end (a fault: the session ends). Long because loss, credit and the change of exchanges are one state. Spec: SPEC.md §11.6.
 */
import { wipe } from '../crypto/index.ts'
import { OverlayError } from '../errors/index.ts'
import type { Clock, Timer } from '../runtime/index.ts'
import { Exchange, type ExchangeCounts, type ExchangeOwner } from './exchange.ts'
import {
  CREDIT_BYTES,
  OPEN_BYTES,
  OPENED_BYTES,
  RESET_BYTES,
  STREAM_HEADER_BYTES,
  STREAMS_BYTES,
  writeCredit,
  writeOpen,
  writeOpened,
  writeReset,
  writeStreams,
} from './frames.ts'
import { Sent, type SentPayload } from './sent.ts'
import { Stream, type StreamOwner } from './stream.ts'
import {
  type DetachReason,
  type PreparedExchange,
  type ServiceSession,
  type SessionEnd,
  type SessionEvents,
  type SessionFigures,
  type SessionStream,
  type SessionStreamEvents,
  type SessionTicket,
  StreamReset,
  type TrafficKeys,
} from './types.ts'

// Specification constants.
/** Credit for all streams together that each end begins with, and what it may grow to. */
export const SESSION_CREDIT_BYTES = 2 * 1024 * 1024
export const SESSION_CREDIT_MAX_BYTES = 8 * 1024 * 1024
/** Streams open at once. */
export const SESSION_STREAMS_MAX = 256

// Implementation constants.
/** How long a session without an exchange waits for the next. */
export const RESUME_MS = 30_000
/** How long the last exchange stays for CLOSE to go out. */
const LINGER_MS = 250
/** Over paced loops a round takes a second or two, and a stall that a loop survives up to two. */
export const SLOW_PATIENCE = 4
/** Bytes that one stream may hold to be sent or acknowledged before `write` says no; less when there are many. */
const HELD_STREAM_MAX_BYTES = 512 * 1024
const HELD_STREAM_MIN_BYTES = 64 * 1024
const HELD_SESSION_BYTES = 8 * 1024 * 1024
/** Closed streams after which the client is told that it may open more. */
const STREAMS_STEP = 32
/** Most that all due frames of one stream take. */
const CONTROL_BYTES_MAX = OPEN_BYTES + OPENED_BYTES + CREDIT_BYTES + RESET_BYTES

export interface SessionOptions {
  readonly role: 'client' | 'service'
  /** Owned by the session. */
  readonly ticket: SessionTicket
  readonly clock: Clock
  readonly events: SessionEvents
  /** How many times as long as over swift loops silences and time-outs are. Default 1; `SLOW_PATIENCE` where a loop goes by time. */
  readonly patience?: number
  /** How long it waits without an exchange for the next. Default `RESUME_MS`, as many times as `patience` says. */
  readonly resumeMs?: number
}

export class Session implements ServiceSession, StreamOwner, ExchangeOwner {
  readonly ticket: SessionTicket
  readonly clock: Clock
  readonly #role: 'client' | 'service'
  readonly #events: SessionEvents
  readonly patience: number
  readonly #resumeMs: number
  #exchange: Exchange | null = null
  /** Exchanges so far. */
  #prepared = 0
  #detachedAt: number
  #lingering: Exchange | null = null
  #lingerUntil = 0
  #over = false
  #timer: Timer | null = null
  #timerAt = Number.POSITIVE_INFINITY
  readonly #counts: ExchangeCounts = { sent: 0, sentContent: 0, received: 0, refused: 0, lost: 0 }

  readonly #streams = new Map<number, Stream>()
  /** Client: id of the next stream. Service: one above the highest that was opened. */
  #nextId = 1
  /** Highest id that may be opened, as the service said last. */
  #idLimit = SESSION_STREAMS_MAX
  #closedStreams = 0
  #idLimitDue = false
  /** Streams with bytes or an end to send, in turn; and those that only lack the session's credit. */
  readonly #ready: Stream[] = []
  readonly #starved: Stream[] = []
  /** Streams with other frames due. */
  readonly #control: Stream[] = []

  #sentFresh = 0
  #sendLimit = SESSION_CREDIT_BYTES
  #received = 0
  #consumed = 0
  #advertised = SESSION_CREDIT_BYTES
  #window = SESSION_CREDIT_BYTES
  #creditDue = false
  #creditAt = 0

  constructor({ role, ticket, clock, events, patience = 1, resumeMs = RESUME_MS * patience }: SessionOptions) {
    this.#resumeMs = resumeMs
    this.#role = role
    this.patience = patience
    this.ticket = ticket
    this.clock = clock
    this.#events = events
    this.#detachedAt = clock.monotonicMs()
    this.onDeadline()
  }

  get attached(): boolean {
    return this.#exchange !== null
  }

  get over(): boolean {
    return this.#over
  }

  get openStreams(): number {
    return this.#streams.size
  }

  get figures(): SessionFigures {
    let [heldBytes, aheadBytes, keptBytes] = [0, 0, 0]
    for (const stream of this.#streams.values()) {
      heldBytes += stream.heldBytes
      aheadBytes += stream.aheadBytes
      keptBytes += stream.keptBytes
    }
    const { sent, sentContent, received, lost } = this.#counts
    const exchange = this.#exchange
    const { payloads: windowPayloads, roundTripMs } = exchange?.window ?? { payloads: 0, roundTripMs: 0 }
    const [inFlight, streams] = [exchange?.inFlight ?? 0, this.#streams.size]
    return { inFlight, windowPayloads, roundTripMs, sent, sentContent, received, lost, heldBytes, aheadBytes, keptBytes, streams }
  }

  // The owner's side ----------------------------------------------------------------------------------------------------------------

  prepare(keys: TrafficKeys): PreparedExchange {
    const exchange = new Exchange(this, this.#role, keys, this.#counts, this.#prepared++)
    if (this.#over) exchange.end()
    return exchange
  }

  open(port: number, events: SessionStreamEvents): SessionStream | null {
    if (this.#role !== 'client') throw new OverlayError('bug', 'INTERNAL', 'Only the client opens streams.')
    if (this.#over || this.#nextId > this.#idLimit || this.#streams.size >= SESSION_STREAMS_MAX) return null
    const stream = new Stream(this, this.#nextId++, port, events)
    this.#streams.set(stream.id, stream)
    stream.openDue = true
    this.onControl(stream)
    return stream
  }

  close(): void {
    this.#end('closed', true)
  }

  // Exchanges -----------------------------------------------------------------------------------------------------------------------

  onInUse(exchange: Exchange): void {
    const before = this.#exchange
    // Whoever holds back the payloads of an older one must not be able to put it in the place of the newer.
    if (this.#over || (before !== null && before.order > exchange.order)) return exchange.end()
    this.#exchange = exchange
    before?.end()
    this.onDeadline()
  }

  onQuiet(exchange: Exchange): void {
    if (!this.#over && exchange === this.#exchange) this.#events.onQuiet?.()
  }

  onOver(exchange: Exchange, reason: DetachReason): void {
    if (exchange === this.#lingering) this.#lingering = null
    if (this.#over || exchange !== this.#exchange) return
    this.#exchange = null
    this.#detachedAt = this.clock.monotonicMs()
    this.onDeadline()
    this.#events.onDetached(reason)
  }

  /** Ends everything. `tell`: the other end hears of it, if an exchange is there to carry it. */
  #end(reason: SessionEnd, tell: boolean): void {
    if (this.#over) return
    this.#over = true
    const exchange = this.#exchange
    this.#exchange = null
    wipe(this.ticket.secret)
    const streams = [...this.#streams.values()]
    this.#streams.clear()
    this.#ready.length = 0
    this.#starved.length = 0
    this.#control.length = 0
    for (const stream of streams) stream.abandon()
    if (exchange !== null && tell) {
      this.#lingering = exchange
      this.#lingerUntil = this.clock.monotonicMs() + LINGER_MS * this.patience
      exchange.beginClose()
    } else exchange?.end()
    this.onDeadline()
    this.#events.onEnd(reason)
  }

  // Time ----------------------------------------------------------------------------------------------------------------------------

  get #deadline(): number {
    if (this.#over) return this.#lingering === null ? Number.POSITIVE_INFINITY : this.#lingerUntil
    return this.#exchange === null ? this.#detachedAt + this.#resumeMs : this.#exchange.deadline
  }

  /** Sets the timer if there is a deadline before the one that it is set for. A deadline that moved away is found out when it fires. */
  onDeadline(): void {
    const deadline = this.#deadline
    if (deadline === Number.POSITIVE_INFINITY) {
      this.#timer?.cancel()
      this.#timer = null
      this.#timerAt = deadline
    } else if (deadline < this.#timerAt) {
      this.#timer?.cancel()
      this.#timerAt = deadline
      this.#timer = this.clock.setTimer(Math.max(0, deadline - this.clock.monotonicMs()), this.#onTimer)
    }
  }

  readonly #onTimer = (): void => {
    this.#timer = null
    this.#timerAt = Number.POSITIVE_INFINITY
    const now = this.clock.monotonicMs()
    if (this.#over) {
      if (now >= this.#lingerUntil) {
        this.#lingering?.end()
        this.#lingering = null
      }
    } else if (this.#exchange !== null) this.#exchange.onTime(now)
    else if (now >= this.#detachedAt + this.#resumeMs) this.#end('lost', false)
    this.onDeadline()
  }

  // Out: what streams ask -------------------------------------------------------------------------------------------------------------

  get sendRoom(): number {
    return this.#sendLimit - this.#sentFresh
  }

  get heldMaxBytes(): number {
    const share = HELD_SESSION_BYTES / Math.max(1, this.#streams.size)
    return Math.max(HELD_STREAM_MIN_BYTES, Math.min(HELD_STREAM_MAX_BYTES, share))
  }

  onReady(stream: Stream): void {
    if (this.#over) return
    const sendable = stream.sendable
    if (sendable === false || stream.queue === 'ready') return
    if (sendable === true) {
      stream.queue = 'ready'
      this.#ready.push(stream)
      this.#exchange?.wake()
    } else if (stream.queue === 'none') {
      stream.queue = 'starved'
      this.#starved.push(stream)
    }
  }

  onControl(stream: Stream): void {
    if (this.#over) return
    if (!stream.inControl) {
      stream.inControl = true
      this.#control.push(stream)
    }
    this.#exchange?.wake()
  }

  onSentFresh(bytes: number): void {
    this.#sentFresh += bytes
  }

  onReceived(bytes: number): boolean {
    this.#received += bytes
    return this.#received <= this.#advertised
  }

  onConsumed(bytes: number): void {
    this.#consumed += bytes
    if (this.#over || this.#creditDue || this.#advertised - this.#consumed > this.#window / 2) return
    this.#creditDue = true
    this.#exchange?.wake()
  }

  onSettled(stream: Stream): void {
    if (!this.#streams.delete(stream.id)) return
    this.#closedStreams++
    if (this.#role === 'client' || this.#over) return
    // The client may open as many more as have closed; it hears of it now and then, and at once when it has few left.
    const limit = this.#closedStreams + SESSION_STREAMS_MAX
    if (limit < this.#idLimit + STREAMS_STEP && this.#idLimit - this.#nextId >= STREAMS_STEP) return
    this.#idLimitDue = true
    this.#exchange?.wake()
  }

  // Out: payloads -------------------------------------------------------------------------------------------------------------------

  get hasContent(): boolean {
    return this.#ready.length > 0 || this.#control.length > 0 || this.#creditDue || this.#idLimitDue
  }

  writeContent(into: Uint8Array, at: number, end: number, sent: SentPayload): number {
    if (this.#over) return at
    at = this.#writeSession(into, at, end, sent)
    while (this.#control.length > 0 && at + CONTROL_BYTES_MAX <= end) {
      const stream = this.#control.shift()!
      stream.inControl = false
      at = this.#writeControl(stream, into, at, sent)
    }
    for (let turns = this.#ready.length; turns > 0 && end - at > STREAM_HEADER_BYTES; turns--) {
      const stream = this.#ready.shift()!
      stream.queue = 'none'
      at = stream.fill(into, at, end, sent)
      this.#requeue(stream)
    }
    return at
  }

  /** As `onReady`, without a wake: a payload is being filled. */
  #requeue(stream: Stream): void {
    const sendable = stream.sendable
    if (sendable === false) return
    stream.queue = sendable === true ? 'ready' : 'starved'
    if (sendable === true) this.#ready.push(stream)
    else this.#starved.push(stream)
  }

  #writeSession(into: Uint8Array, at: number, end: number, sent: SentPayload): number {
    const now = this.clock.monotonicMs()
    if (this.#idLimitDue && at + STREAMS_BYTES <= end) {
      this.#idLimitDue = false
      this.#idLimit = this.#closedStreams + SESSION_STREAMS_MAX
      at = writeStreams(into, at, this.#idLimit)
      sent.note(Sent.STREAMS, null)
    }
    if (this.#creditDue && at + CREDIT_BYTES <= end) {
      this.#creditDue = false
      if (now - this.#creditAt < 2 * this.#roundTripMs) this.#window = Math.min(SESSION_CREDIT_MAX_BYTES, 2 * this.#window)
      this.#creditAt = now
      this.#advertised = Math.max(this.#advertised, this.#consumed + this.#window)
      at = writeCredit(into, at, 0, this.#advertised)
      sent.note(Sent.SESSION_CREDIT, null)
    }
    return at
  }

  #writeControl(stream: Stream, into: Uint8Array, at: number, sent: SentPayload): number {
    const { id } = stream
    if (stream.openDue) {
      stream.openDue = false
      at = writeOpen(into, at, id, stream.port)
      sent.note(Sent.OPEN, stream)
    }
    if (stream.openedDue) {
      stream.openedDue = false
      at = writeOpened(into, at, id)
      sent.note(Sent.OPENED, stream)
    }
    if (stream.creditDue) {
      at = writeCredit(into, at, id, stream.newCredit(this.clock.monotonicMs(), this.#roundTripMs))
      sent.note(Sent.STREAM_CREDIT, stream)
    }
    if (stream.resetDue) {
      stream.resetDue = false
      at = writeReset(into, at, id, stream.resetCode, stream.sentBytes)
      sent.note(Sent.RESET, stream)
    }
    return at
  }

  get #roundTripMs(): number {
    return this.#exchange?.window.roundTripMs ?? 0
  }

  onArrived(sent: SentPayload): void {
    if (this.#over) return
    for (let at = 0; at < sent.count; at++) {
      const stream = sent.streams[at]
      if (stream === null || stream === undefined) continue
      if (sent.kinds[at] === Sent.BYTES) stream.onBytesAcked(sent.froms[at]!, sent.tos[at]!)
      else if (sent.kinds[at] === Sent.FIN) stream.onFinAcked()
      else if (sent.kinds[at] === Sent.RESET) stream.onResetAcked()
    }
  }

  onLost(sent: SentPayload): void {
    if (this.#over) return
    for (let at = 0; at < sent.count; at++) {
      const kind = sent.kinds[at]!
      const stream = sent.streams[at]
      if (kind === Sent.SESSION_CREDIT) this.#creditDue = true
      else if (kind === Sent.STREAMS) this.#idLimitDue = true
      if (stream === null || stream === undefined) continue
      if (kind === Sent.BYTES) stream.onBytesLost(sent.froms[at]!, sent.tos[at]!)
      else if (kind === Sent.FIN) stream.onFinLost()
      else stream.again(kind)
    }
  }

  // In: frames ------------------------------------------------------------------------------------------------------------------------

  onOpen(id: number, port: number): void {
    if (this.#over) return
    if (this.#role === 'client') return this.onFault()
    const stream = this.#peerStream(id)
    if (stream === null || stream.known) {
      if (stream !== null && stream.port !== 0 && stream.port !== port) this.onFault()
      return
    }
    stream.port = port
    const events = this.#events.onOpen?.(stream) ?? StreamReset.REFUSED
    if (typeof events === 'number') stream.reset(events)
    else if (!this.#over) stream.listen(events)
  }

  onOpened(id: number): void {
    if (this.#over) return
    if (this.#role === 'service' || id >= this.#nextId) return this.onFault()
    this.#streams.get(id)?.onOpened()
  }

  onStream(id: number, offset: number, bytes: Uint8Array, at: number, length: number, fin: boolean): void {
    if (this.#over) return
    if (this.#peerStream(id)?.onBytes(offset, bytes, at, length, fin) === false) this.onFault()
  }

  onCredit(id: number, limit: number): void {
    if (this.#over) return
    if (id > 0) {
      this.#peerStream(id)?.onCredit(limit)
      return
    }
    if (limit <= this.#sendLimit) return
    this.#sendLimit = limit
    for (const stream of this.#starved.splice(0)) {
      stream.queue = 'none'
      this.onReady(stream)
    }
  }

  onStreams(limit: number): void {
    if (this.#over) return
    if (this.#role === 'service') return this.onFault()
    this.#idLimit = Math.max(this.#idLimit, limit)
  }

  onReset(id: number, code: number, finalOffset: number): void {
    if (this.#over) return
    // A code of this end's own must not come from the other: it would be taken for the session's end, and tried again and again.
    const known = code <= StreamReset.TARGET_GONE ? code : StreamReset.CANCELLED
    if (this.#peerStream(id)?.onReset(known, finalOffset) === false) this.onFault()
  }

  onClose(): void {
    this.#end('peer-closed', false)
  }

  /**
   * The stream of that id; `null`: it is gone, and what is said about it is late, or saying it was a fault. A service learns of a stream by
   * whatever frame comes first, and of all with lower ids: their OPEN is on its way.
   */
  #peerStream(id: number): Stream | null {
    const stream = this.#streams.get(id)
    if (stream !== undefined) return stream
    if (id < this.#nextId) return null
    if (this.#role === 'client' || id > this.#idLimit) {
      this.onFault()
      return null
    }
    let newest: Stream | null = null
    for (; this.#nextId <= id; this.#nextId++) {
      newest = new Stream(this, this.#nextId, 0, null)
      this.#streams.set(newest.id, newest)
    }
    return newest
  }

  onFault(): void {
    this.#end('protocol', true)
  }
}
