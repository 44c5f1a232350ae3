/**
 * Whether a request may go on: known token, enough requests left, scope of the route. In this order, so that a wrong token never costs a right
 * one anything, and a stranger learns nothing about routes.
 *
 * Rates are per token, not per client address: everything comes from loopback, where all clients share one. They keep a program that runs wild
 * from taking the node's time; no token can be guessed at any rate. Own token bucket: it runs on our clock, and knows tokens.
 */
import { OverlayError } from '../../src/errors/index.ts'
import { type Clock, TokenBucket } from '../../src/runtime/index.ts'
import { HttpFailure } from '../http/index.ts'
import { type ApiTokens, covers, type Scope } from './tokens.ts'

/** What a route needs: a scope, or `open`: nothing. */
export type Need = Scope | 'open'

export interface Rate {
  readonly perSecond: number
  readonly burst: number
}

export interface Rates {
  /** The node's own token. */
  readonly own: Rate
  /** Each token besides. */
  readonly token: Rate
  /** All requests without need of a token together. */
  readonly open: Rate
  /** All requests with a wrong or missing token together. */
  readonly failed: Rate
}

// Implementation constants.
export const RATES: Rates = {
  own: { perSecond: 400, burst: 800 },
  token: { perSecond: 100, burst: 200 },
  open: { perSecond: 50, burst: 100 },
  failed: { perSecond: 10, burst: 100 },
}

/** The scope that is missing, for the problem. */
export class ScopeMissing extends HttpFailure {
  readonly scope: Scope
  constructor(scope: Scope) {
    super(403, new OverlayError('protocol', 'API_SCOPE', `This needs a token of the scope "${scope}".`))
    this.scope = scope
  }
}

export interface AccessParts {
  readonly tokens: ApiTokens
  readonly clock: Clock
  readonly rates: Rates
}

export class Access {
  readonly #parts: AccessParts
  /** By name of the token; '' is the node's own. Those of removed tokens go when there are more than tokens. */
  readonly #buckets = new Map<string, TokenBucket>()
  readonly #open: TokenBucket
  readonly #failed: TokenBucket

  constructor(parts: AccessParts) {
    this.#parts = parts
    this.#open = this.#bucket(parts.rates.open)
    this.#failed = this.#bucket(parts.rates.failed)
  }

  /** Lets a request pass or throws: 401 (`API_UNAUTHORISED`), 403 (`API_SCOPE`), 429 (`API_RATE`). */
  check(authorization: string | undefined, need: Need): void {
    const { tokens, rates, clock } = this.#parts
    if (need === 'open') return take(this.#open, rates.open, clock)
    const caller = tokens.callerOf(authorization)
    if (caller === null) {
      take(this.#failed, rates.failed, clock)
      const error = new OverlayError('protocol', 'API_UNAUTHORISED', 'The request carries no valid token.')
      throw new HttpFailure(401, error, { 'WWW-Authenticate': 'Bearer realm="gyre"' })
    }
    const rate = caller.name === '' ? rates.own : rates.token
    take(this.#bucketOf(caller.name, rate), rate, clock)
    if (!covers(caller.scope, need)) throw new ScopeMissing(need)
  }

  #bucketOf(name: string, rate: Rate): TokenBucket {
    let bucket = this.#buckets.get(name)
    if (bucket === undefined) {
      bucket = this.#bucket(rate)
      const known = new Set(this.#parts.tokens.list().map((token) => token.name))
      for (const held of this.#buckets.keys()) if (held !== '' && !known.has(held)) this.#buckets.delete(held)
      this.#buckets.set(name, bucket)
    }
    return bucket
  }

  #bucket({ perSecond, burst }: Rate): TokenBucket {
    return new TokenBucket(perSecond, burst, this.#parts.clock.monotonicMs())
  }
}

function take(bucket: TokenBucket, { perSecond }: Rate, clock: Clock): void {
  if (bucket.take(clock.monotonicMs())) return
  const seconds = String(Math.max(1, Math.ceil(1 / perSecond)))
  const error = new OverlayError('overload', 'API_RATE', `More requests than ${perSecond} a second.`)
  throw new HttpFailure(429, error, { 'Retry-After': seconds })
}
