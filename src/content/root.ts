/**
 * The root of a `file`: what its address is the hash of, and from which everything else of it is found, verified and deciphered.
 * Codec, keys and sealing; no I/O. Spec: SPEC.md §7.4.
 *
 * S = H("gyre/1 file" ‖ root) is the address. A root reaches its reader sealed and signed under keys that follow from S, so a store sees
 * neither S nor content; but whoever knows S could seal and sign another root, so the reader takes only the one that hashes to S. The
 * chain S → root → share addresses → blocks then covers every byte that is ever delivered.
 */
import { concat, le32, readU48, utf8, writeU48 } from '../bytes/index.ts'
import { equalSecret, hkdfExpand, openOnce, type SigningKey, sealOnce, signingKey, taggedHash } from '../crypto/index.ts'
import {
  LABEL_BLOCKS_KEY,
  LABEL_FILE,
  LABEL_ROOT_KEY,
  LABEL_ROOT_SIGN,
  LABEL_TREE_KEY,
  ROOT_BYTES,
  ROOT_TEXT_BYTES_MAX,
} from './constants.ts'
import { isShape, shapeOf } from './layout.ts'

/** Bytes of σ, the random value that makes equal contents unequal publications. */
export const SIGMA_BYTES = 32
const ROOT_VERSION = 1
const KEY_BYTES = 32
/** version, σ, length (6 bytes), zero (2 bytes), spread, levels. */
const HEADER_BYTES = 1 + SIGMA_BYTES + 8 + 1 + 1

/** A root's content. */
export interface Root {
  /** 32 bytes, secret: with it every block can be deciphered. */
  readonly sigma: Uint8Array
  /** Plaintext bytes. */
  readonly length: number
  /** Holders known at publication, at most 255: decides how many shares each segment has. */
  readonly spread: number
  /** UTF-8, at most 255 bytes, no control characters; may be empty. */
  readonly name: string
  /** Printable ASCII, 1 to 255 bytes: it may become an HTTP header. */
  readonly contentType: string
  /** Share addresses of the top level, back to back. */
  readonly addresses: Uint8Array
}

/** Whether `text` may be a publication's name. */
export function isName(text: string): boolean {
  // Lone surrogates have no UTF-8 form and would come back changed.
  return text.isWellFormed() && utf8(text).length <= ROOT_TEXT_BYTES_MAX && !/\p{Cc}/u.test(text)
}

/** Whether `text` may be a content type: printable ASCII, so that it cannot break out of a header. */
export function isContentType(text: string): boolean {
  return text.length <= ROOT_TEXT_BYTES_MAX && /^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$/.test(text)
}

/** The 16,384 bytes of a root. Throws `RangeError` for what no root may state. */
export function encodeRoot(root: Root): Uint8Array {
  if (!isShape(root.length, root.spread) || !isName(root.name) || !isContentType(root.contentType))
    throw new RangeError('no such root')
  const levels = shapeOf(root.length, root.spread)
  if (root.sigma.length !== SIGMA_BYTES || root.addresses.length !== levels.at(-1)!.addressBytes)
    throw new RangeError('no such root')
  const bytes = new Uint8Array(ROOT_BYTES)
  bytes[0] = ROOT_VERSION
  bytes.set(root.sigma, 1)
  writeU48(bytes, 33, root.length)
  bytes[41] = root.spread
  bytes[42] = levels.length - 1
  let at = HEADER_BYTES
  for (const text of [utf8(root.name), utf8(root.contentType)]) {
    bytes[at] = text.length
    bytes.set(text, at + 1)
    at += 1 + text.length
  }
  bytes.set(root.addresses, at)
  return bytes
}

/** The root that `bytes` spell, or `null`. Accepts what `encodeRoot` writes and nothing else: each root has one spelling. */
export function parseRoot(bytes: Uint8Array): Root | null {
  if (bytes.length !== ROOT_BYTES || bytes[0] !== ROOT_VERSION) return null
  const length = readU48(bytes, 33)
  const spread = bytes[41]!
  if (bytes[39] !== 0 || bytes[40] !== 0 || !isShape(length, spread)) return null
  const levels = shapeOf(length, spread)
  if (bytes[42] !== levels.length - 1) return null
  const nameAt = HEADER_BYTES + 1
  const typeAt = nameAt + bytes[nameAt - 1]! + 1
  const addressesAt = typeAt + bytes[typeAt - 1]!
  const end = addressesAt + levels.at(-1)!.addressBytes
  if (end > ROOT_BYTES || bytes.subarray(end).some((byte) => byte !== 0)) return null
  const name = readText(bytes.subarray(nameAt, typeAt - 1))
  const contentType = readText(bytes.subarray(typeAt, addressesAt))
  if (name === null || contentType === null || !isName(name) || !isContentType(contentType)) return null
  return { sigma: bytes.slice(1, 33), length, spread, name, contentType, addresses: bytes.slice(addressesAt, end) }
}

function readText(bytes: Uint8Array): string | null {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    return null // not UTF-8
  }
}

/** S: the key material of the address of the file with these root bytes. */
export function rootHash(rootBytes: Uint8Array): Uint8Array {
  return taggedHash(LABEL_FILE, rootBytes)
}

/** What follows from S: who signs the root slots, and how the root is sealed. */
export interface RootKeys {
  readonly signing: SigningKey
  /** Seals the one root of this address: used for a single message. */
  readonly sealing: Uint8Array
}

/** Both keys of the root of address key `s`. */
export function rootKeys(s: Uint8Array): RootKeys {
  return {
    signing: signingKey(hkdfExpand(s, utf8(LABEL_ROOT_SIGN), KEY_BYTES)),
    sealing: hkdfExpand(s, utf8(LABEL_ROOT_KEY), KEY_BYTES),
  }
}

/** The sealed root, as the slots hold it: 16,400 bytes. */
export function sealRoot(keys: RootKeys, rootBytes: Uint8Array): Uint8Array {
  return sealOnce(keys.sealing, rootBytes)
}

/** The root inside `sealed` if it is the one whose hash is `s`, else `null`. Total. */
export function openRoot(s: Uint8Array, keys: RootKeys, sealed: Uint8Array): Root | null {
  const bytes = openOnce(keys.sealing, sealed)
  if (bytes === null || !equalSecret(rootHash(bytes), s)) return null
  return parseRoot(bytes)
}

/** The key of a level's blocks: level 0 is the content, each level of the tree has its own. Block i is enciphered with nonce i. */
export function levelKey(sigma: Uint8Array, level: number): Uint8Array {
  const info = level === 0 ? utf8(LABEL_BLOCKS_KEY) : concat(utf8(LABEL_TREE_KEY), le32(level))
  return hkdfExpand(sigma, info, KEY_BYTES)
}
