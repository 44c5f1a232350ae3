/**
 * A download from a live service while other nodes are killed, or held, and come back: whole nodes with real cells, links in memory, fake time. The same
 * seed gives the same run, so that what a stall was made of can be read. How long one is on real machines: `npm run endure`.
 */
import { mkdir } from 'node:fs/promises'
import { type Identity, identityOf } from '../../client/identity.ts'
import { StreamDuplex } from '../../client/service/duplex.ts'
import { type CellCipher, openCellCipher, sha256 } from '../../src/crypto/index.ts'
import { type MemoryNetwork, memoryNetwork } from '../../src/link/memory.ts'
import type { Timer } from '../../src/runtime/index.ts'
import type { SessionStream } from '../../src/service/index.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { SeededRng } from '../support/seeded-rng.ts'
import { type LiveNode, startLive } from './live-node.ts'

const NEVER = new AbortController().signal
/** The target sends one piece so often, as long as the session takes it. */
const PIECE_MS = 20
const PIECE_BYTES = 1_500
const DELAY_MS = 2
/** From the start of a process to that of its node. */
const BOOT_MS = 700
/** Nodes that are told to newcomers. */
const BOOTSTRAPS = 3

export interface LiveOptions {
  readonly seed: string
  readonly nodes: number
  /** How long the download goes on. */
  readonly forMs: number
  /** Between two hits, and until a node is back. */
  readonly everyMs: number
  readonly awayMs: number
  /** `hold`: nothing goes to or from it, and nobody is told; `both`: one after the other. */
  readonly how: 'kill' | 'hold' | 'both'
  /** A folder on a disk in memory. */
  readonly root: string
  readonly onEvent?: (atMs: number, text: string) => void
}

/** What the target sends, from byte `from` on. */
function piece(from: number): Uint8Array {
  return Uint8Array.from({ length: PIECE_BYTES }, (_, at) => (from + at) % 251)
}

/** Some time without a byte. */
export interface Stall {
  readonly fromMs: number
  readonly ms: number
}

export interface LiveResult {
  readonly bytes: number
  /** Until the first byte. */
  readonly firstMs: number
  /** Of half a second and more. */
  readonly stalls: readonly Stall[]
  readonly hits: number
  /** `null`: the stream was there to the end, and every byte was right. */
  readonly fault: string | null
}

interface Place {
  readonly index: number
  readonly identity: Identity
  readonly address: string
  node: LiveNode | null
  starts: number
}

export class LiveWorld {
  readonly clock = new FakeClock()
  readonly #options: LiveOptions
  readonly #rng: SeededRng
  readonly #wires: MemoryNetwork
  readonly #places: readonly Place[]
  readonly #away = new Set<number>()
  readonly #targets = new Set<Timer>()
  readonly #works = new Set<Promise<void>>()
  #cipher: CellCipher | null = null
  #hits = 0

