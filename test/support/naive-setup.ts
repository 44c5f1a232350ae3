/**
 * The hop's side of set-up once more, written straight from the text of SPEC.md §4.3 on node:crypto alone: the slow, plain twin of
 * `src/circuit/setup/`, which shares no line with it. It checks nothing but the record's seal, and neither wipes nor refuses.
 */
import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createHmac,
  createPublicKey,
  decapsulate,
  diffieHellman,
  type KeyObject,
} from 'node:crypto'

export interface NaiveHop {
  readonly network: Buffer
  /** The node id's 32 bytes. */
  readonly id: Buffer
  readonly onionX25519: KeyObject
  readonly onionMlkem: KeyObject
  readonly fresh: KeyObject
}

function prefixed(...parts: (string | Uint8Array)[]): Buffer {
  return Buffer.concat(
    parts.flatMap((part) => {
      const bytes = Buffer.from(part)
      const length = Buffer.alloc(4)
      length.writeUInt32LE(bytes.length)
      return [length, bytes]
    }),
  )
}

const hash = (...parts: (string | Uint8Array)[]) =>
  createHash('sha256')
    .update(prefixed(...parts))
    .digest()
const hmac = (key: Buffer, message: Uint8Array) => createHmac('sha256', key).update(message).digest()
/** HKDF-Expand to 32 bytes: one block. */
const expand = (prk: Buffer, label: string, bound: Buffer) => hmac(prk, Buffer.concat([prefixed(label, bound), Buffer.of(1)]))

function dh(privateKey: KeyObject, raw: Buffer): Buffer {
  const publicKey = createPublicKey({ key: { kty: 'OKP', crv: 'X25519', x: raw.toString('base64url') }, format: 'jwk' })
  return diffieHellman({ privateKey, publicKey })
}

const publicOf = (privateKey: KeyObject): Buffer => createPublicKey(privateKey).export({ format: 'raw-public' })

/** What one hop makes of a packet, with every value on the way. Throws if the record does not open. */
export function naiveSetUp(packet: Buffer, hop: NaiveHop) {
  const [K, R, S] = [12, 1226, 48]
  const record = packet.subarray(0, R)
  const rest = packet.subarray(R, K * R)
  const q = packet.subarray(K * R)
  const kid = record.subarray(1, 2)
  const e = record.subarray(2, 34)
  const ct = record.subarray(34, 1122)

  const ctx = hash('gyre/1 ctx', hop.network, hop.id, publicOf(hop.onionX25519), publicOf(hop.onionMlkem), kid, e, ct)
  const prk1 = hmac(hash('gyre/1 setup', hop.network), prefixed(dh(hop.onionX25519, e), decapsulate(hop.onionMlkem, ct)))

  const opening = createDecipheriv('chacha20-poly1305', expand(prk1, 'gyre/1 body', ctx), Buffer.alloc(12), { authTagLength: 16 })
  opening.setAAD(Buffer.concat([Buffer.from('gyre/1 rec'), record.subarray(0, 1122), rest]), { plaintextLength: 88 })
  opening.setAuthTag(record.subarray(1122 + 88))
  const body = Buffer.concat([opening.update(record.subarray(1122, 1122 + 88)), opening.final()])
  const slot = body[35]!

  const f = publicOf(hop.fresh)
  const th = hash('gyre/1 th', ctx, record, rest, q, f)
  const prk2 = hmac(prk1, dh(hop.fresh, e))
  const confirmation = hmac(expand(prk2, 'gyre/1 confirm', th), th).subarray(0, 16)

  const stream = (key: Buffer, text: Buffer) => createCipheriv('chacha20', key, Buffer.alloc(16)).update(text)
  const stack = stream(expand(prk1, 'gyre/1 stack', ctx), Buffer.concat([rest, Buffer.alloc(R)]))
  const answers = Buffer.alloc(K * S)
  Buffer.concat([f, confirmation]).copy(answers, S * slot)
  const reply = stream(expand(prk1, 'gyre/1 reply', ctx), Buffer.from(q.map((byte, at) => byte ^ answers[at]!)))
  return {
    next: body.subarray(0, 32),
    slot,
    ctx,
    prk1,
    th,
    confirmation,
    cellKey: expand(prk2, 'gyre/1 cell', th),
    answerKey: expand(prk2, 'gyre/1 answer', th),
    packet: Buffer.concat([stack, reply]),
  }
}
