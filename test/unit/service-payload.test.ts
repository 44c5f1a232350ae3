/** Payloads of an exchange: both AEAD engines, each number once, one look whatever is inside; frames: total, canonical, bounded. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { concat, fromHex, toHex } from '../../src/bytes/index.ts'
import { aeadWorks, NumberedAead, nativeAead, portableAead } from '../../src/crypto/index.ts'
import {
  ACK_LENGTH_MAX,
  ACK_RANGES_MAX,
  readSessionFrames,
  type SessionFrameSink,
  writeAck,
  writeCredit,
  writeOpen,
  writeOpened,
  writeReset,
  writeStreamHeader,
  writeStreams,
} from '../../src/service/frames.ts'
import { PayloadOpener, PayloadSealer, REPLAY_WINDOW, ReplayWindow } from '../../src/service/payload.ts'
import { Ranges } from '../../src/service/ranges.ts'
import { PAYLOAD_BYTES } from '../../src/stream/index.ts'

const rfc = JSON.parse(readFileSync(new URL('../vectors/rfc.json', import.meta.url), 'utf8')).aead as Record<string, string>
const bytes = (name: string) => fromHex(rfc[name]!)!
const engines = [nativeAead(), portableAead].filter((engine) => engine !== null)

describe('the AEAD', () => {
  test('the addon is used where the tests run', () => assert.equal(engines.length, 2))

  for (const engine of engines) {
    test(`${engine.implementation}: RFC 8439 §2.8.2, and every changed byte is refused`, () => {
      const [key, nonce, associated, plaintext] = [bytes('key'), bytes('nonce'), bytes('aad'), bytes('plaintext')]
      const sealed = new Uint8Array(plaintext.length + 16)
      engine.seal(sealed, plaintext, associated, nonce, key)
      assert.equal(toHex(sealed), rfc.ciphertext! + rfc.tag!)
      const opened = new Uint8Array(plaintext.length)
      assert.ok(engine.open(opened, sealed, associated, nonce, key))
      assert.deepEqual(opened, plaintext)
      for (let at = 0; at < sealed.length; at++) {
        const changed = sealed.slice()
        changed[at]! ^= 1 << (at % 8)
        assert.equal(engine.open(opened, changed, associated, nonce, key), false)
      }
      assert.equal(engine.open(opened, sealed, null, nonce, key), false)
    })
  }

  test('the self-test refuses an engine that computes anything else', () => {
    for (const engine of engines) assert.ok(aeadWorks(engine))
    const [engine] = engines
    assert.ok(engine)
    assert.equal(aeadWorks({ ...engine, seal: (out) => out.fill(0) }), false)
    assert.equal(aeadWorks({ ...engine, open: () => true }), false)
    assert.equal(
      aeadWorks({
        ...engine,
        seal() {
          throw new Error('broken')
        },
      }),
      false,
    )
  })

  test('both engines give the same bytes for every number', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 32, maxLength: 32 }),
        fc.maxSafeNat(),
        fc.uint8Array({ maxLength: 300 }),
        (key, number, text) => {
          const outs = engines.map((engine) => {
            const out = new Uint8Array(text.length + 16)
            new NumberedAead(key.slice(), engine).seal(out, text, number)
            return toHex(out)
          })
          assert.equal(new Set(outs).size, 1)
        },
      ),
    )
  })
})

describe('payloads', () => {
  const KEY = new Uint8Array(32).fill(3)
  const sealed = (count: number) => {
    const sealer = new PayloadSealer(KEY.slice())
    return Array.from({ length: count }, () => {
      const payload = new Uint8Array(PAYLOAD_BYTES)
      sealer.seal(payload, 0)
      return payload
    })
  }

  test('each is taken once, in any order within the window, and not behind it', () => {
    const payloads = sealed(REPLAY_WINDOW + 40)
    const opener = new PayloadOpener(KEY.slice())
    assert.equal(opener.open(payloads[5]!, 0), 5)
    assert.equal(opener.open(payloads[5]!, 0), -1)
    assert.equal(opener.open(payloads[3]!, 0), 3)
    assert.equal(opener.open(payloads.at(-1)!, 0), payloads.length - 1)
    assert.equal(opener.open(payloads[39]!, 0), -1)
    assert.equal(opener.open(payloads[40]!, 0), 40)
    assert.equal(opener.open(payloads[40]!, 0), -1)
  })

  test('a forged number changes nothing: the window moves for authentic payloads alone', () => {
    const payloads = sealed(3)
    const opener = new PayloadOpener(KEY.slice())
    const forged = payloads[0]!.slice()
    forged[5] = 1
    assert.equal(opener.open(forged, 0), -1)
    for (const [number, payload] of payloads.entries()) assert.equal(opener.open(payload, 0), number)
  })

  test('every changed byte is refused; another key opens nothing', () => {
    const [payload] = sealed(1)
    const opener = new PayloadOpener(KEY.slice())
    for (let at = 0; at < PAYLOAD_BYTES; at += 7) {
      const changed = payload!.slice()
      changed[at]! ^= 1 << (at % 8)
      assert.equal(opener.open(changed, 0), -1)
    }
    assert.equal(new PayloadOpener(new Uint8Array(32)).open(payload!, 0), -1)
    assert.equal(opener.open(payload!, 0), 0)
  })

  test('the replay window is a set of what came, as far back as it says', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(6000), { maxLength: 400 }), (numbers) => {
        const window = new ReplayWindow()
        const came = new Set<number>()
        let highest = -1
        for (const number of numbers) {
          const expected = !came.has(number) && (number > highest || highest - number < REPLAY_WINDOW)
          assert.equal(window.isNew(number), expected)
          if (!expected) continue
          window.note(number)
          came.add(number)
          highest = Math.max(highest, number)
        }
      }),
    )
  })
})

/** Notes what was read, as text. */
function recorder(): SessionFrameSink & { readonly seen: string[] } {
  const seen: string[] = []
  const note = (...parts: unknown[]) => void seen.push(parts.join(' '))
  return {
    seen,
    onOpen: (id, port) => note('open', id, port),
    onOpened: (id) => note('opened', id),
    onStream: (id, offset, from, at, length, fin) => note('stream', id, offset, toHex(from.subarray(at, at + length)), fin),
    onCredit: (id, limit) => note('credit', id, limit),
    onStreams: (limit) => note('streams', limit),
    onReset: (id, code, end) => note('reset', id, code, end),
    onAck: (ranges, count, delayMs) => note('ack', [...ranges.subarray(0, 2 * count)].join(','), delayMs.toFixed(1)),
    onPing: () => note('ping'),
    onClose: () => note('close'),
  }
}

