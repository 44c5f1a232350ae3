/**
 * Public face of backups: what of a node cannot be had again from the network (its identity, its keys with their sites and services, its names, what
 * it keeps), in one file that opens with a passphrase. README.md of this folder; bytes: SPEC.md §13.
 */
import { OverlayError } from '../../src/errors/index.ts'
import type { Rng } from '../../src/runtime/index.ts'
import { parseKeeps } from '../keeps/book.ts'
import { parseBook } from '../names/book.ts'
import { IDENTITY, isSound, KEEPS, kindOf, NAMES, namesIn, readEntry } from './contents.ts'
import type { BackupEntry } from './entries.ts'
import { readBackup, type Secrets, writeBackup } from './file.ts'
import { type Restored, restore } from './restore.ts'

export { passphraseBytes, readBackup, type Secrets, writeBackup } from './file.ts'
export type { Outcome, Restored } from './restore.ts'
export { finishRestore } from './staged.ts'

export interface Exported {
  /** Length of the file. */
  readonly bytes: number
  /** Names of the keys in it. */
  readonly keys: readonly string[]
  /** Names of the book in it. */
  readonly names: number
  /** Publications that are kept. */
  readonly keeps: number
  /** Files that were left out because they are damaged. */
  readonly damaged: readonly string[]
}

/**
 * Writes a backup of a data folder, which must be held, to `file`, where nothing may be. With `leaveOutDamaged` what is damaged is left out, else
 * it is an error: a backup that silently lacks a key is worse than none. Errors: `IDENTITY_DAMAGED` (or there is none), `KEY_BAD`,
 * `DATA_DIR_UNUSABLE`, `FILE_FAILED`.
 */
export async function exportBackup(
  dataDir: string,
  file: string,
  secrets: Secrets,
  { leaveOutDamaged, rng }: { readonly leaveOutDamaged: boolean; readonly rng: Pick<Rng, 'bytes'> },
): Promise<Exported> {
  const sound: string[] = []
  const damaged: string[] = []
  let names = 0
  let keeps = 0
  for (const name of await namesIn(dataDir)) {
    const bytes = await readEntry(dataDir, name)
    if (bytes === null) continue
    const isRight = isSound({ name, bytes })
    if (isRight) sound.push(name)
    else damaged.push(name)
    if (isRight && name === NAMES) names = parseBook(Buffer.from(bytes).toString('utf8'))?.length ?? 0
    if (isRight && name === KEEPS) keeps = parseKeeps(Buffer.from(bytes).toString('utf8'))?.length ?? 0
  }
  if (!sound.includes(IDENTITY)) {
    const why = damaged.includes(IDENTITY) ? 'is damaged' : 'is not there: no node has run in it'
    throw new OverlayError('config', 'IDENTITY_DAMAGED', `The identity in ${dataDir} ${why}.`)
  }
  if (damaged.length > 0 && !leaveOutDamaged) {
    throw new OverlayError('config', 'KEY_BAD', `Damaged in ${dataDir}: ${damaged.join(', ')}.`)
  }
  const bytes = await writeBackup(file, withParents(dataDir, sound), secrets, rng)
  const keys = sound.flatMap((name) => {
    const what = kindOf(name)
    return what?.kind === 'key' ? [what.key] : []
  })
  return { bytes, keys, names, keeps, damaged }
}

/** Imports a backup into a data folder, which must be held, with `finishRestore` done. Whole or not at all. Errors: see `restore`, `readBackup`. */
export async function importBackup(dataDir: string, file: string, secrets: Secrets, mayReplace: boolean): Promise<Restored> {
  return restore(dataDir, readBackup(file, secrets), mayReplace)
}

/** What is in the folder under `names`; parts of a key that is left out are left out too. */
async function* withParents(dataDir: string, names: readonly string[]): AsyncGenerator<BackupEntry> {
  for (const name of names) {
    const what = kindOf(name)
    if (what?.kind === 'part' && !names.includes(`keys/${what.key}`)) continue
    const bytes = await readEntry(dataDir, name)
    if (bytes !== null) yield { name, bytes }
  }
}
