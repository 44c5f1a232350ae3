/**
 * Randomness that a seed decides: the same seed gives the same draws in each run and on each machine. For tests only.
 * The generator is sfc32 (Chris Doty-Humphrey, PractRand), its state filled from the seed by splitmix32.
 */
import type { Rng } from '../../src/runtime/index.ts'

export class SeededRng implements Rng {
  #a: number
  #b: number
  #c: number
  #counter = 1

  /** `seed`: any number or text. */
  constructor(seed: number | string) {
    let state = 0x9e3779b9
    for (const char of String(seed)) state = Math.imul(state ^ char.codePointAt(0)!, 0x01000193)
    const split = () => {
      state = (state + 0x9e3779b9) | 0
      let mixed = state ^ (state >>> 16)
      mixed = Math.imul(mixed, 0x21f0aaad)
      mixed ^= mixed >>> 15
      mixed = Math.imul(mixed, 0x735a2d97)
      return mixed ^ (mixed >>> 15)
    }
    this.#a = split()
    this.#b = split()
    this.#c = split()
    for (let round = 0; round < 12; round++) this.u32()
  }

  /** The next 32 bits. */
  u32(): number {
    const mixed = (((this.#a + this.#b) | 0) + this.#counter) | 0
    this.#counter = (this.#counter + 1) | 0
    this.#a = this.#b ^ (this.#b >>> 9)
    this.#b = (this.#c + (this.#c << 3)) | 0
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + mixed) | 0
    return mixed >>> 0
  }

  bytes(length: number): Uint8Array {
    const bytes = new Uint8Array(length)
    for (let at = 0; at < length; at += 4) {
      const word = this.u32()
      bytes[at] = word
      bytes[at + 1] = word >>> 8
      bytes[at + 2] = word >>> 16
      bytes[at + 3] = word >>> 24
    }
    return bytes
  }

  scratch(length: number): Uint8Array {
    return this.bytes(length)
  }

  below(bound: number): number {
    const limit = Math.floor(0x1_0000_0000 / bound) * bound
    for (;;) {
      const drawn = this.u32()
      if (drawn < limit) return drawn % bound
    }
  }

  unit(): number {
    return this.u32() / 0x1_0000_0000
  }

  /** An independent generator, decided by this seed's state and `label`. */
  fork(label: string): SeededRng {
    return new SeededRng(`${this.u32()} ${label}`)
  }
}

/** See `SeededRng`. */
export function seededRng(seed: number | string): SeededRng {
  return new SeededRng(seed)
}
