/**
 * Finds the root of an address: asks several holders of its root slots at once, and takes the first value that is the root that the address is
 * the hash of. Spec: SPEC.md §7.6. Threat: holders that are gone or lie, and other variants that somebody who knows the address signed.
 */
import { equalPublic, type NodeId } from '../../src/bytes/index.ts'
import { ROOT_BYTES, ROOT_SLOTS_MAX } from '../../src/content/constants.ts'
import { type HolderHealth, soonest } from '../../src/content/holder-health.ts'
import type { ShareNetwork, SlotValue, WorkTrace } from '../../src/content/network.ts'
import type { Ranking } from '../../src/content/placement.ts'
import { openRoot, type Root, rootKeys } from '../../src/content/root.ts'
import { slotLocation, verifySlot } from '../../src/content/slot.ts'
import { sharesOf } from '../../src/content/spread.ts'
import { OverlayError } from '../../src/errors/index.ts'
import { type Clock, laterTurn, type Rng, shuffled, type Timer } from '../../src/runtime/index.ts'
import type { GapKind, ReadGaps } from '../heal/index.ts'
import { codeOf, isHolderFault } from './share-asker.ts'

// Implementation constants.
/** Holders asked at once at first, and at most. */
const ASKS_FIRST = 3
const ASKS_MAX = 8
/** Late asks at once, which count apart. */
const LATE_MAX = 24
/** Asks in all: each slot at every node of a network of 30. */
const ASKS_TOTAL = 480
/** Time for one ask, and at least so many times what counts as late. */
const ASK_TIMEOUT_MS = 8_000
const ASK_TIMEOUT_LATE = 3
/** Variants of one answer that are looked at: what an honest store keeps. */
const VARIANTS_MAX = 4
/** Nodes ranked in one turn of the event loop: a fraction of a millisecond. */
const RANKED_A_TURN = 256
/** When everybody was asked, those that were silent are asked again after this, each time twice as long. */
const AGAIN_MIN_MS = 250
const AGAIN_MAX_MS = 2_000

export interface RootSearch {
  readonly network: ShareNetwork
  readonly ranking: Ranking
  readonly health: HolderHealth
  readonly clock: Clock
  readonly rng: Rng
  readonly signal: AbortSignal
  readonly trace?: WorkTrace | undefined
  /** See `AskerParts.persistMs`. */
  readonly persistMs?: number
  /** Where it is noted what holders did not have. */
  readonly gaps?: Pick<ReadGaps, 'root'> | undefined
}

interface Ask {
  readonly node: NodeId
  readonly slot: number
  readonly location: Uint8Array
}

/** A root, and its sealed form as the slots hold it. */
export interface FoundRoot {
  readonly root: Root
  readonly sealed: Uint8Array
}

/** Every slot at every node that may have it, the likeliest first: as the publisher placed them, then by rank. */
async function asksOf(
  publicKey: Uint8Array,
  { ranking, rng, clock }: Pick<RootSearch, 'ranking' | 'rng' | 'clock'>,
): Promise<{ readonly asks: Ask[]; readonly placed: readonly NodeId[]; readonly expected: number }> {
  const holders = ranking.nodes.length
  const locations = Array.from({ length: ROOT_SLOTS_MAX }, (_, slot) => slotLocation(publicKey, slot))
  // Placing fewer slots than there are nodes gives each slot the same node however many follow it, so N at publication is not needed.
  const placed = ranking.place(locations.slice(0, holders))
  const likely = placed.map((node, slot): Ask => ({ node, slot, location: locations[slot]! }))
  const expected = Math.min(holders, sharesOf(1, holders))
  const asks = [...shuffled(likely.slice(0, expected), rng), ...likely.slice(expected)]
  const orders: NodeId[][] = []
  for (const [slot, location] of locations.entries()) {
    if ((slot * holders) % RANKED_A_TURN < holders) await laterTurn(clock)
    orders.push(ranking.order(location))
  }
  for (let rank = 0; rank < holders && asks.length < ASKS_TOTAL; rank++) {
    for (const [slot, location] of locations.entries()) {
      const node = orders[slot]![rank]!
      if (node !== placed[slot]) asks.push({ node, slot, location })
    }
  }
  return { asks: asks.slice(0, ASKS_TOTAL), placed, expected }
}

/** The root whose hash is `s`. Errors: `CONTENT_NOT_FOUND`, `CONTENT_DAMAGED` (holders had values, none of them right), the signal's reason. */
export async function findRoot(s: Uint8Array, search: RootSearch): Promise<Root> {
  return (await findSealedRoot(s, search)).root
}

/** `findRoot`, with what its slots hold. */
export async function findSealedRoot(s: Uint8Array, search: RootSearch): Promise<FoundRoot> {
  const end = search.trace?.stage('root')
  try {
    const found = await searchRoot(s, search)
    end?.()
    return found
  } catch (error) {
    end?.({ note: error instanceof Error ? error.message : 'ended', failed: true })
    throw error
  }
}

