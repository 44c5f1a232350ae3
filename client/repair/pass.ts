/**
 * One pass over a publication: who has each of its shares and root slots, renewed where they are, put back where they are missing. Spec:
 * SPEC.md §7.8. It reads no plaintext: segments are taken enciphered, as shares, and computed again.
 *
 * Threat: holders that confirm and do not keep. Every claim comes with a proof; the bytes that it is of are got afterwards, for all segments
 * that are mended and for some that seem whole, from any k holders. A holder whose proof is wrong then counts for nothing, and the pass begins
 * again without it.
 *
 * Memory: one segment (2 MiB at 30 shares). Work goes in turns of the event loop.
 */
import type { NodeId } from '../../src/bytes/index.ts'
import { HALF_HOLDERS_MAX, HOLDERS_MIN, SHARE_BYTES } from '../../src/content/constants.ts'
import { rebuildShares } from '../../src/content/erasure.ts'
import { HolderHealth } from '../../src/content/holder-health.ts'
import type { ShareNetwork } from '../../src/content/network.ts'
import { Ranking } from '../../src/content/placement.ts'
import type { RootKeys } from '../../src/content/root.ts'
import { isShareOf } from '../../src/content/share.ts'
import { survivedLosses } from '../../src/content/spread.ts'
import { isOverlayError, OverlayError } from '../../src/errors/index.ts'
import { type Clock, laterTurn, type Rng, shuffled } from '../../src/runtime/index.ts'
import { BlockSource, type FileMap } from '../fetch/block-source.ts'
import { ShareAsker } from '../fetch/share-asker.ts'
import { ParcelSender } from '../publish/parcels.ts'
import { isProofOf, type Lot, segmentLot, shareParcel, slotLot } from './lots.ts'
import { type Claim, type Roll, RollCall } from './roll-call.ts'

// Implementation constants.
/** Segments that seem whole and whose bytes are got all the same, to judge the proofs. */
const AUDITS = 4
/** Passes begun again because a holder lied; after that what was found counts. */
const ROUNDS_MAX = 5
/** A holder that did not answer is left alone for so long. */
export const AWAY_MS = 300_000
/** Shares hashed in one turn of the event loop. */
const HASHES_PER_TURN = 8

/** A segment of a publication. */
export interface SegmentAt {
  readonly level: number
  readonly index: number
}

export interface PassOptions {
  readonly network: ShareNetwork
  readonly map: FileMap
  readonly keys: RootKeys
  /** What the root slots hold. */
  readonly sealed: Uint8Array
  /** Which segments, in order. Default: all, the upper levels first. */
  readonly segments?: readonly SegmentAt[]
  /** Whether the root slots are looked after. Default `true`. */
  readonly slots?: boolean
  /** How long from now on everything is to be kept; 0: as long as it was. */
  readonly keepHours: number
  /** Whether what is missing is put back. */
  readonly mend: boolean
  /** Whether what is at another holder than its own counts as missing, if that one can be reached. Default `true`. */
  readonly home?: boolean
  /** Who did not answer passes just before: shared by passes that follow each other, so that the dead are waited for once (`AWAY_MS`). */
  readonly health?: HolderHealth
  /** Nodes known to lie; those found out are added. */
  readonly liars: Set<NodeId>
  /** Waited for before `bytes` are moved (0: before the next segment is looked at). Default: at once. */
  readonly pace?: (bytes: number, waiting: { readonly signal: AbortSignal }) => Promise<void>
  readonly clock: Clock
  readonly rng: Rng
  readonly signal: AbortSignal
}

export interface PassReport {
  /** Parts (shares and root slots) that were asked for. */
  readonly checked: number
  /** Of these, parts that nobody had, and what was put back or where it belongs. */
  readonly missing: number
  readonly mended: number
  /** Segments of which too little is left. */
  readonly lost: number
  /** So many nodes, whichever they are, may vanish at once and all that was checked can still be read. -1: it cannot now. */
  readonly survives: number
  /** Nodes that have something of it. */
  readonly holders: ReadonlySet<NodeId>
}

