/** Adversaries beside a node: wrong greetings, crowds, flapping links, lies in gossip, floods of cells. Spec: SPEC.md §3.4, §6.3, §6.4. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { ControlLink } from '../../client/neighbours/control-link.ts'
import type { UnixMs } from '../../src/bytes/index.ts'
import { BODY_BYTES, CELL_BYTES, CELL_HEADER_BYTES, Command, commandAt, NO_CIRCUIT } from '../../src/cell/index.ts'
import { makeDescriptor, networkIdOf } from '../../src/directory/index.ts'
import type { Link, LinkCloseReason, LinkHost } from '../../src/link/index.ts'
import type { ControlMessage, Hello } from '../../src/wire/index.ts'
import { invented, omits, replays } from '../adversary/liars/directories.ts'
import { TEST_RULES, type TestNode, testClaims, testDescriptor, testNode } from '../support/directory.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { isWhole, NeighbourNet, type NetNode } from '../support/neighbour-net.ts'

/** A hand-made peer: says what the test wants, hears everything. */
class Peer {
  readonly heard: ControlMessage[] = []
  ended: LinkCloseReason | null = null
  #control: ControlLink | null = null
  #link: Link | null = null
  readonly host: LinkHost
  readonly #net: NeighbourNet

  constructor(net: NeighbourNet, node: TestNode) {
    this.#net = net
    this.host = net.wires.host(node.id)
  }

  async dial(victim: NetNode): Promise<void> {
    await this.host.start()
    const { id } = victim.identity
    const link = await this.#net.settled(this.host.dial(id, victim.host.addresses, { signal: new AbortController().signal }))
    const control = new ControlLink(link)
    this.ended = null
    this.#link = link
    this.#control = control
    link.start({
      onCells: (_, cells, count) => {
        for (let at = 0; at < count * CELL_BYTES; at += CELL_BYTES) {
          if (commandAt(cells, at) !== Command.CONTROL) continue
          const message = control.take(cells.subarray(at + CELL_HEADER_BYTES, at + CELL_BYTES))
          if (message !== null && message !== 'malformed') this.heard.push(message)
        }
      },
      onTurnEnd: () => {},
      onClose: (_, reason) => {
        this.ended = reason
      },
    })
  }
  say(...messages: ControlMessage[]): void {
    for (const message of messages) this.#control?.send(message)
  }
  sayCell(body: Uint8Array): void {
    const lane = this.#link!.lane(NO_CIRCUIT)
    lane.push(Command.CONTROL, body)
    this.#link!.flush()
  }
  hangUp(): void {
    this.#link?.close('local')
  }
  get welcome(): boolean | undefined {
    return this.heard.findLast((message) => message.kind === 'welcome')?.accepted
  }
}

function hello(node: TestNode, change: Partial<Hello> = {}): Hello {
  const descriptor = testDescriptor(node, { addresses: [] })
  return { kind: 'hello', version: 1, network: TEST_RULES.network, purpose: 'neighbour', descriptor, ...change }
}

/** Each of these peers, as this node, is a neighbour of `victim` from now on. */
async function greeted(
  net: NeighbourNet,
  victim: NetNode,
  ...peers: readonly (readonly [node: ReturnType<typeof testNode>, peer: Peer])[]
) {
  for (const [node, peer] of peers) {
    await peer.dial(victim)
    peer.say(hello(node))
    await net.pass(100)
  }
}

async function victimOf(t: TestContext, seed: string, options: Parameters<NeighbourNet['make']>[1] = {}) {
  const net = new NeighbourNet(seed)
  const victim = net.make(0, options)
  t.after(() => net.close())
  await net.start(victim)
  return { net, victim }
}

