/**
 * Publishes versions of sites: blocks that changed go into a new pack, then the index that refers to them and to earlier packs, then the
 * record that names the index. Until the record is there readers see the version before; whatever breaks off leaves it in place.
 * Spec: SPEC.md §12.1. What is kept between versions: `state.ts`.
 *
 * Order: pack (a `file`) → index (a `file`) → state on disk → record. A crash before the record costs the uploads that were made, and after
 * the state not even these: the next try refers to them.
 */
import { requireFileAddress } from '../../src/content/address.ts'
import { encodeSiteIndex, SITE_CONTENT_TYPE, SITE_VERSION_MAX } from '../../src/content/site-index.ts'
import { isOverlayError, OverlayError } from '../../src/errors/index.ts'
import type { Logger } from '../../src/log/index.ts'
import type { Clock, Rng } from '../../src/runtime/index.ts'
import type { KeyBook, KeyEntry } from '../keys/index.ts'
import type {
  PublishOptions,
  Receipt,
  SiteFile,
  SiteOptions,
  SitePublication,
  SiteStatus,
  Sites,
  StoredPublication,
} from '../library.ts'
import type { RecordFinder, RecordPublisher, SitePart } from '../records/index.ts'
import { BlockTable } from './block-table.ts'
import { SitePacker, startingWith } from './packer.ts'
import { encodeState, type KnownPack, packsToKeep, parseState, SITE_SECRET_BYTES, type SiteState, tableOf } from './state.ts'

// Implementation constants.
/** Least time between two progress calls. */
const PROGRESS_MS = 300
/** Sites being published at once; each holds at most 40 MiB of table, and what `publishFile` holds. */
export const SITE_PUBLICATIONS_MAX = 4

type PublishFile = (body: AsyncIterable<Uint8Array>, options: PublishOptions) => Promise<StoredPublication>

export interface SitePublisherParts {
  readonly publish: PublishFile
  readonly keys: KeyBook
  readonly records: RecordPublisher
  readonly finder: RecordFinder
  readonly clock: Clock
  readonly rng: Rng
  readonly log: Logger
  /** Told of the key (32 bytes) whose record names a new version. */
  readonly onVersion?: (key: Uint8Array) => void
}

export class SitePublisher implements Sites {
  readonly #parts: SitePublisherParts
  /** By name of the key; at most as many as the book has keys. */
  readonly #sites = new Map<string, SiteStatus>()
  readonly #running = new Set<string>()

  constructor(parts: SitePublisherParts) {
    this.#parts = parts
  }

  /** Reads what is on disk, for `list`. A damaged state is told and costs nothing but that its site is uploaded whole next time. */
  async start(): Promise<void> {
    const { keys, records } = this.#parts
    for (const entry of keys.list()) {
      const { site } = records.parts(entry.name)
      if (site === null) continue
      const state = await this.#readState(entry.name)
      this.#note(entry, site, state?.publishedMs ?? 0)
    }
  }

