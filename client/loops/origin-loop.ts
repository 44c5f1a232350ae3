/**
 * The origin's end of one loop (clock `swift`): sends cells through the window, brings them home, and carries streams to its hops.
 *
 *   turn: cells come home → grouped by addressee → undone and opened → frames to streams → as many new cells as the window lets
 *
 * When a hop has answers to give, the origin must send it cells for them to ride in. The hop says how many are waiting (BACKLOG); as long
 * as an answer is awaited and none waits, a few cells are kept going round, slower the longer nothing comes. Joined with another loop at its
 * apex, it carries payloads of an exchange in the same cells (`join`). Requests can also be for this node itself (`turnHome`).
 * A noise cell, or cells that stop coming home, end the loop (P7). Spec: SPEC.md §4.2, §4.4, §5.
 */
import type { MonotonicMs, NodeId, Pieces } from '../../src/bytes/index.ts'
import { CELL_BYTES, CELL_HEADER_BYTES, Command, RECOGNISED_BYTES } from '../../src/cell/index.ts'
import {
  type CircuitEnd,
  COUNTER_END,
  DelayWindow,
  isRecognised,
  type LaunchedLoop,
  type LoopEnd,
  type OriginLayers,
  WINDOW_CELLS_MAX,
} from '../../src/circuit/index.ts'
import { OverlayError } from '../../src/errors/index.ts'
import { TURN_CELLS } from '../../src/link/index.ts'
import type { Clock, Timer } from '../../src/runtime/index.ts'
import { BACKLOG_BYTES, type ExchangeEnd, type ExchangePort, FrameType, Pairing, type StreamMux } from '../../src/stream/index.ts'
import { Arrivals } from './arrivals.ts'
import { ended, HopAsks } from './asking.ts'
import type { Evidence } from './evidence.ts'
import type { AskOptions, Loop, LoopEndReason, LoopFigures } from './loop.ts'
import { type OwnApex, OwnHop } from './own-hop.ts'

// Implementation constants.
/** Cells kept going round while an answer is awaited and the hop has none waiting. */
const POLL_CELLS = 2
/** Round trips, and at least milliseconds, without anything useful either way, after which polls slow down: to an eighth of the idle time. */
const POLL_PATIENCE_ROUND_TRIPS = 4
const POLL_PATIENCE_MS = 8
const POLL_GAP_MAX_MS = 20
/** The same while nothing but patient requests and an exchange wait. */
const POLL_GAP_PATIENT_MS = 40
/** Room in the window, and at most a quarter of it, for which a loop that has more to send waits. */
const CHUNK_CELLS = 16
/** Nothing home for this long, with cells out: the loop is dead. */
const STALL_MIN_MS = 2_500
const STALL_ROUND_TRIPS = 12
/** An idle loop sends one filler this often: it shows that the loop lives, and keeps it alive at its members. */
const PROBE_MS = 20_000
/**
 * Nothing home for this long, with cells out: the loop is late, its members are suspects, and it gets fillers, as many as it has members. A member that
 * lost its successor says so in answer to a cell, and each one before it to one more.
 */
const LATE_MIN_MS = 250
const LATE_ROUND_TRIPS = 4
const WATCH_MS = 500
const WATCH_OUT_MS = 125
const NUDGE_MS = 25
/** A look that comes so much too late says that this node stood still itself, and nothing about the loop; so many in a row are left out. */
const LOOK_LATE_MS = 150
const LOOKS_LATE_MAX = 4
/** Ends that one of the members brought about, or its death. */
const TELLING: ReadonlySet<LoopEndReason> = new Set(['noise', 'stalled', 'destroyed'])

const FRAMES_AT = CELL_HEADER_BYTES + RECOGNISED_BYTES

/** Scratch of one turn, shared by all loops: one thread, no nesting. */
const outCells = new Uint8Array(TURN_CELLS * CELL_BYTES)
const outOffsets = Int32Array.from({ length: TURN_CELLS }, (_, cell) => cell * CELL_BYTES)
const outCounters = new Uint32Array(TURN_CELLS)
const groupOffsets = new Int32Array(TURN_CELLS)
const groupCounters = new Uint32Array(TURN_CELLS)

