/**
 * What a hostile peer of a live service may send: messages of the handshake, payloads, and frames inside payloads that it has the keys for.
 * No input throws, memory stays within its bounds, and a session that ended stays ended. Seeded; `FUZZ_SEED` chooses another run.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type MonotonicMs, nodeIdOf } from '../../src/bytes/index.ts'
import { mlkemFromSeed, x25519FromSecret } from '../../src/crypto/index.ts'
import { readSessionFrames, SessionFrame } from '../../src/service/frames.ts'
import { ClientHandshake, introductionWork, ServiceHandshakes, Session, type SessionStream } from '../../src/service/index.ts'
import { PayloadSealer } from '../../src/service/payload.ts'
import { SESSION_CREDIT_MAX_BYTES, SESSION_STREAMS_MAX } from '../../src/service/session.ts'
import { PAYLOAD_BYTES } from '../../src/stream/index.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { counted } from '../support/fuzzing.ts'
import { type SeededRng, seededRng } from '../support/seeded-rng.ts'

const SEED = process.env.FUZZ_SEED ?? '1'

test('messages of the handshake', (t) => {
  t.diagnostic(`FUZZ_SEED=${SEED}`)
  const rng = seededRng(`service messages ${SEED}`)
  const keys = { x25519: x25519FromSecret(rng.bytes(32)), mlkem768: mlkemFromSeed(rng.bytes(64)) }
  const [network, address, blinded] = [rng.bytes(32), rng.bytes(32), rng.bytes(32)]
  const service = new ServiceHandshakes({ network, address, keys, rng, findSession: () => null })
  const identity = { network, address, blinded, x25519: keys.x25519.publicKey, mlkem768: keys.mlkem768.publicKey }
  let greeted = 0
  for (let run = 0; run < 1_500; run++) {
    counted(1)
    const now = run as MonotonicMs
    const client = ClientHandshake.start(identity, { rng })!
    const hello = mutated(client.message, rng)
    const answer = service.hello(hello, [blinded], now)?.answer
    if (answer === undefined) continue
    greeted++
    const back = mutated(answer, rng)
    const drawn = client.onAnswer(back)
    const meeting = drawn === null ? rng.bytes(96) : client.meetAt(rng.bytes(32))!
    const met = service.meet(mutated(meeting, rng), () => (rng.below(4) > 0 ? rng.below(100) : null), now)
    if (met === null) continue
    assert.ok(drawn !== null)
    assert.equal(nodeIdOf(met.node).length, 64)
    client.onMet(mutated(met.answer, rng))
  }
  assert.ok(greeted > 300)
  for (let run = 0; run < 500; run++) introductionWork(rng.bytes(32), rng.bytes(rng.below(300)), rng.bytes(rng.below(12)))
})

/** Mostly the same; else cut, longer, or with some bytes changed. */
function mutated(bytes: Uint8Array, rng: SeededRng): Uint8Array {
  const copy = bytes.slice()
  switch (rng.below(8)) {
    case 0:
      return copy.subarray(0, rng.below(copy.length + 1))
    case 1: {
      const longer = new Uint8Array(copy.length + 1 + rng.below(40))
      longer.set(copy)
      return longer
    }
    case 2:
      for (let change = 0; change <= rng.below(4); change++) copy[rng.below(copy.length)]! ^= 1 + rng.below(255)
      return copy
    default:
      return copy
  }
}

/** Frames that are nearly right: small ids, offsets and lengths, and now and then anything. */
function scribble(into: Uint8Array, rng: SeededRng, role: 'client' | 'service'): void {
  into.fill(0)
  let at = 0
  const put = (value: number, bytes: number) => {
    for (let byte = 0; byte < bytes; byte++) into[at++] = Math.floor(value / 256 ** byte)
  }
  const id = () => 1 + rng.below(rng.below(2000) === 0 ? 400 : 4)
  const usual = role === 'client' ? [2, 3, 3, 3, 3, 4, 5, 7, 8] : [1, 3, 3, 3, 3, 4, 7, 8]
  while (at < into.length - 120 && rng.below(9) > 0) {
    const rare = rng.below(3000)
    const type = rare === 0 ? rng.below(256) : rare < 4 ? SessionFrame.RESET : usual[rng.below(usual.length)]!
    put(type, 1)
    if (type === SessionFrame.OPEN) {
      put(id(), 4)
      put(80, 2)
    } else if (type === SessionFrame.OPENED) put(id(), 4)
    else if (type === SessionFrame.STREAM) {
      const length = rng.below(90)
      put(id(), 4)
      put(rng.below(1000) === 0 ? rng.below(400_000) : rng.below(300), 6)
      put(length + (rng.below(900) === 0 ? 0x8000 : 0), 2)
      at += length
    } else if (type === SessionFrame.CREDIT) {
      put(rng.below(5), 4)
      put(rng.below(2 ** 31), 6)
    } else if (type === SessionFrame.STREAMS) put(rng.below(600), 4)
    else if (type === SessionFrame.RESET) {
      put(id(), 4)
      put(rng.below(6), 1)
      put(rng.below(500), 6)
    } else if (type === SessionFrame.ACK) {
      put(rng.below(rng.below(600) === 0 ? 40 : 1), 6)
      put(rng.below(100), 2)
      put(1, 1)
      put(1, 2)
    }
  }
  if (rng.below(200) === 0) into[rng.below(into.length)] = rng.below(256)
}

