/**
 * Shares and root slots of other people, on disk. It owns what may be kept (verified, within the quota, until when) and what is served
 * (only what verifies again); `places.ts` owns the files. A share is stored under the hash that the store itself computes, a slot
 * value only with its key's signature, so that no request can put a wrong byte where a reader looks. An acknowledged put survives
 * `kill -9`; after a power loss the last `FLUSH_AFTER_MS` of puts may be gone, never wrong: each share has other holders.
 *
 * At the quota new puts are refused; nothing is thrown out for them, or whoever writes most would decide what is forgotten. What expired
 * is not served any more and leaves the disk step by step; expired bytes stay in their place until it is used again. A full, read-only
 * or failing disk gives the verdict `full`. Nothing is logged or counted per request. Spec: SPEC.md §7.1.
 */
import { compareBytes, concat, equalPublic, readU32, type UnixMs, writeU32 } from '../../src/bytes/index.ts'
import type { SlotValue } from '../../src/content/network.ts'
import { isShareOf, shareAddress } from '../../src/content/share.ts'
import { SLOT_BYTES_MAX, slotLocation, verifySlot } from '../../src/content/slot.ts'
import { SIGN_PUBLIC_BYTES, SIGNATURE_BYTES } from '../../src/crypto/index.ts'
import { makeFolder } from '../../src/directory/atomic-file.ts'
import { isOverlayError, OverlayError } from '../../src/errors/index.ts'
import type { Logger } from '../../src/log/index.ts'
import { type Clock, ClockJumps, type Timer } from '../../src/runtime/index.ts'
import { SHARE_BYTES, SLOT_VARIANTS_MAX } from '../../src/wire/index.ts'
import { KEY_BYTES } from './place-entry.ts'
import { PlaceFile } from './places.ts'
import { KeyTurns } from './turns.ts'

// Specification constants.
/** Nothing is kept longer than this from its last put. */
export const KEEP_MS_MAX = 90 * 24 * 3_600_000

// Implementation constants.
/** Disk that one slot variant is charged with: its record at most, in whole 4 KiB blocks. */
export const SLOT_PLACE_BYTES = 20_480
/** What a power loss may take of acknowledged puts. */
const FLUSH_AFTER_MS = 5_000
const SWEEP_EVERY_MS = 60_000
/** After the wall clock jumped forwards nothing is swept for so long, but to make room for a put at the quota. */
export const SWEEP_HOLD_MS = 6 * 3_600_000
/** The pause between steps while there is more to sweep. */
const SWEEP_AGAIN_MS = 1_000
const SWEEP_SCAN = 262_144
const SWEEP_REMOVALS = 512
/** Removals that a put at the quota may wait for, at most once a second. */
const ROOM_REMOVALS = 16
const WARN_EVERY_MS = 3_600_000

/** `stored`: acknowledged and new. `already`: acknowledged, an equal copy was there. `full`: no room, or the disk refuses. `bad`: wrong bytes. */
export type PutVerdict = 'stored' | 'already' | 'full' | 'bad'

export interface StoreStats {
  readonly shares: number
  /** Slot variants. */
  readonly slots: number
  /** Disk charged to the quota; what expired and was not swept yet counts. */
  readonly bytes: number
  /** Entries found damaged since opening, and dropped. */
  readonly damaged: number
}

export interface StoreSlice {
  /** Share addresses or slot locations, a location once for each of its variants. */
  readonly held: readonly { readonly key: Uint8Array; readonly keepUntilMs: UnixMs }[]
  readonly next: number | null
}

/** Whoever calls bounds how many calls run at once. After `close()` every put is `full` and every get finds nothing. */
export interface ShareStore {
  readonly quotaBytes: number
  /** Whether the last write failed: a full, read-only or failing disk. */
  readonly refusesWrites: boolean
  /** Stores `share` (65536 bytes, borrowed until the promise settles) under the hash of its bytes; the later `keepUntilMs` holds. */
  putShare(share: Uint8Array, keepUntilMs: UnixMs): Promise<PutVerdict>
  /** The share of this address, verified, owned by the caller. */
  getShare(address: Uint8Array): Promise<Uint8Array | null>
  /** Stores one signed value; the first and at most 3 further ones are kept for each location. `full` for a fifth. */
  putSlot(slot: SlotValue, keepUntilMs: UnixMs): Promise<PutVerdict>
  /** The verified values at a location, at most 4; their order means nothing. */
  getSlots(location: Uint8Array): Promise<readonly SlotValue[]>
  /**
   * What is kept in `scan` places from `from` on, in no order that means anything; `next` is where to go on, `null` at the end. Places are looked
   * at, nothing is read: whoever wants the bytes asks for them.
   */
  slice(kind: 'shares' | 'slots', from: number, scan: number): StoreSlice
  /** One bounded step of expiry; runs by itself as well. Returns how many entries it removed. */
  sweep(): Promise<number>
  stats(): StoreStats
  /** Waits for what was begun, flushes and closes. Idempotent. */
  close(): Promise<void>
}

