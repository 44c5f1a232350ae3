/**
 * The border between an origin's loops (in `client/`) and the switch that carries their cells (in `relay/`). An origin's cells go through
 * the same links, lanes and turns as relayed ones; neither side imports the other. Spec: SPEC.md §4.4.
 */
import type { NodeId } from '../bytes/index.ts'
import type { CircuitId } from '../cell/index.ts'
import type { Lane } from '../link/index.ts'
import type { SetUpPlan } from './setup/record.ts'

/** Why a circuit ended at this node. Local: nothing of it goes on the wire. */
export type CircuitEnd = 'closed' | 'link-lost' | 'destroyed' | 'protocol' | 'overload' | 'idle' | 'expired'

/** The origin's end of a loop: where its cells come home. */
export interface LoopEnd {
  /** `count` cells of this loop came home; `offsets` are those of whole cells in `cells`. Borrowed until return, may be changed in place. */
  onHome(cells: Uint8Array, offsets: Int32Array, count: number): void
  /** After the last `onHome` of a turn: the time to send (swift). */
  onTurnEnd(): void
  /** Paced loops: once in a while, in a turn of its own: the time to keep the line supplied. Until the line is over. */
  onDue?(): void
  /** Paced loops: the line is over, nothing goes out any more. Once, after `onGone` if that was not called before. */
  onOver?(): void
  /** The circuit is gone: nothing comes home any more. Exactly once, unless this end closed it itself. */
  onGone(reason: CircuitEnd): void
}

/** A loop on its way round: its set-up packet is out. */
export interface Launch {
  readonly first: NodeId
  readonly last: NodeId
  /** As in the packet: when cells go. */
  readonly plan: SetUpPlan
  /** The packet, ready for the first member. */
  readonly packet: Uint8Array
  /** By which the returning packet is known (hex of the origin's own record's ephemeral key). */
  readonly ephemeral: string
  /** The packet came home over the link from `last`. The end of the loop, or `null` if it does not verify: the circuit is dropped. */
  onReturn(packet: Uint8Array): LoopEnd | null
  /** The circuit ended before it returned. */
  onGone(reason: CircuitEnd): void
}

/** The supply of a paced loop's line: cells leave it by time, its origin puts them in ahead of that (SPEC.md §4.5). */
export interface PacedSupply {
  /** Counter of the next cell to leave. A counter that was not supplied in time left as random bytes. */
  readonly sentCells: number
  /** What `sentCells` would be by the time alone: more where this node, or its link, stood still. */
  readonly dueCells: number
  /** Cells that are to lie in the line: those of one hold, and of one tick. */
  readonly wantedCells: number
  /** Whether the line sends nothing any more. */
  readonly over: boolean
}

/** A launched circuit, as its origin holds it. */
export interface LaunchedLoop {
  readonly id: CircuitId
  /** Where the origin pushes its cells. */
  readonly lane: Lane
  /** Of a paced loop. */
  readonly supply: PacedSupply | null
  /**
   * The origin's part of a twin: another paced circuit through the same members and over the same links (SPEC.md §4.7); the members are told in
   * cells of this one. `null`: there is no room for it, or this one did not come home. Absent: it can have none.
   */
  readonly twin?: (place: number, plan: SetUpPlan, end: LoopEnd) => LaunchedLoop | null
  /** Writes what was pushed (swift; a paced loop's cells are written by time). */
  flush(): void
  /**
   * Forgets the circuit on both of the origin's links. A paced one goes on until its time is up, or until its members would stop that are
   * not fed any more. Idempotent.
   */
  close(): void
}

export interface LoopPort {
  /** Sends a set-up packet to `first`, or `null` if that is no neighbour or too many loops are under way. */
  launch(launch: Launch): LaunchedLoop | null
}
