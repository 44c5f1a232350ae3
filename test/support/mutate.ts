/**
 * Changes to valid input that break parsers: of bytes (bits, lengths, cuts, repeats, splices of two valid ones), of text by words of its own language,
 * and of JSON by its values. All draw from a seeded source.
 */
import { concat } from '../../src/bytes/index.ts'
import type { SeededRng } from './seeded-rng.ts'

export type Mutate = (from: readonly Uint8Array[], rng: SeededRng) => Uint8Array

/** No input is longer: what parsers read is bounded, and beyond the bound there is one outcome. */
const BYTES_MAX = 160 * 1024
/** Bytes and numbers at which codes change what they do. */
const ODD_BYTES = [0, 1, 2, 0x0a, 0x12, 0x20, 0x22, 0x2f, 0x7f, 0x80, 0xfe, 0xff]
const ODD_NUMBERS = [0, 1, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0xffff, 0x1_0000, 0x7fff_ffff, 0xffff_ffff]

/** One of `from`, changed in one to six ways. `words` are put in and over now and then. */
export function mutateBytes(words: readonly Uint8Array[] = []): Mutate {
  return (from, rng) => {
    let bytes = pick(from, rng).slice()
    // Mostly few: each change is one more way to be refused early.
    for (let changes = 1 + rng.below(1 + rng.below(6)); changes > 0; changes--) bytes = changed(bytes, from, words, rng)
    return bytes.subarray(0, BYTES_MAX)
  }
}

function changed(
  bytes: Uint8Array<ArrayBuffer>,
  from: readonly Uint8Array[],
  words: readonly Uint8Array[],
  rng: SeededRng,
): Uint8Array<ArrayBuffer> {
  // Headers decide most.
  const at = rng.below(rng.below(2) === 0 ? Math.min(bytes.length, 48) + 1 : bytes.length + 1)
  const length = 1 + rng.below(rng.below(4) === 0 ? 300 : 9)
  switch (rng.below(words.length > 0 ? 12 : 10)) {
    case 0:
      if (at < bytes.length) bytes[at]! ^= 1 << rng.below(8)
      return bytes
    case 1:
      if (at < bytes.length) bytes[at] = pick(ODD_BYTES, rng)
      return bytes
    case 2:
      if (at < bytes.length) bytes[at]! += rng.below(2) === 0 ? 1 : -1
      return bytes
    case 3: {
      const wide = 1 + rng.below(6)
      const value = pick(ODD_NUMBERS, rng)
      for (let byte = 0; byte < wide && at + byte < bytes.length; byte++) bytes[at + byte] = Math.floor(value / 256 ** byte)
      return bytes
    }
    case 4:
      return bytes.slice(0, at)
    case 5:
      return spliced(bytes, at, 0, rng.bytes(length))
    case 6:
      return spliced(bytes, at, length, new Uint8Array())
    case 7:
      return spliced(bytes, at, 0, bytes.slice(at, at + length))
    case 8: {
      const other = pick(from, rng)
      return spliced(bytes, at, bytes.length, other.subarray(rng.below(other.length + 1)))
    }
    case 9: {
      const other = pick(from, rng)
      const start = rng.below(other.length + 1)
      return spliced(bytes, at, rng.below(2) * length, other.subarray(start, start + length))
    }
    default: {
      const word = pick(words, rng)
      return spliced(bytes, at, rng.below(2) * word.length, word)
    }
  }
}

function spliced(bytes: Uint8Array, at: number, out: number, put: Uint8Array): Uint8Array<ArrayBuffer> {
  const rest = bytes.subarray(Math.min(bytes.length, at + out))
  const whole = new Uint8Array(at + put.length + rest.length)
  whole.set(bytes.subarray(0, at))
  whole.set(put, at)
  whole.set(rest, at + put.length)
  return whole
}

/** Random bytes, or one of `from` cut, lengthened, joined to another, or with up to four bytes changed. For what has no words of its own. */
export function roughen(from: readonly Uint8Array[], rng: SeededRng): Uint8Array {
  if (rng.below(4) === 0) return rng.bytes(rng.below(200))
  const bytes = pick(from, rng).slice()
  switch (rng.below(4)) {
    case 0:
      return bytes.subarray(0, rng.below(bytes.length))
    case 1:
      return concat(bytes, rng.bytes(1 + rng.below(20)))
    case 2:
      return concat(bytes, pick(from, rng))
    default:
      // Mostly near the start, where the tags and lengths are.
      for (let flips = 1 + rng.below(4); flips > 0; flips--) {
        const at = rng.below(rng.below(2) === 0 ? Math.min(bytes.length, 24) : bytes.length)
        bytes[at]! ^= 1 + rng.below(255)
      }
      return bytes
  }
}

const ODD_VALUES: readonly unknown[] = [
  ...[null, true, false, 0, -1, 1, 0.5, 1e9, 2 ** 53, -(2 ** 53), 1e300, '', ' ', 'a', '0', '-1', '\0', '\ud800', '__proto__'],
  ...[[], {}, [[]], { length: 3 }, 'x'.repeat(70_000), Array.from({ length: 5_000 }, (_, at) => at)],
]
const ODD_KEYS = ['__proto__', 'constructor', 'length', '', 'version', 'name', '0']

/** JSON whose values, members or text are changed. */
export function mutateJson(words: readonly string[] = []): Mutate {
  const raw = mutateBytes([...'[]{},:"0\\'].map(utf8))
  return (from, rng) => {
    if (rng.below(4) === 0) return raw(from, rng)
    let value: unknown
    try {
      value = JSON.parse(Buffer.from(pick(from, rng)).toString())
    } catch {
      return raw(from, rng)
    }
    for (let changes = 1 + rng.below(3); changes > 0; changes--) value = changedValue(value, words, rng)
    return utf8(JSON.stringify(value) ?? '')
  }
}

function changedValue(value: unknown, words: readonly string[], rng: SeededRng): unknown {
  const isList = Array.isArray(value)
  const keys = typeof value === 'object' && value !== null ? Object.keys(value) : []
  if (keys.length === 0 || rng.below(6) === 0) return oddValue(value, words, rng)
  const copy: Record<string, unknown> | unknown[] = isList ? [...value] : { ...(value as object) }
  const key = pick(keys, rng)
  const held = copy as Record<string, unknown>
  switch (rng.below(8)) {
    case 0:
      if (isList) (copy as unknown[]).splice(Number(key), 1)
      else delete held[key]
      return copy
    case 1:
      if (isList) (copy as unknown[]).push(pick(copy as unknown[], rng))
      else Object.defineProperty(copy, pick(ODD_KEYS, rng), { value: oddValue(held[key], words, rng), enumerable: true })
      return copy
    default:
      held[key] = changedValue(held[key], words, rng)
      return copy
  }
}

function oddValue(value: unknown, words: readonly string[], rng: SeededRng): unknown {
  if (typeof value === 'string' && rng.below(2) === 0) {
    const at = rng.below(value.length + 1)
    const put =
      words.length > 0 && rng.below(2) === 0
        ? pick(words, rng)
        : String.fromCharCode(rng.below(rng.below(3) === 0 ? 65_536 : 128))
    return value.slice(0, at) + put + value.slice(at + rng.below(2))
  }
  if (typeof value === 'number' && rng.below(2) === 0) return value + pick([1, -1, 0.5, 2 ** 31, -(2 ** 40)], rng)
  return words.length > 0 && rng.below(4) === 0 ? pick(words, rng) : pick(ODD_VALUES, rng)
}

function pick<T>(items: readonly T[], rng: SeededRng): T {
  return items[rng.below(items.length)]!
}

function utf8(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text))
}
