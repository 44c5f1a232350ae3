/**
 * Brings things that belong together (the shares of a segment, root slots, copies of a record) to their holders: several at once, in shuffled
 * order, with another try and other holders where one fails, and judges whether the result keeps the promise that any half of the holders
 * may vanish. Spec: SPEC.md §7.5. Threat: holders that are gone, full or slow.
 *
 * Limit: at most `PUTS_MAX` puts are under way, or as many as the network is to have.
 */
import type { NodeId } from '../../src/bytes/index.ts'
import { HOLDERS_MIN } from '../../src/content/constants.ts'
import type { HolderHealth } from '../../src/content/holder-health.ts'
import type { AskTiming, ShareNetwork } from '../../src/content/network.ts'
import { Permits } from '../../src/content/permits.ts'
import type { Ranking } from '../../src/content/placement.ts'
import { keepsPromise } from '../../src/content/spread.ts'
import { isOverlayError, OverlayError } from '../../src/errors/index.ts'
import { type Clock, type Rng, shuffled } from '../../src/runtime/index.ts'

// Implementation constants.
/** Puts under way at once, if the network does not ask for more. */
const PUTS_MAX = 24
/** Time for one put, over everything that the network does for it. */
const PUT_TIMEOUT_MS = 45_000
/** Tries at one holder: the second goes over another loop. One for a holder that failed before, or while nobody but this node has taken anything. */
const TRIES_PER_HOLDER = 2
/** A suspect holder comes after all others. */
const SUSPECT_COST = 1000
/** How often parcels that went elsewhere are sent once more, to even out what could not be placed as it should be. */
const EVENINGS = 2
/** With fewer holders than a publication needs, those that failed are tried again after so long: what is told of links takes a few seconds to come. */
const TOO_FEW_MS = 5_000
/** They are tried again once, and once more only if so little time has passed: who fails by time-outs is not waited for three times. */
const TOO_FEW_FOR_MS = 15_000
/** Holders tried for one parcel. */
const HOLDERS_PER_PARCEL = 6
/** Time with puts under way in which nobody but this node took anything: from then on nobody is tried a second time until somebody does. */
const BARREN_MS = 30_000

const NOBODY: ReadonlySet<NodeId> = new Set()

export interface ParcelParts {
  readonly ranking: Ranking
  readonly health: HolderHealth
  /** What the network says of asks under way at once, and who this node is. */
  readonly network?: Pick<AskTiming, 'asksAtOnce'> & Partial<Pick<ShareNetwork, 'self'>>
  /** Holders that get nothing, whatever they say. */
  readonly avoid?: ReadonlySet<NodeId> | undefined
  readonly rng: Rng
  readonly clock: Clock
  /** Ends everything under way. */
  readonly signal: AbortSignal
}

/** One thing to bring to a node. */
export interface Parcel {
  /** 32 bytes: what holders are ranked by. */
  readonly place: Uint8Array
  put(node: NodeId, signal: AbortSignal): Promise<void>
  /** Waits until it can be put at once (`AskTiming`). */
  ready?(node: NodeId, signal: AbortSignal): Promise<void> | undefined
}

/** Sending a lot once. */
interface Round {
  /** Parcels of the lot that each node has or is being sent. */
  readonly tally: Map<NodeId, number>
  /** Nodes that have failed in it and taken nothing of it since: others come before them until it ends, however long it takes. */
  readonly failed: Set<NodeId>
}

export class ParcelSender {
  readonly #parts: ParcelParts
  readonly #puts: Permits
  readonly #holders = new Set<NodeId>()
  /** Nodes that have failed and taken nothing since, however long ago. While nobody but this node takes anything, none is tried a second time. */
  readonly #failed = new Set<NodeId>()
  readonly #barren: Barren
  #stored = 0

  constructor(parts: ParcelParts) {
    this.#parts = parts
    this.#puts = new Permits(Math.max(PUTS_MAX, parts.network?.asksAtOnce ?? 0))
    this.#barren = new Barren(parts.clock)
  }

  /** Parcels stored so far. */
  get stored(): number {
    return this.#stored
  }

  /** Different nodes that took something. */
  get holders(): number {
    return this.#holders.size
  }

