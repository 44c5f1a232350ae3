/**
 * The wide-block, length-preserving, tweakable cipher that every cell body goes through: HPolyC-XChaCha20-AES256 (Crowley and
 * Biggers 2018). Two implementations, one set of vectors: `hpolyc-portable.ts` (libsodium in WebAssembly) and `hpolyc-native.ts`
 * (`sodium-native`). Spec: SPEC.md §4.1.
 */
export const CELL_KEY_BYTES = 32

/** Tweak domains: which of a hop's two keys a body goes through. */
export const CELL_DOMAIN = 1
export const ANSWER_DOMAIN = 2
export type CipherDomain = typeof CELL_DOMAIN | typeof ANSWER_DOMAIN

export interface CellCipher {
  readonly implementation: 'sodium-native' | 'libsodium-wasm'
  /** Prepares a 32-byte key; the caller may wipe its copy afterwards. */
  key(secret: Uint8Array): CellKey
}

/**
 * One prepared key. The batch calls work in place on whole bodies: for i in 0..count, the `BODY_BYTES` that start at
 * `cells[offsets[i]]`, with tweak LE64(counters[i]) ‖ LE32(domain). Batches of at most `TURN_CELLS`; nothing is allocated per cell.
 */
export interface CellKey {
  encipher(cells: Uint8Array, offsets: Int32Array, counters: Uint32Array, count: number, domain: CipherDomain): void
  decipher(cells: Uint8Array, offsets: Int32Array, counters: Uint32Array, count: number, domain: CipherDomain): void
  /** Any message of 16 to 4096 bytes and any tweak of up to 32: for vectors and tests. Returns a new array. */
  encipherAny(message: Uint8Array, tweak: Uint8Array): Uint8Array
  decipherAny(message: Uint8Array, tweak: Uint8Array): Uint8Array
  /** Overwrites the key material. Using the key afterwards is a bug. Idempotent. */
  wipe(): void
}
