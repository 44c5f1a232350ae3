/**
 * One way between two threads of this process: records in order, in a ring of shared memory that one side writes and the other reads.
 *
 *   write → room in the ring? else wait in a list → ask the reader to come, unless it was asked already → drain: each record, borrowed
 *
 * A record is a kind, three numbers and bytes. What does not fit waits in order on the writer's side; that list is bounded by the writer's users
 * (`full` tells them to stop). The reader is woken by a message once, however many records come until it has come. Records that can wait
 * for the reader's own time wake nobody, unless the ring is half full; and a reader that looks every few milliseconds is not woken at all.
 *
 *   u32 length of the bytes · u32 kind · u32 id · u32 a · u32 b · u32 0 · bytes, padded to 8
 */
import type { Clock, Timer } from '../../runtime/index.ts'

// Implementation constants.
/** Bytes of records in a ring; a power of two. All of it goes through the caches over and over: with twice as much a cell cost 81 µs instead of 71 (one run each). */
export const RING_BYTES = 256 * 1024
/** Longest bytes of one record: one read of a socket, one block of cells. */
export const RECORD_BYTES_MAX = 64 * 1024
const HEADER_BYTES = 24
const STEP_BYTES = 8
const RETRY_MS = 1

/** Where in the control words. Positions are u32 that wrap: bytes since the start. */
const WRITTEN = 0
const READ = 1
const ASKED = 2
const POLLED = 3
const CONTROL_WORDS = 4
const CONTROL_BYTES = CONTROL_WORDS * Int32Array.BYTES_PER_ELEMENT
/** Kind of a record that only fills the ring to its end. */
const SKIP = 0xffff_ffff

const NO_BYTES = new Uint8Array(0)

export interface RingRecord {
  readonly kind: number
  readonly id: number
  readonly a: number
  readonly b: number
  readonly bytes: Uint8Array
}

/** Memory for one direction. */
export function ringMemory(): SharedArrayBuffer {
  return new SharedArrayBuffer(CONTROL_BYTES + RING_BYTES)
}

interface Ring {
  readonly control: Int32Array
  readonly words: Uint32Array
  readonly bytes: Uint8Array
}

function ringOver(memory: SharedArrayBuffer): Ring {
  return {
    control: new Int32Array(memory, 0, CONTROL_WORDS),
    words: new Uint32Array(memory, CONTROL_BYTES),
    bytes: new Uint8Array(memory, CONTROL_BYTES),
  }
}

function padded(length: number): number {
  return Math.ceil(length / STEP_BYTES) * STEP_BYTES
}

/** The writing side. `wake` reaches the reader's thread, which then drains. */
export class RecordWriter {
  readonly #ring: Ring
  readonly #wake: () => void
  readonly #clock: Clock
  /** Records for which there was no room, oldest first. */
  #waiting: RingRecord[] = []
  #retry: Timer | null = null
  /** Whether a reader that looks by itself is to be woken all the same. */
  urgent: () => boolean = () => false
  /** Called when nothing waits any more. */
  onRoom: () => void = () => {}

  constructor(memory: SharedArrayBuffer, clock: Clock, wake: () => void) {
    this.#ring = ringOver(memory)
    this.#clock = clock
    this.#wake = wake
  }

  /** Whether records wait for room. */
  get full(): boolean {
    return this.#waiting.length > 0
  }

  /** Writes one record; `bytes` (`RECORD_BYTES_MAX` at most) are copied. `later`: the reader comes by itself soon enough. */
  write(kind: number, id: number, { a = 0, b = 0, bytes = NO_BYTES, later = false }: WriteParts = {}): void {
    if (bytes.length > RECORD_BYTES_MAX) throw new RangeError(`record of ${bytes.length} bytes`)
    if (this.#waiting.length > 0 || !this.#put(kind, id, a, b, bytes)) {
      this.#waiting.push({ kind, id, a, b, bytes: bytes.slice() })
      this.#ask()
      this.#retryLater()
    } else if (!later || this.#used() > RING_BYTES / 2) {
      this.#ask()
    }
  }

