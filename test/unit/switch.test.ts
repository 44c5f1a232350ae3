/**
 * The switch (SPEC §4.2, §4.4): what it makes of cells that no honest neighbour sends, how circuits end, and that nothing of them stays
 * behind. Real nodes on memory links, a fake clock, cells put in by hand.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CIRCUIT_IDLE_MS } from '../../relay/switch.ts'
import { BODY_BYTES, type CircuitId, Command } from '../../src/cell/index.ts'
import { SETUP_CELLS } from '../../src/circuit/setup/index.ts'
import { encodeHopRequest } from '../../src/wire/index.ts'
import { type FakeMesh, startFakeMesh } from '../support/fake-mesh.ts'

/** What node `self` sends to `peer` from now on. */
function watchOut(sim: FakeMesh, self: number, peer: number) {
  const sent: { readonly id: CircuitId; readonly command: number }[] = []
  sim.taps.end(self, peer).tap.outgoing = (id, command) => void sent.push({ id, command })
  return sent
}

/** An id that node `peer` may give on its link with `self`. */
const peersId = (sim: FakeMesh, self: number, peer: number, at = 1000) =>
  (2 * at + (sim.taps.end(self, peer).even ? 1 : 0)) as CircuitId

const tables = (sim: FakeMesh) => sim.mesh.nodes.map(({ relay }) => relay.tableEntries)

test('an unknown command closes the link, with every circuit on it and no other', async () => {
  for (const command of [5, 6, 127, 255]) {
    const sim = await startFakeMesh(`command ${command}`)
    const touched = await sim.build(0, [1, 2, 3, 4, 5])
    const other = await sim.build(0, [5, 4, 3, 2])
    const link = sim.taps.end(2, 1)
    link.inject([{ id: 0, command }])
    await sim.clock.settle()
    assert.equal(link.open, false)
    assert.equal(sim.taps.end(1, 2).open, false)
    assert.equal(sim.taps.all().filter(({ end }) => !end.open).length, 2)
    assert.equal((await sim.ping(other, 5, 5)).status, 'ok')
    await assert.rejects(sim.ping(touched, 5, 5))
    assert.equal(sim.ended.get(touched), 'destroyed')
    await sim.close()
  }
})

test('a CONTROL cell with a circuit id is a breach; PAD with any id is nothing', async () => {
  const sim = await startFakeMesh('control')
  sim.taps.end(2, 1).inject([{ id: 77, command: Command.PAD }])
  sim.taps.end(2, 1).inject([{ id: 0, command: Command.CONTROL }])
  await sim.clock.settle()
  assert.equal(sim.taps.end(2, 1).open, true)
  sim.taps.end(2, 1).inject([{ id: 77, command: Command.CONTROL }])
  await sim.clock.settle()
  assert.equal(sim.taps.end(2, 1).open, false)
  await sim.close()
})

test("a breach in the middle of a turn drops that turn's cells and leaves nothing half done", async () => {
  const sim = await startFakeMesh('mid turn')
  const loop = await sim.build()
  let id = 0 as CircuitId
  sim.taps.end(1, 0).tap.incoming = (cell) => {
    id = cell.id
    return [cell]
  }
  await sim.ping(loop, 1, 1)
  sim.taps.end(1, 0).inject([
    { id, command: Command.CIRCUIT, body: sim.rng.bytes(BODY_BYTES) },
    { id, command: Command.CIRCUIT, body: sim.rng.bytes(BODY_BYTES) },
    { id: 0, command: 99 },
    { id, command: Command.CIRCUIT, body: sim.rng.bytes(BODY_BYTES) },
  ])
  await sim.clock.settle()
  assert.equal(sim.ended.get(loop), 'link-lost')
  assert.equal(sim.mesh.nodes[1]!.relay.relayed, 0)
  const other = await sim.build(0, [5, 4, 3, 2, 1].slice(0, 4))
  assert.equal((await sim.ping(other, 1, 1)).status, 'ok')
  await sim.close()
})

