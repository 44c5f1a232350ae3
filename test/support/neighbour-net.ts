/**
 * Networks of control planes alone, on memory links and a fake clock: each node has identity, directory and neighbours, and a cell plane
 * that only passes CONTROL cells on and notes which links are neighbours'. For tests of directory, gossip and choice of neighbours.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as realSleep } from 'node:timers/promises'
import { type Identity, identityOf } from '../../client/identity.ts'
import { type NeighbourLimits, Neighbours } from '../../client/neighbours/index.ts'
import type { NodeId, UnixMs } from '../../src/bytes/index.ts'
import { CELL_BYTES, CELL_HEADER_BYTES, Command, commandAt } from '../../src/cell/index.ts'
import { sha256 } from '../../src/crypto/index.ts'
import { Directory, type DirectoryRules } from '../../src/directory/index.ts'
import type { Link, LinkHost, LinkReceiver } from '../../src/link/index.ts'
import { type MemoryNetwork, memoryNetwork } from '../../src/link/memory.ts'
import type { CellPlane } from '../../src/link/plane.ts'
import { silentLog } from '../../src/log/index.ts'
import type { Clock } from '../../src/runtime/index.ts'
import { TEST_RULES } from './directory.ts'
import { FakeClock } from './fake-clock.ts'
import { SeededRng } from './seeded-rng.ts'

/** Passes CONTROL cells on; remembers neighbour links, and fails the test on misuse. */
export class NotingPlane implements CellPlane, LinkReceiver {
  readonly receiver: LinkReceiver = this
  readonly links = new Map<NodeId, Link>()
  sink: Neighbours | null = null

  addNeighbour(link: Link): void {
    if (this.links.has(link.peer)) throw new Error('a second neighbour link with one node')
    this.links.set(link.peer, link)
  }
  removeNeighbour(link: Link): void {
    if (this.links.get(link.peer) === link) this.links.delete(link.peer)
  }
  onCells(link: Link, cells: Uint8Array, count: number): void {
    for (let at = 0; at < count * CELL_BYTES; at += CELL_BYTES) {
      if (commandAt(cells, at) !== Command.CONTROL) continue
      this.sink?.onControlCell(link, cells.subarray(at + CELL_HEADER_BYTES, at + CELL_BYTES))
    }
    cells.fill(0xee) // borrowed: nobody may have kept them
  }
  onTurnEnd(): void {}
  onClose(link: Link, reason: Parameters<LinkReceiver['onClose']>[1]): void {
    this.removeNeighbour(link)
    this.sink?.onLinkClosed(link, reason)
  }
}

export interface NetNode {
  readonly identity: Identity
  readonly host: LinkHost
  readonly directory: Directory
  readonly plane: NotingPlane
  readonly neighbours: Neighbours
  readonly dataDir: string
}

export interface NetNodeOptions {
  readonly bootstrap?: readonly string[]
  readonly limits?: NeighbourLimits
  readonly rules?: DirectoryRules
  readonly reachable?: boolean
  /** How far its clock is ahead of the others'; may be changed at any time. */
  readonly date?: { aheadMs: number }
  /** Of a node that starts again. */
  readonly dataDir?: string
}

export class NeighbourNet {
  readonly clock = new FakeClock()
  readonly wires: MemoryNetwork = memoryNetwork({ clock: this.clock, blockCells: 8, shape: () => ({ delayMs: 5 }) })
  readonly nodes: NetNode[] = []
  readonly #folder = mkdtempSync(join(tmpdir(), 'gyre-net-'))
  readonly #seed: string

  constructor(seed: string | number) {
    this.#seed = String(seed)
  }

  /** The address of node number `index`, for a bootstrap list. */
  addressOf(index: number): string {
    const { id } = identityOf(this.#seedOf(index))
    return `${this.#listen(index)}/p2p/${id}`
  }

  #seedOf(index: number): Uint8Array {
    return sha256(new TextEncoder().encode(`${this.#seed}/${index}`))
  }

