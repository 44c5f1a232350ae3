/** Records between two threads: whole, in order, whatever their lengths; what finds no room waits; the reader is woken once, and not if it looks by itself. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import fc from 'fast-check'
import { RECORD_BYTES_MAX, RecordReader, RecordWriter, RING_BYTES, ringMemory } from '../../src/link/thread/record-ring.ts'
import { FakeClock } from '../support/fake-clock.ts'

function pair() {
  const clock = new FakeClock()
  const memory = ringMemory()
  let wakes = 0
  const writer = new RecordWriter(memory, clock, () => void wakes++)
  const reader = new RecordReader(memory)
  const got: { kind: number; id: number; a: number; b: number; bytes: Uint8Array }[] = []
  const drain = () => reader.drain((kind, id, a, b, bytes) => void got.push({ kind, id, a, b, bytes: bytes.slice() }))
  return { clock, writer, reader, got, drain, wakes: () => wakes }
}

const lengths = fc.oneof(fc.integer({ min: 0, max: 40 }), fc.integer({ min: 0, max: RECORD_BYTES_MAX }))

test('records of any length come whole and in order, through many rounds of the ring, whenever the reader comes', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(lengths, fc.boolean()), { minLength: 1, maxLength: 120 }), (steps) => {
      const { clock, writer, got, drain } = pair()
      for (const [at, [length, read]] of steps.entries()) {
        writer.write(at + 1, 0xffff_ffff - at, { a: at, b: length, bytes: new Uint8Array(length).fill(at) })
        if (read) drain()
        if (read && at % 3 === 0) clock.advanceNow(1)
      }
      for (let round = 0; round < 60 && got.length < steps.length; round++) {
        drain()
        clock.advanceNow(1)
      }
      assert.equal(got.length, steps.length)
      for (const [at, [length]] of steps.entries()) {
        const { kind, id, a, b, bytes } = got[at]!
        assert.deepEqual([kind, id, a, b, bytes.length], [at + 1, 0xffff_ffff - at, at, length, length])
        assert.ok(bytes.every((byte) => byte === at % 256))
      }
    }),
    { numRuns: 60 },
  )
})

test('positions wrap at 2^32: gigabytes go through', () => {
  const { writer, got, drain } = pair()
  const bytes = new Uint8Array(RECORD_BYTES_MAX)
  const rounds = Math.ceil((2 ** 32 + 4 * RING_BYTES) / (RECORD_BYTES_MAX + 24))
  for (let at = 0; at < rounds; at++) {
    writer.write(1, at, { bytes })
    drain()
    assert.equal(got.pop()?.id, at)
  }
  assert.equal(writer.full, false)
})

test('what finds no room waits in order, says so, and says when nothing waits any more', () => {
  const { clock, writer, got, drain } = pair()
  let room = 0
  writer.onRoom = () => void room++
  const bytes = new Uint8Array(RECORD_BYTES_MAX)
  const fits = Math.floor(RING_BYTES / (RECORD_BYTES_MAX + 24))
  for (let at = 0; at < fits + 3; at++) writer.write(1, at, { bytes })
  assert.equal(writer.full, true)
  clock.advanceNow(50)
  assert.equal(room, 0)
  drain()
  assert.equal(got.length, fits)
  clock.advanceNow(1)
  assert.deepEqual([writer.full, room], [false, 1])
  drain()
  assert.deepEqual(
    got.map(({ id }) => id),
    Array.from({ length: fits + 3 }, (_, at) => at),
  )
  writer.close()
})

test('a record that is too long is refused', () => {
  assert.throws(() => pair().writer.write(1, 1, { bytes: new Uint8Array(RECORD_BYTES_MAX + 1) }), RangeError)
})

test('the reader is woken once until it comes; not for what can wait, unless the ring is half full', () => {
  const { writer, drain, wakes } = pair()
  writer.write(1, 1)
  writer.write(1, 2)
  assert.equal(wakes(), 1)
  drain()
  writer.write(1, 3, { later: true })
  assert.equal(wakes(), 1)
  writer.write(1, 4)
  assert.equal(wakes(), 2)
  drain()
  const bytes = new Uint8Array(RECORD_BYTES_MAX)
  for (let at = 0; at < RING_BYTES / RECORD_BYTES_MAX / 2 - 1; at++) writer.write(1, at, { bytes, later: true })
  assert.equal(wakes(), 2)
  writer.write(1, 5, { bytes, later: true })
  assert.equal(wakes(), 3)
})

test('a reader that looks by itself is woken only for what is urgent', () => {
  const { writer, reader, got, drain, wakes } = pair()
  reader.poll(true)
  writer.write(1, 1)
  assert.equal(wakes(), 0)
  writer.urgent = () => true
  writer.write(1, 2)
  assert.equal(wakes(), 1)
  drain()
  reader.poll(false)
  writer.urgent = () => false
  writer.write(1, 3)
  assert.equal(wakes(), 2)
  drain()
  assert.equal(got.length, 3)
})

test('a record whose reader throws is not handed out again, and those after it are', () => {
  const { writer, reader, got, drain } = pair()
  writer.write(1, 1)
  writer.write(1, 2)
  assert.throws(() =>
    reader.drain(() => {
      throw new Error('a fault')
    }),
  )
  drain()
  assert.deepEqual(
    got.map(({ id }) => id),
    [2],
  )
})

test('a reader that rests is back in time, and at once where it was asked or is', () => {
  const { writer, reader, drain, wakes } = pair()
  const rested = (ms: number) => {
    const began = performance.now()
    reader.rest(ms)
    return performance.now() - began
  }
  assert.ok(rested(30) >= 29)
  writer.write(1, 1, { later: true })
  assert.ok(rested(30) >= 29, 'what can wait wakes nobody')
  writer.write(1, 2)
  assert.equal(wakes(), 1)
  assert.ok(rested(10_000) < 5_000)
  drain()
  assert.ok(rested(30) >= 29)
})

test('a reader that rests in its own thread is woken by the writer', { timeout: 20_000 }, async () => {
  const memory = ringMemory()
  const program = `
    const { workerData, parentPort } = require('node:worker_threads')
    import(workerData.module).then(({ RecordReader }) => {
      const reader = new RecordReader(workerData.memory)
      parentPort.postMessage('rests')
      reader.rest(60_000)
      reader.drain((kind) => parentPort.postMessage(kind))
    })`
  const module = new URL('../../src/link/thread/record-ring.ts', import.meta.url).href
  const worker = new Worker(program, { eval: true, workerData: { memory, module } })
  try {
    assert.deepEqual(await once(worker, 'message'), ['rests'])
    await pause(100) // it rests by now; if it does not yet, it is asked before, and does not
    const writer = new RecordWriter(memory, new FakeClock(), () => {})
    const got = once(worker, 'message')
    writer.write(7, 1)
    assert.deepEqual(await got, [7])
  } finally {
    await worker.terminate()
  }
})
