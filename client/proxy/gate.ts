/**
 * The one way through for byte streams, whichever proxy they came to: CONNECT and SOCKS. A live service gets a tunnel for any protocol. Files
 * and sites speak HTTP only: for a connection to their port 80 the proxy's own web server takes their place, so that programs which know
 * nothing of HTTP proxies (under `torsocks`, say) can read them.
 */
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { isOverlayError } from '../../src/errors/index.ts'
import type { Clock } from '../../src/runtime/index.ts'
import type { NodeFace } from '../library.ts'
import type { Opened } from './answer.ts'
import type { Destinations, RouteAsking } from './destination.ts'
import { connectLive } from './forward.ts'
import type { HostTarget } from './target.ts'
import { joinStreams } from './tunnel.ts'

export interface GateParts {
  readonly face: NodeFace
  readonly clock: Clock
  readonly closing: AbortSignal
  readonly destinations: Destinations
  /** Hands a connection to the web server, as that of one host. */
  readonly adopt: (socket: Socket, opened: Opened) => void
}

export class Gate {
  readonly #parts: GateParts

  constructor(parts: GateParts) {
    this.#parts = parts
  }

  /** The clock of the proxies. */
  get clock(): Clock {
    return this.#parts.clock
  }

  get destinations(): Destinations {
    return this.#parts.destinations
  }

  /**
   * Opens what `target` leads to for the client at `socket`, calls `opened` (which tells the client), then carries its bytes. `first`: bytes
   * of the client that came already. Resolves when the connection is over, or given to the web server.
   * Errors: as `Destinations.route` and `LiveService.connect`; nothing was told to the client then.
   */
  async pass(socket: Socket, target: HostTarget, isolation: string, first: Uint8Array, opened: () => void): Promise<void> {
    const { face, clock, closing, adopt } = this.#parts
    const ended = new AbortController()
    const onClose = () => ended.abort(new Error('The client closed the connection.'))
    socket.once('close', onClose)
    if (socket.destroyed) onClose()
    const trace = face.trace()
    const asking: RouteAsking = { signal: AbortSignal.any([ended.signal, closing]), isolation, trace }
    let code: string | null = null
    try {
      const stream = await this.#stream(target, asking)
      if (socket.destroyed) {
        stream?.destroy()
        return
      }
      opened()
      if (first.length > 0) socket.unshift(first)
      if (stream === null) {
        adopt(socket, { ...target, isolation })
        return
      }
      trace.end(null)
      await joinStreams(socket, stream, { clock, signal: asking.signal })
    } catch (error) {
      code = isOverlayError(error) ? error.code : 'INTERNAL'
      throw asking.signal.aborted ? asking.signal.reason : error
    } finally {
      trace.end(code)
      socket.off('close', onClose)
    }
  }

  /** A stream to a live service, or `null` where the web server is to take its place. */
  async #stream(target: HostTarget, asking: RouteAsking): Promise<Duplex | null> {
    const { clock, destinations } = this.#parts
    const route = await destinations.route(target, asking, true)
    if (route.kind !== 'live') return null
    try {
      return await connectLive(route, target.port, { clock, asking })
    } catch (error) {
      if (!isOverlayError(error, 'SERVICE_UNREACHABLE') || asking.signal.aborted) throw error
      destinations.markAway(route.address, asking.isolation)
      if (route.snapshot === null) throw error
      return null
    }
  }
}
