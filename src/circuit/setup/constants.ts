/**
 * Geometry of the set-up packet: every length and offset is derived here and nowhere else. One size everywhere, whatever the loop's
 * length and whoever reads it, so that the packet's bytes tell a member nothing about its index. Spec: SPEC.md §4.3.
 *
 *   packet = A (K records of R bytes) ‖ Q (K slots of S bytes)
 *   record = ver 1 ‖ kid 1 ‖ e_pub 32 ‖ ct 1088 ‖ sealed (body 88 ‖ tag 16)
 */
import { AEAD_TAG_BYTES, MLKEM_CIPHERTEXT_BYTES, X25519_BYTES } from '../../crypto/index.ts'

// Specification constants. Changing one changes the wire format.
export const SETUP_VERSION = 1
/** K: records in a packet, hence most members of a loop, the origin included. A network constant, never chosen per loop. */
export const RECORDS = 12
/** Plaintext of a record; the fields are in `record.ts`. */
export const RECORD_BODY_BYTES = 88
export const KID_AT = 1
export const EPHEMERAL_AT = 2
export const CIPHERTEXT_AT = EPHEMERAL_AT + X25519_BYTES
/** Where the sealed body starts; everything before it is associated data. */
export const SEALED_AT = CIPHERTEXT_AT + MLKEM_CIPHERTEXT_BYTES
/** R: bytes of a record. */
export const RECORD_BYTES = SEALED_AT + RECORD_BODY_BYTES + AEAD_TAG_BYTES
/** Leading bytes of a confirmation that travel. */
export const CONFIRM_BYTES = 16
/** S: bytes of a reply slot, f_pub ‖ conf. */
export const SLOT_BYTES = X25519_BYTES + CONFIRM_BYTES
/** Bytes of the record stack A. */
export const STACK_BYTES = RECORDS * RECORD_BYTES
/** Bytes of the stack behind the first record ("rest"). */
export const REST_BYTES = STACK_BYTES - RECORD_BYTES
/** Bytes of the reply area Q. */
export const REPLY_BYTES = RECORDS * SLOT_BYTES
export const SETUP_BYTES = STACK_BYTES + REPLY_BYTES
/** Cells that carry one packet, each an equal part of it. */
export const SETUP_CELLS = 8
export const SETUP_PART_BYTES = SETUP_BYTES / SETUP_CELLS
/** Most other members of a loop: one record is the origin's own. */
export const MEMBERS_MAX = RECORDS - 1
/** Fewest other members: with two, each would have the whole loop before its eyes. */
export const MEMBERS_MIN = 3

/** How far `issued` may lie from a hop's clock, either way. */
export const ISSUED_SKEW_MS = 10 * 60_000
export const ISSUED_UNIT_MS = 60_000
/** Length of a public epoch, the unit of `open`, `live` and `close`. */
export const EPOCH_MS = 2_000
/** How far `live` must lie ahead when a hop reads it (steady, fixed): start minus arrival must not tell the index. */
export const LIVE_LEAD_MS = 2_000
/** The same for a twin, of which members learn through a circuit that they are in, all at about the same time. */
export const TWIN_LEAD_MS = 500
/** How far `live` may lie ahead: one public round and the clock skew. */
export const LIVE_LEAD_MAX_MS = 20 * 60_000
/** Longest life of a loop from `live` to `close` (steady, fixed): two public rounds. */
export const LIFE_MAX_MS = 20 * 60_000
/** Bounds of `hold_ms` (steady, fixed): a member keeps up to twice as much buffered. */
export const HOLD_MIN_MS = 5
export const HOLD_MAX_MS = 1_000
/** `hold_ms` of the loops of this version: a start value, which the adversary lab decides. */
export const HOLD_MS = 40
/** Bounds of the grid of paced clocks, and the part of a hold that it is in between. */
export const TICK_MIN_MS = 10
export const TICK_MAX_MS = 20
export const TICKS_PER_HOLD = 7
/** Cells a second by the record's `rate` field (steady, fixed). */
export const RATE_LADDER = [8, 32, 128, 512, 2048, 8192] as const

/** All parts of a packet must come within this time, counted from the first. */
export const ASSEMBLY_MS = 2_000

// Implementation constants.
/** Most packets that one link may have half delivered; a further one is refused. 0.5 MiB a link. */
export const ASSEMBLIES_MAX = 32
