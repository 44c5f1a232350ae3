/**
 * Finds and deciphers blocks of an opened file: knows at which level a segment's share addresses lie, reads those levels when they are needed
 * and keeps a few of their blocks. Spec: SPEC.md §7.4, §7.6.
 */
import { concat } from '../../src/bytes/index.ts'
import { SEGMENT_BLOCKS, SHARE_ADDRESS_BYTES, SHARE_BYTES } from '../../src/content/constants.ts'
import { type LevelShape, shapeOf } from '../../src/content/layout.ts'
import { levelKey, type Root } from '../../src/content/root.ts'
import { chacha20Xor } from '../../src/crypto/index.ts'
import { laterTurn } from '../../src/runtime/index.ts'
import { SegmentJob } from './segment-job.ts'
import { codeOf, type ShareAsker } from './share-asker.ts'

/** Index blocks kept per opened file: 1 MiB. One covers about 68 segments, 43 MiB of content. */
const INDEX_BLOCKS_KEPT = 16

/** What is known of an opened file, shared by its reads: shape, keys and the index blocks seen last. */
export class FileMap {
  readonly root: Root
  readonly levels: readonly LevelShape[]
  readonly #keys: readonly Uint8Array[]
  /** Plaintext index blocks, the one used longest ago first. */
  readonly #index = new Map<string, Uint8Array>()

  constructor(root: Root) {
    this.root = root
    this.levels = shapeOf(root.length, root.spread)
    this.#keys = this.levels.map(({ level }) => levelKey(root.sigma, level))
  }

  /** Block `block` of `level` in clear. A new array. */
  decipher(level: number, block: number, bytes: Uint8Array): Uint8Array {
    return chacha20Xor(this.#keys[level]!, block, bytes)
  }

  kept(name: string): Uint8Array | undefined {
    const bytes = this.#index.get(name)
    if (bytes === undefined) return undefined
    this.#index.delete(name)
    this.#index.set(name, bytes)
    return bytes
  }

  keep(name: string, bytes: Uint8Array): void {
    this.#index.set(name, bytes)
    if (this.#index.size <= INDEX_BLOCKS_KEPT) return
    const [oldest] = this.#index.keys()
    if (oldest !== undefined) this.#index.delete(oldest)
  }
}

/** The blocks of one file for one read. */
export class BlockSource {
  readonly #map: FileMap
  readonly #asker: ShareAsker
  readonly #signal: AbortSignal
  /** Index blocks on their way: asked for once, however many segments wait for them. */
  readonly #coming = new Map<string, Promise<Uint8Array>>()

  constructor(map: FileMap, asker: ShareAsker, signal: AbortSignal) {
    this.#map = map
    this.#asker = asker
    this.#signal = signal
  }

  /** Segments that keep as many asks under way as the network is to have. */
  get segmentsAtOnce(): number {
    return Math.ceil((this.#asker.parts.network.asksAtOnce ?? 0) / SEGMENT_BLOCKS)
  }

  /** Block `block` of `level` in clear, a new array; in a turn of the event loop that has room for it. */
  async decipher(level: number, block: number, bytes: Uint8Array): Promise<Uint8Array> {
    await this.#asker.roomForBlock()
    return this.#map.decipher(level, block, bytes)
  }

  /** Starts fetching blocks `wanted` (indices in the segment) of segment `index` of `level`. The caller closes the job. */
  async segment(level: number, index: number, wanted: readonly number[]): Promise<SegmentJob> {
    const { k } = this.#map.levels[level]!.segment(index)
    const addresses = await this.addresses(level, index)
    await laterTurn(this.#asker.parts.clock)
    this.#signal.throwIfAborted()
    return new SegmentJob(this.#asker, k, addresses, wanted, this.#signal)
  }

  /** The addresses of a segment's shares, n × 32, data first. Not to be changed. */
  addresses(level: number, index: number): Promise<Uint8Array> {
    const { n, addressesAt } = this.#map.levels[level]!.segment(index)
    return this.#bytesAbove(level, addressesAt, n * SHARE_ADDRESS_BYTES)
  }

  /** `length` bytes from `at` of what lies above `level`: the next level's content, or the root's list. */
  async #bytesAbove(level: number, at: number, length: number): Promise<Uint8Array> {
    if (level === this.#map.levels.length - 1) return this.#map.root.addresses.subarray(at, at + length)
    const first = Math.floor(at / SHARE_BYTES)
    const last = Math.floor((at + length - 1) / SHARE_BYTES)
    const numbers = Array.from({ length: last - first + 1 }, (_, offset) => first + offset)
    const blocks = await Promise.all(numbers.map((block) => this.#indexBlock(level + 1, block)))
    const start = at - first * SHARE_BYTES
    return (blocks.length === 1 ? blocks[0]! : concat(...blocks)).subarray(start, start + length)
  }

  #indexBlock(level: number, block: number): Promise<Uint8Array> {
    const name = `${level}:${block}`
    const kept = this.#map.kept(name)
    if (kept !== undefined) return Promise.resolve(kept)
    let coming = this.#coming.get(name)
    if (coming === undefined) {
      coming = this.#fetchIndexBlock(level, block, name).finally(() => this.#coming.delete(name))
      this.#coming.set(name, coming)
    }
    return coming
  }

  async #fetchIndexBlock(level: number, block: number, name: string): Promise<Uint8Array> {
    const within = block % SEGMENT_BLOCKS
    const end = this.#asker.parts.trace?.stage('index')
    let job: SegmentJob | null = null
    try {
      job = await this.segment(level, Math.floor(block / SEGMENT_BLOCKS), [within])
      const clear = await this.decipher(level, block, await job.block(within))
      this.#map.keep(name, clear)
      end?.()
      return clear
    } catch (error) {
      end?.({ note: codeOf(error), failed: true })
      throw error
    } finally {
      job?.close()
    }
  }
}
