/**
 * Plain byte work that knows no protocol: hex, little-endian integers, concatenation, comparison of public values,
 * and the brands of the ids that the whole code base shares. Secrets are compared in `src/crypto/`, not here.
 */

/** A node's identity: its 32-byte Ed25519 public key as 64 lower-case hex characters. */
export type NodeId = string & { readonly __brand: 'NodeId' }

/** Milliseconds since 1970, from the wall clock. */
export type UnixMs = number & { readonly __brand: 'UnixMs' }
/** Milliseconds on a clock that never goes back; its zero means nothing. */
export type MonotonicMs = number & { readonly __brand: 'MonotonicMs' }

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))

/** Lower-case hex of `bytes`. */
export function toHex(bytes: Uint8Array): string {
  let text = ''
  for (const byte of bytes) text += HEX[byte]
  return text
}

/** Bytes of an even-length hex text, or `null` if it is not one. */
export function fromHex(text: string): Uint8Array | null {
  if (text.length % 2 !== 0 || !/^[0-9a-fA-F]*$/.test(text)) return null
  const bytes = new Uint8Array(text.length / 2)
  for (let at = 0; at < bytes.length; at++) bytes[at] = Number.parseInt(text.slice(2 * at, 2 * at + 2), 16)
  return bytes
}

/** The id of the node whose Ed25519 public key is `publicKey` (32 bytes). */
export function nodeIdOf(publicKey: Uint8Array): NodeId {
  return toHex(publicKey) as NodeId
}

/** The 32-byte public key that a node id spells. */
export function nodeIdBytes(id: NodeId): Uint8Array {
  return fromHex(id) ?? new Uint8Array(32)
}

/** `text` as a node id if it is 64 lower-case hex characters, else `null`. */
export function parseNodeId(text: string): NodeId | null {
  return /^[0-9a-f]{64}$/.test(text) ? (text as NodeId) : null
}

/** One new array with all parts in order. */
export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  let length = 0
  for (const part of parts) length += part.length
  const joined = new Uint8Array(length)
  let at = 0
  for (const part of parts) {
    joined.set(part, at)
    at += part.length
  }
  return joined
}

/** Bytes in one piece, or in pieces that follow each other: what is long is passed on without being copied together. */
export type Pieces = Uint8Array | readonly Uint8Array[]

/** The pieces, as a list. */
export function piecesOf(bytes: Pieces): readonly Uint8Array[] {
  return bytes instanceof Uint8Array ? [bytes] : bytes
}

/** Length of all pieces together. */
export function lengthOf(bytes: Pieces): number {
  return piecesOf(bytes).reduce((length, piece) => length + piece.length, 0)
}

/** Whether two public values are equal. Not constant time. */
export function equalPublic(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false
  for (let at = 0; at < a.length; at++) if (a[at] !== b[at]) return false
  return true
}

/** Order of two byte strings, as `memcmp`: negative, 0 or positive. */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const shared = Math.min(a.length, b.length)
  for (let at = 0; at < shared; at++) if (a[at] !== b[at]) return a[at]! - b[at]!
  return a.length - b.length
}

const encoder = new TextEncoder()

/** UTF-8 bytes of `text`. */
export function utf8(text: string): Uint8Array {
  return encoder.encode(text)
}

export function readU16(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8)
}

export function writeU16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value
  bytes[at + 1] = value >>> 8
}

export function readU32(bytes: Uint8Array, at: number): number {
  return (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0
}

export function writeU32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value
  bytes[at + 1] = value >>> 8
  bytes[at + 2] = value >>> 16
  bytes[at + 3] = value >>> 24
}

/** Reads 6 bytes, little-endian: an integer below 2^48, exact in a number. */
export function readU48(bytes: Uint8Array, at: number): number {
  return readU32(bytes, at) + readU16(bytes, at + 4) * 0x1_0000_0000
}

/** Writes `value` (an integer below 2^48) as 6 bytes, little-endian. */
export function writeU48(bytes: Uint8Array, at: number, value: number): void {
  writeU32(bytes, at, value % 0x1_0000_0000)
  writeU16(bytes, at + 4, Math.floor(value / 0x1_0000_0000))
}

/** `value` (an integer from 0 to 2^53) as 8 bytes, little-endian. */
export function le64(value: number): Uint8Array {
  const bytes = new Uint8Array(8)
  writeU32(bytes, 0, value % 0x1_0000_0000)
  writeU32(bytes, 4, Math.floor(value / 0x1_0000_0000))
  return bytes
}

/** `value` as 4 bytes, little-endian. */
export function le32(value: number): Uint8Array {
  const bytes = new Uint8Array(4)
  writeU32(bytes, 0, value)
  return bytes
}

/** Each part behind its length as u32: the injective encoding that every hash input with several parts goes through. */
export function lengthPrefixed(...parts: readonly Uint8Array[]): Uint8Array {
  return concat(...parts.flatMap((part) => [le32(part.length), part]))
}
