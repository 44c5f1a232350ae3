/** ChaCha20 and ChaCha20-Poly1305 (RFC 8439) for set-up packets and content, from node:crypto. Cells have their own cipher. */
import { createCipheriv, createDecipheriv, createSecretKey } from 'node:crypto'
import { writeU32 } from '../bytes/index.ts'

export const STREAM_KEY_BYTES = 32
export const AEAD_TAG_BYTES = 16
const AEAD = 'chacha20-poly1305'
const ZERO_NONCE = new Uint8Array(12)

/** `length` bytes of ChaCha20 keystream: block counter 0, zero nonce. For a key that is used once. */
export function chacha20Keystream(key: Uint8Array, length: number): Uint8Array {
  return chacha20Xor(key, 0, new Uint8Array(length))
}

/** `input` XOR the ChaCha20 keystream of `key` with the 96-bit nonce `LE32(nonce) ‖ 0^8`, block counter 0. A new array. */
export function chacha20Xor(key: Uint8Array, nonce: number, input: Uint8Array): Uint8Array {
  const iv = new Uint8Array(16)
  writeU32(iv, 4, nonce)
  return plain(createCipheriv('chacha20', createSecretKey(key), iv).update(input))
}

/** node:crypto's fresh output without its `Buffer` face; not a copy. */
function plain(output: Buffer): Uint8Array {
  return new Uint8Array(output.buffer, output.byteOffset, output.length)
}

/** Seals with a key that is used once (zero nonce). Ciphertext, then 16 bytes of tag. */
export function sealOnce(key: Uint8Array, plaintext: Uint8Array, ...associated: readonly Uint8Array[]): Uint8Array {
  const cipher = createCipheriv(AEAD, key, ZERO_NONCE, { authTagLength: AEAD_TAG_BYTES })
  for (const part of associated) cipher.setAAD(part, { plaintextLength: plaintext.length })
  const sealed = new Uint8Array(plaintext.length + AEAD_TAG_BYTES)
  sealed.set(cipher.update(plaintext))
  cipher.final()
  sealed.set(cipher.getAuthTag(), plaintext.length)
  return sealed
}

/** The plaintext, or `null` if anything about it is wrong. */
export function openOnce(key: Uint8Array, sealed: Uint8Array, ...associated: readonly Uint8Array[]): Uint8Array | null {
  if (sealed.length < AEAD_TAG_BYTES) return null
  const end = sealed.length - AEAD_TAG_BYTES
  const decipher = createDecipheriv(AEAD, key, ZERO_NONCE, { authTagLength: AEAD_TAG_BYTES })
  for (const part of associated) decipher.setAAD(part, { plaintextLength: end })
  decipher.setAuthTag(sealed.subarray(end))
  const plaintext = new Uint8Array(decipher.update(sealed.subarray(0, end)))
  try {
    decipher.final()
    return plaintext
  } catch {
    plaintext.fill(0)
    return null
  }
}
