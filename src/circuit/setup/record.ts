/**
 * The body of a set-up record: bytes to value and back, nothing else. Whether a hop admits what the body says is decided in `plan.ts`.
 * The decoder is total; bytes that must be zero and clocks and slots that do not exist give `null`, so that each accepted body has
 * exactly one encoding. Spec: SPEC.md §4.3.
 *
 *   next 32 ‖ flags u8 (0) ‖ clock u8 ‖ rate u8 ‖ slot u8 ‖ issued u32 ‖ open u32 ‖ live u32 ‖ close u32 ‖ hold_ms u16 ‖ zero u16 ‖
 *   work 16 ‖ random 16
 */
import { type NodeId, nodeIdBytes, nodeIdOf, readU16, readU32, writeU16, writeU32 } from '../../bytes/index.ts'
import { RECORD_BODY_BYTES, RECORDS } from './constants.ts'

const FLAGS_AT = 32
const CLOCK_AT = 33
const RATE_AT = 34
const SLOT_AT = 35
const ISSUED_AT = 36
const OPEN_AT = 40
const LIVE_AT = 44
const CLOSE_AT = 48
const HOLD_AT = 52
const ZERO_AT = 54
const WORK_AT = 56
const RANDOM_AT = 72

/** Bytes of a record's proof of work. */
export const WORK_BYTES = 16
/** Bytes of a record that say nothing. */
export const RECORD_RANDOM_BYTES = RECORD_BODY_BYTES - RANDOM_AT

/** The clocks by their value in the record. */
const CLOCKS = ['swift', 'steady', 'fixed'] as const
export type LoopClock = (typeof CLOCKS)[number]

/** What all members of a loop are told alike: when its cells flow and how fast. */
export interface SetUpPlan {
  readonly clock: LoopClock
  /** Index into `RATE_LADDER`; 0 for swift. */
  readonly rate: number
  /** When the set-up was made, in whole minutes since 1970. */
  readonly issuedMinutes: number
  /** Public epochs (`EPOCH_MS` since 1970) at which padding may flow, cells flow and the loop ends; all 0 for swift. */
  readonly openEpoch: number
  readonly liveEpoch: number
  readonly closeEpoch: number
  /** How long a member holds cells to even out their arrival; 0 for swift. */
  readonly holdMs: number
}

export interface RecordBody {
  readonly next: NodeId
  /** Where the reply goes, 0 ≤ slot < `RECORDS`. */
  readonly slot: number
  readonly plan: SetUpPlan
  /** `WORK_BYTES`; without meaning while the effort is 0. */
  readonly work: Uint8Array
}

/** The body's bytes. `random` is `RECORD_RANDOM_BYTES` long. The caller wipes the result. */
export function encodeBody({ next, slot, plan, work }: RecordBody, random: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(RECORD_BODY_BYTES)
  bytes.set(nodeIdBytes(next))
  bytes[CLOCK_AT] = CLOCKS.indexOf(plan.clock)
  bytes[RATE_AT] = plan.rate
  bytes[SLOT_AT] = slot
  writeU32(bytes, ISSUED_AT, plan.issuedMinutes)
  writeU32(bytes, OPEN_AT, plan.openEpoch)
  writeU32(bytes, LIVE_AT, plan.liveEpoch)
  writeU32(bytes, CLOSE_AT, plan.closeEpoch)
  writeU16(bytes, HOLD_AT, plan.holdMs)
  bytes.set(work.subarray(0, WORK_BYTES), WORK_AT)
  bytes.set(random.subarray(0, RECORD_RANDOM_BYTES), RANDOM_AT)
  return bytes
}

/** The body, or `null` if its length, a zero field, its clock or its slot is wrong. Keeps no view of `bytes`. */
export function decodeBody(bytes: Uint8Array): RecordBody | null {
  if (bytes.length !== RECORD_BODY_BYTES) return null
  const clock = CLOCKS[bytes[CLOCK_AT]!]
  const slot = bytes[SLOT_AT]!
  if (bytes[FLAGS_AT] !== 0 || readU16(bytes, ZERO_AT) !== 0 || clock === undefined || slot >= RECORDS) return null
  return {
    next: nodeIdOf(bytes.subarray(0, FLAGS_AT)),
    slot,
    plan: {
      clock,
      rate: bytes[RATE_AT]!,
      issuedMinutes: readU32(bytes, ISSUED_AT),
      openEpoch: readU32(bytes, OPEN_AT),
      liveEpoch: readU32(bytes, LIVE_AT),
      closeEpoch: readU32(bytes, CLOSE_AT),
      holdMs: readU16(bytes, HOLD_AT),
    },
    work: bytes.slice(WORK_AT, WORK_AT + WORK_BYTES),
  }
}
