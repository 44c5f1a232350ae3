/**
 * What a node's clock means for its parts: the plan that configuration gives (control slots, standing loops, extra loops, their cost), and the
 * way of single requests that want another clock than the node has. `swift` on a node whose clock is paced is such: its work has sessions and
 * loops of its own, told by its isolation name. Spec: SPEC.md §4.6.
 */
import type { NodeId } from '../src/bytes/index.ts'
import { CELL_BYTES } from '../src/cell/index.ts'
import { EPOCH_MS, RATE_LADDER } from '../src/circuit/setup/index.ts'
import type { ClockName, Config, Cover } from '../src/config/index.ts'
import { OverlayError } from '../src/errors/index.ts'
import type { Rng } from '../src/runtime/index.ts'
import { CAPACITY_CLASS_MAX } from '../src/wire/index.ts'
import { Lease, type LoopSource, type Taking, type Work } from './loops/lease.ts'
import { type LoopSetOptions, PHASES } from './loops/loop-set.ts'
import { type SetUpTime, START_SPREAD_MAX_MS, setUpTime, twinTime } from './loops/set-up-time.ts'
import { type ShareSession, type ShareSessions, SMALL_NETWORK } from './shares.ts'

// Implementation constants: start values, which the adversary lab decides.
interface CoverPlan {
  /** Between two bursts of control slots on each link. */
  readonly controlMs: number
  /** Standing loops, and highest of the extra ones' rates. */
  readonly standing: number
  readonly topRate: number
}
const COVER_PLANS: Readonly<Record<Cover, CoverPlan>> = {
  low: { controlMs: 4_000, standing: 1, topRate: 512 },
  medium: { controlMs: 2_650, standing: 1, topRate: 2_048 },
  high: { controlMs: 1_325, standing: 2, topRate: 8_192 },
}
const STANDING_RATE = 8
const EXTRA_LOWEST = 512
const EXTRA_LOOPS_MAX = 16
/** The part of what its line carries that a node asks for with extra loops of its own, and how many of the lowest rate that is at least. */
const OWN_PART = 0.7
const LOWEST_LOOPS = 16
/** Half a loop takes at most so long beside what the wires take: what steady is to add to a request, one way. */
const HALF_LOOP_MS = 250
/** What a cell waits at a member beside the hold: for the tick after its slot, on average, and for its turns. */
const TICK_WAIT_MS = 13
/** Under the least a tick that is late once loses cells; over the most nothing is won on machines that are not overloaded. */
const HOLD_LEAST_MS = 25
const HOLD_MOST_MS = 75
/** A link that is there for so short a time has so many times the bursts: it costs a link of weeks nothing. */
const YOUNG_MS = 60_000
const YOUNG_TIMES = 4
/** For a cell's way round a loop that has just begun, and what waits before it. */
const LOOP_MARGIN_MS = 4_000
/** Cells of a burst of control slots, and of a cell on the wire behind TLS. */
const BURST_CELLS = 8
const WIRE_CELL_BYTES = CELL_BYTES + 22

type Leads = 'leadEpochs' | 'leastLeadEpochs' | 'twinLeadEpochs'

/** What a paced clock is at this node. */
export interface PacedPlan {
  readonly clock: Exclude<ClockName, 'swift'>
  readonly controlMs: number
  /** Exchanges of this node's user go over loops of so many cells a second, or more. */
  readonly exchangeRate: number
  readonly loops: Omit<LoopSetOptions, 'rng' | Leads>
  /** When set-ups of loops of so many other members leave, and how long before `live` they are decided. */
  setUpTime(members: number): SetUpTime
  /** The same for a twin of a loop of this rate, an index into `RATE_LADDER`. */
  twinTime(members: number, rate: number): Pick<SetUpTime, 'leadEpochs'>
  /** How long each member keeps a cell, where loops have so many. */
  holdMs(members: number): number
}

