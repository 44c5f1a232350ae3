/** What the faces (API, proxy, command) ask of a running node. Types only: the faces depend on these, `node.ts` supplies them. */
import type { Duplex } from 'node:stream'
import type { NodeId } from '../src/bytes/index.ts'
import type { ClockName, Cover } from '../src/config/index.ts'
import type { Trace, TraceReport } from './trace/index.ts'

/**
 * How one piece of work is done for its user. Work under different `isolation` names shares no loop, session, cache or version of a site;
 * the name never leaves this node. Default ''.
 */
export interface Asking {
  readonly signal: AbortSignal
  readonly isolation?: string
  /** Another clock than the node's, for this work alone: `swift`, and nothing else. Errors: `CLOCK_REFUSED`. */
  readonly loopClock?: ClockName | undefined
  /**
   * For what belongs to a page that is open already: `resolve` takes the version of a site that was looked up for the page, however old.
   * Default `false`: a record looked up more than 15 s ago is looked up again.
   */
  readonly pinned?: boolean
  /** The user asked for what is newest (a reload): a record looked up a moment ago is not enough. */
  readonly fresh?: boolean
  /** Where the time of this work is noted, if somebody wants to know. */
  readonly trace?: Trace
}

export interface PublishOptions {
  /** As `Asking.loopClock`. */
  readonly loopClock?: ClockName | undefined
  /** A display name kept inside the publication; at most 255 bytes of UTF-8. */
  readonly name?: string
  /** MIME type kept inside the publication; at most 255 bytes. Default `application/octet-stream`. */
  readonly contentType?: string
  readonly signal: AbortSignal
  /** Whether this node keeps what is published. Default `false`: it expires after 30 days, unless somebody keeps it. */
  readonly keep?: boolean
  /** Called with plaintext bytes stored so far; at most a few times a second. */
  readonly onProgress?: (bytes: number) => void
}

export interface Publication {
  /** 56 base32 characters. */
  readonly address: string
  /** Plaintext bytes. */
  readonly bytes: number
  /** Shares and root slots stored. */
  readonly shares: number
  /** Distinct nodes that hold them. */
  readonly holders: number
  /** What its holders proved at the end of it. */
  readonly receipt: Receipt
  /** Whether this node keeps it. */
  readonly kept: boolean
}

/** A publication, without what its node makes of it. */
export type StoredPublication = Omit<Publication, 'kept'>

/** Bytes `start` to `end` (exclusive). */
export interface ByteRange {
  readonly start: number
  readonly end: number
}

export interface FetchCounters {
  /** Shares asked for, and those that came and were right. */
  readonly asked: number
  readonly received: number
  /** Shares that failed verification. */
  readonly bad: number
}

/** An opened publication: its root is verified, no content was fetched yet. */
export interface OpenedFile {
  readonly address: string
  readonly bytes: number
  readonly contentType: string
  readonly name: string
  /** Strong validator; the address is the content's hash, so it never changes. */
  readonly etag: string
  /** Verified plaintext, in order. Throws (never ends short) if it cannot be had. `counters` of this read grow meanwhile. */
  read(range: ByteRange, waiting: Asking): AsyncIterable<Uint8Array> & { readonly counters: FetchCounters }
}

/** One file of a site, as it is stored. */
export interface SiteEntry {
  /** Path within the site, without a leading `/`. */
  readonly path: string
  /** Bytes as stored: of the encoded form, if it is encoded. */
  readonly bytes: number
  /** Bytes when decoded. */
  readonly plainBytes: number
  readonly contentType: string
  readonly encoding: 'identity' | 'gzip'
  /** Strong validator of the stored form, quoted. */
  readonly etag: string
  /** As `OpenedFile.read`, over the stored bytes. */
  read(range: ByteRange, waiting: Asking): AsyncIterable<Uint8Array> & { readonly counters: FetchCounters }
}

