/** Adversaries beside a node: wrong greetings, crowds, flapping links, lies in gossip, floods of cells. Spec: SPEC.md §3.4, §6.3, §6.4. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { ControlLink } from '../../client/neighbours/control-link.ts'
import type { UnixMs } from '../../src/bytes/index.ts'
import { BODY_BYTES, CELL_BYTES, CELL_HEADER_BYTES, Command, commandAt, NO_CIRCUIT } from '../../src/cell/index.ts'
import { makeDescriptor, networkIdOf } from '../../src/directory/index.ts'
import type { Link, LinkCloseReason, LinkHost } from '../../src/link/index.ts'
import type { ControlMessage, Hello } from '../../src/wire/index.ts'
import { TEST_RULES, type TestNode, testClaims, testDescriptor, testNode } from '../support/directory.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { NeighbourNet, type NetNode } from '../support/neighbour-net.ts'

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
  for (const [node, peer] of [
    [mallory, bad],
    [honest, good],
  ] as const) {
    await peer.dial(victim)
    peer.say(hello(node))
    await net.pass(100)
  }
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
  for (const [node, peer] of [
    [mallory, bad],
    [honest, good],
  ] as const) {
    await peer.dial(victim)
    peer.say(hello(node))
    await net.pass(100)
  }
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
