/**
 * Records of other people's keys, on disk. It owns what may be kept (signed by the blinded key, not expired, the highest sequence of its key,
 * within the quota) and what is served (only what verifies again). The files are the store's (`relay/store/places.ts`): a place of 4 KiB for
 * each record. An acknowledged put survives `kill -9`: a newer record is written beside the older one, then named, and only then the older
 * one is given up; what is found twice after that is decided by sequence. A power loss may take the last `FLUSH_AFTER_MS`, never mix bytes.
 *
 * At the quota new keys are refused and known ones are still updated; nothing is thrown out for a stranger, or whoever writes most would
 * decide who is forgotten. Nothing is logged or counted per request. Spec: SPEC.md §10.5.
 */
import { compareBytes, equalPublic, type UnixMs } from '../../src/bytes/index.ts'
import { RECORD_KEEP_MS_MAX, verifyRecord } from '../../src/content/record.ts'
import { makeFolder } from '../../src/directory/atomic-file.ts'
import { isOverlayError, OverlayError } from '../../src/errors/index.ts'
import type { Logger } from '../../src/log/index.ts'
import { type Clock, ClockJumps, type Timer } from '../../src/runtime/index.ts'
import { encodeSignedRecord, parseSignedRecord, RECORD_KEY_BYTES, type SignedRecord } from '../../src/wire/index.ts'
import { KeyTurns, PlaceFile, SWEEP_HOLD_MS } from '../store/index.ts'

// Implementation constants.
/** Disk for one record: whole pages, so that a torn write hurts no other. */
export const RECORD_PLACE_BYTES = 4096
/** Records kept at most: 256 MiB, and about 13 MiB of memory. */
export const RECORDS_MAX = 65_536
/** What a power loss may take of acknowledged puts. */
const FLUSH_AFTER_MS = 5_000
const SWEEP_EVERY_MS = 60_000
const SWEEP_REMOVALS = 512
/** A put at the quota may sweep at most so often. */
const ROOM_EVERY_MS = 1_000
const WARN_EVERY_MS = 3_600_000
/** A record and the one that takes its place. */
const VARIANTS = [0, 1] as const

/**
 * `stored`: acknowledged and new. `already`: acknowledged, the same bytes were there. `older`: one of a higher sequence is there, or another of
 * the same. `full`: no room, or the disk refuses. `bad`: no right record, or no time within the limits.
 */
export type RecordVerdict = 'stored' | 'already' | 'older' | 'full' | 'bad'

export interface RecordHolderStats {
  /** Records, those included that expired and were not swept yet. */
  readonly records: number
  /** Entries found damaged since opening, and dropped. */
  readonly damaged: number
}

/** Whoever calls bounds how many calls run at once. After `close()` every put is `full` and every get finds nothing. */
export interface RecordHolder {
  put(record: SignedRecord): Promise<RecordVerdict>
  /** The record under a blinded key (32 bytes), verified and not expired. */
  get(publicKey: Uint8Array): Promise<SignedRecord | null>
  /** One bounded step of expiry; runs by itself as well. Returns how many records it removed. */
  sweep(): Promise<number>
  stats(): RecordHolderStats
  /** Waits for what was begun, flushes and closes. Idempotent. */
  close(): Promise<void>
}

export interface RecordHolderOptions {
  /** Created if it is not there. One holder at a time may have it open: the node holds its data folder. */
  readonly dir: string
  readonly clock: Clock
  readonly log: Pick<Logger, 'warn'>
  readonly recordsMax?: number
}

/** Opens the records of a folder. Errors: `STORE_UNUSABLE`. */
export async function openRecordHolder(options: RecordHolderOptions): Promise<RecordHolder> {
  try {
    await makeFolder(options.dir)
    return new DiskHolder(options, await PlaceFile.open({ dir: options.dir, name: 'records', placeBytes: RECORD_PLACE_BYTES }))
  } catch (error) {
    if (isOverlayError(error)) throw error
    throw new OverlayError('config', 'STORE_UNUSABLE', 'The folder of the records could not be opened.', error)
  }
}

