/**
 * Real nodes, with every look-up and connection of their processes on record: whatever is asked of a node's faces, the record holds addresses
 * of nodes and the target of the hosted service, and not one DNS query (DESIGN P11).
 */
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { call, getJson, parseJson, readText } from '../../client/cli/api-client.ts'
import type { ServiceStatus } from '../../client/library.ts'
import { apiOf, startTestnet, type Testnet, type TestnetNode } from '../../client/testnet/index.ts'
import { parseHostPort } from '../../src/config/index.ts'
import { systemClock } from '../../src/runtime/index.ts'
import { E2E_CLOCK, patience } from '../support/e2e-clock.ts'
import { answerCodes, hostileRequests } from '../support/hostile-requests.ts'
import { askRaw } from '../support/http.ts'
import { eventually } from '../support/processes.ts'

const NODES = 6
const { signal } = new AbortController()
const dir = mkdtempSync(join(tmpdir(), 'gyre-leak-'))
const log = join(dir, 'outward')
const target = createServer((_request, response) => response.end('from the target'))
let testnet: Testnet
let host: TestnetNode
let reader: TestnetNode
let file = ''
let live = ''

before(async () => {
  await new Promise<void>((resolve) => target.listen(0, '127.0.0.1', resolve))
  writeFileSync(log, '')
  const { NODE_OPTIONS } = process.env
  process.env.NODE_OPTIONS = `${NODE_OPTIONS ?? ''} --import=${new URL('../support/outward-preload.ts', import.meta.url).href}`
  process.env.OUTWARD_LOG = log
  try {
    testnet = await startTestnet({ nodes: NODES, clock: E2E_CLOCK, signal })
  } finally {
    delete process.env.OUTWARD_LOG
    if (NODE_OPTIONS === undefined) delete process.env.NODE_OPTIONS
    else process.env.NODE_OPTIONS = NODE_OPTIONS
  }
  host = testnet.node(0)
  reader = testnet.node(NODES - 1)
  file = ((await post('/v1/publish', 'text/html', '<p>hello')) as { address: string }).address
  const wish = { name: 'live', target: `127.0.0.1:${(target.address() as AddressInfo).port}`, port: 80 }
  live = ((await post('/v1/services', 'application/json', JSON.stringify(wish))) as { address: string }).address
  await eventually(
    'the service is up',
    async () => (await getJson<ServiceStatus>(apiOf(host), '/v1/services/live', signal)).state === 'up',
    patience(30_000),
  )
})

after(async () => {
  await testnet?.close()
  target.closeAllConnections()
  target.close()
  rmSync(dir, { recursive: true, force: true })
})

async function post(path: string, type: string, body: string): Promise<unknown> {
  const headers = { 'Content-Type': type, 'Content-Length': Buffer.byteLength(body) }
  const response = await call(apiOf(host), { method: 'POST', path, headers, signal, send: (request) => request.end(body) })
  return parseJson(await readText(response, signal))
}

/** The record: who called what. */
function outward(): { readonly pid: number; readonly call: string }[] {
  const lines = readFileSync(log, 'utf8').trimEnd().split('\n')
  return lines.map((line) => ({ pid: Number(line.split(' ')[0]), call: line.slice(line.indexOf(' ') + 1) }))
}

test('hostile requests to real proxies and a real API: no query, and no connection but to nodes', {
  timeout: patience(240_000),
}, async () => {
  const proxy = parseHostPort(reader.proxy.slice('http://'.length))
  const socks = parseHostPort(reader.socks)
  const faces = { proxy, socks, api: parseHostPort(reader.api.slice('http://'.length)) }
  const get = (address: string) => `GET http://${address}.gyre/ HTTP/1.1\r\nHost: ${address}.gyre\r\nConnection: close\r\n\r\n`
  // What is allowed works, so that silence means something.
  assert.match(await askRaw(proxy, get(file), patience(30_000)), /<p>hello$/)
  assert.match(await askRaw(proxy, get(live), patience(30_000)), /from the target/)

  const slow = askRaw(proxy, 'GET http://example.org/ HTTP/1.1\r\nHost: example.org\r\nX: ', 20_000)
  const wrong: string[] = []
  for (const { name, to, bytes, answers } of hostileRequests(file, live, {
    host: reader.api.slice('http://'.length),
    token: reader.token,
  })) {
    const codes = answerCodes(to, await askRaw(faces[to], Buffer.from(bytes, 'latin1'), 10_000))
    const right = codes.length === 1 && answers.length > 1 ? answers.includes(codes[0]!) : String(codes) === String(answers)
    if (!right) wrong.push(`${name}: got ${codes}, not ${answers}`)
  }
  assert.deepEqual(wrong, [])
  assert.match(await slow, /^HTTP\/1\.1 408 /)

  // What a request set off would be there by now.
  await systemClock.sleep(1_000, { signal })
  const nodes = testnet.nodes.flatMap(({ listen }) => listen.map((address) => /\/tcp\/(\d+)/.exec(address)?.[1]))
  const allowed = new Set(nodes.map((port) => `tcp 127.0.0.1:${port}`))
  const calls = outward()
  const toTarget = `tcp 127.0.0.1:${(target.address() as AddressInfo).port}`
  assert.deepEqual(
    [...new Set(calls.filter(({ call }) => !allowed.has(call)).map(({ pid, call }) => `${pid} ${call}`))],
    [`${host.pid} ${toTarget}`],
  )
  for (const { pid } of testnet.nodes.slice(1))
    assert.ok(
      calls.some((one) => one.pid === pid),
      'the record has calls of each node that dialled',
    )
})
