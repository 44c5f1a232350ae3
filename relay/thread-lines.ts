/**
 * Lines and control slots that run in the thread of the links, as the node's thread has them: what it puts in goes over as records, what it is told
 * back is what it needs to go on: how far its own lines are, what has gone of what waited, and which line is over. What waits in control slots
 * is bounded here, by the same limits (`control-line.ts`). Spec: SPEC.md §4.5.
 */
import { type CircuitId, Command } from '../src/cell/index.ts'
import type { Lane, Link } from '../src/link/index.ts'
import { encodeText, type RecordWriter, type ThreadHost } from '../src/link/thread/index.ts'
import type { Clock } from '../src/runtime/index.ts'
import { BURST_CELLS, type ControlTimes, PACKETS_MAX, QUEUE_CELLS_MAX } from './control-line.ts'
import { FromLines, LINE_ENDS, type LineOrder, microsOf, ToLines } from './line-kinds.ts'
import type { Line, Lines, LinesParts, LineUse } from './lines.ts'
import { type LineSlots, slotsBy, wantedCellsOf } from './paced-line.ts'

/** What is needed of the thread's host. */
export type LinkThread = Pick<ThreadHost, 'orders' | 'onOther' | 'numberOf'>

export class ThreadLines implements Lines {
  readonly #host: LinkThread
  readonly #orders: RecordWriter
  readonly #clock: Clock
  readonly #tickMs: number
  readonly #control = new Map<Link, ControlSlots>()
  /** The same, by the links' numbers. */
  readonly #slots = new Map<number, ControlSlots>()
  readonly #lanes = new Map<number, ThreadLane>()
  readonly #lines = new Map<number, ThreadLine>()
  #numbers = 0

  constructor(host: LinkThread, { clock, tickMs, onTick }: LinesParts) {
    this.#host = host
    this.#orders = host.orders
    this.#clock = clock
    this.#tickMs = tickMs
    host.onOther = (kind, id, a, b, bytes) => {
      switch (kind) {
        case FromLines.TICK: {
          const sent = new Uint32Array(bytes.slice().buffer)
          for (let at = 0; at < sent.length; at += 2) this.#lines.get(sent[at]!)?.onTick(sent[at + 1]!)
          return onTick()
        }
        case FromLines.LANE_GONE:
          return this.#lanes.get(id)?.onGone(a, b)
        case FromLines.UNKNOWN_SAID:
          return this.#slots.get(id)?.said(a)
        case FromLines.LINE_BEGUN: {
          const [baseMs, firstSlot] = new Float64Array(bytes.slice().buffer)
          return this.#lines.get(id)?.onBegun({ baseMs: baseMs!, firstSlot: firstSlot! })
        }
        case FromLines.LINE_OVER: {
          const line = this.#lines.get(id)
          this.#lines.delete(id)
          return line?.onEnd(LINE_ENDS[a] ?? 'overload')
        }
      }
    }
  }

  addLink(link: Link, times: ControlTimes): void {
    const slots = new ControlSlots()
    const number = this.#numberOf(link)
    this.#control.set(link, slots)
    this.#slots.set(number, slots)
    this.#orders.write(ToLines.CONTROL, number, { bytes: encodeText(times) })
  }

  removeLink(link: Link): void {
    const slots = this.#control.get(link)
    if (slots === undefined) return
    const number = this.#numberOf(link)
    this.#control.delete(link)
    this.#slots.delete(number)
    for (const lane of [...slots.lanes]) lane.close()
    this.#orders.write(ToLines.UNPACED, number)
  }

  controlLane(link: Link, id: CircuitId): Lane | null {
    const slots = this.#control.get(link)
    if (slots === undefined) return null
    const number = this.#nextNumber()
    this.#orders.write(ToLines.LANE, this.#numberOf(link), { a: number, b: id, later: true })
    const lane: ThreadLane = new ThreadLane(number, id, slots, this.#orders, () => {
      this.#lanes.delete(number)
      slots.lanes.delete(lane)
    })
    this.#lanes.set(number, lane)
    slots.lanes.add(lane)
    return lane
  }

  destroy(link: Link, id: CircuitId): boolean {
    const slots = this.#control.get(link)
    if (slots === undefined) return false
    if (slots.say(id)) this.#orders.write(ToLines.UNKNOWN, this.#numberOf(link), { a: id, later: true })
    return true
  }

  line(link: Link, id: CircuitId, use: LineUse): Line {
    const number = this.#nextNumber()
    const order: LineOrder = { plan: use.plan, own: use.own }
    this.#orders.write(ToLines.LINE, number, { a: this.#numberOf(link), b: id, bytes: encodeText(order) })
    const control = this.controlLane(link, id) ?? link.lane(id)
    const wanted = wantedCellsOf(use.plan, this.#tickMs)
    const line = new ThreadLine({ number, id, control, wanted, orders: this.#orders, clock: this.#clock, use })
    this.#lines.set(number, line)
    return line
  }

  stop(_link: Link, line: Line): void {
    line.close()
    if (line instanceof ThreadLine) this.#lines.delete(line.number)
  }

  close(): void {
    this.#control.clear()
    this.#slots.clear()
    this.#lanes.clear()
    this.#lines.clear()
  }

  #numberOf(link: Link): number {
    return this.#host.numberOf(link) ?? 0
  }

  #nextNumber(): number {
    this.#numbers = (this.#numbers + 1) >>> 0
    return this.#numbers
  }
}

