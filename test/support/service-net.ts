/**
 * A network as live services see it, without links and cells: nodes with real introduction points, rendezvous points and sessions, reached by
 * "loops" that are calls after a delay; records in a map. On a fake clock. Nodes can be killed, loops counted, everything that nodes are
 * asked is recorded.
 */
import type { KeyBook, KeyEntry, KeyPart } from '../../client/keys/index.ts'
import type { NodeEvent } from '../../client/library.ts'
import type { FoundRecord, RecordAsking, RecordFinder, RecordParts, RecordPublisher } from '../../client/records/index.ts'
import { Connector, LiveServices, type MakeSession } from '../../client/service/index.ts'
import type { ServiceLoop, ServiceLoops, ServiceView, StandingPlaces } from '../../client/service/loops.ts'
import { Introductions } from '../../relay/introduction/index.ts'
import { Rendezvous } from '../../relay/rendezvous/index.ts'
import { concat, type NodeId, nodeIdOf, piecesOf, toHex, type UnixMs } from '../../src/bytes/index.ts'
import { formatKeyAddress } from '../../src/content/address.ts'
import { blindAddress, periodAt } from '../../src/content/record.ts'
import { sha256, signingKey } from '../../src/crypto/index.ts'
import type { Descriptor } from '../../src/directory/index.ts'
import { OverlayError } from '../../src/errors/index.ts'
import { silentLog } from '../../src/log/index.ts'
import type { ExchangeEnd, ExchangePort } from '../../src/stream/index.ts'
import { encodeHopReply, parseHopRequest, type ServicePart, type SitePart } from '../../src/wire/index.ts'
import type { FakeClock } from './fake-clock.ts'
import type { SeededRng } from './seeded-rng.ts'

/** One way of each loop. */
const DELAY_MS = 3

interface NetNode {
  readonly id: NodeId
  readonly introductions: Introductions
  readonly rendezvous: Rendezvous
  dead: boolean
}

/** A request that a node was asked by somebody's loop. */
export interface Asked {
  readonly by: NodeId
  readonly node: NodeId
  readonly loop: number
  readonly kind: string
}

export class ServiceNet {
  readonly clock: FakeClock
  readonly rng: SeededRng
  readonly network = sha256(Uint8Array.of(7))
  readonly nodes: NetNode[] = []
  readonly asked: Asked[] = []
  /** What publishers said last, by key in hex. */
  readonly records = new Map<string, { sequence: number; site: SitePart | null; service: ServicePart | null }>()
  readonly events: NodeEvent[] = []
  readonly #makeSession: MakeSession2
  /** Whether a node's loop fails to join. */
  refuseJoin: (by: NodeId) => boolean = () => false
  /** What the loops of a service that is hosted seem to stand for. Absent: they do not stand. */
  standing: StandingPlaces | undefined
  #version = 1
  #loops = 0
  readonly #open = new Set<NetLoop>()

  constructor(clock: FakeClock, rng: SeededRng, makeSession: MakeSession2, count = 8) {
    this.clock = clock
    this.rng = rng
    this.#makeSession = makeSession
    const memory = { hold: () => true, release: () => {} }
    for (let at = 0; at < count; at++) {
      this.nodes.push({
        id: nodeIdOf(rng.bytes(32)),
        introductions: new Introductions({ clock, rng }),
        rendezvous: new Rendezvous({ clock, memory }),
        dead: false,
      })
    }
  }

  get view(): ServiceView {
    const living = () => this.nodes.filter((node) => !node.dead)
    const describe = (id: NodeId): Descriptor => ({
      id,
      addresses: [],
      onion: { kid: 0, x25519: new Uint8Array(32), mlkem768: new Uint8Array(1184) },
      capacityClass: 0,
      storeQuotaBytes: 0,
      publishedMs: 0 as UnixMs,
      neighbours: [],
      family: [],
    })
    const net = this
    return {
      get size() {
        return net.nodes.length
      },
      get version() {
        return net.#version
      },
      get: (id) => (net.nodes.some((node) => node.id === id) ? describe(id) : undefined),
      all: () => net.nodes.map(({ id }) => describe(id)),
      linked: (id) =>
        net.#known(id)
          ? living()
              .map((node) => node.id)
              .filter((other) => other !== id)
          : [],
    }
  }

