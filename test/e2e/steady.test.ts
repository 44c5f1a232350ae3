/**
 * A network whose clock is steady, as its users have it: real processes that become ready, a file published at one node and fetched at another,
 * a page of a site through the proxy, a request that asks for swift loops, and a live service. Cover high, since with the others loops begin later.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { after, before, test } from 'node:test'
import { getJson } from '../../client/cli/api-client.ts'
import type { LoopStatus, NodeStatus, Publication, ServiceStatus, SitePublication } from '../../client/library.ts'
import { apiOf, startTestnet, type Testnet, type TestnetNode } from '../../client/testnet/index.ts'
import { parseHostPort } from '../../src/config/index.ts'
import { systemClock } from '../../src/runtime/index.ts'
import { connectThrough } from '../support/connect.ts'
import { ask } from '../support/http.ts'
import { eventually, lives } from '../support/processes.ts'
import { seededRng } from '../support/seeded-rng.ts'
import { tarOf } from '../support/tar-maker.ts'

const NODES = 6
/** What five other members are given by default. */
const HOLD_MS = 70
const { signal } = new AbortController()
const lines: string[] = []
const content = seededRng('steady').bytes(150_000)
const block = Buffer.from(seededRng('steady service').bytes(2 ** 20))
let testnet: Testnet
let publisher: TestnetNode
let reader: TestnetNode
let address = ''

before(async () => {
  const began = systemClock.monotonicMs()
  testnet = await startTestnet({
    nodes: NODES,
    clock: 'steady',
    signal,
    flags: ['--cover', 'high'],
    onLine: (index, line) => lines.push(`${index}: ${line}`),
  })
  console.log(`${NODES} nodes with the clock steady ready after ${Math.round(systemClock.monotonicMs() - began)} ms`)
  publisher = testnet.node(0)
  reader = testnet.node(NODES - 1)
})
after(async () => {
  const pids = testnet?.nodes.map(({ pid }) => pid) ?? []
  await testnet?.close()
  assert.ok(!pids.some(lives), 'a process is left')
  if (lines.length > 0) console.log(lines.slice(-20).join('\n'))
})

const api = (node: TestnetNode) => parseHostPort(node.api.slice('http://'.length))
const own = (node: TestnetNode) => ({ Authorization: `Bearer ${node.token}` })
const LIMIT = { timeout: 240_000 }

test('status says what the clock is, does and costs, and whom it hides among', LIMIT, async () => {
  const { clock, paced, loopsReady, warnings } = await getJson<NodeStatus>(apiOf(reader), '/v1/status', signal)
  assert.equal(clock, 'steady')
  assert.ok(paced !== undefined && loopsReady > 0)
  assert.deepEqual([paced.cover, paced.holdMs, paced.hiddenAmong], ['high', HOLD_MS, NODES])
  assert.ok(paced.loops >= 1 && paced.cellsPerSecond >= 8 && paced.bytesPerHour > 3600 * 2070 * paced.cellsPerSecond)
  assert.match(warnings.join(), /only 6 nodes/)
  const { loops } = await getJson<{ loops: readonly LoopStatus[] }>(apiOf(reader), '/v1/loops', signal)
  assert.ok(loops.length > 0 && loops.every((loop) => loop.clock === 'steady'))
})

test('a file is published and fetched, equal', LIMIT, async () => {
  const began = systemClock.monotonicMs()
  const body = Buffer.from(content)
  const published = await ask(api(publisher), { method: 'POST', path: '/v1/publish?keep=false', headers: own(publisher), body })
  assert.equal(published.status, 201, published.body.toString())
  address = (JSON.parse(published.body.toString()) as Publication).address
  const publishMs = systemClock.monotonicMs() - began
  const fetched = await ask(api(reader), { path: `/v1/fetch/${address}`, headers: own(reader) })
  assert.equal(fetched.status, 200)
  assert.deepEqual(fetched.body, body)
  const ms = systemClock.monotonicMs() - began
  console.log(`${content.length} bytes: published in ${Math.round(publishMs)} ms, fetched in ${Math.round(ms - publishMs)} ms`)
})