test('a wrong greeting gets no answer, only the end of the link', async (t) => {
  const { net, victim } = await victimOf(t, 'greeting')
  const mallory = testNode(1)
  const other = testNode(2)
  const wrong: ControlMessage[] = [
    hello(mallory, { network: networkIdOf('other') }),
    hello(mallory, { version: 2 }),
    hello(mallory, { descriptor: testDescriptor(other) }), // somebody else's
    hello(mallory, { descriptor: makeDescriptor(testClaims(mallory), networkIdOf('other'), mallory.key) }),
    hello(mallory, { descriptor: Uint8Array.of(1, 2, 3) }),
    hello(mallory, { descriptor: testDescriptor(mallory, { publishedMs: (FakeClock.START_UNIX_MS + 3_600_000) as UnixMs }) }),
    { kind: 'welcome', accepted: true },
    { kind: 'digest', buckets: new Uint8Array(2048) },
  ]
  const peer = new Peer(net, mallory)
  for (const message of wrong) {
    await peer.dial(victim)
    peer.say(message)
    await net.pass(200)
    assert.notEqual(peer.ended, null)
    assert.deepEqual(peer.heard, [])
    assert.equal(victim.directory.size, 1)
    assert.equal(victim.plane.links.size, 0)
  }
})

test('who says nothing, or half of something, is gone after five seconds', async (t) => {
  const { net, victim } = await victimOf(t, 'silent')
  const peer = new Peer(net, testNode(1))
  await peer.dial(victim)
  const half = new Uint8Array(BODY_BYTES)
  half.set([0xf8, 0x07, 1]) // 2040 bytes, first and not last
  peer.sayCell(half)
  await net.pass(4_000)
  assert.equal(peer.ended, null)
  await net.pass(2_000)
  assert.notEqual(peer.ended, null)
})

test('at most as many are accepted as configured; guests still learn the directory', async (t) => {
  const { net, victim } = await victimOf(t, 'crowd', { limits: { choose: 0, accept: 3 } })
  const peers = Array.from({ length: 6 }, (_, at) => ({ node: testNode(at + 1), peer: new Peer(net, testNode(at + 1)) }))
  for (const { node, peer } of peers) {
    await peer.dial(victim)
    peer.say(hello(node))
    await net.pass(100)
  }
  assert.deepEqual(
    peers.map(({ peer }) => peer.welcome),
    [true, true, true, false, false, false],
  )
  assert.equal(victim.plane.links.size, 3)
  const guest = new Peer(net, testNode(50))
  await guest.dial(victim)
  guest.say(hello(testNode(50), { purpose: 'guest' }), { kind: 'digest', buckets: new Uint8Array(2048) })
  await net.pass(200)
  assert.equal(guest.welcome, true)
  assert.ok(guest.heard.some((message) => message.kind === 'listing' && message.hashes.length > 3 * 32))
  assert.equal(victim.plane.links.size, 3)
  await net.pass(31_000)
  assert.notEqual(guest.ended, null) // and does not stay
})

test('strangers that take every place they can get do not keep a node from its bootstrap node', async (t) => {
  const net = new NeighbourNet('all places')
  t.after(() => net.close())
  const victim = net.make(0, { bootstrap: [net.addressOf(1)] })
  const other = net.make(1)
  net.wires.reachableBy((_, to) => to !== other.identity.id)
  await net.start(victim)
  await net.start(other)
  const strangers = Array.from({ length: 70 }, (_, at) => new Peer(net, testNode(at + 1)))
  for (const stranger of strangers) await stranger.dial(victim)
  net.wires.reachableBy(() => true)
  // Before the first of them is silent for too long.
  await net.until(() => victim.directory.size === 2, 3_500)
  assert.equal(victim.directory.size, 2)
})

