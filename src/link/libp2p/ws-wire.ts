/**
 * The wire under a WebSocket link: libp2p's secured message stream (Noise over `@libp2p/websockets`). Each cell is a Noise message of its own,
 * so that frames have one size, as records have behind TLS; what a stream's `send` takes is encrypted, and so copied, before the block is given
 * back.
 *
 * Traps (LINK-NOTES): `onDrain()` stops waiting after the first drain, so the `drain` event is used; the stream's `abort` does not close
 * the WebSocket (1006 cannot be sent), so it is ended by `close`, and the socket under it is destroyed by `WsSockets`.
 * Spec: SPEC.md §3.1, §3.2.
 */
import type { MessageStream, StreamMessageEvent } from '@libp2p/interface'
import { CELL_BYTES } from '../../cell/index.ts'
import type { Clock } from '../../runtime/index.ts'
import type { WireUser } from '../lanes.ts'
import { type AttachableWire, END_TIMEOUT_MS } from './tls-wire.ts'

/** The TCP socket under a WebSocket, as far as a wire needs it. */
export interface SocketBelow {
  pause(): void
  resume(): void
  destroy(): void
}

export class WsWire implements AttachableWire {
  readonly #stream: MessageStream
  readonly #clock: Clock
  #below: SocketBelow | null = null
  #link: WireUser | null = null
  #unfinishedWrites = 0
  #turnAsked = false
  #ended = false
  readonly #turn = () => this.#settle()

  constructor(stream: MessageStream, clock: Clock) {
    this.#stream = stream
    this.#clock = clock
    stream.addEventListener('drain', () => this.#askTurn())
    stream.addEventListener('close', (event) => {
      this.#below?.destroy()
      this.#link?.onEnd(event.error !== undefined && event.local === true ? 'protocol' : 'remote')
    })
  }

  /** Sets the socket under the WebSocket, where it is known: without it reading cannot be paused. */
  stand(below: SocketBelow | null): void {
    this.#below = below
  }

  attach(link: WireUser): void {
    this.#link = link
    if (this.#stream.status !== 'open') return this.#clock.nextTurn(() => link.onEnd('remote'))
    this.#stream.addEventListener('message', (event: StreamMessageEvent) => {
      if (event.data instanceof Uint8Array) link.onBytes(event.data)
      else for (const part of event.data) link.onBytes(part)
    })
  }

  write(bytes: Uint8Array): void {
    if (this.#ended || this.#stream.status !== 'open') return
    this.#unfinishedWrites++
    try {
      for (let at = 0; at < bytes.length; at += CELL_BYTES) this.#stream.send(bytes.subarray(at, at + CELL_BYTES))
    } catch {
      // The stream has ended between two of its events; its `close` event tells the link.
      return
    }
    this.#askTurn()
  }

  pause(): void {
    this.#below?.pause()
  }

  resume(): void {
    this.#below?.resume()
  }

  end(): void {
    if (this.#ended) return
    this.#ended = true
    const timer = this.#clock.setTimer(END_TIMEOUT_MS, () => this.#below?.destroy())
    this.#stream.addEventListener('close', () => timer.cancel())
    this.#stream.close().catch(() => this.#below?.destroy())
  }

  destroy(): void {
    if (this.#ended) return
    this.#ended = true
    this.#stream.close().catch(() => {})
    this.#below?.destroy()
  }

  #askTurn(): void {
    if (this.#turnAsked) return
    this.#turnAsked = true
    this.#clock.nextTurn(this.#turn)
  }

  /** Reports the writes that the stream has taken, unless it is full: then its next `drain` asks again. */
  #settle(): void {
    this.#turnAsked = false
    if (this.#stream.writableNeedsDrain || this.#stream.writeBufferLength > 0) return
    const finished = this.#unfinishedWrites
    this.#unfinishedWrites = 0
    for (let write = 0; write < finished; write++) this.#link?.onWritten()
  }
}
