/**
 * Asks a holder so often that taking it for dead is no haste: what is only slow, busy, or behind a loop that just ended would else have its part
 * stored by others, who need room for it. Spec: SPEC.md §7.8.
 */
import type { AskTiming } from '../../src/content/network.ts'
import { isOverlayError } from '../../src/errors/index.ts'
import type { Clock, Rng } from '../../src/runtime/index.ts'
import { isHolderFault } from '../fetch/share-asker.ts'

// Implementation constants.
/** Time for one try, if the network's own patience is not longer. */
const ASK_TIMEOUT_MS = 6_000
/** Pause before the second try, and before the third and last; drawn from half of it up. */
const PAUSES_MS = [1_000, 5_000] as const
/** A holder that says that it is busy is asked so often, after pauses up to this. */
const BUSY_TRIES = 16
const BUSY_PAUSE_MS = 1_000

export interface PatientParts {
  readonly clock: Clock
  readonly rng: Rng
  readonly signal: AbortSignal
  /** The network's own, if it has one. */
  readonly patience?: AskTiming['patience']
}

/** `refused`: it is there and does not do it. `away`: no try was answered. */
export type Patient<T> =
  | { readonly kind: 'answer'; readonly value: T; readonly tookMs: number }
  | { readonly kind: 'refused' | 'away' }

/**
 * What `ask` gives, tried up to three times. `wait` is waited for before each try and not timed; with `giveUp` no further try is made.
 * Errors: the signal's reason, and what is no holder's fault.
 */
export async function askPatiently<T>(
  { clock, rng, signal, patience }: PatientParts,
  ask: (signal: AbortSignal) => Promise<T>,
  { wait, giveUp }: { readonly wait: () => Promise<void> | undefined; readonly giveUp: () => boolean },
): Promise<Patient<T>> {
  for (let failures = 0, busy = 0; !giveUp(); ) {
    await wait()?.catch(() => {}) // the ask says what is wrong
    const deadline = clock.deadline(Math.max(ASK_TIMEOUT_MS, 2 * (patience?.maxMs ?? 0)), signal)
    const startedMs = clock.monotonicMs()
    try {
      const value = await ask(deadline.signal)
      return { kind: 'answer', value, tookMs: clock.monotonicMs() - startedMs }
    } catch (error) {
      signal.throwIfAborted()
      if (!isHolderFault(error)) throw error
      const { code, cause } = error
      if (code === 'STORE_REFUSED') return { kind: 'refused' }
      if (isBusy(error) && busy < BUSY_TRIES) busy++
      // A loop to it was tried for over several ways already.
      else if (isOverlayError(cause, 'LOOP_FAILED')) break
      else failures++
    } finally {
      deadline.clear()
    }
    if (failures > PAUSES_MS.length) break
    const pauseMs = failures === 0 ? BUSY_PAUSE_MS : PAUSES_MS[failures - 1]!
    await clock.sleep(pauseMs * (0.5 + rng.unit() / 2), { signal })
  }
  return { kind: 'away' }
}

/** The holder is there and has too much to do. */
function isBusy(error: unknown): boolean {
  return isOverlayError(error, 'STORE_UNREACHABLE') && error.kind === 'overload'
}