export type SiteLookup =
  | { readonly kind: 'entry'; readonly entry: SiteEntry }
  /** A folder asked for without its final slash: where to go, a path of this site. */
  | { readonly kind: 'redirect'; readonly location: string }
  /** Nothing there; `page` is the site's own 404 page, if it has one. */
  | { readonly kind: 'missing'; readonly page: SiteEntry | null }

/** One version of a site: its index is verified. Immutable. */
export interface OpenedSite {
  /** Address of this very version, as a `file`. */
  readonly address: string
  /** 1 for the first, one more for each that follows. */
  readonly version: number
  /** All files together, as their readers see them. */
  readonly bytes: number
  readonly files: number
  /** `path`: the percent-decoded path of a request, beginning with `/`. */
  lookUp(path: string): SiteLookup
}

/** A live service, reachable or to be reached. */
export interface LiveService {
  /** Virtual ports that its record names. */
  readonly ports: readonly number[]
  /**
   * A byte stream to the service's target behind `port`, with half-close and back-pressure.
   * Errors: `SERVICE_UNREACHABLE` (nobody answers), `SERVICE_REFUSED` (the port, or its target), `SERVICE_BUSY`, `TIMEOUT`.
   */
  connect(port: number, waiting: Asking): Promise<Duplex>
}

/** What an address leads to now. A key may have both, a live service and a site as its last snapshot. */
export type Destination =
  | { readonly kind: 'file'; readonly file: OpenedFile }
  | { readonly kind: 'key'; readonly live: LiveService | null; readonly site: (() => Promise<OpenedSite>) | null }

/** A file of a site to be published. */
export interface SiteFile {
  /** Relative, `/` between parts, no `.` or `..`, no empty part. */
  readonly path: string
  readonly bytes: number
  /** Called once; the whole content. */
  open(): AsyncIterable<Uint8Array>
}

export interface SiteOptions {
  readonly signal: AbortSignal
  /** Name of the key in this node's key book; made if there is none. */
  readonly key: string
  /** Plaintext bytes done so far; at most a few times a second. */
  readonly onProgress?: (bytes: number) => void
}

export interface SitePublication {
  /** The key's address: stable over versions. */
  readonly address: string
  readonly version: number
  /** All files together. */
  readonly bytes: number
  readonly files: number
  /** What the holders of this version's index and of its new pack proved; older packs were not asked for. */
  readonly receipt: Receipt
  /** Plaintext bytes that had to be uploaded: what changed. */
  readonly uploaded: number
  /** Address of this very version, as a `file`. */
  readonly snapshot: string
}

export interface SiteStatus {
  readonly key: string
  readonly address: string
  readonly version: number
  readonly bytes: number
  readonly files: number
  readonly publishedMs: number
}

export interface ServiceWish {
  /** Name of the key in this node's key book; made if there is none. */
  readonly name: string
  /** Where connections go: a loopback or configured TCP address. */
  readonly target: { readonly host: string; readonly port: number }
  /** The virtual port under the address. Default 80. */
  readonly port?: number
  /** Under a paced clock: how many loops stand for it, and the cells a second of each. Default: as before, else 2 of 128. */
  readonly loops?: number
  readonly rate?: number
}

/** The loops that a service has under a paced clock, whatever is asked of it. */
export interface ServiceCarriage {
  readonly loops: number
  /** Cells a second of each. */
  readonly rate: number
  /** Those that carry something now. */
  readonly running: number
  /** Sessions that they carry at once at most; more are refused as busy. */
  readonly sessionsMax: number
  /** Of all that are there now: one more while a round changes. */
  readonly cellsPerSecond: number
  /** What they put on this node's links in an hour, each way. */
  readonly bytesPerHour: number
}

export interface ServiceStatus {
  readonly name: string
  readonly address: string
  readonly ports: readonly { readonly port: number; readonly target: string }[]
  /** `starting`: not yet reachable; `up`: introduction points stand that a published record names; `degraded`: fewer than wanted. */
  readonly state: 'starting' | 'up' | 'degraded'
  readonly introductionPoints: number
  /** Bits of work that introductions must bring now. */
  readonly effort: number
  readonly sessions: number
  /** Absent: the clock is swift, and loops are built as they are needed. */
  readonly carried?: ServiceCarriage
}