test('a page of a site comes through the proxy', LIMIT, async () => {
  const page = '<!doctype html><title>steady</title><p>Slowly, and for all alike.'
  const body = await tarOf([{ name: 'index.html', content: page }])
  const headers = { ...own(publisher), 'Content-Type': 'application/x-tar' }
  const made = await ask(api(publisher), { method: 'POST', path: '/v1/sites?key=steady', headers, body })
  assert.equal(made.status, 201, made.body.toString())
  const host = `${(JSON.parse(made.body.toString()) as SitePublication).address}.gyre`
  const at = parseHostPort(reader.proxy.slice('http://'.length))
  const got = await ask(at, { path: `http://${host}/`, headers: { Host: host } })
  assert.equal(got.status, 200, got.body.toString())
  assert.equal(got.body.toString(), page)
})

test('one request may be swift, with loops of its own and a warning; a node has no other clock than these', LIMIT, async () => {
  const swift = await ask(api(reader), { path: `/v1/fetch/${address}`, headers: { ...own(reader), 'Gyre-Clock': 'swift' } })
  assert.equal(swift.status, 200)
  assert.deepEqual(swift.body, Buffer.from(content))
  const { paced, warnings } = await getJson<NodeStatus>(apiOf(reader), '/v1/status', signal)
  assert.ok(paced !== undefined && paced.swiftLoops > 0)
  assert.match(warnings.join(), /asked for the clock swift/)
  const fixed = await ask(api(reader), { path: `/v1/fetch/${address}`, headers: { ...own(reader), 'Gyre-Clock': 'fixed' } })
  assert.equal(fixed.status, 400)
  assert.match(fixed.body.toString(), /CLOCK_REFUSED/)
})

/** `get N`: N bytes and a half-close; anything else: echo. */
function serve(socket: Socket): void {
  socket.on('error', () => {})
  socket.once('data', (first: Buffer) => {
    const line = first.toString('latin1')
    if (line.startsWith('get ')) return void socket.end(block.subarray(0, Number(line.slice(4))))
    socket.write(first)
    socket.pipe(socket)
  })
}

test(
  'a live service is up, on loops that stand for it, and used from another node: an echo, 1 MiB down, several at once',
  LIMIT,
  async () => {
    const server = createServer({ allowHalfOpen: true }, serve)
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const target = `127.0.0.1:${(server.address() as AddressInfo).port}`
    const headers = { ...own(publisher), 'Content-Type': 'application/json' }
    const wish = Buffer.from(JSON.stringify({ name: 'shop', target, loops: 3 }))
    const began = systemClock.monotonicMs()
    const seconds = () => `${((systemClock.monotonicMs() - began) / 1000).toFixed(1)} s`
    const added = await ask(api(publisher), { method: 'POST', path: '/v1/services', headers, body: wish })
    assert.equal(added.status, 201, added.body.toString())
    const host = `${(JSON.parse(added.body.toString()) as { address: string }).address}.gyre`
    const status = () => getJson<ServiceStatus>(apiOf(publisher), '/v1/services/shop', signal)
    await eventually('it is up', async () => (await status()).state === 'up', 90_000)
    console.log(`a live service is up after ${seconds()}`)
    const { carried } = await status()
    assert.deepEqual([carried?.loops, carried?.rate, carried?.sessionsMax], [3, 128, 48])
    assert.equal(carried?.bytesPerHour, 3 * 128 * 3600 * 2070)
    const echo = async (isolation: string) => {
      const socket = await connectThrough(reader, host, 80, isolation)
      socket.end('hello')
      const parts: Buffer[] = []
      for await (const part of socket) parts.push(part as Buffer)
      assert.equal(Buffer.concat(parts).toString(), 'hello')
    }
    await echo('one')
    console.log(`the first echo came after ${seconds()}`)
    await echo('one')
    console.log(`the next after ${seconds()}`)
    const socket = await connectThrough(reader, host, 80, 'one')
    socket.write(`get ${block.length}\n`)
    const parts: Buffer[] = []
    for await (const part of socket) parts.push(part as Buffer)
    assert.ok(Buffer.concat(parts).equals(block))
    console.log(`1 MiB after ${seconds()}`)
    await Promise.all(['two', 'three'].map(echo))
    console.log(`two more users after ${seconds()}`)
    const after = await status()
    assert.ok(after.sessions >= 3)
    // Where a round begins, a loop and its successor are there for a moment.
    assert.ok(after.carried?.loops === 3 && after.carried.cellsPerSecond <= 2 * 384, 'no loop came for what was asked')
    server.close()
  },
)
