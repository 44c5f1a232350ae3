/**
 * Reads a range of an opened file: segments ahead of the reader, blocks in order, clipped to the range. Spec: SPEC.md §7.6.
 *
 * Memory: the blocks of at most `AHEAD_MAX` segments (2.5 MiB), or where the network is to
 * have more asks under way of as many as those need (10 MiB), and what their parity takes. The window starts with one segment, so that the first
 * bytes share the loops with nothing else, and grows while the reader keeps taking.
 */
import { SEGMENT_BLOCKS, SHARE_BYTES } from '../../src/content/constants.ts'
import type { ByteRange } from '../library.ts'
import type { BlockSource } from './block-source.ts'
import type { SegmentJob } from './segment-job.ts'

/** Segments fetched or waiting to be taken at once. */
const AHEAD_MAX = 4

interface Ahead {
  readonly segment: number
  readonly job: Promise<SegmentJob>
}

/**
 * Verified plaintext of `range` in order, in pieces of at most one block. Ends `source`'s work when it is left early. `onEnd` is called when
 * nothing of it is asked for any more.
 */
export async function* readRange(
  range: ByteRange,
  source: BlockSource,
  ending: AbortController,
  onEnd: () => void = () => {},
): AsyncGenerator<Uint8Array, void, undefined> {
  if (range.start === range.end) return
  const firstBlock = Math.floor(range.start / SHARE_BYTES)
  const lastBlock = Math.floor((range.end - 1) / SHARE_BYTES)
  const lastSegment = Math.floor(lastBlock / SEGMENT_BLOCKS)
  const aheadMax = Math.max(AHEAD_MAX, source.segmentsAtOnce)
  const window: Ahead[] = []
  let next = Math.floor(firstBlock / SEGMENT_BLOCKS)
  let ahead = 1

  /** The wanted blocks of a segment, as indices in it. */
  const wantedIn = (segment: number): number[] => {
    const from = Math.max(firstBlock, segment * SEGMENT_BLOCKS)
    const to = Math.min(lastBlock, segment * SEGMENT_BLOCKS + SEGMENT_BLOCKS - 1)
    return Array.from({ length: to - from + 1 }, (_, at) => (from + at) % SEGMENT_BLOCKS)
  }
  const fill = () => {
    for (; window.length < ahead && next <= lastSegment; next++) {
      const job = source.segment(0, next, wantedIn(next))
      job.catch(() => {}) // seen when it is this segment's turn
      window.push({ segment: next, job })
    }
  }

  try {
    for (fill(); window.length > 0; fill()) {
      const { segment, job: starting } = window[0]!
      const job = await starting
      for (const within of wantedIn(segment)) {
        const block = segment * SEGMENT_BLOCKS + within
        const clear = await source.decipher(0, block, await job.take(within))
        const at = block * SHARE_BYTES
        const piece = clear.subarray(Math.max(0, range.start - at), Math.min(SHARE_BYTES, range.end - at))
        ahead = Math.min(aheadMax, ahead + 1)
        fill()
        yield piece
      }
      job.close()
      window.shift()
    }
  } finally {
    ending.abort()
    for (const { job } of window)
      job.then(
        (started) => started.close(),
        () => {},
      )
    onEnd()
  }
}
