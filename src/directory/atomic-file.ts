/**
 * Files that are either whole in their old form or whole in their new one, whatever is killed when: temporary file, fsync, rename,
 * fsync of the folder. For small state (identity, neighbours) and the saved directory. A disk that refuses is told as what a person can mend.
 */
import { type FileHandle, mkdir, open, rename, rm, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { diskFailure } from '../errors/disk.ts'

/** What systems say that cannot flush a folder. */
const NOT_FOR_FOLDERS: ReadonlySet<unknown> = new Set(['EINVAL', 'ENOTSUP', 'EISDIR', 'EPERM', 'EACCES', 'EBADF'])

/**
 * Replaces `path` with `parts` in order. `mode` holds for a new file from the first byte on. One writer per path at a time.
 * Errors: `DATA_DIR_UNUSABLE`; then the old file is there, or (if the disk failed at the very end) the new one.
 */
export async function writeAtomically(path: string, parts: Iterable<Uint8Array | string>, mode: number = 0o600): Promise<void> {
  const temporary = `${path}.new`
  try {
    await rm(temporary, { force: true })
    await writeWhole(temporary, parts, mode)
    await rename(temporary, path)
    await syncFolder(dirname(path))
  } catch (error) {
    // On a full disk each byte counts. What went wrong first says more than why this fails.
    await rm(temporary, { force: true }).catch(() => {})
    throw diskFailure(path, error)
  }
}

async function writeWhole(path: string, parts: Iterable<Uint8Array | string>, mode: number): Promise<void> {
  const file = await open(path, 'wx', mode)
  try {
    for (const part of parts) await file.appendFile(part)
    await file.sync()
  } finally {
    await file.close()
  }
}

/** Makes a folder of mode 0700 that outlives a power cut, unless it is there. Errors: the system's. */
export async function makeFolder(path: string): Promise<void> {
  if (await makeMissing(path)) await syncFolder(dirname(path))
}

/**
 * Whether anything had to be made. Not by `recursive`: that never ends, on all of a core, where the system says that a folder's parent is
 * missing although it is there (Node 24 in /proc).
 */
async function makeMissing(path: string): Promise<boolean> {
  try {
    return await makeOne(path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
  await makeMissing(dirname(path))
  return makeOne(path)
}

async function makeOne(path: string): Promise<boolean> {
  try {
    await mkdir(path, { mode: 0o700 })
    return true
  } catch (error) {
    if ((await stat(path).catch(() => null))?.isDirectory() === true) return false
    throw error
  }
}

/** So that what was made, renamed or removed in a folder outlives a power cut. Errors: the system's, where it can flush folders at all. */
export async function syncFolder(path: string): Promise<void> {
  let folder: FileHandle
  try {
    folder = await open(path, 'r')
  } catch (error) {
    if (NOT_FOR_FOLDERS.has((error as NodeJS.ErrnoException).code)) return
    throw error
  }
  try {
    await folder.sync()
  } catch (error) {
    if (!NOT_FOR_FOLDERS.has((error as NodeJS.ErrnoException).code)) throw error
  } finally {
    await folder.close()
  }
}
