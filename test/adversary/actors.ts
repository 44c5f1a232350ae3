/**
 * Does what a scene says, over the faces that users have: fetches and publishes through the API, connections to live services through the proxy.
 * Each actor works, rests for a random time and works again until its window ends; what is under way then is broken off.
 */
import { createServer, type Server, type Socket } from 'node:net'
import { call, getJson, parseJson, readText } from '../../client/cli/api-client.ts'
import type { Publication, ServiceStatus } from '../../client/library.ts'
import { apiOf, type TestnetNode } from '../../client/testnet/index.ts'
import { connectThrough } from '../support/connect.ts'
import type { SeededRng } from '../support/seeded-rng.ts'
import type { Actor, Scene, ServiceCarriage, Size, Workload } from './scenes.ts'

/** One piece of work that came to its end. */
export interface Deed {
  readonly kind: Actor['kind']
  readonly size: Size
  readonly bytes: number
  /** To the first byte, and to the last. For publications both the same. */
  readonly firstByteMs: number
  readonly ms: number
}

export interface Deeds {
  readonly done: Deed[]
  /** Pieces of work that failed by themselves (not because the window ended), with what they said. */
  readonly failed: string[]
  /** Payload bytes that moved, also in work that was broken off. */
  bytes: number
}

const SERVICE = 'lab'
const SERVICE_UP_MS = 420_000
const STAGGER_MS = 2_500
/** A client that is not connected so long after its service is up is tried again when its scene comes. */
const CONNECTED_MS = 60_000
const POLL_MS = 250
/** Longest wait of an actor before its first piece of work. */
const FIRST_WAIT_MS = 2_000

/** The TCP target behind all services: a line with a number asks for so many bytes. */
export async function startTarget(): Promise<{ readonly port: number; close(): Promise<void> }> {
  const sockets = new Set<Socket>()
  const server: Server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => socket.destroy())
    socket.on('close', () => sockets.delete(socket))
    socket.once('data', (line: Buffer) => socket.end(Buffer.alloc(Number(line.toString('latin1')), 0x61)))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return {
    port: address.port,
    close: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy()
        server.close(() => resolve())
      }),
  }
}

/** Makes every node host a service; gives for each node's index its address as soon as it is up. */
export function hostServices(
  nodes: readonly TestnetNode[],
  { port, carriage }: { readonly port: number; readonly carriage: ServiceCarriage | null },
  signal: AbortSignal,
): Map<number, Promise<string>> {
  const add = async (node: TestnetNode): Promise<string> => {
    const body = Buffer.from(JSON.stringify({ name: SERVICE, target: `127.0.0.1:${port}`, port: 80, ...carriage }))
    const headers = { 'Content-Type': 'application/json', 'Content-Length': body.length }
    const path = '/v1/services'
    const response = await call(apiOf(node), { method: 'POST', path, headers, signal, send: (sent) => void sent.end(body) })
    return (parseJson(await readText(response, signal)) as { address: string }).address
  }
  // Under a paced clock set-ups wait for control slots: those of all services at once would come too late, and be tried again and again.
  const up = async (node: TestnetNode, at: number): Promise<string> => {
    await rest(carriage === null ? 0 : at * STAGGER_MS, signal)
    const address = await add(node)
    const end = performance.now() + SERVICE_UP_MS
    for (;;) {
      const { state } = await getJson<ServiceStatus>(apiOf(node), `/v1/services/${SERVICE}`, signal)
      if (state === 'up') return address
      if (performance.now() > end) throw new Error(`The service of node ${node.index} is not up: ${state}.`)
      await rest(POLL_MS, signal)
    }
  }
  const coming = nodes.map((node, at) => [node.index, up(node, at)] as const)
  for (const [, address] of coming) address.catch(() => {}) // whoever waits for it hears of it
  return new Map(coming)
}

export async function publish(node: TestnetNode, bytes: Uint8Array, signal: AbortSignal): Promise<string> {
  const headers = { 'Content-Type': 'application/octet-stream', 'Content-Length': bytes.length }
  const path = '/v1/publish'
  const response = await call(apiOf(node), { method: 'POST', path, headers, signal, send: (sent) => void sent.end(bytes) })
  return (parseJson(await readText(response, signal)) as Publication).address
}

export interface Stage {
  readonly nodes: readonly TestnetNode[]
  /** Addresses by node. */
  readonly services: ReadonlyMap<number, string>
  /** Addresses published before, by size. */
  readonly library: Readonly<Record<Size, readonly string[]>>
  readonly workload: Workload
}

