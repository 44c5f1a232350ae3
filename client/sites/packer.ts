/**
 * Turns the files of a site into the entries of its index and the bytes of one new pack. Each file is cut into blocks (`slices.ts`); a block
 * that this version or an earlier one has is referred to, any other is appended to the new pack. Spec: SPEC.md §12.1. No I/O of its own.
 *
 * Stages of a block: slice of the file → (compressed) → keyed hash → known: its place; new: out to the pack, and remembered.
 *
 * Memory does not depend on the length of files: one slice, what the table holds (37 bytes a block) and the entries, whose number is bounded.
 */
import { utf8 } from '../../src/bytes/index.ts'
import { CONTENT_BYTES_MAX } from '../../src/content/constants.ts'
import {
  isSitePath,
  SITE_ETAG_BYTES,
  SITE_EXTENTS_MAX,
  SITE_FILES_MAX,
  SITE_PATH_BYTES_MAX,
  SITE_PATHS_BYTES_MAX,
  SITE_TYPES_MAX,
  type SiteEncoding,
  type SiteExtent,
  type SiteIndexEntry,
} from '../../src/content/site-index.ts'
import { taggedHash } from '../../src/crypto/index.ts'
import { OverlayError } from '../../src/errors/index.ts'
import type { SiteFile } from '../library.ts'
import type { BlockTable } from './block-table.ts'
import { DEFAULT_MEDIA_TYPE, mediaTypeOf } from './media-types.ts'
import { GzipMember, slicesOf, tryGzip } from './slices.ts'

const LABEL_BLOCK = 'gyre/1 site block'
const LABEL_ETAG = 'gyre/1 site file'

// Implementation constants.
/** From this many pieces on nothing more is referred to, so that the index does not outgrow its limit: the rest is uploaded in one piece. */
const REUSE_EXTENTS_MAX = SITE_EXTENTS_MAX / 2

export interface PackerParts {
  /** Blocks that may be referred to; new ones are added. */
  readonly table: BlockTable
  /** 32 bytes, secret: keys the hashes of blocks and the entity tags of this site. */
  readonly secret: Uint8Array
  /** Number of the pack that is being made. */
  readonly newPack: number
  /** Told of every slice's plaintext bytes. */
  readonly onBytes?: (bytes: number) => void
  readonly signal: AbortSignal
}

export class SitePacker {
  readonly #parts: PackerParts
  readonly #entries = new Map<string, SiteIndexEntry>()
  readonly #types = new Set<string>()
  #plainBytes = 0
  #packBytes = 0
  #forgottenBytes = 0
  #extents = 0
  #pathBytes = 0

  constructor(parts: PackerParts) {
    this.#parts = parts
  }

