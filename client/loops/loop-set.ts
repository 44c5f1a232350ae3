/**
 * Which paced loops a node has of its own, and when that changes: a state machine, epochs and news of loops in, wishes for loops out. It knows
 * no loop, no peer and no clock; `paced-pool.ts` drives it.
 *
 *   epoch → standing loops that are due → extra loops that are renewed → one step up at most, if something waits
 *
 * Standing loops follow from configuration and public rounds alone. Extra ones (`steady` only) follow what this node's own user waits for: at
 * most one step an epoch, more loops or the next rate, each for a random time that was fixed when it was set up, and renewed until the
 * demand has been gone for a while. The set changes at epochs only (P5b). What a remote party does (asks, fails, garbles) brings no loop
 * but one in the place of another. Long because it is one machine. Spec: SPEC.md §4.6.
 */
import type { NodeId } from '../../src/bytes/index.ts'
import { EPOCH_MS, RATE_LADDER } from '../../src/circuit/setup/index.ts'
import type { Rng } from '../../src/runtime/index.ts'

// Specification constants.
/** Epochs in a public round: ten minutes. */
export const ROUND_EPOCHS = 600_000 / EPOCH_MS
/** Phases in which loops are born and end, half a round apart. */
export const PHASES = 2

// Implementation constants.
/** A loop that would end so soon is born for one more round. */
const LIFE_MIN_EPOCHS = 60_000 / EPOCH_MS
/** An extra loop lives for a time drawn between these, and is kept for such a time after it was of use last. */
const EXTRA_MIN_EPOCHS = 60_000 / EPOCH_MS
const EXTRA_MAX_EPOCHS = 180_000 / EPOCH_MS
/** The next round's set-up goes so many epochs before it, at random, beside the lead. */
const AHEAD_SPREAD_EPOCHS = 40_000 / EPOCH_MS
/** More than this waits, in seconds of what the loops carry: a step up. */
const STEP_SECONDS = 1
/** Steps that only bring more loops, one after the other, bring twice as many each time, up to this. */
const STEP_LOOPS_MAX = 8
/** An exchange begins on an extra loop that is there for so many epochs more. */
export const EXCHANGE_EPOCHS = 45_000 / EPOCH_MS
/** Twins that a loop has in its life: places for them. */
const TWINS_MAX = 15
/** Extra loops of the highest rate that one isolation name has for the same nodes. */
const TOP_LOOPS_MAX = 2
/** A date set back by no more than this is waited for. */
const SET_BACK_EPOCHS = 10_000 / EPOCH_MS
/** After a loop that failed the next try waits twice as long each time, at most so many epochs. */
const RETRY_MAX_EPOCHS = 60_000 / EPOCH_MS

export interface LoopSetOptions {
  /** One standing loop for each entry: the phase of its rounds. `rate`: index into `RATE_LADDER`. */
  readonly standing: { readonly rate: number; readonly phases: readonly number[] }
  /** `null`: never any (`fixed`). `rates`: indexes into `RATE_LADDER`, lowest first; `loopsMax`: at once; `cellsMax`: cells a second of all. */
  readonly extra: { readonly rates: readonly number[]; readonly loopsMax: number; readonly cellsMax: number } | null
  /** Epochs between a decision and the loop's `live`: what the set-up takes (`set-up-time.ts`), with as many members as loops have now. */
  leadEpochs(): number
  /**
   * The same for a set-up that leaves at once. The first loop of a standing place does so, and is live at random between this and the lead: no member
   * has seen anything by which it knows when that was decided. Absent: it waits as all others do.
   */
  leastLeadEpochs?(): number
  /** How many of so many nodes a loop that is drawn for them is likely to have among its members; 1 or more. Absent: all of them. */
  reach?(wanted: number): number
  /** As `leadEpochs`, for a twin of a loop of this rate (index into `RATE_LADDER`). Absent: loops have no twins. */
  twinLeadEpochs?(rate: number): number
  /** For standing loops, and for extra ones: what is drawn for one must not show in the other. */
  readonly rng: { readonly standing: Rng; readonly extra: Rng }
}

