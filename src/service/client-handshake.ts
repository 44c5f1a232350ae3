/**
 * The client's side of the handshake: message 1 → answer 1 → message 2 → answer 2 → keys. One object, one attempt; no I/O, no clock.
 * The owner carries the messages through an introduction point, picks the rendezvous point from `Drawn.location`, and joins it.
 *
 * Threats: an introduction point that answers itself (it lacks the record's keys: nothing opens), sends old answers again (the transcript
 * holds our fresh draws) or records all for later (forward secret from the answer on; the client's fresh half is X25519, its post-quantum
 * half is the record's key, see SPEC). Every failure is the same `null`, and everything secret is overwritten. Spec: SPEC.md §11.4.
 */
import { concat, readU16, toHex } from '../bytes/index.ts'
import { mlkemPublic, openOnce, sealOnce, wipe, X25519_BYTES, type X25519KeyPair, x25519FromSecret } from '../crypto/index.ts'
import type { Rng } from '../runtime/index.ts'
import {
  ANSWER_BYTES,
  FLAG_RESUMED,
  MET_BODY_BYTES,
  MET_BYTES,
  MET_OK,
  OFFERED_AT,
  OFFERED_MAX,
  PROOF_BYTES,
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
import type { Drawn, Established, ServiceIdentity, SessionTicket } from './types.ts'

export interface ClientHandshakeOptions {
  readonly rng: Rng
  /** The session that the new exchange is to belong to. Not changed, not kept. */
  readonly resume?: SessionTicket
  readonly primitives?: HandshakePrimitives
}

/** Where the handshake stands; `transcript` is th1, th3 or th4. */
type Stage = 'hello' | 'answered' | 'meeting' | 'over'

export class ClientHandshake {
  /** Message 1, `HELLO_BYTES` long. */
  readonly message: Uint8Array
  readonly #p: HandshakePrimitives
  readonly #ephemeral: X25519KeyPair
  readonly #cookie: Uint8Array
  /** A copy of the ticket that we ask to resume. */
  readonly #resume: SessionTicket | null
  #stage: Stage = 'hello'
  /** prk1 until the answer, then prk2. */
  #prk: Uint8Array
  #transcript: Uint8Array
  #serviceCookie = new Uint8Array(0)
  #sessionId = new Uint8Array(0)
  #resumed = false

  private constructor(
    p: HandshakePrimitives,
    message: Uint8Array,
    ephemeral: X25519KeyPair,
    cookie: Uint8Array,
    resume: SessionTicket | null,
    prk1: Uint8Array,
    th1: Uint8Array,
  ) {
    this.#p = p
    this.message = message
    this.#ephemeral = ephemeral
    this.#cookie = cookie
    this.#resume = resume
    this.#prk = prk1
    this.#transcript = th1
  }

  /** Draws, and makes message 1. `null`: the record's keys cannot be used. */
  static start(identity: ServiceIdentity, options: ClientHandshakeOptions): ClientHandshake | null {
    const p = options.primitives ?? HANDSHAKE_PRIMITIVES
    const { rng, resume } = options
    const mlkem = mlkemPublic(identity.mlkem768)
    if (mlkem === null) return null
    const drawn = rng.bytes(X25519_BYTES)
    const ephemeral = x25519FromSecret(drawn)
    wipe(drawn)
    const cookie = rng.bytes(32)
    const ecdh = p.x25519(ephemeral.privateKey, identity.x25519)
    if (ecdh === null) {
      wipe(ephemeral.privateKey, cookie)
      return null
    }
    const { secret: kem, ciphertext } = p.mlkemEncapsulate(mlkem)
    const ctx = helloContext(identity, ephemeral.publicKey, ciphertext)
    const prk1 = firstSecret(p, identity.network, ecdh, kem)
    const head = concat(Uint8Array.of(SERVICE_VERSION), ephemeral.publicKey, ciphertext)
    const commitment = cookieCommitment(cookie)
    const body = concat(
      commitment,
      resume?.id ?? new Uint8Array(SESSION_ID_BYTES),
      resume === undefined ? new Uint8Array(PROOF_BYTES) : resumeProof(resume.secret, ctx, commitment, resume.id),
    )
    const key = messageKey(p, prk1, 'hello', ctx)
    const message = concat(head, sealOnce(key, body, head))
    wipe(key, body)
    const kept = resume === undefined ? null : { id: resume.id.slice(), secret: resume.secret.slice() }
    return new ClientHandshake(p, message, ephemeral, cookie, kept, prk1, transcriptWith(ctx, 1, message))
  }

  /** Reads answer 1. `null`: it is not the service's, or comes at the wrong time; the handshake is over. */
  onAnswer(answer: Uint8Array): Drawn | null {
    const body = this.#stage === 'hello' && answer.length === ANSWER_BYTES ? this.#openAnswer(answer) : null
    if (body === null) return this.#fail()
    const flags = body[32 + SESSION_ID_BYTES]!
    this.#serviceCookie = body.slice(0, 32)
    this.#sessionId = body.slice(32, 32 + SESSION_ID_BYTES)
    const offered = offeredIn(body)
    wipe(body)
    if (offered === null) return this.#fail()
    // Only what we asked for can have been resumed.
    if (flags > FLAG_RESUMED || (flags === FLAG_RESUMED && this.#resume === null)) return this.#fail()
    this.#resumed = flags === FLAG_RESUMED
    this.#stage = 'answered'
    return { location: rendezvousLocation(this.#cookie, this.#serviceCookie), offered, resumed: this.#resumed }
  }

  #openAnswer(answer: Uint8Array): Uint8Array | null {
    const fresh = answer.slice(0, X25519_BYTES)
    const shared = this.#p.x25519(this.#ephemeral.privateKey, fresh)
    wipe(this.#ephemeral.privateKey)
    if (shared === null) return null
    this.#prk = secondSecret(this.#p, this.#prk, shared)
    const th2 = transcriptWith(this.#transcript, 2, fresh)
    const key = messageKey(this.#p, this.#prk, 'answer', th2)
    const body = openOnce(key, answer.subarray(X25519_BYTES), fresh)
    wipe(key)
    this.#transcript = transcriptWith(th2, 3, answer)
    return body
  }

  /** Message 2, which names the rendezvous point (32 bytes) and opens our commitment. Once; `null` at any other time. */
  meetAt(node: Uint8Array): Uint8Array | null {
    if (this.#stage !== 'answered' || node.length !== 32) return this.#fail()
    this.#stage = 'meeting'
    const key = messageKey(this.#p, this.#prk, 'meeting', this.#transcript)
    const body = concat(this.#cookie, node)
    const message = concat(this.#sessionId, sealOnce(key, body, this.#sessionId))
    wipe(key, body)
    this.#transcript = transcriptWith(this.#transcript, 4, message)
    return message
  }

  /** Reads answer 2: the service is on its way to the rendezvous point. `null`: it is not the service's. The handshake is over. */
  onMet(answer: Uint8Array): Established | null {
    if (this.#stage !== 'meeting' || answer.length !== MET_BYTES) return this.#fail()
    const key = messageKey(this.#p, this.#prk, 'met', this.#transcript)
    const body = openOnce(key, answer)
    wipe(key)
    if (body === null || body.length !== MET_BODY_BYTES || body[0] !== MET_OK) return this.#fail()
    const established: Established = {
      resumed: this.#resumed,
      ticket:
        this.#resumed && this.#resume !== null
          ? { id: this.#resume.id.slice(), secret: this.#resume.secret.slice() }
          : { id: this.#sessionId, secret: sessionSecret(this.#p, this.#prk, this.#transcript) },
      keys: trafficKeys(this.#p, this.#prk, this.#transcript),
      meetingCookie: meetingCookie(this.#cookie, this.#serviceCookie),
      seconds: readU16(body, 1),
    }
    this.wipe()
    return established
  }

  /** Gives up: overwrites all that is secret. Idempotent. */
  wipe(): void {
    this.#stage = 'over'
    wipe(this.#ephemeral.privateKey, this.#prk, this.#cookie, this.#serviceCookie)
    if (this.#resume !== null) wipe(this.#resume.secret)
  }

  #fail(): null {
    this.wipe()
    return null
  }
}

/** The nodes that answer 1 names; `null`: too many, or one twice. */
function offeredIn(body: Uint8Array): readonly Uint8Array[] | null {
  const count = body[OFFERED_AT - 1]!
  if (count > OFFERED_MAX) return null
  const offered = Array.from({ length: count }, (_, at) => body.slice(OFFERED_AT + 32 * at, OFFERED_AT + 32 * (at + 1)))
  return new Set(offered.map(toHex)).size === count ? offered : null
}
