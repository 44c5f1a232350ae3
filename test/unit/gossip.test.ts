/** Control framing and reconciliation: directories become equal, liars waste their own link only. Spec: SPEC.md §3.4, §6.3. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { UnixMs } from '../../src/bytes/index.ts'
import { BODY_BYTES } from '../../src/cell/index.ts'
import {
  ControlReassembler,
  Directory,
  FRAGMENT_BYTES,
  Gossip,
  type GossipEffect,
  toControlBodies,
} from '../../src/directory/index.ts'
import { type ControlMessage, encodeControl, parseControl } from '../../src/wire/index.ts'
import { TEST_RULES, type TestNode, testDescriptor, testNode } from '../support/directory.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { SeededRng } from '../support/seeded-rng.ts'

test('control messages of every length come back, cell by cell', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 64 * 1024 }), { minLength: 1, maxLength: 4 }), (lengths) => {
      const reassembler = new ControlReassembler()
      for (const length of lengths) {
        const message = new SeededRng(length).bytes(length)
        const bodies = toControlBodies(message)
        assert.equal(bodies.length, Math.ceil(length / FRAGMENT_BYTES))
        for (const [at, body] of bodies.entries()) {
          const result = reassembler.take(body)
          body.fill(0xee) // borrowed: what is kept must be a copy
          if (at < bodies.length - 1) assert.equal(result, 'partial')
          else assert.deepEqual(result, message)
        }
      }
    }),
    { seed: 5, numRuns: 30 },
  )
})

test('every breach of the framing is malformed, for good', () => {
  const body = (length: number, flags: number, fill = 0) => {
    const bytes = new Uint8Array(BODY_BYTES).fill(fill)
    bytes[0] = length
    bytes[1] = length >>> 8
    bytes[2] = flags
    return bytes
  }
  const breaches: Uint8Array[][] = [
    [body(0, 3)],
    [body(FRAGMENT_BYTES + 1, 3)],
    [body(10, 4)],
    [body(10, 7)],
    [body(10, 2)], // last without first
    [body(10, 0)],
    [body(10, 1)], // short but not last
    [body(FRAGMENT_BYTES, 1), body(10, 3)], // first within a message
    [body(10, 3, 1)], // padding that is not zero
    [new Uint8Array(BODY_BYTES - 1)],
    [...Array.from({ length: 32 }, (_, at) => body(FRAGMENT_BYTES, at === 0 ? 1 : 0)), body(FRAGMENT_BYTES, 2)], // over 64 KiB
  ]
  for (const bodies of breaches) {
    const reassembler = new ControlReassembler()
    assert.equal(bodies.map((each) => reassembler.take(each)).at(-1), 'malformed')
    assert.equal(reassembler.take(toControlBodies(Uint8Array.of(1))[0]!), 'malformed')
  }
})

/** Gossip machines joined by ordered channels with a delay of one step; messages go through the codec. */
class Net {
  readonly clock = new FakeClock()
  readonly sides = new Map<number, { directory: Directory; gossip: Gossip<string> }>()
  readonly closed: string[] = []
  bytes = 0
  #queue: { to: string; message: ControlMessage }[] = []

