/**
 * One real node for the loop benchmark, driven over IPC: builds loops, moves bytes round them with pings, and tells its own CPU time and
 * memory. Started by `loop.ts`.
 */

import type { OriginLoop } from '../../client/loops/origin-loop.ts'
import { startNode } from '../../client/node.ts'
import { loadConfig } from '../../src/config/index.ts'
import { createLog } from '../../src/log/index.ts'
import { encodeHopRequest, parseHopReply } from '../../src/wire/index.ts'

export interface LoopNodeConfig {
  readonly dataDir: string
  readonly listen: readonly string[]
  readonly bootstrap: readonly string[]
  readonly network: string
}

export type LoopNodeCommand =
  | { readonly kind: 'usage' }
  | { readonly kind: 'memory' }
  | { readonly kind: 'ready' }
  | { readonly kind: 'move'; readonly direction: 'down' | 'up'; readonly bytes: number; readonly loops: number }
  | { readonly kind: 'build'; readonly count: number; readonly atOnce: number }
  | { readonly kind: 'hold'; readonly count: number }

const ANSWER_BYTES = 65_536
const ASKS_AT_ONCE = 16

const { dataDir, ...flags } = JSON.parse(process.argv[2] ?? '{}') as LoopNodeConfig
const config = loadConfig({ flags: { ...flags, clock: 'swift', 'data-dir': dataDir }, env: {} })
const node = await startNode(config, createLog('error'))
const never = new AbortController()
const held: OriginLoop[] = []

function anyApex(at: number): Parameters<typeof node.pool.take>[0] {
  const others = node.directory.all().filter(({ id }) => id !== node.face.status().id)
  return others[at % others.length]!.id
}

/** A loop through all five others: in a network that has just begun some are shorter. */
async function wholeLoop(at: number): Promise<OriginLoop> {
  for (let tries = 0; tries < 30; tries++) {
    const loop = await node.pool.take(anyApex(at + tries), never)
    if (loop.hops.length === 5) return loop
    node.pool.release(loop)
    await new Promise((resolve) => setTimeout(resolve, 300))
  }
  throw new Error('no loop through five others')
}

async function move(direction: 'down' | 'up', bytes: number, count: number): Promise<object> {
  const loops = await Promise.all(Array.from({ length: count }, (_, at) => wholeLoop(at)))
  const down = { kind: 'ping', filler: new Uint8Array(0), answerBytes: ANSWER_BYTES } as const
  const up = { kind: 'ping', filler: new Uint8Array(ANSWER_BYTES), answerBytes: 0 } as const
  const request = encodeHopRequest(direction === 'down' ? down : up)
  let left = Math.ceil(bytes / ANSWER_BYTES)
  const roundTrips: number[] = []
  const startedMs = performance.now()
  const sampler = setInterval(() => {
    for (const loop of loops) roundTrips.push(loop.figures.lastRoundTripMs)
  }, 5)
  const worker = async (loop: OriginLoop) => {
    while (left-- > 0) {
      const reply = parseHopReply(await loop.ask(request, never))
      if (reply?.status !== 'ok') throw new Error('a ping failed')
    }
  }
  await Promise.all(loops.flatMap((loop) => Array.from({ length: ASKS_AT_ONCE }, () => worker(loop))))
  const ms = performance.now() - startedMs
  clearInterval(sampler)
  roundTrips.sort((a, b) => a - b)
  const at = (share: number) => roundTrips[Math.min(roundTrips.length - 1, Math.floor(roundTrips.length * share))] ?? 0
  const figures = loops.map((loop) => loop.figures)
  for (const loop of loops) node.pool.release(loop)
  return {
    ms,
    roundTripP50Ms: at(0.5),
    roundTripP99Ms: at(0.99),
    windowCells: figures[0]?.windowCells,
    members: loops[0]?.hops.length,
  }
}

async function build(count: number, atOnce: number): Promise<object> {
  const times: number[] = []
  let left = count
  const startedMs = performance.now()
  const worker = async () => {
    while (left-- > 0) {
      const begunMs = performance.now()
      const loop = await node.builder.build(undefined, () => {}, never)
      times.push(performance.now() - begunMs)
      loop.close()
    }
  }
  await Promise.all(Array.from({ length: atOnce }, worker))
  const ms = performance.now() - startedMs
  times.sort((a, b) => a - b)
  return { ms, medianMs: times[Math.floor(times.length / 2)], p99Ms: times[Math.floor(times.length * 0.99)] }
}

async function hold(count: number): Promise<object> {
  while (held.length < count) held.push(await node.builder.build(undefined, () => {}, never))
  return { held: held.length }
}

process.on('message', async (command: LoopNodeCommand) => {
  const answer = async (): Promise<object> => {
    switch (command.kind) {
      case 'usage': {
        const { user, system } = process.cpuUsage()
        return { cpuSeconds: (user + system) / 1e6 }
      }
      case 'memory': {
        globalThis.gc?.()
        return { rssBytes: process.memoryUsage.rss() }
      }
      case 'ready':
        return { nodes: node.face.status().nodesKnown, loops: node.face.status().loopsReady }
      case 'move':
        return move(command.direction, command.bytes, command.loops)
      case 'build':
        return build(command.count, command.atOnce)
      case 'hold':
        return hold(command.count)
    }
  }
  try {
    process.send?.({ kind: command.kind, ...(await answer()) })
  } catch (error) {
    process.send?.({ kind: command.kind, error: String(error) })
  }
})
process.on('disconnect', () => process.exit(0))
process.send?.({ kind: 'started', addresses: node.addresses })
