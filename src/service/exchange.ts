/**
 * One end of one exchange that carries a session: numbers and seals payloads, opens those that come, tells the other end which came, and
 * finds out which of its own did not. What is in them is the session's business. No I/O; time through `Clock`, timers are the session's.
 *
 *   fill:      ACK of all that came → content, if the window lets → zeros → sealed, a dummy or not
 *   onPayload: opened, each once → frames → ACK: round trip, what arrived, what was lost (three later ones arrived, or much older) → wake
 *
 * An exchange that brings nothing authentic for 1.5 s while it is being filled is dead. Threat: a rendezvous point that drops, holds back or
 * makes up payloads; a peer that acknowledges what was never sent. Spec: SPEC.md §11.5, §11.6.
 */
import type { Clock } from '../runtime/index.ts'
import type { ExchangePort } from '../stream/index.ts'
import { PAYLOAD_PLAIN_BYTES } from './constants.ts'
import { readSessionFrames, SessionFrame, type SessionFrameSink, writeAck } from './frames.ts'
import { PayloadOpener, PayloadSealer } from './payload.ts'
import { Ranges } from './ranges.ts'
import { Sent, SentPayload } from './sent.ts'
import type { DetachReason, PreparedExchange, TrafficKeys } from './types.ts'
import { ACK_DELAY_MAX_MS, PayloadWindow } from './window.ts'

// Implementation constants.
/** Payloads with content after which an acknowledgement is due at once. */
const ACK_EVERY = 4
/** Later payloads that must have arrived before one is taken for lost. */
const LOST_BEHIND = 3
/** Or, behind the newest that arrived, older than this many round trips. */
const LOST_ROUND_TRIPS = 1.5
/** Ranges of arrived numbers that are remembered: each lost payload makes one more; the oldest go. */
const RANGES_KEPT = 64
/** Send times remembered, for round trips. A power of two. */
const TIMES_KEPT = 1024
/** Oldest payloads in flight that go again after a time-out, whatever the window says. */
const PROBES = 2
export const TICK_MS = 250
/** Ticks in a row without anything authentic after which the exchange is dead; and before anything came at all. */
export const SILENT_TICKS = 6
export const SILENT_TICKS_FIRST = 40
/** So many, once something came: quiet. It may go on, and another exchange should be made ready. */
export const QUIET_TICKS = 2
/** How often CLOSE goes out by itself; it also rides in whatever else goes until the end. Some may be lost; the other end misses us anyway. */
const CLOSES = 4
/** Payloads that must have gone out meanwhile: who sends none cannot hear. */
const SILENT_FILLS = 4
/** After the peer is first heard: what it cannot have got, since it was not there yet, goes again this soon. */
const FIRST_HEARD_MS = 30

/** What an exchange asks of the session that it carries. */
export interface ExchangeOwner extends Omit<SessionFrameSink, 'onAck' | 'onPing'> {
  readonly clock: Clock
  /** See `SessionOptions`. */
  readonly patience: number
  /** Something that has to arrive could go now. */
  readonly hasContent: boolean
  /** Writes frames into `into[at … end)`, notes them, and returns where they end. */
  writeContent(into: Uint8Array, at: number, end: number, sent: SentPayload): number
  onArrived(sent: SentPayload): void
  onLost(sent: SentPayload): void
  /** The first payload went out, or came: the exchange works, even if its join has not been told yet. */
  onInUse(exchange: Exchange): void
  /** A deadline may be earlier than it was. */
  onDeadline(): void
  /** Nothing came for a while, though it should have. Each time that this begins. */
  onQuiet(exchange: Exchange): void
  onOver(exchange: Exchange, reason: DetachReason): void
  /** The peer broke the protocol. */
  onFault(): void
}

/** Payloads, for figures. */
export interface ExchangeCounts {
  sent: number
  sentContent: number
  received: number
  refused: number
  lost: number
}

export class Exchange implements PreparedExchange, SessionFrameSink {
  readonly #owner: ExchangeOwner
  readonly #sealer: PayloadSealer
  readonly #opener: PayloadOpener
  readonly #counts: ExchangeCounts
  readonly window: PayloadWindow
  readonly order: number
  #port: ExchangePort | null = null
  #inUse = false
  #over = false

