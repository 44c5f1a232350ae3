/**
 * What this node keeps, on disk: DIR/keeps.json, mode 0600, written whole or not at all before a change is confirmed. It names addresses, and who
 * has an address can read what is there: it is for this node's user alone, as the key folder is.
 *
 * A book that cannot be read is set aside under another name and an empty one begins: what it named is lost to the keeper, not to the network.
 *
 *   {"version":1,"keeps":[{"address","source","addedMs","checkedMs","passes","snapshot"}]}
 */
import { readFile, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { canonicalAddress, parseAddress } from '../../src/content/address.ts'
import { writeAtomically } from '../../src/directory/index.ts'
import { diskFailure } from '../../src/errors/disk.ts'
import { OverlayError } from '../../src/errors/index.ts'
import type { Logger } from '../../src/log/index.ts'

const FILE = 'keeps.json'
const VERSION = 1
/** Publications kept; at the limit further ones are refused. */
export const KEEPS_MAX = 4096
/** A longer file is none of ours. */
const FILE_BYTES_MAX = 2 * 1024 * 1024

export interface Keep {
  /** 56 characters, lower case. */
  readonly address: string
  readonly source: 'user' | 'own'
  readonly addedMs: number
  /** When it was gone through last; 0: never. */
  readonly checkedMs: number
  /** How often: says which part of large content is next. */
  readonly passes: number
  /** Of a key: the address of the version that was seen last; '' for none. Kept on when the record cannot be had. */
  readonly snapshot: string
}

export interface KeepBookParts {
  readonly dataDir: string
  readonly log: Pick<Logger, 'warn'>
}

/** The book in `dataDir`, which must be held. Errors: `DATA_DIR_UNUSABLE`. */
export async function openKeepBook(parts: KeepBookParts): Promise<KeepBook> {
  const path = join(parts.dataDir, FILE)
  const text = await readIfThere(path)
  if (text === null) return new KeepBook(path, [])
  const keeps = text.length <= FILE_BYTES_MAX ? parseKeeps(text) : null
  if (keeps !== null) return new KeepBook(path, keeps)
  await rename(path, `${path}.damaged`).catch((error) => {
    throw diskFailure(path, error)
  })
  parts.log.warn('the list of what is kept is damaged; it was set aside as keeps.json.damaged, and an empty one begins')
  return new KeepBook(path, [])
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
export function keepsText(keeps: readonly Keep[]): string {
  return `${JSON.stringify({ version: VERSION, keeps })}\n`
}

/** What a book's text says, or `null` if anything in it is not right. */
export function parseKeeps(text: string): readonly Keep[] | null {
  let book: unknown
  try {
    book = JSON.parse(text)
  } catch {
    return null
  }
  if (typeof book !== 'object' || book === null || !('version' in book) || book.version !== VERSION) return null
  if (!('keeps' in book) || !Array.isArray(book.keeps) || book.keeps.length > KEEPS_MAX) return null
  const keeps: Keep[] = []
  const seen = new Set<string>()
  for (const one of book.keeps as readonly unknown[]) {
    const keep = parseKeep(one)
    if (keep === null || seen.has(keep.address)) return null
    seen.add(keep.address)
    keeps.push(keep)
  }
  return keeps
}

function parseKeep(one: unknown): Keep | null {
  if (typeof one !== 'object' || one === null) return null
  const { address, source, addedMs, checkedMs, passes, snapshot } = one as Partial<Record<keyof Keep, unknown>>
  if (source !== 'user' && source !== 'own') return null
  if (!isCount(addedMs) || !isCount(checkedMs) || !isCount(passes) || typeof snapshot !== 'string') return null
  const parsed = typeof address === 'string' ? parseAddress(address) : null
  const last = snapshot === '' ? null : parseAddress(snapshot)
  if (parsed === null || (snapshot !== '' && last === null)) return null
  const known = { address: canonicalAddress(parsed), snapshot: last === null ? '' : canonicalAddress(last) }
  return { ...known, source, addedMs, checkedMs, passes }
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}

/** What this node keeps. Made by `openKeepBook`. */
export class KeepBook {
  readonly #path: string
  /** By address. */
  #keeps: ReadonlyMap<string, Keep>
  /** Changes go to disk one after the other. */
  #writing: Promise<unknown> = Promise.resolve()

  constructor(path: string, keeps: readonly Keep[]) {
    this.#path = path
    this.#keeps = new Map(keeps.map((keep) => [keep.address, keep]))
  }

  /** By address, in order. */
  list(): readonly Keep[] {
    return [...this.#keeps.values()].sort((a, b) => (a.address < b.address ? -1 : 1))
  }

  get(address: string): Keep | null {
    return this.#keeps.get(address) ?? null
  }

  /** Adds `keep`; if its address is there already, the user's wish counts for more than having published it. Errors: `KEEP_LIMIT`. */
  add(keep: Keep): Promise<void> {
    return this.#change((keeps) => {
      const before = keeps.get(keep.address)
      if (before === undefined && keeps.size >= KEEPS_MAX)
        throw new OverlayError('overload', 'KEEP_LIMIT', `${KEEPS_MAX} publications are kept already.`)
      if (before !== undefined && (before.source === 'user' || keep.source === 'own')) return false
      keeps.set(keep.address, before === undefined ? keep : { ...before, source: keep.source })
      return true
    }).then(() => {})
  }

  remove(address: string): Promise<boolean> {
    return this.#change((keeps) => keeps.delete(address))
  }

  /** Notes what a pass over `address` was; nothing if it is not kept any more. */
  note(address: string, what: Partial<Pick<Keep, 'checkedMs' | 'passes' | 'snapshot'>>): Promise<void> {
    return this.#change((keeps) => {
      const before = keeps.get(address)
      if (before !== undefined) keeps.set(address, { ...before, ...what })
      return before !== undefined
    }).then(() => {})
  }

  /** Waits until what was changed is on disk. */
  async close(): Promise<void> {
    await this.#writing
  }

  /** Applies `change` to a copy, writes it, and only then shows it. `change` tells whether it did anything. */
  #change(change: (keeps: Map<string, Keep>) => boolean): Promise<boolean> {
    const done = this.#writing.then(async () => {
      const keeps = new Map(this.#keeps)
      if (!change(keeps)) return false
      await writeAtomically(this.#path, [keepsText([...keeps.values()])])
      this.#keeps = keeps
      return true
    })
    this.#writing = done.catch(() => {}) // told to whoever asked for the change
    return done
  }
}
