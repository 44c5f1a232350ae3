/**
 * The book of names on disk: DIR/names.json, mode 0600, written whole or not at all before a change is confirmed.
 *
 * A book that cannot be read is set aside under another name and an empty one begins: names that stand for nothing do no harm, names that
 * stand for something else would, and the user's work is not lost.
 *
 *   {"version":1,"names":[{"name","address","source","addedMs"}]}
 */
import { readFile, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { ADDRESS_CHARS, canonicalAddress, parseAddress, requireAddress } from '../../src/content/address.ts'
import { writeAtomically } from '../../src/directory/index.ts'
import { diskFailure } from '../../src/errors/disk.ts'
import { OverlayError } from '../../src/errors/index.ts'
import type { Logger } from '../../src/log/index.ts'
import type { Clock } from '../../src/runtime/index.ts'
import type { NameEntry, Names } from '../library.ts'
import { isPetname, isSource, NAMES_MAX, SOURCE_CHARS_MAX } from './rules.ts'

const FILE = 'names.json'
const VERSION = 1
/** A longer file is none of ours. */
const FILE_BYTES_MAX = 2 * 1024 * 1024
/** The source of names that the user gave. */
const USER = 'user'

export interface NameBookParts {
  readonly dataDir: string
  readonly clock: Pick<Clock, 'unixMs'>
  readonly log: Pick<Logger, 'warn'>
}

/** The book in `dataDir`, which must be held. Errors: `DATA_DIR_UNUSABLE`. */
export async function openNameBook(parts: NameBookParts): Promise<NameBook> {
  const path = join(parts.dataDir, FILE)
  const text = await readIfThere(path)
  if (text === null) return new NameBook(parts, [])
  const entries = text.length <= FILE_BYTES_MAX ? parseBook(text) : null
  if (entries !== null) return new NameBook(parts, entries)
  const aside = `${path}.damaged`
  await rename(path, aside).catch((error) => {
    throw diskFailure(path, error)
  })
  parts.log.warn('the book of names is damaged; it was set aside as names.json.damaged, and an empty one begins')
  return new NameBook(parts, [])
}

async function readIfThere(path: string): Promise<string | null> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw diskFailure(path, error)
  }
}

/** A book's text. */
export function bookText(names: readonly NameEntry[]): string {
  return `${JSON.stringify({ version: VERSION, names })}\n`
}

/** The entries of a book's text, or `null` if anything in it is not right. */
export function parseBook(text: string): readonly NameEntry[] | null {
  let book: unknown
  try {
    book = JSON.parse(text)
  } catch {
    return null
  }
  if (typeof book !== 'object' || book === null || !('version' in book) || book.version !== VERSION) return null
  if (!('names' in book) || !Array.isArray(book.names) || book.names.length > NAMES_MAX) return null
  const entries: NameEntry[] = []
  const seen = new Set<string>()
  for (const one of book.names as readonly unknown[]) {
    const entry = parseEntry(one)
    if (entry === null || seen.has(entry.name)) return null
    seen.add(entry.name)
    entries.push(entry)
  }
  return entries
}

function parseEntry(one: unknown): NameEntry | null {
  if (typeof one !== 'object' || one === null) return null
  const { name, address, source, addedMs } = one as Partial<Record<keyof NameEntry, unknown>>
  if (typeof name !== 'string' || !isPetname(name) || typeof source !== 'string' || !isSource(source)) return null
  if (typeof address !== 'string' || typeof addedMs !== 'number' || !Number.isSafeInteger(addedMs) || addedMs < 0) return null
  const parsed = parseAddress(address)
  return parsed === null ? null : { name, address: canonicalAddress(parsed), source, addedMs }
}

/** The names of this node. Made by `openNameBook`. */
export class NameBook implements Names {
  readonly #path: string
  readonly #clock: Pick<Clock, 'unixMs'>
  /** By name. */
  #entries: ReadonlyMap<string, NameEntry>
  /** Changes go to disk one after the other. */
  #writing: Promise<void> = Promise.resolve()

  constructor({ dataDir, clock }: NameBookParts, entries: readonly NameEntry[]) {
    this.#path = join(dataDir, FILE)
    this.#clock = clock
    this.#entries = new Map(entries.map((entry) => [entry.name, entry]))
  }

  find(name: string): string | null {
    return this.#entries.get(name)?.address ?? null
  }

  /** By name, in order. */
  list(): readonly NameEntry[] {
    return [...this.#entries.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
  }

  put(name: string, address: string, source: string = USER): Promise<void> {
    return this.#change((entries) => {
      if (!isPetname(name)) {
        const why =
          name.length === ADDRESS_CHARS ? 'it is as long as an address' : 'lower case letters, digits and hyphens, 1 to 55'
        throw new OverlayError('config', 'CONFIG_BAD', `This is no name: ${why}.`)
      }
      if (!isSource(source)) {
        throw new OverlayError(
          'config',
          'CONFIG_BAD',
          `The source of a name is 1 to ${SOURCE_CHARS_MAX} characters without control characters.`,
        )
      }
      if (!entries.has(name) && entries.size >= NAMES_MAX)
        throw new OverlayError('config', 'NAME_LIMIT', `The book holds ${NAMES_MAX} names already.`)
      entries.set(name, { name, address: canonicalAddress(requireAddress(address)), source, addedMs: this.#clock.unixMs() })
      return true
    }).then(() => {})
  }

  remove(name: string): Promise<boolean> {
    return this.#change((entries) => entries.delete(name))
  }

  /** Applies `change` to a copy, writes it, and only then shows it. `change` tells whether it did anything. */
  #change(change: (entries: Map<string, NameEntry>) => boolean): Promise<boolean> {
    const done = this.#writing.then(async () => {
      const entries = new Map(this.#entries)
      if (!change(entries)) return false
      await writeAtomically(this.#path, [bookText([...entries.values()])])
      this.#entries = entries
      return true
    })
    this.#writing = done.then(
      () => {},
      () => {}, // told to whoever asked for the change
    )
    return done
  }
}
