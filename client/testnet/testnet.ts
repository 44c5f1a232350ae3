/**
 * A network of real node processes on loopback, for the quick start, the demo, end-to-end tests and measurements. Ports are chosen by the
 * system (each node listens on port 0 and says where), so that no two networks meet; folders are temporary and removed at the end.
 * Stages: node 0 → when it listens, all others at once, with it as bootstrap → each has the whole directory and a ready loop.
 */

import { rmSync } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { toHex } from '../../src/bytes/index.ts'
import type { ClockName, LogLevel } from '../../src/config/index.ts'
import { DEFAULT_CLOCK, parseHostPort } from '../../src/config/index.ts'
import { OverlayError } from '../../src/errors/index.ts'
import { systemClock, systemRng } from '../../src/runtime/index.ts'
import { TOKEN_FILE } from '../api/token.ts'
import { getJson, type NodeAt } from '../cli/api-client.ts'
import type { Listening } from '../cli/start.ts'
import type { NodeStatus } from '../library.ts'
import { NodeProcess } from './child.ts'

/** One node, as the command prints it. */
export interface TestnetNode {
  readonly index: number
  /** 64 hex characters. */
  readonly id: string
  readonly pid: number
  /** `http://127.0.0.1:PORT`. */
  readonly api: string
  readonly proxy: string
  /** `127.0.0.1:PORT`. */
  readonly socks: string
  readonly token: string
  readonly dataDir: string
  /** Multiaddrs with /p2p. */
  readonly listen: readonly string[]
}

export interface TestnetOptions {
  readonly nodes: number
  readonly signal: AbortSignal
  readonly clock?: ClockName
  readonly logLevel?: LogLevel
  /** Further flags of `gyre start` for every node. */
  readonly flags?: readonly string[]
  /** Added to the environment of every node. */
  readonly env?: Readonly<Record<string, string>>
  /** Stands for `client/cli/main.ts` in tests of this file. */
  readonly entry?: string
  /** Each line that a node writes to standard error. */
  readonly onLine?: (index: number, line: string) => void
  /** A node that ended without having been told to. */
  readonly onDeath?: (index: number, how: string) => void
}

// Implementation constants.
/** A network that is not ready by then never will be; with a paced clock loops begin at public times. */
const READY_MS = 60_000
const PACED_READY_MS = 240_000
const POLL_MS = 100
/** Fewer nodes cannot build a loop: such a network is ready when everybody knows everybody. */
const NODES_FOR_LOOPS = 4

const ENTRY = fileURLToPath(new URL('../cli/main.ts', import.meta.url))

interface Slot {
  process: NodeProcess
  node: TestnetNode
}

/** A running network. `close()` leaves neither process nor folder. */
export class Testnet {
  readonly network: string
  readonly root: string
  readonly #options: TestnetOptions
  readonly #slots = new Map<number, Slot>()
  readonly #processes = new Set<NodeProcess>()
  readonly #onExit = () => {
    // The parent ends without `close()`: a fault, or `process.exit`. Nothing is left then either.
    for (const child of this.#processes) child.killNow()
    rmSync(this.root, { recursive: true, force: true })
  }

