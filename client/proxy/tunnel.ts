/**
 * Two byte streams joined, with half-close and back-pressure, until both are over: CONNECT, SOCKS and WebSockets. Bytes are not looked at.
 *
 * An end travels as an end (the other direction goes on), a break as a break: a client never takes a torn stream for a finished one.
 * A tunnel in which nothing moves is closed, sooner when one side has ended, so that forgotten ones do not hold loops for ever.
 */
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { Waiting } from '../../src/runtime/index.ts'
import { Watch } from './watch.ts'

// Implementation constants.
/** A tunnel in which nothing moves is closed after so long. Interactive sessions that stay silent for longer send keep-alives. */
export const TUNNEL_IDLE_MS = 2 * 3_600_000
/** The same when one side has ended. */
export const HALF_CLOSED_IDLE_MS = 10 * 60_000

/** Joins `client` and `service`. Resolves when both are closed; never rejects. `signal` ends both. */
export function joinStreams(client: Socket, service: Duplex, { clock, signal }: Waiting): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  let open = 2
  let torn = false
  const tear = () => {
    if (torn) return
    torn = true
    // What the service sent whole, with its end, still reaches the client.
    if (service.readableEnded) client.destroySoon()
    else if (!client.destroyed) client.resetAndDestroy()
    service.destroy()
  }
  let watch = new Watch(clock, TUNNEL_IDLE_MS, tear)
  const onData = () => watch.touch()
  const onEnd = () => {
    if (torn || open < 2) return
    watch.stop()
    watch = new Watch(clock, HALF_CLOSED_IDLE_MS, tear)
  }
  const onClosed = (whole: boolean) => {
    open--
    if (!whole) tear()
    if (open > 0) return
    watch.stop()
    signal.removeEventListener('abort', tear)
    resolve()
  }
  for (const [from, to] of [
    [client, service],
    [service, client],
  ] as const) {
    // Bytes that came and went whole, both ways, or else the other side is to know.
    const done = () => from.readableEnded && from.writableFinished
    from.on('data', onData).on('end', onEnd).on('error', tear)
    from.once('close', () => onClosed(done()))
    if (from.destroyed) tear()
    from.pipe(to)
  }
  if (client.closed) onClosed(false)
  if (service.closed) onClosed(false)
  signal.addEventListener('abort', tear, { once: true })
  if (signal.aborted) tear()
  return promise
}
