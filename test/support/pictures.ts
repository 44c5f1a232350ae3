/** Small real files of several formats with the metadata that tests of the guard want in them, made byte by byte. */
import { crc32, deflateRawSync, deflateSync } from 'node:zlib'
import { concat, utf8 } from '../../src/bytes/index.ts'

export interface ExifEntry {
  readonly tag: number
  /** Text (type 2), or one number (type 3). */
  readonly value: string | number
}

export interface ExifParts {
  readonly main?: readonly ExifEntry[]
  readonly exif?: readonly ExifEntry[]
  /** Entries of the directory of positions. */
  readonly gps?: readonly ExifEntry[]
  readonly bigEndian?: boolean
}

/** A TIFF structure with the entries. */
export function tiff({ main = [], exif, gps, bigEndian = false }: ExifParts): Uint8Array {
  const bytes = new Uint8Array(4096)
  const view = new DataView(bytes.buffer)
  const little = !bigEndian
  bytes.set(utf8(bigEndian ? 'MM' : 'II'))
  view.setUint16(2, 42, little)
  view.setUint32(4, 8, little)
  let free = 2048
  let next = 8
  const directory = (entries: readonly ExifEntry[], links: readonly (readonly [number, number])[]): number => {
    const at = next
    const count = entries.length + links.length
    next += 2 + 12 * count + 4
    view.setUint16(at, count, little)
    let entry = at + 2
    for (const { tag, value } of entries) {
      view.setUint16(entry, tag, little)
      view.setUint16(entry + 2, typeof value === 'string' ? 2 : 3, little)
      if (typeof value === 'string') {
        const text = utf8(`${value}\0`)
        view.setUint32(entry + 4, text.length, little)
        const where = text.length <= 4 ? entry + 8 : free
        bytes.set(text, where)
        if (where === free) {
          view.setUint32(entry + 8, free, little)
          free += text.length + (text.length % 2)
        }
      } else {
        view.setUint32(entry + 4, 1, little)
        view.setUint16(entry + 8, value, little)
      }
      entry += 12
    }
    for (const [tag, to] of links) {
      view.setUint16(entry, tag, little)
      view.setUint16(entry + 2, 4, little)
      view.setUint32(entry + 4, 1, little)
      view.setUint32(entry + 8, to, little)
      entry += 12
    }
    return at
  }
  const links: [number, number][] = []
  const mainBytes = 2 + 12 * (main.length + (exif === undefined ? 0 : 1) + (gps === undefined ? 0 : 1)) + 4
  const mainAt = next
  next += mainBytes
  if (exif !== undefined) links.push([0x8769, directory(exif, [])])
  if (gps !== undefined) links.push([0x8825, directory(gps, [])])
  next = mainAt
  directory(main, links)
  return bytes.slice(0, free)
}

/** One JPEG segment. */
export function segment(marker: number, ...payload: readonly Uint8Array[]): Uint8Array {
  const body = concat(...payload)
  const length = body.length + 2
  return concat(Uint8Array.of(0xff, marker, length >> 8, length & 0xff), body)
}

export const exifSegment = (parts: ExifParts): Uint8Array => segment(0xe1, utf8('Exif\0\0'), tiff(parts))

export const xmpSegment = (properties: string): Uint8Array =>
  segment(0xe1, utf8('http://ns.adobe.com/xap/1.0/\0'), utf8(xmpPacket(properties)))

export function xmpPacket(properties: string): string {
  return `<?xpacket begin=""?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description>${properties}</rdf:Description></rdf:RDF></x:xmpmeta>`
}

/** IPTC records (dataset number and text) as Photoshop keeps them. */
export function iptcSegment(records: readonly (readonly [number, string])[]): Uint8Array {
  const data = concat(
    ...records.map(([number, text]) => concat(Uint8Array.of(0x1c, 2, number, 0, utf8(text).length), utf8(text))),
  )
  return segment(0xed, utf8('Photoshop 3.0\0'), utf8('8BIM\x04\x04\0\0'), Uint8Array.of(0, 0, 0, data.length), data)
}

