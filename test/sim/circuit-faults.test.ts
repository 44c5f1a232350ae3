/**
 * Neighbours that lay hands on cells and set-ups (P6, P7), and thieves of onion keys (P8), over whole loops: nothing wrong is ever
 * delivered to the apex's service or to the origin, the loop that was touched ends, and no other does.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { OriginLoop } from '../../client/loops/origin-loop.ts'
import { toHex } from '../../src/bytes/index.ts'
import { BODY_BYTES, CELL_BYTES, type CircuitId, Command } from '../../src/cell/index.ts'
import { HopLayer, isRecognised } from '../../src/circuit/index.ts'
import { openSetUp, SETUP_BYTES, SETUP_CELLS } from '../../src/circuit/setup/index.ts'
import {
  changeBit,
  doubleCell,
  dropCell,
  flipped,
  forgeCell,
  type Meddling,
  replaceCell,
  replayCell,
  swapCells,
  zeroCell,
} from '../support/adversary-link.ts'
import { type FakeMesh, startFakeMesh } from '../support/fake-mesh.ts'
import { seededRng } from '../support/seeded-rng.ts'
import type { TappedCell } from '../support/tap-link.ts'

const ROUND = [0, 1, 2, 3, 4, 5, 0] as const

/** A mesh whose apex notes every request that reaches its store and echoes it. */
async function victimMesh(seed: string) {
  const reached: string[] = []
  const sim = await startFakeMesh(seed, {
    store: async (request) => {
      reached.push(toHex(request))
      return { status: 'ok', body: request }
    },
  })
  return { sim, reached }
}

interface Outcome {
  /** How the victim's requests ended. */
  readonly delivered: number
  readonly failed: number
  readonly reason: string | undefined
}

/** Lets `meddle` loose on the link into member `at` of a new loop's round (1 … 6; 6 is home) while the loop works. */
async function attack(
  { sim, reached }: Awaited<ReturnType<typeof victimMesh>>,
  at: number,
  meddle: Meddling,
  where: string,
): Promise<Outcome> {
  const loop = await sim.build()
  const end = sim.taps.end(ROUND[at]!, ROUND[at - 1]!)
  // Only this loop's cells: the circuit that carries the first cell from now on.
  end.tap.incoming = meddle
  const requests = Array.from({ length: 3 }, (_, index) => sim.rng.bytes(500 + 6_000 * index))
  const before = reached.length
  const settled = await sim.clock.runFor(Promise.allSettled(requests.map((request) => askStore(sim, loop, request))), 20_000)
  delete end.tap.incoming
  const right = new Set(requests.map(toHex))
  for (const request of reached.slice(before)) assert.ok(right.has(request), `${where}: something else reached the store`)
  for (const [index, result] of settled.entries()) {
    if (result.status === 'fulfilled') assert.deepEqual(result.value, requests[index], `${where}: a wrong answer was delivered`)
  }
  const delivered = settled.filter(({ status }) => status === 'fulfilled').length
  return { delivered, failed: settled.length - delivered, reason: sim.ended.get(loop) }
}

async function askStore(sim: FakeMesh, loop: OriginLoop, request: Uint8Array): Promise<Uint8Array> {
  const { encodeHopRequest, parseHopReply } = await import('../../src/wire/index.ts')
  const reply = parseHopReply(await loop.ask(encodeHopRequest({ kind: 'store', request }), new AbortController()))
  assert.equal(reply?.status, 'ok')
  assert.ok(sim.clock.monotonicMs() >= 0)
  return reply!.body
}

/** Every attack at every place; the bystander works before, in between and after. */
async function suite(name: string, cases: readonly (readonly [string, Meddling])[], places: readonly number[]) {
  const victim = await victimMesh(name)
  const { sim } = victim
  const bystander = await sim.build()
  const reasons: string[] = []
  for (const [what, meddle] of cases) {
    for (const at of places) {
      const where = `${name}: ${what}, into member ${at}`
      const { failed, reason } = await attack(victim, at, meddle, where)
      assert.ok(failed > 0, `${where}: nothing failed, was it touched?`)
      assert.ok(reason !== undefined, `${where}: the loop goes on`)
      reasons.push(reason)
      assert.equal(sim.ended.get(bystander), undefined, `${where}: another loop ended`)
    }
  }
  const content = sim.rng.bytes(3_000)
  assert.deepEqual(await sim.echo(bystander, content), content)
  assert.ok(
    sim.taps.all().every(({ end }) => end.open),
    'no link was lost',
  )
  await sim.close()
  return reasons
}

