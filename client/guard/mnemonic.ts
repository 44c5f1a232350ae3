/**
 * Seed phrases (BIP 39): 12 to 24 words of one list, the last of which holds a checksum. Text that happens to use a dozen of these words in a
 * row is rare, and 15 of 16 such rows fail the checksum; lists of the words themselves are told by their order.
 */
import { utf8 } from '../../src/bytes/index.ts'
import { sha256 } from '../../src/crypto/hash.ts'
import { latin1 } from './marks.ts'
import { MNEMONIC_WORDS } from './mnemonic-words.ts'

/** Numbers of words by a hash of their letters: most words of a text are told from those of the list without making a string of them. */
const NUMBER_OF: ReadonlyMap<number, number> = new Map(MNEMONIC_WORDS.map((word, at) => [hashOf(utf8(word), 0, word.length), at]))
const LENGTHS = [12, 15, 18, 21, 24] as const
const WORDS_MIN = 12
const WORD_BITS = 11

/** Longest row of words that is looked at; more are a list or a text. */
const WORDS_MAX = 30
/** Letters of the longest word. */
export const WORD_CHARS_MAX = 8
/** What may stand between two words: space, line ends, commas, quotes, numbers such as `2.`. */
const GAP_CHARS_MAX = 6
/** The shortest phrase, so that a probe at every such distance cannot miss one. */
export const PHRASE_CHARS_MIN = WORDS_MIN * 3 + (WORDS_MIN - 1)
/** Bytes on either side of a probe that can belong to its row. */
export const PHRASE_REACH_BYTES = WORDS_MAX * (WORD_CHARS_MAX + GAP_CHARS_MAX)

/** Whether a seed phrase lies over position `at` of `bytes`, which may be a gap in it. Looks `PHRASE_REACH_BYTES` to either side. */
export function phraseAt(bytes: Uint8Array, at: number): boolean {
  if (bytes[at]! > 0x7a) return false
  const word = isLetter(bytes[at]) ? wordAt(bytes, at) : neighbourOf(bytes, at, 1, 0)
  if (word === null) return false
  const numbers = [word.number]
  for (let edge = word.end; numbers.length <= WORDS_MAX; ) {
    const next = neighbourOf(bytes, edge, 1)
    if (next === null) break
    numbers.push(next.number)
    edge = next.end
  }
  for (let edge = word.start; numbers.length <= WORDS_MAX; ) {
    const before = neighbourOf(bytes, edge - 1, -1)
    if (before === null) break
    numbers.unshift(before.number)
    edge = before.start
  }
  if (numbers.length < WORDS_MIN || numbers.length > WORDS_MAX) return false
  if (numbers.every((number, place) => place === 0 || numbers[place - 1]! < number)) return false
  return LENGTHS.some((length) => {
    for (let from = 0; from + length <= numbers.length; from++) if (isPhrase(numbers.slice(from, from + length))) return true
    return false
  })
}

interface FoundWord {
  readonly number: number
  readonly start: number
  readonly end: number
}

/** The word of the list that covers position `at`. */
function wordAt(bytes: Uint8Array, at: number): FoundWord | null {
  if (!isLetter(bytes[at])) return null
  let start = at
  let end = at + 1
  while (isLetter(bytes[start - 1]) && at - start <= WORD_CHARS_MAX) start--
  while (isLetter(bytes[end]) && end - at <= WORD_CHARS_MAX) end++
  if (end - start < 3 || end - start > WORD_CHARS_MAX || isUpper(bytes[start - 1]) || isUpper(bytes[end])) return null
  const number = NUMBER_OF.get(hashOf(bytes, start, end))
  return number === undefined || MNEMONIC_WORDS[number] !== latin1(bytes, start, end) ? null : { number, start, end }
}

/** FNV-1a over the bytes, 30 bits of it. A test checks that no two words of the list share one. */
function hashOf(bytes: Uint8Array, start: number, end: number): number {
  let hash = 0x811c9dc5
  for (let at = start; at < end; at++) hash = Math.imul(hash ^ bytes[at]!, 0x01000193)
  return hash & 0x3fffffff
}

/** The word of the list that follows the gap from `edge` on (`step` 1), or stands before it (-1). A gap has `gapMin` characters at least. */
function neighbourOf(bytes: Uint8Array, edge: number, step: 1 | -1, gapMin = 1): FoundWord | null {
  for (let gap = 0; gap <= GAP_CHARS_MAX; gap++) {
    const at = edge + step * gap
    if (at < 0 || at >= bytes.length || isUpper(bytes[at])) return null
    if (isLetter(bytes[at])) return gap < gapMin ? null : wordAt(bytes, at)
  }
  return null
}

function isLetter(byte: number | undefined): boolean {
  return byte !== undefined && byte >= 0x61 && byte <= 0x7a
}

function isUpper(byte: number | undefined): boolean {
  return byte !== undefined && byte >= 0x41 && byte <= 0x5a
}

/** Whether the numbers of words carry a right checksum: the last bits are the first ones of the others' SHA-256. */
export function isPhrase(numbers: readonly number[]): boolean {
  const bits = numbers.map((number) => number.toString(2).padStart(WORD_BITS, '0')).join('')
  const entropyBits = Math.floor((bits.length * 32) / 33)
  const entropy = new Uint8Array(entropyBits / 8)
  for (let at = 0; at < entropy.length; at++) entropy[at] = Number.parseInt(bits.slice(8 * at, 8 * at + 8), 2)
  const sum = [...sha256(entropy)].map((byte) => byte.toString(2).padStart(8, '0')).join('')
  return sum.startsWith(bits.slice(entropyBits))
}
