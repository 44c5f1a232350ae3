/**
 * Traces: where the time of one piece of work went, stage by stage, so that a face can say why something was slow or failed. Private to this
 * node's user: in memory only, the last few, behind the token. They name no node and no address, only this node's own loops by number.
 */
import type { MonotonicMs } from '../../src/bytes/index.ts'
import type { Clock, Rng } from '../../src/runtime/index.ts'

/** Traces kept; the oldest goes. */
export const TRACES_MAX = 128
/** Stages kept of one trace; further ones are counted, not kept. */
export const STAGES_MAX = 256
/** Stages kept of one name: a long read has a loop and a share for each block, and must not crowd out how it ended. */
export const STAGES_OF_A_NAME_MAX = 48
/** Failed stages that are kept apart, the last ones, also beyond the limits above: they say why. */
export const FAILED_MAX = 4

/** One stage of a piece of work. */
export interface StageReport {
  /**
   * `directory`, `record`, `loop`, `root`, `index`, `share`, `late`, `retry`, `introduction`, `work`, `rendezvous`, `handshake`, `connect`,
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
  /** Whether it failed, or was not over when the work failed. The work may have gone on without it. */
  readonly failed: boolean
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
  /** The stage that took longest so far, those that only sum up others aside; `null` if none took time. */
  readonly slowest: string | null
  /** The last stages that failed, oldest first. */
  readonly failures: readonly StageReport[]
}

/** How a stage went. */
export interface StageEnd {
  readonly note?: string
  readonly loop?: number
  readonly failed?: boolean
}

/** Ends a stage; at most once counts. */
export type EndStage = (how?: StageEnd) => void

/** Where a piece of work notes its stages. */
export interface Trace {
  readonly id: string
  /** Begins a stage. */
  stage(name: string): EndStage
  /** Notes a moment. One that names a loop is kept once for each loop. */
  mark(name: string, note?: string, how?: { readonly loop?: number; readonly failed?: boolean }): void
  /** Ends the trace: `code` is why it failed, or `null`. Idempotent. */
  end(code: string | null): void
}

/** Stages that sum up others. */
const SUMS: ReadonlySet<string> = new Set(['first-byte', 'body'])

/** The traces that a node keeps. */
export class Traces {
  readonly #clock: Clock
  readonly #rng: Rng
  readonly #running = new Map<string, RunningTrace>()

  constructor({ clock, rng }: { readonly clock: Clock; readonly rng: Rng }) {
    this.#clock = clock
    this.#rng = rng
  }

  /** The trace `id`, or `undefined` when there never was one or it is forgotten. */
  report(id: string): TraceReport | undefined {
    return this.#running.get(id)?.report()
  }

