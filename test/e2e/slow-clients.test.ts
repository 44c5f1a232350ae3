/** Clients that mean harm by being slow: heads that never end, and more connections than there is room for. Slow by nature, so not a unit test. */
import assert from 'node:assert/strict'
import { connect, type Socket } from 'node:net'
import { after, before, test } from 'node:test'
import { type FaceServer, startApi } from '../../client/api/index.ts'
import { CONNECTIONS_MAX, HEADERS_TIMEOUT_MS } from '../../client/http/index.ts'
import { startProxy } from '../../client/proxy/index.ts'
import { silentLog } from '../../src/log/index.ts'
import { systemClock } from '../../src/runtime/index.ts'
import { FakeFace } from '../support/fake-face.ts'
import { ask, askRaw } from '../support/http.ts'
import { eventually } from '../support/processes.ts'

let faces: readonly FaceServer[] = []
before(async () => {
  const parts = { face: new FakeFace(), clock: systemClock, log: silentLog, at: { host: '127.0.0.1', port: 0 } }
  faces = [await startApi({ ...parts, token: 'A'.repeat(43) }), await startProxy(parts)]
})
after(async () => {
  for (const face of faces) await face.close()
})

test('a head that never ends gets 408 and the end of its connection, in bounded time', { timeout: 30_000 }, async () => {
  const began = systemClock.monotonicMs()
  const answers = await Promise.all(
    faces.map((face) => askRaw(face.at, 'GET http://x.gyre/ HTTP/1.1\r\nHost: x', 2 * HEADERS_TIMEOUT_MS)),
  )
  for (const answer of answers) assert.match(answer, /^HTTP\/1\.1 408/)
  assert.ok(systemClock.monotonicMs() - began < 1.5 * HEADERS_TIMEOUT_MS)
})

test('connections beyond the limit are closed at once, and the server works again when they are gone', {
  timeout: 30_000,
}, async () => {
  for (const { at } of faces) {
    const sockets: Socket[] = []
    let refused = 0
    for (let count = 0; count < CONNECTIONS_MAX + 20; count++) {
      const socket = connect(at.port, at.host)
      socket.on('error', () => {}).on('close', () => refused++)
      sockets.push(socket)
    }
    await eventually('the surplus is closed', () => refused >= 20)
    assert.equal(refused, 20)
    for (const socket of sockets) socket.destroy()
    await eventually('it answers again', async () => (await ask(at, { path: '/v1/health' }).catch(() => null)) !== null)
  }
})
