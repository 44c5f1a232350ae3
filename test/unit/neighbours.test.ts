/** The pure parts of the neighbours: greeting, book, choice, waits, visits, bootstrap addresses, control messages on a lane. Spec: SPEC.md §3.4, §6.4. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { NeighbourBook } from '../../client/neighbours/book.ts'
import { bootstrapNodes } from '../../client/neighbours/bootstrap.ts'
import { chooseNeighbours } from '../../client/neighbours/choice.ts'
import { ControlLink } from '../../client/neighbours/control-link.ts'
import { Greeting, type GreetingEffect, type GreetingTools, type LinkPurpose } from '../../client/neighbours/greeting.ts'
import { Tries } from '../../client/neighbours/tries.ts'
import { Visits } from '../../client/neighbours/visits.ts'
import type { MonotonicMs, NodeId, UnixMs } from '../../src/bytes/index.ts'
import { BODY_BYTES, type CircuitId } from '../../src/cell/index.ts'
import { type Descriptor, type DirectoryView, FRAGMENT_BYTES, networkIdOf } from '../../src/directory/index.ts'
import { isOverlayError } from '../../src/errors/index.ts'
import type { Link } from '../../src/link/index.ts'
import type { ControlMessage, Hello } from '../../src/wire/index.ts'
import { SeededRng } from '../support/seeded-rng.ts'

const idOf = (index: number) => index.toString(16).padStart(64, '0') as NodeId
const at = (ms: number) => ms as MonotonicMs
const DAY = 24 * 3_600_000
const unix = (days: number) => (1_767_225_600_000 + days * DAY) as UnixMs

// Greeting --------------------------------------------------------------------------------------------------------------------------

const network = networkIdOf('test')
const tools: GreetingTools = { network, descriptor: () => Uint8Array.of(1), meet: () => true, admit: () => true }
const hello = (change: Partial<Hello> = {}): Hello => ({
  kind: 'hello',
  version: 1,
  network,
  purpose: 'neighbour',
  descriptor: Uint8Array.of(2),
  ...change,
})
const welcome = (accepted: boolean): ControlMessage => ({ kind: 'welcome', accepted })
const names = (effects: readonly GreetingEffect[]) =>
  effects.map((effect) =>
    effect.do === 'send' ? effect.message.kind : effect.do === 'close' ? `close ${effect.reason}` : effect.do,
  )

test('a greeting that goes well, for both purposes', () => {
  for (const purpose of ['neighbour', 'guest'] as const) {
    const dialler = new Greeting(true, purpose, tools)
    const dialled = new Greeting(false, 'guest', tools)
    const [first] = dialler.begin()
    assert.deepEqual(dialled.begin(), [])
    assert.ok(first?.do === 'send')
    const answer = dialled.onMessage(first.message)
    assert.deepEqual(names(answer), ['hello', 'welcome', 'agreed'])
    assert.equal(dialled.purpose, purpose)
    const heard = answer.flatMap((effect) => (effect.do === 'send' ? dialler.onMessage(effect.message) : []))
    assert.deepEqual(heard, [{ do: 'agreed', purpose }])
    assert.ok(dialler.done && dialled.done)
    assert.deepEqual(dialler.onTimeout(), [])
  }
})

test('without room the dialler is told so; without the right network it is told nothing', () => {
  const full = new Greeting(false, 'guest', { ...tools, admit: () => false })
  assert.deepEqual(names(full.onMessage(hello())), ['hello', 'welcome', 'close local'])
  const dialler = new Greeting(true, 'neighbour', tools)
  assert.deepEqual(names([...dialler.onMessage(hello()), ...dialler.onMessage(welcome(false))]), ['refused', 'close local'])
  const wrong: [Partial<Hello>, Partial<GreetingTools>][] = [
    [{ version: 2 }, {}],
    [{ network: networkIdOf('other') }, {}],
    [{}, { meet: () => false }],
  ]
  for (const [change, tool] of wrong) {
    assert.deepEqual(names(new Greeting(false, 'guest', { ...tools, ...tool }).onMessage(hello(change))), ['close protocol'])
    assert.deepEqual(names(new Greeting(true, 'guest', { ...tools, ...tool }).onMessage(hello(change))), ['close protocol'])
  }
})

test('anything out of turn ends the link', () => {
  const others: ControlMessage[] = [
    welcome(true),
    { kind: 'digest', buckets: new Uint8Array(2048) },
    { kind: 'want', hashes: new Uint8Array(32) },
  ]
  for (const message of others) {
    for (const dialled of [true, false])
      assert.deepEqual(names(new Greeting(dialled, 'guest', tools).onMessage(message)), ['close protocol'])
  }
  const twice = new Greeting(true, 'guest', tools)
  twice.onMessage(hello())
  assert.deepEqual(names(twice.onMessage(hello())), ['close protocol'])
  assert.deepEqual(names(new Greeting(false, 'guest', tools).onTimeout()), ['close timeout'])
})

test('the descriptor is met with the purpose that the dialler named', () => {
  const seen: LinkPurpose[] = []
  const meet = (_: Uint8Array, purpose: LinkPurpose) => seen.push(purpose) > 0
  new Greeting(false, 'guest', { ...tools, meet }).onMessage(hello({ purpose: 'neighbour' }))
  new Greeting(true, 'guest', { ...tools, meet }).onMessage(hello({ purpose: 'neighbour' }))
  assert.deepEqual(seen, ['neighbour', 'guest'])
})

// Book ------------------------------------------------------------------------------------------------------------------------------

const nobody = () => false
const everybody = () => true

test('the book comes back from its text; damage costs a line', () => {
  const book = new NeighbourBook(4, new SeededRng(1), at(0))
  for (let index = 1; index <= 4; index++) book.add(idOf(index), 50, unix(0), at(0))
  const again = new NeighbourBook(4, new SeededRng(2), at(0))
  again.load(book.toText(), unix(0))
  assert.equal(again.toText(), book.toText())
  const lines = book.toText().split('\n')
  lines[2] = lines[2]!.replace(' ', ' x')
  const damaged = new NeighbourBook(4, new SeededRng(2), at(0))
  damaged.load(lines.join('\n'), unix(0))
  assert.deepEqual(damaged.ids, [idOf(1), idOf(3), idOf(4)])
  for (const text of [
    '',
    'x',
    'gyre neighbours 2\n',
    `${lines[0]}\n${'0'.repeat(64)} 1 2\n`,
    `${lines[0]}\n${'0'.repeat(64)} -1 2 3\n`,
  ]) {
    const empty = new NeighbourBook(4, new SeededRng(2), at(0))
    empty.load(text, unix(0))
    assert.deepEqual(empty.ids, [])
  }
})

test('entries are held for 2 to 4 weeks, linked ones go one at a time, those away for a week go', () => {
  const book = new NeighbourBook(4, new SeededRng(1), at(0))
  for (let index = 1; index <= 4; index++) book.add(idOf(index), 50, unix(0), at(0))
  for (let day = 0; day < 14; day++) assert.deepEqual(book.review(50, everybody, unix(day)), [])
  assert.equal(book.review(50, everybody, unix(29)).length, 1)
  assert.equal(book.review(50, everybody, unix(29)).length, 1)
  const away = new NeighbourBook(4, new SeededRng(1), at(0))
  away.add(idOf(1), 50, unix(0), at(0))
  assert.deepEqual(away.review(50, nobody, unix(6.9)), [])
  assert.deepEqual(away.review(50, nobody, unix(7.1)), [idOf(1)])
})

test('a file from the future or with endless times holds nobody for ever', () => {
  const book = new NeighbourBook(4, new SeededRng(1), at(0))
  book.load(`gyre neighbours 1\n${idOf(1)} ${Number.MAX_SAFE_INTEGER} ${Number.MAX_SAFE_INTEGER} 1\n`, unix(0))
  assert.deepEqual(book.ids, [idOf(1)])
  assert.deepEqual(book.review(50, everybody, unix(28.1)), [idOf(1)])
})

test('substitutes are bounded in number and rate', () => {
  const book = new NeighbourBook(4, new SeededRng(1), at(0))
  let chosen = 0
  while (book.mayChoose(at(0)) && chosen < 100) book.add(idOf(++chosen), 50, unix(0), at(0))
  assert.equal(chosen, 4 + 12)
  assert.equal(book.ids.length, 12)
  assert.equal(book.mayChoose(at(3_600_000)), false)
  assert.equal(book.mayChoose(at(2 * 3_600_000)), true)
})

test('what was chosen while the network was small is drawn anew once it has grown', () => {
  const book = new NeighbourBook(4, new SeededRng(1), at(0))
  book.add(idOf(1), 2, unix(0), at(0))
  assert.deepEqual(book.review(19, everybody, unix(0)), [])
  assert.deepEqual(book.review(19, everybody, unix(0.1)), [])
  assert.deepEqual(book.review(20, everybody, unix(0.2)), [])
  assert.deepEqual(book.review(20, everybody, unix(0.2 + 1 / 24 + 0.001)), [idOf(1)])
})

// Choice ----------------------------------------------------------------------------------------------------------------------------

function viewOf(count: number, more: (index: number) => Partial<Descriptor> = () => ({})): DirectoryView {
  const all = Array.from({ length: count }, (_, index): Descriptor => {
    const onion = { kid: 0, x25519: new Uint8Array(32), mlkem768: new Uint8Array(1184) }
    const plain = {
      id: idOf(index),
      onion,
      capacityClass: 0,
      storeQuotaBytes: 0,
      publishedMs: unix(0),
      neighbours: [],
      family: [],
    }
    return { ...plain, addresses: [`/ip4/10.${index % 200}.${index >> 8}.1/tcp/1`], ...more(index) }
  })
  return { size: count, version: 1, get: (id) => all.find((each) => each.id === id), all: () => all, linked: () => [] }
}

test('the draw is even over equals, and weighs capacity up to its cap', () => {
  const rng = new SeededRng('even')
  const view = viewOf(21, (index) => ({ capacityClass: index === 20 ? 7 : index === 19 ? 3 : 0 }))
  const counts = new Array<number>(21).fill(0)
  for (let draw = 0; draw < 4000; draw++) {
    for (const id of chooseNeighbours({ view, self: idOf(0), chosen: [], skip: nobody, count: 1, rng }))
      counts[Number.parseInt(id, 16)]!++
  }
  assert.equal(counts[0], 0)
  // 18 of weight 1 and two of weight 4: a 26th each, and four.
  for (const count of counts.slice(1, 19)) assert.ok(count > 90 && count < 230, counts.join())
  for (const count of counts.slice(19)) assert.ok(count > 480 && count < 760, counts.join())
})

test('apart in network and family while there are others, not at the price of having nobody', () => {
  const rng = new SeededRng('apart')
  const two = viewOf(40, (index) => ({ addresses: [`/ip4/10.${index < 36 ? 1 : index}.0.1/tcp/1`] }))
  for (let draw = 0; draw < 50; draw++) {
    const ids = chooseNeighbours({ view: two, self: idOf(0), chosen: [], skip: nobody, count: 4, rng })
    assert.equal(ids.length, 4)
    assert.ok(ids.filter((id) => Number.parseInt(id, 16) < 36).length <= 1)
  }
  const loopback = viewOf(8, () => ({ addresses: ['/ip4/127.0.0.1/tcp/1'] }))
  assert.equal(chooseNeighbours({ view: loopback, self: idOf(0), chosen: [idOf(1)], skip: nobody, count: 4, rng }).length, 4)
  const related = [idOf(0), idOf(1), idOf(2)]
  const kin = viewOf(5, (index) => ({ family: index < 3 ? related.filter((id) => id !== idOf(index)) : [] }))
  const first = new Set(
    Array.from({ length: 40 }, () =>
      chooseNeighbours({ view: kin, self: idOf(0), chosen: [], skip: nobody, count: 2, rng }),
    ).flat(),
  )
  assert.deepEqual([...first].sort(), [idOf(3), idOf(4)])
})

test('never itself, the chosen, the skipped or those without an address; never more than asked', () => {
  const rng = new SeededRng('never')
  const view = viewOf(10, (index) => (index === 9 ? { addresses: [] } : {}))
  const ids = chooseNeighbours({ view, self: idOf(0), chosen: [idOf(1)], skip: (id) => id === idOf(2), count: 20, rng })
  assert.deepEqual([...ids].sort(), [3, 4, 5, 6, 7, 8].map(idOf))
  assert.equal(chooseNeighbours({ view, self: idOf(0), chosen: [], skip: nobody, count: 3, rng }).length, 3)
})

// Waits and visits ------------------------------------------------------------------------------------------------------------------

test('waits double up to their longest and end with success', () => {
  const tries = new Tries(new SeededRng(1))
  const id = idOf(1)
  let now = 0
  const waits: number[] = []
  for (let attempt = 0; attempt < 30; attempt++) {
    tries.unsuccessful(id, 'failed', at(now))
    const from = now
    while (!tries.ready(id, at(now))) now += 50
    waits.push(now - from)
  }
  assert.ok(waits[0]! <= 800 && waits[29]! > 100_000 && waits[29]! <= 450_100, waits.join())
  tries.unsuccessful(id, 'refused', at(now))
  tries.successful(id)
  assert.ok(tries.ready(id, at(now)))
  for (let index = 0; index < 5_000; index++) tries.unsuccessful(idOf(index), 'failed', at(now))
  assert.ok(tries.ready(idOf(0), at(now))) // forgotten: bounded memory
  assert.ok(!tries.ready(idOf(4_999), at(now)))
})

test('three bootstrap nodes are compared first; the others are asked when nobody answers', () => {
  const nodes = Array.from({ length: 5 }, (_, index) => ({ id: idOf(index), addresses: [] }))
  const visits = new Visits(nodes, new SeededRng(1), at(0))
  assert.equal(visits.heardEnough(at(0), 1), false)
  const first = visits.due(at(0), true, nobody)
  assert.equal(first.length, 3)
  assert.deepEqual(visits.due(at(1), true, nobody), [])
  visits.ended(first[0]!.id, 'badly', at(2))
  assert.equal(visits.due(at(2), true, nobody).length, 1)
  visits.ended(first[1]!.id, 'well', at(3))
  assert.equal(visits.heardEnough(at(4), 8), false) // others are under way
  assert.equal(visits.heardEnough(at(5_000), 8), true)
  assert.equal(visits.heardEnough(at(5_000), 1), false)
  assert.equal(new Visits([], new SeededRng(1), at(0)).heardEnough(at(0), 1), true)
})

test('visits come back in half an hour or so, at once when all links are lost, never to a neighbour', () => {
  const visits = new Visits([{ id: idOf(1), addresses: [] }], new SeededRng(1), at(0))
  const [node] = visits.due(at(0), true, nobody)
  visits.ended(node!.id, 'well', at(0))
  assert.deepEqual(visits.due(at(14 * 60_000), false, nobody), [])
  visits.due(at(14 * 60_000), true, nobody)
  assert.equal(visits.due(at(14 * 60_000 + 5_000), true, nobody).length, 1)
  visits.ended(node!.id, 'well', at(0))
  assert.equal(visits.due(at(46 * 60_000), false, everybody).length, 0)
  assert.equal(visits.due(at(46 * 60_000), false, nobody).length, 0)
})

// Bootstrap addresses -----------------------------------------------------------------------------------------------------------------

test('bootstrap addresses name their node, as hex or as a libp2p peer id', () => {
  // Peer id of the Ed25519 key of RFC 8032 §7.1, test 1 (made with @libp2p/peer-id).
  const rfc = 'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a' as NodeId
  const peerId = '12D3KooWQK1wnefoLrcVHbbnf5tLzbopUd3K3bFAoJpA7YJgL5pV'
  const nodes = bootstrapNodes(
    [`/ip4/127.0.0.1/tcp/1/p2p/${idOf(7)}`, `/ip4/127.0.0.1/tcp/2/p2p/${idOf(7)}`, `/dns4/a.example/tcp/3/p2p/${idOf(8)}`],
    idOf(8),
  )
  assert.deepEqual(nodes, [
    { id: idOf(7), addresses: [`/ip4/127.0.0.1/tcp/1/p2p/${idOf(7)}`, `/ip4/127.0.0.1/tcp/2/p2p/${idOf(7)}`] },
  ])
  assert.equal(bootstrapNodes([`/ip4/127.0.0.1/tcp/1/p2p/${peerId}`], idOf(0))[0]?.id, rfc)
  for (const bad of [
    '/ip4/127.0.0.1/tcp/1',
    '/p2p/',
    '/p2p/xyz',
    `/p2p/${peerId.slice(0, -1)}`,
    `/p2p/${peerId}0`,
    `/p2p/${'1'.repeat(64)}z`,
  ]) {
    assert.throws(
      () => bootstrapNodes([bad], idOf(0)),
      (error) => isOverlayError(error, 'CONFIG_BAD'),
      bad,
    )
  }
})

// Control messages on a lane ----------------------------------------------------------------------------------------------------------

/** A link whose lane takes `room` cells. */
function narrowLink(room: number) {
  const sent: Uint8Array[] = []
  const state = { room, sent }
  const lane = {
    id: 0 as CircuitId,
    queuedCells: 0,
    push: (_: number, body: Uint8Array) => {
      if (sent.length >= state.room) return false
      assert.equal(body.length, BODY_BYTES)
      sent.push(body.slice())
      return true
    },
    close: () => {},
  }
  const link: Link = {
    peer: idOf(1),
    dialled: true,
    transport: 'memory',
    even: true,
    open: true,
    start: () => {},
    bill: () => {},
    lane: () => lane,
    flush: () => {},
    close: () => {},
  }
  return { link, state }
}

