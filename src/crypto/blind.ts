/**
 * Blinded Ed25519 keys: from one key a new one for each period, which verifies signatures as any other and shows nothing of the key it came
 * from, nor of other periods' keys, to who does not know that key. Construction: Tor's rend-spec-v3, appendix A.2 ("Key derivation by
 * blinding"), with our own hash for the factor. Spec: SPEC.md §10.2.
 *
 * A′ = h·A and a′ = h·a mod ℓ, h clamped. A must be the canonical encoding of a point of the prime-order group other than its neutral
 * element: with a part of small order, eight addresses would lead to one blinded key, and what is signed there would be said in the name of
 * all of them. The nonces of signatures come from a prefix of their own for each factor, as RFC 8032 derives them from the seed's.
 *
 * Uses libsodium's scalar and point functions, which are constant-time and come with the larger build only: it is loaded on first use.
 */
import { createHash } from 'node:crypto'
import { concat } from '../bytes/index.ts'
import { taggedHash, wipe } from './hash.ts'
import { SIGN_PUBLIC_BYTES, SIGN_SEED_BYTES, SIGNATURE_BYTES } from './sign.ts'

export const BLIND_FACTOR_BYTES = 32

/** What signs for a blinded key. */
export interface BlindedKey {
  /** 32 bytes. */
  readonly publicKey: Uint8Array
  /** Signs exactly these bytes, by RFC 8032 §5.1.6 with the blinded scalar: `verifySignature` takes it. 64 bytes. Not after `wipe`. */
  sign(message: Uint8Array): Uint8Array
  /** H(label, the key's nonce prefix, parts): 32 bytes that nobody else can compute, equal for equal parts. */
  secretHash(label: string, ...parts: readonly Uint8Array[]): Uint8Array
  /** Overwrites its secrets. */
  wipe(): void
}

async function sumo() {
  const { default: sodium } = await import('libsodium-wrappers-sumo')
  await sodium.ready
  return sodium
}

/** Whether `key` can be blinded: 32 bytes, canonical, of the prime-order group, not its neutral element. Total. */
export async function isBlindable(key: Uint8Array): Promise<boolean> {
  return key.length === SIGN_PUBLIC_BYTES && (await sumo()).crypto_core_ed25519_is_valid_point(key)
}

/** The blinded form of a public key: 32 bytes, or `null` for a key that `isBlindable` refuses. `factor`: 32 bytes, clamped here. */
export async function blindPublicKey(key: Uint8Array, factor: Uint8Array): Promise<Uint8Array | null> {
  if (!(await isBlindable(key))) return null
  const sodium = await sumo()
  const scalar = clamped(factor)
  try {
    return sodium.crypto_scalarmult_ed25519_noclamp(scalar, key)
  } catch {
    return null // libsodium's way to refuse; no blindable key gets here
  }
}

/** The blinded form of the key of a 32-byte seed, which is not kept. */
export async function blindSigningKey(seed: Uint8Array, factor: Uint8Array): Promise<BlindedKey> {
  if (seed.length !== SIGN_SEED_BYTES) throw new RangeError('a seed has 32 bytes')
  const sodium = await sumo()
  const expanded = new Uint8Array(createHash('sha512').update(seed).digest())
  const secret = clamped(expanded.subarray(0, 32))
  const h = clamped(factor)
  const scalar = sodium.crypto_core_ed25519_scalar_mul(h, secret)
  const prefix = taggedHash('gyre/1 blind nonce', expanded.subarray(32), h)
  const publicKey = sodium.crypto_scalarmult_ed25519_base_noclamp(scalar)
  wipe(expanded, secret)
  const reduced = (...parts: readonly Uint8Array[]): Uint8Array => {
    const wide = new Uint8Array(
      createHash('sha512')
        .update(concat(...parts))
        .digest(),
    )
    const scalarOf = sodium.crypto_core_ed25519_scalar_reduce(wide)
    wipe(wide)
    return scalarOf
  }
  return {
    publicKey,
    sign(message) {
      const nonce = reduced(prefix, message)
      const signature = new Uint8Array(SIGNATURE_BYTES)
      signature.set(sodium.crypto_scalarmult_ed25519_base_noclamp(nonce))
      const challenge = reduced(signature.subarray(0, 32), publicKey, message)
      const product = sodium.crypto_core_ed25519_scalar_mul(challenge, scalar)
      signature.set(sodium.crypto_core_ed25519_scalar_add(nonce, product), 32)
      wipe(nonce, product)
      return signature
    },
    secretHash: (label, ...parts) => taggedHash(label, prefix, ...parts),
    wipe: () => wipe(scalar, prefix),
  }
}

/** A copy, clamped as RFC 8032 §5.1.5 does: a multiple of 8, the second highest bit set. */
function clamped(bytes: Uint8Array): Uint8Array {
  if (bytes.length !== BLIND_FACTOR_BYTES) throw new RangeError('a scalar has 32 bytes')
  const scalar = bytes.slice()
  scalar[0]! &= 0xf8
  scalar[31] = (scalar[31]! & 0x7f) | 0x40
  return scalar
}
