/**
 * Work that several wait for and that is done once: each waits under a signal of its own, and the work goes on until the last of them has
 * given up. What it gave is not kept: that is a matter for caches.
 */

interface Running<T> {
  readonly result: Promise<T>
  readonly ending: AbortController
  waiters: number
}

export class JoinedWork<T> {
  readonly #running = new Map<string, Running<T>>()

  /** Pieces of work under way. */
  get size(): number {
    return this.#running.size
  }

  /** What the work `name` gives; begun by `start` if it is not under way. Errors: the work's own, the reason of `signal`. */
  async join(name: string, signal: AbortSignal, start: (signal: AbortSignal) => Promise<T>): Promise<T> {
    signal.throwIfAborted()
    const running = this.#running.get(name) ?? this.#begin(name, start)
    running.waiters++
    const { promise: aborted, reject } = Promise.withResolvers<never>()
    const onAbort = () => reject(signal.reason)
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      return await Promise.race([running.result, aborted])
    } finally {
      signal.removeEventListener('abort', onAbort)
      if (--running.waiters === 0) {
        // Whoever comes now begins anew: this work is ending.
        if (this.#running.get(name) === running) this.#running.delete(name)
        running.ending.abort()
      }
    }
  }

  #begin(name: string, start: (signal: AbortSignal) => Promise<T>): Running<T> {
    const ending = new AbortController()
    const running: Running<T> = { result: start(ending.signal), ending, waiters: 0 }
    this.#running.set(name, running)
    const forget = () => {
      if (this.#running.get(name) === running) this.#running.delete(name)
    }
    running.result.then(forget, forget)
    return running
  }
}