test('an unknown circuit gets DESTROY, at most four in a turn, and only under ids that the peer may give', async () => {
  const sim = await startFakeMesh('unknown')
  const sent = watchOut(sim, 2, 1)
  const id = peersId(sim, 2, 1)
  const cell = (at: number) => ({ id: id + 2 * at, command: Command.CIRCUIT })
  sim.taps.end(2, 1).inject([cell(0)])
  assert.deepEqual(sent.splice(0), [{ id, command: Command.DESTROY }])
  sim.taps.end(2, 1).inject(Array.from({ length: 32 }, (_, at) => cell(at)))
  assert.equal(sent.splice(0).length, 4)
  sim.taps.end(2, 1).inject(Array.from({ length: 8 }, (_, at) => ({ id: id + 1 + 2 * at, command: Command.CIRCUIT })))
  sim.taps.end(2, 1).inject([{ id: 0, command: Command.CIRCUIT }])
  assert.deepEqual(sent, [])
  assert.equal(sim.taps.end(2, 1).open, true)
  await sim.close()
})

test("DESTROY for circuits that are not there, or with the wrong side's id, does nothing", async () => {
  const sim = await startFakeMesh('destroy')
  const loop = await sim.build()
  let id = 0 as CircuitId
  sim.taps.end(2, 1).tap.incoming = (cell) => {
    id = cell.id
    return [cell]
  }
  await sim.ping(loop, 1, 1)
  // From the predecessor: its own ids are not the successor's to take back.
  sim.taps.end(2, 1).inject([{ id, command: Command.DESTROY }])
  for (let at = 0; at < 200; at++) sim.taps.end(2, 1).inject([{ id: sim.rng.below(2 ** 32), command: Command.DESTROY }])
  assert.equal((await sim.ping(loop, 1, 1)).status, 'ok')
  // From the successor it is one.
  sim.taps.end(1, 2).inject([{ id, command: Command.DESTROY }])
  assert.equal(sim.mesh.nodes[1]!.relay.relayed, 0)
  await assert.rejects(sim.ping(loop, 1, 1))
  assert.equal(sim.ended.get(loop), 'destroyed')
  await sim.close()
})

test("SETUP from a link that is no neighbour's, or under an id of the wrong side, is ignored", async () => {
  const sim = await startFakeMesh('strangers')
  const packet: { readonly id: CircuitId; readonly body: Uint8Array }[] = []
  sim.taps.end(1, 0).tap.incoming = (cell) => {
    if (cell.command === Command.SETUP) packet.push(cell)
    return [] // The honest one never arrives.
  }
  await assert.rejects(sim.build())
  sim.taps.release()
  const first = packet.slice(0, SETUP_CELLS)
  assert.equal(first.length, SETUP_CELLS)
  const node = sim.mesh.nodes[1]!
  const link = sim.taps.end(1, 0)
  const inject = (id: number) => {
    link.inject(first.map(({ body }) => ({ id, command: Command.SETUP, body })))
    return node.relay.relayed
  }
  assert.equal(inject(first[0]!.id + 1), 0, 'an id of this side')
  assert.equal(inject(0), 0)
  node.relay.removeNeighbour(link)
  assert.equal(inject(first[0]!.id), 0, 'no neighbour')
  node.relay.addNeighbour(link)
  assert.equal(inject(first[0]!.id), 1, 'the control: the packet was good all the time')
  await sim.close()
})

test('a link that is lost ends exactly the circuits that pass it', async () => {
  const sim = await startFakeMesh('lost link', { count: 7 })
  const paths = [
    [1, 2, 3],
    [3, 2, 1],
    [4, 5, 6],
    [2, 4, 1],
    [6, 1, 2, 5],
    [1, 3, 2],
  ]
  const loops = []
  for (const path of paths) loops.push(await sim.build(0, path))
  // Somebody else's loops over the same nodes.
  const foreign = await sim.build(3, [4, 1, 2])
  const foreignSafe = await sim.build(3, [1, 4, 2])
  const [a, b] = [sim.mesh.nodes[1]!.id, sim.mesh.nodes[2]!.id]
  sim.mesh.wires.sever(a, b)
  await sim.clock.settle()
  const hit = (path: readonly number[], origin: number) => {
    const round = [origin, ...path, origin]
    return round.some((node, at) => at > 0 && [node, round[at - 1]].sort().join() === '1,2')
  }
  for (const [at, loop] of loops.entries()) {
    const works = await sim.ping(loop, 1, 1).then(
      () => true,
      () => false,
    )
    assert.equal(works, !hit(paths[at]!, 0), paths[at]!.join())
  }
  assert.equal((await sim.ping(foreignSafe, 1, 1)).status, 'ok')
  await assert.rejects(sim.ping(foreign, 1, 1))
  await sim.close()
})

