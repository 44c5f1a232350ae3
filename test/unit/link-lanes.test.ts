/**
 * The machinery under every link, against plain models: lanes and their limits (`Outbox`), the pools they draw on, and the cutting of
 * bytes into cells (`Inbox`).
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { readU32, writeU32 } from '../../src/bytes/index.ts'
import { BODY_BYTES, CELL_BYTES, CELL_HEADER_BYTES, type CircuitId, Command, circuitIdAt } from '../../src/cell/index.ts'
import { BlockPool, cellPools, NO_SLOT, SlotPool } from '../../src/link/cell-pool.ts'
import { Inbox } from '../../src/link/inbox.ts'
import { LANE_CELLS_MAX, type Lane, LINK_CELLS_MAX, LINK_WRITE_AHEAD_BYTES, TURN_CELLS } from '../../src/link/index.ts'
import { type CellWire, Outbox } from '../../src/link/lanes.ts'

const WRITE_AHEAD_CELLS = LINK_WRITE_AHEAD_BYTES / CELL_BYTES

/** A wire that keeps what it is given and finishes it when told to. */
class HeldWire implements CellWire {
  readonly writes: Uint8Array[] = []
  /** Cells as they went out: circuit and number. */
  readonly sent: [id: number, number: number][] = []
  write(bytes: Uint8Array): void {
    assert.ok(bytes.length > 0 && bytes.length % CELL_BYTES === 0)
    assert.ok(bytes.length <= TURN_CELLS * CELL_BYTES)
    this.writes.push(bytes)
    for (let at = 0; at < bytes.length; at += CELL_BYTES) {
      this.sent.push([circuitIdAt(bytes, at), readU32(bytes, at + CELL_HEADER_BYTES)])
    }
  }
  pause(): void {}
  resume(): void {}
  end(): void {}
  destroy(): void {}
}

const body = new Uint8Array(BODY_BYTES)
function push(lane: Lane, number: number): boolean {
  writeU32(body, 0, number)
  return lane.push(Command.CIRCUIT, body)
}

/** An outbox whose wire is full. */
function jammed({ maxCells }: { maxCells?: number } = {}) {
  const wire = new HeldWire()
  const pools = cellPools(maxCells === undefined ? {} : { maxCells })
  const outbox = new Outbox(wire, pools)
  const first = outbox.lane(1 as CircuitId)
  for (let number = 0; number < WRITE_AHEAD_CELLS; number++) assert.ok(push(first, number))
  assert.equal(first.queuedCells, 0)
  return { wire, pools, outbox, first }
}

