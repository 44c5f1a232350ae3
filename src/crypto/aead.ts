/**
 * ChaCha20-Poly1305 (RFC 8439 §2.8) under one key for many numbered messages: the payloads of an exchange. The addon `sodium-native` where
 * it loads and passes the self-test, else libsodium in WebAssembly; both give the same bytes. Nothing is allocated per message with the
 * addon. Measured for 1,960 bytes (test/bench/session.ts): addon 1.7 µs, WebAssembly 5.0, node:crypto 6.1, which makes an object per message.
 *
 * The nonce is 0³² ‖ LE64(number), as in Noise and WireGuard. Whoever holds a key must never seal two messages under one number.
 */
import sodium from 'libsodium-wrappers'
import { equalPublic, fromHex, writeU32 } from '../bytes/index.ts'
import { OverlayError } from '../errors/index.ts'
import { sodiumAddon } from './addon.ts'
import { taggedHash, wipe } from './hash.ts'
import { AEAD_TAG_BYTES, STREAM_KEY_BYTES } from './stream.ts'

await sodium.ready

const NONCE_BYTES = 12

/** One implementation of RFC 8439 §2.8. `out` of `seal` is a tag longer than `message`, that of `open` a tag shorter than `sealed`. */
export interface AeadEngine {
  readonly implementation: 'sodium-native' | 'libsodium-wasm'
  seal(out: Uint8Array, message: Uint8Array, associated: Uint8Array | null, nonce: Uint8Array, key: Uint8Array): void
  /** `false`: not authentic; `out` holds nothing of it. */
  open(out: Uint8Array, sealed: Uint8Array, associated: Uint8Array | null, nonce: Uint8Array, key: Uint8Array): boolean
}

export const portableAead: AeadEngine = {
  implementation: 'libsodium-wasm',
  seal(out, message, associated, nonce, key) {
    out.set(sodium.crypto_aead_chacha20poly1305_ietf_encrypt(message, associated, null, nonce, key))
  },
  open(out, sealed, associated, nonce, key) {
    try {
      out.set(sodium.crypto_aead_chacha20poly1305_ietf_decrypt(null, sealed, associated, nonce, key))
      return true
    } catch {
      return false // libsodium tells what is not authentic by an error
    }
  },
}

/** What is used of the addon, which brings no types. */
interface SodiumNative {
  crypto_aead_chacha20poly1305_ietf_encrypt(
    out: Uint8Array,
    message: Uint8Array,
    associated: Uint8Array | null,
    none: null,
    nonce: Uint8Array,
    key: Uint8Array,
  ): number
  crypto_aead_chacha20poly1305_ietf_decrypt(
    out: Uint8Array,
    none: null,
    sealed: Uint8Array,
    associated: Uint8Array | null,
    nonce: Uint8Array,
    key: Uint8Array,
  ): number
}

function isSodiumNative(value: unknown): value is SodiumNative {
  if (typeof value !== 'object' || value === null) return false
  const { crypto_aead_chacha20poly1305_ietf_encrypt: seal, crypto_aead_chacha20poly1305_ietf_decrypt: open } =
    value as Partial<SodiumNative>
  return typeof seal === 'function' && typeof open === 'function'
}

/** The addon's implementation, or `null` where it does not load. The caller runs the self-test before it relies on it. */
export function nativeAead(): AeadEngine | null {
  const addon = sodiumAddon()
  if (!isSodiumNative(addon)) return null
  const native = addon
  return {
    implementation: 'sodium-native',
    seal(out, message, associated, nonce, key) {
      native.crypto_aead_chacha20poly1305_ietf_encrypt(out, message, associated, null, nonce, key)
    },
    open(out, sealed, associated, nonce, key) {
      try {
        native.crypto_aead_chacha20poly1305_ietf_decrypt(out, null, sealed, associated, nonce, key)
        return true
      } catch {
        return false // as above
      }
    },
  }
}

/** RFC 8439 §2.8.2, its plaintext cut to the first 32 bytes; the tag is that of the cut text. */
const KNOWN = {
  key: '808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f',
  nonce: '070000004041424344454647',
  associated: '50515253c0c1c2c3c4c5c6c7',
  plaintext: '4c616469657320616e642047656e746c656d656e206f662074686520636c6173',
  ciphertext: 'd31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d6',
  tag: 'e3d0496173937e240fd6a6796bc60b16',
} as const

/** Whether an engine gives the known answer and refuses what was changed. */
export function aeadWorks(engine: AeadEngine): boolean {
  try {
    const [key, nonce, associated] = [fromHex(KNOWN.key)!, fromHex(KNOWN.nonce)!, fromHex(KNOWN.associated)!]
    const plaintext = fromHex(KNOWN.plaintext)!
    const sealed = new Uint8Array(plaintext.length + AEAD_TAG_BYTES)
    engine.seal(sealed, plaintext, associated, nonce, key)
    if (!equalPublic(sealed, fromHex(KNOWN.ciphertext + KNOWN.tag)!)) return false
    const opened = new Uint8Array(plaintext.length)
    if (!engine.open(opened, sealed, associated, nonce, key) || !equalPublic(opened, plaintext)) return false
    sealed[3]! ^= 1
    return !engine.open(opened, sealed, associated, nonce, key)
  } catch {
    return false // a broken build may also throw; the caller falls back or reports
  }
}

function choose(): AeadEngine {
  const native = nativeAead()
  if (native !== null && aeadWorks(native)) return native
  if (!aeadWorks(portableAead)) throw new OverlayError('bug', 'INTERNAL', 'No AEAD passes its self-test here.')
  return portableAead
}

const engine = choose()

/** One key, for messages numbered from 0 to 2^53 − 1. `engine` is for tests. */
export class NumberedAead {
  readonly #engine: AeadEngine
  readonly #key: Uint8Array
  readonly #nonce = new Uint8Array(NONCE_BYTES)

  /** `key`: 32 bytes, owned by this object from now on. */
  constructor(key: Uint8Array, using: AeadEngine = engine) {
    if (key.length !== STREAM_KEY_BYTES) throw new OverlayError('bug', 'INTERNAL', 'A key of another length.')
    this.#engine = using
    this.#key = key
  }

  /** Seals `message` as number `number` into `out`, which is 16 bytes longer; the two may not overlap. */
  seal(out: Uint8Array, message: Uint8Array, number: number): void {
    this.#number(number)
    this.#engine.seal(out, message, null, this.#nonce, this.#key)
  }

  /** Opens message `number` into `out`, which is 16 bytes shorter. `false`: not authentic. */
  open(out: Uint8Array, sealed: Uint8Array, number: number): boolean {
    this.#number(number)
    return this.#engine.open(out, sealed, null, this.#nonce, this.#key)
  }

  /** Puts the key's hash in its place, which nobody else has: what was sealed cannot be opened any more, what is sealed from now on by nobody. */
  forget(): void {
    const hash = taggedHash('gyre/1 forget', this.#key)
    this.#key.set(hash)
    wipe(hash)
  }

  /** Overwrites the key. Using it afterwards is a bug. */
  wipe(): void {
    wipe(this.#key)
  }

  #number(number: number): void {
    writeU32(this.#nonce, 4, number % 0x1_0000_0000)
    writeU32(this.#nonce, 8, Math.floor(number / 0x1_0000_0000))
  }
}
