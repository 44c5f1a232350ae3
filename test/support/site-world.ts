/** Sites without loops: publications over a `FakeShareNetwork`, keys and records in memory, and helpers to make and read sites. */

import { openFile } from '../../client/fetch.ts'
import type { Library, OpenedSite, PublishOptions, SiteFile } from '../../client/library.ts'
import { OpenFiles } from '../../client/open-files.ts'
import { publishFile } from '../../client/publish.ts'
import { Resolver, SitePublisher } from '../../client/sites/index.ts'
import type { Logger } from '../../src/log/index.ts'
import { type Clock, systemClock } from '../../src/runtime/index.ts'
import { FakeKeyBook, FakeRecords } from './fake-records.ts'
import { collect, FakeShareNetwork, never } from './fake-share-network.ts'
import { seededRng } from './seeded-rng.ts'

const quiet: Logger = { error() {}, warn() {}, info() {}, debug() {}, child: () => quiet }

/** Content by path. */
export type Tree = Readonly<Record<string, Uint8Array | string>>

export class SiteWorld {
  readonly network: FakeShareNetwork
  readonly keys = new FakeKeyBook()
  readonly records = new FakeRecords(this.keys)
  readonly openFiles: OpenFiles
  readonly publisher: SitePublisher
  readonly resolver: Resolver
  readonly clock: Clock
  /** Bytes of each body that was published, in order. */
  readonly uploads: number[] = []
  /** Addresses opened, in order, with the isolation. */
  readonly opened: string[] = []
  /** Thrown by the next publication of a body at its end. */
  failPublish: Error | null = null
  /** Thrown by opening this address. */
  readonly failOpen = new Map<string, Error>()

  constructor(seed: number | string = 1, clock: Clock = systemClock) {
    const rng = seededRng(`sites ${seed}`)
    this.clock = clock
    this.network = new FakeShareNetwork(6, seed)
    this.openFiles = new OpenFiles(clock)
    const parts = { rng, clock }
    const publish = async (body: AsyncIterable<Uint8Array>, options: PublishOptions) => {
      const published = await publishFile(this.network, this.#failing(body), options, parts)
      this.uploads.push(published.bytes)
      return published
    }
    const open: Library['open'] = async (address, asking) => {
      this.opened.push(`${asking.isolation ?? ''}/${address}`)
      const failure = this.failOpen.get(address)
      if (failure !== undefined) throw failure
      const name = `${address} ${asking.isolation ?? ''}`
      return this.openFiles.get(name, () => openFile(this.network, address, parts, asking))
    }
    const { keys, records } = this
    this.publisher = new SitePublisher({ publish, keys, records, finder: records, clock, rng, log: quiet })
    this.resolver = new Resolver({ open, finder: records, live: () => null, clock })
  }

  async *#failing(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    yield* body
    const failure = this.failPublish
    this.failPublish = null
    if (failure !== null) throw failure
  }

  publish(tree: Tree, key = 'home') {
    return this.publisher.publish(filesOf(tree), { key, signal: never })
  }

  async open(address: string, asking: { readonly isolation?: string; readonly pinned?: boolean } = {}): Promise<OpenedSite> {
    const found = await this.resolver.resolve(address, { signal: never, ...asking })
    if (found.kind !== 'key' || found.site === null) throw new Error('no site')
    return found.site()
  }

  close(): void {
    this.openFiles.close()
    this.resolver.close()
  }
}

export async function* filesOf(tree: Tree): AsyncGenerator<SiteFile> {
  for (const [path, content] of Object.entries(tree)) yield fileOf(path, content)
}

export function fileOf(path: string, content: Uint8Array | string, chunkBytes = 50_000): SiteFile {
  const bytes = typeof content === 'string' ? new TextEncoder().encode(content) : content
  return {
    path,
    bytes: bytes.length,
    async *open() {
      for (let at = 0; at < bytes.length; at += chunkBytes) yield bytes.slice(at, at + chunkBytes)
    },
  }
}

/** What a reader gets at `path`, decoded. */
export async function contentAt(site: OpenedSite, path: string): Promise<Uint8Array> {
  const found = site.lookUp(path)
  if (found.kind !== 'entry') throw new Error(`${path}: ${found.kind}`)
  const { entry } = found
  const stored = await collect(entry.read({ start: 0, end: entry.bytes }, { signal: never }))
  return entry.encoding === 'gzip' ? gunzip(stored) : stored
}

async function gunzip(bytes: Uint8Array): Promise<Uint8Array> {
  const { gunzipSync } = await import('node:zlib')
  return new Uint8Array(gunzipSync(bytes))
}
