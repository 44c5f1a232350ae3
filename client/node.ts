/**
 * The composition root: one node from its configuration, without faces. The only importer of `relay/index.ts`. It decides nothing; it makes
 * the parts, hands them to each other, starts them in order and closes them in reverse. Long because it is the one place that knows all parts.
 *
 *   identity → directory → links → switch ← neighbours;  store → apex → switch;  builder → pool → sessions → publish, fetch
 */
import { join } from 'node:path'
import { Admission, Apex, LINK_THREAD, type LinesParts, Switch, ThreadLines } from '../relay/index.ts'
import { Introductions } from '../relay/introduction/index.ts'
import { openRecordHolder, RECORDS_MAX, recordService } from '../relay/record/index.ts'
import { Rendezvous } from '../relay/rendezvous/index.ts'
import { openStore, PutEffort, type ShareStore, storeService } from '../relay/store/index.ts'
import type { NodeId } from '../src/bytes/index.ts'
import { OnionKeyRing } from '../src/circuit/onion-keys.ts'
import { RATE_LADDER, tickMsFor } from '../src/circuit/setup/index.ts'
import type { ClockName, Config } from '../src/config/index.ts'
import { canonicalAddress, formatKeyAddress, requireAddress } from '../src/content/address.ts'
import type { ShareNetwork } from '../src/content/network.ts'
import { openCellCipher } from '../src/crypto/index.ts'
import { DESCRIPTOR_WORK_BITS, Directory, networkIdOf } from '../src/directory/index.ts'
import { OverlayError } from '../src/errors/index.ts'
import type { Link, LinkCloseReason, LinkHost } from '../src/link/index.ts'
import type { Libp2pHostOptions } from '../src/link/libp2p/index.ts'
import { ThreadHost } from '../src/link/thread/index.ts'
import type { Logger } from '../src/log/index.ts'
import { laterTurn, systemClock, systemRng, type Timer } from '../src/runtime/index.ts'
import { Session, SLOW_PATIENCE } from '../src/service/index.ts'
import {
  ClockedLoops,
  ClockedSessions,
  capacityClassOf,
  clockWarnings,
  controlSlotsOf,
  drawsOf,
  isolationUnder,
  leadsOf,
  likelyReach,
  lineCellsPerSecond,
  loopMsOf,
  type PacedPlan,
  pacedPlanOf,
  scheduledBytesPerHour,
} from './clocks.ts'
import { openFile } from './fetch.ts'
import { HandOver } from './handover/index.ts'
import { Healer, type Loss } from './heal/index.ts'
import { openIdentity } from './identity.ts'
import { type CareParts, careForRecords, Keeper, openKeepBook, receiptOf } from './keeps/index.ts'
import { openKeyBook } from './keys/index.ts'
import type { Asking, LoopStatus, NodeEvent, NodeFace, NodeStatus, PacedStatus } from './library.ts'
import { LoopBuilder } from './loops/builder.ts'
import type { Loop } from './loops/loop.ts'
import { LoopSet } from './loops/loop-set.ts'
import type { OwnApex } from './loops/own-hop.ts'
import { PacedPool, type PacedPoolDeps } from './loops/paced-pool.ts'
import { LoopPool } from './loops/pool.ts'
import { StandingLoops } from './loops/standing.ts'
import { openNameBook } from './names/index.ts'
import { Neighbours } from './neighbours/index.ts'
import { OpenFiles, workName } from './open-files.ts'
import { drawLoop, type LoopPreference, loopPlan } from './paths.ts'
import { publishFile } from './publish.ts'
import { openRecords } from './records/index.ts'
import { Connector, LiveServices, type MakeSession } from './service/index.ts'
import { PACED_PATIENCE, type ShareSession, ShareSessions } from './shares.ts'
import { Resolver, SitePublisher } from './sites/index.ts'
import { Traces } from './trace/index.ts'
import { VERSION } from './version.ts'

/** How often onion keys are looked at; they change every 6 hours. */
const KEY_TICK_MS = 60_000
/** Loops that go by time are there after seconds, not at once, and slower by half a second a round. */
const PACED_SLOWER = 6
/** A session waits for its next exchange as long as so many loops take, one after the other: to an introduction point, to where it meets, and once more. */
const RESUME_LOOPS = 3
/** Said of what waits while no loop runs. */
const UNKNOWN_WAIT_SECONDS = 3_600
/** To the next multiple of this, circuits that are relayed are told. */
const CIRCUITS_STEP = 16

