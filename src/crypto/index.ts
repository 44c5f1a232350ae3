/** Public face of the cryptography: published constructions only, each named in SPEC.md with its source and vectors. */

export { type AeadEngine, aeadWorks, NumberedAead, nativeAead, portableAead } from './aead.ts'
export { BLIND_FACTOR_BYTES, type BlindedKey, blindPublicKey, blindSigningKey, isBlindable } from './blind.ts'
export { PERMUTED_BLOCK_BYTES, permuteBlocks } from './blocks.ts'
export { ANSWER_DOMAIN, CELL_DOMAIN, CELL_KEY_BYTES, type CellCipher, type CellKey, type CipherDomain } from './cell-cipher.ts'
export { CELL_CIPHER_BYTES, openCellCipher } from './cipher-choice.ts'
export { equalSecret, HASH_BYTES, hkdfExpand, hkdfExtract, hmacSha256, sha256, taggedHash, wipe } from './hash.ts'
export { CIPHER_BATCH_MAX } from './hpolyc.ts'
export {
  type KeyPair,
  MLKEM_CIPHERTEXT_BYTES,
  MLKEM_PUBLIC_BYTES,
  MLKEM_SEED_BYTES,
  mlkemDecapsulate,
  mlkemEncapsulate,
  mlkemFromSeed,
  mlkemGenerate,
  mlkemPublic,
  type PrivateKeyHandle,
  type PublicKeyHandle,
} from './kem.ts'
export { findWork, verifyWork, WORK_BINDING_BYTES_MAX, WORK_BITS_MAX, WORK_NONCE_BYTES, type WorkOptions, workIn } from './pow.ts'
export { SIGN_PUBLIC_BYTES, SIGN_SEED_BYTES, SIGNATURE_BYTES, type SigningKey, signingKey, verifySignature } from './sign.ts'
export { AEAD_TAG_BYTES, chacha20Keystream, chacha20Xor, openOnce, STREAM_KEY_BYTES, sealOnce } from './stream.ts'
export {
  X25519_BYTES,
  type X25519KeyPair,
  type X25519PrivateKey,
  x25519,
  x25519FromSecret,
  x25519Generate,
  x25519Secret,
} from './x25519.ts'
