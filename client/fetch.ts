/**
 * Opens a publication by its address and reads it: finds and verifies the root, then any range of the content, as often as needed.
 * Spec: SPEC.md §7.6. Nothing that failed verification leaves this module, and nothing ends short without an error.
 */
import { formatFileAddress, requireFileAddress } from '../src/content/address.ts'
import { HolderHealth } from '../src/content/holder-health.ts'
import type { ShareNetwork } from '../src/content/network.ts'
import { Ranking } from '../src/content/placement.ts'
import type { Root } from '../src/content/root.ts'
import { OverlayError } from '../src/errors/index.ts'
import type { Clock, Rng } from '../src/runtime/index.ts'
import { BlockSource, FileMap } from './fetch/block-source.ts'
import { readRange } from './fetch/range-reader.ts'
import { findRoot } from './fetch/root-finder.ts'
import { ShareAsker } from './fetch/share-asker.ts'
import { type Loss, ReadGaps } from './heal/index.ts'
import type { Asking, ByteRange, OpenedFile } from './library.ts'
import type { EndStage } from './trace/index.ts'

// Implementation constant.
/** How long a read goes on that hears nothing from holders: links and loops are replaced in seconds, and nodes are started again. */
export const PERSIST_MS = 30_000

export interface FetchParts {
  /** For the order of requests only: what is fetched does not depend on it. */
  readonly rng: Rng
  readonly clock: Clock
  /** Takes what reads find missing, when they are over. */
  readonly heal?: ((loss: Loss) => void) | undefined
}

/**
 * Opens the publication at `text`, an address in any case.
 * Errors: `ADDRESS_BAD`, `CONTENT_NOT_FOUND`, `CONTENT_DAMAGED`, `NETWORK_TOO_SMALL`, the signal's reason.
 */
export async function openFile(
  network: ShareNetwork,
  text: string,
  { rng, clock, heal }: FetchParts,
  { signal, trace }: Asking,
): Promise<OpenedFile> {
  signal.throwIfAborted()
  const { key } = requireFileAddress(text)
  const address = formatFileAddress(key)
  const health = new HolderHealth(clock, undefined, network.patience)
  const ranking = currentRanking(network)
  const holders = tracedRanking(ranking, trace?.stage('directory'))
  const gapsOf = (view: Ranking) => (heal === undefined ? undefined : new ReadGaps({ ranking: view, clock, heal }))
  const map = await openRoot(gapsOf(holders), (gaps) =>
    findRoot(key, { network, ranking: holders, health, clock, rng, signal, trace, gaps, persistMs: PERSIST_MS }),
  )
  const { length, name, contentType } = map.root
  return {
    address,
    bytes: length,
    contentType,
    name,
    etag: `"${address}"`,
    read: (range, waiting) => {
      checkRange(range, length)
      const view = ranking()
      const gaps = gapsOf(view)
      const asker = new ShareAsker({
        network,
        ranking: view,
        health,
        clock,
        rng,
        trace: waiting.trace,
        gaps,
        persistMs: PERSIST_MS,
      })
      return {
        counters: asker.counters,
        [Symbol.asyncIterator]: () => {
          const ending = new AbortController()
          const source = new BlockSource(map, asker, AbortSignal.any([waiting.signal, ending.signal]))
          return readRange(range, source, ending, () => gaps?.end())
        },
      }
    },
  }
}

/** The publication's map, once `find` has found its root. */
async function openRoot(gaps: ReadGaps | undefined, find: (gaps: ReadGaps | undefined) => Promise<Root>): Promise<FileMap> {
  try {
    return new FileMap(await find(gaps))
  } finally {
    gaps?.end()
  }
}

function tracedRanking(ranking: () => Ranking, end: EndStage | undefined): Ranking {
  try {
    const holders = ranking()
    end?.({ note: `${holders.nodes.length} nodes are known` })
    return holders
  } catch (error) {
    end?.({ note: 'no other node is known', failed: true })
    throw error
  }
}

/** The ranking of the view at the time of the call; made anew only when the view is another. */
function currentRanking(network: ShareNetwork): () => Ranking {
  let seen: readonly unknown[] | null = null
  let ranking: Ranking | null = null
  return () => {
    const holders = network.holders()
    if (ranking === null || holders !== seen) {
      if (holders.length === 0) throw new OverlayError('unreachable', 'NETWORK_TOO_SMALL', 'No other node is known.')
      ranking = new Ranking(holders)
      seen = holders
    }
    return ranking
  }
}

function checkRange({ start, end }: ByteRange, length: number): void {
  const isRange = Number.isSafeInteger(start) && Number.isSafeInteger(end) && start >= 0 && start <= end && end <= length
  if (!isRange) throw new RangeError(`no range ${start} to ${end} in ${length} bytes`)
}
