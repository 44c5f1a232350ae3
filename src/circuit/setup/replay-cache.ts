/**
 * Remembers every set-up ephemeral that one onion key pair has seen, for as long as the pair lives. Without it a member could send a
 * recorded packet again and watch which neighbour it leaves by. Spec: SPEC.md §4.3, step 2 of the hop.
 *
 * Bounded: at the limit every new ephemeral is refused (fail closed: a forgotten one could be replayed); the key ring asks for new keys
 * before that. Entries are 64-bit fingerprints under a random key, which keeps peers from choosing colliding places; a collision refuses an
 * honest set-up (once in 2^44 at the limit) and never admits a replay. They lie in open tables of one size, a new one when the last is half
 * full: one growing table would hold the thread for 100 ms when it moves half a million entries.
 */
import { readU32 } from '../../bytes/index.ts'
import { hmacSha256, wipe } from '../../crypto/index.ts'

// Implementation constants.
/** Most ephemerals per onion key: 48 set-ups a second for 6 hours. 16 MiB when full. */
export const REPLAY_ENTRIES_MAX = 1 << 20
const SEGMENT_SLOTS = 1 << 15
const SEGMENT_ENTRIES = SEGMENT_SLOTS / 2

/** `full`: not seen, but cannot be remembered, so it is to be refused as well. */
export type Admission = 'fresh' | 'seen' | 'full'

/** Checks and remembers in one step. */
export interface ReplayGuard {
  admit(ephemeral: Uint8Array): Admission
}

export class ReplayCache implements ReplayGuard {
  readonly #key: Uint8Array
  readonly #limit: number
  /** Two words a slot; the first zero: free. All but the last hold `SEGMENT_ENTRIES`. */
  #segments: Uint32Array[] = []
  #count = 0
  #wiped = false

  /** `key`: 32 random bytes, owned by the cache. */
  constructor(key: Uint8Array, limit: number = REPLAY_ENTRIES_MAX) {
    this.#key = key
    this.#limit = limit
  }

  /** Ephemerals remembered. */
  get size(): number {
    return this.#count
  }

  /** How full it is, 0 to 1. */
  get pressure(): number {
    return this.#count / this.#limit
  }

  /** Whether `ephemeral` is new; if so it is remembered before this returns. */
  admit(ephemeral: Uint8Array): Admission {
    if (this.#wiped) return 'full'
    const print = hmacSha256(this.#key, ephemeral)
    const low = readU32(print, 0) || 1
    const high = readU32(print, 4)
    for (const segment of this.#segments) if (segment[placeOf(segment, low, high)] !== 0) return 'seen'
    if (this.#count >= this.#limit) return 'full'
    if (this.#count === this.#segments.length * SEGMENT_ENTRIES) this.#segments.push(new Uint32Array(2 * SEGMENT_SLOTS))
    const last = this.#segments.at(-1)!
    const at = placeOf(last, low, high)
    last[at] = low
    last[at + 1] = high
    this.#count++
    return 'fresh'
  }

  /** Forgets everything, once the onion key is gone. From now on all is refused. */
  wipe(): void {
    wipe(this.#key)
    this.#segments = []
    this.#count = this.#limit
    this.#wiped = true
  }
}

/** The place of an entry, or the free place where it belongs. `low` is never 0, which marks a free place. */
function placeOf(segment: Uint32Array, low: number, high: number): number {
  let slot = low % SEGMENT_SLOTS
  for (;;) {
    const at = 2 * slot
    const held = segment[at]
    if (held === 0 || (held === low && segment[at + 1] === high)) return at
    slot = (slot + 1) % SEGMENT_SLOTS
  }
}
