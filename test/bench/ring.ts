/**
 * The floor: cells round a ring of processes over plain TCP and over TLS with one record per cell, no cipher of ours. What a loop costs
 * beyond this is the price of the layers. Used by `run.ts`; alone: `node test/bench/ring.ts`.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { CELL_BYTES, FRAMES_BYTES } from '../../src/cell/index.ts'

export interface RingFigures {
  /** Megabytes a second of what would be payload in a loop's cells. */
  readonly payloadMBps: number
  /** CPU seconds per GiB of that payload, all processes together. */
  readonly cpuSecondsPerGiB: number
}

const MEMBER = fileURLToPath(new URL('./ring-member.ts', import.meta.url))

function reply<T extends { readonly kind: string }>(child: ChildProcess, kind: string): Promise<T> {
  return new Promise((resolve, reject) => {
    const onMessage = (message: T) => {
      if (message.kind !== kind) return
      child.off('message', onMessage)
      resolve(message)
    }
    child.on('message', onMessage)
    child.once('exit', () => reject(new Error(`a ring member ended before it said ${kind}`)))
  })
}

async function cpuSeconds(children: readonly ChildProcess[]): Promise<number> {
  const answers = children.map((child) => reply<{ kind: string; seconds: number }>(child, 'cpu'))
  for (const child of children) child.send({ kind: 'cpu' })
  return (await Promise.all(answers)).reduce((sum, { seconds }) => sum + seconds, 0)
}

/** Sends `cells` round a ring of `processes`, `window` at a time. */
export async function measureRing(
  mode: 'tcp' | 'tls',
  {
    processes = 6,
    cells = 120_000,
    window = 128,
  }: { readonly processes?: number; readonly cells?: number; readonly window?: number } = {},
): Promise<RingFigures> {
  const children = Array.from({ length: processes }, () => fork(MEMBER, { stdio: 'inherit' }))
  try {
    const ports = await Promise.all(
      children.map(async (child) => {
        const listening = reply<{ kind: string; port: number }>(child, 'listening')
        child.send({ kind: 'start', mode })
        return (await listening).port
      }),
    )
    await Promise.all(
      children.map(async (child, at) => {
        const joined = reply(child, 'joined')
        child.send({ kind: 'join', port: ports[(at + 1) % processes] })
        await joined
      }),
    )
    const origin = children[0]!
    const run = async (count: number) => {
      const done = reply<{ kind: string; ms: number }>(origin, 'done')
      origin.send({ kind: 'run', cells: count, window })
      return (await done).ms
    }
    await run(Math.ceil(cells / 10)) // warm
    const before = await cpuSeconds(children)
    const ms = await run(cells)
    const used = (await cpuSeconds(children)) - before
    const bytes = cells * FRAMES_BYTES
    return { payloadMBps: bytes / 1e3 / ms, cpuSecondsPerGiB: used / (bytes / 2 ** 30) }
  } finally {
    for (const child of children) child.kill()
  }
}

if (import.meta.main) {
  for (const mode of ['tcp', 'tls'] as const) {
    const { payloadMBps, cpuSecondsPerGiB } = await measureRing(mode)
    console.log(
      `ring of 6 over ${mode}, ${CELL_BYTES}-byte cells: ${payloadMBps.toFixed(0)} MB/s, ${cpuSecondsPerGiB.toFixed(1)} CPU-s/GiB`,
    )
  }
}
