/**
 * The cell loop: every cell that comes in on any link passes here, an origin's own like everybody else's.
 *
 *   link turn → sort the turn's cells by circuit → each circuit peels its batch, answers, pushes on → one write per link → set-ups
 *
 * A paced circuit pushes into a line that sends by time (`pacing.ts`), so its cells are never written here. It ends when its line is over, and
 * without a word: what still comes from its predecessor is swallowed.
 * An own loop whose cells come home sends at its place in the turn and in the same write as relayed circuits: a write of its own, or
 * always the last place in one, would tell the next member whose loop it is.
 * It owns the table of circuits per link and knows nothing of content. A bad cell is a verdict, never an exception; it costs at most
 * its circuit. A fault of ours costs the link whose turn it was: nothing of that turn is left for another link's. Threats met: unknown ids and floods (one DESTROY per turn and id, bounded tables), circuits left behind (idle sweep).
 * Long because the whole way of a cell is read in one place. Spec: SPEC.md §4.2, §4.4.
 */
import type { NodeId } from '../src/bytes/index.ts'
import {
  BODY_BYTES,
  CELL_BYTES,
  CELL_HEADER_BYTES,
  type CircuitId,
  Command,
  circuitIdAt,
  commandAt,
  NO_CIRCUIT,
} from '../src/cell/index.ts'
import { type CircuitEnd, HopLayer, type Launch, type LaunchedLoop, type LoopEnd, type LoopPort } from '../src/circuit/index.ts'
import {
  ephemeralOf,
  refusePlan,
  type SetUpPlan,
  setUpCells,
  TWIN_LEAD_MS,
  twinPlan,
  wipeLayer,
} from '../src/circuit/setup/index.ts'
import { type CellCipher, wipe } from '../src/crypto/index.ts'
import type { Lane, Link, LinkCloseReason, LinkReceiver } from '../src/link/index.ts'
import type { CellPlane, ControlSink } from '../src/link/plane.ts'
import type { Clock, Rng, Timer } from '../src/runtime/index.ts'
import type { Twin } from '../src/wire/index.ts'
import type { Admission, OpenedSetUp } from './admission.ts'
import type { Apex } from './apex.ts'
import { HomeCircuit, isPeersId, LinkState, type OwnLoop, SILENT_END, twinId } from './circuits.ts'
import { type PacedHop, RelayHop } from './hop.ts'
import type { Line } from './lines.ts'
import { Pacing, type PacingOptions, type Reservation } from './pacing.ts'

// Implementation constants.
/** Circuits that may come in over one link, and set-ups that may wait for their turn. */
export const CIRCUITS_PER_LINK_MAX = 12_288
/**
 * What comes home after its loop's end is swallowed for so long at most, drawn between the two, then answered as any unknown circuit is. A last
 * member that goes on sending would keep it for ever. Random, so that the time does not tell how far away the origin was.
 */
export const SILENT_LIFE_MS = [300_000, 600_000] as const
const SETUPS_WAITING_MAX = 64
/** Own set-ups under way at once. */
const LAUNCHES_MAX = 64
/** A relayed circuit without a cell for this long ends; origins keep theirs alive (`client/loops`). */
export const CIRCUIT_IDLE_MS = 60_000
const SWEEP_MS = 15_000
/** Unknown circuits answered in one turn of one link. */
const DESTROYS_PER_TURN = 4
/** What each cell that is not of a circuit here is billed for, besides what it takes: when links wait for turns, those of circuits come first. */
const OTHER_CELL_MS = 0.01

const EMPTY_BODY = new Uint8Array(BODY_BYTES)

export interface SwitchDeps {
  readonly cipher: CellCipher
  readonly clock: Clock
  readonly rng: Rng
  readonly apex: Apex
  readonly admission: Admission
  /** Who hears CONTROL cells and link ends. Set by the composition root before the first link. */
  readonly control: ControlSink
  /** How the links are paced. Default: no control slots. */
  readonly pacing?: PacingOptions
  /** Circuits each way over one link. Default: `CIRCUITS_PER_LINK_MAX`. */
  readonly circuitsPerLink?: number
}