/**
 * Whether what a report found is what a publication promises where `known` nodes are known: any half of those that hold something may vanish.
 * Beyond 30 nodes the promise is about a random third: then nothing is missing.
 */
export function isAsPromised({ lost, survives, holders, missing, mended }: PassReport, known: number): boolean {
  if (lost > 0 || survives < 0) return false
  if (known > HALF_HOLDERS_MAX) return missing <= mended
  return survives > 0 && survives >= Math.floor(holders.size / 2)
}

/** Every segment, the upper levels first: what lies below is found through them. */
export function allSegments(map: FileMap): SegmentAt[] {
  return map.levels
    .toReversed()
    .flatMap(({ level, segments }) => Array.from({ length: segments }, (_, index): SegmentAt => ({ level, index })))
}

/** Goes over a publication once. Errors: `NETWORK_TOO_SMALL`, the signal's reason. What cannot be mended is in the report. */
export async function runPass(options: PassOptions): Promise<PassReport> {
  for (let round = 1; ; round++) {
    const known = options.liars.size
    const report = await new Pass(options).run(round === ROUNDS_MAX)
    if (options.liars.size === known || round === ROUNDS_MAX) return report
  }
}

class Pass {
  readonly #options: PassOptions
  readonly #ranking: Ranking
  readonly #rolls: RollCall
  readonly #sender: ParcelSender
  readonly #source: BlockSource
  readonly #holders = new Set<NodeId>()
  #checked = 0
  #missing = 0
  #mended = 0
  #lost = 0
  #survives = Number.POSITIVE_INFINITY

