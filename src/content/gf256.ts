/**
 * Arithmetic in GF(2^8) with the polynomial x^8 + x^4 + x^3 + x^2 + 1 (0x11d, the usual one of Reed-Solomon codes; Plank 1997), and the
 * plain row kernel of the erasure code on top of it. The plain kernel is the fallback where WebAssembly SIMD is missing, and the oracle
 * that the fast one (`gf-simd.ts`) is tested against. Nothing secret goes through it: the code runs over ciphertext.
 */

const ORDER = 255
const POLYNOMIAL = 0x11d

/** EXP[i] = 2^i, twice over so that a sum of two logarithms needs no reduction. */
const EXP = new Uint8Array(2 * ORDER)
const LOG = new Uint8Array(256)
for (let power = 0, value = 1; power < ORDER; power++) {
  EXP[power] = value
  EXP[power + ORDER] = value
  LOG[value] = power
  value <<= 1
  if (value > 0xff) value ^= POLYNOMIAL
}

/** a · b. */
export function gfMul(a: number, b: number): number {
  return a === 0 || b === 0 ? 0 : EXP[LOG[a]! + LOG[b]!]!
}

/** 1 / a; `a` is not zero. */
export function gfInv(a: number): number {
  if (a === 0) throw new RangeError('zero has no inverse')
  return EXP[ORDER - LOG[a]!]!
}

/**
 * The inverse of a square matrix, given and returned as rows, by Gauss and Jordan. Throws for a singular one, which no square part of a
 * Cauchy matrix is.
 */
export function gfInverse(matrix: readonly Uint8Array[]): Uint8Array[] {
  const size = matrix.length
  const rows = matrix.map((row, at) => {
    const wide = new Uint8Array(2 * size)
    wide.set(row)
    wide[size + at] = 1
    return wide
  })
  for (let column = 0; column < size; column++) {
    const pivot = rows.findIndex((row, at) => at >= column && row[column] !== 0)
    if (pivot < 0) throw new RangeError('the matrix is singular')
    const row = rows[pivot]!
    rows[pivot] = rows[column]!
    rows[column] = row
    const scale = gfInv(row[column]!)
    for (let at = 0; at < row.length; at++) row[at] = gfMul(row[at]!, scale)
    for (const other of rows) {
      const factor = other[column]!
      if (other === row || factor === 0) continue
      for (let at = 0; at < other.length; at++) other[at] = other[at]! ^ gfMul(row[at]!, factor)
    }
  }
  return rows.map((row) => row.slice(size))
}

/**
 * Computes rows: output r is the sum over the inputs j of `rows[r][j]` · inputs[j], byte by byte. All blocks have one length, a multiple
 * of `GF_BLOCK_UNIT` and at most `GF_BLOCK_MAX`. Outputs are overwritten and share no bytes with inputs. Synchronous and without state.
 */
export interface RowKernel {
  readonly implementation: 'wasm-simd' | 'plain'
  combine(inputs: readonly Uint8Array[], rows: readonly Uint8Array[], outputs: readonly Uint8Array[]): void
}

/** What a block's length is a multiple of. */
export const GF_BLOCK_UNIT = 32
/** Longest block. */
export const GF_BLOCK_MAX = 65_536

/** The plain kernel: one 256-byte product table for each coefficient. */
export const plainKernel: RowKernel = {
  implementation: 'plain',
  combine(inputs, rows, outputs) {
    const products = new Uint8Array(256)
    for (const [r, output] of outputs.entries()) {
      output.fill(0)
      for (const [j, input] of inputs.entries()) {
        const coefficient = rows[r]![j]!
        for (let value = 0; value < 256; value++) products[value] = gfMul(coefficient, value)
        for (let at = 0; at < output.length; at++) output[at] = output[at]! ^ products[input[at]!]!
      }
    }
  },
}
