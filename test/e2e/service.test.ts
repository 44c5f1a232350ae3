/**
 * A live service as its users have it: eight real processes, a TCP target behind node 0, reached from node 7 through its proxy. Many
 * connections at once, whole bytes both ways, half-close; then nodes are killed: an introduction point, others on the way, the service's own.
 */
import assert from 'node:assert/strict'
import { createHash, type Hash } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { call, getJson, parseJson, readText } from '../../client/cli/api-client.ts'
import type { ServiceStatus } from '../../client/library.ts'
import { apiOf, startTestnet, type Testnet, type TestnetNode } from '../../client/testnet/index.ts'
import { systemClock } from '../../src/runtime/index.ts'
import { connectThrough } from '../support/connect.ts'
import { E2E_CLOCK, patience, recovery } from '../support/e2e-clock.ts'
import { eventually, lives } from '../support/processes.ts'
import { seededRng } from '../support/seeded-rng.ts'
import { watched } from '../support/transfers.ts'

const MiB = 2 ** 20
const LARGE_BYTES = 100 * MiB
/** Of a test in which nodes are killed. */
const LOSS_LIMIT = E2E_CLOCK === 'swift' ? 120_000 : 1_500_000
const { signal } = new AbortController()
const block = Buffer.from(seededRng('service content').bytes(MiB))
const lines: string[] = []
let testnet: Testnet
let owner: TestnetNode
let user: TestnetNode
let server: Server
let targetPort = 0
let address = ''
/** Connections that the target has had. */
let served = 0

/** `get N`: N bytes and a half-close; `put`: the hash of all until the client's half-close; anything else: echo. */
function serve(socket: Socket): void {
  served++
  socket.on('error', () => {})
  socket.once('data', (first: Buffer) => {
    const line = first.toString('latin1')
    if (line.startsWith('get ')) return void send(socket, Number(line.slice(4)))
    if (line !== 'put\n') {
      socket.write(first)
      socket.pipe(socket)
      return
    }
    const hash = createHash('sha256')
    socket.write('go\n')
    socket.on('data', (part: Buffer) => hash.update(part))
    socket.on('end', () => socket.end(hash.digest('hex')))
  })
}

async function send(socket: Socket, bytes: number, hash?: Hash): Promise<void> {
  for (let at = 0; at < bytes; at += block.length) {
    const part = Buffer.from(block.subarray(0, Math.min(block.length, bytes - at)))
    part.writeUInt32LE(at)
    hash?.update(part)
    if (!socket.write(part)) await once(socket, 'drain')
  }
  socket.end()
}

function hashOfContent(bytes: number): string {
  const hash = createHash('sha256')
  for (let at = 0; at < bytes; at += block.length) {
    const part = Buffer.from(block.subarray(0, Math.min(block.length, bytes - at)))
    part.writeUInt32LE(at)
    hash.update(part)
  }
  return hash.digest('hex')
}

before(async () => {
  server = createServer({ allowHalfOpen: true }, serve)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  targetPort = (server.address() as AddressInfo).port
  const onLine = (index: number, line: string) => lines.push(`node ${index}: ${line}`)
  const onDeath = (index: number, how: string) => lines.push(`node ${index} died: ${how}`)
  testnet = await startTestnet({ nodes: 8, clock: E2E_CLOCK, signal, onLine, onDeath })
  owner = testnet.node(0)
  user = testnet.node(7)
})
after(async () => {
  const pids = testnet?.nodes.map(({ pid }) => pid) ?? []
  await testnet?.close()
  server.close()
  assert.ok(!pids.some(lives), 'a process is left')
  if (lines.length > 0) console.log(lines.slice(-40).join('\n'))
})

function status(): Promise<ServiceStatus> {
  return getJson<ServiceStatus>(apiOf(owner), '/v1/services/web', signal)
}

/** Asks for an echo on a new connection of `isolation`, and says how long it took. */
async function echo(isolation: string, text = 'hello'): Promise<number> {
  const began = systemClock.monotonicMs()
  const socket = await connectThrough(user, `${address}.gyre`, 80, isolation)
  socket.end(text)
  const parts: Buffer[] = []
  for await (const part of socket) parts.push(part as Buffer)
  assert.equal(Buffer.concat(parts).toString(), text)
  return systemClock.monotonicMs() - began
}

/** An echo as soon as there is one, within `ms` from now. */
async function echoWithin(ms: number, isolation: string): Promise<number> {
  const began = systemClock.monotonicMs()
  for (;;) {
    try {
      await echo(isolation)
      return systemClock.monotonicMs() - began
    } catch (error) {
      if (systemClock.monotonicMs() - began > ms) throw error
      await systemClock.sleep(100, { signal })
    }
  }
}

test('a service is added over the API, and is up', { timeout: patience(60_000) }, async () => {
  const body = Buffer.from(JSON.stringify({ name: 'web', target: `127.0.0.1:${targetPort}`, port: 80 }))
  const headers = { 'Content-Type': 'application/json', 'Content-Length': body.length }
  const response = await call(apiOf(owner), {
    method: 'POST',
    path: '/v1/services',
    headers,
    signal,
    send: (sent) => sent.end(body),
  })
  const text = await readText(response, signal)
  assert.equal(response.statusCode, 201, text)
  address = (parseJson(text) as { address: string }).address
  assert.match(address, /^[a-z2-7]{56}$/)
  await eventually('it is up', async () => (await status()).state === 'up', patience(15_000))
  assert.equal((await status()).introductionPoints, 3)
})

test('a first connection and a next one', { timeout: patience(60_000) }, async () => {
  console.log(`first: ${Math.round(await echo('one'))} ms, next: ${Math.round(await echo('one'))} ms`)
})

