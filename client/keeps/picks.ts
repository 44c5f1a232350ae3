/** Which segments of a file are gone through at one time. Pure. Spec: SPEC.md §7.8, §7.10. */
import { type Rng, shuffled } from '../../src/runtime/index.ts'
import { receiptSegments, type SegmentAt } from '../repair/index.ts'

// Implementation constants.
/** Segments gone through in one pass of a keeper, at least: 40 MiB of content. Of more an eighth, so that each is renewed in 8 passes. */
export const PASS_SEGMENTS_MIN = 64
const PASSES_FOR_ALL = 8

/** The part of `segments` whose turn it is in pass number `pass`, in their order. */
export function windowOf(segments: readonly SegmentAt[], pass: number): readonly SegmentAt[] {
  const size = Math.max(PASS_SEGMENTS_MIN, Math.ceil(segments.length / PASSES_FOR_ALL))
  if (segments.length <= size) return segments
  const windows = Math.ceil(segments.length / size)
  const from = (pass % windows) * size
  return segments.slice(from, from + size)
}

/** So many segments of `segments`, drawn at random, in their order. */
export function sampleOf(segments: readonly SegmentAt[], holders: number, rng: Rng): readonly SegmentAt[] {
  const most = receiptSegments(holders)
  if (segments.length <= most) return segments
  const drawn = shuffled([...segments.keys()], rng).slice(0, most)
  return drawn.sort((a, b) => a - b).map((at) => segments[at]!)
}