  add(index: number, node: TestNode): Directory {
    const directory = new Directory({ rules: TEST_RULES, clock: this.clock, self: node.id })
    this.sides.set(index, { directory, gossip: new Gossip(directory, new SeededRng(index)) })
    return directory
  }
  /** A link is named `owner>other` at its owner. */
  link(a: number, b: number): void {
    this.run(a, this.gossip(a).linkUp(`${a}>${b}`, a < b, this.clock.monotonicMs()))
    this.run(b, this.gossip(b).linkUp(`${b}>${a}`, b < a, this.clock.monotonicMs()))
  }
  gossip(index: number): Gossip<string> {
    return this.sides.get(index)!.gossip
  }
  directory(index: number): Directory {
    return this.sides.get(index)!.directory
  }
  run(_index: number, effects: readonly GossipEffect<string>[]): void {
    for (const effect of effects) {
      if ('close' in effect) {
        this.closed.push(`${effect.close} ${effect.reason}`)
        this.gossip(Number(effect.close.split('>')[0])).linkDown(effect.close)
        continue
      }
      const bytes = encodeControl(effect.send)
      this.bytes += bytes.length
      const message = parseControl(bytes)
      assert.ok(message, `${effect.send.kind} of ${bytes.length} bytes`)
      const [from, to] = effect.to.split('>')
      this.#queue.push({ to: `${to}>${from}`, message })
    }
  }
  settle(): void {
    while (this.#queue.length > 0) {
      const batch = this.#queue
      this.#queue = []
      for (const { to, message } of batch) {
        const owner = Number(to.split('>')[0])
        if (this.sides.has(owner)) this.run(owner, this.gossip(owner).onMessage(to, message, this.clock.monotonicMs()))
      }
    }
  }
  pass(ms: number): void {
    for (let passed = 0; passed < ms; passed += 250) {
      this.clock.advanceNow(250)
      for (const [index, { gossip }] of this.sides) this.run(index, gossip.tick(this.clock.monotonicMs()))
      this.settle()
    }
  }
}

test('two directories that differ in both directions are equal after one exchange', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(3), { minLength: 1, maxLength: 40 }), (places) => {
      const net = new Net()
      const one = net.add(0, testNode(1000))
      const other = net.add(1, testNode(1001))
      places.forEach((place, seed) => {
        const old = testDescriptor(testNode(seed))
        const renewed = testDescriptor(testNode(seed), { publishedMs: (FakeClock.START_UNIX_MS + 1) as UnixMs })
        if (place === 0 || place === 2) one.add(old)
        if (place === 1) other.add(old)
        if (place === 2) other.add(renewed)
        if (place === 3) for (const directory of [one, other]) directory.add(old)
      })
      net.link(0, 1)
      net.settle()
      assert.equal(one.size, places.length)
      assert.deepEqual(one.digest(), other.digest())
      assert.deepEqual(net.closed, [])
      net.pass(250)
      assert.equal(net.gossip(0).quiet('0>1', net.clock.monotonicMs()), true)
    }),
    { seed: 11, numRuns: 15 },
  )
})

test('a descriptor that is new anywhere reaches everybody at once, once per link', () => {
  const net = new Net()
  const nodes = Array.from({ length: 10 }, (_, seed) => testNode(seed))
  for (const [index, node] of nodes.entries()) net.add(index, node)
  for (let index = 0; index < 10; index++) {
    net.link(index, (index + 1) % 10)
    net.link(index, (index + 3) % 10)
  }
  net.settle()
  net.bytes = 0
  const signed = testDescriptor(nodes[4]!)
  net.directory(4).add(signed)
  net.run(4, net.gossip(4).announce(signed))
  net.settle()
  for (let index = 0; index < 10; index++) assert.equal(net.directory(index).size, 1)
  // 20 links: at most both directions of each, when two neighbours learn it in the same step.
  assert.ok(net.bytes <= 2 * 20 * (signed.length + 20), `${net.bytes} bytes`)
})

test('a large newcomer gap closes by windows of bounded size', () => {
  const net = new Net()
  const full = net.add(0, testNode(5000))
  const empty = net.add(1, testNode(5001))
  for (let seed = 0; seed < 600; seed++) full.add(testDescriptor(testNode(seed)))
  net.link(1, 0)
  net.settle()
  net.pass(20_000)
  assert.equal(empty.size, 600)
  assert.deepEqual(net.closed, [])
})

test('colliding digests do not hide a descriptor for good: a random bucket is listed each round', () => {
  const net = new Net()
  const one = net.add(0, testNode(1000))
  const other = net.add(1, testNode(1001))
  one.add(testDescriptor(testNode(1)))
  // Both sides believe that all is equal.
  one.digest = () => new Uint8Array(2048)
  other.digest = () => new Uint8Array(2048)
  net.link(0, 1)
  net.pass(6 * 3_600_000)
  assert.equal(other.size, 1)
})

