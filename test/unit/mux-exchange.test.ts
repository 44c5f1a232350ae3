/**
 * Payloads in the cells of a mux (SPEC §5.1, §11.1): where they stand, what rides beside them, what BACKLOG says, and what liars get.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { FRAMES_BYTES } from '../../src/cell/index.ts'
import {
  BACKLOG_BYTES,
  FrameType,
  MessageReader,
  PAYLOAD_BYTES,
  PAYLOAD_FRAME_BYTES,
  type PayloadFlow,
  ResetCode,
  StreamMux,
  sendMessage,
} from '../../src/stream/index.ts'
import { seededRng } from '../support/seeded-rng.ts'

/** Gives what it is told to, and writes down what comes. */
class Flow implements PayloadFlow {
  readonly queue: number[] = []
  readonly came: number[] = []
  gone = 0
  get due(): boolean {
    return this.queue.length > 0
  }
  get waiting(): number {
    return this.queue.length
  }
  take(into: Uint8Array, at: number): void {
    into.fill(this.queue.shift()!, at, at + PAYLOAD_BYTES)
  }
  onPayload(bytes: Uint8Array, at: number): void {
    const payload = bytes.subarray(at, at + PAYLOAD_BYTES)
    assert.ok(payload.length === PAYLOAD_BYTES && payload.every((byte) => byte === payload[0]))
    this.came.push(payload[0]!)
  }
  onGone(): void {
    this.gone++
  }
}

function pair() {
  let wakes = 0
  const origin = new StreamMux({ role: 'origin', wake: () => wakes++ })
  const hop = new StreamMux({
    role: 'hop',
    onOpen: () => ({ onData: () => {}, onFin: () => {}, onClose: () => {} }),
    wake: () => {},
  })
  const cell = new Uint8Array(FRAMES_BYTES)
  /** One cell there and its answer back. */
  const round = () => {
    origin.fill(cell, 0, cell.length)
    assert.ok(hop.receive(cell, 0, cell.length))
    hop.fill(cell, 0, cell.length)
    assert.ok(origin.receive(cell, 0, cell.length))
    return cell
  }
  return { origin, hop, cell, round, wakes: () => wakes }
}

test('a payload leaves room for BACKLOG, all control there is and a stream', () => {
  assert.ok(PAYLOAD_FRAME_BYTES + BACKLOG_BYTES + 11 + 6 + 14 <= FRAMES_BYTES)
})

test('payloads ride both ways, one in each cell, first in it; BACKLOG tells those that wait, streams go on beside them', () => {
  const { origin, hop, round, wakes } = pair()
  const here = new Flow()
  const there = new Flow()
  const before = wakes()
  assert.ok(origin.attach(here) && hop.attach(there))
  assert.equal(wakes(), before + 1)
  assert.equal(origin.attach(new Flow()), false, 'once')
  assert.ok(origin.awaiting)
  here.queue.push(1, 2, 3)
  there.queue.push(7, 8, 9, 10)
  let heard = -1
  const reader = new MessageReader({ onMessage: (message) => (heard = message.length), onFail: () => assert.fail() })
  const stream = origin.open(reader)!
  reader.stream = stream
  sendMessage(stream, new Uint8Array(60))
  const cell = round()
  assert.deepEqual([cell[0], cell[1], cell[3], cell[4]], [FrameType.BACKLOG, 3, FrameType.PAYLOAD, 7])
  assert.equal(origin.peerBacklogCells, 3)
  for (let at = 0; at < 5; at++) round()
  assert.deepEqual(there.came, [1, 2, 3])
  assert.deepEqual(here.came, [7, 8, 9, 10])
  assert.equal(origin.peerBacklogCells, 0)
  assert.equal(origin.queuedBytes, 0, 'the stream went out between them')
  assert.equal(heard, -1)
})

test('a cell without a payload to give is as it was', () => {
  const { origin, hop, round } = pair()
  origin.attach(new Flow())
  hop.attach(new Flow())
  assert.ok(round().every((byte, at) => byte === (at === 0 ? FrameType.BACKLOG : 0)))
})

test('liars: a payload where there is no exchange, at either end; one that does not fit', () => {
  for (const liar of ['origin', 'hop'] as const) {
    const { origin, hop, cell } = pair()
    cell[0] = FrameType.PAYLOAD
    const honest = liar === 'origin' ? hop : origin
    assert.equal(honest.receive(cell, 0, cell.length), false)
    const flow = new Flow()
    const joined = pair()
    const other = liar === 'origin' ? joined.hop : joined.origin
    other.attach(flow)
    assert.equal(other.receive(cell, 0, cell.length), true)
    // Seven RESETs (of streams that are gone) leave just room for a payload, eight do not.
    for (const [resets, fits] of [
      [7, true],
      [8, false],
    ] as const) {
      const full = new Uint8Array(FRAMES_BYTES)
      for (let reset = 0; reset < resets; reset++) full.set([FrameType.RESET, 1, 0, 0, 0, 0], 6 * reset)
      full[6 * resets] = FrameType.PAYLOAD
      assert.equal(other.receive(full, 0, full.length), fits)
    }
    assert.equal(flow.came.length, 2)
  }
})

