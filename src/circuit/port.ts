/**
 * The border between an origin's loops (in `client/`) and the switch that carries their cells (in `relay/`). An origin's cells go through
 * the same links, lanes and turns as relayed ones; neither side imports the other. Spec: SPEC.md §4.4.
 */
import type { NodeId } from '../bytes/index.ts'
import type { CircuitId } from '../cell/index.ts'
import type { Lane } from '../link/index.ts'

/** Why a circuit ended at this node. Local: nothing of it goes on the wire. */
export type CircuitEnd = 'closed' | 'link-lost' | 'destroyed' | 'protocol' | 'overload' | 'idle' | 'expired'

/** The origin's end of a loop: where its cells come home. */
export interface LoopEnd {
  /** `count` cells of this loop came home; `offsets` are those of whole cells in `cells`. Borrowed until return, may be changed in place. */
  onHome(cells: Uint8Array, offsets: Int32Array, count: number): void
  /** After the last `onHome` of a turn: the time to send. */
  onTurnEnd(): void
  /** The circuit is gone. Exactly once, unless this end closed it itself. */
  onGone(reason: CircuitEnd): void
}

/** A loop on its way round: its set-up packet is out. */
export interface Launch {
  readonly first: NodeId
  readonly last: NodeId
  /** The packet, ready for the first member. */
  readonly packet: Uint8Array
  /** By which the returning packet is known (hex of the origin's own record's ephemeral key). */
  readonly ephemeral: string
  /** The packet came home over the link from `last`. The end of the loop, or `null` if it does not verify: the circuit is dropped. */
  onReturn(packet: Uint8Array): LoopEnd | null
  /** The circuit ended before it returned. */
  onGone(reason: CircuitEnd): void
}

/** A launched circuit, as its origin holds it. */
export interface LaunchedLoop {
  readonly id: CircuitId
  /** Where the origin pushes its cells. */
  readonly lane: Lane
  /** Writes what was pushed. */
  flush(): void
  /** Forgets the circuit on both of the origin's links. Idempotent. */
  close(): void
}

export interface LoopPort {
  /** Sends a set-up packet to `first`, or `null` if that is no neighbour or too many loops are under way. */
  launch(launch: Launch): LaunchedLoop | null
}
