/** Ed25519 (RFC 8032) through libsodium. */
import sodium from 'libsodium-wrappers'

await sodium.ready

export const SIGN_PUBLIC_BYTES = 32
export const SIGN_SEED_BYTES = 32
export const SIGNATURE_BYTES = 64

export interface SigningKey {
  readonly publicKey: Uint8Array
  /** Signs exactly these bytes. 64 bytes. */
  sign(message: Uint8Array): Uint8Array
}

/** The signing key of a 32-byte seed; the seed is not kept, its expansion is. */
export function signingKey(seed: Uint8Array): SigningKey {
  const pair = sodium.crypto_sign_seed_keypair(seed)
  return { publicKey: pair.publicKey, sign: (message) => sodium.crypto_sign_detached(message, pair.privateKey) }
}

/** Whether `signature` is the key's over exactly `message`. Any malformed input is a `false`. */
export function verifySignature(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  if (publicKey.length !== SIGN_PUBLIC_BYTES || signature.length !== SIGNATURE_BYTES) return false
  return sodium.crypto_sign_verify_detached(signature, message, publicKey)
}
