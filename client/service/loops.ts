/** What services ask of loops and of the nodes at their middle. Types, and the few calls that both ends of a service make. Spec: SPEC.md §11. */
import type { NodeId, Pieces } from '../../src/bytes/index.ts'
import type { DirectoryView } from '../../src/directory/index.ts'
import { OverlayError } from '../../src/errors/index.ts'
import type { ExchangeEnd, ExchangePort } from '../../src/stream/index.ts'
import {
  encodeHopRequest,
  encodeIntroductionRequest,
  type HopStatus,
  type IntroductionReply,
  type IntroductionRequest,
  parseHopReply,
  parseIntroductionReply,
} from '../../src/wire/index.ts'

/** One own loop, as `OriginLoop` is. */
export interface ServiceLoop {
  /** Number of the loop on this node. */
  readonly number: number
  readonly open: boolean
  /** Of a loop that ends by the clock: when, in monotonic milliseconds. */
  readonly closeAt?: number
  /** One request to the apex and its answer. `patient`: the answer may take minutes. */
  ask(request: Pieces, waiting: { readonly signal: AbortSignal; readonly patient?: boolean }): Promise<Uint8Array>
  /** Joins the loop with another that shows `cookie` at the apex; a swift loop carries nothing else from then on. */
  join(cookie: Uint8Array, end: ExchangeEnd, waiting: { readonly signal: AbortSignal }): Promise<ExchangePort>
}

/** Loops to be had, as `LoopPool` is. */
export interface ServiceLoops<Loop extends ServiceLoop = ServiceLoop> {
  take(apex: NodeId, waiting: LoopWish): Promise<Loop>
  /** A loop whose requests are for this node itself, and take as long as others'. Without it they are answered at once, and that shows. */
  takeHome?(waiting: LoopWish): Promise<Loop>
  release(loop: Loop): void
  /** Whether `take` would give now, without waiting. Absent: it always may. */
  reaches?(node: NodeId, wish: Omit<LoopWish, 'signal'>): boolean
  /** Whether a loop with `node` runs now, which can have a faster one through the same nodes within seconds. Absent: loops are built at once. */
  near?(node: NodeId, isolation: string): boolean
  /** Under a paced clock, at the hosting end: the loops stand whatever is asked, and what they reach decides where the service is met. */
  readonly standing?: StandingPlaces
}

export interface LoopWish {
  readonly signal: AbortSignal
  readonly isolation?: string
  /** It is to carry an exchange. */
  readonly exchange?: boolean
}

/** What a service's standing loops reach, as `StandingLoops` says it. */
export interface StandingPlaces {
  readonly figures: {
    readonly loops: number
    readonly rate: number
    readonly running: number
    readonly sessionsMax: number
    readonly sessions: number
  }
  readonly cellsPerSecond: number
  /** From now on loops are drawn for these nodes, one each, as far as there are loops. */
  prefer(points: () => readonly NodeId[]): void
  /** Nodes that can be introduction points. */
  points(): readonly NodeId[]
  /** Nodes at which a client that came through `point` can be met; `full`: also where no place is free. */
  offered(point: NodeId, most: number, full?: boolean): readonly NodeId[]
  /** For how many seconds a session that is met there is carried; `null`: it is not. */
  secondsAt(node: NodeId): number | null
}

/** The parts of the directory that services look at. */
export type ServiceView = Pick<DirectoryView, 'get' | 'all' | 'linked' | 'size' | 'version'>

/** Nodes that a loop can have in its middle now: two of their links are listed by both ends. A node that died loses them within seconds. */
export function reachableNodes(view: ServiceView): NodeId[] {
  return view
    .all()
    .map(({ id }) => id)
    .filter((id) => view.linked(id).length >= 2)
}

export interface IntroductionAnswer extends IntroductionReply {
  readonly status: HopStatus
}

/** An introduction request as the hop gets it. */
export function introductionCall(request: IntroductionRequest): Uint8Array {
  return encodeHopRequest({ kind: 'introduction', request: encodeIntroductionRequest(request) })
}

/** What an introduction point answered. Errors: `SERVICE_UNREACHABLE` (something malformed). */
export function readIntroductionAnswer(bytes: Uint8Array): IntroductionAnswer {
  const reply = parseHopReply(bytes)
  const body = reply === null ? null : parseIntroductionReply(reply.body)
  if (reply === null || body === null)
    throw new OverlayError('protocol', 'SERVICE_UNREACHABLE', 'An introduction point answered with something malformed.')
  return { status: reply.status, ...body }
}
