/**
 * Whole nodes less their content (identity, directory, neighbours with gossip, onion keys, switch with control slots, loop builder) on memory
 * links and a fake clock: for simulated days of everything that writes to a link.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as realSleep } from 'node:timers/promises'
import { identityOf } from '../../client/identity.ts'
import { LoopBuilder } from '../../client/loops/builder.ts'
import { Neighbours } from '../../client/neighbours/index.ts'
import { Admission, Apex, type PacingOptions, Switch } from '../../relay/index.ts'
import type { NodeId } from '../../src/bytes/index.ts'
import { OnionKeyRing } from '../../src/circuit/onion-keys.ts'
import { openCellCipher, sha256 } from '../../src/crypto/index.ts'
import { Directory } from '../../src/directory/index.ts'
import type { Link } from '../../src/link/index.ts'
import { type MemoryNetwork, memoryNetwork } from '../../src/link/memory.ts'
import type { ControlSink } from '../../src/link/plane.ts'
import { silentLog } from '../../src/log/index.ts'
import { shuffled } from '../../src/runtime/index.ts'
import { TEST_RULES } from './directory.ts'
import { FakeClock } from './fake-clock.ts'
import { SeededRng } from './seeded-rng.ts'
import { type LinkTap, TappedLink } from './tap-link.ts'

export interface PacedNode {
  readonly id: NodeId
  readonly relay: Switch
  readonly neighbours: Neighbours
  readonly directory: Directory
  readonly builder: LoopBuilder
}

export interface PacedNetOptions {
  readonly count: number
  readonly pacing: PacingOptions
  readonly seed: string
  readonly onWrite: (from: NodeId, to: NodeId, bytes: number) => void
  /** The hands on a new link end. */
  readonly tap: (self: NodeId, peer: NodeId) => LinkTap
}

export class PacedNet {
  readonly clock = new FakeClock()
  readonly wires: MemoryNetwork
  readonly nodes: PacedNode[] = []
  readonly #folder = mkdtempSync(join(tmpdir(), 'gyre-paced-'))
  readonly #rings: OnionKeyRing[] = []

  readonly #options: PacedNetOptions

  constructor(options: PacedNetOptions) {
    this.#options = options
    const { onWrite } = options
    this.wires = memoryNetwork({ clock: this.clock, blockCells: 16, shape: () => ({ delayMs: 3 }), onWrite })
  }

  /** Starts all nodes, the first one known to the others. */
  async start(): Promise<void> {
    for (let index = 0; index < this.#options.count; index++) await this.#add(index)
  }

  async #add(index: number): Promise<void> {
    const { clock } = this
    const { seed, pacing, tap } = this.#options
    const rng = new SeededRng(`${seed} ${index}`)
    const identity = identityOf(sha256(new TextEncoder().encode(`${seed}/${index}`)))
    const { network } = TEST_RULES
    const directory = new Directory({ rules: TEST_RULES, clock, self: identity.id })
    const ring = new OnionKeyRing({ clock, rng: rng.fork('keys') })
    this.#rings.push(ring)
    const holder: { sink: ControlSink | null } = { sink: null }
    const control: ControlSink = {
      onControlCell: (link, body) => holder.sink?.onControlCell(link, body),
      onLinkClosed: (link, reason) => holder.sink?.onLinkClosed(link, reason),
    }
    const cipher = await openCellCipher()
    const store = async () => ({ status: 'not-found', body: new Uint8Array(0) }) as const
    const relay = new Switch({
      cipher,
      clock,
      rng: rng.fork('switch'),
      apex: new Apex({ services: { store }, clock }),
      admission: new Admission({ network, self: identity.id, onionKeys: ring, clock }),
      control,
      pacing,
    })
    relay.start()
    const plain = this.wires.host(identity.id, { address: `/ip4/10.${index}.0.1/tcp/4001` })
    const tapped = (link: Link) => new TappedLink(link, tap(identity.id, link.peer))
    const host = {
      id: plain.id,
      get addresses() {
        return plain.addresses
      },
      start: () => plain.start(),
      close: () => plain.close(),
      dial: async (...asked: Parameters<typeof plain.dial>) => tapped(await plain.dial(...asked)),
      set onInbound(taken: (link: Link) => void) {
        plain.onInbound = (link) => taken(tapped(link))
      },
    }
    const first = this.nodes[0]
    const neighbours = new Neighbours({
      host,
      directory,
      plane: relay,
      identity,
      bootstrap: first === undefined ? [] : [`/ip4/10.0.0.1/tcp/4001/p2p/${first.id}`],
      clock,
      rng: rng.fork('neighbours'),
      ...(pacing.control === undefined ? {} : { control: pacing.control }),
      log: silentLog,
      dataDir: mkdtempSync(join(this.#folder, `${index}-`)),
      limits: { choose: 4, accept: 8 },
      claims: { onion: () => ring.published, capacityClass: 1, storeQuotaBytes: 0 },
    })
    holder.sink = neighbours
    const draws = rng.fork('draws')
    const draw = () => {
      const hops = shuffled(neighbours.all(), draws).slice(0, 4)
      return hops.length < 3 ? null : { hops, apexIndex: 1 }
    }
    const builder = new LoopBuilder({
      network,
      self: identity.id,
      onionKeys: ring,
      view: directory,
      draw,
      port: relay,
      cipher,
      clock,
      rng: rng.fork('builder'),
    })
    this.nodes.push({ id: identity.id, relay, neighbours, directory, builder })
    await this.settled(neighbours.start())
  }

  /** Replaces onion keys that are due; their nodes publish. */
  tickKeys(): void {
    for (const [index, ring] of this.#rings.entries()) if (ring.tick()) this.nodes[index]!.neighbours.republish()
  }

  /** Moves on in steps: promises and real files get their turn after each. */
  async pass(ms: number, stepMs: number): Promise<void> {
    for (let passed = 0; passed < ms; passed += stepMs) {
      this.clock.advanceNow(Math.min(stepMs, ms - passed))
      await this.clock.settle()
    }
  }

  /** Waits for a promise that needs both real files and fake time. */
  async settled<T>(promise: Promise<T>): Promise<T> {
    let over = false
    const mark = () => {
      over = true
    }
    promise.then(mark, mark)
    while (!over) {
      await realSleep(1)
      await this.clock.advance(1)
    }
    return promise
  }

  async close(): Promise<void> {
    for (const { relay } of this.nodes) relay.close()
    await this.settled(Promise.all(this.nodes.map(({ neighbours }) => neighbours.close())))
    for (const ring of this.#rings) ring.close()
    rmSync(this.#folder, { recursive: true, force: true })
  }
}
