/**
 * The network as its users have it: eight real processes, files published at node 0 and fetched at node 7 through API, proxy and command;
 * ranges cost their own blocks only; everything still comes when node 0 is gone. (E2E_ENTRY names another entry script, to test the test.)
 */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { createReadStream, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import type { TransferReport } from '../../client/api/index.ts'
import { call, getJson, parseJson, readText } from '../../client/cli/api-client.ts'
import type { NodeStatus, Publication } from '../../client/library.ts'
import { apiOf, startTestnet, type Testnet, type TestnetNode } from '../../client/testnet/index.ts'
import { systemClock } from '../../src/runtime/index.ts'
import { E2E_CLOCK, patience } from '../support/e2e-clock.ts'
import { gyre, lives, run } from '../support/processes.ts'
import { seededRng } from '../support/seeded-rng.ts'

const MiB = 2 ** 20
const LARGE_BYTES = 100 * MiB
const SIZES = [
  0,
  1,
  2,
  17,
  1000,
  4095,
  65_535,
  65_536,
  65_537,
  100_000,
  131_072,
  200_001,
  262_144,
  300_000,
  400_000,
  500_001,
  655_360,
  655_361,
  MiB - 1,
  MiB,
]

const dir = mkdtempSync(join(tmpdir(), 'gyre-e2e-'))
const large = join(dir, 'large.bin')
const { signal } = new AbortController()
const entry = process.env.E2E_ENTRY
const small: { readonly bytes: Buffer; readonly address: string }[] = []
let testnet: Testnet
let publisher: TestnetNode
let reader: TestnetNode
let largeHash = ''
let largeAddress = ''
const lines: string[] = []

before(async () => {
  largeHash = await writeLarge()
  const began = systemClock.monotonicMs()
  const onLine = (index: number, line: string) => lines.push(`node ${index}: ${line}`)
  const onDeath = (index: number, how: string) => lines.push(`node ${index} died: ${how}`)
  testnet = await startTestnet({ nodes: 8, clock: E2E_CLOCK, signal, onLine, onDeath, ...(entry === undefined ? {} : { entry }) })
  const ms = Math.round(systemClock.monotonicMs() - began)
  console.log(`8 nodes ready after ${ms} ms`)
  assert.ok(ms < patience(20_000), `8 nodes took ${ms} ms`)
  publisher = testnet.node(0)
  reader = testnet.node(7)
})
after(async () => {
  const pids = testnet?.nodes.map(({ pid }) => pid) ?? []
  await testnet?.close()
  rmSync(dir, { recursive: true })
  assert.ok(!pids.some(lives), 'a process is left')
  assert.ok(!existsSync(testnet.root), 'a folder is left')
  if (lines.length > 0) console.log(lines.slice(-40).join('\n'))
})

/** 100 MiB that do not repeat within any block; returns their SHA-256. */
async function writeLarge(): Promise<string> {
  const rng = seededRng(2)
  const hash = createHash('sha256')
  const block = Buffer.from(rng.bytes(MiB))
  const file = await open(large, 'w')
  for (let at = 0; at < LARGE_BYTES / MiB; at++) {
    for (let word = 0; word < MiB; word += 4096) block.writeUInt32LE(at * MiB + word, word)
    hash.update(block)
    await file.writeFile(block)
  }
  await file.close()
  return hash.digest('hex')
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

async function hashFile(path: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer)
  return hash.digest('hex')
}

async function hashAnswer(response: IncomingMessage): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of response) hash.update(chunk as Buffer)
  assert.ok(response.complete)
  return hash.digest('hex')
}

async function publish(node: TestnetNode, bytes: Uint8Array, type: string): Promise<Publication> {
  const headers = { 'Content-Type': type, 'Content-Length': bytes.length }
  const response = await call(apiOf(node), {
    method: 'POST',
    path: '/v1/publish',
    headers,
    signal,
    send: (request) => request.end(bytes),
  })
  assert.equal(response.statusCode, 201)
  return parseJson(await readText(response, signal)) as Publication
}

