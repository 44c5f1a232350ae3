/**
 * When nodes come and go. Session lengths and times away are drawn from Weibull distributions: measurements of deployed networks agree that
 * sessions are not exponential, that a large part of the nodes present is stable while the rest turns over quickly, and that Weibull fits:
 * Stutzbach and Rejaie, "Understanding Churn in Peer-to-Peer Networks", IMC 2006 (Gnutella, Kad, BitTorrent); Steiner, En-Najjary and Biersack,
 * "Long Term Study of Peer Behavior in the KAD DHT", IEEE/ACM Trans. Networking 17(5), 2009; the shape of 0.6 is the middle of the 18 fits (0.34 to
 * 0.82) of the Delft Peer-to-Peer Trace Archive (report PDS-2010-003, table 14).
 *
 * A part of all departures is for good. Who leaves for good decides what that means, so there are two models:
 *   `visitors`  nodes that come once and never again, and make up that part of all departures; the others always come back
 *   `anyone`    each departure of any node is for good with that probability: everybody is gone after a few sessions
 * For each node that is gone a new one comes, so that as many are alive at any time.
 */
import type { Rng } from '../../src/runtime/index.ts'

export const HOUR_MS = 3_600_000
export const DAY_MS = 24 * HOUR_MS

export const WEIBULL_SHAPE = 0.6
/** A session or a time away is no shorter: what is started and stopped at once was no node. */
const SHORTEST_MS = 5 * 60_000
/** No longer: else one draw decides a run. */
const LONGEST_MS = 60 * DAY_MS
/** The process runs so long before the simulation begins, so that it begins in the middle of things. */
const WARM_UP_MS = 60 * DAY_MS

export type Leavers = 'visitors' | 'anyone'

export interface ChurnOptions {
  /** Nodes alive at any time: up, or away and to come back. */
  readonly nodes: number
  readonly medianSessionMs: number
  readonly medianAwayMs: number
  /** Part of all departures that is for good. */
  readonly forGood: number
  readonly leavers: Leavers
}

export const DEFAULT_CHURN: Omit<ChurnOptions, 'nodes'> = {
  medianSessionMs: 8 * HOUR_MS,
  medianAwayMs: 8 * HOUR_MS,
  forGood: 0.25,
  leavers: 'anyone',
}

/** A Weibull draw with this median. */
export function weibull(rng: Rng, medianMs: number, shape = WEIBULL_SHAPE): number {
  const scale = medianMs / Math.LN2 ** (1 / shape)
  return Math.min(LONGEST_MS, Math.max(SHORTEST_MS, scale * (-Math.log(1 - rng.unit())) ** (1 / shape)))
}

/** One node's session, in ms from the beginning of the simulation; the first may begin before 0. */
export interface Session {
  readonly fromMs: number
  readonly untilMs: number
}

export interface Life {
  readonly sessions: readonly Session[]
  /** Gone after its last session, if that ends within the simulation. */
  readonly goneForGood: boolean
}

/** The lives of all nodes that are alive at some time of a simulation of `lengthMs`. */
export function livesOf(options: ChurnOptions, lengthMs: number, rng: Rng): Life[] {
  const lives: Life[] = []
  for (let place = 0; place < options.nodes; place++) {
    // A place is taken by one node after the other. All places have as many sessions, so that this part of them makes that part of all departures.
    const visits = options.leavers === 'visitors' && place < options.nodes * options.forGood
    for (let fromMs = -WARM_UP_MS - rng.unit() * 2 * options.medianAwayMs; fromMs < lengthMs; ) {
      const life = visits ? visitFrom(fromMs, options, lengthMs, rng) : lifeFrom(fromMs, options, lengthMs, rng)
      const last = life.sessions.at(-1)!
      if (last.untilMs > 0) lives.push(life)
      if (!life.goneForGood) break
      fromMs = last.untilMs + weibull(rng, options.medianAwayMs)
    }
  }
  return lives
}

function visitFrom(fromMs: number, { medianSessionMs }: ChurnOptions, lengthMs: number, rng: Rng): Life {
  const untilMs = fromMs + weibull(rng, medianSessionMs)
  return { sessions: [{ fromMs, untilMs }], goneForGood: untilMs < lengthMs }
}

function lifeFrom(fromMs: number, options: ChurnOptions, lengthMs: number, rng: Rng): Life {
  const { medianSessionMs, medianAwayMs, forGood, leavers } = options
  const sessions: Session[] = []
  for (let start = fromMs; start < lengthMs; ) {
    const untilMs = start + weibull(rng, medianSessionMs)
    sessions.push({ fromMs: start, untilMs })
    if (leavers === 'anyone' && rng.unit() < forGood) return { sessions, goneForGood: untilMs < lengthMs }
    start = untilMs + weibull(rng, medianAwayMs)
  }
  return { sessions, goneForGood: false }
}
