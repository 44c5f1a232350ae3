/**
 * Looks through a file or folder on this machine before it is published: every name, every link, every byte. The shell of the guard on the
 * command's side; the API looks again at what it is sent, so a file that changes in between is still seen.
 *
 *   walk (sorted) → names, links, kinds → [strip] → ContentScanner → listing
 *
 * Links: one that leaves the folder is an objection and followed only when it is named. One that stays inside is followed, and judged by the
 * name of what it leads to as well as by its own. Refused folders are not entered: one line stands for all that lies in them.
 */
import { constants, type Dirent, type Stats } from 'node:fs'
import { open, readdir, realpath, stat } from 'node:fs/promises'
import { basename, dirname, join, relative, resolve, sep } from 'node:path'
import { whyDisk } from '../../src/errors/disk.ts'
import { OverlayError } from '../../src/errors/index.ts'
import { FILE_BYTES_MAX, judgeOdd, judgeSize, type OddEntry, placedAt } from './guarded.ts'
import { type Listing, ListingBook, type Placed } from './listing.ts'
import { judgeName, judgePath } from './path-rules.ts'
import { ContentScanner } from './scanner.ts'
import { stripped } from './strip.ts'

export interface SurveyOptions {
  /** Paths that may go out although the guard objects: relative to the folder, as they are listed, or to the working folder. */
  readonly allow: readonly string[]
  /** Takes metadata out of pictures. */
  readonly strip: boolean
  /** Longest file in a folder without an objection; default `FILE_BYTES_MAX`. A file that is published by its own name has no limit. */
  readonly fileBytesMax?: number | undefined
  /** The node's data folder, which must not go out. */
  readonly dataDir: string
  readonly signal: AbortSignal
  /** Files and bytes seen so far. */
  readonly onProgress?: (files: number, bytes: number) => void
}

/** A file that goes out. */
export interface SurveyedFile {
  /** Relative, `/` between parts. */
  readonly path: string
  /** Where it lies. */
  readonly source: string
  /** Bytes that go out, after stripping. */
  readonly bytes: number
  /** Which file it is, on its device: it must be the same when it is read again. */
  readonly identity: string
  /** There were objections, and each was allowed by name. */
  readonly allowed: boolean
}

export interface Survey {
  readonly listing: Listing
  readonly files: readonly SurveyedFile[]
}

// Implementation constants.
/** Files of one publication: as many as a site has (SPEC.md §12). */
export const SURVEY_FILES_MAX = 65_536
/** Folders within folders. */
const DEPTH_MAX = 64
const READ_BYTES = 128 * 1024
/** A link or pipe that took the file's place since it was listed must neither be followed nor hang the command. */
const OPEN_FLAGS = constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0)

/** Surveys the file or folder at `root`. Errors: `FILE_FAILED`, `SITE_BAD` (too many files, too deep), the signal's reason. */
export async function survey(root: string, options: SurveyOptions): Promise<Survey> {
  const real = await realpath(root).catch((error) => unreadable(root, error))
  const found = await stat(real).catch((error) => unreadable(root, error))
  const looking = new Looking(found.isDirectory() ? real : dirname(real), await sameFolder(options.dataDir), root, options)
  if (found.isDirectory()) await looking.folder(real, '', [real], looking.inDataDir('.', real))
  else if (found.isFile()) await looking.lone(root, real)
  else
    throw new OverlayError('config', 'FILE_FAILED', `${root} is neither a file nor a folder. Use - and standard input for pipes.`)
  return looking.read()
}

