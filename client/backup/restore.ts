/**
 * What an import does with what a backup holds and what a data folder has: puts what is new, leaves what is the same, and touches nothing that is
 * different unless it may replace it. All is decided and staged before anything counts (`staged.ts`), so a backup that turns out to be damaged at
 * its last byte, a full disk or a kill change nothing. Spec: SPEC.md §13.4.
 *
 * Under a key that is here already, with the same seed, what is here is newer than any backup of it: its parts stay. Names are put together, and so
 * is what is kept.
 */
import { equalPublic, utf8 } from '../../src/bytes/index.ts'
import { diskFailure } from '../../src/errors/disk.ts'
import { OverlayError } from '../../src/errors/index.ts'
import { KEEPS_MAX, keepsText, parseKeeps } from '../keeps/book.ts'
import { KEY_PARTS, KEYS_MAX } from '../keys/index.ts'
import type { NameEntry } from '../library.ts'
import { bookText, parseBook } from '../names/book.ts'
import { NAMES_MAX } from '../names/rules.ts'
import { isSound, KEEPS, keyEntryName, kindOf, NAMES, namesIn, OF_IDENTITY, readEntry } from './contents.ts'
import type { BackupEntry } from './entries.ts'
import { Staging } from './staged.ts'

/** What became of an identity or a key. */
export type Outcome = 'new' | 'same' | 'replaced'

export interface Restored {
  readonly identity: Outcome
  readonly keys: readonly { readonly name: string; readonly outcome: Outcome }[]
  readonly names: { readonly added: number; readonly replaced: number; readonly kept: number }
  /** Publications to be kept that are new here. */
  readonly keeps: number
}

/**
 * Imports `entries` (of a backup that may still turn out to be damaged) into a data folder that is held, and in which `finishRestore` was done.
 * Errors: `BACKUP_EXISTS`, `BACKUP_DAMAGED`, those of `entries`, `KEY_BAD`, `NAME_LIMIT` and `KEEP_LIMIT` (too many), `DATA_DIR_UNUSABLE`.
 */
export async function restore(dataDir: string, entries: AsyncIterable<BackupEntry>, mayReplace: boolean): Promise<Restored> {
  let staging: Staging | null = null
  try {
    staging = await Staging.begin(dataDir)
    const work = new Restore(dataDir, staging, mayReplace)
    for await (const entry of entries) await work.take(entry)
    const restored = await work.end()
    if (staging.size > 0) await staging.commit()
    else await staging.drop()
    return restored
  } catch (error) {
    await staging?.drop().catch(() => {}) // what is left is thrown away at the next start
    throw diskFailure(dataDir, error)
  }
}

class Restore {
  readonly #dataDir: string
  readonly #staging: Staging
  readonly #mayReplace: boolean
  #identity: Outcome | null = null
  readonly #keys = new Map<string, Outcome>()
  #names = { added: 0, replaced: 0, kept: 0 }
  #keeps = 0
  /** What is in the way, in words. */
  readonly #conflicts: string[] = []
  /** Entries that the backup has. */
  readonly #seen = new Set<string>()

  constructor(dataDir: string, staging: Staging, mayReplace: boolean) {
    this.#dataDir = dataDir
    this.#staging = staging
    this.#mayReplace = mayReplace
  }

