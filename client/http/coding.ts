/**
 * Content codings of a site's files: which one a client takes, and decoding for those that take none. Spec: RFC 9110 §8.4, §12.5.3.
 *
 * Threat: a publisher's bytes. What comes out of the decoder is counted against what the index announces: never more is delivered, and less is
 * an error. Memory is the decoder's window and what one write holds, whatever the ratio.
 */
import { pipeline, Readable } from 'node:stream'
import { createGunzip } from 'node:zlib'
import { isOverlayError, OverlayError } from '../../src/errors/index.ts'
import type { Asking, FetchCounters, SiteEntry } from '../library.ts'
import type { Representation } from './serve.ts'

/** Implementation constant: more codings than this are not looked at. */
const CODINGS_MAX = 32

/**
 * Whether Accept-Encoding lets gzip pass. No header means that anything does (RFC 9110 §12.5.3), but who sends none (curl, wget) is seldom able
 * to decode: they get the file as it is.
 */
export function acceptsGzip(header: string | string[] | undefined): boolean {
  const text = Array.isArray(header) ? header.join(',') : (header ?? '')
  let any = false
  for (const item of text.split(',').slice(0, CODINGS_MAX)) {
    const parts = /^[ \t]*([!#$%&'*+.^_`|~\w-]+)[ \t]*(?:;[ \t]*q=([01](?:\.\d{0,3})?))?[ \t]*$/i.exec(item)
    if (parts === null) continue
    const [, coding = '', weight = '1'] = parts
    const passes = Number(weight) > 0
    if (/^(x-)?gzip$/i.test(coding)) return passes
    if (coding === '*') any = passes
  }
  return any
}

/** `entry`, stored compressed, as who cannot decode it sees it: another representation, with another validator. It has no parts. */
export function decodedForm(entry: SiteEntry): Representation {
  return {
    bytes: entry.plainBytes,
    contentType: entry.contentType,
    etag: `"${entry.etag.replaceAll('"', '')}-identity"`,
    read: (range, asking) => {
      if (range.start !== 0 || range.end !== entry.plainBytes) throw new RangeError('only the whole of it can be decoded')
      const source = entry.read({ start: 0, end: entry.bytes }, asking)
      return { counters: source.counters, [Symbol.asyncIterator]: () => decoded(source, entry.plainBytes, asking) }
    },
  }
}

async function* decoded(
  source: AsyncIterable<Uint8Array> & { readonly counters: FetchCounters },
  plainBytes: number,
  { signal }: Asking,
): AsyncGenerator<Uint8Array, void, undefined> {
  const gunzip = createGunzip()
  const encoded = Readable.from(source, { objectMode: true, highWaterMark: 1 })
  pipeline(encoded, gunzip, () => {}) // an error comes out of the loop below
  let seen = 0
  try {
    for await (const chunk of gunzip as AsyncIterable<Uint8Array>) {
      signal.throwIfAborted()
      seen += chunk.length
      if (seen > plainBytes) throw damaged()
      yield chunk
    }
  } catch (error) {
    signal.throwIfAborted()
    if (isOverlayError(error)) throw error
    throw (error as NodeJS.ErrnoException).code?.startsWith('Z_') === true ? damaged(error) : error
  } finally {
    encoded.destroy()
    gunzip.destroy()
  }
  if (seen !== plainBytes) throw damaged()
}

function damaged(cause?: unknown): OverlayError {
  return new OverlayError('integrity', 'CONTENT_DAMAGED', 'The file is not what the index of its site says.', cause)
}
