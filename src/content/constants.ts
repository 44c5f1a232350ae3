/**
 * The sizes and labels of published content. Every number of the first part is wire format: a change of one is a new version of the
 * `file` address. Spec: SPEC.md §7.2 to §7.5.
 */

// Specification constants.
/** Bytes of a block, and so of a share: every share that a store sees has this size, whatever it carries. */
export const SHARE_BYTES = 65_536
/** Bytes of a share's address (SHA-256). */
export const SHARE_ADDRESS_BYTES = 32
/** Most data blocks of a segment. */
export const SEGMENT_BLOCKS = 10
/** Fewest shares of a segment, however small it is. */
export const SEGMENT_SHARES_MIN = 4
/** Most shares of a segment: the field has 256 elements, and the count has to fit a byte. */
export const SEGMENT_SHARES_MAX = 255
/** Shares for each data block, at least. */
export const EXPANSION = 3
/** Holders up to which any half may vanish at once; beyond, a random third. */
export const HALF_HOLDERS_MAX = 30
/** Bytes of a root before it is sealed. */
export const ROOT_BYTES = 16_384
/** Most bytes of share addresses in a root: 480 addresses. What is longer becomes a level of the tree. */
export const ROOT_ADDRESSES_BYTES = 15_360
/** Most bytes of UTF-8 of a publication's name, and of its content type. */
export const ROOT_TEXT_BYTES_MAX = 255
/** Most bytes of content: 16 TiB, so that block numbers fit the 32 bits of the cipher's nonce at every level. */
export const CONTENT_BYTES_MAX = 2 ** 44
/** Most index levels: enough for `CONTENT_BYTES_MAX` with 255 shares a segment. */
export const LEVELS_MAX = 6
/** Most root slots of a publication: what 30 holders need so that any half may vanish. */
export const ROOT_SLOTS_MAX = 16
/** The period that placement is computed for: there is one in this version. */
export const PLACEMENT_PERIOD = 0
/** Fewest nodes on which anything is published: below, no loop can be built. */
export const HOLDERS_MIN = 4

// Labels: each names one use of a hash or of a derived key, nothing else uses it.
export const LABEL_ADDRESS = 'gyre/1 address'
export const LABEL_SHARE = 'gyre/1 share'
export const LABEL_SHARE_PROOF = 'gyre/1 share proof'
export const LABEL_SLOT_PROOF = 'gyre/1 slot proof'
export const LABEL_SLOT_VALUE = 'gyre/1 slot value'
export const LABEL_FILE = 'gyre/1 file'
export const LABEL_BLOCKS_KEY = 'gyre/1 blocks'
export const LABEL_TREE_KEY = 'gyre/1 tree'
export const LABEL_ROOT_KEY = 'gyre/1 root key'
export const LABEL_ROOT_SIGN = 'gyre/1 root sign'
export const LABEL_HOLDER = 'gyre/1 holder'
export const LABEL_PLACE = 'gyre/1 place'
