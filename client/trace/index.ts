/**
 * Traces: where the time of one piece of work went, stage by stage, so that a face can say why something was slow or failed. Private to this
 * node's user: in memory only, the last few, behind the token. They name no node and no address, only this node's own loops by number.
 */
import type { Clock, Rng } from '../../src/runtime/index.ts'

/** Traces kept; the oldest goes. */
export const TRACES_MAX = 128
/** Stages kept of one trace; further ones are counted, not kept. */
export const STAGES_MAX = 256

/** One stage of a piece of work. */
export interface StageReport {
  /**
   * `directory`, `record`, `loop`, `root`, `index`, `share`, `late`, `retry`, `introduction`, `rendezvous`, `handshake`, `connect`,
   * `first-byte`, `body`.
   */
  readonly stage: string
  /** Milliseconds since the trace began. */
  readonly atMs: number
  /** Milliseconds that it took; `null`: a moment, or not over. */
  readonly tookMs: number | null
  /** Why it failed, or a few words. Holds no address and no id of a node. */
  readonly note: string | null
  /** The own loop that was used, as in `GET /v1/loops`. */
  readonly loop: number | null
}

export interface TraceReport {
  readonly id: string
  readonly state: 'running' | 'done' | 'failed'
  readonly totalMs: number | null
  /** Why it failed. */
  readonly code: string | null
  readonly stages: readonly StageReport[]
  /** Stages that were not kept. */
  readonly dropped: number
}

/** Ends a stage; at most once counts. */
export type EndStage = (how?: { readonly note?: string; readonly loop?: number }) => void

/** Where a piece of work notes its stages. */
export interface Trace {
  readonly id: string
  /** Begins a stage. */
  stage(name: string): EndStage
  /** Notes a moment. */
  mark(name: string, note?: string): void
  /** Ends the trace: `code` is why it failed, or `null`. Idempotent. */
  end(code: string | null): void
}

interface Kept {
  stage: string
  atMs: number
  tookMs: number | null
  note: string | null
  loop: number | null
}

/** The traces that a node keeps. */
export class Traces {
  readonly #clock: Clock
  readonly #rng: Rng
  readonly #reports = new Map<string, () => TraceReport>()

  constructor({ clock, rng }: { readonly clock: Clock; readonly rng: Rng }) {
    this.#clock = clock
    this.#rng = rng
  }

  /** The trace `id`, or `undefined` when there never was one or it is forgotten. */
  report(id: string): TraceReport | undefined {
    return this.#reports.get(id)?.()
  }

  begin(): Trace {
    const id = [...this.#rng.bytes(8)].map((byte) => byte.toString(16).padStart(2, '0')).join('')
    const began = this.#clock.monotonicMs()
    const elapsed = () => Math.round((this.#clock.monotonicMs() - began) * 10) / 10
    const stages: Kept[] = []
    let dropped = 0
    let state: TraceReport['state'] = 'running'
    let totalMs: number | null = null
    let code: string | null = null
    const keep = (stage: string, note: string | null): Kept | null => {
      if (stages.length >= STAGES_MAX) {
        dropped++
        return null
      }
      const kept: Kept = { stage, atMs: elapsed(), tookMs: null, note, loop: null }
      stages.push(kept)
      return kept
    }
    this.#reports.set(id, () => ({ id, state, totalMs, code, stages: stages.map((stage) => ({ ...stage })), dropped }))
    if (this.#reports.size > TRACES_MAX) this.#reports.delete(this.#reports.keys().next().value!)
    return {
      id,
      stage: (name) => {
        const kept = keep(name, null)
        return (how = {}) => {
          if (kept === null || kept.tookMs !== null) return
          kept.tookMs = Math.round((elapsed() - kept.atMs) * 10) / 10
          kept.note = how.note ?? null
          kept.loop = how.loop ?? null
        }
      },
      mark: (name, note) => void keep(name, note ?? null),
      end: (why) => {
        if (state !== 'running') return
        state = why === null ? 'done' : 'failed'
        code = why
        totalMs = elapsed()
      },
    }
  }
}
