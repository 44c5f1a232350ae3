/**
 * The control slots of one link: a burst of cells at fixed times, for everything that is not a paced circuit's cell (gossip, set-ups of paced
 * loops, DESTROY), and PAD where nothing waits. A burst is as long as a set-up packet, which goes whole in one, so that it passes a member in
 * one wait. Without these slots an observer would see when a node emits a set-up that it never received, or says something because something
 * happened. Packets and all else take bursts in turn where both wait: neither can starve the other. A link that is young has more of them, because
 * it is young and for no other reason: then gossip has most to say, and a node that has just started is soon of use.
 * Limits: `QUEUE_CELLS_MAX` cells and `PACKETS_MAX` packets wait; what exceeds them is refused, and its sender repairs (gossip) or gives up (a
 * set-up). One DESTROY for each circuit waits. Spec: SPEC.md §4.5.
 */
import type { MonotonicMs } from '../src/bytes/index.ts'
import { BODY_BYTES, type CircuitId, Command, NO_CIRCUIT } from '../src/cell/index.ts'
import type { Lane, LaneSource } from '../src/link/index.ts'
import type { Paced } from './pacer.ts'

// Specification constant.
/** Cells of a burst: a set-up packet's. */
export const BURST_CELLS = 8

// Implementation constants.
export const QUEUE_CELLS_MAX = 1024
/** Set-ups that wait: each takes a burst, and one that waits longer is too late for its members. */
export const PACKETS_MAX = 8
/** A process that stood still sends at most so many bursts at once. */
const LATE_BURSTS_MAX = 2

const PAD_BODY = new Uint8Array(BODY_BYTES)
const EMPTY_BODY = new Uint8Array(BODY_BYTES)

interface Waiting {
  readonly lane: ControlLane
  readonly command: Command
  readonly body: Uint8Array
}

interface Packet {
  readonly lane: ControlLane
  readonly bodies: Uint8Array[]
}

/** When the bursts of one link go. */
export interface ControlTimes {
  readonly everyMs: number
  /** When the first burst goes: a random time within `everyMs`. */
  readonly firstAt: MonotonicMs
  /** Bursts before that, while the link is young. */
  readonly young?: { readonly everyMs: number; readonly firstAt: MonotonicMs }
}

export interface ControlLineParts extends ControlTimes {
  readonly link: LaneSource
  /** Cells of a lane have gone. */
  onSent?(lane: Lane, command: Command, cells: number): void
}

export class ControlLine implements Paced {
  readonly #link: LaneSource
  readonly #onSent: NonNullable<ControlLineParts['onSent']>
  readonly #everyMs: number
  readonly #pad: Lane
  /** From here on bursts go each `everyMs`; before, as while the link is young. */
  readonly #grownAt: number
  readonly #youngMs: number
  #nextAt: number
  #queue: Waiting[] = []
  #packets: Packet[] = []
  #packetsTurn = true

  constructor({ link, everyMs, firstAt, young, onSent = () => {} }: ControlLineParts) {
    this.#link = link
    this.#onSent = onSent
    this.#everyMs = everyMs
    this.#grownAt = firstAt
    this.#youngMs = young?.everyMs ?? everyMs
    this.#nextAt = Math.min(firstAt, young?.firstAt ?? firstAt)
    this.#pad = link.lane(NO_CIRCUIT)
  }

  /** Cells that wait for a slot, but for set-ups. */
  get waitingCells(): number {
    return this.#queue.length
  }

  /** Set-up packets that wait for a burst. */
  get waitingPackets(): number {
    return this.#packets.length
  }

  /** A lane whose cells go in control slots; eight SETUP cells of one lane go in one burst. */
  lane(id: CircuitId): Lane {
    return new ControlLane(this, this.#link.lane(id))
  }

  /** Answers an unknown circuit, unless that answer waits already. */
  destroy(id: CircuitId): void {
    if (this.#queue.some(({ command, lane }) => command === Command.DESTROY && lane.id === id)) return
    this.wait(new ControlLane(this, this.#link.lane(id)), Command.DESTROY, EMPTY_BODY)
  }

  emit(now: MonotonicMs): void {
    let bursts = 0
    while (this.#nextAt < this.#grownAt && this.#nextAt <= now) {
      bursts++
      // None so soon before the first of the others that both might go at one tick.
      this.#nextAt += this.#youngMs
      if (this.#nextAt + this.#youngMs > this.#grownAt) this.#nextAt = this.#grownAt
    }
    if (this.#nextAt <= now) {
      const passed = Math.floor((now - this.#nextAt) / this.#everyMs) + 1
      bursts += passed
      this.#nextAt += passed * this.#everyMs
    }
    for (let left = Math.min(bursts, LATE_BURSTS_MAX); left > 0; left--) this.#sendBurst()
  }

  #sendBurst(): void {
    const packet = this.#packets[0]
    if (packet !== undefined && packet.bodies.length === BURST_CELLS && (this.#packetsTurn || this.#queue.length === 0)) {
      this.#packets.shift()
      this.#packetsTurn = false
      for (const body of packet.bodies) packet.lane.send(Command.SETUP, body)
      return this.#onSent(packet.lane, Command.SETUP, packet.bodies.length)
    }
    this.#packetsTurn = true
    for (let cell = 0; cell < BURST_CELLS; cell++) {
      const next = this.#queue.shift()
      if (next === undefined) {
        this.#pad.push(Command.PAD, PAD_BODY)
        continue
      }
      next.lane.send(next.command, next.body)
      this.#onSent(next.lane, next.command, 1)
    }
  }

  /** Called by its lanes. */
  wait(lane: ControlLane, command: Command, body: Uint8Array): boolean {
    if (command === Command.SETUP) return this.#waitPacket(lane, body)
    if (this.#queue.length >= QUEUE_CELLS_MAX) return false
    this.#queue.push({ lane, command, body: body.slice() })
    return true
  }

  #waitPacket(lane: ControlLane, body: Uint8Array): boolean {
    const last = this.#packets.at(-1)
    if (last !== undefined && last.lane === lane && last.bodies.length < BURST_CELLS) {
      last.bodies.push(body.slice())
      return true
    }
    if (this.#packets.length >= PACKETS_MAX) return false
    this.#packets.push({ lane, bodies: [body.slice()] })
    return true
  }

  /** Drops what waits of `lane`. */
  forget(lane: ControlLane): void {
    this.#queue = this.#queue.filter((waiting) => waiting.lane !== lane)
    this.#packets = this.#packets.filter((packet) => packet.lane !== lane)
  }

  /** Cells of `lane` that wait. */
  waitingOf(lane: ControlLane): number {
    let cells = 0
    for (const waiting of this.#queue) if (waiting.lane === lane) cells++
    for (const packet of this.#packets) if (packet.lane === lane) cells += packet.bodies.length
    return cells
  }
}

/** See `ControlLine.lane`. */
class ControlLane implements Lane {
  readonly id: CircuitId
  readonly #line: ControlLine
  readonly #lane: Lane
  #open = true

  constructor(line: ControlLine, lane: Lane) {
    this.id = lane.id
    this.#line = line
    this.#lane = lane
  }

  get queuedCells(): number {
    return this.#line.waitingOf(this) + this.#lane.queuedCells
  }

  push(command: Command, body: Uint8Array): boolean {
    return this.#open && body.length === BODY_BYTES && this.#line.wait(this, command, body)
  }

  send(command: Command, body: Uint8Array): void {
    this.#lane.push(command, body)
  }

  close(): void {
    if (!this.#open) return
    this.#open = false
    this.#line.forget(this)
    this.#lane.close()
  }
}
