/**
 * This node itself as the hop that a loop of its own is for: what the loop's cells to oneself carry is read when they come home, and answered in
 * the same buffer, as a hop does half a round earlier (relay/hop.ts). For nodes that were drawn as the rendezvous point of their own session, or
 * are their own introduction point. Whoever is at the other end must not see it, and would, by answers that come sooner than through any loop;
 * so would a watcher, by cells that are not there. No member is addressed: to all of them the cells are as any others. Spec: SPEC.md §11.3.
 */
import { type MuxStream, type PayloadFlow, ResetCode, type StreamEvents, StreamMux } from '../../src/stream/index.ts'

/** Takes a stream of this node's own, as the node takes those of other origins (`Apex.accept`); a number refuses it. */
export type OwnApex = (
  stream: MuxStream,
  port: {
    /** Payloads come from and go to `flow` from now on. `false`: the loop has ended, or there is an exchange already. */
    attach(flow: PayloadFlow): boolean
  },
) => StreamEvents | number

export class OwnHop {
  readonly #mux: StreamMux

  constructor(accept: OwnApex) {
    const port = { attach: (flow: PayloadFlow) => this.#mux.attach(flow) }
    this.#mux = new StreamMux({ role: 'hop', onOpen: (stream) => accept(stream, port), wake: () => {} })
  }

  /** Reads the frames in `bytes[at … end)`, which this node wrote as origin, and puts there what it answers as hop. */
  answer(bytes: Uint8Array, at: number, end: number): void {
    if (!this.#mux.receive(bytes, at, end)) this.#mux.close(ResetCode.CANCELLED)
    this.#mux.fill(bytes, at, end)
  }

  /** Ends all streams and the exchange. Idempotent. */
  close(): void {
    this.#mux.close(ResetCode.CANCELLED)
  }
}
