/**
 * A folder as the files of a site: listed in the order of its names, each file with the length that it has when it is listed. Links are followed
 * as long as they stay in the folder; what leaves it, loops, or is neither file nor folder is listed as refused, for the guard to show.
 *
 * Threat: a link, or a file that becomes one between listing and reading, that would publish something from elsewhere. A file is opened without
 * following links, and read only if it is the very one that was listed.
 */
import { constants } from 'node:fs'
import { type FileHandle, lstat, open, readdir, realpath, stat } from 'node:fs/promises'
import { join, sep } from 'node:path'
import { isSitePath, SITE_FILES_MAX } from '../../src/content/site-index.ts'
import { OverlayError } from '../../src/errors/index.ts'
import type { SiteFile } from '../library.ts'

// Implementation constants.
const READ_BYTES = 256 * 1024
/** Folders within each other. */
const DEPTH_MAX = 128

export interface FolderFile extends SiteFile {
  readonly kind: 'file'
  /** Where it really is: without links. */
  readonly realPath: string
  /** Whether a link led there. */
  readonly linked: boolean
}

export interface RefusedItem {
  readonly kind: 'refused'
  /** As a `SiteFile`'s; for showing only. */
  readonly path: string
  /**
   * `link-leaves`: a link to outside of the folder; `link-broken`: to nothing; `link-loops`: to a folder that it lies in; `not-a-file`: socket,
   * device or pipe; `bad-name`: not UTF-8, too long, or with control characters; `unreadable`; `too-deep`.
   */
  readonly why: 'link-leaves' | 'link-broken' | 'link-loops' | 'not-a-file' | 'bad-name' | 'unreadable' | 'too-deep'
}

export type FolderItem = FolderFile | RefusedItem

/** What is in `root`, files and refused things. Errors: `FILE_FAILED` (the folder itself cannot be read), `SITE_BAD` (too many), the signal's. */
export async function* listFolder(
  root: string,
  { signal }: { readonly signal: AbortSignal },
): AsyncGenerator<FolderItem, void, undefined> {
  signal.throwIfAborted()
  let real: string
  try {
    real = await realpath(root)
    if (!(await stat(real)).isDirectory()) throw new Error('not a folder')
  } catch (error) {
    throw new OverlayError('config', 'FILE_FAILED', `The folder ${root} cannot be read (${reasonOf(error)}).`, error)
  }
  let count = 0
  for await (const item of listBelow({ root: real, signal }, real, '', [real], false)) {
    if (++count > SITE_FILES_MAX) throw new OverlayError('config', 'SITE_BAD', `A site has at most ${SITE_FILES_MAX} files.`)
    yield item
  }
}

/** The files of `root`. Errors: those of `listFolder`, and `SITE_BAD` for the first thing that is refused. */
export async function* folderSite(
  root: string,
  waiting: { readonly signal: AbortSignal },
): AsyncGenerator<FolderFile, void, undefined> {
  for await (const item of listFolder(root, waiting)) {
    if (item.kind === 'file') yield item
    else throw new OverlayError('config', 'SITE_BAD', `${JSON.stringify(item.path)} ${WHY[item.why]}.`)
  }
}

const WHY: Readonly<Record<RefusedItem['why'], string>> = {
  'link-leaves': 'is a link to outside of the folder',
  'link-broken': 'is a link to nothing',
  'link-loops': 'is a link to a folder that it lies in',
  'not-a-file': 'is neither a file nor a folder',
  'bad-name': 'has a name that is not UTF-8, too long, or with control characters',
  unreadable: 'cannot be read',
  'too-deep': `lies in more than ${DEPTH_MAX} folders`,
}

interface Walk {
  /** Without links. */
  readonly root: string
  readonly signal: AbortSignal
}

/** `folder` is free of links; `above`: the folders on the way to it, itself included, by their real paths. */
async function* listBelow(
  walk: Walk,
  folder: string,
  prefix: string,
  above: readonly string[],
  linked: boolean,
): AsyncGenerator<FolderItem, void, undefined> {
  let names: string[]
  try {
    names = await readdir(folder)
  } catch {
    yield { kind: 'refused', path: prefix.slice(0, -1), why: 'unreadable' }
    return
  }
  for (const name of names.sort()) {
    walk.signal.throwIfAborted()
    const path = `${prefix}${name}`
    // A name that is no UTF-8 comes with U+FFFD and would not be found under it.
    if (!isSitePath(path) || name.includes('\ufffd')) {
      yield { kind: 'refused', path: path.replaceAll(/\p{C}/gu, '?'), why: 'bad-name' }
      continue
    }
    const found = await look(walk, join(folder, name))
    if (typeof found === 'string') {
      yield { kind: 'refused', path, why: found }
      continue
    }
    const isLinked = linked || found.linked
    if (found.isFolder) {
      if (above.includes(found.realPath)) yield { kind: 'refused', path, why: 'link-loops' }
      else if (above.length >= DEPTH_MAX) yield { kind: 'refused', path, why: 'too-deep' }
      else yield* listBelow(walk, found.realPath, `${path}/`, [...above, found.realPath], isLinked)
      continue
    }
    const { realPath, bytes } = found
    yield { kind: 'file', path, bytes, realPath, linked: isLinked, open: () => contentOf(path, found, walk.signal) }
  }
}

interface Found {
  readonly realPath: string
  readonly linked: boolean
  readonly isFolder: boolean
  readonly bytes: number
  readonly device: number
  readonly inode: number
}

async function look({ root }: Walk, path: string): Promise<Found | RefusedItem['why']> {
  let realPath = path
  let linked = false
  try {
    linked = (await lstat(path)).isSymbolicLink()
    if (linked) {
      realPath = await realpath(path)
      if (realPath !== root && !realPath.startsWith(root.endsWith(sep) ? root : `${root}${sep}`)) return 'link-leaves'
    }
    const { dev: device, ino: inode, size: bytes, ...kind } = await describe(realPath)
    if (!kind.isFolder && !kind.isFile) return 'not-a-file'
    return { realPath, linked, isFolder: kind.isFolder, bytes, device, inode }
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (linked && (code === 'ENOENT' || code === 'ELOOP')) return 'link-broken'
    return 'unreadable'
  }
}

async function describe(path: string) {
  const found = await lstat(path)
  return { dev: found.dev, ino: found.ino, size: found.size, isFolder: found.isDirectory(), isFile: found.isFile() }
}

async function* contentOf(path: string, listed: Found, signal: AbortSignal): AsyncGenerator<Uint8Array, void, undefined> {
  let file: FileHandle | null = null
  try {
    file = await open(listed.realPath, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
    const now = await file.stat()
    if (!now.isFile() || now.dev !== listed.device || now.ino !== listed.inode) throw new Error('it was replaced meanwhile')
    const buffer = new Uint8Array(Math.min(READ_BYTES, Math.max(1, listed.bytes)))
    // One byte past the announced length shows a file that has grown.
    for (let at = 0; ; ) {
      signal.throwIfAborted()
      const { bytesRead } = await file.read(buffer, 0, buffer.length, at)
      if (bytesRead === 0) return
      at += bytesRead
      yield buffer.slice(0, bytesRead)
      if (at > listed.bytes) return
    }
  } catch (error) {
    signal.throwIfAborted()
    if (error instanceof OverlayError) throw error
    throw new OverlayError('config', 'FILE_FAILED', `The file ${path} cannot be read (${reasonOf(error)}).`, error)
  } finally {
    await file?.close()
  }
}

function reasonOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? (error instanceof Error ? error.message : 'unknown cause')
}
