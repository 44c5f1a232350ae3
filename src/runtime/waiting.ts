/** Deadlines and sleeps in terms of a clock's `setTimer`, shared by the real clock and the fake one. */
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
