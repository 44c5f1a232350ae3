/**
 * The post-quantum half of every hybrid key exchange: ML-KEM-768 (FIPS 203), from node:crypto. The other half is `x25519.ts`. Keys cross
 * this module's border as raw bytes (public, seed) or as opaque handles, so that nobody else handles DER.
 */
import { createPrivateKey, createPublicKey, decapsulate, encapsulate, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { concat, fromHex } from '../bytes/index.ts'

export const MLKEM_PUBLIC_BYTES = 1184
export const MLKEM_CIPHERTEXT_BYTES = 1088
/** A FIPS 203 seed (d ‖ z), from which the private key is expanded. */
export const MLKEM_SEED_BYTES = 64

const MLKEM_SPKI = fromHex('308204b2300b0609608648016503040402038204a100')!
const MLKEM_PKCS8_SEED = fromHex('3054020100300b060960864801650304040204428040')!

/** A private key that can be used but not read. */
export type PrivateKeyHandle = KeyObject
/** A public key imported once, to be used often. */
export type PublicKeyHandle = KeyObject

export interface KeyPair {
  readonly publicKey: Uint8Array
  readonly privateKey: PrivateKeyHandle
}

/** The raw bytes of a public key; writing DER to cut them out of it would take ten times as long. */
function rawPublic(key: KeyObject): Uint8Array {
  return new Uint8Array(key.export({ format: 'raw-public' }))
}

/** A fresh ML-KEM-768 pair. */
export function mlkemGenerate(): KeyPair {
  const { publicKey, privateKey } = generateKeyPairSync('ml-kem-768')
  return { publicKey: rawPublic(publicKey), privateKey }
}

/** The ML-KEM-768 pair of a 64-byte seed. */
export function mlkemFromSeed(seed: Uint8Array): KeyPair {
  const privateKey = createPrivateKey({ key: Buffer.from(concat(MLKEM_PKCS8_SEED, seed)), format: 'der', type: 'pkcs8' })
  return { publicKey: rawPublic(createPublicKey(privateKey)), privateKey }
}

/** An imported ML-KEM-768 public key: import once, encapsulate often. `null` if `bytes` is no valid key. */
export function mlkemPublic(bytes: Uint8Array): KeyObject | null {
  if (bytes.length !== MLKEM_PUBLIC_BYTES) return null
  try {
    return createPublicKey({ key: Buffer.from(concat(MLKEM_SPKI, bytes)), format: 'der', type: 'spki' })
  } catch {
    return null
  }
}

/** A fresh shared secret (32 bytes) for the key's owner, and the ciphertext (1088 bytes) that carries it. */
export function mlkemEncapsulate(publicKey: KeyObject): { readonly secret: Uint8Array; readonly ciphertext: Uint8Array } {
  const { sharedKey, ciphertext } = encapsulate(publicKey)
  return { secret: new Uint8Array(sharedKey), ciphertext: new Uint8Array(ciphertext) }
}

/** The shared secret, or `null` for a ciphertext of the wrong length. A wrong ciphertext gives a random secret (implicit rejection). */
export function mlkemDecapsulate(privateKey: PrivateKeyHandle, ciphertext: Uint8Array): Uint8Array | null {
  if (ciphertext.length !== MLKEM_CIPHERTEXT_BYTES) return null
  return new Uint8Array(decapsulate(privateKey, ciphertext))
}
