/**
 * The two halves of every hybrid key exchange: X25519 (RFC 7748) and ML-KEM-768 (FIPS 203), from node:crypto. Keys cross this
 * module's border as raw bytes (public, seed) or as opaque handles, so that nobody else handles DER.
 */
import {
  createPrivateKey,
  createPublicKey,
  decapsulate,
  diffieHellman,
  encapsulate,
  generateKeyPairSync,
  type KeyObject,
} from 'node:crypto'
import { concat, fromHex } from '../bytes/index.ts'
import { equalSecret } from './hash.ts'

export const X25519_BYTES = 32
export const MLKEM_PUBLIC_BYTES = 1184
export const MLKEM_CIPHERTEXT_BYTES = 1088
/** A FIPS 203 seed (d ‖ z), from which the private key is expanded. */
export const MLKEM_SEED_BYTES = 64

const X25519_SPKI = fromHex('302a300506032b656e032100')!
const X25519_PKCS8 = fromHex('302e020100300506032b656e04220420')!
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

/** A fresh X25519 pair from the system's randomness. */
export function x25519Generate(): KeyPair {
  const { publicKey, privateKey } = generateKeyPairSync('x25519')
  return { publicKey: rawPublic(publicKey), privateKey }
}

/** The X25519 pair of a 32-byte secret: for keys kept on disk and for vectors. */
export function x25519FromSecret(secret: Uint8Array): KeyPair {
  const privateKey = createPrivateKey({ key: Buffer.from(concat(X25519_PKCS8, secret)), format: 'der', type: 'pkcs8' })
  return { publicKey: rawPublic(createPublicKey(privateKey)), privateKey }
}

/** The 32-byte secret of a pair, to keep it on disk. The caller wipes it. */
export function x25519Secret(key: PrivateKeyHandle): Uint8Array {
  const der = key.export({ type: 'pkcs8', format: 'der' })
  return new Uint8Array(der.subarray(der.length - X25519_BYTES))
}

const ZERO = new Uint8Array(X25519_BYTES)

/** An imported X25519 public key: import once, exchange often. `null` if `bytes` has the wrong length. Points are judged by `x25519`. */
export function x25519Public(bytes: Uint8Array): KeyObject | null {
  if (bytes.length !== X25519_BYTES) return null
  return createPublicKey({ key: Buffer.from(concat(X25519_SPKI, bytes)), format: 'der', type: 'spki' })
}

/**
 * The shared secret, or `null` if the peer's key (raw or imported) is malformed or of small order (an all-zero result, RFC 7748 §6.1).
 */
export function x25519(privateKey: PrivateKeyHandle, peerPublic: Uint8Array | KeyObject): Uint8Array | null {
  try {
    const publicKey = peerPublic instanceof Uint8Array ? x25519Public(peerPublic) : peerPublic
    if (publicKey === null) return null
    const secret = new Uint8Array(diffieHellman({ privateKey, publicKey }))
    return equalSecret(secret, ZERO) ? null : secret
  } catch {
    return null // OpenSSL refuses a small-order point by throwing
  }
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
