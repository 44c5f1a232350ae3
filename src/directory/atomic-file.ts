/**
 * Files that are either whole in their old form or whole in their new one, whatever is killed when: temporary file, fsync, rename,
 * fsync of the folder. For small state (identity, neighbours) and the saved directory.
 */
import { type FileHandle, open, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'

/** Replaces `path` with `parts` in order. `mode` holds for a new file from the first byte on. One writer per path at a time. */
export async function writeAtomically(path: string, parts: Iterable<Uint8Array | string>, mode: number = 0o600): Promise<void> {
  const temporary = `${path}.new`
  await rm(temporary, { force: true })
  const file = await open(temporary, 'wx', mode)
  try {
    for (const part of parts) await file.appendFile(part)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(temporary, path)
  await syncFolder(dirname(path))
}

/** So that the rename itself outlives a power cut. */
async function syncFolder(path: string): Promise<void> {
  let folder: FileHandle
  try {
    folder = await open(path, 'r')
  } catch {
    return // some systems do not open folders; the file is whole all the same
  }
  try {
    await folder.sync()
  } catch {
    // as above
  } finally {
    await folder.close()
  }
}
