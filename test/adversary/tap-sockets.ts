/**
 * The tap inside a node's process, at its sockets: size, direction, ports and time of every write to and read from a TLS socket, which are
 * the links and nothing else. It stands under all of the node's code: what any part of it puts on a link passes here.
 *
 * Reads: `readDirectly` (src/link/libp2p/direct-read.ts) sets Node's `onread` callback on the socket, so the tap stands between Node and that
 * callback: an accessor on the prototype for the callback's property hands out a wrapper. Sockets that are read by events are heard too.
 */
import { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import { TapKind, type TapWriter } from './tap-file.ts'

export type OnRead = (count: number, buffer: Uint8Array) => boolean

/** The property in which a socket keeps its `onread` callback. */
export function callbackProperty(): symbol {
  const donor = new Socket({ onread: { buffer: new Uint8Array(1), callback: () => true } } as ConstructorParameters<
    typeof Socket
  >[0])
  const found = Object.getOwnPropertySymbols(donor).find(({ description }) => description === 'kBufferCb')
  if (found === undefined) throw new Error('This Node keeps the onread callback of sockets elsewhere: the tap sees no reads.')
  return found
}

/** Taps every TLS socket that this process makes from now on. */
export function tapSockets(writer: TapWriter, now: () => number): void {
  const ports = new WeakMap<Socket, { readonly local: number; readonly remote: number }>()
  const note = (kind: number, socket: Socket, size: number) => {
    let known = ports.get(socket)
    if (known === undefined) {
      // The socket below an accepted one knows the ports, the TLS socket on top of it may not.
      const below = socketBelow(socket)
      known = { local: socket.localPort ?? below?.localPort ?? 0, remote: socket.remotePort ?? below?.remotePort ?? 0 }
      ports.set(socket, known)
    }
    writer.record(kind, now(), known.local, known.remote, size)
  }

  const { write } = Socket.prototype
  // On the base class: `connect` gives each socket the base class's own `write`, whatever its class has.
  Object.defineProperty(Socket.prototype, 'write', {
    configurable: true,
    writable: true,
    value: function (this: Socket, ...args: Parameters<typeof write>) {
      const [chunk] = args
      if (this instanceof TLSSocket)
        note(TapKind.WRITE, this, typeof chunk === 'string' ? Buffer.byteLength(chunk) : chunk.byteLength)
      return Reflect.apply(write, this, args)
    },
  })

  const property = callbackProperty()
  const keep = (socket: Socket, callback: OnRead | null) =>
    Object.defineProperty(socket, property, { configurable: true, enumerable: true, writable: true, value: callback })
  Object.defineProperty(TLSSocket.prototype, property, {
    configurable: true,
    get: () => null,
    set(this: TLSSocket, callback: OnRead | null) {
      // The constructor says that there is none; what is set later is a reader's.
      if (callback === null) return
      keep(this, (count, buffer) => {
        note(TapKind.READ, this, count)
        return callback(count, buffer)
      })
    },
  })
}

function socketBelow(socket: Socket): Socket | null {
  const below: unknown = Reflect.get(socket, '_parent')
  return below instanceof Socket ? below : null
}
