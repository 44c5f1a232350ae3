/**
 * What belongs in a backup: a closed list of files of the data folder, each with the check that its own reader makes. Everything else stays out:
 * tokens (they open the API of the machine that they were made on), other people's shares and records, the directory, what the node chose as
 * neighbours. Spec: SPEC.md §13.3.
 */
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { diskFailure } from '../../src/errors/disk.ts'
import { isIdentityFile } from '../identity.ts'
import { parseKeeps } from '../keeps/book.ts'
import { isKeyFile, isKeyName, isKeyPartFile, KEY_PARTS, type KeyPart } from '../keys/index.ts'
import { parseBook } from '../names/book.ts'
import type { BackupEntry } from './entries.ts'

export const IDENTITY = 'identity'
export const NAMES = 'names.json'
export const KEEPS = 'keeps.json'
const KEYS_FOLDER = 'keys'
/** What goes with the identity: when it was published last, and which records it has seen. Small, and useless under another identity. */
export const OF_IDENTITY = ['published', 'seen'] as const
const SMALL_BYTES_MAX = 2 * 1024 * 1024

/** A name of a backup's entry, read. */
export type EntryKind =
  | { readonly kind: 'identity' | 'names' | 'keeps' | 'of-identity' }
  | { readonly kind: 'key'; readonly key: string }
  | { readonly kind: 'part'; readonly key: string; readonly part: KeyPart }

/** What the entry of that name is; `null`: nothing that a backup may hold. */
export function kindOf(name: string): EntryKind | null {
  if (name === IDENTITY) return { kind: 'identity' }
  if (name === NAMES) return { kind: 'names' }
  if (name === KEEPS) return { kind: 'keeps' }
  if (OF_IDENTITY.some((one) => one === name)) return { kind: 'of-identity' }
  const [, key = '', partName] = /^keys\/([a-z0-9-]+)(?:\.([a-z]+))?$/.exec(name) ?? []
  if (!isKeyName(key)) return null
  if (partName === undefined) return { kind: 'key', key }
  const part = KEY_PARTS.find((one) => one === partName)
  return part === undefined ? null : { kind: 'part', key, part }
}

/** The name of a key's file, or of one of its parts'. */
export function keyEntryName(key: string, part?: KeyPart): string {
  return part === undefined ? `${KEYS_FOLDER}/${key}` : `${KEYS_FOLDER}/${key}.${part}`
}

/** Whether the bytes are what their name says, whole. */
export function isSound({ name, bytes }: BackupEntry): boolean {
  const what = kindOf(name)
  switch (what?.kind) {
    case 'identity':
      return isIdentityFile(bytes)
    case 'key':
      return isKeyFile(bytes)
    case 'part':
      return isKeyPartFile(what.key, what.part, bytes)
    case 'names':
      return bytes.length <= SMALL_BYTES_MAX && parseBook(Buffer.from(bytes).toString('utf8')) !== null
    case 'keeps':
      return bytes.length <= SMALL_BYTES_MAX && parseKeeps(Buffer.from(bytes).toString('utf8')) !== null
    case 'of-identity':
      return bytes.length <= SMALL_BYTES_MAX // their readers begin anew with what is not right
    default:
      return false
  }
}

/** Names of what is in a data folder and belongs in a backup, in order. Errors: `DATA_DIR_UNUSABLE`. */
export async function namesIn(dataDir: string): Promise<readonly string[]> {
  const within = async (folder: string, before: string) => {
    try {
      return (await readdir(join(dataDir, folder))).map((name) => before + name)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
      throw diskFailure(join(dataDir, folder), error)
    }
  }
  const found = [...(await within('.', '')), ...(await within(KEYS_FOLDER, `${KEYS_FOLDER}/`))]
  return found.filter((name) => kindOf(name) !== null).sort()
}

/** The file of that name in a data folder, or `null`. Errors: `DATA_DIR_UNUSABLE`. */
export async function readEntry(dataDir: string, name: string): Promise<Uint8Array | null> {
  const path = join(dataDir, name)
  try {
    return new Uint8Array(await readFile(path))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw diskFailure(path, error)
  }
}
