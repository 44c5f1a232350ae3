/**
 * Proof of work for everything that a stranger may ask of a node: descriptors, set-ups under load, introductions, stored bytes.
 * Hashcash (Back 2002): a nonce whose hash begins with `effortBits` zero bits. One verifier for all uses, told apart by their label.
 *
 * What it meets: floods by whoever has little hardware. What it does not: SHA-256 runs a thousand times faster on a graphics card and
 * a million times on an ASIC than here, so this neither stops nor prices out an attacker who rents some; limits per link and per
 * neighbour do the rest. It was chosen because a check costs microseconds and no memory, so that the check itself is no way to attack.
 * Spec: SPEC.md §8.
 */
import { hash } from 'node:crypto'
import { concat, utf8, writeU32 } from '../bytes/index.ts'
import { OverlayError } from '../errors/index.ts'
import { type Clock, laterTurn } from '../runtime/index.ts'
import { HASH_BYTES, sha256, taggedHash } from './hash.ts'

// Specification constants.
export const WORK_NONCE_BYTES = 8
/** Highest effort that is ever asked or accepted: 2^32 hashes, some half an hour of one core. */
export const WORK_BITS_MAX = 32
/** Longest binding. Longer things are bound by their hash. */
export const WORK_BINDING_BYTES_MAX = 1024
const WORK_LABEL = 'gyre/1 work'

// Implementation constants.
/** Hashes in one turn of the event loop: about half a millisecond, so that cells do not wait for work. */
const HASHES_PER_TURN = 1024
/** How many times the expected number of hashes to try before giving up: a fair search fails once in e^32. */
const DEFAULT_PATIENCE = 32

export interface WorkOptions {
  /** Gives the turns in which hashes are tried. */
  readonly clock: Pick<Clock, 'nextTurn'>
  readonly signal: AbortSignal
  /** Most hashes to try. Default: 32 times what is expected. */
  readonly budgetHashes?: number
}

/** What all nonces of one piece of work are hashed behind: 32 bytes. */
function workSeed(label: string, binding: Uint8Array): Uint8Array {
  return taggedHash(WORK_LABEL, utf8(label), binding)
}

/** The first 32 bits of a hash as a number, first byte highest: its leading zeros are the work in it. */
function head(digest: Uint8Array): number {
  return ((digest[0]! << 24) | (digest[1]! << 16) | (digest[2]! << 8) | digest[3]!) >>> 0
}

/**
 * Searches a nonce (8 bytes) that `verifyWork` accepts for the same arguments. Yields to the event loop; ends with the signal's reason
 * when it aborts. Errors: `WORK_TOO_HARD` when `effortBits` is over `WORK_BITS_MAX` or the budget is used up.
 */
export async function findWork(
  label: string,
  binding: Uint8Array,
  effortBits: number,
  { clock, signal, budgetHashes = DEFAULT_PATIENCE * 2 ** effortBits }: WorkOptions,
): Promise<Uint8Array> {
  signal.throwIfAborted()
  if (!acceptable(binding, effortBits)) throw tooHard(`An effort of ${effortBits} bits over ${binding.length} bytes is refused.`)
  const input = concat(workSeed(label, binding), new Uint8Array(WORK_NONCE_BYTES))
  for (let tried = 0; tried < budgetHashes; tried++) {
    if (tried > 0 && tried % HASHES_PER_TURN === 0) {
      await laterTurn(clock)
      signal.throwIfAborted()
    }
    writeU32(input, HASH_BYTES, tried)
    writeU32(input, HASH_BYTES + 4, Math.floor(tried / 0x1_0000_0000))
    // As text because that is three times as fast as a new buffer per hash; nothing here is secret.
    const digest = Number.parseInt(hash('sha256', input, 'hex').slice(0, 8), 16)
    if (Math.clz32(digest) >= effortBits) return input.slice(HASH_BYTES)
  }
  throw tooHard(`No nonce of ${effortBits} bits in ${budgetHashes} hashes.`)
}

/** Whether `nonce` carries at least `effortBits` of work for exactly this label and binding. Malformed input is a `false`. */
export function verifyWork(label: string, binding: Uint8Array, nonce: Uint8Array, effortBits: number): boolean {
  if (nonce.length !== WORK_NONCE_BYTES || !acceptable(binding, effortBits)) return false
  return Math.clz32(head(sha256(workSeed(label, binding), nonce))) >= effortBits
}

/** How much work `nonce` carries for exactly this label and binding, 0 to `WORK_BITS_MAX`: for an order by work. Malformed input: 0. */
export function workIn(label: string, binding: Uint8Array, nonce: Uint8Array): number {
  if (nonce.length !== WORK_NONCE_BYTES || !acceptable(binding, 0)) return 0
  return Math.clz32(head(sha256(workSeed(label, binding), nonce)))
}

function acceptable(binding: Uint8Array, effortBits: number): boolean {
  return (
    Number.isInteger(effortBits) && effortBits >= 0 && effortBits <= WORK_BITS_MAX && binding.length <= WORK_BINDING_BYTES_MAX
  )
}

function tooHard(message: string): OverlayError {
  return new OverlayError('overload', 'WORK_TOO_HARD', message)
}
