/**
 * The set of own paced loops (SPEC §4.6) as a machine: that it follows from configuration, public epochs and what the node's own user waits for,
 * and from nothing else (P5b).
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  type Demand,
  LoopSet,
  type LoopSetOptions,
  NO_DEMAND,
  ROUND_EPOCHS,
  roundAfter,
  type Wish,
} from '../../client/loops/loop-set.ts'
import { type NodeId, nodeIdOf } from '../../src/bytes/index.ts'
import { EPOCH_MS, LIFE_MAX_MS, RATE_LADDER } from '../../src/circuit/setup/index.ts'
import { seededRng } from '../support/seeded-rng.ts'

const nodes = Array.from({ length: 12 }, (_, at) => nodeIdOf(new Uint8Array(32).fill(at + 1)))
const START = 883_612_801
const MINUTE = 60_000 / EPOCH_MS
const STEADY: Omit<LoopSetOptions, 'rng'> = {
  standing: { rate: 0, phases: [0, 1] },
  extra: { rates: [3, 4, 5], loopsMax: 6, cellsMax: 1_000_000 },
  leadEpochs: () => 2,
}
const FIXED: Omit<LoopSetOptions, 'rng'> = { standing: { rate: 2, phases: [0, 1, 0] }, extra: null, leadEpochs: () => 3 }

function setOf(options: Omit<LoopSetOptions, 'rng'>, seed: number | string) {
  return new LoopSet({ ...options, rng: { standing: seededRng(`${seed} a`), extra: seededRng(`${seed} b`) } })
}

function waiting(cells: number, by: readonly NodeId[] = nodes, owner = ''): Demand {
  return { waiting: new Map([[owner, new Map(by.map((node) => [node, cells]))]]), used: new Set() }
}

const isExtra = ({ kind }: Wish) => kind === 'extra'

/** What may happen to a set in an epoch: what waits, for whom, and what becomes of loops. */
const happenings = fc.array(
  fc.record({
    cells: fc.constantFrom(0, 0, 5, 500, 50_000),
    wanted: fc.uniqueArray(fc.nat(11), { minLength: 1, maxLength: 12 }),
    owner: fc.constantFrom('', 'a', 'b'),
    fate: fc.constantFrom('built', 'built', 'built', 'failed', 'worn', 'ended'),
    which: fc.nat(20),
    used: fc.boolean(),
  }),
  { minLength: 1, maxLength: 400 },
)

test('P5b: standing loops are the same whatever is asked; remote parties bring no loop but one in the place of another', () => {
  fc.assert(
    fc.property(happenings, fc.nat(), (story, seed) => {
      const busy = setOf(STEADY, seed)
      const idle = setOf({ ...STEADY, extra: null }, seed)
      let epoch = START
      for (const { cells, wanted, owner, used } of story) {
        const demand =
          cells === 0
            ? NO_DEMAND
            : waiting(
                cells,
                wanted.map((at) => nodes[at]!),
                owner,
              )
        const wishes = busy.onEpoch(epoch, { ...demand, used: new Set(used ? [1, 2, 3] : []) })
        const same = idle.onEpoch(epoch++, NO_DEMAND)
        assert.deepEqual(
          wishes.filter((wish) => !isExtra(wish)).map(({ id: _, ...rest }) => rest),
          same.map(({ id: _, ...rest }) => rest),
        )
      }
    }),
    { numRuns: 100 },
  )
})