export interface StoreOptions {
  /** Created if it is not there. One store at a time may have it open: the node holds its data folder. */
  readonly dir: string
  readonly quotaBytes: number
  readonly clock: Clock
  readonly log: Pick<Logger, 'warn'>
}

/** Opens the store of a folder. Errors: `STORE_UNUSABLE`. */
export async function openStore(options: StoreOptions): Promise<ShareStore> {
  const { dir } = options
  let shares: PlaceFile | undefined
  try {
    await makeFolder(dir)
    shares = await PlaceFile.open({ dir, name: 'shares', placeBytes: SHARE_BYTES })
    const slots = await PlaceFile.open({ dir, name: 'slots', placeBytes: SLOT_PLACE_BYTES })
    return new DiskStore(options, shares, slots)
  } catch (error) {
    await shares?.close()
    if (isOverlayError(error)) throw error
    throw new OverlayError('config', 'STORE_UNUSABLE', 'The folder of the store could not be opened.', error)
  }
}

class DiskStore implements ShareStore {
  readonly quotaBytes: number
  readonly #clock: Clock
  readonly #log: Pick<Logger, 'warn'>
  readonly #shares: PlaceFile
  readonly #slots: PlaceFile
  /** Bytes of puts under way, charged before they are written. */
  #reserved = 0
  /** Entries that failed verification when read. */
  #damaged = 0
  /** Changes of one key never overlap. */
  readonly #changes = new KeyTurns()
  /** Calls under way, which `close()` waits for. */
  readonly #calls = new Set<Promise<unknown>>()
  #closing: Promise<void> | null = null
  readonly #jumps: ClockJumps
  #sweepTimer: Timer
  #flushTimer: Timer | null = null
  #refusesWrites = false
  #roomMadeMs = Number.NEGATIVE_INFINITY
  #warnedMs = Number.NEGATIVE_INFINITY

  constructor(options: StoreOptions, shares: PlaceFile, slots: PlaceFile) {
    this.quotaBytes = options.quotaBytes
    this.#clock = options.clock
    this.#log = options.log
    this.#shares = shares
    this.#slots = slots
    this.#jumps = new ClockJumps(options.clock)
    this.#sweepTimer = this.#clock.setTimer(SWEEP_EVERY_MS, () => void this.#sweepOnTime())
    const damaged = shares.damaged + slots.damaged
    if (damaged > 0)
      this.#log.warn('The store dropped damaged entries. Check the disk if this happens again.', { count: damaged })
  }

