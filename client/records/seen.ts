/**
 * The highest sequence of each address that this node has seen, on disk, so that holders who agree on an older record are noticed also after a
 * restart. Addresses are kept as HMACs under a secret of the node, with the isolation under which they were looked up: the file does not say
 * what its user reads to who does not have the identity, and two users of one node cannot be told to be one by what it refuses.
 *
 *   "gyre seen 1\n" ‖ first 16 bytes of H("gyre/1 seen file", entries) ‖ entries, the one noted longest ago first: HMAC 16 ‖ sequence u64
 *
 * Written a moment after a change, whole or not at all: a kill may cost what was seen in the last second. A damaged file is begun anew; one that
 * cannot be read now is not written over.
 */
import { mkdir, readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { concat, equalPublic, le64, lengthPrefixed, readU32, toHex, utf8 } from '../../src/bytes/index.ts'
import { hmacSha256, taggedHash } from '../../src/crypto/index.ts'
import { writeAtomically } from '../../src/directory/index.ts'
import type { Logger } from '../../src/log/index.ts'
import type { Clock, Timer } from '../../src/runtime/index.ts'

// Implementation constants.
/** Addresses remembered; the one noted longest ago goes. */
export const SEEN_MAX = 4096
const WRITE_AFTER_MS = 1_000
const FILE = 'seen'
const HEAD = utf8('gyre seen 1\n')
const CHECK_BYTES = 16
const MAC_BYTES = 16
const ENTRY_BYTES = MAC_BYTES + 8

export interface SeenOptions {
  readonly dataDir: string
  /** Known to this node alone; kept as a hash. */
  readonly secret: Uint8Array
  readonly clock: Clock
  readonly log: Pick<Logger, 'warn'>
}

export class SeenRecords {
  readonly #path: string
  readonly #key: Uint8Array
  readonly #clock: Clock
  readonly #log: Pick<Logger, 'warn'>
  /** Sequence by HMAC in hex, in order of noting. */
  readonly #seen = new Map<string, number>()
  #timer: Timer | null = null
  #writing: Promise<void> = Promise.resolve()
  #closed = false
  /** There is a file that could not be read. */
  #unread = false

  private constructor({ dataDir, secret, clock, log }: SeenOptions) {
    this.#path = join(dataDir, FILE)
    this.#key = taggedHash('gyre/1 seen key', secret)
    this.#clock = clock
    this.#log = log
  }

  /** Never fails: without a readable file nothing was seen yet. */
  static async open(options: SeenOptions): Promise<SeenRecords> {
    const seen = new SeenRecords(options)
    await seen.#read()
    return seen
  }

  get size(): number {
    return this.#seen.size
  }

  /** The highest sequence noted for `key` under `isolation`; 0: none. */
  highest(key: Uint8Array, isolation: string): number {
    return this.#seen.get(this.#nameOf(key, isolation)) ?? 0
  }

  /** Notes that a right record of `key` had `sequence`. Lower ones change nothing. */
  note(key: Uint8Array, isolation: string, sequence: number): void {
    const name = this.#nameOf(key, isolation)
    const before = this.#seen.get(name) ?? 0
    if (sequence <= before) return
    this.#seen.delete(name)
    this.#seen.set(name, sequence)
    if (this.#seen.size > SEEN_MAX) this.#seen.delete(this.#seen.keys().next().value!)
    if (this.#closed) return
    this.#timer ??= this.#clock.setTimer(WRITE_AFTER_MS, () => {
      this.#timer = null
      this.#write()
    })
  }

  /** Writes what is not on disk yet. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true
    if (this.#timer !== null) {
      this.#timer.cancel()
      this.#timer = null
      this.#write()
    }
    await this.#writing
  }

  /** Takes what is on disk. What cannot be read now may be there all the same: it is read before it is written over. */
  async #read(): Promise<void> {
    let bytes: Uint8Array
    try {
      bytes = new Uint8Array(await readFile(this.#path))
    } catch (error) {
      this.#unread = (error as NodeJS.ErrnoException).code !== 'ENOENT'
      if (this.#unread) this.#warn('cannot be read', error)
      return
    }
    this.#unread = false
    if (!this.#load(bytes)) this.#warn('is damaged and begun anew')
  }

  #write(): void {
    this.#writing = this.#writing.then(async () => {
      if (this.#unread) await this.#read()
      if (this.#unread) return
      const entries = concat(...[...this.#seen].map(([name, sequence]) => concat(Buffer.from(name, 'hex'), le64(sequence))))
      try {
        await mkdir(dirname(this.#path), { recursive: true, mode: 0o700 })
        await writeAtomically(this.#path, [HEAD, checkOf(entries), entries])
      } catch (error) {
        this.#warn('cannot be written', error)
      }
    })
  }

  #load(bytes: Uint8Array): boolean {
    const at = HEAD.length + CHECK_BYTES
    const entries = bytes.subarray(at)
    if (entries.length % ENTRY_BYTES !== 0 || entries.length > SEEN_MAX * ENTRY_BYTES) return false
    if (!equalPublic(bytes.subarray(0, at), concat(HEAD, checkOf(entries)))) return false
    for (let entry = 0; entry < entries.length; entry += ENTRY_BYTES) {
      const sequence = readU32(entries, entry + MAC_BYTES) + readU32(entries, entry + MAC_BYTES + 4) * 2 ** 32
      const name = toHex(entries.subarray(entry, entry + MAC_BYTES))
      if (sequence > (this.#seen.get(name) ?? 0)) this.#seen.set(name, sequence)
    }
    while (this.#seen.size > SEEN_MAX) this.#seen.delete(this.#seen.keys().next().value!)
    return true
  }

  #nameOf(key: Uint8Array, isolation: string): string {
    return toHex(hmacSha256(this.#key, lengthPrefixed(key, utf8(isolation))).subarray(0, MAC_BYTES))
  }

  #warn(what: string, error?: unknown): void {
    const text = `The file of records seen before ${what}. Older records may pass unnoticed until new ones were seen.`
    this.#log.warn(text, error === undefined ? {} : { error })
  }
}

function checkOf(entries: Uint8Array): Uint8Array {
  return taggedHash('gyre/1 seen file', entries).subarray(0, CHECK_BYTES)
}