test('P5b: whatever happens: public times, bounded lives, few extra loops, none in an epoch without a wish of its own user', () => {
  fc.assert(
    fc.property(happenings, fc.nat(), fc.constantFrom(STEADY, FIXED), (story, seed, options) => {
      const set = setOf(options, seed)
      const alive: Wish[] = []
      const worn = new Set<number>()
      const demandedBy = new Set<string>()
      let epoch = START
      for (const { cells, wanted, owner, fate, which, used } of story) {
        const demand =
          cells === 0
            ? NO_DEMAND
            : waiting(
                cells,
                wanted.map((at) => nodes[at]!),
                owner,
              )
        if (cells > 0) demandedBy.add(owner)
        const usedNow = new Set(used ? alive.map(({ id }) => id) : [])
        const before = alive.filter((wish) => isExtra(wish) && wish.closeEpoch > epoch)
        const wishes = set.onEpoch(epoch, { ...demand, used: usedNow })
        assert.deepEqual(set.onEpoch(epoch, waiting(1e6)), [], 'once an epoch')
        const extra = wishes.filter(isExtra)
        const due = before.filter(({ closeEpoch, id }) => closeEpoch - 2 <= epoch || worn.has(id))
        // One step: more loops, or one of the next rate; beside those that are in the place of others.
        assert.ok(extra.length <= due.length + (cells > 0 ? 8 : 0))
        assert.ok(options.extra !== null || extra.length === 0)
        for (const wish of wishes) {
          assert.ok(wish.liveEpoch >= epoch + options.leadEpochs())
          assert.ok((wish.closeEpoch - wish.liveEpoch) * EPOCH_MS <= LIFE_MAX_MS && wish.closeEpoch - wish.liveEpoch >= MINUTE)
          if (isExtra(wish)) assert.ok(demandedBy.has(wish.owner!) && wish.closeEpoch - wish.liveEpoch <= 3 * MINUTE)
          else assert.equal(wish.closeEpoch % (ROUND_EPOCHS / 2), 0)
        }
        alive.push(...wishes)
        const one = alive[which % alive.length]!
        if (fate === 'built') set.onBuilt(one.id, nodes.slice(which % 6, (which % 6) + 5))
        if (fate === 'failed' || fate === 'ended') set.onLost(one.id)
        if (fate === 'worn') {
          worn.add(one.id)
          set.onWorn(one.id)
        }
        epoch++
      }
    }),
    { numRuns: 200 },
  )
})

test('the first loop of a place: its set-up leaves in the epoch, live any time up to the lead; those after it wait as all do', () => {
  const [least, lead] = [6, 17]
  const options = { ...FIXED, leadEpochs: () => lead, leastLeadEpochs: () => least }
  const leads = new Map<number, number>()
  for (let seed = 0; seed < 500; seed++) {
    const set = setOf(options, seed)
    const wishes = set.onEpoch(START, NO_DEMAND)
    assert.equal(wishes.length, 3)
    for (const wish of wishes) {
      assert.ok(wish.atOnce)
      leads.set(wish.liveEpoch - START, (leads.get(wish.liveEpoch - START) ?? 0) + 1)
    }
    // What was never sent may be sent at once still; what was sent and lost, or ran and ended, has a successor that waits.
    const [unsent, sent, runs] = wishes
    set.onLost(unsent!.id, true)
    set.onLost(sent!.id)
    set.onBuilt(runs!.id, nodes.slice(0, 5))
    const again: Wish[] = []
    for (let epoch = START + 1; epoch < START + 2 * ROUND_EPOCHS; epoch++) again.push(...set.onEpoch(epoch, NO_DEMAND))
    assert.deepEqual(
      again.slice(0, 2).map(({ atOnce }) => atOnce),
      [true, false],
    )
    assert.equal(again[1]!.liveEpoch - START, 1 + lead)
    assert.ok(again.slice(1).every(({ atOnce }) => !atOnce))
  }
  // From leaving to live, less the part of an epoch that it takes to leave: as long as with the wait, each as likely.
  assert.deepEqual(
    [...leads.keys()].sort((a, b) => a - b),
    Array.from({ length: lead - least }, (_, at) => least + 1 + at),
  )
  for (const [epochs, count] of leads) assert.ok(count > 90 && count < 190, `${epochs}: ${count}`)
})

