/**
 * A `ShareNetwork` without a network: every node is a map. Tests make nodes vanish (from the directory too, or only from reach), fall
 * silent, refuse, slow down or lie, and count what was asked of whom.
 */
import { equalPublic, type MonotonicMs, type NodeId, nodeIdOf, toHex } from '../../src/bytes/index.ts'
import type { PutWork, ShareCheck, ShareNetwork, ShareWork, SlotCheck, SlotValue } from '../../src/content/network.ts'
import { shareProof, slotProof, slotValueHash } from '../../src/content/proof.ts'
import { shareAddress } from '../../src/content/share.ts'
import { slotLocation } from '../../src/content/slot.ts'
import { OverlayError } from '../../src/errors/index.ts'
import { type Clock, systemClock } from '../../src/runtime/index.ts'
import { seededRng } from './seeded-rng.ts'

export interface FakeNode {
  readonly id: NodeId
  readonly shares: Map<string, Uint8Array>
  readonly slots: Map<string, SlotValue[]>
  /** `up`; `gone` from directory and reach; `dead`: listed, unreachable at once; `silent`: listed, never answers; `full`: refuses puts. */
  state: 'up' | 'gone' | 'dead' | 'silent' | 'full'
  /** Time before each answer; needs a clock. */
  delayMs: number
  /** What is sent in place of a share, or of slot values. */
  lie: ((address: Uint8Array, right: Uint8Array | null) => Uint8Array | null) | null
  slotLie: ((right: readonly SlotValue[]) => readonly SlotValue[]) | null
  /** Says yes to puts and keeps nothing. */
  forgets: boolean
  /** What is sent in place of a proof, or of saying that there is none. */
  proofLie: ((right: Uint8Array | null) => Uint8Array | null) | null
  asked: number
}

export interface FakeOptions {
  readonly clock?: Clock
  /** Called before a put is stored, with its number from 1; throwing fails it. */
  readonly onPut?: (node: FakeNode, count: number) => void
  /** Keeps no share, only counts: for long streams. */
  readonly forget?: boolean
  /** Answers in a later turn of the event loop, as a socket would, and not in the same one. */
  readonly turns?: boolean
}

export class FakeShareNetwork implements ShareNetwork {
  readonly self: NodeId
  readonly nodes: readonly FakeNode[]
  readonly #options: FakeOptions
  #listed: readonly NodeId[] | null = null
  puts = 0
  gets = 0
  checks = 0
  /** The longest time that each thing (hex of its address or location) was asked to be kept for, with the node. */
  readonly kept = new Map<string, number>()
  underWay = 0
  underWayPeak = 0

  constructor(count: number, seed: number | string = 1, options: FakeOptions = {}) {
    const rng = seededRng(`nodes ${seed}`)
    this.nodes = Array.from({ length: count }, () => ({
      id: nodeIdOf(rng.bytes(32)),
      shares: new Map(),
      slots: new Map(),
      ...{ state: 'up' as const, delayMs: 0, lie: null, slotLie: null, forgets: false, proofLie: null, asked: 0 },
    }))
    this.self = this.nodes[0]!.id
    this.#options = options
  }

