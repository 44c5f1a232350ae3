/**
 * What people do with a network, under each clock: `npm run clocks`. Six node processes; 100 MiB published at one and fetched at another, with the
 * right hash; a page of a site, with a script, a style and pictures, in Chromium through the proxy of the other (by plain requests where there
 * is none); a live service, first used, used again, and 1 MiB downloaded from it. Prints how long each took; ends with 1 if anything failed.
 */
import { parseArgs } from 'node:util'
import { call, getJson, parseJson, readText } from '../../client/cli/api-client.ts'
import type { NodeStatus, ServiceStatus, SitePublication } from '../../client/library.ts'
import { apiOf, startTestnet, type Testnet, type TestnetNode } from '../../client/testnet/index.ts'
import { CLOCKS, type ClockName, COVERS, parseHostPort } from '../../src/config/index.ts'
import { systemClock } from '../../src/runtime/index.ts'
import { chromiumThrough } from '../support/browser.ts'
import { findClient } from '../support/clients.ts'
import { ask } from '../support/http.ts'
import { eventually } from '../support/processes.ts'
import { seededRng } from '../support/seeded-rng.ts'
import { tarOf } from '../support/tar-maker.ts'
import { contentServer, downloadWatched, fetchWatched, hashOf, offerService, publishContent } from '../support/transfers.ts'

const MiB = 2 ** 20
const ASK_EVERY_MS = 10_000
const WHATS = ['page', 'live', 'bulk'] as const
const HELP = `npm run clocks -- [options]
  --clock LIST        of ${CLOCKS.join(', ')}; default all
  --what LIST         of ${WHATS.join(', ')}; default all, in this order
  --nodes N           default 6
  --mib N             size of what is published and fetched; default 100
  --cover COVER       steady, fixed: ${COVERS.join(', ')}; default medium
  --fixed-loops N     default 5
  --fixed-rate CELLS  default 128
  --minutes N         live: the service is then asked for 1 KiB every ten seconds for so long, and may not fail; default 0
  --hold MS           steady, fixed: default the nodes' own; more where the machine does other things
  --limit S           seconds until all of it is given up; default 3600
  --verbose           what nodes say`