test('a standing place is never empty: each loop lives until the next of its phase does', () => {
  for (const options of [STEADY, FIXED]) {
    const set = setOf(options, 'day')
    const places = options.standing.phases.length
    const all: Wish[] = []
    for (let epoch = START; epoch < START + 24 * 60 * MINUTE; epoch++) {
      for (const wish of set.onEpoch(epoch, NO_DEMAND)) {
        set.onBuilt(wish.id, nodes.slice(0, 5))
        all.push(wish)
      }
      if (epoch < START + 4) continue
      const live = all.filter(({ liveEpoch, closeEpoch }) => liveEpoch <= epoch && epoch < closeEpoch)
      assert.equal(live.length, places)
      assert.equal(set.rateAt(epoch), places * RATE_LADDER[options.standing.rate]!)
    }
    // After the first of each place all are born on its phase's rounds, and live one.
    for (const { liveEpoch, closeEpoch } of all.slice(places)) {
      assert.equal(closeEpoch - liveEpoch, ROUND_EPOCHS)
      assert.ok([0, 1].some((phase) => roundAfter(phase, liveEpoch) === liveEpoch))
    }
  }
})

test('what waits brings one step an epoch: a loop, then the next rate, then no more than there may be; it is renewed, and goes', () => {
  const set = setOf(STEADY, 'steps')
  const built = new Map<number, Wish>()
  const at = (epoch: number, demand: Demand) => {
    const wishes = set.onEpoch(epoch, demand)
    for (const wish of wishes) {
      built.set(wish.id, wish)
      set.onBuilt(wish.id, isExtra(wish) ? nodes : nodes.slice(0, 5))
    }
    return wishes.filter(isExtra)
  }
  assert.deepEqual(at(START, NO_DEMAND), [])
  assert.deepEqual(at(START + 1, waiting(3, nodes.slice(0, 5))), [], 'within a second of what there is')
  const [first, ...none] = at(START + 2, waiting(100_000, nodes.slice(0, 5)))
  assert.deepEqual([first?.rate, first?.owner, first?.liveEpoch, none.length], [3, '', START + 4, 0])
  assert.deepEqual(
    at(START + 3, waiting(100_000)).map(({ rate }) => rate),
    [4],
  )
  assert.deepEqual(
    at(START + 4, waiting(100_000)).map(({ rate }) => rate),
    [5],
  )
  assert.deepEqual(
    at(START + 5, waiting(100_000)).map(({ rate }) => rate),
    [5],
    'a second of the highest rate',
  )
  assert.deepEqual(at(START + 6, waiting(1e9)), [], 'and no more')
  assert.deepEqual(at(START + 7, waiting(1_000)), [], 'within a second of what there is now')
  // As long as it is used the highest rate is there, and the lower ones are not renewed.
  const top = [...built.values()].filter(({ rate }) => rate === 5).map(({ id }) => id)
  let epoch = START + 8
  for (; epoch < START + 25 * MINUTE; epoch++)
    for (const wish of at(epoch, { waiting: new Map(), used: new Set(built.keys()) })) top.push(wish.id)
  assert.ok([...built.values()].filter(isExtra).every(({ rate, closeEpoch }) => rate === 5 || closeEpoch < START + 5 * MINUTE))
  assert.ok(set.rateAt(epoch) >= 8192)
  const quietAt = epoch
  let lastAt = epoch
  for (; epoch < quietAt + 9 * MINUTE; epoch++) {
    at(epoch, NO_DEMAND)
    if (set.rateAt(epoch) >= 8192) lastAt = epoch
  }
  assert.ok(lastAt - quietAt >= MINUTE - 1 && lastAt - quietAt <= 6 * MINUTE + 3, `${lastAt - quietAt} epochs after the last use`)
})

