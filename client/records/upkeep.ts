/**
 * What is kept up for one key: the record's state, its form on disk, and which periods it must be published in when. No clock, no network, no
 * disk: `publisher.ts` drives it. Spec: SPEC.md §10.5.
 */
import { concat, le64, readU32 } from '../../src/bytes/index.ts'
import { periodAt, periodStartMs, RECORD_GRACE_MS } from '../../src/content/record.ts'
import { encodeKeyRecord, KEY_SEQUENCE_MAX, type KeyRecord, parseKeyRecord } from '../../src/wire/index.ts'
import type { RecordParts } from './records.ts'

// Specification constants.
/** A key's sequence is at least the time in these. */
const SEQUENCE_STEP_MS = 64_000
/** Periods that a record is published for besides the current one: a site's content lives longer than a week, and nobody else can sign. */
const AHEAD_SITE = 4
const AHEAD_SERVICE = 1

/** What is on disk for a key. */
export interface SavedRecord {
  /** What was stated last. Its service part may be one of an earlier run. */
  readonly record: KeyRecord
  /** The last period in which something was published, or was about to be. */
  readonly lastPeriod: number
  /** Whether enough holders have it in every period up to that one: then a restart has nothing to do. */
  readonly settled: boolean
}

const PERIOD_BYTES = 7
const HEAD_BYTES = PERIOD_BYTES + 1

/** Last period (7 bytes) ‖ settled (1) ‖ KeyRecord. */
export function encodeSavedRecord({ record, lastPeriod, settled }: SavedRecord): Uint8Array {
  const head = concat(le64(lastPeriod).subarray(0, PERIOD_BYTES), Uint8Array.of(settled ? 1 : 0))
  return concat(head, encodeKeyRecord(record))
}

export function parseSavedRecord(bytes: Uint8Array): SavedRecord | null {
  if (bytes.length < HEAD_BYTES) return null
  const lastPeriod = readU32(bytes, 0) + (readU32(bytes, 4) % 2 ** 24) * 2 ** 32
  const record = parseKeyRecord(bytes.subarray(HEAD_BYTES))
  return record !== null && Number.isSafeInteger(lastPeriod) ? { record, lastPeriod, settled: bytes[PERIOD_BYTES] === 1 } : null
}

/**
 * `before` with `parts` in place of its own. The sequence grows if anything changed, and then at least to the time in steps of 64 s: also a key
 * whose state was lost or restored from an old backup goes on above all that it ever said, if it did not change more often than that. Finer
 * steps would tell holders, who see the distance between two changes, more than the times of publications do.
 */
export function changed(before: KeyRecord | null, parts: RecordParts, nowMs: number): KeyRecord {
  const { site = before?.site ?? null, service = before?.service ?? null } = parts
  const sequence = before?.sequence ?? 0
  if (before !== null && sameBytes({ sequence, site, service }, before)) return before
  const least = Math.floor(nowMs / SEQUENCE_STEP_MS)
  return { sequence: Math.min(KEY_SEQUENCE_MAX, Math.max(sequence + 1, least)), site, service }
}

function sameBytes(a: KeyRecord, b: KeyRecord): boolean {
  return Buffer.from(encodeKeyRecord(a)).equals(encodeKeyRecord(b))
}

/** The periods in which `record` must be published at a time: that of now, that of clocks that are late, and those ahead. */
export function periodsOf(key: Uint8Array, record: KeyRecord, lastPeriod: number, nowMs: number): readonly number[] {
  const current = periodAt(key, nowMs)
  const first = periodAt(key, nowMs - RECORD_GRACE_MS)
  const ahead = record.site !== null ? AHEAD_SITE : record.service !== null ? AHEAD_SERVICE : 0
  // What was said further ahead before must be said anew there too. A clock that was wrong must not make this long.
  const last = Math.min(current + AHEAD_SITE, Math.max(current + ahead, lastPeriod))
  return Array.from({ length: last - first + 1 }, (_, at) => first + at)
}

/** Whether the next period begins so soon that its record cannot wait. */
export function isNextSoon(key: Uint8Array, nowMs: number): boolean {
  return periodStartMs(key, periodAt(key, nowMs) + 1) - nowMs < NEXT_SOON_MS
}

/** Implementation constant. */
const NEXT_SOON_MS = 3_600_000
