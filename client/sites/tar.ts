/**
 * A tar stream as the files of a site, one after the other as they come: names and lengths are bounded, links and devices are handed on for the
 * share guard to object to, and nothing is written to a disk. Formats: ustar, GNU and PAX long names (POSIX.1-2017, `pax`), by the `tar-stream`
 * package.
 *
 * Threat: whoever may call the API. That package gathers an extended header whole, however long it says it is; so it is fed no further than
 * `HEADER_BYTES_MAX` past the last thing that it gave out.
 */
import { Readable } from 'node:stream'
import { extract, type Headers } from 'tar-stream'
import { isSitePath, SITE_FILES_MAX } from '../../src/content/site-index.ts'
import { OverlayError } from '../../src/errors/index.ts'
import { unlessAborted } from '../../src/runtime/index.ts'
import type { OddEntry } from '../guard/index.ts'
import type { SiteFile } from '../library.ts'

// Implementation constants.
/** Headers, padding and the end of an archive in a row, in bytes: far more than the longest path takes. */
const HEADER_BYTES_MAX = 1024 * 1024
const BLOCK_BYTES = 512
/** Bytes given to the package at once. */
const FEED_BYTES = 64 * 1024
/** Folders, which a site does not have by themselves. */
const FOLDERS_MAX = 65_536

interface Feed {
  /** Bytes fed since something came out. */
  since: number
  /** Zeros at the end of what was fed. */
  zeros: number
}

/**
 * The files of the tar `body`. Each is read, or passed over, before the next comes. Errors: `SITE_BAD` (no tar, or not one for a site), those of
 * `body`, the signal's reason.
 */
export async function* tarFiles(
  body: AsyncIterable<Uint8Array>,
  { signal }: { readonly signal: AbortSignal },
): AsyncGenerator<SiteFile | OddEntry, void, undefined> {
  signal.throwIfAborted()
  const unpacking = extract()
  const feed: Feed = { since: 0, zeros: 0 }
  const source = Readable.from(fedWith(body, feed), { objectMode: true, highWaterMark: 1 })
  const failed = new AbortController()
  const fail = (error: unknown) => failed.abort(error)
  const onAbort = () => fail(signal.reason)
  signal.addEventListener('abort', onAbort, { once: true })
  source.once('error', (error) => {
    fail(error)
    unpacking.destroy()
  })
  unpacking.once('error', (error: Error) => fail(unreadable(error)))
  const entries = unpacking[Symbol.asyncIterator]()
  const seen = new Set<string>()
  let folders = 0
  source.pipe(unpacking)
  try {
    for (;;) {
      const step = await unlessAborted(orBad(entries.next()), failed.signal)
      if (step.done === true) break
      const entry = step.value
      feed.since = 0
      const path = pathOf(entry.header)
      if (path === null) {
        if (++folders > FOLDERS_MAX) throw bad(`The tar holds more than ${FOLDERS_MAX} folders.`)
        passOver(entry, feed)
        continue
      }
      if (seen.has(path)) throw bad(`${said(path)} stands in the tar twice.`)
      if (seen.size >= SITE_FILES_MAX) throw bad(`A site has at most ${SITE_FILES_MAX} files.`)
      seen.add(path)
      const odd = ODD[entry.header.type ?? '']
      if (odd !== undefined) {
        passOver(entry, feed)
        yield { path, odd }
        continue
      }
      let opened = false
      yield {
        path,
        bytes: sizeOf(entry.header),
        open: () => {
          opened = true
          return contentOf(entry, feed, failed.signal)
        },
      }
      if (!opened) passOver(entry, feed)
    }
    signal.throwIfAborted()
    // The last step may be an end that a failure brought.
    failed.signal.throwIfAborted()
    // An archive that was cut off between two files is whole but for its end. Two blocks of zeros are the rule, one is what some write.
    if (feed.zeros < BLOCK_BYTES) throw bad('The tar has no end: it was cut off.')
  } finally {
    signal.removeEventListener('abort', onAbort)
    source.destroy()
    unpacking.on('error', () => {})
    unpacking.destroy()
  }
}

