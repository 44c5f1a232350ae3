/**
 * The first of several attempts that succeeds: one after the other, the next one as soon as one fails or is slow. For what several nodes can do
 * alike. Those that are not needed any more are told so, and what they bring all the same is discarded.
 */
import type { Clock, Timer } from '../src/runtime/index.ts'

/** Attempts that are beside another one of the same work, of a whole node: no more at once than `max`, since they are most when all is slow. */
export class Hedges {
  readonly #max: number
  #pending = 0

  constructor(max: number) {
    this.#max = max
  }

  get pending(): number {
    return this.#pending
  }

  /** A place for one more, to be given back once; `null`: there is none. */
  take(): (() => void) | null {
    if (this.#pending >= this.#max) return null
    this.#pending++
    return () => {
      this.#pending--
    }
  }
}

export interface FirstOf<Item, Result> {
  readonly clock: Clock
  readonly signal: AbortSignal
  /** The next attempt begins when the last one has taken so long. */
  readonly hedgeMs: number
  /** Then only if there is a place; if not it is asked again after as long. */
  readonly hedges?: Hedges
  /** What one attempt may take. */
  readonly most: number
  /** `signal` means nothing any more when the attempt has succeeded. */
  readonly attempt: (item: Item, signal: AbortSignal) => Promise<Result>
  /** What came too late. */
  readonly discard: (result: Result) => void
  /** What to reject with when all failed. */
  readonly failed: (errors: readonly unknown[]) => unknown
}

/** Rejects with `failed(…)`, or with the signal's reason. */
export async function firstOf<Item, Result>(items: readonly Item[], how: FirstOf<Item, Result>): Promise<Result> {
  const { clock, signal, hedgeMs, hedges, most, attempt, discard, failed } = how
  signal.throwIfAborted()
  const { promise, resolve, reject } = Promise.withResolvers<Result>()
  const others = new AbortController()
  const errors: unknown[] = []
  let begun = 0
  let pending = 0
  let over = false
  const hedge: { timer: Timer | null } = { timer: null }
  /** The next one, beside those that are under way. */
  const beside = () => {
    hedge.timer?.cancel()
    if (begun >= items.length) return
    const giveBack = hedges === undefined ? () => {} : hedges.take()
    if (giveBack === null) hedge.timer = clock.setTimer(hedgeMs, beside)
    else begin(giveBack)
  }
  const begin = (giveBack = () => {}) => {
    hedge.timer?.cancel()
    const item = items[begun++]!
    pending++
    const deadline = clock.deadline(most, others.signal)
    const settled = attempt(item, deadline.signal)
    settled.then(giveBack, giveBack)
    settled.then(
      (result) => {
        deadline.clear()
        if (over) return discard(result)
        over = true
        resolve(result)
      },
      (error: unknown) => {
        deadline.clear()
        if (over) return
        errors.push(error)
        pending--
        if (errors.length === items.length) reject(failed(errors))
        else if (pending === 0) begin()
        else beside()
      },
    )
    if (begun < items.length) hedge.timer = clock.setTimer(hedgeMs, beside)
  }
  const onAbort = () => reject(signal.reason)
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    if (items.length === 0) throw failed(errors)
    begin()
    return await promise
  } finally {
    over = true
    hedge.timer?.cancel()
    signal.removeEventListener('abort', onAbort)
    others.abort(signal.aborted ? signal.reason : new Error('another attempt was first'))
  }
}
