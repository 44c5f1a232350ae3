/**
 * A key from a passphrase: Argon2id, version 1.3 (RFC 9106), one lane, by libsodium. Memory-hard, because what people can remember can be
 * guessed by machines: each guess must cost its owner as much time and memory as it costs ours. Loaded only where a passphrase is used.
 */
import sodium from 'libsodium-wrappers-sumo'

export const PASSPHRASE_SALT_BYTES = 16
export const PASSPHRASE_KEY_BYTES = 32

/** What a guess costs. */
export interface PassphraseCost {
  readonly passes: number
  readonly memoryKib: number
}

/**
 * 32 bytes from `passphrase`. The work is done in one go: some seconds in which nothing else runs, so for commands only. The caller bounds
 * `cost`. Throws a `RangeError` for a salt of another length or a cost that libsodium refuses.
 */
export async function passphraseKey(
  passphrase: Uint8Array,
  salt: Uint8Array,
  { passes, memoryKib }: PassphraseCost,
): Promise<Uint8Array> {
  if (salt.length !== PASSPHRASE_SALT_BYTES) throw new RangeError('a salt of another length')
  await sodium.ready
  try {
    return sodium.crypto_pwhash(
      PASSPHRASE_KEY_BYTES,
      passphrase,
      salt,
      passes,
      memoryKib * 1024,
      sodium.crypto_pwhash_ALG_ARGON2ID13,
    )
  } catch (error) {
    throw new RangeError('Argon2id refuses these parameters, or there is not so much memory', { cause: error })
  }
}
