/**
 * Streams between an origin and a hop (SPEC §5): a model of both ends under random schedules (exactly the written bytes, in order, memory
 * within credit), and liars: gaps, too much, too many, old ids, wrong parity, floods of resets, BACKLOG from an origin.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { FRAMES_BYTES } from '../../src/cell/index.ts'
import { writeBacklog, writeCredit, writeReset, writeStreamHeader } from '../../src/stream/frames.ts'
import {
  HOP_CREDIT_BYTES,
  type MuxStream,
  ORIGIN_CREDIT_BYTES,
  ResetCode,
  STREAM_CREDIT_BYTES,
  STREAMS_MAX,
  type StreamEvents,
  StreamMux,
} from '../../src/stream/index.ts'
import { type SeededRng, seededRng } from '../support/seeded-rng.ts'

/** The byte at an offset of one direction of one stream: what was written need not be kept. */
const byteAt = (id: number, side: Side, offset: number) =>
  (id * 31 + (side === 'hop' ? 97 : 0) + offset * 7 + (offset >> 8)) & 0xff

type Side = 'origin' | 'hop'

/** One end of a stream in the model: what its owner wrote, heard and holds. */
interface End {
  readonly side: Side
  stream: MuxStream
  written: number
  ended: boolean
  resetByMe: boolean
  heard: number
  unconsumed: number
  fins: number
  closes: number
}

class Model {
  readonly rng: SeededRng
  readonly cellBytes: number
  readonly ends = new Map<string, End>()
  readonly origin: StreamMux
  readonly hop: StreamMux
  wakes = 0
  /** Answers on their way home. */
  readonly flying: Uint8Array[] = []
  readonly eager: boolean

  constructor(rng: SeededRng, cellBytes: number, eager: boolean) {
    this.rng = rng
    this.cellBytes = cellBytes
    this.eager = eager
    this.origin = new StreamMux({ role: 'origin', wake: () => this.wakes++ })
    this.hop = new StreamMux({
      role: 'hop',
      wake: () => {},
      onOpen: (stream) => {
        if (rng.below(20) === 0) return ResetCode.REFUSED
        return this.#events(this.#end('hop', stream))
      },
    })
  }

