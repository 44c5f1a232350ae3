/** Two threads of a process read one clock: what one of them says of a moment is enough for the other. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { Worker } from 'node:worker_threads'
import { clockMoment, systemClock } from '../../src/runtime/index.ts'

test('a thread that is told a moment has the same time as who told it', { timeout: 20_000 }, async () => {
  const program = `
    const { workerData, parentPort } = require('node:worker_threads')
    import(workerData.module).then(({ clockOf }) => {
      const clock = clockOf(workerData.moment)
      parentPort.on('message', () => parentPort.postMessage(clock.monotonicMs()))
      parentPort.postMessage('ready')
    })`
  const module = new URL('../../src/runtime/index.ts', import.meta.url).href
  const worker = new Worker(program, { eval: true, workerData: { module, moment: clockMoment() } })
  try {
    await once(worker, 'message')
    for (let left = 20; left > 0; left--) {
      const answer = once(worker, 'message')
      const before = systemClock.monotonicMs()
      worker.postMessage(null)
      const [there] = (await answer) as [number]
      const after = systemClock.monotonicMs()
      assert.ok(there > before - 1 && there < after + 1, `${before} ${there} ${after}`)
    }
  } finally {
    await worker.terminate()
  }
})
