/**
 * Publishes this node's descriptor: at start, soon after what it says has changed (neighbours, onion keys, addresses), and every hour. Its
 * time of publication grows strictly, across restarts and clock steps too: a high-water mark on disk is ahead of what was used, as long as the disk
 * takes it.
 * The proof of work is found once and kept. Threat: two descriptors with one time, or an older one after a newer, would leave nodes with
 * different views of this node. Spec: SPEC.md §6.1.
 */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fromHex, type MonotonicMs, type NodeId, nodeIdBytes, toHex, type UnixMs } from '../../src/bytes/index.ts'
import { findWork, verifyWork } from '../../src/crypto/index.ts'
import {
  DESCRIPTOR_WORK_LABEL,
  type Descriptor,
  type Directory,
  makeDescriptor,
  PUBLISHED_AHEAD_MS,
  updateEveryMs,
  workBinding,
  writeAtomically,
} from '../../src/directory/index.ts'
import { type Clock, type Rng, type Timer, TokenBucket } from '../../src/runtime/index.ts'
import type { Identity } from '../identity.ts'

// Implementation constants.
const STATE_FILE = 'published'
const FIRST_LINE = 'gyre published 1'
const DAY_MS = 24 * 3_600_000
/** How far the mark on disk runs ahead: so long without a write. */
const MARK_AHEAD_MS = 60_000
/** A last time of publication further ahead than this was a fault of the clock: nobody took it. */
const STEP_MAX_MS = PUBLISHED_AHEAD_MS - 2 * MARK_AHEAD_MS
/** Changes within this time go out together. */
const GATHER_MS = 100
/** The same, with under half of `AT_ONCE` left, while no neighbour was lost: set-ups that are drawn over a lost one are lost too, others go as before. */
const GATHER_GAINED_MS = 2_000
const RENEW_MS = 3_600_000
/** Publications at once, and the time for one more, as a part of that in which directories take one more: below what they take of one node. */
const AT_ONCE = 24
const EVERY_PART = 1.2
/** The same, at least, where what is handed on has to wait for control slots. */
const EVERY_SLOTS_MS = 12_000

/** What a descriptor says besides identity, addresses and neighbours. */
export interface OwnClaims {
  /** Read at each publication. */
  readonly onion: () => Descriptor['onion']
  readonly capacityClass: number
  readonly storeQuotaBytes: number
  /** Read at each publication; 0: none. */
  readonly putEffort?: () => number
  /** Nodes of the same operator, at most 16; default none. */
  readonly family?: Descriptor['family']
}

export interface PublisherDeps {
  readonly directory: Directory
  readonly identity: Identity
  readonly dataDir: string
  readonly clock: Clock
  readonly rng: Rng
  readonly claims: OwnClaims
  readonly addresses: () => readonly string[]
  readonly neighbours: () => readonly NodeId[]
  /** What is handed on goes in control slots. */
  readonly slots?: boolean
  /** A new descriptor is in the directory: hand it on. */
  readonly onPublished: (signed: Uint8Array) => void
  /** The state could not be written. It is tried again. */
  readonly onFault: (error: unknown) => void
}

export class Publisher {
  readonly #deps: PublisherDeps
  readonly #tokens: TokenBucket
  #work: Uint8Array = new Uint8Array(0)
  #firstSeenDay = 0
  /** The time of the newest descriptor of this node that there can be. */
  #last = 0
  /** What the disk holds: no descriptor is later. */
  #mark = 0
  #timer: Timer | null = null
  /** When that fires. */
  #dueMs = 0
  /** Neighbours as they were published last. */
  #said: readonly NodeId[] = []
  #renewal: Timer | null = null
  /** The publication under way, so that there is one at a time. */
  #running: Promise<void> = Promise.resolve()
  #unwatch: (() => void) | null = null
  #closed = false

  constructor(deps: PublisherDeps) {
    this.#deps = deps
    this.#tokens = new TokenBucket(1000 / this.#everyMs, AT_ONCE, deps.clock.monotonicMs())
  }

