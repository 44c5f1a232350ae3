/**
 * From a session's streams to the TCP targets of a service: the only place of this node's overlay that opens a socket to anything but a
 * neighbour, and only to the addresses that the node's user configured. IP addresses only: nothing is looked up. Half-close and
 * back-pressure pass through; a target that resets or does not answer becomes a reset, and a client that resets becomes a TCP reset.
 */
import { connect } from 'node:net'
import type { Duplex } from 'node:stream'
import type { Clock } from '../../src/runtime/index.ts'
import { type SessionStream, type SessionStreamEvents, StreamReset } from '../../src/service/index.ts'
import { StreamDuplex } from './duplex.ts'
import type { PortTarget } from './state.ts'

// Implementation constants.
/** Connections to targets of all services of a node; at the limit streams are refused as busy. */
export const CONNECTIONS_MAX = 512
/** A target that has not answered by then does not. */
export const TARGET_TIMEOUT_MS = 10_000
/** A target may take so long for the last bytes of a connection that has ended. */
const LINGER_MS = 60_000

/** The connections of a node to its services' targets. */
export class Forwarder {
  readonly #clock: Clock
  readonly #open = new Set<StreamDuplex>()
  #closed = false

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Connections under way or open. */
  get connections(): number {
    return this.#open.size
  }

  /** Takes a stream that a client opened to `target`; `undefined`: the service has no such port. */
  forward(stream: SessionStream, target: PortTarget | undefined): SessionStreamEvents | StreamReset {
    if (target === undefined) return StreamReset.REFUSED
    if (this.#closed || this.#open.size >= CONNECTIONS_MAX) return StreamReset.BUSY
    const socket = connect({ host: target.host, port: target.targetPort, allowHalfOpen: true, noDelay: true })
    const duplex = new StreamDuplex().bind(stream)
    this.#open.add(duplex)
    let late = this.#clock.setTimer(TARGET_TIMEOUT_MS, () => duplex.resetWith(StreamReset.TARGET_GONE))
    socket.once('connect', () => {
      late.cancel()
      stream.accept()
      socket.pipe(duplex)
      duplex.pipe(socket)
    })
    // Also after 'connect': the target broke off, or a write to it failed.
    socket.on('error', () => duplex.resetWith(StreamReset.TARGET_GONE))
    socket.once('close', () => {
      this.#open.delete(duplex)
      late.cancel()
      // In order, the duplex ends by itself when the client has read all.
      if (!isDone(socket)) duplex.resetWith(StreamReset.TARGET_GONE)
    })
    duplex.on('error', () => {})
    duplex.once('close', () => {
      if (!isDone(duplex)) return void (socket.connecting ? socket.destroy() : socket.resetAndDestroy())
      // The target has still to take the last bytes.
      late.cancel()
      if (!socket.destroyed) late = this.#clock.setTimer(LINGER_MS, () => socket.destroy())
    })
    return duplex
  }

  /** Ends all connections. Idempotent. */
  close(): void {
    this.#closed = true
    for (const duplex of [...this.#open]) duplex.destroy()
  }
}

/** Whether both directions ended in order. */
function isDone(end: Duplex): boolean {
  return end.readableEnded && end.writableFinished
}
