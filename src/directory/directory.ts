/**
 * The directory: every valid descriptor that this node knows, the newest of each node, kept the same at all nodes by `gossip.ts`.
 * It decides what is kept and for how long; it sends nothing. One lookup never leaves the node, so that nobody learns whom it will use.
 *
 * Order of two descriptors of one node: the later `publishedMs` wins, then the lower hash, so that all nodes settle on the same one.
 * Limits: `nodesMax` nodes; at the limit newcomers are refused (`full`) and known nodes still update, so that a flood of fresh identities
 * cannot push out those that were there; only age removes. One node's updates are taken at a bounded rate (`hasty` beyond), so that it
 * cannot keep the whole network busy; reconciliation brings its newest later. Spec: SPEC.md §6.2.
 */
import { compareBytes, equalPublic, type MonotonicMs, type NodeId, toHex, type UnixMs } from '../bytes/index.ts'
import { type Clock, TokenBucket } from '../runtime/index.ts'
import { DIGEST_BUCKET_BYTES, DIGEST_BUCKETS } from '../wire/index.ts'
import {
  DESCRIPTOR_LIFE_MS,
  type DescriptorFault,
  type DirectoryRules,
  PUBLISHED_AHEAD_MS,
  type VerifiedDescriptor,
  verifyDescriptor,
} from './descriptor.ts'
import type { Descriptor, DirectoryView } from './types.ts'

// Implementation constants.
/** Nodes that a directory holds at most: some 300 MiB, signed bytes and parsed fields. */
export const DIRECTORY_NODES_MAX = 65_536
/** Updates of one node taken at once. A node that joins changes neighbours often. */
const UPDATES_AT_ONCE = 32
/** The time in which one more is allowed, for each node that is known, and its bounds: all together bring five a second at most, up to 50 nodes. */
const UPDATE_EVERY_MS_PER_NODE = 200
const UPDATE_EVERY_MIN_MS = 2_000
const UPDATE_EVERY_MAX_MS = 10_000

/** In which time a directory of `nodes` takes one more update of a node that has used up those at once. */
export function updateEveryMs(nodes: number): number {
  return Math.min(UPDATE_EVERY_MAX_MS, Math.max(UPDATE_EVERY_MIN_MS, UPDATE_EVERY_MS_PER_NODE * nodes))
}

/** What became of a descriptor that was handed over. */
export type AddVerdict = 'added' | 'known' | 'older' | 'full' | 'hasty' | DescriptorFault

interface Entry extends VerifiedDescriptor {
  readonly hashHex: string
  readonly neighbours: ReadonlySet<NodeId>
  readonly updates: TokenBucket
}

export interface DirectoryOptions {
  readonly rules: DirectoryRules
  readonly clock: Pick<Clock, 'unixMs' | 'monotonicMs'>
  /** Always has a place, even in a full directory. */
  readonly self: NodeId
  readonly nodesMax?: number
}

export class Directory implements DirectoryView {
  readonly rules: DirectoryRules
  readonly #clock: Pick<Clock, 'unixMs' | 'monotonicMs'>
  readonly #self: NodeId
  readonly #nodesMax: number
  readonly #entries = new Map<NodeId, Entry>()
  /** Entries by hex of their hash. */
  readonly #byHash = new Map<string, Entry>()
  /** XOR of the first 8 bytes of the hashes of each bucket's entries, kept up to date with each change. */
  readonly #digest = new Uint8Array(DIGEST_BUCKETS * DIGEST_BUCKET_BYTES)
  readonly #inBucket: Set<Entry>[] = Array.from({ length: DIGEST_BUCKETS }, () => new Set())
  #version = 0
  /** Answers computed for `#version`; emptied when it changes. */
  #all: readonly Descriptor[] | null = null
  readonly #linked = new Map<NodeId, readonly NodeId[]>()
  readonly #listeners = new Set<(id: NodeId) => void>()

  constructor({ rules, clock, self, nodesMax = DIRECTORY_NODES_MAX }: DirectoryOptions) {
    this.rules = rules
    this.#clock = clock
    this.#self = self
    this.#nodesMax = nodesMax
  }

  get size(): number {
    return this.#entries.size
  }

  get version(): number {
    return this.#version
  }

  get(id: NodeId): Descriptor | undefined {
    return this.#entries.get(id)?.descriptor
  }

  all(): readonly Descriptor[] {
    this.#all ??= Array.from(this.#entries.values(), (entry) => entry.descriptor)
    return this.#all
  }

