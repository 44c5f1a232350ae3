/**
 * X25519 (RFC 7748) on libsodium: the addon `sodium-native` where it loads and works, else WebAssembly. Not on node:crypto: its private
 * keys lie in objects that nobody can overwrite and that go when the collector comes, which on an idle node is hours later, while
 * forward secrecy asks that a fresh key be gone when set-up is done. Here a private key is 32 bytes that the holder wipes. It is also
 * the faster: making a pair 16 µs against 34, an exchange with a key from the wire 31 against 62. Spec: SPEC.md §1.2.
 */
import { randomFillSync } from 'node:crypto'
import sodium from 'libsodium-wrappers'
import { equalPublic } from '../bytes/index.ts'
import { sodiumAddon } from './addon.ts'

await sodium.ready

export const X25519_BYTES = 32

/** 32 bytes, uniformly random; clamping is done on use. Whoever holds it wipes it. */
export type X25519PrivateKey = Uint8Array

export interface X25519KeyPair {
  readonly publicKey: Uint8Array
  readonly privateKey: X25519PrivateKey
}

/** One implementation. `multiply` gives `null` for an all-zero result. */
export interface X25519Engine {
  readonly implementation: 'sodium-native' | 'libsodium-wasm'
  base(secret: Uint8Array): Uint8Array
  multiply(secret: Uint8Array, point: Uint8Array): Uint8Array | null
}

export const portableX25519: X25519Engine = {
  implementation: 'libsodium-wasm',
  base: (secret) => sodium.crypto_scalarmult_base(secret),
  multiply(secret, point) {
    try {
      return sodium.crypto_scalarmult(secret, point)
    } catch {
      return null // libsodium refuses a point of small order by an error
    }
  },
}

/** What is used of the addon, which brings no types. */
interface SodiumNative {
  crypto_scalarmult_base(out: Uint8Array, secret: Uint8Array): void
  crypto_scalarmult(out: Uint8Array, secret: Uint8Array, point: Uint8Array): void
}

function isSodiumNative(value: unknown): value is SodiumNative {
  if (typeof value !== 'object' || value === null) return false
  const { crypto_scalarmult_base: base, crypto_scalarmult: multiply } = value as Partial<SodiumNative>
  return typeof base === 'function' && typeof multiply === 'function'
}

/** The addon's implementation, or `null` where it does not load or disagrees with the portable one. */
export function nativeX25519(): X25519Engine | null {
  const addon = sodiumAddon()
  if (!isSodiumNative(addon)) return null
  const native = addon
  const engine: X25519Engine = {
    implementation: 'sodium-native',
    base(secret) {
      const out = new Uint8Array(X25519_BYTES)
      native.crypto_scalarmult_base(out, secret)
      return out
    },
    multiply(secret, point) {
      const out = new Uint8Array(X25519_BYTES)
      try {
        native.crypto_scalarmult(out, secret, point)
        return out
      } catch {
        return null // as above
      }
    },
  }
  const secret = new Uint8Array(X25519_BYTES).fill(7)
  return equalPublic(engine.base(secret), portableX25519.base(secret)) ? engine : null
}

const engine = nativeX25519() ?? portableX25519

/** A fresh pair from the system's randomness. */
export function x25519Generate(): X25519KeyPair {
  const privateKey = randomFillSync(new Uint8Array(X25519_BYTES))
  return { publicKey: engine.base(privateKey), privateKey }
}

/** The pair of a 32-byte secret, which is copied: for vectors. */
export function x25519FromSecret(secret: Uint8Array): X25519KeyPair {
  const privateKey = secret.slice()
  return { publicKey: engine.base(privateKey), privateKey }
}

/** A copy of a pair's 32-byte secret. The caller wipes it. */
export function x25519Secret(key: X25519PrivateKey): Uint8Array {
  return key.slice()
}

/**
 * The shared secret (32 bytes, the caller wipes it), or `null` if the peer's key is of another length or of small order: an all-zero
 * result, RFC 7748 §6.1.
 */
export function x25519(privateKey: X25519PrivateKey, peerPublic: Uint8Array): Uint8Array | null {
  return peerPublic.length === X25519_BYTES ? engine.multiply(privateKey, peerPublic) : null
}
