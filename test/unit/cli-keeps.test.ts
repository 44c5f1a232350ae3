/** `gyre keep`, `unkeep`, `kept`, `receipt` and `publish --no-keep` against a real process around a fake node. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { receiptText } from '../../client/cli/keeps.ts'
import type { KeepStatus, Publication, Receipt } from '../../client/library.ts'
import { startTestnet, type Testnet } from '../../client/testnet/index.ts'
import { formatFileAddress, formatKeyAddress } from '../../src/content/address.ts'
import { FAKE_MAIN, gyre } from '../support/processes.ts'

const { signal } = new AbortController()
const A = formatKeyAddress(new Uint8Array(32).fill(1))
const B = formatFileAddress(new Uint8Array(32).fill(2))
let testnet: Testnet
let here: readonly string[] = []

before(async () => {
  testnet = await startTestnet({ nodes: 1, signal, entry: FAKE_MAIN })
  here = ['--data-dir', testnet.node(0).dataDir]
})
after(() => testnet.close())

async function command(args: readonly string[], input?: string) {
  const { code, stdout, stderr } = await gyre([...args, ...here], {}, input === undefined ? undefined : Buffer.from(input))
  return { code, out: stdout.toString(), err: stderr }
}

test('keep, kept, unkeep', async () => {
  assert.deepEqual(await command(['kept']), { code: 0, out: 'nothing is kept yet\n', err: '' })
  const kept = await command(['keep', B.toUpperCase()])
  assert.deepEqual([kept.code, kept.err], [0, ''])
  assert.match(kept.out, /^whole: survives the loss of any 4 of 8 nodes; 8 shares asked for, 0 missing, 0 put back\n$/)
  const { kind, address } = JSON.parse((await command(['keep', A, '--json', '--no-wait'])).out) as KeepStatus
  assert.deepEqual([kind, address], ['key', A])
  const list = await command(['kept'])
  assert.match(list.out, /address .*why .*state .*checked/)
  assert.ok(list.out.includes(A) && list.out.includes(B))
  const { keeps } = JSON.parse((await command(['kept', '--json'])).out) as { keeps: readonly KeepStatus[] }
  assert.equal(keeps.length, 2)
  assert.equal((await command(['unkeep', A])).code, 0)
  const again = await command(['unkeep', A])
  assert.equal(again.code, 3)
  assert.match(again.err, /does not keep/)
  assert.equal((await command(['keep', 'nonsense'])).code, 2)
})

test('receipt: a sentence, JSON, and the exit code of what is not there', async () => {
  assert.equal((await command(['receipt', B])).code, 3)
  const published = await command(['publish', '-', '--json', '--no-keep'], 'hello')
  const { address, kept } = JSON.parse(published.out) as Publication
  assert.equal(kept, false)
  assert.equal((JSON.parse((await command(['publish', '-', '--json'], 'hello')).out) as Publication).kept, true)
  const told = await command(['receipt', address])
  assert.match(told.out, /^survives the loss of any 4 of 8 nodes that hold it; all 8 shares were asked for\n$/)
  assert.equal((JSON.parse((await command(['receipt', address, '--json'])).out) as Receipt).survives, 4)
  const receipt = { survives: -1, of: 3, checked: 10, parts: 500, missing: 9, at: 1 }
  assert.match(receiptText(receipt), /^not whole now; 10 of 500 shares/)
})
