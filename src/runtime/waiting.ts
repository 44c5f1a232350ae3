/** Deadlines and sleeps in terms of a clock's `setTimer`, shared by the real clock and the fake one; waiting that a signal can end. */
import { OverlayError } from '../errors/index.ts'
import type { Clock, Deadline } from './index.ts'

/** See `Clock.deadline`. */
export function deadlineOn(clock: Pick<Clock, 'setTimer'>, ms: number, signal: AbortSignal): Deadline {
  const controller = new AbortController()
  const onAbort = () => {
    clear()
    controller.abort(signal.reason)
  }
  const timer = clock.setTimer(ms, () => {
    clear()
    controller.abort(new OverlayError('timeout', 'TIMEOUT', `No answer within ${Math.round(ms)} ms.`))
  })
  const clear = () => {
    timer.cancel()
    signal.removeEventListener('abort', onAbort)
  }
  if (signal.aborted) onAbort()
  else signal.addEventListener('abort', onAbort, { once: true })
  return { signal: controller.signal, clear }
}

/** See `Clock.sleep`. */
export function sleepOn(clock: Pick<Clock, 'setTimer'>, ms: number, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted()
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const onAbort = () => {
    timer.cancel()
    reject(signal.reason)
  }
  const timer = clock.setTimer(ms, () => {
    signal.removeEventListener('abort', onAbort)
    resolve()
  })
  signal.addEventListener('abort', onAbort, { once: true })
  return promise
}

/** Resolves in a later turn of the event loop: what is due, and what came in, is done before. Between pieces of work that together take milliseconds. */
export function laterTurn(clock: Pick<Clock, 'nextTurn'>): Promise<void> {
  return new Promise((resolve) => clock.nextTurn(resolve))
}

/**
 * What `promise` gives, or a rejection with the signal's reason if that comes first. For each turn of a long loop: to race each turn against
 * one promise that stays open would keep what all turns gave until the loop ends, the chunks of a whole body.
 */
export function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason)
    if (signal.aborted) onAbort()
    else signal.addEventListener('abort', onAbort, { once: true })
    const end = () => signal.removeEventListener('abort', onAbort)
    promise.then(resolve, reject).finally(end)
  })
}