export interface NameEntry {
  readonly name: string
  readonly address: string
  /** Where it came from: `user`, or the name of an imported book. */
  readonly source: string
  readonly addedMs: number
}

/** What `GET /v1/events` tells: coarse and private to this node's user. */
export interface NodeEvent {
  /** `status`, `publish`, `site`, `service`, `name`, `transfer`, `keep`. */
  readonly type: string
  readonly data: Readonly<Record<string, string | number | boolean | null>>
}

export interface Library {
  /** Errors: `PUBLISH_FAILED`, `NETWORK_TOO_SMALL`, or the body's own error. */
  publish(body: AsyncIterable<Uint8Array>, options: PublishOptions): Promise<Publication>
  /** Opens a `file`. Errors: `ADDRESS_BAD`, `CONTENT_NOT_FOUND`, `CONTENT_DAMAGED`, `NETWORK_TOO_SMALL`, `TIMEOUT`. */
  open(address: string, waiting: Asking): Promise<OpenedFile>
  /** What an address (56 characters, any type) leads to. Errors: as `open`. */
  resolve(address: string, waiting: Asking): Promise<Destination>
}

export interface Sites {
  /** Makes the next version of the site at `key`. Errors: those of `Library.publish`, `SITE_BAD` (paths, too many files). */
  publish(files: AsyncIterable<SiteFile>, options: SiteOptions): Promise<SitePublication>
  list(): readonly SiteStatus[]
}

export interface Services {
  /** Errors: `CONFIG_BAD`, `SERVICE_LIMIT`. Resolves when the address is known; `get` tells when it is up. */
  add(wish: ServiceWish): Promise<{ readonly address: string }>
  list(): readonly ServiceStatus[]
  get(name: string): ServiceStatus | null
  /** `false`: there was none. Its key stays. */
  remove(name: string): Promise<boolean>
}

export interface Names {
  /** The address of a name, or `null`. Names are lower case letters, digits and hyphens, 1 to 55, never 56 characters. */
  find(name: string): string | null
  list(): readonly NameEntry[]
  /** Errors: `CONFIG_BAD`, `ADDRESS_BAD`, `NAME_LIMIT`. */
  put(name: string, address: string, source?: string): Promise<void>
  remove(name: string): Promise<boolean>
}

/** How well something that is published is stored, as its holders proved it just now. */
export interface Receipt {
  /** So many nodes, whichever they are, may vanish at once, and it is still whole. -1: it is not whole. */
  readonly survives: number
  /** Nodes that hold something of it. */
  readonly of: number
  /** Shares and root slots that were asked for, and those that there should be. Of large content a part is drawn at random. */
  readonly checked: number
  readonly parts: number
  /** Of those asked for, what nobody has. */
  readonly missing: number
  /** When, in milliseconds since 1970. */
  readonly at: number
}

/** Something that this node keeps: it checks its shares, renews them and puts back what is missing, as long as it runs. */
export interface KeepStatus {
  readonly address: string
  /** A `key` is kept as the site that it has at the time. */
  readonly kind: 'file' | 'key'
  /** `user`: asked for; `own`: published here. */
  readonly source: 'user' | 'own'
  /**
   * `waiting` for its first check; `checking`; and as the last check left it: `whole`: any half of the nodes that are there may vanish; `weak`:
   * it can be read, and less may vanish; `lost`: it cannot be read whole; `empty`: the key has no site; `failed`: see `code`.
   */
  readonly state: 'waiting' | 'checking' | 'whole' | 'weak' | 'lost' | 'empty' | 'failed'
  readonly addedMs: number
  /** When the last check ended. */
  readonly checkedMs: number | null
  /** Of the last check: shares and root slots asked for, those that nobody had, those put back or brought where they belong. */
  readonly checked: number
  readonly missing: number
  readonly mended: number
  readonly survives: number | null
  readonly of: number | null
  /** Why the last check failed. */
  readonly code: string | null
}

