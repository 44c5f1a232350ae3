/**
 * The fast row kernel: GF(2^8) multiply-add by nibble tables, 16 bytes at a time (Plank, Greenan and Miller, "Screaming Fast Galois Field
 * Arithmetic Using Intel SIMD Instructions", FAST 2013), as a WebAssembly module that is assembled here from named opcodes: no build
 * step and no binary in the tree. c · x = LOW[x & 15] ^ HIGH[x >> 4], each table 16 bytes, one byte shuffle each.
 *
 * Four outputs are computed in one pass over the inputs, two vectors of each at a time, so that an input's nibbles are split once and the
 * sums stay in registers. Measured in test/bench/erasure.ts; tested against the plain kernel of `gf256.ts`.
 *
 * `relaxed` takes i8x16.relaxed_swizzle (one instruction on x86-64 and ARM) in place of i8x16.swizzle. They differ for indices above 15
 * only, and a nibble has none.
 */
import { GF_BLOCK_MAX, GF_BLOCK_UNIT, gfMul, type RowKernel } from './gf256.ts'

/** Outputs of one pass. */
const PASS_ROWS = 4
/** Vectors of 16 bytes of each output per step. */
const STEP_VECTORS = 2
/** Both nibble tables of one coefficient. */
const TABLE_BYTES = 32
const PASS_TABLE_BYTES = PASS_ROWS * TABLE_BYTES
/** Most inputs: any square code of the field. */
const INPUTS_MAX = 255
const PAGE_BYTES = 65_536

/** The part of the WebAssembly interface that is used; Node's type package has none of it. */
declare const WebAssembly: {
  validate(bytes: Uint8Array): boolean
  Module: new (bytes: Uint8Array) => object
  Instance: new (module: object) => { readonly exports: Record<string, unknown> }
}

const I32 = 0x7f
const V128 = 0x7b
const VOID_BLOCK = 0x40
const SECTION = { type: 1, function: 3, memory: 5, export: 7, code: 10 } as const
const OP = {
  loop: 0x03,
  end: 0x0b,
  brIf: 0x0d,
  localGet: 0x20,
  localSet: 0x21,
  localTee: 0x22,
  i32Const: 0x41,
  i32LtU: 0x49,
  i32Add: 0x6a,
  i32Sub: 0x6b,
  simd: 0xfd,
} as const
const SIMD = {
  load: 0x00,
  store: 0x0b,
  constant: 0x0c,
  swizzle: 0x0e,
  and: 0x4e,
  xor: 0x51,
  i16x8ShrU: 0x8d,
  relaxedSwizzle: 0x100,
} as const

function unsigned(value: number): number[] {
  const bytes: number[] = []
  for (let rest = value; ; rest >>>= 7) {
    if (rest < 0x80) return [...bytes, rest]
    bytes.push((rest & 0x7f) | 0x80)
  }
}

function signed(value: number): number[] {
  const bytes: number[] = []
  for (let rest = value; ; rest >>= 7) {
    const low = rest & 0x7f
    const more = rest >> 7
    if ((more === 0 && (low & 0x40) === 0) || (more === -1 && (low & 0x40) !== 0)) return [...bytes, low]
    bytes.push(low | 0x80)
  }
}

const sized = (bytes: readonly number[]) => [...unsigned(bytes.length), ...bytes]
const vector = (items: readonly (readonly number[])[]) => [...unsigned(items.length), ...items.flat()]
const section = (id: number, bytes: readonly number[]) => [id, ...sized(bytes)]
const get = (local: number) => [OP.localGet, ...unsigned(local)]
const set = (local: number) => [OP.localSet, ...unsigned(local)]
const simd = (opcode: number, ...immediates: readonly number[]) => [OP.simd, ...unsigned(opcode), ...immediates]
/** Alignment hint 2^4; an address that is not aligned costs time, never correctness. */
const load = (offset: number) => simd(SIMD.load, 4, ...unsigned(offset))
const store = (offset: number) => simd(SIMD.store, 4, ...unsigned(offset))
const addTo = (local: number, value: number) => [...get(local), OP.i32Const, ...signed(value), OP.i32Add, ...set(local)]

// Parameters of `pass`, then its locals. Inputs and outputs lie back to back, GF_BLOCK_MAX apart.
const SOURCE = 0
const INPUTS = 1
const TABLES = 2
const TARGET = 3
const LENGTH = 4
const COLUMN = 5
const INPUT = 6
const TABLE = 7
const LEFT = 8
const MASK = 9
const FIRST_VECTOR = 10
const sumOf = (row: number, lane: number) => FIRST_VECTOR + row * STEP_VECTORS + lane
const lowOf = (lane: number) => FIRST_VECTOR + PASS_ROWS * STEP_VECTORS + lane
const highOf = (lane: number) => lowOf(STEP_VECTORS) + lane
const tableLocal = highOf(STEP_VECTORS)

/** `sum ^= table[nibble]` for both lanes, the table loaded once. */
function lookUp(row: number, half: 0 | 1, swizzle: number): number[] {
  const nibble = half === 0 ? lowOf : highOf
  const code = [...get(TABLE), ...load(row * TABLE_BYTES + half * 16), ...set(tableLocal)]
  for (let lane = 0; lane < STEP_VECTORS; lane++) {
    code.push(...get(tableLocal), ...get(nibble(lane)), ...simd(swizzle))
    code.push(...get(sumOf(row, lane)), ...simd(SIMD.xor), ...set(sumOf(row, lane)))
  }
  return code
}