test('silent strangers in all places give way to who comes, after a second; guests that stay, after ten', async (t) => {
  const net = new NeighbourNet('places')
  t.after(() => net.close())
  const victim = net.make(0)
  await net.start(victim)
  const silent = Array.from({ length: 70 }, (_, at) => new Peer(net, testNode(at + 1)))
  for (const stranger of silent) await stranger.dial(victim)
  await net.pass(1_100)
  const newcomer = new Peer(net, testNode(100))
  await newcomer.dial(victim)
  newcomer.say(hello(testNode(100)))
  await net.pass(300)
  assert.equal(newcomer.welcome, true)
  await net.pass(6_000)
  const guests = Array.from({ length: 33 }, (_, at) => ({ node: testNode(at + 200), peer: new Peer(net, testNode(at + 200)) }))
  for (const { node, peer } of guests) {
    await peer.dial(victim)
    peer.say(hello(node, { purpose: 'guest' }))
    await net.pass(20)
  }
  await net.pass(300)
  assert.deepEqual(
    guests.map(({ peer }) => peer.welcome),
    guests.map((_, at) => at < 32),
  )
  await net.pass(10_000)
  const late = new Peer(net, testNode(300))
  await late.dial(victim)
  late.say(hello(testNode(300), { purpose: 'guest' }))
  await net.pass(300)
  assert.equal(late.welcome, true)
  assert.notEqual(guests[0]!.peer.ended, null, 'the first of them went')
  assert.equal(guests[1]!.peer.ended, null)
  assert.equal(newcomer.ended, null, 'neighbours stay')
})

test('a link that comes and goes does not make the node publish without end', async (t) => {
  const { net, victim } = await victimOf(t, 'flap')
  let published = 0
  victim.directory.onChange((id) => {
    if (id === victim.identity.id) published++
  })
  const mallory = testNode(1)
  const peer = new Peer(net, mallory)
  for (let round = 0; round < 100; round++) {
    await peer.dial(victim)
    peer.say(hello(mallory))
    await net.pass(300)
    peer.hangUp()
    await net.pass(300)
  }
  assert.ok(published <= 20, `${published} times in a minute`)
})

test('a forger is cut off; what it said about others is not kept or handed on', async (t) => {
  const { net, victim } = await victimOf(t, 'forger')
  const [mallory, honest, stranger] = [testNode(1), testNode(2), testNode(3)]
  const [bad, good] = [new Peer(net, mallory), new Peer(net, honest)]
  await greeted(net, victim, [mallory, bad], [honest, good])
  const forged = testDescriptor(stranger)
  forged[forged.length - 1]! ^= 1
  const heard = good.heard.length
  bad.say({ kind: 'descriptors', descriptors: [forged] })
  await net.pass(400)
  assert.equal(bad.ended !== null, true)
  assert.equal(good.ended, null)
  assert.equal(victim.directory.get(stranger.id), undefined)
  const since = good.heard.slice(heard).filter((message) => message.kind === 'descriptors')
  // Only the victim's own new descriptor, which no longer lists the forger.
  for (const { descriptors } of since)
    assert.ok(descriptors.every((bytes) => bytes.length !== forged.length || bytes.some((b, at) => b !== forged[at])))
  assert.deepEqual(victim.directory.get(victim.identity.id)?.neighbours, [honest.id])
})

test('a flood of control cells ends the link that it came on, and no other', async (t) => {
  const { net, victim } = await victimOf(t, 'flood')
  const [mallory, honest] = [testNode(1), testNode(2)]
  const [bad, good] = [new Peer(net, mallory), new Peer(net, honest)]
  await greeted(net, victim, [mallory, bad], [honest, good])
  for (let burst = 0; burst < 60 && bad.ended === null; burst++) {
    for (let count = 0; count < 50; count++) bad.say({ kind: 'digest', buckets: new Uint8Array(2048) })
    await net.pass(100)
  }
  assert.notEqual(bad.ended, null)
  assert.equal(good.ended, null)
})

