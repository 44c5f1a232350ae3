/**
 * What a live service and its users give away. Eight real processes, a web server behind node 0, read with curl through node 7 by several
 * isolation users. Everything of it that any node reads in clear is recorded (`test/support/messages.ts` says what, and what is not in it): neither
 * end's id or address stands in any of it, nor the client's. The record also tells where sessions met: one such node is then killed.
 */
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { getJson, parseJson } from '../../client/cli/api-client.ts'
import type { ServiceStatus } from '../../client/library.ts'
import { apiOf, startTestnet, type Testnet, type TestnetNode } from '../../client/testnet/index.ts'
import type { TraceReport } from '../../client/trace/index.ts'
import { fromHex, toHex } from '../../src/bytes/index.ts'
import { systemClock } from '../../src/runtime/index.ts'
import { parseHopRequest } from '../../src/wire/index.ts'
import { needs } from '../support/clients.ts'
import { E2E_CLOCK, patience, recovery } from '../support/e2e-clock.ts'
import { type Ended, eventually, gyre, run } from '../support/processes.ts'
import { httpTarget, type Target } from '../support/targets.ts'

const RECOVERY_MS = recovery(5_000)
const { signal } = new AbortController()
const dir = mkdtempSync(join(tmpdir(), 'gyre-hiding-'))
const messages = join(dir, 'messages')
let testnet: Testnet
let owner: TestnetNode
let user: TestnetNode
let target: Target
let address = ''
/** Where the web server saw its clients. */
const clients = new Set<string>()

before(async () => {
  target = await httpTarget((request, response) => {
    clients.add(`${request.socket.remoteAddress}`)
    response.end(`words for ${request.url}`)
  })
  mkdirSync(messages)
  const { NODE_OPTIONS } = process.env
  process.env.NODE_OPTIONS = `${NODE_OPTIONS ?? ''} --import=${new URL('../support/messages-preload.ts', import.meta.url).href}`
  process.env.MESSAGES_DIR = messages
  try {
    testnet = await startTestnet({ nodes: 8, clock: E2E_CLOCK, signal })
  } finally {
    delete process.env.MESSAGES_DIR
    if (NODE_OPTIONS === undefined) delete process.env.NODE_OPTIONS
    else process.env.NODE_OPTIONS = NODE_OPTIONS
  }
  owner = testnet.node(0)
  user = testnet.node(7)
})
after(async () => {
  await testnet?.close()
  await target?.close()
  rmSync(dir, { recursive: true, force: true })
})

interface Seen {
  readonly pid: number
  readonly where: string
  readonly bytes: Buffer
}

/** The record so far. A line that is being written is not in it yet. */
function seen(): Seen[] {
  return readdirSync(messages).flatMap((pid) => {
    const lines = readFileSync(join(messages, pid), 'latin1').split('\n').slice(0, -1)
    return lines.map((line) => {
      const [where = '', text = ''] = line.split(' ')
      return { pid: Number(pid), where, bytes: Buffer.from(text, 'base64') }
    })
  })
}

/** A page of the service as `isolation` gets it, at most `seconds` waited for. */
function get(isolation: string, seconds = patience(60_000) / 1_000): Promise<Ended> {
  const via = ['-x', user.proxy, '--proxy-user', `${isolation}:x`, '-D', join(dir, 'head')]
  return run('curl', ['-sS', '-f', '-m', String(seconds), ...via, `http://${address}.gyre/${isolation}`])
}

/** The same, which must come. Returns the numbers of the loops that were used. */
async function use(isolation: string): Promise<readonly number[]> {
  const ended = await get(isolation)
  assert.equal(ended.stdout.toString(), `words for /${isolation}`, ended.stderr)
  const trace = /gyre-trace: (\S+)/i.exec(readFileSync(join(dir, 'head'), 'latin1'))?.[1]
  const { stages } = await getJson<TraceReport>(apiOf(user), `/v1/traces/${trace}`, signal)
  return stages.flatMap(({ loop }) => (loop === null || loop === 0 ? [] : [loop]))
}

