/** What rode in which cell (SPEC §5.1): against a plain map, with room and without. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Ridden, RiddenLog } from '../../src/stream/ridden.ts'

type Item = readonly [kind: number, id: number, extra: number]

function taken(log: RiddenLog, counter: number): readonly Item[] | null {
  const found: Item[] = []
  return log.take(counter, (...item) => found.push(item)) ? found : null
}

const item = fc.tuple(fc.nat(3), fc.nat(0xffff_ffff), fc.nat(0xffff))

test('what was entered is found again, once, under its counter and no other; what arrived is forgotten', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.integer({ min: 1, max: 9 }), fc.array(item, { maxLength: 3 })), { maxLength: 60 }),
      fc.array(fc.nat(300), { maxLength: 60 }),
      fc.nat(300),
      (cells, asked, arrived) => {
        const log = new RiddenLog(256)
        const model = new Map<number, readonly Item[]>()
        let counter = -1
        for (const [gap, items] of cells) {
          counter += gap
          log.begin(counter)
          for (const one of items) log.enter(...one)
          model.set(counter, items)
        }
        log.arrived(arrived)
        for (const known of [...model.keys()]) if (known <= arrived) model.delete(known)
        for (const one of asked) {
          assert.deepEqual(taken(log, one), model.get(one) ?? null)
          if (model.has(one)) model.set(one, [])
        }
      },
    ),
    { numRuns: 300 },
  )
})

test('the oldest is forgotten when there is no room, for cells and for what rides in them; never half of a cell', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(150), { minLength: 1, maxLength: 700 }), (loads) => {
      const log = new RiddenLog(256)
      for (const [counter, load] of loads.entries()) {
        log.begin(counter)
        for (let at = 0; at < load; at++) log.enter(Ridden.STREAM, counter, at)
      }
      const oldest = log.forgottenBelow
      assert.ok(oldest < loads.length, 'the newest is never forgotten')
      for (const [counter, load] of loads.entries()) {
        const found = taken(log, counter)
        if (counter < oldest) assert.equal(found, null)
        else
          assert.deepEqual(
            found,
            Array.from({ length: load }, (_, at) => [Ridden.STREAM, counter, at]),
          )
      }
      const kept = loads.slice(oldest)
      assert.ok(kept.length <= 256 && kept.reduce((sum, load) => sum + load, 0) <= 512)
    }),
    { numRuns: 100 },
  )
})
