/**
 * A control build whose links are yamux's: the cells of a link are one stream of `@libp2p/yamux` as it comes, with its frames, window updates and
 * pings, over the same TLS. The side that dialled opens the stream.
 */

import type { Stream } from '@libp2p/interface'
import type { SendResult } from '@libp2p/utils'
import { AbstractMultiaddrConnection } from '@libp2p/utils'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import type { Uint8ArrayList } from 'uint8arraylist'
import { quietLogger } from '../../../src/link/libp2p/quiet-log.ts'
import type { Coding, CodingParts } from './coded-sockets.ts'

class Carrier extends AbstractMultiaddrConnection {
  readonly #write: (bytes: Uint8Array) => void

  constructor({ dialled, write }: CodingParts) {
    super({
      remoteAddr: multiaddr('/ip4/127.0.0.1/tcp/1'),
      direction: dialled ? 'outbound' : 'inbound',
      log: quietLogger.forComponent('yamux'),
    })
    this.#write = write
  }

  sendData(data: Uint8ArrayList): SendResult {
    this.#write(data.slice())
    return { sentBytes: data.byteLength, canSendMore: true }
  }

  // The node ends the socket by itself.
  sendReset(): void {}
  async sendClose(): Promise<void> {}
  sendPause(): void {}
  sendResume(): void {}
}

/** `pings: false`: without a timer, for tests. */
export function yamuxLink(parts: CodingParts, { pings = true }: { readonly pings?: boolean } = {}): Coding {
  const carrier = new Carrier(parts)
  const muxer = yamux({ enableKeepAlive: pings })().createStreamMuxer(carrier)
  let stream: Stream | null = null
  const early: Uint8Array[] = []
  const use = (opened: Stream) => {
    stream = opened
    opened.addEventListener('message', ({ data }) => parts.deliver(data.subarray()))
    for (const cells of early.splice(0)) opened.send(cells)
  }
  // A link that has ended before needs none; without a stream nothing passes, which the runs would show.
  if (parts.dialled) void Promise.resolve(muxer.createStream()).then(use, () => {})
  else muxer.addEventListener('stream', ({ detail }) => use(detail))
  return {
    send(cells) {
      if (stream === null) early.push(cells.slice())
      else if (stream.writeStatus === 'writable') stream.send(cells.slice())
    },
    receive: (bytes) => carrier.onData(bytes.slice()),
  }
}
