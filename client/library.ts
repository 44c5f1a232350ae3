/** What the faces (API, proxy, command) ask of a running node. Types only: the faces depend on these, `node.ts` supplies them. */
import type { NodeId } from '../src/bytes/index.ts'

export interface PublishOptions {
  /** A display name kept inside the publication; at most 255 bytes of UTF-8. */
  readonly name?: string
  /** MIME type kept inside the publication; at most 255 bytes. Default `application/octet-stream`. */
  readonly contentType?: string
  readonly signal: AbortSignal
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
}

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
  read(range: ByteRange, waiting: { signal: AbortSignal }): AsyncIterable<Uint8Array> & { readonly counters: FetchCounters }
}

export interface Library {
  /** Errors: `PUBLISH_FAILED`, `NETWORK_TOO_SMALL`, or the body's own error. */
  publish(body: AsyncIterable<Uint8Array>, options: PublishOptions): Promise<Publication>
  /** Errors: `ADDRESS_BAD`, `CONTENT_NOT_FOUND`, `CONTENT_DAMAGED`, `NETWORK_TOO_SMALL`, `TIMEOUT`. */
  open(address: string, waiting: { signal: AbortSignal }): Promise<OpenedFile>
}

export interface PeerStatus {
  readonly id: NodeId
  readonly chosen: boolean
  readonly transport: 'tls' | 'ws' | 'memory'
}

export interface LoopStatus {
  /** How many other members it has. */
  readonly members: number
  readonly clock: 'swift'
  readonly state: 'ready' | 'busy'
}

/** Snake-case-free JSON of `GET /v1/status`: coarse, nothing per peer or circuit. */
export interface NodeStatus {
  readonly id: NodeId
  readonly version: string
  readonly network: string
  readonly nodesKnown: number
  readonly neighbours: number
  readonly loopsReady: number
  readonly clock: 'swift'
  readonly sharesHeld: number
  readonly storeBytes: number
  readonly storeQuotaBytes: number
  /** `sodium-native` or `libsodium-wasm`. */
  readonly cipher: string
  readonly uptimeSeconds: number
  /** Plain words for people: too few nodes, not reachable, … */
  readonly warnings: readonly string[]
}

/** A running node, as the faces see it. */
export interface NodeFace extends Library {
  status(): NodeStatus
  /** For this node's own user only: behind the token. */
  peers(): readonly PeerStatus[]
  loops(): readonly LoopStatus[]
  /** Whether it has neighbours and a loop, ready or busy. */
  ready(): boolean
}
