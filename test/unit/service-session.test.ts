/**
 * Sessions over exchanges that lose, double, delay and change payloads, and end: every byte arrives once and in order or the stream fails
 * with an error; what either end holds is bounded; liars end the session; all payloads look alike.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { readU32, toHex } from '../../src/bytes/index.ts'
import { writeCredit, writeOpen, writeOpened, writeReset, writeStreamHeader, writeStreams } from '../../src/service/frames.ts'
import { Session, StreamReset } from '../../src/service/index.ts'
import { PayloadOpener, PayloadSealer } from '../../src/service/payload.ts'
import { RESUME_MS, SESSION_CREDIT_BYTES, SESSION_CREDIT_MAX_BYTES, SESSION_STREAMS_MAX } from '../../src/service/session.ts'
import { STREAM_CREDIT_BYTES, STREAM_CREDIT_MAX_BYTES } from '../../src/service/stream.ts'
import { WINDOW_PAYLOADS_MAX } from '../../src/service/window.ts'
import { PAYLOAD_BYTES } from '../../src/stream/index.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { type Ear, SessionPair, spanOf } from '../support/session-pair.ts'

/** A stream that both ends use up: the client sends `up` bytes, the service `down`. */
function exchanged(pair: SessionPair, mine: Ear, up: number, down: number): void {
  const theirs = pair.heard.get(mine.stream!.id)!
  assert.deepEqual([theirs.received, theirs.wrong, theirs.fins, theirs.closed], [up, 0, 1, [null]])
  assert.deepEqual([mine.received, mine.wrong, mine.fins, mine.closed, mine.opened], [down, 0, 1, [null], 1])
}

const echoing = (down: (id: number) => number) => ({
  onOpen: (stream: { readonly id: number }, ear: Ear) => {
    ear.send(down(stream.id), 7000)
    return undefined
  },
})

describe('bytes arrive once and in order', () => {
  const chance = (most: number) => fc.double({ min: 0, max: most, noNaN: true })
  const faults = fc.record({ loss: chance(0.35), doubled: chance(0.2), late: chance(0.3), changed: chance(0.1) })
  const streams = fc.array(fc.tuple(fc.nat(150_000), fc.nat(150_000), fc.integer({ min: 1, max: 40_000 })), {
    minLength: 1,
    maxLength: 5,
  })

  test('whatever happens to payloads, and to exchanges', () => {
    fc.assert(
      fc.property(
        fc.nat(),
        faults,
        streams,
        fc.array(fc.integer({ min: 5, max: 900 }), { maxLength: 4 }),
        (seed, bad, sizes, cuts) => {
          const pair = new SessionPair({ seed, faults: bad, ...echoing((id) => sizes[id - 1]![1]) })
          pair.join()
          const ears = sizes.map(([up, , piece]) => {
            const ear = pair.open()
            ear.send(up, piece)
            return ear
          })
          const done = () => pair.client.openStreams + pair.service.openStreams === 0
          const watch = () => {
            for (const { figures } of [pair.client, pair.service]) {
              assert.ok(figures.inFlight <= WINDOW_PAYLOADS_MAX)
              assert.ok(figures.aheadBytes <= SESSION_CREDIT_MAX_BYTES)
              assert.ok(figures.heldBytes <= sizes.length * (512 * 1024 + 40_000))
            }
            return done()
          }
          for (const cut of cuts) {
            pair.until(watch, cut)
            pair.pipe!.cut()
            pair.until(watch, 40)
            pair.join()
          }
          assert.ok(pair.until(watch, 120_000), 'it comes to an end')
          for (const [at, [up, down]] of sizes.entries()) exchanged(pair, ears[at]!, up, down)
          assert.deepEqual(
            pair.log.filter((line) => line.includes('ended')),
            [],
          )
        },
      ),
      { numRuns: 25 },
    )
  })

  test('a megabyte each way over a clean exchange takes as long as its round trips', () => {
    const pair = new SessionPair(echoing(() => 1 << 20))
    pair.join()
    const ear = pair.open()
    ear.send(1 << 20, 60_000)
    assert.ok(pair.until(() => ear.closed.length > 0, 400))
    pair.until(() => pair.service.openStreams === 0, 100)
    exchanged(pair, ear, 1 << 20, 1 << 20)
    assert.equal(pair.client.figures.lost + pair.service.figures.lost, 0)
  })

  test('the last payload of all, lost, comes again', () => {
    const pair = new SessionPair()
    const pipe = pair.join()
    const ear = pair.open()
    pair.until(() => ear.opened === 1, 100)
    pipe.mute = true
    ear.stream!.write(spanOf(1, 0, 10))
    pair.clock.advanceNow(20)
    pipe.mute = false
    assert.ok(pair.until(() => pair.heard.get(1)!.received === 10, 600))
  })
})