export interface RunningNode {
  readonly face: NodeFace
  /** Multiaddrs with /p2p at which it can be dialled. */
  readonly addresses: readonly string[]
  /** For benchmarks and tests. */
  readonly pool: LoopPool
  readonly builder: LoopBuilder
  readonly directory: Directory
  /** Idempotent: afterwards no socket, timer or file of the node is open. */
  close(): Promise<void>
}

/** Starts a node. Errors: `CONFIG_BAD`, `IDENTITY_DAMAGED`, `STORE_UNUSABLE`, `LINK_LISTEN`; what was started is closed again. */
export async function startNode(config: Config, log: Logger): Promise<RunningNode> {
  const closers: (() => Promise<void> | void)[] = []
  const close = async () => {
    const faults: unknown[] = []
    for (const closer of closers.splice(0).reverse()) {
      try {
        await closer()
      } catch (error) {
        faults.push(error) // the others are closed all the same
      }
    }
    if (faults.length > 0) throw faults[0]
  }
  try {
    return await compose(config, log, closers, close)
  } catch (error) {
    await close().catch(() => {}) // why it did not start says more
    throw error
  }
}

async function compose(
  config: Config,
  log: Logger,
  closers: (() => Promise<void> | void)[],
  close: () => Promise<void>,
): Promise<RunningNode> {
  const clock = systemClock
  const rng = systemRng
  const startedMs = clock.monotonicMs()
  const identity = await openIdentity(config.dataDir, rng)
  const self = identity.id
  const network = networkIdOf(config.network)
  const cipher = await openCellCipher()
  log.info('cell cipher', { cipher: cipher.implementation })
  const directory = new Directory({ rules: { network, workBits: DESCRIPTOR_WORK_BITS }, clock, self })

  const store = await openStore({
    dir: join(config.dataDir, 'store'),
    quotaBytes: config.storeQuotaBytes,
    clock,
    log: log.child('store'),
  })
  closers.push(() => store.close())
  const recordHolder = await openRecordHolder({ dir: join(config.dataDir, 'records'), clock, log: log.child('records') })
  closers.push(() => recordHolder.close())
  const effort = new PutEffort({
    clock,
    bytes: { taken: () => store.stats().bytes, most: store.quotaBytes },
    records: { taken: () => recordHolder.stats().records, most: RECORDS_MAX },
    onChange: () => neighbours.republish(),
  })
  effort.start()
  closers.push(() => effort.close())
  const service = storeService(store, { clock, work: { self, effort } })
  const records = recordService(recordHolder, undefined, { self, effort, clock })

  const names = await openNameBook({ dataDir: config.dataDir, clock, log: log.child('names') })

  const onionKeys = new OnionKeyRing({ clock, rng })
  closers.push(() => onionKeys.close())
  const admission = new Admission({ network, self, onionKeys, clock })
  const introductions = new Introductions({ clock, rng })
  closers.push(() => introductions.close())
  const memory = { hold: (bytes: number) => apex.hold(bytes), release: (bytes: number) => apex.release(bytes) }
  const rendezvous = new Rendezvous({ clock, memory })
  closers.push(() => rendezvous.close())
  const services = { store: service, record: records, introduction: introductions.service }
  const apex = new Apex({ services, rendezvous, clock })
  // The switch tells the neighbours of control cells, the neighbours tell the switch of links: each needs the other.
  const control = {
    onControlCell: (link: Link, body: Uint8Array) => neighbours.onControlCell(link, body),
    onLinkClosed: (link: Link, reason: LinkCloseReason) => neighbours.onLinkClosed(link, reason),
  }
  const paced = pacedPlanOf(config)
  const slots = paced && controlSlotsOf(paced)
  // Whatever its own clock: it relays paced loops of others.
  const tickMs = tickMsFor(config.holdMs ?? 0)
  const linkLog = log.child('link')
  const linking = {
    signingSeed: identity.seed,
    listen: config.listen,
    clock,
    log: { debug: (_: object, text: string) => linkLog.debug(text), error: (_: object, text: string) => linkLog.error(text) },
  }
  // Where this node's own work must not show in when its links send, they have a thread of their own.
  const threaded = paced && new ThreadHost({ ...linking, id: self, program: LINK_THREAD, pollMs: tickMs / 2, other: { tickMs } })
  const host = threaded ?? (await hostHere(linking))
  closers.push(() => host.close())
  const lines = threaded && ((parts: LinesParts) => new ThreadLines(threaded, parts))
  const pacing = { control: slots, nodeCellsPerSecond: lineCellsPerSecond(config.bandwidth), tickMs, ...(lines && { lines }) }
  const relay = new Switch({ cipher, clock, rng, apex, admission, control, pacing })
  const neighbours = new Neighbours({
    host,
    directory,
    plane: relay,
    identity,
    claims: {
      onion: () => onionKeys.published,
      storeQuotaBytes: config.storeQuotaBytes,
      capacityClass: capacityClassOf(config.bandwidth),
      putEffort: () => effort.published,
    },
    bootstrap: config.bootstrap,
    dataDir: config.dataDir,
    limits: { choose: config.neighbours, accept: config.acceptNeighbours },
    control: slots,
    clock,
    rng,
    log: log.child('neighbours'),
  })

  const draw = (wanted: NodeId | undefined, avoid: ReadonlySet<NodeId>, preference?: LoopPreference) => {
    const plan = loopPlan(directory.size)
    if (plan === null) return null
    const links = { neighbours: neighbours.all(), chosen: neighbours.chosen() }
    const target = { ...(wanted === undefined ? {} : { apex: wanted }), ...(preference === undefined ? {} : { preference }) }
    return drawLoop({ view: directory, self, ...links, members: plan.members, avoid, rng, ...target })
  }
  const builder = new LoopBuilder({ network, self, onionKeys, view: directory, draw, port: relay, cipher, clock, rng })
  const isSuspect = (node: NodeId) => builder.isSuspect(node)
  const members = () => loopPlan(directory.size)?.members ?? 0
  const ownApex: OwnApex = (stream, port) => apex.accept(stream, port)
  const pool = new LoopPool({ builder, isSuspect, view: directory, self, ownApex, members, clock, rng })
  /** Besides `pool`: one for each service that is hosted. */
  const servicePools = new Set<LoopPool>()
  const standingLoops = new Set<StandingLoops>()
  const openFiles = new OpenFiles(clock)
  const sharing = { self, view: directory, local: service, localRecords: records, clock }
  const swiftSessions = new ShareSessions({ ...sharing, pool })
  const pacedPool = paced && makePacedPool(paced, { builder, view: directory, self, ownApex, members, clock, rng })
  const loops = pacedPool === null ? pool : new ClockedLoops(pacedPool, pool)
  const sessions =
    pacedPool === null ? swiftSessions : new ClockedSessions(new ShareSessions({ ...sharing, pool: pacedPool }), swiftSessions)

  relay.start()
  closers.push(() => relay.close())
  closers.push(() => neighbours.close())
  await neighbours.start() // also starts the host, with its own handler for inbound links
  if (pacedPool === null) pool.start()
  else pacedPool.start()
  closers.push(() => pool.close())
  closers.push(() => pacedPool?.close())
  closers.push(() => sessions.close())
  closers.push(() => openFiles.close())
  const healer = new Healer({ fresh: () => sessions.fresh(), clock, rng })
  closers.push(() => healer.close())
  const handOver = new HandOver({ self, store, view: directory, fresh: () => sessions.fresh(), clock, rng })
  handOver.start()
  closers.push(() => handOver.close())
  const keyBook = await openKeyBook(config.dataDir, rng)
  const keyRecords = await openRecords({
    dataDir: config.dataDir,
    book: keyBook,
    secret: identity.seed,
    networkId: network,
    self,
    view: directory,
    sessions,
    patience: pacedPool === null ? undefined : PACED_PATIENCE,
    clock,
    rng,
    log: log.child('records'),
  })
  closers.push(() => keyRecords.close())
  const listeners = new Set<(event: NodeEvent) => void>()
  /** What the other end's clock may be, if this node's is swift. */
  const slowPlan = paced ?? pacedPlanOf({ ...config, clock: 'steady' })!
  const sessionOf =
    (role: 'client' | 'service'): MakeSession =>
    (ticket, events, slow = false) => {
      if (!slow && paced === null) return new Session({ role, ticket, clock, events })
      const resumeMs = RESUME_LOOPS * loopMsOf(slowPlan, members())
      return new Session({ role, ticket, clock, events, patience: SLOW_PATIENCE, resumeMs })
    }
  const liveServices = new LiveServices({
    book: keyBook,
    records: keyRecords.publisher,
    network,
    self,
    view: directory,
    loopsFor(preference, { loops: count, rate }) {
      const preferring: Pick<LoopBuilder, 'build' | 'buildPaced'> = {
        build: (apex, onEnd, building) => builder.build(apex, onEnd, { ...building, preference }),
        buildPaced: (apex, onEnd, building) => builder.buildPaced(apex, onEnd, { ...building, preference }),
      }
      if (paced !== null) {
        const standing = new StandingLoops({
          clockName: paced.clock,
          holdMs: () => paced.holdMs(members()),
          rate: (RATE_LADDER as readonly number[]).indexOf(rate),
          loops: count,
          leads: leadsOf(paced, members),
          setUpWaitMs: () => paced.setUpTime(members()).waitMs,
          builder: preferring,
          view: directory,
          self,
          ownApex,
          members,
          settled: () => pacedPool?.settled === true,
          clock,
          rng,
        })
        standingLoops.add(standing)
        standing.start()
        const close = () => {
          standingLoops.delete(standing)
          standing.close()
        }
        return { loops: standing, close }
      }
      const own = new LoopPool({ builder: preferring, isSuspect, view: directory, self, ownApex, members, clock, rng })
      servicePools.add(own)
      own.start()
      const close = () => {
        servicePools.delete(own)
        own.close()
      }
      return { loops: own, close }
    },
    healthy: () => (pacedPool ?? pool).ready > 0,
    carries: paced !== null,
    joinLocally: (cookie, end) => rendezvous.joinLocally(cookie, end),
    makeSession: sessionOf('service'),
    emit: (event) => {
      for (const listener of listeners) listener(event)
    },
    clock,
    rng,
    log: log.child('service'),
  })
  const connector = new Connector({
    network,
    self,
    view: directory,
    loops,
    ...(paced === null ? {} : { slower: PACED_SLOWER, loopMs: () => loopMsOf(paced, members()) }),
    joinLocally: (cookie, end) => rendezvous.joinLocally(cookie, end),
    introduceLocally: (request, waiting) => introductions.askLocally(request, waiting),
    records: keyRecords.finder,
    makeSession: sessionOf('client'),
    clock,
    rng,
  })
  closers.push(() => connector.close())
  closers.push(() => liveServices.close())
  await liveServices.start()
  const keyTimer = tickKeys(onionKeys, () => neighbours.republish())
  closers.push(() => keyTimer.cancel())

  const pacedStatus = (plan: PacedPlan, own: PacedPool): PacedStatus => {
    const { backlog, noiseCells } = own
    const rate = [...standingLoops].reduce((sum, each) => sum + each.cellsPerSecond, own.rate)
    const running = [own, ...standingLoops].flatMap((each) => each.open()).map(({ loop }) => loop.rate)
    return {
      cover: config.cover,
      holdMs: plan.holdMs(members()),
      loops: running.length,
      topRate: Math.max(0, ...running),
      cellsPerSecond: rate,
      bytesPerHour: scheduledBytesPerHour(rate, plan, neighbours.all().length),
      hiddenAmong: directory.size,
      waiting: backlog.asks,
      waitSeconds: Number.isFinite(backlog.seconds) ? Math.ceil(backlog.seconds) : UNKNOWN_WAIT_SECONDS,
      noiseCells,
      swiftLoops: pool.open().length,
    }
  }
  const status = (): NodeStatus => {
    const { shares, bytes } = store.stats()
    return {
      id: self,
      version: VERSION,
      network: config.network,
      nodesKnown: directory.size,
      neighbours: neighbours.all().length,
      loopsReady: (pacedPool ?? pool).ready,
      clock: config.clock,
      ...(paced === null || pacedPool === null ? {} : { paced: pacedStatus(paced, pacedPool) }),
      sharesHeld: shares,
      storeBytes: bytes,
      storeQuotaBytes: config.storeQuotaBytes,
      cipher: cipher.implementation,
      uptimeSeconds: Math.floor((clock.monotonicMs() - startedMs) / 1000),
      circuitsRelayed: Math.ceil(relay.relayed / CIRCUITS_STEP) * CIRCUITS_STEP,
      warnings: [
        ...troublesOf(neighbours, store),
        ...warningsOf(directory.size, neighbours.all().length, host.addresses.length),
        ...clockWarnings(config.clock, directory.size, pacedPool, pool.open().length),
      ],
    }
  }
  const traces = new Traces({ clock, rng })
  const sites = new SitePublisher({
    publish: (body, options) => face.publish(body, options),
    keys: keyBook,
    records: keyRecords.publisher,
    finder: keyRecords.finder,
    clock,
    rng,
    log: log.child('sites'),
    onVersion: (key) => {
      resolver.changed(key)
      void keepOwn(formatKeyAddress(key))
    },
  })
  await sites.start()
  const care: CareParts = { fresh: () => sessions.fresh(), clock, rng }
  const keeper = new Keeper({
    book: await openKeepBook({ dataDir: config.dataDir, log: log.child('keeps') }),
    care,
    finder: keyRecords.finder,
    ownSites: () =>
      keyBook.list().flatMap(({ name, address }) => {
        const { site } = keyRecords.publisher.parts(name)
        return site === null ? [] : [{ address, snapshot: site.snapshot }]
      }),
    careForRecords: (key, how) => careForRecords(key, { ...care, fresh: () => sessions.fresh(), networkId: network }, how),
    clock,
    rng,
    log: log.child('keeps'),
    emit: (event) => {
      for (const listener of listeners) listener(event)
    },
  })
  closers.push(() => keeper.close())
  await keeper.start()
  /** What was published is there, also if it cannot be noted that it is to be kept. */
  const keepOwn = (address: string): Promise<boolean> =>
    keeper.own(address).catch((error: unknown) => {
      log.warn('what was published cannot be noted as kept: it expires in 30 days', { error })
      return false
    })
  /** Work with a clock of its own has an isolation name that says so, and from there on is as any other. */
  const isolated = ({ loopClock: wanted, ...waiting }: Asking): Asking => ({
    ...waiting,
    isolation: isolationUnder(config.clock, wanted, waiting.isolation),
  })
  /** Work of this node's user begins in a turn of its own: a link's tick must not wait for it, or that it began shows on the wire. */
  const apart = pacedPool === null ? () => Promise.resolve() : () => laterTurn(clock)
  const face: NodeFace = {
    sites,
    services: liveServices,
    names,
    keeps: keeper,
    async receipt(text, { signal }) {
      const s = await keeper.fileOf(canonicalAddress(requireAddress(text)), signal)
      if (s !== null) return receiptOf(s, care, signal)
      throw new OverlayError('not-found', 'CONTENT_NOT_FOUND', 'This key has no site: there is nothing stored to ask for.')
    },
    trace: () => traces.begin(),
    traceReport: (id) => traces.report(id),
    onEvent: (listener) => {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
    async resolve(address, waiting) {
      await apart()
      return resolver.resolve(address, isolated(waiting))
    },
    async publish(body, options) {
      await apart()
      const isolation = isolationUnder(config.clock, options.loopClock)
      const session = sessions.fresh(isolation)
      try {
        const fresh = () => sessions.fresh(isolation)
        const publication = await publishFile(session, body, options, { rng, clock, fresh })
        return { ...publication, kept: options.keep === true && (await keepOwn(publication.address)) }
      } finally {
        session.close()
      }
    },
    async open(text, asked) {
      await apart()
      const waiting = isolated(asked)
      const address = text.toLowerCase()
      const name = workName(address, waiting.isolation)
      const network = readingNetwork(() => sessions.named(name, waiting.isolation), directory, self)
      const parts = { rng, clock, heal: (loss: Loss) => healer.add(loss) }
      return openFiles.get(name, () => openFile(network, address, parts, waiting), waiting.trace)
    },
    status,
    peers: () => neighbours.peers(),
    loops: () => [
      ...[...(pacedPool?.open() ?? []), ...[...standingLoops].flatMap((each) => each.open())].map(({ loop, taken }) =>
        loopStatus(loop, config.clock, taken),
      ),
      ...[pool, ...servicePools].flatMap((each) => each.open()).map(({ loop, taken }) => loopStatus(loop, 'swift', taken)),
    ],
    ready: () => neighbours.all().length > 0 && (pacedPool === null ? pool.open().length : pacedPool.ready) > 0,
  }
  const resolver = new Resolver({
    open: (address, waiting) => face.open(address, waiting),
    finder: keyRecords.finder,
    live({ key, found }) {
      if (found.record.service === null) return null
      const { ports, connect } = connector.service(key, found.record.service.ports)
      const connectApart = async (port: number, asking: Asking) => {
        await apart()
        return connect(port, isolated(asking))
      }
      return { ports, connect: connectApart }
    },
    clock,
  })
  closers.push(() => resolver.close())
  return { face, addresses: host.addresses, pool, builder, directory, close }
}

/** Links in this thread. Their library is loaded where it is used: it takes 35 MB. */
async function hostHere(options: Libp2pHostOptions): Promise<LinkHost> {
  const { createLibp2pHost } = await import('../src/link/libp2p/index.ts')
  return createLibp2pHost(options)
}

function loopStatus({ number, hops }: Loop, clock: ClockName, taken: boolean): LoopStatus {
  return { id: number, members: hops.length, clock, state: taken ? 'busy' : 'ready' }
}

type MadeDeps = Omit<PacedPoolDeps, 'clockName' | 'holdMs' | 'exchangeRate' | 'set' | 'setUpWaitMs'>

function makePacedPool(plan: PacedPlan, deps: MadeDeps): PacedPool {
  const { clock: clockName, holdMs, exchangeRate } = plan
  const reach = (wanted: number) => likelyReach(wanted, deps.members(), deps.view.size - 1)
  const set = new LoopSet({ ...plan.loops, ...leadsOf(plan, deps.members), reach, rng: drawsOf(deps.rng) })
  const setUpWaitMs = (members: number) => plan.setUpTime(members).waitMs
  return new PacedPool({ ...deps, clockName, holdMs: () => holdMs(deps.members()), exchangeRate, set, setUpWaitMs })
}

/** The network as one user's readers of one address see it (`workName`): a session of its own, made anew when it closed itself. */
function readingNetwork(session: () => ShareSession, directory: Directory, self: NodeId): ShareNetwork {
  return {
    self,
    patience: session().patience,
    ready: (node, bytes, waiting) => session().ready(node, bytes, waiting),
    near: (node) => session().near(node),
    holders: () => directory.all().map(({ id }) => id),
    putShare: (node, share, work) => session().putShare(node, share, work),
    getShare: (node, location, work) => session().getShare(node, location, work),
    putSlot: (node, slot, work) => session().putSlot(node, slot, work),
    getSlots: (node, location, work) => session().getSlots(node, location, work),
    checkShare: (node, check, work) => session().checkShare(node, check, work),
    checkSlot: (node, check, work) => session().checkSlot(node, check, work),
  }
}

function tickKeys(onionKeys: OnionKeyRing, onChange: () => void): Timer {
  let timer: Timer
  const tick = () => {
    if (onionKeys.tick()) onChange()
    timer = systemClock.setTimer(KEY_TICK_MS, tick)
  }
  timer = systemClock.setTimer(KEY_TICK_MS, tick)
  return { cancel: () => timer.cancel() }
}

/** What is wrong with this machine, in plain words. */
function troublesOf(
  { clockSuspect, clockJumped }: Pick<Neighbours, 'clockSuspect' | 'clockJumped'>,
  { refusesWrites }: Pick<ShareStore, 'refusesWrites'>,
): string[] {
  const troubles: string[] = []
  if (clockSuspect)
    troubles.push(
      'The date of this machine is wrong: other nodes refuse what it makes, and it refuses theirs. Set its clock right.',
    )
  else if (clockJumped)
    troubles.push('The date of this machine was set a short while ago, or it slept. If the date is wrong now, set it right.')
  if (refusesWrites)
    troubles.push(
      'The disk refuses to write: nothing new is stored for others. Free space, or check the disk and its permissions.',
    )
  return troubles
}

/** Plain words for people. */
function warningsOf(nodes: number, neighbours: number, addresses: number): string[] {
  const warnings: string[] = []
  const plan = loopPlan(nodes)
  if (plan === null) warnings.push(`Nodes known: ${nodes}. No loop can be built with fewer than 4.`)
  else if (plan.short) warnings.push(`Only ${nodes} nodes are known: loops are shorter than they should be, and hide less.`)
  else if (nodes < 20) warnings.push('Under 20 nodes nothing is claimed against members of the network.')
  if (neighbours === 0) warnings.push('This node has no neighbours. Check the bootstrap addresses and the network name.')
  if (addresses === 0) warnings.push('This node accepts no links; it relays over those that it opened.')
  return warnings
}
