/**
 * Finds what a key's owner says now: looks in the period of now and, around a boundary, in the one beside it; refuses what is older than this
 * node saw before; joins looks for the same key under one isolation; remembers what was found for a moment. Spec: SPEC.md §10.6.
 *
 * Limits: `SEARCHES_MAX` looks at once, further ones are refused; `REMEMBERED_MAX` records remembered, the oldest goes. What is remembered
 * says what this node's user reads: it is forgotten by a timer, in memory only.
 */

import type { MonotonicMs } from '../../src/bytes/index.ts'
import { toHex } from '../../src/bytes/index.ts'
import { HOLDERS_MIN } from '../../src/content/constants.ts'
import { HolderHealth, type Patience } from '../../src/content/holder-health.ts'
import { Ranking } from '../../src/content/placement.ts'
import { blindAddress, periodAt, periodStartMs, RECORD_GRACE_MS } from '../../src/content/record.ts'
import type { RecordNetwork } from '../../src/content/record-network.ts'
import { OverlayError } from '../../src/errors/index.ts'
import type { Clock, Rng, Timer } from '../../src/runtime/index.ts'
import { type FoundRecord, RECORD_CACHE_MS, type RecordAsking, type RecordFinder } from './records.ts'
import { type SearchResult, searchRecord } from './search.ts'
import type { SeenRecords } from './seen.ts'

// Implementation constants.
const SEARCHES_MAX = 64
const REMEMBERED_MAX = 256

export interface FinderDeps {
  /** The network as the looks for one key under one isolation see it: loops are shared with nothing else. */
  network(key: Uint8Array, isolation: string): RecordNetwork
  /** 32 bytes: the network's id. */
  readonly networkId: Uint8Array
  readonly seen: SeenRecords
  /** How long the network's answers may take, if it has its own. */
  readonly patience?: Patience | undefined
  readonly clock: Clock
  readonly rng: Rng
}

/** A look under way, and who waits for it. */
interface Joint {
  readonly result: Promise<FoundRecord>
  readonly stop: AbortController
  waiting: number
}

interface Remembered {
  readonly found: FoundRecord
  /** When the look began: what was published since is not in it. */
  readonly atMs: MonotonicMs
}

export class HolderRecordFinder implements RecordFinder {
  readonly #deps: FinderDeps
  /** About nodes, not about whose work it is. */
  readonly #health: HolderHealth
  readonly #joints = new Map<string, Joint>()
  readonly #remembered = new Map<string, Remembered>()
  readonly #stop = new AbortController()
  #timer: Timer | null = null

  constructor(deps: FinderDeps) {
    this.#deps = deps
    this.#health = new HolderHealth(deps.clock, undefined, deps.patience)
  }

