/**
 * HPolyC-XChaCha20-AES256 (Crowley and Biggers 2018, "Adiantum: length-preserving encryption for entry-level processors", the HPolyC
 * construction; reference code google/adiantum `python/hpolyc.py`). This file owns the composition: hash, block, stream, hash, over a
 * batch of bodies. The primitives come from an engine: `hpolyc-native.ts` or `hpolyc-portable.ts`. Spec: SPEC.md §4.1.
 *
 * Threat met: a member that marks a cell. Whatever changes in a body, all of it turns to noise under every further layer (P6).
 *
 * Stages of a batch, for each body P = L ‖ R (R: its last 16 bytes), T the tweak, H Poly1305 with s = 0:
 *  1. copy the body into a scratch slot behind the hash header; M = R + H(T, L) mod 2^128
 *  2. all M of the batch through AES-256 in one `update` (a call costs more than thirty blocks)
 *  3. L ^= XChaCha20(nonce = the enciphered one of the two blocks ‖ 1 ‖ 0^7); R = block − H(T, L); copy back
 * Both directions are this one path; they differ in the direction of AES and in which side of it is the nonce.
 * Scratch is shared by all keys of an engine: calls are synchronous and never nest. Nothing is allocated per cell.
 */
import { type Cipheriv, createCipheriv, createDecipheriv, type Decipheriv } from 'node:crypto'
import { readU32, writeU32 } from '../bytes/index.ts'
import { OverlayError } from '../errors/index.ts'
import { CELL_KEY_BYTES, type CellCipher, type CellKey, type CipherDomain } from './cell-cipher.ts'
import { wipe } from './hash.ts'

// Specification constants.
/** AES block, Poly1305 tag, and the narrow right part of every message. */
const BLOCK_BYTES = 16
/** LE32(tweak length in bits) ‖ tweak of 12 bytes: exactly one Poly1305 block. */
const HEADER_BYTES = 16
const TWEAK_BITS = 96
/** Longest tweak and message of the `…Any` calls. */
export const ANY_TWEAK_BYTES_MAX = 32
export const ANY_MESSAGE_BYTES_MAX = 4096

// Implementation constants.
/** Most bodies in one call; `TURN_CELLS` of the links (a test holds them equal). */
export const CIPHER_BATCH_MAX = 32
const LINE_BYTES = 64
/** Where an engine finds its operands in the scratch. The nonce's last 8 bytes are fixed: 1 ‖ 0^7. */
export const NONCE_AT = 0
export const TAG_AT = 32
export const STREAM_KEY_AT = 64
export const HASH_KEY_AT = 96
const ANY_AT = 128
const ANY_HEADER_BYTES_MAX = 48
const SLOTS_AT = ANY_AT + ANY_HEADER_BYTES_MAX + ANY_MESSAGE_BYTES_MAX + BLOCK_BYTES
export const NONCE_BYTES = 24

/** Where a batch's bodies lie in the scratch: `CIPHER_BATCH_MAX` slots of header ‖ body. */
export interface HpolycLayout {
  readonly bodyBytes: number
  /** Bytes of a body that the stream covers: all but the last 16. */
  readonly bulkBytes: number
  readonly slotsAt: number
  readonly slotBytes: number
  readonly scratchBytes: number
}

/** The layout for bodies of `bodyBytes` (16 or more). */
export function hpolycLayout(bodyBytes: number): HpolycLayout {
  const slotBytes = Math.ceil((HEADER_BYTES + bodyBytes) / LINE_BYTES) * LINE_BYTES
  const slotsAt = Math.ceil(SLOTS_AT / LINE_BYTES) * LINE_BYTES
  return {
    bodyBytes,
    bulkBytes: bodyBytes - BLOCK_BYTES,
    slotsAt,
    slotBytes,
    scratchBytes: slotsAt + CIPHER_BATCH_MAX * slotBytes,
  }
}

/** Working memory of an engine, twice: as bytes and as words. */
export interface Scratch {
  readonly bytes: Uint8Array
  readonly words: DataView
}

/** The two primitives that HPolyC needs besides AES, on operands in the engine's own memory. */
export interface HpolycEngine {
  readonly implementation: CellCipher['implementation']
  readonly layout: HpolycLayout
  /** Asked anew for each batch: WebAssembly memory moves when it grows. */
  scratch(): Scratch
  /** Chooses the keys of the calls that follow: 32 bytes each; the second is Poly1305's r ‖ 0^16. Borrowed until the next `load`. */
  load(streamKey: Uint8Array, hashKey: Uint8Array): void
  /** Poly1305 over header ‖ bulk of a slot, to `TAG_AT`. */
  hash(slot: number): void
  /** XChaCha20 with the nonce at `NONCE_AT` over the bulk of a slot, in place. */
  stream(slot: number): void
  /** As `hash`, over any range: for key set-up, vectors and tests. */
  hashRange(at: number, length: number): void
  /** As `stream`, over any range. */
  streamRange(at: number, length: number): void
}

