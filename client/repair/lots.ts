/**
 * Things that belong together and are looked after in the same way: the shares of a segment, or the root slots of a publication. Any `k` of a
 * lot are enough. Spec: SPEC.md §7.8.
 */
import type { NodeId } from '../../src/bytes/index.ts'
import { ROOT_BYTES, SHARE_ADDRESS_BYTES, SHARE_BYTES } from '../../src/content/constants.ts'
import type { ShareNetwork, ShareWork } from '../../src/content/network.ts'
import { CHECK_BYTES, shareProof, slotProof, slotValueHash } from '../../src/content/proof.ts'
import type { RootKeys } from '../../src/content/root.ts'
import { signSlot, slotLocation } from '../../src/content/slot.ts'
import { sharesOf } from '../../src/content/spread.ts'
import type { Parcel } from '../publish/parcels.ts'

/** What a check says besides which thing it is about. */
export interface Challenge {
  /** 16 bytes. */
  readonly nonce: Uint8Array
  readonly keepHours: number
}

export interface Lot {
  /** Parts that are enough. */
  readonly k: number
  /** What holders are ranked by, one for each part. */
  readonly places: readonly Uint8Array[]
  /** A proof for part `at`, not verified; `null`: the node says that it has none. Errors: those of `ShareNetwork`. */
  check(at: number, node: NodeId, challenge: Challenge, work: ShareWork): Promise<Uint8Array | null>
  /** Waits until `node` can be checked at once (`AskTiming`). */
  ready(node: NodeId, signal: AbortSignal): Promise<void>
}

/** The segment of `k` data blocks whose share addresses are `addresses` (n × 32). */
export function segmentLot(network: ShareNetwork, k: number, addresses: Uint8Array): Lot {
  const places = Array.from({ length: addresses.length / SHARE_ADDRESS_BYTES }, (_, at) =>
    addresses.subarray(at * SHARE_ADDRESS_BYTES, (at + 1) * SHARE_ADDRESS_BYTES),
  )
  return {
    k,
    places,
    check: (at, node, challenge, work) => network.checkShare(node, { address: places[at]!, ...challenge }, work),
    ready: readyFor(network),
  }
}

/** The share as what is brought to a holder. */
export function shareParcel(network: ShareNetwork, place: Uint8Array, share: Uint8Array): Parcel {
  const ready: Parcel['ready'] = (node, signal) => network.ready?.(node, SHARE_BYTES, { signal })
  return { place, ready, put: (node, signal) => network.putShare(node, share, { signal }) }
}

export interface SlotLot extends Lot {
  readonly parcels: readonly Parcel[]
  /** Whether `proof` is right for any part: all slots hold the same. */
  proves(proof: Uint8Array, nonce: Uint8Array): boolean
}

/** The root slots of a publication on `spread` holders, each holding `sealed`. */
export function slotLot(network: ShareNetwork, keys: RootKeys, sealed: Uint8Array, spread: number): SlotLot {
  const { signing } = keys
  const places = Array.from({ length: sharesOf(1, spread) }, (_, slot) => slotLocation(signing.publicKey, slot))
  const valueHash = slotValueHash(sealed)
  return {
    k: 1,
    places,
    check: (at, node, challenge, work) => network.checkSlot(node, { location: places[at]!, valueHash, ...challenge }, work),
    ready: readyFor(network),
    parcels: places.map((place, at) => {
      const slot = signSlot(signing, at, sealed)
      const ready: Parcel['ready'] = (node, signal) => network.ready?.(node, ROOT_BYTES, { signal })
      return { place, ready, put: (node, signal) => network.putSlot(node, slot, { signal }) }
    }),
    proves: (proof, nonce) => Buffer.from(proof).equals(slotProof(nonce, sealed)),
  }
}

function readyFor(network: ShareNetwork): Lot['ready'] {
  return async (node, signal) => network.ready?.(node, CHECK_BYTES, { signal })
}

/** Whether `proof` is the one of `share` for `nonce`. */
export function isProofOf(proof: Uint8Array, nonce: Uint8Array, share: Uint8Array): boolean {
  return Buffer.from(proof).equals(shareProof(nonce, share))
}
