/**
 * What an Exif block (a TIFF structure) says of who took a picture, where and with what. Reads only; bytes may be hostile: every offset is
 * checked, every directory is read once, and the number of entries is bounded. Spec: CIPA DC-008 (Exif 2.32) §4.6, TIFF 6.0 §2.
 */

// Implementation constants.
const DIRECTORIES_MAX = 8
const ENTRIES_MAX = 512

export interface ExifFacts {
  /** It holds a position. */
  readonly position: boolean
  /** It names a person: artist, copyright holder, owner of the camera, author. */
  readonly person: boolean
  /** It holds a serial number, an id of the picture, or maker's notes, which mostly hold one. */
  readonly device: boolean
  /** It holds a date, the make of the camera, a program or a comment. */
  readonly circumstances: boolean
  /** 1 to 8; 1 where it says nothing. */
  readonly orientation: number
}

const TAG_EXIF = 0x8769
const TAG_GPS = 0x8825
const TAG_ORIENTATION = 0x0112
/** Of the directory of positions: version alone says nothing. */
const GPS_VERSION = 0

/** Artist, Copyright, XPAuthor, CameraOwnerName, Photographer (Exif 3.0), ImageEditor (Exif 3.0). */
const PERSON = new Set([0x013b, 0x8298, 0x9c9d, 0xa430, 0xa437, 0xa438])
/** BodySerialNumber, LensSerialNumber, ImageUniqueID, MakerNote, CameraSerialNumber (DNG). */
const DEVICE = new Set([0xa431, 0xa435, 0xa420, 0x927c, 0xc62f])
/** ImageDescription, Make, Model, Software, DateTime, HostComputer, DateTimeOriginal, DateTimeDigitized, UserComment, XPComment, LensModel. */
const CIRCUMSTANCES = new Set([0x010e, 0x010f, 0x0110, 0x0131, 0x0132, 0x013c, 0x9003, 0x9004, 0x9286, 0x9c9c, 0xa434])
/** Bytes of one value by TIFF type. */
const TYPE_BYTES: readonly number[] = [0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8]

/** The facts of the TIFF structure at the start of `bytes`, or `null` if there is none. `bytes` may be cut short. */
export function exifFacts(bytes: Uint8Array): ExifFacts | null {
  if (bytes.length < 8) return null
  const little = bytes[0] === 0x49 && bytes[1] === 0x49
  if (!little && !(bytes[0] === 0x4d && bytes[1] === 0x4d)) return null
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const u16 = (at: number) => view.getUint16(at, little)
  const u32 = (at: number) => view.getUint32(at, little)
  if (u16(2) !== 42) return null
  const facts = { position: false, person: false, device: false, circumstances: false, orientation: 1 }
  const queue: { readonly at: number; readonly gps: boolean }[] = [{ at: u32(4), gps: false }]
  const seen = new Set<number>()
  let entries = 0
  for (const { at, gps } of queue) {
    if (seen.has(at) || seen.size >= DIRECTORIES_MAX || at + 2 > bytes.length) continue
    seen.add(at)
    const count = u16(at)
    for (let one = 0; one < count && entries < ENTRIES_MAX; one++, entries++) {
      const entry = at + 2 + 12 * one
      if (entry + 12 > bytes.length) break
      const tag = u16(entry)
      if (gps) {
        if (tag !== GPS_VERSION) facts.position = true
        continue
      }
      if (tag === TAG_EXIF || tag === TAG_GPS) queue.push({ at: u32(entry + 8), gps: tag === TAG_GPS })
      else if (tag === TAG_ORIENTATION) facts.orientation = orientationOf(u16(entry + 8))
      else if (PERSON.has(tag) && hasValue(entry)) facts.person = true
      else if (DEVICE.has(tag) && hasValue(entry)) facts.device = true
      else if (CIRCUMSTANCES.has(tag) && hasValue(entry)) facts.circumstances = true
    }
    const next = at + 2 + 12 * count
    if (!gps && next + 4 <= bytes.length && u32(next) !== 0) queue.push({ at: u32(next), gps: false })
  }
  return facts

  /** Whether an entry's value is more than spaces and zeros. A value that lies beyond the bytes counts. */
  function hasValue(entry: number): boolean {
    const length = u32(entry + 4) * (TYPE_BYTES[u16(entry + 2)] ?? 1)
    const from = length <= 4 ? entry + 8 : u32(entry + 8)
    if (from + length > bytes.length) return length > 0
    for (let at = from; at < from + length; at++) if (bytes[at] !== 0 && bytes[at] !== 0x20) return true
    return false
  }
}

function orientationOf(value: number): number {
  return value >= 1 && value <= 8 ? value : 1
}

/** The smallest TIFF structure that says nothing but `orientation`. 26 bytes. */
export function orientationTiff(orientation: number): Uint8Array {
  return Uint8Array.of(0x49, 0x49, 42, 0, 8, 0, 0, 0, 1, 0, 0x12, 0x01, 3, 0, 1, 0, 0, 0, orientation, 0, 0, 0, 0, 0, 0, 0)
}
