/**
 * Base58Check, as Bitcoin writes private keys (WIF: 51 or 52 characters; BIP 32: 111). The checksum makes a false alarm a matter of 1 in 2³².
 */
import { sha256 } from '../../src/crypto/hash.ts'

const ALPHABET = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz'
/** Longer texts are none of what is looked for. */
const CHARS_MAX = 112
const CHECK_BYTES = 4

/** Whether `text` is base58 with a right checksum. */
export function isBase58Check(text: string): boolean {
  if (text.length < 8 || text.length > CHARS_MAX) return false
  const bytes: number[] = []
  for (const char of text) {
    let carry = ALPHABET.indexOf(char)
    if (carry < 0) return false
    for (let at = 0; at < bytes.length; at++) {
      carry += bytes[at]! * 58
      bytes[at] = carry & 0xff
      carry >>>= 8
    }
    for (; carry > 0; carry >>>= 8) bytes.push(carry & 0xff)
  }
  const leading = /^1*/.exec(text)![0].length
  const whole = Uint8Array.from([...new Array<number>(leading).fill(0), ...bytes.reverse()])
  if (whole.length <= CHECK_BYTES) return false
  const sum = sha256(sha256(whole.subarray(0, -CHECK_BYTES)))
  return whole.subarray(-CHECK_BYTES).every((byte, at) => byte === sum[at])
}

/** Whether `text` is a private key in Bitcoin's import format: version 0x80 (or a test network's 0xef), with or without the mark of compression. */
export function isImportKey(text: string): boolean {
  return /^(?:[59][1-9A-HJ-NP-Za-km-z]{50}|[KLc][1-9A-HJ-NP-Za-km-z]{51})$/.test(text) && isBase58Check(text)
}