describe('ends of streams', () => {
  test('half-close: one direction ends, the other goes on for long', () => {
    const pair = new SessionPair()
    pair.join()
    const ear = pair.open()
    ear.stream!.write(spanOf(1, 0, 100))
    ear.stream!.end()
    assert.ok(pair.until(() => pair.heard.get(1)?.fins === 1, 100))
    pair.clock.advanceNow(5_000)
    const theirs = pair.heard.get(1)!
    assert.equal(ear.fins + ear.closed.length + theirs.closed.length, 0)
    theirs.send(300_000, 9000)
    assert.ok(pair.until(() => theirs.closed.length === 1 && ear.closed.length === 1, 2_000))
    exchanged(pair, ear, 100, 300_000)
  })

  test('each reset code reaches the other end, once, from either side', () => {
    for (const code of [StreamReset.CANCELLED, StreamReset.BUSY, StreamReset.REFUSED, StreamReset.TARGET_GONE]) {
      for (const side of ['client', 'service'] as const) {
        const pair = new SessionPair({ faults: { loss: 0.2 } })
        pair.join()
        const mine = pair.open()
        mine.send(200_000, 5000)
        pair.until(() => mine.opened === 1, 2_000)
        const theirs = pair.heard.get(1)!
        const [resetting, other] = side === 'client' ? [mine, theirs] : [theirs, mine]
        resetting.stream!.reset(code)
        assert.ok(pair.until(() => other.closed.length > 0, 3_000))
        assert.ok(pair.until(() => pair.client.openStreams + pair.service.openStreams === 0, 5_000))
        assert.deepEqual([other.closed, resetting.closed], [[code], []])
      }
    }
  })

  test('a service refuses at once, or later, and the client hears no more than that', () => {
    for (const later of [false, true]) {
      const pair = new SessionPair({
        onOpen: (stream) => {
          if (!later) return StreamReset.REFUSED
          pair.clock.setTimer(100, () => stream.reset(StreamReset.TARGET_GONE))
          return undefined
        },
      })
      pair.join()
      const ear = pair.open()
      ear.stream!.write(spanOf(1, 0, 5000))
      pair.until(() => ear.closed.length > 0, 500)
      assert.deepEqual([ear.opened, ear.closed], later ? [1, [StreamReset.TARGET_GONE]] : [0, [StreamReset.REFUSED]])
      assert.ok(pair.until(() => pair.service.openStreams + pair.client.openStreams === 0, 500))
    }
  })

  test('resets give back credit: many with unread bytes do not stop the session', () => {
    const pair = new SessionPair({
      onOpen: (_stream, ear) => {
        ear.reading = false
        return undefined
      },
    })
    pair.join()
    const rounds = 12
    for (let round = 0; round < rounds; round++) {
      const ear = pair.open()
      ear.send(STREAM_CREDIT_BYTES, 8192)
      assert.ok(
        pair.until(() => pair.heard.get(ear.stream!.id)?.received === STREAM_CREDIT_BYTES, 2_000),
        `round ${round}`,
      )
      const reset = round % 2 === 0 ? ear : pair.heard.get(ear.stream!.id)!
      reset.stream!.reset(StreamReset.CANCELLED)
      assert.ok(pair.until(() => pair.client.openStreams + pair.service.openStreams === 0, 1_000))
    }
    assert.ok(rounds * STREAM_CREDIT_BYTES > SESSION_CREDIT_BYTES)
  })

  test('what was not read when both directions had ended counts until it is read, or given up', () => {
    for (const giveUp of [false, true]) {
      const pair = new SessionPair({
        onOpen: (stream, ear) => {
          ear.reading = false
          stream.end()
          return undefined
        },
      })
      pair.join()
      const ears = Array.from({ length: 12 }, () => {
        const ear = pair.open()
        ear.send(200_000, 50_000)
        return ear
      })
      pair.until(() => false, 1_000)
      const received = () => [...pair.heard.values()].reduce((sum, { received: bytes }) => sum + bytes, 0)
      assert.ok(received() <= SESSION_CREDIT_BYTES)
      for (let round = 0; round < 20; round++) {
        for (const ear of pair.heard.values()) {
          if (giveUp && ear.closed.length > 0) ear.stream!.reset(StreamReset.CANCELLED)
          else ear.read()
        }
        pair.until(() => false, 100)
      }
      assert.ok(ears.every(({ closed }) => closed[0] === null))
      assert.equal(received(), 12 * 200_000)
    }
  })
})

