/**
 * The work that a loaded store asks for with each put: bound to the store, to the thing and to the hour, so that it is found once for each copy and
 * cannot be kept for later. Spec: SPEC.md §8.
 */
import { le32, lengthPrefixed, type NodeId, nodeIdBytes, type UnixMs } from '../bytes/index.ts'
import { findWork, verifyWork, type WorkOptions } from '../crypto/index.ts'

// Specification constants.
export const PUT_WORK_LABEL = 'gyre/1 put work'
const HOUR_MS = 3_600_000

/** What is put where. */
export interface PutTarget {
  readonly node: NodeId
  /** 32 bytes: a share's address, a slot's location, a record's blinded key. */
  readonly key: Uint8Array
}

function binding({ node, key }: PutTarget, hour: number): Uint8Array {
  return lengthPrefixed(nodeIdBytes(node), key, le32(hour))
}

/** Work of `bits` for a put now. Errors: as `findWork`. */
export function findPutWork(target: PutTarget, bits: number, nowMs: UnixMs, options: WorkOptions): Promise<Uint8Array> {
  return findWork(PUT_WORK_LABEL, binding(target, Math.floor(nowMs / HOUR_MS)), bits, options)
}

/** Whether `work` has `bits` for this put, in this hour or one beside it: clocks differ, and a put may wait. */
export function hasPutWork(target: PutTarget, work: Uint8Array, bits: number, nowMs: UnixMs): boolean {
  const hour = Math.floor(nowMs / HOUR_MS)
  return [hour, hour - 1, hour + 1].some((one) => verifyWork(PUT_WORK_LABEL, binding(target, one), work, bits))
}
