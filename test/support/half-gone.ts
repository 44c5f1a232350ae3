/**
 * What is published endures the loss of half of a network of eight real processes: fifty publications; any four nodes are killed at once with SIGKILL,
 * the publisher among them, and each publication is still fetched whole. Two keepers put back what was lost; two more of the old nodes are killed, and all of it
 * is still whole. Loops need four living nodes, so two new ones join before the last two die. Throws where the promise is not kept.
 */
import assert from 'node:assert/strict'
import { getJson, sendJson } from '../../client/cli/api-client.ts'
import type { KeepStatus, Receipt } from '../../client/library.ts'
import { apiOf, startTestnet, type Testnet, type TestnetNode } from '../../client/testnet/index.ts'
import type { ClockName } from '../../src/config/index.ts'
import { type Rng, shuffled, systemClock } from '../../src/runtime/index.ts'
import { seededRng } from './seeded-rng.ts'
import { fetchWatched, hashOf, publishContent } from './transfers.ts'

const NODES = 8
const AT_ONCE = 4
const RETRY_MS = 250

export interface HalfGoneOptions {
  /** Draws the victims. */
  readonly seed: number
  /** Bytes of each publication; at least 8. */
  readonly lengths: readonly number[]
  readonly clock: ClockName
  /** How long those who are left may take to find loops round the dead. */
  readonly recoveryMs: number
  readonly say: (line: string) => void
  /** Pids of all processes there were. */
  readonly pids?: Set<number>
}

/** Fetches after nodes were killed. */
export interface Fetches {
  /** All of them together. */
  readonly ms: number
  /** The longest that one of them took, with what failed before. */
  readonly longestMs: number
  /** Fetches that failed while loops were sought, and were made again. */
  readonly again: number
}

export interface HalfGone {
  readonly victims: readonly number[]
  readonly publishMs: number
  readonly half: Fetches
  readonly keepMs: number
  /** Shares and slots that keepers put back. */
  readonly mended: number
  readonly twoMore: Fetches
}

interface Published {
  readonly address: string
  readonly bytes: number
  readonly salt: number
}

const { signal } = new AbortController()
const now = () => systemClock.monotonicMs()

/** Runs `work` for each item, `AT_ONCE` at a time. */
async function each<T>(items: readonly T[], work: (item: T, at: number) => Promise<void>): Promise<void> {
  const entries = items.entries()
  const worker = async () => {
    for (const [at, item] of entries) await work(item, at)
  }
  await Promise.all(Array.from({ length: AT_ONCE }, worker))
}

async function took(work: () => Promise<void>): Promise<number> {
  const began = now()
  await work()
  return now() - began
}

async function fetched(node: TestnetNode, { address, bytes, salt }: Published): Promise<void> {
  const { hash } = await fetchWatched(node, address)
  assert.equal(hash, hashOf(bytes, salt), `${bytes} bytes at node ${node.index}`)
}

/** Fetches all of `objects`, shared out among `nodes`. Nothing wrong may come while they find loops round the dead, only nothing yet. */
async function fetchedAll(nodes: readonly TestnetNode[], objects: readonly Published[], recoveryMs: number): Promise<Fetches> {
  const endMs = now() + recoveryMs
  let [longestMs, again] = [0, 0]
  const ms = await took(() =>
    each(objects, async (object, at) => {
      const began = now()
      for (;;) {
        try {
          await fetched(nodes[at % nodes.length]!, object)
          break
        } catch (error) {
          if (error instanceof assert.AssertionError || now() > endMs) throw error
          again++
          await systemClock.sleep(RETRY_MS, { signal })
        }
      }
      longestMs = Math.max(longestMs, now() - began)
    }),
  )
  return { ms, longestMs, again }
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

/** Starts a network, and does all of it once. */
export async function halfGone(options: HalfGoneOptions): Promise<HalfGone> {
  const lines: string[] = []
  const onLine = (index: number, line: string) => lines.push(`node ${index}: ${line}`)
  const onDeath = (index: number, how: string) => lines.push(`node ${index} died: ${how}`)
  const testnet = await startTestnet({ nodes: NODES, clock: options.clock, signal, onLine, onDeath })
  try {
    const done = await story(testnet, options, seededRng(`keep ${options.seed}`))
    assert.deepEqual(
      lines.filter((line) => line.includes(' died: ')),
      [],
    )
    return done
  } catch (error) {
    options.say(lines.slice(-40).join('\n'))
    throw error
  } finally {
    for (const { pid } of testnet.nodes) options.pids?.add(pid)
    await testnet.close()
  }
}

async function story(testnet: Testnet, { seed, lengths, recoveryMs, say }: HalfGoneOptions, rng: Rng): Promise<HalfGone> {
  const seconds = (ms: number) => `${(ms / 1000).toFixed(1)} s`
  const told = (what: string, { ms, longestMs, again }: Fetches) =>
    say(`${what}: ${seconds(ms)}, longest ${seconds(longestMs)}, ${again} made again`)
  const publisher = testnet.node(0)
  const objects: Published[] = []
  const publishMs = await took(() =>
    each(lengths, async (bytes, at) => {
      const salt = 1_000 * seed + at
      const { address, receipt, kept: isKept } = await publishContent(publisher, bytes, salt)
      assert.ok(receipt.survives >= NODES / 2, `receipt of ${bytes} bytes: survives ${receipt.survives}`)
      assert.deepEqual([receipt.checked, receipt.missing, isKept], [receipt.parts, 0, true])
      objects.push({ address, bytes, salt })
    }),
  )
  say(`${lengths.length} publications: ${seconds(publishMs)}`)

  const others = shuffled(testnet.nodes.slice(1), rng)
  const victims = [publisher, ...others.slice(0, NODES / 2 - 1)]
  const left = others.slice(NODES / 2 - 1)
  say(`killed at once: nodes ${victims.map(({ index }) => index).join(', ')}`)
  await kill(testnet, victims)
  const half = await fetchedAll(left, objects, recoveryMs)
  told('all fetched with half of the nodes gone', half)

  const bootstrap = left.flatMap(({ listen }) => listen)
  const newcomers = await Promise.all([NODES, NODES + 1].map((index) => testnet.start(index, bootstrap)))
  const probe = objects.toSorted((a, b) => a.bytes - b.bytes)[0]!
  told('two have joined', await fetchedAll(newcomers, [probe, probe], recoveryMs))
  const keepers = left.slice(0, 2)
  let mended = 0
  const keepMs = await took(() =>
    each(objects, async ({ address, bytes }, at) => {
      const status = await kept(keepers[at % keepers.length]!, address)
      assert.equal(status.state, 'whole', `${bytes} bytes: ${JSON.stringify(status)}`)
      mended += status.mended
    }),
  )
  say(`kept: ${seconds(keepMs)}, ${mended} shares and slots put back`)
  assert.ok(mended > objects.length)
  const receipt = await getJson<Receipt>(apiOf(newcomers[0]!), `/v1/receipts/${probe.address}`, signal)
  assert.ok(receipt.survives >= 2, `survives ${receipt.survives}`)

  const again = shuffled(left, rng).slice(0, 2)
  say(`killed: nodes ${again.map(({ index }) => index).join(', ')}`)
  await kill(testnet, again)
  const twoMore = await fetchedAll(newcomers, objects, recoveryMs)
  told('all fetched with six of the first eight gone', twoMore)
  return { victims: victims.map(({ index }) => index), publishMs, half, keepMs, mended, twoMore }
}
