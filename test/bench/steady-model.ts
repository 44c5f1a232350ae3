/**
 * The same questions as `steady.ts` on a fake clock, so that neither this machine's speed nor what else it does shows: the cell plane of each node,
 * loops, pools, publishing and reading are real, wires take 5 ms and no time for bytes, stores are maps whose answers travel as pings of the
 * same size, there is no directory or gossip, and links are old. Each node has a pool. `node test/bench/steady-model.ts [--nodes 8] [--runs 5] [--standing 1
 * --control 2500]`; without the last two, each cover.
 */
import { parseArgs } from 'node:util'
import { leadsOf, likelyReach, type PacedPlan, pacedPlanOf, scheduledBytesPerHour } from '../../client/clocks.ts'
import { openFile } from '../../client/fetch.ts'
import { LoopBuilder } from '../../client/loops/builder.ts'
import type { Lease } from '../../client/loops/lease.ts'
import { LoopSet, PHASES } from '../../client/loops/loop-set.ts'
import { PacedPool } from '../../client/loops/paced-pool.ts'
import { setUpTime } from '../../client/loops/set-up-time.ts'
import { publishFile } from '../../client/publish.ts'
import { PACED_PATIENCE } from '../../client/shares.ts'
import type { NodeId } from '../../src/bytes/index.ts'
import { RATE_LADDER } from '../../src/circuit/setup/index.ts'
import { COVERS, defaultConfig } from '../../src/config/index.ts'
import type { AskTiming, ShareNetwork } from '../../src/content/network.ts'
import type { Descriptor, DirectoryView } from '../../src/directory/index.ts'
import { type Clock, shuffled } from '../../src/runtime/index.ts'
import { encodeHopRequest } from '../../src/wire/index.ts'
import { startFakeMesh } from '../support/fake-mesh.ts'
import { collect, FakeShareNetwork, never, stillClock, streamOf } from '../support/fake-share-network.ts'
import { seededRng } from '../support/seeded-rng.ts'

const PAGE_BYTES = 300 * 1024
const FILE_BYTES = 1024 * 1024
const SHARE_BYTES = 65_536
const FEW_BYTES = 500
const IDLE_MS = 20_000
const MEMBERS = 5
const WIRE_BYTES_PER_CELL_BYTE = 2070 / 2048

interface Found {
  readonly readyS: number
  readonly idleMbitps: number
  /** At several nodes that have asked for nothing before, one after the other. */
  readonly pagesS: readonly number[]
  readonly againS: number
  readonly publishS: number
  readonly fetchS: number
}