/** The module: `memory`, and `pass(source, inputs, tables, target, length)`, which computes `PASS_ROWS` outputs. */
function assemble(relaxed: boolean): Uint8Array {
  const swizzle = relaxed ? SIMD.relaxedSwizzle : SIMD.swizzle
  const rows = Array.from({ length: PASS_ROWS }, (_, row) => row)
  const lanes = Array.from({ length: STEP_VECTORS }, (_, lane) => lane)
  const constant = (byte: number) => simd(SIMD.constant, ...new Array<number>(16).fill(byte))

  const perInput = [
    ...lanes.flatMap((lane) => [
      ...get(INPUT),
      ...load(16 * lane),
      ...[OP.localTee, ...unsigned(lowOf(lane))],
      ...[OP.i32Const, ...signed(4), ...simd(SIMD.i16x8ShrU), ...get(MASK), ...simd(SIMD.and), ...set(highOf(lane))],
      ...[...get(lowOf(lane)), ...get(MASK), ...simd(SIMD.and), ...set(lowOf(lane))],
    ]),
    ...rows.flatMap((row) => [...lookUp(row, 0, swizzle), ...lookUp(row, 1, swizzle)]),
    ...addTo(INPUT, GF_BLOCK_MAX),
    ...addTo(TABLE, PASS_TABLE_BYTES),
    ...[...get(LEFT), OP.i32Const, ...signed(1), OP.i32Sub, OP.localTee, ...unsigned(LEFT), OP.brIf, 0],
  ]
  const perColumn = [
    ...rows.flatMap((row) => lanes.flatMap((lane) => [...constant(0), ...set(sumOf(row, lane))])),
    ...[...get(SOURCE), ...get(COLUMN), OP.i32Add, ...set(INPUT), ...get(TABLES), ...set(TABLE), ...get(INPUTS), ...set(LEFT)],
    ...[OP.loop, VOID_BLOCK, ...perInput, OP.end],
    ...rows.flatMap((row) =>
      lanes.flatMap((lane) => [
        ...[...get(TARGET), ...get(COLUMN), OP.i32Add, ...get(sumOf(row, lane)), ...store(row * GF_BLOCK_MAX + 16 * lane)],
      ]),
    ),
    ...addTo(COLUMN, 16 * STEP_VECTORS),
    ...[...get(COLUMN), ...get(LENGTH), OP.i32LtU, OP.brIf, 0],
  ]
  const body = [
    ...vector([
      [4, I32],
      [1 + tableLocal - FIRST_VECTOR + 1, V128],
    ]),
    ...[...constant(0x0f), ...set(MASK), OP.loop, VOID_BLOCK, ...perColumn, OP.end, OP.end],
  ]
  const name = (text: string) => sized([...text].map((char) => char.charCodeAt(0)))
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(SECTION.type, vector([[0x60, ...vector([[I32], [I32], [I32], [I32], [I32]]), 0]])),
    ...section(SECTION.function, vector([[0]])),
    ...section(SECTION.memory, vector([[0, ...unsigned(1)]])),
    ...section(
      SECTION.export,
      vector([
        [...name('memory'), 2, 0],
        [...name('pass'), 0, 0],
      ]),
    ),
    ...section(SECTION.code, vector([sized(body)])),
  ])
}

interface KernelExports {
  readonly memory: { readonly buffer: ArrayBuffer; grow(pages: number): number }
  readonly pass: (source: number, inputs: number, tables: number, target: number, length: number) => void
}

/** A kernel in WebAssembly, or `null` where the engine has no SIMD. One instance serves the whole process: no call leaves state behind. */
export function simdKernel(): RowKernel | null {
  if (typeof WebAssembly === 'undefined') return null
  const code = [assemble(true), assemble(false)].find((bytes) => WebAssembly.validate(bytes))
  if (code === undefined) return null
  const { memory, pass } = new WebAssembly.Instance(new WebAssembly.Module(code)).exports as unknown as KernelExports
  let bytes = new Uint8Array(memory.buffer)

  /** Memory: tables of one pass (one page), then the four outputs, then the inputs. */
  const tablesAt = 0
  const targetAt = PAGE_BYTES
  const sourceAt = targetAt + PASS_ROWS * GF_BLOCK_MAX
  const reserve = (inputs: number) => {
    const missing = sourceAt + inputs * GF_BLOCK_MAX - bytes.length
    if (missing <= 0) return
    memory.grow(Math.ceil(missing / PAGE_BYTES))
    bytes = new Uint8Array(memory.buffer)
  }

  return {
    implementation: 'wasm-simd',
    combine(inputs, rows, outputs) {
      const length = inputs[0]?.length ?? 0
      const regular = length > 0 && length <= GF_BLOCK_MAX && length % GF_BLOCK_UNIT === 0 && inputs.length <= INPUTS_MAX
      if (!regular || [...inputs, ...outputs].some((block) => block.length !== length)) throw new RangeError('irregular blocks')
      reserve(inputs.length)
      for (const [j, input] of inputs.entries()) bytes.set(input, sourceAt + j * GF_BLOCK_MAX)
      for (let first = 0; first < outputs.length; first += PASS_ROWS) {
        for (let j = 0; j < inputs.length; j++) {
          for (let row = 0; row < PASS_ROWS; row++) {
            const coefficient = rows[first + row]?.[j] ?? 0
            const table = tablesAt + j * PASS_TABLE_BYTES + row * TABLE_BYTES
            for (let nibble = 0; nibble < 16; nibble++) {
              bytes[table + nibble] = gfMul(coefficient, nibble)
              bytes[table + 16 + nibble] = gfMul(coefficient, nibble << 4)
            }
          }
        }
        pass(sourceAt, inputs.length, tablesAt, targetAt, length)
        for (let row = 0; row < PASS_ROWS && first + row < outputs.length; row++) {
          const at = targetAt + row * GF_BLOCK_MAX
          outputs[first + row]!.set(bytes.subarray(at, at + length))
        }
      }
    },
  }
}