/** Through a node's proxy with node:http, as a browser would ask. */
function proxied(node: TestnetNode, address: string, headers: Record<string, string> = {}): Promise<IncomingMessage> {
  const { hostname: host, port } = new URL(node.proxy)
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>()
  const options = { host, port, path: `http://${address}.gyre/`, headers: { ...headers, Host: `${address}.gyre` }, agent: false }
  httpRequest(options, resolve).on('error', reject).end()
  return promise
}

function rate(bytes: number, ms: number): string {
  return `${Math.round(ms)} ms, ${(bytes / 1e3 / ms).toFixed(1)} MB/s`
}

async function timed<T>(what: string, bytes: number, work: () => Promise<T>): Promise<T> {
  const began = systemClock.monotonicMs()
  const result = await work()
  console.log(`${what}: ${rate(bytes, systemClock.monotonicMs() - began)}`)
  return result
}

test('100 MiB published at node 0 by the command', { timeout: patience(300_000) }, async () => {
  const ended = await timed('publish', LARGE_BYTES, () => gyre(['publish', large, '--json', '--data-dir', publisher.dataDir]))
  assert.equal(ended.code, 0, ended.stderr)
  const { address, bytes, shares, holders } = JSON.parse(ended.stdout.toString()) as Publication
  assert.equal(bytes, LARGE_BYTES)
  assert.ok(shares >= (3 * LARGE_BYTES) / 65_536, `${shares} shares`)
  assert.ok(holders >= 4, `${holders} holders`)
  largeAddress = address
})

test('fetched whole at node 7 through the API', { timeout: patience(300_000) }, async () => {
  const { hash, headers } = await timed('fetch, API', LARGE_BYTES, async () => {
    const response = await call(apiOf(reader), { path: `/v1/fetch/${largeAddress}`, signal })
    return { hash: await hashAnswer(response), headers: response.headers }
  })
  assert.equal(hash, largeHash)
  assert.equal(headers['content-length'], String(LARGE_BYTES))
  const report = await getJson<TransferReport>(apiOf(reader), `/v1/transfers/${String(headers['gyre-transfer'])}`, signal)
  console.log(`transfer: ${JSON.stringify(report)}`)
  assert.equal(report.sharesBad, 0)
})

test('fetched whole through the proxy, by node:http and by curl -x', { timeout: patience(300_000) }, async () => {
  const response = await proxied(reader, largeAddress)
  assert.equal(response.statusCode, 200)
  assert.equal(await timed('fetch, proxy', LARGE_BYTES, () => hashAnswer(response)), largeHash)
  if ((await run('curl', ['--version']).catch(() => null)) === null) return
  const out = join(dir, 'curl.bin')
  const args = ['-sS', '--fail', '-x', reader.proxy, '-o', out, `http://${largeAddress}.gyre/`]
  const ended = await timed('fetch, curl -x', LARGE_BYTES, () => run('curl', args))
  assert.equal(ended.code, 0, ended.stderr)
  assert.equal(await hashFile(out), largeHash)
  rmSync(out)
})

test('fetched whole by the command', { timeout: patience(300_000) }, async () => {
  const out = join(dir, 'command.bin')
  const ended = await timed('fetch, command', LARGE_BYTES, () =>
    gyre(['fetch', largeAddress, '-o', out, '--data-dir', reader.dataDir]),
  )
  assert.equal(ended.code, 0, ended.stderr)
  assert.equal(await hashFile(out), largeHash)
  rmSync(out)
})

test('a Range in its middle costs blocks of that range only', { timeout: patience(60_000) }, async () => {
  const start = 50 * MiB + 12_345
  const length = MiB
  const headers = { Range: `bytes=${start}-${start + length - 1}` }
  const response = await call(apiOf(reader), { path: `/v1/fetch/${largeAddress}`, headers, signal })
  assert.equal(response.statusCode, 206)
  const file = await open(large)
  const { buffer } = await file.read(Buffer.alloc(length), 0, length, start)
  await file.close()
  assert.equal(await hashAnswer(response), sha256(buffer))
  const report = await getJson<TransferReport>(
    apiOf(reader),
    `/v1/transfers/${String(response.headers['gyre-transfer'])}`,
    signal,
  )
  console.log(`range: ${JSON.stringify(report)}`)
  // 17 blocks hold it; whole segments (10 blocks each) and the few tree nodes above them are the most that it may cost.
  if (entry === undefined)
    assert.ok(report.sharesReceived >= 17 && report.sharesReceived <= 50, `${report.sharesReceived} shares`)
})

