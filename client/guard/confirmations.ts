/**
 * Confirmations of what the guard objected to over the API: a token stands for exactly the files that were shown (their paths, lengths and
 * content) and for one purpose, for ten minutes. It may be used again while it lives, so that a broken connection costs no second look.
 */
import { utf8 } from '../../src/bytes/index.ts'
import { equalSecret } from '../../src/crypto/hash.ts'
import type { Clock, Rng } from '../../src/runtime/index.ts'

// Implementation constants.
/** How long a person may look at the listing. */
export const CONFIRMATION_MS = 600_000
/** Confirmations that wait; the oldest goes. */
export const CONFIRMATIONS_MAX = 256
const TOKEN_BYTES = 18

interface Waiting {
  readonly digest: string
  readonly expiresMs: number
}

/** The tokens that were given out and not forgotten. In memory only: a restart forgets them, and the guard asks again. */
export class Confirmations {
  readonly #clock: Pick<Clock, 'monotonicMs'>
  readonly #rng: Pick<Rng, 'bytes'>
  /** By token, the oldest first. */
  readonly #waiting = new Map<string, Waiting>()

  constructor({ clock, rng }: { readonly clock: Pick<Clock, 'monotonicMs'>; readonly rng: Pick<Rng, 'bytes'> }) {
    this.#clock = clock
    this.#rng = rng
  }

  /** A token (24 base64url characters) for the listing with `digest`. */
  issue(digest: string): string {
    const token = Buffer.from(this.#rng.bytes(TOKEN_BYTES)).toString('base64url')
    this.#waiting.set(token, { digest, expiresMs: this.#clock.monotonicMs() + CONFIRMATION_MS })
    if (this.#waiting.size > CONFIRMATIONS_MAX) this.#waiting.delete(this.#waiting.keys().next().value!)
    return token
  }

  /** The digest that `token` confirms, or `null`: never given out, expired, or pushed out by later ones. */
  find(token: string): string | null {
    for (const [known, { digest, expiresMs }] of this.#waiting) {
      if (!equalSecret(utf8(known), utf8(token))) continue
      if (this.#clock.monotonicMs() < expiresMs) return digest
      this.#waiting.delete(known)
      return null
    }
    return null
  }
}
