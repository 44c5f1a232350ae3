/**
 * Turns a stream of content into enciphered, erasure coded segments, level by level, and ends with the addresses that go into the root.
 * It knows keys and shapes, not holders: each finished segment goes to `emit`. Spec: SPEC.md §7.3, §7.4.
 *
 * Stages of one block: bytes collect in the level's block → ChaCha20 into the segment's buffer → (10 blocks) parity → hash of each share →
 * addresses are the next level's bytes → `emit`.
 *
 * Memory: a level holds one block of plaintext and at most one segment; there are at most 7 levels, and the upper ones fill a segment once
 * in about 680 of the one below. Work goes in slices of about half a millisecond, with a turn of the event loop between them: the same
 * loop relays other people's cells.
 */
import { concat } from '../../src/bytes/index.ts'
import { CONTENT_BYTES_MAX, ROOT_ADDRESSES_BYTES, SEGMENT_BLOCKS, SHARE_BYTES } from '../../src/content/constants.ts'
import { encodeParity } from '../../src/content/erasure.ts'
import { paddedLength } from '../../src/content/layout.ts'
import { levelKey } from '../../src/content/root.ts'
import { shareAddress } from '../../src/content/share.ts'
import { sharesOf } from '../../src/content/spread.ts'
import { chacha20Xor, wipe } from '../../src/crypto/index.ts'
import { OverlayError } from '../../src/errors/index.ts'
import { type Clock, laterTurn } from '../../src/runtime/index.ts'

/** Shares hashed in one slice. */
const HASHES_PER_SLICE = 8

/** A finished segment: `n` shares and their addresses, data first. */
export interface Segment {
  readonly level: number
  readonly k: number
  readonly shares: readonly Uint8Array[]
  readonly addresses: readonly Uint8Array[]
}

/** Where shares are written, and how they leave. */
export interface SegmentSink {
  /** A buffer of at least `bytes`, kept by the writer until it is handed back inside a segment. Its content means nothing. */
  buffer(bytes: number): Uint8Array
  /** Takes the segment and the buffer that its shares are views of. Waits while too much is under way. */
  emit(segment: Segment, buffer: Uint8Array): Promise<void>
}

export interface TreeParameters {
  /** 32 bytes; borrowed during construction of each level. */
  readonly sigma: Uint8Array
  /** Holders known, at most 255. */
  readonly spread: number
  readonly clock: Clock
  readonly sink: SegmentSink
}

/** What the root needs to know of the tree. */
export interface WrittenTree {
  /** Plaintext bytes. */
  readonly length: number
  /** Share addresses of the top level, back to back. */
  readonly addresses: Uint8Array
}

/** One level: bytes in, segments out, their addresses into the level above. */
class LevelWriter {
  readonly #tree: TreeParameters
  readonly #level: number
  readonly #key: Uint8Array
  readonly #block = new Uint8Array(SHARE_BYTES)
  #filled = 0
  /** Blocks enciphered so far: the next one's nonce. */
  #blocks = 0
  #buffer: Uint8Array | null = null
  /** Blocks in `#buffer`. */
  #inSegment = 0
  #above: LevelWriter | null = null

  constructor(tree: TreeParameters, level: number) {
    this.#tree = tree
    this.#level = level
    this.#key = levelKey(tree.sigma, level)
  }

  async write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length; ) {
      const taken = bytes.subarray(at, at + SHARE_BYTES - this.#filled)
      this.#block.set(taken, this.#filled)
      this.#filled += taken.length
      at += taken.length
      if (this.#filled === SHARE_BYTES) await this.#closeBlock()
    }
  }

  /** Fills up with zeros to `blocks` blocks in all, closes the last segment, and returns the addresses for the root. */
  async finish(blocks: number): Promise<Uint8Array> {
    while (this.#blocks < blocks) {
      this.#block.fill(0, this.#filled)
      await this.#closeBlock()
    }
    if (this.#inSegment > 0) await this.#closeSegment()
    wipe(this.#key, this.#block)
    // A level has at least one segment, so there is a level above, or the beginning of one.
    return this.#above!.#asRootOrFinish()
  }

  /** Short enough for the root: then no block was closed yet, as a block is longer than that. Otherwise this is one more level. */
  #asRootOrFinish(): Promise<Uint8Array> {
    if (this.#blocks === 0 && this.#filled <= ROOT_ADDRESSES_BYTES) return Promise.resolve(this.#block.slice(0, this.#filled))
    return this.finish(this.#blocks + (this.#filled > 0 ? 1 : 0))
  }

  async #closeBlock(): Promise<void> {
    this.#buffer ??= this.#tree.sink.buffer(sharesOf(SEGMENT_BLOCKS, this.#tree.spread) * SHARE_BYTES)
    this.#buffer.set(chacha20Xor(this.#key, this.#blocks, this.#block), this.#inSegment * SHARE_BYTES)
    this.#blocks++
    this.#inSegment++
    this.#filled = 0
    if (this.#inSegment === SEGMENT_BLOCKS) await this.#closeSegment()
    else await laterTurn(this.#tree.clock)
  }

  async #closeSegment(): Promise<void> {
    const buffer = this.#buffer!
    const k = this.#inSegment
    const n = sharesOf(k, this.#tree.spread)
    this.#buffer = null
    this.#inSegment = 0
    const shares = Array.from({ length: n }, (_, index) => buffer.subarray(index * SHARE_BYTES, (index + 1) * SHARE_BYTES))
    await laterTurn(this.#tree.clock)
    encodeParity(shares.slice(0, k), k, shares.slice(k))
    const addresses: Uint8Array[] = []
    for (const [index, share] of shares.entries()) {
      if (index % HASHES_PER_SLICE === 0) await laterTurn(this.#tree.clock)
      addresses.push(shareAddress(share))
    }
    await this.#tree.sink.emit({ level: this.#level, k, shares, addresses }, buffer)
    this.#above ??= new LevelWriter(this.#tree, this.#level + 1)
    await this.#above.write(concat(...addresses))
  }
}

/** Writes the content of one publication. `write` as often as needed, one at a time, then `finish` once. */
export class TreeWriter {
  readonly #content: LevelWriter
  #length = 0

  constructor(tree: TreeParameters) {
    this.#content = new LevelWriter(tree, 0)
  }

  /** Plaintext bytes taken so far. */
  get length(): number {
    return this.#length
  }

  /** `bytes` are borrowed until the promise settles. */
  async write(bytes: Uint8Array): Promise<void> {
    this.#length += bytes.length
    if (this.#length > CONTENT_BYTES_MAX) {
      throw new OverlayError('config', 'CONFIG_BAD', `One publication holds at most ${CONTENT_BYTES_MAX} bytes.`)
    }
    await this.#content.write(bytes)
  }

  /** Pads, writes what is left, and returns what the root needs. */
  async finish(): Promise<WrittenTree> {
    const blocks = Math.max(1, Math.ceil(paddedLength(this.#length) / SHARE_BYTES))
    return { length: this.#length, addresses: await this.#content.finish(blocks) }
  }
}
