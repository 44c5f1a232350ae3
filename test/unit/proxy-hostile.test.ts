/** Requests that try to get out: each gets its refusal, and causes neither a DNS query nor a socket but to configured targets (DESIGN P11). */
import assert from 'node:assert/strict'
import { lookup } from 'node:dns'
import { createServer } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { after, before, test } from 'node:test'
import { connect as connectTls } from 'node:tls'
import { type FaceServer, startApi } from '../../client/api/index.ts'
import { type ProxyServer, startProxy, startSocks } from '../../client/proxy/index.ts'
import { formatKeyAddress } from '../../src/content/address.ts'
import { silentLog } from '../../src/log/index.ts'
import { systemClock } from '../../src/runtime/index.ts'
import { FakeFace } from '../support/fake-face.ts'
import { FakeLive } from '../support/fake-live.ts'
import { answerCodes, hostileRequests } from '../support/hostile-requests.ts'
import { askRaw } from '../support/http.ts'
import { watchOutward } from '../support/outward.ts'

const LIVE = formatKeyAddress(new Uint8Array(32).fill(3))
const face = new FakeFace()
/** Requests that the live service saw. */
const reached: string[] = []
const target = createServer((request, response) => {
  reached.push(`${request.method} ${request.url} ${request.headers.host}`)
  request.resume()
  response.end('ok')
})
const token = 'h'.repeat(43)
let proxy: ProxyServer
let socks: FaceServer
let api: FaceServer

before(async () => {
  await new Promise<void>((resolve) => target.listen(0, '127.0.0.1', resolve))
  face.keys.set(LIVE, { kind: 'key', live: new FakeLive({ 80: (target.address() as AddressInfo).port }), site: null })
  const parts = { clock: systemClock, log: silentLog, at: { host: '127.0.0.1', port: 0 } }
  proxy = await startProxy({ ...parts, face })
  socks = await startSocks({ ...parts, gate: proxy.gate })
  api = await startApi({ ...parts, face, token })
})
after(async () => {
  await api.close()
  await socks.close()
  await proxy.close()
  target.closeAllConnections()
  target.close()
})

test('the watch sees look-ups and connections, and nothing once it is undone', async () => {
  const calls: string[] = []
  const undo = watchOutward((call) => calls.push(call))
  const { port } = proxy.at
  const sockets = [connect(port, '127.0.0.1'), connectTls({ host: '127.0.0.1', port }), connect({ path: '/nowhere/at/all' })]
  for (const socket of sockets) socket.on('error', () => {})
  await new Promise<void>((resolve) => lookup('localhost', () => resolve()))
  await new Promise<void>((resolve) => lookup('127.0.0.1', () => resolve())) // no query
  undo()
  for (const socket of sockets) socket.destroy()
  connect(port, '127.0.0.1').destroy()
  assert.deepEqual(calls, [`tcp 127.0.0.1:${port}`, `tcp 127.0.0.1:${port}`, 'unix /nowhere/at/all', 'dns localhost'])
})

test('no hostile request leaves this machine, and each is answered as it should be', { timeout: 120_000 }, async () => {
  const body = (async function* () {
    yield Buffer.from('<p>hello')
  })()
  const { address } = await face.publish(body, { contentType: 'text/html', signal: new AbortController().signal })
  const list = hostileRequests(address, LIVE, { host: `127.0.0.1:${api.at.port}`, token })
  assert.ok(list.length >= 100, `${list.length} requests`)
  const calls: string[] = []
  const wrong: string[] = []
  const own = new Set(
    [proxy.at.port, socks.at.port, api.at.port, (target.address() as AddressInfo).port].map((port) => `tcp 127.0.0.1:${port}`),
  )
  const faces = { proxy, socks, api }
  const undo = watchOutward((call) => {
    if (!own.has(call)) calls.push(call)
  })
  try {
    for (const { name, to, bytes, answers } of list) {
      const answer = await askRaw(faces[to].at, Buffer.from(bytes, 'latin1'), 1_500)
      const codes = answerCodes(to, answer)
      assert.deepEqual(calls, [], name)
      const wanted = codes.length === 1 && answers.length > 1 ? answers.includes(codes[0]!) : String(codes) === String(answers)
      if (!wanted) wrong.push(`${name}: got ${codes}, not ${answers}: ${JSON.stringify(answer.slice(0, 100))}`)
      if (to !== 'api') assert.doesNotMatch(answer, /evil|93\.184/, `${name}: nothing of a request is echoed`)
    }
  } finally {
    undo()
  }
  assert.deepEqual(wrong, [])
  assert.deepEqual(
    reached.filter((line) => !line.startsWith('POST / ')),
    [],
    'nothing hidden in another request got through',
  )
  assert.match(
    await askRaw(proxy.at, `GET http://${LIVE}.gyre/ HTTP/1.1\r\nHost: ${LIVE}.gyre\r\nConnection: close\r\n\r\n`),
    /^HTTP\/1\.1 200 /,
  )
})
