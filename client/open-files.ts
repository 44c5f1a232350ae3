/**
 * Publications opened lately, by address, with their verified roots and indexes: a page's next request, a video's next range or a browser's
 * second look need not ask the holders for the root again. What an address names never changes, so nothing here can be out of date. In
 * memory only, a bounded number, forgotten soon after the last use: it says what this node's user reads.
 */
import type { MonotonicMs } from '../src/bytes/index.ts'
import type { Clock, Timer } from '../src/runtime/index.ts'
import type { OpenedFile } from './library.ts'

// Implementation constants.
/** A publication not used for this long is forgotten. As long as its loops are kept (`shares.ts`). */
export const OPEN_FILE_IDLE_MS = 60_000
/** At the limit the one used longest ago goes. Each holds at most a few MiB of index. */
export const OPEN_FILES_MAX = 32

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

  /** The opened publication, or what `open` gives. A failure is not kept. */
  async get(address: string, open: () => Promise<OpenedFile>): Promise<OpenedFile> {
    this.#forget()
    const held = this.#held.get(address)
    if (held !== undefined) {
      this.#keep(address, held.file)
      return held.file
    }
    const file = await open()
    this.#keep(address, file)
    return file
  }

  /** Forgets everything, for good. Idempotent. */
  close(): void {
    this.#closed = true
    this.#timer?.cancel()
    this.#held.clear()
  }

  #keep(address: string, file: OpenedFile): void {
    if (this.#closed) return
    this.#held.delete(address)
    this.#held.set(address, { file, usedAt: this.#clock.monotonicMs() })
    if (this.#held.size > OPEN_FILES_MAX) this.#held.delete(this.#held.keys().next().value!)
    this.#schedule()
  }

  /** Forgets what was not used for long. By a timer, not only when the next is opened: that may be never. */
  #forget(): void {
    const before = this.#clock.monotonicMs() - OPEN_FILE_IDLE_MS
    for (const [address, { usedAt }] of this.#held) if (usedAt <= before) this.#held.delete(address)
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