  /**
   * Sends what belongs together, and checks that any `k` of it survive what the publication promises to survive. The promise is about the
   * holders that are there: the directory still lists nodes that left, and they can neither hold a share nor vanish once more.
   */
  async sendAll(parcels: readonly Parcel[], k: number, what: string): Promise<readonly (NodeId | null)[]> {
    const triesUntilMs = this.#parts.clock.monotonicMs() + TOO_FEW_FOR_MS
    let failed = new Set<NodeId>()
    let held = await this.#send(parcels, [], failed)
    for (let left = EVENINGS; left > 0 && this.#broken(held, k) !== null; left--) {
      if (this.#areTooFew(held, failed)) {
        if (left < EVENINGS && this.#parts.clock.monotonicMs() > triesUntilMs) break
        await this.#waitForMore()
      }
      failed = new Set()
      held = await this.#even(parcels, held, failed)
    }
    const broken = this.#broken(held, k)
    if (broken === null) return held
    throw new OverlayError('unreachable', 'PUBLISH_FAILED', `${what} could not be stored as promised: ${broken}`)
  }

  /** How what is held breaks the promise; `null`: it keeps it. */
  #broken(held: readonly (NodeId | null)[], k: number): string | null {
    const tally = tallyOf(held)
    const there = this.#there(tally)
    if (there >= HOLDERS_MIN && keepsPromise([...tally.values()], there, k)) return null
    const count = held.filter((node) => node !== null).length
    return `${count} of ${held.length} parts on ${tally.size} of ${there} reachable holders.`
  }

