/**
 * A live service on a network of eight real node processes, used from another node through its proxy's CONNECT: first byte of 1 KiB on a
 * fresh session and on a ready one, one stream down and up, eight streams, 100 connections at once. CPU is summed over all node processes.
 * Used by `run.ts`; alone: `node test/bench/service.ts`.
 */
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { call, getJson, parseJson, readText } from '../../client/cli/api-client.ts'
import type { ServiceStatus } from '../../client/library.ts'
import { apiOf, startTestnet, type TestnetNode } from '../../client/testnet/index.ts'
import { connectThrough } from '../support/connect.ts'

/**
 * Tor 0.4.9.11 on a two-core machine of this kind: a private network of 8 relays, one client, one onion service, loopback. Measured once,
 * elsewhere, and written down here; compare ratios and CPU seconds, not absolute times, across machines.
 */
export const TOR = {
  oneStreamMBps: 5.5,
  cpuSecondsPerGiB: 73.4,
  /** Of exit circuits, not onion services. */
  firstByteReadyMs: 11.5,
  firstByteOnDemandMs: 34,
} as const

export interface ServiceFigures {
  readonly upMs: number
  readonly firstByteFreshMs: number
  readonly firstByteFreshP90Ms: number
  readonly firstByteReadyMs: number
  readonly firstByteReadyP90Ms: number
  readonly downMBps: number
  readonly downCpuPerGiB: number
  readonly uploadMBps: number
  readonly uploadCpuPerGiB: number
  readonly eightMBps: number
  readonly eightCpuPerGiB: number
  readonly hundredMs: number
}

const MiB = 2 ** 20