  #end(side: Side, stream: MuxStream): End {
    const end = { side, stream, written: 0, ended: false, resetByMe: false, heard: 0, unconsumed: 0, fins: 0, closes: 0 }
    assert.equal(this.ends.has(`${side} ${stream.id}`), false, 'a stream is opened once')
    this.ends.set(`${side} ${stream.id}`, end)
    return end
  }

  #events(end: End): StreamEvents {
    const from: Side = end.side === 'hop' ? 'origin' : 'hop'
    return {
      onData: (bytes, at, length) => {
        assert.ok(length > 0)
        assert.ok(end.closes === 0 && end.fins === 0 && !end.resetByMe, 'nothing follows the end')
        for (let i = 0; i < length; i++) assert.equal(bytes[at + i], byteAt(end.stream.id, from, end.heard + i))
        end.heard += length
        end.unconsumed += length
        assert.ok(end.unconsumed <= STREAM_CREDIT_BYTES)
        if (this.eager) this.consume(end, length)
      },
      onFin: () => {
        assert.equal(end.closes, 0)
        assert.equal(++end.fins, 1)
      },
      onClose: () => {
        assert.equal(end.resetByMe, false)
        assert.equal(++end.closes, 1)
      },
    }
  }

  consume(end: End, bytes: number): void {
    end.unconsumed -= bytes
    end.stream.consumed(bytes)
  }

  open(): void {
    const holder: { end: End | null } = { end: null }
    const relay = (): StreamEvents => this.#events(holder.end!)
    const stream = this.origin.open({
      onData: (bytes, at, length) => events.onData(bytes, at, length),
      onFin: () => events.onFin(),
      onClose: (code) => events.onClose(code),
    })
    if (stream === null) return
    holder.end = this.#end('origin', stream)
    const events = relay()
    // A stream is written to at once, as `open` asks.
    if (this.rng.below(4) === 0) this.finish(holder.end)
    else this.write(holder.end, 1 + this.rng.below(200))
  }

  write(end: End, length: number): void {
    if (end.ended || end.closes > 0 || end.resetByMe) return
    end.stream.write(Uint8Array.from({ length }, (_, at) => byteAt(end.stream.id, end.side, end.written + at)))
    end.written += length
  }

  finish(end: End): void {
    end.ended = true
    end.stream.end()
  }

  reset(end: End): void {
    if (end.closes > 0 || end.resetByMe) return
    end.resetByMe = true
    end.stream.reset(ResetCode.CANCELLED)
  }

  /** One cell there; the answer stays on its way until `deliver`. */
  send(): void {
    const cell = new Uint8Array(this.cellBytes)
    this.origin.fill(cell, 0, cell.length)
    assert.equal(this.hop.receive(cell, 0, cell.length), true)
    this.hop.fill(cell, 0, cell.length)
    this.flying.push(cell)
  }

  deliver(): void {
    const cell = this.flying.shift()
    if (cell !== undefined) assert.equal(this.origin.receive(cell, 0, cell.length), true)
  }

  check(): void {
    for (const side of ['origin', 'hop'] as const) {
      let held = 0
      for (const end of this.ends.values()) if (end.side === side && end.closes === 0 && !end.resetByMe) held += end.unconsumed
      assert.ok(held <= (side === 'origin' ? ORIGIN_CREDIT_BYTES : HOP_CREDIT_BYTES))
    }
    assert.ok(this.origin.openStreams <= STREAMS_MAX && this.hop.openStreams <= STREAMS_MAX)
  }

  step(): void {
    const { rng } = this
    const ends = [...this.ends.values()]
    const end = ends[rng.below(Math.max(1, ends.length))]
    switch (rng.below(16)) {
      case 0:
        return this.open()
      case 1:
      case 2:
      case 3:
        if (end !== undefined) this.write(end, rng.below(rng.below(8) === 0 ? 40_000 : 300))
        return
      case 4:
        if (end !== undefined) this.finish(end)
        return
      case 5:
        if (end !== undefined && rng.below(3) === 0) this.reset(end)
        return
      case 6:
      case 7:
        if (end !== undefined && end.unconsumed > 0) this.consume(end, 1 + rng.below(end.unconsumed))
        return
      case 8:
      case 9:
      case 10:
        return this.deliver()
      default:
        return this.send()
    }
  }

  /** Ends everything that was not reset and lets it run out. */
  drain(): void {
    for (const end of this.ends.values()) this.finish(end)
    for (let round = 0; round < 200_000; round++) {
      this.send()
      this.deliver()
      for (const end of this.ends.values()) {
        if (end.unconsumed > 0) this.consume(end, end.unconsumed)
        if (end.side === 'hop' && !end.ended) this.finish(end)
      }
      if (this.origin.openStreams > 0 || this.hop.openStreams > 0) continue
      while (this.flying.length > 0) this.deliver()
      return
    }
    assert.fail('the streams never come to an end')
  }
}

test('model: any schedule of writes, ends, resets and credit delivers exactly the bytes written, in order', () => {
  fc.assert(
    fc.property(fc.nat(), fc.integer({ min: 40, max: FRAMES_BYTES }), fc.boolean(), (seed, cellBytes, eager) => {
      const model = new Model(seededRng(seed), cellBytes, eager)
      for (let step = 0; step < 400; step++) {
        model.step()
        model.check()
      }
      model.drain()
      for (const end of model.ends.values()) {
        const other = model.ends.get(`${end.side === 'hop' ? 'origin' : 'hop'} ${end.stream.id}`)
        assert.ok(end.resetByMe || end.closes === 1, `${end.side} ${end.stream.id} never closed`)
        if (end.resetByMe || other === undefined || other.resetByMe) continue
        assert.equal(end.heard, other.written)
        assert.equal(end.fins, 1)
      }
      assert.equal(model.origin.queuedBytes, 0)
      assert.equal(model.hop.queuedBytes, 0)
      // After all that the credit is whole again: a full window of bytes goes through.
      model.open()
      const last = [...model.ends.values()].at(-1)!
      model.write(last, STREAM_CREDIT_BYTES)
      model.finish(last)
      model.drain()
    }),
    { numRuns: 40, seed: 5 },
  )
})