export interface OriginLoopParts {
  /** Number of the loop on this node, for its own user: says whether two pieces of work shared one. */
  readonly number?: number
  /** Hops in order, without the origin. */
  readonly hops: readonly NodeId[]
  /** Index in `hops` of the hop that the loop was built for. */
  readonly apexIndex: number
  readonly layers: OriginLayers
  readonly clock: Clock
  /** Where it is noted what the loop tells about its members. */
  readonly evidence?: Evidence
  /** The loop ended, for whatever reason but `close()`. Once. */
  readonly onEnd: (loop: OriginLoop, reason: LoopEndReason) => void
}

export class OriginLoop implements LoopEnd, Loop {
  readonly number: number
  readonly hops: readonly NodeId[]
  readonly apex: NodeId
  readonly #layers: OriginLayers
  readonly #clock: Clock
  readonly #evidence: Evidence | undefined
  readonly #onEnd: OriginLoopParts['onEnd']
  readonly #window = new DelayWindow()
  readonly #asks: HopAsks
  /** Whom requests are for: the apex, or this node itself, which is `hops + 1`. */
  #apexHop: number
  #own: OwnHop | null = null
  #launched: LaunchedLoop | null = null
  /** Counter of the next cell out, and of the next cell home. */
  #sent = 0
  #home = 0
  /** Addressee of each cell in flight, by counter modulo the largest window. */
  readonly #addressees = new Uint8Array(WINDOW_CELLS_MAX)
  /** Cells in flight per addressee. */
  readonly #inFlight: Uint16Array
  #turnAddressee = 0
  #lastSentAt: MonotonicMs
  /** When content last went out or came home. */
  #lastUsefulAt: MonotonicMs
  #pollTimer: Timer | null = null
  #watchTimer: Timer | null = null
  #wakeDue = false
  #probing = false
  /** Fillers sent since the loop is late; `null`: it is not. */
  #nudges: number | null = null
  /** Looks in a row that came too late. */
  #lateLooks = 0
  /** Cells that were home when that was looked at last. */
  #seenHome = 0
  /** Payloads with the apex, once it has joined this loop with another. */
  #pairing: Pairing | null = null
  readonly #arrivals = new Arrivals()
  #over = false

  constructor(parts: OriginLoopParts) {
    this.number = parts.number ?? 0
    this.hops = parts.hops
    this.#apexHop = parts.apexIndex + 1
    this.apex = parts.hops[parts.apexIndex]!
    this.#layers = parts.layers
    this.#clock = parts.clock
    this.#evidence = parts.evidence
    this.#onEnd = parts.onEnd
    this.#asks = new HopAsks({ hops: parts.hops.length, wake: () => this.#wake() })
    this.#inFlight = new Uint16Array(parts.hops.length + 2)
    this.#lastSentAt = parts.clock.monotonicMs()
    this.#lastUsefulAt = this.#lastSentAt
  }

