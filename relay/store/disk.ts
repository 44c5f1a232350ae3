/** Whole reads and writes at a position: the operating system may do less than asked. No policy. */
import type { FileHandle } from 'node:fs/promises'

/** Writes all of `bytes` (borrowed until the promise settles) at `position`, or throws the system's error (`ENOSPC`, `EROFS`, `EIO`). */
export async function writeAll(file: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  let at = 0
  while (at < bytes.length) at += (await file.write(bytes, at, bytes.length - at, position + at)).bytesWritten
}

/** Fills `into` from `position`; returns how many bytes there were before the end of the file. */
export async function readAll(file: FileHandle, into: Uint8Array, position: number): Promise<number> {
  let at = 0
  while (at < into.length) {
    const { bytesRead } = await file.read(into, at, into.length - at, position + at)
    if (bytesRead === 0) break
    at += bytesRead
  }
  return at
}