/** The plan of a node's clock; `null`: it is swift. */
export function pacedPlanOf({ clock, cover, fixedLoops, fixedRate, holdMs, bandwidth }: Config): PacedPlan | null {
  if (clock === 'swift') return null
  const { controlMs, standing, topRate } = COVER_PLANS[cover]
  const loops = clock === 'fixed' ? fixedLoops : standing
  const rate = clock === 'fixed' ? fixedRate : STANDING_RATE
  const phases = Array.from({ length: loops }, (_, at) => at % PHASES)
  const cellsMax = Math.floor(OWN_PART * lineCellsPerSecond(bandwidth))
  const lowest = RATE_LADDER.findLast((cells) => cells <= Math.min(EXTRA_LOWEST, cellsMax / LOWEST_LOOPS)) ?? STANDING_RATE
  const extraRates = RATE_LADDER.filter((cells) => cells >= lowest && cells <= Math.min(topRate, cellsMax))
  const extra = { rates: extraRates.map(ladderIndex), loopsMax: EXTRA_LOOPS_MAX, cellsMax }
  return {
    clock,
    controlMs,
    exchangeRate: clock === 'fixed' ? 0 : extraRates[0]!,
    loops: { standing: { rate: ladderIndex(rate), phases }, extra: clock === 'fixed' ? null : extra },
    holdMs: (members) => holdMs ?? holdFor(members),
    setUpTime: (members) => setUpTime(members, controlMs),
    twinTime: (members, rate) => twinTime(members, holdMs ?? holdFor(members), RATE_LADDER[rate]!),
  }
}

/** What a set of loops is to know of when they are set up, where loops have as many other members as `members` says. */
export function leadsOf(plan: PacedPlan, members: () => number): Required<Pick<LoopSetOptions, Leads>> {
  return {
    leadEpochs: () => plan.setUpTime(members()).leadEpochs,
    leastLeadEpochs: () => plan.setUpTime(members()).leastEpochs,
    twinLeadEpochs: (rate) => plan.twinTime(members(), rate).leadEpochs,
  }
}

/** How long it takes, if all goes well, until a loop of so many other members is there that somebody waits for, in milliseconds. */
export function loopMsOf(plan: PacedPlan, members: number): number {
  return (1 + plan.setUpTime(members).leadEpochs) * EPOCH_MS + START_SPREAD_MAX_MS + LOOP_MARGIN_MS
}

/**
 * How many of so many nodes a loop of `members` other members is likely to have, drawn for them in a network of so many `others`: the apex is one,
 * the rest are there by chance.
 */
export function likelyReach(wanted: number, members: number, others: number): number {
  return Math.max(1, Math.round(1 + ((wanted - 1) * (members - 1)) / Math.max(1, others - 1)))
}

/**
 * The longest hold with which half of a loop of so many other members takes `HALF_LOOP_MS`: each member, and this node, keeps a cell for the hold
 * and until the tick and slot after it. What is kept longer survives members that are later.
 */
export function holdFor(members: number): number {
  const most = (2 * HALF_LOOP_MS) / (members + 1) - TICK_WAIT_MS
  return Math.min(HOLD_MOST_MS, Math.max(HOLD_LEAST_MS, Math.floor(most)))
}

/** Cells that a line of so many bits a second carries in one. */
export function lineCellsPerSecond(bits: number): number {
  return Math.floor(bits / 8 / WIRE_CELL_BYTES)
}

/** The class that a node's descriptor states: 0 under 4 Mbit/s, one more for each fourfold, 7 at most (SPEC.md §6.1). */
export function capacityClassOf(bits: number): number {
  return Math.min(CAPACITY_CLASS_MAX, Math.max(0, Math.floor(Math.log2(bits / 1e6) / 2)))
}

function ladderIndex(cells: number): number {
  return (RATE_LADDER as readonly number[]).indexOf(cells)
}

/** When bursts of control slots go on each link: each so many milliseconds, and more often while it is young. */
export interface ControlSlots {
  readonly everyMs: number
  readonly young: { readonly everyMs: number; readonly forMs: number }
}

/** Those of this plan. */
export function controlSlotsOf({ controlMs }: PacedPlan): ControlSlots {
  return { everyMs: controlMs, young: { everyMs: controlMs / YOUNG_TIMES, forMs: YOUNG_MS } }
}

/** Bytes that own loops and control slots put on this node's links in an hour, each way, as the schedule says. */
export function scheduledBytesPerHour(cellsPerSecond: number, { controlMs }: PacedPlan, links: number): number {
  const control = (links * BURST_CELLS * 1000) / controlMs
  return Math.round((cellsPerSecond + control) * 3600 * WIRE_CELL_BYTES)
}

