/**
 * Takes metadata out of JPEG and PNG without touching the picture: segments and chunks that a viewer does not need are left out, all others
 * are passed on byte for byte. Kept are colour profiles and, as the only fact of Exif, the orientation. What follows the picture's end (other
 * pictures, films, notes of the camera) goes too. Streams: memory holds one segment.
 *
 * Files that do not follow their format are passed on from there as they are: whoever strips looks at the outcome with the scanner again, so
 * nothing passes for clean because a parser lost its way. PDF is not stripped: its objects are found by position, may be signed, compressed
 * or there in several versions, and a half-cleaned file that looks clean is worse than one that is known not to be.
 * Spec: ITU-T T.81 annex B (JPEG), PNG (third edition) §5, §11.
 */
import { crc32 } from 'node:zlib'
import { concat, utf8 } from '../../src/bytes/index.ts'
import { kindOf, latin1 } from './marks.ts'
import { exifFacts, orientationTiff } from './tiff.ts'

/** Takes the bytes of one file in order and gives those that stay. */
export interface Stripper {
  push(chunk: Uint8Array): readonly Uint8Array[]
  end(): readonly Uint8Array[]
}

/** First bytes that `stripperFor` needs. */
export const STRIP_HEAD_BYTES = 8

/** A stripper for a file that begins with `head`, or `null`: nothing can be stripped from its kind. */
export function stripperFor(head: Uint8Array): Stripper | null {
  const kind = kindOf(head)
  if (kind === 'jpeg') return new JpegStripper()
  return kind === 'png' ? new PngStripper() : null
}

/** `content` without its metadata, if its kind can be stripped. */
export async function* stripped(content: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
  let head: Uint8Array | null = new Uint8Array(0)
  let stripper: Stripper | null = null
  for await (const chunk of content) {
    let next = chunk
    if (head !== null) {
      head = concat(head, chunk)
      if (head.length < STRIP_HEAD_BYTES) continue
      stripper = stripperFor(head)
      next = head
      head = null
    }
    if (stripper === null) yield next
    else yield* stripper.push(next)
  }
  if (head !== null && head.length > 0) yield head
  if (stripper !== null) yield* stripper.end()
}

const SOI = 0xd8
const EOI = 0xd9
const SOS = 0xda
const APP0 = 0xe0
const APP1 = 0xe1
const APP2 = 0xe2
const APP14 = 0xee
const COM = 0xfe

/** JPEG: markers and their segments, then entropy-coded data up to the next marker. */
export class JpegStripper implements Stripper {
  #held: Uint8Array = new Uint8Array(0)
  /** `marker`: at a marker; `scan`: in entropy-coded data; `past`: behind the end; `lost`: not a JPEG from here on. */
  #state: 'marker' | 'scan' | 'past' | 'lost' = 'marker'
  #oriented = false

  push(chunk: Uint8Array): readonly Uint8Array[] {
    const out: Uint8Array[] = []
    let rest = this.#held.length === 0 ? chunk : concat(this.#held, chunk)
    for (let used = 1; used > 0 && rest.length > 0; rest = rest.subarray(used)) {
      used =
        this.#state === 'marker'
          ? this.#marker(rest, out)
          : this.#state === 'scan'
            ? this.#scan(rest, out)
            : this.#rest(rest, out)
    }
    this.#held = rest.slice()
    return out
  }

  end(): readonly Uint8Array[] {
    return this.#held.length === 0 || this.#state === 'past' ? [] : [this.#held]
  }

  /** Handles one marker at the start of `bytes`; how many bytes that took, 0 if more are needed. */
  #marker(bytes: Uint8Array, out: Uint8Array[]): number {
    if (bytes[0] !== 0xff) return this.#lose(bytes, out)
    if (bytes.length < 2) return 0
    const code = bytes[1]!
    if (code === 0xff) return keep(bytes, 1, out) // a fill byte
    if (code === EOI) {
      this.#state = 'past'
      return keep(bytes, 2, out)
    }
    if (code === SOI || code === 0x01 || (code >= 0xd0 && code <= 0xd7)) return keep(bytes, 2, out)
    if (code < 0xc0) return this.#lose(bytes, out)
    if (bytes.length < 4) return 0
    const length = 2 + ((bytes[2]! << 8) | bytes[3]!)
    if (length < 4) return this.#lose(bytes, out)
    if (bytes.length < length) return 0
    if (code === SOS) this.#state = 'scan'
    const segment = bytes.subarray(0, length)
    if (isWanted(code, segment)) return keep(bytes, length, out)
    const orientation =
      code === APP1 && latin1(segment, 4, 10) === 'Exif\0\0' ? (exifFacts(segment.subarray(10))?.orientation ?? 1) : 1
    if (orientation !== 1 && !this.#oriented) {
      this.#oriented = true
      out.push(jpegExif(orientation))
    }
    return length
  }

  /** Passes on entropy-coded data up to a marker that is none of its own. */
  #scan(bytes: Uint8Array, out: Uint8Array[]): number {
    for (let at = 0; ; at += 2) {
      at = bytes.indexOf(0xff, at)
      if (at < 0) return keep(bytes, bytes.length, out)
      if (at + 1 === bytes.length) return at === 0 ? 0 : keep(bytes, at, out)
      const next = bytes[at + 1]!
      if (next === 0 || (next >= 0xd0 && next <= 0xd7)) continue
      this.#state = 'marker'
      return at === 0 ? this.#marker(bytes, out) : keep(bytes, at, out)
    }
  }

  #rest(bytes: Uint8Array, out: Uint8Array[]): number {
    return this.#state === 'past' ? bytes.length : keep(bytes, bytes.length, out)
  }

  #lose(bytes: Uint8Array, out: Uint8Array[]): number {
    this.#state = 'lost'
    return keep(bytes, bytes.length, out)
  }
}