  list(): readonly SiteStatus[] {
    return [...this.#sites.values()].sort((a, b) => (a.key < b.key ? -1 : 1))
  }

  /**
   * As `Sites.publish`. `uploaded` counts the new pack: the index, which names every file, is new each time and comes on top.
   * Errors: also `KEY_BAD`, `SITE_BUSY`, and those of `RecordPublisher.set`: then content and state are there, and the record is tried again.
   */
  async publish(files: AsyncIterable<SiteFile>, options: SiteOptions): Promise<SitePublication> {
    options.signal.throwIfAborted()
    const known = this.#parts.keys.get(options.key) !== null
    if (this.#running.has(options.key)) throw busy('This site is being published already.')
    if (this.#running.size >= SITE_PUBLICATIONS_MAX) throw busy(`${SITE_PUBLICATIONS_MAX} sites are being published already.`)
    this.#running.add(options.key)
    try {
      const entry = await this.#parts.keys.make(options.key)
      return await this.#publish(files, entry, known, options)
    } finally {
      this.#running.delete(options.key)
    }
  }

  async #publish(
    files: AsyncIterable<SiteFile>,
    entry: KeyEntry,
    known: boolean,
    { signal, onProgress }: SiteOptions,
  ): Promise<SitePublication> {
    const { clock, rng, publish, keys, records } = this.#parts
    const before = await this.#readState(entry.name)
    const state = before ?? emptyState(rng)
    const version = 1 + Math.max(state.version, await this.#publishedVersion(entry, known && before === null, signal))
    if (version > SITE_VERSION_MAX) throw new OverlayError('config', 'SITE_BAD', 'The site has had too many versions.')
    const publishedMs = clock.unixMs()
    const kept = packsToKeep(state.packs, publishedMs)
    const table = tableOf(state, kept)
    const onBytes = progressOf(clock, onProgress)
    const packer = new SitePacker({ table, secret: state.secret, newPack: kept.length, onBytes: onBytes.add, signal })

    const pack = await publishPack(packer, files, publish, signal)
    if (packer.entries.length === 0) throw new OverlayError('config', 'SITE_BAD', 'There is no file to publish.')
    const live = table.liveBytes(kept.length + 1)
    const packs: KnownPack[] = kept.map((one, number) => ({ ...one, liveBytes: live[number]! }))
    if (pack !== null) {
      const liveBytes = live[kept.length]! + packer.forgottenBytes
      packs.push({ key: pack.key, bytes: packer.packBytes, publishedMs, liveBytes })
    }
    const index = indexOf(version, packs, packer)
    const { address: snapshot, receipt: indexReceipt } = await publish(once(index), { contentType: SITE_CONTENT_TYPE, signal })
    await keys.writePart(entry.name, 'site', encodeState({ secret: state.secret, version, publishedMs, packs, table }))
    const { plainBytes: bytes, packBytes: uploaded } = packer
    const site: SitePart = { snapshot: requireFileAddress(snapshot).key, version, bytes, files: packer.entries.length }
    try {
      await records.set(entry.name, { site }, { signal })
    } finally {
      // Also when publishing it is put off: the record says it now.
      if (records.parts(entry.name).site?.version === version) {
        this.#note(entry, site, publishedMs)
        this.#parts.onVersion?.(entry.publicKey)
      }
    }
    onBytes.end()
    const receipt = pack === null ? indexReceipt : receiptOfBoth(pack.receipt, indexReceipt)
    return { address: entry.address, version, bytes, files: site.files, uploaded, snapshot, receipt }
  }

  #note({ name, address }: KeyEntry, { version, bytes, files }: SitePart, publishedMs: number): void {
    this.#sites.set(name, { key: name, address, version, bytes, files, publishedMs })
  }

  async #readState(name: string): Promise<SiteState | null> {
    const { keys, log } = this.#parts
    try {
      const bytes = await keys.readPart(name, 'site')
      const state = bytes === null ? null : parseState(bytes)
      if (bytes !== null && state === null) log.warn('the state of a site is damaged: its next version is uploaded whole')
      return state
    } catch (error) {
      if (!isOverlayError(error, 'KEY_BAD')) throw error
      log.warn('the state of a site is damaged: its next version is uploaded whole')
      return null
    }
  }

  /** The version that the key's record names; asked of the network only where `lost`, what this node knew of a key that it has. */
  async #publishedVersion({ name, publicKey }: KeyEntry, lost: boolean, signal: AbortSignal): Promise<number> {
    const { records, finder } = this.#parts
    const { site } = records.parts(name)
    if (site !== null || !lost) return site?.version ?? 0
    try {
      const { record } = await finder.find(publicKey, { signal })
      return record.site?.version ?? 0
    } catch (error) {
      signal.throwIfAborted()
      if (!isOverlayError(error)) throw error
      return 0 // there never was one, as for a key that was made for a service
    }
  }
}

/** Publishes the new blocks as one `file`. The key material of its address, and its receipt, or `null` when nothing is new. */
async function publishPack(
  packer: SitePacker,
  files: AsyncIterable<SiteFile>,
  publish: PublishFile,
  signal: AbortSignal,
): Promise<{ readonly key: Uint8Array; readonly receipt: Receipt } | null> {
  const blocks = packer.pack(files)
  const first = await blocks.next()
  if (first.done === true) return null
  const { address, bytes, receipt } = await publish(startingWith(first.value, blocks), { signal })
  if (bytes !== packer.packBytes) throw new OverlayError('bug', 'INTERNAL', 'A pack was published with another length.')
  return { key: requireFileAddress(address).key, receipt }
}

/** What is as good as the weaker of two. */
function receiptOfBoth(a: Receipt, b: Receipt): Receipt {
  return {
    survives: Math.min(a.survives, b.survives),
    of: Math.max(a.of, b.of),
    checked: a.checked + b.checked,
    parts: a.parts + b.parts,
    missing: a.missing + b.missing,
    at: Math.max(a.at, b.at),
  }
}

function indexOf(version: number, packs: readonly KnownPack[], packer: SitePacker): Uint8Array {
  try {
    return encodeSiteIndex({ version, packs, entries: packer.entries })
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    throw new OverlayError('config', 'SITE_BAD', 'The site is too large for one index: too many files, pieces or bytes.', error)
  }
}

function emptyState(rng: Rng): SiteState {
  return { secret: rng.bytes(SITE_SECRET_BYTES), version: 0, publishedMs: 0, packs: [], table: new BlockTable() }
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array, void, undefined> {
  yield bytes
}

function busy(message: string): OverlayError {
  return new OverlayError('overload', 'SITE_BUSY', message)
}

/** Passes on progress a few times a second. */
function progressOf(clock: Clock, report: ((bytes: number) => void) | undefined) {
  let done = 0
  let lastMs = Number.NEGATIVE_INFINITY
  return {
    add(bytes: number): void {
      done += bytes
      if (report === undefined || clock.monotonicMs() - lastMs < PROGRESS_MS) return
      lastMs = clock.monotonicMs()
      report(done)
    },
    end: (): void => report?.(done),
  }
}