describe('bounds', () => {
  test('a reader that does not read stops the writer: credit at one end, a full stream at the other', () => {
    const pair = new SessionPair({
      onOpen: (_stream, ear) => {
        ear.reading = false
        return undefined
      },
    })
    pair.join()
    const ear = pair.open()
    ear.send(4 << 20, 64 * 1024)
    pair.clock.advanceNow(3_000)
    const theirs = pair.heard.get(1)!
    assert.equal(theirs.received, STREAM_CREDIT_BYTES)
    assert.ok(ear.stream!.heldBytes <= 512 * 1024 + 64 * 1024)
    // Once: what arrived made room, and that was written.
    assert.equal(ear.drains, 1)
    theirs.reading = true
    theirs.read()
    assert.ok(pair.until(() => theirs.fins === 1, 5_000))
    assert.ok(ear.drains > 1)
    assert.deepEqual([theirs.received, theirs.wrong], [4 << 20, 0])
  })

  test('credit grows for who uses it up, to the limit of one stream and of the session', () => {
    const pair = new SessionPair({ wayMs: 40, perMs: 8 })
    pair.join()
    const ears = Array.from({ length: 12 }, () => {
      const ear = pair.open()
      ear.send(1_500_000, 64 * 1024)
      return ear
    })
    pair.until(() => ears.every((ear) => pair.heard.get(ear.stream!.id)?.fins === 1), 30_000)
    const before = [...pair.heard.values()].map(({ received }) => received)
    assert.deepEqual(before, Array(12).fill(1_500_000))
    for (const theirs of pair.heard.values()) theirs.reading = false
    const more = Array.from({ length: 12 }, () => {
      const ear = pair.open()
      ear.send(3 << 20, 64 * 1024)
      return ear
    })
    for (const ear of more) {
      pair.until(() => pair.heard.has(ear.stream!.id), 1_000)
      pair.heard.get(ear.stream!.id)!.reading = false
    }
    pair.clock.advanceNow(4_000)
    const unread = [...pair.heard.values()].map((ear) => ear.unread)
    assert.ok(Math.max(...unread) <= STREAM_CREDIT_MAX_BYTES)
    assert.ok(unread.reduce((sum, bytes) => sum + bytes, 0) <= SESSION_CREDIT_MAX_BYTES)
  })

  test('256 streams at once, a thousand one after the other', () => {
    const pair = new SessionPair({ faults: { loss: 0.05 }, ...echoing(() => 10) })
    pair.join()
    const many = Array.from({ length: SESSION_STREAMS_MAX }, () => pair.open())
    const none = { onData() {}, onFin() {}, onDrain() {}, onClose() {} }
    assert.equal(pair.client.open(80, none), null)
    for (const ear of many) ear.send(100, 100)
    assert.ok(pair.until(() => pair.client.openStreams === 0, 10_000))
    for (let round = 0; round < 1000; round++) {
      assert.ok(pair.until(() => pair.client.open !== null && pair.client.openStreams < 200, 1_000))
      let ear: Ear | null = null
      pair.until(() => {
        try {
          ear ??= pair.open()
        } catch {
          return false
        }
        return true
      }, 2_000)
      assert.ok(ear)
      ;(ear as Ear).send(10, 10)
    }
    assert.ok(pair.until(() => pair.client.openStreams + pair.service.openStreams === 0, 10_000))
    assert.equal(pair.heard.size, SESSION_STREAMS_MAX + 1000)
    for (const ear of pair.heard.values()) assert.deepEqual([ear.wrong, ear.fins], [0, 1])
  })

  test('a slow other end: content never overruns the queue between, and does not stand in it for long', () => {
    const pair = new SessionPair({ perMs: [12, 1] })
    const pipe = pair.join()
    const ear = pair.open()
    ear.send(16 << 20, 64 * 1024)
    let sum = 0
    for (let at = 0; at < 7_000; at++) {
      pair.clock.advanceNow(1)
      if (at >= 2_000) sum += pair.client.figures.inFlight
    }
    assert.equal(pipe.overrun, 0)
    assert.ok(pipe.highest <= WINDOW_PAYLOADS_MAX + 8)
    // A payload a millisecond, 20 ms of way: 40 ms of queue are aimed at.
    assert.ok(sum / 5_000 < 90, `${sum / 5_000} in flight`)
    assert.ok(pair.heard.get(1)!.received > 6_000 * 1900)
  })

  test('at rest nothing but a beat goes', () => {
    const pair = new SessionPair()
    const pipe = pair.join()
    const ear = pair.open()
    ear.send(100_000, 10_000)
    pair.clock.advanceNow(2_000)
    const before = pipe.moved
    pair.clock.advanceNow(10_000)
    assert.ok(pipe.moved - before <= 100, `${pipe.moved - before} payloads in ten seconds`)
    assert.deepEqual(pair.log, [])
  })
})