const { values } = parseArgs({
  options: {
    clock: { type: 'string', default: CLOCKS.join(',') },
    what: { type: 'string', default: WHATS.join(',') },
    nodes: { type: 'string', default: '6' },
    mib: { type: 'string', default: '100' },
    cover: { type: 'string', default: 'medium' },
    'fixed-loops': { type: 'string', default: '5' },
    'fixed-rate': { type: 'string', default: '128' },
    minutes: { type: 'string', default: '0' },
    hold: { type: 'string' },
    limit: { type: 'string', default: '3600' },
    verbose: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})
const clocks = CLOCKS.filter((clock) => values.clock.split(',').includes(clock))
const whats = WHATS.filter((what) => values.what.split(',').includes(what))
if (values.help || clocks.length === 0 || whats.length === 0) {
  console.log(HELP)
  process.exit(values.help ? 0 : 2)
}

const { signal } = new AbortController()
const bytes = Number(values.mib) * MiB
const beganMs = systemClock.monotonicMs()
const seconds = (ms: number) => `${(ms / 1000).toFixed(1)} s`
const say = (line: string) => console.log(`${seconds(systemClock.monotonicMs() - beganMs).padStart(9)}  ${line}`)

async function timed<T>(work: () => Promise<T>): Promise<readonly [T, number]> {
  const began = systemClock.monotonicMs()
  return [await work(), systemClock.monotonicMs() - began] as const
}

const PICTURES = 6
const rng = seededRng('clocks')
/** 300 KiB in all. */
const site = [
  {
    name: 'index.html',
    content: `<!doctype html><html lang="en"><meta charset="utf-8"><title>clocks</title><link rel="stylesheet" href="style.css"><body>
${Array.from({ length: PICTURES }, (_, at) => `<img src="${at}.svg" alt="">`).join('')}<script src="app.js"></script></body></html>`,
  },
  { name: 'style.css', content: `body { margin: 1em }\n/* ${Buffer.from(rng.bytes(10_000)).toString('hex')} */` },
  { name: 'app.js', content: `addEventListener('load', () => { document.body.dataset.done = document.images.length })\n` },
  ...Array.from({ length: PICTURES }, (_, at) => ({
    name: `${at}.svg`,
    content: `<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><!-- ${Buffer.from(rng.bytes(23_000)).toString('hex')} --></svg>`,
  })),
]

async function publishSite(node: TestnetNode): Promise<string> {
  const body = Buffer.from(await tarOf(site))
  const headers = { 'Content-Type': 'application/x-tar', 'Content-Length': body.length }
  const send = (request: { end(body: Buffer): void }) => request.end(body)
  const answer = await call(apiOf(node), { method: 'POST', path: '/v1/sites?key=clocks', headers, signal, send })
  return (parseJson(await readText(answer, signal)) as SitePublication).address
}

/** Looks at the page with Chromium: every picture is there and the script has run. */
async function look(node: TestnetNode, address: string): Promise<void> {
  const browser = await chromiumThrough(node)
  try {
    const page = await browser.newPage()
    const answer = await page.goto(`http://${address}.gyre/`, { timeout: 120_000 })
    if (answer?.status() !== 200) throw new Error(`${answer?.status()}: ${await page.textContent('body')}`)
    await page.waitForFunction(`document.body.dataset.done === '${PICTURES}'`, undefined, { timeout: 120_000 })
    const broken = await page.evaluate('[...document.images].filter((image) => image.naturalWidth === 0).length')
    if (broken !== 0) throw new Error(`${broken} pictures did not come`)
  } finally {
    await browser.close()
  }
}

/** The same by plain requests, as a browser makes them. */
async function read(node: TestnetNode, address: string): Promise<void> {
  const at = parseHostPort(node.proxy.slice('http://'.length))
  const get = async (name: string) => {
    const got = await ask(at, { path: `http://${address}.gyre/${name}`, headers: { Host: `${address}.gyre` } })
    if (got.status !== 200) throw new Error(`${name}: ${got.status} ${got.body.toString()}`)
    return got.body
  }
  await get('')
  await Promise.all(
    site.slice(1).map(async ({ name, content }) => {
      if (!(await get(name)).equals(Buffer.from(content))) throw new Error(`${name} is not what it was`)
    }),
  )
}

/** Asks again and again, as `--minutes` says; throws if any ask failed. */
async function asked(ask: () => Promise<number>): Promise<string> {
  const endMs = systemClock.monotonicMs() + Number(values.minutes) * 60_000
  const tookMs: number[] = []
  let failures = 0
  while (systemClock.monotonicMs() < endMs) {
    await systemClock.sleep(ASK_EVERY_MS, { signal })
    const began = systemClock.monotonicMs()
    await ask().then(
      (ms) => tookMs.push(ms),
      (error: unknown) => {
        failures++
        say(`  asked, and after ${seconds(systemClock.monotonicMs() - began)}: ${String(error)}`)
      },
    )
  }
  const [middle, worst] = [0.5, 1].map((part) => tookMs.toSorted((a, b) => a - b).at(Math.ceil(part * tookMs.length) - 1) ?? 0)
  const text = `asked ${tookMs.length + failures} times for 1 KiB: ${failures} failed, ${seconds(middle!)} in the middle, ${seconds(worst!)} at most`
  if (failures > 0) throw new Error(text)
  return text
}

const WORKS: Readonly<Record<(typeof WHATS)[number], (owner: TestnetNode, user: TestnetNode) => Promise<string>>> = {
  async page(owner, user) {
    const [address, publishMs] = await timed(() => publishSite(owner))
    const browser = findClient('chromium') !== null
    const show = () => (browser ? look(user, address) : read(user, address))
    const [, coldMs] = await timed(show)
    const [, againMs] = await timed(show)
    const by = browser ? 'in Chromium' : 'by plain requests'
    return `a page of 300 KiB with ${site.length} files, ${by}: ${seconds(coldMs)}, again ${seconds(againMs)} (published in ${seconds(publishMs)})`
  },
  async live(owner, user) {
    const { port, server } = await contentServer()
    try {
      const began = systemClock.monotonicMs()
      const address = await offerService(owner, port)
      const isUp = async () => (await getJson<ServiceStatus>(apiOf(owner), '/v1/services/web', signal)).state === 'up'
      await eventually('the service is up', isUp, 240_000)
      const upMs = systemClock.monotonicMs() - began
      const get = async (size: number) => {
        const [done, ms] = await timed(() => downloadWatched(user, address, { bytes: size, salt: 1 }))
        if (done.hash !== hashOf(size, 1)) throw new Error(`${size} bytes of the service are not what they were`)
        return ms
      }
      const [firstMs, nextMs, longMs] = [await get(1024), await get(1024), await get(MiB)]
      const text = `a live service is up after ${seconds(upMs)}; 1 KiB of it: first ${seconds(firstMs)}, then ${seconds(nextMs)}; 1 MiB: ${seconds(longMs)}`
      if (Number(values.minutes) === 0) return text
      say(`  ${text}`)
      return await asked(() => get(1024))
    } finally {
      server.close()
    }
  },
  async bulk(owner, user) {
    const [{ address, receipt }, publishMs] = await timed(() => publishContent(owner, bytes, 1))
    say(`  published in ${seconds(publishMs)}; survives the loss of ${receipt.survives} of ${receipt.of}`)
    const done = await fetchWatched(user, address)
    if (done.hash !== hashOf(bytes, 1)) throw new Error('the hash is wrong')
    const stall = `first byte after ${seconds(done.firstMs)}, longest stall ${seconds(done.stallMs)}`
    return `${values.mib} MiB published in ${seconds(publishMs)}, fetched in ${seconds(done.ms)} with the right hash (${stall})`
  },
}

async function underClock(clock: ClockName): Promise<boolean> {
  const fixed = ['--fixed-loops', values['fixed-loops'], '--fixed-rate', values['fixed-rate']]
  const hold = values.hold === undefined ? [] : ['--hold', values.hold]
  const flags = clock === 'swift' ? [] : ['--cover', values.cover, ...hold, ...(clock === 'fixed' ? fixed : [])]
  let good = true
  const onDeath = (index: number, how: string) => {
    say(`node ${index} died: ${how}`)
    good = false
  }
  const onLine = (index: number, line: string) => {
    if (values.verbose) say(`node ${index}: ${line}`)
  }
  const [testnet, readyMs] = await timed(
    (): Promise<Testnet> => startTestnet({ nodes: Number(values.nodes), clock, signal, flags, onLine, onDeath }),
  )
  try {
    say(`${clock} ${flags.join(' ')}: ${values.nodes} nodes ready after ${seconds(readyMs)}`)
    const [owner, user] = [testnet.node(0), testnet.node(Number(values.nodes) - 1)]
    for (const what of whats) {
      try {
        say(`  ${await WORKS[what](owner, user)}`)
      } catch (error) {
        say(`  ${what} FAILED: ${String(error)}`)
        good = false
      }
    }
    const { paced } = await getJson<NodeStatus>(apiOf(user), '/v1/status', signal)
    if (paced !== undefined) say(`  ${JSON.stringify(paced)}`)
  } finally {
    await testnet.close()
  }
  return good
}

const limit = setTimeout(() => {
  say(`given up after ${values.limit} s`)
  process.exit(1) // with all nodes: they end with their parent
}, Number(values.limit) * 1000)
limit.unref()

for (const clock of clocks) if (!(await underClock(clock))) process.exitCode = 1