  holders(): readonly NodeId[] {
    const now = this.nodes.filter((node) => node.state !== 'gone').map((node) => node.id)
    if (this.#listed === null || this.#listed.length !== now.length || now.some((id, at) => id !== this.#listed![at]))
      this.#listed = now
    return this.#listed
  }

  node(id: NodeId): FakeNode {
    return this.nodes.find((node) => node.id === id)!
  }

  async putShare(id: NodeId, share: Uint8Array, work: PutWork): Promise<void> {
    const node = await this.#reach(id, work, 'put')
    if (this.#options.forget !== true && !node.forgets) node.shares.set(toHex(shareAddress(share)), share.slice())
  }

  async getShare(id: NodeId, address: Uint8Array, work: ShareWork): Promise<Uint8Array | null> {
    const node = await this.#reach(id, work, 'get')
    const right = node.shares.get(toHex(address)) ?? null
    return node.lie === null ? right : node.lie(address, right)
  }

  async putSlot(id: NodeId, slot: SlotValue, work: PutWork): Promise<void> {
    const node = await this.#reach(id, work, 'put')
    if (node.forgets) return
    const location = toHex(slotLocation(slot.publicKey, slot.slot))
    if (node.slots.get(location)?.some(({ value }) => equalPublic(value, slot.value))) return
    node.slots.set(location, [...(node.slots.get(location) ?? []), slot])
  }

  async getSlots(id: NodeId, location: Uint8Array, work: ShareWork): Promise<readonly SlotValue[]> {
    const node = await this.#reach(id, work, 'get')
    const right = node.slots.get(toHex(location)) ?? []
    return node.slotLie === null ? right : node.slotLie(right)
  }

  async checkShare(id: NodeId, { address, nonce, keepHours }: ShareCheck, work: ShareWork): Promise<Uint8Array | null> {
    const node = await this.#reach(id, work, 'check')
    const share = node.shares.get(toHex(address))
    if (share !== undefined) this.kept.set(`${id} ${toHex(address)}`, keepHours)
    const right = share === undefined ? null : shareProof(nonce, share)
    return node.proofLie === null ? right : node.proofLie(right)
  }

  async checkSlot(id: NodeId, { location, valueHash, nonce, keepHours }: SlotCheck, work: ShareWork): Promise<Uint8Array | null> {
    const node = await this.#reach(id, work, 'check')
    const slot = node.slots.get(toHex(location))?.find(({ value }) => equalPublic(slotValueHash(value), valueHash))
    if (slot !== undefined) this.kept.set(`${id} ${toHex(location)}`, keepHours)
    const right = slot === undefined ? null : slotProof(nonce, slot.value)
    return node.proofLie === null ? right : node.proofLie(right)
  }

  async #reach(id: NodeId, { signal }: ShareWork, kind: 'put' | 'get' | 'check'): Promise<FakeNode> {
    signal.throwIfAborted()
    const node = this.node(id)
    node.asked++
    const count = kind === 'put' ? ++this.puts : kind === 'get' ? ++this.gets : ++this.checks
    this.underWayPeak = Math.max(this.underWayPeak, ++this.underWay)
    try {
      if (node.delayMs > 0) await this.#options.clock!.sleep(node.delayMs, { signal })
      else if (this.#options.turns === true) await new Promise((resolve) => setImmediate(resolve))
      else await Promise.resolve()
      if (node.state === 'silent')
        await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason), { once: true }))
      if (node.state === 'gone' || node.state === 'dead') throw new OverlayError('unreachable', 'STORE_UNREACHABLE', 'dead')
      if (kind === 'put') {
        if (node.state === 'full') throw new OverlayError('overload', 'STORE_REFUSED', 'full')
        this.#options.onPut?.(node, count)
      }
      signal.throwIfAborted()
      return node
    } finally {
      this.underWay--
    }
  }
}

/** A clock on which time stands still and turns are real: nothing is ever late, so counts of asks are exact on a machine of any load. */
export const stillClock: Clock = {
  ...systemClock,
  monotonicMs: () => 0 as MonotonicMs,
  setTimer: () => ({ cancel: () => {} }),
  sleep: async (_, { signal }) => signal.throwIfAborted(),
  deadline: (_, signal) => ({ signal, clear: () => {} }),
}

/** `bytes` as a stream of pieces of `size`. */
export async function* streamOf(bytes: Uint8Array, size = 100_000): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.slice(at, at + size)
}

/** A whole stream as one array. */
export async function collect(stream: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const pieces: Uint8Array[] = []
  for await (const piece of stream) pieces.push(piece)
  return new Uint8Array(Buffer.concat(pieces))
}

/** A signal that never aborts. */
export const never: AbortSignal = new AbortController().signal