  // Sending.
  readonly #inFlight: SentPayload[] = []
  readonly #spare: SentPayload[] = []
  readonly #sentAt = new Float64Array(TIMES_KEPT)
  #largestAcked = -1
  /** When content last went out, or news of it came: time-outs count from here. */
  #progressAt = 0
  #probes = 0
  #closing = false
  /** Payloads with CLOSE that are worth a cell of their own. */
  #closes = 0
  readonly #arrived: SentPayload[] = []
  readonly #lost: SentPayload[] = []

  // Receiving.
  readonly #received = new Ranges()
  #largestAt = 0
  /** Payloads with content since the last ACK went out. */
  #unacked = 0
  #ackDue = false
  #ackBy = Number.POSITIVE_INFINITY
  /** The payload being read asks for an acknowledgement. */
  #asking = false
  #faulty = false
  #heard = false
  #heardInTick = false
  #fills = 0
  #silentTicks = 0
  #quiet = false
  #tickAt: number

  /** `order`: grows with each exchange of a session. */
  constructor(owner: ExchangeOwner, role: 'client' | 'service', keys: TrafficKeys, counts: ExchangeCounts, order: number) {
    this.#owner = owner
    this.order = order
    this.#counts = counts
    const now = owner.clock.monotonicMs()
    this.window = new PayloadWindow(now, owner.patience)
    this.#tickAt = now + TICK_MS
    const client = role === 'client'
    this.#sealer = new PayloadSealer(client ? keys.toService : keys.toClient)
    this.#opener = new PayloadOpener(client ? keys.toClient : keys.toService)
  }

  get inFlight(): number {
    return this.#inFlight.length
  }

  get over(): boolean {
    return this.#over
  }

  // The join ------------------------------------------------------------------------------------------------------------------------

