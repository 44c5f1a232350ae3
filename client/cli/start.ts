/**
 * `gyre start`: one node with its faces, from configuration to orderly end.
 * Stages: lock → token → bootstrap addresses → node → API → proxies → files that say where it is → run → stop in the reverse order.
 *
 * A stop (SIGINT, SIGTERM, SIGHUP; with --supervised also the end of standard input) is graceful for `STOP_MS` and then final. A fault
 * that nobody caught ends the process at once: a node in an unknown state must not go on speaking for its user.
 */
import { rmSync } from 'node:fs'
import { flushCompileCache } from 'node:module'
import { join } from 'node:path'
import { type Config, formatApiAt, formatHostPort, resolveBootstrap } from '../../src/config/index.ts'
import { writeAtomically } from '../../src/directory/index.ts'
import type { Logger } from '../../src/log/index.ts'
import { systemClock, systemRng } from '../../src/runtime/index.ts'
import { startApi } from '../api/index.ts'
import { finishRestore } from '../backup/staged.ts'
import { holdDataDir, openApiToken } from '../identity.ts'
import type { NodeFace } from '../library.ts'
import { startProxy, startSocks } from '../proxy/index.ts'
import { proxyPac } from '../proxy/pac.ts'
import { stayAlive } from './alive.ts'
import { RUN_FILE } from './api-client.ts'
import { EXIT } from './output.ts'

/** A node without faces, as the composition root makes it. */
export interface RunningNode {
  readonly face: NodeFace
  /** Multiaddrs with /p2p at which it can be dialled. */
  readonly addresses: readonly string[]
  close(): Promise<void>
}

export type StartNode = (config: Config, log: Logger) => Promise<RunningNode>

/** What `--supervised` prints as one line of JSON when the node listens. */
export interface Listening {
  readonly id: string
  readonly pid: number
  readonly api: string
  readonly proxy: string
  /** `HOST:PORT`. */
  readonly socks: string
  readonly listen: readonly string[]
  readonly dataDir: string
}

// Implementation constants.
/** A stop may take so long; then the process ends as it is. */
export const STOP_MS = 5_000
/** How often a node that has just started is asked whether it has joined, and after how long without it its user is told. */
const READY_POLL_MS = 250
const NOT_READY_MS = 20_000
/** The same where loops begin at public times, after the directory has settled. */
const PACED_NOT_READY_MS = 90_000
/** Signals this close together are one wish: a terminal and a parent process both send them. */
const SAME_SIGNAL_MS = 1_000

/** Runs a node until it is told to stop; resolves to the exit code. Errors: those of the stages, with everything closed again. */
export async function runNode(config: Config, log: Logger, startNode: StartNode, supervised: boolean): Promise<number> {
  failClosed(log)
  const release = stayAlive()
  try {
    return await live(config, log, startNode, supervised)
  } finally {
    release()
  }
}

async function live(config: Config, log: Logger, startNode: StartNode, supervised: boolean): Promise<number> {
  const stop = stopSignal(supervised)
  const closers: (() => Promise<void> | void)[] = []
  try {
    const held = await holdDataDir(config.dataDir, { clock: systemClock, rng: systemRng, signal: stop })
    closers.push(() => held.release())
    await finishRestore(config.dataDir)
    const token = await openApiToken(config.dataDir, systemRng)
    const resolved = await resolveBootstrap(config, { clock: systemClock, signal: stop })
    const node = await startNode(resolved, log)
    closers.push(() => node.close())
    const parts = { face: node.face, clock: systemClock }
    let pac: string | null = null
    const api = await startApi({
      ...parts,
      log: log.child('api'),
      at: config.api,
      token,
      rng: systemRng,
      dataDir: config.dataDir,
      openMetrics: config.metrics === 'open',
      pac: () => pac,
    })
    closers.push(() => api.close())
    const proxy = await startProxy({ ...parts, log: log.child('proxy'), at: config.proxy })
    closers.push(() => proxy.close())
    pac = proxyPac(proxy.at)
    const socks = await startSocks({ clock: systemClock, log: log.child('socks'), at: config.socks, gate: proxy.gate })
    closers.push(() => socks.close())
    const listening: Listening = {
      id: node.face.status().id,
      pid: process.pid,
      api: 'path' in api.at ? formatApiAt(api.at) : `http://${formatHostPort(api.at)}`,
      proxy: `http://${formatHostPort(proxy.at)}`,
      socks: formatHostPort(socks.at),
      listen: node.addresses,
      dataDir: config.dataDir,
    }
    await writeAtomically(config.addressFile, [node.addresses.map((address) => `${address}\n`).join('')], 0o644)
    await writeAtomically(join(config.dataDir, RUN_FILE), [`${JSON.stringify(listening)}\n`])
    closers.push(() => rmSync(join(config.dataDir, RUN_FILE), { force: true }))
    warnOfOthers(config, log)
    announce(listening, log, supervised)
    const watch = tellReady(node.face, resolved, log, stop)
    closers.push(() => watch.cancel())
    await aborted(stop)
  } catch (error) {
    await closeAll(closers)
    if (stop.aborted) return EXIT.done
    throw error
  }
  const end = await closeAll(closers)
  log.info('stopped')
  if (end === 'late') log.warn('the stop took too long and was cut short', { ms: STOP_MS })
  if (end === 'faulty') log.warn('the stop could not write all that it should. Check the disk and its free space.')
  return end === 'clean' ? EXIT.done : EXIT.fault
}

