/**
 * One link per pair of nodes: which of two connections with the same peer stays. Pure, and decided alike by both sides without a word.
 *
 * A host does not dial a peer with which it has a link. So a second connection means one of two things: both sides dialled at once, or the
 * peer no longer has the first one (it restarted, its machine vanished) and this side has not noticed.
 * - Younger than `window` (the longest a dial can take): both dialled at once. The connection dialled by the lower node id stays; of two
 *   that the same side dialled, the newer.
 * - Older: the peer would not have dialled if it still had it. The new one replaces it.
 * A side with the lower id that is still dialling holds an inbound connection back until its own dial has succeeded (the held one is
 * closed) or failed (it is used). Spec: SPEC.md §3.1.
 */
import { OverlayError } from '../errors/index.ts'

/** What of the two connections decides. `dialled`: by this side. */
export interface Duel {
  /** Whether this node has the lower id. */
  readonly lower: boolean
  readonly existing: { readonly dialled: boolean; readonly ageMs: number }
  readonly fresh: { readonly dialled: boolean }
  readonly windowMs: number
}

/** Which connection stays. */
export function duel({ lower, existing, fresh, windowMs }: Duel): 'existing' | 'fresh' {
  if (existing.ageMs > windowMs || existing.dialled === fresh.dialled) return 'fresh'
  return fresh.dialled === lower ? 'fresh' : 'existing'
}

/** What a dial fails with whose connection lost, or is not needed. */
export function duplicateLink(): OverlayError {
  return new OverlayError('unreachable', 'LINK_DUPLICATE', 'There is a link with that node already, or one is being opened.')
}