  async putShare(share: Uint8Array, keepUntilMs: UnixMs): Promise<PutVerdict> {
    const until = this.#until(keepUntilMs)
    if (share.length !== SHARE_BYTES || until === null) return 'bad'
    const address = shareAddress(share)
    return this.#call('full', () =>
      this.#changes.run(address, async () => {
        const kept = await this.#keepOn(this.#shares, address, 0, share, until)
        return kept ?? this.#add(this.#shares, address, 0, share, until)
      }),
    )
  }

  async getShare(address: Uint8Array): Promise<Uint8Array | null> {
    if (address.length !== KEY_BYTES) return null
    const right = (share: Uint8Array) => isShareOf(share, address)
    return this.#call(null, () => this.#readRight(this.#shares, address, 0, right))
  }

  async putSlot(slot: SlotValue, keepUntilMs: UnixMs): Promise<PutVerdict> {
    const until = this.#until(keepUntilMs)
    if (until === null || !verifySlot(slot)) return 'bad'
    const location = slotLocation(slot.publicKey, slot.slot)
    return this.#call('full', () => this.#changes.run(location, () => this.#putVariant(location, slot, until)))
  }

  async getSlots(location: Uint8Array): Promise<readonly SlotValue[]> {
    if (location.length !== KEY_BYTES) return []
    return this.#call<readonly SlotValue[]>([], async () => {
      const found: SlotValue[] = []
      for (let variant = 0; variant < SLOT_VARIANTS_MAX; variant++) {
        const bytes = await this.#readRight(this.#slots, location, variant, (record) => slotIsRight(record, location))
        if (bytes !== null) found.push(decodeSlot(bytes))
      }
      return found
    })
  }

  get refusesWrites(): boolean {
    return this.#refusesWrites
  }

  slice(kind: 'shares' | 'slots', from: number, scan: number): StoreSlice {
    const file = kind === 'shares' ? this.#shares : this.#slots
    const next = from + scan < file.places ? from + scan : null
    return this.#closing === null ? { held: file.slice(from, scan), next } : { held: [], next: null }
  }

  sweep(): Promise<number> {
    return this.#call(0, () => this.#sweepStep(SWEEP_SCAN, SWEEP_REMOVALS))
  }

  stats(): StoreStats {
    return {
      shares: this.#shares.count,
      slots: this.#slots.count,
      bytes: this.#shares.count * SHARE_BYTES + this.#slots.count * SLOT_PLACE_BYTES,
      damaged: this.#damaged + this.#shares.damaged + this.#slots.damaged,
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    this.#sweepTimer.cancel()
    this.#flushTimer?.cancel()
    await Promise.allSettled(this.#calls)
    await this.#shares.close()
    await this.#slots.close()
  }

  /** When to keep until, within the limits; `null` if it is no time to come. */
  #until(keepUntilMs: number): UnixMs | null {
    const now = this.#clock.unixMs()
    if (!(keepUntilMs > now)) return null
    return Math.floor(Math.min(keepUntilMs, now + KEEP_MS_MAX)) as UnixMs
  }

  async #putVariant(location: Uint8Array, slot: SlotValue, until: UnixMs): Promise<PutVerdict> {
    let vacant: number | null = null
    for (let variant = 0; variant < SLOT_VARIANTS_MAX; variant++) {
      const right = (record: Uint8Array) => slotIsRight(record, location)
      const bytes = await this.#readLocked(this.#slots, location, variant, right)
      if (bytes === null)
        vacant ??= this.#slots.find(location, variant) === undefined ? variant : null // else the disk cannot read it now
      // The same value under another signature of the key is the same variant.
      else if (equalPublic(decodeSlot(bytes).value, slot.value)) {
        return (await this.#keepOn(this.#slots, location, variant, bytes, until)) ?? 'full'
      }
    }
    return vacant === null ? 'full' : this.#add(this.#slots, location, vacant, encodeSlot(slot), until)
  }

  /**
   * Renews an entry if it is there, has not expired and its copy on disk equals `bytes`: an `already` is an acknowledgement as well.
   * What is there and does not do is removed; `null`: nothing is there now.
   */
  async #keepOn(file: PlaceFile, key: Uint8Array, variant: number, bytes: Uint8Array, until: UnixMs): Promise<PutVerdict | null> {
    const place = file.find(key, variant)
    if (place === undefined) return null
    if (file.keepUntilMs(place) > this.#clock.unixMs()) {
      const copy = await this.#read(file, place)
      if (copy instanceof Uint8Array && compareBytes(copy, bytes) === 0) {
        if (until <= file.keepUntilMs(place)) return 'already'
        return this.#written('already', () => file.renew(place, until))
      }
      this.#foundDamaged()
    }
    await file.remove(place)
    return null
  }

  async #add(file: PlaceFile, key: Uint8Array, variant: number, bytes: Uint8Array, until: UnixMs): Promise<PutVerdict> {
    const charge = file === this.#shares ? SHARE_BYTES : SLOT_PLACE_BYTES
    if (!this.#hasRoom(charge)) await this.#makeRoom()
    if (!this.#hasRoom(charge)) return 'full'
    this.#reserved += charge
    try {
      return await this.#written('stored', () => file.write(key, variant, bytes, until))
    } finally {
      this.#reserved -= charge
    }
  }

  #hasRoom(charge: number): boolean {
    return this.stats().bytes + this.#reserved + charge <= this.quotaBytes
  }

  /** `verdict` once `write` is done, `full` if the disk refuses. */
  async #written(verdict: PutVerdict, write: () => Promise<void>): Promise<PutVerdict> {
    try {
      await write()
    } catch (error) {
      this.#refusesWrites = true
      this.#warn('The disk of the store refuses to write; puts are refused. Free space or check the disk.', error)
      return 'full'
    }
    this.#refusesWrites = false
    if (this.#closing === null) this.#flushTimer ??= this.#clock.setTimer(FLUSH_AFTER_MS, () => void this.#flush())
    return verdict
  }

  /** Bytes of a live entry that `right` accepts. An entry that is damaged is removed. */
  async #readRight(
    file: PlaceFile,
    key: Uint8Array,
    variant: number,
    right: (bytes: Uint8Array) => boolean,
  ): Promise<Uint8Array | null> {
    const place = file.find(key, variant)
    if (place === undefined || file.keepUntilMs(place) <= this.#clock.unixMs()) return null
    const bytes = await this.#read(file, place)
    if (bytes instanceof Uint8Array && right(bytes)) return bytes
    // Either damaged, or changed while it was read: only a look that no change can overlap decides.
    return this.#changes.run(key, () => this.#readLocked(file, key, variant, right))
  }

  /** As `#readRight`, for the holder of the key's turn. */
  async #readLocked(
    file: PlaceFile,
    key: Uint8Array,
    variant: number,
    right: (bytes: Uint8Array) => boolean,
  ): Promise<Uint8Array | null> {
    const place = file.find(key, variant)
    if (place === undefined) return null
    if (file.keepUntilMs(place) > this.#clock.unixMs()) {
      const bytes = await this.#read(file, place)
      if (bytes instanceof Uint8Array && right(bytes)) return bytes
      if (bytes === 'unreadable') return null
      this.#foundDamaged()
    }
    await file.remove(place)
    return null
  }

  /** What the disk cannot read now is neither served nor given up: it may be read the next time. */
  async #read(file: PlaceFile, place: number): Promise<Uint8Array | null | 'unreadable'> {
    try {
      return await file.read(place)
    } catch (error) {
      this.#warn('The disk of the store cannot read an entry. Check the disk.', error)
      return 'unreadable'
    }
  }

  #foundDamaged(): void {
    this.#damaged++
    this.#warn('The store dropped an entry that its disk did not keep right. Check the disk if this happens again.')
  }

  /** Warnings of a failing disk come with every request: one an hour is enough. */
  #warn(text: string, error?: unknown): void {
    const now = this.#clock.monotonicMs()
    if (now - this.#warnedMs < WARN_EVERY_MS) return
    this.#warnedMs = now
    this.#log.warn(text, error === undefined ? {} : { error })
  }

  async #makeRoom(): Promise<void> {
    const now = this.#clock.monotonicMs()
    if (now - this.#roomMadeMs < SWEEP_AGAIN_MS) return
    this.#roomMadeMs = now
    await this.#sweepStep(SWEEP_SCAN, ROOM_REMOVALS)
  }

  async #sweepStep(scan: number, removals: number): Promise<number> {
    let removed = 0
    for (const file of [this.#shares, this.#slots]) {
      const now = this.#clock.unixMs()
      for (const place of file.expired(now, scan, removals - removed)) {
        const key = file.keyOf(place)
        // A key in change is passed over: the change may be the caller's own, and waiting for it would be waiting for oneself.
        if (key === undefined || this.#changes.has(key)) continue
        await this.#changes.run(key, async () => {
          const holds = file.keyOf(place)
          if (holds === undefined || !equalPublic(holds, key) || file.keepUntilMs(place) > now) return
          await file.remove(place)
          removed++
        })
      }
    }
    return removed
  }

  async #sweepOnTime(): Promise<void> {
    if (this.#jumps.look() > 0) {
      // What has expired by a date that was just set may be asked for when it is set right.
      this.#sweepTimer = this.#clock.setTimer(SWEEP_HOLD_MS, () => void this.#sweepOnTime())
      return
    }
    const removed = await this.sweep()
    if (this.#closing !== null) return
    const pauseMs = removed === SWEEP_REMOVALS ? SWEEP_AGAIN_MS : SWEEP_EVERY_MS
    this.#sweepTimer = this.#clock.setTimer(pauseMs, () => void this.#sweepOnTime())
  }

  async #flush(): Promise<void> {
    this.#flushTimer = null
    await this.#call(undefined, async () => {
      try {
        await this.#shares.flush()
        await this.#slots.flush()
      } catch (error) {
        this.#warn('The disk of the store refuses to flush. Check the disk.', error)
      }
    })
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

