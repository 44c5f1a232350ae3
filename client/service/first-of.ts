/**
 * The first of several attempts that succeeds: one after the other, the next one as soon as one fails or is slow. For what several nodes can do
 * alike. Those that are not needed any more are told so, and what they bring all the same is discarded.
 */
import type { Clock, Timer } from '../../src/runtime/index.ts'

export interface FirstOf<Item, Result> {
  readonly clock: Clock
  readonly signal: AbortSignal
  /** The next attempt begins when the last one has taken so long. */
  readonly hedgeMs: number
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
  const { clock, signal, hedgeMs, most, attempt, discard, failed } = how
  signal.throwIfAborted()
  const { promise, resolve, reject } = Promise.withResolvers<Result>()
  const others = new AbortController()
  const errors: unknown[] = []
  let begun = 0
  let over = false
  const hedge: { timer: Timer | null } = { timer: null }
  const begin = () => {
    hedge.timer?.cancel()
    const item = items[begun++]
    if (item === undefined) return
    const deadline = clock.deadline(most, others.signal)
    attempt(item, deadline.signal).then(
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
        if (errors.length === items.length) reject(failed(errors))
        else begin()
      },
    )
    if (begun < items.length) hedge.timer = clock.setTimer(hedgeMs, begin)
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
