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
  /** The write under way. */
  #writing: Promise<void> = Promise.resolve()

  constructor(deps: FilesDeps) {
    this.#deps = deps
  }

  /** Fills directory and book with what is there. What is damaged is left out. */
  async load(): Promise<void> {
    const { dataDir, directory, book, clock, log } = this.#deps
    const loaded = await loadDirectory(directory, join(dataDir, DIRECTORY_FILE), clock)
    if (loaded.skipped > 0) log.info('saved descriptors were damaged or too old', { count: loaded.skipped })
    try {
      book.load(await readFile(join(dataDir, BOOK_FILE), 'utf8'), clock.unixMs())
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return
      log.warn('the saved neighbours cannot be read; new ones are chosen', { error })
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
    if (text !== this.#savedBook) await writeAtomically(join(dataDir, BOOK_FILE), [text])
    this.#savedBook = text
    const { version } = directory
    if (what === 'book' || version === this.#savedVersion) return
    await saveDirectory(directory, join(dataDir, DIRECTORY_FILE))
    this.#savedVersion = version
  }

  /** After the last write. */
  async written(): Promise<void> {
    await this.#writing
  }
}
