/**
 * Keeps publications alive: goes through each one a random time within a day after the last, renews what its holders have, and puts back what is
 * missing. What this node's user asked for, files published here, and the sites of this node's own keys. Spec: SPEC.md §7.8.
 *
 * Threat: holders that connect what one keeper does. Passes begin at random times, go in small steps with pauses drawn at random, over loops
 * that nothing else uses, and within a budget of bytes an hour. What the user asks for is done at once: he waits for it.
 *
 * Limits: one pass by itself at a time, and `ASKED_MAX` that were asked for; further ones wait for their turn. `KEEPS_MAX` publications.
 */
import type { MonotonicMs, NodeId } from '../../src/bytes/index.ts'
import {
  AddressType,
  canonicalAddress,
  formatFileAddress,
  requireAddress,
  requireFileAddress,
} from '../../src/content/address.ts'
import { HolderHealth } from '../../src/content/holder-health.ts'
import { isOverlayError, OverlayError } from '../../src/errors/index.ts'
import type { Logger } from '../../src/log/index.ts'
import { type Clock, type Rng, type Timer, TokenBucket } from '../../src/runtime/index.ts'
import type { KeepStatus, Keeps, NodeEvent } from '../library.ts'
import type { RecordFinder } from '../records/index.ts'
import { AWAY_MS, isAsPromised } from '../repair/index.ts'
import { KEEP_HOURS } from '../shares.ts'
import type { Keep, KeepBook } from './book.ts'
import { type CareOptions, type CareParts, type CareReport, careFor } from './care.ts'
import { windowOf } from './picks.ts'

const HOUR_MS = 3_600_000

// Implementation constants. Times are drawn between the two bounds.
/** From the end of a pass to the next one. */
const NEXT_MS = [12 * HOUR_MS, 24 * HOUR_MS] as const
/** After a pass that could not be made, and at a start for what is overdue. */
const RETRY_MS = [HOUR_MS, 2 * HOUR_MS] as const
const OVERDUE_MS = [120_000, HOUR_MS] as const
/** Longest pause before a segment. With many publications it is shorter, so that all have their turn within half a day. */
const PAUSE_MAX_MS = 40_000
const PAUSES_MS = 12 * HOUR_MS
/** What passes by themselves move in an hour, and at once. */
export const KEEP_BYTES_PER_HOUR = 256 * 1024 * 1024
const BURST_BYTES = 8 * 1024 * 1024
/** If more than this part of a window is missing, the whole of it is gone through. */
const ALL_ABOVE = 0.05
/** What was not gone through for so long is gone through whole. */
const ALL_AFTER_MS = 8 * 24 * HOUR_MS
/** Passes that were asked for, at once. */
const ASKED_MAX = 4
/** A holder that lied counts for nothing for so long; so many are remembered. */
const LIAR_MS = 24 * HOUR_MS
const LIARS_MAX = 256

export interface KeeperParts {
  readonly book: KeepBook
  readonly care: CareParts
  readonly finder: RecordFinder
  /** Sites of this node's own keys: their address, and the key material of the version that is the current one. */
  ownSites(): readonly { readonly address: string; readonly snapshot: Uint8Array }[]
  /** Puts records of a key back; see `records.ts`. */
  careForRecords(key: Uint8Array, how: { readonly signal: AbortSignal; readonly pause: () => Promise<void> }): Promise<number>
  readonly clock: Clock
  readonly rng: Rng
  readonly log: Pick<Logger, 'warn'>
  readonly emit?: (event: NodeEvent) => void
}

/** What is known of one publication besides what the book says. */
interface Held {
  readonly address: string
  state: KeepStatus['state']
  report: CareReport | null
  code: string | null
  /** On the monotonic clock. */
  dueMs: number
  /** The user waits for it. */
  asked: boolean
  running: AbortController | null
}

