/** Loops on random webs: what a drawn loop always is, how often one is found, and that draws differ. Spec: SPEC.md §6.5. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { groupOf } from '../../client/neighbours/groups.ts'
import { drawLoop, LOOP_MEMBERS_MAX, type LoopPreference, loopMembers, loopPlan } from '../../client/paths.ts'
import { lastingPreference } from '../../client/service/preference.ts'
import type { NodeId, UnixMs } from '../../src/bytes/index.ts'
import type { Descriptor, DirectoryView } from '../../src/directory/index.ts'
import { type Rng, shuffled } from '../../src/runtime/index.ts'
import { SeededRng } from '../support/seeded-rng.ts'

const idOf = (index: number) => index.toString(16).padStart(64, '0') as NodeId

interface Web {
  readonly view: DirectoryView
  readonly links: ReadonlyMap<NodeId, ReadonlySet<NodeId>>
  readonly chosen: ReadonlyMap<NodeId, readonly NodeId[]>
}

/** A web as the nodes would make it: each chooses `choices` others that have room (8 that chose them). */
function randomWeb(
  nodes: number,
  rng: Rng,
  { choices = 4, address = (_: number): string => '/ip4/127.0.0.1/tcp/1', family = [] as number[] } = {},
): Web {
  const ids = Array.from({ length: nodes }, (_, index) => idOf(index))
  const links = new Map(ids.map((id) => [id, new Set<NodeId>()]))
  const chosen = new Map(ids.map((id) => [id, [] as NodeId[]]))
  const taken = new Map(ids.map((id) => [id, 0]))
  for (const id of shuffled(ids, rng)) {
    for (const other of shuffled(ids, rng)) {
      if (chosen.get(id)!.length >= choices) break
      if (other === id) continue
      if (!links.get(id)!.has(other)) {
        if (taken.get(other)! >= 8) continue
        taken.set(other, taken.get(other)! + 1)
      }
      chosen.get(id)!.push(other)
      links.get(id)!.add(other)
      links.get(other)!.add(id)
    }
  }
  const descriptors = new Map(
    ids.map((id, index): [NodeId, Descriptor] => [
      id,
      {
        id,
        addresses: [address(index)],
        onion: { kid: 0, x25519: new Uint8Array(32), mlkem768: new Uint8Array(1184) },
        capacityClass: 0,
        storeQuotaBytes: 0,
        publishedMs: 0 as UnixMs,
        neighbours: [...links.get(id)!],
        family: family.includes(index) ? family.filter((other) => other !== index).map(idOf) : [],
      },
    ]),
  )
  const view: DirectoryView = {
    size: nodes,
    version: 1,
    get: (id) => descriptors.get(id),
    all: () => [...descriptors.values()],
    linked: (id) => [...(links.get(id) ?? [])],
  }
  return { view, links, chosen }
}

function ask(web: Web, self: NodeId, rng: Rng, more: { apex?: NodeId; members?: number; avoid?: ReadonlySet<NodeId> } = {}) {
  const { members = 5, ...rest } = more
  return drawLoop({
    view: web.view,
    self,
    neighbours: [...web.links.get(self)!],
    chosen: web.chosen.get(self)!,
    members,
    rng,
    ...rest,
  })
}

function checkLoop(web: Web, self: NodeId, hops: readonly NodeId[]): void {
  const cycle = [self, ...hops]
  assert.equal(new Set(cycle).size, cycle.length, 'no node twice')
  for (const [at, id] of cycle.entries())
    assert.ok(web.links.get(id)!.has(cycle[(at + 1) % cycle.length]!), 'every step is a link')
}

