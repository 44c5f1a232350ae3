/**
 * Remembers the clients' ephemeral keys that one pair of record keys has seen, so that an introduction point that sends a message 1 again
 * makes the service do nothing. Spec: SPEC.md §11.4.
 *
 * Bounded: two tables; when the newer is full the older is forgotten. A circuit's cache refuses everything when it is full, because a replay
 * there shows where a packet goes on; here a replay costs one key exchange and is answered with bytes that only the first sender can read,
 * so going on with the newest is better than being shut by a flood. Entries are 64-bit prints under a random key: a peer can choose no
 * collisions, and one refuses an honest client once in 2^46.
 */
import { readU32 } from '../bytes/index.ts'
import { hmacSha256, wipe } from '../crypto/index.ts'

// Implementation constants.
/** Entries of one table; two are kept. Half an hour each at 40 introductions a second. 1 MiB each. */
export const SEEN_ENTRIES_MAX = 1 << 16
const SLOTS_PER_ENTRY = 2

export class SeenEphemerals {
  readonly #key: Uint8Array
  readonly #entries: number
  /** Two words a slot, the first zero: free. */
  #newer: Uint32Array
  #older: Uint32Array | null = null
  #count = 0
  #wiped = false

  /** `key`: 32 random bytes, owned by this object. */
  constructor(key: Uint8Array, entries: number = SEEN_ENTRIES_MAX) {
    this.#key = key
    this.#entries = entries
    this.#newer = new Uint32Array(2 * SLOTS_PER_ENTRY * entries)
  }

  /** Whether `ephemeral` is new; if so it is remembered before this returns. */
  admit(ephemeral: Uint8Array): boolean {
    if (this.#wiped) return false
    const print = hmacSha256(this.#key, ephemeral)
    const low = readU32(print, 0) || 1
    const high = readU32(print, 4)
    if (this.#older !== null && this.#older[placeOf(this.#older, low, high)] !== 0) return false
    if (this.#newer[placeOf(this.#newer, low, high)] !== 0) return false
    if (this.#count === this.#entries) {
      this.#older = this.#newer
      this.#newer = new Uint32Array(this.#older.length)
      this.#count = 0
    }
    const at = placeOf(this.#newer, low, high)
    this.#newer[at] = low
    this.#newer[at + 1] = high
    this.#count++
    return true
  }

  /** Forgets everything; from now on all is refused. */
  wipe(): void {
    wipe(this.#key)
    this.#newer = new Uint32Array(0)
    this.#older = null
    this.#wiped = true
  }
}

/** The place of an entry, or the free place where it belongs. `low` is never 0, which marks a free place. */
function placeOf(table: Uint32Array, low: number, high: number): number {
  const slots = table.length / 2
  let slot = low % slots
  for (;;) {
    const at = 2 * slot
    const held = table[at]
    if (held === 0 || (held === low && table[at + 1] === high)) return at
    slot = (slot + 1) % slots
  }
}
