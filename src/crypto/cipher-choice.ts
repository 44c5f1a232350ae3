/**
 * Chooses the implementation of the cell cipher: `sodium-native` where it loads and works, else WebAssembly. Both give the same bytes,
 * so nobody outside sees which one a node runs. A build that computes anything wrong would turn every cell of every loop to noise, or
 * worse: it must not get as far as the first cell. Spec: SPEC.md §4.1.
 */
import { concat, equalPublic, fromHex, le32, le64 } from '../bytes/index.ts'
import { OverlayError } from '../errors/index.ts'
import { ANSWER_DOMAIN, CELL_DOMAIN, CELL_KEY_BYTES, type CellCipher, type CipherDomain } from './cell-cipher.ts'

/** Bytes of a cell body: `BODY_BYTES` of `src/cell/`, which lies above this folder (a test holds them equal). */
export const CELL_CIPHER_BYTES = 2043

/**
 * Opens the cell cipher for bodies of `bodyBytes` (other lengths are for benchmarks). `prefer` is a wish: without the addon, or when it
 * fails the self-test, the portable cipher is returned; `implementation` tells which. Errors: `INTERNAL` if no implementation works.
 */
export async function openCellCipher(prefer?: CellCipher['implementation'], bodyBytes = CELL_CIPHER_BYTES): Promise<CellCipher> {
  if (prefer !== 'libsodium-wasm') {
    const { nativeCellCipher } = await import('./hpolyc-native.ts')
    const native = nativeCellCipher(bodyBytes)
    if (native !== null && worksAsKnown(native, bodyBytes)) return native
  }
  const { portableCellCipher } = await import('./hpolyc-portable.ts')
  const portable = await portableCellCipher(bodyBytes)
  if (!worksAsKnown(portable, bodyBytes)) throw new OverlayError('bug', 'INTERNAL', 'No cell cipher passes its self-test here.')
  return portable
}

/** A published vector (google/adiantum, HPolyC_XChaCha20_32_AES256, 31 bytes with a tweak of 17). */
const KNOWN = {
  key: 'fa60e3250b4e123a25073b4c3e1c7837db0a16a544c8c77171cedc3e82cbf3fa',
  tweak: 'e1e64d4ca5c74440c7546ba3544eb81b7f',
  plaintext: '6063deb6e2abae701abefd8e10c80b83d471e008d56c66cff229b9752e8da6',
  ciphertext: 'bbb0b7ba5b4522359ea1033e034447d848eb9222647d2b73ba5f5cfba6b806',
} as const

/** Whether a cipher gives the published answer, and its batch calls the same bytes as its single calls, in both directions. */
export function worksAsKnown(cipher: CellCipher, bodyBytes: number): boolean {
  try {
    const known = cipher.key(fromHex(KNOWN.key)!)
    const tweak = fromHex(KNOWN.tweak)!
    const plaintext = fromHex(KNOWN.plaintext)!
    const ciphertext = fromHex(KNOWN.ciphertext)!
    const single =
      equalPublic(known.encipherAny(plaintext, tweak), ciphertext) && equalPublic(known.decipherAny(ciphertext, tweak), plaintext)
    known.wipe()
    return single && batchAsSingle(cipher, bodyBytes, CELL_DOMAIN) && batchAsSingle(cipher, bodyBytes, ANSWER_DOMAIN)
  } catch {
    return false // a broken build may also throw; the caller falls back or reports
  }
}

function batchAsSingle(cipher: CellCipher, bodyBytes: number, domain: CipherDomain): boolean {
  const key = cipher.key(new Uint8Array(CELL_KEY_BYTES).fill(domain))
  const counters = Uint32Array.of(0, 0xffff_fffe, 65_536)
  const offsets = Int32Array.of(5, 5 + bodyBytes, 9 + 2 * bodyBytes)
  const cells = Uint8Array.from({ length: 9 + 3 * bodyBytes }, (_, at) => at * 7)
  const before = cells.slice()
  const expected = cells.slice()
  for (let at = 0; at < offsets.length; at++) {
    const body = before.subarray(offsets[at]!, offsets[at]! + bodyBytes)
    expected.set(key.encipherAny(body, concat(le64(counters[at]!), le32(domain))), offsets[at]!)
  }
  key.encipher(cells, offsets, counters, offsets.length, domain)
  const enciphered = equalPublic(cells, expected)
  key.decipher(cells, offsets, counters, offsets.length, domain)
  key.wipe()
  return enciphered && equalPublic(cells, before)
}