/** A cell cipher for bodies of the engine's length. */
export function hpolycCipher(engine: HpolycEngine): CellCipher {
  const batch = new Batch(engine.layout)
  return { implementation: engine.implementation, key: (secret) => new HpolycKey(engine, batch, secret) }
}

/** The blocks of a batch on their way to AES, and views of their first 1, 2, … so that none is made per call. */
class Batch {
  readonly blocks = new Uint8Array(new ArrayBuffer(CIPHER_BATCH_MAX * BLOCK_BYTES))
  readonly prefixes: readonly Uint8Array[]
  readonly layout: HpolycLayout
  constructor(layout: HpolycLayout) {
    this.layout = layout
    this.prefixes = Array.from({ length: CIPHER_BATCH_MAX + 1 }, (_, count) => this.blocks.subarray(0, count * BLOCK_BYTES))
  }
}

/** `Buffer`'s copy between any two byte arrays: the one that makes no view. */
const copyBytes = Buffer.prototype.copy as unknown as (
  this: Uint8Array,
  target: Uint8Array,
  targetAt: number,
  from: number,
  to: number,
) => number

/** See `CellKey`. AES contexts are made for the direction that is used: a hop never enciphers under its cell key. */
class HpolycKey implements CellKey {
  readonly #engine: HpolycEngine
  readonly #batch: Batch
  /** Stream key ‖ hash key (r ‖ 0^16) ‖ AES key, outside the garbage-collected heap so that wiping leaves no copy behind. */
  readonly #secrets = new ArrayBuffer(96)
  readonly #streamKey = new Uint8Array(this.#secrets, 0, 32)
  readonly #hashKey = new Uint8Array(this.#secrets, 32, 32)
  #encryptor: Cipheriv | null = null
  #decryptor: Decipheriv | null = null
  #wiped = false