/** A pair with cells of the real size. */
function pair(onOpen: (stream: MuxStream) => StreamEvents | number = () => quiet()) {
  const origin = new StreamMux({ role: 'origin', wake: () => {} })
  const hop = new StreamMux({ role: 'hop', onOpen, wake: () => {} })
  const cell = new Uint8Array(FRAMES_BYTES)
  const there = () => {
    origin.fill(cell, 0, cell.length)
    return hop.receive(cell, 0, cell.length)
  }
  const back = () => {
    hop.fill(cell, 0, cell.length)
    return origin.receive(cell, 0, cell.length)
  }
  return { origin, hop, there, back, round: () => there() && back() }
}

function quiet(over: Partial<StreamEvents> = {}): StreamEvents {
  return { onData: () => {}, onFin: () => {}, onClose: () => {}, ...over }
}

test('a stream cancelled before its first byte went does not take an older one with it', () => {
  const heard: number[] = []
  const { origin, there } = pair((stream) => quiet({ onFin: () => heard.push(stream.id) }))
  const first = origin.open(quiet())!
  const second = origin.open(quiet())!
  first.write(Uint8Array.of(1))
  first.end()
  second.write(Uint8Array.of(2))
  second.reset(ResetCode.CANCELLED)
  assert.equal(there(), true)
  assert.deepEqual(heard, [first.id])
})

test('opening and cancelling without end while nothing can be sent costs neither memory nor the loop', () => {
  const { origin, there, back } = pair()
  for (let i = 0; i < 5_000; i++) {
    const stream = origin.open(quiet())!
    stream.write(new Uint8Array(100))
    stream.end()
    stream.reset(ResetCode.CANCELLED)
  }
  assert.equal(origin.queuedBytes, 0)
  assert.equal(origin.hasOutput, false)
  assert.ok(there() && back())
})

test('bytes consumed after the end, or twice, give no credit that is not there', () => {
  let held: MuxStream | null = null
  const { origin, hop, there, back } = pair((stream) => {
    held = stream
    return quiet()
  })
  const stream = origin.open(quiet())!
  stream.write(new Uint8Array(1000))
  there()
  stream.reset(ResetCode.CANCELLED)
  assert.ok(there())
  for (let i = 0; i < 100; i++) held!.consumed(HOP_CREDIT_BYTES)
  assert.ok(back())
  // The hop must still refuse what goes beyond its window.
  const liar = new Uint8Array(FRAMES_BYTES)
  let offset = 0
  let accepted = true
  for (let id = 101; accepted && offset < 4 * HOP_CREDIT_BYTES; id += 2) {
    for (let at = 0; accepted && at < STREAM_CREDIT_BYTES; at += 2000) {
      liar.fill(0)
      writeStreamHeader(liar, 0, id, at, Math.min(2000, STREAM_CREDIT_BYTES - at), false)
      accepted = hop.receive(liar, 0, liar.length)
      offset += 2000
    }
  }
  assert.equal(accepted, false)
  assert.ok(offset <= 1.02 * HOP_CREDIT_BYTES)
})

// ---- Liars. Each gets a hop or origin of its own, says one thing, and must be caught in that very cell.

function toHop(write: (cell: Uint8Array) => number, prepare: (parts: ReturnType<typeof pair>) => void = () => {}): boolean {
  const parts = pair()
  prepare(parts)
  const cell = new Uint8Array(FRAMES_BYTES)
  write(cell)
  return parts.hop.receive(cell, 0, cell.length)
}

const streamFrame = (cell: Uint8Array, at: number, id: number, offset: number, length: number, fin = false) =>
  writeStreamHeader(cell, at, id, offset, length, fin) + length

