/**
 * What looking after an address is: a pass over each `file` that it stands for. A file is itself; a version of a site is its index and the packs
 * that the index names. Each file's pass has loops of its own. Spec: SPEC.md §7.8.
 */
import { formatFileAddress } from '../../src/content/address.ts'
import { SHARE_ADDRESS_BYTES } from '../../src/content/constants.ts'
import { HolderHealth } from '../../src/content/holder-health.ts'
import type { ShareNetwork } from '../../src/content/network.ts'
import { Ranking } from '../../src/content/placement.ts'
import { rootKeys } from '../../src/content/root.ts'
import { SITE_CONTENT_TYPE } from '../../src/content/site-index.ts'
import { sharesOf } from '../../src/content/spread.ts'
import { isOverlayError } from '../../src/errors/index.ts'
import type { Clock, Rng } from '../../src/runtime/index.ts'
import { FileMap } from '../fetch/block-source.ts'
import { findSealedRoot } from '../fetch/root-finder.ts'
import { openFile } from '../fetch.ts'
import { allSegments, type PassOptions, type PassReport, runPass, type SegmentAt } from '../repair/index.ts'
import { readSiteIndex } from '../sites/index.ts'

export interface CareParts {
  /** A network over loops that nothing else uses; closed afterwards. */
  fresh(): ShareNetwork & { close(): void }
  readonly clock: Clock
  readonly rng: Rng
}

export interface CareOptions extends Pick<PassOptions, 'keepHours' | 'mend' | 'liars' | 'signal' | 'pace' | 'health'> {
  /** Which of a file's segments are gone through. `holders`: nodes known. */
  readonly pick: (segments: readonly SegmentAt[], holders: number) => readonly SegmentAt[]
  /** If more than this part of what was gone through was missing, the rest of the file is gone through as well. Default: never. */
  readonly allAbove?: number
}

export interface CareReport extends PassReport {
  /** Parts that there are in all. */
  readonly parts: number
  /** Nodes that were known. */
  readonly known: number
}

/**
 * Looks after the file with key material `s`, and after all that it refers to if it is a version of a site. Errors: `CONTENT_NOT_FOUND`,
 * `CONTENT_DAMAGED` (the root, or a site's index), `NETWORK_TOO_SMALL`, the signal's reason.
 */
export async function careFor(s: Uint8Array, parts: CareParts, options: CareOptions): Promise<CareReport> {
  const { report, contentType } = await careForFile(s, parts, options)
  if (contentType !== SITE_CONTENT_TYPE) return report
  let sum = report
  for (const pack of await packsOf(s, parts, options.signal)) {
    await options.pace?.(0, options)
    sum = together(sum, await careForPack(pack, parts, options))
  }
  return sum
}

async function careForFile(s: Uint8Array, { fresh, clock, rng }: CareParts, options: CareOptions) {
  const { pick, allAbove = 1, ...rest } = options
  const network = fresh()
  try {
    const ranking = new Ranking(network.holders())
    const search = {
      network,
      ranking,
      health: new HolderHealth(clock, undefined, network.patience),
      clock,
      rng,
      signal: rest.signal,
    }
    const { root, sealed } = await findSealedRoot(s, search)
    const map = new FileMap(root)
    const all = allSegments(map)
    const known = ranking.nodes.length
    const segments = pick(all, known)
    const what: PassOptions = { network, map, keys: rootKeys(s), sealed, clock, rng, ...rest }
    let report = await runPass({ ...what, segments })
    if (segments.length < all.length && report.missing > allAbove * report.checked) {
      const seen = new Set(segments)
      report = sumOf(report, await runPass({ ...what, segments: all.filter((segment) => !seen.has(segment)) }))
    }
    const shares = map.levels.reduce((sum, { addressBytes }) => sum + addressBytes / SHARE_ADDRESS_BYTES, 0)
    return { report: { ...report, parts: shares + sharesOf(1, root.spread), known }, contentType: root.contentType }
  } finally {
    network.close()
  }
}

/** A pack that cannot be found is the site's loss, and not the end of looking after the others. */
async function careForPack(s: Uint8Array, parts: CareParts, options: CareOptions): Promise<CareReport> {
  try {
    return (await careForFile(s, parts, options)).report
  } catch (error) {
    options.signal.throwIfAborted()
    if (!isLoss(error)) throw error
    return { checked: 0, missing: 0, mended: 0, lost: 1, survives: -1, holders: new Set(), parts: 0, known: 0 }
  }
}

function isLoss(error: unknown): boolean {
  return isOverlayError(error, 'CONTENT_NOT_FOUND') || isOverlayError(error, 'CONTENT_DAMAGED')
}

/** Key material of the packs of the version whose index is the file `s`. */
async function packsOf(s: Uint8Array, { fresh, clock, rng }: CareParts, signal: AbortSignal): Promise<readonly Uint8Array[]> {
  const network = fresh()
  try {
    const file = await openFile(network, formatFileAddress(s), { clock, rng }, { signal })
    const { packs } = await readSiteIndex(file, clock, signal)
    return packs.map(({ key }) => key)
  } finally {
    network.close()
  }
}

function sumOf(a: PassReport, b: PassReport): PassReport {
  return {
    checked: a.checked + b.checked,
    missing: a.missing + b.missing,
    mended: a.mended + b.mended,
    lost: a.lost + b.lost,
    survives: Math.min(a.survives, b.survives),
    holders: new Set([...a.holders, ...b.holders]),
  }
}

function together(a: CareReport, b: CareReport): CareReport {
  return { ...sumOf(a, b), parts: a.parts + b.parts, known: Math.max(a.known, b.known) }
}
