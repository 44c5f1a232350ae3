/**
 * Spreads work over turns of the event loop: at most so many pieces in one turn, the rest in later ones, in order. Shares that arrive
 * together would otherwise be hashed and deciphered in one go of several milliseconds, while relayed cells wait.
 */
import type { Clock } from '../runtime/index.ts'

export class Pace {
  readonly #clock: Clock
  readonly #perTurn: number
  readonly #waiting: (() => void)[] = []
  #left: number
  #turnAsked = false

  /** `perTurn`: pieces of work that together take well under a millisecond. */
  constructor(clock: Clock, perTurn: number) {
    this.#clock = clock
    this.#perTurn = perTurn
    this.#left = perTurn
  }

  /** Resolves when one piece of work may be done, in this turn or a later one. Bounded by its callers: each waits for its own call. */
  next(): Promise<void> {
    this.#askTurn()
    if (this.#left > 0) {
      this.#left--
      return Promise.resolve()
    }
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#waiting.push(resolve)
    return promise
  }

  #askTurn(): void {
    if (this.#turnAsked) return
    this.#turnAsked = true
    this.#clock.nextTurn(() => {
      this.#turnAsked = false
      const served = this.#waiting.splice(0, this.#perTurn)
      this.#left = this.#perTurn - served.length
      if (served.length > 0) this.#askTurn()
      for (const go of served) go()
    })
  }
}
