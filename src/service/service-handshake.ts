/**
 * The service's side of the handshake, for many clients at once: message 1 → answer 1, message 2 → answer 2 and keys. No I/O; time is passed
 * in. The owner takes messages from introduction points and joins the rendezvous point that `Met` names.
 *
 *   hello: length → seen before? → shared secrets → opens for one of the periods → resume proof → fresh pair → pending
 *   meet:  length → pending → opens → cookie is the one committed to → node is among those drawn → keys
 *
 * Threats: floods (pending handshakes are bounded, the oldest goes; before it, work and rate are the owner's), messages sent again (an
 * ephemeral is taken once; message 2 is answered again and does nothing again), a client that wants a rendezvous point of its own (it is
 * bound to its half before it sees ours). Every failure is the same `null`. Spec: SPEC.md §11.4.
 */
import { concat, equalPublic, type MonotonicMs, toHex, writeU16 } from '../bytes/index.ts'
import { equalSecret, openOnce, sealOnce, wipe, X25519_BYTES, x25519FromSecret } from '../crypto/index.ts'
import type { Rng } from '../runtime/index.ts'
import {
  ANSWER_BODY_BYTES,
  CIPHERTEXT_AT,
  FLAG_RESUMED,
  HELLO_BYTES,
  HELLO_SEALED_AT,
  MEETING_BYTES,
  MET_BODY_BYTES,
  MET_OK,
  OFFERED_MAX,
  SECONDS_MAX,
  SERVICE_VERSION,
  SESSION_ID_BYTES,
} from './constants.ts'
import {
  cookieCommitment,
  firstSecret,
  HANDSHAKE_PRIMITIVES,
  type HandshakePrimitives,
  helloContext,
  meetingCookie,
  messageKey,
  rendezvousLocation,
  resumeProof,
  secondSecret,
  sessionSecret,
  trafficKeys,
  transcriptWith,
} from './keys.ts'
import { SeenEphemerals } from './seen-ephemerals.ts'
import type { Established, Greeted, MayMeetAt, Met, ServiceKeys, SessionTicket } from './types.ts'

// Implementation constants.
/** Handshakes between message 1 and message 2, and done ones whose answer may be asked for again; the oldest goes. About 0.5 KiB each. */
export const PENDING_MAX = 1024
/** How long one may take: two introductions, a proof of work, and between them a loop, which under a paced clock takes up to a minute and a half, or two. */
export const PENDING_MS = 240_000
/** Blinded keys that one message 1 is tried under. */
const PERIODS_MAX = 4

export interface ServiceHandshakesParts {
  readonly network: Uint8Array
  /** A: key material of the address, 32 bytes. */
  readonly address: Uint8Array
  readonly keys: ServiceKeys
  readonly rng: Rng
  /** The session of that id, if it goes on. The ticket is read, not kept. */
  findSession(id: Uint8Array): SessionTicket | null
  readonly primitives?: HandshakePrimitives
}

interface Pending {
  readonly since: MonotonicMs
  readonly prk2: Uint8Array
  readonly th3: Uint8Array
  readonly sessionId: Uint8Array
  readonly commitment: Uint8Array
  readonly serviceCookie: Uint8Array
  /** The owner's, not changed. */
  readonly offered: readonly Uint8Array[]
  /** A copy. */
  readonly resumed: SessionTicket | null
  /** Once met: the message, what it was answered, the node it named. */
  met: { readonly message: Uint8Array; readonly answer: Uint8Array; readonly node: Uint8Array } | null
}

/** All handshakes under one pair of record keys. */
export class ServiceHandshakes {
  readonly #parts: ServiceHandshakesParts
  readonly #p: HandshakePrimitives
  readonly #seen: SeenEphemerals
  /** By session id in hex, the oldest first. */
  readonly #pending = new Map<string, Pending>()
  #closed = false

  constructor(parts: ServiceHandshakesParts) {
    this.#parts = parts
    this.#p = parts.primitives ?? HANDSHAKE_PRIMITIVES
    this.#seen = new SeenEphemerals(parts.rng.bytes(32))
  }

  /** Handshakes remembered now. */
  get pending(): number {
    return this.#pending.size
  }