async function run(seed: string, nodes: number, plan: PacedPlan): Promise<Found> {
  let written = 0
  const onWrite = (_from: NodeId, _to: NodeId, bytes: number) => {
    written += bytes
  }
  const wires = { shape: () => ({ delayMs: 5 }), onWrite }
  const sim = await startFakeMesh(seed, { count: nodes, pacing: { control: { everyMs: plan.controlMs } }, ...wires })
  const { mesh, clock } = sim
  const rng = seededRng(`${seed} model`)
  const ids = mesh.nodes.map(({ id }) => id)
  const descriptors = new Map<NodeId, Descriptor>()
  for (const { id, onionKeys } of mesh.nodes) {
    const rest = { addresses: [], capacityClass: 0, storeQuotaBytes: 0, publishedMs: clock.unixMs(), neighbours: [], family: [] }
    descriptors.set(id, { id, onion: onionKeys.published, ...rest })
  }
  const view: DirectoryView = {
    size: nodes,
    version: 1,
    get: (id) => descriptors.get(id),
    all: () => [...descriptors.values()],
    linked: (id) => ids.filter((other) => other !== id),
  }
  await clock.advance(rng.unit() * 5_000)
  const pools = mesh.nodes.map((node) => {
    const others = ids.filter((id) => id !== node.id)
    const draw = (apex: NodeId | undefined) => {
      const middle = apex ?? others[rng.below(others.length)]!
      const rest = others.filter((id) => id !== middle)
      const around = shuffled(rest, rng).slice(0, MEMBERS - 1)
      const apexIndex = 1 + rng.below(around.length - 1)
      return { hops: [...around.slice(0, apexIndex), middle, ...around.slice(apexIndex)], apexIndex }
    }
    const { network, cipher } = mesh
    const { id: self, onionKeys, relay: port } = node
    const builder = new LoopBuilder({ network, self, onionKeys, view, draw, port, cipher, clock, rng })
    const members = () => MEMBERS
    const reach = (wanted: number) => likelyReach(wanted, MEMBERS, nodes - 1)
    const set = new LoopSet({ ...plan.loops, ...leadsOf(plan, members), reach, rng: { standing: rng, extra: rng } })
    const setUpWaitMs = (count: number) => plan.setUpTime(count).waitMs
    const pool = new PacedPool({
      ...{ clockName: plan.clock, holdMs: () => plan.holdMs(MEMBERS), set, builder, view, self, members, setUpWaitMs, clock },
      exchangeRate: plan.exchangeRate,
      ownApex: (stream, at) => node.apex.accept(stream, at),
      rng,
    })
    pool.start()
    return pool
  })
  const seconds = async (work: () => Promise<unknown>) => {
    const began = clock.monotonicMs()
    await clock.runFor(work(), 900_000)
    return (clock.monotonicMs() - began) / 1000
  }
  const began = clock.monotonicMs()
  await clock.runUntil(() => pools.every(({ ready }) => ready > 0), 600_000)
  const readyS = (clock.monotonicMs() - began) / 1000
  await clock.runUntil(() => pools.every(({ ready }) => ready >= plan.loops.standing.phases.length), 600_000)
  written = 0
  await clock.advance(IDLE_MS)
  const idleMbitps = (written * WIRE_BYTES_PER_CELL_BYTE * 8 * 1000) / IDLE_MS / nodes / 1e6

  const holders = new FakeShareNetwork(nodes, seed)
  for (const [at, node] of holders.nodes.entries()) Object.assign(node, { id: ids[at]! })
  const over = (index: number) => overLoops(pools[index]!, holders, ids[index]!, clock)
  const publisher = { rng, clock: stillClock }
  const page = await publishFile(holders, streamOf(rng.bytes(PAGE_BYTES + SHARE_BYTES)), { signal: never }, publisher)
  const read = async (index: number, address: string, from: number) => {
    const file = await openFile(over(index), address, { rng, clock }, { signal: never })
    // A page comes as the proxy reads it: the index of its site first, then the file.
    if (from > 0) await collect(file.read({ start: 0, end: from }, { signal: never }))
    await collect(file.read({ start: from, end: file.bytes }, { signal: never }))
  }
  const browse = async (index: number) => {
    pools[index]!.expect('')
    const record = over(index)
    const others = ids.filter((id) => id !== ids[index])
    const three = shuffled(others, rng).sort((a, b) => Number(record.near(b)) - Number(record.near(a)))
    await Promise.all(three.slice(0, 3).map((node) => record.ask(node, 100, 4096)))
    await read(index, page.address, SHARE_BYTES)
  }
  const pagesS: number[] = []
  for (const index of [0, 3, 4, 5, 6]) {
    pagesS.push(await seconds(() => browse(index)))
    await clock.advance(rng.unit() * 2_000)
  }
  const againS = await seconds(() => browse(6))
  let address = ''
  const publishS = await seconds(async () => {
    const { network } = over(1)
    ;({ address } = await publishFile(network, streamOf(rng.bytes(FILE_BYTES)), { signal: never }, { rng, clock }))
  })
  pools[2]!.expect('')
  const fetchS = await seconds(() => read(2, address, 0))
  for (const pool of pools) pool.close()
  return { readyS, idleMbitps, pagesS, againS, publishS, fetchS }
}

type OverLoops = ShareNetwork & {
  near(node: NodeId): boolean
  ask(node: NodeId, out: number, home: number): Promise<void>
  readonly network: ShareNetwork
}

