/**
 * Every length and count that a parser of peer bytes checks before it uses a value. Specification constants: a sender that keeps
 * to SPEC.md never exceeds them, and a receiver refuses what does. Spec: SPEC.md §3.4, §5, §6, §7.
 */

// Identities, hashes, keys.
export const NODE_ID_BYTES = 32
export const NETWORK_ID_BYTES = 32
export const DESCRIPTOR_HASH_BYTES = 32
export const SIGNATURE_FIELD_BYTES = 64
export const X25519_FIELD_BYTES = 32
export const MLKEM768_FIELD_BYTES = 1184
/** A proof-of-work nonce. */
export const WORK_BYTES = 8

// Descriptors (§6).
/** A whole `SignedDescriptor`. */
export const SIGNED_DESCRIPTOR_BYTES_MAX = 4096
export const ADDRESSES_MAX = 8
/** UTF-8 bytes of one address; printable ASCII only. */
export const ADDRESS_BYTES_MAX = 128
export const LISTED_NEIGHBOURS_MAX = 16
export const FAMILY_MAX = 16
export const CAPACITY_CLASS_MAX = 7
/** Most bits of work that a descriptor may ask for with a put: half a second of one core. */
export const PUT_EFFORT_MAX = 20
export const ONION_KEY_ID_MAX = 255

// Control messages (§3.4).
/** A whole `Control` message. */
export const CONTROL_BYTES_MAX = 64 * 1024
export const DIGEST_BUCKETS = 256
export const DIGEST_BUCKET_BYTES = 8
/** Hashes in one `Listing`. */
export const LISTED_HASHES_MAX = 1024
/** Hashes in one `Want`: what one request can make a neighbour send. */
export const WANTED_HASHES_MAX = 64
/** Descriptors in one `Descriptors`. */
export const SENT_DESCRIPTORS_MAX = 32

// Requests to a hop (§5).

/** Places of a paced circuit's twins, and bytes of one key of theirs. */
export const TWINS_MAX = 15
export const TWIN_KEY_BYTES = 32
export const SHARE_BYTES = 64 * 1024
/** Filler of a ping, and the answer that it may ask for. */
export const PING_BYTES_MAX = 64 * 1024
/** A whole `StoreRequest`, `HopRequest`. */
export const STORE_REQUEST_BYTES_MAX = SHARE_BYTES + 512
export const HOP_REQUEST_BYTES_MAX = SHARE_BYTES + 1024

// Shares and root slots (§7).
export const SHARE_ADDRESS_BYTES = 32
export const SLOT_LOCATION_BYTES = 32
export const SLOT_KEY_BYTES = 32
export const SLOT_NUMBER_MAX = 65_535
/** A sealed root. */
export const SLOT_VALUE_BYTES_MAX = 32 * 1024
/** Variants of one root slot. */
export const SLOT_VARIANTS_MAX = 4
/** Of a check: drawn anew by who asks. */
export const CHECK_NONCE_BYTES = 16
export const CHECK_PROOF_BYTES = 32
/** Names one of the values of a root slot. */
export const SLOT_VALUE_HASH_BYTES = 32
/** A year and a day. */
export const KEEP_HOURS_MAX = 366 * 24
// Records (§10).
export const RECORD_KEY_BYTES = 32
/** Salt (16), plaintext of one length, tag (16). */
export const RECORD_PLAIN_BYTES = 3072
export const RECORD_VALUE_BYTES = 16 + RECORD_PLAIN_BYTES + 16
export const RECORD_REQUEST_BYTES_MAX = RECORD_VALUE_BYTES + 512
export const RECORD_REPLY_BYTES_MAX = RECORD_VALUE_BYTES + 512
export const RECORD_POINTS_MAX = 8
export const RECORD_PORTS_MAX = 16
/** Key material of the `file` that a site's version is. */
export const RECORD_SNAPSHOT_BYTES = 32
/** Name of an introduction point. */
export const RECORD_POINT_BYTES = 32
/** Bits of work that an introduction may be asked to bring. */
export const RECORD_EFFORT_MAX = 32

// Introductions and rendezvous (§11).
export const INTRODUCTION_TOKEN_BYTES = 32
export const INTRODUCTION_POINT_BYTES = 32
/** What a client or a service says to the other through an introduction point. */
export const INTRODUCTION_MESSAGE_BYTES_MAX = 1536
/** Introductions in one answer. */
export const INTRODUCTIONS_MAX = 8
export const INTRODUCTION_REQUEST_BYTES_MAX = INTRODUCTION_MESSAGE_BYTES_MAX + 256
export const INTRODUCTION_REPLY_BYTES_MAX = INTRODUCTIONS_MAX * (INTRODUCTION_MESSAGE_BYTES_MAX + 64)
export const COOKIE_BYTES = 32
/** Exchanges of one hop on one circuit. */
export const EXCHANGES_MAX = 16

/** A whole `StoreReply`, `HopReply`. */
export const STORE_REPLY_BYTES_MAX = SLOT_VARIANTS_MAX * (SLOT_VALUE_BYTES_MAX + 256)
export const HOP_REPLY_BYTES_MAX = STORE_REPLY_BYTES_MAX + 1024