  constructor(options: LiveOptions) {
    this.#options = options
    this.#rng = new SeededRng(`live ${options.seed}`)
    this.#wires = memoryNetwork({ clock: this.clock, blockCells: 8, shape: () => ({ delayMs: DELAY_MS }) })
    this.#places = Array.from({ length: options.nodes }, (_, index) => ({
      index,
      identity: identityOf(sha256(this.#rng.bytes(32))),
      address: `/ip4/10.${index}.0.1/tcp/4001`,
      node: null,
      starts: 0,
    }))
  }

  /** The first node offers the service, the last one downloads, the others are hit. */
  async run(): Promise<LiveResult> {
    const { clock } = this
    this.#cipher = await openCellCipher()
    for (const place of this.#places) {
      await mkdir(`${this.#options.root}/${place.index}`)
      await clock.runFor(this.#start(place))
    }
    const [owner, user] = [this.#places[0]!.node!, this.#places.at(-1)!.node!]
    await clock.runFor(owner.services.add({ name: 'web', target: { host: '127.0.0.1', port: 80 }, port: 80 }))
    const count = this.#places.length
    const ready = () =>
      this.#places.every(({ node }) => node!.directory.size === count && node!.pool.ready >= Math.min(6, count - 1)) &&
      owner.services.get('web')!.state === 'up'
    if (!(await clock.runUntil(ready, 120_000))) throw new Error('the network did not come up')
    const key = owner.serviceKey('web')
    const beganMs = clock.monotonicMs()
    this.#hitNext(1_000)
    const connecting = user.connector.connect(key, 80, { signal: NEVER, isolation: 'a user' })
    const duplex = await clock.runFor(connecting, 60_000)
    let [bytes, firstMs, lastMs, fault] = [0, -1, clock.monotonicMs(), null as string | null]
    const stalls: Stall[] = []
    const look = () => {
      const now = clock.monotonicMs()
      if (firstMs >= 0 && now - lastMs >= 500) stalls.push({ fromMs: lastMs - beganMs, ms: now - lastMs })
      lastMs = now
    }
    duplex.on('data', (chunk: Uint8Array) => {
      look()
      if (firstMs < 0) firstMs = clock.monotonicMs() - beganMs
      if (chunk.some((byte, at) => byte !== (bytes + at) % 251)) fault = 'a wrong byte'
      bytes += chunk.length
    })
    duplex.on('close', () => {
      fault ??= 'the stream ended'
    })
    await clock.advance(this.#options.forMs - (clock.monotonicMs() - beganMs))
    look()
    const result = { bytes, firstMs, stalls, hits: this.#hits, fault }
    duplex.destroy()
    await this.#end()
    return result
  }

  async #start(place: Place): Promise<void> {
    const { identity, address } = place
    const { root } = this.#options
    const rng = this.#rng.fork(`node ${place.index} ${place.starts++}`)
    const bootstrap = this.#places
      .filter(({ index }) => index !== place.index && !this.#away.has(index))
      .slice(0, BOOTSTRAPS)
      .map((one) => `${one.address}/p2p/${one.identity.id}`)
    place.node = await startLive({
      ...{ identity, bootstrap, rng, dataDir: `${root}/${place.index}`, cipher: this.#cipher!, clock: this.clock },
      host: this.#wires.host(identity.id, { address }),
      forwarder: { forward: (stream) => this.#serve(stream), close: () => {} },
    })
  }

  /** Sends without end. */
  #serve(stream: SessionStream): StreamDuplex {
    const duplex = new StreamDuplex().bind(stream)
    stream.accept()
    duplex.on('error', () => {})
    let sent = 0
    const next = () => {
      this.#targets.delete(timer)
      if (duplex.destroyed) return
      if (!duplex.writableNeedDrain) {
        duplex.write(piece(sent))
        sent += PIECE_BYTES
      }
      timer = this.clock.setTimer(PIECE_MS, next)
      this.#targets.add(timer)
    }
    let timer = this.clock.setTimer(0, next)
    return duplex
  }

  // Hits --------------------------------------------------------------------------------------------------------------------------

  #hitNext(ms: number): void {
    const timer = this.clock.setTimer(ms, () => {
      this.#targets.delete(timer)
      const work = this.#hit()
      this.#works.add(work)
      work.catch(() => {}) // seen at the end
      this.#hitNext(this.#options.everyMs)
    })
    this.#targets.add(timer)
  }

  async #hit(): Promise<void> {
    const { how, awayMs } = this.#options
    const there = this.#places.slice(1, -1).filter(({ index }) => !this.#away.has(index))
    if (there.length === 0) return
    const place = there[this.#rng.below(there.length)]!
    const hold = how === 'hold' || (how === 'both' && this.#hits % 2 === 1)
    this.#hits++
    this.#away.add(place.index)
    this.#say(`${hold ? 'hold' : 'kill'} ${place.index}`)
    if (hold) this.#wires.stall(place.identity.id, true)
    else await this.#kill(place)
    await this.clock.sleep(awayMs, { signal: NEVER })
    if (hold) this.#wires.stall(place.identity.id, false)
    else {
      await this.clock.sleep(BOOT_MS, { signal: NEVER })
      await this.#start(place)
    }
    this.#away.delete(place.index)
    this.#say(`back ${place.index}`)
  }

  /** All its links end at once, as those of a process that is gone; nothing that it does after that gets out. */
  async #kill(place: Place): Promise<void> {
    const node = place.node!
    place.node = null
    await node.host.close()
    await node.close()
  }

  #say(text: string): void {
    this.#options.onEvent?.(this.clock.monotonicMs(), text)
  }

  async #end(): Promise<void> {
    for (const timer of this.#targets) timer.cancel()
    this.#targets.clear()
    await this.clock.runFor(Promise.all(this.#works), 10 * 60_000)
    for (const { node } of this.#places) if (node !== null) await this.clock.runFor(node.close(), 10 * 60_000)
  }
}
