/**
 * Brings finished segments and root slots to their holders: several at once, in shuffled order, with another try and other holders where
 * one fails, and judges whether the result keeps the publication's promise. Spec: SPEC.md §7.5. Threat: holders that are gone, full or
 * slow; too much memory while the network is slower than the reader of the body.
 *
 * Limits: at most `SEGMENTS_MAX` segments and `PUTS_MAX` puts are under way; `send` waits at the first, so the body is read no faster.
 */
import type { NodeId } from '../../src/bytes/index.ts'
import { HOLDERS_MIN } from '../../src/content/constants.ts'
import type { HolderHealth } from '../../src/content/holder-health.ts'
import type { ShareNetwork, SlotValue } from '../../src/content/network.ts'
import { Permits } from '../../src/content/permits.ts'
import type { Ranking } from '../../src/content/placement.ts'
import { slotLocation } from '../../src/content/slot.ts'
import { keepsPromise } from '../../src/content/spread.ts'
import { isOverlayError, OverlayError } from '../../src/errors/index.ts'
import { type Clock, type Rng, shuffled } from '../../src/runtime/index.ts'
import type { Segment, SegmentSink } from './tree-writer.ts'

// Implementation constants.
/** Segments being sent at once. */
const SEGMENTS_MAX = 3
/** Puts under way at once. */
const PUTS_MAX = 24
/** Time for one put, over everything that the network does for it. */
const PUT_TIMEOUT_MS = 45_000
/** Tries at one holder: the second goes over another loop. */
const TRIES_PER_HOLDER = 2
/** Holders tried for one share or slot. */
const HOLDERS_PER_SHARE = 6

export interface SenderParts {
  readonly network: ShareNetwork
  readonly ranking: Ranking
  readonly health: HolderHealth
  readonly rng: Rng
  readonly clock: Clock
  /** Ends everything under way. */
  readonly signal: AbortSignal
  /** A segment of level 0 with this many data blocks is stored. */
  readonly onStored: (blocks: number) => void
  /** A segment could not be stored as promised: the publication has failed. The first call counts. */
  readonly onFailure: (error: unknown) => void
}

/** One thing to bring to a node. */
interface Parcel {
  /** What holders are ranked by. */
  readonly place: Uint8Array
  put(node: NodeId, signal: AbortSignal): Promise<void>
}

export class ShareSender implements SegmentSink {
  readonly #parts: SenderParts
  readonly #segments = new Permits(SEGMENTS_MAX)
  readonly #puts = new Permits(PUTS_MAX)
  readonly #running = new Set<Promise<void>>()
  readonly #spare: Uint8Array[] = []
  readonly #holders = new Set<NodeId>()
  #stored = 0

  constructor(parts: SenderParts) {
    this.#parts = parts
  }

  /** Shares and slots stored so far. */
  get stored(): number {
    return this.#stored
  }

  /** Different nodes that took something. */
  get holders(): number {
    return this.#holders.size
  }

  buffer(bytes: number): Uint8Array {
    return this.#spare.pop() ?? new Uint8Array(bytes)
  }

  async emit(segment: Segment, buffer: Uint8Array): Promise<void> {
    await this.#segments.take(this.#parts.signal)
    const sending = this.#sendSegment(segment)
      .catch((error: unknown) => this.#parts.onFailure(error))
      .finally(() => {
        this.#running.delete(sending)
        this.#spare.push(buffer)
        this.#segments.give()
      })
    this.#running.add(sending)
  }

  /** Waits until nothing is under way, whatever came of it: then no buffer is borrowed any more. */
  async settled(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running)
  }

  /** Stores the root slots. They come last: an address works as soon as they are there. */
  async sendSlots(slots: readonly SlotValue[]): Promise<void> {
    const { network } = this.#parts
    const parcels = slots.map((slot): Parcel => {
      const place = slotLocation(slot.publicKey, slot.slot)
      return { place, put: (node, signal) => network.putSlot(node, slot, { signal }) }
    })
    await this.#sendAll(parcels, 1, 'The root')
  }

