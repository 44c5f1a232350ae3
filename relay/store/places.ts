/**
 * A file of equal places and its index: the disk under the store. Place n lies at n × `placeBytes` of NAME.places and is described by
 * entry n of NAME.index; what is in use is also held in memory (about 200 bytes for each place, a third of a percent of a share). Writing goes: bytes into a free place,
 * then its entry, then memory. Removing goes: memory, then the entry, then the place becomes free. So a process killed between any two
 * steps leaves a free place or a whole one, and what memory does not name is never read. An entry that the disk did not let go, or took only after
 * it said no, is cleared before anything else is written: else it could be found, after a restart, in the place of what was written since.
 *
 * Power loss may keep an entry and lose its bytes, or leave a place with older ones: the owner verifies what it reads by hash or
 * signature. Whoever calls takes care that two calls never change the same key at once. Nothing here blocks the event loop: every
 * read, write and flush runs in Node's thread pool. Why not a database: `README.md` beside this file. Spec: SPEC.md §7.1.4.
 */
import { constants } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { join } from 'node:path'
import { compareBytes, readU32, type UnixMs, utf8, writeU32 } from '../../src/bytes/index.ts'
import { syncFolder } from '../../src/directory/atomic-file.ts'
import { OverlayError } from '../../src/errors/index.ts'
import { readAll, writeAll } from './disk.ts'
import { decodeEntry, ENTRY_BYTES, encodeEntry, KEY_BYTES } from './place-entry.ts'

/** The index begins with one entry's length of header: a magic text, then the place's length as u32 at 32. */
const MAGIC = utf8('gyre places 1\n')
const PLACE_BYTES_AT = 32
/** Entries read in one go at opening: a few milliseconds of work. */
const LOAD_ENTRIES = 1024

export interface PlaceFileOptions {
  readonly dir: string
  readonly name: string
  readonly placeBytes: number
}

/** A place in use. */
interface Held {
  /** Key and variant: see `nameOf`. */
  readonly name: string
  readonly length: number
  keepUntilMs: UnixMs
}

export class PlaceFile {
  readonly #options: PlaceFileOptions
  readonly #data: FileHandle
  readonly #index: FileHandle
  /** By place; holes are free. */
  readonly #held: (Held | undefined)[] = []
  readonly #places = new Map<string, number>()
  readonly #free: number[] = []
  /** Places that are not in use and whose entries on disk may say that they are. No more than calls at once. */
  readonly #uncleared = new Set<number>()
  /** The clearing under way: one at a time, or a place that was cleared and written could be cleared again. */
  #clearing: Promise<void> | null = null
  #damaged = 0
  #cursor = 0
  #dirty = false

  private constructor(options: PlaceFileOptions, data: FileHandle, index: FileHandle) {
    this.#options = options
    this.#data = data
    this.#index = index
  }

  /** Opens or creates the pair of files. Throws `STORE_UNUSABLE` or the system's error. */
  static async open(options: PlaceFileOptions): Promise<PlaceFile> {
    const flags = constants.O_RDWR | constants.O_CREAT
    const data = await open(join(options.dir, `${options.name}.places`), flags, 0o600)
    let index: FileHandle | undefined
    try {
      index = await open(join(options.dir, `${options.name}.index`), flags, 0o600)
      const file = new PlaceFile(options, data, index)
      await file.#header()
      await file.#load()
      return file
    } catch (error) {
      await index?.close()
      await data.close()
      throw error
    }
  }

  /** Places in use, expired ones included. */
  get count(): number {
    return this.#places.size
  }

  /** Index entries that were found damaged at opening; their places are free again. */
  get damaged(): number {
    return this.#damaged
  }

  /** The place that holds `key` (32 bytes) and `variant`. */
  find(key: Uint8Array, variant: number): number | undefined {
    return this.#places.get(nameOf(key, variant))
  }

  /** When `place` expires; it is in use. */
  keepUntilMs(place: number): UnixMs {
    return this.#held[place]!.keepUntilMs
  }

