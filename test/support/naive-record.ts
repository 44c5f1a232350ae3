/**
 * A record sealed and signed step by step as SPEC.md §10.4 says, with every step open to be done wrong: for vectors, and for records that their
 * owner signed and that are wrong all the same.
 */
import { concat, le64, lengthPrefixed, utf8, writeU16 } from '../../src/bytes/index.ts'
import type { RecordPeriod } from '../../src/content/key-record.ts'
import { blindFactor, outerSequence, recordExpiryMs } from '../../src/content/record.ts'
import { blindSigningKey, hkdfExpand, hkdfExtract, sealOnce, signingKey, taggedHash } from '../../src/crypto/index.ts'
import { encodeKeyRecord, type KeyRecord, type SignedRecord } from '../../src/wire/index.ts'

export const NAIVE_PLAIN_BYTES = 3072

/** What an owner may do wrong; what is not named is done right. */
export interface Slips {
  /** The bytes of the `KeyRecord`. */
  readonly encoded?: Uint8Array
  /** The length before it. */
  readonly length?: number
  /** A byte set at the end of the padding. */
  readonly lastByte?: number
  readonly plain?: Uint8Array
  /** Outside. */
  readonly sequence?: number
  readonly expiresMs?: number
  readonly salt?: Uint8Array
  /** Seals as for another place. */
  readonly sealedFor?: RecordPeriod
  /** What is signed in place of the value. */
  readonly value?: (right: Uint8Array) => Uint8Array
  /** Seed of the key that signs and is blinded. */
  readonly signer?: Uint8Array
}

export async function naiveRecord(seed: Uint8Array, where: RecordPeriod, record: KeyRecord, slips: Slips = {}) {
  const signer = slips.signer ?? seed
  const blinded = await blindSigningKey(signer, blindFactor(where.key, where.network, where.period))
  const sequence = slips.sequence ?? outerSequence(where.key, where.network, where.period, record.sequence)
  const encoded = slips.encoded ?? encodeKeyRecord(record)
  let plain = new Uint8Array(NAIVE_PLAIN_BYTES)
  writeU16(plain, 0, slips.length ?? encoded.length)
  plain.set(encoded, 2)
  plain[plain.length - 1]! ^= slips.lastByte ?? 0
  plain = new Uint8Array(slips.plain ?? plain)
  const salt = slips.salt ?? blinded.secretHash('gyre/1 record salt', blinded.publicKey, le64(sequence), plain).slice(0, 16)
  const { key, network } = slips.sealedFor ?? where
  const info = lengthPrefixed(utf8('gyre/1 record key'), network, blinded.publicKey, le64(sequence))
  const sealing = hkdfExpand(hkdfExtract(salt, key), info, 32)
  const right = concat(salt, sealOnce(sealing, plain))
  const value = slips.value?.(right) ?? right
  const expiresMs = slips.expiresMs ?? recordExpiryMs(where.key, where.period)
  const signed = taggedHash('gyre/1 record', blinded.publicKey, le64(sequence), le64(expiresMs), value)
  const made: SignedRecord = { publicKey: blinded.publicKey, sequence, expiresMs, value, signature: blinded.sign(signed) }
  return { made, plain, salt, sealing, signed }
}

/** A key made from a seed of equal bytes, and an address of it. */
export function keyOfByte(byte: number): { readonly seed: Uint8Array; readonly key: Uint8Array } {
  const seed = new Uint8Array(32).fill(byte)
  return { seed, key: signingKey(seed).publicKey }
}
