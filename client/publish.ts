/**
 * Publishes a stream of bytes as a `file`: draws its secret, writes the tree, brings every share to its holders and the sealed root last.
 * Spec: SPEC.md §7.2 to §7.5. Memory does not depend on the length: see `publish/tree-writer.ts` and `publish/share-sender.ts`.
 *
 * The publisher is a candidate holder like every node: if it never held its own shares, its absence would point at it.
 */

import type { NodeId } from '../src/bytes/index.ts'
import { formatFileAddress } from '../src/content/address.ts'
import { HOLDERS_MIN, SHARE_BYTES } from '../src/content/constants.ts'
import { HolderHealth } from '../src/content/holder-health.ts'
import type { ShareNetwork } from '../src/content/network.ts'
import { Ranking } from '../src/content/placement.ts'
import { encodeRoot, isContentType, isName, rootHash, rootKeys, SIGMA_BYTES, sealRoot } from '../src/content/root.ts'
import { signSlot } from '../src/content/slot.ts'
import { SPREAD_MAX, sharesOf } from '../src/content/spread.ts'
import { wipe } from '../src/crypto/index.ts'
import { OverlayError } from '../src/errors/index.ts'
import { type Clock, type Rng, unlessAborted } from '../src/runtime/index.ts'
import { FileMap } from './fetch/block-source.ts'
import type { PublishOptions, StoredPublication } from './library.ts'
import { Expectations } from './publish/expectations.ts'
import { confirmShares, confirmSlots, receiptOf } from './publish/receipt.ts'
import { ShareSender } from './publish/share-sender.ts'
import { TreeWriter } from './publish/tree-writer.ts'
import { AWAY_MS, receiptSegments } from './repair/index.ts'

/** Least time between two progress calls. */
const PROGRESS_MS = 300
export const DEFAULT_CONTENT_TYPE = 'application/octet-stream'

export interface PublishParts {
  readonly rng: Rng
  readonly clock: Clock
  /** The network over loops that nothing else uses, for asking the holders afterwards; closed then. Default: the one that is published over. */
  readonly fresh?: () => ShareNetwork & { close(): void }
  /** Segments that the holders are asked for in the end; 0 is for networks that keep nothing, as benchmarks have them. */
  readonly sample?: number
}

/**
 * Publishes `body`. Resolves when every share and root slot is stored so that the promise of §7.3 holds, and its holders have proved it.
 * Errors: `PUBLISH_FAILED`, `NETWORK_TOO_SMALL`, `CONFIG_BAD` (name, type or length), the signal's reason, or the body's own error. Until the
 * shares are confirmed nothing can be fetched: the root is stored last.
 */
export async function publishFile(
  network: ShareNetwork,
  body: AsyncIterable<Uint8Array>,
  options: PublishOptions,
  { rng, clock, fresh, sample }: PublishParts,
): Promise<StoredPublication> {
  options.signal.throwIfAborted()
  const name = options.name ?? ''
  const contentType = options.contentType ?? DEFAULT_CONTENT_TYPE
  if (!isName(name))
    throw new OverlayError('config', 'CONFIG_BAD', 'The name is longer than 255 bytes or has control characters.')
  if (!isContentType(contentType)) {
    throw new OverlayError('config', 'CONFIG_BAD', 'The content type is not 1 to 255 characters of printable ASCII.')
  }
  const ranking = new Ranking(network.holders())
  const holders = ranking.nodes.length
  if (holders < HOLDERS_MIN) {
    throw new OverlayError('unreachable', 'NETWORK_TOO_SMALL', `Nodes known: ${holders}; publishing needs ${HOLDERS_MIN}.`)
  }

  const sigma = rng.bytes(SIGMA_BYTES)
  const spread = Math.min(SPREAD_MAX, holders)
  const ending = new AbortController()
  const signal = AbortSignal.any([options.signal, ending.signal])
  const progress = progressOf(clock, options.onProgress)
  const expectations = new Expectations(sample ?? receiptSegments(holders), { clock, rng })
  const liars = new Set<NodeId>()
  const health = new HolderHealth(clock, undefined, network.patience)
  const absent = new HolderHealth(clock, AWAY_MS)
  const sender = new ShareSender({
    ...{
      network,
      ranking,
      health,
      avoid: liars,
      expectations,
      rng,
      clock,
      signal,
    },
    onStored: (blocks) => progress.add(blocks * SHARE_BYTES, writer.length),
    onFailure: (error) => ending.abort(error),
  })
  const writer = new TreeWriter({ sigma, spread, clock, sink: sender })
  const session = fresh?.()
  const asking = session ?? network
  try {
    for await (const chunk of endedBy(signal, body)) await writer.write(chunk)
    const { length, addresses } = await writer.finish()
    await sender.settled()
    signal.throwIfAborted()
    const root = { sigma, length, spread, name, contentType, addresses }
    const rootBytes = encodeRoot(root)
    const s = rootHash(rootBytes)
    const keys = rootKeys(s)
    const sealed = sealRoot(keys, rootBytes)
    wipe(rootBytes)
    const receiptParts = { network: asking, absent, map: new FileMap(root), keys, sealed, liars, rng, clock, signal }
    const foundShares = await confirmShares(expectations, receiptParts)
    // The root is not brought first to who did not answer just now.
    for (const node of ranking.nodes) if (absent.isSuspect(node)) health.failed(node)
    const slots = Array.from({ length: sharesOf(1, spread) }, (_, slot) => signSlot(keys.signing, slot, sealed))
    await sender.sendSlots(slots)
    const foundSlots = await confirmSlots(receiptParts)
    progress.end(length)
    const receipt = receiptOf(foundShares, foundSlots, clock.unixMs())
    return { address: formatFileAddress(s), bytes: length, shares: sender.stored, holders: receipt.of, receipt }
  } catch (error) {
    ending.abort(error)
    throw error
  } finally {
    await sender.settled()
    session?.close()
    wipe(sigma)
  }
}

/** The chunks of `body` until `signal` aborts, also while the body does not move: a body may be a peer that went quiet. */
async function* endedBy(signal: AbortSignal, body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
  const chunks = body[Symbol.asyncIterator]()
  let ended = false
  try {
    for (;;) {
      signal.throwIfAborted()
      const step = await unlessAborted(chunks.next(), signal)
      if (step.done === true) {
        ended = true
        return
      }
      yield step.value
    }
  } finally {
    // Not waited for: a body that hangs would hang the publication with it. Its late errors are of no use to anybody.
    if (!ended) chunks.return?.().catch(() => {})
  }
}

/** Passes on progress a few times a second, and never more than was read: the last blocks are partly padding. */
function progressOf(clock: Clock, report: ((bytes: number) => void) | undefined) {
  let stored = 0
  let lastMs = Number.NEGATIVE_INFINITY
  return {
    add(bytes: number, read: number): void {
      stored += bytes
      if (report === undefined || clock.monotonicMs() - lastMs < PROGRESS_MS) return
      lastMs = clock.monotonicMs()
      report(Math.min(stored, read))
    },
    end: (bytes: number): void => report?.(bytes),
  }
}
