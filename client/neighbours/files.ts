/** The two files that neighbours and directory live on in: read at the start, written when they changed, one write at a time. No decisions. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Directory, loadDirectory, saveDirectory, writeAtomically } from '../../src/directory/index.ts'
import type { Logger } from '../../src/log/index.ts'
import type { Clock } from '../../src/runtime/index.ts'
import type { NeighbourBook } from './book.ts'

const BOOK_FILE = 'neighbours'
const DIRECTORY_FILE = 'directory'

export interface FilesDeps {
  readonly dataDir: string
  readonly directory: Directory
  readonly book: NeighbourBook
  readonly clock: Clock
  readonly log: Logger
}

export class NeighbourFiles {
  readonly #deps: FilesDeps
  #savedVersion = -1
  #savedBook = ''
  /** The book is on disk and could not be read: it is not written over. */
  #bookUnread = false
  /** The same of the directory: it is written over by one that knows somebody. */
  #directoryUnread = false
  /** The write under way. */
  #writing: Promise<void> = Promise.resolve()

  constructor(deps: FilesDeps) {
    this.#deps = deps
  }

  /** Fills directory and book with what is there. What is damaged is left out. */
  async load(): Promise<void> {
    const { dataDir, directory, book, clock, log } = this.#deps
    try {
      const loaded = await loadDirectory(directory, join(dataDir, DIRECTORY_FILE), clock)
      if (loaded.skipped > 0) log.info('saved descriptors were damaged or too old', { count: loaded.skipped })
    } catch (error) {
      // A node with a bootstrap address needs none of it; without one it says that it has no neighbours.
      this.#directoryUnread = true
      log.warn('the saved directory cannot be read; the network is asked for it', { error })
    }
    try {
      book.load(await readFile(join(dataDir, BOOK_FILE), 'utf8'), clock.unixMs())
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return
      // They are this node's guards: those that are chosen now must not take their place for good.
      this.#bookUnread = true
      log.warn('the saved neighbours cannot be read: others serve until the next start. Check the disk.', { error })
    }
  }

  /** Writes what has changed, after the write under way. */
  save(what: 'all' | 'book'): void {
    this.#writing = this.#writing
      .then(() => this.#write(what))
      .catch((error: unknown) => this.#deps.log.warn('directory or neighbours could not be saved', { error }))
  }

  async #write(what: 'all' | 'book'): Promise<void> {
    const { dataDir, directory, book } = this.#deps
    const text = book.toText()
    if (text !== this.#savedBook && !this.#bookUnread) await writeAtomically(join(dataDir, BOOK_FILE), [text])
    this.#savedBook = text
    const { version } = directory
    if (what === 'book' || version === this.#savedVersion || (this.#directoryUnread && directory.size < 2)) return
    await saveDirectory(directory, join(dataDir, DIRECTORY_FILE))
    this.#savedVersion = version
  }

  /** After the last write. */
  async written(): Promise<void> {
    await this.#writing
  }
}
