/**
 * The public half of a node's onion keys: what set-up records are sealed to, and what a descriptor publishes. A type only, of the circuit
 * layer, so that set-up does not look up to the directory for it. Spec: SPEC.md §4.3, §6.1.
 */

/** The keys to which set-up records for a node are sealed. */
export interface OnionPublicKeys {
  /** 0 to 255; names the pair while two overlap. */
  readonly kid: number
  /** 32 bytes. */
  readonly x25519: Uint8Array
  /** 1184 bytes. */
  readonly mlkem768: Uint8Array
}
