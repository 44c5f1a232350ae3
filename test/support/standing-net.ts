/**
 * Live services under paced clocks over real members: a mesh on a fake clock whose nodes have introduction and rendezvous points, one of which hosts
 * services on standing loops and others connect to them through paced pools. Records are in a map. What goes over which wire, and when, is
 * written down; how the nodes draw does not depend on what is asked.
 */
import { controlSlotsOf, leadsOf, loopMsOf, type PacedPlan } from '../../client/clocks.ts'
import { LoopBuilder } from '../../client/loops/builder.ts'
import { LoopSet } from '../../client/loops/loop-set.ts'
import type { OwnApex } from '../../client/loops/own-hop.ts'
import { PacedPool } from '../../client/loops/paced-pool.ts'
import { LoopPool } from '../../client/loops/pool.ts'
import { twinTime } from '../../client/loops/set-up-time.ts'
import { StandingLoops } from '../../client/loops/standing.ts'
import type { LoopPreference } from '../../client/paths.ts'
import type { FoundRecord } from '../../client/records/index.ts'
import { Connector, LiveServices, type MakeSession } from '../../client/service/index.ts'
import type { ServiceLoops } from '../../client/service/loops.ts'
import { type NodeId, toHex } from '../../src/bytes/index.ts'
import { EPOCH_MS } from '../../src/circuit/setup/index.ts'
import { blindAddress, periodAt } from '../../src/content/record.ts'
import type { Descriptor, DirectoryView } from '../../src/directory/index.ts'
import { OverlayError } from '../../src/errors/index.ts'
import { silentLog } from '../../src/log/index.ts'
import { type Rng, shuffled } from '../../src/runtime/index.ts'
import { Session, SLOW_PATIENCE } from '../../src/service/index.ts'
import type { ServicePart } from '../../src/wire/index.ts'
import { type FakeMesh, startFakeMesh } from './fake-mesh.ts'
import { type SeededRng, seededRng } from './seeded-rng.ts'
import { MemoryBook } from './service-net.ts'

const CONTROL_MS = 1_000
const HOLD_MS = 40
const RATES = [8, 32, 128, 512, 2048, 8192]
/** Their set-ups' waits: the control slots of this net are frequent. */
const SET_UP_WAIT_MS = 1_000

/** A stream for each kind of draw, so that what draws handles for introductions does not change what draws times. */
class KindRng implements Rng {
  readonly #streams = new Map<string, SeededRng>()
  readonly #seed: string

  constructor(seed: string) {
    this.#seed = seed
  }

  #stream(kind: string): SeededRng {
    const stream = this.#streams.get(kind) ?? seededRng(`${this.#seed} ${kind}`)
    this.#streams.set(kind, stream)
    return stream
  }

  bytes(count: number): Uint8Array {
    return this.#stream(`bytes ${count}`).bytes(count)
  }

  scratch(count: number): Uint8Array {
    return this.bytes(count)
  }

  below(limit: number): number {
    return this.#stream('below').below(limit)
  }

  unit(): number {
    return this.#stream('unit').unit()
  }
}

export interface StandingNet {
  readonly sim: FakeMesh
  readonly services: LiveServices
  readonly book: MemoryBook
  /** The loops of each service that was added, in order. */
  readonly standing: StandingLoops[]
  /** When loops were asked for at the hosting node, and through which node. */
  readonly asked: { readonly at: number; readonly middle: NodeId | undefined }[]
  /** All writes: time, from, to, bytes. */
  readonly writes: string[]
  /** With two loops of `rate` cells a second (default 128) and no others, or as a steady node that its user makes faster. */
  connector(index: number, rate?: number | 'steady'): { readonly connector: Connector; readonly pool: PacedPool }
  /** With swift loops. */
  swiftConnector(index: number): Connector
  close(): Promise<void>
}

export interface StandingNetOptions {
  readonly count?: number
  /** How many nodes the directory seems to have. */
  readonly size?: number
  readonly holdMs?: number
  readonly leadEpochs?: number
  /** What the hosting node's clock is; default `steady`. */
  readonly clock?: 'steady' | 'swift'
  /** Control slots, set-ups and the loops of steady users as nodes with this plan have them; default: others, that are sooner. */
  readonly plan?: PacedPlan
}

