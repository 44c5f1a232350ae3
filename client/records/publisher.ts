/**
 * Publishes the records of this node's own keys and keeps them up: the current period at each change, the periods around it a random while
 * later, all again at random times as long as the node runs. What a key says is on disk before it is published, so that a restart goes on
 * with the same sequence. Spec: SPEC.md §10.5.
 *
 * Threat: holders who put together what one key published in several periods. Each period goes out over loops of its own, at a time of its own;
 * a refresh sends the same bytes again. A remote party causes nothing here. Limits: `KEYS_MAX` keys of at most 6 periods each.
 */
import { HOLDERS_MIN } from '../../src/content/constants.ts'
import { HolderHealth } from '../../src/content/holder-health.ts'
import { sealKeyRecord } from '../../src/content/key-record.ts'
import { Ranking } from '../../src/content/placement.ts'
import { periodAt, RECORD_GRACE_MS, recordCopies, recordPlace } from '../../src/content/record.ts'
import type { RecordNetwork } from '../../src/content/record-network.ts'
import { isOverlayError, OverlayError } from '../../src/errors/index.ts'
import type { Logger } from '../../src/log/index.ts'
import type { Clock, Rng, Timer } from '../../src/runtime/index.ts'
import type { KeyRecord, ServicePart, SignedRecord, SitePart } from '../../src/wire/index.ts'
import type { KeyBook, KeyEntry } from '../keys/book.ts'
import { type Parcel, type ParcelParts, ParcelSender } from '../publish/parcels.ts'
import type { RecordParts, RecordPublisher } from './records.ts'
import { changed, encodeSavedRecord, isNextSoon, parseSavedRecord, periodsOf, type SavedRecord } from './upkeep.ts'

const HOUR_MS = 3_600_000
/** Of a record with what goes with it, about. */
const RECORD_BYTES = 4096

// Implementation constants. Times are drawn between the two bounds.
const REFRESH_SERVICE_MS = [HOUR_MS, 2 * HOUR_MS] as const
const REFRESH_SITE_MS = [20 * HOUR_MS, 28 * HOUR_MS] as const
/** After a change, from one further period to the next. */
const STAGGER_MS = [5_000, 60_000] as const
/**
 * The same after a change of the service alone, for periods that nobody is in yet, whatever his clock: a service changes often, and at times
 * that show. Less than what is taken for soon (`isNextSoon`).
 */
const STAGGER_SERVICE_MS = [5 * 60_000, 45 * 60_000] as const
/** After a start: what holders may not have yet at once, or later if a live service is likely to come back and be said with it. */
const START_MS = [1_000, 5_000] as const
/**
 * After a start, what they have: each period at a time of its own. When a node starts is public; a record that is put each time just then would
 * tell who knows its address whose it is.
 */
const REST_MS = [HOUR_MS / 6, 6 * HOUR_MS] as const
const START_SERVICE_MS = [40_000, 60_000] as const
/** Loops to holders are waited for so long before there is something to say. */
const PREPARE_MS = 120_000
/** After a failure; doubled with each that follows. */
const RETRY_MS = [1_000, 2_000] as const
const RETRY_MAX_MS = 600_000
/** While too few nodes are known, as at a start. */
const RETRY_SMALL_MAX_MS = 10_000

export interface PublisherDeps {
  readonly book: KeyBook
  /** A session of loops for one record of one period; closed afterwards. */
  session(): RecordNetwork & { close(): void }
  readonly networkId: Uint8Array
  readonly clock: Clock
  readonly rng: Rng
  readonly log: Pick<Logger, 'warn'>
}

interface PeriodState {
  /** Sequence that enough holders have; 0: none. */
  published: number
  failures: number
  /** Publications under way. */
  busy: number
  timer: Timer | null
  /** When the timer fires, on the monotonic clock. */
  dueMs: number
}

interface Planning {
  readonly firstMs: number
  readonly anew: boolean
  readonly except?: number
  readonly stagger?: readonly [number, number]
}

