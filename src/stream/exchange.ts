/**
 * What rides in the cells between an origin and a rendezvous point once its circuit is joined with another: one payload of one size in each
 * cell, content or not, so that the rendezvous point cannot tell which side has more to say. Payloads may be lost (a full queue there drops
 * the oldest); whoever is at the two ends seals, numbers and repeats them. Spec: SPEC.md §11.
 */

// Specification constant.
/** Bytes of a payload: with its type byte, BACKLOG and one CREDIT or RESET it fits into a cell. */
export const PAYLOAD_BYTES = 1984

/** An end of an exchange: the origin's side of a joined circuit, or a node that is itself the rendezvous point. */
export interface ExchangeEnd {
  /** Writes exactly `PAYLOAD_BYTES` at `into[at …]`: sealed content, or a sealed dummy of the same look. Once for each cell that goes. */
  fill(into: Uint8Array, at: number): void
  /** A payload of the other side's: `PAYLOAD_BYTES` from `bytes[at]`, borrowed until return. Not authenticated. */
  onPayload(bytes: Uint8Array, at: number): void
  /** Whether `fill` would write something that is worth a cell now. */
  readonly wants: boolean
  /** The exchange is over, for whatever reason but `close()`. Once; nothing follows. */
  onGone(): void
}

/** What an end may ask of its circuit. */
export interface ExchangePort {
  /** Number of the own loop that carries it; 0 where this node is itself the rendezvous point. */
  readonly loop: number
  /** Payloads that wait at the rendezvous point for this end, as last heard. */
  readonly waiting: number
  /** `wants` may have become true. */
  wake(): void
  /** Ends the exchange and its loop. Idempotent. */
  close(): void
}
