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
  /** One request to the apex and its answer. `patient`: the answer may take minutes. */
  ask(request: Pieces, waiting: { readonly signal: AbortSignal; readonly patient?: boolean }): Promise<Uint8Array>
  /** Joins the loop with another that shows `cookie` at the apex; the loop carries nothing else from then on. */
  join(cookie: Uint8Array, end: ExchangeEnd, waiting: { readonly signal: AbortSignal }): Promise<ExchangePort>
}

/** Loops to be had, as `LoopPool` is. */
export interface ServiceLoops<Loop extends ServiceLoop = ServiceLoop> {
  take(apex: NodeId, waiting: { readonly signal: AbortSignal; readonly isolation?: string }): Promise<Loop>
  /** A loop whose requests are for this node itself, and take as long as others'. Without it they are answered at once, and that shows. */
  takeHome?(waiting: { readonly signal: AbortSignal }): Promise<Loop>
  release(loop: Loop): void
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