/** `holders` as a node with this pool has them: what goes and comes are pings of as many bytes over its loops. */
function overLoops(pool: PacedPool, holders: FakeShareNetwork, self: NodeId, clock: Clock): OverLoops {
  const places = new Map<NodeId, { readonly place: Lease; readonly bytes: number }[]>()
  const ready: NonNullable<AskTiming['ready']> = async (node, bytes, { signal }) => {
    if (node === self) return
    const place = await pool.take(node, { signal, bytes })
    const taken = { place, bytes }
    places.set(node, [...(places.get(node) ?? []), taken])
    // As a session does.
    clock.setTimer(1_000, () => {
      const kept = places.get(node)
      if (kept?.includes(taken) !== true) return
      kept.splice(kept.indexOf(taken), 1)
      pool.release(place)
    })
  }
  const near = (node: NodeId) => node === self || pool.near(node, '')
  const ask = async (node: NodeId, out: number, home: number) => {
    if (node === self) return
    const bytes = Math.max(out, home)
    const kept = places.get(node) ?? []
    const fitting = kept.findIndex((one) => one.bytes * 2 >= bytes)
    const place = fitting < 0 ? await pool.take(node, { signal: never, bytes }) : kept.splice(fitting, 1)[0]!.place
    try {
      for (let left = 4; ; left--) {
        try {
          await place.ask(encodeHopRequest({ kind: 'ping', filler: new Uint8Array(out), answerBytes: home }), { signal: never })
          break
        } catch (error) {
          if (left === 0) throw error
        }
      }
    } finally {
      pool.release(place)
    }
  }
  const network: ShareNetwork = {
    self,
    patience: PACED_PATIENCE,
    ready,
    near,
    holders: () => holders.holders(),
    async putShare(node, share, work) {
      await ask(node, share.length, FEW_BYTES)
      await holders.putShare(node, share, work)
    },
    async getShare(node, address, work) {
      const share = await holders.getShare(node, address, work)
      await ask(node, FEW_BYTES, share === null ? FEW_BYTES : SHARE_BYTES)
      return share
    },
    async putSlot(node, slot, work) {
      await ask(node, slot.value.length, FEW_BYTES)
      await holders.putSlot(node, slot, work)
    },
    async getSlots(node, location, work) {
      const slots = await holders.getSlots(node, location, work)
      await ask(
        node,
        FEW_BYTES,
        slots.reduce((sum, { value }) => sum + value.length, FEW_BYTES),
      )
      return slots
    },
    async checkShare(node, check, work) {
      await ask(node, FEW_BYTES, FEW_BYTES)
      return await holders.checkShare(node, check, work)
    },
    async checkSlot(node, check, work) {
      await ask(node, FEW_BYTES, FEW_BYTES)
      return await holders.checkSlot(node, check, work)
    },
  }
  return { ...network, near, ask, network }
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!
}

const { values } = parseArgs({
  options: { nodes: { type: 'string' }, runs: { type: 'string' }, standing: { type: 'string' }, control: { type: 'string' } },
})
const nodes = Number(values.nodes ?? 8)
const runs = Number(values.runs ?? 5)
const plans = COVERS.map(
  (cover) => [cover as string, pacedPlanOf(defaultConfig({ dataDir: '/', clock: 'steady', cover }))!] as const,
)
const custom = (plan: PacedPlan, standing: number, controlMs: number): PacedPlan => ({
  ...plan,
  controlMs,
  setUpTime: (members) => setUpTime(members, controlMs),
  loops: { ...plan.loops, standing: { rate: 0, phases: Array.from({ length: standing }, (_, at) => at % PHASES) } },
})
const asked =
  values.standing === undefined || values.control === undefined
    ? plans
    : [
        [
          `${values.standing} standing, bursts each ${values.control} ms`,
          custom(plans[1]![1], Number(values.standing), Number(values.control)),
        ] as const,
      ]
for (const [name, plan] of asked) {
  const found: Found[] = []
  for (let at = 0; at < runs; at++) found.push(await run(`model ${at}`, nodes, plan))
  const of = (figure: Exclude<keyof Found, 'pagesS'>) => median(found.map((one) => one[figure])).toFixed(1)
  const pages = found.flatMap(({ pagesS }) => pagesS)
  const loops = plan.loops.standing.phases.length
  const eight = (scheduledBytesPerHour(6 * loops * RATE_LADDER[plan.loops.standing.rate]!, plan, 8) * 8) / 3600 / 1e6
  console.log(
    `${name}: idle ${median(found.map(({ idleMbitps }) => idleMbitps)).toFixed(2)} Mbit/s (with eight links ${eight.toFixed(2)}), ready ${of('readyS')} s, ` +
      `page ${median(pages).toFixed(1)} s (${Math.min(...pages).toFixed(1)} to ${Math.max(...pages).toFixed(1)}), again ${of('againS')}, publish 1 MiB ${of('publishS')}, fetch it ${of('fetchS')}`,
  )
}
