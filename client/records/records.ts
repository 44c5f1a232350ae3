/**
 * What looking up and publishing records is to those who use it: types only, so that sites and services can be tested without holders.
 * Spec: SPEC.md §10.
 */
import type { KeyRecord, ServicePart, SitePart } from '../../src/wire/index.ts'
import type { Asking } from '../library.ts'

export type { KeyRecord, ServicePart, ServicePoint, SitePart } from '../../src/wire/index.ts'

/** How long a found record is remembered, for who takes one that is not quite fresh. */
export const RECORD_CACHE_MS = 30_000

export interface RecordAsking extends Asking {
  /** A record that was found under the same isolation so short ago does. At most `RECORD_CACHE_MS` counts. Default 0: look anew. */
  readonly maxAgeMs?: number
}

export interface FoundRecord {
  readonly record: KeyRecord
  /** 32 bytes: the blinded key of the period that it was found in. */
  readonly blinded: Uint8Array
  readonly period: number
}

export interface RecordFinder {
  /**
   * The newest record of the address whose key material is `key` (32 bytes). Looks under way for the same key and isolation are joined.
   * Errors: `RECORD_NOT_FOUND`, `RECORD_DAMAGED`, `RECORD_STALE`, `ADDRESS_BAD` (no key of the right group), `NETWORK_TOO_SMALL`, the
   * signal's reason.
   */
  find(key: Uint8Array, asking: RecordAsking): Promise<FoundRecord>
}

/** Parts of a key's record. Not named: stays as it is. `null`: is taken out. */
export interface RecordParts {
  readonly site?: SitePart | null
  readonly service?: ServicePart | null
}

export interface RecordPublisher {
  /**
   * The record of `name` will be set soon, perhaps: where loops take time, those that its holders will be reached by are brought. Tells nobody
   * anything. Resolves when they are there, or after `PREPARE_MS`; never rejects.
   */
  prepare(name: string, waiting: { readonly signal: AbortSignal }): Promise<void>
  /**
   * Changes parts of the record of the key `name`, writes them to disk and publishes them. Resolves when the holders of the current period
   * have them; the following periods come later, by themselves, and all is refreshed as long as the node runs. Calls for one key are done
   * in order. When it rejects the change stays, and publishing is tried again by itself.
   * Errors: `KEY_BAD` (there is no such key), `PUBLISH_FAILED`, `NETWORK_TOO_SMALL`, `DATA_DIR_UNUSABLE`, the signal's reason.
   */
  set(name: string, parts: RecordParts, waiting: { readonly signal: AbortSignal }): Promise<void>
  /** `set` with that part taken out. A key with no part left is published once more, empty, and then left alone. */
  forget(name: string, part: 'site' | 'service', waiting: { readonly signal: AbortSignal }): Promise<void>
  /** What the record of `name` says now, published or not; `service` only since it was set in this run. */
  parts(name: string): { readonly site: SitePart | null; readonly service: ServicePart | null }
  /** Whether the holders of the current period have what `parts` says. */
  isPublished(name: string): boolean
}
