/**
 * What a book of keys is: the keys under which this node publishes sites and services, by names that only its user sees. One key is one
 * address and one web origin; a key may have a site, a live service, or both. `folder.ts` keeps them on disk.
 */

import type { BlindedKey } from '../../src/crypto/index.ts'

/** What belongs to a key besides its seed, each a file of its own: its record, what a site's next version needs, a service's secrets. */
export const KEY_PARTS = ['record', 'site', 'service'] as const
export type KeyPart = (typeof KEY_PARTS)[number]

export interface KeyEntry {
  /** `a-z`, `0-9` and `-`, 1 to 32 characters, `-` neither first nor last. */
  readonly name: string
  /** 56 characters. */
  readonly address: string
  /** 32 bytes: the address's key material. */
  readonly publicKey: Uint8Array
}

export interface KeyBook {
  /** All sound keys, by name. */
  list(): readonly KeyEntry[]
  /** Names whose key file is damaged: they are refused, never replaced. */
  damaged(): readonly string[]
  /** The key of that name, or `null`. Errors: `KEY_BAD` (no name, or its file is damaged). */
  get(name: string): KeyEntry | null
  /** The key of that name, made if there is none. Errors: `KEY_BAD` (also: the book is full), `DATA_DIR_UNUSABLE`. */
  make(name: string): Promise<KeyEntry>
  /** The key's signing key of one period. Errors: `KEY_BAD` (there is none). The caller wipes it. */
  blind(name: string, network: Uint8Array, period: number): Promise<BlindedKey>
  /** What `writePart` wrote last, whole; `null`: nothing yet. Errors: `KEY_BAD` (damaged), `DATA_DIR_UNUSABLE`. */
  readPart(name: string, part: KeyPart): Promise<Uint8Array | null>
  /** Replaces a part, at most `KEY_PART_BYTES_MAX`: afterwards it survives whatever is killed. One key's writes are done in order. */
  writePart(name: string, part: KeyPart, bytes: Uint8Array): Promise<void>
  /** Removes a part, if it is there. */
  removePart(name: string, part: KeyPart): Promise<void>
}

/** Most bytes of a part: what a site of 64 GiB needs. */
export const KEY_PART_BYTES_MAX = 24 * 1024 * 1024
/** Most keys of a book; at the limit no more are made. */
export const KEYS_MAX = 256

export function isKeyName(name: string): boolean {
  return name.length <= 32 && /^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$/.test(name)
}
