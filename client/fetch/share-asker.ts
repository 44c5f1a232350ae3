/**
 * Asks holders for shares on behalf of one read, and verifies what comes: an answer leaves this file as the right share or not at all.
 * It bounds how many asks are under way, in a shuffled order. Spec: SPEC.md §7.6. Threat: holders that lie, stall or are gone.
 *
 * An ask that takes longer than others usually do becomes *late*: it goes on, but its permit is given back, so that a few dead holders
 * cannot stop a read until their time-outs. Late asks are bounded too; one too many is ended.
 */
import type { NodeId } from '../../src/bytes/index.ts'
import { SHARE_BYTES } from '../../src/content/constants.ts'
import type { HolderHealth } from '../../src/content/holder-health.ts'
import type { ShareNetwork, WorkTrace } from '../../src/content/network.ts'
import { Pace } from '../../src/content/pace.ts'
import { Permits } from '../../src/content/permits.ts'
import type { Ranking } from '../../src/content/placement.ts'
import { isShareOf } from '../../src/content/share.ts'
import { isOverlayError, type OverlayError } from '../../src/errors/index.ts'
import type { Clock, Rng } from '../../src/runtime/index.ts'
import type { ReadGaps } from '../heal/index.ts'
import type { FetchCounters } from '../library.ts'

// Implementation constants.
/** Asks under way at once, late ones apart, if the network does not ask for more: 2 MiB. */
const ASKS_MAX = 32
/** Late asks at once. */
const LATE_MAX = 64
/** Blocks verified or deciphered in one turn of the event loop: about half a millisecond. */
const BLOCKS_PER_TURN = 8
/** Time for one ask, over everything that the network does for it. */
const ASK_TIMEOUT_MS = 30_000

export interface AskerParts {
  readonly network: ShareNetwork
  readonly ranking: Ranking
  readonly health: HolderHealth
  readonly clock: Clock
  readonly rng: Rng
  /** Where this read notes its first share, and those that were late or failed. */
  readonly trace?: WorkTrace | undefined
  /** How long work goes on that gets nothing but silence. Default 0: until everybody was asked once. */
  readonly persistMs?: number
  /** Where it is noted what holders did not have. */
  readonly gaps?: Pick<ReadGaps, 'segment'> | undefined
}

/** `share`: verified. `none`: the holder does not have it. `bad`: it sent other bytes. `failed`: no answer. */
export type Answer = { readonly kind: 'share'; readonly bytes: Uint8Array } | { readonly kind: 'none' | 'bad' | 'failed' }

/** The code of an error, for a trace. */
export function codeOf(error: unknown): string {
  return isOverlayError(error) ? error.code : 'INTERNAL'
}

/** What another holder may mend; anything else is a bug and surfaces. */
export function isHolderFault(error: unknown): error is OverlayError {
  if (!isOverlayError(error) || error.code === 'NETWORK_TOO_SMALL') return false
  return error.kind !== 'bug' && error.kind !== 'config'
}

export class ShareAsker {
  readonly parts: AskerParts
  readonly counters: { -readonly [K in keyof FetchCounters]: FetchCounters[K] } = { asked: 0, received: 0, bad: 0 }
  readonly #permits: Permits
  readonly #pace: Pace
  #late = 0
  /** Ends the stage of this read's first share; gone once it came. */
  #first: ReturnType<WorkTrace['stage']> | undefined

  constructor(parts: AskerParts) {
    this.parts = parts
    this.#pace = new Pace(parts.clock, BLOCKS_PER_TURN)
    this.#permits = new Permits(Math.max(ASKS_MAX, parts.network.asksAtOnce ?? 0), (count) => parts.rng.below(count))
  }

  /** Waits until this turn has room for the work on one block. */
  roomForBlock(): Promise<void> {
    return this.#pace.next()
  }

  /**
   * Waits for a loop that leads to `node`. Where there is none, `elsewhere` says after a while whether others can be asked meanwhile: then the permit
   * is theirs. Returns whether it is.
   */
  async #readyFor(node: NodeId, signal: AbortSignal, elsewhere: () => boolean): Promise<boolean> {
    const { network, health, clock } = this.parts
    if (network.ready === undefined) return false
    let given = false
    const look = () => {
      if (network.near?.(node) !== false || this.#late >= LATE_MAX || !elsewhere()) {
        timer = clock.setTimer(health.patienceMs, look)
        return
      }
      given = true
      this.#late++
      this.#permits.give()
    }
    let timer = clock.setTimer(health.patienceMs, look)
    try {
      await network.ready(node, SHARE_BYTES, { signal })
      signal.throwIfAborted()
      return given
    } catch (error) {
      if (given) this.#late--
      else this.#permits.give()
      throw error
    } finally {
      timer.cancel()
    }
  }

  /**
   * Asks `node` for the share with `address`. `onLate` is called at most once, before the promise settles. `elsewhere`: no loop leads to `node`; goes on
   * without it, and returns true, if others can be asked. Rejects with the signal's reason, or with an error that is no holder's fault.
   */
  async ask(
    node: NodeId,
    address: Uint8Array,
    signal: AbortSignal,
    { onLate, elsewhere }: { readonly onLate: () => void; readonly elsewhere: () => boolean },
  ): Promise<Answer> {
    const { network, clock, health, trace } = this.parts
    await this.#permits.take(signal)
    let late = await this.#readyFor(node, signal, elsewhere)
    if (trace !== undefined && this.counters.asked === 0) this.#first = trace.stage('share')
    const ending = new AbortController()
    const deadline = clock.deadline(ASK_TIMEOUT_MS, AbortSignal.any([signal, ending.signal]))
    const startedMs = clock.monotonicMs()
    const patience = clock.setTimer(health.patienceMs, () => {
      if (late) return
      late = true
      this.#late++
      this.#permits.give()
      health.failed(node)
      if (this.#late > LATE_MAX) ending.abort()
      trace?.mark('late', 'a holder of a share is slow; others are asked')
      onLate()
    })
    this.counters.asked++
    try {
      const bytes = await network.getShare(node, address, { signal: deadline.signal, trace })
      await this.#pace.next()
      signal.throwIfAborted()
      const isRight = bytes !== null && isShareOf(bytes, address)
      if (bytes !== null && !isRight) {
        this.counters.bad++
        health.failed(node)
        trace?.mark('retry', 'a holder sent wrong bytes for a share', { failed: true })
        return { kind: 'bad' }
      }
      health.answered(node, clock.monotonicMs() - startedMs)
      if (bytes === null) {
        trace?.mark('retry', 'a holder does not have its share')
        return { kind: 'none' }
      }
      this.counters.received++
      this.#first?.({ note: 'the first that came' })
      this.#first = undefined
      return { kind: 'share', bytes }
    } catch (error) {
      signal.throwIfAborted()
      if (!ending.signal.aborted && !isHolderFault(error)) throw error
      health.failed(node)
      trace?.mark('retry', `a holder of a share gave no answer (${codeOf(error)})`, { failed: true })
      return { kind: 'failed' }
    } finally {
      patience.cancel()
      deadline.clear()
      if (late) this.#late--
      else this.#permits.give()
    }
  }
}
