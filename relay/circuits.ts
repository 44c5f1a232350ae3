/**
 * What the switch's tables hold besides relayed circuits (`hop.ts`): own loops, where they come home, what takes the place of a circuit that is
 * over, and the tables of one link. State and no decisions. Spec: SPEC.md §4.4, §4.5.
 */
import type { MonotonicMs } from '../src/bytes/index.ts'
import { type CircuitId, NO_CIRCUIT } from '../src/cell/index.ts'
import type { Launch, LoopEnd } from '../src/circuit/index.ts'
import { type Lane, type Link, TURN_CELLS } from '../src/link/index.ts'
import type { Rng } from '../src/runtime/index.ts'
import { FairShare } from './fair-share.ts'
import type { PacedHop, RelayHop } from './hop.ts'

/** The end of a loop at its origin, as the switch holds it. */
export class HomeCircuit {
  readonly turn = new Int32Array(TURN_CELLS)
  turnCells = 0
  lastCellAt: MonotonicMs
  end: LoopEnd
  /** `null`: a circuit that was relayed here and is over. */
  readonly own: OwnLoop | null
  /** Kept at least until then, if its loop is over. */
  keepUntil = 0
  /** And not longer than this, whatever still comes. */
  goneBy = Number.POSITIVE_INFINITY
  constructor(end: LoopEnd, own: OwnLoop | null, now: MonotonicMs) {
    this.end = end
    this.own = own
    this.lastCellAt = now
  }

  /** Swallows what still comes, until it stays away or `goneBy`. */
  silence(keepUntil: number, goneBy: number): void {
    this.turnCells = 0
    this.end = SILENT_END
    this.keepUntil = keepUntil
    this.goneBy = goneBy
  }
}

/**
 * What takes the place of a loop that its origin ended: it swallows cells until they stay away for as long as every member waits, or for some
 * minutes, whatever comes. Answering
 * them with DESTROY, which no member does that still forwards, would tell the last member who the origin is. Likewise for paced circuits that
 * ended here while their predecessor goes on.
 */
export const SILENT_END: LoopEnd = { onHome() {}, onTurnEnd() {}, onGone() {} }

/** A circuit that this node launched: out over one link, home over another. */
export interface OwnLoop {
  /** Until it came home or ended: with it go the packet and all that the builder holds. */
  launch: Launch | null
  readonly out: LinkState
  readonly lane: Lane
  /** Of a paced loop: it outlives what comes home, and is supplied until it is over. */
  readonly paced: (PacedHop & { end: LoopEnd | null }) | null
  /** Where it comes home, once it did. */
  home: { readonly state: LinkState; readonly id: CircuitId; readonly circuit: HomeCircuit } | null
  over: boolean
}

/** What the switch keeps for one link. */
export class LinkState {
  readonly link: Link
  neighbour = false
  /** Circuits whose cells come in here. */
  readonly incoming = new Map<CircuitId, RelayHop | HomeCircuit>()
  /** Circuits whose cells go out here. Changed by `addOutgoing` and `removeOutgoing` alone. */
  readonly outgoing = new Map<CircuitId, RelayHop | OwnLoop>()
  /** How many of them come in by which link: those of one never more than are left for all others. */
  readonly #shares: FairShare
  nextId: number
  constructor(link: Link, rng: Rng, circuitsMax: number) {
    this.link = link
    this.nextId = rng.below(0x4000_0000) * 2 + (link.even ? 2 : 1)
    this.#shares = new FairShare({ total: circuitsMax })
  }

  /** Whether a circuit that comes in by `from` may go out here; `null`: one of this node's own. */
  mayAdd(from: Link | null): boolean {
    return this.#shares.mayTake(from)
  }

  addOutgoing(id: CircuitId, circuit: RelayHop | OwnLoop): void {
    this.#shares.take(linkInto(circuit))
    this.outgoing.set(id, circuit)
  }

  removeOutgoing(id: CircuitId): void {
    const circuit = this.outgoing.get(id)
    if (circuit === undefined) return
    this.outgoing.delete(id)
    this.#shares.give(linkInto(circuit))
  }
}

function linkInto(circuit: RelayHop | OwnLoop): Link | null {
  return 'from' in circuit ? circuit.from : null
}

/** The id of a circuit's twin on the same link: another one of the same side, that both ends know without a word. `place`: 1 … 15. */
export function twinId(id: CircuitId, place: number): CircuitId {
  return ((id ^ (place << 28)) >>> 0) as CircuitId
}

/** Whether a circuit id is one that the other side of the link may give: never 0, and of its parity. */
export function isPeersId(link: Link, id: CircuitId): boolean {
  return id !== NO_CIRCUIT && (id % 2 === 0) !== link.even
}
