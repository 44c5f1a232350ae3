/**
 * Our stream muxer `/gyre/cells/1`, in libp2p's terms: one that knows no streams. The upgrader makes one per connection; what it carries
 * becomes a link when the connection is open (`host.ts`), and never before: the upgrader makes it ahead of its last checks.
 *
 * Why not yamux: it answers each read with a window update of its own, which tells a watcher who receives. Spec: SPEC.md §3.2.
 */
import {
  type MessageStream,
  type Stream,
  type StreamMuxer,
  type StreamMuxerEvents,
  type StreamMuxerFactory,
  type StreamMuxerStatus,
  TypedEventEmitter,
} from '@libp2p/interface'
import { OverlayError } from '../../errors/index.ts'
import type { AttachableWire } from './tls-wire.ts'

/** Names the muxer where it is negotiated, inside the encrypted channel. */
export const CELLS_PROTOCOL = '/gyre/cells/1'

export class CellMuxer extends TypedEventEmitter<StreamMuxerEvents> implements StreamMuxer {
  readonly protocol = CELLS_PROTOCOL
  /** Always empty. Its identity is how a `Connection` of libp2p's, which shows only this, is matched with its muxer. */
  readonly streams: Stream[] = []
  readonly wire: AttachableWire
  status: StreamMuxerStatus = 'open'

  constructor(wire: AttachableWire) {
    super()
    this.wire = wire
  }

  async createStream(): Promise<Stream> {
    throw new OverlayError('bug', 'INTERNAL', 'A link carries cells only, no streams.')
  }

  abort(): void {
    this.status = 'closed'
  }

  async close(): Promise<void> {
    this.status = 'closed'
  }
}

/** Makes muxers and finds them again. */
export class CellMuxers implements StreamMuxerFactory<CellMuxer> {
  readonly protocol = CELLS_PROTOCOL
  readonly #wireOf: (carrier: MessageStream) => AttachableWire
  readonly #byStreams = new WeakMap<Stream[], CellMuxer>()

  constructor(wireOf: (carrier: MessageStream) => AttachableWire) {
    this.#wireOf = wireOf
  }

  createStreamMuxer(carrier: MessageStream): CellMuxer {
    const muxer = new CellMuxer(this.#wireOf(carrier))
    this.#byStreams.set(muxer.streams, muxer)
    return muxer
  }

  /** The muxer whose `streams` these are. */
  find(streams: Stream[]): CellMuxer | undefined {
    return this.#byStreams.get(streams)
  }
}