  async find(key: Uint8Array, asking: RecordAsking): Promise<FoundRecord> {
    const { signal, isolation = '', maxAgeMs = 0, trace } = asking
    signal.throwIfAborted()
    const name = `${toHex(key)} ${isolation}`
    this.#forget()
    const known = this.#remembered.get(name)
    if (known !== undefined && this.#deps.clock.monotonicMs() - known.atMs < Math.min(maxAgeMs, RECORD_CACHE_MS))
      return known.found
    const end = trace?.stage('record')
    try {
      const found = await this.#join(name, key, asking)
      end?.()
      return found
    } catch (error) {
      end?.({ note: error instanceof OverlayError ? error.message : 'it was given up', failed: true })
      throw error
    }
  }

  /** Ends looks under way and forgets what was found. Idempotent. */
  close(): void {
    this.#stop.abort(new OverlayError('unreachable', 'NODE_NOT_READY', 'The node is stopping.'))
    this.#timer?.cancel()
    this.#remembered.clear()
  }

  /** The result of the look for `name` that is under way, or of a new one, which ends when nobody waits for it any more. */
  async #join(name: string, key: Uint8Array, asking: RecordAsking): Promise<FoundRecord> {
    const joint = this.#joints.get(name) ?? this.#begin(name, key, asking)
    const { promise: aborted, reject } = Promise.withResolvers<never>()
    const onAbort = () => reject(asking.signal.reason)
    asking.signal.addEventListener('abort', onAbort, { once: true })
    joint.waiting++
    try {
      return await Promise.race([joint.result, aborted])
    } finally {
      asking.signal.removeEventListener('abort', onAbort)
      aborted.catch(() => {})
      if (--joint.waiting === 0) {
        if (this.#joints.get(name) === joint) this.#joints.delete(name)
        joint.stop.abort()
      }
    }
  }

  #begin(name: string, key: Uint8Array, asking: RecordAsking): Joint {
    if (this.#joints.size >= SEARCHES_MAX)
      throw new OverlayError('overload', 'LOOP_LIMIT', 'Too many records are looked for at once.')
    const stop = new AbortController()
    const startedMs = this.#deps.clock.monotonicMs()
    const result = this.#look(key, asking, AbortSignal.any([stop.signal, this.#stop.signal])).then((found) => {
      this.#remember(name, { found, atMs: startedMs })
      return found
    })
    result.catch(() => {}) // who waits hears of it
    const joint: Joint = { result, stop, waiting: 0 }
    this.#joints.set(name, joint)
    return joint
  }

  async #look(key: Uint8Array, { isolation = '', trace }: RecordAsking, signal: AbortSignal): Promise<FoundRecord> {
    const { clock, rng, seen, networkId } = this.#deps
    const network = this.#deps.network(key, isolation)
    const now = clock.unixMs()
    const period = periodAt(key, now)
    const ranking = new Ranking(network.holders())
    if (ranking.nodes.length < HOLDERS_MIN) {
      const text = `Nodes known: ${ranking.nodes.length}; looking up a record needs ${HOLDERS_MIN}.`
      throw new OverlayError('unreachable', 'NETWORK_TOO_SMALL', text)
    }
    const parts = { network, ranking, health: this.#health, clock, rng, signal, trace }
    let worst: SearchResult['kind'] = 'silent'
    for (const at of [period, ...besides(key, period, now)]) {
      const blinded = await blindAddress(key, networkId, at)
      if (blinded === null)
        throw new OverlayError('protocol', 'ADDRESS_BAD', 'The address is no key that records can be signed with.')
      const result = await searchRecord({ key, network: networkId, period: at }, blinded, seen.highest(key, isolation), parts)
      if (result.kind === 'found') {
        seen.note(key, isolation, result.record.sequence)
        return { record: result.record, blinded, period: at }
      }
      if (GRAVITY.indexOf(result.kind) > GRAVITY.indexOf(worst)) worst = result.kind
    }
    throw failure(worst)
  }

  #remember(name: string, found: Remembered): void {
    if (this.#stop.signal.aborted) return
    this.#remembered.delete(name)
    this.#remembered.set(name, found)
    if (this.#remembered.size > REMEMBERED_MAX) this.#remembered.delete(this.#remembered.keys().next().value!)
    this.#schedule()
  }

  #forget(): void {
    const before = this.#deps.clock.monotonicMs() - RECORD_CACHE_MS
    for (const [name, { atMs }] of this.#remembered) if (atMs < before) this.#remembered.delete(name)
  }

  #schedule(): void {
    this.#timer ??= this.#deps.clock.setTimer(RECORD_CACHE_MS + 1, () => {
      this.#timer = null
      this.#forget()
      if (this.#remembered.size > 0) this.#schedule()
    })
  }
}

/** The period beside `period` that a clock off by a grace would be in. */
function besides(key: Uint8Array, period: number, nowMs: number): number[] {
  if (nowMs - periodStartMs(key, period) < RECORD_GRACE_MS) return [period - 1]
  return periodStartMs(key, period + 1) - nowMs < RECORD_GRACE_MS ? [period + 1] : []
}

/** What says more of why nothing was found, last. */
const GRAVITY: readonly SearchResult['kind'][] = ['silent', 'none', 'bad', 'stale']

function failure(kind: SearchResult['kind']): OverlayError {
  switch (kind) {
    case 'stale':
      return new OverlayError('integrity', 'RECORD_STALE', 'Holders gave only records older than one that was seen before.')
    case 'bad':
      return new OverlayError('integrity', 'RECORD_DAMAGED', 'Holders had records for this address, and none of them was right.')
    case 'silent':
      return new OverlayError('unreachable', 'RECORD_NOT_FOUND', 'None of the nodes that should have the record could be asked.')
    default:
      return new OverlayError('not-found', 'RECORD_NOT_FOUND', 'No holder has a current record of this address.')
  }
}
