/**
 * XOR of byte strings: masks and answers of set-up. By words where both sides lie at a word's border, because an origin masks 15 KB
 * for each member. No branch depends on the bytes.
 */

/** Bytes from which setting up word views pays. */
const WORDS_FROM = 256

/** XORs `bytes` into `target` at `at`, where it must fit. */
export function xorInto(target: Uint8Array, at: number, bytes: Uint8Array): void {
  let done = 0
  if (bytes.length >= WORDS_FROM && ((target.byteOffset + at) | bytes.byteOffset) % 4 === 0) {
    const words = bytes.length >>> 2
    const into = new Uint32Array(target.buffer, target.byteOffset + at, words)
    const from = new Uint32Array(bytes.buffer, bytes.byteOffset, words)
    for (let word = 0; word < words; word++) into[word]! ^= from[word]!
    done = 4 * words
  }
  for (; done < bytes.length; done++) target[at + done]! ^= bytes[done]!
}