export class Switch implements LinkReceiver, CellPlane, LoopPort {
  readonly receiver: LinkReceiver = this
  readonly #deps: SwitchDeps
  readonly #links = new Map<Link, LinkState>()
  readonly #neighbours = new Map<NodeId, LinkState>()
  /** Own set-ups that are on their way round, by ephemeral key. */
  readonly #launches = new Map<string, OwnLoop>()
  /** Circuits with cells in this turn; links with cells to write at its end. Reused. */
  readonly #touched: (RelayHop | HomeCircuit)[] = []
  readonly #dirty = new Set<Link>()
  readonly #pacing: Pacing
  /** Own paced loops whose lines run. */
  readonly #supplied = new Set<OwnLoop>()
  #supplyAsked = false
  readonly #setUps: { readonly state: LinkState; readonly id: CircuitId; readonly packet: Uint8Array }[] = []
  #relayed = 0
  /** Whether cells of a turn are being handled: what own loops flush waits for its end. */
  #inTurn = false
  #sweep: Timer | null = null

  constructor(deps: SwitchDeps) {
    this.#deps = deps
    this.#pacing = new Pacing({ ...deps.pacing, clock: deps.clock, rng: deps.rng, onTick: () => this.#askSupply() })
  }

  /** Circuits relayed now. */
  get relayed(): number {
    return this.#relayed
  }