test('the flow hears once that the mux has closed, and nothing after it', () => {
  const { origin, hop, cell } = pair()
  const flow = new Flow()
  hop.attach(flow)
  flow.queue.push(1)
  hop.close(ResetCode.CANCELLED)
  hop.close(ResetCode.CANCELLED)
  assert.equal(flow.gone, 1)
  cell[0] = FrameType.PAYLOAD
  assert.equal(hop.receive(cell, 0, cell.length), true, 'what comes later is dropped')
  hop.fill(cell, 0, cell.length)
  assert.equal(cell[3], 0)
  assert.deepEqual([flow.came.length, flow.queue.length], [0, 1])
  assert.equal(hop.attach(new Flow()), false)
  origin.close(ResetCode.CANCELLED)
  assert.equal(origin.attach(new Flow()), false)
})

test('paced: several exchanges at once, told apart by their numbers; a number is used again, and what comes late of the old is nothing', () => {
  const lossy = { rate: 128 }
  const origin = new StreamMux({ role: 'origin', wake: () => {}, lossy })
  const hop = new StreamMux({ role: 'hop', wake: () => {}, lossy })
  const flows = Array.from({ length: 3 }, () => [new Flow(), new Flow()] as const)
  for (const [at, number] of [0, 1, 15].entries()) {
    assert.ok(origin.attach(flows[at]![0], number) && hop.attach(flows[at]![1], number))
    flows[at]![0].queue.push(at + 1, at + 11)
    flows[at]![1].queue.push(at + 101)
  }
  assert.equal(origin.attach(new Flow(), 1), false)
  assert.equal(origin.attach(new Flow(), 16), false)
  const cell = new Uint8Array(FRAMES_BYTES)
  let counter = 0
  const round = () => {
    origin.fill(cell, 0, cell.length, counter)
    assert.ok(hop.receive(cell, 0, cell.length, counter))
    hop.fill(cell, 0, cell.length, counter)
    assert.ok(origin.receive(cell, 0, cell.length, counter++))
  }
  for (let at = 0; at < 6; at++) round()
  for (const [at, [here, there]] of flows.entries()) {
    assert.deepEqual(there.came, [at + 1, at + 11])
    assert.deepEqual(here.came, [at + 101])
  }
  origin.detach(1)
  const [here, there] = [new Flow(), new Flow()]
  flows[1]![1].queue.push(9)
  round()
  assert.deepEqual([flows[1]![0].came.length, flows[1]![0].gone], [1, 0])
  assert.ok(hop.attach(there, 1), 'the hop takes the newer')
  assert.equal(flows[1]![1].gone, 1)
  assert.ok(origin.attach(here, 1))
  here.queue.push(5)
  there.queue.push(6)
  round()
  assert.deepEqual([here.came, there.came], [[6], [5]])
  const ends = [here, flows[0]![0], flows[2]![0]]
  origin.close(ResetCode.CANCELLED)
  assert.ok(ends.every(({ gone }) => gone === 1))
})

test('swift: one exchange, without a number; one that is told is a breach', () => {
  const { origin, hop, cell } = pair()
  assert.equal(origin.attach(new Flow(), 1), false)
  assert.ok(origin.attach(new Flow()) && hop.attach(new Flow()))
  cell.set([FrameType.EXCHANGE, 0])
  assert.equal(hop.receive(cell, 0, cell.length), false)
})

test('any mix of payloads and streams: all payloads in order, all bytes, and a cell never holds two payloads', () => {
  fc.assert(
    fc.property(fc.nat(), (seed) => {
      const rng = seededRng(seed)
      let taken = 0
      const origin = new StreamMux({ role: 'origin', wake: () => {} })
      const hop = new StreamMux({
        role: 'hop',
        wake: () => {},
        onOpen: (stream) => ({
          onData: (_bytes, _at, length) => {
            taken += length
            stream.consumed(length)
          },
          onFin: () => stream.end(),
          onClose: () => {},
        }),
      })
      const flows = [new Flow(), new Flow()] as const
      origin.attach(flows[0])
      hop.attach(flows[1])
      const sent: [number[], number[]] = [[], []]
      let written = 0
      const cell = new Uint8Array(FRAMES_BYTES)
      for (let step = 0; step < 200; step++) {
        const side = rng.below(2) as 0 | 1
        if (rng.below(3) > 0) {
          const byte = 1 + rng.below(255)
          flows[side].queue.push(byte)
          sent[side].push(byte)
        }
        if (rng.below(8) === 0) {
          const bytes = 1 + rng.below(300)
          const stream = origin.open({ onData: () => {}, onFin: () => {}, onClose: () => {} })
          stream?.write(new Uint8Array(bytes))
          stream?.end()
          if (stream !== null) written += bytes
        }
        const came = flows.map((flow) => flow.came.length)
        origin.fill(cell, 0, cell.length)
        assert.ok(hop.receive(cell, 0, cell.length))
        hop.fill(cell, 0, cell.length)
        assert.ok(origin.receive(cell, 0, cell.length))
        for (const [at, flow] of flows.entries()) assert.ok(flow.came.length <= came[at]! + 1)
      }
      for (let step = 0; step < 3_000 && (origin.openStreams > 0 || flows.some(({ due }) => due)); step++) {
        origin.fill(cell, 0, cell.length)
        assert.ok(hop.receive(cell, 0, cell.length))
        hop.fill(cell, 0, cell.length)
        assert.ok(origin.receive(cell, 0, cell.length))
      }
      assert.deepEqual(flows[1].came, sent[0])
      assert.deepEqual(flows[0].came, sent[1])
      assert.equal(taken, written)
    }),
    { numRuns: 30, seed: 9 },
  )
})
