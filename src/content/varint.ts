/**
 * Reading and writing of the compact integers of a site's index: LEB128 of at most 8 bytes (values below 2^53), shortest form only. Spec:
 * SPEC.md §12.2. The reader is total: whatever is not there, too long or out of range is `null`.
 */

/** Values are below 2^53, so that they are exact in a number: 8 bytes carry 56 bits. */
const VARINT_BYTES_MAX = 8

/** Collects bytes; grows as needed. */
export class BytesWriter {
  #buffer = new Uint8Array(1024)
  #length = 0

  /** `value`: an integer from 0 to 2^53 - 1. Throws `RangeError` for any other. */
  varint(value: number): void {
    if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`no varint of ${value}`)
    this.#reserve(VARINT_BYTES_MAX)
    let rest = value
    while (rest >= 0x80) {
      this.#buffer[this.#length++] = (rest % 0x80) | 0x80
      rest = Math.floor(rest / 0x80)
    }
    this.#buffer[this.#length++] = rest
  }

  bytes(bytes: Uint8Array): void {
    this.#reserve(bytes.length)
    this.#buffer.set(bytes, this.#length)
    this.#length += bytes.length
  }

  /** What was written; a view. */
  finish(): Uint8Array {
    return this.#buffer.subarray(0, this.#length)
  }

  #reserve(more: number): void {
    if (this.#length + more <= this.#buffer.length) return
    const grown = new Uint8Array(Math.max(2 * this.#buffer.length, this.#length + more))
    grown.set(this.#buffer.subarray(0, this.#length))
    this.#buffer = grown
  }
}

/** Reads from borrowed bytes. After a `null` it is of no further use. */
export class BytesReader {
  readonly #bytes: Uint8Array
  #at: number

  constructor(bytes: Uint8Array, at = 0) {
    this.#bytes = bytes
    this.#at = at
  }

  /** Where the next byte is read. */
  get at(): number {
    return this.#at
  }

  get ended(): boolean {
    return this.#at === this.#bytes.length
  }

  /** An integer up to `most` in its shortest form, or `null`. */
  varint(most: number): number | null {
    let value = 0
    let scale = 1
    for (let index = 0; index < VARINT_BYTES_MAX; index++) {
      const byte = this.#bytes[this.#at]
      if (byte === undefined) return null
      this.#at++
      value += (byte & 0x7f) * scale
      if (byte < 0x80) return (byte === 0 && index > 0) || value > most ? null : value
      scale *= 0x80
    }
    return null
  }

  /** The next `length` bytes, a view, or `null`. */
  bytes(length: number): Uint8Array | null {
    if (length > this.#bytes.length - this.#at) return null
    this.#at += length
    return this.#bytes.subarray(this.#at - length, this.#at)
  }
}
