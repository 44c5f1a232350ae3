/**
 * The records as a hop's service: one request's bytes in, one status and reply out. It owns which statuses answer what, and how much work
 * may be under way at once; `holder.ts` owns what is kept. It cannot know who asks and does not try. Never rejects. Spec: SPEC.md §10.5.
 */
import { encodeRecordReply, type HopStatus, parseRecordRequest, type SignedRecord } from '../../src/wire/index.ts'
import type { RecordHolder, RecordVerdict } from './holder.ts'

// Implementation constants. At a limit the newest request is answered `busy`; the origin turns to another holder.
export interface RecordServiceLimits {
  readonly puts: number
  readonly gets: number
}
export const RECORD_SERVICE_LIMITS: RecordServiceLimits = Object.freeze({ puts: 32, gets: 64 })

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

/** Answers `RecordRequest`s from `holder`. `request` is borrowed until the promise settles. */
export function recordService(
  holder: RecordHolder,
  limits: RecordServiceLimits = RECORD_SERVICE_LIMITS,
): (request: Uint8Array) => Promise<RecordAnswer> {
  let puts = 0
  let gets = 0
  return async (bytes) => {
    const request = parseRecordRequest(bytes)
    if (request === null) return answer('bad-request')
    if (request.kind === 'put') {
      if (puts >= limits.puts) return answer('busy')
      puts++
      try {
        return answer(STATUS_OF[await holder.put(request.record)])
      } finally {
        puts--
      }
    }
    if (gets >= limits.gets) return answer('busy')
    gets++
    try {
      const record = await holder.get(request.publicKey)
      return record === null ? answer('not-found') : answer('ok', record)
    } finally {
      gets--
    }
  }
}

function answer(status: HopStatus, record?: SignedRecord): RecordAnswer {
  return { status, body: record === undefined ? new Uint8Array(0) : encodeRecordReply(record) }
}
