/** Whole networks of control planes: they find together, settle, survive losses and liars, and remember. Spec: SPEC.md §6. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { drawLoop, loopMembers } from '../../client/paths.ts'
import { networkIdOf } from '../../src/directory/index.ts'
import { TEST_RULES } from '../support/directory.ts'
import { isWhole, NeighbourNet, type NetNode } from '../support/neighbour-net.ts'
import { SeededRng } from '../support/seeded-rng.ts'

const HOUR = 3_600_000

function network(t: TestContext, seed: string): NeighbourNet {
  const net = new NeighbourNet(seed)
  t.after(() => net.close())
  return net
}

/** `count` nodes that all know node 0, started 20 ms apart. */
async function town(net: NeighbourNet, count: number): Promise<NetNode[]> {
  const nodes = Array.from({ length: count }, (_, index) => net.make(index, index === 0 ? {} : { bootstrap: [net.addressOf(0)] }))
  for (const node of nodes) {
    await net.start(node)
    await net.pass(20)
  }
  return nodes
}

const chosenOf = (nodes: readonly NetNode[]) => nodes.map(({ neighbours }) => neighbours.chosen().length)

for (const count of [4, 8, 32]) {
  test(`${count} nodes have the whole directory everywhere soon after the last start`, async (t) => {
    const net = network(t, `whole ${count}`)
    const nodes = await town(net, count)
    const everybodyKnown = await net.until(() => nodes.every(({ directory }) => directory.size === count), 10_000)
    const settled = await net.until(() => nodes.every(({ neighbours }) => neighbours.settled) && isWhole(nodes), 20_000)
    t.diagnostic(`all known after ${everybodyKnown} ms, settled after ${settled} ms more; chosen ${chosenOf(nodes).join()}`)
    assert.ok(everybodyKnown !== null && everybodyKnown <= 2_000)
    assert.ok(settled !== null)
    for (const { neighbours, plane, identity } of nodes) {
      const accepted = neighbours.all().length - neighbours.chosen().length
      assert.ok(accepted <= 8)
      assert.ok(neighbours.chosen().length >= Math.min(4, count - 1))
      assert.deepEqual([...plane.links.keys()].sort(), [...neighbours.all()].sort())
      for (const peer of neighbours.all()) {
        assert.ok(nodes.find((other) => other.identity.id === peer)?.neighbours.linkTo(identity.id), 'a link has two ends')
      }
    }
    if (count < 8) return
    const rng = new SeededRng(count)
    for (const { identity, directory, neighbours } of nodes) {
      const mine = { self: identity.id, neighbours: neighbours.all(), chosen: neighbours.chosen() }
      const apex = nodes.find((other) => other.identity.id !== identity.id)!.identity.id
      assert.ok(drawLoop({ view: directory, ...mine, members: loopMembers(count), apex, rng }), 'a loop to any node')
    }
  })
}

test('links stay as they are: an hour later the web is the same', async (t) => {
  const net = network(t, 'calm')
  const nodes = await town(net, 8)
  await net.until(() => nodes.every(({ neighbours }) => neighbours.settled) && isWhole(nodes), 20_000)
  const before = nodes.map(({ plane }) => [...plane.links.values()])
  for (let minute = 0; minute < 60; minute++) await net.clock.advance(60_000)
  assert.deepEqual(
    nodes.map(({ plane }) =>
      [...plane.links.values()].every((link, at) => link === before[nodes.findIndex((n) => n.plane === plane)]![at]),
    ),
    nodes.map(() => true),
  )
  assert.ok(isWhole(nodes))
})

test('half of the network gone: the rest finds together again, and the lost come back as the same', async (t) => {
  const net = network(t, 'half')
  const nodes = await town(net, 12)
  await net.until(() => nodes.every(({ neighbours }) => neighbours.settled), 20_000)
  const gone = nodes.slice(6)
  const left = nodes.slice(0, 6)
  await net.settled(Promise.all(gone.map(({ neighbours }) => neighbours.close())))
  const took = await net.until(() => left.every(({ neighbours }) => neighbours.chosen().length >= 4), 60_000)
  t.diagnostic(`4 chosen again after ${took} ms`)
  assert.ok(took !== null)
  // All restart from disk, without a bootstrap node, with the published time going on.
  const again = gone.map(({ dataDir }, at) => net.make(6 + at, { dataDir }))
  for (const node of again) await net.start(node)
  const alive = [...left, ...again]
  const back = await net.until(() => isWhole(alive) && again.every(({ neighbours }) => neighbours.settled), 120_000)
  t.diagnostic(`whole again after ${back} ms`)
  assert.ok(back !== null)
})