export class Keeper implements Keeps {
  readonly #parts: KeeperParts
  readonly #held = new Map<string, Held>()
  readonly #budget: TokenBucket
  /** Who did not answer. */
  readonly #health: HolderHealth
  readonly #liars = new Map<NodeId, MonotonicMs>()
  readonly #running = new Set<Promise<void>>()
  readonly #stop = new AbortController()
  #timer: Timer | null = null
  #asked = 0
  #byItself = 0

  constructor(parts: KeeperParts) {
    this.#parts = parts
    this.#health = new HolderHealth(parts.clock, AWAY_MS)
    this.#budget = new TokenBucket(KEEP_BYTES_PER_HOUR / 3600, BURST_BYTES, parts.clock.monotonicMs())
  }

  /** Begins to keep what the book says. */
  async start(): Promise<void> {
    const { book, log } = this.#parts
    const sites = new Set(this.#parts.ownSites().map(({ address }) => address))
    try {
      for (const { address, source } of book.list()) {
        const isKey = requireAddress(address).type === AddressType.key
        if (isKey && source === 'own' && !sites.has(address)) await book.remove(address)
      }
      for (const address of sites) await this.own(address)
    } catch (error) {
      if (!isOverlayError(error) || error.kind === 'bug') throw error
      log.warn('the list of what is kept cannot be written; it stays as it was', { error })
    }
    for (const keep of book.list()) this.#hold(keep)
    this.#go()
  }

  list(): readonly KeepStatus[] {
    return this.#parts.book.list().map((keep) => this.#statusOf(keep))
  }

  get(address: string): KeepStatus | null {
    const keep = this.#parts.book.get(address.toLowerCase())
    return keep === null ? null : this.#statusOf(keep)
  }

  async keep(text: string): Promise<KeepStatus> {
    const address = canonicalAddress(requireAddress(text))
    const keep = await this.#add(address, 'user')
    const held = this.#hold(keep)
    // One that goes slowly by itself is begun again, for somebody waits now.
    if (!held.asked) held.running?.abort()
    held.asked = true
    held.dueMs = this.#parts.clock.monotonicMs()
    held.state = 'checking'
    this.#go()
    return this.#statusOf(keep)
  }

  async unkeep(text: string): Promise<boolean> {
    const address = text.toLowerCase()
    if (this.#parts.ownSites().some((site) => site.address === address)) return false
    const was = await this.#parts.book.remove(address)
    this.#held.get(address)?.running?.abort()
    this.#held.delete(address)
    return was
  }

  /** Keeps what was published here just now. `false`: no more can be kept. Errors: `DATA_DIR_UNUSABLE`. */
  async own(address: string): Promise<boolean> {
    try {
      this.#hold(await this.#add(address, 'own'))
      this.#go()
      return true
    } catch (error) {
      if (!isOverlayError(error, 'KEEP_LIMIT')) throw error
      this.#parts.log.warn('as many publications are kept as may be: what was published now expires in 30 days')
      return false
    }
  }

  /** Nodes that lied not long ago. */
  get liars(): Set<NodeId> {
    const before = this.#parts.clock.monotonicMs() - LIAR_MS
    for (const [node, atMs] of this.#liars) if (atMs < before) this.#liars.delete(node)
    return new Set(this.#liars.keys())
  }

  /** The file that an address stands for now, as key material; `null`: a key without a site. Errors: those of the finder. */
  async fileOf(address: string, signal: AbortSignal): Promise<Uint8Array | null> {
    const parsed = requireAddress(address)
    if (parsed.type === AddressType.file) return parsed.key
    const own = this.#parts.ownSites().find((site) => site.address === address)
    if (own !== undefined) return own.snapshot
    const { record } = await this.#parts.finder.find(parsed.key, { signal, isolation: ISOLATION })
    return record.site?.snapshot ?? null
  }

  /** Ends what is under way. Idempotent. */
  async close(): Promise<void> {
    this.#stop.abort(new OverlayError('unreachable', 'NODE_NOT_READY', 'The node is stopping.'))
    this.#timer?.cancel()
    await Promise.allSettled(this.#running)
    await this.#parts.book.close()
  }

  async #add(address: string, source: Keep['source']): Promise<Keep> {
    const { book, clock } = this.#parts
    const fresh = { address, source, addedMs: clock.unixMs(), checkedMs: 0, passes: 0, snapshot: '' }
    await book.add(fresh)
    return book.get(address) ?? fresh
  }

  #hold({ address, checkedMs, addedMs, source }: Keep): Held {
    const known = this.#held.get(address)
    if (known !== undefined) return known
    const { clock } = this.#parts
    // What was published here was whole then; what somebody asked for, and did not get yet, may not be.
    const wholeMs = checkedMs === 0 && source === 'own' ? addedMs : checkedMs
    const dueMs = this.#drawn(NEXT_MS) - Math.max(0, clock.unixMs() - wholeMs)
    const inMs = dueMs > 0 ? dueMs : this.#drawn(OVERDUE_MS)
    const rest = { report: null, code: null, asked: false, running: null }
    const held: Held = { address, state: 'waiting', dueMs: clock.monotonicMs() + inMs, ...rest }
    this.#held.set(address, held)
    return held
  }

  /** Begins every pass whose turn it is, and sees to it that the next one gets its. */
  #go(): void {
    if (this.#stop.signal.aborted) return
    this.#timer?.cancel()
    this.#timer = null
    const { clock } = this.#parts
    const now = clock.monotonicMs()
    const ready = [...this.#held.values()].filter(({ running }) => running === null).sort((a, b) => a.dueMs - b.dueMs)
    for (const held of ready) if (held.asked && this.#asked < ASKED_MAX) this.#begin(held)
    const next = ready.find((held) => !held.asked)
    if (next === undefined || this.#byItself > 0) return
    if (next.dueMs <= now) return this.#begin(next)
    this.#timer = clock.setTimer(next.dueMs - now, () => this.#go())
  }

  #begin(held: Held): void {
    const { asked } = held
    const ending = new AbortController()
    held.running = ending
    held.state = 'checking'
    if (asked) this.#asked++
    else this.#byItself++
    const run = this.#run(held, asked, AbortSignal.any([ending.signal, this.#stop.signal])).finally(() => {
      this.#running.delete(run)
      held.running = null
      if (asked) this.#asked--
      else this.#byItself--
      // Asked for in the middle of a pass by itself: then that one was ended, and this is its turn.
      if (asked) held.asked = false
      if (!held.asked) held.dueMs = this.#parts.clock.monotonicMs() + this.#drawn(held.code === null ? NEXT_MS : RETRY_MS)
      this.#go()
    })
    this.#running.add(run)
  }

  /** One pass. Rejects for a fault of the program only. */
  async #run(held: Held, asked: boolean, signal: AbortSignal): Promise<void> {
    const { book, clock, emit } = this.#parts
    const { address } = held
    try {
      held.report = await this.#pass(address, asked, signal)
      const { passes = 0 } = book.get(address) ?? {}
      await book.note(address, { checkedMs: clock.unixMs(), passes: passes + 1 })
      held.code = null
      held.state = held.report === null ? 'empty' : stateOf(held.report)
    } catch (error) {
      if (signal.aborted) return
      if (!isOverlayError(error) || error.kind === 'bug') throw error
      held.code = error.code
      held.state = error.code === 'CONTENT_NOT_FOUND' || error.code === 'CONTENT_DAMAGED' ? 'lost' : 'failed'
    }
    emit?.({ type: 'keep', data: { address, state: held.state } })
  }

  /** `null`: there is nothing to keep. */
  async #pass(address: string, asked: boolean, signal: AbortSignal): Promise<CareReport | null> {
    const { book, care, clock, rng } = this.#parts
    const pause = asked ? async () => {} : () => clock.sleep(rng.unit() * this.#pauseMs, { signal })
    const s = await this.#current(address, signal, pause)
    if (s === null) return null
    const { passes = 0, checkedMs = 0 } = book.get(address) ?? {}
    const isLongAgo = checkedMs !== 0 && clock.unixMs() - checkedMs > ALL_AFTER_MS
    const liars = this.liars
    const options: CareOptions = {
      ...{ keepHours: KEEP_HOURS, mend: true, liars, signal, health: this.#health, allAbove: ALL_ABOVE },
      pick: (segments) => (isLongAgo ? segments : windowOf(segments, passes)),
      ...(asked ? {} : { pace: (bytes) => (bytes === 0 ? pause() : this.#allowed(bytes, signal)) }),
    }
    try {
      return await careFor(s, care, options)
    } finally {
      for (const node of liars) this.#noteLiar(node)
    }
  }

  /** The file to look after: of a key the version of now, or the one seen last if its record cannot be had. Its records are put back too. */
  async #current(address: string, signal: AbortSignal, pause: () => Promise<void>): Promise<Uint8Array | null> {
    const { book, ownSites, careForRecords } = this.#parts
    const parsed = requireAddress(address)
    if (parsed.type === AddressType.file) return parsed.key
    const last = book.get(address)?.snapshot ?? ''
    let found: Uint8Array | null
    try {
      found = await this.fileOf(address, signal)
    } catch (error) {
      signal.throwIfAborted()
      if (last === '' || !isOverlayError(error) || error.kind === 'bug') throw error
      return requireFileAddress(last).key
    }
    const snapshot = found === null ? '' : formatFileAddress(found)
    if (snapshot !== last) await book.note(address, { snapshot })
    // The owner sees to his own.
    if (!ownSites().some((site) => site.address === address)) await careForRecords(parsed.key, { signal, pause })
    return found
  }

  get #pauseMs(): number {
    return Math.min(PAUSE_MAX_MS, PAUSES_MS / Math.max(1, this.#held.size))
  }

  /** Waits until `bytes` may be moved. */
  async #allowed(bytes: number, signal: AbortSignal): Promise<void> {
    const { clock, rng } = this.#parts
    const some = Math.min(bytes, BURST_BYTES)
    const forMs = (some / KEEP_BYTES_PER_HOUR) * HOUR_MS
    while (!this.#budget.take(clock.monotonicMs(), some)) await clock.sleep(forMs * (0.5 + rng.unit()), { signal })
  }

  #noteLiar(node: NodeId): void {
    if (this.#liars.has(node)) return
    this.#liars.set(node, this.#parts.clock.monotonicMs())
    if (this.#liars.size > LIARS_MAX) this.#liars.delete(this.#liars.keys().next().value!)
  }

  #statusOf({ address, source, addedMs, checkedMs }: Keep): KeepStatus {
    const held = this.#held.get(address)
    const report = held?.report ?? null
    return {
      address,
      kind: requireAddress(address).type === AddressType.key ? 'key' : 'file',
      source,
      state: held?.state ?? 'waiting',
      addedMs,
      checkedMs: checkedMs === 0 ? null : checkedMs,
      checked: report?.checked ?? 0,
      missing: report?.missing ?? 0,
      mended: report?.mended ?? 0,
      survives: report?.survives ?? null,
      of: report?.holders.size ?? null,
      code: held?.code ?? null,
    }
  }

  #drawn([from, to]: readonly [number, number]): number {
    return from + this.#parts.rng.unit() * (to - from)
  }
}

/** The looks for records of what is kept share nothing with what the user reads. */
const ISOLATION = 'keeper'

function stateOf(report: CareReport): KeepStatus['state'] {
  if (report.lost > 0 || report.survives < 0) return 'lost'
  return isAsPromised(report, report.known) ? 'whole' : 'weak'
}
