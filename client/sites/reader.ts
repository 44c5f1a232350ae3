/**
 * One version of a site, opened for reading: finds what a path means, and reads files out of packs, which are opened when they are first
 * needed. Spec: SPEC.md §12.3. Everything that leaves here was verified by the `file` that it came from.
 *
 * A page is many small files that lie together in a pack: pieces of up to `CACHED_SPAN_BLOCKS` blocks go through a small cache of whole
 * blocks, so that thirty small files cost one fetch and not thirty. Longer ones are streamed past it. Memory: index, cache (2 MiB), and
 * `AHEAD_PIECES` pieces for each read.
 */
import { toHex } from '../../src/bytes/index.ts'
import { formatFileAddress } from '../../src/content/address.ts'
import { SHARE_BYTES } from '../../src/content/constants.ts'
import {
  type ParsedSiteIndex,
  parseSiteIndexInSteps,
  SITE_CONTENT_TYPE,
  SITE_INDEX_BYTES_MAX,
  type SiteExtent,
  type SiteIndexEntry,
  storedBytes,
} from '../../src/content/site-index.ts'
import { OverlayError } from '../../src/errors/index.ts'
import { type Clock, laterTurn } from '../../src/runtime/index.ts'
import type { Asking, ByteRange, FetchCounters, Library, OpenedFile, OpenedSite, SiteEntry, SiteLookup } from '../library.ts'
import { JoinedWork } from './joined.ts'

// Implementation constants.
/** Pieces that touch at most so many blocks of a pack are read through the cache. */
const CACHED_SPAN_BLOCKS = 4
/** Blocks kept for each opened site, the one used longest ago goes: 2 MiB. */
const BLOCKS_KEPT = 32
/** Pieces of one read under way at once: a file that changed often lies in many. */
const AHEAD_PIECES = 6

export interface SiteParts {
  /** Opens a pack; remembers it, as `NodeFace.open` does. */
  readonly open: Library['open']
  readonly clock: Clock
  /** Under which name packs are opened and read. */
  readonly isolation: string
}

interface Counting {
  asked: number
  received: number
  bad: number
}

export interface ReadableSite extends OpenedSite {
  /** What it holds in memory besides its cache. */
  readonly indexBytes: number
}

/** Whether an opened file is the index of a site. */
export function isSiteIndex(file: OpenedFile): boolean {
  return file.contentType === SITE_CONTENT_TYPE
}

/**
 * Opens the version of a site whose index is `file`. Errors: those of reading; `CONTENT_DAMAGED` if it is no index: its publisher made it so,
 * for its bytes are right.
 */
export async function openSite(file: OpenedFile, parts: SiteParts, { signal, trace }: Asking): Promise<ReadableSite> {
  const end = trace?.stage('index')
  try {
    return new SiteVersion(file.address, await readSiteIndex(file, parts.clock, signal), parts)
  } finally {
    end?.()
  }
}

/** The index that `file` is. Errors: as `openSite`. */
export async function readSiteIndex(file: OpenedFile, clock: Clock, signal: AbortSignal): Promise<ParsedSiteIndex> {
  if (!isSiteIndex(file) || file.bytes > SITE_INDEX_BYTES_MAX) throw noIndex()
  const bytes = new Uint8Array(file.bytes)
  let at = 0
  for await (const chunk of file.read({ start: 0, end: file.bytes }, { signal })) {
    bytes.set(chunk, at)
    at += chunk.length
  }
  return (await parseInTurns(bytes, clock, signal)) ?? noIndex()
}

function noIndex(): never {
  throw new OverlayError('integrity', 'CONTENT_DAMAGED', 'What the address names as a site is none.')
}

async function parseInTurns(bytes: Uint8Array, clock: Clock, signal: AbortSignal): Promise<ParsedSiteIndex | null> {
  const steps = parseSiteIndexInSteps(bytes)
  for (let step = steps.next(); ; step = steps.next()) {
    if (step.done === true) return step.value
    await laterTurn(clock)
    signal.throwIfAborted()
  }
}

class SiteVersion implements ReadableSite {
  readonly address: string
  readonly version: number
  readonly bytes: number
  readonly files: number
  readonly indexBytes: number
  readonly #index: ParsedSiteIndex
  readonly #parts: SiteParts
  readonly #opening = new JoinedWork<OpenedFile>()
  readonly #fetching = new JoinedWork<Uint8Array>()
  /** Blocks of packs by `pack:block`, the one used longest ago first. */
  readonly #blocks = new Map<string, Uint8Array>()

  constructor(address: string, index: ParsedSiteIndex, parts: SiteParts) {
    this.address = address
    this.version = index.version
    this.bytes = index.bytes
    this.files = index.files
    this.indexBytes = index.memoryBytes
    this.#index = index
    this.#parts = parts
  }