  /** What was packed so far. */
  get entries(): readonly SiteIndexEntry[] {
    return [...this.#entries.values()]
  }

  /** All files together, as their readers see them. */
  get plainBytes(): number {
    return this.#plainBytes
  }

  /** Bytes of the new pack. */
  get packBytes(): number {
    return this.#packBytes
  }

  /** Bytes of the new pack that the table had no room for: in use, but not to be referred to by later versions. */
  get forgottenBytes(): number {
    return this.#forgottenBytes
  }

  /**
   * Takes the files, once. Yields the bytes of the new pack in order, as views that are good until the next is asked for; ends when the last
   * file is packed. Errors: `SITE_BAD`, `CONFIG_BAD` (too many bytes), the signal's reason, those of the files.
   */
  async *pack(files: AsyncIterable<SiteFile>): AsyncGenerator<Uint8Array, void, undefined> {
    for await (const file of files) {
      this.#parts.signal.throwIfAborted()
      this.#admit(file)
      yield* this.#packFile(file)
    }
    this.#refuseFilesUnderFiles()
  }

  #admit({ path, bytes }: SiteFile): void {
    const said = JSON.stringify(path.slice(0, 200))
    if (!isSitePath(path)) {
      throw bad(
        `The path ${said} is not one: relative, at most ${SITE_PATH_BYTES_MAX} bytes of UTF-8, no "..", no control character.`,
      )
    }
    if (this.#entries.has(path)) throw bad(`The path ${said} stands there twice.`)
    if (this.#entries.size >= SITE_FILES_MAX) throw bad(`A site has at most ${SITE_FILES_MAX} files.`)
    if (!Number.isSafeInteger(bytes) || bytes < 0 || bytes > CONTENT_BYTES_MAX) throw bad(`The length of ${said} is not one.`)
    this.#pathBytes += utf8(path).length
    if (this.#pathBytes > SITE_PATHS_BYTES_MAX)
      throw bad(`The paths of a site have at most ${SITE_PATHS_BYTES_MAX} bytes together.`)
  }

  async *#packFile(file: SiteFile): AsyncGenerator<Uint8Array, void, undefined> {
    const { signal, onBytes } = this.#parts
    const extents: SiteExtent[] = []
    let tag = taggedHash(LABEL_ETAG, this.#parts.secret)
    let contentType: string | null = null
    let gzip: GzipMember | null = null
    const place = (block: Uint8Array): boolean => {
      const hash = taggedHash(LABEL_BLOCK, this.#parts.secret, block)
      tag = taggedHash(LABEL_ETAG, tag, hash)
      return this.#place(block, hash, extents)
    }
    for await (const slice of slicesOf(file)) {
      signal.throwIfAborted()
      let block: Uint8Array = slice
      if (contentType === null) {
        contentType = this.#typeOf(file.path, slice)
        const packed = await tryGzip(contentType, file.bytes, slice)
        if (packed !== null) {
          gzip = new GzipMember(file.bytes)
          block = await gzip.block(slice, packed)
        }
      } else if (gzip !== null) {
        block = await gzip.block(slice)
      }
      if (place(block)) yield block
      this.#plainBytes += slice.length
      onBytes?.(slice.length)
    }
    if (gzip !== null) {
      const end = gzip.end()
      if (place(end)) yield end
    }
    this.#extents += extents.length
    const encoding: SiteEncoding = gzip === null ? 'identity' : 'gzip'
    const etag = taggedHash(LABEL_ETAG, tag, utf8(encoding)).slice(0, SITE_ETAG_BYTES)
    contentType ??= this.#typeOf(file.path, new Uint8Array(0))
    this.#entries.set(file.path, { path: file.path, contentType, encoding, plainBytes: file.bytes, etag, extents })
  }

  /** Adds the place of `block` to `extents`. `true`: it is new, and belongs into the pack. */
  #place(block: Uint8Array, hash: Uint8Array, extents: SiteExtent[]): boolean {
    const { table, newPack } = this.#parts
    const known = this.#extents + extents.length < REUSE_EXTENTS_MAX ? table.use(hash) : null
    const found = known ?? { pack: newPack, offset: this.#packBytes, length: block.length }
    const last = extents.at(-1)
    if (last !== undefined && last.pack === found.pack && last.offset + last.length === found.offset) {
      extents[extents.length - 1] = { ...last, length: last.length + found.length }
    } else {
      extents.push(found)
    }
    if (known !== null) return false
    if (this.#packBytes + block.length > CONTENT_BYTES_MAX) throw bad('A site has at most 16 TiB of new content at once.')
    this.#packBytes += block.length
    if (!table.add(hash, found, true)) this.#forgottenBytes += block.length
    return true
  }

  /** The file's media type; the index holds `SITE_TYPES_MAX` different ones, the rest is told as bytes. */
  #typeOf(path: string, beginning: Uint8Array): string {
    const type = mediaTypeOf(path, beginning)
    if (!this.#types.has(type) && this.#types.size >= SITE_TYPES_MAX - 1) return DEFAULT_MEDIA_TYPE
    this.#types.add(type)
    return type
  }

  /** A path that is a file and a folder can be neither mirrored nor told apart by a reader. */
  #refuseFilesUnderFiles(): void {
    for (const path of this.#entries.keys()) {
      for (let at = path.indexOf('/'); at >= 0; at = path.indexOf('/', at + 1)) {
        const above = path.slice(0, at)
        if (this.#entries.has(above)) throw bad(`${JSON.stringify(above.slice(0, 200))} is a file and a folder at once.`)
      }
    }
  }
}

function bad(message: string): OverlayError {
  return new OverlayError('config', 'SITE_BAD', message)
}

/** `first`, then what is left of `rest`. */
export async function* startingWith(
  first: Uint8Array,
  rest: AsyncGenerator<Uint8Array, void, undefined>,
): AsyncGenerator<Uint8Array, void, undefined> {
  yield first
  yield* rest
}
