/**
 * For how long a node's links hold back their ticks when its user begins something, and for how long the node itself stands still (ARCHITECTURE
 * D-109, D-112): real node processes on loopback, each of which watches its own event loop and that of its links' thread. What it computed in one piece is told from what the machine kept from it by the thread's processor time.
 * `node test/bench/standstill.ts [--nodes 8] [--clock steady] [--rounds 3] [--load 0] [--json]`: one line for each thing that a user does, over the rounds'
 * nodes, none of which did it before. Nothing else may run on the machine.
 */
import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { startTestnet, type Testnet, type TestnetNode } from '../../client/testnet/index.ts'
import { CLOCKS, parseHostPort } from '../../src/config/index.ts'
import { systemClock } from '../../src/runtime/index.ts'
import { ask } from '../support/http.ts'
import { publishContent } from '../support/transfers.ts'
import type { Standstill } from '../support/watch-preload.ts'

const MESSAGE_BYTES = 2 * 1024
const PAGE_BYTES = 300 * 1024
const FILE_BYTES = 1024 * 1024
/** From ready until the standing loops of all nodes run; of nothing, to compare with; and after each thing, until all of it is done. */
const SETTLE_MS = 20_000
const QUIET_MS = 5_000
const AFTER_MS = 1_000
const WRITTEN_MS = 200

const { signal } = new AbortController()
const rest = (ms: number) => systemClock.sleep(ms, { signal })

class Watch {
  readonly #dir = mkdtempSync(join(tmpdir(), 'gyre-standstill-'))
  readonly found = new Map<string, { readonly node: Standstill; readonly links: Standstill }[]>()

  get env(): Record<string, string> {
    const preload = new URL('../support/watch-preload.ts', import.meta.url).href
    return { NODE_OPTIONS: `--import=${preload}`, WATCH_FILE: join(this.#dir, 'node') }
  }

  async #taken({ pid }: TestnetNode): Promise<{ node: Standstill; links: Standstill }> {
    const files = [`node-${pid}.json`, `node-${pid}-links.json`].map((name) => join(this.#dir, name))
    for (const file of files) rmSync(file, { force: true })
    process.kill(pid, 'SIGUSR2')
    while (!existsSync(files[0]!)) await rest(WRITTEN_MS)
    await rest(WRITTEN_MS)
    const [node, links] = files.map((file) => longest(existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : []))
    return { node: node!, links: links! }
  }

  /** What `run` gives; the node's standstills meanwhile are noted under `what`, the longest for each call. */
  async over<T>(node: TestnetNode, what: string, run: () => Promise<T>): Promise<T> {
    await this.#taken(node)
    const value = await run()
    await rest(AFTER_MS)
    this.found.set(what, [...(this.found.get(what) ?? []), await this.#taken(node)])
    return value
  }

  close(): void {
    rmSync(this.#dir, { recursive: true, force: true })
  }
}

function longest(stood: readonly Standstill[]): Standstill {
  const none: Standstill = { wallMs: 0, cpuMs: 0, collectorMs: 0 }
  return stood.reduce((most, one) => (one.wallMs > most.wallMs ? one : most), none)
}

async function fetchByProxy(node: TestnetNode, address: string, bytes: number): Promise<void> {
  const host = `${address}.gyre`
  const got = await ask(parseHostPort(node.proxy.slice('http://'.length)), { path: `http://${host}/`, headers: { Host: host } })
  if (got.status !== 200 || got.body.length !== bytes) throw new Error(`GET ${host}: ${got.status}, ${got.body.length} bytes.`)
}

/** The publisher is node `at`, the reader the last but `at`. */
async function round(testnet: Testnet, watch: Watch, at: number): Promise<void> {
  const publisher = testnet.node(at)
  const reader = testnet.node(testnet.nodes.length - 1 - at)
  const publish = async (bytes: number, salt: number) => (await publishContent(publisher, bytes, 4 * at + salt)).address
  await watch.over(publisher, 'nothing, 5 s', () => rest(QUIET_MS))
  const message = await watch.over(publisher, 'a message published, first', () => publish(MESSAGE_BYTES, 0))
  const page = await watch.over(publisher, 'a page published', () => publish(PAGE_BYTES, 1))
  const second = await watch.over(publisher, 'a message published, again', () => publish(MESSAGE_BYTES, 2))
  const file = await watch.over(publisher, 'a megabyte published', () => publish(FILE_BYTES, 3))
  await watch.over(reader, 'nothing, 5 s', () => rest(QUIET_MS))
  await watch.over(reader, 'a message read, first', () => fetchByProxy(reader, message, MESSAGE_BYTES))
  await watch.over(reader, 'a page read, first', () => fetchByProxy(reader, page, PAGE_BYTES))
  await watch.over(reader, 'a message read, again', () => fetchByProxy(reader, second, MESSAGE_BYTES))
  await watch.over(reader, 'a megabyte read', () => fetchByProxy(reader, file, FILE_BYTES))
}

const { values } = parseArgs({
  options: {
    nodes: { type: 'string', default: '8' },
    clock: { type: 'string', default: 'steady' },
    rounds: { type: 'string', default: '3' },
    load: { type: 'string', default: '0' },
    json: { type: 'boolean', default: false },
  },
})
const clock = CLOCKS.find((one) => one === values.clock)
const [nodes, rounds] = [Number(values.nodes), Number(values.rounds)]
if (clock === undefined || !(rounds >= 1) || !(nodes >= 2 * rounds)) {
  console.error('--clock steady, fixed or swift; two nodes for each round.')
  process.exit(2)
}
const watch = new Watch()
/** Other programs that want the processor all the time. */
const busy = Array.from({ length: Number(values.load) }, () =>
  spawn(process.execPath, ['-e', 'for (;;) Math.sqrt(2)'], { stdio: 'ignore' }),
)
try {
  const testnet = await startTestnet({ nodes, clock, signal, env: watch.env })
  try {
    if (clock !== 'swift') await rest(SETTLE_MS)
    for (let at = 0; at < rounds; at++) await round(testnet, watch, at)
  } finally {
    await testnet.close()
  }
  if (values.json) console.log(JSON.stringify(Object.fromEntries(watch.found)))
  else {
    console.log(
      "longest standstill, ms: by the clock (own computing; in pauses of the collector), of each node's links, and of the node",
    )
    const text = (one: Standstill) => `${one.wallMs.toFixed(0)} (${one.cpuMs.toFixed(1)}; ${one.collectorMs.toFixed(1)})`
    for (const [what, stood] of watch.found) {
      const links = stood.map((one) => text(one.links)).join(', ')
      console.log(`${what.padEnd(30)} ${links.padEnd(45)} ${stood.map((one) => text(one.node)).join(', ')}`)
    }
  }
} finally {
  for (const child of busy) child.kill()
  watch.close()
}
