/** The link contract over every transport. */
import { setTimeout as pause, setImmediate as turn } from 'node:timers/promises'
import { nodeIdOf } from '../../src/bytes/index.ts'
import type { LinkHost } from '../../src/link/index.ts'
import { createLibp2pHost } from '../../src/link/libp2p/index.ts'
import { memoryNetwork } from '../../src/link/memory.ts'
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

async function realPair(suffix: string, directRead: boolean): Promise<HostPair> {
  const rng = seededRng('seeds')
  const log = { debug: () => {}, error: (details: object) => console.error(details) }
  const host = (): Promise<LinkHost> =>
    createLibp2pHost({
      signingSeed: rng.bytes(32),
      listen: [`/ip4/127.0.0.1/tcp/0${suffix}`],
      clock: systemClock,
      log,
      directRead,
    })
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
linkContract('TLS', () => realPair('', true), { deadAddress: '/ip4/127.0.0.1/tcp/9' })
linkContract('TLS, read by data events', () => realPair('', false), { deadAddress: '/ip4/127.0.0.1/tcp/9' })
linkContract('WebSocket', () => realPair('/ws', true), { deadAddress: '/ip4/127.0.0.1/tcp/9/ws' })
