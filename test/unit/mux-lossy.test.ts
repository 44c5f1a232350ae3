/**
 * Streams of a paced circuit (SPEC §5.1 "Loss"): both ends over a way that loses cells and answers. Nothing wrong is ever delivered, both
 * ends agree on what was lost, credit comes back in full, and only what was hit is ended.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  HOP_CREDIT_BYTES,
  MessageReader,
  type MuxStream,
  ORIGIN_CREDIT_BYTES,
  ResetCode,
  STREAMS_MAX,
  type StreamEvents,
  StreamMux,
  sendMessage,
} from '../../src/stream/index.ts'
import { type SeededRng, seededRng } from '../support/seeded-rng.ts'

const CELL = 2027
const RATE = 128

/** What becomes of a cell: it comes to the hop and its answer home, it never comes to the hop, or its answer is lost. */
type Fate = 'well' | 'up' | 'down'

/** An origin and a hop that answers each request with its bytes turned round. Cells are under way `flight` at a time. */
class Way {
  readonly origin = new StreamMux({ role: 'origin', wake: () => {}, lossy: { rate: RATE } })
  readonly hop: StreamMux
  readonly #flying: { readonly counter: number; readonly answer: Uint8Array | null }[] = []
  readonly #flight: number
  counter = 0
  /** Streams at the hop that ended with a loss. */
  hopLost = 0