  /**
   * Answers message 1. `blinded`: keys of the periods under which records with our keys lie now; `offered`: see `Drawn.offered`, kept.
   * `null`: refused, nothing is answered.
   */
  hello(
    message: Uint8Array,
    blinded: readonly Uint8Array[],
    now: MonotonicMs,
    offered: readonly Uint8Array[] = [],
  ): Greeted | null {
    this.#expire(now)
    if (this.#closed || message.length !== HELLO_BYTES || message[0] !== SERVICE_VERSION) return null
    const ephemeral = message.slice(1, CIPHERTEXT_AT)
    if (!this.#seen.admit(ephemeral)) return null
    const { network, keys, rng } = this.#parts
    const ciphertext = message.subarray(CIPHERTEXT_AT, HELLO_SEALED_AT)
    const ecdh = this.#p.x25519(keys.x25519.privateKey, ephemeral)
    const kem = this.#p.mlkemDecapsulate(keys.mlkem768.privateKey, ciphertext)
    if (ecdh === null || kem === null) {
      if (ecdh !== null) wipe(ecdh)
      if (kem !== null) wipe(kem)
      return null
    }
    const prk1 = firstSecret(this.#p, network, ecdh, kem)
    const opened = this.#openHello(message, prk1, ephemeral, ciphertext, blinded)
    const drawn = opened === null ? null : rng.bytes(X25519_BYTES)
    const fresh = drawn === null ? null : x25519FromSecret(drawn)
    const shared = fresh === null ? null : this.#p.x25519(fresh.privateKey, ephemeral)
    if (drawn !== null) wipe(drawn)
    if (fresh !== null) wipe(fresh.privateKey)
    if (opened === null || fresh === null || shared === null) {
      wipe(prk1)
      return null
    }
    const prk2 = secondSecret(this.#p, prk1, shared)
    const th2 = transcriptWith(transcriptWith(opened.ctx, 1, message), 2, fresh.publicKey)
    const serviceCookie = rng.bytes(32)
    const sessionId = rng.bytes(SESSION_ID_BYTES)
    const key = messageKey(this.#p, prk2, 'answer', th2)
    const body = new Uint8Array(ANSWER_BODY_BYTES)
    const told = offered.slice(0, OFFERED_MAX)
    const flags = opened.resumed === null ? 0 : FLAG_RESUMED
    body.set(concat(serviceCookie, sessionId, Uint8Array.of(flags, told.length), ...told))
    const answer = concat(fresh.publicKey, sealOnce(key, body, fresh.publicKey))
    wipe(key, body)
    this.#remember({
      since: now,
      prk2,
      th3: transcriptWith(th2, 3, answer),
      sessionId,
      commitment: opened.commitment,
      serviceCookie,
      offered: told,
      resumed: opened.resumed,
      met: null,
    })
    return { kind: 'greeted', answer }
  }

  #openHello(
    message: Uint8Array,
    prk1: Uint8Array,
    ephemeral: Uint8Array,
    ciphertext: Uint8Array,
    periods: readonly Uint8Array[],
  ): { readonly ctx: Uint8Array; readonly commitment: Uint8Array; readonly resumed: SessionTicket | null } | null {
    const { network, address, keys } = this.#parts
    const [x25519, mlkem768] = [keys.x25519.publicKey, keys.mlkem768.publicKey]
    for (const blinded of periods.slice(0, PERIODS_MAX)) {
      const ctx = helloContext({ network, address, blinded, x25519, mlkem768 }, ephemeral, ciphertext)
      const key = messageKey(this.#p, prk1, 'hello', ctx)
      const body = openOnce(key, message.subarray(HELLO_SEALED_AT), message.subarray(0, HELLO_SEALED_AT))
      wipe(key)
      if (body === null) continue
      const commitment = body.slice(0, 32)
      const resumed = this.#resumed(ctx, commitment, body.subarray(32, 48), body.subarray(48))
      wipe(body)
      return { ctx, commitment, resumed }
    }
    return null
  }

  /** The session that the client shows to be in; `null`: it named none, one that is gone, or proved nothing. Then it gets a new one. */
  #resumed(ctx: Uint8Array, commitment: Uint8Array, id: Uint8Array, proof: Uint8Array): SessionTicket | null {
    const ticket = id.every((byte) => byte === 0) ? null : this.#parts.findSession(id.slice())
    if (ticket === null) return null
    const expected = resumeProof(ticket.secret, ctx, commitment, ticket.id)
    const shown = equalSecret(expected, proof)
    wipe(expected)
    return shown ? { id: ticket.id.slice(), secret: ticket.secret.slice() } : null
  }

  /**
   * Answers message 2. `null`: refused, nothing is answered; a client that named a wrong cookie or node has to begin anew.
   */
  meet(message: Uint8Array, mayMeetAt: MayMeetAt, now: MonotonicMs): Met | null {
    this.#expire(now)
    if (this.#closed || message.length !== MEETING_BYTES) return null
    const name = toHex(message.subarray(0, SESSION_ID_BYTES))
    const pending = this.#pending.get(name)
    if (pending === undefined) return null
    if (pending.met !== null) {
      const { message: first, answer, node } = pending.met
      return equalPublic(first, message) ? { kind: 'met', answer: answer.slice(), node, established: null } : null
    }
    const key = messageKey(this.#p, pending.prk2, 'meeting', pending.th3)
    const body = openOnce(key, message.subarray(SESSION_ID_BYTES), pending.sessionId)
    wipe(key)
    // Not the client's: its own message may still come.
    if (body === null) return null
    const clientCookie = body.slice(0, 32)
    const node = body.slice(32)
    wipe(body)
    const { serviceCookie } = pending
    const drawn = equalSecret(cookieCommitment(clientCookie), pending.commitment)
    const seconds = drawn ? mayMeetAt(rendezvousLocation(clientCookie, serviceCookie), node, pending.offered) : null
    if (seconds === null) {
      wipe(clientCookie)
      this.#forget(name, pending)
      return null
    }
    const met = this.#establish(pending, message, node, clientCookie, Math.max(0, Math.min(SECONDS_MAX, Math.floor(seconds))))
    wipe(clientCookie)
    return met
  }

  #establish(pending: Pending, message: Uint8Array, node: Uint8Array, clientCookie: Uint8Array, seconds: number): Met {
    const th4 = transcriptWith(pending.th3, 4, message)
    const key = messageKey(this.#p, pending.prk2, 'met', th4)
    const body = new Uint8Array(MET_BODY_BYTES)
    body[0] = MET_OK
    writeU16(body, 1, seconds)
    const answer = sealOnce(key, body)
    wipe(key)
    const { resumed, sessionId, serviceCookie } = pending
    const established: Established = {
      resumed: resumed !== null,
      ticket:
        resumed === null
          ? { id: sessionId.slice(), secret: sessionSecret(this.#p, pending.prk2, th4) }
          : { id: resumed.id.slice(), secret: resumed.secret.slice() },
      keys: trafficKeys(this.#p, pending.prk2, th4),
      meetingCookie: meetingCookie(clientCookie, serviceCookie),
      seconds,
    }
    pending.met = { message: message.slice(), answer: answer.slice(), node }
    wipePending(pending)
    return { kind: 'met', answer, node, established }
  }

  /** Forgets all and refuses what comes: the record's keys are no longer used. The keys themselves are the owner's. Idempotent. */
  close(): void {
    this.#closed = true
    for (const [name, pending] of this.#pending) this.#forget(name, pending)
    this.#seen.wipe()
  }

  #remember(pending: Pending): void {
    this.#pending.set(toHex(pending.sessionId), pending)
    if (this.#pending.size <= PENDING_MAX) return
    const [name, oldest] = this.#pending.entries().next().value!
    this.#forget(name, oldest)
  }

  #expire(now: MonotonicMs): void {
    for (const [name, pending] of this.#pending) {
      if (now - pending.since < PENDING_MS) return
      this.#forget(name, pending)
    }
  }

  #forget(name: string, pending: Pending): void {
    this.#pending.delete(name)
    wipePending(pending)
  }
}

function wipePending(pending: Pending): void {
  wipe(pending.prk2, pending.serviceCookie)
  if (pending.resumed !== null) wipe(pending.resumed.secret)
}
