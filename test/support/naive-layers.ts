/**
 * The layered cipher written straight from PROTOCOL.md §1, one cell at a time, with no thought of speed: the twin that
 * `src/circuit/layers.ts` is compared with. It takes W from the cell cipher's single calls, which have tests and vectors of their own.
 */
import { createHmac } from 'node:crypto'
import type { CellCipher } from '../../src/crypto/index.ts'

function le(value: number, length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, at) => Math.floor(value / 256 ** at) % 256)
}

/** T(c, d) = LE64(c) ‖ LE32(d). */
function tweak(counter: number, domain: 1 | 2): Uint8Array {
  return Uint8Array.from([...le(counter, 8), ...le(domain, 4)])
}

/** HKDF-Expand (RFC 5869 §2.3) to 32 bytes: one block. */
function expand(key: Uint8Array, info: Uint8Array): Uint8Array {
  return new Uint8Array(createHmac('sha256', key).update(info).update(Uint8Array.of(1)).digest())
}

/** The key in use for counter c: ratcheted once for each multiple of 2^16 up to it. */
function keyAt(key: Uint8Array, counter: number): Uint8Array {
  let now = key
  for (let generation = 1; generation <= Math.floor(counter / 65_536); generation++) {
    now = expand(now, Uint8Array.from([...new TextEncoder().encode('gyre/1 ratchet'), ...le(generation, 8)]))
  }
  return now
}

function w(cipher: CellCipher, direction: 'E' | 'D', key: Uint8Array, counter: number, domain: 1 | 2, x: Uint8Array): Uint8Array {
  const prepared = cipher.key(keyAt(key, counter))
  const y = direction === 'E' ? prepared.encipherAny(x, tweak(counter, domain)) : prepared.decipherAny(x, tweak(counter, domain))
  prepared.wipe()
  return y
}

/** k_1 … k_n, a_1 … a_n and k_{n+1}. */
export interface NaiveKeys {
  readonly k: readonly Uint8Array[]
  readonly a: readonly Uint8Array[]
  readonly own: Uint8Array
}

const cellKey = (keys: NaiveKeys, hop: number) => (hop > keys.k.length ? keys.own : keys.k[hop - 1]!)

/** "O, sending counter c to addressee j". `m` is M. */
export function naiveSend(cipher: CellCipher, keys: NaiveKeys, j: number, c: number, m: Uint8Array): Uint8Array {
  let x = m
  for (let i = j; i >= 1; i--) x = w(cipher, 'E', cellKey(keys, i), c, 1, x)
  return x
}

export interface NaiveHopStep {
  readonly recognised: boolean
  /** Y, after this hop's own layer. */
  readonly y: Uint8Array
  /** What goes on to the next. */
  readonly onward: Uint8Array
}

/** "Hop i, on the c-th cell X". `answer`: 0^16 ‖ outgoing frames. */
export function naiveHop(
  cipher: CellCipher,
  keys: NaiveKeys,
  i: number,
  c: number,
  x: Uint8Array,
  answer: Uint8Array,
): NaiveHopStep {
  const y = w(cipher, 'D', cellKey(keys, i), c, 1, x)
  const recognised = y.subarray(0, 16).every((byte) => byte === 0)
  return { recognised, y, onward: recognised ? w(cipher, 'E', keys.a[i - 1]!, c, 2, answer) : y }
}

/** "O, receiving counter c (value X, remembered j)": A, or `null` for noise. */
export function naiveReceive(cipher: CellCipher, keys: NaiveKeys, j: number, c: number, x: Uint8Array): Uint8Array | null {
  const n = keys.k.length
  let a = x
  if (j === n + 1) a = w(cipher, 'D', keys.own, c, 1, x)
  else {
    for (let i = n; i >= j + 1; i--) a = w(cipher, 'E', cellKey(keys, i), c, 1, a)
    a = w(cipher, 'D', keys.a[j - 1]!, c, 2, a)
  }
  return a.subarray(0, 16).every((byte) => byte === 0) ? a : null
}
