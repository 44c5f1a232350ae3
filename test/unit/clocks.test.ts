/** What a clock means for a node's parts (`client/clocks.ts`): plans, costs, warnings, and requests with a clock of their own. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  ClockedLoops,
  ClockedSessions,
  capacityClassOf,
  clockWarnings,
  holdFor,
  isolationUnder,
  pacedPlanOf,
  type Sessions,
  scheduledBytesPerHour,
} from '../../client/clocks.ts'
import { Lease, type Taking } from '../../client/loops/lease.ts'
import type { OriginLoop } from '../../client/loops/origin-loop.ts'
import type { PacedLoop } from '../../client/loops/paced-loop.ts'
import type { ShareSession } from '../../client/shares.ts'
import { type NodeId, nodeIdOf } from '../../src/bytes/index.ts'
import { RATE_LADDER } from '../../src/circuit/setup/index.ts'
import { COVERS, defaultConfig } from '../../src/config/index.ts'
import { isOverlayError } from '../../src/errors/index.ts'

const node = nodeIdOf(new Uint8Array(32).fill(1))

test('plans: swift has none; an idle node of cover medium costs 1.2 Mbit/s each way, of high twice that; fixed has its own rate', () => {
  assert.equal(pacedPlanOf(defaultConfig({ dataDir: '/', clock: 'swift' })), null)
  const costs = COVERS.map((cover) => {
    const plan = pacedPlanOf(defaultConfig({ dataDir: '/', clock: 'steady', cover }))!
    const { rate, phases } = plan.loops.standing
    assert.equal(RATE_LADDER[rate], 8)
    assert.ok(plan.loops.extra?.rates.every((at) => RATE_LADDER[at] !== undefined))
    // Its own loops, and as many of each of five others' as pass here; eight links.
    return (8 * scheduledBytesPerHour(6 * phases.length * RATE_LADDER[rate]!, plan, 8)) / 3600 / 1e6
  })
  const [low, medium, high] = costs as [number, number, number]
  assert.ok(low < 1.1 && medium <= 1.2 && high <= 2.4 && high >= 1.9 * medium, costs.join())
  const fixed = pacedPlanOf(defaultConfig({ dataDir: '/', clock: 'fixed', fixedLoops: 5, fixedRate: 512 }))!
  assert.equal(fixed.loops.extra, null)
  assert.deepEqual(fixed.loops.standing, { rate: 3, phases: [0, 1, 0, 1, 0] })
})

test('a line’s bandwidth bounds the extra loops: sixteen of the lowest rate fit, the highest is no more than it carries', () => {
  const ratesAt = (bandwidth: number) => {
    const { loops, exchangeRate } = pacedPlanOf(defaultConfig({ dataDir: '/', clock: 'steady', cover: 'high', bandwidth }))!
    const rates = loops.extra!.rates.map((at) => RATE_LADDER[at]!)
    assert.equal(exchangeRate, rates[0])
    assert.ok(rates.at(-1)! <= loops.extra!.cellsMax! && loops.extra!.cellsMax! * 2070 * 8 <= 0.7 * bandwidth)
    return rates
  }
  assert.deepEqual(ratesAt(200e6), [512, 2_048, 8_192])
  assert.deepEqual(ratesAt(1e9), [512, 2_048, 8_192])
  assert.deepEqual(ratesAt(50e6), [128, 512, 2_048])
  assert.deepEqual(ratesAt(24e6), [32, 128, 512])
  assert.deepEqual(ratesAt(2e6), [8, 32])
  assert.deepEqual(
    [2e6, 4e6, 15e6, 16e6, 200e6, 1e9, 100e9].map((bits) => capacityClassOf(bits)),
    [0, 1, 1, 2, 3, 4, 7],
  )
})

test('the hold follows from how long loops are, unless it is configured', () => {
  const holds = Array.from({ length: 9 }, (_, at) => holdFor(3 + at))
  assert.deepEqual(holds, [75, 75, 70, 58, 49, 42, 37, 32, 28])
  const plan = pacedPlanOf(defaultConfig({ dataDir: '/', clock: 'steady' }))!
  assert.equal(plan.holdMs(5), 70)
  const own = pacedPlanOf(defaultConfig({ dataDir: '/', clock: 'steady', holdMs: 200 }))!
  assert.equal(own.holdMs(5), 200)
})

test('a clock of one’s own: swift where the node’s is paced, and nothing else', () => {
  assert.equal(isolationUnder('swift', undefined, 'a'), 'a')
  assert.equal(isolationUnder('steady', 'steady', 'a'), 'a')
  const swift = isolationUnder('steady', 'swift', 'a')
  assert.notEqual(swift, 'a')
  assert.notEqual(swift, isolationUnder('steady', 'swift', 'b'))
  for (const [own, wanted] of [
    ['swift', 'steady'],
    ['swift', 'fixed'],
    ['steady', 'fixed'],
    ['fixed', 'steady'],
  ] as const) {
    assert.throws(
      () => isolationUnder(own, wanted),
      (error) => isOverlayError(error, 'CLOCK_REFUSED'),
    )
  }
})

test('work goes to the loops and sessions of its clock, and loops go back to where they came from', async () => {
  const calls: string[] = []
  const lease = new Lease({} as PacedLoop, node, 1)
  const loop = {} as OriginLoop
  const source = <L>(name: string, given: L) => ({
    takesPerAsk: true,
    async take(_: NodeId, { isolation }: Taking) {
      calls.push(`${name} takes ${isolation?.length}`)
      return given
    },
    async takeHome({ isolation }: Taking) {
      calls.push(`${name} takes home ${isolation?.length}`)
      return given
    },
    release: () => void calls.push(`${name} releases`),
  })
  const loops = new ClockedLoops(source('paced', lease), source('swift', loop))
  const taking = (isolation: string) => ({ signal: new AbortController().signal, isolation })
  loops.release(await loops.take(node, taking('a')))
  loops.release(await loops.take(node, taking(isolationUnder('steady', 'swift', 'a'))))
  assert.deepEqual(calls.splice(0), ['paced takes 1', 'paced releases', 'swift takes 8', 'swift releases'])
  loops.release(await loops.takeHome(taking('a')))
  loops.release(await loops.takeHome(taking(isolationUnder('steady', 'swift', 'a'))))
  assert.deepEqual(calls, ['paced takes home 1', 'paced releases', 'swift takes home 8', 'swift releases'])
  const session = (name: string) => ({ name }) as unknown as ShareSession
  const sessionsOf = (name: string): Sessions => ({ fresh: () => session(name), named: () => session(name), close: () => {} })
  const sessions = new ClockedSessions(sessionsOf('paced'), sessionsOf('swift'))
  assert.deepEqual(
    [sessions.fresh(), sessions.named('x', 'a'), sessions.fresh(isolationUnder('fixed', 'swift'))],
    [session('paced'), session('paced'), session('swift')],
  )
})

test('warnings say what the clock does not hide, and what waits', () => {
  const quiet = { backlog: { asks: 0, seconds: 0 } }
  assert.match(clockWarnings('swift', 100, null, 9).join(), /swift/)
  assert.deepEqual(clockWarnings('steady', 100, quiet, 0), [])
  assert.match(clockWarnings('steady', 19, quiet, 0).join(), /only 19 nodes/)
  assert.match(clockWarnings('steady', 100, quiet, 1).join(), /swift/)
  assert.match(clockWarnings('fixed', 100, { backlog: { asks: 7, seconds: 41.2 } }, 0).join(), /7, for about 42 s/)
})
