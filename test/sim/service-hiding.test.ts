/**
 * What a live service and its user give away. Eight whole nodes in one process, on real links over loopback, and a service of node 0 used from
 * node 7 by two isolation users. Everything that anybody reads in clear is recorded: each request to a hop and its answer, at every node;
 * each payload as the rendezvous point has it; each payload as the two ends open it; both handshake messages as introduction points have
 * them. Neither end's id nor address may stand in any of it.
 *
 * Things that do name nodes are not in it: set-up records, in which a member reads its next neighbour; the directory's gossip, in which
 * everybody is named to everybody; message 2 as the service opens it, which names the rendezvous point that both have drawn; and the record as
 * its reader opens it, which names introduction points. Both may be one of the two, as they may be any node: it says nothing of who drew it.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { type AddressInfo, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { type RunningNode, startNode } from '../../client/node.ts'
import { Apex } from '../../relay/index.ts'
import { Side } from '../../relay/rendezvous/meeting.ts'
import { fromHex } from '../../src/bytes/index.ts'
import { loadConfig } from '../../src/config/index.ts'
import { silentLog } from '../../src/log/index.ts'
import { PayloadOpener } from '../../src/service/payload.ts'
import { PAYLOAD_BYTES } from '../../src/stream/index.ts'
import { parseHopRequest } from '../../src/wire/index.ts'
import { eventually } from '../support/processes.ts'

const { signal } = new AbortController()
const root = mkdtempSync(join(tmpdir(), 'gyre-hiding-'))
const nodes: RunningNode[] = []
const ports: number[] = []
let server: Server
let address = ''

/** What was read in clear, by where it was read. */
const seen = { requests: [] as Buffer[], answers: [] as Buffer[], carried: [] as Buffer[], opened: [] as Buffer[] }
const kinds = new Map<string, number>()

const patched = {
  answer: Apex.prototype.answer,
  give: Side.prototype.onPayload,
  open: PayloadOpener.prototype.open,
}

before(async () => {
  Apex.prototype.answer = async function (message, ...rest) {
    const copy = Buffer.from(message)
    seen.requests.push(copy)
    const kind = parseHopRequest(copy)?.kind ?? 'nothing'
    kinds.set(kind, (kinds.get(kind) ?? 0) + 1)
    const answer = await patched.answer.call(this, message, ...rest)
    seen.answers.push(Buffer.concat(answer.body instanceof Uint8Array ? [answer.body] : answer.body))
    return answer
  }
  Side.prototype.onPayload = function (bytes, at) {
    seen.carried.push(Buffer.from(bytes.subarray(at, at + PAYLOAD_BYTES)))
    patched.give.call(this, bytes, at)
  }
  PayloadOpener.prototype.open = function (bytes, at) {
    const number = patched.open.call(this, bytes, at)
    if (number >= 0) seen.opened.push(Buffer.from(this.plain))
    return number
  }
  server = createServer((socket) => socket.on('error', () => {}).pipe(socket))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  let bootstrap: readonly string[] = []
  for (let at = 0; at < 8; at++) {
    mkdirSync(join(root, `${at}`))
    const flags = { 'data-dir': join(root, `${at}`), network: 'hiding', listen: ['/ip4/127.0.0.1/tcp/0'], bootstrap }
    const node = await startNode(loadConfig({ flags, env: {} }), silentLog)
    nodes.push(node)
    ports.push(Number(/\/tcp\/(\d+)/.exec(node.addresses[0]!)![1]))
    bootstrap = nodes[0]!.addresses
  }
  await eventually('all know all', () => nodes.every(({ face }) => face.status().nodesKnown === 8 && face.ready()), 30_000)
})
after(async () => {
  Object.assign(Apex.prototype, { answer: patched.answer })
  Object.assign(Side.prototype, { onPayload: patched.give })
  Object.assign(PayloadOpener.prototype, { open: patched.open })
  for (const node of nodes.reverse()) await node.close()
  server.close()
  rmSync(root, { recursive: true })
})

/** An echo through the service, with its trace's loops. */
async function use(isolation: string, text: string): Promise<{ readonly loops: ReadonlySet<number> }> {
  const { face } = nodes[7]!
  const trace = face.trace()
  const asking = { signal, isolation, trace }
  const found = await face.resolve(address, asking)
  assert.ok(found.kind === 'key' && found.live !== null)
  const duplex = await found.live.connect(80, asking)
  duplex.end(text)
  const parts: Buffer[] = []
  for await (const part of duplex) parts.push(part as Buffer)
  assert.equal(Buffer.concat(parts).toString(), text)
  const stages = face.traceReport(trace.id)!.stages
  return { loops: new Set(stages.map(({ loop }) => loop).filter((loop) => loop !== null && loop !== 0)) as Set<number> }
}

test('the service is up, and two users of one node reach it over different loops', { timeout: 120_000 }, async () => {
  const target = { host: '127.0.0.1', port: (server.address() as AddressInfo).port }
  address = (await nodes[0]!.face.services.add({ name: 'hidden', target })).address
  await eventually('it is up', () => nodes[0]!.face.services.get('hidden')?.state === 'up', 30_000)
  const alice = await use('alice', 'words of alice')
  const bob = await use('bob', 'words of bob')
  assert.ok(alice.loops.size >= 2 && bob.loops.size >= 2, `${[...alice.loops]} and ${[...bob.loops]}`)
  assert.deepEqual(
    [...alice.loops].filter((loop) => bob.loops.has(loop)),
    [],
  )
  for (let at = 0; at < 4; at++) await use(`more ${at}`, `words ${at}`)
})

test('what was recorded is what there is to see', () => {
  assert.ok((kinds.get('introduction') ?? 0) >= 12 && (kinds.get('join') ?? 0) >= 6 && (kinds.get('record') ?? 0) >= 3)
  assert.ok(seen.carried.length > 20 && seen.opened.length > 20)
  const opened = Buffer.concat(seen.opened)
  for (const words of ['words of alice', 'words of bob', 'words 3']) assert.ok(opened.includes(words), words)
  // What only the two ends may read is not in what others saw.
  const others = Buffer.concat([...seen.requests, ...seen.answers, ...seen.carried])
  for (const words of ['words of alice', 'words of bob', 'hidden', address]) assert.ok(!others.includes(words), words)
})

test("neither end's id or address stands in anything that anybody read", () => {
  for (const [at, node] of [nodes[0]!, nodes[7]!].entries()) {
    const { id } = node.face.status()
    const port = ports[at === 0 ? 0 : 7]!
    const marks: (string | Buffer)[] = [id, Buffer.from(fromHex(id)!), `/tcp/${port}`, `127.0.0.1:${port}`, '127.0.0.1', '/ip4/']
    for (const [where, messages] of Object.entries(seen)) {
      const all = Buffer.concat(messages)
      for (const mark of marks) assert.ok(!all.includes(mark), `${String(mark)} in ${where} (${at === 0 ? 'service' : 'user'})`)
    }
  }
})
