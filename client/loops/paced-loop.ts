/**
 * The origin's end of a paced loop (clocks `steady` and `fixed`): keeps its line supplied with one cell for each slot, whatever there is to say,
 * and takes apart what comes home.
 *
 *   tick → (a turn later) the line lacks some cells → an addressee for each → frames or nothing → wrapped → kept in the line for their slots
 *   turn: cells come home → grouped by addressee → undone and opened → frames to streams, or noise to the account
 *
 * Nothing that is carried changes when a cell goes, or how many. A slot goes to a hop that has or wants something, in turn; else to one of which
 * an answer is awaited, since a filler would cost no less; else it is filler to itself. Any hop can be asked, and this node itself (`openHome`),
 * in cells that are filler to all others.
 * Noise costs the requests that it hits (`CELL_LOST`) and not the loop, unless there is more of it than accidents explain. A loop that is closed,
 * or of no more use, goes on as filler until its time is up: when it ends says nothing. Long because both ways share the counters of one circuit.
 * Spec: SPEC.md §4.5, §5.1.
 */
import type { MonotonicMs, NodeId, Pieces } from '../../src/bytes/index.ts'
import { CELL_BYTES, CELL_HEADER_BYTES, Command, RECOGNISED_BYTES } from '../../src/cell/index.ts'
import {
  type CircuitEnd,
  isRecognised,
  type LaunchedLoop,
  type LoopEnd,
  type OriginLayers,
  type PacedSupply,
  RATCHET_CELLS,
} from '../../src/circuit/index.ts'
import { EPOCH_MS, rateOf, type SetUpPlan } from '../../src/circuit/setup/index.ts'
import { OverlayError } from '../../src/errors/index.ts'
import { TURN_CELLS } from '../../src/link/index.ts'
import type { Clock } from '../../src/runtime/index.ts'
import { type ExchangeEnd, type ExchangePort, Pairing, type StreamMux } from '../../src/stream/index.ts'
import { ended, HopAsks } from './asking.ts'
import { HopExchanges } from './exchanges.ts'
import type { AskOptions, Loop, LoopEndReason, LoopFigures } from './loop.ts'
import { NoiseAccount } from './noise.ts'
import { type OwnApex, OwnHop } from './own-hop.ts'
import { startSpreadMs } from './set-up-time.ts'

// Implementation constants.
/** Cells in flight of which the addressee is remembered: those of so many seconds. */
const FLIGHT_SECONDS = 4
const FLIGHT_CELLS_MIN = 64
/** Nothing home for this long, or this many round trips: the loop is of no more use. */
const STALL_MIN_MS = 3_000
const STALL_ROUND_TRIPS = 8
/** Cells on their way to a hop whose answer cannot wait. */
const URGENT_CELLS = 2
/** How long a loop with too much noise may be used until there is another: a set-up takes up to 70 s in networks of 1,000 nodes. */
const WORN_MS = 90_000
/** The first cell is home by then. */
const FIRST_HOME_MS = 8_000

const FRAMES_AT = CELL_HEADER_BYTES + RECOGNISED_BYTES
/** In place of an addressee: the cell was never made and left as random bytes, or was made when its counter had come home. */
const NOBODY = 0
/** Beside an addressee: this node sent the cell too late for its successor to have it in its slot. */
const LATE = 0x80

/** Scratch of one batch, shared by all loops: one thread, no nesting. */
const outCells = new Uint8Array(TURN_CELLS * CELL_BYTES)
const outOffsets = Int32Array.from({ length: TURN_CELLS }, (_, cell) => cell * CELL_BYTES)
const addressees = new Uint8Array(TURN_CELLS)
const groupOffsets = new Int32Array(TURN_CELLS)
const groupCounters = new Uint32Array(TURN_CELLS)
const EMPTY_BODY = new Uint8Array(CELL_BYTES - CELL_HEADER_BYTES)

