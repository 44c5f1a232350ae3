/**
 * Brings finished segments and root slots to their holders; how, is `parcels.ts`'s. Spec: SPEC.md §7.5. Threat: too much memory while the
 * network is slower than the reader of the body: at most `SEGMENTS_MAX` segments (2 MiB each) are under way, twice as many where the network is paced, and `emit` waits at that limit.
 */
import { ROOT_BYTES, SHARE_BYTES } from '../../src/content/constants.ts'
import type { ShareNetwork, SlotValue } from '../../src/content/network.ts'
import { Permits } from '../../src/content/permits.ts'
import { slotLocation } from '../../src/content/slot.ts'
import type { Expectations } from './expectations.ts'
import { type Parcel, type ParcelParts, ParcelSender } from './parcels.ts'
import type { Segment, SegmentSink } from './tree-writer.ts'

// Implementation constants.
/** Segments being sent at once; more where the network is to have more puts under way: each has this many shares, or somewhat fewer. */
const SEGMENTS_MAX = 3
const SHARES_PER_SEGMENT = 30

export interface SenderParts extends ParcelParts {
  readonly network: ShareNetwork
  /** Takes note of where each segment went. */
  readonly expectations: Pick<Expectations, 'note'>
  /** A segment of level 0 with this many data blocks is stored. */
  readonly onStored: (blocks: number) => void
  /** A segment could not be stored as promised: the publication has failed. The first call counts. */
  readonly onFailure: (error: unknown) => void
}

export class ShareSender implements SegmentSink {
  readonly #parts: SenderParts
  readonly #segments: Permits
  readonly #parcels: ParcelSender
  readonly #running = new Set<Promise<void>>()
  readonly #spare: Uint8Array[] = []

  constructor(parts: SenderParts) {
    this.#parts = parts
    const { asksAtOnce = 0 } = parts.network
    this.#segments = new Permits(Math.max(SEGMENTS_MAX, Math.ceil(asksAtOnce / SHARES_PER_SEGMENT)))
    this.#parcels = new ParcelSender(parts)
  }

  /** Shares and slots stored so far. */
  get stored(): number {
    return this.#parcels.stored
  }

  /** Different nodes that took something. */
  get holders(): number {
    return this.#parcels.holders
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
      const ready: Parcel['ready'] = (node, signal) => network.ready?.(node, ROOT_BYTES, { signal })
      return { place, ready, put: (node, signal) => network.putSlot(node, slot, { signal }) }
    })
    await this.#parcels.sendAll(parcels, 1, 'The root')
  }

  async #sendSegment(segment: Segment): Promise<void> {
    const { network, expectations, onStored } = this.#parts
    const parcels = segment.shares.map((share, index): Parcel => {
      const place = segment.addresses[index]!
      const ready: Parcel['ready'] = (node, signal) => network.ready?.(node, SHARE_BYTES, { signal })
      return { place, ready, put: (node, signal) => network.putShare(node, share, { signal }) }
    })
    const held = await this.#parcels.sendAll(parcels, segment.k, 'A segment')
    await expectations.note(segment, held)
    if (segment.level === 0) onStored(segment.k)
  }
}
