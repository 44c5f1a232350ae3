/**
 * What is inside of a backup: files of a data folder by name, packed into chunks of equal length, and back. Pure: bytes in, bytes out, one
 * entry in memory. Spec: SPEC.md §13.3.
 *
 *   entry: u8 length of the name (1 to 64) ‖ name ‖ u32 length (at most `ENTRY_BYTES_MAX`) ‖ bytes;  at the end: u8 0, zeros to the end of the chunk
 *
 * Names ascend, as bytes: none is there twice. Whoever made the archive knows its passphrase, but may be somebody else than who reads it: names
 * are taken from a closed list only (`contents.ts`), never as paths.
 */
import { concat, readU32, utf8, writeU32 } from '../../src/bytes/index.ts'
import { OverlayError } from '../../src/errors/index.ts'
import { KEY_PART_BYTES_MAX } from '../keys/index.ts'
import { BACKUP_CHUNK_BYTES } from './format.ts'

// Specification constants.
const NAME_BYTES_MAX = 64
/** A key's part and its head. */
export const ENTRY_BYTES_MAX = KEY_PART_BYTES_MAX + 64
/** More than all keys with all their parts, and what else there is. */
export const ENTRIES_MAX = 4096

export interface BackupEntry {
  readonly name: string
  readonly bytes: Uint8Array
}

/** Packs entries, which must come in order, into chunks. */
export async function* packEntries(
  entries: AsyncIterable<BackupEntry> | Iterable<BackupEntry>,
): AsyncGenerator<{ readonly chunk: Uint8Array; readonly isLast: boolean }, void, undefined> {
  let chunk = new Uint8Array(BACKUP_CHUNK_BYTES)
  let used = 0
  let count = 0
  let before = ''
  for await (const { name, bytes } of entries) {
    const isNext = name > before && isEntryName(name) && bytes.length <= ENTRY_BYTES_MAX
    if (!isNext || ++count > ENTRIES_MAX) throw new RangeError(`no entry of a backup: ${name}`)
    before = name
    for (let piece of [headOf(name, bytes.length), bytes]) {
      while (piece.length > 0) {
        // Full, and more to come: the end mark is always in a chunk that follows.
        if (used === chunk.length) {
          yield { chunk, isLast: false }
          chunk = new Uint8Array(BACKUP_CHUNK_BYTES)
          used = 0
        }
        const fits = piece.subarray(0, chunk.length - used)
        chunk.set(fits, used)
        used += fits.length
        piece = piece.subarray(fits.length)
      }
    }
  }
  if (used === chunk.length) {
    yield { chunk, isLast: false }
    chunk = new Uint8Array(BACKUP_CHUNK_BYTES)
  }
  yield { chunk, isLast: true }
}

function headOf(name: string, length: number): Uint8Array {
  const size = new Uint8Array(4)
  writeU32(size, 0, length)
  return concat(Uint8Array.of(name.length), utf8(name), size)
}

/** Names are printable ASCII: their order as text is their order as bytes. */
function isEntryName(name: string): boolean {
  return name.length >= 1 && name.length <= NAME_BYTES_MAX && /^[\x21-\x7e]+$/.test(name)
}

/** Reads the entries of chunks that come in order. */
export class EntryReader {
  /** What came and is not used yet. */
  readonly #waiting: Uint8Array[] = []
  #length = 0
  #before = ''
  #count = 0
  #ended = false

  /** Takes the next chunk (owned from now on); returns the entries that are whole with it. Errors: `BACKUP_DAMAGED`. */
  push(chunk: Uint8Array, isLast: boolean): readonly BackupEntry[] {
    if (this.#ended) throw malformed()
    this.#waiting.push(chunk)
    this.#length += chunk.length
    const found: BackupEntry[] = []
    for (let entry = this.#next(); entry !== null; entry = this.#next()) found.push(entry)
    if (this.#ended !== isLast) throw malformed()
    return found
  }

  /** The next entry that is whole; `null`: more chunks are needed, or there is none. */
  #next(): BackupEntry | null {
    const first = this.#peek(1)
    if (first === null) return null
    const nameBytes = first[0]!
    if (nameBytes === 0) return this.#end()
    if (nameBytes > NAME_BYTES_MAX) throw malformed()
    const headBytes = 1 + nameBytes + 4
    const head = this.#peek(headBytes)
    if (head === null) return null
    const name = Buffer.from(head.subarray(1, 1 + nameBytes)).toString('latin1')
    const length = readU32(head, 1 + nameBytes)
    if (!isEntryName(name) || name <= this.#before || length > ENTRY_BYTES_MAX || this.#count >= ENTRIES_MAX) throw malformed()
    if (this.#length < headBytes + length) return null
    this.#before = name
    this.#count++
    const whole = concat(...this.#waiting)
    this.#keep(whole.subarray(headBytes + length))
    return { name, bytes: whole.slice(headBytes, headBytes + length) }
  }

  #end(): null {
    if (concat(...this.#waiting).some((byte) => byte !== 0) || this.#length > BACKUP_CHUNK_BYTES) throw malformed()
    this.#keep(new Uint8Array(0))
    this.#ended = true
    return null
  }

  /** The first `length` bytes that wait, or `null` if there are not so many. */
  #peek(length: number): Uint8Array | null {
    if (this.#length < length) return null
    if (this.#waiting[0]!.length < length) this.#keep(concat(...this.#waiting))
    return this.#waiting[0]!.subarray(0, length)
  }

  #keep(rest: Uint8Array): void {
    this.#waiting.splice(0, this.#waiting.length, ...(rest.length > 0 ? [rest] : []))
    this.#length = rest.length
  }
}

function malformed(): OverlayError {
  return new OverlayError('integrity', 'BACKUP_DAMAGED', 'What is inside of the backup is malformed.')
}
