/**
 * The index of one version of a site: which files there are, and where their bytes lie in the site's packs. Codec only. Spec: SPEC.md §12.2.
 *
 * It is the content of a `file` of its own, so its bytes are verified before they come here; but whoever published it may be hostile. The
 * parser is total, bounded and canonical (each index has one spelling), walks the bytes once, in steps, and allocates nothing for extents:
 * an entry is decoded when it is looked up.
 */
import { compareBytes, concat, utf8 } from '../bytes/index.ts'
import { CONTENT_BYTES_MAX } from './constants.ts'
import { isContentType } from './root.ts'
import { BytesReader, BytesWriter } from './varint.ts'

// Specification constants.
/** Content type of the `file` that is an index. */
export const SITE_CONTENT_TYPE = 'application/vnd.gyre.site'
const INDEX_VERSION = 1
export const SITE_INDEX_BYTES_MAX = 32 * 1024 * 1024
export const SITE_FILES_MAX = 65_536
export const SITE_PACKS_MAX = 16
/** UTF-8. */
export const SITE_PATH_BYTES_MAX = 1024
/** All paths together, each whole: what they share is written once, but kept by a reader for each. */
export const SITE_PATHS_BYTES_MAX = 16 * 1024 * 1024
/** Pieces of all files together. */
export const SITE_EXTENTS_MAX = 262_144
/** Different media types in one site. */
export const SITE_TYPES_MAX = 256
/** All files of a site together, as they are read: 256 TiB, so that sums stay exact. */
export const SITE_BYTES_MAX = 2 ** 48
/** Bytes of an entity tag. */
export const SITE_ETAG_BYTES = 16
export const SITE_VERSION_MAX = 2 ** 48
/** DEFLATE makes at most 1,032 bytes of one (RFC 1951: 258 bytes from 2 bits); the index may not state more. */
const GZIP_RATIO_MAX = 1032
const PACK_KEY_BYTES = 32

// Implementation constant.
/** Entries and extents looked at in one step of parsing: under a millisecond. */
const ITEMS_PER_STEP = 1024
/** About what a path costs beside its text, which takes up to two bytes for one of UTF-8. */
const PATH_MEMORY_BYTES = 100

/** How a file is stored. */
export type SiteEncoding = 'identity' | 'gzip'
const ENCODINGS = ['identity', 'gzip'] as const

/** A `file` that holds bytes of the site's files. */
export interface SitePack {
  /** 32 bytes: key material of its address. */
  readonly key: Uint8Array
  readonly bytes: number
}

/** A piece of a file: `length` bytes at `offset` of pack number `pack`. */
export interface SiteExtent {
  readonly pack: number
  readonly offset: number
  readonly length: number
}

export interface SiteIndexEntry {
  readonly path: string
  readonly contentType: string
  readonly encoding: SiteEncoding
  /** Bytes when decoded. For `identity` the sum of the extents. */
  readonly plainBytes: number
  /** 16 bytes. */
  readonly etag: Uint8Array
  /** In order; none for an empty file. */
  readonly extents: Iterable<SiteExtent>
}

export interface SiteIndex {
  /** 1 for the first version of the site. */
  readonly version: number
  readonly packs: readonly SitePack[]
  readonly entries: readonly SiteIndexEntry[]
}

/** Whether `path` may stand in an index: relative, parts that are neither empty nor `.` nor `..`, no control characters. */
export function isSitePath(path: string): boolean {
  if (path.length === 0 || path.length > SITE_PATH_BYTES_MAX || !path.isWellFormed() || /\p{Cc}/u.test(path)) return false
  if (utf8(path).length > SITE_PATH_BYTES_MAX) return false
  return path.split('/').every((part) => part !== '' && part !== '.' && part !== '..')
}

/** Bytes of an entry as stored. */
export function storedBytes({ extents }: Pick<SiteIndexEntry, 'extents'>): number {
  let sum = 0
  for (const { length } of extents) sum += length
  return sum
}

/**
 * The one spelling of an index: entries in order of their paths, packs and types numbered by first use, packs that nothing uses left out,
 * neighbouring extents joined. Throws `RangeError` for what no index may state.
 */
