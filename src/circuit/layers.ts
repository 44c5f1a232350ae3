/**
 * The layered cipher of one loop: what a hop takes off, and what the origin puts on and undoes. Pure: bytes and counters in, bytes out.
 * Everything works on batches in place, because AES blocks of a batch in one call are a fifth cheaper.
 *
 * Why two keys per hop: with one, an answer equal to the request would leave the hop as the very cell that came in. Why a key of the
 * origin's own for filler: with the last hop's, filler would be recognised there and tell it that it is last.
 * Keys move one way every 2^16 cells (the ratchet): it keeps HPolyC within its bound and gives forward secrecy inside a loop.
 * Spec: SPEC.md §4.2.
 */
import { concat, le64, utf8 } from '../bytes/index.ts'
import { CELL_HEADER_BYTES, RECOGNISED_BYTES } from '../cell/index.ts'
import {
  ANSWER_DOMAIN,
  CELL_DOMAIN,
  CELL_KEY_BYTES,
  type CellCipher,
  type CellKey,
  type CipherDomain,
  hkdfExpand,
  wipe,
} from '../crypto/index.ts'
import { OverlayError } from '../errors/index.ts'
import { TURN_CELLS } from '../link/index.ts'

/** Cells per generation of a key. */
export const RATCHET_CELLS = 0x1_0000
/** A loop ends before its counter gets here. */
export const COUNTER_END = 0xffff_ffff

const RATCHET_LABEL = utf8('gyre/1 ratchet')

/** The two keys of one hop, as set-up gives them. Each 32 bytes; whoever takes them over wipes them. */
export interface LayerSecrets {
  readonly cellKey: Uint8Array
  readonly answerKey: Uint8Array
}

/** One key and its successors. Counters must not go back over a generation. */
class KeyChain {
  readonly #cipher: CellCipher
  readonly #secret: Uint8Array
  #generation = 0
  #key: CellKey | null = null
  #wiped = false

  /** Copies `secret`. */
  constructor(cipher: CellCipher, secret: Uint8Array) {
    this.#cipher = cipher
    this.#secret = new Uint8Array(secret)
  }

  /** The key for a counter. Prepared when first asked for, so that layers that are never used cost no cipher contexts. */
  at(counter: number): CellKey {
    this.advance(counter)
    this.#key ??= this.#cipher.key(this.#secret)
    return this.#key
  }

