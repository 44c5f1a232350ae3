/**
 * The HPolyC primitives on `sodium-native`, libsodium as a native addon. The addon is optional: it has no build for every system, and
 * `openCellCipher` falls back to `hpolyc-portable.ts`. Its calls take views and cost about 0.1 µs each besides the work, so the views
 * of every slot are made once. Spec: SPEC.md §4.1.
 */
import { sodiumAddon } from './addon.ts'
import type { CellCipher } from './cell-cipher.ts'
import {
  CIPHER_BATCH_MAX,
  HASH_KEY_AT,
  type HpolycEngine,
  type HpolycLayout,
  hpolycCipher,
  hpolycLayout,
  NONCE_AT,
  NONCE_BYTES,
  type Scratch,
  STREAM_KEY_AT,
  TAG_AT,
} from './hpolyc.ts'

/** What is used of the addon, which brings no types. */
interface SodiumNative {
  crypto_stream_xchacha20_xor(out: Uint8Array, input: Uint8Array, nonce: Uint8Array, key: Uint8Array): void
  crypto_onetimeauth(tag: Uint8Array, message: Uint8Array, key: Uint8Array): void
}

function isSodiumNative(value: unknown): value is SodiumNative {
  if (typeof value !== 'object' || value === null) return false
  const { crypto_stream_xchacha20_xor: stream, crypto_onetimeauth: hash } = value as Partial<SodiumNative>
  return typeof stream === 'function' && typeof hash === 'function'
}

/** The cipher on the addon, or `null` where the addon does not load. The caller runs the self-test before it relies on it. */
export function nativeCellCipher(bodyBytes: number): CellCipher | null {
  const addon = sodiumAddon()
  return isSodiumNative(addon) ? hpolycCipher(new NativeEngine(addon, hpolycLayout(bodyBytes))) : null
}

class NativeEngine implements HpolycEngine {
  readonly implementation = 'sodium-native'
  readonly layout: HpolycLayout
  readonly #sodium: SodiumNative
  readonly #scratch: Scratch
  readonly #nonce: Uint8Array
  readonly #tag: Uint8Array
  /** Header and bulk, and bulk alone, of each slot. */
  readonly #hashed: Uint8Array[] = []
  readonly #bulk: Uint8Array[] = []
  #streamKey: Uint8Array
  #hashKey: Uint8Array

  constructor(sodium: SodiumNative, layout: HpolycLayout) {
    this.#sodium = sodium
    this.layout = layout
    const memory = new ArrayBuffer(layout.scratchBytes)
    const bytes = new Uint8Array(memory)
    this.#scratch = { bytes, words: new DataView(memory) }
    this.#nonce = bytes.subarray(NONCE_AT, NONCE_AT + NONCE_BYTES)
    this.#tag = bytes.subarray(TAG_AT, TAG_AT + 16)
    this.#streamKey = bytes.subarray(STREAM_KEY_AT, STREAM_KEY_AT + 32)
    this.#hashKey = bytes.subarray(HASH_KEY_AT, HASH_KEY_AT + 32)
    for (let slot = 0; slot < CIPHER_BATCH_MAX; slot++) {
      const at = layout.slotsAt + slot * layout.slotBytes
      this.#hashed.push(bytes.subarray(at, at + 16 + layout.bulkBytes))
      this.#bulk.push(bytes.subarray(at + 16, at + 16 + layout.bulkBytes))
    }
  }

  scratch(): Scratch {
    return this.#scratch
  }

  load(streamKey: Uint8Array, hashKey: Uint8Array): void {
    this.#streamKey = streamKey
    this.#hashKey = hashKey
  }

  hash(slot: number): void {
    this.#sodium.crypto_onetimeauth(this.#tag, this.#hashed[slot]!, this.#hashKey)
  }

  stream(slot: number): void {
    const bulk = this.#bulk[slot]!
    this.#sodium.crypto_stream_xchacha20_xor(bulk, bulk, this.#nonce, this.#streamKey)
  }

  hashRange(at: number, length: number): void {
    this.#sodium.crypto_onetimeauth(this.#tag, this.#scratch.bytes.subarray(at, at + length), this.#hashKey)
  }

  streamRange(at: number, length: number): void {
    const range = this.#scratch.bytes.subarray(at, at + length)
    this.#sodium.crypto_stream_xchacha20_xor(range, range, this.#nonce, this.#streamKey)
  }
}
