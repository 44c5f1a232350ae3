/**
 * What is published endures: eight real processes, fifty publications; any four nodes are killed at once, the publisher among them, and each
 * publication is still fetched whole. Keepers then put back what was lost; two more of the old nodes are killed, and all of it is still whole.
 *
 * Loops need four living nodes, so two new ones join before the last two die. Victims are drawn; the seed is printed (KEEP_SEED repeats one,
 * KEEP_RUNS=10 draws ten times in a row).
 */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { after, test } from 'node:test'
import { call, getJson, parseJson, readText, sendJson } from '../../client/cli/api-client.ts'
import type { KeepStatus, Publication, Receipt } from '../../client/library.ts'
import { apiOf, startTestnet, type Testnet, type TestnetNode } from '../../client/testnet/index.ts'
import { type Rng, shuffled, systemClock } from '../../src/runtime/index.ts'
import { E2E_CLOCK, patience } from '../support/e2e-clock.ts'
import { lives } from '../support/processes.ts'
import { seededRng } from '../support/seeded-rng.ts'

const KiB = 2 ** 10
const MiB = 2 ** 20
const NODES = 8
const OBJECTS = 50
/** The longest ones; the others are drawn from 1 KiB to 600 KiB. */
const LONG = [20 * MiB, 6 * MiB, 2 * MiB, 2 * MiB, MiB, MiB]
const AT_ONCE = 4
/** Until the links of dead nodes are replaced and loops go round them. */
const RECOVERY_MS = patience(60_000)

const { signal } = new AbortController()
const first = Number(process.env.KEEP_SEED ?? 1)
const runs = Number(process.env.KEEP_RUNS ?? 1)
const pids = new Set<number>()
after(() => assert.ok(![...pids].some(lives), 'a process is left'))

interface Published {
  readonly address: string
  readonly hash: string
  readonly bytes: number
}

function bytesOf(seed: string, length: number): Buffer {
  // One block of noise is enough to make each object its own; longer ones differ from block to block by their number.
  const block = Buffer.from(seededRng(seed).bytes(Math.min(length, 64 * KiB)))
  const bytes = Buffer.alloc(length)
  for (let at = 0; at < length; at += block.length) {
    block.copy(bytes, at)
    if (at + 4 <= length) bytes.writeUInt32LE(at, at)
  }
  return bytes
}

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')

/** Runs `work` for each item, `AT_ONCE` at a time. */
async function each<T>(items: readonly T[], work: (item: T, at: number) => Promise<void>): Promise<void> {
  const entries = items.entries()
  const worker = async () => {
    for (const [at, item] of entries) await work(item, at)
  }
  await Promise.all(Array.from({ length: AT_ONCE }, worker))
}

async function publish(node: TestnetNode, body: Buffer): Promise<Publication> {
  const headers = { 'Content-Type': 'application/octet-stream', 'Content-Length': body.length }
  const send = (request: { end(body: Buffer): void }) => request.end(body)
  const answer = await call(apiOf(node), { method: 'POST', path: '/v1/publish', headers, signal, send })
  return parseJson(await readText(answer, signal)) as Publication
}

async function fetched(node: TestnetNode, { address, hash, bytes }: Published): Promise<void> {
  const answer = await call(apiOf(node), { path: `/v1/fetch/${address}`, signal })
  const got = createHash('sha256')
  for await (const chunk of answer) got.update(chunk as Buffer)
  assert.ok(answer.complete)
  assert.equal(got.digest('hex'), hash, `${bytes} bytes at node ${node.index}`)
}

async function timed(what: string, work: () => Promise<void>): Promise<void> {
  const began = systemClock.monotonicMs()
  await work()
  console.log(`${what}: ${Math.round(systemClock.monotonicMs() - began)} ms`)
}

/** As `fetched`, while the nodes that are left find loops round the dead: nothing wrong may come meanwhile, only nothing yet. */
async function fetchedInTime(node: TestnetNode, object: Published, endMs: number): Promise<void> {
  for (;;) {
    try {
      return await fetched(node, object)
    } catch (error) {
      if (error instanceof assert.AssertionError || systemClock.monotonicMs() > endMs) throw error
      await systemClock.sleep(250, { signal })
    }
  }
}

