/**
 * What is inside of a record: sealed for those who know the address, opened only if everything about it is right. Spec: SPEC.md §10.4.
 *
 *   value = salt 16 ‖ ChaCha20-Poly1305 of the plaintext (3072), tag 16
 *   plaintext = length u16 ‖ KeyRecord (protobuf) ‖ zeros
 *
 * The sealing key comes from address, network, blinded key, sequence and salt. The salt is a secret function of blinded key, sequence and
 * plaintext, so that a key seals one plaintext only, and publishing the same again gives the same bytes: holders see a refresh, no change.
 */
import { concat, equalPublic, le64, lengthPrefixed, readU16, utf8, writeU16 } from '../bytes/index.ts'
import { type BlindedKey, hkdfExpand, hkdfExtract, openOnce, STREAM_KEY_BYTES, sealOnce, wipe } from '../crypto/index.ts'
import {
  encodeKeyRecord,
  type KeyRecord,
  parseKeyRecord,
  RECORD_PLAIN_BYTES,
  RECORD_VALUE_BYTES,
  type SignedRecord,
} from '../wire/index.ts'
import { outerSequence, recordExpiryMs, signRecord, verifyRecord } from './record.ts'

// Specification constants.
const SALT_BYTES = 16
const LENGTH_BYTES = 2
const LABEL_RECORD_KEY = 'gyre/1 record key'

/** One period of one address on one network. */
export interface RecordPeriod {
  /** 32 bytes: the address's key material. */
  readonly key: Uint8Array
  /** 32 bytes. */
  readonly network: Uint8Array
  readonly period: number
}

/** The record that says `record` in a period. `blinded` is that period's key. */
export function sealKeyRecord(where: RecordPeriod, blinded: BlindedKey, record: KeyRecord): SignedRecord {
  const { key, network, period } = where
  const sequence = outerSequence(key, network, period, record.sequence)
  const encoded = encodeKeyRecord(record)
  if (parseKeyRecord(encoded) === null || encoded.length > RECORD_PLAIN_BYTES - LENGTH_BYTES)
    throw new RangeError('no record within the limits')
  const plain = new Uint8Array(RECORD_PLAIN_BYTES)
  writeU16(plain, 0, encoded.length)
  plain.set(encoded, LENGTH_BYTES)
  const salt = blinded.secretHash('gyre/1 record salt', blinded.publicKey, le64(sequence), plain).subarray(0, SALT_BYTES)
  const sealing = sealingKey(where, blinded.publicKey, sequence, salt)
  const value = concat(salt, sealOnce(sealing, plain))
  wipe(sealing, plain)
  return signRecord(blinded, { sequence, expiresMs: recordExpiryMs(key, period), value })
}

/**
 * What a holder's record says; `null` if anything about it is wrong: another key than `publicKey` (the period's), signature, expiry at `nowMs`,
 * seal, padding, a field inside, or a sequence inside that is not the one outside. Total.
 */
export function openKeyRecord(where: RecordPeriod, publicKey: Uint8Array, record: SignedRecord, nowMs: number): KeyRecord | null {
  const { key, network, period } = where
  if (!equalPublic(record.publicKey, publicKey) || record.expiresMs <= nowMs || !verifyRecord(record)) return null
  const salt = record.value.subarray(0, SALT_BYTES)
  const sealing = sealingKey(where, publicKey, record.sequence, salt)
  const plain = openOnce(sealing, record.value.subarray(SALT_BYTES, RECORD_VALUE_BYTES))
  wipe(sealing)
  if (plain === null || plain.length !== RECORD_PLAIN_BYTES) return null
  const end = LENGTH_BYTES + readU16(plain, 0)
  if (end > plain.length || plain.subarray(end).some((byte) => byte !== 0)) return null
  const opened = parseKeyRecord(plain.subarray(LENGTH_BYTES, end))
  return opened !== null && outerSequence(key, network, period, opened.sequence) === record.sequence ? opened : null
}

function sealingKey({ key, network }: RecordPeriod, publicKey: Uint8Array, sequence: number, salt: Uint8Array): Uint8Array {
  const prk = hkdfExtract(salt, key)
  const info = lengthPrefixed(utf8(LABEL_RECORD_KEY), network, publicKey, le64(sequence))
  const sealing = hkdfExpand(prk, info, STREAM_KEY_BYTES)
  wipe(prk)
  return sealing
}
