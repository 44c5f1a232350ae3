/**
 * A counted permission to go on: bounds how much of something is under way at once. First come, first served, unless `choose` picks among
 * the first few that wait: readers shuffle their requests with it, so that holders learn less from the order.
 */

/** How many of those that wait longest `choose` picks from. */
const CHOICE_MAX = 16

interface Waiter {
  readonly grant: () => void
}

export class Permits {
  #free: number
  readonly #waiting = new Set<Waiter>()
  readonly #choose: (count: number) => number

  /** `choose`: an index below `count`; default the first. */
  constructor(count: number, choose: (count: number) => number = () => 0) {
    this.#free = count
    this.#choose = choose
  }

  /** Waits for a permit; rejects with the signal's reason if it aborts first. Each taken permit is given back once. */
  take(signal: AbortSignal): Promise<void> {
    if (signal.aborted) return Promise.reject(signal.reason)
    if (this.#free > 0) {
      this.#free--
      return Promise.resolve()
    }
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const onAbort = () => {
      this.#waiting.delete(waiter)
      reject(signal.reason)
    }
    const waiter: Waiter = {
      grant: () => {
        signal.removeEventListener('abort', onAbort)
        resolve()
      },
    }
    signal.addEventListener('abort', onAbort, { once: true })
    this.#waiting.add(waiter)
    return promise
  }

  /** Gives a permit back, to one that waits if there is any. */
  give(): void {
    if (this.#waiting.size === 0) {
      this.#free++
      return
    }
    let left = this.#choose(Math.min(this.#waiting.size, CHOICE_MAX))
    for (const waiter of this.#waiting) {
      if (left-- > 0) continue
      this.#waiting.delete(waiter)
      return waiter.grant()
    }
  }
}