describe('lanes', () => {
  test('with room, cells go into one write at flush, none before; full blocks go at once', () => {
    const wire = new HeldWire()
    const outbox = new Outbox(wire, cellPools())
    const lane = outbox.lane(2 as CircuitId)
    for (let number = 0; number < 3; number++) push(lane, number)
    assert.equal(wire.writes.length, 0)
    outbox.flush()
    outbox.flush()
    assert.deepEqual([wire.writes.length, wire.sent.length], [1, 3])
    for (let number = 3; number < 3 + TURN_CELLS; number++) push(lane, number)
    assert.equal(wire.writes.length, 2)
  })

  test('many small writes on a stuck wire hold few blocks', () => {
    const wire = new HeldWire()
    const outbox = new Outbox(wire, cellPools())
    const lane = outbox.lane(2 as CircuitId)
    for (let number = 0; number < 100; number++) {
      assert.ok(push(lane, number))
      outbox.flush()
    }
    assert.ok(wire.writes.length <= 8, `${wire.writes.length} writes`)
    while (outbox.unfinishedBytes > 0) outbox.onWritten()
    assert.deepEqual(
      wire.sent.map(([, number]) => number),
      Array.from({ length: 100 }, (_, number) => number),
    )
  })

  test('a lane takes LANE_CELLS_MAX, a link LINK_CELLS_MAX, and a close gives all back', () => {
    const { outbox, pools, first } = jammed()
    for (let number = 0; number < LANE_CELLS_MAX; number++) assert.ok(push(first, number))
    assert.equal(push(first, 0), false)
    const others = Array.from({ length: LINK_CELLS_MAX / LANE_CELLS_MAX - 1 }, (_, at) => outbox.lane((at + 2) as CircuitId))
    for (const lane of others) for (let number = 0; number < LANE_CELLS_MAX; number++) assert.ok(push(lane, number))
    assert.equal(outbox.waitingCells, LINK_CELLS_MAX)
    const late = outbox.lane(99 as CircuitId)
    assert.ok(push(late, 0), 'the oldest goes for it')
    assert.equal(first.queuedCells, 0)
    assert.equal(push(first, 0), false)
    assert.equal(outbox.waitingCells, LINK_CELLS_MAX - LANE_CELLS_MAX + 1)
    outbox.close()
    assert.equal(pools.slots.usedCells, 0)
    assert.equal(push(late, 0), false)
    for (const lane of [first, ...others, late]) assert.equal(lane.queuedCells, 0)
  })

  test('a link that stalls leaves as much of the host as it takes', () => {
    const pools = cellPools({ maxCells: 300 })
    const held = [new HeldWire(), new HeldWire()].map((wire) => new Outbox(wire, pools).lane(1 as CircuitId))
    for (const lane of held) for (let number = 0; number < WRITE_AHEAD_CELLS; number++) push(lane, number)
    for (const lane of held) while (push(lane, 0));
    assert.deepEqual(
      held.map((lane) => lane.queuedCells),
      [150, 75],
    )
  })

  test('on a full link the circuits that queue most go, those with a cell or two stay; control is never given up', () => {
    const { wire, outbox, pools } = jammed({ maxCells: 2_000 })
    const control = outbox.lane(0 as CircuitId)
    push(control, 0)
    const hoards = [2, 3].map((id) => outbox.lane(id as CircuitId))
    for (const lane of hoards) for (let number = 0; number < 400; number++) push(lane, number)
    const small = Array.from({ length: 50 }, (_, at) => ({
      lane: outbox.lane((100 + at) as CircuitId),
      pushed: 0,
      refused: false,
    }))
    // The wire takes a turn now and then, less than comes.
    for (let round = 0; round < 40; round++) {
      if (outbox.unfinishedBytes > 0) outbox.onWritten()
      for (const one of small) if (!push(one.lane, one.pushed++)) one.refused = true
      for (const lane of hoards) for (let number = 0; number < 100; number++) push(lane, number)
    }
    assert.ok(hoards.every((lane) => !push(lane, 0)))
    assert.ok(small.every(({ refused }) => !refused))
    assert.ok(wire.sent.some(([id]) => id === 0))
    assert.ok(pools.slots.usedCells <= 1_000)
  })

  /** What lanes are: queues, served one cell each in turn. */
  test('any sequence of pushes, finished writes and closes is that of a plain round robin', () => {
    const step = fc.oneof(
      {
        weight: 8,
        arbitrary: fc.record({ kind: fc.constant('push' as const), lane: fc.nat(4), count: fc.integer({ min: 1, max: 60 }) }),
      },
      { weight: 3, arbitrary: fc.constant({ kind: 'written' as const }) },
      { weight: 2, arbitrary: fc.constant({ kind: 'flush' as const }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('close' as const), lane: fc.nat(4) }) },
    )
    fc.assert(
      fc.property(fc.array(step, { minLength: 5, maxLength: 60 }), (steps) => {
        const { wire, outbox, pools } = jammed()
        wire.sent.length = 0
        const lanes = Array.from({ length: 5 }, (_, at) => ({ lane: outbox.lane((10 + at) as CircuitId), pushed: 0, open: true }))
        /** Model: waiting cells by lane, and the order in which lanes are served. */
        const waiting = new Map<number, number[]>()
        const direct: [number, number][] = []
        const ring: number[] = []
        const expected: [number, number][] = []
        for (const one of steps) {
          if (one.kind === 'push') {
            const target = lanes[one.lane]!
            for (let count = 0; count < one.count; count++) {
              const before = target.lane.queuedCells
              if (!push(target.lane, target.pushed)) {
                assert.ok(!target.open || before === LANE_CELLS_MAX)
                continue
              }
              if (target.lane.queuedCells === before) direct.push([10 + one.lane, target.pushed])
              else {
                const queue = waiting.get(10 + one.lane) ?? []
                if (queue.length === 0) ring.push(10 + one.lane)
                queue.push(target.pushed)
                waiting.set(10 + one.lane, queue)
              }
              target.pushed++
            }
          } else if (one.kind === 'flush') outbox.flush()
          else if (one.kind === 'close') {
            lanes[one.lane]!.lane.close()
            lanes[one.lane]!.open = false
            waiting.delete(10 + one.lane)
            if (ring.includes(10 + one.lane)) ring.splice(ring.indexOf(10 + one.lane), 1)
          } else if (outbox.unfinishedBytes > 0) {
            const had = outbox.waitingCells
            outbox.onWritten()
            for (let taken = had - outbox.waitingCells; taken > 0; taken--) {
              const id = ring.shift()!
              const queue = waiting.get(id)!
              expected.push([id, queue.shift()!])
              if (queue.length > 0) ring.push(id)
            }
          }
          assert.equal(
            outbox.waitingCells,
            [...waiting.values()].reduce((sum, queue) => sum + queue.length, 0),
          )
          assert.equal(pools.slots.usedCells, outbox.waitingCells)
        }
        outbox.flush()
        const fromLanes = wire.sent.filter(([id, number]) => !direct.some(([d, n]) => d === id && n === number))
        assert.deepEqual(fromLanes, expected)
        // Within each lane the order is that of the pushes.
        for (const { lane } of lanes) {
          const numbers = wire.sent.filter(([id]) => id === lane.id).map(([, number]) => number)
          assert.deepEqual(
            numbers,
            [...numbers].sort((a, b) => a - b),
          )
        }
      }),
      { numRuns: 120, seed: 3 },
    )
  })
})

