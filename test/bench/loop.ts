/**
 * What loops do between real node processes on loopback: throughput of one loop and of several, CPU of all processes together, round trip
 * under that load, loops built per second, memory. Six processes, so that a loop passes all five others. Used by `run.ts`; alone:
 * `node test/bench/loop.ts`.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { LoopNodeCommand, LoopNodeConfig } from './loop-node.ts'

const NODE = fileURLToPath(new URL('./loop-node.ts', import.meta.url))
const READY_TIMEOUT_MS = 60_000

type Answer = Record<string, number>

export interface LoopFigures {
  readonly payloadMBps: number
  readonly cpuSecondsPerGiB: number
  readonly roundTripP50Ms: number
  readonly roundTripP99Ms: number
  readonly windowCells: number
  readonly members: number
}

export interface BuildFigures {
  readonly medianMs: number
  readonly p99Ms: number
  readonly perSecond: number
  /** Over all processes. */
  readonly cpuMsPerLoop: number
}

/** A small network of real processes under the benchmark's control. */
export class LoopBench {
  readonly #children: ChildProcess[] = []
  readonly #dirs: string[] = []

  async start(count = 6, scheme = ''): Promise<void> {
    const network = `bench-${process.pid}`
    let bootstrap: readonly string[] = []
    for (let index = 0; index < count; index++) {
      const dataDir = await mkdtemp(join(tmpdir(), 'gyre-bench-'))
      this.#dirs.push(dataDir)
      const config: LoopNodeConfig = { dataDir, listen: [`/ip4/127.0.0.1/tcp/0${scheme}`], bootstrap, network }
      const child = fork(NODE, [JSON.stringify(config)], {
        stdio: 'inherit',
        execArgv: ['--expose-gc', '--max-semi-space-size=4'],
      })
      this.#children.push(child)
      const started = await this.#hear<{ kind: string; addresses: readonly string[] }>(child, 'started')
      if (index === 0) bootstrap = started.addresses
    }
    const giveUpAt = performance.now() + READY_TIMEOUT_MS
    for (;;) {
      const all = await Promise.all(this.#children.map((child) => this.#ask(child, { kind: 'ready' })))
      if (all.every(({ nodes, loops }) => nodes === count && loops! > 0)) return
      if (performance.now() > giveUpAt) throw new Error(`the nodes were not ready in time: ${JSON.stringify(all)}`)
      await new Promise((resolve) => setTimeout(resolve, 200))
    }
  }

  async close(): Promise<void> {
    for (const child of this.#children) {
      const gone = new Promise((resolve) => child.once('exit', resolve))
      child.kill('SIGKILL')
      await gone
    }
    for (const dir of this.#dirs) await rm(dir, { recursive: true, force: true })
  }

  /** Moves `bytes` of payload between node 0 and apexes of its loops. */
  async move(direction: 'down' | 'up', bytes: number, loops: number): Promise<LoopFigures> {
    const before = await this.#cpuSeconds()
    const moved = await this.#ask(this.#children[0]!, { kind: 'move', direction, bytes, loops })
    const used = (await this.#cpuSeconds()) - before
    return {
      payloadMBps: bytes / 1e3 / moved.ms!,
      cpuSecondsPerGiB: used / (bytes / 2 ** 30),
      roundTripP50Ms: moved.roundTripP50Ms!,
      roundTripP99Ms: moved.roundTripP99Ms!,
      windowCells: moved.windowCells!,
      members: moved.members!,
    }
  }

  async build(count: number, atOnce: number): Promise<BuildFigures> {
    const before = await this.#cpuSeconds()
    const built = await this.#ask(this.#children[0]!, { kind: 'build', count, atOnce })
    const used = (await this.#cpuSeconds()) - before
    return {
      medianMs: built.medianMs!,
      p99Ms: built.p99Ms!,
      perSecond: count / (built.ms! / 1000),
      cpuMsPerLoop: (used * 1000) / count,
    }
  }

  /** Builds loops up to `count` and keeps them. */
  async hold(count: number): Promise<void> {
    await this.#ask(this.#children[0]!, { kind: 'hold', count })
  }

  /** Resident memory of each process, in MiB. */
  async memoryMiB(): Promise<number[]> {
    const usages = await Promise.all(this.#children.map((child) => this.#ask(child, { kind: 'memory' })))
    return usages.map(({ rssBytes }) => rssBytes! / 2 ** 20)
  }

  async #cpuSeconds(): Promise<number> {
    const usages = await Promise.all(this.#children.map((child) => this.#ask(child, { kind: 'usage' })))
    return usages.reduce((sum, { cpuSeconds }) => sum + cpuSeconds!, 0)
  }

  async #ask(child: ChildProcess, command: LoopNodeCommand): Promise<Answer> {
    const heard = this.#hear<Answer & { kind: string; error?: string }>(child, command.kind)
    child.send(command)
    const answer = await heard
    if (answer.error !== undefined) throw new Error(`${command.kind}: ${answer.error}`)
    return answer
  }

  #hear<T extends { readonly kind: string }>(child: ChildProcess, kind: string): Promise<T> {
    return new Promise((resolve, reject) => {
      const onExit = () => reject(new Error(`a node ended before it answered ${kind}`))
      const onMessage = (message: T) => {
        if (message.kind !== kind) return
        child.off('message', onMessage)
        child.off('exit', onExit)
        resolve(message)
      }
      child.on('message', onMessage)
      child.once('exit', onExit)
    })
  }
}

if (import.meta.main) {
  const bench = new LoopBench()
  try {
    await bench.start()
    console.log('memory idle, MiB:', (await bench.memoryMiB()).map((mib) => mib.toFixed(0)).join(' '))
    await bench.move('down', 20 * 2 ** 20, 1) // warm
    for (const [direction, loops] of [
      ['down', 1],
      ['up', 1],
      ['down', 3],
    ] as const) {
      console.log(direction, loops, await bench.move(direction, 200 * 2 ** 20, loops))
    }
    console.log('build one at a time', await bench.build(200, 1))
    console.log('build 16 at a time', await bench.build(400, 16))
    const before = await bench.memoryMiB()
    await bench.hold(1000)
    const after = await bench.memoryMiB()
    console.log('MiB per 1,000 circuits:', after.map((mib, at) => (mib - before[at]!).toFixed(1)).join(' '))
  } finally {
    await bench.close()
  }
}
