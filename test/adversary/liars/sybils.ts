/** Somebody who makes identities until they rank first for what he is after. What he pays: a key pair a try, and the work of those that he shows. */
import { type NodeId, nodeIdOf } from '../../../src/bytes/index.ts'
import { Ranking } from '../../../src/content/placement.ts'
import { signingKey } from '../../../src/crypto/index.ts'
import type { Rng } from '../../../src/runtime/index.ts'

/** Tries that are ranked together: one call for all of them. */
const BATCH = 128

/** An identity that ranks before all `nodes` for `place`, and how many were tried. `made`: a key pair for each try; else an id at random. `null`: not within `most` tries. */
export function grind(
  nodes: readonly NodeId[],
  place: Uint8Array,
  rng: Rng,
  made: 'keys' | 'ids' = 'ids',
  most = Number.POSITIVE_INFINITY,
): { readonly id: NodeId; readonly tries: number } | null {
  // Who ranks before the first ranks before all.
  const [first] = new Ranking(nodes).firsts(place, 1)
  for (let tries = BATCH; tries <= most + BATCH; tries += BATCH) {
    const ids = Array.from({ length: BATCH }, () => {
      const bytes = rng.bytes(32)
      return nodeIdOf(made === 'keys' ? signingKey(bytes).publicKey : bytes)
    })
    const [id] = new Ranking([first!, ...ids]).firsts(place, 1)
    if (id !== first) return { id: id!, tries: tries - BATCH + ids.indexOf(id!) + 1 }
  }
  return null
}