test('in webs of 8 nodes with 4 chosen each, every apex is reached from every node', (t) => {
  let asked = 0
  let exact = 0
  let own = 0
  for (let seed = 0; seed < 150; seed++) {
    const rng = new SeededRng(seed)
    const web = randomWeb(8, rng)
    const self = idOf(0)
    for (let apex = 1; apex < 8; apex++) {
      asked++
      const loop = ask(web, self, rng, { apex: idOf(apex) })
      assert.ok(loop, `seed ${seed}, apex ${apex}`)
      checkLoop(web, self, loop.hops)
      assert.equal(loop.hops[loop.apexIndex], idOf(apex))
      if (loop.hops.length === 5) {
        exact++
        assert.equal(loop.apexIndex, 2)
      }
      if (loop.ownLinks) own++
    }
  }
  t.diagnostic(`${asked} asked, all drawn; exactly 5 others: ${exact}; own links at both ends: ${own}`)
  assert.ok(exact / asked > 0.97)
  assert.ok(own / asked > 0.97)
})

test('whatever the web, what is drawn is a loop by the rules', () => {
  const web = fc.record({ seed: fc.nat(1e6), nodes: fc.integer({ min: 4, max: 60 }), choices: fc.integer({ min: 1, max: 5 }) })
  fc.assert(
    fc.property(
      web,
      fc.nat(59),
      fc.option(fc.nat(59)),
      fc.integer({ min: 3, max: 11 }),
      ({ seed, nodes, choices }, me, target, members) => {
        const rng = new SeededRng(seed)
        const drawnWeb = randomWeb(nodes, rng, { choices })
        const self = idOf(me % nodes)
        const apex = target === null ? undefined : idOf(target % nodes)
        const avoid = new Set([idOf((me + 1) % nodes)])
        const loop = ask(drawnWeb, self, rng, { members, avoid, ...(apex === undefined ? {} : { apex }) })
        if (loop === null) return
        checkLoop(drawnWeb, self, loop.hops)
        const { length } = loop.hops
        assert.ok(length >= 3 && length <= LOOP_MEMBERS_MAX)
        assert.ok([-1, 0, 1, 2].includes(length - members) || (members <= 5 && length < members))
        if (apex !== undefined) assert.equal(loop.hops[loop.apexIndex], apex)
        assert.ok(!loop.hops.some((id) => avoid.has(id)))
        const sides = [loop.apexIndex, loop.hops.length - 1 - loop.apexIndex]
        assert.ok(Math.min(...sides) >= (loop.hops.length >= 5 ? 2 : 1))
        if (loop.ownLinks)
          for (const end of [loop.hops[0]!, loop.hops.at(-1)!]) assert.ok(drawnWeb.chosen.get(self)!.includes(end))
      },
    ),
    { seed: 42, numRuns: 300 },
  )
})

test('without an apex, and at every length of larger networks, loops are found', () => {
  const rng = new SeededRng('large')
  for (const nodes of [32, 100, 300, 1000]) {
    const web = randomWeb(nodes, rng)
    let found = 0
    for (let draw = 0; draw < 40; draw++) {
      const self = idOf(rng.below(nodes))
      const given = draw % 2 === 0 ? {} : { apex: idOf((Number.parseInt(self, 16) + 1 + rng.below(nodes - 1)) % nodes) }
      const loop = ask(web, self, rng, { members: loopMembers(nodes), ...given })
      if (loop === null) continue
      found++
      checkLoop(web, self, loop.hops)
    }
    assert.ok(found >= 39, `${found} of 40 at ${nodes} nodes`)
  }
})

test('networks of 4 and 5 nodes: 3 and 4 others, the apex in the middle', () => {
  for (const nodes of [4, 5]) {
    const rng = new SeededRng(nodes)
    const web = randomWeb(nodes, rng)
    for (let apex = 1; apex < nodes; apex++) {
      const loop = ask(web, idOf(0), rng, { members: nodes - 1, apex: idOf(apex) })
      assert.equal(loop?.hops.length, nodes - 1)
    }
  }
})

test('draws differ: many different loops, first links used alike', () => {
  const rng = new SeededRng('spread')
  const web = randomWeb(12, rng)
  const self = idOf(0)
  const loops = new Set<string>()
  const firsts = new Map<NodeId, number>()
  for (let draw = 0; draw < 400; draw++) {
    const loop = ask(web, self, rng)
    assert.ok(loop)
    loops.add(loop.hops.join())
    firsts.set(loop.hops[0]!, (firsts.get(loop.hops[0]!) ?? 0) + 1)
  }
  assert.ok(loops.size > 150, `${loops.size} different loops`)
  assert.equal(firsts.size, 4)
  assert.ok(Math.min(...firsts.values()) > 40, [...firsts.values()].join())
})

