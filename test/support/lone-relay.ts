/**
 * One member's whole cell plane on real links whose other ends are the test's: what comes in is bytes, what goes out is looked at and gone. For
 * measuring what neighbours can make a node do: nobody else's work is in the figures. Loops are built through it with other members made up.
 */
import { Admission, Apex, type ApexServices, Switch } from '../../relay/index.ts'
import { concat, type NodeId, nodeIdOf, type UnixMs } from '../../src/bytes/index.ts'
import {
  CELL_BYTES,
  CELL_HEADER_BYTES,
  type CircuitId,
  Command,
  circuitIdAt,
  commandAt,
  writeHeader,
} from '../../src/cell/index.ts'
import { OriginLayers } from '../../src/circuit/index.ts'
import { OnionKeyRing } from '../../src/circuit/onion-keys.ts'
import { REPLY_BYTES, REST_BYTES, SETUP_VERSION } from '../../src/circuit/setup/constants.ts'
import {
  openSetUp,
  PRIMITIVES,
  SETUP_BYTES,
  SETUP_CELLS,
  SETUP_PART_BYTES,
  setUpCells,
  swiftPlan,
} from '../../src/circuit/setup/index.ts'
import { RECORD_LABEL, recordContext, recordKeys } from '../../src/circuit/setup/keys.ts'
import { encodeBody } from '../../src/circuit/setup/record.ts'
import {
  type CellCipher,
  mlkemPublic,
  openCellCipher,
  type PublicKeyHandle,
  sealOnce,
  x25519Generate,
} from '../../src/crypto/index.ts'
import { CellLink } from '../../src/link/cell-link.ts'
import { type CellPools, cellPools } from '../../src/link/cell-pool.ts'
import type { LinkCloseReason, LinkReceiver } from '../../src/link/index.ts'
import type { CellWire } from '../../src/link/lanes.ts'
import type { ControlSink } from '../../src/link/plane.ts'
import type { Clock, Rng } from '../../src/runtime/index.ts'
import { NETWORK, surroundings, type TestNode, testLoop, testNode } from './setup-loops.ts'

const RECOGNISED_BYTES = 16
const FRAMES_AT = CELL_HEADER_BYTES + RECOGNISED_BYTES

/** The test's end of a link: takes what is written, as fast as it comes or not at all. */
class StubWire implements CellWire {
  link: CellLink | null = null
  /** Sees what is written, whole cells. */
  onWrite: (bytes: Uint8Array) => void = () => {}
  /** While true nothing is taken. */
  stalled = false
  readonly #clock: Clock
  #unfinished = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  write(bytes: Uint8Array): void {
    this.onWrite(bytes)
    if (this.stalled) this.#unfinished++
    else this.#clock.nextTurn(() => this.link!.onWritten())
  }

  /** Takes everything that waits, and what comes. */
  flow(): void {
    this.stalled = false
    for (; this.#unfinished > 0; this.#unfinished--) this.link!.onWritten()
  }

  pause(): void {}
  resume(): void {}
  end(): void {}
  destroy(): void {}
}

/** One neighbour of the relay. */
export interface LoneLink {
  readonly peer: NodeId
  readonly link: CellLink
  readonly wire: StubWire
}

/** A circuit that comes in by one link and goes out by another, with the secrets of its origin. */
export class LoneCircuit {
  readonly id: CircuitId
  /** Its id on the link by which it goes out. */
  readonly outId: CircuitId
  readonly #layers: OriginLayers
  #counter = 0

  constructor(id: CircuitId, outId: CircuitId, layers: OriginLayers) {
    this.id = id
    this.outId = outId
    this.#layers = layers
  }

  /** The next cell, addressed to the relay, with `frames`. In the order in which they are sent. */
  cell(frames: Uint8Array): Uint8Array {
    const cell = new Uint8Array(CELL_BYTES)
    cell.set(frames, FRAMES_AT)
    this.#layers.wrap(1, cell, Int32Array.of(0), Uint32Array.of(this.#counter++), 1)
    writeHeader(cell, 0, this.id, Command.CIRCUIT)
    return cell
  }

  /** `count` cells that the relay passes on. */
  passing(count: number, rng: Rng): Uint8Array {
    const cells = rng.bytes(count * CELL_BYTES)
    for (let at = 0; at < cells.length; at += CELL_BYTES) writeHeader(cells, at, this.id, Command.CIRCUIT)
    this.#counter += count
    return cells
  }
}