  constructor(network: string, root: string, options: TestnetOptions) {
    this.network = network
    this.root = root
    this.#options = options
    process.on('exit', this.#onExit)
  }

  /** Running and stopped nodes, by index. */
  get nodes(): readonly TestnetNode[] {
    return [...this.#slots.values()].map((slot) => slot.node).sort((a, b) => a.index - b.index)
  }

  node(index: number): TestnetNode {
    const slot = this.#slots.get(index)
    if (slot === undefined) throw new OverlayError('bug', 'INTERNAL', `The test network has no node ${index}.`)
    return slot.node
  }

  /** Starts node `index`, or starts it again in its folder. It dials `bootstrap`, a running node, if there is one. */
  async start(index: number, bootstrap: readonly string[]): Promise<TestnetNode> {
    const { clock = DEFAULT_CLOCK, logLevel = 'warn', flags = [], env = {}, entry = ENTRY, onLine, onDeath } = this.#options
    const dataDir = join(this.root, `node-${index}`)
    // Again where it was, so that the others' knowledge of it holds.
    const listen = this.#slots.get(index)?.node.listen[0]?.replace(/\/p2p\/.*$/, '') ?? '/ip4/127.0.0.1/tcp/0'
    const child = new NodeProcess({
      clock: systemClock,
      entry,
      flags: [
        ...['--data-dir', dataDir, '--network', this.network, '--listen', listen, '--clock', clock, '--log-level', logLevel],
        ...['--api', '127.0.0.1:0', '--proxy', '127.0.0.1:0', '--socks', '127.0.0.1:0'],
        ...bootstrap.flatMap((address) => ['--bootstrap', address]),
        ...flags,
      ],
      // What node 0 compiled, the others need not: a third of a node's start is reading its own code.
      env: { ...cleanEnvironment(), NODE_COMPILE_CACHE: join(this.root, 'code'), ...env },
      onLine: (line) => onLine?.(index, line),
      onDeath: (how) => onDeath?.(index, how),
    })
    this.#processes.add(child)
    const listening: Listening = await untilAborted(child.listening, this.#options.signal)
    const { id, pid, api, proxy, socks, listen: addresses } = listening
    const token = (await readFile(join(dataDir, TOKEN_FILE), 'utf8')).trim()
    const node = Object.freeze({ index, id, pid, api, proxy, socks, token, dataDir, listen: addresses })
    this.#slots.set(index, { process: child, node })
    return node
  }

  /** Stops one node; the others go on. `hard`: with SIGKILL. Its folder stays until `close()`. */
  async stop(index: number, hard = false): Promise<void> {
    const slot = this.#slots.get(index)
    if (slot === undefined) return
    await (hard ? slot.process.kill() : slot.process.stop())
    this.#processes.delete(slot.process)
  }

  /** Waits until each running node knows `known` nodes (itself too) and has a ready loop. Errors: `TIMEOUT`, `NODE_UNREACHABLE`. */
  async ready(known: number): Promise<void> {
    const deadline = systemClock.deadline(this.#readyMs, this.#options.signal)
    try {
      const running = [...this.#slots.values()].filter((slot) => slot.process.alive)
      await Promise.all(running.map((slot) => this.#readyNode(slot, known, deadline.signal)))
    } finally {
      deadline.clear()
    }
  }

  get #readyMs(): number {
    return (this.#options.clock ?? DEFAULT_CLOCK) === 'swift' ? READY_MS : PACED_READY_MS
  }

  async #readyNode({ process: child, node }: Slot, known: number, signal: AbortSignal): Promise<void> {
    const at = apiOf(node)
    let last = 'it does not answer'
    for (;;) {
      if (!child.alive)
        throw new OverlayError('unreachable', 'NODE_UNREACHABLE', `Node ${node.index} ended before the network was ready.`)
      try {
        const status = await getJson<NodeStatus>(at, '/v1/status', signal)
        last = `it knows ${status.nodesKnown} of ${known} nodes and has ${status.loopsReady} ready loops`
        if (status.nodesKnown >= known && (status.loopsReady > 0 || known < NODES_FOR_LOOPS)) return
        await systemClock.sleep(POLL_MS, { signal })
      } catch (error) {
        if (!signal.aborted) throw error
        if (this.#options.signal.aborted) throw this.#options.signal.reason
        throw new OverlayError(
          'timeout',
          'TIMEOUT',
          `Node ${node.index} was not ready after ${this.#readyMs / 1000} s: ${last}.`,
          error,
        )
      }
    }
  }

  /** Stops every node and removes the folders. Idempotent. */
  async close(): Promise<void> {
    await Promise.all([...this.#processes].map((child) => child.stop()))
    this.#processes.clear()
    await rm(this.root, { recursive: true, force: true, maxRetries: 5 })
    process.off('exit', this.#onExit)
  }
}

/** How `api-client.ts` calls a node of a test network. */
export function apiOf(node: TestnetNode): NodeAt {
  return { at: parseHostPort(node.api.slice('http://'.length)), token: node.token, dataDir: node.dataDir }
}

/** Starts a network and waits until it is ready. Errors: `TIMEOUT`, `NODE_UNREACHABLE`, the signal's reason; nothing is left then. */
export async function startTestnet(options: TestnetOptions): Promise<Testnet> {
  options.signal.throwIfAborted()
  const root = await mkdtemp(join(tmpdir(), 'gyre-testnet-'))
  const testnet = new Testnet(`testnet-${toHex(systemRng.bytes(8))}`, root, options)
  try {
    const first = await testnet.start(0, [])
    const others = Array.from({ length: options.nodes - 1 }, (_, at) => testnet.start(at + 1, first.listen))
    await Promise.all(others)
    await testnet.ready(options.nodes)
    return testnet
  } catch (error) {
    await testnet.close()
    throw error
  }
}

/** This process's environment without settings meant for a node of the user's own. */
function cleanEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('GYRE_')))
}

function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted()
  const { promise: aborted, reject } = Promise.withResolvers<never>()
  const onAbort = () => reject(signal.reason)
  signal.addEventListener('abort', onAbort, { once: true })
  return Promise.race([promise, aborted]).finally(() => signal.removeEventListener('abort', onAbort))
}
