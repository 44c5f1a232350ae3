/**
 * One of eight whole nodes lies as a relay (`test/adversary/liars/relays.ts`), and content is published and fetched past it through real loops of
 * real cells: every byte that comes is right, nothing fails, and when it is honest again it is a node like any other to everybody.
 * Spec: SPEC.md §4.2, §4.4, §6.5; properties P7, P9.
 */
import assert from 'node:assert/strict'
import { mkdir } from 'node:fs/promises'
import { after, test } from 'node:test'
import { lyingHost, RELAY_LIES } from '../adversary/liars/relays.ts'
import { MemoryDisk } from '../sim-network/memory-disk.ts'
import { WholeNet } from '../support/whole-net.ts'

const COUNT = 8
const LIAR = 4
const CONTENT_BYTES = 150_000

const disk = new MemoryDisk('/gyre-relay-liars')
disk.install()
after(() => disk.uninstall())

let nets = 0
async function start(seed: string, options: Partial<Parameters<typeof WholeNet.start>[0]> = {}): Promise<WholeNet> {
  const root = `/gyre-relay-liars/${nets++}`
  await mkdir(root)
  return WholeNet.start({ seed, count: COUNT, root, ...options })
}

for (const [name, make] of Object.entries(RELAY_LIES)) {
  test(`a relay that ${name}: what is published and fetched is right`, { timeout: 120_000 }, async (t) => {
    let lying = false
    const net = await start(`relay ${name}`, {
      hostOf: (host, index, { clock, rng }) =>
        index === LIAR ? lyingHost(host, make(rng.fork('lie')), clock, () => lying) : host,
    })
    lying = true
    const content = net.rng.bytes(CONTENT_BYTES)
    const began = net.clock.monotonicMs()
    const address = await net.publish(0, content)
    const published = net.clock.monotonicMs()
    for (const reader of [1, 6]) assert.deepEqual(await net.fetch(reader, address), content)
    t.diagnostic(`published in ${published - began} ms, fetched twice in ${net.clock.monotonicMs() - published} ms of its time`)
    // No blacklist: when it is honest again it carries and serves like any other.
    lying = false
    await net.clock.advance(120_000)
    const liar = net.nodes[LIAR]!
    assert.ok(net.nodes.every(({ directory }) => directory.get(liar.identity.id) !== undefined))
    assert.ok(liar.neighbours.all().length > 0)
    const before = liar.cells.circuitOut
    assert.deepEqual(await net.fetch(2, address), content)
    const loop = await net.clock.runFor(net.nodes[3]!.pool.take(liar.identity.id, { signal: new AbortController().signal }))
    assert.equal(loop.apex, liar.identity.id)
    net.nodes[3]!.pool.release(loop)
    assert.ok(liar.cells.circuitOut > before, 'loops go through it again')
    await net.close()
  })
}