  /** Holders that have something of it or did not fail just now, nor in a round in which they `failed`. */
  #there(tally: ReadonlyMap<NodeId, number>, failed: ReadonlySet<NodeId> = NOBODY): number {
    return this.#parts.ranking.nodes.filter((node) => tally.has(node) || !this.#isSuspect(node, failed)).length
  }

  /** Whether nobody but this node has taken anything, or not for a while: then there is nothing to try again for, and the publication is to fail soon. */
  get #isAlone(): boolean {
    return this.#holders.size <= 1 || this.#barren.ms >= BARREN_MS
  }

  /** Whether others should be tried before `node`. `failed`: who failed in the same round. */
  #isSuspect(node: NodeId, failed: ReadonlySet<NodeId>): boolean {
    return failed.has(node) || this.#parts.health.isSuspect(node) || (this.#isAlone && this.#failed.has(node))
  }

  /** Whether fewer holders than a publication needs were there in the round in which nodes `failed`, this node not the only one. */
  #areTooFew(held: readonly (NodeId | null)[], failed: ReadonlySet<NodeId>): boolean {
    return !this.#isAlone && this.#there(tallyOf(held), failed) < HOLDERS_MIN
  }

  /** In a network of few nodes that has only begun, no loop may lead to some of them until the directory knows their links. */
  async #waitForMore(): Promise<void> {
    const { ranking, health, clock, signal } = this.#parts
    await clock.sleep(TOO_FEW_MS, { signal })
    for (const node of ranking.nodes) health.forgive(node)
  }

  /**
   * Sends once more what is not where it should be: holders that failed a while ago may be back, and hold less than others then. What nobody else
   * takes stays where it is.
   */
  async #even(
    parcels: readonly Parcel[],
    held: readonly (NodeId | null)[],
    failed: Set<NodeId>,
  ): Promise<readonly (NodeId | null)[]> {
    const placed = this.#parts.ranking.place(parcels.map((parcel) => parcel.place))
    const stay = held.map((node, at) => (node === placed[at] ? node : null))
    const now = await this.#send(parcels, stay, failed)
    return now.map((node, at) => node ?? held[at] ?? null)
  }

  /**
   * Sends those of a whole lot of parcels that nobody has, without judging the result. `held`: who has each one already; nothing is sent of
   * these. Returns who has each one now.
   */
  async mend(parcels: readonly Parcel[], held: readonly (NodeId | null)[]): Promise<readonly (NodeId | null)[]> {
    return await this.#send(parcels, held, new Set())
  }

  /** Sends a lot once; adds to `failed` who failed and took nothing after that. */
  async #send(
    parcels: readonly Parcel[],
    held: readonly (NodeId | null)[],
    failed: Set<NodeId>,
  ): Promise<readonly (NodeId | null)[]> {
    const { ranking, rng } = this.#parts
    const placed = ranking.place(parcels.map((parcel) => parcel.place))
    // Where each one is, or is on its way to.
    const round: Round = { tally: tallyOf(placed.map((node, at) => held[at] ?? node)), failed }
    const missing = [...parcels.entries()].filter(([at]) => (held[at] ?? null) === null)
    const now = parcels.map((_, at) => held[at] ?? null)
    const jobs = shuffled(missing, rng).map(async ([at, parcel]) => {
      now[at] = await this.#sendOne(parcel, placed[at]!, round)
    })
    // Every job is waited for, also after the first failure: they borrow the segment's buffer.
    const outcomes = await Promise.allSettled(jobs)
    const broken = outcomes.find((outcome) => outcome.status === 'rejected')
    if (broken !== undefined) throw broken.reason
    return now
  }

  /**
   * Brings one parcel to its holder or, if need be, to another; `null`: nobody took it. Keeps `round` up to date.
   */
  async #sendOne(parcel: Parcel, first: NodeId, round: Round): Promise<NodeId | null> {
    const { tally, failed } = round
    const { signal, avoid } = this.#parts
    await this.#puts.take(signal)
    try {
      const tried = new Set<NodeId>(avoid)
      const triedMax = tried.size + HOLDERS_PER_PARCEL
      let node: NodeId | undefined = this.#isSuspect(first, failed) || tried.has(first) ? undefined : first
      move(tally, first, -1)
      node ??= this.#nextHolder(parcel, tried, round)
      while (node !== undefined && tried.size < triedMax) {
        tried.add(node)
        move(tally, node, 1)
        if (await this.#putAt(parcel, node, failed)) {
          this.#stored++
          this.#holders.add(node)
          return node
        }
        move(tally, node, -1)
        node = this.#nextHolder(parcel, tried, round)
      }
      return null
    } finally {
      this.#puts.give()
    }
  }

  /** The holder to try next: not suspect before suspect, few of this lot before many, then by rank. */
  #nextHolder(parcel: Parcel, tried: ReadonlySet<NodeId>, { tally, failed }: Round): NodeId | undefined {
    let best: NodeId | undefined
    let bestCost = Number.POSITIVE_INFINITY
    for (const node of this.#parts.ranking.order(parcel.place)) {
      if (tried.has(node)) continue
      const cost = (tally.get(node) ?? 0) + (this.#isSuspect(node, failed) ? SUSPECT_COST : 0)
      if (cost < bestCost) [best, bestCost] = [node, cost]
      if (cost === 0) break
    }
    return bestCost >= SUSPECT_COST && this.#isAlone ? undefined : best
  }

  async #putAt(parcel: Parcel, node: NodeId, failed: Set<NodeId>): Promise<boolean> {
    const { clock, signal, health } = this.#parts
    for (let attempt = 1; attempt <= TRIES_PER_HOLDER; attempt++) {
      await parcel.ready?.(node, signal)
      const deadline = clock.deadline(PUT_TIMEOUT_MS, signal)
      const startedMs = clock.monotonicMs()
      this.#barren.begins()
      try {
        await parcel.put(node, deadline.signal)
        if (node !== this.#parts.network?.self) this.#barren.taken()
        health.answered(node, clock.monotonicMs() - startedMs)
        for (const failures of [failed, this.#failed]) failures.delete(node)
        return true
      } catch (error) {
        signal.throwIfAborted()
        if (!isHolderFault(error)) throw error
        const failedBefore = this.#failed.has(node) || this.#isSuspect(node, failed)
        if (attempt < TRIES_PER_HOLDER && !this.#isAlone && mayGoElsewhere(error) && !failedBefore) continue
        health.failed(node)
        for (const failures of [failed, this.#failed]) failures.add(node)
        return false
      } finally {
        this.#barren.ends()
        deadline.clear()
      }
    }
    return false
  }
}

/**
 * For how long puts have been under way since anybody but this node took anything. Time between puts does not count: under a paced clock it goes into
 * waiting for loops.
 */
class Barren {
  readonly #clock: Clock
  #underWay = 0
  #beforeMs = 0
  /** When the first of those under way began, or when somebody took something since. */
  #sinceMs = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  get ms(): number {
    return this.#beforeMs + (this.#underWay > 0 ? this.#clock.monotonicMs() - this.#sinceMs : 0)
  }

  begins(): void {
    if (this.#underWay++ === 0) this.#sinceMs = this.#clock.monotonicMs()
  }

  taken(): void {
    this.#beforeMs = 0
    this.#sinceMs = this.#clock.monotonicMs()
  }

  ends(): void {
    this.#beforeMs = this.ms
    this.#sinceMs = this.#clock.monotonicMs()
    this.#underWay--
  }
}

/** What another try or another holder may mend. Anything else (a bug, no network at all) ends the publication. */
function isHolderFault(error: unknown): error is OverlayError {
  if (!isOverlayError(error)) return false
  if (error.code === 'STORE_REFUSED' || error.code === 'STORE_UNREACHABLE') return true
  return error.kind === 'timeout' || (error.kind === 'unreachable' && error.code !== 'NETWORK_TOO_SMALL')
}

/** Whether the same holder may take it over another loop. A loop that could not be had was tried for over several ways. */
function mayGoElsewhere(error: OverlayError): boolean {
  if (error.code === 'STORE_REFUSED') return false
  return !isOverlayError(error.cause, 'LOOP_FAILED') && !isOverlayError(error.cause, 'LOOP_NO_PATH')
}

function tallyOf(nodes: readonly (NodeId | null)[]): Map<NodeId, number> {
  const tally = new Map<NodeId, number>()
  for (const node of nodes) if (node !== null) tally.set(node, (tally.get(node) ?? 0) + 1)
  return tally
}

function move(tally: Map<NodeId, number>, node: NodeId, by: number): void {
  const count = (tally.get(node) ?? 0) + by
  if (count === 0) tally.delete(node)
  else tally.set(node, count)
}
