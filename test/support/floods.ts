/**
 * One real relay on real links, an honest circuit through it whose link is always full, and all floods that a neighbour can send it: what the guard
 * of `test/sim/flood-speed.test.ts` counts with and `test/bench/flood.ts` measures.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ControlLink } from '../../client/neighbours/control-link.ts'
import { SETUPS_BURST } from '../../relay/admission.ts'
import { openRecordHolder, recordService } from '../../relay/record/index.ts'
import { openStore, storeService } from '../../relay/store/index.ts'
import { concat, le32 } from '../../src/bytes/index.ts'
import { BODY_BYTES, CELL_BYTES, type CircuitId, Command, circuitIdAt, writeHeader } from '../../src/cell/index.ts'
import { signingKey } from '../../src/crypto/index.ts'
import { toControlBodies } from '../../src/directory/control.ts'
import { Directory, Gossip } from '../../src/directory/index.ts'
import type { Link, LinkReceiver } from '../../src/link/index.ts'
import type { ControlSink } from '../../src/link/plane.ts'
import { type Clock, type Rng, systemClock } from '../../src/runtime/index.ts'
import { writeReset, writeStreamHeader } from '../../src/stream/frames.ts'
import {
  type ControlMessage,
  encodeControl,
  encodeHopRequest,
  encodeStoreRequest,
  type HopRequest,
} from '../../src/wire/index.ts'
import { TEST_RULES, testDescriptor, testNode } from './directory.ts'
import { type LoneCircuit, type LoneLink, LoneRelay } from './lone-relay.ts'

const FRAMES_BYTES = BODY_BYTES - 16
/** Cells that are handed over at once. */
const TURN = 32
/** Cells that wait at a link which is called full: two turns. */
const FULL = 64
export const LOOPS = 10_000

/** The next cells of a flood; `null`: it has no more. */
export type Flood = () => Uint8Array | null

export interface NamedFlood {
  readonly name: string
  readonly make: (world: FloodedRelay) => Flood | Promise<Flood>
}

export interface FloodedOptions {
  readonly clock: Clock
  readonly linkClock?: Clock
  readonly rng: Rng
  readonly watch?: (relay: LinkReceiver) => LinkReceiver
  /** Lets the relay's turns run. */
  readonly settle: () => Promise<void>
}

export class FloodedRelay {
  readonly relay: LoneRelay
  readonly rng: Rng
  readonly settle: () => Promise<void>
  /** Whence the flood comes: another link for each. */
  bad: LoneLink
  /** Where both go. */
  readonly out: LoneLink
  readonly honest: LoneLink
  /** Honest cells that came in, and went out. */
  sent = 0
  passed = 0
  readonly #turn: Uint8Array
  readonly #close: () => Promise<void>

  static async start({ clock, linkClock = clock, rng, watch, settle }: FloodedOptions): Promise<FloodedRelay> {
    const dir = mkdtempSync(join(tmpdir(), 'gyre-flood-'))
    const log = { warn: () => {} }
    const store = await openStore({ dir: join(dir, 'store'), quotaBytes: 2 ** 30, clock: systemClock, log })
    const records = await openRecordHolder({ dir: join(dir, 'records'), clock: systemClock, log })
    const close = async () => {
      await store.close()
      await records.close()
      rmSync(dir, { recursive: true, force: true })
    }
    const services = { store: storeService(store, { clock }), record: recordService(records) }
    const control = gossipOn(clock, rng)
    const watched = watch === undefined ? {} : { watch }
    const relay = await LoneRelay.start({ clock, linkClock, rng, links: 4, control, services, ...watched })
    const circuit = await relay.circuit(relay.links[0]!, relay.links[2]!, settle)
    return new FloodedRelay(relay, circuit, { rng, settle, close })
  }

  private constructor(
    relay: LoneRelay,
    circuit: LoneCircuit,
    { rng, settle, close }: { rng: Rng; settle: () => Promise<void>; close: () => Promise<void> },
  ) {
    this.relay = relay
    this.rng = rng
    this.settle = settle
    this.#close = close
    this.honest = relay.links[0]!
    this.bad = relay.links[1]!
    this.out = relay.links[2]!
    this.#turn = circuit.passing(TURN, rng)
    this.out.wire.onWrite = (bytes) => {
      for (let at = 0; at < bytes.length; at += CELL_BYTES) if (circuitIdAt(bytes, at) === circuit.outId) this.passed++
    }
  }

