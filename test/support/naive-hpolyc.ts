/**
 * The cell cipher as the paper writes it: plain, slow and obviously right, so that the fast ones have something to be compared with.
 * ChaCha20 (RFC 8439 §2.1 to 2.3, with the 64-bit counter and nonce of the original), HChaCha20 and XChaCha20
 * (draft-irtf-cfrg-xchacha-03 §2), Poly1305 (RFC 8439 §2.5) in BigInt, AES-256 one block at a time, and HPolyC (Crowley and Biggers
 * 2018) over them. Shares no code with `src/crypto/`. For tests only: it is neither constant time nor sparing with memory.
 */
import { createCipheriv, createDecipheriv } from 'node:crypto'

function rotl(value: number, by: number): number {
  return (value << by) | (value >>> (32 - by))
}

function quarterRound(s: Uint32Array, a: number, b: number, c: number, d: number): void {
  s[a]! += s[b]!
  s[d] = rotl(s[d]! ^ s[a]!, 16)
  s[c]! += s[d]!
  s[b] = rotl(s[b]! ^ s[c]!, 12)
  s[a]! += s[b]!
  s[d] = rotl(s[d]! ^ s[a]!, 8)
  s[c]! += s[d]!
  s[b] = rotl(s[b]! ^ s[c]!, 7)
}

function twentyRounds(s: Uint32Array): void {
  for (let round = 0; round < 10; round++) {
    for (let column = 0; column < 4; column++) quarterRound(s, column, column + 4, column + 8, column + 12)
    for (let at = 0; at < 4; at++) quarterRound(s, at, 4 + ((at + 1) % 4), 8 + ((at + 2) % 4), 12 + ((at + 3) % 4))
  }
}

const words = (bytes: Uint8Array) => Array.from({ length: bytes.length / 4 }, (_, at) => Buffer.from(bytes).readUInt32LE(4 * at))

function bytesOf(words: readonly number[]): Uint8Array {
  const out = Buffer.alloc(4 * words.length)
  words.forEach((word, at) => {
    out.writeUInt32LE(word >>> 0, 4 * at)
  })
  return new Uint8Array(out)
}

const CONSTANTS = words(new TextEncoder().encode('expand 32-byte k'))

/** ChaCha20 keystream XOR input. `tail`: the 16 bytes of block counter and nonce, in that order; the first 32 bits count. */
export function naiveChacha20(key: Uint8Array, tail: Uint8Array, input: Uint8Array): Uint8Array {
  const out = new Uint8Array(input.length)
  for (let block = 0; 64 * block < input.length; block++) {
    const start = Uint32Array.from([...CONSTANTS, ...words(key), ...words(tail)])
    start[12]! += block
    const state = start.slice()
    twentyRounds(state)
    const keystream = bytesOf(Array.from(state, (word, at) => word + start[at]!))
    for (let at = 64 * block; at < Math.min(input.length, 64 * block + 64); at++) out[at] = input[at]! ^ keystream[at % 64]!
  }
  return out
}

/** HChaCha20: a key from a key and 16 bytes of nonce. */
export function naiveHchacha20(key: Uint8Array, nonce: Uint8Array): Uint8Array {
  const state = Uint32Array.from([...CONSTANTS, ...words(key), ...words(nonce)])
  twentyRounds(state)
  return bytesOf([...state.slice(0, 4), ...state.slice(12, 16)])
}

/** XChaCha20 with a 24-byte nonce, from block 0. */
export function naiveXchacha20(key: Uint8Array, nonce: Uint8Array, input: Uint8Array): Uint8Array {
  const tail = Uint8Array.from([...new Uint8Array(8), ...nonce.slice(16)])
  return naiveChacha20(naiveHchacha20(key, nonce.slice(0, 16)), tail, input)
}

export function fromLittle(bytes: Uint8Array): bigint {
  return bytes.reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n)
}

export function toLittle(value: bigint, length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, at) => Number((value >> BigInt(8 * at)) & 0xffn))
}

const P = (1n << 130n) - 5n
const TWO_128 = 1n << 128n

/** Poly1305 under r and s, both 16 bytes; a number below 2^128. */
export function naivePoly1305(r: Uint8Array, s: Uint8Array, message: Uint8Array): bigint {
  const clamped = fromLittle(r) & 0x0ffffffc0ffffffc0ffffffc0fffffffn
  let sum = 0n
  for (let at = 0; at < message.length; at += 16) {
    const chunk = message.slice(at, at + 16)
    sum = ((sum + fromLittle(chunk) + (1n << BigInt(8 * chunk.length))) * clamped) % P
  }
  return (sum + fromLittle(s)) % TWO_128
}

/** HPolyC under a 32-byte key; `message` of at least 16 bytes, any tweak. */
export function naiveHpolyc(
  direction: 'encipher' | 'decipher',
  key: Uint8Array,
  tweak: Uint8Array,
  message: Uint8Array,
): Uint8Array {
  const derived = naiveXchacha20(key, Uint8Array.from([1, ...new Uint8Array(23)]), new Uint8Array(48))
  const aesKey = derived.slice(0, 32)
  const hash = (bulk: Uint8Array): bigint => {
    const head = Uint8Array.from([...toLittle(BigInt(8 * tweak.length), 4), ...tweak])
    const padded = Uint8Array.from([...head, ...new Uint8Array((16 - (head.length % 16)) % 16), ...bulk])
    return naivePoly1305(derived.slice(32), new Uint8Array(16), padded)
  }
  const stream = (middle: Uint8Array, bulk: Uint8Array) =>
    naiveXchacha20(key, Uint8Array.from([...middle, 1, ...new Uint8Array(7)]), bulk)
  const left = message.slice(0, -16)
  const right = fromLittle(message.slice(-16))
  if (direction === 'encipher') {
    const middle = toLittle((right + hash(left)) % TWO_128, 16)
    const enciphered = new Uint8Array(createCipheriv('aes-256-ecb', aesKey, null).setAutoPadding(false).update(middle))
    const newLeft = stream(enciphered, left)
    return Uint8Array.from([...newLeft, ...toLittle((fromLittle(enciphered) - hash(newLeft) + TWO_128) % TWO_128, 16)])
  }
  const enciphered = toLittle((right + hash(left)) % TWO_128, 16)
  const newLeft = stream(enciphered, left)
  const middle = new Uint8Array(createDecipheriv('aes-256-ecb', aesKey, null).setAutoPadding(false).update(enciphered))
  return Uint8Array.from([...newLeft, ...toLittle((fromLittle(middle) - hash(newLeft) + TWO_128) % TWO_128, 16)])
}
