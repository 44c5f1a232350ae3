/**
 * The handshake and the payloads of a live service once more, written straight from the text of SPEC.md §11.4 and §11.5 on node:crypto
 * alone: the slow, plain twin of `src/service/`, which shares no line with it. It knows every secret of both sides, checks nothing, and
 * neither wipes nor refuses.
 */
import {
  createCipheriv,
  createHash,
  createHmac,
  createPrivateKey,
  createPublicKey,
  decapsulate,
  diffieHellman,
} from 'node:crypto'

type Part = string | Uint8Array

function prefixed(...parts: Part[]): Buffer {
  return Buffer.concat(
    parts.flatMap((part) => {
      const bytes = Buffer.from(part)
      const length = Buffer.alloc(4)
      length.writeUInt32LE(bytes.length)
      return [length, bytes]
    }),
  )
}

const hash = (...parts: Part[]) =>
  createHash('sha256')
    .update(prefixed(...parts))
    .digest()
const hmac = (key: Uint8Array, message: Uint8Array) => createHmac('sha256', key).update(message).digest()
/** HKDF-Expand to 32 bytes: one block. */
const expand = (prk: Buffer, label: string, bound: Buffer) => hmac(prk, Buffer.concat([prefixed(label, bound), Buffer.of(1)]))

const x25519Private = (secret: Buffer) =>
  createPrivateKey({
    key: Buffer.concat([Buffer.from('302e020100300506032b656e04220420', 'hex'), secret]),
    format: 'der',
    type: 'pkcs8',
  })
const x25519Public = (secret: Buffer): Buffer => createPublicKey(x25519Private(secret)).export({ format: 'raw-public' })
const mlkemPrivate = (seed: Buffer) =>
  createPrivateKey({
    key: Buffer.concat([Buffer.from('3054020100300b060960864801650304040204428040', 'hex'), seed]),
    format: 'der',
    type: 'pkcs8',
  })

function dh(secret: Buffer, raw: Buffer): Buffer {
  const publicKey = createPublicKey({ key: { kty: 'OKP', crv: 'X25519', x: raw.toString('base64url') }, format: 'jwk' })
  return diffieHellman({ privateKey: x25519Private(secret), publicKey })
}

function seal(key: Buffer, nonce: Buffer, plaintext: Uint8Array, associated: Uint8Array): Buffer {
  const cipher = createCipheriv('chacha20-poly1305', key, nonce, { authTagLength: 16 })
  cipher.setAAD(associated, { plaintextLength: plaintext.length })
  return Buffer.concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()])
}

const NONE = Buffer.alloc(0)
const once = Buffer.alloc(12)

/** Every draw of both sides. */
export interface NaiveHandshake {
  readonly network: Buffer
  readonly address: Buffer
  readonly blinded: Buffer
  /** Secret of B, seed of M. */
  readonly recordX25519: Buffer
  readonly recordMlkem: Buffer
  readonly ephemeral: Buffer
  readonly ciphertext: Buffer
  readonly clientCookie: Buffer
  readonly resume: { readonly id: Buffer; readonly secret: Buffer } | null
  readonly fresh: Buffer
  readonly serviceCookie: Buffer
  readonly sessionId: Buffer
  readonly offered: readonly Buffer[]
  readonly node: Buffer
  readonly seconds: number
}

/** All four messages and what follows from them. */
export function naiveHandshake(draws: NaiveHandshake) {
  const { network, ciphertext, clientCookie, serviceCookie, sessionId, resume } = draws
  const b = x25519Public(draws.recordX25519)
  const mlkem = mlkemPrivate(draws.recordMlkem)
  const m: Buffer = createPublicKey(mlkem).export({ format: 'raw-public' })
  const e = x25519Public(draws.ephemeral)
  const f = x25519Public(draws.fresh)

  const ctx = hash('gyre/1 service ctx', network, draws.address, draws.blinded, b, m, e, ciphertext)
  const secrets = prefixed(dh(draws.ephemeral, b), decapsulate(mlkem, ciphertext))
  const prk1 = hmac(hash('gyre/1 service', network), secrets)
  const commitment = hash('gyre/1 cookie', clientCookie)
  const proof =
    resume === null
      ? Buffer.alloc(48)
      : Buffer.concat([resume.id, hmac(resume.secret, hash('gyre/1 service resume', ctx, commitment, resume.id))])
  const head = Buffer.concat([Buffer.of(1), e, ciphertext])
  const hello = Buffer.concat([
    head,
    seal(expand(prk1, 'gyre/1 service hello', ctx), once, Buffer.concat([commitment, proof]), head),
  ])
  const th1 = hash('gyre/1 service th1', ctx, hello)

  const prk2 = hmac(prk1, dh(draws.fresh, e))
  const th2 = hash('gyre/1 service th2', th1, f)
  const told = Buffer.concat([
    Buffer.of(resume === null ? 0 : 1, draws.offered.length),
    ...draws.offered,
    Buffer.alloc(256),
  ]).subarray(0, 258)
  const body = Buffer.concat([serviceCookie, sessionId, told])
  const answer = Buffer.concat([f, seal(expand(prk2, 'gyre/1 service answer', th2), once, body, f)])
  const th3 = hash('gyre/1 service th3', th2, answer)

  const opened = Buffer.concat([clientCookie, draws.node])
  const meeting = Buffer.concat([sessionId, seal(expand(prk2, 'gyre/1 service meeting', th3), once, opened, sessionId)])
  const th4 = hash('gyre/1 service th4', th3, meeting)
  const met = seal(expand(prk2, 'gyre/1 service met', th4), once, Buffer.of(1, draws.seconds % 256, draws.seconds >> 8), NONE)

  return {
    hello,
    answer,
    meeting,
    met,
    location: hash('gyre/1 rendezvous', clientCookie, serviceCookie),
    meetingCookie: hash('gyre/1 meeting', clientCookie, serviceCookie),
    toService: expand(prk2, 'gyre/1 service to service', th4),
    toClient: expand(prk2, 'gyre/1 service to client', th4),
    ticketId: resume?.id ?? sessionId,
    ticketSecret: resume?.secret ?? expand(prk2, 'gyre/1 service session', th4),
  }
}

/** Payload `number` with these frames. */
export function naivePayload(key: Buffer, number: bigint, frames: Buffer): Buffer {
  const head = Buffer.alloc(8)
  head.writeBigUInt64LE(number)
  const plaintext = Buffer.concat([frames, Buffer.alloc(1960 - frames.length)])
  return Buffer.concat([head, seal(key, Buffer.concat([Buffer.alloc(4), head]), plaintext, NONE)])
}

/** What the work of an introduction is bound to, and the hash that must begin with zero bits. */
export function naiveWork(point: Buffer, message: Buffer, nonce: Buffer): Buffer {
  const binding = Buffer.concat([point, createHash('sha256').update(message).digest()])
  return createHash('sha256')
    .update(Buffer.concat([hash('gyre/1 work', 'introduction', binding), nonce]))
    .digest()
}