/**
 * What waits in the control slots of one link: never less than waits there, so that the thread takes whatever was let in here. What strangers make wait
 * (unknown circuits) is counted with all else.
 */
class ControlSlots {
  readonly lanes = new Set<ThreadLane>()
  /** Circuits of which it waits to be said that they are unknown. */
  readonly #unknown = new Set<number>()
  /** Cells that wait, those of set-ups apart. */
  cells = 0
  packetCells = 0

  /** Whether one more cell of `lane` may wait. */
  hasRoom(command: Command, lane: ThreadLane): boolean {
    if (command !== Command.SETUP) return this.cells < QUEUE_CELLS_MAX
    if (lane.packetCells % BURST_CELLS !== 0) return true
    return Math.ceil(this.packetCells / BURST_CELLS) < PACKETS_MAX
  }

  count(command: number, cells: number): void {
    if (command === Command.SETUP) this.packetCells += cells
    else this.cells += cells
  }

  /** Lets it be said once that a circuit is unknown. `false`: that waits already, or there is no room. */
  say(id: number): boolean {
    if (this.#unknown.has(id) || this.cells >= QUEUE_CELLS_MAX) return false
    this.#unknown.add(id)
    this.cells++
    return true
  }

  said(id: number): void {
    if (this.#unknown.delete(id)) this.cells--
  }
}

/** See `Lines.controlLane`. */
class ThreadLane implements Lane {
  readonly id: CircuitId
  readonly #number: number
  readonly #slots: ControlSlots
  readonly #orders: RecordWriter
  readonly #onClose: () => void
  #open = true
  /** What waits of this lane. */
  #cells = 0
  packetCells = 0

  constructor(number: number, id: CircuitId, slots: ControlSlots, orders: RecordWriter, onClose: () => void) {
    this.id = id
    this.#number = number
    this.#slots = slots
    this.#orders = orders
    this.#onClose = onClose
  }

  get queuedCells(): number {
    return this.#cells + this.packetCells
  }

  push(command: Command, body: Uint8Array): boolean {
    if (!this.#open || !this.#slots.hasRoom(command, this)) return false
    this.#count(command, 1)
    this.#orders.write(ToLines.LANE_CELL, this.#number, { a: command, bytes: body, later: true })
    return true
  }

  onGone(command: number, cells: number): void {
    this.#count(command, -cells)
  }

  #count(command: number, cells: number): void {
    this.#slots.count(command, cells)
    if (command === Command.SETUP) this.packetCells += cells
    else this.#cells += cells
  }

  close(): void {
    if (!this.#open) return
    this.#open = false
    this.#count(Command.SETUP, -this.packetCells)
    this.#count(Command.CONTROL, -this.#cells)
    this.#orders.write(ToLines.LANE_CLOSE, this.#number, { later: true })
    this.#onClose()
  }
}

interface ThreadLineParts {
  readonly number: number
  readonly id: CircuitId
  readonly control: Lane
  readonly wanted: number
  readonly orders: RecordWriter
  readonly clock: Clock
  readonly use: LineUse
}

/** See `Line`. What it says of its cells is as of the last tick that this thread has heard of, and for own lines alone. */
class ThreadLine implements Line {
  readonly id: CircuitId
  readonly number: number
  readonly wantedCells: number
  readonly #parts: ThreadLineParts
  #arrived = 0
  #sent = 0
  #slots: LineSlots | null = null
  #over = false

  constructor(parts: ThreadLineParts) {
    this.id = parts.id
    this.number = parts.number
    this.wantedCells = parts.wanted
    this.#parts = parts
  }

  get queuedCells(): number {
    return this.#parts.use.own ? Math.max(0, this.#arrived - this.#sent) : 0
  }

  get sentCells(): number {
    return this.#sent
  }

  get dueCells(): number {
    if (this.#slots === null) return 0
    const { clock, use } = this.#parts
    return Math.max(this.#sent, slotsBy(clock.monotonicMs(), this.#slots.baseMs, use.plan) - this.#slots.firstSlot)
  }

  get over(): boolean {
    return this.#over
  }

  push(command: Command, body: Uint8Array): boolean {
    if (this.#over) return false
    const { clock, control, number, orders } = this.#parts
    if (command !== Command.CIRCUIT) return control.push(command, body)
    this.#arrived++
    orders.write(ToLines.LINE_CELL, number, { a: microsOf(clock.monotonicMs()), bytes: body, later: true })
    return true
  }

  heard(): void {
    if (!this.#over) this.#parts.orders.write(ToLines.LINE_HEARD, this.number, { later: true })
  }

  onTick(sent: number): void {
    this.#sent = sent
  }

  onBegun(slots: LineSlots): void {
    this.#slots = slots
  }

  onEnd(why: (typeof LINE_ENDS)[number]): void {
    if (this.#over) return
    this.#over = true
    this.#parts.control.close()
    this.#parts.use.onOver(why)
  }

  close(): void {
    if (this.#over) return
    this.#over = true
    this.#parts.control.close()
    this.#parts.orders.write(ToLines.LINE_STOP, this.number, { later: true })
  }
}
