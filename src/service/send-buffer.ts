/**
 * What one direction of a stream has to send: bytes written and not yet acknowledged, which of them went out, and which must go again.
 * Pure. Chunks are held by reference and let go when all before their end is acknowledged; small ones are copied together, so that a
 * writer of single bytes costs no object for each. Spec: SPEC.md §11.6.
 */
import { Ranges } from './ranges.ts'

// Implementation constants.
/** Chunks below this are copied together. */
const SMALL_BYTES = 2048
const JOINED_BYTES = 16 * 1024
/** Dropped chunks before the array is moved down. */
const SLACK_CHUNKS = 64

export class SendBuffer {
  #chunks: Uint8Array[] = []
  /** Offset in the stream where each chunk begins. */
  #offsets: number[] = []
  /** Chunks before it are acknowledged. */
  #first = 0
  /** Bytes of the last chunk that are written, if it is one of ours; 0: it is not. */
  #joined = 0
  /** Index of the chunk that was copied from last. */
  #cursor = 0
  /** One behind the last byte written. */
  #end = 0
  /** Next byte that never went out. */
  #sent = 0
  /** Every byte before it is acknowledged. */
  #acked = 0
  readonly #ackedAhead = new Ranges()
  /** Went out, did not arrive, did not go out again. */
  readonly #lost = new Ranges()

  /** Bytes written so far. */
  get end(): number {
    return this.#end
  }

  get sent(): number {
    return this.#sent
  }

  /** Bytes held. */
  get held(): number {
    return this.#end - this.#acked
  }

  get allAcked(): boolean {
    return this.#acked === this.#end
  }

  /** Bytes that must go again. */
  get hasLost(): boolean {
    return this.#lost.count > 0
  }

  append(chunk: Uint8Array): void {
    if (chunk.length < SMALL_BYTES) return this.#join(chunk)
    this.#push(chunk, 0)
    this.#end += chunk.length
  }

  #join(chunk: Uint8Array): void {
    let last = this.#chunks[this.#chunks.length - 1]
    if (this.#joined === 0 || last === undefined || last.length - this.#joined < chunk.length) {
      last = new Uint8Array(JOINED_BYTES)
      this.#push(last, 0)
    }
    last.set(chunk, this.#joined)
    this.#joined += chunk.length
    this.#end += chunk.length
  }

  #push(chunk: Uint8Array, joined: number): void {
    this.#chunks.push(chunk)
    this.#offsets.push(this.#end)
    this.#joined = joined
  }

  /** Where the next bytes to send begin, which `next(most)` then takes. */
  get nextOffset(): number {
    return this.#lost.count > 0 ? this.#lost.starts[0]! : this.#sent
  }

  /** Takes up to `most` bytes that must go again, or, if there are none, up to `fresh` of those that never went. Returns how many. */
  next(most: number, fresh: number): number {
    if (this.#lost.count > 0) return this.#lost.takeFirst(most)
    const taken = Math.min(most, fresh, this.#end - this.#sent)
    this.#sent += taken
    return taken
  }

  /** Copies `length` held bytes from `offset` to `into[at …]`. */
  copy(offset: number, length: number, into: Uint8Array, at: number): void {
    let chunk = this.#find(offset)
    while (length > 0) {
      const bytes = this.#chunks[chunk]!
      const from = offset - this.#offsets[chunk]!
      const until = chunk + 1 < this.#chunks.length ? this.#offsets[chunk + 1]! - this.#offsets[chunk]! : bytes.length
      const taken = Math.min(length, until - from)
      into.set(bytes.subarray(from, from + taken), at)
      at += taken
      offset += taken
      length -= taken
      this.#cursor = chunk++
    }
  }

  #find(offset: number): number {
    let low = this.#first
    let high = this.#chunks.length - 1
    const near = this.#cursor
    if (near >= low && near <= high && this.#offsets[near]! <= offset) low = near
    // What goes out in order lies in the chunk copied from last, or the next.
    if (low + 1 > high || this.#offsets[low + 1]! > offset) return low
    if (low + 2 > high || this.#offsets[low + 2]! > offset) return low + 1
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if (this.#offsets[middle]! <= offset) low = middle
      else high = middle - 1
    }
    return low
  }

  /** Bytes `from` … `to` arrived. They were in flight, neither lost nor acknowledged. */
  onAcked(from: number, to: number): void {
    if (from !== this.#acked) return this.#ackedAhead.add(from, to)
    this.#acked = to
    const { starts, ends } = this.#ackedAhead
    if (starts.length > 0 && starts[0] === to) {
      this.#acked = ends[0]!
      this.#ackedAhead.dropFirst()
    }
    this.#release()
  }

  /** Bytes `from` … `to` did not arrive. */
  onLost(from: number, to: number): void {
    this.#lost.add(from, to)
  }

  /** Lets go of everything: nothing goes out any more. `end` and `sent` stay. */
  drop(): void {
    this.#chunks = []
    this.#offsets = []
    this.#first = 0
    this.#cursor = 0
    this.#joined = 0
    this.#acked = this.#end
    this.#ackedAhead.clear()
    this.#lost.clear()
  }

  #release(): void {
    const { length } = this.#chunks
    while (this.#first < length) {
      const until = this.#first + 1 < length ? this.#offsets[this.#first + 1]! : this.#end
      // One of ours that has room is still written to.
      if (until > this.#acked || (this.#first + 1 === length && this.#joined > 0)) break
      this.#chunks[this.#first] = EMPTY
      this.#first++
    }
    if (this.#first < SLACK_CHUNKS && this.#first < length) return
    this.#chunks.splice(0, this.#first)
    this.#offsets.splice(0, this.#first)
    this.#cursor = Math.max(0, this.#cursor - this.#first)
    this.#first = 0
  }
}

const EMPTY = new Uint8Array(0)
