/**
 * Writes `test/vectors/service.json`: `node test/support/service-vectors.ts > test/vectors/service.json`. Handshakes of live services with
 * every secret and draw laid open, payloads, and work of introductions. ML-KEM encapsulation takes no randomness from its caller, so what it
 * gave is recorded; a new run gives other vectors, which is a reason not to run it without a change of format.
 */
import { fromHex, type MonotonicMs, toHex } from '../../src/bytes/index.ts'
import { mlkemFromSeed, x25519FromSecret } from '../../src/crypto/index.ts'
import { type Rng, systemClock } from '../../src/runtime/index.ts'
import { writeCredit, writeOpen, writeStreamHeader } from '../../src/service/frames.ts'
import {
  ClientHandshake,
  type Established,
  findIntroductionWork,
  ServiceHandshakes,
  type ServiceIdentity,
  type ServiceKeys,
  type SessionTicket,
} from '../../src/service/index.ts'
import { HANDSHAKE_PRIMITIVES } from '../../src/service/keys.ts'
import { PayloadSealer } from '../../src/service/payload.ts'
import { seededRng } from './seeded-rng.ts'

/** All bytes in hex. */
export interface HandshakeVector {
  readonly name: string
  readonly client: {
    readonly ephemeralSecret: string
    readonly cookie: string
    readonly resume: { readonly id: string; readonly secret: string } | null
  }
  readonly encapsulation: { readonly secret: string; readonly ciphertext: string }
  readonly service: { readonly freshSecret: string; readonly cookie: string; readonly sessionId: string }
  /** Nodes at which the service says that it can be met. */
  readonly offered: readonly string[]
  /** The rendezvous point that the client names. */
  readonly node: string
  readonly messages: { readonly hello: string; readonly answer: string; readonly meeting: string; readonly met: string }
  readonly location: string
  readonly established: {
    readonly resumed: boolean
    readonly ticketId: string
    readonly ticketSecret: string
    readonly toService: string
    readonly toClient: string
    readonly meetingCookie: string
    readonly seconds: number
  }
}

export interface ServiceVectors {
  readonly provenance: string
  readonly identity: {
    readonly network: string
    readonly address: string
    readonly blinded: string
    readonly x25519Secret: string
    readonly mlkem768Seed: string
  }
  readonly handshakes: readonly HandshakeVector[]
  /** Frames, the rest of the plaintext is zero. */
  readonly payloads: readonly {
    readonly key: string
    readonly number: string
    readonly frames: string
    readonly payload: string
  }[]
  readonly work: readonly { readonly point: string; readonly message: string; readonly nonce: string; readonly bits: number }[]
  /** Changes of one byte of the first handshake's messages, each of which is refused. */
  readonly mustFail: readonly {
    readonly message: 'hello' | 'answer' | 'meeting' | 'met'
    readonly at: number
    readonly xor: number
    readonly why: string
  }[]
}

/** Keys and identity of the vectors' service. */
export function vectorService({ identity }: Pick<ServiceVectors, 'identity'>): {
  readonly identity: ServiceIdentity
  readonly keys: ServiceKeys
} {
  const keys = {
    x25519: x25519FromSecret(fromHex(identity.x25519Secret)!),
    mlkem768: mlkemFromSeed(fromHex(identity.mlkem768Seed)!),
  }
  return {
    keys,
    identity: {
      network: fromHex(identity.network)!,
      address: fromHex(identity.address)!,
      blinded: fromHex(identity.blinded)!,
      x25519: keys.x25519.publicKey,
      mlkem768: keys.mlkem768.publicKey,
    },
  }
}

/** Gives these draws, in order. */
export function drawing(...draws: readonly string[]): Rng {
  let at = 0
  const next = () => fromHex(draws[at++]!)!
  return { bytes: next, scratch: next, below: () => 0, unit: () => 0 }
}

/** What `Established` says, in hex. */
export function spelled({ resumed, ticket, keys, meetingCookie, seconds }: Established): HandshakeVector['established'] {
  return {
    resumed,
    ticketId: toHex(ticket.id),
    ticketSecret: toHex(ticket.secret),
    toService: toHex(keys.toService),
    toClient: toHex(keys.toClient),
    meetingCookie: toHex(meetingCookie),
    seconds,
  }
}

