/**
 * Remembers every set-up ephemeral that one onion key pair has seen, for as long as the pair lives. Without it a member could send a
 * recorded packet again and watch which neighbour it leaves by. Spec: SPEC.md §4.3, step 2 of the hop.
 *
 * Bounded: at the limit every new ephemeral is refused (fail closed: a forgotten one could be replayed); the key ring asks for new keys
 * before that. Entries are 64-bit fingerprints under a random key, in an open table that doubles: 16 to 32 bytes an entry. A collision
 * refuses an honest set-up (once in 2^44 at the limit) and never admits a replay. The key keeps peers from choosing colliding places.
 */
import { readU32 } from '../../bytes/index.ts'
import { hmacSha256, wipe } from '../../crypto/index.ts'

// Implementation constants.
/** Most ephemerals per onion key: 48 set-ups a second for 6 hours. 16 MiB when full. */
export const REPLAY_ENTRIES_MAX = 1 << 20
const FIRST_SLOTS = 1024

/** `full`: not seen, but cannot be remembered, so it is to be refused as well. */
export type Admission = 'fresh' | 'seen' | 'full'

/** Checks and remembers in one step. */
export interface ReplayGuard {
  admit(ephemeral: Uint8Array): Admission
}

export class ReplayCache implements ReplayGuard {
  readonly #key: Uint8Array
  readonly #limit: number
  /** Two words a slot; both zero: free. At most half of the slots are taken. */
  #table = new Uint32Array(2 * FIRST_SLOTS)
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
    const at = find(this.#table, low, high)
    if (this.#table[at] !== 0) return 'seen'
    if (this.#count >= this.#limit) return 'full'
    this.#table[at] = low
    this.#table[at + 1] = high
    this.#count++
    if (4 * this.#count >= this.#table.length && this.#count < this.#limit) this.#grow()
    return 'fresh'
  }

  /** Forgets everything, once the onion key is gone. From now on all is refused. */
  wipe(): void {
    wipe(this.#key)
    this.#table = new Uint32Array(0)
    this.#count = this.#limit
    this.#wiped = true
  }

  #grow(): void {
    const larger = new Uint32Array(2 * this.#table.length)
    for (let from = 0; from < this.#table.length; from += 2) {
      const low = this.#table[from]!
      if (low === 0) continue
      const at = find(larger, low, this.#table[from + 1]!)
      larger[at] = low
      larger[at + 1] = this.#table[from + 1]!
    }
    this.#table = larger
  }
}

/** The place of an entry, or the free place where it belongs. `low` is never 0, which marks a free place. */
function find(table: Uint32Array, low: number, high: number): number {
  const mask = table.length / 2 - 1
  let slot = low & mask
  for (;;) {
    const at = 2 * slot
    const held = table[at]
    if (held === 0 || (held === low && table[at + 1] === high)) return at
    slot = (slot + 1) & mask
  }
}