export interface Keeps {
  /** By address. */
  list(): readonly KeepStatus[]
  get(address: string): KeepStatus | null
  /** Keeps what is at `address` from now on, and checks it at once, also if it was kept before. Errors: `ADDRESS_BAD`, `KEEP_LIMIT`, `DATA_DIR_UNUSABLE`. */
  keep(address: string): Promise<KeepStatus>
  /** `false`: it was not kept. Sites of this node's own keys are kept as long as these keys have them. */
  unkeep(address: string): Promise<boolean>
}

export interface PeerStatus {
  readonly id: NodeId
  readonly chosen: boolean
  readonly transport: 'tls' | 'ws' | 'memory'
}

export interface LoopStatus {
  /** Number of the loop on this node: says whether two pieces of work shared one. */
  readonly id: number
  /** How many other members it has. */
  readonly members: number
  readonly clock: ClockName
  readonly state: 'ready' | 'busy'
}

/** How a node's loops that go by time are. */
export interface PacedStatus {
  readonly cover: Cover
  /** How long each member keeps a cell, in milliseconds. */
  readonly holdMs: number
  /** Own loops now; the rate of the fastest and of all together, in cells a second. */
  readonly loops: number
  readonly topRate: number
  readonly cellsPerSecond: number
  /** What own loops and control slots put on this node's links in an hour, each way, by the schedule; others' loops through it apart. */
  readonly bytesPerHour: number
  /** Nodes among which this one hides from who watches all wires: those that are known. */
  readonly hiddenAmong: number
  /** Requests that wait for room on the loops, and the seconds that these take for them; more, if they are for few nodes. */
  readonly waiting: number
  readonly waitSeconds: number
  /** Cells that were lost on own loops so far. */
  readonly noiseCells: number
  /** Own swift loops that are open now, for requests that asked for that clock. */
  readonly swiftLoops: number
}

/** Snake-case-free JSON of `GET /v1/status`: coarse, nothing per peer or circuit. */
export interface NodeStatus {
  readonly id: NodeId
  readonly version: string
  readonly network: string
  readonly nodesKnown: number
  readonly neighbours: number
  readonly loopsReady: number
  readonly clock: ClockName
  /** What the clock `steady` or `fixed` does now; absent: the clock is swift. */
  readonly paced?: PacedStatus | undefined
  readonly sharesHeld: number
  readonly storeBytes: number
  readonly storeQuotaBytes: number
  /** `sodium-native` or `libsodium-wasm`. */
  readonly cipher: string
  readonly uptimeSeconds: number
  /** Circuits of others' loops through this node, to the next 16. */
  readonly circuitsRelayed?: number
  /** Plain words for people: too few nodes, not reachable, … */
  readonly warnings: readonly string[]
}

/** A running node, as the faces see it. */
export interface NodeFace extends Library {
  readonly sites: Sites
  readonly services: Services
  readonly names: Names
  readonly keeps: Keeps
  /** Asks the holders of what is at `address` for proofs, and puts nothing back. Errors: as `open`. */
  receipt(address: string, waiting: { readonly signal: AbortSignal }): Promise<Receipt>
  /** Begins a trace: where the time of a piece of work goes. The last ones are kept, in memory only. */
  trace(): Trace
  /** A kept trace, or `undefined`. */
  traceReport(id: string): TraceReport | undefined
  /** Calls `listener` for each event until the returned function is called. */
  onEvent(listener: (event: NodeEvent) => void): () => void
  status(): NodeStatus
  /** For this node's own user only: behind the token. */
  peers(): readonly PeerStatus[]
  loops(): readonly LoopStatus[]
  /** Whether it has neighbours and a loop, ready or busy. */
  ready(): boolean
}
