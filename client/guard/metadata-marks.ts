/**
 * Metadata that tells of a person or a place: in pictures (Exif, XMP, IPTC, PNG texts), PDF, office documents, videos. What names a
 * position, a person or a single device is flagged; dates, programs and comments are notes. Known by marks wherever they lie, so a picture in
 * a picture, in a PDF or behind the end of another is seen as well.
 *
 * Compressed parts that hold metadata (PDF object streams, office documents' properties) are unpacked as far as the look reaches. What is
 * packed otherwise (archives, encrypted PDF) is not seen.
 */
import { constants, inflateRawSync, inflateSync } from 'node:zlib'
import type { Finding } from './listing.ts'
import { LOOK_AHEAD_BYTES, LOOK_BACK_BYTES, latin1, type Mark, type Sight } from './marks.ts'
import { exifFacts } from './tiff.ts'

// Implementation constants.
/** Bytes of an unpacked part that are looked at. */
const UNPACKED_BYTES_MAX = 512 * 1024
/** Even less is not unpacked. */
const PACKED_BYTES_MIN = 16
const XML_AHEAD = 2_048
/** Places of one key in an unpacked part that are looked at. */
const PLACES_MAX = 16
const METADATA_RULES = ['position', 'author', 'device', 'circumstances'] as const

const POSITION: Finding = { rule: 'position', severity: 'flagged', reason: 'holds the position where it was taken' }
const AUTHOR: Finding = { rule: 'author', severity: 'flagged', reason: 'names its author or owner' }
const DEVICE: Finding = { rule: 'device', severity: 'flagged', reason: 'holds a serial number or other mark of one device' }
const CIRCUMSTANCES: Finding = { rule: 'circumstances', severity: 'note', reason: 'holds dates, programs, devices or comments' }

/** Findings of the Exif block that begins `skip` bytes after the mark. */
function exif(text: string, skip: (sight: Sight) => number, kinds?: Mark['kinds']): Mark {
  return {
    ...{ text, rules: METADATA_RULES, ahead: LOOK_AHEAD_BYTES, costly: true, ...(kinds === undefined ? {} : { kinds }) },
    look(sight) {
      const facts = exifFacts(sight.bytes.subarray(sight.at + skip(sight)))
      if (facts === null) return []
      const { position, person, device, circumstances } = facts
      return [position && POSITION, person && AUTHOR, device && DEVICE, circumstances && CIRCUMSTANCES].filter(
        (one) => one !== false,
      )
    },
  }
}

/** WebP's chunk: its length, then a TIFF structure, with or without the prefix that it has in JPEG. */
const webpSkip = ({ bytes, at }: Sight) => (latin1(bytes, at + 8, at + 12) === 'Exif' ? 14 : 8)

/** A property of XMP with a value, as an attribute or as an element. */
function xmp(name: string, finding: Finding): Mark {
  const form = new RegExp(
    `^${name}(?:\\w*\\s{0,8}=\\s{0,8}["'][^"'<>]*[^"'<>\\s]|\\w*(?:\\s[^<>]{0,200})?>\\s*(?:<rdf:(?:Seq|Bag|Alt|li)[^<>]{0,200}>\\s*)*[^<>\\s])`,
  )
  return {
    ...{ text: name, rules: [finding.rule], ahead: XML_AHEAD },
    look: ({ bytes, at }) => (isProperty(bytes[at - 1]) && form.test(latin1(bytes, at, at + XML_AHEAD)) ? [finding] : []),
  }
}

/** Whether a name after this byte is an attribute or an element's. */
function isProperty(before: number | undefined): boolean {
  return before === 0x3c || before === 0x20 || before === 0x0a || before === 0x0d || before === 0x09
}

/** `dc:creator` names authors in RDF only; feeds and books use the same name for what they mean to say. */
const XMP_CREATOR: Mark = {
  ...{ text: '<dc:creator', rules: ['author'], ahead: XML_AHEAD },
  look: ({ bytes, at }) =>
    /^<dc:creator[^<>]{0,100}>\s*<(?:rdf:(?:Seq|Bag|Alt)[^<>]{0,100}>\s*<rdf:li[^<>]{0,100}>|cc:Agent[^<>]{0,100}>\s*<dc:title[^<>]{0,100}>)\s*[^<>\s]/.test(
      latin1(bytes, at, at + XML_AHEAD),
    )
      ? [AUTHOR]
      : [],
}

