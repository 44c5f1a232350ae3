/** The path simulator measures what it says: known entropies, nested adversaries, the same figures for the same seed, and known posteriors. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { exposure } from '../sim-paths/exposure.ts'
import { entropy, lengths, posteriorOfOne, sampleWalks } from '../sim-paths/measure.ts'
import { adversaries, makeWeb } from '../sim-paths/web.ts'
import { SeededRng } from '../support/seeded-rng.ts'

test('entropy of known distributions', () => {
  assert.equal(entropy([]), 0)
  assert.equal(entropy(['a', 'a', 'a']), 0)
  const eight = Array.from({ length: 8000 }, (_, at) => String(at % 8))
  assert.ok(Math.abs(entropy(eight) - 3) < 0.01)
})

test('a web is as the rules make it: four chosen, eight accepted at most, links both ways, the same for the same seed', () => {
  const web = makeWeb(200, new SeededRng(3))
  for (const id of web.ids) {
    const chosen = web.chosen.get(id)!
    assert.equal(chosen.length, 4)
    for (const other of chosen) assert.ok(web.links.get(other)!.has(id) && web.links.get(id)!.has(other))
    const acceptedOnly = [...web.links.get(id)!].filter((other) => !chosen.includes(other))
    assert.ok(acceptedOnly.length <= 8)
  }
  assert.deepEqual(makeWeb(200, new SeededRng(3)).chosen, web.chosen)
})

test('adversaries are nested, and as large as they say', () => {
  const web = makeWeb(500, new SeededRng(4))
  const total = web.ids.reduce((sum, id) => sum + web.weight.get(id)!, 0)
  for (const by of ['count', 'weight'] as const) {
    const all = adversaries(web, new SeededRng(5)).filter((adversary) => adversary.by === by)
    for (const [at, { nodes, share }] of all.entries()) {
      const size =
        by === 'count' ? nodes.size / web.ids.length : [...nodes].reduce((sum, id) => sum + web.weight.get(id)!, 0) / total
      assert.ok(Math.abs(size - share) < 0.01, `${by} ${share}: ${size}`)
      for (const id of all[at - 1]?.nodes ?? []) assert.ok(nodes.has(id))
    }
  }
})

test('posteriors: about one in members over all links, two on self-chosen ones; near one behind a guard', () => {
  const web = makeWeb(100, new SeededRng(6))
  const loops = sampleWalks(web, 'chosen', 1500, new SeededRng(7))
  const chosen = posteriorOfOne(web, loops)
  const members = [...lengths(loops)].reduce((sum, [length, count]) => sum + (length + 1) * count, 0) / loops.length
  assert.ok(Math.abs(chosen.mean - 1 / (members - 1)) < 0.02, `${chosen.mean} with ${members} members`)
  assert.ok(chosen.times < 2.5, String(chosen.times))
  const guards = posteriorOfOne(web, sampleWalks(web, 'guards', 1500, new SeededRng(8)))
  assert.ok(guards.worst > 0.75, String(guards.worst))
})

test('exposure grows with the adversary and with the days, and is the same for the same seed', () => {
  const web = makeWeb(100, new SeededRng(9))
  const hostile = adversaries(web, new SeededRng(10)).filter(({ by }) => by === 'count')
  const run = () => exposure(web, 'chosen', hostile, { days: 6, origins: 10, perDay: 6, rng: new SeededRng(11) })
  const found = run()
  for (const [at, { byDay, circuits, besideOrigin }] of found.entries()) {
    for (let day = 1; day < byDay.length; day++) assert.ok(byDay[day]! >= byDay[day - 1]!)
    assert.ok(circuits <= besideOrigin)
    if (at > 0) assert.ok(circuits >= found[at - 1]!.circuits)
  }
  assert.ok(found.at(-1)!.circuits > 0)
  assert.deepEqual(run(), found)
})