test('no two members of one /16 or family where the graph allows it', () => {
  let diverse = 0
  for (let seed = 0; seed < 40; seed++) {
    const rng = new SeededRng(seed)
    const web = randomWeb(60, rng, {
      address: (index) => `/ip4/10.${index >> 1}.0.1/tcp/1`,
      family: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
    })
    const loop = ask(web, idOf(0), rng)
    assert.ok(loop)
    if (!loop.diverse) continue
    diverse++
    const numbers = [0, ...loop.hops.map((id) => Number.parseInt(id, 16))]
    assert.equal(new Set(numbers.map((index) => index >> 1)).size, numbers.length)
    assert.ok(numbers.filter((index) => index >= 1 && index <= 10).length <= 1)
  }
  assert.ok(diverse >= 38, `${diverse}`)
})

test('own links when they make a loop; any neighbour, and said so, when they do not', () => {
  const rng = new SeededRng('fallback')
  const web = randomWeb(10, rng)
  const self = idOf(0)
  const neighbours = [...web.links.get(self)!]
  const question = { view: web.view, self, neighbours, members: 5, rng }
  assert.equal(drawLoop({ ...question, chosen: web.chosen.get(self)! })?.ownLinks, true)
  assert.equal(drawLoop({ ...question, chosen: neighbours.slice(0, 1) })?.ownLinks, false)
  assert.equal(drawLoop({ ...question, chosen: [], neighbours: [] }), null)
  assert.equal(drawLoop({ ...question, chosen: neighbours, apex: self }), null)
  assert.equal(drawLoop({ ...question, chosen: neighbours, apex: idOf(99) }), null)
})

test('the search ends soon where there is no loop', () => {
  const rng = new SeededRng('none')
  const web = randomWeb(200, rng)
  // Everybody is linked, but the apex hangs on one node only.
  const apex = idOf(199)
  const view: DirectoryView = {
    ...web.view,
    linked: (id) => {
      if (id === apex) return [idOf(198)]
      return web.view.linked(id).filter((other) => other !== apex || id === idOf(198))
    },
  }
  const started = performance.now()
  assert.equal(ask({ ...web, view }, idOf(0), rng, { apex }), null)
  assert.ok(performance.now() - started < 2_000)
})

test('lengths by network size', () => {
  assert.deepEqual(
    [1, 3, 4, 5, 6, 8, 32, 100, 1_000, 5_000, 10_000, 1e6].map(loopMembers),
    [0, 0, 3, 4, 5, 5, 5, 5, 8, 10, 11, 11],
  )
  assert.deepEqual([3, 4, 5, 6].map(loopPlan), [
    null,
    { members: 3, short: true },
    { members: 4, short: true },
    { members: 5, short: false },
  ])
})

test('groups of addresses', () => {
  const cases: [string, string | null][] = [
    ['/ip4/10.20.30.40/tcp/1', '4:10.20'],
    ['/ip6/2001:db8:1::5/tcp/1', '6:2001:db8'],
    ['/ip6/2001:0db8:1::5/tcp/1', '6:2001:db8'],
    ['/ip6/2001::5/tcp/1', '6:2001:0'],
    ['/ip6/::1/tcp/1', '6:0:0'],
    ['/ip6/::ffff:10.20.1.1/tcp/1', '4:10.20'],
    ['/dns4/example.org/tcp/1', null],
    ['/ip4/', null],
    ['', null],
  ]
  for (const [address, group] of cases) assert.equal(groupOf(address), group, address)
})