/** A record on disk that verified just now. */
interface Held {
  readonly place: number
  readonly variant: number
  readonly bytes: Uint8Array
  readonly record: SignedRecord
}

class DiskHolder implements RecordHolder {
  readonly #file: PlaceFile
  readonly #clock: Clock
  readonly #log: Pick<Logger, 'warn'>
  readonly #recordsMax: number
  readonly #turns = new KeyTurns()
  /** Calls under way, which `close()` waits for. */
  readonly #calls = new Set<Promise<unknown>>()
  /** Puts of new keys that are being written: counted before, so that many at once do not pass the quota. */
  #arriving = 0
  #damaged = 0
  #closing: Promise<void> | null = null
  readonly #jumps: ClockJumps
  #sweepTimer: Timer
  #flushTimer: Timer | null = null
  #roomMadeMs = Number.NEGATIVE_INFINITY
  #warnedMs = Number.NEGATIVE_INFINITY

  constructor({ clock, log, recordsMax = RECORDS_MAX }: RecordHolderOptions, file: PlaceFile) {
    this.#file = file
    this.#clock = clock
    this.#log = log
    this.#recordsMax = recordsMax
    this.#jumps = new ClockJumps(clock)
    this.#sweepTimer = clock.setTimer(SWEEP_EVERY_MS, () => void this.#sweepOnTime())
    if (file.damaged > 0)
      log.warn('Damaged entries of records were dropped. Check the disk if this happens again.', { count: file.damaged })
  }

  async put(record: SignedRecord): Promise<RecordVerdict> {
    const now = this.#clock.unixMs()
    const inTime = record.expiresMs > now && record.expiresMs <= now + RECORD_KEEP_MS_MAX
    if (!inTime || !verifyRecord(record)) return 'bad'
    return this.#call<RecordVerdict>('full', () => this.#turns.run(record.publicKey, () => this.#putInTurn(record)))
  }

