/** The forms in which the lab's control builds write cells: what goes in comes out, however it is cut. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { BODY_BYTES, CELL_BYTES, Command, RECOGNISED_BYTES } from '../../src/cell/index.ts'
import { pack, unpack } from '../adversary/controls/packing.ts'
import { unpadded } from '../adversary/controls/unpadded.ts'
import { yamuxLink } from '../adversary/controls/yamux-links.ts'

const ADDRESSED = 1
/** Bodies of bare cells: 16 bytes of which only the first is not 0, some content, zeros. */
const bodies = fc.array(
  fc.uint8Array({ minLength: 0, maxLength: BODY_BYTES - RECOGNISED_BYTES }).map((content) => {
    const body = new Uint8Array(BODY_BYTES)
    body[0] = ADDRESSED
    body.set(content, RECOGNISED_BYTES)
    return body
  }),
  { maxLength: 40 },
)

function cellsOf(list: readonly Uint8Array[], command: (at: number) => number): Uint8Array {
  const cells = new Uint8Array(list.length * CELL_BYTES)
  for (const [at, body] of list.entries()) {
    cells.set([1, 2, 3, 4, command(at)], at * CELL_BYTES)
    cells.set(body, at * CELL_BYTES + 5)
  }
  return cells
}

test('packed contents come out again, in order', () => {
  fc.assert(
    fc.property(bodies, (list) => {
      const packed = pack(list, 0x80)
      assert.ok(packed.every((body) => body.length === BODY_BYTES && body[0] === 0x80))
      assert.deepEqual(
        packed.flatMap((body) => unpack(body, ADDRESSED)),
        list,
      )
    }),
    { numRuns: 50 },
  )
})

test('cells that ask for nothing and full ones: 100 of the first fit into one, the others into as many', () => {
  const empty = Array.from({ length: 100 }, () => new Uint8Array(BODY_BYTES))
  assert.equal(pack(empty, 3).length, 1)
  assert.equal(pack([...empty, new Uint8Array(BODY_BYTES).fill(7), new Uint8Array(BODY_BYTES).fill(7)], 3).length, 3)
})

test('cells without padding come out whole, cut anywhere', () => {
  fc.assert(
    fc.property(bodies, fc.integer({ min: 1, max: 5000 }), (list, piece) => {
      const cells = cellsOf(list, (at) => (at % 3 === 0 ? Command.CONTROL : Command.CIRCUIT))
      const wire: Uint8Array[] = []
      const came: Uint8Array[] = []
      const coding = unpadded({ write: (bytes) => wire.push(bytes.slice()), deliver: (bytes) => came.push(bytes.slice()) })
      coding.send(cells)
      const whole = Buffer.concat(wire)
      for (let at = 0; at < whole.length; at += piece) coding.receive(whole.subarray(at, at + piece))
      assert.deepEqual(new Uint8Array(Buffer.concat(came)), cells)
      assert.ok(wire.every(({ length }) => length <= CELL_BYTES))
    }),
    { numRuns: 50 },
  )
})

test('a link of yamux carries cells both ways, and answers what it reads', async () => {
  const came: [Uint8Array[], Uint8Array[]] = [[], []]
  const written: [number[], number[]] = [[], []]
  const ends = ([0, 1] as const).map((side) =>
    yamuxLink(
      {
        dialled: side === 0,
        write: (bytes) => {
          written[side].push(bytes.length)
          const copy = bytes.slice()
          setImmediate(() => ends[1 - side]!.receive(copy))
        },
        deliver: (bytes) => came[side].push(bytes.slice()),
      },
      { pings: false },
    ),
  )
  const bytes = new Uint8Array(4 * CELL_BYTES).map((_, at) => at * 31)
  for (let turn = 0; turn < 200; turn++) for (const end of ends) end.send(bytes)
  const expected = 200 * bytes.length
  const length = (side: 0 | 1) => came[side].reduce((sum, part) => sum + part.length, 0)
  for (let wait = 0; wait < 400 && (length(0) < expected || length(1) < expected); wait++)
    await new Promise((resolve) => setTimeout(resolve, 10))
  assert.deepEqual([length(0), length(1)], [expected, expected])
  assert.deepEqual(new Uint8Array(Buffer.concat(came[1]).subarray(0, bytes.length)), bytes)
  assert.ok(written[1].includes(12), 'frames without content')
})