  constructor(flight = 5) {
    this.#flight = flight
    this.hop = new StreamMux({ role: 'hop', wake: () => {}, lossy: { rate: RATE }, onOpen: (stream) => this.#serve(stream) })
  }

  #serve(stream: MuxStream): StreamEvents {
    const reader = new MessageReader({
      onMessage: (message) => sendMessage(stream, message.toReversed()),
      onFail: (code) => void (code === ResetCode.LOST && this.hopLost++),
    })
    reader.stream = stream
    return reader
  }

  /** One cell goes; the oldest under way comes home. */
  step(fate: Fate): void {
    const cell = new Uint8Array(CELL)
    const counter = this.counter++
    this.origin.fill(cell, 0, CELL, counter)
    let answer: Uint8Array | null = null
    if (fate !== 'up') {
      assert.ok(this.hop.receive(cell, 0, CELL, counter), 'the hop finds no breach')
      const filled = new Uint8Array(CELL)
      this.hop.fill(filled, 0, CELL, counter)
      if (fate === 'well') answer = filled
    }
    this.#flying.push({ counter, answer })
    if (this.#flying.length > this.#flight) this.home()
  }

  home(): void {
    const { counter, answer } = this.#flying.shift()!
    if (answer === null) return this.origin.lost(counter)
    this.origin.arrived(counter)
    assert.ok(this.origin.receive(answer, 0, CELL), 'the origin finds no breach')
  }

  settle(): void {
    for (let cells = 0; cells < 3_000; cells++) {
      if (!this.origin.awaiting && !this.origin.hasOutput && !this.hop.hasOutput && this.#flying.length === 0) return
      if (this.origin.awaiting || this.origin.hasOutput || this.hop.hasOutput) this.step('well')
      else this.home()
    }
    assert.fail('it does not come to rest')
  }
}

/** Asks `bytes` and settles with the answer, or with the code by which it failed. */
function ask(way: Way, bytes: Uint8Array): { result: Uint8Array | number | null | undefined } {
  const asked: { result: Uint8Array | number | null | undefined } = { result: undefined }
  const reader = new MessageReader({ onMessage: (message) => (asked.result = message), onFail: (code) => (asked.result = code) })
  const stream = way.origin.open(reader)
  assert.ok(stream !== null)
  reader.stream = stream
  sendMessage(stream, bytes)
  return asked
}

const request = (rng: SeededRng, max: number) => rng.bytes(rng.below(max))

test('under any loss: each request is answered rightly or fails with LOST, no end finds a breach, nothing is left open', () => {
  fc.assert(
    fc.property(
      fc.nat(1_000_000),
      fc.integer({ min: 0, max: 40 }),
      fc.integer({ min: 0, max: 60 }),
      (seed, lossPercent, flight) => {
        const rng = seededRng(seed)
        const way = new Way(flight)
        const all: { readonly bytes: Uint8Array; readonly asked: ReturnType<typeof ask> }[] = []
        for (let step = 0; step < 400; step++) {
          if (rng.below(6) === 0 && way.origin.openStreams < STREAMS_MAX) {
            const bytes = request(rng, rng.below(8) === 0 ? 60_000 : 3_000)
            all.push({ bytes, asked: ask(way, bytes) })
          }
          way.step(rng.below(100) >= lossPercent ? 'well' : rng.below(2) === 0 ? 'up' : 'down')
        }
        way.settle()
        for (const { bytes, asked } of all) {
          if (asked.result instanceof Uint8Array) assert.deepEqual(asked.result, bytes.toReversed())
          else assert.equal(asked.result, ResetCode.LOST)
        }
        if (lossPercent === 0) assert.ok(all.every(({ asked }) => asked.result instanceof Uint8Array))
        assert.equal(way.origin.openStreams, 0)
        assert.equal(way.hop.openStreams, 0)
        // What is asked from now on is as ever.
        const after = ask(way, Uint8Array.of(1, 2, 3))
        way.settle()
        assert.deepEqual(after.result, Uint8Array.of(3, 2, 1))
      },
    ),
    { numRuns: 60 },
  )
})

test('a lost cell costs the requests whose bytes rode in it or in its answer, and no other', () => {
  for (const fate of ['up', 'down'] as const) {
    for (let hit = 0; hit < 60; hit++) {
      const way = new Way()
      const asked = Array.from({ length: 12 }, (_, at) => ask(way, new Uint8Array(5_000).fill(at + 1)))
      for (let cell = 0; cell < 70; cell++) way.step(cell === hit ? fate : 'well')
      way.settle()
      const failed = asked.filter(({ result }) => !(result instanceof Uint8Array)).length
      // A cell holds bytes of three of them, and so does its answer.
      assert.ok(failed <= 6, `${fate} ${hit}: ${failed} requests failed for one cell`)
    }
  }
})

test('an empty cell that is lost costs nothing, though a request waits', () => {
  const way = new Way()
  const holder: { stream: MuxStream | null } = { stream: null }
  const hop = new StreamMux({
    role: 'hop',
    wake: () => {},
    lossy: { rate: RATE },
    onOpen: (stream) => {
      holder.stream = stream
      return { onData: () => {}, onFin: () => {}, onClose: () => {} }
    },
  })
  Object.assign(way, { hop })
  const asked = ask(way, Uint8Array.of(9))
  way.step('well')
  for (let cell = 0; cell < 40; cell++) way.step(cell % 3 === 0 ? 'up' : cell % 3 === 1 ? 'down' : 'well')
  sendMessage(holder.stream!, Uint8Array.of(5))
  way.settle()
  assert.deepEqual(asked.result, Uint8Array.of(5))
})

test('credit comes back: through a way that loses every eighth cell far more than all credit is carried, both ways', () => {
  const way = new Way(20)
  const rng = seededRng('credit')
  const all: ReturnType<typeof ask>[] = []
  for (let cell = 0; all.length * 12_000 < 6 * Math.max(HOP_CREDIT_BYTES, ORIGIN_CREDIT_BYTES); cell++) {
    assert.ok(cell < 100_000, `it stands still after ${all.length} requests`)
    way.step(cell % 8 === 7 ? (cell % 16 === 15 ? 'up' : 'down') : 'well')
    if (way.origin.openStreams < 6) all.push(ask(way, rng.bytes(12_000)))
  }
  way.settle()
  const lost = all.filter(({ result }) => result === ResetCode.LOST).length
  assert.ok(lost > 100 && lost < all.length, `${lost} of ${all.length}`)
  const last = ask(way, new Uint8Array(60_000).fill(3))
  way.settle()
  assert.equal((last.result as Uint8Array).length, 60_000)
})

test('RESET, CREDIT and reports of noise that were lost are given anew', () => {
  const way = new Way(0)
  const stream = way.origin.open({ onData: () => {}, onFin: () => {}, onClose: () => {} })!
  stream.write(new Uint8Array(100))
  way.step('well')
  assert.equal(way.hop.openStreams, 1)
  stream.reset(ResetCode.CANCELLED)
  for (let cell = 0; cell < 5; cell++) way.step('up')
  assert.equal(way.hop.openStreams, 1)
  way.step('well')
  assert.equal(way.hop.openStreams, 0)
})

/** A STREAM frame. */
function streamFrame(id: number, offset: number, bytes: readonly number[]): Uint8Array {
  const frame = new Uint8Array(60)
  const view = new DataView(frame.buffer)
  frame[0] = 1
  view.setUint32(1, id, true)
  view.setUint32(5, offset, true)
  view.setUint16(11, bytes.length, true)
  frame.set(bytes, 13)
  return frame
}

function ackFrame(counter: number, bytes: number): Uint8Array {
  const frame = new Uint8Array(60)
  const view = new DataView(frame.buffer)
  frame.set([4, 1])
  view.setUint32(2, counter, true)
  view.setUint16(6, bytes, true)
  return frame
}

function lossyHop() {
  const closed: (number | null)[] = []
  const hop = new StreamMux({
    role: 'hop',
    wake: () => {},
    lossy: { rate: RATE },
    onOpen: () => ({ onData: () => {}, onFin: () => {}, onClose: (code) => void closed.push(code) }),
  })
  return { hop, closed }
}

test('a gap resets its stream alone; a stream whose start was lost is refused with LOST', () => {
  const { hop, closed } = lossyHop()
  assert.ok(hop.receive(streamFrame(1, 0, [1]), 0, 60, 0))
  assert.ok(hop.receive(streamFrame(3, 0, [1]), 0, 60, 1))
  assert.ok(hop.receive(streamFrame(1, 5, [1]), 0, 60, 2))
  assert.deepEqual(closed, [ResetCode.LOST])
  assert.ok(hop.receive(streamFrame(5, 7, [1]), 0, 60, 3))
  const answer = new Uint8Array(60)
  hop.fill(answer, 0, 60, 3)
  assert.deepEqual([...answer.subarray(3, 15)], [3, 1, 0, 0, 0, ResetCode.LOST, 3, 5, 0, 0, 0, ResetCode.LOST])
  assert.equal(hop.openStreams, 1)
})

test('must fail: ACK in swift, at an origin, of a cell that has not come yet; bytes behind the end; more than all credit by reports', () => {
  const { hop } = lossyHop()
  assert.ok(hop.receive(ackFrame(8, 0), 0, 60, 9))
  assert.equal(hop.receive(ackFrame(10, 0), 0, 60, 10), false)
  assert.equal(lossyHop().hop.receive(ackFrame(0xffff_ffff, 0), 0, 60, 10), false)
  const swift = new StreamMux({ role: 'hop', wake: () => {} })
  assert.equal(swift.receive(ackFrame(1, 0), 0, 60, 9), false)
  const origin = new StreamMux({ role: 'origin', wake: () => {}, lossy: { rate: RATE } })
  assert.equal(origin.receive(ackFrame(1, 0), 0, 60, 9), false)
  const { hop: other } = lossyHop()
  const ended = streamFrame(1, 0, [1])
  ended[12] = 0x80
  assert.ok(other.receive(ended, 0, 60, 0))
  assert.equal(other.receive(streamFrame(1, 1, [1]), 0, 60, 1), false)
})

test('a report is counted once, and one of a cell that came is not counted at all', () => {
  const { hop } = lossyHop()
  const all = Math.ceil((2 * HOP_CREDIT_BYTES) / 0xffff)
  // The same cell over and over: once. Cells that came: never.
  for (let at = 0; at < all; at++) assert.ok(hop.receive(ackFrame(5, 0xffff), 0, 60, 1_000 + at))
  for (let at = 0; at < 64; at++) {
    const answer = new Uint8Array(60)
    hop.fill(answer, 0, 60, 5_000 + at)
  }
  for (let at = 0; at < 64; at++) assert.ok(hop.receive(ackFrame(5_000 + at, 0xffff), 0, 60, 6_000 + at))
  // An origin that claims losses without end is one that sends without reading its credit.
  let taken = 0
  while (taken < all && hop.receive(ackFrame(20 + taken, 0xffff), 0, 60, 9_000 + taken)) taken++
  assert.ok(taken < all)
})

test('at a hop where cells are lost, resets that wait are bounded: the oldest goes, the circuit stays', () => {
  const { hop } = lossyHop()
  for (let id = 1; id < 2_001; id += 2) assert.ok(hop.receive(streamFrame(id, 9, [1]), 0, 60, id))
  let resets = 0
  for (let cell = 0; cell < 100 && hop.hasOutput; cell++) {
    const answer = new Uint8Array(CELL)
    hop.fill(answer, 0, CELL, 3_000 + cell)
    for (let at = 3; answer[at] === 3; at += 6) resets++
  }
  assert.equal(resets, 256)
})

test('long requests go one after the other in order, short ones before them; none is taken for gone, and a run of losses hits one', () => {
  const way = new Way(8)
  const rng = seededRng('order')
  const done: string[] = []
  const askAs = (name: string, bytes: number) => {
    const reader = new MessageReader({ onMessage: () => done.push(name), onFail: (code) => done.push(`${name} ${code}`) })
    const stream = way.origin.open(reader)
    assert.ok(stream !== null)
    reader.stream = stream
    sendMessage(stream, rng.bytes(bytes))
  }
  for (const name of ['a', 'b', 'c']) askAs(name, 60_000)
  askAs('short', 100)
  for (let step = 0; step < 10; step++) way.step('well')
  askAs('later', 5_000)
  for (let step = 0; step < 6; step++) way.step('well')
  for (let step = 0; step < 6; step++) way.step('up')
  way.settle()
  assert.deepEqual(done, ['short', 'later', `a ${ResetCode.LOST}`, 'b', 'c'])
})