export function encodeSiteIndex({ version, packs, entries }: SiteIndex): Uint8Array {
  const sorted = entries.map((entry) => ({ entry, path: utf8(entry.path) })).sort((a, b) => compareBytes(a.path, b.path))
  const packNumbers = new Map<number, number>()
  const typeNumbers = new Map<string, number>()
  const body = new BytesWriter()
  let previous: Uint8Array = new Uint8Array(0)
  for (const { entry, path } of sorted) {
    if (!isSitePath(entry.path) || !isContentType(entry.contentType)) throw new RangeError('no such entry')
    const shared = sharedPrefix(previous, path)
    body.varint(shared)
    body.varint(path.length - shared)
    body.bytes(path.subarray(shared))
    previous = path
    body.varint(numberOf(typeNumbers, entry.contentType))
    body.varint(ENCODINGS.indexOf(entry.encoding))
    if (entry.encoding === 'gzip') body.varint(entry.plainBytes)
    body.bytes(entry.etag)
    const extents = joined(entry.extents)
    body.varint(extents.length)
    for (const { pack, offset, length } of extents) {
      body.varint(numberOf(packNumbers, pack))
      body.varint(offset)
      body.varint(length)
    }
  }
  const head = new BytesWriter()
  head.varint(INDEX_VERSION)
  head.varint(version)
  head.varint(packNumbers.size)
  for (const pack of packNumbers.keys()) {
    const { key, bytes } = packs[pack] ?? { key: new Uint8Array(0), bytes: 0 }
    head.bytes(key)
    head.varint(bytes)
  }
  head.varint(typeNumbers.size)
  for (const type of typeNumbers.keys()) {
    head.varint(type.length)
    head.bytes(utf8(type))
  }
  head.varint(sorted.length)
  const bytes = concat(head.finish(), body.finish())
  // What is written is what is read: limits and order stand in one place, the parser.
  if (parseSiteIndex(bytes) === null) throw new RangeError('no such index')
  return bytes
}

function numberOf<T>(numbers: Map<T, number>, item: T): number {
  const known = numbers.get(item)
  if (known !== undefined) return known
  numbers.set(item, numbers.size)
  return numbers.size - 1
}

function sharedPrefix(a: Uint8Array, b: Uint8Array): number {
  let shared = 0
  while (shared < a.length && shared < b.length && a[shared] === b[shared]) shared++
  return shared
}

/** `extents` with those joined that continue each other. */
function joined(extents: Iterable<SiteExtent>): SiteExtent[] {
  const result: SiteExtent[] = []
  for (const extent of extents) {
    const last = result.at(-1)
    if (last !== undefined && last.pack === extent.pack && last.offset + last.length === extent.offset) {
      result[result.length - 1] = { ...last, length: last.length + extent.length }
    } else {
      result.push(extent)
    }
  }
  return result
}

/** The index that `bytes` spell, or `null`. Keeps a reference to `bytes`, which must not change. */
export function parseSiteIndex(bytes: Uint8Array): ParsedSiteIndex | null {
  const steps = parseSiteIndexInSteps(bytes)
  for (;;) {
    const step = steps.next()
    if (step.done === true) return step.value
  }
}

/** `parseSiteIndex` in short steps, between which a caller lets others work. */
export function* parseSiteIndexInSteps(bytes: Uint8Array): Generator<void, ParsedSiteIndex | null, void> {
  if (bytes.length > SITE_INDEX_BYTES_MAX) return null
  const reader = new BytesReader(bytes)
  if (reader.varint(INDEX_VERSION) !== INDEX_VERSION) return null
  const version = reader.varint(SITE_VERSION_MAX)
  if (version === null || version === 0) return null
  const packs = readPacks(reader)
  const types = packs === null ? null : readTypes(reader)
  const files = types === null ? null : reader.varint(SITE_FILES_MAX)
  if (packs === null || types === null || files === null) return null
  const places = new Map<string, number>()
  const walk = { typesUsed: 0, packsUsed: 0 }
  let path: Uint8Array = new Uint8Array(0)
  let total = 0
  let items = 0
  let pathBytes = 0
  let extentsLeft = SITE_EXTENTS_MAX
  for (let file = 0; file < files; file++) {
    const next = readPath(reader, path, file === 0)
    if (next === null) return null
    pathBytes += next.length
    if (pathBytes > SITE_PATHS_BYTES_MAX) return null
    const text = pathText(next)
    if (text === null) return null
    path = next
    places.set(text, reader.at)
    const head = readHead(reader, extentsLeft)
    if (head === null || head.type > walk.typesUsed || head.type >= types.length) return null
    walk.typesUsed = Math.max(walk.typesUsed, head.type + 1)
    extentsLeft -= head.extents
    let stored = 0
    let last: SiteExtent | null = null
    for (let index = 0; index < head.extents; index++) {
      const extent = readExtent(reader)
      if (extent === null || extent.pack > walk.packsUsed || extent.pack >= packs.length) return null
      walk.packsUsed = Math.max(walk.packsUsed, extent.pack + 1)
      if (extent.offset + extent.length > packs[extent.pack]!.bytes) return null
      if (last !== null && last.pack === extent.pack && last.offset + last.length === extent.offset) return null
      last = extent
      stored += extent.length
      if (stored > CONTENT_BYTES_MAX) return null
      if (++items % ITEMS_PER_STEP === 0) yield
    }
    if (head.plainBytes !== null && (stored === 0 || head.plainBytes > stored * GZIP_RATIO_MAX)) return null
    total += head.plainBytes ?? stored
    if (total > SITE_BYTES_MAX) return null
    if (++items % ITEMS_PER_STEP === 0) yield
  }
  if (!reader.ended || walk.packsUsed !== packs.length || walk.typesUsed !== types.length) return null
  return new ParsedSiteIndex(bytes, { version, packs, types, places, bytes: total, pathBytes })
}