  /** The key of `place`, if it is in use. */
  keyOf(place: number): Uint8Array | undefined {
    const held = this.#held[place]
    return held === undefined ? undefined : keyIn(held.name)
  }

  /** Stores `bytes` (at most `placeBytes`; borrowed until the promise settles) under a key that is not in use. Throws the system's error. */
  async write(key: Uint8Array, variant: number, bytes: Uint8Array, keepUntilMs: UnixMs): Promise<void> {
    while (this.#uncleared.size > 0) await this.#clear()
    const place = this.#free.pop() ?? this.#held.push(undefined) - 1
    const held: Held = { name: nameOf(key, variant), length: bytes.length, keepUntilMs }
    this.#dirty = true
    try {
      await writeAll(this.#data, bytes, place * this.#options.placeBytes)
    } catch (error) {
      this.#free.push(place)
      throw error
    }
    try {
      await writeAll(this.#index, entryOf(place, held), entryAt(place))
    } catch (error) {
      this.#uncleared.add(place)
      throw error
    }
    this.#held[place] = held
    this.#places.set(held.name, place)
  }

  /**
   * The bytes of `place`, not verified; `null` if it is not in use (any more) or the file ends before. Throws the system's error: then the place may
   * be sound all the same, and is no reason to give up what was acknowledged.
   */
  async read(place: number): Promise<Uint8Array | null> {
    const held = this.#held[place]
    if (held === undefined) return null
    const bytes = new Uint8Array(held.length)
    const length = await readAll(this.#data, bytes, place * this.#options.placeBytes)
    return length === bytes.length && this.#held[place] === held ? bytes : null
  }

  /** Keeps `place` until `keepUntilMs`. Throws the system's error; the old time holds then, or after a restart the new one. */
  async renew(place: number, keepUntilMs: UnixMs): Promise<void> {
    const held = this.#held[place]!
    this.#dirty = true
    await writeAll(this.#index, entryOf(place, { ...held, keepUntilMs }), entryAt(place))
    held.keepUntilMs = keepUntilMs
  }

  /** Gives `place` up. If its entry cannot be cleared on disk the place is not used again before it is. */
  async remove(place: number): Promise<void> {
    const held = this.#held[place]
    if (held === undefined) return
    this.#held[place] = undefined
    this.#places.delete(held.name)
    this.#dirty = true
    this.#uncleared.add(place)
    await this.#clear().catch(() => {}) // before the next write
  }

  #clear(): Promise<void> {
    this.#clearing ??= this.#clearAll().finally(() => {
      this.#clearing = null
    })
    return this.#clearing
  }

  async #clearAll(): Promise<void> {
    for (const place of this.#uncleared) {
      await writeAll(this.#index, new Uint8Array(ENTRY_BYTES), entryAt(place))
      this.#uncleared.delete(place)
      this.#free.push(place)
    }
  }

  /** Looks at the next `scan` places, round and round, and returns at most `limit` that have expired at `now`. */
  expired(now: UnixMs, scan: number, limit: number): number[] {
    const found: number[] = []
    const looks = Math.min(scan, this.#held.length)
    for (let look = 0; look < looks && found.length < limit; look++) {
      this.#cursor = this.#cursor + 1 < this.#held.length ? this.#cursor + 1 : 0
      const held = this.#held[this.#cursor]
      if (held !== undefined && held.keepUntilMs <= now) found.push(this.#cursor)
    }
    return found
  }

  /** What lies in `scan` places from place `from` on, expired or not; as long as `from` is not past the end. For who goes over everything. */
  slice(from: number, scan: number): readonly { readonly key: Uint8Array; readonly keepUntilMs: UnixMs }[] {
    return this.#held
      .slice(from, from + scan)
      .flatMap((held) => (held === undefined ? [] : [{ key: keyIn(held.name), keepUntilMs: held.keepUntilMs }]))
  }

  /** Places, free ones included. */
  get places(): number {
    return this.#held.length
  }

  /** Puts everything written so far out of reach of a power loss. Bytes first, then the entries that name them. */
  async flush(): Promise<void> {
    if (!this.#dirty) return
    this.#dirty = false
    try {
      await this.#data.datasync()
      await this.#index.datasync()
    } catch (error) {
      this.#dirty = true
      throw error
    }
  }

  /** Closes both files, flushed as far as the disk allows. No call may follow. */
  async close(): Promise<void> {
    await this.flush().catch(() => {}) // the same as a power loss now: what is not whole is dropped when read
    await this.#index.close().catch(() => {}) // closed all the same: close(2)
    await this.#data.close().catch(() => {})
  }

  async #header(): Promise<void> {
    const header = new Uint8Array(ENTRY_BYTES)
    header.set(MAGIC)
    writeU32(header, PLACE_BYTES_AT, this.#options.placeBytes)
    const found = new Uint8Array(ENTRY_BYTES)
    const length = await readAll(this.#index, found, 0)
    // New, or its first start was broken off: nothing was acknowledged before the header was on disk.
    const { size } = await this.#index.stat()
    if (size === 0 || (size <= ENTRY_BYTES && found.every((byte) => byte === 0))) {
      await writeAll(this.#index, header, 0)
      await this.#index.datasync()
      await syncFolder(this.#options.dir)
      return
    }
    if (length === ENTRY_BYTES && compareBytes(found, header) === 0) return
    const other = length === ENTRY_BYTES && readU32(found, PLACE_BYTES_AT) !== this.#options.placeBytes
    throw new OverlayError(
      'config',
      'STORE_UNUSABLE',
      `${this.#options.name}.index is ${other ? 'of another version' : 'damaged'}.`,
    )
  }

  /** Reads the whole index into memory, and cuts free places off the end of both files. */
  async #load(): Promise<void> {
    const chunk = new Uint8Array(LOAD_ENTRIES * ENTRY_BYTES)
    for (let first = 0; ; first += LOAD_ENTRIES) {
      const length = await readAll(this.#index, chunk, entryAt(first))
      for (let at = 0; at + ENTRY_BYTES <= length; at += ENTRY_BYTES) {
        this.#admit(first + at / ENTRY_BYTES, chunk.subarray(at, at + ENTRY_BYTES))
      }
      if (length < chunk.length) break
    }
    while (this.#held.length > 0 && this.#held.at(-1) === undefined) this.#held.pop()
    for (let place = this.#held.length - 1; place >= 0; place--) if (this.#held[place] === undefined) this.#free.push(place)
    await this.#index.truncate(entryAt(this.#held.length))
    const { size } = await this.#data.stat()
    const end = this.#held.length * this.#options.placeBytes
    if (size > end) await this.#data.truncate(end)
  }

  #admit(place: number, bytes: Uint8Array): void {
    const entry = decodeEntry(place, bytes)
    this.#held[place] = undefined
    if (entry === 'free') return
    if (entry === 'damaged' || entry.length > this.#options.placeBytes) {
      this.#damaged++
      return
    }
    const name = nameOf(entry.key, entry.variant)
    if (this.#places.has(name)) return // left by an entry that could not be cleared: the first is as good
    this.#held[place] = { name, length: entry.length, keepUntilMs: entry.keepUntilMs }
    this.#places.set(name, place)
  }
}

function entryAt(place: number): number {
  return (place + 1) * ENTRY_BYTES
}

function entryOf(place: number, { name, length, keepUntilMs }: Held): Uint8Array {
  return encodeEntry(place, { key: keyIn(name), variant: name.charCodeAt(KEY_BYTES), length, keepUntilMs })
}

/**
 * A key as a short string of one character a byte, to look it up by. V8 seeds the hash of strings, so that no peer can choose keys that
 * collide; and a string takes a third of the memory of an array.
 */
export function keyText(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.length).toString('latin1')
}

/** Key and variant in one string. */
function nameOf(key: Uint8Array, variant: number): string {
  return Buffer.from([...key, variant]).toString('latin1')
}

function keyIn(name: string): Uint8Array {
  return new Uint8Array(Buffer.from(name.slice(0, KEY_BYTES), 'latin1'))
}