/** All of `objects`, shared out among `nodes`. */
async function fetchedAll(nodes: readonly TestnetNode[], objects: readonly Published[]): Promise<void> {
  const endMs = systemClock.monotonicMs() + RECOVERY_MS
  await each(objects, (object, at) => fetchedInTime(nodes[at % nodes.length]!, object, endMs))
}

async function kill(testnet: Testnet, nodes: readonly TestnetNode[]): Promise<void> {
  await Promise.all(nodes.map(({ index }) => testnet.stop(index, true)))
}

async function kept(node: TestnetNode, address: string): Promise<KeepStatus> {
  const path = `/v1/keeps/${address}`
  let status = await sendJson<KeepStatus>(apiOf(node), { method: 'PUT', path, signal })
  while (status.state === 'checking') {
    await systemClock.sleep(100, { signal })
    status = await getJson<KeepStatus>(apiOf(node), path, signal)
  }
  return status
}

async function run(rng: Rng, seed: number): Promise<void> {
  const lines: string[] = []
  const onLine = (index: number, line: string) => lines.push(`node ${index}: ${line}`)
  const onDeath = (index: number, how: string) => lines.push(`node ${index} died: ${how}`)
  const testnet = await startTestnet({ nodes: NODES, clock: E2E_CLOCK, signal, onLine, onDeath })
  try {
    await story(testnet, rng, seed)
    assert.deepEqual(
      lines.filter((line) => line.includes(' died: ')),
      [],
    )
  } catch (error) {
    console.log(lines.slice(-40).join('\n'))
    throw error
  } finally {
    for (const { pid } of testnet.nodes) pids.add(pid)
    await testnet.close()
  }
}

async function story(testnet: Testnet, rng: Rng, seed: number): Promise<void> {
  const publisher = testnet.node(0)
  const objects: Published[] = []
  const lengths = Array.from({ length: OBJECTS }, (_, at) => LONG[at] ?? KiB + rng.below(600 * KiB))
  await timed(`${OBJECTS} publications`, () =>
    each(lengths, async (length, at) => {
      const body = bytesOf(`${seed} ${at}`, length)
      const { address, receipt, kept: isKept } = await publish(publisher, body)
      assert.ok(receipt.survives >= NODES / 2, `receipt of ${length} bytes: survives ${receipt.survives}`)
      assert.deepEqual([receipt.checked, receipt.missing, isKept], [receipt.parts, 0, true])
      objects.push({ address, hash: sha256(body), bytes: length })
    }),
  )

  const others = shuffled(testnet.nodes.slice(1), rng)
  const victims = [publisher, ...others.slice(0, NODES / 2 - 1)]
  const left = others.slice(NODES / 2 - 1)
  console.log(`killed at once: nodes ${victims.map(({ index }) => index).join(', ')}`)
  await kill(testnet, victims)
  await timed('all fetched with half of the nodes gone', () => fetchedAll(left, objects))

  const bootstrap = left.flatMap(({ listen }) => listen)
  const newcomers = await Promise.all([NODES, NODES + 1].map((index) => testnet.start(index, bootstrap)))
  const probe = objects.toSorted((a, b) => a.bytes - b.bytes)[0]!
  await timed('two join', () => fetchedAll(newcomers, [probe, probe]))
  const keepers = left.slice(0, 2)
  let mended = 0
  await timed('kept', () =>
    each(objects, async ({ address, bytes }, at) => {
      const status = await kept(keepers[at % keepers.length]!, address)
      assert.equal(status.state, 'whole', `${bytes} bytes: ${JSON.stringify(status)}`)
      mended += status.mended
    }),
  )
  console.log(`${mended} shares and slots put back`)
  assert.ok(mended > objects.length)
  const receipt = await getJson<Receipt>(apiOf(newcomers[0]!), `/v1/receipts/${probe.address}`, signal)
  assert.ok(receipt.survives >= 2, `survives ${receipt.survives}`)

  const again = shuffled(left, rng).slice(0, 2)
  console.log(`killed: nodes ${again.map(({ index }) => index).join(', ')}`)
  await kill(testnet, again)
  await timed('all fetched with six of the first eight gone', () => fetchedAll(newcomers, objects))
}

for (let seed = first; seed < first + runs; seed++) {
  test(
    `fifty publications survive four of eight nodes, and after repair two more (KEEP_SEED=${seed})`,
    { timeout: patience(600_000) },
    () => run(seededRng(`keep ${seed}`), seed),
  )
}
