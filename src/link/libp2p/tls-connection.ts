/**
 * A TLS socket in the shape that libp2p's upgrader wants (`MultiaddrConnection`). Only its life goes through libp2p: cells go between the
 * socket and the link (`wire`). To send or read through it would bypass the cells, so it refuses.
 */
import type { TLSSocket } from 'node:tls'
import {
  type Logger,
  type MessageStreamDirection,
  type MessageStreamEvents,
  type MessageStreamStatus,
  type MultiaddrConnection,
  type MultiaddrConnectionTimeline,
  StreamCloseEvent,
  TypedEventEmitter,
} from '@libp2p/interface'
import type { Multiaddr } from '@multiformats/multiaddr'
import { OverlayError } from '../../errors/index.ts'
import type { Clock } from '../../runtime/index.ts'
import { quietLogger } from './quiet-log.ts'
import { TlsWire } from './tls-wire.ts'

export class TlsConnection extends TypedEventEmitter<MessageStreamEvents> implements MultiaddrConnection {
  readonly remoteAddr: Multiaddr
  readonly direction: MessageStreamDirection
  readonly wire: TlsWire
  log: Logger = quietLogger.forComponent('')
  status: MessageStreamStatus = 'open'
  timeline: MultiaddrConnectionTimeline
  maxReadBufferLength = 0
  inactivityTimeout = 0
  writableNeedsDrain = false
  readonly readableEnded = false
  readBufferLength = 0
  writeBufferLength = 0
  readonly #socket: TLSSocket

  constructor(socket: TLSSocket, remoteAddr: Multiaddr, direction: MessageStreamDirection, clock: Clock, direct: boolean) {
    super()
    this.#socket = socket
    this.remoteAddr = remoteAddr
    this.direction = direction
    this.timeline = { open: clock.unixMs() }
    this.wire = new TlsWire(socket, clock, { direct })
    socket.on('close', () => {
      this.status = 'closed'
      this.timeline.close = clock.unixMs()
      this.dispatchEvent(new StreamCloseEvent())
    })
  }

  async close(): Promise<void> {
    this.#socket.destroy()
  }

  abort(): void {
    this.#socket.destroy()
  }

  send(): boolean {
    throw refusal()
  }

  push(): void {
    throw refusal()
  }

  unshift(): void {
    throw refusal()
  }

  pause(): void {
    this.wire.pause()
  }

  resume(): void {
    this.wire.resume()
  }

  async onDrain(): Promise<void> {
    throw refusal()
  }

  // biome-ignore lint/correctness/useYield: nothing may be read here.
  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    throw refusal()
  }
}

function refusal(): OverlayError {
  return new OverlayError('bug', 'INTERNAL', 'A link carries cells only.')
}