test('100 connections at once, each with its own bytes', { timeout: patience(120_000) }, async () => {
  const began = systemClock.monotonicMs()
  const before = served
  await Promise.all(Array.from({ length: 100 }, (_, at) => echo('many', `number ${at} `.repeat(1 + at))))
  console.log(`100 connections: ${Math.round(systemClock.monotonicMs() - began)} ms`)
  assert.equal(served - before, 100)
})

test('100 MiB down with an equal hash', { timeout: patience(300_000) }, async () => {
  const socket = await connectThrough(user, `${address}.gyre`, 80, 'one')
  const began = systemClock.monotonicMs()
  socket.write(`get ${LARGE_BYTES}\n`)
  const hash = createHash('sha256')
  for await (const part of socket) hash.update(part as Buffer)
  const ms = systemClock.monotonicMs() - began
  console.log(`down: ${(LARGE_BYTES / 1e3 / ms).toFixed(1)} MB/s`)
  assert.equal(hash.digest('hex'), hashOfContent(LARGE_BYTES))
})

test('100 MiB up with an equal hash, answered after the half-close', { timeout: patience(300_000) }, async () => {
  const socket = await connectThrough(user, `${address}.gyre`, 80, 'one')
  const began = systemClock.monotonicMs()
  socket.write('put\n')
  assert.equal(((await once(socket, 'data')) as [Buffer])[0].toString(), 'go\n')
  const hash = createHash('sha256')
  const answered = once(socket, 'data')
  await send(socket, LARGE_BYTES, hash)
  const [answer] = (await answered) as [Buffer]
  console.log(`up: ${(LARGE_BYTES / 1e3 / (systemClock.monotonicMs() - began)).toFixed(1)} MB/s`)
  assert.equal(answer.toString(), hash.digest('hex'))
})

test('an introduction point is killed: new users reach the service within 5 s', { timeout: LOSS_LIMIT }, async () => {
  const points = pointsIn(readFileSync(join(owner.dataDir, 'keys', 'web.service')))
  assert.equal(points.length, 3)
  // The host may be a point of its own: that one is not to be killed here.
  const point = testnet.nodes.find(({ id, index }) => points.includes(id) && index !== 0 && index !== 7)
  assert.ok(point !== undefined)
  await testnet.stop(point.index, true)
  for (let at = 0; at < 6; at++) {
    const ms = await echoWithin(recovery(5_000), `after the point ${at}`)
    console.log(`new user after the introduction point was killed: ${Math.round(ms)} ms`)
    assert.ok(ms <= recovery(5_000), `${ms} ms`)
  }
})

test('another node is killed while sessions use it: each of them works again within 5 s', {
  timeout: LOSS_LIMIT,
}, async () => {
  const users = Array.from({ length: 8 }, (_, at) => `session ${at}`)
  for (const each of users) await echo(each)
  const other = testnet.nodes.find(({ index, pid }) => index !== 0 && index !== 7 && lives(pid))
  assert.ok(other !== undefined)
  await testnet.stop(other.index, true)
  const times = await Promise.all(users.map((each) => echoWithin(recovery(5_000), each)))
  console.log(`sessions after another node was killed: ${times.map((ms) => Math.round(ms)).join(', ')} ms`)
  for (const ms of times) assert.ok(ms <= recovery(5_000), `${ms} ms`)
})

test('a download stands still for less than 5 s when a node dies in it, and is whole', {
  timeout: LOSS_LIMIT,
}, async () => {
  const socket = await connectThrough(user, `${address}.gyre`, 80, 'one')
  const began = systemClock.monotonicMs()
  const bytesPerSec = E2E_CLOCK === 'swift' ? 4 * MiB : MiB / 16
  const bytes = 12 * bytesPerSec
  socket.write(`get ${bytes}\n`)
  const other = testnet.nodes.find(({ index, pid }) => index !== 0 && index !== 7 && lives(pid))
  assert.ok(other !== undefined)
  const dying = systemClock.sleep(3_000, { signal }).then(() => testnet.stop(other.index, true))
  const { hash, stallMs } = await watched(socket, began, bytesPerSec)
  await dying
  console.log(`a node died: the download stood still for ${Math.round(stallMs)} ms at most`)
  assert.equal(hash, hashOfContent(bytes))
  assert.ok(stallMs < recovery(5_000), `${stallMs} ms`)
})

test("the service's node is killed and started again: reachable within 15 s at the same address", {
  timeout: LOSS_LIMIT,
}, async () => {
  await testnet.stop(0, true)
  const began = systemClock.monotonicMs()
  owner = await testnet.start(0, user.listen)
  await echoWithin(recovery(15_000), 'one')
  const ms = systemClock.monotonicMs() - began
  console.log(`reachable ${Math.round(ms)} ms after the start`)
  assert.ok(ms <= recovery(15_000), `${ms} ms`)
  assert.equal((await status()).address, address)
  await echoWithin(recovery(5_000), 'somebody new')
})

test('removed: nobody reaches it; its key stays', { timeout: LOSS_LIMIT }, async () => {
  const response = await call(apiOf(owner), { method: 'DELETE', path: '/v1/services/web', signal })
  assert.equal(response.statusCode, 204)
  response.resume()
  await assert.rejects(echo('after all'))
  assert.ok(existsSync(join(owner.dataDir, 'keys', 'web')))
})

/** Ids of the introduction points in the file of a key's `service` part. */
function pointsIn(bytes: Buffer): readonly string[] {
  return [...bytes.toString('latin1').matchAll(/"node":"([0-9a-f]{64})"/g)].map(([, id]) => id!)
}