/** IPTC-IIM in Photoshop's resource 0x0404: records of 0x1c, 2, number, length. Spec: IIM 4.2 §1.5. */
const IPTC: Mark = {
  ...{ text: '8BIM\x04\x04', rules: ['author', 'position'], ahead: LOOK_AHEAD_BYTES, costly: true },
  look({ bytes, at }) {
    const nameBytes = bytes[at + 6] ?? 0
    const start = at + 6 + nameBytes + 1 + ((nameBytes + 1) % 2) + 4
    const found = new Set<Finding>()
    for (let one = start; one + 5 <= bytes.length && bytes[one] === 0x1c; ) {
      const length = (bytes[one + 3]! << 8) | bytes[one + 4]!
      const record = bytes[one + 1] === 2 ? bytes[one + 2]! : -1
      if (length > 0 && IPTC_PERSON.has(record)) found.add(AUTHOR)
      if (length > 0 && IPTC_PLACE.has(record)) found.add(POSITION)
      one += 5 + length
    }
    return [...found]
  },
}
/** By-line, its title, credit, copyright, contact, writer. */
const IPTC_PERSON = new Set([80, 85, 110, 116, 118, 122])
/** Content location, city, sub-location. */
const IPTC_PLACE = new Set([26, 27, 90, 92])

/** PNG's texts: length before the type, keyword and NUL after it. Spec: PNG §11.3.3. */
function pngText(text: string): Mark {
  return {
    ...{ text, rules: METADATA_RULES, ahead: 96 },
    look({ bytes, at }) {
      if (at < 4 || bytes[at - 4] !== 0) return []
      const keyword = /^[\x20-\x7e]{1,79}(?=\0)/.exec(latin1(bytes, at + 4, at + 96))?.[0]?.toLowerCase()
      if (keyword === undefined || keyword === 'xml:com.adobe.xmp') return []
      if (/^(author|artist|copyright|owner|credit|by-?line)$/.test(keyword)) return [AUTHOR]
      if (/gps|location|latitude|longitude/.test(keyword)) return [POSITION]
      // A whole Exif or IPTC block in hexadecimal, as ImageMagick keeps it.
      if (/^raw profile type (exif|app1|iptc|xmp)$/.test(keyword)) return [AUTHOR]
      return [CIRCUMSTANCES]
    },
  }
}

const PNG_TIME: Mark = {
  ...{ text: 'tIME', rules: ['circumstances'], ahead: 16, kinds: ['png'] },
  look: ({ bytes, at }) => (at >= 4 && latin1(bytes, at - 4, at) === '\0\0\0\x07' ? [CIRCUMSTANCES] : []),
}

/** A key of PDF's document information with a string that is not empty. Spec: ISO 32000-1 §14.3.3. */
function pdfInfo(text: string, finding: Finding): Mark {
  return {
    ...{ text, rules: [finding.rule], ahead: 512, kinds: ['pdf'] },
    look: ({ bytes, at }) => (hasPdfString(latin1(bytes, at + text.length, at + 512)) ? [finding] : []),
  }
}

function hasPdfString(rest: string): boolean {
  // Or a reference to another object, which holds the string.
  return /^\s*(?:\((?!\s*\))|<\s*(?!FEFF\s*>)[0-9A-Fa-f]|\d{1,10}\s+\d{1,5}\s+R\b)/.test(rest)
}

/** A compressed stream of PDF that can hold document information or XMP. */
function pdfStream(text: string): Mark {
  return {
    ...{ text, rules: METADATA_RULES, ahead: LOOK_AHEAD_BYTES, costly: true, kinds: ['pdf'] },
    look({ bytes, at }) {
      const dictionary = latin1(bytes, at - LOOK_BACK_BYTES, at + 1_024)
      const here = Math.min(at, LOOK_BACK_BYTES)
      const begin = /stream\r?\n/.exec(dictionary.slice(here))
      if (
        begin === null ||
        !/\/Fl(?:ateDecode)?\b/.test(dictionary.slice(dictionary.lastIndexOf('obj', here) + 1, here + begin.index))
      )
        return []
      const unpacked = unpack(bytes.subarray(at + begin.index + begin[0].length), false)
      return unpacked === null ? [] : factsOfText(unpacked)
    },
  }
}