/** A loop to be set up now. */
export interface Wish {
  readonly id: number
  readonly kind: 'standing' | 'extra'
  /** Index into `RATE_LADDER`. */
  readonly rate: number
  readonly liveEpoch: number
  readonly closeEpoch: number
  /** 0 ≤ x < 1: when in the time that is for it the set-up leaves. Members must not know when this was decided. */
  readonly wait: number
  /** The time that is for it is the epoch that has begun, and no longer. */
  readonly atOnce: boolean
  /** Of a twin: the loop whose members it has, and which of its twins it is. */
  readonly twin: { readonly root: number; readonly place: number } | null
  /** The isolation name whose loop it is; `null`: that which uses it first. */
  readonly owner: string | null
  /** Nodes that it should have among its members: the first in any case, the others if it can be. */
  readonly cover: readonly NodeId[]
}

/** What waits now, of this node's own user. */
export interface Demand {
  /** Cells that wait, by isolation name and the node they are for. */
  readonly waiting: ReadonlyMap<string, ReadonlyMap<NodeId, number>>
  /** Loops that carried something since the last epoch. */
  readonly used: ReadonlySet<number>
  /** By isolation name, nodes at which an exchange waits for a loop that is there for a while. Absent: none. */
  readonly exchanges?: ReadonlyMap<string, ReadonlySet<NodeId>>
  /** Isolation names whose user has just begun to look at something: the first twin need not wait until much is asked. */
  readonly expected?: ReadonlySet<string>
}

const NOBODY: ReadonlySet<string> = new Set()

export const NO_DEMAND: Demand = Object.freeze({ waiting: new Map(), used: new Set<number>() })

interface Member {
  readonly wish: Wish
  readonly decidedEpoch: number
  /** Which standing place it fills; -1 for an extra one. */
  readonly place: number
  owner: string | null
  /** Its members, once they are drawn; before, those it is likely to have of what it is for. */
  hops: Set<NodeId>
  built: boolean
  /** Twins that it had so far: each has a place of its own. */
  twins: number
  usedEpoch: number
  readonly holdEpochs: number
  renewed: boolean
  worn: boolean
}

interface Place {
  readonly phase: number
  /** Epochs before a round at which its set-up goes. */
  ahead: number
  failures: number
  notBefore: number
  /** It never had a loop, nor a set-up. */
  fresh: boolean
}

export class LoopSet {
  readonly #options: LoopSetOptions
  readonly #places: readonly Place[]
  readonly #members = new Map<number, Member>()
  #lastId = 0
  #epoch = -1
  /** Loops that the last step brought, if it only brought more. */
  #lastMore = 0
  #retryAt = 0
  #extraFailures = 0
  /** When the last failure was counted. */
  #failedAt = -1