/** What a viewer needs of a JPEG: tables and frame before `SCAN`. */
export const TABLES = [
  segment(0xdb, Uint8Array.of(0), new Uint8Array(64).fill(1)),
  segment(0xc0, Uint8Array.of(8, 0, 8, 0, 8, 1, 1, 0x11, 0)),
  segment(0xc4, Uint8Array.of(0, 1), new Uint8Array(16)),
]
/** Start of scan, entropy-coded data with stuffed bytes and a restart marker, end of image. */
export const SCAN = concat(
  segment(0xda, Uint8Array.of(1, 1, 0, 0, 63, 0)),
  Uint8Array.of(0x12, 0xff, 0, 0x34, 0xff, 0xd0, 0x56, 0x78, 0xff, 0xd9),
)
export const JFIF = segment(0xe0, utf8('JFIF\0'), Uint8Array.of(1, 1, 0, 0, 1, 0, 1, 0, 0))
export const ICC = segment(0xe2, utf8('ICC_PROFILE\0'), Uint8Array.of(1, 1, 9, 9, 9))

/** A JPEG with the segments between its start and its tables, and `after` behind its end. */
export function jpeg(segments: readonly Uint8Array[], after: Uint8Array = new Uint8Array(0)): Uint8Array {
  return concat(Uint8Array.of(0xff, 0xd8), ...segments, ...TABLES, SCAN, after)
}

export function pngChunk(type: string, body: Uint8Array): Uint8Array {
  const typed = concat(utf8(type), body)
  const chunk = new Uint8Array(8 + typed.length)
  new DataView(chunk.buffer).setUint32(0, body.length)
  chunk.set(typed, 4)
  new DataView(chunk.buffer).setUint32(4 + typed.length, crc32(typed))
  return chunk
}

export const PNG_SIGNATURE = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10)
export const PNG_HEAD = pngChunk('IHDR', Uint8Array.of(0, 0, 0, 1, 0, 0, 0, 1, 8, 0, 0, 0, 0))
export const PNG_PIXELS = pngChunk('IDAT', new Uint8Array(deflateSync(Uint8Array.of(0, 127))))
export const PNG_END = pngChunk('IEND', new Uint8Array(0))

/** A PNG of one pixel with the chunks between its header and its pixels. */
export function png(chunks: readonly Uint8Array[], after: Uint8Array = new Uint8Array(0)): Uint8Array {
  return concat(PNG_SIGNATURE, PNG_HEAD, ...chunks, PNG_PIXELS, PNG_END, after)
}

/** A PDF whose document information is `info` (a dictionary's inside); `packed` puts it into a compressed object stream. */
export function pdf(info: string, packed = false): Uint8Array {
  const head = utf8('%PDF-1.5\n1 0 obj\n<< /Type /Catalog >>\nendobj\n')
  if (!packed) return concat(head, utf8(`2 0 obj\n<< ${info} >>\nendobj\ntrailer\n<< /Root 1 0 R /Info 2 0 R >>\n%%EOF\n`))
  const body = new Uint8Array(deflateSync(`2 0 << ${info} >>`))
  const dictionary = `3 0 obj\n<< /Type /ObjStm /N 1 /First 4 /Filter /FlateDecode /Length ${body.length} >>\nstream\n`
  return concat(head, utf8(dictionary), body, utf8('\nendstream\nendobj\n%%EOF\n'))
}

/** A ZIP archive with one deflated file (its central directory left out: readers of local headers do not need it). */
export function zip(name: string, content: string): Uint8Array {
  const body = new Uint8Array(deflateRawSync(content))
  const header = new Uint8Array(30)
  const view = new DataView(header.buffer)
  header.set(utf8('PK\x03\x04'))
  view.setUint16(8, 8, true)
  view.setUint32(18, body.length, true)
  view.setUint32(22, content.length, true)
  view.setUint16(26, name.length, true)
  return concat(header, utf8(name), body)
}
