/**
 * Media types by file name, from the `mime` package, and what they say about a file: whether it is text (then it gets a charset, if its
 * beginning is UTF-8) and whether it is worth compressing.
 */
import mime from 'mime'

export const DEFAULT_MEDIA_TYPE = 'application/octet-stream'

/** The type that `name`'s extension stands for; text with `charset=utf-8`, unless `beginning`, its first bytes, is given and is none. */
export function mediaTypeOf(name: string, beginning?: Uint8Array): string {
  const type = mime.getType(name.slice(name.lastIndexOf('/') + 1)) ?? DEFAULT_MEDIA_TYPE
  return type.startsWith('text/') && (beginning === undefined || isUtf8(beginning)) ? `${type}; charset=utf-8` : type
}

/** Types that are no text and shrink all the same. */
const COMPRESSIBLE = new Set([
  'application/geo+json',
  'application/javascript',
  'application/json',
  'application/manifest+json',
  'application/rtf',
  'application/sql',
  'application/toml',
  'application/vnd.ms-fontobject',
  'application/wasm',
  'application/x-sh',
  'application/xml',
  'application/yaml',
  'font/otf',
  'font/ttf',
  'image/bmp',
  'image/svg+xml',
])

/** Whether files of this type are worth trying to compress. */
export function isCompressible(mediaType: string): boolean {
  const type = mediaType.split(';', 1)[0]!.trim()
  return type.startsWith('text/') || COMPRESSIBLE.has(type) || /\+(xml|json)$/.test(type)
}

/** Whether `bytes`, which may end within a character, are UTF-8. */
function isUtf8(bytes: Uint8Array): boolean {
  try {
    new TextDecoder('utf-8', { fatal: true }).decode(bytes, { stream: true })
    return true
  } catch {
    return false
  }
}
