/**
 * What the thread of the links sends by time: the pacer, the lines and the control slots, as the node orders them (`thread-lines.ts`). Nothing else
 * runs in that thread but sockets, so that ticks wait for nothing that a node does: not for its user's work, not for its disk, not for its
 * collector. What is to leave lies in the lines ahead of its time; what the node has written is taken up before each tick.
 *
 *   node: cells handled, own cells made → records → tick: take up, emit, one write per link → sockets → records → node
 *
 * Threat met: who observes a link sees by when a write comes that this node computes (P5a). Spec: SPEC.md §4.5.
 */
import type { MonotonicMs } from '../src/bytes/index.ts'
import { type CircuitId, Command } from '../src/cell/index.ts'
import type { Lane, LaneSource } from '../src/link/index.ts'
import { decodeText, type OnRecord } from '../src/link/thread/index.ts'
import type { OtherPart, ThreadParts } from '../src/link/thread/serve.ts'
import type { Rng } from '../src/runtime/index.ts'
import { ControlLine, type ControlTimes } from './control-line.ts'
import { FromLines, LINE_ENDS, type LineOrder, type LineThreadOptions, ToLines, timeOf } from './line-kinds.ts'
import { PacedLine } from './paced-line.ts'
import { Pacer, TICK_MS } from './pacer.ts'

interface Running {
  readonly link: LaneSource
  readonly line: PacedLine
}

export class LineThread implements OtherPart {
  readonly #parts: ThreadParts
  readonly #rng: Rng
  readonly #tickMs: number
  readonly #pacer: Pacer
  readonly #control = new Map<LaneSource, ControlLine>()
  readonly #lanes = new Map<number, Lane>()
  readonly #laneNumbers = new Map<Lane, number>()
  readonly #lines = new Map<number, Running>()
  /** This node's own lines that run, by number, and those whose slots the node does not know yet. */
  readonly #own = new Map<number, PacedLine>()
  readonly #notBegun = new Map<number, PacedLine>()
  /** When the cell came that is being taken up now. */
  #cameAt: number | null = null

  constructor(parts: ThreadParts, rng: Rng) {
    this.#parts = parts
    this.#rng = rng
    const { tickMs } = parts.options as LineThreadOptions
    this.#tickMs = tickMs
    // A thread that was late gives the node one tick to handle what came meanwhile. Where ticks are longer than the shortest, cells are kept for long, and
    // may lie in their sockets until the next tick.
    this.#pacer = new Pacer({
      clock: parts.clock,
      tickMs,
      readMs: tickMs,
      beforeTick: () => parts.drain(),
      onTick: (next) => {
        this.#tellTick()
        if (next !== null && tickMs > TICK_MS) parts.rest(next)
      },
    })
  }

  readonly onRecord: OnRecord = (kind, id, a, b, bytes) => {
    switch (kind) {
      case ToLines.LINE_CELL:
        this.#cameAt = timeOf(a, this.#parts.clock.monotonicMs())
        this.#lines.get(id)?.line.push(Command.CIRCUIT, bytes)
        this.#cameAt = null
        return
      case ToLines.LINE_HEARD:
        return this.#lines.get(id)?.line.heard()
      case ToLines.LINE:
        return this.#addLine(id, a, b as CircuitId, decodeText<LineOrder>(bytes))
      case ToLines.LINE_STOP: {
        const running = this.#lines.get(id)
        this.#forget(id)
        return running?.line.close()
      }
      case ToLines.CONTROL:
        return this.#addControl(id, decodeText<ControlTimes>(bytes))
      case ToLines.LANE:
        return this.#addLane(id, a, b as CircuitId)
      case ToLines.LANE_CELL:
        return void this.#lanes.get(id)?.push(a as Command, bytes)
      case ToLines.LANE_CLOSE:
        return this.#closeLane(id)
      case ToLines.UNKNOWN: {
        const link = this.#parts.link(id)
        return link && this.#control.get(link)?.destroy(a as CircuitId)
      }
      case ToLines.UNPACED: {
        const link = this.#parts.link(id)
        return link && this.onLinkEnded(link)
      }
    }
  }

  #addControl(number: number, times: ControlTimes): void {
    const link = this.#parts.link(number)
    if (link === undefined) return
    const line = new ControlLine({
      link,
      ...times,
      onSent: (lane, command, cells) => {
        if (command === Command.DESTROY) this.#parts.events.write(FromLines.UNKNOWN_SAID, number, { a: lane.id })
        else this.#tellGone(lane, command, cells)
      },
    })
    this.#control.set(link, line)
    this.#pacer.add(link, line)
  }

  #addLane(linkNumber: number, number: number, circuit: CircuitId): void {
    const link = this.#parts.link(linkNumber)
    const lane = link && this.#control.get(link)?.lane(circuit)
    if (lane === undefined) return
    this.#lanes.set(number, lane)
    this.#laneNumbers.set(lane, number)
  }

  #closeLane(number: number): void {
    const lane = this.#lanes.get(number)
    if (lane === undefined) return
    this.#lanes.delete(number)
    this.#laneNumbers.delete(lane)
    lane.close()
  }

  #tellGone(lane: Lane, command: Command, cells: number): void {
    const number = this.#laneNumbers.get(lane)
    if (number !== undefined) this.#parts.events.write(FromLines.LANE_GONE, number, { a: command, b: cells })
  }

  #addLine(number: number, linkNumber: number, circuit: CircuitId, { plan, own }: LineOrder): void {
    const link = this.#parts.link(linkNumber)
    if (link === undefined) return this.#tellOver(number, 'overload')
    const line = new PacedLine({
      lane: link.lane(circuit),
      own,
      tickMs: this.#tickMs,
      plan,
      rng: this.#rng,
      now: () => (this.#cameAt ?? this.#parts.clock.monotonicMs()) as MonotonicMs,
      onOver: (why) => {
        this.#forget(number)
        this.#tellOver(number, why)
      },
    })
    this.#lines.set(number, { link, line })
    if (own) {
      this.#own.set(number, line)
      this.#notBegun.set(number, line)
    }
    this.#pacer.add(link, line)
  }

  #tellOver(number: number, why: (typeof LINE_ENDS)[number]): void {
    this.#parts.events.write(FromLines.LINE_OVER, number, { a: LINE_ENDS.indexOf(why) })
  }

  #forget(number: number): void {
    const running = this.#lines.get(number)
    if (running === undefined) return
    this.#lines.delete(number)
    this.#own.delete(number)
    this.#notBegun.delete(number)
    this.#pacer.remove(running.link, running.line)
  }

  #tellTick(): void {
    if (this.#own.size === 0) return
    for (const [number, line] of this.#notBegun) {
      const { slots } = line
      if (slots === null) continue
      this.#notBegun.delete(number)
      const bytes = new Uint8Array(Float64Array.of(slots.baseMs, slots.firstSlot).buffer)
      this.#parts.events.write(FromLines.LINE_BEGUN, number, { bytes })
    }
    const sent = new Uint32Array(2 * this.#own.size)
    let at = 0
    for (const [number, line] of this.#own) {
      sent[at++] = number
      sent[at++] = line.sentCells
    }
    this.#parts.events.write(FromLines.TICK, 0, { bytes: new Uint8Array(sent.buffer) })
  }

  /** Nothing goes over it by time any more. Its lines end when the node stops them. */
  onLinkEnded(link: LaneSource): void {
    this.#control.delete(link)
    this.#pacer.removeLink(link)
  }

  close(): void {
    this.#pacer.close()
  }
}
