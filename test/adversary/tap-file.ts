/**
 * What a tapped node writes down, and how it is read again: records of 24 bytes (time, kind, ports or number, size), and facts as lines of
 * JSON beside them. No content of a cell is ever in either. Times are milliseconds of CLOCK_MONOTONIC, which all processes of a machine share.
 *
 *   f64 time · u8 kind · u8 0 · u16 local port · u16 remote port · u16 0 · u32 size · u32 number      (little endian)
 */
import { appendFileSync, closeSync, openSync, readFileSync, writeSync } from 'node:fs'

/** Kinds of records. */
export const TapKind = {
  /** Plain bytes given to a link's socket in one write. */
  WRITE: 1,
  /** Plain bytes that a link's socket delivered at once. */
  READ: 2,
  /** `size` cells of circuit `number` of this node were handled in one turn. */
  HOP: 3,
  /** This node answered, as a hop, a request of kind `number` (`ANSWERS`). */
  ANSWER: 4,
} as const

/** What a hop may be asked; the index is what ANSWER records hold. */
export const ANSWERS = ['other', 'get', 'put', 'record', 'join', 'introduction', 'ping'] as const

/** Records of one process in columns, in the order of time. */
export interface TapRecords {
  readonly count: number
  readonly at: Float64Array
  readonly kind: Uint8Array
  readonly local: Uint16Array
  readonly remote: Uint16Array
  readonly size: Uint32Array
  readonly number: Uint32Array
}

/** Facts beside the records. Node ids are hex. */
export type TapFact =
  /** A circuit that this node relays: `number` is this node's own count. */
  | {
      readonly type: 'hop'
      readonly number: number
      readonly from: string
      readonly fromId: number
      readonly to: string
      readonly toId: number
      readonly at: number
    }
  /** A loop that this node began: its first link. */
  | { readonly type: 'launch'; readonly first: string; readonly last: string; readonly id: number; readonly at: number }
  /** The other node of a link, by the link's ports. */
  | { readonly type: 'link'; readonly local: number; readonly remote: number; readonly peer: string }

export const RECORD_BYTES = 24
const BUFFER_BYTES = RECORD_BYTES * 2048

/** Milliseconds of CLOCK_MONOTONIC, cheap to ask for. */
export function monotonicClock(): () => number {
  const base = Number(process.hrtime.bigint()) / 1e6 - performance.now()
  return () => base + performance.now()
}

/** Writes records and facts of one process. Synchronous: a full buffer costs some tens of microseconds. */
export class TapWriter {
  readonly #records: number
  readonly #factsPath: string
  readonly #buffer = Buffer.alloc(BUFFER_BYTES)
  #used = 0

  constructor(path: string) {
    this.#records = openSync(`${path}.bin`, 'a')
    this.#factsPath = `${path}.jsonl`
  }

  record(kind: number, at: number, local: number, remote: number, size: number, number = 0): void {
    const { length } = this.#buffer
    if (this.#used + RECORD_BYTES > length) this.flush()
    const from = this.#used
    this.#buffer.writeDoubleLE(at, from)
    this.#buffer[from + 8] = kind
    this.#buffer.writeUInt16LE(local, from + 10)
    this.#buffer.writeUInt16LE(remote, from + 12)
    this.#buffer.writeUInt32LE(size, from + 16)
    this.#buffer.writeUInt32LE(number, from + 20)
    this.#used += RECORD_BYTES
  }

  fact(fact: TapFact): void {
    appendFileSync(this.#factsPath, `${JSON.stringify(fact)}\n`)
  }

  flush(): void {
    if (this.#used > 0) writeSync(this.#records, this.#buffer, 0, this.#used)
    this.#used = 0
  }

  close(): void {
    this.flush()
    closeSync(this.#records)
  }
}

/** All records of a file; one that was cut by the end of the process is left out. */
export function parseRecords(bytes: Buffer): TapRecords {
  const count = Math.floor(bytes.length / RECORD_BYTES)
  const at = new Float64Array(count)
  const kind = new Uint8Array(count)
  const local = new Uint16Array(count)
  const remote = new Uint16Array(count)
  const size = new Uint32Array(count)
  const number = new Uint32Array(count)
  for (let row = 0; row < count; row++) {
    const from = row * RECORD_BYTES
    at[row] = bytes.readDoubleLE(from)
    kind[row] = bytes[from + 8]!
    local[row] = bytes.readUInt16LE(from + 10)
    remote[row] = bytes.readUInt16LE(from + 12)
    size[row] = bytes.readUInt32LE(from + 16)
    number[row] = bytes.readUInt32LE(from + 20)
  }
  return { count, at, kind, local, remote, size, number }
}

/** Where a process's thread of the links writes, beside `path`. */
export function linksPath(path: string): string {
  return `${path}-links`
}

/** The records of two threads in one order of time. */
function merge(one: Buffer, other: Buffer): Buffer {
  if (other.length === 0) return one
  const whole = (bytes: Buffer) => bytes.subarray(0, bytes.length - (bytes.length % RECORD_BYTES))
  const [a, b] = [whole(one), whole(other)]
  const merged = Buffer.allocUnsafe(a.length + b.length)
  for (let at = 0, left = 0, right = 0; at < merged.length; at += RECORD_BYTES) {
    const first = right === b.length || (left < a.length && a.readDoubleLE(left) <= b.readDoubleLE(right))
    if (first) left += a.copy(merged, at, left, left + RECORD_BYTES)
    else right += b.copy(merged, at, right, right + RECORD_BYTES)
  }
  return merged
}

/** What one process wrote; empty where it wrote nothing. */
export function readTap(path: string): { readonly records: TapRecords; readonly facts: readonly TapFact[] } {
  const facts = readIfThere(`${path}.jsonl`).toString('utf8').split('\n')
  return {
    records: parseRecords(merge(readIfThere(`${path}.bin`), readIfThere(`${linksPath(path)}.bin`))),
    facts: facts.filter((line) => line !== '').map((line) => JSON.parse(line) as TapFact),
  }
}

function readIfThere(path: string): Buffer {
  try {
    return readFileSync(path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return Buffer.alloc(0)
    throw error
  }
}
