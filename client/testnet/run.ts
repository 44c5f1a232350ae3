/**
 * `gyre testnet --nodes N`: a network in the foreground. Standard output gets one line of JSON when it is ready and nothing else; nodes'
 * warnings and deaths go to standard error. SIGINT or SIGTERM stops every node, removes the folders and ends with 0.
 */
import type { ClockName, LogLevel } from '../../src/config/index.ts'
import { type Clock, systemClock } from '../../src/runtime/index.ts'
import { stayAlive } from '../cli/alive.ts'
import { Interrupted, print } from '../cli/output.ts'
import { startTestnet, type Testnet } from './testnet.ts'

export interface RunOptions {
  readonly nodes: number
  readonly clock: ClockName
  readonly logLevel: LogLevel
  /** Further flags of `gyre start` for every node. */
  readonly flags?: readonly string[]
}

const PARENT_POLL_MS = 500

/** Runs until `interrupted` aborts. Errors: those of `startTestnet`. */
export async function runTestnet({ nodes, clock, logLevel, flags = [] }: RunOptions, interrupted: AbortSignal): Promise<void> {
  const signal = AbortSignal.any([interrupted, npmGone(systemClock)])
  let testnet: Testnet | null = null
  try {
    testnet = await startTestnet({
      nodes,
      clock,
      logLevel,
      flags,
      signal,
      onLine: (index, line) => process.stderr.write(`node ${index}: ${line}\n`),
      onDeath: (index, how) => process.stderr.write(`gyre: node ${index} ended by itself (${how}); the others go on\n`),
    })
    if (nodes < 4) process.stderr.write(`gyre: ${nodes} nodes cannot build a loop; 4 can, and 6 make full ones\n`)
    await print(`${JSON.stringify({ network: testnet.network, nodes: testnet.nodes })}\n`)
    await untilAborted(signal)
  } catch (error) {
    if (!(error instanceof Interrupted)) throw error
  } finally {
    await testnet?.close()
  }
}

/** Waits for the signal. Its timer keeps the process alive, which no node's pipe does once all of them ended. */
async function untilAborted(signal: AbortSignal): Promise<void> {
  const release = stayAlive()
  try {
    if (!signal.aborted) await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
  } finally {
    release()
  }
}

/** Aborts when npm started this process and is gone (`kill -9` of it sends us no signal). */
function npmGone(clock: Clock): AbortSignal {
  const controller = new AbortController()
  const parent = process.ppid
  const watch = () => {
    if (process.ppid !== parent) controller.abort(new Interrupted('SIGTERM'))
    else clock.setTimer(PARENT_POLL_MS, watch)
  }
  if (process.env.npm_lifecycle_event !== undefined) watch()
  return controller.signal
}
