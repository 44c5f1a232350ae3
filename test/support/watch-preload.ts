/**
 * Loaded before a node's program (`--import`): on SIGUSR2 writes how long the node's event loop, and that of its links' thread, stood still since the
 * last signal, to the files that `WATCH_FILE` names with the process id added, and `-links`. Only `start`, the node itself.
 */
import { writeFileSync } from 'node:fs'
import { PerformanceObserver } from 'node:perf_hooks'
import { isMainThread } from 'node:worker_threads'

/** One standstill, ms: by the clock; of that the processor time of the node's own thread, and the collector's pauses. */
export interface Standstill {
  readonly wallMs: number
  readonly cpuMs: number
  readonly collectorMs: number
}

interface Span {
  readonly from: number
  readonly to: number
}

const EVERY_MS = 2
/** What a timer may be late by itself. */
const LEAST_MS = 4
const MOST = 1_000

/** From the node's thread to that of its links. */
const signals = new BroadcastChannel('watch')
signals.unref()

if (!isMainThread || process.argv.includes('start')) {
  const cpuMs = () => {
    const { user, system } = process.threadCpuUsage()
    return (user + system) / 1_000
  }
  let stood: (Span & { readonly cpuMs: number })[] = []
  let pauses: Span[] = []
  new PerformanceObserver((list) => {
    for (const { startTime, duration } of list.getEntries()) {
      if (pauses.length < 10 * MOST) pauses.push({ from: startTime, to: startTime + duration })
    }
  }).observe({ entryTypes: ['gc'] })
  let last = { at: performance.now(), cpuMs: cpuMs() }
  setInterval(() => {
    const now = { at: performance.now(), cpuMs: cpuMs() }
    if (now.at - last.at >= LEAST_MS && stood.length < MOST)
      stood.push({ from: last.at, to: now.at, cpuMs: now.cpuMs - last.cpuMs })
    last = now
  }, EVERY_MS).unref()
  const file = `${process.env.WATCH_FILE}-${process.pid}${isMainThread ? '' : '-links'}.json`
  const write = () => {
    const within = ({ from, to }: Span) =>
      pauses.reduce((sum, pause) => sum + Math.max(0, Math.min(to, pause.to) - Math.max(from, pause.from)), 0)
    const found = stood.map((each): Standstill => ({ wallMs: each.to - each.from, cpuMs: each.cpuMs, collectorMs: within(each) }))
    writeFileSync(file, JSON.stringify(found))
    stood = []
    pauses = []
  }
  signals.onmessage = write
  if (isMainThread) {
    process.on('SIGUSR2', () => {
      signals.postMessage(null)
      write()
    })
  }
}