  constructor(engine: HpolycEngine, batch: Batch, secret: Uint8Array) {
    if (secret.length !== CELL_KEY_BYTES) throw bug(`a cell key has ${CELL_KEY_BYTES} bytes`)
    this.#engine = engine
    this.#batch = batch
    this.#streamKey.set(secret)
    const { bytes } = engine.scratch()
    engine.load(this.#streamKey, this.#hashKey)
    // AES key ‖ r = the first 48 bytes of the stream under the nonce 1 ‖ 0^23.
    bytes.fill(0, NONCE_AT, NONCE_AT + NONCE_BYTES)
    bytes[NONCE_AT] = 1
    bytes.fill(0, ANY_AT, ANY_AT + 48)
    engine.streamRange(ANY_AT, 48)
    new Uint8Array(this.#secrets, 64, 32).set(bytes.subarray(ANY_AT, ANY_AT + 32))
    this.#hashKey.set(bytes.subarray(ANY_AT + 32, ANY_AT + 48))
    bytes.fill(0, ANY_AT, ANY_AT + 48)
  }

  encipher(cells: Uint8Array, offsets: Int32Array, counters: Uint32Array, count: number, domain: CipherDomain): void {
    this.#run(cells, offsets, counters, count, domain, true)
  }

  decipher(cells: Uint8Array, offsets: Int32Array, counters: Uint32Array, count: number, domain: CipherDomain): void {
    this.#run(cells, offsets, counters, count, domain, false)
  }

  encipherAny(message: Uint8Array, tweak: Uint8Array): Uint8Array {
    return this.#any(message, tweak, true)
  }

  decipherAny(message: Uint8Array, tweak: Uint8Array): Uint8Array {
    return this.#any(message, tweak, false)
  }

  wipe(): void {
    this.#wiped = true
    wipe(new Uint8Array(this.#secrets))
    // `final` frees OpenSSL's context, which overwrites its key schedule, now instead of at some later collection.
    this.#encryptor?.final()
    this.#decryptor?.final()
    this.#encryptor = null
    this.#decryptor = null
    const { bytes } = this.#engine.scratch()
    bytes.fill(0)
    this.#batch.blocks.fill(0)
  }

  #run(cells: Uint8Array, offsets: Int32Array, counters: Uint32Array, count: number, domain: number, enciphering: boolean): void {
    const engine = this.#engine
    const { layout, blocks, prefixes } = this.#batch
    const { bodyBytes, bulkBytes, slotsAt, slotBytes } = layout
    if (this.#wiped) throw bug('a wiped cell key was used')
    if (!(count >= 0 && count <= CIPHER_BATCH_MAX && count <= offsets.length && count <= counters.length))
      throw bug('a batch is too long')
    for (let slot = 0; slot < count; slot++) {
      const at = offsets[slot]!
      if (at < 0 || at + bodyBytes > cells.length) throw bug('a body lies outside its buffer')
    }
    if (count === 0) return
    const { bytes, words } = engine.scratch()
    engine.load(this.#streamKey, this.#hashKey)
    for (let slot = 0; slot < count; slot++) {
      const at = offsets[slot]!
      const slotAt = slotsAt + slot * slotBytes
      copyBytes.call(cells, bytes, slotAt + HEADER_BYTES, at, at + bodyBytes)
      words.setUint32(slotAt, TWEAK_BITS, true)
      words.setUint32(slotAt + 4, counters[slot]!, true)
      words.setUint32(slotAt + 8, 0, true)
      words.setUint32(slotAt + 12, domain, true)
      engine.hash(slot)
      addTag(words, slotAt + HEADER_BYTES + bulkBytes, blocks, slot * BLOCK_BYTES)
    }
    const after = this.#aes(prefixes[count]!, enciphering)
    const nonces = enciphering ? after : blocks
    words.setUint32(NONCE_AT + 16, 1, true)
    words.setUint32(NONCE_AT + 20, 0, true)
    for (let slot = 0; slot < count; slot++) {
      const block = slot * BLOCK_BYTES
      const slotAt = slotsAt + slot * slotBytes
      for (let word = 0; word < BLOCK_BYTES; word += 4) words.setUint32(NONCE_AT + word, readU32(nonces, block + word), true)
      engine.stream(slot)
      engine.hash(slot)
      subtractTag(words, after, block, slotAt + HEADER_BYTES + bulkBytes)
      copyBytes.call(bytes, cells, offsets[slot]!, slotAt + HEADER_BYTES, slotAt + HEADER_BYTES + bodyBytes)
    }
  }

  #any(message: Uint8Array, tweak: Uint8Array, enciphering: boolean): Uint8Array {
    if (this.#wiped) throw bug('a wiped cell key was used')
    if (message.length < BLOCK_BYTES || message.length > ANY_MESSAGE_BYTES_MAX) throw bug('message of a length out of range')
    if (tweak.length > ANY_TWEAK_BYTES_MAX) throw bug('tweak of a length out of range')
    const bulkBytes = message.length - BLOCK_BYTES
    const headerBytes = Math.ceil((4 + tweak.length) / BLOCK_BYTES) * BLOCK_BYTES
    const { bytes, words } = this.#engine.scratch()
    this.#engine.load(this.#streamKey, this.#hashKey)
    bytes.fill(0, ANY_AT, ANY_AT + headerBytes)
    writeU32(bytes, ANY_AT, 8 * tweak.length)
    bytes.set(tweak, ANY_AT + 4)
    bytes.set(message, ANY_AT + headerBytes)
    this.#engine.hashRange(ANY_AT, headerBytes + bulkBytes)
    const before = new Uint8Array(BLOCK_BYTES)
    addTag(words, ANY_AT + headerBytes + bulkBytes, before, 0)
    const after = this.#aes(before, enciphering)
    bytes.set(enciphering ? after : before, NONCE_AT)
    words.setUint32(NONCE_AT + 16, 1, true)
    words.setUint32(NONCE_AT + 20, 0, true)
    this.#engine.streamRange(ANY_AT + headerBytes, bulkBytes)
    this.#engine.hashRange(ANY_AT, headerBytes + bulkBytes)
    subtractTag(words, after, 0, ANY_AT + headerBytes + bulkBytes)
    return bytes.slice(ANY_AT + headerBytes, ANY_AT + headerBytes + message.length)
  }

  /** Whole blocks through AES-256, each by itself. The mode is ECB because the composition above is the mode. */
  #aes(blocks: Uint8Array, enciphering: boolean): Uint8Array {
    if (enciphering) {
      this.#encryptor ??= createCipheriv('aes-256-ecb', new Uint8Array(this.#secrets, 64, 32), null).setAutoPadding(false)
      return this.#encryptor.update(blocks)
    }
    this.#decryptor ??= createDecipheriv('aes-256-ecb', new Uint8Array(this.#secrets, 64, 32), null).setAutoPadding(false)
    return this.#decryptor.update(blocks)
  }
}

/** out = the block at `at` + tag mod 2^128, in 16-bit limbs so that no carry is a branch. */
function addTag(words: DataView, at: number, out: Uint8Array, outAt: number): void {
  let carry = 0
  for (let limb = 0; limb < BLOCK_BYTES; limb += 2) {
    const sum = words.getUint16(at + limb, true) + words.getUint16(TAG_AT + limb, true) + carry
    out[outAt + limb] = sum
    out[outAt + limb + 1] = sum >>> 8
    carry = sum >>> 16
  }
}

/** The block at `at` = the given block − tag mod 2^128. */
function subtractTag(words: DataView, block: Uint8Array, blockAt: number, at: number): void {
  let borrow = 0
  for (let limb = 0; limb < BLOCK_BYTES; limb += 2) {
    const from = block[blockAt + limb]! | (block[blockAt + limb + 1]! << 8)
    const difference = from - words.getUint16(TAG_AT + limb, true) - borrow
    words.setUint16(at + limb, difference, true)
    borrow = (difference >>> 16) & 1
  }
}

function bug(what: string): OverlayError {
  return new OverlayError('bug', 'INTERNAL', `Cell cipher: ${what}.`)
}