async function make(): Promise<ServiceVectors> {
  const rng = seededRng('gyre service vectors')
  const hex = (length: number) => toHex(rng.bytes(length))
  const spelling = { network: hex(32), address: hex(32), blinded: hex(32), x25519Secret: hex(32), mlkem768Seed: hex(64) }
  const { identity, keys } = vectorService({ identity: spelling })
  const node = hex(32)

  const handshake = (
    name: string,
    resume: SessionTicket | null,
    offered: readonly string[],
    seconds: number,
  ): HandshakeVector => {
    const client = { ephemeralSecret: hex(32), cookie: hex(32) }
    const service = { freshSecret: hex(32), cookie: hex(32), sessionId: hex(16) }
    let encapsulation = { secret: '', ciphertext: '' }
    const asking = ClientHandshake.start(identity, {
      rng: drawing(client.ephemeralSecret, client.cookie),
      ...(resume === null ? {} : { resume }),
      primitives: {
        ...HANDSHAKE_PRIMITIVES,
        mlkemEncapsulate: (key) => {
          const { secret, ciphertext } = HANDSHAKE_PRIMITIVES.mlkemEncapsulate(key)
          encapsulation = { secret: toHex(secret), ciphertext: toHex(ciphertext) }
          return { secret, ciphertext }
        },
      },
    })!
    const answering = new ServiceHandshakes({
      network: identity.network,
      address: identity.address,
      keys,
      rng: drawing('00'.repeat(32), service.freshSecret, service.cookie, service.sessionId),
      findSession: () => resume,
    })
    const now = 0 as MonotonicMs
    const hello = asking.message
    const { answer } = answering.hello(
      hello,
      [identity.blinded],
      now,
      offered.map((each) => fromHex(each)!),
    )!
    const { location } = asking.onAnswer(answer)!
    const meeting = asking.meetAt(fromHex(node)!)!
    const met = answering.meet(meeting, () => seconds, now)!
    const established = spelled(asking.onMet(met.answer)!)
    if (JSON.stringify(established) !== JSON.stringify(spelled(met.established!))) throw new Error('the two sides disagree')
    return {
      name,
      client: { ...client, resume: resume === null ? null : { id: toHex(resume.id), secret: toHex(resume.secret) } },
      encapsulation,
      service,
      offered,
      node,
      messages: { hello: toHex(hello), answer: toHex(answer), meeting: toHex(meeting), met: toHex(met.answer) },
      location: toHex(location),
      established,
    }
  }

  const payloadKey = hex(32)
  const sealer = new PayloadSealer(fromHex(payloadKey)!)
  const frames = new Uint8Array(100)
  let end = writeOpen(frames, 0, 1, 80)
  end = writeStreamHeader(frames, end, 1, 0, 5, true)
  frames.set(rng.bytes(5), end)
  end = writeCredit(frames, end + 5, 0, 4 * 2 ** 20)
  const payloads = [new Uint8Array(0), frames.slice(0, end), new Uint8Array(0)].map((said, number) => {
    sealer.plain.fill(0)
    sealer.plain.set(said)
    const payload = new Uint8Array(1984)
    sealer.seal(payload, 0)
    return { key: payloadKey, number: String(number), frames: toHex(said), payload: toHex(payload) }
  })

  const point = hex(32)
  const message = hex(96)
  const work = []
  for (const bits of [0, 8, 12]) {
    const waiting = { clock: systemClock, signal: new AbortController().signal }
    const nonce = await findIntroductionWork(fromHex(point)!, fromHex(message)!, bits, waiting)
    work.push({ point, message, nonce: toHex(nonce), bits })
  }

  const ticket = { id: rng.bytes(16), secret: rng.bytes(32) }
  const changes: readonly (readonly ['hello' | 'answer' | 'meeting' | 'met', number, number, string])[] = [
    ['hello', 0, 3, 'another version'],
    ['hello', 1, 1, 'another ephemeral key'],
    ['hello', 32, 128, 'its highest bit, which X25519 ignores'],
    ['hello', 33, 1, 'another ciphertext: ML-KEM gives another secret'],
    ['hello', 1120, 128, 'the same at its end'],
    ['hello', 1121, 1, 'sealed part'],
    ['hello', 1216, 128, 'tag'],
    ['answer', 0, 1, 'another fresh key'],
    ['answer', 31, 128, 'its highest bit'],
    ['answer', 32, 1, 'sealed part'],
    ['answer', 353, 128, 'tag'],
    ['meeting', 0, 1, 'another session'],
    ['meeting', 16, 1, 'sealed part'],
    ['meeting', 95, 128, 'tag'],
    ['met', 0, 1, 'sealed part'],
    ['met', 18, 128, 'tag'],
  ]
  return {
    provenance:
      'Own vectors, written by test/support/service-vectors.ts. No other implementation exists; test/support/naive-service.ts is a plain twin.',
    identity: spelling,
    handshakes: [
      handshake('a new session', null, [], 0),
      handshake('a session goes on', ticket, [], 0),
      handshake('the service offers where to meet, and for how long', null, [node, hex(32), hex(32)], 540),
    ],
    payloads,
    work,
    mustFail: changes.map(([changed, at, xor, why]) => ({ message: changed, at, xor, why })),
  }
}

if (process.argv[1] === import.meta.filename) console.log(JSON.stringify(await make(), null, 1))
