/**
 * What every link is to the rest of the program: an authenticated, ordered, reliable carrier of fixed-size cells between two
 * neighbours. Implementations: `memory.ts` (tests, simulation) and `libp2p/` (TLS over TCP, WebSocket). One contract suite runs over
 * all of them (`test/contract/link.ts`).
 *
 * A turn: bytes that arrive only queue; in a later turn of the event loop at most `TURN_CELLS` cells are handed to the receiver in one
 * call, then `onTurnEnd` lets it flush. One write per outgoing link and turn. Spec: SPEC.md §3.
 */
import type { NodeId } from '../bytes/index.ts'
import type { CircuitId, Command } from '../cell/index.ts'

// Implementation constants.
/** Most cells handled in one turn of one link. */
export const TURN_CELLS = 32
/** Most cells that one circuit may have waiting on one link; one more ends the circuit. */
export const LANE_CELLS_MAX = 512
/** Most cells that all circuits together may have waiting on one link; one more ends the circuit whose first cell has waited longest. */
export const LINK_CELLS_MAX = 8192
/** Bytes handed to the socket and not yet taken by the kernel, above which cells wait in their lanes. */
export const LINK_WRITE_AHEAD_BYTES = 256 * 1024

/** Why a link ended. One small set; nothing of it goes on the wire. */
export type LinkCloseReason = 'local' | 'remote' | 'protocol' | 'timeout' | 'overload' | 'error'

/** The waiting line of one circuit (or of control traffic, id 0) on one link. Lanes are served in turn, one cell each: fair between circuits. */
export interface Lane {
  readonly id: CircuitId
  /** Cells waiting here, not those already written. */
  readonly queuedCells: number
  /**
   * Queues one cell; copies `body` (`BODY_BYTES` long, borrowed until return). `false`: the lane is full or closed, or was given up to make
   * room on the link; nothing was queued, and the caller ends the circuit.
   */
  push(command: Command, body: Uint8Array): boolean
  /** Drops what is queued and frees the lane. Idempotent. */
  close(): void
}

export interface LinkReceiver {
  /** `count` whole cells, back to back from offset 0 of `cells`. Borrowed until return; may be changed in place. At most `TURN_CELLS`. */
  onCells(link: Link, cells: Uint8Array, count: number): void
  /** After the last `onCells` of a turn: the time to `flush()` links that got cells. */
  onTurnEnd(): void
  /** Exactly once; no call follows it. */
  onClose(link: Link, reason: LinkCloseReason): void
}

/** Where cells are queued for a link. */
export interface LaneSource {
  /** A lane for `id`. One per circuit and link; the caller closes it. */
  lane(id: CircuitId): Lane
  /** Writes what is queued, as far as the socket takes it, in one write. Cheap when there is nothing. What is left goes when the socket drains. */
  flush(): void
}

export interface Link extends LaneSource {
  /** Authenticated by the handshake. */
  readonly peer: NodeId
  /** Whether this side opened it. */
  readonly dialled: boolean
  readonly transport: 'tls' | 'ws' | 'memory'
  /** Whether this side names its circuits with even ids (the lower node id does). */
  readonly even: boolean
  readonly open: boolean
  /** Hands over the receiver; cells wait until then. Called once, in the turn in which the link was got. */
  start(receiver: LinkReceiver): void
  /** Its cells make this node work for `ms` outside of their turn, which its peer pays as if the turn had taken longer. */
  bill(ms: number): void
  /** Idempotent. `onClose` follows in a later turn. */
  close(reason: LinkCloseReason): void
}

/** Opens and accepts links, of the kind `L`. */
export interface LinkHost<L = Link> {
  /** This node's id. */
  readonly id: NodeId
  /** Multiaddrs (each with its /p2p part) that peers can dial, known after `start()`. */
  readonly addresses: readonly string[]
  start(): Promise<void>
  /** Idempotent: closes every link and listener; afterwards no timer or socket of it remains. */
  close(): Promise<void>
  /**
   * Dials one of `addresses` (multiaddr texts, of `peer`), in order, and authenticates `peer`.
   * Errors: `LINK_UNREACHABLE`, `LINK_WRONG_PEER`, `TIMEOUT`, or the signal's reason.
   */
  dial(peer: NodeId, addresses: readonly string[], waiting: { signal: AbortSignal }): Promise<L>
  /** Set before `start()`; called for each link that a peer opened, after the handshake. The callee must `start` or `close` it in the same turn. */
  onInbound(link: L): void
}