/**
 * Has each client of a scene to come connected with its service once, as soon as that is up, and keeps that connection: under a paced clock a first
 * connection takes about as long as a scene or more, and then nothing would be served in any.
 */
export async function openSessions(
  scenes: readonly Scene[],
  nodes: readonly TestnetNode[],
  services: ReadonlyMap<number, Promise<string>>,
  signal: AbortSignal,
): Promise<{ readonly opened: number; readonly of: number; end(): void }> {
  const live = scenes.flatMap(({ actors }) => actors.filter((actor) => actor.kind === 'live'))
  const pairs = new Map(live.map((actor) => [`${actor.client} ${actor.server}`, actor]))
  const opened = await Promise.allSettled(
    [...pairs.values()].map(async ({ client, server }) => {
      const host = `${await services.get(server)}.gyre`
      const inTime = AbortSignal.any([signal, AbortSignal.timeout(CONNECTED_MS)])
      const socket = await connectThrough(nodes[client]!, host, 80, undefined, inTime)
      return socket.on('error', () => {}).resume()
    }),
  )
  const sockets = opened.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []))
  const end = () => {
    for (const socket of sockets) socket.destroy()
  }
  return { opened: sockets.length, of: pairs.size, end }
}

/** Plays one scene for `ms`. Never rejects for work that fails: it is counted. */
export async function play(scene: Scene, stage: Stage, ms: number, rng: SeededRng, signal: AbortSignal): Promise<Deeds> {
  const deeds: Deeds = { done: [], failed: [], bytes: 0 }
  const over = AbortSignal.any([signal, AbortSignal.timeout(ms)])
  const acting = scene.actors.map((actor, at) => act(actor, stage, rng.fork(`actor ${at}`), deeds, over))
  await Promise.all([rest(ms, signal), ...acting])
  return deeds
}

async function act(actor: Actor, stage: Stage, rng: SeededRng, deeds: Deeds, signal: AbortSignal): Promise<void> {
  const { restMs } = stage.workload
  await rest(rng.unit() * FIRST_WAIT_MS, signal)
  while (!signal.aborted) {
    try {
      await perform(actor, stage, rng, deeds, signal)
    } catch (error) {
      if (!signal.aborted) deeds.failed.push(`${actor.kind}: ${error instanceof Error ? error.message : String(error)}`)
    }
    await rest(-Math.log(1 - rng.unit()) * restMs[actor.size], signal)
  }
}

async function perform(actor: Actor, stage: Stage, rng: SeededRng, deeds: Deeds, signal: AbortSignal): Promise<void> {
  const { nodes, services, library, workload } = stage
  const wanted = workload.bytes[actor.size]
  const began = performance.now()
  let firstByteMs = 0
  let bytes = 0
  const take = async (source: AsyncIterable<Buffer>) => {
    for await (const part of source) {
      firstByteMs ||= performance.now() - began
      bytes += part.length
      deeds.bytes += part.length
    }
  }
  if (actor.kind === 'publish') {
    await publish(nodes[actor.node]!, rng.bytes(wanted), signal)
    bytes = wanted
    deeds.bytes += wanted
  } else if (actor.kind === 'fetch') {
    const choice = library[actor.size]
    const response = await call(apiOf(nodes[actor.node]!), { path: `/v1/fetch/${choice[rng.below(choice.length)]}`, signal })
    await take(response)
  } else {
    const host = `${services.get(actor.server)}.gyre`
    const socket = await connectThrough(nodes[actor.client]!, host, 80, undefined, signal)
    const onAbort = () => socket.destroy()
    signal.addEventListener('abort', onAbort, { once: true })
    if (signal.aborted) onAbort()
    socket.on('error', () => {})
    socket.write(`${wanted}\n`)
    try {
      await take(socket)
    } finally {
      signal.removeEventListener('abort', onAbort)
      socket.destroy()
    }
    if (bytes < wanted) throw new Error(`${bytes} of ${wanted} bytes came`)
  }
  const ms = performance.now() - began
  deeds.done.push({ kind: actor.kind, size: actor.size, bytes, firstByteMs: firstByteMs || ms, ms })
}

/** Waits; ends early and quietly when the signal aborts. */
export function rest(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve()
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer)
      signal.removeEventListener('abort', end)
      resolve()
    }
    const timer = setTimeout(end, ms)
    signal.addEventListener('abort', end, { once: true })
  })
}
