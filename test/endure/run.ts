/**
 * Long transfers while other nodes die: `npm run endure -- --runs 10`. In each run one node fetches content and downloads from a live service at
 * once, as fast as it can, while every five seconds another node is killed with SIGKILL (or stands still: `--how hold`), to come back after twenty. Prints
 * for each run how long it took, how many nodes were hit, how long each transfer stood still at most, and whether its hash is right. Ends with 1 if
 * one failed, was wrong, or stood still for 5 s.
 */
import { parseArgs } from 'node:util'
import { getJson } from '../../client/cli/api-client.ts'
import type { ServiceStatus } from '../../client/library.ts'
import { apiOf, startTestnet, type Testnet } from '../../client/testnet/index.ts'
import { CLOCKS } from '../../src/config/index.ts'
import { systemClock } from '../../src/runtime/index.ts'
import { type Hit, Killer } from '../support/killer.ts'
import { eventually } from '../support/processes.ts'
import { seededRng } from '../support/seeded-rng.ts'
import {
  contentServer,
  downloadWatched,
  fetchWatched,
  hashOf,
  offerService,
  publishContent,
  type Transferred,
} from '../support/transfers.ts'

const MiB = 2 ** 20
const STALL_MAX_MS = 5_000
const HELP = `npm run endure -- [options]
  --runs N     default 10
  --nodes N    default 10; all but the first and the last are hit
  --mib N      size of what is fetched, and of what is downloaded; default 200
  --every S    seconds between two hits; default 5
  --away S     seconds until a node is back; default 20
  --clock C    ${CLOCKS.join(', ')}; default swift
  --how HOW    kill, hold (SIGSTOP), both in turn; default kill
  --what LIST  of fetch, live, publish (50 MiB); default fetch,live
  --seed N     which nodes are hit; default 1
  --verbose    each hit, and what nodes say`

const { values } = parseArgs({
  options: {
    runs: { type: 'string', default: '10' },
    nodes: { type: 'string', default: '10' },
    mib: { type: 'string', default: '200' },
    every: { type: 'string', default: '5' },
    away: { type: 'string', default: '20' },
    clock: { type: 'string', default: 'swift' },
    how: { type: 'string', default: 'kill' },
    what: { type: 'string', default: 'fetch,live' },
    seed: { type: 'string', default: '1' },
    verbose: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})
const clock = CLOCKS.find((one) => one === values.clock)
if (values.help || clock === undefined || !['kill', 'hold', 'both'].includes(values.how)) {
  console.log(HELP)
  process.exit(values.help ? 0 : 2)
}

const { signal } = new AbortController()
const nodes = Number(values.nodes)
const [owner, user] = [0, nodes - 1]
const bytes = Number(values.mib) * MiB
const kinds = values.what.split(',')
const fileSalt = 1_000_000
const beganMs = systemClock.monotonicMs()

interface Outcome {
  readonly kind: string
  readonly text: string
  readonly stallMs: number
  readonly good: boolean
}

function say(line: string): void {
  const seconds = (systemClock.monotonicMs() - beganMs) / 1000
  console.log(`${seconds.toFixed(1).padStart(7)} s  ${line}`)
}

function outcomeOf(kind: string, done: Transferred, salt: number): Outcome {
  const right = done.hash === hashOf(bytes, salt)
  const stallMs = Math.max(done.firstMs, done.stallMs)
  const times = `${(done.ms / 1000).toFixed(1)} s, longest stall ${(stallMs / 1000).toFixed(2)} s`
  return { kind, text: `${times}, ${right ? 'hash ok' : 'WRONG HASH'}`, stallMs, good: right && stallMs < STALL_MAX_MS }
}

async function outcomes(testnet: Testnet, run: number, address: string, service: string): Promise<Outcome[]> {
  const node = testnet.node(user)
  const works: Readonly<Record<string, () => Promise<Outcome>>> = {
    fetch: async () => outcomeOf('fetch', await fetchWatched(node, address), fileSalt),
    live: async () => outcomeOf('live', await downloadWatched(node, service, { bytes, salt: run }), run),
    publish: async () => {
      const began = systemClock.monotonicMs()
      const { receipt } = await publishContent(node, 50 * MiB, fileSalt + 1 + run)
      const seconds = (systemClock.monotonicMs() - began) / 1000
      const text = `${seconds.toFixed(1)} s, survives the loss of ${receipt.survives} of ${receipt.of}, ${receipt.missing} missing`
      return { kind: 'publish', text, stallMs: 0, good: true }
    },
  }
  const failed = (kind: string) => (error: unknown) => ({ kind, text: `FAILED: ${String(error)}`, stallMs: 0, good: false })
  return Promise.all(kinds.map((kind) => works[kind]!().catch(failed(kind))))
}

async function oneRun(testnet: Testnet, run: number, address: string, service: string): Promise<Outcome[]> {
  const killer = new Killer({
    testnet,
    victims: testnet.nodes.map(({ index }) => index).filter((index) => index !== owner && index !== user),
    rng: seededRng(`endure ${values.seed} ${run}`),
    everyMs: Number(values.every) * 1000,
    awayMs: Number(values.away) * 1000,
    firstMs: 1_000,
    how: values.how as Hit | 'both',
    signal,
    onHit: (index, how) => {
      if (values.verbose) say(`  ${how} ${index}`)
    },
  })
  killer.start()
  try {
    const results = await outcomes(testnet, run, address, service)
    const texts = results.map(({ kind, text }) => `${kind} ${text}`)
    say(`run ${run + 1}: ${killer.hits} hits; ${texts.join('; ')}`)
    return results
  } finally {
    await killer.stop()
  }
}

const { port, server } = await contentServer()
const testnet = await startTestnet({
  nodes,
  clock,
  signal,
  onLine: (index, line) => {
    if (values.verbose) say(`  node ${index}: ${line}`)
  },
  onDeath: (index, how) => {
    say(`node ${index} died by itself: ${how}`)
    process.exitCode = 1
  },
})
try {
  const service = await offerService(testnet.node(owner), port)
  const isUp = async () => (await getJson<ServiceStatus>(apiOf(testnet.node(owner)), '/v1/services/web', signal)).state === 'up'
  await eventually('the service is up', isUp, 30_000)
  const { address } = await publishContent(testnet.node(owner), bytes, fileSalt)
  say(`${nodes} nodes; ${values.mib} MiB published`)
  const all: Outcome[] = []
  for (let run = 0; run < Number(values.runs); run++) {
    all.push(...(await oneRun(testnet, run, address, service)))
    await testnet.ready(nodes)
  }
  for (const kind of kinds) {
    const of = all.filter((outcome) => outcome.kind === kind)
    const worst = Math.max(...of.map(({ stallMs }) => stallMs)) / 1000
    say(`${kind}: ${of.filter(({ good }) => good).length} of ${of.length} well, longest stall ${worst.toFixed(2)} s`)
  }
  say('beside it, one relay killed once: Tor 0.4.9 loses the stream; i2pd 2.45 stands still for 0.1, 27, 27, 27, 36, 100 s')
  if (all.some(({ good }) => !good)) process.exitCode = 1
} finally {
  server.close()
  await testnet.close()
}
