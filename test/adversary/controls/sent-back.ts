/**
 * A control build in which loops are open: an answer is not put into the cell that passes, and goes home the way its request came; no cell is sent
 * only for others to put answers in. As circuits of other networks are. On `bareCells`, clock `swift` only.
 *
 *   origin: cells of a turn, packed → members up to the apex, as ever → apex: unpacked, answered, answers packed → BACK cells, member by member → origin
 *
 * Cells that an origin sends to itself still go all the way round. By hands on the switch and the hops; before the first node is made.
 */

import { RelayHop } from '../../../relay/hop.ts'
import { Switch } from '../../../relay/switch.ts'
import {
  BODY_BYTES,
  CELL_BYTES,
  CELL_HEADER_BYTES,
  type CircuitId,
  Command,
  circuitIdAt,
  commandAt,
} from '../../../src/cell/index.ts'
import type { LaunchedLoop, LoopEnd } from '../../../src/circuit/index.ts'
import { CellLink } from '../../../src/link/cell-link.ts'
import { type Lane, type Link, TURN_CELLS } from '../../../src/link/index.ts'
import { pack, unpack } from './packing.ts'

/** No command of Gyre's. */
const BACK = 0x55 as Command
/** First byte of an answer (`bare-cells.ts`), and of a cell that its hop is about to peel. */
const ANSWERED = 0x80
const ADDRESSED = 1

/** Who takes a cell that comes back over a link. */
type TakeBack = (body: Uint8Array) => void

/** Both kinds of cells that come to an origin, in the order in which it made them. */
class Home {
  readonly #hops: number
  readonly #end: LoopEnd
  /** Of each cell out: whether it goes all the way round. */
  readonly #made: boolean[] = []
  readonly #round: Uint8Array[] = []
  readonly #back: Uint8Array[] = []

  constructor(hops: number, end: LoopEnd) {
    this.#hops = hops
    this.#end = end
  }

  /** Whether a cell for `addressee` goes all the way round. */
  isRound(addressee: number): boolean {
    return addressee > this.#hops
  }

  made(addressee: number): void {
    this.#made.push(this.isRound(addressee))
  }

  round(body: Uint8Array): void {
    this.#round.push(body)
  }

  back(bodies: readonly Uint8Array[]): void {
    this.#back.push(...bodies)
  }

