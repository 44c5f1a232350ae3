/**
 * Proofs that a store has what it was given: the hash of a nonce, drawn anew for each check, and of the whole share or slot value. Who asks
 * has the bytes, has kept the answers to be expected, or gets the bytes afterwards from other holders: in each case a store that gave the
 * bytes away cannot answer. Spec: SPEC.md §7.1.7. Threat: holders that confirm what they do not keep.
 *
 * A proof says that the store can come by the bytes now. It does not say that the store serves them: some are read back besides.
 */
import { equalPublic } from '../bytes/index.ts'
import { taggedHash } from '../crypto/index.ts'
import { LABEL_SHARE_PROOF, LABEL_SLOT_PROOF, LABEL_SLOT_VALUE } from './constants.ts'

// Specification constants.
export const NONCE_BYTES = 16
export const PROOF_BYTES = 32

// Implementation constant.
/** What a check and its answer take on a loop, at most. */
export const CHECK_BYTES = 256

/** H("gyre/1 share proof", nonce, share). */
export function shareProof(nonce: Uint8Array, share: Uint8Array): Uint8Array {
  return taggedHash(LABEL_SHARE_PROOF, nonce, share)
}

/** H("gyre/1 slot proof", nonce, value). */
export function slotProof(nonce: Uint8Array, value: Uint8Array): Uint8Array {
  return taggedHash(LABEL_SLOT_PROOF, nonce, value)
}

/** H("gyre/1 slot value", value): names one of the values of a root slot. */
export function slotValueHash(value: Uint8Array): Uint8Array {
  return taggedHash(LABEL_SLOT_VALUE, value)
}

/** Whether `proof` is the one for `share`. Total. */
export function provesShare(proof: Uint8Array, nonce: Uint8Array, share: Uint8Array): boolean {
  return proof.length === PROOF_BYTES && equalPublic(proof, shareProof(nonce, share))
}
