/**
 * Ready loops, so that work begins without waiting for a set-up. In a small network one for each other node, else a standing number to nodes
 * drawn at random. A loop that was taken is not given back: whoever took it keeps or closes it, so that no two pieces of work share one
 * (an apex must not link them). Own timers and losses refill the pool; what others ask never does. Spec: SPEC.md §4.4.
 */
import type { MonotonicMs, NodeId } from '../../src/bytes/index.ts'
import type { DirectoryView } from '../../src/directory/index.ts'
import { OverlayError } from '../../src/errors/index.ts'
import type { Clock, Rng, Timer } from '../../src/runtime/index.ts'
import type { LoopBuilder } from './builder.ts'
import type { LoopSource } from './lease.ts'
import type { OriginLoop } from './origin-loop.ts'
import type { OwnApex } from './own-hop.ts'

// Implementation constants.
/** Ready loops kept. */
export const POOL_LOOPS = 8
/** Set-ups that the pool has under way at once. */
const REFILLS_MAX = 2
const REFILL_MS = 50
const REFILL_FAILED_MS = 1_000
/** A ready loop that came out shorter than wanted, for want of links, is kept so long. */
const SHORT_LOOP_MS = 5_000
/** Own loops open at once, ready and taken. */
export const OWN_LOOPS_MAX = 256

export interface LoopPoolDeps {
  readonly builder: Pick<LoopBuilder, 'build'>
  /** Whether something that went through a node is missing (`LoopBuilder.isSuspect`). Default: of none. */
  readonly isSuspect?: (node: NodeId) => boolean
  readonly view: DirectoryView
  readonly self: NodeId
  /** Takes what this node asks of itself through a loop (`takeHome`). */
  readonly ownApex: OwnApex
  /** How many other members loops should have now. Ready loops that were built for fewer, in a younger network, are replaced. */
  members(): number
  readonly clock: Clock
  readonly rng: Rng
}

export class LoopPool implements LoopSource<OriginLoop> {
  readonly takesPerAsk = false
  readonly #deps: LoopPoolDeps
  /** Ready loops, with when they were built and how many members were wanted then. */
  readonly #ready = new Map<OriginLoop, { readonly wanted: number; readonly at: MonotonicMs }>()
  readonly #taken = new Set<OriginLoop>()
  readonly #building = new Set<NodeId>()
  readonly #stop = new AbortController()
  #timer: Timer | null = null

  constructor(deps: LoopPoolDeps) {
    this.#deps = deps
  }

  /** Loops that wait for work. */
  get ready(): number {
    return this.#ready.size
  }

