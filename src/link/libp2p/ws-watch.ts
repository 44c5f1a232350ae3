/**
 * What `@libp2p/websockets` leaves open towards a hostile far end, closed from outside:
 *
 * - A malformed frame makes the `ws` package emit `error` on a WebSocket that has no listener for it, which ends the process. Any stranger
 *   can send one, before any authentication (found by test/fuzz/link.test.ts). So each WebSocket gets a listener, and its socket is cut.
 * - Nothing bounds a message: a stranger may announce one of 100 MiB and have it buffered. So bytes that arrive without a message coming
 *   of them are counted, and beyond `UNFINISHED_MAX_BYTES` the socket is cut. An honest peer's messages have at most 65,535 bytes.
 *
 * Both need the WebSocket under libp2p's connection object, a field that its types do not show. Where it is not found, the connection is
 * refused: a new version that hides it fails the contract suite, not the user. Spec: SPEC.md §3.3.
 */
import type { Socket } from 'node:net'

/** Bytes that may arrive on the TCP socket before they make a message: many reads, as a message may end anywhere within one. */
const UNFINISHED_MAX_BYTES = 512 * 1024

interface Listening {
  addEventListener(type: 'error' | 'message', listener: () => void): void
}

function webSocketIn(connection: object): Listening | null {
  const found: unknown = Reflect.get(connection, 'websocket')
  if (typeof found !== 'object' || found === null) return null
  return typeof Reflect.get(found, 'addEventListener') === 'function' ? (found as Listening) : null
}

/** Watches the WebSocket of a connection, whose TCP socket is `below`. `false`: it cannot be watched, and must not be used. */
export function watchWebSocket(connection: object, below: Socket): boolean {
  const webSocket = webSocketIn(connection)
  if (webSocket === null) return false
  let unfinishedBytes = 0
  webSocket.addEventListener('error', () => below.destroy())
  webSocket.addEventListener('message', () => {
    unfinishedBytes = 0
  })
  below.on('data', (bytes: Uint8Array) => {
    unfinishedBytes += bytes.length
    if (unfinishedBytes > UNFINISHED_MAX_BYTES) below.destroy()
  })
  return true
}