test('nodes on no loop bring loops of the lowest extra rate, twice as many each time, up to the limit', () => {
  const set = setOf({ ...STEADY, reach: () => 1, extra: { rates: [3, 4], loopsMax: 13, cellsMax: 1_000_000 } }, 'cover')
  for (const wish of set.onEpoch(START, NO_DEMAND)) set.onBuilt(wish.id, [])
  const many = Array.from({ length: 60 }, (_, at) => nodeIdOf(new Uint8Array(32).fill(100 + at)))
  let uncovered = many
  const counts: number[] = []
  for (let epoch = START + 1; epoch < START + 7; epoch++) {
    const wishes = set.onEpoch(epoch, waiting(34, uncovered)).filter(isExtra)
    counts.push(wishes.length)
    for (const wish of wishes) {
      assert.equal(wish.rate, 3)
      set.onBuilt(wish.id, wish.cover.slice(0, 1))
      uncovered = uncovered.filter((node) => node !== wish.cover[0])
    }
  }
  assert.deepEqual(counts, [1, 2, 4, 6, 0, 0])
})

test('a loop that is being set up is for as many nodes as it is likely to reach; others come for the rest, and for what its draw left out', () => {
  const options = { ...STEADY, leadEpochs: () => 34, reach: () => 3, extra: { rates: [3], loopsMax: 8, cellsMax: 1_000_000 } }
  const set = setOf(options, 'reach')
  const covers: (readonly NodeId[])[] = []
  const at = (epoch: number) => {
    const wishes = set.onEpoch(epoch, waiting(34)).filter(isExtra)
    covers.push(...wishes.map(({ cover }) => cover.slice(0, 3)))
    return wishes
  }
  const wishes = [0, 1, 2, 3].flatMap((later) => at(START + later))
  assert.deepEqual(covers, [nodes.slice(0, 3), nodes.slice(3, 6), nodes.slice(6, 9), nodes.slice(9)])
  set.onDrawn(wishes[0]!.id, nodes.slice(1, 6))
  const [more, ...none] = at(START + 4)
  assert.deepEqual([more?.cover, none.length], [nodes.slice(0, 1), 0])
  // Once it is built its draw is over.
  set.onBuilt(wishes[0]!.id, nodes.slice(0, 5))
  set.onDrawn(wishes[0]!.id, [])
  assert.deepEqual(at(START + 5), [])
})

test('extra loops have no more cells a second than there may be: lower rates, fewer loops', () => {
  const extra = { rates: [2, 3, 4], loopsMax: 16, cellsMax: 1_500 }
  const set = setOf({ ...STEADY, extra }, 'cells')
  const wishes: Wish[] = []
  for (let epoch = START; epoch < START + 20; epoch++) {
    for (const wish of set.onEpoch(epoch, waiting(10_000)).filter(isExtra)) {
      wishes.push(wish)
      set.onBuilt(wish.id, nodes.slice(wishes.length % 3, 8))
    }
    const cells = wishes.filter(({ closeEpoch }) => closeEpoch > epoch).reduce((sum, { rate }) => sum + RATE_LADDER[rate]!, 0)
    assert.ok(cells <= 1_500, `${cells}`)
  }
  assert.ok(wishes.length > 3 && wishes.every(({ rate }) => rate < 4))
})