test('the service is up, and two users of one node reach it over different loops', {
  timeout: patience(120_000),
  ...needs('curl'),
}, async () => {
  const flags = ['--target', `127.0.0.1:${target.port}`, '--json', '--data-dir', owner.dataDir]
  const ended = await gyre(['service', 'add', 'hidden', ...flags])
  assert.equal(ended.code, 0, ended.stderr)
  address = (parseJson(ended.stdout.toString()) as { address: string }).address
  const up = async () => (await getJson<ServiceStatus>(apiOf(owner), '/v1/services/hidden', signal)).state === 'up'
  await eventually('it is up', up, patience(30_000))
  const alice = await use('alice')
  const bob = await use('bob')
  // A paced loop can carry all of it: each of its hops is asked.
  const least = E2E_CLOCK === 'swift' ? 2 : 1
  assert.ok(new Set(alice).size >= least && new Set(bob).size >= least, `${alice} and ${bob}`)
  assert.deepEqual(
    alice.filter((loop) => bob.includes(loop)),
    [],
  )
  for (let at = 0; at < 4; at++) await use(`more-${at}`)
  assert.deepEqual([...clients], ['127.0.0.1']) // its own node, on its own machine
})

test('what was recorded is what there is to see', needs('curl'), () => {
  const all = seen()
  const count = (where: string) => all.filter((one) => one.where === where).length
  assert.ok(count('request-introduction') >= 12 && count('request-join') >= 6 && count('request-record') >= 3)
  assert.ok(count('carried') > 20 && count('opened') > 20)
  const bytesOf = (ends: boolean) =>
    Buffer.concat(all.filter(({ where }) => (where === 'opened') === ends).map(({ bytes }) => bytes))
  // What only the two ends may read is not in what others saw.
  for (const words of ['words for /alice', 'words for /bob', `Host: ${address}`, 'words for /more-3']) {
    assert.ok(bytesOf(true).includes(words), words)
    assert.ok(!bytesOf(false).includes(words), words)
  }
  for (const words of ['hidden', address]) assert.ok(!bytesOf(false).includes(words), words)
})

test("neither end's id or address, nor the client's, stands in anything that anybody read", needs('curl'), () => {
  const all = seen()
  for (const { index, id, listen, api, proxy, socks } of [owner, user]) {
    const ports = [...listen, api, proxy, socks].map((at) => /(?:\/tcp\/|:)(\d+)(?:\/|$)/.exec(at)![1])
    const marks = [id, Buffer.from(fromHex(id)!), '127.0.0.1', '/ip4/', ...ports.flatMap((port) => [`/tcp/${port}`, `:${port}`])]
    for (const { pid, where, bytes } of all)
      for (const mark of marks) assert.ok(!bytes.includes(mark), `${String(mark)} of node ${index} in ${where} at ${pid}`)
  }
})

test('the node where a session meets is killed: its user and new ones reach the service again', {
  timeout: patience(120_000),
  ...needs('curl'),
}, async () => {
  const joins = () =>
    seen().flatMap(({ pid, where, bytes }) => {
      const request = where === 'request-join' ? parseHopRequest(bytes) : null
      return request?.kind === 'join' ? [`${pid} ${toHex(request.cookie)}`] : []
    })
  let met: TestnetNode | undefined
  let isolation = ''
  for (let at = 0; met === undefined; at++) {
    assert.ok(at < 24, 'every session meets at one of its ends')
    isolation = `meets-${at}`
    const before = new Set(joins())
    await use(isolation)
    // Both sides showed the same cookie there.
    const place = joins().find((one, number, all) => !before.has(one) && all.indexOf(one) !== number)
    const pid = Number(place?.split(' ')[0])
    met = testnet.nodes.find((node) => node.pid === pid && node !== owner && node !== user)
  }
  await testnet.stop(met.index, true)
  for (const one of [isolation, 'new-1', 'new-2', 'new-3']) {
    const began = systemClock.monotonicMs()
    const left = () => (RECOVERY_MS - (systemClock.monotonicMs() - began)) / 1_000
    let ended = await get(one, left())
    while (ended.code !== 0 && left() > 0.1) ended = await get(one, left())
    assert.equal(ended.stdout.toString(), `words for /${one}`, ended.stderr)
    console.log(`${one}, after the rendezvous point was killed: ${Math.round(systemClock.monotonicMs() - began)} ms`)
  }
})
