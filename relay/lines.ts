/**
 * Who runs what a node sends by time: the lines of paced circuits and the control slots of links. `LocalLines` beside what handles cells (memory
 * links, simulations, and nodes whose own clock is swift); `ThreadLines` (`thread-lines.ts`) in the thread of the links, out of the way of all that
 * a node computes. Both run the same `Pacer`, `PacedLine` and `ControlLine`. Spec: SPEC.md §4.5.
 */
import type { CircuitId } from '../src/cell/index.ts'
import type { PacedSupply } from '../src/circuit/index.ts'
import type { Lane, Link } from '../src/link/index.ts'
import type { Clock, Rng } from '../src/runtime/index.ts'
import { ControlLine, type ControlTimes } from './control-line.ts'
import { type LineOver, type LinePlan, PacedLine } from './paced-line.ts'
import { Pacer } from './pacer.ts'

/** One paced circuit's outgoing side, as what handles its cells has it. */
export interface Line extends Lane, PacedSupply {
  /** Something of this circuit came home (own lines): it lives. */
  heard(): void
}

export interface LineUse {
  readonly plan: LinePlan
  /** Whether an origin of this node supplies it. */
  readonly own: boolean
  onOver(why: LineOver): void
}

export interface Lines {
  /** Begins the control slots of a link. Once for each. */
  addLink(link: Link, times: ControlTimes): void
  removeLink(link: Link): void
  /** A lane in the link's control slots, or `null` if it has none. */
  controlLane(link: Link, id: CircuitId): Lane | null
  /** Says in a control slot that circuit `id` is not known here. `false`: the link has none. */
  destroy(link: Link, id: CircuitId): boolean
  /** The line of a circuit that goes out as `id` over `link`. It runs until it is over or `stop`ped. */
  line(link: Link, id: CircuitId, use: LineUse): Line
  /** Ends a line before its time. */
  stop(link: Link, line: Line): void
  close(): void
}

export interface LinesParts {
  readonly clock: Clock
  readonly rng: Rng
  readonly tickMs: number
  /** After each tick. */
  onTick(): void
}

/** Makes what runs lines. */
export type MakeLines = (parts: LinesParts) => Lines

export class LocalLines implements Lines {
  readonly #clock: Clock
  readonly #rng: Rng
  readonly #tickMs: number
  readonly #pacer: Pacer
  readonly #controlLines = new Map<Link, ControlLine>()
  /** Lines that run: what `stop` is given is one of them, or over. */
  readonly #running = new Map<Line, PacedLine>()

  constructor({ clock, rng, tickMs, onTick }: LinesParts) {
    this.#clock = clock
    this.#rng = rng
    this.#tickMs = tickMs
    this.#pacer = new Pacer({ clock, onTick, tickMs })
  }

  addLink(link: Link, times: ControlTimes): void {
    const line = new ControlLine({ link, ...times })
    this.#controlLines.set(link, line)
    this.#pacer.add(link, line)
  }

  removeLink(link: Link): void {
    this.#controlLines.delete(link)
    this.#pacer.removeLink(link)
  }

  controlLane(link: Link, id: CircuitId): Lane | null {
    return this.#controlLines.get(link)?.lane(id) ?? null
  }

  destroy(link: Link, id: CircuitId): boolean {
    const line = this.#controlLines.get(link)
    line?.destroy(id)
    return line !== undefined
  }

  line(link: Link, id: CircuitId, { plan, own, onOver }: LineUse): Line {
    const control = this.controlLane(link, id)
    const line: PacedLine = new PacedLine({
      lane: link.lane(id),
      ...(control === null ? {} : { control }),
      own,
      tickMs: this.#tickMs,
      plan,
      rng: this.#rng,
      now: () => this.#clock.monotonicMs(),
      onOver: (why) => {
        this.#forget(link, line)
        onOver(why)
      },
    })
    this.#running.set(line, line)
    this.#pacer.add(link, line)
    return line
  }

  #forget(link: Link, line: PacedLine): void {
    this.#running.delete(line)
    this.#pacer.remove(link, line)
  }

  stop(link: Link, line: Line): void {
    const running = this.#running.get(line)
    if (running === undefined) return
    this.#forget(link, running)
    running.close()
  }

  close(): void {
    this.#pacer.close()
    this.#controlLines.clear()
    this.#running.clear()
  }
}
