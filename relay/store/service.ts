/**
 * The store as a hop's service: one request's bytes in, one status and reply out. It owns which statuses answer what, and how much work
 * may be under way at once, in all and for who comes by one link; `store.ts` owns what is kept. It cannot know who asks and does not try: nothing is logged or counted per
 * request. Never rejects. Spec: SPEC.md §7.1.
 */
import { equalPublic, type NodeId, type Pieces, type UnixMs } from '../../src/bytes/index.ts'
import { shareProof, slotProof, slotValueHash } from '../../src/content/proof.ts'
import { hasPutWork } from '../../src/content/put-work.ts'
import { shareAddress } from '../../src/content/share.ts'
import { slotLocation } from '../../src/content/slot.ts'
import type { Clock } from '../../src/runtime/index.ts'
import { type HopStatus, parseStoreRequest, type StoreReply, type StoreRequest, storeReplyPieces } from '../../src/wire/index.ts'
import { type Claimant, FairShare } from '../fair-share.ts'
import type { PutEffort } from './effort.ts'
import { KEEP_MS_MAX, type PutVerdict, type ShareStore, SLOT_PLACE_BYTES } from './store.ts'

// Specification constants.
/** What `keep_hours` 0 means: 30 days. */
export const KEEP_HOURS_DEFAULT = 720
const HOUR_MS = 3_600_000

// Implementation constants. At a limit the newest request is answered `busy`; the origin turns to another holder or waits. Requests that come in
// by one link have no more of it than is left for all others (`../fair-share.ts`).
export interface StoreServiceLimits {
  readonly puts: number
  readonly gets: number
  /** A check costs as much as a get and its origin next to nothing, so that fewer are taken at once. */
  readonly checks: number
}
/** 288 requests hold at most about 38 MiB. */
export const STORE_SERVICE_LIMITS: StoreServiceLimits = Object.freeze({ puts: 128, gets: 128, checks: 32 })

export interface StoreAnswer {
  readonly status: HopStatus
  /** A `StoreReply`; empty unless something was asked for or checked, and found. */
  readonly body: Pieces
}

const NOTHING = new Uint8Array(0)

const STATUS_OF: Readonly<Record<PutVerdict, HopStatus>> = {
  stored: 'ok',
  already: 'ok',
  full: 'refused',
  bad: 'bad-request',
}

/** What puts of strangers must bring. */
export interface AskedWork {
  readonly self: NodeId
  readonly effort: Pick<PutEffort, 'asked' | 'stored'>
}

export interface StoreServiceOptions {
  readonly clock: Clock
  readonly limits?: StoreServiceLimits
  /** Absent: none. */
  readonly work?: AskedWork
}

/** Answers `StoreRequest`s from `store`. `request` is borrowed until the promise settles. */
export function storeService(
  store: ShareStore,
  { clock, limits = STORE_SERVICE_LIMITS, work }: StoreServiceOptions,
): (request: Uint8Array, call?: { readonly claimant?: Claimant }) => Promise<StoreAnswer> {
  const underWay = {
    puts: new FairShare({ total: limits.puts }),
    gets: new FairShare({ total: limits.gets }),
    checks: new FairShare({ total: limits.checks }),
  }
  return async (bytes, call) => {
    const claimant = call?.claimant ?? null
    // Refuse before parsing: parsing copies up to 64 KiB.
    if (KINDS.every((kind) => !underWay[kind].fits(1))) return answer('busy')
    const request = parseStoreRequest(bytes)
    if (request === null) return answer('bad-request')
    const kind = KIND_OF[request.kind]
    // This node's own puts come without a call.
    if (call !== undefined && work !== undefined && !brings(request, work, clock)) return answer('refused')
    if (!underWay[kind].take(claimant)) return answer('busy')
    try {
      return await serve(store, clock, request, work?.effort)
    } finally {
      underWay[kind].give(claimant)
    }
  }
}

const KINDS = ['puts', 'gets', 'checks'] as const
const KIND_OF = {
  'put-share': 'puts',
  'put-slot': 'puts',
  'get-share': 'gets',
  'get-slot': 'gets',
  'check-share': 'checks',
  'check-slot': 'checks',
} as const satisfies Record<StoreRequest['kind'], keyof StoreServiceLimits>

/** Whether a put has the work that is asked for now; what is no put needs none. */
function brings(request: StoreRequest, { self, effort }: AskedWork, clock: Clock): boolean {
  const bits = effort.asked
  if (bits === 0) return true
  if (request.kind === 'put-share')
    return hasPutWork({ node: self, key: shareAddress(request.share) }, request.work, bits, clock.unixMs())
  if (request.kind !== 'put-slot') return true
  return hasPutWork({ node: self, key: slotLocation(request.publicKey, request.slot) }, request.work, bits, clock.unixMs())
}

async function serve(
  store: ShareStore,
  clock: Clock,
  request: StoreRequest,
  effort: AskedWork['effort'] | undefined,
): Promise<StoreAnswer> {
  switch (request.kind) {
    case 'put-share': {
      const verdict = await store.putShare(request.share, keepUntil(clock, request.keepHours))
      if (verdict === 'stored') effort?.stored()
      return answer(STATUS_OF[verdict])
    }
    case 'put-slot': {
      const verdict = await store.putSlot(request, keepUntil(clock, request.keepHours))
      if (verdict === 'stored') effort?.stored(SLOT_PLACE_BYTES)
      return answer(STATUS_OF[verdict])
    }
    case 'get-share': {
      const share = await store.getShare(request.address)
      return share === null ? answer('not-found') : answer('ok', { share, slots: [] })
    }
    case 'get-slot': {
      const slots = await store.getSlots(request.location)
      return slots.length === 0 ? answer('not-found') : answer('ok', { share: null, slots })
    }
    case 'check-share': {
      const share = await store.getShare(request.address)
      if (share === null) return answer('not-found')
      return proven(
        shareProof(request.nonce, share),
        () => store.putShare(share, keepUntil(clock, request.keepHours)),
        request.keepHours,
      )
    }
    case 'check-slot': {
      const slots = await store.getSlots(request.location)
      const slot = slots.find(({ value }) => equalPublic(slotValueHash(value), request.valueHash))
      if (slot === undefined) return answer('not-found')
      return proven(
        slotProof(request.nonce, slot.value),
        () => store.putSlot(slot, keepUntil(clock, request.keepHours)),
        request.keepHours,
      )
    }
  }
}

/** `proof`, once what it is of is kept on as long as was asked. `keepOn` puts what is there already, which makes it stay until the later time. */
async function proven(proof: Uint8Array, keepOn: () => Promise<PutVerdict>, keepHours: number): Promise<StoreAnswer> {
  const status = keepHours === 0 ? 'ok' : STATUS_OF[await keepOn()]
  return status === 'ok' ? answer(status, { share: null, slots: [], proof }) : answer(status)
}

function answer(status: HopStatus, reply?: StoreReply): StoreAnswer {
  return { status, body: reply === undefined ? NOTHING : storeReplyPieces(reply) }
}

function keepUntil(clock: Clock, keepHours: number): UnixMs {
  const ms = Math.min((keepHours === 0 ? KEEP_HOURS_DEFAULT : keepHours) * HOUR_MS, KEEP_MS_MAX)
  return (clock.unixMs() + ms) as UnixMs
}
