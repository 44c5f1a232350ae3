/**
 * `gyre publish PATH`: a file, standard input, or a folder as a site at a key. What would go out is looked through first, on this machine,
 * and shown; nothing leaves while the guard objects. Prints the address, alone, when the network has it.
 *
 * A file becomes a `file` under an address of its own; with --key, and for a folder, it becomes a site at that key's stable address. A
 * folder without --key is the site of a key named after it.
 */
import { stat } from 'node:fs/promises'
import { basename, resolve } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { type Headers, pack } from 'tar-stream'
import { loadConfig, parseBytes } from '../../src/config/index.ts'
import { systemClock } from '../../src/runtime/index.ts'
import {
  contentOf,
  GuardObjection,
  type ListedFile,
  type Listing,
  type Survey,
  type SurveyedFile,
  survey,
} from '../guard/index.ts'
import { isKeyName } from '../keys/book.ts'
import type { Publication, SitePublication } from '../library.ts'
import { mediaTypeOf } from '../sites/media-types.ts'
import { clockHeader, findNode, type NodeAt, type NodeChoice, present } from './api-client.ts'
import { receiptText } from './keeps.ts'
import { countOf, EXIT, formatBytes, listingTable, Progress, print, UsageError } from './output.ts'
import { upload } from './upload.ts'

export interface PublishFlags extends NodeChoice {
  readonly name?: string | undefined
  readonly type?: string | undefined
  readonly key?: string | undefined
  readonly allow?: readonly string[] | undefined
  readonly strip?: boolean | undefined
  readonly dryRun?: boolean | undefined
  readonly maxFile?: string | undefined
  /** `false`: the node does not keep a single file. Sites are always kept. */
  readonly keep?: boolean | undefined
  /** The clock of a single file, if it is not the node's. */
  readonly clock?: string | undefined
  readonly json?: boolean | undefined
}

const PROGRESS_MS = 200
/** The media type of a tar. */
const TAR = 'application/x-tar'

/** Publishes `path` (`-`: standard input). Errors: `FILE_FAILED`, `GuardObjection`, those of the API. */
export async function publish(path: string, flags: PublishFlags, signal: AbortSignal): Promise<void> {
  if (path === '-') return publishInput(flags, signal)
  const key = flags.key === undefined ? undefined : keyOf(flags.key)
  if (key !== undefined && (flags.name ?? flags.type) !== undefined)
    throw new UsageError('--name and --type are for a single file, --key is for a site: one or the other.')
  const node = flags.dryRun === true ? null : findNode(flags, process.env)
  const looked = await look(path, node?.dataDir ?? dataDirOf(flags), flags, signal)
  const isFolder = (await stat(path).catch(() => null))?.isDirectory() === true
  if (isFolder && looked.files.length === 0 && looked.listing.objections === 0)
    throw new UsageError('There is no file in the folder.', 'Put into it what is to be published.')
  if (node === null) return tell(looked.listing, flags)
  if (looked.listing.objections > 0) throw new GuardObjection(looked.listing, '')
  if (!isFolder && key === undefined) return publishFile(node, looked, flags, signal)
  if (isFolder && key === undefined && (flags.name ?? flags.type) !== undefined)
    throw new UsageError('--name and --type are for a single file.')
  if (flags.clock !== undefined)
    throw new UsageError('--clock is for a single file: a site is published with the clock of its node.')
  return publishSite(node, looked, key ?? keyNamedAfter(path), isFolder, flags, signal)
}

function dataDirOf(flags: PublishFlags): string {
  return loadConfig({ flags: present({ 'data-dir': flags.dataDir, config: flags.config }), env: process.env }).dataDir
}

/** Looks through what is at `path`, with progress. */
async function look(path: string, dataDir: string, flags: PublishFlags, signal: AbortSignal): Promise<Survey> {
  const progress = new Progress()
  let shownAt = 0
  const onProgress = (files: number, bytes: number) => {
    const now = systemClock.monotonicMs()
    if (now - shownAt < PROGRESS_MS) return
    shownAt = now
    progress.show(`looking through: ${countOf(files, 'file')}, ${formatBytes(bytes)}`)
  }
  const fileBytesMax = flags.maxFile === undefined ? undefined : sizeOf(flags.maxFile)
  const { allow = [], strip = false } = flags
  try {
    return await survey(path, { allow, strip, fileBytesMax, dataDir, signal, onProgress })
  } finally {
    progress.clear()
  }
}

function sizeOf(text: string): number {
  try {
    return parseBytes(text)
  } catch {
    throw new UsageError('--max-file takes a size such as 500MB or 2GiB.')
  }
}

/** The answer to --dry-run: everything that would go out; exit code 2 if the guard objects. */
async function tell(listing: Listing, { json }: PublishFlags): Promise<void> {
  await print(json === true ? `${JSON.stringify({ listing })}\n` : listingTable(listing.files, listing))
  if (listing.objections === 0) return
  process.exitCode = EXIT.usage
  if (json !== true) process.stderr.write(`gyre: ${new GuardObjection(listing, '').message} Nothing was sent.\n`)
}

/** Shows people what goes out, before it does. */
function show(listing: Listing): void {
  if (process.stderr.isTTY) process.stderr.write(listingTable(listing.files, listing))
}