  constructor(options: LoopSetOptions) {
    this.#options = options
    this.#places = options.standing.phases.map((phase) => ({
      phase,
      ahead: this.#drawAhead(),
      failures: 0,
      notBefore: 0,
      fresh: true,
    }))
  }

  /** Cells a second of all loops of the set that are live in `epoch`. */
  rateAt(epoch: number): number {
    let cells = 0
    for (const { wish } of this.#members.values()) {
      if (wish.liveEpoch <= epoch && epoch < wish.closeEpoch) cells += RATE_LADDER[wish.rate]!
    }
    return cells
  }

  /** Loops of the set: live, being set up, or of no more use and not over. */
  get size(): number {
    return this.#members.size
  }

  /**
   * A public epoch has begun. The loops to be set up now. Once per epoch; one that was missed is not made up for. Where the machine's date was set
   * back, what was planned by the wrong one is forgotten: no node would take part in it.
   */
  onEpoch(epoch: number, demand: Demand): Wish[] {
    if (epoch < this.#epoch - SET_BACK_EPOCHS) this.#startOver()
    else if (epoch <= this.#epoch) return []
    this.#epoch = epoch
    for (const [id, { wish, place }] of this.#members) {
      if (wish.closeEpoch > epoch) continue
      this.#members.delete(id)
      const kept = this.#places[place]
      if (kept !== undefined) kept.failures = 0
    }
    const wishes: Wish[] = []
    for (const [at, place] of this.#places.entries()) this.#keepStanding(at, place, wishes)
    if (this.#options.extra !== null) {
      for (const id of demand.used) {
        const member = this.#members.get(id)
        if (member !== undefined) member.usedEpoch = epoch
      }
      this.#renew(wishes)
      this.#step(demand, this.#options.extra, wishes)
    }
    return wishes
  }

  #startOver(): void {
    this.#members.clear()
    this.#retryAt = 0
    this.#extraFailures = 0
    this.#failedAt = -1
    for (const place of this.#places) {
      place.failures = 0
      place.notBefore = 0
    }
  }

  /** The loop is set up, over `hops`. */
  onBuilt(id: number, hops: readonly NodeId[]): void {
    const member = this.#members.get(id)
    if (member === undefined) return
    member.hops = new Set(hops)
    member.built = true
    if (member.place < 0) this.#extraFailures = 0
  }

  /** These are to be its members. What an extra loop will not reach needs not wait until it is built. */
  onDrawn(id: number, hops: readonly NodeId[]): void {
    const member = this.#members.get(id)
    if (member !== undefined && member.place < 0 && !member.built) member.hops = new Set(hops)
  }

  /** `owner` uses the loop, and nobody else does from now on. */
  onOwned(id: number, owner: string): void {
    const member = this.#members.get(id)
    if (member !== undefined) member.owner ??= owner
  }

  /** The loop is not to be asked for `node` any more, nor its twins. */
  onSpent(id: number, node: NodeId): void {
    const root = this.#members.get(id)?.wish.twin?.root ?? id
    for (const [other, { wish, hops }] of this.#members) if (other === root || wish.twin?.root === root) hops.delete(node)
  }

  /** What `onSpent` said of it was not used: it may be asked after all. */
  onSpared(id: number, node: NodeId): void {
    const root = this.#members.get(id)?.wish.twin?.root ?? id
    for (const [other, { wish, hops }] of this.#members) if (other === root || wish.twin?.root === root) hops.add(node)
  }

  /** The loop is of little use: another one is to take its place, which it may be used until then. */
  onWorn(id: number): void {
    const member = this.#members.get(id)
    if (member !== undefined) member.worn = true
  }

  /**
   * The loop could not be set up, or is of no more use before its time. Another one may take its place at an epoch to come. `unsent`: nothing of it
   * has left this node, so nobody knows of the try.
   */
  onLost(id: number, unsent = false): void {
    const member = this.#members.get(id)
    if (member === undefined) return
    this.#members.delete(id)
    const place = this.#places[member.place]
    if (place === undefined) {
      // Those that were decided on before are one try with the last that failed: eight at once are not eight in a row.
      if (member.decidedEpoch <= this.#failedAt) return
      this.#failedAt = this.#epoch
      this.#retryAt = this.#epoch + backoff(++this.#extraFailures)
      return
    }
    place.fresh = unsent && member.wish.atOnce
    // One that was there for as long as tries wait at most ends the row: such failures bring no more changes than those do.
    if (this.#epoch - member.wish.liveEpoch >= RETRY_MAX_EPOCHS) place.failures = 0
    place.notBefore = this.#epoch + backoff(++place.failures)
  }

  // Standing loops ----------------------------------------------------------------------------------------------------------------

  #keepStanding(at: number, place: Place, wishes: Wish[]): void {
    let until = Number.NEGATIVE_INFINITY
    for (const { place: whose, worn, wish } of this.#members.values()) {
      if (whose === at && !worn) until = Math.max(until, wish.closeEpoch)
    }
    if (this.#epoch < until - place.ahead || this.#epoch < place.notBefore) return
    place.ahead = this.#drawAhead()
    const lead = this.#options.leadEpochs()
    const least = place.fresh ? this.#options.leastLeadEpochs?.() : undefined
    place.fresh = false
    const atOnce = least !== undefined
    // As long from leaving to `live` as with the wait, on average and at the ends.
    const leadNow = atOnce ? least + 1 + this.#options.rng.standing.below(lead - least) : lead
    const liveEpoch = Math.max(until, this.#epoch + leadNow)
    const closeEpoch = roundAfter(place.phase, liveEpoch + LIFE_MIN_EPOCHS)
    const { rate } = this.#options.standing
    wishes.push(this.#add({ kind: 'standing', rate, liveEpoch, closeEpoch, atOnce, twin: null, owner: null, cover: [] }, at))
  }

  #drawAhead(): number {
    return this.#options.leadEpochs() + 1 + this.#options.rng.standing.below(AHEAD_SPREAD_EPOCHS)
  }

  // Extra loops -------------------------------------------------------------------------------------------------------------------

  /** Loops that end soon and were of use lately get another in their place. */
  #renew(wishes: Wish[]): void {
    const leadEpochs = this.#options.leadEpochs()
    for (const member of [...this.#members.values()]) {
      const { wish, owner } = member
      if (member.place >= 0 || member.renewed || owner === null) continue
      const root = member.worn ? null : this.#rootFor(owner, (other) => other.wish.id === wish.twin?.root)
      const lead = root === null ? leadEpochs : this.#twinLead(root)
      const due = member.worn || this.#epoch >= wish.closeEpoch - lead
      if (!due) continue
      member.renewed = true
      if (this.#epoch - member.usedEpoch >= member.holdEpochs || this.#isSuperseded(member)) continue
      const next =
        root === null ? this.#addSetUp(wish.rate, owner, wish.cover) : this.#addTwin(root, wish.rate, owner, wish.cover)
      this.#members.get(next.id)!.usedEpoch = member.usedEpoch
      wishes.push(next)
    }
  }

  #isSuperseded({ wish, owner }: Member): boolean {
    for (const other of this.#members.values()) {
      if (other.place < 0 && other.owner === owner && other.wish.rate > wish.rate) return true
    }
    return false
  }

  #step(demand: Demand, extra: NonNullable<LoopSetOptions['extra']>, wishes: Wish[]): void {
    const more = this.#lastMore
    this.#lastMore = 0
    if (this.#epoch < this.#retryAt) return
    const [lowest] = extra.rates
    const unmet = this.#room(extra, lowest!) > 0 ? this.#unmet(demand) : null
    if (unmet !== null) {
      const { owner, nodes } = unmet
      const root = this.#bestRoot(owner, nodes)
      wishes.push(root === null ? this.#addSetUp(lowest!, owner, nodes) : this.#addTwin(root, lowest!, owner, nodes))
      return
    }
    const need = this.#worst(demand)
    if (need === null) return this.#expect(demand, extra, wishes)
    const covered = need.slow.filter((node) => !need.uncovered.includes(node))
    const root = covered.length > 0 ? this.#bestRoot(need.owner, covered) : null
    if (root !== null) {
      const rate = this.#nextRate({ ...need, slow: covered }, extra.rates)
      const most = Math.max(rate ?? 0, this.#justified(need, extra.rates))
      const fits = extra.rates.findLast((each) => rate !== null && each >= rate && each <= most && this.#room(extra, each) > 0)
      if (fits !== undefined) wishes.push(this.#addTwin(root, fits, need.owner, covered))
    }
    if (need.uncovered.length > 0) {
      const each = this.#reach(need.uncovered.length)
      const enough = Math.ceil(need.uncovered.length / each)
      const count = Math.min(this.#room(extra, lowest!), STEP_LOOPS_MAX, Math.max(1, 2 * more), enough)
      for (let from = 0; from < count * each; from += each) {
        const cover = [...need.uncovered.slice(from), ...need.uncovered.slice(0, from)]
        wishes.push(this.#addSetUp(lowest!, need.owner, cover))
      }
      this.#lastMore = count
      return
    }
    const rate = this.#nextRate(need, extra.rates)
    if (root === null && rate !== null && this.#room(extra, rate) > 0) wishes.push(this.#addSetUp(rate, need.owner, need.slow))
  }

  /** A twin of the lowest rate for a name that has no extra loop, and whose user has begun something. */
  #expect({ expected = NOBODY }: Demand, extra: NonNullable<LoopSetOptions['extra']>, wishes: Wish[]): void {
    const [lowest] = extra.rates
    for (const owner of expected) {
      if (this.#room(extra, lowest!) === 0) return
      if ([...this.#members.values()].some((member) => member.place < 0 && member.owner === owner)) continue
      const roots = [...this.#members.values()].filter((member) => this.#rootFor(owner, (other) => other === member) !== null)
      const root = roots.sort((a, b) => b.hops.size - a.hops.size)[0]
      if (root === undefined) continue
      wishes.push(this.#addTwin(root, lowest!, owner, []))
      return
    }
  }

  /** An isolation name with exchanges that no loop of its own will take, and their nodes. */
  #unmet({ exchanges }: Demand): { readonly owner: string; readonly nodes: readonly NodeId[] } | null {
    for (const [owner, wanted] of exchanges ?? []) {
      const nodes = [...wanted].filter((node) => !this.#lastsFor(owner, node))
      if (nodes.length > 0) return { owner, nodes }
    }
    return null
  }

  #lastsFor(owner: string, node: NodeId): boolean {
    for (const { place, owner: whose, wish, hops } of this.#members.values()) {
      const leftEpochs = wish.closeEpoch - Math.max(this.#epoch, wish.liveEpoch)
      if (place < 0 && whose === owner && hops.has(node) && leftEpochs >= EXCHANGE_EPOCHS) return true
    }
    return false
  }

  /** Whose wait is the longest, and the nodes that it is for, the worst first. `null`: nobody waits long enough. */
  #worst({ waiting }: Demand): Need | null {
    let worst: Need | null = null
    let most = STEP_SECONDS
    for (const [owner, byNode] of waiting) {
      // What waits for one node shares its loops with what waits for the others.
      let together = 0
      for (const [node, cells] of byNode) if (this.#rateTo(owner, node) > 0) together += cells
      const overall = together === 0 ? 0 : together / this.#rateTo(owner, null)
      const slow: { readonly node: NodeId; readonly seconds: number }[] = []
      for (const [node, cells] of byNode) {
        const seconds = cells / this.#rateTo(owner, node)
        if (Math.max(seconds, overall) > STEP_SECONDS) slow.push({ node, seconds })
      }
      slow.sort((a, b) => b.seconds - a.seconds)
      const longest = Math.max(slow[0]?.seconds ?? 0, slow.length === 0 ? 0 : overall)
      if (longest <= most) continue
      most = longest
      const nodes = slow.map(({ node }) => node)
      const cells = [...byNode].reduce((sum, [node, some]) => sum + (this.#rateTo(owner, node) > 0 ? some : 0), 0)
      worst = { owner, cells, slow: nodes, uncovered: nodes.filter((node) => this.#rateTo(owner, node) === 0) }
    }
    return worst
  }

  /** Cells a second to `node` (`null`: to any) on loops that `owner` has, or may come to have. */
  #rateTo(owner: string, node: NodeId | null): number {
    let cells = 0
    for (const member of this.#members.values()) {
      if (member.owner !== null && member.owner !== owner) continue
      if (node === null || member.hops.has(node)) cells += RATE_LADDER[member.wish.rate]!
    }
    return cells
  }

  /** More loops of the highest rate there is, for nodes that are not on one; else the next rate. */
  #nextRate({ owner, slow }: Need, rates: readonly number[]): number | null {
    let top = -1
    let reached = 0
    for (const { place, owner: whose, wish, hops } of this.#members.values()) {
      if (place >= 0 || whose !== owner) continue
      if (wish.rate > top) [top, reached] = [wish.rate, 0]
      if (wish.rate === top && hops.has(slow[0]!)) reached++
    }
    if (top >= 0 && reached === 0) return top
    return rates.find((rate) => rate > top) ?? (reached < TOP_LOOPS_MAX ? top : null)
  }

  /** How many more extra loops of this rate (index into `RATE_LADDER`) the set may have. */
  #room({ loopsMax, cellsMax }: NonNullable<LoopSetOptions['extra']>, rate: number): number {
    let count = 0
    let cells = 0
    for (const { place, wish } of this.#members.values()) {
      if (place >= 0) continue
      count++
      cells += RATE_LADDER[wish.rate]!
    }
    return Math.max(0, Math.min(loopsMax - count, Math.floor((cellsMax - cells) / RATE_LADDER[rate]!)))
  }

  #reach(wanted: number): number {
    return this.#options.reach?.(wanted) ?? wanted
  }

  #addSetUp(rate: number, owner: string, cover: readonly NodeId[]): Wish {
    return this.#addExtra(rate, this.#epoch + this.#options.leadEpochs(), null, owner, cover)
  }

  #addExtra(rate: number, liveEpoch: number, twin: Wish['twin'], owner: string, cover: readonly NodeId[]): Wish {
    const closeEpoch = liveEpoch + this.#drawLife()
    return this.#add({ kind: 'extra', rate, liveEpoch, closeEpoch, atOnce: false, twin, owner, cover }, -1)
  }

  // Twins -------------------------------------------------------------------------------------------------------------------------

  /** A loop that can have one more twin of `owner`'s; with most of `nodes`, and the slowest of them in any case. */
  #bestRoot(owner: string, nodes: readonly NodeId[]): Member | null {
    let most = 0
    let best: Member | null = null
    for (const member of this.#members.values()) {
      const reached = member.hops.has(nodes[0]!) ? nodes.filter((node) => member.hops.has(node)).length : 0
      if (reached <= most || this.#rootFor(owner, (other) => other === member) === null) continue
      most = reached
      best = member
    }
    return best
  }

  /** The first loop of which `is` holds, if it can have one more twin. */
  #rootFor(owner: string, is: (member: Member) => boolean): Member | null {
    if (this.#options.twinLeadEpochs === undefined) return null
    for (const member of this.#members.values()) {
      if (!is(member)) continue
      const { wish, built, worn, twins } = member
      const mine = member.owner === null || member.owner === owner
      if (!mine || !built || worn || wish.twin !== null || twins >= TWINS_MAX) return null
      const runs = wish.liveEpoch < this.#epoch && wish.closeEpoch > this.#epoch + this.#twinLead(member)
      return runs ? member : null
    }
    return null
  }

  #twinLead({ wish }: Member): number {
    return this.#options.twinLeadEpochs!(wish.rate)
  }

  #addTwin(root: Member, rate: number, owner: string, cover: readonly NodeId[]): Wish {
    root.owner ??= owner
    const twin = { root: root.wish.id, place: ++root.twins }
    const wish = this.#addExtra(rate, this.#epoch + this.#twinLead(root), twin, owner, cover)
    this.#members.get(wish.id)!.hops = new Set(root.hops)
    return wish
  }

  /** The lowest rate that carries what waits within the time of a step, or the highest. */
  #justified({ cells }: Need, rates: readonly number[]): number {
    return rates.find((rate) => cells <= STEP_SECONDS * RATE_LADDER[rate]!) ?? rates.at(-1)!
  }

  #drawLife(): number {
    return EXTRA_MIN_EPOCHS + this.#options.rng.extra.below(EXTRA_MAX_EPOCHS - EXTRA_MIN_EPOCHS + 1)
  }

  #add(plan: Omit<Wish, 'id' | 'wait'>, place: number): Wish {
    const { standing, extra } = this.#options.rng
    const wish = Object.freeze({ ...plan, id: ++this.#lastId, wait: (place < 0 ? extra : standing).unit() })
    const holdEpochs = place < 0 ? this.#drawLife() : 0
    const hops = new Set(wish.cover.slice(0, this.#reach(wish.cover.length)))
    this.#members.set(wish.id, {
      wish,
      decidedEpoch: this.#epoch,
      place,
      owner: wish.owner,
      hops,
      built: false,
      twins: 0,
      usedEpoch: wish.liveEpoch,
      holdEpochs,
      renewed: false,
      worn: false,
    })
    return wish
  }
}

interface Need {
  readonly owner: string
  /** Cells that wait for nodes that its loops reach. */
  readonly cells: number
  /** Nodes that more waits for than a step takes, the worst first. */
  readonly slow: readonly NodeId[]
  /** Those of them that no loop reaches. */
  readonly uncovered: readonly NodeId[]
}

/** The first boundary of rounds of `phase` at or after `epoch`. */
export function roundAfter(phase: number, epoch: number): number {
  const offset = (phase * ROUND_EPOCHS) / PHASES
  return Math.ceil((epoch - offset) / ROUND_EPOCHS) * ROUND_EPOCHS + offset
}

function backoff(failures: number): number {
  return Math.min(RETRY_MAX_EPOCHS, 2 ** Math.max(0, failures - 2))
}