  /** All own loops that are open. For this node's own user. */
  open(): { readonly loop: OriginLoop; readonly taken: boolean }[] {
    return [
      ...[...this.#ready.keys()].map((loop) => ({ loop, taken: false })),
      ...[...this.#taken].map((loop) => ({ loop, taken: true })),
    ]
  }

  start(): void {
    this.#schedule(0)
  }

  /** Closes every loop, ready or taken. Idempotent. */
  close(): void {
    this.#stop.abort(new OverlayError('unreachable', 'CIRCUIT_ENDED', 'The node is stopping.'))
    this.#timer?.cancel()
    for (const loop of [...this.#ready.keys(), ...this.#taken]) loop.close()
    this.#ready.clear()
    this.#taken.clear()
  }

  /** A loop with `apex`, the caller's alone until `release`. Errors: those of `LoopBuilder.build`, `LOOP_LIMIT`. */
  async take(apex: NodeId, { signal }: { signal: AbortSignal }): Promise<OriginLoop> {
    signal.throwIfAborted()
    this.#retire()
    for (const loop of this.#ready.keys()) {
      if (loop.apex !== apex) continue
      this.#ready.delete(loop)
      if (this.#isDoubtful(loop)) {
        loop.close()
        continue
      }
      this.#taken.add(loop)
      this.#schedule(REFILL_MS)
      return loop
    }
    if (this.#taken.size >= OWN_LOOPS_MAX) throw new OverlayError('overload', 'LOOP_LIMIT', 'Too many loops are in use at once.')
    const both = AbortSignal.any([signal, this.#stop.signal])
    const loop = await this.#deps.builder.build(apex, (ended) => this.#onEnd(ended), { signal: both })
    this.#taken.add(loop)
    return loop
  }

  /** Whether `node` forwards, as far as is known. */
  reaches(node: NodeId): boolean {
    return this.#deps.isSuspect?.(node) !== true
  }

  /** Whether another path is likelier to lead to its apex. */
  #isDoubtful({ hops, apex }: OriginLoop): boolean {
    return hops.some((hop) => hop !== apex && !this.reaches(hop))
  }

  /**
   * As `take`, for this node itself in the place of the apex: a loop with another node drawn at random in its middle, which is asked nothing, so
   * that what this node does with itself takes as long, and looks, as with others. Errors: as `take`, `LOOP_NO_PATH` (there is no other node).
   */
  async takeHome({ signal }: { readonly signal: AbortSignal }): Promise<OriginLoop> {
    const { view, self, rng, ownApex } = this.#deps
    const others = view.all().filter(({ id }) => id !== self && view.linked(id).length >= 2)
    if (others.length === 0) throw new OverlayError('unreachable', 'LOOP_NO_PATH', 'There is no other node to draw a loop with.')
    const loop = await this.take(others[rng.below(others.length)]!.id, { signal })
    loop.turnHome(ownApex)
    return loop
  }

  /** Ends a taken loop. */
  release(loop: OriginLoop): void {
    this.#taken.delete(loop)
    loop.close()
  }

  #onEnd(loop: OriginLoop): void {
    this.#taken.delete(loop)
    if (this.#ready.delete(loop)) this.#schedule(REFILL_MS)
  }

  #schedule(ms: number): void {
    if (this.#timer !== null || this.#stop.signal.aborted) return
    this.#timer = this.#deps.clock.setTimer(ms, () => {
      this.#timer = null
      this.#refill()
    })
  }

  /** Apexes that a ready loop is missing for, in random order. */
  #missing(): NodeId[] {
    const { view, self, rng } = this.#deps
    const have = new Set([...this.#ready.keys()].map((loop) => loop.apex))
    const others = view.all().filter(({ id }) => id !== self && !have.has(id) && !this.#building.has(id))
    const wanted = Math.min(POOL_LOOPS, view.size - 1) - this.#ready.size - this.#building.size
    const picked: NodeId[] = []
    while (picked.length < wanted && others.length > 0) picked.push(others.splice(rng.below(others.length), 1)[0]!.id)
    return picked
  }

  /**
   * Closes ready loops that are shorter than they should be by now: at once if the network has grown, else after a while, for another try.
   * And those that go over a link that is no longer listed: a node on them died, and whoever took one would find out seconds later.
   */
  #retire(): void {
    const members = this.#deps.members()
    const before = this.#deps.clock.monotonicMs() - SHORT_LOOP_MS
    for (const [loop, { wanted, at }] of this.#ready) {
      if (this.#isListed(loop) && wanted >= members && (loop.hops.length >= members || at >= before)) continue
      this.#ready.delete(loop)
      loop.close()
    }
  }

  /** Whether each link between its members is listed by both ends, as when it was drawn. */
  #isListed({ hops }: OriginLoop): boolean {
    const { view } = this.#deps
    return hops.every((hop, at) => at === 0 || view.linked(hop).includes(hops[at - 1]!))
  }

  #refill(): void {
    this.#retire()
    const missing = this.#missing()
    for (const apex of missing.slice(0, REFILLS_MAX - this.#building.size)) void this.#build(apex)
    if (missing.length === 0) this.#schedule(REFILL_FAILED_MS)
  }

  async #build(apex: NodeId): Promise<void> {
    this.#building.add(apex)
    let next = 0
    try {
      const { builder } = this.#deps
      const wanted = this.#deps.members()
      const loop = await builder.build(apex, (ended) => this.#onEnd(ended), { signal: this.#stop.signal, patient: true })
      if (loop.open) this.#ready.set(loop, { wanted, at: this.#deps.clock.monotonicMs() })
    } catch {
      next = REFILL_FAILED_MS // the cause is the network's state, which status shows; the next draw may find another way
    } finally {
      this.#building.delete(apex)
      this.#schedule(next)
    }
  }
}
