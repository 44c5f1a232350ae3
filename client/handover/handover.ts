/**
 * Holders hand over: when a node joins that ranks first for a share or root slot which this node keeps for others, it gets a copy. So readers find
 * what was published before the node came at the place where they look first, and nobody has to know an address for it. Spec: SPEC.md §7.9.
 *
 * The own copy is never given up for it: who makes identities that rank first for a share must not be able to collect and drop the last copy.
 * Since only a new first place gets one, copies grow with the logarithm of the nodes that ever came, not with their number.
 *
 * Threat: identities that come to make holders send (a node gets something only after it was listed for a while; everything goes within a budget
 * of bytes an hour); nodes that take and drop (what they got is asked for again before they get more); stores that connect who hands over with
 * anything else (each thing goes at a random time over loops of its own: the pusher is the origin of a loop with the newcomer as apex).
 */
import type { MonotonicMs, NodeId, UnixMs } from '../../src/bytes/index.ts'
import { SHARE_BYTES } from '../../src/content/constants.ts'
import type { ShareNetwork, SlotValue } from '../../src/content/network.ts'
import { Ranking } from '../../src/content/placement.ts'
import { CHECK_BYTES, NONCE_BYTES, provesShare, slotProof, slotValueHash } from '../../src/content/proof.ts'
import type { DirectoryView } from '../../src/directory/index.ts'
import { isOverlayError } from '../../src/errors/index.ts'
import { type Clock, type Rng, type Timer, TokenBucket } from '../../src/runtime/index.ts'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS

// Implementation constants.
/** A node must have been listed for so long before it gets anything. */
export const SETTLED_MS = HOUR_MS
/** How often newcomers are looked for, drawn between the two: each look that finds some goes over the whole store. */
const LOOK_MS = [900_000, 2_700_000] as const
/** Places of the store looked at in one step: 256 rankings, some milliseconds with 1,000 nodes; and the pause between steps. */
const SCAN_PLACES = 256
const SCAN_PAUSE_MS = 1_000
/** Pause before each thing that is handed over, drawn up to this. */
const PAUSE_MAX_MS = 5_000
/** Bytes handed over in an hour, and at once. */
export const HANDOVER_BYTES_PER_HOUR = 64 * 1024 * 1024
const BURST_BYTES = 2 * 1024 * 1024
/** Things handed over to one node that are remembered, to ask for them again. */
const GIVEN_MAX = 8
/** What expires within a day is not worth it. */
const KEEP_HOURS_MIN = 24
/** What ends so soon after a day counts as ending with it: terms are in whole hours from a put that takes its time. */
const END_SLACK_MS = 2 * HOUR_MS
/** Time for one check or put. */
const STEP_TIMEOUT_MS = 45_000

/** The node's own store. */
export interface HandOverStore {
  slice(
    kind: 'shares' | 'slots',
    from: number,
    scan: number,
  ): { readonly held: readonly { readonly key: Uint8Array; readonly keepUntilMs: UnixMs }[]; readonly next: number | null }
  getShare(address: Uint8Array): Promise<Uint8Array | null>
  getSlots(location: Uint8Array): Promise<readonly SlotValue[]>
}

export interface HandOverParts {
  readonly self: NodeId
  readonly store: HandOverStore
  readonly view: DirectoryView
  /** A network over loops that nothing else uses; closed afterwards. */
  fresh(): ShareNetwork & { close(): void }
  /** A newcomer gets what it ranks among so many first ones for. Default 1. */
  readonly ranks?: number
  readonly clock: Clock
  readonly rng: Rng
}

export interface HandOverStats {
  /** Copies handed over; those that were there already; those that failed. */
  readonly given: number
  readonly there: number
  readonly failed: number
  /** Nodes that dropped what they got. */
  readonly droppers: number
}

/** Something to be brought to a node. */
interface Thing {
  readonly kind: 'shares' | 'slots'
  readonly key: Uint8Array
  readonly keepUntilMs: UnixMs
}

export class HandOver {
  readonly #parts: HandOverParts
  readonly #budget: TokenBucket
  /** Since when each listed node is known; those listed at the start are no newcomers. */
  readonly #listed = new Map<NodeId, MonotonicMs>()
  readonly #newcomers = new Set<NodeId>()
  readonly #given = new Map<NodeId, Thing[]>()
  readonly #droppers = new Set<NodeId>()
  readonly #stop = new AbortController()
  readonly #counts = { given: 0, there: 0, failed: 0 }
  #timer: Timer | null = null
  #running: Promise<void> = Promise.resolve()

