/** A link as the thread of the links has it: what comes goes over whole, reading stops while there is no room, writes of both sides keep their order. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { NodeId } from '../../src/bytes/index.ts'
import { BODY_BYTES, CELL_BYTES, type CircuitId, Command, circuitIdAt } from '../../src/cell/index.ts'
import { cellPools } from '../../src/link/cell-pool.ts'
import type { CellWire } from '../../src/link/lanes.ts'
import { CarriedLink } from '../../src/link/thread/carried-link.ts'
import { FromLinks, LINK_ENDS } from '../../src/link/thread/kinds.ts'
import { RecordReader, RecordWriter, RING_BYTES, ringMemory } from '../../src/link/thread/record-ring.ts'
import { FakeClock } from '../support/fake-clock.ts'

function world() {
  const clock = new FakeClock()
  const memory = ringMemory()
  const events = new RecordWriter(memory, clock, () => {})
  const reader = new RecordReader(memory)
  const got: { kind: number; a: number; length: number }[] = []
  const drain = () => reader.drain((kind, _id, a, _b, bytes) => void got.push({ kind, a, length: bytes.length }))
  const done: string[] = []
  const written: number[][] = []
  const wire: CellWire = {
    write: (bytes) =>
      void written.push(Array.from({ length: bytes.length / CELL_BYTES }, (_, at) => circuitIdAt(bytes, at * CELL_BYTES))),
    pause: () => void done.push('pause'),
    resume: () => void done.push('resume'),
    end: () => void done.push('end'),
    destroy: () => void done.push('destroy'),
  }
  const facts = { self: 'aa' as NodeId, peer: 'bb' as NodeId, dialled: true, transport: 'tls' } as const
  const link = new CarriedLink(3, facts, wire, cellPools(), events, { onEnded: () => void done.push('ended') })
  events.onRoom = () => link.release()
  drain()
  assert.deepEqual(
    got.splice(0).map(({ kind }) => kind),
    [FromLinks.OPENED],
  )
  /** Reads until nothing waits for room. */
  const drainAll = () => {
    for (let round = 0; round < 20; round++) {
      drain()
      clock.advanceNow(1)
    }
  }
  return { link, drain, drainAll, got, done, written }
}

function cells(...ids: number[]): Uint8Array {
  const block = new Uint8Array(ids.length * CELL_BYTES)
  for (const [at, id] of ids.entries()) new DataView(block.buffer).setUint32(at * CELL_BYTES, id, true)
  return block
}

test('what comes goes over whole, in pieces that records take, however much comes at once', () => {
  const { link, drainAll, got } = world()
  link.onBytes(new Uint8Array(1_000_001))
  link.onBytes(new Uint8Array(0))
  drainAll()
  assert.ok(got.every(({ kind }) => kind === FromLinks.BYTES))
  assert.equal(
    got.reduce((sum, { length }) => sum + length, 0),
    1_000_001,
  )
})

test('while records wait for room nothing is read; the node’s own pause outlasts it', () => {
  const { link, drainAll, done } = world()
  for (let sent = 0; sent <= RING_BYTES; sent += 64 * 1024) link.onBytes(new Uint8Array(64 * 1024))
  assert.deepEqual(done, ['pause'])
  assert.ok(link.held)
  drainAll()
  assert.deepEqual(done, ['pause', 'resume'])
  for (let sent = 0; sent <= RING_BYTES; sent += 64 * 1024) link.onBytes(new Uint8Array(64 * 1024))
  link.pause()
  drainAll()
  assert.deepEqual(done, ['pause', 'resume', 'pause', 'pause'])
  link.resume()
  assert.equal(done.at(-1), 'resume')
})

test('writes of the node and of what is paced here go in order, and each side hears of its own', () => {
  const { link, drain, got, written } = world()
  const lane = link.lane(9 as CircuitId)
  lane.push(Command.CIRCUIT, new Uint8Array(BODY_BYTES))
  link.write(cells(5, 6))
  lane.push(Command.CIRCUIT, new Uint8Array(BODY_BYTES))
  link.flush()
  link.write(cells(7))
  assert.deepEqual(written, [[9], [5, 6], [9], [7]])
  assert.equal(link.writing.unfinishedBytes, 5 * CELL_BYTES)
  for (let at = 0; at < 4; at++) {
    link.onWritten()
    drain()
    assert.equal(got.filter(({ kind }) => kind === FromLinks.WRITTEN).length, [0, 1, 1, 2][at])
  }
  assert.deepEqual(link.writing, { finishedWrites: 4, unfinishedBytes: 0 })
})

test('an end is told once, by whom it comes; afterwards nothing goes either way', () => {
  for (const [end, told, wire] of [
    [(link: CarriedLink) => link.onEnd('remote'), [FromLinks.ENDED, 'remote'], 'destroy'],
    [(link: CarriedLink) => link.close('timeout'), [FromLinks.CLOSED, 'timeout'], 'destroy'],
    [(link: CarriedLink) => link.close('local'), [FromLinks.CLOSED, 'local'], 'end'],
    [(link: CarriedLink) => link.finish(), null, 'end'],
    [(link: CarriedLink) => link.destroy(), null, 'destroy'],
  ] as const) {
    const { link, drain, got, done, written } = world()
    end(link)
    link.onEnd('error')
    link.close('local')
    link.finish()
    link.onBytes(new Uint8Array(10))
    link.write(cells(1))
    assert.equal(link.lane(1 as CircuitId).push(Command.PAD, new Uint8Array(BODY_BYTES)), false)
    drain()
    assert.deepEqual(
      got.map(({ kind, a }) => [kind, LINK_ENDS[a]]),
      told === null ? [] : [told],
    )
    assert.deepEqual([done, written, link.open], [[wire, 'ended'], [], false])
  }
})