test('the loops of a pseudonym use one pair of links, and few members next to them, as long as these lead to the apex', () => {
  const rng = new SeededRng('pseudonym')
  const web = randomWeb(60, rng)
  const self = idOf(0)
  const preferenceOf = (day: number) =>
    lastingPreference(new Uint8Array(32).fill(7), { unixMs: () => (day * 86_400_000) as UnixMs })
  const draws = (preference: LoopPreference | undefined, chosen: readonly NodeId[]) => {
    const drawn = Array.from({ length: 40 }, (_, at) =>
      drawLoop({
        view: web.view,
        self,
        neighbours: chosen,
        chosen,
        members: 7,
        apex: idOf(10 + at),
        rng,
        ...(preference ? { preference } : {}),
      }),
    ).filter((loop) => loop !== null)
    assert.ok(drawn.length >= 30, `${drawn.length}`)
    const ends = new Map<string, number>()
    const seconds = new Map<NodeId, number>()
    for (const { hops } of drawn) {
      const pair = [hops[0]!, hops.at(-1)!].sort().join()
      ends.set(pair, (ends.get(pair) ?? 0) + 1)
      for (const second of [hops[1]!, hops.at(-2)!]) seconds.set(second, (seconds.get(second) ?? 0) + 1)
    }
    return { ends, seconds, drawn }
  }
  const chosen = web.chosen.get(self)!
  const free = draws(undefined, chosen)
  const lasting = draws(preferenceOf(20_000), chosen)
  assert.ok(free.ends.size > 3)
  const [best] = [...lasting.ends].sort((a, b) => b[1] - a[1])
  assert.ok(best![1] >= 0.9 * lasting.drawn.length, `${best![1]} of ${lasting.drawn.length}`)
  assert.ok(lasting.seconds.size * 2 < free.seconds.size, `${lasting.seconds.size} against ${free.seconds.size}`)
  // The pair holds for years; a link that is down is replaced, the other one stays.
  assert.deepEqual([...draws(preferenceOf(21_000), chosen).ends].sort((a, b) => b[1] - a[1])[0]![0], best![0])
  const [gone, stays] = best![0].split(',') as [NodeId, NodeId]
  const without = draws(
    preferenceOf(20_000),
    chosen.filter((id) => id !== gone),
  )
  for (const pair of without.ends.keys()) assert.ok(!pair.includes(gone))
  assert.ok([...without.ends].sort((a, b) => b[1] - a[1])[0]![0].includes(stays))
})

test('what a preference names is given up before the loop is', () => {
  const rng = new SeededRng('preference is no condition')
  const web = randomWeb(10, rng)
  const self = idOf(0)
  const preference = lastingPreference(new Uint8Array(32).fill(1), { unixMs: () => 0 as UnixMs })
  const neighbours = [...web.links.get(self)!]
  for (let apex = 1; apex < 10; apex++) {
    const question = { view: web.view, self, neighbours, members: 5, rng, apex: idOf(apex) }
    const plain = drawLoop({ ...question, chosen: web.chosen.get(self)! })
    assert.equal(drawLoop({ ...question, chosen: web.chosen.get(self)!, preference }) === null, plain === null)
    assert.notEqual(drawLoop({ ...question, chosen: [], preference }), null)
  }
})

test('with four living nodes of eight that are listed loops of three others are found, and longer ones as soon as they can be', () => {
  const rng = new SeededRng(41)
  const web = randomWeb(8, rng, { choices: 7 })
  const living = [0, 2, 5, 7].map(idOf)
  const alive = (ids: readonly NodeId[]) => ids.filter((id) => living.includes(id))
  const view: DirectoryView = { ...web.view, linked: (id) => (living.includes(id) ? alive(web.view.linked(id)) : []) }
  for (const self of living) {
    const neighbours = alive([...web.links.get(self)!])
    for (const apex of living.filter((id) => id !== self)) {
      const drawn = drawLoop({ view, self, neighbours, chosen: neighbours, members: 5, apex, rng })
      assert.ok(drawn !== null)
      assert.deepEqual([drawn.hops.length, drawn.hops[drawn.apexIndex]], [3, apex])
      // Where longer ones are usual no loop comes out that short.
      assert.equal(drawLoop({ view, self, neighbours, chosen: neighbours, members: 8, apex, rng }), null)
    }
    const dead = [1, 3].map(idOf)[0]!
    assert.equal(drawLoop({ view, self, neighbours, chosen: neighbours, members: 5, apex: dead, rng }), null)
  }
})