export interface PacedLoopParts {
  readonly number?: number
  readonly hops: readonly NodeId[]
  /** Index in `hops` of the hop that the loop was built for. */
  readonly apexIndex: number
  readonly layers: OriginLayers
  readonly plan: SetUpPlan
  /** 0 ≤ x < 1: when in the spread behind `live` the first cell goes. The same for all twins of a loop: members that see several learn no more. */
  readonly start: number
  readonly clock: Clock
  /** The loop is of no more use, for whatever reason but `close()`. Once. */
  readonly onEnd: (loop: PacedLoop, reason: LoopEndReason) => void
  /** More of it is noise than accidents explain: another one is to take its place. Until then, for `WORN_MS` at most, it is used. Absent: no use at once. */
  readonly onWorn?: (() => void) | undefined
}

export class PacedLoop implements LoopEnd, Loop {
  readonly number: number
  readonly hops: readonly NodeId[]
  readonly apex: NodeId
  readonly plan: SetUpPlan
  /** Cells a second. */
  readonly rate: number
  /** See `PacedLoopParts.start`. */
  readonly start: number
  /** From here on cells carry something, up to the start's spread later; until there. */
  readonly liveAt: MonotonicMs
  readonly closeAt: MonotonicMs
  readonly #layers: OriginLayers
  readonly #clock: Clock
  readonly #onEnd: PacedLoopParts['onEnd']
  readonly #onWorn: PacedLoopParts['onWorn']
  #wornAt: MonotonicMs | null = null
  readonly #asks: HopAsks
  readonly #apexHop: number
  /** When the first cell goes into the line. */
  readonly #startAt: number
  readonly #noise = new NoiseAccount()
  #launched: LaunchedLoop | null = null
  /** Counter of the next cell to be made, and of the next to come home. */
  #made = 0
  #home = 0
  /** Addressee of each cell in flight, by counter modulo the length. */
  readonly #addressees: Uint8Array
  /** Cells that the line had sent when it was looked at last. */
  #seenSent = 0
  /** Cells in flight per addressee. */
  readonly #inFlight: Uint32Array
  /** Asks of each hop whose answers cannot wait. */
  readonly #urgent: Uint32Array
  /** Whose turn it was, of those that have or want something, and of those that are asked. */
  #turn = 0
  #pollTurn = 0
  #exchangeTurn = 0
  #poll = false
  /** By addressee, for those that carry or carried some. */
  readonly #exchanges = new Map<number, HopExchanges>()
  #own: OwnHop | null = null
  #startedAt: MonotonicMs | null = null
  #lastHomeAt: MonotonicMs
  /** A cell whose way round is timed, and when it went. */
  #timedCell = 0
  #timedAt: MonotonicMs | null = null
  #roundTripMs = 0
  #lastRoundTripMs = 0
  #open = true
  #over = false

  constructor(parts: PacedLoopParts) {
    const { clock, plan } = parts
    this.number = parts.number ?? 0
    this.hops = parts.hops
    this.#apexHop = parts.apexIndex + 1
    this.apex = parts.hops[parts.apexIndex]!
    this.plan = plan
    this.rate = rateOf(plan)
    this.start = parts.start
    const offset = clock.monotonicMs() - clock.unixMs()
    this.liveAt = (plan.liveEpoch * EPOCH_MS + offset) as MonotonicMs
    this.closeAt = (plan.closeEpoch * EPOCH_MS + offset) as MonotonicMs
    this.#startAt = this.liveAt + parts.start * startSpreadMs(parts.hops.length, plan.holdMs, this.rate) - plan.holdMs
    this.#layers = parts.layers
    this.#clock = clock
    this.#onEnd = parts.onEnd
    this.#onWorn = parts.onWorn
    this.#asks = new HopAsks({ hops: parts.hops.length, wake: () => {}, lossy: { rate: this.rate } })
    this.#addressees = new Uint8Array(Math.max(FLIGHT_CELLS_MIN, FLIGHT_SECONDS * this.rate))
    this.#inFlight = new Uint32Array(parts.hops.length + 2)
    this.#urgent = new Uint32Array(parts.hops.length + 2)
    this.#lastHomeAt = clock.monotonicMs()
  }

