/**
 * One run: a fresh network of node processes with taps in them, a capture beside them, the scenes in order; gives what both taps saw and what was
 * done when. Nothing of it is left behind: processes, folders and the capture end with it, however it ends.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { cpus, loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Testnet, type TestnetNode } from '../../client/testnet/index.ts'
import type { ClockName } from '../../src/config/index.ts'
import { isOverlayError } from '../../src/errors/index.ts'
import type { SeededRng } from '../support/seeded-rng.ts'
import { type Deeds, hostServices, openSessions, play, publish, rest, startTarget } from './actors.ts'
import { Capture } from './capture.ts'
import type { Control } from './controls/index.ts'
import { planHands, planHosts, planScenes, type Scene, type SceneKind, SIZES, type Size, WINDOW_MS, WORKLOADS } from './scenes.ts'
import { monotonicClock, readTap, type TapFact, TapKind, type TapRecords } from './tap-file.ts'
import type { Hands } from './tap-hands.ts'
import { CELL_RECORD_BYTES, FlowColumns, type WireTrace } from './wire-trace.ts'

const ENTRY = fileURLToPath(new URL('./tapped-main.ts', import.meta.url))
/** A busy machine takes a while to start sixteen nodes. */
const READY_ATTEMPTS = 4
/** Between the starts of nodes: all at once they are late for their first loops. */
const START_GAP_MS = 700
/** What fetchers choose from, by size. */
const LIBRARY: Readonly<Record<Size, number>> = { message: 3, page: 2, bulk: 1 }
const PLAIN_RECORD_BYTES = 2048
const RECORD_OVERHEAD_BYTES = CELL_RECORD_BYTES - PLAIN_RECORD_BYTES

export interface Played {
  readonly scene: Scene
  /** CLOCK_MONOTONIC, milliseconds. */
  readonly from: number
  readonly to: number
  readonly deeds: Deeds
}

/** What is known of one run. Nodes are indexes. */
export interface Observation {
  readonly run: number
  readonly clock: string
  readonly nodes: number
  readonly ids: readonly string[]
  /** Nodes that host a service, used or not. */
  readonly hosts: ReadonlySet<number>
  readonly played: readonly Played[]
  /** Nodes that delay or garble. */
  readonly handed: ReadonlySet<number>
  /** Each node's own records and facts. */
  readonly taps: readonly { readonly records: TapRecords; readonly facts: readonly TapFact[] }[]
  /** By the sockets inside, and by the capture outside if there was one. */
  readonly inside: WireTrace
  readonly outside: WireTrace | null
  /** Why there is no capture. */
  readonly blind: string | null
  /** Listen ports by node: who has it was dialled. */
  readonly ports: readonly number[]
  readonly readyMs: number
  /** Load of the machine at the end. */
  readonly load: number
  /** Part of the processors' time that nothing wanted while scenes were played, 0 to 1: where none was left it was the machine that was measured. */
  readonly spare: number
}

export interface RunOptions {
  readonly run: number
  readonly nodes: number
  readonly clock: string
  readonly scenes: readonly SceneKind[]
  /** Whether it is a run of the short kind (`Workload.shortFlags`). */
  readonly short: boolean
  /** What some of the nodes do with the circuits that they relay; `null`: all of them only look. */
  readonly hands: Hands | null
  /** A build that hides less, to see whether the lab sees it. */
  readonly control?: Control
  /** Of what is moved. Default: all. */
  readonly sizes?: readonly Size[]
  readonly rng: SeededRng
  readonly signal: AbortSignal
  readonly say: (text: string) => void
  /** Awaited before the records are read, which keeps this process busy: others that are played at the same time must be over. */
  readonly played?: () => Promise<void>
}

