/**
 * Whole networks in small, as `npm run sim` runs them in large (`test/sim-network/`): five seeds of two days in the store tier, half an hour of
 * whole nodes with real cells, and the directory alone. What must always hold, and that a seed decides everything.
 */
import assert from 'node:assert/strict'
import { mkdir } from 'node:fs/promises'
import { after, test } from 'node:test'
import { DAY_MS, DEFAULT_CHURN, HOUR_MS, livesOf, weibull } from '../sim-network/churn.ts'
import { flood, movement, oneLink, town } from '../sim-network/directory-scale.ts'
import { MemoryDisk } from '../sim-network/memory-disk.ts'
import { runWorld } from '../sim-network/store-world.ts'
import { runWhole } from '../sim-network/whole-world.ts'
import { SeededRng } from '../support/seeded-rng.ts'

const disk = new MemoryDisk('/gyre-sim-test')
disk.install()
after(() => disk.uninstall())

let runs = 0
async function folder(): Promise<string> {
  const root = `/gyre-sim-test/${runs++}`
  await mkdir(root)
  return root
}

async function stores(seed: string, leavers: 'anyone' | 'visitors', days = 2) {
  const churn = { ...DEFAULT_CHURN, leavers, nodes: 25 }
  return runWorld({ seed, days, each: 1, ranks: 1, churn, disk, root: await folder() })
}

for (const [at, leavers] of (['anyone', 'visitors', 'anyone', 'visitors', 'anyone'] as const).entries()) {
  test(`stores, ${leavers} leave, seed ${at}: what is published is there to the end`, async (t) => {
    const { objects, breaches, figures } = await stores(String(at), leavers)
    t.diagnostic(
      `${figures.sessions} sessions, ${figures['gone for good']} gone for good, ${figures['handed over']} handed over, ${figures.healed} healed`,
    )
    assert.deepEqual(breaches, [])
    assert.equal(objects.length, 14)
    for (const { kind, lostMs, unfound, final } of objects) {
      assert.equal(unfound, 0, 'what is up is found')
      assert.equal(lostMs, null)
      if (kind.keeping !== 'nobody') assert.equal(final, 'read')
    }
  })
}

test('whole nodes under churn: right bytes, agreeing directories, no cell more than was taken; the same run again from the same seed', async (t) => {
  const options = { seed: '1', nodes: 8, hours: 0.6, publications: 8, readsPerHour: 4, disk }
  const one = await runWhole({ ...options, root: await folder() })
  t.diagnostic(
    `${one.figures.starts} starts, ${one.figures.published} published, ${one.figures.reads} reads, ${one.figures['loops built']} loops`,
  )
  assert.deepEqual(one.breaches, [])
  assert.ok(one.figures.published! >= 3 && one.figures['cells taken as a member']! > 10_000)
  assert.ok(one.figures['cells taken and not given on, part']! < 0.02)
  const again = await runWhole({ ...options, root: await folder() })
  assert.equal(again.digest, one.digest)
})

test('a seed decides a run of the store tier', async () => {
  const [one, again] = [await stores('same', 'anyone', 1), await stores('same', 'anyone', 1)]
  assert.deepEqual(
    again.objects.map(({ address, reads, spareUp }) => [address, reads, spareUp]),
    one.objects.map(({ address, reads, spareUp }) => [address, reads, spareUp]),
  )
  assert.deepEqual(again.figures, one.figures)
})

test('a change is at every node after a few round trips; a newcomer has the whole directory in a minute', () => {
  const { allMs, cellsPerChange } = flood(200, 'flood')
  assert.ok(allMs <= 500, `${allMs} ms`)
  assert.ok(cellsPerChange <= 9, `${cellsPerChange} cells`)
  const { joinMs, joinCells } = oneLink(town(300), 'link')
  assert.ok(joinMs <= 60_000 && joinCells < 600, `${joinMs} ms, ${joinCells} cells`)
})

test('who joins takes over its part of the shares and no more', () => {
  const { perJoin, firstPerJoin, fair } = movement(200, 'movement', 60)
  assert.ok(Math.abs(firstPerJoin * fair - 1) < 0.25, `${firstPerJoin * fair} of a fair part`)
  assert.ok(perJoin * fair < 1.6, `${perJoin * fair} of a fair part`)
})

test('sessions have the median that is asked for, and as many departures are for good', () => {
  const rng = new SeededRng('churn')
  const draws = Array.from({ length: 20_000 }, () => weibull(rng, 8 * HOUR_MS)).sort((a, b) => a - b)
  assert.ok(Math.abs(draws[10_000]! / (8 * HOUR_MS) - 1) < 0.05)
  for (const leavers of ['anyone', 'visitors'] as const) {
    const lives = livesOf({ ...DEFAULT_CHURN, leavers, nodes: 400 }, 30 * DAY_MS, new SeededRng(leavers))
    const within = lives.map(({ sessions, goneForGood }) => ({
      left: sessions.filter(({ untilMs }) => untilMs > 0 && untilMs < 30 * DAY_MS).length,
      goneForGood,
    }))
    const departures = within.reduce((sum, { left }) => sum + left, 0)
    const gone = within.filter(({ goneForGood, left }) => goneForGood && left > 0).length
    assert.ok(Math.abs(gone / departures - 0.25) < 0.03, `${leavers}: ${gone / departures}`)
  }
})