/** Node 0 hosts. */
export async function startStandingNet(
  seed: string,
  {
    count = 8,
    size = count,
    holdMs = HOLD_MS,
    leadEpochs = 10_000 / EPOCH_MS,
    plan,
    clock: hostClock = 'steady',
  }: StandingNetOptions = {},
): Promise<StandingNet> {
  const writes: string[] = []
  const now = { ms: () => 0 }
  const sim = await startFakeMesh(seed, {
    count,
    pacing: { control: plan === undefined ? { everyMs: CONTROL_MS } : controlSlotsOf(plan) },
    rngOf: (index) => new KindRng(`${seed} node ${index}`),
    shape: () => ({ delayMs: 3 }),
    onWrite: (from, to, bytes) => writes.push(`${now.ms()} ${from.slice(0, 6)} ${to.slice(0, 6)} ${bytes}`),
  })
  const { mesh, clock } = sim
  const leads = plan === undefined ? { leadEpochs: () => leadEpochs } : leadsOf(plan, () => 5)
  const waitMs = plan === undefined ? SET_UP_WAIT_MS : plan.setUpTime(5).waitMs
  const loopMs = plan === undefined ? leadEpochs * EPOCH_MS + 14_000 : loopMsOf(plan, 5)
  now.ms = () => clock.monotonicMs()
  const ids = mesh.nodes.map(({ id }) => id)
  const descriptors = new Map<NodeId, Descriptor>()
  for (const { id, onionKeys } of mesh.nodes) {
    const rest = { addresses: [], capacityClass: 0, storeQuotaBytes: 0, publishedMs: clock.unixMs(), neighbours: [], family: [] }
    descriptors.set(id, { id, onion: onionKeys.published, ...rest })
  }
  const view: DirectoryView = {
    size,
    version: 1,
    get: (id) => descriptors.get(id),
    all: () => [...descriptors.values()],
    linked: (id) => ids.filter((other) => other !== id),
  }
  const records = new Map<string, { sequence: number; site: null; service: ServicePart | null }>()
  const asked: StandingNet['asked'] = []
  const standing: StandingLoops[] = []
  const pools: { close(): void }[] = []
  const connectors: Connector[] = []

  const builderOf = (index: number) => {
    const node = mesh.nodes[index]!
    const rng = seededRng(`${seed} builder ${index}`)
    const others = ids.filter((id) => id !== node.id)
    const draw = (apex: NodeId | undefined, _avoid: ReadonlySet<NodeId>, preference?: LoopPreference) => {
      const middle = apex ?? others[rng.below(others.length)]!
      const free = others.filter((id) => id !== middle)
      if (preference !== undefined) free.sort((a, b) => preference.link(a) - preference.link(b))
      const ends = preference === undefined ? shuffled(free, rng) : [...free.slice(0, 2), ...shuffled(free.slice(2), rng)]
      const [first, last, second, fourth] = ends as [NodeId, NodeId, NodeId, NodeId]
      return { hops: [first, second, middle, fourth, last], apexIndex: 2 }
    }
    const { network, cipher } = mesh
    return new LoopBuilder({
      network,
      self: node.id,
      onionKeys: node.onionKeys,
      view,
      draw,
      port: node.relay,
      cipher,
      clock,
      rng,
    })
  }
  const makeSession =
    (role: 'client' | 'service'): MakeSession =>
    (ticket, events) =>
      new Session({ role, ticket, clock, events, patience: SLOW_PATIENCE })

  const host = mesh.nodes[0]!
  const builder = builderOf(0)
  const book = new MemoryBook(seededRng(`${seed} book`))
  const nameOf = (name: string) => toHex(book.get(name)!.publicKey)
  const publisher = {
    async prepare() {},
    async set(name: string, { service }: { service?: ServicePart | null }) {
      const sequence = (records.get(nameOf(name))?.sequence ?? 0) + 1
      records.set(nameOf(name), { sequence, site: null, service: service ?? null })
    },
    forget: async (name: string) => void records.delete(nameOf(name)),
    parts: () => ({ site: null, service: null }),
    isPublished: (name: string) => records.has(nameOf(name)),
  }
  const services = new LiveServices({
    book,
    records: publisher,
    network: mesh.network,
    self: host.id,
    view,
    carries: hostClock === 'steady',
    loopsFor(preference, { loops, rate }) {
      if (hostClock === 'swift') {
        const preferring: Pick<LoopBuilder, 'build'> = {
          build: (apex, onEnd, building) => builder.build(apex, onEnd, { ...building, preference }),
        }
        const ownApex: OwnApex = (stream, port) => host.apex.accept(stream, port)
        const made = new LoopPool({
          builder: preferring,
          view,
          self: host.id,
          ownApex,
          members: () => 5,
          clock,
          rng: seededRng(`${seed} host`),
        })
        made.start()
        return { loops: made, close: () => made.close() }
      }
      const made = new StandingLoops({
        clockName: 'steady',
        holdMs: () => holdMs,
        rate: RATES.indexOf(rate),
        loops,
        leads,
        setUpWaitMs: () => waitMs,
        builder: {
          buildPaced(middle, onEnd, how) {
            asked.push({ at: clock.unixMs(), middle })
            return builder.buildPaced(middle, onEnd, { ...how, preference })
          },
        },
        view,
        self: host.id,
        ownApex: (stream, port) => host.apex.accept(stream, port),
        members: () => 5,
        settled: () => true,
        clock,
        rng: new KindRng(`${seed} standing ${standing.length}`),
      })
      standing.push(made)
      made.start()
      return { loops: made, close: () => made.close() }
    },
    healthy: () => hostClock === 'swift' || standing.some(({ figures }) => figures.running > 0),
    joinLocally: notThroughALoop,
    makeSession: makeSession('service'),
    emit: () => {},
    clock,
    rng: seededRng(`${seed} services`),
    log: silentLog,
  })
  await services.start()

  const connect = (index: number, loops: ServiceLoops, slower: number) => {
    const node = mesh.nodes[index]!
    const connector = new Connector({
      network: mesh.network,
      self: node.id,
      view,
      loops,
      ...(slower > 1 ? { slower, loopMs: () => loopMs } : {}),
      joinLocally: notThroughALoop,
      introduceLocally: notThroughALoop,
      records: {
        async find(key): Promise<FoundRecord> {
          const record = records.get(toHex(key))
          if (record === undefined) throw new OverlayError('not-found', 'RECORD_NOT_FOUND', 'No holder has a record.')
          const period = periodAt(key, clock.unixMs())
          return { record, blinded: (await blindAddress(key, mesh.network, period))!, period }
        },
      },
      makeSession: makeSession('client'),
      clock,
      rng: seededRng(`${seed} connector ${index}`),
    })
    connectors.push(connector)
    return connector
  }

  return {
    sim,
    services,
    book,
    standing,
    asked,
    writes,
    connector(index, rate = 128) {
      const node = mesh.nodes[index]!
      const rng = seededRng(`${seed} client ${index}`)
      const ownApex: OwnApex = (stream, port) => node.apex.accept(stream, port)
      const set = new LoopSet({
        standing: { rate: RATES.indexOf(rate === 'steady' ? 8 : rate), phases: [0, 1] },
        extra: rate === 'steady' ? { rates: [3, 4], loopsMax: 16, cellsMax: 1_000_000 } : null,
        ...(rate === 'steady' ? plan?.loops : undefined),
        ...leads,
        twinLeadEpochs: (at) => twinTime(5, holdMs, RATES[at]!).leadEpochs,
        rng: { standing: rng, extra: rng },
      })
      const pool = new PacedPool({
        clockName: rate === 'steady' ? 'steady' : 'fixed',
        holdMs: () => holdMs,
        set,
        builder: builderOf(index),
        view: { ...view, size: count },
        self: node.id,
        exchangeRate: rate === 'steady' ? 512 : 0,
        ownApex,
        rng: seededRng(`${seed} pool ${index}`),
        members: () => 5,
        setUpWaitMs: () => waitMs,
        clock,
      })
      pool.start()
      pools.push(pool)
      return { connector: connect(index, pool, 6), pool }
    },
    swiftConnector(index) {
      const node = mesh.nodes[index]!
      const ownApex: OwnApex = (stream, port) => node.apex.accept(stream, port)
      const rng = seededRng(`${seed} swift ${index}`)
      const pool = new LoopPool({ builder: builderOf(index), view, self: node.id, ownApex, members: () => 5, clock, rng })
      pool.start()
      pools.push(pool)
      return connect(index, pool, 1)
    },
    async close() {
      for (const connector of connectors) connector.close()
      await clock.runFor(services.close())
      for (const pool of pools) pool.close()
      await sim.close()
    },
  }
}

function notThroughALoop(): never {
  throw new Error('a node asked itself without a loop')
}