interface Upkeep {
  readonly entry: KeyEntry
  /** As on disk. */
  saved: SavedRecord
  /** What is said from now on, if it differs: at a start, without the service of an earlier run. */
  said: RecordParts
  readonly periods: Map<number, PeriodState>
}

export class HolderRecordPublisher implements RecordPublisher {
  readonly #deps: PublisherDeps
  readonly #keys = new Map<string, Upkeep>()
  /** The last change under way of each key: its changes are done in order. */
  readonly #turns = new Map<string, Promise<unknown>>()
  readonly #running = new Set<Promise<unknown>>()
  readonly #stop = new AbortController()

  private constructor(deps: PublisherDeps) {
    this.#deps = deps
  }

  /** Reads what the keys of the book said last, and begins to publish what can be said again. A damaged record's key is left alone. */
  static async open(deps: PublisherDeps): Promise<HolderRecordPublisher> {
    const publisher = new HolderRecordPublisher(deps)
    for (const entry of deps.book.list()) {
      try {
        await publisher.#load(entry)
      } catch (error) {
        deps.log.warn('A key has a damaged record; it is not published. Restore the files of the folder keys.', { error })
      }
    }
    return publisher
  }

  async prepare(name: string, { signal }: { readonly signal: AbortSignal }): Promise<void> {
    const { book, networkId, clock } = this.#deps
    const entry = book.get(name)
    if (entry === null || this.#stop.signal.aborted) return
    const deadline = clock.deadline(PREPARE_MS, AbortSignal.any([signal, this.#stop.signal]))
    const session = this.#deps.session()
    try {
      const ranking = rankingOf(session)
      const blinded = await book.blind(name, networkId, periodAt(entry.publicKey, clock.unixMs()))
      const places = placesOf(blinded.publicKey, ranking)
      blinded.wipe()
      const holders = new Set(ranking.place(places))
      await Promise.all([...holders].map((node) => session.ready?.(node, RECORD_BYTES, { signal: deadline.signal })))
    } catch {
      // Who publishes waits for the same loops, and says what fails.
    } finally {
      deadline.clear()
      session.close()
    }
  }

  set(name: string, parts: RecordParts, { signal }: { readonly signal: AbortSignal }): Promise<void> {
    return this.#inTurn(name, async () => {
      signal.throwIfAborted()
      const upkeep = this.#keys.get(name) ?? (await this.#fresh(name))
      await this.#change(upkeep, parts)
      if (upkeep.saved.record.sequence === 0) return // a part taken out of a key that never said anything
      const current = periodAt(upkeep.entry.publicKey, this.#deps.clock.unixMs())
      const stagger = parts.site === undefined ? STAGGER_SERVICE_MS : STAGGER_MS
      this.#plan(upkeep, { firstMs: 0, anew: true, except: current, stagger })
      await this.#publish(upkeep, current, signal)
    })
  }

  forget(name: string, part: 'site' | 'service', waiting: { readonly signal: AbortSignal }): Promise<void> {
    return this.set(name, { [part]: null }, waiting)
  }

  parts(name: string): { readonly site: SitePart | null; readonly service: ServicePart | null } {
    const upkeep = this.#keys.get(name)
    const { site = null, service = null } = upkeep === undefined ? {} : { ...upkeep.saved.record, ...upkeep.said }
    return { site, service }
  }

  isPublished(name: string): boolean {
    const upkeep = this.#keys.get(name)
    if (upkeep === undefined || 'service' in upkeep.said) return false
    const current = upkeep.periods.get(periodAt(upkeep.entry.publicKey, this.#deps.clock.unixMs()))
    return current !== undefined && current.published === upkeep.saved.record.sequence
  }

  /** Ends what is under way. Idempotent. */
  async close(): Promise<void> {
    this.#stop.abort(new OverlayError('unreachable', 'NODE_NOT_READY', 'The node is stopping.'))
    for (const { periods } of this.#keys.values()) for (const { timer } of periods.values()) timer?.cancel()
    await Promise.allSettled([...this.#running, ...this.#turns.values()])
  }

  async #load(entry: KeyEntry): Promise<void> {
    const bytes = await this.#deps.book.readPart(entry.name, 'record')
    if (bytes === null) return
    const saved = parseSavedRecord(bytes)
    if (saved === null) throw damagedRecord(entry.name)
    const { site, service } = saved.record
    const upkeep: Upkeep = { entry, saved, said: service === null ? {} : { service: null }, periods: new Map() }
    this.#keys.set(entry.name, upkeep)
    // A service alone is said again when it is up; until then its old record may lead to it.
    if (site === null && service !== null) return
    // A key that was emptied just before the stop still has to be, in the periods ahead.
    const now = this.#deps.clock.unixMs()
    if (site === null && saved.lastPeriod < periodAt(entry.publicKey, now)) return
    if (saved.settled && service === null) return site === null ? undefined : this.#rest(upkeep, now)
    this.#plan(upkeep, { firstMs: this.#drawn(service === null ? START_MS : START_SERVICE_MS), anew: true })
  }

  async #fresh(name: string): Promise<Upkeep> {
    const { book } = this.#deps
    const entry = book.get(name)
    if (entry === null) throw new OverlayError('config', 'KEY_BAD', `There is no key named ${name}.`)
    // A key whose record was damaged at the start is refused, as long as it is damaged.
    const bytes = await book.readPart(name, 'record')
    const found = bytes === null ? null : parseSavedRecord(bytes)
    if (bytes !== null && found === null) throw damagedRecord(name)
    const saved = found ?? { record: { sequence: 0, site: null, service: null }, lastPeriod: 0, settled: false }
    const upkeep: Upkeep = { entry, saved, said: {}, periods: new Map() }
    this.#keys.set(name, upkeep)
    return upkeep
  }

  /** Takes `parts` over, on disk first. */
  async #change(upkeep: Upkeep, parts: RecordParts): Promise<void> {
    const { clock } = this.#deps
    const { entry, saved } = upkeep
    const now = clock.unixMs()
    const before = saved.record.sequence === 0 ? null : saved.record
    if (before === null && !parts.site && !parts.service) return
    const record = changed(before, { ...upkeep.said, ...parts }, now)
    const lastPeriod = periodsOf(entry.publicKey, record, saved.lastPeriod, now).at(-1)!
    if (record !== before || lastPeriod !== saved.lastPeriod) {
      upkeep.saved = await this.#save(entry, { record, lastPeriod, settled: false })
    }
    upkeep.said = {}
  }

  async #save(entry: KeyEntry, saved: SavedRecord): Promise<SavedRecord> {
    await this.#deps.book.writePart(entry.name, 'record', encodeSavedRecord(saved))
    return saved
  }

  /** At a start: holders have all that there is to say, and are told again some time. */
  #rest(upkeep: Upkeep, now: number): void {
    const { entry, saved, periods } = upkeep
    for (const period of periodsOf(entry.publicKey, saved.record, saved.lastPeriod, now)) {
      const known = period <= saved.lastPeriod
      periods.set(period, { published: known ? saved.record.sequence : 0, failures: 0, busy: 0, timer: null, dueMs: 0 })
      this.#schedule(upkeep, period, this.#drawn(REST_MS))
    }
  }

  /** Notes on disk that enough holders have all that is said, when it is so. Never rejects. */
  #settle(upkeep: Upkeep): void {
    const isSettled = () => {
      const { record, settled } = upkeep.saved
      return !settled && [...upkeep.periods.values()].every(({ published }) => published === record.sequence)
    }
    if (!isSettled() || 'service' in upkeep.said) return
    this.#inTurn(upkeep.entry.name, async () => {
      if (isSettled()) upkeep.saved = await this.#save(upkeep.entry, { ...upkeep.saved, settled: true })
    }).catch(() => {}) // then a restart says it once more
  }

