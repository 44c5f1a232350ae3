/**
 * A hostile neighbour that keeps the framing: cells of random commands, under ids of live circuits and of none, with random, replayed,
 * half-right and zero bodies, and pieces of real set-ups. Nothing may throw (a fault in the switch is thrown through the memory link), no
 * table may grow past its bound, nothing wrong may be delivered, and circuits that do not pass this neighbour go on.
 * Seeded; `FUZZ_SEED` and `FUZZ_TURNS` choose other runs. The seed is printed on failure.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BODY_BYTES, type CircuitId, Command, FRAMES_BYTES } from '../../src/cell/index.ts'
import { HopLayer } from '../../src/circuit/index.ts'
import { openCellCipher } from '../../src/crypto/index.ts'
import { startFakeMesh } from '../support/fake-mesh.ts'
import { counted } from '../support/fuzzing.ts'
import { type SeededRng, seededRng } from '../support/seeded-rng.ts'

const SEED = process.env.FUZZ_SEED ?? '1'
const TURNS = Number(process.env.FUZZ_TURNS ?? 6_000)

interface Cell {
  readonly id: number
  readonly command: number
  readonly body: Uint8Array
}

/** One turn of cells of the kinds that a neighbour could send without being cut off at once. */
function turnOf(rng: SeededRng, live: readonly number[], seen: readonly Cell[]): Cell[] {
  return Array.from({ length: 1 + rng.below(12) }, () => {
    const known = seen.length > 0 ? seen[rng.below(seen.length)]! : null
    const id = rng.below(3) > 0 && live.length > 0 ? live[rng.below(live.length)]! : rng.below(2 ** 32)
    const command = [Command.PAD, Command.SETUP, Command.SETUP, Command.CIRCUIT, Command.CIRCUIT, Command.DESTROY][rng.below(6)]!
    switch (rng.below(5)) {
      case 0:
        return { id, command, body: rng.bytes(BODY_BYTES) }
      case 1:
        return { id, command, body: new Uint8Array(BODY_BYTES) }
      case 2:
        if (known !== null) return { ...known, id: rng.below(2) > 0 ? known.id : id }
        return { id, command, body: rng.bytes(BODY_BYTES) }
      case 3: {
        // A part of a set-up that is nearly right.
        const body = (known ?? { body: new Uint8Array(BODY_BYTES) }).body.slice()
        body[0] = rng.below(9)
        body[rng.below(BODY_BYTES)]! ^= 1 << rng.below(8)
        return { id, command: Command.SETUP, body }
      }
      default: {
        const body = rng.bytes(BODY_BYTES)
        body[0] = rng.below(8)
        body.fill(0, 1912)
        return { id, command: Command.SETUP, body }
      }
    }
  })
}

