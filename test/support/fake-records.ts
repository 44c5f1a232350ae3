/** Key book, finder and publisher in memory, for tests of what stands on records: no holders, no loops, no disk. */
import { isKeyName, type KeyBook, type KeyEntry, type KeyPart } from '../../client/keys/index.ts'
import type { FoundRecord, KeyRecord, RecordFinder, RecordPublisher } from '../../client/records/index.ts'
import { toHex } from '../../src/bytes/index.ts'
import { formatKeyAddress } from '../../src/content/address.ts'
import { blindFactor } from '../../src/content/record.ts'
import { type BlindedKey, blindSigningKey, sha256, signingKey } from '../../src/crypto/index.ts'
import { OverlayError } from '../../src/errors/index.ts'

/** Keys are made from their names: the same in each test. */
export class FakeKeyBook implements KeyBook {
  readonly #keys = new Map<string, { readonly entry: KeyEntry; readonly seed: Uint8Array }>()
  /** By `NAME.PART`. */
  readonly kept = new Map<string, Uint8Array>()

  list(): readonly KeyEntry[] {
    return [...this.#keys.values()].map(({ entry }) => entry)
  }

  damaged(): readonly string[] {
    return []
  }

  get(name: string): KeyEntry | null {
    if (!isKeyName(name)) throw new OverlayError('config', 'KEY_BAD', `not a name: ${name}`)
    return this.#keys.get(name)?.entry ?? null
  }

  async make(name: string): Promise<KeyEntry> {
    const held = this.get(name)
    if (held !== null) return held
    const seed = sha256(new TextEncoder().encode(name))
    const { publicKey } = signingKey(seed)
    const entry = { name, address: formatKeyAddress(publicKey), publicKey }
    this.#keys.set(name, { entry, seed })
    return entry
  }

  async blind(name: string, network: Uint8Array, period: number): Promise<BlindedKey> {
    const { seed, entry } = this.#keys.get(name)!
    return blindSigningKey(seed, blindFactor(entry.publicKey, network, period))
  }

  async readPart(name: string, part: KeyPart): Promise<Uint8Array | null> {
    return this.kept.get(`${name}.${part}`)?.slice() ?? null
  }

  async writePart(name: string, part: KeyPart, bytes: Uint8Array): Promise<void> {
    this.kept.set(`${name}.${part}`, bytes.slice())
  }

  async removePart(name: string, part: KeyPart): Promise<void> {
    this.kept.delete(`${name}.${part}`)
  }
}

/** What is published is found at once, by everybody who shares the instance. */
export class FakeRecords implements RecordFinder, RecordPublisher {
  readonly #book: KeyBook
  /** By the key material in hex; tests may put what they like. */
  readonly records = new Map<string, KeyRecord>()
  finds = 0
  sets = 0
  /** Thrown by the next calls. */
  failFind: Error | null = null
  failSet: Error | null = null

  constructor(book: KeyBook = new FakeKeyBook()) {
    this.#book = book
  }

  /** As the last `find` said. */
  lastMaxAgeMs: number | undefined

  async find(
    key: Uint8Array,
    { signal, maxAgeMs }: { readonly signal: AbortSignal; readonly maxAgeMs?: number },
  ): Promise<FoundRecord> {
    signal.throwIfAborted()
    this.lastMaxAgeMs = maxAgeMs
    this.finds++
    if (this.failFind !== null) throw this.failFind
    const record = this.records.get(toHex(key))
    if (record === undefined) throw new OverlayError('not-found', 'RECORD_NOT_FOUND', 'no record')
    return { record, blinded: sha256(key), period: 1 }
  }

  async prepare(): Promise<void> {}

  async set(name: string, parts: Parameters<RecordPublisher['set']>[1], { signal }: { readonly signal: AbortSignal }) {
    signal.throwIfAborted()
    const entry = this.#book.get(name)
    if (entry === null) throw new OverlayError('config', 'KEY_BAD', `no key ${name}`)
    this.sets++
    if (this.failSet !== null) throw this.failSet
    const id = toHex(entry.publicKey)
    const held = this.records.get(id) ?? { sequence: 0, site: null, service: null }
    const { site = held.site, service = held.service } = parts
    this.records.set(id, { sequence: held.sequence + 1, site, service })
  }

  forget(name: string, part: 'site' | 'service', waiting: { readonly signal: AbortSignal }): Promise<void> {
    return this.set(name, { [part]: null }, waiting)
  }

  parts(name: string) {
    const entry = this.#book.get(name)
    const held = entry === null ? undefined : this.records.get(toHex(entry.publicKey))
    return { site: held?.site ?? null, service: held?.service ?? null }
  }

  isPublished(name: string): boolean {
    const { site, service } = this.parts(name)
    return site !== null || service !== null
  }
}
