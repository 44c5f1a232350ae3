/**
 * `npm run bench`: every figure of the README in one run, most of them also as a ratio to the floor measured minutes before on the same
 * machine. `--json` prints one line of JSON at the end; `npm run bench -- PART …` (or `--only PART,…`) runs parts. What each part does and what was found with it:
 * test/bench/README.md.
 */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { PACED_ASKS_AT_ONCE } from '../../client/shares.ts'
import { measureContent } from './content.ts'
import { measureFloods } from './flood.ts'
import { LoopBench } from './loop.ts'
import { measurePaced } from './paced.ts'
import { measureRing } from './ring.ts'
import { measureService, TOR } from './service.ts'
import { measureSteady } from './steady.ts'

const PARTS = [
  'floor',
  'link',
  'cipher',
  'setup',
  'erasure',
  'store',
  'loop',
  'paced',
  'flood',
  'exchange',
  'session',
  'content',
  'service',
  'steady',
] as const
type Part = (typeof PARTS)[number]

const { values, positionals } = parseArgs({
  options: { json: { type: 'boolean', default: false }, only: { type: 'string' } },
  allowPositionals: true,
})
const named = [...positionals, ...(values.only?.split(',') ?? [])]
const asked = named.length > 0 ? named : [...PARTS]
const parts = PARTS.filter((part) => asked.includes(part))
if (asked.some((part) => !PARTS.some((known) => known === part))) {
  console.error(`Parts: ${PARTS.join(', ')}`)
  process.exit(2)
}

/** What is to be reached on a two-core machine. */
interface Goal {
  readonly figure: string
  readonly unit: string
  readonly value: number
  readonly goal?: { readonly least?: number; readonly most?: number }
}

const figures: Goal[] = []
const note = (figure: string, unit: string, value: number, goal?: Goal['goal']) => {
  figures.push(goal === undefined ? { figure, unit, value } : { figure, unit, value, goal })
}

function verdict({ value, goal }: Goal): string {
  if (goal === undefined) return ''
  const reached = value >= (goal.least ?? Number.NEGATIVE_INFINITY) && value <= (goal.most ?? Number.POSITIVE_INFINITY)
  const bound = goal.least === undefined ? `≤ ${goal.most}` : `≥ ${goal.least}`
  return `${bound}  ${reached ? 'reached' : 'NOT REACHED'}`
}

/** A benchmark that prints its own table. */
function script(name: string): void {
  const file = fileURLToPath(new URL(`./${name}.ts`, import.meta.url))
  spawnSync(process.execPath, ['--expose-gc', file], { stdio: ['ignore', values.json ? 2 : 'inherit', 'inherit'] })
}

let tlsFloorMBps = 0
const say = (text: string) => {
  if (!values.json) console.log(text)
}