test('P6, P7: a changed bit, at every place of the loop, sampled over the whole body', async () => {
  const rng = seededRng('sampled bits')
  for (let at = 1; at <= 6; at++) {
    const bits = [0, 127, 128, 8 * BODY_BYTES - 1, ...Array.from({ length: 4 }, () => rng.below(8 * BODY_BYTES))]
    const reasons = await suite(
      `bits ${at}`,
      bits.map((bit) => [`bit ${bit}`, changeBit(rng.below(8), bit)] as const),
      [at],
    )
    assert.ok(reasons.every((reason) => reason === 'noise'))
  }
})

test('P7: dropped, doubled, swapped, replayed, replaced and forged cells, at every place', async () => {
  const rng = seededRng('faults')
  for (let at = 1; at <= 6; at++) {
    const nth = rng.below(6)
    await suite(
      `faults ${at}`,
      [
        [`drop ${nth}`, dropCell(nth)],
        [`double ${nth}`, doubleCell(nth)],
        [`swap ${nth}`, swapCells(nth)],
        [`replay ${nth + 1}`, replayCell(nth + 1)],
        [`replace ${nth}`, replaceCell(nth, rng)],
        [`forge ${nth}`, forgeCell(nth, rng)],
        [`zeros ${nth}`, zeroCell(nth)],
      ],
      [at],
    )
  }
})

test('P6: a mark set by one colluder and taken off by the next is noise all the same', async () => {
  const victim = await victimMesh('tag and untag')
  const { sim } = victim
  for (const [first, second] of [
    [1, 2],
    [2, 3],
    [2, 5],
    [4, 6],
  ] as const) {
    const unmark = changeBit(4, 900)
    sim.taps.end(ROUND[second]!, ROUND[second - 1]!).tap.incoming = unmark
    const { reason, failed } = await attack(victim, first, changeBit(4, 900), `colluders before ${first} and ${second}`)
    delete sim.taps.end(ROUND[second]!, ROUND[second - 1]!).tap.incoming
    assert.ok(failed > 0)
    assert.equal(reason, 'noise', `before ${first} and ${second}`)
  }
  await sim.close()
})

test('P2, P6: a garbled cell makes no member say or stop anything: nobody learns from it who the apex is', async () => {
  const victim = await victimMesh('who stops')
  const { sim } = victim
  for (const at of [1, 2, 3]) {
    // What members send until the origin has seen the noise.
    const balance = sim.mesh.nodes.map(() => 0)
    const destroys: string[] = []
    const touch = changeBit(4, 900)
    for (const { self, peer, end } of sim.taps.all()) {
      end.tap.outgoing = (_id, command) => {
        if (command === Command.CIRCUIT) balance[self]!--
        if (command === Command.DESTROY) destroys.push(`${self} to ${peer}`)
      }
      end.tap.incoming = (cell) => {
        if (cell.command === Command.CIRCUIT) balance[self]!++
        return [cell]
      }
    }
    const count = sim.taps.end(ROUND[at]!, ROUND[at - 1]!).tap.incoming!
    const { reason } = await attack(victim, at, (cell) => touch(count(cell)[0]!), `into member ${at}`)
    assert.equal(reason, 'noise')
    for (let member = 1; member <= 5; member++) assert.equal(balance[member], 0, `member ${member}, touched before ${at}`)
    assert.ok(
      destroys.every((who) => who === '0 to 5'),
      destroys.join(', '),
    )
    sim.taps.release()
  }
  await sim.close()
})

test('P7: cells stop coming: the loop ends within 3 seconds, and what was asked fails with it', async () => {
  const victim = await victimMesh('silence')
  const { sim } = victim
  for (const at of [1, 3, 6]) {
    const start = sim.clock.monotonicMs()
    const { reason, delivered } = await attack(
      victim,
      at,
      (cell) => (cell.command === Command.CIRCUIT ? [] : [cell]),
      `silence ${at}`,
    )
    assert.equal(delivered, 0)
    assert.equal(reason, 'stalled')
    assert.ok(sim.clock.monotonicMs() - start <= 3_000)
  }
  await sim.close()
})

