/**
 * The TCP sockets under WebSockets. `@libp2p/websockets` hides them, and without them there is no admission before the HTTP upgrade (a
 * client that connects and says nothing would be kept for ever), no stop to reading, and no sure end. Node announces every new socket on
 * its diagnostics channels `net.server.socket` and `net.client.socket`; this takes note of those that belong to our WebSocket ports and
 * dials, and leaves all others alone. Threat: slow and half-open clients. Spec: SPEC.md §3.3.
 */
import { channel } from 'node:diagnostics_channel'
import { Socket } from 'node:net'
import type { Clock, Timer } from '../../runtime/index.ts'
import type { Admission, Ticket } from '../admission.ts'

const SERVER_SOCKETS = channel('net.server.socket')
const CLIENT_SOCKETS = channel('net.client.socket')

export interface WsSocketsParts {
  readonly clock: Clock
  readonly admission: Admission
  readonly handshakeTimeoutMs: number
}

interface Accepted {
  readonly socket: Socket
  readonly timer: Timer
  readonly ticket: Ticket
  /** Whether the handshake is done. */
  done: boolean
}

/** Key of a socket's far end. IPv4 in IPv6 form counts as IPv4. */
function endKey(address: string | undefined, port: number | undefined): string {
  return `${(address ?? '').replace(/^::ffff:/i, '')}|${port ?? 0}`
}

export class WsSockets {
  readonly #parts: WsSocketsParts
  readonly #ports = new Set<number>()
  /** Accepted sockets by their far end. */
  readonly #accepted = new Map<string, Accepted>()
  /** Dialled sockets by their far end; bounded by the dials under way and the links. */
  readonly #dialled = new Map<string, Socket>()
  /** Far ends that are being dialled, each with the socket that came of it. */
  readonly #dialling = new Map<string, { socket: Socket | null }>()
  #refusing = false
  readonly #onServerSocket = (message: unknown) => this.#arrived(socketIn(message))
  readonly #onClientSocket = (message: unknown) => this.#left(socketIn(message))

  constructor(parts: WsSocketsParts) {
    this.#parts = parts
  }

  start(): void {
    SERVER_SOCKETS.subscribe(this.#onServerSocket)
    CLIENT_SOCKETS.subscribe(this.#onClientSocket)
  }

  /** Drops who has not authenticated, and whoever arrives from now on: a listener's own close would wait for them. */
  refuse(): void {
    this.#refusing = true
    for (const accepted of [...this.#accepted.values()]) if (!accepted.done) accepted.socket.destroy()
  }

  /** Destroys all sockets that it knows. */
  close(): void {
    SERVER_SOCKETS.unsubscribe(this.#onServerSocket)
    CLIENT_SOCKETS.unsubscribe(this.#onClientSocket)
    for (const { socket } of [...this.#accepted.values()]) socket.destroy()
    for (const socket of [...this.#dialled.values()]) socket.destroy()
  }

  /** Sockets that arrive at `port` are WebSockets. */
  guard(port: number): void {
    this.#ports.add(port)
  }

  /** Takes note of the socket that a dial to this far end opens, until `done`. A dial that failed leaves none behind. */
  expect(address: string, port: number): { done(linked: boolean): void } {
    const key = endKey(address, port)
    const expected: { socket: Socket | null } = { socket: null }
    this.#dialling.set(key, expected)
    return {
      done: (linked) => {
        if (this.#dialling.get(key) === expected) this.#dialling.delete(key)
        if (!linked) expected.socket?.destroy()
      },
    }
  }

  /** The accepted socket with this far end. */
  acceptedFrom(address: string, port: number): Socket | null {
    return this.#accepted.get(endKey(address, port))?.socket ?? null
  }

  /** The accepted socket with this far end has finished its handshake. */
  authenticated(address: string, port: number): void {
    const accepted = this.#accepted.get(endKey(address, port))
    if (accepted === undefined) return
    accepted.timer.cancel()
    accepted.ticket.authenticate()
    accepted.done = true
  }

  /** The dialled socket with this far end. */
  dialledTo(address: string, port: number): Socket | null {
    return this.#dialled.get(endKey(address, port)) ?? null
  }

  #arrived(socket: Socket | null): void {
    if (socket === null || socket.localPort === undefined || !this.#ports.has(socket.localPort)) return
    const { clock, admission, handshakeTimeoutMs } = this.#parts
    const ticket = this.#refusing
      ? null
      : admission.enter(socket.remoteAddress ?? '', clock.monotonicMs(), () => socket.destroy())
    if (ticket === null) return void socket.destroy()
    const key = endKey(socket.remoteAddress, socket.remotePort)
    const timer = clock.setTimer(handshakeTimeoutMs, () => socket.destroy())
    this.#accepted.set(key, { socket, timer, ticket, done: false })
    socket.on('error', () => socket.destroy())
    socket.on('close', () => {
      timer.cancel()
      ticket.leave()
      if (this.#accepted.get(key)?.socket === socket) this.#accepted.delete(key)
    })
  }

  #left(socket: Socket | null): void {
    if (socket === null || this.#dialling.size === 0) return
    socket.once('connect', () => {
      const key = endKey(socket.remoteAddress, socket.remotePort)
      const expected = this.#dialling.get(key)
      if (expected === undefined) return
      expected.socket = socket
      this.#dialled.set(key, socket)
      socket.on('close', () => {
        if (this.#dialled.get(key) === socket) this.#dialled.delete(key)
      })
    })
  }
}

function socketIn(message: unknown): Socket | null {
  if (typeof message !== 'object' || message === null) return null
  const socket: unknown = Reflect.get(message, 'socket')
  return socket instanceof Socket ? socket : null
}
