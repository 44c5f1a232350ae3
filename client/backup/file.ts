/**
 * A backup as a file: written beside its place, read back and compared, and only then put there; read in order, chunk by chunk. It holds one
 * entry in memory. Passphrase and disk meet here, decisions are elsewhere. Spec: SPEC.md §13.
 */
import { type FileHandle, lstat, open, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { passphraseKey } from '../../src/crypto/passphrase.ts'
import { syncFolder } from '../../src/directory/index.ts'
import { diskFailure } from '../../src/errors/disk.ts'
import { OverlayError } from '../../src/errors/index.ts'
import type { Rng } from '../../src/runtime/index.ts'
import { type BackupEntry, EntryReader, packEntries } from './entries.ts'
import {
  BACKUP_COST,
  BACKUP_HEADER_BYTES,
  BACKUP_SALT_BYTES,
  BackupChunks,
  chunksOf,
  encodeHeader,
  parseHeader,
  SEALED_CHUNK_BYTES,
} from './format.ts'

/** A key from a passphrase: Argon2id. Tests take a faster one. */
export type DeriveKey = typeof passphraseKey

export interface Secrets {
  /** UTF-8, in the form that `passphraseBytes` gives it. */
  readonly passphrase: Uint8Array
  readonly derive?: DeriveKey
}

/** The bytes of a passphrase: one spelling for what looks the same, whatever keyboard it was typed on (Unicode NFC). */
export function passphraseBytes(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text.normalize('NFC'), 'utf8'))
}

/**
 * Writes a backup of `entries` to `path`, where nothing may be. Returns its length. It is there whole, on disk and verified, or not at all.
 * Errors: `FILE_FAILED`.
 */
export async function writeBackup(
  path: string,
  entries: AsyncIterable<BackupEntry> | Iterable<BackupEntry>,
  { passphrase, derive = passphraseKey }: Secrets,
  rng: Pick<Rng, 'bytes'>,
): Promise<number> {
  const temporary = `${path}.new`
  await failing(path, () => requireAbsent(path))
  const salt = rng.bytes(BACKUP_SALT_BYTES)
  const key = await derive(passphrase, salt, BACKUP_COST)
  const header = encodeHeader({ cost: BACKUP_COST, salt }, key)
  const chunks = BackupChunks.sealing(header, key.slice())
  try {
    return await failing(path, async () => {
      await rm(temporary, { force: true })
      const file = await open(temporary, 'wx', 0o600)
      let bytes = header.length
      try {
        await file.appendFile(header)
        for await (const { chunk, isLast } of packEntries(entries)) {
          await file.appendFile(chunks.seal(chunk, isLast))
          bytes += SEALED_CHUNK_BYTES
        }
        await file.sync()
      } finally {
        await file.close()
      }
      // What a disk made of it is known only to who reads it.
      for await (const _ of readWith(temporary, key.slice()));
      await requireAbsent(path)
      await rename(temporary, path)
      await syncFolder(dirname(path))
      return bytes
    })
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {}) // the error says more
    throw error
  } finally {
    chunks.wipe()
    key.fill(0)
  }
}

/**
 * The entries of the backup at `path`. Whoever reads has seen nothing until the last one came and the loop ended: only then the whole is known to
 * be right. Errors: `BACKUP_DAMAGED`, `BACKUP_PASSPHRASE`, `FILE_FAILED`.
 */
export async function* readBackup(path: string, { passphrase, derive = passphraseKey }: Secrets): AsyncGenerator<BackupEntry> {
  const header = await failing(path, async () => {
    const file = await open(path, 'r')
    try {
      chunksOf((await file.stat()).size)
      return await readWhole(file, new Uint8Array(BACKUP_HEADER_BYTES), 0)
    } finally {
      await file.close()
    }
  })
  const { cost, salt } = parseHeader(header)
  yield* readWith(path, await derive(passphrase, salt, cost))
}

/** As `readBackup`, with the key (owned from now on). */
async function* readWith(path: string, key: Uint8Array): AsyncGenerator<BackupEntry> {
  const file = await failing(path, () => open(path, 'r'))
  let opening: BackupChunks | null = null
  try {
    const count = chunksOf((await failing(path, () => file.stat())).size)
    opening = BackupChunks.opening(await failing(path, () => readWhole(file, new Uint8Array(BACKUP_HEADER_BYTES), 0)), key)
    const reader = new EntryReader()
    for (let chunk = 0; chunk < count; chunk++) {
      const at = BACKUP_HEADER_BYTES + chunk * SEALED_CHUNK_BYTES
      const sealed = await failing(path, () => readWhole(file, new Uint8Array(SEALED_CHUNK_BYTES), at))
      const isLast = chunk === count - 1
      yield* reader.push(opening.open(sealed, isLast), isLast)
    }
  } finally {
    opening?.wipe()
    await file.close()
  }
}

/** Fills `into` from `position`. Errors: `BACKUP_DAMAGED` if the file ends before. */
async function readWhole(file: FileHandle, into: Uint8Array, position: number): Promise<Uint8Array> {
  for (let at = 0; at < into.length; ) {
    const { bytesRead } = await file.read(into, at, into.length - at, position + at)
    if (bytesRead === 0) throw new OverlayError('integrity', 'BACKUP_DAMAGED', 'The backup became shorter while it was read.')
    at += bytesRead
  }
  return into
}

async function requireAbsent(path: string): Promise<void> {
  try {
    await lstat(path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return
    throw error
  }
  throw new OverlayError('config', 'FILE_FAILED', `There is a file at ${path} already; a backup never replaces one.`)
}

/** Runs what touches the file; the system's errors as `FILE_FAILED`. */
async function failing<T>(path: string, run: () => Promise<T>): Promise<T> {
  try {
    return await run()
  } catch (error) {
    throw diskFailure(`The file ${path}`, error, 'FILE_FAILED')
  }
}