  async close(): Promise<void> {
    this.relay.close()
    await this.#close()
  }

  /** Fills the honest link. */
  feedHonest(): void {
    for (; this.honest.link.queuedCells < FULL; this.sent += TURN) this.honest.link.onBytes(this.#turn)
  }

  /** Fills the flooder's. */
  feedFlood(flood: Flood): void {
    while (this.bad.link.open && this.bad.link.queuedCells < FULL) {
      const cells = flood()
      if (cells === null) return
      this.bad.link.onBytes(cells)
    }
  }

  /** Cells addressed to the relay on a circuit of the flooder's, each with `frames`. Cells come one by one, since they are made as they go. */
  async addressed(frames: (into: Uint8Array) => void): Promise<Flood> {
    const circuit = await this.relay.circuit(this.bad, this.out, this.settle)
    const into = new Uint8Array(FRAMES_BYTES)
    return () => {
      frames(into.fill(0))
      return circuit.cell(into)
    }
  }

  cells(count: number, make: (at: number) => { id: number; command: Command }): Uint8Array {
    const cells = this.rng.bytes(count * CELL_BYTES)
    for (let at = 0; at < count; at++) {
      const { id, command } = make(at)
      writeHeader(cells, at * CELL_BYTES, id as CircuitId, command)
    }
    return cells
  }
}

/** Gossip as a node has it, with whoever sends control cells. */
function gossipOn(clock: Clock, rng: Rng): ControlSink {
  const directory = new Directory({ rules: TEST_RULES, clock, self: testNode(0).id })
  for (let node = 1; node <= 200; node++) directory.add(testDescriptor(testNode(node), { publishedMs: clock.unixMs() }))
  const machine = new Gossip<Link>(directory, rng)
  const readers = new Map<Link, ControlLink>()
  return {
    onControlCell(link, body) {
      let reader = readers.get(link)
      if (reader === undefined) {
        reader = new ControlLink(link)
        readers.set(link, reader)
        machine.linkUp(link, true, clock.monotonicMs())
      }
      const message = reader.take(body)
      if (message === null) return
      const effects =
        message === 'malformed'
          ? [{ close: link, reason: 'protocol' } as const]
          : machine.onMessage(link, message, clock.monotonicMs())
      for (const effect of effects) {
        if ('close' in effect) effect.close.close(effect.reason)
        else readers.get(effect.to)?.send(effect.send)
      }
    },
    onLinkClosed: () => {},
  }
}

const again =
  (cells: Uint8Array): Flood =>
  () =>
    cells

/** As many whole requests as a cell holds, each on a stream of its own. */
function requests(request: HopRequest): (into: Uint8Array) => void {
  const bytes = encodeHopRequest(request)
  const message = concat(le32(bytes.length), bytes)
  let stream = 1
  return (into) => {
    for (let at = 0; at + 13 + message.length <= into.length; stream += 2) {
      const from = writeStreamHeader(into, at, stream, 0, message.length, true)
      into.set(message, from)
      at = from + message.length
    }
  }
}

function controlCells(world: FloodedRelay, message: ControlMessage): Uint8Array {
  const bodies = toControlBodies(encodeControl(message))
  const cells = world.cells(bodies.length, () => ({ id: 0, command: Command.CONTROL }))
  for (const [at, body] of bodies.entries()) cells.set(body, at * CELL_BYTES + 5)
  return cells
}

/** It costs its sender the link. Who comes back is let in three times, and then once a minute. */
function gossip(world: FloodedRelay, message: ControlMessage): Flood {
  let links = 0
  world.bad = world.relay.addLink()
  const cells = controlCells(world, message)
  return () => {
    if (!world.bad.link.open && links++ < 3) world.bad = world.relay.addLink()
    return cells
  }
}

/** `count` set-ups, one after the other. */
function setUps(count: number, make: () => Uint8Array): Flood {
  const packets = Array.from({ length: count }, make)
  let at = 0
  return () => packets[at++ % packets.length]!
}

export const FLOODS: readonly NamedFlood[] = [
  {
    name: 'cells of circuits that are unknown',
    make: (world) => again(world.cells(TURN, () => ({ id: world.relay.idFrom(world.bad), command: Command.CIRCUIT }))),
  },
  {
    name: 'DESTROY for everything',
    make: (world) => again(world.cells(TURN, (at) => ({ id: 2 * at + 4, command: Command.DESTROY }))),
  },
  {
    name: 'another user at full speed',
    make: async (world) => again((await world.relay.circuit(world.bad, world.out, world.settle)).passing(TURN, world.rng)),
  },
  {
    name: 'set-ups that are noise',
    make: ({ relay, bad }) => setUps(1_000, () => relay.noiseSetUp(relay.idFrom(bad))),
  },
  {
    name: 'set-ups that are right',
    make: ({ relay, bad, out }) => setUps(1_000, () => relay.cheapSetUp(relay.idFrom(bad), out)),
  },
  {
    name: 'small requests by the dozen in each cell',
    make: (world) => world.addressed(requests({ kind: 'ping', filler: new Uint8Array(0), answerBytes: 0 })),
  },
  {
    name: 'requests for large answers that are not taken',
    make: (world) => world.addressed(requests({ kind: 'ping', filler: new Uint8Array(0), answerBytes: 65_536 })),
  },
  {
    name: 'streams that are opened and carry nothing',
    make: (world) => {
      let stream = 1
      return world.addressed((into) => {
        for (let at = 0; at + 13 <= into.length; stream += 2) at = writeStreamHeader(into, at, stream, 0, 0, false)
      })
    },
  },
  {
    name: 'slot values whose signatures are wrong',
    make: (world) => {
      const { publicKey } = signingKey(world.rng.bytes(32))
      const slot = { publicKey, slot: 0, value: new Uint8Array(1), signature: new Uint8Array(64) }
      const put = { kind: 'put-slot', ...slot, keepHours: 0, work: new Uint8Array(0) } as const
      return world.addressed(requests({ kind: 'store', request: encodeStoreRequest(put) }))
    },
  },
  {
    name: 'checks and gets of what is not there',
    make: (world) => {
      const get = { kind: 'get-share', address: world.rng.bytes(32) } as const
      return world.addressed(requests({ kind: 'store', request: encodeStoreRequest(get) }))
    },
  },
  {
    name: 'resets of what never was',
    make: (world) => {
      let stream = 1
      return world.addressed((into) => {
        for (let at = 0; at + 6 <= into.length; stream += 2) at = writeReset(into, at, stream, 0)
      })
    },
  },
  {
    name: 'gossip without end: digests',
    make: (world) => gossip(world, { kind: 'digest', buckets: world.rng.bytes(2048) }),
  },
  {
    name: 'gossip without end: listings of invented nodes',
    make: (world) =>
      gossip(world, {
        kind: 'listing',
        buckets: Uint8Array.from({ length: 256 }, (_, at) => at),
        hashes: world.rng.bytes(32 * 1024),
      }),
  },
]

/** Cells of `LOOPS` circuits over many links, of those of one link any. The circuits stay. */
export async function manyLoops(world: FloodedRelay): Promise<Flood> {
  const { relay, out, rng } = world
  const links = Array.from({ length: LOOPS / SETUPS_BURST }, () => relay.addLink())
  const ids = links.map((): CircuitId[] => [])
  for (let count = 0; count < SETUPS_BURST; count++) {
    for (const [at, from] of links.entries()) {
      const id = relay.idFrom(from)
      ids[at]!.push(id)
      // Over one link there is room for half of its table from any one other.
      from.link.onBytes(relay.cheapSetUp(id, at % 2 === 0 ? out : relay.links[3]!))
    }
    await world.settle()
  }
  while (links.some(({ link }) => link.queuedCells > 0)) await world.settle()
  world.bad = links[0]!
  const circuits = ids[0]!
  const turns = Array.from({ length: 64 }, () =>
    world.cells(TURN, () => ({ id: circuits[rng.below(circuits.length)]!, command: Command.CIRCUIT })),
  )
  let at = 0
  return () => turns[at++ % turns.length]!
}
