/**
 * What an address leads to now: a file, a version of a site, or a key, whose record says which version is the current one and whether a live
 * service is up. Spec: SPEC.md §12.4.
 *
 * A reader sees one version of a site, never a mixture: for each isolation and key the version opened last is pinned. What opens a page looks
 * the record up again if the last look is older than `RECORD_AGE_MS`, and moves the pin when the new version is opened; what belongs to a page
 * (`Asking.pinned`) takes the pinned one. A new version that cannot be opened leaves the old one in place.
 *
 * Pins and opened sites say what this node's user reads: in memory only, bounded, and forgotten after `PIN_IDLE_MS` and `SITE_IDLE_MS`.
 */
import { equalPublic, type MonotonicMs, toHex } from '../../src/bytes/index.ts'
import { AddressType, formatFileAddress, requireAddress } from '../../src/content/address.ts'
import { isOverlayError } from '../../src/errors/index.ts'
import type { Clock, Timer } from '../../src/runtime/index.ts'
import type { Asking, Destination, Library, LiveService, OpenedSite } from '../library.ts'
import { type FoundRecord, RECORD_CACHE_MS, type RecordFinder, type SitePart } from '../records/index.ts'
import { JoinedWork } from './joined.ts'
import { isSiteIndex, openSite, type ReadableSite } from './reader.ts'

// Implementation constants.
/** A record looked up so short ago is taken as it is when a page is opened. */
export const RECORD_AGE_MS = 15_000
/** The same when the user asks for the newest (`Asking.fresh`): a reload of a page with many parts is one look. */
export const FRESH_AGE_MS = 1_000
/** A page that asks for nothing for so long may get another version afterwards. */
export const PIN_IDLE_MS = 1_800_000
/** Pins are a few hundred bytes each; at the limit the one used longest ago goes. */
export const PINS_MAX = 256
/** Opened versions not used for so long are forgotten; what is pinned is opened again when it is asked for. */
export const SITE_IDLE_MS = 60_000
export const OPEN_SITES_MAX = 16
/** Memory of opened versions' indexes together; one may take 70 MiB. */
export const INDEX_BYTES_TOTAL = 96 * 1024 * 1024
/** How often what is unused is looked for. */
const SWEEP_MS = 30_000

/** A key's record, as who hosts or reaches its live service needs it. */
export interface FoundKey {
  /** 56 characters. */
  readonly address: string
  /** 32 bytes. */
  readonly key: Uint8Array
  readonly found: FoundRecord
}

export interface ResolverParts {
  readonly open: Library['open']
  readonly finder: RecordFinder
  /** The live service that a record names; `null`: none. */
  readonly live: (key: FoundKey) => LiveService | null
  readonly clock: Clock
}

/** A version, and the sequence of the record that named it. */
interface Named {
  readonly part: SitePart
  readonly sequence: number
}

interface Pin {
  found: FoundRecord
  /** The version that was opened last. */
  opened: Named | null
  usedAt: MonotonicMs
}

interface HeldSite {
  readonly site: ReadableSite
  usedAt: MonotonicMs
}

export class Resolver {
  readonly #parts: ResolverParts
  /** By isolation and key, the one used longest ago first. */
  readonly #pins = new Map<string, Pin>()
  /** By isolation and address, the one used longest ago first. */
  readonly #sites = new Map<string, HeldSite>()
  readonly #opening = new JoinedWork<ReadableSite>()
  /** When this node last published under a key of its own; as many as its book has. */
  readonly #changed = new Map<string, MonotonicMs>()
  #timer: Timer | null = null
  #closed = false

  constructor(parts: ResolverParts) {
    this.#parts = parts
  }

