/**
 * Texts of two bytes a character (UTF-16 with a byte order mark, as Windows' editor and shell write them) as one byte a character, so that
 * their marks are found. What is no such text passes as it is. Characters beyond the first 256 become 0x80, which no mark has.
 */

const OTHER = 0x80

/** One file at a time. */
export class Narrower {
  readonly #give: (bytes: Uint8Array) => void
  /** Bytes until it is known what the file is; then the half of a character that came. */
  #held: number[] = []
  /** Index of the low byte in a character; null: not known yet; −1: the file is no such text. */
  #low: 0 | 1 | -1 | null = null

  /** `give` is handed what is to be looked at, borrowed until it returns. */
  constructor(give: (bytes: Uint8Array) => void) {
    this.#give = give
  }

  reset(): void {
    this.#held = []
    this.#low = null
  }

  push(chunk: Uint8Array): void {
    let at = 0
    if (this.#low === null) {
      while (this.#held.length < 2 && at < chunk.length) this.#held.push(chunk[at++]!)
      if (this.#held.length < 2) return
      const [first, second] = this.#held
      this.#low = first === 0xff && second === 0xfe ? 0 : first === 0xfe && second === 0xff ? 1 : -1
      const mark = this.#held
      this.#held = []
      if (this.#low === -1) this.#give(Uint8Array.from(mark))
    }
    if (this.#low === -1) this.#give(at === 0 ? chunk : chunk.subarray(at))
    else this.#narrow(chunk.subarray(at), this.#low)
  }

  /** The file is over. */
  end(): void {
    if (this.#low === null && this.#held.length > 0) this.#give(Uint8Array.from(this.#held))
    this.#held = []
  }

  #narrow(chunk: Uint8Array, low: 0 | 1): void {
    const narrow = new Uint8Array((chunk.length + this.#held.length) >> 1)
    let at = 0
    let to = 0
    while (at < chunk.length) {
      this.#held.push(chunk[at++]!)
      if (this.#held.length < 2) continue
      narrow[to++] = this.#held[1 - low] === 0 ? this.#held[low]! : OTHER
      this.#held.length = 0
    }
    this.#give(narrow)
  }
}