test('a node that starts again keeps its chosen neighbours', async (t) => {
  const net = network(t, 'keep')
  const nodes = await town(net, 16)
  await net.until(() => nodes.every(({ neighbours }) => neighbours.settled), 20_000)
  const last = nodes[15]!
  const before = [...last.neighbours.chosen()].sort()
  const published = last.directory.get(last.identity.id)!.publishedMs
  await net.settled(last.neighbours.close())
  net.clock.jumpWallClock(-3_600_000 / 30) // two minutes back: time of publication goes on all the same
  const again = net.make(15, { dataDir: last.dataDir })
  await net.start(again)
  assert.ok(again.directory.get(again.identity.id)!.publishedMs > published)
  assert.ok((await net.until(() => again.neighbours.settled, 20_000)) !== null)
  assert.deepEqual([...again.neighbours.chosen()].sort(), before)
})

test('networks of different names never mix', async (t) => {
  const net = network(t, 'mix')
  const here = net.make(0)
  const there = net.make(1, { bootstrap: [net.addressOf(0)], rules: { ...TEST_RULES, network: networkIdOf('other') } })
  await net.start(here)
  await net.start(there)
  await net.pass(20_000)
  assert.equal(here.directory.size, 1)
  assert.equal(there.directory.size, 1)
  assert.equal(here.neighbours.all().length + there.neighbours.all().length, 0)
})

test('a node that cannot be dialled links out and is part of the web', async (t) => {
  const net = network(t, 'nat')
  const nodes = await town(net, 8)
  const hidden = net.make(20, { bootstrap: [net.addressOf(0)], reachable: false })
  await net.start(hidden)
  const all = [...nodes, hidden]
  assert.ok((await net.until(() => hidden.neighbours.chosen().length === 4 && isWhole(all), 20_000)) !== null)
  assert.deepEqual(nodes[3]!.directory.get(hidden.identity.id)!.addresses, [])
})

test('the bootstrap node comes last: everybody waits for it', async (t) => {
  const net = network(t, 'late')
  const others = Array.from({ length: 4 }, (_, at) => net.make(at + 1, { bootstrap: [net.addressOf(0)] }))
  for (const node of others) await net.start(node)
  await net.pass(5_000)
  const first = net.make(0)
  await net.start(first)
  const all = [first, ...others]
  const took = await net.until(() => isWhole(all) && all.every(({ neighbours }) => neighbours.chosen().length === 4), 30_000)
  t.diagnostic(`whole ${took} ms after the bootstrap node`)
  assert.ok(took !== null)
})

test('a cut cable is mended, a stalled neighbour is given up', async (t) => {
  const net = network(t, 'cut')
  const nodes = await town(net, 6)
  const settled = () => nodes.every(({ neighbours }) => neighbours.chosen().length >= 4) && isWhole(nodes)
  assert.ok((await net.until(settled, 20_000)) !== null)
  const [a] = nodes
  const peer = a!.neighbours.chosen()[0]!
  net.wires.sever(a!.identity.id, peer)
  await net.pass(100)
  assert.ok((await net.until(settled, 10_000)) !== null)
  net.wires.stall(peer, true)
  await net.pass(90_000)
  assert.ok(!a!.neighbours.all().includes(peer))
  net.wires.stall(peer, false)
  assert.ok((await net.until(settled, 400_000)) !== null)
})

test('a day and more of sleep: everything expired, nobody is forgotten, and all is fresh within minutes', async (t) => {
  const net = network(t, 'sleep')
  const nodes = await town(net, 6)
  const settled = () => nodes.every(({ neighbours }) => neighbours.chosen().length >= 4) && isWhole(nodes)
  assert.ok((await net.until(settled, 20_000)) !== null)
  net.clock.jumpWallClock(25 * HOUR)
  const isFresh = ({ directory }: NetNode) => directory.all().every(({ publishedMs }) => net.clock.unixMs() - publishedMs < HOUR)
  const took = await net.until(() => nodes.every(isFresh), 120_000)
  t.diagnostic(`all fresh after ${took} ms`)
  assert.ok(took !== null)
  assert.ok(nodes.every(({ directory }) => directory.size === 6))
  assert.ok((await net.until(settled, 20_000)) !== null)
  assert.ok(nodes.every(({ neighbours }) => neighbours.clockJumped && !neighbours.clockSuspect))
})

