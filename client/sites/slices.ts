/**
 * A file as blocks, the form in which it is stored: slices of 64 KiB of the file as they are, or each slice compressed. Spec: SPEC.md §12.1.
 *
 * A compressed file is one ordinary gzip member (RFC 1952), whose slices are compressed each on its own (a full flush after each): a slice
 * that did not change is the same bytes again, wherever the file changed. That is what keeps an update of a long text small. Browsers take
 * one member only, so there is one. Compression is done by zlib's threads: this event loop relays other people's cells.
 */
import { promisify } from 'node:util'
import { constants, crc32, deflateRaw } from 'node:zlib'
import { concat, le32, writeU32 } from '../../src/bytes/index.ts'
import { OverlayError } from '../../src/errors/index.ts'
import type { SiteFile } from '../library.ts'
import { isCompressible } from './media-types.ts'

// Specification constant: another cut would be another set of blocks, and other entity tags.
export const SLICE_BYTES = 65_536

// Implementation constants: what is compressed is the publisher's choice.
/** Files up to here gain nothing that a reader would notice. */
const GZIP_FILE_BYTES_MIN = 1024
/** The first slice has to shrink to this part, or the file is stored as it is. */
const GZIP_SAVES = 0.9
const GZIP_LEVEL = 9

/** RFC 1952 §2.3: deflate, no flags, no time, best compression, system unknown. Says nothing of who made it. */
const GZIP_HEADER = Uint8Array.of(0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 255)

const deflate = promisify<Uint8Array, { level: number; finishFlush: number }, Uint8Array>(deflateRaw)

/**
 * The content of `file` in slices of `SLICE_BYTES`, the last one shorter; each a view that is good until the next is asked for.
 * Errors: `SITE_BAD` if the content is longer or shorter than announced; the content's own.
 */
export async function* slicesOf(file: SiteFile): AsyncGenerator<Uint8Array, void, undefined> {
  const buffer = new Uint8Array(Math.min(SLICE_BYTES, file.bytes))
  let filled = 0
  let seen = 0
  for await (const chunk of file.open()) {
    seen += chunk.length
    if (seen > file.bytes) throw changed(file)
    for (let at = 0; at < chunk.length; ) {
      const taken = chunk.subarray(at, at + buffer.length - filled)
      buffer.set(taken, filled)
      filled += taken.length
      at += taken.length
      if (filled === buffer.length) {
        yield buffer
        filled = 0
      }
    }
  }
  if (seen !== file.bytes) throw changed(file)
  if (filled > 0) yield buffer.subarray(0, filled)
}

function changed(file: SiteFile): OverlayError {
  return new OverlayError('config', 'SITE_BAD', `${file.path} is not of the ${file.bytes} bytes that were announced.`)
}

/** The compressed form of the first slice of a file, if the file is worth compressing; else `null`. */
export async function tryGzip(contentType: string, fileBytes: number, first: Uint8Array): Promise<Uint8Array | null> {
  if (fileBytes <= GZIP_FILE_BYTES_MIN || !isCompressible(contentType)) return null
  const packed = await deflateSlice(first, first.length === fileBytes)
  return packed.length <= first.length * GZIP_SAVES ? packed : null
}

function deflateSlice(slice: Uint8Array, last: boolean): Promise<Uint8Array> {
  return deflate(slice, { level: GZIP_LEVEL, finishFlush: last ? constants.Z_FINISH : constants.Z_FULL_FLUSH })
}

/** Makes the blocks of one gzip member: one for each slice, and a last one of 8 bytes, which alone changes whenever anything does. */
export class GzipMember {
  readonly #fileBytes: number
  #seen = 0
  #crc = 0

  constructor(fileBytes: number) {
    this.#fileBytes = fileBytes
  }

  /** The block of the next slice. `packed`: its compressed form, where that is known already. */
  async block(slice: Uint8Array, packed?: Uint8Array): Promise<Uint8Array> {
    const first = this.#seen === 0
    this.#seen += slice.length
    this.#crc = crc32(slice, this.#crc)
    const body = packed ?? (await deflateSlice(slice, this.#seen === this.#fileBytes))
    return first ? concat(GZIP_HEADER, body) : body
  }

  /** CRC-32 and length mod 2^32 (RFC 1952 §2.3.1). */
  end(): Uint8Array {
    const trailer = concat(le32(0), le32(0))
    writeU32(trailer, 0, this.#crc)
    writeU32(trailer, 4, this.#seen % 2 ** 32)
    return trailer
  }
}
