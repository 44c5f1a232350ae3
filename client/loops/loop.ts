/**
 * What a loop of this node's own is to who works with it, whatever its clock. Two kinds: `OriginLoop` (swift: cells go as they are needed) and
 * `PacedLoop` (steady, fixed: cells go by time, and carry what there is). Types only.
 */
import type { NodeId, Pieces } from '../../src/bytes/index.ts'
import type { CircuitEnd } from '../../src/circuit/index.ts'
import type { ExchangeEnd, ExchangePort } from '../../src/stream/index.ts'
import type { OwnApex } from './own-hop.ts'

export interface AskOptions {
  readonly signal: AbortSignal
  /** The answer may take minutes: it is polled for less often. */
  readonly patient?: boolean
}

export interface LoopFigures {
  readonly roundTripMs: number
  readonly lastRoundTripMs: number
  readonly windowCells: number
  readonly inFlight: number
  /** Sent so far. */
  readonly cells: number
}

export interface Loop {
  /** Number of the loop on this node, for its own user: says whether two pieces of work shared one. */
  readonly number: number
  /** Hops in order, without the origin. */
  readonly hops: readonly NodeId[]
  /** The hop that the loop was built for. */
  readonly apex: NodeId
  /** Whether requests can be asked. */
  readonly open: boolean
  /** Requests without a complete answer yet. */
  readonly asking: number
  readonly figures: LoopFigures
  /**
   * Sends one request (not to be changed until the promise settles) to the apex and gives its answer. Errors: `CIRCUIT_ENDED` (the loop
   * ended or the hop refused the stream), `CELL_LOST` (paced loops: ask again), or the signal's reason.
   */
  ask(request: Pieces, options: AskOptions): Promise<Uint8Array>
  /**
   * Joins this loop at its apex with the one that shows the same `cookie` (32 bytes). From then on payloads go between `end` and that loop's:
   * `end` is called from the first turn after the promise resolved. Once per loop. Errors: `RENDEZVOUS_REFUSED`, those of `ask`.
   */
  join(cookie: Uint8Array, end: ExchangeEnd, waiting: { signal: AbortSignal }): Promise<ExchangePort>
  /**
   * From now on `ask` and `join` are for this node itself, in cells that look and take as long as all others: for who must not show that it is
   * the node that it asks. Once, before anything is asked. Loops that do not have it cannot be used so.
   */
  turnHome?(accept: OwnApex): void
  /** No more work for it; requests under way fail with `CIRCUIT_ENDED`. Idempotent. */
  close(): void
}

/** Why a loop carries nothing more. */
export type LoopEndReason = CircuitEnd | 'stalled' | 'noise'