for (const days of [1, -1]) {
  test(`a clock that is set ${days > 0 ? 'a day ahead' : 'back a day'} and right again: nobody is lost, on either side`, async (t) => {
    const net = network(t, `jump ${days}`)
    const date = { aheadMs: 0 }
    const nodes = [
      net.make(0),
      ...[1, 2, 3, 4, 5].map((index) => net.make(index, { bootstrap: [net.addressOf(0)], ...(index === 5 ? { date } : {}) })),
    ]
    for (const node of nodes) await net.start(node)
    const one = nodes[5]!
    const { id } = one.identity
    const settled = () => nodes.every(({ neighbours }) => neighbours.chosen().length >= 4) && isWhole(nodes)
    assert.ok((await net.until(settled, 20_000)) !== null)
    date.aheadMs = days * 24 * HOUR
    await net.pass(10 * 60_000)
    assert.ok(one.neighbours.clockJumped)
    // Links go on; nobody is forgotten; the others do not take what it publishes now.
    assert.equal(one.directory.size, 6)
    assert.ok(one.neighbours.all().length >= 4)
    for (const { directory } of nodes.slice(0, 5)) {
      assert.equal(directory.size, 6)
      assert.ok(Math.abs((directory.get(id)?.publishedMs ?? 0) - net.clock.unixMs()) < HOUR)
    }
    date.aheadMs = 0
    const before = net.clock.unixMs()
    const isTaken = () =>
      nodes.every(({ directory }) => {
        const published = directory.get(id)?.publishedMs ?? 0
        return published >= before && published <= net.clock.unixMs() + 60_000
      })
    const took = await net.until(isTaken, 120_000)
    t.diagnostic(`everybody has its descriptor again after ${took} ms`)
    assert.ok(took !== null)
    assert.ok((await net.until(settled, 20_000)) !== null)
  })
}

test('a node with a wrong clock joins nothing, disturbs nobody, and can be told why', async (t) => {
  const net = network(t, 'clock')
  const nodes = await town(net, 6)
  assert.ok((await net.until(() => isWhole(nodes), 20_000)) !== null)
  const late = net.make(9, { bootstrap: [net.addressOf(0)], date: { aheadMs: 3 * 3_600_000 } })
  await net.start(late)
  await net.pass(30_000)
  assert.equal(late.neighbours.all().length, 0)
  assert.ok(nodes.every(({ directory }) => directory.size === 6))
  assert.equal(late.directory.size, 7) // what others published is not too old for it
  assert.equal(nodes[0]!.neighbours.clockSuspect, false)
  const early = net.make(10, { bootstrap: [net.addressOf(0)], date: { aheadMs: -3 * 3_600_000 } })
  await net.start(early)
  await net.pass(30_000)
  assert.equal(early.neighbours.clockSuspect, true)
  assert.equal(early.directory.size, 1)
})

test('after close no timer, turn or link is left', async (t) => {
  const net = network(t, 'close')
  await town(net, 5)
  await net.pass(3_000)
  await net.settled(Promise.all(net.nodes.map(({ neighbours }) => neighbours.close())))
  await net.clock.settle()
  assert.equal(net.clock.pendingTimers, 0)
  assert.equal(net.wires.openLinkEnds, 0)
})

test('a node dies every 5 s and comes back after 12: the others hear of it within a second, also after minutes', async (t) => {
  const net = network(t, 'often')
  const nodes = await town(net, 10)
  await net.until(() => nodes.every(({ neighbours }) => neighbours.settled) && isWhole(nodes), 20_000)
  const rng = new SeededRng('often')
  const away = new Map<number, { readonly backAt: number; readonly dataDir: string }>()
  let late = 0
  for (let second = 0; second < 240; second++) {
    for (const [index, { backAt, dataDir }] of away) {
      if (backAt > second) continue
      away.delete(index)
      const bootstrap = nodes.flatMap((_, other) => (other === index || away.has(other) ? [] : [net.addressOf(other)]))
      nodes[index] = net.make(index, { bootstrap, dataDir })
      await net.start(nodes[index])
    }
    if (second % 5 > 0) {
      await net.clock.advance(1_000)
      continue
    }
    const there = nodes.map((_, index) => index).filter((index) => !away.has(index))
    const index = there[rng.below(there.length)]!
    const { host, neighbours, dataDir, identity } = nodes[index]!
    away.set(index, { backAt: second + 12, dataDir })
    await host.close() // nothing more gets out
    await net.settled(neighbours.close())
    await net.pass(1_000)
    const knows = ({ directory }: NetNode) => directory.linked(identity.id).length === 0
    if (!nodes.every((node, other) => away.has(other) || knows(node))) late++
  }
  t.diagnostic(`${late} of 48 deaths were heard of later by somebody`)
  assert.ok(late <= 5, 'it was 20 when each could say something new every 12 s')
})
