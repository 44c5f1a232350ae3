/**
 * The keys that a service's record names, and the handshakes under them. They are fresh at each start of the node and at each new period of
 * the record, and never on disk: what was recorded before cannot be opened by who takes the node later. The pair before is taken for a while
 * longer, for clients that read the record just before it changed. Spec: SPEC.md §11.4.
 */

import type { MonotonicMs } from '../../src/bytes/index.ts'
import { mlkemGenerate, wipe, x25519Generate } from '../../src/crypto/index.ts'
import type { Clock } from '../../src/runtime/index.ts'
import {
  type Greeted,
  type MayMeetAt,
  type Met,
  ServiceHandshakes,
  type ServiceHandshakesParts,
  type ServiceKeys,
} from '../../src/service/index.ts'

// Implementation constants.
/** For how long the pair before is taken. Clients keep a record for half a minute; holders get the new one at once. */
export const KEYS_OVERLAP_MS = 15 * 60_000
/** How often the periods are looked at. */
const LOOK_MS = 60_000

export interface BlindedKeys {
  /** Number of the period now. */
  readonly period: number
  /** Blinded keys of the periods whose records may be read now, 32 bytes each: this one first, then a neighbour's near its border. */
  readonly blinded: readonly Uint8Array[]
}

export interface RecordKeysDeps extends Omit<ServiceHandshakesParts, 'keys'> {
  /** The periods of the address at a time. */
  readonly periods: (unixMs: number) => Promise<BlindedKeys>
  readonly clock: Clock
}

interface Generation {
  readonly keys: ServiceKeys
  readonly handshakes: ServiceHandshakes
}

export class RecordKeys {
  readonly #deps: RecordKeysDeps
  #now: Generation
  #before: (Generation & { readonly until: MonotonicMs }) | null = null
  #periods: BlindedKeys = { period: -1, blinded: [] }
  #nextLook = Number.NEGATIVE_INFINITY

  constructor(deps: RecordKeysDeps) {
    this.#deps = deps
    this.#now = this.#generate()
  }

  /** Public halves for the record. */
  get public(): { readonly x25519: Uint8Array; readonly mlkem768: Uint8Array } {
    const { x25519, mlkem768 } = this.#now.keys
    return { x25519: x25519.publicKey, mlkem768: mlkem768.publicKey }
  }

  /** Call it at the start and every few seconds. Whether the keys changed, which asks for a new record. */
  async tick(): Promise<boolean> {
    const { clock, periods } = this.#deps
    if (this.#before !== null && clock.monotonicMs() >= this.#before.until) this.#drop()
    if (clock.monotonicMs() < this.#nextLook) return false
    this.#nextLook = clock.monotonicMs() + LOOK_MS
    const was = this.#periods
    this.#periods = await periods(clock.unixMs())
    if (was.period === -1 || was.period === this.#periods.period) return false
    this.#drop()
    this.#before = { ...this.#now, until: (clock.monotonicMs() + KEYS_OVERLAP_MS) as MonotonicMs }
    this.#now = this.#generate()
    return true
  }

  /** See `ServiceHandshakes.hello`. */
  hello(message: Uint8Array, offered: readonly Uint8Array[]): Greeted | null {
    const now = this.#deps.clock.monotonicMs()
    const { blinded } = this.#periods
    const hello = (generation: Generation | null) => generation?.handshakes.hello(message, blinded, now, offered) ?? null
    return hello(this.#now) ?? hello(this.#before)
  }

  /** See `ServiceHandshakes.meet`. */
  meet(message: Uint8Array, mayMeetAt: MayMeetAt): Met | null {
    const now = this.#deps.clock.monotonicMs()
    return this.#now.handshakes.meet(message, mayMeetAt, now) ?? this.#before?.handshakes.meet(message, mayMeetAt, now) ?? null
  }

  /** Overwrites what can be. Idempotent. */
  close(): void {
    this.#drop()
    end(this.#now)
  }

  #generate(): Generation {
    const { network, address, rng, findSession, primitives } = this.#deps
    const keys = { x25519: x25519Generate(), mlkem768: mlkemGenerate() }
    const parts = { network, address, keys, rng, findSession, ...(primitives === undefined ? {} : { primitives }) }
    return { keys, handshakes: new ServiceHandshakes(parts) }
  }

  #drop(): void {
    if (this.#before !== null) end(this.#before)
    this.#before = null
  }
}

function end({ keys, handshakes }: Generation): void {
  handshakes.close()
  wipe(keys.x25519.privateKey)
}
