/**
 * What a network with the clock steady costs when nobody does anything, and how soon it is of use: real node processes on loopback. Ready; bytes that
 * cross all links of a node in a while of nothing, from the kernel's own counters; a page of 300 KiB through the proxy at three nodes that have
 * asked for nothing before, then again; 1 MiB published and fetched. `node test/bench/steady.ts [--nodes 8] [--cover medium] [--hold MS]`, or
 * by `run.ts`, whose part it is.
 */
import { spawnSync } from 'node:child_process'
import { parseArgs } from 'node:util'
import { getJson } from '../../client/cli/api-client.ts'
import type { NodeStatus, Publication, SitePublication } from '../../client/library.ts'
import { apiOf, startTestnet, type Testnet, type TestnetNode } from '../../client/testnet/index.ts'
import { COVERS, type Cover, parseHostPort } from '../../src/config/index.ts'
import { systemClock } from '../../src/runtime/index.ts'
import { ask } from '../support/http.ts'
import { seededRng } from '../support/seeded-rng.ts'
import { tarOf } from '../support/tar-maker.ts'

export interface SteadyOptions {
  readonly nodes?: number
  readonly cover?: Cover
  /** Default: the node's own. */
  readonly holdMs?: number | undefined
}

export interface SteadyFigures {
  readonly readyMs: number
  /** Mean over nodes, each way; and that of the node with most. `null`: this machine does not tell. */
  readonly idleMbitps: number | null
  readonly idleMostMbitps: number | null
  /** As `GET /v1/status` says for one node: its own loops and control slots, without what it relays. */
  readonly ownMbitps: number
  readonly pageColdMs: readonly number[]
  readonly pageWarmMs: number
  readonly publishMs: number
  readonly fetchMs: number
}

const PAGE_BYTES = 300 * 1024
const FILE_BYTES = 1024 * 1024
/** From ready until the standing loops of all nodes run, and how long nothing is looked at. */
const SETTLE_MS = 20_000
const IDLE_MS = 30_000

/** Bytes that each process has sent over its links so far. */
function sentBytes(testnet: Testnet): Map<number, number> | null {
  const ports = new Set(testnet.nodes.flatMap(({ listen }) => listen.map((address) => /\/tcp\/(\d+)/.exec(address)?.[1])))
  const listing = spawnSync('ss', ['-tinpHO'], { encoding: 'utf8', maxBuffer: 2 ** 26 })
  if (listing.status !== 0) return null
  const sent = new Map(testnet.nodes.map(({ pid }) => [pid, 0]))
  for (const line of listing.stdout.split('\n')) {
    const pid = Number(/pid=(\d+)/.exec(line)?.[1])
    const [, , , local, peer] = line.trim().split(/\s+/)
    const isLink = [local, peer].some((end) => ports.has(end?.split(':').at(-1)))
    const bytes = Number(/bytes_sent:(\d+)/.exec(line)?.[1] ?? 0)
    if (isLink && sent.has(pid)) sent.set(pid, sent.get(pid)! + bytes)
  }
  return sent
}

const api = (node: TestnetNode) => parseHostPort(node.api.slice('http://'.length))
const own = (node: TestnetNode) => ({ Authorization: `Bearer ${node.token}` })

async function timed<T>(run: () => Promise<T>): Promise<readonly [T, number]> {
  const began = systemClock.monotonicMs()
  const value = await run()
  return [value, Math.round(systemClock.monotonicMs() - began)]
}

async function page(node: TestnetNode, host: string): Promise<number> {
  const [got, ms] = await timed(() =>
    ask(parseHostPort(node.proxy.slice('http://'.length)), { path: `http://${host}/`, headers: { Host: host } }),
  )
  if (got.status !== 200 || got.body.length !== PAGE_BYTES) throw new Error(`The page: ${got.status}, ${got.body.length} bytes.`)
  return ms
}

export async function measureSteady({ nodes = 8, cover = 'medium', holdMs }: SteadyOptions = {}): Promise<SteadyFigures> {
  const { signal } = new AbortController()
  const flags = ['--cover', cover, ...(holdMs === undefined ? [] : ['--hold', String(holdMs)])]
  const [testnet, readyMs] = await timed(() => startTestnet({ nodes, clock: 'steady', signal, flags }))
  try {
    await systemClock.sleep(SETTLE_MS, { signal })
    const before = sentBytes(testnet)
    await systemClock.sleep(IDLE_MS, { signal })
    const after = sentBytes(testnet)
    const rates = [...(before ?? [])].map(([pid, bytes]) => ((after?.get(pid) ?? bytes) - bytes) * (8 / 1000 / IDLE_MS))
    const idle = before === null || after === null ? null : rates
    const { paced } = await getJson<NodeStatus>(apiOf(testnet.node(1)), '/v1/status', signal)
    const publisher = testnet.node(0)
    const rng = seededRng('steady bench')
    const content = Buffer.from(rng.bytes(PAGE_BYTES / 2)).toString('hex')
    const site = await ask(api(publisher), {
      method: 'POST',
      path: '/v1/sites?key=bench',
      headers: { ...own(publisher), 'Content-Type': 'application/x-tar' },
      body: await tarOf([{ name: 'index.html', content }]),
    })
    if (site.status !== 201) throw new Error(`POST /v1/sites: ${site.status} ${site.body.toString()}`)
    const host = `${(JSON.parse(site.body.toString()) as SitePublication).address}.gyre`
    const pageColdMs: number[] = []
    for (let at = 1; at <= 3; at++) pageColdMs.push(await page(testnet.node(nodes - at), host))
    const pageWarmMs = await page(testnet.node(nodes - 3), host)
    const [made, publishMs] = await timed(() =>
      ask(api(testnet.node(1)), {
        method: 'POST',
        path: '/v1/publish?keep=false',
        headers: own(testnet.node(1)),
        body: Buffer.from(rng.bytes(FILE_BYTES)),
      }),
    )
    if (made.status !== 201) throw new Error(`POST /v1/publish: ${made.status} ${made.body.toString()}`)
    const { address } = JSON.parse(made.body.toString()) as Publication
    const reader = testnet.node(2)
    const [fetched, fetchMs] = await timed(() => ask(api(reader), { path: `/v1/fetch/${address}`, headers: own(reader) }))
    if (fetched.status !== 200 || fetched.body.length !== FILE_BYTES) throw new Error(`GET /v1/fetch: ${fetched.status}`)
    return {
      readyMs,
      idleMbitps: idle && idle.reduce((sum, rate) => sum + rate, 0) / idle.length,
      idleMostMbitps: idle && Math.max(...idle),
      ownMbitps: ((paced?.bytesPerHour ?? 0) * 8) / 3600 / 1e6,
      pageColdMs,
      pageWarmMs,
      publishMs,
      fetchMs,
    }
  } finally {
    await testnet.close()
  }
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: { nodes: { type: 'string' }, cover: { type: 'string' }, hold: { type: 'string' } },
  })
  const cover = COVERS.find((one) => one === values.cover)
  const found = await measureSteady({
    nodes: Number(values.nodes ?? 8),
    ...(cover === undefined ? {} : { cover }),
    holdMs: values.hold === undefined ? undefined : Number(values.hold),
  })
  console.log(JSON.stringify(found))
}
