/**
 * The thread of the links, real ones on loopback: ticks go on while the node's thread does nothing else but compute, errors of the start come as
 * without a thread, and nothing is left when it is closed.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LINK_THREAD, ThreadLines } from '../../relay/index.ts'
import { FromLines } from '../../relay/line-kinds.ts'
import { type MonotonicMs, nodeIdOf } from '../../src/bytes/index.ts'
import type { CircuitId } from '../../src/cell/index.ts'
import { isOverlayError } from '../../src/errors/index.ts'
import type { Link } from '../../src/link/index.ts'
import { createLibp2pHost } from '../../src/link/libp2p/index.ts'
import { ThreadHost } from '../../src/link/thread/index.ts'
import { systemClock, systemRng } from '../../src/runtime/index.ts'
import { eventually } from '../support/processes.ts'
import { seededRng } from '../support/seeded-rng.ts'

const TICK_MS = 10
const { signal } = new AbortController()
const log = { debug: () => {}, error: (details: object, text: string) => assert.fail(`${text} ${JSON.stringify(details)}`) }
const receiver = { onCells: () => {}, onTurnEnd: () => {}, onClose: () => {} }

async function threadHost(seed: string, listen: readonly string[] = ['/ip4/127.0.0.1/tcp/0']): Promise<ThreadHost> {
  const signingSeed = seededRng(seed).bytes(32)
  const { id } = await createLibp2pHost({ signingSeed, listen: [], clock: systemClock, log })
  return new ThreadHost({
    id,
    signingSeed,
    listen,
    clock: systemClock,
    log,
    program: LINK_THREAD,
    pollMs: 5,
    other: { tickMs: TICK_MS },
  })
}

test('ticks go on, and lines send, while the node’s own thread stands still', { timeout: 60_000 }, async (t) => {
  const [a, b] = [await threadHost('a'), await threadHost('b')]
  t.after(() => Promise.all([a.close(), b.close()]))
  const inbound: Link[] = []
  b.onInbound = (link) => {
    inbound.push(link)
    link.start(receiver)
  }
  await Promise.all([a.start(), b.start()])
  const link = await a.dial(b.id, b.addresses, { signal })
  link.start(receiver)
  await eventually('the other side has the link', async () => inbound.length === 1)

  const lines = new ThreadLines(a, { clock: systemClock, rng: systemRng, tickMs: TICK_MS, onTick: () => {} })
  let ticks = 0
  const { onOther } = a
  a.onOther = (kind, ...rest) => {
    if (kind === FromLines.TICK) ticks++
    onOther(kind, ...rest)
  }
  const now = systemClock.monotonicMs()
  const plan = { rate: 128, holdMs: 40, openAt: now, liveAt: now, closeAt: (now + 600_000) as MonotonicMs }
  const line = lines.line(link, 2 as CircuitId, { plan, own: true, onOver: (why) => assert.fail(why) })
  await eventually('the line ticks', async () => ticks > 3)
  const before = ticks
  const until = performance.now() + 500
  while (performance.now() < until);
  await eventually('what came meanwhile is read', async () => ticks > before)
  await new Promise((resolve) => setImmediate(resolve))
  // In a thread that shared this one's time it would be one tick, late. Fifty are due; a busy machine may skip many.
  assert.ok(ticks - before >= 8, `${ticks - before} ticks in 500 ms`)
  lines.stop(link, line)
})

test('a listen address that is none, and one that is taken, are the errors of a host without a thread', {
  timeout: 60_000,
}, async (t) => {
  const bad = await threadHost('c', ['/ip4/127.0.0.1/udp/9'])
  t.after(() => bad.close())
  await assert.rejects(bad.start(), (error) => isOverlayError(error, 'CONFIG_BAD'))
  const first = await threadHost('d')
  t.after(() => first.close())
  await first.start()
  const taken = first.addresses[0]!.replace(/\/p2p\/.*$/, '')
  const second = await threadHost('e', [taken])
  t.after(() => second.close())
  await assert.rejects(second.start(), (error) => isOverlayError(error, 'LINK_LISTEN'))
})

test('a thread that was closed leaves nothing: no worker, no call that waits; closing twice does no harm', {
  timeout: 60_000,
}, async () => {
  const host = await threadHost('f')
  await host.start()
  const nobody = nodeIdOf(seededRng('nobody').bytes(32))
  const dial = host.dial(nobody, ['/ip4/127.0.0.1/tcp/9'], { signal })
  await Promise.all([host.close(), host.close(), assert.rejects(dial, (error) => isOverlayError(error))])
  await assert.rejects(host.dial(nobody, [], { signal }), (error) => isOverlayError(error, 'LINK_UNREACHABLE'))
  assert.equal(process.getActiveResourcesInfo().filter((name) => /Worker|MessagePort/.test(name)).length, 0)
})
