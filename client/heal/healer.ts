/**
 * Puts back what reads found missing: each thing a random while after the read, over loops of its own, within a budget of bytes an hour. Spec:
 * SPEC.md §7.7. Threat: a store that connects who put a share back with who asked for it before, or with other shares; hence the delay and
 * the loops. And holders that have others send them shares again and again, and throw them away: hence the budget.
 *
 * In memory only, bounded, forgotten at the end of the node: what waits says what was read here, though not in words. A holder is asked for a
 * proof first: others may have healed the same by then, or the holder is back with what it had.
 */
import type { MonotonicMs, NodeId } from '../../src/bytes/index.ts'
import type { ShareNetwork } from '../../src/content/network.ts'
import { CHECK_BYTES, NONCE_BYTES } from '../../src/content/proof.ts'
import { isOverlayError } from '../../src/errors/index.ts'
import { type Clock, type Rng, type Timer, TokenBucket } from '../../src/runtime/index.ts'
import type { Loss } from './losses.ts'

// Implementation constants.
/** What waits in memory; at the limit new things are let go: the next read, or a keeper, finds them again. */
export const HEAL_QUEUE_BYTES = 8 * 1024 * 1024
/** A thing is put back a random time after its read, between these. */
export const HEAL_DELAY_MS = [60_000, 600_000] as const
/** Bytes put back in an hour, and at once. */
export const HEAL_BYTES_PER_HOUR = 64 * 1024 * 1024
const BURST_BYTES = 2 * 1024 * 1024
/** What was put back is left alone for so long, whoever says that it is gone again. */
export const HEALED_AGAIN_MS = 6 * 3_600_000
/** Things remembered as put back; the one put back longest ago goes. */
const HEALED_MAX = 4096
/** Time for one check or put. */
const STEP_TIMEOUT_MS = 45_000
const HOUR_SECONDS = 3600

export interface HealerParts {
  /** A network over loops that nothing else uses; closed afterwards. */
  fresh(): ShareNetwork & { close(): void }
  readonly clock: Clock
  readonly rng: Rng
}

interface Waiting {
  readonly loss: Loss
  readonly dueMs: number
}

/** Counters since the start. */
export interface HealerStats {
  readonly waiting: number
  readonly waitingBytes: number
  /** Put back; found to be there after all; given up; let go because too much waited. */
  readonly healed: number
  readonly there: number
  readonly failed: number
  readonly dropped: number
}

export class Healer {
  readonly #parts: HealerParts
  readonly #budget: TokenBucket
  /** By name. */
  readonly #waiting = new Map<string, Waiting>()
  /** When each was dealt with, the one longest ago first. */
  readonly #done = new Map<string, MonotonicMs>()
  readonly #stop = new AbortController()
  readonly #counts = { healed: 0, there: 0, failed: 0, dropped: 0 }
  #bytes = 0
  #timer: Timer | null = null
  #running: Promise<void> | null = null

  constructor(parts: HealerParts) {
    this.#parts = parts
    this.#budget = new TokenBucket(HEAL_BYTES_PER_HOUR / HOUR_SECONDS, BURST_BYTES, parts.clock.monotonicMs())
  }

  get stats(): HealerStats {
    return { waiting: this.#waiting.size, waitingBytes: this.#bytes, ...this.#counts }
  }

  /** Takes something that was found missing, unless too much waits, or it was put back lately. */
  add(loss: Loss): void {
    const { clock, rng } = this.#parts
    if (this.#stop.signal.aborted || this.#waiting.has(loss.name)) return
    const doneMs = this.#done.get(loss.name)
    if (doneMs !== undefined && clock.monotonicMs() - doneMs < HEALED_AGAIN_MS) return
    if (this.#bytes + loss.bytes > HEAL_QUEUE_BYTES) {
      this.#counts.dropped++
      return
    }
    const [from, to] = HEAL_DELAY_MS
    this.#waiting.set(loss.name, { loss, dueMs: clock.monotonicMs() + from + rng.unit() * (to - from) })
    this.#bytes += loss.bytes
    this.#schedule()
  }

  /** Forgets what waits and ends what is under way. Idempotent. */
  async close(): Promise<void> {
    this.#stop.abort()
    this.#timer?.cancel()
    this.#waiting.clear()
    this.#bytes = 0
    await this.#running
  }

  /** Sees to it that the thing that is due first gets its turn. */
  #schedule(atLeastMs = 0): void {
    if (this.#running !== null || this.#stop.signal.aborted) return
    const next = this.#first()
    this.#timer?.cancel()
    this.#timer = null
    if (next === undefined) return
    const { clock } = this.#parts
    this.#timer = clock.setTimer(Math.max(atLeastMs, next.dueMs - clock.monotonicMs()), () => {
      this.#timer = null
      this.#turn(next)
    })
  }

  #first(): Waiting | undefined {
    let first: Waiting | undefined
    for (const waiting of this.#waiting.values()) if (first === undefined || waiting.dueMs < first.dueMs) first = waiting
    return first
  }

  #turn({ loss }: Waiting): void {
    const { clock } = this.#parts
    if (!this.#budget.take(clock.monotonicMs(), loss.bytes)) {
      return this.#schedule(1000 * Math.ceil((loss.bytes / HEAL_BYTES_PER_HOUR) * HOUR_SECONDS))
    }
    this.#waiting.delete(loss.name)
    this.#bytes -= loss.bytes
    this.#running = this.#heal(loss).finally(() => {
      this.#running = null
      this.#schedule()
    })
  }

  /** Brings one thing to the first holder that takes it. Never rejects: what fails is found missing again. */
  async #heal(loss: Loss): Promise<void> {
    const { fresh, rng } = this.#parts
    const network = fresh()
    try {
      for (const node of loss.holders) {
        await this.#ready(network, node, CHECK_BYTES)
        const isAt = await this.#step((signal) => loss.isAt(network, node, rng.bytes(NONCE_BYTES), { signal }))
        if (isAt === true) return this.#note(loss, 'there')
        if (isAt === null) continue
        await this.#ready(network, node, loss.bytes)
        const put = await this.#step(async (signal) => {
          await loss.put(network, node, { signal })
          return true
        })
        if (put === true) return this.#note(loss, 'healed')
      }
      this.#note(loss, 'failed')
    } finally {
      network.close()
    }
  }

  /** Waits for a place on a loop to `node`, where asks wait for one. */
  async #ready(network: ShareNetwork, node: NodeId, bytes: number): Promise<void> {
    await network.ready?.(node, bytes, { signal: this.#stop.signal }).catch(() => {}) // the ask says what is wrong
  }

  #note(loss: Loss, what: 'healed' | 'there' | 'failed'): void {
    this.#counts[what]++
    if (what === 'failed') return
    this.#done.delete(loss.name)
    this.#done.set(loss.name, this.#parts.clock.monotonicMs())
    if (this.#done.size > HEALED_MAX) this.#done.delete(this.#done.keys().next().value!)
  }

  /** What `run` gives in time; `null`: the holder failed. */
  async #step(run: (signal: AbortSignal) => Promise<boolean>): Promise<boolean | null> {
    const deadline = this.#parts.clock.deadline(STEP_TIMEOUT_MS, this.#stop.signal)
    try {
      deadline.signal.throwIfAborted()
      return await run(deadline.signal)
    } catch (error) {
      if (!this.#stop.signal.aborted && !isOverlayError(error)) throw error
      return null
    } finally {
      deadline.clear()
    }
  }
}