  /** Hands over the launched circuit, once, before the first cell. */
  attach(launched: LaunchedLoop): void {
    if (this.#over) return launched.close()
    this.#launched = launched
    this.#watch()
  }

  get open(): boolean {
    return !this.#over
  }

  /** Requests without a complete answer yet. */
  get asking(): number {
    return this.#asks.open
  }

  /** For benchmarks and for this node's own user. Times in milliseconds; `cells` were sent so far. */
  get figures(): LoopFigures {
    const { roundTripMs, lastRoundTripMs, cells, inFlight } = this.#window
    return { roundTripMs, lastRoundTripMs, windowCells: cells, inFlight, cells: this.#sent }
  }

  ask(request: Pieces, options: AskOptions): Promise<Uint8Array> {
    return this.#asks.ask(this.#apexHop, request, options)
  }

  async join(cookie: Uint8Array, end: ExchangeEnd, { signal }: { signal: AbortSignal }): Promise<ExchangePort> {
    await this.#asks.join(this.#apexHop, cookie, { signal })
    const pairing = new Pairing(end, this.#clock)
    const mux = this.#asks.mux(this.#apexHop)
    if (this.#over || !mux.attach(pairing)) throw ended()
    this.#pairing = pairing
    return this.#port(mux, pairing)
  }

  turnHome(accept: OwnApex): void {
    if (this.#asks.open > 0 || this.#pairing !== null) throw new OverlayError('bug', 'INTERNAL', 'The loop is in use.')
    this.#own = new OwnHop(accept)
    this.#apexHop = this.hops.length + 1
  }

  #port(mux: StreamMux, pairing: Pairing): ExchangePort {
    return {
      loop: this.number,
      get waiting() {
        return mux.peerBacklogCells
      },
      wake: () => this.#wake(),
      close: () => {
        pairing.leave()
        this.#fail('closed')
      },
    }
  }

  /** Sends in a later turn, so that what is queued in one turn shares cells. */
  #wake(): void {
    if (this.#wakeDue || this.#over) return
    this.#wakeDue = true
    this.#clock.nextTurn(() => {
      this.#wakeDue = false
      this.#pump()
    })
  }

  // Cells come home ---------------------------------------------------------------------------------------------------------------

  onHome(cells: Uint8Array, offsets: Int32Array, count: number): void {
    const now = this.#clock.monotonicMs()
    let from = 0
    while (from < count && !this.#over) {
      if (this.#home >= this.#sent) return this.#fail('protocol')
      const addressee = this.#addressees[this.#home % WINDOW_CELLS_MAX]!
      let taken = 0
      while (from + taken < count && this.#home < this.#sent && this.#addressees[this.#home % WINDOW_CELLS_MAX] === addressee) {
        groupOffsets[taken] = offsets[from + taken]!
        groupCounters[taken++] = this.#home++
        this.#window.onHome(now, this.#wants())
      }
      from += taken
      this.#inFlight[addressee]! -= taken
      this.#openGroup(addressee, cells, taken, now)
    }
  }

  #openGroup(addressee: number, cells: Uint8Array, count: number, now: MonotonicMs): void {
    this.#layers.open(addressee, cells, groupOffsets, groupCounters, count)
    const mux = this.#asks.at(addressee)
    if (addressee > this.hops.length) this.#probing = false
    for (let cell = 0; cell < count && !this.#over; cell++) {
      const at = groupOffsets[cell]!
      if (!isRecognised(cells, at + CELL_HEADER_BYTES)) return this.#fail('noise')
      if (mux === undefined) continue
      if (addressee > this.hops.length) this.#own?.answer(cells, at + FRAMES_AT, at + CELL_BYTES)
      const pairing = addressee === this.#apexHop ? this.#pairing : null
      const payloads = pairing?.received ?? 0
      if (!mux.receive(cells, at + FRAMES_AT, at + CELL_BYTES)) return this.#fail('protocol')
      if (pairing !== null) {
        this.#arrivals.onHome(groupCounters[cell]!, this.#sent, pairing.received > payloads)
        // What came may be a dummy: it was of use if there is now something to say to it.
        if (pairing.wants) this.#lastUsefulAt = now
        continue
      }
      // A BACKLOG frame alone, with nothing waiting, is an empty answer.
      if (cells[at + FRAMES_AT + BACKLOG_BYTES] !== FrameType.END || mux.peerBacklogCells > 0) this.#lastUsefulAt = now
    }
  }

  onTurnEnd(): void {
    this.#pump()
  }

  // Cells go out ------------------------------------------------------------------------------------------------------------------

  /** Whether some hop would take more cells if the window let it. */
  #wants(): boolean {
    for (let hop = 1; hop <= this.#asked; hop++) {
      const mux = this.#asks.at(hop)
      if (mux === undefined) continue
      if (this.#urgent(hop, mux) || this.#expected(hop, mux) > this.#inFlight[hop]!) return true
    }
    return false
  }

  /** Up to which addressee there may be streams. */
  get #asked(): number {
    return this.hops.length + (this.#own === null ? 0 : 1)
  }

  /** How many cells that hop could fill with answers before the next of them is home. */
  #expected(hop: number, mux: StreamMux): number {
    const arriving = hop === this.#apexHop && this.#pairing !== null ? this.#arrivals.perRound : 0
    return mux.peerBacklogCells + arriving
  }

  /** Whether there is something for `hop` that is worth a cell now. */
  #urgent(hop: number, mux: StreamMux): boolean {
    return mux.hasOutput || (hop === this.#apexHop && this.#pairing !== null && this.#pairing.urgent)
  }

  /** Whether what there is for `hop` is content. */
  #hasContent(hop: number, mux: StreamMux): boolean {
    return mux.hasOutput || (hop === this.#apexHop && this.#pairing !== null && this.#pairing.wants)
  }

  /** How many cells without content of ours `hop` should get for its answers. */
  #pull(hop: number, mux: StreamMux): number {
    if (!mux.awaiting) return 0
    const waiting = this.#expected(hop, mux)
    if (mux.peerBacklogCells === 0 && this.#idle()) return this.#pollLater() ? 0 : 1
    return waiting + POLL_CELLS - this.#inFlight[hop]!
  }

  /** Whether nothing useful went round lately. */
  #idle(): boolean {
    const patience = Math.max(POLL_PATIENCE_MS, POLL_PATIENCE_ROUND_TRIPS * this.#window.roundTripMs)
    return this.#clock.monotonicMs() - this.#lastUsefulAt > patience
  }

  /** Whether the next poll must wait; sets the timer for it. */
  #pollLater(): boolean {
    // Cells made ready in this very turn count: one poll, not a window of them.
    if (this.#home < this.#sent) return true
    const now = this.#clock.monotonicMs()
    const gap = Math.min(this.#asks.impatient > 0 ? POLL_GAP_MAX_MS : POLL_GAP_PATIENT_MS, (now - this.#lastUsefulAt) / 8)
    const wait = this.#lastSentAt + gap - now
    if (wait <= 0) return false
    this.#pollTimer ??= this.#clock.setTimer(wait, () => {
      this.#pollTimer = null
      this.#pump()
    })
    return true
  }

