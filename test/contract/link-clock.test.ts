/**
 * Links of a host whose machine had a wrong date when it started: while the date is wrong nobody takes its certificate; when it is set right a new
 * one is made, and links come without a restart. Real TLS on loopback; the date alone is made up.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { UnixMs } from '../../src/bytes/index.ts'
import type { Link } from '../../src/link/index.ts'
import { createLibp2pHost } from '../../src/link/libp2p/index.ts'
import { type Clock, systemClock } from '../../src/runtime/index.ts'
import { eventually } from '../support/processes.ts'

const DAY_MS = 24 * 3_600_000
const { signal } = new AbortController()

test('a certificate made under a date that was ahead is made anew when the date is right', { timeout: 60_000 }, async (t) => {
  const realNow = Date.now
  let aheadMs = DAY_MS
  t.mock.method(Date, 'now', () => realNow() + aheadMs)
  /** The host's look at its clock comes after a moment, not after 20 s. */
  const clock: Clock = {
    ...systemClock,
    unixMs: () => Date.now() as UnixMs,
    setTimer: (ms, fire) => systemClock.setTimer(ms === 20_000 ? 100 : ms, fire),
  }
  const log = { debug: () => {}, error: (details: object) => assert.fail(JSON.stringify(details)) }
  const make = async (seed: number) => {
    const host = await createLibp2pHost({
      signingSeed: new Uint8Array(32).fill(seed),
      listen: ['/ip4/127.0.0.1/tcp/0'],
      clock,
      log,
    })
    await host.start()
    t.after(() => host.close())
    return host
  }
  const links: Link[] = []
  const early = await make(1)
  aheadMs = 0
  const other = await make(2)
  const receiver = { onCells: () => {}, onTurnEnd: () => {}, onClose: () => {} }
  early.onInbound = (link) => {
    links.push(link)
    link.start(receiver)
  }
  let refused = 0
  await eventually(
    'a link is taken',
    async () => {
      try {
        const link = await other.dial(early.id, early.addresses, { signal })
        link.start(receiver)
        return true
      } catch {
        refused++
        return false
      }
    },
    30_000,
  )
  await eventually('the other end has it too', () => links.length === 1)
  t.diagnostic(`${refused} refused before the certificate was renewed`)
})