  attach(port: ExchangePort): void {
    if (this.#over) return port.close()
    this.#port = port
    this.#use()
    if (this.wants) port.wake()
  }

  discard(): void {
    if (this.#port !== null) return
    if (this.#inUse) this.fail('gone')
    else this.end()
  }

  onGone(): void {
    this.#port = null
    this.fail('gone')
  }

  #use(): void {
    if (this.#inUse) return
    this.#inUse = true
    this.#tickAt = this.#owner.clock.monotonicMs() + TICK_MS
    this.#owner.onInUse(this)
  }

  /** Ends it, and tells the session. */
  fail(reason: DetachReason): void {
    if (this.#over) return
    this.end()
    this.#owner.onOver(this, reason)
  }

  /** Ends it: closes its port, overwrites its keys, gives up what is in flight. Idempotent. */
  end(): void {
    if (this.#over) return
    this.#over = true
    this.#sealer.retire()
    this.#opener.wipe()
    for (const sent of this.#inFlight) this.#owner.onLost(sent)
    this.#inFlight.length = 0
    this.#port?.close()
    this.#port = null
  }

  /** Nothing but CLOSE goes out from now on. */
  beginClose(): void {
    this.#closing = true
    this.#closes = CLOSES
    this.#port?.wake()
  }

  // Sending -------------------------------------------------------------------------------------------------------------------------

  get wants(): boolean {
    if (this.#over) return false
    if (this.#closing) return this.#closes > 0
    return this.#ackDue || this.#probes > 0 || (this.#hasRoom && this.#owner.hasContent)
  }

  /** There may be something to send. */
  wake(): void {
    if (this.#port !== null && this.wants) this.#port.wake()
  }

  get #hasRoom(): boolean {
    return this.#inFlight.length < this.window.payloads
  }

  fill(into: Uint8Array, at: number): void {
    if (!this.#over) this.#use()
    // The rendezvous point must not see that it is over: an end that did not come to its port yet is asked all the same.
    if (this.#over) return this.#sealer.seal(into, at)
    const now = this.#owner.clock.monotonicMs()
    const { plain, next } = this.#sealer
    let end = 0
    if (this.#received.count > 0) end = writeAck(plain, 0, this.#received.starts, this.#received.ends, now - this.#largestAt)
    this.#ackDue = false
    this.#unacked = 0
    this.#ackBy = Number.POSITIVE_INFINITY
    if (this.#closes > 0) this.#closes--
    if (this.#closing) plain[end++] = SessionFrame.CLOSE
    else if (this.#probes > 0 || this.#hasRoom) end = this.#fillContent(plain, end, next, now)
    plain.fill(0, end)
    this.#sentAt[next % TIMES_KEPT] = now
    this.#counts.sent++
    this.#fills++
    this.#sealer.seal(into, at)
  }

  #fillContent(plain: Uint8Array, at: number, number: number, now: number): number {
    const sent = this.#spare.pop() ?? new SentPayload()
    at = this.#owner.writeContent(plain, at, PAYLOAD_PLAIN_BYTES, sent)
    if (this.#probes > 0) {
      this.#probes--
      if (sent.count === 0 && at < PAYLOAD_PLAIN_BYTES) {
        plain[at++] = SessionFrame.PING
        sent.note(Sent.PING, null)
      }
    }
    if (sent.count === 0) {
      this.#spare.push(sent)
      return at
    }
    sent.number = number
    sent.sentAt = now
    this.#inFlight.push(sent)
    this.#progressAt = now
    this.#counts.sentContent++
    if (this.#inFlight.length === 1) this.#owner.onDeadline()
    return at
  }

  // Receiving -----------------------------------------------------------------------------------------------------------------------

  onPayload(bytes: Uint8Array, at: number): void {
    if (this.#over) return
    const number = this.#opener.open(bytes, at)
    if (number < 0) {
      this.#counts.refused++
      return
    }
    this.#use()
    if (this.#over) return
    const now = this.#owner.clock.monotonicMs()
    this.#counts.received++
    this.#onHeard(now)
    const { starts, ends } = this.#received
    const expected = ends.length === 0 ? 0 : ends[ends.length - 1]!
    this.#received.add(number, number + 1)
    if (starts.length > RANGES_KEPT) this.#received.dropFirst()
    if (number >= expected) this.#largestAt = now
    this.#asking = false
    const whole = readSessionFrames(this.#opener.plain, 0, PAYLOAD_PLAIN_BYTES, this)
    if (this.#over) return
    if (!whole || this.#faulty) return this.#owner.onFault()
    if (this.#asking) this.#onAsked(now, number !== expected)
    this.wake()
  }

  #onHeard(now: number): void {
    this.#heardInTick = true
    this.#quiet = false
    this.#fills = 0
    if (this.#heard) return
    this.#heard = true
    // What went before the peer was there is lost. If it was not, its acknowledgement comes first.
    if (this.#inFlight.length > 0) {
      this.#progressAt = Math.min(this.#progressAt, now + FIRST_HEARD_MS - this.window.timeoutMs)
      this.#owner.onDeadline()
    }
  }

  /** An acknowledgement is owed: at once if a payload is missing or enough came, soon otherwise. */
  #onAsked(now: number, gap: boolean): void {
    if (++this.#unacked >= ACK_EVERY || gap) {
      this.#ackDue = true
      this.#ackBy = Number.POSITIVE_INFINITY
    } else if (this.#ackBy === Number.POSITIVE_INFINITY && !this.#ackDue) {
      this.#ackBy = now + ACK_DELAY_MAX_MS
      this.#owner.onDeadline()
    }
  }

  onAck(ranges: Float64Array, count: number, delayMs: number): void {
    if (this.#over) return
    const largest = ranges[1]!
    if (largest >= this.#sealer.next) {
      this.#faulty = true
      return
    }
    const now = this.#owner.clock.monotonicMs()
    if (largest > this.#largestAcked) {
      if (this.#sealer.next - largest <= TIMES_KEPT) {
        const took = now - this.#sentAt[largest % TIMES_KEPT]!
        this.window.onRoundTrip(Math.max(0, took - Math.min(delayMs, took * 0.9)))
      }
      this.#largestAcked = largest
    }
    const inFlight = this.#inFlight
    if (inFlight.length === 0 || inFlight[0]!.number > largest) return
    const limited = !this.#hasRoom
    const oldest = now - Math.max(1, LOST_ROUND_TRIPS * this.window.roundTripMs)
    let range = count - 1
    let kept = 0
    let at = 0
    for (; at < inFlight.length; at++) {
      const sent = inFlight[at]!
      if (sent.number > largest) break
      while (range > 0 && ranges[2 * range + 1]! < sent.number) range--
      if (sent.number >= ranges[2 * range]! && sent.number <= ranges[2 * range + 1]!) this.#arrived.push(sent)
      else if (sent.number + LOST_BEHIND <= largest || sent.sentAt < oldest) this.#lost.push(sent)
      else inFlight[kept++] = sent
    }
    if (kept !== at) {
      inFlight.copyWithin(kept, at)
      inFlight.length -= at - kept
    }
    this.#settle(limited, now)
  }

  /** Hands over what an ACK or a time-out decided. */
  #settle(limited: boolean, now: number): void {
    if (this.#lost.length > 0) {
      this.#counts.lost += this.#lost.length
      if (this.#heard) this.window.onLost()
      for (const sent of this.#lost) this.#release(sent, false)
      this.#lost.length = 0
    }
    if (this.#arrived.length > 0) {
      this.#progressAt = now
      const newest = this.#arrived[this.#arrived.length - 1]!.number
      this.window.onAcked(newest, this.#sealer.next, limited, now)
      for (const sent of this.#arrived) this.#release(sent, true)
      this.#arrived.length = 0
    }
    if (this.#inFlight.length > 0) this.#owner.onDeadline()
  }

  #release(sent: SentPayload, arrived: boolean): void {
    if (arrived) this.#owner.onArrived(sent)
    else this.#owner.onLost(sent)
    sent.clear()
    this.#spare.push(sent)
  }

  // Frames of the session, each of which but CLOSE asks for an acknowledgement ---------------------------------------------------------

  onOpen(id: number, port: number): void {
    this.#asking = true
    this.#owner.onOpen(id, port)
  }

  onOpened(id: number): void {
    this.#asking = true
    this.#owner.onOpened(id)
  }

  onStream(id: number, offset: number, bytes: Uint8Array, at: number, length: number, fin: boolean): void {
    this.#asking = true
    this.#owner.onStream(id, offset, bytes, at, length, fin)
  }

  onCredit(id: number, limit: number): void {
    this.#asking = true
    this.#owner.onCredit(id, limit)
  }

  onStreams(limit: number): void {
    this.#asking = true
    this.#owner.onStreams(limit)
  }

  onReset(id: number, code: number, finalOffset: number): void {
    this.#asking = true
    this.#owner.onReset(id, code, finalOffset)
  }

  onPing(): void {
    this.#asking = true
  }

  onClose(): void {
    this.#owner.onClose()
  }

  // Time ----------------------------------------------------------------------------------------------------------------------------

  /** When `onTime` is to be called next. */
  get deadline(): number {
    if (this.#over) return Number.POSITIVE_INFINITY
    const timeout = this.#inFlight.length === 0 ? Number.POSITIVE_INFINITY : this.#progressAt + this.window.timeoutMs
    return Math.min(this.#tickAt, this.#ackBy, timeout)
  }

  onTime(now: number): void {
    if (this.#over) return
    if (now >= this.#ackBy) {
      this.#ackBy = Number.POSITIVE_INFINITY
      this.#ackDue = true
    }
    if (this.#inFlight.length > 0 && now >= this.#progressAt + this.window.timeoutMs) this.#onTimeout(now)
    if (now >= this.#tickAt) this.#onTick(now)
    if (!this.#over) this.wake()
  }

  /** No news of what is in flight: the oldest go again, and ask for an acknowledgement, which tells about the others. */
  #onTimeout(now: number): void {
    this.#progressAt = now
    this.window.onTimeout(this.#heard)
    const count = Math.min(PROBES, this.#inFlight.length)
    for (let at = 0; at < count; at++) this.#lost.push(this.#inFlight[at]!)
    this.#inFlight.splice(0, count)
    this.#probes = count
    this.#settle(true, now)
  }

  #onTick(now: number): void {
    // A thread that stood still heard nothing because it did not listen.
    const late = now - this.#tickAt >= TICK_MS
    this.#tickAt = now + TICK_MS
    if (this.#heardInTick || late) this.#silentTicks = 0
    else this.#silentTicks++
    this.#heardInTick = false
    // Also while none go out: then it is this end's loop that stands still.
    if (this.#heard && !this.#quiet && this.#silentTicks >= QUIET_TICKS * this.#owner.patience) {
      this.#quiet = true
      this.#owner.onQuiet(this)
    }
    const patience = this.#heard ? SILENT_TICKS : SILENT_TICKS_FIRST
    if (this.#silentTicks >= patience * this.#owner.patience && this.#fills >= SILENT_FILLS) this.fail('silent')
  }
}
