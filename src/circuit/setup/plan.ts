/**
 * Which plans a hop admits: the clock rules of set-up, apart from the bytes. Origin and hop use the same rules, so that an origin never
 * sends what a hop with a right clock refuses. Spec: SPEC.md §4.3.3, step 4, and §4.5.
 *
 * Threat: times chosen by an origin that colludes with a member could make a member's start tell its index (`live` too near), make members
 * send what nobody feeds (`open` before `live`) or hold memory and bandwidth for ever (`close` too far).
 */
import type { UnixMs } from '../../bytes/index.ts'
import {
  EPOCH_MS,
  HOLD_MAX_MS,
  HOLD_MIN_MS,
  HOLD_MS,
  ISSUED_SKEW_MS,
  ISSUED_UNIT_MS,
  LIFE_MAX_MS,
  LIVE_LEAD_MAX_MS,
  LIVE_LEAD_MS,
  RATE_LADDER,
  TICK_MAX_MS,
  TICK_MIN_MS,
  TICKS_PER_HOLD,
} from './constants.ts'
import type { LoopClock, SetUpPlan } from './record.ts'

/** The clocks that this version runs. A hop stays silent about the others. */
export const SUPPORTED_CLOCKS: readonly LoopClock[] = ['swift', 'steady', 'fixed']

/** Why a plan is refused. For tests and counters; nothing of it goes on the wire. */
export type PlanRefusal = 'issued' | 'clock' | 'times' | 'rate'

/** The plan of a `swift` loop made now: no rate, no public times, no hold. */
export function swiftPlan(nowMs: UnixMs): SetUpPlan {
  const issuedMinutes = Math.floor(nowMs / ISSUED_UNIT_MS)
  return { clock: 'swift', rate: 0, issuedMinutes, openEpoch: 0, liveEpoch: 0, closeEpoch: 0, holdMs: 0 }
}

/** What a paced loop's origin decides. */
export interface PacedWish {
  readonly clock: 'steady' | 'fixed'
  /** Index into `RATE_LADDER`. */
  readonly rate: number
  readonly liveEpoch: number
  readonly closeEpoch: number
  /** Default: `HOLD_MS`. */
  readonly holdMs?: number
}

/** The plan of a `steady` or `fixed` loop that is set up now. It opens when it is live (start value). */
export function pacedPlan(nowMs: UnixMs, { clock, rate, liveEpoch, closeEpoch, holdMs = HOLD_MS }: PacedWish): SetUpPlan {
  const issuedMinutes = Math.floor(nowMs / ISSUED_UNIT_MS)
  return { clock, rate, issuedMinutes, openEpoch: liveEpoch, liveEpoch, closeEpoch, holdMs }
}

/** The plan of a twin of a circuit with the plan `root`. */
export function twinPlan(
  nowMs: UnixMs,
  root: SetUpPlan,
  wish: Omit<PacedWish, 'clock' | 'holdMs'> & { readonly holdMs: number },
): SetUpPlan {
  const { rate, liveEpoch, closeEpoch, holdMs } = wish
  return {
    clock: root.clock,
    rate,
    issuedMinutes: Math.floor(nowMs / ISSUED_UNIT_MS),
    openEpoch: liveEpoch,
    liveEpoch,
    closeEpoch,
    holdMs,
  }
}

/** The public epoch that has begun at `unixMs`. */
export function epochAt(unixMs: number): number {
  return Math.floor(unixMs / EPOCH_MS)
}

/** The first epoch that begins `leadMs` or more after `nowMs`. */
export function epochAfter(nowMs: UnixMs, leadMs: number): number {
  return Math.ceil((nowMs + leadMs) / EPOCH_MS)
}

/**
 * Between two ticks of a node in a network whose members keep cells for `holdMs`. Where that is long, because machines are busy, ticks are fewer
 * and carry more each: a write costs more than the cells in it.
 */
export function tickMsFor(holdMs: number): number {
  return Math.min(TICK_MAX_MS, Math.max(TICK_MIN_MS, Math.floor(holdMs / TICKS_PER_HOLD)))
}

/** Cells a second of a paced plan; 0 for swift. */
export function rateOf({ clock, rate }: SetUpPlan): number {
  return clock === 'swift' ? 0 : RATE_LADDER[rate]!
}

/** The first reason to refuse `plan` at `nowMs`, in the order of the spec, or `null` if it is admissible. `liveLeadMs`: how far ahead `live` must lie. */
export function refusePlan(
  plan: SetUpPlan,
  nowMs: UnixMs,
  clocks: readonly LoopClock[] = SUPPORTED_CLOCKS,
  liveLeadMs = LIVE_LEAD_MS,
): PlanRefusal | null {
  if (Math.abs(plan.issuedMinutes * ISSUED_UNIT_MS - nowMs) > ISSUED_SKEW_MS) return 'issued'
  if (!clocks.includes(plan.clock)) return 'clock'
  const { openEpoch, liveEpoch, closeEpoch, holdMs } = plan
  if (plan.clock === 'swift') {
    if (openEpoch !== 0 || liveEpoch !== 0 || closeEpoch !== 0 || holdMs !== 0) return 'times'
    return plan.rate === 0 ? null : 'rate'
  }
  const leadMs = liveEpoch * EPOCH_MS - nowMs
  if (leadMs < liveLeadMs || leadMs > LIVE_LEAD_MAX_MS || openEpoch !== liveEpoch) return 'times'
  if (closeEpoch <= liveEpoch || (closeEpoch - liveEpoch) * EPOCH_MS > LIFE_MAX_MS) return 'times'
  if (holdMs < HOLD_MIN_MS || holdMs > HOLD_MAX_MS) return 'times'
  return plan.rate < RATE_LADDER.length ? null : 'rate'
}