  /** Nodes whose death the directory has heard of are left out. */
  readonly #gone = new Set<NodeId>()
  #known(id: NodeId): boolean {
    return !this.#gone.has(id)
  }

  /** Kills a node: loops with it in the middle stall and end after a while. `heard`: the directory knows at once. */
  kill(id: NodeId, heard = false): void {
    const node = this.nodeOf(id)
    node.dead = true
    node.introductions.close()
    node.rendezvous.close()
    if (heard) this.hear(id)
    this.clock.setTimer(2_500, () => {
      for (const loop of [...this.#open]) if (loop.apex === id) loop.end()
    })
  }

  hear(id: NodeId): void {
    this.#gone.add(id)
    this.#version++
  }

  nodeOf(id: NodeId): NetNode {
    const node = this.nodes.find((each) => each.id === id)
    if (node === undefined) throw new Error('no such node')
    return node
  }

  /** Loops that are open, of node `by`. */
  openLoops(by: NodeId): readonly NetLoop[] {
    return [...this.#open].filter((loop) => loop.by === by)
  }

  loops(by: NodeId): ServiceLoops & { closeAll(): void } {
    const mine = new Set<NetLoop>()
    const take: ServiceLoops<NetLoop>['take'] = async (apex, { signal }) => {
      signal.throwIfAborted()
      await this.clock.sleep(DELAY_MS, { signal })
      if (this.nodeOf(apex).dead) {
        if (this.#gone.has(apex)) throw new OverlayError('unreachable', 'LOOP_NO_PATH', 'No loop can be drawn.')
        await this.clock.sleep(3_000, { signal })
        throw new OverlayError('unreachable', 'LOOP_FAILED', 'No loop came home.')
      }
      const loop = new NetLoop(this, ++this.#loops, by, apex, () => this.#open.delete(loop))
      this.#open.add(loop)
      mine.add(loop)
      return loop
    }
    return {
      take,
      takeHome: (waiting) => take(by, waiting),
      release: (loop) => (loop as NetLoop).end(),
      closeAll: () => {
        for (const loop of mine) loop.end()
      },
    }
  }

  /** Hosting at node `index`, with keys and records in memory that `book` keeps over restarts. */
  async host(index: number, book: MemoryBook): Promise<LiveServices> {
    const { id } = this.nodes[index]!
    const services = new LiveServices({
      book,
      records: this.#publisher(book),
      network: this.network,
      self: id,
      view: this.view,
      loopsFor: () => {
        const loops = this.loops(id)
        return {
          loops: this.standing === undefined ? loops : { ...loops, standing: this.standing },
          close: () => loops.closeAll(),
        }
      },
      healthy: () => true,
      joinLocally: notThroughALoop,
      makeSession: this.#makeSession('service', this.clock),
      emit: (event) => this.events.push(event),
      clock: this.clock,
      rng: this.rng,
      log: silentLog,
    })
    await services.start()
    return services
  }

  connector(index: number): Connector {
    const node = this.nodes[index]!
    return new Connector({
      network: this.network,
      self: node.id,
      view: this.view,
      loops: this.loops(node.id),
      joinLocally: notThroughALoop,
      introduceLocally: notThroughALoop,
      records: this.#finder(),
      makeSession: this.#makeSession('client', this.clock),
      clock: this.clock,
      rng: this.rng,
    })
  }

  #publisher(book: MemoryBook): RecordPublisher {
    const nameOf = (name: string) => toHex(book.get(name)!.publicKey)
    let underWay = 0
    const set = async (name: string, parts: RecordParts) => {
      underWay++
      await this.clock.sleep(2 * DELAY_MS, new AbortController())
      underWay--
      const before = this.records.get(nameOf(name)) ?? { sequence: 0, site: null, service: null }
      this.records.set(nameOf(name), { ...before, ...parts, sequence: before.sequence + 1 })
    }
    return {
      prepare: async () => {},
      set,
      forget: (name, part) => set(name, { [part]: null }),
      parts: (name) => this.records.get(nameOf(name)) ?? { site: null, service: null },
      isPublished: (name) => underWay === 0 && this.records.has(nameOf(name)),
    }
  }

  #finder(): RecordFinder {
    const cache = new Map<string, { at: number; found: FoundRecord }>()
    return {
      find: async (key: Uint8Array, { signal, maxAgeMs = 0, isolation = '' }: RecordAsking) => {
        const name = `${toHex(key)} ${isolation}`
        const known = cache.get(name)
        if (known !== undefined && this.clock.monotonicMs() - known.at < maxAgeMs) return known.found
        await this.clock.sleep(2 * DELAY_MS, { signal })
        const record = this.records.get(toHex(key))
        if (record === undefined) throw new OverlayError('not-found', 'RECORD_NOT_FOUND', 'No holder has a record.')
        const period = periodAt(key, this.clock.unixMs())
        const blinded = await blindAddress(key, this.network, period)
        const found = { record, blinded: blinded!, period }
        cache.set(name, { at: this.clock.monotonicMs(), found })
        return found
      },
    }
  }
}

/** What a node asks of itself goes through loops as well: how soon it is answered would show who it is. */
function notThroughALoop(): never {
  throw new Error('a node asked itself without a loop')
}

/** Makes sessions of one role. */
export type MakeSession2 = (role: 'client' | 'service', clock: FakeClock) => MakeSession

/** A loop that is a call. */
class NetLoop implements ServiceLoop {
  readonly number: number
  readonly by: NodeId
  readonly apex: NodeId
  readonly #net: ServiceNet
  readonly #stop = new AbortController()
  readonly #onEnd: () => void
  #port: ExchangePort | null = null
  #end: ExchangeEnd | null = null

  constructor(net: ServiceNet, number: number, by: NodeId, apex: NodeId, onEnd: () => void) {
    this.#net = net
    this.number = number
    this.by = by
    this.apex = apex
    this.#onEnd = onEnd
  }

  get open(): boolean {
    return !this.#stop.signal.aborted
  }

  async ask(request: Uint8Array, { signal }: { readonly signal: AbortSignal }): Promise<Uint8Array> {
    const both = AbortSignal.any([signal, this.#stop.signal])
    both.throwIfAborted()
    const { clock, asked } = this.#net
    const node = this.#net.nodeOf(this.apex)
    const parsed = parseHopRequest(request)
    asked.push({ by: this.by, node: this.apex, loop: this.number, kind: parsed?.kind ?? 'nothing' })
    await clock.sleep(DELAY_MS, { signal: both })
    if (node.dead) await clock.sleep(3_600_000, { signal: both })
    const reply = await this.#answer(node, parsed, both)
    await clock.sleep(DELAY_MS, { signal: both })
    if (node.dead) await clock.sleep(3_600_000, { signal: both })
    return reply
  }

  async #answer(node: NetNode, parsed: ReturnType<typeof parseHopRequest>, signal: AbortSignal): Promise<Uint8Array> {
    if (parsed?.kind !== 'introduction') return encodeHopReply({ status: 'ok', body: new Uint8Array(0) })
    const { status, body } = await node.introductions.askLocally(parsed.request, { signal })
    return encodeHopReply({ status, body: concat(...piecesOf(body)) })
  }

  async join(cookie: Uint8Array, end: ExchangeEnd, { signal }: { readonly signal: AbortSignal }): Promise<ExchangePort> {
    const both = AbortSignal.any([signal, this.#stop.signal])
    await this.#net.clock.sleep(2 * DELAY_MS, { signal: both })
    const node = this.#net.nodeOf(this.apex)
    this.#net.asked.push({ by: this.by, node: this.apex, loop: this.number, kind: 'join' })
    if (node.dead) await this.#net.clock.sleep(3_600_000, { signal: both })
    if (this.#net.refuseJoin(this.by))
      throw new OverlayError('overload', 'RENDEZVOUS_REFUSED', 'The rendezvous point says: busy.')
    const port = node.rendezvous.joinLocally(cookie, end)
    this.#end = end
    const number = this.number
    this.#port = {
      loop: number,
      get waiting() {
        return port.waiting
      },
      wake: () => port.wake(),
      close: () => {
        port.close()
        this.#end = null
        this.end()
      },
    }
    return this.#port
  }

  end(): void {
    if (!this.open) return
    this.#stop.abort(new OverlayError('unreachable', 'CIRCUIT_ENDED', 'The loop ended.'))
    this.#onEnd()
    const end = this.#end
    this.#port?.close()
    end?.onGone()
  }
}

/** Keys and their parts, in memory: what a data folder is to a node. */
export class MemoryBook implements KeyBook {
  readonly #entries = new Map<string, KeyEntry>()
  readonly #parts = new Map<string, Uint8Array>()
  readonly #rng: SeededRng

  constructor(rng: SeededRng) {
    this.#rng = rng
  }

  list() {
    return [...this.#entries.values()]
  }

  damaged() {
    return []
  }

  get(name: string) {
    return this.#entries.get(name) ?? null
  }

  async make(name: string) {
    const known = this.#entries.get(name)
    if (known !== undefined) return known
    const { publicKey } = signingKey(this.#rng.bytes(32))
    const entry = { name, publicKey, address: formatKeyAddress(publicKey) }
    this.#entries.set(name, entry)
    return entry
  }

  blind(): never {
    throw new Error('not here')
  }

  async readPart(name: string, part: KeyPart) {
    return this.#parts.get(`${name} ${part}`) ?? null
  }

  async writePart(name: string, part: KeyPart, bytes: Uint8Array) {
    this.#parts.set(`${name} ${part}`, bytes.slice())
  }

  async removePart(name: string, part: KeyPart) {
    this.#parts.delete(`${name} ${part}`)
  }
}