  lookUp(path: string): SiteLookup {
    const inner = path.startsWith('/') ? path.slice(1) : path
    const name = inner === '' || inner.endsWith('/') ? `${inner}index.html` : inner
    const found = this.#index.entry(name)
    if (found !== null) return { kind: 'entry', entry: this.#entryOf(found) }
    if (name === inner && this.#index.has(`${inner}/index.html`)) return { kind: 'redirect', location: `/${inner}/` }
    const page = this.#index.entry('404.html')
    return { kind: 'missing', page: page === null ? null : this.#entryOf(page) }
  }

  #entryOf(found: SiteIndexEntry): SiteEntry {
    const bytes = storedBytes(found)
    const { path, plainBytes, contentType, encoding, extents, etag } = found
    return {
      path,
      bytes,
      plainBytes,
      contentType,
      encoding,
      etag: `"${toHex(etag)}"`,
      read: (range, asking) => {
        if (!(range.start >= 0 && range.start <= range.end && range.end <= bytes)) {
          throw new RangeError(`no range ${range.start} to ${range.end} in ${bytes} bytes`)
        }
        const counters: Counting = { asked: 0, received: 0, bad: 0 }
        return {
          counters,
          [Symbol.asyncIterator]: () => this.#read(piecesOf(extents, range), asking, counters),
        }
      },
    }
  }

  /** The bytes of `pieces` in order. Small ones are asked for ahead, long ones when it is their turn. */
  async *#read(pieces: Iterator<SiteExtent>, asking: Asking, counters: Counting): AsyncGenerator<Uint8Array, void, undefined> {
    const ending = new AbortController()
    const both = { ...asking, signal: AbortSignal.any([asking.signal, ending.signal]) }
    const window: (readonly [SiteExtent, Promise<readonly Uint8Array[]> | null])[] = []
    let ended = false
    const fill = () => {
      while (!ended && window.length < AHEAD_PIECES && window.at(-1)?.[1] !== null) {
        const next = pieces.next()
        if (next.done === true) {
          ended = true
          return
        }
        const small = isSmall(next.value) ? this.#small(next.value, both, counters) : null
        small?.catch(() => {}) // seen when it is this piece's turn
        window.push([next.value, small])
      }
    }
    try {
      for (fill(); window.length > 0; fill()) {
        const [piece, small] = window.shift()!
        if (small !== null) yield* await small
        else yield* this.#long(piece, both, counters)
      }
    } finally {
      ending.abort()
    }
  }

  /** A piece of few blocks, through the cache. */
  async #small({ pack, offset, length }: SiteExtent, asking: Asking, counters: Counting): Promise<readonly Uint8Array[]> {
    const first = Math.floor(offset / SHARE_BYTES)
    const last = Math.floor((offset + length - 1) / SHARE_BYTES)
    const numbers = Array.from({ length: last - first + 1 }, (_, index) => first + index)
    const blocks = await Promise.all(numbers.map((block) => this.#block(pack, block, asking, counters)))
    return blocks.map((bytes, index) => {
      const start = (first + index) * SHARE_BYTES
      return bytes.subarray(Math.max(0, offset - start), Math.min(SHARE_BYTES, offset + length - start))
    })
  }

  /** A whole block of a pack, from the cache or by one fetch, however many wait for it. */
  async #block(pack: number, block: number, asking: Asking, counters: Counting): Promise<Uint8Array> {
    const name = `${pack}:${block}`
    const kept = this.#blocks.get(name)
    if (kept !== undefined) {
      this.#blocks.delete(name)
      this.#blocks.set(name, kept)
      return kept
    }
    return this.#fetching.join(name, asking.signal, async (signal) => {
      const start = block * SHARE_BYTES
      const length = Math.min(SHARE_BYTES, this.#index.packs[pack]!.bytes - start)
      const bytes = new Uint8Array(length)
      let at = 0
      for await (const chunk of this.#long({ pack, offset: start, length }, { ...asking, signal }, counters)) {
        bytes.set(chunk, at)
        at += chunk.length
      }
      this.#blocks.set(name, bytes)
      if (this.#blocks.size > BLOCKS_KEPT) this.#blocks.delete(this.#blocks.keys().next().value!)
      return bytes
    })
  }

  /** A piece as it comes. */
  async *#long(
    { pack, offset, length }: SiteExtent,
    asking: Asking,
    counters: Counting,
  ): AsyncGenerator<Uint8Array, void, undefined> {
    const file = await this.#pack(pack, asking)
    const source = file.read({ start: offset, end: offset + length }, this.#under(asking))
    const seen: Counting = { asked: 0, received: 0, bad: 0 }
    const count = () => addTo(counters, source.counters, seen)
    try {
      for await (const chunk of source) {
        count()
        yield chunk
      }
    } finally {
      count()
    }
  }

  /** A pack, opened. The node remembers what it opened lately, so that nothing is kept here. */
  #pack(number: number, asking: Asking): Promise<OpenedFile> {
    const { key, bytes } = this.#index.packs[number]!
    return this.#opening.join(String(number), asking.signal, async (signal) => {
      const file = await this.#parts.open(formatFileAddress(key), { ...this.#under(asking), signal })
      if (file.bytes === bytes) return file
      throw new OverlayError('integrity', 'CONTENT_DAMAGED', 'A part of the site is not what its index says.')
    })
  }

  /** Whoever asks: what an isolation opened is read under that isolation. */
  #under(asking: Asking): Asking {
    return { ...asking, isolation: this.#parts.isolation }
  }
}

function isSmall({ offset, length }: SiteExtent): boolean {
  return Math.floor((offset + length - 1) / SHARE_BYTES) - Math.floor(offset / SHARE_BYTES) < CACHED_SPAN_BLOCKS
}

/** The parts of `extents` that hold bytes `range` of what they hold together. */
function* piecesOf(extents: Iterable<SiteExtent>, { start, end }: ByteRange): Generator<SiteExtent, void, undefined> {
  let at = 0
  for (const { pack, offset, length } of extents) {
    if (at >= end) return
    const from = Math.max(0, start - at)
    const to = Math.min(length, end - at)
    if (from < to) yield { pack, offset: offset + from, length: to - from }
    at += length
  }
}

/** Adds to `sum` what `now` grew by since `seen`. */
function addTo(sum: Counting, now: FetchCounters, seen: Counting): void {
  for (const name of ['asked', 'received', 'bad'] as const) {
    sum[name] += now[name] - seen[name]
    seen[name] = now[name]
  }
}
