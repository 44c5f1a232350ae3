/**
 * Reading a socket without a stream event and without a fresh buffer for each TLS record.
 *
 * Node delivers each decrypted record, here one cell, as a `data` event with its own buffer. Measured (test/bench/link.ts, 2048-byte
 * records): that costs the reading side about twice the CPU of Node's `onread` option, which hands out one fixed buffer. But `onread` is
 * accepted only for sockets that Node connects itself, not for accepted ones. So this module moves the option onto an accepted socket: it
 * takes the three properties that `onread` sets from a donor socket, and tells the native handle to use the buffer. Where a Node version
 * does not have them, the socket is read by `data` events: slower, the same in all else (both ways run in the contract suite).
 * Source: node/lib/net.js (`initSocketHandle`), node/lib/internal/stream_base_commons.js (`onStreamRead`).
 */
import { Socket } from 'node:net'

/** Bytes come in one buffer that is used again: borrowed until return. */
export type OnBytes = (bytes: Uint8Array) => void

/** How a socket is being read. */
export interface Reading {
  readonly direct: boolean
  pause(): void
  resume(): void
}

/** One for all sockets: it is filled and emptied within one native call. */
const SHARED_BUFFER_BYTES = 64 * 1024

/** Which properties of a socket `onread` sets, by their symbols' descriptions. */
const ONREAD_PROPERTIES = ['kBuffer', 'kBufferCb', 'kBufferGen'] as const

interface HandleWithUserBuffer {
  useUserBuffer(buffer: Uint8Array): void
}

type Properties = Record<symbol, unknown>

function handleOf(socket: Socket): HandleWithUserBuffer | null {
  const handle: unknown = Reflect.get(socket, '_handle')
  if (typeof handle !== 'object' || handle === null) return null
  return typeof Reflect.get(handle, 'useUserBuffer') === 'function' ? (handle as HandleWithUserBuffer) : null
}

const sharedBuffer = new Uint8Array(SHARED_BUFFER_BYTES)

/** Reads `socket` from now on, what it has already buffered first. `direct: false` asks for plain events. */
export function readDirectly(socket: Socket, onBytes: OnBytes, { direct = true }: { direct?: boolean } = {}): Reading {
  const reading = direct ? adopt(socket, onBytes) : null
  return reading ?? readByEvents(socket, onBytes)
}

/** Moves `onread` onto `socket`; `null`, with nothing changed, if this Node does not let us. */
function adopt(socket: Socket, onBytes: OnBytes): Reading | null {
  const handle = handleOf(socket)
  if (handle === null) return null
  const callback = (count: number, buffer: Uint8Array) => {
    onBytes(buffer.subarray(0, count))
    return true
  }
  const donor = new Socket({ onread: { buffer: sharedBuffer, callback } } as ConstructorParameters<typeof Socket>[0])
  const symbols = Object.getOwnPropertySymbols(donor).filter((symbol) =>
    ONREAD_PROPERTIES.some((name) => name === symbol.description),
  )
  if (symbols.length !== ONREAD_PROPERTIES.length) return null
  // What came before goes first; then nothing goes through the stream any more.
  for (let early: Uint8Array | null = socket.read(); early !== null; early = socket.read()) onBytes(early)
  for (const symbol of symbols) (socket as unknown as Properties)[symbol] = (donor as unknown as Properties)[symbol]
  handle.useUserBuffer(sharedBuffer)
  // `pause` and `resume` of a socket with `onread` stop and start the handle itself.
  socket.resume()
  return { direct: true, pause: () => void socket.pause(), resume: () => void socket.resume() }
}

function readByEvents(socket: Socket, onBytes: OnBytes): Reading {
  socket.on('data', onBytes)
  return { direct: false, pause: () => void socket.pause(), resume: () => void socket.resume() }
}
