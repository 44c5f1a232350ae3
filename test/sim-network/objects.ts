/**
 * What is published in the store tier, and what is known of each object besides what nodes know: the truth about where its parts are. Of one
 * segment each: at most 10 blocks of 64 KiB. (Content of s segments is lost if one of them is: about s times as likely.)
 */
import { toHex } from '../../src/bytes/index.ts'
import { sha256 } from '../../src/crypto/index.ts'
import type { Rng } from '../../src/runtime/index.ts'
import type { StoreNode } from './store-node.ts'

/** Who looks after it: nobody; the node that published it (the default of `gyre publish`); that and two others; that and each one who reads it. */
export const KEEPING = ['nobody', 'publisher', 'three', 'readers'] as const
export type Keeping = (typeof KEEPING)[number]

export interface ObjectKind {
  readonly keeping: Keeping
  readonly blocks: number
  /** Reads a day, at random times. 0: none before the end. */
  readonly readsPerDay: number
}

/** One of each kind. */
export function kinds(): ObjectKind[] {
  return [1, 10].flatMap((blocks) => [
    ...(['nobody', 'publisher', 'three'] as const).flatMap((keeping) =>
      [0, 0.5].map((readsPerDay) => ({ keeping, blocks, readsPerDay })),
    ),
    { keeping: 'readers' as const, blocks, readsPerDay: 0.5 },
  ])
}

export type Outcome = 'read' | 'not-found' | 'wrong'

export interface SimObject {
  readonly kind: ObjectKind
  readonly hash: string
  readonly bytes: number
  address: string
  /** When its publisher was told that it is stored. */
  ackedMs: number
  /** Hex of the address of each share, and of the location of each root slot. */
  readonly shares: Set<string>
  readonly slots: Set<string>
  /** Nodes that were told to keep it. */
  readonly keepers: Set<StoreNode>
  /** When too little was left on all disks that will ever come back; `null`: never. */
  lostMs: number | null
  /** Since when none of its keepers will come back. */
  orphanedMs: number | null
  looks: number
  /** Looks at which too little of it was up. */
  away: number
  /** Fewest shares over what is needed, on nodes that are up, and on all that will come back. */
  spareUp: number
  spareAlive: number
  reads: number
  failed: number
  /** Reads that failed although enough was up all the time. */
  unfound: number
  final: Outcome | 'lost' | 'away' | null
}

export function contentOf(
  seed: string,
  kind: ObjectKind,
  rng: Rng,
): { readonly object: SimObject; readonly content: Uint8Array } {
  // The last block is half full: padding is part of it.
  const content = rng.bytes(kind.blocks * 65_536 - 30_000)
  const object: SimObject = {
    kind,
    hash: hashOf(content),
    bytes: content.length,
    address: seed,
    ackedMs: 0,
    shares: new Set(),
    slots: new Set(),
    keepers: new Set(),
    ...{
      lostMs: null,
      orphanedMs: null,
      looks: 0,
      away: 0,
      spareUp: 1e9,
      spareAlive: 1e9,
      reads: 0,
      failed: 0,
      unfound: 0,
      final: null,
    },
  }
  return { object, content }
}

export function hashOf(content: Uint8Array): string {
  return toHex(sha256(content))
}
