/**
 * A small network of whole nodes (`test/sim-network/whole-node.ts`) on memory links, disks in memory and a fake clock: content is published and
 * fetched through real loops of real cells. For tests in which one of the nodes is not what it should be.
 */
import { mkdir } from 'node:fs/promises'
import { openFile } from '../../client/fetch.ts'
import { type Identity, identityOf } from '../../client/identity.ts'
import { publishFile } from '../../client/publish.ts'
import { openCellCipher, sha256 } from '../../src/crypto/index.ts'
import type { LinkHost } from '../../src/link/index.ts'
import { type MemoryNetwork, memoryNetwork } from '../../src/link/memory.ts'
import { startWhole, type WholeNode } from '../sim-network/whole-node.ts'
import { FakeClock } from './fake-clock.ts'
import { collect } from './fake-share-network.ts'
import { SeededRng } from './seeded-rng.ts'

const DELAY_MS = 10
const WORK_MS = 15 * 60_000
const NEVER = new AbortController().signal

export interface WholeNetOptions {
  readonly seed: string
  readonly count: number
  /** A folder on a disk in memory. */
  readonly root: string
  /** Puts hands on a node's links. */
  readonly hostOf?: (host: LinkHost, index: number, net: WholeNet) => LinkHost
}

export class WholeNet {
  readonly clock = new FakeClock()
  readonly wires: MemoryNetwork = memoryNetwork({ clock: this.clock, blockCells: 8, shape: () => ({ delayMs: DELAY_MS }) })
  readonly nodes: WholeNode[] = []
  readonly rng: SeededRng
  readonly #options: WholeNetOptions
  readonly #identities: readonly Identity[]

  private constructor(options: WholeNetOptions) {
    this.#options = options
    this.rng = new SeededRng(options.seed)
    this.#identities = Array.from({ length: options.count }, () => identityOf(sha256(this.rng.bytes(32))))
  }

  /** Starts all nodes and waits until everybody knows everybody and has loops. */
  static async start(options: WholeNetOptions): Promise<WholeNet> {
    const net = new WholeNet(options)
    await net.#start()
    return net
  }

  async #start(): Promise<void> {
    const { root, hostOf = (host) => host } = this.#options
    const cipher = await openCellCipher()
    const address = (index: number) => `/ip4/10.${index}.0.1/tcp/4001`
    const bootstrap = [`${address(0)}/p2p/${this.#identities[0]!.id}`]
    for (const [index, identity] of this.#identities.entries()) {
      const dataDir = `${root}/${index}`
      await mkdir(dataDir)
      const host = hostOf(this.wires.host(identity.id, { address: address(index) }), index, this)
      const rng = this.rng.fork(`node ${index}`)
      const starting = startWhole({ identity, dataDir, host, bootstrap, cipher, clock: this.clock, rng })
      this.nodes.push(await this.clock.runFor(starting))
    }
    const count = this.nodes.length
    const ready = () =>
      this.nodes.every(({ directory, pool }) => directory.size === count && pool.ready >= Math.min(6, count - 1))
    if (!(await this.clock.runUntil(ready, 120_000))) throw new Error('the network did not come up')
  }

  async publish(index: number, content: Uint8Array): Promise<string> {
    const node = this.nodes[index]!
    const session = node.sessions.fresh()
    const body = (async function* () {
      yield content
    })()
    const parts = { rng: this.rng, clock: this.clock, fresh: () => node.sessions.fresh() }
    const publishing = publishFile(session, body, { signal: NEVER }, parts).finally(() => session.close())
    return (await this.clock.runFor(publishing, WORK_MS)).address
  }

  async fetch(index: number, address: string): Promise<Uint8Array> {
    const { sessions } = this.nodes[index]!
    const session = sessions.fresh()
    const work = async () => {
      const file = await openFile(session, address, { rng: this.rng, clock: this.clock }, { signal: NEVER })
      return collect(file.read({ start: 0, end: file.bytes }, { signal: NEVER }))
    }
    return this.clock.runFor(
      work().finally(() => session.close()),
      WORK_MS,
    )
  }

  async close(): Promise<void> {
    for (const node of this.nodes) await this.clock.runFor(node.close())
  }
}
