/**
 * The frame of a backup: a header in clear, and chunks of equal length. It turns a passphrase's key into the keys of chunks, and whole chunks
 * into sealed ones and back; what is in them is `entries.ts`. No disk, no passphrase. Spec: SPEC.md §13.1, §13.2.
 *
 * Threat: whoever finds the file. He learns that it is a backup of Gyre, and its length in steps of 64 KiB. Each chunk has a key of its own
 * that depends on its number and on whether it is the last: chunks that were changed, moved, left out, repeated, cut off or appended open as
 * nothing. The header is bounded before anything is computed from it: a file cannot ask for more time or memory than the limits here.
 */
import { compareBytes, concat, le64, readU32, utf8, writeU32 } from '../../src/bytes/index.ts'
import { AEAD_TAG_BYTES, equalSecret, hkdfExpand, openOnce, sealOnce, wipe } from '../../src/crypto/index.ts'
import type { PassphraseCost } from '../../src/crypto/passphrase.ts'
import { OverlayError } from '../../src/errors/index.ts'

// Specification constants.
export const BACKUP_VERSION = 1
export const BACKUP_HEADER_BYTES = 64
export const BACKUP_CHUNK_BYTES = 65_536
export const SEALED_CHUNK_BYTES = BACKUP_CHUNK_BYTES + AEAD_TAG_BYTES
export const BACKUP_SALT_BYTES = 16
/** The least work that a guess may be made to cost (libsodium's MODERATE): 3 passes over 256 MiB. */
export const BACKUP_COST: PassphraseCost = Object.freeze({ passes: 3, memoryKib: 262_144 })
/** The most that a reader does for a file. */
const PASSES_MAX = 16
const MEMORY_KIB_MAX = 1_048_576
/** Passes times memory: some half a minute on a small machine. */
const WORK_KIB_MAX = 4 * MEMORY_KIB_MAX

const MAGIC = utf8('gyre backup\n')
const VERSION_AT = 12
const PASSES_AT = 16
const MEMORY_AT = 20
const SALT_AT = 24
const CHECK_AT = 40
const CHECK_BYTES = BACKUP_HEADER_BYTES - CHECK_AT
const CHECK_LABEL = utf8('gyre/1 backup check')
const CHUNK_LABEL = utf8('gyre/1 backup chunk')

/** A header's statement, bounded. */
export interface BackupHeader {
  readonly cost: PassphraseCost
  /** 16 bytes. */
  readonly salt: Uint8Array
}

/** The header of a backup under `key` (32 bytes, from the passphrase, `salt` and `cost`). */
export function encodeHeader({ cost, salt }: BackupHeader, key: Uint8Array): Uint8Array {
  if (!isBounded(cost) || salt.length !== BACKUP_SALT_BYTES) throw new RangeError('no header of a backup')
  const header = new Uint8Array(BACKUP_HEADER_BYTES)
  header.set(MAGIC)
  writeU32(header, VERSION_AT, BACKUP_VERSION)
  writeU32(header, PASSES_AT, cost.passes)
  writeU32(header, MEMORY_AT, cost.memoryKib)
  header.set(salt, SALT_AT)
  header.set(checkOf(header, key), CHECK_AT)
  return header
}

/** What a header says, before there is a key. Errors: `BACKUP_DAMAGED` (no backup, another version, parameters out of bounds). */
export function parseHeader(header: Uint8Array): BackupHeader {
  if (header.length !== BACKUP_HEADER_BYTES || compareBytes(header.subarray(0, MAGIC.length), MAGIC) !== 0) {
    throw damaged('The file is no backup of Gyre.')
  }
  const version = readU32(header, VERSION_AT)
  if (version !== BACKUP_VERSION) throw damaged(`The backup has version ${version}; this program reads ${BACKUP_VERSION}.`)
  const cost = { passes: readU32(header, PASSES_AT), memoryKib: readU32(header, MEMORY_AT) }
  if (!isBounded(cost)) throw damaged('The header of the backup asks for an amount of work that no backup has.')
  return { cost, salt: header.slice(SALT_AT, CHECK_AT) }
}

function isBounded({ passes, memoryKib }: PassphraseCost): boolean {
  if (!Number.isInteger(passes) || !Number.isInteger(memoryKib)) return false
  if (passes < BACKUP_COST.passes || passes > PASSES_MAX) return false
  return memoryKib >= BACKUP_COST.memoryKib && memoryKib <= MEMORY_KIB_MAX && passes * memoryKib <= WORK_KIB_MAX
}

/** How many chunks a file of this length has. Errors: `BACKUP_DAMAGED` (no backup has it). */
export function chunksOf(fileBytes: number): number {
  const chunks = (fileBytes - BACKUP_HEADER_BYTES) / SEALED_CHUNK_BYTES
  if (Number.isInteger(chunks) && chunks >= 1) return chunks
  throw damaged('The backup was cut off or added to: it has a length that none has.')
}

/** Seals or opens the chunks of one backup, in order. */
export class BackupChunks {
  readonly #header: Uint8Array
  readonly #key: Uint8Array
  #number = 0

  private constructor(header: Uint8Array, key: Uint8Array) {
    this.#header = header
    this.#key = key
  }

  /** For a header made with `key`; both are owned from now on. */
  static sealing(header: Uint8Array, key: Uint8Array): BackupChunks {
    return new BackupChunks(header, key)
  }

  /** For a header that was read, and the key of the passphrase given. Errors: `BACKUP_PASSPHRASE`. */
  static opening(header: Uint8Array, key: Uint8Array): BackupChunks {
    if (equalSecret(checkOf(header, key), header.slice(CHECK_AT))) return new BackupChunks(header, key)
    wipe(key)
    throw new OverlayError('config', 'BACKUP_PASSPHRASE', 'The passphrase is not the one of this backup, or its head is damaged.')
  }

  /** The next chunk (65536 bytes), sealed. */
  seal(chunk: Uint8Array, isLast: boolean): Uint8Array {
    if (chunk.length !== BACKUP_CHUNK_BYTES) throw new RangeError('a chunk of another length')
    const key = this.#nextKey(isLast)
    const sealed = sealOnce(key, chunk, this.#header)
    wipe(key)
    return sealed
  }

  /** The next chunk (65552 bytes), opened. Errors: `BACKUP_DAMAGED`. */
  open(sealed: Uint8Array, isLast: boolean): Uint8Array {
    const key = this.#nextKey(isLast)
    const chunk = sealed.length === SEALED_CHUNK_BYTES ? openOnce(key, sealed, this.#header) : null
    wipe(key)
    if (chunk === null) throw damaged('The backup is damaged: what was sealed has been changed, cut off or added to.')
    return chunk
  }

  /** Overwrites the key. */
  wipe(): void {
    wipe(this.#key)
  }

  #nextKey(isLast: boolean): Uint8Array {
    return hkdfExpand(this.#key, concat(CHUNK_LABEL, le64(this.#number++), Uint8Array.of(isLast ? 1 : 0)), 32)
  }
}

/** Shows that the passphrase is right before anything is opened, and binds the header to it. */
function checkOf(header: Uint8Array, key: Uint8Array): Uint8Array {
  return hkdfExpand(key, concat(CHECK_LABEL, header.subarray(0, CHECK_AT)), CHECK_BYTES)
}

function damaged(message: string): OverlayError {
  return new OverlayError('integrity', 'BACKUP_DAMAGED', message)
}
