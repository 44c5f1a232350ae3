/** The vectors of live services, byte for byte: both sides of the handshake, payloads, work, and the plain twin over all of it. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, test } from 'node:test'
import { fromHex, type MonotonicMs, toHex } from '../../src/bytes/index.ts'
import { nativeAead, portableAead } from '../../src/crypto/index.ts'
import {
  ANSWER_BYTES,
  ClientHandshake,
  HELLO_BYTES,
  introductionWork,
  MEETING_BYTES,
  MET_BYTES,
  ServiceHandshakes,
} from '../../src/service/index.ts'
import { HANDSHAKE_PRIMITIVES } from '../../src/service/keys.ts'
import { PayloadOpener, PayloadSealer } from '../../src/service/payload.ts'
import { INTRODUCTION_MESSAGE_BYTES_MAX } from '../../src/wire/index.ts'
import { naiveHandshake, naivePayload, naiveWork } from '../support/naive-service.ts'
import { drawing, type HandshakeVector, type ServiceVectors, spelled, vectorService } from '../support/service-vectors.ts'

const vectors: ServiceVectors = JSON.parse(readFileSync(new URL('./service.json', import.meta.url), 'utf8'))
const { identity, keys } = vectorService(vectors)
const bytes = (hex: string) => fromHex(hex)!
const buffer = (hex: string) => Buffer.from(hex, 'hex')
const now = 0 as MonotonicMs

function clientOf({ client, encapsulation }: HandshakeVector): ClientHandshake {
  const resume = client.resume === null ? null : { id: bytes(client.resume.id), secret: bytes(client.resume.secret) }
  return ClientHandshake.start(identity, {
    rng: drawing(client.ephemeralSecret, client.cookie),
    ...(resume === null ? {} : { resume }),
    primitives: {
      ...HANDSHAKE_PRIMITIVES,
      mlkemEncapsulate: () => ({ secret: bytes(encapsulation.secret), ciphertext: bytes(encapsulation.ciphertext) }),
    },
  })!
}

function serviceOf({ client, service }: HandshakeVector): ServiceHandshakes {
  const { resume } = client
  return new ServiceHandshakes({
    network: identity.network,
    address: identity.address,
    keys,
    rng: drawing('00'.repeat(32), service.freshSecret, service.cookie, service.sessionId),
    findSession: (id) =>
      resume !== null && toHex(id) === resume.id ? { id: bytes(resume.id), secret: bytes(resume.secret) } : null,
  })
}

test('the four messages have one length each and fit into an introduction', () => {
  for (const { messages } of vectors.handshakes) {
    const lengths = [messages.hello, messages.answer, messages.meeting, messages.met].map((hex) => hex.length / 2)
    assert.deepEqual(lengths, [HELLO_BYTES, ANSWER_BYTES, MEETING_BYTES, MET_BYTES])
    assert.deepEqual(lengths, [1217, 354, 96, 19])
    assert.ok(Math.max(...lengths) <= INTRODUCTION_MESSAGE_BYTES_MAX)
  }
})

for (const vector of vectors.handshakes) {
  describe(`handshake: ${vector.name}`, () => {
    const { messages } = vector

    test('the client', () => {
      const client = clientOf(vector)
      assert.equal(toHex(client.message), messages.hello)
      const drawn = client.onAnswer(bytes(messages.answer))
      assert.deepEqual(drawn && [toHex(drawn.location), drawn.resumed], [vector.location, vector.established.resumed])
      assert.deepEqual(drawn?.offered.map(toHex), vector.offered)
      assert.equal(toHex(client.meetAt(bytes(vector.node))!), messages.meeting)
      assert.deepEqual(spelled(client.onMet(bytes(messages.met))!), vector.established)
    })

    test('the service', () => {
      const service = serviceOf(vector)
      const other = new Uint8Array(32)
      assert.equal(
        toHex(service.hello(bytes(messages.hello), [other, identity.blinded], now, vector.offered.map(bytes))!.answer),
        messages.answer,
      )
      const asked: string[] = []
      const met = service.meet(
        bytes(messages.meeting),
        (location, node, offered) => {
          asked.push(toHex(location), toHex(node), ...offered.map(toHex))
          return vector.established.seconds
        },
        now,
      )!
      assert.deepEqual(asked, [vector.location, vector.node, ...vector.offered])
      assert.equal(toHex(met.answer), messages.met)
      assert.equal(toHex(met.node), vector.node)
      assert.deepEqual(spelled(met.established!), vector.established)
    })

    test('the plain twin', () => {
      const { client, service, encapsulation } = vector
      const twin = naiveHandshake({
        network: buffer(vectors.identity.network),
        address: buffer(vectors.identity.address),
        blinded: buffer(vectors.identity.blinded),
        recordX25519: buffer(vectors.identity.x25519Secret),
        recordMlkem: buffer(vectors.identity.mlkem768Seed),
        ephemeral: buffer(client.ephemeralSecret),
        ciphertext: buffer(encapsulation.ciphertext),
        clientCookie: buffer(client.cookie),
        resume: client.resume === null ? null : { id: buffer(client.resume.id), secret: buffer(client.resume.secret) },
        fresh: buffer(service.freshSecret),
        serviceCookie: buffer(service.cookie),
        sessionId: buffer(service.sessionId),
        offered: vector.offered.map(buffer),
        node: buffer(vector.node),
        seconds: vector.established.seconds,
      })
      const hex = Object.fromEntries(Object.entries(twin).map(([name, value]) => [name, value.toString('hex')]))
      const { resumed: _, seconds: __, ...established } = vector.established
      assert.deepEqual(hex, { ...messages, location: vector.location, ...established })
    })
  })
}

describe('must fail', () => {
  const vector = vectors.handshakes[0]!
  const { messages } = vector
  for (const { message, at, xor, why } of vectors.mustFail) {
    test(`${message}, byte ${at}: ${why}`, () => {
      const changed = bytes(messages[message])
      changed[at]! ^= xor
      const client = clientOf(vector)
      const service = serviceOf(vector)
      if (message === 'hello') return assert.equal(service.hello(changed, [identity.blinded], now), null)
      if (message === 'meeting') {
        service.hello(bytes(messages.hello), [identity.blinded], now)
        return assert.equal(
          service.meet(changed, () => 0, now),
          null,
        )
      }
      if (message === 'answer') return assert.equal(client.onAnswer(changed), null)
      client.onAnswer(bytes(messages.answer))
      client.meetAt(bytes(vector.node))
      assert.equal(client.onMet(changed), null)
    })
  }
})

describe('payloads', () => {
  for (const engine of [nativeAead(), portableAead]) {
    if (engine === null) continue
    test(`sealed and opened by ${engine.implementation}`, () => {
      const sealer = new PayloadSealer(bytes(vectors.payloads[0]!.key), engine)
      const opener = new PayloadOpener(bytes(vectors.payloads[0]!.key), engine)
      for (const { number, frames, payload } of vectors.payloads) {
        sealer.plain.fill(0)
        sealer.plain.set(bytes(frames))
        const sealed = new Uint8Array(payload.length / 2)
        sealer.seal(sealed, 0)
        assert.equal(toHex(sealed), payload)
        assert.equal(opener.open(sealed, 0), Number(number))
        assert.equal(toHex(opener.plain.subarray(0, frames.length / 2)), frames)
        assert.ok(opener.plain.subarray(frames.length / 2).every((byte) => byte === 0))
      }
    })
  }

  test('the plain twin, high numbers too', () => {
    for (const { key, number, frames, payload } of vectors.payloads) {
      assert.equal(naivePayload(buffer(key), BigInt(number), buffer(frames)).toString('hex'), payload)
    }
    const { key, frames } = vectors.payloads[1]!
    for (const number of [2 ** 32 - 1, 2 ** 32, 2 ** 47 - 1]) {
      const opener = new PayloadOpener(bytes(key))
      assert.equal(opener.open(new Uint8Array(naivePayload(buffer(key), BigInt(number), buffer(frames))), 0), number)
    }
    const opener = new PayloadOpener(bytes(key))
    assert.equal(opener.open(new Uint8Array(naivePayload(buffer(key), 2n ** 47n, buffer(frames))), 0), -1)
    assert.equal(opener.open(new Uint8Array(naivePayload(buffer(key), 2n ** 53n, buffer(frames))), 0), -1)
  })
})

test('work of introductions', () => {
  for (const { point, message, nonce, bits } of vectors.work) {
    const found = introductionWork(bytes(point), bytes(message), bytes(nonce))
    assert.ok(found >= bits)
    if (nonce === '') continue
    const digest = naiveWork(buffer(point), buffer(message), buffer(nonce))
    assert.equal(Math.clz32(digest.readUInt32BE(0)), found)
  }
})