/** Plays and observes one run. Errors: those of the network; nothing is left then. */
export async function observe(options: RunOptions): Promise<Observation> {
  const { run, nodes: count, clock, scenes: kinds, rng, signal, say } = options
  const workload = WORKLOADS[clock] ?? WORKLOADS.steady!
  const folder = mkdtempSync(join(tmpdir(), 'gyre-adversary-'))
  const removeFolder = () => rmSync(folder, { recursive: true, force: true })
  process.on('exit', removeFolder)
  const handed = options.hands === null ? new Set<number>() : planHands(count, rng.fork('hands'))
  const env = {
    ADVERSARY_TAPS: folder,
    ADVERSARY_CONTROL: options.control ?? '',
    ADVERSARY_HANDS: options.hands === null ? '' : `${options.hands}:${[...handed].join(',')}`,
  }
  const now = monotonicClock()
  const lines: string[] = []
  let testnet: Testnet | null = null
  let capture: Capture | string = 'not started'
  const killCapture = () => (typeof capture === 'string' ? undefined : capture.killNow())
  process.on('exit', killCapture)
  const target = await startTarget()
  try {
    const began = now()
    const flags = options.short ? (workload.shortFlags ?? workload.flags) : workload.flags
    testnet = await startNetwork(count, { clock, flags, env }, signal, (index, line) => lines.push(`node ${index}: ${line}`))
    const nodes = testnet.nodes
    const hosts = planHosts(count, rng.fork('hosts'))
    const scenes = planScenes(kinds, hosts, count, rng.fork('scenes'), options.sizes)
    // Under a paced clock all of it waits for public times, also before there are loops; under another one there is something to wait for first.
    const paced = workload.carriage !== null
    const ready = untilReady(testnet, count)
    ready.catch(() => {}) // it is waited for below, as is what goes on meanwhile
    if (!paced) await ready
    const hosting = nodes.filter(({ index }) => hosts.has(index))
    const services = hostServices(hosting, { port: target.port, carriage: workload.carriage }, signal)
    const sessions = paced ? openSessions(scenes, nodes, services, signal) : null
    const published = publishLibrary(nodes, workload.bytes, rng.fork('library'), signal)
    published.catch(() => {})
    await ready
    const readyMs = now() - began
    const ports = nodes.map((node) => Number(/\/tcp\/(\d+)/.exec(node.listen[0] ?? '')?.[1]))
    capture = await Capture.start(ports)
    say(
      `run ${run}: ${count} nodes ready after ${(readyMs / 1000).toFixed(0)} s${typeof capture === 'string' ? `; ${capture}` : ''}`,
    )
    const tell = (what: string) => say(`run ${run}: ${what} after ${((now() - began) / 1000).toFixed(0)} s`)
    const [library] = await Promise.all([
      published.finally(() => tell('content published')),
      Promise.all(services.values()).finally(() => tell('services up')),
      sessions?.then(({ opened, of }) => tell(`${opened} of ${of} clients connected`)),
    ])
    const addresses = new Map(await Promise.all([...services].map(async ([node, up]) => [node, await up] as const)))
    await rest(workload.settleMs, signal)
    const stage = { nodes, services: addresses, library, workload }
    const played: Played[] = []
    const before = processorTimes()
    for (const [at, scene] of scenes.entries()) {
      signal.throwIfAborted()
      const from = now()
      const deeds = await play(scene, stage, WINDOW_MS, rng.fork(`scene ${at}`), signal)
      played.push({ scene, from, to: from + WINDOW_MS, deeds })
      const failed = deeds.failed.length === 0 ? '' : `, ${deeds.failed.length} failed (${deeds.failed[0]})`
      say(`run ${run}: ${scene.kind}, ${deeds.done.length} pieces of work, ${(deeds.bytes / 1e6).toFixed(1)} MB${failed}`)
      await rest(workload.pauseMs, signal)
    }
    const after = processorTimes()
    signal.throwIfAborted()
    ;(await sessions)?.end()
    // A second for the taps' buffers.
    await rest(1_200, signal)
    if (typeof capture !== 'string') await capture.stop()
    await testnet.close()
    await options.played?.()
    const taps = nodes.map((node) => readTap(join(folder, String(node.pid))))
    const inside = insideTrace(taps)
    const shift = now() - Date.now()
    return {
      run,
      clock,
      nodes: count,
      ids: nodes.map(({ id }) => id),
      hosts,
      handed,
      played,
      taps,
      inside,
      outside: typeof capture === 'string' ? null : outsideTrace(capture, ownersOf(taps), shift),
      blind: typeof capture === 'string' ? capture : null,
      ports,
      readyMs,
      load: loadavg()[0] ?? 0,
      spare: (after.idle - before.idle) / Math.max(1, after.all - before.all),
    }
  } catch (error) {
    if (lines.length > 0) say(`run ${run}: the nodes said:\n${lines.slice(-10).join('\n')}`)
    throw error
  } finally {
    if (typeof capture !== 'string') await capture.stop()
    await testnet?.close()
    await target.close()
    process.off('exit', killCapture)
    process.off('exit', removeFolder)
    removeFolder()
  }
}

/** Of all processors since the machine's start, milliseconds. */
function processorTimes(): { readonly idle: number; readonly all: number } {
  const times = cpus().map((processor) => processor.times)
  const idle = times.reduce((sum, each) => sum + each.idle, 0)
  return { idle, all: times.reduce((sum, each) => sum + each.user + each.nice + each.sys + each.idle + each.irq, 0) }
}

