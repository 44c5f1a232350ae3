/**
 * How long the set-up of a paced loop waits at its origin, and how soon after the decision the loop is live. A member knows the public epochs and
 * the time at which a set-up, and later the first cell, comes to it. If they left at an epoch, who gets them early would know that it stands next
 * to the origin; so both leave at a random time, within a span that is long beside the way round. How long is decided by what a member may
 * learn: told its predecessor's place by both times together, and by who chose the link, it is right with a probability of at most 2.5 / loop
 * length where the predecessor is the origin (`test/unit/set-up-time.test.ts` computes it). The number of places to tell apart and the time from
 * the first to the last both grow with the loop: the spans grow with their product. Spec: SPEC.md §4.6.
 *
 * A first cell's steps are nearly all alike, so that its times at two members differ by little more than a shift: it leaves in the middle of its
 * span most likely, and seldom at an end, where a shift tells most. A set-up's steps are mostly chance already: it leaves at any time alike.
 */
import { EPOCH_MS, LIVE_LEAD_MS, tickMsFor } from '../../src/circuit/setup/index.ts'
import type { Rng } from '../../src/runtime/index.ts'

// Specification constants.
/** The wait's span, in intervals of control bursts, for each pair of a member and a link. */
const WAIT_BURSTS = 0.27
/** The start's span, in times that a cell takes at a member, for each such pair; no longer than members wait for a first cell. */
export const START_SPREAD_MAX_MS = 8_000

// Implementation constants.
/** Loops are decided on so long after an epoch: a twin that is told of then is live at the second one, without time to spare. */
export const DECISION_MS = 750
/** A twin's members are told so long after its decision at most, for each of them: slots are wider than what a cell takes at a member. */
const TWIN_WAIT_MS = 120
/** Slots that it takes to ask a member for its answer, on average: each second one asks, each member in turn. */
const ANSWER_SLOTS = 2
/** For work on the way, and clocks that differ, beside the two seconds before `live` below which a hop refuses. */
const MARGIN_MS = 1_000

export interface SetUpTime {
  /** The set-up leaves a random time after the decision, from 0 to this: whole epochs, so that no part of an epoch is likelier than others. */
  readonly waitMs: number
  /** Epochs from that of the decision to `live`. */
  readonly leadEpochs: number
  /** The same for a set-up that leaves at once: the way, and no wait. */
  readonly leastEpochs: number
}

/**
 * For loops of so many other members. A set-up waits for a burst on each link, half an interval on average; the lead has room for the longest wait
 * and the average way. One in thirty comes too late, and is tried again at a later epoch.
 */
export function setUpTime(members: number, controlMs: number): SetUpTime {
  const waitEpochs = Math.ceil((WAIT_BURSTS * members * (members + 1) * controlMs) / EPOCH_MS)
  const wayMs = ((members + 1) * controlMs) / 2
  const leastEpochs = Math.ceil((DECISION_MS + wayMs + LIVE_LEAD_MS + MARGIN_MS) / EPOCH_MS)
  return { waitMs: waitEpochs * EPOCH_MS, leadEpochs: waitEpochs + leastEpochs, leastEpochs }
}

/** How long a cell takes at a member of a paced loop, on average. `rate`: cells a second. */
function stepMs(holdMs: number, rate: number): number {
  return holdMs + tickMsFor(holdMs) / 2 + 500 / rate
}

/** Between telling one member of a twin and telling the one before it: as long as a cell takes from there to here, but no more than fit the slots. */
export function twinGapMs(holdMs: number, rate: number): number {
  return Math.max(1000 / rate, stepMs(holdMs, rate))
}

/** A twin's members are told a random time of at most this after the decision. */
export function twinWaitMs(members: number): number {
  return TWIN_WAIT_MS * members
}

/**
 * For a twin of a loop of `rate`: members are told at times that hardly depend on their places, a random time after the decision; then each is
 * asked for its answer.
 */
export function twinTime(members: number, holdMs: number, rate: number): Omit<SetUpTime, 'leastEpochs'> {
  const tellMs = (members - 1) * twinGapMs(holdMs, rate)
  const wayMs = (members + 1) * stepMs(holdMs, rate)
  const answersMs = (ANSWER_SLOTS * members * 1000) / rate
  const waitMs = twinWaitMs(members)
  return { waitMs, leadEpochs: Math.ceil((DECISION_MS + waitMs + tellMs + wayMs + answersMs) / EPOCH_MS) }
}

/** The first cell goes at `live` and a random part (`drawStart`) of this. `rate`: cells a second. */
export function startSpreadMs(members: number, holdMs: number, rate: number): number {
  return Math.min(START_SPREAD_MAX_MS, members * (members + 1) * stepMs(holdMs, rate))
}

/** 0 ≤ x < 1: where in its spread a loop's first cell goes, and those of its twins. */
export function drawStart(rng: Pick<Rng, 'unit'>): number {
  return (rng.unit() + rng.unit()) / 2
}
