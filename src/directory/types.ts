/**
 * What the directory gives to the rest of the program: descriptors that were verified, the keys in them, and a view of all of them. Types
 * only; how descriptors are coded, checked and spread is in the files beside this one. Spec: SPEC.md §6.
 */
import type { NodeId, UnixMs } from '../bytes/index.ts'
import type { OnionPublicKeys } from '../circuit/index.ts'

export type { OnionPublicKeys }

/** A verified descriptor. */
export interface Descriptor {
  readonly id: NodeId
  /** Multiaddr texts without /p2p; none: the node cannot be dialled. At most 8, each at most 128 bytes. */
  readonly addresses: readonly string[]
  readonly onion: OnionPublicKeys
  readonly capacityClass: number
  readonly storeQuotaBytes: number
  /** Bits of work that a put at its store asks for (SPEC.md §8). Absent: none. */
  readonly putEffort?: number
  readonly publishedMs: UnixMs
  /** What the node says it is linked to; at most 16. A link counts when both ends list it. */
  readonly neighbours: readonly NodeId[]
  readonly family: readonly NodeId[]
}

/** The valid descriptors that this node has, its own included. */
export interface DirectoryView {
  readonly size: number
  /** Grows with each change of content. */
  readonly version: number
  get(id: NodeId): Descriptor | undefined
  all(): readonly Descriptor[]
  /** Nodes whose link with `id` is listed by both ends. */
  linked(id: NodeId): readonly NodeId[]
}