  /** Hands over the launched circuit, once. */
  attach(launched: LaunchedLoop): void {
    this.#launched = launched
  }

  /** The origin's part of a twin (`LaunchedLoop.twin`), whose end is `end`. */
  launchTwin(place: number, plan: SetUpPlan, end: LoopEnd): LaunchedLoop | null {
    return this.#open ? (this.#launched?.twin?.(place, plan, end) ?? null) : null
  }

  get open(): boolean {
    return this.#open
  }

  /** Whether the first cell has come home: what is asked now goes with the next cells. */
  get running(): boolean {
    return this.#open && this.#home > 0
  }

  get asking(): number {
    return this.#asks.open
  }

  get figures(): LoopFigures {
    return {
      roundTripMs: this.#roundTripMs,
      lastRoundTripMs: this.#lastRoundTripMs,
      windowCells: this.#launched?.supply?.wantedCells ?? 0,
      inFlight: Math.max(0, this.#made - this.#home),
      cells: this.#made,
    }
  }

  /** Whether another loop is to take its place. */
  get worn(): boolean {
    return this.#wornAt !== null
  }

  /** Cells that came home as noise so far. For this node's own user. */
  get noiseCells(): number {
    return this.#noise.cells
  }

  ask(request: Pieces, options: AskOptions): Promise<Uint8Array> {
    return this.#asks.ask(this.#apexHop, request, options)
  }

  /** As `ask`, of any hop of the loop; `null`: of this node itself, after `openHome`. */
  askAt(node: NodeId | null, request: Pieces, options: AskOptions): Promise<Uint8Array> {
    return this.#asks.ask(this.#hopOf(node), request, options)
  }

  /** The same for what is short and cannot wait: cells ask for its answer before what else there is to send. */
  async askAtOnce(node: NodeId, request: Pieces, options: AskOptions): Promise<Uint8Array> {
    const hop = this.#hopOf(node)
    this.#urgent[hop]!++
    try {
      return await this.#asks.ask(hop, request, options)
    } finally {
      this.#urgent[hop]!--
    }
  }

  join(cookie: Uint8Array, end: ExchangeEnd, { signal }: { signal: AbortSignal }): Promise<ExchangePort> {
    return this.joinAt(this.apex, cookie, end, { signal })
  }

  /** As `join`, at any hop of the loop, which may carry several exchanges (`exchangesAt`); `null`: at this node itself. */
  async joinAt(
    node: NodeId | null,
    cookie: Uint8Array,
    end: ExchangeEnd,
    { signal }: { signal: AbortSignal },
  ): Promise<ExchangePort> {
    const hop = this.#hopOf(node)
    const exchanges = this.#exchanges.get(hop) ?? new HopExchanges()
    this.#exchanges.set(hop, exchanges)
    const number = exchanges.reserve()
    if (number === null) throw new OverlayError('overload', 'RENDEZVOUS_REFUSED', 'The loop carries as many exchanges as it may.')
    try {
      await this.#asks.join(hop, cookie, { signal }, number)
      const pairing = new Pairing(end, this.#clock)
      const mux = this.#asks.mux(hop)
      if (!this.#open || !mux.attach(pairing, number)) throw ended()
      exchanges.add(number, pairing)
      return this.#port(mux, pairing, () => {
        if (!this.#open) return
        mux.detach(number)
        exchanges.remove(number)
      })
    } finally {
      exchanges.cancel(number)
    }
  }

  /** Exchanges at a hop, or at this node itself. */
  exchangesAt(node: NodeId | null): number {
    return this.#exchanges.get(this.#hopOf(node))?.size ?? 0
  }

  /** From now on this node itself can be asked as a hop is, by cells that go all the way round. */
  openHome(accept: OwnApex): void {
    this.#own ??= new OwnHop(accept, { rate: this.rate })
  }

  #hopOf(node: NodeId | null): number {
    if (node === null && this.#own !== null) return this.hops.length + 1
    const at = node === null ? -1 : this.hops.indexOf(node)
    if (at < 0) throw new OverlayError('bug', 'INTERNAL', 'That node is not on this loop.')
    return at + 1
  }

  #port(mux: StreamMux, pairing: Pairing, onLeft: () => void): ExchangePort {
    let left = false
    return {
      loop: this.number,
      get waiting() {
        return mux.peerBacklogCells
      },
      wake: () => {}, // the next slots come by themselves
      close: () => {
        // The loop goes on, and with it all that it carries besides.
        if (left) return
        left = true
        pairing.leave()
        onLeft()
      },
    }
  }

  // Cells come home ---------------------------------------------------------------------------------------------------------------

  onHome(cells: Uint8Array, offsets: Int32Array, count: number): void {
    const now = this.#clock.monotonicMs()
    this.#lastHomeAt = now
    for (let from = 0; from < count; ) {
      // Keys of one generation at a time: groups of a batch go back and forth over its counters.
      const left = RATCHET_CELLS - (this.#home % RATCHET_CELLS)
      const batch = Math.min(left, count - from)
      this.#takeHome(cells, offsets.subarray(from, from + batch), batch, now)
      from += batch
    }
  }

  #takeHome(cells: Uint8Array, offsets: Int32Array, count: number, now: MonotonicMs): void {
    const first = this.#home
    for (let cell = 0; cell < count; cell++) {
      addressees[cell] = this.#addresseeOf(first + cell) & ~LATE
      this.#inFlight[addressees[cell]!]!--
    }
    this.#home += count
    if (!this.#open) return
    // While this node stands still the members go on: what is home may be more than was sent, but not more than time has asked for.
    if (this.#home > (this.#launched?.supply?.dueCells ?? 0)) return this.#end('protocol')
    for (let hop = 1; hop <= this.hops.length + 1; hop++) {
      let members = 0
      for (let cell = 0; cell < count; cell++) {
        if (addressees[cell] !== hop) continue
        groupOffsets[members] = offsets[cell]!
        groupCounters[members++] = first + cell
      }
      if (members > 0) this.#layers.open(hop, cells, groupOffsets, groupCounters, members)
    }
    for (let cell = 0; cell < count && this.#open; cell++) {
      if (addressees[cell] !== NOBODY) this.#takeCell(addressees[cell]!, first + cell, cells, offsets[cell]!, now)
    }
    if (this.#home > this.#timedCell) this.#timedAt = null
  }

  #takeCell(addressee: number, counter: number, cells: Uint8Array, at: number, now: MonotonicMs): void {
    const mux = this.#asks.at(addressee)
    const noise = !isRecognised(cells, at + CELL_HEADER_BYTES)
    if (counter === this.#timedCell && !noise) this.#time(now)
    if (noise) {
      mux?.lost(counter)
    } else if (mux !== undefined) {
      mux.arrived(counter)
      if (addressee > this.hops.length) this.#own?.answer(cells, at + FRAMES_AT, at + CELL_BYTES, counter)
      const exchanges = this.#exchanges.get(addressee)
      const payloads = exchanges?.received ?? 0
      if (!mux.receive(cells, at + FRAMES_AT, at + CELL_BYTES)) return this.#end('protocol')
      exchanges?.arrivals.onHome(counter, this.#made, exchanges.received > payloads)
    }
    if (noise && this.#isOurs(counter)) return this.#noise.ours()
    if (!this.#noise.onCell(noise, counter, now)) this.#tooMuchNoise(now)
  }

  #tooMuchNoise(now: MonotonicMs): void {
    if (this.#onWorn === undefined || this.#noise.gone || now - (this.#wornAt ?? now) > WORN_MS) return this.#end('noise')
    if (this.#wornAt !== null) return
    this.#wornAt = now
    this.#onWorn()
  }

  /** Who the cell with `counter` was for; `NOBODY` if it was never made, or is forgotten. */
  #addresseeOf(counter: number): number {
    const { length } = this.#addressees
    if (counter >= this.#made || counter < this.#made - length) return NOBODY
    return this.#addressees[counter % length]!
  }

  /** Whether the cell with `counter` was lost because this node stood still: it went late, or has come home before it went. */
  #isOurs(counter: number): boolean {
    return (this.#addresseeOf(counter) & LATE) !== 0 || counter >= (this.#launched?.supply?.sentCells ?? 0)
  }

  /** The cell that is timed is home, and went round: one that was lost may be back before it went. */
  #time(now: MonotonicMs): void {
    if (this.#timedAt === null) return
    this.#lastRoundTripMs = now - this.#timedAt
    this.#roundTripMs = this.#roundTripMs === 0 ? this.#lastRoundTripMs : Math.min(this.#roundTripMs, this.#lastRoundTripMs)
    this.#timedAt = null
  }

  onTurnEnd(): void {}

  // Cells go into the line --------------------------------------------------------------------------------------------------------

  onDue(): void {
    const supply = this.#launched?.supply
    if (supply === null || supply === undefined || supply.over) return
    const now = this.#clock.monotonicMs()
    if (this.#startedAt === null) {
      if (now < this.#startAt) return
      this.#startedAt = now
    }
    this.#look(now, this.#startedAt)
    this.#markLate(supply)
    while (this.#made < supply.sentCells) this.#pass()
    for (let lacking = supply.sentCells + supply.wantedCells - this.#made; lacking > 0; ) {
      const count = Math.min(lacking, TURN_CELLS, RATCHET_CELLS - (this.#made % RATCHET_CELLS))
      this.#make(count)
      lacking -= count
    }
    if (this.#timedAt === null) {
      this.#timedAt = now
      this.#timedCell = this.#made - 1
    }
  }

  /** Whether the loop still brings anything home. */
  #look(now: MonotonicMs, startedAt: MonotonicMs): void {
    if (!this.#open) return
    const patience = Math.max(STALL_MIN_MS, STALL_ROUND_TRIPS * this.#roundTripMs)
    const since = this.#home === 0 ? startedAt + FIRST_HOME_MS : this.#lastHomeAt + patience
    if (now > since) this.#end('stalled')
  }

  /** Of the cells that left together since the last look, all but those of one hold left too late: others stood in for them. */
  #markLate({ sentCells, wantedCells }: PacedSupply): void {
    const end = Math.min(sentCells - wantedCells, this.#made)
    for (let counter = Math.max(this.#seenSent, this.#made - this.#addressees.length); counter < end; counter++)
      this.#addressees[counter % this.#addressees.length]! |= LATE
    this.#seenSent = sentCells
  }

  /** A slot was missed: this node stood still. Its cell left as random bytes. */
  #pass(): void {
    this.#note(NOBODY)
    this.#launched!.lane.push(Command.CIRCUIT, EMPTY_BODY)
  }

  #make(count: number): void {
    const first = this.#made
    const filler = this.hops.length + 1
    for (let cell = 0; cell < count; cell++) {
      // A counter that came home before its cell was made is spent: nothing that rode in it would ever be heard of.
      const spent = this.#made < this.#home
      const addressee = spent ? filler : this.#nextAddressee()
      this.#plain(spent ? undefined : this.#asks.at(addressee), cell)
      this.#note(spent ? NOBODY : addressee)
      addressees[cell] = addressee
    }
    for (let hop = 1; hop <= this.hops.length + 1; hop++) {
      let members = 0
      for (let cell = 0; cell < count; cell++) {
        if (addressees[cell] !== hop) continue
        groupOffsets[members] = outOffsets[cell]!
        groupCounters[members++] = first + cell
      }
      if (members > 0) this.#layers.wrap(hop, outCells, groupOffsets, groupCounters, members)
    }
    const { lane } = this.#launched!
    for (let cell = 0; cell < count; cell++) {
      const at = cell * CELL_BYTES
      lane.push(Command.CIRCUIT, outCells.subarray(at + CELL_HEADER_BYTES, at + CELL_BYTES))
    }
  }

  /** Who the next cell is for; `hops + 1` for a filler. */
  #nextAddressee(): number {
    const hops = this.hops.length
    const asked = hops + (this.#own === null ? 0 : 1)
    for (let step = 1; this.#open && step <= hops; step++) {
      const hop = ((this.#turn + step - 1) % hops) + 1
      if (this.#urgent[hop] === 0 || this.#inFlight[hop]! >= URGENT_CELLS) continue
      this.#turn = hop
      return hop
    }
    for (let step = 1; step <= asked; step++) {
      const hop = ((this.#turn + step - 1) % asked) + 1
      const mux = this.#asks.at(hop)
      if (mux === undefined || !this.#wants(hop, mux)) continue
      this.#turn = hop
      return hop
    }
    if (!this.#open) return hops + 1
    // An exchange asks with every second cell: each brings a payload there, which is to be sealed here and opened at the other end. It has a turn
    // of its own: where two other hops owe answers, one of them would always stand before it.
    this.#poll = !this.#poll
    if (this.#poll) {
      for (let step = 1; step <= asked; step++) {
        const hop = ((this.#exchangeTurn + step - 1) % asked) + 1
        if (this.#asks.at(hop)?.exchanging !== true) continue
        this.#exchangeTurn = hop
        return hop
      }
    }
    for (let step = 1; step <= asked; step++) {
      const hop = ((this.#pollTurn + step - 1) % asked) + 1
      if (this.#asks.at(hop)?.awaitingAnswers !== true) continue
      this.#pollTurn = hop
      return hop
    }
    return hops + 1
  }

  /** Whether there is something for `hop`, or something there that no cell is on its way for. */
  #wants(hop: number, mux: StreamMux): boolean {
    if (mux.hasOutput) return true
    if (!this.#open) return false
    const exchanges = this.#exchanges.get(hop)
    if (exchanges?.urgent === true) return true
    return mux.awaiting && mux.peerBacklogCells + (exchanges?.arriving ?? 0) > this.#inFlight[hop]!
  }

  #plain(mux: StreamMux | undefined, cell: number): void {
    const at = cell * CELL_BYTES
    outCells.fill(0, at, at + FRAMES_AT)
    if (mux === undefined) outCells.fill(0, at + FRAMES_AT, at + CELL_BYTES)
    else mux.fill(outCells, at + FRAMES_AT, at + CELL_BYTES, this.#made)
  }

  /** The next cell is on its way to `addressee`. */
  #note(addressee: number): void {
    this.#addressees[this.#made % this.#addressees.length] = addressee
    this.#inFlight[addressee]!++
    this.#made++
  }

  // Life --------------------------------------------------------------------------------------------------------------------------

  onGone(reason: CircuitEnd): void {
    this.#end(reason)
  }

  onOver(): void {
    if (this.#over) return
    this.#over = true
    this.#end('expired')
    this.#asks.close()
    this.#layers.wipe()
  }

  #end(reason: LoopEndReason): void {
    if (!this.#open) return
    this.close()
    this.#onEnd(this, reason)
  }

  /** No more work: requests under way fail with `CIRCUIT_ENDED`, the cells go on until the loop's time is up. Idempotent. */
  close(): void {
    if (!this.#open) return
    this.#open = false
    for (const exchanges of this.#exchanges.values()) exchanges.clear()
    this.#asks.cancelAll()
    this.#own?.close()
  }
}
