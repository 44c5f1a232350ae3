/**
 * The store as a hop's service: one request's bytes in, one status and reply out. It owns which statuses answer what, and how much work
 * may be under way at once; `store.ts` owns what is kept. It cannot know who asks and does not try: nothing is logged or counted per
 * request. Never rejects. Spec: SPEC.md §7.1.
 */
import type { Pieces, UnixMs } from '../../src/bytes/index.ts'
import type { Clock } from '../../src/runtime/index.ts'
import { type HopStatus, parseStoreRequest, type StoreReply, type StoreRequest, storeReplyPieces } from '../../src/wire/index.ts'
import { KEEP_MS_MAX, type PutVerdict, type ShareStore } from './store.ts'

// Specification constants.
/** What `keep_hours` 0 means: 30 days. */
export const KEEP_HOURS_DEFAULT = 720
const HOUR_MS = 3_600_000

// Implementation constants. At a limit the newest request is answered `busy`; the origin turns to another holder or waits.
export interface StoreServiceLimits {
  readonly puts: number
  readonly gets: number
}
/** 128 requests hold at most about 17 MiB. */
export const STORE_SERVICE_LIMITS: StoreServiceLimits = Object.freeze({ puts: 64, gets: 64 })

export interface StoreAnswer {
  readonly status: HopStatus
  /** A `StoreReply`; empty unless something was asked for and found. */
  readonly body: Pieces
}

const NOTHING = new Uint8Array(0)

const STATUS_OF: Readonly<Record<PutVerdict, HopStatus>> = {
  stored: 'ok',
  already: 'ok',
  full: 'refused',
  bad: 'bad-request',
}

/** Answers `StoreRequest`s from `store`. `request` is borrowed until the promise settles. */
export function storeService(
  store: ShareStore,
  { clock, limits = STORE_SERVICE_LIMITS }: { readonly clock: Clock; readonly limits?: StoreServiceLimits },
): (request: Uint8Array) => Promise<StoreAnswer> {
  let puts = 0
  let gets = 0
  return async (bytes) => {
    // Refuse before parsing: parsing copies up to 64 KiB.
    if (puts >= limits.puts && gets >= limits.gets) return answer('busy')
    const request = parseStoreRequest(bytes)
    if (request === null) return answer('bad-request')
    const isPut = request.kind === 'put-share' || request.kind === 'put-slot'
    if (isPut ? puts >= limits.puts : gets >= limits.gets) return answer('busy')
    if (isPut) puts++
    else gets++
    try {
      return await serve(store, clock, request)
    } finally {
      if (isPut) puts--
      else gets--
    }
  }
}

async function serve(store: ShareStore, clock: Clock, request: StoreRequest): Promise<StoreAnswer> {
  switch (request.kind) {
    case 'put-share':
      return answer(STATUS_OF[await store.putShare(request.share, keepUntil(clock, request.keepHours))])
    case 'put-slot':
      return answer(STATUS_OF[await store.putSlot(request, keepUntil(clock, request.keepHours))])
    case 'get-share': {
      const share = await store.getShare(request.address)
      return share === null ? answer('not-found') : answer('ok', { share, slots: [] })
    }
    case 'get-slot': {
      const slots = await store.getSlots(request.location)
      return slots.length === 0 ? answer('not-found') : answer('ok', { share: null, slots })
    }
  }
}

function answer(status: HopStatus, reply?: StoreReply): StoreAnswer {
  return { status, body: reply === undefined ? NOTHING : storeReplyPieces(reply) }
}

function keepUntil(clock: Clock, keepHours: number): UnixMs {
  const ms = Math.min((keepHours === 0 ? KEEP_HOURS_DEFAULT : keepHours) * HOUR_MS, KEEP_MS_MAX)
  return (clock.unixMs() + ms) as UnixMs
}