describe('exchanges come and go', () => {
  test('streams wait for the next exchange and go on', () => {
    const pair = new SessionPair(echoing(() => 400_000))
    pair.join()
    const ear = pair.open()
    ear.send(400_000, 30_000)
    pair.clock.advanceNow(40)
    pair.pipe!.cut()
    assert.deepEqual(pair.log, ['client detached gone', 'service detached gone'])
    assert.equal(pair.client.attached, false)
    pair.clock.advanceNow(RESUME_MS - 100)
    pair.join()
    assert.ok(pair.until(() => ear.closed.length > 0 && pair.service.openStreams === 0, 3_000))
    exchanged(pair, ear, 400_000, 400_000)
  })

  test('a stream may be opened and written to while there is no exchange', () => {
    const pair = new SessionPair(echoing(() => 10))
    const ear = pair.open()
    ear.send(10_000, 1000)
    pair.clock.advanceNow(3_000)
    pair.join()
    assert.ok(pair.until(() => ear.closed.length > 0, 1_000))
  })

  test('without a new exchange the session ends, and its streams say so', () => {
    const pair = new SessionPair()
    pair.join()
    const ear = pair.open()
    pair.until(() => ear.opened === 1, 100)
    pair.pipe!.cut()
    pair.clock.advanceNow(RESUME_MS - 1)
    assert.equal(ear.closed.length, 0)
    pair.clock.advanceNow(2)
    assert.deepEqual(pair.log.slice(2), ['client ended lost', 'service ended lost'])
    assert.deepEqual([ear.closed, pair.heard.get(1)!.closed], [[StreamReset.SESSION_ENDED], [StreamReset.SESSION_ENDED]])
    assert.equal(pair.clock.pendingTimers, 0)
    assert.ok(pair.client.ticket.secret.every((byte) => byte === 0))
    const [late] = pair.prepare()
    let closed = 0
    late.attach({ loop: 1, waiting: 0, wake() {}, close: () => void closed++ })
    assert.equal(closed, 1)
  })

  test('a mute exchange is dead after a second and a half, one that was never alive after ten', () => {
    const pair = new SessionPair()
    const pipe = pair.join()
    pair.clock.advanceNow(3_000)
    assert.deepEqual(pair.log, [])
    pipe.mute = true
    const at = pair.clock.monotonicMs()
    assert.ok(pair.until(() => pair.log.includes('client quiet'), 1_300))
    assert.ok(pair.clock.monotonicMs() - at >= 450)
    assert.ok(pair.until(() => pair.log.includes('client detached silent'), 1_400))
    assert.ok(pair.clock.monotonicMs() - at >= 1_400)
    assert.equal(pair.log.filter((line) => line === 'client quiet').length, 1)
    pair.clock.advanceNow(100)
    pair.log.length = 0
    const second = pair.join()
    second.mute = true
    pair.clock.advanceNow(9_000)
    assert.deepEqual(pair.log, [])
    assert.ok(pair.until(() => pair.log.includes('client detached silent'), 2_000))
  })

  test('a quiet exchange is replaced while it is still there, and nothing is lost either way', () => {
    const pair = new SessionPair()
    const pipe = pair.join()
    const ear = pair.open()
    pair.clock.advanceNow(1_000)
    pipe.mute = true
    ear.stream!.write(spanOf(1, 0, 5_000))
    assert.ok(pair.until(() => pair.log.includes('client quiet'), 800))
    pair.join()
    assert.ok(pair.until(() => pair.heard.get(1)?.received === 5_000, 500))
    pipe.mute = false
    ear.stream!.write(spanOf(1, 5_000, 5_000))
    assert.ok(pair.until(() => pair.heard.get(1)?.received === 10_000, 500))
    assert.ok(!pair.log.some((line) => line.includes('detached')))
  })

  test('what was said before the other end came is said again when it is there', () => {
    const pair = new SessionPair()
    const pipe = pair.join()
    pipe.mute = true
    const ear = pair.open()
    ear.stream!.write(spanOf(1, 0, 2500))
    pair.clock.advanceNow(4_000)
    pipe.mute = false
    assert.ok(pair.until(() => pair.heard.get(1)?.received === 2500, 700))
  })

  test('an exchange that was prepared before the one in use does not replace it, whenever its payloads come', () => {
    const peer = facing('service')
    const keys = (byte: number) => ({ toService: new Uint8Array(32).fill(byte), toClient: new Uint8Array(32).fill(byte + 1) })
    const stale = peer.session.prepare(keys(10))
    const newer = peer.session.prepare(keys(20))
    const ports: string[] = []
    const port = (name: string) => ({ loop: 1, waiting: 0, wake() {}, close: () => void ports.push(name) })
    newer.attach(port('newer'))
    assert.deepEqual(peer.log, ['port closed'])
    const sealer = new PayloadSealer(keys(10).toService)
    const payload = new Uint8Array(PAYLOAD_BYTES)
    sealer.plain.fill(0)
    sealer.seal(payload, 0)
    stale.onPayload(payload, 0)
    stale.attach(port('stale'))
    assert.deepEqual(ports, ['stale'])
    assert.equal(peer.session.attached, true)
  })

  test('a new exchange replaces the old one; a failed join changes nothing', () => {
    const pair = new SessionPair(echoing(() => 300_000))
    const first = pair.join()
    const ear = pair.open()
    ear.send(300_000, 30_000)
    pair.clock.advanceNow(30)
    const [spare] = pair.prepare()
    spare.discard()
    spare.discard()
    assert.equal(pair.client.attached, true)
    pair.join()
    pair.clock.advanceNow(50)
    assert.equal(first.over, true)
    assert.ok(pair.until(() => ear.closed.length > 0 && pair.service.openStreams === 0, 3_000))
    exchanged(pair, ear, 300_000, 300_000)
    assert.deepEqual(pair.log, [])
  })

  test('a close is told: the other end’s streams end, no timer stays', () => {
    const pair = new SessionPair()
    pair.join()
    const ear = pair.open()
    pair.until(() => ear.opened === 1, 100)
    pair.client.close()
    pair.client.close()
    assert.deepEqual(ear.closed, [StreamReset.SESSION_ENDED])
    pair.clock.advanceNow(1_000)
    assert.deepEqual(pair.log, ['client ended closed', 'service ended peer-closed'])
    assert.equal(pair.clock.pendingTimers, 0)
    ear.stream!.write(spanOf(1, 0, 10))
    ear.stream!.end()
    ear.stream!.reset(StreamReset.CANCELLED)
    assert.equal(pair.client.openStreams, 0)
  })
})