/** What a user should know of the clock, in plain words. */
export function clockWarnings(
  clock: ClockName,
  nodes: number,
  pool: { readonly backlog: { readonly asks: number; readonly seconds: number } } | null,
  swiftLoops: number,
): string[] {
  if (pool === null) return ['The clock is swift: whoever watches all wires of this node can correlate its traffic.']
  const warnings: string[] = []
  if (nodes < SMALL_NETWORK)
    warnings.push(`The clock is ${clock}, but only ${nodes} nodes are known: they are all that it can hide this node among.`)
  if (swiftLoops > 0) warnings.push('Requests asked for the clock swift: whoever watches all wires can correlate their traffic.')
  const { asks, seconds } = pool.backlog
  if (clock === 'fixed' && asks > 0 && Number.isFinite(seconds))
    warnings.push(`Requests wait for room on the loops, which are always as many: ${asks}, for about ${Math.ceil(seconds)} s.`)
  return warnings
}

/** One rng for both uses: the machine's own tells nothing of what was drawn before. */
export function drawsOf(rng: Rng): LoopSetOptions['rng'] {
  return { standing: rng, extra: rng }
}

// Requests with a clock of their own ------------------------------------------------------------------------------------------------

/** No isolation name of a user's begins so: they come from headers, which have no such character. */
const SWIFT_MARK = '\u0000swift '

/** The isolation name of work that wants `clock` on a node whose clock is `own`. Errors: `CLOCK_REFUSED`. */
export function isolationUnder(own: ClockName, clock: ClockName | undefined, isolation = ''): string {
  if (clock === undefined || clock === own) return isolation
  if (clock === 'swift') return `${SWIFT_MARK}${isolation}`
  throw new OverlayError(
    'config',
    'CLOCK_REFUSED',
    `This node's clock is ${own}: it has no loops that go by time as ${clock} does.`,
  )
}

function isSwift(isolation = ''): boolean {
  return isolation.startsWith(SWIFT_MARK)
}

type Homing = Pick<LoopSource, 'take' | 'release' | 'reaches'> & Required<Pick<LoopSource, 'takeHome'>>

/** Loops of the node's clock, and swift ones for work that wants those. */
export class ClockedLoops implements LoopSource {
  readonly takesPerAsk = true
  readonly #paced: LoopSource<Lease> & Homing
  readonly #swift: Homing

  constructor(paced: LoopSource<Lease> & Homing, swift: Homing) {
    this.#paced = paced
    this.#swift = swift
  }

  take(node: NodeId, taking: Taking): Promise<Work> {
    return isSwift(taking.isolation) ? this.#swift.take(node, taking) : this.#paced.take(node, taking)
  }

  reaches(node: NodeId, taking: Omit<Taking, 'signal'>): boolean {
    return (isSwift(taking.isolation) ? this.#swift : this.#paced).reaches?.(node, taking) !== false
  }

  takeHome(taking: Taking): Promise<Work> {
    return (isSwift(taking.isolation) ? this.#swift : this.#paced).takeHome(taking)
  }

  expect(isolation: string): void {
    if (!isSwift(isolation)) this.#paced.expect?.(isolation)
  }

  near(node: NodeId, isolation: string): boolean {
    return isSwift(isolation) || (this.#paced.near?.(node, isolation) ?? true)
  }

  release(loop: Work): void {
    if (loop instanceof Lease) this.#paced.release(loop)
    else this.#swift.release(loop)
  }
}

export type Sessions = Pick<ShareSessions, 'named' | 'fresh' | 'close'>

/** The sessions of work, each over the loops of its clock. */
export class ClockedSessions implements Sessions {
  readonly #own: Sessions
  readonly #swift: Sessions

  constructor(own: Sessions, swift: Sessions) {
    this.#own = own
    this.#swift = swift
  }

  fresh(isolation?: string): ShareSession {
    return (isSwift(isolation) ? this.#swift : this.#own).fresh(isolation)
  }

  named(name: string, isolation?: string): ShareSession {
    return (isSwift(isolation) ? this.#swift : this.#own).named(name, isolation)
  }

  close(): void {
    this.#own.close()
    this.#swift.close()
  }
}