/** What the text of an unpacked part says of its author and origin. */
function factsOfText(text: string): readonly Finding[] {
  const found = new Set<Finding>()
  for (const { index } of firstOf(text, /\/Author/g)) if (hasPdfString(text.slice(index + 7, index + 512))) found.add(AUTHOR)
  if (/\/(?:Creator|Producer)\s*[(<]/.test(text)) found.add(CIRCUMSTANCES)
  if (/<dc:creator[^<>]{0,100}>\s{0,64}<rdf:\w{3}[^<>]{0,100}>\s{0,64}<rdf:li[^<>]{0,100}>\s{0,64}[^<>\s]/.test(text))
    found.add(AUTHOR)
  return [...found]
}

/** The first few places where `form` stands. */
function firstOf(text: string, form: RegExp): readonly RegExpExecArray[] {
  return [...text.matchAll(form).take(PLACES_MAX)]
}

/** A file of an office document's archive: its local header, then deflated bytes. Spec: APPNOTE 6.3 §4.3.7; ECMA-376 part 2; ODF 1.3 part 3. */
function zipEntry(name: string, facts: (text: string) => readonly Finding[]): Mark {
  return {
    ...{ text: name, rules: METADATA_RULES, ahead: LOOK_AHEAD_BYTES, costly: true, kinds: ['zip'] },
    look({ bytes, at }) {
      const header = at - 30
      if (header < 0 || latin1(bytes, header, header + 4) !== 'PK\x03\x04') return []
      const extra = bytes[header + 28]! | (bytes[header + 29]! << 8)
      const content = bytes.subarray(at + name.length + extra)
      const stored = bytes[header + 8] === 0
      const text = stored ? latin1(content, 0, UNPACKED_BYTES_MAX) : unpack(content, true)
      return text === null ? [] : facts(text)
    },
  }
}

function officeFacts(text: string): readonly Finding[] {
  const named =
    /<(?:dc:creator|cp:lastModifiedBy|meta:initial-creator|Company|Manager)(?:\s[^<>]{0,200})?>[^<>]{0,1000}[^<>\s]/.test(text)
  const dated = /<(?:dcterms:created|meta:creation-date|Application|meta:generator)(?:\s[^<>]{0,200})?>/.test(text)
  return [named && AUTHOR, dated && CIRCUMSTANCES].filter((one) => one !== false)
}

/** As much of the beginning of a deflated part as can be looked at, as text; `null` if it is none. */
function unpack(packed: Uint8Array, raw: boolean): string | null {
  const options = { finishFlush: constants.Z_SYNC_FLUSH, maxOutputLength: UNPACKED_BYTES_MAX }
  // Less of it when it grows beyond what is looked at: a byte becomes 1032 at most.
  for (let length = packed.length; length >= PACKED_BYTES_MIN; length >>>= 3) {
    try {
      const part = packed.subarray(0, length)
      return (raw ? inflateRawSync(part, options) : inflateSync(part, options)).toString('latin1')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ERR_BUFFER_TOO_LARGE') return null
    }
  }
  return null
}

/** A mark of ISO media files, with what must follow it. */
function media(text: string, finding: Finding, then: RegExp): Mark {
  const look = ({ bytes, at }: Sight) => (then.test(latin1(bytes, at + text.length, at + 64)) ? [finding] : [])
  return { ...{ text, rules: [finding.rule], ahead: 64, kinds: ['bmff'] }, look }
}

/** All marks of metadata. */
export const METADATA_MARKS: readonly Mark[] = [
  exif('Exif\0\0', () => 6),
  exif('eXIf', () => 4, ['png']),
  exif('EXIF', webpSkip, ['riff']),
  IPTC,
  ...['tEXt', 'zTXt', 'iTXt'].map(pngText),
  PNG_TIME,
  xmp('exif:GPSLatitude', POSITION),
  xmp('exif:GPSLongitude', POSITION),
  xmp('aux:SerialNumber', DEVICE),
  xmp('exifEX:BodySerialNumber', DEVICE),
  xmp('aux:OwnerName', AUTHOR),
  xmp('exifEX:CameraOwnerName', AUTHOR),
  xmp('tiff:Artist', AUTHOR),
  xmp('xmpRights:Owner', AUTHOR),
  xmp('photoshop:AuthorsPosition', AUTHOR),
  XMP_CREATOR,
  pdfInfo('/Author', AUTHOR),
  pdfInfo('/Creator', CIRCUMSTANCES),
  pdfInfo('/Producer', CIRCUMSTANCES),
  pdfStream('/ObjStm'),
  pdfStream('/Metadata'),
  zipEntry('docProps/core.xml', officeFacts),
  zipEntry('docProps/app.xml', officeFacts),
  zipEntry('meta.xml', officeFacts),
  media('com.apple.quicktime.location.ISO6709', POSITION, /^/),
  media('com.apple.quicktime.author', AUTHOR, /^/),
  media('\xa9xyz', POSITION, /^[\s\S]{4}[+-]\d/),
]