test('20 files of 0 B to 1 MiB go the same way', { timeout: patience(120_000) }, async () => {
  const rng = seededRng(20)
  for (const size of SIZES) {
    const bytes = Buffer.from(rng.bytes(size))
    const { address } = await publish(publisher, bytes, 'application/x-test')
    small.push({ bytes, address })
  }
  assert.equal(new Set(small.map(({ address }) => address)).size, SIZES.length)
  for (const { bytes, address } of small) {
    const viaApi = await call(apiOf(reader), { path: `/v1/fetch/${address}`, signal })
    assert.equal(await hashAnswer(viaApi), sha256(bytes), `${bytes.length} bytes through the API`)
    const viaProxy = await proxied(reader, address)
    assert.equal(viaProxy.headers['content-type'], 'application/x-test')
    assert.equal(await hashAnswer(viaProxy), sha256(bytes), `${bytes.length} bytes through the proxy`)
  }
  const ended = await gyre(['fetch', small.at(-1)!.address, '--data-dir', reader.dataDir])
  assert.equal(sha256(ended.stdout), sha256(small.at(-1)!.bytes))
})

test('many clients at once', { timeout: patience(120_000) }, async () => {
  const hashes = await Promise.all(
    small.map(async ({ address, bytes }, at) => [
      await hashAnswer(await proxied(testnet.node(1 + (at % 7)), address)),
      sha256(bytes),
    ]),
  )
  for (const [got, wanted] of hashes) assert.equal(got, wanted)
})

test('no node holds more memory than a few blocks per transfer', { skip: !existsSync('/proc/self/status') }, () => {
  for (const { index, pid } of testnet.nodes) {
    const peak = Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024
    console.log(`node ${index}: peak ${Math.round(peak)} MiB`)
    assert.ok(peak < 700, `node ${index} held ${peak} MiB`)
  }
})

test('what is nowhere is a 404; a wrong address a 400; the command says 3 and 2', { timeout: patience(120_000) }, async () => {
  const stranger = await startTestnet({ nodes: 4, clock: E2E_CLOCK, signal, ...(entry === undefined ? {} : { entry }) })
  let elsewhere: string
  try {
    elsewhere = (await publish(stranger.node(0), Buffer.from('in another network'), 'text/plain')).address
  } finally {
    await stranger.close()
  }
  assert.equal((await proxied(reader, elsewhere)).statusCode, 404)
  const missing = await gyre(['fetch', elsewhere, '--data-dir', reader.dataDir])
  assert.equal(missing.code, 3, missing.stderr)
  assert.equal((await proxied(reader, 'a'.repeat(56))).statusCode, 400)
  assert.equal((await gyre(['fetch', 'a'.repeat(56), '--data-dir', reader.dataDir])).code, 2)
})

test('node 0 stopped: everything still comes', { timeout: patience(300_000) }, async () => {
  await testnet.stop(0)
  const hash = await timed('fetch, publisher gone', LARGE_BYTES, async () => hashAnswer(await proxied(reader, largeAddress)))
  assert.equal(hash, largeHash)
  for (const { bytes, address } of small) assert.equal(await hashAnswer(await proxied(testnet.node(5), address)), sha256(bytes))
})

test('node 0 comes back with the same identity and what it held', { timeout: patience(60_000) }, async () => {
  const again = await testnet.start(0, testnet.node(1).listen)
  assert.equal(again.id, publisher.id)
  assert.equal(again.token, publisher.token)
  await testnet.ready(8)
  const { sharesHeld } = await getJson<NodeStatus>(apiOf(again), '/v1/status', signal)
  if (entry === undefined) assert.ok(sharesHeld > 0)
  assert.equal(await hashAnswer(await proxied(again, small.at(-1)!.address)), sha256(small.at(-1)!.bytes))
})
