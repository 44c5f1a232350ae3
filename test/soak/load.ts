/**
 * What a soak's users do: publish files of all sizes, read them through proxies, change a site and read it, talk to a live service, keep and unkeep.
 * Each job comes at random times, at a rate that is its own. Everything that is read is compared with what was published.
 */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer, request as httpRequest, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { call, parseJson, readText, sendJson } from '../../client/cli/api-client.ts'
import type { Publication, ServiceStatus, SitePublication } from '../../client/library.ts'
import { apiOf, type Testnet, type TestnetNode } from '../../client/testnet/index.ts'
import { isOverlayError } from '../../src/errors/index.ts'
import { type Rng, systemClock } from '../../src/runtime/index.ts'
import { eventually } from '../support/processes.ts'
import { tarOf } from '../support/tar-maker.ts'
import { type Outcome, SMALL_FETCH } from './judge.ts'

const KiB = 2 ** 10
const MiB = 2 ** 20
/** A request without an answer by then has failed. */
const PATIENCE_MS = 60_000
const SMALL_BYTES_MAX = 16 * KiB
/** Publications that are read; the oldest make room. */
const SMALL_MAX = 200
const LARGE_MAX = 40
const KEPT_MAX = 10
const STREAM_BYTES = MiB

interface Published {
  readonly address: string
  readonly hash: string
}

/** Mean time between two jobs of a kind, in milliseconds. */
const MEAN_MS = {
  smallFetch: 1_000,
  smallPublication: 20_000,
  publication: 60_000,
  largeFetch: 30_000,
  siteChange: 40_000,
  siteVisit: 8_000,
  call: 6_000,
  stream: 40_000,
  keep: 40_000,
}

export class Load {
  readonly outcomes: Outcome[] = []
  /** Answers that were not what was published. */
  wrong = 0
  readonly #net: Testnet
  readonly #rng: Rng
  readonly #signal: AbortSignal
  readonly #beganMs: number
  /** Nodes that are never killed: they publish and serve. */
  readonly #lasting: readonly number[]
  readonly #ready: () => readonly TestnetNode[]
  readonly #small: Published[] = []
  readonly #large: Published[] = []
  readonly #kept: string[] = []
  /** Pages that the site has had, oldest first. */
  readonly #pages: string[] = []
  #site = ''
  #service = ''
  #number = 0

  constructor(parts: {
    readonly net: Testnet
    readonly rng: Rng
    readonly signal: AbortSignal
    readonly beganMs: number
    readonly lasting: readonly number[]
    readonly ready: () => readonly TestnetNode[]
  }) {
    this.#net = parts.net
    this.#rng = parts.rng
    this.#signal = parts.signal
    this.#beganMs = parts.beganMs
    this.#lasting = parts.lasting
    this.#ready = parts.ready
  }

  /** Works until the signal aborts. */
  async run(): Promise<void> {
    const target = createServer((request, response) => void serve(request).then((body) => response.end(body)))
    target.listen(0, '127.0.0.1')
    await once(target, 'listening')
    try {
      await this.#begin((target.address() as AddressInfo).port)
      await Promise.all([
        this.#every(MEAN_MS.smallFetch, () => this.#smallFetch()),
        this.#every(MEAN_MS.smallPublication, () => this.#smallPublication()),
        this.#every(MEAN_MS.publication, () => this.#publication()),
        this.#every(MEAN_MS.largeFetch, () => this.#largeFetch()),
        this.#every(MEAN_MS.siteChange, () => this.#siteChange()),
        this.#every(MEAN_MS.siteVisit, () => this.#siteVisit()),
        this.#every(MEAN_MS.call, () => this.#call(200, 'call')),
        this.#every(MEAN_MS.stream, () => this.#call(STREAM_BYTES, 'stream')),
        this.#every(MEAN_MS.keep, () => this.#keep()),
      ])
    } finally {
      target.closeAllConnections()
      target.close()
    }
  }

