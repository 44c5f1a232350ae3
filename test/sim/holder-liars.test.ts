/**
 * Two of eight whole nodes lie as holders (`test/adversary/liars/holders.ts`), and content is published and fetched past them through real loops of
 * real cells: every byte that comes is right and nothing fails. Spec: SPEC.md §7.6, §7.10; properties P9, P10.
 */
import assert from 'node:assert/strict'
import { mkdir } from 'node:fs/promises'
import { after, test } from 'node:test'
import { HOLDER_LIES } from '../adversary/liars/holders.ts'
import { MemoryDisk } from '../sim-network/memory-disk.ts'
import { WholeNet } from '../support/whole-net.ts'

const COUNT = 8
const LIAR = 4
const CONTENT_BYTES = 150_000

const disk = new MemoryDisk('/gyre-holder-liars')
disk.install()
after(() => disk.uninstall())

let nets = 0
async function start(seed: string, options: Partial<Parameters<typeof WholeNet.start>[0]> = {}): Promise<WholeNet> {
  const root = `/gyre-holder-liars/${nets++}`
  await mkdir(root)
  return WholeNet.start({ seed, count: COUNT, root, ...options })
}

for (const [name, lie] of Object.entries(HOLDER_LIES)) {
  test(`holders of which two of eight ${name.replace(/^(\w+)s\b/, '$1')}: what is fetched is right, and nobody else pays for it`, {
    timeout: 120_000,
  }, async () => {
    const net = await start(`holder ${name}`)
    const liars = [LIAR, LIAR + 1].map((index) => net.nodes[index]!)
    for (const liar of liars) lie(liar.store, net.rng)
    const content = net.rng.bytes(CONTENT_BYTES)
    const address = await net.publish(0, content)
    for (const reader of [1, 2]) assert.deepEqual(await net.fetch(reader, address), content)
    // The liars themselves read right too: what is served to them is verified by them.
    assert.deepEqual(await net.fetch(LIAR, address), content)
    assert.ok(net.nodes.every(({ directory }) => directory.size === COUNT))
    await net.close()
  })
}
