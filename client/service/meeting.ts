/**
 * How one end of a session gets to the rendezvous point: which nodes may be it, and joining there, through a loop of its own. A node that is
 * drawn for its own session does not refuse, and takes a loop as well, whose cells are for itself: a refusal, or answers that come sooner than
 * through a loop, would tell who it is. Spec: SPEC.md §11.3, §11.4.
 *
 * Candidates are the nodes that a loop can have in its middle now, so that those that died are not drawn; of a service under a paced clock those
 * that its standing loops reach, which it tells the client. Two nodes' directories differ a little; so the client names the first of its ranking
 * that it reaches, and the service takes any of its own first three.
 */
import { type NodeId, nodeIdOf } from '../../src/bytes/index.ts'
import { Ranking } from '../../src/content/placement.ts'
import type { PreparedExchange } from '../../src/service/index.ts'
import type { ExchangeEnd, ExchangePort } from '../../src/stream/index.ts'
import { reachableNodes, type ServiceLoop, type ServiceLoops, type ServiceView } from './loops.ts'

/** Specification constant: so many nodes, from the first of the ranking, may be the rendezvous point. */
export const DRAWN_NODES = 3
/** Below this many nodes any that a service offers. */
export const SMALL_NETWORK = 20

export interface MeetingDeps {
  readonly self: NodeId
  readonly loops: ServiceLoops
  /** This node's own end where it is the rendezvous point itself and has no loops for that. Errors: `RENDEZVOUS_REFUSED`. */
  readonly joinLocally: (cookie: Uint8Array, end: ExchangeEnd) => ExchangePort
}

/** Where sessions meet, as this node's directory ranks it. */
export class MeetingPlaces {
  readonly #view: ServiceView
  #version = -1
  #ranking = new Ranking([])

  constructor(view: ServiceView) {
    this.#view = view
  }

  /** The nodes that may be the rendezvous point for `location` (32 bytes), the best first. */
  drawn(location: Uint8Array): readonly NodeId[] {
    if (this.#version !== this.#view.version) {
      this.#version = this.#view.version
      this.#ranking = new Ranking(reachableNodes(this.#view))
    }
    return this.#ranking.order(location).slice(0, DRAWN_NODES)
  }

  /**
   * The same of the nodes that a service offers (32 bytes each). In a small network any of them: nothing is claimed there against members, and a client
   * whose loops reach none of three would wait for a set-up.
   */
  static drawnOf(offered: readonly Uint8Array[], location: Uint8Array, { size }: Pick<ServiceView, 'size'>): readonly NodeId[] {
    const drawn = size < SMALL_NETWORK ? offered.length : DRAWN_NODES
    return new Ranking(offered.map(nodeIdOf)).order(location).slice(0, drawn)
  }

  /** Whether `node` (32 bytes) may be it. */
  allows(location: Uint8Array, node: Uint8Array): boolean {
    return this.drawn(location).includes(nodeIdOf(node))
  }
}

/** A loop to a rendezvous point, or this node itself: ready to be joined. */
export interface Approach {
  readonly node: NodeId
  /** Number of the loop; 0: this node itself. */
  readonly loop: number
  /** When the loop ends by the clock, in monotonic milliseconds. */
  readonly closeAt?: number | undefined
  /** Joins, and hands the port to `end`. Once. When it rejects, `end` is discarded and the loop given back. */
  join(cookie: Uint8Array, end: PreparedExchange, waiting: { readonly signal: AbortSignal }): Promise<void>
  /** Not wanted any more; does nothing once joined. */
  release(): void
  /** Joined, and nobody comes: ends the exchange, of which its end hears. */
  abandon(): void
}

/** The way to `node`. Errors: those of the loops. */
export async function approach(
  node: NodeId,
  { self, loops, joinLocally }: MeetingDeps,
  { signal, isolation = '' }: { readonly signal: AbortSignal; readonly isolation?: string },
): Promise<Approach> {
  const wish = { signal, isolation, exchange: true }
  if (node !== self) return loopApproach(node, await loops.take(node, wish), loops)
  if (loops.takeHome === undefined) return localApproach(node, joinLocally)
  return loopApproach(node, await loops.takeHome(wish), loops)
}

function localApproach(node: NodeId, joinLocally: MeetingDeps['joinLocally']): Approach {
  let abandon = () => {}
  return {
    node,
    loop: 0,
    async join(cookie, end) {
      try {
        const port = joinLocally(cookie, end)
        end.attach(port)
        abandon = () => {
          port.close()
          end.onGone()
        }
      } catch (error) {
        end.discard()
        throw error
      }
    },
    release() {},
    abandon: () => abandon(),
  }
}

function loopApproach(node: NodeId, loop: ServiceLoop, loops: ServiceLoops): Approach {
  let joined = false
  let abandon = () => loops.release(loop)
  return {
    node,
    loop: loop.number,
    closeAt: loop.closeAt,
    async join(cookie, end, waiting) {
      joined = true
      try {
        const port = await loop.join(cookie, end, waiting)
        end.attach({
          loop: port.loop,
          get waiting() {
            return port.waiting
          },
          wake: () => port.wake(),
          close() {
            port.close()
            loops.release(loop) // a place on a loop that goes on; a loop of its own has ended with its port
          },
        })
        abandon = () => {
          port.close()
          loops.release(loop)
          end.onGone()
        }
      } catch (error) {
        end.discard()
        loops.release(loop)
        throw error
      }
    },
    release() {
      if (!joined) loops.release(loop)
    },
    abandon: () => abandon(),
  }
}