  get #everyMs(): number {
    const { directory, slots = false } = this.#deps
    return Math.max(slots ? EVERY_SLOTS_MS : 0, EVERY_PART * updateEveryMs(directory.size))
  }

  /** Reads the state, finds the work at the first start, and publishes. */
  async start(signal: AbortSignal): Promise<void> {
    const { directory, identity, clock } = this.#deps
    await this.#load()
    const binding = workBinding(directory.rules.network, nodeIdBytes(identity.id))
    if (!verifyWork(DESCRIPTOR_WORK_LABEL, binding, this.#work, directory.rules.workBits)) {
      this.#work = await findWork(DESCRIPTOR_WORK_LABEL, binding, directory.rules.workBits, { clock, signal })
    }
    // Somebody may hold a later one: of a run whose mark was lost, or made with a copy of this identity. And a sleeping machine wakes
    // to find its own descriptor expired.
    this.#unwatch = directory.onChange((id) => {
      if (id !== identity.id) return
      const published = directory.get(id)?.publishedMs
      if (published !== undefined && published <= this.#last) return
      this.#last = Math.max(this.#last, published ?? 0)
      this.soon()
    })
    await this.#publish()
  }

  /** This node's own signed descriptor. */
  get signed(): Uint8Array {
    return this.#deps.directory.signedOf(this.#deps.identity.id) ?? new Uint8Array(0)
  }

  /** What the descriptor says has changed. */
  soon(): void {
    if (this.#closed) return
    const { clock } = this.#deps
    const now = clock.monotonicMs()
    const waitMs = this.#waitMs(now)
    if (this.#timer !== null && this.#dueMs <= now + waitMs) return
    this.#timer?.cancel()
    this.#dueMs = now + waitMs
    this.#timer = clock.setTimer(waitMs, () => {
      this.#timer = null
      this.#running = this.#running.then(() => this.#publish())
    })
  }

  #waitMs(now: MonotonicMs): number {
    this.#tokens.setRate(1000 / this.#everyMs, now)
    if (!this.#tokens.has(now)) return this.#everyMs
    if (this.#tokens.has(now, AT_ONCE / 2)) return GATHER_MS
    const neighbours = this.#deps.neighbours()
    return this.#said.every((id) => neighbours.includes(id)) ? GATHER_GAINED_MS : GATHER_MS
  }

  /** Stops, and writes down the exact time of the last publication. Idempotent. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#unwatch?.()
    this.#timer?.cancel()
    this.#renewal?.cancel()
    await this.#running
    if (this.#last > 0) await this.#save(this.#last)
  }

  async #publish(): Promise<void> {
    if (this.#closed) return
    const { directory, identity, clock, rng } = this.#deps
    this.#tokens.take(clock.monotonicMs())
    const now = clock.unixMs()
    const stepped = this.#last - now > STEP_MAX_MS
    const publishedMs = (stepped ? now : Math.max(now, this.#last + 1)) as UnixMs
    // Without the mark a restart could say a time twice, if the clock steps back besides; then others show the later one, and it is corrected.
    // Not to publish would take the node out of the network as soon as its disk is full.
    if (publishedMs > this.#mark || stepped) await this.#save(publishedMs + MARK_AHEAD_MS)
    const { onion, capacityClass, storeQuotaBytes, family = [], putEffort } = this.#deps.claims
    const effort = putEffort?.() ?? 0
    this.#said = this.#deps.neighbours()
    const claims = {
      onion: onion(),
      capacityClass,
      storeQuotaBytes,
      family,
      addresses: this.#deps.addresses(),
      neighbours: this.#said,
      publishedMs,
      work: this.#work,
      firstSeenDay: this.#firstSeenDay,
      ...(effort === 0 ? {} : { putEffort: effort }),
    }
    this.#last = publishedMs
    if (directory.add(makeDescriptor(claims, directory.rules.network, identity.key)) === 'added')
      this.#deps.onPublished(this.signed)
    this.#renewIn(RENEW_MS * (0.75 + rng.unit() / 4))
  }

  #renewIn(ms: number): void {
    this.#renewal?.cancel()
    if (!this.#closed) this.#renewal = this.#deps.clock.setTimer(ms, () => this.soon())
  }

  /** Four lines: format, mark, day of the first start, nonce. Anything else is a first start. */
  async #load(): Promise<void> {
    this.#firstSeenDay = Math.floor(this.#deps.clock.unixMs() / DAY_MS)
    let text: string
    try {
      text = await readFile(join(this.#deps.dataDir, STATE_FILE), 'utf8')
    } catch {
      return // unreadable is as good as none: the network corrects a mark that is too low
    }
    const [first, mark, day, nonce = ''] = text.split('\n')
    if (first !== FIRST_LINE || !isCount(mark) || !isCount(day)) return
    this.#mark = Number(mark)
    this.#last = this.#mark
    this.#firstSeenDay = Math.min(Number(day), this.#firstSeenDay)
    this.#work = fromHex(nonce) ?? this.#work
  }

  async #save(mark: number): Promise<void> {
    const text = `${[FIRST_LINE, mark, this.#firstSeenDay, toHex(this.#work)].join('\n')}\n`
    try {
      await writeAtomically(join(this.#deps.dataDir, STATE_FILE), [text])
    } catch (error) {
      this.#deps.onFault(error)
      return
    }
    this.#mark = mark
  }
}

function isCount(text: string | undefined): boolean {
  return text !== undefined && /^\d{1,15}$/.test(text)
}