async function publishFile(node: NodeAt, looked: Survey, flags: PublishFlags, signal: AbortSignal): Promise<void> {
  const file = looked.files[0]!
  show(looked.listing)
  const name = flags.name ?? file.path
  const sent = {
    path: `/v1/publish?name=${encodeURIComponent(name)}${flags.keep === false ? '&keep=false' : ''}`,
    headers: { 'Content-Type': typeOf(flags, name), 'Content-Length': file.bytes, ...clockHeader(flags) },
    bytes: file.bytes,
    body: file.bytes === 0 ? null : () => Readable.from(contentOf(file, flags.strip === true, signal), { objectMode: false }),
    // The node judges by the name that is kept inside, which may be another one.
    isAllowed: () => file.allowed || (flags.allow ?? []).includes(name),
    what: file.source,
  }
  await tellPublication(await upload<Publication>(node, sent, signal), flags)
}

async function publishInput(flags: PublishFlags, signal: AbortSignal): Promise<void> {
  if (flags.key !== undefined || flags.dryRun === true || flags.strip === true || flags.allow !== undefined)
    throw new UsageError('Standard input passes once: --key, --allow, --strip and --dry-run need a file or folder.')
  const { name } = flags
  const sent = {
    path: `/v1/publish?keep=${flags.keep !== false}${name === undefined ? '' : `&name=${encodeURIComponent(name)}`}`,
    headers: { 'Content-Type': typeOf(flags, name), 'Transfer-Encoding': 'chunked', ...clockHeader(flags) },
    bytes: null,
    body: () => process.stdin,
    isAllowed: () => false,
    what: 'standard input',
  }
  await tellPublication(await upload<Publication>(findNode(flags, process.env), sent, signal), flags)
}

function typeOf({ type }: PublishFlags, name: string | undefined): string {
  const found = type ?? (name === undefined ? 'application/octet-stream' : mediaTypeOf(name))
  if (/[^\x20-\x7e]/.test(found)) throw new UsageError('--type takes a media type such as text/plain.')
  return found
}

async function tellPublication(publication: Publication, { json }: PublishFlags): Promise<void> {
  await print(json === true ? `${JSON.stringify(publication)}\n` : `${publication.address}\n`)
  if (!process.stderr.isTTY || json === true) return
  process.stderr.write(
    `${formatBytes(publication.bytes)} in ${countOf(publication.shares, 'share')} on ${countOf(publication.holders, 'node')}\n`,
  )
  process.stderr.write(`${receiptText(publication.receipt)}\n`)
}

async function publishSite(
  node: NodeAt,
  looked: Survey,
  key: string,
  isFolder: boolean,
  flags: PublishFlags,
  signal: AbortSignal,
): Promise<void> {
  show(looked.listing)
  // What the node will ask about goes first: then it asks before anything has left.
  const files = looked.files.map((file) => (isFolder ? file : { ...file, path: pageOf(file.path) })).sort(allowedFirst)
  const allowed = new Set(files.filter((file) => file.allowed).map(({ path }) => path))
  const sent = {
    path: `/v1/sites?key=${encodeURIComponent(key)}`,
    headers: { 'Content-Type': TAR, 'Transfer-Encoding': 'chunked' },
    bytes: looked.listing.total.bytes,
    body: () => tarOf(files, flags.strip === true, signal),
    // The length was judged here, by the user's own limit.
    isAllowed: ({ path, findings }: ListedFile) =>
      allowed.has(path) || findings.every(({ rule, severity }) => severity === 'note' || rule === 'large'),
    what: 'the folder',
  }
  const site = await upload<SitePublication>(node, sent, signal)
  await print(flags.json === true ? `${JSON.stringify({ ...site, key })}\n` : `${site.address}\n`)
  if (flags.json === true) return
  if (!files.some(({ path }) => path === 'index.html'))
    process.stderr.write(
      `gyre: there is no index.html, so http://${site.address}.gyre/ shows "Not Found"; the paths below it work.\n`,
    )
  const added = site.uploaded === undefined ? '' : `, ${formatBytes(site.uploaded)} of it new`
  if (process.stderr.isTTY) {
    process.stderr.write(
      `version ${site.version} of key "${key}": ${countOf(files.length, 'file')}, ${formatBytes(site.bytes)}${added}\n`,
    )
    process.stderr.write(`${receiptText(site.receipt)}\n`)
  }
}

/** A file that is a site by itself: a page is its first page. */
function pageOf(path: string): string {
  return /\.html?$/i.test(path) ? 'index.html' : path
}

function allowedFirst(a: SurveyedFile, b: SurveyedFile): number {
  return Number(b.allowed) - Number(a.allowed)
}

/** The files as a tar that says nothing of this machine: no owner, no times, no modes. */
function tarOf(files: readonly SurveyedFile[], strip: boolean, signal: AbortSignal): Readable {
  const tar = pack()
  const fill = async () => {
    for (const file of files) {
      const header: Headers = { name: file.path, size: file.bytes, mode: 0o644, mtime: new Date(0), type: 'file' }
      await pipeline(Readable.from(contentOf(file, strip, signal), { objectMode: false }), tar.entry(header))
    }
    tar.finalize()
  }
  fill().catch((error) => tar.destroy(error))
  return tar
}

function keyOf(name: string): string {
  if (isKeyName(name)) return name
  throw new UsageError('--key takes a name of 1 to 32 lower case letters, digits and hyphens, with no hyphen at either end.')
}

/** The name of the key that stands for the folder at `path`. */
function keyNamedAfter(path: string): string {
  const name = basename(resolve(path))
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .slice(0, 32)
    .replaceAll(/^-+|-+$/g, '')
  if (isKeyName(name)) return name
  throw new UsageError('No key can be named after this folder.', 'Give one with --key NAME.')
}
