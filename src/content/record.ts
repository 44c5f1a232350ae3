/**
 * Records as writer, holder and reader see them alike: periods of an address, its blinded key in each, what a signature covers, how long a
 * record holds, and where its copies lie. What is inside of one is `key-record.ts`'s. Spec: SPEC.md §10.
 *
 * Threat: holders that forge (signature), and holders that put together what one address published in several periods: nothing that they
 * see of one period may repeat in another. So keys are blinded, sequences are moved by a secret of the period and blurred by another of each
 * change (two changes would be equally far apart in all periods), and times of expiry lie on weeks that all addresses share: an expiry at the
 * end of the address's own period would name the address's offset in each of them.
 */
import { le32, le64, readU32, readU48, type UnixMs } from '../bytes/index.ts'
import {
  type BlindedKey,
  blindPublicKey,
  SIGN_PUBLIC_BYTES,
  SIGNATURE_BYTES,
  taggedHash,
  verifySignature,
} from '../crypto/index.ts'
import { RECORD_VALUE_BYTES, type SignedRecord } from '../wire/index.ts'
import { ROOT_SLOTS_MAX } from './constants.ts'
import { SPREAD_MAX, sharesOf } from './spread.ts'

// Specification constants.
/** Length of a period. */
export const RECORD_PERIOD_SECONDS = 604_800
const PERIOD_MS = RECORD_PERIOD_SECONDS * 1000
/** Around a boundary both periods' records are kept up and looked for: clocks may be off by so much. */
export const RECORD_GRACE_MS = 24 * 3_600_000
/** A holder takes nothing that expires later than this from now: current period and 4 more, grace, the week's rest, and a clock's error. */
export const RECORD_KEEP_MS_MAX = 45 * 24 * 3_600_000

/** By how many seconds the periods of the address `key` (32 bytes) begin before the weeks of Unix time: 0 to 604,799. */
function periodOffset(key: Uint8Array): number {
  return readU32(taggedHash('gyre/1 period offset', key), 0) % RECORD_PERIOD_SECONDS
}

/** The number of the period of `key` at a time. */
export function periodAt(key: Uint8Array, unixMs: number): number {
  return Math.floor((Math.floor(unixMs / 1000) + periodOffset(key)) / RECORD_PERIOD_SECONDS)
}

/** When a period of `key` begins. */
export function periodStartMs(key: Uint8Array, period: number): UnixMs {
  return ((period * RECORD_PERIOD_SECONDS - periodOffset(key)) * 1000) as UnixMs
}

/** Until when a period's records hold: the first multiple of 7 days of Unix time that lies a grace or more after the period's end. */
export function recordExpiryMs(key: Uint8Array, period: number): UnixMs {
  return (Math.ceil((periodStartMs(key, period + 1) + RECORD_GRACE_MS) / PERIOD_MS) * PERIOD_MS) as UnixMs
}

/** The 32 bytes from which the factor of blinding is made, for `blindSigningKey` and `blindAddress`. */
export function blindFactor(key: Uint8Array, network: Uint8Array, period: number): Uint8Array {
  return taggedHash('gyre/1 blind', key, network, le64(period))
}

/** The blinded key of an address's period, 32 bytes; `null`: `key` is of the wrong group, no address of ours. */
export function blindAddress(key: Uint8Array, network: Uint8Array, period: number): Promise<Uint8Array | null> {
  return blindPublicKey(key, blindFactor(key, network, period))
}

/** How far apart two sequences of a key that follow each other are outside, on average. */
const SEQUENCE_STEP = 64

/**
 * What holders see in place of the key's own `sequence` (below 2^46): below 2^53, greater for a greater one of the same period, and neither it
 * nor the distance between two of them is the same in another period.
 */
export function outerSequence(key: Uint8Array, network: Uint8Array, period: number, sequence: number): number {
  const digest = taggedHash('gyre/1 record sequence', key, network, le64(period))
  const offset = readU48(digest, 0) + (digest[6]! & 0x0f) * 2 ** 48
  const blur = taggedHash('gyre/1 record blur', key, network, le64(period), le64(sequence))[0]! % SEQUENCE_STEP
  return offset + SEQUENCE_STEP * sequence + blur
}

/** The 32 bytes that a record's signature covers. */
export function recordSignedBytes({ publicKey, sequence, expiresMs, value }: Omit<SignedRecord, 'signature'>): Uint8Array {
  return taggedHash('gyre/1 record', publicKey, le64(sequence), le64(expiresMs), value)
}

/** A record of these fields, signed by the blinded key. */
export function signRecord(key: BlindedKey, fields: Pick<SignedRecord, 'sequence' | 'expiresMs' | 'value'>): SignedRecord {
  const unsigned = { publicKey: key.publicKey, ...fields }
  return { ...unsigned, signature: key.sign(recordSignedBytes(unsigned)) }
}

/** Whether every length and number is in range and the signature is the key's over all of it. Bounds lengths before it hashes. */
export function verifyRecord(record: SignedRecord): boolean {
  const { publicKey, sequence, expiresMs, value, signature } = record
  if (publicKey.length !== SIGN_PUBLIC_BYTES || signature.length !== SIGNATURE_BYTES || value.length !== RECORD_VALUE_BYTES)
    return false
  if (!Number.isSafeInteger(sequence) || sequence < 0 || !Number.isSafeInteger(expiresMs) || expiresMs < 0) return false
  return verifySignature(publicKey, recordSignedBytes(record), signature)
}

/** How many copies of a record there are among `holders` (1 or more) nodes: any half of them may vanish, beyond 30 a third. */
export function recordCopies(holders: number): number {
  return Math.min(ROOT_SLOTS_MAX, sharesOf(1, Math.min(SPREAD_MAX, holders)))
}

/** Where copy `copy` of the record under a blinded key lies: 32 bytes, by which holders are ranked. */
export function recordPlace(publicKey: Uint8Array, copy: number): Uint8Array {
  return taggedHash('gyre/1 record place', publicKey, le32(copy))
}