test('P7: a cell that no origin sent, before the first or behind the last, ends the loop', async () => {
  const { sim } = await victimMesh('unasked')
  const rng = seededRng('unasked')
  for (const late of [false, true]) {
    let id: CircuitId | null = null
    const home = sim.taps.end(0, 5)
    home.tap.incoming = (cell) => {
      id = cell.id
      return [cell]
    }
    const loop = await sim.build()
    if (late) await sim.echo(loop, rng.bytes(100))
    assert.notEqual(id, null)
    home.inject([{ id: id!, command: Command.CIRCUIT, body: rng.bytes(BODY_BYTES) }])
    assert.equal(sim.ended.get(loop), 'protocol')
    home.tap.incoming = (cell) => [cell]
  }
  await sim.close()
})

/** The eight SETUP cells of each link of the next loop that node 0 builds, by the member that they came to (1 … 6). */
async function recordSetUp(sim: FakeMesh) {
  const cells = new Map<number, TappedCell[]>()
  for (let at = 1; at <= 6; at++) {
    const list: TappedCell[] = []
    cells.set(at, list)
    sim.taps.end(ROUND[at]!, ROUND[at - 1]!).tap.incoming = (cell) => {
      if (cell.command === Command.SETUP) list.push(cell)
      return [cell]
    }
  }
  const loop = await sim.build()
  for (let at = 1; at <= 6; at++) {
    delete sim.taps.end(ROUND[at]!, ROUND[at - 1]!).tap.incoming
    assert.equal(cells.get(at)!.length, SETUP_CELLS)
  }
  return { loop, cells }
}

/** Counts all cells that any node sends from now on. */
function countSent(sim: FakeMesh) {
  const sent = { cells: 0 }
  for (const { end } of sim.taps.all()) end.tap.outgoing = () => void sent.cells++
  return sent
}

test('a replayed set-up is refused by every member and by the origin, in this life and after a restart', async () => {
  const { sim } = await victimMesh('replay')
  const { loop, cells } = await recordSetUp(sim)
  const replayAll = async () => {
    const sent = countSent(sim)
    const relayed = sim.mesh.nodes.map(({ relay }) => relay.relayed)
    for (let at = 1; at <= 6; at++) {
      const end = sim.taps.end(ROUND[at]!, ROUND[at - 1]!)
      const [first] = cells.get(at)!
      // Under the id of the circuit that lives, and under a new one of the same side.
      for (const id of [first!.id, (first!.id + 2000) as CircuitId]) end.inject(cells.get(at)!.map((cell) => ({ ...cell, id })))
    }
    await sim.clock.settle()
    assert.deepEqual(
      sim.mesh.nodes.map(({ relay }) => relay.relayed),
      relayed,
    )
    assert.equal(sent.cells, 0, 'nobody says a word')
    sim.taps.release()
  }
  await replayAll()
  await sim.clock.advance(9 * 60_000)
  await replayAll()
  assert.deepEqual(await sim.echo(loop, Uint8Array.of(1, 2, 3)), Uint8Array.of(1, 2, 3))
  loop.close()
  await replayAll()
  for (const node of sim.mesh.nodes) node.restartKeys()
  await replayAll()
  const fresh = await sim.build()
  assert.deepEqual(await sim.echo(fresh, Uint8Array.of(4)), Uint8Array.of(4))
  await sim.close()
})

