/**
 * A download from a live service while a node is killed every 5 s, to come back after 20: whole nodes in one process (`test/sim-network/live-world.ts`).
 * With four or five of ten away at any time, it goes on within seconds each time. On real machines: `npm run endure`.
 */
import assert from 'node:assert/strict'
import { mkdir } from 'node:fs/promises'
import { after, test } from 'node:test'
import { LiveWorld } from '../sim-network/live-world.ts'
import { MemoryDisk } from '../sim-network/memory-disk.ts'

const disk = new MemoryDisk('/gyre-live')
disk.install()
after(() => disk.uninstall())

test('a node dies every 5 s: the download stands still for a second or two at most, and every byte is right', async (t) => {
  const root = '/gyre-live/1'
  await mkdir(root)
  const world = new LiveWorld({ seed: '1', nodes: 10, forMs: 60_000, everyMs: 5_000, awayMs: 20_000, how: 'kill', root })
  const { bytes, firstMs, stalls, hits, fault } = await world.run()
  const longest = Math.max(firstMs, ...stalls.map(({ ms }) => ms))
  t.diagnostic(`${hits} hits, ${stalls.length} stalls over half a second, the longest ${Math.round(longest)} ms`)
  assert.equal(fault, null)
  assert.equal(hits, 12)
  assert.ok(longest < 3_000, `${longest} ms`)
  assert.ok(bytes > 4_300_000, `${bytes} bytes`)
})