// Liars --------------------------------------------------------------------------------------------------------------------------------

const KEYS = () => ({ toService: new Uint8Array(32).fill(1), toClient: new Uint8Array(32).fill(2) })

/** An honest end, and a peer that has the keys and says what it likes. */
function facing(role: 'client' | 'service') {
  const clock = new FakeClock()
  const log: string[] = []
  const heard: number[] = []
  const ear = {
    onData: (_bytes: Uint8Array, _at: number, length: number) => void heard.push(length),
    onFin() {},
    onDrain() {},
    onClose: (code: number | null) => void log.push(`closed ${code}`),
  }
  const session = new Session({
    role,
    ticket: { id: new Uint8Array(16), secret: new Uint8Array(32) },
    clock,
    events: {
      onOpen: () => ear,
      onDetached: (reason) => void log.push(`detached ${reason}`),
      onEnd: (reason) => void log.push(`ended ${reason}`),
    },
  })
  const exchange = session.prepare(KEYS())
  exchange.attach({ loop: 1, waiting: 0, wake() {}, close: () => void log.push('port closed') })
  const sealer = new PayloadSealer(role === 'client' ? KEYS().toClient : KEYS().toService)
  const say = (write: (into: Uint8Array) => number) => {
    sealer.plain.fill(0)
    write(sealer.plain)
    const payload = new Uint8Array(PAYLOAD_BYTES)
    sealer.seal(payload, 0)
    exchange.onPayload(payload, 0)
  }
  const fill = () => {
    const payload = new Uint8Array(PAYLOAD_BYTES)
    exchange.fill(payload, 0)
    return payload
  }
  const bytes = (id: number, offset: number, length: number, fin = false) =>
    say((into) => writeStreamHeader(into, 0, id, offset, length, fin))
  const open = (id = 1) => say((into) => writeOpen(into, 0, id, 80))
  return { session, exchange, clock, log, heard, ear, say, fill, bytes, open }
}