/** `body` in small pieces, as long as something comes out of them. */
async function* fedWith(body: AsyncIterable<Uint8Array>, feed: Feed): AsyncGenerator<Uint8Array, void, undefined> {
  for await (const chunk of body) {
    for (let at = 0; at < chunk.length; at += FEED_BYTES) {
      const piece = chunk.subarray(at, at + FEED_BYTES)
      feed.since += piece.length
      if (feed.since > HEADER_BYTES_MAX) throw bad('The tar has a header that is too long, or no file for a long time.')
      feed.zeros = zerosAtEnd(piece, feed.zeros)
      yield piece
    }
  }
}

/** Zeros at the end of what ended in `before` zeros and went on with `piece`; counted up to a block. */
function zerosAtEnd(piece: Uint8Array, before: number): number {
  let zeros = 0
  while (zeros < piece.length && zeros < BLOCK_BYTES && piece[piece.length - 1 - zeros] === 0) zeros++
  return zeros === piece.length ? Math.min(BLOCK_BYTES, before + zeros) : zeros
}

/** Lets what is left of an entry go by. Destroying it would end the whole tar. */
function passOver(entry: Readable, feed: Feed): void {
  entry.on('data', () => {
    feed.since = 0
  })
}

async function* contentOf(entry: Readable, feed: Feed, failed: AbortSignal): AsyncGenerator<Uint8Array, void, undefined> {
  const chunks = entry[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>
  try {
    for (;;) {
      const step = await unlessAborted(orBad(chunks.next()), failed)
      if (step.done === true) return
      feed.since = 0
      yield step.value
    }
  } finally {
    // So that the next file can come.
    passOver(entry, feed)
  }
}

/** What a tar can hold besides files and folders; a site cannot. */
const ODD: Readonly<Record<string, OddEntry['odd']>> = {
  symlink: 'symbolic link',
  link: 'hard link',
  'character-device': 'device',
  'block-device': 'device',
  fifo: 'pipe',
}

/** The path of a plain file or of what is none; `null` for a folder. Errors: `SITE_BAD`. */
function pathOf(header: Headers): string | null {
  const { name, type } = header
  const pax = 'pax' in header ? header.pax : null
  const path = name.replace(/^(?:\.\/+)+/, '')
  if (type === 'directory') {
    const bare = path.replace(/\/+$/, '')
    if (bare !== '' && bare !== '.' && !isSitePath(bare)) throw bad(`${said(name)} is not a path for a site.`)
    return null
  }
  if (type !== 'file' && type !== 'contiguous-file' && ODD[type ?? ''] === undefined) {
    throw bad(`${said(name)} is a ${type ?? 'thing of an unknown kind'}: a site takes plain files only.`)
  }
  // Sparse files are stored as a map and what is between the holes: not what the file is.
  if (Object.keys(pax ?? {}).some((key) => key.startsWith('GNU.sparse'))) {
    throw bad(`${said(name)} is a sparse file. Make the tar without --sparse.`)
  }
  if (!isSitePath(path)) throw bad(`${said(name)} is not a path for a site: relative, no "..", no control character.`)
  // Bytes that are no UTF-8 have become this.
  if (path.includes('\ufffd')) throw bad(`${said(name)} is not UTF-8.`)
  sizeOf(header)
  return path
}

function sizeOf({ name, size }: Headers): number {
  if (size === undefined || !Number.isSafeInteger(size) || size < 0) throw bad(`The length of ${said(name)} is not one.`)
  return size + 0 // never -0, which base-256 can spell
}

/** A name as it can stand in a message: it comes from the tar. */
function said(name: string): string {
  return JSON.stringify(plain(name.length > 100 ? `${name.slice(0, 100)}…` : name))
}

function plain(text: string): string {
  return text.replaceAll(/\p{C}/gu, '?')
}

/** What the package itself rejects with. Errors of the body and of the signal come first, by the promise that this races with. */
function orBad<T>(step: Promise<T>): Promise<T> {
  return step.catch((error: unknown) => {
    throw unreadable(error)
  })
}

function unreadable(error: unknown): OverlayError {
  return bad(`The tar cannot be read: ${plain(error instanceof Error ? error.message : 'it was cut off')}`)
}

function bad(message: string): OverlayError {
  return new OverlayError('config', 'SITE_BAD', message)
}
