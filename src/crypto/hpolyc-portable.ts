/**
 * The HPolyC primitives on libsodium compiled to WebAssembly: runs wherever JavaScript does. It calls the raw exports of the module on
 * memory of its own inside the module's heap: the wrapper functions copy each operand in and out and take about twice as long. Which
 * exports are needed is checked when the cipher is made. Spec: SPEC.md §4.1.
 */
import sodium from 'libsodium-wrappers-sumo'
import { OverlayError } from '../errors/index.ts'
import type { CellCipher } from './cell-cipher.ts'
import {
  HASH_KEY_AT,
  type HpolycEngine,
  type HpolycLayout,
  hpolycCipher,
  hpolycLayout,
  NONCE_AT,
  type Scratch,
  STREAM_KEY_AT,
  TAG_AT,
} from './hpolyc.ts'

/** The module behind the wrappers. Pointers are offsets in `HEAPU8`; 64-bit lengths are passed as low and high word. */
interface SodiumModule {
  readonly HEAPU8: Uint8Array
  _malloc(length: number): number
  _crypto_stream_xchacha20_xor_ic(
    out: number,
    input: number,
    low: number,
    high: number,
    nonce: number,
    ic: number,
    icHigh: number,
    key: number,
  ): number
  _crypto_onetimeauth(tag: number, message: number, low: number, high: number, key: number): number
}

function isSodiumModule(value: unknown): value is SodiumModule {
  if (typeof value !== 'object' || value === null) return false
  const module = value as Partial<SodiumModule>
  return (
    module.HEAPU8 instanceof Uint8Array &&
    typeof module._malloc === 'function' &&
    typeof module._crypto_stream_xchacha20_xor_ic === 'function' &&
    typeof module._crypto_onetimeauth === 'function'
  )
}

/** The portable cipher. It always loads; its scratch stays allocated for the life of the process, so make one and keep it. */
export async function portableCellCipher(bodyBytes: number): Promise<CellCipher> {
  await sodium.ready
  const module: unknown = (sodium as unknown as { readonly libsodium?: unknown }).libsodium
  if (!isSodiumModule(module))
    throw new OverlayError('bug', 'INTERNAL', 'Cell cipher: libsodium lacks the exports that it needs.')
  return hpolycCipher(new PortableEngine(module, hpolycLayout(bodyBytes)))
}

class PortableEngine implements HpolycEngine {
  readonly implementation = 'libsodium-wasm'
  readonly layout: HpolycLayout
  readonly #module: SodiumModule
  /** Where the scratch begins in the module's heap; 64-aligned. */
  readonly #base: number
  #scratch: Scratch

  constructor(module: SodiumModule, layout: HpolycLayout) {
    this.#module = module
    this.layout = layout
    const allocated = module._malloc(layout.scratchBytes + 64)
    if (allocated === 0) throw new OverlayError('bug', 'INTERNAL', 'Cell cipher: libsodium has no memory left.')
    this.#base = Math.ceil(allocated / 64) * 64
    this.#scratch = this.#locate()
  }

  scratch(): Scratch {
    // A heap that grew leaves its former views with no bytes.
    if (this.#scratch.bytes.length === 0) this.#scratch = this.#locate()
    return this.#scratch
  }

  load(streamKey: Uint8Array, hashKey: Uint8Array): void {
    const { bytes } = this.scratch()
    bytes.set(streamKey, STREAM_KEY_AT)
    bytes.set(hashKey, HASH_KEY_AT)
  }

  hash(slot: number): void {
    this.hashRange(this.layout.slotsAt + slot * this.layout.slotBytes, 16 + this.layout.bulkBytes)
  }

  stream(slot: number): void {
    this.streamRange(this.layout.slotsAt + slot * this.layout.slotBytes + 16, this.layout.bulkBytes)
  }

  hashRange(at: number, length: number): void {
    const base = this.#base
    this.#module._crypto_onetimeauth(base + TAG_AT, base + at, length, 0, base + HASH_KEY_AT)
  }

  streamRange(at: number, length: number): void {
    const base = this.#base
    const range = base + at
    this.#module._crypto_stream_xchacha20_xor_ic(range, range, length, 0, base + NONCE_AT, 0, 0, base + STREAM_KEY_AT)
  }

  #locate(): Scratch {
    const { buffer } = this.#module.HEAPU8
    const { scratchBytes } = this.layout
    return { bytes: new Uint8Array(buffer, this.#base, scratchBytes), words: new DataView(buffer, this.#base, scratchBytes) }
  }
}
