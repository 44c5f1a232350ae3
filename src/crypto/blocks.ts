/**
 * AES-256 (FIPS 197) on many 16-byte blocks under one key: a pseudo-random permutation for ranking, not a mode for secrets. Placement needs
 * one value for each node and share; this costs one call for a share, where a hash would cost one for each pair.
 */
import { createCipheriv, createSecretKey } from 'node:crypto'

/** Bytes of a block. */
export const PERMUTED_BLOCK_BYTES = 16

/** Each 16-byte block of `blocks` permuted under `key` (32 bytes), independently of the others. A new array. */
export function permuteBlocks(key: Uint8Array, blocks: Uint8Array): Uint8Array {
  // As a key object: from plain bytes the same call takes four times as long (measured: 12.5 and 3.4 µs).
  const cipher = createCipheriv('aes-256-ecb', createSecretKey(key), null)
  cipher.setAutoPadding(false)
  return cipher.update(blocks)
}
