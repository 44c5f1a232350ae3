/** From traces to features, labels, loops and pairs, on traces of which the truth is known. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { twinId } from '../../relay/circuits.ts'
import type { CircuitId } from '../../src/cell/index.ts'
import { featuresOf, type LinkWindow, linksOf } from '../adversary/features.ts'
import { circuitFeatures } from '../adversary/insider.ts'
import { roleOf, type Services } from '../adversary/labels.ts'
import { trueLoops } from '../adversary/loops.ts'
import { FULL_RUN, planHosts, planScenes, type Scene } from '../adversary/scenes.ts'
import { correlation, likeness, seriesOf } from '../adversary/series.ts'
import { powerSpectrum } from '../adversary/spectrum.ts'
import { ANSWERS, parseRecords, type TapFact } from '../adversary/tap-file.ts'
import type { WireTrace } from '../adversary/wire-trace.ts'
import { type SeededRng, seededRng } from '../support/seeded-rng.ts'

const WINDOW_MS = 20_000
const RECORD = 2070

test('the spectrum is the naive one, and shows a tone where it is', () => {
  const rng = seededRng('tone')
  const values = Float64Array.from({ length: 64 }, () => rng.unit())
  const found = powerSpectrum(values)
  for (let bin = 0; bin <= 32; bin++) {
    let real = 0
    let imaginary = 0
    for (let at = 0; at < 64; at++) {
      real += values[at]! * Math.cos((2 * Math.PI * bin * at) / 64)
      imaginary -= values[at]! * Math.sin((2 * Math.PI * bin * at) / 64)
    }
    assert.ok(Math.abs(found[bin]! - real ** 2 - imaginary ** 2) < 1e-9)
  }
  const tone = powerSpectrum(Float64Array.from({ length: 128 }, (_, at) => Math.sin((2 * Math.PI * 9 * at) / 128)))
  assert.equal(tone.indexOf(Math.max(...tone)), 9)
  assert.throws(() => powerSpectrum(new Float64Array(100)))
})

/** Bursts of ten records; the other link has them `lagMs` later. */
function bursts(rng: SeededRng, firstWay: 'in' | 'out', lagMs: number): LinkWindow[] {
  const at: number[] = []
  for (let start = 500; start < WINDOW_MS - 1000; start += 700 + rng.unit() * 600)
    for (let record = 0; record < 10; record++) at.push(start + record)
  const columns = (shift: number) => ({
    at: Float64Array.from(at, (time) => time + shift),
    bytes: new Float64Array(at.length).fill(RECORD),
  })
  const none = { at: new Float64Array(0), bytes: new Float64Array(0) }
  return firstWay === 'in'
    ? [
        { peer: 1, in: columns(0), out: none },
        { peer: 2, in: none, out: columns(lagMs) },
      ]
    : [
        { peer: 1, in: none, out: columns(0) },
        { peer: 2, in: columns(lagMs), out: none },
      ]
}

function feature(links: readonly LinkWindow[], name: string): number {
  const { names, values } = featuresOf(links, WINDOW_MS)
  const at = names.indexOf(name)
  assert.ok(at >= 0, name)
  return values[at]!
}

test('an origin puts out first and takes in a round trip later; a relay the other way round', () => {
  const origin = bursts(seededRng(1), 'out', 50)
  const relay = bursts(seededRng(1), 'in', 2)
  assert.ok(feature(origin, 'onsets: share led by out') > 0.9)
  assert.ok(feature(relay, 'onsets: share led by out') < 0.1)
  assert.equal(feature(origin, 'in and out: best lag'), -5)
  assert.ok(Math.abs(feature(relay, 'in and out: best lag')) <= 1)
  assert.ok(Math.abs(feature(origin, 'total: balance')) < 1e-9)
})

test('a receiver of one-way flows takes in more than it puts out', () => {
  const links = bursts(seededRng(2), 'in', 2)
  assert.equal(feature([links[0]!], 'total: balance'), 1)
  assert.equal(feature([links[1]!], 'total: balance'), -1)
})