/** Whether a viewer needs the segment: pixels and tables, JFIF's header, colour profiles, Adobe's colour transform. */
function isWanted(code: number, segment: Uint8Array): boolean {
  if (code === COM) return false
  if (code < APP0 || code > 0xef) return true
  const name = latin1(segment, 4, 16)
  if (code === APP0) return name.startsWith('JFIF\0')
  if (code === APP2) return name.startsWith('ICC_PROFILE\0')
  return code === APP14 && name.startsWith('Adobe')
}

function jpegExif(orientation: number): Uint8Array {
  const tiff = orientationTiff(orientation)
  return concat(Uint8Array.of(0xff, APP1, 0, 2 + 6 + tiff.length), utf8('Exif\0\0'), tiff)
}

/** Ancillary chunks that change how the picture looks or moves; all other ancillary ones go. */
const PNG_KEPT = new Set(
  'cHRM gAMA iCCP sBIT sRGB bKGD hIST tRNS pHYs sPLT cICP mDCV cLLI mDCv cLLi oFFs pCAL sCAL sTER acTL fcTL fdAT npTc'.split(' '),
)
const PNG_SIGNATURE_BYTES = 8
const PNG_EXIF_BYTES_MAX = 65_536
const PNG_LENGTH_MAX = 2 ** 31 - 1

/** PNG: a signature, then chunks of length, type, data and checksum. */
export class PngStripper implements Stripper {
  #held: Uint8Array = new Uint8Array(0)
  #state: 'signature' | 'chunk' | 'data' | 'past' | 'lost' = 'signature'
  /** Of the chunk's data and checksum: bytes to come, whether they stay, whether the chunk ends the picture. */
  #remaining = 0
  #keeps = true
  #last = false

  push(chunk: Uint8Array): readonly Uint8Array[] {
    const out: Uint8Array[] = []
    let rest = this.#held.length === 0 ? chunk : concat(this.#held, chunk)
    for (let used = 1; used > 0 && rest.length > 0; rest = rest.subarray(used)) used = this.#step(rest, out)
    this.#held = rest.slice()
    return out
  }

  end(): readonly Uint8Array[] {
    return this.#held.length === 0 || this.#state === 'past' ? [] : [this.#held]
  }

  #step(bytes: Uint8Array, out: Uint8Array[]): number {
    switch (this.#state) {
      case 'signature':
        if (bytes.length < PNG_SIGNATURE_BYTES) return 0
        this.#state = 'chunk'
        return keep(bytes, PNG_SIGNATURE_BYTES, out)
      case 'chunk':
        return this.#head(bytes, out)
      case 'data': {
        const taken = Math.min(bytes.length, this.#remaining)
        this.#remaining -= taken
        if (this.#remaining === 0) this.#state = this.#last ? 'past' : 'chunk'
        return this.#keeps ? keep(bytes, taken, out) : taken
      }
      case 'past':
        return bytes.length
      case 'lost':
        return keep(bytes, bytes.length, out)
    }
  }

  /** Handles length and type of a chunk; an Exif chunk whole, for its orientation. */
  #head(bytes: Uint8Array, out: Uint8Array[]): number {
    if (bytes.length < 8) return 0
    const length = new DataView(bytes.buffer, bytes.byteOffset, 8).getUint32(0)
    const type = latin1(bytes, 4, 8)
    if (length > PNG_LENGTH_MAX || !/^[A-Za-z]{4}$/.test(type)) {
      this.#state = 'lost'
      return keep(bytes, bytes.length, out)
    }
    if (type === 'eXIf' && length <= PNG_EXIF_BYTES_MAX) {
      if (bytes.length < 12 + length) return 0
      const orientation = exifFacts(bytes.subarray(8, 8 + length))?.orientation ?? 1
      if (orientation !== 1) out.push(pngExif(orientation))
      return 12 + length
    }
    this.#state = 'data'
    this.#remaining = length + 4
    this.#keeps = /^[A-Z]/.test(type) || PNG_KEPT.has(type)
    this.#last = type === 'IEND'
    return this.#keeps ? keep(bytes, 8, out) : 8
  }
}

function pngExif(orientation: number): Uint8Array {
  const body = concat(utf8('eXIf'), orientationTiff(orientation))
  const chunk = new Uint8Array(4 + body.length + 4)
  const view = new DataView(chunk.buffer)
  view.setUint32(0, body.length - 4)
  chunk.set(body, 4)
  view.setUint32(4 + body.length, crc32(body))
  return chunk
}

/** Passes on the first `length` bytes. */
function keep(bytes: Uint8Array, length: number, out: Uint8Array[]): number {
  out.push(bytes.subarray(0, length))
  return length
}