type Facing = ReturnType<typeof facing>

describe('liars', () => {
  const ack = (largest: number) => (into: Uint8Array) => {
    into[0] = 7
    into[1] = largest
    into[9] = 1
    into[10] = 1
    return 12
  }
  const cases: readonly (readonly [string, 'client' | 'service', (peer: Facing) => void])[] = [
    ['more than a stream’s credit', 'service', (p) => [p.open(), p.bytes(1, STREAM_CREDIT_BYTES - 99, 100)]],
    [
      'more than the session’s credit',
      'service',
      (p) => {
        for (let id = 1; id <= SESSION_CREDIT_BYTES / STREAM_CREDIT_BYTES; id++) p.bytes(id, STREAM_CREDIT_BYTES - 1, 1)
        assert.deepEqual(p.log, [])
        p.bytes(200, 0, 1)
      },
    ],
    ['bytes behind the end', 'service', (p) => [p.open(), p.bytes(1, 0, 10, true), p.bytes(1, 10, 1)]],
    ['an end before bytes that came', 'service', (p) => [p.open(), p.bytes(1, 50, 10), p.bytes(1, 0, 20, true)]],
    ['two ends', 'service', (p) => [p.open(), p.bytes(1, 0, 10, true), p.bytes(1, 0, 11, true)]],
    [
      'a reset before bytes that came',
      'service',
      (p) => [p.open(), p.bytes(1, 0, 50), p.say((into) => writeReset(into, 0, 1, 0, 49))],
    ],
    [
      'a reset with another end',
      'service',
      (p) => [p.open(), p.bytes(1, 0, 50, true), p.say((into) => writeReset(into, 0, 1, 0, 51))],
    ],
    ['a reset beyond credit', 'service', (p) => [p.open(), p.say((into) => writeReset(into, 0, 1, 0, STREAM_CREDIT_BYTES + 1))]],
    ['more streams than there may be', 'service', (p) => p.open(SESSION_STREAMS_MAX + 1)],
    ['one stream for two ports', 'service', (p) => [p.open(), p.say((into) => writeOpen(into, 0, 1, 81))]],
    ['OPENED from a client', 'service', (p) => [p.open(), p.say((into) => writeOpened(into, 0, 1))]],
    ['STREAMS from a client', 'service', (p) => p.say((into) => writeStreams(into, 0, 999))],
    ['an acknowledgement of what was never sent', 'service', (p) => p.say(ack(0))],
    ['the same later', 'service', (p) => [p.fill(), p.fill(), p.say(ack(1)), p.say(ack(2))]],
    ['a stream opened by a service', 'client', (p) => p.open()],
    ['bytes of a stream that was never opened', 'client', (p) => p.bytes(1, 0, 1)],
    ['credit for a stream that was never opened', 'client', (p) => p.say((into) => writeCredit(into, 0, 7, 9e6))],
    ['OPENED for a stream that was never opened', 'client', (p) => p.say((into) => writeOpened(into, 0, 1))],
    [
      'frames that are none',
      'client',
      (p) =>
        p.say((into) => {
          into[0] = 77
          return 1
        }),
    ],
  ]
  for (const [what, role, lie] of cases) {
    test(`${what}: the session ends, and the liar is told nothing but that`, () => {
      const peer = facing(role)
      lie(peer)
      assert.deepEqual(
        peer.log.filter((line) => line.startsWith('ended')),
        ['ended protocol'],
      )
      const opener = new PayloadOpener(role === 'client' ? KEYS().toService : KEYS().toClient)
      assert.equal(peer.exchange.wants, true)
      assert.ok(opener.open(peer.fill(), 0) >= 0)
      const said = opener.plain.indexOf(9)
      assert.ok(said >= 0 && said <= 16)
      peer.clock.advanceNow(1_000)
      assert.equal(peer.log.at(-1), 'port closed')
      assert.equal(peer.clock.pendingTimers, 0)
    })
  }

  test('single bytes with gaps between them hold no more than their credit, and end the session', () => {
    const peer = facing('service')
    peer.open()
    for (let offset = 1; peer.log.length === 0 && offset < STREAM_CREDIT_BYTES; offset += 2) peer.bytes(1, offset, 1)
    assert.ok(peer.log.includes('ended protocol'))
  })

  test('a reset with a code that is none, or one of this end alone, is no more than a reset', () => {
    for (const code of [StreamReset.SESSION_ENDED, 5, 255]) {
      const peer = facing('client')
      const closed: (number | null)[] = []
      const nothing = () => {}
      peer.session.open(80, { onData: nothing, onFin: nothing, onDrain: nothing, onClose: (why) => closed.push(why) })
      peer.say((into) => writeReset(into, 0, 1, code, 0))
      assert.deepEqual(closed, [StreamReset.CANCELLED])
    }
  })

  test('streams whose OPEN never comes are held within the same bounds', () => {
    const peer = facing('service')
    for (let offset = 0; offset + 1900 < STREAM_CREDIT_BYTES; offset += 1900) peer.bytes(3, offset, 1900)
    assert.deepEqual([peer.session.openStreams, peer.heard.length, peer.log], [3, 0, []])
    peer.open(3)
    assert.equal(
      peer.heard.reduce((sum, length) => sum + length, 0),
      Math.floor(STREAM_CREDIT_BYTES / 1900) * 1900,
    )
  })

  test('what is not authentic is dropped, and says nothing', () => {
    const peer = facing('service')
    for (let round = 0; round < 50; round++) peer.exchange.onPayload(new Uint8Array(PAYLOAD_BYTES).fill(round), 0)
    assert.deepEqual([peer.log, peer.session.figures.received], [[], 0])
  })
})

