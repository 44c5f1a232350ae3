/**
 * One member's part in one circuit: peel a layer, recognise, answer, send on. Constant work per cell whatever the cell is; a recognised
 * cell costs one operation more (the answer's seal). The answer is sealed in the same turn, after the batch was peeled; what it carries was
 * queued before this turn, because services answer in later turns, so no handler's time shows. In the paced clocks the lane is a line that
 * keeps the cell for its slot, so that neither peeling nor sealing shows either; cells may be lost, and streams know it.
 * Spec: SPEC.md §4.2, §4.5.
 */
import type { MonotonicMs, NodeId } from '../src/bytes/index.ts'
import { CELL_BYTES, CELL_HEADER_BYTES, type CircuitId, Command, RECOGNISED_BYTES } from '../src/cell/index.ts'
import { COUNTER_END, type HopLayer, isRecognised } from '../src/circuit/index.ts'
import { rateOf, type SetUpPlan } from '../src/circuit/setup/index.ts'
import { type Lane, type Link, TURN_CELLS } from '../src/link/index.ts'
import { EXCHANGES_MAX, type MuxStream, type PayloadFlow, ResetCode, StreamMux } from '../src/stream/index.ts'
import type { Apex, HopPort } from './apex.ts'
import type { Line } from './lines.ts'
import type { Reservation } from './pacing.ts'

/** What a paced circuit has besides. */
export interface PacedHop {
  readonly line: Line
  readonly plan: SetUpPlan
  readonly reservation: Reservation
}

/** What a turn left of the circuit. */
export type HopVerdict = 'open' | 'overload' | 'expired'

const FRAMES_AT = CELL_HEADER_BYTES + RECOGNISED_BYTES

/** Scratch of `run`: one thread, no nesting. */
const counters = new Uint32Array(TURN_CELLS)
const answerOffsets = new Int32Array(TURN_CELLS)
const answerCounters = new Uint32Array(TURN_CELLS)

export class RelayHop implements HopPort {
  readonly from: Link
  readonly fromId: CircuitId
  readonly to: Link
  readonly toId: CircuitId
  readonly next: NodeId
  /** Cells of this circuit in the current turn, by offset; filled by the switch. */
  readonly turn = new Int32Array(TURN_CELLS)
  turnCells = 0
  lastCellAt: MonotonicMs
  /** Of a paced circuit. */
  readonly paced: PacedHop | null
  readonly twin: HopPort['twin']
  over = false
  readonly #lane: Lane
  readonly #layer: HopLayer
  readonly #apex: Apex
  /** Cells of this circuit seen so far: the counter of the next. */
  #counter = 0
  /** Streams with the origin; made when it first addresses this hop. */
  #mux: StreamMux | null = null

  constructor(parts: {
    readonly from: Link
    readonly fromId: CircuitId
    readonly to: Link
    readonly lane: Lane
    readonly layer: HopLayer
    readonly apex: Apex
    readonly now: MonotonicMs
    readonly paced?: PacedHop | null
    readonly twin?: HopPort['twin']
  }) {
    this.from = parts.from
    this.fromId = parts.fromId
    this.to = parts.to
    this.toId = parts.lane.id
    this.next = parts.to.peer
    this.#lane = parts.lane
    this.#layer = parts.layer
    this.#apex = parts.apex
    this.lastCellAt = parts.now
    this.paced = parts.paced ?? null
    this.twin = parts.twin
  }

  /** Handles this turn's cells. One goes out for each that came in, in order. */
  run(cells: Uint8Array): HopVerdict {
    const count = this.turnCells
    this.turnCells = 0
    if (this.#counter + count >= COUNTER_END) return 'expired'
    for (let at = 0; at < count; at++) counters[at] = this.#counter + at
    this.#layer.peel(cells, this.turn, counters, count)
    let answers = 0
    for (let cell = 0; cell < count; cell++) {
      const at = this.turn[cell]!
      if (!isRecognised(cells, at + CELL_HEADER_BYTES)) continue
      this.#mux ??= this.#openMux()
      // A breach, or the gap behind a cell that somebody garbled, ends the streams and never the circuit: a cell withheld because of its
      // content would tell the neighbours who the apex is. From then on every answer is empty; the origin sees the noise and ends the loop.
      const counter = this.#counter + cell
      if (!this.#mux.receive(cells, at + FRAMES_AT, at + CELL_BYTES, counter)) this.#mux.close(ResetCode.CANCELLED)
      this.#mux.fill(cells, at + FRAMES_AT, at + CELL_BYTES, counter)
      answerOffsets[answers] = at
      answerCounters[answers++] = counter
    }
    if (answers > 0) this.#layer.seal(cells, answerOffsets, answerCounters, answers)
    this.#counter += count
    for (let cell = 0; cell < count; cell++) {
      const at = this.turn[cell]!
      if (!this.#lane.push(Command.CIRCUIT, cells.subarray(at + CELL_HEADER_BYTES, at + CELL_BYTES))) return 'overload'
    }
    return 'open'
  }

  #openMux(): StreamMux {
    const options = { role: 'hop', onOpen: (stream: MuxStream) => this.#apex.accept(stream, this), wake: () => {} } as const
    return new StreamMux(this.paced === null ? options : { ...options, lossy: { rate: rateOf(this.paced.plan) } })
  }

  /** Its predecessor is gone: nobody hears what is answered, and the line goes on by itself for a while. */
  orphan(): void {
    this.turnCells = 0
    this.#mux?.close(ResetCode.CANCELLED)
  }

  get claimant(): object {
    return this.from
  }

  bill(ms: number): void {
    this.from.bill(ms)
  }

  get exchanges(): number {
    return this.paced === null ? 1 : EXCHANGES_MAX
  }

  attach(flow: PayloadFlow, number?: number): boolean {
    return this.#mux?.attach(flow, number) ?? false
  }

  /** Ends everything it holds. */
  close(): void {
    this.#mux?.close(ResetCode.CANCELLED)
    this.#mux = null
    this.#lane.close()
    this.#layer.wipe()
  }
}
