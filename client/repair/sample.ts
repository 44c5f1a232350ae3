/** How much of a publication a receipt asks for. Pure. Spec: SPEC.md §7.10. */
import { SMALL_NETWORK } from '../shares.ts'

// Implementation constants.
/** Segments asked for, at most: all of 40 MiB of content. */
export const RECEIPT_SEGMENTS = 64
/** Where each share takes a loop of its own: some 300 loops. */
export const RECEIPT_SEGMENTS_LARGE_NETWORK = 8

/** Segments that a receipt asks for where `holders` nodes are known. */
export function receiptSegments(holders: number): number {
  return holders < SMALL_NETWORK ? RECEIPT_SEGMENTS : RECEIPT_SEGMENTS_LARGE_NETWORK
}
