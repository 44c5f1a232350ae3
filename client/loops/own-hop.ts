/**
 * This node itself as the hop that a loop of its own is for: what the loop's cells to oneself carry is read when they come home, and answered in
 * the same buffer, as a hop does half a round earlier (relay/hop.ts). For nodes that were drawn as the rendezvous point of their own session, or
 * are their own introduction point. In paced loops the same cells go anyway. Whoever is at the other end must not see it, and would, by answers that come sooner than through any loop;
 * so would a watcher, by cells that are not there. No member is addressed: to all of them the cells are as any others. Spec: SPEC.md §11.3.
 */
import {
  EXCHANGES_MAX,
  type MuxOptions,
  type MuxStream,
  type PayloadFlow,
  ResetCode,
  type StreamEvents,
  StreamMux,
} from '../../src/stream/index.ts'

/** Takes a stream of this node's own, as the node takes those of other origins (`Apex.accept`); a number refuses it. */
export type OwnApex = (
  stream: MuxStream,
  port: {
    /** As `HopPort` has it. */
    readonly exchanges: number
    attach(flow: PayloadFlow, number?: number): boolean
  },
) => StreamEvents | number

export class OwnHop {
  readonly #mux: StreamMux

  /** `lossy`: of a paced loop. */
  constructor(accept: OwnApex, lossy?: MuxOptions['lossy']) {
    const port = {
      exchanges: lossy === undefined ? 1 : EXCHANGES_MAX,
      attach: (flow: PayloadFlow, number?: number) => this.#mux.attach(flow, number),
    }
    const options = { role: 'hop', onOpen: (stream: MuxStream) => accept(stream, port), wake: () => {} } as const
    this.#mux = new StreamMux(lossy === undefined ? options : { ...options, lossy })
  }

  /** Reads the frames in `bytes[at … end)` of the cell with `counter`, which this node wrote as origin, and puts there what it answers as hop. */
  answer(bytes: Uint8Array, at: number, end: number, counter = 0): void {
    if (!this.#mux.receive(bytes, at, end, counter)) this.#mux.close(ResetCode.CANCELLED)
    this.#mux.fill(bytes, at, end, counter)
  }

  /** Ends all streams and the exchange. Idempotent. */
  close(): void {
    this.#mux.close(ResetCode.CANCELLED)
  }
}
