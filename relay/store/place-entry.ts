/**
 * Codec of the index: one entry of 64 bytes says what lies in one place. Entry n of an index file describes place n of its data file,
 * so that two entries can never claim the same place. A checksum over entry and place number finds torn, flipped and misplaced entries;
 * it guards against accidents only: what a place holds is verified by hash or signature when it is read. Spec: SPEC.md §7.1.4.
 *
 *   0  key          32   share address or slot location
 *  32  state         1   1: in use; an entry of 64 zero bytes is free
 *  33  variant       1   0 to 3; 0 for shares
 *  34  keepUntil     6   Unix milliseconds
 *  40  length        4   bytes of the place that are used
 *  44  zero         16
 *  60  checksum      4   CRC-32 over bytes 0..59, begun with the place number
 */
import { crc32 } from 'node:zlib'
import { readU32, readU48, type UnixMs, writeU32, writeU48 } from '../../src/bytes/index.ts'

export const ENTRY_BYTES = 64
export const KEY_BYTES = 32
const STATE_AT = 32
const VARIANT_AT = 33
const KEEP_AT = 34
const LENGTH_AT = 40
const CHECKSUM_AT = 60
const IN_USE = 1

export interface PlaceEntry {
  /** 32 bytes. */
  readonly key: Uint8Array
  readonly variant: number
  readonly keepUntilMs: UnixMs
  readonly length: number
}

/** The entry of place `place`: 64 bytes. */
export function encodeEntry(place: number, entry: PlaceEntry): Uint8Array {
  const bytes = new Uint8Array(ENTRY_BYTES)
  bytes.set(entry.key, 0)
  bytes[STATE_AT] = IN_USE
  bytes[VARIANT_AT] = entry.variant
  writeU48(bytes, KEEP_AT, entry.keepUntilMs)
  writeU32(bytes, LENGTH_AT, entry.length)
  writeU32(bytes, CHECKSUM_AT, checksumOf(place, bytes))
  return bytes
}

/** The entry of place `place` in `bytes` (64), `free` for zeros, `damaged` for anything else. The key is a copy. */
export function decodeEntry(place: number, bytes: Uint8Array): PlaceEntry | 'free' | 'damaged' {
  if (bytes[STATE_AT] !== IN_USE) return bytes.every((byte) => byte === 0) ? 'free' : 'damaged'
  if (readU32(bytes, CHECKSUM_AT) !== checksumOf(place, bytes)) return 'damaged'
  return {
    key: bytes.slice(0, KEY_BYTES),
    variant: bytes[VARIANT_AT]!,
    keepUntilMs: readU48(bytes, KEEP_AT) as UnixMs,
    length: readU32(bytes, LENGTH_AT),
  }
}

function checksumOf(place: number, entry: Uint8Array): number {
  return crc32(entry.subarray(0, CHECKSUM_AT), place)
}