/** The content of a surveyed file, stripped as it was surveyed. Errors: `FILE_FAILED`, also when its length changed since. */
export async function* contentOf(
  file: SurveyedFile,
  strip: boolean,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, void, undefined> {
  let sent = 0
  const content = chunksOf(file.source, signal, (identity) => {
    if (identity !== file.identity) throw changed(file)
  })
  for await (const chunk of strip ? stripped(content) : content) {
    sent += chunk.length
    if (sent > file.bytes) break
    yield chunk
  }
  if (sent !== file.bytes) throw changed(file)
}

function changed({ source }: SurveyedFile): OverlayError {
  return new OverlayError('config', 'FILE_FAILED', `The file ${source} changed while it was being published.`)
}

/** The content of the plain file at `path`, which is no link. `opened` is told which file it is. */
async function* chunksOf(
  path: string,
  signal: AbortSignal,
  opened: (identity: string) => void,
): AsyncGenerator<Uint8Array, void, undefined> {
  const file = await open(path, OPEN_FLAGS).catch((error) => unreadable(path, error))
  try {
    const found = await file.stat()
    if (!found.isFile()) unreadable(path, { name: 'Error', message: 'no plain file', code: 'ENOTFILE' })
    opened(`${found.dev}:${found.ino}`)
    for (;;) {
      signal.throwIfAborted()
      const { bytesRead, buffer } = await file
        .read(new Uint8Array(READ_BYTES), 0, READ_BYTES)
        .catch((error) => unreadable(path, error))
      if (bytesRead === 0) return
      yield buffer.subarray(0, bytesRead)
    }
  } finally {
    await file.close()
  }
}

function unreadable(path: string, error: NodeJS.ErrnoException): never {
  throw new OverlayError('config', 'FILE_FAILED', `The file ${path} cannot be read: ${whyDisk(error)}.`, error)
}

/** `path` without links, if it is there. */
async function sameFolder(path: string): Promise<string> {
  return realpath(path).catch(() => resolve(path))
}

/** Whether `path` is `folder` or lies in it. */
function isWithin(folder: string, path: string): boolean {
  return path === folder || path.startsWith(folder.endsWith(sep) ? folder : folder + sep)
}

const NO_CONTENT = new Uint8Array(0)
const GYRE_DATA = { rule: 'gyre-data', severity: 'refused', reason: "this node's data folder, with its keys" } as const

/** One walk. */
class Looking {
  readonly #root: string
  readonly #dataDir: string
  readonly #options: SurveyOptions
  readonly #allowed: ReadonlySet<string>
  readonly #book: ListingBook
  readonly #scanner = new ContentScanner()
  readonly #files: SurveyedFile[] = []
  #bytes = 0

  constructor(root: string, dataDir: string, named: string, options: SurveyOptions) {
    this.#root = root
    this.#dataDir = dataDir
    this.#options = options
    this.#allowed = new Set(options.allow.flatMap((path) => spellingsOf(path, named)))
    this.#book = new ListingBook('survey', { found: SURVEY_FILES_MAX, clean: SURVEY_FILES_MAX })
  }

  read(): Survey {
    return { listing: this.#book.read().listing, files: this.#files }
  }

  /** A file that was named by itself: `path` as it was named, `real` where it lies. */
  async lone(path: string, real: string): Promise<void> {
    const name = basename(path)
    await this.#file(name, real, [...judgePath(name), ...this.#underOtherName(name, real), ...this.inDataDir(name, real)])
  }

  /** All that lies in the folder `real`, shown as `path`. `above`: the folders on the way, against cycles; `known`: what was said of them. */
  async folder(real: string, path: string, above: readonly string[], known: readonly Placed[]): Promise<void> {
    this.#options.signal.throwIfAborted()
    if (above.length > DEPTH_MAX) throw siteBad(`Folders lie more than ${DEPTH_MAX} deep at ${path}.`)
    const entries = await readdir(real, { withFileTypes: true }).catch((error) => unreadable(real, error))
    entries.sort((a, b) => (a.name < b.name ? -1 : 1))
    for (const entry of entries) await this.#entry(entry, real, path === '' ? entry.name : `${path}/${entry.name}`, above, known)
  }

  async #entry(entry: Dirent, folder: string, path: string, above: readonly string[], known: readonly Placed[]): Promise<void> {
    const source = join(folder, entry.name)
    if (entry.isSymbolicLink()) return this.#link(source, path, above, known)
    if (entry.isDirectory()) return this.#enter(source, path, above, [...known, ...nameOf(path, 'folder')])
    const found = [...known, ...nameOf(path, 'file')]
    if (!entry.isFile()) return this.#leaveOut(path, [...found, judgeOdd({ path, odd: oddKind(entry) })])
    return this.#file(path, source, [...found, ...(await this.#size(path, source))])
  }

  async #link(source: string, path: string, above: readonly string[], known: readonly Placed[]): Promise<void> {
    const target = await realpath(source).catch(() => null)
    const found = target === null ? null : await stat(target).catch(() => null)
    if (target === null || found === null) return this.#leaveOut(path, [...known, linkTo(path, 'nothing that can be read')])
    const leaves = !isWithin(this.#root, target)
    const more = [...known, ...(leaves ? [linkTo(path, 'something outside the folder')] : [])]
    if (found.isDirectory()) {
      if (above.includes(target)) return this.#leaveOut(path, [...more, linkTo(path, 'a folder that it lies in')])
      return this.#enter(target, path, above, [...more, ...nameOf(path, 'folder'), ...this.#underOtherName(path, target)])
    }
    if (!found.isFile()) return this.#leaveOut(path, [...more, judgeOdd({ path, odd: oddKind(found) })])
    const judged = [...more, ...nameOf(path, 'file'), ...this.#underOtherName(path, target), ...this.inDataDir(path, target)]
    return this.#file(path, target, [...judged, ...(await this.#size(path, target))])
  }

  /** Goes into a folder, unless there is an objection to it. */
  async #enter(real: string, path: string, above: readonly string[], known: readonly Placed[]): Promise<void> {
    const found = [...known, ...this.inDataDir(path, real)]
    if (found.some((finding) => !this.#isAllowed(finding, path))) return this.#leaveOut(`${path}/`, found)
    return this.folder(real, path, [...above, real], found)
  }

  /** What the name of a link's target says, placed at the link. */
  #underOtherName(path: string, target: string): readonly Placed[] {
    const name = relative(this.#root, target).split(sep)
    const judged = isWithin(this.#root, target) ? judgePath(name.join('/')) : judgePath(basename(target))
    return judged
      .filter(({ where }) => !path.startsWith(where))
      .map((finding) => ({ ...finding, where: path, reason: `${finding.reason} (it is a link)` }))
  }

  /** The objection to what lies in the node's own data folder. */
  inDataDir(path: string, target: string): readonly Placed[] {
    return isWithin(this.#dataDir, target) ? [{ ...GYRE_DATA, where: path }] : []
  }

  async #size(path: string, source: string): Promise<readonly Placed[]> {
    const { size } = await stat(source).catch((error) => unreadable(source, error))
    return judgeSize(path, size, this.#options.fileBytesMax ?? FILE_BYTES_MAX)
  }

  /** Something that does not go out, whatever is allowed. */
  #leaveOut(path: string, found: readonly Placed[]): void {
    this.#book.add(path, 0, found, NO_CONTENT, (finding) => this.#isAllowed(finding, path))
  }

  async #file(path: string, source: string, known: readonly Placed[]): Promise<void> {
    if (this.#files.length >= SURVEY_FILES_MAX) throw siteBad(`There are more than ${SURVEY_FILES_MAX} files.`)
    const { strip, signal } = this.#options
    this.#scanner.reset()
    let read = 0
    let bytes = 0
    let identity = ''
    const opened = (which: string) => {
      identity = which
    }
    const content = counted(chunksOf(source, signal, opened), (length) => {
      read += length
      this.#bytes += length
      this.#options.onProgress?.(this.#files.length, this.#bytes)
    })
    for await (const chunk of strip ? stripped(content) : content) {
      bytes += chunk.length
      this.#scanner.push(chunk)
    }
    const found = [...known, ...placedAt(path, this.#scanner.end())]
    const isAllowed = (finding: Placed) => this.#isAllowed(finding, path)
    if (bytes !== read)
      found.push({ rule: 'stripped', severity: 'note', where: path, reason: `${read - bytes} bytes of metadata taken out` })
    this.#book.add(path, bytes, found, NO_CONTENT, isAllowed)
    const grave = found.filter(({ severity }) => severity !== 'note')
    this.#files.push({ path, source, bytes, identity, allowed: grave.length > 0 && grave.every(isAllowed) })
  }

  #isAllowed({ where }: Placed, path: string): boolean {
    return this.#allowed.has(where) || this.#allowed.has(path.replace(/\/$/, ''))
  }
}

function nameOf(path: string, kind: 'file' | 'folder'): readonly Placed[] {
  const found = judgeName(path.slice(path.lastIndexOf('/') + 1), kind)
  return found === null ? [] : [{ ...found, where: path }]
}

function linkTo(path: string, what: string): Placed {
  return { rule: 'link', severity: 'refused', where: path, reason: `a link to ${what}` }
}

function oddKind(entry: Dirent | Stats): OddEntry['odd'] {
  if (entry.isFIFO()) return 'pipe'
  if (entry.isSocket()) return 'socket'
  return entry.isBlockDevice() || entry.isCharacterDevice() ? 'device' : 'unknown entry'
}

function siteBad(message: string): OverlayError {
  return new OverlayError('config', 'SITE_BAD', message)
}

/** How `path`, given with --allow, may be listed: as it stands, or relative to the published folder or the published file's own. */
function spellingsOf(path: string, named: string): readonly string[] {
  const plain = path
    .split(sep)
    .join('/')
    .replace(/^(\.\/)+/, '')
    .replace(/\/+$/, '')
  const inside = relative(resolve(named), resolve(path)).split(sep).join('/')
  if (inside === '') return [plain, basename(named)]
  return inside.startsWith('../') ? [plain] : [plain, inside]
}

async function* counted(
  content: AsyncIterable<Uint8Array>,
  count: (bytes: number) => void,
): AsyncGenerator<Uint8Array, void, undefined> {
  for await (const chunk of content) {
    count(chunk.length)
    yield chunk
  }
}
