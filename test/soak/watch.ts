/** Looks at the processes of a soak: what each says of itself (`probe.ts`), and what the kernel says of it. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import type { TestnetNode } from '../../client/testnet/index.ts'
import { systemClock } from '../../src/runtime/index.ts'
import type { Sample } from './judge.ts'
import { PROBE_MARK, type Probe } from './probe.ts'

/** A process that is killed meanwhile never answers. */
const ANSWER_MS = 5_000
/** Clock ticks a second in /proc (sysconf(_SC_CLK_TCK) on every Linux of today). */
const TICKS = 100

export class Watch {
  readonly samples: Sample[] = []
  readonly #asked = new Map<number, (said: Probe) => void>()
  readonly #beganMs: number
  readonly #cpu = new Map<number, number>()

  constructor(beganMs: number) {
    this.#beganMs = beganMs
  }

  /** Processor time of all processes that were ever looked at, in seconds. */
  get cpuSeconds(): number {
    return [...this.#cpu.values()].reduce((sum, seconds) => sum + seconds, 0)
  }

  /** A line of a node's standard error; `true`: it was an answer to us. */
  onLine(line: string): boolean {
    if (!line.startsWith(PROBE_MARK)) return false
    const said = JSON.parse(line.slice(PROBE_MARK.length)) as Probe
    this.#asked.get(said.pid)?.(said)
    return true
  }

  /** Looks at one process. Does nothing if it ends meanwhile. */
  async look({ index, pid }: TestnetNode, signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<Probe | null>()
    const timer = systemClock.setTimer(ANSWER_MS, () => resolve(null))
    this.#asked.set(pid, resolve)
    try {
      process.kill(pid, 'SIGUSR2')
      const said = await promise
      if (said === null || signal.aborted) return
      this.#note(index, said)
    } catch {
      // It has just been killed.
    } finally {
      timer.cancel()
      this.#asked.delete(pid)
    }
  }

  #note(node: number, said: Probe): void {
    const { pid, heapBytes, externalBytes, rssBytes, lagP99Ms, lagMaxMs, timers } = said
    const open = readdirSync(`/proc/${pid}/fd`)
    this.#cpu.set(pid, cpuOf(pid))
    this.samples.push({
      ...{ atMs: systemClock.monotonicMs() - this.#beganMs, node, pid },
      ...{ heapBytes, liveBytes: heapBytes + externalBytes, rssBytes, lagP99Ms, lagMaxMs },
      ...{ handles: open.length, sockets: open.filter((fd) => isSocket(pid, fd)).length, timers },
    })
  }
}

function isSocket(pid: number, fd: string): boolean {
  try {
    return readlinkSync(`/proc/${pid}/fd/${fd}`).startsWith('socket:')
  } catch {
    return false // closed since the folder was read
  }
}

function cpuOf(pid: number): number {
  const [user = '0', system = '0'] = readFileSync(`/proc/${pid}/stat`, 'latin1')
    .replace(/^.*\) /s, '')
    .split(' ')
    .slice(11, 13)
  return (Number(user) + Number(system)) / TICKS
}