  constructor(parts: HandOverParts) {
    this.#parts = parts
    this.#budget = new TokenBucket(HANDOVER_BYTES_PER_HOUR / 3600, BURST_BYTES, parts.clock.monotonicMs())
  }

  get stats(): HandOverStats {
    return { ...this.#counts, droppers: this.#droppers.size }
  }

  start(): void {
    const now = this.#parts.clock.monotonicMs()
    for (const { id } of this.#parts.view.all()) this.#listed.set(id, now)
    this.#schedule()
  }

  /** Ends what is under way. Idempotent. */
  async close(): Promise<void> {
    this.#stop.abort()
    this.#timer?.cancel()
    await this.#running
  }

  #schedule(): void {
    if (this.#stop.signal.aborted) return
    const { clock, rng } = this.#parts
    const [from, to] = LOOK_MS
    this.#timer = clock.setTimer(from + rng.unit() * (to - from), () => {
      this.#running = this.#look().finally(() => this.#schedule())
    })
  }

  /** Takes note of who came and went, and serves newcomers that stayed. Rejects for a fault of the program only. */
  async #look(): Promise<void> {
    const { view, clock } = this.#parts
    const now = clock.monotonicMs()
    for (const id of this.#listed.keys()) {
      if (view.get(id) !== undefined) continue
      this.#listed.delete(id)
      this.#newcomers.delete(id)
      this.#given.delete(id)
      this.#droppers.delete(id)
    }
    for (const { id } of view.all()) {
      if (this.#listed.has(id)) continue
      this.#listed.set(id, now)
      this.#newcomers.add(id)
    }
    const settled = new Set([...this.#newcomers].filter((id) => now - this.#listed.get(id)! >= SETTLED_MS))
    if (settled.size === 0) return
    try {
      const ranking = rankingOf(view)
      for (const kind of ['slots', 'shares'] as const) await this.#scan(kind, settled, ranking)
      for (const id of settled) this.#newcomers.delete(id)
    } catch (error) {
      if (!this.#stop.signal.aborted) throw error
    }
  }

  /** Goes over everything of one kind once, and hands over what a newcomer ranks first for. */
  async #scan(kind: Thing['kind'], newcomers: ReadonlySet<NodeId>, ranking: () => Ranking): Promise<void> {
    const { store, clock, ranks = 1 } = this.#parts
    const { signal } = this.#stop
    for (let from: number | null = 0; from !== null; ) {
      const { held, next }: ReturnType<HandOverStore['slice']> = store.slice(kind, from, SCAN_PLACES)
      const now = held.length === 0 ? null : ranking()
      for (const { key, keepUntilMs } of held) {
        for (const node of now?.firsts(key, ranks) ?? []) {
          if (newcomers.has(node) && !this.#droppers.has(node)) await this.#handOver(node, { kind, key, keepUntilMs })
        }
      }
      from = next
      await clock.sleep(SCAN_PAUSE_MS, { signal })
    }
  }

  async #handOver(node: NodeId, thing: Thing): Promise<void> {
    const { clock, rng, fresh } = this.#parts
    const { signal } = this.#stop
    await clock.sleep(rng.unit() * PAUSE_MAX_MS, { signal })
    const keepHours = hoursLeft(thing.keepUntilMs, clock.unixMs())
    if (keepHours < KEEP_HOURS_MIN) return
    const network = fresh()
    try {
      if (await this.#hasDropped(network, node)) {
        this.#droppers.add(node)
        return
      }
      for (const part of await this.#read(thing)) {
        if (await this.#step(network, node, CHECK_BYTES, (deadline) => part.isAt(network, node, deadline))) this.#counts.there++
        else await this.#put(network, node, part, keepHours, thing)
      }
    } finally {
      network.close()
    }
  }

  async #put(network: ShareNetwork, node: NodeId, part: Part, keepHours: number, thing: Thing): Promise<void> {
    const { clock } = this.#parts
    while (!this.#budget.take(clock.monotonicMs(), part.bytes))
      await clock.sleep((part.bytes / HANDOVER_BYTES_PER_HOUR) * HOUR_MS, this.#stop)
    const done = await this.#step(network, node, part.bytes, async (signal) => {
      await part.put(network, node, keepHours, signal)
      return true
    })
    if (done !== true) {
      this.#counts.failed++
      return
    }
    this.#counts.given++
    const given = this.#given.get(node) ?? []
    this.#given.set(node, given)
    given.push(thing)
    if (given.length > GIVEN_MAX) given.splice(this.#parts.rng.below(given.length), 1)
  }

  /** Whether `node` cannot prove one of the things that it took. Who does not answer is asked another time. */
  async #hasDropped(network: ShareNetwork, node: NodeId): Promise<boolean> {
    const given = this.#given.get(node) ?? []
    if (given.length === 0) return false
    const [part] = await this.#read(given[this.#parts.rng.below(given.length)]!)
    if (part === undefined) return false
    return (await this.#step(network, node, CHECK_BYTES, (signal) => part.isAt(network, node, signal))) === false
  }

  /** What this node itself has of it now: nothing if it has expired. */
  async #read({ kind, key }: Thing): Promise<readonly Part[]> {
    const { store, rng } = this.#parts
    if (kind === 'slots') return (await store.getSlots(key)).map((slot) => slotPart(slot, key, rng))
    const share = await store.getShare(key)
    return share === null ? [] : [sharePart(share, key, rng)]
  }

  /** What `run` gives in time; `null`: the node failed, or refused. */
  async #step(
    network: ShareNetwork,
    node: NodeId,
    bytes: number,
    run: (signal: AbortSignal) => Promise<boolean>,
  ): Promise<boolean | null> {
    await network.ready?.(node, bytes, this.#stop).catch(() => {}) // the ask says what is wrong
    const deadline = this.#parts.clock.deadline(STEP_TIMEOUT_MS, this.#stop.signal)
    try {
      deadline.signal.throwIfAborted()
      return await run(deadline.signal)
    } catch (error) {
      if (this.#stop.signal.aborted || !isOverlayError(error)) throw error
      return null
    } finally {
      deadline.clear()
    }
  }
}

/**
 * For how long a copy is to be kept: until the end of the day, in UTC, in which `keepUntilMs` lies. To the hour it would say when something was
 * published. What a copy says is handed on in its turn; the end of a day, and a little more, is then the same one again.
 */
function hoursLeft(keepUntilMs: UnixMs, now: UnixMs): number {
  const endMs = Math.ceil((keepUntilMs - END_SLACK_MS) / DAY_MS) * DAY_MS
  return Math.ceil((endMs - now) / HOUR_MS)
}

/** The ranking of the view of now, made anew when that has changed. */
function rankingOf(view: DirectoryView): () => Ranking {
  let ranking: Ranking | null = null
  let version = 0
  return () => {
    if (ranking === null || view.version !== version) ranking = new Ranking(view.all().map(({ id }) => id))
    version = view.version
    return ranking
  }
}

/** A share, or one value of a slot. */
interface Part {
  readonly bytes: number
  isAt(network: ShareNetwork, node: NodeId, signal: AbortSignal): Promise<boolean>
  put(network: ShareNetwork, node: NodeId, keepHours: number, signal: AbortSignal): Promise<void>
}

function sharePart(share: Uint8Array, address: Uint8Array, rng: Rng): Part {
  return {
    bytes: SHARE_BYTES,
    async isAt(network, node, signal) {
      const nonce = rng.bytes(NONCE_BYTES)
      const proof = await network.checkShare(node, { address, nonce, keepHours: 0 }, { signal })
      return proof !== null && provesShare(proof, nonce, share)
    },
    put: (network, node, keepHours, signal) => network.putShare(node, share, { signal, keepHours }),
  }
}

function slotPart(slot: SlotValue, location: Uint8Array, rng: Rng): Part {
  const valueHash = slotValueHash(slot.value)
  return {
    bytes: slot.value.length,
    async isAt(network, node, signal) {
      const nonce = rng.bytes(NONCE_BYTES)
      const proof = await network.checkSlot(node, { location, valueHash, nonce, keepHours: 0 }, { signal })
      return proof !== null && Buffer.from(proof).equals(slotProof(nonce, slot.value))
    },
    put: (network, node, keepHours, signal) => network.putSlot(node, slot, { signal, keepHours }),
  }
}