/** A face that others than this machine's user can reach is a decision to be made knowingly: HTTP is in clear, and the proxy asks nobody. */
function warnOfOthers({ api, proxy, socks }: Config, log: Logger): void {
  for (const [reason, face] of Object.entries({ api, proxy, socks })) {
    if ('path' in face || /^(?:127\.|localhost$|::1$)/.test(face.host)) continue
    log.warn(
      'a face listens beyond loopback: the API then sends its token in clear, and the proxies serve whoever reaches them',
      {
        reason,
      },
    )
  }
}

function announce(listening: Listening, log: Logger, supervised: boolean): void {
  // Only if the parent set one up (NODE_COMPILE_CACHE), for the nodes that it starts next.
  if (supervised) flushCompileCache()
  if (supervised) process.stdout.write(`${JSON.stringify(listening)}\n`)
  log.info('listening', listening.api.startsWith('unix:') ? {} : { port: Number(new URL(listening.api).port) })
  if (!process.stderr.isTTY) return
  const where = `API ${listening.api}, HTTP proxy ${listening.proxy}, SOCKS5 ${listening.socks}, data in ${listening.dataDir}`
  process.stderr.write(`Gyre runs: ${where}.\nCtrl-C stops it.\n`)
}

/** Says when the node has joined its network, and once, after a while, that it has not and why: a wrong bootstrap address looks like nothing else. */
function tellReady(face: NodeFace, { clock }: Config, log: Logger, stop: AbortSignal): { cancel(): void } {
  const terminal = process.stderr.isTTY === true
  const patienceMs = clock === 'swift' ? NOT_READY_MS : PACED_NOT_READY_MS
  const began = systemClock.monotonicMs()
  let told = false
  let timer = systemClock.setTimer(READY_POLL_MS, look)
  function look(): void {
    const ms = Math.round(systemClock.monotonicMs() - began)
    const { nodesKnown, neighbours, warnings } = face.status()
    if (face.ready()) {
      log.info('ready', { ms, count: nodesKnown })
      if (terminal) process.stderr.write(`Ready: ${nodesKnown} nodes known, ${neighbours} neighbours.\n`)
      return
    }
    if (!told && ms >= patienceMs) {
      told = true
      log.warn('not ready: no neighbours or no loop yet; `gyre status` says why', { ms, count: nodesKnown })
      if (terminal) process.stderr.write(`Not ready yet. ${warnings.join(' ')}\n`)
    }
    if (!stop.aborted) timer = systemClock.setTimer(READY_POLL_MS, look)
  }
  return { cancel: () => timer.cancel() }
}

/** Closes in reverse order. `late`: `STOP_MS` were not enough; `faulty`: something failed to close. */
async function closeAll(closers: readonly (() => Promise<void> | void)[]): Promise<'clean' | 'late' | 'faulty'> {
  const { promise, resolve } = Promise.withResolvers<'clean' | 'late' | 'faulty'>()
  const timer = systemClock.setTimer(STOP_MS, () => resolve('late'))
  const all = async () => {
    let clean = true
    for (const close of [...closers].reverse()) {
      try {
        await close()
      } catch {
        clean = false // the others are closed all the same
      }
    }
    return clean ? 'clean' : 'faulty'
  }
  all().then(resolve, () => resolve('faulty'))
  const end = await promise
  timer.cancel()
  return end
}

/** Aborts when the process is told to stop. A second, later signal ends it at once. */
function stopSignal(supervised: boolean): AbortSignal {
  const controller = new AbortController()
  let first = 0
  const stop = () => {
    const now = systemClock.monotonicMs()
    if (controller.signal.aborted && now - first > SAME_SIGNAL_MS) process.exit(EXIT.fault)
    if (controller.signal.aborted) return
    first = now
    controller.abort(new Error('stopping'))
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, stop)
  if (supervised) {
    // The parent holds the other end: it ends with the parent, however that died.
    process.stdin.on('end', stop).on('error', stop).resume()
    process.stdout.on('error', stop)
  }
  return controller.signal
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve()
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
}

/** Ends the process on a fault that nobody caught. */
function failClosed(log: Logger): void {
  const fail = (error: unknown) => {
    log.error('a fault of the program; the node stops', { error })
    process.exit(EXIT.fault)
  }
  process.on('uncaughtException', fail)
  process.on('unhandledRejection', fail)
}