  /**
   * Sees to it that each period that must have the record has a time at which it gets it: the current one after `firstMs`, others one after the
   * other later. Those that are over are left alone. `anew`: there is something new to say, so what was planned for later is too late.
   * `except`: is published by the caller. `stagger`: from one later one to the next.
   */
  #plan(upkeep: Upkeep, { firstMs, anew, except, stagger = STAGGER_MS }: Planning): void {
    const { entry, saved, periods } = upkeep
    const { record } = saved
    const now = this.#deps.clock.unixMs()
    const current = periodAt(entry.publicKey, now)
    const wanted = periodsOf(entry.publicKey, record, saved.lastPeriod, now)
    for (const [period, state] of periods) {
      if (wanted.includes(period)) continue
      state.timer?.cancel()
      periods.delete(period)
    }
    const isEmpty = record.site === null && record.service === null
    let laterMs = firstMs
    for (const period of [current, ...wanted.filter((other) => other !== current)]) {
      const state = periods.get(period) ?? { published: 0, failures: 0, busy: 0, timer: null, dueMs: 0 }
      periods.set(period, state)
      const isDone = state.published === record.sequence && (state.timer !== null || isEmpty)
      const isPlanned = !anew && (state.timer !== null || state.busy > 0)
      if (period === except || isDone || isPlanned) continue
      const isUrgent = period === current || (period === current + 1 && isNextSoon(entry.publicKey, now))
      // Near a border others' clocks are in the period beside already, or still.
      const isNear = period < current || periodAt(entry.publicKey, now + RECORD_GRACE_MS) >= period
      if (!isUrgent) laterMs += this.#drawn(isNear ? STAGGER_MS : stagger)
      this.#schedule(upkeep, period, isUrgent ? firstMs : laterMs)
    }
  }

  /** Publishes in `period` after `ms`, or sooner if that was planned already. */
  #schedule(upkeep: Upkeep, period: number, ms: number): void {
    const state = upkeep.periods.get(period)
    const { clock } = this.#deps
    const dueMs = clock.monotonicMs() + ms
    if (state === undefined || this.#stop.signal.aborted || (state.timer !== null && state.dueMs <= dueMs)) return
    state.timer?.cancel()
    state.dueMs = dueMs
    state.timer = clock.setTimer(ms, () => {
      state.timer = null
      void this.#onTime(upkeep, period)
    })
  }

  /** A period's time has come: says what is said now, and plans on, since the time may have brought another period. */
  #onTime(upkeep: Upkeep, period: number): Promise<void> {
    return this.#inTurn(upkeep.entry.name, async () => {
      // The first one after a start says that the service of the earlier run is not there.
      if ('service' in upkeep.said || this.#needsMore(upkeep)) await this.#change(upkeep, {})
      this.#plan(upkeep, { firstMs: 0, anew: false, except: period })
    })
      .then(() => (upkeep.periods.has(period) ? this.#publish(upkeep, period, this.#stop.signal) : undefined))
      .catch(() => this.#schedule(upkeep, period, RETRY_MAX_MS)) // sooner, if `#publish` planned that
  }

  #needsMore({ entry, saved }: Upkeep): boolean {
    const wanted = periodsOf(entry.publicKey, saved.record, saved.lastPeriod, this.#deps.clock.unixMs())
    return saved.record.sequence > 0 && wanted.at(-1)! > saved.lastPeriod
  }

  /** Publishes in one period and plans when to do it again. Errors: `PUBLISH_FAILED`, `NETWORK_TOO_SMALL`, the signal's reason. */
  async #publish(upkeep: Upkeep, period: number, signal: AbortSignal): Promise<void> {
    const state = upkeep.periods.get(period)
    if (state === undefined) return
    state.timer?.cancel()
    state.timer = null
    const { record } = upkeep.saved
    const sending = this.#send(upkeep.entry, record, period, AbortSignal.any([signal, this.#stop.signal]))
    this.#running.add(sending)
    state.busy++
    try {
      await sending
      state.published = Math.max(state.published, record.sequence)
      state.failures = 0
      // If there is something newer to say by now, that is planned or under way.
      if (record === upkeep.saved.record) this.#scheduleRefresh(upkeep, period)
      this.#settle(upkeep)
    } catch (error) {
      const maxMs = isOverlayError(error, 'NETWORK_TOO_SMALL') ? RETRY_SMALL_MAX_MS : RETRY_MAX_MS
      this.#schedule(upkeep, period, Math.min(maxMs, this.#drawn(RETRY_MS) * 2 ** Math.min(20, state.failures++)))
      throw error
    } finally {
      state.busy--
      this.#running.delete(sending)
    }
  }

  #scheduleRefresh(upkeep: Upkeep, period: number): void {
    const { site, service } = upkeep.saved.record
    if (site === null && service === null) return // said once more, empty; then left to expire
    const current = periodAt(upkeep.entry.publicKey, this.#deps.clock.unixMs())
    const isLive = service !== null && period <= current + 1
    this.#schedule(upkeep, period, this.#drawn(isLive ? REFRESH_SERVICE_MS : REFRESH_SITE_MS))
  }

  async #send(entry: KeyEntry, record: KeyRecord, period: number, signal: AbortSignal): Promise<void> {
    const { book, networkId, clock, rng } = this.#deps
    signal.throwIfAborted()
    const session = this.#deps.session()
    try {
      const ranking = rankingOf(session)
      const blinded = await book.blind(entry.name, networkId, period)
      const signed = sealKeyRecord({ key: entry.publicKey, network: networkId, period }, blinded, record)
      blinded.wipe()
      await putCopies(session, signed, {
        network: { self: session.self },
        ranking,
        health: new HolderHealth(clock, undefined, session.patience),
        clock,
        rng,
        signal,
      })
    } finally {
      session.close()
    }
  }

  /** Runs `change` when all earlier changes of the key are done. */
  async #inTurn<T>(name: string, change: () => Promise<T>): Promise<T> {
    this.#stop.signal.throwIfAborted()
    const before = this.#turns.get(name) ?? Promise.resolve()
    const mine = before.then(change, change)
    this.#turns.set(name, mine)
    try {
      return await mine
    } finally {
      if (this.#turns.get(name) === mine) this.#turns.delete(name)
    }
  }

  #drawn([from, to]: readonly [number, number]): number {
    return from + this.#deps.rng.unit() * (to - from)
  }
}

