/**
 * For the lab's control builds only: links whose cells are written in another form than Gyre's, under all of the node's code and above the tap at the
 * sockets, which sees what really goes over the wire. Laid after `tapSockets`, before the first socket.
 */
import { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import { callbackProperty, type OnRead } from '../tap-sockets.ts'

/** One end of a link in another form. */
export interface Coding {
  /** Whole cells that the node writes; not to be kept. */
  send(cells: Uint8Array): void
  /** What came over the wire, cut anywhere; borrowed until return. */
  receive(bytes: Uint8Array): void
}

export interface CodingParts {
  readonly dialled: boolean
  /** One write of its own, never joined with another; must not change any more. */
  write(bytes: Uint8Array): void
  /** Bytes of cells for the node, cut anywhere. */
  deliver(bytes: Uint8Array): void
}

export function codeSockets(make: (parts: CodingParts) => Coding): void {
  const codings = new WeakMap<TLSSocket, { readonly coding: Coding; deliver: (bytes: Uint8Array) => void }>()
  const { write } = Socket.prototype
  const codingOf = (socket: TLSSocket) => {
    let known = codings.get(socket)
    if (known !== undefined) return known
    const dialled = (Reflect.get(socket, '_tlsOptions') as { readonly isServer?: boolean } | undefined)?.isServer !== true
    // A socket joins what it is given while it writes: in one record there would be several.
    const waiting: Uint8Array[] = []
    let writing = false
    const next = () => {
      const bytes = socket.destroyed ? undefined : waiting.shift()
      writing = bytes !== undefined
      if (writing) Reflect.apply(write, socket, [bytes, next])
    }
    const coding = make({
      dialled,
      write: (bytes) => {
        waiting.push(bytes)
        if (!writing) next()
      },
      deliver: (bytes) => known?.deliver(bytes),
    })
    known = { coding, deliver: () => {} }
    codings.set(socket, known)
    return known
  }

  Object.defineProperty(Socket.prototype, 'write', {
    configurable: true,
    writable: true,
    value: function (this: Socket, ...args: Parameters<typeof write>) {
      if (!(this instanceof TLSSocket)) return Reflect.apply(write, this, args)
      const [cells, onWritten] = args as unknown as [Uint8Array, (() => void) | undefined]
      codingOf(this).coding.send(cells)
      if (onWritten !== undefined) setImmediate(onWritten)
      return true
    },
  })

  const property = callbackProperty()
  const tapped = Object.getOwnPropertyDescriptor(TLSSocket.prototype, property)
  Object.defineProperty(TLSSocket.prototype, property, {
    configurable: true,
    get: () => null,
    set(this: TLSSocket, callback: OnRead | null) {
      if (callback === null) return
      const known = codingOf(this)
      known.deliver = (bytes) => void callback(bytes.length, bytes)
      const decoding: OnRead = (count, buffer) => {
        known.coding.receive(buffer.subarray(0, count))
        return true
      }
      tapped?.set?.call(this, decoding)
    },
  })

  // What came before the node reads directly, it takes from the stream.
  const { read } = TLSSocket.prototype
  TLSSocket.prototype.read = function (this: TLSSocket, size?: number) {
    const bytes = Reflect.apply(read, this, [size]) as Uint8Array | null
    if (bytes === null) return null
    const early: Uint8Array[] = []
    const known = codingOf(this)
    known.deliver = (part) => void early.push(part.slice())
    known.coding.receive(bytes)
    return Buffer.concat(early)
  }
}