  /** As `Library.resolve`. Errors: those of `open`; for a key those of `RecordFinder.find`, unless a version is pinned. */
  async resolve(text: string, asking: Asking): Promise<Destination> {
    asking.signal.throwIfAborted()
    const address = requireAddress(text)
    if (address.type === AddressType.key) return this.#key(address.key, text.toLowerCase(), asking)
    const file = await this.#parts.open(text, asking)
    if (!isSiteIndex(file)) return { kind: 'file', file }
    return { kind: 'key', live: null, site: () => this.#version(file.address, asking) }
  }

  /** This node has published under `key`, which is its own: who opens a page here sees it at once, and need not wait for `RECORD_AGE_MS`. */
  changed(key: Uint8Array): void {
    this.#changed.set(toHex(key), this.#parts.clock.monotonicMs())
  }

  /** Versions and pins held. */
  get size(): { readonly sites: number; readonly pins: number } {
    return { sites: this.#sites.size, pins: this.#pins.size }
  }

  /** Forgets everything, for good. Idempotent. */
  close(): void {
    this.#closed = true
    this.#timer?.cancel()
    this.#pins.clear()
    this.#sites.clear()
  }

  async #key(key: Uint8Array, address: string, asking: Asking): Promise<Destination> {
    const name = nameOf(asking, toHex(key))
    const pin = this.#pins.get(name)
    const pinned = asking.pinned === true && pin !== undefined
    const found = pinned && pin.found.record.service === null ? pin.found : await this.#look(key, asking, pinned, pin)
    const opened = this.#pin(name, found)
    const { site, sequence } = found.record
    const named = pinned && opened !== null ? opened : site === null ? null : { part: site, sequence }
    const live = this.#parts.live({ address, key, found })
    return { kind: 'key', live, site: named === null ? null : () => this.#current(name, named, asking) }
  }

  /** The record now, or the pinned one if it cannot be had: who reads a site goes on reading it. */
  async #look(key: Uint8Array, asking: Asking, pinned: boolean, pin: Pin | undefined): Promise<FoundRecord> {
    const sinceMs = this.#parts.clock.monotonicMs() - (this.#changed.get(toHex(key)) ?? Number.NEGATIVE_INFINITY)
    const maxAgeMs = pinned ? RECORD_CACHE_MS : Math.min(asking.fresh === true ? FRESH_AGE_MS : RECORD_AGE_MS, sinceMs)
    const look = (maxAgeMs: number) => this.#parts.finder.find(key, { ...asking, maxAgeMs })
    try {
      const found = await look(maxAgeMs)
      // A service that was away a moment ago may be up again: "nothing here" is never said on the word of an old look.
      const isEmpty = found.record.site === null && found.record.service === null
      return isEmpty && maxAgeMs > FRESH_AGE_MS ? await look(FRESH_AGE_MS) : found
    } catch (error) {
      asking.signal.throwIfAborted()
      if (pin === undefined || pin.opened === null || !isOverlayError(error) || error.kind === 'bug') throw error
      return pin.found
    }
  }

  /** Opens the version that was named and pins it. If it cannot be opened: the pinned one, if there is another. */
  async #current(name: string, named: Named, asking: Asking): Promise<OpenedSite> {
    try {
      const site = await this.#version(formatFileAddress(named.part.snapshot), asking)
      const pin = this.#pins.get(name)
      // Never back: of two pages opened at once the slower one may have the older record.
      if (pin !== undefined && (pin.opened === null || pin.opened.sequence < named.sequence)) pin.opened = named
      return site
    } catch (error) {
      asking.signal.throwIfAborted()
      const opened = this.#pins.get(name)?.opened ?? null
      if (opened === null || equalPublic(opened.part.snapshot, named.part.snapshot)) throw error
      return await this.#version(formatFileAddress(opened.part.snapshot), asking)
    }
  }

  async #version(address: string, asking: Asking): Promise<ReadableSite> {
    const { open, clock } = this.#parts
    const isolation = asking.isolation ?? ''
    const name = nameOf(asking, address)
    const held = this.#sites.get(name)?.site
    const site =
      held ??
      (await this.#opening.join(name, asking.signal, async (signal) => {
        const shared = { ...asking, signal }
        return await openSite(await open(address, shared), { open, clock, isolation }, shared)
      }))
    this.#keep(name, site)
    return site
  }

  /** Notes that the key was asked for. Gives the version that is pinned. */
  #pin(name: string, found: FoundRecord): Named | null {
    const { clock } = this.#parts
    const held = this.#pins.get(name)
    const newest = held !== undefined && held.found.record.sequence > found.record.sequence ? held.found : found
    const pin = { found: newest, opened: held?.opened ?? null, usedAt: clock.monotonicMs() }
    if (this.#closed) return pin.opened
    this.#pins.delete(name)
    this.#pins.set(name, pin)
    if (this.#pins.size > PINS_MAX) this.#pins.delete(this.#pins.keys().next().value!)
    this.#schedule()
    return pin.opened
  }

  #keep(name: string, site: ReadableSite): void {
    if (this.#closed) return
    this.#sites.delete(name)
    this.#sites.set(name, { site, usedAt: this.#parts.clock.monotonicMs() })
    let bytes = 0
    for (const held of this.#sites.values()) bytes += held.site.indexBytes
    for (const [oldest, held] of this.#sites) {
      if (this.#sites.size <= OPEN_SITES_MAX && bytes <= INDEX_BYTES_TOTAL) break
      bytes -= held.site.indexBytes
      this.#sites.delete(oldest)
    }
    this.#schedule()
  }

  #schedule(): void {
    this.#timer ??= this.#parts.clock.setTimer(SWEEP_MS, () => {
      this.#timer = null
      const now = this.#parts.clock.monotonicMs()
      for (const [name, { usedAt }] of this.#sites) if (now - usedAt >= SITE_IDLE_MS) this.#sites.delete(name)
      for (const [name, { usedAt }] of this.#pins) if (now - usedAt >= PIN_IDLE_MS) this.#pins.delete(name)
      if (this.#sites.size + this.#pins.size > 0) this.#schedule()
    })
  }
}

/** Isolations share nothing; a name holds no line break that could make two of them meet. */
function nameOf({ isolation = '' }: Asking, what: string): string {
  return `${what} ${isolation}`
}
