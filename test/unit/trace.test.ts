/** Traces: what they keep, what they drop, and that the stage that failed or was slow is always named. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { explain, FAILED_MAX, STAGES_MAX, STAGES_OF_A_NAME_MAX, TRACES_MAX, Traces } from '../../client/trace/index.ts'
import { systemClock } from '../../src/runtime/index.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { seededRng } from '../support/seeded-rng.ts'

const tracesAt = () => {
  const clock = new FakeClock()
  return { clock, traces: new Traces({ clock, rng: seededRng(1) }) }
}

test('a trace tells its stages with their times, notes and loops', () => {
  const { clock, traces } = tracesAt()
  const trace = traces.begin()
  const end = trace.stage('root')
  clock.advanceNow(20)
  trace.mark('late', 'a holder is slow')
  clock.advanceNow(5)
  end({ note: 'found', loop: 7 })
  end({ note: 'twice' })
  trace.end(null)
  trace.end('TIMEOUT')
  const report = traces.report(trace.id)!
  assert.match(trace.id, /^[0-9a-f]{16}$/)
  assert.deepEqual([report.state, report.totalMs, report.code, report.dropped, report.slowest], ['done', 25, null, 0, 'root'])
  assert.deepEqual(report.stages, [
    { stage: 'root', atMs: 0, tookMs: 25, note: 'found', loop: 7, failed: false },
    { stage: 'late', atMs: 20, tookMs: null, note: 'a holder is slow', loop: null, failed: false },
  ])
  assert.deepEqual(report.failures, [])
  assert.match(explain(report) ?? '', /"root": 25 of 25 ms/)
})

test('what was not over when the work failed is named as where it failed', () => {
  const { clock, traces } = tracesAt()
  const trace = traces.begin()
  trace.stage('directory')({})
  trace.stage('loop')
  clock.advanceNow(15_000)
  trace.end('TIMEOUT')
  const report = traces.report(trace.id)!
  assert.deepEqual(report.failures, [{ stage: 'loop', atMs: 0, tookMs: 15_000, note: 'not over', loop: null, failed: true }])
  assert.equal(report.slowest, 'loop')
  assert.match(explain(report) ?? '', /failed at the stage "loop" after 15000 ms/)
})

test('a slow stage is named although sums of others took longer; a running one counts', () => {
  const { clock, traces } = tracesAt()
  const trace = traces.begin()
  const first = trace.stage('first-byte')
  clock.advanceNow(2)
  const share = trace.stage('share')
  clock.advanceNow(100)
  assert.equal(traces.report(trace.id)!.slowest, 'share')
  share()
  clock.advanceNow(500)
  first()
  assert.equal(traces.report(trace.id)!.slowest, 'share')
})

test('many stages of one name do not crowd out others; failures beyond the limit are still named', () => {
  const { traces } = tracesAt()
  const trace = traces.begin()
  for (let at = 0; at < 10_000; at++) {
    const end = trace.stage('share')
    end(at === 9_999 ? { failed: true, note: 'the last' } : {})
  }
  trace.stage('body')({ note: 'kept' })
  const report = traces.report(trace.id)!
  assert.equal(report.stages.length, STAGES_OF_A_NAME_MAX + 1)
  assert.equal(report.dropped, 10_000 - STAGES_OF_A_NAME_MAX)
  assert.equal(report.stages.at(-1)?.stage, 'body')
  assert.deepEqual(
    report.failures.map(({ note }) => note),
    ['the last'],
  )
})

test('a loop is noted once', () => {
  const { traces } = tracesAt()
  const trace = traces.begin()
  trace.stage('loop')({ loop: 3 })
  for (let at = 0; at < 100; at++) trace.mark('loop', 'again', { loop: 3 + (at % 2) })
  assert.deepEqual(
    traces.report(trace.id)!.stages.map(({ loop }) => loop),
    [3, 4],
  )
})

test('limits hold whatever is noted, and old traces go', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f', 'g'), fc.boolean(), fc.boolean()), { maxLength: 900 }),
      (steps) => {
        const { traces } = tracesAt()
        const trace = traces.begin()
        for (const [name, moment, failed] of steps) {
          if (moment) trace.mark(name, 'x', { failed })
          else trace.stage(name)({ failed })
        }
        const report = traces.report(trace.id)!
        assert.equal(report.stages.length + report.dropped, steps.length)
        assert.ok(report.stages.length <= STAGES_MAX && report.failures.length <= FAILED_MAX)
        assert.equal(report.failures.length, Math.min(FAILED_MAX, steps.filter(([, , failed]) => failed).length))
      },
    ),
  )
  const traces = new Traces({ clock: systemClock, rng: seededRng(2) })
  const first = traces.begin()
  for (let at = 0; at < TRACES_MAX; at++) traces.begin()
  assert.equal(traces.report(first.id), undefined)
})