/** Sends or takes as many bytes as the first line says: `down N` or `up N`. */
export async function startTarget(): Promise<{ readonly port: number; close(): void }> {
  const block = Buffer.alloc(65_536, 0x5a)
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {})
    socket.once('data', (first: Buffer) => {
      const end = first.indexOf(10)
      const [what, count] = first.subarray(0, end).toString('latin1').split(' ')
      if (what === 'down') return void send(socket, block, Number(count))
      let left = Number(count) - (first.length - end - 1)
      const onData = (part: Buffer) => {
        left -= part.length
        if (left <= 0) socket.end('done\n')
      }
      socket.on('data', onData)
      onData(Buffer.alloc(0))
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { port: (server.address() as AddressInfo).port, close: () => server.close() }
}

async function send(socket: Socket, block: Buffer, bytes: number): Promise<void> {
  for (let left = bytes; left > 0 && !socket.destroyed; left -= block.length) {
    if (!socket.write(block.subarray(0, Math.min(left, block.length)))) await once(socket, 'drain').catch(() => {})
  }
  socket.end()
}

/** Hosts a service for `targetPort` at `node` and waits until it is up. */
export async function hostService(
  node: TestnetNode,
  name: string,
  targetPort: number,
  carriage: { readonly loops?: number; readonly rate?: number } = {},
): Promise<string> {
  const { signal } = new AbortController()
  const body = Buffer.from(JSON.stringify({ name, target: `127.0.0.1:${targetPort}`, port: 80, ...carriage }))
  const headers = { 'Content-Type': 'application/json', 'Content-Length': body.length }
  const response = await call(apiOf(node), {
    method: 'POST',
    path: '/v1/services',
    headers,
    signal,
    send: (sent) => sent.end(body),
  })
  const text = await readText(response, signal)
  if (response.statusCode !== 201) throw new Error(`POST /v1/services: ${response.statusCode} ${text}`)
  const { address } = parseJson(text) as { address: string }
  for (;;) {
    const status = await getJson<ServiceStatus>(apiOf(node), `/v1/services/${name}`, signal)
    if (status.state === 'up') return address
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

interface Moved {
  readonly ms: number
  readonly firstByteMs: number
}

export async function down(node: TestnetNode, address: string, user: string, bytes: number): Promise<Moved> {
  const began = performance.now()
  const socket = await connectThrough(node, `${address}.gyre`, 80, user)
  socket.write(`down ${bytes}\n`)
  let got = 0
  let firstByteMs = 0
  for await (const part of socket) {
    if (got === 0) firstByteMs = performance.now() - began
    got += (part as Buffer).length
  }
  if (got !== bytes) throw new Error(`${got} of ${bytes} bytes came`)
  return { ms: performance.now() - began, firstByteMs }
}

async function up(node: TestnetNode, address: string, user: string, bytes: number): Promise<Moved> {
  const began = performance.now()
  const socket = await connectThrough(node, `${address}.gyre`, 80, user)
  socket.write(`up ${bytes}\n`)
  const block = Buffer.alloc(65_536, 0x5a)
  const answer = once(socket, 'data')
  for (let left = bytes; left > 0; left -= block.length) {
    if (!socket.write(block.subarray(0, Math.min(left, block.length)))) await once(socket, 'drain')
  }
  await answer
  socket.destroy()
  return { ms: performance.now() - began, firstByteMs: 0 }
}

/** CPU seconds of the processes so far. Clock ticks are hundredths on Linux. */
async function cpuSeconds(nodes: readonly TestnetNode[]): Promise<number> {
  let ticks = 0
  for (const { pid } of nodes) {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    ticks += Number(fields[11]) + Number(fields[12])
  }
  return ticks / 100
}

const quantile = (values: number[], part: number) => values.sort((a, b) => a - b)[Math.floor(values.length * part)]!

export async function measureService(bytes = 128 * MiB): Promise<ServiceFigures> {
  const target = await startTarget()
  const testnet = await startTestnet({ nodes: 8, clock: 'swift', signal: new AbortController().signal, logLevel: 'error' })
  try {
    const { nodes } = testnet
    const [owner, user] = [nodes[0]!, nodes[7]!]
    const beganMs = performance.now()
    const address = await hostService(owner, 'bench', target.port)
    const upMs = performance.now() - beganMs
    await down(user, address, 'warm', 1024)

    const fresh: number[] = []
    for (let at = 0; at < 20; at++) {
      fresh.push((await down(user, address, `fresh-${at}`, 1024)).firstByteMs)
      await new Promise((resolve) => setTimeout(resolve, 500))
    }
    const ready: number[] = []
    for (let at = 0; at < 40; at++) {
      ready.push((await down(user, address, 'warm', 1024)).firstByteMs)
      await new Promise((resolve) => setTimeout(resolve, 50 + 20 * (at % 10)))
    }

    const measured = async (work: () => Promise<unknown>, moved: number) => {
      const before = await cpuSeconds(nodes)
      const began = performance.now()
      await work()
      const ms = performance.now() - began
      return { MBps: moved / 1e3 / ms, cpuPerGiB: ((await cpuSeconds(nodes)) - before) / (moved / 2 ** 30) }
    }
    await down(user, address, 'warm', 16 * MiB)
    const one = await measured(() => down(user, address, 'warm', bytes), bytes)
    const upload = await measured(() => up(user, address, 'warm', bytes), bytes)
    const eight = await measured(
      () => Promise.all(Array.from({ length: 8 }, (_, at) => down(user, address, `eight-${at}`, bytes / 8))),
      bytes,
    )
    const began = performance.now()
    await Promise.all(Array.from({ length: 100 }, () => down(user, address, 'warm', 1024)))
    const hundredMs = performance.now() - began
    return {
      upMs,
      firstByteFreshMs: quantile(fresh, 0.5),
      firstByteFreshP90Ms: quantile(fresh, 0.9),
      firstByteReadyMs: quantile(ready, 0.5),
      firstByteReadyP90Ms: quantile(ready, 0.9),
      downMBps: one.MBps,
      downCpuPerGiB: one.cpuPerGiB,
      uploadMBps: upload.MBps,
      uploadCpuPerGiB: upload.cpuPerGiB,
      eightMBps: eight.MBps,
      eightCpuPerGiB: eight.cpuPerGiB,
      hundredMs,
    }
  } finally {
    await testnet.close()
    target.close()
  }
}

if (import.meta.main) console.log(await measureService())
