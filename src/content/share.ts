/**
 * A share's address: the hash of its bytes. It is all that a store and a reader need to tell a right share from a wrong one, and all that
 * a store ever learns about it. Spec: SPEC.md §7.3. Threat: a holder that answers with other bytes.
 */
import { concat, equalPublic, le32, utf8 } from '../bytes/index.ts'
import { sha256 } from '../crypto/index.ts'
import { LABEL_SHARE, SHARE_BYTES } from './constants.ts'

/** What `taggedHash(LABEL_SHARE, share)` puts before the share's bytes. Kept, so that 64 KiB are not copied for each hash. */
const SHARE_PREFIX = concat(le32(LABEL_SHARE.length), utf8(LABEL_SHARE), le32(SHARE_BYTES))

/** The 32-byte address of `share`, which is exactly `SHARE_BYTES` long: H("gyre/1 share" ‖ share). */
export function shareAddress(share: Uint8Array): Uint8Array {
  return sha256(SHARE_PREFIX, share)
}

/** Whether `share` has the right length and hashes to `address`. Total: any bytes give an answer. */
export function isShareOf(share: Uint8Array, address: Uint8Array): boolean {
  return share.length === SHARE_BYTES && equalPublic(shareAddress(share), address)
}