/** Those that may hold a record now. Errors: `NETWORK_TOO_SMALL`. */
function rankingOf(network: RecordNetwork): Ranking {
  const ranking = new Ranking(network.holders())
  const holders = ranking.nodes.length
  if (holders >= HOLDERS_MIN) return ranking
  throw new OverlayError('unreachable', 'NETWORK_TOO_SMALL', `Nodes known: ${holders}; publishing needs ${HOLDERS_MIN}.`)
}

/** Where the copies of the record under a blinded key lie. */
function placesOf(publicKey: Uint8Array, { nodes }: Ranking): readonly Uint8Array[] {
  const copies = Math.min(nodes.length, recordCopies(nodes.length))
  return Array.from({ length: copies }, (_, copy) => recordPlace(publicKey, copy))
}

/** Brings the copies of a record to their holders. Errors: `PUBLISH_FAILED`, the signal's reason. */
async function putCopies(network: RecordNetwork, record: SignedRecord, parts: ParcelParts): Promise<void> {
  const copies = placesOf(record.publicKey, parts.ranking).map((place): Parcel => {
    const ready: Parcel['ready'] = (node, signal) => network.ready?.(node, RECORD_BYTES, { signal })
    return { place, ready, put: (node, signal) => network.putRecord(node, record, { signal }) }
  })
  await new ParcelSender(parts).sendAll(copies, 1, 'The record')
}

function damagedRecord(name: string): OverlayError {
  return new OverlayError('config', 'KEY_BAD', `What the key ${name} said last is damaged on disk. Restore it from a backup.`)
}