  async #sendSegment(segment: Segment): Promise<void> {
    const { network, onStored } = this.#parts
    const parcels = segment.shares.map((share, index): Parcel => {
      const place = segment.addresses[index]!
      return { place, put: (node, signal) => network.putShare(node, share, { signal }) }
    })
    await this.#sendAll(parcels, segment.k, 'A segment')
    if (segment.level === 0) onStored(segment.k)
  }

  /**
   * Sends what belongs together, and checks that any `k` of it survive what the publication promises to survive. The promise is about the
   * holders that are there: the directory still lists nodes that left, and they can neither hold a share nor vanish once more.
   */
  async #sendAll(parcels: readonly Parcel[], k: number, what: string): Promise<void> {
    const { ranking, rng, health } = this.#parts
    const placed = ranking.place(parcels.map((parcel) => parcel.place))
    const tally = new Map<NodeId, number>()
    for (const node of placed) tally.set(node, (tally.get(node) ?? 0) + 1)
    const jobs = shuffled([...parcels.entries()], rng).map(([at, parcel]) => this.#sendOne(parcel, placed[at]!, tally))
    // Every job is waited for, also after the first failure: they borrow the segment's buffer.
    const outcomes = await Promise.allSettled(jobs)
    const broken = outcomes.find((outcome) => outcome.status === 'rejected')
    if (broken !== undefined) throw broken.reason
    const there = ranking.nodes.filter((node) => tally.has(node) || !health.isSuspect(node)).length
    if (there >= HOLDERS_MIN && keepsPromise([...tally.values()], there, k)) return
    const count = [...tally.values()].reduce((sum, held) => sum + held, 0)
    const outcome = `${count} of ${parcels.length} parts on ${tally.size} of ${there} reachable holders.`
    throw new OverlayError('unreachable', 'PUBLISH_FAILED', `${what} could not be stored as promised: ${outcome}`)
  }

  /** Brings one parcel to its holder or, if need be, to another. `tally`: parts of the same segment at each node, kept up to date. */
  async #sendOne(parcel: Parcel, first: NodeId, tally: Map<NodeId, number>): Promise<void> {
    const { signal, health } = this.#parts
    await this.#puts.take(signal)
    try {
      const tried = new Set<NodeId>()
      let node: NodeId | undefined = health.isSuspect(first) ? undefined : first
      move(tally, first, -1)
      node ??= this.#nextHolder(parcel, tried, tally)
      while (node !== undefined && tried.size < HOLDERS_PER_SHARE) {
        tried.add(node)
        move(tally, node, 1)
        if (await this.#putAt(parcel, node)) {
          this.#stored++
          this.#holders.add(node)
          return
        }
        move(tally, node, -1)
        node = this.#nextHolder(parcel, tried, tally)
      }
    } finally {
      this.#puts.give()
    }
  }

  /** The holder to try next: not suspect before suspect, few parts of this segment before many, then by rank. */
  #nextHolder(parcel: Parcel, tried: ReadonlySet<NodeId>, tally: ReadonlyMap<NodeId, number>): NodeId | undefined {
    const { ranking, health } = this.#parts
    let best: NodeId | undefined
    let bestCost = Number.POSITIVE_INFINITY
    for (const node of ranking.order(parcel.place)) {
      if (tried.has(node)) continue
      const cost = (tally.get(node) ?? 0) + (health.isSuspect(node) ? 1000 : 0)
      if (cost < bestCost) [best, bestCost] = [node, cost]
      if (cost === 0) break
    }
    return best
  }

  async #putAt(parcel: Parcel, node: NodeId): Promise<boolean> {
    const { clock, signal, health } = this.#parts
    for (let attempt = 1; attempt <= TRIES_PER_HOLDER; attempt++) {
      const deadline = clock.deadline(PUT_TIMEOUT_MS, signal)
      const startedMs = clock.monotonicMs()
      try {
        await parcel.put(node, deadline.signal)
        health.answered(node, clock.monotonicMs() - startedMs)
        return true
      } catch (error) {
        signal.throwIfAborted()
        if (!isHolderFault(error)) throw error
        const again = attempt < TRIES_PER_HOLDER && !isOverlayError(error, 'STORE_REFUSED') && !health.isSuspect(node)
        if (again) continue
        health.failed(node)
        return false
      } finally {
        deadline.clear()
      }
    }
    return false
  }
}

/** What another try or another holder may mend. Anything else (a bug, no network at all) ends the publication. */
function isHolderFault(error: unknown): boolean {
  if (!isOverlayError(error)) return false
  if (error.code === 'STORE_REFUSED' || error.code === 'STORE_UNREACHABLE') return true
  return error.kind === 'timeout' || (error.kind === 'unreachable' && error.code !== 'NETWORK_TOO_SMALL')
}

function move(tally: Map<NodeId, number>, node: NodeId, by: number): void {
  const count = (tally.get(node) ?? 0) + by
  if (count === 0) tally.delete(node)
  else tally.set(node, count)
}
