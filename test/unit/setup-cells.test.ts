/** A set-up packet in eight cells: equal parts, in order, in time, and no more unfinished ones than a link may have. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { MonotonicMs } from '../../src/bytes/index.ts'
import { BODY_BYTES, type CircuitId } from '../../src/cell/index.ts'
import {
  ASSEMBLIES_MAX,
  ASSEMBLY_MS,
  type AssemblyVerdict,
  SETUP_BYTES,
  SETUP_CELLS,
  SETUP_PART_BYTES,
  SetUpAssembler,
  setUpCells,
} from '../../src/circuit/setup/index.ts'
import { seededRng } from '../support/seeded-rng.ts'

const ID = 2 as CircuitId
const at = (ms: number) => ms as MonotonicMs
const packet = seededRng(1).bytes(SETUP_BYTES)
const cells = setUpCells(packet)

function label(verdict: AssemblyVerdict): string {
  return verdict.kind === 'refused' ? verdict.reason : verdict.kind
}

test('eight bodies of one size, and the packet comes out of them', () => {
  assert.equal(SETUP_CELLS * SETUP_PART_BYTES, SETUP_BYTES)
  assert.equal(cells.length, SETUP_CELLS)
  const assembler = new SetUpAssembler()
  for (const [part, body] of cells.entries()) {
    assert.equal(body.length, BODY_BYTES)
    const verdict = assembler.accept(ID, body, at(part))
    if (part < SETUP_CELLS - 1) assert.deepEqual(verdict, { kind: 'more' })
    else assert.deepEqual(verdict, { kind: 'packet', packet })
  }
  assert.equal(assembler.size, 0)
})

test('two circuits may be interleaved', () => {
  const assembler = new SetUpAssembler()
  const other = setUpCells(seededRng(2).bytes(SETUP_BYTES))
  for (let part = 0; part < SETUP_CELLS; part++) {
    const first = assembler.accept(ID, cells[part]!, at(0))
    const second = assembler.accept(4 as CircuitId, other[part]!, at(0))
    assert.equal(first.kind, second.kind)
  }
})

test('a part out of order, twice or missing ends the assembly', () => {
  for (const order of [[1], [0, 0], [0, 2], [0, 1, 3], [0, 1, 0], [7]]) {
    const assembler = new SetUpAssembler()
    const verdicts = order.map((part) => label(assembler.accept(ID, cells[part]!, at(0))))
    assert.equal(verdicts.at(-1), 'order')
    assert.equal(assembler.size, 0)
  }
})

test('any changed header or padding byte is refused', () => {
  for (const [byte, value] of [
    [0, 8],
    [0, 255],
    [1 + SETUP_PART_BYTES, 1],
    [BODY_BYTES - 1, 128],
  ] as const) {
    const assembler = new SetUpAssembler()
    const body = cells[0]!.slice()
    body[byte] = value
    assert.equal(label(assembler.accept(ID, body, at(0))), 'malformed')
  }
  assert.equal(label(new SetUpAssembler().accept(ID, cells[0]!.subarray(1), at(0))), 'malformed')
})

test('all parts come within two seconds or not at all', () => {
  const assembler = new SetUpAssembler()
  for (let part = 0; part < 7; part++) assembler.accept(ID, cells[part]!, at(0))
  assert.equal(label(assembler.accept(ID, cells[7]!, at(ASSEMBLY_MS + 1))), 'late')
  assert.equal(assembler.size, 0)
  for (let part = 0; part < 7; part++) assembler.accept(ID, cells[part]!, at(0))
  assert.equal(label(assembler.accept(ID, cells[7]!, at(ASSEMBLY_MS))), 'packet')
})

test('a link holds a bounded number of unfinished packets; the further one is refused, overdue ones make room', () => {
  const assembler = new SetUpAssembler()
  const begin = (id: number, ms: number) => label(assembler.accept(id as CircuitId, cells[0]!, at(ms)))
  for (let id = 1; id <= ASSEMBLIES_MAX; id++) assert.equal(begin(id, 0), 'more')
  assert.equal(begin(ASSEMBLIES_MAX + 1, 0), 'full')
  assert.equal(assembler.size, ASSEMBLIES_MAX)
  assert.equal(label(assembler.accept(1 as CircuitId, cells[1]!, at(1))), 'more', 'those under way go on')
  assert.equal(begin(ASSEMBLIES_MAX + 1, ASSEMBLY_MS + 1), 'more')
  assert.equal(assembler.size, 1)
  assembler.expire(at(3 * ASSEMBLY_MS))
  assert.equal(assembler.size, 0)
})

test('dropping one circuit or the whole link forgets its parts', () => {
  const assembler = new SetUpAssembler()
  for (const id of [1, 2, 3]) assembler.accept(id as CircuitId, cells[0]!, at(0))
  assembler.drop(2 as CircuitId)
  assembler.drop(2 as CircuitId)
  assert.equal(assembler.size, 2)
  assembler.drop()
  assert.equal(assembler.size, 0)
})

test('model: whatever comes, a packet comes out only of its eight parts in order and in time', () => {
  const event = fc.record({
    id: fc.integer({ min: 1, max: 3 }),
    part: fc.integer({ min: 0, max: 8 }),
    waitMs: fc.constantFrom(0, 0, 0, 300, 2500),
  })
  fc.assert(
    fc.property(fc.array(event, { maxLength: 60 }), (events) => {
      const assembler = new SetUpAssembler()
      const model = new Map<number, { next: number; since: number }>()
      let now = 0
      for (const { id, part, waitMs } of events) {
        now += waitMs
        const body = (cells[part] ?? cells[0]!).slice()
        if (part === 8) body[0] = 8
        const verdict = label(assembler.accept(id as CircuitId, body, at(now)))
        const held = model.get(id)
        const right = part < 8 && part === (held?.next ?? 0) && (held === undefined || now - held.since <= ASSEMBLY_MS)
        if (!right) model.delete(id)
        else if (part < 7) model.set(id, { next: part + 1, since: held?.since ?? now })
        else model.delete(id)
        assert.equal(verdict === 'more' || verdict === 'packet', right)
        assert.equal(verdict === 'packet', right && part === 7)
        assert.equal(assembler.size, model.size)
      }
    }),
    { seed: 1, numRuns: 200 },
  )
})