test('features do not depend on the order of links, are of one number and finite, also of nothing', () => {
  const links = bursts(seededRng(3), 'in', 2)
  const { names, values } = featuresOf(links, WINDOW_MS)
  assert.deepEqual(featuresOf([...links].reverse(), WINDOW_MS).values, values)
  assert.equal(names.length, values.length)
  assert.equal(new Set(names).size, names.length)
  const empty = featuresOf([], WINDOW_MS)
  assert.deepEqual(empty.names, names)
  assert.ok([...values, ...empty.values].every(Number.isFinite))
})

test('writes on a grid of 20 ms are seen as such, and how late they are in it', () => {
  const rng = seededRng(4)
  const on = (late: number): LinkWindow[] => [
    {
      peer: 1,
      in: { at: new Float64Array(0), bytes: new Float64Array(0) },
      out: {
        at: Float64Array.from({ length: 1000 }, (_, at) => at * 40 + 3 + rng.unit() * late),
        bytes: new Float64Array(1000).fill(RECORD),
      },
    },
  ]
  assert.ok(feature(on(0.5), 'grid out: concentration') > 0.95)
  assert.ok(feature(on(20), 'grid out: concentration') < 0.2)
  assert.ok(feature(on(8), 'grid out: lag deviation') > 2 * feature(on(0.5), 'grid out: lag deviation'))
})

test('links of a node are cut from a trace by time and direction', () => {
  const columns = { at: Float64Array.of(100, 200, 300), bytes: Float64Array.of(1, 2, 3) }
  const trace: WireTrace = {
    flows: [
      { from: 0, to: 1, ports: '10-20', ...columns },
      { from: 1, to: 0, ports: '20-10', ...columns },
      { from: 1, to: 2, ports: '21-30', ...columns },
    ],
    recordSizes: new Map(),
    handshakeSizes: new Map(),
    missed: 0,
  }
  const links = linksOf(trace, 0, 150, 300)
  assert.equal(links.length, 1)
  assert.deepEqual(links[0]?.out, { at: Float64Array.of(50), bytes: Float64Array.of(2) })
  assert.equal(links[0]?.peer, 1)
  assert.equal(linksOf(trace, 1, 0, 1000).length, 2)
})

const services = (answers: Partial<Services['answers']>, relayedCells = 1000): Services => ({
  answers: { ...(Object.fromEntries(ANSWERS.map((kind) => [kind, 0])) as Services['answers']), ...answers },
  relayedCells,
})
const scene: Scene = {
  kind: 'live',
  actors: [
    { kind: 'live', server: 1, client: 2, size: 'page' },
    { kind: 'fetch', node: 3, size: 'bulk' },
    { kind: 'publish', node: 4, size: 'bulk' },
  ],
}

test('a node is what its user does; else what others had it do; else, if enough passed, a relay', () => {
  const role = (node: number, done: Services) => roleOf({ scene }, node, done)
  assert.equal(role(1, services({ get: 50 })), 'serve-live')
  assert.equal(role(2, services({})), 'receive')
  assert.equal(role(3, services({})), 'receive')
  assert.equal(role(4, services({})), 'publish')
  assert.equal(role(5, services({})), 'relay')
  assert.equal(role(5, services({}, 10)), null)
  assert.equal(role(5, services({ get: 1 })), null)
  assert.equal(role(5, services({ get: 9 })), 'serve-store')
  assert.equal(role(5, services({ put: 9 })), 'hold')
  assert.equal(role(5, services({ join: 2 })), 'meet')
  assert.equal(role(5, services({ get: 3, put: 3 })), null)
  assert.equal(roleOf({ scene: { kind: 'idle', actors: [] } }, 5, services({ get: 9 })), 'idle')
})

