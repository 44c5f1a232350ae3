/**
 * Addresses: what a person copies, and a browser takes as a host name. 35 bytes (32 of key material, type and version, checksum) in
 * 56 characters of base32, lower case, without padding. Spec: SPEC.md §7.2; base32 is RFC 4648 §6; the checksum is made as in Tor's v3
 * onion addresses (rend-spec-v3 §6), with our own hash and label.
 *
 * The text is canonical: 280 bits fill 56 characters exactly, so no bit is left over, and upper case is read as lower case. The checksum
 * is against slips of the pen, not against an adversary: only the content's own hash or signature is.
 */
import { concat } from '../bytes/index.ts'
import { taggedHash } from '../crypto/index.ts'
import { OverlayError } from '../errors/index.ts'
import { LABEL_ADDRESS } from './constants.ts'

/** Bytes of key material. */
export const ADDRESS_KEY_BYTES = 32
/** Bytes of an address: key material, type and version, checksum. */
export const ADDRESS_BYTES = 35
/** Characters of an address. */
export const ADDRESS_CHARS = 56
/** What follows the address in a host name. */
export const ADDRESS_DOMAIN = '.gyre'

/**
 * The kind of publication: upper four bits of the type byte. A `key` is an Ed25519 key whose signed record says what is there now: a site, a
 * live service, or both. One type for both (D-047): one key is one web origin, and no link breaks when a site gets a live service.
 */
export const AddressType = { file: 0, key: 1 } as const
export type AddressType = (typeof AddressType)[keyof typeof AddressType]

/** The version of the `file` format: lower four bits of the type byte. */
export const FILE_VERSION = 1
/** The same for keys and their records. */
export const KEY_VERSION = 1

/** A parsed address. `key` of a `file` is the hash S of its root. */
export interface FileAddress {
  readonly type: typeof AddressType.file
  readonly version: typeof FILE_VERSION
  /** 32 bytes. Who has them can find and read the publication. */
  readonly key: Uint8Array
}

/** The address of a key. `key` is the Ed25519 public key that its records are blinded from. */
export interface KeyAddress {
  readonly type: typeof AddressType.key
  readonly version: typeof KEY_VERSION
  /** 32 bytes. Who has them can find and read the records. Whether it is a key of the right group is checked by who uses it. */
  readonly key: Uint8Array
}

export type Address = FileAddress | KeyAddress

const ALPHABET = 'abcdefghijklmnopqrstuvwxyz234567'

/** RFC 4648 base32, lower case, without padding, of a multiple of 5 bytes. */
function toBase32(bytes: Uint8Array): string {
  let text = ''
  let bits = 0
  let held = 0
  for (const byte of bytes) {
    held = (held << 8) | byte
    bits += 8
    while (bits >= 5) {
      bits -= 5
      text += ALPHABET[(held >>> bits) & 31]
    }
    held &= (1 << bits) - 1
  }
  return text
}

/** The 35 bytes that 56 characters spell, or `null` if a character is not of the alphabet. */
function fromBase32(text: string): Uint8Array | null {
  const bytes = new Uint8Array(ADDRESS_BYTES)
  let at = 0
  let bits = 0
  let held = 0
  for (const char of text) {
    const value = ALPHABET.indexOf(char)
    if (value < 0) return null
    held = ((held << 5) | value) & 0xfff
    bits += 5
    if (bits >= 8) {
      bits -= 8
      bytes[at++] = held >>> bits
    }
  }
  return bytes
}

function checksum(key: Uint8Array, kind: number): Uint8Array {
  return taggedHash(LABEL_ADDRESS, key, Uint8Array.of(kind)).subarray(0, 2)
}

/** The 56 characters of the address of the `file` whose root hashes to `key` (32 bytes). */
export function formatFileAddress(key: Uint8Array): string {
  return format(key, FILE_KIND)
}

/** The 56 characters of the address of the Ed25519 public key `key` (32 bytes). */
export function formatKeyAddress(key: Uint8Array): string {
  return format(key, KEY_KIND)
}

const FILE_KIND = (AddressType.file << 4) | FILE_VERSION
const KEY_KIND = (AddressType.key << 4) | KEY_VERSION

function format(key: Uint8Array, kind: number): string {
  return toBase32(concat(key, Uint8Array.of(kind), checksum(key, kind)))
}

/**
 * The address that `text` spells: 56 characters, any case, alone. `null` for anything else: other length, a character outside the
 * alphabet, a wrong checksum, a type or version that this program does not know.
 */
export function parseAddress(text: string): Address | null {
  // The length comes first: nothing below works on more than 56 characters. Only ASCII may change its case.
  if (text.length !== ADDRESS_CHARS || !/^[A-Za-z2-7]+$/.test(text)) return null
  const bytes = fromBase32(text.toLowerCase())
  if (bytes === null) return null
  const key = bytes.slice(0, ADDRESS_KEY_BYTES)
  const kind = bytes[ADDRESS_KEY_BYTES]!
  const sum = checksum(key, kind)
  if (bytes[33] !== sum[0] || bytes[34] !== sum[1]) return null
  if (kind === FILE_KIND) return { type: AddressType.file, version: FILE_VERSION, key }
  return kind === KEY_KIND ? { type: AddressType.key, version: KEY_VERSION, key } : null
}

/** `parseAddress`, or the error `ADDRESS_BAD` that tells a person what an address looks like. */
export function requireAddress(text: string): Address {
  const address = parseAddress(text)
  if (address === null) {
    throw new OverlayError('protocol', 'ADDRESS_BAD', `Not a Gyre address: ${ADDRESS_CHARS} characters a-z and 2-7 are expected.`)
  }
  return address
}

/** `requireAddress` for what takes a `file` only. */
export function requireFileAddress(text: string): FileAddress {
  const address = requireAddress(text)
  if (address.type === AddressType.file) return address
  throw new OverlayError('protocol', 'ADDRESS_BAD', 'This is the address of a key (a site or service), not of a single file.')
}

/** The one spelling of an address: lower case. */
export function canonicalAddress(address: Address): string {
  return address.type === AddressType.file ? formatFileAddress(address.key) : formatKeyAddress(address.key)
}

/** The host name of an address: `<56>.gyre`. */
export function addressHost(text: string): string {
  return `${text.toLowerCase()}${ADDRESS_DOMAIN}`
}

/** The address of a host name `<56>.gyre` (any case, one trailing dot allowed), or `null`. No sub-domains, no port. */
export function parseAddressHost(host: string): Address | null {
  if (host.length > ADDRESS_CHARS + ADDRESS_DOMAIN.length + 1) return null
  const bare = host.endsWith('.') ? host.slice(0, -1) : host
  if (bare.length !== ADDRESS_CHARS + ADDRESS_DOMAIN.length) return null
  if (bare.slice(ADDRESS_CHARS).toLowerCase() !== ADDRESS_DOMAIN) return null
  return parseAddress(bare.slice(0, ADDRESS_CHARS))
}