async function searchRoot(s: Uint8Array, search: RootSearch): Promise<FoundRoot> {
  const { network, health, clock, signal, trace } = search
  const keys = rootKeys(s)
  const { publicKey } = keys.signing
  const { asks, placed, expected } = await asksOf(publicKey, search)
  const found = Promise.withResolvers<FoundRoot>()
  const missing = new Map<number, GapKind>()
  const ending = new AbortController()
  const both = AbortSignal.any([signal, ending.signal])
  /** Asks that got no answer, or none in time; and who answered anything at all. */
  const silent = new Set<Ask>()
  const answered = new Set<NodeId>()
  const beganMs = clock.monotonicMs()
  const again: { timer: Timer | null } = { timer: null }
  let againMs = AGAIN_MIN_MS
  let underWay = 0
  let late = 0
  let parallel = ASKS_FIRST
  let sawBad = false

  const rootIn = (values: readonly SlotValue[], slot: number): FoundRoot | null => {
    for (const value of values.slice(0, VARIANTS_MAX)) {
      const ours = equalPublic(value.publicKey, publicKey) && value.slot === slot && verifySlot(value)
      const root = ours ? openRoot(s, keys, value.value) : null
      if (root !== null) return { root, sealed: value.value }
      sawBad = true
    }
    return null
  }
  const askOne = async (ask: Ask): Promise<void> => {
    const { node, slot, location } = ask
    let isLate = false
    if (network.ready !== undefined) await network.ready(node, ROOT_BYTES, { signal: both }).catch(() => {}) // the ask says what is wrong
    if (both.aborted) return
    const deadline = clock.deadline(Math.max(ASK_TIMEOUT_MS, ASK_TIMEOUT_LATE * health.patienceMs), both)
    const startedMs = clock.monotonicMs()
    const patience = clock.setTimer(health.patienceMs, () => {
      isLate = true
      late++
      silent.add(ask)
      health.failed(node)
      trace?.mark('late', 'a holder of the root is slow; another is asked')
      parallel = Math.min(ASKS_MAX, parallel + 1)
      goOn()
    })
    try {
      const values = await network.getSlots(node, location, { signal: deadline.signal, trace })
      await laterTurn(clock)
      if (both.aborted) return
      silent.delete(ask)
      answered.add(node)
      const root = rootIn(values, slot)
      if (values.length > 0 && root === null) health.failed(node)
      else health.answered(node, clock.monotonicMs() - startedMs)
      if (root === null && node === placed[slot]) missing.set(slot, values.length > 0 ? 'bad' : 'absent')
      if (root !== null) {
        found.resolve(root)
        ending.abort()
      } else trace?.mark('retry', values.length > 0 ? 'a holder had wrong bytes for the root' : 'a holder does not have the root')
      // Nobody answered wrongly, but nothing was there: the view has changed since, so look wider.
      parallel = Math.min(ASKS_MAX, parallel + 1)
    } catch (error) {
      if (both.aborted) return
      if (!isHolderFault(error)) found.reject(error)
      silent.add(ask)
      trace?.mark('retry', `a holder of the root gave no answer (${codeOf(error)})`, { failed: true })
      if (node === placed[slot]) missing.set(slot, 'silent')
      health.failed(node)
    } finally {
      patience.cancel()
      deadline.clear()
      if (isLate) late--
    }
  }
  /**
   * Everybody was asked. That nobody has it is believed when half of the nodes say so, and half of those that should have it: no more may be away
   * at once (P9). Else it may be the network, and the silent ones are asked again for a while.
   */
  const onExhausted = () => {
    const away = new Set([...silent].map(({ node }) => node))
    for (const node of answered) away.delete(node)
    const leftMs = (search.persistMs ?? 0) - (clock.monotonicMs() - beganMs)
    const placesAway = [...silent].filter(({ node, slot }) => slot < expected && node === placed[slot]).length
    if (leftMs > 0 && (away.size > answered.size || 2 * placesAway > expected)) {
      again.timer ??= clock.setTimer(Math.min(againMs, leftMs), () => {
        again.timer = null
        againMs = Math.min(AGAIN_MAX_MS, 2 * againMs)
        asks.push(...silent)
        silent.clear()
        goOn()
      })
    } else if (underWay === 0 || (search.persistMs !== undefined && leftMs <= 0)) found.reject(sawBad ? damaged() : notFound())
  }
  const goOn = () => {
    if (both.aborted) return
    while (underWay - late < parallel && late < LATE_MAX && asks.length > 0) {
      const next = soonest(
        asks,
        ({ node }) => node,
        health,
        (other) => network.near?.(other) ?? true,
      )
      const ask = asks.splice(next, 1)[0]!
      underWay++
      askOne(ask)
        .catch((error: unknown) => found.reject(error))
        .finally(() => {
          underWay--
          goOn()
        })
    }
    if (asks.length === 0 && underWay === late) onExhausted()
  }

  const onAbort = () => found.reject(signal.reason)
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    signal.throwIfAborted()
    goOn()
    const { root, sealed } = await found.promise
    await laterTurn(clock)
    const there = placed.slice(0, sharesOf(1, root.spread))
    if (missing.size > 0) search.gaps?.root({ keys, sealed, placed: there, gaps: missing })
    return { root, sealed }
  } finally {
    signal.removeEventListener('abort', onAbort)
    again.timer?.cancel()
    ending.abort()
  }
}

const notFound = () => new OverlayError('not-found', 'CONTENT_NOT_FOUND', 'No holder has the root of this address.')
const damaged = () =>
  new OverlayError('integrity', 'CONTENT_DAMAGED', 'Holders have values for this address, and none of them is its root.')