  /** Takes the next entry; they come in order, so a key comes before its parts and the identity before what goes with it. */
  async take(entry: BackupEntry): Promise<void> {
    const what = kindOf(entry.name)
    if (what === null || !isSound(entry)) throw damaged(`The backup holds a file ${entry.name} that is not right.`)
    this.#seen.add(entry.name)
    const here = await readEntry(this.#dataDir, entry.name)
    switch (what.kind) {
      case 'identity':
        this.#identity = await this.#takeSecret(entry, here, 'another identity')
        return
      case 'key':
        this.#keys.set(what.key, await this.#takeSecret(entry, here, `another key named ${what.key}`))
        return
      case 'part':
        return this.#takePart(entry, here, this.#keys.get(what.key))
      case 'of-identity':
        return this.#takePart(entry, here, this.#identity ?? undefined)
      case 'names':
        return this.#takeNames(entry.bytes, here)
      case 'keeps':
        return this.#takeKeeps(entry.bytes, here)
    }
  }

  /** Decides what can be decided only when all was seen. */
  async end(): Promise<Restored> {
    if (this.#identity === null) throw damaged('The backup holds no identity.')
    if (this.#conflicts.length > 0) {
      throw new OverlayError('config', 'BACKUP_EXISTS', `In the data folder there is ${this.#conflicts.join(', ')}.`)
    }
    // What belonged to what is replaced would be taken for the new one's.
    const gone = this.#identity === 'replaced' ? [...OF_IDENTITY] : []
    const left = [...this.#keys].flatMap(([key, outcome]) =>
      outcome === 'replaced' ? KEY_PARTS.map((part) => keyEntryName(key, part)) : [],
    )
    for (const name of [...gone, ...left]) if (!this.#seen.has(name)) this.#staging.remove(name)
    const here = (await namesIn(this.#dataDir)).flatMap((name) => {
      const what = kindOf(name)
      return what?.kind === 'key' ? [what.key] : []
    })
    if (new Set([...here, ...this.#keys.keys()]).size > KEYS_MAX) {
      throw new OverlayError('config', 'KEY_BAD', `With the keys of the backup there would be more than ${KEYS_MAX}.`)
    }
    const keys = [...this.#keys].map(([name, outcome]) => ({ name, outcome }))
    return { identity: this.#identity, keys, names: this.#names, keeps: this.#keeps }
  }

  async #takeSecret(entry: BackupEntry, here: Uint8Array | null, inTheWay: string): Promise<Outcome> {
    if (here !== null && equalPublic(here, entry.bytes)) return 'same'
    const outcome = here === null ? 'new' : 'replaced'
    if (here !== null && !this.#mayReplace) this.#conflicts.push(inTheWay)
    else await this.#staging.put(entry.name, entry.bytes)
    return outcome
  }

  async #takePart(entry: BackupEntry, here: Uint8Array | null, owner: Outcome | undefined): Promise<void> {
    if (owner === undefined) throw damaged(`The backup holds ${entry.name} without what it belongs to.`)
    if (owner === 'same' && here !== null) return
    if (this.#conflicts.length === 0) await this.#staging.put(entry.name, entry.bytes)
  }

  async #takeNames(bytes: Uint8Array, here: Uint8Array | null): Promise<void> {
    const found = parseBook(Buffer.from(bytes).toString('utf8'))
    const known = here === null ? [] : parseBook(Buffer.from(here).toString('utf8'))
    if (found === null) throw damaged('The book of names in the backup is not right.')
    if (known === null && !this.#mayReplace) {
      this.#conflicts.push('a book of names that is damaged')
      return
    }
    const book = new Map<string, NameEntry>((known ?? []).map((entry) => [entry.name, entry]))
    const names = { added: 0, replaced: 0, kept: 0 }
    for (const entry of found) {
      const before = book.get(entry.name)
      if (before?.address === entry.address) continue
      names[before === undefined ? 'added' : this.#mayReplace ? 'replaced' : 'kept']++
      if (before === undefined || this.#mayReplace) book.set(entry.name, entry)
    }
    this.#names = names
    if (book.size > NAMES_MAX) {
      throw new OverlayError('config', 'NAME_LIMIT', `With the names of the backup there would be more than ${NAMES_MAX}.`)
    }
    const text = () => utf8(bookText([...book.values()]))
    if (names.added + names.replaced > 0 || known === null) await this.#staging.put(NAMES, here === null ? bytes : text())
  }

  async #takeKeeps(bytes: Uint8Array, here: Uint8Array | null): Promise<void> {
    const found = parseKeeps(Buffer.from(bytes).toString('utf8'))
    const known = here === null ? [] : parseKeeps(Buffer.from(here).toString('utf8'))
    if (found === null) throw damaged('The list of what is kept in the backup is not right.')
    if (known === null && !this.#mayReplace) {
      this.#conflicts.push('a list of what is kept that is damaged')
      return
    }
    const book = new Map((known ?? []).map((keep) => [keep.address, keep]))
    let changed = known === null
    for (const keep of found) {
      const before = book.get(keep.address)
      // The user's wish counts for more than having published it.
      if (before !== undefined && (before.source === 'user' || keep.source === 'own')) continue
      changed = true
      if (before === undefined) this.#keeps++
      book.set(keep.address, before === undefined ? keep : { ...before, source: keep.source })
    }
    if (book.size > KEEPS_MAX) {
      throw new OverlayError('config', 'KEEP_LIMIT', `With the backup more than ${KEEPS_MAX} publications would be kept.`)
    }
    if (changed) await this.#staging.put(KEEPS, here === null ? bytes : utf8(keepsText([...book.values()])))
  }
}

function damaged(message: string): OverlayError {
  return new OverlayError('integrity', 'BACKUP_DAMAGED', message)
}