describe('pools', () => {
  test('slots are given once, their bytes are their own, and an idle pool lets go of its memory', () => {
    const pool = new SlotPool(5_000)
    const slots: number[] = []
    for (let slot = pool.take(); slot !== NO_SLOT; slot = pool.take()) slots.push(slot)
    assert.equal(slots.length, 5_000)
    assert.equal(new Set(slots).size, 5_000)
    for (const slot of slots) pool.cell(slot).fill(slot & 0xff)
    for (const slot of slots) assert.ok(pool.cell(slot).every((byte) => byte === (slot & 0xff)))
    for (const slot of slots) pool.give(slot)
    assert.equal(pool.usedCells, 0)
    const again = Array.from({ length: 3_000 }, () => pool.take())
    assert.equal(new Set(again).size, 3_000)
    for (const slot of again) assert.equal(pool.cell(slot).length, CELL_BYTES)
  })

  test('blocks are reused, and only some are kept', () => {
    const pool = new BlockPool()
    const blocks = Array.from({ length: 200 }, () => pool.take())
    for (const block of blocks) pool.give(block)
    const again = Array.from({ length: 200 }, () => pool.take())
    const reused = again.filter((block) => blocks.includes(block)).length
    assert.ok(reused > 0 && reused < 200, `${reused}`)
  })
})

describe('inbox', () => {
  test('however bytes are cut, the cells that come out are those that went in', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 100 }),
        fc.array(fc.integer({ min: 1, max: 9_000 }), { minLength: 1, maxLength: 20 }),
        fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 10 }),
        fc.integer({ min: 1, max: 32 }),
        (count, cuts, takes, blockCells) => {
          const inbox = new Inbox(new BlockPool(blockCells))
          const stream = new Uint8Array(count * CELL_BYTES)
          for (let at = 0; at < stream.length; at++) stream[at] = (at * 31) ^ (at >> 11)
          const got: number[] = []
          let whole = true
          const take = (most: number) => {
            const cells = inbox.next(most)
            if (cells === null) return false
            whole &&= cells.length % CELL_BYTES === 0 && cells.length <= Math.min(most, blockCells) * CELL_BYTES
            for (const byte of cells) got.push(byte)
            cells.fill(0xee)
            inbox.release(cells.length)
            return true
          }
          for (let at = 0, turn = 0; at < stream.length; turn++) {
            const cut = cuts[turn % cuts.length]!
            inbox.append(stream.subarray(at, at + cut))
            at += cut
            assert.equal(inbox.partial, Math.min(at, stream.length) % CELL_BYTES !== 0)
            take(takes[turn % takes.length]!)
          }
          while (take(32));
          assert.ok(whole)
          assert.deepEqual([inbox.cells, inbox.partial], [0, false])
          assert.deepEqual(Buffer.compare(Buffer.from(got), Buffer.from(stream)), 0)
        },
      ),
      { numRuns: 60, seed: 4 },
    )
  })

  test('a cleared inbox starts anew, and does not hand the block in use to others', () => {
    const pool = new BlockPool()
    const inbox = new Inbox(pool)
    inbox.append(new Uint8Array(3 * CELL_BYTES + 5))
    const inHand = inbox.next(32)!
    inbox.clear()
    assert.notEqual(pool.take().buffer, inHand.buffer)
    inbox.append(new Uint8Array(CELL_BYTES).fill(9))
    assert.deepEqual([inbox.cells, inbox.next(32)![0]], [1, 9])
  })
})
