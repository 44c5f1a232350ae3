/**
 * The key schedule of a live service's handshake, shared word for word by both sides: what is hashed, under which label, in which order.
 * HKDF-SHA-256 (RFC 5869) and SHA-256; each input of several parts has every part, the label too, behind its length as u32. Every key seals
 * one message. Spec: SPEC.md §11.4.
 *
 *   prk1 (both keys of the record)   → hello                 reaches the service alone; no forward secrecy
 *   prk2 (prk1 and the fresh pair)   → answer, meeting, met  over all that was said before
 *                                    → the exchange's two keys, the session's secret; forward secret from the first payload
 */
import { lengthPrefixed, utf8 } from '../bytes/index.ts'
import {
  hkdfExpand,
  hkdfExtract,
  hmacSha256,
  mlkemDecapsulate,
  mlkemEncapsulate,
  type PrivateKeyHandle,
  type PublicKeyHandle,
  taggedHash,
  wipe,
  type X25519PrivateKey,
  x25519,
} from '../crypto/index.ts'
import { SESSION_SECRET_BYTES } from './constants.ts'
import type { ServiceIdentity, TrafficKeys } from './types.ts'

const KEY_BYTES = 32

/** The operations that make or handle secrets: vectors inject an encapsulation, tests keep hold of what they return to see it wiped. */
export interface HandshakePrimitives {
  x25519(privateKey: X25519PrivateKey, peerPublic: Uint8Array): Uint8Array | null
  mlkemEncapsulate(publicKey: PublicKeyHandle): { readonly secret: Uint8Array; readonly ciphertext: Uint8Array }
  mlkemDecapsulate(privateKey: PrivateKeyHandle, ciphertext: Uint8Array): Uint8Array | null
  hkdfExtract(salt: Uint8Array, secret: Uint8Array): Uint8Array
  hkdfExpand(prk: Uint8Array, info: Uint8Array, length: number): Uint8Array
}

export const HANDSHAKE_PRIMITIVES: HandshakePrimitives = { x25519, mlkemEncapsulate, mlkemDecapsulate, hkdfExtract, hkdfExpand }

/** ctx: which service, in which network, which draws of the client. 32 bytes. */
export function helloContext(identity: ServiceIdentity, ephemeral: Uint8Array, ciphertext: Uint8Array): Uint8Array {
  const { network, address, blinded, x25519: b, mlkem768 } = identity
  return taggedHash('gyre/1 service ctx', network, address, blinded, b, mlkem768, ephemeral, ciphertext)
}

/** prk1 from both shared secrets, which are overwritten. */
export function firstSecret(p: HandshakePrimitives, network: Uint8Array, ecdh: Uint8Array, kem: Uint8Array): Uint8Array {
  const both = lengthPrefixed(ecdh, kem)
  const prk1 = p.hkdfExtract(taggedHash('gyre/1 service', network), both)
  wipe(both, ecdh, kem)
  return prk1
}

/** prk2 from prk1 and the fresh shared secret, both of which are overwritten. */
export function secondSecret(p: HandshakePrimitives, prk1: Uint8Array, fresh: Uint8Array): Uint8Array {
  const prk2 = p.hkdfExtract(prk1, fresh)
  wipe(prk1, fresh)
  return prk2
}

/** The key of one message, over the transcript before it. The caller wipes it. */
export function messageKey(
  p: HandshakePrimitives,
  prk: Uint8Array,
  name: 'hello' | 'answer' | 'meeting' | 'met',
  transcript: Uint8Array,
): Uint8Array {
  return p.hkdfExpand(prk, lengthPrefixed(utf8(`gyre/1 service ${name}`), transcript), KEY_BYTES)
}

/** th1 … th4: the transcript so far and what was said next. 32 bytes. */
export function transcriptWith(before: Uint8Array, step: 1 | 2 | 3 | 4, said: Uint8Array): Uint8Array {
  return taggedHash(`gyre/1 service th${step}`, before, said)
}

/** Keys of the exchange over th4, the whole transcript. */
export function trafficKeys(p: HandshakePrimitives, prk2: Uint8Array, th4: Uint8Array): TrafficKeys {
  const key = (name: string) => p.hkdfExpand(prk2, lengthPrefixed(utf8(`gyre/1 service ${name}`), th4), KEY_BYTES)
  return { toService: key('to service'), toClient: key('to client') }
}

/** The secret of a new session over th4: shown, by a proof, to attach further exchanges to it. */
export function sessionSecret(p: HandshakePrimitives, prk2: Uint8Array, th4: Uint8Array): Uint8Array {
  return p.hkdfExpand(prk2, lengthPrefixed(utf8('gyre/1 service session'), th4), SESSION_SECRET_BYTES)
}

/** Proof that who sends this very message 1 has the session's secret. 32 bytes. */
export function resumeProof(secret: Uint8Array, ctx: Uint8Array, commitment: Uint8Array, sessionId: Uint8Array): Uint8Array {
  return hmacSha256(secret, taggedHash('gyre/1 service resume', ctx, commitment, sessionId))
}

/** What the client binds itself to before it knows the service's half. */
export function cookieCommitment(clientCookie: Uint8Array): Uint8Array {
  return taggedHash('gyre/1 cookie', clientCookie)
}

/** Where both meet: a location, ranked over the directory like any other. Neither side alone decides it. */
export function rendezvousLocation(clientCookie: Uint8Array, serviceCookie: Uint8Array): Uint8Array {
  return taggedHash('gyre/1 rendezvous', clientCookie, serviceCookie)
}

/** What both show there. */
export function meetingCookie(clientCookie: Uint8Array, serviceCookie: Uint8Array): Uint8Array {
  return taggedHash('gyre/1 meeting', clientCookie, serviceCookie)
}