function liarNet() {
  const net = new Net()
  net.add(0, testNode(1000))
  net.add(1, testNode(1001))
  net.run(0, net.gossip(0).linkUp('0>9', false, net.clock.monotonicMs()))
  net.link(0, 1)
  net.settle()
  const say = (message: ControlMessage) => {
    net.run(0, net.gossip(0).onMessage('0>9', message, net.clock.monotonicMs()))
    net.settle()
  }
  return { net, say }
}

test('a forged descriptor closes the link it came on, and goes no further', () => {
  const { net, say } = liarNet()
  const forged = testDescriptor(testNode(1))
  forged[forged.length - 1]! ^= 1
  const bytesBefore = net.bytes
  say({ kind: 'descriptors', descriptors: [forged] })
  assert.deepEqual(net.closed, ['0>9 protocol'])
  assert.equal(net.bytes, bytesBefore)
  assert.equal(net.directory(0).size, 0)
})

test('a greeting in the middle closes the link', () => {
  const { net, say } = liarNet()
  say({ kind: 'welcome', accepted: true })
  assert.deepEqual(net.closed, ['0>9 protocol'])
})

test('unasked listings, digests and wants without end cost a bounded answer', () => {
  const { net, say } = liarNet()
  for (let seed = 0; seed < 64; seed++) net.directory(0).add(testDescriptor(testNode(seed)))
  let sent = 0
  const count = (effects: readonly GossipEffect<string>[]) => {
    for (const effect of effects) if ('send' in effect) sent += encodeControl(effect.send).length
  }
  const now = net.clock.monotonicMs()
  for (let round = 0; round < 300; round++) {
    count(net.gossip(0).onMessage('0>9', { kind: 'digest', buckets: new Uint8Array(2048).fill(round) }, now))
    count(
      net.gossip(0).onMessage('0>9', { kind: 'listing', buckets: Uint8Array.of(1), hashes: new Uint8Array(64).fill(round) }, now),
    )
  }
  assert.ok(sent < 4 * 10_000, `${sent} bytes`)
  for (let flood = 0; flood < 2_000; flood++) say({ kind: 'digest', buckets: new Uint8Array(2048) })
  assert.deepEqual(net.closed, ['0>9 overload'])
})

test('listings with invented hashes are asked for in one window, then given up', () => {
  const { net, say } = liarNet()
  net.pass(2_500) // our own round with the liar has begun
  const asked: number[] = []
  for (let bucket = 0; bucket < 20; bucket++) {
    const hashes = new SeededRng(bucket).bytes(32 * 1024)
    for (const effect of net
      .gossip(0)
      .onMessage('0>9', { kind: 'listing', buckets: Uint8Array.of(bucket), hashes }, net.clock.monotonicMs()))
      if ('send' in effect && effect.send.kind === 'want') asked.push(effect.send.hashes.length / 32)
  }
  assert.deepEqual(asked, [64])
  say({ kind: 'descriptors', descriptors: [testDescriptor(testNode(3))] })
  assert.equal(net.directory(1).size, 1) // honest pushes still pass
})

test('a neighbour that never answers is given up', () => {
  const { net } = liarNet()
  net.pass(60_000)
  assert.deepEqual(net.closed, ['0>9 timeout'])
})

test('unasked descriptors beyond the budget are not even judged', () => {
  const { net } = liarNet()
  let judged = 0
  const directory = net.directory(0)
  const add = directory.add.bind(directory)
  directory.add = (bytes) => {
    judged++
    return add(bytes)
  }
  const now = net.clock.monotonicMs()
  for (let step = 0; step < 60; step++) {
    const publishedMs = (FakeClock.START_UNIX_MS + step) as UnixMs
    const descriptors = Array.from({ length: 32 }, (_, seed) => testDescriptor(testNode(seed), { publishedMs }))
    net.gossip(0).onMessage('0>9', { kind: 'descriptors', descriptors }, now)
  }
  assert.ok(judged <= 1024, `${judged} judged`)
})
