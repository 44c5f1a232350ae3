/**
 * The opening of a WebSocket through the proxy in absolute form (RFC 6455 §4.1, RFC 9110 §7.8), as some programs do it; browsers use
 * CONNECT. The service's "101" goes back as it is; then both streams are joined. Any other answer is an answer like others.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { ANSWER_TIMEOUT_MS, type Exchange, openRequest, sendBack, serviceError, spellingOf, tooLate } from './forward.ts'
import { responseHeaders } from './headers.ts'
import { joinStreams } from './tunnel.ts'
import { Watch } from './watch.ts'

/** Whether a request asks for a WebSocket, and for nothing that could hide another request in it. */
export function isWebSocket({ method, headers }: IncomingMessage): boolean {
  const { upgrade: protocol, connection = '' } = headers
  if (method !== 'GET' || protocol?.toLowerCase() !== 'websocket') return false
  if (headers['content-length'] !== undefined || headers['transfer-encoding'] !== undefined) return false
  return connection
    .toLowerCase()
    .split(/[\s,]+/)
    .includes('upgrade')
}

/** Sends the request on; resolves when the WebSocket is over or another answer was sent. Errors: as `forward`. */
export async function upgrade(
  exchange: Exchange,
  response: ServerResponse,
  { socket, head }: { readonly socket: Socket; readonly head: Buffer },
): Promise<void> {
  const { asking, clock } = exchange
  const { promise, resolve, reject } = Promise.withResolvers<{
    incoming: IncomingMessage
    stream: Duplex
    first: Buffer
  } | null>()
  const outgoing = openRequest(exchange, false, ['Connection', 'Upgrade', 'Upgrade', 'websocket'])
  const onAbort = () => reject(asking.signal.reason)
  asking.signal.addEventListener('abort', onAbort, { once: true })
  if (asking.signal.aborted) onAbort()
  outgoing.on('error', reject)
  const late = new Watch(clock, ANSWER_TIMEOUT_MS, () => reject(tooLate('the answer of the service')))
  outgoing.once('response', (incoming) => {
    late.stop()
    sendBack(incoming, exchange, response).then(() => resolve(null), reject)
  })
  outgoing.once('upgrade', (incoming, stream, first) => {
    stream.on('error', () => stream.destroy()) // until the streams are joined
    resolve({ incoming, stream, first })
  })
  outgoing.end()
  try {
    const changed = await promise
    late.stop()
    if (changed === null) return
    const { incoming, stream, first } = changed
    response.detachSocket(socket)
    const lines = [`HTTP/1.1 101 Switching Protocols`, 'Connection: Upgrade', 'Upgrade: websocket']
    const shown = responseHeaders(incoming.rawHeaders, spellingOf(exchange), exchange.request.headers.origin)
    for (let at = 0; at + 1 < shown.length; at += 2) lines.push(`${shown[at]}: ${shown[at + 1]}`)
    socket.write(`${lines.join('\r\n')}\r\n\r\n`, 'latin1')
    if (first.length > 0) stream.unshift(first)
    if (head.length > 0) socket.unshift(head)
    await joinStreams(socket, stream, { clock, signal: asking.signal })
  } catch (error) {
    outgoing.destroy()
    throw asking.signal.aborted ? asking.signal.reason : serviceError(error)
  } finally {
    late.stop()
    asking.signal.removeEventListener('abort', onAbort)
  }
}