  begin(): Trace {
    const id = [...this.#rng.bytes(8)].map((byte) => byte.toString(16).padStart(2, '0')).join('')
    const trace = new RunningTrace(id, this.#clock)
    this.#running.set(id, trace)
    if (this.#running.size > TRACES_MAX) this.#running.delete(this.#running.keys().next().value!)
    return trace
  }
}

interface Kept {
  readonly stage: string
  readonly atMs: number
  tookMs: number | null
  note: string | null
  loop: number | null
  failed: boolean
  /** Begun and not ended. */
  open: boolean
}

class RunningTrace implements Trace {
  readonly id: string
  readonly #clock: Clock
  readonly #began: MonotonicMs
  readonly #stages: Kept[] = []
  readonly #failures: Kept[] = []
  readonly #counts = new Map<string, number>()
  /** What ends stages that are not kept, by name. */
  readonly #ends = new Map<string, EndStage>()
  /** Loops that were noted, at most as many as stages are kept. */
  readonly #loops = new Set<number>()
  #dropped = 0
  #state: TraceReport['state'] = 'running'
  #totalMs: number | null = null
  #code: string | null = null

  constructor(id: string, clock: Clock) {
    this.id = id
    this.#clock = clock
    this.#began = clock.monotonicMs()
  }

  stage(name: string): EndStage {
    const kept = this.#keep(name, this.#elapsed(), true)
    return kept === null ? this.#unkept(name) : (how) => this.#close(kept, how)
  }

  mark(name: string, note?: string, how?: { readonly loop?: number; readonly failed?: boolean }): void {
    const loop = how?.loop
    if (loop !== undefined) {
      if (this.#loops.has(loop) || this.#loops.size >= STAGES_MAX) return
      this.#loops.add(loop)
    }
    const kept = this.#keep(name, this.#elapsed(), false)
    if (kept === null) {
      if (how?.failed === true) this.#failedUnkept(name, this.#elapsed(), note === undefined ? how : { ...how, note })
      return
    }
    kept.note = note ?? null
    kept.loop = loop ?? null
    if (how?.failed === true) this.#fail(kept)
  }

  end(code: string | null): void {
    if (this.#state !== 'running') return
    this.#state = code === null ? 'done' : 'failed'
    this.#code = code
    this.#totalMs = this.#elapsed()
    // What was under way when the work failed is where it failed, unless something else is known to have. When time was up, it is all the same.
    const known = code === 'TIMEOUT' ? [] : this.#failures.splice(0)
    for (const kept of this.#stages) if (kept.open) this.#close(kept, code === null ? {} : { note: 'not over', failed: true })
    for (const kept of known) this.#fail(kept)
  }

  report(): TraceReport {
    const { id } = this
    const end = this.#totalMs ?? this.#elapsed()
    return {
      id,
      state: this.#state,
      totalMs: this.#totalMs,
      code: this.#code,
      stages: this.#stages.map(reported),
      dropped: this.#dropped,
      slowest: slowestOf(this.#stages, end),
      failures: this.#failures.map(reported),
    }
  }

  #elapsed(): number {
    return Math.round((this.#clock.monotonicMs() - this.#began) * 10) / 10
  }

  /** `null`, without an allocation, at a limit. */
  #keep(stage: string, atMs: number, open: boolean): Kept | null {
    const count = this.#counts.get(stage) ?? 0
    if (this.#state !== 'running' || this.#stages.length >= STAGES_MAX || count >= STAGES_OF_A_NAME_MAX) {
      this.#dropped++
      return null
    }
    this.#counts.set(stage, count + 1)
    const kept: Kept = { stage, atMs, tookMs: null, note: null, loop: null, failed: false, open }
    this.#stages.push(kept)
    return kept
  }

  #close(kept: Kept, how: StageEnd = {}): void {
    if (!kept.open) return
    kept.open = false
    kept.tookMs = Math.round((this.#elapsed() - kept.atMs) * 10) / 10
    kept.note = how.note ?? null
    kept.loop = how.loop ?? null
    if (kept.loop !== null && this.#loops.size < STAGES_MAX) this.#loops.add(kept.loop)
    if (how.failed === true) this.#fail(kept)
  }

  /** How a stage that is not kept ends: only a failure is noted. One function for all of a name. */
  #unkept(name: string): EndStage {
    let end = this.#ends.get(name)
    if (end === undefined) {
      end = (how) => {
        if (how?.failed === true) this.#failedUnkept(name, this.#elapsed(), how)
      }
      this.#ends.set(name, end)
    }
    return end
  }

  #failedUnkept(stage: string, atMs: number, { note, loop }: StageEnd): void {
    const tookMs = Math.round((this.#elapsed() - atMs) * 10) / 10
    this.#fail({ stage, atMs, tookMs, note: note ?? null, loop: loop ?? null, failed: true, open: false })
  }

  #fail(kept: Kept): void {
    kept.failed = true
    this.#failures.push(kept)
    if (this.#failures.length > FAILED_MAX) this.#failures.shift()
  }
}

function reported({ stage, atMs, tookMs, note, loop, failed }: Kept): StageReport {
  return { stage, atMs, tookMs, note, loop, failed }
}

function slowestOf(stages: readonly Kept[], nowMs: number): string | null {
  let slowest: string | null = null
  let longest = 0
  for (const sums of [false, true]) {
    for (const { stage, atMs, tookMs, open } of stages) {
      const ms = open ? nowMs - atMs : (tookMs ?? 0)
      if (SUMS.has(stage) !== sums || ms <= longest) continue
      longest = ms
      slowest = stage
    }
    if (slowest !== null) return slowest
  }
  return slowest
}

/** One line for people: what took how long, or what failed. `null` if there is nothing to say. */
export function explain({ state, failures, slowest, totalMs, stages }: TraceReport): string | null {
  const failed = failures.at(-1)
  if (state === 'failed' && failed !== undefined) {
    const after = failed.tookMs === null ? '' : ` after ${Math.round(failed.tookMs)} ms`
    return `It failed at the stage "${failed.stage}"${after}${failed.note === null ? '' : `: ${failed.note.replace(/\.$/, '')}`}.`
  }
  const longest = Math.max(0, ...stages.map(({ stage, tookMs }) => (stage === slowest ? (tookMs ?? 0) : 0)))
  if (slowest === null || longest === 0) return null
  return `Most of the time went to the stage "${slowest}": ${Math.round(longest)} of ${Math.round(totalMs ?? longest)} ms.`
}
