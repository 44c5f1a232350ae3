/**
 * A network whose clock is steady, as its users have it: real processes that become ready, a file published at one node and fetched at another,
 * a page of a site through the proxy, and a request that asks for swift loops. Short; the hold is long enough for a machine
 * that does other things meanwhile, so times here say nothing about the clock.
 */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { getJson } from '../../client/cli/api-client.ts'
import type { LoopStatus, NodeStatus, Publication, SitePublication } from '../../client/library.ts'
import { apiOf, startTestnet, type Testnet, type TestnetNode } from '../../client/testnet/index.ts'
import { parseHostPort } from '../../src/config/index.ts'
import { systemClock } from '../../src/runtime/index.ts'
import { ask } from '../support/http.ts'
import { lives } from '../support/processes.ts'
import { seededRng } from '../support/seeded-rng.ts'
import { tarOf } from '../support/tar-maker.ts'

const NODES = 6
const HOLD_MS = 400
const { signal } = new AbortController()
const lines: string[] = []
const content = seededRng('steady').bytes(150_000)
let testnet: Testnet
let publisher: TestnetNode
let reader: TestnetNode
let address = ''

before(async () => {
  const began = systemClock.monotonicMs()
  const flags = ['--hold', String(HOLD_MS)]
  testnet = await startTestnet({
    nodes: NODES,
    clock: 'steady',
    signal,
    flags,
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
  assert.deepEqual([paced.cover, paced.holdMs, paced.hiddenAmong], ['medium', HOLD_MS, NODES])
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
