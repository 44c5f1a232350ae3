/**
 * What work is given of the loops: by the swift pool a loop of its own, by the paced pool a place on a loop, for one hop of it. Who asks sees
 * no difference. Types, and the paced kind.
 */
import type { NodeId, Pieces } from '../../src/bytes/index.ts'
import type { ExchangeEnd, ExchangePort } from '../../src/stream/index.ts'
import type { AskOptions, Loop } from './loop.ts'
import type { OwnApex } from './own-hop.ts'
import type { PacedLoop } from './paced-loop.ts'

/** How a loop is wanted. */
export interface Taking {
  readonly signal: AbortSignal
  /** Whose work it is: work under different names never shares a loop. Default ''. */
  readonly isolation?: string
  /** Bytes that will go either way at most, as far as is known. Default: a few. */
  readonly bytes?: number
  /** It is to carry an exchange: for a while, and who knows how much. */
  readonly exchange?: boolean
}

/** Where work gets its loops. */
export interface LoopSource<L extends Work = Work> {
  /** Whether each ask is to take anew, and give back: then what waits for room waits in `take`. */
  readonly takesPerAsk: boolean
  /** The way to `node`, the caller's until `release`. Errors: those of `LoopBuilder.build`, `LOOP_LIMIT`. */
  take(node: NodeId, taking: Taking): Promise<L>
  /** Whether `take` would give now, without waiting. */
  reaches?(node: NodeId, taking: Omit<Taking, 'signal'>): boolean
  /** As `take`, for this node itself, so that it looks and takes as long as with others. */
  takeHome?(taking: Taking): Promise<L>
  release(loop: L): void
  /** Whether `node` can be had as soon as there is room, for work under this name. Absent: loops are made as they are asked for. */
  near?(node: NodeId, isolation: string): boolean
  /** The user under this name begins to look at something: more will be asked soon. */
  expect?(isolation: string): void
}

/** Of a loop that ends by the clock: when. */
export interface Timed {
  /** Monotonic milliseconds. */
  readonly closeAt?: number
}

/** What work does with what it took. */
export type Work = Pick<Loop, 'number' | 'open' | 'ask' | 'join' | 'turnHome'> & Timed

/** A place on a paced loop, for one of its hops. */
export class Lease implements Work {
  readonly loop: PacedLoop
  readonly node: NodeId
  /** Cells that were set aside for it. */
  readonly cells: number
  /** Whether it is for this node itself. */
  #home = false
  #asked = false

  constructor(loop: PacedLoop, node: NodeId, cells: number) {
    this.loop = loop
    this.node = node
    this.cells = cells
  }

  get number(): number {
    return this.loop.number
  }

  get open(): boolean {
    return this.loop.open
  }

  /** Whether anything was asked by it: if not, the hop knows nothing of it. */
  get asked(): boolean {
    return this.#asked
  }

  ask(request: Pieces, options: AskOptions): Promise<Uint8Array> {
    this.#asked = true
    return this.loop.askAt(this.#home ? null : this.node, request, options)
  }

  join(cookie: Uint8Array, end: ExchangeEnd, waiting: { signal: AbortSignal }): Promise<ExchangePort> {
    this.#asked = true
    return this.loop.joinAt(this.#home ? null : this.node, cookie, end, waiting)
  }

  get closeAt(): number {
    return this.loop.closeAt
  }

  turnHome(accept: OwnApex): void {
    this.loop.openHome(accept)
    this.#home = true
  }
}
