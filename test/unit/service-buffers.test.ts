/** What a stream holds to send and ahead of gaps, against plain models; and the window of payloads in flight. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { Ranges } from '../../src/service/ranges.ts'
import { BLOCK_BYTES, PIECES_MAX, ReceiveBuffer } from '../../src/service/receive-buffer.ts'
import { SendBuffer } from '../../src/service/send-buffer.ts'
import { PayloadWindow, WINDOW_PAYLOADS_MAX } from '../../src/service/window.ts'

const byteAt = (offset: number) => (offset * 7 + (offset >> 8) * 31) & 255
const span = (from: number, to: number) => Uint8Array.from({ length: to - from }, (_, at) => byteAt(from + at))

test('ranges are a set', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(120), fc.nat(20)), { maxLength: 60 }), (parts) => {
      const ranges = new Ranges()
      const set = new Set<number>()
      for (const [from, length] of parts) {
        ranges.add(from, from + length)
        for (let at = from; at < from + length; at++) set.add(at)
        const told: number[] = []
        for (let range = 0; range < ranges.count; range++) {
          assert.ok(ranges.starts[range]! < ranges.ends[range]!)
          if (range > 0) assert.ok(ranges.starts[range]! > ranges.ends[range - 1]!)
          for (let at = ranges.starts[range]!; at < ranges.ends[range]!; at++) told.push(at)
        }
        assert.deepEqual(
          told,
          [...set].sort((a, b) => a - b),
        )
        assert.equal(ranges.size, set.size)
      }
    }),
  )
})

describe('what is to be sent', () => {
  test('model: every byte goes until it is acknowledged, lost ones first, and no acknowledged byte again', () => {
    const step = fc.oneof(
      fc.tuple(fc.constant('write' as const), fc.integer({ min: 1, max: 5000 })),
      fc.tuple(fc.constant('send' as const), fc.integer({ min: 1, max: 1947 })),
      fc.tuple(fc.constant('ack' as const), fc.nat(50)),
      fc.tuple(fc.constant('lose' as const), fc.nat(50)),
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 250 }), (steps) => {
        const buffer = new SendBuffer()
        const inFlight: (readonly [number, number])[] = []
        const lost = new Set<number>()
        const acked = new Set<number>()
        let written = 0
        let sent = 0
        const into = new Uint8Array(2000)
        for (const [kind, value] of steps) {
          if (kind === 'write') {
            buffer.append(span(written, written + value))
            written += value
          } else if (kind === 'send') {
            const offset = buffer.nextOffset
            const fresh = lost.size === 0
            assert.equal(buffer.hasLost, !fresh)
            assert.equal(offset, fresh ? sent : Math.min(...lost))
            const length = buffer.next(value, 900)
            if (fresh) {
              assert.equal(length, Math.min(value, 900, written - sent))
              sent += length
            }
            if (length === 0) continue
            buffer.copy(offset, length, into, 3)
            assert.deepEqual(into.slice(3, 3 + length), span(offset, offset + length))
            for (let at = offset; at < offset + length; at++) lost.delete(at)
            inFlight.push([offset, offset + length])
          } else if (inFlight.length > 0) {
            const [[from, to]] = inFlight.splice(value % inFlight.length, 1) as [readonly [number, number]]
            if (kind === 'ack') buffer.onAcked(from, to)
            else buffer.onLost(from, to)
            for (let at = from; at < to; at++) (kind === 'ack' ? acked : lost).add(at)
          }
          let prefix = 0
          while (acked.has(prefix)) prefix++
          assert.deepEqual([buffer.held, buffer.end, buffer.sent], [written - prefix, written, sent])
          assert.equal(buffer.allAcked, prefix === written)
        }
      }),
      { numRuns: 60 },
    )
  })

  test('many small writes take no object each', () => {
    const buffer = new SendBuffer()
    for (let at = 0; at < 100_000; at++) buffer.append(Uint8Array.of(byteAt(at)))
    const into = new Uint8Array(1947)
    let offset = 0
    while (offset < 100_000) {
      const length = buffer.next(1947, 1947)
      buffer.copy(offset, length, into, 0)
      assert.deepEqual(into.slice(0, length), span(offset, offset + length))
      offset += length
    }
    buffer.onAcked(0, 100_000)
    assert.equal(buffer.held, 0)
  })
})

describe('what came ahead of a gap', () => {
  test('model: pieces in any order, doubled and overlapping, come out whole and once', () => {
    const total = 3 * BLOCK_BYTES
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(total - 1), fc.integer({ min: 1, max: 3000 })), { maxLength: 80 }), (pieces) => {
        const buffer = new ReceiveBuffer()
        const came = new Set<number>()
        let delivered = 0
        for (const [start, size] of pieces) {
          const from = Math.max(start, delivered)
          const to = Math.min(total, Math.max(from, start + size))
          if (from < to) assert.ok(buffer.put(from, span(from - 1, to), 1, to - from))
          for (let at = from; at < to; at++) came.add(at)
          let expected = delivered
          while (came.has(expected)) expected++
          const end = buffer.take(delivered, (bytes, at, length) => {
            assert.deepEqual(bytes.slice(at, at + length), span(delivered, delivered + length))
            delivered += length
          })
          assert.deepEqual([end, delivered], [expected, expected])
          assert.equal(buffer.held, [...came].filter((at) => at >= delivered).length)
        }
      }),
      { numRuns: 60 },
    )
  })

  test('what was given by another way is let go', () => {
    const buffer = new ReceiveBuffer()
    buffer.put(100, span(100, 200), 0, 100)
    buffer.put(40_000, span(40_000, 40_010), 0, 10)
    assert.equal(
      buffer.take(39_990, () => assert.fail('given twice')),
      39_990,
    )
    assert.equal(buffer.held, 10)
    assert.equal(
      buffer.take(40_005, (_bytes, _at, length) => assert.equal(length, 5)),
      40_010,
    )
    assert.ok(buffer.empty)
  })

  test('single bytes with gaps between them: bounded', () => {
    const buffer = new ReceiveBuffer()
    let put = 0
    while (buffer.put(2 * put + 1, Uint8Array.of(1), 0, 1)) put++
    assert.equal(put, PIECES_MAX)
  })

  test('a byte ahead of a gap costs no more memory than a payload, and none once it was taken', () => {
    const buffer = new ReceiveBuffer()
    buffer.put(5, Uint8Array.of(1), 0, 1)
    assert.ok(buffer.memoryBytes <= 2048)
    buffer.put(0, new Uint8Array(5), 0, 5)
    buffer.take(0, () => {})
    assert.equal(buffer.memoryBytes, 0)
  })
})

describe('the window', () => {
  /** A way that takes `perMs` payloads in a millisecond and has a queue before it. Returns the window, and its mean at the end. */
  function settle(perMs: number, baseMs: number, limited = true): { readonly window: PayloadWindow; readonly mean: number } {
    const window = new PayloadWindow(0)
    const flying: { readonly number: number; readonly sentAt: number; readonly home: number }[] = []
    let [next, lastHome, sum] = [0, 0, 0]
    const steps = 40_000
    for (let step = 0; step < steps; step++) {
      const now = step
      while (flying.length < window.payloads) {
        lastHome = Math.max(lastHome + 1 / perMs, now + baseMs)
        flying.push({ number: next++, sentAt: now, home: lastHome })
      }
      while (flying.length > 0 && flying[0]!.home <= now) {
        const { number, sentAt } = flying.shift()!
        window.onRoundTrip(now - sentAt)
        window.onAcked(number, next, limited, now)
        assert.ok(window.payloads >= 16 && window.payloads <= WINDOW_PAYLOADS_MAX)
      }
      if (step >= steps / 2) sum += window.payloads
    }
    return { window, mean: sum / (steps / 2) }
  }

  test('a fast way is filled, up to what fits into the queue at the rendezvous point', () => {
    assert.ok(settle(20, 20).mean > 0.95 * WINDOW_PAYLOADS_MAX)
  })

  test('a slow way gets no standing queue', () => {
    const { mean } = settle(0.5, 20)
    assert.ok(mean <= 40, `${mean}`)
  })

  test('who does not use it does not grow it', () => {
    assert.equal(settle(20, 20, false).window.payloads, 64)
  })

  test('time-outs before the other end is there say nothing about the way', () => {
    const window = new PayloadWindow(0)
    for (let at = 0; at < 3; at++) window.onTimeout(false)
    assert.deepEqual([window.payloads, window.timeoutMs], [64, 1000])
  })

  test('losses shrink it once a round, time-outs double', () => {
    const window = new PayloadWindow(0)
    window.onLost()
    window.onLost()
    assert.equal(window.payloads, 44)
    const first = window.timeoutMs
    window.onTimeout(true)
    assert.equal(window.timeoutMs, Math.min(1000, 2 * first))
    for (let at = 0; at < 20; at++) window.onTimeout(true)
    assert.equal(window.timeoutMs, 1000)
    window.onRoundTrip(10)
    window.onAcked(1, 2, true, 1)
    assert.ok(window.timeoutMs < 100)
  })
})
