/**
 * Keeps the records of a key that somebody else owns where they should be. Only the owner can sign a record; but what he has signed, for the
 * period of now and those ahead, anybody who knows the address can put back at its holders, as it is. When the owner is gone for good, the key's
 * records end with the last period that he signed for; what they named stays at its own address. Spec: SPEC.md §7.8, §10.5.
 */
import type { NodeId } from '../../src/bytes/index.ts'
import { HOLDERS_MIN } from '../../src/content/constants.ts'
import { HolderHealth } from '../../src/content/holder-health.ts'
import { openKeyRecord } from '../../src/content/key-record.ts'
import { Ranking } from '../../src/content/placement.ts'
import { blindAddress, periodAt, recordCopies, recordPlace } from '../../src/content/record.ts'
import type { RecordNetwork } from '../../src/content/record-network.ts'
import { type Clock, type Rng, shuffled } from '../../src/runtime/index.ts'
import type { SignedRecord } from '../../src/wire/index.ts'
import { isHolderFault } from '../fetch/share-asker.ts'
import { ParcelSender } from '../publish/parcels.ts'

// Implementation constants.
/** Periods besides that of now: as far ahead as sites are published (§10.5). */
const PERIODS_AHEAD = 4
/** Nodes asked besides those where the copies belong. */
const ASKS_BEYOND = 4
const ASK_TIMEOUT_MS = 15_000
/** What a record takes on a loop. */
const RECORD_BYTES = 4096

export interface RecordCareParts {
  /** A network over loops that nothing else uses; closed afterwards. */
  fresh(): RecordNetwork & { close(): void }
  readonly networkId: Uint8Array
  readonly clock: Clock
  readonly rng: Rng
}

/**
 * Puts the newest right record of each period back where it is missing or older. `pause` is waited for between periods, which holders are not to
 * put together. Returns how many copies were put back. Never rejects but with the signal's reason, or for a fault of the program.
 */
export async function careForRecords(
  key: Uint8Array,
  parts: RecordCareParts,
  { signal, pause }: { readonly signal: AbortSignal; readonly pause: () => Promise<void> },
): Promise<number> {
  const first = periodAt(key, parts.clock.unixMs())
  let put = 0
  for (let ahead = 0; ahead <= PERIODS_AHEAD; ahead++) {
    if (ahead > 0) await pause()
    signal.throwIfAborted()
    put += await careForPeriod(key, first + ahead, parts, signal)
  }
  return put
}

async function careForPeriod(key: Uint8Array, period: number, parts: RecordCareParts, signal: AbortSignal): Promise<number> {
  const { networkId, clock, rng } = parts
  const publicKey = await blindAddress(key, networkId, period)
  if (publicKey === null) return 0
  const network = parts.fresh()
  try {
    const ranking = new Ranking(network.holders())
    const holders = ranking.nodes.length
    if (holders < HOLDERS_MIN) return 0
    const places = Array.from({ length: Math.min(holders, recordCopies(holders)) }, (_, copy) => recordPlace(publicKey, copy))
    const placed = ranking.place(places)
    const others = ranking.order(places[0]!).filter((node) => !placed.includes(node))
    const health = new HolderHealth(clock, undefined, network.patience)
    const found = new Map<NodeId, { readonly record: SignedRecord; readonly sequence: number }>()
    for (const node of [...shuffled([...new Set(placed)], rng), ...others.slice(0, ASKS_BEYOND)]) {
      const record = await ask(network, node, publicKey, health, clock, signal)
      const opened =
        record === null ? null : openKeyRecord({ key, network: networkId, period }, publicKey, record, clock.unixMs())
      if (record !== null && opened !== null) found.set(node, { record, sequence: opened.sequence })
    }
    const newest = [...found.values()].reduce<{ record: SignedRecord; sequence: number } | null>(
      (best, one) => (best === null || one.sequence > best.sequence ? one : best),
      null,
    )
    if (newest === null) return 0
    const parcels = places.map((place) => ({
      place,
      ready: (node: NodeId, waiting: AbortSignal) => network.ready?.(node, RECORD_BYTES, { signal: waiting }),
      put: (node: NodeId, waiting: AbortSignal) => network.putRecord(node, newest.record, { signal: waiting }),
    }))
    const held = placed.map((node) => (found.get(node)?.sequence === newest.sequence ? node : null))
    if (!held.includes(null)) return 0
    const now = await new ParcelSender({ network: { self: network.self }, ranking, health, rng, clock, signal }).mend(
      parcels,
      held,
    )
    return now.filter((node, at) => node !== null && held[at] === null).length
  } finally {
    network.close()
  }
}

/** The node's record, not verified; `null` if it has none or does not answer. */
async function ask(
  network: RecordNetwork,
  node: NodeId,
  publicKey: Uint8Array,
  health: HolderHealth,
  clock: Clock,
  signal: AbortSignal,
): Promise<SignedRecord | null> {
  await network.ready?.(node, RECORD_BYTES, { signal }).catch(() => {}) // the ask says what is wrong
  const deadline = clock.deadline(Math.max(ASK_TIMEOUT_MS, 2 * (network.patience?.maxMs ?? 0)), signal)
  try {
    return await network.getRecord(node, publicKey, deadline)
  } catch (error) {
    signal.throwIfAborted()
    if (!isHolderFault(error)) throw error
    health.failed(node)
    return null
  } finally {
    deadline.clear()
  }
}
