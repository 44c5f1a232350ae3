/** What a system's error on a file means for a person: the disk is full, read-only, failing, or somebody else's. One wording for all files. */
import type { ErrorCode } from './codes.ts'
import { OverlayError } from './index.ts'

const WHY: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file or folder',
  ENOSPC: 'the disk is full',
  EDQUOT: 'the quota of its user is used up',
  EROFS: 'the disk is read-only',
  EACCES: 'its permissions do not allow it',
  EPERM: 'its permissions do not allow it',
  EIO: 'the disk fails',
  EMFILE: 'too many files are open',
  ENFILE: 'too many files are open',
  ENOTDIR: 'a part of the path is no folder',
  EISDIR: 'it is a folder',
}

/** Why the system refused, in words; its code in parentheses. */
export function whyDisk(error: unknown): string {
  const code = (error as NodeJS.ErrnoException | null)?.code
  if (typeof code !== 'string') return 'for an unknown reason'
  const words = WHY[code]
  return words === undefined ? code : `${words} (${code})`
}

/** What to throw for `error`, which was met at `path`: in our words if it is the system's, else as it is. */
export function diskFailure(path: string, error: unknown, code: ErrorCode = 'DATA_DIR_UNUSABLE'): unknown {
  if (!(error instanceof Error) || !('syscall' in error)) return error
  return new OverlayError('config', code, `${path} cannot be read or written: ${whyDisk(error)}.`, error)
}
