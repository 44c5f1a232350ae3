/**
 * Every length and label of the end-to-end part, in one place. Specification constants: changing one changes the format.
 * Spec: SPEC.md §11.4 (handshake), §11.5 (payloads).
 *
 *   message 1 = ver 1 ‖ e_pub 32 ‖ ct 1088 ‖ sealed (commitment 32 ‖ session id 16 ‖ proof 32 ‖ tag 16)
 *   answer 1  = f_pub 32 ‖ sealed (cookie_s 32 ‖ session id 16 ‖ flags 1 ‖ count 1 ‖ 8 nodes of 32 ‖ tag 16)
 *   message 2 = session id 16 ‖ sealed (cookie_c 32 ‖ node 32 ‖ tag 16)
 *   answer 2  = sealed (ok 1 ‖ seconds 2 ‖ tag 16)
 *   payload   = LE64(number) ‖ ciphertext 1960 ‖ tag 16
 */
import { AEAD_TAG_BYTES, MLKEM_CIPHERTEXT_BYTES, X25519_BYTES } from '../crypto/index.ts'
import { PAYLOAD_BYTES } from '../stream/index.ts'

// Handshake.
export const SERVICE_VERSION = 1
export const SESSION_ID_BYTES = 16
export const SESSION_SECRET_BYTES = 32
export const PROOF_BYTES = 32
export const CIPHERTEXT_AT = 1 + X25519_BYTES
/** Everything before it is associated data. */
export const HELLO_SEALED_AT = CIPHERTEXT_AT + MLKEM_CIPHERTEXT_BYTES
export const HELLO_BODY_BYTES = 32 + SESSION_ID_BYTES + PROOF_BYTES
export const HELLO_BYTES = HELLO_SEALED_AT + HELLO_BODY_BYTES + AEAD_TAG_BYTES
/** Nodes that answer 1 has room for: those at which a service with standing loops can be met. */
export const OFFERED_MAX = 8
export const OFFERED_AT = 32 + SESSION_ID_BYTES + 2
export const ANSWER_BODY_BYTES = OFFERED_AT + OFFERED_MAX * 32
export const ANSWER_BYTES = X25519_BYTES + ANSWER_BODY_BYTES + AEAD_TAG_BYTES
export const MEETING_BODY_BYTES = 32 + 32
export const MEETING_BYTES = SESSION_ID_BYTES + MEETING_BODY_BYTES + AEAD_TAG_BYTES
export const MET_BODY_BYTES = 3
export const MET_BYTES = MET_BODY_BYTES + AEAD_TAG_BYTES
/** Flags of answer 1: all other bits are zero. */
export const FLAG_RESUMED = 1
/** First byte of answer 2. */
export const MET_OK = 1
/** Longest time that answer 2 can tell. */
export const SECONDS_MAX = 0xffff

// Payloads.
export const NUMBER_BYTES = 8
/** Bytes of frames in a payload. */
export const PAYLOAD_PLAIN_BYTES = PAYLOAD_BYTES - NUMBER_BYTES - AEAD_TAG_BYTES
