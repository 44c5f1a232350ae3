/** The log writes what is on its list, in harmless types, and nothing else whatever it is given. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { OverlayError } from '../../src/errors/index.ts'
import { createLog, type LogFields, silentLog } from '../../src/log/index.ts'

function recorder() {
  const lines: Record<string, unknown>[] = []
  return { lines, write: (line: string) => lines.push(JSON.parse(line) as Record<string, unknown>) }
}

test('a line has level, time, component, text and listed fields', () => {
  const sink = recorder()
  createLog('debug', sink).child('link').warn('a link ended', { reason: 'timeout', count: 3 })
  const { time, ...rest } = sink.lines[0]!
  assert.equal(typeof time, 'string')
  assert.deepEqual(rest, { level: 'warn', component: 'link', reason: 'timeout', count: 3, msg: 'a link ended' })
})

test('what is not on the list never reaches the output', () => {
  const sink = recorder()
  const secret = 'c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA'
  const hostile = {
    key: secret,
    count: secret,
    reason: `${secret} ${secret}`,
    error: Object.assign(new Error(secret), { peer: secret, code: `${secret}/${secret}` }),
    token: { toJSON: () => secret },
    version: '/ip4/192.0.2.7/tcp/9740',
  } as unknown as LogFields
  createLog('debug', sink).child(`${secret}@${secret}`).error('a fault', hostile)
  assert.doesNotMatch(JSON.stringify(sink.lines), /c2VjcmV0|192\.0\.2/)
})

test('an error is its kind and code', () => {
  const sink = recorder()
  createLog('info', sink).error('x', { error: new OverlayError('timeout', 'TIMEOUT', 'asked 192.0.2.7') })
  assert.equal(sink.lines[0]!.kind, 'timeout')
  assert.equal(sink.lines[0]!.code, 'TIMEOUT')
  assert.doesNotMatch(JSON.stringify(sink.lines), /192\.0/)
})

test('levels below the set one are silent, and the silent log is', () => {
  const sink = recorder()
  createLog('error', sink).info('x')
  silentLog.child('x').error('x')
  assert.equal(sink.lines.length, 0)
})