  close(): void {
    this.#retry?.cancel()
    this.#waiting = []
  }

  #used(): number {
    const { control } = this.#ring
    return (control[WRITTEN]! - Atomics.load(control, READ)) >>> 0
  }

  #put(kind: number, id: number, a: number, b: number, from: Uint8Array): boolean {
    const { control, words, bytes } = this.#ring
    const size = HEADER_BYTES + padded(from.length)
    let written = control[WRITTEN]! >>> 0
    let at = written % RING_BYTES
    const toEnd = RING_BYTES - at
    const skip = size > toEnd ? toEnd : 0
    if (this.#used() + skip + size > RING_BYTES) return false
    if (skip > 0) {
      // Positions are multiples of 8: there is room for a length and a kind.
      words[at >>> 2] = 0
      words[(at >>> 2) + 1] = SKIP
      written = (written + skip) >>> 0
      at = 0
    }
    const word = at >>> 2
    words[word] = from.length
    words[word + 1] = kind
    words[word + 2] = id
    words[word + 3] = a
    words[word + 4] = b
    bytes.set(from, at + HEADER_BYTES)
    Atomics.store(control, WRITTEN, (written + size) | 0)
    return true
  }

  #ask(): void {
    if (Atomics.load(this.#ring.control, POLLED) === 1 && !this.urgent()) return
    const { control } = this.#ring
    if (Atomics.exchange(control, ASKED, 1) !== 0) return
    Atomics.notify(control, ASKED)
    this.#wake()
  }

  #retryLater(): void {
    this.#retry ??= this.#clock.setTimer(RETRY_MS, () => {
      this.#retry = null
      let done = 0
      for (const { kind, id, a, b, bytes } of this.#waiting) {
        if (!this.#put(kind, id, a, b, bytes)) break
        done++
      }
      this.#waiting.splice(0, done)
      if (done > 0) this.#ask()
      if (this.#waiting.length > 0) this.#retryLater()
      else this.onRoom()
    })
  }
}

interface WriteParts {
  readonly a?: number
  readonly b?: number
  readonly bytes?: Uint8Array
  readonly later?: boolean
}

/** What is done with a record. `bytes` are borrowed until return. */
export type OnRecord = (kind: number, id: number, a: number, b: number, bytes: Uint8Array) => void

/** The reading side. */
export class RecordReader {
  readonly #ring: Ring
  #draining = false

  constructor(memory: SharedArrayBuffer) {
    this.#ring = ringOver(memory)
  }

  /** Says whether this side looks by itself from now on, every few milliseconds. Who stops is to drain once more. */
  poll(on: boolean): void {
    Atomics.store(this.#ring.control, POLLED, on ? 1 : 0)
  }

  /** Blocks this side's thread until the writer asks it to come, or for so long. Never in the node's own thread. */
  rest(ms: number): void {
    Atomics.wait(this.#ring.control, ASKED, 0, ms)
  }

  /** Hands out all records that are there. Within a call of itself it does nothing. */
  drain(onRecord: OnRecord): void {
    if (this.#draining) return
    this.#draining = true
    const { control, words, bytes } = this.#ring
    Atomics.store(control, ASKED, 0)
    try {
      let read = control[READ]! >>> 0
      while (read !== Atomics.load(control, WRITTEN) >>> 0) {
        const at = read % RING_BYTES
        const word = at >>> 2
        const length = words[word]!
        const kind = words[word + 1]!
        const next = kind === SKIP ? read + RING_BYTES - at : read + HEADER_BYTES + padded(length)
        read = next >>> 0
        try {
          if (kind !== SKIP) {
            const from = at + HEADER_BYTES
            onRecord(kind, words[word + 2]!, words[word + 3]!, words[word + 4]!, bytes.subarray(from, from + length))
          }
        } finally {
          Atomics.store(control, READ, read | 0)
        }
      }
    } finally {
      this.#draining = false
    }
  }
}
