/**
 * What rides in the cells between an origin and a rendezvous point once its circuit is joined with another: payloads of one size, content or
 * not, and as many one way as the other (`pairing.ts`), so that the rendezvous point cannot tell which side has more to say. Payloads may be
 * lost (a full queue there drops the oldest); whoever is at the two ends seals, numbers and repeats them. Spec: SPEC.md §11.1.
 */

// Specification constant.
/** Bytes of a payload: with its type byte, BACKLOG and one CREDIT or RESET it fits into a cell. */
export const PAYLOAD_BYTES = 1984

/** An end of an exchange: the origin's side of a joined circuit, or a node that is itself the rendezvous point. */
export interface ExchangeEnd {
  /**
   * Writes exactly `PAYLOAD_BYTES` at `into[at …]`: sealed content, or a sealed dummy of the same look. Once for each payload that goes:
   * whenever `wants`, for each payload that came, and else four times a second.
   */
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

/** What a mux needs of an exchange, at either end of a circuit. Called for each cell: no allocation, no waiting. */
export interface PayloadFlow {
  /** Whether the next cell carries a payload. */
  readonly due: boolean
  /** Payloads that wait for cells to ride in; a hop tells its origin in BACKLOG. */
  readonly waiting: number
  /** Writes the next payload at `into[at …]`. Called only when `due`. */
  take(into: Uint8Array, at: number): void
  /** One came: `PAYLOAD_BYTES` from `bytes[at]`, borrowed until return. */
  onPayload(bytes: Uint8Array, at: number): void
  /** The circuit ended. Once; nothing follows. */
  onGone(): void
}
