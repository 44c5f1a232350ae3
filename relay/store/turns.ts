/** Changes of one key, one after the other; changes of different keys go side by side. As long as there are callers, no longer. */
import { keyText } from './places.ts'

export class KeyTurns {
  /** The last change under way of each key. */
  readonly #last = new Map<string, Promise<unknown>>()

  /** Whether a change of `key` is under way. */
  has(key: Uint8Array): boolean {
    return this.#last.has(keyText(key))
  }

  /** Runs `change` when all earlier changes of `key` are done. */
  async run<T>(key: Uint8Array, change: () => Promise<T>): Promise<T> {
    const name = keyText(key)
    const before = this.#last.get(name) ?? Promise.resolve()
    const mine = before.then(change, change)
    this.#last.set(name, mine)
    try {
      return await mine
    } finally {
      if (this.#last.get(name) === mine) this.#last.delete(name)
    }
  }
}
