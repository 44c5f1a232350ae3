/**
 * Fetches the wanted data blocks of one segment. Spec: SPEC.md §7.6.
 *
 * Each wanted block is a share of its own (the code is systematic), so at first exactly those are asked for: a range costs its blocks.
 * When one does not come (its holder is gone, slow, suspect or a liar), other shares of the segment make up for it, until any k are there
 * and the rest is computed. Only then are further holders asked for the same shares.
 *
 * A holder that answers that it has nothing is done with. One that does not answer may have it: links break, loops die, nodes are started again. So
 * as long as what is missing may still come, holders that were silent are asked again, until nothing has come for `AskerParts.persistMs`.
 *
 * Whatever is delivered was verified against the block's own address, also when it was computed: shares that a publisher made
 * inconsistent can fail, and never give one reader other bytes than another.
 */
import type { NodeId } from '../../src/bytes/index.ts'
import { SHARE_ADDRESS_BYTES } from '../../src/content/constants.ts'
import { recoverData } from '../../src/content/erasure.ts'
import { isShareOf } from '../../src/content/share.ts'
import { OverlayError } from '../../src/errors/index.ts'
import { laterTurn, shuffled, type Timer } from '../../src/runtime/index.ts'
import type { GapKind } from '../heal/index.ts'
import type { Answer, ShareAsker } from './share-asker.ts'

// Implementation constants.
/** Holders asked for one share, at most. In a small network that is every node. */
const HOLDERS_PER_SHARE = 32
/** Computing a missing block is dear if it takes more other shares than this for each: then one more holder is asked for it first. */
const DEAR_SHARES = 3
/** What is the choice between holders that would all have to be waited for: dearer than some failed asks, and cheaper than one that failed lately. */
const FAR_COST = 100
/** Holders of a wanted share that are asked before that dear way is taken. */
const HOLDERS_BEFORE_DEAR = 2
/** When nothing else is left to do, silent holders are asked again after this, each time twice as long. */
const AGAIN_MIN_MS = 200
const AGAIN_MAX_MS = 2_000

/** One share of the segment. */
interface ShareState {
  readonly index: number
  readonly address: Uint8Array
  /** Holders not yet asked, the likeliest first; `null` until the first is taken. */
  untried: NodeId[] | null
  asked: number
  /** Asks under way. */
  underWay: number
  /** Holders that gave no answer, or none in time. */
  readonly silent: Set<NodeId>
  /** An ask is under way that is not late. */
  onTime: boolean
  /** Verified; `null` before. */
  bytes: Uint8Array | null
}

export class SegmentJob {
  readonly #asker: ShareAsker
  readonly #k: number
  readonly #addresses: Uint8Array
  readonly #shares: readonly ShareState[]
  /** The holder of each share in our own view, computed as the publisher did. */
  readonly #placed: readonly NodeId[]
  readonly #open = new Map<number, PromiseWithResolvers<Uint8Array>>()
  readonly #blocks = new Map<number, Promise<Uint8Array>>()
  /** Shares that their placed holders did not give. */
  readonly #gaps = new Map<number, GapKind>()
  readonly #ending = new AbortController()
  readonly #signal: AbortSignal
  readonly #onAbort: () => void
  #have = 0
  #underWay = 0
  #sawBad = false
  /** When something came last, or the work began. */
  #progressAt: number
  #again: Timer | null = null
  #againMs = AGAIN_MIN_MS
  /** False once computed blocks failed their check: parity is then of no use. */
  #consistent = true