  #listen(index: number): string {
    return `/ip4/10.${index}.0.1/tcp/4001`
  }

  /** Makes node number `index`; with the same number again: the same identity. Not started. */
  make(
    index: number,
    {
      bootstrap = [],
      limits = { choose: 4, accept: 8 },
      rules = TEST_RULES,
      reachable = true,
      dataDir,
      date = { aheadMs: 0 },
    }: NetNodeOptions = {},
  ): NetNode {
    const identity = identityOf(this.#seedOf(index))
    const host = this.wires.host(identity.id, { address: this.#listen(index), reachable })
    const clock = skewed(this.clock, date)
    const directory = new Directory({ rules, clock, self: identity.id })
    const plane = new NotingPlane()
    const folder = dataDir ?? mkdtempSync(join(this.#folder, `${index}-`))
    const neighbours = new Neighbours({
      host,
      directory,
      plane,
      identity,
      bootstrap,
      clock,
      rng: new SeededRng(`${this.#seed}/${index}/${this.nodes.length}`),
      log: silentLog,
      dataDir: folder,
      limits,
      claims: {
        onion: () => ({ kid: 1, x25519: new Uint8Array(32), mlkem768: new Uint8Array(1184) }),
        capacityClass: 1,
        storeQuotaBytes: 0,
      },
    })
    plane.sink = neighbours
    const node = { identity, host, directory, plane, neighbours, dataDir: folder }
    this.nodes.push(node)
    return node
  }

  /** Moves time on; what real files are being read or written for takes none of it, however busy the machine. */
  async pass(ms: number): Promise<void> {
    for (let passed = 0; passed < ms; passed += 50) {
      await this.clock.advance(Math.min(50, ms - passed))
      while (filesUnderWay()) {
        await realSleep(1)
        await this.clock.settle()
      }
    }
  }

  /** Moves on until `done`, at most `withinMs`; the time it took, or `null`. */
  async until(done: () => boolean, withinMs: number): Promise<number | null> {
    const from = this.clock.monotonicMs()
    while (!done()) {
      if (this.clock.monotonicMs() - from >= withinMs) return null
      await this.clock.advance(20)
    }
    return this.clock.monotonicMs() - from
  }

  /** Starts a node; its files are real, so time moves on meanwhile. */
  async start(node: NetNode): Promise<void> {
    await this.settled(node.neighbours.start())
  }

  /** Waits for a promise that needs both real files and fake time. */
  async settled<T>(promise: Promise<T>): Promise<T> {
    let over = false
    const mark = () => {
      over = true
    }
    promise.then(mark, mark)
    while (!over) {
      await realSleep(1) // no faster than the disk: fake seconds must not fly by while a file is written
      await this.clock.advance(1)
    }
    return promise
  }

  async close(): Promise<void> {
    await this.settled(Promise.all(this.nodes.map((node) => node.neighbours.close())))
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

function filesUnderWay(): boolean {
  return process.getActiveResourcesInfo().some((kind) => kind.startsWith('FSReq') || kind === 'CloseReq')
}

/** The same clock with another idea of the date, which may change. */
function skewed(clock: FakeClock, date: { readonly aheadMs: number }): Clock {
  return {
    unixMs: () => (clock.unixMs() + date.aheadMs) as UnixMs,
    monotonicMs: () => clock.monotonicMs(),
    setTimer: (ms, fire) => clock.setTimer(ms, fire),
    nextTurn: (fire) => clock.nextTurn(fire),
    deadline: (ms, signal) => clock.deadline(ms, signal),
    sleep: (ms, waiting) => clock.sleep(ms, waiting),
  }
}

/** Whether all of `nodes` hold the same directory of exactly them, each listing the links that it really has. */
export function isWhole(nodes: readonly NetNode[]): boolean {
  return nodes.every(({ directory }) => {
    if (directory.size !== nodes.length) return false
    return nodes.every(({ identity, neighbours }) => {
      const listed = directory.get(identity.id)?.neighbours ?? []
      const real = neighbours.all()
      return listed.length === real.length && real.every((id) => listed.includes(id))
    })
  })
}