test('hundreds of loops built, used, broken and closed leave no entry in any table, no timer and no stream', async () => {
  const sim = await startFakeMesh('leaks', { count: 5 })
  const timers = sim.clock.pendingTimers
  const empty = tables(sim)
  assert.deepEqual(empty, [0, 0, 0, 0, 0])
  for (let round = 0; round < 300; round++) {
    const origin = round % 5
    const loop = await sim.build(
      origin,
      [1, 2, 3].map((step) => (origin + step) % 5),
    )
    if (round % 4 === 0) await sim.ping(loop, 10, 3_000)
    if (round % 7 === 0) {
      // Closed with a request under way.
      const asked = sim.ping(loop, 10, 60_000)
      sim.clock.runTurns()
      loop.close()
      await assert.rejects(asked)
    }
    loop.close()
    // The admission of set-ups has a rate.
    if (round % 100 === 99) await sim.clock.advance(1_000)
  }
  assert.ok(
    tables(sim).some((entries) => entries > 0),
    'members keep circuits that nobody ended',
  )
  await sim.clock.advance(CIRCUIT_IDLE_MS + 20_000)
  assert.deepEqual(tables(sim), empty)
  assert.deepEqual(
    sim.mesh.nodes.map(({ relay }) => relay.relayed),
    [0, 0, 0, 0, 0],
  )
  assert.equal(sim.clock.pendingTimers, timers)
  await sim.close()
  assert.equal(sim.clock.pendingTimers, 0)
})

test('a loop in use, or idle with its origin alive, is not swept', async () => {
  const sim = await startFakeMesh('alive')
  const loop = await sim.build()
  await sim.clock.advance(10 * CIRCUIT_IDLE_MS)
  assert.equal(sim.ended.get(loop), undefined)
  assert.equal((await sim.ping(loop, 1, 1)).status, 'ok')
  await sim.close()
})

test('set-ups that never come home leave nothing at the origin', async () => {
  const sim = await startFakeMesh('no return', { count: 5 })
  sim.taps.end(0, 4).tap.incoming = (cell) => (cell.command === Command.SETUP ? [] : [cell])
  const controller = new AbortController()
  const node = sim.mesh.nodes[0]!
  const built = node.builder.build(undefined, () => {}, controller)
  built.catch(() => {})
  await sim.clock.advance(1_000)
  controller.abort(new Error('enough'))
  await assert.rejects(sim.clock.runFor(built), /enough/)
  assert.equal(node.relay.tableEntries, 0)
  await assert.rejects(sim.build(0, [1, 2, 3, 4]))
  assert.equal(node.relay.tableEntries, 0)
  await sim.close()
})

test("more set-ups than a neighbour's rate allows are dropped, and the rate comes back", async () => {
  const sim = await startFakeMesh('rate', { count: 4 })
  let built = 0
  const node = sim.mesh.nodes[0]!
  const never = new AbortController()
  for (let at = 0; at < 420; at++) {
    const { promise, resolve } = Promise.withResolvers<boolean>()
    const attempt = node.builder.build(undefined, () => {}, never)
    attempt.then(
      (loop) => {
        loop.close()
        resolve(true)
      },
      () => resolve(false),
    )
    await sim.clock.settle()
    const done = await Promise.race([promise, Promise.resolve(null)])
    if (done !== true) break
    built++
  }
  assert.ok(built >= 399 && built <= 401, `${built} at once`)
  await sim.clock.advance(1_000)
  const loop = await sim.build(0)
  assert.equal((await sim.ping(loop, 1, 1)).status, 'ok')
  await sim.close()
})