test('a hostile neighbour with valid framing', async (t) => {
  t.diagnostic(`FUZZ_SEED=${SEED} FUZZ_TURNS=${TURNS}`)
  const rng = seededRng(`cells ${SEED}`)
  const reached = new Set<string>()
  const sim = await startFakeMesh(`cells ${SEED}`, {
    count: 7,
    store: async (request) => {
      reached.add(Buffer.from(request).toString('hex'))
      return { status: 'ok', body: request }
    },
  })
  // Node 1 is hostile towards node 2. Loops pass 1–2, both ways, from several origins; one does not.
  const end = sim.taps.end(2, 1)
  const seen: Cell[] = []
  const live = new Set<CircuitId>()
  const watch = () => {
    end.tap.incoming = (cell) => {
      live.add(cell.id)
      if (seen.length < 400) seen.push(cell)
      else seen[rng.below(400)] = cell
      return [cell]
    }
    end.tap.outgoing = (id) => void live.add(id)
  }
  watch()
  const safe = await sim.build(0, [3, 4, 5, 6])
  const paths = [
    [0, [1, 2, 3]],
    [0, [5, 1, 2, 4]],
    [3, [2, 1, 0]],
    [6, [4, 1, 2, 5]],
  ] as const
  const asked = new Set<string>()
  for (let turn = 0; turn < TURNS; turn++) {
    if (turn % 50 === 0) {
      if (live.size > 64) live.clear()
      const [origin, path] = paths[rng.below(paths.length)]!
      const loop = await sim.build(origin, path).catch(() => null)
      const request = rng.bytes(20 + rng.below(3_000))
      asked.add(Buffer.from(request).toString('hex'))
      // Right or not at all.
      const answer = loop === null ? null : sim.echo(loop, request).catch(() => null)
      end.inject(turnOf(rng, [...live], seen))
      const got = await answer
      if (got !== null) assert.deepEqual(got, request)
    }
    end.inject(turnOf(rng, [...live], seen))
    counted(1)
    if (turn % 10 === 0) await sim.clock.settle()
    if (turn % 200 === 199) await sim.clock.advance(1_000)
    assert.ok(end.open, 'valid framing costs no link')
    assert.ok(sim.mesh.nodes[2]!.relay.tableEntries < 1_000, 'the tables are bounded')
  }
  for (const request of reached) assert.ok(asked.has(request), 'something that nobody asked reached a store')
  assert.equal(sim.ended.get(safe), undefined)
  const content = rng.bytes(5_000)
  asked.add(Buffer.from(content).toString('hex'))
  assert.deepEqual(await sim.echo(safe, content), content)
  await sim.clock.advance(200_000)
  assert.ok(
    sim.mesh.nodes.every(({ relay }) => relay.relayed <= 8),
    'only what is alive is left',
  )
  await sim.close()
})

test('a hostile origin with right keys: random frames to every hop', async (t) => {
  t.diagnostic(`FUZZ_SEED=${SEED}`)
  const rng = seededRng(`frames ${SEED}`)
  const sim = await startFakeMesh(`frames ${SEED}`)
  const bystander = await sim.build()
  for (let loop = 0; loop < 12; loop++) {
    const origin = await sim.buildRaw()
    for (let cell = 0; cell < 150; cell++) {
      const frames = new Uint8Array(FRAMES_BYTES)
      let at = 0
      while (at < FRAMES_BYTES - 40 && rng.below(8) > 0) {
        // Mostly frames that begin right.
        frames[at] = rng.below(10) > 0 ? [1, 1, 1, 2, 3][rng.below(5)]! : rng.below(256)
        frames.set(rng.below(2) > 0 ? Uint8Array.of(1 + 2 * rng.below(40), 0, 0, 0) : rng.bytes(4), at + 1)
        const length = rng.below(60)
        if (frames[at] === 1) {
          frames[at + 11] = length
          frames[at + 12] = rng.below(4) === 0 ? 0x80 : 0
          if (rng.below(6) === 0) frames.set(rng.bytes(6), at + 5)
          frames.set(rng.bytes(length), at + 13)
        }
        at += frames[at] === 1 ? 13 + length : frames[at] === 2 ? 11 : 6
      }
      if (rng.below(20) === 0) origin.sendRaw(rng.bytes(BODY_BYTES))
      else origin.send(1 + rng.below(6), frames)
      counted(1)
      if (cell % 16 === 0) await sim.clock.settle()
    }
    await sim.clock.settle()
    // Its members carry every one of them home, whatever it says.
    assert.equal(origin.gone, null)
    assert.equal(origin.home.length, 150)
    origin.close()
  }
  assert.equal(sim.ended.get(bystander), undefined)
  assert.equal((await sim.ping(bystander, 10, 1_000)).body.length, 1_000)
  await sim.close()
})

test('random bytes in, random bytes out of a layer: nothing is recognised by chance', async () => {
  const rng = seededRng(`layer ${SEED}`)
  const cipher = await openCellCipher()
  const layer = new HopLayer(cipher, { cellKey: rng.bytes(32), answerKey: rng.bytes(32) })
  for (let counter = 0; counter < 2_000; counter++) {
    const cell = rng.bytes(2048)
    counted(1)
    layer.peel(cell, Int32Array.of(0), Uint32Array.of(counter), 1)
    assert.ok(cell.subarray(5, 21).some((byte) => byte !== 0))
  }
})
