/**
 * Which links and second members the loops of one service use. Whoever can connect to a service can make its node build loops, and whoever
 * has nodes in the network will now and then be a member of one: if each loop left and came home over other links, he would soon have been
 * at each of the node's neighbours, and know it by its set of them. So all loops of one key use one pair of the links that the node chose
 * itself, and behind each of the two the same few members, which change one by one over weeks (Tor's layered guards, proposal 292, are the
 * model). Nothing is stored but a secret: the order is a pseudorandom function of it, so that a link that is down is replaced by the next
 * one, and used again when it is back. Spec: PROTOCOL §3, §5; SPEC.md §6.5.
 */
import { le32, type NodeId, nodeIdBytes, readU48 } from '../../src/bytes/index.ts'
import { hmacSha256 } from '../../src/crypto/index.ts'
import type { Clock } from '../../src/runtime/index.ts'
import type { LoopPreference } from '../paths.ts'

export const PREFERENCE_SECRET_BYTES = 32

// Implementation constants.
const DAY_MS = 86_400_000
/** Days for which the place of a second member in the order holds. Each has a day of its own on which it is drawn anew. */
const SECOND_DAYS = 14

const LINK = Uint8Array.of(0)
const PHASE = Uint8Array.of(1)
const SECOND = Uint8Array.of(2)

/** The preference that belongs to `secret` (32 bytes, never leaves the node). */
export function lastingPreference(secret: Uint8Array, clock: Pick<Clock, 'unixMs'>): LoopPreference {
  const rank = (...parts: readonly Uint8Array[]) => readU48(hmacSha256(secret, ...parts), 0)
  return {
    link: (id: NodeId) => rank(LINK, nodeIdBytes(id)),
    second(id: NodeId) {
      const node = nodeIdBytes(id)
      const day = Math.floor(clock.unixMs() / DAY_MS) + (rank(PHASE, node) % SECOND_DAYS)
      return rank(SECOND, node, le32(Math.floor(day / SECOND_DAYS)))
    },
  }
}