  /** Leaves the generations before `counter`'s: called for keys not in use as well, so that none outlives its generation. */
  advance(counter: number): void {
    if (this.#wiped) throw new OverlayError('bug', 'INTERNAL', 'A wiped layer was used.')
    const generation = Math.floor(counter / RATCHET_CELLS)
    while (this.#generation < generation) {
      this.#generation++
      const next = hkdfExpand(this.#secret, concat(RATCHET_LABEL, le64(this.#generation)), CELL_KEY_BYTES)
      this.#secret.set(next)
      wipe(next)
      this.#key?.wipe()
      this.#key = null
    }
  }

  wipe(): void {
    this.#wiped = true
    this.#key?.wipe()
    this.#key = null
    wipe(this.#secret)
  }
}

const ENCIPHER = 0
const DECIPHER = 1

/** Scratch of the batch calls: the process is one thread and no call nests. Offsets point at bodies. */
const runOffsets = new Int32Array(TURN_CELLS)
const runCounters = new Uint32Array(TURN_CELLS)

/** Runs `chain` over a batch whose counters ascend, split where a new generation begins. */
function apply(
  chain: KeyChain,
  direction: typeof ENCIPHER | typeof DECIPHER,
  domain: CipherDomain,
  cells: Uint8Array,
  offsets: Int32Array,
  counters: Uint32Array,
  count: number,
): void {
  let from = 0
  while (from < count) {
    const end = (Math.floor(counters[from]! / RATCHET_CELLS) + 1) * RATCHET_CELLS
    let taken = 0
    while (from + taken < count && counters[from + taken]! < end) {
      runOffsets[taken] = offsets[from + taken]! + CELL_HEADER_BYTES
      runCounters[taken] = counters[from + taken]!
      taken++
    }
    const key = chain.at(counters[from]!)
    if (direction === ENCIPHER) key.encipher(cells, runOffsets, runCounters, taken, domain)
    else key.decipher(cells, runOffsets, runCounters, taken, domain)
    from += taken
  }
}

/** Brings chains to the generation of a batch's first cell. */
function advanceAll(chains: readonly KeyChain[], counters: Uint32Array, count: number): void {
  if (count > 0) for (let at = 0; at < chains.length; at++) chains[at]!.advance(counters[0]!)
}

/** Whether the body at `at` begins with 16 zero bytes. Same time whatever it holds. */
export function isRecognised(cells: Uint8Array, at: number): boolean {
  let bits = 0
  for (let byte = 0; byte < RECOGNISED_BYTES; byte++) bits |= cells[at + byte]!
  return bits === 0
}

/** A hop's layer. Offsets in all calls are those of whole cells; headers are not touched. */
export class HopLayer {
  readonly #cell: KeyChain
  readonly #answer: KeyChain

  constructor(cipher: CellCipher, secrets: LayerSecrets) {
    this.#cell = new KeyChain(cipher, secrets.cellKey)
    this.#answer = new KeyChain(cipher, secrets.answerKey)
  }

  /** Takes this hop's layer off a batch of cells, in place. */
  peel(cells: Uint8Array, offsets: Int32Array, counters: Uint32Array, count: number): void {
    if (count > 0) this.#answer.advance(counters[0]!)
    apply(this.#cell, DECIPHER, CELL_DOMAIN, cells, offsets, counters, count)
  }

  /** Seals answers (16 zero bytes, then frames) in place, each for its counter. */
  seal(cells: Uint8Array, offsets: Int32Array, counters: Uint32Array, count: number): void {
    apply(this.#answer, ENCIPHER, ANSWER_DOMAIN, cells, offsets, counters, count)
  }

  wipe(): void {
    this.#cell.wipe()
    this.#answer.wipe()
  }
}

/**
 * The origin's side: all layers of its loop. Hops count from 1 to `hops`; `hops + 1` is the origin itself. Sending and receiving
 * have chains of their own, because a generation may have begun on one side and not yet on the other.
 */
export class OriginLayers {
  readonly hops: number
  readonly #send: readonly KeyChain[]
  readonly #receive: readonly KeyChain[]
  readonly #answers: readonly KeyChain[]

  /** `own`: 32 random bytes that nobody else has. Copies all secrets. */
  constructor(cipher: CellCipher, layers: readonly LayerSecrets[], own: Uint8Array) {
    this.hops = layers.length
    const cellKeys = [...layers.map((layer) => layer.cellKey), own]
    this.#send = cellKeys.map((secret) => new KeyChain(cipher, secret))
    this.#receive = cellKeys.map((secret) => new KeyChain(cipher, secret))
    this.#answers = layers.map((layer) => new KeyChain(cipher, layer.answerKey))
  }

  /** Puts on the layers of `addressee` (1 … hops + 1) down to 1, in place. */
  wrap(addressee: number, cells: Uint8Array, offsets: Int32Array, counters: Uint32Array, count: number): void {
    advanceAll(this.#send, counters, count)
    for (let hop = addressee; hop >= 1; hop--) apply(this.#send[hop - 1]!, ENCIPHER, CELL_DOMAIN, cells, offsets, counters, count)
  }

  /** Undoes what the hops after `addressee` did to its answers and opens them, in place. The caller checks `isRecognised`. */
  open(addressee: number, cells: Uint8Array, offsets: Int32Array, counters: Uint32Array, count: number): void {
    advanceAll(this.#receive, counters, count)
    advanceAll(this.#answers, counters, count)
    if (addressee > this.hops) {
      apply(this.#receive[this.hops]!, DECIPHER, CELL_DOMAIN, cells, offsets, counters, count)
      return
    }
    for (let hop = this.hops; hop > addressee; hop--) {
      apply(this.#receive[hop - 1]!, ENCIPHER, CELL_DOMAIN, cells, offsets, counters, count)
    }
    apply(this.#answers[addressee - 1]!, DECIPHER, ANSWER_DOMAIN, cells, offsets, counters, count)
  }

  wipe(): void {
    for (const chain of [...this.#send, ...this.#receive, ...this.#answers]) chain.wipe()
  }
}
