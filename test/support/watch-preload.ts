/**
 * Loaded before a node's program (`--import`): on SIGUSR2 writes how long the node's event loop stood still since the last signal, to the file
 * that `WATCH_FILE` names with the process id added. Only `start`, the node itself.
 */
import { writeFileSync } from 'node:fs'
import { systemClock } from '../../src/runtime/index.ts'

/** One standstill, ms: by the clock, and of that the processor time of the node's own thread. */
export interface Standstill {
  readonly wallMs: number
  readonly cpuMs: number
}

const EVERY_MS = 2
/** What a timer may be late by itself. */
const LEAST_MS = 4
const MOST = 1_000

if (process.argv.includes('start')) {
  const cpuMs = () => {
    const { user, system } = process.threadCpuUsage()
    return (user + system) / 1_000
  }
  let stood: Standstill[] = []
  let last = { wallMs: systemClock.monotonicMs(), cpuMs: cpuMs() }
  setInterval(() => {
    const now = { wallMs: systemClock.monotonicMs(), cpuMs: cpuMs() }
    const wallMs = now.wallMs - last.wallMs
    if (wallMs >= LEAST_MS && stood.length < MOST) stood.push({ wallMs, cpuMs: now.cpuMs - last.cpuMs })
    last = now
  }, EVERY_MS).unref()
  process.on('SIGUSR2', () => {
    writeFileSync(`${process.env.WATCH_FILE}-${process.pid}.json`, JSON.stringify(stood))
    stood = []
  })
}
