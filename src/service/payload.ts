/**
 * Payloads of an exchange: LE64(number) ‖ AEAD(frames and zeros) ‖ tag, `PAYLOAD_BYTES` always. One key for each direction of one exchange,
 * each number once. A dummy is a payload whose frames say nothing: without the keys, no bit tells it from content.
 *
 *   seal: frames in `plain` → number → ciphertext into the cell
 *   open: number → seen before or too old? → authentic? → remember the number → frames in `plain`
 *
 * Threat: a rendezvous point that changes, repeats, keeps back or mixes payloads. Spec: SPEC.md §11.5.
 */
import { readU32, writeU32 } from '../bytes/index.ts'
import { AEAD_TAG_BYTES, type AeadEngine, NumberedAead } from '../crypto/index.ts'
import { OverlayError } from '../errors/index.ts'
import { PAYLOAD_BYTES } from '../stream/index.ts'
import { NUMBER_BYTES, PAYLOAD_PLAIN_BYTES } from './constants.ts'
import { OFFSET_END } from './frames.ts'

/** Seals payloads 0, 1, 2 … of one direction. */
export class PayloadSealer {
  /** Frames of the next payload; the caller fills all of it. */
  readonly plain = new Uint8Array(PAYLOAD_PLAIN_BYTES)
  readonly #aead: NumberedAead
  readonly #sealed = new Uint8Array(PAYLOAD_PLAIN_BYTES + AEAD_TAG_BYTES)
  #next = 0

  /** `key`: 32 bytes, owned by this object from now on. */
  constructor(key: Uint8Array, engine?: AeadEngine) {
    this.#aead = new NumberedAead(key, engine)
  }

  /** Number of the next payload. */
  get next(): number {
    return this.#next
  }

  /** Seals `plain` and writes the payload at `into[at …]`. */
  seal(into: Uint8Array, at: number): void {
    const number = this.#next++
    if (number >= OFFSET_END) throw new OverlayError('bug', 'INTERNAL', 'An exchange outlived its numbers.')
    this.#aead.seal(this.#sealed, this.plain, number)
    writeU32(into, at, number % 0x1_0000_0000)
    writeU32(into, at + 4, Math.floor(number / 0x1_0000_0000))
    into.set(this.#sealed, at + NUMBER_BYTES)
  }

  /** The key is gone, and what is sealed from now on says nothing, to anybody; it looks like all that came before. Idempotent. */
  retire(): void {
    this.#aead.forget()
    this.plain.fill(0)
  }
}

/** Opens payloads of one direction, each number once. */
export class PayloadOpener {
  /** Frames of the payload opened last. */
  readonly plain = new Uint8Array(PAYLOAD_PLAIN_BYTES)
  readonly #aead: NumberedAead
  readonly #window = new ReplayWindow()

  /** `key`: 32 bytes, owned by this object from now on. */
  constructor(key: Uint8Array, engine?: AeadEngine) {
    this.#aead = new NumberedAead(key, engine)
  }

  /** Opens the payload at `bytes[at]` into `plain` and gives its number; −1: not authentic, seen before, or too old. */
  open(bytes: Uint8Array, at: number): number {
    const number = readU32(bytes, at) + readU32(bytes, at + 4) * 0x1_0000_0000
    if (number >= OFFSET_END || !this.#window.isNew(number)) return -1
    if (!this.#aead.open(this.plain, bytes.subarray(at + NUMBER_BYTES, at + PAYLOAD_BYTES), number)) return -1
    this.#window.note(number)
    return number
  }

  wipe(): void {
    this.#aead.wipe()
    this.plain.fill(0)
  }
}

const WORDS = 64
/** How far behind the highest number a payload may still come: RFC 6479, one word is being overwritten. */
export const REPLAY_WINDOW = (WORDS - 1) * 32

/** Numbers that came: a ring of bits (RFC 6479, as in WireGuard). */
export class ReplayWindow {
  readonly #bits = new Uint32Array(WORDS)
  #highest = -1

  /** Whether `number` (an integer from 0) did not come yet and is not too old to say. Changes nothing. */
  isNew(number: number): boolean {
    if (number > this.#highest) return true
    if (this.#highest - number >= REPLAY_WINDOW) return false
    return (this.#bits[Math.floor(number / 32) % WORDS]! & (1 << (number % 32))) === 0
  }

  /** Remembers an authenticated number that was new. */
  note(number: number): void {
    if (number > this.#highest) {
      const from = Math.floor(this.#highest / 32)
      const steps = Math.min(WORDS, Math.floor(number / 32) - from)
      for (let step = 1; step <= steps; step++) this.#bits[(from + step + WORDS) % WORDS] = 0
      this.#highest = number
    }
    this.#bits[Math.floor(number / 32) % WORDS]! |= 1 << (number % 32)
  }
}