for (const role of ['client', 'service'] as const) {
  test(`frames that a ${role} hears`, (t) => {
    t.diagnostic(`FUZZ_SEED=${SEED}`)
    const rng = seededRng(`service frames ${role} ${SEED}`)
    const ends = new Map<string, number>()
    for (let run = 0; run < 400; run++) {
      const clock = new FakeClock()
      const keys = () => ({ toService: new Uint8Array(32).fill(1), toClient: new Uint8Array(32).fill(2) })
      let ended = ''
      const ear = (stream: () => SessionStream | null) => {
        let closed = false
        return {
          onData: (_bytes: Uint8Array, _at: number, length: number) => {
            assert.ok(!closed && length > 0)
            if (rng.below(3) > 0) stream()?.consumed(length)
            if (rng.below(10) === 0) stream()?.write(rng.bytes(rng.below(4000)))
            if (rng.below(40) === 0) stream()?.reset(rng.below(4) as 0 | 1 | 2 | 3)
          },
          onFin: () => {
            assert.ok(!closed)
            if (rng.below(2) === 0) stream()?.end()
          },
          onDrain: () => assert.ok(!closed),
          onClose: () => {
            assert.ok(!closed)
            closed = true
          },
        }
      }
      const session = new Session({
        role,
        ticket: { id: new Uint8Array(16), secret: new Uint8Array(32) },
        clock,
        events: {
          onOpen: (stream) => {
            if (rng.below(8) === 0) return 2
            if (rng.below(2) === 0) stream.accept()
            return ear(() => stream)
          },
          onDetached: () => {},
          onEnd: (reason) => {
            assert.equal(ended, '')
            ended = reason
          },
        },
      })
      const exchange = session.prepare(keys())
      exchange.attach({ loop: 1, waiting: 0, wake() {}, close() {} })
      if (role === 'client') {
        for (let at = 0; at < 4; at++) {
          let stream: SessionStream | null = null
          stream = session.open(
            80,
            ear(() => stream),
          )
          stream?.write(rng.bytes(rng.below(6000)))
        }
      }
      const sealer = new PayloadSealer(role === 'client' ? keys().toClient : keys().toService)
      const payload = new Uint8Array(PAYLOAD_BYTES)
      exchange.fill(payload, 0)
      for (let turn = 0; turn < 40 && ended === ''; turn++) {
        counted(1)
        scribble(sealer.plain, rng, role)
        sealer.seal(payload, 0)
        if (rng.below(12) === 0) payload[rng.below(PAYLOAD_BYTES)]! ^= 1
        exchange.onPayload(payload, 0)
        if (rng.below(2) === 0) exchange.fill(payload, 0)
        if (rng.below(8) === 0) clock.advanceNow(rng.below(300))
        const { aheadBytes, heldBytes, inFlight } = session.figures
        assert.ok(aheadBytes <= SESSION_CREDIT_MAX_BYTES && heldBytes < 4e6 && inFlight <= 192)
        assert.ok(session.openStreams <= SESSION_STREAMS_MAX)
      }
      ends.set(ended, (ends.get(ended) ?? 0) + 1)
      session.close()
      exchange.onPayload(payload, 0)
      clock.advanceNow(1_000)
      assert.equal(clock.pendingTimers, 0)
    }
    // The fuzzer reaches both: sessions that are ended for a fault, and sessions that live.
    assert.ok((ends.get('protocol') ?? 0) > 50 && (ends.get('') ?? 0) > 10, JSON.stringify([...ends]))
  })
}

test('frames of random bytes', () => {
  const rng = seededRng(`service noise ${SEED}`)
  const ignore = () => {}
  const sink = {
    onOpen: ignore,
    onOpened: ignore,
    onStream: (_id: number, _offset: number, bytes: Uint8Array, at: number, length: number) =>
      assert.ok(at + length <= bytes.length),
    onCredit: ignore,
    onStreams: ignore,
    onReset: ignore,
    onAck: (ranges: Float64Array, count: number) => {
      for (let range = 0; range < count; range++)
        assert.ok(ranges[2 * range]! >= 0 && ranges[2 * range]! <= ranges[2 * range + 1]!)
    },
    onPing: ignore,
    onClose: ignore,
  }
  for (let run = 0; run < 30_000; run++) {
    counted(1)
    const text = rng.bytes(rng.below(80))
    if (text.length > 0 && rng.below(2) === 0) text[0] = 1 + rng.below(9)
    readSessionFrames(text, 0, text.length, sink)
  }
})
