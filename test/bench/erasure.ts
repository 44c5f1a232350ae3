/**
 * What content costs without a network: the erasure code (WebAssembly SIMD against the plain kernel), and whole publishing and reading over
 * a network that is a map. `node test/bench/erasure.ts [--mib N] [--json]`. Content figures in MB/s of plaintext; CPU of this process, so
 * publishing includes what the map does (nothing), reading does not include a store's own hashing.
 */
import { parseArgs } from 'node:util'
import { openFile } from '../../client/fetch.ts'
import { publishFile } from '../../client/publish.ts'
import { SHARE_BYTES } from '../../src/content/constants.ts'
import { bestKernel, encodeParity, recoverData } from '../../src/content/erasure.ts'
import { plainKernel } from '../../src/content/gf256.ts'
import { systemClock } from '../../src/runtime/index.ts'
import { FakeShareNetwork, never } from '../support/fake-share-network.ts'
import { seededRng } from '../support/seeded-rng.ts'

const K = 10
const N = 30
const GIB = 2 ** 30
const { values } = parseArgs({ options: { mib: { type: 'string', default: '64' }, json: { type: 'boolean', default: false } } })
const mib = Number(values.mib)
const figures: Record<string, number> = {}

function report(name: string, value: number, unit: string): void {
  figures[name] = value
  if (!values.json) console.log(`${name.padEnd(34)} ${value.toFixed(2).padStart(10)} ${unit}`)
}

/** Seconds of CPU that `work` takes, the best of three: the machine is shared. */
function cpuSeconds(work: () => void): number {
  let best = Number.POSITIVE_INFINITY
  for (let round = 0; round < 3; round++) {
    const before = process.cpuUsage()
    work()
    const { user, system } = process.cpuUsage(before)
    best = Math.min(best, (user + system) / 1e6)
  }
  return best
}

const rng = seededRng(1)
const data = Array.from({ length: K }, () => rng.bytes(SHARE_BYTES))
const parity = Array.from({ length: N - K }, () => new Uint8Array(SHARE_BYTES))
for (const kernel of [bestKernel, plainKernel]) {
  const segments = kernel === plainKernel ? 6 : 200
  const bytes = segments * K * SHARE_BYTES
  const encode = cpuSeconds(() => {
    for (let at = 0; at < segments; at++) encodeParity(data, K, parity, kernel)
  })
  report(`encode ${kernel.implementation}`, bytes / encode / 1e6, 'MB/s of content')
  report(`multiply-add ${kernel.implementation}`, (bytes * (N - K)) / encode / 1e9, 'GB/s')
  const shares = parity.slice(0, K).map((share, at) => ({ index: K + at, bytes: share }))
  const wanted = data.map((_, at) => at)
  const decode = cpuSeconds(() => {
    for (let at = 0; at < segments; at++) recoverData(K, shares, wanted, kernel)
  })
  report(`decode, all data lost, ${kernel.implementation}`, bytes / decode / 1e6, 'MB/s of content')
}
report('encode, SIMD to plain', figures[`encode ${bestKernel.implementation}`]! / figures['encode plain']!, 'times')

const parts = { rng, clock: systemClock }
const chunk = rng.bytes(SHARE_BYTES)
async function* content(): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < mib * 16; at++) yield chunk
}

/** CPU of asynchronous work, per GiB of content, and the length of the event loop's turns meanwhile: other people's cells wait that long. */
async function measured(name: string, work: () => Promise<unknown>): Promise<void> {
  const turns: number[] = []
  let lastMs = performance.now()
  let ended = false
  const turn = () => {
    const nowMs = performance.now()
    turns.push(nowMs - lastMs)
    lastMs = nowMs
    if (!ended) setImmediate(turn)
  }
  const before = process.cpuUsage()
  const started = performance.now()
  setImmediate(turn)
  await work()
  ended = true
  const seconds = (performance.now() - started) / 1000
  const { user, system } = process.cpuUsage(before)
  turns.sort((a, b) => a - b)
  report(`${name}: MB/s`, (mib * 1.048576) / seconds, 'MB/s of content')
  report(`${name}: CPU`, ((user + system) / 1e6) * (GIB / (mib * 2 ** 20)), 'CPU-s/GiB of content')
  report(`${name}: turn, p50`, turns[Math.floor(turns.length * 0.5)] ?? 0, 'ms')
  report(`${name}: turn, p99`, turns[Math.floor(turns.length * 0.99)] ?? 0, 'ms')
}

for (const nodes of [8, 50]) {
  const network = new FakeShareNetwork(nodes, 1, { forget: true, turns: true })
  await measured(`publish to ${nodes} nodes`, () => publishFile(network, content(), { signal: never }, { ...parts, sample: 0 }))
}
const network = new FakeShareNetwork(8, 1, { turns: true })
const { address } = await publishFile(network, content(), { signal: never }, parts)
const read = async () => {
  const file = await openFile(network, address, parts, { signal: never })
  let bytes = 0
  for await (const piece of file.read({ start: 0, end: file.bytes }, { signal: never })) bytes += piece.length
  if (bytes !== file.bytes) throw new Error('short')
}
await measured('fetch, all holders there', read)
for (const node of network.nodes.slice(0, 4)) node.state = 'dead'
await measured('fetch, half of the holders gone', read)
if (values.json) console.log(JSON.stringify(figures))