describe('frames', () => {
  const id = fc.integer({ min: 1, max: 2 ** 32 - 1 })
  const offset = fc.integer({ min: 0, max: 2 ** 46 })
  /** A frame's bytes, and how the reader spells it. */
  const frame = fc.oneof(
    fc.tuple(id, fc.integer({ min: 1, max: 65_535 })).map(([stream, port]) => {
      return [made((into) => writeOpen(into, 0, stream, port)), `open ${stream} ${port}`] as const
    }),
    id.map((stream) => [made((into) => writeOpened(into, 0, stream)), `opened ${stream}`] as const),
    fc.tuple(id, offset, fc.uint8Array({ maxLength: 40 }), fc.boolean()).map(([stream, from, text, fin]) => {
      const head = made((into) => writeStreamHeader(into, 0, stream, from, text.length, fin))
      return [concat(head, text), `stream ${stream} ${from} ${toHex(text)} ${fin}`] as const
    }),
    fc.tuple(fc.nat(2 ** 31), offset).map(([stream, limit]) => {
      return [made((into) => writeCredit(into, 0, stream, limit)), `credit ${stream} ${limit}`] as const
    }),
    fc.nat(2 ** 31).map((limit) => [made((into) => writeStreams(into, 0, limit)), `streams ${limit}`] as const),
    fc.tuple(id, fc.nat(255), offset).map(([stream, code, end]) => {
      return [made((into) => writeReset(into, 0, stream, code, end)), `reset ${stream} ${code} ${end}`] as const
    }),
    fc.constantFrom([Uint8Array.of(8), 'ping'] as const, [Uint8Array.of(9), 'close'] as const),
  )

  function made(write: (into: Uint8Array) => number): Uint8Array {
    const into = new Uint8Array(400)
    return into.slice(0, write(into))
  }

  test('what is written is read, in order, up to the zeros', () => {
    fc.assert(
      fc.property(fc.array(frame, { maxLength: 20 }), fc.boolean(), (frames, padded) => {
        const sink = recorder()
        const joined = concat(...frames.map(([bytes_]) => bytes_), new Uint8Array(padded ? 9 : 0))
        assert.ok(readSessionFrames(joined, 0, joined.length, sink))
        assert.deepEqual(
          sink.seen,
          frames.map(([, text]) => text),
        )
      }),
    )
  })

  test('every truncation is malformed, or one frame less', () => {
    fc.assert(
      fc.property(frame, ([whole]) => {
        for (let end = 1; end < whole.length; end++) {
          assert.equal(readSessionFrames(whole, 0, end, recorder()), false)
        }
      }),
    )
  })

  test('what came is told by its newest ranges, and told exactly', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(200_000), fc.integer({ min: 1, max: 900 })), { minLength: 1, maxLength: 80 }),
        (parts) => {
          const came = new Ranges()
          for (const [from, length] of parts) came.add(from, from + length)
          const into = new Uint8Array(400)
          const end = writeAck(into, 0, came.starts, came.ends, 12.34)
          const sink = recorder()
          assert.ok(readSessionFrames(into, 0, end, sink))
          const [, told, delay] = sink.seen[0]!.split(' ')
          assert.equal(delay, '12.3')
          const numbers = told!.split(',').map(Number)
          assert.equal(numbers[1], came.ends.at(-1)! - 1)
          const count = numbers.length / 2
          assert.ok(count <= ACK_RANGES_MAX)
          for (let range = 0; range < count; range++) {
            const index = came.count - 1 - range
            assert.deepEqual([numbers[2 * range], numbers[2 * range + 1]], [came.starts[index], came.ends[index]! - 1])
          }
          const gapBehind = came.count - 1 - count
          const cut = gapBehind >= 0 && came.starts[gapBehind + 1]! - came.ends[gapBehind]! > ACK_LENGTH_MAX
          assert.ok(count === Math.min(came.count, ACK_RANGES_MAX) || cut)
        },
      ),
    )
  })

  test('of a range longer than a field the newest part is told', () => {
    const into = new Uint8Array(400)
    const end = writeAck(into, 0, [0, 100_000], [90_000, 300_000], 1e9)
    const sink = recorder()
    assert.ok(readSessionFrames(into, 0, end, sink))
    assert.deepEqual(sink.seen, ['ack 234465,299999 6553.5'])
  })

  test('must fail', () => {
    const ack = (first: number, count: number, ...pairs: number[]) => {
      const into = new Uint8Array(12 + 2 * pairs.length)
      into[0] = 7
      into[1] = first
      into[9] = count
      into[10] = 1
      for (const [at, value] of pairs.entries()) into[12 + 2 * at] = value
      return into
    }
    const cases: readonly (readonly [string, Uint8Array])[] = [
      ['an unknown type', Uint8Array.of(10)],
      ['a stream without id', made((into) => writeOpen(into, 0, 0, 80))],
      ['a port 0', made((into) => writeOpen(into, 0, 1, 0))],
      ['an OPENED without id', made((into) => writeOpened(into, 0, 0))],
      ['bytes of no stream', made((into) => writeStreamHeader(into, 0, 0, 0, 0, true))],
      ['bytes beyond the payload', made((into) => writeStreamHeader(into, 0, 1, 0, 5, true))],
      ['an offset beyond the end of streams', made((into) => writeStreamHeader(into, 0, 1, 2 ** 47, 0, false))],
      ['a reset of no stream', made((into) => writeReset(into, 0, 0, 1, 0))],
      ['a reset beyond the end of streams', made((into) => writeReset(into, 0, 1, 1, 2 ** 47))],
      ['an ACK of nothing', ack(5, 0)],
      ['an ACK with more ranges than there may be', concat(ack(200, 33), new Uint8Array(200).fill(1))],
      ['an ACK without its ranges', ack(5, 2)],
      ['an ACK with an empty range', ack(9, 2, 1, 0)],
      ['an ACK with ranges that touch', ack(9, 2, 0, 1)],
      ['an ACK below zero', ack(3, 2, 3, 1)],
    ]
    for (const [why, text] of cases) assert.equal(readSessionFrames(text, 0, text.length, recorder()), false, why)
    const zeroLength = ack(5, 1)
    zeroLength[10] = 0
    assert.equal(readSessionFrames(zeroLength, 0, zeroLength.length, recorder()), false)
  })
})