test('one bootstrap node that leaves nodes out is outvoted by the others', async (t) => {
  const net = new NeighbourNet('omit')
  t.after(() => net.close())
  const nodes = Array.from({ length: 6 }, (_, index) => net.make(index, index === 0 ? {} : { bootstrap: [net.addressOf(0)] }))
  for (const node of nodes) await net.start(node)
  assert.ok((await net.until(() => nodes.every(({ directory }) => directory.size === 6), 10_000)) !== null)
  // The liar knows everybody and says that it knows nobody but itself.
  const liar = nodes[5]!
  liar.directory.digest = () => new Uint8Array(2048).fill(1)
  liar.directory.hashesIn = () => []
  liar.directory.signedByHash = () => undefined
  const bootstrap = [net.addressOf(5), net.addressOf(0), net.addressOf(1)]
  const newcomer = net.make(9, { bootstrap })
  await net.start(newcomer)
  assert.ok((await net.until(() => newcomer.directory.size >= 7 && newcomer.neighbours.settled, 10_000)) !== null)
})

/** `count` nodes of a net that all know each other, the first one everybody's bootstrap node. */
async function wholeNet(t: TestContext, seed: string, count: number): Promise<{ net: NeighbourNet; nodes: NetNode[] }> {
  const net = new NeighbourNet(seed)
  t.after(() => net.close())
  const nodes = Array.from({ length: count }, (_, index) => net.make(index, index === 0 ? {} : { bootstrap: [net.addressOf(0)] }))
  for (const node of nodes) await net.start(node)
  assert.ok((await net.until(() => nodes.every(({ neighbours }) => neighbours.settled) && isWhole(nodes), 60_000)) !== null)
  return { net, nodes }
}

/** When each node of `nodes` last published, as `by` knows it. */
const timesOf = (by: NetNode, nodes: readonly NetNode[]) =>
  nodes.map(({ identity }) => by.directory.get(identity.id)?.publishedMs)

test('a split view: two that each show one half of the network to the newcomers of that half; who asks one honest node besides sees it whole', async (t) => {
  const { net, nodes } = await wholeNet(t, 'split', 5)
  const [honest, left, right] = [nodes[0]!, nodes[1]!, nodes[2]!]
  const leftIds = new Set([left.identity.id])
  const rightIds = new Set([right.identity.id])
  omits(left, (id) => leftIds.has(id))
  omits(right, (id) => rightIds.has(id))
  const newcomers = Array.from({ length: 6 }, (_, at) => {
    const [liar, ids] = at % 2 === 0 ? ([1, leftIds] as const) : ([2, rightIds] as const)
    const node = net.make(10 + at, { bootstrap: [net.addressOf(liar), net.addressOf(0)] })
    ids.add(node.identity.id)
    return node
  })
  for (const node of newcomers) await net.start(node)
  const all = [...nodes, ...newcomers]
  assert.ok(
    (await net.until(
      () => all.every(({ directory, neighbours }) => directory.size === all.length && neighbours.settled),
      60_000,
    )) !== null,
  )
  // Nobody is told off for it: the liars are nodes like any others.
  assert.ok(left.neighbours.all().length > 0 && right.neighbours.all().length > 0 && honest.neighbours.all().length > 0)
})

test('a node that hands on what it knew long ago: nothing newer is lost to anybody, and a newcomer gets the newest from others', async (t) => {
  const { net, nodes } = await wholeNet(t, 'replay', 6)
  const liar = nodes[3]!
  const others = nodes.filter((node) => node !== liar)
  replays(liar, net.clock)
  await net.pass(5_000)
  const before = timesOf(nodes[0]!, others)
  for (const { neighbours } of others) neighbours.republish()
  await net.pass(20_000)
  const newest = timesOf(nodes[0]!, others)
  assert.ok(newest.every((time, at) => time! > before[at]!))
  const newcomer = net.make(20, { bootstrap: [net.addressOf(3), net.addressOf(0)] })
  await net.start(newcomer)
  await net.until(() => newcomer.directory.size === 7 && newcomer.neighbours.settled, 30_000)
  await net.pass(30_000)
  for (const node of [...others, newcomer]) {
    const known = timesOf(node, others)
    assert.ok(
      known.every((time, at) => time! >= newest[at]!),
      'an older one took the place of a newer',
    )
  }
})