/** As `startTestnet`, a node after the other, and not waiting until they are ready. */
async function startNetwork(
  count: number,
  {
    clock,
    flags,
    env,
  }: { readonly clock: string; readonly flags: readonly string[]; readonly env: Readonly<Record<string, string>> },
  signal: AbortSignal,
  onLine: (index: number, line: string) => void,
): Promise<Testnet> {
  const root = await mkdtemp(join(tmpdir(), 'gyre-adversary-net-'))
  const options = { nodes: count, signal, clock: clock as ClockName, flags, env, entry: ENTRY, onLine }
  const testnet = new Testnet(`adversary-${root.slice(-6)}`, root, options)
  try {
    const first = await testnet.start(0, [])
    const others = Array.from({ length: count - 1 }, (_, at) => at + 1)
    await Promise.all(others.map((index) => rest(index * START_GAP_MS, signal).then(() => testnet.start(index, first.listen))))
    return testnet
  } catch (error) {
    await testnet.close()
    throw error
  }
}

/** As `Testnet.ready`, with more patience. */
async function untilReady(testnet: Testnet, count: number): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await testnet.ready(count)
    } catch (error) {
      if (attempt === READY_ATTEMPTS || !isOverlayError(error, 'TIMEOUT')) throw error
    }
  }
}

async function publishLibrary(
  nodes: readonly TestnetNode[],
  bytes: Readonly<Record<Size, number>>,
  rng: SeededRng,
  signal: AbortSignal,
): Promise<Record<Size, string[]>> {
  const library: Record<Size, string[]> = { message: [], page: [], bulk: [] }
  const items = SIZES.flatMap((size) => Array.from({ length: LIBRARY[size] }, () => size))
  // By one node, all at once: under a paced clock it publishes one work hardly sooner than several, and others' services need room on loops too.
  const librarian = nodes[rng.below(nodes.length)]!
  const published = items.map(async (size) => {
    library[size].push(await publish(librarian, rng.bytes(bytes[size]), signal))
  })
  await Promise.all(published)
  return library
}

/** Which node has which end of a connection, by `LOCAL-REMOTE` ports. */
function ownersOf(taps: Observation['taps']): Map<string, number> {
  const owners = new Map<string, number>()
  for (const [node, { records }] of taps.entries()) {
    let last = ''
    for (let row = 0; row < records.count; row++) {
      if (records.kind[row]! > TapKind.READ) continue
      const key = `${records.local[row]}-${records.remote[row]}`
      if (key !== last) owners.set(key, node)
      last = key
    }
  }
  return owners
}

/** What the sockets inside saw, as bytes on the wire: each record of TLS holds one cell. Writes only; reads are compared by the caller. */
export function insideTrace(taps: Observation['taps'], kind: number = TapKind.WRITE): WireTrace {
  const owners = ownersOf(taps)
  const columns = new Map<string, FlowColumns>()
  for (const { records } of taps) {
    for (let row = 0; row < records.count; row++) {
      if (records.kind[row] !== kind) continue
      const local = records.local[row]!
      const remote = records.remote[row]!
      const key = kind === TapKind.WRITE ? `${local}-${remote}` : `${remote}-${local}`
      let flow = columns.get(key)
      if (flow === undefined) {
        flow = new FlowColumns()
        columns.set(key, flow)
      }
      const plain = records.size[row]!
      flow.push(records.at[row]!, plain + RECORD_OVERHEAD_BYTES * Math.ceil(plain / PLAIN_RECORD_BYTES))
    }
  }
  const flows = [...columns].map(([ports, flow]) => ({ ...endsOf(ports, owners), ports, ...flow.done() }))
  return {
    flows: flows.filter(({ from, to }) => from >= 0 && to >= 0),
    recordSizes: new Map(),
    handshakeSizes: new Map(),
    missed: 0,
  }
}

function outsideTrace(capture: Capture, owners: ReadonlyMap<string, number>, shiftMs: number): WireTrace {
  const recordSizes = new Map<number, number>()
  const handshakeSizes = new Map<number, number>()
  let missed = capture.dropped
  const flows = [...capture.flows].map(([ports, { columns, tls }]) => {
    for (const [size, count] of tls.sizes) recordSizes.set(size, (recordSizes.get(size) ?? 0) + count)
    for (const [size, count] of tls.early) handshakeSizes.set(size, (handshakeSizes.get(size) ?? 0) + count)
    missed += tls.gaps
    return { ...endsOf(ports, owners), ports, ...columns.done(shiftMs) }
  })
  return { flows: flows.filter(({ from, to }) => from >= 0 && to >= 0), recordSizes, handshakeSizes, missed }
}

function endsOf(ports: string, owners: ReadonlyMap<string, number>): { from: number; to: number } {
  const [from, to] = ports.split('-')
  return { from: owners.get(`${from}-${to}`) ?? -1, to: owners.get(`${to}-${from}`) ?? -1 }
}
