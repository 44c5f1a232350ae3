/**
 * A `RecordNetwork` without a network: every node is a map that keeps the highest sequence, as a holder does. Tests make nodes vanish, fall
 * silent, refuse, slow down or lie, and see what was asked of whom.
 */
import { type NodeId, nodeIdOf, toHex } from '../../src/bytes/index.ts'
import type { ShareWork } from '../../src/content/network.ts'
import { verifyRecord } from '../../src/content/record.ts'
import type { RecordNetwork } from '../../src/content/record-network.ts'
import { OverlayError } from '../../src/errors/index.ts'
import type { Clock } from '../../src/runtime/index.ts'
import type { SignedRecord } from '../../src/wire/index.ts'
import { seededRng } from './seeded-rng.ts'

export interface FakeHolder {
  readonly id: NodeId
  /** By blinded key in hex. */
  readonly records: Map<string, SignedRecord>
  /** Every record that it ever took, in order. */
  readonly history: SignedRecord[]
  /** `gone`: neither listed nor reachable; `dead`: listed, unreachable at once; `silent`: never answers; `full`: refuses puts. */
  state: 'up' | 'gone' | 'dead' | 'silent' | 'full'
  delayMs: number
  /** What is sent in place of the right answer. */
  lie: ((publicKey: Uint8Array, right: SignedRecord | null, holder: FakeHolder) => SignedRecord | null) | null
  asked: number
}

export class FakeRecordNetwork implements RecordNetwork {
  readonly self: NodeId
  readonly nodes: readonly FakeHolder[]
  readonly #clock: Clock
  puts = 0
  gets = 0
  /** Sessions that were opened, and closed. */
  opened = 0
  closed = 0
  /** Nodes that sessions were to be ready for, and one that they never are ready for. */
  readonly readied: NodeId[] = []
  neverReady: NodeId | null = null

  constructor(count: number, clock: Clock, seed: number | string = 1) {
    const rng = seededRng(`holders ${seed}`)
    this.nodes = Array.from({ length: count }, () => ({
      id: nodeIdOf(rng.bytes(32)),
      records: new Map(),
      history: [],
      ...{ state: 'up' as const, delayMs: 0, lie: null, asked: 0 },
    }))
    this.self = this.nodes[0]!.id
    this.#clock = clock
  }

  holders(): readonly NodeId[] {
    return this.nodes.filter(({ state }) => state !== 'gone').map(({ id }) => id)
  }

  /** The nodes that hold something under a blinded key. */
  holding(publicKey: Uint8Array): FakeHolder[] {
    return this.nodes.filter(({ records }) => records.has(toHex(publicKey)))
  }

  /** This network as a session that counts its openings. */
  session(): RecordNetwork & { close(): void } {
    this.opened++
    return {
      self: this.self,
      holders: () => this.holders(),
      ready: (node, _bytes, { signal }) => this.#ready(node, signal),
      putRecord: (node, record, work) => this.putRecord(node, record, work),
      getRecord: (node, publicKey, work) => this.getRecord(node, publicKey, work),
      close: () => void this.closed++,
    }
  }

  async #ready(node: NodeId, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    this.readied.push(node)
    if (node === this.neverReady)
      await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason), { once: true }))
  }

  async putRecord(id: NodeId, record: SignedRecord, work: ShareWork): Promise<void> {
    const node = await this.#reach(id, work)
    this.puts++
    const held = node.records.get(toHex(record.publicKey))
    if (node.state === 'full' || !verifyRecord(record) || (held !== undefined && held.sequence > record.sequence)) {
      throw new OverlayError('overload', 'STORE_REFUSED', 'refused')
    }
    node.records.set(toHex(record.publicKey), record)
    node.history.push(record)
  }

  async getRecord(id: NodeId, publicKey: Uint8Array, work: ShareWork): Promise<SignedRecord | null> {
    const node = await this.#reach(id, work)
    this.gets++
    const right = node.records.get(toHex(publicKey)) ?? null
    return node.lie === null ? right : node.lie(publicKey, right, node)
  }

  async #reach(id: NodeId, { signal }: ShareWork): Promise<FakeHolder> {
    signal.throwIfAborted()
    const node = this.nodes.find((each) => each.id === id)!
    node.asked++
    if (node.delayMs > 0) await this.#clock.sleep(node.delayMs, { signal })
    else await Promise.resolve()
    if (node.state === 'silent')
      await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason), { once: true }))
    if (node.state === 'gone' || node.state === 'dead') throw new OverlayError('unreachable', 'STORE_UNREACHABLE', 'dead')
    signal.throwIfAborted()
    return node
  }
}
