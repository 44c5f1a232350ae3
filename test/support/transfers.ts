/** Long transfers as apps make them, watched: a fetch over the API, a download from a live service, a publication. How long each stood still at most. */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { call, parseJson, readText } from '../../client/cli/api-client.ts'
import type { Publication } from '../../client/library.ts'
import { apiOf, type TestnetNode } from '../../client/testnet/index.ts'
import { systemClock } from '../../src/runtime/index.ts'
import { connectThrough } from './connect.ts'
import { seededRng } from './seeded-rng.ts'

const MiB = 2 ** 20
/** Bytes from each of which the next differ by their number. */
const block = Buffer.from(seededRng('transfers').bytes(MiB))

/** Content of `bytes` bytes, in pieces of 1 MiB; `salt` makes it another one. */
export function* contentOf(bytes: number, salt: number): Generator<Buffer> {
  for (let at = 0; at < bytes; at += MiB) {
    const piece = Buffer.from(block.subarray(0, Math.min(MiB, bytes - at)))
    piece.writeUInt32LE(salt)
    piece.writeUInt32LE(at / MiB, 4)
    yield piece
  }
}

export function hashOf(bytes: number, salt: number): string {
  const hash = createHash('sha256')
  for (const piece of contentOf(bytes, salt)) hash.update(piece)
  return hash.digest('hex')
}

export interface Transferred {
  readonly ms: number
  readonly bytes: number
  readonly hash: string
  /** Until the first byte, from when it was asked for. */
  readonly firstMs: number
  /** The longest time without a byte after that, as far as bytes were waited for. */
  readonly stallMs: number
  /** When that one began, from the start. */
  readonly stallAtMs: number
}

/** Reads all of `source`, at `bytesPerSec` at most. */
export async function watched(
  source: AsyncIterable<unknown>,
  began: number,
  bytesPerSec = Number.POSITIVE_INFINITY,
): Promise<Transferred> {
  const { signal } = new AbortController()
  const hash = createHash('sha256')
  let [bytes, firstMs, stallMs, stallAtMs] = [0, -1, 0, 0]
  let from = began
  for await (const chunk of source) {
    const now = systemClock.monotonicMs()
    if (firstMs < 0) firstMs = now - began
    else if (now - from > stallMs) [stallMs, stallAtMs] = [now - from, from - began]
    hash.update(chunk as Buffer)
    bytes += (chunk as Buffer).length
    const ahead = (bytes / bytesPerSec) * 1000 - (now - began - firstMs)
    if (ahead > 20) await systemClock.sleep(ahead, { signal })
    from = systemClock.monotonicMs()
  }
  const now = systemClock.monotonicMs()
  if (now - from > stallMs) [stallMs, stallAtMs] = [now - from, from - began]
  return { ms: now - began, bytes, hash: hash.digest('hex'), firstMs, stallMs, stallAtMs }
}

/** Fetches `address` through the API of `node`. */
export async function fetchWatched(node: TestnetNode, address: string, bytesPerSec?: number): Promise<Transferred> {
  const { signal } = new AbortController()
  const began = systemClock.monotonicMs()
  const answer = await call(apiOf(node), { path: `/v1/fetch/${address}`, signal })
  const result = await watched(answer, began, bytesPerSec)
  if (!(answer as IncomingMessage).complete) throw new Error('the answer was cut short')
  return result
}

/** Publishes `bytes` bytes of `salt` through `node`. */
export async function publishContent(node: TestnetNode, bytes: number, salt: number): Promise<Publication> {
  const { signal } = new AbortController()
  const headers = { 'Content-Type': 'application/octet-stream', 'Content-Length': bytes }
  const send = async (request: { write(piece: Buffer): boolean; end(): void; once(event: 'drain', then: () => void): void }) => {
    for (const piece of contentOf(bytes, salt)) {
      if (!request.write(piece)) await new Promise<void>((resolve) => request.once('drain', resolve))
    }
    request.end()
  }
  const answer = await call(apiOf(node), {
    method: 'POST',
    path: '/v1/publish',
    headers,
    signal,
    send: (request) => void send(request),
  })
  return parseJson(await readText(answer, signal)) as Publication
}

/** A TCP target that sends `contentOf(bytes, salt)` to who says `get BYTES SALT`, and closes. */
export async function contentServer(): Promise<{ readonly port: number; readonly server: Server }> {
  const serve = (socket: Socket) => {
    socket.on('error', () => {})
    socket.on('close', () => socket.emit('drain')) // who waits for one looks again
    socket.once('data', (line: Buffer) => {
      const [, bytes, salt] = line.toString('latin1').split(' ')
      sendAll(socket, Number(bytes), Number(salt)).catch(() => {}) // the reader is gone
    })
  }
  const server = createServer(serve)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { port: (server.address() as AddressInfo).port, server }
}

async function sendAll(socket: Socket, bytes: number, salt: number): Promise<void> {
  for (const piece of contentOf(bytes, salt)) {
    if (socket.destroyed) return
    if (!socket.write(piece)) await once(socket, 'drain')
  }
  socket.end()
}

/** Offers `port` of this machine as the service `web` of `node`; its address. */
export async function offerService(node: TestnetNode, port: number): Promise<string> {
  const { signal } = new AbortController()
  const body = Buffer.from(JSON.stringify({ name: 'web', target: `127.0.0.1:${port}`, port: 80 }))
  const headers = { 'Content-Type': 'application/json', 'Content-Length': body.length }
  const send = (request: { end(body: Buffer): void }) => request.end(body)
  const answer = await call(apiOf(node), { method: 'POST', path: '/v1/services', headers, signal, send })
  return (parseJson(await readText(answer, signal)) as { address: string }).address
}

/** Downloads `bytes` bytes from the service at `address` through the proxy of `node`. */
export async function downloadWatched(
  node: TestnetNode,
  address: string,
  { bytes, salt, bytesPerSec }: { readonly bytes: number; readonly salt: number; readonly bytesPerSec?: number },
): Promise<Transferred> {
  const began = systemClock.monotonicMs()
  const socket = await connectThrough(node, `${address}.gyre`, 80, `user ${salt}`)
  socket.write(`get ${bytes} ${salt}`)
  return watched(socket, began, bytesPerSec)
}