test('closing a node ends its circuits, own and relayed; closing twice does no harm', async () => {
  const sim = await startFakeMesh('close')
  const own = await sim.build(0)
  const through = await sim.build(4, [3, 0, 1])
  const node = sim.mesh.nodes[0]!
  assert.equal(node.relay.relayed, 1)
  node.relay.close()
  node.relay.close()
  assert.equal(node.relay.tableEntries, 0)
  assert.equal(sim.ended.get(own), 'closed')
  await assert.rejects(sim.ping(through, 1, 1))
  await sim.close()
})

test('own loops send at their place in the turn and in the same write as relayed circuits', async () => {
  const sim = await startFakeMesh('one write')
  const own = await sim.build(0, [1, 2, 3, 4, 5])
  const home = sim.taps.end(0, 5)
  let relayedIn = 0 as CircuitId
  home.tap.incoming = (cell) => {
    if (cell.command === Command.CIRCUIT) relayedIn = cell.id
    return [cell]
  }
  const relayed = await sim.build(5, [0, 1, 2, 3])
  await sim.ping(relayed, 1, 1)
  // Cells of the own loop on their way home are held back, so that more of its request waits for its window.
  const held: { id: CircuitId; command: number; body: Uint8Array }[] = []
  home.tap.incoming = (cell) => {
    held.push(cell)
    return []
  }
  const asked = own.ask(encodeHopRequest({ kind: 'ping', filler: new Uint8Array(60_000), answerBytes: 1 }), new AbortController())
  asked.catch(() => {})
  await sim.clock.settle()
  const out = sim.taps.end(0, 1)
  const events: (CircuitId | 'write')[] = []
  out.tap.outgoing = (id) => void events.push(id)
  out.flush = () => void events.push('write')
  home.inject([...held.slice(0, 16), { id: relayedIn, command: Command.CIRCUIT, body: sim.rng.bytes(BODY_BYTES) }])
  assert.equal(events.indexOf('write'), events.length - 1, 'one write, of everything')
  const ids = events.slice(0, -1)
  assert.ok(ids.length > 1 && ids.at(-1) !== ids[0], 'the relayed cell came last and goes last')
  await sim.close()
})

test('a fault in one loop costs the link whose turn it was, and no other', async () => {
  for (const method of ['onHome', 'onTurnEnd'] as const) {
    const sim = await startFakeMesh(`fault in ${method}`)
    const own = await sim.build(0, [1, 2, 3, 4, 5])
    const other = await sim.build(0, [1, 2, 3, 4])
    const home = sim.taps.end(0, 5)
    let id = 0 as CircuitId
    home.tap.incoming = (cell) => {
      id = cell.id
      return [cell]
    }
    await sim.ping(own, 1, 1)
    own.onHome = () => {}
    own[method] = () => {
      throw new Error('a bug')
    }
    assert.throws(() => home.inject([{ id, command: Command.CIRCUIT }]), /a bug/)
    home.close('error') // as every link does when its receiver throws
    await sim.clock.settle()
    assert.equal((await sim.ping(other, 5, 5)).status, 'ok')
    assert.equal(sim.ended.get(own), 'link-lost')
    await sim.close()
  }
})

test("what a failed turn leaves of one link's cells is never taken for cells of another link", async () => {
  const sim = await startFakeMesh('failed turn')
  const own = await sim.build(0, [1, 2, 3, 4, 5])
  const relayed = await sim.build(5, [0, 1, 2, 3])
  const home = sim.taps.end(0, 5)
  const ids: CircuitId[] = []
  home.tap.incoming = (cell) => {
    if (cell.command === Command.CIRCUIT && !ids.includes(cell.id)) ids.push(cell.id)
    return [cell]
  }
  await sim.ping(own, 1, 1)
  await sim.ping(relayed, 1, 1)
  own.onHome = () => {
    throw new Error('a bug')
  }
  const turn = ids.map((id) => ({ id, command: Command.CIRCUIT, body: sim.rng.bytes(BODY_BYTES) }))
  assert.throws(() => home.inject(turn), /a bug/)
  const sent = watchOut(sim, 0, 1)
  sim.taps.end(0, 2).inject([{ id: 0, command: Command.PAD }])
  assert.deepEqual(sent, [])
  await sim.close()
})