  async get(publicKey: Uint8Array): Promise<SignedRecord | null> {
    if (publicKey.length !== RECORD_KEY_BYTES || !this.#isKnown(publicKey)) return null
    return this.#call(null, () => this.#turns.run(publicKey, async () => recordOf(await this.#newest(publicKey))))
  }

  sweep(): Promise<number> {
    return this.#call(0, () => this.#sweepStep())
  }

  stats(): RecordHolderStats {
    return { records: this.#file.count, damaged: this.#damaged + this.#file.damaged }
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    this.#sweepTimer.cancel()
    this.#flushTimer?.cancel()
    await Promise.allSettled(this.#calls)
    await this.#file.close()
  }

  #isKnown(key: Uint8Array): boolean {
    return VARIANTS.some((variant) => this.#file.find(key, variant) !== undefined)
  }

  async #putInTurn(record: SignedRecord): Promise<RecordVerdict> {
    const held = await this.#newest(record.publicKey)
    // What cannot be read now may be newer.
    if (held === 'unreadable') return 'full'
    const bytes = encodeSignedRecord(record)
    if (held !== null) {
      if (held.record.sequence > record.sequence) return 'older'
      if (held.record.sequence === record.sequence) return compareBytes(held.bytes, bytes) === 0 ? 'already' : 'older'
    } else {
      if (!this.#hasRoom()) await this.#makeRoom()
      if (!this.#hasRoom()) return 'full'
      this.#arriving++
    }
    try {
      await this.#file.write(record.publicKey, held?.variant === 0 ? 1 : 0, bytes, record.expiresMs as UnixMs)
    } catch (error) {
      this.#warn('The disk of the records refuses to write; puts are refused. Free space or check the disk.', error)
      return 'full'
    } finally {
      if (held === null) this.#arriving--
    }
    if (held !== null) await this.#file.remove(held.place)
    if (this.#closing === null) this.#flushTimer ??= this.#clock.setTimer(FLUSH_AFTER_MS, () => void this.#flush())
    return 'stored'
  }

  /**
   * The newest right record of a key; removes what is damaged, expired, or older than that. `unreadable`: the disk cannot read one that may be the
   * newest; it is neither served nor given up. For the holder of the key's turn.
   */
  async #newest(key: Uint8Array): Promise<Held | null | 'unreadable'> {
    let newest: Held | null = null
    for (const variant of VARIANTS) {
      const place = this.#file.find(key, variant)
      if (place === undefined) continue
      const held = await this.#read(key, variant, place)
      if (held === 'unreadable') return held
      if (held === null) {
        await this.#file.remove(place)
        continue
      }
      const loser: Held | null = newest !== null && newest.record.sequence >= held.record.sequence ? held : newest
      if (loser !== held) newest = held
      if (loser !== null) await this.#file.remove(loser.place)
    }
    return newest
  }

  async #read(key: Uint8Array, variant: number, place: number): Promise<Held | null | 'unreadable'> {
    if (this.#file.keepUntilMs(place) <= this.#clock.unixMs()) return null
    let bytes: Uint8Array | null
    try {
      bytes = await this.#file.read(place)
    } catch (error) {
      this.#warn('The disk of the records cannot read one. Check the disk.', error)
      return 'unreadable'
    }
    const record = bytes === null ? null : parseSignedRecord(bytes)
    if (bytes !== null && record !== null && equalPublic(record.publicKey, key) && verifyRecord(record)) {
      return record.expiresMs > this.#clock.unixMs() ? { place, variant, bytes, record } : null
    }
    this.#damaged++
    this.#warn('A record was dropped that the disk did not keep right. Check the disk if this happens again.')
    return null
  }

  #hasRoom(): boolean {
    return this.#file.count + this.#arriving < this.#recordsMax
  }

  async #makeRoom(): Promise<void> {
    const now = this.#clock.monotonicMs()
    if (now - this.#roomMadeMs < ROOM_EVERY_MS) return
    this.#roomMadeMs = now
    await this.#sweepStep()
  }

  async #sweepStep(): Promise<number> {
    let removed = 0
    const now = this.#clock.unixMs()
    for (const place of this.#file.expired(now, this.#recordsMax, SWEEP_REMOVALS)) {
      const key = this.#file.keyOf(place)
      // A key in change is passed over: the change may be the caller's own, and waiting for it would be waiting for oneself.
      if (key === undefined || this.#turns.has(key)) continue
      await this.#turns.run(key, async () => {
        const holds = this.#file.keyOf(place)
        if (holds === undefined || !equalPublic(holds, key) || this.#file.keepUntilMs(place) > now) return
        await this.#file.remove(place)
        removed++
      })
    }
    return removed
  }

  async #sweepOnTime(): Promise<void> {
    if (this.#jumps.look() > 0) {
      // As in the store: the date may be set right again.
      this.#sweepTimer = this.#clock.setTimer(SWEEP_HOLD_MS, () => void this.#sweepOnTime())
      return
    }
    await this.sweep()
    if (this.#closing === null) this.#sweepTimer = this.#clock.setTimer(SWEEP_EVERY_MS, () => void this.#sweepOnTime())
  }

  async #flush(): Promise<void> {
    this.#flushTimer = null
    await this.#call(undefined, async () => {
      try {
        await this.#file.flush()
      } catch (error) {
        this.#warn('The disk of the records refuses to flush. Check the disk.', error)
      }
    })
  }

  /** Warnings of a failing disk come with every request: one an hour is enough. */
  #warn(text: string, error?: unknown): void {
    const now = this.#clock.monotonicMs()
    if (now - this.#warnedMs < WARN_EVERY_MS) return
    this.#warnedMs = now
    this.#log.warn(text, error === undefined ? {} : { error })
  }

  /** Runs a call that `close()` waits for; `closed` if it came too late. */
  async #call<T>(closed: T, run: () => Promise<T>): Promise<T> {
    if (this.#closing !== null) return closed
    const call = run()
    this.#calls.add(call)
    try {
      return await call
    } finally {
      this.#calls.delete(call)
    }
  }
}

function recordOf(held: Held | null | 'unreadable'): SignedRecord | null {
  return held === null || held === 'unreadable' ? null : held.record
}
