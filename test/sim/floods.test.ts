/**
 * Neighbours that take what all are to be served from: circuits, memory, requests under way. Each flood takes no more than its part, and those
 * who come by other links are served as before. Real members on memory links, a fake clock. How fast others are served meanwhile:
 * `flood-speed.test.ts`. Spec: SPEC.md §4.4, §5.3; DESIGN §9.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SILENT_LIFE_MS } from '../../relay/switch.ts'
import { BODY_BYTES, type CircuitId, Command } from '../../src/cell/index.ts'
import { startFakeMesh } from '../support/fake-mesh.ts'

test('circuits that one link brings leave room on each other link for those of all others', async () => {
  const circuitsPerLink = 32
  const sim = await startFakeMesh('table', { count: 7, circuitsPerLink })
  const member = sim.mesh.nodes[1]!
  // All by way of 0 → 1 → 2, until 1 takes no more of them.
  let held = 0
  for (; held < circuitsPerLink; held++) {
    const loop = await sim.build(0, [1, 2, 3]).catch(() => null)
    if (loop === null) break
  }
  assert.equal(held, circuitsPerLink / 2)
  const other = await sim.build(4, [1, 2, 5])
  assert.equal((await sim.ping(other, 10, 10)).status, 'ok')
  // Node 1's own loops go out over the same link.
  const own = await sim.build(1, [2, 5, 4])
  assert.equal((await sim.ping(own, 10, 10)).status, 'ok')
  assert.equal(member.relay.relayed, circuitsPerLink / 2 + 1)
  await sim.close()
})

test('a last member that goes on sending after a loop has ended is swallowed for some minutes, then answered like anybody', async () => {
  const sim = await startFakeMesh('silent end')
  const loop = await sim.build(0, [1, 2, 3, 4, 5])
  const home = sim.taps.end(0, 5)
  let id = 0 as CircuitId
  home.tap.incoming = (cell) => {
    id = cell.id
    return [cell]
  }
  await sim.ping(loop, 1, 1)
  const said: number[] = []
  home.tap.outgoing = (_, command) => void said.push(command)
  loop.close()
  const node = sim.mesh.nodes[0]!
  const send = () => home.inject([{ id, command: Command.CIRCUIT, body: sim.rng.bytes(BODY_BYTES) }])
  const [least, most] = SILENT_LIFE_MS
  let passed = 0
  for (; node.relay.tableEntries > 0; passed += 30_000) {
    send()
    assert.ok(passed <= most + 30_000, 'it is kept for ever')
    await sim.clock.advance(30_000)
  }
  assert.ok(passed >= least, `${passed} ms`)
  assert.ok(!said.includes(Command.DESTROY), 'as long as it is there nothing is said')
  send()
  assert.ok(said.includes(Command.DESTROY))
  await sim.close()
})