test('liars: gaps, even ids, bytes after the end, BACKLOG from an origin end the circuit', () => {
  assert.equal(
    toHop((cell) => streamFrame(cell, 0, 1, 0, 10)),
    true,
  )
  assert.equal(
    toHop((cell) => streamFrame(cell, 0, 1, 1, 10)),
    false,
    'a stream that does not begin at 0',
  )
  assert.equal(
    toHop((cell) => streamFrame(cell, streamFrame(cell, 0, 1, 0, 10), 1, 11, 5)),
    false,
    'a gap',
  )
  assert.equal(
    toHop((cell) => streamFrame(cell, 0, 2, 0, 10)),
    false,
    'an even id',
  )
  assert.equal(
    toHop((cell) => streamFrame(cell, streamFrame(cell, 0, 1, 0, 10, true), 1, 10, 1)),
    false,
    'bytes after the end',
  )
  assert.equal(
    toHop((cell) => writeBacklog(cell, 0, 5)),
    false,
    'BACKLOG from an origin',
  )
  assert.equal(
    toHop((cell) => writeCredit(cell, 0, 1, 2 ** 47)),
    false,
    'credit past the end of offsets',
  )
})

test('duplicates and overlaps are harmless by offset', () => {
  let heard = ''
  const { hop } = pair(() =>
    quiet({
      onData: (bytes, at, length) => {
        heard += String.fromCharCode(...bytes.subarray(at, at + length))
      },
    }),
  )
  const cell = new Uint8Array(FRAMES_BYTES)
  const say = (offset: number, text: string) => {
    cell.fill(0)
    cell.set(
      [...text].map((char) => char.charCodeAt(0)),
      writeStreamHeader(cell, 0, 1, offset, text.length, false),
    )
    return hop.receive(cell, 0, cell.length)
  }
  assert.ok(say(0, 'abcd') && say(0, 'abcd') && say(2, 'cdef') && say(1, 'bc') && say(6, 'g'))
  assert.equal(heard, 'abcdefg')
})

test("liars: more than the stream's credit, or than that of all together", () => {
  const send = (streams: number, each: number) => {
    const { hop } = pair()
    const cell = new Uint8Array(FRAMES_BYTES)
    for (let stream = 0; stream < streams; stream++) {
      for (let offset = 0; offset < each; ) {
        const length = Math.min(each - offset, FRAMES_BYTES - 13)
        cell.fill(0)
        streamFrame(cell, 0, 1 + 2 * stream, offset, length)
        if (!hop.receive(cell, 0, cell.length)) return { stream, offset }
        offset += length
      }
    }
    return null
  }
  assert.equal(send(1, STREAM_CREDIT_BYTES), null)
  assert.notEqual(send(1, STREAM_CREDIT_BYTES + 1), null)
  assert.equal(send(HOP_CREDIT_BYTES / STREAM_CREDIT_BYTES, STREAM_CREDIT_BYTES), null)
  assert.notEqual(send(HOP_CREDIT_BYTES / STREAM_CREDIT_BYTES + 1, STREAM_CREDIT_BYTES), null)
})

test('liars: too many streams are refused one by one, with no memory taken and the others unharmed', () => {
  let opened = 0
  const { hop } = pair(() => {
    opened++
    return quiet()
  })
  const cell = new Uint8Array(FRAMES_BYTES)
  for (let id = 1; id < 4_000; ) {
    cell.fill(0)
    let at = 0
    while (at + 14 <= cell.length && id < 4_000) {
      at = streamFrame(cell, at, id, 0, 1)
      id += 2
    }
    assert.equal(hop.receive(cell, 0, cell.length), true)
    hop.fill(cell, 0, cell.length)
    assert.ok(hop.openStreams <= STREAMS_MAX)
  }
  assert.equal(opened, STREAMS_MAX)
})