const RUN: Readonly<Record<Part, () => Promise<void> | void>> = {
  async floor() {
    const tcp = await measureRing('tcp')
    const tls = await measureRing('tls')
    tlsFloorMBps = tls.payloadMBps
    note('ring of six processes, TCP, no cipher', 'MB/s', tcp.payloadMBps)
    note('ring of six processes, TCP, no cipher', 'CPU-s/GiB', tcp.cpuSecondsPerGiB)
    note('ring of six processes, TLS, no cipher', 'MB/s', tls.payloadMBps)
    note('ring of six processes, TLS, no cipher', 'CPU-s/GiB', tls.cpuSecondsPerGiB)
  },
  link: () => script('link'),
  cipher: () => script('cipher'),
  setup: () => script('setup'),
  erasure: () => script('erasure'),
  store: () => script('store'),
  session: () => script('session'),
  async loop() {
    const bench = new LoopBench()
    try {
      await bench.start(6)
      const idle = await bench.memoryMiB()
      note('memory of an idle node, largest of six', 'MiB', Math.max(...idle), { most: 150 })
      await bench.move('down', 32 * 2 ** 20, 1)
      const down = await bench.move('down', 256 * 2 ** 20, 1)
      note('one loop, five others, to the origin', 'MB/s', down.payloadMBps, { least: 35 })
      note('one loop, five others, to the origin, all processes', 'CPU-s/GiB', down.cpuSecondsPerGiB, { most: 50 })
      if (tlsFloorMBps > 0)
        note('one loop, to the TLS ring without cipher', 'ratio', down.payloadMBps / tlsFloorMBps, { least: 0.2 })
      note('loop round trip under that load, median', 'ms', down.roundTripP50Ms)
      note('loop round trip under that load, p99', 'ms', down.roundTripP99Ms, { most: 25 })
      const up = await bench.move('up', 256 * 2 ** 20, 1)
      note('one loop, five others, from the origin', 'MB/s', up.payloadMBps)
      note('one loop, five others, from the origin, all processes', 'CPU-s/GiB', up.cpuSecondsPerGiB)
      const three = await bench.move('down', 256 * 2 ** 20, 3)
      note('three loops at once, to the origin', 'MB/s', three.payloadMBps)
      await bench.build(100, 1)
      const single = await bench.build(200, 1)
      note('cold loop built, median', 'ms', single.medianMs, { most: 40 })
      note('cold loop built, p99', 'ms', single.p99Ms)
      note('CPU per loop built, all members', 'ms', single.cpuMsPerLoop, { most: 4 })
      const many = await bench.build(600, 16)
      note('loops built by one origin, 16 under way', 'per second', many.perSecond)
      const before = await bench.memoryMiB()
      await bench.hold(1000)
      const after = await bench.memoryMiB()
      const relays = after.slice(1).map((mib, at) => mib - before[at + 1]!)
      note('memory per 1,000 circuits at a relay', 'MiB', Math.max(...relays))
      note('memory per 1,000 loops at their origin', 'MiB', after[0]! - before[0]!)
    } finally {
      await bench.close()
    }
  },
  async paced() {
    for (const way of ['up', 'down'] as const) {
      const found = await measurePaced(way, { rate: 8_192, asks: PACED_ASKS_AT_ONCE, seconds: 5 })
      note(`one paced loop of 8192 cells a second, ${way}, of its rate`, 'ratio', found.part, { least: 0.9 })
    }
  },
  async flood() {
    for (const { name, part, low, high } of await measureFloods()) {
      note(`served beside ${name}, of what it is without`, 'ratio', part, { least: 0.5 })
      note('  95 % interval, from', 'ratio', low)
      note('  to', 'ratio', high)
    }
  },
  exchange: () => script('exchange'),
  async content() {
    const found = await measureContent()
    note('eight nodes ready', 's', found.startMs / 1000, { most: 20 })
    note('memory of an idle node, median of eight', 'MiB', found.idleMiB, { most: 150 })
    note('first byte of 1 KiB, loops ready, first fetch', 'ms', found.firstByteColdMs)
    note('first byte of 1 KiB, loops ready, again', 'ms', found.firstByteWarmMs, { most: 20 })
    note('publish 100 MiB (three times that is stored)', 'MB/s', found.publishMBps)
    note('publish 100 MiB, all processes', 'CPU-s/GiB', found.publishCpuPerGiB)
    note('fetch 100 MiB', 'MB/s', found.fetchMBps, { least: 15 })
    note('fetch 100 MiB, all processes', 'CPU-s/GiB', found.fetchCpuPerGiB)
  },
  async service() {
    const found = await measureService()
    note('live service up after it was added', 's', found.upMs / 1000)
    note('first byte of 1 KiB, fresh rendezvous, median', 'ms', found.firstByteFreshMs, { most: 150 })
    note('first byte of 1 KiB, fresh rendezvous, p90', 'ms', found.firstByteFreshP90Ms)
    note('first byte of 1 KiB, ready rendezvous, median', 'ms', found.firstByteReadyMs, { most: 40 })
    note('first byte of 1 KiB, ready rendezvous, p90', 'ms', found.firstByteReadyP90Ms)
    note('first byte, exit circuit on demand, Tor 0.4.9.11 elsewhere', 'ms', TOR.firstByteOnDemandMs)
    note('first byte, ready exit circuit, Tor 0.4.9.11 elsewhere', 'ms', TOR.firstByteReadyMs)
    note('one stream from a live service', 'MB/s', found.downMBps, { least: 8 })
    note('one stream, Tor 0.4.9.11 elsewhere', 'MB/s', TOR.oneStreamMBps)
    note('one stream from a live service, all processes', 'CPU-s/GiB', found.downCpuPerGiB)
    note('one stream, Tor 0.4.9.11 elsewhere', 'CPU-s/GiB', TOR.cpuSecondsPerGiB)
    note('one stream to a live service', 'MB/s', found.uploadMBps, { least: 8 })
    note('one stream to a live service, all processes', 'CPU-s/GiB', found.uploadCpuPerGiB)
    note('eight users, one stream each', 'MB/s', found.eightMBps)
    note('eight users, one stream each, all processes', 'CPU-s/GiB', found.eightCpuPerGiB)
    note('100 connections at once, 1 KiB each', 'ms', found.hundredMs)
  },
  async steady() {
    const found = await measureSteady()
    note('steady: eight nodes ready', 's', found.readyMs / 1000)
    if (found.idleMbitps !== null) note('steady: idle, each way, mean of nodes', 'Mbit/s', found.idleMbitps, { most: 1.2 })
    note('steady: page of 300 KiB, cold, worst of three', 's', Math.max(...found.pageColdMs) / 1000, { most: 8 })
    note('steady: page of 300 KiB, again', 's', found.pageWarmMs / 1000)
    note('steady: publish 1 MiB', 's', found.publishMs / 1000)
    note('steady: fetch 1 MiB', 's', found.fetchMs / 1000)
  },
}

for (const part of parts) {
  say(`\n== ${part}`)
  const from = figures.length
  await RUN[part]()
  for (const figure of figures.slice(from)) {
    say(
      `${figure.figure.padEnd(58)} ${figure.value.toFixed(figure.value < 10 ? 2 : 1).padStart(9)} ${figure.unit.padEnd(10)} ${verdict(figure)}`,
    )
  }
}
if (values.json) console.log(JSON.stringify({ node: process.version, figures }))