  /** `addresses`: n share addresses, back to back, the `k` data shares first. `wanted`: indices below `k`. */
  constructor(asker: ShareAsker, k: number, addresses: Uint8Array, wanted: readonly number[], signal: AbortSignal) {
    this.#asker = asker
    this.#progressAt = asker.parts.clock.monotonicMs()
    this.#k = k
    this.#addresses = addresses
    this.#shares = Array.from({ length: addresses.length / SHARE_ADDRESS_BYTES }, (_, index) => ({
      index,
      address: addresses.subarray(index * SHARE_ADDRESS_BYTES, (index + 1) * SHARE_ADDRESS_BYTES),
      untried: null,
      asked: 0,
      underWay: 0,
      silent: new Set(),
      onTime: false,
      bytes: null,
    }))
    this.#placed = asker.parts.ranking.place(this.#shares.map((share) => share.address))
    for (const index of wanted) {
      const pending = Promise.withResolvers<Uint8Array>()
      pending.promise.catch(() => {}) // whoever awaits the block sees it; nobody may, after an abort
      this.#open.set(index, pending)
      this.#blocks.set(index, pending.promise)
    }
    this.#signal = AbortSignal.any([signal, this.#ending.signal])
    this.#onAbort = () => this.#fail(this.#signal.reason)
    if (this.#signal.aborted) this.#onAbort()
    else {
      this.#signal.addEventListener('abort', this.#onAbort, { once: true })
      this.#goOn()
    }
  }

  /** The verified (still enciphered) block `index`, which was among the wanted. Errors: `CONTENT_NOT_FOUND`, `CONTENT_DAMAGED`. */
  block(index: number): Promise<Uint8Array> {
    return this.#blocks.get(index)!
  }

  /** `block`, and forgets it: its memory is the caller's. */
  take(index: number): Promise<Uint8Array> {
    const block = this.block(index)
    this.#blocks.delete(index)
    return block
  }

  /** Ends what is under way. Blocks that came stay. */
  close(): void {
    this.#signal.removeEventListener('abort', this.#onAbort)
    this.#again?.cancel()
    this.#ending.abort()
    for (const share of this.#shares) share.bytes = null
  }

  /** Called after each event. A bug ends this job, and not the process from a timer. */
  #goOn(): void {
    try {
      this.#advance()
    } catch (error) {
      this.#fail(error)
    }
  }

  /** Looks at what is there and asks for what is missing. */
  #advance(): void {
    if (this.#consistent && this.#have >= this.#k) this.#recover()
    if (this.#open.size === 0) {
      this.#noteGaps()
      return this.close()
    }
    if (this.#signal.aborted) return

    const gaps = () => [...this.#open.keys()].map((index) => this.#shares[index]!).filter((share) => !share.onTime)
    // 1. Each wanted share at the holder that should have it, unless that one just failed.
    for (const share of shuffled(gaps(), this.#asker.parts.rng)) {
      if (share.asked > 0) continue
      if (!this.#isNear(share) && this.#consistent) continue
      if (this.#isSuspect(share)) this.#gaps.set(share.index, 'silent')
      else this.#ask(share)
    }
    // 2. A dear gap: one more holder first. Without usable parity that is the only way.
    for (const share of gaps()) {
      const dear = this.#isNear(share) && this.#missing() > DEAR_SHARES * gaps().length
      if (!this.#consistent || (dear && share.asked < HOLDERS_BEFORE_DEAR && !this.#isSuspect(share))) this.#ask(share)
    }
    // 3. Other shares, as many as are missing to k.
    if (this.#consistent && gaps().length > 0) {
      while (this.#missing() > 0) {
        const share = this.#cheapest()
        if (share === undefined || !this.#ask(share)) break
      }
    }
    if (gaps().length > 0 && !this.#shares.some(({ onTime }) => onTime)) this.#onExhausted()
  }

  /** Nothing is on its way in time, and nobody is left to be asked. */
  #onExhausted(): void {
    const { clock, persistMs = 0 } = this.#asker.parts
    const silentMs = clock.monotonicMs() - this.#progressAt
    if (persistMs > 0 && silentMs < persistMs && this.#mayCome()) {
      const wait = Math.min(this.#againMs, persistMs - silentMs)
      this.#again ??= clock.setTimer(wait, () => {
        this.#again = null
        this.#againMs = Math.min(AGAIN_MAX_MS, 2 * this.#againMs)
        this.#askAgain()
      })
    } else if (this.#underWay === 0 || (persistMs > 0 && silentMs >= persistMs)) this.#fail(this.#lost())
  }

  /** Whether those who did not answer could make it whole. */
  #mayCome(): boolean {
    const may = (share: ShareState) => share.bytes === null && (share.underWay > 0 || share.silent.size > 0)
    if (!this.#consistent) return [...this.#open.keys()].every((index) => may(this.#shares[index]!))
    let come = this.#have
    for (const share of this.#shares) if (may(share)) come++
    return come >= this.#k
  }

  /** Silent holders have their turn once more. */
  #askAgain(): void {
    for (const share of this.#shares) {
      if (share.bytes !== null || share.silent.size === 0) continue
      share.untried = [...share.silent, ...(share.untried ?? [])]
      share.silent.clear()
    }
    this.#goOn()
  }

  /** Shares that are neither there nor expected in time, short of k. */
  #missing(): number {
    let coming = this.#have
    for (const share of this.#shares) if (share.onTime && share.bytes === null) coming++
    return this.#k - coming
  }

  /** The share that is the best to ask for next: a holder that answers, few failed asks, wanted itself; else at random. */
  #cheapest(): ShareState | undefined {
    let best: ShareState | undefined
    let bestCost = Number.POSITIVE_INFINITY
    for (const share of this.#shares) {
      if (share.bytes !== null || share.onTime || share.untried?.length === 0) continue
      const wanted = this.#open.has(share.index) ? 0 : 1
      const cost =
        (this.#isSuspect(share) ? 1000 : 0) +
        (this.#isNear(share) ? 0 : FAR_COST) +
        4 * share.asked +
        wanted +
        this.#asker.parts.rng.unit()
      if (cost < bestCost) [best, bestCost] = [share, cost]
    }
    return best
  }

  #nextOf(share: ShareState): NodeId | undefined {
    return share.untried === null ? this.#placed[share.index] : share.untried[0]
  }

  /** Whether its next holder can be asked without waiting for a loop that is not there yet. */
  #isNear(share: ShareState): boolean {
    const next = this.#nextOf(share)
    return next === undefined || (this.#asker.parts.network.near?.(next) ?? true)
  }

  #isSuspect(share: ShareState): boolean {
    const next = this.#nextOf(share)
    return next !== undefined && this.#asker.parts.health.isSuspect(next)
  }

  /** Asks the next holder for `share`; `false` if there is none left. */
  #ask(share: ShareState): boolean {
    const node = this.#nextHolder(share)
    if (node === undefined) return false
    const isPlaced = node === this.#placed[share.index]
    share.asked++
    share.underWay++
    share.onTime = true
    this.#underWay++
    let current = true
    const leave = () => {
      current = false
      share.onTime = false
      this.#goOn()
    }
    const onLate = () => {
      share.silent.add(node)
      if (isPlaced) this.#gaps.set(share.index, 'silent')
      leave()
    }
    const elsewhere = () => {
      const found = this.#shares.some(
        (other) => other.bytes === null && !other.onTime && other.untried?.length !== 0 && this.#isNear(other),
      )
      if (found) leave()
      return found
    }
    this.#asker
      .ask(node, share.address, this.#signal, { onLate, elsewhere })
      .then((answer) => {
        if (answer.kind === 'bad') this.#sawBad = true
        if (answer.kind === 'failed') share.silent.add(node)
        else share.silent.delete(node)
        if (isPlaced) this.#noteAnswer(share.index, answer.kind)
        if (answer.kind === 'share') this.#take(share, answer.bytes)
      })
      .catch((error: unknown) => this.#fail(error))
      .then(() => laterTurn(this.#asker.parts.clock))
      .finally(() => {
        this.#underWay--
        share.underWay--
        if (current) share.onTime = false
        this.#goOn()
      })
    return true
  }

  /** Our own view's holder first, then by rank; of these the first that did not just fail. */
  #nextHolder(share: ShareState): NodeId | undefined {
    const placed = this.#placed[share.index]
    if (placed === undefined) return undefined
    if (share.untried === null) {
      const others = this.#asker.parts.ranking.order(share.address).filter((node) => node !== placed)
      share.untried = [placed, ...others].slice(0, HOLDERS_PER_SHARE)
    }
    const healthy = share.untried.findIndex((node) => !this.#asker.parts.health.isSuspect(node))
    return share.untried.splice(Math.max(0, healthy), 1)[0]
  }

  #take(share: ShareState, bytes: Uint8Array): void {
    if (share.bytes !== null || this.#open.size === 0) return
    share.bytes = bytes
    this.#have++
    this.#progressAt = this.#asker.parts.clock.monotonicMs()
    this.#againMs = AGAIN_MIN_MS
    this.#deliver(share.index, bytes)
  }

  /** What the placed holder of a share answered. */
  #noteAnswer(index: number, kind: Answer['kind']): void {
    if (kind === 'share') this.#gaps.delete(index)
    else this.#gaps.set(index, kind === 'none' ? 'absent' : kind === 'bad' ? 'bad' : 'silent')
  }

  /** Hands what holders did not have to those who put it back. The shares are the read's own: nobody changes them any more. */
  #noteGaps(): void {
    const { gaps } = this.#asker.parts
    if (gaps === undefined || this.#gaps.size === 0 || !this.#consistent || this.#signal.aborted) return
    const shares = this.#shares.flatMap(({ index, bytes }) => (bytes === null ? [] : [{ index, bytes }]))
    const addresses = this.#addresses
    gaps.segment({ k: this.#k, addresses, placed: this.#placed, shares, gaps: new Map(this.#gaps) })
    this.#gaps.clear()
  }

  #deliver(index: number, bytes: Uint8Array): void {
    this.#open.get(index)?.resolve(bytes)
    this.#open.delete(index)
  }

  /** Computes the wanted blocks that did not come, and checks each against its own address. */
  #recover(): void {
    const missing = [...this.#open.keys()]
    if (missing.length === 0) return
    const there = this.#shares.flatMap(({ index, bytes }) => (bytes === null ? [] : [{ index, bytes }]))
    this.#asker.parts.trace?.mark('retry', 'blocks that did not come are computed from others')
    const blocks = recoverData(this.#k, there, missing)
    for (const [at, index] of missing.entries()) {
      if (isShareOf(blocks[at]!, this.#shares[index]!.address)) this.#deliver(index, blocks[at]!)
      else {
        this.#consistent = false
        this.#sawBad = true
      }
    }
  }

  #lost(): OverlayError {
    if (this.#sawBad) return new OverlayError('integrity', 'CONTENT_DAMAGED', 'No holder had the right bytes of a block.')
    return new OverlayError('not-found', 'CONTENT_NOT_FOUND', 'Too many shares of a segment could not be had.')
  }

  #fail(error: unknown): void {
    for (const pending of this.#open.values()) pending.reject(error)
    this.#open.clear()
    this.close()
  }
}