export interface LoneRelayOptions {
  readonly clock: Clock
  readonly rng: Rng
  readonly links: number
  readonly services?: ApexServices
  readonly control?: ControlSink
  readonly pools?: CellPools
  /** The clock of its links, by which turns are shared. Default: `clock`. */
  readonly linkClock?: Clock
  /** Sees every turn of every link on its way to the relay. */
  readonly watch?: (relay: LinkReceiver) => LinkReceiver
}

export class LoneRelay {
  readonly id: NodeId
  readonly relay: Switch
  readonly apex: Apex
  readonly links: LoneLink[] = []
  readonly #pools: CellPools
  readonly #receiver: LinkReceiver
  readonly #options: LoneRelayOptions
  readonly #ring: OnionKeyRing
  readonly #cipher: CellCipher
  readonly #others: readonly TestNode[]
  readonly #rest: Uint8Array
  #kem: PublicKeyHandle | null = null
  #nextId = 1000

  static async start(options: LoneRelayOptions): Promise<LoneRelay> {
    return new LoneRelay(options, await openCellCipher())
  }

  private constructor(options: LoneRelayOptions, cipher: CellCipher) {
    const { clock, rng } = options
    this.#options = options
    this.#cipher = cipher
    this.id = nodeIdOf(rng.bytes(32))
    this.#rest = rng.bytes(REST_BYTES)
    this.#ring = new OnionKeyRing({ clock, rng })
    this.#others = [testNode(rng), testNode(rng), testNode(rng)]
    const services = options.services ?? { store: async () => ({ status: 'not-found', body: new Uint8Array(0) }) }
    this.apex = new Apex({ services, clock })
    this.relay = new Switch({
      cipher,
      clock,
      rng,
      apex: this.apex,
      admission: new Admission({ network: NETWORK, self: this.id, onionKeys: this.#ring, clock }),
      control: options.control ?? { onControlCell: () => {}, onLinkClosed: () => {} },
    })
    this.relay.start()
    this.#receiver = options.watch?.(this.relay) ?? this.relay
    this.#pools = options.pools ?? cellPools()
    for (let link = 0; link < options.links; link++) this.addLink()
  }

  #makeLink(pools: CellPools): LoneLink {
    const { rng, clock: own, linkClock: clock = own } = this.#options
    const wire = new StubWire(clock)
    const peer = nodeIdOf(rng.bytes(32))
    const facts = { self: this.id, peer, dialled: false, transport: 'memory' } as const
    const onFault = (error: unknown) => {
      throw error
    }
    const link = new CellLink(facts, wire, pools, clock, { onEnded: () => {}, onFault })
    wire.link = link
    link.start(this.#receiver)
    this.relay.addNeighbour(link)
    return { peer, link, wire }
  }

  /** An id for a circuit that the peer of `link` begins. */
  idFrom({ link }: LoneLink): CircuitId {
    this.#nextId += 2
    return (this.#nextId + (link.even ? 1 : 0)) as CircuitId
  }

  /** The eight cells of a set-up that comes in as `id`, for this relay first and then the peer of `to`. */
  setUp(id: CircuitId, to: LoneLink): { readonly cells: Uint8Array; readonly loop: ReturnType<typeof testLoop> } {
    const onion = this.#ring.published
    const relay: TestNode = { id: this.id, onion, pair: this.#others[0]!.pair }
    const next: TestNode = { ...this.#others[0]!, id: to.peer }
    const [, last, origin] = this.#others
    const plan = swiftPlan(this.#options.clock.unixMs())
    const loop = testLoop({ hops: 3, rng: this.#options.rng, plan, nodes: [relay, next, last!, origin!] })
    return { cells: cellsOf(id, loop.built.packet), loop }
  }

  /** As `setUp`, of a loop that nobody can complete: for the relay as good as any, and made in a fraction of the time. */
  cheapSetUp(id: CircuitId, to: LoneLink): Uint8Array {
    const { clock, rng } = this.#options
    const onion = this.#ring.published
    this.#kem ??= mlkemPublic(onion.mlkem768)!
    const ephemeral = x25519Generate()
    const { secret, ciphertext } = PRIMITIVES.mlkemEncapsulate(this.#kem)
    const ctx = recordContext(NETWORK, this.id, onion, ephemeral.publicKey, ciphertext)
    const ecdh = PRIMITIVES.x25519(ephemeral.privateKey, onion.x25519)!
    const keys = recordKeys(PRIMITIVES, NETWORK, ctx, ecdh, secret)
    const plan = swiftPlan(clock.unixMs())
    const body = encodeBody({ next: to.peer, slot: 0, plan, work: new Uint8Array(16) }, rng.bytes(16))
    const head = concat(Uint8Array.of(SETUP_VERSION, onion.kid), ephemeral.publicKey, ciphertext)
    const rest = this.#rest
    const sealed = sealOnce(keys.body, body, RECORD_LABEL, head, rest)
    return cellsOf(id, concat(head, sealed, rest, new Uint8Array(REPLY_BYTES)))
  }

  /** Builds a circuit through the relay. Its set-up takes turns of the clock: `settle` lets them pass. */
  async circuit(from: LoneLink, to: LoneLink, settle: () => Promise<void>): Promise<LoneCircuit> {
    const id = this.idFrom(from)
    const { cells, loop } = this.setUp(id, to)
    const parts: Uint8Array[] = []
    let outId = 0 as CircuitId
    const { onWrite } = to.wire
    to.wire.onWrite = (bytes) => {
      for (let at = 0; at < bytes.length; at += CELL_BYTES) {
        if (commandAt(bytes, at) !== Command.SETUP || parts.length === SETUP_CELLS) continue
        outId = circuitIdAt(bytes, at)
        parts.push(bytes.slice(at + CELL_HEADER_BYTES, at + CELL_BYTES))
      }
    }
    from.link.onBytes(cells)
    for (let waits = 0; parts.length < SETUP_CELLS && waits < 1_000; waits++) await settle()
    to.wire.onWrite = onWrite
    if (parts.length !== SETUP_CELLS) throw new Error('the set-up was not passed on')
    return new LoneCircuit(id, outId, this.#complete(loop, packetOf(parts)))
  }

  /** What the other members and the origin make of the packet that left the relay. */
  #complete(loop: ReturnType<typeof testLoop>, packet: Uint8Array): OriginLayers {
    const over = { nowMs: this.#options.clock.unixMs() as UnixMs }
    for (const at of [1, 2]) {
      const verdict = openSetUp(packet, surroundings(loop, at, over))
      if (!verdict.ok) throw new Error(`member ${at} says ${verdict.reason}`)
      packet = verdict.packet
    }
    const layers = loop.built.pending.complete(packet, loop.nodes[2]!.id)
    if (layers === null) throw new Error('the set-up does not verify')
    return new OriginLayers(this.#cipher, layers, this.#options.rng.bytes(32))
  }

  /** The cells of a packet that names a key of the relay and is noise otherwise: as dear to it as one that is right. */
  noiseSetUp(id: CircuitId): Uint8Array {
    const packet = this.#options.rng.bytes(SETUP_BYTES)
    packet[0] = SETUP_VERSION
    packet[1] = this.#ring.published.kid
    return cellsOf(id, packet)
  }

  /** One neighbour more. */
  addLink(): LoneLink {
    const made = this.#makeLink(this.#pools)
    this.links.push(made)
    return made
  }

  close(reason: LinkCloseReason = 'local'): void {
    this.relay.close()
    for (const { link } of this.links) link.close(reason)
    this.#ring.close()
  }
}

/** A set-up packet's cells, back to back. */
export function cellsOf(id: CircuitId, packet: Uint8Array): Uint8Array {
  const cells = new Uint8Array(SETUP_CELLS * CELL_BYTES)
  for (const [part, body] of setUpCells(packet).entries()) {
    writeHeader(cells, part * CELL_BYTES, id, Command.SETUP)
    cells.set(body, part * CELL_BYTES + CELL_HEADER_BYTES)
  }
  return cells
}

function packetOf(bodies: readonly Uint8Array[]): Uint8Array {
  const packet = new Uint8Array(SETUP_BYTES)
  for (const [part, body] of bodies.entries()) packet.set(body.subarray(1, 1 + SETUP_PART_BYTES), part * SETUP_PART_BYTES)
  return packet
}