  /** Sends what the window and the hops let. */
  #pump(): void {
    if (this.#over || this.#launched === null) return
    // A window that is full opens cell by cell. Sending cell by cell would cost every member a turn and a write for each: wait for some.
    const least = Math.min(CHUNK_CELLS, this.#window.cells >> 2)
    if (this.#window.room < least && this.#window.inFlight > least) return
    const now = this.#clock.monotonicMs()
    let pushed = false
    for (;;) {
      const room = Math.min(this.#window.room, TURN_CELLS)
      if (room === 0) break
      const addressee = this.#nextAddressee()
      if (addressee === 0) break
      const mux = this.#asks.at(addressee)
      let count = 0
      while (count < room) {
        const output = mux !== undefined && this.#urgent(addressee, mux)
        if (output && this.#hasContent(addressee, mux)) this.#lastUsefulAt = now
        if (!output && count > 0 && (mux === undefined || this.#pull(addressee, mux) <= 0)) break
        this.#plain(addressee, mux, count++)
        if (mux === undefined) break
      }
      if (!this.#send(addressee, count)) return
      pushed = true
    }
    if (pushed) this.#launched.flush()
  }

  /** The hop whose turn it is and that has or wants something; `hops + 1` for a filler that is due; 0 for none. */
  #nextAddressee(): number {
    const asked = this.#asked
    for (let step = 1; step <= asked; step++) {
      const hop = ((this.#turnAddressee + step - 1) % asked) + 1
      const mux = this.#asks.at(hop)
      if (mux === undefined || !(this.#urgent(hop, mux) || this.#pull(hop, mux) > 0)) continue
      this.#turnAddressee = hop
      return hop
    }
    return this.#probing && this.#window.inFlight === 0 ? this.hops.length + 1 : 0
  }

  #plain(addressee: number, mux: StreamMux | undefined, cell: number): void {
    const at = cell * CELL_BYTES
    outCells.fill(0, at, at + FRAMES_AT)
    if (mux === undefined) outCells.fill(0, at + FRAMES_AT, at + CELL_BYTES)
    else mux.fill(outCells, at + FRAMES_AT, at + CELL_BYTES)
    outCounters[cell] = this.#sent
    this.#addressees[this.#sent % WINDOW_CELLS_MAX] = addressee
    this.#inFlight[addressee]!++
    this.#sent++
  }

  #send(addressee: number, count: number): boolean {
    if (this.#sent >= COUNTER_END - TURN_CELLS) {
      this.#fail('expired')
      return false
    }
    this.#layers.wrap(addressee, outCells, outOffsets, outCounters, count)
    const now = this.#clock.monotonicMs()
    this.#lastSentAt = now
    const lane = this.#launched!.lane
    for (let cell = 0; cell < count; cell++) {
      this.#window.onSend(now)
      const at = cell * CELL_BYTES
      if (lane.push(Command.CIRCUIT, outCells.subarray(at + CELL_HEADER_BYTES, at + CELL_BYTES))) continue
      this.#fail('overload')
      return false
    }
    return true
  }

  // Life --------------------------------------------------------------------------------------------------------------------------

  #watch(): void {
    const nudging = this.#nudges !== null && this.#nudges < this.hops.length
    const waitMs = nudging ? NUDGE_MS : this.#window.inFlight > 0 ? WATCH_OUT_MS : WATCH_MS
    const dueMs = this.#clock.monotonicMs() + waitMs
    this.#watchTimer = this.#clock.setTimer(waitMs, () => {
      const now = this.#clock.monotonicMs()
      this.#lateLooks = now - dueMs < LOOK_LATE_MS || this.#lateLooks >= LOOKS_LATE_MAX ? 0 : this.#lateLooks + 1
      if (this.#lateLooks === 0) this.#look(now)
      if (this.#over) return
      this.#pump()
      if (!this.#over) this.#watch()
    })
  }

  /** Tells by its round trips whether the loop is well. */
  #look(now: MonotonicMs): void {
    const { oldestSentAt: oldest, roundTripMs, lastHomeSentAt } = this.#window
    if (this.#home > this.#seenHome && lastHomeSentAt !== null) {
      this.#seenHome = this.#home
      this.#evidence?.came(this.hops, lastHomeSentAt)
    }
    if (oldest === null) {
      this.#nudges = null
      if (now - this.#lastSentAt > PROBE_MS) this.#probing = true
      return
    }
    if (now - oldest > Math.max(STALL_MIN_MS, STALL_ROUND_TRIPS * roundTripMs)) return this.#fail('stalled')
    if (now - oldest <= Math.max(LATE_MIN_MS, LATE_ROUND_TRIPS * roundTripMs)) this.#nudges = null
    else if (this.#nudges === null) {
      this.#nudges = 0
      this.#evidence?.missed(this.hops, oldest, now)
    } else if (this.#nudges < this.hops.length && this.#window.room > 0) {
      this.#nudges++
      this.#plain(this.hops.length + 1, this.#asks.at(this.hops.length + 1), 0)
      if (this.#send(this.hops.length + 1, 1)) this.#launched?.flush()
    }
  }

  onGone(reason: CircuitEnd): void {
    this.#fail(reason)
  }

  #fail(reason: LoopEndReason): void {
    if (this.#over) return
    if (TELLING.has(reason)) {
      const now = this.#clock.monotonicMs()
      this.#evidence?.missed(this.hops, this.#window.oldestSentAt ?? now, now)
    }
    this.close()
    this.#onEnd(this, reason)
  }

  /** Ends the loop; requests under way fail with `CIRCUIT_ENDED`. Idempotent. */
  close(): void {
    if (this.#over) return
    this.#over = true
    this.#pollTimer?.cancel()
    this.#watchTimer?.cancel()
    this.#launched?.close()
    this.#layers.wipe()
    this.#asks.close()
    this.#own?.close()
  }
}
