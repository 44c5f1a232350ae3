/**
 * Proof of work of an introduction: bound to the point and to the very message that it goes with, so that it can be spent once. The point's
 * name is the hash of a token that one service drew for one node, and the message opens under one record's keys alone: no other service,
 * point, record or client can be shown the same work. Both messages of a handshake bring it, so that under a flood neither waits behind
 * those who bring none. A point can check it, since it needs nothing but what the point has. Spec: SPEC.md §11.4.
 */
import { concat } from '../bytes/index.ts'
import { findWork, sha256, WORK_BITS_MAX, type WorkOptions, workIn } from '../crypto/index.ts'

/** Specification constant. */
const INTRODUCTION_WORK_LABEL = 'introduction'

/** What the work of `message` (whole, as introduced) at `point` (32 bytes) is bound to: 64 bytes. */
export function introductionBinding(point: Uint8Array, message: Uint8Array): Uint8Array {
  return concat(point, sha256(message))
}

/** Searches the work that a record asks for: 8 bytes, or none for an effort of 0. Errors: `WORK_TOO_HARD`, or the signal's reason. */
export async function findIntroductionWork(
  point: Uint8Array,
  message: Uint8Array,
  effortBits: number,
  waiting: WorkOptions,
): Promise<Uint8Array> {
  if (effortBits === 0) return new Uint8Array(0)
  return findWork(INTRODUCTION_WORK_LABEL, introductionBinding(point, message), effortBits, waiting)
}

/** Bits of work in `nonce` for exactly this introduction, 0 to `WORK_BITS_MAX`. None or a malformed one: 0. */
export function introductionWork(point: Uint8Array, message: Uint8Array, nonce: Uint8Array): number {
  return Math.min(WORK_BITS_MAX, workIn(INTRODUCTION_WORK_LABEL, introductionBinding(point, message), nonce))
}
