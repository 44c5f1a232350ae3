/**
 * The wire under a TLS link: one TLS socket, written and read directly, without libp2p's message events. It starts reading when its link
 * is attached, after the peer's identity was verified; until then cells wait, encrypted or not, in the socket's own bounded buffers.
 *
 * Ending: TLS's closing alert would be a record of another size than all others, so a wire ends with TCP alone, once the kernel has what
 * was written, or after `END_TIMEOUT_MS`. Spec: SPEC.md §3.2.
 */
import type { TLSSocket } from 'node:tls'
import type { Clock, Timer } from '../../runtime/index.ts'
import type { LinkCloseReason } from '../index.ts'
import type { CellWire, WireUser } from '../lanes.ts'
import { type Reading, readDirectly } from './direct-read.ts'

/** A wire that learns late which link it carries. */
export interface AttachableWire extends CellWire {
  /** Starts reading, and passes on what happens from now on. */
  attach(link: WireUser): void
}

// Implementation constant.
/** How long what was written may take to reach the kernel when a link closes. */
export const END_TIMEOUT_MS = 1_000

export class TlsWire implements AttachableWire {
  readonly #socket: TLSSocket
  readonly #clock: Clock
  readonly #direct: boolean
  #link: WireUser | null = null
  #reading: Reading | null = null
  #unfinishedWrites = 0
  #ending: Timer | null = null
  /** What the socket's error means for the link; its `close` event comes after. */
  #failure: LinkCloseReason = 'remote'
  /** Made once: a write allocates no closure. */
  readonly #onWritten = () => this.#written()

  /** `direct: false`: read by `data` events, as on a Node without the other way. */
  constructor(socket: TLSSocket, clock: Clock, { direct = true }: { direct?: boolean } = {}) {
    this.#socket = socket
    this.#clock = clock
    this.#direct = direct
    socket.on('error', (error: NodeJS.ErrnoException) => {
      this.#failure = failureOf(error)
    })
    socket.on('end', () => this.#link?.onEnd('remote'))
    socket.on('close', () => {
      this.#ending?.cancel()
      this.#link?.onEnd(this.#failure)
    })
  }

  attach(link: WireUser): void {
    this.#link = link
    if (this.#socket.destroyed) return this.#clock.nextTurn(() => link.onEnd(this.#failure))
    this.#reading = readDirectly(this.#socket, (bytes) => link.onBytes(bytes), { direct: this.#direct })
  }

  write(bytes: Uint8Array): void {
    if (this.#socket.destroyed || this.#ending !== null) return
    this.#unfinishedWrites++
    this.#socket.write(bytes, this.#onWritten)
  }

  pause(): void {
    this.#reading?.pause()
  }

  resume(): void {
    this.#reading?.resume()
  }

  end(): void {
    if (this.#socket.destroyed || this.#ending !== null) return
    if (this.#unfinishedWrites === 0) this.destroy()
    else this.#ending = this.#clock.setTimer(END_TIMEOUT_MS, () => this.destroy())
  }

  destroy(): void {
    this.#socket.destroy()
  }

  #written(): void {
    this.#unfinishedWrites--
    this.#link?.onWritten()
    if (this.#ending !== null && this.#unfinishedWrites === 0) this.destroy()
  }
}

/** What an error of the socket tells about the link. */
function failureOf(error: NodeJS.ErrnoException): LinkCloseReason {
  const code = error.code ?? ''
  if (code === 'ETIMEDOUT') return 'timeout'
  // A record that does not decrypt, or that TLS 1.3 does not allow.
  if (code.startsWith('ERR_SSL') || code.startsWith('ERR_TLS')) return 'protocol'
  if (code === 'ECONNRESET' || code === 'EPIPE') return 'remote'
  return 'error'
}