  /** Something to read, a site, a service. */
  async #begin(port: number): Promise<void> {
    for (let at = 0; at < 12; at++) await this.#smallPublication()
    await this.#publication()
    await this.#siteChange()
    const at = apiOf(this.#host)
    const body = { name: 'soak-live', target: `127.0.0.1:${port}`, port: 80 }
    const { address } = await sendJson<{ address: string }>(at, {
      method: 'POST',
      path: '/v1/services',
      body,
      signal: this.#signal,
    })
    this.#service = address
    const isUp = async () => {
      const answer = await call(at, { path: '/v1/services/soak-live', signal: this.#signal })
      return (parseJson(await readText(answer, this.#signal)) as ServiceStatus).state === 'up'
    }
    await eventually('the service is up', isUp, PATIENCE_MS)
  }

  get #host(): TestnetNode {
    return this.#net.node(this.#lasting[0]!)
  }

  /** Runs `job` again and again, `meanMs` apart, several at a time if one takes long. */
  async #every(meanMs: number, job: () => Promise<void>): Promise<void> {
    const running = new Set<Promise<void>>()
    while (!this.#signal.aborted) {
      const wait = Math.min(6, -Math.log(1 - this.#rng.unit())) * meanMs
      await systemClock.sleep(wait, { signal: this.#signal }).catch(() => {})
      if (this.#signal.aborted || running.size >= 8) continue
      const one = job().finally(() => running.delete(one))
      running.add(one)
    }
    await Promise.all(running)
  }

  /** One request with its time and its end. */
  async #timed(kind: string, work: (signal: AbortSignal) => Promise<void>): Promise<void> {
    const from = systemClock.monotonicMs()
    const patience = systemClock.deadline(PATIENCE_MS, this.#signal)
    let failure = ''
    try {
      await work(patience.signal)
    } catch (error) {
      if (this.#signal.aborted) return
      failure = patience.signal.aborted ? 'NO_ANSWER' : nameOf(error)
      if (failure === WRONG) this.wrong++
    } finally {
      patience.clear()
    }
    this.outcomes.push({ kind, atMs: from - this.#beganMs, ms: systemClock.monotonicMs() - from, failure })
  }

  #any<T>(items: readonly T[]): T {
    return items[this.#rng.below(items.length)]!
  }

  #publisher(): TestnetNode {
    return this.#net.node(this.#any(this.#lasting))
  }

  async #publish(bytes: number, signal: AbortSignal): Promise<Published> {
    const body = Buffer.from(this.#rng.bytes(bytes))
    const headers = { 'Content-Type': 'application/octet-stream', 'Content-Length': body.length }
    const send = (request: { end(body: Buffer): void }) => request.end(body)
    const answer = await call(apiOf(this.#publisher()), {
      ...{ method: 'POST', path: '/v1/publish?keep=false', headers, signal, send },
    })
    const { address } = parseJson(await readText(answer, signal)) as Publication
    return { address, hash: sha256(body) }
  }

  #smallPublication(): Promise<void> {
    return this.#timed('small publication', async (signal) => {
      this.#small.push(await this.#publish(1 + this.#rng.below(SMALL_BYTES_MAX), signal))
      if (this.#small.length > SMALL_MAX) this.#small.shift()
    })
  }

  #publication(): Promise<void> {
    return this.#timed('publication', async (signal) => {
      // As many of 32 to 64 KiB as of 4 to 8 MiB.
      const bytes = Math.floor(2 ** (15 + 8 * this.#rng.unit()))
      this.#large.push(await this.#publish(bytes, signal))
      if (this.#large.length > LARGE_MAX) this.#large.shift()
    })
  }

  #smallFetch(): Promise<void> {
    return this.#timed(SMALL_FETCH, (signal) => this.#fetched(this.#any(this.#small), signal))
  }

  #largeFetch(): Promise<void> {
    return this.#timed('large fetch', (signal) => this.#fetched(this.#any(this.#large), signal))
  }

  async #fetched({ address, hash }: Published, signal: AbortSignal): Promise<void> {
    const answer = await proxied(this.#any(this.#ready()), address, '/', signal)
    const got = createHash('sha256')
    for await (const chunk of answer) got.update(chunk as Buffer)
    expect(answer, 200)
    if (got.digest('hex') !== hash) throw new Error(WRONG)
  }

  #siteChange(): Promise<void> {
    return this.#timed('site change', async (signal) => {
      const page = `<!doctype html><p>Version ${this.#number++}, ${this.#rng.below(2 ** 32)}`
      this.#pages.push(page)
      const tar = await tarOf([
        { name: 'index.html', content: page },
        { name: 'same.txt', content: 'the same '.repeat(9_000) },
      ])
      const headers = { 'Content-Type': 'application/x-tar', 'Content-Length': tar.length }
      const send = (request: { end(body: Uint8Array): void }) => request.end(tar)
      const answer = await call(apiOf(this.#host), { method: 'POST', path: '/v1/sites?key=soak', headers, signal, send })
      this.#site = (parseJson(await readText(answer, signal)) as SitePublication).address
    })
  }

  /** Any page that the site has had is right: which one a reader sees depends on when it last looked. */
  #siteVisit(): Promise<void> {
    return this.#timed('site visit', async (signal) => {
      const headers = this.#rng.below(2) === 0 ? { 'Cache-Control': 'no-cache' } : {}
      const answer = await proxied(this.#any(this.#ready()), this.#site, '/', signal, headers)
      const page = (await bodyOf(answer)).toString()
      expect(answer, 200)
      if (!this.#pages.includes(page)) throw new Error(WRONG)
    })
  }

  /** As much as was asked for comes, and it is what was asked for. */
  #call(bytes: number, kind: string): Promise<void> {
    return this.#timed(kind, async (signal) => {
      const users = this.#ready().filter(({ index }) => index !== this.#host.index)
      const path = `/${this.#rng.below(2 ** 32)}/${bytes}`
      const answer = await proxied(this.#any(users), this.#service, path, signal)
      const body = await bodyOf(answer)
      expect(answer, 200)
      if (!body.equals(contentOf(path))) throw new Error(WRONG)
    })
  }

  #keep(): Promise<void> {
    return this.#timed('keep', async (signal) => {
      const at = apiOf(this.#net.node(this.#lasting[1]!))
      const { address } = this.#any(this.#rng.below(3) === 0 ? this.#large : this.#small)
      if (this.#kept.includes(address)) return
      await sendJson(at, { method: 'PUT', path: `/v1/keeps/${address}`, signal })
      this.#kept.push(address)
      if (this.#kept.length <= KEPT_MAX) return
      const answer = await call(at, { method: 'DELETE', path: `/v1/keeps/${this.#kept.shift()}`, signal })
      answer.resume()
    })
  }
}

/** What an answer that is not what was published is called. */
const WRONG = 'WRONG_BYTES'

function nameOf(error: unknown): string {
  if (isOverlayError(error)) return error.code
  if (!(error instanceof Error)) return String(error)
  return (error as NodeJS.ErrnoException).code ?? error.message.slice(0, 60)
}

/** The failure is named by what the proxy says. */
function expect(answer: IncomingMessage, status: number): void {
  if (answer.statusCode === status && answer.complete) return
  throw new Error(`${answer.statusCode} ${answer.headers['proxy-status'] ?? ''}`.trim())
}

async function proxied(
  node: TestnetNode,
  address: string,
  path: string,
  signal: AbortSignal,
  headers: Readonly<Record<string, string>> = {},
): Promise<IncomingMessage> {
  const { hostname: host, port } = new URL(node.proxy)
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>()
  const to = { host, port, path: `http://${address}.gyre${path}`, headers: { ...headers, Host: `${address}.gyre` } }
  httpRequest({ ...to, agent: false, signal }, resolve)
    .on('error', reject)
    .end()
  return promise
}

async function bodyOf(answer: AsyncIterable<unknown>): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of answer) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}

async function serve(request: IncomingMessage): Promise<Buffer> {
  for await (const _ of request);
  return contentOf(request.url ?? '')
}

/** The service's content at `/NUMBER/BYTES`. */
function contentOf(path: string): Buffer {
  const bytes = Math.min(STREAM_BYTES, Number(path.split('/')[2] ?? 0))
  return Buffer.alloc(bytes, sha256(Buffer.from(path)))
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}