test('scenes: hosts serve, nobody plays two parts at once, roles move over the nodes', () => {
  const rng = seededRng(9)
  const played = new Map<string, Set<number>>()
  for (let run = 0; run < 12; run++) {
    const hosts = planHosts(16, rng)
    for (const { kind, actors } of planScenes(FULL_RUN, hosts, 16, rng)) {
      const busy = actors.flatMap((actor) => (actor.kind === 'live' ? [actor.server, actor.client] : [actor.node]))
      assert.equal(new Set(busy).size, busy.length)
      assert.equal(kind === 'idle', actors.length === 0)
      for (const actor of actors) {
        if (actor.kind === 'live') assert.ok(hosts.has(actor.server))
        const node = actor.kind === 'live' ? actor.client : actor.node
        played.set(actor.kind, (played.get(actor.kind) ?? new Set()).add(node))
      }
    }
  }
  for (const nodes of played.values()) assert.ok(nodes.size >= 14, `${nodes.size} nodes`)
})

test('loops, and their twins, are put together from what each of their nodes wrote down; one that never came home is none', () => {
  const twinned = (id: number) => twinId(id as CircuitId, 3)
  const ids = ['aa', 'bb', 'cc', 'dd']
  const hop = (number: number, from: string, fromId: number, to: string, toId: number): TapFact => ({
    ...{ type: 'hop', number, from, fromId, to, toId, at: 1 },
  })
  const records = parseRecords(Buffer.alloc(0))
  const taps = [
    {
      records,
      facts: [
        { type: 'launch', first: 'bb', last: 'dd', id: 10, at: 5 },
        { type: 'launch', first: 'cc', last: 'dd', id: 99, at: 6 },
      ] satisfies TapFact[],
    },
    { records, facts: [hop(1, 'aa', 10, 'cc', 20), hop(2, 'aa', twinned(10), 'cc', twinned(20))] },
    { records, facts: [hop(7, 'bb', 20, 'dd', 30), hop(8, 'bb', twinned(20), 'dd', twinned(30))] },
    { records, facts: [hop(3, 'cc', 30, 'aa', 40), hop(4, 'cc', 31, 'bb', 41), hop(5, 'cc', twinned(30), 'aa', twinned(40))] },
  ]
  assert.deepEqual(trueLoops({ taps, ids }), [
    {
      origin: 0,
      members: [
        { node: 1, circuit: 1 },
        { node: 2, circuit: 7 },
        { node: 3, circuit: 3 },
      ],
      launchedAt: 5,
    },
    {
      origin: 0,
      members: [
        { node: 1, circuit: 2 },
        { node: 2, circuit: 8 },
        { node: 3, circuit: 5 },
      ],
      launchedAt: 1,
    },
  ])
})

test('a series that comes later is alike, at its lag; another one is not', () => {
  const rng = seededRng(11)
  const made = () => Float64Array.from({ length: 400 }, () => (rng.unit() < 0.1 ? 20 * rng.unit() : 0))
  const one = made()
  const later = Float64Array.from(one, (_, at) => (at < 4 ? 0 : one[at - 4]!))
  const same = likeness(one, later, 12)
  assert.ok(same[0]! > 0.99)
  assert.equal(same[1], 4)
  assert.ok(likeness(one, made(), 12)[0]! < 0.3)
  assert.equal(correlation(one, new Float64Array(400)), 0)
  assert.deepEqual(seriesOf(Float64Array.of(5, 15, 25, 95), Float64Array.of(1, 2, 3, 4), 10, 10, 3), Float64Array.of(2, 3, 0))
})

test("features of a member's own counts are finite, for much, little and nothing", () => {
  for (const count of [0, 1, 2, 500]) {
    const at = Float64Array.from({ length: count }, (_, row) => row * 30)
    const { names, values } = circuitFeatures({ at, bytes: new Float64Array(count).fill(RECORD) }, WINDOW_MS, { fact: 1 })
    assert.equal(names.length, values.length)
    assert.ok(values.every(Number.isFinite))
  }
})