test('a changed set-up, on any link, yields no loop, costs nobody else anything, and the next attempt works', async () => {
  const { sim } = await victimMesh('changed set-up')
  const rng = seededRng('changed set-up')
  const bystander = await sim.build()
  for (let at = 1; at <= 6; at++) {
    const end = sim.taps.end(ROUND[at]!, ROUND[at - 1]!)
    let touched = 0
    let skip = rng.below(SETUP_CELLS)
    end.tap.incoming = (cell) => {
      if (cell.command !== Command.SETUP || touched > 0 || skip-- > 0) return [cell]
      touched++
      return [flipped(cell, 8 + rng.below(8 * (SETUP_BYTES / SETUP_CELLS)))]
    }
    const start = sim.clock.monotonicMs()
    const loop = await sim.build()
    assert.equal(touched, 1)
    assert.ok(sim.clock.monotonicMs() - start <= 3_100)
    assert.deepEqual(await sim.echo(loop, Uint8Array.of(at)), Uint8Array.of(at))
    loop.close()
    delete end.tap.incoming
  }
  assert.equal(sim.ended.get(bystander), undefined)
  assert.deepEqual(await sim.echo(bystander, Uint8Array.of(9)), Uint8Array.of(9))
  await sim.close()
})

test('P8: who recorded everything and is given all onion keys afterwards opens the routing, and not one cell', async () => {
  const { sim } = await victimMesh('thief')
  /** All that came in to each member, as on the wire. */
  const packets = new Map<number, Uint8Array>()
  const incoming = new Map<number, Uint8Array[]>()
  for (let at = 1; at <= 5; at++) {
    incoming.set(at, [])
    const parts: Uint8Array[] = []
    sim.taps.end(ROUND[at]!, ROUND[at - 1]!).tap.incoming = (cell) => {
      if (cell.command === Command.SETUP) {
        parts.push(cell.body.subarray(1, 1 + SETUP_BYTES / SETUP_CELLS))
        if (parts.length === SETUP_CELLS) packets.set(at, Uint8Array.from(parts.flatMap((part) => [...part])))
      } else incoming.get(at)!.push(cell.body)
      return [cell]
    }
  }
  const outgoing: Uint8Array[] = []
  sim.taps.end(0, 5).tap.incoming = (cell) => {
    if (cell.command === Command.CIRCUIT) outgoing.push(cell.body)
    return [cell]
  }
  const origin = await sim.buildRaw()
  for (let cell = 0; cell < 40; cell++) origin.send(1 + (cell % 6), Uint8Array.of(0))
  await sim.clock.settle()
  assert.equal(origin.home.length, 40)
  assert.ok(origin.home.every(({ frames }) => frames !== null))

  const after = (at: number) => (at < 5 ? incoming.get(at + 1)! : outgoing)
  /** How many of a member's cells `secrets` turn into what it sent on, or make recognisable. */
  const opened = (at: number, secrets: { readonly cellKey: Uint8Array; readonly answerKey: Uint8Array }) => {
    const layer = new HopLayer(sim.mesh.cipher, secrets)
    let count = 0
    for (const [counter, body] of incoming.get(at)!.entries()) {
      const cell = new Uint8Array(CELL_BYTES)
      cell.set(body, 5)
      layer.peel(cell, Int32Array.of(0), Uint32Array.of(counter), 1)
      if (isRecognised(cell, 5) || toHex(cell.subarray(5)) === toHex(after(at)[counter]!)) count++
    }
    layer.wipe()
    return count
  }
  for (let at = 1; at <= 5; at++) {
    const node = sim.mesh.nodes[at]!
    const packet = packets.get(at)!
    const pair = node.onionKeys.find(packet[1]!)!
    const seen = (onionKeys: Parameters<typeof openSetUp>[1]['onionKeys']) =>
      openSetUp(packet, {
        network: sim.mesh.network,
        self: node.id,
        onionKeys,
        nowMs: sim.clock.unixMs(),
        previous: sim.mesh.nodes[at - 1]!.id,
        isNeighbour: () => true,
      })
    const refused = seen(node.onionKeys)
    assert.ok(!refused.ok && refused.reason === 'replayed')
    // The keys themselves, without the cache: they open the record …
    const stolen = seen({ find: () => ({ ...pair, replay: { admit: () => 'fresh' } }) })
    assert.ok(stolen.ok)
    assert.equal(stolen.next, sim.mesh.nodes[ROUND[at + 1]!]!.id)
    // … and none of the cells, while the keys of the time open all of them.
    assert.equal(opened(at, stolen), 0)
    assert.equal(opened(at, origin.secrets[at - 1]!), 40, 'the control')
  }
  await sim.close()
})