test('old descriptors without end are looked at once, change nothing, and are not handed on', async (t) => {
  const { net, victim } = await victimOf(t, 'old ones')
  const [mallory, honest, other] = [testNode(1), testNode(2), testNode(3)]
  const [bad, good] = [new Peer(net, mallory), new Peer(net, honest)]
  await greeted(net, victim, [mallory, bad], [honest, good])
  const old = testDescriptor(other)
  const now = testDescriptor(other, { publishedMs: (FakeClock.START_UNIX_MS + 1_000) as UnixMs })
  good.say({ kind: 'descriptors', descriptors: [now] })
  await net.pass(200)
  const { version } = victim.directory
  const heard = good.heard.length
  for (let round = 0; round < 100; round++) {
    bad.say({ kind: 'descriptors', descriptors: Array.from({ length: 32 }, () => old) })
    await net.pass(50)
  }
  assert.equal(victim.directory.version, version)
  assert.equal(victim.directory.get(other.id)?.publishedMs, FakeClock.START_UNIX_MS + 1_000)
  const handedOn = good.heard.slice(heard).flatMap((message) => (message.kind === 'descriptors' ? message.descriptors : []))
  assert.ok(handedOn.every((bytes) => bytes.length !== old.length || bytes.some((byte, at) => byte !== old[at])))
  assert.equal(bad.ended, null, 'who is behind is no liar')
})

test('a neighbour that answers late, or after twenty seconds: news goes round it', async (t) => {
  for (const delayMs of [4_000, 20_000]) {
    const { net, nodes } = await wholeNet(t, `late ${delayMs}`, 6)
    const liar = nodes[2]!
    const real = liar.plane.sink!
    liar.plane.sink = Object.create(real, {
      onControlCell: {
        value: (link: Link, body: Uint8Array) => {
          const cell = body.slice()
          if (liar.neighbours.linkTo(link.peer) === undefined) real.onControlCell(link, cell)
          else net.clock.setTimer(delayMs, () => real.onControlCell(link, cell))
        },
      },
      onLinkClosed: { value: (link: Link, reason: LinkCloseReason) => real.onLinkClosed(link, reason) },
    })
    const others = nodes.filter((node) => node !== liar)
    await net.pass(1_000)
    const before = others[0]!.directory.get(others[4]!.identity.id)!.publishedMs
    others[4]!.neighbours.republish()
    const newer = (node: NetNode) => node.directory.get(others[4]!.identity.id)!.publishedMs > before
    assert.ok((await net.until(() => others.every(newer), 3_000)) !== null, `news waits for who delays by ${delayMs} ms`)
  }
})

test('a flood of invented nodes: a bounded number is judged, nobody that was known goes, and honest news passes', async (t) => {
  const { net, nodes } = await wholeNet(t, 'invented', 5)
  const victim = nodes[0]!
  const chosen = [...victim.neighbours.chosen()]
  const peer = new Peer(net, testNode(1_000))
  await peer.dial(victim)
  peer.say(hello(testNode(1_000)))
  await net.pass(200)
  const size = victim.directory.size
  const flood = invented(2_000, 1_700)
  const seconds = 5
  let said = 0
  for (let step = 0; step < seconds * 10; step++) {
    for (let message = 0; message < 3 && said < flood.length; message++, said += 25)
      peer.say({ kind: 'descriptors', descriptors: flood.slice(said, said + 25).map(({ descriptor }) => descriptor) })
    await net.pass(100)
  }
  const taken = victim.directory.size - size
  assert.ok(taken > 500 && taken <= 1024 + 64 * (seconds + 1), `${taken} of ${said} were taken`)
  for (const { identity } of nodes) assert.notEqual(victim.directory.get(identity.id), undefined)
  assert.deepEqual(victim.neighbours.chosen(), chosen, 'who was chosen stays')
  const other = nodes[3]!
  const before = victim.directory.get(other.identity.id)!.publishedMs
  other.neighbours.republish()
  assert.ok((await net.until(() => victim.directory.get(other.identity.id)!.publishedMs > before, 5_000)) !== null)
})
