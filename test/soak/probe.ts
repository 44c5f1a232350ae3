/**
 * Inside each node of a soak (`node --import`): on SIGUSR2 it collects all garbage and writes one line of what the process holds to standard error.
 * Live memory is what is left after a full collection; without that, a heap's size says more of when V8 last cleaned than of what is kept.
 * SOAK_SNAPSHOTS names a folder for heap snapshots, for whoever looks for the cause of growth: one of each process, each time that the folder's
 * file `now` has another content.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { writeHeapSnapshot } from 'node:v8'

/** What begins the line. */
export const PROBE_MARK = 'SOAK '
const RESOLUTION_MS = 20
const MS_IN_NS = 1e6

/** A node's own view of itself. */
export interface Probe {
  readonly pid: number
  /** After a full collection: V8's heap, and what is bound to it outside (buffers). */
  readonly heapBytes: number
  readonly externalBytes: number
  readonly rssBytes: number
  /** Delay of the event loop since the last probe, the collections that probes make not counted. */
  readonly lagP99Ms: number
  readonly lagMaxMs: number
  /** Timers that are set, and neither over nor taken back. */
  readonly timers: number
}

const lag = monitorEventLoopDelay({ resolution: RESOLUTION_MS })
const folder = process.env.SOAK_SNAPSHOTS
const snapshots = { last: '' }
const timers = new Set<NodeJS.Timeout>()

/** Timers that do not keep a process alive are told by nobody else. */
function countTimers(): void {
  const { setTimeout: set, clearTimeout: clear } = globalThis
  const counted = (fire: (...given: unknown[]) => void, ms?: number, ...given: unknown[]) => {
    const fired = () => {
      timers.delete(timer)
      fire(...given)
    }
    const timer = set(fired, ms)
    timers.add(timer)
    return timer
  }
  globalThis.setTimeout = Object.assign(counted, set) as typeof set
  globalThis.clearTimeout = (timer) => {
    if (typeof timer === 'object') timers.delete(timer as NodeJS.Timeout)
    clear(timer)
  }
}

/** The delay is measured from timer to timer, of which `RESOLUTION_MS` is no delay. */
const delayMs = (ns: number) => Math.max(0, Math.round(ns / MS_IN_NS - RESOLUTION_MS))

function probe(): void {
  const [lagP99Ms, lagMaxMs] = [delayMs(lag.percentile(99)), delayMs(lag.max)]
  globalThis.gc?.()
  const { heapUsed, external, rss } = process.memoryUsage()
  const said: Probe = {
    ...{ pid: process.pid, heapBytes: heapUsed, externalBytes: external, rssBytes: rss },
    ...{ lagP99Ms: Number.isFinite(lagP99Ms) ? lagP99Ms : 0, lagMaxMs, timers: timers.size },
  }
  process.stderr.write(`${PROBE_MARK}${JSON.stringify(said)}\n`)
  snapshot()
  // In a later turn, so that the pause just made is not counted.
  setTimeout(() => lag.reset(), 2 * RESOLUTION_MS).unref()
}

function snapshot(): void {
  if (folder === undefined) return
  let now = ''
  try {
    now = readFileSync(join(folder, 'now'), 'utf8').trim()
  } catch {
    return
  }
  if (now === snapshots.last) return
  snapshots.last = now
  writeHeapSnapshot(join(folder, `${process.pid}-${now}.heapsnapshot`))
}

// The command that reads this file for its types is no node.
if (process.argv.includes('--supervised')) {
  countTimers()
  lag.enable()
  process.on('SIGUSR2', probe)
}
