/**
 * The records as a hop's service: one request's bytes in, one status and reply out. It owns which statuses answer what, and how much work
 * may be under way at once; `holder.ts` owns what is kept. It cannot know who asks and does not try. Never rejects. Spec: SPEC.md §10.5.
 */
import type { NodeId } from '../../src/bytes/index.ts'
import { hasPutWork } from '../../src/content/put-work.ts'
import type { Clock } from '../../src/runtime/index.ts'
import { encodeRecordReply, type HopStatus, parseRecordRequest, type SignedRecord } from '../../src/wire/index.ts'
import { type Claimant, FairShare } from '../fair-share.ts'
import type { RecordHolder, RecordVerdict } from './holder.ts'

// Implementation constants. At a limit the newest request is answered `busy`; the origin turns to another holder. Requests that come in by one
// link have no more of it than is left for all others (`../fair-share.ts`).
export interface RecordServiceLimits {
  readonly puts: number
  readonly gets: number
}
export const RECORD_SERVICE_LIMITS: RecordServiceLimits = Object.freeze({ puts: 64, gets: 128 })

export interface RecordAnswer {
  readonly status: HopStatus
  /** A `RecordReply`; empty unless a record was asked for and found. */
  readonly body: Uint8Array
}

const STATUS_OF: Readonly<Record<RecordVerdict, HopStatus>> = {
  stored: 'ok',
  already: 'ok',
  older: 'refused',
  full: 'refused',
  bad: 'bad-request',
}

/** The work that is asked for with a put: as much as the store asks for. */
export interface RecordWork {
  readonly self: NodeId
  readonly effort: { readonly asked: number; recorded(): void }
  readonly clock: Pick<Clock, 'unixMs'>
}

/** Answers `RecordRequest`s from `holder`. `request` is borrowed until the promise settles. */
export function recordService(
  holder: RecordHolder,
  limits: RecordServiceLimits = RECORD_SERVICE_LIMITS,
  /** What puts of strangers must bring. Absent: nothing. */
  work?: RecordWork,
): (request: Uint8Array, call?: { readonly claimant?: Claimant }) => Promise<RecordAnswer> {
  const puts = new FairShare({ total: limits.puts })
  const gets = new FairShare({ total: limits.gets })
  return async (bytes, call) => {
    const claimant = call?.claimant ?? null
    const request = parseRecordRequest(bytes)
    if (request === null) return answer('bad-request')
    if (call !== undefined && work !== undefined && request.kind === 'put' && work.effort.asked > 0) {
      const target = { node: work.self, key: request.record.publicKey }
      if (!hasPutWork(target, request.work, work.effort.asked, work.clock.unixMs())) return answer('refused')
    }
    const underWay = request.kind === 'put' ? puts : gets
    if (!underWay.take(claimant)) return answer('busy')
    try {
      if (request.kind === 'put') {
        const verdict = await holder.put(request.record)
        if (verdict === 'stored') work?.effort.recorded()
        return answer(STATUS_OF[verdict])
      }
      const record = await holder.get(request.publicKey)
      return record === null ? answer('not-found') : answer('ok', record)
    } finally {
      underWay.give(claimant)
    }
  }
}

function answer(status: HopStatus, record?: SignedRecord): RecordAnswer {
  return { status, body: record === undefined ? new Uint8Array(0) : encodeRecordReply(record) }
}