describe('what the rendezvous point sees', () => {
  test('an end that is over, or was replaced, still gives payloads that look like all others, and holds no key to any', () => {
    const peer = facing('service')
    const before = peer.fill()
    const late = peer.session.prepare({ toService: new Uint8Array(32).fill(3), toClient: new Uint8Array(32).fill(4) })
    peer.session.close()
    peer.clock.advanceNow(1_000)
    const given = [0, 1, 2].map(() => {
      const payload = new Uint8Array(PAYLOAD_BYTES)
      late.fill(payload, 0)
      return payload
    })
    given.push(peer.fill(), peer.fill())
    const opener = new PayloadOpener(KEYS().toClient)
    assert.ok(opener.open(before, 0) >= 0)
    const seen = new Set<string>()
    for (const payload of given) {
      assert.equal(opener.open(payload, 0), -1)
      for (let at = 8; at + 16 <= PAYLOAD_BYTES; at += 16) seen.add(toHex(payload.subarray(at, at + 16)))
    }
    assert.equal(seen.size, given.length * 123, 'no block twice')
    assert.deepEqual(
      given.map((payload) => readU32(payload, 0)),
      [0, 1, 2, readU32(given[3]!, 0), readU32(given[3]!, 0) + 1],
    )
  })

  test('payloads of one size, numbered one after the other, with no bit that tells content from dummies', () => {
    const seen: [Uint8Array[], Uint8Array[]] = [[], []]
    const pair = new SessionPair({ watch: (from, payload) => void seen[from].push(payload) })
    const pipe = pair.join()
    pair.clock.advanceNow(8_000)
    const dummies = seen[0].length
    const ear = pair.open()
    // Content whose plaintext is as regular as can be.
    for (let at = 0; at < 100; at++) ear.stream!.write(new Uint8Array(2000))
    pair.clock.advanceNow(300)
    assert.ok(pipe.moved > 200 && dummies > 25 && seen[0].length > dummies + 90)
    const blocks = new Set<string>()
    let total = 0
    for (const payloads of seen) {
      for (const [number, payload] of payloads.entries()) {
        assert.equal(payload.length, PAYLOAD_BYTES)
        assert.deepEqual([readU32(payload, 0), readU32(payload, 4)], [number, 0])
        for (let at = 8; at + 16 <= PAYLOAD_BYTES; at += 16) blocks.add(toHex(payload.subarray(at, at + 16)))
        total += Math.floor((PAYLOAD_BYTES - 8) / 16)
      }
    }
    assert.equal(blocks.size, total, 'no block of ciphertext comes twice')
    const bits = (payloads: readonly Uint8Array[]) => {
      let ones = 0
      for (const payload of payloads) for (const byte of payload.subarray(8)) ones += bitCount(byte)
      return ones / (payloads.length * 1976 * 8)
    }
    // Four standard deviations of a fair coin over the dummies.
    const most = 4 / Math.sqrt(4 * dummies * 1976 * 8)
    assert.ok(Math.abs(bits(seen[0].slice(0, dummies)) - 0.5) < most)
    assert.ok(Math.abs(bits(seen[0].slice(dummies)) - 0.5) < most)
  })

  test('as many payloads one way as the other, whoever talks', () => {
    const counts: [number, number] = [0, 0]
    const pair = new SessionPair({ watch: (from) => void counts[from]++ })
    pair.join()
    pair.open().send(3 << 20, 60_000)
    pair.clock.advanceNow(4_000)
    assert.ok(counts[0] > 1500 && Math.abs(counts[0] - counts[1]) <= 2, `${counts}`)
  })
})

function bitCount(byte: number): number {
  let ones = 0
  for (let left = byte; left > 0; left &= left - 1) ones++
  return ones
}
