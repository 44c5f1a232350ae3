/**
 * This node's onion keys: the pairs to which set-up records for it are sealed. They live in memory only, are made afresh at each start,
 * change every six hours, and are gone one hour after that, each with its own replay cache. Hence nothing on disk opens a recorded
 * set-up, and a set-up recorded before a restart finds no key. Spec: SPEC.md §4.3 "Onion keys"; decision onion-keys.
 *
 * Threat: a later thief of the node's keys or disk; replay. Ages are taken on both clocks, whichever says more: a wall clock set back does
 * not keep a key alive, and a machine that slept does not either. No timer here: the owner calls `tick`.
 */
import { type KeyPair, mlkemGenerate, wipe, type X25519KeyPair, x25519Generate } from '../crypto/index.ts'
import type { Clock, Rng } from '../runtime/index.ts'
import type { OnionPublicKeys } from './onion-public.ts'
import { type OnionKeyFinder, type OnionKeyPair, REPLAY_ENTRIES_MAX, ReplayCache } from './setup/index.ts'

// Specification constants.
/** A pair is published for this long. */
export const ONION_KEY_LIFE_MS = 6 * 3_600_000
/** And accepted for this long after it was replaced, for origins whose directory is behind. */
export const ONION_KEY_OVERLAP_MS = 3_600_000

// Implementation constants.
/** Share of the replay cache at which the pair is replaced early. */
const PRESSURE_MAX = 0.75

interface HeldPair extends OnionKeyPair {
  readonly replay: ReplayCache
  /** When it was made or, once replaced, when that was; on both clocks. */
  sinceMonotonicMs: number
  sinceUnixMs: number
}

export interface OnionKeyRingOptions {
  readonly clock: Pick<Clock, 'monotonicMs' | 'unixMs'>
  readonly rng: Rng
  /** Most set-ups per pair; default `REPLAY_ENTRIES_MAX`. */
  readonly replayEntries?: number
  /** Makes the two halves; the real ones by default, fixed ones for vectors. */
  readonly generate?: () => { readonly x25519: X25519KeyPair; readonly mlkem768: KeyPair }
}

/** The current pair and, for an hour after a change, the one before. Never more than two. */
export class OnionKeyRing implements OnionKeyFinder {
  readonly #options: OnionKeyRingOptions
  #current: HeldPair | null
  #previous: HeldPair | null = null

  constructor(options: OnionKeyRingOptions) {
    this.#options = options
    // A random start: after a restart most old packets do not even name a key.
    this.#current = this.#make(options.rng.below(256))
  }

  /** What the descriptor is to say. The same object until the keys change. Errors: throws after `close`. */
  get published(): OnionPublicKeys {
    if (this.#current === null) throw new Error('the onion key ring is closed')
    return this.#current.published
  }

  /** The pair named `kid`, or `null` if there is none or its time is over (even when `tick` is late). */
  find(kid: number): OnionKeyPair | null {
    this.#expire()
    if (this.#current?.published.kid === kid) {
      return this.#age(this.#current) < ONION_KEY_LIFE_MS + ONION_KEY_OVERLAP_MS ? this.#current : null
    }
    return this.#previous?.published.kid === kid ? this.#previous : null
  }

  /** Marks `ephemeral` (32 bytes) as used with `kid`: see `SetUpRequest.claim`. `false`: no such key, used before, or the cache is full. */
  claim(kid: number, ephemeral: Uint8Array): boolean {
    return this.find(kid)?.replay.admit(ephemeral) === 'fresh'
  }

  /**
   * Replaces the current pair when it is due, and wipes what is over. `true`: `published` changed and goes into a new descriptor. Call it at
   * least every minute. A pair whose replay cache fills up is replaced early, but never while the one before is still accepted: until then
   * its set-ups are refused.
   */
  tick(): boolean {
    this.#expire()
    const current = this.#current
    if (current === null) return false
    const due = this.#age(current) >= ONION_KEY_LIFE_MS
    if (!due && (this.#previous !== null || current.replay.pressure < PRESSURE_MAX)) return false
    if (this.#previous !== null) wipePair(this.#previous)
    this.#previous = current
    current.sinceMonotonicMs = this.#options.clock.monotonicMs()
    current.sinceUnixMs = this.#options.clock.unixMs()
    this.#current = this.#make((current.published.kid + 1) % 256)
    return true
  }

  /** Forgets all keys. Idempotent. */
  close(): void {
    if (this.#current !== null) wipePair(this.#current)
    if (this.#previous !== null) wipePair(this.#previous)
    this.#current = null
    this.#previous = null
  }

  #make(kid: number): HeldPair {
    const { clock, rng, replayEntries, generate } = this.#options
    const { x25519, mlkem768 } = generate?.() ?? { x25519: x25519Generate(), mlkem768: mlkemGenerate() }
    return {
      published: { kid, x25519: x25519.publicKey, mlkem768: mlkem768.publicKey },
      x25519: x25519.privateKey,
      mlkem768: mlkem768.privateKey,
      replay: new ReplayCache(rng.bytes(32), replayEntries ?? REPLAY_ENTRIES_MAX),
      sinceMonotonicMs: clock.monotonicMs(),
      sinceUnixMs: clock.unixMs(),
    }
  }

  #age({ sinceMonotonicMs, sinceUnixMs }: HeldPair): number {
    const { clock } = this.#options
    return Math.max(clock.monotonicMs() - sinceMonotonicMs, clock.unixMs() - sinceUnixMs)
  }

  #expire(): void {
    if (this.#previous === null || this.#age(this.#previous) < ONION_KEY_OVERLAP_MS) return
    wipePair(this.#previous)
    this.#previous = null
  }
}

/** The X25519 half is overwritten; the ML-KEM half is OpenSSL's, which clears it when the last handle (the ring's) is collected. */
function wipePair(pair: HeldPair): void {
  wipe(pair.x25519)
  pair.replay.wipe()
}