  constructor(options: PassOptions) {
    const { network, map, liars, clock, rng, signal } = options
    this.#options = options
    this.#ranking = new Ranking(network.holders())
    const known = this.#ranking.nodes.length
    if (known < HOLDERS_MIN)
      throw new OverlayError('unreachable', 'NETWORK_TOO_SMALL', `${known} nodes are known; ${HOLDERS_MIN} are needed.`)
    const health = options.health ?? new HolderHealth(clock, AWAY_MS, network.patience)
    const parts = { ranking: this.#ranking, health, avoid: liars, patience: network.patience, clock, rng, signal }
    this.#rolls = new RollCall(parts)
    this.#sender = new ParcelSender({ ...parts, network: { self: network.self } })
    // Its readers call a holder suspect that is a second late: for them others are as good, and it must not count as gone here.
    const reading = new HolderHealth(clock, undefined, network.patience)
    this.#source = new BlockSource(map, new ShareAsker({ network, ...parts, health: reading }), signal)
  }

  /** Ends early, unless `toTheEnd`, when a holder was found to lie. */
  async run(toTheEnd: boolean): Promise<PassReport> {
    const { map, liars, rng } = this.#options
    const known = liars.size
    if (this.#options.slots !== false) await this.#slots()
    const segments = this.#options.segments ?? allSegments(map)
    const audited = new Set(shuffled([...segments.keys()], rng).slice(0, AUDITS))
    for (const [at, segment] of segments.entries()) {
      await this.#options.pace?.(0, this.#options)
      await this.#segment(segment, audited.has(at))
      if (liars.size > known && !toTheEnd) break // begun again without them
    }
    return {
      checked: this.#checked,
      missing: this.#missing,
      mended: this.#mended,
      lost: this.#lost,
      survives: Number.isFinite(this.#survives) ? this.#survives : -1,
      holders: this.#holders,
    }
  }

  async #slots(): Promise<void> {
    const { network, map, keys, sealed, keepHours, mend, liars } = this.#options
    const lot = slotLot(network, keys, sealed, map.root.spread)
    const roll = await this.#rolls.call(lot, keepHours)
    const claims = roll.claims.map((claim) => {
      if (claim === null || lot.proves(claim.proof, claim.nonce)) return claim
      liars.add(claim.node)
      return null
    })
    const held = heldBy(claims, roll, this.#options)
    const now = mend && held.includes(null) ? await this.#sender.mend(lot.parcels, held) : held
    this.#count(lot, claims, held, now)
  }

  async #segment({ level, index }: SegmentAt, audit: boolean): Promise<void> {
    const { network, map, keepHours, mend, liars, signal } = this.#options
    const { k } = map.levels[level]!.segment(index)
    let addresses: Uint8Array
    try {
      addresses = await this.#source.addresses(level, index)
    } catch (error) {
      return this.#lose(error)
    }
    const lot = segmentLot(network, k, addresses)
    const roll = await this.#rolls.call(lot, keepHours)
    const wanted = heldBy(roll.claims, roll, this.#options)
    if (!audit && !(mend && wanted.includes(null))) return this.#count(lot, roll.claims, wanted, wanted)
    await this.#options.pace?.((k + wanted.filter((node) => node === null).length) * SHARE_BYTES, { signal })
    let shares: readonly (Uint8Array | null)[]
    try {
      shares = await this.#shares(level, index, lot)
    } catch (error) {
      return this.#lose(error)
    }
    const claims = roll.claims.map((claim, at) => {
      const share = shares[at]
      // What its publisher made inconsistent is of no use to anybody, and its holders cannot be judged.
      if (claim === null || !share) return null
      if (isProofOf(claim.proof, claim.nonce, share)) return claim
      liars.add(claim.node)
      return null
    })
    const held = heldBy(claims, roll, this.#options)
    const parcels = lot.places.map((place, at) => shareParcel(network, place, shares[at] ?? new Uint8Array(0)))
    // A share that cannot be computed is nobody's: it is not sent, and not counted as sent.
    const given = held.map((node, at) => (shares[at] ? node : NOBODY))
    const sent = mend && given.includes(null) ? await this.#sender.mend(parcels, given) : held
    this.#count(
      lot,
      claims,
      held,
      sent.map((node) => (node === NOBODY ? null : node)),
    )
  }

  /** All shares of a segment: its data as it is stored, and the rest computed from that; `null` where that is not what the address says. */
  async #shares(level: number, index: number, { k, places }: Lot): Promise<readonly (Uint8Array | null)[]> {
    const { clock } = this.#options
    const data = Array.from({ length: k }, (_, at) => at)
    const job = await this.#source.segment(level, index, data)
    try {
      const blocks = await Promise.all(data.map((at) => job.block(at)))
      const have = blocks.map((bytes, at) => ({ index: at, bytes }))
      const shares: (Uint8Array | null)[] = [...blocks]
      for (let at = k; at < places.length; at++) {
        if (at % HASHES_PER_TURN === 0) await laterTurn(clock)
        const [share] = rebuildShares(k, have, [at])
        shares.push(share !== undefined && isShareOf(share, places[at]!) ? share : null)
      }
      return shares
    } finally {
      job.close()
    }
  }

  /** Too little of something is left, or of the index that leads to it. */
  #lose(error: unknown): void {
    this.#options.signal.throwIfAborted()
    if (!isOverlayError(error) || error.kind === 'bug') throw error
    this.#lost++
    this.#survives = -1
  }

  #count(lot: Lot, claims: readonly (Claim | null)[], before: readonly (NodeId | null)[], now: readonly (NodeId | null)[]): void {
    this.#checked += lot.places.length
    this.#missing += claims.filter((claim) => claim === null).length
    this.#mended += now.filter((node, at) => node !== null && before[at] === null).length
    const counts = new Map<NodeId, number>()
    for (const [at, claim] of claims.entries()) {
      // What is astray and was not brought home is where it was.
      const node = now[at] ?? claim?.node ?? null
      if (node === null) continue
      counts.set(node, (counts.get(node) ?? 0) + 1)
      this.#holders.add(node)
    }
    this.#survives = Math.min(this.#survives, survivedLosses([...counts.values()], lot.k))
  }
}

/** Stands for the holder of a share that cannot be computed. */
const NOBODY = '' as NodeId

/** Who has each part; of what is to be brought home, nobody. */
function heldBy(
  claims: readonly (Claim | null)[],
  { astray }: Roll,
  { mend, home = true }: Pick<PassOptions, 'mend' | 'home'>,
): (NodeId | null)[] {
  return claims.map((claim, at) => (claim === null || (mend && home && astray.has(at)) ? null : claim.node))
}
