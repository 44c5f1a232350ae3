/**
 * Publications opened lately, by isolation and address, with their verified roots and indexes: a page's next request, a video's next range or a browser's
 * second look need not ask the holders for the root again. What an address names never changes, so nothing here can be out of date. In
 * memory only, a bounded number, forgotten soon after the last use: it says what this node's user reads.
 */
import type { MonotonicMs } from '../src/bytes/index.ts'
import type { WorkTrace } from '../src/content/network.ts'
import type { Clock, Timer } from '../src/runtime/index.ts'
import type { OpenedFile } from './library.ts'

// Implementation constants.
/** A publication not used for this long is forgotten. As long as its loops are kept (`shares.ts`). */
export const OPEN_FILE_IDLE_MS = 60_000
/** At the limit the one used longest ago goes. Each holds at most a few MiB of index. */
export const OPEN_FILES_MAX = 32

/** Under which name the work on `address` is kept: work under different isolation names shares nothing. */
export function workName(address: string, isolation = ''): string {
  return `${isolation.length} ${isolation} ${address}`
}

interface Held {
  readonly file: OpenedFile
  readonly usedAt: MonotonicMs
}

export class OpenFiles {
  readonly #clock: Clock
  /** In order of last use. */
  readonly #held = new Map<string, Held>()
  #timer: Timer | null = null
  #closed = false

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /**
   * The publication opened under `name` (its address, and whose work it is: `workName`), or what `open` gives. A failure is not kept.
   */
  async get(name: string, open: () => Promise<OpenedFile>, trace?: WorkTrace): Promise<OpenedFile> {
    this.#forget()
    const held = this.#held.get(name)
    if (held !== undefined) {
      trace?.mark('root', 'it was opened before')
      this.#keep(name, held.file)
      return held.file
    }
    const file = await open()
    this.#keep(name, file)
    return file
  }

  /** Forgets everything, for good. Idempotent. */
  close(): void {
    this.#closed = true
    this.#timer?.cancel()
    this.#held.clear()
  }

  #keep(name: string, file: OpenedFile): void {
    if (this.#closed) return
    this.#held.delete(name)
    this.#held.set(name, { file, usedAt: this.#clock.monotonicMs() })
    if (this.#held.size > OPEN_FILES_MAX) this.#held.delete(this.#held.keys().next().value!)
    this.#schedule()
  }

  /** Forgets what was not used for long. By a timer, not only when the next is opened: that may be never. */
  #forget(): void {
    const before = this.#clock.monotonicMs() - OPEN_FILE_IDLE_MS
    for (const [name, { usedAt }] of this.#held) if (usedAt <= before) this.#held.delete(name)
  }

  #schedule(): void {
    this.#timer ??= this.#clock.setTimer(OPEN_FILE_IDLE_MS, () => {
      this.#timer = null
      this.#forget()
      if (this.#held.size > 0) this.#schedule()
    })
  }

  /** How many are remembered. */
  get size(): number {
    return this.#held.size
  }
}