  /** Entries in the tables of all links, own loops included: 0 once every circuit is gone. Coarse, for metrics and tests. */
  get tableEntries(): number {
    let entries = this.#launches.size
    for (const { incoming, outgoing } of this.#links.values()) entries += incoming.size + outgoing.size
    return entries
  }

  start(): void {
    this.#sweep = this.#deps.clock.setTimer(SWEEP_MS, () => this.#sweepIdle())
  }

  /** Ends every circuit. Links are closed by their owner. Idempotent. */
  close(): void {
    this.#sweep?.cancel()
    this.#sweep = null
    for (const state of this.#links.values()) this.#endAll(state, 'closed')
    this.#pacing.close()
  }

  // The data path -----------------------------------------------------------------------------------------------------------------

  onCells(link: Link, cells: Uint8Array, count: number): void {
    this.#inTurn = true
    try {
      this.#takeCells(link, cells, count)
    } catch (error) {
      this.#inTurn = false
      this.#forgetTouched()
      throw error
    }
  }

  #takeCells(link: Link, cells: Uint8Array, count: number): void {
    const state = this.#stateOf(link)
    const now = this.#deps.clock.monotonicMs()
    let destroys = 0
    let others = 0
    for (let cell = 0; cell < count; cell++) {
      const at = cell * CELL_BYTES
      const command = commandAt(cells, at)
      if (command === Command.CIRCUIT) {
        const circuit = state.incoming.get(circuitIdAt(cells, at))
        if (circuit !== undefined) {
          if (circuit.turnCells === 0) this.#touched.push(circuit)
          circuit.turn[circuit.turnCells++] = at
        } else {
          others++
          if (destroys++ < DESTROYS_PER_TURN) this.#destroyUnknown(state, circuitIdAt(cells, at))
        }
      } else {
        others++
        if (!this.#onOther(state, command, cells, at)) return this.#protocolFault(link)
      }
    }
    if (others > 0) link.bill(others * OTHER_CELL_MS)
    for (let at = 0; at < this.#touched.length; at++) {
      const circuit = this.#touched[at]!
      if (circuit.turnCells === 0) continue // ended by a cell of this very turn
      circuit.lastCellAt = now
      if (circuit instanceof RelayHop) {
        const verdict = circuit.run(cells)
        if (circuit.paced === null) this.#dirty.add(circuit.to)
        if (verdict !== 'open') this.#endHop(circuit, verdict)
      } else {
        const homeCells = circuit.turnCells
        circuit.turnCells = 0
        circuit.own?.paced?.line.heard()
        circuit.end.onHome(cells, circuit.turn, homeCells)
        circuit.end.onTurnEnd()
      }
    }
    this.#touched.length = 0
  }

  onTurnEnd(): void {
    this.#inTurn = false
    this.#flushDirty()
    while (this.#setUps.length > 0) {
      const { state, id, packet } = this.#setUps.shift()!
      this.#onSetUp(state, id, packet)
    }
  }

  #flushDirty(): void {
    for (const link of this.#dirty) link.flush()
    this.#dirty.clear()
  }

  #forgetTouched(): void {
    for (const circuit of this.#touched) circuit.turnCells = 0
    this.#touched.length = 0
  }

  // Everything that is not a circuit's cell ---------------------------------------------------------------------------------------

  /** `false`: no command that there is; the link closes. */
  #onOther(state: LinkState, command: number, cells: Uint8Array, at: number): boolean {
    switch (command) {
      case Command.PAD:
        return true
      case Command.CONTROL:
        if (circuitIdAt(cells, at) !== NO_CIRCUIT) return false
        this.#deps.control.onControlCell(state.link, cells.subarray(at + CELL_HEADER_BYTES, at + CELL_BYTES))
        return true
      case Command.SETUP: {
        const id = circuitIdAt(cells, at)
        if (!state.neighbour || !isPeersId(state.link, id)) return true
        const packet = this.#deps.admission.onSetUpCell(state.link, id, cells.subarray(at + CELL_HEADER_BYTES, at + CELL_BYTES))
        if (packet !== null && this.#setUps.length < SETUPS_WAITING_MAX) this.#setUps.push({ state, id, packet })
        return true
      }
      case Command.DESTROY: {
        const circuit = state.outgoing.get(circuitIdAt(cells, at))
        if (circuit === undefined || circuit.paced !== null) return true // a paced one goes on to its end, whatever becomes of it
        if (circuit instanceof RelayHop) this.#endHop(circuit, 'destroyed')
        else this.#endOwn(circuit, 'destroyed')
        return true
      }
      default:
        return false
    }
  }

  #protocolFault(link: Link): void {
    this.#forgetTouched()
    link.close('protocol')
  }

  #destroyUnknown(state: LinkState, id: CircuitId): void {
    if (!state.neighbour || !isPeersId(state.link, id) || this.#pacing.destroy(state.link, id)) return
    const lane = state.link.lane(id)
    lane.push(Command.DESTROY, EMPTY_BODY)
    lane.close()
    this.#dirty.add(state.link)
  }

  #onSetUp(state: LinkState, id: CircuitId, packet: Uint8Array): void {
    if (!state.neighbour || state.incoming.has(id) || state.incoming.size >= this.#circuitsPerLink) return
    const own = this.#launches.get(ephemeralOf(packet))
    if (own !== undefined) return this.#onReturn(own, state, id, packet)
    const opened = this.#deps.admission.open(packet, state.link.peer, (next) => this.#neighbours.has(next))
    if (opened !== null) this.#join(state, id, opened)
  }

  /** Becomes a member of a loop: from `state` on to the next neighbour. */
  #join(state: LinkState, fromId: CircuitId, opened: OpenedSetUp): void {
    const to = this.#neighbours.get(opened.next)
    const toId = to && this.#freeId(to, state.link)
    if (to === undefined || toId === undefined) return wipeLayer(opened)
    const paced = this.#pace(state.link, to.link, toId, opened.plan, (why) => this.#endHop(hop, why))
    if (paced === 'refused') return wipeLayer(opened)
    const lane = paced?.line ?? to.link.lane(toId)
    const layer = new HopLayer(this.#deps.cipher, opened)
    wipeLayer(opened)
    const twin = paced === null ? undefined : (wish: Twin) => this.#twin(hop, wish)
    const { apex, clock } = this.#deps
    const hop = new RelayHop({ from: state.link, fromId, to: to.link, lane, layer, apex, paced, twin, now: clock.monotonicMs() })
    this.#add(hop, state, to)
    if (!this.#pushSetUp(lane, opened.packet)) return this.#endHop(hop, 'overload')
    to.link.flush()
  }

  #add(hop: RelayHop, from: LinkState, to: LinkState): void {
    from.incoming.set(hop.fromId, hop)
    to.addOutgoing(hop.toId, hop)
    this.#relayed++
  }

  /** Becomes a member of a twin of `root`, between the same links. `false`: the plan is not admissible, or there is no room. */
  #twin(root: RelayHop, { place, cellKey, answerKey, ...wish }: Twin): boolean {
    const from = this.#links.get(root.from)
    const to = this.#links.get(root.to)
    if (root.over || root.paced === null || !from?.neighbour || !to?.neighbour) return false
    const { apex, cipher, clock } = this.#deps
    const plan = twinPlan(clock.unixMs(), root.paced.plan, wish)
    const fromId = twinId(root.fromId, place)
    const toId = twinId(root.toId, place)
    if (refusePlan(plan, clock.unixMs(), undefined, TWIN_LEAD_MS) !== null || !this.#isFree(from, fromId, to, toId, from.link))
      return false
    const paced = this.#pace(from.link, to.link, toId, plan, (why) => this.#endHop(hop, why))
    if (paced === 'refused' || paced === null) return false
    const layer = new HopLayer(cipher, { cellKey, answerKey })
    wipe(cellKey, answerKey)
    const { line: lane } = paced
    const hop = new RelayHop({ from: from.link, fromId, to: to.link, lane, layer, apex, paced, now: clock.monotonicMs() })
    this.#add(hop, from, to)
    return true
  }

  #isFree(from: LinkState, fromId: CircuitId, to: LinkState, toId: CircuitId, claimant: Link | null): boolean {
    if (fromId === NO_CIRCUIT || toId === NO_CIRCUIT || from.incoming.has(fromId) || to.outgoing.has(toId)) return false
    return from.incoming.size < this.#circuitsPerLink && to.mayAdd(claimant)
  }

