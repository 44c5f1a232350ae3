/**
 * The key schedule of set-up, shared word for word by hop and origin: what is hashed, under which label, in which order.
 * HKDF-SHA-256 (RFC 5869) and SHA-256; each input of several parts has every part, the label too, behind its length as u32.
 * Spec: SPEC.md §4.3 "Keys".
 *
 *   prk1 (both onion keys) → body, stack, reply      opens and peels; no forward secrecy
 *   prk2 (prk1 and the fresh key) → cell, answer, confirm over the whole transcript; forward secret from the first cell
 */
import { lengthPrefixed, type NodeId, nodeIdBytes, utf8 } from '../../bytes/index.ts'
import {
  hkdfExpand,
  hkdfExtract,
  hmacSha256,
  mlkemDecapsulate,
  mlkemEncapsulate,
  type PrivateKeyHandle,
  type PublicKeyHandle,
  taggedHash,
  wipe,
  type X25519KeyPair,
  type X25519PrivateKey,
  x25519,
  x25519Generate,
} from '../../crypto/index.ts'
import type { OnionPublicKeys } from '../onion-public.ts'
import { CONFIRM_BYTES, RECORD_BYTES, STACK_BYTES } from './constants.ts'

const KEY_BYTES = 32
/** Opens the associated data of a sealed body: label ‖ record[0..1122) ‖ rest, all of fixed length, hence not length-prefixed. */
export const RECORD_LABEL = utf8('gyre/1 rec')

/**
 * The operations that make or handle secrets. The real ones by default; vectors inject fixed keys and ciphertexts (node:crypto takes no
 * randomness from its caller), tests keep hold of what they return to see it wiped.
 */
export interface SetUpPrimitives {
  x25519Generate(): X25519KeyPair
  x25519(privateKey: X25519PrivateKey, peerPublic: Uint8Array): Uint8Array | null
  mlkemEncapsulate(publicKey: PublicKeyHandle): { readonly secret: Uint8Array; readonly ciphertext: Uint8Array }
  mlkemDecapsulate(privateKey: PrivateKeyHandle, ciphertext: Uint8Array): Uint8Array | null
  hkdfExtract(salt: Uint8Array, secret: Uint8Array): Uint8Array
  hkdfExpand(prk: Uint8Array, info: Uint8Array, length: number): Uint8Array
}

export const PRIMITIVES: SetUpPrimitives = {
  x25519Generate,
  x25519,
  mlkemEncapsulate,
  mlkemDecapsulate,
  hkdfExtract,
  hkdfExpand,
}

/** Keys that follow from a record and the hop's onion keys. `wipeRecordKeys` ends them. */
export interface RecordKeys {
  readonly prk1: Uint8Array
  readonly body: Uint8Array
  readonly stack: Uint8Array
  readonly reply: Uint8Array
}

/** What a member keeps of a loop: 32 bytes each. */
export interface SetUpLayer {
  /** k: what cells of the loop are deciphered with. */
  readonly cellKey: Uint8Array
  /** a: what this hop's answers are sealed with. */
  readonly answerKey: Uint8Array
}

/** ctx: which record, for whom, in which network. 32 bytes. */
export function recordContext(
  network: Uint8Array,
  hop: NodeId,
  onion: OnionPublicKeys,
  ephemeral: Uint8Array,
  ciphertext: Uint8Array,
): Uint8Array {
  const kid = Uint8Array.of(onion.kid)
  return taggedHash('gyre/1 ctx', network, nodeIdBytes(hop), onion.x25519, onion.mlkem768, kid, ephemeral, ciphertext)
}

/** Derives the record's keys from both shared secrets, which stay the caller's to wipe. */
export function recordKeys(
  p: SetUpPrimitives,
  network: Uint8Array,
  ctx: Uint8Array,
  ecdhSecret: Uint8Array,
  kemSecret: Uint8Array,
): RecordKeys {
  const both = lengthPrefixed(ecdhSecret, kemSecret)
  const prk1 = p.hkdfExtract(taggedHash('gyre/1 setup', network), both)
  wipe(both)
  return {
    prk1,
    body: p.hkdfExpand(prk1, label('gyre/1 body', ctx), KEY_BYTES),
    stack: p.hkdfExpand(prk1, label('gyre/1 stack', ctx), KEY_BYTES),
    reply: p.hkdfExpand(prk1, label('gyre/1 reply', ctx), KEY_BYTES),
  }
}

/** th: everything that the member saw and added. `stack` is A, `reply` is Q, both as received. 32 bytes. */
export function transcript(ctx: Uint8Array, stack: Uint8Array, reply: Uint8Array, fresh: Uint8Array): Uint8Array {
  const record = stack.subarray(0, RECORD_BYTES)
  return taggedHash('gyre/1 th', ctx, record, stack.subarray(RECORD_BYTES, STACK_BYTES), reply, fresh)
}

/** Derives the layer, and the confirmation (`CONFIRM_BYTES`) that proves prk1 and `freshSecret` over the transcript. */
export function layerKeys(
  p: SetUpPrimitives,
  prk1: Uint8Array,
  freshSecret: Uint8Array,
  th: Uint8Array,
): SetUpLayer & { readonly confirmation: Uint8Array } {
  const prk2 = p.hkdfExtract(prk1, freshSecret)
  const confirmKey = p.hkdfExpand(prk2, label('gyre/1 confirm', th), KEY_BYTES)
  const layer = {
    cellKey: p.hkdfExpand(prk2, label('gyre/1 cell', th), KEY_BYTES),
    answerKey: p.hkdfExpand(prk2, label('gyre/1 answer', th), KEY_BYTES),
    confirmation: hmacSha256(confirmKey, th).slice(0, CONFIRM_BYTES),
  }
  wipe(prk2, confirmKey)
  return layer
}

/** Overwrites all of a record's keys. */
export function wipeRecordKeys(keys: RecordKeys): void {
  wipe(keys.prk1, keys.body, keys.stack, keys.reply)
}

/** Overwrites a layer. */
export function wipeLayer(layer: SetUpLayer): void {
  wipe(layer.cellKey, layer.answerKey)
}

function label(name: string, bound: Uint8Array): Uint8Array {
  return lengthPrefixed(utf8(name), bound)
}