test('a full lane delays control messages, never cuts or reorders them', () => {
  const { link, state } = narrowLink(3)
  const control = new ControlLink(link)
  const messages: ControlMessage[] = Array.from({ length: 6 }, (_, index) => ({
    kind: 'descriptors',
    descriptors: [new Uint8Array(4000).fill(index + 1)],
  }))
  for (const message of messages) control.send(message)
  assert.equal(state.sent.length, 3)
  state.room = 100
  control.pump()
  const reader = new ControlLink(link)
  assert.deepEqual(
    state.sent.map((body) => reader.take(body)).filter((message) => message !== null),
    messages,
  )
})

test('what waits for a lane is bounded; what is dropped is dropped whole', () => {
  const { link, state } = narrowLink(0)
  const control = new ControlLink(link)
  const big: ControlMessage = { kind: 'descriptors', descriptors: [new Uint8Array(4000), new Uint8Array(4000)] }
  for (let count = 0; count < 400; count++) control.send(big)
  assert.equal(control.dropped, 400 - Math.floor(512 / Math.ceil(8010 / FRAGMENT_BYTES)))
  state.room = 10_000
  control.pump()
  const reader = new ControlLink(link)
  assert.ok(state.sent.map((body) => reader.take(body)).every((message) => message !== 'malformed'))
})

test('a cell that is no message ends the link', () => {
  const control = new ControlLink(narrowLink(9).link)
  const body = new Uint8Array(BODY_BYTES)
  body.set([2, 0, 3, 0xff, 0xff]) // well framed, no protobuf
  assert.equal(control.take(body), 'malformed')
})
