/**
 * Looks for the record of one period: asks several of its holders at once and takes the highest sequence of what is right. Spec: SPEC.md §10.6.
 * Threat: holders that are gone, stall, forge, or give an older record than they have (roll back): one answer is never enough, and an answer
 * below what this node saw before makes it ask on.
 */
import type { NodeId } from '../../src/bytes/index.ts'
import { type HolderHealth, soonest } from '../../src/content/holder-health.ts'
import { openKeyRecord, type RecordPeriod } from '../../src/content/key-record.ts'
import type { WorkTrace } from '../../src/content/network.ts'
import type { Ranking } from '../../src/content/placement.ts'
import { recordCopies, recordPlace } from '../../src/content/record.ts'
import type { RecordNetwork } from '../../src/content/record-network.ts'
import { type Clock, type Rng, shuffled } from '../../src/runtime/index.ts'
import type { KeyRecord } from '../../src/wire/index.ts'
import { isHolderFault } from '../fetch/share-asker.ts'

// Specification constant.
/** Holders that must have answered, with a right record or with none, before one is taken. In a smaller network all of them. */
export const RECORD_ANSWERS_MIN = 3

// Implementation constants.
const ASKS_MAX = 8
/** Nodes asked besides those where the copies are placed: the publisher's view may have been another. */
const ASKS_BEYOND = 16
const ASK_TIMEOUT_MS = 15_000
/** Of a record with what goes with it, about. */
const RECORD_BYTES = 4096

export interface RecordSearch {
  readonly network: RecordNetwork
  readonly ranking: Ranking
  readonly health: HolderHealth
  readonly clock: Clock
  readonly rng: Rng
  readonly signal: AbortSignal
  readonly trace?: WorkTrace | undefined
}

/** `none`: holders said so. `silent`: none answered. `bad`: there were records, none was right. `stale`: all below `floor`. */
export type SearchResult =
  | { readonly kind: 'found'; readonly record: KeyRecord }
  | { readonly kind: 'none' | 'silent' | 'bad' | 'stale' }

/** The nodes to ask, each once: where the copies are placed, shuffled; then by rank. */
function nodesOf(publicKey: Uint8Array, ranking: Ranking, rng: Rng): NodeId[] {
  const holders = ranking.nodes.length
  const places = Array.from({ length: Math.min(holders, recordCopies(holders)) }, (_, copy) => recordPlace(publicKey, copy))
  const nodes = new Set(shuffled(ranking.place(places), rng))
  const wanted = Math.min(holders, nodes.size + ASKS_BEYOND)
  const orders = places.map((place) => ranking.order(place))
  for (let rank = 0; nodes.size < wanted; rank++) {
    for (const order of orders) if (nodes.size < wanted) nodes.add(order[rank]!)
  }
  return [...nodes]
}

/**
 * The record under `publicKey`, the blinded key of `where`. `floor`: the highest sequence of this address seen before. Rejects with the
 * signal's reason, or with an error that is no holder's fault.
 */
export async function searchRecord(
  where: RecordPeriod,
  publicKey: Uint8Array,
  floor: number,
  search: RecordSearch,
): Promise<SearchResult> {
  const { network, ranking, health, clock, rng, signal, trace } = search
  const nodes = nodesOf(publicKey, ranking, rng)
  const enough = Math.min(RECORD_ANSWERS_MIN, nodes.length)
  const ended = Promise.withResolvers<SearchResult>()
  const ending = new AbortController()
  const both = AbortSignal.any([signal, ending.signal])
  let best: KeyRecord | null = null
  let answers = 0
  let underWay = 0
  let parallel = enough
  let sawBad = false

  const onAnswer = (record: KeyRecord | null) => {
    answers++
    if (record !== null && (best === null || record.sequence > best.sequence)) best = record
    if (best !== null && best.sequence >= floor && answers >= enough) ended.resolve({ kind: 'found', record: best })
    // Nothing there, or less than was there before: look wider.
    if (record === null || record.sequence < floor) parallel = Math.min(ASKS_MAX, parallel + 1)
  }
  const askOne = async (node: NodeId): Promise<void> => {
    if (network.ready !== undefined) await network.ready(node, RECORD_BYTES, { signal: both }).catch(() => {}) // the ask says what is wrong
    if (both.aborted) return
    const deadline = clock.deadline(ASK_TIMEOUT_MS, both)
    const startedMs = clock.monotonicMs()
    const patience = clock.setTimer(health.patienceMs, () => {
      health.failed(node)
      parallel = Math.min(ASKS_MAX, parallel + 1)
      goOn()
    })
    try {
      const signed = await network.getRecord(node, publicKey, { signal: deadline.signal, trace })
      if (both.aborted) return
      const record = signed === null ? null : openKeyRecord(where, publicKey, signed, clock.unixMs())
      if (signed !== null && record === null) {
        sawBad = true
        health.failed(node)
        parallel = Math.min(ASKS_MAX, parallel + 1)
        return
      }
      health.answered(node, clock.monotonicMs() - startedMs)
      onAnswer(record)
    } catch (error) {
      if (both.aborted) return
      if (!isHolderFault(error)) throw error
      health.failed(node)
      parallel = Math.min(ASKS_MAX, parallel + 1)
    } finally {
      patience.cancel()
      deadline.clear()
    }
  }
  const goOn = () => {
    if (both.aborted) return
    while (underWay < parallel && nodes.length > 0) {
      const next = soonest(
        nodes,
        (node) => node,
        health,
        (other) => network.near?.(other) ?? true,
      )
      const node = nodes.splice(next, 1)[0]!
      underWay++
      askOne(node)
        .catch((error: unknown) => ended.reject(error))
        .finally(() => {
          underWay--
          goOn()
        })
    }
    if (underWay === 0) ended.resolve(outcome(best, floor, answers, sawBad))
  }

  const onAbort = () => ended.reject(signal.reason)
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    signal.throwIfAborted()
    goOn()
    return await ended.promise
  } finally {
    signal.removeEventListener('abort', onAbort)
    ending.abort()
  }
}

/** When nobody is left to ask: fewer answers than wanted are taken then, or a few dead holders could hide a record. */
function outcome(best: KeyRecord | null, floor: number, answers: number, sawBad: boolean): SearchResult {
  if (best !== null) return best.sequence >= floor ? { kind: 'found', record: best } : { kind: 'stale' }
  if (sawBad) return { kind: 'bad' }
  return { kind: answers > 0 ? 'none' : 'silent' }
}
