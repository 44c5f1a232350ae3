/**
 * A `NodeFace` without a network, for tests of the faces: publications in memory, or in a folder that several processes share.
 * Hooks make a read fail where a test wants it to.
 */
import { mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { isolationUnder } from '../../client/clocks.ts'
import type {
  Asking,
  ByteRange,
  Destination,
  KeepStatus,
  Keeps,
  NameEntry,
  Names,
  NodeEvent,
  NodeFace,
  NodeStatus,
  OpenedFile,
  Publication,
  PublishOptions,
  Receipt,
  ServiceStatus,
  Services,
  SiteStatus,
  Sites,
} from '../../client/library.ts'
import { Traces } from '../../client/trace/index.ts'
import { concat, type NodeId, toHex } from '../../src/bytes/index.ts'
import { AddressType, formatFileAddress, formatKeyAddress, requireAddress } from '../../src/content/address.ts'
import { sha256 } from '../../src/crypto/hash.ts'
import { OverlayError } from '../../src/errors/index.ts'
import { systemClock, systemRng } from '../../src/runtime/index.ts'
import { FakeLive } from './fake-live.ts'

interface Kept {
  readonly bytes: Uint8Array
  readonly contentType: string
  readonly name: string
}

/** Where publications are. */
export interface Shelf {
  put(address: string, kept: Kept): void
  get(address: string): Kept | undefined
}

export function memoryShelf(): Shelf {
  const shelf = new Map<string, Kept>()
  return { put: (address, kept) => shelf.set(address, kept), get: (address) => shelf.get(address) }
}

/** A shelf in `folder`, whole files only. */
export function folderShelf(folder: string): Shelf {
  mkdirSync(folder, { recursive: true })
  return {
    put(address, { bytes, contentType, name }) {
      writeFileSync(join(folder, `${address}.json`), JSON.stringify({ contentType, name }))
      writeFileSync(join(folder, `${address}.part`), bytes)
      renameSync(join(folder, `${address}.part`), join(folder, address))
    },
    get(address) {
      if (!readdirSync(folder).includes(address)) return undefined
      const { contentType, name } = JSON.parse(readFileSync(join(folder, `${address}.json`), 'utf8')) as {
        contentType: string
        name: string
      }
      return { bytes: new Uint8Array(readFileSync(join(folder, address))), contentType, name }
    },
  }
}

const SHARE_BYTES = 65536
const RECEIPT: Receipt = { survives: 4, of: 8, checked: 8, parts: 8, missing: 0, at: 1_767_225_600_000 }
const CHUNK_BYTES = 50_000

export class FakeFace implements NodeFace {
  readonly #shelf: Shelf
  readonly #id: NodeId
  readonly #nodes: () => number
  /** Thrown by `publish` after the body's first chunk. */
  failPublish: Error | null = null
  /** Thrown by `open`. */
  failOpen: Error | null = null
  /** Thrown by `read` after `failReadAfter` bytes. */
  failRead: Error | null = null
  failReadAfter = 0
  /** Awaited before each chunk of a read. */
  beforeChunk: () => Promise<void> = async () => {}
  isReady = true
  /** Reads that are running. */
  reading = 0
  /** Chunks of bodies taken so far. */
  chunksTaken = 0
  /** Awaited before each chunk of a body. */
  beforeTake: () => Promise<void> = async () => {}
  lastPublish: Omit<PublishOptions, 'signal' | 'onProgress'> | null = null

  constructor(shelf: Shelf = memoryShelf(), id = 'ab'.repeat(32) as NodeId, nodes: () => number = () => 8) {
    this.#shelf = shelf
    this.#id = id
    this.#nodes = nodes
  }

  async publish(body: AsyncIterable<Uint8Array>, options: PublishOptions): Promise<Publication> {
    const chunks: Uint8Array[] = []
    const { signal: _signal, onProgress, ...kept } = options
    isolationUnder('swift', options.loopClock)
    this.lastPublish = kept
    await this.beforeTake()
    for await (const chunk of body) {
      chunks.push(chunk.slice())
      this.chunksTaken++
      onProgress?.(chunks.reduce((sum, { length }) => sum + length, 0))
      if (this.failPublish !== null) throw this.failPublish
      await this.beforeTake()
    }
    if (this.failPublish !== null) throw this.failPublish
    const bytes = concat(...chunks)
    const address = formatFileAddress(sha256(bytes))
    this.#shelf.put(address, { bytes, contentType: options.contentType ?? 'application/octet-stream', name: options.name ?? '' })
    const shares = Math.ceil(bytes.length / SHARE_BYTES) * 3 + 4
    return { address, bytes: bytes.length, shares, holders: 8, receipt: RECEIPT, kept: options.keep === true }
  }

  async open(address: string, asking?: Asking): Promise<OpenedFile> {
    requireAddress(address)
    const end = asking?.trace?.stage('root')
    if (this.failOpen !== null) end?.({ note: 'as the test wants', failed: true })
    if (this.failOpen !== null) throw this.failOpen
    const kept = this.#shelf.get(address)
    if (kept === undefined) throw new OverlayError('not-found', 'CONTENT_NOT_FOUND', 'No holder has it.')
    end?.()
    const read = (range: ByteRange, { signal }: { signal: AbortSignal }) => this.#read(kept.bytes, range, signal)
    return {
      address,
      bytes: kept.bytes.length,
      contentType: kept.contentType,
      name: kept.name,
      etag: toHex(sha256(kept.bytes)).slice(0, 32),
      read,
    }
  }

  #read(bytes: Uint8Array, range: ByteRange, signal: AbortSignal): ReturnType<OpenedFile['read']> {
    const counters = { asked: 0, received: 0, bad: 0 }
    const chunks = this.#chunks(bytes, range, signal, counters)
    return { counters, [Symbol.asyncIterator]: () => chunks }
  }

  async *#chunks(
    bytes: Uint8Array,
    { start, end }: ByteRange,
    signal: AbortSignal,
    counters: { asked: number; received: number },
  ) {
    this.reading++
    try {
      counters.asked = counters.received = Math.ceil(end / SHARE_BYTES) - Math.floor(start / SHARE_BYTES)
      for (let at = start; at < end; at += CHUNK_BYTES) {
        await this.beforeChunk()
        signal.throwIfAborted()
        if (this.failRead !== null && at - start >= this.failReadAfter) throw this.failRead
        yield bytes.slice(at, Math.min(end, at + CHUNK_BYTES))
      }
    } finally {
      this.reading--
    }
  }

  status(): NodeStatus {
    const fixed = {
      version: '0.1.0',
      network: 'test',
      neighbours: 4,
      clock: 'swift',
      sharesHeld: 0,
      storeBytes: 0,
      storeQuotaBytes: 1,
    } as const
    return { ...fixed, id: this.#id, nodesKnown: this.#nodes(), loopsReady: 2, cipher: 'fake', uptimeSeconds: 1, warnings: [] }
  }

  peers() {
    return [{ id: this.#id, chosen: true, transport: 'memory' }] as const
  }

  loops() {
    return [{ id: 1, members: 5, clock: 'swift', state: 'ready' }] as const
  }

  ready(): boolean {
    return this.isReady
  }

  /** What key addresses lead to. */
  readonly keys = new Map<string, Destination>()
  readonly #traces = new Traces({ clock: systemClock, rng: systemRng })
  readonly #listeners = new Set<(event: NodeEvent) => void>()

  async resolve(address: string, waiting: Parameters<NodeFace['resolve']>[1]): Promise<Destination> {
    requireAddress(address)
    isolationUnder('swift', waiting.loopClock)
    return this.keys.get(address) ?? { kind: 'file', file: await this.open(address, waiting) }
  }

  trace() {
    return this.#traces.begin()
  }

  traceReport(id: string) {
    return this.#traces.report(id)
  }

  onEvent(listener: (event: NodeEvent) => void): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  emit(event: NodeEvent): void {
    for (const listener of this.#listeners) listener(event)
  }

  readonly #keeps = new Map<string, KeepStatus>()
  readonly keeps: Keeps = {
    list: () => [...this.#keeps.values()],
    get: (address) => this.#keeps.get(address) ?? null,
    keep: async (address) => {
      const { type } = requireAddress(address)
      const counts = { checked: 8, missing: 0, mended: 0, survives: 4, of: 8 }
      const kind = type === AddressType.key ? 'key' : 'file'
      const status = { address, kind, source: 'user', state: 'whole', addedMs: 1, checkedMs: 2, ...counts, code: null } as const
      this.#keeps.set(address, status)
      return status
    },
    unkeep: async (address) => this.#keeps.delete(address),
  }

  async receipt(address: string): Promise<Receipt> {
    await this.open(address)
    return RECEIPT
  }

  readonly #names = new Map<string, NameEntry>()
  readonly names: Names = {
    find: (name) => this.#names.get(name)?.address ?? null,
    list: () => [...this.#names.values()],
    put: async (name, address, source = 'user') => {
      requireAddress(address)
      this.#names.set(name, { name, address, source, addedMs: 0 })
    },
    remove: async (name) => this.#names.delete(name),
  }

  readonly #sites = new Map<string, SiteStatus>()
  readonly sites: Sites = {
    list: () => [...this.#sites.values()],
    publish: async (files, { key, signal }) => {
      let bytes = 0
      let count = 0
      for await (const file of files) {
        for await (const chunk of file.open()) bytes += chunk.length
        count++
        signal.throwIfAborted()
      }
      const address = keyAddressOf(key)
      const version = (this.#sites.get(key)?.version ?? 0) + 1
      this.#sites.set(key, { key, address, version, bytes, files: count, publishedMs: 0 })
      return {
        address,
        version,
        bytes,
        files: count,
        uploaded: bytes,
        snapshot: formatFileAddress(sha256(concat())),
        receipt: RECEIPT,
      }
    },
  }

  readonly #services = new Map<string, ServiceStatus>()
  readonly services: Services = {
    add: async ({ name, target, port = 80 }) => {
      const address = keyAddressOf(name)
      const ports = [{ port, target: `${target.host}:${target.port}` }]
      this.#services.set(name, { name, address, ports, state: 'up', introductionPoints: 3, effort: 0, sessions: 0 })
      const before = this.keys.get(address)
      const live = new FakeLive({ [port]: target.port })
      this.keys.set(address, { kind: 'key', live, site: before?.kind === 'key' ? before.site : null })
      return { address }
    },
    list: () => [...this.#services.values()],
    get: (name) => this.#services.get(name) ?? null,
    remove: async (name) => {
      this.keys.delete(this.#services.get(name)?.address ?? '')
      return this.#services.delete(name)
    },
  }
}

function keyAddressOf(name: string): string {
  return formatKeyAddress(sha256(new TextEncoder().encode(name)))
}