test('twins: what waits for nodes that a running loop reaches brings a twin of it, at the rate that what waits needs, live a shorter lead later', () => {
  const set = setOf({ ...STEADY, standing: { rate: 0, phases: [0] }, leadEpochs: () => 9, twinLeadEpochs: () => 2 }, 'twins')
  const [standing] = set.onEpoch(START, NO_DEMAND)
  set.onBuilt(standing!.id, nodes.slice(0, 5))
  const covered = nodes.slice(0, 5)
  // It does not run yet: nobody could be told.
  const [early, ...none] = set.onEpoch(START + 1, waiting(400, covered.slice(0, 1)))
  assert.deepEqual([early?.twin, early?.liveEpoch, none.length], [null, START + 10, 0])
  set.onLost(early!.id)
  const [twin, ...others] = set.onEpoch(START + 12, waiting(400, covered))
  assert.deepEqual([twin?.twin, twin?.rate, twin?.owner, others.length], [{ root: standing!.id, place: 1 }, 4, '', 0])
  assert.equal(twin!.liveEpoch, START + 14)
  set.onBuilt(twin!.id, covered)
  // A twin for what loops reach, and set-ups for what none does, in one step.
  const step = set.onEpoch(START + 13, waiting(20_000))
  assert.deepEqual(
    step.map((wish) => [wish.twin?.place ?? null, wish.rate, wish.liveEpoch]),
    [
      [2, 5, START + 15],
      [null, 3, START + 22],
    ],
  )
  assert.deepEqual(
    set.onEpoch(START + 14, waiting(20, covered.slice(0, 1), 'b')).map((wish) => wish.twin),
    [null],
    'it is another’s now',
  )
})

test('twins: renewed as twins of the same loop as long as that is there, and then set up; a loop has fifteen', () => {
  const set = setOf({ ...STEADY, standing: { rate: 0, phases: [0] }, leadEpochs: () => 9, twinLeadEpochs: () => 2 }, 'renewed')
  const built = new Map<number, Wish>()
  let places = 0
  for (let epoch = START; epoch < START + 30 * MINUTE; epoch++) {
    const used = new Set([...built.values()].filter(isExtra).map(({ id }) => id))
    const demand = epoch === START + 12 ? waiting(400, nodes.slice(0, 5)) : NO_DEMAND
    for (const wish of set.onEpoch(epoch, { ...demand, used })) {
      built.set(wish.id, wish)
      set.onBuilt(wish.id, nodes.slice(0, 5))
      if (wish.twin === null) continue
      const root = built.get(wish.twin.root)!
      assert.ok(root.liveEpoch < epoch && root.closeEpoch > epoch + 2)
      assert.ok(wish.twin.place >= 1 && wish.twin.place <= 15)
      places++
    }
    if (epoch > START + 14)
      assert.ok([...built.values()].some((wish) => isExtra(wish) && wish.liveEpoch <= epoch && epoch < wish.closeEpoch))
  }
  assert.ok(places >= 5)
})

test('a date that was set back: a day ahead brings nothing for ever, and right again it starts over; by a little it is waited for', () => {
  const set = setOf(STEADY, 'date')
  assert.equal(set.onEpoch(START, NO_DEMAND).length, 2)
  assert.deepEqual(set.onEpoch(START - 5, NO_DEMAND), [], 'ten seconds')
  const day = 86_400_000 / EPOCH_MS
  const wrong = set.onEpoch(START + day, waiting(500))
  assert.ok(wrong.length > 0 && wrong.every(({ liveEpoch }) => liveEpoch > START + day))
  for (const { id } of wrong) set.onLost(id)
  const right = set.onEpoch(START + 10, waiting(500))
  assert.ok(right.length > 0 && right.every(({ liveEpoch }) => liveEpoch < START + MINUTE))
  assert.equal(right.filter((wish) => !isExtra(wish)).length, 2)
})

test('loops belong to who used them first: others cannot count on them', () => {
  const set = setOf({ ...STEADY, standing: { rate: 0, phases: [0] } }, 'owners')
  const [standing] = set.onEpoch(START, NO_DEMAND)
  set.onBuilt(standing!.id, nodes)
  assert.deepEqual(set.onEpoch(START + 1, waiting(5, nodes.slice(0, 1), 'a')), [])
  set.onOwned(standing!.id, 'b')
  const wishes = set.onEpoch(START + 2, waiting(5, nodes, 'a'))
  assert.deepEqual(
    wishes.map(({ owner, rate }) => [owner, rate]),
    [['a', 3]],
  )
})

