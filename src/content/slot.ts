/**
 * Root slots: where a publication's sealed root lies, and what its signature covers. Writer, store and reader all take these bytes
 * from here, so that they cannot drift apart. A slot binds key, number and value: a store checks it without being able to read it, and
 * nobody without the key (derived from the address) can put a value there. Spec: SPEC.md §7.1.
 */
import { le32 } from '../bytes/index.ts'
import { SIGN_PUBLIC_BYTES, SIGNATURE_BYTES, type SigningKey, taggedHash, verifySignature } from '../crypto/index.ts'
import type { SlotValue } from './network.ts'

// Specification constants.
/** Most bytes of a slot's value: a root of 16 KiB and its seal. */
export const SLOT_BYTES_MAX = 16_640
/** A slot's number is a u32. */
const SLOT_NUMBER_MAX = 0xffff_ffff

/** Where slot `slot` of `publicKey` lies: 32 bytes, by which holders are ranked and readers ask. */
export function slotLocation(publicKey: Uint8Array, slot: number): Uint8Array {
  return taggedHash('gyre/1 slot location', publicKey, le32(slot))
}

/** The 32 bytes that a slot's signature covers. */
export function slotSignedBytes(publicKey: Uint8Array, slot: number, value: Uint8Array): Uint8Array {
  return taggedHash('gyre/1 slot', publicKey, le32(slot), value)
}

/** A slot value signed by `key`; `value` is kept, not copied. */
export function signSlot(key: SigningKey, slot: number, value: Uint8Array): SlotValue {
  return { publicKey: key.publicKey, slot, value, signature: key.sign(slotSignedBytes(key.publicKey, slot, value)) }
}

/** Whether every length is right and the signature is the key's over this slot and value. Bounds lengths before it hashes. */
export function verifySlot({ publicKey, slot, value, signature }: SlotValue): boolean {
  if (publicKey.length !== SIGN_PUBLIC_BYTES || signature.length !== SIGNATURE_BYTES) return false
  if (value.length === 0 || value.length > SLOT_BYTES_MAX) return false
  if (!Number.isInteger(slot) || slot < 0 || slot > SLOT_NUMBER_MAX) return false
  return verifySignature(publicKey, slotSignedBytes(publicKey, slot, value), signature)
}
