/** The link contract over every transport. */
import { setTimeout as pause, setImmediate as turn } from 'node:timers/promises'
import { LINK_THREAD } from '../../relay/index.ts'
import { nodeIdOf } from '../../src/bytes/index.ts'
import type { LinkHost } from '../../src/link/index.ts'
import { createLibp2pHost } from '../../src/link/libp2p/index.ts'
import { memoryNetwork } from '../../src/link/memory.ts'
import { ThreadHost } from '../../src/link/thread/index.ts'
import { systemClock } from '../../src/runtime/index.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { seededRng } from '../support/seeded-rng.ts'
import { type HostPair, linkContract } from './link.ts'

/** Wall time after which something that should happen on loopback has not. */
const PATIENCE_MS = 20_000
/** Quiet on real sockets: nothing can prove it, this is many round trips. */
const QUIET_MS = 60

async function memoryPair(shape?: { delayMs: number; bytesPerSec: number }): Promise<HostPair> {
  const clock = new FakeClock()
  const network = memoryNetwork(shape === undefined ? { clock } : { clock, shape: () => shape })
  const rng = seededRng('ids')
  const [a, b] = [network.host(nodeIdOf(rng.bytes(32))), network.host(nodeIdOf(rng.bytes(32)))]
  await Promise.all([a.start(), b.start()])
  return {
    a,
    b,
    run: (promise) => clock.runFor(promise),
    quiet: () => clock.advance(1_000),
    async until(done, what) {
      for (let steps = 0; !done(); steps++) {
        if (steps > 100_000) throw new Error(`waited in vain for ${what}`)
        await clock.advance(shape === undefined ? 0 : 1)
      }
    },
    close: async () => {
      await Promise.all([a.close(), b.close()])
      await clock.settle()
    },
  }
}

interface Real {
  readonly suffix?: string
  readonly directRead?: boolean
  /** Whether sockets are in a thread of their own. */
  readonly thread?: boolean
}

async function realPair({ suffix = '', directRead = true, thread = false }: Real = {}): Promise<HostPair> {
  const rng = seededRng('seeds')
  const log = { debug: () => {}, error: (details: object) => console.error(details) }
  const host = async (): Promise<LinkHost> => {
    const signingSeed = rng.bytes(32)
    const options = { signingSeed, listen: [`/ip4/127.0.0.1/tcp/0${suffix}`], clock: systemClock, log, directRead }
    const made = await createLibp2pHost(options)
    return thread ? new ThreadHost({ ...options, id: made.id, program: LINK_THREAD, pollMs: 5, other: { tickMs: 10 } }) : made
  }
  const [a, b] = [await host(), await host()]
  await Promise.all([a.start(), b.start()])
  return {
    a,
    b,
    run: (promise) => promise,
    quiet: () => pause(QUIET_MS),
    async until(done, what) {
      const end = performance.now() + PATIENCE_MS
      while (!done()) {
        if (performance.now() > end) throw new Error(`waited in vain for ${what}`)
        await turn()
      }
    },
    close: async () => {
      await Promise.all([a.close(), b.close()])
    },
  }
}

linkContract('memory', () => memoryPair(), { deadAddress: '/ip4/10.255.0.1/tcp/4001' })
linkContract('memory with delay and a slow wire', () => memoryPair({ delayMs: 5, bytesPerSec: 200_000_000 }), {
  deadAddress: '/ip4/10.255.0.1/tcp/4001',
})
// Port 9 (discard) is closed on every machine that this runs on.
linkContract('TLS', () => realPair(), { deadAddress: '/ip4/127.0.0.1/tcp/9' })
linkContract('TLS, read by data events', () => realPair({ directRead: false }), { deadAddress: '/ip4/127.0.0.1/tcp/9' })
linkContract('TLS, in a thread of its own', () => realPair({ thread: true }), { deadAddress: '/ip4/127.0.0.1/tcp/9' })
linkContract('WebSocket, in a thread of its own', () => realPair({ suffix: '/ws', thread: true }), {
  deadAddress: '/ip4/127.0.0.1/tcp/9/ws',
})
linkContract('WebSocket', () => realPair({ suffix: '/ws' }), { deadAddress: '/ip4/127.0.0.1/tcp/9/ws' })
