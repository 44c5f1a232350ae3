/** `GET /v1/events`: what is told, that listeners are bounded, and that one who does not read is cut. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { get, type IncomingMessage } from 'node:http'
import { connect } from 'node:net'
import { type TestContext, test } from 'node:test'
import { HEARTBEAT_MS, LISTENERS_MAX, LOOK_MS } from '../../client/api/events.ts'
import { type FaceServer, startApi } from '../../client/api/index.ts'
import { silentLog } from '../../src/log/index.ts'
import { type Clock, systemClock } from '../../src/runtime/index.ts'
import { FakeFace } from '../support/fake-face.ts'
import { ask, problem } from '../support/http.ts'

const token = 'e'.repeat(43)
const bearer = { Authorization: `Bearer ${token}` }

/** The system's clock, with the pauses of events shortened a hundredfold. */
const hastyClock: Clock = {
  ...systemClock,
  setTimer: (ms, fire) => systemClock.setTimer(ms === HEARTBEAT_MS || ms === LOOK_MS ? ms / 100 : ms, fire),
}

async function started(t: TestContext): Promise<{ readonly api: FaceServer; readonly face: FakeFace }> {
  const face = new FakeFace()
  const at = { host: '127.0.0.1', port: 0 }
  const api = await startApi({ face, clock: hastyClock, log: silentLog, at, token })
  t.after(() => api.close())
  return { api, face }
}

interface Listening {
  readonly response: IncomingMessage
  /** All text so far. */
  text(): string
  /** Waits until the text matches. */
  until(pattern: RegExp): Promise<string>
}

async function listen(api: FaceServer): Promise<Listening> {
  const request = get({ ...api.at, path: '/v1/events', headers: bearer, agent: false })
  const [response] = (await once(request, 'response')) as [IncomingMessage]
  assert.equal(response.statusCode, 200)
  assert.match(String(response.headers['content-type']), /^text\/event-stream/)
  response.on('error', () => {})
  let text = ''
  response.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk
  })
  const until = async (pattern: RegExp) => {
    while (!pattern.test(text)) {
      await once(response, 'data', { signal: AbortSignal.timeout(5_000) }).catch(() =>
        assert.fail(`${pattern} did not come: ${text}`),
      )
    }
    return text
  }
  return { response, text: () => text, until }
}

const send = (api: FaceServer, method: string, path: string, body: string) => ask(api.at, { method, path, body, headers: bearer })

test('the status first; then publications, transfers, sites, services, names, and what the node tells', async (t) => {
  const { api, face } = await started(t)
  const listener = await listen(api)
  await listener.until(/event: status\ndata: \{"ready":true,.*\}\n\n/)
  const published = await send(api, 'POST', '/v1/publish', 'hello')
  const { address } = JSON.parse(published.body.toString()) as { address: string }
  await listener.until(/event: publish\ndata: \{"id":1,"state":"running","bytes":5\}\n\n/)
  await listener.until(new RegExp(`event: publish\\ndata: \\{"id":1,"state":"done","bytes":5,"address":"${address}"\\}`))
  await ask(api.at, { path: `/v1/fetch/${address}`, headers: bearer })
  await listener.until(/event: transfer\ndata: \{"id":1,"trace":"[0-9a-f]{16}","state":"done","bytes":5\}/)
  await send(api, 'PUT', '/v1/names/home', JSON.stringify({ address }))
  await listener.until(/event: name\ndata: \{"name":"home",.*"state":"there"\}/)
  await send(api, 'DELETE', '/v1/names/home', '')
  await listener.until(/event: name\ndata: \{"name":"home","state":"removed"\}/)
  await face.services.add({ name: 'app', target: { host: '127.0.0.1', port: 1 } })
  await listener.until(/event: service\ndata: \{"name":"app",.*"state":"up"/)
  face.isReady = false
  await listener.until(/event: status\ndata: \{"ready":false/)
  face.emit({ type: 'a\nb', data: { text: 'line\nline' } })
  const text = await listener.until(/event: a_b\n/)
  for (const block of text.split('\n\n').slice(0, -1)) assert.match(block, /^(: [^\n]*|event: [\w-]+\ndata: \{[^\n]*\})$/)
  await listener.until(/: still here/)
  listener.response.destroy()
})

test('a publication that fails says why', async (t) => {
  const { api, face } = await started(t)
  const listener = await listen(api)
  face.failPublish = new Error('a fault')
  await send(api, 'POST', '/v1/publish', 'x')
  await listener.until(/event: publish\ndata: \{"id":1,"state":"failed","code":"INTERNAL"\}/)
  listener.response.destroy()
})

test('a listener that does not read is cut, the others are not', async (t) => {
  const { api, face } = await started(t)
  const good = await listen(api)
  const head = `GET /v1/events HTTP/1.1\r\nHost: 127.0.0.1:${api.at.port}\r\nAuthorization: Bearer ${token}\r\n\r\n`
  const bad = connect(api.at.port, api.at.host, () => bad.write(head))
  bad.pause()
  bad.on('error', () => {})
  await new Promise((resolve) => setTimeout(resolve, 50))
  const data = { text: 'x'.repeat(8_000) }
  // A socket's buffers take a few MiB before anything waits here.
  for (let round = 0; round < 1_500; round++) {
    face.emit({ type: 'flood', data })
    if (round % 3 === 0) await new Promise((resolve) => setImmediate(resolve))
  }
  const closed = once(bad, 'close', { signal: AbortSignal.timeout(5_000) })
  bad.resume()
  await closed
  face.emit({ type: 'after', data: {} })
  await good.until(/event: after/)
  good.response.destroy()
})

test('listeners are bounded; who leaves makes room; closing ends them all', async (t) => {
  const { api } = await started(t)
  const all = await Promise.all(Array.from({ length: LISTENERS_MAX }, () => listen(api)))
  const refused = await ask(api.at, { path: '/v1/events', headers: bearer })
  assert.deepEqual([refused.status, problem(refused).code], [429, 'API_RATE'])
  all[0]!.response.destroy()
  await new Promise((resolve) => setTimeout(resolve, 50))
  const again = await listen(api)
  const ended = once(again.response, 'end')
  const began = performance.now()
  await api.close()
  await ended
  assert.ok(performance.now() - began < 1_500)
})