function readPacks(reader: BytesReader): SitePack[] | null {
  const count = reader.varint(SITE_PACKS_MAX)
  if (count === null) return null
  const packs: SitePack[] = []
  for (let pack = 0; pack < count; pack++) {
    const key = reader.bytes(PACK_KEY_BYTES)
    const bytes = reader.varint(CONTENT_BYTES_MAX)
    if (key === null || bytes === null || packs.some((other) => compareBytes(other.key, key) === 0)) return null
    packs.push({ key: key.slice(), bytes })
  }
  return packs
}

function readTypes(reader: BytesReader): string[] | null {
  const count = reader.varint(SITE_TYPES_MAX)
  if (count === null) return null
  const types: string[] = []
  for (let type = 0; type < count; type++) {
    const length = reader.varint(255)
    const bytes = length === null ? null : reader.bytes(length)
    if (bytes === null) return null
    const text = String.fromCharCode(...bytes)
    if (!isContentType(text) || types.includes(text)) return null
    types.push(text)
  }
  return types
}

/** The bytes of the next path: longer than none, above the one before, and sharing with it exactly what it says. */
function readPath(reader: BytesReader, previous: Uint8Array, first: boolean): Uint8Array | null {
  const shared = reader.varint(previous.length)
  const length = shared === null ? null : reader.varint(SITE_PATH_BYTES_MAX - shared)
  const rest = length === null ? null : reader.bytes(length)
  if (shared === null || rest === null) return null
  if (!first && (rest.length === 0 || (shared < previous.length && rest[0]! <= previous[shared]!))) return null
  return concat(previous.subarray(0, shared), rest)
}

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

function pathText(bytes: Uint8Array): string | null {
  try {
    const text = decoder.decode(bytes)
    return isSitePath(text) ? text : null
  } catch {
    return null
  }
}

interface EntryHead {
  readonly type: number
  /** `null`: stored as it is read. */
  readonly plainBytes: number | null
  readonly etag: Uint8Array
  readonly extents: number
}

function readHead(reader: BytesReader, extentsMost = SITE_EXTENTS_MAX): EntryHead | null {
  const type = reader.varint(SITE_TYPES_MAX - 1)
  const encoding = reader.varint(ENCODINGS.length - 1)
  if (type === null || encoding === null) return null
  const plainBytes = ENCODINGS[encoding] === 'gzip' ? reader.varint(CONTENT_BYTES_MAX) : null
  if (ENCODINGS[encoding] === 'gzip' && plainBytes === null) return null
  const etag = reader.bytes(SITE_ETAG_BYTES)
  const extents = etag === null ? null : reader.varint(extentsMost)
  return etag === null || extents === null ? null : { type, plainBytes, etag, extents }
}

function readExtent(reader: BytesReader): SiteExtent | null {
  const pack = reader.varint(SITE_PACKS_MAX - 1)
  const offset = pack === null ? null : reader.varint(CONTENT_BYTES_MAX)
  const length = offset === null ? null : reader.varint(CONTENT_BYTES_MAX)
  return pack === null || offset === null || length === null || length === 0 ? null : { pack, offset, length }
}

function* extentsAt(encoded: Uint8Array, at: number, count: number): Generator<SiteExtent> {
  const reader = new BytesReader(encoded, at)
  for (let index = 0; index < count; index++) yield readExtent(reader)!
}

interface IndexParts {
  readonly version: number
  readonly packs: readonly SitePack[]
  readonly types: readonly string[]
  /** Where an entry's bytes after its path begin. */
  readonly places: ReadonlyMap<string, number>
  readonly bytes: number
  readonly pathBytes: number
}

/** A parsed index. Holds its bytes and, for each path, a number. */
export class ParsedSiteIndex {
  readonly version: number
  readonly packs: readonly SitePack[]
  /** All files together, decoded. */
  readonly bytes: number
  /** About what it holds in memory. */
  readonly memoryBytes: number
  readonly #encoded: Uint8Array
  readonly #types: readonly string[]
  readonly #places: ReadonlyMap<string, number>

  constructor(encoded: Uint8Array, { version, packs, types, places, bytes, pathBytes }: IndexParts) {
    this.#encoded = encoded
    this.version = version
    this.packs = packs
    this.bytes = bytes
    this.memoryBytes = encoded.length + 2 * pathBytes + PATH_MEMORY_BYTES * places.size
    this.#types = types
    this.#places = places
  }

  /** Files. */
  get files(): number {
    return this.#places.size
  }

  /** In the order of the index: that of their bytes. */
  paths(): IterableIterator<string> {
    return this.#places.keys()
  }

  has(path: string): boolean {
    return this.#places.has(path)
  }

  entry(path: string): SiteIndexEntry | null {
    const at = this.#places.get(path)
    if (at === undefined) return null
    const encoded = this.#encoded
    const reader = new BytesReader(encoded, at)
    const head = readHead(reader)!
    const extents = { [Symbol.iterator]: () => extentsAt(encoded, reader.at, head.extents) }
    return {
      path,
      contentType: this.#types[head.type]!,
      encoding: head.plainBytes === null ? 'identity' : 'gzip',
      plainBytes: head.plainBytes ?? storedBytes({ extents }),
      etag: head.etag.slice(),
      extents,
    }
  }
}
