/**
 * What is missing at a holder, with what it takes to put it back: the bytes, who should have it, and who may have it instead. Shares and root
 * slots become the same thing here, so that the healer knows neither. Spec: SPEC.md §7.7.
 */
import { type NodeId, toHex } from '../../src/bytes/index.ts'
import type { ShareNetwork, ShareWork, SlotValue } from '../../src/content/network.ts'
import type { Ranking } from '../../src/content/placement.ts'
import { provesShare, slotProof, slotValueHash } from '../../src/content/proof.ts'
import { slotLocation } from '../../src/content/slot.ts'

// Implementation constant.
/** Other holders that are tried when the proper one cannot be reached or lies. All who heal try the same ones, so that copies do not pile up. */
const OTHERS_MAX = 3

/** `absent`: it said that it has none. `bad`: it sent other bytes. `silent`: it did not answer in time. */
export type GapKind = 'absent' | 'bad' | 'silent'

export interface Loss {
  /** The same for everybody who finds the same missing. */
  readonly name: string
  /** Bytes held in memory, and sent by a put. */
  readonly bytes: number
  /** Whom to bring it to, in this order, until one has it. */
  readonly holders: readonly NodeId[]
  /** Whether `node` has it. Errors: those of `ShareNetwork`. */
  isAt(network: ShareNetwork, node: NodeId, nonce: Uint8Array, work: ShareWork): Promise<boolean>
  put(network: ShareNetwork, node: NodeId, work: ShareWork): Promise<void>
}

/** `share` (kept, not copied) of a segment that is placed as `placed` says was not had from `proper`. */
export function lostShare(
  share: Uint8Array,
  address: Uint8Array,
  where: { readonly ranking: Ranking; readonly placed: readonly NodeId[]; readonly proper: NodeId; readonly kind: GapKind },
): Loss {
  return {
    name: toHex(address),
    bytes: share.length,
    holders: holdersOf(address, where),
    async isAt(network, node, nonce, work) {
      const proof = await network.checkShare(node, { address, nonce, keepHours: 0 }, work)
      return proof !== null && provesShare(proof, nonce, share)
    },
    put: (network, node, work) => network.putShare(node, share, work),
  }
}

/** The same for a root slot. */
export function lostSlot(
  slot: SlotValue,
  where: { readonly ranking: Ranking; readonly placed: readonly NodeId[]; readonly proper: NodeId; readonly kind: GapKind },
): Loss {
  const location = slotLocation(slot.publicKey, slot.slot)
  const valueHash = slotValueHash(slot.value)
  return {
    name: toHex(location),
    bytes: slot.value.length,
    holders: holdersOf(location, where),
    async isAt(network, node, nonce, work) {
      const proof = await network.checkSlot(node, { location, valueHash, nonce, keepHours: 0 }, work)
      return proof !== null && Buffer.from(proof).equals(slotProof(nonce, slot.value))
    },
    put: (network, node, work) => network.putSlot(node, slot, work),
  }
}

/** The proper holder, unless it lied; then those with the fewest parts of the same lot, the best-ranking of these first. */
function holdersOf(
  place: Uint8Array,
  { ranking, placed, proper, kind }: { ranking: Ranking; placed: readonly NodeId[]; proper: NodeId; kind: GapKind },
): NodeId[] {
  const parts = new Map<NodeId, number>()
  for (const node of placed) parts.set(node, (parts.get(node) ?? 0) + 1)
  const others = ranking.order(place).filter((node) => node !== proper)
  // The sort is stable: equals stay in order of rank.
  others.sort((a, b) => (parts.get(a) ?? 0) - (parts.get(b) ?? 0))
  return [...(kind === 'bad' ? [] : [proper]), ...others.slice(0, OTHERS_MAX)]
}
