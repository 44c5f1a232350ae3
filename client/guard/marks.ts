/**
 * Marks: fixed strings by which private things are known in the middle of a file, each with a closer look at the bytes around. A mark alone
 * means nothing; only what the look confirms is a finding. `scanner.ts` finds the marks; the tables are in `secret-marks.ts` and
 * `metadata-marks.ts`.
 *
 * A look is a pure function of a bounded window, so the outcome does not depend on how the content was cut into chunks.
 */
import type { Finding } from './listing.ts'

/** What a file is, by its first bytes. Decides which marks mean something in it. */
export type FileKind = 'jpeg' | 'png' | 'pdf' | 'zip' | 'bmff' | 'riff' | 'other'

/** Bytes before a mark that its look may see. */
export const LOOK_BACK_BYTES = 512
/** Bytes from a mark on that its look may see: the longest JPEG segment. */
export const LOOK_AHEAD_BYTES = 65_536

/** The bytes around a mark. Borrowed until return. */
export interface Sight {
  readonly bytes: Uint8Array
  /** Where the mark begins in `bytes`. */
  readonly at: number
  readonly kind: FileKind
}

export interface Mark {
  /** At least 4 characters, each one byte (latin1). */
  readonly text: string
  /** The rules that it can find; when the file has all of them, it is not looked at any more. */
  readonly rules: readonly string[]
  /** Bytes from the mark on that the look needs; at most `LOOK_AHEAD_BYTES`. */
  readonly ahead: number
  /** Kinds of file in which it means something; all if absent. */
  readonly kinds?: readonly FileKind[]
  /** Its looks unpack or walk through much: fewer of them are taken in vain. */
  readonly costly?: boolean
  look(sight: Sight): readonly Finding[]
}

/** The first bytes that tell a file's kind are among these. */
export const KIND_BYTES = 1024

/** The kind of a file with these first bytes (`KIND_BYTES`, or all if it has fewer). */
export function kindOf(head: Uint8Array): FileKind {
  const text = latin1(head, 0, KIND_BYTES)
  if (text.startsWith('\xff\xd8\xff')) return 'jpeg'
  if (text.startsWith('\x89PNG\r\n\x1a\n')) return 'png'
  if (text.startsWith('PK\x03\x04')) return 'zip'
  if (text.startsWith('RIFF')) return 'riff'
  if (/^[\s\S]{4}(ftyp|moov|mdat|wide|free|skip)/.test(text)) return 'bmff'
  return text.includes('%PDF-') ? 'pdf' : 'other'
}

/** Bytes `from` to `to` as text, one character each. */
export function latin1(bytes: Uint8Array, from: number, to: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString(
    'latin1',
    Math.max(0, from),
    Math.min(to, bytes.length),
  )
}