  deliver(): void {
    for (;;) {
      const bodies: Uint8Array[] = []
      while (bodies.length < TURN_CELLS && this.#made.length > 0) {
        const body = (this.#made[0] ? this.#round : this.#back).shift()
        if (body === undefined) break
        this.#made.shift()
        bodies.push(body)
      }
      if (bodies.length === 0) return
      const { cells, offsets } = cellsOf(bodies)
      this.#end.onHome(cells, offsets, bodies.length)
    }
  }
}

function cellsOf(bodies: readonly Uint8Array[]): { readonly cells: Uint8Array; readonly offsets: Int32Array } {
  const cells = new Uint8Array(bodies.length * CELL_BYTES)
  const offsets = Int32Array.from(bodies, (_, at) => at * CELL_BYTES)
  for (const [at, body] of bodies.entries()) cells.set(body, at * CELL_BYTES + CELL_HEADER_BYTES)
  return { cells, offsets }
}

const bodyAt = (cells: Uint8Array, at: number) => cells.slice(at + CELL_HEADER_BYTES, at + CELL_BYTES)

export function sendBack(): void {
  /** Per link: who takes what comes back on an id of this side's. */
  const takers = new WeakMap<Link, Map<CircuitId, TakeBack>>()
  const taking = (link: Link) => {
    let known = takers.get(link)
    if (known === undefined) {
      known = new Map()
      takers.set(link, known)
    }
    return known
  }
  /** Where a hop's passing cells go instead, while it answers. */
  let diverted: Uint8Array[] | null = null
  const backLanes = new WeakMap<RelayHop, Lane>()
  const backTo = (hop: RelayHop, body: Uint8Array) => {
    let lane = backLanes.get(hop)
    if (lane === undefined) {
      lane = hop.from.lane(hop.fromId)
      backLanes.set(hop, lane)
    }
    lane.push(BACK, body)
    hop.from.flush()
  }

  const { lane: plainLane } = CellLink.prototype
  CellLink.prototype.lane = function (this: CellLink, id) {
    const lane = Reflect.apply(plainLane, this, [id]) as Lane
    const push = lane.push.bind(lane)
    lane.push = (command, body) => {
      if (diverted === null || command !== Command.CIRCUIT) return push(command, body)
      diverted.push(body.slice())
      return true
    }
    return lane
  }

  const { run, close } = RelayHop.prototype
  RelayHop.prototype.run = function (this: RelayHop, cells) {
    const { to, toId } = this
    const known = taking(to)
    if (!known.has(toId)) known.set(toId, (body) => backTo(this, body))
    const count = this.turnCells
    const packed: Uint8Array[] = []
    let passing = 0
    for (let cell = 0; cell < count; cell++) {
      const at = this.turn[cell]!
      if (cells[at + CELL_HEADER_BYTES] === ADDRESSED) packed.push(bodyAt(cells, at))
      else this.turn[passing++] = at
    }
    this.turnCells = passing
    const verdict = Reflect.apply(run, this, [cells]) as ReturnType<typeof run>
    if (verdict !== 'open' || packed.length === 0) return verdict
    const asked = packed.flatMap((body) => unpack(body, ADDRESSED))
    const answers: Uint8Array[] = []
    for (let from = 0; from < asked.length; from += TURN_CELLS) {
      const turn = asked.slice(from, from + TURN_CELLS)
      const { cells: block, offsets } = cellsOf(turn)
      this.turn.set(offsets)
      this.turnCells = turn.length
      diverted = answers
      try {
        if (Reflect.apply(run, this, [block]) !== 'open') return 'overload'
      } finally {
        diverted = null
      }
    }
    for (const body of pack(answers, ANSWERED)) backTo(this, body)
    return 'open'
  }
  RelayHop.prototype.close = function (this: RelayHop) {
    takers.get(this.to)?.delete(this.toId)
    backLanes.get(this)?.close()
    return Reflect.apply(close, this, [])
  }

  const { launch, onCells, addNeighbour } = Switch.prototype
  const neighbours = new WeakMap<Switch, Map<string, Link>>()
  Switch.prototype.addNeighbour = function (this: Switch, link) {
    const known = neighbours.get(this) ?? new Map()
    neighbours.set(this, known.set(link.peer, link))
    return Reflect.apply(addNeighbour, this, [link])
  }
  /** Origins whose cells came back in this turn. */
  const arrived = new Set<{ readonly home: Home; readonly end: LoopEnd }>()
  Switch.prototype.onCells = function (this: Switch, link, cells, count) {
    for (let cell = 0; cell < count; cell++) {
      const at = cell * CELL_BYTES
      if (commandAt(cells, at) !== BACK) continue
      takers.get(link)?.get(circuitIdAt(cells, at))?.(bodyAt(cells, at))
      cells.fill(0, at, at + CELL_HEADER_BYTES) // from here on a PAD
    }
    Reflect.apply(onCells, this, [link, cells, count])
    for (const { home, end } of arrived) {
      home.deliver()
      end.onTurnEnd()
    }
    arrived.clear()
  }

  Switch.prototype.launch = function (this: Switch, asked) {
    const origin: { at: { readonly home: Home; readonly end: LoopEnd } | null } = { at: null }
    const { onReturn } = asked
    Object.assign(asked, {
      onReturn: (packet: Uint8Array): LoopEnd | null => {
        const end = Reflect.apply(onReturn, asked, [packet]) as LoopEnd | null
        const hops: unknown = end === null ? null : Reflect.get(end, 'hops')
        if (end === null || !Array.isArray(hops)) return end
        const found = { home: new Home(hops.length, end), end }
        origin.at = found
        return {
          onHome(cells, offsets, count) {
            for (let cell = 0; cell < count; cell++) found.home.round(bodyAt(cells, offsets[cell]!))
            found.home.deliver()
          },
          onTurnEnd: () => end.onTurnEnd(),
          onGone: (reason) => end.onGone(reason),
        }
      },
    })
    const launched = Reflect.apply(launch, this, [asked]) as LaunchedLoop | null
    const link = neighbours.get(this)?.get(asked.first)
    if (launched === null || link === undefined || launched.supply !== null) return launched
    const { lane, id } = launched
    taking(link).set(id, (body) => {
      if (origin.at === null) return
      origin.at.home.back(unpack(body, ANSWERED))
      arrived.add(origin.at)
    })
    /** Cells of this turn, by addressee. */
    let waiting: Uint8Array[] = []
    const write = () => {
      const bodies = waiting
      waiting = []
      for (let from = 0; from < bodies.length; ) {
        const addressee = bodies[from]![0]!
        let end = from
        while (end < bodies.length && bodies[end]![0] === addressee) end++
        const group = bodies.slice(from, end)
        const round = origin.at?.home.isRound(addressee) ?? true
        for (const body of round ? group : pack(group, addressee)) lane.push(Command.CIRCUIT, body)
        from = end
      }
    }
    const packing: Lane = {
      id: lane.id,
      get queuedCells() {
        return lane.queuedCells + waiting.length
      },
      push(command, body) {
        if (command !== Command.CIRCUIT) return lane.push(command, body)
        origin.at?.home.made(body[0]!)
        waiting.push(body.slice())
        return body.length === BODY_BYTES
      },
      close: () => lane.close(),
    }
    return {
      ...launched,
      lane: packing,
      flush: () => {
        write()
        launched.flush()
      },
      close: () => {
        takers.get(link)?.delete(id)
        launched.close()
      },
    }
  }
}
