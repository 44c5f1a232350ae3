/**
 * Connections to live services for HTTP: Node's own client over streams that a service gives. There is no socket and no look-up here; an
 * agent that cannot dial is what keeps a fault elsewhere from becoming a leak.
 *
 * Connections are kept for the next request of the same isolation, address and port, and of no other. Only requests that may be sent
 * twice use a kept one, for it may have been closed a moment ago: the others get a connection of their own, which costs no round trip.
 */
import { Agent, type AgentOptions, type ClientRequest, type RequestOptions } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Clock, Timer } from '../../src/runtime/index.ts'

// Implementation constants.
/** Connections to one service under one isolation; requests beyond it wait their turn. */
const CONNECTIONS_PER_SERVICE_MAX = 128
const CONNECTIONS_MAX = 512
/** Idle ones kept per service, and in all; further ones are closed. */
const IDLE_PER_SERVICE_MAX = 6
const IDLE_MAX = 64
/** Shorter than usual servers' own 5 s would be wasteful, much longer only meets closed ends. */
const IDLE_MS = 10_000
/** Head of an answer. */
export const ANSWER_HEAD_BYTES_MAX = 32 * 1024

/** What the agent needs to know beside Node's own options. */
export interface LiveOptions {
  /** Isolation, address and port as one text. */
  readonly key: string
  readonly connect: () => Promise<Duplex>
  /** May take a kept connection, and leaves its own for others. */
  readonly reusable: boolean
}

type WithLive = RequestOptions & { readonly live: LiveOptions }

/** Options for `http.request` that send it over a service's streams. */
export function liveRequest(agent: LiveAgent, live: LiveOptions): RequestOptions {
  const options: WithLive = { agent, live, setHost: false, maxHeaderSize: ANSWER_HEAD_BYTES_MAX, insecureHTTPParser: false }
  return options
}

export class LiveAgent extends Agent {
  readonly #clock: Clock
  readonly #idle = new Map<Duplex, { readonly timer: Timer; readonly drop: () => void }>()
  readonly #single = new WeakSet<Duplex>()

  constructor(clock: Clock) {
    const options: AgentOptions = {
      keepAlive: true,
      maxSockets: CONNECTIONS_PER_SERVICE_MAX,
      maxTotalSockets: CONNECTIONS_MAX,
      maxFreeSockets: IDLE_PER_SERVICE_MAX,
      scheduling: 'lifo',
    }
    super(options)
    this.#clock = clock
  }

  override getName(options?: unknown): string {
    const { key, reusable } = (options as WithLive).live
    return reusable ? key : `${key} single`
  }

  override createConnection(options: unknown, callback?: (error: Error | null, stream: Duplex) => void): undefined {
    const { connect, reusable } = (options as WithLive).live
    connect().then(
      (stream) => {
        if (!reusable) this.#single.add(stream)
        callback?.(null, stream)
      },
      (error: Error) => callback?.(error, undefined as unknown as Duplex),
    )
    return undefined
  }

  /** Whether a connection whose request is over is kept. One that then says something, or ends, is dropped. */
  override keepSocketAlive(stream: Duplex): boolean {
    if (this.#single.has(stream) || this.#idle.size >= IDLE_MAX || stream.readableEnded) return false
    const drop = () => stream.destroy()
    const timer = this.#clock.setTimer(IDLE_MS, drop)
    this.#idle.set(stream, { timer, drop })
    stream
      .on('data', drop)
      .on('end', drop)
      .once('close', () => this.#take(stream))
    stream.resume()
    return true
  }

  override reuseSocket(stream: Duplex, request: ClientRequest): void {
    this.#take(stream)
    request.reusedSocket = true
  }

  /** Drops kept connections of `key`: one of them turned out to be closed. */
  dropIdle(key: string): void {
    for (const stream of this.freeSockets[key] ?? []) stream.destroy()
  }

  #take(stream: Duplex): void {
    const idle = this.#idle.get(stream)
    if (idle === undefined) return
    idle.timer.cancel()
    stream.off('data', idle.drop).off('end', idle.drop)
    this.#idle.delete(stream)
  }
}
