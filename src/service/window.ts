/**
 * How many payloads with content one end keeps unacknowledged in an exchange, and how long it waits for news of them. A delay-based window
 * in the manner of LEDBAT (RFC 6817) and of the loops' own, above it: it aims at a bounded time of waiting at the rendezvous point, and never
 * exceeds what fits into the queue there, so that content does not push out content. Round trips hold what the other end's polling adds; the
 * shortest of a round is what counts. Retransmission time-outs as in RFC 9002 §6.2.
 * Pure: times and events in, a window out. Spec: SPEC.md §11.6.
 */

// Specification constant.
/** Payloads with content in flight: below the rendezvous point's queue of 256, in which dummies wait as well. */
export const WINDOW_PAYLOADS_MAX = 192

// Implementation constants; measured in test/bench/README.md.
const WINDOW_MIN = 16
const WINDOW_START = 64
/** Waiting that the window aims at. */
const TARGET_QUEUE_MS = 40
/** Share of the window that is kept when payloads were lost. */
const AFTER_LOSS = 0.7
/** The shortest round trip is remembered for this long, in two halves. */
const BASE_MEMORY_MS = 10_000
/** How long the other end may keep an acknowledgement back, and a poll on its way to us. */
export const ACK_DELAY_MAX_MS = 10
const POLL_ALLOWANCE_MS = 20
/** Time-out before the first round trip, and bounds of all others. */
const TIMEOUT_FIRST_MS = 200
/** Bounds of a time-out before it is doubled; doubling ends at the second, or at what one is. */
const TIMEOUT_MIN_MS = 40
const TIMEOUT_ONCE_MAX_MS = 8_000
const TIMEOUT_MAX_MS = 1_000
/** Doublings of the time-out. */
const BACKOFF_MAX = 6

export class PayloadWindow {
  #payloads = WINDOW_START
  #starting = true
  #smoothed = 0
  #variation = 0
  #base = Number.POSITIVE_INFINITY
  #basePrevious = Number.POSITIVE_INFINITY
  #baseSince: number
  #roundShortest = Number.POSITIVE_INFINITY
  /** A round ends when this number is acknowledged. */
  #roundEnd = 0
  #lostInRound = false
  /** While running dry: the window to go back to. */
  #resume = 0
  /** Time-outs in a row. */
  #backoff = 0

  readonly #targetQueueMs: number
  readonly #timeoutFirstMs: number

  /** `patience`: how many times as long as in `swift` the way is. */
  constructor(now: number, patience = 1) {
    this.#targetQueueMs = TARGET_QUEUE_MS * patience
    this.#timeoutFirstMs = TIMEOUT_FIRST_MS * patience
    this.#baseSince = now
  }

  get payloads(): number {
    return Math.floor(this.#payloads)
  }

  /** Smoothed round trip in milliseconds; 0 before the first. */
  get roundTripMs(): number {
    return this.#smoothed
  }

  /** How long to wait for an acknowledgement before content is taken for lost. */
  get timeoutMs(): number {
    const once =
      this.#smoothed === 0
        ? this.#timeoutFirstMs
        : Math.max(TIMEOUT_MIN_MS, this.#smoothed + 4 * this.#variation + ACK_DELAY_MAX_MS + POLL_ALLOWANCE_MS)
    const bounded = Math.min(TIMEOUT_ONCE_MAX_MS, once)
    return Math.min(Math.max(TIMEOUT_MAX_MS, bounded), bounded * 2 ** this.#backoff)
  }

  /** A newly acknowledged payload took `roundTripMs`, without what the other end kept it. */
  onRoundTrip(roundTripMs: number): void {
    if (this.#smoothed === 0) {
      this.#smoothed = Math.max(roundTripMs, 0.01)
      this.#variation = roundTripMs / 2
    } else {
      this.#variation += (Math.abs(roundTripMs - this.#smoothed) - this.#variation) / 4
      this.#smoothed = Math.max(0.01, this.#smoothed + (roundTripMs - this.#smoothed) / 8)
    }
    if (roundTripMs < this.#base) this.#base = roundTripMs
    if (roundTripMs < this.#roundShortest) this.#roundShortest = roundTripMs
  }

  /** Payload `number` was acknowledged, and `next` will be the next one sent. `limited`: the window kept content back. */
  onAcked(number: number, next: number, limited: boolean, now: number): void {
    this.#backoff = 0
    if (number < this.#roundEnd) return
    const queueMs = this.#roundShortest - Math.min(this.#base, this.#basePrevious)
    this.#roundEnd = next
    this.#roundShortest = Number.POSITIVE_INFINITY
    if (this.#resume > 0) {
      this.#payloads = this.#resume
      this.#resume = 0
    } else if (!this.#lostInRound && Number.isFinite(queueMs)) this.#onRound(queueMs, limited)
    this.#lostInRound = false
    if (now - this.#baseSince > BASE_MEMORY_MS / 2) this.#renewBase(next, limited, now)
  }

  /**
   * Forgets the older half of the shortest round trips. Who is busy for long has its own standing queue in every round trip and would take it
   * for the way's length: it lets what is in flight run dry and measures a few payloads more.
   */
  #renewBase(next: number, limited: boolean, now: number): void {
    this.#basePrevious = this.#base
    this.#base = Number.POSITIVE_INFINITY
    this.#baseSince = now
    if (!limited || this.#payloads <= WINDOW_MIN) return
    this.#resume = this.#payloads
    this.#payloads = WINDOW_MIN
    this.#roundEnd = next + WINDOW_MIN - 1
  }

  #onRound(queueMs: number, limited: boolean): void {
    if (queueMs > this.#targetQueueMs) {
      this.#starting = false
      if (limited) this.#shrink(Math.max(AFTER_LOSS, this.#targetQueueMs / queueMs))
    } else if (limited) {
      const grown = this.#starting ? this.#payloads * 2 : this.#payloads + 16 * (1 - queueMs / this.#targetQueueMs)
      this.#payloads = Math.min(WINDOW_PAYLOADS_MAX, grown)
    }
  }

  /** Payloads were lost; counts once a round. */
  onLost(): void {
    if (this.#lostInRound) return
    this.#lostInRound = true
    this.#starting = false
    this.#shrink(AFTER_LOSS)
  }

  /** Nothing was heard of what is in flight for `timeoutMs`. `there`: the other end is known to be there, so that it says something. */
  onTimeout(there: boolean): void {
    if (this.#backoff < BACKOFF_MAX) this.#backoff++
    if (there) this.onLost()
  }

  #shrink(share: number): void {
    this.#payloads = Math.max(WINDOW_MIN, this.#payloads * share)
  }
}
