/**
 * What the last fetches through the API cost: shares asked for, got, found bad, and times. For this node's own user, behind the token;
 * it holds no address and no path, lives in memory only, and forgets all but the newest. The `Gyre-Transfer` header of an answer
 * names its entry here.
 */
import type { ErrorCode } from '../../src/errors/index.ts'
import type { Clock } from '../../src/runtime/index.ts'
import type { FetchCounters } from '../library.ts'

/** Entries kept; the oldest is dropped. */
export const TRANSFERS_MAX = 64

/** One fetch, as `GET /v1/transfers/ID` shows it. */
export interface TransferReport {
  readonly id: number
  readonly state: 'running' | 'done' | 'failed'
  /** Plaintext bytes sent. */
  readonly bytes: number
  readonly sharesAsked: number
  readonly sharesReceived: number
  readonly sharesBad: number
  /** From the request to the first verified byte; `null` before it. */
  readonly firstByteMs: number | null
  readonly totalMs: number | null
  /** Why it failed. */
  readonly code: ErrorCode | null
}

/** A running fetch; its methods change its entry. */
export interface Transfer {
  readonly id: number
  counters(counters: FetchCounters): void
  firstByte(): void
  done(bytes: number): void
  failed(code: ErrorCode): void
}

const NO_SHARES: FetchCounters = Object.freeze({ asked: 0, received: 0, bad: 0 })

export class Transfers {
  readonly #clock: Clock
  readonly #reports = new Map<number, () => TransferReport>()
  #lastId = 0
  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** The entry `id`, or `undefined` when there never was one or it is forgotten. */
  report(id: number): TransferReport | undefined {
    return this.#reports.get(id)?.()
  }

  begin(): Transfer {
    const id = ++this.#lastId
    const began = this.#clock.monotonicMs()
    const elapsed = () => Math.round((this.#clock.monotonicMs() - began) * 10) / 10
    let shares = NO_SHARES
    let state: TransferReport['state'] = 'running'
    let bytes = 0
    let firstByteMs: number | null = null
    let totalMs: number | null = null
    let code: ErrorCode | null = null
    const end = (how: TransferReport['state']) => {
      state = how
      totalMs = elapsed()
      shares = { asked: shares.asked, received: shares.received, bad: shares.bad }
    }
    this.#reports.set(id, () => {
      const { asked: sharesAsked, received: sharesReceived, bad: sharesBad } = shares
      return { id, state, bytes, sharesAsked, sharesReceived, sharesBad, firstByteMs, totalMs, code }
    })
    if (this.#reports.size > TRANSFERS_MAX) this.#reports.delete(id - TRANSFERS_MAX)
    return {
      id,
      counters: (counters) => {
        shares = counters
      },
      firstByte: () => {
        firstByteMs ??= elapsed()
      },
      done: (sent) => {
        bytes = sent
        end('done')
      },
      failed: (why) => {
        code = why
        end('failed')
      },
    }
  }
}