test('a loop that fails is tried again later and later; one that loses cells is replaced once', () => {
  const set = setOf({ ...STEADY, standing: { rate: 0, phases: [0] }, extra: null }, 'failures')
  const tried: number[] = []
  for (let epoch = 0; epoch < 90; epoch++) {
    for (const wish of set.onEpoch(START + epoch, NO_DEMAND)) {
      tried.push(epoch)
      set.onLost(wish.id)
    }
  }
  assert.deepEqual(tried, [0, 1, 2, 4, 8, 16, 32, 62])
  const [wish] = set.onEpoch(START + 92, NO_DEMAND)
  set.onBuilt(wish!.id, nodes)
  set.onWorn(wish!.id)
  assert.equal(set.onEpoch(START + 93, NO_DEMAND).length, 1)
  for (let epoch = 94; epoch < 110; epoch++) assert.deepEqual(set.onEpoch(START + epoch, NO_DEMAND), [])
})

test('extra loops that were sought together and fail one after the other are one try: the next comes after one epoch, and one, and two', () => {
  const set = setOf({ ...STEADY, standing: { rate: 0, phases: [0] }, reach: () => 1 }, 'waves')
  let epoch = START
  set.onEpoch(epoch++, NO_DEMAND)
  const sought = [1, 2, 3].flatMap(() => set.onEpoch(epoch++, waiting(20_000)).filter(isExtra))
  assert.equal(sought.length, 6)
  for (const { id } of sought.slice(0, 5)) set.onLost(id)
  const [next, ...others] = set.onEpoch(epoch++, waiting(20_000)).filter(isExtra)
  assert.ok(next !== undefined)
  // What is left of the first try ends while the second one is under way.
  set.onLost(sought[5]!.id)
  const third = set.onEpoch(epoch++, waiting(20_000))
  assert.ok(third.length > 0)
  for (const { id } of [next, ...others, ...third]) set.onLost(id)
  const fourth = set.onEpoch(epoch++, waiting(20_000))
  assert.ok(fourth.length > 0)
  for (const { id } of fourth) set.onLost(id)
  const later = [1, 2].map(() => set.onEpoch(epoch++, waiting(20_000)).length > 0)
  assert.deepEqual(later, [false, true])
})

test('an exchange that waits brings one loop of the lowest rate through its nodes, and no other while that is there for long', () => {
  const set = setOf(STEADY, 'exchange')
  const wanted = nodes.slice(0, 3)
  const demand: Demand = { waiting: new Map(), used: new Set(), exchanges: new Map([['a', new Set(wanted)]]) }
  let epoch = START
  set.onEpoch(epoch++, NO_DEMAND)
  const [first, ...rest] = set.onEpoch(epoch++, demand).filter(isExtra)
  assert.deepEqual([first?.rate, first?.owner, first?.cover, rest.length], [3, 'a', wanted, 0])
  // It came out with two of them: the third gets one of its own, and then all have one.
  set.onBuilt(first!.id, wanted.slice(0, 2))
  const second = set.onEpoch(epoch++, demand).filter(isExtra)
  assert.deepEqual(
    second.map(({ cover }) => cover),
    [[wanted[2]]],
  )
  assert.deepEqual(set.onEpoch(epoch++, demand).filter(isExtra), [])
  // Another's loops, and those that end soon, are none for it.
  const other: Demand = { ...demand, exchanges: new Map([['b', new Set(wanted.slice(0, 1))]]) }
  assert.equal(set.onEpoch(epoch++, other).filter(isExtra)[0]?.owner, 'b')
  const isFresh = (wish: Wish) => wish.owner === 'a' && wish.cover.length === 1 && wish.cover[0] === wanted[0]
  while (first!.closeEpoch - epoch >= 9) assert.ok(!set.onEpoch(epoch++, NO_DEMAND).some(isFresh))
  const again = set.onEpoch(epoch, { ...demand, exchanges: new Map([['a', new Set(wanted.slice(0, 1))]]) })
  assert.equal(again.filter(isFresh).length, 1)
})