  /** The line of a circuit that is to be paced, with room reserved for it; `null` for a swift one. */
  #pace(
    from: Link,
    to: Link,
    id: CircuitId,
    plan: SetUpPlan,
    onOver: (why: CircuitEnd) => void,
    own = false,
  ): PacedHop | null | 'refused' {
    if (plan.clock === 'swift') return null
    const reservation: Reservation | null = this.#pacing.reserve(from, to, plan)
    if (reservation === null) return 'refused'
    const line: Line = this.#pacing.line(to, id, plan, { own, onOver })
    return { line, plan, reservation }
  }

  #onReturn(own: OwnLoop, state: LinkState, id: CircuitId, packet: Uint8Array): void {
    const { launch } = own
    if (launch === null || state.link.peer !== launch.last) return
    this.#launches.delete(launch.ephemeral)
    const end = launch.onReturn(packet)
    if (end === null) return this.#endOwn(own, 'protocol')
    own.launch = null
    const circuit = new HomeCircuit(end, own, this.#deps.clock.monotonicMs())
    own.home = { state, id, circuit }
    if (own.paced !== null) own.paced.end = end
    state.incoming.set(id, circuit)
    end.onTurnEnd()
  }

  #pushSetUp(lane: Lane, packet: Uint8Array): boolean {
    return setUpCells(packet).every((body) => lane.push(Command.SETUP, body))
  }

  // The origin's side -------------------------------------------------------------------------------------------------------------

  launch(launch: Launch): LaunchedLoop | null {
    const out = this.#neighbours.get(launch.first)
    const id = out && this.#freeId(out, null)
    if (out === undefined || id === undefined || this.#launches.size >= LAUNCHES_MAX) return null
    const home = this.#neighbours.get(launch.last)?.link ?? out.link
    const paced = this.#pace(home, out.link, id, launch.plan, (why) => this.#onOwnLineOver(own, why), true)
    if (paced === 'refused') return null
    const lane = paced?.line ?? out.link.lane(id)
    const own: OwnLoop = { launch, out, lane, paced: paced && { ...paced, end: null }, home: null, over: false }
    if (!this.#pushSetUp(lane, launch.packet)) {
      this.#stopLine(out.link, paced)
      lane.close()
      return null
    }
    out.addOutgoing(id, own)
    this.#launches.set(launch.ephemeral, own)
    if (paced !== null) this.#supplied.add(own)
    out.link.flush()
    const flush = () => {
      if (paced === null) this.#inTurn ? this.#dirty.add(out.link) : out.link.flush()
    }
    const twin = (place: number, plan: SetUpPlan, end: LoopEnd) => this.#launchTwin(own, place, plan, end)
    return { id, lane, supply: paced?.line ?? null, flush, twin, close: () => this.#endOwn(own, null) }
  }

  /** See `LaunchedLoop.twin`. */
  #launchTwin(root: OwnLoop, place: number, plan: SetUpPlan, end: LoopEnd): LaunchedLoop | null {
    const { out, home } = root
    if (root.over || home === null || plan.clock === 'swift') return null
    const id = twinId(root.lane.id, place)
    const homeId = twinId(home.id, place)
    if (!this.#isFree(home.state, homeId, out, id, null)) return null
    const paced = this.#pace(home.state.link, out.link, id, plan, (why) => this.#onOwnLineOver(own, why), true)
    if (paced === 'refused' || paced === null) return null
    const own: OwnLoop = { launch: null, out, lane: paced.line, paced: { ...paced, end }, home: null, over: false }
    const circuit = new HomeCircuit(end, own, this.#deps.clock.monotonicMs())
    own.home = { state: home.state, id: homeId, circuit }
    home.state.incoming.set(homeId, circuit)
    out.addOutgoing(id, own)
    this.#supplied.add(own)
    return { id, lane: paced.line, supply: paced.line, flush: () => {}, close: () => this.#endOwn(own, null) }
  }

  /** Own paced loops fill their lines in a turn after the tick: not in it, and not when something came home. */
  #askSupply(): void {
    if (this.#supplyAsked || this.#supplied.size === 0) return
    this.#supplyAsked = true
    this.#deps.clock.nextTurn(() => {
      this.#supplyAsked = false
      for (const { paced } of this.#supplied) paced?.end?.onDue?.()
    })
  }

  /** An id for a new circuit out over a link: this side's parity, not in use. */
  #freeId(state: LinkState, from: Link | null): CircuitId | undefined {
    // Circuits that one link brings never take more of another's table than they leave to all others.
    if (!state.mayAdd(from)) return undefined
    for (;;) {
      const id = state.nextId as CircuitId
      state.nextId = (state.nextId + 2) % 0x1_0000_0000
      if (id !== NO_CIRCUIT && !state.outgoing.has(id)) return id
    }
  }

  // Ends --------------------------------------------------------------------------------------------------------------------------

  #endHop(hop: RelayHop, _reason: CircuitEnd): void {
    if (hop.over) return
    hop.over = true
    const { paced } = hop
    const from = this.#links.get(hop.from)
    if (from?.incoming.get(hop.fromId) === hop) {
      if (paced === null) from.incoming.delete(hop.fromId)
      else from.incoming.set(hop.fromId, this.#silent(paced.plan))
    }
    this.#links.get(hop.to)?.removeOutgoing(hop.toId)
    this.#relayed--
    hop.turnCells = 0
    this.#stopLine(hop.to, paced)
    hop.close()
  }

  /** Swallows what a predecessor still sends that was not told of the end. */
  #silent(plan: SetUpPlan): HomeCircuit {
    const silent = new HomeCircuit(SILENT_END, null, this.#deps.clock.monotonicMs())
    this.#silence(silent, plan)
    return silent
  }

  /** `plan`: of a paced circuit, whose cells come until its time is up. */
  #silence(circuit: HomeCircuit, plan: SetUpPlan | null): void {
    const { clock, rng } = this.#deps
    const keepUntil = plan === null ? 0 : this.#pacing.quietUntil(plan)
    const [least, most] = SILENT_LIFE_MS
    circuit.silence(keepUntil, Math.max(keepUntil, clock.monotonicMs()) + least + rng.unit() * (most - least))
  }

  #stopLine(link: Link, paced: PacedHop | null): void {
    if (paced === null) return
    this.#pacing.stop(link, paced.line)
    this.#pacing.release(paced.reservation)
  }

  /**
   * Ends an own loop; `reason` `null` when its origin asked for it: it need not be told, and what still comes home is swallowed. The line of a
   * paced one goes on.
   */
  #endOwn(own: OwnLoop, reason: CircuitEnd | null): void {
    if (own.over) return
    own.over = true
    const { launch, paced } = own
    own.launch = null
    if (launch !== null) this.#launches.delete(launch.ephemeral)
    if (paced === null) {
      own.out.removeOutgoing(own.lane.id)
      own.lane.close()
    } else if (reason === null) {
      paced.end = null
    }
    if (own.home === null) {
      if (reason !== null) launch?.onGone(reason)
      return
    }
    const { state, id, circuit } = own.home
    const { end } = circuit
    this.#silence(circuit, paced?.plan ?? null)
    if (reason === null) return
    if (paced === null) state.incoming.delete(id)
    end.onGone(reason)
  }

  #onOwnLineOver(own: OwnLoop, reason: CircuitEnd): void {
    if (own.out.outgoing.get(own.lane.id) !== own) return
    own.out.removeOutgoing(own.lane.id)
    this.#supplied.delete(own)
    this.#stopLine(own.out.link, own.paced)
    this.#endOwn(own, reason)
    own.paced?.end?.onOver?.()
  }

  #endAll(state: LinkState, reason: CircuitEnd): void {
    for (const [id, circuit] of [...state.incoming]) {
      if (circuit instanceof RelayHop) this.#loseFrom(state, circuit, reason)
      else if (circuit.own !== null) this.#endOwn(circuit.own, reason)
      if (circuit instanceof HomeCircuit) state.incoming.delete(id)
    }
    for (const circuit of [...state.outgoing.values()]) {
      if (circuit instanceof RelayHop) this.#endHop(circuit, reason)
      else if (circuit.paced === null) this.#endOwn(circuit, reason)
      else this.#onOwnLineOver(circuit, reason)
    }
  }

  /** A circuit's predecessor is gone. A paced one goes on without it, as its line says. */
  #loseFrom(state: LinkState, hop: RelayHop, reason: CircuitEnd): void {
    if (hop.paced === null) return this.#endHop(hop, reason)
    state.incoming.delete(hop.fromId)
    hop.orphan()
  }

  #sweepIdle(): void {
    const { clock } = this.#deps
    const now = clock.monotonicMs()
    const before = now - CIRCUIT_IDLE_MS
    for (const state of this.#links.values()) {
      for (const [id, circuit] of state.incoming) {
        if (circuit instanceof HomeCircuit) {
          const over = (circuit.own?.over ?? true) && circuit.lastCellAt < before && now > circuit.keepUntil
          if (over || now > circuit.goneBy) state.incoming.delete(id)
        } else if (circuit.paced === null && circuit.lastCellAt < before) {
          this.#endHop(circuit, 'idle') // the line of a paced one knows when it is over
        }
      }
    }
    this.#sweep = clock.setTimer(SWEEP_MS, () => this.#sweepIdle())
  }

  // Links -------------------------------------------------------------------------------------------------------------------------

  get #circuitsPerLink(): number {
    return this.#deps.circuitsPerLink ?? CIRCUITS_PER_LINK_MAX
  }

  #stateOf(link: Link): LinkState {
    let state = this.#links.get(link)
    if (state === undefined) {
      state = new LinkState(link, this.#deps.rng, this.#circuitsPerLink)
      this.#links.set(link, state)
    }
    return state
  }

  addNeighbour(link: Link): void {
    const state = this.#stateOf(link)
    state.neighbour = true
    this.#neighbours.set(link.peer, state)
    this.#pacing.addLink(link)
  }

  controlLane(link: Link): Lane | null {
    return this.#pacing.controlLane(link)
  }

  removeNeighbour(link: Link): void {
    const state = this.#links.get(link)
    if (state === undefined) return
    state.neighbour = false
    if (this.#neighbours.get(link.peer) === state) this.#neighbours.delete(link.peer)
    this.#endAll(state, 'link-lost')
    this.#pacing.removeLink(link)
  }

  onClose(link: Link, reason: LinkCloseReason): void {
    this.removeNeighbour(link)
    this.#deps.admission.onLinkGone(link)
    this.#links.delete(link)
    this.#dirty.delete(link)
    this.#flushDirty() // what a turn that failed has left
    this.#deps.control.onLinkClosed(link, reason)
  }
}