test('liars: old ids are dropped and counted: they cannot be used to send without end', () => {
  const { hop } = pair()
  const cell = new Uint8Array(FRAMES_BYTES)
  streamFrame(cell, 0, 99, 0, 10)
  assert.equal(hop.receive(cell, 0, cell.length), true)
  // Given back at once, so an honest peer's late bytes never end a circuit …
  let accepted = 0
  for (let i = 0; i < 2_000; i++) {
    cell.fill(0)
    streamFrame(cell, 0, 7, i * 1000, 1000)
    if (!hop.receive(cell, 0, cell.length)) break
    accepted++
    if (i % 100 === 0) hop.fill(cell, 0, cell.length)
  }
  assert.equal(accepted, 2_000)
  assert.equal(hop.openStreams, 1)
  // … and a peer that takes no new credit runs out.
  for (let i = 0; i < 2 * (HOP_CREDIT_BYTES / 1000) && accepted > 0; i++) {
    cell.fill(0)
    streamFrame(cell, 0, 7, i * 1000, 1000)
    if (!hop.receive(cell, 0, cell.length)) accepted = 0
  }
  assert.equal(accepted, 0)
})

test('liars: a flood of resets, for streams open, gone, and never seen, changes nothing but those streams', () => {
  let closed = 0
  const { origin, hop, there } = pair(() => quiet({ onClose: () => closed++ }))
  const first = origin.open(quiet())!
  first.write(Uint8Array.of(1))
  assert.ok(there())
  const cell = new Uint8Array(FRAMES_BYTES)
  for (let i = 0; i < 50; i++) {
    let at = 0
    cell.fill(0)
    while (at + 6 <= cell.length) at = writeReset(cell, at, 1 + (at % 1000), 0)
    assert.equal(hop.receive(cell, 0, cell.length), true)
  }
  assert.equal(closed, 1)
  assert.equal(hop.openStreams, 0)
})

test('liars: a hop that opens streams, or answers on ones never opened, ends the loop', () => {
  const receive = (id: number) => {
    const { origin } = pair()
    origin.open(quiet())
    const cell = new Uint8Array(FRAMES_BYTES)
    streamFrame(cell, 0, id, 0, 1)
    return origin.receive(cell, 0, cell.length)
  }
  assert.equal(receive(1), true)
  assert.equal(receive(2), false)
  assert.equal(receive(3), false)
})

test('a hop writes its backlog first, and no more than the credit lets it send', () => {
  let held: MuxStream | null = null
  const { origin, hop, there, back } = pair((stream) => {
    held = stream
    return quiet()
  })
  origin.open(quiet())!.write(Uint8Array.of(1))
  assert.ok(there())
  held!.write(new Uint8Array(1_000_000))
  const cell = new Uint8Array(FRAMES_BYTES)
  hop.fill(cell, 0, cell.length)
  assert.equal(cell[0], 5)
  assert.ok(origin.receive(cell, 0, cell.length))
  let cells = 1
  while (hop.hasOutput && cells < 2_000) {
    assert.ok(back())
    cells++
  }
  // Nobody consumed: the stream's credit is where it ends.
  assert.ok(cells >= STREAM_CREDIT_BYTES / FRAMES_BYTES && cells <= STREAM_CREDIT_BYTES / (FRAMES_BYTES - 40) + 2, `${cells}`)
  assert.equal(hop.queuedBytes, 1_000_000 - STREAM_CREDIT_BYTES)
})

test('closed stays closed', () => {
  let closes = 0
  const { origin, there } = pair()
  const stream = origin.open(quiet({ onClose: () => closes++ }))!
  stream.write(Uint8Array.of(1))
  origin.close(ResetCode.CANCELLED)
  origin.close(ResetCode.CANCELLED)
  assert.equal(closes, 1)
  stream.write(new Uint8Array(10))
  stream.end()
  stream.consumed(5)
  stream.reset(0)
  assert.equal(origin.open(quiet()), null)
  assert.equal(origin.queuedBytes, 0)
  assert.equal(origin.openStreams, 0)
  assert.equal(there(), true)
  assert.equal(origin.receive(new Uint8Array(FRAMES_BYTES).fill(9), 0, FRAMES_BYTES), true)
})