// A slot's record on disk: public key (32), slot (u32), signature (64), value.
const SLOT_NUMBER_AT = SIGN_PUBLIC_BYTES
const SLOT_SIGNATURE_AT = SLOT_NUMBER_AT + 4
const SLOT_VALUE_AT = SLOT_SIGNATURE_AT + SIGNATURE_BYTES

function encodeSlot({ publicKey, slot, signature, value }: SlotValue): Uint8Array {
  const number = new Uint8Array(4)
  writeU32(number, 0, slot)
  return concat(publicKey, number, signature, value)
}

/** The parts of a record of at least `SLOT_VALUE_AT` bytes, as views of it. */
function decodeSlot(record: Uint8Array): SlotValue {
  return {
    publicKey: record.subarray(0, SLOT_NUMBER_AT),
    slot: readU32(record, SLOT_NUMBER_AT),
    signature: record.subarray(SLOT_SIGNATURE_AT, SLOT_VALUE_AT),
    value: record.subarray(SLOT_VALUE_AT),
  }
}

function slotIsRight(record: Uint8Array, location: Uint8Array): boolean {
  if (record.length <= SLOT_VALUE_AT || record.length > SLOT_VALUE_AT + SLOT_BYTES_MAX) return false
  const slot = decodeSlot(record)
  return equalPublic(slotLocation(slot.publicKey, slot.slot), location) && verifySlot(slot)
}
