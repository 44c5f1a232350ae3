/**
 * The tap outside the nodes: tcpdump on the loopback interface, for the ports that the network listens at. It needs the program and the right to
 * use it (root, or CAP_NET_RAW); where it cannot be had the lab says so and goes by the socket tap alone. Segments are read as they come and
 * only times and sizes are kept.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { getPriority, setPriority } from 'node:os'
import { createInterface } from 'node:readline'
import { PcapReader, TlsFlow } from './pcap.ts'
import { CELL_RECORD_BYTES, FlowColumns } from './wire-trace.ts'

const START_MS = 5_000
/** Kernel buffer, KiB: what comes while this process is busy. */
const BUFFER_KIB = 65_536
/** Nice values by which captures, and this process which reads them, go before the nodes: a capture that waits for its turn loses packets. */
const AHEAD = 5

export interface CapturedFlow {
  readonly from: number
  readonly to: number
  readonly columns: FlowColumns
  readonly tls: TlsFlow
}

export class Capture {
  /** By `FROM-TO` ports. Times are Unix milliseconds; bytes are TCP payload. */
  readonly flows = new Map<string, CapturedFlow>()
  /** Packets that the kernel dropped for want of room; known after `stop`. */
  dropped = 0
  #child: ChildProcess | null = null
  #ended: Promise<unknown> = Promise.resolve()
  readonly #reader = new PcapReader(({ at, from, to, sequence, payload, payloadBytes }) => {
    const key = `${from}-${to}`
    let flow = this.flows.get(key)
    if (flow === undefined) {
      flow = { from, to, columns: new FlowColumns(), tls: new TlsFlow(CELL_RECORD_BYTES) }
      this.flows.set(key, flow)
    }
    flow.columns.push(at, payloadBytes)
    flow.tls.push({ at, from, to, sequence, payload, payloadBytes })
  })

  /** Starts; `null` and the reason when it cannot be had. */
  static async start(ports: readonly number[]): Promise<Capture | string> {
    const capture = new Capture()
    goAhead(1)
    const filter = `tcp and (${ports.map((port) => `port ${port}`).join(' or ')})`
    const args = ['-i', 'lo', '-s', '0', '-n', '-B', String(BUFFER_KIB), '-w', '-', filter]
    const child = spawn('tcpdump', args, { stdio: ['ignore', 'pipe', 'pipe'] })
    capture.#child = child
    child.stdout.on('data', (chunk: Buffer) => capture.#reader.push(chunk))
    const { promise, resolve } = Promise.withResolvers<Capture | string>()
    const words: string[] = []
    createInterface({ input: child.stderr }).on('line', (line) => {
      words.push(line)
      if (line.includes('listening on')) resolve(capture)
      const dropped = /^(\d+) packets dropped by kernel/.exec(line)
      if (dropped !== null) capture.dropped = Number(dropped[1])
    })
    capture.#ended = once(child, 'close')
      .catch(() => {})
      .finally(() => goAhead(-1))
    child.once('error', (error: NodeJS.ErrnoException) => resolve(`tcpdump cannot be run (${error.code})`))
    child.once('close', () => resolve(`tcpdump ended: ${words.join(' ')}`))
    const timer = setTimeout(() => resolve('tcpdump did not start'), START_MS)
    const result = await promise
    clearTimeout(timer)
    if (typeof result === 'string') child.kill('SIGKILL')
    return result
  }

  /** Ends it and waits for its last packets. Idempotent. */
  async stop(): Promise<void> {
    this.#child?.kill('SIGINT')
    await this.#ended
  }

  /** At the exit of this process. */
  killNow(): void {
    this.#child?.kill('SIGKILL')
  }
}

const OWN_PRIORITY = getPriority()
let capturing = 0

/** Counts captures that run; while there is one this process, and what it starts, goes before the nodes that it started earlier. */
function goAhead(change: 1 | -1): void {
  capturing += change
  try {
    setPriority(Math.max(-20, OWN_PRIORITY - (capturing > 0 ? AHEAD : 0)))
  } catch {
    // Not root: then it has the priority of all others, and says how many packets it missed.
  }
}