  linked(id: NodeId): readonly NodeId[] {
    const known = this.#linked.get(id)
    if (known) return known
    const claimed = this.#entries.get(id)?.descriptor.neighbours ?? []
    const both = claimed.filter((other) => this.#entries.get(other)?.neighbours.has(id) === true)
    this.#linked.set(id, both)
    return both
  }

  /** Judges a `SignedDescriptor` (borrowed) and keeps it if it is the newest of its node. Never throws. */
  add(bytes: Uint8Array): AddVerdict {
    const now = this.#clock.unixMs()
    const monotonic = this.#clock.monotonicMs()
    let verdict: AddVerdict = 'added'
    const verified = verifyDescriptor(bytes, this.rules, now, (id, publishedMs, hash) => {
      verdict = this.#standing(id, publishedMs, hash, monotonic)
      return verdict === 'added'
    })
    if (verified === 'unneeded') return verdict
    if (typeof verified === 'string') return verified
    this.#put(verified, monotonic)
    return 'added'
  }

  /** What would become of a descriptor if the dear checks pass. */
  #standing(id: NodeId, publishedMs: UnixMs, hash: Uint8Array, now: MonotonicMs): AddVerdict {
    const entry = this.#entries.get(id)
    if (entry === undefined) return this.#entries.size < this.#nodesMax || id === this.#self ? 'added' : 'full'
    if (equalPublic(entry.hash, hash)) return 'known'
    const later = publishedMs - entry.descriptor.publishedMs || compareBytes(entry.hash, hash)
    // One that would be refused now was taken under a clock that was ahead: it must not keep out what comes for as long as that was.
    const isOfFuture = entry.descriptor.publishedMs > this.#clock.unixMs() + PUBLISHED_AHEAD_MS
    if (later < 0 && !isOfFuture) return 'older'
    entry.updates.setRate(1000 / updateEveryMs(this.#entries.size), now)
    return id === this.#self || entry.updates.has(now) ? 'added' : 'hasty'
  }

  #put(verified: VerifiedDescriptor, now: MonotonicMs): void {
    const { id } = verified.descriptor
    const old = this.#entries.get(id)
    if (old) this.#forget(old)
    const updates = old?.updates ?? new TokenBucket(1000 / updateEveryMs(this.#entries.size), UPDATES_AT_ONCE, now)
    updates.take(now)
    const neighbours = new Set(verified.descriptor.neighbours)
    const entry: Entry = { ...verified, hashHex: toHex(verified.hash), neighbours, updates }
    this.#entries.set(id, entry)
    this.#byHash.set(entry.hashHex, entry)
    this.#toggle(entry)
    this.#inBucket[bucketOf(id)]!.add(entry)
    this.#changed(id)
  }

  /** Takes an entry out of all indexes; the caller reports the change. */
  #forget(entry: Entry): void {
    const { id } = entry.descriptor
    this.#entries.delete(id)
    this.#byHash.delete(entry.hashHex)
    this.#toggle(entry)
    this.#inBucket[bucketOf(id)]!.delete(entry)
  }

  #toggle(entry: Entry): void {
    const at = bucketOf(entry.descriptor.id) * DIGEST_BUCKET_BYTES
    for (let byte = 0; byte < DIGEST_BUCKET_BYTES; byte++) this.#digest[at + byte]! ^= entry.hash[byte]!
  }

  #changed(id: NodeId): void {
    this.#version++
    this.#all = null
    this.#linked.clear()
    for (const listener of [...this.#listeners]) listener(id)
  }

  /** Drops what is over its age by the wall clock. Call it now and then; returns how many went. */
  expire(): number {
    const now = this.#clock.unixMs()
    let gone = 0
    for (const entry of [...this.#entries.values()]) {
      if (entry.descriptor.publishedMs + DESCRIPTOR_LIFE_MS > now) continue
      this.#forget(entry)
      this.#changed(entry.descriptor.id)
      gone++
    }
    return gone
  }

  /** Calls `listener` with the node whose descriptor came, changed or went. Returns the way to stop. */
  onChange(listener: (id: NodeId) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** The `SignedDescriptor` of a node, to hand on. Not to be changed. */
  signedOf(id: NodeId): Uint8Array | undefined {
    return this.#entries.get(id)?.signed
  }

  /** The `SignedDescriptor` with this hash (64 hex characters). Not to be changed. */
  signedByHash(hashHex: string): Uint8Array | undefined {
    return this.#byHash.get(hashHex)?.signed
  }

  hashHexOf(id: NodeId): string | undefined {
    return this.#entries.get(id)?.hashHex
  }

  hasHash(hashHex: string): boolean {
    return this.#byHash.has(hashHex)
  }

  /** A copy of the 256 bucket digests. */
  digest(): Uint8Array {
    return this.#digest.slice()
  }

  /** Hashes (hex) of what is in a bucket, in no order. */
  hashesIn(bucket: number): readonly string[] {
    return Array.from(this.#inBucket[bucket] ?? [], (entry) => entry.hashHex)
  }

  /** All `SignedDescriptor`s, to save them. */
  *signed(): Generator<Uint8Array, void, undefined> {
    for (const entry of this.#entries.values()) yield entry.signed
  }
}

/** The digest bucket of a node: the first byte of its id. */
function bucketOf(id: NodeId): number {
  return Number.parseInt(id.slice(0, 2), 16)
}
