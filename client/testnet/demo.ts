/**
 * `npm run demo`: what Gyre does, shown with real processes. Eight nodes start; a page and a larger file are published at node 0 and
 * fetched through the HTTP proxy of node 7; hashes are compared; node 0 is stopped, and both come all the same. Figures of every step
 * are printed. Ends with 0 and leaves nothing behind; any difference between what went in and what came out is an error.
 */
import { createHash } from 'node:crypto'
import { type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http'
import type { ClockName } from '../../src/config/index.ts'
import { OverlayError } from '../../src/errors/index.ts'
import { systemClock, systemRng } from '../../src/runtime/index.ts'
import { call, getJson, parseJson, readText } from '../cli/api-client.ts'
import { formatBytes, print, table } from '../cli/output.ts'
import type { LoopStatus, NodeStatus, Publication } from '../library.ts'
import { apiOf, startTestnet, type Testnet, type TestnetNode } from './testnet.ts'

const NODES = 8
const FILE_BYTES = 16 * 2 ** 20
/** The same with a paced clock, which begins slowly. */
const PACED_FILE_BYTES = 2 ** 20
const SAMPLE_MS = 50

interface Step {
  readonly what: string
  readonly bytes: number
  readonly firstByteMs: number
  readonly totalMs: number
  /** Most loops of the node's own that were busy at a time. */
  readonly loopsBusy: number
}

export interface DemoOptions {
  readonly clock: ClockName
  readonly json?: boolean
}

/** Runs the demo. Errors: those of the network; `CONTENT_DAMAGED` if anything came out different. */
export async function demo({ clock, json = false }: DemoOptions, signal: AbortSignal): Promise<void> {
  const say = async (text: string) => (json ? undefined : print(`${text}\n`))
  const began = systemClock.monotonicMs()
  await say(`Starting ${NODES} nodes, each a process of its own, on loopback …`)
  const testnet = await startTestnet({
    nodes: NODES,
    clock,
    signal,
    onLine: (index, line) => process.stderr.write(`node ${index}: ${line}\n`),
  })
  try {
    const startMs = systemClock.monotonicMs() - began
    const publisher = testnet.node(0)
    const reader = testnet.node(NODES - 1)
    const { cipher, nodesKnown } = await getJson<NodeStatus>(apiOf(reader), '/v1/status', signal)
    const loopsNow = async () => (await getJson<{ loops: readonly LoopStatus[] }>(apiOf(reader), '/v1/loops', signal)).loops
    const longest = (loops: readonly LoopStatus[]) => Math.max(0, ...loops.map((loop) => loop.members))
    const loops = await loopsNow()
    await say(
      `Ready after ${seconds(startMs)}: every node knows all ${nodesKnown}; node ${reader.index} has ${loops.length} loops,`,
    )
    await say(`through up to ${longest(loops)} other nodes and back (clock ${clock}, cell cipher ${cipher}).\n`)
    if (clock === 'swift')
      await say('Swift is the fastest clock and hides the least. The others: npm run --silent demo -- --clock steady\n')

    const page = Buffer.from(demoPage(publisher))
    const file = Buffer.from(systemRng.bytes(clock === 'swift' ? FILE_BYTES : PACED_FILE_BYTES))
    const steps: Step[] = []
    const pageAt = await publish(publisher, page, 'text/html; charset=utf-8', 'demo page', steps, signal)
    const fileAt = await publish(publisher, file, 'application/octet-stream', 'demo file', steps, signal)
    await say(
      `Published at node ${publisher.index}:\n  page  http://${pageAt.address}.gyre/\n  file  http://${fileAt.address}.gyre/`,
    )
    await say(
      `  ${fileAt.shares + pageAt.shares} shares on ${Math.max(fileAt.holders, pageAt.holders)} nodes; nobody of them can read what it holds.\n`,
    )

    const got = await fetchProxied(reader, pageAt.address, page, `page through node ${reader.index}'s proxy`, steps, signal)
    await fetchProxied(reader, fileAt.address, file, `file through node ${reader.index}'s proxy`, steps, signal)
    // The first loops may be from before all links stood, and shorter; these carried it.
    const loopMembers = longest(await loopsNow())
    await say(
      `Fetched through the HTTP proxy of node ${reader.index}; SHA-256 of both is equal. The page's first and last lines:`,
    )
    const lines = got.toString('utf8').trim().split('\n')
    await say(`  ${lines[0]}\n  ${lines.at(-1)}\n`)

    await testnet.stop(0)
    await say(`Node ${publisher.index}, the publisher, was stopped. Fetching again …`)
    await fetchProxied(reader, pageAt.address, page, 'page, publisher gone', steps, signal)
    await fetchProxied(reader, fileAt.address, file, 'file, publisher gone', steps, signal)
    await say(`Both came whole; SHA-256 is equal.\n`)

    const totalMs = Math.round(systemClock.monotonicMs() - began)
    if (json)
      await print(`${JSON.stringify({ nodes: NODES, startMs: Math.round(startMs), totalMs, loopMembers, cipher, steps })}\n`)
    else await report(steps, testnet, totalMs)
  } finally {
    await testnet.close()
  }
}

async function report(steps: readonly Step[], testnet: Testnet, totalMs: number): Promise<void> {
  const rows = steps.map(({ what, bytes, firstByteMs, totalMs: ms, loopsBusy }) => [
    what,
    formatBytes(bytes),
    `${firstByteMs.toFixed(0)} ms`,
    `${ms.toFixed(0)} ms`,
    bytes < 2 ** 20 ? '-' : `${(bytes / 1e3 / ms).toFixed(1)} MB/s`,
    // What is over within a sample or two says nothing.
    bytes < 2 ** 20 ? '-' : String(loopsBusy),
  ])
  await print(table([['step', 'size', 'first byte', 'whole', 'rate', 'loops busy'], ...rows]))
  await print(`\n${testnet.nodes.length} node processes, ${seconds(totalMs)} in all. Nothing of it is left on this machine.\n`)
  await print('To have such a network to play with: npm run --silent testnet -- --nodes 8\n')
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`
}

function demoPage(publisher: TestnetNode): string {
  const lines = ['<!doctype html><title>Gyre demo</title><h1>Hello from a closed loop</h1>']
  for (let at = 1; at <= 40; at++)
    lines.push(`<p>Paragraph ${at}: the cell came in, the cell went out; who wanted it, nobody could tell.`)
  lines.push(`<p>Published in process ${publisher.pid}, fetched through another. The end.`)
  return `${lines.join('\n')}\n`
}

async function publish(
  node: TestnetNode,
  body: Buffer,
  type: string,
  name: string,
  steps: Step[],
  signal: AbortSignal,
): Promise<Publication> {
  const began = systemClock.monotonicMs()
  const sampler = sampleLoops(node, signal)
  const send = (request: ClientRequest) => request.end(body)
  const headers = { 'Content-Type': type, 'Content-Length': body.length }
  const response = await call(apiOf(node), {
    method: 'POST',
    path: `/v1/publish?name=${encodeURIComponent(name)}`,
    headers,
    signal,
    send,
  })
  const publication = parseJson(await readText(response, signal)) as Publication
  const totalMs = systemClock.monotonicMs() - began
  steps.push({
    what: `publish the ${name} at node ${node.index}`,
    bytes: body.length,
    firstByteMs: totalMs,
    totalMs,
    loopsBusy: await sampler(),
  })
  return publication
}

/** A real proxy request; throws unless the very bytes of `expected` come. */
async function fetchProxied(
  node: TestnetNode,
  address: string,
  expected: Buffer,
  what: string,
  steps: Step[],
  signal: AbortSignal,
): Promise<Buffer> {
  const began = systemClock.monotonicMs()
  const sampler = sampleLoops(node, signal)
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>()
  const { hostname: host, port } = new URL(node.proxy)
  const url = `http://${address}.gyre/`
  httpRequest({ host, port, path: url, headers: { Host: `${address}.gyre` }, agent: false, signal }, resolve)
    .on('error', reject)
    .end()
  const response = await promise
  const chunks: Buffer[] = []
  let firstByteMs = 0
  for await (const chunk of response as AsyncIterable<Buffer>) {
    firstByteMs ||= systemClock.monotonicMs() - began
    chunks.push(chunk)
  }
  const totalMs = systemClock.monotonicMs() - began
  const got = Buffer.concat(chunks)
  if (response.statusCode !== 200 || sha256(got) !== sha256(expected)) {
    throw new OverlayError(
      'integrity',
      'CONTENT_DAMAGED',
      `${what}: status ${response.statusCode}, ${got.length} bytes, not what was published.`,
    )
  }
  steps.push({ what, bytes: got.length, firstByteMs, totalMs, loopsBusy: await sampler() })
  return got
}

/** Watches the node's loops until called; the most that were busy at a time. */
function sampleLoops(node: TestnetNode, signal: AbortSignal): () => Promise<number> {
  let most = 0
  let running = true
  const watch = async () => {
    while (running) {
      const { loops } = await getJson<{ loops: readonly LoopStatus[] }>(apiOf(node), '/v1/loops', signal)
      most = Math.max(most, loops.filter((loop) => loop.state === 'busy').length)
      if (running) await systemClock.sleep(SAMPLE_MS, { signal })
    }
  }
  const watching = watch()
  watching.catch(() => {}) // a lost sample costs a figure, not the demo
  return async () => {
    running = false
    await watching.catch(() => {})
    return most
  }
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}
